use super::error::Refused;
use super::{Field, Fields, Inner, Message, ParseError, Start};
use crate::header::{CSeq, Elements, HeaderName, NameAddr, Via, check_call_id};
use crate::method::Method;
use crate::status::Status;
use crate::syntax::{Malformed, Span, find_control, is_token};
use crate::text::Text;
use crate::uri::Uri;
use bytes::Bytes;
use ringpost_base::limits;
use std::net::SocketAddr;
use std::sync::Arc;

/// A problem with the status that a request gets for it.
#[derive(Clone, Copy)]
struct Problem {
    expected: &'static str,
    offset: usize,
    status: Status,
}

impl Problem {
    const fn bad(expected: &'static str, offset: usize) -> Problem {
        Problem {
            expected,
            offset,
            status: Status::BAD_REQUEST,
        }
    }
}

/// What the start line said, as far as it could be read.
enum Line {
    Request {
        method: Method,
        uri: Result<Uri, Problem>,
        version: Result<(), Problem>,
    },
    Response {
        status: Status,
        reason: Span,
    },
}

pub(super) fn parse(datagram: Bytes, source: Option<SocketAddr>) -> Result<Message, ParseError> {
    let skipped = leading_lines(&datagram);
    let whole = datagram.slice(skipped..);
    read(whole, source).map_err(|mut e| {
        e.offset += skipped;
        e
    })
}

/// Length of the empty lines before a message.
//= https://www.rfc-editor.org/rfc/rfc3261#section-7.5
fn leading_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2
}

fn drop(expected: &'static str, offset: usize) -> ParseError {
    ParseError {
        expected,
        offset,
        refused: None,
    }
}

fn read(whole: Bytes, source: Option<SocketAddr>) -> Result<Message, ParseError> {
    let line_end = find_line_end(&whole).ok_or_else(|| drop("a start line", whole.len()))?;
    let line = start_line(&whole, line_end)?;
    let mut index = index(&whole, line_end + 2);
    let is_ack = matches!(
        &line,
        Line::Request {
            method: Method::Ack,
            ..
        }
    );
    let is_response = matches!(&line, Line::Response { .. });
    let has_via = index.fields.iter().any(|f| f.name == HeaderName::Via);
    let checked = check(line, &mut index, &whole, source);
    checked.map_err(|problem| {
        let answerable = has_via && !is_ack && !is_response;
        let refused = answerable.then(|| {
            let head = whole.slice(..index.end.min(whole.len()));
            Box::new(Refused {
                status: problem.status,
                head,
                fields: index.fields,
            })
        });
        ParseError {
            expected: problem.expected,
            offset: problem.offset,
            refused,
        }
    })
}

fn find_line_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += find_control(&bytes[at..])?;
        if bytes[at..].starts_with(b"\r\n") {
            return Some(at);
        }
        at += 1;
    }
}

/// Reads the first line; what is neither a request line nor a status line is dropped at once.
fn start_line(whole: &Bytes, end: usize) -> Result<Line, ParseError> {
    let line = &whole[..end];
    match line.split_at_checked(4) {
        Some((name, rest)) if name.eq_ignore_ascii_case(b"SIP/") => return status_line(line, rest),
        _ => {}
    }
    let method_end = line.iter().position(|b| !is_token(*b)).unwrap_or(end);
    if method_end == 0 || line.get(method_end) != Some(&b' ') {
        return Err(drop("a method and a space", method_end));
    }
    let method = Method::known(&line[..method_end]).unwrap_or_else(|| {
        Method::Other(Text::from_utf8(whole.slice(..method_end)).expect("a token is ASCII"))
    });
    let uri_start = method_end + 1;
    let uri_end = line.iter().rposition(|b| *b == b' ').unwrap_or(method_end);
    let version = version(&line[uri_end + 1..], uri_end + 1);
    let uri = match uri_start < uri_end {
        true => request_uri(whole, uri_start, uri_end),
        false => Err(Problem::bad("a Request-URI, one space and SIP/2.0", uri_start)),
    };
    Ok(Line::Request { method, uri, version })
}

