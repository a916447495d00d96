use std::borrow::Cow;
use thiserror::Error;

/// A password or name holds what SASLprep prohibits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected no {0:?}, which may not be in a name or password")]
pub struct PrepareError(pub char);

/// SASLprep (RFC 4013) as far as it needs no tables of Unicode: other spaces become a space (RFC 3454 C.1.2), what is
/// commonly mapped to nothing goes (B.1), and control, private-use and other prohibited characters are an error (C.2 to
/// C.9). For ASCII that is the whole of it.
///
/// Not done: normalization (NFKC), the bidirectional check (§6 of RFC 3454) and the exclusion of unassigned code points.
/// A password that a client composes otherwise than the one that was set differs from it.
pub fn prepare(text: &str) -> Result<Cow<'_, str>, PrepareError> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200b}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
                out.push(' ')
            }
            '\u{ad}' | '\u{34f}' | '\u{1806}' | '\u{180b}'..='\u{180d}' | '\u{200c}' | '\u{200d}' => {}
            '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => {}
            c if is_prohibited(c) => return Err(PrepareError(c)),
            c => out.push(c),
        }
    }
    Ok(Cow::Owned(out))
}

fn is_prohibited(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{2028}'..='\u{202e}' | '\u{2061}'..='\u{2063}'
            | '\u{206a}'..='\u{206f}' | '\u{fff9}'..='\u{fffd}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}'
            | '\u{2ff0}'..='\u{2ffb}' | '\u{340}' | '\u{341}' | '\u{200e}' | '\u{200f}'
            | '\u{e0001}' | '\u{e0020}'..='\u{e007f}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_that_need_no_normalization() {
        assert_eq!(prepare("I\u{ad}X").as_deref(), Ok("IX"));
        assert_eq!(prepare("user").as_deref(), Ok("user"));
        assert_eq!(prepare("USER").as_deref(), Ok("USER"));
        assert_eq!(prepare("\u{7}"), Err(PrepareError('\u{7}')));
        assert_eq!(prepare("a\u{a0}b").as_deref(), Ok("a b"));
        assert_eq!(prepare("a\u{ffff}"), Err(PrepareError('\u{ffff}')));
    }
}
