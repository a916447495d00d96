//! Messages and interleaved data out of a stream of bytes.

use crate::message::{Headers, Request, Response};
use crate::method::Method;
use crate::status::Status;
use crate::syntax::{is_all_token, is_token, trim};
use bytes::{Buf, Bytes, BytesMut};
use ringpost_base::limits;
use thiserror::Error;

/// What a stream holds, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
    /// One packet within the stream (RFC 2326 §10.12).
    Interleaved {
        /// Its channel.
        channel: u8,
        /// The packet.
        data: Bytes,
    },
    /// What cannot be taken. When [`ReadError::is_fatal`] says so, it is the last that is read.
    Refused {
        /// Why.
        error: ReadError,
        /// The number to be put into the response, where one was read.
        cseq: Option<u32>,
    },
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The first byte can begin no message.
    #[error("expected a request, a response or interleaved data")]
    NotRtsp,
    /// The start line has another form.
    #[error("expected METHOD URL RTSP/1.0, or RTSP/1.0 and a status")]
    StartLine,
    /// Another version of the protocol.
    #[error("expected version 1.0")]
    Version,
    /// A request line over [`limits::RTSP_LINE_BYTES`].
    #[error("expected a request line of at most {} bytes", limits::RTSP_LINE_BYTES)]
    RequestLineTooLong,
    /// Another line over [`limits::RTSP_LINE_BYTES`].
    #[error("expected lines of at most {} bytes", limits::RTSP_LINE_BYTES)]
    LineTooLong,
    /// A header over [`limits::RTSP_HEADER_BYTES`].
    #[error("expected a header of at most {} bytes", limits::RTSP_HEADER_BYTES)]
    HeaderTooLong,
    /// More than [`limits::RTSP_HEADERS`] fields.
    #[error("expected at most {} header fields", limits::RTSP_HEADERS)]
    TooManyFields,
    /// A line of the header that is no field, or one with control characters.
    #[error("expected a header field")]
    Field,
    /// Content-Length is no number, or there are several that differ.
    #[error("expected one Content-Length of digits")]
    Length,
    /// A body over [`limits::RTSP_BODY_BYTES`].
    #[error("expected a body of at most {} bytes", limits::RTSP_BODY_BYTES)]
    BodyTooLong,
}

impl ReadError {
    /// The status that a request is refused with.
    pub const fn status(self) -> Status {
        match self {
            ReadError::Version => Status::VERSION_NOT_SUPPORTED,
            ReadError::RequestLineTooLong => Status::REQUEST_URI_TOO_LARGE,
            ReadError::BodyTooLong => Status::REQUEST_ENTITY_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }

    /// Whether nothing behind it can be trusted, so that the connection must be closed.
    pub const fn is_fatal(self) -> bool {
        !matches!(self, ReadError::StartLine | ReadError::Version | ReadError::Field)
    }
}

/// How closely messages are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// As a server reads requests: a field that is none refuses its message.
    #[default]
    Strict,
    /// As a client reads what cameras send: lines that are no fields are passed over, control characters become spaces, the
    /// fields in [`MISSPELT`] are taken for what they mean, and octets between messages are passed over up to the next `$` or
    /// `RTSP/` ([`Reader::skipped`]).
    // Guards pitfall RTSP 8.
    Tolerant,
}

/// Spellings that devices are seen to use, beside other cases, and what they mean.
pub const MISSPELT: &[(&str, &str)] = &[
    ("C-Seq", "CSeq"),
    ("Content-Lenght", "Content-Length"),
    ("ContentLength", "Content-Length"),
    ("ContentBase", "Content-Base"),
    ("Content_Base", "Content-Base"),
    ("ContentType", "Content-Type"),
    ("RTPInfo", "RTP-Info"),
    ("RTP_Info", "RTP-Info"),
    ("WWWAuthenticate", "WWW-Authenticate"),
    ("WWW-Authentication", "WWW-Authenticate"),
    ("Session-ID", "Session"),
];

