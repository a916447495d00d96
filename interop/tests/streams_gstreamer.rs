//! GStreamer publishes and reads streams, each way that it knows.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Child, Device, Ffmpeg, Options, Server, client, compare_units, spawn, wait_for};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
/// GStreamer's clock follows the server's: times move a little while it finds out how.
const JITTER_S: f64 = 0.040;

/// gst-launch on a pipeline.
fn launch(gst: &Path, server: &Server, name: &str, pipeline: &str) -> Child {
    let mut command = Command::new(gst);
    command
        .current_dir(server.folder())
        .arg("-e")
        .args(pipeline.split_whitespace());
    spawn(server.folder(), name, &mut command)
}

/// The file's streams at their pace, to a mount.
fn publish(
    gst: &Path,
    server: &Server,
    sample: &Path,
    transport: &str,
    mount: &str,
    alice: &Device,
) -> Child {
    let (from, address) = (sample.display(), server.address());
    let (user, secret) = (&alice.username, &alice.secret);
    let pipeline = format!(
        "filesrc location={from} ! qtdemux name=d \
         d.video_0 ! queue ! h264parse ! identity sync=true ! s. \
         d.audio_0 ! queue ! aacparse ! identity sync=true ! s. \
         rtspclientsink name=s location=rtsp://{address}:8554/{mount} protocols={transport} latency=0 \
         user-id={user} user-pw={secret}"
    );
    launch(gst, server, &format!("publish-{transport}"), &pipeline)
}

/// Reads for some seconds into a file.
fn read(gst: &Path, server: &Server, name: &str, source: &str) -> PathBuf {
    let target = server.folder().join(format!("{name}.mkv"));
    let to = target.display();
    let pipeline = format!(
        "rtspsrc name=r latency=200 {source} matroskamux name=m ! filesink location={to} \
         r. ! application/x-rtp,media=video ! rtph264depay ! h264parse ! queue ! m. \
         r. ! application/x-rtp,media=audio ! rtpmp4gdepay ! aacparse ! queue ! m."
    );
    loop {
        let mut reader = launch(gst, server, name, &pipeline);
        let mut is_astray = false;
        let is_read = wait_for(LIMIT, || {
            assert!(!reader.has_ended(), "{name}: {}", reader.output());
            // gst-launch links the pads of a source as they come, and now and then loses that race with itself.
            is_astray = reader.output().contains("Delayed linking failed");
            is_astray || target.metadata().is_ok_and(|metadata| metadata.len() > 300_000)
        });
        if is_astray {
            println!("{name}: gst-launch has linked its own elements wrongly, and begins again");
            continue;
        }
        assert!(is_read, "{name}: {}", reader.output());
        reader.signal(libc::SIGINT);
        let finished = reader.finish(LIMIT);
        assert!(finished.status.is_some(), "{name}: {}", finished.output);
        return target;
    }
}

fn wait_until_live(server: &Server, mount: &str, publisher: &mut Child) -> String {
    let mut line = String::new();
    let is_live = wait_for(LIMIT, || {
        assert!(!publisher.has_ended(), "{}", publisher.output());
        let list = server.command(&["stream", "list"]);
        let found = list.lines().find(|line| line.starts_with(&format!("{mount}\t")));
        line = found.unwrap_or_default().to_owned();
        !line.is_empty() && !line.contains("\t0 bytes came")
    });
    assert!(is_live, "{}", publisher.output());
    line
}

#[test]
fn what_rtspclientsink_publishes_rtspsrc_and_ffmpeg_read_every_way() {
    let server = Server::start_with(&Options::default());
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let Some(gst) = client("gst-launch-1.0") else {
        return;
    };
    let (_, alice) = server.person("alice");
    let sample = ffmpeg.sample("sample.mp4", 60);
    let sent = ffmpeg.units("sent", &[], &sample.display().to_string());
    for transport in ["tcp", "udp"] {
        let mount = format!("alice/{transport}");
        let mut publisher = publish(&gst, &server, &sample, transport, &mount, &alice);
        let line = wait_until_live(&server, &mount, &mut publisher);
        assert!(line.contains("H264") && line.contains("MPEG4-GENERIC"), "{line}");
        let (address, user, secret) = (server.address(), &alice.username, &alice.secret);
        std::thread::scope(|scope| {
            for (way, source) in [
                (
                    "udp",
                    format!("location=rtsp://{address}:8554/{mount} protocols=udp"),
                ),
                (
                    "tcp",
                    format!("location=rtsp://{address}:8554/{mount} protocols=tcp"),
                ),
                (
                    "tls",
                    format!("location=rtsps://{address}:8322/{mount} protocols=tcp tls-validation-flags=0"),
                ),
                ("http", format!("location=rtsph://{address}:8554/{mount}")),
            ] {
                let (gst, server, ffmpeg, sent) = (&gst, &server, &ffmpeg, &sent);
                let source = format!("{source} user-id={user} user-pw={secret}");
                scope.spawn(move || {
                    let name = format!("{transport}-{way}");
                    let target = read(gst, server, &name, &source);
                    let units = ffmpeg.units(&format!("units-{name}"), &[], &target.display().to_string());
                    let [(pictures, later), (frames, sound_later)] = compare_units(sent, &units, JITTER_S)[..] else {
                        panic!("{name}: two streams")
                    };
                    println!("{name}: {pictures} pictures, {frames} frames, {later:.3} and {sound_later:.3} s later");
                    assert!(pictures > 50 && frames > 100, "{name}: {pictures} and {frames}");
                    assert!((later - sound_later).abs() < 0.040, "{name}: {later} and {sound_later}");
                });
            }
        });
        let url = format!("rtsp://{user}:{secret}@{address}:8554/{mount}");
        let options = ["-rtsp_transport", "tcp", "-t", "3"];
        let units = ffmpeg.units(&format!("ffmpeg-{transport}"), &options, &url);
        compare_units(&sent, &units, JITTER_S);
    }
}
