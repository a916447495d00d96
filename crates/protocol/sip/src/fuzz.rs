//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::Transport;
use crate::header::{CSeq, Delta, Elements, MediaType, Params, RAck, TokenParams, parse_date};
use crate::locate::{Answer, Locate, LocateOutput, Naptr, Question, Srv};
use crate::{
    Builder, Edit, Frame, Framer, HeaderName, Message, NameAddr, Status, Text, Uri, Via, quote, unescape,
    unfold, unquote,
};
use bytes::Bytes;
use ringpost_base::{Rng, limits};
use std::net::SocketAddr;

fn source() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], 5070))
}

/// The transaction layer, with requests, responses, failures and time as the bytes say: it keeps to its limit, and
/// every transaction ends.
pub fn endpoint(data: &[u8]) {
    crate::fuzz_machines::endpoint(data);
}

/// Two user agents and the network between them, all as the bytes say: each session and subscription is told to be
/// over once and nothing behind that, and in the end nothing is left.
pub fn ua(data: &[u8]) {
    crate::fuzz_machines::ua(data);
}

/// A datagram: what is read can be read in every view, printed, and read again with the same content; what is refused
/// is answered with something whole.
pub fn message(data: &[u8]) {
    match Message::parse_from(Bytes::copy_from_slice(data), source()) {
        Ok(message) => {
            views(&message);
            reprint(&message);
            if message.is_request() {
                respond(&message);
            }
        }
        Err(error) => {
            assert!(error.offset <= data.len());
            let response = error.response(source(), "tag");
            assert_eq!(response.is_some(), error.status().is_some());
            let Some(response) = response else { return };
            assert!(response.starts_with(b"SIP/2.0 "));
            let ends = response.windows(4).filter(|w| w == b"\r\n\r\n").count();
            assert!(
                ends == 1 && response.ends_with(b"\r\n\r\n"),
                "one header and no body"
            );
        }
    }
}

fn views(message: &Message) {
    for header in message.headers() {
        let _ = message
            .header_named(header.written)
            .expect("a header that is there is found");
        let _ = message.text(header.name);
        let _ = message.values(header.name).map(str::len).sum::<usize>();
        let _ = (
            message.delta(header.name),
            message.token_params(header.name),
            message.number(header.name),
        );
        let _ = message.addresses(header.name).filter_map(Result::ok).count();
    }
    let vias: Vec<_> = message.vias().collect();
    assert_eq!(vias[0].as_ref(), Ok(message.top_via()));
    if message.is_request() {
        assert!(
            vias.iter().all(Result::is_ok),
            "a request's Vias are checked when it is read"
        );
        let _ = message.contacts();
    }
    let _ = (
        message.content_type(),
        message.accepts("a", "b"),
        message.expires_s(),
    );
    let _ = (message.rack(), message.date(), message.contact());
    assert!(message.bytes().ends_with(message.body()));
}

fn reprint(message: &Message) {
    let printed = Edit::new(message).finish();
    // Long names for compact ones can take a header over the limit.
    if printed.len() >= limits::SIP_HEADER_BYTES {
        return;
    }
    let again = Message::parse(printed).expect("what we print parses");
    assert_eq!(again.request_uri(), message.request_uri());
    assert_eq!(
        (again.status(), again.reason_phrase()),
        (message.status(), message.reason_phrase())
    );
    assert_eq!(
        (again.cseq(), again.call_id()),
        (message.cseq(), message.call_id())
    );
    assert_eq!(again.from().uri(), message.from().uri());
    assert_eq!(again.to().uri(), message.to().uri());
    assert_eq!(
        (again.from_tag(), again.to_tag()),
        (message.from_tag(), message.to_tag())
    );
    assert_eq!(again.body(), message.body());
    let names = |m: &Message| m.headers().map(|h| h.name).collect::<Vec<_>>();
    let others = |m| {
        names(m)
            .into_iter()
            .filter(|n| *n != HeaderName::ContentLength)
            .collect::<Vec<_>>()
    };
    assert_eq!(others(&again), others(message));
    assert_eq!(Edit::new(&again).finish(), again.bytes(), "printing is stable");
}

fn respond(message: &Message) {
    let response = Builder::response(message, Status::OK, "tag").finish();
    if response.len() >= limits::SIP_HEADER_BYTES {
        return;
    }
    let response = Message::parse(response).expect("a response of ours parses");
    assert_eq!(response.cseq(), message.cseq());
    assert_eq!(response.to_tag(), message.to_tag().or(Some("tag")));
    assert_eq!(response.from_tag(), message.from_tag());
    assert_eq!(response.top_via().branch(), message.top_via().branch());
    assert_eq!(response.vias().count(), message.vias().count());
    let sent_by = message.top_via().host().ip();
    assert!(response.top_via().received() == Some(source().ip()) || sent_by == Some(source().ip()));
}

/// A stream: the first byte picks the size of the pieces; the same frames come out as from one piece, and the framer
/// never holds more than its limit.
pub fn stream(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else {
        return;
    };
    let mut whole = Framer::new(source());
    whole.push(bytes);
    let expected = drain(&mut whole);
    let mut pieces = Framer::new(source());
    let mut seen = (Vec::new(), false);
    for piece in bytes.chunks(usize::from(step).max(1)) {
        pieces.push(piece);
        let (messages, failed) = drain(&mut pieces);
        seen.0.extend(messages);
        seen.1 |= failed;
    }
    assert_eq!(seen, expected);
}