/// `SIP/2.0` in any case (RFC 3261 §7.1); another version is told so.
fn version(text: &[u8], offset: usize) -> Result<(), Problem> {
    if text.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let number = text
        .get(..4)
        .filter(|name| name.eq_ignore_ascii_case(b"SIP/"))
        .map(|_| &text[4..]);
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let is_version = number.is_some_and(|n| {
        n.iter()
            .position(|b| *b == b'.')
            .is_some_and(|dot| digits(&n[..dot]) && digits(&n[dot + 1..]))
    });
    let status = if is_version {
        Status::VERSION_NOT_SUPPORTED
    } else {
        Status::BAD_REQUEST
    };
    Err(Problem {
        expected: "SIP/2.0 and the end of the line",
        offset,
        status,
    })
}

fn request_uri(whole: &Bytes, start: usize, end: usize) -> Result<Uri, Problem> {
    let Some(text) = Text::from_utf8(whole.slice(start..end)) else {
        return Err(Problem::bad("UTF-8", start));
    };
    let uri = Uri::parse(text).map_err(|e| Problem::bad(e.expected, start + e.offset))?;
    //= https://www.rfc-editor.org/rfc/rfc3261#section-19.1.1
    match uri.has_headers() {
        true => Err(Problem::bad("a Request-URI without headers", start)),
        false => Ok(uri),
    }
}

fn status_line(line: &[u8], rest: &[u8]) -> Result<Line, ParseError> {
    let Some(rest) = rest.strip_prefix(b"2.0 ") else {
        return Err(drop("SIP/2.0 and a space", 0));
    };
    let code = rest.get(..3).and_then(|c| std::str::from_utf8(c).ok());
    let code = code.filter(|c| c.bytes().all(|b| b.is_ascii_digit()));
    let Some(status) = code.and_then(|c| Status::new(c.parse().ok()?)) else {
        return Err(drop("a status code from 100 to 699", 8));
    };
    // A missing space behind the code is forgiven when nothing follows it (RFC 4475 §3.1.1.13).
    let reason = match &rest[3..] {
        [] => Span::new(line.len(), line.len()),
        [b' ', reason @ ..] => {
            let is_text = std::str::from_utf8(reason).is_ok_and(|r| !r.chars().any(is_control));
            match is_text {
                true => Span::new(line.len() - reason.len(), line.len()),
                false => return Err(drop("a reason phrase of text", 12)),
            }
        }
        _ => return Err(drop("a space behind the status code", 11)),
    };
    Ok(Line::Response { status, reason })
}

fn is_control(c: char) -> bool {
    c != '\t' && c.is_ascii_control()
}

/// Positions of all header fields that could be made out, and the first problem on the way.
struct Index {
    fields: Fields,
    /// Behind the empty line; behind the last byte when there is none.
    end: usize,
    problem: Option<Problem>,
}

fn index(whole: &[u8], start: usize) -> Index {
    let mut index = Index {
        fields: Fields::new(),
        end: whole.len(),
        problem: None,
    };
    let mut at = start;
    loop {
        if whole[at..].starts_with(b"\r\n") {
            index.end = at + 2;
            return index;
        }
        if at >= usize::from(u16::MAX) || index.fields.len() == limits::SIP_HEADERS {
            index.note("a smaller header", at);
            return index;
        }
        let Some(next) = field(whole, at, &mut index) else {
            index.note("an empty line behind the header", whole.len());
            return index;
        };
        at = next;
    }
}

impl Index {
    fn note(&mut self, expected: &'static str, offset: usize) {
        self.problem.get_or_insert(Problem::bad(expected, offset));
    }
}

