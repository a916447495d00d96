use super::*;
use proptest::prelude::*;

fn read_in(stream: &[u8], size: usize, reading: Reading) -> Vec<Item> {
    let (mut reader, mut items) = (Reader::new(reading), Vec::new());
    for piece in stream.chunks(size.max(1)) {
        reader.push(piece);
        while let Some(item) = reader.next_item() {
            items.push(item);
        }
    }
    items
}

fn read(stream: &[u8]) -> Vec<Item> {
    read_in(stream, usize::MAX, Reading::Strict)
}

fn error_of(stream: &[u8]) -> (ReadError, Option<u32>) {
    match &read(stream)[..] {
        [Item::Refused { error, cseq }] => (*error, *cseq),
        other => panic!("{other:?}"),
    }
}

const STREAM: &[u8] = b"\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\0\x03abc\
    ANNOUNCE rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\n$\0\0\x01$\0\0\0\
    RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n\r\n\r\n$\x02\0\0RTSP/1.0 461 \r\n\r\n";

// Guards pitfall RTSP 5: packets stand between messages, and what looks like one inside a body is none.
#[test]
fn messages_and_packets_come_out_however_they_arrive() {
    let whole = read(STREAM);
    let kinds: Vec<_> = whole
        .iter()
        .map(|item| match item {
            Item::Request(r) => format!("{} {}", r.method, r.body.len()),
            Item::Response(r) => r.status.code().to_string(),
            Item::Interleaved { channel, data } => format!("${channel} {}", data.len()),
            Item::Refused { .. } => "refused".into(),
        })
        .collect();
    assert_eq!(
        kinds,
        ["OPTIONS 0", "$1 3", "ANNOUNCE 4", "$0 0", "200", "$2 0", "461"]
    );
    for size in 1..40 {
        assert_eq!(read_in(STREAM, size, Reading::Strict), whole, "{size}");
    }
}

#[test]
fn a_line_ends_with_any_of_the_three() {
    for end in ["\r\n", "\n", "\r"] {
        let text = format!("PLAY rtsp://h/a RTSP/1.0{end}CSeq: 3{end}Session: 4711{end}{end}");
        for size in [1, 2, 1000] {
            let items = read_in(text.as_bytes(), size, Reading::Strict);
            let [Item::Request(request)] = &items[..] else {
                panic!("{end:?}: {items:?}")
            };
            assert_eq!(request.headers.cseq(), Some(Ok(3)));
            assert_eq!(request.headers.len(), 2);
        }
    }
}

#[test]
fn a_field_may_be_folded_and_its_name_in_any_case() {
    let items =
        read(b"SETUP rtsp://h/a RTSP/1.0\r\ncseq :3\r\nTransport: RTP/AVP;\r\n\tunicast,\r\n  x\r\n\r\n");
    let [Item::Request(request)] = &items[..] else {
        panic!("{items:?}")
    };
    assert_eq!(request.headers.field("TRANSPORT"), Some("RTP/AVP; unicast, x"));
    assert_eq!(request.headers.cseq(), Some(Ok(3)));
}

#[test]
fn what_is_refused_and_whether_the_stream_goes_on() {
    for (text, error, cseq) in [
        ("\x16\x03\x01", ReadError::NotRtsp, None),
        ("GET / HTTP/1.0\r\nCSeq: 1\r\n\r\n", ReadError::NotRtsp, Some(1)),
        (
            "PLAY rtsp://h/a\r\nCSeq: 9\r\n\r\n",
            ReadError::StartLine,
            Some(9),
        ),
        (
            "PLAY a b RTSP/1.0\r\nCSeq: 9\r\n\r\n",
            ReadError::StartLine,
            Some(9),
        ),
        (
            "PL@Y a RTSP/1.0\r\nCSeq: 9\r\n\r\n",
            ReadError::StartLine,
            Some(9),
        ),
        (
            "PLAY \u{fc} RTSP/1.0\r\nCSeq: 9\r\n\r\n",
            ReadError::StartLine,
            Some(9),
        ),
        ("PLAY a RTSP/2.0\r\nCSeq: 9\r\n\r\n", ReadError::Version, Some(9)),
        ("RTSP/1.0 20 OK\r\nCSeq: 9\r\n\r\n", ReadError::StartLine, Some(9)),
        (
            "RTSP/1.0 999 OK\r\nCSeq: 9\r\n\r\n",
            ReadError::StartLine,
            Some(9),
        ),
        (
            "PLAY a RTSP/1.0\r\nCSeq: 9\r\nnonsense\r\n\r\n",
            ReadError::Field,
            Some(9),
        ),
        (
            "PLAY a RTSP/1.0\r\nCSeq: 9\r\na b: c\r\n\r\n",
            ReadError::Field,
            Some(9),
        ),
        (
            "PLAY a RTSP/1.0\r\nCSeq: 9\r\nA: c\0d\r\n\r\n",
            ReadError::Field,
            Some(9),
        ),
        (
            "PLAY a RTSP/1.0\r\n A: c\r\nCSeq: 9\r\n\r\n",
            ReadError::Field,
            Some(9),
        ),
        (
            "PLAY a RTSP/1.0\r\nCSeq: 9\r\nContent-Length: -1\r\n\r\n",
            ReadError::Length,
            Some(9),
        ),
        (
            "PLAY a RTSP/1.0\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n",
            ReadError::Length,
            None,
        ),
        (
            "PLAY a RTSP/1.0\r\nContent-Length: 65537\r\n\r\n",
            ReadError::BodyTooLong,
            None,
        ),
        (
            "PLAY a RTSP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
            ReadError::Length,
            None,
        ),
    ] {
        assert_eq!(error_of(text.as_bytes()), (error, cseq), "{text:?}");
        let both = [text.as_bytes(), b"OPTIONS * RTSP/1.0\r\nCSeq: 5\r\n\r\n"].concat();
        assert_eq!(
            read(&both).len(),
            if error.is_fatal() { 1 } else { 2 },
            "{text:?}"
        );
    }
}

