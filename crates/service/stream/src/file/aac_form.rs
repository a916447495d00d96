//! How AAC goes into packets where a description says so.

use super::audio_config::AudioConfig;
use super::encoding::{Encoding, parameter, unhex};
use super::latm;
use ringpost_rtp::payload::write::{self, Payload};
use ringpost_rtp::payload::{self, AacHeaders};
use ringpost_sdp::Codec;

/// A payload format of AAC, as a description tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AacForm {
    /// Behind AU headers.
    Generic(AacHeaders),
    /// In LATM, with its configuration before each frame or nowhere.
    Latm { in_band: bool },
}

impl AacForm {
    /// What a publisher describes; `None` where that is no AAC, or has its frames in a form that is not made here.
    pub(crate) fn of(described: &Codec) -> Option<Self> {
        let fmtp = described.fmtp.as_deref().unwrap_or_default();
        match Encoding::of(described)?.payload {
            //= https://www.rfc-editor.org/rfc/rfc3640#section-4.1
            payload::Format::Aac(headers) => {
                let mode = parameter(fmtp, "mode").unwrap_or_default().to_ascii_lowercase();
                (!mode.starts_with("celp")).then_some(AacForm::Generic(headers))
            }
            payload::Format::Latm { in_band: true } => Some(AacForm::Latm { in_band: true }),
            //= https://www.rfc-editor.org/rfc/rfc6416#section-6.1
            payload::Format::Latm { in_band: false } => {
                let mux = unhex(parameter(fmtp, "config")?)?;
                latm::has_frames_alone(&mux).then_some(AacForm::Latm { in_band: false })
            }
            _ => None,
        }
    }

    /// Whether frames of a configuration can be understood by who has not been told it.
    //= https://www.rfc-editor.org/rfc/rfc6416#section-7.3
    pub(super) fn tells(self, config: &[u8], clock_rate_hz: u32) -> bool {
        let Some(read) = AudioConfig::read(config).filter(|_| self == AacForm::Latm { in_band: true }) else {
            return false;
        };
        // Any other clock than the usual one is that of the samples.
        clock_rate_hz == LATM_CLOCK_HZ
            || [Some(read.rate_hz), read.extended_rate_hz].contains(&Some(clock_rate_hz))
    }

    /// The payloads of a frame, each of at most `max_bytes`; none where this form cannot hold it.
    pub(crate) fn payloads(self, config: &[u8], frame: &[u8], max_bytes: usize) -> Vec<Payload> {
        match self {
            AacForm::Generic(headers) => write::aac_as(frame, &headers, max_bytes),
            AacForm::Latm { .. } if frame.is_empty() => Vec::new(),
            AacForm::Latm { in_band } => {
                let element = latm::element(in_band.then_some(config), frame);
                write::latm(&element, max_bytes)
            }
        }
    }
}

