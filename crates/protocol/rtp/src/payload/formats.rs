//! What static payload types mean (RFC 3551 §6), and how long payloads last.

use super::audio::opus_duration_units;

/// A payload format that needs no description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticFormat {
    /// Its name, as in `a=rtpmap`.
    pub name: &'static str,
    /// The clock of its timestamps.
    pub clock_rate_hz: u32,
    /// How often sound is sampled: another number for G.722 alone, whose clock was written down wrong and stays so.
    pub sampling_rate_hz: u32,
    /// How many channels, for audio; 1 for video.
    pub channels: u8,
}

/// The format of a static payload type that is understood here.
//= https://www.rfc-editor.org/rfc/rfc3551#section-6
pub fn static_format(payload_type: u8) -> Option<StaticFormat> {
    let format = |name, clock_rate_hz, sampling_rate_hz, channels| {
        Some(StaticFormat {
            name,
            clock_rate_hz,
            sampling_rate_hz,
            channels,
        })
    };
    match payload_type {
        0 => format("PCMU", 8_000, 8_000, 1),
        8 => format("PCMA", 8_000, 8_000, 1),
        //= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.2
        9 => format("G722", 8_000, 16_000, 1),
        10 => format("L16", 44_100, 44_100, 2),
        11 => format("L16", 44_100, 44_100, 1),
        14 => format("MPA", 90_000, 90_000, 1),
        26 => format("JPEG", 90_000, 90_000, 1),
        _ => None,
    }
}

/// How long a payload of an audio format lasts, in units of its clock; `None` where the format's name is not known, or the
/// payload does not fit it.
pub fn duration_units(name: &str, channels: u8, payload: &[u8]) -> Option<u32> {
    let len = u32::try_from(payload.len()).ok()?;
    let channels = u32::from(channels.max(1));
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    // A byte of G.722 is two samples of 16 kHz, and one unit of the clock.
    if is("PCMU") || is("PCMA") || is("G722") {
        Some(len / channels)
    } else if is("L16") {
        len.is_multiple_of(2 * channels).then_some(len / 2 / channels)
    } else if is("opus") {
        opus_duration_units(payload)
    } else {
        None
    }
}
