mod memory;
mod name;
mod retention;

pub use memory::MemoryFiles;
pub use name::{FileName, FileNameError, FolderName};
pub use retention::{Retention, expired};

use crate::StoreError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_base::UnixTime;
use std::ops::Range;

/// Files that grow at their end and are read at any place: recordings, and media that somebody put into a folder.
///
/// What [`FileCommand::Sync`] has carried out survives a loss of power; what was appended since may be gone, in part or
/// whole, and what is there of it may be anything.
pub trait Files: Send + Sync {
    /// A writer of one file at a time. Dropped, it closes what it has open.
    fn writer(&self) -> Box<dyn FileWriter>;

    /// The files that lie right in this folder, in the order of their names; none where there is no such folder. At most
    /// [`limits::FILES_LISTED`](ringpost_base::limits::FILES_LISTED), those with the greatest names. What is no file, or
    /// has a name that is none of a [`FileName`], is not listed.
    fn list<'a>(&'a self, folder: &'a FolderName) -> BoxFuture<'a, Result<Vec<FileInfo>, StoreError>>;

    /// The folders that lie right in this folder, in the order of their names, as many as [`list`](Files::list) gives.
    fn folders<'a>(&'a self, folder: &'a FolderName) -> BoxFuture<'a, Result<Vec<FolderName>, StoreError>>;

    /// The octets `range` of a file, clamped to its end; `None` when there is no such file. At most
    /// [`limits::FILE_READ_BYTES`](ringpost_base::limits::FILE_READ_BYTES): what lies behind is left out.
    fn read<'a>(
        &'a self,
        file: &'a FileName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Removes a file, and its folder with it if nothing else is in there; one that is not there is no error.
    fn remove<'a>(&'a self, file: &'a FileName) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Takes what is to be done to a file without ever waiting for it.
///
/// Commands are carried out in order, some time later. At most
/// [`limits::FILE_QUEUE_BYTES`](ringpost_base::limits::FILE_QUEUE_BYTES) of all writers wait; one more is refused as
/// [`Slow`](FileRefusal::Slow). A command that failed is told by the refusal of the next one, whatever that is. After either
/// the file is closed as it is, and everything up to the next [`Create`](FileCommand::Create) is passed over; a file of which
/// nothing was synced when a command failed is removed.
pub trait FileWriter: Send {
    /// To be carried out behind what was submitted before.
    fn submit(&mut self, command: FileCommand) -> Result<(), FileRefusal>;

    /// Waits until what was submitted has been carried out, and tells whether all of it could be: for who is about to stop.
    fn settle(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// What is to be done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileCommand {
    /// Make it, with the folders that it lies in, and make its name survive a loss of power. One that is there already is a
    /// failure. The file before is closed.
    Create(FileName),
    /// Put these octets at its end.
    Append(Bytes),
    /// Make what was appended survive a loss of power.
    Sync,
    /// It is finished.
    Close,
}

/// Why a command was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileRefusal {
    /// As much as may wait does.
    #[error("the disk is slower than what is to be written")]
    Slow,
    /// What was submitted before has failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// What is known of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name.
    pub name: FileName,
    /// Its length.
    pub size_bytes: u64,
    /// When it was written last.
    pub modified: UnixTime,
    /// Whether a writer has it open.
    pub is_open: bool,
}
