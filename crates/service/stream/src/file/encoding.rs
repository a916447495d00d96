//! What session descriptions call formats of files, and how the one is made of the other.

use super::audio_config::{AudioConfig, latm_config};
use super::{FileTrack, Format, Latm, sets};
use crate::mpeg4_visual;
use crate::parameter_sets::{h264_set, h265_set};
use crate::playback::jpeg;
use bytes::Bytes;
use ringpost_auth::base64;
use ringpost_base::limits;
use ringpost_rtp::payload::{self, AacHeaders};
use ringpost_sdp::Codec;

/// How the packets of a codec become samples of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// How payloads are read.
    pub(crate) payload: payload::Format,
    /// Where the rest of the format is found.
    pub(crate) kind: Kind,
    /// The format, as far as the description tells it.
    pub(crate) format: Option<Format>,
    /// The samples are decoded before they are kept.
    pub(crate) is_decoded: bool,
}

/// Where a format's parameters are found in the stream itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In parameter sets among the NAL units.
    H264,
    /// The same.
    H265,
    /// In the header of a key frame.
    Vp8,
    /// The same.
    Vp9,
    /// In the headers before a picture.
    Mpeg4Visual,
    /// Before frames of sound, in the elements that hold them: [`latm`] takes those apart.
    Latm,
    /// In each image.
    Jpeg,
    /// Nowhere: the description has told them.
    Told,
}

impl Encoding {
    /// How a codec is recorded; `None` where no file can hold it.
    pub(crate) fn of(codec: &Codec) -> Option<Self> {
        let fmtp = codec.fmtp.as_deref().unwrap_or_default();
        let channels = codec.channels.max(1);
        let told = |payload, format| Encoding {
            payload,
            kind: Kind::Told,
            format: Some(format),
            is_decoded: false,
        };
        let awaited = |payload, kind, format| Encoding {
            payload,
            kind,
            format,
            is_decoded: false,
        };
        let whole = payload::Format::Whole;
        Some(match codec.name.to_ascii_uppercase().as_str() {
            "H264" => awaited(payload::Format::H264, Kind::H264, h264_of(fmtp)),
            "H265" => {
                let distance =
                    parameter(fmtp, "sprop-max-don-diff").and_then(|text| text.parse::<u32>().ok());
                let has_donl = distance.is_some_and(|distance| distance > 0);
                awaited(payload::Format::H265 { has_donl }, Kind::H265, h265_of(fmtp))
            }
            "VP8" => awaited(payload::Format::Vp8, Kind::Vp8, None),
            "VP9" => awaited(payload::Format::Vp9, Kind::Vp9, None),
            "MP4V-ES" => awaited(payload::Format::Mpeg4Visual, Kind::Mpeg4Visual, mpeg4_of(fmtp)),
            "JPEG" => awaited(payload::Format::Jpeg, Kind::Jpeg, None),
            "MPEG4-GENERIC" => {
                let config = unhex(parameter(fmtp, "config")?)?;
                let read = AudioConfig::read(&config)?;
                let headers = aac_headers(fmtp, read.frame_units(codec.clock_rate_hz));
                told(payload::Format::Aac(headers), aac(config, read, channels))
            }
            "MP4A-LATM" if parameter(fmtp, "cpresent") == Some("0") => {
                let config = latm_config(&unhex(parameter(fmtp, "config")?)?)?;
                let read = AudioConfig::read(&config)?;
                told(
                    payload::Format::Latm { in_band: false },
                    aac(config, read, channels),
                )
            }
            //= https://www.rfc-editor.org/rfc/rfc6416#section-7.3
            "MP4A-LATM" => {
                let format = latm(codec).format();
                awaited(payload::Format::Latm { in_band: true }, Kind::Latm, format)
            }
            "MPA" => told(payload::Format::MpegAudio, Format::MpegAudio { channels: 2 }),
            "OPUS" => {
                let is_mono = parameter(fmtp, "sprop-stereo") == Some("0");
                told(
                    whole,
                    Format::Opus {
                        channels: if is_mono { 1 } else { 2 },
                    },
                )
            }
            "PCMU" => told(whole, Format::Pcmu { channels }),
            "PCMA" => told(whole, Format::Pcma { channels }),
            "L16" => told(whole, Format::L16 { channels }),
            // No file's format has a name for it that players know.
            "G722" if channels == 1 => Encoding {
                is_decoded: true,
                ..told(whole, Format::L16 { channels })
            },
            _ => return None,
        })
    }
}

