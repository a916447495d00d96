//! What cameras are reported to do.
// Guards pitfall RTSP 8: each is taken by its policy, and refused with a clear reason without it.

use super::*;

fn strict(url: &str) -> Script {
    Script::with(Config {
        tolerated: Vec::new(),
        ..Config::new(Url::parse(url).unwrap())
    })
}

fn quirks(script: &Script) -> Vec<Quirk> {
    let met = script.events.iter().filter_map(|event| match event {
        Event::Quirk(quirk) => Some(*quirk),
        _ => None,
    });
    met.collect()
}

#[test]
fn control_urls_that_cameras_write() {
    for (url, fields, sdp, aggregate, track) in [
        // No Content-Base: the request's URL.
        (
            "rtsp://h/cam",
            "",
            "m=v\r\na=control:trackID=1\r\n",
            "rtsp://h/cam",
            "rtsp://h/cam/trackID=1",
        ),
        (
            "rtsp://h/cam?u=1",
            "",
            "m=v\r\na=control:track1\r\n",
            "rtsp://h/cam?u=1",
            "rtsp://h/cam?u=1/track1",
        ),
        // An inner address of a camera behind NAT.
        (
            "rtsp://h:99/cam",
            "Content-Base: rtsp://192.168.1.7/cam/\r\n",
            "a=control:rtsp://192.168.1.7/cam/\r\nm=v\r\na=control:rtsp://192.168.1.7:554/cam/track1\r\n",
            "rtsp://h:99/cam/",
            "rtsp://h:99/cam/track1",
        ),
        // One stream without a control attribute.
        (
            "rtsp://h/cam",
            "Content-Base: rtsp://h/cam/\r\n",
            "m=v\r\n",
            "rtsp://h/cam/",
            "rtsp://h/cam/",
        ),
        (
            "rtsp://h/cam",
            "content_base: /live/\r\n",
            "a=control:*\r\nm=v\r\na=control:x\r\n",
            "rtsp://h/live/",
            "rtsp://h/live/x",
        ),
        // A password in a control URL is not repeated.
        (
            "rtsp://h/cam",
            "",
            "m=v\r\na=control:rtsp://a:b@h/cam/x\r\n",
            "rtsp://h/cam",
            "rtsp://h/cam/x",
        ),
    ] {
        let mut script = Script::new(url);
        let Outcome::Described(described) = script.described(fields, sdp) else {
            panic!("{sdp}")
        };
        assert_eq!(described.aggregate.to_string(), aggregate, "{sdp}");
        assert_eq!(described.tracks[0].to_string(), track, "{sdp}");
    }
    let two = "m=v\r\nm=a\r\na=control:trackID=2\r\n";
    let mut script = Script::new("rtsp://h/cam");
    assert!(matches!(script.described("", two), Outcome::Described(_)));
    assert_eq!(quirks(&script), [Quirk::NoControl]);
    let mut strict = strict("rtsp://h/cam");
    assert!(matches!(
        strict.described("", two),
        Outcome::Failed(Failure::Unreadable(_))
    ));
}

