//! Pictures that are not as most are: without key pictures, and of another size in mid-stream; and sound in LATM.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Child, Ffmpeg, Finished, Options, Server, client, compare_units, listed_stream as listed, recorded, run,
    spawn, stream_url as url, wait_for, wait_until_live, wait_until_over,
};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// Reports move times a little: the server follows its publisher's clock.
const JITTER_S: f64 = 0.010;

fn server() -> Server {
    let rule = "{ publish = [\"anyone\"], read = [\"anyone\"], record = true }";
    Server::start_with(&Options {
        streams: format!("vacancy_s = 1\nmounts.\"lobby/*\" = {rule}\n"),
        ..Options::default()
    })
}

/// What ffprobe says of the streams of something.
fn probe(server: &Server, what: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(client("ffprobe").unwrap());
    command.args(["-v", "error"]).args(arguments);
    if what.starts_with("rtsp") {
        command.args(["-rtsp_transport", "tcp"]);
    }
    run(
        server.folder(),
        "ffprobe",
        command.args(["-of", "csv", what]),
        LIMIT,
    )
}

/// Forty seconds of pictures that are refreshed little by little, within two seconds, and of sound.
fn refreshing_sample(ffmpeg: &Ffmpeg) -> String {
    let pictures = "testsrc2=size=320x240:rate=25";
    let mut arguments = vec!["-f", "lavfi", "-i", pictures, "-f", "lavfi"];
    arguments.extend([
        "-i",
        "sine=frequency=440:sample_rate=48000",
        "-t",
        "40",
        "-c:v",
        "libx264",
    ]);
    arguments.extend(["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-x264-params"]);
    arguments.extend([
        "intra-refresh=1:keyint=50:bframes=0:ref=1",
        "-c:a",
        "aac",
        "refreshing.mp4",
    ]);
    let made = ffmpeg.run("make-refreshing", &arguments, LIMIT);
    assert!(made.succeeded(), "{}", made.output);
    "refreshing.mp4".into()
}

/// Publishes it without NAL units of some types.
fn publish_without(ffmpeg: &Ffmpeg, sample: &str, types: &str, url: &str) -> Child {
    let filter = format!("h264_mp4toannexb,filter_units=remove_types={types}");
    let mut arguments = vec!["-re", "-i", sample, "-map", "0", "-c", "copy", "-bsf:v", &filter];
    arguments.extend(["-f", "rtsp", "-rtsp_transport", "tcp", url]);
    ffmpeg.spawn("publish-refreshing", &arguments)
}

#[test]
fn pictures_that_are_refreshed_little_by_little_are_read_recorded_and_played() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = refreshing_sample(&ffmpeg);
    let sent = ffmpeg.units("sent", &[], &sample);
    let url = url(&server, "lobby/refreshing");
    // No IDR picture, and parameter sets in the description alone; what is left are recovery points.
    let publisher = publish_without(&ffmpeg, &sample, "5|7|8", &url);
    wait_until_live(&server, "lobby/refreshing", &publisher);
    let tcp = ["-rtsp_transport", "tcp", "-t", "6"];
    let live = ffmpeg.units("live", &tcp, &url);
    let streams = compare_units(&sent, &live, JITTER_S);
    assert!(
        streams.len() == 2 && streams[0].0 > 75 && streams[1].0 > 200,
        "{streams:?}"
    );
    // A decoder makes pictures of it.
    let decode = [
        "-rtsp_transport",
        "tcp",
        "-i",
        &url,
        "-t",
        "3",
        "-map",
        "0:v",
        "-f",
        "framemd5",
        "decoded",
    ];
    let decoded = ffmpeg.run("decode", &decode, LIMIT);
    assert!(decoded.succeeded(), "{}", decoded.output);
    let lines = std::fs::read_to_string(server.folder().join("decoded")).unwrap();
    assert!(
        lines.lines().filter(|line| !line.starts_with('#')).count() > 50,
        "{lines}"
    );
    drop(publisher);
    wait_until_over(&server, "lobby/refreshing");
    let played = ffmpeg.units("played", &tcp, &url);
    let streams = compare_units(&sent, &played, JITTER_S);
    assert!(
        streams.len() == 2 && streams[0].0 > 100 && streams[1].0 > 200,
        "{streams:?}"
    );
}

