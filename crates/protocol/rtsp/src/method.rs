//! Methods (RFC 2326 §10).

use crate::syntax::is_all_token;
use std::fmt;

/// The method of a request. Methods are case-sensitive (§6.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// What can you do? (§10.1)
    Options,
    /// What is there? (§10.2)
    Describe,
    /// This is there. (§10.3)
    Announce,
    /// Make way for one stream. (§10.4)
    Setup,
    /// Send. (§10.5)
    Play,
    /// Stop for a while. (§10.6)
    Pause,
    /// Stop for good. (§10.7)
    Teardown,
    /// What is the value? (§10.8)
    GetParameter,
    /// Let the value be. (§10.9)
    SetParameter,
    /// Go elsewhere. (§10.10)
    Redirect,
    /// I send, you keep. (§10.11)
    Record,
    /// Another token.
    Other(String),
}

pub(crate) const NAMES: [(&str, Method); 11] = [
    ("OPTIONS", Method::Options),
    ("DESCRIBE", Method::Describe),
    ("ANNOUNCE", Method::Announce),
    ("SETUP", Method::Setup),
    ("PLAY", Method::Play),
    ("PAUSE", Method::Pause),
    ("TEARDOWN", Method::Teardown),
    ("GET_PARAMETER", Method::GetParameter),
    ("SET_PARAMETER", Method::SetParameter),
    ("REDIRECT", Method::Redirect),
    ("RECORD", Method::Record),
];

impl Method {
    /// The method of this name; `None` when it is no token.
    pub fn parse(name: &str) -> Option<Self> {
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, method)) => Some(method.clone()),
            None if is_all_token(name) => Some(Method::Other(name.into())),
            None => None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Method::Other(name) => name,
            known => NAMES
                .iter()
                .find(|(_, method)| method == known)
                .map_or("OPTIONS", |(name, _)| name),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive_tokens() {
        for (name, method) in NAMES {
            assert_eq!(Method::parse(name), Some(method.clone()));
            assert_eq!(method.name(), name);
        }
        assert_eq!(Method::parse("play"), Some(Method::Other("play".into())));
        assert_eq!(Method::parse("PL AY"), None);
        assert_eq!(Method::parse(""), None);
    }
}
