//! What ENVELOPE and BODYSTRUCTURE tell of a message, as delivery has parsed it once (RFC 3501 §7.4.2).

use crate::respond::Wire;
use bytes::BytesMut;
use std::ops::Range;

/// The header fields that ENVELOPE shows. A text is the field's value unfolded, with encoded words (RFC 2047) as they
/// are; raw 8-bit is decoded, and encoded again when it is shown. `None` is a field that is not there, or nothing. Its texts
/// are of type `S`: its own, or borrowed from where it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<S = String> {
    /// The Date field as it is written.
    pub date: Option<S>,
    /// Subject.
    pub subject: Option<S>,
    /// From.
    pub from: Vec<Address<S>>,
    /// Sender; when empty the author is shown in its place.
    pub sender: Vec<Address<S>>,
    /// Reply-To; when empty the author is shown in its place.
    pub reply_to: Vec<Address<S>>,
    /// To.
    pub to: Vec<Address<S>>,
    /// Cc.
    pub cc: Vec<Address<S>>,
    /// Bcc.
    pub bcc: Vec<Address<S>>,
    /// In-Reply-To as it is written, with its angle brackets.
    pub in_reply_to: Option<S>,
    /// Message-ID with its angle brackets.
    pub message_id: Option<S>,
}

impl<S> Default for Envelope<S> {
    fn default() -> Self {
        Envelope {
            date: None,
            subject: None,
            from: Vec::new(),
            sender: Vec::new(),
            reply_to: Vec::new(),
            to: Vec::new(),
            cc: Vec::new(),
            bcc: Vec::new(),
            in_reply_to: None,
            message_id: None,
        }
    }
}

/// How texts are written to a client (RFC 6855 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// In ASCII, with encoded words.
    Ascii,
    /// In UTF-8, to who takes that.
    Utf8,
}

impl<S: AsRef<str>> Envelope<S> {
    /// Appends the value of ENVELOPE, as FETCH sends it.
    pub fn write(&self, spelling: Spelling, out: &mut BytesMut) {
        let mut wire = Wire {
            bytes: std::mem::take(out),
            utf8: spelling == Spelling::Utf8,
            rev2: false,
        };
        wire.envelope(self);
        *out = wire.bytes;
    }
}

/// What a text takes in memory beside the place where it is named, about: allocators round up.
fn text_bytes(text: &str) -> usize {
    if text.is_empty() { 0 } else { text.len() + 16 }
}

fn texts_bytes<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| text_bytes(text)).sum()
}

fn parameters_bytes(parameters: &[(String, String)]) -> usize {
    let texts = |(name, value): &(String, String)| text_bytes(name) + text_bytes(value);
    size_of_val(parameters) + parameters.iter().map(texts).sum::<usize>()
}

impl Envelope {
    /// What it takes in memory, in bytes, about.
    pub fn held_bytes(&self) -> usize {
        let texts = [&self.date, &self.subject, &self.in_reply_to, &self.message_id];
        let lists = [
            &self.from,
            &self.sender,
            &self.reply_to,
            &self.to,
            &self.cc,
            &self.bcc,
        ];
        let addresses = |list: &&Vec<Address>| {
            size_of_val(&list[..]) + list.iter().map(Address::texts_bytes).sum::<usize>()
        };
        size_of::<Envelope>()
            + texts_bytes(texts.into_iter().flatten())
            + lists.iter().map(addresses).sum::<usize>()
    }
}

/// An element of an address list. A group is its start, its members, and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address<S = String> {
    /// Somebody.
    Mailbox {
        /// The display name, encoded words as they are.
        name: Option<S>,
        /// The local part, without quotes.
        local: S,
        /// The domain; empty for an address without one.
        domain: S,
    },
    /// `name:` of a group.
    GroupStart(S),
    /// `;`
    GroupEnd,
}

