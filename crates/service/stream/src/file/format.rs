use super::sets;
use crate::mpeg4_visual;
use crate::parameter_sets::{ParameterSetError, h264_sequence, h264_set, h265_sequence, h265_set};
use bytes::Bytes;
use mp4_atom::{
    Atom, Audio, Avc1, Avcc, AvccExt, Codec, Colr, Decode, Dops, Esds, FourCC, Hvc1, HvcCArray, Hvcc, Jpeg,
    Mp4a, Opus, Twos, Visual, Vp08, Vp09, VpcC,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};
use thiserror::Error;

/// What the samples of a track are, with what a decoder needs before the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// NAL units of H.264, each behind its length in four octets.
    H264 {
        /// The sequence parameter sets, each with its header; at least one, and that of the first picture first.
        sps: Vec<Bytes>,
        /// The picture parameter sets; at least one.
        pps: Vec<Bytes>,
    },
    /// NAL units of H.265, each behind its length in four octets.
    H265 {
        /// The video parameter sets, each with its header; at least one.
        vps: Vec<Bytes>,
        /// The sequence parameter sets; at least one, and that of the first picture first.
        sps: Vec<Bytes>,
        /// The picture parameter sets; at least one.
        pps: Vec<Bytes>,
    },
    /// Access units of AAC, without headers of their own.
    Aac {
        /// The AudioSpecificConfig (ISO/IEC 14496-3).
        config: Bytes,
        /// Channels.
        channels: u8,
    },
    /// Packets of Opus; the clock is 48,000 Hz.
    Opus {
        /// 1 or 2.
        channels: u8,
    },
    /// G.711 µ-law.
    Pcmu {
        /// Channels.
        channels: u8,
    },
    /// G.711 A-law.
    Pcma {
        /// Channels.
        channels: u8,
    },
    /// Samples of 16 bits, the high octet first.
    L16 {
        /// Channels.
        channels: u8,
    },
    /// Frames of MPEG-1 or MPEG-2 audio, layer I to III.
    MpegAudio {
        /// Channels.
        channels: u8,
    },
    /// Frames of VP8.
    Vp8 {
        /// In pixels.
        width: u16,
        /// In pixels.
        height: u16,
    },
    /// Superframes of VP9, profile 0.
    Vp9 {
        /// In pixels.
        width: u16,
        /// In pixels.
        height: u16,
    },
    /// Pictures of MPEG-4 part 2 video, with start codes.
    Mpeg4Visual {
        /// The headers of the sequence, of the object and of its layer (ISO/IEC 14496-2 §6.2.1).
        config: Bytes,
    },
    /// Whole JPEG files.
    Jpeg {
        /// In pixels.
        width: u16,
        /// In pixels.
        height: u16,
    },
}

/// Why a format cannot be written into a file, or read out of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Its parameter sets do not say what it is.
    #[error(transparent)]
    ParameterSet(#[from] ParameterSetError),
    /// The file's sample entry is none of those that can be sent by RTP.
    #[error(
        "expected samples of H.264, H.265, AAC, Opus, G.711, PCM, MPEG audio, MPEG-4 video, VP8, VP9 or JPEG, found {found}"
    )]
    Unknown {
        /// The sample entry's four characters.
        found: String,
    },
    /// A sample entry without what a decoder needs.
    #[error("the sample entry has no {missing}")]
    Incomplete {
        /// What it should have.
        missing: &'static str,
    },
}

const ULAW: FourCC = FourCC::new(b"ulaw");
const ALAW: FourCC = FourCC::new(b"alaw");
const TWOS: FourCC = FourCC::new(b"twos");
const MP4V: FourCC = FourCC::new(b"mp4v");
const ESDS: FourCC = FourCC::new(b"esds");
/// How a sample entry of plain samples begins: its length, its name, six octets of nothing and the number of its data reference.
const PLAIN_ENTRY: &[u8] = b"\0\0\0\x24twos\0\0\0\0\0\0\0\x01";
/// `objectTypeIndication`s of ISO/IEC 14496-1 table 5: MPEG-4 video, AAC, MPEG-2 and MPEG-1 audio, JPEG.
const OBJECT_MPEG4_VISUAL: u8 = 0x20;
const OBJECT_AAC: u8 = 0x40;
const OBJECT_MPEG2_AUDIO: u8 = 0x69;
const OBJECT_MPEG1_AUDIO: u8 = 0x6b;
const OBJECT_JPEG: u8 = 0x6c;
const STREAM_VISUAL: u8 = 4;
const STREAM_AUDIO: u8 = 5;
/// Samples that a decoder of Opus throws away at the start (RFC 7845 §4.2): 80 ms would be usual, none is what RTP has.
const OPUS_PRE_SKIP: u16 = 0;

