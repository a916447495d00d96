//! MTA-STS (RFC 8461): what a domain says of how its mail servers are to be spoken to.
//!
//! Only what the record and the policy say; who fetches them, and over what, is somebody else's matter.

use ringpost_base::limits;
use std::time::Duration;

/// The longest that a policy may hold (RFC 8461 §3.2): a year and a quarter of a day.
const MAX_AGE_S: u64 = 31_557_600;

/// What is done about a server that cannot be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It gets no mail.
    Enforce,
    /// It gets mail, and somebody may be told.
    Testing,
    /// Nothing: the domain has taken its policy back.
    None,
}

/// A domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is done.
    pub mode: Mode,
    /// Names of its servers in lower case; one that begins with `*.` is for any name with one label in that place.
    pub servers: Vec<String>,
    /// For how long it holds.
    pub max_age: Duration,
}

/// The policy's identifier in a domain's `_mta-sts` TXT records. `None` where there is not exactly one that is meant.
//= https://www.rfc-editor.org/rfc/rfc8461#section-3.1
pub fn policy_id(texts: &[String]) -> Option<String> {
    let mut meant = texts.iter().filter(|text| {
        let version = text.split(';').next().unwrap_or_default();
        version.trim_end() == "v=STSv1"
    });
    let (record, None) = (meant.next()?, meant.next()) else {
        return None;
    };
    let mut fields = record.split(';').filter_map(|field| field.trim().split_once('='));
    let (_, id) = fields.find(|(name, _)| name.trim() == "id")?;
    let id = id.trim();
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id.then(|| id.to_owned())
}

impl Policy {
    /// Reads a policy's text, of at most [`limits::STS_POLICY_BYTES`] with [`limits::STS_SERVERS`] servers.
    ///
    /// # Errors
    /// Says what was expected.
    //= https://www.rfc-editor.org/rfc/rfc8461#section-3.2
    pub fn parse(text: &[u8]) -> Result<Policy, String> {
        if text.len() > limits::STS_POLICY_BYTES {
            return Err(format!("expected at most {} bytes", limits::STS_POLICY_BYTES));
        }
        let text = std::str::from_utf8(text).map_err(|_| "expected UTF-8".to_owned())?;
        let (mut version, mut mode, mut max_age, mut servers) = (None, None, None, Vec::new());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line
                .split_once(':')
                .ok_or_else(|| "expected lines like \"key: value\"".to_owned())?;
            let value = value.trim();
            // Of what stands there twice the first counts; a key that nobody knows is passed over.
            match key.trim() {
                "version" => drop(version.get_or_insert(value)),
                "mode" => drop(mode.get_or_insert(value)),
                "max_age" => drop(max_age.get_or_insert(value)),
                "mx" if servers.len() == limits::STS_SERVERS => {
                    return Err(format!("expected at most {} servers", limits::STS_SERVERS));
                }
                "mx" => servers.push(value.trim_end_matches('.').to_ascii_lowercase()),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err("expected \"version: STSv1\"".to_owned());
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err("expected a mode of enforce, testing or none".to_owned()),
        };
        if servers.is_empty() && mode != Mode::None {
            return Err("expected a server at least".to_owned());
        }
        let max_age = max_age.and_then(|age| age.parse::<u64>().ok());
        let max_age = max_age.ok_or_else(|| "expected a max_age in seconds".to_owned())?;
        Ok(Policy {
            mode,
            servers,
            max_age: Duration::from_secs(max_age.min(MAX_AGE_S)),
        })
    }

    /// Whether a server is one of the domain's.
    //= https://www.rfc-editor.org/rfc/rfc8461#section-4.1
    pub fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let behind = host.split_once('.').map(|(_, behind)| behind);
        self.servers.iter().any(|server| match server.strip_prefix("*.") {
            Some(domain) => behind == Some(domain),
            None => *server == host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_names_the_policy_where_it_is_the_only_one() {
        let id = |texts: &[&str]| policy_id(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            id(&["v=STSv1; id=20160831085700Z;"]),
            Some("20160831085700Z".into())
        );
        assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=a1"]), Some("a1".into()));
        for bad in [
            &[][..],
            &["v=STSv1;id=1", "v=STSv1;id=2"],
            &["v=STSv1"],
            &["v=STSv1; id="],
            &["v=STSv1; id=a-b"],
            &["v=STSv2; id=1"],
            &["id=1; v=STSv1"],
            &["v=STSv1; id=123456789012345678901234567890123"],
        ] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
    }

    const EXAMPLE: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\n\
                           mx: backupmx.example.com\r\nmax_age: 604800\r\nmore: x\r\n";

    #[test]
    fn a_policy_names_its_servers_and_how_long_it_holds() {
        for text in [EXAMPLE.to_owned(), EXAMPLE.replace("\r\n", "\n")] {
            let policy = Policy::parse(text.as_bytes()).unwrap();
            assert_eq!((policy.mode, policy.max_age.as_secs()), (Mode::Enforce, 604_800));
            for (host, is_one) in [
                ("mail.example.com", true),
                ("MAIL.example.com.", true),
                ("mx.example.net", true),
                ("a.mx.example.net", false),
                ("example.net", false),
                ("mail.example.org", false),
                ("", false),
            ] {
                assert_eq!(policy.allows(host), is_one, "{host}");
            }
        }
        let none = Policy::parse(b"version: STSv1\nmode: none\nmax_age: 99999999999").unwrap();
        assert_eq!((none.mode, none.max_age.as_secs()), (Mode::None, 31_557_600));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_what_was_expected() {
        let many = format!("{EXAMPLE}{}", "mx: a.test\n".repeat(limits::STS_SERVERS));
        for (text, expected) in [
            ("", "version"),
            ("<html>", "key: value"),
            ("version: STSv1\nmode: maybe\nmx: a\nmax_age: 1", "mode"),
            ("version: STSv1\nmode: enforce\nmax_age: 1", "server"),
            ("version: STSv1\nmode: enforce\nmx: a\nmax_age: long", "max_age"),
            (&many, "servers"),
            (&" ".repeat(limits::STS_POLICY_BYTES + 1), "bytes"),
        ] {
            let error = Policy::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
