//! A call is a mount of its account while it lasts, and plays as one afterwards.

use ringpost_interop::{
    Baresip, Behaviour, DOMAIN, Device, Ffmpeg, Options, RtspSocket, Server, Wav, client, own_address,
    wait_for,
};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const ALICE_HZ: f64 = 440.0;
const BOB_HZ: f64 = 880.0;

fn server(calls: &str) -> Server {
    let streams = format!("mounts.\"alice/call/*\" = {{ record = true }}\n[calls]\n{calls}\n");
    let options = Options {
        streams,
        ..Options::default()
    };
    let mut server = Server::prepared_at(own_address(), &options);
    server.run();
    server
}

fn url(server: &Server, device: &Device, mount: &str) -> String {
    let Device { username, secret, .. } = device;
    format!("rtsp://{username}:{secret}@{}:8554/{mount}", server.address())
}

/// The call that is live.
fn live(server: &Server) -> Option<String> {
    let listed = server.command(&["stream", "list"]);
    let mut words = listed.split_whitespace();
    words.find(|word| word.starts_with("alice/call/")).map(Into::into)
}

/// Reads a mount for some seconds, and gives its left channel and its right one.
fn read(server: &Server, ffmpeg: &Ffmpeg, name: &str, url: &str, seconds: &str) -> [Wav; 2] {
    let paths = ["left", "right"].map(|side| server.folder().join(format!("{name}-{side}.wav")));
    let [left, right] = paths.each_ref().map(|path| path.display().to_string());
    let split = "[0:a]asplit[a][b];[a]pan=mono|c0=c0[l];[b]pan=mono|c0=c1[r]";
    let arguments = [
        "-y",
        "-rtsp_transport",
        "tcp",
        "-t",
        seconds,
        "-i",
        url,
        "-filter_complex",
        split,
        "-map",
        "[l]",
        &left,
        "-map",
        "[r]",
        &right,
    ];
    let made = ffmpeg.run(name, &arguments, LIMIT);
    assert!(made.succeeded(), "{}\n{}", made.output, server.log());
    paths.map(|path| Wav::read(&path).expect("a WAV file"))
}

fn assert_sides([left, right]: &[Wav; 2], least_s: f64, what: &str) {
    let (alice, bob) = (left.tone_seconds(ALICE_HZ, 0.9), right.tone_seconds(BOB_HZ, 0.9));
    assert!(
        alice >= least_s,
        "{what}: {alice} s of alice on the left of {} s",
        left.seconds()
    );
    assert!(
        bob >= least_s,
        "{what}: {bob} s of bob on the right of {} s",
        right.seconds()
    );
    assert!(
        left.tone_seconds(BOB_HZ, 0.1) < 0.2,
        "{what}: bob is not on the left"
    );
    assert!(
        right.tone_seconds(ALICE_HZ, 0.1) < 0.2,
        "{what}: alice is not on the right"
    );
}

/// Alice's phone has called bob's, in that codec.
fn talk(server: &Server, codec: &'static str) -> Option<(Device, Device, Baresip, Baresip)> {
    client("ffmpeg")?;
    let (alice_account, alice) = server.person("alice");
    let (bob_account, bob) = server.person("bob");
    let (player, stranger) = (
        server.device(&alice_account, "player"),
        server.device(&bob_account, "player"),
    );
    let speaks = |tone_hz| Behaviour {
        tone_hz,
        codec,
        ..Behaviour::default()
    };
    let bob = Baresip::start(server, &bob, 6100, speaks(BOB_HZ))?;
    let mut alice = Baresip::start(server, &alice, 6140, speaks(ALICE_HZ))?;
    alice.dial("bob");
    alice.wait_for("Call established");
    Some((player, stranger, alice, bob))
}

#[test]
fn a_call_is_read_by_its_account_while_it_lasts_and_afterwards() {
    let server = server("mounts = [\"alice\"]\nnotice_tone = false");
    let Some((player, stranger, alice, mut bob)) = talk(&server, "PCMU") else {
        return;
    };
    let ffmpeg = Ffmpeg::find(server.folder()).expect("it was found before");
    let mut mount = None;
    assert!(wait_for(LIMIT, || {
        mount = live(&server);
        mount.is_some()
    }));
    let mount = mount.unwrap_or_default();
    let heard = read(&server, &ffmpeg, "live", &url(&server, &player, &mount), "5");
    assert_sides(&heard, 4.0, "live");
    let refused = ffmpeg.run(
        "refused",
        &["-i", &url(&server, &stranger, &mount), "-f", "null", "-"],
        LIMIT,
    );
    assert!(refused.output.contains("403 Forbidden"), "{}", refused.output);
    let mut nobody = RtspSocket::open(&server).expect("a connection");
    let reply = nobody
        .ask("DESCRIBE", &format!("/{mount}"), "", "")
        .expect("a reply");
    assert_eq!(reply.status, 401);
    // Who reads it when it ends has its end.
    let all = server.folder().join("all.wav").display().to_string();
    let reader = ffmpeg.spawn(
        "to-the-end",
        &[
            "-y",
            "-rtsp_transport",
            "tcp",
            "-i",
            &url(&server, &player, &mount),
            &all,
        ],
    );
    std::thread::sleep(Duration::from_secs(2));
    alice.hang_up();
    bob.wait_for("session closed");
    let ended = reader.finish(LIMIT);
    assert!(ended.succeeded(), "{}", ended.output);
    assert!(wait_for(LIMIT, || live(&server).is_none()));
    let heard = read(&server, &ffmpeg, "recorded", &url(&server, &player, &mount), "4");
    assert_sides(&heard, 3.0, "recorded");
    let heard = read(
        &server,
        &ffmpeg,
        "in-a-row",
        &url(&server, &player, "alice/call"),
        "4",
    );
    assert_sides(&heard, 3.0, "in a row");
    server.check_store();
}

#[test]
fn a_call_is_no_mount_without_being_told_and_both_sides_hear_a_tone_where_it_is_one() {
    let quiet = server("mounts = []");
    let Some((.., alice, _bob)) = talk(&quiet, "PCMU") else {
        return;
    };
    let heard = alice.heard(3.0);
    assert!(heard.tone_seconds(BOB_HZ, 0.9) >= 2.5 && heard.tone_seconds(1_400.0, 0.5) == 0.0);
    assert_eq!(live(&quiet), None);
    let told = server(&format!("mounts = [\"alice@{DOMAIN}\"]"));
    let Some((.., alice, bob)) = talk(&told, "PCMA") else {
        return;
    };
    for heard in [alice.heard(3.0), bob.heard(3.0)] {
        let notice = heard.tone_seconds(1_400.0, 0.8);
        assert!((0.3..=0.7).contains(&notice), "{notice} s of the tone");
    }
    assert!(live(&told).is_some());
}
