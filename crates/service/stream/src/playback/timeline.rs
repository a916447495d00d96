use super::send::Packing;
use crate::file::{AacForm, FileTrack};
use crate::{Description, Track};
use ringpost_base::{UnixTime, limits};
use ringpost_sdp::{Codec, MediaKind};
use ringpost_store::FileName;
use std::ops::Range;
use std::time::Duration;

/// What can be played, and when each part of it happened: files in a row, or recordings with the gaps between them.
///
/// Positions are nanoseconds since its beginning. Those of recordings go on while nothing was recorded, so that they are the
/// wall's clock less [`origin`](Timeline::origin), unless some were recorded of a time that others are of too: these lie behind
/// the others, and each knows when it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// In order; none begins before another one has ended.
    pub(super) pieces: Vec<Piece>,
    pub(super) tracks: Vec<FileTrack>,
    pub(super) origin: Option<UnixTime>,
    pub(super) is_open: bool,
}

/// A part of a file that was recorded without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) file: FileName,
    pub(super) size_bytes: u64,
    /// On the timeline.
    pub(super) begin_ns: i64,
    pub(super) end_ns: i64,
    /// When it began to happen, of recordings, in nanoseconds since 1970.
    pub(super) clock_ns: i64,
    /// Where it begins in its file.
    pub(super) file_begin_ns: i64,
}

impl Piece {
    /// Where an instant of the timeline is in the file.
    pub(super) fn to_file(&self, at_ns: i64) -> i64 {
        at_ns
            .saturating_sub(self.begin_ns)
            .saturating_add(self.file_begin_ns)
    }

    /// Whether it is the same part of the same file, perhaps longer.
    pub(super) fn is(&self, other: &Piece) -> bool {
        self.file == other.file && self.file_begin_ns == other.file_begin_ns
    }

    /// When it had happened.
    fn clock_end_ns(&self) -> i64 {
        let length = self.end_ns.saturating_sub(self.begin_ns);
        self.clock_ns.saturating_add(length)
    }

    /// Up to when it has what happened until an instant, in order: a piece that goes on then reaches beyond one that ends there.
    fn reaches(&self, at_ns: i64) -> i64 {
        self.clock_end_ns().min(at_ns.saturating_add(1))
    }

    /// Where an instant of the file is on the timeline.
    pub(super) fn on_timeline(&self, at_ns: i64) -> i64 {
        at_ns
            .saturating_sub(self.file_begin_ns)
            .saturating_add(self.begin_ns)
    }

    /// Where a picture of the file is on the timeline: what lies before the part and is sent, since what is in it refers to
    /// that, lies in order close before its beginning.
    pub(super) fn shown(&self, at_ns: i64) -> i64 {
        let later_ns = at_ns.saturating_sub(self.file_begin_ns);
        let later_ns = if later_ns < 0 {
            later_ns / CUT_OFF
        } else {
            later_ns
        };
        self.begin_ns.saturating_add(later_ns)
    }
}

/// How much faster than usual pictures are shown that an edit list has cut off a file's beginning: nothing is to be seen of them.
const CUT_OFF: i64 = 200;
/// What parts of a timeline may be apart and count as one: less is what a recorder needs to begin another file.
pub(super) const GAP_NS: i64 = 1_000_000_000;
/// How late the end of what is being recorded may be known.
const LATE_NS: i64 = 10_000_000_000;

impl Timeline {
    /// When its beginning happened, if it is made of recordings.
    pub fn origin(&self) -> Option<UnixTime> {
        self.origin
    }

    /// Whether something is still being recorded, so that it becomes longer.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// From its beginning to its end.
    pub fn length(&self) -> Duration {
        Duration::from_nanos(self.end_ns().max(0) as u64)
    }

    /// The parts that play without a gap, from the timeline's beginning.
    pub fn ranges(&self) -> Vec<Range<Duration>> {
        let duration = |ns: i64| Duration::from_nanos(ns.max(0) as u64);
        self.runs()
            .into_iter()
            .map(|run| duration(run.start)..duration(run.end))
            .collect()
    }

    /// The same by the wall's clock, for recordings.
    pub fn clock_ranges(&self) -> Vec<Range<UnixTime>> {
        if self.origin.is_none() {
            return Vec::new();
        }
        let mut happened: Vec<Range<i64>> = self
            .pieces
            .iter()
            .map(|piece| piece.clock_ns..piece.clock_end_ns())
            .collect();
        happened.sort_by_key(|range| range.start);
        let ranges = joined(happened).into_iter();
        ranges
            .map(|range| unix_time(range.start)..unix_time(range.end))
            .collect()
    }

