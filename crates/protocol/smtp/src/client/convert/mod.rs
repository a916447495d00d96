//! A message made fit for a server that takes less than it has: bytes beyond ASCII for one without 8BITMIME, lines that are
//! longer than any server must take.
//!
//! A [`Survey`] reads the message once and says whether it can be done; a [`Converter`] made of it reads the message again
//! and gives what is sent. Each part is encoded by itself, as quoted-printable where it is text and as base64 otherwise, and
//! only where it has to be. What is signed (RFC 1847) is never changed.

mod encode;
mod walk;

use super::verdict::Verdict;
use bytes::Bytes;
use encode::Encoder;
use walk::{Encoding, Entity, Kind, Sink, Walker};

/// The longest line without its end (RFC 5321 §4.5.3.1.6).
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.6
pub(crate) const LINE_BYTES: usize = 998;

/// What of a message must not be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Nothing beyond ASCII is taken: the server does not offer 8BITMIME.
    pub seven_bit: bool,
}

/// What one part has.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Bytes beyond ASCII (or NUL) in its header, in its own text.
    eight_bit_header: bool,
    eight_bit: bool,
    /// Its own text has a line that is too long.
    long: bool,
    /// It may not be encoded: it is signed, encoded already, or nothing that can be.
    fixed: bool,
}

/// What a message has, part by part. Holds four bytes a part, of at most `limits::CONVERTED_PARTS`.
#[derive(Debug, Default)]
pub struct Survey {
    walker: Walker,
    noted: Noted,
}

#[derive(Debug, Default)]
struct Noted {
    parts: Vec<Facts>,
    /// The length of the line that has not ended.
    line_bytes: usize,
}

impl Survey {
    /// At the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece of it.
    pub fn push(&mut self, piece: &[u8]) {
        self.walker.push(piece, &mut self.noted);
    }

    /// The message is whole: what makes it fit, or why that cannot be.
    pub fn finish(mut self, wanted: Wanted) -> Result<Converter, Verdict> {
        self.walker.finish(&mut self.noted);
        if wanted.seven_bit && self.is_stuck() {
            //= https://www.rfc-editor.org/rfc/rfc6152#section-3
            return Err(Verdict::failed(
                "5.6.3",
                "the server does not take 8-bit messages, and this one cannot be converted: its header is not ASCII, or it is \
                 signed",
            ));
        }
        Ok(self.converter(wanted))
    }

    /// The message is whole: what makes it fit for every server, or, where that cannot be, for those with 8BITMIME.
    pub fn finish_as_far_as_possible(mut self) -> Converter {
        self.walker.finish(&mut self.noted);
        let seven_bit = !self.is_stuck();
        self.converter(Wanted { seven_bit })
    }

    /// Whether something beyond ASCII cannot be encoded.
    fn is_stuck(&self) -> bool {
        let is_stuck = |part: &Facts| part.eight_bit_header || part.eight_bit && part.fixed;
        self.walker.is_beyond_us() || self.noted.parts.iter().any(is_stuck)
    }

    fn converter(self, wanted: Wanted) -> Converter {
        let parts = self.noted.parts;
        Converter {
            walker: Walker::default(),
            writer: Writer {
                // What was not understood is left alone.
                as_it_is: self.walker.is_beyond_us(),
                seven_bit: wanted.seven_bit,
                is_eight_bit: parts.iter().any(|part| part.eight_bit || part.eight_bit_header),
                parts,
                encoder: Encoder::AsItIs,
                out: Vec::new(),
            },
        }
    }
}

impl Sink for Noted {
    fn header(&mut self, entity: &Entity, block: &[u8]) {
        self.parts.push(Facts {
            eight_bit_header: has_eight_bit(block),
            fixed: entity.frozen
                || !matches!(entity.encoding, Encoding::Identity)
                || matches!(entity.kind, Kind::Opaque),
            ..Facts::default()
        });
        self.line_bytes = 0;
    }

    fn text(&mut self, entity: &Entity, text: &[u8]) {
        self.line_bytes = self.line_bytes.saturating_add(text.len());
        if let Some(part) = self.parts.get_mut(entity.number) {
            part.eight_bit |= has_eight_bit(text);
            part.long |= self.line_bytes > LINE_BYTES;
        }
    }

    fn line_end(&mut self, _: &Entity) {
        self.line_bytes = 0;
    }

    fn end(&mut self, _: &Entity) {
        self.line_bytes = 0;
    }

    fn delimiter(&mut self, _: &[u8]) {}
}

fn has_eight_bit(bytes: &[u8]) -> bool {
    !bytes.is_ascii() || bytes.contains(&0)
}

/// Gives a message as it is sent, piece by piece.
#[derive(Debug)]
pub struct Converter {
    walker: Walker,
    writer: Writer,
}

#[derive(Debug)]
struct Writer {
    as_it_is: bool,
    seven_bit: bool,
    is_eight_bit: bool,
    parts: Vec<Facts>,
    encoder: Encoder,
    out: Vec<u8>,
}

