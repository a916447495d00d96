//! Calls that are mounts of their accounts.

use super::world::{ALICE, BOB, World, config};
use crate::{Config, Event, Overheard};
use ringpost_sip::Transport;

fn world(overheard: &[&str]) -> World {
    let config = Config {
        overheard: overheard.iter().map(|name| (*name).into()).collect(),
        ..config()
    };
    let mut world = World::with(1, config, Transport::Udp, &["alice", "bob"]);
    world.register_all();
    world
}

fn overheard(world: &World) -> Vec<&Overheard> {
    let events = world.events.iter().filter_map(|event| match event {
        Event::Overheard(one) => Some(one),
        _ => None,
    });
    events.collect()
}

#[test]
fn a_call_is_told_of_for_each_side_whose_account_has_its_calls_as_mounts() {
    for (named, sides) in [
        (&["alice"][..], &[ALICE][..]),
        (&["bob@example.org"], &[BOB]),
        (&["alice@example.org", "bob"], &[ALICE, BOB]),
        (&["alice@example.net", "carol"], &[]),
        (&[], &[]),
    ] {
        let mut w = world(named);
        let (_, bob, invite) = w.ring(ALICE, BOB);
        assert!(overheard(&w).is_empty(), "not while it rings");
        let now = w.now;
        w.peers[BOB].answer(now, bob, &invite);
        w.run_ms(200);
        let legs = w.legs();
        let expected: Vec<_> = sides
            .iter()
            .map(|side| (["alice", "bob"][*side], legs[*side], legs[1 - *side]))
            .collect();
        let told: Vec<_> = overheard(&w)
            .iter()
            .map(|one| (&*one.person.user, one.own, one.far))
            .collect();
        assert_eq!(told, expected, "{named:?}");
        w.assert_bridged();
        let now = w.now;
        w.peers[BOB].hang_up(now, bob);
        w.run_ms(500);
        w.assert_over();
    }
}
