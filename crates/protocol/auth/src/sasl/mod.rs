//! SASL as SMTP, IMAP and POP3 carry it (RFC 4422): PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.
//!
//! [`Server`] is one exchange. It is fed the client's decoded responses and says in a [`Step`] what comes next: a
//! challenge to send, a password to check, keys to fetch, or who was authenticated. Base64, line limits and the client's
//! `*` are the session's matter.

mod prepare;
mod scram;
#[cfg(test)]
mod tests;

pub use prepare::{PrepareError, prepare};
pub use scram::{DEFAULT_ITERATIONS, DecoyKey, MIN_ITERATIONS, ScramKeys};

use ringpost_base::{Rng, limits};
use scram::Scram;
use thiserror::Error;

/// A mechanism of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616: the password in one message.
    Plain,
    /// Never standardized: the name, then the password, each asked for.
    Login,
    /// RFC 5802 with SHA-256 (RFC 7677), without channel binding.
    ScramSha256,
    /// The same bound to the TLS connection, so that nobody in the middle can pass it on.
    ScramSha256Plus,
}

impl Mechanism {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// By its name in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Mechanism::Plain,
            Mechanism::Login,
            Mechanism::ScramSha256,
            Mechanism::ScramSha256Plus,
        ]
        .into_iter()
        .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether the password itself goes over the wire, so that it wants TLS.
    pub const fn shows_password(self) -> bool {
        !matches!(self, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus)
    }
}

/// What the connection's TLS has that both of its ends know, and nobody between them: empty without TLS.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// `tls-exporter` (RFC 9266): 32 bytes of keying material; from TLS 1.3 on.
    pub exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929 §4): the hash of the server's certificate.
    pub server_end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.server_end_point.is_none()
    }

    /// The data of a binding by its registered name.
    fn of(&self, name: &str) -> Option<&[u8]> {
        match name {
            "tls-exporter" => self.exporter.as_deref(),
            "tls-server-end-point" => self.server_end_point.as_deref(),
            _ => None,
        }
    }
}

impl std::fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelBindings")
            .field("exporter", &self.exporter.is_some())
            .field("server_end_point", &self.server_end_point.is_some())
            .finish()
    }
}

/// A name and password to be checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// Who the client wants to act as, where it says so.
    pub authzid: Option<String>,
    /// Whose password it is, as sent.
    pub user: String,
    /// The password, as sent.
    pub password: String,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password")
            .field("authzid", &self.authzid)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What comes next in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, and come back with the answer to [`Server::handle_response`].
    Challenge(Vec<u8>),
    /// The exchange is over; whether it succeeds is the password's checker to say.
    CheckPassword(Password),
    /// Fetch this user's keys and go on with [`Server::handle_keys`].
    FetchKeys {
        /// The user, as sent.
        user: String,
    },
    /// The exchange is over, and this user has proven to know the password.
    Authenticated {
        /// Who the client wants to act as, where it says so.
        authzid: Option<String>,
        /// Who the client is, as sent.
        user: String,
    },
}

/// Why an exchange ends without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SaslError {
    /// A response longer than [`limits::SASL_MESSAGE_BYTES`].
    #[error("expected a response of at most {} bytes", limits::SASL_MESSAGE_BYTES)]
    TooLong,
    /// Not what the mechanism's grammar wants.
    #[error("expected {0}")]
    Malformed(&'static str),
    /// The client's binding is not this connection's, or it was told that there is none: somebody is in the middle. Or it
    /// wants one that was not offered.
    #[error("the channel binding is not this connection's")]
    ChannelBinding,
    /// Unknown user or wrong password.
    #[error("unknown user or wrong password")]
    Refused,
    /// The exchange is over, or waits for something else.
    #[error("nothing was asked of the client")]
    OutOfTurn,
}

/// The server's side of one exchange.
#[derive(Debug)]
pub struct Server(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword { user: String },
    Scram(Box<Scram>),
    Over,
}

