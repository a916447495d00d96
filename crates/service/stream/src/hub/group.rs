//! Groups: what a mount publishes is sent once, by multicast, to all who listen to its group.
//!
//! A group has one sender, a reader of the mount like any other whose packets go to the group's address. It reads while a
//! session plays that was set up for the group, or while the mount is announced, and then as long as it is live. Sessions of
//! the group have no packets of their own: they say who may hear it, and that somebody does.

use super::paths::Tracks;
use super::plane::{Answered, Opening, Pending, Plane};
use super::session::{Path, Peer, Reader, Role, Session};
use super::subject::Subject;
use super::{Event, Output, PairId, SessionKey, SocketId, Timer};
use crate::mount::MountName;
use ringpost_base::{Instant, limits};
use ringpost_rtp::rtcp::{Compound, RtcpPacket};
use ringpost_rtsp::Status;
use ringpost_rtsp::header::Delivery;
use ringpost_rtsp::server::{self, Answer};
use ringpost_sdp::MediaKind;
use ringpost_sdp::sap::AdId;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// After what time the sockets of an announced mount are tried again that could not be opened.
const RETRY: Duration = Duration::from_secs(10);
/// Sessions that begin with a group that is sent to already have a report sent before its time: so often in the long run, and
/// in a burst as many as make up this time.
const REPORT_SPACING: Duration = Duration::from_millis(200);
const REPORT_BURST: Duration = Duration::from_secs(2);

/// Where a mount is sent, once for all who listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The group's address.
    pub address: IpAddr,
    /// RTP's port of the first track. RTCP's is the next, and each further track has the two behind those before it.
    pub port: u16,
    /// The time to live of its packets.
    pub ttl: u8,
}

impl Group {
    /// Where RTP of a track goes.
    pub fn rtp(&self, track: usize) -> SocketAddr {
        let track = u16::try_from(track.min(limits::MOUNT_TRACKS)).unwrap_or(0);
        SocketAddr::new(self.address, self.port.saturating_add(2 * track))
    }

    /// Where RTCP of a track goes.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-11
    pub fn rtcp(&self, track: usize) -> SocketAddr {
        let rtp = self.rtp(track);
        SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
    }
}

/// What is set for the group of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Its address and first port; `None`: one of [`Config::groups`](super::Config::groups).
    pub fixed: Option<SocketAddr>,
    /// The time to live of its packets.
    pub ttl: u8,
    /// Whether it is announced by SAP, and sent as long as the mount is live.
    pub is_announced: bool,
}

/// The groups that mounts are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRange {
    /// An address of the range.
    pub address: IpAddr,
    /// Its bits that all of the range have.
    pub bits: u8,
    /// The first port of each.
    pub port: u16,
}

impl GroupRange {
    /// How many there are, of which no more than this many are counted.
    fn count(&self) -> u64 {
        let all = if self.address.is_ipv4() { 32 } else { 128 };
        1 << u32::from(u8::saturating_sub(all, self.bits)).min(24)
    }

    fn nth(&self, n: u64) -> SocketAddr {
        let low = n % self.count();
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & mask | low as u32).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & mask | u128::from(low)).into()
            }
        };
        SocketAddr::new(address, self.port)
    }
}

/// How it stands with a mount's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Which.
    pub group: Group,
    /// Whether packets go there now.
    pub is_sending: bool,
    /// Whether it is announced.
    pub is_announced: bool,
    /// Packets that went there since it is sending.
    pub sent_packets: u64,
    /// Octets of them.
    pub sent_bytes: u64,
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_mount: HashMap<MountName, MountGroup>,
    pairs: HashMap<PairId, (MountName, usize)>,
    /// Where the search for a free one goes on: one that was left rests as long as it can.
    next: u64,
}

/// The group of a mount that somebody has set up, or that is announced.
#[derive(Debug)]
struct MountGroup {
    group: Group,
    settings: GroupSettings,
    ad: AdId,
    /// By track.
    pairs: Vec<PairId>,
    /// Those of them that are not open yet, and who waits for them.
    opening: BTreeSet<PairId>,
    waiting: Vec<Opening>,
    /// Sessions that are set up for it, playing or not.
    members: BTreeSet<SessionKey>,
    sender: Option<SessionKey>,
    /// The time that reports for those who begin have used up.
    reported: Instant,
}

