//! Which bytes of a stored message a section of FETCH denotes (RFC 3501 §6.4.5).

use crate::binary::{Decoder, Encoding};
use crate::structure::{Content, Part};
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;

/// What stands between the brackets of `BODY[…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The part, counted from 1 at each level; empty for the message itself.
    pub part: Vec<u32>,
    /// What of it; `None` for all of it.
    pub text: Option<SectionText>,
}

/// What of a part or message is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// The header of a message.
    Header,
    /// Some fields of the header of a message.
    Fields(FieldFilter),
    /// A message without its header.
    Text,
    /// The MIME header of a part.
    Mime,
}

/// `HEADER.FIELDS` and `HEADER.FIELDS.NOT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFilter {
    /// Whether the named fields are those left out.
    pub not: bool,
    /// Names of fields, as the client spells them.
    pub names: Vec<Box<str>>,
}

/// `<offset.length>` after a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The first byte wanted.
    pub offset: u64,
    /// How many at most; not zero.
    pub length: u64,
}

impl Partial {
    /// What is wanted of `range`: empty when it begins past the end.
    pub fn of(self, range: Range<u64>) -> Range<u64> {
        let start = range.start.saturating_add(self.offset).min(range.end);
        start..start.saturating_add(self.length).min(range.end)
    }
}

impl Section {
    /// The bytes denoted, before any [`FieldFilter`]; `None` when the message has no such part, or the part has no such
    /// thing (only messages have a header and a text).
    pub fn range(&self, message: &Part) -> Option<Range<u64>> {
        if self.part.is_empty() {
            return match &self.text {
                None => Some(message.header.start..message.body.end),
                Some(SectionText::Header | SectionText::Fields(_)) => Some(message.header.clone()),
                Some(SectionText::Text) => Some(message.body.clone()),
                Some(SectionText::Mime) => None,
            };
        }
        let part = find(message, &self.part)?;
        match (&self.text, &part.content) {
            (None, _) => Some(part.body.clone()),
            (Some(SectionText::Mime), _) => Some(part.header.clone()),
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.5
            // HEADER and TEXT of a part are those of the message in a message/rfc822, not the MIME part's own.
            (Some(SectionText::Header | SectionText::Fields(_)), Content::Message { message, .. }) => {
                Some(message.header.clone())
            }
            (Some(SectionText::Text), Content::Message { message, .. }) => Some(message.body.clone()),
            _ => None,
        }
    }
}

/// The part of `message` at `path`.
pub(crate) fn find<'a>(message: &'a Part, path: &[u32]) -> Option<&'a Part> {
    // What the next number counts in: a message that is no multipart has its body as part 1.
    let mut within = message;
    let mut found = None;
    for number in path {
        if let Some(part) = found {
            within = enter(part)?;
        }
        found = Some(match &within.content {
            Content::Multipart { parts, .. } => parts.get(usize::try_from(*number).ok()?.checked_sub(1)?)?,
            _ if *number == 1 => within,
            _ => return None,
        });
    }
    found
}

/// What the parts of `part` are counted in.
fn enter(part: &Part) -> Option<&Part> {
    match &part.content {
        Content::Message { message, .. } => Some(message),
        Content::Multipart { .. } => Some(part),
        Content::Single { .. } => None,
    }
}

/// What is done to bytes read from a stored message before they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Nothing: the bytes are sent as they are, and are as many as was announced.
    None,
    /// The bytes are a header; the fields chosen are sent, as a literal of their own size.
    Fields(FieldFilter, Option<Partial>),
    /// The bytes are encoded; what they decode to is sent, as a literal of its own size (RFC 3516). They are needed twice:
    /// [`DecodedSize`] first says how long it is.
    Decode(Encoding, Option<Partial>),
    /// As before, but only how many bytes they decode to is sent, as a number.
    DecodedSize(Encoding),
}

/// How long something is once it is decoded, found out while it streams by.
#[derive(Clone, Debug)]
pub struct DecodedSize {
    decoder: Decoder,
    scratch: BytesMut,
    size_bytes: u64,
    has_nul: bool,
}

