use super::media::{MediaError, Reading};
use super::timeline::{FIRST_DYNAMIC, GAP_NS, Piece, Timeline, match_tracks};
use crate::file::FileTrack;
use crate::recording;
use bytes::Bytes;
use ringpost_base::{UnixTime, limits};
use ringpost_store::{FileInfo, FileName};
use std::collections::HashMap;
use std::ops::Range;
use thiserror::Error;

/// Knows what the files of a folder hold: a mount's recordings by when they happened, or files in the order of their names.
///
/// It is told which files there are ([`handle_list`](Catalog::handle_list)) and asks for what it needs to read of them; what
/// it has read it keeps, so that another list costs what is new in it. Recordings are read from the newest on, and have a
/// place in the [`timeline`](Catalog::timeline) before that, by their name and when they were written last.
#[derive(Debug)]
pub struct Catalog {
    kind: Kind,
    /// In order.
    entries: Vec<Entry>,
    /// Which entry is being read, and what was asked for.
    asked: Option<(usize, Range<u64>)>,
    /// How many entries have been looked at since the last list, from the newest recording or the first file on.
    passed: usize,
    failed: Vec<(FileName, MediaError)>,
    /// The tracks of all recordings that were read, in the order in which they were met, and whether some may have none any
    /// more.
    met: Vec<FileTrack>,
    has_gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Recordings,
    Playlist,
}

#[derive(Debug)]
struct Entry {
    info: FileInfo,
    /// The file, while it is being read or may become longer.
    reading: Option<Reading>,
    is_read: bool,
    /// It was told that it is none like the first of its list.
    is_told: bool,
    found: Found,
}

/// What a file holds.
#[derive(Debug, Default)]
struct Found {
    tracks: Vec<FileTrack>,
    runs: Vec<Run>,
    /// How many of its fragments are in the runs.
    fragments: usize,
}

/// How far the last sound of a file may reach into the next, and what a file may last longer by than the wall's clock: a sample
/// of sound, or as much as the clocks of tracks may be apart.
const OVERLAP_NS: i64 = 150_000_000;

/// A part of a file without a gap.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// When it happened, in nanoseconds since 1970; for what is no recording, since the file's beginning.
    begin_ns: i64,
    end_ns: i64,
    file_begin_ns: i64,
}

/// What a catalog wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogOutput {
    /// Read these octets of a file, or as many of them as there are, and hand them in
    /// ([`handle_data`](Catalog::handle_data)).
    Read {
        /// The file.
        file: FileName,
        /// Its octets.
        range: Range<u64>,
    },
    /// A file is not played, or not all of it; the others are.
    Damaged {
        /// The file.
        file: FileName,
        /// Why.
        error: MediaError,
    },
    /// All is known.
    Ready,
}

/// Why there is nothing to play.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("nothing that can be played")]
pub struct NothingToPlay;

impl Catalog {
    /// A mount's recordings: files with names of [`recording::file_name`]. Others are passed over.
    pub fn recordings() -> Self {
        Self::new(Kind::Recordings)
    }

    /// Files to be played one behind the other, in the order of the list that is handed in. A name stands for whatever the owner
    /// reads by it: a file of a folder, or a voicemail's body.
    pub fn playlist() -> Self {
        Self::new(Kind::Playlist)
    }

    fn new(kind: Kind) -> Self {
        Catalog {
            kind,
            entries: Vec::new(),
            asked: None,
            passed: 0,
            failed: Vec::new(),
            met: Vec::new(),
            has_gone: false,
        }
    }

    /// Whether its files are played one behind the other, and not by when they happened.
    pub fn is_playlist(&self) -> bool {
        self.kind == Kind::Playlist
    }

    /// The files that there are now. Of more than [`limits::PLAYED_FILES`] the last ones are taken, of a playlist the first
    /// [`limits::PLAYLIST_PIECES`].
    pub fn handle_list(&mut self, list: Vec<FileInfo>) {
        let mut known: HashMap<FileName, Entry> = self
            .entries
            .drain(..)
            .map(|entry| (entry.info.name.clone(), entry))
            .collect();
        (self.asked, self.passed) = (None, 0);
        let is_ours = |info: &FileInfo| match self.kind {
            Kind::Recordings => recording::began(info.name.name()).is_some(),
            Kind::Playlist => true,
        };
        let mut list: Vec<FileInfo> = list.into_iter().filter(is_ours).collect();
        match self.kind {
            Kind::Recordings => {
                list.sort_by(|a, b| a.name.cmp(&b.name));
                list.drain(..list.len().saturating_sub(limits::PLAYED_FILES));
            }
            Kind::Playlist => list.truncate(limits::PLAYLIST_PIECES),
        }
        self.entries = list
            .into_iter()
            .map(|info| match known.remove(&info.name) {
                Some(entry) if entry.info.size_bytes <= info.size_bytes => entry.updated(info),
                known => {
                    self.has_gone |= known.is_some();
                    Entry::new(info)
                }
            })
            .collect();
        self.has_gone |= !known.is_empty();
    }

