use super::{Field, Fields};
use crate::header::{HeaderName, NameAddr, Via};
use crate::message::build::write_value;
use crate::status::Status;
use crate::text::Text;
use bytes::Bytes;
use std::net::SocketAddr;
use thiserror::Error;

/// Bytes that are no message, or no message that may be acted on.
#[derive(Clone, Debug, Error)]
#[error("expected {expected} at offset {offset}")]
pub struct ParseError {
    /// What the grammar wanted there.
    pub expected: &'static str,
    /// Where, in bytes from the start of what was given.
    pub offset: usize,
    pub(super) refused: Option<Box<Refused>>,
}

/// A request of which enough could be read to answer it.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) status: Status,
    pub(super) head: Bytes,
    pub(super) fields: Fields,
}

impl ParseError {
    /// The status that the sender of a request should be told: 400, 505 for another version, 501 for an unknown method
    /// in disorder. `None`: to be dropped, as it is a response, an ACK, or nothing that could be answered.
    pub fn status(&self) -> Option<Status> {
        self.refused.as_ref().map(|r| r.status)
    }

    /// Where [`ParseError::response`] goes over UDP: to the top Via's port when that can be read and asks for
    /// nothing else, otherwise back where the request came from.
    pub fn reply_to(&self, source: SocketAddr) -> Option<SocketAddr> {
        let refused = self.refused.as_ref()?;
        Some(refused.top_via().map_or(source, |via| via.reply_to(source)))
    }

    /// The stateless response to a request from `source`: its Vias, From, To (with `tag` if it has none), Call-ID
    /// and CSeq as far as they were there, repeated as they stood.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.6.2
    //= https://www.rfc-editor.org/rfc/rfc3261#section-21.4.1
    pub fn response(&self, source: SocketAddr, tag: &str) -> Option<Bytes> {
        let refused = self.refused.as_ref()?;
        let mut out = Vec::with_capacity(refused.head.len() + 128);
        out.extend_from_slice(format!("SIP/2.0 {} {}", refused.status, refused.status.reason()).as_bytes());
        if refused.status == Status::BAD_REQUEST {
            out.extend_from_slice(format!(" (expected {})", self.expected).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        for (i, field) in refused.all(HeaderName::Via).enumerate() {
            match (i, refused.top_via()) {
                (0, Some(_)) => refused.stamp_line(field, source, &mut out),
                _ => refused.copy(field, &mut out),
            }
        }
        for name in [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            let Some(field) = refused.all(name).next() else {
                continue;
            };
            refused.copy(field, &mut out);
            let is_untagged = || {
                let text = Text::from_utf8(refused.head.slice_ref(field.value_in(&refused.head)))?;
                NameAddr::parse(text).ok().filter(|to| to.tag().is_none())
            };
            if name == HeaderName::To && is_untagged().is_some() {
                out.truncate(out.len() - 2);
                out.extend_from_slice(format!(";tag={tag}\r\n").as_bytes());
            }
        }
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        Some(out.into())
    }
}

impl Refused {
    fn all(&self, name: HeaderName) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |f| f.name == name)
    }

    /// The top Via value with the offset of what follows it in its line.
    fn top_via(&self) -> Option<Via> {
        let field = self.all(HeaderName::Via).next()?;
        let line = std::str::from_utf8(field.value_in(&self.head)).ok()?;
        let first = crate::header::Elements::new(line).next()?;
        Via::parse(first.into()).ok()
    }

    fn stamp_line(&self, field: &Field, source: SocketAddr, out: &mut Vec<u8>) {
        let line = String::from_utf8_lossy(field.value_in(&self.head));
        let mut values = crate::header::Elements::new(&line);
        let first = values.next().and_then(|v| Via::parse(v.into()).ok());
        out.extend_from_slice(b"Via: ");
        if let Some(via) = first {
            write_value(out, via.stamped(source).as_str().as_bytes());
        }
        for value in values {
            out.extend_from_slice(b", ");
            write_value(out, value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn copy(&self, field: &Field, out: &mut Vec<u8>) {
        out.extend_from_slice(field.name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        write_value(out, field.value_in(&self.head));
        out.extend_from_slice(b"\r\n");
    }
}
