//! A hub with a publisher and readers, without a socket.

mod leaving;
mod playing;
mod recorded;
mod subject;
mod taking_over;
pub(super) use taking_over::login;
mod tracks;

use super::*;
use bytes::BytesMut;
use ringpost_base::limits;
use ringpost_rtp::Header;
use ringpost_rtsp::server::User;

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) now: Instant,
    pub(super) connections: u64,
    pub(super) ports: u16,
    /// What was sent on each connection and not looked at.
    pub(super) sent: std::collections::BTreeMap<ConnectionId, BytesMut>,
    /// The pieces that it was sent in.
    pub(super) pieces: Vec<(ConnectionId, Bytes)>,
    pub(super) datagrams: Vec<(SocketId, SocketAddr, Bytes)>,
    pub(super) closed: Vec<ConnectionId>,
    pub(super) events: Vec<Event>,
    /// What is played, by its name.
    pub(super) files: std::collections::BTreeMap<String, Bytes>,
    /// The mounts that were looked for, and what the names of those begin with of which there is nothing.
    pub(super) looked_for: Vec<MountName>,
    pub(super) nothing_of: Option<String>,
    /// Since when mounts are silent, as their owners were told.
    pub(super) told: Vec<Option<UnixTime>>,
    pub(super) written: Vec<(MountName, ringpost_store::FileCommand)>,
    pub(super) heard: Vec<(ListenerId, Option<Bytes>)>,
    /// Who waited for a pull, and whether it is live.
    pub(super) awaited: Vec<(ListenerId, bool)>,
    pub(super) full: std::collections::BTreeSet<ConnectionId>,
    /// Who has the names of users now.
    pub(super) holder: u64,
    /// Who may do something; the rest is refused.
    pub(super) allows: bool,
    /// Whether anybody knows.
    pub(super) answers: bool,
    /// What names lead to; any other is unknown.
    pub(super) names: std::collections::BTreeMap<String, Result<Vec<IpAddr>, Unresolved>>,
    /// Connections that are to be made.
    pub(super) dialled: Vec<(ConnectionId, SocketAddr, Option<String>)>,
    /// Sockets of groups that are open, with the group's port and the time to live, and whether more can be opened.
    pub(super) groups: std::collections::BTreeMap<PairId, (SocketAddr, u8)>,
    pub(super) has_groups: bool,
    pub(super) announced: Vec<(SocketAddr, Bytes)>,
    /// What was read and is not answered yet, where reading takes its time.
    pub(super) held_reads: Option<Vec<(QuestionId, Bytes)>>,
    /// Answers that are not given yet, to whether somebody may do something.
    pub(super) held_rights: Option<Vec<(QuestionId, Answer)>>,
}

pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 0\r\na=control:streamid=1\r\n";

impl World {
    pub(super) fn new() -> Self {
        World::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let rng = Rng::from_number(1);
        World {
            hub: Hub::new(Instant::ZERO, UnixTime::from_secs(1_700_000_000), config, rng),
            now: Instant::ZERO,
            connections: 0,
            ports: 40_000,
            sent: Default::default(),
            pieces: Vec::new(),
            datagrams: Vec::new(),
            closed: Vec::new(),
            events: Vec::new(),
            files: Default::default(),
            looked_for: Vec::new(),
            nothing_of: None,
            told: Vec::new(),
            names: Default::default(),
            dialled: Vec::new(),
            written: Vec::new(),
            heard: Vec::new(),
            awaited: Vec::new(),
            full: Default::default(),
            allows: true,
            holder: 1,
            groups: Default::default(),
            has_groups: true,
            announced: Vec::new(),
            answers: true,
            held_reads: None,
            held_rights: None,
        }
    }

    fn user(&self, name: &str) -> User {
        User {
            name: name.into(),
            holder: self.holder,
            mark: None,
            realm: None,
        }
    }

    fn keys_of(&self, user: &str) -> ringpost_auth::digest::DigestKeys {
        ringpost_auth::digest::DigestKeys::derive(user, "localhost", "secret")
    }

    fn are_recordings(&self) -> bool {
        let mut names = self.files.keys();
        names.all(|name| crate::recording::began(name).is_some())
    }

    fn listed(&self) -> Vec<ringpost_store::FileInfo> {
        let files = self.files.iter();
        let files = files.map(|(name, octets)| ringpost_store::FileInfo {
            name: name.parse().unwrap(),
            size_bytes: octets.len() as u64,
            modified: UnixTime::from_secs(1_700_000_000),
            is_open: false,
        });
        files.collect()
    }

    pub(super) fn connect(&mut self) -> ConnectionId {
        self.connect_from([127, 0, 0, 2].into(), false)
    }

    pub(super) fn connect_from(&mut self, address: IpAddr, is_secure: bool) -> ConnectionId {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let ends = Ends {
            local: "127.0.0.1:554".parse().unwrap(),
            remote: SocketAddr::new(address, 1_000 + id.0 as u16),
            is_secure,
        };
        self.hub.handle_accepted(self.now, id, ends);
        self.run();
        id
    }

