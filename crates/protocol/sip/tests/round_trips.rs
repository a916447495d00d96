//! Whatever is built from valid parts prints, parses back, and says the same.

use bytes::Bytes;
use proptest::prelude::*;
use ringpost_sip::{
    Builder, Contacts, Edit, Frame, Framer, HeaderName, Host, Message, Method, NameAddr, Status, Uri, Via,
    quote, unfold, unquote,
};
use std::net::{IpAddr, SocketAddr};

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9]{0,8}(\\.[a-z0-9]{1,8}){0,2}\\.[a-z]{2,6}",
        any::<[u8; 4]>().prop_map(|ip| Host::Ip(IpAddr::from(ip)).to_string()),
        any::<[u8; 16]>().prop_map(|ip| Host::Ip(IpAddr::from(ip)).to_string()),
    ]
}

fn param() -> impl Strategy<Value = String> {
    prop_oneof![
        "x[a-z0-9]{1,6}",
        "y[a-z]{1,6}=[A-Za-z0-9.!~-]{1,9}",
        "z[a-z]{0,3}=%[0-9A-F]{2}"
    ]
}

fn uri() -> impl Strategy<Value = Uri> {
    let user = proptest::option::of("[a-zA-Z0-9*+&=$,;?/_.!~'()-]{1,12}(%[0-9A-Fa-f]{2}){0,2}");
    let params = proptest::collection::vec(param(), 0..4);
    (any::<bool>(), user, host(), any::<Option<u16>>(), params).prop_map(
        |(secure, user, host, port, params)| {
            let scheme = if secure { "sips" } else { "sip" };
            let user = user.map(|u| u + "@").unwrap_or_default();
            let port = port.map(|p| format!(":{p}")).unwrap_or_default();
            let params: String = params.iter().map(|p| format!(";{p}")).collect();
            format!("{scheme}:{user}{host}{port}{params}")
                .parse()
                .expect("valid parts make a valid URI")
        },
    )
}

fn address() -> impl Strategy<Value = NameAddr> {
    ("\\PC{0,12}", uri(), proptest::option::of("[a-z0-9]{1,10}")).prop_map(|(display, uri, tag)| {
        let address = NameAddr::new(&uri).with_display(&display);
        tag.map(|t| address.with_tag(&t)).unwrap_or(address)
    })
}

fn via() -> impl Strategy<Value = Via> {
    (
        "UDP|TCP|TLS|[A-Z]{2,5}",
        host(),
        any::<Option<u16>>(),
        "[A-Za-z0-9.]{1,20}",
        any::<bool>(),
    )
        .prop_map(|(transport, host, port, branch, rport)| {
            let port = port.map(|p| format!(":{p}")).unwrap_or_default();
            let rport = if rport { ";rport" } else { "" };
            let text = format!("SIP/2.0/{transport} {host}{port};branch=z9hG4bK{branch}{rport}");
            text.parse().expect("valid parts make a valid Via")
        })
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::Invite),
        Just(Method::Register),
        Just(Method::Bye),
        "[A-Z]{3,9}[a-z%]{1,2}".prop_map(|name| Method::Other(name.as_str().into())),
    ]
}

#[derive(Debug)]
struct Parts {
    method: Method,
    uri: Uri,
    vias: Vec<Via>,
    from: NameAddr,
    to: NameAddr,
    call_id: String,
    number: u32,
    contacts: Vec<NameAddr>,
    subject: String,
    body: Vec<u8>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let line = (method(), uri(), any::<u32>());
    let top = (
        proptest::collection::vec(via(), 1..4),
        address(),
        address(),
        "[A-Za-z0-9.-]{1,20}(@[a-z0-9.]{1,9})?",
    );
    let rest = (
        proptest::collection::vec(address(), 0..4),
        "[ -~а-я]{0,30}",
        proptest::collection::vec(any::<u8>(), 0..60),
    );
    (line, top, rest).prop_map(
        |((method, uri, number), (vias, from, to, call_id), (contacts, subject, body))| Parts {
            method,
            uri,
            vias,
            from,
            to,
            call_id,
            number,
            contacts,
            subject,
            body,
        },
    )
}

impl Parts {
    fn print(&self) -> Bytes {
        let mut b = Builder::request(&self.method, &self.uri);
        for via in &self.vias {
            b.header(HeaderName::Via, via);
        }
        b.header(HeaderName::From, &self.from)
            .header(HeaderName::To, &self.to);
        b.header(HeaderName::CallId, &self.call_id);
        b.header(HeaderName::CSeq, format_args!("{} {}", self.number, self.method));
        if !self.contacts.is_empty() {
            let all: Vec<_> = self.contacts.iter().map(ToString::to_string).collect();
            b.header(HeaderName::Contact, all.join(", "));
        }
        b.header(HeaderName::Subject, &self.subject);
        b.finish_with("application/octet-stream", &self.body)
    }