    /// The position of what happened at an instant: of what was recorded last of it. In a gap it is as far before what comes
    /// behind that.
    pub(super) fn at_clock(&self, at: UnixTime) -> i64 {
        let at_ns = clock_ns(at);
        let is_in = |piece: &&Piece| (piece.clock_ns..piece.clock_end_ns()).contains(&at_ns);
        if let Some(piece) = self.pieces.iter().rev().find(is_in) {
            return piece
                .begin_ns
                .saturating_add(at_ns.saturating_sub(piece.clock_ns));
        }
        let behind = self.pieces.iter().enumerate();
        let behind = behind.filter(|(_, piece)| piece.clock_ns > at_ns);
        match behind.min_by_key(|(_, piece)| piece.clock_ns) {
            Some((index, _)) => self.before(index, at_ns),
            None => self.beyond(at_ns),
        }
    }

    /// Where what is played backwards from an instant begins: the piece, and the position in it. What was recorded last of the instant
    /// comes first, then what ended last before it.
    pub(super) fn backwards_from(&self, at: UnixTime) -> Option<(usize, i64)> {
        let at_ns = clock_ns(at);
        self.backwards(at_ns, |_| true)
    }

    /// Where it begins if nothing can be begun with in a piece that was found so.
    pub(super) fn backwards_but(&self, at: UnixTime, piece: usize) -> Option<(usize, i64)> {
        let at_ns = clock_ns(at);
        let tried = (self.pieces.get(piece)?.reaches(at_ns), piece);
        self.backwards(at_ns, |of| of < tried)
    }

    fn backwards(&self, at_ns: i64, is_meant: impl Fn((i64, usize)) -> bool) -> Option<(usize, i64)> {
        let pieces = self.pieces.iter().enumerate();
        let begun = pieces.filter(|(_, piece)| piece.clock_ns <= at_ns);
        let reaches = begun.map(|(index, piece)| (piece.reaches(at_ns), index));
        let (_, index) = reaches.filter(|of| is_meant(*of)).max()?;
        let piece = &self.pieces[index];
        let since_ns = at_ns.saturating_sub(piece.clock_ns);
        let position_ns = piece.begin_ns.saturating_add(since_ns);
        Some((index, position_ns.min(piece.end_ns - 1)))
    }

    /// When the last of it happened.
    pub(super) fn clock_end_ns(&self) -> Option<i64> {
        self.pieces.iter().map(Piece::clock_end_ns).max()
    }

    /// The position where what is played from a position on comes to an instant: that of a piece that has it, or between two that
    /// it lies between. `None` if it does not come there.
    pub(super) fn next_at_clock(&self, from_ns: i64, at: UnixTime, is_backwards: bool) -> Option<i64> {
        let at_ns = clock_ns(at);
        let first = match is_backwards {
            true => self
                .pieces
                .partition_point(|piece| piece.begin_ns < from_ns)
                .checked_sub(1)?,
            false => self.piece_at(from_ns)?,
        };
        let mut was_ns = clock_ns(match is_backwards {
            true => self.clock_until(from_ns),
            false => self.clock_from(from_ns),
        });
        let is_ahead = |position_ns: i64| match is_backwards {
            true => position_ns <= from_ns,
            false => position_ns >= from_ns,
        };
        let meet = |index: usize| {
            let piece = &self.pieces[index];
            let (begun_ns, over_ns) = match is_backwards {
                true => (piece.clock_end_ns(), piece.clock_ns),
                false => (piece.clock_ns, piece.clock_end_ns()),
            };
            let is_within = (piece.clock_ns..=piece.clock_end_ns()).contains(&at_ns);
            let is_between = (was_ns.min(begun_ns)..was_ns.max(begun_ns)).contains(&at_ns)
                && (was_ns <= begun_ns) != is_backwards;
            was_ns = over_ns;
            let position_ns = piece
                .begin_ns
                .saturating_add(at_ns.saturating_sub(piece.clock_ns));
            match is_within {
                true => Some(position_ns).filter(|at| is_ahead(*at)),
                false if is_between && is_backwards => {
                    let next = self.pieces.get(index + 1);
                    let begun_ns = next.map_or(i64::MAX, |next| next.begin_ns);
                    Some(position_ns.min(begun_ns).min(from_ns))
                }
                false if is_between => Some(self.before(index, at_ns).max(from_ns)),
                false => None,
            }
        };
        match is_backwards {
            true => (0..=first).rev().find_map(meet),
            false => (first..self.pieces.len()).find_map(meet),
        }
    }

