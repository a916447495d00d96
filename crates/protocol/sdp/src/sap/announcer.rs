use super::{BANDWIDTH_BPS, Kind, PORT, Packet, SDP, announcement_group, interval};
use crate::SessionDescription;
use ringpost_base::{Instant, Rng, limits};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Names one of our announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdId(pub u64);

/// What an [`Announcer`] wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnouncerOutput {
    /// Send a packet, with [`TTL`](super::TTL).
    Transmit {
        /// To which group.
        to: SocketAddr,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Nothing more until something is handled or this time comes.
    Timeout(Option<Instant>),
}

#[derive(Debug)]
struct Ad {
    group: IpAddr,
    hash: u16,
    announcement: Vec<u8>,
    deletion: Vec<u8>,
    /// When it was sent last.
    sent: Instant,
    next: Instant,
}

/// Announces sessions, each as often as the bandwidth of its group allows.
///
/// A session is told at once when it begins, and again after each interval, which is drawn anew and from what is heard by
/// then. After each command and `handle_…` call, [`poll_output`](Announcer::poll_output) is drained until it says
/// [`AnnouncerOutput::Timeout`].
#[derive(Debug)]
pub struct Announcer {
    bandwidth_bps: u32,
    ads: BTreeMap<AdId, Ad>,
    /// How many announcements others make, by group.
    others: HashMap<IpAddr, usize>,
    outputs: VecDeque<AnnouncerOutput>,
    rng: Rng,
}

impl Announcer {
    /// One that announces nothing yet.
    pub fn new(rng: Rng) -> Self {
        Announcer {
            bandwidth_bps: BANDWIDTH_BPS,
            ads: BTreeMap::new(),
            others: HashMap::new(),
            outputs: VecDeque::new(),
            rng,
        }
    }

    /// How many sessions are announced.
    pub fn len(&self) -> usize {
        self.ads.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ads.is_empty()
    }

    /// Whether a session is announced.
    pub fn announces(&self, id: AdId) -> bool {
        self.ads.contains_key(&id)
    }

    /// Whether a packet with this hash and source is one of our own that has come back.
    pub fn is_ours(&self, packet: &Packet<'_>) -> bool {
        let mut ads = self.ads.values();
        ads.any(|ad| {
            let ours = Packet::parse(&ad.announcement);
            ours.is_ok_and(|ours| (ours.hash, ours.source) == (packet.hash, packet.source))
        })
    }

    /// Others announce so many sessions to a group.
    //= https://www.rfc-editor.org/rfc/rfc2974#section-3.1
    pub fn handle_others(&mut self, group: IpAddr, count: usize) {
        match count {
            0 => drop(self.others.remove(&group)),
            count => drop(self.others.insert(group, count)),
        }
    }

    /// Announces a session that is sent to `session`, as `source`, from now on; one that is announced already is announced as it is
    /// described now. More than [`limits::SAP_SESSIONS`] are not taken: whether it is.
    pub fn announce(
        &mut self,
        now: Instant,
        id: AdId,
        source: IpAddr,
        session: IpAddr,
        description: &SessionDescription,
    ) -> bool {
        let (payload, origin) = (description.to_string(), description.origin.to_string());
        let group = announcement_group(session);
        let before = self.ads.get(&id);
        let is_known = before.is_some_and(|ad| {
            ad.group == group
                && Packet::parse(&ad.announcement)
                    .is_ok_and(|was| was.payload == payload.as_bytes() && was.source == source)
        });
        if is_known {
            return true;
        }
        if before.is_none() && self.ads.len() >= limits::SAP_SESSIONS {
            return false;
        }
        // The old version is no more, and the new one has another hash.
        //= https://www.rfc-editor.org/rfc/rfc2974#section-6
        let old = self.ads.remove(&id);
        let hash = self.hash_of(payload.as_bytes(), old.as_ref().map(|ad| ad.hash));
        if let Some(old) = old {
            self.transmit(old.group, old.deletion);
        }
        let written = |kind: Kind, payload: &str| {
            let packet = Packet {
                kind,
                hash,
                source,
                is_signed: false,
                payload_type: Some(SDP),
                payload: payload.as_bytes(),
            };
            let mut bytes = Vec::new();
            packet.write(&mut bytes);
            bytes
        };
        let ad = Ad {
            group,
            hash,
            announcement: written(Kind::Announcement, &payload),
            //= https://www.rfc-editor.org/rfc/rfc2974#section-6
            deletion: written(Kind::Deletion, &origin),
            sent: now,
            next: now,
        };
        self.ads.insert(id, ad);
        self.send(now, id);
        true
    }

