use ringpost_base::UnixTime;
use ringpost_store::{BlobId, BlobInfo};
use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder and what lies where in it. Everything in here blocks.
pub(crate) struct Shelf {
    folder: PathBuf,
}

const TMP: &str = "tmp";

impl Shelf {
    /// Makes what is missing, and removes what was never finished.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700);
        make.create(folder.join(TMP))?;
        for entry in fs::read_dir(folder.join(TMP))? {
            fs::remove_file(entry?.path())?;
        }
        for byte in 0..=255u8 {
            make.create(folder.join(format!("{byte:02x}")))?;
        }
        sync_folder(&folder)?;
        if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
            sync_folder(above)?;
        }
        Ok(Shelf { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn unfinished(&self, id: BlobId) -> PathBuf {
        self.folder.join(TMP).join(id.to_string())
    }

    fn home(&self, id: BlobId) -> PathBuf {
        self.folder.join(format!("{:02x}", id.0[1]))
    }

    fn finished(&self, id: BlobId) -> PathBuf {
        self.home(id).join(id.to_string())
    }

    /// A new file for a body that is not there yet.
    pub(crate) fn begin(&self, id: BlobId) -> io::Result<File> {
        if self.finished(id).try_exists()? {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("the body {id} exists"),
            ));
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.unfinished(id))
    }

    /// Makes a body that was written survive a loss of power, under its own name.
    pub(crate) fn keep(&self, id: BlobId, file: &File) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(self.unfinished(id), self.finished(id))?;
        sync_folder(&self.home(id))
    }

    /// The body and its length.
    pub(crate) fn find(&self, id: BlobId) -> io::Result<Option<(File, u64)>> {
        match File::open(self.finished(id)) {
            Ok(file) => {
                let len = file.metadata()?.len();
                Ok(Some((file, len)))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn delete(&self, id: BlobId) -> io::Result<()> {
        match fs::remove_file(self.finished(id)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// What the file system has for those who are not root.
    pub(crate) fn room_bytes(&self) -> io::Result<u64> {
        let path = CString::new(self.folder.as_os_str().as_bytes())?;
        let mut found = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the path ends with a NUL, and the system writes the whole structure where it says 0.
        let found = unsafe {
            if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            found.assume_init()
        };
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    pub(crate) fn list(&self, after: Option<BlobId>, limit: usize) -> io::Result<Vec<BlobInfo>> {
        let mut found = Vec::new();
        // Every id here has the same first byte, so the folders are in the order of the ids.
        for byte in after.map_or(0, |id| id.0[1])..=255 {
            let mut ids = Vec::new();
            for entry in fs::read_dir(self.folder.join(format!("{byte:02x}")))? {
                let id = entry?.file_name().to_str().and_then(BlobId::parse);
                ids.extend(id.filter(|id| after.is_none_or(|after| *id > after)));
            }
            ids.sort_unstable();
            for id in ids {
                if found.len() >= limit {
                    return Ok(found);
                }
                found.extend(self.info(id)?);
            }
        }
        Ok(found)
    }

    /// `None` when the body was deleted since it was listed.
    fn info(&self, id: BlobId) -> io::Result<Option<BlobInfo>> {
        match fs::metadata(self.finished(id)) {
            Ok(metadata) => {
                let (s, ns) = (
                    metadata.mtime().max(0) as u64,
                    metadata.mtime_nsec().max(0) as u64,
                );
                let written = UnixTime::from_nanos(s.saturating_mul(1_000_000_000).saturating_add(ns));
                Ok(Some(BlobInfo {
                    id,
                    size_bytes: metadata.len(),
                    written,
                }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
