//! The engine, the two images, and containers that are removed when their test is over.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Ended, must, run, wait_until};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/container");
/// What the image is told about where it comes from.
pub const GIT: &str = "0123456789ab";

/// What is made once for all tests.
struct Engine {
    host: String,
    image: String,
    app_image: String,
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let host = must(&mut Command::new(format!("{HERE}/engine.sh")));
        must(Command::new(format!("{HERE}/images.sh")).env("DOCKER_HOST", &host));
        let image = build_image(&host, None);
        let app_image = build_app_image(&host, &image);
        Engine { host, image, app_image }
    })
}

/// The image of the project's Dockerfile.
pub fn image() -> &'static str {
    &engine().image
}

/// Where our engine listens.
pub fn host() -> &'static str {
    &engine().host
}

/// `docker`, talking to our engine. Debian's own, where there are several: it can build with BuildKit.
pub fn docker() -> Command {
    client(host())
}

fn client(host: &str) -> Command {
    let debian = Path::new("/usr/bin/docker");
    let mut docker = Command::new(if debian.exists() { debian } else { Path::new("docker") });
    docker.env("DOCKER_HOST", host).env("DOCKER_BUILDKIT", "1");
    docker
}

/// The same for another platform.
pub fn image_for(platform: &str) -> String {
    build_image(&engine().host, Some(platform))
}

/// The image of the program that misbehaves when asked to, with allcores in it.
pub fn app_image() -> &'static str {
    &engine().app_image
}

/// The name has this checkout in it, so that two do not take each other's images.
fn build_image(host: &str, platform: Option<&str>) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_MANIFEST_DIR"), platform).hash(&mut hasher);
    let name = format!("allcores:test-{:x}", hasher.finish());
    let mut build = client(host);
    build.args(["build", "--tag", &name, "--build-arg", &format!("GIT={GIT}")]);
    build.args(platform.map(|platform| format!("--platform={platform}")));
    build.args(["--build-arg", concat!("VERSION=", env!("CARGO_PKG_VERSION")), env!("CARGO_MANIFEST_DIR")]);
    must(&mut build);
    name
}

fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// The program that misbehaves when asked to, as a static file.
pub fn app() -> &'static Path {
    static APP: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = APP.get_or_init(|| {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut rustc = Command::new("rustc");
        rustc
            .args(["--edition", "2024", "-O", "--target", &target(), "-o"])
            .arg(directory.path().join("app"));
        must(rustc.arg(format!("{HERE}/app/app.rs")));
        directory
    });
    directory.path()
}

fn build_app_image(host: &str, image: &str) -> String {
    let dockerfile = Path::new(HERE).join("app/Dockerfile");
    std::fs::copy(&dockerfile, app().join("Dockerfile")).unwrap();
    let mut build = client(host);
    build.args(["build", "--quiet", "--build-arg", &format!("ALLCORES={image}")]);
    must(build.arg(app()))
}

/// `docker run` of allcores to its end: `options` for Docker and `settings` for allcores, as one would type them.
pub fn run_to_end(options: &str, settings: &str, command: &[&str]) -> Ended {
    run(docker().args(["run", "--rm"]).args(arguments(options, settings, command)))
}

/// What follows `docker run`.
pub fn arguments(options: &str, settings: &str, command: &[&str]) -> Vec<String> {
    let options = options.split_whitespace();
    let settings = settings.split_whitespace();
    let words = options.chain([app_image()]).chain(settings);
    words.chain(["--"]).chain(command.iter().copied()).map(str::to_owned).collect()
}

/// A name that no other container has.
pub fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("allcores-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A container. It is removed when this is dropped.
pub struct Container(pub String);

impl Container {
    /// Starts one in the background.
    pub fn start(options: &str, settings: &str, command: &[&str]) -> Self {
        let container = Self(name());
        let mut run = docker();
        run.args(["run", "--detach", "--name", &container.0]);
        must(run.args(arguments(options, settings, command)));
        container
    }

    /// Runs a `docker` command about it that has to succeed.
    pub fn docker(&self, words: &str) -> String {
        must(docker().args(words.split_whitespace()).arg(&self.0))
    }

    /// Everything that was written inside.
    pub fn log(&self) -> String {
        run(docker().args(["logs", &self.0])).text
    }

    /// Waits for lines that have all these words in them, this many of them, and gives them.
    pub fn wait_for_lines(&self, count: usize, words: &[&str]) -> Vec<String> {
        wait_until(&format!("{count} lines of {} have {words:?}", self.0), || {
            let log = self.log();
            let fits = |line: &&str| words.iter().all(|word| line.contains(word));
            let lines: Vec<String> = log.lines().filter(fits).map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits for the first line that has all these words in it.
    pub fn wait_for_line(&self, words: &[&str]) -> String {
        self.wait_for_lines(1, words).swap_remove(0)
    }

    /// A field of `docker inspect`.
    pub fn inspect(&self, field: &str) -> String {
        self.docker(&format!("inspect --format {{{{{field}}}}}"))
    }

    /// Runs a command inside that has to succeed.
    pub fn exec(&self, command: &[&str]) -> String {
        must(docker().arg("exec").arg(&self.0).args(command))
    }

    /// Waits for its end, and gives the exit code.
    pub fn wait(&self) -> i32 {
        self.docker("wait").parse().unwrap()
    }

    /// `docker stop`: the exit code, and how long it took.
    pub fn stop(&self) -> (i32, Duration) {
        let asked = Instant::now();
        self.docker("stop -t 30");
        (self.wait(), asked.elapsed())
    }

    /// Sends a signal to PID 1, by the name that Docker knows it by.
    pub fn kill(&self, signal: &str) {
        self.docker(&format!("kill --signal {signal}"));
    }

    /// What the app answers on the published port.
    pub fn ask(&self) -> String {
        use std::io::{Read, Write};
        let address = must(docker().args(["port", &self.0, "8080/tcp"]));
        let mut stream = std::net::TcpStream::connect(address.lines().next().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ask = |words: &str| run(docker().args(words.split_whitespace()).arg(&self.0)).text;
            println!("{} wrote:\n{}and ran:\n{}", self.0, ask("logs"), ask("top"));
        }
        run(docker().args(["rm", "--force", "--volumes", &self.0]));
    }
}