/// What takes the elements of [`Kind::Latm`] apart.
pub(crate) fn latm(codec: &Codec) -> Latm {
    let fmtp = codec.fmtp.as_deref().unwrap_or_default();
    let mux = parameter(fmtp, "config").and_then(unhex);
    Latm::new(codec.channels.max(1), mux.as_deref())
}

impl Kind {
    /// Whether its units are pictures.
    pub(crate) fn is_video(self) -> bool {
        !matches!(self, Kind::Latm | Kind::Told)
    }

    /// Whether an access unit holds parameter sets, which may stand before any picture.
    pub(crate) fn has_sets(self, pieces: &[Vec<u8>]) -> bool {
        let is_set = |nal: &Vec<u8>| match (self, nal.first()) {
            (Kind::H264, Some(header)) => matches!(header & 0x1f, 7 | 8),
            (Kind::H265, Some(header)) => matches!(header >> 1 & 0x3f, 32..=34),
            (Kind::Mpeg4Visual, _) => payload::mpeg4_configuration(nal).is_some(),
            _ => false,
        };
        pieces.iter().any(is_set)
    }

    /// The format that an access unit shows, where it holds what tells it; `known` is what was known before.
    pub(crate) fn format_in(self, pieces: &[Vec<u8>], known: Option<&Format>) -> Option<Format> {
        match self {
            Kind::H264 => {
                let (sps, pps): (&[Bytes], &[Bytes]) = match known {
                    Some(Format::H264 { sps, pps }) => (sps, pps),
                    _ => (&[], &[]),
                };
                let joined = |known, kind| {
                    let of_kind = |nal: &&[u8]| nal.first().is_some_and(|header| header & 0x1f == kind);
                    sets::joined(known, pieces.iter().map(Vec::as_slice).filter(of_kind), h264_set)
                };
                let (sps, pps) = (joined(sps, 7), joined(pps, 8));
                let is_whole = !sps.is_empty() && !pps.is_empty();
                is_whole.then_some(Format::H264 { sps, pps })
            }
            Kind::H265 => {
                let [vps, sps, pps]: [&[Bytes]; 3] = match known {
                    Some(Format::H265 { vps, sps, pps }) => [vps, sps, pps],
                    _ => [&[]; 3],
                };
                let joined = |known, kind| {
                    let of_kind = |nal: &&[u8]| nal.first().is_some_and(|header| header >> 1 & 0x3f == kind);
                    sets::joined(known, pieces.iter().map(Vec::as_slice).filter(of_kind), h265_set)
                };
                let (vps, sps, pps) = (joined(vps, 32), joined(sps, 33), joined(pps, 34));
                let is_whole = ![&vps, &sps, &pps].iter().any(|sets| sets.is_empty());
                is_whole.then_some(Format::H265 { vps, sps, pps })
            }
            Kind::Vp8 => pieces.first().and_then(|frame| vp8_size(frame)),
            Kind::Vp9 => pieces.first().and_then(|frame| vp9_size(frame)),
            Kind::Mpeg4Visual => {
                let known = known.cloned();
                let Some(config) = pieces.first().and_then(|piece| mpeg4_config(piece)) else {
                    return known;
                };
                match &known {
                    Some(Format::Mpeg4Visual { config: old }) if mpeg4_visual::is_same(old, &config) => known,
                    _ => Some(Format::Mpeg4Visual { config }),
                }
            }
            Kind::Jpeg => {
                let (width, height) = jpeg::size(pieces.first()?)?;
                Some(Format::Jpeg { width, height })
            }
            Kind::Latm | Kind::Told => known.cloned(),
        }
    }
}

