//! Finds the parts of a message while it streams by: where headers and bodies begin and end, and how many lines they have.

use super::head::{Head, Room};
use ringpost_base::limits;
use ringpost_imap::structure::{Content, Part};

/// Takes a message in chunks of any size, and holds only the headers of the parts that are open.
///
/// Positions count bytes of what was pushed. A line ends with CRLF or LF; which of them a source may send is the source's
/// matter. At most [`limits::MIME_PARTS`] parts, [`limits::MIME_NESTING`] deep, are told apart, and at most
/// [`limits::MESSAGE_HEADER_BYTES`] of all headers together are read; of their addresses and parameters
/// [`limits::MESSAGE_ADDRESSES`] and [`limits::MESSAGE_PARAMETERS`] are described.
#[derive(Debug)]
pub(crate) struct Scanner {
    /// What was pushed.
    total: u64,
    /// The last byte of it.
    last_byte: u8,
    /// Where the line began that has not ended yet.
    line_start: u64,
    /// Its beginning, as far as a delimiter could reach.
    line: Vec<u8>,
    /// Line ends before `line_start`.
    line_ends: u64,
    /// How many of them are an LF alone.
    bare_line_ends: u64,
    /// How long the end of the line before is; 0 at the start of the message.
    previous_end_bytes: u64,
    /// Whether the line before has nothing but its end.
    previous_is_blank: bool,
    stack: Vec<Open>,
    parts: usize,
    eight_bit: bool,
    long_line: bool,
    /// How much more of headers is read.
    header_budget_bytes: usize,
    room: Room,
}

/// A part whose end has not come.
#[derive(Debug)]
struct Open {
    header_start: u64,
    /// What is kept of the header, and how much of it came before the current line.
    header: Vec<u8>,
    header_before_line: usize,
    /// Set when the header has ended.
    body: Option<BodyStart>,
    head: Head,
    container: Container,
    /// Finished parts of a multipart, or the message in a message/rfc822.
    inner: Vec<(Part, Head)>,
}

#[derive(Clone, Copy, Debug)]
struct BodyStart {
    at: u64,
    line_ends: u64,
}

#[derive(Debug)]
enum Container {
    Leaf,
    Multipart {
        boundary: Vec<u8>,
        digest: bool,
        closed: bool,
    },
    Message,
}

/// Where parts end that a delimiter, or the end of the message, ends.
#[derive(Clone, Copy)]
struct End {
    /// Before the line end that belongs to the delimiter.
    at: u64,
    /// Line ends before that.
    line_ends: u64,
    /// Whether there is text behind the last of them.
    unterminated: bool,
}

/// The longest line, without its end, that every server takes.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.6
const LINE_BYTES: u64 = 998;

/// The longest line that is looked at for a delimiter: two hyphens, 70 characters, two hyphens, and white space.
const DELIMITER_BYTES: usize = 200;

impl Scanner {
    pub(crate) fn new() -> Self {
        let mut scanner = Scanner {
            total: 0,
            last_byte: b'\n',
            line_start: 0,
            line: Vec::new(),
            line_ends: 0,
            bare_line_ends: 0,
            previous_end_bytes: 0,
            previous_is_blank: true,
            stack: Vec::new(),
            parts: 0,
            eight_bit: false,
            long_line: false,
            header_budget_bytes: limits::MESSAGE_HEADER_BYTES,
            room: Room::new(),
        };
        scanner.open(0, Head::message());
        scanner
    }

    pub(crate) fn push(&mut self, mut chunk: &[u8]) {
        self.eight_bit |= !chunk.is_ascii();
        while !chunk.is_empty() {
            let line_end = chunk.iter().position(|b| *b == b'\n');
            let (piece, rest) = chunk.split_at(line_end.map_or(chunk.len(), |i| i + 1));
            chunk = rest;
            let end_bytes = match piece {
                [.., b'\r', b'\n'] => 2,
                [b'\n'] if self.last_byte == b'\r' && self.total > self.line_start => 2,
                _ => 1,
            };
            self.take(piece);
            if line_end.is_some() {
                self.end_line(end_bytes);
            }
        }
    }

    /// Whether there were bytes beyond ASCII.
    pub(crate) fn has_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Whether a line is longer than every server must take.
    pub(crate) fn has_long_line(&self) -> bool {
        self.long_line || self.total - self.line_start > LINE_BYTES
    }

    /// What would be added if CRLF ended every line of what was pushed, in bytes.
    pub(crate) fn line_end_bytes(&self) -> u64 {
        let unfinished = self.total > self.line_start;
        self.bare_line_ends + if unfinished { 2 } else { 0 }
    }

    /// The message as a part, and what its header says.
    pub(crate) fn finish(mut self) -> (Part, Head) {
        if self.total > self.line_start {
            self.end_line(0);
        }
        let end = End {
            at: self.total,
            line_ends: self.line_ends,
            unterminated: self.last_byte != b'\n',
        };
        loop {
            let closed = self.close_innermost(end);
            match self.stack.last_mut() {
                Some(open) => open.inner.push(closed),
                None => return closed,
            }
        }
    }

    fn take(&mut self, piece: &[u8]) {
        let room = DELIMITER_BYTES.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        self.total += piece.len() as u64;
        self.last_byte = piece.last().copied().unwrap_or(self.last_byte);
        if let Some(open) = self.stack.last_mut().filter(|open| open.body.is_none()) {
            let kept = piece.len().min(self.header_budget_bytes);
            open.header.extend_from_slice(&piece[..kept]);
            self.header_budget_bytes -= kept;
        }
    }