    /// The octets that were asked for last, or as many of them as there are.
    pub fn handle_data(&mut self, octets: Bytes) {
        let Some((index, range)) = self.asked.take() else {
            return;
        };
        if let Some(reading) = self
            .entries
            .get_mut(index)
            .and_then(|entry| entry.reading.as_mut())
        {
            reading.handle(range.start, octets);
        }
    }

    /// What was asked for last could not be read.
    pub fn handle_failed(&mut self, reason: &str) {
        let Some((index, _)) = self.asked.take() else {
            return;
        };
        if let Some(reading) = self
            .entries
            .get_mut(index)
            .and_then(|entry| entry.reading.as_mut())
        {
            reading.fail(reason);
        }
    }

    /// What is next; after [`Read`](CatalogOutput::Read) its answer has to come first.
    pub fn poll_output(&mut self) -> CatalogOutput {
        loop {
            if let Some((file, error)) = self.failed.pop() {
                return CatalogOutput::Damaged { file, error };
            }
            if let Some((index, range)) = &self.asked {
                let file = self.entries[*index].info.name.clone();
                return CatalogOutput::Read {
                    file,
                    range: range.clone(),
                };
            }
            if self.passed == self.entries.len() {
                if std::mem::take(&mut self.has_gone) {
                    self.forget();
                }
                match self.find_another() {
                    Some(failed) => self.failed.push(failed),
                    None => return CatalogOutput::Ready,
                }
                continue;
            }
            let index = match self.kind {
                Kind::Recordings => self.entries.len() - 1 - self.passed,
                Kind::Playlist => self.passed,
            };
            if self.entries[index].is_read {
                self.passed += 1;
                continue;
            }
            let entry = &mut self.entries[index];
            let size_bytes = entry.info.size_bytes;
            let reading = entry.reading.get_or_insert_with(|| Reading::new(size_bytes));
            // What is known of a whole file needs no more than its header.
            match reading.wanted().filter(|_| !reading.is_whole()) {
                Some(range) => self.asked = Some((index, range)),
                None => {
                    let error = entry.close(self.kind);
                    meet(&mut self.met, &entry.found.tracks);
                    self.failed
                        .extend(error.map(|error| (entry.info.name.clone(), error)));
                }
            }
        }
    }

    /// The tracks by which everything is told: those of all recordings, or of the first file of a list.
    fn told(&self) -> Vec<FileTrack> {
        match self.kind {
            Kind::Recordings => self.met.clone(),
            Kind::Playlist => {
                let mut sendable = self
                    .entries
                    .iter()
                    .map(|entry| Timeline::sendable(&entry.found.tracks));
                sendable.find(|tracks| !tracks.is_empty()).unwrap_or_default()
            }
        }
    }

    /// Forgets the tracks that nothing is left of, which makes room for those that there was none for.
    fn forget(&mut self) {
        let mut is_left = vec![false; self.met.len()];
        for entry in self.entries.iter().rev() {
            let found = match_tracks(&self.met, &entry.found.tracks);
            let found = is_left.iter_mut().zip(found);
            found.for_each(|(is_left, found)| *is_left |= found.is_some());
            if is_left.iter().all(|is_left| *is_left) {
                return;
            }
        }
        let mut is_left = is_left.into_iter();
        self.met.retain(|_| is_left.next().unwrap_or_default());
        for entry in self.entries.iter().rev() {
            meet(&mut self.met, &entry.found.tracks);
        }
    }

    /// Whether nothing of what was read can be played.
    pub(crate) fn is_empty(&self) -> bool {
        let has_something = |entry: &Entry| entry.found.runs.iter().any(|run| run.end_ns > run.begin_ns);
        !self.entries.iter().any(has_something) || self.told().is_empty()
    }

