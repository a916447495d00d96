//! Whatever can be read prints and reads back equal; whatever we offer can be answered.

use proptest::prelude::*;
use ringpost_sdp::{Codec, Direction, Negotiation, SessionDescription, Stream, fuzz};

fn line() -> impl Strategy<Value = String> {
    let attribute = prop_oneof![
        "a=[a-z-]{1,8}(:[ -~]{0,12})?",
        "a=rtpmap:[0-9]{1,3} [a-zA-Z0-9-]{1,8}/[0-9]{1,6}(/[0-9])?",
        "a=fmtp:[0-9]{1,3}[ ]{0,2}[a-z=;0-9-]{0,12}",
        "a=(max)?ptime:[0-9]{1,4}(\\.[0-9]{1,4})?",
        "a=(sendrecv|sendonly|recvonly|inactive|rtcp-mux|ice-lite)[ ]?",
        "a=rtcp:[0-9]{1,5}( IN IP4 [0-9.]{7})?",
        "a=ssrc:[0-9]{1,11} [a-z]{1,5}(:[ -~]{0,5})?",
        "a=candidate:[a-z0-9 ]{0,12} 1 udp 99 192.0.2.1 9 typ host( raddr 1 rport [0-9]{1,6})?( [a-z ]{1,9})?",
        "a=crypto:[0-9] [A-Z_]{1,5} inline:[a-z=|:0-9]{1,9}( [A-Z=]{1,4}){0,2}",
        "a=fingerprint:[a-zA-Z0-9-]{1,7} ([0-9a-fA-F]{2}:){0,4}[0-9a-fA-F]{2}",
        "a=(mid|group|setup|ice-ufrag|ice-pwd|ice-options):[a-z ]{0,12}",
    ];
    prop_oneof![
        4 => attribute,
        2 => "m=(audio|video|x-y) [0-9]{1,5}(/[0-9])? (RTP/AVP|udp|RTP/SAVPF)( [0-9]{1,3}){0,5}",
        1 => "c=IN IP[46] (192\\.0\\.2\\.[0-9]|224\\.2\\.1\\.1/[0-9]{1,3}(/[0-9])?|::[0-9a-f]|ff0e::[0-9](/[0-9])?|[a-z.]{1,9})",
        1 => "b=[A-Z]{1,4}:[0-9]{1,6}",
        1 => "t=[0-9]{1,10} [0-9]{1,10}",
        1 => "r=[0-9]{1,5}[dhms]? [0-9]{1,5}[dhms]?( [0-9]{1,5}[dhms]?){1,3}",
        1 => "z=[0-9]{1,10} -?[0-9]{1,4}h?",
        1 => "[siuepk]=[ -~é]{0,20}",
    ]
}

fn codec() -> impl Strategy<Value = Codec> {
    let names = prop::sample::select(vec!["PCMU", "PCMA", "opus", "G729", "telephone-event", "CN"]);
    (
        0u8..128,
        names,
        prop::sample::select(vec![8000u32, 16_000, 48_000]),
        1u8..3,
    )
        .prop_map(|(number, name, rate, channels)| Codec {
            channels,
            ..Codec::new(number, name, rate)
        })
}

fn direction() -> impl Strategy<Value = Direction> {
    (any::<bool>(), any::<bool>()).prop_map(|(sends, receives)| Direction::new(sends, receives))
}

fn stream() -> impl Strategy<Value = Stream> {
    let codecs = prop::collection::vec(codec(), 0..6);
    (1024u16..60_000, codecs, direction(), any::<bool>()).prop_map(|(port, mut codecs, direction, mux)| {
        codecs.push(Codec::pcmu());
        let local = ([127, 0, 0, 1], port).into();
        Stream {
            rtcp_mux: mux,
            ..Stream::audio(local, codecs).directed(direction)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn what_can_be_read_reads_back_equal(lines in prop::collection::vec(line(), 0..12)) {
        let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n{}\r\n", lines.join("\r\n"));
        fuzz::target(text.as_bytes());
    }

    #[test]
    fn lines_that_are_right_are_read(lines in prop::collection::vec("a=[a-z-]{1,8}(:[ -~]{0,12})?", 0..6)) {
        let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{}\r\n", lines.join("\r\n"));
        let sdp = SessionDescription::parse(text.as_bytes()).expect("valid");
        prop_assert_eq!(sdp.attributes.len(), lines.len());
    }

    /// Both ends agree on every stream: who sends, with which number, and where to.
    #[test]
    fn both_ends_agree(offered in prop::collection::vec(stream(), 1..4), ours in prop::collection::vec(stream(), 1..4)) {
        let (mut caller, mut callee) = (Negotiation::new(1), Negotiation::new(2));
        let offer = caller.offer(&offered).expect("nothing is open");
        let offer = SessionDescription::parse(offer.to_string().as_bytes()).expect("we print what we read");
        let (answer, at_callee) = callee.answer(&offer, &ours).expect("PCMU is in common");
        let answer = SessionDescription::parse(answer.to_string().as_bytes()).expect("we print what we read");
        let at_caller = caller.handle_answer(&answer).expect("a right answer");
        prop_assert_eq!(at_caller.len(), at_callee.len());
        for (a, b) in at_caller.iter().zip(&at_callee) {
            prop_assert_eq!(a.is_some(), b.is_some());
            let (Some(a), Some(b)) = (a, b) else { continue };
            prop_assert_eq!(a.direction, b.direction.reversed());
            prop_assert_eq!(a.rtcp_mux, b.rtcp_mux);
            prop_assert_eq!(a.codecs.len(), b.codecs.len());
            for (at_a, at_b) in a.codecs.iter().zip(&b.codecs) {
                prop_assert!(at_a.codec.same_encoding(&at_b.codec));
                prop_assert_eq!(at_a.send_payload_type, at_b.receive_payload_type);
                prop_assert_eq!(at_b.send_payload_type, at_a.receive_payload_type);
            }
        }
    }
}
