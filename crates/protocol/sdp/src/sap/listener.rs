use super::{BANDWIDTH_BPS, Kind, Packet, SapError, interval};
use crate::{Origin, ParseError, SessionDescription};
use ringpost_base::{Instant, UnixTime, limits};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// How long a session is remembered that is announced no more, at least.
//= https://www.rfc-editor.org/rfc/rfc2974#section-4
const LEAST_MEMORY: Duration = Duration::from_secs(3_600);
/// How many announcements in a row may be missed.
//= https://www.rfc-editor.org/rfc/rfc2974#section-4
const MISSED: u32 = 10;

/// What names a session as one announcer told it: what does not come from the same host is of another, whatever it says.
//= https://www.rfc-editor.org/rfc/rfc2974#section-5
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Where its packets come from.
    from: IpAddr,
    /// Who announced it first, by what the packets say.
    source: IpAddr,
    /// The group that it was heard on.
    group: IpAddr,
    is_signed: bool,
    username: String,
    session_id: u64,
    address: String,
}

/// A session that was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What it is.
    pub description: SessionDescription,
    /// Who announced it first, by what the packets say.
    pub source: IpAddr,
    /// Where its packets come from.
    pub from: IpAddr,
    /// The group that it was heard on.
    pub group: IpAddr,
    /// When it was heard of first.
    pub since: Instant,
    /// When it was heard of last.
    pub heard: Instant,
}

#[derive(Debug)]
struct Entry {
    announced: Announced,
    /// As it came, for the same again need not be read again.
    payload: Vec<u8>,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerEvent {
    /// A session that was not known.
    Appeared(Box<Announced>),
    /// A session is another than it was.
    Changed(Box<Announced>),
    /// A session is no more: it was deleted, is over, or was not announced for too long.
    Gone(Box<Announced>),
}

/// What a [`Listener`] wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerOutput {
    /// Something has changed.
    Event(ListenerEvent),
    /// Nothing more until something is handled or this time comes.
    Timeout(Option<Instant>),
}

/// Why a packet changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Ignored {
    /// It is no packet that can be used.
    #[error(transparent)]
    Packet(#[from] SapError),
    /// Longer than [`limits::SAP_PACKET_BYTES`].
    #[error(
        "expected a SAP packet of at most {} octets, found {found}",
        limits::SAP_PACKET_BYTES
    )]
    Long {
        /// Its octets.
        found: usize,
    },
    /// No session description.
    #[error("expected a payload of {} in the SAP packet, found {found:?}", super::SDP)]
    PayloadType {
        /// What it is.
        found: String,
    },
    /// A session description that cannot be read.
    #[error(transparent)]
    Description(#[from] ParseError),
    /// What a deletion is of is not said.
    #[error("expected an origin line in the deletion, found none")]
    NoOrigin,
    /// An announcement of a session that is over.
    #[error("the session ended before it was announced")]
    Over,
    /// A deletion of a session, or of a version of it, that nobody there has announced.
    #[error("the deletion is of no session that {from} has announced")]
    Unknown {
        /// Where it came from.
        from: IpAddr,
    },
    /// An older version of a session than the one that is known.
    #[error("the announcement is of an older version of its session")]
    Old,
    /// As many are remembered as may be.
    #[error("as many announcements are remembered as may be")]
    Full,
}

/// Remembers the sessions that others announce, for as long as they do.
///
/// What comes from anybody on the network is bounded: [`limits::SAP_SESSIONS`] of all, [`limits::SAP_SESSIONS_OF_ONE`] of one
/// address, and [`limits::SAP_BYTES`] of payload; what does not fit is not remembered until others leave. After each
/// `handle_…` call [`poll_output`](Listener::poll_output) is drained until it says [`ListenerOutput::Timeout`].
#[derive(Debug)]
pub struct Listener {
    began: (Instant, UnixTime),
    entries: BTreeMap<Key, Entry>,
    payload_bytes: usize,
    events: VecDeque<ListenerEvent>,
}

impl Listener {
    /// One that knows of nothing, at `now`, which is `wallclock`.
    pub fn new(now: Instant, wallclock: UnixTime) -> Self {
        Listener {
            began: (now, wallclock),
            entries: BTreeMap::new(),
            payload_bytes: 0,
            events: VecDeque::new(),
        }
    }

