//! Mounts and sessions: who publishes, who reads, and by which ways.

use super::live::Live;
use super::session::{Path, Peer, Publisher, Reader, Role, Session};
use super::subject::Subject;
use super::{
    Answer, Ask, Config, ConnectionId, Ends, Event, MountKey, Order, Output, PairId, Question, QuestionId,
    SessionKey, SocketId, Timer,
};
use crate::description::Description;
use crate::mount::MountName;
use bytes::Bytes;
use ringpost_base::{IdMap, Instant, Rng, UnixTime};
use ringpost_rtsp::server::{self, SessionId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How often a session's machine is told that its client is there, at most.
pub(crate) const ALIVE: Duration = Duration::from_secs(2);
/// RTCP's bandwidth is a share of the session's; no publisher says what that is, and this is a usual camera's.
const BANDWIDTH_BPS: u32 = 4_000_000;

/// An answer for a connection.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) connection: ConnectionId,
    pub(crate) question: server::QuestionId,
    pub(crate) answer: server::Answer,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) connection: ConnectionId,
    pub(crate) question: server::QuestionId,
}

/// A stream that is set up as soon as its sockets are open.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) pending: Pending,
    pub(crate) ends: Ends,
    pub(crate) setup: server::Setup,
    /// What it is of; `None` where it is published.
    pub(crate) subject: Option<Subject>,
    pub(crate) chosen: ringpost_rtsp::header::Transport,
    pub(crate) track: usize,
}

/// What is live, or played to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Its name.
    pub name: MountName,
    /// Its tracks' encodings.
    pub encodings: Vec<String>,
    /// Whether it is live, or its readers wait for another publisher; otherwise they have files or recordings of it.
    pub is_live: bool,
    /// Who publishes; `None` while nobody does.
    pub publisher: Option<SessionInfo>,
    /// Who reads or has paused, what is live or what was recorded.
    pub readers: Vec<SessionInfo>,
    /// How it stands with its recording; `None` when it is not recorded.
    pub recording: Option<crate::recording::State>,
    /// Its group, while it has one.
    pub group: Option<super::GroupInfo>,
    /// Octets that came in.
    pub received_bytes: u64,
    /// Packets that never came in.
    pub lost_packets: u64,
    /// How long ago anything came in.
    pub silent_for: Duration,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its number, for [`Hub::kick`](super::Hub::kick).
    pub key: SessionKey,
    /// Who; `None` nobody known.
    pub user: Option<String>,
    /// From where.
    pub peer: IpAddr,
    /// Where we pull it from, without credentials, where it is our own.
    pub source: Option<String>,
    /// Whether its packets go over its connection.
    pub is_interleaved: bool,
    /// Whether it hears the mount's group.
    pub is_in_group: bool,
    /// How long it has lasted.
    pub lasted: Duration,
    /// Octets that came from it.
    pub received_bytes: u64,
    /// Packets that it was sent.
    pub sent_packets: u64,
    /// Octets that it was sent.
    pub sent_bytes: u64,
    /// Packets that passed it by, since it was too slow.
    pub skipped_packets: u64,
}

/// Our side of the RTP session of a publisher's track.
pub(crate) fn rtp_session(
    now: (Instant, UnixTime),
    clock_rate_hz: u32,
    rng: &mut Rng,
) -> ringpost_rtp::Session {
    let config = ringpost_rtp::Config {
        ssrc: rng.u32(),
        cname: rng.token(16),
        clock_rate_hz,
        bandwidth_bps: BANDWIDTH_BPS,
        reduced_size: true,
    };
    ringpost_rtp::Session::new(now.0, now.1, config, rng.fork())
}

