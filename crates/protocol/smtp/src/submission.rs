//! A submitted message's header, put right while it streams by (RFC 6409 §8).

use crate::trace::Rfc5322Date;
use bytes::{Bytes, BytesMut};
use ringpost_base::{UnixTime, limits};

/// What a message gets that comes without it.
#[derive(Clone, Debug)]
pub struct Missing {
    /// For Date.
    pub date: UnixTime,
    /// For Message-ID: what stands between the angle brackets.
    pub message_id: String,
    /// For From, as the field's value.
    pub from: String,
}

/// What is wrong with a submitted header, beside what can be put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// From, Sender, Date or Message-ID stand there twice: programs would not agree on which counts.
    Twice(&'static str),
}

/// Takes a message in pieces of any size and gives it back with Bcc and Return-Path taken out, and with Date, Message-ID and
/// From at its header's end where they are missing. It holds no more than the start of a line, up to
/// [`limits::SUBMITTED_FIELD_NAME_BYTES`].
///
/// A line that can belong to no header ends it, as an empty line would, which is put there.
#[derive(Debug)]
pub struct HeaderEditor {
    state: State,
    missing: Missing,
    /// How often each of [`COUNTED`] stood there.
    counts: [u8; 4],
    /// Whether a byte beyond ASCII has come.
    eight_bit: bool,
}

#[derive(Debug)]
enum State {
    /// At the start of a line of the header, of which this has come. `within` when a field was begun and is to be kept.
    LineStart {
        start: Vec<u8>,
        within: Option<bool>,
    },
    /// Within a line of a field.
    Line {
        keep: bool,
    },
    Body,
}

/// The fields that may stand once, and must (RFC 5322 §3.6).
const COUNTED: [&str; 4] = ["From", "Sender", "Date", "Message-ID"];
const DROPPED: [&str; 3] = ["Bcc", "Resent-Bcc", "Return-Path"];

/// What the start of a line shows.
enum Seen {
    /// More must come.
    Open,
    /// It goes on with the field before.
    Continuation,
    /// The empty line.
    End,
    /// A field of this name.
    Field(usize),
    /// It belongs to no header.
    Alien,
}

impl HeaderEditor {
    /// At the start of a message.
    pub fn new(missing: Missing) -> Self {
        HeaderEditor {
            state: State::LineStart {
                start: Vec::new(),
                within: None,
            },
            missing,
            counts: [0; 4],
            eight_bit: false,
        }
    }

    /// The next piece of the message, edited; nothing while it is not known what to do with it.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        self.eight_bit |= !chunk.is_ascii();
        if matches!(self.state, State::Body) {
            return chunk;
        }
        let mut out = BytesMut::with_capacity(chunk.len() + 256);
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            match &mut self.state {
                State::Body => {
                    out.extend_from_slice(rest);
                    break;
                }
                State::Line { keep } => {
                    let keep = *keep;
                    let end = rest
                        .iter()
                        .position(|b| *b == b'\n')
                        .map_or(rest.len(), |i| i + 1);
                    let (line, behind) = rest.split_at(end);
                    rest = behind;
                    if keep {
                        out.extend_from_slice(line);
                    }
                    if line.ends_with(b"\n") {
                        self.state = State::LineStart {
                            start: Vec::new(),
                            within: Some(keep),
                        };
                    }
                }
                State::LineStart { start, .. } => {
                    start.push(rest[0]);
                    rest = &rest[1..];
                    self.look(&mut out);
                }
            }
        }
        out.freeze()
    }

    /// The message is over; gives what is left of it.
    pub fn finish(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        if let State::LineStart { start, .. } = &mut self.state {
            let start = std::mem::take(start);
            if start.is_empty() {
                self.add_missing(&mut out);
                out.extend_from_slice(b"\r\n");
            } else {
                self.end_header(&mut out);
                out.extend_from_slice(&start);
            }
        } else if let State::Line { keep } = self.state {
            // A field without its line end.
            out.extend_from_slice(if keep { b"\r\n" } else { b"" });
            self.end_header(&mut out);
        }
        self.state = State::Body;
        out.freeze()
    }

    /// What is wrong with the header, once the message is over.
    pub fn fault(&self) -> Option<HeaderFault> {
        let twice = self.counts.iter().position(|count| *count > 1)?;
        Some(HeaderFault::Twice(COUNTED[twice]))
    }

    /// Whether the message has bytes beyond ASCII, whatever MAIL said.
    pub fn saw_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Goes on as far as the start of the line allows.
    fn look(&mut self, out: &mut BytesMut) {
        let State::LineStart { start, within } = &mut self.state else {
            return;
        };
        let (seen, within) = (seen(start), *within);
        if let Seen::Open = seen {
            return;
        }
        let start = std::mem::take(start);
        match (seen, within) {
            (Seen::Continuation, Some(keep)) => self.go_on(start, keep, out),
            (Seen::Field(name_end), _) => {
                let name = start[..name_end].trim_ascii_end();
                let is = |other: &&str| other.as_bytes().eq_ignore_ascii_case(name);
                if let Some(at) = COUNTED.iter().position(&is) {
                    self.counts[at] = self.counts[at].saturating_add(1);
                }
                let keep = !DROPPED.iter().any(&is);
                self.go_on(start, keep, out);
            }
            (Seen::End, _) => {
                self.add_missing(out);
                out.extend_from_slice(&start);
                self.state = State::Body;
            }
            _ => {
                self.end_header(out);
                out.extend_from_slice(&start);
            }
        }
    }

    fn go_on(&mut self, start: Vec<u8>, keep: bool, out: &mut BytesMut) {
        if keep {
            out.extend_from_slice(&start);
        }
        self.state = State::Line { keep };
    }

    fn end_header(&mut self, out: &mut BytesMut) {
        self.add_missing(out);
        out.extend_from_slice(b"\r\n");
        self.state = State::Body;
    }

    //= https://www.rfc-editor.org/rfc/rfc6409#section-8
    fn add_missing(&self, out: &mut BytesMut) {
        let Missing {
            date,
            message_id,
            from,
        } = &self.missing;
        let [has_from, _, has_date, has_id] = self.counts.map(|count| count > 0);
        for (has, field) in [
            (has_from, format!("From: {from}\r\n")),
            (has_date, format!("Date: {}\r\n", Rfc5322Date(*date))),
            (has_id, format!("Message-ID: <{message_id}>\r\n")),
        ] {
            if !has {
                out.extend_from_slice(field.as_bytes());
            }
        }
    }
}