    pub(super) fn run(&mut self) {
        self.carry_out();
        self.serve();
        // Serving has something to tell.
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            match self.hub.poll_output() {
                Output::Transmit { connection, bytes } => {
                    self.sent.entry(connection).or_default().extend_from_slice(&bytes);
                }
                Output::Datagram { socket, to, bytes } => self.datagrams.push((socket, to, bytes)),
                Output::Open { pair, .. } => {
                    self.ports += 2;
                    self.hub.handle_pair(self.now, pair, Some(self.ports));
                }
                Output::OpenGroup { pair, to, ttl } => {
                    if self.has_groups {
                        self.groups.insert(pair, (to, ttl));
                    }
                    let port = self.has_groups.then_some(50_000);
                    self.hub.handle_pair(self.now, pair, port);
                }
                Output::Announce { to, bytes } => self.announced.push((to, bytes)),
                Output::ClosePair(pair) => drop(self.groups.remove(&pair)),
                Output::Connect { connection, to, tls } => self.dialled.push((connection, to, tls)),
                Output::Close(id) => {
                    self.closed.push(id);
                    self.hub.handle_closed(self.now, id);
                }
                Output::Write { mount, command } => self.written.push((mount, command)),
                Output::Heard { listener, packet } => self.heard.push((listener, Some(packet))),
                Output::ListenerEnded(listener) => self.heard.push((listener, None)),
                Output::Awaited { listener, is_live } => self.awaited.push((listener, is_live)),
                Output::Question(question) => {
                    let is_right = matches!(question.ask, Ask::Authorize { .. });
                    let answer = match question.ask {
                        Ask::Tell { silent_since, .. } => {
                            self.told.push(silent_since);
                            Answer::Yes
                        }
                        Ask::List { mount } => {
                            let nothing_of = self.nothing_of.as_deref();
                            let is_nothing = nothing_of.is_some_and(|of| mount.as_str().starts_with(of));
                            self.looked_for.push(mount);
                            match self.files.is_empty() || is_nothing {
                                true => Answer::Nothing,
                                false => Answer::Files {
                                    is_playlist: !self.are_recordings(),
                                    files: self.listed(),
                                },
                            }
                        }
                        Ask::Read { file, range, .. } => {
                            let octets = &self.files[file.name()];
                            let end = (range.end as usize).min(octets.len());
                            let octets = octets.slice((range.start as usize).min(end)..end);
                            if let Some(held) = &mut self.held_reads {
                                held.push((question.id, octets));
                                continue;
                            }
                            Answer::Octets(octets)
                        }
                        Ask::Resolve { host } => {
                            let known = self.names.get(&host).cloned();
                            Answer::Addresses(known.unwrap_or(Err(Unresolved::Unknown)))
                        }
                        Ask::Keys { user, .. } => {
                            let keys = self.keys_of(&user);
                            Answer::Keys(Some((self.user(&user), keys)))
                        }
                        _ if !self.answers => Answer::Unavailable,
                        Ask::Authorize { user: Some(user), .. } if user.holder != self.holder => {
                            Answer::Unproven { realm: None }
                        }
                        _ if self.allows => Answer::Yes,
                        _ => Answer::Unproven { realm: None },
                    };
                    if let (true, Some(held)) = (is_right, &mut self.held_rights) {
                        held.push((question.id, answer));
                        continue;
                    }
                    self.hub.handle_answer(self.now, question.id, answer);
                }
                Output::Event(event) => self.events.push(event),
                Output::Timeout(_) => break,
            }
        }
    }

    fn serve(&mut self) {
        let mut burst = Burst::default();
        while self.hub.poll_media(self.now, &mut burst) {
            match burst.outlet.unwrap() {
                Outlet::Interleaved => {
                    for connection in burst.connections.iter().copied() {
                        let sent = self.sent.entry(connection).or_default();
                        sent.extend_from_slice(&burst.interleaved);
                        self.pieces.push((connection, burst.interleaved.clone()));
                        if self.full.contains(&connection) {
                            self.hub.handle_full(connection);
                        }
                    }
                }
                Outlet::Datagrams { socket, to } => {
                    let packets = burst.datagrams.iter();
                    self.datagrams
                        .extend(packets.map(|bytes| (socket, to, bytes.clone())));
                }
            }
        }
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let next = match self.hub.poll_output() {
                Output::Timeout(next) => next,
                _ => unreachable!("all was carried out"),
            };
            let Some(at) = next.filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.hub.handle_timeout(self.now);
            self.run();
        }
        self.now = until;
    }

    pub(super) fn kick(&mut self, session: SessionKey) -> bool {
        let whom = Whom::Session(session);
        self.hub.send_away(self.now, &SendAway { whom, to: None }) > 0
    }

    pub(super) fn input(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.hub.handle_bytes(self.now, id, bytes);
        self.run();
    }

    /// Sends a request and gives its response; interleaved packets before it are thrown away.
    pub(super) fn ask(&mut self, id: ConnectionId, request: &str) -> String {
        self.sent.remove(&id);
        let request = request.replace('\n', "\r\n");
        self.input(id, request.as_bytes());
        let sent = self.sent.remove(&id).unwrap_or_default();
        let at = sent.windows(9).position(|window| window == b"RTSP/1.0 ");
        let response = String::from_utf8_lossy(&sent[at.expect("a response")..]).into_owned();
        // What follows the response is the client's to read.
        let end = response.find("\r\n\r\n").map_or(response.len(), |at| at + 4);
        let body: usize = response
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
            .unwrap_or(0);
        let at = at.unwrap() + end + body;
        self.sent
            .entry(id)
            .or_default()
            .extend_from_slice(&sent[at.min(sent.len())..]);
        response
    }

    pub(super) fn said(&mut self, id: ConnectionId) -> String {
        let sent = self.sent.remove(&id).unwrap_or_default();
        String::from_utf8_lossy(&sent).into_owned()
    }

    pub(super) fn session(response: &str) -> String {
        let line = response
            .lines()
            .find_map(|line| line.strip_prefix("Session: "))
            .expect("a session");
        line.split(';').next().unwrap().to_owned()
    }

    /// One in which all of alice's mounts are recorded.
    fn recording() -> Self {
        let mut world = World::new();
        let settings = MountSettings {
            record: true,
            ..MountSettings::default()
        };
        world
            .hub
            .set_settings(world.now, vec![("alice/**".parse().unwrap(), settings)]);
        world
    }

    pub(super) fn publish(&mut self, mount: &str) -> ConnectionId {
        self.publish_described(mount, SDP, 2)
    }

    pub(super) fn publish_described(&mut self, mount: &str, sdp: &str, tracks: usize) -> ConnectionId {
        let id = self.connect();
        let url = format!("rtsp://h/{mount}");
        let announce = format!(
            "ANNOUNCE {url} RTSP/1.0\nCSeq: 1\nContent-Type: application/sdp\nContent-Length: {}\n\n",
            sdp.len()
        );
        let announce = format!("{}{sdp}", announce.replace('\n', "\r\n"));
        self.input(id, announce.as_bytes());
        let said = String::from_utf8(self.sent.remove(&id).unwrap().to_vec()).unwrap();
        assert!(said.starts_with("RTSP/1.0 200"), "{said}");
        let mut session = String::new();
        for track in 0..tracks {
            let transport = format!(
                "RTP/AVP/TCP;unicast;interleaved={}-{};mode=record",
                2 * track,
                2 * track + 1
            );
            let response = self.ask(
                id,
                &format!(
                    "SETUP {url}/streamid={track} RTSP/1.0\nCSeq: {}\n{session}Transport: {transport}\n\n",
                    2 + track
                ),
            );
            assert!(response.starts_with("RTSP/1.0 200"), "{response}");
            session = format!("Session: {}\n", World::session(&response));
        }
        let response = self.ask(id, &format!("RECORD {url} RTSP/1.0\nCSeq: 4\n{session}\n"));
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        id
    }

    pub(super) fn read(&mut self, mount: &str, transports: &[&str]) -> (ConnectionId, String) {
        let id = self.connect();
        let url = format!("rtsp://h/{mount}");
        let described = self.ask(id, &format!("DESCRIBE {url} RTSP/1.0\nCSeq: 1\n\n"));
        assert!(described.starts_with("RTSP/1.0 200"), "{described}");
        let mut session = String::new();
        for (track, transport) in transports.iter().enumerate() {
            let response = self.ask(
                id,
                &format!(
                    "SETUP {url}/trackID={track} RTSP/1.0\nCSeq: 2\n{session}Transport: {transport}\n\n"
                ),
            );
            assert!(response.starts_with("RTSP/1.0 200"), "{response}");
            session = format!("Session: {}\n", World::session(&response));
        }
        let response = self.ask(id, &format!("PLAY {url} RTSP/1.0\nCSeq: 3\n{session}\n"));
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        (id, response)
    }

    pub(super) fn send(
        &mut self,
        id: ConnectionId,
        channel: u8,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) {
        let header = Header {
            marker: true,
            payload_type: if channel == 0 { 96 } else { 0 },
            sequence,
            timestamp,
            ssrc: 5 + u32::from(channel),
        };
        let mut packet = Vec::new();
        header.write(payload, &mut packet);
        let mut bytes = ringpost_rtsp::interleaved_head(channel, packet.len()).to_vec();
        bytes.extend(packet);
        self.input(id, &bytes);
        self.pass(Duration::from_millis(6));
    }

    /// A publisher's report that a timestamp of a source is of some time.
    pub(super) fn report(&mut self, id: ConnectionId, channel: u8, ssrc: u32, at: UnixTime, timestamp: u32) {
        let info = ringpost_rtp::rtcp::SenderInfo {
            ntp: at.to_ntp(),
            rtp_timestamp: timestamp,
            packets: 1,
            octets: 2,
        };
        let mut report = Vec::new();
        ringpost_rtp::rtcp::Writer::new(&mut report)
            .sender_report(ssrc, info, &[])
            .source_description(ssrc, &[(1, b"x")]);
        let mut bytes = ringpost_rtsp::interleaved_head(channel, report.len()).to_vec();
        bytes.extend(report);
        self.input(id, &bytes);
    }

    /// The RTP packets that came to a connection on a channel: sequence and payload.
    pub(super) fn received(&mut self, id: ConnectionId, wanted: u8) -> Vec<(u16, Vec<u8>)> {
        let sent = self.sent.remove(&id).unwrap_or_default();
        let mut rest = &sent[..];
        let mut packets = Vec::new();
        while let [b'$', channel, high, low, behind @ ..] = rest {
            let (packet, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            if *channel == wanted {
                let packet = ringpost_rtp::Packet::parse(packet).unwrap();
                packets.push((packet.sequence(), packet.payload().to_vec()));
            }
            rest = next;
        }
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(rest));
        packets
    }
}

