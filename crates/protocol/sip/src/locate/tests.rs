use super::*;
use std::collections::HashMap;

const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// A domain name system of a few lines: `naptr NAME ORDER SERVICE REPLACEMENT`, `srv NAME PRIORITY WEIGHT PORT TARGET`,
/// `a NAME ADDRESS`.
struct Zone(HashMap<Question, Answer>);

impl Zone {
    fn new(lines: &str) -> Zone {
        let mut zone = HashMap::new();
        for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["naptr", name, order, services, replacement] => {
                    let all = zone
                        .entry(Question::Naptr(name.into()))
                        .or_insert(Answer::Naptr(vec![]));
                    let Answer::Naptr(all) = all else { panic!() };
                    let (order, preference) = (order.parse().unwrap(), 50);
                    let flags = "s".into();
                    all.push(Naptr {
                        order,
                        preference,
                        flags,
                        services: services.into(),
                        replacement: replacement.into(),
                    });
                }
                ["srv", name, priority, weight, port, target] => {
                    let all = zone
                        .entry(Question::Srv(name.into()))
                        .or_insert(Answer::Srv(vec![]));
                    let Answer::Srv(all) = all else { panic!() };
                    let (priority, weight) = (priority.parse().unwrap(), weight.parse().unwrap());
                    all.push(Srv {
                        priority,
                        weight,
                        port: port.parse().unwrap(),
                        target: target.into(),
                    });
                }
                ["a", name, address] => {
                    let all = zone
                        .entry(Question::Addresses(name.into()))
                        .or_insert(Answer::Addresses(vec![]));
                    let Answer::Addresses(all) = all else { panic!() };
                    all.push(address.parse().unwrap());
                }
                _ => panic!("{line}"),
            }
        }
        Zone(zone)
    }

    /// Every target in order as `TRANSPORT address`, and what was asked on the way.
    fn follow(&self, mut locate: Locate) -> (Vec<String>, Vec<Question>) {
        let (mut targets, mut asked) = (Vec::new(), Vec::new());
        loop {
            match locate.poll_output() {
                LocateOutput::End => return (targets, asked),
                LocateOutput::Target(t) => targets.push(format!("{} {}", t.transport.via_name(), t.address)),
                LocateOutput::Ask(question) => {
                    assert_eq!(
                        locate.poll_output(),
                        LocateOutput::Ask(question.clone()),
                        "asked until answered"
                    );
                    let none = match &question {
                        Question::Naptr(_) => Answer::Naptr(vec![]),
                        Question::Srv(_) => Answer::Srv(vec![]),
                        Question::Addresses(_) => Answer::Addresses(vec![]),
                    };
                    locate.handle_answer(self.0.get(&question).cloned().unwrap_or(none));
                    asked.push(question);
                }
            }
            assert!(asked.len() < 500, "it ends");
        }
    }

    fn targets(&self, uri: &str) -> Vec<String> {
        self.follow(locate(uri, &ALL).unwrap()).0
    }
}

fn locate(uri: &str, supported: &[Transport]) -> Result<Locate, Unlocatable> {
    Locate::new(&uri.parse().unwrap(), supported, Rng::from_number(7))
}

fn nothing() -> Zone {
    Zone::new("")
}

#[test]
fn an_address_needs_no_look_up() {
    let cases = [
        ("sip:a@192.0.2.1", "UDP 192.0.2.1:5060"),
        ("sip:a@192.0.2.1:5070;transport=tcp", "TCP 192.0.2.1:5070"),
        ("sips:a@[2001:db8::1]", "TLS [2001:db8::1]:5061"),
        ("sip:a@host.example;maddr=192.0.2.9", "UDP 192.0.2.9:5060"),
        ("sip:a@192.0.2.1;transport=TLS", "TLS 192.0.2.1:5061"),
        ("sips:a@192.0.2.1;transport=tcp", "TLS 192.0.2.1:5061"),
    ];
    for (uri, target) in cases {
        let (targets, asked) = nothing().follow(locate(uri, &ALL).unwrap());
        assert_eq!(
            (targets.as_slice(), asked.len()),
            ([target.to_owned()].as_slice(), 0),
            "{uri}"
        );
    }
}