fn seen(start: &[u8]) -> Seen {
    let last = start.len() - 1;
    match start {
        [b' ' | b'\t', ..] => Seen::Continuation,
        b"\r" => Seen::Open,
        b"\r\n" => Seen::End,
        _ if start[last] == b':' && !start[..last].trim_ascii_end().is_empty() => Seen::Field(last),
        // White space before the colon is obsolete and still met.
        //= https://www.rfc-editor.org/rfc/rfc5322#section-4.5
        _ if matches!(start[last], b' ' | b'\t') => Seen::Open,
        _ if start[..last].ends_with(b" ") || start[..last].ends_with(b"\t") => Seen::Alien,
        _ if start[last].is_ascii_graphic() && start.len() < limits::SUBMITTED_FIELD_NAME_BYTES => Seen::Open,
        _ => Seen::Alien,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor() -> HeaderEditor {
        HeaderEditor::new(Missing {
            date: UnixTime::from_secs(1_000_000_000),
            message_id: "x@mx".into(),
            from: "Alice <a@b>".into(),
        })
    }

    const FROM: &str = "From: Alice <a@b>\r\n";
    const DATE: &str = "Date: Sun, 9 Sep 2001 01:46:40 +0000\r\n";
    const ID: &str = "Message-ID: <x@mx>\r\n";

    fn edited(pieces: &[&[u8]]) -> (String, Option<HeaderFault>) {
        let mut editor = editor();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&editor.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&editor.finish());
        (String::from_utf8_lossy(&out).into_owned(), editor.fault())
    }

    /// Whole, cut in two everywhere, and byte by byte.
    #[track_caller]
    fn becomes(message: &str, expected: &str) {
        let (whole, _) = edited(&[message.as_bytes()]);
        assert_eq!(whole, expected);
        for at in 0..message.len() {
            let (a, b) = message.as_bytes().split_at(at);
            assert_eq!(edited(&[a, b]).0, expected, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = message.as_bytes().chunks(1).collect();
        assert_eq!(edited(&bytes).0, expected);
    }

    #[test]
    fn what_is_missing_is_added_and_bcc_is_gone() {
        becomes(
            "Subject: x\r\nBcc: secret@x,\r\n more@x\r\nTo: y\r\n z\r\nbCC :\r\nReturn-Path: <q>\r\n\r\nBcc: body\r\n",
            &format!("Subject: x\r\nTo: y\r\n z\r\n{FROM}{DATE}{ID}\r\nBcc: body\r\n"),
        );
        let whole = "from: a@b\r\nDATE:\r\n now\r\nMessage-Id: <q>\r\n\r\nx";
        becomes(whole, whole);
        becomes("\r\nbody", &format!("{FROM}{DATE}{ID}\r\nbody"));
    }

    #[test]
    fn a_message_without_an_empty_line_gets_one_where_its_header_ends() {
        becomes("", &format!("{FROM}{DATE}{ID}\r\n"));
        becomes("To: x\r\n", &format!("To: x\r\n{FROM}{DATE}{ID}\r\n"));
        becomes("To: x", &format!("To: x\r\n{FROM}{DATE}{ID}\r\n"));
        becomes(
            "hello there: you\r\nFrom: me\r\n",
            &format!("{FROM}{DATE}{ID}\r\nhello there: you\r\nFrom: me\r\n"),
        );
        becomes(
            "From: a@b\r\nno field\r\nFrom: c@d\r\n",
            &format!("From: a@b\r\n{DATE}{ID}\r\nno field\r\nFrom: c@d\r\n"),
        );
        becomes(" folded\r\n", &format!("{FROM}{DATE}{ID}\r\n folded\r\n"));
        becomes(": x\r\n", &format!("{FROM}{DATE}{ID}\r\n: x\r\n"));
        let long = "a".repeat(5000);
        becomes(&long[..200], &format!("{FROM}{DATE}{ID}\r\n{}", &long[..200]));
    }

    #[test]
    fn two_senders_are_a_fault_and_eight_bits_are_seen() {
        let fault = |text: &str| edited(&[text.as_bytes()]).1;
        assert_eq!(
            fault("From: a\r\nfrom : b\r\n\r\n"),
            Some(HeaderFault::Twice("From"))
        );
        assert_eq!(fault("From: a\r\n\r\nFrom: b\r\n"), None);
        let mut editor = editor();
        editor.push("Subject: x\r\n\r\nhi".into());
        assert!(!editor.saw_eight_bit());
        editor.push("Grüße".into());
        assert!(editor.saw_eight_bit());
    }
}
