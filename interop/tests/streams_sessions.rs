//! Sessions that go on at another connection than the one that set them up.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use md5::{Digest, Md5};
use ringpost_interop::{DOMAIN, Device, Options, RtspReply, RtspSocket, Server, listed_stream, wait_for};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n";

fn md5(text: &str) -> String {
    Md5::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Asks for the description of a mount as who a device is, and says so when it is asked: the answer behind that.
fn log_in(server: &Server, socket: &mut RtspSocket, device: &Device, path: &str) -> RtspReply {
    let asked = socket.ask("DESCRIBE", path, "", "").unwrap();
    assert_eq!(asked.status, 401, "{}", asked.head);
    let challenge = asked.head.lines().find(|line| line.contains("algorithm=MD5"));
    let nonce = challenge.and_then(|line| line.split("nonce=\"").nth(1)?.split('"').next());
    let nonce = nonce.unwrap_or_else(|| panic!("no nonce for MD5: {}", asked.head));
    let (user, uri) = (
        &device.username,
        format!("rtsp://{}:8554{path}", server.address()),
    );
    let keys = md5(&format!("{user}:{DOMAIN}:{}", device.secret));
    let of_request = md5(&format!("DESCRIBE:{uri}"));
    let response = md5(&format!("{keys}:{nonce}:00000001:typed:auth:{of_request}"));
    let credentials = format!(
        "Authorization: Digest username=\"{user}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"typed\"\r\n"
    );
    socket.ask("DESCRIBE", path, &credentials, "").unwrap()
}

/// Key pictures, fifty a second until it is dropped.
struct Camera {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Camera {
    fn begin(server: &Server, path: &str, device: Option<&Device>) -> Camera {
        let mut socket = RtspSocket::open(server).unwrap();
        if let Some(device) = device {
            log_in(server, &mut socket, device, path);
        }
        let track = format!("{path}/trackID=0");
        assert_eq!(socket.announce(path, SDP).unwrap().status, 200);
        assert_eq!(socket.set_up(&track, 0, ";mode=record").unwrap().status, 200);
        assert_eq!(socket.ask("RECORD", path, "", "").unwrap().status, 200);
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        let thread = std::thread::spawn(move || {
            for number in 0u16.. {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let mut packet = vec![b'$', 0, 0, 22, 0x80, 0x80 | 96];
                packet.extend(number.to_be_bytes());
                packet.extend((u32::from(number) * 1_800).to_be_bytes());
                packet.extend([1, 2, 3, 4, 0x65, 0x88, 1, 2, 3, 4, 5, 6, 7, 8]);
                socket.send(&packet).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let thread = Some(thread);
        Camera { is_over, thread }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// Two sockets of neighbouring ports, the first one even.
fn pair() -> (UdpSocket, UdpSocket) {
    for _ in 0..1_000 {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1))
        {
            return (rtp, rtcp);
        }
    }
    panic!("no two ports of which one is even");
}

/// Packets come that were not sent yet when this is called.
fn assert_heard(rtp: &UdpSocket, when: &str) {
    drain(rtp, Duration::from_millis(1));
    rtp.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = [0; 2_048];
    for _ in 0..5 {
        rtp.recv(&mut buffer)
            .unwrap_or_else(|error| panic!("{when}: {error}"));
    }
}

/// Takes what there is until nothing comes for so long.
fn drain(rtp: &UdpSocket, quiet: Duration) {
    rtp.set_read_timeout(Some(quiet)).unwrap();
    let mut buffer = [0; 2_048];
    while rtp.recv(&mut buffer).is_ok() {}
}

/// Who comes from another of this machine's addresses.
fn open_from(server: &Server, from: Ipv4Addr) -> RtspSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    let to = SocketAddr::from((server.address(), 8554));
    socket.connect(&to.into()).unwrap();
    RtspSocket::over(server, socket.into()).unwrap()
}

/// A reader by UDP, its session, and where its packets come.
fn read(first: &mut RtspSocket, path: &str) -> (String, UdpSocket, UdpSocket) {
    let (rtp, rtcp) = pair();
    let port = rtp.local_addr().unwrap().port();
    let transport = format!("Transport: RTP/AVP;unicast;client_port={port}-{}\r\n", port + 1);
    let set_up = first.ask("SETUP", &format!("{path}/trackID=0"), &transport, "");
    let set_up = set_up.unwrap();
    assert_eq!(set_up.status, 200, "{}", set_up.head);
    let played = first.ask("PLAY", path, "", "").unwrap();
    assert_eq!(played.status, 200, "{}", played.head);
    assert_heard(&rtp, "at the first connection");
    (first.session().unwrap().to_owned(), rtp, rtcp)
}

/// The session goes on at `second`, to its end, while `first` is open.
fn go_on(server: &Server, first: &mut RtspSocket, second: &mut RtspSocket, path: &str, rtp: &UdpSocket) {
    let mut say = |method: &str| {
        let answer = second.ask(method, path, "", "").unwrap();
        assert_eq!(answer.status, 200, "{method}: {}", answer.head);
    };
    say("GET_PARAMETER");
    assert_heard(rtp, "at the second connection");
    say("PAUSE");
    // What was under way has come when nothing does for longer than between two pictures.
    drain(rtp, Duration::from_millis(500));
    say("PLAY");
    assert_heard(rtp, "after the pause");
    assert_eq!(first.ask("OPTIONS", path, "", "").unwrap().status, 200);
    say("TEARDOWN");
    let mount = path.trim_start_matches('/');
    let has_reader = || {
        let lines = listed_stream(server, mount);
        lines.iter().any(|line| line.starts_with("  reader\t"))
    };
    assert!(wait_for(LIMIT, || !has_reader()), "the reader stays");
    assert_eq!(first.ask("OPTIONS", path, "", "").unwrap().status, 200);
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_over_udp_goes_on_at_another_connection_of_its_user_and_of_nobody_else() {
    let server = Server::start();
    let (account, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let other = server.device(&account, "camera");
    let path = "/alice/door";
    let _camera = Camera::begin(&server, path, Some(&other));
    let mut first = RtspSocket::open(&server).unwrap();
    assert_eq!(log_in(&server, &mut first, &alice, path).status, 200);
    let (session, rtp, _rtcp) = read(&mut first, path);

    let mut stranger = RtspSocket::open(&server).unwrap();
    let mut bobs = RtspSocket::open(&server).unwrap();
    assert_eq!(log_in(&server, &mut bobs, &bob, path).status, 403);
    for (who, socket, status) in [("a stranger", &mut stranger, 401), ("bob", &mut bobs, 454)] {
        socket.take_up(&session);
        for method in ["GET_PARAMETER", "PAUSE", "PLAY", "TEARDOWN"] {
            let answer = socket.ask(method, path, "", "").unwrap();
            assert_eq!(answer.status, status, "{method} by {who}: {}", answer.head);
        }
    }
    assert_heard(&rtp, "behind who may not");
    assert_eq!(first.ask("GET_PARAMETER", path, "", "").unwrap().status, 200);

    let mut second = RtspSocket::open(&server).unwrap();
    assert_eq!(log_in(&server, &mut second, &alice, path).status, 200);
    second.take_up(&session);
    go_on(&server, &mut first, &mut second, path, &rtp);
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_of_nobody_in_particular_goes_on_from_its_address_alone() {
    let server = Server::start_with(&Options {
        streams: "mounts.\"lobby/*\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n".into(),
        ..Options::default()
    });
    let path = "/lobby/door";
    let _camera = Camera::begin(&server, path, None);
    let mut first = RtspSocket::open(&server).unwrap();
    assert_eq!(first.ask("DESCRIBE", path, "", "").unwrap().status, 200);
    let (session, rtp, _rtcp) = read(&mut first, path);

    let mut elsewhere = open_from(&server, Ipv4Addr::new(127, 0, 0, 77));
    elsewhere.take_up(&session);
    for method in ["GET_PARAMETER", "PAUSE", "PLAY", "TEARDOWN"] {
        let answer = elsewhere.ask(method, path, "", "").unwrap();
        assert_eq!(answer.status, 454, "{method}: {}", answer.head);
    }
    assert_heard(&rtp, "behind who comes from elsewhere");

    let mut second = RtspSocket::open(&server).unwrap();
    second.take_up(&session);
    go_on(&server, &mut first, &mut second, path, &rtp);
}
