//! Modified UTF-7, in which IMAP4rev1 writes mailbox names (RFC 3501 §5.1.3).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// `text` in modified UTF-7.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut shifted: Vec<u16> = Vec::new();
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            encode_shifted(&mut shifted, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            shifted.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }
    encode_shifted(&mut shifted, &mut out);
    out
}

fn encode_shifted(units: &mut Vec<u16>, out: &mut String) {
    if units.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut have) = (0u32, 0);
    for unit in units.drain(..) {
        bits = bits << 16 | u32::from(unit);
        have += 16;
        while have >= 6 {
            have -= 6;
            out.push(ALPHABET[(bits >> have & 63) as usize] as char);
        }
        bits &= (1 << have) - 1;
    }
    if have > 0 {
        out.push(ALPHABET[(bits << (6 - have) & 63) as usize] as char);
    }
    out.push('-');
}

/// Reads modified UTF-7. `None` when it is none, and also when it is written in another way than [`encode`] would, since
/// then one mailbox would have two names.
pub fn decode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (shifted, after) = rest[at + 1..].split_once('-')?;
        if shifted.is_empty() {
            out.push('&');
        } else {
            decode_shifted(shifted.as_bytes(), &mut out)?;
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == text).then_some(out)
}

fn decode_shifted(digits: &[u8], out: &mut String) -> Option<()> {
    let mut units = Vec::with_capacity(digits.len());
    let (mut bits, mut have) = (0u32, 0);
    for digit in digits {
        let value = ALPHABET.iter().position(|a| a == digit)?;
        bits = (bits << 6 | value as u32) & 0x3f_ffff;
        have += 6;
        if have >= 16 {
            have -= 16;
            units.push((bits >> have) as u16);
        }
    }
    for c in char::decode_utf16(units) {
        out.push(c.ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_own_example_goes_both_ways() {
        // RFC 3501 §5.1.3: English, Chinese and Japanese in one name.
        let wire = "~peter/mail/&U,BTFw-/&ZeVnLIqe-";
        let text = "~peter/mail/台北/日本語";
        assert_eq!(decode(wire).as_deref(), Some(text));
        assert_eq!(encode(text), wire);
    }

    #[test]
    fn ampersands_and_characters_beyond_the_basic_plane() {
        for text in ["a&b", "&", "&&-", "Entwürfe", "📞 calls", "ü&ü", ""] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text), "{text}");
        }
        assert_eq!(encode("Entw\u{fc}rfe"), "Entw&APw-rfe");
    }

    #[test]
    fn a_second_spelling_of_a_name_is_refused() {
        // Guards pitfall IMAP 10: of all spellings of a mailbox name one is right.
        for bad in [
            "&Jjo!",              // RFC 3501's own: no end of shift
            "&U,BTFw-&ZeVnLIqe-", // a superfluous shift
            "&AGE-",              // a letter that needs no shift
            "&APw",               // never shifted back
            "&AP-",               // half a character
            "&2D0-",              // half a surrogate pair
            "&APx-",              // padding bits set
            "a b & c",
            "Entwürfe", // raw UTF-8
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
