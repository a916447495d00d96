//! BINARY (RFC 3516): parts of a message with their transfer encoding undone, while they stream by.

use crate::section::Partial;
use bytes::{BufMut, BytesMut};

/// A Content-Transfer-Encoding that can be undone (RFC 2045 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `7BIT`, `8BIT`, `BINARY`: there is nothing to undo.
    Identity,
    /// `BASE64`
    Base64,
    /// `QUOTED-PRINTABLE`
    QuotedPrintable,
}

impl Encoding {
    /// By its name, in any case; `None` for one that is not known.
    pub fn parse(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if ["7BIT", "8BIT", "BINARY"].into_iter().any(is) {
            Some(Encoding::Identity)
        } else if is("BASE64") {
            Some(Encoding::Base64)
        } else if is("QUOTED-PRINTABLE") {
            Some(Encoding::QuotedPrintable)
        } else {
            None
        }
    }
}

/// Undoes an encoding in a stream of chunks. What cannot be decoded is passed over in base64, and stays as it is in
/// quoted-printable, as mail programs do it.
#[derive(Clone, Debug)]
pub struct Decoder {
    encoding: Encoding,
    /// Which of the decoded bytes are wanted.
    partial: Option<Partial>,
    /// Decoded bytes so far.
    position: u64,
    /// Base64: digits that make no byte yet, and how many bits they are.
    bits: u32,
    have: u32,
    /// Base64: whether a padding has ended it.
    ended: bool,
    /// Quoted-printable: an `=` with what follows it, or white space that may stand before a line's end.
    held: Vec<u8>,
}

/// White space that is kept back in a line of quoted-printable; more is no longer taken for what stands before a line's end.
const HELD_BYTES: usize = 1024;

impl Decoder {
    /// For a part with this encoding.
    pub fn new(encoding: Encoding, partial: Option<Partial>) -> Self {
        Decoder {
            encoding,
            partial,
            position: 0,
            bits: 0,
            have: 0,
            ended: false,
            held: Vec::new(),
        }
    }

