//! The streams' server as a machine: RTSP connections and their sessions, live mounts, and which packet goes to whom.
//!
//! A driver gives it what comes (bytes of connections, datagrams) and carries out its [`Output`]s. What readers get is not
//! pushed at them: [`Hub::poll_media`] names readers with what they are to have now, those together that get the same octets,
//! so that the driver writes each reader's share with one call, and a reader whose connection is full is passed over until
//! [`Hub::handle_writable`]. It holds nothing for a reader but its place in the mount's [`Ring`](crate::Ring).

mod answers;
mod connection;
mod entry;
mod farewell;
mod group;
#[cfg(test)]
mod group_tests;
mod ingest;
mod list;
mod listen;
mod live;
mod media;
mod paths;
mod patience;
mod plane;
mod published;
mod pull;
mod question;
mod record;
mod recorded;
mod redirect;
mod rights;
mod sap;
mod session;
mod share;
mod subject;
mod takeover;
#[cfg(test)]
mod tests;
mod vod;
mod watch;
mod within;

pub use group::{Group, GroupInfo, GroupRange, GroupSettings};
pub use listen::{ListenerId, NotHeard};
pub use media::{Burst, Outlet};
pub use plane::{MountInfo, SessionInfo};
pub use pull::{PullFailure, PullSettings, PullTransport};
pub use question::{Answer, Ask, Question, QuestionId, Unresolved};
pub use record::{NotRecorded, folder_of};
pub use redirect::{SendAway, Whom};
pub use sap::{AnnouncedInfo, SAP_IPV4, SAP_IPV6, SAP_PORT, SAP_TTL, Sources};

use crate::mount::{MountName, MountPattern};
use bytes::Bytes;
use connection::Connections;
use plane::Plane;
use pull::{PullKey, Pulls};
use ringpost_base::{Deadlines, Instant, Rng, UnixTime};
use ringpost_rtsp::Url;
use ringpost_rtsp::server::SessionId;
use ringpost_store::FileCommand;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Names a connection. The driver counts those that it accepts, below 2^60, and never gives a number again; the hub names those
/// that it wants made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    const DIALLED: u64 = 1 << 60;

    fn dialled(number: u64) -> Self {
        ConnectionId(number | Self::DIALLED)
    }

    /// Whether the hub wanted it made.
    pub fn is_dialled(self) -> bool {
        self.0 & Self::DIALLED != 0
    }
}

/// Names a pair of datagram sockets, RTP's and RTCP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairId(pub u64);

/// One socket of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    /// Which pair.
    pub pair: PairId,
    /// Whether it is RTCP's.
    pub is_rtcp: bool,
}

/// Names a session within its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub u64);

/// Names a mount that is or was live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct MountKey(u64);

/// What holds for the whole hub.
#[derive(Clone, Debug)]
pub struct Config {
    /// What holds for all RTSP connections.
    pub rtsp: ringpost_rtsp::server::Config,
    /// How long readers wait for another publisher when theirs has gone; then their sessions end.
    pub vacancy: Duration,
    /// Mounts that may be live at a time; ANNOUNCE of one more gets 453.
    pub mounts: usize,
    /// Pairs of ports that there are for datagrams. Who has not signed in gets half of them at most for one address, and three
    /// quarters for all.
    pub pairs: usize,
    /// What is set for mounts, by patterns of which the most particular one that matches holds.
    pub settings: Vec<(MountPattern, MountSettings)>,
    /// The groups that mounts are given whose settings name none.
    pub groups: Option<GroupRange>,
    /// Whether mounts are announced by SAP, and what others announce is listened to.
    pub sap: bool,
}

/// What is set for the mounts of a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountSettings {
    /// Whether they are recorded while they are live.
    pub record: bool,
    /// How many octets of what was recorded are kept; `None`: all.
    pub keep_bytes: Option<u64>,
    /// After how long without a packet the owner is told; `None`: never.
    pub silence: Option<Duration>,
    /// Where they are pulled from, for a pattern that names one mount; nobody publishes to such a mount.
    pub pull: Option<PullSettings>,
    /// Where their readers are sent; for a pattern of many mounts, what a mount's name is put behind.
    pub redirect: Option<Url>,
    /// Their groups, if they are sent to any.
    pub multicast: Option<GroupSettings>,
}