/// Takes a stream apart. It holds at most one message, or one interleaved packet, and what was pushed behind it.
///
/// A line ends with CRLF, LF or CR (RFC 2326 §4); line ends between messages are passed over. A field may be continued on
/// lines that begin with white space.
#[derive(Debug, Default)]
pub struct Reader {
    reading: Reading,
    buffer: BytesMut,
    /// How much of `buffer` has been looked through for the end of the header.
    scanned: usize,
    line_start: usize,
    /// Whether the first line ended with a CR alone, so that a CR at the very end needs no look at what follows.
    lone_cr: bool,
    /// A header that has been read, whose body has not come whole.
    head: Option<(Head, usize)>,
    /// How many stray octets have been passed over since the last item, while it is not known where the next begins.
    stray: Option<usize>,
    skipped: usize,
    is_over: bool,
}

#[derive(Debug)]
enum Head {
    Request(Request),
    Response(Response),
    Refused(ReadError, Option<u32>),
}

impl Reader {
    /// Nothing read.
    pub fn new(reading: Reading) -> Self {
        Reader {
            reading,
            ..Reader::default()
        }
    }

    /// Bytes came. After a fatal error they are thrown away.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_over {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// How many bytes are held.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// How many octets between messages belonged to none and were passed over.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether a message has begun and is not whole.
    pub fn is_inside_message(&self) -> bool {
        self.head.is_some() || self.buffer.first().is_some_and(|b| *b != b'$')
    }