pub(super) const KEY: &[u8] = &[0x65, 1];
pub(super) const OTHER: &[u8] = &[0x41, 2];
pub(super) const TCP: [&str; 2] = [
    "RTP/AVP/TCP;unicast;interleaved=0-1",
    "RTP/AVP/TCP;unicast;interleaved=2-3",
];
pub(super) const UDP: [&str; 2] = [
    "RTP/AVP;unicast;client_port=5000-5001",
    "RTP/AVP;unicast;client_port=5002-5003",
];

#[test]
fn what_is_published_comes_to_readers_over_tcp_and_udp_from_the_key_picture_on() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 10, 0, OTHER);
    world.send(publisher, 0, 11, 3_600, KEY);
    world.send(publisher, 2, 70, 160, &[7; 160]);
    let (tcp, played) = world.read("alice/door", &TCP);
    assert!(
        played.contains("RTP-Info: url=rtsp://h/alice/door/trackID=0;seq="),
        "{played}"
    );
    let (_udp, _) = world.read("alice/door", &UDP);
    world.send(publisher, 0, 12, 7_200, OTHER);
    let video = world.received(tcp, 0);
    assert_eq!(
        video.iter().map(|(_, payload)| &payload[..]).collect::<Vec<_>>(),
        [KEY, OTHER]
    );
    assert_eq!(video[0].0.wrapping_add(1), video[1].0);
    let to = |port: u16| SocketAddr::new([127, 0, 0, 2].into(), port);
    let count = |world: &World, port| {
        world
            .datagrams
            .iter()
            .filter(|(_, of, _)| *of == to(port))
            .count()
    };
    assert_eq!((count(&world, 5_000), count(&world, 5_002)), (2, 1));
    assert_eq!(
        (count(&world, 5_001), count(&world, 5_003)),
        (1, 1),
        "a report comes first on each track"
    );
}

#[test]
fn who_has_not_signed_in_takes_so_many_ports_and_reads_on_over_tcp() {
    let mut world = World::new();
    world.publish("alice/door");
    let readers: Vec<_> = (0..limits::RTSP_STRANGER_PAIRS / UDP.len())
        .map(|_| world.read("alice/door", &UDP).0)
        .collect();
    let stranger = world.connect();
    let set_up = |world: &mut World, transport: &str| {
        let request =
            format!("SETUP rtsp://h/alice/door/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: {transport}\n\n");
        world.ask(stranger, &request)
    };
    let refused = set_up(&mut world, UDP[0]);
    assert!(refused.starts_with("RTSP/1.0 461 "), "{refused}");
    let over_tcp = set_up(&mut world, TCP[0]);
    assert!(over_tcp.starts_with("RTSP/1.0 200 "), "{over_tcp}");
    world.kick(session_keys(&world)[0]);
    world.run();
    assert!(world.closed.contains(&readers[0]));
    let taken = set_up(&mut world, UDP[0]);
    assert!(taken.starts_with("RTSP/1.0 200 "), "{taken}");
}

