use super::{FileCommand, FileInfo, FileName, FileRefusal, FileWriter, Files, FolderName};
use crate::{StoreError, clamp};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_base::{UnixTime, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The reference for [`Files`]: commands are carried out at once, and [`lose_power`](MemoryFiles::lose_power) takes what was
/// not synced. Clones are the same files.
#[derive(Clone)]
pub struct MemoryFiles(Arc<Inner>);

struct Inner {
    disk: Mutex<Disk>,
    clock: Box<dyn Fn() -> UnixTime + Send + Sync>,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<FileName, File>,
    room_bytes: Option<u64>,
    is_stalled: bool,
    /// How often power was lost: writers from before write nothing.
    boots: u64,
    /// How many files were made so far.
    made: u64,
}

impl Disk {
    /// The file that a writer made, unless it was removed since.
    fn made(&mut self, open: &Option<(FileName, u64)>) -> Option<&mut File> {
        let (name, number) = open.as_ref()?;
        self.files.get_mut(name).filter(|file| file.number == *number)
    }
}

struct File {
    /// Which of those that were made it is: another one may bear its name later.
    number: u64,
    bytes: Vec<u8>,
    synced: usize,
    modified: UnixTime,
    is_open: bool,
}

impl MemoryFiles {
    /// Without files; `clock` dates them.
    pub fn new(clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        MemoryFiles(Arc::new(Inner {
            disk: Mutex::default(),
            clock: Box::new(clock),
        }))
    }

    /// Takes this many more octets, and then says that the disk is full; `None` takes all.
    pub fn set_room(&self, room_bytes: Option<u64>) {
        self.disk().room_bytes = room_bytes;
    }

    /// Whether the disk has stopped, so that every command is refused as [`FileRefusal::Slow`].
    pub fn set_stalled(&self, is_stalled: bool) {
        self.disk().is_stalled = is_stalled;
    }

    /// Power is lost: each file keeps what was synced and as many of its octets since as `kept` says of how many there are.
    /// Writers from before are as good as gone.
    pub fn lose_power(&self, mut kept: impl FnMut(&FileName, usize) -> usize) {
        let mut disk = self.disk();
        disk.boots += 1;
        for (name, file) in &mut disk.files {
            let tail = file.bytes.len() - file.synced;
            file.bytes.truncate(file.synced + kept(name, tail).min(tail));
            (file.synced, file.is_open) = (file.bytes.len(), false);
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryFiles({} files)", self.disk().files.len())
    }
}

impl Files for MemoryFiles {
    fn writer(&self) -> Box<dyn FileWriter> {
        let boots = self.disk().boots;
        Box::new(MemoryWriter {
            files: self.clone(),
            boots,
            open: None,
            failed: None,
        })
    }

    fn list<'a>(&'a self, folder: &'a FolderName) -> BoxFuture<'a, Result<Vec<FileInfo>, StoreError>> {
        Box::pin(async move {
            let disk = self.disk();
            let inside = disk.files.iter().filter(|(name, _)| name.folder() == folder);
            let mut infos: Vec<FileInfo> = inside
                .map(|(name, file)| FileInfo {
                    name: name.clone(),
                    size_bytes: file.bytes.len() as u64,
                    modified: file.modified,
                    is_open: file.is_open,
                })
                .collect();
            infos.drain(..infos.len().saturating_sub(limits::FILES_LISTED));
            Ok(infos)
        })
    }

    fn folders<'a>(&'a self, folder: &'a FolderName) -> BoxFuture<'a, Result<Vec<FolderName>, StoreError>> {
        Box::pin(async move {
            let disk = self.disk();
            let below = disk.files.keys().filter_map(|name| {
                let path = name.folder().as_str();
                let rest = match folder.as_str() {
                    "" => path,
                    above => path.strip_prefix(above)?.strip_prefix('/')?,
                };
                folder.folder(rest.split('/').next()?).ok()
            });
            let names: BTreeSet<FolderName> = below.collect();
            Ok(names.into_iter().collect())
        })
    }

    fn read<'a>(
        &'a self,
        file: &'a FileName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move {
            let disk = self.disk();
            Ok(disk.files.get(file).map(|file| {
                let range = clamp(&range, file.bytes.len() as u64);
                let end = range.end.min(range.start + limits::FILE_READ_BYTES);
                Bytes::copy_from_slice(&file.bytes[range.start as usize..end as usize])
            }))
        })
    }

    fn remove<'a>(&'a self, file: &'a FileName) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.disk().files.remove(file);
            Ok(())
        })
    }
}

struct MemoryWriter {
    files: MemoryFiles,
    boots: u64,
    open: Option<(FileName, u64)>,
    failed: Option<StoreError>,
}

impl MemoryWriter {
    fn close(&mut self) {
        let open = self.open.take();
        if let Some(file) = self.files.disk().made(&open) {
            file.is_open = false;
        }
    }

