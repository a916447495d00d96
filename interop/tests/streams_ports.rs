//! Streams by UDP and calls have one range of ports: what strangers take of it leaves calls theirs.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Baresip, Behaviour, Ffmpeg, Options, RtspReply, RtspSocket, Server, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Four pairs of ports for all media.
fn server() -> Server {
    let mut server = Server::prepared(&Options {
        streams: "mounts.\"lobby/**\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n".into(),
        ..Options::default()
    });
    let mut text = std::fs::read_to_string(server.config()).unwrap();
    text += "[media]\nports = \"30000-30007\"\n";
    std::fs::write(server.config(), text).unwrap();
    server.run();
    server
}

/// A stranger who wants the pictures by UDP.
fn stranger(server: &Server) -> (RtspSocket, RtspReply) {
    let mut socket = RtspSocket::open(server).unwrap();
    let transport = "Transport: RTP/AVP;unicast;client_port=40000-40001\r\n";
    let reply = socket
        .ask("SETUP", "/lobby/door/trackID=0", transport, "")
        .unwrap();
    (socket, reply)
}

#[test]
fn strangers_who_take_ports_leave_calls_theirs_and_players_go_over_to_tcp() {
    let server = server();
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let url = format!("rtsp://{}:8554/lobby/door", server.address());
    let sample = ffmpeg.sample("sample.mp4", 90);
    let mut publisher = ffmpeg.publish("publish", &sample, "tcp", &url);
    let is_live = wait_for(LIMIT, || {
        assert!(!publisher.has_ended(), "{}", publisher.output());
        server.command(&["stream", "list"]).contains("lobby/door")
    });
    assert!(is_live, "{}", publisher.output());
    let mut strangers: Vec<_> = (0..8).map(|_| stranger(&server)).collect();
    let statuses: Vec<u16> = strangers.iter().map(|(_, reply)| reply.status).collect();
    assert_eq!(statuses, [200, 200, 461, 461, 461, 461, 461, 461]);
    // A player that asks for UDP first is served all the same.
    let units = ffmpeg.units("read", &["-t", "2"], &url);
    assert!(units.len() > 50, "{}", units.len());
    // Both sides of a call find ports.
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let called = Behaviour {
        tone_hz: 620.0,
        ..Behaviour::default()
    };
    let Some(mut bob) = Baresip::start(&server, &bob, 6100, called) else {
        return;
    };
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    alice.wait_for("Call established");
    let (heard_by_alice, heard_by_bob) = (alice.heard(3.0), bob.heard(3.0));
    assert!(heard_by_alice.tone_seconds(620.0, 0.9) >= 2.5, "alice hears bob");
    assert!(heard_by_bob.tone_seconds(440.0, 0.9) >= 2.5, "bob hears alice");
    assert_eq!(
        stranger(&server).1.status,
        461,
        "and strangers have no more than before"
    );
    alice.hang_up();
    bob.wait_for("session closed");
    // Who goes makes room.
    let (mut first, _) = strangers.remove(0);
    let closed = first.ask("TEARDOWN", "/lobby/door", "", "").unwrap();
    assert_eq!(closed.status, 200, "{}", closed.head);
    assert_eq!(stranger(&server).1.status, 200);
    server.check_store();
}