/// All but the connections.
pub(crate) struct Plane {
    pub(crate) config: Config,
    pub(crate) began: (Instant, UnixTime),
    pub(crate) rng: Rng,
    pub(crate) live: IdMap<MountKey, Live>,
    pub(crate) names: BTreeMap<MountName, MountKey>,
    pub(crate) sessions: IdMap<SessionKey, Session>,
    pub(crate) by_id: HashMap<SessionId, SessionKey>,
    pub(crate) by_connection: IdMap<ConnectionId, BTreeSet<SessionKey>>,
    pub(crate) pairs: IdMap<PairId, (SessionKey, usize)>,
    /// Sessions whose connection is over.
    pub(crate) detached: HashMap<SessionKey, Box<server::Session>>,
    /// What was announced on a connection and is not recorded yet.
    pub(crate) announced: HashMap<ConnectionId, (MountName, Description, Vec<crate::Quirk>)>,
    /// What connections were told last.
    pub(crate) described: HashMap<ConnectionId, super::subject::Described>,
    pub(crate) pending: HashMap<QuestionId, Pending>,
    pub(crate) opening: HashMap<PairId, Opening>,
    numbers: u64,
    outputs: VecDeque<Output>,
    orders: VecDeque<(ConnectionId, Order)>,
    timers: VecDeque<(Timer, Option<Instant>)>,
    /// What there is that is not live, by mounts.
    pub(crate) shelves: HashMap<MountName, super::vod::Shelf>,
    pub(crate) wanted: HashMap<QuestionId, super::vod::Wanted>,
    /// The number in descriptions of what is not live.
    pub(crate) number: u64,
    /// Mounts whose owners are told when they fall silent.
    pub(crate) watched: HashMap<MountName, super::watch::Watched>,
    /// Sessions whose rights are looked at again.
    pub(crate) reconsidering: super::rights::Reconsidering,
    /// What belongs to which pull.
    pub(crate) pulling: super::pull::Routes,
    /// What connections wait to have from others, by those.
    pub(crate) takeovers: Vec<(ConnectionId, super::takeover::Takeover)>,
    /// Sessions whose clients were told to go elsewhere.
    pub(crate) moving: HashSet<SessionKey>,
    /// What is known of recordings whoever publishes.
    pub(crate) recordings: super::record::Recordings,
    /// Mounts whose readers are to be served, those of the first one of them that are not yet, and readers that have more to be
    /// sent.
    pub(crate) due: VecDeque<MountKey>,
    pub(crate) serving: Vec<(MountKey, SessionKey)>,
    /// The next of those.
    pub(crate) picked: Vec<(MountKey, SessionKey)>,
    pub(crate) ready: VecDeque<SessionKey>,
    /// Shares that are taken and not handed over yet: datagrams, and what goes on the next connection.
    pub(crate) staged: VecDeque<super::media::Staged>,
    pub(crate) held_over: Option<super::media::Piece>,
    /// Shares that other readers get too.
    pub(crate) shares: super::share::Shares,
    pub(crate) groups: super::group::Groups,
    pub(crate) sap: Option<super::sap::Sap>,
}

