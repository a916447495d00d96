//! Requests and responses as they are read and written (RFC 2326 §4–§7).

use crate::method::Method;
use crate::status::Status;
use crate::syntax::{Malformed, is_all_token, malformed, number, trim};
use bytes::Bytes;

/// Header fields in their order, each with the name as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// None yet.
    pub const fn new() -> Self {
        Headers(Vec::new())
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a field. Line ends and NUL within a value become spaces, so that no value can become a field of its own.
    ///
    /// # Panics
    /// When `name` is no token.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        assert!(is_all_token(name), "a header's name is a token: {name:?}");
        let mut value: String = value.into();
        if value.contains(['\r', '\n', '\0']) {
            value = value.replace(['\r', '\n', '\0'], " ");
        }
        if trim(&value).len() != value.len() {
            value = trim(&value).to_owned();
        }
        self.0.push((name.to_owned(), value));
    }

    /// Puts a field in place of all of this name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Takes all fields of this name out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// The first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut of_name = self
            .0
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of_name.next().map(|(_, value)| value.as_str())
    }

    /// Every field of this name, in any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every element of the comma-separated lists in fields of this name.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| crate::syntax::split(value, ','))
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The number of the request; `None` without one.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-12.17
    pub fn cseq(&self) -> Option<Result<u32, Malformed>> {
        Some(number(self.field("CSeq")?, "a CSeq of digits"))
    }

    /// The length of the body; 0 without the field (RFC 2326 §4.4).
    pub(crate) fn content_length(&self) -> Result<usize, Malformed> {
        let mut lengths = self.all("Content-Length");
        let Some(length) = lengths.next() else {
            return Ok(0);
        };
        if lengths.any(|other| other != length) {
            return malformed("one Content-Length");
        }
        number(length, "a Content-Length of digits")
    }

    fn print(&self, body: &[u8], out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            if !name.eq_ignore_ascii_case("Content-Length") {
                out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        if !body.is_empty() {
            out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is wanted.
    pub method: Method,
    /// The Request-URI as it was written: an absolute URL, or `*`.
    pub uri: String,
    /// The fields. Content-Length is written as the body's, whatever stands here.
    pub headers: Headers,
    /// The body; empty for most.
    pub body: Bytes,
}

impl Request {
    /// A request without fields and body.
    pub fn new(method: Method, uri: impl Into<String>) -> Self {
        Request {
            method,
            uri: uri.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The same with a field more.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with this body of this type.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.headers.set("Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// What it takes while it waits, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let fields = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.uri.len() + self.body.len() + fields.sum::<usize>()
    }

    /// As it goes over the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = format!("{} {} RTSP/1.0\r\n", self.method, self.uri).into_bytes();
        self.headers.print(&self.body, &mut out);
        out.into()
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What became of it.
    pub status: Status,
    /// The same in words.
    pub reason: String,
    /// The fields. Content-Length is written as the body's, whatever stands here.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A response without fields and body.
    pub fn new(status: Status) -> Self {
        Response {
            status,
            reason: status.reason().to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The same with a field more.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with this body of this type.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.headers.set("Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// As it goes over the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = format!("RTSP/1.0 {} {}\r\n", self.status.code(), self.reason).into_bytes();
        self.headers.print(&self.body, &mut out);
        out.into()
    }
}

/// The four bytes before interleaved data of this length on this channel; the data follows them, and nothing comes between.
///
/// # Panics
/// When the data is longer than 65,535 bytes.
//= https://www.rfc-editor.org/rfc/rfc2326#section-10.12
pub fn interleaved_head(channel: u8, len: usize) -> [u8; 4] {
    let len = u16::try_from(len).expect("a packet fits 16 bits of length");
    let [high, low] = len.to_be_bytes();
    [b'$', channel, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_become_a_field_or_a_body() {
        let response = Response::new(Status::OK).with("Server", " a\r\nSession: 1\r\n\r\nx\0 ");
        let bytes = response.to_bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(text, "RTSP/1.0 200 OK\r\nServer: a  Session: 1    x\r\n\r\n");
    }

    #[test]
    fn the_length_told_is_the_bodys() {
        let request = Request::new(Method::SetParameter, "rtsp://h/a")
            .with("Content-Length", "99")
            .with_body("text/parameters", "a: b\r\n");
        let bytes = request.to_bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.ends_with("\r\nContent-Length: 6\r\n\r\na: b\r\n"), "{text}");
        assert!(!text.contains("99"));
    }

    #[test]
    fn lists_may_stand_in_several_fields() {
        let mut headers = Headers::new();
        headers.push("Require", "a, b");
        headers.push("require", "c,,");
        assert_eq!(headers.list("REQUIRE").collect::<Vec<_>>(), ["a", "b", "c"]);
        headers.set("Require", "d");
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn interleaved_data_has_four_bytes_before_it() {
        assert_eq!(interleaved_head(3, 0x0102), [b'$', 3, 1, 2]);
    }
}