/// Reads one field with its continuation lines and returns where the next begins; `None` when the bytes end first.
fn field(whole: &[u8], start: usize, index: &mut Index) -> Option<usize> {
    let name_len = whole[start..].iter().position(|b| !is_token(*b))?;
    let mut at = start + name_len;
    while matches!(whole.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    let named = name_len > 0 && whole.get(at) == Some(&b':');
    if named {
        at += 1;
    } else {
        index.note("a header's name and a colon", at);
    }
    let value = value(whole, at, index)?;
    let place = |at: usize| u16::try_from(at).ok();
    let field = (|| {
        Some(Field {
            name: HeaderName::find_bytes(&whole[start..start + name_len]),
            name_len: u8::try_from(name_len).ok()?,
            start: place(start)?,
            value_start: place(value.start)?,
            value_end: place(value.end)?,
        })
    })();
    match field {
        Some(field) if named => index.fields.push(field),
        Some(_) => {}
        None => index.note("a smaller header", start),
    }
    Some(value.next)
}

struct Value {
    start: usize,
    end: usize,
    next: usize,
}

/// The value that begins at `at`: to the first line end that no whitespace follows, with the whitespace around it
/// taken off.
fn value(whole: &[u8], at: usize, index: &mut Index) -> Option<Value> {
    let mut end = at;
    loop {
        end += find_control(&whole[end..])?;
        match whole[end] {
            b'\r' if whole.get(end + 1) == Some(&b'\n') => match whole.get(end + 2) {
                Some(b' ' | b'\t') => end += 3,
                _ => break,
            },
            b'\t' => end += 1,
            b'\r' | b'\n' => {
                index.note("CR and LF together", end);
                end += 1;
            }
            // Any other control character may stand behind the backslash of a quoted pair only.
            _ => {
                if whole[end - 1] != b'\\' {
                    index.note("no control character", end);
                }
                end += 1;
            }
        }
    }
    let is_ws = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let raw = &whole[at..end];
    let front = raw.iter().position(|b| !is_ws(b)).unwrap_or(raw.len());
    let back = raw.iter().rposition(|b| !is_ws(b)).map_or(front, |i| i + 1);
    Some(Value {
        start: at + front,
        end: at + back,
        next: end + 2,
    })
}

/// The header fields of which a message has one.
#[derive(Default)]
struct Singles {
    from: Option<Field>,
    to: Option<Field>,
    call_id: Option<Field>,
    cseq: Option<Field>,
    max_forwards: Option<Field>,
    content_length: Option<Field>,
    content_type: Option<Field>,
    via: Option<Field>,
}

impl Singles {
    fn of(fields: &Fields) -> Result<Singles, Problem> {
        let mut singles = Singles::default();
        for field in fields {
            let slot = match field.name {
                HeaderName::From => &mut singles.from,
                HeaderName::To => &mut singles.to,
                HeaderName::CallId => &mut singles.call_id,
                HeaderName::CSeq => &mut singles.cseq,
                HeaderName::MaxForwards => &mut singles.max_forwards,
                HeaderName::ContentLength => &mut singles.content_length,
                HeaderName::ContentType => &mut singles.content_type,
                HeaderName::Via => {
                    singles.via.get_or_insert(*field);
                    continue;
                }
                _ => continue,
            };
            if slot.replace(*field).is_some() {
                return Err(Problem::bad(
                    "one field of that name only",
                    usize::from(field.start),
                ));
            }
        }
        Ok(singles)
    }
}

fn check(
    line: Line,
    index: &mut Index,
    whole: &Bytes,
    source: Option<SocketAddr>,
) -> Result<Message, Problem> {
    let (start, method) = match line {
        Line::Request { method, uri, version } => {
            version?;
            let uri = uri?;
            (Start::Request(uri), Some(method))
        }
        Line::Response { status, reason } => (Start::Response { status, reason }, None),
    };
    if let Some(problem) = index.problem {
        return Err(problem);
    }
    let Some(head) = Text::from_utf8(whole.slice(..index.end)) else {
        return Err(Problem::bad("UTF-8 in the header", 0));
    };
    let singles = Singles::of(&index.fields)?;
    let reader = Reader { head: &head };
    let via = reader.top_via(singles.via)?;
    let from = reader.one(singles.from, "From", party)?;
    let to = reader.one(singles.to, "To", party)?;
    let call_id = reader.one(singles.call_id, "Call-ID", |t| check_call_id(&t).map(|()| t))?;
    let cseq = reader.one(singles.cseq, "CSeq", |t| CSeq::parse(&t))?;
    let max_forwards = reader.optional(singles.max_forwards, "a Max-Forwards below 256")?;
    let length: Option<usize> = reader.optional(singles.content_length, "a Content-Length")?;
    if let Some(method) = method {
        methods_agree(&method, &cseq, singles.cseq)?;
        reader.routes(&index.fields)?;
    }
    let body = body(whole, index.end, length, singles.content_length)?;
    let whole = whole.slice(..index.end + body.len());
    let fields = std::mem::take(&mut index.fields);
    Ok(Message(Arc::new(Inner {
        head,
        body,
        whole,
        start,
        fields,
        via,
        from,
        to,
        call_id,
        cseq,
        max_forwards,
        source,
    })))
}

/// From or To: an address with one tag at most, and that with a value, since dialogs are told apart by it.
//= https://www.rfc-editor.org/rfc/rfc3261#section-7.3.1
fn party(text: Text) -> Result<NameAddr, Malformed> {
    let address = NameAddr::parse(text)?;
    let mut tags = address
        .params()
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("tag"));
    match (tags.next(), tags.next()) {
        (Some((_, None)), _) | (_, Some(_)) => Err(Malformed {
            expected: "one tag with a value",
            offset: 0,
        }),
        _ => Ok(address),
    }
}

