//! A call that stands is changed: hold, resume, codecs, glare, and changes that fail.

use super::peer::sdp;
use super::world::{ALICE, BOB, World, config};
use ringpost_base::Rng;
use ringpost_media::Event as MediaEvent;
use ringpost_sdp::Direction::{self, Inactive, RecvOnly, SendOnly, SendRecv};
use ringpost_sip::ua::{self, Content, SessionId};
use ringpost_sip::{Builder, HeaderName, Message, Method, Status, Transport};

/// What the media plane does on each leg follows from what both users want.
#[track_caller]
fn assert_in_line(w: &World) {
    let (alice, bob) = (w.peers[ALICE].will, w.peers[BOB].will);
    let legs: Vec<Direction> = w.media.legs.values().map(|leg| leg.media.direction).collect();
    let expected = [bob.and(alice.reversed()), alice.and(bob.reversed())];
    assert_eq!(legs, expected, "alice wants {alice:?}, bob {bob:?}");
}

fn change(w: &mut World, who: usize, session: SessionId, will: Direction) {
    let now = w.now;
    w.peers[who].change(now, session, will);
    w.run_ms(500);
}

fn end(mut w: World, alice: SessionId) {
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

fn direction_in(message: &Message) -> String {
    let body = String::from_utf8_lossy(message.body());
    let line = body.lines().find(|line| {
        ["sendrecv", "sendonly", "recvonly", "inactive"].contains(&line.trim_start_matches("a="))
    });
    line.unwrap_or("a=sendrecv")[2..].to_owned()
}

// Guards pitfall SIP 8: hold and resume pass through, from either side.
#[test]
fn hold_reaches_the_other_phone_as_hold_and_resume_ends_it() {
    for (holder, other) in [(ALICE, BOB), (BOB, ALICE)] {
        let mut w = World::new();
        let (alice, bob) = w.talk(ALICE, BOB);
        let session = if holder == ALICE { alice } else { bob };
        change(&mut w, holder, session, SendOnly);
        assert_eq!(direction_in(&w.last_to(other, "INVITE")), "sendonly");
        assert_eq!(direction_in(&w.last_to(holder, "200 INVITE")), "recvonly");
        assert_in_line(&w);
        change(&mut w, holder, session, SendRecv);
        assert_eq!(direction_in(&w.last_to(other, "INVITE")), "sendrecv");
        assert_in_line(&w);
        assert_eq!(w.count_to(other, "INVITE"), 2);
        end(w, alice);
    }
}

// Guards pitfall SIP 8: old phones hold with c=0.0.0.0.
#[test]
fn an_address_of_zeros_is_hold() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    let offer = String::from_utf8(sdp("0 8 101", SendRecv, 9).to_vec()).unwrap();
    let offer = offer.replace("c=IN IP4 198.51.100.9", "c=IN IP4 0.0.0.0");
    let now = w.now;
    w.peers[ALICE]
        .ua
        .reinvite(now, alice, Content::sdp(offer))
        .unwrap();
    w.run_ms(500);
    assert_eq!(direction_in(&w.last_to(BOB, "INVITE")), "sendonly");
    let legs = w.legs();
    assert!(!w.media.legs[&legs[0]].media.direction.sends());
    assert_eq!(w.media.legs[&legs[0]].media.rtp, None);
    change(&mut w, ALICE, alice, SendRecv);
    assert_in_line(&w);
    assert!(w.media.legs[&legs[0]].media.rtp.is_some());
    end(w, alice);
}

// Guards pitfall SIP 8: whoever holds and resumes in whatever order, both legs follow.
#[test]
fn holds_from_both_sides_in_any_order_leave_the_legs_in_line() {
    let mut rng = Rng::from_number(1);
    for _ in 0..20 {
        let mut w = World::new();
        let (alice, bob) = w.talk(ALICE, BOB);
        for _ in 0..8 {
            let (who, session) = [(ALICE, alice), (BOB, bob)][rng.below(2) as usize];
            let will = [SendRecv, SendRecv, SendOnly, Inactive, RecvOnly][rng.below(5) as usize];
            change(&mut w, who, session, will);
            assert_in_line(&w);
        }
        end(w, alice);
    }
}

