//! nginx under its own master, for comparison.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Program, wait_until};
use crate::load::{Client, Protocol};
use crate::pool::own_address;
use crate::programs::installed;

/// One that answers as our workers do.
pub struct Nginx {
    program: Program,
    pub address: SocketAddr,
}

impl Nginx {
    /// Starts it with two workers, and waits until it answers.
    pub fn start() -> Self {
        let address = own_address();
        let folder = installed().join(format!("nginx-{}", address.ip()));
        fs::create_dir_all(&folder).unwrap();
        let configuration = format!(
            "daemon off; worker_processes 2; pid {0}/pid; error_log stderr notice; events {{ }}\n\
             http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;\n\
             uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n\
             server {{ listen {address}; location / {{ return 200 1; }} }} }}\n",
            folder.display()
        );
        fs::write(folder.join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf"));
        let program = Program::start(command);
        let mut client = Client::new(address, Protocol::Http);
        wait_until("nginx answers", || client.ask("/").is_ok().then_some(()));
        Self { program, address }
    }

    fn count(&self, part: &str) -> usize {
        self.program.lines().iter().filter(|line| line.contains(part)).count()
    }

    /// Has its master replace the workers, and waits until the old ones are gone.
    pub fn reload(&mut self) {
        let gone = self.count(" exited with code 0");
        kill(Pid::from_raw(self.program.pid()), Signal::SIGHUP).unwrap();
        wait_until("the old workers are gone", || {
            (self.count(" exited with code 0") >= gone + 2).then_some(())
        });
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its workers behind.
        kill(Pid::from_raw(self.program.pid()), Signal::SIGTERM).unwrap();
        self.program.wait();
    }
}
