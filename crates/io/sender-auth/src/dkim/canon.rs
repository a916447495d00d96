//! How a message is written before it is hashed (RFC 6376 §3.4).

use crate::head::Field;
use aws_lc_rs::digest;

/// How much may have changed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canon {
    /// Nothing.
    Simple,
    /// White space, and the case of field names.
    Relaxed,
}

impl Canon {
    pub(crate) fn parse(name: &str) -> Option<Canon> {
        match name {
            "simple" => Some(Canon::Simple),
            "relaxed" => Some(Canon::Relaxed),
            _ => None,
        }
    }

    /// A field as it is hashed, with its CRLF.
    pub(crate) fn field(self, field: &Field<'_>, out: &mut Vec<u8>) {
        match self {
            //= https://www.rfc-editor.org/rfc/rfc6376#section-3.4.1
            Canon::Simple => {
                let text = field.raw.strip_suffix(b"\n").unwrap_or(field.raw);
                out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
            }
            //= https://www.rfc-editor.org/rfc/rfc6376#section-3.4.2
            Canon::Relaxed => {
                out.extend(field.name().iter().map(u8::to_ascii_lowercase));
                out.push(b':');
                let words = field
                    .value()
                    .split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
                    .filter(|word| !word.is_empty());
                for (n, word) in words.enumerate() {
                    if n > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(word);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Hashes a body while it passes.
pub(crate) struct BodyHash {
    canon: Canon,
    context: digest::Context,
    /// `l=`: so much of it is hashed.
    limit_bytes: Option<u64>,
    canonical_bytes: u64,
    /// What was read and not yet written: line ends, since those at the body's end do not count; white space, since that at
    /// a line's end does not; and a CR that may begin a line end.
    line_ends: u64,
    space: bool,
    cr: bool,
    has_content: bool,
    out: Vec<u8>,
}

impl BodyHash {
    pub(crate) fn new(canon: Canon, limit_bytes: Option<u64>) -> Self {
        BodyHash {
            canon,
            context: digest::Context::new(&digest::SHA256),
            limit_bytes,
            canonical_bytes: 0,
            line_ends: 0,
            space: false,
            cr: false,
            has_content: false,
            out: Vec::new(),
        }
    }

    /// What tells it from other hashes of the same body.
    pub(crate) fn key(&self) -> (Canon, Option<u64>) {
        (self.canon, self.limit_bytes)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if std::mem::take(&mut self.cr) {
                if byte == b'\n' {
                    self.line_ends += 1;
                    self.space = false;
                    rest = &rest[1..];
                    continue;
                }
                self.content(b"\r");
            }
            match byte {
                b'\r' => self.cr = true,
                b' ' | b'\t' if self.canon == Canon::Relaxed => self.space = true,
                _ => {
                    let relaxed = self.canon == Canon::Relaxed;
                    let ends = |b: &u8| *b == b'\r' || relaxed && matches!(b, b' ' | b'\t');
                    let len = rest.iter().position(ends).unwrap_or(rest.len());
                    self.content(&rest[..len]);
                    rest = &rest[len..];
                    continue;
                }
            }
            rest = &rest[1..];
        }
        self.flush();
    }

    fn content(&mut self, bytes: &[u8]) {
        self.has_content = true;
        while self.line_ends > 0 {
            self.line_ends -= 1;
            self.out.extend_from_slice(b"\r\n");
            if self.out.len() >= FLUSH_BYTES {
                self.flush();
            }
        }
        if std::mem::take(&mut self.space) {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        let left = self
            .limit_bytes
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.canonical_bytes));
        let hashed = usize::try_from(left).unwrap_or(usize::MAX).min(self.out.len());
        self.context.update(&self.out[..hashed]);
        self.canonical_bytes += self.out.len() as u64;
        self.out.clear();
    }

    /// The hash, and whether it is of the whole body; `None` when the body is shorter than `l=` says.
    pub(crate) fn finish(mut self) -> Option<(Vec<u8>, bool)> {
        if std::mem::take(&mut self.cr) {
            self.content(b"\r");
        }
        //= https://www.rfc-editor.org/rfc/rfc6376#section-3.4.3
        //= https://www.rfc-editor.org/rfc/rfc6376#section-3.4.4
        if self.has_content || self.canon == Canon::Simple {
            self.out.extend_from_slice(b"\r\n");
        }
        self.flush();
        let limit = self.limit_bytes.unwrap_or(self.canonical_bytes);
        let is_all = limit == self.canonical_bytes;
        (limit <= self.canonical_bytes).then(|| (self.context.finish().as_ref().to_vec(), is_all))
    }
}

/// So much is written before it is hashed.
const FLUSH_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::sha256;
    use crate::head::fields;

    fn hash(canon: Canon, limit: Option<u64>, body: &str) -> Option<Vec<u8>> {
        let whole = {
            let mut hash = BodyHash::new(canon, limit);
            hash.update(body.as_bytes());
            hash.finish().map(|(hash, _)| hash)
        };
        let mut hash = BodyHash::new(canon, limit);
        body.as_bytes().chunks(1).for_each(|byte| hash.update(byte));
        assert_eq!(hash.finish().map(|(hash, _)| hash), whole);
        whole
    }

    //= https://www.rfc-editor.org/rfc/rfc6376#section-3.4.5
    #[test]
    fn the_examples_of_the_rfc_come_out_as_it_says() {
        let header = b"A: X\r\nB : Y\t\r\n\tZ  \r\n";
        let written = |canon: Canon| {
            let mut out = Vec::new();
            fields(header)
                .iter()
                .for_each(|field| canon.field(field, &mut out));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Canon::Relaxed), "a:X\r\nb:Y Z\r\n");
        assert_eq!(written(Canon::Simple), "A: X\r\nB : Y\t\r\n\tZ  \r\n");
        let body = " C \r\nD \t E\r\n\r\n\r\n";
        let is = |canon, expected: &str| hash(canon, None, body) == Some(sha256(expected.as_bytes()));
        assert!(is(Canon::Relaxed, " C\r\nD E\r\n"));
        assert!(is(Canon::Simple, " C \r\nD \t E\r\n"));
    }

    #[test]
    fn an_empty_body_is_a_line_end_or_nothing() {
        for body in ["", "\r\n", "\r\n\r\n"] {
            assert_eq!(hash(Canon::Simple, None, body), Some(sha256(b"\r\n")));
            assert_eq!(hash(Canon::Relaxed, None, body), Some(sha256(b"")));
        }
        assert_eq!(hash(Canon::Relaxed, None, " \t\r\n"), Some(sha256(b"")));
        assert_eq!(hash(Canon::Relaxed, None, "x"), Some(sha256(b"x\r\n")));
        assert_eq!(hash(Canon::Simple, None, "x\ry\n"), Some(sha256(b"x\ry\n\r\n")));
    }

    #[test]
    fn a_length_cuts_what_is_hashed_and_may_not_be_beyond_the_end() {
        assert_eq!(hash(Canon::Simple, Some(3), "abcdef"), Some(sha256(b"abc")));
        assert_eq!(hash(Canon::Simple, Some(0), "abc"), Some(sha256(b"")));
        assert_eq!(
            hash(Canon::Simple, Some(8), "abcdef"),
            Some(sha256(b"abcdef\r\n"))
        );
        assert_eq!(hash(Canon::Simple, Some(9), "abcdef"), None);
    }
}
