//! A whole message: one shared buffer, the positions of its header fields, and the parts that every transaction
//! needs already read.

mod build;
mod edit;
mod error;
mod parse;

pub use build::Builder;
pub use edit::Edit;
pub use error::ParseError;

use crate::header::{
    CSeq, Delta, Elements, HeaderName, MediaType, NameAddr, RAck, TokenParams, Via, parse_date,
};
use crate::method::Method;
use crate::status::Status;
use crate::syntax::{Malformed, Span, trim, unfold};
use crate::text::Text;
use crate::uri::Uri;
use bytes::Bytes;
use ringpost_base::UnixTime;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// One request or response (RFC 3261 §7), checked as far as a transaction, a dialog and a route need it: the start
/// line, Via, From, To, Call-ID, CSeq, Max-Forwards, Content-Length, and a request's Contact, Route and Record-Route.
/// What else stands in the header is read when it is asked for.
///
/// Cloning it costs one count: the parts share one buffer.
#[derive(Clone)]
pub struct Message(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// Start line and header, with the empty line.
    head: Text,
    body: Bytes,
    whole: Bytes,
    start: Start,
    fields: Fields,
    via: Via,
    from: NameAddr,
    to: NameAddr,
    call_id: Text,
    cseq: CSeq,
    max_forwards: Option<u8>,
    source: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
enum Start {
    Request(Uri),
    Response { status: Status, reason: Span },
}

type Fields = SmallVec<[Field; 24]>;

/// Where a header field lies in the head. A head is shorter than 64 KiB.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: HeaderName,
    name_len: u8,
    start: u16,
    value_start: u16,
    value_end: u16,
}

impl Field {
    fn name_in<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.start);
        &head[start..start + usize::from(self.name_len)]
    }

    fn value_in<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[usize::from(self.value_start)..usize::from(self.value_end)]
    }
}

/// A header field as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Which one it is.
    pub name: HeaderName,
    /// The name as it was written.
    pub written: &'a str,
    /// The value without the whitespace around it; folds are still in it.
    pub value: &'a str,
}

/// The value of Contact in a REGISTER or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// `*`: all bindings (RFC 3261 §10.2.2).
    Star,
    /// Addresses, possibly none.
    List(Vec<NameAddr>),
}

impl Message {
    /// Reads a datagram. Empty lines before the message are skipped, bytes behind its Content-Length dropped.
    pub fn parse(datagram: Bytes) -> Result<Message, ParseError> {
        parse::parse(datagram, None)
    }

