//! Live streams between clients that others wrote: what ffmpeg publishes is what ffmpeg reads, and who may do either.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Child, Ffmpeg, Options, RtspSocket, Server, TypedTls, base64, client, compare_units, run, wait_for,
};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
/// Reports move times a little: the server follows its publisher's clock.
const JITTER_S: f64 = 0.010;

/// Everybody may do everything below `lobby`.
const OPEN: &str = "mounts.\"lobby/*\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n";

fn server(streams: &str) -> Server {
    Server::start_with(&Options {
        streams: streams.into(),
        ..Options::default()
    })
}

fn url(server: &Server, mount: &str) -> String {
    format!("rtsp://{}:8554/{mount}", server.address())
}

/// With somebody's name and secret in it.
fn url_of(server: &Server, who: &str, secret: &str, mount: &str) -> String {
    format!("rtsp://{who}:{secret}@{}:8554/{mount}", server.address())
}

/// Waits until something comes into a mount.
fn wait_until_live(server: &Server, mount: &str, publisher: &mut Child) {
    let is_live = wait_for(LIMIT, || {
        assert!(
            !publisher.has_ended(),
            "it publishes no more:\n{}",
            publisher.output()
        );
        let list = server.command(&["stream", "list"]);
        let line = list.lines().find(|line| line.starts_with(&format!("{mount}\t")));
        line.is_some_and(|line| !line.contains("\t0 bytes came"))
    });
    assert!(is_live, "{mount} does not come alive:\n{}", publisher.output());
}

/// The lines of `stream list` that say `what`.
fn listed(server: &Server, what: &str) -> Vec<String> {
    let list = server.command(&["stream", "list"]);
    let lines = list.lines().filter(|line| line.contains(what));
    lines.map(str::to_owned).collect()
}

/// A column of a session's line that ends with `unit`.
fn number(line: &str, unit: &str) -> u64 {
    let column = line.split('\t').find_map(|column| column.strip_suffix(unit));
    column
        .unwrap_or_else(|| panic!("no {unit} in {line:?}"))
        .trim()
        .parse()
        .unwrap()
}

// Guards pitfall RTP 6: sound and pictures are together for who reads.
#[test]
fn what_ffmpeg_publishes_is_read_unit_by_unit_over_udp_and_tcp() {
    let server = server(OPEN);
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = ffmpeg.sample("sample.mp4", 40);
    let sent = ffmpeg.units("sent", &[], &sample.display().to_string());
    for published in ["tcp", "udp"] {
        let mount = format!("lobby/{published}");
        let url = url(&server, &mount);
        let mut publisher = ffmpeg.publish(&format!("publish-{published}"), &sample, published, &url);
        wait_until_live(&server, &mount, &mut publisher);
        std::thread::scope(|scope| {
            for read in ["tcp", "udp"] {
                let (ffmpeg, sent, url) = (&ffmpeg, &sent, &url);
                scope.spawn(move || {
                    let name = format!("read-{published}-{read}");
                    let units = ffmpeg.units(&name, &["-rtsp_transport", read, "-t", "6"], url);
                    let streams = compare_units(sent, &units, JITTER_S);
                    let [(pictures, later), (frames, sound_later)] = streams[..] else {
                        panic!("{name}: two streams were sent, and {} read", streams.len())
                    };
                    println!("{name}: {pictures} pictures, {frames} frames, {later:.3} and {sound_later:.3} s later");
                    assert!(pictures > 100 && frames > 200, "{name}: {pictures} and {frames}");
                    let apart = (later - sound_later).abs();
                    assert!(apart < 0.040, "{name}: sound and pictures are {apart} s apart");
                });
            }
        });
        let probe = client("ffprobe").unwrap();
        let mut command = Command::new(probe);
        command.args(["-v", "error", "-rtsp_transport", "tcp", "-show_entries"]);
        command.args(["stream=codec_name,width,height,sample_rate", "-of", "csv", &url]);
        let probed = run(server.folder(), "ffprobe", &mut command, LIMIT);
        assert!(probed.succeeded(), "{}", probed.output);
        assert!(probed.output.contains("stream,h264,320,240"), "{}", probed.output);
        assert!(probed.output.contains("stream,aac,48000"), "{}", probed.output);
    }
}

