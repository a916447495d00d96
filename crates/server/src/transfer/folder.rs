//! Folders that somebody else may have made, gone through without a link in them being followed.

use std::ffi::OsStr;
use std::fs::{DirEntry, File, FileType};
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A folder that is held open. What is within is reached through it, one level at a time, so that nothing that is put in the
/// place of a folder meanwhile leads elsewhere: whoever runs this may read more than whoever made it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    held: File,
}

impl Folder {
    /// The folder that was named. A link to it is followed.
    pub(super) fn open(path: &Path) -> Result<Folder> {
        Self::held(path, path.to_owned(), 0)
    }

    /// A folder within, which is no link.
    pub(super) fn folder(&self, name: impl AsRef<OsStr>) -> Result<Folder> {
        let path = self.path.join(name.as_ref());
        Self::held(&self.within(name), path, libc::O_NOFOLLOW)
    }

    fn held(at: &Path, path: PathBuf, flags: i32) -> Result<Folder> {
        let held = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | flags)
            .open(at)?;
        Ok(Folder { path, held })
    }

    /// A regular file within, not what leads to one.
    pub(super) fn file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.within(name))?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(Error::other("expected a regular file")),
        }
    }

    /// What stands within under this name: a link is one.
    pub(super) fn kind(&self, name: impl AsRef<OsStr>) -> Result<FileType> {
        Ok(self.within(name).symlink_metadata()?.file_type())
    }

    /// Everything within. The paths of what is found are of no use to anybody else.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Result<DirEntry>>> {
        std::fs::read_dir(self.within(""))
    }

    /// What this folder is called.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is within, as this process reaches it.
    pub(super) fn within(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let held = self.held.as_raw_fd().to_string();
        Path::new("/proc/self/fd").join(held).join(name.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_put_in_the_place_of_a_folder_is_not_gone_into() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("mine", "mine"), ("another", "secret")] {
            fs::create_dir_all(path(name).join("cur")).unwrap();
            fs::write(path(name).join("cur/1"), text).unwrap();
        }
        let root = Folder::open(folder.path()).unwrap();
        let mine = root.folder("mine").unwrap();
        fs::rename(path("mine"), path("elsewhere")).unwrap();
        symlink(path("another"), path("mine")).unwrap();
        assert!(root.folder("mine").is_err(), "it is a link now");
        let part = mine.folder("cur").unwrap();
        let read = |name: &str| std::io::read_to_string(part.file(name)?);
        assert_eq!(read("1").unwrap(), "mine");
        let names: Vec<_> = part.entries().unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["1"]);
        assert_eq!(part.path(), path("mine/cur"));
        symlink(path("another/cur/1"), path("elsewhere/cur/2")).unwrap();
        assert!(part.file("2").is_err() && part.file("").is_err());
        assert!(part.kind("2").unwrap().is_symlink());
    }
}
