//! Servers that must prove who they are: MTA-STS and DANE.

use super::*;

/// Whether a server that does not offer TLS gets a message.
fn goes_without_tls(house: &mut House) -> bool {
    house.submit(ALICE, &["x@there.test"], "");
    let server = house.accept(ONE);
    house.lab.say(&server, "220 there\r\n");
    house.lab.say(&server, "250 there\r\n").starts_with("MAIL FROM:")
}

fn said_last(house: &House) -> String {
    let entries = at_once(house.ground.mail.queue_entries()).unwrap();
    let recipient = &entries[0].record.recipients[0];
    format!("{} {}", recipient.status, recipient.text)
}

const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: mx.there.test\nmax_age: 86400\n";
const OTHER: &str = "version: STSv1\nmode: enforce\nmx: other.there.test\nmax_age: 86400\n";
const TESTING: &str = "version: STSv1\nmode: testing\nmx: other.there.test\nmax_age: 86400\n";
const NONE: &str = "version: STSv1\nmode: none\nmax_age: 86400\n";

fn with_policy(policy: &'static str) -> House {
    let house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let mut net = house.world.net();
    net.texts.insert("_mta-sts.there.test", vec!["v=STSv1; id=1;"]);
    net.policies.insert("mta-sts.there.test", policy);
    net.addresses.insert("mta-sts.there.test", "203.0.113.9");
    drop(net);
    house
}

#[test]
fn a_policy_that_is_enforced_keeps_mail_from_servers_that_cannot_be_proven() {
    let mut house = with_policy(ENFORCE);
    assert!(!goes_without_tls(&mut house));
    assert_eq!(house.world.net().dials[0].proof, Proof::Name);
    let said = said_last(&house);
    assert!(
        said.starts_with("4.7.10 MTA-STS: mx.there.test at 203.0.113.1:25: "),
        "{said}"
    );
    // One that the policy does not name is not spoken to.
    let mut house = with_policy(OTHER);
    house.submit(ALICE, &["x@there.test"], "");
    assert_eq!(house.came_to(ONE), 0);
    let said = said_last(&house);
    assert!(
        said.starts_with("4.7.5 MTA-STS: mx.there.test is not among"),
        "{said}"
    );
    house.check();
}

#[test]
fn a_policy_for_testing_one_taken_back_and_one_that_cannot_be_had_ask_nothing() {
    for policy in [TESTING, NONE, "<html>"] {
        let mut house = with_policy(policy);
        assert!(goes_without_tls(&mut house), "{policy}");
    }
    // The policy's host is in our own network: it is not gone to.
    let mut house = with_policy(ENFORCE);
    house
        .world
        .net()
        .addresses
        .insert("mta-sts.there.test", "192.168.1.1");
    assert!(goes_without_tls(&mut house));
    assert!(house.world.net().fetched.is_empty());
}

#[test]
fn a_policy_is_kept_for_as_long_as_it_says_and_fetched_anew_when_the_dns_names_another() {
    let mut house = with_policy(OTHER);
    house.submit(ALICE, &["x@there.test"], "");
    house.came_to(ONE);
    // Who takes the record out of the DNS, or the policy from its host, changes nothing.
    house.world.net().policies.clear();
    house.world.net().texts.clear();
    house.lab.pass(Duration::from_secs(3_600));
    assert_eq!((house.came_to(ONE), house.world.net().fetched.len()), (0, 1));
    house
        .world
        .net()
        .texts
        .insert("_mta-sts.there.test", vec!["v=STSv1; id=2;"]);
    house.lab.pass(Duration::from_secs(7_200));
    assert_eq!(
        house.came_to(ONE),
        0,
        "the old one holds while the new one cannot be had"
    );
    assert!(house.world.net().fetched.len() > 1);
    house.world.net().policies.insert("mta-sts.there.test", NONE);
    house.lab.pass(Duration::from_secs(7_500));
    assert!(house.came_to(ONE) > 0);
    // Its time is over.
    let mut house = with_policy(OTHER);
    house.submit(ALICE, &["x@there.test"], "");
    house.world.net().texts.clear();
    house.lab.pass(Duration::from_secs(80_000));
    assert_eq!(house.came_to(ONE), 0);
    house.lab.pass(Duration::from_secs(20_000));
    assert!(house.came_to(ONE) > 0);
}

fn tlsa() -> Tlsa {
    Tlsa {
        usage: 3,
        selector: 1,
        matching: 1,
        data: vec![7; 32],
    }
}

#[test]
fn dane_comes_before_a_policy_and_holds_where_the_servers_are_proven() {
    let mut house = with_policy(OTHER);
    house.world.net().signed.push("there.test");
    house
        .world
        .net()
        .tlsa
        .insert("mx.there.test", Ok(Some(vec![tlsa()])));
    assert!(!goes_without_tls(&mut house));
    let dane = Proof::Dane {
        records: vec![tlsa()],
        domain: "there.test".into(),
    };
    assert_eq!(house.world.net().dials[0].proof, dane);
    let said = said_last(&house);
    assert!(
        said.starts_with("4.7.10 DANE: mx.there.test at 203.0.113.1:25: "),
        "{said}"
    );
    // Records none of which can be used ask for TLS with whomever.
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.world.net().signed.push("there.test");
    house
        .world
        .net()
        .tlsa
        .insert("mx.there.test", Ok(Some(Vec::new())));
    assert!(!goes_without_tls(&mut house));
    assert_eq!(house.world.net().dials[0].proof, Proof::Any);
    // A domain that is not signed leads wherever it leads.
    house = with_policy(NONE);
    house
        .world
        .net()
        .tlsa
        .insert("mx.there.test", Ok(Some(vec![tlsa()])));
    assert!(goes_without_tls(&mut house));
}

// Guards pitfall SMTP 6: a destination whose DNSSEC look-ups fail never blocks another.
#[test]
fn records_that_cannot_be_had_delay_their_destination_alone() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.domain("broken.test", "mx.broken.test", "203.0.113.2");
    house.listen(ONE);
    house.listen(TWO);
    house.world.net().signed.extend(["there.test", "broken.test"]);
    let bogus = NoAnswer("DNSSEC fails for _25._tcp.mx.broken.test".into());
    house.world.net().tlsa.insert("mx.broken.test", Err(bogus));
    house.submit(ALICE, &["x@broken.test"], "");
    assert_eq!(house.came_to(TWO), 0, "who hides the records gets nothing");
    let said = said_last(&house);
    assert_eq!(said, "4.7.5 DANE: DNSSEC fails for _25._tcp.mx.broken.test");
    house.submit(ALICE, &["x@there.test"], "");
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    assert_eq!(house.counters.sent(), 1);
}
