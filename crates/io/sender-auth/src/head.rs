//! The fields of a message's header, as their bytes are.

use ringpost_base::ascii_domain;
use std::borrow::Cow;

/// One field: its name, and all of its bytes with the CRLF at their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) raw: &'a [u8],
    colon: usize,
}

impl<'a> Field<'a> {
    pub(crate) fn name(&self) -> &'a [u8] {
        self.raw[..self.colon].trim_ascii_end()
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Behind the colon, line ends included.
    pub(crate) fn value(&self) -> &'a [u8] {
        &self.raw[self.colon + 1..]
    }

    /// The value as text; what is no UTF-8 becomes U+FFFD.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.value()).into_owned()
    }
}

/// The fields of a header, without the empty line at its end. Lines that are none are left out.
pub(crate) fn fields(header: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut rest = header;
    while !rest.is_empty() {
        let (raw, after) = rest.split_at(field_end(rest));
        rest = after;
        if let Some(colon) = raw.iter().position(|b| *b == b':') {
            fields.push(Field { raw, colon });
        }
    }
    fields
}

/// Where the header ends, and where the body begins behind the empty line; it is looked for from `from` on.
pub(crate) fn end(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    if bytes.starts_with(b"\r\n") {
        return Some((0, 2));
    }
    let at = bytes[from..].windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((from + at + 2, from + at + 4))
}

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

/// The addresses' domains in a From field, in lower case and as A-labels: what stands behind the last `@` of each address. `None` when an
/// address has none, or there is none.
//= https://www.rfc-editor.org/rfc/rfc7489#section-3.1
pub(crate) fn author_domains(value: &str) -> Option<Vec<String>> {
    let mut domains: Vec<String> = Vec::new();
    for address in addresses(value) {
        let (_, domain) = address.rsplit_once('@')?;
        let domain = domain.trim_matches(['.', ' ']);
        //= https://www.rfc-editor.org/rfc/rfc8616#section-6
        let domain = ascii_domain(domain).map_or_else(|| domain.to_lowercase(), Cow::into_owned);
        if domain.is_empty() {
            return None;
        }
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    (!domains.is_empty()).then_some(domains)
}

/// The addr-specs of a list of addresses, with comments, display names and folds left out, at most a hundred.
fn addresses(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut plain, mut angle) = (String::new(), None::<String>);
    let mut chars = value.chars();
    let mut depth = 0usize;
    while let Some(c) = chars.next() {
        match c {
            '\\' if depth > 0 => {
                chars.next();
            }
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '"' => {
                // A quoted part is of a name, or of a local part: neither holds the domain.
                while let Some(quoted) = chars.next() {
                    match quoted {
                        '"' => break,
                        '\\' => {
                            chars.next();
                        }
                        _ => {}
                    }
                }
                plain.push('q');
            }
            '<' => {
                let inner: String = take_angle(&mut chars);
                angle = Some(inner);
            }
            ',' | ';' => end_of(&mut plain, &mut angle, &mut found),
            // The name of a group.
            ':' => plain.clear(),
            c if c.is_whitespace() => {}
            c => plain.push(c),
        }
        if found.len() >= 100 {
            return found;
        }
    }
    end_of(&mut plain, &mut angle, &mut found);
    found
}

/// What stands between angle brackets; quoted parts are no brackets, and a route is left out.
fn take_angle(chars: &mut std::str::Chars<'_>) -> String {
    let mut inner = String::new();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                inner.push('q');
            }
            '>' if !quoted => break,
            _ if quoted => {}
            c if c.is_whitespace() => {}
            c => inner.push(c),
        }
    }
    inner
}

fn end_of(plain: &mut String, angle: &mut Option<String>, found: &mut Vec<String>) {
    let plain = std::mem::take(plain);
    match angle.take() {
        Some(inner) => found.push(inner),
        None if !plain.is_empty() => found.push(plain),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_folds() {
        let header = b"From: a@b\r\nSubject : x\r\n y\r\nnone\r\nTo: c\r\n";
        let all = fields(header);
        assert_eq!(all.len(), 3);
        assert!(all[1].is("subject") && all[1].value() == b" x\r\n y\r\n");
    }

    #[test]
    fn the_author_is_the_address_whatever_the_name_says() {
        let one = |value| author_domains(value).map(|d| d.join(" "));
        assert_eq!(
            one(" Alice <alice@Example.ORG>\r\n").as_deref(),
            Some("example.org")
        );
        assert_eq!(
            one("\"bank@bank.test\" <x@evil.test>").as_deref(),
            Some("evil.test")
        );
        assert_eq!(one("x@evil.test (bank@bank.test)").as_deref(), Some("evil.test"));
        assert_eq!(one("bank@bank.test <x@evil.test>").as_deref(), Some("evil.test"));
        assert_eq!(
            one("\"a>b@x.test\"@y.test, <c@z.test>").as_deref(),
            Some("y.test z.test")
        );
        assert_eq!(one("Group: a@b.test, c@b.test;").as_deref(), Some("b.test"));
        for none in ["", "alice", "<>", "undisclosed:;", "a@"] {
            assert_eq!(one(none), None, "{none}");
        }
    }
}