#[test]
fn a_port_leads_to_addresses_alone() {
    let zone = Zone::new(
        "a host.example 192.0.2.1
         a host.example 2001:db8::1
         srv _sip._udp.host.example 0 0 9 never.example",
    );
    assert_eq!(
        zone.targets("sip:host.example:5060"),
        ["UDP 192.0.2.1:5060", "UDP [2001:db8::1]:5060"]
    );
    assert_eq!(
        zone.targets("sips:Host.Example.:7000"),
        ["TLS 192.0.2.1:7000", "TLS [2001:db8::1]:7000"]
    );
}

// The example of RFC 3263 §4.1.
#[test]
fn naptr_records_choose_the_transport() {
    let zone = Zone::new(
        "naptr example.com 50 SIPS+D2T _sips._tcp.example.com.
         naptr example.com 90 SIP+D2T _sip._tcp.example.com
         naptr example.com 100 SIP+D2U _sip._udp.example.com.
         naptr example.com 10 E2U+sip never.example
         srv _sip._tcp.example.com 0 1 5060 server1.example.com
         srv _sip._tcp.example.com 1 2 5060 server2.example.com.
         srv _sips._tcp.example.com 0 0 5061 server1.example.com
         a server1.example.com 192.0.2.1
         a server2.example.com 192.0.2.2",
    );
    let plain = locate("sip:user@example.com", &[Transport::Udp, Transport::Tcp]).unwrap();
    let (targets, asked) = zone.follow(plain);
    assert_eq!(targets, ["TCP 192.0.2.1:5060", "TCP 192.0.2.2:5060"]);
    assert_eq!(asked[0], Question::Naptr("example.com".into()));
    assert_eq!(zone.targets("sips:user@example.com"), ["TLS 192.0.2.1:5061"]);
    assert_eq!(zone.targets("sip:user@example.com")[0], "TLS 192.0.2.1:5061");
}

#[test]
fn without_naptr_each_transport_has_its_service() {
    let zone = Zone::new(
        "srv _sip._tcp.example.com 0 0 5080 b.example.com
         a b.example.com 192.0.2.2
         a example.com 192.0.2.3",
    );
    let (targets, asked) = zone.follow(locate("sip:example.com", &ALL).unwrap());
    assert_eq!(targets, ["TCP 192.0.2.2:5080"]);
    let srv = |name: &str| Question::Srv(name.into());
    assert!(asked.contains(&srv("_sip._udp.example.com")) && asked.contains(&srv("_sips._tcp.example.com")));
    let (_, asked) = zone.follow(locate("sips:example.com", &ALL).unwrap());
    assert!(!asked.contains(&srv("_sip._tcp.example.com")));
}

#[test]
fn without_any_record_the_domain_itself_is_tried() {
    let zone = Zone::new("a example.com 192.0.2.3");
    assert_eq!(zone.targets("sip:example.com"), ["UDP 192.0.2.3:5060"]);
    assert_eq!(zone.targets("sips:example.com"), ["TLS 192.0.2.3:5061"]);
    let (targets, asked) = zone.follow(locate("sip:example.com;transport=tcp", &ALL).unwrap());
    assert_eq!(targets, ["TCP 192.0.2.3:5060"]);
    assert_eq!(asked[0], Question::Srv("_sip._tcp.example.com".into()));
    assert!(nothing().targets("sip:example.com").is_empty());
}

#[test]
fn a_service_that_is_said_not_to_be_there_is_not_tried() {
    let zone = Zone::new("srv _sip._udp.example.com 0 0 0 .\na example.com 192.0.2.3");
    assert!(zone.targets("sip:example.com;transport=udp").is_empty());
}

#[test]
fn what_cannot_be_reached_from_here_is_said_at_once() {
    let error = |uri, supported: &[Transport]| locate(uri, supported).unwrap_err();
    assert_eq!(error("tel:+1", &ALL), Unlocatable::Scheme);
    assert_eq!(error("http://x", &ALL), Unlocatable::Scheme);
    assert_eq!(error("sip:h;transport=sctp", &ALL), Unlocatable::Transport);
    assert_eq!(error("sips:h;transport=udp", &ALL), Unlocatable::Transport);
    assert_eq!(
        error("sip:1.2.3.4;transport=tls", &[Transport::Udp]),
        Unlocatable::Transport
    );
}

