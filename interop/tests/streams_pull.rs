//! Mounts that are pulled: from another server of ours, under TLS too, and from gst-rtsp-server.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Child, Options, Server, certificates_for, client, own_address, run, skip, spawn, wait_for,
};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
/// Everybody may do everything below `lobby`.
const OPEN: &str = "mounts.\"lobby/*\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n";
const NETWORKS: &str = "pull_networks = [\"127.0.0.0/8\"]\nvacancy_s = 2\n";

fn server(streams: String) -> Server {
    Server::start_with(&Options {
        streams,
        ..Options::default()
    })
}

/// ffmpeg publishes pictures and a tone, until it is dropped.
fn publish(folder: &Path, url: &str) -> Option<Child> {
    let mut command = Command::new(client("ffmpeg")?);
    command.args([
        "-hide_banner",
        "-nostats",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25",
    ]);
    command.args([
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=8000",
        "-c:v",
        "libx264",
    ]);
    command.args([
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-g",
        "25",
        "-pix_fmt",
        "yuv420p",
    ]);
    command.args(["-c:a", "pcm_mulaw", "-f", "rtsp", "-rtsp_transport", "tcp", url]);
    Some(spawn(folder, "publisher", &mut command))
}

/// How many pictures ffprobe reads within three seconds of a stream, and what it says of it.
fn probe(server: &Server, name: &str, transport: &str, url: &str) -> Option<(usize, String)> {
    let mut command = Command::new(client("ffprobe")?);
    command.args([
        "-v",
        "error",
        "-rtsp_transport",
        transport,
        "-read_intervals",
        "%+3",
        "-show_entries",
    ]);
    command.args([
        "stream=codec_name,width,height:packet=codec_type",
        "-of",
        "csv",
        url,
    ]);
    let probed = run(server.folder(), name, &mut command, LIMIT);
    assert!(probed.succeeded(), "{name}: {}\n{}", probed.output, server.log());
    let pictures = probed
        .output
        .lines()
        .filter(|line| line.starts_with("packet,video"));
    Some((pictures.count(), probed.output.clone()))
}

fn line_of(server: &Server, what: &str) -> Option<String> {
    let list = server.command(&["stream", "list"]);
    list.lines().find(|line| line.contains(what)).map(str::to_owned)
}

