//! What calls and registrations cost; run with `--release --ignored --nocapture`.

use super::super::*;
use super::world::*;

const TIMES: u32 = 20_000;

fn measure(what: &str, mut act: impl FnMut(&mut World)) {
    let mut w = World::new(1);
    let start = std::time::Instant::now();
    for _ in 0..TIMES {
        act(&mut w);
        w.sent.clear();
        // All of them at once is not what a server sees.
        if w.peers[BOB].transactions() > 5_000 {
            w.run_ms(40_000);
        }
    }
    println!("{what}: {:?} for both sides", start.elapsed() / TIMES);
}

#[test]
#[ignore = "a measurement"]
fn cost_of_registrations_and_calls() {
    measure("a request and its answer", |w| {
        let request = w.new_request(ALICE, Method::Register);
        w.peers[ALICE].request(w.now, request).unwrap();
        w.run_ms(10);
        let Event::Request { id, request, .. } = w.only(BOB) else {
            panic!()
        };
        let ok = w.peers[BOB].response(&request, Status::OK).finish();
        w.peers[BOB].respond(w.now, id, ok);
        w.run_ms(10);
        w.take(ALICE);
    });
    measure("a call from INVITE to BYE", |w| {
        let (alice, bob) = w.call();
        w.peers[BOB]
            .ring(w.now, bob, Status::RINGING, Content::none())
            .unwrap();
        w.run_ms(10);
        w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
        w.run_ms(20);
        w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
        w.run_ms(20);
        w.take(ALICE);
        w.take(BOB);
    });
}
