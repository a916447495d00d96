use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Where a challenge or credentials leave the grammar of RFC 7235 §2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected {expected} at offset {offset}")]
pub struct ParseError {
    /// What would have been right.
    pub expected: &'static str,
    /// Where, in bytes from the start of the header field's value.
    pub offset: usize,
}

/// Parameters of one challenge or of credentials; more is an error.
const PARAMS: usize = 32;

/// Reads `scheme` and a comma-separated list of `name=value`, one parameter after the other.
pub(crate) struct Params<'a> {
    text: &'a str,
    at: usize,
    count: usize,
}

impl<'a> Params<'a> {
    /// Begins behind `scheme`, which must be the first word.
    pub(crate) fn after_scheme(text: &'a str, scheme: &'static str) -> Result<Self, ParseError> {
        let mut params = Params {
            text,
            at: 0,
            count: 0,
        };
        params.skip_space();
        let word = params.token("an authentication scheme")?;
        if !word.eq_ignore_ascii_case(scheme) {
            return Err(ParseError {
                expected: scheme,
                offset: params.at - word.len(),
            });
        }
        let end = params.at;
        params.skip_space();
        if params.at == end {
            return Err(params.expected("white space"));
        }
        Ok(params)
    }

    /// The next parameter's name and its value without quotes and escapes; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<(&'a str, Cow<'a, str>)>, ParseError> {
        if self.at == self.text.len() && self.count > 0 {
            return Ok(None);
        }
        if self.count == PARAMS {
            return Err(self.expected("fewer parameters"));
        }
        let name = self.token("a parameter name")?;
        self.skip_space();
        self.take(b'=', "'='")?;
        self.skip_space();
        let value = if self.peek() == Some(b'"') {
            self.quoted()?
        } else {
            Cow::Borrowed(self.token("a value")?)
        };
        self.skip_space();
        if self.at < self.text.len() {
            self.take(b',', "','")?;
            self.skip_space();
            if self.at == self.text.len() {
                return Err(self.expected("a parameter behind ','"));
            }
        }
        self.count += 1;
        Ok(Some((name, value)))
    }

    pub(crate) fn expected(&self, expected: &'static str) -> ParseError {
        ParseError {
            expected,
            offset: self.at,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), ParseError> {
        if self.peek() != Some(byte) {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Skips white space, and line ends where the line is continued by white space.
    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        loop {
            match bytes[self.at..] {
                [b' ' | b'\t', ..] => self.at += 1,
                [b'\r', b'\n', b' ' | b'\t', ..] => self.at += 3,
                _ => return,
            }
        }
    }

    fn token(&mut self, expected: &'static str) -> Result<&'a str, ParseError> {
        let rest = &self.text[self.at..];
        let len = rest.bytes().position(|b| !is_token(b)).unwrap_or(rest.len());
        if len == 0 {
            return Err(self.expected(expected));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, ParseError> {
        self.take(b'"', "'\"'")?;
        let start = self.at;
        let mut unescaped: Option<String> = None;
        let mut copied = start;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let out = unescaped.get_or_insert_default();
                    out.push_str(&self.text[copied..self.at]);
                    self.at += 1;
                    copied = self.at;
                    match self.peek() {
                        Some(b) if b.is_ascii() && !matches!(b, b'\r' | b'\n' | 0) => self.at += 1,
                        _ => return Err(self.expected("an escaped ASCII character")),
                    }
                }
                Some(b) if b != 0x7f && (b >= b' ' || b == b'\t') => self.at += 1,
                _ => return Err(self.expected("a closing '\"'")),
            }
        }
        let tail = &self.text[copied..self.at];
        self.at += 1;
        Ok(match unescaped {
            None => Cow::Borrowed(tail),
            Some(mut out) => {
                out.push_str(tail);
                Cow::Owned(out)
            }
        })
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~#$&^|".contains(&b)
}

/// Prints as a quoted-string (RFC 3261 §25.1): `"`, `\` and control characters escaped; CR, LF and NUL, which it cannot
/// hold, left out.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        f.write_char('"')?;
        for c in self.0.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')) {
            if matches!(c, '"' | '\\') || c.is_ascii_control() {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(String, String)>, ParseError> {
        let mut params = Params::after_scheme(text, "Digest")?;
        let mut out = Vec::new();
        while let Some((name, value)) = params.next()? {
            out.push((name.to_owned(), value.into_owned()));
        }
        Ok(out)
    }

    #[test]
    fn a_list_may_have_space_folds_and_escapes() {
        let got = all("dIgEsT  a=b ,\r\n\tc = \"d, \\\"e\\\\\" , f=\"\"").unwrap();
        let want = [("a", "b"), ("c", "d, \"e\\"), ("f", "")];
        assert_eq!(got, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn what_leaves_the_grammar_is_refused_where_it_does() {
        for (text, offset) in [
            ("Basic a=b", 0),
            ("Digest", 6),
            ("Digest ", 7),
            ("Digest a", 8),
            ("Digest a=", 9),
            ("Digest a=b,", 11),
            ("Digest a=b c=d", 11),
            ("Digest a=\"b", 11),
            ("Digest a=\"b\r\nc\"", 11),
            ("Digest a=\"b\\", 12),
            ("Digest ,a=b", 7),
            ("Digest a=b\r\n", 10),
        ] {
            assert_eq!(all(text).unwrap_err().offset, offset, "{text:?}");
        }
        let many = format!("Digest {}", vec!["a=b"; PARAMS + 1].join(","));
        assert_eq!(all(&many).unwrap_err().expected, "fewer parameters");
    }
}
