//! What is recorded in ways of its own, with clients that others wrote: G.722, MPEG-4 video, AAC in LATM and of a low rate
//! (live, recorded and of the past), and several parameter sets.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Ffmpeg, Options, RtspSocket, Server, Unit, annex_b_units, client, compare_units, listed_stream, recorded,
    run, spawn, stream_url as url, wait_for, wait_until_live, wait_until_over,
};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(40);
/// Reports move times a little: the server follows its publisher's clock.
const JITTER_S: f64 = 0.010;
const TCP: [&str; 2] = ["-rtsp_transport", "tcp"];

fn server() -> Server {
    let rule = "{ publish = [\"anyone\"], read = [\"anyone\"], record = true }";
    Server::start_with(&Options {
        streams: format!("vacancy_s = 1\nmounts.\"lobby/*\" = {rule}\n"),
        ..Options::default()
    })
}

fn only_file(server: &Server, mount: &str) -> String {
    let files = recorded(server, mount);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].display().to_string()
}

/// What ffprobe says of the first stream of a file.
fn probe(server: &Server, what: &str, entries: &str) -> String {
    let mut command = Command::new(client("ffprobe").unwrap());
    command.args(["-v", "error", "-show_entries", entries, "-of", "csv=p=0", what]);
    let probed = run(server.folder(), "ffprobe", &mut command, LIMIT);
    assert!(probed.succeeded(), "{}", probed.output);
    probed.output.trim().to_owned()
}

fn make(ffmpeg: &Ffmpeg, name: &str, arguments: &[&str]) {
    let made = ffmpeg.run(name, arguments, LIMIT);
    assert!(made.succeeded(), "{}", made.output);
}

/// The samples of 16 bits that ffmpeg hears of something, all of its errors being fatal.
fn sound(server: &Server, ffmpeg: &Ffmpeg, name: &str, arguments: &[&str]) -> Vec<i16> {
    let target = format!("{name}.s16");
    let mut all = vec!["-xerror", "-err_detect", "explode"];
    all.extend(arguments);
    all.extend(["-f", "s16le", &target]);
    make(ffmpeg, name, &all);
    let octets = std::fs::read(server.folder().join(target)).unwrap();
    octets
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// Where `part` stands in `whole`, sample by sample.
fn find(whole: &[i16], part: &[i16]) -> Option<usize> {
    let head = part.get(..400)?;
    let at = whole.windows(400).position(|window| window == head)?;
    (whole.get(at..at + part.len())? == part).then_some(at)
}

#[test]
fn g722_is_recorded_and_played_sample_for_sample_as_it_is_decoded() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    // No two moments of it are alike.
    let noise = "anoisesrc=r=16000:a=0.3:seed=7,tremolo=f=3";
    let made = [
        "-f",
        "lavfi",
        "-i",
        noise,
        "-t",
        "8",
        "-c:a",
        "g722",
        "-f",
        "g722",
        "sent.g722",
    ];
    make(&ffmpeg, "make-g722", &made);
    let sent = sound(&server, &ffmpeg, "sent", &["-f", "g722", "-i", "sent.g722"]);
    assert_eq!(sent.len(), 8 * 16_000);
    let url = url(&server, "lobby/g722");
    let publish = ["-re", "-f", "g722", "-i", "sent.g722", "-c", "copy", "-f", "rtsp"];
    let publisher = ffmpeg.spawn("publish", &[&publish[..], &TCP, &[&url]].concat());
    wait_until_live(&server, "lobby/g722", &publisher);
    let finished = publisher.finish(LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    wait_until_over(&server, "lobby/g722");
    let file = only_file(&server, "lobby/g722");
    let told = probe(&server, &file, "stream=codec_name,sample_rate,channels");
    assert_eq!(told, "pcm_s16be,16000,1");
    let recorded = sound(&server, &ffmpeg, "recorded", &["-i", &file]);
    assert!(recorded.len() > 7 * 16_000, "{} samples", recorded.len());
    assert!(
        find(&sent, &recorded).is_some(),
        "other sound is recorded than was sent"
    );
    let played = sound(
        &server,
        &ffmpeg,
        "played",
        &[&TCP[..], &["-t", "5", "-i", &url]].concat(),
    );
    assert!(played.len() > 4 * 16_000, "{} samples", played.len());
    assert!(
        find(&recorded, &played).is_some(),
        "other sound is played than was recorded"
    );
}

/// How much two pieces of sound are alike: 1 is the same.
fn likeness(one: &[i16], other: &[i16]) -> f64 {
    let product = |a: &[i16], b: &[i16]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let other = &other[..one.len().min(other.len())];
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}

/// When what was recorded of a mount that is live begins, once that is so long that some of it is past.
fn past_of(server: &Server, path: &str) -> String {
    let mut begins = None;
    let begin_of_five_seconds = || {
        let mut socket = RtspSocket::open(server).unwrap();
        let lines = "Content-Type: text/parameters\r\n";
        let told = socket
            .ask("GET_PARAMETER", path, lines, "recorded-ranges\r\n")
            .unwrap();
        let range = told
            .body
            .trim()
            .strip_prefix("recorded-ranges: clock=")?
            .to_owned();
        let (from, to) = range.split_once('-')?;
        let seconds = |clock: &str| {
            let time = clock.split_once('T')?.1.trim_end_matches('Z');
            let (minutes, seconds) = (time.get(2..4)?, time.get(4..)?);
            Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
        };
        let lasts = (seconds(to)? - seconds(from)?).rem_euclid(3_600.0);
        (lasts >= 5.0).then(|| from.to_owned())
    };
    let is_recorded = wait_for(LIMIT, || {
        begins = begin_of_five_seconds();
        begins.is_some()
    });
    assert!(is_recorded, "nothing is recorded");
    begins.unwrap()
}

#[test]
fn what_was_recorded_of_g722_is_played_to_who_was_told_of_g722_while_it_is_live() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let noise = "anoisesrc=r=16000:a=0.3:color=pink:seed=7,tremolo=f=3";
    let made = [
        "-f", "lavfi", "-i", noise, "-t", "16", "-c:a", "g722", "-f", "g722",
    ];
    make(&ffmpeg, "make-g722", &[&made[..], &["sent.g722"]].concat());
    let sent = sound(&server, &ffmpeg, "sent", &["-f", "g722", "-i", "sent.g722"]);
    let publish = ["-re", "-f", "g722", "-i", "sent.g722", "-c", "copy", "-f", "rtsp"];
    let url = url(&server, "lobby/past");
    let publisher = ffmpeg.spawn("publish", &[&publish[..], &TCP, &[&url]].concat());
    wait_until_live(&server, "lobby/past", &publisher);
    let range = format!("Range: clock={}-\r\n", past_of(&server, "/lobby/past"));
    let mut socket = RtspSocket::open(&server).unwrap();
    let described = socket.ask("DESCRIBE", "/lobby/past", "", "").unwrap();
    assert!(
        described.body.contains("m=audio 0 RTP/AVP 9\r\n"),
        "{}",
        described.body
    );
    let played = socket.play("/lobby/past", 1, &range).unwrap();
    assert_eq!(played.status, 200, "{}", played.head);
    let mut octets = Vec::new();
    while octets.len() < 4 * 8_000 {
        let (channel, packet) = socket.packet().unwrap();
        if channel == 0 {
            assert_eq!(packet[1] & 0x7f, 9);
            octets.extend_from_slice(&packet[12..]);
        }
    }
    std::fs::write(server.folder().join("past.g722"), &octets).unwrap();
    let past = sound(&server, &ffmpeg, "past", &["-f", "g722", "-i", "past.g722"]);
    // Coding takes some samples; where a moment is, the rest is too.
    let past = &past[4_000..];
    let alike = |at: &usize| likeness(&past[..2_000], &sent[*at..]);
    let at = (0..32_000).max_by(|a, b| alike(a).total_cmp(&alike(b))).unwrap();
    let likeness = likeness(past, &sent[at..]);
    assert!(likeness > 0.99, "{likeness} at {at}");
    drop(publisher);
}

