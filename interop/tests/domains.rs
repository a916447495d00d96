//! Calls and texts to other domains, over a DNS of the test's own: to a SIPp, and to a second server of ours.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Device, Dns, Options, Record, Server, Sipp, certificates, own_address};
use std::net::Ipv4Addr;
use std::time::Duration;

const ALICE_PORT: u16 = 6001;
/// Where nobody listens.
const DEAD_PORT: u16 = 6090;
const CAROL_PORT: u16 = 6092;

/// `other.test`: the first of its servers is not there, the second is; `inside.test` is where nobody may be called.
fn zone(here: Ipv4Addr) -> Vec<Record> {
    vec![
        Record::Naptr("other.test", 10, "SIP+D2U", "_sip._udp.other.test"),
        Record::Naptr("other.test", 20, "SIP+D2T", "_sip._tcp.other.test"),
        Record::Srv("_sip._udp.other.test", 1, DEAD_PORT, "dead.other.test"),
        Record::Srv("_sip._udp.other.test", 2, CAROL_PORT, "live.other.test"),
        Record::Srv("_sip._tcp.other.test", 1, DEAD_PORT, "dead.other.test"),
        Record::Srv("_sip._tcp.other.test", 2, CAROL_PORT, "live.other.test"),
        Record::A("dead.other.test", here),
        Record::A("live.other.test", here),
        Record::A("inside.test", Ipv4Addr::new(192, 168, 77, 1)),
    ]
}

/// A server whose only network for other domains is its own address, alice's phone, and carol's, which no server knows.
struct Street {
    server: Server,
    alice: Device,
    carol: Device,
    _dns: Dns,
}

impl Street {
    fn new() -> Street {
        let here = own_address();
        let dns = Dns::start(zone(here));
        let server = Server::start_at(
            here,
            &Options {
                dns: Some(dns.address()),
                outbound_network: Some(format!("{here}/32")),
                ..Options::default()
            },
        );
        let (_, alice) = server.person("alice");
        let carol = Device {
            account: "carol".into(),
            ..alice.clone()
        };
        Street {
            server,
            alice,
            carol,
            _dns: dns,
        }
    }

    fn alice(&self, target: &str) -> Option<Sipp> {
        Some(Sipp::phone(&self.server, &self.alice, ALICE_PORT)?.calling(target))
    }

    fn carol(&self) -> Option<Sipp> {
        Sipp::phone(&self.server, &self.carol, CAROL_PORT)
    }

    /// carol's scenario beside alice's, to `target`; both must end well.
    fn act(&self, carol: &str, alice: &str, target: &str, more: &[&str]) -> Option<()> {
        let called = self.carol()?.start(carol, more);
        self.alice(target)?.expect(alice, &["-s", "carol"]);
        let called = called.finish(Duration::from_secs(30));
        assert!(
            called.succeeded(),
            "{carol}: {:?}\n{}",
            called.status,
            called.output
        );
        Some(())
    }

    /// What alice's phone is told when it calls, or sends a text, in vain.
    fn refused(&self, scenario: &str, target: &str) -> Option<String> {
        let finished = self.alice(target)?.run(scenario, &["-s", "carol"]);
        assert!(!finished.succeeded(), "{target} is not reached");
        Some(finished.output)
    }
}

#[test]
fn a_call_goes_past_a_server_that_is_not_there_to_one_that_is() {
    let street = Street::new();
    if street.act("uas_answer", "uac_call", "other.test", &[]).is_some() {
        let transport = ["-t", "t1"];
        street.act("uas_answer", "uac_call", "other.test;transport=tcp", &transport);
        street.act(
            "uas_answer_hangs_up",
            "uac_call_answered_ended",
            "other.test",
            &[],
        );
        street.act("uas_ring_until_cancelled", "uac_cancel", "other.test", &[]);
        street.act("uas_hold", "uac_hold", "other.test", &[]);
    }
}

#[test]
fn a_call_goes_to_an_address_and_port_as_it_is_written() {
    let street = Street::new();
    let target = format!("{}:{CAROL_PORT}", street.server.address());
    street.act("uas_answer", "uac_call", &target, &[]);
}