impl Groups {
    pub(crate) fn is_sender(&self, mount: &MountName, key: SessionKey) -> bool {
        let group = self.by_mount.get(mount);
        group.is_some_and(|group| group.sender == Some(key))
    }

    pub(crate) fn is_member(&self, mount: &MountName, key: SessionKey) -> bool {
        let group = self.by_mount.get(mount);
        group.is_some_and(|group| group.members.contains(&key))
    }
}

impl Plane {
    fn group_settings(&self, mount: &MountName) -> Option<GroupSettings> {
        self.config.settings_of(mount).multicast
    }

    /// To whom a stream that is set up may go: to the client alone, and to the mount's group. A session does either, from its
    /// first stream on.
    pub(crate) fn deliveries(&self, setup: &server::Setup, subject: Option<&Subject>) -> Vec<Delivery> {
        let mount = &setup.place.mount;
        let live = subject.and_then(|subject| self.live_of_subject(mount, subject));
        let has_group = live.is_some() && self.group_settings(mount).is_some();
        let known = self.by_id.get(&setup.session);
        let paths = known.and_then(|key| self.sessions.get(key)).map(|s| &s.paths);
        let is_in_group = paths
            .and_then(|paths| paths.values().next())
            .map(Path::is_in_group);
        let mut deliveries = Vec::new();
        if is_in_group != Some(true) {
            deliveries.push(Delivery::Unicast);
        }
        if has_group && is_in_group != Some(false) {
            deliveries.push(Delivery::Multicast);
        }
        deliveries
    }

    /// Sets a stream up for its mount's group, as soon as that has sockets.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-12.39
    pub(crate) fn set_up_in_group(&mut self, now: Instant, opening: Opening) -> Option<Answer> {
        let mount = opening.setup.place.mount.clone();
        if !self.need_group(now, &mount) {
            return Some(Answer::Refused(Status::NOT_ENOUGH_BANDWIDTH.into()));
        }
        let group = self.groups.by_mount.get_mut(&mount)?;
        if !group.opening.is_empty() {
            group.waiting.push(opening);
            return None;
        }
        Some(self.join_group(now, opening).answer)
    }

    /// Sees to it that a mount that is live has a group; false when there is none to be had.
    fn need_group(&mut self, now: Instant, mount: &MountName) -> bool {
        if self.groups.by_mount.contains_key(mount) {
            return true;
        }
        let tracks = self.live_of(mount).map(|(_, live)| live.description.tracks.len());
        let (Some(tracks), Some(settings)) = (tracks, self.group_settings(mount)) else {
            return false;
        };
        let Some(address) = settings.fixed.or_else(|| self.free_group()) else {
            let mount = mount.clone();
            self.tell(Event::NoGroup { mount });
            // Another mount may give one back.
            self.set_timer(Timer::Groups, Some(now + RETRY));
            return false;
        };
        let group = Group {
            address: address.ip(),
            port: address.port(),
            ttl: settings.ttl,
        };
        let pairs: Vec<PairId> = (0..tracks).map(|_| PairId(self.next_number())).collect();
        for (track, pair) in pairs.iter().enumerate() {
            self.groups.pairs.insert(*pair, (mount.clone(), track));
            self.push(Output::OpenGroup {
                pair: *pair,
                to: group.rtp(track),
                ttl: group.ttl,
            });
        }
        let held = MountGroup {
            group,
            settings,
            ad: AdId(self.next_number()),
            opening: pairs.iter().copied().collect(),
            pairs,
            waiting: Vec::new(),
            members: BTreeSet::new(),
            sender: None,
            reported: now,
        };
        self.groups.by_mount.insert(mount.clone(), held);
        true
    }

    /// A group of the range that no mount has.
    fn free_group(&mut self) -> Option<SocketAddr> {
        let range = self.config.groups?;
        let in_use = self.groups.by_mount.values().map(|held| held.group.address);
        let fixed = self.config.settings.iter();
        let fixed = fixed.filter_map(|(_, settings)| settings.multicast?.fixed);
        let taken: BTreeSet<IpAddr> = in_use.chain(fixed.map(|fixed| fixed.ip())).collect();
        let tries = range.count().min(taken.len() as u64 + 2);
        let mut tried = (0..tries).map(|n| (n, range.nth(self.groups.next + n)));
        let (n, found) = tried.find(|(_, address)| {
            let is_for_announcements = ringpost_sdp::sap::announcement_group(address.ip()) == address.ip();
            !taken.contains(&address.ip()) && !is_for_announcements
        })?;
        self.groups.next += n + 1;
        Some(found)
    }