// Guards pitfall RTSP 4: digest by MD5, and Basic under TLS alone.
#[test]
fn a_mount_is_its_accounts_own_unless_a_rule_lets_others_in() {
    let rules =
        "mounts.\"alice/porch\" = { read = [\"anyone\"] }\nmounts.\"alice/hall\" = { read = [\"bob\"] }\n";
    let server = server(rules);
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let ((_, alice), (_, bob)) = (server.person("alice"), server.person("bob"));
    let sample = ffmpeg.sample("sample.mp4", 40);
    let of = |device: &ringpost_interop::Device, mount: &str| {
        url_of(&server, &device.username, &device.secret, mount)
    };
    let mut publishers: Vec<Child> = ["door", "porch", "hall"]
        .iter()
        .map(|name| {
            let mount = format!("alice/{name}");
            let mut publisher = ffmpeg.publish(name, &sample, "tcp", &of(&alice, &mount));
            wait_until_live(&server, &mount, &mut publisher);
            publisher
        })
        .collect();
    // Who publishes without a right to it is told so, and so is who proves nothing.
    for (name, url, status) in [
        ("bob-publishes", of(&bob, "alice/door"), "403"),
        ("nobody-publishes", url(&server, "alice/door"), "401"),
        (
            "wrong",
            url_of(&server, &alice.username, "wrong", "alice/door"),
            "401",
        ),
    ] {
        let refused = ffmpeg.publish(name, &sample, "tcp", &url).finish(LIMIT);
        assert!(
            !refused.succeeded() && refused.output.contains(status),
            "{name}: {}",
            refused.output
        );
    }
    let read = |name: &str, url: &str| ffmpeg.try_units(name, &["-rtsp_transport", "tcp", "-t", "1"], url);
    for (name, url) in [
        ("alice-door", of(&alice, "alice/door")),
        ("bob-hall", of(&bob, "alice/hall")),
        ("nobody-porch", url(&server, "alice/porch")),
    ] {
        let units = read(name, &url).unwrap_or_else(|said| panic!("{name}: {said}"));
        assert!(units.len() > 20, "{name}: {}", units.len());
    }
    for (name, url, status) in [
        ("bob-door", of(&bob, "alice/door"), "403"),
        ("nobody-door", url(&server, "alice/door"), "401"),
        ("nobody-hall", url(&server, "alice/hall"), "401"),
    ] {
        let said = read(name, &url).unwrap_err();
        assert!(said.contains(status), "{name}: {said}");
    }
    assert!(publishers.iter_mut().all(|publisher| !publisher.has_ended()));
}

#[test]
fn a_device_that_is_removed_publishes_and_reads_no_more_and_voicemail_is_nobodys_to_publish() {
    let server = server("");
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let (account, camera) = server.person("alice");
    let (viewer, stays) = (
        server.device(&account, "viewer"),
        server.device(&account, "stays"),
    );
    let sample = ffmpeg.sample("sample.mp4", 60);
    let of = |device: &ringpost_interop::Device, mount: &str| {
        url_of(&server, &device.username, &device.secret, mount)
    };
    for (name, mount) in [("voicemail", "alice/voicemail"), ("one", "alice/voicemail/1-1")] {
        let refused = ffmpeg
            .publish(name, &sample, "tcp", &of(&camera, mount))
            .finish(LIMIT);
        assert!(refused.output.contains("403"), "{mount}: {}", refused.output);
    }
    let mut publisher = ffmpeg.publish("camera", &sample, "tcp", &of(&camera, "alice/door"));
    wait_until_live(&server, "alice/door", &mut publisher);
    let read = |name: &str, device: &ringpost_interop::Device| {
        let (url, target) = (of(device, "alice/door"), format!("{name}.mkv"));
        ffmpeg.spawn(
            name,
            &["-rtsp_transport", "tcp", "-i", &url, "-c", "copy", &target],
        )
    };
    let (mut viewing, mut staying) = (read("viewer", &viewer), read("stays", &stays));
    assert!(
        wait_for(LIMIT, || listed(&server, "  reader\t").len() == 2),
        "{}",
        viewing.output()
    );
    server.command(&["device", "remove", &account.address, "viewer"]);
    assert!(wait_for(LIMIT, || viewing.has_ended()), "{}", viewing.output());
    let left = listed(&server, "  reader\t");
    assert!(left.len() == 1 && left[0].contains(&stays.username), "{left:?}");
    assert!(!publisher.has_ended() && !staying.has_ended());
    server.command(&["device", "remove", &account.address, "phone"]);
    assert!(
        wait_for(Duration::from_secs(5), || listed(&server, "  publisher\t")
            .is_empty()),
        "{}",
        publisher.output()
    );
    assert!(
        wait_for(LIMIT, || publisher.has_ended()),
        "{}",
        publisher.output()
    );
}

