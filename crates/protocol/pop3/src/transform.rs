//! A message as a multi-line response carries it.

use bytes::BytesMut;

/// Turns a stored message into the lines of RETR or TOP while it streams by: CRLF at the end of each line, a dot before a
/// line's dot, and the line with the dot alone at the end (RFC 1939 §3).
///
/// A line of the message ends with LF, with CR before it or not; a CR elsewhere is a byte like any other. Outside of UTF-8
/// mode each byte of the header that is not ASCII is sent as `?`, so that the response has the size that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    utf8: bool,
    /// Lines of the body that are still wanted; `None` is all.
    lines_left: Option<u64>,
    in_header: bool,
    /// Whether the line so far has no byte. A CR that may turn out to belong to the line's end is none yet.
    line_is_empty: bool,
    /// Whether the last byte was a CR, which waits for what comes next.
    after_cr: bool,
    /// Bytes written of the message, without the dots.
    size_bytes: u64,
}

impl Transform {
    /// All of a message, or with `lines` its header and so many lines of its body. `utf8` says whether the client has asked
    /// for UTF-8 (RFC 6856 §2.1).
    pub fn new(lines: Option<u64>, utf8: bool) -> Self {
        Transform {
            utf8,
            lines_left: lines,
            in_header: true,
            line_is_empty: true,
            after_cr: false,
            size_bytes: 0,
        }
    }

    /// Whether the whole message is wanted.
    pub fn is_whole(&self) -> bool {
        self.lines_left.is_none()
    }

    /// Whether nothing more of the message is wanted, so that it need not be read further.
    pub fn is_satisfied(&self) -> bool {
        !self.in_header && self.line_is_empty && !self.after_cr && self.lines_left == Some(0)
    }

    /// What has been written of the message, in bytes: dots that were put before others, and the last line, do not count.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Writes what the next bytes of the message come to.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut BytesMut) {
        while !bytes.is_empty() && !self.is_satisfied() {
            let as_they_are = self.lines_as_they_are(bytes);
            if as_they_are > 0 {
                out.extend_from_slice(&bytes[..as_they_are]);
                self.size_bytes += as_they_are as u64;
                bytes = &bytes[as_they_are..];
                continue;
            }
            let end = bytes.iter().position(|b| *b == b'\n');
            let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let (text, ends_with_cr) = match text {
                [text @ .., b'\r'] => (text, true),
                text => (text, false),
            };
            if self.after_cr && (!text.is_empty() || ends_with_cr) {
                self.after_cr = false;
                self.text(b"\r", out);
            }
            self.text(text, out);
            self.after_cr |= ends_with_cr;
            if end.is_some() {
                self.end_line(out);
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
    }

    /// How many of the next bytes are whole lines that are sent as they are: mostly all of a body.
    fn lines_as_they_are(&self, bytes: &[u8]) -> usize {
        match self.in_header || self.lines_left.is_some() || self.after_cr || !self.line_is_empty {
            true => 0,
            false => lines_as_they_are(bytes),
        }
    }

    /// Ends the response.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if self.after_cr {
            self.text(b"\r", out);
        }
        if !self.line_is_empty {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn text(&mut self, text: &[u8], out: &mut BytesMut) {
        let Some(first) = text.first() else { return };
        //= https://www.rfc-editor.org/rfc/rfc1939#section-3
        if self.line_is_empty && *first == b'.' {
            out.extend_from_slice(b".");
        }
        self.line_is_empty = false;
        self.size_bytes += text.len() as u64;
        //= https://www.rfc-editor.org/rfc/rfc6856#section-2.1
        // A client that has not asked for UTF-8 gets a header without.
        if self.in_header && !self.utf8 && !text.is_ascii() {
            return out.extend(text.iter().map(|b| if b.is_ascii() { *b } else { b'?' }));
        }
        out.extend_from_slice(text);
    }

    fn end_line(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"\r\n");
        self.size_bytes += 2;
        let is_empty = std::mem::replace(&mut self.line_is_empty, true);
        self.after_cr = false;
        if self.in_header {
            self.in_header = !is_empty;
        } else if let Some(left) = &mut self.lines_left {
            *left = left.saturating_sub(1);
        }
    }
}

