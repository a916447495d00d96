//! The lexical rules of RFC 3261 §25.1 that every header shares.

use std::borrow::Cow;
use std::ops::Range;
use thiserror::Error;

/// A value did not follow its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected {expected} at offset {offset}")]
pub struct Malformed {
    /// What the grammar wanted there.
    pub expected: &'static str,
    /// Where, in bytes from the start of the value that was read.
    pub offset: usize,
}

/// A range inside a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        let offset = |at| u32::try_from(at).expect("a header value is shorter than 4 GiB");
        Span {
            start: offset(start),
            end: offset(end),
        }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn of(self, text: &str) -> &str {
        &text[self.range()]
    }
}

const TOKEN: u8 = 1;
const WS: u8 = 2;
const VALUE: u8 = 4;
const UNRESERVED: u8 = 8;
const USER: u8 = 16;
const PARAM: u8 = 32;
const HEADER: u8 = 64;
const HOST: u8 = 128;

/// One byte's membership in the character classes.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphanumeric() {
            table[b] |= TOKEN | UNRESERVED | USER | PARAM | HEADER | HOST;
        }
        // What a generic parameter's value may hold unquoted is wider here than `token / host`: IPv6 addresses come
        // without brackets, and tags with the padding of base64.
        if c > 0x20 && c != 0x7f {
            table[b] |= VALUE;
        }
        b += 1;
    }
    add(&mut table, b",;\"<>\\", VALUE, false);
    add(&mut table, b"-.!%*_+`'~", TOKEN, true);
    add(&mut table, b" \t\r\n", WS, true);
    add(&mut table, b"-_.!~*'()", UNRESERVED | USER | PARAM | HEADER, true);
    // `#` has to be escaped by the grammar, but telephones dial it as it is.
    add(&mut table, b"&=+$,;?/#", USER, true);
    add(&mut table, b"[]/:&+$", PARAM, true);
    add(&mut table, b"[]/?:+$", HEADER, true);
    add(&mut table, b"-._", HOST, true);
    table
}

const fn add(table: &mut [u8; 256], bytes: &[u8], class: u8, present: bool) {
    let mut i = 0;
    while i < bytes.len() {
        if present {
            table[bytes[i] as usize] |= class;
        } else {
            table[bytes[i] as usize] &= !class;
        }
        i += 1;
    }
}

fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// `token` characters.
pub(crate) fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Linear whitespace. CR and LF count, since inside a header value they occur only as folds.
pub(crate) fn is_ws(byte: u8) -> bool {
    is(byte, WS)
}

/// Characters of a domain name, with the underscore that some networks use.
pub(crate) fn is_host(byte: u8) -> bool {
    is(byte, HOST)
}

/// `user-unreserved` and `unreserved`.
pub(crate) fn is_user(byte: u8) -> bool {
    is(byte, USER)
}

/// `param-unreserved` and `unreserved`.
pub(crate) fn is_uri_param(byte: u8) -> bool {
    is(byte, PARAM)
}

/// `hnv-unreserved` and `unreserved`.
pub(crate) fn is_uri_header(byte: u8) -> bool {
    is(byte, HEADER)
}

/// Whether all of `text` is one `token`.
pub(crate) fn is_all_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// `text` without the linear whitespace around it.
pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|b| !is_ws(*b)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|b| !is_ws(*b))
        .map_or(start, |last| last + 1);
    &text[start..end]
}

/// Where the first control character is, HTAB, CR and LF among them. Looks at sixteen bytes at once, since nearly all
/// of a message is none.
pub(crate) fn find_control(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 16;
    let is_control = |b: &u8| *b < b' ' || *b == 0x7f;
    let clear = |chunk: &&[u8]| !chunk.iter().fold(false, |any, b| any | is_control(b));
    let skipped = bytes.chunks_exact(STEP).take_while(clear).count() * STEP;
    bytes[skipped..]
        .iter()
        .position(is_control)
        .map(|at| skipped + at)
}