impl Format {
    /// Whether its samples are pictures.
    pub fn is_video(&self) -> bool {
        use Format::{H264, H265, Jpeg, Mpeg4Visual, Vp8, Vp9};
        matches!(
            self,
            H264 { .. } | H265 { .. } | Vp8 { .. } | Vp9 { .. } | Mpeg4Visual { .. } | Jpeg { .. }
        )
    }

    /// Whether its samples are NAL units, each to be written behind its length.
    pub fn has_nal_units(&self) -> bool {
        matches!(self, Format::H264 { .. } | Format::H265 { .. })
    }

    /// Width and height of pictures.
    pub fn size(&self) -> Result<Option<(u16, u16)>, ParameterSetError> {
        Ok(match self {
            Format::H264 { sps, .. } => {
                let read = h264_sequence(first(sps))?;
                Some((read.width, read.height))
            }
            Format::H265 { sps, .. } => {
                let read = h265_sequence(first(sps))?;
                Some((read.width, read.height))
            }
            Format::Mpeg4Visual { config } => Some(mpeg4_visual::size(config)?),
            Format::Vp8 { width, height }
            | Format::Vp9 { width, height }
            | Format::Jpeg { width, height } => Some((*width, *height)),
            _ => None,
        })
    }

    /// The sample entry that says so in a file; `clock_rate_hz` is the samples' own. G.711 has that of plain samples, MPEG-4
    /// video one of JPEG, and they are called by their names when the file's header is whole ([`Format::name_entries`]).
    pub(super) fn sample_entry(&self, clock_rate_hz: u32) -> Result<Codec, FormatError> {
        let visual = match self.size()? {
            Some((width, height)) => Visual {
                data_reference_index: 1,
                width,
                height,
                ..Visual::default()
            },
            None => Visual::default(),
        };
        let audio = |channels: u8| Audio {
            data_reference_index: 1,
            channel_count: channels.into(),
            sample_size: 16,
            // The field has 16 bits; what does not fit is told by the track's time scale.
            sample_rate: u16::try_from(clock_rate_hz).unwrap_or(0).into(),
        };
        Ok(match self {
            Format::H264 { sps, pps } => Codec::from(Avc1 {
                visual,
                avcc: avc_configuration(sps, pps)?,
                ..Avc1::default()
            }),
            Format::H265 { vps, sps, pps } => Codec::from(Hvc1 {
                visual,
                hvcc: hevc_configuration(vps, sps, pps)?,
                ..Hvc1::default()
            }),
            Format::Aac { config, channels } => mp4a(audio(*channels), OBJECT_AAC, Some(config)),
            Format::MpegAudio { channels } => mp4a(audio(*channels), OBJECT_MPEG1_AUDIO, None),
            Format::Opus { channels } => Codec::from(Opus {
                audio: audio(*channels),
                dops: Dops {
                    output_channel_count: *channels,
                    pre_skip: OPUS_PRE_SKIP,
                    input_sample_rate: clock_rate_hz,
                    output_gain: 0,
                    channel_mapping: None,
                },
                btrt: None,
            }),
            Format::Pcmu { channels } | Format::Pcma { channels } | Format::L16 { channels } => {
                Codec::from(Twos {
                    audio: audio(*channels),
                    pcmc: None,
                    chnl: None,
                    btrt: None,
                })
            }
            Format::Vp8 { .. } => Codec::from(Vp08 {
                visual,
                vpcc: vp_configuration(),
                ..Vp08::default()
            }),
            Format::Vp9 { .. } => Codec::from(Vp09 {
                visual,
                vpcc: vp_configuration(),
                ..Vp09::default()
            }),
            Format::Mpeg4Visual { config } => Codec::from(Jpeg {
                visual,
                colr: Some(Colr::Prof {
                    profile: descriptor(OBJECT_MPEG4_VISUAL, STREAM_VISUAL, Some(config)),
                }),
                ..Jpeg::default()
            }),
            Format::Jpeg { .. } => Codec::from(Jpeg {
                visual,
                ..Jpeg::default()
            }),
        })
    }
}

