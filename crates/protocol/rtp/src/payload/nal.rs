//! H.264 (RFC 6184) and H.265 (RFC 7798).

use super::{At, Depacketizer, Format};

/// NAL unit types of H.264 payloads (RFC 6184 §5.2, table 1).
mod h264 {
    pub(super) const IDR: u8 = 5;
    pub(super) const SEI: u8 = 6;
    pub(super) const DELIMITER: u8 = 9;
    pub(super) const STAP_A: u8 = 24;
    pub(super) const STAP_B: u8 = 25;
    pub(super) const MTAP16: u8 = 26;
    pub(super) const MTAP24: u8 = 27;
    pub(super) const FU_A: u8 = 28;
    pub(super) const FU_B: u8 = 29;
}

/// NAL unit types of H.265 payloads (RFC 7798 §4.4).
mod h265 {
    pub(super) const VPS: u8 = 32;
    pub(super) const DELIMITER: u8 = 35;
    pub(super) const PREFIX_SEI: u8 = 39;
    pub(super) const AGGREGATION: u8 = 48;
    pub(super) const FRAGMENTATION: u8 = 49;
    pub(super) const PACI: u8 = 50;
}

const START: u8 = 0x80;
const END: u8 = 0x40;

/// Whether decoding may begin with a picture that this NAL unit of H.264 belongs to: an IDR picture's slice.
pub fn is_h264_key(nal: &[u8]) -> bool {
    nal.first().is_some_and(|header| header & 0x1f == h264::IDR)
}

/// Whether decoding may begin with a picture that this NAL unit of H.265 belongs to: a slice of an IRAP picture.
pub fn is_h265_key(nal: &[u8]) -> bool {
    nal.first()
        .is_some_and(|header| matches!(header >> 1 & 0x3f, 16..=21))
}

/// `payloadType` of the message by which an encoder without IDR pictures says where decoding may begin: what it has refreshed
/// little by little is whole some pictures later (ITU-T H.264 §D.2.8, H.265 §D.3.8).
const RECOVERY_POINT: u32 = 6;

/// Whether this NAL unit of H.264, or what a first fragment holds of it, says that decoding may begin with the picture that
/// follows: SEI with a recovery point.
pub fn is_h264_recovery_point(nal: &[u8]) -> bool {
    let is_sei = nal.first().is_some_and(|header| header & 0x1f == h264::SEI);
    is_sei && has_message(&nal[1..], RECOVERY_POINT)
}

/// The same of H.265.
pub fn is_h265_recovery_point(nal: &[u8]) -> bool {
    let is_sei = nal
        .first()
        .is_some_and(|header| header >> 1 & 0x3f == h265::PREFIX_SEI);
    is_sei && nal.get(2..).is_some_and(|rest| has_message(rest, RECOVERY_POINT))
}

/// Whether SEI, behind the unit's header, has a message of a type (ITU-T H.264 §7.3.2.3.1, H.265 §7.3.5).
fn has_message(sei: &[u8], wanted: u32) -> bool {
    let mut zeros = 0;
    let mut octets = sei.iter().copied().filter(|octet| {
        // What keeps a start code from appearing is no part of any message.
        let is_guard = zeros >= 2 && *octet == 3;
        zeros = if *octet == 0 { zeros + 1 } else { 0 };
        !is_guard
    });
    // Of the trailing bits no message can be made: it would have no size.
    while let Some(kind) = sei_number(&mut octets) {
        let Some(size) = sei_number(&mut octets) else {
            return false;
        };
        if kind == wanted {
            return true;
        }
        if size > 0 && octets.nth(size as usize - 1).is_none() {
            return false;
        }
    }
    false
}

/// A type or a size: octets of 255 and one below it, added up.
fn sei_number(octets: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut sum = 0_u32;
    loop {
        let octet = octets.next()?;
        sum = sum.saturating_add(octet.into());
        if octet != 0xff {
            return Some(sum);
        }
    }
}

/// Whether decoding may begin with the picture of this NAL unit, in a format that has some.
pub(super) fn begins_decoding(format: Format, nal: &[u8]) -> bool {
    match format {
        Format::H264 => is_h264_key(nal) || is_h264_recovery_point(nal),
        Format::H265 { .. } => is_h265_key(nal) || is_h265_recovery_point(nal),
        _ => false,
    }
}

/// Whether this NAL unit of H.264 stands before the slices of its picture: SEI, parameter sets, a delimiter, or what comes
/// before a slice of a base layer (ITU-T H.264 §7.4.1.2.3).
pub(super) fn precedes_h264_picture(nal: &[u8]) -> bool {
    nal.first()
        .is_some_and(|header| matches!(header & 0x1f, h264::SEI..=h264::DELIMITER | 13..=15))
}

