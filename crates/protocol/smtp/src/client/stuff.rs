//! A message as it goes behind DATA: dots stuffed, every line ended by CRLF.

use bytes::{BufMut, Bytes, BytesMut};

/// Stuffs a message piece by piece.
///
/// A CR or LF that stands alone becomes CRLF, so that no server behind us can see an end of data where we see none.
#[derive(Debug)]
pub(super) struct Stuffer {
    line_start: bool,
    after_cr: bool,
}

impl Stuffer {
    /// At the start of the message.
    pub(super) fn new() -> Self {
        Stuffer {
            line_start: true,
            after_cr: false,
        }
    }

    /// The next piece as it is sent.
    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2
    pub(super) fn push(&mut self, piece: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(piece.len() + 64);
        let mut rest = piece;
        while let Some(&first) = rest.first() {
            if self.after_cr && first != b'\n' {
                //= https://www.rfc-editor.org/rfc/rfc5321#section-2.3.8
                out.put_u8(b'\n');
                self.line_start = true;
            }
            match first {
                b'\n' => {
                    if !self.after_cr {
                        out.put_u8(b'\r');
                    }
                    out.put_u8(b'\n');
                    (self.line_start, self.after_cr) = (true, false);
                    rest = &rest[1..];
                }
                b'\r' => {
                    out.put_u8(b'\r');
                    (self.line_start, self.after_cr) = (false, true);
                    rest = &rest[1..];
                }
                _ => {
                    if self.line_start && first == b'.' {
                        out.put_u8(b'.');
                    }
                    let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    let (text, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    out.extend_from_slice(text);
                    (self.line_start, self.after_cr) = (false, false);
                    rest = behind;
                }
            }
        }
        out.freeze()
    }

    /// What ends the message.
    pub(super) fn end(self) -> &'static [u8] {
        match (self.after_cr, self.line_start) {
            (true, _) => b"\n.\r\n",
            (false, true) => b".\r\n",
            (false, false) => b"\r\n.\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{DataReader, Read};

    fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
        let mut stuffer = Stuffer::new();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| stuffer.push(piece)).collect();
        out.extend_from_slice(stuffer.end());
        out
    }

    fn at_every_split(message: &[u8]) -> Vec<u8> {
        let whole = stuffed(&[message]);
        for at in 0..message.len() {
            assert_eq!(stuffed(&[&message[..at], &message[at..]]), whole, "split at {at}");
        }
        whole
    }

    // Guards pitfall SMTP 7: what is stuffed here is what every server takes out again.
    #[test]
    fn what_is_stuffed_is_read_back_as_it_was() {
        for message in [
            &b"a\r\n.b\r\n..c\r\n.\r\nd\r\n"[..],
            b".",
            b"..\r\n",
            b"",
            b"no line end",
            b"ends in CRLF\r\n",
        ] {
            let sent = at_every_split(message);
            let (mut reader, mut input) = (DataReader::new(), Bytes::from(sent));
            let mut text = Vec::new();
            loop {
                match reader.read(&mut input) {
                    Read::Text(piece) => text.extend_from_slice(&piece),
                    Read::End => break,
                    Read::More => panic!("the end is missing"),
                }
            }
            assert!(input.is_empty() && !reader.saw_bare_line_end());
            let mut expected = message.to_vec();
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            assert_eq!(text, expected);
        }
    }

    // Guards pitfall SMTP 1: nothing that another server might take for the end of the data leaves here.
    #[test]
    fn a_line_end_that_stands_alone_never_leaves() {
        assert_eq!(
            at_every_split(b"a\n.\nb\r.\rc\r\r\n"),
            b"a\r\n..\r\nb\r\n..\r\nc\r\n\r\n.\r\n"
        );
        assert_eq!(at_every_split(b"a\r"), b"a\r\n.\r\n");
    }

    #[test]
    fn a_line_over_998_octets_passes_as_it_is() {
        let long = [&b"."[..], &[b'x'; 5_000], b"\r\n"].concat();
        let sent = at_every_split(&long[..200]);
        assert!(sent.starts_with(b"..xx"));
        assert_eq!(stuffed(&[&long]).len(), long.len() + 1 + 3);
    }
}
