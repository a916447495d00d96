//! The client's side.

use super::tests::*;
use super::*;

/// A request as its user prints it.
fn ours(method: &str, padding: usize) -> Bytes {
    format!(
        "{method} sip:bob@198.51.100.7 SIP/2.0\r\nRoute: <sip:198.51.100.7:5062;lr>\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: call@x\r\n\
         CSeq: 9 {method}\r\nSubject: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(padding)
    )
    .into()
}

fn begin(e: &mut Endpoint, transport: Transport, method: &str) -> (TransactionId, Message) {
    let id = e.request(at(0), flow(transport), ours(method, 0)).unwrap();
    (id, drain(e).message(0))
}

fn reply(e: &mut Endpoint, ms: u64, request: &Message, status: Status, tag: &str) -> Wants {
    let response = Builder::response(request, status, tag).finish();
    e.handle_bytes(at(ms), flow(UDP), response);
    drain(e)
}

fn run(e: &mut Endpoint, ms: u64) -> Vec<(u64, String)> {
    let mut log = Vec::new();
    while let Some(next) = drain(e).timeout.filter(|next| *next <= at(ms)) {
        e.handle_timeout(next);
        let wants = drain(e);
        let time = next.since(Instant::ZERO).as_millis() as u64;
        let word = |line: &str| line.split(' ').next().unwrap().to_owned();
        log.extend(wants.lines().into_iter().map(|line| (time, word(line))));
        log.extend(wants.events.iter().map(|event| (time, name(event).to_owned())));
    }
    log
}

fn times(log: &[(u64, String)], what: &str) -> Vec<u64> {
    log.iter().filter(|(_, w)| w == what).map(|(ms, _)| *ms).collect()
}

