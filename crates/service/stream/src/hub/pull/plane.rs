//! What pulls need of mounts and sessions.

use super::PullKey;
use crate::description::Description;
use crate::hub::plane::{Pending, Plane, rtp_session};
use crate::hub::session::{Path, Publisher, Role, Session};
use crate::hub::subject::Subject;
use crate::hub::vod::Waiting;
use crate::hub::{Ask, ConnectionId, Order, PairId, QuestionId, SessionKey};
use crate::mount::MountName;
use ringpost_base::Instant;
use ringpost_rtsp::Status;
use ringpost_rtsp::server::Answer;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

/// Somebody wants a mount that is pulled.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) mount: MountName,
    /// DESCRIBE, which waits for its answer, and our address that it came to.
    pub(crate) describer: Option<(Pending, IpAddr)>,
}

/// What belongs to which pull.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    connections: HashMap<ConnectionId, PullKey>,
    questions: HashMap<QuestionId, PullKey>,
    pairs: HashMap<PairId, PullKey>,
    wanted: VecDeque<Wanted>,
}

impl Routes {
    pub(crate) fn want(&mut self, mount: MountName, describer: Option<(Pending, IpAddr)>) {
        self.wanted.push_back(Wanted { mount, describer });
    }

    pub(crate) fn pop_wanted(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Option<PullKey> {
        self.connections.get(&id).copied()
    }

    pub(super) fn add_connection(&mut self, id: ConnectionId, of: PullKey) {
        self.connections.insert(id, of);
    }

    pub(super) fn forget_connection(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    pub(super) fn take_question(&mut self, id: QuestionId) -> Option<PullKey> {
        self.questions.remove(&id)
    }

    pub(super) fn add_pair(&mut self, pair: PairId, of: PullKey) {
        self.pairs.insert(pair, of);
    }

    /// The pull that a pair was opened for.
    pub(super) fn take_pair(&mut self, pair: PairId) -> Option<PullKey> {
        self.pairs.remove(&pair)
    }
}

/// A mount that is pulled from now on.
pub(super) struct Pulled<'a> {
    pub(super) mount: &'a MountName,
    pub(super) source: String,
    pub(super) connection: ConnectionId,
    pub(super) peer: IpAddr,
    pub(super) description: Description,
    /// By the server's m-lines.
    pub(super) paths: BTreeMap<usize, Path>,
}

pub(super) fn answer(plane: &mut Plane, pending: Pending, status: Status) {
    plane.deliver(pending, Answer::Refused(status.into()));
}

impl Plane {
    /// Whether a mount comes from elsewhere.
    pub(crate) fn is_pulled(&self, mount: &MountName) -> bool {
        let mut settings = self.config.settings.iter();
        settings.any(|(pattern, settings)| settings.pull.is_some() && pattern.matches(mount))
    }

    pub(crate) fn deliver(&mut self, pending: Pending, answer: Answer) {
        let Pending { connection, question } = pending;
        self.order(connection, Order::Answer(question, Box::new(answer)));
    }

    /// Asks for the addresses of a server.
    pub(super) fn resolve(&mut self, host: &str, of: PullKey) -> QuestionId {
        let host = host.to_owned();
        let id = self.ask_about(Ask::Resolve { host });
        self.pulling.questions.insert(id, of);
        id
    }

    /// Whether a mount has a reader, playing or not, or somebody within the server hears it.
    pub(super) fn is_read(&self, mount: &MountName) -> bool {
        let has_readers = self
            .live_of(mount)
            .is_some_and(|(_, live)| !live.readers().is_empty() || !live.listeners.is_empty());
        let mut sessions = self.sessions.values();
        has_readers || sessions.any(|session| session.reader().is_some() && session.mount == *mount)
    }

    /// Whether one more mount may be live.
    pub(super) fn has_room_for(&self, mount: &MountName) -> bool {
        self.names.contains_key(mount) || self.live.len() < self.config.mounts
    }

    /// When a packet of a publisher came last, if it is a mount's.
    pub(super) fn heard_of(&self, key: SessionKey) -> Option<Instant> {
        let session = self.sessions.get(&key)?;
        let (_, live) = self.live_of(&session.mount)?;
        (live.publisher == Some(key)).then_some(live.heard)
    }

    /// A mount goes live: its publisher is a session of which we are the client.
    pub(super) fn put_pulled(&mut self, now: Instant, pulled: Pulled<'_>) -> SessionKey {
        let key = SessionKey(self.next_number());
        let wallclock = self.wallclock(now);
        let mut publisher = Publisher {
            is_recording: true,
            ..Publisher::default()
        };
        for track in &pulled.description.tracks {
            let rtp = rtp_session((now, wallclock), track.codec().clock_rate_hz, &mut self.rng);
            publisher.tracks.insert(track.place, rtp);
        }
        let places: Vec<_> = publisher.tracks.keys().copied().collect();
        for (place, path) in &pulled.paths {
            if let Some(pair) = path.pair() {
                self.pairs.insert(pair, (key, *place));
            }
        }
        let session = Session {
            id: None,
            source: Some(pulled.source),
            connection: Some(pulled.connection),
            mount: pulled.mount.clone(),
            user: None,
            peer: pulled.peer,
            began: now,
            paths: pulled.paths.into_iter().collect(),
            role: Role::Publisher(publisher),
            alive: now,
        };
        self.sessions.insert(key, session);
        self.go_live(now, key, pulled.mount, pulled.description);
        for place in places {
            self.flush_rtcp(now, key, place);
        }
        key
    }

    /// A mount that nobody reads is pulled no longer.
    pub(super) fn remove_pulled(&mut self, now: Instant, mount: &MountName) {
        self.watch_no_more(mount);
        if let Some(key) = self.names.get(mount).copied() {
            self.remove_mount(now, key);
        }
    }

    /// Answers DESCRIBE of a mount that is live now.
    pub(super) fn answer_described(&mut self, mount: &MountName, pending: Pending, local: IpAddr) {
        let described = self.live_of(mount);
        let described = described.map(|(_, live)| (live.sdp(local), Subject::of_live(live)));
        let answer = match described {
            Some((description, subject)) => {
                self.note_described(pending.connection, mount, Some(subject), false);
                Answer::Description(description)
            }
            None => Answer::Refused(Status::NOT_FOUND.into()),
        };
        self.deliver(pending, answer);
    }

    /// Answers DESCRIBE of a mount that cannot be pulled now: by its recordings, if it is to have any.
    pub(super) fn answer_unpulled(
        &mut self,
        now: Instant,
        mount: &MountName,
        pending: Pending,
        local: IpAddr,
        status: Status,
    ) {
        if !self.is_to_be_recorded(mount) {
            return answer(self, pending, status);
        }
        let waiting = Waiting::Describe {
            pending,
            local,
            base: None,
        };
        if let Some(answered) = self.look_up_shelf(now, mount, waiting) {
            let pending = Pending {
                connection: answered.connection,
                question: answered.question,
            };
            self.deliver(pending, answered.answer);
        }
    }
}
