//! Mounts that are pulled from cameras by script, without a socket.

use crate::hub::tests::{KEY, OTHER, TCP, World};
use crate::hub::{
    ConnectionId, Ends, Event, MountSettings, PairId, PullSettings, PullTransport, SocketId, Unresolved,
};
use ringpost_base::limits;
use ringpost_rtp::Header;
use ringpost_rtp::rtcp::{Compound, RtcpPacket};
use std::net::SocketAddr;
use std::time::Duration;

/// What a camera says of itself: a wrong clock rate, a name that is no name, an m-line of something else in between, and control
/// URLs that lead to where it believes to be.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/9000\r\na=control:rtsp://10.9.9.9/cam/track1\r\n\
    m=application 0 TCP/XML 107\r\na=control:track2\r\n\
    m=audio 0 RTP/AVP 0\r\na=control:track3\r\n";

struct Camera {
    world: World,
    is_there: bool,
    answers: bool,
    wants_login: bool,
    /// Where DESCRIBE is redirected to.
    moved_to: Option<String>,
    has_tcp: bool,
    has_udp: bool,
    refuses_audio: bool,
    requests: Vec<String>,
    /// RTCP that came interleaved.
    reports: Vec<(u8, Vec<u8>)>,
    connection: Option<ConnectionId>,
    /// That one, and those before it.
    connections: Vec<ConnectionId>,
    dialled: Vec<(SocketAddr, Option<String>)>,
    /// What DESCRIBE is answered with.
    sdp: &'static str,
}

impl Camera {
    fn new() -> Self {
        let mut world = World::new();
        world
            .names
            .insert("cam.test".into(), Ok(vec!["192.0.2.7".parse().unwrap()]));
        Camera {
            world,
            is_there: true,
            answers: true,
            wants_login: false,
            moved_to: None,
            has_tcp: true,
            has_udp: true,
            refuses_audio: false,
            requests: Vec::new(),
            reports: Vec::new(),
            connection: None,
            connections: Vec::new(),
            dialled: Vec::new(),
            sdp: SDP,
        }
    }

    fn pulled(&mut self, is_always: bool, transport: PullTransport) {
        self.set(Some(PullSettings {
            url: ringpost_rtsp::Url::parse("rtsp://user:s3cret@cam.test/cam").unwrap(),
            is_always,
            transport,
        }));
    }

    fn set(&mut self, pull: Option<PullSettings>) {
        let settings = MountSettings {
            pull,
            ..MountSettings::default()
        };
        let now = self.world.now;
        self.world
            .hub
            .set_settings(now, vec![("alice/door".parse().unwrap(), settings)]);
        self.run();
    }

