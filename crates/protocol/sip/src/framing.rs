//! Finding messages in a byte stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

use crate::header::HeaderName;
use crate::message::{Message, ParseError};
use bytes::{Buf, BytesMut};
use ringpost_base::limits;
use std::net::SocketAddr;
use thiserror::Error;

/// Cuts what a TCP or TLS connection brings into messages.
///
/// Feed it with [`Framer::push`], then call [`Framer::poll`] until it returns `Ok(None)`. It holds at most
/// [`limits::SIP_MESSAGE_BYTES`] beyond the piece that was pushed last. After an error the connection is to be closed:
/// where the next message begins cannot be known.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    source: SocketAddr,
    /// Bytes at the front that hold no end of a header.
    searched: usize,
    /// The length of the message at the front, once its header is whole.
    length: Option<usize>,
    /// A single CRLF has just been reported; one more makes a ping of the two.
    after_pong: bool,
    failed: Option<FrameError>,
}

/// Something that came over the stream.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A whole message.
    Message(Message),
    /// A message that is framed well but cannot be acted on; the stream goes on behind it.
    Malformed(ParseError),
    /// A double CRLF: to be answered with [`PONG`].
    Ping,
    /// A single CRLF: the answer to our ping.
    Pong,
}

/// What keeps a flow alive; the far end answers with [`PONG`] (RFC 5626 §4.4.1).
pub const PING: &[u8] = b"\r\n\r\n";
/// The answer to [`PING`].
pub const PONG: &[u8] = b"\r\n";

/// The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A header is longer than [`limits::SIP_HEADER_BYTES`].
    #[error("a header ends within {} bytes", limits::SIP_HEADER_BYTES)]
    HeaderTooLong,
    /// A message is longer than [`limits::SIP_MESSAGE_BYTES`].
    #[error("a message is at most {} bytes long", limits::SIP_MESSAGE_BYTES)]
    MessageTooLong,
    /// There is no Content-Length, which a stream demands.
    #[error("a message on a stream has a Content-Length")]
    NoLength,
    /// Content-Length is no number, or there are two.
    #[error("there is one Content-Length, and it is a number")]
    BadLength,
    /// What comes is no SIP at all.
    #[error("a start line begins with a method or a version")]
    NotSip,
}

impl Framer {
    /// For a connection whose far end is `source`.
    pub fn new(source: SocketAddr) -> Self {
        Framer {
            buffer: BytesMut::new(),
            source,
            searched: 0,
            length: None,
            after_pong: false,
            failed: None,
        }
    }

    /// Takes bytes as they came; after an error they are let go.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a message has begun and not ended: the time it may take is for the owner to bound.
    pub fn is_inside_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next thing that is whole; `None` when more bytes are needed. An error repeats itself.
    pub fn poll(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.next().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer = BytesMut::new();
        })
    }

    fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(frame) = self.keepalive() {
            return Ok(Some(frame));
        }
        let length = match self.length {
            Some(length) => length,
            None => match self.measure()? {
                Some(length) => *self.length.insert(length),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.length = None;
        self.searched = 0;
        self.after_pong = false;
        let bytes = self.buffer.split_to(length).freeze();
        Ok(Some(match Message::parse_from(bytes, self.source) {
            Ok(message) => Frame::Message(message),
            Err(error) => Frame::Malformed(error),
        }))
    }

    /// Takes line ends between messages. A ping that arrives in two halves is reported as a pong and a ping, since the
    /// first half alone cannot be told from a pong.
    //= https://www.rfc-editor.org/rfc/rfc5626#section-3.5.1
    fn keepalive(&mut self) -> Option<Frame> {
        if self.length.is_some() || !self.buffer.starts_with(PONG) {
            return None;
        }
        let is_ping = self.buffer.starts_with(PING);
        // Half of the second CRLF is here: the rest will tell.
        if !is_ping && self.buffer[2..] == *b"\r" {
            return None;
        }
        self.buffer.advance(if is_ping { 4 } else { 2 });
        self.searched = 0;
        let completes_ping = !is_ping && self.after_pong;
        self.after_pong = !is_ping && !completes_ping;
        Some(if is_ping || completes_ping {
            Frame::Ping
        } else {
            Frame::Pong
        })
    }

    /// The length of the message at the front of the buffer, when its header is whole.
    fn measure(&mut self) -> Result<Option<usize>, FrameError> {
        // The first byte of a CRLF may be here alone.
        let may_be_sip = match self.buffer[..] {
            [] | [b'\r'] | [b'\r', b'\n', ..] => true,
            [first, ..] => crate::syntax::is_token(first),
        };
        if !may_be_sip {
            return Err(FrameError::NotSip);
        }
        let start = self.searched.saturating_sub(3);
        let end = self.buffer[start..].windows(4).position(|w| w == b"\r\n\r\n");
        let Some(end) = end.map(|at| start + at + 4) else {
            self.searched = self.buffer.len();
            return match self.buffer.len() < limits::SIP_HEADER_BYTES {
                true => Ok(None),
                false => Err(FrameError::HeaderTooLong),
            };
        };
        if end >= limits::SIP_HEADER_BYTES {
            return Err(FrameError::HeaderTooLong);
        }
        let length = content_length(&self.buffer[..end])?;
        match end.checked_add(length) {
            Some(whole) if whole <= limits::SIP_MESSAGE_BYTES => Ok(Some(whole)),
            _ => Err(FrameError::MessageTooLong),
        }
    }
}