    /// The sessions that are announced, by where they come from.
    pub fn sessions(&self) -> impl Iterator<Item = &Announced> {
        self.entries.values().map(|entry| &entry.announced)
    }

    /// How many are announced on a group.
    pub fn count(&self, group: IpAddr) -> usize {
        self.entries.keys().filter(|key| key.group == group).count()
    }

    /// Octets of all payloads that are held.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// A packet came from `from` to the group `group`. The error says why it changes nothing.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        group: IpAddr,
        from: IpAddr,
        bytes: &[u8],
    ) -> Result<(), Ignored> {
        if bytes.len() > limits::SAP_PACKET_BYTES {
            let found = bytes.len();
            return Err(Ignored::Long { found });
        }
        let packet = Packet::parse(bytes)?;
        if !packet.is_sdp() {
            let found = packet.payload_type.unwrap_or_default().to_owned();
            return Err(Ignored::PayloadType { found });
        }
        match packet.kind {
            Kind::Announcement => self.announced(now, group, from, &packet),
            Kind::Deletion => self.deleted(group, from, &packet),
        }
    }

    fn announced(
        &mut self,
        now: Instant,
        group: IpAddr,
        from: IpAddr,
        packet: &Packet<'_>,
    ) -> Result<(), Ignored> {
        // The hash is not believed: what is the same is the same octet by octet.
        //= https://www.rfc-editor.org/rfc/rfc2974#section-10
        let mut of_sender = self.entries.iter_mut().filter(|(key, _)| key.from == from);
        let same = of_sender.find(|(key, entry)| {
            (key.source, key.group, key.is_signed) == (packet.source, group, packet.is_signed)
                && entry.payload == packet.payload
        });
        if let Some((_, entry)) = same {
            entry.announced.heard = now;
            return Ok(());
        }
        let description = SessionDescription::parse(packet.payload)?;
        if self.is_over(now, &description) {
            return Err(Ignored::Over);
        }
        let key = key_of(group, from, packet, &description.origin);
        let known = self.entries.get(&key).map(|entry| {
            let announced = &entry.announced;
            (
                announced.description.origin.version,
                announced.since,
                entry.payload.len(),
            )
        });
        if known.is_some_and(|(version, ..)| version > description.origin.version) {
            return Err(Ignored::Old);
        }
        let (since, old_bytes) = known.map_or((now, 0), |(_, since, bytes)| (since, bytes));
        let payload_bytes = self.payload_bytes - old_bytes + packet.payload.len();
        let of_sender = self.bytes_of(from) - old_bytes + packet.payload.len();
        let is_too_much = payload_bytes > limits::SAP_BYTES || of_sender > limits::SAP_BYTES_OF_ONE;
        if is_too_much || (known.is_none() && !self.has_room_for(from)) {
            return Err(Ignored::Full);
        }
        let announced = Announced {
            description,
            source: packet.source,
            from,
            group,
            since,
            heard: now,
        };
        let told = Box::new(announced.clone());
        self.events.push_back(match known {
            Some(_) => ListenerEvent::Changed(told),
            None => ListenerEvent::Appeared(told),
        });
        self.payload_bytes = payload_bytes;
        let payload = packet.payload.to_vec();
        self.entries.insert(key, Entry { announced, payload });
        Ok(())
    }

    /// What is remembered of one sender's, in octets.
    fn bytes_of(&self, from: IpAddr) -> usize {
        let of_sender = self.entries.iter().filter(|(key, _)| key.from == from);
        of_sender.map(|(_, entry)| entry.payload.len()).sum()
    }

    fn has_room_for(&self, from: IpAddr) -> bool {
        let of_sender = self.entries.keys().filter(|key| key.from == from).count();
        self.entries.len() < limits::SAP_SESSIONS && of_sender < limits::SAP_SESSIONS_OF_ONE
    }

    /// Only who has announced a session deletes it; an older version of it is no more, and the one that is known stays.
    //= https://www.rfc-editor.org/rfc/rfc2974#section-5
    fn deleted(&mut self, group: IpAddr, from: IpAddr, packet: &Packet<'_>) -> Result<(), Ignored> {
        let origin = origin_in(packet.payload).ok_or(Ignored::NoOrigin)?;
        let key = key_of(group, from, packet, &origin);
        let known = self.entries.get(&key);
        let is_it = known.is_some_and(|entry| entry.announced.description.origin.version <= origin.version);
        match is_it {
            true => {
                self.forget(&key);
                Ok(())
            }
            false => Err(Ignored::Unknown { from }),
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.payload_bytes -= entry.payload.len();
            self.events
                .push_back(ListenerEvent::Gone(Box::new(entry.announced)));
        }
    }

    /// Whether the time that a session has is over.
    //= https://www.rfc-editor.org/rfc/rfc2974#section-4
    fn is_over(&self, now: Instant, description: &SessionDescription) -> bool {
        self.ends(description).is_some_and(|at| at <= now)
    }

    /// When the time that a session has is over; `None` where it has no end.
    fn ends(&self, description: &SessionDescription) -> Option<Instant> {
        let stops = description.times.iter().map(|time| time.stop_s);
        // 0 is never.
        let last = stops.map(|at| if at == 0 { u64::MAX } else { at }).max();
        let last = last.filter(|at| *at != u64::MAX)?;
        let began_s = self.began.1.to_ntp() >> 32;
        let in_s = last.saturating_sub(began_s);
        // What is further away than this server will run has no end.
        (in_s < u64::from(u32::MAX)).then(|| self.began.0 + Duration::from_secs(in_s))
    }

    /// When a session is given up that is not heard of again.
    //= https://www.rfc-editor.org/rfc/rfc2974#section-4
    fn deadline_of(&self, entry: &Entry, count: usize) -> Instant {
        // What is before the payload is some 24 octets.
        let period = interval(count, entry.payload.len() + 24, BANDWIDTH_BPS);
        let silent = entry.announced.heard + LEAST_MEMORY.max(period * MISSED);
        let ends = self.ends(&entry.announced.description);
        ends.map_or(silent, |ends| ends.min(silent))
    }

    fn deadlines(&self) -> impl Iterator<Item = (&Key, Instant)> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for key in self.entries.keys() {
            *counts.entry(key.group).or_default() += 1;
        }
        let entries = self.entries.iter();
        entries.map(move |(key, entry)| {
            let count = counts.get(&key.group).copied().unwrap_or(1);
            (key, self.deadline_of(entry, count))
        })
    }

    /// The time has come that the last [`ListenerOutput::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over = self.deadlines().filter(|(_, at)| *at <= now);
        let over: Vec<Key> = over.map(|(key, _)| key.clone()).collect();
        over.iter().for_each(|key| self.forget(key));
    }

    /// The next thing to tell; [`ListenerOutput::Timeout`] comes last.
    pub fn poll_output(&mut self) -> ListenerOutput {
        match self.events.pop_front() {
            Some(event) => ListenerOutput::Event(event),
            None => ListenerOutput::Timeout(self.deadlines().map(|(_, at)| at).min()),
        }
    }
}

