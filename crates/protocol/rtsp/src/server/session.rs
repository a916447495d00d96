//! Sessions: what has been set up, and what state it is in (RFC 2326 appendix A.2).

use crate::header::{Mode, Transport};
use crate::method::Method;
use crate::mount::MountPath;
use crate::server::question::{Control, SessionId, User, channels};
use crate::url::Url;
use ringpost_base::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// The state of a stream, or of a session: that of a stream of it which does most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is set up.
    Init,
    /// It is set up and rests.
    Ready,
    /// Packets go to the client.
    Playing,
    /// Packets come from the client.
    Recording,
}

impl State {
    /// The methods that may be used in it, beside those that change no state.
    //= https://www.rfc-editor.org/rfc/rfc2326#appendix-A.2
    pub(crate) fn allowed(self, mode: Mode) -> &'static [Method] {
        match (self, mode) {
            (State::Init, _) => &[Method::Setup, Method::Teardown],
            (State::Ready, Mode::Play) => &[Method::Setup, Method::Play, Method::Teardown],
            (State::Ready, Mode::Record) => &[Method::Setup, Method::Record, Method::Teardown],
            (State::Playing, _) => &[Method::Play, Method::Pause, Method::Setup, Method::Teardown],
            (State::Recording, _) => &[Method::Record, Method::Pause, Method::Setup, Method::Teardown],
        }
    }
}

/// One stream of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its URL as the client wrote it, which RTP-Info repeats.
    pub url: String,
    /// How it goes.
    pub transport: Transport,
    /// Its state.
    pub state: State,
    /// PLAYs of it that were granted and have not come to their end, the one that plays first, and whether each comes to it by
    /// itself.
    pub(crate) plays: VecDeque<bool>,
}

/// A session of a client. It can outlive its connection when nothing of it is interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub(crate) id: SessionId,
    /// To whom it belongs: who had proven to be this user when it was made,
    pub(crate) owner: Option<User>,
    /// or, without a user, who comes from this address.
    pub(crate) peer: IpAddr,
    pub(crate) mount: MountPath,
    /// What the mount's URL had behind its path.
    pub(crate) query: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) control: Control,
    pub(crate) tracks: BTreeMap<usize, Track>,
    pub(crate) expires: Instant,
}

impl Session {
    /// Its identifier.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The mount.
    pub fn mount(&self) -> &MountPath {
        &self.mount
    }

    /// To play or to record.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The user that it belongs to.
    pub fn owner(&self) -> Option<&User> {
        self.owner.as_ref()
    }

    /// Its streams by their place among the description's m-lines.
    pub fn tracks(&self) -> impl Iterator<Item = (usize, &Track)> {
        self.tracks.iter().map(|(index, track)| (*index, track))
    }

    /// When it ends, if no sign of its client is seen before.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// The highest state of its streams.
    pub fn state(&self) -> State {
        let states = self.tracks.values().map(|track| track.state);
        states.max().unwrap_or(State::Init)
    }

    /// Whether a stream of it goes over the connection.
    pub fn is_interleaved(&self) -> bool {
        self.tracks
            .values()
            .any(|track| channels(&track.transport).is_some())
    }

    /// Whether it may be used by this user from this address.
    // Guards pitfall RTSP 2.
    pub(crate) fn belongs_to(&self, user: Option<&User>, peer: IpAddr) -> bool {
        match &self.owner {
            Some(owner) => user.is_some_and(|user| user.is_same(owner)),
            None => self.peer == peer,
        }
    }

    /// The stream that was set up with this URL.
    pub(crate) fn track_at(&self, url: &Url) -> Option<usize> {
        let bare = |url: &Url| url.path_and_query().trim_end_matches('/').to_owned();
        let wanted = bare(url);
        let mut tracks = self.tracks.iter();
        let found = tracks.find(|(_, track)| Url::parse(&track.url).is_ok_and(|url| bare(&url) == wanted));
        found.map(|(index, _)| *index)
    }

    pub(crate) fn set_state(&mut self, tracks: &[usize], state: State) {
        for track in self.some_mut(tracks) {
            track.state = state;
        }
    }

    pub(crate) fn some(&self, tracks: &[usize]) -> impl Iterator<Item = &Track> {
        tracks.iter().filter_map(|index| self.tracks.get(index))
    }

    pub(crate) fn some_mut(&mut self, tracks: &[usize]) -> impl Iterator<Item = &mut Track> {
        let all = self.tracks.iter_mut();
        all.filter(|(index, _)| tracks.contains(index))
            .map(|(_, track)| track)
    }
}