#[test]
fn where_ports_are_few_an_address_of_strangers_takes_half_and_all_of_them_three_quarters() {
    let mut world = World::with(Config {
        pairs: 16,
        ..Config::default()
    });
    world.publish("alice/door");
    let mut set_up = |address: u8| {
        let stranger = world.connect_from([127, 0, 0, address].into(), false);
        let transport = UDP[0];
        let request =
            format!("SETUP rtsp://h/alice/door/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: {transport}\n\n");
        world.ask(stranger, &request).contains(" 200 OK")
    };
    for (address, taken) in [(3, 8), (4, 4), (5, 0)] {
        let got = (0..10).filter(|_| set_up(address)).count();
        assert_eq!(got, taken, "127.0.0.{address}");
    }
}

fn session_keys(world: &World) -> Vec<SessionKey> {
    let mounts = world.hub.mounts(world.now);
    mounts[0].readers.iter().map(|reader| reader.key).collect()
}

// Guards pitfall RTSP 1: a slow interleaved reader stalls nobody.
#[test]
fn a_reader_whose_connection_is_full_holds_up_nobody_and_goes_on_with_a_key_picture() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 0, KEY);
    let (slow, _) = world.read("alice/door", &TCP[..1]);
    let (fast, _) = world.read("alice/door", &TCP[..1]);
    world.full.insert(slow);
    world.sent.clear();
    let mut sequence = 1u16;
    for picture in 1..=125u32 {
        sequence += 1;
        let payload = if picture % 25 == 0 { KEY } else { OTHER };
        world.send(publisher, 0, sequence, picture * 3_600, payload);
        world.pass(Duration::from_millis(34));
    }
    assert_eq!(world.received(fast, 0).len(), 125);
    assert_eq!(
        world.received(slow, 0).len(),
        1,
        "what it was given before it was full"
    );
    world.full.clear();
    world.hub.handle_writable(slow);
    world.run();
    let late = world.received(slow, 0);
    assert_eq!(late[0].1, KEY);
    assert_eq!(late.len(), 1, "{late:?}");
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Skipped { skips: 1, .. }))
    );
}

// Guards pitfall RTSP 1: however many connections are full, who comes behind them is not forgotten.
#[test]
fn a_reader_behind_many_whose_connections_are_full_is_served_at_once() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 0, KEY);
    for _ in 0..130 {
        let (slow, _) = world.read("alice/door", &TCP[..1]);
        world.full.insert(slow);
    }
    let (fast, _) = world.read("alice/door", &TCP[..1]);
    world.send(publisher, 0, 2, 3_600, OTHER);
    world.sent.clear();
    world.send(publisher, 0, 3, 7_200, OTHER);
    assert_eq!(world.received(fast, 0).len(), 1);
}

#[test]
fn readers_that_are_level_share_one_piece_and_who_has_other_channels_or_is_behind_gets_its_own() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 0, KEY);
    let (one, _) = world.read("alice/door", &TCP[..1]);
    let (same, _) = world.read("alice/door", &TCP[..1]);
    let (other, _) = world.read("alice/door", &["RTP/AVP/TCP;unicast;interleaved=6-7"]);
    let (behind, _) = world.read("alice/door", &TCP[..1]);
    world.full.insert(behind);
    world.sent.clear();
    for sequence in 2..5 {
        world.pieces.clear();
        world.send(publisher, 0, sequence, 3_600 * u32::from(sequence), OTHER);
        world.pass(Duration::from_millis(40));
    }
    world.full.clear();
    world.hub.handle_writable(behind);
    world.run();
    let place = |wanted| {
        let mut pieces = world.pieces.iter().filter(|(id, _)| *id == wanted);
        let (_, piece) = pieces.next().unwrap();
        assert!(pieces.next().is_none(), "one piece each");
        (piece.as_ptr(), piece.len())
    };
    assert_eq!(place(one), place(same));
    assert_ne!(place(one), place(other));
    assert_ne!(place(one), place(behind));
    assert_eq!(world.received(one, 0), world.received(same, 0));
    let sequences = |packets: Vec<(u16, Vec<u8>)>| packets.into_iter().map(|(sequence, _)| sequence);
    let all: Vec<u16> = sequences(world.received(other, 6)).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(sequences(world.received(behind, 0)).collect::<Vec<_>>(), all);
}

#[test]
fn readers_go_on_with_the_publisher_that_comes_back_and_are_sent_away_if_none_does() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 0, KEY);
    let (reader, _) = world.read("alice/door", &TCP[..1]);
    let before = world.received(reader, 0);
    world.hub.handle_closed(world.now, publisher);
    world.run();
    world.pass(Duration::from_secs(4));
    let again = world.publish("alice/door");
    world.send(again, 0, 900, 77, KEY);
    let after = world.received(reader, 0);
    assert_eq!(after, [(before[0].0.wrapping_add(1), KEY.to_vec())]);
    world.hub.handle_closed(world.now, again);
    world.run();
    world.pass(Duration::from_secs(11));
    assert!(world.closed.contains(&reader));
    assert!(world.hub.mounts(world.now).is_empty());
}

