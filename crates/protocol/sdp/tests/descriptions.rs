//! Reading and printing, by the RFCs' own examples and by what phones send.

use ringpost_sdp::{
    Address, Attribute, Direction, Family, MediaKind, ParseError, Quirk, RtpMap, SessionDescription, Setup,
};

fn parse(lines: &[&str]) -> SessionDescription {
    try_parse(lines).expect("a description")
}

fn try_parse(lines: &[&str]) -> Result<SessionDescription, ParseError> {
    let mut text = lines.join("\r\n");
    text.push_str("\r\n");
    SessionDescription::parse(text.as_bytes())
}

const MINIMAL: [&str; 4] = ["v=0", "o=- 1 2 IN IP4 192.0.2.1", "s=-", "t=0 0"];

fn with(lines: &[&str]) -> SessionDescription {
    parse(&[&MINIMAL, lines].concat())
}

#[test]
fn the_example_of_rfc_8866_section_5_is_read_and_printed_back() {
    let lines = [
        "v=0",
        "o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1",
        "s=Call to John Smith",
        "i=SDP Offer #1",
        "u=http://www.jdoe.example.com/home.html",
        "e=Jane Doe <jane@jdoe.example.com>",
        "p=+1 617 555-6011",
        "c=IN IP4 198.51.100.1",
        "t=0 0",
        "m=audio 49170 RTP/AVP 0",
        "m=audio 49180 RTP/AVP 0",
        "m=video 51372 RTP/AVP 99",
        "c=IN IP6 2001:db8::2",
        "a=rtpmap:99 h263-1998/90000",
    ];
    let sdp = parse(&lines);
    assert_eq!(sdp.to_string(), lines.map(|line| format!("{line}\r\n")).concat());
    assert_eq!(sdp.origin.username, "jdoe");
    assert_eq!(
        (sdp.origin.session_id, sdp.origin.version),
        (3_724_394_400, 3_724_394_405)
    );
    let video = &sdp.media[2];
    assert_eq!(video.kind, MediaKind::Video);
    assert_eq!(
        sdp.connection_of(video).and_then(|c| c.address.ip()),
        "2001:db8::2".parse().ok()
    );
    assert_eq!(
        sdp.connection_of(&sdp.media[0]).and_then(|c| c.address.ip()),
        "198.51.100.1".parse().ok()
    );
    let map = RtpMap {
        payload_type: 99,
        encoding: "h263-1998".into(),
        clock_rate_hz: 90_000,
        channels: 1,
    };
    assert_eq!(video.rtpmap(99), Some(&map));
}

#[test]
fn multicast_addresses_have_a_ttl_and_a_count_in_ipv4_and_a_count_in_ipv6() {
    let address = |line: &str| {
        let connection = with(&[line]).connection.expect("a connection");
        assert_eq!(format!("{line}\r\n"), connection.to_string());
        (connection.ttl, connection.count, connection.is_multicast())
    };
    assert_eq!(address("c=IN IP4 233.252.0.1/127"), (Some(127), 1, true));
    assert_eq!(address("c=IN IP4 233.252.0.1/127/3"), (Some(127), 3, true));
    assert_eq!(address("c=IN IP6 ff00::db8:0:101/3"), (None, 3, true));
    assert_eq!(address("c=IN IP6 2001:db8::1"), (None, 1, false));
}

#[test]
fn repeats_and_zones_are_read_with_units_and_printed_in_seconds() {
    let text = [
        "v=0",
        "o=- 1 2 IN IP4 192.0.2.1",
        "s=-",
        "t=3724394400 3724398000",
        "r=7d 1h 0 25h",
        "z=3724398000 -1h 3724484400 0",
        "t=3724484400 3724488000",
    ];
    let sdp = parse(&text);
    assert!(
        sdp.to_string()
            .contains("r=604800 3600 0 90000\r\nz=3724398000 -3600 3724484400 0\r\nt=3724484400")
    );
    // RFC 8866 §5.11: a zone without a repeat is an error.
    let error = try_parse(&[&MINIMAL[..], &["z=3724398000 -1h"]].concat()).expect_err("no repeat");
    assert_eq!((error.line, error.expected), (5, "r= before z="));
}

#[test]
fn every_typed_attribute_is_printed_as_it_was_written() {
    let lines = [
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=maxptime:2.5",
        "a=sendonly",
        "a=rtcp:53020 IN IP6 2001:db8::1",
        "a=rtcp:53020",
        "a=rtcp-mux",
        "a=ssrc:314159 cname:user@example.com",
        "a=ssrc:314159 previous-ssrc",
        "a=mid:audio",
        "a=group:BUNDLE audio video",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 FEC_ORDER=FEC_SRTP",
        "a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B",
        "a=setup:actpass",
        "a=ice-ufrag:8hhY",
        "a=ice-pwd:asd88fgpdd777uzjYhagZg",
        "a=ice-options:ice2 rtp+ecn",
        "a=ice-lite",
        "a=candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host",
        "a=candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998 generation 0",
    ];
    let sdp = with(&lines);
    for (line, attribute) in lines.iter().zip(&sdp.attributes) {
        assert!(!matches!(attribute, Attribute::Other { .. }), "{line}");
        assert_eq!(format!("a={attribute}"), *line);
    }
}