/// The same of H.265 (ITU-T H.265 §7.4.2.4.4).
pub(super) fn precedes_h265_picture(nal: &[u8]) -> bool {
    let before = |kind| matches!(kind, h265::VPS..=h265::DELIMITER | h265::PREFIX_SEI);
    nal.first().is_some_and(|header| before(header >> 1 & 0x3f))
}

/// The NAL units of a byte stream with start codes (H.264 annex B). A text without any is one.
pub fn split_annex_b(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        loop {
            let now = rest?;
            let found = now.windows(3).position(|window| window == [0, 0, 1]);
            let (nal, behind) = match found {
                Some(at) => (&now[..at], Some(&now[at + 3..])),
                None => (now, None),
            };
            rest = behind;
            // Zeros before a start code belong to it, and no NAL unit ends with one.
            let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let nal = if behind.is_some() { &nal[..end] } else { nal };
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    })
}

fn begins_with_start_code(nal: &[u8]) -> bool {
    nal.starts_with(&[0, 0, 1]) || nal.starts_with(&[0, 0, 0, 1])
}

/// Takes 16 bits of size and as many bytes off the front.
fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, behind) = rest.split_first_chunk::<2>()?;
    let size = usize::from(u16::from_be_bytes(*size));
    let (nal, behind) = behind.split_at_checked(size)?;
    *rest = behind;
    (!nal.is_empty()).then_some(nal)
}

