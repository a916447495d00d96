//! Who may come, and when.

use super::world::{NOW, World, now};
use crate::greylist::{DAY, GOOD_NETWORK, KNOWN, RETRY_WITHIN};
use ringpost_base::{UnixTime, limits};
use std::sync::atomic::Ordering;
use std::time::Duration;

const DELAY: Duration = Duration::from_secs(300);

struct Comes<'a>(&'a World);

impl Comes<'_> {
    fn from(&self, address: &str, sender: &str, at: UnixTime) -> bool {
        let address = address.parse().unwrap();
        now(self
            .0
            .mail
            .may_come(address, sender, "alice@example.org", DELAY, at))
        .unwrap()
    }
}

#[test]
fn who_comes_again_in_time_passes_and_is_known_from_then_on() {
    let world = World::new();
    let comes = Comes(&world);
    assert!(!comes.from("192.0.2.1", "x@other.test", NOW));
    assert!(
        !comes.from("192.0.2.1", "x@other.test", NOW + DELAY / 2),
        "too soon"
    );
    assert!(
        !comes.from("192.0.2.1", "y@other.test", NOW + DELAY),
        "somebody else"
    );
    assert!(
        !comes.from("198.51.100.1", "x@other.test", NOW + DELAY),
        "from elsewhere"
    );
    assert!(
        comes.from("192.0.2.200", "x@other.test", NOW + DELAY),
        "one of the same servers"
    );
    assert!(comes.from("192.0.2.1", "x@other.test", NOW + DELAY));
    let later = NOW + (KNOWN - DAY);
    assert!(comes.from("192.0.2.1", "x@other.test", later));
    assert!(
        comes.from("192.0.2.1", "x@other.test", later + (KNOWN - DAY)),
        "each time it counts anew"
    );
    assert!(
        !comes.from("192.0.2.1", "x@other.test", later + KNOWN * 3),
        "not for ever"
    );
    world.check();
}

#[test]
fn a_network_that_comes_again_often_is_known_as_a_whole() {
    let world = World::new();
    let comes = Comes(&world);
    for n in 0..GOOD_NETWORK {
        let sender = format!("{n}@other.test");
        assert!(!comes.from("2001:db8::1", &sender, NOW));
        assert!(comes.from("2001:db8::2", &sender, NOW + DELAY));
    }
    assert!(comes.from("2001:db8::3", "new@other.test", NOW + DELAY));
    assert!(
        !comes.from("2001:db8:0:1::1", "new@other.test", NOW + DELAY),
        "the next network"
    );
}

#[test]
fn what_is_remembered_ends_and_is_bounded() {
    let world = World::new();
    let comes = Comes(&world);
    assert!(!comes.from("192.0.2.1", "x@other.test", NOW));
    now(world.mail.forget_greylisted(NOW + RETRY_WITHIN)).unwrap();
    assert_eq!(world.mail.greylisted.load(Ordering::Relaxed), 0);
    assert!(
        !comes.from("192.0.2.1", "x@other.test", NOW + RETRY_WITHIN),
        "it begins anew"
    );
    now(world.mail.forget_greylisted(NOW + RETRY_WITHIN)).unwrap();
    assert_eq!(world.mail.greylisted.load(Ordering::Relaxed), 1);
    world.mail.greylisted.store(limits::GREYLISTED, Ordering::Relaxed);
    assert!(
        comes.from("192.0.2.1", "other@other.test", NOW),
        "no room: it passes"
    );
    let long = "x".repeat(2_000);
    world.mail.greylisted.store(0, Ordering::Relaxed);
    assert!(!comes.from("192.0.2.1", &long, NOW));
    world.check();
}
