//! Finds out who `USER` is. Numbers need no database; names need /etc/passwd and /etc/group.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::config::kinds::UserName;

/// Whom workers run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: libc::uid_t,
    /// The group.
    pub gid: libc::gid_t,
    /// All groups, `gid` among them.
    pub groups: Vec<libc::gid_t>,
}

/// Looks the names up. A group that is given is the only one; else a known user's own groups count, and the group of a
/// user whom nobody knows has the user's number. `None` when that is what we are already.
pub fn find(name: &UserName) -> Result<Option<Identity>, String> {
    // A database that is not there (scratch images) is one that knows nobody.
    let entry = match name.user.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)).ok().flatten(),
        Err(_) => User::from_name(&name.user).ok().flatten(),
    };
    let uid = match (name.user.parse(), &entry) {
        (Ok(uid), _) => uid,
        (Err(_), Some(user)) => user.uid.as_raw(),
        (Err(_), None) => {
            return Err(format!("there is no user '{}' in /etc/passwd; a number needs no entry", name.user));
        }
    };
    let identity = match (&name.group, entry) {
        (Some(group), _) => only(uid, group_number(group)?),
        (None, None) => only(uid, uid),
        (None, Some(user)) => {
            let gid = user.gid.as_raw();
            let login = std::ffi::CString::new(user.name).unwrap_or_default();
            let groups =
                getgrouplist(&login, user.gid).map(|groups| groups.into_iter().map(Gid::as_raw).collect());
            Identity { uid, gid, groups: groups.unwrap_or_else(|_| vec![gid]) }
        }
    };
    let ours = Uid::effective().as_raw() == identity.uid && Gid::effective().as_raw() == identity.gid;
    match (ours, Uid::effective().is_root()) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(identity)),
        (false, false) => Err(format!(
            "only root can become another user, and we run as uid {}; start the container as root or leave USER out",
            Uid::effective()
        )),
    }
}

fn only(uid: libc::uid_t, gid: libc::gid_t) -> Identity {
    Identity { uid, gid, groups: vec![gid] }
}

fn group_number(name: &str) -> Result<libc::gid_t, String> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) | Err(_) => {
            Err(format!("there is no group '{name}' in /etc/group; a number needs no entry"))
        }
    }
}
