use super::*;

const OPTIONS: &str = "OPTIONS * RTSP/1.0\r\nCSeq: ";

// Guards pitfall RTSP 5.
#[test]
fn pipelined_requests_are_answered_in_order_and_packets_pass_them() {
    let mut world = World::new();
    world.set_up("rtsp://h/a/trackID=0", None);
    world.holds = true;
    let mut stream = Vec::new();
    stream.extend_from_slice(b"DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    stream.extend_from_slice(&frame(0, b"$\0"));
    stream.extend_from_slice(format!("{OPTIONS}2\r\n\r\n").as_bytes());
    stream.extend_from_slice(&frame(1, b"x"));
    stream.extend_from_slice(b"NONSENSE\r\nCSeq: 3\r\n\r\nPLAY rtsp://h/a RTSP/2.0\r\nCSeq: 4\r\n\r\n");
    world.send_bytes(&stream);
    let media = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::Media { .. }));
    assert_eq!(media.count(), 2);
    assert!(world.responses.is_empty());
    world.release();
    world.release();
    let heard: Vec<_> = world
        .responses
        .iter()
        .map(|response| (response.headers.cseq().unwrap().unwrap(), response.status.code()))
        .collect();
    assert_eq!(heard, [(1, 200), (2, 200), (3, 400), (4, 505)]);
}

#[test]
fn a_request_without_a_number_is_refused() {
    for fields in ["", "CSeq: x\r\n", "CSeq: -1\r\n", "CSeq: 99999999999\r\n"] {
        let mut world = World::new();
        world.send(&format!("OPTIONS * RTSP/1.0\r\n{fields}\r\n"));
        assert_eq!(world.responses[0].status, Status::BAD_REQUEST);
        assert_eq!(world.responses[0].headers.cseq(), None);
    }
}

#[test]
fn too_many_that_wait_stop_the_reading_and_none_is_lost() {
    let mut world = World::new();
    world.holds = true;
    world.send("DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 0\r\n\r\n");
    for n in 1..=3 * limits::RTSP_PIPELINE {
        world.send(&format!("{OPTIONS}{n}\r\n\r\n"));
        assert_eq!(world.server.wants_input(), n < limits::RTSP_PIPELINE, "{n}");
    }
    world.release();
    world.release();
    let numbers: Vec<_> = world
        .responses
        .iter()
        .map(|r| r.headers.cseq().unwrap().unwrap())
        .collect();
    let expected: Vec<_> = (0..=3 * limits::RTSP_PIPELINE as u32).collect();
    assert_eq!(numbers, expected);
    assert!(world.server.wants_input());
    world.send("DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 0\r\n\r\n");
    for _ in 0..10_000 {
        world.send(&format!("{OPTIONS}1\r\nX: {}\r\n\r\n", "x".repeat(100)));
    }
    assert!(world.is_closed(), "who does not stop is not held");
}

// RFC 2326 §10.7: TEARDOWN stops the delivery, also when who sent it does not wait for the answer.
#[test]
fn what_was_asked_before_the_client_went_is_carried_out() {
    let mut world = World::new();
    let session = world.set_up("rtsp://h/a/trackID=0", None);
    world.holds = true;
    world.send("DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    world.send(&format!(
        "TEARDOWN rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n"
    ));
    world.server.handle_end_of_input(world.now);
    world.drain();
    assert!(!world.is_closed(), "there is something to be answered");
    while world.open.is_some() {
        world.release();
    }
    let ends = world.events.iter().filter_map(|event| match event {
        Event::Ended { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [End::Teardown]);
    assert!(world.is_closed() && world.detached.is_empty());
    // Where nothing is open, it is over at once, and a session by UDP outlives it.
    let mut world = World::new();
    let transport = "Transport: RTP/AVP;unicast;client_port=4000-4001\r\n";
    assert_eq!(
        world.request("SETUP rtsp://h/a/trackID=0", transport).status,
        Status::OK
    );
    world.server.handle_end_of_input(world.now);
    world.drain();
    assert!(world.is_closed());
    assert_eq!(world.detached.len(), 1);
}

#[test]
fn what_waits_is_bounded_in_bytes_too() {
    let mut world = World::new();
    world.holds = true;
    let body = "x".repeat(limits::RTSP_BODY_BYTES);
    let head = "ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Type: application/sdp\r\n";
    let announce = |n: usize| format!("{head}CSeq: {n}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let sent = (0..limits::RTSP_PIPELINE).take_while(|n| {
        world.send(&announce(*n));
        world.server.wants_input()
    });
    assert_eq!(sent.count(), 2, "one is carried out, two wait");
    assert!(!world.is_closed());
    while world.open.is_some() {
        world.release();
    }
    assert_eq!(world.responses.len(), 3, "none is lost");
    assert!(world.server.wants_input());
}

#[test]
fn a_request_that_does_not_become_whole_times_out() {
    let mut world = World::new();
    world.send("OPTIONS * RTSP/1.0\r\nCSe");
    world.pass(29);
    assert!(world.responses.is_empty());
    world.send("q: 1\r\n");
    world.pass(1);
    assert_eq!(world.responses[0].status, Status::REQUEST_TIMEOUT);
    assert_eq!(world.responses[0].headers.field("Connection"), Some("close"));
    assert!(world.is_closed());
    let mut idle = World::new();
    idle.pass(59);
    assert!(!idle.is_closed());
    idle.pass(1);
    assert!(idle.is_closed() && idle.responses.is_empty());
}