    /// The next file of a list that has nothing of what the first one has, and for which no session is set up therefore.
    fn find_another(&mut self) -> Option<(FileName, MediaError)> {
        let told = self.told();
        let is_another = |entry: &&mut Entry| {
            !entry.is_told && !entry.found.tracks.is_empty() && !entry.found.is_like(&told)
        };
        let is_list = self.kind == Kind::Playlist;
        let another = self.entries.iter_mut().filter(|_| is_list).find(is_another)?;
        another.is_told = true;
        let error = MediaError::Other {
            expected: names(&told),
            found: names(&another.found.tracks),
        };
        Some((another.info.name.clone(), error))
    }

    /// What can be played by now. Recordings are told by the tracks of all of them, those of the newest first, so that what was
    /// recorded in another encoding can be played too; a playlist by those of its first file, and files of it that have none
    /// of those are left out.
    pub fn timeline(&self) -> Result<Timeline, NothingToPlay> {
        let tracks = self.told();
        let pieces = match self.kind {
            Kind::Recordings => self.recorded(),
            Kind::Playlist => self.in_a_row(&tracks),
        };
        let Some(first_ns) = pieces
            .first()
            .map(|piece| piece.begin_ns)
            .filter(|_| !tracks.is_empty())
        else {
            return Err(NothingToPlay);
        };
        let shift = |piece: Piece| Piece {
            begin_ns: piece.begin_ns.saturating_sub(first_ns),
            end_ns: piece.end_ns.saturating_sub(first_ns),
            ..piece
        };
        Ok(Timeline {
            pieces: pieces.into_iter().map(shift).collect(),
            tracks,
            origin: (self.kind == Kind::Recordings).then(|| UnixTime::from_nanos(first_ns.max(0) as u64)),
            is_open: self.entries.iter().any(|entry| entry.info.is_open),
        })
    }

    /// When any of its files was modified last; `None` where one is still being written, or none is known.
    pub fn modified(&self) -> Option<UnixTime> {
        let is_open = self.entries.iter().any(|entry| entry.info.is_open);
        let modified = self.entries.iter().map(|entry| entry.info.modified);
        modified.max().filter(|_| !is_open)
    }

    fn in_a_row(&self, told: &[FileTrack]) -> Vec<Piece> {
        let mut at_ns = 0_i64;
        let mut pieces = Vec::new();
        for (entry, run) in self.runs().filter(|(entry, _)| entry.found.is_like(told)) {
            let end_ns = at_ns.saturating_add(run.end_ns.saturating_sub(run.begin_ns));
            pieces.push(entry.piece(run, at_ns, end_ns));
            at_ns = end_ns;
        }
        pieces
    }

    /// Recordings in the order in which they were written, where they happened. One that begins before another has ended, as
    /// when that came faster than it happened, lies behind it and knows when it happened: nothing of either is hidden.
    fn recorded(&self) -> Vec<Piece> {
        let begins: Vec<Option<i64>> = self.entries.iter().map(Entry::named_ns).collect();
        let mut pieces: Vec<Piece> = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.is_read {
                pieces.extend(
                    entry
                        .found
                        .runs
                        .iter()
                        .map(|run| entry.piece(*run, run.begin_ns, run.end_ns)),
                );
            } else if let Some(begin_ns) = begins[index] {
                let modified_ns = i64::try_from(entry.info.modified.as_nanos()).unwrap_or(i64::MAX);
                let next_ns = begins.get(index + 1).copied().flatten().unwrap_or(i64::MAX);
                let end_ns = modified_ns.min(next_ns);
                let run = Run {
                    begin_ns,
                    end_ns,
                    file_begin_ns: 0,
                };
                pieces.push(entry.piece(run, begin_ns, end_ns));
            }
        }
        for index in 1..pieces.len() {
            let (before, piece) = pieces.split_at_mut(index);
            let (before, piece) = (&mut before[index - 1], &mut piece[0]);
            let overlap_ns = before.end_ns.saturating_sub(piece.begin_ns);
            if (0..OVERLAP_NS).contains(&overlap_ns) {
                // The last sound of a file reaches into the next.
                before.end_ns = piece.begin_ns.max(before.begin_ns);
            } else if overlap_ns > 0 {
                piece.begin_ns = before.end_ns;
                piece.end_ns = piece.end_ns.saturating_add(overlap_ns);
            }
        }
        pieces.retain(|piece| piece.end_ns > piece.begin_ns);
        pieces
    }

    fn runs(&self) -> impl Iterator<Item = (&Entry, Run)> {
        self.entries
            .iter()
            .flat_map(|entry| entry.found.runs.iter().map(move |run| (entry, *run)))
    }
}

