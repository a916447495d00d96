//! Offer and answer by the examples of RFC 3264 §10 and RFC 4317, and by what phones do.

use ringpost_sdp::{
    AnswerError, Codec, Direction, MediaKind, Negotiated, Negotiation, OfferError, RemoteStream,
    SessionDescription, Stream, capabilities, merge_codecs,
};

/// A description of the peer's at 192.0.2.1 with these media lines.
fn peer(media: &[&str]) -> SessionDescription {
    let head = [
        "v=0",
        "o=alice 2890844526 2890844526 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
    ];
    let text = [&head[..], media].concat().join("\r\n");
    SessionDescription::parse(text.as_bytes()).expect("a description")
}

fn audio(codecs: Vec<Codec>) -> Stream {
    Stream::audio("198.51.100.7:5000".parse().expect("an address"), codecs)
}

fn video(codecs: Vec<Codec>) -> Stream {
    let local = "198.51.100.7:5002".parse().expect("an address");
    Stream {
        kind: MediaKind::Video,
        ptime_ms: None,
        ..Stream::audio(local, codecs)
    }
}

fn g711() -> Vec<Codec> {
    vec![Codec::pcmu(), Codec::pcma(), Codec::telephone_event(101)]
}

fn m_lines(sdp: &SessionDescription) -> Vec<String> {
    sdp.media
        .iter()
        .map(|m| format!("{} {} {}", m.kind, m.port, m.formats.join(" ")))
        .collect()
}

fn first(streams: Vec<Option<Negotiated>>) -> Negotiated {
    streams
        .into_iter()
        .next()
        .flatten()
        .expect("the first stream was accepted")
}