/// The Content-Length of a header.
//= https://www.rfc-editor.org/rfc/rfc3261#section-18.3
fn content_length(head: &[u8]) -> Result<usize, FrameError> {
    let mut lines = head.split(|b| *b == b'\n').skip(1);
    let first = lines.next();
    let mut found = None;
    let mut line = first;
    while let Some(text) = line {
        line = lines.next();
        let Some(value) = length_value(text) else { continue };
        let folded = line.is_some_and(|next| matches!(next.first(), Some(b' ' | b'\t')));
        let digits = std::str::from_utf8(value.trim_ascii()).ok();
        let number = digits.filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
        match number.and_then(|d| d.parse().ok()) {
            Some(number) if found.is_none() && !folded => found = Some(number),
            _ => return Err(FrameError::BadLength),
        }
    }
    found.ok_or(FrameError::NoLength)
}

/// What stands behind the colon, if the line is a Content-Length.
fn length_value(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line[..colon].trim_ascii_end();
    (HeaderName::find_bytes(name) == HeaderName::ContentLength).then(|| &line[colon + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:a@h.com SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n\
        From: <sip:b@h.com>;tag=1\r\nTo: <sip:a@h.com>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\n\r\nabc";

    fn framer() -> Framer {
        Framer::new("192.0.2.1:5060".parse().unwrap())
    }

    fn names(framer: &mut Framer) -> Result<Vec<&'static str>, FrameError> {
        let mut all = Vec::new();
        while let Some(frame) = framer.poll()? {
            all.push(match frame {
                Frame::Message(m) => {
                    assert_eq!(&m.body()[..], b"abc");
                    "message"
                }
                Frame::Malformed(_) => "malformed",
                Frame::Ping => "ping",
                Frame::Pong => "pong",
            });
        }
        Ok(all)
    }

    #[test]
    fn messages_and_keepalives_come_out_whole_however_they_arrive() {
        let stream = format!("\r\n\r\n{OPTIONS}{OPTIONS}\r\n{OPTIONS}\r\n\r\n");
        let expected = ["ping", "message", "message", "pong", "message", "ping"];
        let mut f = framer();
        f.push(stream.as_bytes());
        assert_eq!(names(&mut f).unwrap(), expected);
        assert!(!f.is_inside_message());
        for size in [2, 3, 5, 7, 64] {
            let (mut f, mut all) = (framer(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                f.push(piece);
                all.extend(names(&mut f).unwrap());
            }
            assert_eq!(all.iter().filter(|n| **n == "message").count(), 3, "{size}");
            assert_eq!(all.iter().filter(|n| **n == "ping").count(), 2, "{size}: {all:?}");
        }
    }

    #[test]
    fn a_message_that_is_framed_well_but_broken_does_not_end_the_stream() {
        let mut f = framer();
        f.push(OPTIONS.replace("To: <", "To: ").as_bytes());
        f.push(OPTIONS.as_bytes());
        assert_eq!(names(&mut f).unwrap(), ["malformed", "message"]);
    }

    // Guards pitfall SIP 5: without exactly one good Content-Length nothing behind it can be trusted.
    #[test]
    fn a_missing_bad_or_doubled_length_ends_the_stream() {
        for (length, error) in [
            ("", FrameError::NoLength),
            ("Content-Length: five\r\n", FrameError::BadLength),
            ("Content-Length: -999\r\n", FrameError::BadLength),
            ("Content-Length: +3\r\n", FrameError::BadLength),
            ("Content-Length:\r\n", FrameError::BadLength),
            ("Content-Length: 3\r\n 0\r\n", FrameError::BadLength),
            ("Content-Length: 3\r\nl: 3\r\n", FrameError::BadLength),
            ("Content-Length: 300000\r\n", FrameError::MessageTooLong),
            (
                "Content-Length: 99999999999999999999999\r\n",
                FrameError::BadLength,
            ),
        ] {
            let mut f = framer();
            f.push(OPTIONS.replace("Content-Length: 3\r\n", length).as_bytes());
            assert_eq!(names(&mut f), Err(error), "{length}");
            f.push(OPTIONS.as_bytes());
            assert_eq!(names(&mut f), Err(error), "{length}");
        }
    }

    #[test]
    fn endless_headers_and_other_protocols_are_cut_off() {
        let mut f = framer();
        f.push(b"OPTIONS sip:a@h.com SIP/2.0\r\n");
        for _ in 0..100 {
            f.push(&[b'x'; 1000]);
            if names(&mut f).is_err() {
                break;
            }
        }
        assert_eq!(names(&mut f), Err(FrameError::HeaderTooLong));
        let mut f = framer();
        f.push(b"\x16\x03\x01\x02\0");
        assert_eq!(names(&mut f), Err(FrameError::NotSip));
    }
}
