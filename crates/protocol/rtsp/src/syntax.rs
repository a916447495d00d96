//! The lexical rules of RFC 2326 §15 that several headers share.

use std::borrow::Cow;
use thiserror::Error;

/// A value did not follow its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}")]
pub struct Malformed {
    /// What the grammar wanted.
    pub expected: &'static str,
}

pub(crate) fn malformed<T>(expected: &'static str) -> Result<T, Malformed> {
    Err(Malformed { expected })
}

/// `token` characters.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~#$&^|".contains(&byte)
}

/// Whether all of `text` is one `token`.
pub(crate) fn is_all_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// `text` without the spaces and tabs around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The parts of `text` between `separator`s that stand outside quotes, trimmed. Empty parts are left out, as lists may
/// have them.
pub(crate) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c => return c == separator && !quoted,
        }
        false
    })
    .map(trim)
    .filter(|part| !part.is_empty())
}

/// A name and, where there is one, what stands behind the first `=`.
pub(crate) fn parameter(text: &str) -> (&str, Option<&str>) {
    match text.split_once('=') {
        Some((name, value)) => (trim(name), Some(trim(value))),
        None => (trim(text), None),
    }
}

/// What a quoted string says; a text without quotes as it is.
pub(crate) fn unquote(raw: &str) -> Cow<'_, str> {
    let Some(inner) = raw.strip_prefix('"') else {
        return Cow::Borrowed(raw);
    };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A decimal number of digits alone.
pub(crate) fn number<T: std::str::FromStr>(text: &str, expected: &'static str) -> Result<T, Malformed> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return malformed(expected);
    }
    text.parse().map_err(|_| Malformed { expected })
}

/// The byte of two hexadecimal digits.
pub(crate) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_quotes_separate_nothing() {
        let parts: Vec<_> = split("a;mode=\"x;\\\";y\" ;; b ", ';').collect();
        assert_eq!(parts, ["a", "mode=\"x;\\\";y\"", "b"]);
        assert_eq!(unquote("\"x\\\"y\""), "x\"y");
        assert_eq!(unquote("x"), "x");
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(number::<u8>("255", "n"), Ok(255));
        for bad in ["", "+1", "-1", "256", " 1", "1x"] {
            assert!(number::<u8>(bad, "n").is_err(), "{bad:?}");
        }
    }
}