    /// The sockets of a track's group are open, or cannot be; `None` for those that are of no group.
    pub(crate) fn handle_group_pair(
        &mut self,
        now: Instant,
        pair: PairId,
        port: Option<u16>,
    ) -> Option<Vec<Answered>> {
        let (mount, _) = self.groups.pairs.get(&pair).cloned()?;
        let mut group = self.groups.by_mount.get_mut(&mount);
        let is_wanted = group.as_mut().is_some_and(|group| group.opening.remove(&pair));
        let Some(group) = group.filter(|_| is_wanted) else {
            // Nobody wants it any more.
            self.groups.pairs.remove(&pair);
            if port.is_some() {
                self.push(Output::ClosePair(pair));
            }
            return Some(Vec::new());
        };
        if port.is_none() {
            group.pairs.retain(|of| *of != pair);
            self.groups.pairs.remove(&pair);
            self.drop_group(now, &mount);
            // What is announced has nobody who would ask again.
            self.set_timer(Timer::Groups, Some(now + RETRY));
            return Some(Vec::new());
        }
        if !group.opening.is_empty() {
            return Some(Vec::new());
        }
        let waiting = std::mem::take(&mut group.waiting);
        let answered = waiting.into_iter().map(|opening| self.join_group(now, opening));
        let answered = answered.collect();
        self.look_at_group(now, &mount);
        Some(answered)
    }

    /// A session has a stream of its mount's group.
    fn join_group(&mut self, now: Instant, opening: Opening) -> Answered {
        let Opening {
            pending: Pending { connection, question },
            ends,
            setup,
            subject,
            chosen: mut transport,
            track,
        } = opening;
        let mount = setup.place.mount.clone();
        self.put_path(now, connection, ends, &setup, subject, (track, Path::InGroup));
        let key = self.by_id.get(&setup.session).copied();
        let ssrc = self.ssrc_of(&setup, track);
        let group = self.groups.by_mount.get_mut(&mount);
        let answer = match group.zip(key) {
            Some((held, key)) => {
                held.members.insert(key);
                // Guards pitfall RTSP 7: whatever the client has named, this is where it goes.
                transport.destination = Some(held.group.address.to_string());
                transport.port = Some(ringpost_rtsp::header::Pair {
                    rtp: held.group.rtp(track).port(),
                    rtcp: Some(held.group.rtcp(track).port()),
                });
                transport.ttl = Some(held.group.ttl);
                transport.ssrc = ssrc;
                Answer::SetUp(Box::new(server::SetUp {
                    track,
                    transport,
                    control: server::Control::Any,
                }))
            }
            None => Answer::Refused(Status::NOT_ENOUGH_BANDWIDTH.into()),
        };
        Answered {
            connection,
            question,
            answer,
        }
    }

    /// A session of a group plays what is live: the tracks, and what each begins with.
    pub(crate) fn play_in_group(
        &mut self,
        now: Instant,
        key: SessionKey,
        tracks: &[usize],
    ) -> Vec<(usize, u16, u32)> {
        let Some(session) = self.sessions.get_mut(&key) else {
            return Vec::new();
        };
        let (user, peer, mount) = (session.user_name(), session.peer, session.mount.clone());
        let Some(reader) = session.reader_mut() else {
            return Vec::new();
        };
        let is_first = reader.playing.is_empty();
        reader.playing.extend(tracks.iter().copied());
        let running = self.sender_of(&mount);
        self.look_at_group(now, &mount);
        if let Some(sender) = running {
            self.report_to_group(now, &mount, sender);
        }
        if is_first {
            let mount = mount.clone();
            self.tell(Event::Reading {
                session: key,
                mount,
                user,
                peer,
            });
        }
        let Some((_, live)) = self.live_of(&mount) else {
            return Vec::new();
        };
        let sender = self.sender_of(&mount).and_then(|key| self.sessions.get(&key));
        let cursor = sender.and_then(|sender| sender.reader()?.cursor.as_ref());
        let begins = cursor.map_or(Vec::new(), |cursor| live.begins(now, cursor, tracks));
        if running.is_some() {
            // Who comes later begins with a key picture of its own.
            let kinds = live.description.tracks.iter().map(|track| &track.kind);
            let pictures = kinds.enumerate().filter(|(_, kind)| **kind == MediaKind::Video);
            let pictures: Vec<usize> = pictures.map(|(track, _)| track).collect();
            let publisher = live.publisher;
            for track in pictures.into_iter().filter(|track| tracks.contains(track)) {
                self.request_key_picture(now, publisher, track);
            }
        }
        begins
    }

