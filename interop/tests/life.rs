//! The server's own life: killed, stopped, told to read its configuration again, and asked what it measures.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Baresip, Behaviour, Options, Server, run, wait_for};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_hangup_reloads_and_a_call_goes_on() {
    let server = Server::start();
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let Some(bob) = Baresip::start(
        &server,
        &bob,
        6100,
        Behaviour {
            tone_hz: 620.0,
            ..Behaviour::default()
        },
    ) else {
        return;
    };
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    alice.wait_for("Call established");
    server.signal(libc::SIGHUP);
    assert!(
        alice.heard(4.0).tone_seconds(620.0, 0.9) >= 3.5,
        "the sound is not interrupted"
    );
    assert!(bob.heard(4.0).tone_seconds(440.0, 0.9) >= 3.5);
    assert!(!alice.output().contains("session closed"), "{}", alice.output());
    alice.hang_up();
}

#[test]
fn a_configuration_that_went_bad_is_told_at_a_hangup_and_the_old_one_stays() {
    let server = Server::start();
    let text = std::fs::read_to_string(server.config()).unwrap();
    std::fs::write(server.config(), format!("nonsense = 1\n{text}")).unwrap();
    server.signal(libc::SIGHUP);
    let told = wait_for(Duration::from_secs(10), || {
        server.log().contains("unknown field `nonsense`")
    });
    assert!(told, "{}", server.log());
    std::fs::write(server.config(), text).unwrap();
    server.command(&["account", "list"]);
}

#[test]
fn calls_end_politely_when_the_server_is_stopped() {
    let mut server = Server::start();
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let Some(mut bob) = Baresip::start(&server, &bob, 6100, Behaviour::default()) else {
        return;
    };
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    alice.wait_for("Call established");
    server.stop();
    alice.wait_for("session closed");
    bob.wait_for("session closed");
}

#[test]
fn registrations_survive_kill_9() {
    let mut server = Server::start();
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let Some(mut bob) = Baresip::start(&server, &bob, 6100, Behaviour::default()) else {
        return;
    };
    // Older than two seconds they are kept.
    std::thread::sleep(Duration::from_secs(3));
    server.kill();
    server.run();
    let Some(alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    bob.wait_for("Call established");
}

#[test]
fn the_metrics_are_numbers_for_prometheus() {
    let server = Server::start();
    server.expect_metric("calls", 0.0);
    let text = server.metrics();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("\nringpost_") && text.contains("# EOF"), "{text}");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_in_one_line() {
    let server = Server::start_with(&Options::default());
    let folder = server.folder().to_path_buf();
    let binary = Server::binary();
    let other = folder.join("other.toml");
    let off = [
        "sip_udp",
        "sip_tcp",
        "sip_tls",
        "smtp",
        "submission",
        "submissions",
        "imap",
        "imaps",
        "metrics",
    ];
    let listen: String = off.iter().map(|key| format!("{key} = \"off\"\n")).collect();
    std::fs::write(
        &other,
        format!(
            "data = {:?}\nuser = \"root\"\n[listen]\n{listen}",
            server.data().display().to_string()
        ),
    )
    .unwrap();
    let mut command = Command::new(binary);
    let finished = run(
        &folder,
        "second",
        command.args(["serve", "--config"]).arg(&other),
        Duration::from_secs(10),
    );
    assert!(!finished.succeeded());
    assert!(
        finished.output.contains("data: ") && finished.output.contains("held by another process"),
        "{}",
        finished.output
    );
}
