//! Whether a file has what a session description speaks of. The same thing is said in other words by publishers: channels that
//! are left out or are none of the codec's, names of files that have none for a codec.

use super::encoding::parameter;
use super::{AacForm, Encoding, FileTrack, Format};
use ringpost_codec::G722Wide;
use ringpost_rtp::payload;
use ringpost_sdp::Codec;

impl FileTrack {
    /// Whether packets of it are what a publisher describes: of that coding, with what its decoder was told, in payloads of that
    /// form. Parameter sets of pictures may be others, since they are sent with each key frame.
    // Guards pitfall RTSP 8.
    pub(crate) fn is_what(&self, described: &Codec) -> bool {
        let Some(encoding) = Encoding::of(described) else {
            return false;
        };
        match (&self.format, encoding.payload, &encoding.format) {
            // Of its modes, the interleaved one has other payloads.
            (Format::H264 { .. }, payload::Format::H264, _) => {
                let fmtp = described.fmtp.as_deref().unwrap_or_default();
                parameter(fmtp, "packetization-mode") != Some("2")
            }
            (Format::H265 { .. }, payload::Format::H265 { has_donl }, _) => !has_donl,
            (Format::Vp8 { .. }, payload::Format::Vp8, _)
            | (Format::Vp9 { .. }, payload::Format::Vp9, _)
            | (Format::Mpeg4Visual { .. }, payload::Format::Mpeg4Visual, _)
            | (Format::Jpeg { .. }, payload::Format::Jpeg, _)
            | (Format::MpegAudio { .. }, payload::Format::MpegAudio, _) => true,
            (Format::Aac { config, .. }, _, told) if let Some(form) = AacForm::of(described) => match told {
                Some(Format::Aac { config: told, .. }) => without_padding(config) == without_padding(told),
                _ => form.tells(config, described.clock_rate_hz),
            },
            //= https://www.rfc-editor.org/rfc/rfc7587#section-7
            (Format::Opus { .. }, payload::Format::Whole, Some(Format::Opus { .. })) => true,
            (own, payload::Format::Whole, Some(told)) if encoding.is_decoded => {
                own == told && self.clock_rate_hz == G722Wide::RATE_HZ
            }
            (own, payload::Format::Whole, Some(told)) => {
                own == told && self.clock_rate_hz == described.clock_rate_hz
            }
            _ => false,
        }
    }
}