impl Plane {
    pub(crate) fn new(config: Config, began: (Instant, UnixTime), mut rng: Rng) -> Self {
        let sap = config
            .sap
            .then(|| super::sap::Sap::new(began.0, began.1, rng.fork()));
        Plane {
            config,
            began,
            live: IdMap::default(),
            names: BTreeMap::new(),
            sessions: IdMap::default(),
            by_id: HashMap::new(),
            by_connection: IdMap::default(),
            pairs: IdMap::default(),
            detached: HashMap::new(),
            announced: HashMap::new(),
            described: HashMap::new(),
            pending: HashMap::new(),
            opening: HashMap::new(),
            numbers: 0,
            outputs: VecDeque::new(),
            orders: VecDeque::new(),
            timers: VecDeque::new(),
            shelves: HashMap::new(),
            wanted: HashMap::new(),
            number: rng.u64() >> 1,
            reconsidering: Default::default(),
            pulling: Default::default(),
            rng,
            watched: HashMap::new(),
            takeovers: Vec::new(),
            moving: HashSet::new(),
            recordings: Default::default(),
            due: VecDeque::new(),
            serving: Vec::new(),
            picked: Vec::new(),
            ready: VecDeque::new(),
            staged: VecDeque::new(),
            held_over: None,
            shares: super::share::Shares::default(),
            groups: Default::default(),
            sap,
        }
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn wallclock(&self, now: Instant) -> UnixTime {
        self.began.1 + now.since(self.began.0)
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn pop_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn order(&mut self, connection: ConnectionId, order: Order) {
        self.orders.push_back((connection, order));
    }

    pub(crate) fn pop_order(&mut self) -> Option<(ConnectionId, Order)> {
        self.orders.pop_front()
    }

    pub(crate) fn pop_timer(&mut self) -> Option<(Timer, Option<Instant>)> {
        self.timers.pop_front()
    }

    pub(crate) fn set_timer(&mut self, timer: Timer, at: Option<Instant>) {
        self.timers.push_back((timer, at));
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Asks the rest of the server.
    pub(crate) fn ask(&mut self, pending: Pending, peer: SocketAddr, ask: Ask) {
        let id = QuestionId(self.next_number());
        let from = Some((pending.connection, peer));
        self.pending.insert(id, pending);
        self.push(Output::Question(Question { id, from, ask }));
    }

    /// Asks it on the hub's own account.
    pub(crate) fn ask_about(&mut self, ask: Ask) -> QuestionId {
        let id = QuestionId(self.next_number());
        self.push(Output::Question(Question { id, from: None, ask }));
        id
    }

    pub(crate) fn handle_answer(&mut self, now: Instant, id: QuestionId, answer: Answer) -> Vec<Answered> {
        let Some(answer) = self.handle_reconsidered(now, id, answer) else {
            return Vec::new();
        };
        match answer {
            Answer::Files { is_playlist, files } => self.handle_files(now, id, Some((is_playlist, files))),
            Answer::Nothing => self.handle_files(now, id, None),
            Answer::Octets(octets) => self.handle_octets(now, id, Ok(octets)),
            Answer::Unreadable(why) => self.handle_octets(now, id, Err(why)),
            Answer::Unavailable if self.wanted.contains_key(&id) => {
                let why = "the server could not answer".to_owned();
                match self.wanted.get(&id) {
                    Some(super::vod::Wanted::List(_)) => self.handle_files(now, id, None),
                    _ => self.handle_octets(now, id, Err(why)),
                }
            }
            answer => self.handle_permission(id, answer).into_iter().collect(),
        }
    }

    fn handle_permission(&mut self, id: QuestionId, answer: Answer) -> Option<Answered> {
        let Pending { connection, question } = self.pending.remove(&id)?;
        let refused = |status: ringpost_rtsp::Status| server::Answer::Refused(status.into());
        let answer = match answer {
            Answer::Keys(keys) => server::Answer::Keys(keys),
            Answer::Yes => server::Answer::Granted,
            Answer::Proven(user) => server::Answer::Proven(user),
            Answer::Unproven { realm } => server::Answer::Unproven { realm },
            Answer::No => refused(ringpost_rtsp::Status::UNAUTHORIZED),
            Answer::Never => refused(ringpost_rtsp::Status::FORBIDDEN),
            Answer::Refused(why) => server::Answer::Refused(server::Refusal {
                body: format!("{why}\r\n").into(),
                ..ringpost_rtsp::Status::FORBIDDEN.into()
            }),
            _ => refused(ringpost_rtsp::Status::SERVICE_UNAVAILABLE),
        };
        Some(Answered {
            connection,
            question,
            answer,
        })
    }

    /// A mount by its name, if it is live or its readers wait for another publisher.
    pub(crate) fn live_of(&self, name: &MountName) -> Option<(MountKey, &Live)> {
        let key = self.names.get(name)?;
        Some((*key, self.live.get(key)?))
    }

    pub(crate) fn handle_event(&mut self, now: Instant, connection: ConnectionId, event: server::Event) {
        match event {
            server::Event::Media {
                session,
                track,
                is_rtcp,
                data,
            } => {
                if let Some(key) = self.by_id.get(&session).copied() {
                    self.handle_media(now, key, track, is_rtcp, data);
                }
            }
            server::Event::TrackEnded { session, track } => {
                if let Some(key) = self.by_id.get(&session).copied() {
                    self.end_track(now, key, track);
                }
            }
            server::Event::Ended { session, why } => {
                if let Some(key) = self.by_id.get(&session).copied() {
                    if why == server::End::Teardown {
                        self.note_teardown(key);
                    }
                    self.end_session(now, key);
                }
            }
            server::Event::Detached(session) => self.detach(now, session),
            server::Event::Answered { outcome, .. } => self.handle_answered(now, connection, &outcome),
            server::Event::Closed => {
                self.announced.remove(&connection);
                self.described.remove(&connection);
                self.pending.retain(|_, pending| pending.connection != connection);
                self.takeovers
                    .retain(|(_, takeover)| takeover.to.connection != connection);
                self.push(Output::Close(connection));
            }
            // Asked before.
            server::Event::Question(_) => {}
        }
    }

    /// Who ends a session itself has a reason to be silent.
    pub(crate) fn note_teardown(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let mount = session.mount.clone();
        // Others may have asked for the mount and not taken it.
        if self
            .live_of(&mount)
            .is_some_and(|(_, live)| live.publisher == Some(key))
        {
            self.watch_no_more(&mount);
        }
    }

    /// The client of a session is there.
    // Guards pitfall RTSP 2.
    pub(crate) fn note_alive(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        if now.since(session.alive) < ALIVE {
            return;
        }
        session.alive = now;
        match (session.connection, &session.id) {
            (Some(connection), Some(id)) => self.orders.push_back((connection, Order::Alive(id.clone()))),
            (Some(connection), None) => self.orders.push_back((connection, Order::Heard)),
            (None, _) if self.detached.contains_key(&key) => {
                let expires = self.abandoned_at(now, key, now + self.config.rtsp.session_timeout);
                self.timers.push_back((Timer::Detached(key), Some(expires)));
            }
            (None, _) => {}
        }
    }

    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        datagram: Bytes,
    ) {
        let Some((key, track)) = self.pairs.get(&socket.pair).copied() else {
            return self.handle_group_datagram(now, socket, from, &datagram);
        };
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let address = session.peer;
        let Some(peer) = session.paths.peer_mut(track) else {
            return;
        };
        if peer.is_from(address, from, socket.is_rtcp) {
            self.handle_media(now, key, track, socket.is_rtcp, datagram);
            self.note_alive(now, key);
        }
    }

    /// A packet of a session's client came.
    pub(crate) fn handle_media(
        &mut self,
        now: Instant,
        key: SessionKey,
        track: usize,
        is_rtcp: bool,
        data: Bytes,
    ) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        match (&session.role, is_rtcp) {
            (Role::Publisher(_), false) => self.handle_published(now, key, track, data),
            (Role::Publisher(_), true) => self.handle_publisher_rtcp(now, key, track, &data),
            (Role::Reader(_), true) => self.handle_reader_rtcp(now, key, &data),
            // Some send a packet or two, to be seen through a translator of addresses.
            (Role::Reader(_), false) => {}
        }
    }

    pub(crate) fn set_mount_timer(&mut self, key: MountKey) {
        let live = self.live.get(&key);
        let vacancy = live.and_then(|live| Some(live.vacant_since? + self.config.vacancy));
        let deadline = live.and_then(Live::deadline).into_iter().chain(vacancy).min();
        self.timers.push_back((Timer::Mount(key), deadline));
    }

    pub(crate) fn handle_mount_timeout(&mut self, now: Instant, key: MountKey) {
        let Some(live) = self.live.get_mut(&key) else {
            return;
        };
        if live.handle_timeout(now) {
            self.due.push_back(key);
        }
        self.flush_listeners(key);
        self.flush_recorder(now, key);
        let Some(live) = self.live.get(&key) else {
            return;
        };
        if live
            .vacant_for(now)
            .is_some_and(|vacant| vacant >= self.config.vacancy)
        {
            return self.remove_mount(now, key);
        }
        self.set_mount_timer(key);
    }

    /// Nobody has published for too long: the readers are sent away.
    pub(crate) fn remove_mount(&mut self, now: Instant, key: MountKey) {
        if let Some(name) = self.name_of(key) {
            self.drop_group(now, &name);
            // Where they left means nothing in another ring.
            let of_mount = self.sessions.values_mut().filter(|session| session.mount == name);
            of_mount
                .filter_map(Session::reader_mut)
                .for_each(|reader| reader.left = None);
        }
        if let Some(recorder) = self.live.get_mut(&key).and_then(|live| live.recorder.as_mut()) {
            recorder.finish(now);
            self.flush_recorder(now, key);
        }
        let readers = self.live.get(&key).map(|live| live.readers().to_vec());
        for reader in readers.unwrap_or_default() {
            self.say_goodbye(now, reader);
            self.send_away(now, reader);
        }
        self.end_listening(key);
        if let Some(live) = self.live.remove(&key) {
            self.names.remove(&live.name);
        }
        self.timers.push_back((Timer::Mount(key), None));
    }

    /// A stream of a session is no more.
    fn end_track(&mut self, now: Instant, key: SessionKey, track: usize) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let pair = session.paths.remove(track).and_then(|path| path.pair());
        match &mut session.role {
            Role::Reader(reader) => reader.playing.remove(track),
            Role::Publisher(publisher) => {
                publisher.tracks.remove(&track);
            }
        }
        let mount = session.mount.clone();
        self.timers.push_back((Timer::Rtcp(key, track), None));
        self.close_pair(pair);
        self.look_at_group(now, &mount);
    }

