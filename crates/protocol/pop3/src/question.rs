//! What a session asks of the mail service, and the answers it takes.

use ringpost_auth::sasl::ScramKeys;
use std::fmt;
use std::sync::Arc;

/// A message's number within its mailbox, which it never shares with another (RFC 3501 §2.3.1.1).
pub type Uid = u32;

/// Names a [`Question`] within its session. An answer to a question that is no longer open is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u64);

/// A question of the session; one is open at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// To be given back with the answer.
    pub id: QuestionId,
    /// What is asked.
    pub ask: Ask,
}

/// What a session asks. Any of it may be answered with [`Answer::Refused`]; what else fits stands with each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// May this user in, and what is in the maildrop? → [`Answer::Opened`]. The maildrop is the session's alone from then on,
    /// until it ends; one that another session has is [`Refusal::InUse`].
    Authenticate {
        /// Who it is: an address, or what stands before its `@`, as the client wrote it.
        user: String,
        /// Whom the user wants to act as, where the client says so (RFC 4422 §2).
        authzid: Option<String>,
        /// How the user proves it.
        proof: Proof,
    },
    /// What is kept of this user's password for SCRAM → [`Answer::ScramKeys`]. A user that does not exist is told from
    /// others by nothing but the outcome.
    ScramKeys {
        /// As the client wrote it.
        user: String,
    },
    /// Is this message's text at hand? → [`Answer::Done`]; then [`Output::Body`](crate::Output::Body) asks for it, or
    /// [`Refusal::Gone`].
    Retrieve(Uid),
    /// Remove these messages, ascending, for good → [`Answer::Done`] when that is durable. The session ends after it. A
    /// session that ends without this question removes nothing.
    Update {
        /// Which; perhaps none.
        delete: Vec<Uid>,
    },
}

/// How a user proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By this password, which is to be checked.
    Password(Password),
    /// By SCRAM: it has been proven with the keys that [`Ask::ScramKeys`] fetched.
    Scram,
    /// Not at all: SCRAM has shown that the password is another, or that there is no such user. The answer is
    /// [`Refusal::BadCredentials`], at the time that the driver gives such answers.
    Failed,
}

/// A password that shows itself in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// As the client sent it.
    pub fn new(text: impl Into<String>) -> Self {
        Password(text.into())
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes; it is done.
    Done,
    /// To [`Ask::ScramKeys`]; `None` when there is no such user.
    ScramKeys(Option<ScramKeys>),
    /// To [`Ask::Authenticate`].
    Opened(Maildrop),
    /// No.
    Refused(Refusal),
}

/// A maildrop at the moment it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Maildrop {
    /// UIDVALIDITY: with it a UID means the same message for ever.
    pub uid_validity: u32,
    /// Its messages, UIDs ascending; message number 1 is the first.
    pub messages: Arc<[Listed]>,
}

/// A message of a maildrop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its UID.
    pub uid: Uid,
    /// Its length in bytes with CRLF at the end of each line, as [`Transform`](crate::Transform) sends it: the dots that it
    /// adds do not count (RFC 1939 §11).
    pub size_bytes: u64,
}

/// Why the mail service said no. The session words it, with the response codes of RFC 2449 §8 and RFC 3206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user or the password is wrong; which of them is not told.
    BadCredentials,
    /// Another session has the maildrop.
    InUse,
    /// The message is there no more: it was removed by another way than this session.
    Gone,
    /// The store cannot be reached, or is full; it may be tried again.
    Unavailable,
    /// It will not work until somebody has mended something.
    Broken,
    /// Too many passwords from the client's address were wrong: this one was not looked at.
    TooManyFailures,
}
