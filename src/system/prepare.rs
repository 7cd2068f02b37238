//! What has to be had before anything runs: descriptors, users, limits, sockets. Each may fail, and says why.

use std::io;

use mio::Poll;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::bind::Binder;
use super::child::{FileLimits, Traits};
use super::primary::Primary;
use super::slots::Slots;
use super::socket::{self, Listener};
use super::{descriptors, user};
use crate::config::kinds::{FileLimit, Ready};
use crate::config::{Config, Mode};
use crate::exit;

/// Why a run cannot begin.
#[derive(Debug, PartialEq, Eq)]
pub struct StartError {
    /// The exit code.
    pub code: u8,
    /// One line.
    pub reason: String,
}

impl StartError {
    pub(super) fn system(reason: String) -> Self {
        Self { code: exit::SYSTEM, reason }
    }

    fn setting(name: &str, reason: &str) -> Self {
        Self { code: exit::SETTINGS, reason: format!("ALLCORES_{name}: {reason}") }
    }
}

/// Takes over the sockets that were passed to us, and sees to it that nothing else we inherited is inherited on.
pub fn adopt_descriptors(config: &Config) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for (fd, name) in (descriptors::FIRST..).zip(&config.activation) {
        let adopted = descriptors::adopt(fd);
        let adopted = adopted.ok_or_else(|| {
            StartError::system(format!("LISTEN_FDS promises descriptor {fd}, which is not open"))
        })?;
        listeners.push(Listener::passed(adopted, name.clone()));
    }
    descriptors::close_inherited_at_exec();
    Ok(listeners)
}

/// What all workers have in common.
pub fn worker_traits(config: &Config) -> Result<Traits, StartError> {
    let identity = match &config.settings.user {
        Some(name) => user::find(name).map_err(|reason| StartError::setting("USER", &reason))?,
        None => None,
    };
    let files = config.settings.nofile.map(file_limits).transpose()?;
    if let Ready::Descriptor(number) = config.settings.ready
        && let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE)
        && u64::from(number) >= limit
    {
        let reason = format!("descriptor {number} is beyond our limit of {limit} open files");
        return Err(StartError::setting("READY", &reason));
    }
    Ok(Traits { identity, no_new_privs: config.no_new_privs, files, foreground: config.terminal })
}

/// A limit above the hard one needs CAP_SYS_RESOURCE, which we try out on ourselves.
fn file_limits(FileLimit(soft): FileLimit) -> Result<FileLimits, StartError> {
    let (own, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    if soft > hard && setrlimit(Resource::RLIMIT_NOFILE, own, soft).is_err() {
        let reason = format!(
            "{soft} is above the hard limit of {hard}, which we may not raise; start the container with --ulimit nofile={soft}"
        );
        return Err(StartError::setting("NOFILE", &reason));
    }
    Ok(FileLimits { soft, hard: hard.max(soft) })
}

fn no_descriptor(error: io::Error) -> StartError {
    StartError::system(format!(
        "there are not enough descriptors for the sockets: {error}; raise the limit of open files"
    ))
}

/// The sockets of all slots.
pub fn bind(config: &Config, passed: Vec<Listener>) -> Result<Slots, StartError> {
    Slots::bind(config, passed).map_err(StartError::system)
}

/// In mode `cluster` the sockets are the primary's, and workers inherit none.
pub fn primary(
    config: &Config,
    traits: &Traits,
    sockets: Slots,
    poll: &Poll,
) -> Result<(Option<Primary>, Slots), StartError> {
    let known = match sockets {
        Slots::Shared(set) if config.mode == Mode::Cluster => set,
        Slots::Shared(_) | Slots::Each(_) => return Ok((None, sockets)),
    };
    let addresses = config.settings.listen.as_ref().map(|listen| listen.0.as_slice()).unwrap_or_default();
    let registry = poll.registry().try_clone().map_err(no_descriptor)?;
    let is_limited = traits.identity.as_ref().is_some_and(|identity| identity.uid != 0);
    let longest = socket::longest_backlog().unwrap_or(u32::MAX);
    let binder = Binder::new(known, addresses, is_limited, longest).map_err(no_descriptor)?;
    Ok((Some(Primary::new(registry, binder)), Slots::Shared(Vec::new())))
}