    pub(crate) fn close_pair(&mut self, pair: Option<PairId>) {
        if let Some(pair) = pair {
            self.pairs.remove(&pair);
            self.push(Output::ClosePair(pair));
        }
    }

    /// A session is no more.
    pub(crate) fn end_session(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.remove(&key) else {
            return;
        };
        if let Some(id) = &session.id {
            self.by_id.remove(id);
        }
        self.detached.remove(&key);
        self.moving.remove(&key);
        self.timers.push_back((Timer::Moving(key), None));
        self.timers.push_back((Timer::Departing(key), None));
        self.timers.push_back((Timer::Detached(key), None));
        self.timers.push_back((Timer::Player(key), None));
        if let Some(connection) = session.connection
            && let Some(keys) = self.by_connection.get_mut(&connection)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
        for (track, path) in session.paths.iter() {
            self.timers.push_back((Timer::Rtcp(key, *track), None));
            self.close_pair(path.pair());
        }
        let mount = self.names.get(&session.mount).copied();
        let live = mount.and_then(|mount| self.live.get_mut(&mount));
        match &session.role {
            Role::Reader(reader) => {
                if let Some(live) = live {
                    live.remove_reader(key);
                }
                let (mount, peer) = (session.mount, session.peer);
                let of = mount.clone();
                let skipped_packets = reader.skipped_packets();
                let sent_packets = reader.sent_packets;
                self.tell(Event::Read {
                    session: key,
                    mount,
                    peer,
                    sent_packets,
                    skipped_packets,
                });
                self.leave_group(now, &of, key);
            }
            Role::Publisher(_) => {
                if let Some(live) = live.filter(|live| live.publisher == Some(key)) {
                    (live.publisher, live.vacant_since) = (None, Some(now));
                    if let Some(recorder) = &mut live.recorder {
                        recorder.handle_gap(now);
                    }
                    let (lost_packets, heard) = (live.lost_packets(), live.heard);
                    if live.received_bytes > 0 {
                        self.watch_on(&session.mount, heard);
                    }
                    self.tell(Event::Unpublished {
                        session: key,
                        mount: session.mount,
                        lasted: now.since(session.began),
                        lost_packets,
                    });
                    if let Some(mount) = mount {
                        self.flush_recorder(now, mount);
                        self.set_mount_timer(mount);
                    }
                }
            }
        }
    }