#[test]
fn a_change_that_does_not_concern_the_other_phone_is_not_passed_on() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    let offer = String::from_utf8(sdp("0 8 101", SendRecv, 9).to_vec()).unwrap();
    let now = w.now;
    w.peers[ALICE]
        .ua
        .reinvite(now, alice, Content::sdp(offer.replace("40000", "41000")))
        .unwrap();
    w.run_ms(500);
    assert_eq!(w.count_to(BOB, "INVITE"), 0);
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 1);
    let leg = w.legs()[0];
    assert_eq!(w.media.legs[&leg].media.rtp.unwrap().port(), 41_000);
    end(w, alice);
}

/// Bob's phone refuses the next change.
fn refuse_next(w: &mut World, status: Status) {
    let now = w.now;
    let asked = w.take(BOB).into_iter().find_map(|event| match event {
        ua::Event::Reinvite { session, .. } => Some(session),
        _ => None,
    });
    w.peers[BOB]
        .ua
        .reject(now, asked.expect("a re-INVITE"), status, Content::none())
        .unwrap();
    w.run_ms(300);
}

// Guards pitfall SIP 8: a failed re-INVITE leaves both sessions as they were.
#[test]
fn a_refused_change_leaves_both_sessions_as_they_were() {
    for (refusal, told) in [(488, 488), (500, 500), (503, 500), (401, 500)] {
        let mut w = World::new();
        let (alice, _) = w.talk(ALICE, BOB);
        w.peers[BOB].is_polite = false;
        let now = w.now;
        w.peers[ALICE].change(now, alice, SendOnly);
        w.run_ms(200);
        refuse_next(&mut w, Status::new(refusal).unwrap());
        assert_eq!(w.count_to(ALICE, &format!("{told} INVITE")), 1, "{refusal}");
        w.peers[ALICE].will = SendRecv;
        assert_in_line(&w);
        w.assert_bridged();
        w.peers[BOB].is_polite = true;
        change(&mut w, ALICE, alice, SendOnly);
        assert_in_line(&w);
        end(w, alice);
    }
}

#[test]
fn an_answer_of_no_use_is_a_refused_change() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    w.peers[BOB].is_polite = false;
    let now = w.now;
    w.peers[ALICE].change(now, alice, SendOnly);
    w.run_ms(200);
    let asked = w.take(BOB).into_iter().find_map(|event| match event {
        ua::Event::Reinvite { session, .. } => Some(session),
        _ => None,
    });
    let now = w.now;
    w.peers[BOB]
        .ua
        .answer(now, asked.unwrap(), Content::sdp("v=0\r\n"))
        .unwrap();
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "488 INVITE"), 1);
    w.peers[ALICE].will = SendRecv;
    assert_in_line(&w);
    w.peers[BOB].is_polite = true;
    change(&mut w, ALICE, alice, SendOnly);
    assert_in_line(&w);
    end(w, alice);
}

#[test]
fn an_offer_with_nothing_in_common_is_refused_before_the_other_phone_hears_of_it() {
    let good = String::from_utf8(sdp("0", SendOnly, 9).to_vec()).unwrap();
    for offer in [
        good.replace("m=audio", "m=video"),
        good.replace("RTP/AVP", "RTP/SAVP"),
        good.replace("m=audio 40000", "m=audio 0"),
        "v=0\r\n".to_owned(),
    ] {
        let mut w = World::new();
        let (alice, _) = w.talk(ALICE, BOB);
        let now = w.now;
        w.peers[ALICE]
            .ua
            .reinvite(now, alice, Content::sdp(offer))
            .unwrap();
        w.run_ms(300);
        assert_eq!(w.count_to(ALICE, "488 INVITE"), 1);
        assert_eq!(w.count_to(BOB, "INVITE"), 0);
        assert_in_line(&w);
        end(w, alice);
    }
}