impl Converter {
    /// The next piece of the message; gives what it becomes, which may be nothing yet.
    pub fn push(&mut self, piece: &[u8]) -> Bytes {
        if self.writer.as_it_is {
            return Bytes::copy_from_slice(piece);
        }
        self.walker.push(piece, &mut self.writer);
        std::mem::take(&mut self.writer.out).into()
    }

    /// The message is whole; gives the rest.
    pub fn finish(&mut self) -> Bytes {
        if !self.writer.as_it_is {
            self.walker.finish(&mut self.writer);
        }
        std::mem::take(&mut self.writer.out).into()
    }

    /// Begins again, at the start of the same message.
    pub fn rewind(&mut self) {
        self.walker = Walker::default();
        self.writer.encoder = Encoder::AsItIs;
    }

    /// Whether it was made to give nothing beyond ASCII.
    pub fn is_seven_bit(&self) -> bool {
        self.writer.seven_bit
    }

    /// Whether what it gives has bytes beyond ASCII.
    pub fn is_eight_bit(&self) -> bool {
        self.writer.is_eight_bit && !self.writer.seven_bit
    }
}

impl Writer {
    /// How a part's text is written.
    fn encoder(&self, entity: &Entity) -> Encoder {
        let facts = self.parts.get(entity.number).copied().unwrap_or_default();
        let must = self.seven_bit && facts.eight_bit || facts.long;
        match (&entity.kind, &entity.encoding) {
            _ if !must || entity.frozen => Encoder::AsItIs,
            (Kind::Leaf { text: true }, Encoding::Identity) => Encoder::quoted_printable(),
            (Kind::Leaf { text: false }, Encoding::Identity) => Encoder::base64(),
            (Kind::Leaf { .. }, Encoding::QuotedPrintable) => Encoder::soft_breaks(),
            (Kind::Leaf { .. }, Encoding::Base64) => Encoder::hard_breaks(),
            // Nobody reads what stands between parts.
            (Kind::Multipart | Kind::Message, _) => Encoder::filler(),
            (Kind::Leaf { .. }, Encoding::Other) | (Kind::Opaque, _) => Encoder::AsItIs,
        }
    }
}

impl Sink for Writer {
    fn header(&mut self, entity: &Entity, block: &[u8]) {
        let facts = self.parts.get(entity.number).copied().unwrap_or_default();
        self.encoder = self.encoder(entity);
        let is_container = matches!(entity.kind, Kind::Multipart | Kind::Message);
        let encoding = match &self.encoder {
            Encoder::QuotedPrintable { .. } => Some("quoted-printable"),
            Encoder::Base64 { .. } => Some("base64"),
            // Its parts have none of it any more.
            //= https://www.rfc-editor.org/rfc/rfc2045#section-6.4
            _ if is_container && self.seven_bit && entity.says_eight_bit => Some("7bit"),
            _ => None,
        };
        let (fields, blank) = walk::split_blank(block);
        for field in walk::fields(fields) {
            if encoding.is_none() || !walk::is_named(field, b"content-transfer-encoding") {
                match entity.frozen {
                    true => self.out.extend_from_slice(field),
                    false => fold(field, &mut self.out),
                }
            }
        }
        if let Some(encoding) = encoding {
            if entity.is_top && !entity.has_mime_version {
                self.out.extend_from_slice(b"MIME-Version: 1.0\r\n");
            }
            if !entity.has_type && facts.eight_bit {
                //= https://www.rfc-editor.org/rfc/rfc1428#section-3
                self.out
                    .extend_from_slice(b"Content-Type: text/plain; charset=unknown-8bit\r\n");
            }
            let field = format!("Content-Transfer-Encoding: {encoding}\r\n");
            self.out.extend_from_slice(field.as_bytes());
        }
        self.out.extend_from_slice(blank);
    }

    fn text(&mut self, _: &Entity, text: &[u8]) {
        self.encoder.text(text, &mut self.out);
    }

    fn line_end(&mut self, _: &Entity) {
        self.encoder.line_end(&mut self.out);
    }

    fn end(&mut self, next: &Entity) {
        self.encoder.end(&mut self.out);
        self.encoder = self.encoder(next);
    }

    fn delimiter(&mut self, line: &[u8]) {
        self.out.extend_from_slice(line);
    }
}

/// Writes a header field in lines that are short enough. At white space where there is any; where there is none, anywhere,
/// as other servers do.
fn fold(field: &[u8], out: &mut Vec<u8>) {
    for line in field.split_inclusive(|b| *b == b'\n') {
        let (mut rest, end) = walk::split_line_end(line);
        let mut room = LINE_BYTES;
        while rest.len() > room {
            let is_space = |b: &u8| matches!(b, b' ' | b'\t');
            // White space at the very beginning makes no shorter line, and a line of nothing else would end the header for
            // some.
            let at = rest[1..room].iter().rposition(is_space).map(|at| at + 1);
            let at = at.filter(|at| !rest[..*at].iter().all(is_space));
            let (line, behind) = rest.split_at(at.unwrap_or(room));
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
            rest = behind;
            room = LINE_BYTES;
            if at.is_none() {
                out.push(b' ');
                room -= 1;
            }
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(end);
    }
}

#[cfg(test)]
mod tests;