impl Address {
    fn texts_bytes(&self) -> usize {
        match self {
            Address::Mailbox { name, local, domain } => texts_bytes(name.iter().chain([local, domain])),
            Address::GroupStart(name) => text_bytes(name),
            Address::GroupEnd => 0,
        }
    }
}

/// A MIME part: the whole message at the top, and what is in it below. All positions count bytes from the start of the
/// stored message.
///
/// For every part `header.end == body.start`; a nested part's ranges lie within its parent's body. The empty line that
/// ends a header belongs to the header; the line end before a boundary belongs to the boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The header that introduces the part, with its empty line: for the top the message's header, otherwise the part's
    /// MIME header.
    pub header: Range<u64>,
    /// What the header introduces, as it is transferred.
    pub body: Range<u64>,
    /// Lines of the body: line ends, and one more for a last line without an end.
    pub lines: u64,
    /// The type's parameters, in order, RFC 2231 continuations and charsets undone.
    pub parameters: Vec<(String, String)>,
    /// Content-ID with its angle brackets.
    pub id: Option<String>,
    /// Content-Description, encoded words as they are.
    pub description: Option<String>,
    /// Content-Transfer-Encoding; `7BIT` when there is none.
    pub encoding: String,
    /// Content-MD5.
    pub md5: Option<String>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// Content-Language.
    pub language: Vec<String>,
    /// Content-Location.
    pub location: Option<String>,
    /// What is in the body.
    pub content: Content,
}

/// The body of a [`Part`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing that is looked into. Also a multipart without a part, and what lies below the limits of nesting and number.
    Single {
        /// The type, as `TEXT`.
        kind: String,
        /// The subtype, as `PLAIN`.
        subtype: String,
    },
    /// `multipart/…` with at least one part.
    Multipart {
        /// The subtype, as `MIXED`.
        subtype: String,
        /// The parts, in order.
        parts: Vec<Part>,
    },
    /// `message/rfc822` with the message in it.
    Message {
        /// The envelope of the message in it.
        envelope: Box<Envelope>,
        /// The message in it: its header is the inner message's.
        message: Box<Part>,
    },
}

/// Content-Disposition (RFC 2183).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// `attachment`, `inline`, …
    pub kind: String,
    /// Its parameters, in order, RFC 2231 continuations and charsets undone.
    pub parameters: Vec<(String, String)>,
}

impl Part {
    /// A part with this type and nothing special about it.
    pub fn single(header: Range<u64>, body: Range<u64>, lines: u64, kind: &str, subtype: &str) -> Part {
        Part {
            header,
            body,
            lines,
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: "7BIT".into(),
            md5: None,
            disposition: None,
            language: Vec::new(),
            location: None,
            content: Content::Single {
                kind: kind.into(),
                subtype: subtype.into(),
            },
        }
    }

    /// Bytes of the body.
    pub fn size_bytes(&self) -> u64 {
        self.body.end.saturating_sub(self.body.start)
    }

    /// What it takes in memory with the parts in it, in bytes, about.
    pub fn held_bytes(&self) -> usize {
        let texts = [&self.id, &self.description, &self.md5, &self.location];
        let disposition = self.disposition.as_ref().map_or(0, |disposition| {
            text_bytes(&disposition.kind) + parameters_bytes(&disposition.parameters)
        });
        let content = match &self.content {
            Content::Single { kind, subtype } => texts_bytes([kind, subtype]),
            Content::Multipart { subtype, parts } => {
                text_bytes(subtype) + parts.iter().map(Part::held_bytes).sum::<usize>()
            }
            Content::Message { envelope, message } => envelope.held_bytes() + message.held_bytes(),
        };
        size_of::<Part>()
            + texts_bytes(texts.into_iter().flatten().chain([&self.encoding]))
            + parameters_bytes(&self.parameters)
            + size_of_val(&self.language[..])
            + texts_bytes(&self.language)
            + disposition
            + content
    }
}