/// RFC 3261 §8.1.1.5. An unknown method is refused as unknown, which tells its sender more (RFC 4475 §3.1.2.18).
fn methods_agree(method: &Method, cseq: &CSeq, field: Option<Field>) -> Result<(), Problem> {
    if *method == cseq.method {
        return Ok(());
    }
    let status = match method {
        Method::Other(_) => Status::NOT_IMPLEMENTED,
        _ => Status::BAD_REQUEST,
    };
    let offset = field.map_or(0, |f| usize::from(f.value_start));
    Err(Problem {
        expected: "the request's method in CSeq",
        offset,
        status,
    })
}

//= https://www.rfc-editor.org/rfc/rfc3261#section-18.3
fn body(whole: &Bytes, start: usize, length: Option<usize>, field: Option<Field>) -> Result<Bytes, Problem> {
    let rest = whole.slice(start..);
    match length {
        None => Ok(rest),
        Some(length) if length <= rest.len() => Ok(rest.slice(..length)),
        Some(_) => {
            let offset = field.map_or(start, |f| usize::from(f.value_start));
            Err(Problem::bad("a body as long as Content-Length says", offset))
        }
    }
}

/// Reads the header fields that are checked when a message arrives.
struct Reader<'a> {
    head: &'a Text,
}

impl Reader<'_> {
    fn text(&self, field: Field) -> Text {
        self.head
            .slice(usize::from(field.value_start)..usize::from(field.value_end))
    }

    fn one<T>(
        &self,
        field: Option<Field>,
        name: &'static str,
        parse: impl Fn(Text) -> Result<T, Malformed>,
    ) -> Result<T, Problem> {
        let Some(field) = field else {
            return Err(Problem::bad(name, self.head.as_bytes().len()));
        };
        parse(self.text(field))
            .map_err(|e| Problem::bad(e.expected, usize::from(field.value_start) + e.offset))
    }

    fn optional<T: std::str::FromStr>(
        &self,
        field: Option<Field>,
        expected: &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(field) = field else { return Ok(None) };
        let text = self.text(field);
        let digits = text.as_bytes().iter().all(u8::is_ascii_digit);
        match text.as_str().parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => Err(Problem::bad(expected, usize::from(field.value_start))),
        }
    }

    fn top_via(&self, field: Option<Field>) -> Result<Via, Problem> {
        let first = |text: Text| {
            let Some(first) = Elements::new(&text).next() else {
                return Err(Malformed {
                    expected: "a Via",
                    offset: 0,
                });
            };
            let start = first.as_ptr() as usize - text.as_bytes().as_ptr() as usize;
            Via::parse(text.slice(start..start + first.len()))
        };
        self.one(field, "Via", first)
    }

    /// A request's other Vias and its routes: nothing may be sent on or built upon them when they are broken.
    fn routes(&self, fields: &Fields) -> Result<(), Problem> {
        let head = self.head.as_str();
        for field in fields {
            let check: fn(&str) -> Result<(), Malformed> = match field.name {
                HeaderName::Via => Via::check,
                HeaderName::Contact => |v| if v == "*" { Ok(()) } else { NameAddr::check(v) },
                HeaderName::Route | HeaderName::RecordRoute => NameAddr::check,
                _ => continue,
            };
            let start = usize::from(field.value_start);
            let text = &head[start..usize::from(field.value_end)];
            for value in Elements::new(text) {
                let offset = start + value.as_ptr() as usize - text.as_ptr() as usize;
                check(value).map_err(|e| Problem::bad(e.expected, offset + e.offset))?;
            }
        }
        Ok(())
    }
}
