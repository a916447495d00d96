//! What the hub asks of the rest of the server.

use super::ConnectionId;
use crate::mount::MountName;
use bytes::Bytes;
use ringpost_auth::digest::DigestKeys;
use ringpost_base::UnixTime;
use ringpost_rtsp::server::{Access, Password, User};
use ringpost_store::{FileInfo, FileName};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use thiserror::Error;

/// Names a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub u64);

/// A question, and its number.
#[derive(Clone, Debug)]
pub struct Question {
    /// To be given back with the answer.
    pub id: QuestionId,
    /// On which connection, and from where, came what makes us ask; `None` where it is nobody's in particular.
    pub from: Option<(ConnectionId, SocketAddr)>,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// What is kept of this user's secret? → [`Answer::Keys`], or [`Answer::No`] where there is no such realm.
    Keys {
        /// As the client wrote it.
        user: String,
        /// The realm that it is the user's name in: a domain.
        realm: String,
    },
    /// Is this the user's password? → [`Answer::Proven`] or [`Answer::No`].
    Password {
        /// As the client wrote it.
        user: String,
        /// The password.
        password: Password,
    },
    /// What files are there of a mount that is not live? → [`Answer::Files`] or [`Answer::Nothing`].
    List {
        /// Which.
        mount: MountName,
    },
    /// What is in a file of a mount? → [`Answer::Octets`] or [`Answer::Unreadable`].
    Read {
        /// Of which.
        mount: MountName,
        /// A file that was listed.
        file: FileName,
        /// Its octets.
        range: Range<u64>,
    },
    /// Tell the owner of a mount that nothing has come since then, or with `None` that something comes again. It has no answer.
    Tell {
        /// Which.
        mount: MountName,
        /// Since when.
        silent_since: Option<UnixTime>,
    },
    /// At which addresses may a server be pulled from? → [`Answer::Addresses`].
    Resolve {
        /// A name, or an address (IPv6 in brackets).
        host: String,
    },
    /// May this be? → [`Answer::Yes`], [`Answer::Unproven`], [`Answer::Never`] or [`Answer::Refused`].
    Authorize {
        /// Who: `None` is nobody known.
        user: Option<User>,
        /// Where.
        mount: MountName,
        /// What for.
        access: Access,
        /// What stands behind `?` in the URL.
        query: Option<String>,
    },
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is this user, who has these keys; `None` for one that does not exist.
    Keys(Option<(User, DigestKeys)>),
    /// It is this user's.
    Proven(User),
    /// Yes.
    Yes,
    /// No.
    No,
    /// Not to who is asking, who may prove to be somebody, in this realm or in that of the configuration. Who has proven that
    /// before is not, or not any more.
    Unproven {
        /// It.
        realm: Option<String>,
    },
    /// Not to who is asking, whoever else that may prove to be.
    Never,
    /// Never, whoever asks, for this reason.
    Refused(&'static str),
    /// These, at least one, or why none.
    Addresses(Result<Vec<IpAddr>, Unresolved>),
    /// These files.
    Files {
        /// Whether they are played one behind the other, in this order; otherwise they are recordings, whose names say when
        /// they happened.
        is_playlist: bool,
        /// The files.
        files: Vec<FileInfo>,
    },
    /// There is nothing of that name.
    Nothing,
    /// These octets, or as many of them as there are.
    Octets(Bytes),
    /// They cannot be read, which this says why.
    Unreadable(String),
    /// It cannot be found out now.
    Unavailable,
}

/// Why a server has no address that may be pulled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unresolved {
    /// There is none.
    #[error("the DNS knows no address of it")]
    Unknown,
    /// None that may be gone to: this is the first.
    #[error("its address {0} is no public one, and streams.pull_networks does not name it")]
    Denied(IpAddr),
    /// The DNS did not say.
    #[error("the DNS gave no answer")]
    Unavailable,
}