#[test]
fn basic_is_what_is_asked_for_under_tls_alone_and_works_there_with_ffmpeg_too() {
    let server = server("");
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let (account, alice) = server.person("alice");
    let sample = ffmpeg.sample("sample.mp4", 30);
    let url = url_of(&server, &alice.username, &alice.secret, "alice/door");
    let mut publisher = ffmpeg.publish("publish", &sample, "tcp", &url);
    wait_until_live(&server, "alice/door", &mut publisher);
    let mut socket = RtspSocket::open(&server).unwrap();
    let asked = socket.ask("DESCRIBE", "/alice/door", "", "").unwrap();
    assert_eq!(asked.status, 401);
    assert!(
        asked.head.contains("Digest ") && !asked.head.contains("Basic"),
        "{}",
        asked.head
    );
    // What is not offered is not taken either: base64 of the right name and secret.
    let basic = format!(
        "Authorization: Basic {}\r\n",
        base64(format!("{}:{}", alice.username, alice.secret))
    );
    let asked = socket.ask("DESCRIBE", "/alice/door", &basic, "").unwrap();
    assert_eq!(asked.status, 401, "{}", asked.head);
    // Under TLS the device's secret and the account's password are good.
    let Some(mut typed) = TypedTls::open(&server, 8322, &[]) else {
        return;
    };
    let describe = |typed: &mut TypedTls, cseq: u32, credentials: &str| {
        let url = format!("rtsps://{}:8322/alice/door", server.address());
        typed.say(&format!("DESCRIBE {url} RTSP/1.0\nCSeq: {cseq}\n{credentials}\n"));
        let heard = typed.expect(&format!("CSeq: {cseq}\r\n"));
        let answer = heard.rfind("RTSP/1.0 ").unwrap();
        heard[answer..].to_owned()
    };
    let offered = describe(&mut typed, 1, "");
    assert!(offered.starts_with("RTSP/1.0 401 "), "{offered}");
    typed.expect("WWW-Authenticate: Basic ");
    // Programs that know digest take it where it is offered too, and nobody keeps a digest of an account's password.
    assert!(!offered.contains("Digest"), "{offered}");
    let secrets = [
        (&alice.username, &alice.secret, "200"),
        (&account.address, &account.password, "200"),
    ];
    let wrong = "wrong".to_owned();
    for (count, (user, secret, status)) in secrets
        .into_iter()
        .chain([(&account.address, &wrong, "401")])
        .enumerate()
    {
        let mut typed = TypedTls::open(&server, 8322, &["-4", "-no_ticket"][..count.min(2)]).unwrap();
        let basic = format!("Authorization: Basic {}\n", base64(format!("{user}:{secret}")));
        let answer = describe(&mut typed, 7, &basic);
        assert!(
            answer.starts_with(&format!("RTSP/1.0 {status} ")),
            "{user}: {answer}"
        );
    }
    for (name, user, secret) in [
        ("device", &alice.username, &alice.secret),
        ("account", &account.address, &account.password),
    ] {
        let user = user.replace('@', "%40");
        let url = format!("rtsps://{user}:{secret}@{}:8322/alice/door", server.address());
        let units = ffmpeg.units(name, &["-rtsp_transport", "tcp", "-t", "2"], &url);
        assert!(units.len() > 40, "{name}: {}", units.len());
    }
}