// Guards pitfall SIP 8: m-lines keep their order and their number.
#[test]
fn lines_that_we_do_not_take_stay_in_their_place() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    let audio = String::from_utf8(sdp("0", SendRecv, 9).to_vec()).unwrap();
    let with_video = format!("{audio}m=video 50000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n");
    let now = w.now;
    w.peers[ALICE]
        .ua
        .reinvite(now, alice, Content::sdp(with_video))
        .unwrap();
    w.run_ms(300);
    let answer = String::from_utf8(w.last_to(ALICE, "200 INVITE").body().to_vec()).unwrap();
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert!(lines[0].starts_with("m=audio 2"), "{answer}");
    assert!(lines[1].starts_with("m=video 0 "), "{answer}");
    let now = w.now;
    w.peers[ALICE]
        .ua
        .reinvite(now, alice, Content::sdp(audio))
        .unwrap();
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "488 INVITE"), 1, "a line may not go");
    end(w, alice);
}

#[test]
fn a_codec_that_the_other_phone_does_not_speak_is_agreed_on_with_it_first() {
    let mut w = World::new();
    (w.peers[ALICE].formats, w.peers[BOB].formats) = ("9 0", "9 0");
    let (alice, _) = w.talk(ALICE, BOB);
    w.peers[BOB].formats = "0";
    w.peers[ALICE].formats = "0";
    change(&mut w, ALICE, alice, SendRecv);
    let spoken: Vec<_> = w.media.legs.values().map(|leg| leg.codecs()[0]).collect();
    assert_eq!(spoken, ["PCMU", "PCMU"]);
    end(w, alice);

    let mut w = World::new();
    (w.peers[ALICE].formats, w.peers[BOB].formats) = ("9", "9 0");
    let (alice, _) = w.talk(ALICE, BOB);
    w.peers[ALICE].formats = "8";
    change(&mut w, ALICE, alice, SendRecv);
    assert_eq!(w.count_to(BOB, "INVITE"), 1);
    let spoken: Vec<_> = w.media.legs.values().map(|leg| leg.codecs()[0]).collect();
    assert_eq!(spoken, ["PCMA", "PCMU"]);
    end(w, alice);
}