impl Format {
    /// Gives sample entries in a file's header their names, which mp4-atom reads and does not write. Those of G.711 have the
    /// fields of plain samples, `twos`, and only another name. That of MPEG-4 video has those of `jpeg`, and behind them a box
    /// that is as long as its own, `esds`: one of colours, whose kind has four octets where version and flags belong.
    pub(super) fn name_entries<'a>(formats: impl Iterator<Item = &'a Format>, header: &mut [u8]) {
        let mut from = 0;
        for format in formats {
            let name = match format {
                Format::Pcmu { .. } => ULAW,
                Format::Pcma { .. } => ALAW,
                Format::L16 { .. } => TWOS,
                Format::Mpeg4Visual { .. } => {
                    from = name_mpeg4(header, from);
                    continue;
                }
                _ => continue,
            };
            let found = header[from..]
                .windows(PLAIN_ENTRY.len())
                .position(|octets| octets == PLAIN_ENTRY);
            if let Some(found) = found {
                from += found + PLAIN_ENTRY.len();
                header[from - 8 - 4..from - 8].copy_from_slice(name.as_ref());
            }
        }
    }

    /// What a file's sample entry says.
    pub(super) fn of_sample_entry(entry: &Codec) -> Result<Format, FormatError> {
        let size = |visual: &Visual| (visual.width, visual.height);
        let channels = |audio: &Audio| u8::try_from(audio.channel_count).unwrap_or(u8::MAX).max(1);
        Ok(match entry {
            Codec::Avc1(entry) => avc_sets(&entry.avcc)?,
            Codec::Avc3(entry) => avc_sets(&entry.avcc)?,
            Codec::Hvc1(entry) => hevc_sets(&entry.hvcc)?,
            Codec::Hev1(entry) => hevc_sets(&entry.hvcc)?,
            Codec::Mp4a(entry) => of_mp4a(entry)?,
            Codec::Mp3(entry) => Format::MpegAudio {
                channels: channels(&entry.audio),
            },
            Codec::Opus(entry) => Format::Opus {
                channels: entry.dops.output_channel_count,
            },
            Codec::Twos(entry) => Format::L16 {
                channels: channels(&entry.audio),
            },
            Codec::Vp08(entry) => {
                let (width, height) = size(&entry.visual);
                Format::Vp8 { width, height }
            }
            Codec::Vp09(entry) => {
                let (width, height) = size(&entry.visual);
                Format::Vp9 { width, height }
            }
            Codec::Jpeg(entry) => {
                let (width, height) = size(&entry.visual);
                Format::Jpeg { width, height }
            }
            Codec::Unknown(kind, body) if *kind == MP4V => of_mp4v(body)?,
            Codec::Unknown(kind, body) if *kind == ULAW => Format::Pcmu {
                channels: channels_of(body)?,
            },
            Codec::Unknown(kind, body) if *kind == ALAW => Format::Pcma {
                channels: channels_of(body)?,
            },
            Codec::Unknown(kind, _) => {
                let found = kind.to_string();
                return Err(FormatError::Unknown { found });
            }
            other => {
                let debug = format!("{other:?}");
                let found = debug.split('(').next().unwrap_or_default().into();
                return Err(FormatError::Unknown { found });
            }
        })
    }
}

/// The set by which a file is described.
fn first(sets: &[Bytes]) -> &[u8] {
    sets.first().map_or(&[], |set| &set[..])
}

fn avc_configuration(sps: &[Bytes], pps: &[Bytes]) -> Result<Avcc, FormatError> {
    let read = h264_sequence(first(sps))?;
    let missing = "sequence parameter set of four octets or more";
    let mut avcc = Avcc::new(first(sps), first(pps)).map_err(|_| FormatError::Incomplete { missing })?;
    // ISO/IEC 14496-15 §5.3.3.1.2: it conforms to what all of them say, and needs the highest level.
    for set in sps.iter().filter_map(|set| set.get(2..4)) {
        avcc.profile_compatibility &= set[0];
        avcc.avc_level_indication = avcc.avc_level_indication.max(set[1]);
    }
    avcc.sequence_parameter_sets = sps.iter().map(|set| set.to_vec()).collect();
    avcc.picture_parameter_sets = pps.iter().map(|set| set.to_vec()).collect();
    // Profiles above extended say how colours are sampled.
    if ![66, 77, 88].contains(&avcc.avc_profile_indication) {
        avcc.ext = Some(AvccExt {
            chroma_format: read.chroma_format,
            bit_depth_luma: read.luma_bits,
            bit_depth_chroma: read.chroma_bits,
            sequence_parameter_sets_ext: Vec::new(),
        });
    }
    Ok(avcc)
}