#[test]
fn what_is_wrong_with_an_answer_to_setup() {
    let asked = "RTP/AVP/TCP;unicast;interleaved=0-1";
    for (fields, quirk, channels) in [
        (
            format!("Session: 1\r\nTransport: {asked}\r\n"),
            Quirk::NoSessionTimeout,
            (0, 1),
        ),
        (SESSION.to_owned(), Quirk::NoTransport, (0, 1)),
        (
            format!("{SESSION}Transport: nonsense\r\n"),
            Quirk::NoTransport,
            (0, 1),
        ),
        (ready("RTP/AVP/TCP;interleaved=6-7"), Quirk::OtherChannels, (6, 7)),
        (ready("RTP/AVP;interleaved=6"), Quirk::OtherChannels, (6, 7)),
    ] {
        let mut script = Script::new("rtsp://h/cam");
        script.described("", SDP);
        let outcome = script.set_up(0, Offer::Interleaved, &fields);
        let Outcome::SetUp { transport, .. } = outcome else {
            panic!("{fields}: {outcome:?}")
        };
        assert_eq!(transport.lower, LowerTransport::Tcp);
        assert_eq!(quirks(&script), [quirk], "{fields}");
        assert_eq!(script.client.channels(0), Some(channels));
        let mut strict = strict("rtsp://h/cam");
        strict.described("", SDP);
        let outcome = strict.set_up(0, Offer::Interleaved, &fields);
        assert!(
            matches!(outcome, Outcome::Failed(Failure::Unreadable(_))),
            "{fields}"
        );
    }
    // Without any channel named, and without /TCP, it is what was asked for.
    let mut plain = Script::new("rtsp://h/cam");
    plain.described("", SDP);
    assert!(matches!(
        plain.set_up(0, Offer::Interleaved, &ready("RTP/AVP")),
        Outcome::SetUp { .. }
    ));
    assert_eq!((plain.client.channels(0), quirks(&plain)), (Some((0, 1)), vec![]));
    // Another kind of transport is none that anybody waits for.
    for other in [
        "RTP/AVP;unicast;client_port=5000-5001;server_port=1-2",
        "RTP/AVP;multicast;destination=224.2.0.1;port=4000;client_port=1",
    ] {
        let mut script = Script::new("rtsp://h/cam");
        script.described("", SDP);
        assert!(
            matches!(
                script.set_up(0, Offer::Interleaved, &ready(other)),
                Outcome::Failed(_)
            ),
            "{other}"
        );
    }
    let mut group = Script::new("rtsp://h/cam");
    group.described("", SDP);
    let outcome = group.set_up(
        0,
        Offer::Multicast,
        &ready("RTP/AVP;multicast;destination=224.2.0.1;port=4000-4001;ttl=4"),
    );
    let Outcome::SetUp { transport, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (transport.delivery(), transport.port.unwrap().rtp),
        (Delivery::Multicast, 4000)
    );
    // Two streams on one channel cannot be told apart.
    let mut twice = Script::new("rtsp://h/cam");
    twice.described("", SDP);
    twice.set_up(0, Offer::Interleaved, &ready(asked));
    assert!(matches!(
        twice.set_up(1, Offer::Interleaved, &ready(asked)),
        Outcome::Failed(Failure::Unreadable(_))
    ));
}

#[test]
fn answers_without_a_number_or_with_another_session() {
    let mut script = Script::new("rtsp://h/cam");
    let id = script.client.options(script.now);
    assert_eq!(script.sent().method, Method::Options);
    script.hear("RTSP/1.0 200 OK\r\n\r\n");
    assert_eq!(script.outcome(id), Outcome::Options(vec![]));
    assert_eq!(quirks(&script), [Quirk::NoCSeq]);
    script.described("", SDP);
    script.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
    let other = "Session: 99\r\nTransport: RTP/AVP/TCP;interleaved=2-3\r\n";
    assert!(matches!(
        script.set_up(1, Offer::Interleaved, other),
        Outcome::SetUp { .. }
    ));
    assert_eq!(quirks(&script), [Quirk::NoCSeq, Quirk::OtherSession]);
    script.client.teardown(script.now);
    assert_eq!(script.sent().headers.field("Session"), Some("12345678"));
    let mut strict = strict("rtsp://h/cam");
    strict.client.options(strict.now);
    strict.drain();
    strict.hear("RTSP/1.0 200 OK\r\n\r\n");
    assert!(strict.events.is_empty());
}

#[test]
fn rtp_info_that_names_no_stream_counts_in_its_order() {
    let info = "RTP-Info: url=rtsp://192.168.1.7/x/1;seq=1;rtptime=5,url=rtsp://192.168.1.7/x/2;seq=2\r\n";
    for (mut script, expected) in [
        (Script::new("rtsp://h/cam"), vec![0, 1]),
        (strict("rtsp://h/cam"), vec![]),
    ] {
        script.described("", SDP);
        script.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
        let id = script.client.play(script.now, None, None, None, None);
        script.answer("200 OK", info, "");
        let Outcome::Playing(playing) = script.outcome(id) else {
            panic!()
        };
        let tracks: Vec<_> = playing
            .begins
            .iter()
            .map(|(track, _): &(usize, RtpInfo)| *track)
            .collect();
        assert_eq!(tracks, expected);
    }
}

#[test]
fn a_keepalive_without_an_answer_is_none_while_media_comes() {
    for (tolerated, hears, closes) in [(true, true, false), (true, false, true), (false, true, true)] {
        let mut script = match tolerated {
            true => Script::new("rtsp://h/cam"),
            false => strict("rtsp://h/cam"),
        };
        script.described("", SDP);
        script.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
        script.pass(10);
        assert_eq!(script.sent().method, Method::Options);
        script.pass(5);
        if hears {
            script.hear(b"$\0\0\x01x");
        }
        script.pass(5);
        assert_eq!(script.client.is_closed(), closes, "{tolerated} {hears}");
        let is_done = script
            .events
            .iter()
            .any(|event| matches!(event, Event::Done { .. }));
        assert!(!is_done, "nobody has asked for it");
    }
}

