use ringpost_store::{CommitError, StoreError};
use rusqlite::{Error, ErrorCode, ffi};
use std::path::PathBuf;

/// Why the store, or its folder, could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the data folder.
    #[error("the data folder {} is held by another process{}", folder.display(), holder.map_or(String::new(), |pid| format!(", {pid}")))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// Its process number, if it could be read.
        holder: Option<u32>,
    },
    /// The folder could not be made, opened or locked.
    #[error("the data folder {}: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// SQLite refused.
    #[error("the store {}: {error}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it said.
        error: Error,
    },
    /// The file system has no shared memory, as network file systems have none: SQLite can keep no write-ahead log there.
    #[error("the store {} lies on a file system that cannot hold it: move the data folder to a local disk", path.display())]
    NoLog {
        /// The database.
        path: PathBuf,
    },
    /// The store was written by a later version of the server.
    #[error("the store {} has format {found}, and this server knows {known}", path.display())]
    Format {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format of this server.
        known: i64,
    },
    /// A thread could not be started.
    #[error("no thread for the store: {0}")]
    Thread(std::io::Error),
}

/// What went wrong in SQLite, as the store's users know it.
pub(crate) fn store_error(e: Error) -> StoreError {
    let Error::SqliteFailure(failure, _) = &e else {
        return StoreError::Io(e.to_string());
    };
    match (failure.code, failure.extended_code) {
        // The shared memory's file grows too.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::Full,
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => StoreError::Damaged(e.to_string()),
        _ => StoreError::Io(e.to_string()),
    }
}

pub(crate) fn commit_error(e: Error) -> CommitError {
    store_error(e).into()
}

/// Whether a sync failed: then nobody knows what is on the disk, and the pages that were to be written may be gone from
/// memory too, so that a second sync that succeeds proves nothing.
pub(crate) fn is_failed_sync(e: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = e else {
        return false;
    };
    matches!(
        failure.extended_code,
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC
    )
}
