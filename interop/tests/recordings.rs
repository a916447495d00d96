//! What is played over RTSP that is not live: recordings, also those that a crash cut off, files, folders and voicemails.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Child, Device, Ffmpeg, Options, RtspSocket, Server, SipCall, Unit, Wav, annex_b_units, compare_units,
    h264_units, python, tone_wav, wait_for, wait_until_over,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
/// ffmpeg takes times as RTP tells them, to a tick of its clock.
const JITTER_S: f64 = 0.002;

/// Recorded while it is live, and everybody's.
const RECORDED: &str =
    "mounts.\"lobby/*\" = { publish = [\"anyone\"], read = [\"anyone\"], record = true }\n";

fn server(streams: &str) -> Server {
    Server::start_with(&Options {
        streams: streams.into(),
        ..Options::default()
    })
}

fn url(server: &Server, mount: &str) -> String {
    format!("rtsp://{}:8554/{mount}", server.address())
}

fn url_of(server: &Server, device: &Device, mount: &str) -> String {
    let Device { username, secret, .. } = device;
    format!("rtsp://{username}:{secret}@{}:8554/{mount}", server.address())
}

/// Where a mount's recordings lie, each with its size.
fn files(server: &Server, mount: &str) -> Vec<(PathBuf, u64)> {
    let folder = server.data().join("recordings").join(mount);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "mp4"))
        .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

fn wait_until_written(server: &Server, mount: &str, least: u64, publisher: &mut Child) {
    let written = || files(server, mount).iter().map(|(_, size)| size).sum::<u64>();
    let is_written = wait_for(LIMIT, || {
        assert!(!publisher.has_ended(), "{}", publisher.output());
        written() >= least
    });
    assert!(
        is_written,
        "{} octets of {mount} are recorded:\n{}",
        written(),
        publisher.output()
    );
}

/// The NAL units of a file's pictures, one a picture, in order.
fn slices(ffmpeg: &Ffmpeg, source: &Path) -> Vec<Vec<u8>> {
    let target = source.with_extension("h264");
    let (from, to) = (source.display().to_string(), target.display().to_string());
    let bsf = "h264_mp4toannexb,filter_units=pass_types=1-5";
    let made = ffmpeg.run(
        "slices",
        &[
            "-i", &from, "-map", "0:v", "-c", "copy", "-bsf:v", bsf, "-f", "h264", &to,
        ],
        LIMIT,
    );
    assert!(made.succeeded(), "{}", made.output);
    annex_b_units(&std::fs::read(target).unwrap())
}

/// The coded slices of the first picture that comes on channel 0.
fn first_picture(socket: &mut RtspSocket) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    loop {
        let (channel, packet) = socket.packet().unwrap();
        if channel == 0 {
            packets.push(packet[12..].to_vec());
            if packet[1] & 0x80 != 0 {
                break;
            }
        }
    }
    let units = h264_units(&packets).into_iter();
    units.filter(|unit| (1..=5).contains(&(unit[0] & 0x1f))).collect()
}