    /// Who begins knows by a report which moments of its tracks belong together.
    fn report_to_group(&mut self, now: Instant, mount: &MountName, sender: SessionKey) {
        let held = self.groups.by_mount.get_mut(mount);
        if let Some(held) = held.filter(|held| held.reported.since(now) < REPORT_BURST) {
            held.reported = held.reported.max(now) + REPORT_SPACING;
            self.report_first(now, sender);
            self.make_ready(sender);
        }
    }

    fn sender_of(&self, mount: &MountName) -> Option<SessionKey> {
        self.groups.by_mount.get(mount)?.sender
    }

    /// Has the group of a mount sent what its sessions play, or what is announced; one that nobody has set up is given back.
    pub(crate) fn look_at_group(&mut self, now: Instant, mount: &MountName) {
        let Some(held) = self
            .groups
            .by_mount
            .get(mount)
            .filter(|held| held.opening.is_empty())
        else {
            return;
        };
        let (sender, is_announced) = (held.sender, held.settings.is_announced);
        let mut tracks = Tracks::default();
        let readers = held
            .members
            .iter()
            .filter_map(|key| self.sessions.get(key)?.reader());
        readers.for_each(|reader| tracks.extend(reader.playing.iter()));
        let live = self.live_of(mount).map(|(_, live)| live.description.tracks.len());
        match live {
            Some(all) if is_announced => tracks.extend(0..all),
            Some(_) => {}
            None => tracks = Tracks::default(),
        }
        let is_left = held.members.is_empty() && tracks.is_empty();
        match (tracks.is_empty(), sender) {
            (true, Some(sender)) => self.stop_sending(now, mount, sender),
            (true, None) => {}
            (false, None) => self.start_sending(now, mount, tracks),
            (false, Some(sender)) => {
                let sender = self.sessions.get_mut(&sender).and_then(Session::reader_mut);
                if let Some(reader) = sender {
                    reader.playing = tracks;
                }
            }
        }
        if is_left {
            self.drop_group(now, mount);
        } else if is_announced && live.is_some() {
            self.advertise(now, mount);
        }
    }

    fn start_sending(&mut self, now: Instant, mount: &MountName, tracks: Tracks) {
        let key = SessionKey(self.next_number());
        let live = self.names.get(mount).and_then(|key| self.live.get_mut(key));
        let (Some(held), Some(live)) = (self.groups.by_mount.get_mut(mount), live) else {
            return;
        };
        let group = held.group;
        let paths = held.pairs.iter().enumerate().map(|(track, pair)| {
            let peer = Peer {
                pair: *pair,
                rtp: group.rtp(track),
                rtcp: group.rtcp(track),
                has_shown_rtp: true,
                has_shown_rtcp: true,
            };
            (track, Path::Group(peer))
        });
        let (cursor, _) = live.join(now, &tracks.list(), None);
        let reader = Reader {
            cursor: Some(cursor),
            playing: tracks,
            ..Reader::new(Subject::of_live(live))
        };
        let session = Session {
            id: None,
            source: None,
            connection: None,
            mount: mount.clone(),
            user: None,
            peer: group.address,
            began: now,
            paths: paths.collect(),
            role: Role::Reader(Box::new(reader)),
            alive: now,
        };
        held.sender = Some(key);
        live.add_reader(key);
        self.sessions.insert(key, session);
        self.report_first(now, key);
        self.make_ready(key);
        let (mount, user, peer) = (mount.clone(), None, group.address);
        self.tell(Event::Reading {
            session: key,
            mount,
            user,
            peer,
        });
    }

    fn stop_sending(&mut self, now: Instant, mount: &MountName, sender: SessionKey) {
        if let Some(held) = self.groups.by_mount.get_mut(mount) {
            held.sender = None;
        }
        //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.7
        self.say_goodbye(now, sender);
        self.end_session(now, sender);
    }