    /// The next item, if it is whole.
    pub fn next_item(&mut self) -> Option<Item> {
        // What was wrong with the stream is told once.
        if self.is_over {
            return None;
        }
        loop {
            if let Some((_, len)) = &self.head {
                return match self.buffer.len() >= *len {
                    true => self.take_message(),
                    false => None,
                };
            }
            if self.scanned == 0 {
                while self.stray.is_none() && matches!(self.buffer.first(), Some(b'\r' | b'\n')) {
                    self.buffer.advance(1);
                }
                match self.skip_stray() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => return Some(self.fail(error)),
                }
            }
            match *self.buffer.first()? {
                b'$' => return self.take_interleaved(),
                first if !is_token(first) => return Some(self.fail(ReadError::NotRtsp)),
                _ => {}
            }
            match self.find_head_end() {
                Ok(None) => return None,
                Ok(Some(end)) => {
                    let mut head = self.buffer.split_to(end).freeze();
                    if self.reading == Reading::Tolerant {
                        let stray = stray_before_response(&head);
                        self.skipped += stray;
                        head.advance(stray);
                    }
                    (self.scanned, self.line_start, self.lone_cr) = (0, 0, false);
                    match read_head(&head, self.reading) {
                        Ok(read) => self.head = Some(read),
                        Err((error, cseq)) => {
                            self.is_over = true;
                            self.buffer.clear();
                            return Some(Item::Refused { error, cseq });
                        }
                    }
                }
                Err(error) => return Some(self.fail(error)),
            }
        }
    }

    /// Passes over what can begin no item, up to where one begins, if the reading is tolerant; false when more has to come before
    /// that is known.
    fn skip_stray(&mut self) -> Result<bool, ReadError> {
        const RESPONSE: &[u8] = b"RTSP/";
        if self.stray.is_none() {
            match self.buffer.first() {
                Some(b) if self.reading == Reading::Tolerant && *b != b'$' && !is_token(*b) => {
                    self.stray = Some(0);
                }
                _ => return Ok(true),
            }
        }
        let begins = |at: &usize| {
            let rest = &self.buffer[*at..];
            let common = rest.len().min(RESPONSE.len());
            rest[0] == b'$' || rest[..common] == RESPONSE[..common]
        };
        let at = (0..self.buffer.len()).find(begins).unwrap_or(self.buffer.len());
        self.buffer.advance(at);
        self.skipped += at;
        let stray = self.stray.unwrap_or(0) + at;
        self.stray = Some(stray);
        if stray > limits::RTSP_HEADER_BYTES {
            return Err(ReadError::NotRtsp);
        }
        let is_found = self.buffer.first() == Some(&b'$') || self.buffer.starts_with(RESPONSE);
        if is_found {
            self.stray = None;
        }
        Ok(is_found)
    }

    fn fail(&mut self, error: ReadError) -> Item {
        self.is_over = true;
        self.buffer.clear();
        Item::Refused { error, cseq: None }
    }

    fn take_interleaved(&mut self) -> Option<Item> {
        let [_, channel, high, low] = *self.buffer.first_chunk::<4>()?;
        let end = 4 + usize::from(u16::from_be_bytes([high, low]));
        if self.buffer.len() < end {
            return None;
        }
        let mut data = self.buffer.split_to(end).freeze();
        data.advance(4);
        Some(Item::Interleaved { channel, data })
    }

    fn take_message(&mut self) -> Option<Item> {
        let (head, len) = self.head.take()?;
        let body = self.buffer.split_to(len).freeze();
        Some(match head {
            Head::Request(request) => Item::Request(Request { body, ..request }),
            Head::Response(response) => Item::Response(Response { body, ..response }),
            Head::Refused(error, cseq) => Item::Refused { error, cseq },
        })
    }

    /// Behind the empty line.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-4
    fn find_head_end(&mut self) -> Result<Option<usize>, ReadError> {
        while self.scanned < self.buffer.len() {
            let at = self.scanned;
            let end = match self.buffer[at] {
                b'\n' => at + 1,
                b'\r' => match self.buffer.get(at + 1) {
                    Some(b'\n') => at + 2,
                    Some(_) => at + 1,
                    None if self.lone_cr => at + 1,
                    None => break,
                },
                _ => {
                    self.scanned += 1;
                    self.check_line(self.scanned)?;
                    continue;
                }
            };
            if self.line_start == 0 {
                self.lone_cr = end == at + 1 && self.buffer[at] == b'\r';
            }
            let is_empty = at == self.line_start;
            (self.scanned, self.line_start) = (end, end);
            if end > limits::RTSP_HEADER_BYTES {
                return Err(ReadError::HeaderTooLong);
            }
            if is_empty {
                return Ok(Some(end));
            }
        }
        match self.scanned > limits::RTSP_HEADER_BYTES {
            true => Err(ReadError::HeaderTooLong),
            false => Ok(None),
        }
    }

    fn check_line(&self, end: usize) -> Result<(), ReadError> {
        match end - self.line_start > limits::RTSP_LINE_BYTES {
            true if self.line_start == 0 => Err(ReadError::RequestLineTooLong),
            true => Err(ReadError::LineTooLong),
            false => Ok(()),
        }
    }
}