#[test]
fn a_text_goes_past_a_server_that_is_not_there_to_one_that_is() {
    let street = Street::new();
    for (target, transport) in [("other.test", "u1"), ("other.test;transport=tcp", "t1")] {
        street.act("uas_message", "uac_message", target, &["-t", transport]);
    }
}

#[test]
fn what_cannot_be_reached_is_told_with_its_reason() {
    let street = Street::new();
    for scenario in ["uac_call", "uac_message"] {
        for (target, status) in [
            ("nowhere.test", "SIP/2.0 404"),
            ("inside.test", "SIP/2.0 403"),
            ("127.0.0.1:25;transport=tcp", "SIP/2.0 403"),
            ("localhost", "SIP/2.0 403"),
            // Only the dead one's port.
            ("dead.other.test:6090", "SIP/2.0 502"),
        ] {
            let Some(told) = street.refused(scenario, target) else {
                return;
            };
            assert!(told.contains(status), "{scenario} to {target}:\n{told}");
            assert!(
                told.contains("Warning: 399 ringpost"),
                "{scenario} to {target}:\n{told}"
            );
        }
    }
}

#[test]
fn two_servers_call_each_other_under_tls_and_nobody_else_in_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let Some((authorities, certificate)) = certificates(folder.path(), "second.test") else {
        return;
    };
    let (here, there) = (own_address(), own_address());
    let dns = Dns::start(vec![
        Record::Naptr("second.test", 10, "SIPS+D2T", "_sips._tcp.second.test"),
        Record::Srv("_sips._tcp.second.test", 1, 5061, "host.provider.test"),
        // Whoever rules this domain's DNS sends its callers to the other's server.
        Record::Srv("_sips._tcp.false.test", 1, 5061, "host.provider.test"),
        Record::A("host.provider.test", there),
    ]);
    let first = Server::start_at(
        here,
        &Options {
            dns: Some(dns.address()),
            outbound_network: Some(format!("{there}/32")),
            authorities: Some(authorities),
            ..Options::default()
        },
    );
    let second = Server::start_at(
        there,
        &Options {
            domains: vec!["second.test".into()],
            outbound_network: Some(format!("{here}/32")),
            trusted_network: Some(format!("{here}/32")),
            certificate: Some(certificate),
            ..Options::default()
        },
    );
    let ((_, alice), (_, carol)) = (first.person("alice"), second.person("carol"));
    let Some(carol) = Sipp::phone(&second, &carol, CAROL_PORT) else {
        return;
    };
    let alice = |target: &str| Sipp::phone(&first, &alice, ALICE_PORT).unwrap().calling(target);
    carol.expect("register", &[]);
    for (called, caller) in [
        ("uas_answer", "uac_call"),
        ("uas_answer_hangs_up", "uac_call_answered_ended"),
        ("uas_hold", "uac_hold"),
        ("uas_message", "uac_message"),
    ] {
        let beside = carol.start(called, &[]);
        alice("second.test").expect(caller, &["-s", "carol"]);
        let beside = beside.finish(Duration::from_secs(30));
        assert!(
            beside.succeeded(),
            "{called}: {:?}\n{}",
            beside.status,
            beside.output
        );
    }
    for scenario in ["uac_call", "uac_message"] {
        let told = alice("false.test;transport=tls").run(scenario, &["-s", "carol"]);
        assert!(
            !told.succeeded() && told.output.contains("SIP/2.0 502"),
            "{}",
            told.output
        );
    }
    let log = first.log();
    assert!(
        log.contains("cannot connect") && log.contains("certificate"),
        "{log}"
    );
    // The other way there is no trust: the first one challenges, which is nothing that a caller could answer.
    let (_, dave) = second.person("dave");
    let dave = Sipp::phone(&second, &dave, ALICE_PORT + 10).unwrap();
    let told = dave
        .calling(&format!("{here}:5060"))
        .run("uac_call", &["-s", "alice"]);
    assert!(
        !told.succeeded() && told.output.contains("SIP/2.0 480"),
        "{}",
        told.output
    );
}
