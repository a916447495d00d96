use super::{Message, ParseError};
use crate::header::HeaderName;
use crate::method::Method;
use crate::status::Status;
use crate::syntax::find_control;
use crate::uri::Uri;
use bytes::Bytes;
use std::fmt::Display;
use std::io::Write;

/// Prints a message into one buffer, top to bottom.
///
/// What a value may not hold (control characters, line ends) becomes spaces, so that no text from outside can add a
/// header. Content-Length is written last.
#[derive(Debug)]
pub struct Builder {
    out: Vec<u8>,
}

impl Builder {
    /// A request. Via, From, To, Call-ID, CSeq and Max-Forwards are for the caller to add.
    pub fn request(method: &Method, uri: &Uri) -> Builder {
        let mut out = Vec::with_capacity(768);
        push(&mut out, format_args!("{method} {uri} SIP/2.0\r\n"));
        Builder { out }
    }

    /// A response to `request`: its Vias (the topmost with received and rport, if the request knows its source),
    /// From, To, Call-ID and CSeq. To gets `tag` when it has none, except in a 100; Record-Route is copied into a 101
    /// to 299, Timestamp into a 100.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.6.2
    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.1.1
    pub fn response(request: &Message, status: Status, tag: &str) -> Builder {
        Builder::response_with_reason(request, status, status.reason(), tag)
    }

    /// The same with a reason phrase of one's own.
    pub fn response_with_reason(request: &Message, status: Status, reason: &str, tag: &str) -> Builder {
        let mut out = Vec::with_capacity(request.head().len() + 128);
        push(&mut out, format_args!("SIP/2.0 {status} "));
        write_value(&mut out, reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        let mut builder = Builder { out };
        builder.copy_vias(request);
        builder.header(HeaderName::From, request.from());
        match request.to_tag() {
            None if status != Status::TRYING => {
                builder.header(HeaderName::To, format_args!("{};tag={tag}", request.to()))
            }
            _ => builder.header(HeaderName::To, request.to()),
        };
        builder
            .header(HeaderName::CallId, request.call_id())
            .header(HeaderName::CSeq, request.cseq());
        if (101..300).contains(&status.code()) {
            builder.copy(request, HeaderName::RecordRoute);
        }
        if status == Status::TRYING {
            builder.copy(request, HeaderName::Timestamp);
        }
        builder
    }

    fn copy_vias(&mut self, request: &Message) {
        let Some(source) = request.source() else {
            self.copy(request, HeaderName::Via);
            return;
        };
        self.header(HeaderName::Via, request.top_via().stamp(source));
        for via in request.values(HeaderName::Via).skip(1) {
            self.header(HeaderName::Via, via);
        }
    }

    /// Adds a header field.
    pub fn header(&mut self, name: HeaderName, value: impl Display) -> &mut Self {
        debug_assert!(
            name != HeaderName::Other,
            "extension() names a header that is not known"
        );
        self.extension(name.as_str(), value)
    }

    /// Adds a header field if the message, finished without a body, then has at most `most_bytes`.
    pub fn header_within(&mut self, most_bytes: usize, name: HeaderName, value: &str) -> &mut Self {
        const END: usize = b"Content-Length: 0\r\n\r\n".len();
        let line = name.as_str().len() + value.len() + b": \r\n".len();
        match self.out.len() + line + END <= most_bytes {
            true => self.header(name, value),
            false => self,
        }
    }

    /// Adds a header field by name, which must be a token.
    pub fn extension(&mut self, name: &str, value: impl Display) -> &mut Self {
        debug_assert!(crate::syntax::is_all_token(name), "a header's name is a token");
        push(&mut self.out, format_args!("{name}: "));
        let from = self.out.len();
        push(&mut self.out, format_args!("{value}"));
        clean(&mut self.out, from);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header field if there is a value.
    pub fn optional(&mut self, name: HeaderName, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Copies all fields of that name from another message.
    pub fn copy(&mut self, from: &Message, name: HeaderName) -> &mut Self {
        for line in from.lines(name) {
            self.header(name, line);
        }
        self
    }

    /// The message without a body.
    pub fn finish(&mut self) -> Bytes {
        self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        std::mem::take(&mut self.out).into()
    }

    /// The message with a body.
    pub fn finish_with(&mut self, content_type: &str, body: &[u8]) -> Bytes {
        self.header(HeaderName::ContentType, content_type);
        push(
            &mut self.out,
            format_args!("Content-Length: {}\r\n\r\n", body.len()),
        );
        self.out.extend_from_slice(body);
        std::mem::take(&mut self.out).into()
    }

    /// [`Builder::finish`], read back; an error says which header was left out or broken.
    pub fn build(&mut self) -> Result<Message, ParseError> {
        Message::parse(self.finish())
    }

    /// [`Builder::finish_with`], read back.
    pub fn build_with(&mut self, content_type: &str, body: &[u8]) -> Result<Message, ParseError> {
        Message::parse(self.finish_with(content_type, body))
    }
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

/// Writes a value that was read elsewhere, its folds as one space.
pub(super) fn write_value(out: &mut Vec<u8>, value: &[u8]) {
    let from = out.len();
    out.extend_from_slice(value);
    clean(out, from);
}

/// Turns each line end with the whitespace behind it, and any control character that is not behind the backslash of a
/// quoted pair, into a space.
fn clean(out: &mut Vec<u8>, from: usize) {
    if find_control(&out[from..]).is_none() {
        return;
    }
    let is_control = |b: &u8| (*b < b' ' && *b != b'\t') || *b == 0x7f;
    let raw = out.split_off(from);
    let mut in_fold = false;
    for (i, &byte) in raw.iter().enumerate() {
        let is_break = byte == b'\r' || byte == b'\n';
        match byte {
            b' ' | b'\t' if in_fold => continue,
            _ if is_break && in_fold => continue,
            _ if is_break => {
                while out.len() > from && matches!(out.last(), Some(b' ' | b'\t')) {
                    out.pop();
                }
                out.push(b' ');
            }
            _ if is_control(&byte) && (i == 0 || raw[i - 1] != b'\\') => out.push(b' '),
            _ => out.push(byte),
        }
        in_fold = is_break;
    }
}
