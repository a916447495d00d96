mod lane;
#[cfg(test)]
mod tests;

use crate::pool::Pool;
use crate::{OpenError, store_error};
use bytes::Bytes;
use lane::{Lane, Lanes};
use ringpost_base::{UnixTime, limits};
use ringpost_store::{BoxFuture, FileInfo, FileName, FileWriter, Files, FolderName, StoreError, clamp};
use std::fmt;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

/// Files in a folder: recordings as they grow, and media to be played. Clones are the same folder.
///
/// A thread of its own does all that is submitted to its [writers](Files::writer), so that a disk that stands still holds up
/// nobody who submits; others read. Files and folders that it makes are readable by their owner alone.
#[derive(Clone)]
pub struct DiskFiles(Arc<Inner>);

struct Inner {
    root: PathBuf,
    lanes: Lanes,
    readers: Pool,
}

/// Threads that read: a reader that waits for the disk does not hold up all others.
const READERS: usize = 2;

impl DiskFiles {
    /// Opens the folder, or makes it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let root = root.into();
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
            Ok((Lanes::start(root.clone())?, Pool::start(READERS)?))
        };
        let (lanes, readers) = open().map_err(|error| OpenError {
            folder: root.clone(),
            error,
        })?;
        Ok(DiskFiles(Arc::new(Inner { root, lanes, readers })))
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.0.clone();
        self.0
            .readers
            .run(move || work(&inner))
            .await?
            .map_err(store_error)
    }
}

impl Inner {
    fn list(&self, folder: &FolderName) -> io::Result<Vec<FileInfo>> {
        let infos = self.entries(folder, |name, metadata| {
            let name = folder.file(name).ok().filter(|_| metadata.is_file())?;
            Some(FileInfo {
                is_open: self.lanes.is_open(&name),
                name,
                size_bytes: metadata.len(),
                modified: modified(metadata),
            })
        });
        infos.map(|infos| last(infos, |info| info.name.clone()))
    }

    fn folders(&self, folder: &FolderName) -> io::Result<Vec<FolderName>> {
        let names = self.entries(folder, |name, metadata| {
            folder.folder(name).ok().filter(|_| metadata.is_dir())
        });
        names.map(|names| last(names, FolderName::clone))
    }

    fn entries<T>(
        &self,
        folder: &FolderName,
        mut take: impl FnMut(&str, &Metadata) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let path = self.root.join(folder.as_str());
        let entries = match std::fs::read_dir(&path) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            // What was removed since it was read of is not there.
            let (Some(name), Ok(metadata)) = (name.to_str(), std::fs::metadata(path.join(&name))) else {
                continue;
            };
            found.extend(take(name, &metadata));
        }
        Ok(found)
    }

    fn read(&self, file: &FileName, range: &Range<u64>) -> io::Result<Option<Bytes>> {
        let file = match File::open(self.root.join(file.to_string())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let range = clamp(range, file.metadata()?.len());
        let length = (range.end - range.start).min(limits::FILE_READ_BYTES) as usize;
        let mut octets = vec![0; length];
        let mut at = 0;
        while at < length {
            match file.read_at(&mut octets[at..], range.start + at as u64)? {
                // It has become shorter.
                0 => break,
                read => at += read,
            }
        }
        octets.truncate(at);
        Ok(Some(octets.into()))
    }

    fn remove(&self, file: &FileName) -> io::Result<()> {
        match std::fs::remove_file(self.root.join(file.to_string())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => {
                self.lanes.forget(file);
                // A folder with something in it stays.
                if done.is_ok() && !file.folder().as_str().is_empty() {
                    let _ = std::fs::remove_dir(self.root.join(file.folder().as_str()));
                }
                done
            }
        }
    }
}

/// In order, at most as many as are listed, those with the greatest names.
fn last<T, K: Ord>(mut all: Vec<T>, key: impl FnMut(&T) -> K) -> Vec<T> {
    all.sort_by_cached_key(key);
    all.drain(..all.len().saturating_sub(limits::FILES_LISTED));
    all
}

fn modified(metadata: &Metadata) -> UnixTime {
    let (s, ns) = (
        metadata.mtime().max(0) as u64,
        metadata.mtime_nsec().max(0) as u64,
    );
    UnixTime::from_nanos(s.saturating_mul(1_000_000_000).saturating_add(ns))
}

impl Files for DiskFiles {
    fn writer(&self) -> Box<dyn FileWriter> {
        Box::new(Lane::new(&self.0.lanes))
    }

    fn list<'a>(&'a self, folder: &'a FolderName) -> BoxFuture<'a, Result<Vec<FileInfo>, StoreError>> {
        let folder = folder.clone();
        Box::pin(self.on_thread(move |inner| inner.list(&folder)))
    }

    fn folders<'a>(&'a self, folder: &'a FolderName) -> BoxFuture<'a, Result<Vec<FolderName>, StoreError>> {
        let folder = folder.clone();
        Box::pin(self.on_thread(move |inner| inner.folders(&folder)))
    }

    fn read<'a>(
        &'a self,
        file: &'a FileName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        let file = file.clone();
        Box::pin(self.on_thread(move |inner| inner.read(&file, &range)))
    }

    fn remove<'a>(&'a self, file: &'a FileName) -> BoxFuture<'a, Result<(), StoreError>> {
        let file = file.clone();
        Box::pin(self.on_thread(move |inner| inner.remove(&file)))
    }
}

impl fmt::Debug for DiskFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskFiles({})", self.0.root.display())
    }
}
