//! ENVELOPE, BODYSTRUCTURE and the references as bytes of a stored record.
//!
//! One byte of format (1), then the members in their order. Numbers are LEB128; a text is its length and its bytes; an
//! optional one has its length plus one, zero for none; a list is its count and its elements. Positions are kept as
//! distances from the one before. Another format than 1, or bytes that do not fit, decode to nothing.

use ringpost_imap::structure::{Address, Content, Disposition, Envelope, Part};

const FORMAT: u8 = 1;

pub(crate) fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    let mut out = Writer(vec![FORMAT]);
    out.envelope(envelope);
    out.0
}

pub(crate) fn decode_envelope<'a, S: From<&'a str>>(bytes: &'a [u8]) -> Option<Envelope<S>> {
    let mut reader = Reader::open(bytes)?;
    let envelope = reader.envelope()?;
    reader.0.is_empty().then_some(envelope)
}

/// What is kept of a message beside its envelope: the message IDs of its References field.
pub(crate) fn encode_index(references: &[u64]) -> Vec<u8> {
    let mut out = Writer(vec![FORMAT]);
    out.list(references, |out, id| out.0.extend_from_slice(&id.to_be_bytes()));
    out.0
}

/// Nothing for a message that was delivered before anything of the kind was kept.
pub(crate) fn decode_index(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut reader = Reader::open(bytes)?;
    let references = reader.list(|r| {
        let (id, rest) = r.0.split_first_chunk()?;
        r.0 = rest;
        Some(u64::from_be_bytes(*id))
    })?;
    reader.0.is_empty().then_some(references)
}

pub(crate) fn encode_part(part: &Part) -> Vec<u8> {
    let mut out = Writer(vec![FORMAT]);
    out.part(part, 0);
    out.0
}

pub(crate) fn decode_part(bytes: &[u8]) -> Option<Part> {
    let mut reader = Reader::open(bytes)?;
    let part = reader.part(0, 0)?;
    reader.0.is_empty().then_some(part)
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn option(&mut self, text: Option<&str>) {
        match text {
            None => self.number(0),
            Some(text) => {
                self.number(text.len() as u64 + 1);
                self.0.extend_from_slice(text.as_bytes());
            }
        }
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| each(self, item));
    }

    fn parameters(&mut self, parameters: &[(String, String)]) {
        self.list(parameters, |out, (name, value)| {
            out.text(name);
            out.text(value);
        });
    }

    fn envelope(&mut self, e: &Envelope) {
        for text in [&e.date, &e.subject, &e.in_reply_to, &e.message_id] {
            self.option(text.as_deref());
        }
        for list in [&e.from, &e.sender, &e.reply_to, &e.to, &e.cc, &e.bcc] {
            self.list(list, |out, address| match address {
                Address::Mailbox { name, local, domain } => {
                    out.0.push(0);
                    out.option(name.as_deref());
                    out.text(local);
                    out.text(domain);
                }
                Address::GroupStart(name) => {
                    out.0.push(1);
                    out.text(name);
                }
                Address::GroupEnd => out.0.push(2),
            });
        }
    }

    fn part(&mut self, part: &Part, base: u64) {
        self.number(part.header.start.saturating_sub(base));
        self.number(part.header.end - part.header.start);
        self.number(part.body.end - part.body.start);
        self.number(part.lines);
        self.parameters(&part.parameters);
        for text in [&part.id, &part.description, &part.md5, &part.location] {
            self.option(text.as_deref());
        }
        self.text(&part.encoding);
        self.option(part.disposition.as_ref().map(|d| d.kind.as_str()));
        if let Some(disposition) = &part.disposition {
            self.parameters(&disposition.parameters);
        }
        self.list(&part.language, |out, tag| out.text(tag));
        match &part.content {
            Content::Single { kind, subtype } => {
                self.0.push(0);
                self.text(kind);
                self.text(subtype);
            }
            Content::Multipart { subtype, parts } => {
                self.0.push(1);
                self.text(subtype);
                self.list(parts, |out, inner| out.part(inner, part.body.start));
            }
            Content::Message { envelope, message } => {
                self.0.push(2);
                self.envelope(envelope);
                self.part(message, part.body.start);
            }
        }
    }
}

/// Deeper than any part that delivery describes.
const MAX_DEPTH: u32 = 64;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(&[FORMAT]).map(Reader)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn bytes<S: From<&'a str>>(&mut self, len: u64) -> Option<S> {
        let (text, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(S::from)
    }

    fn text<S: From<&'a str>>(&mut self) -> Option<S> {
        let len = self.number()?;
        self.bytes(len)
    }

    fn option<S: From<&'a str>>(&mut self) -> Option<Option<S>> {
        match self.number()? {
            0 => Some(None),
            len => self.bytes(len - 1).map(Some),
        }
    }

    /// The list's count is not trusted with memory: it grows as elements are found.
    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut out = Vec::new();
        for _ in 0..self.number()? {
            out.push(each(self)?);
        }
        Some(out)
    }

    fn parameters(&mut self) -> Option<Vec<(String, String)>> {
        self.list(|r| Some((r.text()?, r.text()?)))
    }

    fn addresses<S: From<&'a str>>(&mut self) -> Option<Vec<Address<S>>> {
        self.list(|r| match r.byte()? {
            0 => Some(Address::Mailbox {
                name: r.option()?,
                local: r.text()?,
                domain: r.text()?,
            }),
            1 => r.text().map(Address::GroupStart),
            2 => Some(Address::GroupEnd),
            _ => None,
        })
    }

    fn envelope<S: From<&'a str>>(&mut self) -> Option<Envelope<S>> {
        let (date, subject) = (self.option()?, self.option()?);
        let (in_reply_to, message_id) = (self.option()?, self.option()?);
        Some(Envelope {
            date,
            subject,
            in_reply_to,
            message_id,
            from: self.addresses()?,
            sender: self.addresses()?,
            reply_to: self.addresses()?,
            to: self.addresses()?,
            cc: self.addresses()?,
            bcc: self.addresses()?,
        })
    }

    fn part(&mut self, base: u64, depth: u32) -> Option<Part> {
        if depth > MAX_DEPTH {
            return None;
        }
        let header_start = base.checked_add(self.number()?)?;
        let body_start = header_start.checked_add(self.number()?)?;
        let body_end = body_start.checked_add(self.number()?)?;
        let lines = self.number()?;
        let parameters = self.parameters()?;
        let (id, description) = (self.option()?, self.option()?);
        let (md5, location) = (self.option()?, self.option()?);
        let encoding = self.text()?;
        let disposition = match self.option()? {
            Some(kind) => Some(Disposition {
                kind,
                parameters: self.parameters()?,
            }),
            None => None,
        };
        let language = self.list(Reader::text)?;
        let content = match self.byte()? {
            0 => Content::Single {
                kind: self.text()?,
                subtype: self.text()?,
            },
            1 => Content::Multipart {
                subtype: self.text()?,
                parts: self.list(|r| r.part(body_start, depth + 1))?,
            },
            2 => Content::Message {
                envelope: Box::new(self.envelope()?),
                message: Box::new(self.part(body_start, depth + 1)?),
            },
            _ => return None,
        };
        Some(Part {
            header: header_start..body_start,
            body: body_start..body_end,
            lines,
            parameters,
            id,
            description,
            encoding,
            md5,
            disposition,
            language,
            location,
            content,
        })
    }
}