    fn carry_out(&mut self, command: FileCommand) -> Result<(), StoreError> {
        let now = (self.files.0.clock)();
        match command {
            FileCommand::Create(name) => {
                self.close();
                let mut disk = self.files.disk();
                if disk.files.contains_key(&name) {
                    return Err(StoreError::Io(format!("the file {name} exists")));
                }
                disk.made += 1;
                let number = disk.made;
                let file = File {
                    number,
                    bytes: Vec::new(),
                    synced: 0,
                    modified: now,
                    is_open: true,
                };
                disk.files.insert(name.clone(), file);
                drop(disk);
                self.open = Some((name, number));
            }
            FileCommand::Append(bytes) => {
                if self.open.is_none() {
                    return Ok(());
                }
                let mut disk = self.files.disk();
                let room = disk.room_bytes.unwrap_or(u64::MAX).min(bytes.len() as u64);
                disk.room_bytes = disk.room_bytes.map(|bytes| bytes - room);
                if let Some(file) = disk.made(&self.open) {
                    file.bytes.extend_from_slice(&bytes[..room as usize]);
                    file.modified = now;
                }
                if room < bytes.len() as u64 {
                    return Err(StoreError::Full);
                }
            }
            FileCommand::Sync => {
                if let Some(file) = self.files.disk().made(&self.open) {
                    file.synced = file.bytes.len();
                }
            }
            FileCommand::Close => self.close(),
        }
        Ok(())
    }
}

impl FileWriter for MemoryWriter {
    fn submit(&mut self, command: FileCommand) -> Result<(), FileRefusal> {
        if let Some(error) = self.failed.take() {
            self.close();
            return Err(error.into());
        }
        let (is_stalled, boots) = {
            let disk = self.files.disk();
            (disk.is_stalled, disk.boots)
        };
        if boots != self.boots {
            self.open = None;
            return Err(StoreError::Closed.into());
        }
        if is_stalled {
            self.close();
            return Err(FileRefusal::Slow);
        }
        if let Err(error) = self.carry_out(command) {
            let mut disk = self.files.disk();
            if disk.made(&self.open).is_some_and(|file| file.synced == 0)
                && let Some((name, _)) = self.open.take()
            {
                disk.files.remove(&name);
            }
            drop(disk);
            self.close();
            self.failed = Some(error);
        }
        Ok(())
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        let failed = self.failed.take();
        Box::pin(async move { failed.map_or(Ok(()), Err) })
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        if self.files.disk().boots == self.boots {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn files() -> MemoryFiles {
        MemoryFiles::new(|| UnixTime::from_secs(7))
    }

    fn name() -> FileName {
        "door/1.mp4".parse().expect("a name")
    }

    fn octets(files: &MemoryFiles) -> Option<Bytes> {
        files
            .read(&name(), 0..u64::MAX)
            .now_or_never()
            .expect("at once")
            .expect("octets")
    }

    fn append(octets: &'static [u8]) -> FileCommand {
        FileCommand::Append(Bytes::from_static(octets))
    }

    #[test]
    fn power_takes_what_was_not_synced() {
        let files = files();
        let mut writer = files.writer();
        for command in [
            FileCommand::Create(name()),
            append(b"kept"),
            FileCommand::Sync,
            append(b"lost"),
        ] {
            writer.submit(command).expect("taken");
        }
        files.lose_power(|_, tail| {
            assert_eq!(tail, 4);
            1
        });
        assert_eq!(octets(&files).as_deref(), Some(&b"keptl"[..]));
        assert!(writer.submit(append(b"ghost")).is_err());
        assert_eq!(octets(&files).as_deref(), Some(&b"keptl"[..]));
    }

    #[test]
    fn a_full_disk_is_told_with_the_next_command_and_ends_the_file() {
        let files = files();
        files.set_room(Some(6));
        let mut writer = files.writer();
        writer.submit(FileCommand::Create(name())).expect("taken");
        writer.submit(append(b"1234")).expect("taken");
        writer.submit(FileCommand::Sync).expect("taken");
        writer.submit(append(b"5678")).expect("taken");
        assert_eq!(writer.submit(FileCommand::Sync), Err(StoreError::Full.into()));
        files.set_room(None);
        writer.submit(append(b"behind the end")).expect("passed over");
        assert_eq!(octets(&files).as_deref(), Some(&b"123456"[..]));
        let infos = files
            .list(name().folder())
            .now_or_never()
            .expect("at once")
            .expect("a list");
        assert!(!infos[0].is_open);
    }

    #[test]
    fn a_file_that_failed_before_anything_was_synced_is_none() {
        let files = files();
        files.set_room(Some(6));
        let mut writer = files.writer();
        writer.submit(FileCommand::Create(name())).expect("taken");
        writer.submit(append(b"1234567")).expect("taken");
        assert_eq!(octets(&files), None);
        assert_eq!(writer.settle().now_or_never(), Some(Err(StoreError::Full)));
    }

    #[test]
    fn a_disk_that_stands_still_refuses() {
        let files = files();
        let mut writer = files.writer();
        files.set_stalled(true);
        assert_eq!(writer.submit(FileCommand::Create(name())), Err(FileRefusal::Slow));
        files.set_stalled(false);
        writer.submit(FileCommand::Create(name())).expect("taken");
        assert_eq!(writer.submit(FileCommand::Create(name())), Ok(()));
        let again = writer.settle().now_or_never().expect("at once");
        assert!(again.is_err(), "it is there already");
    }
}
