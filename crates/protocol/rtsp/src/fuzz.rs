//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::header::{Range, RtpInfo, SessionHeader, Transport, accepts, parse_decimal};
use crate::{Headers, Item, MountPath, Reader, Reading, Url, control};
use ringpost_base::limits;

/// A stream, whole and in pieces: the same comes out, within the bounds, and what is read can be printed and read again.
pub fn reader(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let reading = match choice & 1 {
        0 => Reading::Strict,
        _ => Reading::Tolerant,
    };
    let whole = read(data, usize::MAX, reading);
    // A CR at the end of a piece may be a line's end, or half of one: such streams are the only ones that may differ.
    if !data.contains(&b'\r') || !has_lone_cr(data) {
        let pieces = read(data, usize::from(choice >> 1) + 1, reading);
        assert_eq!(whole, pieces);
    }
    for item in whole {
        let printed = match &item {
            Item::Request(request) => request.to_bytes(),
            Item::Response(response) => response.to_bytes(),
            Item::Interleaved { .. } | Item::Refused { .. } => continue,
        };
        let again = read(&printed, usize::MAX, Reading::Strict);
        assert_eq!(again.len(), 1, "one message is one message: {item:?}");
        assert_eq!(
            without_length(again.into_iter().next()),
            without_length(Some(item))
        );
    }
}

fn has_lone_cr(data: &[u8]) -> bool {
    data.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n') || data.ends_with(b"\r")
}

fn without_length(item: Option<Item>) -> Option<Item> {
    let strip = |headers: &mut Headers| headers.remove("Content-Length");
    item.map(|mut item| {
        match &mut item {
            Item::Request(request) => strip(&mut request.headers),
            Item::Response(response) => strip(&mut response.headers),
            _ => {}
        }
        item
    })
}

fn read(data: &[u8], size: usize, reading: Reading) -> Vec<Item> {
    let (mut reader, mut items) = (Reader::new(reading), Vec::new());
    for piece in data.chunks(size) {
        reader.push(piece);
        while let Some(item) = reader.next_item() {
            if let Item::Request(request) = &item {
                assert!(request.body.len() <= limits::RTSP_BODY_BYTES);
                assert!(request.headers.len() <= limits::RTSP_HEADERS);
            }
            items.push(item);
        }
        let held = reader.len();
        assert!(held <= limits::RTSP_HEADER_BYTES + limits::RTSP_BODY_BYTES + piece.len());
    }
    items
}

/// The values of header fields, URLs and descriptions: what is read can be printed and read again as the same.
pub fn values(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = parse_decimal(text);
    let _ = accepts(text.split(','), "application/sdp");
    if let Ok(range) = Range::parse(text) {
        assert_eq!(Range::parse(&range.to_string()), Ok(range));
    }
    if let Ok(session) = SessionHeader::parse(text) {
        assert_eq!(SessionHeader::parse(&session.to_string()), Ok(session));
    }
    for transport in Transport::parse_all(text).unwrap_or_default() {
        let again = Transport::parse(&transport.to_string()).expect("what we print is a transport");
        assert_eq!(
            (again.lower, again.delivery()),
            (transport.lower, transport.delivery())
        );
        assert_eq!(again.interleaved, transport.interleaved);
        assert_eq!(again.ssrc, transport.ssrc);
    }
    for info in RtpInfo::parse_all(text).unwrap_or_default() {
        let _ = RtpInfo::parse_all(&info.to_string());
    }
    if let Ok(path) = MountPath::parse(text) {
        assert!(path.as_str().len() <= limits::MOUNT_NAME_BYTES);
        assert!(path.parts().count() <= limits::MOUNT_NAME_PARTS);
        assert!(
            path.parts()
                .all(|part| !part.is_empty() && !part.starts_with('.'))
        );
        assert_eq!(path.as_str().parse(), Ok(path.clone()));
        assert_eq!(MountPath::parse(path.as_str()), Ok(path));
    }
    if let Ok(url) = Url::parse(text) {
        let _ = url.credentials();
        assert_eq!(Url::parse(&url.to_string()), Ok(url.without_credentials()));
    }
    let base = Url::parse("rtsp://h/a?b").expect("a URL");
    for control in control::Controls::of_sdp(data).tracks.into_iter().flatten() {
        if let Some(url) = control::resolve(&base, &control) {
            assert!(Url::parse(&url.to_string()).is_ok());
            let _ = control::target(&url);
        }
    }
}

/// A server's connection, with an owner that answers as the bytes say: every drain ends, each request that is framed has one
/// response, nothing is said behind the close, and in the end no session is left.
pub fn server(data: &[u8]) {
    crate::fuzz_machines::server(data);
}

/// A client, with a server that says what the bytes say: every command is done once, and nothing behind the close.
pub fn client(data: &[u8]) {
    crate::fuzz_machines::client(data);
}

/// The beginning of a connection and the body of a tunnel's POST: the same comes out in pieces as whole, within the bounds.
pub fn tunnel(data: &[u8]) {
    use crate::tunnel::{Base64Stream, Opened, Opening, Posted, Reply, encode};
    let Some((&size, data)) = data.split_first() else {
        return;
    };
    let size = usize::from(size) + 1;
    let mut opening = Opening::new();
    for piece in data.chunks(size) {
        match opening.handle_input(piece) {
            None => {}
            Some(Opened::Get { cookie } | Opened::Post { cookie, .. }) => {
                assert!(!cookie.is_empty() && cookie.bytes().all(|b| b.is_ascii_graphic()));
                break;
            }
            Some(Opened::Rtsp(_)) => break,
            Some(Opened::Refused(bytes)) => {
                assert!(bytes.starts_with(b"HTTP/1.0 ") && bytes.ends_with(b"\r\n\r\n"));
                break;
            }
        }
    }
    let mut reply = Reply::new();
    let answer = data.chunks(size).find_map(|piece| reply.handle_input(piece));
    if let Some(Ok(first)) = answer {
        assert!(data.starts_with(b"HTTP/1.") && first.len() < size);
    }
    let decode = |size: usize, text: &[u8]| {
        let (mut stream, mut out) = (Base64Stream::new(), Vec::new());
        let result = text
            .chunks(size)
            .try_for_each(|piece| stream.push(piece, &mut out));
        (result, out)
    };
    let (whole, pieces) = (decode(usize::MAX, data), decode(size, data));
    assert_eq!(whole, pieces);
    assert!(whole.1.len() <= data.len() * 3 / 4 + 3);
    let (mut posted, mut out) = (Posted::new(), Vec::new());
    for post in data.chunks(size) {
        posted.handle_post();
        let (first, rest) = post.split_at(size.min(post.len()) / 2);
        for piece in [first, rest] {
            let _ = posted.push(piece, &mut out);
        }
    }
    assert!(out.len() <= data.len() * 3 / 2 + 3);
    let messages: String = data.chunks(size).map(encode).collect();
    assert_eq!(decode(size, messages.as_bytes()), (Ok(()), data.to_vec()));
}
