use super::clock::MediaClock;
use crate::file::{Encoding, Format, Kind, Sample};
use bytes::Bytes;
use ringpost_base::UnixTime;
use ringpost_rtp::Packet;
use ringpost_rtp::payload::Depacketizer;
use ringpost_sdp::Codec;
use std::collections::VecDeque;

/// One track on its way from packets to samples.
#[derive(Debug)]
pub(super) struct Track {
    /// Its encoding's.
    pub(super) name: String,
    pub(super) payload_type: u8,
    pub(super) clock_rate_hz: u32,
    encoding: Encoding,
    depacketizer: Depacketizer,
    pub(super) clock: MediaClock,
    /// What its samples are, once that is known.
    pub(super) format: Option<Format>,
    /// The units of the open fragment, and what came early for the next.
    pub(super) pending: VecDeque<Unit>,
    /// The number of the first unit in the file, and its time there.
    pub(super) anchor: Option<(i64, i64)>,
}

/// What is decoded at once.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its timestamp, counted without end.
    pub(super) number: i64,
    /// When it is shown or heard.
    pub(super) wall_ns: i64,
    pub(super) is_key: bool,
    /// The format that it shows, where that is another than was known.
    pub(super) changes: Option<Format>,
    pub(super) parts: Vec<Bytes>,
    pub(super) bytes: usize,
}

/// What a unit takes beside its octets, about, for each part.
const PART_BYTES: usize = 64;

impl Track {
    /// `None` where no file can hold it.
    pub(super) fn new(codec: &Codec) -> Option<Self> {
        let encoding = Encoding::of(codec)?;
        Some(Track {
            name: codec.name.to_string(),
            payload_type: codec.payload_type,
            clock_rate_hz: codec.clock_rate_hz,
            depacketizer: Depacketizer::new(encoding.payload),
            clock: MediaClock::new(codec.clock_rate_hz),
            format: encoding.format.clone(),
            encoding,
            pending: VecDeque::new(),
            anchor: None,
        })
    }

    pub(super) fn is_video(&self) -> bool {
        self.encoding.kind != Kind::Told
    }

    /// Takes a packet; true where its time contradicts those before it.
    pub(super) fn handle_packet(&mut self, packet: &Packet<'_>, wallclock: UnixTime) -> bool {
        let jumps = self.clock.handle_packet(packet.timestamp(), wallclock);
        if jumps {
            // What has begun will have no end, and its time would be counted from the wrong one.
            self.depacketizer = Depacketizer::new(self.encoding.payload);
        }
        self.depacketizer.handle_packet(packet);
        jumps
    }

    /// The next unit that is whole.
    pub(super) fn unit(&mut self) -> Option<Unit> {
        let unit = self.depacketizer.poll()?;
        let number = self.clock.number(unit.timestamp);
        // Parameter sets change where decoding begins anew.
        let shown = match unit.is_key {
            true => self.encoding.kind.format_in(&unit.pieces, self.format.as_ref()),
            false => None,
        };
        let bytes = unit.pieces.iter().map(|piece| piece.len() + PART_BYTES).sum();
        Some(Unit {
            number,
            wall_ns: self.clock.wall_ns(number),
            is_key: unit.is_key,
            changes: shown.filter(|shown| self.format.as_ref() != Some(shown)),
            parts: unit.pieces.into_iter().map(Bytes::from).collect(),
            bytes,
        })
    }

    /// Nothing more is coming of the unit at hand.
    pub(super) fn end(&mut self) {
        self.depacketizer.end();
    }

    /// Its source has gone, and another may come.
    pub(super) fn reset(&mut self) {
        self.depacketizer = Depacketizer::new(self.encoding.payload);
        self.clock = MediaClock::new(self.clock_rate_hz);
        self.pending.clear();
        self.anchor = None;
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

impl Unit {
    pub(super) fn into_sample(self, time: u64) -> Sample {
        Sample {
            time,
            is_key: self.is_key,
            parts: self.parts,
        }
    }
}