/// The access units of MPEG-4 video, without the headers that may be said again before key pictures.
fn mpeg4_units(ffmpeg: &Ffmpeg, name: &str, options: &[&str], input: &str) -> Vec<Unit> {
    let units = ffmpeg.units_through("remove_extra=freq=all", name, options, input);
    units.unwrap_or_else(|output| panic!("{name}: {output}"))
}

#[test]
fn mpeg4_video_is_recorded_and_played_picture_for_picture() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    for order in ["0", "2"] {
        let (sample, mount) = (format!("sent-{order}.mp4"), format!("lobby/mpeg4-{order}"));
        let pictures = "testsrc2=size=320x240:rate=25,noise=alls=30:allf=t";
        let mut made = vec![
            "-f",
            "lavfi",
            "-i",
            pictures,
            "-f",
            "lavfi",
            "-i",
            "sine=sample_rate=48000",
        ];
        made.extend([
            "-t", "8", "-c:v", "mpeg4", "-b:v", "1M", "-g", "25", "-bf", order, "-c:a", "aac", &sample,
        ]);
        make(&ffmpeg, &format!("make-{order}"), &made);
        let sent = mpeg4_units(&ffmpeg, &format!("sent-{order}"), &[], &sample);
        let url = url(&server, &mount);
        let publisher = ffmpeg.publish(&format!("publish-{order}"), sample.as_ref(), "tcp", &url);
        wait_until_live(&server, &mount, &publisher);
        let finished = publisher.finish(LIMIT);
        assert!(finished.succeeded(), "{}", finished.output);
        wait_until_over(&server, &mount);
        let file = only_file(&server, &mount);
        let told = probe(&server, &file, "stream=codec_name,width,height");
        assert!(told.contains("mpeg4,320,240") && told.contains("aac"), "{told}");
        let recorded = mpeg4_units(&ffmpeg, &format!("recorded-{order}"), &[], &file);
        let counts = compare_units(&sent, &recorded, JITTER_S);
        assert!(counts[0].0 > 195 && counts[1].0 > 340, "{counts:?}");
        let played = mpeg4_units(
            &ffmpeg,
            &format!("played-{order}"),
            &[&TCP[..], &["-t", "5"]].concat(),
            &url,
        );
        let counts = compare_units(&sent, &played, JITTER_S);
        assert!(counts[0].0 > 100 && counts[1].0 > 200, "{counts:?}");
        // A decoder finds nothing wrong.
        let decode = [
            "-xerror",
            "-err_detect",
            "explode",
            "-i",
            &file,
            "-f",
            "null",
            "-",
        ];
        make(&ffmpeg, &format!("decode-{order}"), &decode);
    }
}

