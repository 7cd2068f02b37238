//! The sockets are ours from start to exit: every kind is bound, named, passed on, and kept whatever workers do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Launch, Running, allcores, allcores_with, field, fixture};
use crate::kernel::{private_network, send};

/// Connects, and gives the line that a worker of `serve.py` answers: slot, worker and name.
pub fn ask(address: &str) -> String {
    answer(TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}")))
}

/// The line that comes on a connection.
pub fn answer(connection: impl std::io::Read) -> String {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Workers that answer on these sockets, in a network of the test's own.
fn serving(listen: &str) -> Running {
    start(allcores_with("serve.py", &[]).set("LISTEN", listen).set("WORKERS", "2"))
}

fn start(launch: Launch) -> Running {
    let mut running = launch.start();
    running.output.next_of(2, "up");
    running
}

#[test]
fn tcp_is_served_and_a_stop_is_0() {
    private_network();
    let running = serving("127.0.0.1:8080");
    for _ in 0..5 {
        assert!(ask("127.0.0.1:8080").ends_with(" unknown"));
    }
    let ended = running.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("mode=inherit"), "{}", ended.log);
}

#[test]
fn a_bare_port_is_dual_stack() {
    private_network();
    let _running = serving("web=8080");
    for address in ["127.0.0.1:8080", "[::1]:8080"] {
        assert!(ask(address).ends_with(" web"), "{address}");
    }
}

#[test]
fn a_bare_port_is_ipv4_where_the_host_has_no_ipv6() {
    private_network();
    // The first is the notification socket.
    let no_ipv6 = ["-e", "trace=socket", "-e", "inject=socket:error=EAFNOSUPPORT:when=2"];
    let serving = allcores_with("serve.py", &[]).set("LISTEN", "8080").set("WORKERS", "2");
    // Not followed into children: what is refused is the first socket of LISTEN.
    let _running = start(serving.through(&[&["strace", "-qq", "-o", "/dev/null"], &no_ipv6[..]].concat()));
    assert!(ask("127.0.0.1:8080").ends_with(" unknown"));
    assert!(TcpStream::connect("[::1]:8080").is_err());
}

#[test]
fn ipv4_and_ipv6_wildcards_can_both_be_listed() {
    private_network();
    let _running = serving("four=0.0.0.0:8080,six=[::]:8080");
    assert!(ask("127.0.0.1:8080").ends_with(" four"));
    assert!(ask("[::1]:8080").ends_with(" six"));
}

#[test]
fn udp_is_served() {
    private_network();
    let _running = serving("udp://127.0.0.1:5353");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket.send_to(b"?", "127.0.0.1:5353").unwrap();
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).unwrap();
    assert!(answer[..length].ends_with(b" unknown\n"));
}

#[test]
fn a_bare_udp_port_is_dual_stack() {
    private_network();
    let _running = serving("udp://5353");
    for (local, remote) in [("127.0.0.1:0", "127.0.0.1:5353"), ("[::1]:0", "[::1]:5353")] {
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.send_to(b"?", remote).unwrap();
        assert!(socket.recv(&mut [0; 64]).unwrap() > 0, "{remote}");
    }
}

#[test]
fn an_abstract_unix_socket_is_served() {
    private_network();
    let _running = serving("unix:@app");
    let address = SocketAddr::from_abstract_name("app").unwrap();
    assert!(answer(UnixStream::connect_addr(&address).unwrap()).ends_with(" unknown"));
}

#[test]
fn several_sockets_come_in_order_with_their_names() {
    private_network();
    let listen = "http=127.0.0.1:8080,127.0.0.1:8081,admin=unix:@admin,dns=udp://127.0.0.1:53";
    let line = "echo $LISTEN_FDS $LISTEN_FDNAMES; exec sleep 1000";
    let mut running = allcores(&["sh", "-c", line]).set("LISTEN", listen).set("WORKERS", "1").start();
    running.output.next("4 http:unknown:admin:dns");
}

#[test]
fn a_unix_socket_has_the_mode_that_was_asked_for_and_goes_with_us() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    for mode in [0o660, 0o777, 0o600] {
        let running = serving(&format!("unix:{}?mode={mode:o}", path.display()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        assert!(answer(UnixStream::connect(&path).unwrap()).ends_with(" unknown"));
        assert_eq!(running.stop().code, Some(0));
        assert!(!path.exists());
    }
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    drop(UnixListener::bind(&path).unwrap());
    let stale = fs::metadata(&path).unwrap().ino();
    let _keeps_the_number = fs::hard_link(&path, directory.path().join("other"));
    let _running = serving(&format!("unix:{}", path.display()));
    assert_ne!(fs::metadata(&path).unwrap().ino(), stale);
    assert!(answer(UnixStream::connect(&path).unwrap()).ends_with(" unknown"));
}

/// Tries to start on this path, which is somebody else's, and must be refused without harm.
fn refused(path: &Path) -> String {
    let before = fs::symlink_metadata(path).unwrap().ino();
    let ended = allcores(&["true"]).set("LISTEN", &format!("unix:{}", path.display())).end();
    assert_eq!(ended.code, Some(71), "{}", ended.log);
    assert!(ended.log.contains(path.to_str().unwrap()), "{}", ended.log);
    assert_eq!(fs::symlink_metadata(path).unwrap().ino(), before);
    ended.log
}

#[test]
fn a_live_unix_socket_and_any_other_file_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let listener = UnixListener::bind(path("live")).unwrap();
    assert!(refused(&path("live")).contains("something else listens there"));
    listener.set_nonblocking(true).unwrap();
    fs::write(path("file"), "precious").unwrap();
    assert!(refused(&path("file")).contains("another kind"));
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "precious");
    fs::create_dir(path("directory")).unwrap();
    refused(&path("directory"));
    std::os::unix::fs::symlink(path("live"), path("link")).unwrap();
    refused(&path("link"));
}

