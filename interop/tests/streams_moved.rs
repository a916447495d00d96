//! Readers that are sent to another server.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Ffmpeg, Options, RtspSocket, Server, client, run, wait_for};
use std::io::Read;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const OPEN: &str = "mounts.\"lobby/*\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n";

fn server(streams: &str) -> Server {
    Server::start_with(&Options {
        streams: streams.into(),
        ..Options::default()
    })
}

fn wait_for_line(server: &Server, what: &str) {
    let came = wait_for(LIMIT, || server.command(&["stream", "list"]).contains(what));
    assert!(came, "no {what:?} in\n{}", server.command(&["stream", "list"]));
}

#[test]
fn ffmpeg_and_gstreamer_follow_to_where_a_mount_has_moved() {
    let there = server(OPEN);
    let Some(ffmpeg) = Ffmpeg::find(there.folder()) else {
        return;
    };
    let to = format!("rtsp://{}:8554", there.address());
    let here = server(&format!(
        "mounts.\"lobby/*\" = {{ read = [\"anyone\"], redirect = {to:?} }}\n"
    ));
    let sample = ffmpeg.sample("sample.mp4", 40);
    let _publisher = ffmpeg.publish("publish", &sample, "tcp", &format!("{to}/lobby/door"));
    wait_for_line(&there, "  publisher\t");
    let url = format!("rtsp://{}:8554/lobby/door", here.address());
    let units = ffmpeg.units("follows", &["-rtsp_transport", "tcp", "-t", "2"], &url);
    assert!(units.len() > 50, "{}", units.len());
    if let Some(gst) = client("gst-launch-1.0") {
        let pipeline =
            format!("rtspsrc location={url} ! rtph264depay ! fakesink num-buffers=20 silent=false");
        let mut command = Command::new(gst);
        command.arg("-v").args(pipeline.split_whitespace());
        let finished = run(there.folder(), "gst", &mut command, LIMIT);
        assert!(
            finished.output.matches("chain   ").count() >= 20,
            "{}",
            finished.output
        );
    }
}

#[test]
fn readers_of_a_mount_are_told_to_go_and_go() {
    let server = server(OPEN);
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = ffmpeg.sample("sample.mp4", 60);
    let url = format!("rtsp://{}:8554/lobby/door", server.address());
    let publisher = ffmpeg.publish("publish", &sample, "tcp", &url);
    wait_for_line(&server, "  publisher\t");
    let arguments = ["-rtsp_transport", "tcp", "-i", &url, "-c", "copy", "read.mkv"];
    let mut reads = ffmpeg.spawn("reads", &arguments);
    wait_for_line(&server, "  reader\t");
    let mut typed = RtspSocket::open(&server).unwrap();
    assert_eq!(typed.play("/lobby/door", 2, "").unwrap().status, 200);
    server.command(&[
        "stream",
        "kick",
        "lobby/door",
        "--redirect",
        "rtsp://other.example.org/door",
    ]);
    // Among the packets there is the request, and after a while the end.
    let mut came = Vec::new();
    typed.stream().read_to_end(&mut came).unwrap();
    let text = String::from_utf8_lossy(&came);
    assert!(text.contains("REDIRECT rtsp://"), "no request of the server's");
    assert!(text.contains("Location: rtsp://other.example.org/door\r\n"));
    assert!(wait_for(LIMIT, || reads.has_ended()), "{}", reads.output());
    let list = server.command(&["stream", "list"]);
    assert!(
        list.contains("  publisher\t") && !list.contains("  reader\t"),
        "{list}"
    );
    drop(publisher);
}