/// What stands before each NAL unit must be four octets: shorter lengths are all but unknown.
const SHORT_LENGTHS: FormatError = FormatError::Incomplete {
    missing: "lengths of four octets before its NAL units",
};

fn avc_sets(avcc: &Avcc) -> Result<Format, FormatError> {
    if avcc.length_size != 4 {
        return Err(SHORT_LENGTHS);
    }
    let all = |sets: &[Vec<u8>], missing| {
        let sets = sets::joined(&[], sets.iter().map(Vec::as_slice), h264_set);
        (!sets.is_empty())
            .then_some(sets)
            .ok_or(FormatError::Incomplete { missing })
    };
    Ok(Format::H264 {
        sps: all(&avcc.sequence_parameter_sets, "sequence parameter set")?,
        pps: all(&avcc.picture_parameter_sets, "picture parameter set")?,
    })
}

/// `nal_unit_type`s of H.265's parameter sets (ITU-T H.265 table 7-1).
const HEVC_VPS: u8 = 32;
const HEVC_SPS: u8 = 33;
const HEVC_PPS: u8 = 34;

fn hevc_configuration(vps: &[Bytes], sps: &[Bytes], pps: &[Bytes]) -> Result<Hvcc, FormatError> {
    let read = h265_sequence(first(sps))?;
    let array = |nal_unit_type, sets: &[Bytes]| HvcCArray {
        completeness: false,
        nal_unit_type,
        nalus: sets.iter().map(|set| set.to_vec()).collect(),
    };
    Ok(Hvcc {
        general_profile_space: read.profile >> 6,
        general_tier_flag: read.profile & 0x20 != 0,
        general_profile_idc: read.profile & 0x1f,
        general_profile_compatibility_flags: read.compatibility,
        general_constraint_indicator_flags: read.constraints,
        general_level_idc: read.level,
        chroma_format_idc: read.chroma_format,
        bit_depth_luma_minus8: read.luma_bits - 8,
        bit_depth_chroma_minus8: read.chroma_bits - 8,
        num_temporal_layers: read.layers,
        temporal_id_nested: read.nested,
        length_size_minus_one: 3,
        arrays: vec![array(HEVC_VPS, vps), array(HEVC_SPS, sps), array(HEVC_PPS, pps)],
        ..Hvcc::new()
    })
}

fn hevc_sets(hvcc: &Hvcc) -> Result<Format, FormatError> {
    if hvcc.length_size_minus_one != 3 {
        return Err(SHORT_LENGTHS);
    }
    let all = |nal_unit_type, missing| {
        let arrays = hvcc.arrays.iter();
        let of_type = arrays.filter(|array| array.nal_unit_type == nal_unit_type);
        let nals = of_type.flat_map(|array| &array.nalus).map(Vec::as_slice);
        let sets = sets::joined(&[], nals, h265_set);
        (!sets.is_empty())
            .then_some(sets)
            .ok_or(FormatError::Incomplete { missing })
    };
    Ok(Format::H265 {
        vps: all(HEVC_VPS, "video parameter set")?,
        sps: all(HEVC_SPS, "sequence parameter set")?,
        pps: all(HEVC_PPS, "picture parameter set")?,
    })
}

/// Octets of a sample entry of pictures before its boxes, with its own header.
const VISUAL_ENTRY_BYTES: usize = 8 + 78;
/// How the box of colours begins that stands where `esds` belongs, behind its length.
const STAND_IN: &[u8] = b"colrprof";

/// Names the first sample entry of MPEG-4 video from there on; where it ends.
fn name_mpeg4(header: &mut [u8], from: usize) -> usize {
    let windows = header[from..].windows(STAND_IN.len());
    let found = windows.enumerate().find(|(_, octets)| *octets == STAND_IN);
    let Some((found, _)) = found else { return from };
    let at = from + found;
    header[at..at + 4].copy_from_slice(ESDS.as_ref());
    header[at + 4..at + 8].fill(0);
    // Behind its own length the entry has its name.
    let entry = at - 4 - VISUAL_ENTRY_BYTES;
    header[entry + 4..entry + 8].copy_from_slice(MP4V.as_ref());
    at + STAND_IN.len()
}