/// A reader over one header value.
#[derive(Clone)]
pub(crate) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Scan { text, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn is_end(&self) -> bool {
        self.at == self.text.len()
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn fail<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed {
            expected,
            offset: self.at,
        })
    }

    /// Skips whitespace and folds; whether there were any.
    pub(crate) fn ws(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_some_and(is_ws) {
            self.at += 1;
        }
        self.at > from
    }

    /// Skips to `at`, which must be a character boundary not before the present place.
    pub(crate) fn jump(&mut self, at: usize) {
        self.at = at;
    }

    /// Takes `byte` if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.take(byte) {
            Ok(())
        } else {
            self.fail(expected)
        }
    }

    /// The longest run of bytes in the class, which may be empty.
    pub(crate) fn run(&mut self, class: impl Fn(u8) -> bool) -> &'a str {
        let from = self.at;
        while self.peek().is_some_and(&class) {
            self.at += 1;
        }
        &self.text[from..self.at]
    }

    pub(crate) fn token(&mut self, expected: &'static str) -> Result<&'a str, Malformed> {
        let token = self.run(is_token);
        if token.is_empty() {
            self.fail(expected)
        } else {
            Ok(token)
        }
    }

    /// A quoted string with its quotes.
    pub(crate) fn quoted(&mut self) -> Result<&'a str, Malformed> {
        let from = self.at;
        self.expect(b'"', "an opening quote")?;
        loop {
            match self.peek() {
                None => return self.fail("a closing quote"),
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
            }
            if self.at > self.text.len() {
                self.at = self.text.len();
            }
        }
        self.at += 1;
        Ok(&self.text[from..self.at])
    }

    /// The value of a generic parameter: a quoted string with its quotes, or a run without separators.
    pub(crate) fn param_value(&mut self) -> Result<&'a str, Malformed> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let value = self.run(|b| is(b, VALUE));
        if value.is_empty() {
            self.fail("a parameter's value")
        } else {
            Ok(value)
        }
    }

    /// A decimal number that fits `u32`; leading zeros are fine.
    pub(crate) fn number(&mut self, expected: &'static str) -> Result<u32, Malformed> {
        let from = self.at;
        let mut value: u32 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = match value
                .checked_mul(10)
                .and_then(|v| v.checked_add(u32::from(digit - b'0')))
            {
                Some(value) => value,
                None => return self.fail("a number below 2^32"),
            };
            self.at += 1;
        }
        if self.at == from {
            self.fail(expected)
        } else {
            Ok(value)
        }
    }

    /// Whitespace and then the end.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.ws();
        if self.is_end() {
            Ok(())
        } else {
            self.fail("the end of the value")
        }
    }
}

/// What a quoted string says: without its quotes and escapes, folds as one space. A text without quotes is returned
/// as it is.
pub fn unquote(raw: &str) -> Cow<'_, str> {
    let Some(inner) = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) else {
        return unfold(raw);
    };
    if !inner.bytes().any(|b| b == b'\\' || b == b'\r') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '\r' => {
                out.truncate(out.trim_end_matches([' ', '\t']).len());
                out.push(' ');
                chars = chars.as_str().trim_start_matches(['\r', '\n', ' ', '\t']).chars();
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// `text` as a quoted string; characters that no quoted string may hold become spaces.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `raw` with every fold, and the whitespace around it, as one space (RFC 3261 §7.3.1).
pub fn unfold(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|b| b == b'\r' || b == b'\n') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    for line in raw.split(['\r', '\n']) {
        let line = if out.is_empty() {
            line
        } else {
            line.trim_start_matches([' ', '\t'])
        };
        if line.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.truncate(out.trim_end_matches([' ', '\t']).len());
            out.push(' ');
        }
        out.push_str(line);
    }
    Cow::Owned(out)
}

/// `raw` with its `%HH` escapes decoded once, as bytes: an escape may stand for any byte, NUL too.
pub fn unescape(raw: &str) -> Cow<'_, [u8]> {
    if !raw.contains('%') {
        return Cow::Borrowed(raw.as_bytes());
    }
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match escaped(&bytes[at..]) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// The byte that an escape at the start of `bytes` stands for.
pub(crate) fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |b: u8| (b as char).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}
