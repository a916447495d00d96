//! Lists of `tag=value;`, as DKIM's signatures and keys (RFC 6376 §3.2) and DMARC's records write them.

/// The tags of a list, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// Reads a list; `None` when it is none, or has a tag twice.
    //= https://www.rfc-editor.org/rfc/rfc6376#section-3.2
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut tags: Vec<(&str, &str)> = Vec::new();
        let mut pieces = text.split(';').peekable();
        while let Some(piece) = pieces.next() {
            let piece = piece.trim_matches(is_space);
            if piece.is_empty() {
                // Only behind the last semicolon may there be nothing.
                match pieces.peek() {
                    None => break,
                    Some(_) => return None,
                }
            }
            let (name, value) = piece.split_once('=')?;
            let name = name.trim_end_matches(is_space);
            let mut bytes = name.bytes();
            let good = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !good || tags.iter().any(|(known, _)| *known == name) {
                return None;
            }
            tags.push((name, value.trim_start_matches(is_space)));
        }
        Some(Tags(tags))
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    pub(crate) fn first(&self) -> Option<(&'a str, &'a str)> {
        self.0.first().copied()
    }
}

/// White space of a folded line.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// The members of a list between colons, without the white space around them.
pub(crate) fn members(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(|member| member.trim_matches(is_space))
}

/// Base64 with white space anywhere in it; `None` when it is none.
pub(crate) fn base64(value: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let text: String = value.chars().filter(|c| !is_space(*c)).collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_names_and_values_with_space_around_them() {
        let tags = Tags::parse(" v = 1 ; a=x\r\n\ty ;b=;").unwrap();
        assert_eq!(
            (tags.value("v"), tags.value("a"), tags.value("b"), tags.value("c")),
            (Some("1"), Some("x\r\n\ty"), Some(""), None)
        );
        assert_eq!(tags.first(), Some(("v", "1")));
    }

    #[test]
    fn what_is_no_list_or_says_something_twice_is_refused() {
        for bad in ["a", "=b", "a=1;;b=2", "a=1;a=2", "1a=2", "a b=1"] {
            assert_eq!(Tags::parse(bad), None, "{bad}");
        }
        assert!(Tags::parse("").is_some());
    }
}
