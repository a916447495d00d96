//! Started as root for its ports, the server goes on as somebody else.

use crate::data_folder;
use std::ffi::CString;
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
    #[error("user: cannot go on as {name}: {source}")]
    Denied { name: String, source: io::Error },
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
            name: format!("user {uid}"),
            uid,
            gid,
        }));
    }
    Ok(user_named("ringpost").or_else(|| user_named("nobody")))
}

/// Gives the data folder to `user` and becomes it, for good: all groups, and no way back.
///
/// Call it when the ports are open, and before a thread is started that touches the data folder.
pub(crate) fn become_user(user: &User, folder: &Path) -> Result<(), PrivilegeError> {
    let denied = |source| PrivilegeError::Denied {
        name: user.name.clone(),
        source,
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

/// Looks a user up in the system's list.
fn user_named(name: &str) -> Option<User> {
    let wanted = CString::new(name).ok()?;
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = vec![0u8; 16 * 1024];
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the buffer's length is told; `entry` points into it.
    let status = unsafe {
        libc::getpwnam_r(
            wanted.as_ptr(),
            entry.as_mut_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &mut found,
        )
    };
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: getpwnam_r succeeded, so the entry is filled in.
    let entry = unsafe { entry.assume_init() };
    Some(User {
        name: name.into(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(user_named("root").map(|user| user.uid), Some(0));
        assert!(user_named("no-such-user-here").is_none());
        assert!(user_named("a\0b").is_none());
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
