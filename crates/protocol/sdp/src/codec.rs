use crate::RtpMap;
use std::borrow::Cow;

/// One payload format of an RTP stream, with the number it goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding's name; compared without case.
    pub name: Cow<'static, str>,
    /// The RTP clock.
    pub clock_rate_hz: u32,
    /// Channels of audio; 1 for anything else.
    pub channels: u8,
    /// The parameters of `a=fmtp`.
    pub fmtp: Option<String>,
}

/// The static payload types of RFC 3551 §6: number, name, clock, channels.
const STATIC: [(u8, &str, u32, u8); 24] = [
    (0, "PCMU", 8000, 1),
    (3, "GSM", 8000, 1),
    (4, "G723", 8000, 1),
    (5, "DVI4", 8000, 1),
    (6, "DVI4", 16000, 1),
    (7, "LPC", 8000, 1),
    (8, "PCMA", 8000, 1),
    (9, "G722", 8000, 1),
    (10, "L16", 44100, 2),
    (11, "L16", 44100, 1),
    (12, "QCELP", 8000, 1),
    (13, "CN", 8000, 1),
    (14, "MPA", 90000, 1),
    (15, "G728", 8000, 1),
    (16, "DVI4", 11025, 1),
    (17, "DVI4", 22050, 1),
    (18, "G729", 8000, 1),
    (25, "CelB", 90000, 1),
    (26, "JPEG", 90000, 1),
    (28, "nv", 90000, 1),
    (31, "H261", 90000, 1),
    (32, "MPV", 90000, 1),
    (33, "MP2T", 90000, 1),
    (34, "H263", 90000, 1),
];

impl Codec {
    /// A format with a number of its own (96 to 127 unless static).
    pub fn new(payload_type: u8, name: impl Into<Cow<'static, str>>, clock_rate_hz: u32) -> Self {
        Codec {
            payload_type,
            name: name.into(),
            clock_rate_hz,
            channels: 1,
            fmtp: None,
        }
    }

    /// G.711 µ-law, payload type 0.
    pub fn pcmu() -> Self {
        Codec::new(0, "PCMU", 8000)
    }

    /// G.711 A-law, payload type 8.
    pub fn pcma() -> Self {
        Codec::new(8, "PCMA", 8000)
    }

    /// G.722, payload type 9; its clock is 8000 Hz, whatever it samples (RFC 3551 §4.5.2).
    pub fn g722() -> Self {
        Codec::new(9, "G722", 8000)
    }

    /// Opus for a telephone's band (RFC 7587 §6.1): it always names 48000 Hz and two channels (§7).
    pub fn opus(payload_type: u8) -> Self {
        Codec {
            channels: 2,
            fmtp: Some("maxplaybackrate=8000;sprop-maxcapturerate=8000".into()),
            ..Codec::new(payload_type, "opus", 48000)
        }
    }

    /// DTMF digits as events (RFC 4733) at 8000 Hz, with the sixteen keys.
    pub fn telephone_event(payload_type: u8) -> Self {
        Codec {
            fmtp: Some("0-15".into()),
            ..Codec::new(payload_type, "telephone-event", 8000)
        }
    }

    /// What RFC 3551 says that a number stands for, where a description says nothing.
    pub fn of_static(payload_type: u8) -> Option<Codec> {
        let (number, name, rate, channels) = STATIC.iter().find(|(number, ..)| *number == payload_type)?;
        Some(Codec {
            channels: *channels,
            ..Codec::new(*number, *name, *rate)
        })
    }

    /// Whether both stand for the same encoding, whatever their numbers and parameters.
    pub fn same_encoding(&self, other: &Codec) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate_hz == other.clock_rate_hz
            && self.channels == other.channels
    }

    /// Whether it carries telephone events (RFC 4733).
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Whether it carries comfort noise (RFC 3389).
    pub fn is_comfort_noise(&self) -> bool {
        self.name.eq_ignore_ascii_case("CN")
    }

    /// Whether a stream can live by it: neither events nor comfort noise.
    pub fn is_media(&self) -> bool {
        !self.is_telephone_event() && !self.is_comfort_noise()
    }

    pub(crate) fn rtpmap(&self) -> RtpMap {
        RtpMap {
            payload_type: self.payload_type,
            encoding: self.name.to_string(),
            clock_rate_hz: self.clock_rate_hz,
            channels: self.channels,
        }
    }
}

/// The list of a leg's offer: the caller's codecs first, with the caller's numbers, then ours that it did not name.
///
/// Events and comfort noise come last, one for each clock rate that a codec of the list has (RFC 4733 §2.1, RFC 3389
/// §4: they share their stream's timestamps). Ours get another number where the caller's has taken theirs.
pub fn merge_codecs(caller: &[Codec], ours: &[Codec]) -> Vec<Codec> {
    let mut merged: Vec<Codec> = Vec::with_capacity(caller.len() + ours.len());
    for media in [true, false] {
        for codec in caller
            .iter()
            .chain(ours)
            .filter(|codec| codec.is_media() == media)
        {
            let named = merged.iter().any(|known| known.same_encoding(codec));
            let has_clock = media || rate_of_media(&merged, codec.clock_rate_hz);
            let number = free_payload_type(codec.payload_type, |number| {
                // A number of the caller's that comes later keeps its owner.
                caller
                    .iter()
                    .any(|other| other.payload_type == number && !other.same_encoding(codec))
                    || merged.iter().any(|other| other.payload_type == number)
            });
            if let (false, true, Some(payload_type)) = (named, has_clock, number) {
                merged.push(Codec {
                    payload_type,
                    ..codec.clone()
                });
            }
        }
    }
    merged
}

/// Whether some codec of the list, events and noise aside, has this clock.
fn rate_of_media(codecs: &[Codec], clock_rate_hz: u32) -> bool {
    codecs
        .iter()
        .any(|codec| codec.is_media() && codec.clock_rate_hz == clock_rate_hz)
}

/// `wanted`, or else the first free dynamic number (RFC 3551 §3: 96 to 127 first, then the unassigned 35 to 63).
pub(crate) fn free_payload_type(wanted: u8, taken: impl Fn(u8) -> bool) -> Option<u8> {
    std::iter::once(wanted)
        .chain(96..=127)
        .chain(35..=63)
        .find(|number| !taken(*number))
}
