//! Calls between two user agents.

use super::super::*;
use super::world::*;

#[test]
fn a_call_rings_is_answered_and_ends() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut w = World::with(1, transport, config());
        let (alice, bob) = w.call();
        w.peers[BOB]
            .ring(w.now, bob, Status::RINGING, Content::none())
            .unwrap();
        w.run_ms(1000);
        let Event::Provisional { session, response } = w.only(ALICE) else {
            panic!()
        };
        assert_eq!((session, response.status()), (alice, Some(Status::RINGING)));
        w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
        w.run_ms(20);
        let Event::Answered { response, .. } = w.only(ALICE) else {
            panic!()
        };
        assert_eq!(response.body(), "answer");
        w.run_ms(20);
        assert!(matches!(w.only(BOB), Event::Acked { session, .. } if session == bob));
        w.run_ms(10_000);
        assert_eq!(w.log(), ["a: INVITE", "b: 180 INVITE", "b: 200 INVITE", "a: ACK"]);
        w.peers[BOB].hang_up(w.now, bob, None).unwrap();
        w.run_ms(50);
        assert!(matches!(
            w.only(BOB),
            Event::Terminated {
                reason: Reason::Local,
                ..
            }
        ));
        assert!(matches!(
            w.only(ALICE),
            Event::Terminated {
                reason: Reason::Bye(_),
                ..
            }
        ));
        assert_eq!(w.log(), ["b: BYE", "a: 200 BYE"]);
        w.assert_empty();
    }
}

// Guards pitfall SIP 1: the side that sent a 2xx repeats it until the ACK; each 2xx that comes again is acknowledged.
#[test]
fn a_2xx_is_sent_again_until_its_ack_comes() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut w = World::with(1, transport, config());
        let (alice, bob) = w.call();
        let mut acks = 0;
        w.drop_if = Box::new(move |_, m| {
            acks += u32::from(*m.method() == Method::Ack && m.is_request());
            *m.method() == Method::Ack && acks < 4
        });
        w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
        w.run_ms(60_000);
        assert_eq!((w.count(BOB, "200 INVITE"), w.count(ALICE, "ACK")), (4, 4));
        let acks: Vec<_> = w
            .sent
            .iter()
            .filter(|(_, m)| *m.method() == Method::Ack)
            .map(|(_, m)| m.clone())
            .collect();
        assert!(
            acks.windows(2).all(|pair| pair[0] == pair[1]),
            "the same ACK each time"
        );
        assert!(matches!(w.only(ALICE), Event::Answered { .. }));
        assert!(matches!(w.only(BOB), Event::Acked { .. }));
        w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
        w.assert_empty();
    }
}

// Guards pitfall SIP 1: an ACK that matches nothing is dropped.
#[test]
fn an_ack_for_no_dialog_is_dropped() {
    let mut w = World::new(1);
    let (alice, _) = w.talk();
    let dialog = w.peers[ALICE].dialog(alice).unwrap().clone();
    for ack in [dialog.ack(99), dialog.clone().ack(dialog.local_cseq())] {
        let bytes = { ack }
            .header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bKstray")
            .finish();
        w.inject(BOB, bytes);
    }
    assert!(w.take(BOB).is_empty());
    assert!(w.log().is_empty());
}
