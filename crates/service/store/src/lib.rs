//! What Ringpost keeps, and how: an ordered key-value store with guarded batches, bodies beside it, and a bus for hints.
//!
//! [`Store`], [`Blobs`], [`Files`] and [`Bus`] are the contracts that engines fulfil. Keys and typed records are spelled here and
//! nowhere else.
//!
//! [`mailbox::MailBatch`] is how messages come, change and go: it keeps every count in the same commit. [`check_store`]
//! holds the whole store against itself, [`Sweeper`] removes what nothing names any more.
//!
//! ```
//! use futures_util::FutureExt;
//! use ringpost_store::{AccountId, Batch, CommitError, Key, MemoryStore, Partition, Store, Template, Width};
//!
//! # async {
//! let (store, home) = (MemoryStore::new(), Partition::Account(AccountId(1)));
//! let mut batch = Batch::new(home.clone());
//! let uid = batch.mint(Key(b"last".to_vec()));
//! batch.put(Template::from(b"message ".to_vec()).number(uid, Width::U64), b"hello".to_vec());
//! let applied = store.commit(batch).await?;
//! assert_eq!(applied.minted, [1]);
//!
//! let mut batch = Batch::new(home);
//! batch.exists(Key(b"nothing".to_vec()));
//! assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict(_))));
//! # Ok::<(), CommitError>(()) }.now_or_never().unwrap().unwrap();
//! ```
//!
//! It opens no file and no socket; the engines that do live under `io/`.

mod batch;
mod blob;
mod body;
mod bus;
mod check;
pub mod conformance;
mod files;
mod journal;
pub mod keys;
pub mod mailbox;
mod memory;
mod partition;
mod record;
pub mod records;
mod resolve;
pub mod states;
mod store;
mod sweep;

pub use batch::{Add, Batch, Expect, Guard, Key, Mint, Minted, Number, Piece, Put, Template, Version, Width};
pub use blob::{BlobId, BlobInfo, BlobReader, BlobWriter, Blobs, BytesReader, clamp};
pub use body::{Bodies, Body, BodyWriter};
pub use bus::{Bus, Feed, Heard, Hint, Interest, LocalBus, Subscription, Topic};
pub use check::{Problem, Report, check_store};
pub use files::{
    FileCommand, FileInfo, FileName, FileNameError, FileRefusal, FileWriter, Files, FolderName, MemoryFiles,
    Retention, expired,
};
pub use futures_util::future::BoxFuture;
pub use journal::BindingsJournal;
pub use memory::{MemoryBlobs, MemoryStore};
pub use partition::{AccountId, Partition};
pub use record::Record;
pub use resolve::Resolved;
pub use states::{States, StatesOf};
pub use store::{
    Applied, CommitError, Durable, DurableKeeper, Entry, Found, FoundBytes, Query, Scan, Store, StoreError,
    Stored, Versioned, counter_value,
};
pub use sweep::{Sweeper, Swept, clear_partition};