impl Config {
    fn settings_of(&self, mount: &MountName) -> MountSettings {
        let matching = self.settings.iter().filter(|(pattern, _)| pattern.matches(mount));
        let found = matching.min_by(|(a, _), (b, _)| a.cmp(b));
        found.map(|(_, settings)| settings.clone()).unwrap_or_default()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            rtsp: ringpost_rtsp::server::Config::default(),
            vacancy: Duration::from_secs(10),
            mounts: 1_024,
            pairs: usize::MAX,
            settings: Vec::new(),
            groups: None,
            sap: false,
        }
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Whether TLS is between.
    pub is_secure: bool,
}

/// What the hub wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes on a connection, behind what it was given before.
    Transmit {
        /// Which.
        connection: ConnectionId,
        /// One or several whole messages or interleaved packets.
        bytes: Bytes,
    },
    /// Send a datagram.
    Datagram {
        /// By which socket.
        socket: SocketId,
        /// To whom.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Open a pair of sockets on this address of ours, and say so with [`Hub::handle_pair`].
    Open {
        /// What it is called from now on.
        pair: PairId,
        /// Our address.
        local: IpAddr,
    },
    /// Open a pair of sockets that sends to a group: RTP to this port of it, RTCP to the next, where RTCP of others is heard too. Say
    /// so with [`Hub::handle_pair`], whatever ports they have themselves.
    OpenGroup {
        /// What it is called from now on.
        pair: PairId,
        /// The group, and RTP's port.
        to: SocketAddr,
        /// The time to live of its packets.
        ttl: u8,
    },
    /// Send an announcement of SAP, with the time to live of those.
    Announce {
        /// To which group.
        to: SocketAddr,
        /// The packet.
        bytes: Bytes,
    },
    /// Close a pair.
    ClosePair(PairId),
    /// Close a connection once everything that it was given is sent.
    Close(ConnectionId),
    /// Make a connection to another server, and say so with [`Hub::handle_connected`], or why not with
    /// [`Hub::handle_unconnected`].
    Connect {
        /// What it is called from now on.
        connection: ConnectionId,
        /// Where.
        to: SocketAddr,
        /// Under TLS, and what the certificate must name: a name or an address.
        tls: Option<String>,
    },
    /// Have this done to the file of a mount's recording, and say so with [`Hub::handle_write_refused`] if it is not taken.
    Write {
        /// Of which mount: each has a writer of its own.
        mount: MountName,
        /// What.
        command: FileCommand,
    },
    /// A packet of what somebody listens to within the server.
    Heard {
        /// Who.
        listener: ListenerId,
        /// The RTP packet.
        packet: Bytes,
    },
    /// What somebody listened to is no more, and nothing comes for them from now on.
    ListenerEnded(ListenerId),
    /// A mount that [`Hub::await_pull`] waits for can be listened to now, or is not waited for any longer.
    Awaited {
        /// Who waited. The name is used no more.
        listener: ListenerId,
        /// Whether it is live.
        is_live: bool,
    },
    /// Find out, and come back with [`Hub::handle_answer`].
    Question(Question),
    /// Something that is worth a line in the log.
    Event(Event),
    /// Nothing more until something is handled or this time comes.
    Timeout(Option<Instant>),
}