/// The length of the whole lines at the beginning of `bytes`, which begin a line, that have CRLF at their ends and no dot at
/// their beginnings.
fn lines_as_they_are(bytes: &[u8]) -> usize {
    /// Bytes that are looked at together, so that the compiler makes vectors of them.
    const LANES: usize = 32;
    let is_not = |(before, byte): (&u8, &u8)| {
        (*byte == b'\n') & (*before != b'\r') | (*byte == b'.') & (*before == b'\n')
    };
    let Some((_, behind)) = bytes
        .split_first()
        .filter(|(first, _)| !matches!(first, b'\n' | b'.'))
    else {
        return 0;
    };
    let before = &bytes[..bytes.len() - 1];
    let mut at = 1;
    for (before, bytes) in before.chunks(LANES).zip(behind.chunks(LANES)) {
        let any = match (<&[u8; LANES]>::try_from(before), <&[u8; LANES]>::try_from(bytes)) {
            (Ok(before), Ok(bytes)) => before.iter().zip(bytes).fold(false, |any, two| any | is_not(two)),
            // The last few.
            _ => true,
        };
        if any && let Some(i) = before.iter().zip(bytes).position(is_not) {
            at += i;
            break;
        }
        at += bytes.len();
    }
    let last = bytes[..at].iter().rposition(|b| *b == b'\n');
    last.map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(message: &[u8], lines: Option<u64>) -> String {
        let mut out = BytesMut::new();
        let mut transform = Transform::new(lines, true);
        transform.push(message, &mut out);
        transform.finish(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_line_that_begins_with_a_dot_gets_another() {
        // Guards pitfall POP3 2: dots.
        assert_eq!(
            sent(b"a: b\r\n\r\n.\r\n..\r\n.x\r\nx.\r\n", None),
            "a: b\r\n\r\n..\r\n...\r\n..x\r\nx.\r\n.\r\n"
        );
        assert_eq!(sent(b"", None), ".\r\n");
        assert_eq!(sent(b".", None), "..\r\n.\r\n");
    }

    #[test]
    fn whole_lines_are_taken_together_up_to_one_that_is_sent_otherwise() {
        let plain = "0123456789\r\n\r\n".repeat(20);
        for (rest, taken) in [
            ("", 0),
            (".\r\n", 0),
            ("\n", 0),
            ("a", 0),
            ("a.\r\nb\n", 4),
            ("a\r\n", 3),
        ] {
            for lines in 0..20 {
                let before = &plain[..14 * lines];
                let text = format!("{before}{rest}");
                assert_eq!(
                    lines_as_they_are(text.as_bytes()),
                    before.len() + taken,
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn every_line_ends_with_crlf() {
        // Guards pitfall POP3 2: line ends.
        assert_eq!(sent(b"a\n\nb\r\nc", None), "a\r\n\r\nb\r\nc\r\n.\r\n");
        assert_eq!(sent(b"a\rb\r\r\n\r", None), "a\rb\r\r\n\r\r\n.\r\n");
    }

    #[test]
    fn top_counts_lines_of_the_body() {
        // Guards pitfall POP3 3: TOP n 0.
        let message = b"a: b\r\nc: d\r\n\r\n1\r\n\r\n.3\r\n4";
        assert_eq!(sent(message, Some(0)), "a: b\r\nc: d\r\n\r\n.\r\n");
        assert_eq!(
            sent(message, Some(3)),
            "a: b\r\nc: d\r\n\r\n1\r\n\r\n..3\r\n.\r\n"
        );
        assert_eq!(sent(message, Some(99)), sent(message, None));
        // A message that is a header only.
        assert_eq!(sent(b"a: b", Some(0)), "a: b\r\n.\r\n");
    }

    #[test]
    fn a_header_is_ascii_for_who_has_not_asked_for_more() {
        let message = "Subject: Gr\u{fc}\u{df}e\r\n\r\nGr\u{fc}\u{df}e\r\n".as_bytes();
        let mut out = BytesMut::new();
        let mut transform = Transform::new(None, false);
        transform.push(message, &mut out);
        transform.finish(&mut out);
        assert_eq!(
            &out[..],
            "Subject: Gr????e\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n".as_bytes()
        );
        assert_eq!(transform.size_bytes(), message.len() as u64);
    }

    /// What a client makes of a multi-line response.
    fn received(mut wire: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let end = wire.windows(2).position(|w| w == b"\r\n").expect("a line ends") + 2;
            let (line, rest) = wire.split_at(end);
            if line == b".\r\n" {
                assert!(rest.is_empty(), "nothing comes after the last line");
                return message;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            wire = rest;
        }
    }

    proptest! {
        #[test]
        fn what_a_client_reads_is_the_message_with_its_lines_ended(
            message in "[ab.\r\n]{0,40}|a?\r\n\r\n([ab.]{0,9}(\r\n|\r\n|\r\n|\r\n|\r\n|\n|\r\r\n|\r)){0,60}[ab.\r]{0,3}",
            cuts in proptest::collection::vec(0usize..300, 0..4),
            lines in proptest::option::of(0u64..5),
        ) {
            let message = message.into_bytes();
            let mut out = BytesMut::new();
            let mut transform = Transform::new(lines, true);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(message.len())).collect();
            cuts.sort_unstable();
            cuts.push(message.len());
            let mut from = 0;
            for cut in cuts {
                transform.push(&message[from..cut], &mut out);
                from = cut;
            }
            transform.finish(&mut out);
            let at_once = sent(&message, lines);
            prop_assert_eq!(&out[..], at_once.as_bytes());
            let mut whole = Vec::new();
            for (i, line) in message.split(|b| *b == b'\n').enumerate() {
                if i > 0 {
                    if whole.last() == Some(&b'\r') {
                        whole.pop();
                    }
                    whole.extend_from_slice(b"\r\n");
                }
                whole.extend_from_slice(line);
            }
            if !whole.is_empty() && message.last() != Some(&b'\n') {
                whole.extend_from_slice(b"\r\n");
            }
            let received = received(&out);
            prop_assert_eq!(received.len() as u64, transform.size_bytes());
            match lines {
                None => prop_assert_eq!(received, whole),
                Some(_) => prop_assert!(whole.starts_with(&received)),
            }
        }
    }
}
