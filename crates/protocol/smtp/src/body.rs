//! What comes behind DATA and BDAT: un-stuffed, ended, and checked for line ends that others might read differently.

use bytes::Bytes;

/// Finds the end of the mail data behind DATA and takes the stuffed dots out.
///
/// Only CRLF ends a line, and only CRLF.CRLF ends the data. A CR or LF that stands alone is counted as an offence and
/// never begins a line, so that no end of data is seen here that another server would not see, and the other way round.
#[derive(Clone, Debug)]
pub(crate) struct DataReader {
    state: State,
    bare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    Line,
    Cr,
    Dot,
    DotCr,
}

/// A step of reading mail data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A piece of the message; there may be more behind it in the same input.
    Text(Bytes),
    /// The input is used up.
    More,
    /// The final dot was read; what is left of the input is a command.
    End,
}

impl DataReader {
    /// At the start of the data, which is the start of a line.
    pub(crate) fn new() -> Self {
        DataReader {
            state: State::LineStart,
            bare: false,
        }
    }

    /// Whether a CR or LF stood alone.
    pub(crate) fn saw_bare_line_end(&self) -> bool {
        self.bare
    }

    /// Takes the next piece from the front of `input`.
    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2
    pub(crate) fn read(&mut self, input: &mut Bytes) -> Read {
        let mut start = 0;
        let mut i = 0;
        while i < input.len() {
            if self.state == State::Line {
                // Most bytes are neither CR nor LF.
                i += input[i..]
                    .iter()
                    .position(|b| matches!(b, b'\r' | b'\n'))
                    .unwrap_or(input.len() - i);
                if i == input.len() {
                    break;
                }
            }
            let (before, b) = (self.state, input[i]);
            self.state = match (before, b) {
                (State::LineStart, b'.') => {
                    // Held back until it is known for a stuffed one or the last one; either way it is not text.
                    self.state = State::Dot;
                    let text = input.split_to(i + 1).slice(start..i);
                    if text.is_empty() {
                        return self.read(input);
                    }
                    return Read::Text(text);
                }
                (State::Dot, b'\r') => State::DotCr,
                (State::DotCr, b'\n') => {
                    let _ = input.split_to(i + 1);
                    self.state = State::LineStart;
                    return Read::End;
                }
                (State::DotCr, _) => {
                    self.bare = true;
                    State::Line
                }
                (State::Cr, b'\n') => State::LineStart,
                (_, b'\r') => {
                    self.bare |= before == State::Cr;
                    State::Cr
                }
                (_, b'\n') => {
                    self.bare = true;
                    State::Line
                }
                (State::Cr, _) => {
                    self.bare = true;
                    State::Line
                }
                _ => State::Line,
            };
            // The CR of a possible last line is not text either.
            if self.state == State::DotCr {
                start = i + 1;
            }
            i += 1;
        }
        let text = input.split_to(input.len()).slice(start..);
        if text.is_empty() {
            Read::More
        } else {
            Read::Text(text)
        }
    }
}

/// Looks for CR and LF that stand alone in text that is counted rather than dotted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineEnds {
    after_cr: bool,
    bare: bool,
}

impl LineEnds {
    /// Goes over the next piece.
    pub(crate) fn check(&mut self, text: &[u8]) {
        for &b in text {
            self.bare |= self.after_cr != (b == b'\n');
            self.after_cr = b == b'\r';
        }
    }

    /// Whether a CR or LF stood alone, now that nothing comes any more.
    pub(crate) fn saw_bare_line_end(self) -> bool {
        self.bare || self.after_cr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, whether the end was found, what is left, and whether a line end stood alone.
    fn read(parts: &[&[u8]]) -> (Vec<u8>, bool, Vec<u8>, bool) {
        let mut reader = DataReader::new();
        let (mut text, mut end, mut left) = (Vec::new(), false, Vec::new());
        for part in parts {
            let mut input = Bytes::copy_from_slice(part);
            while !end {
                match reader.read(&mut input) {
                    Read::Text(t) => text.extend_from_slice(&t),
                    Read::More => break,
                    Read::End => end = true,
                }
            }
            left.extend_from_slice(&input);
        }
        (text, end, left, reader.saw_bare_line_end())
    }

    fn at_every_split(data: &[u8]) -> (Vec<u8>, bool, Vec<u8>, bool) {
        let whole = read(&[data]);
        for i in 0..data.len() {
            assert_eq!(read(&[&data[..i], &data[i..]]), whole, "split at {i}");
        }
        let bytes: Vec<&[u8]> = data.chunks(1).collect();
        assert_eq!(read(&bytes), whole);
        whole
    }

    #[test]
    fn dots_are_unstuffed_and_the_last_one_ends() {
        let (text, end, left, bare) = at_every_split(b"a\r\n..b\r\n.c\r\n...\r\nd.\r\n.\r\nQUIT\r\n");
        assert_eq!(text, b"a\r\n.b\r\nc\r\n..\r\nd.\r\n");
        assert!(end && !bare);
        assert_eq!(left, b"QUIT\r\n");
    }

    #[test]
    fn an_empty_message_ends_at_once() {
        let (text, end, left, _) = at_every_split(b".\r\nX");
        assert_eq!(
            (text.as_slice(), end, left.as_slice()),
            (&b""[..], true, &b"X"[..])
        );
    }

    // Guards pitfall SMTP 1: another server's idea of a line's end is not an end here.
    #[test]
    fn no_other_line_end_ends_the_data() {
        for smuggled in [
            &b"a\n.\nMAIL"[..],
            b"a\r\n.\nMAIL",
            b"a\n.\r\nMAIL",
            b"a\r.\rMAIL",
            b"a\r\n.\rMAIL",
            b"a\r.\r\nMAIL",
            b"a\r\r\n.\r\r\nMAIL",
            b"a\n\r.\n\rMAIL",
            b"\n.\r\nMAIL",
            b".\nMAIL",
            b".\rMAIL",
            b"a\r\n.\r.\r\nMAIL",
        ] {
            let (_, end, _, bare) = at_every_split(smuggled);
            assert!(!end && bare, "{:?}", smuggled.escape_ascii().to_string());
        }
        let (_, end, left, bare) = at_every_split(b"a\nb\r\n.\r\nQUIT");
        assert!(end && bare, "the offence is told once the real end has come");
        assert_eq!(left, b"QUIT");
    }

    #[test]
    fn counted_text_is_checked_for_the_same_offence() {
        let bare = |parts: &[&[u8]]| {
            let mut ends = LineEnds::default();
            parts.iter().for_each(|p| ends.check(p));
            ends.saw_bare_line_end()
        };
        assert!(!bare(&[b"a\r", b"\nb\r\n"]));
        assert!(!bare(&[b"no line end"]));
        for bad in [&b"a\nb"[..], b"a\rb", b"a\r\r\n", b"a\r\n\n", b"a\r"] {
            assert!(bare(&[bad]));
        }
    }
}