impl FileTrack {
    /// The clock of its RTP timestamps, which is the codec's, whatever the file counts by.
    pub(crate) fn rtp_clock_hz(&self) -> u32 {
        match &self.format {
            Format::H264 { .. } | Format::H265 { .. } | Format::Vp8 { .. } | Format::Vp9 { .. } => 90_000,
            Format::Jpeg { .. } | Format::MpegAudio { .. } | Format::Mpeg4Visual { .. } => 90_000,
            Format::Opus { .. } => 48_000,
            Format::Aac { config, .. } => {
                let read = AudioConfig::read(config);
                let rates = read.map(|read| [Some(read.rate_hz), read.extended_rate_hz]);
                match rates {
                    Some(rates) if !rates.contains(&Some(self.clock_rate_hz)) => {
                        rates[1].or(rates[0]).unwrap_or(self.clock_rate_hz)
                    }
                    _ => self.clock_rate_hz,
                }
            }
            Format::Pcmu { .. } | Format::Pcma { .. } | Format::L16 { .. } => self.clock_rate_hz,
        }
    }

    /// What a session description says of it; `None` where there is no way to send it.
    pub(crate) fn codec(&self, dynamic_payload_type: u8) -> Option<Codec> {
        let rate = self.rtp_clock_hz();
        let of = |name: &'static str, channels: u8, fmtp: Option<String>| Codec {
            channels,
            fmtp,
            ..Codec::new(dynamic_payload_type, name, rate)
        };
        let numbered = |codec: Codec| {
            let fixed = (0..35).filter_map(Codec::of_static);
            fixed
                .into_iter()
                .find(|fixed| fixed.same_encoding(&codec))
                .unwrap_or(codec)
        };
        Some(match &self.format {
            Format::H264 { sps, pps } => {
                let level = hex(sps.first()?.get(1..4)?);
                let sets = in_base64(sps.iter().chain(pps));
                //= https://www.rfc-editor.org/rfc/rfc6184#section-8.1
                of(
                    "H264",
                    1,
                    Some(format!(
                        "packetization-mode=1;profile-level-id={level};sprop-parameter-sets={sets}"
                    )),
                )
            }
            Format::H265 { vps, sps, pps } => {
                let [vps, sps, pps] = [vps, sps, pps].map(|sets| in_base64(sets.iter()));
                //= https://www.rfc-editor.org/rfc/rfc7798#section-7.1
                of(
                    "H265",
                    1,
                    Some(format!("sprop-vps={vps};sprop-sps={sps};sprop-pps={pps}")),
                )
            }
            Format::Aac { config, channels } => {
                let config = hex(config);
                //= https://www.rfc-editor.org/rfc/rfc3640#section-4.1
                let fmtp = format!(
                    "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={config}"
                );
                of("MPEG4-GENERIC", *channels, Some(fmtp))
            }
            //= https://www.rfc-editor.org/rfc/rfc7587#section-7
            Format::Opus { channels } => of("opus", 2, (*channels == 2).then(|| "sprop-stereo=1".into())),
            Format::Pcmu { channels } => numbered(of("PCMU", *channels, None)),
            Format::Pcma { channels } => numbered(of("PCMA", *channels, None)),
            Format::L16 { channels } => numbered(of("L16", *channels, None)),
            Format::MpegAudio { .. } => numbered(of("MPA", 1, None)),
            Format::Vp8 { .. } => of("VP8", 1, None),
            Format::Vp9 { .. } => of("VP9", 1, None),
            //= https://www.rfc-editor.org/rfc/rfc6416#section-7.1
            Format::Mpeg4Visual { config } => {
                let level = mpeg4_level(config).unwrap_or(1);
                let config = hex(config);
                of(
                    "MP4V-ES",
                    1,
                    Some(format!("profile-level-id={level};config={config}")),
                )
            }
            Format::Jpeg { .. } => numbered(of("JPEG", 1, None)),
        })
    }
}

/// The value of a parameter of `a=fmtp`.
pub(super) fn parameter<'a>(fmtp: &'a str, wanted: &str) -> Option<&'a str> {
    let mut parameters = fmtp.split(';').filter_map(|part| part.trim().split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
    Some(value.trim().trim_matches('"'))
}

/// NAL units of a parameter with commas between them.
fn nals(value: Option<&str>) -> Vec<Vec<u8>> {
    let decode = |text: &str| {
        // The padding is left out by some.
        let mut text = text.trim().trim_end_matches('=').to_string();
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        base64::decode(text.as_bytes(), limits::SDP_BYTES).ok()
    };
    value.unwrap_or_default().split(',').filter_map(decode).collect()
}

