//! As much of RTSP as a load generator needs.

use ringpost_perf::Result;

/// What comes on a connection.
pub(crate) enum Item<'a> {
    /// A packet within the connection.
    Packet { channel: u8, data: &'a [u8] },
    /// A response, or what else has a header.
    Message { head: &'a str, body: &'a [u8] },
}

/// The first thing in `bytes` and how many octets it takes; nothing while it has not come whole.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<(Item<'_>, usize)>> {
    if bytes.first() == Some(&b'$') {
        let Some(length) = bytes.get(2..4) else {
            return Ok(None);
        };
        let end = 4 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        let item = bytes.get(4..end).map(|data| Item::Packet {
            channel: bytes[1],
            data,
        });
        return Ok(item.map(|item| (item, end)));
    }
    let Some(blank) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..blank])?;
    let length: usize = field(head, "Content-Length").map_or(Ok(0), str::parse)?;
    let end = blank + 4 + length;
    let body = bytes.get(blank + 4..end);
    Ok(body.map(|body| (Item::Message { head, body }, end)))
}

/// A field of a header.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The session that a response belongs to.
pub(crate) fn session(head: &str) -> Result<String> {
    let session = field(head, "Session").and_then(|value| value.split(';').next());
    Ok(session.ok_or("a response without a session")?.to_owned())
}

/// Says what went wrong when a response is no 200.
pub(crate) fn expect_ok(what: &str, head: &str) -> Result<()> {
    match head.starts_with("RTSP/1.0 200 ") {
        true => Ok(()),
        false => Err(format!("{what} was answered with {head:?}").into()),
    }
}

/// A request; `more` are fields, each with its line's end.
pub(crate) fn request(method: &str, url: &str, cseq: u32, more: &str, body: &str) -> String {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    format!(
        "{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\nUser-Agent: ringpost-perf\r\n{more}{length}\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_responses_are_told_apart_and_waited_for() {
        let bytes =
            b"$\x00\x00\x03abcRTSP/1.0 200 OK\r\nSession: 7;timeout=60\r\nContent-Length: 2\r\n\r\nhi$";
        let Some((Item::Packet { channel: 0, data }, 7)) = first(bytes).unwrap() else {
            panic!("a packet")
        };
        assert_eq!(data, b"abc");
        let Some((Item::Message { head, body }, used)) = first(&bytes[7..]).unwrap() else {
            panic!("a response")
        };
        assert_eq!((session(head).unwrap().as_str(), body), ("7", &b"hi"[..]));
        expect_ok("it", head).unwrap();
        assert_eq!(7 + used, bytes.len() - 1);
        for end in [6, 30, bytes.len() - 2] {
            let from = if end < 7 { 0 } else { 7 };
            assert!(first(&bytes[from..end]).unwrap().is_none(), "{end}");
        }
    }
}
