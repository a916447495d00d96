//! What is in packets: access units read out of payloads, and payloads made of access units.
//!
//! A [`Depacketizer`] is fed the packets of one source in the order of their sequence numbers and gives whole access units,
//! each with its timestamp and whether decoding may begin with it. [`write`] has the other direction.
//!
//! | [`Format`] | RFC | a unit's pieces |
//! | --- | --- | --- |
//! | `H264` | 6184 | NAL units, without start codes |
//! | `H265` | 7798 | the same |
//! | `Aac` | 3640 | one frame |
//! | `Latm` | 6416 | one frame, or with the configuration in the band one AudioMuxElement |
//! | `MpegAudio` | 2250 | one frame, with its header |
//! | `Whole` | 7587, 3551 | the payload: Opus, G.711, G.722, L16 |
//! | `Vp8`, `Vp9` | 7741, 9628 | one frame; of VP9 one for each spatial layer |
//! | `Mpeg4Visual` | 6416 | one picture, with start codes and with the headers before it |
//! | `Jpeg` | 2435 | one image, with the headers that the payload's own header stands for, as it can stand in a file |

mod audio;
mod formats;
mod jpeg;
mod mpeg4_visual;
mod nal;
mod video;
pub mod write;

#[cfg(test)]
mod tests;

pub use audio::{AacHeaders, opus_duration_units};
pub use formats::{StaticFormat, duration_units, static_format};
pub use mpeg4_visual::{is_mpeg4_key, mpeg4_configuration, mpeg4_start_codes};
pub use nal::{is_h264_key, is_h264_recovery_point, is_h265_key, is_h265_recovery_point, split_annex_b};
pub use video::{begins_vp8, begins_vp9};

use crate::Packet;
use ringpost_base::limits;
use std::collections::VecDeque;

/// How payloads are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// H.264. Of the interleaved mode, what one packet holds is put into decoding order, and no more.
    H264,
    /// H.265.
    H265 {
        /// Whether decoding order numbers stand in payloads: `sprop-max-don-diff` above 0.
        has_donl: bool,
    },
    /// AAC and other MPEG-4 streams behind AU headers.
    Aac(AacHeaders),
    /// AAC in LATM.
    Latm {
        /// Whether the configuration comes in the band (`cpresent=1`): such elements are not taken apart.
        in_band: bool,
    },
    /// MPEG-1 and MPEG-2 audio.
    MpegAudio,
    /// A payload is a unit.
    Whole,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// MPEG-4 part 2 video.
    Mpeg4Visual,
    /// JPEG of types 0 and 1, with restart markers or without.
    Jpeg,
}

/// What belongs to one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// Its instant, in units of the payload's clock.
    pub timestamp: u32,
    /// Whether decoding may begin with it: of H.264 and H.265 with key pictures and recovery points, of MPEG-4 video with pictures
    /// that are coded by themselves. So it is with every unit of audio.
    pub is_key: bool,
    /// Whether something before it, since the last unit that was given, was lost.
    pub follows_loss: bool,
    /// What it is made of, in decoding order; at least one piece.
    pub pieces: Vec<Vec<u8>>,
}

/// How many packets back a packet may be and count as late; one further back begins the numbers anew.
const LATE_PACKETS: u16 = 3_000;
/// How many units wait to be taken; behind it the oldest are dropped as lost.
const WAITING_UNITS: usize = 512;

/// Puts access units together. A unit of which a packet is missing is not given, and the next says that it follows a loss.
///
/// A unit ends with the marker bit, or where the timestamp changes, since markers are left out by some. Of H.264 and H.265 none
/// ends with what belongs before a picture (parameter sets, delimiters, SEI): cameras set the marker on these too, with the
/// picture's timestamp or that of the picture before, and they are given with the picture that follows. So it is with the
/// configuration of MPEG-4 video.
// Guards pitfall RTP 10.
#[derive(Debug)]
pub struct Depacketizer {
    format: Format,
    expected: Option<u16>,
    /// Whether packets are missing right before the one at hand.
    gap: bool,
    unit: Option<Unit>,
    /// A piece of which the end has not come.
    fragment: Option<Vec<u8>>,
    /// Whether a picture of MPEG-4 video begins in it.
    has_picture: bool,
    follows_loss: bool,
    lost: u64,
    ready: VecDeque<AccessUnit>,
    jpeg: jpeg::Jpeg,
}