#[test]
fn mpeg4_video_without_a_word_in_its_description_is_recorded() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let url = url(&server, "lobby/bare");
    let mut publish = vec![
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=352x288:rate=25",
        "-t",
        "6",
    ];
    publish.extend([
        "-c:v",
        "mpeg4",
        "-b:v",
        "1M",
        "-g",
        "25",
        "-flags:v",
        "-global_header",
        "-f",
        "rtsp",
    ]);
    let publisher = ffmpeg.spawn("publish", &[&publish[..], &TCP, &[&url]].concat());
    wait_until_live(&server, "lobby/bare", &publisher);
    let mut socket = RtspSocket::open(&server).unwrap();
    let described = socket
        .ask("DESCRIBE", "/lobby/bare", "Accept: application/sdp\r\n", "")
        .unwrap();
    assert!(
        described.body.contains("MP4V-ES") && !described.body.contains("config="),
        "{}",
        described.body
    );
    let finished = publisher.finish(LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    wait_until_over(&server, "lobby/bare");
    let file = only_file(&server, "lobby/bare");
    assert_eq!(
        probe(&server, &file, "stream=codec_name,width,height"),
        "mpeg4,352,288"
    );
    for (name, input) in [
        ("file", vec!["-i", &*file]),
        ("played", [&TCP[..], &["-t", "4", "-i", &url]].concat()),
    ] {
        let target = format!("{name}.md5");
        let decode = ["-map", "0:v", "-f", "framemd5", &target];
        make(
            &ffmpeg,
            name,
            &[&["-xerror", "-err_detect", "explode"], &input[..], &decode].concat(),
        );
        let lines = std::fs::read_to_string(server.folder().join(target)).unwrap();
        let pictures = lines.lines().filter(|line| !line.starts_with('#')).count();
        assert!(pictures > 90, "{name}: {pictures} pictures");
    }
}

#[test]
fn files_with_mpeg4_video_are_played_whole_and_from_where_is_wanted() {
    let mut server = Server::prepared(&Options::default());
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let folder = server.folder().join("films");
    std::fs::create_dir(&folder).unwrap();
    let pictures = "testsrc2=size=320x240:rate=25,noise=alls=30:allf=t";
    // In one piece and in fragments, and in packets of video that a loss would leave readable.
    for (name, options) in [
        (
            "whole.mp4",
            &["-bf", "2", "-flags", "+cgop", "-sc_threshold", "1000000000"][..],
        ),
        (
            "parts.mp4",
            &["-movflags", "frag_keyframe+empty_moov", "-ps", "400"],
        ),
    ] {
        let target = folder.join(name).display().to_string();
        let source = ["-f", "lavfi", "-i", pictures, "-t", "8", "-c:v", "mpeg4"];
        let coded = ["-b:v", "1M", "-g", "25"];
        make(
            &ffmpeg,
            name,
            &[&source[..], &coded, options, &[&target]].concat(),
        );
    }
    let text = std::fs::read_to_string(server.config()).unwrap();
    let mounts = format!(
        "[streams]\nmounts.\"films\" = {{ folder = {folder:?} }}\n\
         mounts.\"films/*\" = {{ read = [\"anyone\"] }}\n"
    );
    std::fs::write(server.config(), text.replace("[streams]\n", &mounts)).unwrap();
    server.run();
    for name in ["whole.mp4", "parts.mp4"] {
        let sent = mpeg4_units(
            &ffmpeg,
            &format!("sent-{name}"),
            &[],
            &folder.join(name).display().to_string(),
        );
        assert_eq!(sent.len(), 200);
        let url = url(&server, &format!("films/{name}"));
        for transport in ["tcp", "udp"] {
            let options = ["-rtsp_transport", transport];
            let played = mpeg4_units(&ffmpeg, &format!("{transport}-{name}"), &options, &url);
            assert_eq!(compare_units(&sent, &played, JITTER_S)[0].0, 200, "{name}");
        }
        let options = [&TCP[..], &["-ss", "5.3", "-t", "2"]].concat();
        let played = mpeg4_units(&ffmpeg, &format!("seek-{name}"), &options, &url);
        let flags = probe(&server, &folder.join(name).display().to_string(), "packet=flags");
        let is_key: Vec<_> = flags.lines().map(|flags| flags.starts_with('K')).collect();
        let at = sent.iter().position(|unit| unit.md5 == played[0].md5).unwrap();
        let is_last_key = is_key[at] && !is_key[at + 1..=125].contains(&true);
        assert!(is_last_key, "{name}: it begins with picture {at}");
        compare_units(&sent, &played, f64::INFINITY);
    }
}

