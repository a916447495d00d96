//! baresip calls baresip: what one says is measured in what the other heard.

mod mailbox;

use ringpost_interop::{Account, Baresip, Behaviour, Options, Server};
use std::time::Duration;

const ALICE_HZ: f64 = 440.0;
const BOB_HZ: f64 = 620.0;
const OPUS: &str = "opus/48000/2";

/// A phone of alice's with these codecs, and one of bob's that answers, with his account; `None` where there are no such phones.
fn phones(
    server: &Server,
    transport: &'static str,
    codecs: [&'static str; 2],
) -> Option<(Baresip, Baresip, Account)> {
    let phone = |name, port, codec, tone_hz| {
        let (account, device) = server.person(name);
        let behaviour = Behaviour {
            transport,
            codec,
            tone_hz,
            ..Behaviour::default()
        };
        Some((Baresip::start(server, &device, port, behaviour)?, account))
    };
    let (bob, account) = phone("bob", 6100, codecs[1], BOB_HZ)?;
    let (alice, _) = phone("alice", 6140, codecs[0], ALICE_HZ)?;
    Some((alice, bob, account))
}

fn call(transport: &'static str, codec: &'static str) {
    call_between(transport, [codec, codec]);
}

/// Alice calls bob, and what each hears is the other's tone; they have these codecs.
fn call_between(transport: &'static str, codecs: [&'static str; 2]) {
    let server = Server::start();
    let Some((mut alice, mut bob, _)) = phones(&server, transport, codecs) else {
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
fn each_hears_the_others_tone_in_opus() {
    call("udp", OPUS);
}

#[test]
fn a_phone_with_opus_hears_one_that_has_g711_alone_in_what_both_have() {
    let both = "opus/48000/2,PCMU";
    call_between("udp", [both, "PCMU"]);
    call_between("udp", ["PCMA", both]);
}

// Opus is passed on and not turned into anything: there is nothing that both would hear.
#[test]
fn opus_alone_and_g711_alone_are_told_that_they_have_nothing_in_common() {
    for codecs in [[OPUS, "PCMU"], ["PCMU", OPUS]] {
        let server = Server::start();
        let Some((mut alice, bob, _)) = phones(&server, "udp", codecs) else {
            return;
        };
        alice.dial("bob");
        alice.wait_for("SIP/2.0 488 ");
        assert!(!bob.output().contains("Call established"), "{}", bob.output());
        server.expect_metric("calls", 0.0);
        server.check_store();
    }
}

// The second phone has been killed: its port refuses what comes. GSM is nothing that the voicemail would hear.
#[test]
fn a_refusal_for_want_of_a_codec_is_told_though_another_phone_cannot_be_reached() {
    for transport in ["udp", "tcp"] {
        let server = Server::start();
        let Some((mut alice, bob, account)) = phones(&server, transport, ["GSM", "PCMU"]) else {
            return;
        };
        let gone = server.device(&account, "other");
        let behaviour = Behaviour {
            transport,
            ..Behaviour::default()
        };
        drop(Baresip::start(&server, &gone, 6180, behaviour));
        alice.dial("bob");
        alice.wait_for("SIP/2.0 488 ");
        if transport == "tcp" {
            // Now none can be.
            drop(bob);
            alice.dial("bob");
            alice.wait_for("SIP/2.0 480 ");
        }
        assert!(!alice.output().contains("SIP/2.0 500 "), "{}", alice.output());
    }
}

#[test]
fn a_voicemail_is_left_and_the_lamp_lights() {
    leave_voicemail("PCMU");
}

#[test]
fn a_voicemail_is_left_by_a_phone_that_has_opus_alone() {
    leave_voicemail(OPUS);
}

#[test]
fn a_voicemail_is_left_by_a_phone_that_has_g722_alone() {
    leave_voicemail("G722");
}

/// Alice calls bob, who does not answer; their phones have this codec.
fn leave_voicemail(codec: &'static str) {
    let server = Server::start_with(&Options {
        no_answer_s: 2,
        ..Options::default()
    });
    let (_, alice) = server.person("alice");
    let (bob, phone) = server.person("bob");
    let silent = Behaviour {
        answers: false,
        codec,
        ..Behaviour::default()
    };
    let Some(mut phone) = Baresip::start(&server, &phone, 6100, silent) else {
        return;
    };
    let speaking = Behaviour {
        codec,
        ..Behaviour::default()
    };
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, speaking) else {
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
