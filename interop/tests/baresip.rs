//! baresip calls baresip: what one says is measured in what the other heard.

mod mailbox;

use ringpost_interop::{Baresip, Behaviour, Options, Server};
use std::time::Duration;

const ALICE_HZ: f64 = 440.0;
const BOB_HZ: f64 = 620.0;

fn call(transport: &'static str, codec: &'static str) {
    let server = Server::start();
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let behaviour = Behaviour {
        transport,
        codec,
        ..Behaviour::default()
    };
    let called = Behaviour {
        tone_hz: BOB_HZ,
        ..behaviour
    };
    let Some(mut bob) = Baresip::start(&server, &bob, 6100, called) else {
        return;
    };
    let Some(mut alice) = Baresip::start(
        &server,
        &alice,
        6140,
        Behaviour {
            tone_hz: ALICE_HZ,
            ..behaviour
        },
    ) else {
        return;
    };
    alice.dial("bob");
    alice.wait_for("Call established");
    let (heard_by_alice, heard_by_bob) = (alice.heard(3.0), bob.heard(3.0));
    alice.hang_up();
    bob.wait_for("session closed");
    assert!(heard_by_alice.tone_seconds(BOB_HZ, 0.9) >= 2.5, "alice hears bob");
    assert!(heard_by_bob.tone_seconds(ALICE_HZ, 0.9) >= 2.5, "bob hears alice");
    assert!(
        heard_by_alice.tone_seconds(ALICE_HZ, 0.3) < 0.2,
        "alice does not hear herself"
    );
}

#[test]
fn each_hears_the_others_tone() {
    call("udp", "PCMU");
}

#[test]
fn each_hears_the_others_tone_over_tcp_in_alaw() {
    call("tcp", "PCMA");
}

#[test]
fn each_hears_the_others_tone_over_tls() {
    call("tls", "PCMU");
}

#[test]
fn a_voicemail_is_left_and_the_lamp_lights() {
    let server = Server::start_with(&Options {
        no_answer_s: 2,
        ..Options::default()
    });
    let (_, alice) = server.person("alice");
    let (bob, phone) = server.person("bob");
    let silent = Behaviour {
        answers: false,
        ..Behaviour::default()
    };
    let Some(mut phone) = Baresip::start(&server, &phone, 6100, silent) else {
        return;
    };
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    alice.wait_for("Call established");
    // The built-in greeting and its tone take some eight seconds.
    std::thread::sleep(Duration::from_secs(13));
    alice.hang_up();
    phone.wait_for("Messages-Waiting: yes");
    let recording = mailbox::voicemail(&server, &bob.address, &bob.password);
    assert!(
        recording.tone_seconds(440.0, 0.8) >= 2.0,
        "bob's mailbox has alice's tone"
    );
    server.check_store();
}
