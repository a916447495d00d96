//! Names beyond ASCII in one spelling, so that everybody who compares them compares the same.

use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// A domain in its canonical form: in lower case, and as A-labels where it came as U-labels, so that both are one domain
/// (RFC 5890 §2.3.2.1, RFC 5891 §4, with the mapping of UTS 46). `None` for what stands for no name. What is ASCII is not
/// looked at further.
pub fn ascii_domain(name: &str) -> Option<Cow<'_, str>> {
    if name.is_ascii() {
        return Some(match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.into(),
        });
    }
    idna::domain_to_ascii_strict(name).ok().map(Cow::Owned)
}

/// A local part, or a name of somebody, in the form in which it is compared: composed (NFC) and in lower case.
//= https://www.rfc-editor.org/rfc/rfc6530#section-10.1
pub fn folded(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.into(),
        };
    }
    // Lower case may come apart again.
    name.nfc()
        .flat_map(char::to_lowercase)
        .nfc()
        .collect::<String>()
        .into()
}

/// Whether a character beyond ASCII may stand in a name that people give: a letter, a digit, or what is written above or
/// below one.
pub fn is_letter_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && (c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u_labels_and_a_labels_are_one_domain() {
        for spelling in [
            "bücher.example",
            "BÜCHER.Example",
            "bu\u{308}cher.example",
            "xn--bcher-kva.example",
            "XN--BCHER-KVA.example",
        ] {
            assert_eq!(
                ascii_domain(spelling).as_deref(),
                Some("xn--bcher-kva.example"),
                "{spelling}"
            );
        }
        // RFC 5890 takes ß and final sigma for letters of their own, as UTS 46 does now.
        assert_eq!(
            ascii_domain("straße.example").as_deref(),
            Some("xn--strae-oqa.example")
        );
        assert_eq!(ascii_domain("Example.ORG").as_deref(), Some("example.org"));
        for none in [
            "bü cher.example",
            "bü_cher.example",
            "-ü-.example",
            "☃\u{fffd}.example",
            "ü..example",
        ] {
            assert_eq!(ascii_domain(none), None, "{none}");
        }
    }

    #[test]
    fn a_local_part_is_composed_and_in_lower_case() {
        assert_eq!(folded("JO\u{308}RG"), "jörg");
        assert_eq!(folded("Jörg"), "jörg");
        assert_eq!(folded("Alice.B"), "alice.b");
        assert_eq!(folded("ΑΛΊΚΗ"), "αλίκη");
        assert_eq!(folded("用户"), "用户");
    }
}