/// What a log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A mount is live from now on.
    Published {
        /// The session, as it is listed.
        session: SessionKey,
        /// Which.
        mount: MountName,
        /// By whom; `None` by nobody known.
        user: Option<String>,
        /// From where.
        peer: IpAddr,
        /// What was odd in its description and is read all the same.
        quirks: Vec<crate::Quirk>,
    },
    /// A mount is live from now on, pulled from another server.
    Pulled {
        /// Which.
        mount: MountName,
        /// From where, without credentials.
        source: String,
        /// The server's address.
        peer: IpAddr,
        /// What was odd in its description and is read all the same.
        quirks: Vec<crate::Quirk>,
    },
    /// The server that a mount is pulled from does something against the RFC, and is borne with.
    Tolerated {
        /// Which mount.
        mount: MountName,
        /// What.
        what: String,
    },
    /// A mount cannot be pulled, or not any more.
    Unpulled {
        /// Which.
        mount: MountName,
        /// From where, without credentials.
        source: String,
        /// Why.
        why: String,
        /// After which time that is tried again, if anybody wants it then.
        again_in: Duration,
    },
    /// Nobody publishes it any more.
    Unpublished {
        /// The session, as it is listed.
        session: SessionKey,
        /// Which.
        mount: MountName,
        /// How long it was live.
        lasted: Duration,
        /// Packets that never came.
        lost_packets: u64,
    },
    /// A session reads.
    Reading {
        /// The session, as it is listed.
        session: SessionKey,
        /// Which mount.
        mount: MountName,
        /// Who; `None` nobody known.
        user: Option<String>,
        /// From where.
        peer: IpAddr,
    },
    /// A session has read.
    Read {
        /// The session, as it is listed.
        session: SessionKey,
        /// Which mount.
        mount: MountName,
        /// From where.
        peer: IpAddr,
        /// Packets that it was sent.
        sent_packets: u64,
        /// Packets that passed it by, since it was too slow.
        skipped_packets: u64,
    },
    /// A reader is too slow, and goes on with the next key picture.
    Skipped {
        /// The session, as it is listed.
        session: SessionKey,
        /// Which mount.
        mount: MountName,
        /// From where.
        peer: IpAddr,
        /// How often by now.
        skips: u64,
    },
    /// A track's timestamps do not keep time with what comes: what is recorded of it lies where it came, and not where they
    /// say.
    Adrift {
        /// Of which mount.
        mount: MountName,
        /// Its place in the description.
        track: usize,
    },
    /// A file is not played, or not all of it.
    Damaged {
        /// Of which mount.
        mount: MountName,
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// A mount is to be sent to a group, and none is free; it is tried again.
    NoGroup {
        /// Which.
        mount: MountName,
    },
    /// A mount that is to be recorded cannot be.
    NotRecorded {
        /// Which.
        mount: MountName,
        /// Why.
        why: String,
    },
    /// Something about the recording of a mount.
    Recording {
        /// Which.
        mount: MountName,
        /// What.
        event: crate::recording::Event,
    },
    /// Somebody announces a session by SAP, or no longer does.
    Announced {
        /// Its name.
        name: String,
        /// From where.
        from: IpAddr,
        /// Whether it is announced now.
        is_there: bool,
    },
    /// A description was refused.
    Refused {
        /// Which mount it was for.
        mount: MountName,
        /// From where.
        peer: IpAddr,
        /// What is wrong with it.
        why: String,
    },
}

/// What times out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Timer {
    Connection(ConnectionId),
    Mount(MountKey),
    /// RTCP of a publisher's track.
    Rtcp(SessionKey, usize),
    /// A session that no connection controls.
    Detached(SessionKey),
    /// What a session plays that is not live.
    Player(SessionKey),
    /// A client that was told to go elsewhere.
    Moving(SessionKey),
    /// A publisher that has said goodbye.
    Departing(SessionKey),
    Pull(PullKey),
    /// Announced mounts whose groups could not be opened.
    Groups,
    /// Announcements.
    Sap,
    /// Halves of tunnels.
    Tunnels,
    /// Mounts that may have fallen silent.
    Watch,
    /// Rights of sessions that could not be looked at.
    Rights,
}

/// The streams' server. After each `handle_…` call and command, [`poll_output`](Hub::poll_output) is drained until it says
/// [`Output::Timeout`], then [`poll_media`](Hub::poll_media) until it says that there is nothing, and the outputs once more,
/// since serving readers has things to tell; all is carried out in its order.
pub struct Hub {
    connections: Connections,
    plane: Plane,
    pulls: Pulls,
    timers: Deadlines<Timer>,
}

impl Hub {
    /// A hub without connections and mounts, at `now`, which is `wallclock`.
    pub fn new(now: Instant, wallclock: UnixTime, config: Config, mut rng: Rng) -> Self {
        let rtsp = Arc::new(config.rtsp.clone());
        let mut hub = Hub {
            connections: Connections::new(rtsp, (now, wallclock), rng.fork()),
            plane: Plane::new(config, (now, wallclock), rng),
            pulls: Pulls::default(),
            timers: Deadlines::new(),
        };
        hub.pulls.configure(now, &mut hub.plane);
        hub.settle_plane(now);
        hub
    }