#[test]
fn what_is_not_interpreted_or_does_not_follow_its_grammar_is_kept_and_has_no_effect() {
    let lines = [
        "a=label:10",
        "a=recvonly:yes",
        "a=X-nat",
        "a=rtpmap:300 PCMU/8000",
        "a=rtpmap:96 x/0",
        "a=ptime:0",
        "a=ptime:fast",
        "a=fmtp:96",
        "a=rtcp:99999",
        "a=fingerprint:sha-1 4A:AD:Z9",
        "a=candidate:1 1 UDP 1 192.0.2.1 9 typ host raddr 192.0.2.1",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    ];
    let sdp = with(&lines);
    for (line, attribute) in lines.iter().zip(&sdp.attributes) {
        assert!(matches!(attribute, Attribute::Other { .. }), "{line}");
        assert_eq!(format!("a={attribute}"), *line);
    }
}

#[test]
fn ptime_has_a_fraction_and_is_rounded_to_milliseconds() {
    let sdp = with(&["m=audio 9 RTP/AVP 0", "a=ptime:2.5", "a=maxptime:40.4"]);
    assert_eq!(sdp.media[0].ptime_ms(), Some(3));
    assert_eq!(sdp.media[0].maxptime_ms(), Some(40));
}

#[test]
fn line_ends_and_the_order_of_lines_are_tolerated() {
    let text = "v=0\ns=call\no=- 1 1 IN IP4 192.0.2.1\na=sendonly\nt=0 0\n\nc=IN IP4 192.0.2.1\n\
                m=audio 4000 RTP/AVP 0\na=ptime:20\nb=AS:64\nc=IN IP4 192.0.2.2\r\n  \r\nb=AS:\n";
    let sdp = SessionDescription::parse(text.as_bytes()).expect("tolerated");
    let audio = &sdp.media[0];
    assert_eq!(audio.bandwidths.len(), 1, "what does not parse is left out");
    assert_eq!(
        sdp.connection_of(audio).and_then(|c| c.address.ip()),
        "192.0.2.2".parse().ok()
    );
    assert_eq!(
        sdp.direction_of(audio),
        Direction::SendOnly,
        "the session's direction counts for its media"
    );
    assert!(
        sdp.to_string()
            .starts_with("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=call\r\nc=")
    );
}

#[test]
fn an_odd_origin_or_a_missing_name_or_time_harms_nobody() {
    let sdp = parse(&[
        "v=0",
        "o=Front desk 99999999999999999999 -3 IN IP6 [2001:db8::9]",
        "s=",
    ]);
    assert_eq!(
        sdp.to_string(),
        "v=0\r\no=Front_desk 18446744073709551615 0 IN IP6 2001:db8::9\r\ns=-\r\nt=0 0\r\n"
    );
    let sdp = parse(&["v=0", "o=1 2 IN IP4 pc33.example.com"]);
    assert_eq!(sdp.origin.username, "-");
    let name = Address::Name {
        family: Family::Ip4,
        name: "pc33.example.com".into(),
    };
    assert_eq!(sdp.origin.address, name);
}

#[test]
fn latin_1_is_read_and_printed_as_utf_8() {
    let sdp = SessionDescription::parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=Caf\xe9\r\nt=0 0\r\n")
        .expect("read");
    assert_eq!(sdp.name, "Café");
    assert!(sdp.to_string().contains("s=Café\r\n"));
}

#[test]
fn formats_are_bounded_and_count_once() {
    let many = (0..200).map(|i| format!(" {}", i % 100)).collect::<String>();
    let sdp = with(&[&format!("m=audio 9 RTP/AVP{many}"), "m=video 0 RTP/AVP"]);
    assert_eq!(sdp.media[0].formats.len(), ringpost_base::limits::SDP_FORMATS);
    assert_eq!(sdp.media[0].formats[63], "63");
    assert_eq!(
        sdp.media[1].formats,
        ["0"],
        "a refused stream may forget its formats"
    );
}

#[test]
fn what_is_refused_says_where_and_what_was_expected() {
    let refused = |lines: &[&str]| {
        let error = try_parse(lines).expect_err("refused");
        (error.line, error.expected)
    };
    let after = |line: &str| refused(&[&MINIMAL[..], &[line]].concat());
    assert_eq!(refused(&["v=1"]), (1, "v=0"));
    assert_eq!(refused(&["o=- 1 2 IN IP4 192.0.2.1"]), (1, "v=0"));
    assert_eq!(refused(&["v=0", "s=-"]), (3, "an o= line"));
    assert_eq!(refused(&[""]), (2, "v=0"));
    assert_eq!(after("v=0"), (5, "one session description only"));
    assert_eq!(after("x=1"), (5, "a line letter of RFC 8866"));
    assert_eq!(after("nonsense"), (5, "a letter and ="));
    assert_eq!(after("c=IN IP4"), (5, "IN, IP4 or IP6, and an address"));
    assert_eq!(
        after("c=TN RFC2543 +1-201-406-4090"),
        (5, "IN, IP4 or IP6, and an address")
    );
    assert_eq!(after("m=audio 65536 RTP/AVP 0"), (5, "a port of at most 65535"));
    assert_eq!(after("m=audio 9 RTP/AVP"), (5, "at least one format"));
    assert_eq!(after("m=audio 9/0 RTP/AVP 0"), (5, "a number of ports"));
    let late = refused(&[&MINIMAL[..], &["m=audio 9 RTP/AVP 0", "t=0 0"]].concat());
    assert_eq!(late, (6, "a line of a media description: m, i, c, b, k or a"));
    let lines = vec!["m=audio 9 RTP/AVP 0"; 33];
    assert_eq!(
        refused(&[&MINIMAL[..], &lines].concat()),
        (37, "at most 32 media")
    );
    let long = format!("s={}", "x".repeat(70_000));
    assert_eq!(refused(&["v=0", &long]).1, "at most 64 KiB");
}

