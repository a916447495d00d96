//! A disk in memory that loses power, as a SQLite VFS: what was written and not synced may be there afterwards, or not, or
//! in part, sector by sector and in any order.
//!
//! The store that runs on it is the shipped one, threads and locks included.
//!
//! ```
//! use ringpost_store_sqlite::{Options, SqliteStore, faulty::Disk};
//!
//! let disk = Disk::new(7);
//! let options = Options { path: "store.db".into(), vfs: Some(disk.vfs().into()), readers: 1 };
//! let store = SqliteStore::open_with(options.clone())?;
//! disk.crash(); // whoever has a file open has lost it
//! drop(store);
//! let store = SqliteStore::open_with(options)?;
//! # Ok::<(), ringpost_store_sqlite::OpenError>(())
//! ```

mod model;
mod vfs;

pub use model::Honesty;

use model::State;
use ringpost_base::Rng;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk, and the VFS through which SQLite reaches it. Clones are the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    registration: vfs::Registration,
}

/// What the VFS's functions work on.
struct Shared(Mutex<State>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// An empty disk; `seed` decides what a loss of power leaves.
    pub fn new(seed: u64) -> Self {
        let shared = Arc::new(Shared(Mutex::new(State::new(Rng::from_number(seed)))));
        let registration = vfs::Registration::new(&shared);
        Disk(Arc::new(Handle { shared, registration }))
    }

    /// The VFS's name, for [`Options::vfs`](crate::Options::vfs).
    pub fn vfs(&self) -> &str {
        self.0.registration.name()
    }

    /// What a sync does from now on.
    pub fn set_honesty(&self, honesty: Honesty) {
        self.0.shared.state().honesty = honesty;
    }

    /// How many bytes all files may have together from now on; what would go beyond is refused as by a full disk.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.shared.state().capacity = bytes;
    }

    /// How many bytes all files have together.
    pub fn used(&self) -> u64 {
        self.0.shared.state().used()
    }

    /// Whether syncs report an error from now on, while everything else works.
    pub fn set_sync_fails(&self, fails: bool) {
        self.0.shared.state().sync_fails = fails;
    }

    /// The power goes after so many further writes, truncations, deletions and syncs: the last of them may have happened in
    /// part, and nothing works any more until [`crash`](Disk::crash).
    pub fn fail_after(&self, operations: u64) {
        self.0.shared.state().left = Some(operations);
    }

    /// Loses power and comes back: files that are open are lost to whoever has them, what was synced is there, and of what
    /// was not, whatever the seed leaves.
    pub fn crash(&self) {
        self.0.shared.state().crash();
    }

    /// How often somebody asked for a sync.
    pub fn syncs(&self) -> u64 {
        self.0.shared.state().syncs
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.vfs())
    }
}