/// The clock of LATM where a description says no other.
const LATM_CLOCK_HZ: u32 = 90_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Format, latm};
    use bytes::Bytes;
    use ringpost_rtp::payload::Depacketizer;

    fn codec(name: &'static str, clock_rate_hz: u32, fmtp: &str) -> Codec {
        Codec {
            channels: 2,
            fmtp: (!fmtp.is_empty()).then(|| fmtp.into()),
            ..Codec::new(96, name, clock_rate_hz)
        }
    }

    /// The frames that a recorder of what is described finds in the packets, each with its time, and the configuration that it
    /// finds last.
    fn received(described: &Codec, packets: &[(u32, Payload)]) -> (Vec<(u32, Vec<u8>)>, Option<Bytes>) {
        let encoding = Encoding::of(described).expect("AAC");
        let mut depacketizer = Depacketizer::new(encoding.payload);
        let mut elements = latm(described);
        let is_in_band = encoding.payload == payload::Format::Latm { in_band: true };
        let mut frames = Vec::new();
        for ((timestamp, payload), sequence) in packets.iter().zip(0..) {
            depacketizer.handle(sequence, *timestamp, payload.marker, &payload.bytes);
            while let Some(unit) = depacketizer.poll() {
                assert!(!unit.follows_loss);
                for piece in unit.pieces {
                    let parts = match is_in_band {
                        true => elements.frames(&piece),
                        false => vec![piece],
                    };
                    frames.extend(parts.into_iter().map(|part| (unit.timestamp, part)));
                }
            }
        }
        assert_eq!(depacketizer.lost(), 0);
        let format = match is_in_band {
            true => elements.format(),
            false => encoding.format,
        };
        let config = format.map(|format| match format {
            Format::Aac { config, .. } => config,
            other => panic!("{other:?}"),
        });
        (frames, config)
    }

    const LC: &[u8] = &[0x12, 0x10];

    #[test]
    fn frames_are_read_again_as_they_were_in_every_form() {
        // As long as lengths of LATM have a turn, and as fragments have.
        let frames: Vec<Vec<u8>> = [1, 6, 62, 63, 254, 255, 256, 510, 511, 1_377, 3_000, 8_191]
            .into_iter()
            .map(|length| (0..length).map(|n| (n * 7 + length) as u8).collect())
            .collect();
        for (described, most) in [
            (
                codec("MP4A-LATM", 44_100, "cpresent=0;config=400024203fc0"),
                9_000,
            ),
            (
                codec("MP4A-LATM", 44_100, "cpresent=1;config=400024203fc0"),
                9_000,
            ),
            (codec("MP4A-LATM", 90_000, ""), 9_000),
            (
                codec(
                    "MPEG4-GENERIC",
                    44_100,
                    "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210",
                ),
                8_191,
            ),
            (
                codec(
                    "mpeg4-generic",
                    44_100,
                    "mode=AAC-lbr; config=1210; sizeLength=6; indexLength=2; indexDeltaLength=2",
                ),
                63,
            ),
            (codec("mpeg4-generic", 44_100, "mode=generic;config=1210"), 9_000),
            (
                codec(
                    "mpeg4-generic",
                    44_100,
                    "mode=generic;config=1210;sizelength=10;ctsdeltalength=16;randomaccessindication=1",
                ),
                1_023,
            ),
            (
                codec(
                    "mpeg4-generic",
                    44_100,
                    "mode=generic;config=1210;constantsize=255",
                ),
                255,
            ),
        ] {
            let form = AacForm::of(&described).expect("a form");
            let mut packets = Vec::new();
            for (frame, n) in frames.iter().zip(0..) {
                let made = form.payloads(LC, frame, 1_388);
                assert!(made.iter().all(|payload| payload.bytes.len() <= 1_388));
                assert!(made.last().is_none_or(|last| last.marker));
                packets.extend(made.into_iter().map(|payload| (1_024 * n, payload)));
            }
            let expected = (0..).map(|n| 1_024 * n).zip(frames.iter().cloned());
            let is_constant = most == 255;
            let can_be_held = |(_, frame): &(u32, Vec<u8>)| match is_constant {
                true => frame.len() == most,
                false => frame.len() <= most,
            };
            let expected: Vec<_> = expected.filter(can_be_held).collect();
            let (frames, config) = received(&described, &packets);
            assert_eq!(frames.len(), expected.len(), "{described:?}");
            assert!(frames == expected, "{described:?}");
            assert_eq!(config.as_deref(), Some(LC), "{described:?}");
            assert_eq!(form.payloads(LC, b"", 1_388), []);
        }
    }

    #[test]
    fn configurations_of_any_make_go_through_the_band() {
        let described = codec("MP4A-LATM", 90_000, "");
        let form = AacForm::of(&described).expect("a form");
        for config in [
            LC,
            // 24 kHz that becomes 48, and the same said behind the rest.
            &[0x2b, 0x11, 0x88, 0x00],
            &[0x13, 0x10, 0x56, 0xe5, 0x98],
            // Low delay, and channels that a program's configuration tells, of which the ends are not known.
            &[0xba, 0x10, 0x00],
            &[0x12, 0x00, 0x05, 0x04, 0x49, 0x00, 0x00],
            // A rate that is none of the list.
            &[0x17, 0x80, 0x56, 0x22, 0x08],
        ] {
            let packets: Vec<_> = [&b"one"[..], &[7; 300], b"three"]
                .iter()
                .flat_map(|frame| form.payloads(config, frame, 1_388))
                .zip(0..)
                .map(|(payload, n)| (n, payload))
                .collect();
            let (frames, found) = received(&described, &packets);
            let frames: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
            assert_eq!(frames, [&b"one"[..], &[7; 300], b"three"]);
            assert_eq!(found.as_deref(), Some(config));
        }
    }

    #[test]
    fn what_is_no_aac_or_has_it_otherwise_has_no_form() {
        for (name, fmtp) in [
            ("opus", ""),
            ("G722", ""),
            (
                "MPEG4-GENERIC",
                "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3",
            ),
            (
                "MPEG4-GENERIC",
                "mode=CELP-cbr;constantsize=27;constantduration=240;config=440E00",
            ),
            (
                "MPEG4-GENERIC",
                "mode=celp-vbr;sizelength=6;indexlength=2;indexdeltalength=2;config=440F20",
            ),
            ("MP4A-LATM", "cpresent=0"),
            ("MP4A-LATM", "cpresent=0;config=400024207fc0"),
            ("MP4A-LATM", "cpresent=0;config=400024203fe0"),
        ] {
            assert_eq!(AacForm::of(&codec(name, 44_100, fmtp)), None, "{name} {fmtp}");
        }
    }
}