    /// The position where a part ends that begins at a position, which is of `start`, and goes on until `end`, or back to it.
    pub(super) fn until_clock(&self, start_ns: i64, start: UnixTime, end: UnixTime) -> i64 {
        let at_ns = clock_ns(end);
        if end >= start {
            let first = self.piece_at(start_ns).unwrap_or(self.pieces.len());
            let ends = |piece: &Piece| piece.clock_end_ns() >= at_ns;
            let found = self.pieces.iter().skip(first).position(ends);
            // Behind all that is played it is as far behind the last of it.
            let last = self.pieces.len().saturating_sub(1);
            let end_ns = self.before(found.map_or(last, |found| first + found), at_ns);
            return end_ns.max(start_ns);
        }
        let begun = self.pieces.partition_point(|piece| piece.begin_ns <= start_ns);
        let before = self.pieces[..begun]
            .iter()
            .rposition(|piece| piece.clock_ns <= at_ns);
        self.before(before.unwrap_or(0), at_ns).min(start_ns)
    }

    /// The position of an instant by a piece that it is in, or that comes before or behind it.
    fn before(&self, index: usize, at_ns: i64) -> i64 {
        let Some(piece) = self.pieces.get(index) else {
            return 0;
        };
        let position = piece
            .begin_ns
            .saturating_add(at_ns.saturating_sub(piece.clock_ns));
        let ended_ns = index.checked_sub(1).map(|before| self.pieces[before].end_ns);
        position.max(ended_ns.unwrap_or(i64::MIN))
    }

    fn beyond(&self, at_ns: i64) -> i64 {
        let last_ns = self.pieces.iter().map(Piece::clock_end_ns).max();
        self.end_ns()
            .saturating_add(at_ns.saturating_sub(last_ns.unwrap_or_default()))
    }

    /// When that happened which begins at a position.
    pub(super) fn clock_from(&self, position_ns: i64) -> UnixTime {
        self.clock_of(
            self.pieces.partition_point(|piece| piece.begin_ns <= position_ns),
            position_ns,
        )
    }

    /// When that happened which ends at a position.
    pub(super) fn clock_until(&self, position_ns: i64) -> UnixTime {
        self.clock_of(
            self.pieces.partition_point(|piece| piece.begin_ns < position_ns),
            position_ns,
        )
    }

    /// By the last of so many pieces.
    fn clock_of(&self, pieces: usize, position_ns: i64) -> UnixTime {
        let piece = self.pieces.get(pieces.saturating_sub(1));
        unix_time(piece.map_or(position_ns, |piece| {
            piece
                .clock_ns
                .saturating_add(position_ns.saturating_sub(piece.begin_ns))
        }))
    }

    /// What a session description says of it: its tracks in order, with what decoders need. Tracks of files that differ
    /// from them are not sent.
    pub fn description(&self, name: &str) -> Description {
        let tracks = self.tracks.iter().zip(FIRST_DYNAMIC..);
        let track = |(track, payload_type): (&FileTrack, u8)| {
            let kind = if track.format.is_video() {
                MediaKind::Video
            } else {
                MediaKind::Audio
            };
            track.codec(payload_type).map(|codec| Track {
                place: usize::from(payload_type - FIRST_DYNAMIC),
                kind,
                codecs: vec![codec],
                control: None,
                bandwidths: Vec::new(),
                attributes: Vec::new(),
            })
        };
        Description {
            name: if name.is_empty() { "-".into() } else { name.into() },
            information: None,
            tracks: tracks.filter_map(track).collect(),
        }
    }

    /// What it has.
    pub(crate) fn tracks(&self) -> &[FileTrack] {
        &self.tracks
    }

    /// The same for who was told of these tracks.
    pub(crate) fn with_tracks(self, tracks: &[FileTrack]) -> Self {
        let tracks = tracks.to_vec();
        Timeline { tracks, ..self }
    }

    /// Its tracks as they were told, each with its payload type.
    pub(super) fn told(&self) -> Vec<Told> {
        let told = |(track, payload_type): (&FileTrack, u8)| Told {
            payload_type: track
                .codec(payload_type)
                .map_or(payload_type, |codec| codec.payload_type),
            clock_rate_hz: track.rtp_clock_hz(),
            is_video: track.format.is_video(),
            what: What::Track(track.clone()),
        };
        self.tracks.iter().zip(FIRST_DYNAMIC..).map(told).collect()
    }

    /// The tracks of who knows others: what a publisher describes now.
    pub(super) fn told_as(&self, described: &Description) -> Vec<Told> {
        let told = |track: &Track| {
            let codec = track.codec();
            let is_recorded = |track: &FileTrack| track.format.is_video() && track.is_what(codec);
            Told {
                payload_type: codec.payload_type,
                clock_rate_hz: codec.clock_rate_hz,
                is_video: self.tracks.iter().any(is_recorded),
                what: What::Codec(codec.clone()),
            }
        };
        described.tracks.iter().map(told).collect()
    }