    /// RTCP's goodbye to a reader, on all of its tracks.
    pub(crate) fn say_goodbye(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self
            .sessions
            .get(&key)
            .filter(|session| session.reader().is_some())
        else {
            return;
        };
        let Some(live) = self
            .names
            .get(&session.mount)
            .and_then(|mount| self.live.get(mount))
        else {
            return;
        };
        let connection = session.connection;
        let paths = session.paths.iter();
        let goodbyes: Vec<_> = paths
            .filter_map(|(track, path)| Some((*path, live.bye_of(now, *track)?)))
            .collect();
        for (path, bytes) in goodbyes {
            self.send_rtcp(Some(path), connection, bytes);
        }
    }

    /// Ends a session from our side. RTSP 1.0 has no word for that but the end of the connection.
    pub(crate) fn send_away(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        match (session.connection, &session.id) {
            (Some(connection), None) => self.orders.push_back((connection, Order::Close)),
            (Some(connection), Some(id)) => {
                self.orders.push_back((connection, Order::End(id.clone())));
                self.orders.push_back((connection, Order::CloseUnused));
            }
            (None, _) => self.end_session(now, key),
        }
    }

    pub(crate) fn kick(&mut self, now: Instant, key: SessionKey) {
        self.say_goodbye(now, key);
        self.send_away(now, key);
    }

    pub(crate) fn session_keys(&self) -> Vec<SessionKey> {
        self.sessions.keys().copied().collect()
    }

