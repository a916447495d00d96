//! Streams' clients that mean no good, and cameras that mean well: the server answers or closes, and others are served meanwhile.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Child, Ffmpeg, Options, RtspSocket, Server, annex_b_units, client, run, wait_for};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
const OPEN: &str = "mounts.\"lobby/**\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n";

fn server() -> Server {
    Server::start_with(&Options {
        streams: OPEN.into(),
        ..Options::default()
    })
}

fn url(server: &Server, mount: &str) -> String {
    format!("rtsp://{}:8554/{mount}", server.address())
}

/// A description of one stream of H.264.
const PLAIN: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n";

/// A stream that goes on, and a reader of it whose packets are looked at.
struct Others {
    publisher: Child,
    reader: RtspSocket,
}

impl Others {
    fn begin(server: &Server, ffmpeg: &Ffmpeg) -> Others {
        let sample = ffmpeg.sample("others.mp4", 90);
        let mut publisher = ffmpeg.publish("others", &sample, "tcp", &url(server, "lobby/others"));
        let is_live = wait_for(LIMIT, || {
            assert!(!publisher.has_ended(), "{}", publisher.output());
            server.command(&["stream", "list"]).contains("lobby/others")
        });
        assert!(is_live, "{}", publisher.output());
        let mut reader = RtspSocket::open(server).unwrap();
        let played = reader.play("/lobby/others", 2, "").unwrap();
        assert_eq!(played.status, 200, "{}", played.head);
        Others { publisher, reader }
    }

    /// What comes next has only just been sent: packets go on, and a newcomer is served.
    fn assert_served(&mut self, server: &Server, when: &str) {
        assert!(!self.publisher.has_ended(), "{when}: {}", self.publisher.output());
        let began = Instant::now();
        // More than waits anywhere.
        let until = began + Duration::from_millis(700);
        let (mut packets, mut longest, mut last) = (0, Duration::ZERO, began);
        while Instant::now() < until {
            self.reader
                .packet()
                .unwrap_or_else(|error| panic!("{when}: {error}"));
            packets += 1;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        assert!(
            packets >= 10 && longest < Duration::from_secs(2),
            "{when}: {packets} packets, {longest:?}"
        );
        let mut newcomer = RtspSocket::open(server).unwrap();
        let played = newcomer.play("/lobby/others", 2, "").unwrap();
        assert_eq!(played.status, 200, "{when}: {}", played.head);
        newcomer
            .packet()
            .unwrap_or_else(|error| panic!("{when}: {error}"));
    }
}

fn connect(server: &Server, port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from((server.address(), port))).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Sends all that is taken of it, and gives what is answered until the server closes or nothing comes for three seconds, and whether it
/// has closed.
fn answers(server: &Server, bytes: &[u8]) -> (String, bool) {
    let mut stream = connect(server, 8554);
    let mut writer = stream.try_clone().unwrap();
    let bytes = bytes.to_vec();
    let sender = std::thread::spawn(move || drop(writer.write_all(&bytes)));
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let (mut said, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let is_closed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(error) => break !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    };
    let _ = stream.shutdown(std::net::Shutdown::Both);
    sender.join().unwrap();
    (String::from_utf8_lossy(&said).into_owned(), is_closed)
}

fn resident_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

// Guards pitfalls RTSP 5, 7 and 9: what is pipelined is answered in order, nobody sends us against somebody else, and no name
// leaves its place.
#[test]
fn hostile_requests_are_answered_or_their_connection_closes_and_others_read_on() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let mut others = Others::begin(&server, &ffmpeg);
    let before = resident_mib(&server);