/// Announces one track, over the connection itself, and begins to publish it.
fn publish_by_hand(server: &Server, path: &str, sdp: &str) -> RtspSocket {
    let mut socket = RtspSocket::open(server).unwrap();
    let announced = socket.announce(path, sdp).unwrap();
    let set_up = socket
        .set_up(&format!("{path}/track"), 0, ";mode=record")
        .unwrap();
    let recorded = socket.ask("RECORD", path, "", "").unwrap();
    assert_eq!(
        (announced.status, set_up.status, recorded.status),
        (200, 200, 200)
    );
    socket
}

/// A packet of the first channel.
fn packet(number: usize, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let length = (12 + payload.len() as u16).to_be_bytes();
    let kind = [0x80, if marker { 0xe0 } else { 0x60 }];
    let (sequence, timestamp) = ((number as u16).to_be_bytes(), timestamp.to_be_bytes());
    let source = [0, 0, 0, 7];
    let head = [&length[..], &kind, &sequence, &timestamp, &source].concat();
    [&[b'$', 0], &head[..], payload].concat()
}

#[test]
fn gstreamer_begins_with_a_picture_coded_by_itself_live_and_has_its_headers_from_a_recording() {
    let server = server();
    let (Some(gst), Some(ffmpeg)) = (client("gst-launch-1.0"), Ffmpeg::find(server.folder())) else {
        return;
    };
    let pictures = "testsrc2=size=320x240:rate=25";
    let source = ["-f", "lavfi", "-i", pictures, "-t", "12", "-c:v", "mpeg4"];
    let coded = ["-b:v", "1M", "-g", "50", "sent.mp4"];
    make(&ffmpeg, "make", &[&source[..], &coded].concat());
    let url = url(&server, "lobby/gst");
    let read = |name: &str, transport: &str| {
        let target = server.folder().join(format!("{name}.m4v"));
        let pipeline = format!(
            "rtspsrc location={url} protocols={transport} ! rtpmp4vdepay ! \
             video/mpeg,mpegversion=4 ! filesink location={}",
            target.display()
        );
        let mut command = Command::new(&gst);
        command.arg("-q").args(pipeline.split_whitespace());
        let reader = spawn(server.folder(), name, &mut command);
        let length = || std::fs::metadata(&target).map_or(0, |file| file.len());
        assert!(wait_for(LIMIT, || length() > 100_000), "{}", reader.output());
        drop(reader);
        let octets = std::fs::read(target).unwrap();
        let at = |is: fn(&[u8]) -> bool| octets.windows(5).position(is);
        let layer = at(|code| code[..3] == [0, 0, 1] && (0x20..=0x2f).contains(&code[3]));
        let picture = at(|code| code[..4] == [0, 0, 1, 0xb6]).unwrap();
        assert_eq!(
            octets[picture + 4] >> 6,
            0,
            "{name} begins with a picture that needs others"
        );
        layer.is_some_and(|layer| layer < picture)
    };
    let publisher = ffmpeg.publish("publish", "sent.mp4".as_ref(), "tcp", &url);
    wait_until_live(&server, "lobby/gst", &publisher);
    // Who publishes tells them in the description alone.
    read("live-tcp", "tcp");
    read("live-udp", "udp");
    let finished = publisher.finish(LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    wait_until_over(&server, "lobby/gst");
    assert!(read("later-tcp", "tcp") && read("later-udp", "udp"));
}

/// The elements of a file of LOAS: behind eleven bits of a mark and thirteen of its length is each as RTP has it with the
/// configuration in the band (ISO/IEC 14496-3 §1.7.2).
fn elements(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file;
    let mut found = Vec::new();
    while let [0x56, high, low, behind @ ..] = rest {
        assert_eq!(high & 0xe0, 0xe0);
        let (element, next) = behind.split_at(usize::from(high & 0x1f) << 8 | usize::from(*low));
        found.push(element);
        rest = next;
    }
    assert!(rest.is_empty(), "a frame of LOAS");
    found
}

#[test]
fn latm_of_ffmpeg_with_its_configuration_in_the_band_is_recorded_and_played_frame_for_frame() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let noise = "anoisesrc=r=44100:a=0.3:seed=7,tremolo=f=3";
    make(
        &ffmpeg,
        "make",
        &[
            "-f", "lavfi", "-i", noise, "-ac", "2", "-t", "6", "-c:a", "aac", "sent.mp4",
        ],
    );
    let sent = ffmpeg.units_through("null", "sent", &[], "sent.mp4").unwrap();
    // Its configuration is said with every twentieth frame.
    make(
        &ffmpeg,
        "latm",
        &["-i", "sent.mp4", "-c", "copy", "-f", "latm", "sent.latm"],
    );
    let file = std::fs::read(server.folder().join("sent.latm")).unwrap();
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\n\
        a=rtpmap:96 MP4A-LATM/44100/2\r\na=fmtp:96 object=2; cpresent=1\r\na=control:track\r\n";
    let mut socket = publish_by_hand(&server, "/lobby/latm", sdp);
    let began = Instant::now();
    for (n, element) in elements(&file).into_iter().enumerate() {
        let due = began + Duration::from_secs_f64(n as f64 * 1_024.0 / 44_100.0);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        socket.send(&packet(n, n as u32 * 1_024, true, element)).unwrap();
    }
    assert_eq!(socket.ask("TEARDOWN", "/lobby/latm", "", "").unwrap().status, 200);
    wait_until_over(&server, "lobby/latm");
    let file = only_file(&server, "lobby/latm");
    assert_eq!(
        probe(&server, &file, "stream=codec_name,sample_rate,channels"),
        "aac,44100,2"
    );
    let recorded = ffmpeg.units_through("null", "recorded", &[], &file).unwrap();
    let counts = compare_units(&sent, &recorded, JITTER_S);
    assert!(counts[0].0 > 250, "{counts:?}");
    let url = url(&server, "lobby/latm");
    let options = [&TCP[..], &["-t", "4"]].concat();
    let played = ffmpeg.units_through("null", "played", &options, &url).unwrap();
    let counts = compare_units(&sent, &played, JITTER_S);
    assert!(counts[0].0 > 150, "{counts:?}");
}

