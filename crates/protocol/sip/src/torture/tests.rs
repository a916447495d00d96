use super::*;
use crate::header::{HeaderName, MediaType};
use crate::{
    Contacts, Edit, Frame, Framer, Host, Malformed, Message, Method, NameAddr, Scheme, Status, Uri, Via,
};
use bytes::Bytes;
use std::net::SocketAddr;

fn source() -> SocketAddr {
    "198.51.100.7:5070".parse().unwrap()
}

fn message(name: &str) -> Message {
    let row = rows().find(|r| r.name == name).unwrap();
    Message::parse(Bytes::from_static(row.bytes)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn fate_of(error: &crate::ParseError) -> Fate {
    match error.status() {
        Some(status) => Fate::Refused(status.code()),
        None => Fate::Dropped,
    }
}

fn fate(row: &Row) -> Fate {
    if row.transport == Transport::Udp {
        return match Message::parse(Bytes::from_static(row.bytes)) {
            Ok(_) => Fate::Parsed,
            Err(error) => fate_of(&error),
        };
    }
    let mut framer = Framer::new(source());
    framer.push(row.bytes);
    match framer.poll() {
        Ok(Some(Frame::Message(_))) => Fate::Parsed,
        Ok(Some(Frame::Malformed(error))) => fate_of(&error),
        Ok(Some(Frame::Ping | Frame::Pong)) => panic!("{} begins with a line end", row.name),
        Ok(None) => Fate::Unfinished,
        Err(_) => Fate::Closed,
    }
}

#[test]
fn every_message_meets_the_fate_in_the_table() {
    let wrong: Vec<_> = rows()
        .filter(|row| fate(row) != row.parser)
        .map(|row| format!("{} on {:?}: {:?}", row.name, row.transport, fate(&row)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/torture.md");
    if std::env::var_os("RINGPOST_BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    assert!(
        written == page(),
        "docs/torture.md is out of date: set RINGPOST_BLESS=1 and run this test again"
    );
}

#[test]
fn every_message_of_the_archives_is_in_the_table() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_message = path.extension().is_some_and(|e| e == "dat");
        assert!(!is_message || TABLE.iter().any(|v| v.name == name), "{name}");
    }
}

#[test]
fn a_refusal_repeats_what_was_there_and_reads_as_a_response_where_it_can() {
    for row in rows().filter(|r| r.transport == Transport::Udp) {
        let Err(error) = Message::parse(Bytes::from_static(row.bytes)) else {
            continue;
        };
        let Fate::Refused(status) = row.parser else {
            assert!(error.response(source(), "t").is_none(), "{}", row.name);
            continue;
        };
        let response = error.response(source(), "t").unwrap();
        let text = String::from_utf8(response.to_vec()).unwrap();
        assert!(text.starts_with(&format!("SIP/2.0 {status} ")), "{text}");
        assert!(text.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nVia: "), "{text}");
        if [
            "ltgtruri",
            "lwsruri",
            "lwsstart",
            "trws",
            "escruri",
            "regbadct",
            "mismatch01",
            "clerr",
            "ncl",
        ]
        .contains(&row.name)
        {
            let response = Message::parse(response).unwrap_or_else(|e| panic!("{}: {e}", row.name));
            assert_eq!(response.status(), Status::new(status));
            assert_eq!(response.top_via().received(), Some(source().ip()), "{}", row.name);
            assert!(response.to_tag().is_some());
        }
    }
}

/// What a message says, without the ways it can be written.
fn content(m: &Message) -> (Vec<(String, String)>, Bytes) {
    let name = |h: &crate::Header<'_>| match h.name {
        HeaderName::Other => h.written.to_owned(),
        known => known.to_string(),
    };
    let squeeze = |v: &str| {
        v.split([' ', '\t', '\r', '\n'])
            .filter(|w| !w.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut headers: Vec<_> = m
        .headers()
        .filter(|h| h.name != HeaderName::ContentLength)
        .map(|h| (name(&h), squeeze(h.value)))
        .collect();
    headers.sort();
    (headers, m.body().clone())
}

fn reprinted<T: PartialEq + std::fmt::Debug>(
    printed: String,
    value: &T,
    parse: impl Fn(&str) -> Result<T, Malformed>,
    print: impl Fn(&T) -> String,
) {
    let again = parse(&printed).unwrap_or_else(|e| panic!("{printed:?}: {e}"));
    assert_eq!(print(&again), printed);
    assert_eq!(print(value), printed);
}

#[test]
fn printed_forms_parse_back_equal() {
    for row in rows().filter(|r| r.parser == Fate::Parsed && r.transport == Transport::Udp) {
        let m = message(row.name);
        let again = Edit::new(&m)
            .build()
            .unwrap_or_else(|e| panic!("{}: {e}", row.name));
        assert_eq!(content(&m), content(&again), "{}", row.name);
        assert_eq!(m.request_uri(), again.request_uri());
        assert_eq!((m.method(), m.cseq()), (again.method(), again.cseq()));
        assert_eq!(
            (m.status(), m.reason_phrase()),
            (again.status(), again.reason_phrase())
        );
        let third = Edit::new(&again).build().unwrap();
        assert_eq!(again.bytes(), third.bytes(), "{}: printing is stable", row.name);
        for address in [m.from(), m.to()] {
            reprinted(
                address.to_string(),
                address,
                |t| t.parse::<NameAddr>(),
                NameAddr::to_string,
            );
            reprinted(
                address.uri().to_string(),
                address.uri(),
                |t| t.parse::<Uri>(),
                Uri::to_string,
            );
            assert_eq!(address.detached().uri(), address.uri());
        }
        for via in m.vias() {
            let via = via.unwrap();
            reprinted(via.to_string(), &via, |t| t.parse::<Via>(), Via::to_string);
        }
    }
}

#[test]
fn wsinv_is_read_through_its_whitespace() {
    let m = message("wsinv");
    assert_eq!(
        m.request_uri().unwrap().as_str(),
        "sip:vivekg@chair-dnrc.example.com;unknownparam"
    );
    assert!(m.request_uri().unwrap().has_param("unknownparam"));
    assert_eq!((m.to().display(), m.to_tag()), (None, Some("1918181833n")));
    assert_eq!(
        (m.from().display().unwrap().as_ref(), m.from_tag()),
        ("J Rosenberg \\\"", Some("98asjd8"))
    );
    assert_eq!(
        (m.max_forwards(), m.cseq().number, m.method()),
        (Some(68), 9, &Method::Invite)
    );
    assert_eq!(m.header(HeaderName::Subject), Some(""));
    assert_eq!(
        m.header_named("newfangledheader").map(crate::unfold).unwrap(),
        "newfangled value continued newfangled value"
    );
    assert_eq!(m.header_named("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let vias: Vec<_> = m.vias().map(Result::unwrap).collect();
    let seen: Vec<_> = vias
        .iter()
        .map(|v| (v.transport(), v.host().to_string(), v.branch().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("UDP", "192.0.2.2".into(), "390skdjuw"),
            ("TCP", "spindle.example.com".into(), "z9hG4bK9ikj8"),
            ("UDP", "192.168.255.111".into(), "z9hG4bK30239"),
        ]
    );
    assert_eq!(
        (vias[0].transaction_branch(), vias[1].transaction_branch()),
        (None, Some("z9hG4bK9ikj8"))
    );
    let route = m.addresses(HeaderName::Route).next().unwrap().unwrap();
    assert!(route.uri().has_param("lr") && route.uri().has_param("unknown-no-value"));
    let contact = m.contact().unwrap();
    assert_eq!(
        (contact.display().unwrap().as_ref(), contact.q_thousandths()),
        ("Quoted string \"\"", 330)
    );
    assert_eq!(contact.params().value("newparam").unwrap(), "newvalue");
    assert_eq!(m.body().len(), 150);
}

#[test]
fn intmeth_keeps_every_character() {
    let m = message("intmeth");
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    assert_eq!(m.method(), &Method::Other(method.into()));
    let uri = m.request_uri().unwrap();
    assert_eq!(
        uri.user(),
        Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
    );
    assert_eq!(uri.password(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(uri.host(), Some(Host::Name("example.com")));
    assert_eq!(m.top_via().transaction_branch(), Some("z9hG4bK-.!%66*_+`'~"));
    assert_eq!(m.to().display().unwrap(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    assert_eq!(m.from().display().unwrap(), "token1~` token2'+_ token3*%!.-");
    assert_eq!(
        m.from().params().value("fromParam''~+*_!.-%").unwrap(),
        "работающий"
    );
    assert_eq!(m.from_tag(), Some("_token~1'+`*%!-."));
    assert_eq!(*m.call_id(), "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    assert_eq!((m.cseq().number, m.max_forwards()), (139122385, Some(255)));
    assert_eq!(
        m.header_named("extensionHeader-!.%*+_`'~"),
        Some("\u{feff}大停電")
    );
}

#[test]
fn escapes_are_decoded_once_and_only_where_they_are_escapes() {
    let m = message("esc01");
    assert_eq!(
        &*m.request_uri().unwrap().user_unescaped().unwrap(),
        b"sips:user@example.com"
    );
    assert!(m.to().uri().equivalent(&"sip:user@example.com".parse().unwrap()));
    assert_eq!(&*m.from().uri().user_unescaped().unwrap(), b"I have spaces");
    let contact = m.contact().unwrap();
    assert!(contact.uri().has_param("lr"));
    assert_eq!(contact.uri().param("name").unwrap(), "value%41");

    let m = message("escnull");
    assert_eq!(&*m.to().uri().user_unescaped().unwrap(), b"null-\0-null");
    let Ok(Contacts::List(contacts)) = m.contacts() else {
        panic!("contacts")
    };
    assert_eq!(contacts.len(), 2);
    assert!(!contacts[0].uri().equivalent(contacts[1].uri()));

    let m = message("esc02");
    assert_eq!(m.method().as_str(), "RE%47IST%45R");
    assert_eq!(m.to().display().unwrap(), "%Z%45");
    let Ok(Contacts::List(contacts)) = m.contacts() else {
        panic!("contacts")
    };
    assert_eq!(
        contacts
            .iter()
            .map(|c| c.uri().user().unwrap())
            .collect::<Vec<_>>(),
        ["alias1", "alias3"]
    );
    assert_eq!(
        m.header_named("C%6Fntact"),
        Some("<sip:alias2@host2.example.com>")
    );
}

#[test]
fn names_long_values_and_users_are_cut_at_the_right_place() {
    assert_eq!(message("lwsdisp").from().display().unwrap(), "caller");
    let m = message("longreq");
    assert_eq!(m.vias().map(Result::unwrap).count(), 34);
    assert_eq!(m.to().uri().port(), Some(6000));
    assert_eq!(m.from_tag().unwrap().len(), 2 + 150 + 3);
    assert_eq!(
        m.vias().last().unwrap().unwrap().received(),
        Some("192.0.2.5".parse().unwrap())
    );
    let m = message("semiuri");
    assert_eq!(
        &*m.request_uri().unwrap().user_unescaped().unwrap(),
        b"user;par=u@example.net"
    );
    assert_eq!(m.request_uri().unwrap().params().count(), 0);
    let accepted: Vec<_> = m
        .values(HeaderName::Accept)
        .map(|v| MediaType::parse(v).unwrap().subtype)
        .collect();
    assert_eq!(
        accepted,
        ["sdp", "pkcs7-mime", "mixed", "signed", "sip", "sipfrag"]
    );
}

#[test]
fn bodies_end_where_content_length_says() {
    let m = message("dblreq");
    assert_eq!((m.method(), m.body().len()), (&Method::Register, 0));
    assert!(m.bytes().ends_with(b"Content-Length: 0\r\n\r\n"));
    let mut framer = Framer::new(source());
    framer.push(rows().find(|r| r.name == "dblreq").unwrap().bytes);
    let Ok(Some(Frame::Message(first))) = framer.poll() else {
        panic!("a REGISTER")
    };
    assert_eq!(first.method(), &Method::Register);
    let Ok(Some(Frame::Pong)) = framer.poll() else {
        panic!("a line end")
    };
    let Ok(Some(Frame::Message(second))) = framer.poll() else {
        panic!("an INVITE")
    };
    assert_eq!((second.method(), second.body().len()), (&Method::Invite, 150));
    let m = message("mpart01");
    assert_eq!(m.body().len(), 553);
    let kind = m.content_type().unwrap().unwrap();
    assert!(kind.is("multipart", "mixed"));
    assert_eq!(kind.params.raw("boundary"), Some("7a9cbec02ceef655"));
    assert!(m.body().contains(&0));
    assert_eq!(m.date().unwrap().unwrap().as_secs(), 1_129_351_496);
    assert_eq!(message("inv2543").body().len(), 105);
}

#[test]
fn via_transports_and_reasons_may_be_anything() {
    let m = message("transports");
    let transports: Vec<_> = m.vias().map(|v| v.unwrap().transport().to_owned()).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
    let m = message("unreason");
    assert_eq!(m.status(), Some(Status::OK));
    assert_eq!(
        m.reason_phrase(),
        Some("= 2**3 * 5**2 но сто девяносто девять - простое")
    );
    let m = message("noreason");
    assert_eq!((m.status(), m.reason_phrase()), (Some(Status::TRYING), Some("")));
    assert_eq!(
        message("bcast")
            .vias()
            .nth(1)
            .unwrap()
            .unwrap()
            .host()
            .to_string(),
        "255.255.255.255"
    );
}

#[test]
fn what_only_an_application_can_judge_is_read() {
    assert!(message("baddate").date().unwrap().is_err());
    assert_eq!(message("badbranch").top_via().branch(), Some("z9hG4bK"));
    assert_eq!(message("badbranch").top_via().transaction_branch(), None);
    let uri = |name| message(name).request_uri().unwrap().clone();
    assert_eq!(
        (uri("unkscm").scheme(), uri("unkscm").scheme_name()),
        (Scheme::Other, "nobodyKnowsThisScheme")
    );
    assert_eq!(uri("novelsc").scheme_name(), "soap.beep");
    let m = message("unksm2");
    assert_eq!(
        (m.to().uri().as_str(), m.from().uri().as_str()),
        ("isbn:2983792873", "http://www.example.com")
    );
    assert_eq!(m.contact().unwrap().uri().as_str(), "name:John_Smith");
    let m = message("bext01");
    assert!(m.lists(HeaderName::Require, "nothingSupportsThisEither"));
    assert!(m.lists(HeaderName::ProxyRequire, "norDoAnyProxiesSupportThis"));
    assert!(
        message("invut")
            .content_type()
            .unwrap()
            .unwrap()
            .is("application", "unknownformat")
    );
    assert_eq!(
        message("regaut01").header(HeaderName::Authorization),
        Some("NoOneKnowsThisScheme opaque-data=here")
    );
    assert_eq!(message("zeromf").max_forwards(), Some(0));
    assert!(!message("sdp01").accepts("application", "sdp"));
    assert!(message("invut").accepts("application", "sdp"));
    let m = message("inv2543");
    assert_eq!(
        (m.from_tag(), m.top_via().branch(), m.max_forwards()),
        (None, None, None)
    );
    assert_eq!(m.to().params().raw("user"), Some("phone"));
}

#[test]
fn a_parameter_belongs_to_the_header_or_to_the_uri_by_the_brackets() {
    let contact = |name| message(name).contact().unwrap();
    assert!(
        contact("cparam01").params().has("unknownparam")
            && !contact("cparam01").uri().has_param("unknownparam")
    );
    assert!(
        !contact("cparam02").params().has("unknownparam")
            && contact("cparam02").uri().has_param("unknownparam")
    );
    let with_header = contact("regescrt");
    assert_eq!(
        with_header.uri().headers().collect::<Vec<_>>(),
        [("Route", "%3Csip:sip.example.com%3E")]
    );
}

#[test]
fn ipv6_is_read_wherever_it_stands() {
    let host = |name| {
        message(name)
            .request_uri()
            .unwrap()
            .host()
            .unwrap()
            .ip()
            .unwrap()
            .to_string()
    };
    let port = |name| message(name).request_uri().unwrap().port();
    assert_eq!(
        (host("ipv6-good"), port("ipv6-good")),
        ("2001:db8::10".into(), None)
    );
    assert_eq!(
        (host("port-ambiguous"), port("port-ambiguous")),
        ("2001:db8::10:5070".into(), None)
    );
    assert_eq!(
        (host("port-unambiguous"), port("port-unambiguous")),
        ("2001:db8::10".into(), Some(5070))
    );
    assert_eq!(host("ipv6-bug-abnf-3-colons"), host("ipv6-correct-abnf-2-colons"));
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        assert_eq!(
            message(name).top_via().received().unwrap().to_string(),
            "2001:db8::9:255"
        );
    }
    let m = message("mult-ip-in-header");
    assert_eq!(m.top_via().sent_by().to_string(), "[2001:db8::9:1]:6050");
    assert_eq!(
        m.vias().last().unwrap().unwrap().received(),
        Some("192.0.2.200".parse().unwrap())
    );
    let m = message("ipv4-mapped-ipv6");
    assert_eq!(m.top_via().sent_by().to_string(), "[::ffff:192.0.2.10]:19823");
    assert_eq!(
        m.contact().unwrap().uri().host().unwrap().to_string(),
        "[::ffff:192.0.2.2]"
    );
}