#[test]
fn a_unix_socket_that_is_no_longer_ours_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let running = serving(&format!("unix:{}", path.display()));
    fs::rename(&path, directory.path().join("ours")).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert_eq!(running.stop().code, Some(0));
    assert!(path.exists());
}

#[test]
fn an_address_in_use_is_named_and_nothing_is_started() {
    private_network();
    let _taken = TcpListener::bind("127.0.0.1:8080").unwrap();
    for listen in ["127.0.0.1:8080", "0.0.0.0:8080", "8080", "127.0.0.1:8081,127.0.0.1:8080"] {
        for mode in ["inherit", "reuseport"] {
            let ended = allcores(&["echo", "worker"]).set("LISTEN", listen).set("MODE", mode).end();
            assert_eq!((ended.code, ended.output.as_str()), (Some(71), ""), "{listen}: {}", ended.log);
            let named = listen.rsplit(',').next().unwrap();
            assert!(
                ended.log.contains(named) && ended.log.contains("something else listens"),
                "{}",
                ended.log
            );
        }
    }
}

#[test]
fn a_directory_that_is_not_there_and_a_port_that_is_not_for_us_are_71() {
    let ended = allcores(&["true"]).set("LISTEN", "unix:/no/such/app.sock").end();
    assert_eq!(ended.code, Some(71));
    assert!(ended.log.contains("unix:/no/such/app.sock") && ended.log.contains("directory"), "{}", ended.log);
    private_network();
    let unprivileged = ["setpriv", "--inh-caps=-all", "--bounding-set=-net_bind_service"];
    let ended = allcores(&["true"]).through(&unprivileged).set("LISTEN", "127.0.0.1:80").end();
    assert_eq!(ended.code, Some(71), "{}", ended.log);
    assert!(ended.log.contains("127.0.0.1:80") && ended.log.contains("unprivileged_port"), "{}", ended.log);
}

#[test]
fn sixty_four_sockets_fit_into_few_descriptors() {
    private_network();
    let listen: Vec<String> = (0..64).map(|number| format!("n{number}=unix:@{number}")).collect();
    let ended = allcores_with("descriptors.py", &[])
        .through(&["prlimit", "--nofile=160"])
        .set("LISTEN", &listen.join(","))
        .set("WORKERS", "1")
        .set("RESTART", "never")
        .end();
    let sockets: Vec<&str> = ended.output.lines().filter(|line| line.contains("socket:")).collect();
    assert_eq!((sockets.len(), ended.output.lines().count()), (64, 67), "{}", ended.log);
    assert!(sockets[0].starts_with("3 ") && sockets[63].starts_with("66 "), "{}", ended.output);
}

#[test]
fn a_connection_while_no_worker_lives_waits_for_the_next() {
    private_network();
    let mut running = allcores_with("serve.py", &[])
        .set("LISTEN", "127.0.0.1:8080")
        .set("WORKERS", "1")
        .set("BACKOFF", "500ms..500ms")
        .start();
    running.output.next("up");
    send(running.worker().1, libc::SIGKILL);
    running.log.next("slot rests");
    assert_eq!(ask("127.0.0.1:8080"), "0 2 unknown");
}

#[test]
fn a_full_queue_of_connections_that_nobody_accepts_does_not_disturb_a_stop() {
    private_network();
    let mut running = allcores_with("signals.py", &[])
        .set("LISTEN", "127.0.0.1:8080")
        .set("BACKLOG", "2")
        .set("WORKERS", "2")
        .set("STOP_TIMEOUT", "60s")
        .start();
    running.output.next_of(2, "up");
    let address = "127.0.0.1:8080".parse().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100));
    let connections: Vec<_> = (0..10).map(|_| connect()).collect();
    assert!(connections.iter().any(Result::is_err), "the queue is not full");
    let asked = Instant::now();
    assert_eq!(running.stop().code, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_backlog_beyond_the_kernels_is_cut_with_a_warning() {
    private_network();
    let mut running =
        allcores(&["sleep", "1000"]).set("LISTEN", "127.0.0.1:1").set("BACKLOG", "65535").start();
    let line = running.log.next("BACKLOG");
    let kernels = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    assert_eq!(field(&line, "somaxconn"), kernels.trim());
}

#[test]
fn sockets_that_were_passed_to_us_come_before_our_own() {
    private_network();
    let mut running = allcores_with("serve.py", &[])
        .through(&["python3", &fixture("activate.py")])
        .set("LISTEN", "own=127.0.0.1:8083")
        .set("WORKERS", "2")
        .start();
    running.output.next_of(2, "up");
    assert!(ask("127.0.0.1:8081").ends_with(" one"));
    assert!(ask("127.0.0.1:8082").ends_with(" two"));
    assert!(ask("127.0.0.1:8083").ends_with(" own"));
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn sockets_that_were_passed_to_somebody_else_are_not_ours() {
    let line = "echo fds $(ls /proc/self/fd | wc -l) of ${LISTEN_FDS-nobody}";
    // 0, 1, 2, and the directory that ls reads.
    let ended = allcores(&["sh", "-c", line]).env("LISTEN_FDS", "2").env("LISTEN_PID", "4711").end();
    assert_eq!(ended.output, "fds 4 of nobody");
}

#[test]
fn a_promise_of_sockets_that_is_not_kept_is_71() {
    let ended = allcores(&["true"]).env("LISTEN_FDS", "1").env("LISTEN_PID", "1").end();
    assert_eq!(ended.code, Some(71));
    assert!(ended.log.contains("LISTEN_FDS promises descriptor 3"), "{}", ended.log);
}
