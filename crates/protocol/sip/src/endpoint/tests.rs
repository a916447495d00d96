//! The server's side, and what both sides' tests share.

use super::*;
use std::time::Duration;

pub(super) fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

pub(super) fn flow(transport: Transport) -> Flow {
    Flow {
        transport,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "198.51.100.7:5062".parse().unwrap(),
        connection: transport.is_reliable().then_some(7),
    }
}

pub(super) const UDP: Transport = Transport::Udp;
pub(super) const TCP: Transport = Transport::Tcp;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        EndpointConfig {
            shard: 3,
            ..EndpointConfig::default()
        },
        Rng::from_number(1),
    )
}

/// What an endpoint wants after something happened.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) sent: Vec<Transmit>,
    pub(super) events: Vec<Event>,
    pub(super) timeout: Option<Instant>,
}

pub(super) fn drain(endpoint: &mut Endpoint) -> Wants {
    let mut wants = Wants::default();
    loop {
        match endpoint.poll_output() {
            Output::Transmit(transmit) => wants.sent.push(transmit),
            Output::Event(event) => wants.events.push(event),
            Output::Timeout(at) => {
                wants.timeout = at;
                return wants;
            }
        }
    }
}

impl Wants {
    /// The first lines of what was sent.
    pub(super) fn lines(&self) -> Vec<&str> {
        let first = |t: &'_ Transmit| t.message.iter().position(|b| *b == b'\r').unwrap();
        self.sent
            .iter()
            .map(|t| std::str::from_utf8(&t.message[..first(t)]).unwrap())
            .collect()
    }

    pub(super) fn message(&self, i: usize) -> Message {
        Message::parse(self.sent[i].message.clone()).unwrap()
    }

