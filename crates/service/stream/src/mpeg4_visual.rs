//! What is read of MPEG-4 video: the header of its layer, and the times of pictures that share a packet.

use crate::parameter_sets::{Bits, ParameterSetError};
use ringpost_rtp::payload::mpeg4_start_codes;
use std::ops::Range;

/// Width and height of MPEG-4 video by its configuration: the header of its layer (ISO/IEC 14496-2 §6.2.3).
pub(crate) fn size(config: &[u8]) -> Result<(u16, u16), ParameterSetError> {
    let layer = layer(config).map_err(|_| ParameterSetError::Layer)?;
    layer.size.ok_or(ParameterSetError::Layer)
}

/// Whether two configurations of MPEG-4 video are the same for a decoder: how full a buffer is when they are said may differ
/// between them, and what their encoder says of itself.
//= https://www.rfc-editor.org/rfc/rfc6416#section-7.1
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || essence(one) == essence(other)
}

/// A configuration without user data, and with buffers that are empty.
fn essence(config: &[u8]) -> Vec<u8> {
    let codes: Vec<_> = mpeg4_start_codes(config).collect();
    let ends = codes.iter().skip(1).map(|(at, _)| *at).chain([config.len()]);
    let mut kept = Vec::new();
    for ((at, code), end) in codes.iter().zip(ends) {
        let from = kept.len();
        match *code {
            USER_DATA => {}
            _ => kept.extend_from_slice(&config[*at..end]),
        }
        if LAYERS.contains(code)
            && let Ok(Layer { occupancy, .. }) = layer(&config[*at..end])
        {
            for bit in occupancy.into_iter().flatten() {
                kept[from + bit / 8] &= !(0x80 >> (bit % 8));
            }
        }
    }
    kept
}

const LAYERS: std::ops::RangeInclusive<u8> = 0x20..=0x2f;
const USER_DATA: u8 = 0xb2;
const SEQUENCE_END: u8 = 0xb1;
const PICTURE: u8 = 0xb6;

/// What is of use in the header of a video object layer.
struct Layer {
    /// How many units its pictures count a second by; not 0.
    resolution: u64,
    /// `None` where its shape is no rectangle.
    size: Option<(u16, u16)>,
    /// Which bits, from its start code on, say how full the buffer is.
    occupancy: [Range<usize>; 2],
}

/// Reads the first one there is.
fn layer(config: &[u8]) -> Result<Layer, ParameterSetError> {
    let mut codes = mpeg4_start_codes(config);
    let found = codes.find(|(_, code)| LAYERS.contains(code));
    let (at, _) = found.ok_or(ParameterSetError::Layer)?;
    let mut bits = Bits::new(&config[at..]);
    bits.at = 32;
    bits.flag("random_accessible_vol")?;
    bits.number(8, "video_object_type_indication")?;
    let mut version = 1;
    if bits.flag("is_object_layer_identifier")? {
        version = bits.number(4, "video_object_layer_verid")?;
        bits.number(3, "video_object_layer_priority")?;
    }
    if bits.number(4, "aspect_ratio_info")? == 15 {
        bits.number(16, "par_width")?;
    }
    let mut occupancy = [0..0, 0..0];
    if bits.flag("vol_control_parameters")? {
        bits.number(3, "chroma_format")?;
        if bits.flag("vbv_parameters")? {
            bits.number(32, "bit_rate")?;
            bits.number(19, "vbv_buffer_size")?;
            occupancy[0] = bits.at..bits.at + 11;
            bits.number(12, "first_half_vbv_occupancy")?;
            occupancy[1] = bits.at..bits.at + 15;
            bits.number(16, "latter_half_vbv_occupancy")?;
        }
    }
    let shape = bits.number(2, "video_object_layer_shape")?;
    if shape == 3 && version != 1 {
        bits.number(4, "video_object_layer_shape_extension")?;
    }
    bits.flag("marker_bit")?;
    let resolution = bits.number(16, "vop_time_increment_resolution")?;
    if resolution == 0 {
        return Err(ParameterSetError::Layer);
    }
    bits.flag("marker_bit")?;
    if bits.flag("fixed_vop_rate")? {
        bits.number(increment_bits(resolution), "fixed_vop_time_increment")?;
    }
    let mut size = None;
    if shape == 0 {
        bits.flag("marker_bit")?;
        let width = bits.number(13, "video_object_layer_width")? as u16;
        bits.flag("marker_bit")?;
        let height = bits.number(13, "video_object_layer_height")? as u16;
        size = (width > 0 && height > 0).then_some((width, height));
    }
    Ok(Layer {
        resolution,
        size,
        occupancy,
    })
}