impl Server {
    /// An exchange of `mechanism`; `decoy` answers for users that do not exist. Begin with [`start`](Server::start).
    pub fn new(mechanism: Mechanism, rng: &mut Rng, decoy: &DecoyKey) -> Self {
        Server(match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginName,
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                State::Scram(Box::new(Scram::new(rng.token(24), decoy.clone())))
            }
        })
    }

    /// The same where the connection has these bindings and SCRAM-SHA-256-PLUS was offered.
    pub fn bound(mechanism: Mechanism, rng: &mut Rng, decoy: &DecoyKey, bindings: &ChannelBindings) -> Self {
        let mut server = Server::new(mechanism, rng, decoy);
        if let State::Scram(scram) = &mut server.0 {
            scram.bind(bindings.clone(), mechanism == Mechanism::ScramSha256Plus);
        }
        server
    }

    /// The first step, with the initial response when the client sent one along.
    pub fn start(&mut self, initial: Option<&[u8]>) -> Result<Step, SaslError> {
        match (initial, &self.0) {
            (Some(response), _) => self.handle_response(response),
            (None, State::LoginName) => Ok(Step::Challenge(b"Username:".to_vec())),
            (None, _) => Ok(Step::Challenge(Vec::new())),
        }
    }

    /// The client's answer to a challenge, decoded.
    pub fn handle_response(&mut self, response: &[u8]) -> Result<Step, SaslError> {
        let state = std::mem::replace(&mut self.0, State::Over);
        if response.len() > limits::SASL_MESSAGE_BYTES {
            return Err(SaslError::TooLong);
        }
        match state {
            State::Plain => plain(response).map(Step::CheckPassword),
            State::LoginName => {
                let user = text(response)?.to_owned();
                if user.is_empty() {
                    return Err(SaslError::Malformed("a user name"));
                }
                self.0 = State::LoginPassword { user };
                Ok(Step::Challenge(b"Password:".to_vec()))
            }
            State::LoginPassword { user } => {
                let password = text(response)?.to_owned();
                Ok(Step::CheckPassword(Password {
                    authzid: None,
                    user,
                    password,
                }))
            }
            State::Scram(mut scram) => {
                let step = scram.handle_response(response)?;
                self.0 = State::Scram(scram);
                Ok(step)
            }
            State::Over => Err(SaslError::OutOfTurn),
        }
    }

    /// The keys that [`Step::FetchKeys`] asked for; `None` when there is no such user, which the client learns only at the
    /// end, as it would of a wrong password.
    pub fn handle_keys(&mut self, keys: Option<&ScramKeys>) -> Result<Step, SaslError> {
        match &mut self.0 {
            State::Scram(scram) => scram.handle_keys(keys),
            _ => Err(SaslError::OutOfTurn),
        }
    }
}

/// Reads PLAIN's message: authorization identity, NUL, user, NUL, password (RFC 4616 §2).
pub fn plain(message: &[u8]) -> Result<Password, SaslError> {
    let message = std::str::from_utf8(message).map_err(|_| SaslError::Malformed("UTF-8"))?;
    let mut parts = message.split('\0');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(authzid), Some(user), Some(password), None) if !user.is_empty() && !password.is_empty() => {
            Ok(Password {
                authzid: (!authzid.is_empty()).then(|| authzid.to_owned()),
                user: user.to_owned(),
                password: password.to_owned(),
            })
        }
        _ => Err(SaslError::Malformed("authzid NUL user NUL password")),
    }
}

/// A client's message for PLAIN, to be sent in base64.
pub fn plain_message(authzid: &str, user: &str, password: &str) -> Vec<u8> {
    [authzid, user, password].join("\0").into_bytes()
}

fn text(bytes: &[u8]) -> Result<&str, SaslError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(SaslError::Malformed("UTF-8 without NUL")),
    }
}
