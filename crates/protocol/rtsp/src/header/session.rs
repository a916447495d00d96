use crate::syntax::{Malformed, malformed, number, parameter, split, trim};
use std::fmt;
use std::time::Duration;

/// The Session field (RFC 2326 §12.37).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// The identifier.
    pub id: String,
    /// After how long without a sign of the client the server ends the session; only in responses.
    pub timeout: Option<Duration>,
}

impl SessionHeader {
    /// What holds where a server names no timeout.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-12.37
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

    /// Reads the field. Parameters other than `timeout` are passed over, and so is one that is no number.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (id, rest) = text.split_once(';').unwrap_or((text, ""));
        let id = trim(id);
        if !is_session_id(id) {
            return malformed("a session identifier");
        }
        let timeout = split(rest, ';').find_map(|part| {
            let (name, value) = parameter(part);
            let seconds: u32 = number(value?, "seconds").ok()?;
            name.eq_ignore_ascii_case("timeout")
                .then(|| Duration::from_secs(seconds.into()))
        });
        Ok(SessionHeader {
            id: id.to_owned(),
            timeout,
        })
    }
}

impl fmt::Display for SessionHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        match self.timeout {
            Some(timeout) => write!(f, ";timeout={}", timeout.as_secs()),
            None => Ok(()),
        }
    }
}

/// Whether a text can be a session identifier: 1–128 visible characters of ASCII without a semicolon or comma.
///
/// RFC 2326 §3.4 has fewer, but servers use what they like, and it must be given back as it came.
pub fn is_session_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && !b";,".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_with_and_without_a_timeout() {
        let session = SessionHeader::parse("12345678;timeout=60").unwrap();
        assert_eq!(
            (session.id.as_str(), session.timeout),
            ("12345678", Some(Duration::from_secs(60)))
        );
        assert_eq!(session.to_string(), "12345678;timeout=60");
        let odd = SessionHeader::parse(" 4$+/= ; x; Timeout = 30 ").unwrap();
        assert_eq!(
            (odd.id.as_str(), odd.timeout),
            ("4$+/=", Some(Duration::from_secs(30)))
        );
        for (text, timeout) in [("a", None), ("a;timeout=x", None), ("a;timeout=-1", None)] {
            assert_eq!(SessionHeader::parse(text).unwrap().timeout, timeout);
        }
        let long = "x".repeat(129);
        for bad in ["", ";timeout=60", "a b", "a,b", "a\u{fc}", &long] {
            assert!(SessionHeader::parse(bad).is_err(), "{bad}");
        }
    }
}
