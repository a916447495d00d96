//! A file that is read in: what tracks it has, and where their samples lie.

use crate::file::{
    FileError, FileTrack, Format, Fragment, Index, Scanner, Stored, Wanted, WavIndex, WavScanner, to_ns,
};
use bytes::Bytes;
use ringpost_codec::{WavEncoding, WavError};
use std::ops::Range;
use thiserror::Error;

/// Why a file is not played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MediaError {
    /// It is none of MP4 that can be played.
    #[error(transparent)]
    Mp4(#[from] FileError),
    /// It is none of WAV that can be played.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// Of a list, it has none of the tracks that its first file has.
    #[error("expected {expected}, as the first file has, found {found}")]
    Other {
        /// What the first file has.
        expected: String,
        /// What this one has.
        found: String,
    },
    /// It could not be read.
    #[error("the file could not be read: {0}")]
    Read(String),
}

/// Reads the tables of a file, in larger pieces than each of them.
#[derive(Debug)]
pub(super) struct Reading {
    length: u64,
    kind: Kind,
    /// What was read last, and where it lies.
    peek: (u64, Bytes),
    /// The samples that are known at once were taken out.
    is_taken: bool,
    error: Option<MediaError>,
}

#[derive(Debug)]
enum Kind {
    /// Nothing has been read.
    Unknown,
    Mp4(Box<Scanner>),
    Wav(WavScanner),
    Found(Box<WavIndex>),
}

/// How much is read at least: the tables of a fragment and what lies before them.
const PEEK_BYTES: u64 = 16 * 1024;
/// Less is no file of either kind.
const MAGIC_BYTES: u64 = 12;

impl Reading {
    /// For a file of so many octets.
    pub(super) fn new(length: u64) -> Self {
        Reading {
            length,
            kind: Kind::Unknown,
            peek: (0, Bytes::new()),
            is_taken: false,
            error: None,
        }
    }

    /// The octets that are needed next; `None` when all tables are known, or no more can be.
    pub(super) fn wanted(&mut self) -> Option<Range<u64>> {
        while self.error.is_none() {
            let range = match &self.kind {
                Kind::Unknown if self.length < MAGIC_BYTES => return None,
                Kind::Unknown => 0..MAGIC_BYTES,
                Kind::Mp4(scanner) => scanner.wanted().map(|Wanted(range)| range)?,
                Kind::Wav(scanner) => scanner.wanted()?,
                Kind::Found(_) => return None,
            };
            match self.at_hand(&range) {
                Some(octets) => self.take(&octets),
                None => {
                    let most = range.start.saturating_add(PEEK_BYTES).min(self.length);
                    return Some(range.start..range.end.max(most));
                }
            }
        }
        None
    }

    /// The octets from `at` on, as many as there are.
    pub(super) fn handle(&mut self, at: u64, octets: Bytes) {
        self.peek = (at, octets);
        let range = match &self.kind {
            Kind::Unknown => Some(0..MAGIC_BYTES),
            Kind::Mp4(scanner) => scanner.wanted().map(|Wanted(range)| range),
            Kind::Wav(scanner) => scanner.wanted(),
            Kind::Found(_) => None,
        };
        if range.is_some_and(|range| self.at_hand(&range).is_none()) {
            self.fail("it has become shorter");
        }
    }

    /// The file could not be read on.
    pub(super) fn fail(&mut self, reason: &str) {
        self.error = Some(MediaError::Read(reason.into()));
    }

