use ringpost_base::{folded, is_letter_beyond_ascii};
use std::fmt;

/// Why a name was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} is no {kind}: expected {expected}", shown(.name))]
pub struct NameError {
    /// What was given.
    pub name: String,
    /// What it should have been.
    pub kind: &'static str,
    /// What such a name consists of.
    pub expected: &'static str,
}

/// Characters of a name that errors show: enough to know it by, and one line.
const SHOWN_CHARS: usize = 80;

fn shown(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// An account's address: a local part and a domain, both in lower case, the one composed (NFC), the other as A-labels.
///
/// The local part keeps to letters of any script, digits, `.`, `_` and `-`, so that it is the same thing in a SIP URI, a mail address, a
/// mount's name and a log; `+` is left to plus-addressing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    local_part: String,
    domain: String,
}

impl Address {
    /// From `local@domain`, in any case.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let refused = |expected| NameError {
            name: text.into(),
            kind: "address",
            expected,
        };
        let (local, domain) = text
            .rsplit_once('@')
            .ok_or_else(|| refused("local-part@domain, like alice@example.org"))?;
        let local_part = local_part(local).map_err(|_| refused(LOCAL_PART))?;
        let domain = self::domain(domain).map_err(|_| refused(ADDRESS_DOMAIN))?;
        Ok(Address { local_part, domain })
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The part behind it.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

const LOCAL_PART: &str =
    "1 to 64 bytes of letters, digits, '.', '_' or '-' before the '@', with no '.' at an end or doubled";
const ADDRESS_DOMAIN: &str = "a domain behind the '@', like example.org";

/// An address that an alias may lead to, in one spelling: [`normal`], and such as mail can be sent to.
pub(crate) fn target(text: &str) -> Result<String, NameError> {
    let normal = normal(text);
    let atext = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii() && !c.is_control()
    };
    let good = normal.rsplit_once('@').is_some_and(|(local, name)| {
        local.len() <= 64
            && local
                .split('.')
                .all(|atom| !atom.is_empty() && atom.chars().all(atext))
            && domain(name).is_ok()
    });
    match good {
        true => Ok(normal),
        false => Err(NameError {
            name: text.into(),
            kind: "address",
            expected: "local-part@domain, like alice@example.org",
        }),
    }
}

/// An address in one spelling, as far as the domain goes.
pub(crate) fn normal(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", crate::domain_key(domain)),
        None => text.to_owned(),
    }
}

/// A local part, composed and in lower case.
fn local_part(name: &str) -> Result<String, NameError> {
    plain(
        folded(name).into_owned(),
        64,
        "local part",
        LOCAL_PART,
        is_letter_beyond_ascii,
    )
}

/// A device's name in lower case.
pub(crate) fn device(name: &str) -> Result<String, NameError> {
    plain(
        name.to_ascii_lowercase(),
        32,
        "device name",
        "1 to 32 letters, digits, '.', '_' or '-', with no '.' at an end or doubled",
        |_| false,
    )
}

/// An extension of the number plan.
pub(crate) fn extension(digits: &str) -> Result<String, NameError> {
    let good = (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    match good {
        true => Ok(digits.into()),
        false => Err(NameError {
            name: digits.into(),
            kind: "extension",
            expected: "1 to 15 digits",
        }),
    }
}

/// Whether a domain can have this name, in any case, as A-labels or U-labels: letters, digits and hyphens in labels of at most 63 (RFC 1123 §2.1), 253
/// in all, and no number at the end, which would be an address.
pub fn is_domain(name: &str) -> bool {
    domain(name).is_ok()
}

/// A domain in lower case, as A-labels.
pub(crate) fn domain(name: &str) -> Result<String, NameError> {
    let name = crate::domain_key(name).into_owned();
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let is_number = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    let ends_well = name.rsplit('.').next().is_some_and(|l| !is_number(l));
    match name.len() <= 253 && name.split('.').all(label) && ends_well {
        true => Ok(name),
        false => Err(NameError {
            name,
            kind: "domain",
            expected: "a name like example.org: letters, digits and '-' with '.' between, and no number at the end",
        }),
    }
}

fn plain(
    name: String,
    max: usize,
    kind: &'static str,
    expected: &'static str,
    other: fn(char) -> bool,
) -> Result<String, NameError> {
    let good = (1..=max).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') || other(c))
        && name.starts_with(|c: char| c.is_alphanumeric() || c.is_ascii())
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    match good {
        true => Ok(name),
        false => Err(NameError { name, kind, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_one_spelling() {
        assert_eq!(
            Address::parse("Alice.B@Example.ORG").unwrap().to_string(),
            "alice.b@example.org"
        );
        assert!(Address::parse("alice@localhost").is_ok());
        for spelling in ["JO\u{308}RG@Bücher.example", "jörg@xn--bcher-kva.EXAMPLE"] {
            let address = Address::parse(spelling).unwrap();
            assert_eq!(address.to_string(), "jörg@xn--bcher-kva.example");
        }
        for bad in [
            "alice",
            "@x.org",
            "a@",
            "a b@x.org",
            "a@x..org",
            ".a@x.org",
            "a..b@x.org",
            "a+b@x.org",
            "\u{308}a@x.org",
            "a☃@x.org",
            "a@☃\u{fffd}.org",
            "a@-x.org",
            "a@x_y.org",
            "a@192.0.2.1",
            "a@x.7",
            "a\0@x.org",
            "a@b@x.org",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_shows_the_whole_name_and_no_more_of_a_long_one_than_is_read() {
        let error = Address::parse("bob\u{1b}[31m\n@example.org")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("\"bob\\u{1b}[31m\\n@example.org\" is no address: "),
            "{error}"
        );
        let error = domain(&"ä".repeat(9_000)).unwrap_err().to_string();
        assert!(error.chars().count() < 250 && error.contains('…'), "{error}");
    }

    #[test]
    fn extensions_are_digits() {
        assert!(extension("100").is_ok());
        assert!(extension("*97").is_err());
        assert!(extension("").is_err());
    }
}
