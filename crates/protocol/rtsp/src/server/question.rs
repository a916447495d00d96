//! What a server connection asks, and the answers it takes.

use crate::header::{Mode, Pair, Range, Transport};
use crate::message::Headers;
use crate::method::Method;
use crate::mount::MountPath;
use crate::server::session::Session;
use crate::status::Status;
use crate::url::Url;
use bytes::Bytes;
use ringpost_auth::digest::DigestKeys;
use ringpost_base::UnixTime;
use std::fmt;

/// A session's identifier, which nobody can guess (RFC 2326 §3.4).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) String);

impl SessionId {
    /// As it stands in the Session field.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shows its beginning alone: who knows all of it may use the session.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.0.get(..4).unwrap_or_default())
    }
}

/// Names a [`Question`] within its connection. An answer to a question that is no longer open is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u64);

/// A question of the connection; one is open at a time.
#[derive(Clone, Debug)]
pub struct Question {
    /// To be given back with the answer.
    pub id: QuestionId,
    /// What is asked.
    pub ask: Ask,
}

/// What a mount is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// To read from it.
    Read,
    /// To send to it.
    Publish,
}

/// Who a client has proven to be. The proof holds for the connection, and may hold no longer: a password changes, a name comes to be
/// another's. Hence whoever answers [`Ask::Authorize`] looks at it each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, which is the same however the client has written it.
    pub name: String,
    /// Which of those that have this name, one after another: who is made again under it is somebody else.
    pub holder: u64,
    /// What the proof hangs on, to whoever has answered that it is one.
    pub mark: Option<u64>,
    /// The realm that it was proven in, where that is not the configuration's.
    pub realm: Option<String>,
}

impl User {
    /// Whether it is the same one, however it was proven.
    pub fn is_same(&self, other: &User) -> bool {
        self.name == other.name && self.holder == other.holder
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mount.
    pub mount: MountPath,
    /// What stands behind `?` in the URL, the stream's part taken off.
    pub query: Option<String>,
    /// Who asks, if that is proven.
    pub user: Option<User>,
    /// The presentation's URL as the client wrote it, the stream's part taken off, a slash behind its path: what absolute
    /// control attributes are made of ([`track_url`](crate::control::track_url)). `None` when the request is about `*`.
    pub base: Option<Url>,
}

/// What a connection asks. Any of it may be answered with [`Answer::Refused`]; what else fits stands with each.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Is there a session of this identifier that its connection has left ([`Event::Detached`](crate::server::Event::Detached))?
    /// → [`Answer::Session`]. It goes on here if it belongs to the same user, or without users to the same address. If another
    /// connection has it still, [`Server::release`](super::Server::release) takes it away from there. If it is somebody's,
    /// [`Answer::Unproven`].
    Session {
        /// Which.
        id: SessionId,
        /// Who the client has proven to be.
        user: Option<User>,
    },
    /// What is kept of this user's password? → [`Answer::Keys`]; any refusal says that there is no such realm here.
    Keys {
        /// As the client wrote it.
        user: String,
        /// The realm that it is the user's name in.
        realm: String,
    },
    /// Is this the user's password? Asked under TLS alone. → [`Answer::Proven`]; any refusal is a 401.
    Password {
        /// As the client wrote it.
        user: String,
        /// The password.
        password: Password,
    },
    /// May this be? → [`Answer::Granted`], or [`Answer::Unproven`].
    Authorize {
        /// Who, and where.
        place: Place,
        /// What for.
        access: Access,
    },
    /// What is there? → [`Answer::Description`] or [`Answer::DatedDescription`], in which the streams' control attributes are
    /// [`track_control`](crate::control::track_control) of their place among the m-lines, or
    /// [`track_url`](crate::control::track_url) of it below [`Place::base`].
    Describe(Place),
    /// This will be there. → [`Answer::Granted`].
    Announce {
        /// Who, and where.
        place: Place,
        /// The session description.
        description: Bytes,
    },
    /// Make way for one stream → [`Answer::SetUp`].
    Setup(Box<Setup>),
    /// Send → [`Answer::Played`]. Packets may go out once the response does, which is the next that is transmitted.
    Play(Box<Play>),
    /// Receive → [`Answer::Recorded`].
    Record {
        /// Of which session.
        session: SessionId,
        /// Which part, as the client sees it.
        range: Option<Range>,
    },
    /// Stop for a while → [`Answer::Paused`].
    Pause {
        /// Of which session.
        session: SessionId,
        /// Which streams.
        tracks: Vec<usize>,
        /// Where to stop: an instant, the range's start.
        range: Option<Range>,
    },
    /// What are the values? → [`Answer::Parameters`].
    GetParameter {
        /// Who, and where.
        place: Place,
        /// Of which session, if of one.
        session: Option<SessionId>,
        /// Names, one a line.
        body: Bytes,
    },
    /// Let the values be → [`Answer::Granted`]. Those that are not known are refused with 451, those that cannot be changed with
    /// 458, both with their names in the body.
    SetParameter {
        /// Who, and where.
        place: Place,
        /// Of which session, if of one.
        session: Option<SessionId>,
        /// `name: value`, one a line.
        body: Bytes,
    },
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What SETUP wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The session that the stream belongs to, perhaps as its first.
    pub session: SessionId,
    /// Who, and where.
    pub place: Place,
    /// Which stream, by its place among the description's m-lines; `None` when the URL names none.
    pub track: Option<usize>,
    /// To play or to record.
    pub mode: Mode,
    /// What the client can do, the preferred first; at least one. Channels are those that can be had. A destination is the
    /// client's own address. To record over UDP, the client's ports may be missing or 0: they are where its packets come from.
    pub candidates: Vec<Transport>,
    /// Whether the stream is set up already and this would change how it goes.
    pub is_change: bool,
    /// The largest packet that the client wants, in bytes (RFC 2326 §12.7).
    pub blocksize: Option<u32>,
    /// What the client can take, in bits a second (RFC 2326 §12.6).
    pub bandwidth_bps: Option<u64>,
    /// Nothing is to be set up, and refused with 304, unless it was modified since then (RFC 2326 §12.23).
    pub modified_since: Option<UnixTime>,
}

