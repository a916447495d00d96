//! `ringpost backup` and `ringpost restore`: the whole data folder in one file, taken while the server serves.
//!
//! The file is a tar archive (see [`archive`]) of the store as it was at one moment, every body that it names, and the keys. The
//! command is a process of its own: it reads what the server wrote, and needs nothing of it.
//!
//! No body dangles, though the server may remove some meanwhile: all bodies are linked into a folder of the backup's own
//! before the store's moment and again after it. A body that the store names at that moment was there at the first time, or
//! was written since; and one that young the sweeper leaves alone for [`Sweeper::GRACE`](ringpost_store::Sweeper::GRACE).

mod archive;
mod restore;

pub(crate) use restore::{is_unfinished, restore};

use crate::config::Config;
use crate::data_folder::{self, socket};
use crate::stores::{BODIES, RECORDINGS};
use anyhow::{Context, Result, bail};
use archive::Writer;
use ringpost_base::UnixTime;
use ringpost_store_sqlite::{DataFolder, SqliteStore, snapshot};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a backup links the bodies into, in the data folder, and what it is held by.
const LINKS: &str = "backup";
const LINKS_LOCK: &str = "backup.lock";
/// Folders in folders of the data folder.
const DEPTH: usize = 4;

/// What a backup holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Writes a backup to a file, or to a new file in a folder, which appears there when it is whole. Gives its name.
pub(crate) fn backup(config: &Config, to: &Path, now: UnixTime) -> Result<(PathBuf, Counted)> {
    let data = config.data_folder();
    let database = data.join(SqliteStore::FILE);
    if !database.exists() {
        bail!(
            "data: there is no store in {}; name the server's configuration with --config",
            data.display()
        );
    }
    if is_unfinished(&data) {
        bail!(
            "data: {} holds a restore that was not finished; run that again first",
            data.display()
        );
    }
    let to = std::path::absolute(target(to, now))?;
    let parts = Parts::make(&to)?;
    let links = Links::hold(&data)?;
    links.add_bodies()?;
    snapshot(&database, &parts.store)?;
    links.add_bodies()?;

    let mut writer = Writer::new(parts.create()?)?;
    writer.file(SqliteStore::FILE, &parts.store)?;
    fs::remove_file(&parts.store)?;
    add_others(&mut writer, &data, Path::new(""), 0)?;
    for entry in fs::read_dir(&links.folder)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .ok()
            .context("a body's name is not ours")?;
        writer.file(&format!("{BODIES}/{}/{name}", shelf(&name)), &entry.path())?;
    }
    let counted = writer.finish()?;
    fs::rename(&parts.unfinished, &to).with_context(|| to.display().to_string())?;
    File::open(parts.folder())?.sync_all()?;
    Ok((to, counted))
}

/// Where the backup goes.
fn target(to: &Path, now: UnixTime) -> PathBuf {
    if !to.is_dir() {
        return to.to_path_buf();
    }
    let (year, month, day, hour, minute, second) = now.civil();
    to.join(format!(
        "ringpost-{year}{month:02}{day:02}-{hour:02}{minute:02}{second:02}.tar"
    ))
}

/// The folder that a body lies in: see `ringpost_blobs`.
fn shelf(name: &str) -> &str {
    name.get(2..4).unwrap_or("00")
}

/// What is written beside the target before it is whole; removed when this is dropped.
struct Parts {
    unfinished: PathBuf,
    store: PathBuf,
}

impl Parts {
    fn make(to: &Path) -> Result<Parts> {
        let beside = |end: &str| {
            let mut name = to.as_os_str().to_owned();
            name.push(format!(".{}.{end}", std::process::id()));
            PathBuf::from(name)
        };
        let parts = Parts {
            unfinished: beside("new"),
            store: beside("store"),
        };
        match fs::symlink_metadata(to) {
            Ok(_) => bail!(
                "{} is there already; name another file, or a folder",
                to.display()
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(parts),
            Err(error) => Err(error).with_context(|| to.display().to_string()),
        }
    }

    fn folder(&self) -> &Path {
        self.unfinished.parent().unwrap_or(Path::new("/"))
    }

    fn create(&self) -> Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.unfinished);
        file.with_context(|| self.unfinished.display().to_string())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
        let _ = fs::remove_file(&self.store);
    }
}

