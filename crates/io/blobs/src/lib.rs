//! What is too large for the store, as files: bodies, which are written in chunks, synced once, and then never changed; and
//! recordings, which grow.
//!
//! [`DiskFiles`] appends to files with names in folders, and reads them: see there.
//!
//! [`FileBlobs`] holds bodies. A body is written under `tmp/` and moved to `<xx>/<id>` when it is finished, `xx` being the second byte of its id. File and
//! folder are synced before [`finish`](ringpost_store::BlobWriter::finish) is done, so the batch that names it may follow.
//! What a stopped process left under `tmp/` is removed at the next start.
//!
//! A few threads do the reading and writing; callers wait for them without blocking, and a slow disk slows whoever writes.
//!
//! ```no_run
//! use ringpost_blobs::FileBlobs;
//!
//! let blobs = FileBlobs::open("/var/lib/ringpost/blobs")?;
//! # Ok::<(), ringpost_blobs::OpenError>(())
//! ```
//!
//! Bodies up to 64 KiB do not come here: they lie in the store, and share its sync.

mod files;
mod pool;
mod shelf;

pub use files::DiskFiles;

use bytes::Bytes;
use pool::Pool;
use ringpost_base::limits;
use ringpost_store::{BlobId, BlobInfo, BlobReader, BlobWriter, Blobs, BoxFuture, StoreError, clamp};
use shelf::Shelf;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The folder of bodies or files could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the folder {}: {error}", folder.display())]
pub struct OpenError {
    /// The folder.
    pub folder: PathBuf,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// Bodies in a folder. Clones are the same folder.
#[derive(Clone)]
pub struct FileBlobs(Arc<Inner>);

struct Inner {
    shelf: Shelf,
    pool: Pool,
}

/// Threads that read and write: enough to keep a disk busy.
const THREADS: usize = 2;

impl FileBlobs {
    /// Opens the folder, or makes it, readable by its owner alone. Nothing keeps another process from it: whoever opens it
    /// holds the data folder.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let folder = folder.into();
        let failed = |error| OpenError {
            folder: folder.clone(),
            error,
        };
        let shelf = Shelf::open(folder.clone()).map_err(failed)?;
        let pool = Pool::start(THREADS).map_err(failed)?;
        Ok(FileBlobs(Arc::new(Inner { shelf, pool })))
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.0.clone();
        self.0
            .pool
            .run(move || work(&inner.shelf))
            .await?
            .map_err(store_error)
    }
}

fn store_error(e: io::Error) -> StoreError {
    match e.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => StoreError::Full,
        _ => StoreError::Io(e.to_string()),
    }
}

impl Blobs for FileBlobs {
    fn writer(&self, id: BlobId) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        Box::pin(async move {
            let file = self.on_thread(move |shelf| shelf.begin(id)).await?;
            Ok(Box::new(Writer {
                blobs: self.clone(),
                id,
                file: Some(file),
                kept: false,
            }) as Box<dyn BlobWriter>)
        })
    }

    fn get(
        &self,
        id: BlobId,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        Box::pin(async move {
            let found = self.on_thread(move |shelf| shelf.find(id)).await?;
            let reader = found.map(|(file, len)| {
                let range = clamp(&range, len);
                Box::new(Reader {
                    blobs: self.clone(),
                    id,
                    file: Arc::new(file),
                    range,
                }) as Box<dyn BlobReader>
            });
            Ok(reader)
        })
    }

    fn delete(&self, id: BlobId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.on_thread(move |shelf| shelf.delete(id)))
    }

    fn room_bytes(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.on_thread(Shelf::room_bytes))
    }

    fn list(&self, after: Option<BlobId>, limit: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, StoreError>> {
        Box::pin(self.on_thread(move |shelf| shelf.list(after, limit)))
    }
}

impl fmt::Debug for FileBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBlobs({})", self.0.shelf.folder().display())
    }
}

struct Writer {
    blobs: FileBlobs,
    id: BlobId,
    /// Away while a thread writes to it; gone after a failure, or after a write that was given up half-way.
    file: Option<File>,
    kept: bool,
}

impl Writer {
    fn take(&mut self) -> Result<File, StoreError> {
        let gone = || StoreError::Io(format!("an earlier write of the body {} did not end", self.id));
        self.file.take().ok_or_else(gone)
    }
}

impl BlobWriter for Writer {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut file = self.take()?;
            let written = self.blobs.on_thread(move |_| {
                file.write_all(&chunk)?;
                Ok(file)
            });
            self.file = Some(written.await?);
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let (id, file) = (self.id, self.take()?);
            self.blobs.on_thread(move |shelf| shelf.keep(id, &file)).await?;
            self.kept = true;
            Ok(())
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(self.blobs.0.shelf.unfinished(self.id));
        }
    }
}

struct Reader {
    blobs: FileBlobs,
    id: BlobId,
    file: Arc<File>,
    range: Range<u64>,
}

impl BlobReader for Reader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move {
            let len = (self.range.end - self.range.start).min(limits::CHUNK_BYTES as u64) as usize;
            if len == 0 {
                return Ok(None);
            }
            let (file, at, id) = (self.file.clone(), self.range.start, self.id);
            let chunk = self.blobs.on_thread(move |_| {
                let mut chunk = vec![0; len];
                match file.read_exact_at(&mut chunk, at) {
                    Ok(()) => Ok(Ok(chunk)),
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(id)),
                    Err(e) => Err(e),
                }
            });
            let chunk = chunk
                .await?
                .map_err(|id| StoreError::Damaged(format!("the body {id} has become shorter")))?;
            self.range.start += len as u64;
            Ok(Some(chunk.into()))
        })
    }
}

#[cfg(test)]
mod tests;
