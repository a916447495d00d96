//! The data folder as the command line sees it: whose it is, who answers in it, and what holds it.

use crate::privileges::current_user;
use anyhow::{Context, Result};
use ringpost_store_sqlite::{DataFolder, OpenError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a running server answers the command line.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("admin.sock")
}

/// Makes the folder if it is not there, and holds it. The error is one line that names the key and the mend.
pub(crate) fn hold(path: &Path) -> Result<DataFolder> {
    hold_if_free(path)?
        .map_err(|held| anyhow::Error::msg(format!("data: {held}; stop that server, or set another folder")))
}

/// The same; the inner error is that another process holds it.
pub(crate) fn hold_if_free(path: &Path) -> Result<Result<DataFolder, OpenError>> {
    match DataFolder::open(path) {
        Ok(folder) => Ok(Ok(folder)),
        Err(held @ OpenError::Held { .. }) => Ok(Err(held)),
        Err(error) => {
            let mend = if path.exists() && !path.is_dir() {
                "set a folder, not a file".to_string()
            } else {
                format!("set a folder that {} may write", current_user())
            };
            Err(anyhow::Error::msg(format!("data: {error}; {mend}")))
        }
    }
}

/// Who owns it: a user and a group.
pub(crate) fn owner(folder: &Path) -> io::Result<(u32, u32)> {
    let metadata = std::fs::metadata(folder)?;
    Ok((metadata.uid(), metadata.gid()))
}

/// Gives the folder with all that is in it to a user and a group.
pub(crate) fn give(folder: &Path, uid: u32, gid: u32) -> Result<()> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(path) = open.pop() {
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid))
            .with_context(|| format!("data: cannot give {} to user {uid}", path.display()))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_on_the_same_folder_is_told_who_holds_it_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let held = hold(folder.path()).unwrap();
        let error = hold(folder.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("data: ") && error.contains("stop that server"),
            "{error}"
        );
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(held);
        hold(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_its_key() {
        let error = hold(Path::new("/proc/no/such")).unwrap_err().to_string();
        assert!(
            error.starts_with("data: ") && error.contains("/proc/no/such"),
            "{error}"
        );
    }
}