fn key_of(group: IpAddr, from: IpAddr, packet: &Packet<'_>, origin: &Origin) -> Key {
    Key {
        from,
        source: packet.source,
        group,
        is_signed: packet.is_signed,
        username: origin.username.clone(),
        session_id: origin.session_id,
        address: origin.address.to_string(),
    }
}

/// The origin of what a deletion deletes: its only line, or one of a whole description, which some send.
fn origin_in(payload: &[u8]) -> Option<Origin> {
    let mut lines = payload.split(|octet| *octet == b'\n');
    let line = lines.find(|line| line.starts_with(b"o="))?;
    let text = [b"v=0\r\n", line.trim_ascii_end(), b"\r\ns=-\r\nt=0 0\r\n"].concat();
    let description = SessionDescription::parse(&text).ok()?;
    Some(description.origin)
}

#[cfg(test)]
mod tests {
    use super::super::SDP;
    use super::*;

    const GROUP: &str = "239.255.255.255";

    struct World {
        listener: Listener,
        now: Instant,
    }

    fn text(id: u64, version: u64, times: &str) -> String {
        format!(
            "v=0\r\no=- {id} {version} IN IP4 192.0.2.1\r\ns=a\r\nt={times}\r\nm=audio 5004 RTP/AVP 0\r\n"
        )
    }

