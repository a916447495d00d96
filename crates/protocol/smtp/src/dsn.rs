//! What a sender wants to be told of its message (RFC 3461).

use std::fmt;

/// RET: how much of the message a report of failure brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// NOTIFY: when a recipient's sender wants to be told. The default says nothing, which is failure and perhaps delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notify(u8);

const SUCCESS: u8 = 1;
const FAILURE: u8 = 2;
const DELAY: u8 = 4;
const NEVER: u8 = 8;

impl Notify {
    /// Nothing is to be told.
    pub const NEVER: Notify = Notify(NEVER);

    /// As it was kept; unknown bits are not taken.
    pub fn from_bits(bits: u16) -> Self {
        let bits = (bits & 15) as u8;
        Notify(if bits & NEVER == 0 { bits } else { NEVER })
    }

    /// To be kept.
    pub fn bits(self) -> u16 {
        self.0.into()
    }

    /// The same, with nothing of a failure.
    pub fn without_failure(self) -> Self {
        match self.0 & (SUCCESS | DELAY) {
            0 => Notify::NEVER,
            others => Notify(others),
        }
    }

    /// Whether success is to be told.
    pub fn success(self) -> bool {
        self.0 & SUCCESS != 0
    }

    /// Whether failure is to be told.
    pub fn failure(self) -> bool {
        self.0 == 0 || self.0 & FAILURE != 0
    }

    /// Whether delay is to be told. Where nothing was said, that is ours to choose, and we tell it.
    pub fn delay(self) -> bool {
        self.0 == 0 || self.0 & DELAY != 0
    }

    /// From the parameter's value.
    //= https://www.rfc-editor.org/rfc/rfc3461#section-4.1
    pub(crate) fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Notify(NEVER));
        }
        let mut bits = 0;
        for word in value.split(',') {
            bits |= match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => SUCCESS,
                "FAILURE" => FAILURE,
                "DELAY" => DELAY,
                _ => return None,
            };
        }
        Some(Notify(bits))
    }

    fn is_default(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & NEVER != 0 {
            return f.write_str("NEVER");
        }
        let words = [(SUCCESS, "SUCCESS"), (FAILURE, "FAILURE"), (DELAY, "DELAY")];
        let set = words.iter().filter(|(bit, _)| self.0 & bit != 0);
        for (n, (_, word)) in set.enumerate() {
            write!(f, "{}{word}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// What RCPT says about notices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptDsn {
    /// When there are any.
    pub notify: Notify,
    /// ORCPT as it was sent, `rfc822;` and an address in xtext: whom the sender meant; empty when it is not said.
    pub original: String,
}

impl RcptDsn {
    /// The same for where a name of ours leads: whom the sender meant is `written`, unless the sender said so himself.
    //= https://www.rfc-editor.org/rfc/rfc3461#section-5.2.1
    pub fn led_from(mut self, written: &str) -> Self {
        if self.original.is_empty() {
            let (kind, special) = match written.is_ascii() {
                true => ("rfc822", "+="),
                false => ("utf-8", "+=\\"),
            };
            self.original = format!("{kind};");
            for c in written.chars() {
                let code = u32::from(c);
                match (c.is_ascii_graphic() && !special.contains(c), written.is_ascii()) {
                    (true, _) => self.original.push(c),
                    (false, true) => self.original += &format!("+{code:02X}"),
                    (false, false) => self.original += &format!("\\x{{{code:02X}}}"),
                }
            }
        }
        self
    }
}

/// What MAIL says about notices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailDsn {
    /// How much comes back.
    pub ret: Option<Return>,
    /// ENVID as it was sent, in xtext: the sender's own name for the message; empty when it is not said.
    pub envelope_id: String,
}

/// The parameters with a space before each, as they are sent on.
impl fmt::Display for RcptDsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.notify.is_default() {
            write!(f, " NOTIFY={}", self.notify)?;
        }
        if !self.original.is_empty() {
            write!(f, " ORCPT={}", self.original)?;
        }
        Ok(())
    }
}

/// Likewise.
impl fmt::Display for MailDsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ret {
            Some(Return::Full) => f.write_str(" RET=FULL")?,
            Some(Return::Headers) => f.write_str(" RET=HDRS")?,
            None => {}
        }
        if !self.envelope_id.is_empty() {
            write!(f, " ENVID={}", self.envelope_id)?;
        }
        Ok(())
    }
}

impl Return {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("FULL") {
            Some(Return::Full)
        } else if value.eq_ignore_ascii_case("HDRS") {
            Some(Return::Headers)
        } else {
            None
        }
    }
}

/// Whether ENVID may have this value: printable once decoded, and short.
//= https://www.rfc-editor.org/rfc/rfc3461#section-4.4
pub(crate) fn is_envelope_id(value: &str) -> bool {
    value.len() <= 100 && printable(value)
}

/// Whether ORCPT may have this value. Addresses beyond ASCII come in a type of their own: as they are where SMTPUTF8 was said,
/// and anywhere with `\x{…}` in the place of what is not ASCII.
//= https://www.rfc-editor.org/rfc/rfc3461#section-4.2
//= https://www.rfc-editor.org/rfc/rfc6533#section-3
pub(crate) fn is_original(value: &str, utf8: bool) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    let is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_address = match kind.eq_ignore_ascii_case("utf-8") {
        true => (utf8 || address.is_ascii()) && !address.is_empty() && !address.chars().any(char::is_control),
        false => printable(address),
    };
    value.len() <= 500 && is_atom && is_address
}

