//! Whole messages, as ENVELOPE and BODYSTRUCTURE are to show them.

use super::*;
use ringpost_base::{Rng, limits};
use ringpost_imap::structure::Content;

fn parse(message: &[u8]) -> Parsed {
    fuzz(message);
    let mut scanner = Scanner::new();
    scanner.push(message);
    let whole = Parsed::of(scanner);
    for size in [1, 2, 3, 7] {
        let mut scanner = Scanner::new();
        message.chunks(size).for_each(|piece| scanner.push(piece));
        assert_eq!(
            Parsed::of(scanner).structure,
            whole.structure,
            "in pieces of {size}"
        );
    }
    whole
}

fn text<'a>(message: &'a [u8], range: &std::ops::Range<u64>) -> &'a str {
    std::str::from_utf8(&message[range.start as usize..range.end as usize]).unwrap()
}

fn parts(part: &Part) -> &[Part] {
    match &part.content {
        Content::Multipart { parts, .. } => parts,
        other => panic!("no multipart: {other:?}"),
    }
}

fn kind(part: &Part) -> String {
    match &part.content {
        Content::Single { kind, subtype } => format!("{kind}/{subtype}"),
        Content::Multipart { subtype, .. } => format!("MULTIPART/{subtype}"),
        Content::Message { .. } => "MESSAGE/RFC822".to_owned(),
    }
}

const NESTED: &[u8] = b"From: a@b\r\nSubject: outer\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=\"one\"\r\n\r\n\
preamble\r\n--one\r\n\r\nplain text\r\nof two lines\r\n\
--one\r\nContent-Type: multipart/alternative; boundary=two\r\n\r\n\
--two\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>\r\n\r\n--two--\r\nepilogue\r\n\
--one\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=m.eml\r\n\r\n\
Subject: inner\r\nTo: c@d\r\n\r\nhello\r\n--one  \r\n\
Content-Type: audio/wav; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\nUklGRg==\r\n--one--\r\nthe end\r\n";

// Guards pitfall IMAP 8: nested parts and message/rfc822.
#[test]
fn every_part_has_its_own_bytes() {
    let parsed = parse(NESTED);
    let whole = &parsed.structure;
    assert_eq!(parsed.envelope.subject.as_deref(), Some("outer"));
    assert!(text(NESTED, &whole.header).ends_with("boundary=\"one\"\r\n\r\n"));
    assert_eq!(whole.body.end, NESTED.len() as u64);
    let [plain, alternative, message, audio] = parts(whole) else {
        panic!("{whole:#?}")
    };
    assert_eq!(
        (kind(plain).as_str(), text(NESTED, &plain.body)),
        ("TEXT/PLAIN", "plain text\r\nof two lines")
    );
    assert_eq!((plain.lines, text(NESTED, &plain.header)), (2, "\r\n"));
    assert_eq!(plain.parameters, [("CHARSET".to_owned(), "US-ASCII".to_owned())]);
    assert_eq!(kind(alternative), "MULTIPART/ALTERNATIVE");
    let [html] = parts(alternative) else {
        panic!("{alternative:#?}")
    };
    assert_eq!(
        (text(NESTED, &html.body), html.lines, html.encoding.as_str()),
        ("<p>\r\n", 1, "QUOTED-PRINTABLE")
    );
    assert!(text(NESTED, &alternative.body).ends_with("--two--\r\nepilogue"));
    let Content::Message {
        envelope,
        message: inner,
    } = &message.content
    else {
        panic!("{message:#?}")
    };
    assert_eq!(envelope.subject.as_deref(), Some("inner"));
    assert_eq!(
        text(NESTED, &message.body),
        "Subject: inner\r\nTo: c@d\r\n\r\nhello"
    );
    assert_eq!(text(NESTED, &inner.body), "hello");
    assert_eq!((message.lines, inner.lines), (4, 1));
    assert_eq!(
        message.disposition.as_ref().map(|d| d.kind.as_str()),
        Some("attachment")
    );
    assert_eq!(
        (kind(audio).as_str(), text(NESTED, &audio.body)),
        ("AUDIO/WAV", "UklGRg==")
    );
}

