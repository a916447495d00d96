use super::build::write_value;
use super::{Message, ParseError};
use crate::header::HeaderName;
use crate::uri::Uri;
use bytes::Bytes;
use smallvec::SmallVec;
use std::net::SocketAddr;

/// A message about to be printed again with changes, as an element does that passes it on.
///
/// Header fields that are not named in an edit are repeated in their order, in their long forms and unfolded.
#[derive(Clone, Debug)]
pub struct Edit<'a> {
    message: &'a Message,
    uri: Option<&'a Uri>,
    stamp: Option<SocketAddr>,
    prepended: SmallVec<[(HeaderName, String); 4]>,
    replaced: SmallVec<[(HeaderName, Option<String>); 4]>,
    body: Option<(&'a str, &'a [u8])>,
}

impl<'a> Edit<'a> {
    /// Nothing changed yet.
    pub fn new(message: &'a Message) -> Self {
        Edit {
            message,
            uri: None,
            stamp: None,
            prepended: SmallVec::new(),
            replaced: SmallVec::new(),
            body: None,
        }
    }

    /// Another Request-URI; a response has none and stays as it is.
    pub fn request_uri(&mut self, uri: &'a Uri) -> &mut Self {
        self.uri = Some(uri);
        self
    }

    /// Adds received and rport to the top Via (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn stamp_via(&mut self, source: SocketAddr) -> &mut Self {
        self.stamp = Some(source);
        self
    }

    /// Puts a field before all others, and before those prepended earlier: Via, Record-Route, Route.
    pub fn prepend(&mut self, name: HeaderName, value: impl ToString) -> &mut Self {
        self.prepended.push((name, value.to_string()));
        self
    }

    /// One field of that name with this value, at the place of the first one or at the end.
    pub fn set(&mut self, name: HeaderName, value: impl ToString) -> &mut Self {
        self.replace(name, Some(value.to_string()))
    }

    /// No field of that name. To take off a top value alone, `set` the header to the rest.
    pub fn remove(&mut self, name: HeaderName) -> &mut Self {
        self.replace(name, None)
    }

    fn replace(&mut self, name: HeaderName, value: Option<String>) -> &mut Self {
        self.replaced.retain(|(n, _)| *n != name);
        self.replaced.push((name, value));
        self
    }

    /// Another body. An empty `content_type` means none.
    pub fn body(&mut self, content_type: &'a str, body: &'a [u8]) -> &mut Self {
        self.body = Some((content_type, body));
        self
    }

    /// Prints the message.
    pub fn finish(&self) -> Bytes {
        let message = self.message;
        let mut out = Vec::with_capacity(message.bytes().len() + 256);
        self.write_start(&mut out);
        for (name, value) in self.prepended.iter().rev() {
            write_field(&mut out, name.as_str(), value);
        }
        let mut done: SmallVec<[HeaderName; 4]> = SmallVec::new();
        let mut top_via = true;
        for header in message.headers() {
            let name = match header.name {
                HeaderName::Other => header.written,
                known => known.as_str(),
            };
            match self
                .replaced
                .iter()
                .find(|(n, _)| *n == header.name && *n != HeaderName::Other)
            {
                _ if header.name == HeaderName::ContentLength => {}
                _ if header.name == HeaderName::ContentType && self.body.is_some() => {}
                Some((_, Some(value))) if !done.contains(&header.name) => {
                    write_field(&mut out, name, value);
                    done.push(header.name);
                }
                Some(_) => {}
                None if header.name == HeaderName::Via && std::mem::take(&mut top_via) => {
                    self.write_top_via(&mut out, header.value);
                }
                None => write_field(&mut out, name, header.value),
            }
        }
        for (name, value) in self.replaced.iter().filter(|(name, _)| !done.contains(name)) {
            if let Some(value) = value {
                write_field(&mut out, name.as_str(), value);
            }
        }
        self.write_body(&mut out);
        out.into()
    }

    /// [`Edit::finish`], read back.
    pub fn build(&self) -> Result<Message, ParseError> {
        Message::parse(self.finish())
    }

    fn write_start(&self, out: &mut Vec<u8>) {
        match (self.message.request_uri(), self.message.status()) {
            (Some(uri), _) => {
                let uri = self.uri.unwrap_or(uri);
                out.extend_from_slice(format!("{} {uri} SIP/2.0\r\n", self.message.method()).as_bytes());
            }
            (None, status) => {
                let code = status.map_or(0, |s| s.code());
                let reason = self.message.reason_phrase().unwrap_or_default();
                out.extend_from_slice(format!("SIP/2.0 {code} {reason}\r\n").as_bytes());
            }
        }
    }

    fn write_top_via(&self, out: &mut Vec<u8>, line: &str) {
        let Some(source) = self.stamp else {
            return write_field(out, "Via", line);
        };
        write_field(out, "Via", self.message.top_via().stamped(source).as_str());
        for value in crate::header::Elements::new(line).skip(1) {
            write_field(out, "Via", value);
        }
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        let body = match self.body {
            None => self.message.body(),
            Some((content_type, body)) => {
                if !content_type.is_empty() {
                    write_field(out, "Content-Type", content_type);
                }
                body
            }
        };
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    write_value(out, value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