    /// A connection was made that [`Output::Connect`] wanted.
    pub fn handle_connected(&mut self, now: Instant, id: ConnectionId, ends: Ends) {
        self.pulls.handle_connected(now, id, ends, &mut self.plane);
        self.settle_plane(now);
    }

    /// A connection that was wanted could not be made, or TLS not be agreed on.
    pub fn handle_unconnected(&mut self, now: Instant, id: ConnectionId, why: &str) {
        self.pulls.handle_closed(now, id, Some(why), &mut self.plane);
        self.settle_plane(now);
    }

    /// A connection was accepted.
    pub fn handle_accepted(&mut self, now: Instant, id: ConnectionId, ends: Ends) {
        self.connections.accept(now, id, ends);
        self.settle(now, id);
    }

    /// Whether more of a connection should be read.
    pub fn wants_input(&self, id: ConnectionId) -> bool {
        id.is_dialled() || self.connections.wants_input(id)
    }

    /// Bytes came on a connection.
    pub fn handle_bytes(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        if id.is_dialled() {
            self.pulls.handle_bytes(now, id, bytes, &mut self.plane);
            return self.settle_plane(now);
        }
        let of = self.connections.handle_bytes(now, id, bytes, &mut self.plane);
        if let Some(deadline) = self.connections.tunnels_deadline() {
            self.timers.set(Timer::Tunnels, deadline);
        }
        self.settle(now, of);
    }

    /// Nothing more comes on a connection that was accepted. What was asked on it is carried out first; then it is to be closed.
    pub fn handle_end_of_input(&mut self, now: Instant, id: ConnectionId) {
        self.connections.handle_end_of_input(now, id, &mut self.plane);
        self.settle(now, id);
    }