#[test]
fn a_printed_field_cannot_add_a_line() {
    let mut sdp = with(&[]);
    sdp.name = "call\r\nm=audio 1 RTP/AVP 0".into();
    sdp.attributes.push(Attribute::Mid("a\nb".into()));
    sdp.attributes.push(Attribute::Setup(Setup::Active));
    let printed = sdp.to_string();
    assert_eq!(printed.lines().count(), 6);
    assert!(
        SessionDescription::parse(printed.as_bytes())
            .expect("still valid")
            .media
            .is_empty()
    );
}

// Guards pitfall RTSP 8.
#[test]
fn what_devices_get_wrong_is_read_where_its_quirk_is_tolerated() {
    let medium = ["m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000"];
    for (lines, quirks) in [
        (vec!["s=-", "t=0 0"], vec![Quirk::NoVersion, Quirk::Origin]),
        (vec!["v=0", "s=-", "t=0 0"], vec![Quirk::Origin]),
        (vec!["v=0", "o=-", "s=-", "t=0 0"], vec![Quirk::Origin]),
        (vec!["v=0", "o=- 1 1 IN IP4", "t=0 0"], vec![Quirk::Origin]),
        (
            vec!["v=0", "o=- 1 1 IN IP4 h", "c=IN IP4", "t=0 0"],
            vec![Quirk::Connection],
        ),
        (
            vec!["v=0", "o=- 1 1 IN IP4 h", "c=0.0.0.0"],
            vec![Quirk::Connection],
        ),
        (
            vec!["v=0", "o=- 1 1 IN IP4 h", "t=now", "t=0 0"],
            vec![Quirk::Time],
        ),
        (vec!["v=0", "o=- 1 1 IN IP4 h", "r=x"], vec![Quirk::Time]),
        (
            vec!["v=0", "o=- 1 1 IN IP4 h", "x=1", "nonsense", "t = 0 0"],
            vec![Quirk::Line],
        ),
    ] {
        let text = [&lines[..], &medium].concat().join("\n");
        let (read, met) = SessionDescription::read(text.as_bytes(), &Quirk::ALL).expect("a description");
        assert_eq!(met, quirks, "{text}");
        assert_eq!((read.media.len(), read.times.len()), (1, 1), "{text}");
        assert_eq!(
            read.media[0].rtpmap(96).map(|map| map.clock_rate_hz),
            Some(90_000)
        );
        // Without one of them it is an error, as it is for the strict.
        for missing in quirks {
            let others: Vec<_> = Quirk::ALL.into_iter().filter(|quirk| *quirk != missing).collect();
            assert!(
                SessionDescription::read(text.as_bytes(), &others).is_err(),
                "{missing:?} {text}"
            );
        }
        assert!(SessionDescription::parse(text.as_bytes()).is_err(), "{text}");
    }
}

// Guards pitfall RTSP 8.
#[test]
fn a_medium_that_cannot_be_read_keeps_its_place() {
    let lines = [
        "v=0",
        "o=- 1 1 IN IP4 h",
        "s=-",
        "t=0 0",
        "m=video",
        "a=control:0",
        "m=audio 0 RTP/AVP 0",
        "a=control:1",
    ];
    let text = lines.join("\r\n");
    let (read, met) = SessionDescription::read(text.as_bytes(), &Quirk::ALL).expect("a description");
    assert_eq!(met, [Quirk::Media]);
    let kinds: Vec<_> = read.media.iter().map(|medium| medium.kind.name()).collect();
    assert_eq!(kinds, ["-", "audio"]);
    assert_eq!(read.media[0].attributes.len(), 1);
    assert_eq!(SessionDescription::parse(read.to_string().as_bytes()), Ok(read));
}

#[test]
fn what_nobody_could_mean_is_refused_with_all_tolerance() {
    for text in ["", "v=1\nm=audio 0 RTP/AVP 0", "v=0\nv=0\n"] {
        assert!(
            SessionDescription::read(text.as_bytes(), &Quirk::ALL).is_err(),
            "{text}"
        );
    }
    let many = "m=\n".repeat(33);
    assert!(SessionDescription::read(many.as_bytes(), &Quirk::ALL).is_err());
}