#[test]
fn an_answer_with_another_number_is_that_of_the_oldest_request() {
    let mut script = Script::new("rtsp://h/cam");
    let first = script.client.options(script.now);
    let second = script.client.describe(script.now);
    script.sent();
    script.hear("RTSP/1.0 200 OK\r\nCSeq: 77\r\nPublic: PLAY\r\n\r\n");
    assert_eq!(script.outcome(first), Outcome::Options(vec![Method::Play]));
    script.sent();
    script.hear("RTSP/1.0 404 Not Found\r\nCSeq: 77\r\n\r\n");
    assert!(matches!(
        script.outcome(second),
        Outcome::Failed(Failure::Refused { .. })
    ));
    assert_eq!(quirks(&script), [Quirk::OtherCSeq]);
    // With nothing to be answered it is nobody's.
    script.hear("RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n");
    let mut strict = strict("rtsp://h/cam");
    strict.client.options(strict.now);
    strict.drain();
    strict.hear("RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n");
    assert!(strict.events.is_empty());
}

#[test]
fn a_late_answer_to_a_keepalive_is_none_to_what_was_asked_since() {
    let mut script = Script::new("rtsp://h/cam");
    script.described("", SDP);
    script.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
    script.pass(10);
    let keepalive = script.sent();
    script.pass(5);
    script.hear(b"$\0\0\x01x");
    script.pass(5);
    let play = script.client.play(script.now, None, None, None, None);
    let cseq = keepalive.headers.field("CSeq").unwrap().to_owned();
    script.drain();
    script.hear(format!("RTSP/1.0 454 Session Not Found\r\nCSeq: {cseq}\r\n\r\n"));
    // The next keepalive, and what waited for it.
    assert_eq!(script.answer("200 OK", "", "").method, Method::Options);
    assert_eq!(script.answer("200 OK", "", "").method, Method::Play);
    assert!(matches!(script.outcome(play), Outcome::Playing(_)));
    assert!(!quirks(&script).contains(&Quirk::OtherCSeq));
}

#[test]
fn stray_octets_between_messages_are_passed_over() {
    for stray in [&b"\0"[..], b"x", b"\0\xff}junk RT \r\n", b"\x00RTS"] {
        let mut script = Script::new("rtsp://h/cam");
        script.described("", SDP);
        script.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
        let id = script.client.play(script.now, None, None, None, None);
        let cseq = script.sent().headers.field("CSeq").unwrap().to_owned();
        let text = [
            b"$\0\0\x01a",
            stray,
            format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n").as_bytes(),
        ]
        .concat();
        for byte in &text {
            script.hear([*byte]);
        }
        assert!(matches!(script.outcome(id), Outcome::Playing(_)), "{stray:?}");
        assert_eq!(quirks(&script), [Quirk::StrayOctets], "{stray:?}");
        if stray != b"x" {
            script.hear([stray, b"$\0\0\x01b"].concat());
            assert!(matches!(script.events.last(), Some(Event::Media { data, .. }) if &data[..] == b"b"));
        }
    }
    let mut strict = strict("rtsp://h/cam");
    let id = strict.client.describe(strict.now);
    strict.drain();
    strict.hear("\0RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n");
    assert_eq!(strict.outcome(id), Outcome::Failed(Failure::Closed));
    // Nobody listens to nothing else for ever.
    let mut endless = Script::new("rtsp://h/cam");
    for _ in 0..limits::RTSP_HEADER_BYTES / 100 + 1 {
        endless.hear([0; 100]);
    }
    assert!(endless.client.is_closed());
}

#[test]
fn challenges_in_one_field_are_answered() {
    for field in [
        "Basic realm=\"cam\", Digest realm=\"cam\", nonce=\"abc\"",
        "Digest realm=\"cam\", nonce=\"abc\", Basic realm=\"cam\"",
        "Digest realm=\"cam\", nonce=\"abc\",",
    ] {
        let mut script = Script::new("rtsp://a:b@h/cam");
        script.client.describe(script.now);
        script.answer("401 Unauthorized", &format!("WWW-Authenticate: {field}\r\n"), "");
        let again = script.sent();
        let proof = again.headers.field("Authorization").unwrap_or_default();
        assert!(
            proof.starts_with("Digest ") && proof.contains("\"abc\""),
            "{field}: {proof}"
        );
    }
}
