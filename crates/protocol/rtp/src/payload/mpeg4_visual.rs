//! MPEG-4 video (RFC 6416 §5).

use super::{At, Depacketizer};

/// Start codes of ISO/IEC 14496-2 table 6-3, behind their prefix of 0, 0 and 1.
const LAYERS: std::ops::RangeInclusive<u8> = 0x20..=0x2f;
const SEQUENCE_END: u8 = 0xb1;
const GROUP: u8 = 0xb3;
const PICTURE: u8 = 0xb6;

/// Where the start codes are, and which ones.
pub fn mpeg4_start_codes(octets: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let behind = octets.get(from..)?;
        let found = behind.windows(4).position(|code| code[..3] == [0, 0, 1])?;
        let at = from + found;
        from = at + 4;
        Some((at, octets[at + 3]))
    })
}

/// Whether decoding may begin with the first picture (VOP) in there, as with one that is coded by itself; `None` where there is
/// none.
pub fn is_mpeg4_key(octets: &[u8]) -> Option<bool> {
    let at = picture(octets)?;
    // vop_coding_type (ISO/IEC 14496-2 §6.2.5).
    octets.get(at + 4).map(|head| head >> 6 == 0)
}

/// The configuration that stands before a picture: the headers of the sequence, of the object and of its layer.
//= https://www.rfc-editor.org/rfc/rfc6416#section-5.2
pub fn mpeg4_configuration(octets: &[u8]) -> Option<&[u8]> {
    let mut has_layer = false;
    for (at, code) in mpeg4_start_codes(octets) {
        match code {
            GROUP | PICTURE | SEQUENCE_END => return has_layer.then_some(&octets[..at]),
            code => has_layer |= LAYERS.contains(&code),
        }
    }
    has_layer.then_some(octets)
}

/// Where the first picture begins.
pub(super) fn picture(octets: &[u8]) -> Option<usize> {
    let mut codes = mpeg4_start_codes(octets);
    codes.find(|(_, code)| *code == PICTURE).map(|(at, _)| at)
}

/// Where payloads had better begin: with a picture, and with each of its video packets, which begin behind 16 to 22 zeros and a
/// one where octets do (ISO/IEC 14496-2 §6.3.5.2).
pub(super) fn packets(octets: &[u8]) -> Vec<&[u8]> {
    let Some(first) = picture(octets) else {
        return vec![octets];
    };
    let mut parts = Vec::new();
    let mut from = 0;
    // Behind the picture's own beginning, whose time may look like a video packet's.
    let mut at = first + 8;
    while let Some(head) = octets.get(at..at + 3) {
        let begins_packet = head[..2] == [0, 0] && head[2] > 1;
        let begins_picture = head == [0, 0, 1] && octets.get(at + 3) == Some(&PICTURE);
        if begins_packet || begins_picture {
            parts.push(&octets[from..at]);
            from = at;
            at += 3;
        } else {
            at += 1;
        }
    }
    parts.push(&octets[from..]);
    parts
}

impl Depacketizer {
    /// The octets of a picture with what stands before it. Several pictures in one packet stay one unit.
    //= https://www.rfc-editor.org/rfc/rfc6416#section-5.1
    pub(super) fn mpeg4_visual(&mut self, at: At<'_>) {
        if self.fragment.is_none() {
            // It comes behind the last picture of all, and nothing is to be read out of it.
            if at.payload == [0, 0, 1, SEQUENCE_END] {
                return;
            }
            // What goes on in the middle of a picture lacks its beginning.
            if !at.payload.starts_with(&[0, 0, 1]) {
                return self.damage(at.timestamp);
            }
            self.unit(at.timestamp);
            (self.fragment, self.has_picture) = (Some(Vec::new()), false);
        }
        // Each octet is looked at once, however long no picture begins; a code may begin at the end of what was there.
        let looked = self
            .fragment
            .as_ref()
            .map_or(0, |fragment| fragment.len().saturating_sub(3));
        if self.extend(at.timestamp, at.payload) && !self.has_picture {
            let gathered = self.fragment.as_deref().unwrap_or_default();
            self.has_picture = gathered.get(looked..).and_then(picture).is_some();
        }
    }

    /// Whether what has come belongs before a picture that has not.
    pub(super) fn awaits_mpeg4_picture(&self) -> bool {
        self.fragment.is_some() && !self.has_picture
    }

    /// The picture that has come to its end.
    pub(super) fn mpeg4_picture(&mut self) -> Option<Vec<u8>> {
        let octets = self.fragment.take()?;
        let is_key = is_mpeg4_key(&octets)?;
        if let Some(unit) = &mut self.unit {
            unit.is_key = is_key;
        }
        Some(octets)
    }
}