#[test]
fn who_is_kicked_is_sent_away_and_others_read_on() {
    let server = server(OPEN);
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = ffmpeg.sample("sample.mp4", 40);
    let url = url(&server, "lobby/kick");
    let mut publisher = ffmpeg.publish("publish", &sample, "tcp", &url);
    wait_until_live(&server, "lobby/kick", &mut publisher);
    let read = |name: &str, transport: &str| {
        let target = format!("{name}.mkv");
        let arguments = ["-rtsp_transport", transport, "-i", &url, "-c", "copy", &target];
        let child = ffmpeg.spawn(name, &arguments);
        let known = listed(&server, "  reader\t");
        let mut line = String::new();
        let came = wait_for(LIMIT, || {
            let new = listed(&server, "  reader\t").into_iter().find(|line| {
                known
                    .iter()
                    .all(|known| known.split('\t').nth(1) != line.split('\t').nth(1))
            });
            line = new.unwrap_or_default();
            !line.is_empty()
        });
        assert!(came, "{name} does not read:\n{}", child.output());
        (child, line.split('\t').nth(1).unwrap().to_owned())
    };
    let (mut stays, _) = read("stays", "tcp");
    for transport in ["tcp", "udp"] {
        let (mut goes, session) = read(&format!("goes-{transport}"), transport);
        std::thread::sleep(Duration::from_secs(1));
        server.command(&["stream", "kick", &session]);
        assert!(
            wait_for(LIMIT, || goes.has_ended()),
            "{transport}: {}",
            goes.output()
        );
        let left = listed(&server, "  reader\t");
        assert_eq!(left.len(), 1, "{left:?}");
    }
    let before = number(&listed(&server, "  reader\t")[0], " bytes");
    let goes_on = wait_for(LIMIT, || {
        number(&listed(&server, "  reader\t")[0], " bytes") > before
    });
    assert!(goes_on && !stays.has_ended(), "{}", stays.output());
    // A publisher goes in the same way, and its mount is somebody else's to publish to.
    let line = &listed(&server, "  publisher\t")[0];
    server.command(&["stream", "kick", line.split('\t').nth(1).unwrap()]);
    assert!(
        wait_for(LIMIT, || publisher.has_ended()),
        "{}",
        publisher.output()
    );
    let mut again = ffmpeg.publish("again", &sample, "udp", &url);
    let publishes = wait_for(LIMIT, || !listed(&server, "  publisher\t").is_empty());
    assert!(publishes, "{}", again.output());
    let before = number(&listed(&server, "  reader\t")[0], " bytes");
    let goes_on = wait_for(LIMIT, || {
        number(&listed(&server, "  reader\t")[0], " bytes") > before
    });
    assert!(
        goes_on && !again.has_ended() && !stays.has_ended(),
        "{}",
        stays.output()
    );
    // All readers of a mount go at once; what it is may be said, where a name looks like a session's number.
    server.command(&["stream", "kick", "--mount", "lobby/kick"]);
    assert!(wait_for(LIMIT, || stays.has_ended()), "{}", stays.output());
    assert!(!again.has_ended(), "{}", again.output());
}

// Guards pitfall RTSP 1: who does not read holds up nobody.
#[test]
fn readers_that_stop_reading_hold_up_no_other_and_are_told_of() {
    let server = server(&format!("vacancy_s = 1\n{OPEN}"));
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = ffmpeg.noisy_sample("sample.mp4", 60);
    let sent = ffmpeg.units("sent", &[], &sample.display().to_string());
    let url = url(&server, "lobby/slow");
    let mut publisher = ffmpeg.publish("publish", &sample, "tcp", &url);
    wait_until_live(&server, "lobby/slow", &mut publisher);
    let stuck: Vec<RtspSocket> = (0..40)
        .map(|_| {
            let mut socket = RtspSocket::open(&server).unwrap();
            // As little as possible waits in the kernel.
            socket2::SockRef::from(&*socket.stream())
                .set_recv_buffer_size(4_096)
                .unwrap();
            let played = socket.play("/lobby/slow", 2, "").unwrap();
            assert_eq!(played.status, 200, "{}", played.head);
            socket
        })
        .collect();
    // One that reads all the while, packet by packet: none may come late.
    let mut socket = RtspSocket::open(&server).unwrap();
    assert_eq!(socket.play("/lobby/slow", 2, "").unwrap().status, 200);
    let watched = std::thread::spawn(move || {
        let (mut last, mut longest, until) = (Instant::now(), Duration::ZERO, Instant::now() + 2 * LIMIT);
        while Instant::now() < until {
            let Ok((channel, _)) = socket.packet() else { break };
            if channel % 2 == 0 {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
        longest
    });
    let units = ffmpeg.units("reads", &["-rtsp_transport", "tcp", "-t", "15"], &url);
    compare_units(&sent, &units, JITTER_S);
    // Those who read on are led to where the others are, and what they missed is counted.
    let until = Instant::now() + Duration::from_secs(1);
    let readers: Vec<_> = stuck
        .into_iter()
        .map(|mut socket| {
            std::thread::spawn(move || while Instant::now() < until + LIMIT && socket.packet().is_ok() {})
        })
        .collect();
    let skips = |server: &Server| {
        let lines = listed(server, "  reader\t");
        lines
            .iter()
            .filter(|line| number(line, " packets skipped") > 0)
            .count()
    };
    let are_skipped = wait_for(LIMIT, || skips(&server) == readers.len());
    assert!(are_skipped, "{:#?}", listed(&server, "  reader\t"));
    assert!(
        server
            .log()
            .contains("a reader is too slow, and goes on with the next key picture")
    );
    drop(publisher);
    let longest = watched.join().unwrap();
    println!("the longest pause of who reads was {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}
