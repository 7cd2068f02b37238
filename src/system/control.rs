//! Where the control socket is: made by the one that runs, looked for by `allcores ctl`.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use super::prepare::StartError;
use super::server::Listening;
use super::socket::{self, Manner, SocketFile};
use crate::config::address::Address;
use crate::config::limits::{Control, Door};
use crate::config::settings::Settings;

/// Where the socket is unless it was said where: a container has at least the last, however read-only it is.
const USUAL: [&str; 3] = ["/run/allcores.sock", "/tmp/allcores.sock", "/dev/shm/allcores.sock"];
/// Clients that may wait to be accepted.
const BACKLOG: u32 = 128;
/// For its owner, and root, whom no mode keeps out.
const MODE: u32 = 0o600;

/// Where the socket may be, in the order in which to look.
pub fn places(control: &Control) -> Vec<PathBuf> {
    match control {
        Control::Auto => USUAL.iter().map(PathBuf::from).collect(),
        Control::Off => Vec::new(),
        Control::At(path) => vec![path.clone()],
    }
}

/// The doors of this run, and the file that is removed in the end. That there can be no control socket is no reason not to start.
pub fn open(settings: &Settings) -> Result<(Vec<Listening>, Option<SocketFile>), StartError> {
    let mut doors = Vec::new();
    if let Some(Door(place)) = &settings.http {
        let address = Address { name: None, place: place.clone() };
        let manner = Manner { backlog: BACKLOG, reuseport: false };
        let listener = socket::listen(&address, &[], manner)
            .map_err(|reason| StartError::system(format!("ALLCORES_HTTP: {reason}")))?;
        doors.push(Listening::Public(TcpListener::from(listener.fd)));
    }
    let mut file = None;
    for path in places(&settings.control) {
        match bind(&path) {
            Ok((listener, ours)) => {
                doors.push(Listening::Control(listener));
                file = Some(ours);
                break;
            }
            Err(error) => match settings.control {
                Control::At(_) => {
                    warn!(path = %path.display(), error = %error, "CONTROL: no control socket");
                }
                Control::Auto | Control::Off => {
                    debug!(path = %path.display(), error = %error, "no control socket here");
                }
            },
        }
    }
    Ok((doors, file))
}

fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let (fd, file) = socket::bind_path(path, Some(MODE), BACKLOG)?;
    Ok((fd.into(), file))
}
