//! The data folder: made at the first start, its owner's alone, and held by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The lock's file. It holds the number of the process that has it.
const LOCK: &str = "lock";
/// The admin socket's file.
const SOCKET: &str = "admin.sock";

/// A data folder that this process holds. Dropping it lets it go; so does the process's end, however it comes.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    #[error("data: {path} is held by process {holder}; stop that server, or set another folder")]
    Held { path: PathBuf, holder: String },
    #[error("data: {path}: {source}; set a folder that this user may write")]
    Io { path: PathBuf, source: io::Error },
}

impl DataFolder {
    /// Makes the folder if it is not there, and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<DataFolder, DataFolderError> {
        let failed = |source| DataFolderError::Io {
            path: path.to_path_buf(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .clone();
        let mut lock = options.open(path.join(LOCK)).map_err(failed)?;
        if !try_lock(&lock).map_err(failed)? {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            return Err(DataFolderError::Held {
                path: path.to_path_buf(),
                holder: holder.trim().to_string(),
            });
        }
        let pid = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(pid.as_bytes()))
            .map_err(failed)?;
        Ok(DataFolder {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a running server answers the command line.
    pub(crate) fn socket(folder: &Path) -> PathBuf {
        folder.join(SOCKET)
    }

    /// Who owns it: a user and a group.
    pub(crate) fn owner(&self) -> io::Result<(u32, u32)> {
        let metadata = std::fs::metadata(&self.path)?;
        Ok((metadata.uid(), metadata.gid()))
    }

    /// Gives the folder with all that is in it to a user and a group.
    pub(crate) fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        give(&self.path, uid, gid)
    }
}

/// An advisory lock that the kernel takes away when the process ends. False: somebody else has it.
fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock is given a descriptor that `file` keeps open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_server_on_the_same_folder_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data");
        let held = DataFolder::open(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let error = DataFolder::open(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("is held by process {}", std::process::id())),
            "{error}"
        );
        drop(held);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_its_key() {
        let error = DataFolder::open(Path::new("/proc/no/such"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("data: /proc/no/such: "), "{error}");
    }
}