/// The frames of a file of ADTS, without their headers.
fn adts_frames(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = file;
    let mut found = Vec::new();
    while let [0xff, flags, _, channels, middle, low, ..] = *rest {
        let length = usize::from(channels & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
        let (frame, behind) = rest.split_at(length);
        let header = if flags & 1 == 1 { 7 } else { 9 };
        found.push(frame[header..].to_vec());
        rest = behind;
    }
    assert!(rest.is_empty(), "a frame of ADTS");
    found
}

/// Mounts of one track of AAC: its configuration is that of 11,025 samples a second in one channel.
fn aac_sdp(map: &str, fmtp: &str) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\n\
         a=rtpmap:96 {map}/11025\r\na=fmtp:96 {fmtp}\r\na=control:track\r\n"
    )
}

/// Publishes payloads of one frame each at their time.
fn publish_aac(server: &Server, path: &str, sdp: &str, payloads: &[Vec<u8>]) {
    let mut socket = publish_by_hand(server, path, sdp);
    let began = Instant::now();
    for (n, payload) in payloads.iter().enumerate() {
        let due = began + Duration::from_secs_f64(n as f64 * 1_024.0 / 11_025.0);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        socket.send(&packet(n, n as u32 * 1_024, true, payload)).unwrap();
    }
}

/// Four seconds of packets of what was recorded of a mount that is live, as its description has them.
fn past_packets(server: &Server, path: &str) -> Vec<Vec<u8>> {
    let range = format!("Range: clock={}-\r\n", past_of(server, path));
    let mut socket = RtspSocket::open(server).unwrap();
    let played = socket.play(path, 1, &range).unwrap();
    assert_eq!(played.status, 200, "{}", played.head);
    let mut packets = Vec::new();
    while packets.len() < 43 {
        let (channel, packet) = socket.packet().unwrap();
        if channel == 0 {
            packets.push(packet);
        }
    }
    packets
}

/// Makes `sent.mp4`, and `sent.aac` and `sent.latm` of it: frames of less than 64 octets, which the mode AAC-lbr can hold, and that are
/// decoded alike whatever came before. Gives all but the first few, which are longer.
fn small_frames(server: &Server, ffmpeg: &Ffmpeg) -> Vec<Vec<u8>> {
    let tone = "sine=f=440:r=11025,tremolo=f=3";
    let coded = ["-c:a", "aac", "-b:a", "3k", "-cutoff", "900", "-aac_pns", "0"];
    let source = ["-f", "lavfi", "-i", tone, "-t", "16"];
    make(ffmpeg, "make", &[&source[..], &coded, &["sent.mp4"]].concat());
    for (name, target) in [("adts", "sent.aac"), ("latm", "sent.latm")] {
        make(
            ffmpeg,
            name,
            &["-i", "sent.mp4", "-c", "copy", "-f", name, target],
        );
    }
    let file = std::fs::read(server.folder().join("sent.aac")).unwrap();
    let frames = adts_frames(&file).split_off(3);
    assert!(frames.iter().all(|frame| frame.len() < 64));
    frames
}

