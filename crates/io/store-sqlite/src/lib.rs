//! The store on a single machine: SQLite, in the data folder, with one sync for every batch that waits.
//!
//! One thread writes. It takes every batch that has queued up while the last sync ran, waits some milliseconds for those
//! who came together with others before (never for anybody where one writes alone), puts them into one transaction, and
//! commits it with `synchronous=FULL`, so that its cost is one sync for all of them. A batch is resolved (see
//! [`Batch::resolve`](ringpost_store::Batch::resolve)) against what the batches before it in the same transaction wrote,
//! and before it writes anything; one that is refused leaves the others alone.
//!
//! **Applied and Durable come together here.** SQLite shows other connections what is committed, and in this mode committed
//! means synced; so nobody reads what a loss of power could take back. A session that pipelines changes waits for a sync
//! between them, which it shares with everybody else.
//!
//! [`SqliteStore::open_inline`] is the same store without threads, for the simulator.
//!
//! Reads are answered by a few threads with connections of their own, each from a snapshot, and wait for no writer. Single
//! records that were asked for of late are answered at once, from memory that the writer keeps true.
//!
//! ```no_run
//! use ringpost_store_sqlite::{DataFolder, SqliteStore};
//!
//! let folder = DataFolder::open("/var/lib/ringpost")?; // held by this process until it is dropped
//! let store = SqliteStore::open(&folder)?;
//! # Ok::<(), ringpost_store_sqlite::OpenError>(())
//! ```
//!
//! Bodies above 64 KiB are not here: `ringpost-blobs` keeps them as files. [`faulty`] is a disk that loses power.

mod answer;
mod engine;
mod error;
pub mod faulty;
mod folder;
mod gathering;
mod inline;
mod pending;
mod reader;
mod recent;
mod snapshot;
#[cfg(test)]
mod tests;
mod threads;

pub use error::OpenError;
pub use folder::DataFolder;
pub use snapshot::snapshot;

use bytes::Bytes;
use engine::Engine;
use inline::Inline;
use reader::Reader;
use recent::Recent;
use ringpost_store::{
    Applied, Batch, BlobId, BoxFuture, CommitError, Durable, Found, Partition, Query, Store, StoreError,
};
use std::fmt;
use std::future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use threads::Threads;

/// Where the database is, and how it is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database file; `-wal` and `-shm` lie beside it.
    pub path: PathBuf,
    /// The SQLite VFS to go through; `None` is the operating system's.
    pub vfs: Option<String>,
    /// Threads that answer reads, each with a connection.
    pub readers: usize,
}

/// The store. Dropped, it finishes what was handed to it and closes.
pub struct SqliteStore {
    runs: Runs,
    recent: Arc<Recent>,
    path: PathBuf,
}

enum Runs {
    OnThreads(Threads),
    Inline(Box<Inline>),
}

impl SqliteStore {
    /// The database's name in the data folder.
    pub const FILE: &str = "store.db";
    /// Readers that are enough for a machine of two to eight cores. More than cores of the smaller one, since they wait for the
    /// disk, and it does more when several wait.
    const READERS: usize = 4;

    /// Opens the store in a data folder, or makes it.
    pub fn open(folder: &DataFolder) -> Result<Self, OpenError> {
        folder.keep_to_ourselves(Self::FILE)?;
        let store = Self::open_with(Options {
            path: folder.path().join(Self::FILE),
            vfs: None,
            readers: Self::READERS,
        })?;
        folder.sync()?;
        Ok(store)
    }

    /// Opens a store wherever it is. Nothing keeps another process from it: see [`DataFolder`].
    pub fn open_with(options: Options) -> Result<Self, OpenError> {
        let engine = Engine::open(&options)?;
        let (recent, path) = (engine.recent(), options.path.clone());
        Ok(SqliteStore {
            runs: Runs::OnThreads(Threads::start(engine, &options)?),
            recent,
            path,
        })
    }

    /// The same without threads, for the simulator: reads and commits happen while their futures are polled, those that are
    /// ready together in one transaction, so that a run in a seeded order can be repeated. It blocks whoever polls.
    pub fn open_inline(options: Options) -> Result<Self, OpenError> {
        let engine = Engine::open(&options)?;
        let reader = Reader::open(&options)?;
        Ok(SqliteStore {
            recent: engine.recent(),
            runs: Runs::Inline(Box::new(Inline::new(engine, reader))),
            path: options.path,
        })
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.runs {
            Runs::OnThreads(threads) => threads.read(question).await,
            Runs::Inline(inline) => inline.read(question),
        }
    }
}

impl Store for SqliteStore {
    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        queries: Vec<Query>,
    ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        let partition = partition.to_bytes();
        if let Some(known) = self.recent.answer(&partition, &queries) {
            return Box::pin(future::ready(Ok(known)));
        }
        let recent = self.recent.clone();
        Box::pin(self.ask(move |reader| {
            let moment = recent.moment();
            let found = reader.read(&partition, &queries)?;
            recent.remember(moment, &partition, &queries, &found);
            Ok(found)
        }))
    }

    fn blob<'a>(
        &'a self,
        partition: &'a Partition,
        id: BlobId,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        let partition = partition.to_bytes();
        Box::pin(self.ask(move |reader| reader.blob(&partition, id, &range)))
    }

    fn blob_many<'a>(
        &'a self,
        partition: &'a Partition,
        ids: Vec<BlobId>,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        let partition = partition.to_bytes();
        Box::pin(self.ask(move |reader| reader.blob_many(&partition, &ids)))
    }

    fn blobs<'a>(
        &'a self,
        partition: &'a Partition,
        after: Option<BlobId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BlobId>, StoreError>> {
        let partition = partition.to_bytes();
        Box::pin(self.ask(move |reader| reader.blobs(&partition, after, limit)))
    }

    fn partitions(
        &self,
        after: Option<Partition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Partition>, StoreError>> {
        let after = after.map(|partition| partition.to_bytes());
        Box::pin(self.ask(move |reader| reader.partitions(after, limit)))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Applied, CommitError>> {
        Box::pin(async move {
            if !batch.fits() {
                return Err(CommitError::TooLarge);
            }
            let outcome = match &self.runs {
                Runs::OnThreads(threads) => threads.commit(batch).await?,
                Runs::Inline(inline) => inline.commit(batch).await?,
            };
            Ok(Applied::new(outcome.minted, outcome.version, Durable::kept()))
        })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}
