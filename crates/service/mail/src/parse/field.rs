//! Header fields: where each begins and ends, and what it says on one line.

use std::borrow::Cow;

/// One field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// Behind the colon, folds and final line end included.
    raw: &'a [u8],
}

impl Field<'_> {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// All of it behind the colon.
    pub(crate) fn raw(&self) -> &[u8] {
        self.raw
    }

    /// The value on one line, without white space at its ends.
    pub(crate) fn value(&self) -> String {
        //= https://www.rfc-editor.org/rfc/rfc5322#section-2.2.3
        let unfolded: Vec<u8> = self
            .raw
            .iter()
            .copied()
            .filter(|b| !matches!(b, b'\r' | b'\n'))
            .collect();
        text(unfolded.trim_ascii()).into_owned()
    }
}

/// The fields of a header, in their order. Lines that belong to none are passed over.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let (line, after) = rest.split_at(field_end(rest));
            rest = after;
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                continue;
            };
            // White space before the colon is obsolete and still met (RFC 5322 §4.5).
            let Ok(name) = std::str::from_utf8(line[..colon].trim_ascii_end()) else {
                continue;
            };
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) {
                return Some(Field {
                    name,
                    raw: &line[colon + 1..],
                });
            }
        }
    })
}

/// How far the first field goes: through the first line end that no white space follows.
fn field_end(bytes: &[u8]) -> usize {
    let mut from = 0;
    while let Some(lf) = bytes[from..].iter().position(|b| *b == b'\n') {
        from += lf + 1;
        if !matches!(bytes.get(from), Some(b' ' | b'\t')) {
            return from;
        }
    }
    bytes.len()
}

/// Bytes of a header as text: UTF-8 where they are, otherwise byte by byte.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_undone_and_odd_lines_passed_over() {
        let header = b"Subject: one\r\n two\r\n\tthree \r\nno field\r\nX : y\r\n: z\r\nTo:\r\n a@b\r\n\r\n";
        let all: Vec<_> = fields(header).map(|f| (f.name.to_owned(), f.value())).collect();
        let expected = [("Subject", "one two\tthree"), ("X", "y"), ("To", "a@b")];
        assert_eq!(all, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn eight_bit_is_read_as_utf8_or_latin1() {
        let value = |h: &[u8]| fields(h).next().map(|f| f.value());
        assert_eq!(value("Subject: Grüße".as_bytes()).as_deref(), Some("Grüße"));
        assert_eq!(value(b"Subject: Gr\xfc\xdfe").as_deref(), Some("Grüße"));
    }
}