/// The same, written.
fn in_base64<'a>(sets: impl Iterator<Item = &'a Bytes>) -> String {
    sets.map(|set| base64::encode(set)).collect::<Vec<_>>().join(",")
}

fn h264_of(fmtp: &str) -> Option<Format> {
    let sets = nals(parameter(fmtp, "sprop-parameter-sets"));
    Kind::H264.format_in(&sets, None)
}

fn h265_of(fmtp: &str) -> Option<Format> {
    let names = ["sprop-vps", "sprop-sps", "sprop-pps"];
    let sets: Vec<_> = names
        .iter()
        .flat_map(|name| nals(parameter(fmtp, name)))
        .collect();
    Kind::H265.format_in(&sets, None)
}

//= https://www.rfc-editor.org/rfc/rfc6416#section-7.1
fn mpeg4_of(fmtp: &str) -> Option<Format> {
    let octets = unhex(parameter(fmtp, "config")?)?;
    let config = mpeg4_config(&octets)?;
    Some(Format::Mpeg4Visual { config })
}

/// What stands before a picture of MPEG-4 video, if it tells what a file has to.
fn mpeg4_config(octets: &[u8]) -> Option<Bytes> {
    let config = payload::mpeg4_configuration(octets).filter(|config| config.len() <= CONFIG_BYTES)?;
    mpeg4_visual::size(config).ok()?;
    Some(Bytes::copy_from_slice(config))
}

/// `profile_and_level_indication` of the sequence's header (ISO/IEC 14496-2 §6.2.2).
fn mpeg4_level(config: &[u8]) -> Option<u8> {
    let mut codes = payload::mpeg4_start_codes(config);
    let (at, _) = codes.find(|(_, code)| *code == 0xb0)?;
    config.get(at + 4).copied()
}

fn aac(config: Vec<u8>, read: AudioConfig, told: u8) -> Format {
    Format::Aac {
        config: config.into(),
        channels: read.channels.unwrap_or(told),
    }
}

/// RFC 3640 §4.1; what is not given is 0.
fn aac_headers(fmtp: &str, frame_units: u32) -> AacHeaders {
    let number = |name| {
        parameter(fmtp, name)
            .and_then(|text| text.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let bits = |name| number(name).min(32) as u8;
    AacHeaders {
        size_bits: bits("sizelength"),
        index_bits: bits("indexlength"),
        index_delta_bits: bits("indexdeltalength"),
        cts_delta_bits: bits("ctsdeltalength"),
        dts_delta_bits: bits("dtsdeltalength"),
        has_random_access: number("randomaccessindication") == 1,
        stream_state_bits: bits("streamstateindication"),
        auxiliary_size_bits: bits("auxiliarydatasizelength"),
        constant_size_bytes: number("constantsize"),
        duration_units: match number("constantduration") {
            0 => frame_units,
            told => told,
        },
    }
}

/// RFC 6386 §9.1: a key frame's start code and size.
fn vp8_size(frame: &[u8]) -> Option<Format> {
    let head = frame
        .get(..10)
        .filter(|head| head[0] & 1 == 0 && head[3..6] == [0x9d, 0x01, 0x2a])?;
    let side = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]) & 0x3fff;
    Some(Format::Vp8 {
        width: side(6),
        height: side(8),
    })
}