#[test]
fn weights_share_the_load_and_priorities_do_not_mix() {
    let record = |priority, weight, target: &str| Srv {
        priority,
        weight,
        port: 1,
        target: target.into(),
    };
    let mut rng = Rng::from_number(1);
    let mut first = HashMap::new();
    for _ in 0..4000 {
        let records = vec![
            record(1, 9, "late"),
            record(0, 3, "three"),
            record(0, 0, "zero"),
            record(0, 1, "one"),
        ];
        let order = in_order(records, &mut rng);
        assert_eq!((order.len(), order[3].target.as_str()), (4, "late"));
        *first.entry(order[0].target.clone()).or_insert(0) += 1;
    }
    // A draw of 0 to 4: zero has one chance in five, one the next, three the others.
    assert!(
        (500..1100).contains(&first["zero"]) && (500..1100).contains(&first["one"]),
        "{first:?}"
    );
    assert!(first["three"] > 2000, "{first:?}");
}

#[test]
fn a_domain_with_endless_records_ends() {
    let mut lines = String::new();
    for i in 0..200 {
        lines += &format!("srv _sip._udp.example.com 0 0 5060 h{i}.example\n");
        lines += &format!("a h{i}.example 192.0.2.1\na h{i}.example 192.0.2.2\n");
    }
    let uri = "sip:example.com;transport=udp";
    assert_eq!(Zone::new(&lines).targets(uri).len(), limits::SIP_TARGETS);
}

#[test]
fn a_response_finds_its_way_by_the_sent_by() {
    let zone = Zone::new(
        "srv _sip._tcp.client.example 0 0 5090 c.example\na c.example 192.0.2.5\na client.example 192.0.2.6",
    );
    let targets = |via: &str| {
        zone.follow(Locate::response(&via.parse().unwrap(), &ALL, Rng::from_number(1)).unwrap())
            .0
    };
    assert_eq!(
        targets("SIP/2.0/TCP client.example;branch=1"),
        ["TCP 192.0.2.5:5090"]
    );
    assert_eq!(
        targets("SIP/2.0/TCP client.example:5070;branch=1"),
        ["TCP 192.0.2.6:5070"]
    );
    assert_eq!(targets("SIP/2.0/UDP 192.0.2.7;branch=1"), ["UDP 192.0.2.7:5060"]);
}

#[test]
fn a_domain_that_leads_nowhere_costs_a_bounded_number_of_questions() {
    let mut lines = String::new();
    for i in 0..40 {
        lines += &format!("naptr example.com {i} SIP+D2U _sip._udp.n{i}.example\n");
        for j in 0..40 {
            lines += &format!("srv _sip._udp.n{i}.example 0 0 5060 h{j}.n{i}.example\n");
        }
    }
    let (targets, asked) = Zone::new(&lines).follow(locate("sip:example.com", &ALL).unwrap());
    assert_eq!((targets.len(), asked.len()), (0, limits::SIP_LOOKUPS));
}

#[test]
fn a_certificate_is_for_the_domain_of_the_uri() {
    let zone = Zone::new("srv _sips._tcp.example.com 0 0 5061 far.example\na far.example 192.0.2.1");
    for (uri, domain) in [
        ("sips:a@Example.COM.", "example.com"),
        ("sips:a@[2001:db8::1]", "2001:db8::1"),
        ("sips:a@h.example;maddr=192.0.2.1", "h.example"),
    ] {
        let mut locate = locate(uri, &ALL).unwrap();
        let target = loop {
            match locate.poll_output() {
                LocateOutput::Target(target) => break target,
                LocateOutput::Ask(question) => {
                    let none = Answer::Naptr(vec![]);
                    locate.handle_answer(zone.0.get(&question).cloned().unwrap_or(none));
                }
                LocateOutput::End => panic!("{uri}"),
            }
        };
        assert_eq!(target.domain, domain);
    }
}