/// A time of the clock, such as `20240501T120000.5Z`, as seconds since 1970.
fn seconds_of(clock: &str) -> f64 {
    let (date, time) = clock.trim_end_matches('Z').split_once('T').unwrap();
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    let output = Command::new("date")
        .args(["-u", "-d", &text, "+%s.%N"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The same back.
fn clock_of(seconds: f64) -> String {
    let at = format!("@{seconds:.6}");
    let output = Command::new("date")
        .args(["-u", "-d", &at, "+%Y%m%dT%H%M%S.%6NZ"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn pictures(units: &[Unit]) -> Vec<&Unit> {
    units.iter().filter(|unit| unit.stream == 0).collect()
}

#[test]
fn what_a_killed_server_recorded_plays_up_to_its_last_whole_fragment_and_by_the_clock() {
    let mut server = server(RECORDED);
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = ffmpeg.sample("sample.mp4", 60);
    let sent = ffmpeg.units("sent", &[], &sample.display().to_string());
    let mut publisher = ffmpeg.publish("publish", &sample, "tcp", &url(&server, "lobby/kept"));
    wait_until_written(&server, "lobby/kept", 600_000, &mut publisher);
    let list = server.command(&["stream", "list"]);
    assert!(
        list.contains("lobby/kept\tH264,MPEG4-GENERIC\trecorded\t"),
        "{list}"
    );
    server.kill();
    drop(publisher);
    let [(file, _)] = &files(&server, "lobby/kept")[..] else {
        panic!("{:?}", files(&server, "lobby/kept"))
    };
    // As any player has it from the disk.
    let kept = ffmpeg.units("kept", &[], &file.display().to_string());
    let streams = compare_units(&sent, &kept, JITTER_S);
    println!("of each stream were kept: {streams:?}");
    let [(count, later), (_, sound_later)] = streams[..] else {
        panic!("{streams:?}")
    };
    assert!(
        count >= 100 && count % 25 == 0,
        "whole fragments of a second: {count}"
    );
    assert!((later - sound_later).abs() < 0.040, "{streams:?}");
    server.run();
    // As a player has it from the server: all that there is, in one go.
    let played = ffmpeg.units("played", &["-rtsp_transport", "tcp"], &url(&server, "lobby/kept"));
    let [(played_count, later), (_, sound_later)] = compare_units(&sent, &played, JITTER_S)[..] else {
        panic!()
    };
    assert_eq!(
        (played_count, &pictures(&played)[0].md5),
        (count, &pictures(&kept)[0].md5)
    );
    assert!((later - sound_later).abs() < 0.040, "{later} and {sound_later}");
    // By the clock: into the middle of the fourth second, whose key picture is what comes first.
    let mut socket = RtspSocket::open(&server).unwrap();
    let described = socket
        .ask("DESCRIBE", "/lobby/kept", "Accept: application/sdp\r\n", "")
        .unwrap();
    let told = socket
        .ask(
            "GET_PARAMETER",
            "/lobby/kept",
            "Content-Type: text/parameters\r\n",
            "recorded-ranges\r\n",
        )
        .unwrap();
    assert_eq!(told.status, 200, "{}", told.head);
    let range = told.body.trim().strip_prefix("recorded-ranges: clock=").unwrap();
    assert!(
        described.body.contains(&format!("a=recorded:clock={range}")),
        "{}",
        described.body
    );
    let (begin, end) = range.split_once('-').unwrap();
    let (begin, end) = (seconds_of(begin), seconds_of(end));
    assert!(
        (end - begin - count as f64 / 25.0).abs() < 0.2,
        "{range} and {count} pictures"
    );
    let all = slices(&ffmpeg, &sample);
    let first_kept = sent
        .iter()
        .filter(|unit| unit.stream == 0)
        .position(|unit| unit.md5 == pictures(&kept)[0].md5);
    let first_kept = first_kept.unwrap();
    for (at, key) in [(3.5, 75), (0.0, 0), (2.0, 50)] {
        let range = format!("Range: clock={}-\r\n", clock_of(begin + at + 0.001));
        let mut socket = RtspSocket::open(&server).unwrap();
        let answer = socket.play("/lobby/kept", 2, &range).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.head);
        let told = answer
            .field("Range")
            .unwrap_or_default()
            .strip_prefix("clock=")
            .unwrap();
        let from = seconds_of(told.split('-').next().unwrap());
        assert!(
            (from - begin - key as f64 / 25.0).abs() < 0.05,
            "{told} for {at} s behind {begin}"
        );
        assert_eq!(
            first_picture(&mut socket),
            [all[first_kept + key].clone()],
            "{at} s"
        );
    }
    // Behind the end there is nothing.
    let mut socket = RtspSocket::open(&server).unwrap();
    let range = format!("Range: clock={}-\r\n", clock_of(end + 60.0));
    assert_eq!(socket.play("/lobby/kept", 2, &range).unwrap().status, 457);
    // Twice as fast, which the answer says; without pictures that nobody could decode, it takes half the time.
    let mut socket = RtspSocket::open(&server).unwrap();
    let answer = socket
        .play("/lobby/kept", 2, "Range: npt=0-\r\nScale: 2\r\n")
        .unwrap();
    assert_eq!(
        (answer.status, answer.field("Scale")),
        (200, Some("2")),
        "{}",
        answer.head
    );
    assert_eq!(first_picture(&mut socket), [all[first_kept].clone()]);
}

#[test]
fn a_film_and_a_sound_are_played_whole_and_from_where_is_wanted() {
    let mut server = Server::prepared(&Options::default());
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let film = ffmpeg.sample("film.mp4", 10);
    let sound = server.folder().join("sound.wav");
    tone_wav(&sound, 440.0, 8_000, 6);
    let text = std::fs::read_to_string(server.config()).unwrap();
    let mounts = format!(
        "[streams]\nmounts.\"house/film\" = {{ file = {film:?}, read = [\"anyone\"] }}\n\
         mounts.\"house/sound\" = {{ file = {sound:?}, read = [\"anyone\"] }}\n\
         mounts.\"house/all\" = {{ folder = {:?} }}\n\
         mounts.\"house/all/*\" = {{ read = [\"anyone\"] }}\n",
        server.folder()
    );
    std::fs::write(server.config(), text.replace("[streams]\n", &mounts)).unwrap();
    server.run();
    let sent = ffmpeg.units("sent", &[], &film.display().to_string());
    let of = |units: &[Unit], stream| units.iter().filter(|unit| unit.stream == stream).count();
    for (name, mount, transport) in [
        ("tcp", "house/film", "tcp"),
        ("udp", "house/film", "udp"),
        ("folder", "house/all/film.mp4", "tcp"),
    ] {
        let units = ffmpeg.units(name, &["-rtsp_transport", transport], &url(&server, mount));
        let [(pictures, later), (frames, sound_later)] = compare_units(&sent, &units, JITTER_S)[..] else {
            panic!()
        };
        assert_eq!(pictures, of(&sent, 0), "{name}");
        // What an encoder put before the beginning may be left out.
        assert!(frames + 3 >= of(&sent, 1), "{name}: {frames} of {}", of(&sent, 1));
        assert!(
            (later - sound_later).abs() < 0.040,
            "{name}: {later} and {sound_later}"
        );
    }
    let all = pictures(&sent);
    for (at, key) in [("7.3", 175), ("2", 50), ("0.9", 0)] {
        let options = ["-rtsp_transport", "tcp", "-ss", at, "-t", "2"];
        let units = ffmpeg.units(&format!("seek-{at}"), &options, &url(&server, "house/film"));
        assert_eq!(pictures(&units)[0].md5, all[key].md5, "{at} s");
        // Times before the wanted one ffmpeg tells anew.
        compare_units(&sent, &units, f64::INFINITY);
    }
    // A sound as samples: the tone, as long as it is, and from the middle of it on.
    for (name, options, least, most) in [
        ("whole", &["-rtsp_transport", "tcp"][..], 5.9, 6.1),
        ("half", &["-rtsp_transport", "tcp", "-ss", "3"][..], 2.9, 3.1),
    ] {
        let target = server.folder().join(format!("{name}.wav"));
        let (to, from) = (target.display().to_string(), url(&server, "house/sound"));
        let arguments = [options, &["-i", &from, "-c:a", "pcm_s16le", &to]].concat();
        let played = ffmpeg.run(name, &arguments, LIMIT);
        assert!(played.succeeded(), "{}", played.output);
        let wav = Wav::read(&target).unwrap();
        assert!(
            (least..most).contains(&wav.seconds()),
            "{name}: {} s",
            wav.seconds()
        );
        assert!(
            wav.tone_seconds(440.0, 0.9) >= least - 0.1,
            "{name}: {}",
            wav.tone_seconds(440.0, 0.9)
        );
    }
    // What is never live is not recorded.
    for mount in ["house/film", "house/all", "house/all/film.mp4"] {
        let refused = server.try_command(&["stream", "record", mount]).unwrap_err();
        let expected = format!("{mount} is not recorded: this mount plays files of the server");
        assert!(refused.contains(&expected), "{refused}");
    }
    // What is in the folder and no media, or beside it, is nobody's.
    for mount in [
        "house/all/ringpost.toml",
        "house/all/%2e%2e/etc/passwd",
        "house/all/nothing.mp4",
    ] {
        let mut socket = RtspSocket::open(&server).unwrap();
        let answer = socket.ask("DESCRIBE", &format!("/{mount}"), "", "").unwrap();
        assert!(
            [400, 401, 403, 404].contains(&answer.status),
            "{mount}: {}",
            answer.head
        );
    }
}

#[test]
fn the_tracks_of_a_film_are_paused_and_taken_up_alone_and_another_scale_takes_effect_at_once() {
    let mut server = Server::prepared(&Options::default());
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let film = ffmpeg.sample("film.mp4", 20);
    let text = std::fs::read_to_string(server.config()).unwrap();
    let mounts = format!("[streams]\nmounts.\"house/film\" = {{ file = {film:?}, read = [\"anyone\"] }}\n");
    std::fs::write(server.config(), text.replace("[streams]\n", &mounts)).unwrap();
    server.run();
    let address = server.address().to_string();
    if let Some(said) = python(&server, "tracks.py", &[&address, "8554", "house/film"]) {
        assert!(said.contains("ok"), "{said}");
    }
}

// RFC 3551 §4.5.2: its clock counts by 8,000, and its samples are 16,000 a second.
#[test]
fn what_does_not_come_when_it_happens_is_recorded_whole_and_in_order() {
    let server = server(&format!("vacancy_s = 1\n{RECORDED}"));
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = ffmpeg.sample("sample.mp4", 40);
    // One whose packets are of other times than its reports say, and one that sends everything four times as fast.
    let cases = [("lobby/other", "17", "1", "15"), ("lobby/fast", "40", "4", "0")];
    let publishers = cases.map(|(mount, seconds, rate, offset_s)| {
        let (source, target) = (sample.display().to_string(), url(&server, mount));
        let mut arguments = vec!["-readrate", rate, "-i", &source, "-map", "0", "-c", "copy"];
        arguments.extend(["-t", seconds]);
        arguments.extend(["-output_ts_offset", offset_s]);
        arguments.extend(["-f", "rtsp", "-rtsp_transport", "tcp", &target]);
        ffmpeg.spawn(&mount.replace('/', "-"), &arguments)
    });
    for mut publisher in publishers {
        let has_ended = wait_for(LIMIT, || publisher.has_ended());
        assert!(has_ended, "{}", publisher.output());
    }
    let sent = slices(&ffmpeg, &sample);
    for (mount, seconds, ..) in cases {
        wait_until_over(&server, mount);
        let (mut recorded, mut sounds) = (Vec::new(), 0);
        for (number, (file, _)) in files(&server, mount).iter().enumerate() {
            recorded.extend(slices(&ffmpeg, file));
            let units = ffmpeg.units(&format!("recorded-{number}"), &[], &file.display().to_string());
            sounds += units.len() - pictures(&units).len();
        }
        let seconds: usize = seconds.parse().unwrap();
        assert!(recorded.len() >= 25 * seconds, "{mount}: {}", recorded.len());
        let is_it = sent.starts_with(&recorded);
        assert!(is_it, "{mount}: the pictures are others, or in another order");
        // ffmpeg makes packets of a few frames of sound, and never sends the last one.
        assert!(
            sounds + 10 >= seconds * 48_000 / 1_024,
            "{mount}: {sounds} frames of sound"
        );
    }
}

#[test]
fn sound_of_a_coding_that_no_file_has_is_recorded_as_the_samples_that_it_is() {
    let server = server(&format!("vacancy_s = 1\n{RECORDED}"));
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    // Above what a telephone of one band hears.
    let tone = "sine=frequency=5000:sample_rate=16000";
    let mut arguments = vec!["-re", "-f", "lavfi", "-i", tone, "-t", "6", "-c:a", "g722"];
    let target = url(&server, "lobby/wide");
    arguments.extend(["-f", "rtsp", "-rtsp_transport", "tcp", &target]);
    let mut publisher = ffmpeg.spawn("publish", &arguments);
    wait_until_written(&server, "lobby/wide", 100_000, &mut publisher);
    assert!(
        wait_for(LIMIT, || publisher.has_ended()),
        "{}",
        publisher.output()
    );
    let is_over = || !server.command(&["stream", "list"]).contains("lobby/wide\tG722");
    assert!(wait_for(LIMIT, is_over), "it is live for ever");
    let [(file, _)] = &files(&server, "lobby/wide")[..] else {
        panic!("{:?}", files(&server, "lobby/wide"))
    };
    for (name, input) in [("file", file.display().to_string()), ("played", target.clone())] {
        let measure = "highpass=f=4500,volumedetect";
        let heard = ffmpeg.run(name, &["-i", &input, "-af", measure, "-f", "null", "-"], LIMIT);
        assert!(heard.succeeded(), "{name}: {}", heard.output);
        assert!(
            heard.output.contains("pcm_s16be") && heard.output.contains("16000 Hz"),
            "{name}: {}",
            heard.output
        );
        let number = |what: &str| -> f64 {
            let (_, rest) = heard.output.split_once(what).expect(what);
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        // A sine of an eighth of the full scale, less what the filter takes of it, and six seconds of it.
        let level = number("mean_volume:");
        assert!((-24.0..=-21.0).contains(&level), "{name}: {level} dB");
        let samples = number("n_samples:");
        assert!(
            (5.5..6.2).contains(&(samples / 16_000.0)),
            "{name}: {samples} samples"
        );
    }
}

#[test]
fn a_voicemail_is_heard_over_rtsp_by_its_owner_and_by_nobody_else() {
    let server = Server::start_with(&Options {
        trusted_network: Some("127.0.0.0/8".into()),
        no_answer_s: 1,
        ..Options::default()
    });
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let ((_, alice), (_, bob)) = (server.person("alice"), server.person("bob"));
    let mut call = SipCall::place(&server, "alice", "bob", "from-alice");
    assert!(call.is_answered(), "{}", call.answer);
    call.press('#');
    call.speak(Duration::from_secs(6));
    call.press('#');
    call.wait_for_end();
    let listen = |name: &str, device: &Device, mount: &str| {
        let target = server.folder().join(format!("{name}.wav"));
        let (from, to) = (url_of(&server, device, mount), target.display().to_string());
        let played = ffmpeg.run(name, &["-rtsp_transport", "tcp", "-i", &from, &to], LIMIT);
        match played.succeeded() {
            true => Ok(Wav::read(&target).unwrap().tone_seconds(400.0, 0.7)),
            false => Err(played.output),
        }
    };
    let mut heard = Err(String::new());
    let arrived = wait_for(LIMIT, || {
        heard = listen("all", &bob, "bob/voicemail");
        heard.is_ok()
    });
    assert!(arrived, "{heard:?}");
    let heard = heard.unwrap();
    assert!(heard >= 3.0, "{heard} s");
    // By itself, as its mailbox and UID name it: the first in the inbox, whatever number that has.
    let one = (1..=20).find_map(|mailbox| {
        let mount = format!("bob/voicemail/{mailbox}-1");
        listen(&format!("one-{mailbox}"), &bob, &mount).ok()
    });
    assert!(one.is_some_and(|heard| heard >= 3.0), "{one:?}");
    let refused = listen("alice", &alice, "bob/voicemail").unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    let mut socket = RtspSocket::open(&server).unwrap();
    assert_eq!(
        socket.ask("DESCRIBE", "/bob/voicemail", "", "").unwrap().status,
        401
    );
}
