//! Lines and literals, put together to commands from input that comes in any pieces.

use crate::token::Announced;
use bytes::{Bytes, BytesMut};
use ringpost_base::limits;

/// What a client has sent and no command has used yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: BytesMut,
    /// Where the last line of the command that is being read begins; past the end while a literal is on its way.
    line: usize,
    /// Before this there is no line end from `line` on.
    searched: usize,
    literals: usize,
    literal_bytes: usize,
    /// Bytes of a refused literal that are still to be thrown away.
    skip: u64,
    /// Whether the rest of a refused command is being thrown away.
    discarding: bool,
}

/// How far the input reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More is needed.
    More,
    /// A line ends at this byte of the command, after CRLF.
    Line(usize),
    /// As `Line`, but the end is a bare LF.
    BareLine(usize),
    /// The command without its literals is longer than `limits::IMAP_LINE_BYTES`.
    TooLong,
    /// The rest of the refused command has been thrown away.
    Discarded,
    /// It cannot be thrown away: its next literal is larger than one may send unasked.
    NoEnd,
}

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.skip > 0 {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= skipped as u64;
            return self.buffer.extend_from_slice(&bytes[skipped..]);
        }
        self.buffer.extend_from_slice(bytes);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Input::default();
    }

    pub(super) fn next(&mut self, literal_plus: bool) -> Next {
        if self.discarding {
            return self.discard(literal_plus);
        }
        match self.line_end() {
            None if self.buffer.len().saturating_sub(self.literal_bytes) > limits::IMAP_LINE_BYTES => {
                Next::TooLong
            }
            None => Next::More,
            Some(end) if end - self.literal_bytes > limits::IMAP_LINE_BYTES => Next::TooLong,
            // A CR that a literal ends with is the literal's.
            Some(end) if self.buffer[self.line..end].ends_with(b"\r\n") => Next::Line(end),
            Some(end) => Next::BareLine(end),
        }
    }

    fn line_end(&mut self) -> Option<usize> {
        let from = self.line.max(self.searched);
        let end = self
            .buffer
            .get(from..)?
            .iter()
            .position(|b| *b == b'\n')
            .map(|at| from + at + 1);
        self.searched = end.map_or(self.buffer.len(), |_| from);
        end
    }

    /// The command so far, up to `end`.
    pub(super) fn command(&self, end: usize) -> &[u8] {
        &self.buffer[..end]
    }

    /// Whether the line that ends at `end` announces a literal.
    pub(super) fn announces(&self, end: usize) -> bool {
        announced(&self.buffer[self.line..end]).is_some()
    }

    /// Literals of the command so far, and how many bytes they have.
    pub(super) fn literals(&self) -> (usize, usize) {
        (self.literals, self.literal_bytes)
    }

    /// The next `size` bytes after the line that ends at `end` belong to the command as well.
    pub(super) fn expect_literal(&mut self, end: usize, size: usize) {
        self.literals += 1;
        self.literal_bytes += size;
        self.line = end + size;
    }

    /// Takes the command up to `end` out; what follows is the next one's.
    pub(super) fn take(&mut self, end: usize) -> Bytes {
        let command = self.buffer.split_to(end).freeze();
        self.next_begins();
        command
    }

    /// Takes up to `limit` bytes of a message that is being received.
    pub(super) fn take_body(&mut self, limit: usize) -> Bytes {
        let len = self.buffer.len().min(limit);
        self.take(len)
    }

    /// Throws away the command up to `end`, and then `literal` with the rest of the command, which the client sends
    /// unasked.
    pub(super) fn refuse(&mut self, end: usize, literal: u64) {
        self.take(end);
        self.discarding = true;
        self.drop_bytes(literal);
    }

    fn drop_bytes(&mut self, bytes: u64) {
        let here = usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        self.take(here);
        self.skip = bytes - here as u64;
    }

    fn discard(&mut self, literal_plus: bool) -> Next {
        loop {
            if self.skip > 0 {
                return Next::More;
            }
            let Some(end) = self.line_end() else {
                let long = self.buffer.len() > limits::IMAP_LINE_BYTES;
                return if long { Next::TooLong } else { Next::More };
            };
            let literal = announced(&self.buffer[..end]);
            self.take(end);
            match literal {
                Some(l) if l.unasked && too_large_unasked(l, literal_plus) => return Next::NoEnd,
                Some(l) if l.unasked => self.drop_bytes(l.size_bytes),
                // A client that waits for leave gets the refusal instead.
                _ => {
                    self.discarding = false;
                    return Next::Discarded;
                }
            }
        }
    }

    fn next_begins(&mut self) {
        (self.line, self.searched, self.literals, self.literal_bytes) = (0, 0, 0, 0);
        if self.buffer.is_empty() {
            // A session that only waits holds no buffer.
            self.buffer = BytesMut::new();
        }
    }
}

/// Whether a literal may not come without being asked for (RFC 7888 §5).
pub(super) fn too_large_unasked(literal: Announced, literal_plus: bool) -> bool {
    let limit = if literal_plus {
        limits::MESSAGE_BYTES
    } else {
        limits::IMAP_UNASKED_LITERAL_BYTES
    };
    literal.unasked && literal.size_bytes > limit
}

/// The literal that a line with its end announces.
pub(super) fn announced(line: &[u8]) -> Option<Announced> {
    let line = line.strip_suffix(b"\r\n")?.strip_suffix(b"}")?;
    let open = line.iter().rposition(|b| *b == b'{')?;
    let size = &line[open + 1..];
    let (digits, unasked) = match size.strip_suffix(b"+") {
        Some(digits) => (digits, true),
        None => (size, false),
    };
    let digits = std::str::from_utf8(digits).ok()?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    Some(Announced {
        size_bytes: digits.parse().ok().filter(|_| plain)?,
        unasked,
        binary: false,
    })
}
