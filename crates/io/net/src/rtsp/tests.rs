//! The thread on real sockets: what comes in pieces, what is not read, halves of tunnels, and how many may come.

use super::*;
use crate::media::MediaThread;
use crate::stream::ConnectionLimits;
use crate::tls::self_signed;
use ringpost_base::limits;
use ringpost_rtp::Header;
use ringpost_store::MemoryFiles;
use ringpost_stream::hub::{Ask, NotHeard, PullSettings, PullTransport};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

const LIMIT: Duration = Duration::from_secs(20);
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";
const URL: &str = "rtsp://h/alice/door";

/// A thread, and somebody who lets everybody do everything.
struct House {
    thread: Option<RtspThread>,
    media: Option<MediaThread>,
    address: SocketAddr,
    places: Arc<Places>,
    _folder: tempfile::TempDir,
}

impl House {
    fn new(ports: std::ops::RangeInclusive<u16>, places: ConnectionLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = self_signed(folder.path(), &["localhost".to_string()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (events, _) = async_channel::bounded(8);
        let wallclock = UnixTime::from_secs(1_700_000_000);
        let media = MediaThread::start(ports, wallclock, Rng::from_number(1), events).unwrap();
        let (questions_in, questions) = async_channel::bounded(64);
        let places = Places::new(places);
        let thread = RtspThread::start(RtspParts {
            listeners: vec![listener],
            tls_listeners: Vec::new(),
            tls: Tls::load(&cert, &key).unwrap(),
            authorities: Authorities::load(Some(&cert)).unwrap(),
            places: places.clone(),
            config: Config::default(),
            multicast: Multicast::default(),
            media: media.handle().clone(),
            wallclock,
            files: Arc::new(MemoryFiles::new(UnixTime::default)),
            rng: Rng::from_number(2),
            questions: questions_in,
        })
        .unwrap();
        let handle = thread.handle().clone();
        std::thread::spawn(move || {
            while let Ok(Question { id, ask, .. }) = questions.recv_blocking() {
                let answer = match ask {
                    Ask::List { .. } => Answer::Nothing,
                    Ask::Resolve { .. } => Answer::Addresses(Ok(vec![Ipv4Addr::LOCALHOST.into()])),
                    Ask::Authorize { mount, .. } if mount.as_str() == "slow" => {
                        std::thread::sleep(Duration::from_millis(300));
                        Answer::Yes
                    }
                    _ => Answer::Yes,
                };
                if handle
                    .messages
                    .send_blocking(Message::Answer(id, answer))
                    .is_err()
                {
                    return;
                }
                handle.waker.wake();
            }
        });
        House {
            thread: Some(thread),
            media: Some(media),
            address,
            places,
            _folder: folder,
        }
    }

    fn connect(&self) -> Wire {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_nodelay(true).unwrap();
        Wire {
            socket,
            came: Vec::new(),
            at_most: usize::MAX,
        }
    }

    /// Somebody publishes.
    fn publish(&self) -> Wire {
        let mut wire = self.connect();
        let length = SDP.len();
        wire.ask(&format!(
            "ANNOUNCE {URL} RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{SDP}"
        ));
        let set_up = wire.ask(&format!(
            "SETUP {URL}/streamid=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;interleaved=0-1;mode=record\r\n\r\n"
        ));
        let session = session(&set_up);
        wire.ask(&format!(
            "RECORD {URL} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n"
        ));
        wire
    }

    /// Who reads anything.
    fn readers(&self) -> usize {
        let handle = self.thread.as_ref().unwrap().handle();
        let (reply, mounts) = async_channel::bounded(1);
        handle.messages.send_blocking(Message::Mounts(reply)).unwrap();
        handle.waker.wake();
        let mounts = mounts.recv_blocking().unwrap();
        mounts.iter().map(|mount| mount.readers.len()).sum()
    }

    /// Somebody reads.
    fn read(&self) -> Wire {
        let mut wire = self.connect();
        wire.play();
        wire
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.thread.take().into_iter().for_each(RtspThread::stop);
        self.media.take().into_iter().for_each(MediaThread::stop);
    }
}

fn session(set_up: &str) -> String {
    let line = set_up.lines().find_map(|line| line.strip_prefix("Session: "));
    line.unwrap().split(';').next().unwrap().to_owned()
}

/// A client's end.
struct Wire {
    socket: TcpStream,
    came: Vec<u8>,
    /// What is read at a time.
    at_most: usize,
}

impl Wire {
    fn more(&mut self) {
        let mut bytes = vec![0; self.at_most.min(64 * 1024)];
        let read = self.socket.read(&mut bytes).unwrap();
        assert!(
            read > 0,
            "it ends behind {:?}",
            String::from_utf8_lossy(&self.came)
        );
        self.came.extend_from_slice(&bytes[..read]);
    }

    /// What the next response says, which is 200; it has no body but DESCRIBE's.
    fn response(&mut self) -> String {
        let head = self.head();
        assert!(head.starts_with("RTSP/1.0 200 OK\r\n"), "{head}");
        head
    }

    fn head(&mut self) -> String {
        let end = loop {
            match self.came.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.more(),
            }
        };
        String::from_utf8(self.came.drain(..end).collect()).unwrap()
    }

    /// Sets the stream up by UDP; the response's head.
    fn set_up_by_udp(&mut self) -> String {
        let request = format!(
            "SETUP {URL}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n"
        );
        self.socket.write_all(request.as_bytes()).unwrap();
        self.head()
    }

    fn ask(&mut self, request: &str) -> String {
        self.socket.write_all(request.as_bytes()).unwrap();
        self.response()
    }

    fn play(&mut self) {
        let set_up = self.ask(&format!(
            "SETUP {URL}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"
        ));
        let session = session(&set_up);
        self.ask(&format!(
            "PLAY {URL} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n"
        ));
    }

    /// The next RTP packet's number, and its payload; reports are passed over.
    fn packet(&mut self) -> (u32, Vec<u8>) {
        loop {
            let whole = match self.came[..] {
                [b'$', _, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
                [] | [b'$', ..] => 4,
                _ => panic!("no packet: {:?}", String::from_utf8_lossy(&self.came)),
            };
            if self.came.len() < whole || whole == 4 {
                self.more();
                continue;
            }
            let framed: Vec<u8> = self.came.drain(..whole).collect();
            if framed[1] == 0 {
                let packet = ringpost_rtp::Packet::parse(&framed[4..]).unwrap();
                let payload = packet.payload();
                return (
                    u32::from_be_bytes(payload[1..5].try_into().unwrap()),
                    payload.to_vec(),
                );
            }
        }
    }
}

/// A picture in one packet, with its number: every 25th is a key picture.
fn picture(number: u32, payload_bytes: usize) -> Vec<u8> {
    let header = Header {
        marker: true,
        payload_type: 96,
        sequence: number as u16,
        timestamp: number * 3_600,
        ssrc: 5,
    };
    let mut payload = vec![if number.is_multiple_of(25) { 0x65 } else { 0x41 }];
    payload.extend(number.to_be_bytes());
    payload.resize(payload_bytes.max(5), number as u8);
    let mut packet = Vec::new();
    header.write(&payload, &mut packet);
    let [high, low] = (packet.len() as u16).to_be_bytes();
    let mut framed = vec![b'$', 0, high, low];
    framed.extend(packet);
    framed
}

#[test]
fn what_comes_in_pieces_and_is_read_in_pieces_is_whole() {
    let house = House::new(42_100..=42_139, ConnectionLimits::default());
    let mut publisher = house.publish();
    let mut reader = house.connect();
    reader.at_most = 3;
    // Requests one octet at a time, the next behind them in the same write.
    let set_up = format!(
        "SETUP {URL}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\nOPTIONS * RT"
    );
    for octet in set_up.as_bytes() {
        reader.socket.write_all(&[*octet]).unwrap();
    }
    let session = session(&reader.response());
    let rest =
        format!("SP/1.0\r\nCSeq: 2\r\n\r\nPLAY {URL} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n");
    reader.socket.write_all(rest.as_bytes()).unwrap();
    assert!(reader.response().contains("CSeq: 2\r\n"));
    assert!(reader.response().contains("CSeq: 3\r\n"));
    // Packets that are cut anywhere, a request between two of them.
    let mut sent = Vec::new();
    for number in 0..100 {
        sent.extend(picture(number, 1 + (number as usize * 37) % 1_400));
        if number == 50 {
            sent.extend_from_slice(b"OPTIONS * RTSP/1.0\r\nCSeq: 77\r\n\r\n");
        }
    }
    for (turn, piece) in sent.chunks(701).enumerate() {
        publisher.socket.write_all(piece).unwrap();
        if turn % 8 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    for number in 0..100 {
        let (came, payload) = reader.packet();
        assert_eq!(came, number);
        assert_eq!(payload[..], picture(number, payload.len())[16..]);
    }
    assert!(publisher.response().contains("CSeq: 77\r\n"));
}

// Many programs close as soon as they have sent TEARDOWN, and rights are asked about elsewhere meanwhile.
#[test]
fn who_takes_leave_and_does_not_wait_for_the_answer_is_gone() {
    let house = House::new(42_060..=42_099, ConnectionLimits::default());
    let _publisher = house.publish();
    for resets in [false, true] {
        let mut reader = house.connect();
        let set_up = reader.ask(&format!(
            "SETUP {URL}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=42096-42097\r\n\r\n"
        ));
        let session = session(&set_up);
        reader.ask(&format!(
            "PLAY {URL} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n"
        ));
        assert_eq!(house.readers(), 1);
        let last = format!(
            "{}TEARDOWN {URL} RTSP/1.0\r\nCSeq: 4\r\nSession: {session}\r\n\r\n",
            // The first answer is one that nobody takes, and the next cannot be sent.
            "DESCRIBE rtsp://h/slow RTSP/1.0\r\nCSeq: 3\r\n\r\n".repeat(3)
        );
        reader.socket.write_all(last.as_bytes()).unwrap();
        if resets {
            // The thread has read it, and the end is an error.
            std::thread::sleep(Duration::from_millis(100));
            let socket = socket2::SockRef::from(&reader.socket);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(reader);
        // Far sooner than its session would time out.
        let until = std::time::Instant::now() + LIMIT;
        while house.readers() > 0 {
            assert!(std::time::Instant::now() < until, "resets: {resets}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn who_reads_nothing_holds_up_nobody_and_goes_on_with_whole_packets() {
    let house = House::new(42_140..=42_179, ConnectionLimits::default());
    let mut publisher = house.publish();
    publisher.socket.write_all(&picture(0, 100)).unwrap();
    let mut slow = house.connect();
    socket2::SockRef::from(&slow.socket)
        .set_recv_buffer_size(4_096)
        .unwrap();
    slow.play();
    let mut fast = house.read();
    // Some sixteen seconds of a usual camera, in as many tenths.
    let last = 6_000;
    let feeding = std::thread::spawn(move || {
        for number in 1..=last {
            publisher.socket.write_all(&picture(number, 1_300)).unwrap();
            if number % 50 == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        publisher
    });
    let (first, _) = fast.packet();
    for number in first + 1..=last {
        assert_eq!(fast.packet().0, number);
    }
    let mut publisher = feeding.join().unwrap();
    // More than the sockets take has passed the slow one by: it begins again with a key picture, and nothing is torn.
    let mut before = slow.packet().0;
    let mut skips = 0;
    publisher.socket.write_all(&picture(last + 25, 100)).unwrap();
    while before < last + 25 {
        let (number, payload) = slow.packet();
        if number != before + 1 {
            assert_eq!(payload[0], 0x65, "{number} behind {before}");
            skips += 1;
        }
        before = number;
    }
    assert!(skips > 0, "it was slow");
}

#[test]
fn answers_that_nobody_reads_stop_the_reading_and_none_is_lost() {
    let house = House::new(42_180..=42_199, ConnectionLimits::default());
    let mut wire = house.connect();
    socket2::SockRef::from(&wire.socket)
        .set_send_buffer_size(64 * 1024)
        .unwrap();
    wire.socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut asked = 0;
    let mut half: Vec<u8> = Vec::new();
    // Until nothing more is taken.
    let padding = "x".repeat(400);
    while asked < 200_000 {
        let request = format!("OPTIONS * RTSP/1.0\r\nCSeq: {asked}\r\nUser-Agent: {padding}\r\n\r\n");
        asked += 1;
        let mut rest = request.as_bytes();
        while !rest.is_empty() {
            match wire.socket.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) => {
                    assert!(matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ));
                    half = rest.to_vec();
                    break;
                }
            }
        }
        if !half.is_empty() {
            break;
        }
    }
    assert!(!half.is_empty(), "{asked} requests are taken, and not one answer");
    // Others are served.
    house.connect().ask("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    let mut writing = wire.socket.try_clone().unwrap();
    writing.set_write_timeout(None).unwrap();
    let rest = std::thread::spawn(move || writing.write_all(&half).unwrap());
    for cseq in 0..asked {
        let response = wire.response();
        assert!(
            response.contains(&format!("CSeq: {cseq}\r\n")),
            "{cseq}: {response}"
        );
    }
    rest.join().unwrap();
}

#[test]
fn halves_of_a_tunnel_find_each_other_whatever_pieces_they_come_in() {
    let house = House::new(42_200..=42_219, ConnectionLimits::default());
    let mut publisher = house.publish();
    publisher.socket.write_all(&picture(0, 100)).unwrap();
    let head = |method: &str, cookie: &str| {
        format!(
            "{method} /alice/door HTTP/1.0\r\nx-sessioncookie: {cookie}\r\nContent-Type: application/x-rtsp-tunnelled\r\n"
        )
    };
    let mut get = house.connect();
    for piece in format!(
        "{}Accept: application/x-rtsp-tunnelled\r\n\r\n",
        head("GET", "one")
    )
    .as_bytes()
    .chunks(5)
    {
        get.socket.write_all(piece).unwrap();
    }
    let accepted = |wire: &mut Wire| loop {
        if let Some(end) = wire.came.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = wire.came.drain(..end + 4).collect();
            return String::from_utf8(head).unwrap();
        }
        wire.more();
    };
    assert!(accepted(&mut get).starts_with("HTTP/1.0 200"));
    // Somebody else's other half, and a second half of the same.
    for (method, cookie, status) in [("POST", "two", "404"), ("GET", "one", "400")] {
        let mut other = house.connect();
        let request = format!("{}Content-Length: 32767\r\n\r\n", head(method, cookie));
        other.socket.write_all(request.as_bytes()).unwrap();
        let refused = accepted(&mut other);
        assert!(
            refused.split(' ').nth(1) == Some(status),
            "{method} {cookie}: {refused}"
        );
    }
    let mut post = house.connect();
    let request = format!("{}Content-Length: 32767\r\n\r\n", head("POST", "one"));
    post.socket.write_all(request.as_bytes()).unwrap();
    let mut say = |text: &str, piece: usize| {
        for piece in base64(text.as_bytes()).as_bytes().chunks(piece) {
            post.socket.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    say(
        &format!(
            "SETUP {URL}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"
        ),
        7,
    );
    let session = session(&get.response());
    say(
        &format!("PLAY {URL} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n"),
        1_000,
    );
    get.response();
    publisher.socket.write_all(&picture(25, 100)).unwrap();
    assert_eq!((get.packet().0, get.packet().0), (0, 25));
    // What is no base64 ends both.
    say("", 1);
    post.socket.write_all(b"!!!!").unwrap();
    let mut rest = Vec::new();
    get.socket.read_to_end(&mut rest).unwrap();
    post.socket.read_to_end(&mut rest).unwrap();
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0u32, |bits, octet| bits << 8 | u32::from(*octet))
            << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > three.len() { '=' } else { letter.into() });
        }
    }
    text
}

#[test]
fn one_address_takes_no_more_places_than_it_may_and_gives_them_back() {
    let limits = ConnectionLimits {
        per_address: 3,
        ..ConnectionLimits::default()
    };
    let house = House::new(42_220..=42_239, limits);
    let ask = |wire: &mut Wire| wire.ask("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    let mut wires: Vec<Wire> = (0..3).map(|_| house.connect()).collect();
    wires.iter_mut().for_each(|wire| drop(ask(wire)));
    let mut refused = house.connect();
    assert_eq!(
        refused.socket.read(&mut [0; 8]).unwrap(),
        0,
        "it is closed at once"
    );
    assert_eq!(house.places.refused(), 1);
    wires.pop();
    // Its end is seen a moment later.
    let until = std::time::Instant::now() + LIMIT;
    loop {
        let mut next = house.connect();
        let written = next.socket.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        if written.is_ok() && next.socket.read(&mut [0; 1]).is_ok_and(|read| read == 1) {
            return;
        }
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
}

// Whatever streams want, calls find ports.
#[test]
fn streams_by_udp_have_half_of_the_media_ports_at_most_and_calls_the_others() {
    // Eight pairs: the first port and the last have no partner.
    let house = House::new(42_601..=42_618, ConnectionLimits::default());
    let calls = house.media.as_ref().unwrap().handle().clone();
    let open_calls = |limit: usize| -> Vec<_> {
        let opened = std::iter::from_fn(|| calls.open("127.0.0.1".parse().unwrap()).ok());
        opened.take(limit).collect()
    };
    let _publisher = house.publish();
    // Ports that calls have are not counted among the streams'.
    let first = open_calls(3);
    let mut readers: Vec<(Wire, String)> = (0..7)
        .map(|_| {
            let mut wire = house.connect();
            let head = wire.set_up_by_udp();
            (wire, head)
        })
        .collect();
    for (place, (_, head)) in readers.iter().enumerate() {
        let expected = if place < 4 {
            "RTSP/1.0 200 "
        } else {
            "RTSP/1.0 461 "
        };
        assert!(head.starts_with(expected), "reader {place}: {head}");
    }
    // Who was refused may have it within the connection.
    readers.last_mut().unwrap().0.play();
    assert_eq!(
        (first.len(), open_calls(8).len()),
        (3, 1),
        "half is left to calls"
    );
    // One that goes makes room for one.
    let (mut gone, head) = readers.remove(0);
    gone.ask(&format!(
        "TEARDOWN {URL} RTSP/1.0\r\nCSeq: 2\r\nSession: {}\r\n\r\n",
        session(&head)
    ));
    let mut next = house.connect();
    let head = next.set_up_by_udp();
    assert!(head.starts_with("RTSP/1.0 200 "), "{head}");
    let head = house.connect().set_up_by_udp();
    assert!(head.starts_with("RTSP/1.0 461 "), "{head}");
    // RFC 2326 §12.39: any of those that are named will do.
    let head = house.connect().ask(&format!(
        "SETUP {URL}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n\
         Transport: RTP/AVP;unicast;client_port=42096-42097,RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    ));
    assert!(head.contains("interleaved=0-1"), "{head}");
}

#[test]
fn who_waits_for_a_mount_and_hangs_up_takes_no_place_of_others() {
    let house = House::new(42_300..=42_319, ConnectionLimits::default());
    let camera = TcpListener::bind("127.0.0.1:0").unwrap();
    let handle = house.thread.as_ref().unwrap().handle();
    let pull = PullSettings {
        url: format!("rtsp://{}/", camera.local_addr().unwrap())
            .parse()
            .unwrap(),
        is_always: false,
        transport: PullTransport::Tcp,
    };
    let settings = MountSettings {
        pull: Some(pull),
        ..MountSettings::default()
    };
    let door: MountName = "alice/door".parse().unwrap();
    let say = |message| {
        handle.messages.send_blocking(message).unwrap();
        handle.waker.wake();
    };
    say(Message::Settings(vec![(
        door.as_str().parse().unwrap(),
        settings,
    )]));
    for _ in 0..limits::MOUNT_LISTENERS {
        let (reply, _) = async_channel::bounded(1);
        say(Message::Listen(door.clone(), reply));
    }
    let (reply, heard) = async_channel::bounded(1);
    say(Message::Listen(door, reply));
    drop(camera.accept().unwrap());
    drop(camera);
    let why = heard.recv_blocking().unwrap().map(|_| ()).unwrap_err();
    assert_eq!(why, NotHeard::NotPulled, "it was waited for");
}