    /// A session is announced no longer, and whoever has heard of it is told.
    pub fn withdraw(&mut self, id: AdId) {
        if let Some(ad) = self.ads.remove(&id) {
            self.transmit(ad.group, ad.deletion);
        }
    }

    /// The same for all.
    pub fn withdraw_all(&mut self) {
        let ids: Vec<_> = self.ads.keys().copied().collect();
        ids.into_iter().for_each(|id| self.withdraw(id));
    }

    /// The time has come that the last [`AnnouncerOutput::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = self.ads.iter().filter(|(_, ad)| ad.next <= now);
        let due: Vec<AdId> = due.map(|(id, _)| *id).collect();
        for id in due {
            // By what is known now it may be too early.
            //= https://www.rfc-editor.org/rfc/rfc2974#section-3.1
            let next = self.draw(id);
            match self.ads.get_mut(&id) {
                Some(ad) if next > now => ad.next = next,
                _ => self.send(now, id),
            }
        }
    }

    /// The next thing to do; [`AnnouncerOutput::Timeout`] comes last.
    pub fn poll_output(&mut self) -> AnnouncerOutput {
        let next = || AnnouncerOutput::Timeout(self.ads.values().map(|ad| ad.next).min());
        self.outputs.pop_front().unwrap_or_else(next)
    }

    fn send(&mut self, now: Instant, id: AdId) {
        let Some(ad) = self.ads.get_mut(&id) else { return };
        ad.sent = now;
        let (group, bytes) = (ad.group, ad.announcement.clone());
        self.transmit(group, bytes);
        let next = self.draw(id);
        if let Some(ad) = self.ads.get_mut(&id) {
            ad.next = next;
        }
    }

    fn transmit(&mut self, group: IpAddr, bytes: Vec<u8>) {
        let to = SocketAddr::new(group, PORT);
        self.outputs.push_back(AnnouncerOutput::Transmit { to, bytes });
    }

    /// When an announcement goes next, by when it went last: the base interval, a third more or less.
    //= https://www.rfc-editor.org/rfc/rfc2974#section-3.1
    fn draw(&mut self, id: AdId) -> Instant {
        let Some(ad) = self.ads.get(&id) else {
            return Instant::ZERO;
        };
        let ours = self.ads.values().filter(|other| other.group == ad.group).count();
        let others = self.others.get(&ad.group).copied().unwrap_or(0);
        let base = interval(ours + others, ad.announcement.len(), self.bandwidth_bps);
        let factor = 2.0 / 3.0 + self.rng.unit() * 2.0 / 3.0;
        ad.sent + Duration::from_secs_f64(base.as_secs_f64() * factor)
    }

    /// A hash of a description that no other of ours has, and that says something.
    //= https://www.rfc-editor.org/rfc/rfc2974#section-6
    fn hash_of(&self, payload: &[u8], old: Option<u16>) -> u16 {
        // FNV-1a, folded.
        let step = |hash: u32, octet: &u8| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
        let whole = payload.iter().fold(0x811c_9dc5, step);
        let mut hash = (whole >> 16) as u16 ^ whole as u16;
        let taken: BTreeSet<u16> = self.ads.values().map(|ad| ad.hash).chain(old).collect();
        while hash == 0 || taken.contains(&hash) {
            hash = hash.wrapping_add(1);
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const SESSION: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(239, 255, 1, 1));

    fn described(version: u64, name: &str) -> SessionDescription {
        let text = format!("v=0\r\no=- 7 {version} IN IP4 192.0.2.1\r\ns={name}\r\nt=0 0\r\n");
        SessionDescription::parse(text.as_bytes()).unwrap()
    }

    fn drain(announcer: &mut Announcer) -> (Vec<(SocketAddr, Vec<u8>)>, Option<Instant>) {
        let mut sent = Vec::new();
        loop {
            match announcer.poll_output() {
                AnnouncerOutput::Transmit { to, bytes } => sent.push((to, bytes)),
                AnnouncerOutput::Timeout(at) => return (sent, at),
            }
        }
    }

    #[test]
    fn a_session_is_told_at_once_and_then_each_five_minutes_a_third_more_or_less() {
        let mut announcer = Announcer::new(Rng::from_number(1));
        let mut now = Instant::ZERO;
        assert!(announcer.announce(now, AdId(1), SOURCE, SESSION, &described(1, "a")));
        let mut gaps = Vec::new();
        let mut last = now;
        for count in 0.. {
            let (sent, next) = drain(&mut announcer);
            for (to, bytes) in sent {
                assert_eq!(to.to_string(), "239.255.255.255:9875");
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!(
                    (packet.kind, packet.source, packet.payload_type),
                    (Kind::Announcement, SOURCE, Some(SDP))
                );
                assert_ne!(packet.hash, 0);
                gaps.push(now.since(last).as_secs());
                last = now;
            }
            if count == 400 {
                break;
            }
            now = next.unwrap();
            announcer.handle_timeout(now);
        }
        assert_eq!(gaps.remove(0), 0);
        assert!(gaps.len() > 100);
        // Reconsideration draws again; what was too early waits, so that no gap is shorter than two thirds.
        assert!(gaps.iter().all(|gap| (200..=400).contains(gap)), "{gaps:?}");
        let mean = gaps.iter().sum::<u64>() / gaps.len() as u64;
        assert!((280..=370).contains(&mean), "{mean}");
    }

    #[test]
    fn many_announcements_make_each_rarer() {
        let mut announcer = Announcer::new(Rng::from_number(2));
        let now = Instant::ZERO;
        announcer.announce(now, AdId(1), SOURCE, SESSION, &described(1, &"n".repeat(900)));
        let (sent, _) = drain(&mut announcer);
        let octets = sent[0].1.len() as u64;
        announcer.handle_others("239.255.255.255".parse().unwrap(), 999);
        // What is heard of another group counts there alone.
        announcer.handle_others("224.2.127.254".parse().unwrap(), 100_000);
        let base = 8 * 1_000 * octets / 4_000;
        let heard_at = loop {
            let at = drain(&mut announcer).1.unwrap();
            announcer.handle_timeout(at);
            if matches!(announcer.poll_output(), AnnouncerOutput::Transmit { .. }) {
                break at.since(now).as_secs();
            }
        };
        assert!(
            (base * 2 / 3..=base * 4 / 3 + 1).contains(&heard_at),
            "{heard_at}, {base}"
        );
    }

    #[test]
    fn a_change_deletes_the_old_version_and_has_another_hash() {
        let mut announcer = Announcer::new(Rng::from_number(3));
        let now = Instant::ZERO;
        announcer.announce(now, AdId(1), SOURCE, SESSION, &described(1, "a"));
        announcer.announce(now, AdId(2), SOURCE, SESSION, &described(1, "a"));
        let (sent, _) = drain(&mut announcer);
        let hashes: Vec<_> = sent.iter().map(|(_, b)| Packet::parse(b).unwrap().hash).collect();
        assert_ne!(hashes[0], hashes[1], "each session has its own");
        // Said again, it is nothing new.
        announcer.announce(now, AdId(1), SOURCE, SESSION, &described(1, "a"));
        assert!(drain(&mut announcer).0.is_empty());
        announcer.announce(now, AdId(1), SOURCE, SESSION, &described(2, "b"));
        let (sent, _) = drain(&mut announcer);
        let packets: Vec<_> = sent
            .iter()
            .map(|(_, bytes)| Packet::parse(bytes).unwrap())
            .collect();
        let [deletion, announcement] = packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!((deletion.kind, deletion.hash), (Kind::Deletion, hashes[0]));
        assert_eq!(deletion.payload, b"o=- 7 1 IN IP4 192.0.2.1\r\n");
        assert_eq!(announcement.kind, Kind::Announcement);
        assert_ne!(announcement.hash, hashes[0]);
        assert!(announcer.is_ours(&announcement) && !announcer.is_ours(&deletion));
        announcer.withdraw_all();
        let (sent, next) = drain(&mut announcer);
        assert_eq!((sent.len(), next), (2, None));
        assert!(
            sent.iter()
                .all(|(_, bytes)| Packet::parse(bytes).unwrap().kind == Kind::Deletion)
        );
    }

    #[test]
    fn no_more_are_announced_than_the_limit() {
        let mut announcer = Announcer::new(Rng::from_number(4));
        for id in 0..limits::SAP_SESSIONS as u64 {
            assert!(announcer.announce(Instant::ZERO, AdId(id), SOURCE, SESSION, &described(1, "a")));
            drain(&mut announcer);
        }
        assert!(!announcer.announce(Instant::ZERO, AdId(u64::MAX), SOURCE, SESSION, &described(1, "a")));
        assert_eq!(announcer.len(), limits::SAP_SESSIONS);
    }
}