#[test]
fn what_is_no_rtsp_is_refused_and_closed() {
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\0\x01"[..], 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: x\r\n\r\n", 400),
        (
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 70000\r\n\r\n",
            413,
        ),
    ] {
        let mut world = World::new();
        world.send_bytes(bytes);
        assert_eq!(world.responses[0].status.code(), status);
        assert!(world.is_closed());
    }
    let mut long = World::new();
    long.send(&format!(
        "OPTIONS rtsp://h/{} RTSP/1.0\r\n",
        "x".repeat(limits::RTSP_LINE_BYTES)
    ));
    assert_eq!(long.responses[0].status.code(), 414);
    let mut path = World::new();
    let head = format!("DESCRIBE rtsp://h/{}", "x".repeat(limits::MOUNT_NAME_BYTES + 1));
    assert_eq!(path.status(&head, ""), 414);
    let mut broken = World::new();
    for n in 1..=limits::RTSP_FAILURES {
        assert!(!broken.is_closed());
        broken.send(&format!("NONSENSE\r\nCSeq: {n}\r\n\r\n"));
    }
    assert!(broken.is_closed());
}

#[test]
fn a_client_that_says_close_is_answered_and_closed() {
    let mut world = World::new();
    let response = world.request("OPTIONS *", "Connection: close\r\n");
    assert_eq!(response.headers.field("Connection"), Some("close"));
    assert!(world.is_closed());
}

#[test]
fn the_server_asks_too() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a?b/trackID=0", None);
    let session = SessionId(id.clone());
    let to = Url::parse("rtsp://i/a").unwrap();
    let range = crate::header::Range::parse("clock=19960213T143205Z-").unwrap();
    let now = world.now;
    let redirect = world
        .server
        .redirect(now, Some(&session), &to, Some(range))
        .unwrap();
    let options = world.server.options(now).unwrap();
    let announce = world.server.announce(now, &session, SDP.into()).unwrap();
    let get = world.server.get_parameter(now, &session, Bytes::new()).unwrap();
    let set = world
        .server
        .set_parameter(now, &session, "a: b\r\n".into())
        .unwrap();
    world.drain();
    let sent: Vec<_> = world
        .requests
        .iter()
        .map(|r| (r.method.name(), r.uri.as_str()))
        .collect();
    assert_eq!(
        sent,
        [
            ("REDIRECT", "rtsp://h/a/?b"),
            ("OPTIONS", "*"),
            ("ANNOUNCE", "rtsp://h/a/?b"),
            ("GET_PARAMETER", "rtsp://h/a/?b"),
            ("SET_PARAMETER", "rtsp://h/a/?b")
        ]
    );
    let first: &Headers = &world.requests[0].headers;
    assert_eq!(first.field("Location"), Some("rtsp://i/a"));
    assert_eq!(first.field("Range"), Some("clock=19960213T143205Z-"));
    assert_eq!(first.field("Session"), Some(id.as_str()));
    // The client's own request has the same number: they are counted apart.
    let (RequestId(a), RequestId(b)) = (redirect, announce);
    world.send(&format!("RTSP/1.0 200 OK\r\nCSeq: {b}\r\n\r\n{OPTIONS}{a}\r\n\r\nRTSP/1.0 551 no\r\nCSeq: {a}\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 999\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: {b}\r\n\r\n"));
    world.pass(30);
    world.server.handle_closed(world.now);
    world.drain();
    let answered: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Answered { request, outcome } => Some((
                *request,
                match outcome {
                    Outcome::Response(response) => response.status.code(),
                    Outcome::TimedOut => 1,
                    Outcome::Closed => 2,
                },
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        answered,
        [(announce, 200), (redirect, 551), (options, 1), (get, 1), (set, 1)]
    );
    let mut world = World::new();
    for _ in 0..limits::RTSP_PIPELINE {
        world.server.options(world.now).unwrap();
    }
    assert_eq!(world.server.options(world.now), Err(TooMany));
}

#[test]
fn a_late_answer_and_one_to_nothing_are_ignored() {
    let mut world = World::new();
    world.holds = true;
    world.send("DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    let (id, answer) = world.open.take().unwrap();
    world
        .server
        .handle_answer(world.now, QuestionId(id.0 + 1), answer.clone());
    world.drain();
    assert!(world.responses.is_empty());
    world.server.handle_closed(world.now);
    world.server.handle_answer(world.now, id, answer);
    world.drain();
    assert!(world.responses.is_empty() && world.is_closed());
}

#[test]
fn a_transport_list_is_passed_in_the_clients_order() {
    let mut world = World::new();
    let list = "Transport: RTP/AVP/UDP;unicast;client_port=5000-5001,RTP/AVP;multicast,RTP/AVP/TCP;interleaved=4-5\r\n";
    assert_eq!(world.status("SETUP rtsp://h/a", list), 200);
    let Some(Ask::Setup(setup)) = world.asked.last() else {
        panic!("{:?}", world.asked)
    };
    let texts: Vec<_> = setup.candidates.iter().map(Transport::to_string).collect();
    assert_eq!(
        texts,
        [
            "RTP/AVP;unicast;client_port=5000-5001",
            "RTP/AVP;multicast",
            "RTP/AVP/TCP;unicast;interleaved=4-5"
        ]
    );
}
