//! Mounts that are sent to groups, as GStreamer and ffmpeg hear them, by RTSP and by announcements alone; each test in a network
//! of its own.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Child, Ffmpeg, Options, RtspSocket, Server, Unit, client, compare_units, own_ipv6_network, own_network,
    spawn, wait_for,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(40);
/// Reports move times a little: the server follows its publisher's clock.
const JITTER_S: f64 = 0.010;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 42, 1);

/// Everybody may do everything below `lobby`, which is sent to groups; `lobby/tv` is announced.
const STREAMS: &str = "multicast_interface = \"lo\"\nsap = true\nmulticast_range = \"239.255.43.0/24\"\n\
    mounts.\"lobby/door\" = { publish = [\"anyone\"], read = [\"anyone\"], multicast = \"239.255.42.1:6000\" }\n\
    mounts.\"lobby/*\" = { publish = [\"anyone\"], read = [\"anyone\"], multicast = \"auto\" }\n\
    mounts.\"lobby/tv\" = { publish = [\"anyone\"], read = [\"anyone\"], multicast = \"239.255.42.2:6100\", sap = true }\n\
    mounts.\"alone/*\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n";

/// A server in a network of its own, and ffmpeg; or says that the test is skipped.
fn begin() -> Option<(Server, Ffmpeg)> {
    let folder = tempfile::tempdir().unwrap();
    if !own_network(folder.path()) {
        return None;
    }
    let server = Server::start_with(&Options {
        streams: STREAMS.into(),
        ..Options::default()
    });
    let ffmpeg = Ffmpeg::find(server.folder())?;
    Some((server, ffmpeg))
}

fn url(server: &Server, mount: &str) -> String {
    format!("rtsp://{}:8554/{mount}", server.address())
}

/// The same by IPv6; the interface is in the configuration, or left to the system's routes.
fn begin_by_ipv6(is_named: bool) -> Option<(Server, Ffmpeg)> {
    let folder = tempfile::tempdir().unwrap();
    let interface = own_ipv6_network(folder.path())?;
    let interface = match is_named {
        true => format!("multicast_interface = {interface:?}\n"),
        false => String::new(),
    };
    let anyone = "publish = [\"anyone\"], read = [\"anyone\"]";
    let server = Server::start_with(&Options {
        ipv6: true,
        streams: format!(
            "{interface}sap = true\nmulticast_range = \"ff15::43:0/112\"\n\
             mounts.\"lobby/door\" = {{ {anyone}, multicast = \"[ff15::1]:6000\" }}\n\
             mounts.\"lobby/*\" = {{ {anyone}, multicast = \"auto\" }}\n\
             mounts.\"lobby/tv\" = {{ {anyone}, multicast = \"[ff15::2]:6100\", sap = true }}\n"
        ),
        ..Options::default()
    });
    let ffmpeg = Ffmpeg::find(server.folder())?;
    Some((server, ffmpeg))
}

fn url_by_ipv6(server: &Server, mount: &str) -> String {
    format!("rtsp://[::1]:{}/{mount}", server.port("rtsp"))
}

fn lines_of(server: &Server, mount: &str) -> Vec<String> {
    let list = server.command(&["stream", "list"]);
    let mut lines = list
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{mount}\t")));
    let first = lines.next().map(str::to_owned);
    let rest = lines.take_while(|line| line.starts_with(' ')).map(str::to_owned);
    first.into_iter().chain(rest).collect()
}

fn wait_until_live(server: &Server, mount: &str, publisher: &mut Child) {
    let is_live = wait_for(LIMIT, || {
        assert!(
            !publisher.has_ended(),
            "it publishes no more:\n{}",
            publisher.output()
        );
        let lines = lines_of(server, mount);
        lines.first().is_some_and(|line| !line.contains("\t0 bytes came"))
    });
    assert!(is_live, "{mount} does not come alive:\n{}", publisher.output());
}

/// Where somebody listens to the group's port too.
fn join(port: u16) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::new(GROUP.into(), port).into()).unwrap();
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.into()
}

fn pictures(units: &[Unit]) -> Vec<Unit> {
    let pictures = units.iter().filter(|unit| unit.stream == 0);
    pictures.cloned().collect()
}

