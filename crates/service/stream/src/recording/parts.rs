//! What a recorder holds of its files.

use super::track::Unit;
use crate::file::FileWriter;
use bytes::Bytes;

/// How many units may come late.
const LATE_UNITS: usize = 512;

/// Fragments of the last time that all was handed out.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) fragments: u64,
    pub(super) is_over: bool,
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) writer: FileWriter,
    /// What it begins with, until that is written with the first fragment.
    pub(super) header: Option<Bytes>,
    pub(super) began_ns: i64,
    /// Which tracks it has, in its own order.
    pub(super) tracks: Vec<usize>,
    pub(super) fragments: u64,
    /// What was written of it.
    pub(super) bytes: u64,
    /// Its pictures are begun with anywhere, since none that needs no other has come.
    pub(super) is_keyless: bool,
}

#[derive(Debug)]
pub(super) struct Previous {
    pub(super) file: File,
    /// Where each track's times in it are counted from.
    pub(super) anchors: Vec<Option<(i64, i64)>>,
    /// What came too late for its last fragment, with its tracks.
    pub(super) late: Vec<(usize, Unit)>,
}

impl Previous {
    pub(super) fn note_late(&mut self, track: usize, unit: Unit) {
        if self.late.len() < LATE_UNITS {
            self.late.push((track, unit));
        }
    }
}