impl Depacketizer {
    pub(super) fn h264(&mut self, at: At<'_>) {
        let payload = at.payload;
        match payload[0] & 0x1f {
            //= https://www.rfc-editor.org/rfc/rfc6184#section-5.7.1
            h264::STAP_A => self.aggregated(at.timestamp, &payload[1..], Self::h264_nal),
            h264::STAP_B => match payload.get(3..) {
                Some(units) => self.aggregated(at.timestamp, units, Self::h264_nal),
                None => self.damage(at.timestamp),
            },
            h264::MTAP16 => self.multi_time(at, 2),
            h264::MTAP24 => self.multi_time(at, 3),
            //= https://www.rfc-editor.org/rfc/rfc6184#section-5.8
            kind @ (h264::FU_A | h264::FU_B) => {
                let Some(header) = payload.get(1).copied() else {
                    return self.damage(at.timestamp);
                };
                // The decoding order number stands in the first fragment, which alone is of type B.
                let skip = if kind == h264::FU_B { 4 } else { 2 };
                let nal_header = payload[0] & 0xe0 | header & 0x1f;
                let part = payload.get(skip..).unwrap_or_default();
                self.fragmented(at.timestamp, header, &[nal_header], part, Self::h264_nal);
            }
            _ => self.h264_nal(at.timestamp, payload),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6184#section-5.7.2
    fn multi_time(&mut self, at: At<'_>, offset_bytes: usize) {
        let mut rest = at.payload.get(3..).unwrap_or_default();
        let mut units = Vec::new();
        while let Some(unit) = sized_multi_time(&mut rest, offset_bytes) {
            units.push(unit);
        }
        if !rest.is_empty() || units.is_empty() {
            return self.damage(at.timestamp);
        }
        units.sort_by_key(|(order, ..)| *order);
        for (_, offset, nal) in units {
            self.h264_nal(at.timestamp.wrapping_add(offset), nal);
        }
    }

    fn aggregated(&mut self, timestamp: u32, units: &[u8], take: fn(&mut Self, u32, &[u8])) {
        let mut rest = units;
        let mut is_any = false;
        while let Some(nal) = sized(&mut rest) {
            take(self, timestamp, nal);
            is_any = true;
        }
        // What does not fit its sizes has lost something.
        if !rest.is_empty() || !is_any {
            self.damage(timestamp);
        }
    }

    fn fragmented(
        &mut self,
        timestamp: u32,
        header: u8,
        nal_header: &[u8],
        part: &[u8],
        take: fn(&mut Self, u32, &[u8]),
    ) {
        if header & START != 0 {
            if self.fragment.is_some() {
                // The one before has no end.
                self.damage(timestamp);
            }
            self.fragment = Some(nal_header.to_vec());
        }
        if !self.extend(timestamp, part) {
            return;
        }
        // A unit that has nothing but a fragment is one nevertheless.
        self.unit(timestamp);
        if header & END != 0
            && let Some(nal) = self.fragment.take()
        {
            take(self, timestamp, &nal);
        }
    }

    // Guards pitfall RTP 10: start codes where there should be none.
    fn h264_nal(&mut self, timestamp: u32, nal: &[u8]) {
        let kind = nal[0] & 0x1f;
        let is_whole_stream = begins_with_start_code(nal) || (h264::SEI..=h264::DELIMITER).contains(&kind);
        if is_whole_stream {
            for nal in split_annex_b(nal) {
                self.h264_piece(timestamp, nal);
            }
        } else {
            self.h264_piece(timestamp, nal);
        }
    }

    fn h264_piece(&mut self, timestamp: u32, nal: &[u8]) {
        let kind = nal[0] & 0x1f;
        // Behind a gap a unit is whole when its first slice begins with the first macroblock: ue(v) 0 is one bit.
        let is_slice = matches!(kind, 1 | 5);
        let unit = self.unit(timestamp);
        let may_lack = unit.is_after_gap && unit.pieces.is_empty();
        if may_lack && is_slice && nal.get(1).is_none_or(|byte| byte & 0x80 == 0) {
            self.damage(timestamp);
        }
        self.piece(timestamp, nal.to_vec(), begins_decoding(Format::H264, nal));
    }

    pub(super) fn h265(&mut self, at: At<'_>, has_donl: bool) {
        let payload = at.payload;
        let Some((header, rest)) = payload.split_first_chunk::<2>() else {
            return self.damage(at.timestamp);
        };
        let donl = if has_donl { 2 } else { 0 };
        match header[0] >> 1 & 0x3f {
            //= https://www.rfc-editor.org/rfc/rfc7798#section-4.4.2
            h265::AGGREGATION => self.h265_aggregated(at.timestamp, rest, has_donl),
            //= https://www.rfc-editor.org/rfc/rfc7798#section-4.4.3
            h265::FRAGMENTATION => {
                let Some((fu, rest)) = rest.split_first() else {
                    return self.damage(at.timestamp);
                };
                let skip = if fu & START != 0 { donl } else { 0 };
                let nal_header = [header[0] & 0x81 | (fu & 0x3f) << 1, header[1]];
                let part = rest.get(skip..).unwrap_or_default();
                self.fragmented(at.timestamp, *fu, &nal_header, part, Self::h265_nal);
            }
            //= https://www.rfc-editor.org/rfc/rfc7798#section-4.4.4
            h265::PACI => {
                let Some((fields, rest)) = rest.split_first_chunk::<2>() else {
                    return self.damage(at.timestamp);
                };
                let fields = u16::from_be_bytes(*fields);
                let extension = usize::from(fields >> 4 & 0x1f);
                let kind = (fields >> 9 & 0x3f) as u8;
                let forbidden = (fields >> 8 & 0x80) as u8;
                let Some(inner) = rest.get(extension..).filter(|_| kind != h265::PACI) else {
                    return self.damage(at.timestamp);
                };
                let whole = [&[forbidden | kind << 1 | header[0] & 1, header[1]], inner].concat();
                let payload = &whole[..];
                self.h265(At { payload, ..at }, has_donl);
            }
            _ => {
                let Some(rest) = rest.get(donl..) else {
                    return self.damage(at.timestamp);
                };
                match has_donl {
                    true => self.h265_nal(at.timestamp, &[header, rest].concat()),
                    false => self.h265_nal(at.timestamp, payload),
                }
            }
        }
    }

    fn h265_aggregated(&mut self, timestamp: u32, units: &[u8], has_donl: bool) {
        if !has_donl {
            return self.aggregated(timestamp, units, Self::h265_nal);
        }
        let mut rest = units;
        let mut skip = 2;
        loop {
            let Some(behind) = rest.get(skip..) else {
                return self.damage(timestamp);
            };
            rest = behind;
            match sized(&mut rest) {
                Some(nal) => self.h265_nal(timestamp, nal),
                None => return self.damage(timestamp),
            }
            if rest.is_empty() {
                return;
            }
            skip = 1;
        }
    }

    fn h265_nal(&mut self, timestamp: u32, nal: &[u8]) {
        let kind = nal[0] >> 1 & 0x3f;
        let is_whole_stream = begins_with_start_code(nal) || (h265::VPS..=h265::PREFIX_SEI).contains(&kind);
        if is_whole_stream {
            for nal in split_annex_b(nal) {
                self.h265_piece(timestamp, nal);
            }
        } else {
            self.h265_piece(timestamp, nal);
        }
    }

    fn h265_piece(&mut self, timestamp: u32, nal: &[u8]) {
        let is_slice = nal[0] >> 1 & 0x3f < 32;
        let unit = self.unit(timestamp);
        let may_lack = unit.is_after_gap && unit.pieces.is_empty();
        // first_slice_segment_in_pic_flag
        if may_lack && is_slice && nal.get(2).is_none_or(|byte| byte & 0x80 == 0) {
            self.damage(timestamp);
        }
        self.piece(timestamp, nal.to_vec(), begins_decoding(self.format, nal));
    }
}

/// One unit of an MTAP: the distance of its decoding order number, its offset in time, the NAL unit.
fn sized_multi_time<'a>(rest: &mut &'a [u8], offset_bytes: usize) -> Option<(u8, u32, &'a [u8])> {
    let (size, behind) = rest.split_first_chunk::<2>()?;
    let (order, behind) = behind.split_first()?;
    let (offset, behind) = behind.split_at_checked(offset_bytes)?;
    let offset = offset.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
    let (nal, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
    *rest = behind;
    (!nal.is_empty()).then_some((*order, offset, nal))
}