/// A unit that is being put together.
#[derive(Debug)]
struct Unit {
    timestamp: u32,
    is_key: bool,
    is_damaged: bool,
    /// Packets are missing right before its first.
    is_after_gap: bool,
    bytes: usize,
    pieces: Vec<Vec<u8>>,
}

/// The packet at hand.
#[derive(Clone, Copy)]
struct At<'a> {
    timestamp: u32,
    payload: &'a [u8],
}

impl Depacketizer {
    /// Nothing received.
    pub fn new(format: Format) -> Self {
        Depacketizer {
            format,
            expected: None,
            gap: false,
            unit: None,
            fragment: None,
            has_picture: false,
            follows_loss: false,
            lost: 0,
            ready: VecDeque::new(),
            jpeg: jpeg::Jpeg::default(),
        }
    }

    /// How many units were begun and not given, for want of a packet or since they break the format.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// A packet of the source. One that is late or came before is passed over.
    pub fn handle_packet(&mut self, packet: &Packet<'_>) {
        self.handle(
            packet.sequence(),
            packet.timestamp(),
            packet.marker(),
            packet.payload(),
        );
    }

    /// The same of a packet's parts.
    pub fn handle(&mut self, sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        if let Some(expected) = self.expected {
            let ahead = sequence.wrapping_sub(expected);
            let behind = expected.wrapping_sub(sequence);
            if (1..=LATE_PACKETS).contains(&behind) {
                return;
            }
            self.gap = ahead != 0;
        }
        self.expected = Some(sequence.wrapping_add(1));
        if self.gap {
            self.follows_loss = true;
            self.fragment = None;
            if let Some(unit) = &mut self.unit {
                unit.is_damaged = true;
            }
        }
        let at = At { timestamp, payload };
        self.turn_to(timestamp);
        if !payload.is_empty() {
            match self.format {
                Format::H264 => self.h264(at),
                Format::H265 { has_donl } => self.h265(at, has_donl),
                Format::Aac(headers) => self.aac(at, headers),
                Format::Latm { .. } => self.latm(at),
                Format::MpegAudio => self.mpeg_audio(at),
                Format::Whole => self.whole(at),
                Format::Vp8 => self.vp8(at),
                Format::Vp9 => self.vp9(at),
                Format::Mpeg4Visual => self.mpeg4_visual(at),
                Format::Jpeg => self.jpeg(at),
            }
        }
        self.gap = false;
        // In MPEG audio it begins a talkspurt.
        if marker && self.format != Format::MpegAudio && !self.awaits_picture() {
            self.finish();
        }
    }

    /// The next unit that is whole.
    pub fn poll(&mut self) -> Option<AccessUnit> {
        self.ready.pop_front()
    }

    /// The source has ended: what has come of the last unit is all of it.
    pub fn end(&mut self) {
        self.finish();
    }

    /// Whether the unit at hand has what belongs before a picture at its end.
    fn awaits_picture(&self) -> bool {
        match self.format {
            Format::Mpeg4Visual => self.awaits_mpeg4_picture(),
            _ => self.leading_pieces() > 0,
        }
    }

    /// How many pieces at the end of the unit at hand belong before a picture that has not come.
    fn leading_pieces(&self) -> usize {
        let belongs_before: fn(&[u8]) -> bool = match self.format {
            Format::H264 => nal::precedes_h264_picture,
            Format::H265 { .. } => nal::precedes_h265_picture,
            _ => return 0,
        };
        match &self.unit {
            Some(unit) if !unit.is_damaged && self.fragment.is_none() => {
                let pieces = unit.pieces.iter().rev();
                pieces.take_while(|piece| belongs_before(piece)).count()
            }
            _ => 0,
        }
    }