/// What comes out of a framer, keepalives aside (whose halves are told apart by when they come), and whether it failed.
fn drain(framer: &mut Framer) -> (Vec<Result<Bytes, &'static str>>, bool) {
    let mut messages = Vec::new();
    loop {
        match framer.poll() {
            Ok(Some(Frame::Message(message))) => messages.push(Ok(message.bytes().clone())),
            Ok(Some(Frame::Malformed(error))) => messages.push(Err(error.expected)),
            Ok(Some(Frame::Ping | Frame::Pong)) => {}
            Ok(None) => return (messages, false),
            Err(_) => return (messages, true),
        }
    }
}

/// Single values: what is read prints as it was, parses back equal, and takes changes.
pub fn values(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let shared = Text::from(text);
    if let Ok(uri) = Uri::parse(shared.clone()) {
        check_uri(&uri);
    }
    if let Ok(address) = NameAddr::parse(shared.clone()) {
        check_uri(address.uri());
        let tagged = address.with_tag("a b").with_display("\"x\"\n").detached();
        assert_eq!(tagged.params().value("tag").as_deref(), Some("a b"));
        assert_eq!(tagged.display().as_deref(), Some("\"x\" "));
        assert_eq!(tagged.uri(), address.uri());
        assert_eq!(tagged.without_params().tag(), None);
    }
    if let Ok(via) = Via::parse(shared.clone()) {
        let stamped = via.stamped(source());
        assert_eq!(
            stamped.stamped(source()),
            stamped,
            "a second stamp changes nothing"
        );
        assert_eq!(
            (stamped.branch(), stamped.sent_by()),
            (via.branch(), via.sent_by())
        );
    }
    if let Ok(cseq) = CSeq::parse(&shared) {
        assert_eq!(CSeq::parse(&cseq.to_string().into()), Ok(cseq));
    }
    if let Ok(rack) = RAck::parse(&shared) {
        assert_eq!(RAck::parse(&rack.to_string().into()), Ok(rack));
    }
    let _ = (
        Delta::parse(text).is_ok(),
        MediaType::parse(text).is_ok(),
        TokenParams::parse(text).is_ok(),
    );
    let _ = (
        Params::parse(text).map(|p| p.iter().count()),
        parse_date(text).is_ok(),
    );
    let _ = (Elements::new(text).count(), unescape(text), unquote(text));
    assert!(!unfold(text).contains(['\r', '\n']));
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    assert_eq!(unquote(&quote(text)), plain);
}

fn check_uri(uri: &Uri) {
    assert_eq!(Uri::parse(uri.as_str().into()).as_ref(), Ok(uri));
    assert!(uri.equivalent(uri));
    let changed = uri.without_headers().without_param("transport");
    assert!(!changed.has_param("transport") && !changed.has_headers());
    if uri.is_sip() {
        let changed = uri
            .with_param("transport", Some("tcp"))
            .expect("a parameter of ours is one");
        assert_eq!(changed.param("transport").as_deref(), Some("tcp"));
        assert_eq!(
            (changed.user(), changed.host(), changed.port()),
            (uri.user(), uri.host(), uri.port())
        );
        assert!(uri.host().is_some());
    }
}

/// Finding a server: the first line is the URI, the rest makes up what the DNS says. It ends within its limits, and never
/// takes a SIPS URI off TLS.
pub fn locate(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data.split(|b| *b == b'\n').next().unwrap_or_default()) else {
        return;
    };
    let Ok(uri) = text.parse::<Uri>() else { return };
    let supported = [Transport::Udp, Transport::Tcp, Transport::Tls];
    let Ok(mut locate) = Locate::new(&uri, &supported, Rng::from_number(1)) else {
        return;
    };
    let mut dns = data[text.len()..].iter().copied();
    let (mut asked, mut targets) = (0, 0);
    loop {
        match locate.poll_output() {
            LocateOutput::End => break,
            LocateOutput::Target(target) => {
                targets += 1;
                assert!(uri.scheme() != crate::Scheme::Sips || target.transport == Transport::Tls);
            }
            LocateOutput::Ask(question) => {
                asked += 1;
                let answer = made_up(&question, &mut dns);
                locate.handle_answer(answer);
            }
        }
        assert!(asked <= limits::SIP_LOOKUPS && targets <= limits::SIP_TARGETS);
    }
}

fn made_up(question: &Question, dns: &mut impl Iterator<Item = u8>) -> Answer {
    let count = usize::from(dns.next().unwrap_or_default() % 40);
    let mut byte = || dns.next().unwrap_or_default();
    match question {
        Question::Naptr(_) => {
            let services = ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "SIPS+D2U", "E2U+sip", "sip"];
            let record = |_| Naptr {
                order: u16::from(byte()),
                preference: u16::from(byte()),
                flags: if byte() == 0 { "u" } else { "s" }.into(),
                services: services[usize::from(byte()) % services.len()].into(),
                replacement: format!("n{}.example.", byte()),
            };
            Answer::Naptr((0..count).map(record).collect())
        }
        Question::Srv(_) => {
            let record = |_| Srv {
                priority: u16::from(byte() % 3),
                weight: u16::from(byte()),
                port: u16::from(byte()),
                target: if byte() == 0 {
                    ".".into()
                } else {
                    format!("h{}.example", byte())
                },
            };
            Answer::Srv((0..count).map(record).collect())
        }
        Question::Addresses(_) => Answer::Addresses((0..count).map(|_| [192, 0, 2, byte()].into()).collect()),
    }
}