    pub(super) fn request_id(&self) -> TransactionId {
        match &self.events[..] {
            [Event::Request { id, .. }] => *id,
            other => panic!("one request, not {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn assert_nothing(&self) {
        assert!(self.sent.is_empty() && self.events.is_empty(), "{self:?}");
    }
}

/// A request of a peer's, with what varies.
pub(super) fn request(method: &str, via: &str, to_tag: &str, cseq: u32) -> Bytes {
    let to_tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    format!(
        "{method} sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>{to_tag}\r\nCall-ID: call@x\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:alice@198.51.100.7>\r\nContent-Length: 0\r\n\r\n"
    )
    .into()
}

const VIA: &str = "198.51.100.7:5062;branch=z9hG4bKx1";

fn receive(endpoint: &mut Endpoint, ms: u64, transport: Transport, bytes: Bytes) -> Wants {
    endpoint.handle_bytes(at(ms), flow(transport), bytes);
    drain(endpoint)
}

/// Runs every timeout up to `ms` and returns what was sent when.
fn run(endpoint: &mut Endpoint, ms: u64) -> Vec<(u64, String)> {
    let mut log = Vec::new();
    while let Some(next) = drain(endpoint).timeout.filter(|next| *next <= at(ms)) {
        endpoint.handle_timeout(next);
        let wants = drain(endpoint);
        let time = next.since(Instant::ZERO).as_millis() as u64;
        log.extend(wants.lines().into_iter().map(|line| (time, line.to_owned())));
        log.extend(wants.events.iter().map(|event| (time, name(event).to_owned())));
    }
    log
}

pub(super) fn name(event: &Event) -> &'static str {
    match event {
        Event::Request { .. } => "request",
        Event::Cancelled { .. } => "cancelled",
        Event::Ack { .. } => "ack",
        Event::Response { .. } => "response",
        Event::Failed {
            failure: Failure::Timeout,
            ..
        } => "timeout",
        Event::Failed {
            failure: Failure::Transport,
            ..
        } => "transport failed",
        Event::Failed {
            failure: Failure::NoAck,
            ..
        } => "no ack",
        Event::Ended { .. } => "ended",
        Event::FellBack { .. } => "fell back",
        Event::Overloaded { .. } => "overloaded",
        Event::Malformed { .. } => "malformed",
    }
}

fn answer(endpoint: &mut Endpoint, ms: u64, wants: &Wants, status: Status) -> Wants {
    let [Event::Request { id, request, .. }] = &wants.events[..] else {
        panic!("{wants:?}")
    };
    let response = endpoint.response(request, status).finish();
    assert!(endpoint.respond(at(ms), *id, response));
    drain(endpoint)
}

#[test]
fn an_invite_that_waits_gets_a_100_after_200_ms() {
    let mut e = endpoint();
    let first = receive(&mut e, 0, UDP, request("INVITE", VIA, "", 1));
    assert_eq!(first.timeout, Some(at(200)));
    assert_eq!(run(&mut e, 10_000), [(200, "SIP/2.0 100 Trying".to_owned())]);
    let again = receive(&mut e, 500, UDP, request("INVITE", VIA, "", 1));
    assert_eq!(
        again.lines(),
        ["SIP/2.0 100 Trying"],
        "the last provisional response comes again"
    );
    assert!(again.events.is_empty());
    answer(&mut e, 700, &first, Status::RINGING);
    let again = receive(&mut e, 1500, UDP, request("INVITE", VIA, "", 1));
    assert_eq!(again.lines(), ["SIP/2.0 180 Ringing"]);
    assert_eq!(e.transactions(), 1, "ringing has no limit here");
}

#[test]
fn an_invite_answered_in_time_gets_no_100() {
    let mut e = endpoint();
    let invite = receive(&mut e, 0, UDP, request("INVITE", VIA, "", 1));
    answer(&mut e, 150, &invite, Status::RINGING);
    assert_eq!(run(&mut e, 100_000), []);
}

// Guards pitfall SIP 1: ACK to a failure is absorbed by the INVITE's transaction, and one that matches nothing is not
// answered.
#[test]
fn a_failure_is_sent_again_until_its_ack_comes() {
    let mut e = endpoint();
    let invite = receive(&mut e, 0, UDP, request("INVITE", VIA, "", 1));
    let busy = answer(&mut e, 0, &invite, Status::BUSY_HERE);
    let tag = busy.message(0).to_tag().unwrap().to_owned();
    let times: Vec<u64> = run(&mut e, 12_000).into_iter().map(|(ms, _)| ms).collect();
    assert_eq!(times, [500, 1500, 3500, 7500, 11_500], "timer G doubles up to T2");
    receive(&mut e, 12_000, UDP, request("ACK", VIA, &tag, 1)).assert_nothing();
    receive(&mut e, 12_100, UDP, request("INVITE", VIA, "", 1)).assert_nothing();
    receive(&mut e, 12_200, UDP, request("ACK", VIA, &tag, 1)).assert_nothing();
    assert_eq!(run(&mut e, 16_999), []);
    assert_eq!(e.transactions(), 1, "timer I lets further ACKs come");
    assert_eq!(run(&mut e, 100_000), []);
    assert_eq!(e.transactions(), 0);
    let stray = receive(&mut e, 100_000, UDP, request("ACK", VIA, &tag, 1));
    assert!(stray.sent.is_empty());
    assert_eq!(name(&stray.events[0]), "ack");
    assert_eq!(e.transactions(), 0);
}

#[test]
fn a_failure_that_is_never_acknowledged_ends_with_timer_h() {
    for transport in [UDP, TCP] {
        let mut e = endpoint();
        let invite = receive(&mut e, 0, transport, request("INVITE", VIA, "", 1));
        answer(&mut e, 0, &invite, Status::BUSY_HERE);
        let log = run(&mut e, 100_000);
        assert_eq!(log.last().unwrap(), &(32_000, "no ack".to_owned()));
        assert_eq!(log.len() == 1, transport == TCP, "a stream repeats nothing");
        assert_eq!(e.transactions(), 0);
    }
}

// Guards pitfall SIP 6 (RFC 6026): after a 2xx, retransmitted INVITEs are absorbed, ACKs pass, timer L ends it.
#[test]
fn an_accepted_invite_absorbs_its_retransmissions_and_lets_acks_pass() {
    for transport in [UDP, TCP] {
        let mut e = endpoint();
        let invite = receive(&mut e, 0, transport, request("INVITE", VIA, "", 1));
        let ok = answer(&mut e, 0, &invite, Status::OK);
        assert_eq!(ok.lines(), ["SIP/2.0 200 OK"]);
        receive(&mut e, 600, transport, request("INVITE", VIA, "", 1)).assert_nothing();
        let again = answer(&mut e, 700, &invite, Status::OK);
        assert_eq!(again.lines(), ["SIP/2.0 200 OK"], "its user repeats the 2xx");
        let ack = receive(
            &mut e,
            800,
            transport,
            request("ACK", "198.51.100.7;branch=z9hG4bKx2", "b", 1),
        );
        assert_eq!(name(&ack.events[0]), "ack");
        assert_eq!(run(&mut e, 100_000), [(32_000, "ended".to_owned())]);
        assert_eq!(e.transactions(), 0);
    }
}

#[test]
fn another_request_is_answered_once_and_repeated_for_retransmissions() {
    let mut e = endpoint();
    let options = receive(&mut e, 0, UDP, request("OPTIONS", VIA, "", 1));
    receive(&mut e, 100, UDP, request("OPTIONS", VIA, "", 1)).assert_nothing();
    answer(&mut e, 200, &options, Status::OK);
    assert_eq!(
        receive(&mut e, 300, UDP, request("OPTIONS", VIA, "", 1)).lines(),
        ["SIP/2.0 200 OK"]
    );
    assert_eq!(run(&mut e, 32_199), []);
    assert_eq!(e.transactions(), 1, "timer J");
    run(&mut e, 32_200);
    assert_eq!(e.transactions(), 0);

    let over_tcp = receive(&mut e, 40_000, TCP, request("OPTIONS", VIA, "", 1));
    answer(&mut e, 40_000, &over_tcp, Status::OK);
    assert_eq!(e.transactions(), 0, "timer J is zero on a stream");
}

// Guards pitfall SIP 6: RFC 4320's rules for what is not INVITE.
#[test]
fn a_late_request_gets_a_100_but_never_a_408_or_other_provisional() {
    let mut e = endpoint();
    let options = receive(&mut e, 0, UDP, request("OPTIONS", VIA, "", 1));
    assert!(
        answer(&mut e, 100, &options, Status::SESSION_PROGRESS)
            .sent
            .is_empty()
    );
    assert_eq!(run(&mut e, 5000), [(3500, "SIP/2.0 100 Trying".to_owned())]);
    let timeout = answer(&mut e, 6000, &options, Status::REQUEST_TIMEOUT);
    assert!(timeout.sent.is_empty());
    assert_eq!(e.transactions(), 0);
}

#[test]
fn a_request_that_is_never_answered_ends_when_its_client_has_given_up() {
    let mut e = endpoint();
    receive(&mut e, 0, UDP, request("OPTIONS", VIA, "", 1));
    let log = run(&mut e, 100_000);
    assert_eq!(
        log,
        [
            (3500, "SIP/2.0 100 Trying".to_owned()),
            (32_000, "ended".to_owned())
        ]
    );
    assert_eq!(e.transactions(), 0);
}

// Guards pitfall SIP 3: transactions match on branch, sent-by and method.
#[test]
fn branch_sent_by_and_method_tell_transactions_apart() {
    let mut e = endpoint();
    let in_dialog = |method: &str, via: &str| request(method, via, "b", 1);
    let mut count = 0;
    for (method, via) in [
        ("OPTIONS", "h.example;branch=z9hG4bKx1"),
        ("OPTIONS", "h.example;branch=z9hG4bKx2"),
        ("OPTIONS", "h.example:5070;branch=z9hG4bKx1"),
        ("OPTIONS", "i.example;branch=z9hG4bKx1"),
        ("INFO", "h.example;branch=z9hG4bKx1"),
    ] {
        receive(&mut e, 0, UDP, in_dialog(method, via)).request_id();
        count += 1;
        assert_eq!(e.transactions(), count);
    }
    let same = receive(
        &mut e,
        1,
        UDP,
        in_dialog("OPTIONS", "H.Example:5060;received=1.2.3.4;branch=z9hG4bKx1"),
    );
    assert!(
        same.events.is_empty(),
        "the default port and case make no difference"
    );
}

// Guards pitfall SIP 3: without the cookie, the rules of RFC 2543.
#[test]
fn a_branch_without_the_cookie_is_matched_by_the_rules_of_2543() {
    let mut e = endpoint();
    let old = "198.51.100.7:5062;branch=1";
    let invite = receive(&mut e, 0, UDP, request("INVITE", old, "", 1));
    assert_eq!(
        receive(&mut e, 1, UDP, request("INVITE", old, "", 1)).lines(),
        ["SIP/2.0 100 Trying"]
    );
    let busy = answer(&mut e, 2, &invite, Status::BUSY_HERE);
    let tag = busy.message(0).to_tag().unwrap().to_owned();
    let wrong = receive(&mut e, 3, UDP, request("ACK", old, "other", 1));
    assert_eq!(name(&wrong.events[0]), "ack", "it has another response's tag");
    receive(&mut e, 4, UDP, request("ACK", old, &tag, 1)).assert_nothing();
    assert_eq!(run(&mut e, 100_000), [], "nothing is repeated behind the ACK");

    let reinvite = receive(&mut e, 100_000, UDP, request("INVITE", old, "b", 2));
    answer(&mut e, 100_000, &reinvite, Status::NOT_ACCEPTABLE_HERE);
    receive(&mut e, 100_001, UDP, request("ACK", old, "b", 2)).assert_nothing();
    assert_eq!(run(&mut e, 200_000), []);

    let to_cancel = receive(&mut e, 200_000, UDP, request("INVITE", old, "", 3));
    let cancel = receive(&mut e, 200_001, UDP, request("CANCEL", old, "", 3));
    assert_eq!(cancel.lines(), ["SIP/2.0 200 OK"]);
    assert!(matches!(cancel.events[..], [Event::Cancelled { id, .. }] if id == to_cancel.request_id()));
}

// Guards pitfall SIP 3: merged requests get 482, a request within a dialog does not.
#[test]
fn a_request_that_comes_by_two_ways_is_refused_on_the_second() {
    let mut e = endpoint();
    let other_way = "198.51.100.8:5062;branch=z9hG4bKx9";
    receive(&mut e, 0, UDP, request("INVITE", VIA, "", 1)).request_id();
    let merged = receive(&mut e, 10, UDP, request("INVITE", other_way, "", 1));
    assert_eq!(merged.lines(), ["SIP/2.0 482 Loop Detected"]);
    assert!(merged.events.is_empty());
    receive(
        &mut e,
        20,
        UDP,
        request("INVITE", "198.51.100.8:5062;branch=z9hG4bKx8", "b", 1),
    )
    .request_id();
    receive(
        &mut e,
        30,
        UDP,
        request("INVITE", "198.51.100.8:5062;branch=z9hG4bKx7", "", 2),
    )
    .request_id();
}

#[test]
fn a_cancel_is_answered_and_told_once() {
    let mut e = endpoint();
    let invite = receive(&mut e, 0, UDP, request("INVITE", VIA, "", 1));
    let ringing = answer(&mut e, 1, &invite, Status::RINGING);
    let cancel = receive(&mut e, 2, UDP, request("CANCEL", VIA, "", 1));
    assert_eq!(cancel.lines(), ["SIP/2.0 200 OK"]);
    assert_eq!(cancel.message(0).cseq().method, Method::Cancel);
    assert_eq!(
        cancel.message(0).to_tag(),
        ringing.message(0).to_tag(),
        "RFC 3261 §9.2"
    );
    assert!(matches!(cancel.events[..], [Event::Cancelled { id, .. }] if id == invite.request_id()));
    let again = receive(&mut e, 3, UDP, request("CANCEL", VIA, "", 1));
    assert_eq!((again.lines(), again.events.len()), (vec!["SIP/2.0 200 OK"], 0));
}

// Guards pitfall SIP 2: what matches nothing gets 481, and a CANCEL behind the final answer changes nothing.
#[test]
fn a_cancel_that_matches_nothing_gets_481_and_a_late_one_has_no_effect() {
    let mut e = endpoint();
    let stray = receive(&mut e, 0, UDP, request("CANCEL", VIA, "", 1));
    assert_eq!(stray.lines(), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
    assert!(stray.events.is_empty());
    let via = "198.51.100.7:5062;branch=z9hG4bKx3";
    let invite = receive(&mut e, 1, UDP, request("INVITE", via, "", 2));
    answer(&mut e, 2, &invite, Status::OK);
    let late = receive(&mut e, 3, UDP, request("CANCEL", via, "", 2));
    assert_eq!((late.lines(), late.events.len()), (vec!["SIP/2.0 200 OK"], 0));
}

// Guards pitfall SIP 9: answers leave the socket that received, with received and rport on every transport.
#[test]
fn answers_go_where_the_via_and_the_source_say() {
    let port = |e: &mut Endpoint, transport, via: &str, cseq| {
        let wants = receive(e, 0, transport, request("OPTIONS", via, "", cseq));
        let answer = answer(e, 0, &wants, Status::OK);
        let via = answer.message(0).top_via().clone();
        (
            answer.sent[0].flow,
            via.received().map(|ip| ip.to_string()),
            via.rport(),
        )
    };
    let mut e = endpoint();
    for transport in [UDP, TCP] {
        let (to, received, rport) = port(&mut e, transport, "10.0.0.1;rport;branch=z9hG4bKa", 1);
        assert_eq!(to, flow(transport));
        assert_eq!((received.as_deref(), rport), (Some("198.51.100.7"), Some(5062)));
        e = endpoint();
    }
    let (to, received, rport) = port(&mut e, UDP, "10.0.0.1:5070;branch=z9hG4bKb", 2);
    assert_eq!(
        to,
        Flow {
            remote: "198.51.100.7:5070".parse().unwrap(),
            ..flow(UDP)
        }
    );
    assert_eq!((received.as_deref(), rport), (Some("198.51.100.7"), None));
    let (to, ..) = port(&mut e, UDP, "10.0.0.1;branch=z9hG4bKc", 3);
    assert_eq!(to.remote.port(), 5060);
}

#[test]
fn a_response_whose_connection_is_gone_goes_over_a_new_one() {
    let mut e = endpoint();
    let invite = receive(&mut e, 0, TCP, request("INVITE", VIA, "", 1));
    answer(&mut e, 0, &invite, Status::BUSY_HERE);
    let other = Flow {
        connection: Some(8),
        ..flow(TCP)
    };
    e.handle_transport_error(at(1), other);
    drain(&mut e).assert_nothing();
    e.handle_transport_error(at(1), flow(TCP));
    let wants = drain(&mut e);
    assert_eq!(wants.lines(), ["SIP/2.0 486 Busy Here"]);
    assert_eq!(wants.sent[0].flow.connection, None);
    assert_eq!(wants.sent[0].flow.remote, "198.51.100.7:5062".parse().unwrap());
    // The sockets number a connection before they know whether it can be opened.
    let opened = Flow {
        connection: Some(9),
        ..wants.sent[0].flow
    };
    e.handle_transport_error(at(2), opened);
    let given_up = drain(&mut e);
    assert_eq!(
        (given_up.sent.len(), name(&given_up.events[0])),
        (0, "transport failed")
    );
    assert_eq!(e.transactions(), 0);
}

#[test]
fn a_call_that_rings_over_a_lost_connection_is_answered_over_another() {
    let mut e = endpoint();
    let invite = receive(&mut e, 0, TCP, request("INVITE", VIA, "", 1));
    answer(&mut e, 0, &invite, Status::RINGING);
    e.handle_transport_error(at(1), flow(TCP));
    drain(&mut e).assert_nothing();
    let over_new = Flow {
        remote: "198.51.100.7:5062".parse().unwrap(),
        connection: None,
        ..flow(TCP)
    };
    assert_eq!(answer(&mut e, 5_000, &invite, Status::OK).sent[0].flow, over_new);

    let mut e = endpoint();
    let from = Flow {
        remote: "198.51.100.7:40123".parse().unwrap(),
        ..flow(TCP)
    };
    e.handle_bytes(at(0), from, request("INVITE", VIA, "", 1));
    let invite = drain(&mut e);
    assert_eq!(answer(&mut e, 0, &invite, Status::OK).sent[0].flow, from);
    e.handle_transport_error(at(1), from);
    drain(&mut e).assert_nothing();
    assert_eq!(
        answer(&mut e, 500, &invite, Status::OK).sent[0].flow,
        over_new,
        "a 2xx too"
    );
}

#[test]
fn over_the_limit_a_request_is_refused_without_a_transaction() {
    let config = EndpointConfig {
        transactions: 1,
        ..EndpointConfig::default()
    };
    let mut e = Endpoint::new(config, Rng::from_number(1));
    receive(&mut e, 0, UDP, request("OPTIONS", VIA, "", 1)).request_id();
    let refused = receive(
        &mut e,
        1,
        UDP,
        request("OPTIONS", "198.51.100.7:5062;branch=z9hG4bKx2", "", 2),
    );
    assert_eq!(refused.lines(), ["SIP/2.0 503 Service Unavailable"]);
    assert!(refused.message(0).has(HeaderName::RetryAfter));
    assert_eq!(e.transactions(), 1);
    assert_eq!(e.request(at(2), flow(UDP), Bytes::new()), Err(RequestError::Full));
}

// Guards pitfall SIP 13: a challenge to a source that is not verified keeps no state and is not repeated.
#[test]
fn a_stateless_answer_leaves_nothing_and_has_the_same_tag_each_time() {
    let mut e = endpoint();
    let mut tags = Vec::new();
    for ms in [0, 500] {
        let invite = receive(&mut e, ms, UDP, request("INVITE", VIA, "", 1));
        let [Event::Request { id, request, .. }] = &invite.events[..] else {
            panic!("{invite:?}")
        };
        let response = e.response(request, Status::UNAUTHORIZED).finish();
        assert!(e.respond_stateless(at(ms), *id, response));
        let wants = drain(&mut e);
        tags.push(wants.message(0).to_tag().unwrap().to_owned());
        assert_eq!((e.transactions(), wants.timeout), (0, None));
    }
    assert_eq!(tags[0], tags[1]);
    assert_eq!(crate::owner(&tags[0]), Some(3));
    assert!(
        receive(&mut e, 600, UDP, request("ACK", VIA, &tags[0], 1))
            .sent
            .is_empty()
    );
}

#[test]
fn what_is_no_message_is_answered_as_far_as_it_can_be() {
    let mut e = endpoint();
    let bad = request("OPTIONS", VIA, "", 1);
    let bad = String::from_utf8(bad.to_vec())
        .unwrap()
        .replace("Max-Forwards: 70", "Max-Forwards: many");
    let wants = receive(&mut e, 0, UDP, bad.into());
    assert!(wants.lines()[0].starts_with("SIP/2.0 400 "), "{wants:?}");
    assert_eq!(name(&wants.events[0]), "malformed");
    assert!(
        receive(&mut e, 0, UDP, Bytes::from_static(b"\r\n\r\n"))
            .sent
            .is_empty()
    );
    assert_eq!(e.transactions(), 0);
}

// Guards pitfall SIP 6: finished transactions cost next to nothing.
#[test]
fn a_finished_transaction_keeps_its_keys_its_answer_and_a_deadline() {
    let mut e = endpoint();
    let options = receive(&mut e, 0, UDP, request("OPTIONS", VIA, "", 1));
    let answer = answer(&mut e, 0, &options, Status::OK);
    let t = e.table.get(options.request_id()).unwrap();
    assert_eq!(t.last, answer.sent[0].message);
    assert_eq!((t.resend_at, t.rare.is_none()), (NEVER, true));
    // Two entries in tables of keys at two thirds full, and one deadline.
    let overhead = 2 * 24 * 3 / 2 + size_of::<Entry>();
    let total = size_of::<Transaction>() + overhead + t.last.len();
    assert!(total <= 512, "{total}, of it {} answer", t.last.len());
}