/// Has GStreamer write so many pictures of what is at a URL into a file, by multicast.
fn gstreamer(server: &Server, name: &str, url: &str, count: usize) -> Option<Child> {
    let gst = client("gst-launch-1.0")?;
    let target = server.folder().join(format!("{name}.h264")).display().to_string();
    // A filter between the two would be made by each of the source's threads that has a pad, and they would be in each other's way.
    let pipeline = format!(
        "rtspsrc location={url} protocols=udp-mcast name=s s. ! rtph264depay wait-for-keyframe=true ! h264parse ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! identity eos-after={count} ! filesink location={target}"
    );
    let mut command = Command::new(gst);
    command.arg("-v").args(pipeline.split_whitespace());
    Some(spawn(server.folder(), name, &mut command))
}

/// What is published to two mounts comes by their groups to GStreamer and to ffmpeg as it was.
fn are_read_by_their_groups(server: &Server, ffmpeg: &Ffmpeg, url: impl Fn(&str) -> String) {
    let sample = ffmpeg.sample("sample.mp4", 60);
    let sent = ffmpeg.units("sent", &[], &sample.display().to_string());
    let mounts = ["lobby/door", "lobby/other"];
    let _publishers = mounts.map(|mount| {
        let name = format!("publish-{}", mount.replace('/', "-"));
        let mut publisher = ffmpeg.publish(&name, &sample, "tcp", &url(mount));
        wait_until_live(server, mount, &mut publisher);
        publisher
    });
    // Each has one to itself: GStreamer takes its own packets, which a group brings back, for another's, and changes its name with a
    // BYE; ffmpeg takes whoever's BYE for the stream's.
    for (by_gstreamer, by_ffmpeg) in [(0, 1), (1, 0)] {
        let name = format!("gst-{by_gstreamer}");
        let Some(heard) = gstreamer(server, &name, &url(mounts[by_gstreamer]), 150) else {
            return;
        };
        let units = ffmpeg.units(
            &format!("read-{by_ffmpeg}"),
            &["-rtsp_transport", "udp_multicast", "-t", "6"],
            &url(mounts[by_ffmpeg]),
        );
        let streams = compare_units(&sent, &units, JITTER_S);
        let [(pictures_read, later), (frames, sound_later)] = streams[..] else {
            panic!("two streams were sent, and {} read", streams.len())
        };
        assert!(
            pictures_read > 100 && frames > 200,
            "{pictures_read} and {frames}"
        );
        assert!((later - sound_later).abs() < 0.040, "{later}, {sound_later}");
        // It has had its pictures. What it says behind that is not looked at: where it interrupts a PAUSE of its own, it ends with an
        // error and takes leave all the same.
        let finished = heard.finish(LIMIT);
        assert!(
            finished.output.contains("Got EOS from element"),
            "{}",
            finished.output
        );
        let file = server.folder().join(format!("{name}.h264")).display().to_string();
        // What is written has no times: each picture is at its place.
        let units = ffmpeg.units(
            &format!("units-{by_gstreamer}"),
            &["-f", "h264", "-r", "25"],
            &file,
        );
        let read = compare_units(&pictures(&sent), &units, JITTER_S);
        assert!(read[0].0 >= 145, "{read:?}");
    }
    // Nobody is left who would want it, at the latest when the session of one who went without a word is over.
    let lines = || mounts.map(|mount| lines_of(server, mount)).concat();
    let is_idle = wait_for(Duration::from_secs(80), || {
        lines().iter().all(|line| !line.contains("  group"))
    });
    assert!(is_idle, "{:?}", lines());
}

#[test]
fn what_is_published_comes_by_multicast_to_gstreamer_and_ffmpeg_unit_by_unit() {
    let Some((server, ffmpeg)) = begin() else { return };
    are_read_by_their_groups(&server, &ffmpeg, |mount| url(&server, mount));
}

#[test]
fn what_is_published_comes_by_multicast_of_ipv6_to_gstreamer_and_ffmpeg_unit_by_unit() {
    for is_named in [true, false] {
        let Some((server, ffmpeg)) = begin_by_ipv6(is_named) else {
            return;
        };
        are_read_by_their_groups(&server, &ffmpeg, |mount| url_by_ipv6(&server, mount));
    }
}