    /// A session has ended that may have been of its mount's group.
    pub(crate) fn leave_group(&mut self, now: Instant, mount: &MountName, key: SessionKey) {
        let Some(held) = self.groups.by_mount.get_mut(mount) else {
            return;
        };
        let was_sender = held.sender == Some(key);
        if was_sender {
            held.sender = None;
        }
        if held.members.remove(&key) || was_sender {
            self.look_at_group(now, mount);
        }
    }

    /// A mount has a group no longer: its sessions are sent away.
    pub(crate) fn drop_group(&mut self, now: Instant, mount: &MountName) {
        let Some(held) = self.groups.by_mount.remove(mount) else {
            return;
        };
        self.withdraw(now, held.ad);
        if let Some(sender) = held.sender {
            self.stop_sending(now, mount, sender);
        }
        for opening in held.waiting {
            let refusal = Answer::Refused(Status::NOT_ENOUGH_BANDWIDTH.into());
            self.deliver(opening.pending, refusal);
        }
        for pair in held.pairs {
            // One that is being opened is closed when it is open.
            if !held.opening.contains(&pair) {
                self.groups.pairs.remove(&pair);
                self.push(Output::ClosePair(pair));
            }
        }
        for member in held.members {
            self.send_away(now, member);
        }
    }

    /// A mount is live: if it is to be announced it is sent from now on.
    pub(crate) fn look_at_announced(&mut self, now: Instant, mount: &MountName) {
        let is_announced = self
            .group_settings(mount)
            .is_some_and(|settings| settings.is_announced);
        if is_announced && self.need_group(now, mount) {
            self.look_at_group(now, mount);
        }
    }

    /// Goes by what is set now.
    pub(crate) fn look_at_groups(&mut self, now: Instant) {
        let held = self.groups.by_mount.iter();
        let changed = held.filter(|(mount, held)| self.group_settings(mount) != Some(held.settings));
        let changed: Vec<MountName> = changed.map(|(mount, _)| mount.clone()).collect();
        for mount in changed {
            self.drop_group(now, &mount);
        }
        let mounts: Vec<MountName> = self.names.keys().cloned().collect();
        for mount in mounts {
            self.look_at_announced(now, &mount);
        }
    }

    /// RTCP came to a group: a sign of life of all sessions from there, and perhaps somebody wants a key picture.
    // Guards pitfall RTSP 2.
    pub(crate) fn handle_group_datagram(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        let (Some((mount, _)), true) = (self.groups.pairs.get(&socket.pair), socket.is_rtcp) else {
            return;
        };
        let (Some(held), Some((_, live))) = (self.groups.by_mount.get(mount), self.live_of(mount)) else {
            return;
        };
        let Ok(compound) = Compound::parse(datagram, true) else {
            return;
        };
        // What we send comes back.
        let is_ours = compound.iter().any(
            |packet| matches!(packet, RtcpPacket::SenderReport { ssrc, .. } if live.track_of(ssrc).is_some()),
        );
        if is_ours {
            return;
        }
        let address = from.ip().to_canonical();
        let members = held.members.iter().copied();
        let here = |key: &SessionKey| {
            self.sessions
                .get(key)
                .is_some_and(|session| session.peer == address)
        };
        let members: Vec<SessionKey> = members.filter(here).collect();
        if let Some(first) = members.first() {
            self.handle_reader_rtcp(now, *first, datagram);
        }
        members.into_iter().for_each(|key| self.note_alive(now, key));
    }

    pub(crate) fn group_info(&self, mount: &MountName) -> Option<GroupInfo> {
        let held = self.groups.by_mount.get(mount)?;
        let sender = held.sender.and_then(|key| self.sessions.get(&key)?.reader());
        Some(GroupInfo {
            group: held.group,
            is_sending: sender.is_some(),
            is_announced: self.advertises(held.ad),
            sent_packets: sender.map_or(0, |reader| reader.sent_packets),
            sent_bytes: sender.map_or(0, |reader| reader.sent_bytes),
        })
    }

    /// What the announcement of a mount's group is called, and where it is sent.
    pub(crate) fn ad_of(&self, mount: &MountName) -> Option<(AdId, Group)> {
        let held = self.groups.by_mount.get(mount)?;
        (held.settings.is_announced && held.sender.is_some()).then_some((held.ad, held.group))
    }
}
