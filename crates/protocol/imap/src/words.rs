//! Encoded words (RFC 2047): decoded for searching, encoded where a stored text holds what a header may not.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// The text with its encoded words decoded, of those in UTF-8, ASCII or Latin-1. A word in another charset, or in a coding
/// that is not known, stays as it is.
pub fn decode_words(text: &str) -> String {
    decode_words_with(text, |charset, bytes| {
        let known = |names: &[&str]| names.iter().any(|n| n.eq_ignore_ascii_case(charset));
        if known(&["utf-8", "us-ascii", "utf8"]) {
            String::from_utf8(bytes).ok()
        } else if known(&["iso-8859-1"]) {
            Some(bytes.into_iter().map(char::from).collect())
        } else {
            None
        }
    })
}

/// The same with whatever charsets `decode` knows; it is given the charset's name and the text's bytes.
pub fn decode_words_with(text: &str, decode: impl Fn(&str, Vec<u8>) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(at) = rest.find("=?") {
        let (gap, from) = rest.split_at(at);
        let Some((word, after)) = decode_word(from, &decode) else {
            out.push_str(gap);
            out.push_str("=?");
            rest = &from[2..];
            after_word = false;
            continue;
        };
        //= https://www.rfc-editor.org/rfc/rfc2047#section-6.2
        // White space between two encoded words is not shown.
        if !(after_word && gap.bytes().all(|b| b.is_ascii_whitespace())) {
            out.push_str(gap);
        }
        out.push_str(&word);
        (rest, after_word) = (after, true);
    }
    out.push_str(rest);
    out
}

/// The encoded word at the start of `text`, and what follows it.
fn decode_word<'a>(
    text: &'a str,
    decode: &impl Fn(&str, Vec<u8>) -> Option<String>,
) -> Option<(String, &'a str)> {
    let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, coding, tail) = (parts.next()?, parts.next()?, parts.next()?);
    let (data, after) = tail.split_once("?=")?;
    let bytes = match coding {
        "B" | "b" => STANDARD_NO_PAD.decode(data.trim_end_matches('=')).ok()?,
        "Q" | "q" => decode_q(data)?,
        _ => return None,
    };
    // A language may follow the charset (RFC 2231 §5).
    let charset = charset.split('*').next().unwrap_or_default();
    Some((decode(charset, bytes)?, after))
}

fn decode_q(data: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    let mut bytes = data.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'_' => b' ',
            b'=' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let high = digit(bytes.next())?;
                (high * 16 + digit(bytes.next())?) as u8
            }
            _ => b,
        });
    }
    Some(out)
}

/// The text as encoded words in UTF-8, each within the 75 characters that one may have.
pub(crate) fn encode_words(text: &str) -> String {
    const BYTES_PER_WORD: usize = 45;
    let mut out = String::new();
    let mut word = String::new();
    let mut flush = |word: &mut String| {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str("=?UTF-8?B?");
        STANDARD.encode_string(word.as_bytes(), &mut out);
        out.push_str("?=");
        word.clear();
    };
    for c in text.chars() {
        if word.len() + c.len_utf8() > BYTES_PER_WORD {
            flush(&mut word);
        }
        word.push(c);
    }
    if !word.is_empty() {
        flush(&mut word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_own_examples_decode() {
        // RFC 2047 §8. Guards pitfall IMAP 8: encoded words.
        for (encoded, decoded) in [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            (
                "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>",
                "Keith Moore <moore@cs.utk.edu>",
            ),
            ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld Jørn Simonsen"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=",
                "If you can read this yo",
            ),
        ] {
            assert_eq!(decode_words(encoded), decoded);
        }
    }

    #[test]
    fn what_is_no_encoded_word_stays() {
        for text in [
            "=?",
            "=?x?Q?a?=",
            "=?utf-8?Q?=G1?=",
            "a =?utf-8?B?!?= b",
            "=?=?=?",
            "1 =? 2",
        ] {
            assert_eq!(decode_words(text), text);
        }
    }

    #[test]
    fn words_encode_within_their_length_and_decode_again() {
        let text = "Grüße aus Köln, 台北 und 日本語: ".repeat(10);
        let encoded = encode_words(&text);
        assert!(encoded.split(' ').all(|w| w.len() <= 75 && w.is_ascii()));
        assert_eq!(decode_words(&encoded), text);
    }
}