#[test]
fn an_invite_is_repeated_at_doubling_intervals_until_timer_b() {
    let mut e = endpoint();
    let (_, invite) = begin(&mut e, UDP, "INVITE");
    assert_eq!(crate::owner(invite.top_via().branch().unwrap()), Some(3));
    assert!(invite.top_via().wants_rport());
    let log = run(&mut e, 100_000);
    assert_eq!(times(&log, "INVITE"), [500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!(log.last().unwrap(), &(32_000, "timeout".to_owned()));
    assert_eq!(e.transactions(), 0);
}

#[test]
fn another_request_is_repeated_up_to_t2_until_timer_f() {
    let mut e = endpoint();
    begin(&mut e, UDP, "OPTIONS");
    let log = run(&mut e, 100_000);
    let want = [
        500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500,
    ];
    assert_eq!(times(&log, "OPTIONS"), want);
    assert_eq!(log.last().unwrap(), &(32_000, "timeout".to_owned()));
}

// Guards pitfall SIP 6: timers B and F fire even when the transport swallowed the send.
#[test]
fn a_stream_that_swallows_the_request_fails_by_the_clock() {
    for method in ["INVITE", "OPTIONS"] {
        let mut e = endpoint();
        begin(&mut e, TCP, method);
        assert_eq!(run(&mut e, 100_000), [(32_000, "timeout".to_owned())]);
    }
}

// Guards pitfall SIP 6: timer A stops at a 100.
#[test]
fn a_provisional_response_stops_an_invite_and_slows_others() {
    let mut e = endpoint();
    let (_, invite) = begin(&mut e, UDP, "INVITE");
    assert_eq!(
        name(&reply(&mut e, 100, &invite, Status::TRYING, "").events[0]),
        "response"
    );
    assert_eq!(run(&mut e, 1_000_000), []);
    assert_eq!(e.transactions(), 1, "a call may ring for long");

    let mut e = endpoint();
    let (_, options) = begin(&mut e, UDP, "OPTIONS");
    reply(&mut e, 100, &options, Status::TRYING, "");
    let log = run(&mut e, 100_000);
    assert_eq!(
        times(&log, "OPTIONS"),
        [500, 4500, 8500, 12_500, 16_500, 20_500, 24_500, 28_500]
    );
    assert_eq!(times(&log, "timeout"), [32_000], "timer F runs on");
}

// Guards pitfall SIP 1: ACK to a failure has the INVITE's branch and goes the INVITE's way.
#[test]
fn a_failure_is_acknowledged_each_time_it_comes() {
    let mut e = endpoint();
    let (id, invite) = begin(&mut e, UDP, "INVITE");
    let busy = reply(&mut e, 100, &invite, Status::BUSY_HERE, "b");
    assert!(matches!(&busy.events[..], [Event::Response { id: of, .. }] if *of == id));
    let ack = busy.message(0);
    assert_eq!(
        (ack.method(), ack.cseq().number, ack.to_tag()),
        (&Method::Ack, 9, Some("b"))
    );
    assert_eq!(ack.top_via(), invite.top_via());
    assert_eq!(ack.request_uri(), invite.request_uri());
    assert_eq!(ack.header(HeaderName::Route), invite.header(HeaderName::Route));
    assert_eq!(busy.sent[0].flow, flow(UDP));
    let again = reply(&mut e, 600, &invite, Status::BUSY_HERE, "b");
    assert_eq!((again.message(0), again.events.len()), (ack, 0));
    assert_eq!(run(&mut e, 32_099), []);
    assert_eq!(e.transactions(), 1, "timer D");
    run(&mut e, 32_100);
    assert_eq!(e.transactions(), 0);

    let (_, invite) = begin(&mut e, TCP, "INVITE");
    assert_eq!(
        reply(&mut e, 40_000, &invite, Status::BUSY_HERE, "b")
            .lines()
            .len(),
        1
    );
    assert_eq!(e.transactions(), 0, "timer D is zero on a stream");
}

// Guards pitfall SIP 6 (RFC 6026): every 2xx of every fork reaches the user until timer M.
#[test]
fn each_2xx_is_passed_on_until_timer_m() {
    for transport in [UDP, TCP] {
        let mut e = endpoint();
        let (id, invite) = begin(&mut e, transport, "INVITE");
        for (ms, tag) in [(100, "b"), (600, "b"), (700, "c"), (20_000, "d")] {
            let ok = reply(&mut e, ms, &invite, Status::OK, tag);
            assert!(matches!(&ok.events[..], [Event::Response { id: of, .. }] if *of == id));
            assert!(ok.sent.is_empty(), "the ACK is its user's");
        }
        reply(&mut e, 21_000, &invite, Status::BUSY_HERE, "e").assert_nothing();
        assert_eq!(run(&mut e, 100_000), [(32_100, "ended".to_owned())]);
        reply(&mut e, 100_000, &invite, Status::OK, "f").assert_nothing();
    }
}

#[test]
fn another_final_response_is_passed_on_once() {
    let mut e = endpoint();
    let (_, options) = begin(&mut e, UDP, "OPTIONS");
    assert_eq!(reply(&mut e, 100, &options, Status::OK, "b").events.len(), 1);
    reply(&mut e, 600, &options, Status::OK, "b").assert_nothing();
    assert_eq!(run(&mut e, 5_099), []);
    assert_eq!(e.transactions(), 1, "timer K is T4");
    run(&mut e, 5_100);
    assert_eq!(e.transactions(), 0);
}

#[test]
fn responses_that_are_not_ours_are_dropped() {
    let mut e = endpoint();
    let (_, options) = begin(&mut e, UDP, "OPTIONS");
    let ok = String::from_utf8(Builder::response(&options, Status::OK, "b").finish().to_vec()).unwrap();
    let branch = options.top_via().branch().unwrap();
    for forged in [
        ok.replace(branch, "z9hG4bKother"),
        ok.replace("192.0.2.1", "192.0.2.2"),
        ok.replace("CSeq: 9 OPTIONS", "CSeq: 9 INFO"),
        ok.replace("Via:", "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nVia:"),
        ok.replace("From:", "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom:"),
    ] {
        assert_ne!(forged, ok);
        e.handle_bytes(at(1), flow(UDP), forged.into());
        drain(&mut e).assert_nothing();
    }
    e.handle_bytes(at(1), flow(UDP), ok.into());
    assert_eq!(drain(&mut e).events.len(), 1);
}

// Guards pitfall SIP 2: CANCEL reuses the INVITE's branch and waits for a provisional response.
#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut e = endpoint();
    let (id, invite) = begin(&mut e, UDP, "INVITE");
    e.cancel(
        at(10),
        id,
        Some("SIP;cause=200;text=\"Call completed elsewhere\""),
    );
    e.cancel(at(11), id, None);
    drain(&mut e).assert_nothing();
    let trying = reply(&mut e, 100, &invite, Status::TRYING, "");
    assert_eq!(trying.lines().len(), 1);
    let cancel = trying.message(0);
    assert_eq!((cancel.method(), cancel.cseq().number), (&Method::Cancel, 9));
    assert_eq!(cancel.top_via(), invite.top_via());
    assert_eq!(cancel.to_tag(), None);
    assert_eq!(cancel.header(HeaderName::Route), invite.header(HeaderName::Route));
    assert!(
        cancel
            .header(HeaderName::Reason)
            .unwrap()
            .starts_with("SIP;cause=200")
    );
    reply(&mut e, 200, &cancel, Status::OK, "b").assert_nothing();
    let terminated = reply(&mut e, 300, &invite, Status::REQUEST_TERMINATED, "b");
    assert_eq!((terminated.lines().len(), terminated.events.len()), (1, 1));
}

#[test]
fn a_cancelled_invite_without_a_final_response_is_given_up() {
    let mut e = endpoint();
    let (id, invite) = begin(&mut e, UDP, "INVITE");
    reply(&mut e, 100, &invite, Status::RINGING, "b");
    e.cancel(at(1000), id, None);
    let log = run(&mut e, 100_000);
    assert_eq!(
        times(&log, "CANCEL").first(),
        Some(&1500),
        "CANCEL has timers of its own"
    );
    assert_eq!(times(&log, "timeout"), [33_000], "and ends in silence");
    assert_eq!(e.transactions(), 0);
}

#[test]
fn a_cancel_behind_the_final_response_is_not_sent() {
    let mut e = endpoint();
    let (id, invite) = begin(&mut e, UDP, "INVITE");
    reply(&mut e, 100, &invite, Status::OK, "b");
    e.cancel(at(200), id, None);
    drain(&mut e).assert_nothing();
}

// Guards pitfall SIP 9: a request over 1,300 bytes goes by TCP, with a fallback that is told.
#[test]
fn a_large_request_goes_by_tcp_and_falls_back_to_udp() {
    let mut e = endpoint();
    let id = e.request(at(0), flow(UDP), ours("OPTIONS", 1200)).unwrap();
    let wants = drain(&mut e);
    let by_tcp = wants.sent[0].flow;
    assert_eq!(
        (by_tcp.transport, by_tcp.remote, by_tcp.connection),
        (TCP, flow(UDP).remote, None)
    );
    assert_eq!(wants.message(0).top_via().transport(), "TCP");
    e.handle_transport_error(at(10), by_tcp);
    let fell_back = drain(&mut e);
    assert_eq!(fell_back.sent[0].flow, flow(UDP));
    assert_eq!(fell_back.message(0).top_via().transport(), "UDP");
    assert_eq!(
        fell_back.message(0).top_via().branch(),
        wants.message(0).top_via().branch()
    );
    assert!(
        matches!(fell_back.events[..], [Event::FellBack { id: of, size_bytes }] if of == id && size_bytes > 1300)
    );
    let ok = reply(&mut e, 100, &fell_back.message(0), Status::OK, "b");
    assert!(matches!(&ok.events[..], [Event::Response { id: of, .. }] if *of == id));

    let no_tcp = EndpointConfig {
        large_by_tcp: false,
        ..EndpointConfig::default()
    };
    let mut e = Endpoint::new(no_tcp, Rng::from_number(1));
    e.request(at(0), flow(UDP), ours("OPTIONS", 1200)).unwrap();
    assert_eq!(drain(&mut e).sent[0].flow, flow(UDP));
}

#[test]
fn a_transport_that_fails_ends_what_has_no_response_yet() {
    let mut e = endpoint();
    let (_, invite) = begin(&mut e, TCP, "INVITE");
    let (options, _) = begin(&mut e, TCP, "OPTIONS");
    e.handle_bytes(
        at(1),
        flow(TCP),
        Builder::response(&invite, Status::RINGING, "b").finish(),
    );
    drain(&mut e);
    e.handle_transport_error(
        at(2),
        Flow {
            remote: "198.51.100.7:5063".parse().unwrap(),
            ..flow(TCP)
        },
    );
    drain(&mut e).assert_nothing();
    e.handle_transport_error(at(2), flow(TCP));
    let wants = drain(&mut e);
    assert_eq!(
        wants.events,
        [Event::Failed {
            id: options,
            failure: Failure::Transport
        }]
    );
    assert_eq!(
        e.transactions(),
        1,
        "the answer to the INVITE may come over another connection"
    );
}

// Guards pitfall SIP 9: IPv6 addresses stand in brackets in Via.
#[test]
fn via_names_us_as_configured_or_by_the_local_address() {
    let v6 = Flow {
        local: "[2001:db8::1]:5060".parse().unwrap(),
        remote: "[2001:db8::2]:5060".parse().unwrap(),
        ..flow(UDP)
    };
    let via = |e: &mut Endpoint, flow| {
        e.request(at(0), flow, ours("OPTIONS", 0)).unwrap();
        drain(e).message(0).top_via().to_string()
    };
    assert!(via(&mut endpoint(), v6).starts_with("SIP/2.0/UDP [2001:db8::1]:5060;rport;branch=z9hG4bK"));
    assert!(via(&mut endpoint(), flow(UDP)).starts_with("SIP/2.0/UDP 192.0.2.1:5060;rport;"));
    let sent_by = |transport, ipv6, host: &str| SentAs {
        transport,
        ipv6,
        host: host.into(),
        port: 5070,
    };
    let config = EndpointConfig {
        sent_by: vec![
            sent_by(TCP, false, "sip.example.com"),
            sent_by(UDP, true, "2001:db8::9"),
        ],
        ..EndpointConfig::default()
    };
    let mut e = Endpoint::new(config, Rng::from_number(1));
    assert!(via(&mut e, v6).starts_with("SIP/2.0/UDP [2001:db8::9]:5070;"));
    assert!(via(&mut e, flow(TCP)).starts_with("SIP/2.0/TCP sip.example.com:5070;"));
}

#[test]
fn an_ack_to_a_2xx_is_sent_with_a_branch_of_its_own_and_no_transaction() {
    let mut e = endpoint();
    let (_, invite) = begin(&mut e, UDP, "INVITE");
    let first = e.send(flow(UDP), ours("ACK", 0));
    let wants = drain(&mut e);
    assert_eq!(wants.sent, std::slice::from_ref(&first));
    assert_ne!(wants.message(0).top_via().branch(), invite.top_via().branch());
    e.transmit(first.clone());
    assert_eq!(drain(&mut e).sent, [first]);
    assert_eq!(e.transactions(), 1);
    assert_eq!(
        e.request(at(0), flow(UDP), ours("ACK", 0)),
        Err(RequestError::Malformed)
    );
}
