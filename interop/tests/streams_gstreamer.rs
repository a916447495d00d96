//! GStreamer's publisher and its reader, which speaks RTSP by UDP, within the connection, under TLS and within HTTP.

use ringpost_interop::{Options, Server, client, run, spawn, wait_for};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
const BUFFERS: usize = 50;

#[test]
fn what_rtspclientsink_publishes_rtspsrc_reads_every_way() {
    let Some(gst) = client("gst-launch-1.0") else {
        return;
    };
    let server = Server::start_with(&Options::default());
    let (_, alice) = server.person("alice");
    let (address, user, secret) = (server.address(), &alice.username, &alice.secret);
    for transport in ["tcp", "udp"] {
        let mount = format!("alice/{transport}");
        let pipeline = format!(
            "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1 ! \
             x264enc tune=zerolatency key-int-max=25 ! h264parse ! rtspclientsink \
             location=rtsp://{user}:{secret}@{address}:8554/{mount} protocols={transport}"
        );
        let mut command = Command::new(&gst);
        command.arg("-q").args(pipeline.split_whitespace());
        let publisher = spawn(server.folder(), &format!("publish-{transport}"), &mut command);
        let is_live = wait_for(LIMIT, || {
            let list = server.command(&["stream", "list"]);
            list.lines()
                .any(|line| line.starts_with(&format!("{mount}\tH264\t")))
        });
        assert!(is_live, "{}", publisher.output());
        for source in [
            format!("location=rtsp://{address}:8554/{mount} protocols=udp"),
            format!("location=rtsp://{address}:8554/{mount} protocols=tcp"),
            format!("location=rtsps://{address}:8322/{mount} protocols=tcp tls-validation-flags=0"),
            format!("location=rtsph://{address}:8554/{mount}"),
        ] {
            let pipeline = format!(
                "rtspsrc {source} user-id={user} user-pw={secret} ! rtph264depay ! h264parse ! \
                 fakesink num-buffers={BUFFERS} silent=false"
            );
            let mut command = Command::new(&gst);
            command.arg("-v").args(pipeline.split_whitespace());
            let finished = run(server.folder(), "read", &mut command, LIMIT);
            let came = finished.output.matches("chain   ").count();
            assert!(came >= BUFFERS, "{source}: {came} buffers\n{}", finished.output);
        }
    }
}
