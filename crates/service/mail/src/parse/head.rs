//! What the header of a message or part says about it.

use super::address::addresses;
use super::field::fields;
use super::parameter::Parameterized;
use ringpost_base::limits;
use ringpost_imap::structure::{Address, Content, Disposition, Envelope, Part};
use ringpost_imap::thread::{id_of, message_ids};
use ringpost_store::records::MessageKind;
use std::ops::Range;

/// How much of a message is still described, of what costs more to describe than to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    addresses: usize,
    /// Language tags included.
    parameters: usize,
}

impl Room {
    /// For a whole message with all its parts.
    pub(crate) fn new() -> Self {
        Room {
            addresses: limits::MESSAGE_ADDRESSES,
            parameters: limits::MESSAGE_PARAMETERS,
        }
    }
}

/// The fields of one header that ENVELOPE, BODYSTRUCTURE and delivery look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The type, in capitals.
    pub(crate) kind: String,
    /// The subtype, in capitals.
    pub(crate) subtype: String,
    parameters: Vec<(String, String)>,
    encoding: Option<String>,
    id: Option<String>,
    description: Option<String>,
    md5: Option<String>,
    disposition: Option<Disposition>,
    language: Vec<String>,
    location: Option<String>,
    /// Whether it is a message's header.
    is_message: bool,
    pub(crate) envelope: Envelope,
    pub(crate) context: MessageKind,
    /// The message IDs of the References field.
    pub(crate) references: Vec<u64>,
    /// Received fields.
    pub(crate) hops: usize,
    /// What Delivered-To fields say, by which a forward sees that it goes round in circles; so many as Received fields may be.
    pub(crate) delivered_to: Vec<String>,
}

/// The message IDs in a References field: the first, and the last of the others, as many as are kept.
pub(crate) fn references_of(value: &str) -> Vec<u64> {
    let mut all: Vec<u64> = message_ids(value).map(|id| id_of(&id)).collect();
    if all.len() > limits::MESSAGE_REFERENCES {
        all.drain(1..=all.len() - limits::MESSAGE_REFERENCES);
    }
    all
}

impl Head {
    /// Of a message.
    pub(crate) fn message() -> Self {
        let mut head = Head::part(false);
        head.is_message = true;
        head
    }

