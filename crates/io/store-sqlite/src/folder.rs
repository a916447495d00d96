use crate::OpenError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The server's data folder, held by this process alone until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// The file in it by which it is held.
    pub const LOCK: &str = "lock";

    /// Makes the folder if it is not there, readable by its owner alone, and holds it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let failed = |error| OpenError::Folder {
            folder: path.clone(),
            error,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(failed)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(Self::LOCK))
            .map_err(failed)?;
        match hold(&lock) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let mut text = String::new();
                // Who it is helps, but is not needed: the holder may just be writing its number.
                let holder = lock
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(OpenError::Held { folder: path, holder });
            }
            Err(e) => return Err(failed(e)),
        }
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(DataFolder { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the names of the files in it survive a loss of power.
    pub fn sync(&self) -> Result<(), OpenError> {
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| OpenError::Folder {
            folder: self.path.clone(),
            error,
        })
    }

    /// Makes a file in the folder readable by its owner alone before the first byte is in it, whatever the folder itself
    /// allows: somebody else may have made that. What SQLite puts beside its file takes over the file's mode.
    pub(crate) fn keep_to_ourselves(&self, name: &str) -> Result<(), OpenError> {
        let path = self.path.join(name);
        let make = || {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            if file.metadata()?.mode() & 0o077 != 0 {
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
            }
            Ok(())
        };
        make().map_err(|error| OpenError::Folder {
            folder: self.path.clone(),
            error,
        })
    }
}

/// An advisory lock that the system lets go when the process ends.
fn hold(file: &File) -> io::Result<()> {
    // SAFETY: flock takes a file descriptor that is open as long as `file` is, and touches no memory.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let folder = DataFolder::open(&path).unwrap();
        let refused = DataFolder::open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::Held { holder: Some(pid), .. } if pid == std::process::id()));
        let said = refused.to_string();
        assert!(
            said.contains(&*path.to_string_lossy()) && said.contains(&std::process::id().to_string()),
            "{said}"
        );
        drop(folder);
        DataFolder::open(&path).unwrap().sync().unwrap();
    }

    #[test]
    fn mail_and_keys_are_readable_by_their_owner_alone_in_a_folder_that_others_may_enter() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let folder = DataFolder::open(dir.path()).unwrap();
        let store = crate::SqliteStore::open(&folder).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        }
        drop(store);
        let database = dir.path().join(crate::SqliteStore::FILE);
        fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
        crate::SqliteStore::open(&folder).unwrap();
        assert_eq!(fs::metadata(database).unwrap().mode() & 0o777, 0o600);
    }
}