/// The folder of links to bodies, held by this process alone and removed when this is dropped.
struct Links {
    data: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl Links {
    /// Makes the folder anew.
    fn hold(data: &Path) -> Result<Links> {
        let Some(lock) = lock(data)? else {
            bail!(
                "another backup of {} is under way; try again when it is done",
                data.display()
            );
        };
        let folder = data.join(LINKS);
        remove_all(&folder)?;
        DirBuilder::new().mode(0o700).create(&folder)?;
        // Started by root, it must not keep the server from removing what a killed backup leaves.
        let (uid, gid) = data_folder::owner(data)?;
        for ours in [folder.clone(), data.join(LINKS_LOCK)] {
            std::os::unix::fs::lchown(&ours, Some(uid), Some(gid))
                .with_context(|| ours.display().to_string())?;
        }
        Ok(Links {
            data: data.to_path_buf(),
            folder,
            _lock: lock,
        })
    }

    /// Links the bodies that are there and have no link yet.
    fn add_bodies(&self) -> Result<()> {
        let bodies = self.data.join(BODIES);
        for byte in 0..=255u8 {
            let Some(entries) = found(fs::read_dir(bodies.join(format!("{byte:02x}"))))? else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                match fs::hard_link(entry.path(), self.folder.join(entry.file_name())) {
                    // It was removed, or it has a link already.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {}
                    linked => linked.with_context(|| entry.path().display().to_string())?,
                }
            }
        }
        Ok(())
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let _ = remove_all(&self.folder);
    }
}

/// Removes what a killed backup left, unless one is under way.
pub(crate) fn clear_left_behind(data: &Path) -> Result<()> {
    let folder = data.join(LINKS);
    if folder.exists()
        && let Some(_lock) = lock(data)?
    {
        remove_all(&folder)?;
    }
    Ok(())
}

fn lock(data: &Path) -> Result<Option<File>> {
    let path = data.join(LINKS_LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    // SAFETY: flock takes a descriptor that `file` keeps open, and touches no memory.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(Some(file)),
        _ => Ok(None),
    }
}

fn remove_all(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}

fn found<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Adds the files of the data folder that are neither the store's nor bodies: keys, certificates.
fn add_others(writer: &mut Writer<File>, data: &Path, inside: &Path, depth: usize) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(data.join(inside))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = inside.join(entry.file_name());
        if depth == 0 && is_passed_over(data, &path) {
            continue;
        }
        let kind = entry.file_type()?;
        let name = path
            .to_str()
            .with_context(|| format!("{} is not UTF-8", path.display()))?;
        if kind.is_dir() && depth < DEPTH {
            add_others(writer, data, &path, depth + 1)?;
        } else if kind.is_file() && !is_half(&path) {
            writer.file(name, &entry.path())?;
        }
    }
    Ok(())
}

/// What the server is writing at the moment, and will be called otherwise when it is whole.
fn is_half(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "new")
}

/// What is the store's, belongs to a process, or is added by itself.
fn is_passed_over(data: &Path, path: &Path) -> bool {
    let name = path.to_string_lossy();
    // Recordings have a retention of their own, and may be more than all the rest many times over.
    let others = [
        DataFolder::LOCK,
        BODIES,
        LINKS,
        LINKS_LOCK,
        restore::UNPACKED,
        RECORDINGS,
    ];
    name.starts_with(SqliteStore::FILE) || others.contains(&&*name) || socket(data) == data.join(path)
}

#[cfg(test)]
mod tests;