/// A configuration without the octets of nothing that may stand behind it.
fn without_padding(config: &[u8]) -> &[u8] {
    let last = config.iter().rposition(|octet| *octet != 0);
    &config[..last.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn codec(name: &str, clock_rate_hz: u32, channels: u8, fmtp: &str) -> Codec {
        Codec {
            channels,
            fmtp: (!fmtp.is_empty()).then(|| fmtp.into()),
            ..Codec::new(96, name.to_owned(), clock_rate_hz)
        }
    }

    fn track(format: Format, clock_rate_hz: u32) -> FileTrack {
        FileTrack {
            format,
            clock_rate_hz,
        }
    }

    fn aac(config: &'static [u8], channels: u8) -> FileTrack {
        let config = Bytes::from_static(config);
        track(Format::Aac { config, channels }, 44_100)
    }

    const HBR: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3";

    #[test]
    fn the_same_is_known_in_other_words() {
        let l16 = |channels| Format::L16 { channels };
        let sets = |set: &'static [u8]| vec![Bytes::from_static(set)];
        let h264 = Format::H264 {
            sps: sets(b"\x67sps"),
            pps: sets(b"\x68pps"),
        };
        for (track, described) in [
            (
                track(Format::Opus { channels: 2 }, 48_000),
                codec("opus", 48_000, 1, ""),
            ),
            (
                track(Format::Opus { channels: 1 }, 48_000),
                codec("OPUS", 48_000, 2, "sprop-stereo=1"),
            ),
            (
                aac(&[0x12, 0x10], 2),
                codec("mpeg4-generic", 44_100, 1, &format!("{HBR};config=1210")),
            ),
            (
                aac(&[0x12, 0x10], 2),
                codec("MPEG4-GENERIC", 90_000, 2, &format!("config=121000; {HBR}")),
            ),
            // In payloads of other forms.
            (
                aac(&[0x12, 0x10], 2),
                codec(
                    "MPEG4-GENERIC",
                    44_100,
                    2,
                    "mode=AAC-lbr;sizelength=6;indexlength=2;indexdeltalength=2;config=1210",
                ),
            ),
            (
                aac(&[0x12, 0x10], 2),
                codec("mpeg4-generic", 44_100, 2, "mode=generic;config=1210"),
            ),
            (
                aac(&[0x12, 0x10], 2),
                codec("MP4A-LATM", 44_100, 2, "cpresent=0;config=400024203fc0"),
            ),
            (
                aac(&[0x12, 0x10], 2),
                codec("MP4A-LATM", 90_000, 1, "config=400024203fc0"),
            ),
            // The band tells it.
            (aac(&[0x12, 0x10], 2), codec("mp4a-latm", 90_000, 1, "")),
            (aac(&[0x12, 0x10], 2), codec("MP4A-LATM", 44_100, 1, "cpresent=1")),
            // 24 kHz that becomes 48.
            (
                aac(&[0x2b, 0x11, 0x88, 0x00], 2),
                codec("MP4A-LATM", 48_000, 1, ""),
            ),
            (
                track(Format::MpegAudio { channels: 2 }, 90_000),
                codec("MPA", 90_000, 2, ""),
            ),
            (track(l16(1), 16_000), codec("G722", 8_000, 1, "")),
            (track(l16(2), 44_100), codec("L16", 44_100, 2, "")),
            (
                track(Format::Pcmu { channels: 1 }, 8_000),
                codec("PCMU", 8_000, 0, ""),
            ),
            (
                track(h264, 90_000),
                codec("H264", 90_000, 1, "packetization-mode=1"),
            ),
        ] {
            assert!(track.is_what(&described), "{described:?}");
        }
    }

    #[test]
    fn what_is_something_else_is_not_taken_for_it() {
        let l16 = |channels| Format::L16 { channels };
        let sets = |set: &'static [u8]| vec![Bytes::from_static(set)];
        let h265 = Format::H265 {
            vps: sets(b"\x40\x01vps"),
            sps: sets(b"\x42\x01sps"),
            pps: sets(b"\x44\x01pps"),
        };
        for (track, described) in [
            (
                aac(&[0x12, 0x10], 2),
                codec("MPEG4-GENERIC", 44_100, 2, &format!("{HBR};config=1208")),
            ),
            // CELP, whatever its configuration says.
            (
                aac(&[0x12, 0x10], 2),
                codec(
                    "MPEG4-GENERIC",
                    44_100,
                    2,
                    "mode=CELP-vbr;sizelength=6;indexlength=2;indexdeltalength=2;config=1210",
                ),
            ),
            (aac(&[0x12, 0x10], 2), codec("MPEG4-GENERIC", 44_100, 2, HBR)),
            // Other configurations: 48 kHz, and one channel.
            (
                aac(&[0x12, 0x10], 2),
                codec("MP4A-LATM", 44_100, 2, "cpresent=0;config=400023203fc0"),
            ),
            (
                aac(&[0x12, 0x08], 1),
                codec("MP4A-LATM", 44_100, 2, "config=400024203fc0"),
            ),
            // None, where it does not stand in the band, and a clock that is not that of its samples.
            (aac(&[0x12, 0x10], 2), codec("MP4A-LATM", 44_100, 2, "cpresent=0")),
            (aac(&[0x12, 0x10], 2), codec("MP4A-LATM", 48_000, 2, "")),
            // Frames of one length, and other data behind them.
            (
                aac(&[0x12, 0x10], 2),
                codec("MP4A-LATM", 44_100, 2, "cpresent=0;config=400024207fc0"),
            ),
            (
                aac(&[0x12, 0x10], 2),
                codec("MP4A-LATM", 44_100, 2, "cpresent=0;config=400024203fe0"),
            ),
            (track(l16(1), 8_000), codec("G722", 8_000, 1, "")),
            (track(l16(1), 16_000), codec("L16", 8_000, 1, "")),
            (track(l16(1), 44_100), codec("L16", 44_100, 2, "")),
            (
                track(Format::Pcmu { channels: 1 }, 8_000),
                codec("PCMA", 8_000, 1, ""),
            ),
            (
                track(Format::Pcmu { channels: 1 }, 8_000),
                codec("PCMU", 16_000, 1, ""),
            ),
            (
                track(Format::Opus { channels: 2 }, 48_000),
                codec("L16", 48_000, 2, ""),
            ),
            // Decoding order numbers stand in its payloads.
            (
                track(h265, 90_000),
                codec("H265", 90_000, 1, "sprop-max-don-diff=1"),
            ),
            (track(l16(1), 8_000), codec("something", 8_000, 1, "")),
        ] {
            assert!(!track.is_what(&described), "{described:?}");
        }
    }
}