    impl World {
        fn new() -> Self {
            World {
                listener: Listener::new(Instant::ZERO, UnixTime::from_secs(1_700_000_000)),
                now: Instant::ZERO,
            }
        }

        fn send(&mut self, kind: Kind, from: &str, source: &str, payload: &str) -> Result<(), Ignored> {
            let packet = Packet {
                kind,
                hash: 7,
                source: source.parse().unwrap(),
                is_signed: false,
                payload_type: Some(SDP),
                payload: payload.as_bytes(),
            };
            let mut bytes = Vec::new();
            packet.write(&mut bytes);
            let (group, from) = (GROUP.parse().unwrap(), from.parse().unwrap());
            self.listener.handle_packet(self.now, group, from, &bytes)
        }

        fn announce(&mut self, from: &str, payload: &str) -> Result<(), Ignored> {
            self.send(Kind::Announcement, from, from, payload)
        }

        fn delete(&mut self, from: &str, payload: &str) -> Result<(), Ignored> {
            self.send(Kind::Deletion, from, from, payload)
        }

        /// How many appeared, changed and went since the last look, and when there is something to do.
        fn told(&mut self) -> ([usize; 3], Option<Instant>) {
            let mut told = [0; 3];
            loop {
                match self.listener.poll_output() {
                    ListenerOutput::Event(ListenerEvent::Appeared(_)) => told[0] += 1,
                    ListenerOutput::Event(ListenerEvent::Changed(_)) => told[1] += 1,
                    ListenerOutput::Event(ListenerEvent::Gone(_)) => told[2] += 1,
                    ListenerOutput::Timeout(at) => return (told, at),
                }
            }
        }
    }

    #[test]
    fn a_session_is_known_until_an_hour_after_it_was_heard_of_last() {
        let mut world = World::new();
        let hour = Duration::from_secs(3_600);
        world.announce("192.0.2.1", &text(1, 1, "0 0")).unwrap();
        assert_eq!(world.told(), ([1, 0, 0], Some(world.now + hour)));
        world.now += Duration::from_secs(300);
        world.announce("192.0.2.1", &text(1, 1, "0 0")).unwrap();
        assert_eq!(world.told(), ([0, 0, 0], Some(world.now + hour)));
        let session = world.listener.sessions().next().unwrap();
        assert_eq!((session.since, session.heard), (Instant::ZERO, world.now));
        world.now += hour;
        world.listener.handle_timeout(world.now);
        assert_eq!(world.told(), ([0, 0, 1], None));
        assert_eq!(world.listener.payload_bytes(), 0);
    }

    #[test]
    fn where_much_is_announced_silence_may_be_as_long_as_ten_periods() {
        let mut world = World::new();
        let long = |id| format!("{}a=x:{}\r\n", text(id, 1, "0 0"), "y".repeat(1_400));
        for id in 0..500 {
            world.announce(&format!("10.0.0.{}", id / 50), &long(id)).unwrap();
        }
        let octets = long(100).len() + 24;
        let period = interval(500, octets, BANDWIDTH_BPS);
        assert!(period > Duration::from_secs(1_400), "{period:?}");
        let (_, at) = world.told();
        assert!(at.unwrap() > world.now + period * 9, "{at:?}");
    }

    #[test]
    fn only_who_announced_a_session_changes_or_deletes_it() {
        let mut world = World::new();
        world.announce("192.0.2.1", &text(1, 5, "0 0")).unwrap();
        let origin = |version| format!("o=- 1 {version} IN IP4 192.0.2.1\r\n");
        let stranger: IpAddr = "192.0.2.9".parse().unwrap();
        // By another address, whatever its header says.
        for source in ["192.0.2.1", "192.0.2.9"] {
            let deleted = world.send(Kind::Deletion, "192.0.2.9", source, &origin(5));
            assert_eq!(deleted, Err(Ignored::Unknown { from: stranger }));
        }
        // A change from elsewhere is another session.
        world
            .send(Kind::Announcement, "192.0.2.9", "192.0.2.1", &text(1, 6, "0 0"))
            .unwrap();
        assert_eq!(world.told().0, [2, 0, 0]);
        world.announce("192.0.2.1", &text(1, 6, "0 0")).unwrap();
        assert_eq!(world.told().0, [0, 1, 0]);
        // The deletion of the version before that change comes late.
        assert!(world.delete("192.0.2.1", &origin(5)).is_err());
        assert_eq!(world.announce("192.0.2.1", &text(1, 5, "0 0")), Err(Ignored::Old));
        world.delete("192.0.2.1", &origin(6)).unwrap();
        assert_eq!(world.told().0, [0, 0, 1]);
        assert_eq!(world.listener.sessions().count(), 1);
    }

