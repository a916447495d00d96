use crate::engine::connect;
use crate::{OpenError, Options};
use rusqlite::OpenFlags;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes what the database at `database` holds now, as one database, to the new file `into`, readable by its owner alone.
///
/// All of it is from one moment, at which everything was in there that had been committed when this was called. Another
/// process may write to the database meanwhile; its log grows until this is done. Nothing gathers in memory, and `into` is
/// not synced.
pub fn snapshot(database: &Path, into: &Path) -> Result<(), OpenError> {
    let io_failed = |error| OpenError::Folder {
        folder: into.to_path_buf(),
        error,
    };
    // SQLite takes an empty file for a new one.
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(into);
    drop(made.map_err(io_failed)?);
    let options = Options {
        path: database.to_path_buf(),
        vfs: None,
        readers: 0,
    };
    let failed = |error| OpenError::Sqlite {
        path: database.to_path_buf(),
        error,
    };
    let conn = connect(&options, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let name = String::from_utf8_lossy(into.as_os_str().as_bytes());
    conn.execute("VACUUM INTO ?1", [name]).map_err(failed)?;
    Ok(())
}
