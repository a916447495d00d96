//! What a file must say of a picture and a decoder needs before its first one: read out of sequence parameter sets.

use thiserror::Error;

/// Why a parameter set says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParameterSetError {
    /// It ends in the middle.
    #[error("the sequence parameter set ends in the middle of {field}")]
    Truncated {
        /// What was being read.
        field: &'static str,
    },
    /// A value that no picture has.
    #[error("expected {expected} in the sequence parameter set, found {found}")]
    Value {
        /// What would have been right.
        expected: &'static str,
        /// What was there.
        found: u64,
    },
    /// What stands before MPEG-4 video does not tell its size.
    #[error("expected the header of a video object layer of a rectangle's shape, with its size")]
    Layer,
}

/// What an H.264 sequence parameter set says (ITU-T H.264 §7.3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Sequence {
    /// Width of the picture that is shown, in pixels.
    pub width: u16,
    /// Its height.
    pub height: u16,
    /// `chroma_format_idc`.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub luma_bits: u8,
    /// Bits of a chroma sample.
    pub chroma_bits: u8,
}

/// What an H.265 sequence parameter set says (ITU-T H.265 §7.3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H265Sequence {
    /// Width of the picture that is shown, in pixels.
    pub width: u16,
    /// Its height.
    pub height: u16,
    /// `general_profile_space`, `general_tier_flag` and `general_profile_idc`, as one octet.
    pub profile: u8,
    /// `general_profile_compatibility_flags`.
    pub compatibility: [u8; 4],
    /// The 48 bits of constraint flags.
    pub constraints: [u8; 6],
    /// `general_level_idc`.
    pub level: u8,
    /// `chroma_format_idc`.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub luma_bits: u8,
    /// Bits of a chroma sample.
    pub chroma_bits: u8,
    /// Temporal layers.
    pub layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub nested: bool,
}