    /// A connection is over.
    pub fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        if id.is_dialled() {
            self.pulls.handle_closed(now, id, None, &mut self.plane);
            return self.settle_plane(now);
        }
        self.connections.handle_closed(now, id);
        self.settle(now, id);
        self.connections.forget(id);
        self.timers.remove(&Timer::Connection(id));
    }

    /// A connection that was full takes more.
    pub fn handle_writable(&mut self, id: ConnectionId) {
        self.plane.unblock(id);
    }

    /// A connection is full: it is given nothing more of mounts until [`handle_writable`](Hub::handle_writable).
    pub fn handle_full(&mut self, id: ConnectionId) {
        self.plane.block(id);
    }

    /// A pair of sockets is open, with RTP's port; RTCP's is the next. Or it cannot be.
    pub fn handle_pair(&mut self, now: Instant, pair: PairId, port: Option<u16>) {
        if self.pulls.handle_pair(now, pair, port, &mut self.plane) {
            self.settle_plane(now);
        } else if let Some(answered) = self.plane.handle_group_pair(now, pair, port) {
            answered.into_iter().for_each(|of| self.deliver(now, of));
            self.settle_plane(now);
        } else if let Some(of) = self.plane.handle_pair(now, pair, port) {
            self.deliver(now, of);
        }
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, datagram: Bytes) {
        self.plane.handle_datagram(now, socket, from, datagram);
        self.settle_plane(now);
    }

    /// An answer to a question came. One to a question that is open no longer is ignored.
    pub fn handle_answer(&mut self, now: Instant, id: QuestionId, answer: Answer) {
        if let Some(answer) = self.pulls.handle_answer(now, id, answer, &mut self.plane) {
            for answered in self.plane.handle_answer(now, id, answer) {
                self.deliver(now, answered);
            }
        }
        self.settle_plane(now);
    }

    /// The time has come that the last [`Output::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Connection(id) => {
                    self.connections.handle_timeout(now, id);
                    self.settle(now, id);
                }
                Timer::Tunnels => {
                    for id in self.connections.handle_tunnels_timeout(now) {
                        self.plane.push(Output::Close(id));
                    }
                    if let Some(deadline) = self.connections.tunnels_deadline() {
                        self.timers.set(Timer::Tunnels, deadline);
                    }
                }
                Timer::Watch => self.plane.handle_watch_timeout(now),
                Timer::Rights => self.plane.handle_rights_timeout(),
                Timer::Mount(key) => self.plane.handle_mount_timeout(now, key),
                Timer::Rtcp(session, track) => self.plane.handle_rtcp_timeout(now, session, track),
                Timer::Detached(session) => self.plane.end_detached(now, session),
                Timer::Departing(session) => self.plane.handle_departing_timeout(now, session),
                Timer::Moving(session) => self.plane.handle_moving_timeout(now, session),
                Timer::Groups => self.plane.look_at_groups(now),
                Timer::Sap => self.plane.handle_sap_timeout(now),
                Timer::Pull(key) => self.pulls.handle_timeout(now, key, &mut self.plane),
                Timer::Player(session) => {
                    if let Some(answered) = self.plane.handle_player_timeout(now, session) {
                        self.deliver(now, answered);
                    }
                }
            }
        }
        self.settle_plane(now);
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        match self.plane.pop_output() {
            Some(output) => output,
            None => Output::Timeout(self.timers.next()),
        }
    }

    /// The next readers that are to be sent something, with what: into `burst`, whose content is replaced. False when there are
    /// none.
    pub fn poll_media(&mut self, now: Instant, burst: &mut Burst) -> bool {
        let found = self.plane.poll_media(now, burst);
        if !found {
            self.settle_plane(now);
        }
        found
    }

    /// What is live or played to somebody, by name.
    pub fn mounts(&self, now: Instant) -> Vec<MountInfo> {
        self.plane.mounts(now)
    }

    /// The mounts that cannot be pulled, by name, with what the last attempt failed for.
    pub fn failing_pulls(&self, now: Instant) -> Vec<PullFailure> {
        self.pulls.failures(now)
    }

    /// Ends sessions, and closes the connections that their packets go over; how many there were. Their clients
    /// are told before where to go (RFC 2326 §10.10), if there is such a place, and have a while for it.
    pub fn send_away(&mut self, now: Instant, what: &SendAway) -> usize {
        let found = self.plane.send_whom_away(now, what);
        self.settle_plane(now);
        found
    }

    /// What rights hang on has changed: looks at those of all sessions again, and ends those that [`Ask::Authorize`] does not allow
    /// any more.
    pub fn reconsider(&mut self, now: Instant) {
        self.plane.reconsider(now);
        self.settle_plane(now);
    }

    /// What was to be written of a mount's recording was not taken, or something before it has failed.
    pub fn handle_write_refused(&mut self, now: Instant, mount: &MountName) {
        self.plane.handle_write_refused(now, mount);
        self.settle_plane(now);
    }

    /// Goes by other settings of mounts from now on.
    pub fn set_settings(&mut self, now: Instant, settings: Vec<(MountPattern, MountSettings)>) {
        self.plane.config.settings = settings;
        self.plane.look_at_recordings(now);
        self.plane.move_readers(now);
        self.plane.look_at_groups(now);
        self.pulls.configure(now, &mut self.plane);
        self.settle_plane(now);
    }

    /// Has a mount recorded or not, whatever the settings say, until this is said again or the hub ends. Whether it is live
    /// now.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn record(&mut self, now: Instant, mount: &MountName, is_wanted: bool) -> Result<bool, NotRecorded> {
        let is_live = self.plane.record_by_hand(now, mount, is_wanted);
        self.settle_plane(now);
        is_live
    }

    /// Our addresses, which announcements name, are these from now on.
    pub fn set_sources(&mut self, now: Instant, sources: Sources) {
        self.plane.set_sources(now, sources);
        self.settle_plane(now);
    }

    /// A packet of SAP came to a group from an address.
    ///
    /// # Errors
    /// Why it changes nothing.
    pub fn handle_announcement(
        &mut self,
        now: Instant,
        group: IpAddr,
        from: IpAddr,
        bytes: &[u8],
    ) -> Result<(), ringpost_sdp::sap::Ignored> {
        let handled = self.plane.handle_announcement(now, group, from, bytes);
        self.settle_plane(now);
        handled
    }

    /// What others announce by SAP.
    pub fn announced(&self, now: Instant) -> Vec<AnnouncedInfo> {
        self.plane.announced_by_others(now)
    }

    /// Somebody within the server listens to the sound of a mount from now on: [`Output::Heard`] brings its packets, and what is
    /// given decodes them.
    ///
    /// # Errors
    /// What keeps it from being heard.
    pub fn listen(&mut self, mount: &MountName) -> Result<(ListenerId, crate::Hearing), NotHeard> {
        self.plane.listen(mount)
    }

    /// Somebody within the server wants to listen to a mount that is not live and is pulled when it is wanted:
    /// [`Output::Awaited`] says when it is live or will not be for now, after ten seconds at most. `None` where it is not pulled,
    /// or too many wait.
    pub fn await_pull(&mut self, now: Instant, mount: &MountName) -> Option<ListenerId> {
        let listener = self.plane.new_listener();
        let is_awaited = self.pulls.await_live(now, mount, listener, &mut self.plane);
        self.settle_plane(now);
        is_awaited.then_some(listener)
    }

    /// Nobody listens there any more, or waits to.
    pub fn stop_listening(&mut self, listener: ListenerId) {
        self.plane.stop_listening(listener);
        self.pulls.stop_waiting(listener);
    }

    /// Says goodbye to all readers and closes all connections.
    pub fn shut_down(&mut self, now: Instant) {
        self.plane.finish_recordings(now);
        self.plane.withdraw_all();
        for session in self.plane.session_keys() {
            self.plane.say_goodbye(now, session);
        }
        self.pulls.shut_down(now, &mut self.plane);
        for id in self.connections.ids() {
            self.connections.shut_down(now, id);
            self.settle(now, id);
        }
        self.settle_plane(now);
    }

    #[cfg(test)]
    fn session_ids(&self) -> Vec<String> {
        let ids = self.plane.by_id.keys();
        ids.map(|id| id.as_str().to_owned()).collect()
    }

    #[cfg(test)]
    fn plane_pairs(&self) -> Vec<u64> {
        let mut pairs: Vec<_> = self.plane.pairs.keys().map(|pair| pair.0).collect();
        pairs.sort_unstable();
        pairs
    }

    /// Gives an answer to the connection that asked, and carries out what comes of it.
    fn deliver(&mut self, now: Instant, answered: plane::Answered) {
        let of = answered.connection;
        self.connections.handle_answer(now, answered);
        self.settle(now, of);
    }

    /// Carries out what a connection wants.
    fn settle(&mut self, now: Instant, id: ConnectionId) {
        self.drain(now, id);
        self.settle_plane(now);
    }

    fn drain(&mut self, now: Instant, id: ConnectionId) {
        match self.connections.drain(now, id, &mut self.plane) {
            Some(deadline) => self.timers.set(Timer::Connection(id), deadline),
            None => self.timers.remove(&Timer::Connection(id)),
        }
        for answered in self.plane.take_over_again(id) {
            let of = answered.connection;
            self.connections.handle_answer(now, answered);
            self.drain(now, of);
        }
    }

    /// Carries out what sessions want of connections, and sets the timers anew that were moved.
    fn settle_plane(&mut self, now: Instant) {
        loop {
            if let Some(wanted) = self.plane.pulling.pop_wanted() {
                self.pulls.handle_wanted(now, wanted, &mut self.plane);
            } else if let Some((id, order)) = self.plane.pop_order() {
                if let Order::HandOver(takeover) = order {
                    self.hand_over(now, id, *takeover);
                } else if id.is_dialled() {
                    self.pulls.carry_out(now, id, &order, &mut self.plane);
                } else {
                    self.connections.carry_out(now, id, order);
                    self.drain(now, id);
                }
            } else {
                break;
            }
        }
        while let Some((timer, at)) = self.plane.pop_timer() {
            match at {
                Some(at) => self.timers.set(timer, at),
                None => self.timers.remove(&timer),
            }
        }
    }
}

/// What a session wants of the connection that controls it.
#[derive(Debug)]
enum Order {
    /// Its client is there.
    Alive(SessionId),
    /// The server that we pull from sends packets.
    Heard,
    /// It has ended.
    End(SessionId),
    /// What it asked is answered.
    Answer(
        ringpost_rtsp::server::QuestionId,
        Box<ringpost_rtsp::server::Answer>,
    ),
    /// Its client has come by another connection, which asks for it.
    HandOver(Box<takeover::Takeover>),
    /// Its client is to go elsewhere.
    Redirect(SessionId, Box<Url>),
    /// It has ended, and without it the connection is for nothing.
    Close,
    /// The same, unless the connection has others.
    CloseUnused,
    /// What it played has come to its end.
    PlayEnded(SessionId, Vec<usize>),
}
