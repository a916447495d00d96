use super::*;
use crate::header::BRANCH_COOKIE;

const REGISTER: &str = "REGISTER sip:example.com SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9hG4bK1\r\n\
v: SIP/2.0/TCP first.example.com;branch=z9hG4bK0\r\n\
Max-Forwards: 70\r\n\
f: \"Alice\" <sip:alice@example.com>;tag=a1\r\n\
To: <sip:alice@example.com>\r\n\
i: abc@192.0.2.10\r\n\
CSeq: 1 REGISTER\r\n\
m: <sip:alice@192.0.2.10:5062>;expires=60, <sip:alice@192.0.2.11>;q=0.5\r\n\
Supported: path, outbound\r\n\
k: gruu\r\n\
X-Own: a\r\n b\r\n\
Content-Length: 4\r\n\
\r\n\
bodyrest";

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()))
}

fn register() -> Message {
    parse(REGISTER).unwrap()
}

#[test]
fn a_request_is_read_with_compact_names_lists_and_folds() {
    let m = register();
    assert_eq!(
        (m.is_request(), m.method(), m.status()),
        (true, &Method::Register, None)
    );
    assert_eq!(m.request_uri().unwrap().as_str(), "sip:example.com");
    assert_eq!(m.from().display().unwrap(), "Alice");
    assert_eq!((m.from_tag(), m.to_tag()), (Some("a1"), None));
    assert_eq!(*m.call_id(), "abc@192.0.2.10");
    assert_eq!(m.top_via().branch(), Some("z9hG4bK1"));
    assert_eq!(m.vias().filter_map(Result::ok).count(), 2);
    let Ok(Contacts::List(contacts)) = m.contacts() else {
        panic!("contacts")
    };
    assert_eq!(
        (contacts[0].expires_s(), contacts[1].q_thousandths()),
        (Some(60), 500)
    );
    assert!(m.lists(HeaderName::Supported, "GRUU") && m.lists(HeaderName::Supported, "outbound"));
    assert_eq!(m.header_named("x-own").map(unfold).unwrap(), "a b");
    assert_eq!(&m.body()[..], b"body");
    assert!(m.bytes().ends_with(b"\r\n\r\nbody"));
    assert_eq!(m.headers().count(), 12);
}