/// What PLAY wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// Of which session.
    pub session: SessionId,
    /// Which streams: all of the session's, or one. Those that play already are not asked for again without a range, a scale
    /// or a speed.
    pub tracks: Vec<usize>,
    /// What stands behind `?` in the URL, the stream's part taken off; in a request about `*`, in the session's first.
    pub query: Option<String>,
    /// Which part; `None` goes on where it was paused, or at the beginning.
    pub range: Option<Range>,
    /// How fast the presentation passes, negative for backwards, never zero (RFC 2326 §12.34).
    pub scale: Option<f64>,
    /// How fast data is delivered, above zero (RFC 2326 §12.35).
    pub speed: Option<f64>,
    /// Whether it begins when what was asked for these streams before has come to its end
    /// ([`handle_play_ended`](crate::server::Server::handle_play_ended)), and not at once.
    pub is_queued: bool,
}

/// Whether the streams of a session are controlled together (RFC 2326 §11.3.9, §11.3.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Control {
    /// Together or each by itself.
    #[default]
    Any,
    /// Only together: requests about one of several streams get 460.
    Together,
    /// Only each by itself: requests about several streams get 459.
    Each,
}

/// How a stream was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUp {
    /// Which stream: the one that was asked for, or the mount's only one.
    pub track: usize,
    /// One of the candidates, with the server's ports, synchronization source and the like put in.
    pub transport: Transport,
    /// How the session's streams are controlled.
    pub control: Control,
}

/// What will be played.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// Which part.
    pub range: Option<Range>,
    /// How fast, where it is not as usual.
    pub scale: Option<f64>,
    /// How fast data is delivered, where it is not as usual.
    pub speed: Option<f64>,
    /// What each stream begins with: its place, the first sequence number, the timestamp of the range's start.
    pub begins: Vec<(usize, u16, u32)>,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status: 300 or above.
    pub status: Status,
    /// Fields beside: Location, Retry-After and the like.
    pub headers: Headers,
    /// The methods that may be used, which belong to 405 and 455.
    pub allow: Vec<Method>,
    /// What is said of it, as text/parameters for 451 and 458, else as text/plain.
    pub body: Bytes,
}

impl Refusal {
    /// Gone to another server, with 301 or 302.
    pub fn moved(status: Status, to: &Url) -> Self {
        let mut refusal = Refusal::from(status);
        refusal.headers.push("Location", to.to_string());
        refusal
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Refusal {
            status,
            headers: Headers::new(),
            allow: Vec::new(),
            body: Bytes::new(),
        }
    }
}

/// An answer to a [`Question`]. One that does not fit its question is a mistake of the server, and the client gets 500.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Yes, or done.
    Granted,
    /// This session, which nobody has.
    Session(Box<Session>),
    /// It is this user, who has these keys; `None` for one that does not exist.
    Keys(Option<(User, DigestKeys)>),
    /// It is this user's.
    Proven(User),
    /// Perhaps if the client proves to be somebody, which it has not or not any more: it is asked in this realm, or in the
    /// configuration's.
    Unproven {
        /// It.
        realm: Option<String>,
    },
    /// This session description.
    Description(Bytes),
    /// This one, which is as it is since then. Who has it from later is told 304 and no more (RFC 2326 §12.23).
    DatedDescription {
        /// It.
        description: Bytes,
        /// Since when.
        modified: UnixTime,
    },
    /// The stream is set up.
    SetUp(Box<SetUp>),
    /// It will be played.
    Played(Box<Played>),
    /// It will be received.
    Recorded {
        /// Which part.
        range: Option<Range>,
    },
    /// It has stopped, or will.
    Paused {
        /// Where.
        range: Option<Range>,
        /// Whether it has: else it plays on to the range's start, which
        /// [`handle_play_ended`](crate::server::Server::handle_play_ended) tells.
        is_at_once: bool,
    },
    /// `name: value`, one a line.
    Parameters(Bytes),
    /// It is not done.
    Refused(Refusal),
}

/// The channels of a transport that is interleaved.
pub(crate) fn channels(transport: &Transport) -> Option<(u8, u8)> {
    let Pair { rtp, .. } = transport.interleaved?;
    Some((rtp, transport.interleaved?.rtcp_channel()))
}