/// How many bits an increment of time has: as many as the largest needs.
fn increment_bits(resolution: u64) -> u32 {
    64 - (resolution - 1).max(1).leading_zeros()
}

/// The pictures of a unit, each with what stands before it, and how much later than the earliest one it is shown, in units of a
/// clock. `known` is the configuration that holds unless the unit has its own. Empty where the times of several cannot be told.
//= https://www.rfc-editor.org/rfc/rfc6416#section-5.1
pub(crate) fn pictures<'a>(known: &[u8], unit: &'a [u8], clock_rate_hz: u32) -> Vec<(u32, &'a [u8])> {
    let parts = parts(unit);
    if let [_] = parts[..] {
        return vec![(0, unit)];
    }
    let layer = layer(unit).or_else(|_| layer(known));
    let Ok(Layer { resolution, .. }) = layer else {
        return Vec::new();
    };
    let times: Result<Vec<_>, _> = parts.iter().map(|part| increment(part, resolution)).collect();
    let Ok(times) = times else { return Vec::new() };
    // They count within a second, and pictures that share a packet are no half of one apart.
    let (first, half) = (times.first().copied().unwrap_or_default(), resolution / 2);
    let since = |time: u64| (time + resolution + half - first) % resolution;
    let earliest = times.iter().map(|time| since(*time)).min().unwrap_or_default();
    let later = times
        .iter()
        .map(|time| (since(*time) - earliest) * u64::from(clock_rate_hz) / resolution);
    let later = later.map(|units| u32::try_from(units).unwrap_or(u32::MAX));
    later.zip(parts).collect()
}

/// A unit, cut before what stands before each picture but the first.
fn parts(unit: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut from, mut has_picture) = (0, false);
    for (at, code) in mpeg4_start_codes(unit) {
        if has_picture && code != SEQUENCE_END {
            parts.push(&unit[from..at]);
            (from, has_picture) = (at, false);
        }
        has_picture |= code == PICTURE;
    }
    match parts.last_mut() {
        // Headers that no picture follows.
        Some(last) if !has_picture => *last = &unit[from - last.len()..],
        _ => parts.push(&unit[from..]),
    }
    parts
}