    /// What comes now is of this instant: the unit of another one ends, but for what belongs before the picture that comes.
    fn turn_to(&mut self, timestamp: u32) {
        if self.unit.as_ref().is_none_or(|unit| unit.timestamp == timestamp) {
            return;
        }
        if self.format == Format::Mpeg4Visual {
            let is_before_picture = self.awaits_mpeg4_picture();
            return match self.unit.as_mut() {
                Some(unit) if is_before_picture => unit.timestamp = timestamp,
                _ => self.finish(),
            };
        }
        let count = self.leading_pieces();
        let Some(unit) = self.unit.as_mut().filter(|_| count > 0) else {
            return self.finish();
        };
        if count == unit.pieces.len() {
            unit.timestamp = timestamp;
            return;
        }
        let pieces = unit.pieces.split_off(unit.pieces.len() - count);
        // What a recovery point says is said of the picture behind it.
        let begins = |piece: &Vec<u8>| nal::begins_decoding(self.format, piece);
        let is_key = pieces.iter().any(begins);
        unit.is_key = unit.pieces.iter().any(begins);
        self.finish();
        self.unit = Some(Unit {
            timestamp,
            is_key,
            is_damaged: false,
            is_after_gap: false,
            bytes: pieces.iter().map(Vec::len).sum(),
            pieces,
        });
    }

    /// The unit of this instant.
    fn unit(&mut self, timestamp: u32) -> &mut Unit {
        self.turn_to(timestamp);
        let is_after_gap = self.gap;
        self.unit.get_or_insert_with(|| Unit {
            timestamp,
            is_key: false,
            is_damaged: false,
            is_after_gap,
            bytes: 0,
            pieces: Vec::new(),
        })
    }

    /// The unit of this instant breaks its format, or lacks its beginning.
    fn damage(&mut self, timestamp: u32) {
        self.fragment = None;
        self.unit(timestamp).is_damaged = true;
    }

    /// A whole piece of the unit of this instant.
    fn piece(&mut self, timestamp: u32, piece: Vec<u8>, is_key: bool) {
        let unit = self.unit(timestamp);
        unit.bytes += piece.len();
        unit.is_key |= is_key;
        if unit.bytes > limits::ACCESS_UNIT_BYTES || unit.pieces.len() == limits::ACCESS_UNIT_PIECES {
            unit.is_damaged = true;
        }
        // What is not given is not gathered.
        match unit.is_damaged {
            true => unit.pieces.clear(),
            false => unit.pieces.push(piece),
        }
    }

    /// A part of a piece; false when it would become too long.
    fn extend(&mut self, timestamp: u32, part: &[u8]) -> bool {
        let gathered = self.unit.as_ref().map_or(0, |unit| unit.bytes);
        match &mut self.fragment {
            Some(fragment) if gathered + fragment.len() + part.len() <= limits::ACCESS_UNIT_BYTES => {
                fragment.extend_from_slice(part);
                true
            }
            _ => {
                self.damage(timestamp);
                false
            }
        }
    }

    /// The unit at hand has come to its end.
    fn finish(&mut self) {
        // Where a frame is all packets of an instant, it is whole without a marker too, since none is missing.
        let whole = match self.format {
            _ if self.unit.is_none() => Vec::new(),
            Format::Vp8 => self.fragment.take().into_iter().collect(),
            Format::Jpeg => self.jpeg_image().into_iter().collect(),
            Format::Mpeg4Visual => self.mpeg4_picture().into_iter().collect(),
            Format::Latm { in_band } => self.latm_pieces(in_band),
            Format::Aac(headers) if headers.is_sizeless() => self.latm_pieces(true),
            _ => Vec::new(),
        };
        if let Some(unit) = &mut self.unit {
            unit.pieces.extend(whole);
        }
        let is_cut = self.fragment.take().is_some();
        let Some(unit) = self.unit.take() else {
            if is_cut {
                self.lose();
            }
            return;
        };
        if unit.is_damaged || is_cut || unit.pieces.is_empty() {
            return self.lose();
        }
        if self.ready.len() == WAITING_UNITS {
            self.ready.pop_front();
            self.lost += 1;
            if let Some(next) = self.ready.front_mut() {
                next.follows_loss = true;
            }
        }
        self.ready.push_back(AccessUnit {
            timestamp: unit.timestamp,
            is_key: unit.is_key,
            follows_loss: std::mem::take(&mut self.follows_loss),
            pieces: unit.pieces,
        });
    }

    fn lose(&mut self) {
        self.lost += 1;
        self.follows_loss = true;
    }
}