/// How much of a header's beginning stands before a status line, and is none of its own.
fn stray_before_response(head: &[u8]) -> usize {
    let line = head
        .split(|b| matches!(b, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let word = line.split(|b| *b == b' ').next().unwrap_or_default();
    let behind = line.get(word.len()..).unwrap_or_default();
    let has_code = matches!(behind, [b' ', code @ ..]
        if code.len() >= 3 && code[..3].iter().all(u8::is_ascii_digit) && code.get(3).is_none_or(|b| *b == b' '));
    let version: &[u8] = b"RTSP/1.0";
    match word.strip_suffix(version) {
        Some(before) if has_code => before.len(),
        _ => 0,
    }
}

type Fatal = (ReadError, Option<u32>);

/// Reads a header that ends with its empty line; with it comes the length of the body.
fn read_head(head: &[u8], reading: Reading) -> Result<(Head, usize), Fatal> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
    let start = lines.next().unwrap_or_default();
    let (headers, mut wrong) = read_fields(lines, reading);
    let cseq = headers.cseq().and_then(Result::ok);
    if headers.len() > limits::RTSP_HEADERS {
        return Err((ReadError::TooManyFields, cseq));
    }
    let len = headers.content_length().map_err(|_| (ReadError::Length, cseq))?;
    if len > limits::RTSP_BODY_BYTES {
        return Err((ReadError::BodyTooLong, cseq));
    }
    let head = match read_start(start) {
        Ok(Head::Request(request)) => Head::Request(Request { headers, ..request }),
        Ok(Head::Response(response)) => Head::Response(Response { headers, ..response }),
        Ok(Head::Refused(error, _)) | Err(error) => {
            wrong = wrong.or(Some(error));
            if start.contains("HTTP/") {
                return Err((ReadError::NotRtsp, cseq));
            }
            Head::Refused(error, cseq)
        }
    };
    let head = match wrong {
        Some(error) => Head::Refused(error, cseq),
        None => head,
    };
    Ok((head, len))
}

fn read_fields<'a>(lines: impl Iterator<Item = &'a str>, reading: Reading) -> (Headers, Option<ReadError>) {
    let mut fields: Vec<(&str, String)> = Vec::new();
    let mut wrong = None;
    for line in lines {
        if line.starts_with([' ', '\t']) {
            match fields.last_mut() {
                Some((_, value)) => {
                    value.push(' ');
                    value.push_str(trim(line));
                }
                None => wrong = Some(ReadError::Field),
            }
            continue;
        }
        match line.split_once(':') {
            Some((name, value)) if is_all_token(trim(name)) => {
                fields.push((trim(name), trim(value).to_owned()));
            }
            _ => wrong = Some(ReadError::Field),
        }
    }
    let mut headers = Headers::new();
    for (name, mut value) in fields {
        let is_control = |c: char| c.is_ascii_control() && c != '\t';
        if value.contains(is_control) {
            wrong = Some(ReadError::Field);
            value = value.replace(is_control, " ");
        }
        let meant = MISSPELT
            .iter()
            .find(|(wrong, _)| reading == Reading::Tolerant && wrong.eq_ignore_ascii_case(name));
        headers.push(meant.map_or(name, |(_, right)| right), value);
    }
    (headers, wrong.filter(|_| reading == Reading::Strict))
}

fn read_start(line: &str) -> Result<Head, ReadError> {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    if first.len() >= 5 && first.as_bytes()[..5].eq_ignore_ascii_case(b"RTSP/") {
        check_version(first)?;
        let code = words.next().unwrap_or_default();
        let status = code
            .parse()
            .ok()
            .filter(|_| code.len() == 3)
            .and_then(Status::new)
            .ok_or(ReadError::StartLine)?;
        let mut response = Response::new(status);
        let reason: Vec<_> = words
            .flat_map(|word| word.split(|c: char| c.is_ascii_control()))
            .filter(|word| !word.is_empty())
            .collect();
        if !reason.is_empty() {
            response.reason = reason.join(" ");
        }
        return Ok(Head::Response(response));
    }
    let method = Method::parse(first).ok_or(ReadError::StartLine)?;
    let (Some(uri), Some(version), None) = (words.next(), words.next(), words.next()) else {
        return Err(ReadError::StartLine);
    };
    if version.len() < 5 || !version.as_bytes()[..5].eq_ignore_ascii_case(b"RTSP/") {
        return Err(ReadError::StartLine);
    }
    check_version(version)?;
    if uri.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(ReadError::StartLine);
    }
    Ok(Head::Request(Request::new(method, uri)))
}

//= https://www.rfc-editor.org/rfc/rfc2326#section-3.1
fn check_version(word: &str) -> Result<(), ReadError> {
    match word.get(5..) {
        Some("1.0") => Ok(()),
        Some(other) if !other.is_empty() && other.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            Err(ReadError::Version)
        }
        _ => Err(ReadError::StartLine),
    }
}

#[cfg(test)]
mod tests;
