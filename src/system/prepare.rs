//! What has to be had before anything runs: descriptors, users, limits, sockets. Each may fail, and says why.

use std::io;
use std::os::fd::RawFd;

use mio::Poll;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use super::bind::Binder;
use super::child::{FileLimits, Traits};
use super::primary::Primary;
use super::socket::{self, Listener, Manner};
use super::{descriptors, user};
use crate::config::address::Address;
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

/// The sockets of each slot: one set for all, or in `reuseport` a set for each.
pub fn bind(config: &Config, passed: Vec<Listener>) -> Result<Vec<Vec<Listener>>, StartError> {
    let reuseport = match config.mode {
        Mode::Cluster | Mode::Inherit => false,
        Mode::Reuseport => true,
        Mode::Ports | Mode::Plain => return Ok(Vec::new()),
    };
    let addresses = config.settings.listen.as_ref().map(|listen| listen.0.as_slice()).unwrap_or_default();
    let mut backlog = config.settings.backlog.0;
    if let Some(longest) = socket::longest_backlog().filter(|longest| *longest < backlog) {
        warn!(backlog, somaxconn = longest, "BACKLOG is cut to net.core.somaxconn");
        backlog = longest;
    }
    let manner = Manner { backlog, reuseport };
    let mut first = passed;
    for address in addresses {
        first.push(socket::listen(address, addresses, manner).map_err(StartError::system)?);
    }
    let mut sockets = vec![first];
    if reuseport {
        let alone = sockets[0].iter().filter(|listener| !listener.multiplies).count();
        if alone > 0 {
            warn!(
                sockets = alone,
                "UNIX sockets and those passed to us cannot be one per slot; workers share them"
            );
        }
        for _ in 1..config.workers {
            let own = another_set(&sockets[0], config, addresses, manner)?;
            sockets.push(own);
        }
    }
    // A child puts its sockets at the first numbers, one after the other; none may overwrite the next.
    let above = descriptors::FIRST + sockets[0].len() as RawFd;
    for listener in sockets.iter_mut().flatten() {
        descriptors::lift(&mut listener.fd, above).map_err(no_descriptor)?;
    }
    Ok(sockets)
}

fn another_set(
    first: &[Listener],
    config: &Config,
    addresses: &[Address],
    manner: Manner,
) -> Result<Vec<Listener>, StartError> {
    let mut set = Vec::new();
    for (index, listener) in first.iter().enumerate() {
        set.push(if listener.multiplies {
            socket::listen(&addresses[index - config.activation.len()], addresses, manner)
                .map_err(StartError::system)?
        } else {
            let fd = listener.fd.try_clone().map_err(no_descriptor)?;
            Listener::passed(fd, listener.name.clone())
        });
    }
    Ok(set)
}

/// In mode `cluster` the sockets are the primary's, and workers inherit none.
pub fn primary(
    config: &Config,
    traits: &Traits,
    sockets: Vec<Vec<Listener>>,
    poll: &Poll,
) -> Result<(Option<Primary>, Vec<Vec<Listener>>), StartError> {
    if config.mode != Mode::Cluster {
        return Ok((None, sockets));
    }
    let addresses = config.settings.listen.as_ref().map(|listen| listen.0.as_slice()).unwrap_or_default();
    let registry = poll.registry().try_clone().map_err(no_descriptor)?;
    let is_limited = traits.identity.as_ref().is_some_and(|identity| identity.uid != 0);
    let longest = socket::longest_backlog().unwrap_or(u32::MAX);
    let known = sockets.into_iter().flatten().collect();
    let binder = Binder::new(known, addresses, is_limited, longest).map_err(no_descriptor)?;
    Ok((Some(Primary::new(registry, binder)), Vec::new()))
}