    #[test]
    fn a_deletion_may_bring_the_whole_description() {
        let mut world = World::new();
        world.announce("192.0.2.1", &text(1, 1, "0 0")).unwrap();
        assert_eq!(
            world.delete("192.0.2.1", "v=0\r\ns=-\r\n"),
            Err(Ignored::NoOrigin)
        );
        world.delete("192.0.2.1", &text(1, 1, "0 0")).unwrap();
        assert_eq!(world.listener.sessions().count(), 0);
    }

    #[test]
    fn what_is_over_is_forgotten_and_not_taken_again() {
        let mut world = World::new();
        let ntp_s = UnixTime::from_secs(1_700_000_000).to_ntp() >> 32;
        let ends = |in_s: u64| text(1, 1, &format!("{} {}", ntp_s - 10, ntp_s + in_s));
        world.announce("192.0.2.1", &ends(60)).unwrap();
        assert_eq!(world.told().1, Some(Instant::ZERO + Duration::from_secs(60)));
        world.now += Duration::from_secs(60);
        world.listener.handle_timeout(world.now);
        assert_eq!(world.told(), ([0, 0, 1], None));
        assert_eq!(world.announce("192.0.2.1", &ends(60)), Err(Ignored::Over));
    }

    #[test]
    fn a_flood_takes_no_more_than_its_bounds() {
        let mut world = World::new();
        for id in 0..limits::SAP_SESSIONS_OF_ONE as u64 {
            world.announce("10.9.9.9", &text(id, 1, "0 0")).unwrap();
        }
        assert_eq!(
            world.announce("10.9.9.9", &text(9_999, 1, "0 0")),
            Err(Ignored::Full)
        );
        // Others are heard of all the same, until all is full.
        let mut taken = limits::SAP_SESSIONS_OF_ONE;
        for n in 0..limits::SAP_SESSIONS {
            let from = format!("10.1.{}.{}", n / 250, n % 250);
            taken += usize::from(world.announce(&from, &text(1, 1, "0 0")).is_ok());
        }
        assert_eq!(taken, limits::SAP_SESSIONS);
        let mut world = World::new();
        let long = |id| format!("{}a=x:{}\r\n", text(id, 1, "0 0"), "y".repeat(1_900));
        for n in 0..2_000 {
            let _ = world.announce(&format!("10.2.{}.1", n % 250), &long(n));
        }
        assert!(world.listener.payload_bytes() <= limits::SAP_BYTES);
        assert!(world.listener.payload_bytes() > limits::SAP_BYTES - 4_096);
        let mut world = World::new();
        for id in 0..limits::SAP_SESSIONS_OF_ONE as u64 {
            let _ = world.announce("10.9.9.9", &long(id));
        }
        assert!(world.listener.payload_bytes() <= limits::SAP_BYTES_OF_ONE);
        for n in 0..limits::SAP_SESSIONS_OF_ONE {
            world.announce(&format!("10.3.0.{n}"), &long(1)).unwrap();
        }
        let found = limits::SAP_PACKET_BYTES + 1;
        let group = GROUP.parse().unwrap();
        let handled = world
            .listener
            .handle_packet(world.now, group, group, &vec![0; found]);
        assert_eq!(handled, Err(Ignored::Long { found }));
    }

    #[test]
    fn what_is_no_session_description_is_told() {
        let mut world = World::new();
        assert!(matches!(
            world.announce("192.0.2.1", "v=1\r\n"),
            Err(Ignored::Description(_))
        ));
        let mut bytes = vec![0x20, 0, 0, 1, 192, 0, 2, 1];
        bytes.extend(b"text/plain\0x");
        let group = GROUP.parse().unwrap();
        let handled = world.listener.handle_packet(world.now, group, group, &bytes);
        let found = "text/plain".to_owned();
        assert_eq!(handled, Err(Ignored::PayloadType { found }));
    }
}