fn printable(value: &str) -> bool {
    value.is_ascii()
        && xtext(value).is_some_and(|text| !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~')))
}

/// An address of the type `utf-8` as it is: `\x{…}` decoded. What does not conform stays as it came.
//= https://www.rfc-editor.org/rfc/rfc6533#section-3
pub fn utf8_address(written: &str) -> String {
    let decoded = || {
        let mut pieces = written.split('\\');
        let mut out = pieces.next()?.to_owned();
        for piece in pieces {
            let (digits, rest) = piece.strip_prefix("x{")?.split_once('}')?;
            let is_hex = (2..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?);
            out.push(c.filter(|c| is_hex && !c.is_control())?);
            out.push_str(rest);
        }
        Some(out)
    };
    decoded().unwrap_or_else(|| written.to_owned())
}

/// The same in ASCII, for where nothing else may stand.
pub fn utf8_address_in_ascii(written: &str) -> String {
    let mut out = String::new();
    for c in written.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => out += &format!("\\x{{{:X}}}", u32::from(c)),
        }
    }
    out
}

/// Decodes xtext; `None` when it is none.
//= https://www.rfc-editor.org/rfc/rfc3461#section-4
pub fn xtext(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'+' {
            out.push(b);
            continue;
        }
        let mut nibble = || match bytes.next()? {
            b @ b'0'..=b'9' => Some(b - b'0'),
            b @ b'A'..=b'F' => Some(b - b'A' + 10),
            _ => None,
        };
        out.push(nibble()? << 4 | nibble()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_never_or_a_list() {
        for (value, success, failure, delay) in [
            ("NEVER", false, false, false),
            ("success", true, false, false),
            ("Failure,DELAY", false, true, true),
            ("SUCCESS,FAILURE,DELAY", true, true, true),
        ] {
            let notify = Notify::parse(value).unwrap();
            assert_eq!(
                (notify.success(), notify.failure(), notify.delay()),
                (success, failure, delay)
            );
            assert!(notify.to_string().eq_ignore_ascii_case(value));
            assert_eq!(Notify::from_bits(notify.bits()), notify);
        }
        for bad in ["", "NEVER,SUCCESS", "SUCCESS,", "x"] {
            assert_eq!(Notify::parse(bad), None, "{bad}");
        }
        let unsaid = Notify::default();
        assert!(!unsaid.success() && unsaid.failure() && unsaid.delay());
    }

    // What is written is what is read again, on the next server and in the notice.
    #[test]
    fn whom_the_sender_wrote_to_is_said_where_he_did_not() {
        for (written, original) in [
            ("list@example.org", "rfc822;list@example.org"),
            ("a+b=c@x.test", "rfc822;a+2Bb+3Dc@x.test"),
            ("\"a b\"@x.test", "rfc822;\"a+20b\"@x.test"),
            ("b\u{fc}+c@x.test", r"utf-8;b\x{FC}\x{2B}c@x.test"),
        ] {
            let dsn = RcptDsn::default().led_from(written);
            assert_eq!(dsn.original, original);
            assert!(is_original(original, false));
            let (kind, address) = original.split_once(';').unwrap();
            let read = if kind == "utf-8" {
                utf8_address(address)
            } else {
                xtext(address).unwrap()
            };
            assert_eq!(read, written);
            assert_eq!(dsn.clone().led_from("other@x.test"), dsn);
        }
    }

    #[test]
    fn originals_and_envelope_ids_are_printable() {
        assert!(is_original("rfc822;alice+2Bx@example.org", false));
        assert!(is_original("utf-8;j\u{f6}rg@example.org", true));
        assert!(!is_original("utf-8;j\u{f6}rg@example.org", false));
        for seven_bit in [r"utf-8;b\x{FC}@x.test", "utf-8;bob@x.test"] {
            assert!(is_original(seven_bit, false) && is_original(seven_bit, true));
        }
        assert_eq!(utf8_address(r"b\x{FC}\x{20}\x{1F600}@x"), "b\u{fc} \u{1f600}@x");
        assert_eq!(utf8_address_in_ascii("b\u{fc}\u{1f600}@x"), r"b\x{FC}\x{1F600}@x");
        for other in [
            r"b\x{0D}\x{0A}c@x",
            r"b\xFC@x",
            r"b\x{D800}@x",
            r"b\x{+FC}@x",
            r"b\x{FC@x",
            r"b\",
        ] {
            assert_eq!(utf8_address(other), other);
        }
        for bad in [
            "",
            "alice@example.org",
            "rfc822;",
            ";x",
            "rfc822;a+0Ab",
            "rfc822;+3",
            "utf-8;j\u{f6}rg@x",
            "a b;c",
        ] {
            assert!(!is_original(bad, false), "{bad}");
        }
        assert!(is_envelope_id("QQ314159") && !is_envelope_id("+0A") && !is_envelope_id(&"x".repeat(101)));
    }
}