/// Frames that were received are some of those that were sent.
fn assert_part(sent: &[Vec<u8>], received: &[Vec<u8>]) {
    let is_part = sent.windows(received.len()).any(|part| part == received);
    assert!(is_part, "other frames are played than were sent");
}

#[test]
fn what_was_recorded_of_latm_is_played_in_latm_to_who_was_told_of_that_while_it_is_live() {
    let server = server();
    let (Some(gst), Some(ffmpeg)) = (client("gst-launch-1.0"), Ffmpeg::find(server.folder())) else {
        return;
    };
    let frames = small_frames(&server, &ffmpeg);
    let (folder, server) = (server.folder().display(), &server);
    let read = |name: &str| std::fs::read(server.folder().join(name)).unwrap();
    let behind_length = |frame: &Vec<u8>| [&[frame.len() as u8], &frame[..]].concat();
    let of_description: Vec<_> = frames.iter().map(behind_length).collect();
    let file = read("sent.latm");
    let of_band: Vec<_> = elements(&file).into_iter().map(<[u8]>::to_vec).collect();
    let config = "40002a103fc0";
    let told = aac_sdp("MP4A-LATM", &format!("cpresent=0;config={config}"));
    let untold = aac_sdp("MP4A-LATM", "cpresent=1");
    let [described, banded] = std::thread::scope(|scope| {
        scope.spawn(|| publish_aac(server, "/lobby/told", &told, &of_description));
        scope.spawn(|| publish_aac(server, "/lobby/untold", &untold, &of_band));
        let readers = ["/lobby/told", "/lobby/untold"];
        let readers = readers.map(|path| scope.spawn(move || past_packets(server, path)));
        readers.map(|reader| reader.join().unwrap())
    });
    // Without the configuration in the band: GStreamer takes it apart.
    let with_length = |packet: &Vec<u8>| [&(packet.len() as u16).to_be_bytes()[..], packet].concat();
    let stream: Vec<u8> = described.iter().flat_map(with_length).collect();
    std::fs::write(server.folder().join("past.rtp"), stream).unwrap();
    let caps = format!(
        "application/x-rtp-stream,media=audio,payload=96,clock-rate=11025,encoding-name=MP4A-LATM,\
         cpresent=(string)0,config=(string){config}"
    );
    let pipeline = format!(
        "filesrc location={folder}/past.rtp ! {caps} ! rtpstreamdepay ! rtpmp4adepay ! aacparse ! \
         audio/mpeg,stream-format=adts ! filesink location={folder}/past.aac"
    );
    let mut command = Command::new(&gst);
    command.arg("-q").args(pipeline.split_whitespace());
    let received = run(server.folder(), "gst", &mut command, LIMIT);
    assert!(received.succeeded(), "{}", received.output);
    // It takes nothing apart before it has seen a marker.
    let received = adts_frames(&read("past.aac")).split_off(1);
    assert_eq!(received.len(), 42);
    assert_part(&frames, &received);
    // With it: ffmpeg decodes the elements as they are.
    let with_mark = |packet: &Vec<u8>| {
        let length = packet.len() as u16 - 12;
        [&[0x56, 0xe0 | (length >> 8) as u8, length as u8], &packet[12..]].concat()
    };
    let loas: Vec<u8> = banded.iter().flat_map(with_mark).collect();
    std::fs::write(server.folder().join("past.loas"), loas).unwrap();
    let whole = sound(server, &ffmpeg, "whole", &["-i", "sent.mp4"]);
    let past = sound(server, &ffmpeg, "past", &["-f", "loas", "-i", "past.loas"]);
    assert!(past.len() > 38 * 1_024, "{} samples", past.len());
    // The first frames lack those before them.
    let is_found = find(&whole, &past[3 * 1_024..]).is_some();
    assert!(is_found, "other sound is played than was sent");
}

// RFC 3640 §3.3.5.
#[test]
fn what_was_recorded_of_aac_of_a_low_rate_is_played_in_its_mode_to_who_was_told_of_that_while_it_is_live() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let frames = small_frames(&server, &ffmpeg);
    let behind_header = |frame: &Vec<u8>| [&[0, 8, (frame.len() as u8) << 2], &frame[..]].concat();
    let payloads: Vec<_> = frames.iter().map(behind_header).collect();
    let fmtp = "streamtype=5;profile-level-id=14;mode=AAC-lbr;config=1508;sizelength=6;indexlength=2;indexdeltalength=2";
    let sdp = aac_sdp("mpeg4-generic", fmtp);
    let past = std::thread::scope(|scope| {
        scope.spawn(|| publish_aac(&server, "/lobby/low", &sdp, &payloads));
        past_packets(&server, "/lobby/low")
    });
    // Who reads them from a mount where they are published as they came.
    let again: Vec<_> = past.iter().map(|packet| packet[12..].to_vec()).collect();
    let url = url(&server, "lobby/again");
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_aac(&server, "/lobby/again", &sdp, &again));
        let is_live = || !listed_stream(&server, "lobby/again").is_empty();
        assert!(wait_for(LIMIT, is_live), "it is not live");
        let arguments = ["-t", "1.5", "-i", &url, "-c", "copy", "-f", "adts", "past.aac"];
        make(&ffmpeg, "read", &[&TCP[..], &arguments].concat());
        publisher.join().unwrap();
    });
    let received = adts_frames(&std::fs::read(server.folder().join("past.aac")).unwrap());
    assert!(received.len() > 12, "{} frames", received.len());
    assert_part(&frames, &received);
}

