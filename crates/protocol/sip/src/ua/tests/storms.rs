//! Whole calls over a network that loses, repeats and reorders.

use super::super::*;
use super::world::*;
use std::time::Duration;

/// Both answer whatever they are asked.
fn react(w: &mut World) {
    for who in [ALICE, BOB] {
        for event in w.take(who) {
            match event {
                Event::Invite { session, .. } => {
                    w.peers[who]
                        .ring(w.now, session, Status::RINGING, Content::none())
                        .unwrap();

                    w.peers[who]
                        .answer(w.now, session, Content::sdp("answer"))
                        .unwrap();
                }
                Event::Reinvite { session, .. } => {
                    w.peers[who]
                        .answer(w.now, session, Content::sdp("answer"))
                        .unwrap();
                }
                other => w.events[who].push(other),
            }
        }
    }
}

struct Told {
    answered: bool,
    acked: bool,
    ended: [Option<Reason>; 2],
}

fn told(w: &mut World) -> Told {
    let mut told = Told {
        answered: false,
        acked: false,
        ended: [None, None],
    };
    for who in [ALICE, BOB] {
        for event in std::mem::take(&mut w.events[who]) {
            match event {
                Event::Answered { .. } => {
                    assert!(!told.answered, "once");
                    told.answered = true;
                }
                Event::Acked { .. } => told.acked = true,
                Event::Terminated { reason, .. } => {
                    assert!(told.ended[who].is_none(), "once");
                    told.ended[who] = Some(reason);
                }
                _ => {}
            }
        }
    }
    told
}

fn run(w: &mut World, ms: u64) {
    let until = w.now + Duration::from_millis(ms);
    while w.step(until) {
        react(w);
    }
}

fn storm(seed: u64, loss: f64, act: impl Fn(&mut World, SessionId)) -> Told {
    let mut w = World::new(seed);
    w.loss = loss;
    w.duplication = loss;
    w.delay = (Duration::from_millis(1), Duration::from_millis(40));
    let mut request = w.new_request(ALICE, Method::Invite);
    request.content = Content::sdp("offer");
    let session = w.peers[ALICE].invite(w.now, request).unwrap();
    run(&mut w, 3000);
    act(&mut w, session);
    run(&mut w, 70_000);
    // Whoever is left hangs up.
    for who in [ALICE, BOB] {
        let left: Vec<u64> = (0..4u64)
            .flat_map(|index| (1..4u64).map(move |generation| generation << 32 | index))
            .filter(|id| w.peers[who].sessions.get(*id).is_some())
            .collect();
        for id in left {
            let _ = w.peers[who].hang_up(w.now, SessionId(id), None);
        }
    }
    run(&mut w, 70_000);
    w.assert_empty();
    told(&mut w)
}

// Guards pitfalls SIP 1, 2 and 6: whatever is lost, both sides agree in the end and nothing is left over.
#[test]
fn calls_end_on_both_sides_whatever_is_lost() {
    let mut answered = 0;
    for seed in 0..60 {
        let told = storm(seed, 0.3, |w, session| {
            let _ = w.peers[ALICE].hang_up(w.now, session, None);
        });
        answered += u32::from(told.answered);
        assert!(told.ended[ALICE].is_some());
        assert!(told.ended[BOB].is_some() || !told.acked);
    }
    assert!(answered > 50, "{answered} of 60");
}

#[test]
fn calls_are_cancelled_whatever_is_lost() {
    for seed in 0..60 {
        let mut w = World::new(seed);
        w.loss = 0.3;
        w.duplication = 0.3;
        let (session, at) = {
            let request = w.new_request(ALICE, Method::Invite);
            let session = w.peers[ALICE].invite(w.now, request).unwrap();
            (session, seed * 40)
        };
        w.run_ms(at);
        for event in w.take(BOB) {
            if let Event::Invite { session, .. } = event {
                w.peers[BOB]
                    .ring(w.now, session, Status::RINGING, Content::none())
                    .unwrap();
                if seed % 3 == 0 {
                    w.peers[BOB].answer(w.now, session, Content::sdp("late")).unwrap();
                }
            }
        }
        w.peers[ALICE].hang_up(w.now, session, None).unwrap();
        w.run_ms(400_000);
        // Where the CANCEL or the BYE was lost for good, Bob's user ends it.
        let _ = w.peers[BOB].hang_up(w.now, SessionId(1 << 32), None);
        w.assert_empty();
        let told = told(&mut w);
        assert!(told.ended[ALICE].is_some(), "seed {seed}");
    }
}

#[test]
fn changes_settle_whatever_is_lost() {
    for seed in 0..40 {
        storm(seed, 0.2, |w, session| {
            for _ in 0..5 {
                let _ = w.peers[ALICE].reinvite(w.now, session, Content::sdp("change"));
                let _ = w.peers[BOB].reinvite(w.now, SessionId(1 << 32), Content::sdp("change"));
                run(w, 2000);
            }
        });
    }
}
