use super::clock::{MediaClock, Said};
use crate::file::{Encoding, Format, Kind, Latm, Sample, latm};
use crate::mpeg4_visual;
use bytes::Bytes;
use ringpost_base::{Instant, UnixTime};
use ringpost_codec::G722Wide;
use ringpost_rtp::Packet;
use ringpost_rtp::payload::{AccessUnit, Depacketizer, is_mpeg4_key};
use ringpost_sdp::Codec;
use std::collections::VecDeque;
use std::time::Duration;

/// One track on its way from packets to samples.
#[derive(Debug)]
pub(super) struct Track {
    /// Its encoding's.
    pub(super) name: String,
    pub(super) payload_type: u8,
    pub(super) clock_rate_hz: u32,
    /// Units of the file's clock in one of RTP's.
    stretch: u32,
    decoder: Option<G722Wide>,
    encoding: Encoding,
    depacketizer: Depacketizer,
    /// What takes its units apart, where frames stand in elements with their configuration.
    latm: Option<Latm>,
    /// Frames of a unit that was taken apart.
    frames: VecDeque<AccessUnit>,
    pub(super) clock: MediaClock,
    /// What its samples are, once that is known.
    pub(super) format: Option<Format>,
    /// The units of the open fragment, and what came early for the next.
    pub(super) pending: VecDeque<Unit>,
    /// The number of the first unit in the file, and its time there.
    pub(super) anchor: Option<(i64, i64)>,
    /// Its samples are others than the file's header says, from here on.
    pub(super) is_other: bool,
    /// Since when pictures have come of which none is one to begin with.
    keyless_since: Option<Instant>,
}

/// What is decoded at once.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its timestamp, counted without end.
    pub(super) number: i64,
    /// When it is shown or heard.
    pub(super) wall_ns: i64,
    pub(super) is_key: bool,
    /// Whether a file may begin with it: a key picture, or any where there are no key pictures.
    pub(super) is_begin: bool,
    /// Something before it never came.
    pub(super) follows_loss: bool,
    /// The format that it shows, where that is another than was known.
    pub(super) changes: Option<Format>,
    pub(super) parts: Vec<Bytes>,
    pub(super) bytes: usize,
}

/// How much later than what came first a track's first picture may come.
const MOMENT: Duration = Duration::from_secs(1);
/// What a unit takes beside its octets, about, for each part.
const PART_BYTES: usize = 64;

impl Track {
    /// `None` where no file can hold it.
    pub(super) fn new(codec: &Codec) -> Option<Self> {
        let encoding = Encoding::of(codec)?;
        // Its clock counts by 8,000, and it has 16,000 samples a second.
        //= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.2
        let stretch = if encoding.is_decoded { 2 } else { 1 };
        let clock_rate_hz = codec.clock_rate_hz.saturating_mul(stretch);
        Some(Track {
            name: codec.name.to_string(),
            payload_type: codec.payload_type,
            clock_rate_hz,
            stretch,
            decoder: encoding.is_decoded.then(G722Wide::default),
            depacketizer: Depacketizer::new(encoding.payload),
            latm: (encoding.kind == Kind::Latm).then(|| latm(codec)),
            frames: VecDeque::new(),
            clock: MediaClock::new(clock_rate_hz),
            format: encoding.format.clone(),
            encoding,
            pending: VecDeque::new(),
            anchor: None,
            is_other: false,
            keyless_since: None,
        })
    }

    pub(super) fn is_video(&self) -> bool {
        self.encoding.kind.is_video()
    }

    /// Takes a packet, and what is said of its time.
    pub(super) fn handle_packet(&mut self, packet: &Packet<'_>, wallclock: UnixTime) -> Said {
        let timestamp = packet.timestamp().wrapping_mul(self.stretch);
        let said = self.clock.handle_packet(timestamp, wallclock);
        if said == Said::Contradiction {
            // What has begun will have no end, and its time would be counted from the wrong one.
            self.depacketizer = Depacketizer::new(self.encoding.payload);
            self.frames.clear();
        }
        self.depacketizer.handle_packet(packet);
        if said == Said::Moved {
            self.place_pending();
        }
        said
    }

    /// Takes another time of a timestamp than its packet said; whether it is another.
    pub(super) fn handle_time(&mut self, timestamp: u32, wallclock: UnixTime) -> bool {
        let number = self.clock.number(timestamp.wrapping_mul(self.stretch));
        let is_other = self.clock.handle_time(number, wallclock);
        if is_other {
            self.place_pending();
        }
        is_other
    }

    /// What no file has a place for yet is of the time that is known by now.
    pub(super) fn place_pending(&mut self) {
        if self.anchor.is_none() {
            for unit in &mut self.pending {
                unit.wall_ns = self.clock.wall_ns(unit.number);
            }
        }
    }

    /// When a unit happened by the file that it is to be in: within a file it is counted by timestamps, whatever the wall's
    /// clock does.
    pub(super) fn wall_in_file(&self, unit: &Unit, began_ns: i64) -> i64 {
        match self.anchor {
            Some((first, at)) => began_ns.saturating_add(self.clock.to_ns(at + unit.number - first)),
            None => unit.wall_ns,
        }
    }