/// The uncompressed header of a key frame of profile 0 (VP9 bitstream specification §6.2).
fn vp9_size(frame: &[u8]) -> Option<Format> {
    let head = frame.get(..10)?;
    let bit = |at: usize| head[at / 8] >> (7 - at % 8) & 1;
    let number = |from: usize, count: usize| {
        (from..from + count).fold(0_u32, |value, at| value << 1 | u32::from(bit(at)))
    };
    let (marker, profile, shows_existing, is_inter) = (number(0, 2), number(2, 2), bit(4), bit(5));
    if marker != 2 || profile != 0 || shows_existing == 1 || is_inter == 1 || number(8, 24) != 0x49_8342 {
        return None;
    }
    // Behind the colours, which profile 0 has three bits and a range for.
    if number(32, 3) == 7 {
        return None;
    }
    let side = |from| u16::try_from(number(from, 16) + 1).ok();
    Some(Format::Vp9 {
        width: side(36)?,
        height: side(52)?,
    })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// What a configuration is at most: user data may stand in it.
const CONFIG_BYTES: usize = 1_024;

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() || text.len() > 2 * CONFIG_BYTES {
        return None;
    }
    let octet = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    (0..text.len()).step_by(2).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::tests::MPEG4_CONFIG;

    fn codec(name: &'static str, rate: u32, channels: u8, fmtp: &str) -> Codec {
        Codec {
            channels,
            fmtp: (!fmtp.is_empty()).then(|| fmtp.into()),
            ..Codec::new(96, name, rate)
        }
    }

    // What is written into a description is read out of it again.
    #[test]
    fn formats_go_through_descriptions() {
        for (told, rate) in [
            (
                codec(
                    "H264",
                    90_000,
                    1,
                    "packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==",
                ),
                90_000,
            ),
            // A second sequence with number 1, and two picture parameter sets.
            (
                codec(
                    "H264",
                    90_000,
                    1,
                    "packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,Z0LAHlZA8VoQ,aMuMsg==,aFuMsg==",
                ),
                90_000,
            ),
            (
                codec(
                    "H265",
                    90_000,
                    1,
                    "sprop-vps=QAEMAf//AWA=;sprop-sps=QgEBAWA=;sprop-pps=RAHBcrRi",
                ),
                90_000,
            ),
            (
                codec(
                    "H265",
                    90_000,
                    1,
                    "sprop-vps=QAEMAf//AWA=,QAEcAf//AWA=;sprop-sps=QgEBAWA=;sprop-pps=RAHBcrRi,RAFBcrRi",
                ),
                90_000,
            ),
            (
                codec(
                    "MPEG4-GENERIC",
                    44_100,
                    2,
                    "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210",
                ),
                44_100,
            ),
            (codec("opus", 48_000, 2, "sprop-stereo=1"), 48_000),
            (
                codec(
                    "MP4V-ES",
                    90_000,
                    1,
                    "profile-level-id=3;config=000001B003000001B58913000001000000012000C48D88002D0204061443",
                ),
                90_000,
            ),
            (codec("L16", 16_000, 1, ""), 16_000),
        ] {
            let encoding = Encoding::of(&told).expect("recordable");
            let format = encoding.format.expect("told");
            let track = FileTrack {
                format,
                clock_rate_hz: rate,
            };
            assert_eq!(track.codec(96), Some(told));
        }
        for told in [
            Codec::pcmu(),
            Codec::pcma(),
            Codec::of_static(10).expect("L16"),
            Codec::of_static(14).expect("MPA"),
        ] {
            let format = Encoding::of(&told)
                .and_then(|encoding| encoding.format)
                .expect("told");
            let track = FileTrack {
                format,
                clock_rate_hz: told.clock_rate_hz,
            };
            assert_eq!(track.codec(96), Some(told));
        }
    }

    #[test]
    fn what_no_file_holds_is_none() {
        for name in ["MP2T", "G729", "AV1"] {
            assert_eq!(Encoding::of(&codec(name, 8_000, 1, "")), None);
        }
        assert_eq!(
            Encoding::of(&codec("MPEG4-GENERIC", 44_100, 2, "mode=AAC-hbr")),
            None
        );
        assert_eq!(
            Encoding::of(&codec("MP4A-LATM", 44_100, 2, "cpresent=0;config=400026")),
            None
        );
    }

    #[test]
    fn latm_has_its_configuration_in_the_band_unless_a_description_says_otherwise() {
        let config = Bytes::from_static(&[0x13, 0x10]);
        let told = Some(Format::Aac { config, channels: 2 });
        for (fmtp, format) in [
            ("", None),
            ("object=2; cpresent=1", None),
            ("cpresent=1;config=400026203fc0", told.clone()),
            ("config=400026203fc0", told),
            ("config=40", None),
        ] {
            let encoding = Encoding::of(&codec("MP4A-LATM", 24_000, 2, fmtp)).expect("LATM");
            let in_band = payload::Format::Latm { in_band: true };
            assert_eq!((encoding.payload, encoding.kind), (in_band, Kind::Latm));
            assert_eq!(encoding.format, format, "{fmtp}");
            assert!(!encoding.kind.is_video());
        }
    }

    #[test]
    fn latm_becomes_plain_aac() {
        let encoding =
            Encoding::of(&codec("MP4A-LATM", 24_000, 2, "cpresent=0;config=400026203fc0")).expect("AAC");
        let config = Bytes::from_static(&[0x13, 0x10]);
        assert_eq!(encoding.format, Some(Format::Aac { config, channels: 2 }));
    }

    #[test]
    fn sets_in_the_stream_replace_those_of_the_description() {
        let encoding = Encoding::of(&codec("H264", 90_000, 1, "")).expect("H.264");
        assert_eq!(encoding.format, None);
        let pieces = vec![b"\x67one".to_vec(), b"\x68two".to_vec(), b"\x65key".to_vec()];
        let format = encoding.kind.format_in(&pieces, None).expect("sets");
        assert_eq!(
            encoding.kind.format_in(&[b"\x65key".to_vec()], Some(&format)),
            Some(format.clone())
        );
        let other = encoding
            .kind
            .format_in(&[b"\x67six".to_vec()], Some(&format))
            .expect("sets");
        let [sps, pps] = [b"\x67six", b"\x68two"].map(|set| vec![Bytes::from_static(set)]);
        assert_eq!(other, Format::H264 { sps, pps });
    }

    #[test]
    fn sets_that_are_used_by_turns_are_known_together_and_change_nothing_when_they_are_said_again() {
        // Numbers 0 and 1, each with a picture parameter set of its own number.
        let unit = |sps: &[u8], pps: &[u8]| vec![sps.to_vec(), pps.to_vec(), b"\x65key".to_vec()];
        let zero = unit(&[0x67, 66, 0, 30, 0x80, 1], &[0x68, 0xc0, 1]);
        let one = unit(&[0x67, 66, 0, 30, 0x40, 1], &[0x68, 0x48, 1]);
        let kind = Kind::H264;
        let first = kind.format_in(&zero, None).expect("sets");
        let both = kind.format_in(&one, Some(&first)).expect("sets");
        let Format::H264 { sps, pps } = &both else {
            panic!("{both:?}")
        };
        // Those of the picture at hand come first.
        assert_eq!((&sps[0][..], &sps[1][..]), (&one[0][..], &zero[0][..]));
        assert_eq!((&pps[0][..], &pps[1][..]), (&one[1][..], &zero[1][..]));
        for unit in [&zero, &one] {
            assert_eq!(kind.format_in(unit, Some(&both)), Some(both.clone()));
        }
    }

    #[test]
    fn what_stands_before_mpeg4_pictures_is_told_by_them_or_by_the_description() {
        const PICTURE: &[u8] = &[0, 0, 1, 0xb6, 0x10, 7];
        let before = |user_data: &[u8]| [MPEG4_CONFIG, user_data, PICTURE].concat();
        // Without a word, with one that cannot be, and with what tells no size.
        for fmtp in ["", "profile-level-id=1", "config=00", "config=000001b001"] {
            let encoding = Encoding::of(&codec("MP4V-ES", 90_000, 1, fmtp)).expect("MPEG-4 video");
            assert_eq!(encoding.format, None, "{fmtp}");
        }
        let kind = Kind::Mpeg4Visual;
        assert_eq!(kind.format_in(&[PICTURE.to_vec()], None), None);
        assert!(!kind.has_sets(&[PICTURE.to_vec()]));
        let config = Bytes::from_static(MPEG4_CONFIG);
        let format = Some(Format::Mpeg4Visual { config });
        assert!(kind.has_sets(&[before(b"")]));
        assert_eq!(kind.format_in(&[before(b"")], None), format);
        assert_eq!(kind.format_in(&[PICTURE.to_vec()], format.as_ref()), format);
        // The same for a decoder.
        let other = before(&[0, 0, 1, 0xb2, b'x']);
        assert_eq!(kind.format_in(&[other], format.as_ref()), format);
    }

    #[test]
    fn key_frames_of_vp8_and_vp9_tell_their_size() {
        let vp8 = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01, 0, 0];
        assert_eq!(
            vp8_size(&vp8),
            Some(Format::Vp8 {
                width: 640,
                height: 480
            })
        );
        assert_eq!(vp8_size(&[0x11; 12]), None);
        let vp9 = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf6, 0x00];
        assert_eq!(
            vp9_size(&vp9),
            Some(Format::Vp9 {
                width: 320,
                height: 240
            })
        );
    }
}