    /// The file has become longer.
    pub(super) fn grow(&mut self, length: u64) {
        self.length = self.length.max(length);
        if let Kind::Mp4(scanner) = &mut self.kind {
            scanner.grow(length);
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What was wrong with it, from where on nothing more is known.
    pub(super) fn error(&self) -> Option<&MediaError> {
        self.error.as_ref()
    }

    /// Its tracks; none before its header was read.
    pub(super) fn tracks(&self) -> &[FileTrack] {
        match &self.kind {
            Kind::Mp4(scanner) => scanner.index().map_or(&[], |index| &index.tracks),
            Kind::Found(found) => std::slice::from_ref(&found.track),
            _ => &[],
        }
    }

    pub(super) fn index(&self) -> Option<&Index> {
        match &self.kind {
            Kind::Mp4(scanner) => scanner.index(),
            _ => None,
        }
    }

    /// The fragments that are known so far.
    pub(super) fn fragments(&self) -> &[Fragment] {
        self.index().map_or(&[], |index| &index.fragments)
    }

    /// Whether all its samples are known at once.
    pub(super) fn is_whole(&self) -> bool {
        match &self.kind {
            Kind::Found(_) => true,
            _ => self.is_taken || self.index().is_some_and(|index| !index.whole.is_empty()),
        }
    }

    /// How long a file is whose samples are known at once.
    pub(super) fn whole_length_ns(&self) -> i64 {
        match &self.kind {
            Kind::Found(found) => {
                let frames = (found.data.end - found.data.start) / found.frame_bytes();
                to_ns(
                    i64::try_from(frames).unwrap_or(i64::MAX),
                    found.track.clock_rate_hz,
                )
            }
            _ => self.index().map_or(0, Index::length_ns),
        }
    }

    /// Takes the samples of a file that are known at once: they are many, and held once.
    pub(super) fn take_whole(&mut self) -> Part {
        match &mut self.kind {
            Kind::Found(found) => Part {
                lanes: vec![Lane::Even(Even::new(found))],
            },
            Kind::Mp4(scanner) => {
                self.is_taken = true;
                let samples = scanner.take_whole();
                Part::new(self.tracks(), samples)
            }
            _ => Part::default(),
        }
    }

    /// How its samples have to be changed before they are sent.
    pub(super) fn pcm(&self) -> Pcm {
        match &self.kind {
            Kind::Found(found) if found.encoding == WavEncoding::Pcm16 => Pcm::LowFirst,
            Kind::Found(found) if found.encoding == WavEncoding::Pcm8 => Pcm::Unsigned,
            Kind::Found(found) if found.encoding.bytes() > 2 => Pcm::Wide(found.encoding),
            _ => Pcm::AsItIs,
        }
    }

    /// Octets that were read last.
    pub(super) fn at_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        let (at, octets) = &self.peek;
        let from = usize::try_from(range.start.checked_sub(*at)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(*at)?).ok()?;
        (to <= octets.len()).then(|| octets.slice(from..to))
    }

    fn take(&mut self, octets: &[u8]) {
        let taken: Result<(), MediaError> = match &mut self.kind {
            Kind::Unknown => {
                self.kind = match octets.starts_with(b"RIFF") {
                    true => Kind::Wav(WavScanner::new(self.length)),
                    false => Kind::Mp4(Box::new(Scanner::new(self.length))),
                };
                Ok(())
            }
            Kind::Mp4(scanner) => scanner.handle(octets).map_err(MediaError::from),
            Kind::Wav(scanner) => scanner.handle(octets).map_err(MediaError::from),
            Kind::Found(_) => Ok(()),
        };
        self.error = taken.err();
        // Once the samples are found the rest is theirs.
        if let Kind::Wav(scanner) = &mut self.kind
            && self.error.is_none()
            && scanner.wanted().is_none()
        {
            let scanner = std::mem::replace(scanner, WavScanner::new(0));
            match scanner.finish() {
                Ok(found) => self.kind = Kind::Found(Box::new(found)),
                Err(error) => self.error = Some(error.into()),
            }
        }
    }
}

/// How samples of sound lie in their file, where that is not how they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pcm {
    AsItIs,
    /// 16 bits, the low octet first.
    LowFirst,
    /// 8 bits from 0 to 255.
    Unsigned,
    /// More than 16 bits.
    Wide(WavEncoding),
}

/// The samples of a fragment, or of a file that has none: for each track in the order in which they are decoded.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) lanes: Vec<Lane>,
}

/// The samples of one track.
#[derive(Debug)]
pub(super) enum Lane {
    Listed(Vec<Stored>),
    Even(Even),
}

/// Samples of sound that are all alike, some at a time.
#[derive(Debug)]
pub(super) struct Even {
    data: Range<u64>,
    frame_bytes: u64,
    /// How many are sent together.
    frames: u64,
}

/// What a packet of plain samples lasts at most, as RFC 3551 §4.2 recommends.
const PACKETS_A_SECOND: u64 = 50;
/// What it holds at most.
const PLAIN_BYTES: u64 = 1_280;

impl Even {
    fn new(found: &WavIndex) -> Self {
        let frame_bytes = found.frame_bytes();
        // All but G.711 is sent with 16 bits.
        let width = if matches!(found.encoding, WavEncoding::G711(_)) {
            1
        } else {
            2
        };
        let sent_bytes = frame_bytes / found.encoding.bytes() as u64 * width;
        let frames = (u64::from(found.track.clock_rate_hz) / PACKETS_A_SECOND).min(PLAIN_BYTES / sent_bytes);
        Even {
            data: found.data.clone(),
            frame_bytes,
            frames: frames.max(1),
        }
    }

