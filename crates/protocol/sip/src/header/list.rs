use crate::syntax::trim;

/// Cuts a header value at its commas, leaving those inside quotes and angle brackets alone; whitespace around each
/// element is taken off. Empty elements are passed on, so that a strict reader sees them.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: Option<&'a str>,
}

impl<'a> Elements<'a> {
    /// The elements of `value`; an empty value has none.
    pub fn new(value: &'a str) -> Self {
        Elements {
            rest: (!trim(value).is_empty()).then_some(value),
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let cut = comma(rest.as_bytes());
        self.rest = cut.map(|at| &rest[at + 1..]);
        Some(trim(&rest[..cut.unwrap_or(rest.len())]))
    }
}

/// Where the first comma outside quotes and brackets is.
fn comma(bytes: &[u8]) -> Option<usize> {
    if !bytes.contains(&b',') {
        return None;
    }
    let (mut quoted, mut bracketed, mut at) = (false, false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            b',' if !quoted && !bracketed => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_cut() {
        let all: Vec<_> = Elements::new("\"a,\\\",b\" <sip:x,y@h> , <sip:z>,\r\n c").collect();
        assert_eq!(all, ["\"a,\\\",b\" <sip:x,y@h>", "<sip:z>", "c"]);
        assert_eq!(Elements::new(" ").count(), 0);
        assert_eq!(Elements::new("a,,b").collect::<Vec<_>>(), ["a", "", "b"]);
    }
}