/// Profiles of H.264 whose sets say how colours are sampled (ITU-T H.264 §7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Reads an H.264 sequence parameter set, a NAL unit with its header.
pub fn h264_sequence(nal: &[u8]) -> Result<H264Sequence, ParameterSetError> {
    let plain = without_emulation(nal.get(1..).unwrap_or_default());
    let mut bits = Bits::new(&plain);
    let profile = bits.number(8, "profile_idc")?;
    bits.number(16, "level_idc")?;
    bits.golomb("seq_parameter_set_id")?;
    let (mut chroma_format, mut luma_bits, mut chroma_bits, mut separate) = (1, 8, 8, false);
    if HIGH_PROFILES.iter().any(|high| u64::from(*high) == profile) {
        chroma_format = bits.golomb_up_to(3, "a chroma_format_idc of 0 to 3")?;
        separate = chroma_format == 3 && bits.flag("separate_colour_plane_flag")?;
        luma_bits = 8 + bits.golomb_up_to(6, "a bit depth of 8 to 14")?;
        chroma_bits = 8 + bits.golomb_up_to(6, "a bit depth of 8 to 14")?;
        bits.flag("qpprime_y_zero_transform_bypass_flag")?;
        if bits.flag("seq_scaling_matrix_present_flag")? {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.flag("seq_scaling_list_present_flag")? {
                    bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb("log2_max_frame_num_minus4")?;
    match bits.golomb("pic_order_cnt_type")? {
        0 => _ = bits.golomb("log2_max_pic_order_cnt_lsb_minus4")?,
        1 => {
            bits.flag("delta_pic_order_always_zero_flag")?;
            bits.golomb("offset_for_non_ref_pic")?;
            bits.golomb("offset_for_top_to_bottom_field")?;
            for _ in 0..bits.golomb_up_to(255, "at most 255 frames in a picture order cycle")? {
                bits.golomb("offset_for_ref_frame")?;
            }
        }
        _ => {}
    }
    bits.golomb("max_num_ref_frames")?;
    bits.flag("gaps_in_frame_num_value_allowed_flag")?;
    let width_mbs = bits.golomb_up_to(4_095, "a width of at most 65,520 pixels")? + 1;
    let height_units = bits.golomb_up_to(4_095, "a height of at most 65,520 pixels")? + 1;
    let frames_only = bits.flag("frame_mbs_only_flag")?;
    if !frames_only {
        bits.flag("mb_adaptive_frame_field_flag")?;
    }
    bits.flag("direct_8x8_inference_flag")?;
    let fields = if frames_only { 1 } else { 2 };
    // ITU-T H.264 table 6-1: in which steps the picture is cropped.
    let (step_x, step_y) = match (chroma_format, separate) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    let crop = bits.cropping()?;
    let cut = |from: u64, by: u64| u16::try_from(from.saturating_sub(by)).unwrap_or(u16::MAX);
    Ok(H264Sequence {
        width: cut(16 * width_mbs, step_x * (crop[0] + crop[1])),
        height: cut(16 * height_units * fields, step_y * fields * (crop[2] + crop[3])),
        chroma_format: chroma_format as u8,
        luma_bits: luma_bits as u8,
        chroma_bits: chroma_bits as u8,
    })
}

/// Reads an H.265 sequence parameter set, a NAL unit with its header.
pub fn h265_sequence(nal: &[u8]) -> Result<H265Sequence, ParameterSetError> {
    let plain = without_emulation(nal.get(2..).unwrap_or_default());
    let mut bits = Bits::new(&plain);
    bits.number(4, "sps_video_parameter_set_id")?;
    let sublayers = bits.number(3, "sps_max_sub_layers_minus1")?;
    let nested = bits.flag("sps_temporal_id_nesting_flag")?;
    let profile = bits.number(8, "general_profile_idc")? as u8;
    let compatibility = (bits.number(32, "general_profile_compatibility_flags")? as u32).to_be_bytes();
    let constraints = bits.number(48, "general_constraint_flags")?.to_be_bytes();
    let level = bits.number(8, "general_level_idc")? as u8;
    bits.skip_sublayers(sublayers)?;
    bits.golomb("sps_seq_parameter_set_id")?;
    let chroma_format = bits.golomb_up_to(3, "a chroma_format_idc of 0 to 3")?;
    if chroma_format == 3 {
        bits.flag("separate_colour_plane_flag")?;
    }
    let width = bits.golomb_up_to(65_535, "a width of at most 65,535 pixels")?;
    let height = bits.golomb_up_to(65_535, "a height of at most 65,535 pixels")?;
    let (step_x, step_y) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let crop = bits.cropping()?;
    let luma_bits = 8 + bits.golomb_up_to(8, "a bit depth of 8 to 16")?;
    let chroma_bits = 8 + bits.golomb_up_to(8, "a bit depth of 8 to 16")?;
    let cut = |from: u64, by: u64| u16::try_from(from.saturating_sub(by)).unwrap_or(u16::MAX);
    Ok(H265Sequence {
        width: cut(width, step_x * (crop[0] + crop[1])),
        height: cut(height, step_y * (crop[2] + crop[3])),
        profile,
        compatibility,
        constraints: [
            constraints[2],
            constraints[3],
            constraints[4],
            constraints[5],
            constraints[6],
            constraints[7],
        ],
        level,
        chroma_format: chroma_format as u8,
        luma_bits: luma_bits as u8,
        chroma_bits: chroma_bits as u8,
        layers: sublayers as u8 + 1,
        nested,
    })
}

/// Which parameter set a NAL unit is: of the sets of its type each number is one, and another set of that number takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetName {
    kind: u8,
    number: u64,
}

impl SetName {
    /// Whether it is one of pictures, and not of sequences.
    pub fn is_of_pictures(self) -> bool {
        matches!(self.kind, 8 | 34)
    }
}

/// How much of a set is looked at for its number, which of an H.265 sequence stands behind its levels.
const NUMBER_BYTES: usize = 160;

/// Which set of H.264 a NAL unit is, with its header (ITU-T H.264 §7.3.2.1.1, §7.3.2.2). One whose number cannot be read is
/// taken for number 0.
pub fn h264_set(nal: &[u8]) -> Option<SetName> {
    let kind = nal.first()? & 0x1f;
    if !matches!(kind, 7 | 8) {
        return None;
    }
    let plain = without_emulation(&nal[1..nal.len().min(NUMBER_BYTES)]);
    let mut bits = Bits::new(&plain);
    bits.at = if kind == 7 { 24 } else { 0 };
    let number = bits.golomb("parameter_set_id").unwrap_or_default();
    Some(SetName { kind, number })
}

/// The same of H.265 (ITU-T H.265 §7.3.2.1 to §7.3.2.3).
pub fn h265_set(nal: &[u8]) -> Option<SetName> {
    let kind = nal.first()? >> 1 & 0x3f;
    let body = nal.get(2..nal.len().min(NUMBER_BYTES)).unwrap_or_default();
    let plain = without_emulation(body);
    let mut bits = Bits::new(&plain);
    let number = match kind {
        32 => bits.number(4, "vps_video_parameter_set_id"),
        33 => h265_sequence_number(&mut bits),
        34 => bits.golomb("pps_pic_parameter_set_id"),
        _ => return None,
    };
    let number = number.unwrap_or_default();
    Some(SetName { kind, number })
}

fn h265_sequence_number(bits: &mut Bits<'_>) -> Result<u64, ParameterSetError> {
    bits.number(4, "sps_video_parameter_set_id")?;
    let sublayers = bits.number(3, "sps_max_sub_layers_minus1")?;
    // Behind a flag come 88 bits of profile and 8 of level.
    bits.at += 1 + 88 + 8;
    bits.skip_sublayers(sublayers)?;
    bits.golomb("sps_seq_parameter_set_id")
}

/// The octets without those that keep a start code from appearing (ITU-T H.264 §7.4.1).
fn without_emulation(nal: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for byte in nal {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

/// A reader of bits, the highest of an octet first.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at: 0 }
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, ParameterSetError> {
        let byte = self
            .bytes
            .get(self.at / 8)
            .ok_or(ParameterSetError::Truncated { field })?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    pub(crate) fn number(&mut self, bits: u32, field: &'static str) -> Result<u64, ParameterSetError> {
        (0..bits).try_fold(0, |number, _| Ok(number << 1 | u64::from(self.flag(field)?)))
    }

    /// An unsigned number in Exp-Golomb code (ITU-T H.264 §9.1); a signed one is as long.
    fn golomb(&mut self, field: &'static str) -> Result<u64, ParameterSetError> {
        let mut zeros = 0;
        while !self.flag(field)? {
            zeros += 1;
            if zeros > 32 {
                return Err(ParameterSetError::Value {
                    expected: "at most 32 bits",
                    found: zeros,
                });
            }
        }
        let rest = self.number(zeros as u32, field)?;
        Ok((1 << zeros) - 1 + rest)
    }

    fn golomb_up_to(&mut self, most: u64, expected: &'static str) -> Result<u64, ParameterSetError> {
        let found = self.golomb(expected)?;
        if found > most {
            return Err(ParameterSetError::Value { expected, found });
        }
        Ok(found)
    }

    /// Left, right, top and bottom, in steps; nothing where the picture is not cropped.
    fn cropping(&mut self) -> Result<[u64; 4], ParameterSetError> {
        let mut crop = [0; 4];
        if self.flag("the cropping flag")? {
            for side in &mut crop {
                *side = self.golomb_up_to(65_535, "a picture cropped by at most 65,535 pixels")?;
            }
        }
        Ok(crop)
    }

    /// ITU-T H.264 §7.3.2.1.1.1.
    fn skip_scaling_list(&mut self, size: usize) -> Result<(), ParameterSetError> {
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..size {
            if next != 0 {
                let code = self.golomb("delta_scale")? as i64;
                let delta = if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) };
                next = (last + delta).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
        Ok(())
    }

    /// What profile_tier_level says of lower temporal layers (ITU-T H.265 §7.3.3).
    fn skip_sublayers(&mut self, sublayers: u64) -> Result<(), ParameterSetError> {
        if sublayers == 0 {
            return Ok(());
        }
        let mut present = Vec::new();
        for _ in 0..8 {
            present.push((self.flag("sub_layer_flags")?, self.flag("sub_layer_flags")?));
        }
        for (profile, level) in present.into_iter().take(sublayers as usize) {
            if profile {
                self.number(44, "sub_layer_profile")?;
                self.number(44, "sub_layer_profile")?;
            }
            if level {
                self.number(8, "sub_layer_level_idc")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes bits as [`Bits`] reads them.
    #[derive(Default)]
    pub(crate) struct Writer(Vec<bool>);

    impl Writer {
        pub(crate) fn number(mut self, bits: u32, value: u64) -> Self {
            self.0.extend((0..bits).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        pub(crate) fn golomb(self, value: u64) -> Self {
            let bits = 64 - (value + 1).leading_zeros();
            self.number(bits - 1, 0).number(bits, value + 1)
        }

        pub(crate) fn nal(self, header: &[u8]) -> Vec<u8> {
            let octets = self.number(1, 1).0;
            let mut nal = header.to_vec();
            let mut zeros = 0;
            for bits in octets.chunks(8) {
                let byte = (0..8).fold(0, |byte, bit| byte << 1 | u8::from(bits.get(bit) == Some(&true)));
                if zeros >= 2 && byte <= 3 {
                    nal.push(3);
                    zeros = 0;
                }
                zeros = if byte == 0 { zeros + 1 } else { 0 };
                nal.push(byte);
            }
            nal
        }
    }

    fn h264_baseline(width_mbs: u64, height_mbs: u64, crop_bottom: u64) -> Vec<u8> {
        let mut writer = Writer::default()
            .number(8, 66)
            .number(16, 0xc01e)
            .golomb(0)
            .golomb(0);
        writer = writer
            .golomb(0)
            .golomb(0)
            .golomb(1)
            .number(1, 0)
            .golomb(width_mbs - 1);
        writer = writer.golomb(height_mbs - 1).number(1, 1).number(1, 1);
        writer = match crop_bottom {
            0 => writer.number(1, 0),
            by => writer.number(1, 1).golomb(0).golomb(0).golomb(0).golomb(by),
        };
        writer.number(1, 0).nal(&[0x67])
    }

    pub(crate) fn octets(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    // As x264 and x265 wrote them for pictures of ffmpeg's testsrc, in yuv420p, interlaced yuv444p and yuv420p10le.
    #[test]
    fn parameter_sets_of_encoders_are_read() {
        for (nal, width, height, chroma_format) in [
            (
                "67640028acd940780227e5c044000003000400000300c83c60c658",
                1_920,
                1_080,
                1,
            ),
            (
                "6764000dacd941608faac044000003000400000300c83c50a658",
                350,
                270,
                1,
            ),
            (
                "67f40015919b282c25ee2b011000000300100000030321f1429960",
                350,
                270,
                3,
            ),
        ] {
            let read = h264_sequence(&octets(nal)).expect("a sequence");
            assert_eq!(
                (read.width, read.height, read.chroma_format),
                (width, height, chroma_format)
            );
        }
        for (nal, width, height, level) in [
            (
                "420101022000000300900000030000030078a003c08010e4d96566924caf016808000003000800000300c840",
                1_920,
                1_080,
                120,
            ),
            (
                "42010102200000030090000003000003003ca00b08044754d96566924caf016808000003000800000300c840",
                350,
                270,
                60,
            ),
        ] {
            let read = h265_sequence(&octets(nal)).expect("a sequence");
            assert_eq!((read.width, read.height, read.level), (width, height, level));
            assert_eq!((read.profile, read.luma_bits, read.chroma_bits), (2, 10, 10));
        }
    }

    #[test]
    fn sets_are_told_apart_by_their_types_and_numbers() {
        let named = |kind, number| Some(SetName { kind, number });
        let sequence = |number: u64| Writer::default().number(8, 66).number(16, 30).golomb(number);
        for number in [0, 1, 31] {
            assert_eq!(h264_set(&sequence(number).nal(&[0x67])), named(7, number));
            let picture = Writer::default().golomb(number).golomb(0);
            assert_eq!(h264_set(&picture.nal(&[0x68])), named(8, number));
            assert_eq!(
                h265_set(&Writer::default().golomb(number).nal(&[0x44, 1])),
                named(34, number)
            );
            for sublayers in [0, 2] {
                let mut writer = Writer::default().number(4, 2).number(3, sublayers).number(1, 1);
                writer = writer.number(32, 0x0160_0000).number(56, 0x90_0000).number(8, 30);
                if sublayers == 2 {
                    // The first has a level of its own.
                    writer = writer.number(2, 1).number(14, 0).number(8, 30);
                }
                assert_eq!(
                    h265_set(&writer.golomb(number).nal(&[0x42, 1])),
                    named(33, number)
                );
            }
        }
        assert_eq!(h265_set(&[0x40, 1, 0x5c]), named(32, 5));
        assert_eq!(
            (h264_set(&[0x65, 1]), h264_set(&[]), h265_set(&[0x26, 1])),
            (None, None, None)
        );
        // One that ends too soon.
        assert_eq!(
            (h264_set(&[0x67]), h265_set(&[0x42])),
            (named(7, 0), named(33, 0))
        );
        assert!(h264_set(&[0x68]).is_some_and(SetName::is_of_pictures));
        assert!(!h265_set(&[0x40, 1]).is_some_and(SetName::is_of_pictures));
    }

    #[test]
    fn cropping_is_taken_off() {
        let read = h264_sequence(&h264_baseline(120, 68, 4)).expect("a sequence");
        assert_eq!((read.width, read.height), (1_920, 1_080));
        let read = h264_sequence(&h264_baseline(40, 30, 0)).expect("a sequence");
        assert_eq!((read.width, read.height), (640, 480));
    }

    #[test]
    fn an_h265_set_is_read_with_its_profile_and_layers() {
        let mut writer = Writer::default().number(4, 0).number(3, 1).number(1, 1);
        writer = writer
            .number(8, 0x21)
            .number(32, 0x6000_0000)
            .number(48, 0x9000_0000_0000);
        writer = writer
            .number(8, 93)
            .number(16, 0b11 << 14)
            .number(44, 0)
            .number(44, 0)
            .number(8, 90);
        writer = writer.golomb(0).golomb(1).golomb(1_920).golomb(1_088);
        writer = writer
            .number(1, 1)
            .golomb(0)
            .golomb(0)
            .golomb(0)
            .golomb(4)
            .golomb(0)
            .golomb(2);
        let read = h265_sequence(&writer.nal(&[0x42, 0x01])).expect("a sequence");
        assert_eq!((read.width, read.height), (1_920, 1_080));
        assert_eq!(
            (read.profile, read.level, read.layers, read.nested),
            (0x21, 93, 2, true)
        );
        assert_eq!(read.constraints, [0x90, 0, 0, 0, 0, 0]);
        assert_eq!(read.compatibility, [0x60, 0, 0, 0]);
        assert_eq!((read.luma_bits, read.chroma_bits), (8, 10));
    }

    #[test]
    fn what_is_cut_off_says_where() {
        let whole = h264_baseline(40, 30, 0);
        let error = h264_sequence(&whole[..5]).expect_err("an error");
        assert_eq!(
            error.to_string(),
            "the sequence parameter set ends in the middle of a width of at most 65,520 pixels"
        );
        assert!(h264_sequence(&[]).is_err() && h265_sequence(&[0x42]).is_err());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(0_u8.., 0..80)) {
            let _ = (h264_sequence(&octets), h265_sequence(&octets));
            let _ = (h264_set(&octets), h265_set(&octets));
        }

        #[test]
        fn sizes_are_read_back(width in 1_u64..4_096, height in 1_u64..4_096, crop in 0_u64..8) {
            let read = h264_sequence(&h264_baseline(width, height, crop)).expect("a sequence");
            prop_assert_eq!(u64::from(read.width), width * 16);
            prop_assert_eq!(u64::from(read.height), (height * 16).saturating_sub(crop * 2));
        }
    }
}