/// How many sequence and picture parameter sets a file's header has, as it says itself (ISO/IEC 14496-15 §5.3.3.1.2).
fn sets_of(file: &PathBuf) -> (usize, usize) {
    let octets = std::fs::read(file).unwrap();
    let at = octets.windows(4).position(|name| name == b"avcC").unwrap() + 4;
    let mut rest = &octets[at + 5..];
    let mut count = |mask: u8| {
        let count = usize::from(rest[0] & mask);
        rest = &rest[1..];
        for _ in 0..count {
            rest = &rest[2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]))..];
        }
        count
    };
    (count(0x1f), count(0xff))
}

/// Two encoders' pictures, a group of each by turns, whose sets have other numbers and say other things.
fn make_turns(server: &Server, ffmpeg: &Ffmpeg) {
    for (name, number, cabac) in [("zero", 0, 1), ("one", 1, 0)] {
        let pictures = "testsrc2=size=320x240:rate=25";
        let options = format!("sps-id={number}:cabac={cabac}:scenecut=0:aud=1");
        let source = ["-f", "lavfi", "-i", pictures, "-t", "8", "-c:v", "libx264"];
        let coded = [
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "25",
            "-bf",
            "0",
        ];
        let target = format!("{name}.h264");
        let rest = ["-x264-params", &options, &target];
        make(ffmpeg, name, &[&source[..], &coded, &rest].concat());
    }
    // Groups of pictures begin with a delimiter and a sequence's parameter set.
    let groups = |name: &str| -> Vec<Vec<u8>> {
        let octets = std::fs::read(server.folder().join(format!("{name}.h264"))).unwrap();
        let begins = |at: &usize| {
            let head = &octets[*at..];
            head.starts_with(&[0, 0, 0, 1, 9]) && head.get(6..11).is_some_and(|next| next.contains(&0x67))
        };
        let mut starts: Vec<usize> = (0..octets.len()).filter(begins).collect();
        starts.push(octets.len());
        let parts = starts.windows(2);
        parts.map(|two| octets[two[0]..two[1]].to_vec()).collect()
    };
    let (zero, one) = (groups("zero"), groups("one"));
    assert_eq!((zero.len(), one.len()), (8, 8));
    let turns = (0..8).flat_map(|n| {
        if n % 2 == 0 {
            zero[n].clone()
        } else {
            one[n].clone()
        }
    });
    std::fs::write(server.folder().join("turns.h264"), turns.collect::<Vec<_>>()).unwrap();
}

/// What a decoder makes of each picture, all of its errors being fatal.
fn decoded(server: &Server, ffmpeg: &Ffmpeg, name: &str, input: &[&str]) -> Vec<String> {
    let target = format!("{name}.md5");
    let rest = ["-map", "0:v", "-f", "framemd5", &target];
    let strict = ["-xerror", "-err_detect", "explode"];
    make(ffmpeg, name, &[&strict, input, &rest].concat());
    let lines = std::fs::read_to_string(server.folder().join(target)).unwrap();
    let hashes = lines.lines().filter(|line| !line.starts_with('#'));
    let hash = |line: &str| line.rsplit(',').next().unwrap().trim().to_owned();
    hashes.map(hash).collect()
}

fn record(server: &Server, ffmpeg: &Ffmpeg, mount: &str, input: &[&str]) {
    let url = url(server, mount);
    let publish = [&["-re"], input, &["-c", "copy", "-f", "rtsp"], &TCP, &[&url]].concat();
    let publisher = ffmpeg.spawn(&mount.replace('/', "-"), &publish);
    wait_until_live(server, mount, &publisher);
    let finished = publisher.finish(LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    wait_until_over(server, mount);
}

#[test]
fn parameter_sets_that_are_used_by_turns_are_all_in_the_header_and_begin_no_files() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    make_turns(&server, &ffmpeg);
    let turns = ["-framerate", "25", "-f", "h264", "-i", "turns.h264"];
    record(&server, &ffmpeg, "lobby/turns", &turns);
    let files = recorded(&server, "lobby/turns");
    let sets: Vec<_> = files.iter().map(sets_of).collect();
    assert_eq!(sets, [(1, 1), (2, 2)], "what is said by turns is new once");
    let last = files[1].display().to_string();
    let decoded = |name: &str, input: &[&str]| decoded(&server, &ffmpeg, name, input);
    let sent = decoded("sent", &["-f", "h264", "-i", "turns.h264"]);
    assert_eq!(sent.len(), 200);
    let in_last = decoded("last", &["-i", &last]);
    assert_eq!(in_last, sent[25..]);
    // From the middle: a decoder has had nothing before.
    let tail = decoded("tail", &["-ss", "3", "-i", &last]);
    assert!(
        tail.len() >= 100 && sent.ends_with(&tail),
        "{} pictures",
        tail.len()
    );
    let url = url(&server, "lobby/turns");
    let played = decoded("played", &[&TCP[..], &["-t", "5", "-i", &url]].concat());
    assert!(played.len() > 100, "{} pictures are played", played.len());
    assert!(
        sent.windows(played.len()).any(|part| part == played),
        "other pictures are played than were sent"
    );
}

