//! Our own SIPp scenarios, one phone against the server or two through it.

use ringpost_interop::{Options, Server, Sipp};

/// alice and bob, each with a registered SIPp; None when SIPp is missing.
struct Two {
    server: Server,
    alice: Sipp,
    bob: Sipp,
}

const ALICE_PORT: u16 = 6001;
const BOB_PORT: u16 = 6002;

fn two_phones(more: &[&str]) -> Option<Two> {
    two_phones_of(2, more)
}

/// Two phones that are registered; the voicemail answers after so many seconds.
fn two_phones_of(no_answer_s: u32, more: &[&str]) -> Option<Two> {
    let server = Server::start_with(&Options {
        no_answer_s,
        ..Options::default()
    });
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let alice = Sipp::phone(&server, &alice, ALICE_PORT)?;
    let bob = Sipp::phone(&server, &bob, BOB_PORT)?;
    alice.expect("register", more);
    bob.expect("register", more);
    Some(Two { server, alice, bob })
}

impl Two {
    /// bob's scenario beside alice's; both must end well.
    fn act(&self, bob: &str, alice: &str, more: &[&str]) {
        let called = self.bob.start(bob, more);
        let caller = self.alice.run(alice, &[&["-s", "bob"], more].concat());
        let called = called.finish(std::time::Duration::from_secs(30));
        assert!(
            caller.succeeded() && called.succeeded(),
            "{alice}: {:?}\n{}\n{bob}: {:?}\n{}\n{}",
            caller.status,
            caller.output,
            called.status,
            called.output,
            self.bob.messages(bob)
        );
        self.server.check_store();
    }
}

#[test]
fn a_phone_registers_with_digest_and_takes_its_binding_back() {
    let Some(two) = two_phones(&[]) else { return };
    two.alice.expect("unregister", &[]);
    two.alice.expect("uac_wrong_secret", &["-ap", "wrong"]);
}

#[test]
fn a_phone_registers_over_tcp() {
    let Some(two) = two_phones(&["-t", "t1"]) else {
        return;
    };
    two.alice.expect("unregister", &["-t", "t1"]);
}

#[test]
fn a_call_is_answered_and_ended_by_the_caller() {
    let Some(two) = two_phones(&[]) else { return };
    two.act("uas_answer", "uac_call", &[]);
}

#[test]
fn a_call_is_ended_by_the_called() {
    let Some(two) = two_phones(&[]) else { return };
    two.act("uas_answer_hangs_up", "uac_call_answered_ended", &[]);
}

#[test]
fn a_call_that_is_given_up_stops_the_ringing() {
    let Some(two) = two_phones(&[]) else { return };
    two.act("uas_ring_until_cancelled", "uac_cancel", &[]);
}

#[test]
fn a_busy_phone_leaves_the_caller_to_voicemail() {
    let Some(two) = two_phones(&[]) else { return };
    two.act("uas_busy", "uac_call", &[]);
}

#[test]
fn a_phone_that_nobody_answers_stops_ringing_and_voicemail_takes_the_call() {
    let Some(two) = two_phones(&[]) else { return };
    two.act("uas_ring_until_cancelled", "uac_call", &[]);
}

#[test]
fn a_call_is_held_and_taken_back() {
    let Some(two) = two_phones(&[]) else { return };
    two.act("uas_hold", "uac_hold", &[]);
}

#[test]
fn somebody_whom_nobody_knows_is_not_found() {
    let Some(two) = two_phones(&[]) else { return };
    two.alice.expect("uac_unknown", &["-s", "nobody"]);
}

#[test]
fn a_text_message_arrives() {
    let Some(two) = two_phones(&[]) else { return };
    two.act("uas_message", "uac_message", &[]);
}

#[test]
fn a_call_survives_the_loss_of_packets() {
    // The answer may take a while; and SIPp gives up earlier than the RFC's 64*T1.
    let Some(two) = two_phones_of(30, &[]) else {
        return;
    };
    two.act(
        "uas_answer_in_loss",
        "uac_call",
        &["-lost", "20", "-max_retrans", "12"],
    );
}

#[test]
fn what_the_rfc_refuses_is_refused_with_its_status() {
    let Some(two) = two_phones(&[]) else { return };
    two.alice.expect("uac_refusals", &["-s", "alice"]);
}

/// The same for phones that need no credentials, so that each request of a scenario is its first.
fn two_trusted_phones(more: &[&str]) -> Option<Two> {
    let server = Server::start_with(&Options {
        no_answer_s: 30,
        trusted_network: Some("127.0.0.0/8".into()),
        ..Options::default()
    });
    let ((_, alice), (_, bob)) = (server.person("alice"), server.person("bob"));
    let alice = Sipp::phone(&server, &alice, ALICE_PORT)?;
    let bob = Sipp::phone(&server, &bob, BOB_PORT)?;
    bob.expect("register_trusted", more);
    Some(Two { server, alice, bob })
}

const TRANSPORTS: [&[&str]; 2] = [&["-t", "u1"], &["-t", "t1"]];

#[test]
fn a_call_without_hops_or_sound_or_description_is_refused_with_its_status() {
    for over in TRANSPORTS {
        let Some(two) = two_trusted_phones(over) else {
            return;
        };
        // alice has no phone that could answer for us.
        two.alice
            .expect("uac_refused_calls", &[&["-s", "alice"], over].concat());
    }
}

#[test]
fn a_call_that_comes_by_two_ways_rings_once() {
    for over in TRANSPORTS {
        let Some(two) = two_trusted_phones(over) else {
            return;
        };
        two.act("uas_ring_until_cancelled", "uac_merged", over);
    }
}

#[test]
fn a_call_that_comes_back_is_a_loop_and_voicemail_takes_it() {
    for over in TRANSPORTS {
        let Some(two) = two_trusted_phones(over) else {
            return;
        };
        two.act("uas_loops", "uac_call_trusted", over);
    }
}

#[test]
fn a_change_during_a_change_waits_whoever_asks() {
    for over in TRANSPORTS {
        let Some(two) = two_trusted_phones(over) else {
            return;
        };
        two.act("uas_glare", "uac_glare", over);
    }
}

#[test]
fn what_is_malformed_is_told_so_and_what_follows_is_served() {
    for transport in ["u1", "t1"] {
        let Some(two) = two_phones(&[]) else { return };
        two.alice.expect("uac_malformed", &["-t", transport]);
    }
}

#[test]
fn calls_and_texts_go_over_tcp_as_over_udp() {
    let tcp = ["-t", "t1"];
    let Some(two) = two_phones(&tcp) else { return };
    // The connections of the registrations are gone: the server opens its own to bob's contact.
    two.act("uas_answer", "uac_call", &tcp);
    two.act("uas_answer_hangs_up", "uac_call_answered_ended", &tcp);
    two.act("uas_ring_until_cancelled", "uac_cancel", &tcp);
    two.act("uas_hold", "uac_hold", &tcp);
    two.act("uas_message", "uac_message", &tcp);
}
