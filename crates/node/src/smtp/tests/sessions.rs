//! Sessions that end.

use super::*;

#[test]
fn who_says_nothing_is_sent_away_after_five_minutes() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    house.lab.pass(Duration::from_secs(299));
    assert_eq!(house.lab.hear(&client), "");
    house.lab.pass(Duration::from_secs(1));
    assert_eq!(house.lab.hear(&client), "421 4.4.2 Timeout, closing\r\n");
    assert!(client.is_closed());
}

#[test]
fn a_stop_waits_for_the_message_under_way_and_for_nothing_else() {
    let mut house = House::new();
    let (idle, busy) = (house.connect(Role::Mx), house.connect(Role::Mx));
    house.codes(&busy, TO_ALICE);
    house.ground.stop();
    assert_eq!(house.lab.hear(&idle), "421 4.3.2 Shutting down\r\n");
    assert_eq!(house.codes(&busy, HELLO), [250, 421]);
    assert_eq!((house.inbox("alice").len(), house.lab.running()), (1, 0));
}