/// `vop_time_increment` of the picture in there (ISO/IEC 14496-2 §6.2.5).
fn increment(part: &[u8], resolution: u64) -> Result<u64, ParameterSetError> {
    let mut codes = mpeg4_start_codes(part);
    let found = codes.find(|(_, code)| *code == PICTURE);
    let (at, _) = found.ok_or(ParameterSetError::Layer)?;
    let mut bits = Bits::new(&part[at..]);
    bits.at = 32;
    bits.number(2, "vop_coding_type")?;
    while bits.flag("modulo_time_base")? {}
    bits.flag("marker_bit")?;
    let increment = bits.number(increment_bits(resolution), "vop_time_increment")?;
    if increment >= resolution {
        return Err(ParameterSetError::Value {
            expected: "an increment of less than a second",
            found: increment,
        });
    }
    Ok(increment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_sets::tests::{Writer, octets};
    use proptest::prelude::*;

    /// As ffmpeg's encoder writes it for 64 by 48 pixels, five a second.
    const MPEG4: &str = "000001b001000001b58913000001000000012000c48d88002d0204061443";
    /// Its user data.
    const ENCODER: &str = "000001b24c61766335392e33372e313030";

    #[test]
    fn layers_of_encoders_tell_the_size_of_mpeg4_video() {
        assert_eq!(size(&octets(MPEG4)), Ok((64, 48)));
        // The example of RFC 6416 §7.2.1: a fixed rate, and Simple Profile.
        let example = octets("000001b001000001b5090000010000000120008440fa282c2090a21f");
        assert_eq!(size(&example), Ok((176, 144)));
        let whole = octets(MPEG4);
        for end in 0..26 {
            assert_eq!(size(&whole[..end]), Err(ParameterSetError::Layer), "{end}");
        }
    }

    /// A layer with a buffer, whose two halves of occupancy are given, of a shape.
    fn buffered(first: u64, latter: u64, shape: u64, width: u64) -> Vec<u8> {
        let header = Writer::default()
            .number(1, 0)
            .number(8, 1)
            .number(1, 0)
            .number(4, 1);
        let rates = header.number(1, 1).number(3, 2).number(1, 1).number(32, 0xfff7);
        let buffer = rates.number(15, 100).number(1, 1).number(3, 1);
        let buffer = buffer
            .number(11, first)
            .number(1, 1)
            .number(15, latter)
            .number(1, 1);
        let rest = buffer.number(2, shape).number(1, 1).number(16, 25).number(1, 1);
        let rest = rest.number(1, 1).number(5, 1).number(1, 1).number(13, width);
        let writer = rest.number(1, 1).number(13, 240).number(1, 1);
        writer.nal(&[0, 0, 1, 0x20])
    }

    //= https://www.rfc-editor.org/rfc/rfc6416#section-7.1
    #[test]
    fn how_full_a_buffer_is_and_what_an_encoder_says_of_itself_make_no_other_configuration() {
        let one = buffered(0x7ff, 1, 0, 320);
        assert_eq!(size(&one), Ok((320, 240)));
        assert!(is_same(&one, &buffered(1, 0x7fff, 0, 320)));
        assert!(!is_same(&one, &buffered(0x7ff, 1, 0, 321)));
        let said = [octets(MPEG4), octets(ENCODER)].concat();
        assert!(is_same(&octets(MPEG4), &said));
        assert!(!is_same(&one, &said));
    }

    #[test]
    fn a_layer_that_is_no_rectangle_has_no_size() {
        for shape in 1..4 {
            let error = size(&buffered(1, 1, shape, 320)).expect_err("no size");
            assert_eq!(
                error.to_string(),
                "expected the header of a video object layer of a rectangle's shape, with its size"
            );
        }
        assert!(size(&buffered(1, 1, 0, 0)).is_err());
    }

    /// A picture of a coding type, at a time of which five bits are told.
    fn picture(kind: u64, seconds: u32, increment: u64) -> Vec<u8> {
        let mut writer = Writer::default().number(2, kind);
        for _ in 0..seconds {
            writer = writer.number(1, 1);
        }
        writer = writer.number(2, 1).number(5, increment).number(3, 5);
        writer.nal(&[0, 0, 1, 0xb6])
    }

    //= https://www.rfc-editor.org/rfc/rfc6416#section-5.1
    #[test]
    fn pictures_that_share_a_packet_are_parted_with_the_times_that_they_say() {
        // 25 a second.
        let config = buffered(1, 1, 0, 320);
        let group: &[u8] = &[0, 0, 1, 0xb3, 0, 0x10, 7];
        // One that others need, and the one before it; then one of the next second, and the end of it all.
        let (p, b) = (picture(1, 0, 23), picture(2, 0, 22));
        let (key, end) = ([group, &picture(0, 1, 1)].concat(), [0, 0, 1, 0xb1]);
        let unit = [&p[..], &b, &key, &end].concat();
        let found = pictures(&config, &unit, 90_000);
        let last = [&key[..], &end].concat();
        assert_eq!(found, [(3_600, &p[..]), (0, &b), (4 * 3_600, &last)]);
        // By the configuration that is among them.
        let unit = [&config[..], &p, &b].concat();
        let first = [&config[..], &p].concat();
        assert_eq!(pictures(&[], &unit, 1_000), [(40, &first[..]), (0, &b)]);
    }

    #[test]
    fn one_picture_is_a_unit_of_its_own_and_times_that_cannot_be_told_part_none() {
        let config = buffered(1, 1, 0, 320);
        let p = picture(1, 0, 23);
        let before = [&config[..], &p].concat();
        for unit in [&p[..], &before, &config, &[]] {
            assert_eq!(pictures(&[], unit, 90_000), [(0, unit)]);
        }
        let headers = [&p[..], &config].concat();
        assert_eq!(pictures(&config, &headers, 90_000), [(0, &headers[..])]);
        let two = [&p[..], &p].concat();
        assert_eq!(pictures(&[], &two, 90_000), []);
        // No such time, and none at all.
        for bad in [&picture(1, 0, 30)[..], &[0, 0, 1, 0xb6], &[0, 0, 1, 0xb6, 0xff]] {
            assert_eq!(pictures(&config, &[&p, bad].concat(), 90_000), []);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(0_u8.., 0..80)) {
            let config = [&[0, 0, 1, 0x20], &octets[..]].concat();
            let _ = size(&config);
            prop_assert!(is_same(&config, &[&config[..], &[0, 0, 1, 0xb2]].concat()));
            let unit = [&[0, 0, 1, 0xb6], &octets[..], &[0, 0, 1, 0xb6], &octets].concat();
            for known in [&config, &buffered(1, 1, 0, 320)] {
                let found = pictures(known, &unit, 90_000);
                let whole: Vec<u8> = found.iter().flat_map(|(_, part)| *part).copied().collect();
                prop_assert!(found.is_empty() || whole == unit);
            }
        }
    }
}