#[test]
fn who_listens_within_the_server_gets_the_sound_alone_until_the_mount_is_no_more() {
    let mut world = World::new();
    let door: MountName = "alice/door".parse().unwrap();
    assert_eq!(world.hub.listen(&door).unwrap_err(), NotHeard::NotLive);
    let publisher = world.publish("alice/door");
    let (first, mut hearing) = world.hub.listen(&door).unwrap();
    let (second, _) = world.hub.listen(&door).unwrap();
    world.send(publisher, 0, 1, 0, KEY);
    world.send(publisher, 2, 7, 160, &[0xff; 160]);
    world.hub.stop_listening(second);
    world.send(publisher, 2, 8, 320, &[0x80; 160]);
    let of = |world: &World, id| -> Vec<Option<Bytes>> {
        let heard = world.heard.iter().filter(|(listener, _)| *listener == id);
        heard.map(|(_, packet)| packet.clone()).collect()
    };
    assert_eq!((of(&world, first).len(), of(&world, second).len()), (2, 1));
    let sounds: Vec<_> = of(&world, first)
        .iter()
        .flatten()
        .map(|packet| {
            hearing.handle_packet(packet);
            hearing.poll().unwrap()
        })
        .collect();
    assert_eq!((sounds[0].timestamp, sounds[0].samples[0]), (0, 0));
    assert_eq!((sounds[1].timestamp, sounds[1].samples[159]), (160, 32_124));
    world.hub.handle_closed(world.now, publisher);
    world.run();
    assert_eq!(world.hub.listen(&door).unwrap_err(), NotHeard::NotLive);
    world.pass(Duration::from_secs(4));
    let again = world.publish("alice/door");
    world.send(again, 2, 900, 77, &[0x80; 160]);
    assert_eq!(of(&world, first).len(), 3, "another publisher takes its place");
    world.hub.handle_closed(world.now, again);
    world.run();
    world.pass(Duration::from_secs(11));
    assert_eq!(of(&world, first).last(), Some(&None));
    assert!(of(&world, second).iter().all(Option::is_some));
}

#[test]
fn a_mount_of_the_servers_own_is_read_and_recorded_and_ends_at_once() {
    use ringpost_store::FileCommand;
    let mut world = World::new();
    let settings = MountSettings {
        record: true,
        ..MountSettings::default()
    };
    let pattern = "alice/call/*".parse().unwrap();
    world.hub.set_settings(world.now, vec![(pattern, settings)]);
    let call: MountName = "alice/call/1".parse().unwrap();
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=Call\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 L16/8000/2\r\n";
    let (description, _) = crate::Description::parse(sdp.as_bytes()).unwrap();
    let key = world
        .hub
        .publish(world.now, &call, "alice".into(), description.clone())
        .unwrap();
    world.run();
    let (reader, _) = world.read("alice/call/1", &TCP[..1]);
    let speak = |world: &mut World, key, sequence: u16| {
        let header = Header {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc: 9,
        };
        let mut packet = Vec::new();
        header.write(&[7; 640], &mut packet);
        let is_taken = world.hub.handle_own_packet(world.now, key, packet.into());
        world.run();
        world.pass(Duration::from_millis(20));
        is_taken
    };
    assert!((0..100).all(|sequence| speak(&mut world, key, sequence)));
    let heard = world.received(reader, 0);
    assert_eq!((heard.len(), &heard[99].1[..]), (100, &[7; 640][..]));
    let info = &world.hub.mounts(world.now)[0];
    assert_eq!(
        info.publisher.as_ref().and_then(|info| info.user.as_deref()),
        Some("alice")
    );
    assert!(info.recording.is_some());
    world.hub.unpublish(world.now, key);
    world.run();
    // RTCP's goodbye, and then the connection's end.
    let sent = &world.sent[&reader];
    assert!(sent.windows(2).any(|octets| octets == [0x81, 203]), "{sent:?}");
    assert!(world.closed.contains(&reader));
    assert!(matches!(world.written.last(), Some((_, FileCommand::Close))));
    assert!(world.hub.mounts(world.now).is_empty());
    assert!(!speak(&mut world, key, 100));
    // Whoever ends it from the command line ends it for its publisher too.
    let again = world
        .hub
        .publish(world.now, &call, "alice".into(), description)
        .unwrap();
    world.run();
    assert!(world.kick(again));
    world.run();
    assert!(!speak(&mut world, again, 0));
}

#[test]
fn what_was_recorded_is_not_published_to() {
    let mut world = World::new();
    let announce = |query: &str| {
        let length = SDP.len();
        format!(
            "ANNOUNCE rtsp://h/alice/door{query} RTSP/1.0\nCSeq: 1\nContent-Type: application/sdp\nContent-Length: {length}\n\n"
        )
    };
    for (query, status) in [("?recorded", "403"), ("?other", "200"), ("", "200")] {
        let id = world.connect();
        let request = [announce(query).replace('\n', "\r\n").as_bytes(), SDP.as_bytes()].concat();
        world.input(id, &request);
        let said = world.said(id);
        assert!(said.starts_with(&format!("RTSP/1.0 {status}")), "{query}: {said}");
    }
}

#[test]
fn however_little_is_kept_of_a_mount_is_recorded_by_several_files() {
    let mut world = World::new();
    let settings = MountSettings {
        record: true,
        keep_bytes: Some(1_200_000),
        ..MountSettings::default()
    };
    let settings = vec![("alice/door".parse().unwrap(), settings)];
    world.hub.set_settings(world.now, settings);
    let sdp = "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=Door\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 PCMU/8000\r\n";
    let publisher = world.publish_described("alice/door", sdp, 1);
    for n in 0..120_u16 {
        world.send(publisher, 0, n, u32::from(n) * 8_000, &[0xff; 8_000]);
        world.pass(Duration::from_secs(1));
    }
    let files = world.written.iter();
    let files = files.filter(|(_, command)| matches!(command, ringpost_store::FileCommand::Create(_)));
    // 960,000 octets, of which each file has some 300,000.
    assert_eq!(files.count(), 4);
}

#[test]
fn who_may_not_is_refused_and_what_is_not_there_is_not_found() {
    let mut world = World::new();
    let id = world.connect();
    let response = world.ask(id, "DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 1\n\n");
    assert!(response.starts_with("RTSP/1.0 404"), "{response}");
    world.allows = false;
    let response = world.ask(id, "DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 2\n\n");
    assert!(response.starts_with("RTSP/1.0 401"), "{response}");
    assert!(response.contains("WWW-Authenticate: Digest"), "{response}");
}

// Guards pitfall RTSP 6: the port that punched is taken, not only client_port.
#[test]
fn a_reader_behind_a_translator_gets_packets_where_its_first_came_from() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    let (_, _) = world.read("alice/door", &UDP[..1]);
    let pair = PairId(world.hub.plane_pairs()[0]);
    let socket = SocketId { pair, is_rtcp: false };
    let translated = SocketAddr::new([127, 0, 0, 2].into(), 61_000);
    let stranger = SocketAddr::new([127, 0, 0, 9].into(), 61_000);
    world
        .hub
        .handle_datagram(world.now, socket, stranger, Bytes::from_static(b"\x80\x60"));
    world
        .hub
        .handle_datagram(world.now, socket, translated, Bytes::from_static(b"\x80\x60"));
    world.datagrams.clear();
    world.send(publisher, 0, 1, 0, KEY);
    assert_eq!(world.datagrams[0].1, translated);
}