#[test]
fn pictures_of_which_none_says_where_to_begin_are_begun_with_after_a_while() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = refreshing_sample(&ffmpeg);
    let url = url(&server, "lobby/silent");
    let publisher = publish_without(&ffmpeg, &sample, "5-8", &url);
    wait_until_live(&server, "lobby/silent", &publisher);
    // ffmpeg copies nothing of it by itself.
    let copied = |name: &str| {
        let mut arguments = vec![
            "-rtsp_transport",
            "tcp",
            "-i",
            &url,
            "-t",
            "5",
            "-map",
            "0:v",
            "-c",
            "copy",
        ];
        arguments.extend(["-copyinkf", "-f", "framemd5", name]);
        let read = ffmpeg.run(name, &arguments, LIMIT);
        assert!(read.succeeded(), "{}", read.output);
        let lines = std::fs::read_to_string(server.folder().join(name)).unwrap();
        lines.lines().filter(|line| !line.starts_with('#')).count()
    };
    let live = copied("live");
    assert!(live > 100, "{live} pictures");
    drop(publisher);
    wait_until_over(&server, "lobby/silent");
    let played = copied("played");
    assert!(played > 75, "{played} pictures are played");
    let files = recorded(&server, "lobby/silent");
    let of_last = files.last().unwrap().display().to_string();
    let probed = probe(&server, &of_last, &["-show_entries", "stream=codec_name"]);
    assert!(
        probed.output.contains("h264") && probed.output.contains("aac"),
        "{}",
        probed.output
    );
}

#[test]
fn pictures_of_another_size_go_on_in_another_file_and_all_are_played() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let mut both = Vec::new();
    for size in ["320x240", "640x480"] {
        let (pictures, target) = (format!("testsrc2=size={size}:rate=25"), format!("{size}.h264"));
        let mut arguments = vec![
            "-f", "lavfi", "-i", &pictures, "-t", "6", "-c:v", "libx264", "-preset",
        ];
        arguments.extend([
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "25",
            "-bf",
            "0",
            &target,
        ]);
        let made = ffmpeg.run(&format!("make-{size}"), &arguments, LIMIT);
        assert!(made.succeeded(), "{}", made.output);
        both.extend(std::fs::read(server.folder().join(target)).unwrap());
    }
    std::fs::write(server.folder().join("both.h264"), both).unwrap();
    let url = url(&server, "lobby/sizes");
    let mut arguments = vec![
        "-re",
        "-framerate",
        "25",
        "-f",
        "h264",
        "-i",
        "both.h264",
        "-c",
        "copy",
    ];
    arguments.extend(["-f", "rtsp", "-rtsp_transport", "tcp", &url]);
    let publisher = ffmpeg.spawn("publish", &arguments);
    wait_until_live(&server, "lobby/sizes", &publisher);
    let sizes = |probed: &Finished| {
        let count = |size: &str| probed.output.matches(&format!("frame,{size}")).count();
        (count("320,240"), count("640,480"))
    };
    let entries = ["-select_streams", "v", "-show_entries", "frame=width,height"];
    // Who reads while it changes decodes what comes.
    let read = probe(
        &server,
        &url,
        &[&entries[..], &["-read_intervals", "%+9"]].concat(),
    );
    let (small, large) = sizes(&read);
    assert!(
        small > 50 && large > 25,
        "{small} and {large} pictures\n{}",
        read.output
    );
    let finished = publisher.finish(LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    wait_until_over(&server, "lobby/sizes");
    let files = recorded(&server, "lobby/sizes");
    let of_files: Vec<_> = files
        .iter()
        .map(|file| sizes(&probe(&server, &file.display().to_string(), &entries)))
        .collect();
    let all = of_files
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(
        of_files.iter().all(|(small, large)| *small == 0 || *large == 0),
        "{of_files:?}"
    );
    assert_eq!(all, (150, 150), "{of_files:?}");
    let played = probe(
        &server,
        &url,
        &[&entries[..], &["-read_intervals", "%+11"]].concat(),
    );
    let (small, large) = sizes(&played);
    assert!(
        small > 140 && large > 75,
        "{small} and {large} pictures are played\n{}",
        played.output
    );
}