#[test]
fn what_is_endless_is_cut_off() {
    let endless = |start: &[u8], unit: &[u8]| {
        let mut reader = Reader::new(Reading::Strict);
        reader.push(start);
        for _ in 0..100_000 {
            reader.push(unit);
            if let Some(item) = reader.next_item() {
                assert!(reader.is_empty());
                reader.push(unit);
                assert!(reader.is_empty() && reader.next_item().is_none());
                return item;
            }
            assert!(reader.len() <= limits::RTSP_HEADER_BYTES + limits::RTSP_LINE_BYTES);
        }
        panic!("taken without end");
    };
    let refused = |error| Item::Refused { error, cseq: None };
    assert_eq!(
        endless(b"PLAY ", b"xxxxxxxx"),
        refused(ReadError::RequestLineTooLong)
    );
    assert_eq!(
        endless(b"PLAY a RTSP/1.0\r\nA: ", b"xxxx"),
        refused(ReadError::LineTooLong)
    );
    assert_eq!(
        endless(b"PLAY a RTSP/1.0\r\n", b"A: x\r\n"),
        refused(ReadError::HeaderTooLong)
    );
    let mut many = String::from("PLAY a RTSP/1.0\r\nCSeq: 4\r\n");
    for _ in 0..limits::RTSP_HEADERS {
        many.push_str("A:b\r\n");
    }
    many.push_str("\r\n");
    assert_eq!(error_of(many.as_bytes()), (ReadError::TooManyFields, Some(4)));
    let mut reader = Reader::new(Reading::Strict);
    for _ in 0..10_000 {
        reader.push(b"\r\n\r\n");
        assert!(reader.next_item().is_none() && reader.is_empty());
    }
}

// Guards pitfall RTSP 8.
#[test]
fn a_client_reads_what_cameras_send() {
    let text =
        "\r\n\r\nrtsp/1.0 200\r\ncseq:2\r\ngarbage\r\nContent_Base:x\0y\r\nContent-Lenght: 2\r\n\r\nab";
    let items = read_in(text.as_bytes(), 7, Reading::Tolerant);
    let [Item::Response(response)] = &items[..] else {
        panic!("{items:?}")
    };
    assert_eq!((response.status, &response.reason[..]), (Status::OK, "OK"));
    assert_eq!(&response.body[..], b"ab");
    assert_eq!(response.headers.field("Content-Base"), Some("x y"));
    for (wrong, _) in MISSPELT {
        assert!(!MISSPELT.iter().any(|(_, right)| right == wrong));
    }
    assert!(matches!(
        &read(text.as_bytes())[..],
        [
            Item::Refused {
                error: ReadError::Field,
                ..
            },
            Item::Refused { .. }
        ] | [Item::Refused { .. }]
    ));
}

#[test]
fn a_reason_is_words_without_control_characters() {
    let items = read(b"RTSP/1.0 200 \x1dNot \x07 so\x1dgood\x1d\r\n\r\n");
    let [Item::Response(response)] = &items[..] else {
        panic!("{items:?}")
    };
    assert_eq!(response.reason, "Not so good");
    assert_eq!(read(&response.to_bytes()), items);
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9-]{0,12}".prop_filter("no length of its own", |name| {
        !name.eq_ignore_ascii_case("Content-Length")
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(
        method in "[A-Z_]{1,14}",
        uri in "rtsp://[a-z]{1,8}/[!-~]{0,20}",
        code in 100u16..600,
        fields in proptest::collection::vec((token(), "[!-~]{0,6}[ -~]{0,20}[!-~]"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..60),
        size in 1usize..50,
    ) {
        let mut headers = Headers::new();
        for (name, value) in &fields {
            headers.push(name, value.as_str());
        }
        let mut request = Request::new(Method::parse(&method).unwrap(), uri);
        request.headers = headers.clone();
        request.body = body.clone().into();
        let mut response = Response::new(Status::new(code).unwrap());
        response.headers = headers;
        response.body = body.into();
        let mut stream = request.to_bytes().to_vec();
        stream.extend_from_slice(&crate::message::interleaved_head(9, 2));
        stream.extend_from_slice(b"$$");
        stream.extend_from_slice(&response.to_bytes());
        let mut items = read_in(&stream, size, Reading::Strict);
        for item in &mut items {
            match item {
                Item::Request(r) => r.headers.remove("Content-Length"),
                Item::Response(r) => r.headers.remove("Content-Length"),
                _ => {}
            }
        }
        let data = Bytes::from_static(b"$$");
        prop_assert_eq!(items, vec![
            Item::Request(request),
            Item::Interleaved { channel: 9, data },
            Item::Response(response),
        ]);
    }
}

#[test]
fn a_tolerant_reading_gives_up_once_when_no_message_comes() {
    let mut reader = Reader::new(Reading::Tolerant);
    let mut refused = 0;
    for _ in 0..3 {
        reader.push(&[b'('; limits::RTSP_HEADER_BYTES]);
        while let Some(item) = reader.next_item() {
            assert!(matches!(item, Item::Refused { .. }), "{item:?}");
            refused += 1;
            assert_eq!(refused, 1);
        }
    }
    assert_eq!((refused, reader.len()), (1, 0));
}