#[test]
fn the_bodies_are_those_that_another_parser_finds() {
    use mail_parser::MimeHeaders;
    let other = mail_parser::MessageParser::default().parse(NESTED).unwrap();
    let part = |n: usize| &other.parts[n];
    let whole = parse(NESTED).structure;
    let [plain, alternative, _, audio] = parts(&whole) else {
        panic!()
    };
    let body =
        |p: &mail_parser::MessagePart<'_>| u64::from(p.raw_body_offset())..u64::from(p.raw_end_offset());
    assert_eq!(plain.body, body(part(1)));
    assert_eq!(parts(alternative)[0].body, body(part(3)));
    let last = other
        .parts
        .iter()
        .find(|p| p.is_content_type("audio", "wav"))
        .unwrap();
    assert_eq!(audio.body, body(last));
}

#[test]
fn a_message_without_body_or_header_has_empty_ones() {
    for (message, header) in [
        (&b""[..], 0),
        (b"Subject: x", 10),
        (b"Subject: x\r\n", 12),
        (b"\r\n", 2),
    ] {
        let structure = parse(message).structure;
        assert_eq!(
            (structure.header, structure.body.clone()),
            (0..header, header..message.len() as u64)
        );
        assert_eq!((structure.lines, structure.body.is_empty()), (0, true));
    }
    let body = parse(b"\r\nhi").structure;
    assert_eq!((body.body, body.lines), (2..4, 1));
}

#[test]
fn delimiters_that_come_too_early_or_never_break_nothing() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let never = parse(format!("{head}no part at all\r\n").as_bytes()).structure;
    // A multipart has a part (RFC 3501 §9), so this is none: it is shown as a text.
    assert_eq!(kind(&never), "TEXT/PLAIN");
    assert_eq!(never.parameters, [("CHARSET".to_owned(), "US-ASCII".to_owned())]);
    let without = parse(b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n").structure;
    assert_eq!((kind(&without).as_str(), without.lines), ("TEXT/PLAIN", 4));
    let message = format!(
        "{head}--b\r\n--b\r\nContent-Type: message/rfc822\r\n--b\r\nX: y\r\n\r\n\r\n--b--\r\n--b\r\nz"
    );
    let parsed = parse(message.as_bytes()).structure;
    let [empty, message_part, blank] = parts(&parsed) else {
        panic!("{parsed:#?}")
    };
    assert!(empty.header.is_empty() && empty.body.is_empty());
    assert_eq!(
        (kind(message_part).as_str(), message_part.body.is_empty()),
        ("MESSAGE/RFC822", true)
    );
    assert_eq!(text(message.as_bytes(), &blank.body), "");
    let open = format!("{head}--b\r\n\r\nnever closed");
    assert_eq!(
        text(open.as_bytes(), &parts(&parse(open.as_bytes()).structure)[0].body),
        "never closed"
    );
}

#[test]
fn bare_lf_ends_lines_too() {
    let message = b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\ntwo\n--b--\n";
    let structure = parse(message).structure;
    let [part] = parts(&structure) else { panic!() };
    assert_eq!((text(message, &part.body), part.lines), ("one\ntwo", 2));
}

#[test]
fn a_digest_holds_messages_unless_it_says_otherwise() {
    let message =
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: in\r\n\r\nx\r\n--b--\r\n";
    let structure = parse(message).structure;
    assert_eq!(kind(&parts(&structure)[0]), "MESSAGE/RFC822");
}

// Guards pitfall IMAP 6: nesting of MIME parts.
#[test]
fn nesting_and_number_of_parts_are_bounded() {
    let mut deep = String::new();
    for i in 0..100 {
        deep.push_str(&format!(
            "Content-Type: multipart/mixed; boundary=b{i}x\r\n\r\n--b{i}x\r\n"
        ));
    }
    let mut depth = 0;
    let structure = parse(deep.as_bytes()).structure;
    let mut part = &structure;
    while let Content::Multipart { parts, .. } = &part.content {
        depth += 1;
        part = &parts[0];
    }
    assert_eq!(
        (depth, kind(part).as_str()),
        (limits::MIME_NESTING - 1, "APPLICATION/OCTET-STREAM")
    );

    let wide = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\n\r\nx\r\n".repeat(1000)
    );
    let structure = parse(wide.as_bytes()).structure;
    let all = parts(&structure);
    assert_eq!(all.len(), limits::MIME_PARTS - 1);
    assert!(
        text(wide.as_bytes(), &all[all.len() - 1].body).contains("--b\r\n"),
        "the rest is part of the last"
    );

    let rfc822 = "Content-Type: message/rfc822\r\n\r\n".repeat(100);
    assert_eq!(parse(rfc822.as_bytes()).structure.body.end, rfc822.len() as u64);
}