impl DecodedSize {
    /// Of nothing yet.
    pub fn new(encoding: Encoding, partial: Option<Partial>) -> Self {
        DecodedSize {
            decoder: Decoder::new(encoding, partial),
            scratch: BytesMut::new(),
            size_bytes: 0,
            has_nul: false,
        }
    }

    /// Takes the next bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes, &mut self.scratch);
        self.count();
    }

    fn count(&mut self) {
        self.size_bytes += self.scratch.len() as u64;
        self.has_nul |= self.scratch.contains(&0);
        self.scratch.clear();
    }

    /// What announces the literal, once all has been taken in.
    //= https://www.rfc-editor.org/rfc/rfc3516#section-4.3
    pub fn literal(mut self) -> String {
        self.decoder.finish(&mut self.scratch);
        self.count();
        let tilde = if self.has_nul { "~" } else { "" };
        format!("{tilde}{{{}}}\r\n", self.size_bytes)
    }

    /// The size, once all has been taken in.
    pub fn number(mut self) -> String {
        self.decoder.finish(&mut self.scratch);
        self.count();
        self.size_bytes.to_string()
    }
}

impl Transform {
    /// What to send for `header`, all bytes of the range.
    pub fn apply(&self, header: Bytes) -> Bytes {
        match self {
            Transform::None => header,
            Transform::Decode(encoding, partial) => {
                let mut size = DecodedSize::new(*encoding, *partial);
                size.push(&header);
                let mut out = BytesMut::from(size.literal().as_bytes());
                let mut decoder = Decoder::new(*encoding, *partial);
                decoder.push(&header, &mut out);
                decoder.finish(&mut out);
                out.freeze()
            }
            Transform::DecodedSize(encoding) => {
                let mut size = DecodedSize::new(*encoding, None);
                size.push(&header);
                size.number().into()
            }
            Transform::Fields(filter, partial) => {
                let chosen = filter.apply(&header);
                let range = 0..chosen.len() as u64;
                let wanted = partial.map_or(range.clone(), |p| p.of(range));
                let wanted = &chosen[wanted.start as usize..wanted.end as usize];
                let mut out = BytesMut::with_capacity(wanted.len() + 16);
                out.put_slice(format!("{{{}}}\r\n", wanted.len()).as_bytes());
                out.put_slice(wanted);
                out.freeze()
            }
        }
    }
}