    /// How far behind its end, as it is known, a range may begin: what is being recorded is joined at its end, which is told some
    /// seconds late.
    pub(super) fn late_ns(&self) -> i64 {
        if self.is_open { LATE_NS } else { 0 }
    }

    pub(super) fn end_ns(&self) -> i64 {
        self.pieces.last().map_or(0, |piece| piece.end_ns)
    }

    pub(super) fn runs(&self) -> Vec<Range<i64>> {
        let pieces = self.pieces.iter();
        joined(pieces.map(|piece| piece.begin_ns..piece.end_ns))
    }

    /// The first piece that has not ended at an instant.
    pub(super) fn piece_at(&self, at_ns: i64) -> Option<usize> {
        let index = self.pieces.partition_point(|piece| piece.end_ns <= at_ns);
        (index < self.pieces.len()).then_some(index)
    }

    /// The tracks that can be told and sent.
    pub(super) fn sendable(tracks: &[FileTrack]) -> Vec<FileTrack> {
        let can_be_sent = |track: &&FileTrack| track.codec(FIRST_DYNAMIC).is_some();
        tracks
            .iter()
            .filter(can_be_sent)
            .take(limits::MOUNT_TRACKS)
            .cloned()
            .collect()
    }
}

/// Ranges whose beginnings ascend, with those in one that have no gap between them.
fn joined(ranges: impl IntoIterator<Item = Range<i64>>) -> Vec<Range<i64>> {
    let mut runs: Vec<Range<i64>> = Vec::new();
    for range in ranges {
        match runs.last_mut() {
            Some(run) if range.start.saturating_sub(run.end) < GAP_NS => run.end = run.end.max(range.end),
            _ => runs.push(range),
        }
    }
    runs
}

fn clock_ns(at: UnixTime) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

fn unix_time(ns: i64) -> UnixTime {
    UnixTime::from_nanos(ns.max(0) as u64)
}

/// A track as a session knows it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) payload_type: u8,
    /// The clock of its timestamps.
    pub(super) clock_rate_hz: u32,
    /// Whether pictures can be sent as it.
    pub(super) is_video: bool,
    what: What,
}

/// By what a session knows a track.
#[derive(Clone, Debug)]
enum What {
    /// What was recorded.
    Track(FileTrack),
    /// What a publisher calls it.
    Codec(Codec),
}

impl Told {
    /// Whether a file's track is sent as it.
    fn is(&self, track: &FileTrack) -> bool {
        match &self.what {
            What::Track(told) => is_alike(told, track),
            What::Codec(codec) => track.is_what(codec),
        }
    }

    /// How its packets are made.
    pub(super) fn packing(&self) -> Packing {
        match &self.what {
            What::Track(_) => Packing::Own,
            // Files have it decoded.
            What::Codec(codec) if codec.name.eq_ignore_ascii_case("G722") => Packing::G722(Box::default()),
            What::Codec(codec) => AacForm::of(codec).map_or(Packing::Own, Packing::Aac),
        }
    }

    /// Which of a file's tracks is sent as which of these, in order.
    pub(super) fn find(told: &[Told], file: &[FileTrack]) -> Vec<Option<usize>> {
        matched(told, file, Told::is)
    }
}

/// The first payload type that stands for nothing by itself (RFC 3551 §3).
pub(super) const FIRST_DYNAMIC: u8 = 96;

/// Which of a file's tracks is which of a timeline's: those that are told alike, in order.
pub(super) fn match_tracks(told: &[FileTrack], file: &[FileTrack]) -> Vec<Option<usize>> {
    matched(told, file, is_alike)
}

/// Whether two tracks are told alike.
fn is_alike(a: &FileTrack, b: &FileTrack) -> bool {
    let (Some(mut a), Some(mut b)) = (a.codec(FIRST_DYNAMIC), b.codec(FIRST_DYNAMIC)) else {
        return false;
    };
    // Parameter sets of pictures are sent with each key frame.
    if ["H264", "H265", "MP4V-ES"].contains(&&*a.name) {
        (a.fmtp, b.fmtp) = (None, None);
    }
    a == b
}

/// For each of some, in order, the first of the others that is like it and is not taken.
fn matched<A, B>(some: &[A], others: &[B], is_alike: impl Fn(&A, &B) -> bool) -> Vec<Option<usize>> {
    let mut taken = vec![false; others.len()];
    let find = |one: &A| {
        let is_free = |(index, other): (usize, &B)| !taken[index] && is_alike(one, other);
        let found = others.iter().enumerate().position(is_free)?;
        taken[found] = true;
        Some(found)
    };
    some.iter().map(find).collect()
}