    fn check(&self, m: &Message) {
        assert_eq!((m.method(), m.request_uri()), (&self.method, Some(&self.uri)));
        assert_eq!(m.vias().map(Result::unwrap).collect::<Vec<_>>(), self.vias);
        assert_eq!((m.from(), m.to()), (&self.from, &self.to));
        assert_eq!(
            (m.call_id().as_str(), m.cseq().number),
            (self.call_id.as_str(), self.number)
        );
        assert_eq!(m.contacts(), Ok(Contacts::List(self.contacts.clone())));
        assert_eq!(
            m.header(HeaderName::Subject),
            Some(self.subject.trim_matches(' '))
        );
        assert_eq!(m.body(), &self.body);
    }
}

/// The same bytes as another implementation would write them: compact names, folds, odd case.
fn disguise(printed: &[u8]) -> Bytes {
    let end = printed
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("an empty line");
    let head = std::str::from_utf8(&printed[..end]).expect("a head is UTF-8");
    let mut lines = head.split("\r\n");
    let mut out = format!("{}\r\n", lines.next().expect("a start line"));
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        out += &match name {
            "Via" => format!("v  :\r\n\t{value}  \r\n"),
            "From" => format!("f:{value}\r\n"),
            "To" => format!("tO :  {value}\r\n \r\n"),
            "Contact" => format!("m:\r\n  {value}\r\n"),
            "CSeq" => format!("cSEQ: {}\r\n", value.replace(' ', "\r\n   \t")),
            "Content-Length" => format!("L: 000{value}\r\n"),
            _ => format!("{line}\r\n"),
        };
    }
    let mut out = out.into_bytes();
    out.extend_from_slice(&printed[end + 2..]);
    out.into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_reads_back_however_it_is_written(parts in parts()) {
        let printed = parts.print();
        parts.check(&Message::parse(printed.clone()).expect("what we print parses"));
        let disguised = Message::parse(disguise(&printed)).expect("another's print parses");
        parts.check(&disguised);
        parts.check(&Edit::new(&disguised).build().expect("a reprint parses"));
    }

    #[test]
    fn a_response_repeats_its_request(parts in parts(), code in 100u16..700, source in any::<([u8; 4], u16)>()) {
        let source = SocketAddr::from(source);
        let request = Message::parse_from(parts.print(), source).expect("what we print parses");
        let status = Status::new(code).expect("in range");
        let response = Builder::response(&request, status, "ours").build().expect("a response parses");
        prop_assert_eq!(response.status(), Some(status));
        prop_assert_eq!(response.from(), request.from());
        prop_assert_eq!(response.cseq(), request.cseq());
        prop_assert_eq!(response.top_via().branch(), request.top_via().branch());
        let rport = request.top_via().wants_rport().then_some(source.port());
        prop_assert_eq!(response.top_via().rport(), rport);
        let tag = request.to_tag().or((code != 100).then_some("ours"));
        prop_assert_eq!(response.to_tag(), tag);
    }

    #[test]
    fn a_stream_gives_the_same_messages_in_any_pieces(
        all in proptest::collection::vec(parts(), 1..4),
        cuts in proptest::collection::vec(1usize..200, 1..40),
    ) {
        let stream: Vec<u8> = all.iter().flat_map(|p| p.print()).collect();
        let mut framer = Framer::new(SocketAddr::from(([192, 0, 2, 1], 5060)));
        let (mut rest, mut seen, mut cuts) = (&stream[..], 0, cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*cuts.next().expect("a cycle")));
            framer.push(piece);
            rest = behind;
            while let Some(frame) = framer.poll().expect("well framed") {
                let Frame::Message(m) = frame else { panic!("{frame:?}") };
                all[seen].check(&m);
                seen += 1;
            }
        }
        prop_assert_eq!(seen, all.len());
        prop_assert!(!framer.is_inside_message());
    }

    #[test]
    fn equivalence_ignores_case_of_hosts_and_order_of_parameters(uri in uri()) {
        prop_assert!(uri.equivalent(&uri));
        let turned = match uri.as_str().split_once(';').filter(|_| !uri.user().is_some_and(|u| u.contains(';'))) {
            Some((front, params)) => {
                let mut params: Vec<_> = params.split(';').collect();
                params.reverse();
                format!("{front};{}", params.join(";"))
            }
            None => uri.to_string(),
        };
        let turned: Uri = turned.parse().expect("still a URI");
        let names = |u: &Uri| {
            let mut all: Vec<_> = u.params().map(|(n, _)| n.to_ascii_lowercase()).collect();
            all.sort();
            all.dedup();
            all.len()
        };
        // A parameter that stands twice has no order to turn.
        if names(&uri) == uri.params().count() {
            prop_assert!(uri.equivalent(&turned) && turned.equivalent(&uri));
        }
        prop_assert!(!uri.equivalent(&uri.with_param("transport", Some("tcp")).expect("a parameter")));
    }

    #[test]
    fn a_quoted_text_says_what_was_quoted(text in "\\PC*") {
        let quoted = quote(&text);
        prop_assert_eq!(unquote(&quoted), text.as_str());
        prop_assert_eq!(unfold(&text), text.as_str());
    }

    #[test]
    fn noise_is_never_a_message(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Message::parse(noise.into()).is_err());
    }
}