#[test]
fn two_readers_of_a_group_cost_one_stream_of_datagrams() {
    let Some((server, ffmpeg)) = begin() else { return };
    let sample = ffmpeg.sample("sample.mp4", 60);
    let (mount, url) = ("lobby/door", url(&server, "lobby/door"));
    let mut publisher = ffmpeg.publish("publish", &sample, "udp", &url);
    wait_until_live(&server, mount, &mut publisher);
    let (rtp, rtcp) = (join(6_000), join(6_001));
    let Some(first) = gstreamer(&server, "first", &url, 400) else {
        return;
    };
    let reads = |count: usize| {
        wait_for(LIMIT, || {
            let lines = lines_of(&server, mount);
            lines.iter().filter(|line| line.contains("\tmulticast\t")).count() == count
        })
    };
    assert!(reads(1), "{}", first.output());
    let second = gstreamer(&server, "second", &url, 300).unwrap();
    assert!(reads(2), "{}", second.output());
    // From now on both read; what was sent before is not looked at.
    rtp.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2_048];
    while rtp.recv(&mut buffer).is_ok() {}
    rtp.set_nonblocking(false).unwrap();
    let (came, sent) = (
        received(&server, mount),
        server.metric("streams_sent_bytes_total"),
    );
    let mut datagrams: BTreeMap<SocketAddr, Vec<Vec<u8>>> = BTreeMap::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        let (length, from) = rtp.recv_from(&mut buffer).unwrap();
        datagrams.entry(from).or_default().push(buffer[..length].to_vec());
    }
    // GStreamer's readers send a few of no meaning each, to be seen through a translator of addresses.
    datagrams.retain(|_, sent| sent.len() > 5);
    assert_eq!(datagrams.len(), 1, "of one sender: {:?}", datagrams.keys());
    let mut seen = BTreeSet::new();
    for datagram in datagrams.values().flatten() {
        assert!(datagram.len() > 12 && datagram[0] >> 6 == 2, "{datagram:?}");
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        assert!(seen.insert(sequence), "packet {sequence} came twice");
    }
    let (came, sent) = (
        received(&server, mount) - came,
        server.metric("streams_sent_bytes_total") - sent,
    );
    assert!(reads(2), "{:?}", lines_of(&server, mount));
    let ratio = sent / came;
    println!(
        "{} datagrams of pictures; {sent} octets sent, {came} came",
        seen.len()
    );
    assert!((0.9..1.1).contains(&ratio), "{sent} octets sent of {came}");
    // Reports of ours come to the next port, with a sender report first.
    let (length, _) = rtcp.recv_from(&mut buffer).unwrap();
    assert!(length >= 28 && buffer[1] == 200, "{:?}", &buffer[..length]);
    let group = lines_of(&server, mount)
        .into_iter()
        .find(|line| line.contains("  group"));
    let group = group.unwrap();
    assert!(
        group.contains("239.255.42.1:6000\tttl 1\tsending\tnot announced"),
        "{group}"
    );
    for (name, child) in [("first", first), ("second", second)] {
        let finished = child.finish(LIMIT);
        assert!(
            finished.output.contains("Got EOS from element"),
            "{name}: {}",
            finished.output
        );
    }
    // The last one has gone.
    rtp.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let is_silent = wait_for(LIMIT, || rtp.recv(&mut buffer).is_err());
    assert!(is_silent);
    let mut socket = RtspSocket::open(&server).unwrap();
    let refused = socket
        .ask(
            "SETUP",
            "/alone/nothing/trackID=0",
            "Transport: RTP/AVP;multicast\r\n",
            "",
        )
        .unwrap();
    assert!([404, 461].contains(&refused.status), "{}", refused.head);
}

/// Octets that have come into a mount.
fn received(server: &Server, mount: &str) -> f64 {
    let lines = lines_of(server, mount);
    let column = lines[0]
        .split('\t')
        .find_map(|column| column.strip_suffix(" bytes came"));
    column.unwrap().parse().unwrap()
}

/// How many sockets of this thread's network are bound to the port of announcements; `table` is `udp` or `udp6`.
fn announcement_sockets(table: &str) -> usize {
    let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
    table.lines().filter(|line| line.contains(":2693 ")).count()
}

