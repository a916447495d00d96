//! URLs (RFC 2326 §3.2).

use crate::syntax::hex_byte;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The port of RTSP (RFC 2326 §9.2).
pub const DEFAULT_PORT: u16 = 554;
/// The port of RTSP over TLS.
pub const DEFAULT_TLS_PORT: u16 = 322;

/// Why a text is no URL that can be gone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Another scheme, rtspu among them.
    #[error("expected rtsp:// or rtsps://")]
    Scheme,
    /// No host, or one with characters that no host has.
    #[error("expected a host name or address behind //")]
    Host,
    /// Not 1–65535.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// White space, a control character or something beyond ASCII.
    #[error("expected visible ASCII characters")]
    Character,
}

/// An absolute URL. Path and query are kept as they were written, so that a server finds its own spelling again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    is_secure: bool,
    user_info: Option<String>,
    host: String,
    port: Option<u16>,
    /// Path and query; empty or begins with `/` or `?`.
    rest: String,
}

impl Url {
    /// Reads an absolute URL. A fragment is cut off.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let is_secure = match scheme {
            s if s.eq_ignore_ascii_case("rtsp") => false,
            s if s.eq_ignore_ascii_case("rtsps") => true,
            _ => return Err(UrlError::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user_info, host_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host_port)?;
        Ok(Url {
            is_secure,
            user_info,
            host: host.to_ascii_lowercase(),
            port,
            rest: rest.to_owned(),
        })
    }

    /// rtsps.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets; in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, or the scheme's.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.is_secure {
            true => DEFAULT_TLS_PORT,
            false => DEFAULT_PORT,
        })
    }

    /// User name and password, decoded, where the URL has them. They are never printed.
    pub fn credentials(&self) -> Option<(String, String)> {
        let info = self.user_info.as_deref()?;
        let (user, password) = info.split_once(':').unwrap_or((info, ""));
        let decoded = |text| String::from_utf8(decode(text)?).ok();
        Some((decoded(user)?, decoded(password)?))
    }

    /// The path without the query; empty or begins with `/`.
    pub fn path(&self) -> &str {
        self.rest.split('?').next().unwrap_or_default()
    }

    /// What stands behind the first `?`.
    pub fn query(&self) -> Option<&str> {
        self.rest.split_once('?').map(|(_, query)| query)
    }

    /// Path and query as they were written, a path of `/` where there is none.
    pub fn path_and_query(&self) -> &str {
        if self.rest.is_empty() { "/" } else { &self.rest }
    }

    /// The same without user name and password.
    pub fn without_credentials(&self) -> Url {
        Url {
            user_info: None,
            ..self.clone()
        }
    }

    /// The same server with another path and query, which begin with `/` or `?` or are empty.
    pub fn with_rest(&self, rest: &str) -> Url {
        debug_assert!(rest.is_empty() || rest.starts_with(['/', '?']));
        Url {
            rest: rest.to_owned(),
            ..self.clone()
        }
    }

    /// Whether both name the same server.
    pub fn is_same_server(&self, other: &Url) -> bool {
        (self.is_secure, &self.host, self.port()) == (other.is_secure, &other.host, other.port())
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Url::parse(text)
    }
}

/// Never shows user name and password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure { "rtsps://" } else { "rtsp://" })?;
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.rest)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), UrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (address, behind) = inside.split_once(']').ok_or(UrlError::Host)?;
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            let port = match behind {
                "" => None,
                _ => Some(behind.strip_prefix(':').ok_or(UrlError::Host)?),
            };
            if !is_address {
                return Err(UrlError::Host);
            }
            (&text[..address.len() + 2], port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if host.is_empty() || host.len() > 255 || !host.bytes().all(is_host) {
                return Err(UrlError::Host);
            }
            (host, port)
        }
    };
    let port = match port {
        // An empty port is the default's (RFC 3986 §3.2.3).
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => return Err(UrlError::Port),
            Ok(port) => Some(port),
        },
        Some(_) => return Err(UrlError::Port),
    };
    Ok((host, port))
}

/// `text` with its `%HH` escapes decoded once; `None` when one is cut or not hexadecimal.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => hex_byte(bytes.next()?, bytes.next()?)?,
            b => b,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_printed() {
        for (text, secure, host, port, path, query) in [
            ("rtsp://h", false, "h", 554, "", None),
            ("RTSP://H.Example:8554/", false, "h.example", 8554, "/", None),
            (
                "rtsps://[2001:db8::1]:1/a/b?c=d/e?f",
                true,
                "[2001:db8::1]",
                1,
                "/a/b",
                Some("c=d/e?f"),
            ),
            ("rtsps://192.0.2.1?x", true, "192.0.2.1", 322, "", Some("x")),
            ("rtsp://h:/a#frag", false, "h", 554, "/a", None),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.is_secure(), secure, "{text}");
            assert_eq!(
                (url.host(), url.port(), url.path(), url.query()),
                (host, port, path, query),
                "{text}"
            );
            assert_eq!(Url::parse(&url.to_string()).unwrap(), url);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (text, error) in [
            ("http://h/", UrlError::Scheme),
            ("rtspu://h/", UrlError::Scheme),
            ("/a", UrlError::Scheme),
            ("*", UrlError::Scheme),
            ("rtsp://", UrlError::Host),
            ("rtsp:///a", UrlError::Host),
            ("rtsp://[::1/a", UrlError::Host),
            ("rtsp://[x]/a", UrlError::Host),
            ("rtsp://[::1]x/a", UrlError::Host),
            ("rtsp://h%41/a", UrlError::Host),
            ("rtsp://h:0/", UrlError::Port),
            ("rtsp://h:65536/", UrlError::Port),
            ("rtsp://h:+1/", UrlError::Port),
            ("rtsp://h/a b", UrlError::Character),
            ("rtsp://h/\r\nX: y", UrlError::Character),
            ("rtsp://h/ü", UrlError::Character),
        ] {
            assert_eq!(Url::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_password_is_read_but_never_shown() {
        let url = Url::parse("rtsp://al%40ice:s%3Acret@h/a").unwrap();
        assert_eq!(url.credentials(), Some(("al@ice".into(), "s:cret".into())));
        assert_eq!(url.to_string(), "rtsp://h/a");
        assert_eq!(format!("{url:?}"), "rtsp://h/a");
        assert_eq!(url.without_credentials().credentials(), None);
        let odd = Url::parse("rtsp://a:p@ss@h/a").unwrap();
        assert_eq!(odd.credentials(), Some(("a".into(), "p@ss".into())));
    }
}