    fn block_bytes(&self) -> u64 {
        self.frame_bytes * self.frames
    }

    fn get(&self, index: usize) -> Option<Stored> {
        let offset = (index as u64)
            .checked_mul(self.block_bytes())?
            .checked_add(self.data.start)?;
        let left = self.data.end.checked_sub(offset)? / self.frame_bytes * self.frame_bytes;
        let size = left.min(self.block_bytes());
        let time = i64::try_from((index as u64).checked_mul(self.frames)?).ok()?;
        (size > 0).then_some(Stored {
            track: 0,
            decoded: time,
            time,
            length: (size / self.frame_bytes) as u32,
            is_key: true,
            offset,
            size_bytes: size as u32,
        })
    }
}

impl Part {
    /// Parts the samples of a fragment by their tracks.
    pub(super) fn new(tracks: &[FileTrack], samples: Vec<Stored>) -> Self {
        let mut lanes = vec![Vec::new(); tracks.len()];
        for sample in samples {
            let Some(lane) = lanes.get_mut(sample.track) else {
                continue;
            };
            let track = &tracks[sample.track];
            if !is_plain(&track.format) || !joins(track.clock_rate_hz, lane.last_mut(), &sample) {
                lane.push(sample);
            }
        }
        for lane in &mut lanes {
            lane.sort_by_key(|sample| sample.decoded);
        }
        Part {
            lanes: lanes.into_iter().map(Lane::Listed).collect(),
        }
    }
}

pub(super) fn is_plain(format: &Format) -> bool {
    matches!(
        format,
        Format::Pcmu { .. } | Format::Pcma { .. } | Format::L16 { .. }
    )
}

/// Puts a sample to the one before it, where both make one packet: files hold plain samples one by one.
fn joins(clock_rate_hz: u32, before: Option<&mut Stored>, sample: &Stored) -> bool {
    let Some(before) = before else { return false };
    let size = u64::from(before.size_bytes) + u64::from(sample.size_bytes);
    let length = u64::from(before.length) + u64::from(sample.length);
    let follows = before.offset.checked_add(before.size_bytes.into()) == Some(sample.offset)
        && before.decoded.checked_add(before.length.into()) == Some(sample.decoded);
    if !follows || size > PLAIN_BYTES || length * PACKETS_A_SECOND > u64::from(clock_rate_hz) {
        return false;
    }
    (before.size_bytes, before.length) = (size as u32, length as u32);
    true
}

impl Lane {
    pub(super) fn get(&self, index: usize) -> Option<Stored> {
        match self {
            Lane::Listed(samples) => samples.get(index).copied(),
            Lane::Even(even) => even.get(index),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Lane::Listed(samples) => samples.len(),
            Lane::Even(even) => {
                let bytes = even.data.end - even.data.start;
                (bytes / even.frame_bytes).div_ceil(even.frames) as usize
            }
        }
    }

    /// The first sample that is decoded at `time` or later, in units of the track's clock.
    pub(super) fn first_from(&self, time: i64) -> usize {
        match self {
            Lane::Listed(samples) => samples.partition_point(|sample| sample.decoded < time),
            Lane::Even(even) => {
                let frames = u64::try_from(time).unwrap_or(0);
                (frames.div_ceil(even.frames) as usize).min(self.len())
            }
        }
    }

    /// The last sample before `end` with which decoding may begin and that is shown at `time` or before.
    pub(super) fn last_key(&self, end: usize, time: i64) -> Option<usize> {
        match self {
            Lane::Listed(samples) => samples[..end.min(samples.len())]
                .iter()
                .rposition(|sample| sample.is_key && sample.time <= time),
            Lane::Even(even) => {
                let frames = u64::try_from(time).ok()?;
                let last = end.min(self.len()).checked_sub(1)?;
                Some(((frames / even.frames) as usize).min(last))
            }
        }
    }

    /// The first sample from `start` on with which decoding may begin and that is shown at `time` or later.
    pub(super) fn first_key(&self, start: usize, time: i64) -> Option<usize> {
        match self {
            Lane::Listed(samples) => {
                let found = samples
                    .get(start..)?
                    .iter()
                    .position(|sample| sample.is_key && sample.time >= time)?;
                Some(start + found)
            }
            Lane::Even(_) => Some(self.first_from(time).max(start)).filter(|index| *index < self.len()),
        }
    }
}
