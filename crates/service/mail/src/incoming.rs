//! Messages on their way in.

use crate::parse::{Parsed, Scanner, codec};
use crate::{Mail, MailError};
use bytes::Bytes;
use ringpost_base::limits;
use ringpost_imap::structure::Address;
use ringpost_store::records::{Message, MessageKind};
use ringpost_store::{Bodies, Body, BodyWriter};
use std::fmt;

/// A message whose bytes come in. It is read while they pass, so that nobody has to hold it; dropped before
/// [`finish`](Incoming::finish), it leaves nothing.
pub struct Incoming {
    writer: BodyWriter,
    scanner: Scanner,
    has_nul: bool,
}

impl Incoming {
    pub(crate) fn new(bodies: &Bodies) -> Self {
        Incoming {
            writer: bodies.writer(),
            scanner: Scanner::new(),
            has_nul: false,
        }
    }

    /// Appends a chunk; when this is done, the next may come.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), MailError> {
        self.scanner.push(&chunk);
        self.has_nul |= chunk.contains(&0);
        Ok(self.writer.write(chunk).await?)
    }

    /// How much has come.
    pub fn size_bytes(&self) -> u64 {
        self.writer.size_bytes()
    }

    /// Whether NUL was among it.
    pub(crate) fn has_nul(&self) -> bool {
        self.has_nul
    }

    /// Ends the message. It is nobody's until it is delivered.
    pub async fn finish(self) -> Result<Letter, MailError> {
        let body = self.writer.finish().await?;
        Ok(Letter::new(body, Parsed::of(self.scanner)))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({} bytes)", self.size_bytes())
    }
}

/// A whole message, read and written down, to be delivered to any number of accounts.
#[derive(Clone, Debug)]
pub struct Letter {
    pub(crate) body: Body,
    /// All that is the same wherever it goes.
    pub(crate) message: Message,
    hops: usize,
    pub(crate) eight_bit: bool,
    pub(crate) long_lines: bool,
    delivered_to: Vec<String>,
}

impl Letter {
    fn new(body: Body, parsed: Parsed) -> Self {
        let message = Message {
            blob: body.id,
            size_bytes: body.size_bytes,
            header_bytes: parsed.structure.body.start,
            sent: parsed.sent,
            kind: parsed.kind,
            envelope: codec::encode_envelope(&parsed.envelope).into(),
            structure: codec::encode_part(&parsed.structure).into(),
            index: codec::encode_index(&parsed.references).into(),
            line_end_bytes: parsed.line_end_bytes,
            ..Message::default()
        };
        Letter {
            body,
            message,
            hops: parsed.hops,
            eight_bit: parsed.eight_bit,
            long_lines: parsed.long_lines,
            delivered_to: parsed.delivered_to,
        }
    }

    /// Its length.
    pub fn size_bytes(&self) -> u64 {
        self.message.size_bytes
    }

    /// What of it waits in memory for the batch that names it.
    pub(crate) fn held_bytes(&self) -> usize {
        let Message {
            envelope,
            structure,
            index,
            ..
        } = &self.message;
        let body = if self.body.id.is_inline() {
            self.body.size_bytes as usize
        } else {
            0
        };
        body + envelope.len() + structure.len() + index.len()
    }

    /// What its Message-Context says it is.
    pub fn kind(&self) -> MessageKind {
        self.message.kind
    }

    /// The addresses of its From and Sender fields; `None` when From has none.
    pub fn authors(&self) -> Option<Vec<String>> {
        let envelope = codec::decode_envelope::<String>(&self.message.envelope)?;
        let address = |address| match address {
            Address::Mailbox { local, domain, .. } => Some(format!("{local}@{domain}")),
            Address::GroupStart(_) | Address::GroupEnd => None,
        };
        let mut authors: Vec<String> = envelope.from.into_iter().filter_map(address).collect();
        if authors.is_empty() {
            return None;
        }
        authors.extend(envelope.sender.into_iter().filter_map(address));
        Some(authors)
    }

    /// Whether it has passed so many servers that it must be going round in circles (RFC 5321 §6.3).
    pub fn is_looping(&self) -> bool {
        self.hops > limits::MAIL_HOPS
    }

    /// Whether it says that it has been delivered to this address: whoever forwards from there would send it round in
    /// circles.
    pub fn has_passed(&self, address: &str) -> bool {
        let same = |passed: &String| passed.eq_ignore_ascii_case(address);
        self.delivered_to.iter().any(same)
    }
}

impl Mail {
    /// Begins a message.
    pub fn incoming(&self) -> Incoming {
        Incoming::new(&self.bodies)
    }

    /// A message that is at hand whole.
    pub async fn letter(&self, message: Bytes) -> Result<Letter, MailError> {
        let mut scanner = Scanner::new();
        scanner.push(&message);
        let body = self.bodies.store_bytes(message).await?;
        Ok(Letter::new(body, Parsed::of(scanner)))
    }
}