    fn end_line(&mut self, end_bytes: u64) {
        let start = std::mem::replace(&mut self.line_start, self.total);
        let length = self.total - start;
        self.long_line |= length - end_bytes > LINE_BYTES;
        let mut line = std::mem::take(&mut self.line);
        let is_delimiter = length <= DELIMITER_BYTES as u64 && self.delimiter(&line, start);
        self.line_ends += u64::from(end_bytes > 0);
        self.bare_line_ends += u64::from(end_bytes == 1);
        self.previous_end_bytes = end_bytes;
        self.previous_is_blank = length == end_bytes;
        if !is_delimiter && self.previous_is_blank {
            self.header_ends(self.total);
        }
        if let Some(open) = self.stack.last_mut() {
            open.header_before_line = open.header.len();
        }
        line.clear();
        self.line = line;
    }

    fn open(&mut self, header_start: u64, head: Head) {
        self.parts += 1;
        self.stack.push(Open {
            header_start,
            header: Vec::new(),
            header_before_line: 0,
            body: None,
            head,
            container: Container::Leaf,
            inner: Vec::new(),
        });
    }

    /// If the line is the delimiter of an open multipart, ends what it ends and begins what it begins.
    //= https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1
    fn delimiter(&mut self, line: &[u8], start: u64) -> bool {
        let Some(text) = line.trim_ascii_end().strip_prefix(b"--") else {
            return false;
        };
        let found = self
            .stack
            .iter()
            .enumerate()
            .rev()
            .find_map(|(i, open)| match &open.container {
                Container::Multipart {
                    boundary,
                    digest,
                    closed: false,
                } => {
                    let rest = text.strip_prefix(&boundary[..])?;
                    matches!(rest, b"" | b"--").then_some((i, *digest, !rest.is_empty()))
                }
                _ => None,
            });
        let Some((index, digest, closes)) = found else {
            return false;
        };
        if !closes && self.parts >= limits::MIME_PARTS {
            return false;
        }
        let has_line_before = self.previous_end_bytes > 0;
        let end = End {
            at: start - self.previous_end_bytes,
            line_ends: self.line_ends - u64::from(has_line_before),
            unterminated: has_line_before && !self.previous_is_blank,
        };
        if let Some(open) = self.stack.last_mut().filter(|open| open.body.is_none()) {
            // The delimiter's line is no header, though it stands where one was awaited.
            open.header.truncate(open.header_before_line);
        }
        while self.stack.len() > index + 1 {
            let closed = self.close_innermost(end);
            if let Some(open) = self.stack.last_mut() {
                open.inner.push(closed);
            }
        }
        if !closes {
            self.open(self.total, Head::part(digest));
        } else if let Some(Open {
            container: Container::Multipart { closed, .. },
            ..
        }) = self.stack.last_mut()
        {
            *closed = true;
        }
        true
    }

    /// The innermost part's header ends, if it has not yet, and its body begins at `at`.
    fn header_ends(&mut self, at: u64) {
        let depth = self.stack.len();
        let line_ends = self.line_ends;
        let Some(open) = self.stack.last_mut().filter(|open| open.body.is_none()) else {
            return;
        };
        open.body = Some(BodyStart { at, line_ends });
        open.head.read(&std::mem::take(&mut open.header), &mut self.room);
        if depth >= limits::MIME_NESTING {
            return open.head.make_opaque();
        }
        if let Some(boundary) = open.head.boundary() {
            let digest = open.head.subtype == "DIGEST";
            open.container = Container::Multipart {
                boundary,
                digest,
                closed: false,
            };
        } else if open.head.has_message() && self.parts < limits::MIME_PARTS {
            open.container = Container::Message;
            self.open(at, Head::message());
        } else if open.head.kind == "MESSAGE" && open.head.subtype == "RFC822" {
            // A client would expect the envelope of a message that was not looked into.
            open.head.make_opaque();
        }
    }

    fn close_innermost(&mut self, end: End) -> (Part, Head) {
        let depth = self.stack.len();
        // A header without an empty line ends where its part does.
        let header_start = self.stack.last().map_or(0, |open| open.header_start);
        self.header_ends(end.at.max(header_start));
        if self.stack.len() > depth {
            // A header that ended without an empty line has announced a message, which is empty then.
            let empty = self.close_innermost(end);
            self.stack[depth - 1].inner.push(empty);
        }
        let open = self.stack.pop().expect("a part is open until the message ends");
        let start = open.body.expect("the header has ended");
        // The empty line of an empty part is its header's, even where it is the line end before the delimiter too.
        let end = match open.inner.last() {
            Some((part, _)) if part.body.end > end.at => End {
                at: part.body.end,
                line_ends: end.line_ends + 1,
                unterminated: false,
            },
            _ => end,
        };
        let body = start.at..end.at.max(start.at);
        let lines = match body.is_empty() {
            true => 0,
            false => end.line_ends - start.line_ends + u64::from(end.unterminated),
        };
        let Open {
            mut head,
            container,
            mut inner,
            header_start,
            ..
        } = open;
        let content = match (container, inner.len()) {
            (Container::Multipart { .. }, 1..) => Content::Multipart {
                subtype: head.subtype.clone(),
                parts: inner.into_iter().map(|(part, _)| part).collect(),
            },
            (Container::Message, 1..) => {
                let (message, inner_head) = inner.swap_remove(0);
                Content::Message {
                    envelope: Box::new(inner_head.envelope),
                    message: Box::new(message),
                }
            }
            _ => {
                head.make_text();
                Content::Single {
                    kind: head.kind.clone(),
                    subtype: head.subtype.clone(),
                }
            }
        };
        (
            head.clone()
                .into_part(header_start..start.at, body, lines, content),
            head,
        )
    }
}