// RFC 6416: what rtspclientsink makes of AAC.
#[test]
fn what_gstreamer_publishes_with_sound_in_latm_is_read_recorded_and_played() {
    let server = server();
    let (Some(gst), Some(ffmpeg)) = (client("gst-launch-1.0"), Ffmpeg::find(server.folder())) else {
        return;
    };
    for transport in ["tcp", "udp"] {
        let mount = format!("lobby/latm-{transport}");
        let url = url(&server, &mount);
        let pipeline = format!(
            "rtspclientsink name=sink location={url} protocols={transport} \
             videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1,format=I420 ! \
             x264enc tune=zerolatency key-int-max=25 ! h264parse ! sink. \
             audiotestsrc is-live=true ! audio/x-raw,rate=44100,channels=2 ! voaacenc ! aacparse ! sink."
        );
        let mut command = Command::new(&gst);
        command.arg("-q").args(pipeline.split_whitespace());
        let publisher = spawn(server.folder(), &format!("publish-{transport}"), &mut command);
        wait_until_live(&server, &mount, &publisher);
        assert!(listed(&server, &mount)[0].contains("MP4A-LATM"));
        let look = |name: &str, what: &str| {
            let probed = probe(
                &server,
                what,
                &[
                    "-show_entries",
                    "stream=codec_name,width,height,sample_rate,channels",
                ],
            );
            assert!(probed.output.contains("aac,44100,2"), "{name}: {}", probed.output);
            assert!(
                probed.output.contains("h264,320,240"),
                "{name}: {}",
                probed.output
            );
            let target = format!("{name}.wav");
            let mut arguments = vec!["-xerror", "-err_detect", "explode"];
            if what.starts_with("rtsp") {
                arguments.extend(["-rtsp_transport", "tcp"]);
            }
            // Readers follow the publisher's clock from its first report on, and that may be a step of some milliseconds.
            let follow = ["-af", "aresample=async=1"];
            arguments.extend(["-t", "3", "-i", what, "-map", "0:a"]);
            arguments.extend(follow);
            arguments.push(&target);
            let decoded = ffmpeg.run(name, &arguments, LIMIT);
            assert!(decoded.succeeded(), "{name}: {}", decoded.output);
            let size = std::fs::metadata(server.folder().join(target)).unwrap().len();
            assert!(size > 44_100 * 4 * 2, "{name}: {size} octets of sound");
        };
        look(&format!("live-{transport}"), &url);
        drop(publisher);
        wait_until_over(&server, &mount);
        look(&format!("played-{transport}"), &url);
        let files = recorded(&server, &mount);
        look(
            &format!("file-{transport}"),
            &files.last().unwrap().display().to_string(),
        );
    }
}

/// How many packets ffprobe counts of the streams of something, by their codecs.
fn counted(server: &Server, what: &str) -> BTreeMap<String, u64> {
    counted_within(server, what, "%")
}

/// The same of an interval, as ffprobe takes it.
fn counted_within(server: &Server, what: &str, interval: &str) -> BTreeMap<String, u64> {
    let entries = [
        "-read_intervals",
        interval,
        "-count_packets",
        "-show_entries",
        "stream=codec_name,nb_read_packets",
    ];
    let probed = probe(server, what, &entries);
    let counts = probed.output.lines().filter_map(|line| {
        let (codec, packets) = line.strip_prefix("stream,")?.split_once(',')?;
        Some((codec.to_owned(), packets.trim().parse().unwrap_or_default()))
    });
    counts.collect()
}

/// Publishes pictures of a size and a tone, as fast as it happens or as fast as it goes, and waits until that is over.
fn publish_clip(server: &Server, ffmpeg: &Ffmpeg, mount: &str, seconds: &str, size: &str, options: &[&str]) {
    let (pictures, url) = (format!("testsrc2=size={size}:rate=25"), url(server, mount));
    let (speed, encoders) = options.split_at(usize::from(options[0] == "-re"));
    let mut arguments = speed.to_vec();
    arguments.extend(["-f", "lavfi", "-i", &pictures]);
    arguments.extend(speed);
    arguments.extend(["-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", seconds]);
    arguments.extend(encoders);
    arguments.extend([
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "25",
        "-bf",
        "0",
    ]);
    arguments.extend(["-f", "rtsp", "-rtsp_transport", "tcp", &url]);
    let published = ffmpeg.run("publish", &arguments, LIMIT);
    assert!(published.succeeded(), "{}", published.output);
    wait_until_over(server, mount);
}

