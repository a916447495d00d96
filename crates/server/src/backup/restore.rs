//! A backup becomes a data folder again.

use super::{Counted, archive};
use crate::config::Config;
use crate::stores::BODIES;
use crate::{data_folder, privileges};
use anyhow::{Context, Result, bail, ensure};
use ringpost_blobs::FileBlobs;
use ringpost_store::{Report, check_store};
use ringpost_store_sqlite::{DataFolder, Options, SqliteStore};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What a backup is unpacked into, in the data folder. While it is there, nothing else in the data folder counts.
pub(super) const UNPACKED: &str = "restoring";

/// Whether a restore began in this data folder and did not end.
pub(crate) fn is_unfinished(data: &Path) -> bool {
    data.join(UNPACKED).exists()
}

/// Unpacks a backup into the data folder, which holds nothing, and looks the store through. Stopped at any moment it has made
/// no data folder that a server would take, and may be run again.
pub(crate) async fn restore(config: &Config, file: &Path) -> Result<(Counted, Report)> {
    let data = config.data_folder();
    let input = File::open(file).with_context(|| file.display().to_string())?;
    let held = data_folder::hold(&data)?;
    ensure_empty(&data)?;
    // What root makes in here, the server must be able to open.
    if let Some(user) = privileges::chosen_user(config.user.as_deref(), &data)? {
        privileges::become_user(&user, &data)?;
    }
    let unpacked = data.join(UNPACKED);
    clear(&data)?;
    make_folder(&unpacked)?;
    held.sync()?;
    let counted = match unpack(input, &unpacked) {
        Ok(counted) => counted,
        Err(error) => {
            clear(&data)?;
            return Err(error).with_context(|| file.display().to_string());
        }
    };
    let report = check(&unpacked).await?;
    move_up(&unpacked, &data)?;
    held.sync()?;
    Ok((counted, report))
}

/// Nothing may be overwritten, but what a restore left that was stopped.
fn ensure_empty(data: &Path) -> Result<()> {
    if is_unfinished(data) {
        return Ok(());
    }
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_name() != DataFolder::LOCK {
            bail!(
                "data: expected an empty folder, and {} is there; restore into another one",
                entry.path().display()
            );
        }
    }
    Ok(())
}

/// Removes everything but the lock, the mark of what was begun last.
fn clear(data: &Path) -> Result<()> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == DataFolder::LOCK || name == UNPACKED {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    super::remove_all(&data.join(UNPACKED))
}

fn unpack(input: File, into: &Path) -> Result<Counted> {
    let counted = archive::read(input, |name, bytes| {
        let path = into.join(name);
        if let Some(above) = path.parent() {
            make_folder(above)?;
        }
        write_file(&path, bytes)
    })?;
    ensure!(
        into.join(SqliteStore::FILE).exists(),
        "expected {} in it, which is missing",
        SqliteStore::FILE
    );
    // One wait for everything that was written.
    let folder = File::open(into)?;
    // SAFETY: syncfs takes a descriptor that `folder` keeps open, and touches no memory.
    match unsafe { libc::syncfs(folder.as_raw_fd()) } {
        0 => Ok(counted),
        _ => Err(io::Error::last_os_error()).context("the disk cannot be synced"),
    }
}

fn write_file(path: &Path, bytes: &mut dyn Read) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::copy(bytes, &mut file)?;
    Ok(())
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens the store, so that one of a later format is refused here, and holds everything in it against the rest.
async fn check(unpacked: &Path) -> Result<Report> {
    let store = SqliteStore::open_with(Options {
        path: unpacked.join(SqliteStore::FILE),
        vfs: None,
        readers: 1,
    })?;
    let blobs = FileBlobs::open(unpacked.join(BODIES))?;
    Ok(check_store(&store, &blobs).await?)
}

/// Everything moves to its place; the mark that it has not goes last.
fn move_up(unpacked: &Path, data: &Path) -> Result<()> {
    for entry in fs::read_dir(unpacked)? {
        let entry = entry?;
        fs::rename(entry.path(), data.join(entry.file_name()))?;
    }
    File::open(data)?.sync_all()?;
    fs::remove_dir(unpacked)?;
    Ok(())
}
