//! Structured MIME fields: Content-Type and Content-Disposition with their parameters (RFC 2045 §5.1, RFC 2183), and what
//! RFC 2231 does to them.

use super::field::text;
use mail_parser::decoders::charsets::map::charset_decoder;

/// `value; name=value; …`, names in capitals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameterized {
    pub(crate) value: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Parameterized {
    /// The value and up to `limit` parameters, each piece of one that comes in several counted.
    pub(crate) fn parse(field: &str, limit: usize) -> Self {
        let mut reader = Reader { rest: field };
        let value = reader.value();
        let mut raw = Vec::new();
        while raw.len() < limit && reader.eat(';') {
            let name = reader.token().to_ascii_uppercase();
            if name.is_empty() {
                continue;
            }
            if reader.eat('=') {
                raw.push((name, reader.value()));
            }
            reader.skip_to_semicolon();
        }
        Parameterized {
            value,
            parameters: join_continuations(raw),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_white_space(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix('(') else {
                return;
            };
            let mut depth = 1u32;
            let end = comment.char_indices().find(|(_, c)| {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            self.rest = end.map_or("", |(i, _)| &comment[i + 1..]);
        }
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_white_space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> &'a str {
        self.skip_white_space();
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || c.is_control() || "()<>@,;:\\\"/[]?=".contains(c));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        token
    }

    /// A quoted string, or whatever stands there up to the next `;`: real mail has spaces and slashes in values.
    fn value(&mut self) -> String {
        self.skip_white_space();
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([';', '(']).unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            return value.trim_end().to_owned();
        };
        let mut out = String::new();
        let mut chars = quoted.char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &quoted[i + 1..];
                    return out;
                }
                '\\' => out.extend(chars.next().map(|(_, c)| c)),
                c => out.push(c),
            }
        }
        self.rest = "";
        out
    }

    fn skip_to_semicolon(&mut self) {
        self.skip_white_space();
        let end = self.rest.find(';').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }
}

/// One piece of a parameter that came in several.
struct Piece {
    number: u32,
    encoded: bool,
    value: String,
}

/// Joins `name*0`, `name*1*` and so on, and decodes `name*` (RFC 2231 §3, §4). Such a form wins over a plain one.
fn join_continuations(raw: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut pieces: Vec<(String, Vec<Piece>)> = Vec::new();
    for (name, value) in raw {
        let Some((base, tail)) = name.split_once('*') else {
            if !out.iter().any(|(n, _)| *n == name) {
                out.push((name, value));
            }
            continue;
        };
        let (number, encoded) = match tail.strip_suffix('*') {
            Some(number) => (number, true),
            None if tail.is_empty() => ("0", true),
            None => (tail, false),
        };
        let Ok(number) = number.parse() else { continue };
        let piece = Piece {
            number,
            encoded,
            value,
        };
        match pieces.iter_mut().find(|(n, _)| n == base) {
            Some((_, all)) => all.push(piece),
            None => {
                // The place of the first piece is the parameter's.
                if !out.iter().any(|(n, _)| n == base) {
                    out.push((base.to_owned(), String::new()));
                }
                pieces.push((base.to_owned(), vec![piece]));
            }
        }
    }
    for (name, mut all) in pieces {
        all.sort_by_key(|piece| piece.number);
        let value = decode(&all);
        if let Some(slot) = out.iter_mut().find(|(n, _)| *n == name) {
            slot.1 = value;
        }
    }
    out
}

fn decode(pieces: &[Piece]) -> String {
    let mut charset = None;
    let mut bytes = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let mut value = piece.value.as_str();
        if i == 0 && piece.encoded {
            let mut parts = value.splitn(3, '\'');
            if let (Some(name), Some(_language), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                (charset, value) = (Some(name), rest);
            }
        }
        match piece.encoded {
            true => percent_decode(value.as_bytes(), &mut bytes),
            false => bytes.extend_from_slice(value.as_bytes()),
        }
    }
    match charset.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decoder) => decoder(&bytes),
        None => text(&bytes).into_owned(),
    }
}

fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    let digit = |b: Option<&u8>| char::from(*b?).to_digit(16);
    let mut i = 0;
    while let Some(&b) = text.get(i) {
        match (b, digit(text.get(i + 1)), digit(text.get(i + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            _ => {
                out.push(b);
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(field: &str) -> Vec<(String, String)> {
        Parameterized::parse(field, usize::MAX).parameters
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn plain_quoted_and_commented_parameters() {
        let parsed = Parameterized::parse(
            "text/plain (really); charset=\"us-ascii\" (Plain text); format = flowed",
            9,
        );
        assert_eq!(parsed.value, "text/plain");
        assert_eq!(
            parsed.parameters,
            pairs(&[("CHARSET", "us-ascii"), ("FORMAT", "flowed")])
        );
        assert_eq!(
            params(r#"multipart/mixed; boundary="a\"b;c"; ; x; charset=a; charset=b"#),
            pairs(&[("BOUNDARY", "a\"b;c"), ("CHARSET", "a")])
        );
        assert_eq!(
            params("application/pdf; name=My Report/1.pdf; x=\"open"),
            pairs(&[("NAME", "My Report/1.pdf"), ("X", "open")])
        );
    }

    #[test]
    fn parameters_are_read_up_to_their_limit() {
        let parsed = Parameterized::parse("a/b; x*0=1; x*1=2; y=3", 2);
        assert_eq!(parsed.parameters, pairs(&[("X", "12")]));
        assert_eq!(Parameterized::parse("a/b; x=1", 0).parameters, []);
    }

    // Guards pitfall IMAP 8: RFC 2231 parameters.
    #[test]
    fn continuations_are_joined_and_charsets_decoded() {
        // RFC 2231 §3 and §4.1.
        assert_eq!(
            params("message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub\""),
            pairs(&[("ACCESS-TYPE", "URL"), ("URL", "ftp://cs.utk.edu/pub")])
        );
        assert_eq!(
            params(
                "application/x-stuff; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*0*=us-ascii'en'This%20is%20even%20more%20; \
                 title*2=\"isn't it!\""
            ),
            pairs(&[("TITLE", "This is even more ***fun*** isn't it!")])
        );
        assert_eq!(
            params("attachment; filename=\"plain.txt\"; filename*=UTF-8''%e2%82%ac%20rates"),
            pairs(&[("FILENAME", "€ rates")])
        );
        assert_eq!(params("a/b; n*=iso-8859-1''%fc%zz"), pairs(&[("N", "ü%zz")]));
        assert_eq!(params("a/b; n*=no-quotes"), pairs(&[("N", "no-quotes")]));
    }
}