// Guards pitfall RTSP 2: media and RTCP count as liveness; sessions time out and release everything.
#[test]
fn a_silent_reader_over_udp_is_dropped_and_one_that_reports_is_not() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    let (_, _) = world.read("alice/door", &UDP[..1]);
    let (_, _) = world.read("alice/door", &UDP[..1]);
    let pairs = world.hub.plane_pairs();
    let mut rr = Vec::new();
    ringpost_rtp::rtcp::Writer::new(&mut rr).receiver_report(1, &[]);
    for second in 0..70u16 {
        let socket = SocketId {
            pair: PairId(pairs[0]),
            is_rtcp: true,
        };
        let from = SocketAddr::new([127, 0, 0, 2].into(), 5_001);
        world
            .hub
            .handle_datagram(world.now, socket, from, rr.clone().into());
        world.run();
        world.send(publisher, 0, second, u32::from(second) * 90_000, KEY);
        world.pass(Duration::from_millis(994));
    }
    let mounts = world.hub.mounts(world.now);
    assert_eq!(mounts[0].readers.len(), 1);
    assert_eq!(world.hub.plane_pairs(), [pairs[0]]);
}

// Guards pitfall RTP 6: the readers' reports tell one wallclock for both tracks.
#[test]
fn reports_of_both_tracks_tell_the_same_moment() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 90_000, KEY);
    world.send(publisher, 2, 1, 8_000, &[7; 160]);
    for (channel, ssrc, timestamp) in [(1u8, 5, 180_000u32), (3, 7, 16_000)] {
        world.report(publisher, channel, ssrc, UnixTime::from_secs(1_000), timestamp);
    }
    let (reader, played) = world.read("alice/door", &TCP);
    let rtptime = |track: u8| -> u32 {
        let at = played.find(&format!("trackID={track};")).unwrap();
        let text = &played[at..];
        let text = &text[text.find("rtptime=").unwrap() + 8..];
        text.split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let sent = world.sent.remove(&reader).unwrap();
    let mut reports = std::collections::BTreeMap::new();
    let mut rest = &sent[..];
    while let [b'$', channel, high, low, behind @ ..] = rest {
        let (packet, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        if channel % 2 == 1 {
            let compound = ringpost_rtp::rtcp::Compound::parse(packet, false).unwrap();
            for packet in compound.iter() {
                if let ringpost_rtp::rtcp::RtcpPacket::SenderReport { info, .. } = packet {
                    reports.insert(channel / 2, info);
                }
            }
        }
        rest = next;
    }
    let (video, audio) = (reports[&0], reports[&1]);
    assert_eq!(video.ntp, audio.ntp);
    // Both are as far from what RTP-Info says of the same moment.
    let since = |info: ringpost_rtp::rtcp::SenderInfo, track: u8, rate: f64| {
        f64::from(info.rtp_timestamp.wrapping_sub(rtptime(track)) as i32) / rate
    };
    let apart = since(video, 0, 90_000.0) - since(audio, 1, 8_000.0);
    assert!(apart.abs() < 0.001, "{apart} s");
}

#[test]
fn a_mount_is_recorded_by_its_settings_or_by_hand_and_written_to_its_end() {
    use ringpost_store::FileCommand;
    let mut world = World::recording();
    let publisher = world.publish("alice/door");
    let sps: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0x88];
    let mut sequence = 0;
    for picture in 0..100u32 {
        let payloads: &[&[u8]] = match picture % 25 {
            0 => &[sps, &[0x68, 0xce, 0x3c, 0x80], KEY],
            _ => &[OTHER],
        };
        for payload in payloads {
            sequence += 1;
            world.send(publisher, 0, sequence, picture * 3_600, payload);
        }
        world.send(publisher, 2, picture as u16, picture * 320, &[0xff; 320]);
        world.pass(Duration::from_millis(22));
    }
    let created = world
        .written
        .iter()
        .filter(|(_, command)| matches!(command, ringpost_store::FileCommand::Create(_)));
    assert_eq!(created.count(), 1, "{:?}", world.events);
    let name: MountName = "alice/door".parse().unwrap();
    assert!(world.written.iter().all(|(mount, _)| *mount == name));
    assert!(world.hub.mounts(world.now)[0].recording.is_some());
    let appended = |world: &World| {
        let commands = world.written.iter();
        commands
            .filter(|(_, command)| matches!(command, FileCommand::Append(_)))
            .count()
    };
    let before = appended(&world);
    assert!(before >= 2, "a header and a fragment");
    assert_eq!(world.hub.record(world.now, &name, false), Ok(true));
    world.run();
    assert!(appended(&world) > before, "what was open is written");
    assert!(matches!(world.written.last(), Some((_, FileCommand::Close))));
    assert_eq!(world.hub.mounts(world.now)[0].recording, None);
}

#[test]
fn what_another_publisher_sends_is_called_behind_what_the_first_one_said_to_be_ahead_of_its_time() {
    use ringpost_store::FileCommand;
    let mut world = World::recording();
    for (rate_hz, ahead_s) in [(8_000, 9), (16_000, 0)] {
        let sdp = SDP.split_once("m=video").unwrap().0;
        let sdp =
            format!("{sdp}m=audio 0 RTP/AVP 96\r\na=rtpmap:96 L16/{rate_hz}\r\na=control:streamid=0\r\n");
        let publisher = world.publish_described("alice/door", &sdp, 1);
        world.report(publisher, 1, 5, UnixTime::from_secs(1_000), 0);
        for n in 0..40_u32 {
            let timestamp = (n * 20 + ahead_s * 1_000) * rate_hz / 1_000;
            world.send(publisher, 0, n as u16, timestamp, &[1, 2]);
            world.pass(Duration::from_millis(14));
        }
        world.hub.handle_closed(world.now, publisher);
        world.run();
    }
    let created = world.written.iter().filter_map(|(_, command)| match command {
        FileCommand::Create(name) => crate::recording::began(name.name()),
        _ => None,
    });
    let created: Vec<UnixTime> = created.collect();
    let [first, second] = created[..] else {
        panic!("{created:?}")
    };
    assert_eq!(second, first + Duration::from_millis(1));
}