    let description = format!("{PLAIN}{}", "a=x:y\r\n".repeat(5_000));
    let announces = |count: usize| -> String {
        let all = (1..=count).map(|cseq| {
            let (at, length) = (url(&server, "alice/door"), description.len());
            format!(
                "ANNOUNCE {at} RTSP/1.0\r\nCSeq: {cseq}\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{description}"
            )
        });
        all.collect()
    };
    let (said, is_closed) = answers(&server, announces(200).as_bytes());
    let numbers: Vec<u32> = said
        .lines()
        .filter_map(|line| line.strip_prefix("CSeq: ")?.trim().parse().ok())
        .collect();
    assert!(
        numbers.iter().copied().eq(1..=numbers.len() as u32),
        "{numbers:?}"
    );
    assert!(
        numbers.len() == 200 || is_closed,
        "{} answers, and it is open",
        numbers.len()
    );
    assert!(said.matches("RTSP/1.0 401 ").count() == numbers.len(), "{said}");
    others.assert_served(&server, "behind 200 pipelined ANNOUNCEs");

    let at = url(&server, "lobby/x");
    let lines = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let huge = "x".repeat(4 << 20);
    for (what, request, status) in [
        (
            "a long line",
            format!("DESCRIBE {at} RTSP/1.0\r\nCSeq: 1\r\nX: {huge}\r\n\r\n"),
            "400",
        ),
        (
            "a long URL",
            format!("DESCRIBE {at}{huge} RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
            "4",
        ),
        ("no end of a line", huge.clone(), "414"),
        (
            "many lines",
            format!("DESCRIBE {at} RTSP/1.0\r\nCSeq: 1\r\n{}\r\n", lines(50_000)),
            "400",
        ),
        (
            "a long body",
            format!("ANNOUNCE {at} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4294967295\r\n\r\n{huge}"),
            "413",
        ),
        (
            "a negative body",
            format!("ANNOUNCE {at} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n"),
            "400",
        ),
        ("something else", "\0\u{1}\u{2}\r\n\r\n\r\n\r\n".into(), "400"),
    ] {
        let (said, is_closed) = answers(&server, request.as_bytes());
        // Who sends more than is read may lose the answer with the connection.
        let is_told =
            said.starts_with(&format!("RTSP/1.0 {status}")) || (said.is_empty() && request.len() > 1 << 16);
        assert!(is_told && is_closed, "{what}: {is_closed}, {said:?}");
    }
    others.assert_served(&server, "behind endless requests");

    for transport in [
        "RTP/AVP;unicast;client_port=5000-5001;destination=192.0.2.1",
        "RTP/AVP;unicast;destination=192.0.2.1;client_port=5000-5001",
        "RTP/AVP;multicast;destination=239.1.2.3;port=5000-5001",
    ] {
        let mut socket = RtspSocket::open(&server).unwrap();
        let lines = format!("Transport: {transport}\r\n");
        let refused = socket
            .ask("SETUP", "/lobby/others/trackID=0", &lines, "")
            .unwrap();
        let expected: &[u16] = if transport.contains("multicast") {
            &[403, 461]
        } else {
            &[403]
        };
        assert!(
            expected.contains(&refused.status),
            "{transport}: {}",
            refused.head
        );
    }

    for name in [
        "..",
        "../..",
        "lobby/../../etc/passwd",
        "lobby/..",
        "%2e%2e/%2e%2e/etc/passwd",
        "lobby/%2e%2e%2f%2e%2e%2fx",
        "lobby/.hidden",
        "lobby//x",
        "lobby/x%00",
        "lobby/a%5cb",
        "lobby/%c3%28",
        "lobby/x y",
        "",
        "lobby/x%252e%252e",
    ] {
        for method in ["DESCRIBE", "ANNOUNCE"] {
            let mut socket = RtspSocket::open(&server).unwrap();
            let answer = match method {
                "ANNOUNCE" => socket.announce(&format!("/{name}"), PLAIN),
                _ => socket.ask(method, &format!("/{name}"), "", ""),
            };
            let Ok(answer) = answer else { continue };
            assert!(
                (400..500).contains(&answer.status),
                "{method} {name}: {}",
                answer.head
            );
        }
    }
    others.assert_served(&server, "behind odd names");

    // Packets on channels that nobody set up, before and within a session, and one that never ends.
    let mut packets = Vec::new();
    for channel in 0..=255 {
        packets.extend([b'$', channel, 0, 4, 0x80, 96, 0, 1]);
        packets.extend([b'$', channel, 0, 0]);
    }
    let mut socket = RtspSocket::open(&server).unwrap();
    socket.send(&packets).unwrap();
    assert_eq!(
        socket.ask("OPTIONS", "/lobby/others", "", "").unwrap().status,
        200
    );
    assert_eq!(socket.play("/lobby/others", 2, "").unwrap().status, 200);
    socket.send(&packets).unwrap();
    assert_eq!(
        socket.ask("OPTIONS", "/lobby/others", "", "").unwrap().status,
        200
    );
    socket.packet().unwrap();
    socket.send(&[b'$', 9, 0xff, 0xff, 0]).unwrap();
    others.assert_served(&server, "behind strange channels");

    let head = "HTTP/1.0\r\nx-sessioncookie: abc\r\nContent-Type: application/x-rtsp-tunnelled\r\nContent-Length: 32767\r\n\r\n";
    for (what, request) in [
        ("a POST without a GET", format!("POST /lobby/others {head}!!!!")),
        (
            "a GET for something else",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        ),
        ("a long GET", format!("GET /{huge} HTTP/1.0\r\n\r\n")),
    ] {
        let (said, is_closed) = answers(&server, request.as_bytes());
        assert!(
            is_closed && (said.is_empty() || said.starts_with("HTTP/1.")),
            "{what}: {is_closed}, {said}"
        );
    }
    others.assert_served(&server, "behind broken tunnels");
    let grown = resident_mib(&server).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more");
}

#[test]
fn half_open_connections_cost_others_nothing_and_are_ended() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let mut others = Others::begin(&server, &ffmpeg);
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
            .unwrap()
            .count()
    };
    let before = files();
    let beginnings: [(u16, &[u8]); 6] = [
        (8554, b""),
        (8554, b"DESCRIBE rtsp://x/lob"),
        (
            8554,
            b"ANNOUNCE rtsp://x/lobby/h RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 900\r\n\r\nv=0",
        ),
        (8554, b"$\x00\xff\xff"),
        (8554, b"GET /lobby/others HTTP/1.0\r\nx-sess"),
        (8322, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2]),
    ];
    let mut held: Vec<TcpStream> = (0..150)
        .map(|n: usize| {
            let (port, beginning) = beginnings[n % beginnings.len()];
            let mut stream = connect(&server, port);
            stream.write_all(beginning).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    others.assert_served(&server, "beside 150 half-open connections");
    let is_closed = |stream: &mut TcpStream| {
        let mut said = [0; 1_024];
        loop {
            match stream.read(&mut said) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    };
    let until = Instant::now() + Duration::from_secs(75);
    while !held.is_empty() && Instant::now() < until {
        held.retain_mut(|stream| !is_closed(stream));
        // Who does not read would be one that is too slow.
        others.assert_served(&server, "while they are ended");
    }
    assert!(held.is_empty(), "{} are open still", held.len());
    assert!(
        wait_for(LIMIT, || files() <= before + 2),
        "{} files, and {before} before",
        files()
    );
}

/// Sends pictures as a camera does within its connection, over and over, until it is dropped.
struct Camera {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Camera {
    /// One that has been let in: it sends on channel 0.
    fn begin(mut socket: RtspSocket, pictures: Arc<Vec<Vec<Vec<u8>>>>, clock_step: u32) -> Camera {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut sequence, mut timestamp) = (1_u16, 1_000_u32);
            for picture in pictures.iter().cycle() {
                for (index, unit) in picture.iter().enumerate() {
                    let marker = if index + 1 == picture.len() { 0x80 } else { 0 };
                    let mut packet = vec![b'$', 0];
                    packet.extend(u16::try_from(unit.len() + 12).unwrap().to_be_bytes());
                    packet.extend([0x80, marker | 96]);
                    packet.extend(sequence.to_be_bytes());
                    packet.extend(timestamp.to_be_bytes());
                    packet.extend([0, 0, 0, 7]);
                    packet.extend(unit);
                    sequence = sequence.wrapping_add(1);
                    if told.load(Ordering::Relaxed) || socket.send(&packet).is_err() {
                        return;
                    }
                }
                timestamp = timestamp.wrapping_add(clock_step);
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        Camera {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(|thread| thread.join());
    }
}

/// A file's pictures: the NAL units of each, parameter sets before the key ones.
fn pictures_of(ffmpeg: &Ffmpeg, sample: &Path) -> Vec<Vec<Vec<u8>>> {
    let target = sample.with_extension("h264");
    let (from, to) = (sample.display().to_string(), target.display().to_string());
    let made = ffmpeg.run(
        "pictures",
        &[
            "-i",
            &from,
            "-map",
            "0:v",
            "-c",
            "copy",
            "-bsf:v",
            "h264_mp4toannexb,filter_units=pass_types=1-5|7|8",
            "-f",
            "h264",
            &to,
        ],
        LIMIT,
    );
    assert!(made.succeeded(), "{}", made.output);
    let mut pictures = vec![Vec::new()];
    for unit in annex_b_units(&std::fs::read(target).unwrap()) {
        let is_last = (1..=5).contains(&(unit[0] & 0x1f));
        pictures.last_mut().unwrap().push(unit);
        if is_last {
            pictures.push(Vec::new());
        }
    }
    pictures.pop();
    pictures
}

/// A camera: what it is called, what it describes, the URL that it sets its stream up by, behind the mount's, and how its clock counts.
struct Fault {
    name: &'static str,
    sdp: String,
    control: &'static str,
    clock_step: u32,
    /// What the log calls it, where it has a name.
    told: &'static str,
}

fn faults() -> Vec<Fault> {
    let fault = |name, sdp: String, control, told| Fault {
        name,
        sdp,
        control,
        clock_step: 3_600,
        told,
    };
    let with = |from: &str, to: &str| {
        assert!(PLAIN.contains(from));
        PLAIN.replacen(from, to, 1)
    };
    vec![
        fault("plain", PLAIN.into(), "/trackID=0", ""),
        fault("no-version", with("v=0\r\n", ""), "/trackID=0", "NoVersion"),
        fault(
            "no-origin",
            with("o=- 1 1 IN IP4 127.0.0.1\r\n", ""),
            "/trackID=0",
            "Origin",
        ),
        fault(
            "odd-origin",
            with("o=- 1 1 IN IP4 127.0.0.1", "o=camera"),
            "/trackID=0",
            "Origin",
        ),
        fault(
            "odd-connection",
            with("c=IN IP4 0.0.0.0", "c=IN IP4"),
            "/trackID=0",
            "Connection",
        ),
        fault("odd-time", with("t=0 0", "t=now"), "/trackID=0", "Time"),
        fault(
            "odd-media",
            format!("{PLAIN}m=audio\r\na=control:trackID=1\r\n"),
            "/trackID=0",
            "Media",
        ),
        fault(
            "odd-line",
            with("s=x\r\n", "s=x\r\nnonsense\r\n"),
            "/trackID=0",
            "Line",
        ),
        fault("no-name", with("s=x\r\n", ""), "/trackID=0", ""),
        fault("bare-newlines", PLAIN.replace("\r\n", "\n"), "/trackID=0", ""),
        Fault {
            clock_step: 3_600,
            ..fault(
                "odd-clock",
                with("H264/90000", "H264/9000"),
                "/trackID=0",
                "ClockRate",
            )
        },
        fault("lower-case", with("H264/90000", "h264/90000"), "/trackID=0", ""),
        fault(
            "onvif-metadata",
            format!("{PLAIN}m=application 0 RTP/AVP 107\r\na=control:trackID=1\r\n"),
            "/trackID=0",
            "Unexplained",
        ),
        fault(
            "a-data-channel-first",
            with(
                "m=video",
                "m=application 0 TCP/BINARY *\r\na=control:data\r\nm=video",
            ),
            "/trackID=0",
            "NotRtp",
        ),
        fault(
            "tcp-protocol",
            with("RTP/AVP 96", "RTP/AVP/TCP 96"),
            "/trackID=0",
            "",
        ),
        fault(
            "whole-control",
            with("a=control:trackID=0", "a=control:rtsp://camera.local/live/0"),
            "=rtsp://camera.local/live/0",
            "",
        ),
        fault(
            "path-control",
            with("a=control:trackID=0", "a=control:/cam/realmonitor/trackID=0"),
            "=/cam/realmonitor/trackID=0",
            "",
        ),
        fault(
            "deep-control",
            with("a=control:trackID=0", "a=control:live/video?x=1"),
            "/live/video?x=1",
            "",
        ),
        fault("star-control", with("a=control:trackID=0", "a=control:*"), "", ""),
        fault("no-control", with("a=control:trackID=0\r\n", ""), "/whatever", ""),
        fault(
            "slash-control",
            with("a=control:trackID=0", "a=control:trackID=0/"),
            "/trackID=0",
            "",
        ),
    ]
}

// Guards pitfalls RTSP 3 and 8: what cameras describe wrongly is read all the same, and the log says what was wrong.
#[test]
fn cameras_with_every_known_fault_are_read_and_told_of() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let Some(probe) = client("ffprobe") else { return };
    let pictures = Arc::new(pictures_of(&ffmpeg, &ffmpeg.sample("sample.mp4", 4)));
    let (mut cameras, mut failures) = (Vec::new(), Vec::new());
    for fault in faults() {
        let Fault {
            name,
            sdp,
            control,
            clock_step,
            told,
        } = fault;
        let path = format!("/lobby/{name}");
        let mut socket = RtspSocket::open(&server).unwrap();
        let announced = socket.announce(&path, &sdp).unwrap();
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
        let set_up = match control.strip_prefix('=') {
            Some(whole) if whole.contains("://") => {
                let request = socket.request("SETUP", "", transport, "");
                let line = request.find("\r\n").unwrap();
                let request = format!("SETUP {whole} RTSP/1.0{}", &request[line..]);
                socket.send(request.as_bytes()).unwrap();
                socket.reply().unwrap()
            }
            Some(whole) => socket.ask("SETUP", whole, transport, "").unwrap(),
            None => socket
                .ask("SETUP", &format!("{path}{control}"), transport, "")
                .unwrap(),
        };
        let recorded = socket.ask("RECORD", &path, "Range: npt=now-\r\n", "").unwrap();
        let statuses = [announced.status, set_up.status, recorded.status];
        if statuses != [200; 3] {
            failures.push(format!("{name}: {statuses:?} {}", announced.body));
            continue;
        }
        if !told.is_empty()
            && !wait_for(LIMIT, || {
                server
                    .log()
                    .lines()
                    .any(|line| line.contains(&path[1..]) && line.contains(told))
            })
        {
            failures.push(format!("{name}: the log says nothing of {told}"));
        }
        cameras.push((name, Camera::begin(socket, pictures.clone(), clock_step)));
    }
    for (name, camera) in cameras {
        let mut command = Command::new(&probe);
        command.args(["-v", "error", "-rtsp_transport", "tcp", "-show_entries"]);
        command.args([
            "stream=codec_name,width,height",
            "-of",
            "csv",
            &url(&server, &format!("lobby/{name}")),
        ]);
        let probed = run(server.folder(), name, &mut command, LIMIT);
        if !probed.succeeded() || !probed.output.contains("stream,h264,320,240") {
            failures.push(format!("{name}: {}", probed.output));
        }
        drop(camera);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn what_nobody_could_read_is_refused_with_a_reason() {
    let server = server();
    for (sdp, why) in [
        ("hello", "m-line"),
        ("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n", "m-line"),
        (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n",
            "payload type 96",
        ),
        (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\n",
            "RTP/SAVP",
        ),
        (
            "v=7\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\n",
            "",
        ),
    ] {
        let mut socket = RtspSocket::open(&server).unwrap();
        let refused = socket.announce("/lobby/refused", sdp).unwrap();
        assert!((400..500).contains(&refused.status), "{sdp:?}: {}", refused.head);
        assert!(refused.body.contains(why), "{sdp:?}: {}", refused.body);
        // The connection is good for another try.
        assert_eq!(
            socket.announce("/lobby/refused", PLAIN).unwrap().status,
            200,
            "{sdp:?}"
        );
    }
    assert!(
        server.log().contains("a stream cannot be published"),
        "{}",
        server.log()
    );
}