impl Entry {
    fn new(info: FileInfo) -> Self {
        Entry {
            info,
            reading: None,
            is_read: false,
            is_told: false,
            found: Found::default(),
        }
    }

    /// The same file, perhaps longer.
    fn updated(mut self, info: FileInfo) -> Self {
        if info.size_bytes > self.info.size_bytes {
            match &mut self.reading {
                Some(reading) if reading.error().is_none() => {
                    reading.grow(info.size_bytes);
                    self.is_read = false;
                }
                _ => return Entry::new(info),
            }
        }
        if !info.is_open && self.is_read {
            self.reading = None;
        }
        self.info = info;
        self
    }

    fn named_ns(&self) -> Option<i64> {
        let began = recording::began(self.info.name.name())?;
        i64::try_from(began.as_nanos()).ok()
    }

    fn piece(&self, run: Run, begin_ns: i64, end_ns: i64) -> Piece {
        Piece {
            clock_ns: run.begin_ns,
            file: self.info.name.clone(),
            size_bytes: self.info.size_bytes,
            begin_ns,
            end_ns,
            file_begin_ns: run.file_begin_ns,
        }
    }

    /// Keeps what was found, and of a file that becomes no longer nothing else.
    fn close(&mut self, kind: Kind) -> Option<MediaError> {
        self.is_read = true;
        let reading = self.reading.as_ref()?;
        let named_ns = self.named_ns().unwrap_or_default();
        self.found.take(reading, kind, named_ns);
        let mut error = reading.error().cloned();
        if error.is_none() && reading.tracks().is_empty() {
            error = Some(crate::file::FileError::NoHeader.into());
        }
        if !self.info.is_open || error.is_some() {
            self.reading = None;
        }
        error
    }
}

impl Found {
    /// Whether any of its tracks is one of these.
    fn is_like(&self, told: &[FileTrack]) -> bool {
        match_tracks(told, &self.tracks).iter().any(Option::is_some)
    }

    fn take(&mut self, reading: &Reading, kind: Kind, named_ns: i64) {
        self.tracks = reading.tracks().to_vec();
        if reading.is_whole() {
            let begin_ns = if kind == Kind::Recordings { named_ns } else { 0 };
            let end_ns = begin_ns.saturating_add(reading.whole_length_ns());
            self.runs = vec![Run {
                begin_ns,
                end_ns,
                file_begin_ns: 0,
            }];
            return;
        }
        for fragment in &reading.fragments()[self.fragments..] {
            let said = match kind {
                Kind::Recordings => fragment
                    .wallclock
                    .and_then(|at| i64::try_from(at.as_nanos()).ok()),
                Kind::Playlist => Some(fragment.begin_ns),
            };
            let begin_ns = said.unwrap_or(named_ns.saturating_add(fragment.begin_ns));
            let end_ns = begin_ns.saturating_add(fragment.end_ns.saturating_sub(fragment.begin_ns));
            match self.runs.last_mut() {
                // One piece counts both by the file's clock and the wall's: these go on together.
                Some(run) if follows(run, begin_ns, fragment.begin_ns) => run.end_ns = run.end_ns.max(end_ns),
                _ => self.runs.push(Run {
                    begin_ns,
                    end_ns,
                    file_begin_ns: fragment.begin_ns,
                }),
            }
        }
        self.fragments = reading.fragments().len();
    }
}

/// Adds the tracks of another recording that are not like one of those that were met.
fn meet(met: &mut Vec<FileTrack>, tracks: &[FileTrack]) {
    let tracks = Timeline::sendable(tracks);
    let known = match_tracks(&tracks, met);
    let new = tracks.into_iter().zip(known).filter(|(_, known)| known.is_none());
    met.extend(new.map(|(track, _)| track));
    met.truncate(limits::MOUNT_TRACKS);
}

/// What tracks are called, as a description calls them.
fn names(tracks: &[FileTrack]) -> String {
    let names = tracks.iter().filter_map(|track| {
        let codec = track.codec(FIRST_DYNAMIC)?;
        Some(format!("{}/{}", codec.name, codec.clock_rate_hz))
    });
    names.collect::<Vec<_>>().join(" and ")
}

fn follows(run: &Run, begin_ns: i64, file_begin_ns: i64) -> bool {
    let by_file = run
        .begin_ns
        .saturating_add(file_begin_ns.saturating_sub(run.file_begin_ns));
    begin_ns.saturating_sub(run.end_ns) < GAP_NS && begin_ns.abs_diff(by_file) < GAP_NS as u64
}
