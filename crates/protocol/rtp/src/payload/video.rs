//! VP8 (RFC 7741) and VP9 (RFC 9628).

use super::{At, Depacketizer};
use ringpost_base::Cursor;

/// What is said of a packet of VP8 or VP9 before its frame's bytes.
struct Descriptor<'a> {
    begins: bool,
    ends: bool,
    is_key: bool,
    frame: &'a [u8],
}

//= https://www.rfc-editor.org/rfc/rfc7741#section-4.2
fn vp8_descriptor(payload: &[u8]) -> Option<Descriptor<'_>> {
    let mut cursor = Cursor::new(payload);
    let first = cursor.u8().ok()?;
    if first & 0x80 != 0 {
        let extension = cursor.u8().ok()?;
        if extension & 0x80 != 0 && cursor.u8().ok()? & 0x80 != 0 {
            cursor.u8().ok()?;
        }
        if extension & 0x40 != 0 {
            cursor.u8().ok()?;
        }
        if extension & 0x30 != 0 {
            cursor.u8().ok()?;
        }
    }
    let frame = cursor.rest();
    let begins = first & 0x10 != 0 && first & 0x07 == 0;
    Some(Descriptor {
        begins,
        ends: false,
        //= https://www.rfc-editor.org/rfc/rfc7741#section-4.3
        is_key: begins && frame.first()? & 1 == 0,
        frame,
    })
}

//= https://www.rfc-editor.org/rfc/rfc9628#section-4.2
fn vp9_descriptor(payload: &[u8]) -> Option<Descriptor<'_>> {
    let mut cursor = Cursor::new(payload);
    let first = cursor.u8().ok()?;
    let has = |bit: u8| first & bit != 0;
    let (is_predicted, is_flexible) = (has(0x40), has(0x10));
    if has(0x80) && cursor.u8().ok()? & 0x80 != 0 {
        cursor.u8().ok()?;
    }
    let mut layer = 0;
    if has(0x20) {
        layer = cursor.u8().ok()? >> 1 & 7;
        if !is_flexible {
            cursor.u8().ok()?;
        }
    }
    if is_flexible && is_predicted {
        let mut references = 1;
        while cursor.u8().ok()? & 1 != 0 {
            references += 1;
            if references > 3 {
                return None;
            }
        }
    }
    if has(0x02) {
        skip_structure(&mut cursor)?;
    }
    let frame = cursor.rest();
    let begins = has(0x08);
    let descriptor = Descriptor {
        begins,
        ends: has(0x04),
        // Packetizers that do not look into frames leave P at zero for all of them.
        is_key: begins && !is_predicted && layer == 0 && is_vp9_key(frame),
        frame,
    };
    (!frame.is_empty()).then_some(descriptor)
}

/// Whether a frame of VP9 is a key frame, by the beginning of its uncompressed header: the frame marker, the profile, and for
/// profile 3 a reserved bit, whether it only shows another frame, and its type (VP9 bitstream specification §6.2).
fn is_vp9_key(frame: &[u8]) -> bool {
    let Some(head) = frame.first() else { return false };
    let behind_profile = if head & 0x30 == 0x30 { 5 } else { 4 };
    let shows_or_is_predicted = 0xc0_u8 >> behind_profile;
    head >> 6 == 2 && head & shows_or_is_predicted == 0
}

/// Whether a payload of VP8 begins a frame, and then whether decoding may begin with that one.
// Guards pitfall RTP 11.
pub fn begins_vp8(payload: &[u8]) -> Option<bool> {
    let descriptor = vp8_descriptor(payload)?;
    descriptor.begins.then_some(descriptor.is_key)
}

/// The same of VP9; of a frame with several spatial layers the lowest one decides.
// Guards pitfall RTP 11.
pub fn begins_vp9(payload: &[u8]) -> Option<bool> {
    let descriptor = vp9_descriptor(payload)?;
    descriptor.begins.then_some(descriptor.is_key)
}

//= https://www.rfc-editor.org/rfc/rfc9628#section-4.2.1
fn skip_structure(cursor: &mut Cursor<'_>) -> Option<()> {
    let head = cursor.u8().ok()?;
    if head & 0x10 != 0 {
        cursor.take(4 * (usize::from(head >> 5) + 1)).ok()?;
    }
    if head & 0x08 != 0 {
        for _ in 0..cursor.u8().ok()? {
            let references = cursor.u8().ok()? >> 2 & 3;
            cursor.take(usize::from(references)).ok()?;
        }
    }
    Some(())
}

impl Depacketizer {
    pub(super) fn vp8(&mut self, at: At<'_>) {
        let Some(descriptor) = vp8_descriptor(at.payload) else {
            return self.damage(at.timestamp);
        };
        if descriptor.begins && self.fragment.is_none() {
            self.unit(at.timestamp).is_key = descriptor.is_key;
            self.fragment = Some(Vec::new());
        }
        self.extend(at.timestamp, descriptor.frame);
    }

    pub(super) fn vp9(&mut self, at: At<'_>) {
        let Some(descriptor) = vp9_descriptor(at.payload) else {
            return self.damage(at.timestamp);
        };
        if descriptor.begins {
            if self.fragment.is_some() {
                self.damage(at.timestamp);
            }
            self.unit(at.timestamp).is_key |= descriptor.is_key;
            self.fragment = Some(Vec::new());
        }
        if self.extend(at.timestamp, descriptor.frame)
            && descriptor.ends
            && let Some(frame) = self.fragment.take()
        {
            self.piece(at.timestamp, frame, false);
        }
    }
}