    /// A session begins, or one that exists goes another way for a track.
    pub(crate) fn put_path(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        ends: Ends,
        setup: &server::Setup,
        subject: Option<Subject>,
        (track, path): (usize, Path),
    ) {
        let mount = setup.place.mount.clone();
        let known = self.by_id.get(&setup.session).copied();
        let key = known.unwrap_or_else(|| SessionKey(self.next_number()));
        let is_publisher = subject.is_none();
        let session = self.sessions.entry(key).or_insert_with(|| Session {
            id: Some(setup.session.clone()),
            source: None,
            connection: Some(connection),
            mount,
            user: setup.place.user.clone(),
            peer: ends.remote.ip().to_canonical(),
            began: now,
            paths: Default::default(),
            role: match subject {
                None => Role::Publisher(Publisher::default()),
                Some(subject) => Role::Reader(Box::new(Reader::of(&setup.place, subject))),
            },
            alive: now,
        });
        session.connection = Some(connection);
        let before = session.paths.insert(track, path).and_then(|path| path.pair());
        if let Role::Publisher(publisher) = &mut session.role {
            let rate = self.announced.get(&connection).and_then(|(_, description, _)| {
                let index = description.index_of(track)?;
                Some(description.tracks[index].codec().clock_rate_hz)
            });
            let wallclock = self.began.1 + now.since(self.began.0);
            let rtp = rtp_session((now, wallclock), rate.unwrap_or(90_000), &mut self.rng);
            publisher.tracks.insert(track, rtp);
        }
        self.by_id.insert(setup.session.clone(), key);
        self.by_connection.entry(connection).or_default().insert(key);
        if let Some(pair) = path.pair() {
            self.pairs.insert(pair, (key, track));
        }
        self.close_pair(before);
        if is_publisher {
            self.flush_rtcp(now, key, track);
        }
        if known.is_none() {
            self.consider_new(now, key);
        }
    }

    /// The sockets of a stream that is being set up are open, or cannot be.
    pub(crate) fn handle_pair(&mut self, now: Instant, pair: PairId, port: Option<u16>) -> Option<Answered> {
        let opening = self.opening.remove(&pair)?;
        let Pending { connection, question } = opening.pending;
        let answer = match port {
            // Players go over to TCP by 461, where they have not named it themselves, and not by 453.
            None => self.set_up_without_ports(now, opening)?,
            Some(port) => {
                let remote = opening.ends.remote.ip();
                let ports = opening.chosen.client_port;
                let (rtp, rtcp) = ports.map_or((0, 0), |ports| (ports.rtp, ports.rtcp_port()));
                let peer = Peer {
                    pair,
                    rtp: SocketAddr::new(remote, rtp),
                    rtcp: SocketAddr::new(remote, rtcp),
                    has_shown_rtp: false,
                    has_shown_rtcp: false,
                };
                let path = Path::Datagrams(peer);
                self.put_path(
                    now,
                    connection,
                    opening.ends,
                    &opening.setup,
                    opening.subject,
                    (opening.track, path),
                );
                let mut transport = opening.chosen;
                transport.server_port = Some(ringpost_rtsp::header::Pair {
                    rtp: port,
                    rtcp: Some(port + 1),
                });
                transport.source = Some(opening.ends.local.ip().to_canonical().to_string());
                transport.ssrc = self.ssrc_of(&opening.setup, opening.track);
                server::Answer::SetUp(Box::new(server::SetUp {
                    track: opening.track,
                    transport,
                    control: server::Control::Any,
                }))
            }
        };
        Some(Answered {
            connection,
            question,
            answer,
        })
    }

    pub(crate) fn mounts(&self, now: Instant) -> Vec<MountInfo> {
        let mut readers = self.readers(now);
        let mut infos: Vec<_> = self
            .names
            .iter()
            .filter_map(|(name, key)| {
                let live = self.live.get(key)?;
                let tracks = live.description.tracks.iter();
                Some(MountInfo {
                    name: name.clone(),
                    encodings: tracks.map(|track| track.codec().name.to_string()).collect(),
                    is_live: true,
                    publisher: live.publisher.and_then(|key| self.info_of(now, key)),
                    readers: readers.remove(name).unwrap_or_default(),
                    recording: live.recorder.as_ref().map(|recorder| recorder.state(now)),
                    group: self.group_info(name),
                    received_bytes: live.received_bytes,
                    lost_packets: live.lost_packets(),
                    silent_for: now.since(live.heard),
                })
            })
            .collect();
        infos.extend(self.played_mounts(readers));
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }
}