fn wait_for_line(server: &Server, what: &str) -> String {
    let mut found = None;
    wait_for(LIMIT, || {
        found = line_of(server, what);
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("no {what:?} in the list of streams:\n{}", server.log()))
}

#[test]
fn a_mount_of_another_server_is_pulled_while_it_is_read_and_one_over_udp_always() {
    let camera = server(OPEN.into());
    let (_, device) = camera.person("alice");
    let at =
        |who: &str, server: &Server, mount: &str| format!("rtsp://{who}{}:8554/{mount}", server.address());
    let login = format!("{}:{}@", device.username, device.secret);
    let Some(_publisher) = publish(camera.folder(), &at(&login, &camera, "alice/door")) else {
        return;
    };
    wait_for_line(&camera, "alice/door\t");
    let from = at(&login, &camera, "alice/door");
    let house = server(format!(
        "{NETWORKS}\
         mounts.\"house/door\" = {{ read = [\"anyone\"], pull = {from:?} }}\n\
         mounts.\"house/udp\" = {{ read = [\"anyone\"], pull = {from:?}, pull_when = \"always\", pull_transport = \"udp\" }}\n"
    ));
    // Always, though nobody reads; its packets come over UDP, which the camera's list says of its reader.
    let publisher = wait_for_line(&house, "  publisher\t");
    assert!(
        publisher.contains(&at("", &camera, "alice/door")) && publisher.contains("\tudp\t"),
        "{publisher}"
    );
    assert!(line_of(&camera, "  reader\t").is_some_and(|reader| reader.contains("\tudp\t")));
    assert!(line_of(&house, "house/door").is_none(), "nobody reads it");
    for (name, mount, transport) in [
        ("read-tcp", "house/door", "tcp"),
        ("read-udp", "house/door", "udp"),
        ("read-of-udp", "house/udp", "tcp"),
    ] {
        let (pictures, said) = probe(&house, name, transport, &at("", &house, mount)).unwrap();
        assert!(pictures > 40, "{name}: {pictures} pictures\n{said}");
        assert!(
            said.contains("h264,320,240") && said.contains("pcm_mulaw"),
            "{name}: {said}"
        );
    }
    let stops = wait_for(LIMIT, || line_of(&house, "house/door").is_none());
    assert!(stops, "nobody reads it any more:\n{}", house.log());
    let log = house.log();
    assert!(
        log.contains("stream pulled") && !log.contains(&device.secret),
        "{log}"
    );
}

#[test]
fn what_is_not_a_public_address_is_not_pulled_from_unless_it_is_named() {
    let house = server(
        "mounts.\"house/own\" = { pull = \"rtsp://localhost:8554/x\", pull_when = \"always\" }\n".into(),
    );
    let is_told = wait_for(LIMIT, || {
        house
            .log()
            .contains("is no public one, and streams.pull_networks")
    });
    assert!(is_told, "{}", house.log());
}

#[test]
fn under_tls_a_server_is_pulled_from_that_proves_itself_and_no_other() {
    let (folder, address) = (tempfile::tempdir().unwrap(), own_address());
    let named = address.to_string();
    let Some((authority, certificate)) = certificates_for(folder.path(), &[&named], 30) else {
        return;
    };
    let options = Options {
        streams: OPEN.into(),
        certificate: Some(certificate),
        ..Options::default()
    };
    let camera = Server::start_at(address, &options);
    let Some(_publisher) = publish(camera.folder(), &format!("rtsp://{address}:8554/lobby/door")) else {
        return;
    };
    wait_for_line(&camera, "lobby/door\t");
    let url = format!("rtsps://{address}:8322/lobby/door");
    let streams = format!(
        "{NETWORKS}mounts.\"house/door\" = {{ read = [\"anyone\"], pull = {url:?}, pull_when = \"always\" }}\n"
    );
    let stranger = server(streams.clone());
    let is_told = wait_for(LIMIT, || {
        let log = stranger.log();
        let mut lines = log.lines();
        lines.any(|line| line.contains("a stream cannot be pulled now") && line.contains("certificate"))
    });
    assert!(
        is_told,
        "nobody that it knows vouches for it:\n{}",
        stranger.log()
    );
    let told = line_of(&stranger, "house/door").unwrap();
    assert!(told.ends_with("\tnot live"), "{told}");
    assert!(
        !camera.log().contains("stream is read"),
        "it has not been asked for anything"
    );
    let house = Server::start_with(&Options {
        streams,
        authorities: Some(authority),
        ..Options::default()
    });
    let publisher = wait_for_line(&house, "  publisher\t");
    assert!(
        publisher.contains(&url) && publisher.contains("\ttcp\t"),
        "{publisher}"
    );
}

/// gst-rtsp-server, built from the source that the benchmarks use; None when that cannot be.
fn gstreamer(folder: &Path, address: &str) -> Option<Child> {
    let ffmpeg = client("ffmpeg")?;
    client("pkg-config")?;
    client("gcc")?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../perf/peers/gst-server.c");
    let build = format!(
        "gcc -O1 {} -o gst-server $(pkg-config --cflags --libs gstreamer-rtsp-server-1.0)",
        source.display()
    );
    let built = run(
        folder,
        "gcc",
        Command::new("sh").current_dir(folder).args(["-c", &build]),
        LIMIT,
    );
    if !built.succeeded() {
        skip(format_args!("gst-rtsp-server cannot be built: {}", built.output));
        return None;
    }
    let mut clip = Command::new(ffmpeg);
    clip.current_dir(folder).args([
        "-hide_banner",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25",
    ]);
    clip.args([
        "-t",
        "60",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "25",
        "-pix_fmt",
        "yuv420p",
        "clip.mp4",
    ]);
    let made = run(folder, "clip", &mut clip, LIMIT);
    assert!(made.succeeded(), "{}", made.output);
    let mut command = Command::new(folder.join("gst-server"));
    command
        .current_dir(folder)
        .args([address, "8554", "15994", "clip.mp4"]);
    let mut child = spawn(folder, "gst-server", &mut command);
    child.wait_for_output("ready", LIMIT);
    Some(child)
}

#[test]
fn gstreamers_server_is_pulled_from_over_tcp_and_in_place_of_udp_that_brings_nothing() {
    let (folder, address) = (tempfile::tempdir().unwrap(), own_address());
    let Some(_peer) = gstreamer(folder.path(), &address.to_string()) else {
        return;
    };
    let url = format!("rtsp://{address}:8554/file");
    let house = server(format!(
        "{NETWORKS}\
         mounts.\"house/tcp\" = {{ read = [\"anyone\"], pull = {url:?}, pull_transport = \"tcp\" }}\n\
         mounts.\"house/udp\" = {{ read = [\"anyone\"], pull = {url:?}, pull_transport = \"udp\" }}\n"
    ));
    for transport in ["tcp", "udp"] {
        let name = format!("read-{transport}");
        let url = format!("rtsp://{}:8554/house/{transport}", house.address());
        let Some((pictures, said)) = probe(&house, &name, "tcp", &url) else {
            return;
        };
        assert!(
            pictures > 40,
            "{transport}: {pictures} pictures\n{said}\n{}",
            house.log()
        );
        // Its datagrams come from another address of this machine than it was asked at, and are not taken.
        let publisher = wait_for_line(&house, "\ttcp\t");
        assert!(publisher.contains("publisher"), "{publisher}");
        assert!(
            wait_for(LIMIT, || line_of(&house, "publisher").is_none()),
            "nobody reads it"
        );
    }
}

#[test]
fn what_cannot_be_pulled_is_listed_with_the_reason_and_the_next_attempt() {
    let from = own_address();
    let pulls = format!(
        "mounts.\"lobby/always\" = {{ pull = \"rtsp://user:s3cret@{from}:8554/door\", pull_when = \"always\" }}\n\
         mounts.\"lobby/read\" = {{ pull = \"rtsp://{from}:8554/yard\", read = [\"anyone\"] }}\n"
    );
    let server = server(format!("{NETWORKS}{pulls}"));
    let mut list = String::new();
    let is_told = wait_for(LIMIT, || {
        list = server.command(&["stream", "list"]);
        list.contains("2 attempts failed")
    });
    assert!(is_told, "{list}");
    let expected = format!("lobby/always\tnot live\n  pull\trtsp://{from}:8554/door\t2 attempts failed\t");
    assert!(list.starts_with(&expected), "{list}");
    assert!(
        list.contains("\ttried again in ") && !list.contains("s3cret"),
        "{list}"
    );
    // Nobody has wanted the other one.
    assert!(!list.contains("lobby/read"), "{list}");
}
