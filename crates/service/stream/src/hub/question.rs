//! What the hub asks of the rest of the server.

use crate::mount::MountName;
use ringpost_auth::digest::DigestKeys;
use ringpost_rtsp::server::{Access, Password};
use std::net::IpAddr;

/// Names a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub u64);

/// A question, and its number.
#[derive(Clone, Debug)]
pub struct Question {
    /// To be given back with the answer.
    pub id: QuestionId,
    /// Who makes us ask.
    pub peer: IpAddr,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// What is kept of this user's secret? → [`Answer::Keys`].
    Keys {
        /// As the client wrote it.
        user: String,
    },
    /// Is this the user's password? → [`Answer::Yes`] or [`Answer::No`].
    Password {
        /// As the client wrote it.
        user: String,
        /// The password.
        password: Password,
    },
    /// May this be? → [`Answer::Yes`] or [`Answer::No`].
    Authorize {
        /// Who: `None` is nobody known.
        user: Option<String>,
        /// Where.
        mount: MountName,
        /// What for.
        access: Access,
    },
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These keys; `None` for a user that does not exist.
    Keys(Option<DigestKeys>),
    /// Yes.
    Yes,
    /// Not to who is asking, who may prove to be somebody else.
    No,
    /// Not to who is asking, whoever else that may prove to be.
    Never,
    /// It cannot be found out now.
    Unavailable,
}