    /// Takes the next bytes in, and appends to `out` what they decode to of the bytes that are wanted.
    pub fn push(&mut self, bytes: &[u8], out: &mut BytesMut) {
        match self.encoding {
            Encoding::Identity => self.emit(bytes, out),
            Encoding::Base64 => self.base64(bytes, out),
            Encoding::QuotedPrintable => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    // Runs that mean themselves are most of it.
                    let run = match self.held.is_empty() {
                        true => rest.iter().position(|b| matches!(b, b'=' | b' ' | b'\t' | b'\r')),
                        false => Some(0),
                    };
                    let run = run.unwrap_or(rest.len());
                    self.emit(&rest[..run], out);
                    rest = &rest[run..];
                    if let Some((byte, after)) = rest.split_first() {
                        self.quoted(*byte, out);
                        rest = after;
                    }
                }
            }
        }
    }

    /// There is no more.
    pub fn finish(&mut self, out: &mut BytesMut) {
        let held = std::mem::take(&mut self.held);
        match self.encoding {
            // A last `=` is a soft line end, and white space at the end is none of the text.
            Encoding::QuotedPrintable if held.first() == Some(&b'=') && held.len() == 1 => {}
            Encoding::QuotedPrintable if held.iter().all(|b| matches!(b, b' ' | b'\t')) => {}
            _ => self.emit(&held, out),
        }
    }

    fn emit(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let start = self.position;
        self.position += bytes.len() as u64;
        let wanted = match self.partial {
            None => bytes,
            Some(partial) => {
                let from = partial.offset;
                let until = from.saturating_add(partial.length);
                let clamp = |at: u64| at.saturating_sub(start).min(bytes.len() as u64) as usize;
                &bytes[clamp(from)..clamp(until)]
            }
        };
        out.put_slice(wanted);
    }

    //= https://www.rfc-editor.org/rfc/rfc2045#section-6.8
    fn base64(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
        for byte in bytes {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    self.ended = true;
                    continue;
                }
                _ => continue,
            };
            if std::mem::take(&mut self.ended) {
                // Some join two encoded pieces: what comes behind a padding begins anew.
                (self.bits, self.have) = (0, 0);
            }
            self.bits = self.bits << 6 | u32::from(digit);
            self.have += 6;
            if self.have >= 8 {
                self.have -= 8;
                decoded.push((self.bits >> self.have) as u8);
                self.bits &= (1 << self.have) - 1;
            }
        }
        self.emit(&decoded, out);
    }

    //= https://www.rfc-editor.org/rfc/rfc2045#section-6.7
    fn quoted(&mut self, byte: u8, out: &mut BytesMut) {
        match (self.held.first(), byte) {
            (None, b'=' | b' ' | b'\t' | b'\r') => self.held.push(byte),
            (None, _) => self.emit(&[byte], out),
            // White space before a line's end is not part of the text.
            (Some(b' ' | b'\t'), b' ' | b'\t' | b'\r') if self.held.len() < HELD_BYTES => {
                self.held.push(byte)
            }
            (Some(b' ' | b'\t'), b'\n') => {
                let has_cr = self.held.last() == Some(&b'\r');
                self.held.clear();
                self.emit(if has_cr { b"\r\n" } else { b"\n" }, out);
            }
            (Some(b'\r'), b'\n') => {
                self.held.clear();
                self.emit(b"\r\n", out);
            }
            (Some(b'='), _) => self.escaped(byte, out),
            (Some(_), _) => {
                let held = std::mem::take(&mut self.held);
                self.emit(&held, out);
                self.quoted(byte, out);
            }
        }
    }

    /// What follows an `=`: two digits, or a line's end with white space before it.
    fn escaped(&mut self, byte: u8, out: &mut BytesMut) {
        let hex = |b: u8| char::from(b).to_digit(16);
        match (self.held.get(1).copied(), byte) {
            (None, _) if hex(byte).is_some() => self.held.push(byte),
            (None | Some(b' ' | b'\t' | b'\r'), b'\n') => self.held.clear(),
            (None, b' ' | b'\t' | b'\r') => self.held.push(byte),
            (Some(b' ' | b'\t'), b' ' | b'\t' | b'\r') if self.held.len() < HELD_BYTES => {
                self.held.push(byte)
            }
            (Some(first), _) if hex(first).is_some() && hex(byte).is_some() => {
                let value = hex(first).zip(hex(byte)).map_or(0, |(high, low)| high << 4 | low);
                self.held.clear();
                self.emit(&[value as u8], out);
            }
            _ => {
                // It is no escape: it stands for itself.
                let held = std::mem::take(&mut self.held);
                self.emit(&held, out);
                self.quoted(byte, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: Encoding, text: &[u8], piece: usize, partial: Option<Partial>) -> Vec<u8> {
        let (mut decoder, mut out) = (Decoder::new(encoding, partial), BytesMut::new());
        text.chunks(piece).for_each(|chunk| decoder.push(chunk, &mut out));
        decoder.finish(&mut out);
        out.to_vec()
    }

    #[track_caller]
    fn check(encoding: Encoding, text: &[u8], expected: &[u8]) {
        for piece in [1, 2, 3, 7, text.len().max(1)] {
            assert_eq!(
                decode(encoding, text, piece, None),
                expected,
                "{:?} in pieces of {piece}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn base64_is_decoded_however_it_is_broken() {
        let base64 = Encoding::Base64;
        check(base64, b"SGVsbG8sIHdvcmxkIQ==\r\n", b"Hello, world!");
        check(base64, b"SGVs\r\nbG8s\n IHdv cmxkIQ", b"Hello, world!");
        check(base64, b"AAEC/w==", &[0, 1, 2, 255]);
        check(base64, b"QQ==QkI=Q0ND", b"ABBCCC");
        check(base64, b"", b"");
        check(base64, b"****", b"");
    }

    #[test]
    fn quoted_printable_is_decoded_with_its_soft_line_ends() {
        let qp = Encoding::QuotedPrintable;
        check(
            qp,
            b"Gr=C3=BC=C3=9Fe=\r\n, a=3db\r\n",
            "Grüße, a=b\r\n".as_bytes(),
        );
        check(qp, b"end  \t\r\nnext = \r\nline", b"end\r\nnext line");
        check(qp, b"lf  \nx=\ny", b"lf\nxy");
        check(qp, b"a=b =ZZ =4", b"a=b =ZZ =4");
        check(qp, b"a b\rc \rd", b"a b\rc \rd");
        check(qp, b"last=", b"last");
        check(qp, b"==41", b"=A");
        check(qp, b"=00", b"\0");
        check(qp, b"x  ", b"x");
    }

    #[test]
    fn a_partial_is_of_what_is_decoded() {
        let all = b"SGVsbG8sIHdvcmxkIQ==";
        for offset in 0..16 {
            for length in 1..16 {
                let partial = Partial { offset, length };
                let from = (offset as usize).min(13);
                let until = (from + length as usize).min(13);
                let expected = &b"Hello, world!"[from..until];
                for piece in [1, 5, 20] {
                    assert_eq!(decode(Encoding::Base64, all, piece, Some(partial)), expected);
                }
            }
        }
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let text = [b" ".repeat(10_000), b"x\r\n".to_vec()].concat();
        let mut decoder = Decoder::new(Encoding::QuotedPrintable, None);
        let mut out = BytesMut::new();
        decoder.push(&text[..10_000], &mut out);
        assert!(decoder.held.len() <= HELD_BYTES);
        check(Encoding::QuotedPrintable, &text, &text);
        check(Encoding::Identity, b"=41 \r\n", b"=41 \r\n");
    }
}