// Guards pitfall SIP 8: glare, where both phones change something at once; each may try again after its wait.
#[test]
fn changes_that_cross_are_refused_with_491_and_made_one_after_the_other() {
    let mut w = World::new();
    let (alice, bob) = w.talk(ALICE, BOB);
    let now = w.now;
    w.peers[ALICE].change(now, alice, SendOnly);
    w.peers[BOB].change(now, bob, SendOnly);
    let mut refused = 0;
    for _ in 0..60 {
        w.run_ms(100);
        for (who, session) in [(ALICE, alice), (BOB, bob)] {
            for event in w.take(who) {
                match event {
                    ua::Event::ReinviteRefused { response, .. } => {
                        assert_eq!(response.status(), Some(Status::REQUEST_PENDING));
                        refused += 1;
                    }
                    ua::Event::ReinviteAllowed { .. } => {
                        let now = w.now;
                        w.peers[who].change(now, session, SendOnly);
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(refused > 0);
    assert_in_line(&w);
    end(w, alice);
}

#[test]
fn a_change_while_the_other_phone_is_being_asked_is_glare() {
    let mut w = World::new();
    let (alice, bob) = w.talk(ALICE, BOB);
    w.peers[BOB].is_polite = false;
    let now = w.now;
    w.peers[ALICE].change(now, alice, SendOnly);
    w.run_ms(200);
    let now = w.now;
    let offer = sdp("0", SendOnly, 5);
    // Bob's phone ought to know better.
    assert!(w.peers[BOB].ua.reinvite(now, bob, Content::sdp(offer)).is_err());
    let dialog = w.peers[BOB].ua.dialog(bob).unwrap().clone();
    let mut crossing = dialog.clone();
    let invite = inject_within(
        &mut w,
        BOB,
        crossing.request(&Method::Invite),
        Some(&sdp("0", SendOnly, 5)),
    );
    w.run_ms(200);
    assert_eq!(w.count_to(BOB, "491 INVITE"), 1, "{invite}");
    w.run_s(40);
    end(w, alice);
}

/// Sends a request within a dialog that the phone's user agent would not send.
fn inject_within(w: &mut World, who: usize, mut request: Builder, body: Option<&[u8]>) -> String {
    request
        .header(HeaderName::Contact, w.peers[who].contact())
        .header(
            HeaderName::Via,
            "SIP/2.0/UDP 198.51.100.3:5060;branch=z9hG4bKinjected",
        );
    let bytes = match body {
        Some(body) => request.finish_with("application/sdp", body),
        None => request.finish(),
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    w.inject(who, &text);
    text
}

// Guards pitfall SIP 8: a re-INVITE without an offer is made one of all that the other phone takes.
#[test]
fn a_change_without_an_offer_resumes_what_was_held() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    change(&mut w, ALICE, alice, SendOnly);
    w.peers[ALICE].will = SendRecv;
    let now = w.now;
    w.peers[ALICE].ua.reinvite(now, alice, Content::none()).unwrap();
    w.run_ms(500);
    assert_eq!(direction_in(&w.last_to(ALICE, "200 INVITE")), "sendrecv");
    assert_eq!(direction_in(&w.last_to(BOB, "INVITE")), "sendrecv");
    assert_in_line(&w);
    // And it may hold in the ACK.
    w.peers[ALICE].will = SendOnly;
    let now = w.now;
    w.peers[ALICE].ua.reinvite(now, alice, Content::none()).unwrap();
    w.run_ms(500);
    assert_eq!(direction_in(&w.last_to(BOB, "INVITE")), "sendonly");
    assert_in_line(&w);
    end(w, alice);
}

#[test]
fn an_ack_that_owes_its_answer_leaves_the_session_as_it_was() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    w.peers[ALICE].is_polite = false;
    let now = w.now;
    w.peers[ALICE].ua.reinvite(now, alice, Content::none()).unwrap();
    w.run_ms(300);
    let now = w.now;
    w.peers[ALICE].ua.ack(now, alice, Content::none()).unwrap();
    w.run_ms(300);
    assert_in_line(&w);
    w.peers[ALICE].is_polite = true;
    change(&mut w, ALICE, alice, SendOnly);
    assert_in_line(&w);
    end(w, alice);
}

#[test]
fn a_change_that_is_given_up_is_taken_back_from_the_other_phone() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    w.peers[BOB].is_polite = false;
    let now = w.now;
    w.peers[ALICE].change(now, alice, SendOnly);
    w.run_ms(100);
    let invite = w
        .sent
        .iter()
        .rev()
        .find(|s| s.from == Some(ALICE) && s.what() == "INVITE");
    let invite = invite.unwrap().message.clone();
    let mut cancel = Builder::request(&Method::Cancel, invite.request_uri().unwrap());
    for name in [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
    ] {
        cancel.copy(&invite, name);
    }
    let number = invite.cseq().number;
    let cancel = cancel
        .header(HeaderName::CSeq, format_args!("{number} CANCEL"))
        .finish();
    w.inject(ALICE, std::str::from_utf8(&cancel).unwrap());
    w.run_ms(100);
    assert_eq!(w.count_to(ALICE, "487 INVITE"), 1);
    w.peers[ALICE].will = SendRecv;
    w.peers[BOB].is_polite = true;
    let (session, request) = w
        .take(BOB)
        .into_iter()
        .find_map(|event| match event {
            ua::Event::Reinvite { session, request } => Some((session, request)),
            _ => None,
        })
        .unwrap();
    let now = w.now;
    w.peers[BOB].answer(now, session, &request);
    w.run_ms(500);
    assert_eq!(direction_in(&w.last_to(BOB, "INVITE")), "sendrecv");
    assert_in_line(&w);
    end(w, alice);
}

#[test]
fn a_phone_that_does_not_answer_a_change_ends_the_call() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    w.drop_if = Box::new(|sent| sent.to == Some(BOB));
    let now = w.now;
    w.peers[ALICE].change(now, alice, SendOnly);
    w.run_s(40);
    assert_eq!(w.phone.calls(), 0);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    w.drop_if = Box::new(|_| false);
    w.run_s(2_000);
    assert!(w.phone.is_idle());
}

#[test]
fn a_call_that_begins_on_hold_is_held_from_the_beginning() {
    let mut w = World::new();
    w.peers[ALICE].will = SendOnly;
    let (alice, bob, invite) = w.ring(ALICE, BOB);
    assert_eq!(direction_in(&invite), "sendonly");
    let now = w.now;
    w.peers[BOB].answer(now, bob, &invite);
    w.run_ms(300);
    assert_in_line(&w);
    change(&mut w, ALICE, alice, SendRecv);
    assert_in_line(&w);
    end(w, alice);
}

#[test]
fn a_phone_that_answers_on_hold_holds_the_caller() {
    let mut w = World::new();
    w.peers[BOB].will = SendOnly;
    let (alice, bob) = w.talk(ALICE, BOB);
    assert_in_line(&w);
    change(&mut w, BOB, bob, SendRecv);
    assert_in_line(&w);
    end(w, alice);
}

// The caller was told early that all is well, so it has to be told again.
#[test]
fn a_phone_that_answers_on_hold_behind_early_media_holds_the_caller() {
    let mut w = World::new();
    let (alice, bob, invite) = w.ring(ALICE, BOB);
    let now = w.now;
    let early = Content::sdp(sdp("0 8 101", SendRecv, 1));
    w.peers[BOB]
        .ua
        .ring(now, bob, Status::SESSION_PROGRESS, early)
        .unwrap();
    w.run_ms(100);
    w.peers[BOB].will = SendOnly;
    let now = w.now;
    w.peers[BOB].answer(now, bob, &invite);
    w.run_ms(500);
    assert_eq!(direction_in(&w.last_to(ALICE, "INVITE")), "sendonly");
    assert_in_line(&w);
    end(w, alice);
}

// A delayed offer (RFC 3261 §13.2.1): ours goes out in the 2xx, the answer comes in the ACK.
#[test]
fn a_caller_without_an_offer_gets_ours_in_the_answer() {
    let mut w = World::new();
    let now = w.now;
    let request = w.peers[ALICE].request(Method::Invite, "bob");
    let alice = w.peers[ALICE].ua.invite(now, request).unwrap();
    w.run_ms(200);
    let (bob, invite) = w.incoming(BOB);
    assert!(
        !invite.body().is_empty(),
        "the phone that is called gets an offer of ours"
    );
    let now = w.now;
    w.peers[BOB].formats = "8 101";
    w.peers[BOB].answer(now, bob, &invite);
    w.run_ms(200);
    let offer = w.last_to(ALICE, "200 INVITE");
    w.peers[ALICE].formats = "0 101";
    let answer = w.peers[ALICE].describe(offer.body());
    let now = w.now;
    w.peers[ALICE].ua.ack(now, alice, Content::sdp(answer)).unwrap();
    w.run_ms(300);
    w.assert_bridged();
    assert_in_line(&w);
    let spoken: Vec<_> = w.media.legs.values().map(|leg| leg.codecs()[0]).collect();
    assert_eq!(spoken, ["PCMU", "PCMA"]);
    end(w, alice);
}

#[test]
fn a_caller_who_owes_the_answer_in_the_ack_is_hung_up_on() {
    let mut w = World::new();
    let now = w.now;
    let request = w.peers[ALICE].request(Method::Invite, "bob");
    let alice = w.peers[ALICE].ua.invite(now, request).unwrap();
    w.run_ms(200);
    let (bob, invite) = w.incoming(BOB);
    let now = w.now;
    w.peers[BOB].answer(now, bob, &invite);
    w.run_ms(200);
    let now = w.now;
    w.peers[ALICE].ua.ack(now, alice, Content::none()).unwrap();
    w.run_ms(300);
    assert_eq!((w.count_to(ALICE, "BYE"), w.count_to(BOB, "BYE")), (1, 1));
    w.assert_over();
}

/// A world whose phones take no UPDATE, with a call that stands.
fn without_update() -> (World, SessionId) {
    let mut w = World::with(1, config(), Transport::Udp, &["alice", "bob"]);
    for peer in &mut w.peers {
        peer.takes_no_update();
    }
    w.register_all();
    let (alice, _) = w.talk(ALICE, BOB);
    (w, alice)
}

#[test]
fn a_session_is_refreshed_before_its_interval_ends() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    w.run_s(2_000);
    assert!(w.count_to(BOB, "UPDATE") >= 2);
    assert_eq!(w.phone.calls(), 1);
    end(w, alice);

    let (mut w, alice) = without_update();
    w.run_s(2_000);
    let first = w.last_to(BOB, "INVITE");
    assert!(w.count_to(BOB, "INVITE") >= 2);
    assert_eq!(w.phone.calls(), 1);
    w.run_s(1_000);
    let version = |m: &Message| {
        String::from_utf8_lossy(m.body())
            .lines()
            .nth(1)
            .map(str::to_owned)
    };
    assert_eq!(
        version(&first),
        version(&w.last_to(BOB, "INVITE")),
        "nothing has changed"
    );
    assert_in_line(&w);
    end(w, alice);
}

#[test]
fn a_refresh_that_meets_another_offer_is_tried_again() {
    let (mut w, alice) = without_update();
    w.peers[BOB].is_polite = false;
    while w.count_to(BOB, "INVITE") == 0 {
        w.run_ms(100);
    }
    refuse_next(&mut w, Status::REQUEST_PENDING);
    w.peers[BOB].is_polite = true;
    w.run_s(1_200);
    assert_eq!(w.phone.calls(), 1);
    assert!(w.count_from(BOB, "200 INVITE") >= 1);
    end(w, alice);
}

#[test]
fn a_call_whose_phones_have_vanished_ends_by_itself() {
    let mut w = World::new();
    w.talk(ALICE, BOB);
    w.drop_if = Box::new(|_| true);
    w.run_s(2_000);
    assert_eq!(w.phone.calls(), 0);
    w.run_s(2_000);
    assert!(w.phone.is_idle());
    assert!(w.media.open.is_empty());
}

#[test]
fn digits_reach_a_phone_without_events_as_tones() {
    let mut w = World::new();
    w.peers[BOB].formats = "0";
    let (alice, _) = w.talk(ALICE, BOB);
    let legs = w.legs();
    for (leg, digit) in [(legs[0], '7'), (legs[1], '8')] {
        let now = w.now;
        w.media.tell(now, MediaEvent::Digit { leg, digit });
    }
    w.run_ms(100);
    assert_eq!(w.media.digits_sent, [(legs[1], "7".to_owned())]);
    end(w, alice);

    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    let (now, leg) = (w.now, w.legs()[0]);
    w.media.tell(now, MediaEvent::Digit { leg, digit: '7' });
    w.run_ms(100);
    assert_eq!(w.media.digits_sent, [], "the events pass by themselves");
    end(w, alice);
}