#[test]
fn parameter_sets_that_a_description_or_a_header_alone_tells_are_all_kept_and_given_out() {
    let mut server = Server::prepared(&Options::default());
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let folder = server.folder().join("films");
    std::fs::create_dir(&folder).unwrap();
    let text = std::fs::read_to_string(server.config()).unwrap();
    let mounts = format!(
        "[streams]\nvacancy_s = 1\n\
         mounts.\"lobby/*\" = {{ publish = [\"anyone\"], read = [\"anyone\"], record = true }}\n\
         mounts.\"films\" = {{ folder = {folder:?} }}\n\
         mounts.\"films/*\" = {{ read = [\"anyone\"] }}\n"
    );
    std::fs::write(server.config(), text.replace("[streams]\n", &mounts)).unwrap();
    server.run();
    make_turns(&server, &ffmpeg);
    let turns = ["-framerate", "25", "-f", "h264", "-i", "turns.h264"];
    record(&server, &ffmpeg, "lobby/turns", &turns);
    // A file whose header has all sets, and whose pictures have none.
    let recorded_file = recorded(&server, "lobby/turns").pop().unwrap();
    let bare = folder.join("bare.mp4");
    let (from, to) = (recorded_file.display().to_string(), bare.display().to_string());
    let strip = [
        "-i",
        &from,
        "-c",
        "copy",
        "-bsf:v",
        "filter_units=remove_types=7-8",
        &to,
    ];
    make(&ffmpeg, "strip", &strip);
    assert_eq!(sets_of(&bare), (2, 2));
    let sent = decoded(&server, &ffmpeg, "bare", &["-i", &to]);
    assert_eq!(sent.len(), 175);
    // Played as a file, and to a client that has missed what is told in the description.
    let film = url(&server, "films/bare.mp4");
    let played = decoded(&server, &ffmpeg, "film", &[&TCP[..], &["-i", &film]].concat());
    assert_eq!(played, sent);
    let mut socket = RtspSocket::open(&server).unwrap();
    let described = socket
        .ask("DESCRIBE", "/films/bare.mp4", "Accept: application/sdp\r\n", "")
        .unwrap();
    let told = described.body.split("sprop-parameter-sets=").nth(1).unwrap();
    let told = told.split(['\r', ';']).next().unwrap();
    assert_eq!(told.split(',').count(), 4, "{told}");
    // Published by who tells them in the description alone.
    let bare = [
        "-i",
        &to,
        "-c",
        "copy",
        "-bsf:v",
        "h264_mp4toannexb,filter_units=remove_types=7-8",
    ];
    make(&ffmpeg, "bare-units", &[&bare[..], &["bare.h264"]].concat());
    let units = annex_b_units(&std::fs::read(server.folder().join("bare.h264")).unwrap());
    assert!(units.iter().all(|unit| !matches!(unit[0] & 0x1f, 7 | 8)));
    let sdp = format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
         a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={told}\r\na=control:track\r\n"
    );
    let mut publisher = publish_by_hand(&server, "/lobby/bare", &sdp);
    let began = Instant::now();
    let mut pictures = 0;
    for (n, unit) in units.iter().enumerate() {
        let is_last = units.get(n + 1).is_none_or(|next| next[0] & 0x1f == 9);
        let due = began + Duration::from_millis(40) * pictures;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        publisher
            .send(&packet(n, pictures * 3_600, is_last, unit))
            .unwrap();
        pictures += u32::from(is_last);
    }
    assert_eq!(
        publisher.ask("TEARDOWN", "/lobby/bare", "", "").unwrap().status,
        200
    );
    wait_until_over(&server, "lobby/bare");
    let files = recorded(&server, "lobby/bare");
    assert_eq!(files.iter().map(sets_of).collect::<Vec<_>>(), [(2, 2)]);
    let in_file = files[0].display().to_string();
    assert_eq!(decoded(&server, &ffmpeg, "recorded", &["-i", &in_file]), sent);
}