#[test]
fn so_many_mounts_are_switched_by_hand_and_a_further_one_is_refused() {
    let mut world = World::new();
    for n in 0..limits::RECORDED_BY_HAND {
        let name: MountName = format!("alice/door-{n}").parse().unwrap();
        assert_eq!(world.hub.record(world.now, &name, true), Ok(false));
    }
    let [further, known] = ["alice/door", "alice/door-7"].map(|name| name.parse().unwrap());
    assert_eq!(
        world.hub.record(world.now, &further, true),
        Err(super::NotRecorded)
    );
    assert_eq!(world.hub.record(world.now, &known, false), Ok(false));
}

// RFC 3550 §5.1: a number stands for one packet.
#[test]
fn a_play_while_it_plays_and_after_a_pause_sends_nothing_twice() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 10, 0, KEY);
    world.send(publisher, 0, 11, 3_600, OTHER);
    let (reader, played) = world.read("alice/door", &TCP[..1]);
    let session = World::session(&played);
    let ask = |world: &mut World, method: &str, range: &str| {
        let request =
            format!("{method} rtsp://h/alice/door RTSP/1.0\nCSeq: 9\nSession: {session}\n{range}\n");
        let response = world.ask(reader, &request);
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        response
    };
    let numbers = |packets: Vec<(u16, Vec<u8>)>| packets.into_iter().map(|(number, _)| number);
    let mut had: Vec<u16> = numbers(world.received(reader, 0)).collect();
    assert_eq!(had.len(), 2);
    ask(&mut world, "PLAY", "Range: npt=now-\n");
    had.extend(numbers(world.received(reader, 0)));
    world.send(publisher, 0, 12, 7_200, OTHER);
    had.extend(numbers(world.received(reader, 0)));
    assert_eq!(had.len(), 3);
    ask(&mut world, "PAUSE", "");
    world.send(publisher, 0, 13, 10_800, OTHER);
    let told = ask(&mut world, "PLAY", "");
    assert!(
        told.contains(&format!("seq={}", had[2].wrapping_add(1))),
        "{told}"
    );
    world.send(publisher, 0, 14, 14_400, OTHER);
    had.extend(numbers(world.received(reader, 0)));
    let expected: Vec<u16> = (0..5).map(|n| had[0].wrapping_add(n)).collect();
    assert_eq!(had, expected);
}

/// A mount that is live, whose owner is told when it is silent for 20 s.
fn watched() -> (World, ConnectionId) {
    let mut world = World::new();
    let settings = MountSettings {
        silence: Some(Duration::from_secs(20)),
        ..MountSettings::default()
    };
    world
        .hub
        .set_settings(world.now, vec![("alice/**".parse().unwrap(), settings)]);
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 0, KEY);
    (world, publisher)
}

#[test]
fn the_owner_is_told_when_a_mount_falls_silent_and_when_it_is_back_and_not_after_a_goodbye() {
    let (mut world, publisher) = watched();
    world.pass(Duration::from_secs(18));
    assert!(world.told.is_empty());
    let before = world.hub.plane.wallclock(world.now);
    world.send(publisher, 0, 2, 3_600, OTHER);
    let after = world.hub.plane.wallclock(world.now);
    world.hub.handle_closed(world.now, publisher);
    world.run();
    world.pass(Duration::from_secs(60));
    let [Some(since)] = world.told[..] else {
        panic!("{:?}", world.told)
    };
    assert!(
        (before..=after).contains(&since),
        "when it was heard last: {since}"
    );
    let again = world.publish("alice/door");
    world.send(again, 0, 1, 0, KEY);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.told.len(), 2);
    assert!(world.told[1].is_none());
    let session = world.hub.session_ids()[0].clone();
    let bye = format!("TEARDOWN rtsp://h/alice/door RTSP/1.0\nCSeq: 9\nSession: {session}\n\n");
    assert!(world.ask(again, &bye).starts_with("RTSP/1.0 200"));
    world.pass(Duration::from_secs(120));
    assert_eq!(world.told.len(), 2);
}

#[test]
fn an_owner_who_was_told_of_a_silence_is_told_when_it_is_over_though_the_publisher_said_goodbye_meanwhile() {
    let (mut world, publisher) = watched();
    let bye = |world: &mut World, publisher| {
        let session = world.hub.session_ids()[0].clone();
        let bye = format!("TEARDOWN rtsp://h/alice/door RTSP/1.0\nCSeq: 9\nSession: {session}\n\n");
        assert!(world.ask(publisher, &bye).starts_with("RTSP/1.0 200"));
    };
    world.pass(Duration::from_secs(26));
    assert_eq!(world.told.len(), 1);
    bye(&mut world, publisher);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.told.len(), 1, "it is no more silent than before");
    // Back for less than it takes to be told.
    let again = world.publish("alice/door");
    world.send(again, 0, 1, 0, KEY);
    bye(&mut world, again);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.told.len(), 1);
    let last = world.publish("alice/door");
    world.send(last, 0, 1, 0, KEY);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.told.len(), 2);
    assert!(world.told[1].is_none(), "it is back");
    bye(&mut world, last);
    world.pass(Duration::from_secs(120));
    assert_eq!(world.told.len(), 2);
}

#[test]
fn so_many_mounts_are_watched_and_one_that_has_left_makes_room() {
    let (mut world, publisher) = watched();
    world.pass(Duration::from_secs(26));
    let session = world.hub.session_ids()[0].clone();
    let bye = format!("TEARDOWN rtsp://h/alice/door RTSP/1.0\nCSeq: 9\nSession: {session}\n\n");
    world.ask(publisher, &bye);
    let now = world.now;
    for n in 0..limits::MOUNTS_WATCHED + 10 {
        world
            .hub
            .plane
            .watch(now, &format!("alice/m{n}").parse().unwrap());
        assert!(world.hub.plane.watched.len() <= limits::MOUNTS_WATCHED);
    }
    assert!(
        !world
            .hub
            .plane
            .watched
            .contains_key(&"alice/door".parse::<MountName>().unwrap())
    );
}