    /// The same, and remembers where it came from: a response made from it carries `received` and `rport` in its
    /// top Via (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn parse_from(datagram: Bytes, source: SocketAddr) -> Result<Message, ParseError> {
        parse::parse(datagram, Some(source))
    }

    /// Where it came from, when it was read by [`Message::parse_from`].
    pub fn source(&self) -> Option<SocketAddr> {
        self.0.source
    }

    /// The same message, as if read from there.
    pub fn with_source(mut self, source: SocketAddr) -> Message {
        Arc::make_mut(&mut self.0).source = Some(source);
        self
    }

    /// The bytes of the whole message, as they go over the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.0.whole
    }

    /// Start line and header with the empty line, as text.
    pub fn head(&self) -> &str {
        self.0.head.as_str()
    }

    /// The body: as many bytes as Content-Length says, or to the end of the datagram without one.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.0.start, Start::Request(_))
    }

    /// The method of the request, or of the request that this response answers.
    pub fn method(&self) -> &Method {
        &self.0.cseq.method
    }

    /// A request's Request-URI.
    pub fn request_uri(&self) -> Option<&Uri> {
        match &self.0.start {
            Start::Request(uri) => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// A response's status.
    pub fn status(&self) -> Option<Status> {
        match &self.0.start {
            Start::Request(_) => None,
            Start::Response { status, .. } => Some(*status),
        }
    }

    /// A response's reason phrase.
    pub fn reason_phrase(&self) -> Option<&str> {
        match &self.0.start {
            Start::Request(_) => None,
            Start::Response { reason, .. } => {
                std::str::from_utf8(&self.0.head.as_bytes()[reason.range()]).ok()
            }
        }
    }

    /// The topmost Via value.
    pub fn top_via(&self) -> &Via {
        &self.0.via
    }

    /// From.
    pub fn from(&self) -> &NameAddr {
        &self.0.from
    }

    /// To.
    pub fn to(&self) -> &NameAddr {
        &self.0.to
    }

    /// From's tag.
    pub fn from_tag(&self) -> Option<&str> {
        self.0.from.tag()
    }

    /// To's tag.
    pub fn to_tag(&self) -> Option<&str> {
        self.0.to.tag()
    }

    /// Call-ID.
    pub fn call_id(&self) -> &Text {
        &self.0.call_id
    }

    /// CSeq.
    pub fn cseq(&self) -> &CSeq {
        &self.0.cseq
    }

    /// Max-Forwards, if there is one.
    pub fn max_forwards(&self) -> Option<u8> {
        self.0.max_forwards
    }

    /// All header fields, top to bottom.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.0.fields.iter().map(|field| Header {
            name: field.name,
            written: ascii(field.name_in(self.0.head.as_bytes())),
            value: self.value_str(field),
        })
    }

    /// The values of all fields of that name, one for each line, not cut at commas: the form in which credentials
    /// and challenges are read.
    pub fn lines(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.0
            .fields
            .iter()
            .filter(move |f| f.name == name)
            .map(|f| self.value_str(f))
    }

    /// The value of the first field of that name.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.lines(name).next()
    }

    /// Whether there is a field of that name.
    pub fn has(&self, name: HeaderName) -> bool {
        self.0.fields.iter().any(|f| f.name == name)
    }

    /// The value of the first field of that name, known or not, in any case.
    pub fn header_named(&self, name: &str) -> Option<&str> {
        match HeaderName::find(name) {
            HeaderName::Other => self
                .headers()
                .find(|h| h.written.eq_ignore_ascii_case(name))
                .map(|h| h.value),
            known => self.header(known),
        }
    }

    /// The value of the first field of that name with its folds taken out: for Subject, User-Agent and other text.
    pub fn text(&self, name: HeaderName) -> Option<Cow<'_, str>> {
        self.header(name).map(unfold)
    }

    /// The elements of a header that is a comma-separated list, over all its lines: Allow, Supported, Require,
    /// Accept, Warning, ….
    //= https://www.rfc-editor.org/rfc/rfc3261#section-7.3.1
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.lines(name).flat_map(Elements::new)
    }

    /// Whether the list holds `token`, in any case: an option tag in Supported or Require.
    pub fn lists(&self, name: HeaderName, token: &str) -> bool {
        self.values(name).any(|v| v.eq_ignore_ascii_case(token))
    }

    /// All Via values, the topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via, Malformed>> {
        self.values(HeaderName::Via).map(|v| Via::parse(self.cut(v)))
    }

    /// The addresses of a list header: Route, Record-Route, Path, Service-Route, P-Asserted-Identity, Diversion, ….
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = Result<NameAddr, Malformed>> {
        self.values(name).map(|v| NameAddr::parse(self.cut(v)))
    }

    /// The address of a header that holds one: Refer-To, Referred-By, Reply-To.
    pub fn address(&self, name: HeaderName) -> Option<Result<NameAddr, Malformed>> {
        self.header(name).map(|v| NameAddr::parse(self.cut(v)))
    }

    /// Contact. `*` beside an address is an error.
    pub fn contacts(&self) -> Result<Contacts, Malformed> {
        let mut values = self.values(HeaderName::Contact).peekable();
        if values.next_if_eq(&"*").is_some() {
            return match values.next() {
                None => Ok(Contacts::Star),
                Some(_) => Err(Malformed {
                    expected: "* alone in Contact",
                    offset: 0,
                }),
            };
        }
        values
            .map(|v| NameAddr::parse(self.cut(v)))
            .collect::<Result<_, _>>()
            .map(Contacts::List)
    }

    /// The first Contact address, which is a dialog's remote target.
    pub fn contact(&self) -> Option<NameAddr> {
        self.addresses(HeaderName::Contact).next()?.ok()
    }

    /// Expires in seconds. A value that is no number below 2^32 counts as 3600, as RFC 3261 §10.2.1.1 wants it.
    pub fn expires_s(&self) -> Option<u32> {
        let value = self.header(HeaderName::Expires)?;
        Some(Delta::parse(value).map_or(3600, |d| d.seconds))
    }

    /// A header that is a number of seconds with parameters: Retry-After, Session-Expires, Min-SE, Min-Expires.
    pub fn delta(&self, name: HeaderName) -> Option<Result<Delta<'_>, Malformed>> {
        self.header(name).map(Delta::parse)
    }

    /// Content-Type.
    pub fn content_type(&self) -> Option<Result<MediaType<'_>, Malformed>> {
        self.header(HeaderName::ContentType).map(MediaType::parse)
    }

    /// Whether a response may carry a body of that type: Accept says so, or there is none and the type is SDP
    /// (RFC 3261 §20.1).
    pub fn accepts(&self, kind: &str, subtype: &str) -> bool {
        match self.has(HeaderName::Accept) {
            true => self
                .values(HeaderName::Accept)
                .any(|v| MediaType::parse(v).is_ok_and(|range| range.covers(kind, subtype))),
            false => kind.eq_ignore_ascii_case("application") && subtype.eq_ignore_ascii_case("sdp"),
        }
    }

    /// A header that is a token with parameters: Event, Subscription-State, Content-Disposition, and the first
    /// Reason.
    pub fn token_params(&self, name: HeaderName) -> Option<Result<TokenParams<'_>, Malformed>> {
        match name {
            HeaderName::Reason => self.values(name).next().map(TokenParams::parse),
            _ => self.header(name).map(TokenParams::parse),
        }
    }

    /// A header that is one number: RSeq, MIME versions aside.
    pub fn number(&self, name: HeaderName) -> Option<u32> {
        trim(self.header(name)?).parse().ok()
    }

    /// RAck.
    pub fn rack(&self) -> Option<Result<RAck, Malformed>> {
        self.header(HeaderName::RAck).map(|v| RAck::parse(&self.cut(v)))
    }

    /// Date.
    pub fn date(&self) -> Option<Result<UnixTime, Malformed>> {
        self.header(HeaderName::Date).map(parse_date)
    }

    fn value_str(&self, field: &Field) -> &str {
        std::str::from_utf8(field.value_in(self.0.head.as_bytes())).expect("a head is UTF-8")
    }

    /// `piece`, which lies in the head, as a text that shares the buffer.
    fn cut(&self, piece: &str) -> Text {
        let start = piece.as_ptr() as usize - self.0.head.as_bytes().as_ptr() as usize;
        self.0.head.slice(start..start + piece.len())
    }
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a header's name is ASCII")
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.head().split("\r\n").next().unwrap_or_default();
        write!(
            f,
            "Message({line:?}, {}, {:?}, {} bytes of body)",
            self.cseq(),
            self.call_id(),
            self.body().len()
        )
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests;