    /// Lets connections be made and requests be answered until nobody has anything to say.
    fn run(&mut self) {
        loop {
            self.world.run();
            let dialled: Vec<_> = self.world.dialled.drain(..).collect();
            let has_dialled = !dialled.is_empty();
            for (id, to, tls) in dialled {
                self.dialled.push((to, tls.clone()));
                let now = self.world.now;
                if self.is_there {
                    self.connection = Some(id);
                    self.connections.push(id);
                    let ends = Ends {
                        local: "192.0.2.1:40000".parse().unwrap(),
                        remote: to,
                        is_secure: tls.is_some(),
                    };
                    self.world.hub.handle_connected(now, id, ends);
                } else {
                    self.world.hub.handle_unconnected(now, id, "connection refused");
                }
                self.world.run();
            }
            if !self.answer() && !has_dialled {
                return;
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.world.now + duration;
        while self.world.now < until {
            let step = Duration::from_millis(100).min(until.since(self.world.now));
            self.world.pass(step);
            self.run();
        }
    }

    /// Answers what came; false when nothing did.
    fn answer(&mut self) -> bool {
        let answered = self.connections.clone().into_iter().map(|id| self.answer_on(id));
        answered.fold(false, |any, answered| any | answered)
    }

    fn answer_on(&mut self, id: ConnectionId) -> bool {
        let Some(sent) = self.world.sent.remove(&id) else {
            return false;
        };
        let mut rest = &sent[..];
        let mut responses = Vec::new();
        while !rest.is_empty() {
            if let [b'$', channel, high, low, behind @ ..] = rest {
                let (packet, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                self.reports.push((*channel, packet.to_vec()));
                rest = next;
                continue;
            }
            let end = rest
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .expect("whole requests")
                + 4;
            let request = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end..];
            responses.push(self.response(&request));
            self.requests.push(request);
        }
        if self.answers && !self.world.closed.contains(&id) {
            for response in responses {
                self.world.input(id, response.as_bytes());
            }
        }
        true
    }

    fn response(&self, request: &str) -> String {
        let field = |name: &str| {
            let mut lines = request.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let cseq = field("CSeq").expect("a number");
        let answer = |status: &str, fields: &str, body: &str| {
            let length = match body.len() {
                0 => String::new(),
                length => format!("Content-Length: {length}\r\n"),
            };
            format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{fields}{length}\r\n{body}")
        };
        let method = request.split(' ').next().unwrap();
        let is_proven = field("Authorization")
            .is_some_and(|proof| proof.contains("username=\"user\"") && proof.contains("response=\""));
        if self.wants_login && !is_proven && method != "OPTIONS" {
            let field = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n\"\r\n";
            return answer("401 Unauthorized", field, "");
        }
        let transport = field("Transport").unwrap_or_default();
        match method {
            "OPTIONS" => answer("200 OK", "Public: DESCRIBE, SETUP, PLAY, GET_PARAMETER\r\n", ""),
            "DESCRIBE" => match &self.moved_to {
                Some(url) => answer("302 Moved", &format!("Location: {url}\r\n"), ""),
                None => answer("200 OK", "Content-Type: application/sdp\r\n", self.sdp),
            },
            "SETUP" if self.refuses_audio && request.contains("track3") => answer("400 Bad", "", ""),
            "SETUP" => {
                let is_tcp = transport.contains("interleaved");
                let transport = match (is_tcp, self.has_tcp, self.has_udp) {
                    (true, true, _) => transport.to_owned(),
                    (false, _, true) => format!("{transport};server_port=6000-6001"),
                    _ => return answer("461 Unsupported transport", "", ""),
                };
                let fields = format!("Session: 12345;timeout=60\r\nTransport: {transport}\r\n");
                answer("200 OK", &fields, "")
            }
            _ => answer("200 OK", "Session: 12345;timeout=60\r\n", ""),
        }
    }

    fn methods(&self) -> Vec<&str> {
        let requests = self.requests.iter();
        requests
            .map(|request| request.split(' ').next().unwrap())
            .collect()
    }

    fn count(&self, method: &str) -> usize {
        self.methods().into_iter().filter(|each| *each == method).count()
    }

    fn packet(sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            marker: true,
            payload_type: 96,
            sequence,
            timestamp,
            ssrc: 77,
        };
        let mut packet = Vec::new();
        header.write(payload, &mut packet);
        packet
    }

    fn send(&mut self, sequence: u16, payload: &[u8]) {
        let id = self.connection.expect("a connection");
        let packet = Camera::packet(sequence, u32::from(sequence) * 3_600, payload);
        let mut bytes = ringpost_rtsp::interleaved_head(0, packet.len()).to_vec();
        bytes.extend(packet);
        self.world.input(id, &bytes);
        self.world.pass(Duration::from_millis(6));
    }

    fn hang_up(&mut self) {
        let id = self.connection.take().expect("a connection");
        let now = self.world.now;
        self.world.hub.handle_closed(now, id);
        self.run();
    }

    /// DESCRIBE of a reader, whose answer may come later.
    fn describe(&mut self) -> ConnectionId {
        let id = self.world.connect();
        let request = b"DESCRIBE rtsp://h/alice/door RTSP/1.0\r\nCSeq: 1\r\n\r\n";
        self.world.input(id, request);
        id
    }

    fn heard(&mut self, id: ConnectionId) -> String {
        String::from_utf8(self.world.sent.remove(&id).unwrap_or_default().to_vec()).unwrap()
    }

    /// What was told of pulls that failed: why, and after how many seconds that is tried again, at most; it may be a quarter
    /// less.
    fn failures(&self) -> Vec<(String, u64)> {
        let events = self.world.events.iter();
        let failures = events.filter_map(|event| match event {
            Event::Unpulled {
                why,
                again_in,
                source,
                ..
            } => {
                assert!(!source.contains("s3cret"), "{source}");
                let most = [1, 2, 4, 8, 16, 30].into_iter();
                let mut most = most.filter(|most| *again_in <= Duration::from_secs(*most));
                let most = most.next().expect("it is tried again within 30 s");
                assert!(*again_in >= Duration::from_secs(most) * 3 / 4, "{again_in:?}");
                Some((why.clone(), most))
            }
            _ => None,
        });
        failures.collect()
    }

    fn is_live(&self) -> bool {
        let mounts = self.world.hub.mounts(self.world.now);
        mounts.iter().any(|mount| mount.publisher.is_some())
    }
}

#[test]
fn a_mount_is_pulled_when_it_is_described_and_until_nobody_has_read_it_for_a_while() {
    let mut camera = Camera::new();
    camera.wants_login = true;
    camera.pulled(false, PullTransport::Auto);
    camera.pass(Duration::from_secs(30));
    assert!(camera.dialled.is_empty(), "nobody wants it");
    let waiting = camera.describe();
    assert_eq!(camera.heard(waiting), "", "there is nothing to answer yet");
    camera.run();
    let described = camera.heard(waiting);
    assert!(described.starts_with("RTSP/1.0 200"), "{described}");
    assert!(
        described.contains("H264/90000") && !described.contains("application 0"),
        "{described}"
    );
    assert_eq!(camera.dialled, [("192.0.2.7:554".parse().unwrap(), None)]);
    let setups: Vec<_> = camera
        .requests
        .iter()
        .filter(|request| request.starts_with("SETUP"))
        .collect();
    assert!(
        setups[0].starts_with("SETUP rtsp://cam.test/cam/track1 "),
        "{}",
        setups[0]
    );
    assert!(
        setups[1].starts_with("SETUP rtsp://cam.test/cam/track3 "),
        "{}",
        setups[1]
    );
    assert_eq!(setups.len(), 2, "the m-line that is no RTP is not set up");

    camera.send(1, KEY);
    let (reader, _) = camera.world.read("alice/door", &TCP);
    camera.send(2, OTHER);
    let received = camera.world.received(reader, 0);
    assert_eq!(
        received
            .iter()
            .map(|(_, payload)| &payload[..])
            .collect::<Vec<_>>(),
        [KEY, OTHER]
    );
    let mounts = camera.world.hub.mounts(camera.world.now);
    let publisher = mounts[0].publisher.as_ref().unwrap();
    assert_eq!(publisher.source.as_deref(), Some("rtsp://cam.test/cam"));
    assert_eq!(publisher.peer.to_string(), "192.0.2.7");
    assert!(publisher.is_interleaved);

    for second in 0..25 {
        camera.send(3 + second, OTHER);
        camera.pass(Duration::from_secs(1));
    }
    assert!(camera.is_live(), "somebody reads");
    camera.world.hub.handle_closed(camera.world.now, reader);
    for second in 0..9 {
        camera.send(30 + second, OTHER);
        camera.pass(Duration::from_secs(1));
    }
    assert_eq!((camera.is_live(), camera.count("TEARDOWN")), (true, 0));
    camera.pass(Duration::from_secs(3));
    assert_eq!((camera.is_live(), camera.count("TEARDOWN")), (false, 1));
    assert!(camera.world.hub.mounts(camera.world.now).is_empty());
    assert!(camera.world.closed.contains(&camera.connection.unwrap()));
    camera.pass(Duration::from_secs(60));
    assert_eq!((camera.dialled.len(), camera.failures().len()), (1, 0));
    // And again.
    let waiting = camera.describe();
    camera.run();
    assert!(camera.heard(waiting).starts_with("RTSP/1.0 200"));
}

// Guards pitfall RTSP 10: after each redirect the addresses are looked at again.
#[test]
fn a_redirect_leads_to_where_may_be_gone_to_and_nowhere_else() {
    let mut camera = Camera::new();
    let inside = "10.0.0.9".parse().unwrap();
    camera
        .world
        .names
        .insert("inside.test".into(), Err(Unresolved::Denied(inside)));
    camera.moved_to = Some("rtsp://inside.test/cam".into());
    camera.pulled(false, PullTransport::Tcp);
    let waiting = camera.describe();
    camera.run();
    let refused = camera.heard(waiting);
    assert!(refused.starts_with("RTSP/1.0 404"), "{refused}");
    assert_eq!(camera.dialled.len(), 1, "the first server alone was connected to");
    let (why, _) = &camera.failures()[0];
    assert!(why.contains("10.0.0.9") && why.contains("pull_networks"), "{why}");

    let mut camera = Camera::new();
    camera
        .world
        .names
        .insert("other.test".into(), Ok(vec!["192.0.2.8".parse().unwrap()]));
    camera.moved_to = Some("rtsp://other.test:8554/else".into());
    camera.pulled(false, PullTransport::Tcp);
    let waiting = camera.describe();
    camera.world.run();
    let (id, to, _) = camera.world.dialled[0].clone();
    assert_eq!(to, "192.0.2.7:554".parse().unwrap());
    camera.connection = Some(id);
    camera.connections.push(id);
    let ends = Ends {
        local: "192.0.2.1:40000".parse().unwrap(),
        remote: to,
        is_secure: false,
    };
    camera.world.dialled.clear();
    camera.world.hub.handle_connected(camera.world.now, id, ends);
    camera.world.run();
    while camera.world.dialled.is_empty() {
        assert!(camera.answer(), "{:?}", camera.requests);
    }
    assert!(
        camera.world.closed.contains(&id),
        "the first connection is closed"
    );
    camera.moved_to = None;
    camera.run();
    assert_eq!(camera.dialled, [("192.0.2.8:8554".parse().unwrap(), None)]);
    assert!(camera.heard(waiting).starts_with("RTSP/1.0 200"));
    let described = camera
        .requests
        .iter()
        .rfind(|request| request.starts_with("DESCRIBE"))
        .unwrap();
    assert!(
        described.starts_with("DESCRIBE rtsp://other.test:8554/else "),
        "{described}"
    );
}

#[test]
fn a_server_that_redirects_for_ever_is_given_up() {
    let mut camera = Camera::new();
    camera.moved_to = Some("rtsp://cam.test:8554/cam".into());
    camera.pulled(false, PullTransport::Tcp);
    let waiting = camera.describe();
    camera.run();
    assert!(camera.heard(waiting).starts_with("RTSP/1.0 502"));
    assert!(
        camera.failures()[0].0.contains("redirects"),
        "{:?}",
        camera.failures()
    );
    assert!(camera.dialled.len() <= 6, "{}", camera.dialled.len());
}

#[test]
fn what_is_silent_over_udp_is_pulled_within_the_connection() {
    let mut camera = Camera::new();
    camera.pulled(false, PullTransport::Udp);
    let waiting = camera.describe();
    camera.run();
    assert!(camera.heard(waiting).starts_with("RTSP/1.0 200"));
    assert!(
        camera
            .requests
            .iter()
            .any(|request| request.contains("client_port=40002-40003"))
    );
    let punched = camera
        .world
        .datagrams
        .iter()
        .map(|(_, to, _)| *to)
        .collect::<Vec<_>>();
    assert!(
        punched.contains(&"192.0.2.7:6000".parse().unwrap()),
        "{punched:?}"
    );
    camera.pass(Duration::from_millis(4_500));
    assert_eq!(camera.dialled.len(), 1);
    camera.pass(Duration::from_millis(1_000));
    assert_eq!((camera.dialled.len(), camera.count("TEARDOWN")), (2, 1));
    assert!(camera.requests.last().unwrap().starts_with("PLAY"));
    let setups = camera
        .requests
        .iter()
        .filter(|request| request.contains("interleaved="));
    assert_eq!(setups.count(), 2);
    assert!(
        camera.world.hub.plane_pairs().is_empty(),
        "the sockets are closed"
    );
    camera.send(1, KEY);
    assert!(camera.is_live());
}

#[test]
fn packets_over_udp_come_from_the_server_alone() {
    let mut camera = Camera::new();
    camera.pulled(true, PullTransport::Udp);
    let (reader, _) = camera.world.read("alice/door", &TCP[..1]);
    let pair = PairId(camera.world.hub.plane_pairs()[0]);
    let socket = SocketId { pair, is_rtcp: false };
    let mut sequence = 0;
    for from in ["192.0.2.66:6000", "192.0.2.7:6000", "192.0.2.7:7000"] {
        sequence += 1;
        let packet = Camera::packet(sequence, 0, KEY);
        let now = camera.world.now;
        let from = from.parse().unwrap();
        camera.world.hub.handle_datagram(now, socket, from, packet.into());
        camera.world.run();
        camera.world.pass(Duration::from_millis(6));
    }
    assert_eq!(camera.world.received(reader, 0).len(), 1);
    camera.pass(Duration::from_secs(8));
    assert_eq!(
        camera.dialled.len(),
        1,
        "what has come once over UDP is waited for longer"
    );
}

#[test]
fn a_server_without_interleaving_is_pulled_over_udp_and_one_with_neither_is_told() {
    let mut camera = Camera::new();
    camera.has_tcp = false;
    camera.pulled(true, PullTransport::Auto);
    assert!(camera.is_live());
    assert_eq!(camera.world.hub.plane_pairs().len(), 2);
    let mut camera = Camera::new();
    (camera.has_tcp, camera.has_udp) = (false, false);
    camera.pulled(true, PullTransport::Auto);
    assert_eq!((camera.is_live(), camera.dialled.len()), (false, 2));
    assert_eq!(camera.failures().len(), 1);
    assert!(camera.world.hub.plane_pairs().is_empty());
    let mut camera = Camera::new();
    camera.has_tcp = false;
    camera.pulled(true, PullTransport::Tcp);
    assert_eq!((camera.is_live(), camera.dialled.len()), (false, 1));
}

#[test]
fn a_camera_that_comes_back_goes_on_for_its_readers_and_is_asked_ever_less_often_until_then() {
    let mut camera = Camera::new();
    camera.pulled(true, PullTransport::Tcp);
    camera.send(1, KEY);
    let (reader, _) = camera.world.read("alice/door", &TCP[..1]);
    let before = camera.world.received(reader, 0);
    for second in 0..12 {
        camera.send(2 + second, KEY);
        camera.pass(Duration::from_secs(1));
    }
    let last = camera.world.received(reader, 0).last().unwrap().0;
    assert_eq!(last, before[0].0.wrapping_add(12));
    camera.hang_up();
    assert!(!camera.is_live());
    camera.pass(Duration::from_millis(1_100));
    assert!(camera.is_live());
    camera.send(900, KEY);
    let after = camera.world.received(reader, 0);
    assert_eq!(
        after,
        [(last.wrapping_add(1), KEY.to_vec())],
        "readers see no seam"
    );

    camera.is_there = false;
    camera.hang_up();
    camera.pass(Duration::from_secs(100));
    let rests: Vec<_> = camera.failures().iter().map(|(_, rest)| *rest).collect();
    assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert!(
        camera.failures()[3].0.contains("connection refused"),
        "{:?}",
        camera.failures()
    );
    assert!(
        camera.world.closed.contains(&reader),
        "nobody has published for too long"
    );
    camera.is_there = true;
    let failing = camera.world.hub.failing_pulls(camera.world.now);
    let [failing] = &failing[..] else {
        panic!("{failing:?}")
    };
    assert_eq!(failing.source, "rtsp://cam.test/cam");
    assert!(
        failing.why.contains("connection refused") && failing.attempts == 8,
        "{failing:?}"
    );
    assert!(
        failing
            .again_in
            .is_some_and(|again_in| again_in <= Duration::from_secs(30))
    );
    for _ in 0..31 {
        if !camera.is_live() {
            camera.pass(Duration::from_secs(1));
        }
    }
    assert!(camera.is_live());
    assert!(camera.world.hub.failing_pulls(camera.world.now).is_empty());
}

#[test]
fn a_description_that_does_not_come_is_waited_for_ten_seconds() {
    let mut camera = Camera::new();
    camera.answers = false;
    camera.pulled(false, PullTransport::Tcp);
    let waiting = camera.describe();
    camera.pass(Duration::from_millis(9_900));
    assert_eq!(camera.heard(waiting), "");
    camera.pass(Duration::from_millis(200));
    assert!(camera.heard(waiting).starts_with("RTSP/1.0 504"));
    camera.pass(Duration::from_secs(60));
    assert_eq!(camera.dialled.len(), 1, "nobody wants it any more");

    let mut camera = Camera::new();
    camera.is_there = false;
    camera.pulled(false, PullTransport::Tcp);
    let waiting = camera.describe();
    camera.run();
    assert!(
        camera.heard(waiting).starts_with("RTSP/1.0 502"),
        "what has failed is not waited for"
    );
    let waiting = camera.describe();
    camera.run();
    assert_eq!(camera.heard(waiting), "", "it is not tried again at once");
    camera.is_there = true;
    camera.pass(Duration::from_millis(1_100));
    assert!(camera.heard(waiting).starts_with("RTSP/1.0 200"));
}

#[test]
fn a_silent_camera_is_asked_anew() {
    let mut camera = Camera::new();
    camera.pulled(true, PullTransport::Tcp);
    camera.send(1, KEY);
    camera.pass(Duration::from_millis(9_500));
    assert!(camera.failures().is_empty());
    camera.pass(Duration::from_secs(2));
    assert_eq!(camera.failures(), [("nothing has come for 10 s".to_owned(), 1)]);
    assert_eq!((camera.dialled.len(), camera.is_live()), (2, true));
}

#[test]
fn reports_go_to_the_camera_and_its_session_is_kept_alive() {
    let mut camera = Camera::new();
    camera.pulled(true, PullTransport::Tcp);
    for second in 0..40 {
        camera.send(second, KEY);
        camera.pass(Duration::from_secs(1));
    }
    let reported = camera.reports.iter().filter_map(|(channel, report)| {
        let compound = Compound::parse(report, false).unwrap();
        let mut packets = compound.iter();
        let RtcpPacket::ReceiverReport { reports, .. } = packets.next()? else {
            return None;
        };
        let block = reports.iter().next()?;
        Some((*channel, block.ssrc))
    });
    let reported: Vec<_> = reported.collect();
    assert!(
        reported.len() >= 3 && reported.iter().all(|report| *report == (1, 77)),
        "{reported:?}"
    );
    assert!(camera.count("GET_PARAMETER") >= 1, "{:?}", camera.methods());
    assert_eq!(camera.dialled.len(), 1);
}

#[test]
fn a_stream_that_the_server_does_not_give_is_left_out() {
    let mut camera = Camera::new();
    camera.refuses_audio = true;
    camera.pulled(true, PullTransport::Tcp);
    assert!(camera.is_live());
    assert_eq!(camera.world.hub.mounts(camera.world.now)[0].encodings, ["H264"]);
}

#[test]
fn nobody_publishes_to_what_is_pulled_and_a_kick_begins_it_anew() {
    let mut camera = Camera::new();
    camera.pulled(true, PullTransport::Tcp);
    let publisher = camera.world.connect();
    let sdp = crate::hub::tests::SDP;
    let length = sdp.len();
    let announce = format!(
        "ANNOUNCE rtsp://h/alice/door RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\n\
         Content-Length: {length}\r\n\r\n{sdp}"
    );
    camera.world.input(publisher, announce.as_bytes());
    assert!(camera.heard(publisher).starts_with("RTSP/1.0 403"));
    let mounts = camera.world.hub.mounts(camera.world.now);
    let key = mounts[0].publisher.as_ref().unwrap().key;
    let whom = crate::hub::Whom::Session(key);
    let what = crate::hub::SendAway { whom, to: None };
    assert_eq!(camera.world.hub.send_away(camera.world.now, &what), 1);
    camera.run();
    assert_eq!((camera.is_live(), camera.count("TEARDOWN")), (false, 1));
    camera.pass(Duration::from_millis(1_100));
    assert!(camera.is_live());
}

#[test]
fn a_pull_ends_with_its_line_of_the_configuration_and_with_the_hub() {
    let mut camera = Camera::new();
    camera.pulled(true, PullTransport::Tcp);
    camera.pulled(true, PullTransport::Tcp);
    assert_eq!(camera.dialled.len(), 1, "what has not changed goes on");
    camera.set(None);
    assert_eq!((camera.is_live(), camera.count("TEARDOWN")), (false, 1));
    camera.pass(Duration::from_secs(60));
    assert_eq!(camera.dialled.len(), 1);
    camera.pulled(true, PullTransport::Tcp);
    assert!(camera.is_live());
    camera.world.hub.shut_down(camera.world.now);
    camera.run();
    assert_eq!(camera.count("TEARDOWN"), 2);
    camera.pass(Duration::from_secs(60));
    assert_eq!(camera.dialled.len(), 2);
}

#[test]
fn descriptions_that_cannot_be_read_and_empty_answers_end_an_attempt_with_their_reason() {
    for (sdp, why) in [
        ("", "v=0"),
        ("v=0\r\n", "m-line"),
        ("m=audio 9 RTP/SAVP 0\r\n", "RTP/AVP"),
    ] {
        let mut camera = Camera::new();
        camera.sdp = sdp;
        camera.pulled(true, PullTransport::Tcp);
        let failures = camera.failures();
        assert!(failures.len() == 1, "{sdp:?}: {failures:?}");
        assert!(failures[0].0.contains(why), "{sdp:?}: {failures:?}");
    }
}

#[test]
fn tls_is_asked_for_with_the_name_that_the_certificate_must_have() {
    let mut camera = Camera::new();
    camera
        .world
        .names
        .insert("[2001:db8::9]".into(), Ok(vec!["2001:db8::9".parse().unwrap()]));
    for (url, to, name) in [
        ("rtsps://cam.test/", "192.0.2.7:322", "cam.test"),
        ("rtsps://[2001:db8::9]:9322/", "[2001:db8::9]:9322", "2001:db8::9"),
    ] {
        camera.dialled.clear();
        camera.set(Some(PullSettings {
            url: ringpost_rtsp::Url::parse(url).unwrap(),
            is_always: true,
            transport: PullTransport::Tcp,
        }));
        assert_eq!(camera.dialled, [(to.parse().unwrap(), Some(name.to_owned()))]);
    }
}

#[test]
fn the_next_address_is_tried_where_one_does_not_answer() {
    let mut camera = Camera::new();
    let addresses = ["192.0.2.7", "192.0.2.8"].map(|text| text.parse().unwrap());
    camera
        .world
        .names
        .insert("cam.test".into(), Ok(addresses.to_vec()));
    camera.pulled(false, PullTransport::Tcp);
    let waiting = camera.describe();
    // The first connection is neither made nor refused: the hub's patience ends it.
    let (first, to, _) = camera.world.dialled.remove(0);
    assert_eq!(to.ip(), addresses[0]);
    camera.world.pass(Duration::from_millis(5_100));
    assert!(camera.world.closed.contains(&first));
    assert_eq!(camera.world.dialled[0].1.ip(), addresses[1]);
    camera.run();
    assert!(camera.heard(waiting).starts_with("RTSP/1.0 200"));
}

fn door() -> crate::MountName {
    "alice/door".parse().unwrap()
}

#[test]
fn who_wants_to_hear_a_mount_has_it_pulled_and_keeps_it_until_nobody_hears_it() {
    let mut camera = Camera::new();
    camera.pulled(false, PullTransport::Auto);
    let now = camera.world.now;
    let waiting = camera.world.hub.await_pull(now, &door()).expect("it is pulled");
    assert!(camera.world.awaited.is_empty(), "it is not live yet");
    camera.run();
    assert_eq!(camera.world.awaited, [(waiting, true)]);
    let (listener, _) = camera.world.hub.listen(&door()).expect("it is live");
    for sequence in 0..100 {
        camera.send(sequence, OTHER);
        camera.pass(Duration::from_secs(1));
    }
    assert!(camera.is_live(), "somebody hears it");
    assert_eq!(camera.count("DESCRIBE"), 1);
    camera.world.hub.stop_listening(listener);
    for sequence in 100..120 {
        if camera.is_live() {
            camera.send(sequence, OTHER);
        }
        camera.pass(Duration::from_secs(1));
    }
    assert!(!camera.is_live(), "nobody hears it any more");
}

#[test]
fn a_listener_that_has_come_keeps_a_pull_when_the_last_reader_leaves() {
    let mut camera = Camera::new();
    camera.pulled(false, PullTransport::Auto);
    camera.describe();
    camera.run();
    camera.send(1, KEY);
    let (reader, _) = camera.world.read("alice/door", &TCP);
    let (listener, _) = camera.world.hub.listen(&door()).expect("it is live");
    let now = camera.world.now;
    camera.world.hub.handle_closed(now, reader);
    for sequence in 2..60 {
        camera.send(sequence, OTHER);
        camera.pass(Duration::from_secs(1));
    }
    assert!(camera.is_live());
    assert!(!camera.world.heard.contains(&(listener, None)));
}

#[test]
fn who_waits_for_a_pull_that_fails_or_takes_long_is_told_and_who_waits_for_none_is_not_kept() {
    let mut camera = Camera::new();
    let now = camera.world.now;
    assert_eq!(
        camera.world.hub.await_pull(now, &door()),
        None,
        "it is not pulled"
    );
    camera.is_there = false;
    camera.pulled(false, PullTransport::Tcp);
    let refused = camera.world.hub.await_pull(now, &door()).expect("it is pulled");
    camera.run();
    assert_eq!(camera.world.awaited, [(refused, false)]);
    camera.pass(Duration::from_secs(40));
    (camera.is_there, camera.answers) = (true, false);
    let now = camera.world.now;
    let late = camera.world.hub.await_pull(now, &door()).expect("it is pulled");
    camera.run();
    camera.pass(Duration::from_secs(9));
    assert_eq!(camera.world.awaited.len(), 1, "it may still come");
    camera.pass(Duration::from_secs(2));
    assert_eq!(camera.world.awaited[1..], [(late, false)]);
    let now = camera.world.now;
    let removed = camera.world.hub.await_pull(now, &door()).expect("it is pulled");
    camera.set(None);
    assert_eq!(camera.world.awaited[2..], [(removed, false)]);
}

#[test]
fn who_waits_no_longer_keeps_no_pull_and_takes_no_place_of_others() {
    let mut camera = Camera::new();
    camera.answers = false;
    camera.pulled(false, PullTransport::Tcp);
    let now = camera.world.now;
    let waiting = |camera: &mut Camera| camera.world.hub.await_pull(now, &door());
    let all: Vec<_> = (0..limits::MOUNT_LISTENERS)
        .map(|_| waiting(&mut camera).expect("it is pulled"))
        .collect();
    assert_eq!(waiting(&mut camera), None, "too many wait");
    camera.run();
    for listener in &all[1..] {
        camera.world.hub.stop_listening(*listener);
    }
    assert!(waiting(&mut camera).is_some_and(|last| {
        camera.world.hub.stop_listening(last);
        true
    }));
    let connection = camera.connection.expect("it is connected to");
    camera.pass(Duration::from_secs(2));
    camera.world.hub.stop_listening(all[0]);
    camera.pass(Duration::from_secs(60));
    assert!(camera.world.closed.contains(&connection), "nobody waits for it");
    assert!(camera.world.awaited.is_empty(), "nobody is told");
    assert_eq!(camera.dialled.len(), 1);
}
