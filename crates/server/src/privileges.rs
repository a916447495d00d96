//! Started as root for its ports, the server goes on as somebody else.

use crate::config::Config;
use crate::data_folder;
use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    #[error(
        "user: there is no user {name:?}; make it with `useradd --system --home-dir {data} {name}`, or set another"
    )]
    NoSuchUser { name: String, data: String },
    #[error("user: cannot go on as user {name}: {reason}; start it as root, or without `user`")]
    Denied { name: String, reason: io::Error },
    #[error("{0:#}")]
    Folder(anyhow::Error),
}

/// Whether the process has root's rights.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// Who to go on as: the configured user, else the owner of the data folder, else `ringpost`, else `nobody`. None when the
/// process is not root's, and when root itself is configured.
pub(crate) fn chosen_user(configured: Option<&str>, folder: &Path) -> Result<Option<User>, PrivilegeError> {
    if !is_root() || configured == Some("root") {
        return Ok(None);
    }
    if let Some(name) = configured {
        let missing = || PrivilegeError::NoSuchUser {
            name: name.into(),
            data: folder.display().to_string(),
        };
        return user_named(name).ok_or_else(missing).map(Some);
    }
    if let Ok((uid, gid)) = data_folder::owner(folder)
        && uid != 0
    {
        return Ok(Some(User {
            name: name_of(uid),
            uid,
            gid,
        }));
    }
    Ok(user_named("ringpost").or_else(|| user_named("nobody")))
}

/// Whether the configured user, if there is one, exists.
pub(crate) fn check_user(config: &Config) -> Result<(), PrivilegeError> {
    match &config.user {
        Some(name) if user_named(name).is_none() => Err(PrivilegeError::NoSuchUser {
            name: name.clone(),
            data: config.data_folder().display().to_string(),
        }),
        _ => Ok(()),
    }
}

/// Gives the data folder to `user` and becomes it, for good: all groups, and no way back.
///
/// Call it when the ports are open, and before a thread is started that touches the data folder.
pub(crate) fn become_user(user: &User, folder: &Path) -> Result<(), PrivilegeError> {
    let denied = |reason| PrivilegeError::Denied {
        name: user.name.clone(),
        reason,
    };
    if data_folder::owner(folder).map_err(denied)? != (user.uid, user.gid) {
        data_folder::give(folder, user.uid, user.gid).map_err(PrivilegeError::Folder)?;
    }
    let check = |status: libc::c_int| {
        if status == 0 {
            Ok(())
        } else {
            Err(denied(io::Error::last_os_error()))
        }
    };
    // SAFETY: setgroups reads one group from a valid pointer; setgid and setuid take numbers. glibc applies all three to
    // every thread. The order matters: without root's rights the groups could not be changed any more.
    unsafe {
        check(libc::setgroups(1, &user.gid))?;
        check(libc::setgid(user.gid))?;
        check(libc::setuid(user.uid))?;
    }
    Ok(())
}

/// Whoever this process runs as, as messages name them.
pub(crate) fn current_user() -> String {
    // SAFETY: geteuid cannot fail and touches no memory.
    let uid = unsafe { libc::geteuid() };
    format!("user {}", name_of(uid))
}

/// `alice`, or `4711` where the system has no name for the number.
fn name_of(uid: u32) -> String {
    // SAFETY: see `look_up`; the entry's name points into the buffer.
    let named = look_up(|entry, buffer, found| unsafe {
        libc::getpwuid_r(uid, entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
    });
    named.map_or_else(|| uid.to_string(), |(name, ..)| name)
}

/// Looks a user up in the system's list.
fn user_named(name: &str) -> Option<User> {
    let wanted = CString::new(name).ok()?;
    // SAFETY: see `look_up`; the name is a C string that outlives the call.
    let (_, uid, gid) = look_up(|entry, buffer, found| unsafe {
        let name = wanted.as_ptr();
        libc::getpwnam_r(name, entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
    })?;
    Some(User {
        name: name.into(),
        uid,
        gid,
    })
}

/// What a call of the `getpw…_r` family finds: a name, a user and a group. The pointers that it is given are valid for the
/// call, and so is the buffer, into which the entry points.
fn look_up(
    call: impl FnOnce(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> libc::c_int,
) -> Option<(String, u32, u32)> {
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = vec![0u8; 16 * 1024];
    let mut found = std::ptr::null_mut();
    let status = call(entry.as_mut_ptr(), &mut buffer, &mut found);
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so the entry is filled in, and its name is a C string in the buffer, which still lives.
    let (entry, name) = unsafe {
        let entry = entry.assume_init();
        (entry, CStr::from_ptr(entry.pw_name))
    };
    Some((name.to_string_lossy().into_owned(), entry.pw_uid, entry.pw_gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(user_named("root").map(|user| user.uid), Some(0));
        assert!(user_named("no-such-user-here").is_none());
        assert!(user_named("a\0b").is_none());
        assert_eq!(name_of(0), "root");
        assert_eq!(name_of(4_000_000_123), "4000000123");
    }

    #[test]
    fn a_configured_user_that_does_not_exist_is_named_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        if is_root() {
            let error = chosen_user(Some("no-such-user"), folder).unwrap_err().to_string();
            assert!(error.contains("useradd --system"), "{error}");
            assert_eq!(chosen_user(Some("root"), folder).unwrap(), None);
            data_folder::give(folder, 4711, 4712).unwrap();
            let user = chosen_user(None, folder).unwrap().expect("the folder's owner");
            assert_eq!((user.uid, user.gid), (4711, 4712));
        } else {
            assert_eq!(chosen_user(Some("no-such-user"), folder).unwrap(), None);
        }
    }
}
