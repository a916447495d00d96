//! Lines, put together from input that comes in any pieces.

use bytes::{Bytes, BytesMut};
use ringpost_base::limits;

/// What a client has sent and no command has used yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: BytesMut,
    /// Before this there is no line end.
    searched: usize,
    /// Whether the rest of a line that was too long is being thrown away.
    skipping: bool,
}

/// How far the input reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// More is needed.
    More,
    /// A line, without its CRLF.
    Whole(Bytes),
    /// A line that ended with a bare LF.
    Bare,
    /// A line longer than [`limits::POP3_LINE_BYTES`]; it has been thrown away.
    TooLong,
}

impl Input {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Input::default();
    }

    pub(crate) fn next(&mut self) -> Line {
        let end = self.buffer[self.searched..].iter().position(|b| *b == b'\n');
        let Some(end) = end.map(|at| self.searched + at + 1) else {
            self.searched = self.buffer.len();
            if self.skipping || self.buffer.len() > limits::POP3_LINE_BYTES {
                self.skipping = true;
                self.take(self.buffer.len());
            }
            return Line::More;
        };
        let mut line = self.take(end);
        if std::mem::take(&mut self.skipping) || line.len() > limits::POP3_LINE_BYTES {
            return Line::TooLong;
        }
        if !line.ends_with(b"\r\n") {
            return Line::Bare;
        }
        line.truncate(line.len() - 2);
        Line::Whole(line)
    }

    fn take(&mut self, end: usize) -> Bytes {
        let line = self.buffer.split_to(end).freeze();
        self.searched = 0;
        if self.buffer.is_empty() {
            // A session that only waits holds no buffer.
            self.buffer = BytesMut::new();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_any_pieces() {
        let mut input = Input::default();
        input.push(b"ST");
        assert_eq!(input.next(), Line::More);
        input.push(b"AT\r");
        assert_eq!(input.next(), Line::More);
        input.push(b"\nNOOP\r\nQUIT\n");
        assert_eq!(input.next(), Line::Whole("STAT".into()));
        assert_eq!(input.next(), Line::Whole("NOOP".into()));
        assert_eq!(input.next(), Line::Bare);
        assert_eq!(input.next(), Line::More);
    }

    #[test]
    fn a_line_that_is_too_long_is_thrown_away_as_it_comes() {
        let mut input = Input::default();
        for _ in 0..100 {
            input.push(&[b'x'; limits::POP3_LINE_BYTES]);
            assert_eq!(input.next(), Line::More);
            assert!(input.len() <= limits::POP3_LINE_BYTES);
        }
        input.push(b"x\r\nQUIT\r\n");
        assert_eq!(input.next(), Line::TooLong);
        assert_eq!(input.next(), Line::Whole("QUIT".into()));
    }
}
