//! What became of a recipient, or of a connection.

use super::reply::Reply;

/// Whether it is over, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The other server answers for it from now on.
    Delivered,
    /// It may work later.
    Deferred,
    /// It will not work.
    Failed,
}

/// What became of one recipient, with what a notice has to say about it (RFC 3464 §2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is over.
    pub fate: Fate,
    /// `class.subject.detail` (RFC 3463): the server's own, or the general one of its reply.
    pub status: String,
    /// The reply's code, when it was a server that decided.
    pub code: Option<u16>,
    /// Its text, or ours: one line without control characters, at most `limits::SMTP_VERDICT_BYTES`.
    pub text: String,
}

impl Verdict {
    /// Something of ours, or of the way: it may work later.
    pub fn deferred(status: &str, text: impl Into<String>) -> Self {
        Verdict {
            fate: Fate::Deferred,
            status: status.to_owned(),
            code: None,
            text: text.into(),
        }
    }

    /// Something of ours, or of the way, that no time mends.
    pub fn failed(status: &str, text: impl Into<String>) -> Self {
        Verdict {
            fate: Fate::Failed,
            ..Verdict::deferred(status, text)
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1
    pub(super) fn of(reply: &Reply) -> Self {
        let (fate, general) = match reply.code / 100 {
            2 => (Fate::Delivered, "2.0.0"),
            5 => (Fate::Failed, "5.0.0"),
            // A 354 where none belongs says nothing about the recipient.
            _ => (Fate::Deferred, "4.0.0"),
        };
        Verdict {
            fate,
            status: reply.enhanced().unwrap_or(general).to_owned(),
            code: Some(reply.code),
            text: reply.text(),
        }
    }

    /// The same, but not for ever: what was refused is the connection, and another may be taken.
    pub(super) fn softened(self) -> Self {
        match self.fate {
            Fate::Deferred => self,
            Fate::Delivered | Fate::Failed => Verdict {
                fate: Fate::Deferred,
                status: format!("4{}", self.status.get(1..).unwrap_or(".0.0")),
                ..self
            },
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code} {} {}", self.status, self.text),
            None => write!(f, "{} {}", self.status, self.text),
        }
    }
}