    /// The next unit that is whole. One to begin with that has not come for `patience` is waited for no longer.
    pub(super) fn unit(&mut self, now: Instant, patience: Duration) -> Option<Unit> {
        let mut unit = match self.frames.pop_front() {
            Some(unit) => unit,
            None => self.next_unit()?,
        };
        let number = self.clock.number(unit.timestamp.wrapping_mul(self.stretch));
        if let Some(decoder) = &mut self.decoder {
            for piece in &mut unit.pieces {
                *piece = decoded(decoder, piece);
            }
        }
        let shown = match &self.latm {
            Some(latm) => latm.format(),
            None if unit.is_key || self.encoding.kind.has_sets(&unit.pieces) => {
                self.encoding.kind.format_in(&unit.pieces, self.format.as_ref())
            }
            None => None,
        };
        let is_begin = unit.is_key || self.is_keyless(now, patience);
        if unit.is_key {
            self.keyless_since = None;
        }
        let bytes = unit.pieces.iter().map(|piece| piece.len() + PART_BYTES).sum();
        Some(Unit {
            number,
            wall_ns: self.clock.wall_ns(number),
            is_key: unit.is_key,
            is_begin,
            follows_loss: unit.follows_loss,
            changes: shown.filter(|shown| self.format.as_ref() != Some(shown)),
            parts: unit.pieces.into_iter().map(Bytes::from).collect(),
            bytes,
        })
    }

    /// The next unit of packets, or the first one of what is taken apart.
    fn next_unit(&mut self) -> Option<AccessUnit> {
        loop {
            let mut whole = self.depacketizer.poll()?;
            let parts = match (&mut self.latm, self.encoding.kind) {
                // Each frame begins where the one before ends.
                (Some(latm), _) => {
                    let frames = whole.pieces.iter().flat_map(|piece| latm.frames(piece));
                    let frames: Vec<_> = frames.collect();
                    let lasts = latm.frame_units(self.clock_rate_hz);
                    let times = (0_u32..).map(|n| n.wrapping_mul(lasts));
                    times.zip(frames).collect()
                }
                (None, Kind::Mpeg4Visual) => {
                    let octets = std::mem::take(&mut whole.pieces).into_iter().next();
                    self.pictures(octets.unwrap_or_default())
                }
                (None, _) => return Some(whole),
            };
            let mut follows_loss = whole.follows_loss;
            self.frames
                .extend(parts.into_iter().map(|(later, part)| AccessUnit {
                    timestamp: whole.timestamp.wrapping_add(later),
                    is_key: match self.encoding.kind {
                        Kind::Mpeg4Visual => is_mpeg4_key(&part) == Some(true),
                        _ => true,
                    },
                    follows_loss: std::mem::take(&mut follows_loss),
                    pieces: vec![part],
                }));
            if let Some(first) = self.frames.pop_front() {
                return Some(first);
            }
        }
    }

    /// Pictures of MPEG-4 video that came in one packet; together, where their times cannot be told.
    fn pictures(&self, octets: Vec<u8>) -> Vec<(u32, Vec<u8>)> {
        let known = match &self.format {
            Some(Format::Mpeg4Visual { config }) => &config[..],
            _ => &[],
        };
        let found = mpeg4_visual::pictures(known, &octets, self.clock_rate_hz);
        match found.len() {
            0 | 1 => vec![(0, octets)],
            _ => found
                .into_iter()
                .map(|(later, part)| (later, part.to_vec()))
                .collect(),
        }
    }

    /// Whether pictures that can be decoded little by little have come for so long without one to begin with.
    fn is_keyless(&mut self, now: Instant, patience: Duration) -> bool {
        let since = *self.keyless_since.get_or_insert(now);
        self.can_refresh() && now.since(since) >= patience
    }

    /// Whether pictures can be decoded though none comes to begin with: of other codings nothing can be made.
    fn can_refresh(&self) -> bool {
        matches!(self.encoding.kind, Kind::H264 | Kind::H265) && self.format.is_some()
    }

    /// Whether it will be begun with any picture before long, when `patience` with it is about to end.
    pub(super) fn may_begin_by(&self, now: Instant, patience: Duration) -> bool {
        let is_soon = |since: Instant| now.since(since) < patience + MOMENT;
        self.can_refresh() && self.keyless_since.is_some_and(is_soon)
    }

    /// Nothing more is coming of the unit at hand.
    pub(super) fn end(&mut self) {
        self.depacketizer.end();
    }

    /// Its source has gone, and another may come.
    pub(super) fn reset(&mut self) {
        self.depacketizer = Depacketizer::new(self.encoding.payload);
        self.decoder = self.encoding.is_decoded.then(G722Wide::default);
        if let Some(latm) = &mut self.latm {
            latm.reset();
        }
        self.frames.clear();
        self.clock = MediaClock::new(self.clock_rate_hz);
        self.pending.clear();
        self.anchor = None;
        self.keyless_since = None;
    }

    /// When a unit is shown, in its file, which began at `began_ns`; `None` before the file's beginning.
    pub(super) fn time_of(&mut self, number: i64, wall_ns: i64, began_ns: i64) -> Option<u64> {
        let (first, at) = match self.anchor {
            Some(anchor) => anchor,
            None => {
                let anchor = (number, self.clock.units(wall_ns - began_ns));
                u64::try_from(anchor.1).ok()?;
                *self.anchor.insert(anchor)
            }
        };
        u64::try_from(at + number - first).ok()
    }

    /// How far its times in the file are from the wall's by now.
    pub(super) fn drift_ns(&self, number: i64, began_ns: i64) -> i64 {
        let Some((first, at)) = self.anchor else { return 0 };
        let in_file = self.clock.to_ns(at + number - first);
        self.clock.wall_ns(number) - began_ns - in_file
    }
}

/// The samples of a piece, as L16 has them.
//= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.11
fn decoded(decoder: &mut G722Wide, piece: &[u8]) -> Vec<u8> {
    let mut samples = Vec::new();
    decoder.decode_into(piece, &mut samples);
    samples.into_iter().flat_map(i16::to_be_bytes).collect()
}

impl Unit {
    pub(super) fn into_sample(self, time: u64) -> Sample {
        Sample {
            time,
            is_key: self.is_key,
            parts: self.parts,
        }
    }
}