    /// Of a part, in a digest or in another multipart.
    pub(crate) fn part(digest: bool) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc2045#section-5.2
        //= https://www.rfc-editor.org/rfc/rfc2046#section-5.1.5
        let (kind, subtype) = if digest {
            ("MESSAGE", "RFC822")
        } else {
            ("TEXT", "PLAIN")
        };
        let parameters = match digest {
            true => Vec::new(),
            false => vec![("CHARSET".to_owned(), "US-ASCII".to_owned())],
        };
        Head {
            kind: kind.to_owned(),
            subtype: subtype.to_owned(),
            parameters,
            ..Head::default()
        }
    }

    /// Takes in the fields. Of one that may stand once and does not, the first counts. Of addresses, parameters and language
    /// tags it takes in what there is room for, and leaves the rest of the room to the next.
    pub(crate) fn read(&mut self, header: &[u8], room: &mut Room) {
        let mut has_type = false;
        for field in fields(header) {
            let once = |slot: &mut Option<String>| {
                if slot.is_none() {
                    *slot = Some(field.value()).filter(|v| !v.is_empty());
                }
            };
            if field.is("Content-Type") {
                if !has_type {
                    has_type = true;
                    self.content_type(&field.value(), &mut room.parameters);
                }
            } else if field.is("Content-Transfer-Encoding") {
                if self.encoding.is_none() {
                    let encoding = Parameterized::parse(&field.value(), 0).value.to_ascii_uppercase();
                    self.encoding = Some(encoding).filter(|e| !e.is_empty());
                }
            } else if field.is("Content-ID") {
                once(&mut self.id);
            } else if field.is("Content-Description") {
                once(&mut self.description);
            } else if field.is("Content-MD5") {
                once(&mut self.md5);
            } else if field.is("Content-Location") {
                once(&mut self.location);
            } else if field.is("Content-Language") {
                let value = field.value();
                let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                let before = self.language.len();
                self.language
                    .extend(tags.take(room.parameters).map(str::to_owned));
                room.parameters -= self.language.len() - before;
            } else if field.is("Content-Disposition") {
                if self.disposition.is_none() {
                    let Parameterized { value, parameters } =
                        Parameterized::parse(&field.value(), room.parameters);
                    room.parameters -= parameters.len();
                    self.disposition = (!value.is_empty()).then_some(Disposition {
                        kind: value,
                        parameters,
                    });
                }
            } else if self.is_message {
                self.message_field(field.name, || field.value(), &mut room.addresses);
            }
        }
    }

    fn content_type(&mut self, value: &str, room: &mut usize) {
        let parsed = Parameterized::parse(value, *room);
        let Some((kind, subtype)) = parsed.value.split_once('/') else {
            return;
        };
        let (kind, subtype) = (kind.trim(), subtype.trim());
        let is_token = |t: &str| {
            !t.is_empty()
                && t.bytes()
                    .all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
        };
        // What is no type at all is treated as text.
        if is_token(kind) && is_token(subtype) {
            self.kind = kind.to_ascii_uppercase();
            self.subtype = subtype.to_ascii_uppercase();
            *room -= parsed.parameters.len();
            self.parameters = parsed.parameters;
        }
    }

    fn message_field(&mut self, name: &str, value: impl Fn() -> String, room: &mut usize) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let envelope = &mut self.envelope;
        let once = |slot: &mut Option<String>| {
            //= https://www.rfc-editor.org/rfc/rfc3501#section-7.4.2
            // A field that is there and says nothing is "" in the envelope, not NIL.
            slot.get_or_insert_with(&value);
        };
        let mut extend = |list: &mut Vec<Address>| {
            let more = addresses(&value(), *room);
            *room = room.saturating_sub(more.len());
            list.extend(more);
        };
        if is("Date") {
            once(&mut envelope.date);
        } else if is("Subject") {
            once(&mut envelope.subject);
        } else if is("Message-ID") {
            once(&mut envelope.message_id);
        } else if is("In-Reply-To") {
            once(&mut envelope.in_reply_to);
        } else if is("From") {
            extend(&mut envelope.from);
        } else if is("Sender") {
            extend(&mut envelope.sender);
        } else if is("Reply-To") {
            extend(&mut envelope.reply_to);
        } else if is("To") {
            extend(&mut envelope.to);
        } else if is("Cc") {
            extend(&mut envelope.cc);
        } else if is("Bcc") {
            extend(&mut envelope.bcc);
        } else if is("References") {
            if self.references.is_empty() {
                self.references = references_of(&value());
            }
        } else if is("Received") {
            self.hops += 1;
        } else if is("Delivered-To") {
            if self.delivered_to.len() < limits::MAIL_HOPS {
                self.delivered_to.push(value());
            }
        } else if is("Message-Context") {
            //= https://www.rfc-editor.org/rfc/rfc3458#section-3
            let value = value();
            let context = value.split(['(', ' ', '\t']).next().unwrap_or_default();
            self.context = if context.eq_ignore_ascii_case("voice-message") {
                MessageKind::Voice
            } else if context.eq_ignore_ascii_case("text-message") {
                MessageKind::Text
            } else {
                MessageKind::Mail
            };
        }
    }

    /// The boundary of a multipart.
    pub(crate) fn boundary(&self) -> Option<Vec<u8>> {
        if self.kind != "MULTIPART" {
            return None;
        }
        let boundary = self
            .parameters
            .iter()
            .find(|(name, _)| name == "BOUNDARY")?
            .1
            .trim_end();
        (1..=100)
            .contains(&boundary.len())
            .then(|| boundary.as_bytes().to_vec())
    }

    /// Whether the body is a message that can be looked into.
    pub(crate) fn has_message(&self) -> bool {
        self.kind == "MESSAGE" && self.subtype == "RFC822" && self.is_plain()
    }

    /// Whether its body stands there as it is: only such a body has parts (RFC 2045 §6.4).
    fn is_plain(&self) -> bool {
        matches!(self.encoding.as_deref(), None | Some("7BIT" | "8BIT" | "BINARY"))
    }

    /// Describes it as something that nobody looks into.
    pub(crate) fn make_opaque(&mut self) {
        if self.kind == "MULTIPART" || self.kind == "MESSAGE" {
            self.kind = "APPLICATION".to_owned();
            self.subtype = "OCTET-STREAM".to_owned();
        }
    }

    /// Describes a multipart in which no part was found as the text that it is: BODYSTRUCTURE has no way to say a multipart
    /// without parts, and a client would show nothing of it.
    //= https://www.rfc-editor.org/rfc/rfc3501#section-7.4.2
    pub(crate) fn make_text(&mut self) {
        if self.kind == "MULTIPART" {
            let Head {
                kind,
                subtype,
                parameters,
                ..
            } = Head::part(false);
            (self.kind, self.subtype, self.parameters) = (kind, subtype, parameters);
        }
    }

    pub(crate) fn into_part(
        self,
        header: Range<u64>,
        body: Range<u64>,
        lines: u64,
        content: Content,
    ) -> Part {
        Part {
            header,
            body,
            lines,
            parameters: self.parameters,
            id: self.id,
            description: self.description,
            encoding: self.encoding.unwrap_or_else(|| "7BIT".to_owned()),
            md5: self.md5,
            disposition: self.disposition,
            language: self.language,
            location: self.location,
            content,
        }
    }
}