#[test]
fn what_was_recorded_in_another_encoding_is_told_and_played_too() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let h264 = ["-re", "-c:v", "libx264", "-c:a", "aac"];
    let h265 = [
        "-re",
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=error",
        "-c:a",
        "libopus",
    ];
    for options in [&h264[..], &h265] {
        publish_clip(&server, &ffmpeg, "lobby/kinds", "5", "320x240", options);
    }
    let files = recorded(&server, "lobby/kinds");
    let mut expected = BTreeMap::new();
    for file in &files {
        expected.extend(counted(&server, &file.display().to_string()));
    }
    let names: Vec<&str> = expected.keys().map(String::as_str).collect();
    assert_eq!(names, ["aac", "h264", "hevc", "opus"]);
    assert_eq!((expected["h264"], expected["hevc"]), (125, 125));
    let played = counted(&server, &url(&server, "lobby/kinds"));
    assert_eq!((played["h264"], played["hevc"]), (125, 125), "{played:?}");
    assert!(played["aac"] > 200 && played["opus"] > 200, "{played:?}");
    // Live in yet another one, which is what its description tells; what was recorded has one of its own.
    let live = url(&server, "lobby/kinds");
    let source = [
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25",
        "-t",
        "60",
    ];
    let coded = ["-c:v", "mpeg4", "-f", "rtsp", "-rtsp_transport", "tcp", &live];
    let publisher = ffmpeg.spawn("live", &[&source[..], &coded].concat());
    wait_until_live(&server, "lobby/kinds", &publisher);
    let now = counted_within(&server, &live, "%+2");
    assert_eq!(now.keys().collect::<Vec<_>>(), ["mpeg4"]);
    for (n, url) in [format!("{live}?recorded"), format!("{live}?a=b&recorded=")]
        .iter()
        .enumerate()
    {
        let before = counted_within(&server, url, "%+9");
        // The last picture of a track FFmpeg keeps back until another comes, or the end.
        assert!((124..=125).contains(&before["h264"]), "{n}: {before:?}");
        assert!(before["hevc"] >= 75, "{n}: {before:?}");
        assert!(before["aac"] > 200 && before["opus"] > 100, "{n}: {before:?}");
    }
    // GStreamer leaves a query out where it puts a stream's name behind a URL.
    let Some(gst) = client("gst-launch-1.0") else {
        return;
    };
    let received = server.folder().join("received.h264");
    let mut command = Command::new(gst);
    command.args(["-q", "rtspsrc", "name=source"]);
    command.arg(format!("location={live}?recorded"));
    command.args(
        "protocols=tcp source. ! application/x-rtp,encoding-name=H264 ! rtph264depay ! h264parse".split(' '),
    );
    command.args("! video/x-h264,stream-format=byte-stream,alignment=au ! filesink buffer-mode=2".split(' '));
    command.arg(format!("location={}", received.display()));
    let reader = spawn(server.folder(), "gst-launch", &mut command);
    let pictures = || {
        let is_there = received.metadata().is_ok_and(|found| found.len() > 0);
        let found = is_there.then(|| counted(&server, &received.display().to_string()));
        found.and_then(|found| found.get("h264").copied())
    };
    let has_all = wait_for(LIMIT, || pictures() >= Some(124));
    assert!(has_all, "{:?} pictures: {}", pictures(), reader.output());
}

#[test]
fn what_comes_faster_than_it_happens_is_told_of_recorded_whole_and_hides_nothing() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    for (seconds, size) in [("25", "320x240"), ("15", "640x480")] {
        let options = ["-c:v", "libx264", "-c:a", "aac"];
        publish_clip(&server, &ffmpeg, "lobby/fast", seconds, size, &options);
    }
    let told = server.log().matches("timestamps do not keep time").count();
    assert!(told >= 2, "{told} times\n{}", server.log());
    let of_files = recorded(&server, "lobby/fast")
        .iter()
        .map(|file| counted(&server, &file.display().to_string())["h264"])
        .sum::<u64>();
    assert_eq!(of_files, 25 * (25 + 15));
    let entries = [
        "-select_streams",
        "v",
        "-show_entries",
        "frame=width",
        "-read_intervals",
        "%+45",
    ];
    let played = probe(&server, &url(&server, "lobby/fast"), &entries).output;
    let pictures = |width: &str| played.matches(&format!("frame,{width}")).count();
    assert!(pictures("320") >= 24 * 25, "{} pictures", pictures("320"));
    assert!(pictures("640") >= 14 * 25, "{} pictures", pictures("640"));
}