#[test]
fn headers_without_end_are_read_up_to_a_limit() {
    let mut message = b"Subject: here\r\n".to_vec();
    message.extend_from_slice(&b"X: y\r\n".repeat(limits::MESSAGE_HEADER_BYTES / 4));
    message.extend_from_slice(b"From: too@late\r\n\r\nbody");
    let parsed = parse(&message);
    assert_eq!(parsed.envelope.subject.as_deref(), Some("here"));
    assert!(parsed.envelope.from.is_empty());
    assert_eq!(text(&message, &parsed.structure.body), "body");
}

#[test]
fn message_context_says_what_it_is_and_date_when() {
    let parsed = parse(b"Message-Context: Voice-Message\r\nDate: Sun, 9 Sep 2001 03:46:40 +0200\r\nReceived: a\r\nReceived: b\r\n\r\n");
    assert_eq!(parsed.kind, MessageKind::Voice);
    assert_eq!(parsed.sent, Some(UnixTime::from_secs(1_000_000_000)));
    assert_eq!(parsed.hops, 2);
    assert_eq!(
        parse(b"Message-Context: fax-message\r\n\r\n").kind,
        MessageKind::Mail
    );
    assert_eq!(parse(b"Date: never\r\n\r\n").sent, None);
}

#[test]
fn messages_put_together_at_random_keep_the_invariants() {
    const PARTS: &[&str] = &[
        "\r\n",
        "\n",
        "\r",
        "\r\n\r\n",
        "--a",
        "--b",
        "--a--",
        "--b--",
        "--a\r\n",
        "--b\r\n",
        "text",
        " ",
        "Subject: x\r\n",
        "Content-Type: multipart/mixed; boundary=a\r\n",
        "Content-Type: multipart/digest; boundary=\"b\"\r\n",
        "Content-Type: message/rfc822\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "To: A <a@b>, g: c@d;\r\n",
        "Content-Disposition: inline; filename*=utf-8''%41\r\n",
        "From: (\"<\r\n",
    ];
    let mut rng = Rng::from_number(11);
    for _ in 0..20_000 {
        let mut message = Vec::new();
        for _ in 0..rng.below(20) {
            message.extend_from_slice(PARTS[rng.below(PARTS.len() as u64) as usize].as_bytes());
        }
        fuzz(&message);
    }
}

#[test]
fn what_costs_more_to_describe_than_to_send_is_bounded_over_all_parts() {
    let mut message = format!("To: {}\r\n", "a,".repeat(50_000));
    message += "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for _ in 0..100 {
        message += "--b\r\nContent-Type: text/plain; a=1\r\n\r\n";
        let many: String = (0..100).map(|n| format!(";p{n}=1")).collect();
        message += &format!(
            "--b\r\nContent-Type: a/b{many}\r\nContent-Language: {}\r\n\r\n",
            "de,".repeat(100)
        );
    }
    message += "--b--\r\n";
    let mut scanner = Scanner::new();
    scanner.push(message.as_bytes());
    let whole = Parsed::of(scanner);
    assert_eq!(whole.envelope.to.len(), limits::MESSAGE_ADDRESSES);
    // Many recipients leave the parts to be seen.
    assert_eq!(parts(&whole.structure).len(), 200);
    let described = |part: &Part| part.parameters.len() + part.language.len();
    let described =
        described(&whole.structure) + parts(&whole.structure).iter().map(described).sum::<usize>();
    assert_eq!(described, limits::MESSAGE_PARAMETERS);
}

// Guards pitfall IMAP 8: NIL against "".
#[test]
fn a_field_without_a_value_is_told_from_one_that_is_not_there() {
    let empty = parse(b"Subject:\r\nDate: \r\nMessage-ID:\r\n \r\nFrom:\r\nSubject: second\r\n\r\n").envelope;
    let nothing = Some(String::new());
    assert_eq!((&empty.subject, &empty.date), (&nothing, &nothing));
    assert_eq!((&empty.message_id, &empty.in_reply_to), (&nothing, &None));
    assert_eq!(empty.from, []);
}