fn of_mp4v(body: &[u8]) -> Result<Format, FormatError> {
    let incomplete = |missing| FormatError::Incomplete { missing };
    let mut rest = body;
    let visual = Visual::decode(&mut rest).map_err(|_| incomplete("fields of pictures"))?;
    let esds = loop {
        let (head, behind) = rest
            .split_first_chunk::<8>()
            .ok_or(incomplete("elementary stream descriptor"))?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (body, next) = length
            .checked_sub(8)
            .and_then(|length| behind.split_at_checked(length))
            .ok_or(incomplete("boxes that fit it"))?;
        if head[4..] == *ESDS.as_ref() {
            break Esds::decode_body(&mut &body[..]);
        }
        rest = next;
    };
    let config = esds.map_err(|_| incomplete("elementary stream descriptor"))?;
    let config = config.es_desc.dec_config;
    match (config.object_type_indication, config.dec_specific) {
        (OBJECT_MPEG4_VISUAL, Some(specific)) => Ok(Format::Mpeg4Visual {
            config: specific.raw.into(),
        }),
        (OBJECT_MPEG4_VISUAL, None) => Err(incomplete("configuration of its video")),
        (OBJECT_JPEG, _) => Ok(Format::Jpeg {
            width: visual.width,
            height: visual.height,
        }),
        (other, _) => Err(FormatError::Unknown {
            found: format!("mp4v of object type {other:#04x}"),
        }),
    }
}

/// The octets of an elementary stream descriptor.
fn descriptor(object_type_indication: u8, stream_type: u8, config: Option<&Bytes>) -> Vec<u8> {
    let mut octets = Vec::new();
    let esds = elementary_stream(object_type_indication, stream_type, config);
    esds.encode_body(&mut octets)
        .expect("a descriptor of our own making can be written");
    // Behind version and flags.
    octets.split_off(4)
}

fn mp4a(audio: Audio, object_type_indication: u8, config: Option<&Bytes>) -> Codec {
    Codec::from(Mp4a {
        audio,
        esds: elementary_stream(object_type_indication, STREAM_AUDIO, config),
        btrt: None,
        taic: None,
    })
}

fn elementary_stream(object_type_indication: u8, stream_type: u8, config: Option<&Bytes>) -> Esds {
    let dec_specific = config.map(|config| DecoderSpecific {
        raw: config.to_vec(),
        ..DecoderSpecific::default()
    });
    let dec_config = DecoderConfig {
        object_type_indication,
        stream_type,
        dec_specific,
        ..DecoderConfig::default()
    };
    let es_desc = EsDescriptor {
        dec_config,
        sl_config: SLConfig {},
        ..EsDescriptor::default()
    };
    Esds { es_desc }
}

fn of_mp4a(entry: &Mp4a) -> Result<Format, FormatError> {
    let config = &entry.esds.es_desc.dec_config;
    let told = u8::try_from(entry.audio.channel_count).unwrap_or(u8::MAX).max(1);
    // ISO/IEC 14496-3 table 1.19: the sample entry's own field is often just 2.
    let channels = match config.dec_specific.as_ref().map(|specific| specific.chan_conf) {
        Some(configuration @ 1..=6) => configuration,
        Some(7) => 8,
        _ => told,
    };
    match (config.object_type_indication, &config.dec_specific) {
        (OBJECT_AAC, Some(specific)) => Ok(Format::Aac {
            config: Bytes::copy_from_slice(&specific.raw),
            channels,
        }),
        (OBJECT_AAC, None) => Err(FormatError::Incomplete {
            missing: "AudioSpecificConfig",
        }),
        (OBJECT_MPEG1_AUDIO | OBJECT_MPEG2_AUDIO, _) => Ok(Format::MpegAudio { channels }),
        (other, _) => Err(FormatError::Unknown {
            found: format!("mp4a of object type {other:#04x}"),
        }),
    }
}

/// Profile 0, 8 bits, 4:2:0 with colours that nothing is said of.
fn vp_configuration() -> VpcC {
    VpcC {
        level: 10,
        bit_depth: 8,
        chroma_subsampling: 1,
        color_primaries: 2,
        transfer_characteristics: 2,
        matrix_coefficients: 2,
        ..VpcC::default()
    }
}

fn channels_of(body: &[u8]) -> Result<u8, FormatError> {
    let missing = "fields of sound";
    let audio = Audio::decode(&mut &body[..]).map_err(|_| FormatError::Incomplete { missing })?;
    Ok(u8::try_from(audio.channel_count).unwrap_or(u8::MAX).max(1))
}