// A camera that comes back and brings nothing is as silent as before, and one that only asks for the mount says no goodbye for
// who has it.
#[test]
fn silence_goes_on_while_publishers_come_and_bring_nothing() {
    let (mut world, publisher) = watched();
    let since = world.hub.plane.wallclock(world.now);
    world.hub.handle_closed(world.now, publisher);
    world.run();
    for _ in 0..6 {
        let again = world.publish("alice/door");
        world.pass(Duration::from_secs(7));
        world.hub.handle_closed(world.now, again);
        world.run();
    }
    let [Some(told)] = world.told[..] else {
        panic!("{:?}", world.told)
    };
    assert!(told <= since, "{told} {since}");

    let back = world.publish("alice/door");
    world.send(back, 0, 1, 0, KEY);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.told.len(), 2);
    let other = world.connect();
    let url = "rtsp://h/alice/door";
    let announce = format!(
        "ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    );
    world.input(other, announce.as_bytes());
    let set_up = world.ask(
        other,
        &format!(
            "SETUP {url}/streamid=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\n\n"
        ),
    );
    let session = World::session(&set_up);
    let bye = format!("TEARDOWN {url} RTSP/1.0\nCSeq: 3\nSession: {session}\n\n");
    assert!(world.ask(other, &bye).starts_with("RTSP/1.0 200"));
    world.pass(Duration::from_secs(30));
    assert_eq!(world.told.len(), 3);
    assert!(world.told[2].is_some(), "who publishes is silent");
}

#[test]
fn what_came_is_counted_for_each_publisher() {
    let mut world = World::new();
    for round in 0..2 {
        let publisher = world.publish("alice/door");
        for n in 0..=round {
            world.send(publisher, 0, n, 3_600 * u32::from(n), KEY);
        }
        let mounts = world.hub.mounts(world.now);
        let session = mounts[0].publisher.as_ref().unwrap();
        let packet = Header::LEN + KEY.len();
        assert_eq!(
            session.received_bytes,
            (usize::from(round) + 1) as u64 * packet as u64
        );
    }
}

// RFC 2326 §11.3.1.
#[test]
fn parameters_that_are_not_known_are_named_in_the_answer_and_recorded_ranges_are() {
    let mut world = World::new();
    world.publish("alice/door");
    let id = world.connect();
    // `World::ask` writes each line's end in two octets.
    let ask = |method: &str, body: &str| {
        let length = body.len() + body.matches('\n').count();
        format!(
            "{method} rtsp://h/alice/door RTSP/1.0\nCSeq: 1\nContent-Type: text/parameters\nContent-Length: {length}\n\n{body}"
        )
    };
    for (method, body) in [
        ("GET_PARAMETER", "position\n\nbarparam\n"),
        ("SET_PARAMETER", "position: 1\nbarparam: barstuff\n"),
    ] {
        let response = world.ask(id, &ask(method, body));
        assert!(response.starts_with("RTSP/1.0 451"), "{response}");
        assert!(
            response.contains("Content-Type: text/parameters\r\n"),
            "{response}"
        );
        assert!(
            response.ends_with("\r\n\r\nposition\r\nbarparam\r\n"),
            "{response}"
        );
    }
    // What is known is not among what is not, whichever way the two are asked for.
    for (method, body) in [
        ("GET_PARAMETER", "recorded-ranges\nfoo\n"),
        ("SET_PARAMETER", "foo: 1\nRecorded-Ranges: 1\n"),
    ] {
        let response = world.ask(id, &ask(method, body));
        assert!(response.starts_with("RTSP/1.0 451"), "{response}");
        assert!(response.ends_with("\r\n\r\nfoo\r\n"), "{response}");
    }
    // RFC 2326 §11.3.8.
    let response = world.ask(id, &ask("SET_PARAMETER", "recorded-ranges: 1\n"));
    assert!(response.starts_with("RTSP/1.0 458"), "{response}");
    assert!(response.ends_with("\r\n\r\nrecorded-ranges\r\n"), "{response}");
    let response = world.ask(id, &ask("GET_PARAMETER", "recorded-ranges"));
    assert!(response.ends_with("\r\n\r\nrecorded-ranges: \r\n"), "{response}");
}

#[test]
fn a_reader_that_has_paused_goes_on_in_the_ring_of_another_publisher_from_its_beginning() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    for n in 0..40u16 {
        world.send(
            publisher,
            0,
            n,
            u32::from(n) * 3_600,
            if n == 0 { KEY } else { OTHER },
        );
    }
    let (reader, played) = world.read("alice/door", &TCP[..1]);
    let session = World::session(&played);
    let ask = |world: &mut World, method: &str| {
        let request = format!("{method} rtsp://h/alice/door RTSP/1.0\nCSeq: 9\nSession: {session}\n\n");
        let response = world.ask(reader, &request);
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
    };
    ask(&mut world, "PAUSE");
    world.hub.handle_closed(world.now, publisher);
    world.run();
    world.pass(Config::default().vacancy + Duration::from_secs(1));
    assert_eq!(world.hub.mounts(world.now), []);
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 500, 0, KEY);
    ask(&mut world, "PLAY");
    world.send(publisher, 0, 501, 3_600, OTHER);
    let payloads: Vec<_> = world
        .received(reader, 0)
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    assert_eq!(payloads, [KEY, OTHER]);
}

#[test]
fn what_was_recorded_is_closed_when_another_publisher_takes_over_with_other_tracks() {
    use ringpost_store::FileCommand;
    let mut world = World::recording();
    let sound = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 PCMU/8000\r\n\
                 a=control:streamid=0\r\n";
    let publisher = world.publish_described("alice/door", sound, 1);
    for n in 0..150u16 {
        world.send(publisher, 0, n, u32::from(n) * 160, &[0xff; 160]);
        world.pass(Duration::from_millis(20));
    }
    let appended = |world: &World| {
        let commands = world.written.iter();
        commands
            .filter(|(_, command)| matches!(command, FileCommand::Append(_)))
            .count()
    };
    let before = appended(&world);
    let other = sound.replace("PCMU", "G722");
    world.publish_described("alice/door", &other, 1);
    assert!(appended(&world) > before, "what was open is written");
    assert!(matches!(world.written.last(), Some((_, FileCommand::Close))));
}