/// What is published at the URL, the announced mount's, is heard by who listens to the announcements at `sap` alone.
fn is_heard_by_its_announcement(
    server: &Server,
    ffmpeg: &Ffmpeg,
    url: &str,
    (table, sap): (&str, &str),
    group: &str,
) {
    let sample = ffmpeg.sample("sample.mp4", 60);
    let sent = ffmpeg.units("sent", &[], &sample.display().to_string());
    let ours = announcement_sockets(table);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let options = ["-f", "sap", "-t", "6"];
            ffmpeg.units("read", &options, sap)
        });
        assert!(
            wait_for(LIMIT, || announcement_sockets(table) > ours),
            "ffmpeg does not listen"
        );
        let mut publisher = ffmpeg.publish("publish", &sample, "tcp", url);
        wait_until_live(server, "lobby/tv", &mut publisher);
        let lines = lines_of(server, "lobby/tv");
        let line = lines.iter().find(|line| line.contains("  group")).unwrap();
        assert!(
            line.contains(&format!("{group}\tttl 1\tsending\tannounced")),
            "{line}"
        );
        let units = reader.join().unwrap();
        // Until a report comes nobody knows which moments of two streams belong together: then ffmpeg moves one of them.
        let streams = compare_units(&sent, &units, 0.050);
        assert!(streams[0].0 > 100 && streams[1].0 > 200, "{streams:?}");
        // What we announce ourselves is nobody else's.
        assert_eq!(server.command(&["stream", "list", "--announced"]), "");
    });
}

/// The server listens to so many groups, as soon as its network has addresses.
fn listens_to_groups(table: &str, count: usize) {
    let listens = wait_for(LIMIT, || announcement_sockets(table) == count);
    assert!(listens, "{} groups and not {count}", announcement_sockets(table));
}

#[test]
fn an_announced_mount_is_heard_by_its_announcement_alone() {
    let Some((server, ffmpeg)) = begin() else { return };
    listens_to_groups("udp", 3);
    let url = url(&server, "lobby/tv");
    let sap = ("udp", "sap://239.255.255.255");
    is_heard_by_its_announcement(&server, &ffmpeg, &url, sap, "239.255.42.2:6100");
}

#[test]
fn an_announced_mount_is_heard_by_its_announcement_by_ipv6_alone() {
    let Some((server, ffmpeg)) = begin_by_ipv6(true) else {
        return;
    };
    listens_to_groups("udp6", 4);
    let url = url_by_ipv6(&server, "lobby/tv");
    // The group of announcements of a site, as the mount's group is one.
    let sap = ("udp6", "sap://[ff05::2:7ffe]");
    is_heard_by_its_announcement(&server, &ffmpeg, &url, sap, "[ff15::2]:6100");
}

#[test]
fn what_ffmpeg_announces_is_listed_until_it_takes_it_back() {
    let Some((server, ffmpeg)) = begin() else { return };
    let sample = ffmpeg.sample("sample.mp4", 60).display().to_string();
    let arguments = [
        "-re",
        "-i",
        &sample,
        "-map",
        "0",
        "-c",
        "copy",
        "-metadata",
        "title=Harbour",
    ];
    let announcer = ffmpeg.spawn(
        "announce",
        &[&arguments[..], &["-f", "sap", "sap://239.255.9.9:7000"]].concat(),
    );
    let list = || server.command(&["stream", "list", "--announced"]);
    let is_listed = wait_for(LIMIT, || list().starts_with("Harbour\t"));
    assert!(is_listed, "{}\n{}", list(), announcer.output());
    let line = list();
    let columns: Vec<&str> = line.trim_end().split('\t').collect();
    let [_, origin, group, media, known, heard] = columns[..] else {
        panic!("{line}")
    };
    assert!(origin.parse::<Ipv4Addr>().is_ok(), "{origin}");
    assert_eq!((group, media), ("239.255.9.9:7000", "video,audio"));
    assert!(
        known.starts_with("known for ") && heard.starts_with("heard "),
        "{line}"
    );
    announcer.signal(libc::SIGINT);
    let is_gone = wait_for(LIMIT, || list().is_empty());
    assert!(is_gone, "{}\n{}", list(), announcer.output());
}