#[test]
fn rfc_3264_10_1_a_refused_stream_keeps_its_place_with_port_0() {
    let offer = peer(&[
        "m=audio 49170 RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "m=video 51372 RTP/AVP 31",
        "a=rtpmap:31 H261/90000",
        "m=video 53000 RTP/AVP 32",
        "a=rtpmap:32 MPV/90000",
    ]);
    let ours = [audio(g711()), video(vec![Codec::new(32, "MPV", 90_000)])];
    let mut bob = Negotiation::new(1);
    let (answer, streams) = bob.answer(&offer, &ours).expect("answered");
    assert_eq!(m_lines(&answer), ["audio 5000 0", "video 0 31", "video 5002 32"]);
    assert_eq!(
        streams.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert!(answer.media[1].attributes.is_empty());

    // Later Bob moves his audio and adds a stream that only receives: his lines keep their place and his version grows.
    let moved = Stream {
        local: "198.51.100.7:65422".parse().expect("an address"),
        ..audio(vec![Codec::pcmu()])
    };
    let unused = Stream {
        local: "198.51.100.7:0".parse().expect("an address"),
        ..video(vec![Codec::new(31, "H261", 90_000)])
    };
    let events = audio(vec![Codec::new(110, "telephone-event", 8000)]).directed(Direction::RecvOnly);
    let reoffer = bob
        .offer(&[
            moved,
            unused,
            ours[1].clone(),
            Stream {
                kind: MediaKind::Audio,
                ..events
            },
        ])
        .expect("nothing is open");
    assert_eq!(
        m_lines(&reoffer),
        ["audio 65422 0", "video 0 31", "video 5002 32", "audio 5000 110"]
    );
    assert_eq!(reoffer.origin.session_id, answer.origin.session_id);
    assert_eq!(reoffer.origin.version, answer.origin.version + 1);
}

#[test]
fn rfc_4317_2_1_the_answer_keeps_the_offers_order_and_numbers() {
    let offer = peer(&[
        "m=audio 49170 RTP/AVP 0 8 97",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:97 iLBC/8000",
        "m=video 51372 RTP/AVP 31 32",
        "a=rtpmap:31 H261/90000",
        "a=rtpmap:32 MPV/90000",
    ]);
    let ours = [
        audio(vec![Codec::new(99, "ilbc", 8000), Codec::pcmu()]),
        video(vec![Codec::new(32, "MPV", 90_000)]),
    ];
    let (answer, streams) = Negotiation::new(1).answer(&offer, &ours).expect("answered");
    assert_eq!(m_lines(&answer), ["audio 5000 0 97", "video 5002 32"]);
    assert_eq!(
        answer.media[0].rtpmap(97).map(|map| map.encoding.as_str()),
        Some("iLBC")
    );
    let audio = first(streams);
    assert_eq!(audio.codec().map(|codec| codec.send_payload_type), Some(0));
    assert_eq!(audio.remote, "192.0.2.1:49170".parse().ok());
    assert_eq!(audio.remote_rtcp, "192.0.2.1:49171".parse().ok());
}

#[test]
fn rfc_4317_3_1_hold_and_unhold_are_new_versions_with_a_direction() {
    let mut alice = Negotiation::new(1);
    let mut bob = Negotiation::new(2);
    let mut exchange = |direction, bobs: &[Stream]| {
        let offer = alice
            .offer(&[audio(g711()).directed(direction)])
            .expect("nothing is open");
        let (answer, at_bob) = bob.answer(&offer, bobs).expect("answered");
        let at_alice = alice.handle_answer(&answer).expect("a right answer");
        (
            offer.origin.version,
            answer.origin.version,
            first(at_alice),
            first(at_bob),
        )
    };
    let bobs = [audio(g711())];
    let (offer, answer, at_alice, at_bob) = exchange(Direction::SendRecv, &bobs);
    assert_eq!((offer, answer), (1, 1));
    assert_eq!(
        (at_alice.direction, at_bob.direction),
        (Direction::SendRecv, Direction::SendRecv)
    );
    let (offer, answer, at_alice, at_bob) = exchange(Direction::SendOnly, &bobs);
    assert_eq!((offer, answer), (2, 2));
    assert_eq!(
        (at_alice.direction, at_bob.direction),
        (Direction::SendOnly, Direction::RecvOnly)
    );
    assert!(at_bob.held && !at_alice.direction.receives());
    let (offer, .., at_bob) = exchange(Direction::SendOnly, &bobs);
    assert_eq!(offer, 2, "an offer that says the same keeps its version");
    assert!(at_bob.held);
    let (offer, answer, at_alice, at_bob) = exchange(Direction::SendRecv, &bobs);
    assert_eq!((offer, answer), (3, 3));
    assert_eq!(
        (at_alice.direction, at_bob.direction),
        (Direction::SendRecv, Direction::SendRecv)
    );
    assert!(!at_bob.held);
}

#[test]
fn an_answer_reverses_the_offers_direction_within_what_we_want() {
    // RFC 3264 §6.1.
    for (offered, wanted, answered) in [
        ("sendonly", Direction::SendRecv, Direction::RecvOnly),
        ("recvonly", Direction::SendRecv, Direction::SendOnly),
        ("inactive", Direction::SendRecv, Direction::Inactive),
        ("sendrecv", Direction::SendOnly, Direction::SendOnly),
        ("sendonly", Direction::SendOnly, Direction::Inactive),
    ] {
        let offer = peer(&["m=audio 4000 RTP/AVP 0", &format!("a={offered}")]);
        let (answer, streams) = Negotiation::new(1)
            .answer(&offer, &[audio(g711()).directed(wanted)])
            .expect("answered");
        assert_eq!(answer.direction_of(&answer.media[0]), answered);
        assert_eq!(first(streams).direction, answered);
    }
}

// Guards pitfall SIP 8: hold is a=sendonly or a=inactive, and c=0.0.0.0 from old phones.
#[test]
fn an_address_of_zeros_holds_whatever_the_attribute_says() {
    let offer = peer(&["m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0", "a=sendrecv"]);
    let (answer, streams) = Negotiation::new(1)
        .answer(&offer, &[audio(g711())])
        .expect("answered");
    let stream = first(streams);
    assert!(stream.held);
    assert_eq!((stream.remote, stream.remote_rtcp), (None, None));
    assert!(!stream.direction.sends());
    assert_eq!(m_lines(&answer), ["audio 5000 0"], "a held stream is not refused");
    for (attribute, held) in [
        ("sendonly", true),
        ("inactive", true),
        ("recvonly", false),
        ("sendrecv", false),
    ] {
        let offer = peer(&["m=audio 4000 RTP/AVP 0", &format!("a={attribute}")]);
        assert_eq!(RemoteStream::all(&offer)[0].holds(), held);
    }
}

// Guards pitfall SIP 8: telephone-event once per clock rate, payload numbers as the peer numbered them.
#[test]
fn telephone_events_come_once_a_clock_with_the_peers_number() {
    let offer = peer(&[
        "m=audio 4000 RTP/AVP 96 0 97 101 102 103",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 telephone-event/48000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=rtpmap:102 telephone-event/8000",
        "a=rtpmap:103 telephone-event/16000",
    ]);
    let events = |rate| Codec {
        clock_rate_hz: rate,
        ..Codec::telephone_event(120)
    };
    let ours = [audio(vec![
        Codec::pcmu(),
        events(48_000),
        events(8000),
        events(16_000),
    ])];
    let (answer, streams) = Negotiation::new(1).answer(&offer, &ours).expect("answered");
    assert_eq!(m_lines(&answer), ["audio 5000 0 101"]);
    assert_eq!(answer.media[0].fmtp("101"), Some("0-15"));
    let stream = first(streams);
    assert_eq!(stream.codecs.len(), 2);
    assert_eq!(
        stream.telephone_event(8000).map(|event| event.send_payload_type),
        Some(101)
    );
    assert_eq!(stream.telephone_event(48_000), None);
    assert_eq!(
        stream.received(101).map(|codec| codec.codec.is_telephone_event()),
        Some(true)
    );
}

#[test]
fn an_answer_may_number_our_codecs_otherwise() {
    // RFC 3264 §5.1: send with the answer's numbers, receive with ours.
    let mut alice = Negotiation::new(1);
    alice
        .offer(&[audio(vec![Codec::pcmu(), Codec::telephone_event(101)])])
        .expect("nothing is open");
    let answer = peer(&[
        "m=audio 4000 RTP/AVP 96 0 9",
        "a=rtpmap:96 TELEPHONE-EVENT/8000",
        "a=ptime:30",
        "a=rtcp:7000",
    ]);
    let stream = first(alice.handle_answer(&answer).expect("a right answer"));
    let event = stream.telephone_event(8000).expect("in common");
    assert_eq!((event.send_payload_type, event.receive_payload_type), (96, 101));
    assert_eq!(stream.codec().map(|codec| codec.send_payload_type), Some(0));
    assert_eq!(stream.codecs.len(), 2, "G722 was not offered");
    assert_eq!(stream.ptime_ms, Some(30));
    assert_eq!(stream.remote_rtcp, "192.0.2.1:7000".parse().ok());
}

#[test]
fn an_answer_without_mappings_means_what_the_offer_said() {
    let mut alice = Negotiation::new(1);
    alice.offer(&[audio(g711())]).expect("nothing is open");
    let stream = first(
        alice
            .handle_answer(&peer(&["m=audio 4000 RTP/AVP 8 101"]))
            .expect("a right answer"),
    );
    assert_eq!(
        stream.codec().map(|codec| codec.codec.name.as_ref()),
        Some("PCMA")
    );
    assert!(stream.telephone_event(8000).is_some());
}

#[test]
fn rtcp_is_multiplexed_only_when_both_say_so() {
    let ours = |mux| {
        [Stream {
            rtcp_mux: mux,
            rtcp_port: Some(6001),
            ..audio(g711())
        }]
    };
    let offer = peer(&["m=audio 4000 RTP/AVP 0", "a=rtcp-mux"]);
    let (answer, streams) = Negotiation::new(1).answer(&offer, &ours(true)).expect("answered");
    assert!(answer.media[0].rtcp_mux());
    assert_eq!(first(streams).remote_rtcp, "192.0.2.1:4000".parse().ok());
    let (answer, streams) = Negotiation::new(1)
        .answer(&offer, &ours(false))
        .expect("answered");
    assert!(!answer.media[0].rtcp_mux());
    assert!(answer.to_string().contains("a=rtcp:6001\r\n"));
    assert_eq!(first(streams).remote_rtcp, "192.0.2.1:4001".parse().ok());
    let plain = peer(&["m=audio 4000 RTP/AVP 0"]);
    let (answer, _) = Negotiation::new(1).answer(&plain, &ours(true)).expect("answered");
    assert!(!answer.media[0].rtcp_mux());
}

#[test]
fn an_offer_is_refused_when_nothing_or_only_events_are_in_common() {
    let refused = |media: &[&str]| {
        Negotiation::new(1)
            .answer(&peer(media), &[audio(g711())])
            .expect_err("refused")
    };
    assert_eq!(refused(&["m=audio 4000 RTP/AVP 18"]), OfferError::NothingInCommon);
    let only_events = ["m=audio 4000 RTP/AVP 18 101", "a=rtpmap:101 telephone-event/8000"];
    assert_eq!(refused(&only_events), OfferError::NothingInCommon);
    assert_eq!(refused(&["m=audio 4000 RTP/SAVP 0"]), OfferError::NothingInCommon);
    assert_eq!(refused(&["m=audio 0 RTP/AVP 0"]), OfferError::NothingInCommon);
    assert_eq!(
        refused(&["m=audio 4000 RTP/AVP 0", "c=IN IP4 233.252.0.1/1"]),
        OfferError::NothingInCommon
    );
    let (answer, _) = Negotiation::new(1)
        .answer(&peer(&[]), &[audio(g711())])
        .expect("no media asked for");
    assert!(answer.media.is_empty());
}

#[test]
fn unknown_lines_are_refused_in_order_and_feedback_profiles_are_answered_in_kind() {
    let offer = peer(&[
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 4000 RTP/AVPF 0",
        "m=image 4002 udptl t38",
        "m=audio 4004 RTP/AVP 0",
    ]);
    let (answer, streams) = Negotiation::new(1)
        .answer(&offer, &[audio(g711())])
        .expect("answered");
    assert_eq!(
        m_lines(&answer),
        [
            "application 0 webrtc-datachannel",
            "audio 5000 0",
            "image 0 t38",
            "audio 0 0"
        ]
    );
    assert_eq!(answer.media[1].protocol, "RTP/AVPF");
    assert_eq!(streams.iter().flatten().count(), 1);
}

#[test]
fn an_ipv6_leg_has_ipv6_lines() {
    let local = "[2001:db8::7]:5000".parse().expect("an address");
    let offer = Negotiation::new(1)
        .offer(&[Stream::audio(local, g711())])
        .expect("nothing is open");
    let printed = offer.to_string();
    assert!(printed.contains("o=- 1 1 IN IP6 2001:db8::7\r\n"), "{printed}");
    assert!(printed.contains("c=IN IP6 2001:db8::7\r\n"), "{printed}");
    let (_, streams) = Negotiation::new(2)
        .answer(&offer, &[Stream::audio(local, g711())])
        .expect("answered");
    assert_eq!(first(streams).remote, Some(local));
}

// Guards pitfall SIP 8: a failed re-INVITE leaves the old session as it was.
#[test]
fn a_withdrawn_or_badly_answered_offer_leaves_the_session_as_it_was() {
    let mut alice = Negotiation::new(1);
    alice.offer(&[audio(g711())]).expect("nothing is open");
    alice
        .handle_answer(&peer(&["m=audio 4000 RTP/AVP 0"]))
        .expect("a right answer");
    let before = alice.streams().to_vec();

    let first = alice
        .offer(&[audio(g711()).directed(Direction::SendOnly)])
        .expect("nothing is open");
    assert_eq!(alice.offer(&[audio(g711())]), Err(OfferError::Open));
    let glare = alice.answer(&peer(&["m=audio 4000 RTP/AVP 0"]), &[audio(g711())]);
    assert_eq!(glare.expect_err("our offer is open"), OfferError::Open);
    alice.withdraw();
    assert_eq!(alice.streams(), before);

    let second = alice
        .offer(&[audio(g711()).directed(Direction::Inactive)])
        .expect("nothing is open");
    assert_eq!(
        second.origin.version,
        first.origin.version + 1,
        "a version never means two things"
    );
    let error = alice.handle_answer(&peer(&[])).expect_err("a line is missing");
    assert_eq!(
        error,
        AnswerError::Lines {
            offered: 1,
            answered: 0
        }
    );
    assert_eq!(alice.streams(), before);
    assert_eq!(alice.handle_answer(&peer(&[])), Err(AnswerError::NotOpen));
}

#[test]
fn an_answer_must_match_the_offer_line_by_line() {
    let answered = |media: &[&str]| {
        let mut alice = Negotiation::new(1);
        alice.offer(&[audio(g711())]).expect("nothing is open");
        alice.handle_answer(&peer(media)).expect_err("refused")
    };
    let (offered, other) = (MediaKind::Audio, MediaKind::Video);
    assert_eq!(
        answered(&["m=video 4000 RTP/AVP 0"]),
        AnswerError::Kind {
            line: 1,
            offered,
            answered: other
        }
    );
    assert_eq!(answered(&["m=audio 0 RTP/AVP 0"]), AnswerError::NothingInCommon);
    assert_eq!(
        answered(&["m=audio 4000 RTP/AVP 18"]),
        AnswerError::NothingInCommon
    );
    assert_eq!(
        answered(&["m=audio 4000 RTP/AVP 101"]),
        AnswerError::NothingInCommon
    );
}

// Guards pitfall SIP 8: m-lines keep order and count.
#[test]
fn lines_never_become_fewer() {
    let mut bob = Negotiation::new(1);
    let two = peer(&["m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 31"]);
    bob.answer(&two, &[audio(g711())]).expect("answered");
    let reoffer = bob.offer(&[audio(g711())]).expect("nothing is open");
    assert_eq!(m_lines(&reoffer), ["audio 5000 0 8 101", "video 0 31"]);
    let answer = peer(&["m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP 31"]);
    assert_eq!(bob.handle_answer(&answer).expect("a right answer").len(), 2);
    let fewer = bob.answer(&peer(&["m=audio 4000 RTP/AVP 0"]), &[audio(g711())]);
    assert_eq!(
        fewer.expect_err("refused"),
        OfferError::LinesRemoved {
            before: 2,
            offered: 1
        }
    );
}

#[test]
fn a_payload_number_never_changes_its_meaning_in_a_session() {
    // RFC 3264 §8.3.2.
    let mut bob = Negotiation::new(1);
    let offer = peer(&["m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"]);
    bob.answer(&offer, &[audio(g711())]).expect("answered");
    let codecs = vec![Codec::new(101, "opus", 48_000), Codec::pcmu()];
    let reoffer = bob.offer(&[audio(codecs)]).expect("nothing is open");
    assert_eq!(reoffer.media[0].formats, ["96", "0"]);
    assert_eq!(
        reoffer.media[0].rtpmap(96).map(|map| map.encoding.as_str()),
        Some("opus")
    );
}

#[test]
fn a_legs_offer_has_the_callers_codecs_first_and_ours_behind() {
    let caller = [
        Codec::new(18, "G729", 8000),
        Codec::pcma(),
        Codec::telephone_event(96),
    ];
    let ours = [
        Codec::pcmu(),
        Codec::pcma(),
        Codec {
            channels: 2,
            ..Codec::new(96, "opus", 48_000)
        },
        Codec::telephone_event(101),
        Codec {
            clock_rate_hz: 48_000,
            ..Codec::telephone_event(110)
        },
        Codec {
            clock_rate_hz: 16_000,
            ..Codec::telephone_event(111)
        },
    ];
    let merged = merge_codecs(&caller, &ours);
    let shown: Vec<_> = merged
        .iter()
        .map(|codec| (codec.payload_type, codec.name.as_ref(), codec.clock_rate_hz))
        .collect();
    let expected = [
        (18, "G729", 8000),
        (8, "PCMA", 8000),
        (0, "PCMU", 8000),
        (97, "opus", 48_000),
        (96, "telephone-event", 8000),
        (110, "telephone-event", 48_000),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn capabilities_have_port_0_and_every_format() {
    let sdp = capabilities(9, &[audio(g711())]);
    assert_eq!(m_lines(&sdp), ["audio 0 0 8 101"]);
    assert!(sdp.to_string().contains("t=0 0\r\n"));
}