impl FieldFilter {
    /// The fields of `header` that are chosen, each whole with its folds, in the header's order, and the empty line.
    pub fn apply(&self, header: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut keep = false;
        for line in header.split_inclusive(|b| *b == b'\n') {
            if line == b"\r\n" || line == b"\n" {
                break;
            }
            if !matches!(line.first(), Some(b' ' | b'\t')) {
                let name = line
                    .split(|b| *b == b':')
                    .next()
                    .unwrap_or_default()
                    .trim_ascii_end();
                keep = self.names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name)) != self.not;
            }
            if keep {
                out.extend_from_slice(line);
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.5
        // The empty line is part of every header fetch, also when no field was chosen.
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(not: bool, names: &[&str]) -> FieldFilter {
        FieldFilter {
            not,
            names: names.iter().map(|n| (*n).into()).collect(),
        }
    }

    #[test]
    fn fields_are_chosen_whole_with_their_folds() {
        let header = b"To: a\r\nSubject: x\r\n folded\r\nto : b\r\nX: y\r\n\r\n";
        assert_eq!(filter(false, &["TO"]).apply(header), b"To: a\r\nto : b\r\n\r\n");
        assert_eq!(
            filter(true, &["to", "x"]).apply(header),
            b"Subject: x\r\n folded\r\n\r\n"
        );
        assert_eq!(filter(false, &["Nothing"]).apply(header), b"\r\n");
        assert_eq!(filter(false, &["X"]).apply(b"X: cut off"), b"X: cut off\r\n\r\n");
        assert_eq!(filter(true, &[]).apply(b""), b"\r\n");
    }

    #[test]
    fn a_filtered_header_is_its_own_literal() {
        let header = Bytes::from_static(b"A: 1\r\nB: 2\r\n\r\n");
        let transform = |partial| Transform::Fields(filter(false, &["b"]), partial).apply(header.clone());
        assert_eq!(transform(None), "{8}\r\nB: 2\r\n\r\n");
        assert_eq!(transform(Some(Partial { offset: 3, length: 1 })), "{1}\r\n2");
        assert_eq!(transform(Some(Partial { offset: 9, length: 1 })), "{0}\r\n");
        assert_eq!(Transform::None.apply(header.clone()), header);
    }

    #[test]
    fn part_one_of_a_message_without_parts_is_its_body() {
        let text = Part::single(0..10, 10..30, 2, "text", "plain");
        let range = |part: &[u32], of| {
            Section {
                part: part.to_vec(),
                text: of,
            }
            .range(&text)
        };
        assert_eq!(range(&[], None), Some(0..30));
        assert_eq!(range(&[1], None), Some(10..30));
        assert_eq!(range(&[1], Some(SectionText::Mime)), Some(0..10));
        assert_eq!(range(&[1], Some(SectionText::Text)), None);
        assert_eq!(range(&[1, 1], None), None);
        assert_eq!(range(&[2], None), None);
        assert_eq!(range(&[u32::MAX], None), None);
    }

    fn multipart(subtype: &str, header: Range<u64>, body: Range<u64>, parts: Vec<Part>) -> Part {
        let mut part = Part::single(header, body, 0, "multipart", subtype);
        part.content = Content::Multipart {
            subtype: subtype.into(),
            parts,
        };
        part
    }

    fn message(header: Range<u64>, body: Range<u64>, message: Part) -> Part {
        let mut part = Part::single(header, body, 0, "message", "rfc822");
        part.content = Content::Message {
            envelope: Box::default(),
            message: Box::new(message),
        };
        part
    }

    /// The message of RFC 3501 §6.4.5: a text, a picture, a message of two parts, and a multipart of a picture and
    /// a message with an alternative in it. Headers are five bytes long.
    fn the_rfcs_own_message() -> Part {
        let leaf = |at: u64| Part::single(at..at + 5, at + 5..at + 15, 1, "text", "plain");
        let third = multipart("mixed", 55..60, 60..100, vec![leaf(60), leaf(80)]);
        let alternative = multipart("alternative", 170..175, 175..215, vec![leaf(175), leaf(195)]);
        let inner = multipart("mixed", 145..150, 150..220, vec![leaf(150), alternative]);
        let fourth = vec![leaf(115), message(140..145, 145..220, inner)];
        let parts = vec![
            leaf(10),
            leaf(30),
            message(50..55, 55..100, third),
            multipart("mixed", 105..110, 110..230, fourth),
        ];
        multipart("mixed", 0..5, 5..240, parts)
    }

    #[test]
    fn the_rfcs_own_part_numbers() {
        let whole = the_rfcs_own_message();
        let text = |of: &str| match of {
            "HEADER" => Some(SectionText::Header),
            "TEXT" => Some(SectionText::Text),
            "MIME" => Some(SectionText::Mime),
            _ => None,
        };
        for (name, range) in [
            ("", 0..240),
            ("HEADER", 0..5),
            ("TEXT", 5..240),
            ("1", 15..25),
            ("2", 35..45),
            ("3", 55..100),
            ("3.HEADER", 55..60),
            ("3.TEXT", 60..100),
            ("3.1", 65..75),
            ("3.2", 85..95),
            ("4", 110..230),
            ("4.1", 120..130),
            ("4.1.MIME", 115..120),
            ("4.2", 145..220),
            ("4.2.HEADER", 145..150),
            ("4.2.TEXT", 150..220),
            ("4.2.1", 155..165),
            ("4.2.2", 175..215),
            ("4.2.2.1", 180..190),
            ("4.2.2.2", 200..210),
        ] {
            let words: Vec<&str> = name.split('.').collect();
            let part = words.iter().filter_map(|w| w.parse().ok()).collect();
            let section = Section {
                part,
                text: words.last().and_then(|w| text(w)),
            };
            assert_eq!(section.range(&whole), Some(range), "{name}");
        }
    }
}