#[test]
fn a_response_takes_over_what_the_request_is_known_by() {
    let m = Message::parse_from(REGISTER.into(), "203.0.113.1:999".parse().unwrap()).unwrap();
    let bytes = Builder::response(&m, Status::OK, "srv")
        .header(HeaderName::Contact, "<sip:x>")
        .finish();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert_eq!(
        text,
        "SIP/2.0 200 OK\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1;received=203.0.113.1;rport=999\r\n\
         Via: SIP/2.0/TCP first.example.com;branch=z9hG4bK0\r\n\
         From: \"Alice\" <sip:alice@example.com>;tag=a1\r\n\
         To: <sip:alice@example.com>;tag=srv\r\n\
         Call-ID: abc@192.0.2.10\r\n\
         CSeq: 1 REGISTER\r\n\
         Contact: <sip:x>\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let response = Message::parse(bytes).unwrap();
    assert_eq!(
        (response.status(), response.method()),
        (Some(Status::OK), &Method::Register)
    );
    assert_eq!(response.reason_phrase(), Some("OK"));
    let trying = Builder::response(&m, Status::TRYING, "srv").build().unwrap();
    assert_eq!(trying.to_tag(), None);
}

#[test]
fn a_value_cannot_add_a_header() {
    let m = register();
    let evil = "x\r\nEvil: 1\r\n\r\nfolded\0";
    let r = Builder::response(&m, Status::OK, "t")
        .header(HeaderName::Subject, evil)
        .build()
        .unwrap();
    assert_eq!(r.header_named("Evil"), None);
    assert_eq!(r.header(HeaderName::Subject), Some("x Evil: 1 folded"));
}

#[test]
fn an_edit_keeps_what_it_does_not_name() {
    let m = register();
    let uri: Uri = "sip:bob@192.0.2.4".parse().unwrap();
    let e = Edit::new(&m)
        .request_uri(&uri)
        .stamp_via("203.0.113.1:999".parse().unwrap())
        .prepend(
            HeaderName::Via,
            format!("SIP/2.0/UDP here;branch={BRANCH_COOKIE}9"),
        )
        .set(HeaderName::MaxForwards, 69)
        .set(HeaderName::Subject, "new")
        .remove(HeaderName::Supported)
        .body("text/plain", b"hello")
        .build()
        .unwrap();
    assert_eq!(e.request_uri(), Some(&uri));
    let branches: Vec<_> = e
        .vias()
        .map(|v| v.unwrap().branch().unwrap().to_owned())
        .collect();
    assert_eq!(branches, ["z9hG4bK9", "z9hG4bK1", "z9hG4bK0"]);
    assert_eq!(e.vias().nth(1).unwrap().unwrap().rport(), Some(999));
    assert_eq!(
        (e.max_forwards(), e.has(HeaderName::Supported)),
        (Some(69), false)
    );
    assert_eq!(e.header(HeaderName::Subject), Some("new"));
    assert_eq!(e.header_named("X-Own"), Some("a b"));
    assert_eq!(&e.body()[..], b"hello");
    let same = Edit::new(&m).build().unwrap();
    assert_eq!(same.headers().count(), m.headers().count());
}

// Guards pitfall SIP 12: a name with odd bytes in it is an error and never a header.
#[test]
fn odd_bytes_in_a_header_name_refuse_the_request() {
    for bad in [
        "To\x01: <sip:x>",
        "T o: <sip:x>",
        "To\u{e9}: <sip:x>",
        ": x",
        "To",
        "To\0: x",
        "X: a\x01b",
        "X: a\nY: b",
        "X: a\rb",
    ] {
        let e = parse(&REGISTER.replace("X-Own: a", bad)).unwrap_err();
        assert_eq!(e.status(), Some(Status::BAD_REQUEST), "{bad:?}");
    }
}

#[test]
fn an_error_makes_a_response_of_what_was_there() {
    let source = "203.0.113.1:999".parse().unwrap();
    let e = parse(&REGISTER.replace("i: abc@192.0.2.10\r\n", "")).unwrap_err();
    let response = e.response(source, "srv").unwrap();
    assert_eq!(
        std::str::from_utf8(&response).unwrap(),
        "SIP/2.0 400 Bad Request (expected Call-ID)\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1;received=203.0.113.1;rport=999\r\n\
         Via: SIP/2.0/TCP first.example.com;branch=z9hG4bK0\r\n\
         From: \"Alice\" <sip:alice@example.com>;tag=a1\r\n\
         To: <sip:alice@example.com>;tag=srv\r\n\
         CSeq: 1 REGISTER\r\n\
         Content-Length: 0\r\n\r\n"
    );
    assert_eq!(e.reply_to(source), Some(source));
}

#[test]
fn an_ack_a_response_and_what_is_no_sip_are_dropped() {
    let ack = REGISTER.replace("REGISTER", "ACK").replace("To: <", "To: ");
    assert!(parse(&ack).unwrap_err().status().is_none());
    let response = REGISTER
        .replacen("REGISTER sip:example.com SIP/2.0", "SIP/2.0 200 OK", 1)
        .replace("To: <", "To: ");
    assert!(
        parse(&response)
            .unwrap_err()
            .response("1.2.3.4:5".parse().unwrap(), "t")
            .is_none()
    );
    for noise in [
        "",
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\0\0\0\0",
        "INVITE",
        "SIP/2.0 700 x\r\n\r\n",
    ] {
        let e = parse(noise).unwrap_err();
        assert!(e.status().is_none(), "{noise:?}: {e}");
    }
}

#[test]
fn a_body_shorter_than_promised_or_a_doubled_length_is_refused() {
    for length in [
        "Content-Length: 9",
        "Content-Length: -1",
        "Content-Length: 4\r\nl: 4",
        "Content-Length: 4x",
        "l:",
    ] {
        let e = parse(&REGISTER.replace("Content-Length: 4", length)).unwrap_err();
        assert_eq!(e.status(), Some(Status::BAD_REQUEST), "{length}");
    }
    let all = parse(&REGISTER.replace("Content-Length: 4\r\n", "")).unwrap();
    assert_eq!(&all.body()[..], b"bodyrest");
}

#[test]
fn an_empty_or_broken_top_via_is_refused_and_repeated() {
    for via in ["Via:", "Via: ,", "Via: SIP/2.0/UDP", "Via: SIP/2.0/UDP h;;"] {
        let e = parse(&REGISTER.replace("Via: SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9hG4bK1", via))
            .unwrap_err();
        let response = e.response("203.0.113.1:999".parse().unwrap(), "t").unwrap();
        assert!(response.starts_with(b"SIP/2.0 400 "), "{via}");
        assert!(response.windows(via.len()).any(|w| w == via.as_bytes()), "{via}");
    }
}

#[test]
fn a_tag_without_a_value_or_a_second_one_is_refused() {
    for tag in [";tag", ";tag;x=1", ";tag=a1;Tag=a2"] {
        let e = parse(&REGISTER.replace(";tag=a1", tag)).unwrap_err();
        assert_eq!(
            (e.expected, e.status()),
            ("one tag with a value", Some(Status::BAD_REQUEST)),
            "{tag}"
        );
    }
}

#[test]
fn a_header_over_the_limit_is_refused() {
    let many = "X: y\r\n".repeat(ringpost_base::limits::SIP_HEADERS);
    let e = parse(&REGISTER.replace("X-Own: a\r\n b\r\n", &many)).unwrap_err();
    assert_eq!(
        (e.expected, e.status()),
        ("a smaller header", Some(Status::BAD_REQUEST))
    );
    let long = format!("X: {}\r\n", "y".repeat(70_000));
    assert_eq!(
        parse(&REGISTER.replace("X-Own: a\r\n b\r\n", &long))
            .unwrap_err()
            .expected,
        "a smaller header"
    );
}
