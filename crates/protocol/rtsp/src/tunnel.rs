//! RTSP within HTTP, as QuickTime made it and players speak it: the server's bytes come as the endless body of a GET, the
//! client's go in base64 as the body of a POST on another connection, and both name themselves by an `x-sessioncookie`.
//!
//! On the server's side each new connection begins with an [`Opening`], which tells RTSP from the halves of a tunnel.
//! [`Tunnels`] brings the halves together; what POSTs bring goes through [`Posted`] into the machine of the GET's
//! connection, whose bytes leave as they are. On the client's side [`get`] and [`post`] open the halves, a [`Reply`] reads
//! what the GET is answered with, and [`encode`] makes of each message what the POST carries.

use crate::method;
use crate::server::Peer;
use crate::syntax::trim;
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;

/// The media type of both halves.
const MEDIA_TYPE: &str = "application/x-rtsp-tunnelled";
/// How long a half waits for its other.
const PATIENCE: Duration = Duration::from_secs(30);
/// A cookie is opaque; longer ones are refused.
const COOKIE_BYTES: usize = 128;

/// What a connection turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// RTSP itself: these are its first bytes.
    Rtsp(Bytes),
    /// The half that the server's bytes go to, once [`accepted`] is sent.
    Get {
        /// What the other half will name.
        cookie: String,
    },
    /// The half that the client's bytes come from. Nothing is sent on it.
    Post {
        /// What the other half has named.
        cookie: String,
        /// The first bytes of the body.
        body: Bytes,
    },
    /// HTTP for something else: send these bytes and close.
    Refused(Bytes),
}

/// The first bytes of a connection, until it is known what it is. At most [`limits::RTSP_TUNNEL_HEAD_BYTES`] are held.
#[derive(Debug, Default)]
pub struct Opening {
    held: Vec<u8>,
}

impl Opening {
    /// Nothing came yet.
    pub fn new() -> Self {
        Opening::default()
    }

    /// Bytes came; `Some` as soon as it is known what it is. It must not be fed after that.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Option<Opened> {
        self.held.extend_from_slice(bytes);
        let is_like = |method: &[u8]| {
            let common = self.held.len().min(method.len());
            self.held[..common] == method[..common]
        };
        // No method of RTSP begins like these, GET_PARAMETER but for its fourth letter.
        if !is_like(b"GET ") && !is_like(b"POST ") {
            return Some(Opened::Rtsp(std::mem::take(&mut self.held).into()));
        }
        let end = self.held.windows(4).position(|window| window == b"\r\n\r\n");
        match end {
            Some(at) if at <= limits::RTSP_TUNNEL_HEAD_BYTES => {
                let body = Bytes::copy_from_slice(&self.held[at + 4..]);
                let opened = read_head(&self.held[..at], body);
                self.held = Vec::new();
                Some(opened)
            }
            None if self.held.len() <= limits::RTSP_TUNNEL_HEAD_BYTES => None,
            _ => {
                self.held = Vec::new();
                Some(refused("400 Bad Request"))
            }
        }
    }
}

fn refused(status: &str) -> Opened {
    Opened::Refused(refusal(status))
}

/// The answer to HTTP that opens no tunnel, with a status like `503 Service Unavailable`; the connection is closed behind it.
pub fn refusal(status: &str) -> Bytes {
    format!("HTTP/1.0 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").into()
}

fn read_head(head: &[u8], body: Bytes) -> Opened {
    let Ok(text) = std::str::from_utf8(head) else {
        return refused("400 Bad Request");
    };
    let mut lines = text.split("\r\n");
    let mut start = lines.next().unwrap_or_default().split(' ');
    let (method, _, version) = (start.next(), start.next(), start.next().unwrap_or_default());
    if !version.starts_with("HTTP/1.") {
        return refused("400 Bad Request");
    }
    let mut cookie = None;
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("x-sessioncookie") {
            cookie = Some(trim(value));
        }
    }
    let is_cookie =
        |text: &&str| (1..=COOKIE_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    match (method, cookie.filter(is_cookie)) {
        (_, None) => refused("404 Not Found"),
        (Some("GET"), Some(cookie)) => Opened::Get {
            cookie: cookie.to_owned(),
        },
        (_, Some(cookie)) => Opened::Post {
            cookie: cookie.to_owned(),
            body,
        },
    }
}

/// What a GET that begins a tunnel is answered with; what follows it are the server's bytes.
pub fn accepted(software: &str) -> Bytes {
    let software = software.replace(['\r', '\n'], " ");
    format!(
        "HTTP/1.0 200 OK\r\nServer: {software}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Pragma: no-cache\r\nContent-Type: {MEDIA_TYPE}\r\n\r\n"
    )
    .into()
}

/// The head of the GET that a client opens a tunnel to `path` of `host` with.
pub fn get(host: &str, path: &str, cookie: &str) -> Bytes {
    format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nx-sessioncookie: {cookie}\r\nAccept: {MEDIA_TYPE}\r\n\
         Pragma: no-cache\r\nCache-Control: no-cache\r\n\r\n"
    )
    .into()
}

/// The head of the POST that belongs to it, with the length that is custom and that nobody keeps to.
pub fn post(host: &str, path: &str, cookie: &str) -> Bytes {
    format!(
        "POST {path} HTTP/1.0\r\nHost: {host}\r\nx-sessioncookie: {cookie}\r\nContent-Type: {MEDIA_TYPE}\r\n\
         Pragma: no-cache\r\nCache-Control: no-cache\r\nContent-Length: 32767\r\n\
         Expires: Sun, 9 Jan 1972 00:00:00 GMT\r\n\r\n"
    )
    .into()
}

/// Why a server gives no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It answers with another status: 401 and 404 are usual.
    #[error("expected 200 as the answer to the tunnel's GET, found {status}")]
    Refused {
        /// With this one.
        status: u16,
    },
    /// Something that is no answer of HTTP, or whose head is over [`limits::RTSP_TUNNEL_HEAD_BYTES`].
    #[error("expected an answer of HTTP to the tunnel's GET")]
    NotHttp,
}

/// What a server answers the GET of a tunnel with, until it is whole. At most [`limits::RTSP_TUNNEL_HEAD_BYTES`] are held. The
/// POST need not wait for it, but some servers take none before.
#[derive(Debug, Default)]
pub struct Reply {
    held: Vec<u8>,
}

impl Reply {
    /// Nothing came yet.
    pub fn new() -> Self {
        Reply::default()
    }

    /// Bytes came; `Some` as soon as it is known: the tunnel is open, and these are the server's first bytes of RTSP. It must
    /// not be fed after that. The media type is not looked at, since servers are seen to leave it out.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Option<Result<Bytes, ReplyError>> {
        self.held.extend_from_slice(bytes);
        let common = self.held.len().min(7);
        if self.held[..common] != b"HTTP/1."[..common] {
            return Some(Err(ReplyError::NotHttp));
        }
        let at = match self.held.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) if at <= limits::RTSP_TUNNEL_HEAD_BYTES => at,
            None if self.held.len() <= limits::RTSP_TUNNEL_HEAD_BYTES => return None,
            _ => return Some(Err(ReplyError::NotHttp)),
        };
        let held = std::mem::take(&mut self.held);
        let line = held[..at].split(|b| *b == b'\r').next().unwrap_or_default();
        let status = line.split(|b| *b == b' ').nth(1).unwrap_or_default();
        let status: Option<u16> = std::str::from_utf8(status)
            .ok()
            .and_then(|text| text.parse().ok());
        Some(match status {
            Some(200) => Ok(Bytes::copy_from_slice(&held[at + 4..])),
            Some(status) => Err(ReplyError::Refused { status }),
            None => Err(ReplyError::NotHttp),
        })
    }
}

/// What a POST carries of these bytes.
pub fn encode(bytes: &[u8]) -> String {
    ringpost_auth::base64::encode(bytes)
}

/// The body of a POST holds something that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected base64 in the body of the tunnel's POST")]
pub struct NotBase64;

/// Decodes the body of a POST as it comes: base64 in pieces of any length, each of which may end with padding, since every
/// message is encoded by itself; line ends between are passed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Base64Stream {
    bits: u32,
    digits: u8,
    padding: u8,
}

impl Base64Stream {
    /// Nothing came yet.
    pub fn new() -> Self {
        Base64Stream::default()
    }

    /// Appends to `out` what `text` stands for. After an error nothing that follows means anything.
    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        for byte in text {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'\r' | b'\n' | b' ' | b'\t' => continue,
                b'=' if self.digits + self.padding >= 2 => {
                    self.padding += 1;
                    if self.digits + self.padding == 4 {
                        self.flush(out);
                    }
                    continue;
                }
                _ => return Err(NotBase64),
            };
            if self.padding > 0 {
                return Err(NotBase64);
            }
            self.bits = self.bits << 6 | u32::from(digit);
            self.digits += 1;
            if self.digits == 4 {
                self.flush(out);
            }
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        let bits = self.bits << (6 * u32::from(self.padding));
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend_from_slice(&bytes[..3 - usize::from(self.padding)]);
        *self = Base64Stream::default();
    }
}

/// What the POSTs of a tunnel bring, one behind the other. A client may go over to another one in the middle of a message, even of
/// four digits; and one that has lost a POST there sends the message again, whole, with the next. Such a one is known by the
/// method that it begins with.
#[derive(Debug, Default)]
pub struct Posted {
    stream: Base64Stream,
    /// What has come by the last POST, read by itself, until it is known what it begins with.
    beginning: Option<(Base64Stream, Vec<u8>)>,
}

impl Posted {
    /// Nothing came yet.
    pub fn new() -> Self {
        Posted::default()
    }

    /// What comes from now on comes by another POST.
    pub fn handle_post(&mut self) {
        self.beginning = Some(Default::default());
    }

    /// Appends to `out` what `text` stands for. Says whether that is the beginning of a message after all, with all that has come by
    /// this POST: what came of one before and is not whole never will be. After an error nothing that follows means anything.
    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<bool, NotBase64> {
        let at = out.len();
        let pushed = self.stream.push(text, out);
        let Some((mut stream, mut bytes)) = self.beginning.take() else {
            return pushed.map(|()| false);
        };
        if stream.push(text, &mut bytes).is_err() || !may_begin(&bytes) {
            return pushed.map(|()| false);
        }
        if pushed.is_err() || begins(&bytes) {
            self.stream = stream;
            out.truncate(at);
            out.extend_from_slice(&bytes);
            return Ok(true);
        }
        self.beginning = Some((stream, bytes));
        Ok(false)
    }
}

/// What messages begin with.
fn beginnings() -> impl Iterator<Item = Vec<u8>> {
    let methods = method::NAMES
        .iter()
        .map(|(name, _)| format!("{name} ").into_bytes());
    methods.chain([b"RTSP/1.0 ".to_vec()])
}

fn begins(bytes: &[u8]) -> bool {
    beginnings().any(|word| bytes.starts_with(&word))
}

fn may_begin(bytes: &[u8]) -> bool {
    begins(bytes) || beginnings().any(|word| word.starts_with(bytes))
}

/// The tunnels' GET halves by their cookies: those that wait for a POST, and those that have one. A POST is taken from the
/// address of its GET alone, and under TLS if the GET is and only then: what is said under TLS, passwords among it, is to be
/// nowhere in the clear.
///
/// Apple's clients close their POST when they have nothing to say for a while, and open another with the same cookie later; so
/// do GStreamer's when theirs was lost. Both begin the new one with a whole message, and may open it before the end of the old
/// one has come to us. Hence a further POST takes the place of the one before, which is closed and heard no more.
#[derive(Debug)]
pub struct Tunnels<C> {
    waiting: BTreeMap<String, Half<C>>,
}

#[derive(Debug)]
struct Half<C> {
    connection: C,
    post: Option<C>,
    peer: Peer,
    /// `None` once a POST has come.
    until: Option<Instant>,
}

/// A POST has found its GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined<C> {
    /// The connection of the GET, to whose machine what the POST brings belongs.
    pub get: C,
    /// The POST that was there before: close it, and pass nothing more of it on.
    pub replaced: Option<C>,
}

/// A half that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// There are [`limits::RTSP_TUNNELS`]; answer with 503.
    #[error("expected fewer than {} tunnels", limits::RTSP_TUNNELS)]
    TooMany,
    /// Another connection has this cookie; answer with 400.
    #[error("expected a cookie that no other tunnel has")]
    Taken,
    /// No GET with this cookie came from this address; answer with 404.
    #[error("expected the cookie of a GET from this address")]
    Unknown,
    /// Of the two halves one is under TLS and the other is not; answer with 403.
    #[error("expected both halves under TLS, or neither")]
    Mixed,
}

impl<C: Clone + Eq + Hash> Tunnels<C> {
    /// None yet.
    pub fn new() -> Self {
        Tunnels {
            waiting: BTreeMap::new(),
        }
    }

    /// How many tunnels there are, halves that wait among them.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A GET came on this connection.
    pub fn handle_get(
        &mut self,
        now: Instant,
        cookie: &str,
        peer: Peer,
        connection: C,
    ) -> Result<(), TunnelError> {
        if self.waiting.contains_key(cookie) {
            return Err(TunnelError::Taken);
        }
        if self.waiting.len() >= limits::RTSP_TUNNELS {
            return Err(TunnelError::TooMany);
        }
        let until = Some(now + PATIENCE);
        self.waiting.insert(
            cookie.to_owned(),
            Half {
                connection,
                post: None,
                peer,
                until,
            },
        );
        Ok(())
    }

    /// A POST came on this connection.
    pub fn handle_post(&mut self, cookie: &str, peer: Peer, connection: C) -> Result<Joined<C>, TunnelError> {
        let address = peer.address.to_canonical();
        let is_same = |half: &Half<C>| half.peer.address.to_canonical() == address;
        match self.waiting.get_mut(cookie) {
            // Guards pitfall RTSP 4: a password that Basic brings under TLS would come by a POST that is not.
            Some(half) if is_same(half) && half.peer.is_secure != peer.is_secure => Err(TunnelError::Mixed),
            Some(half) if is_same(half) => {
                half.until = None;
                Ok(Joined {
                    get: half.connection.clone(),
                    replaced: half.post.replace(connection),
                })
            }
            _ => Err(TunnelError::Unknown),
        }
    }

    /// A connection is over: with that of a GET its tunnel is, with that of a POST it is not, since another may come.
    pub fn handle_closed(&mut self, connection: &C) {
        self.waiting.retain(|_, half| half.connection != *connection);
        for half in self.waiting.values_mut() {
            half.post.take_if(|post| post == connection);
        }
    }

    /// The GET halves that have waited too long for a POST, which are forgotten: close them.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<C> {
        let is_over = |half: &Half<C>| half.until.is_some_and(|until| until <= now);
        let over = self.waiting.values().filter(|half| is_over(half));
        let over = over.map(|half| half.connection.clone()).collect();
        self.waiting.retain(|_, half| !is_over(half));
        over
    }

    /// When the next half has waited too long.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|half| half.until).min()
    }
}

impl<C: Clone + Eq + Hash> Default for Tunnels<C> {
    fn default() -> Self {
        Tunnels::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8], size: usize) -> Option<Opened> {
        let mut opening = Opening::new();
        bytes.chunks(size).find_map(|piece| opening.handle_input(piece))
    }

    #[test]
    fn rtsp_is_told_from_the_halves_of_a_tunnel() {
        for size in [1, 3, 1000] {
            let get = open(&get("h", "/cam", "abc"), size);
            assert_eq!(get, Some(Opened::Get { cookie: "abc".into() }));
            let Some(Opened::Post { cookie, .. }) = open(&post("h", "/cam", "abc"), size) else {
                panic!("a POST")
            };
            assert_eq!(cookie, "abc");
            for rtsp in [
                "OPTIONS * RTSP/1.0\r\n",
                "GET_PARAMETER * RTSP/1.0\r\n",
                "PLAY x",
                "$\0\0\0",
                "G",
            ] {
                match open(rtsp.as_bytes(), size) {
                    Some(Opened::Rtsp(first)) => assert!(rtsp.as_bytes().starts_with(&first)),
                    None => assert_eq!(rtsp, "G"),
                    other => panic!("{other:?}"),
                }
            }
        }
        let with_body = [&post("h", "/", "c")[..], b"T1BU"].concat();
        let body = Bytes::from_static(b"T1BU");
        assert_eq!(
            open(&with_body, 10_000),
            Some(Opened::Post {
                cookie: "c".into(),
                body
            })
        );
        for (bad, status) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.0 404"),
            ("GET / HTTP/1.1\r\nx-sessioncookie:\r\n\r\n", "HTTP/1.0 404"),
            ("GET / RTSP/1.0\r\nx-sessioncookie: a\r\n\r\n", "HTTP/1.0 400"),
        ] {
            let Some(Opened::Refused(bytes)) = open(bad.as_bytes(), 9) else {
                panic!("{bad}")
            };
            assert!(bytes.starts_with(status.as_bytes()), "{bad}");
        }
        let mut endless = Opening::new();
        let opened = (0..10_000).find_map(|_| endless.handle_input(b"GET / HTTP/1.0\r\n"));
        assert!(matches!(opened, Some(Opened::Refused(_))));
    }

    #[test]
    fn the_answer_to_the_get_is_read_however_it_is_cut() {
        let reply = |bytes: &[u8], size: usize| {
            let mut reply = Reply::new();
            let mut rest = bytes;
            loop {
                let (piece, behind) = rest.split_at_checked(size).unwrap_or((rest, &[]));
                match reply.handle_input(piece) {
                    Some(Ok(first)) => return Some(Ok([&first[..], behind].concat())),
                    Some(Err(error)) => return Some(Err(error)),
                    None if behind.is_empty() => return None,
                    None => rest = behind,
                }
            }
        };
        for size in [1, 7, 1000] {
            let whole = [&accepted("x")[..], b"RTSP/1.0 200"].concat();
            assert_eq!(reply(&whole, size), Some(Ok(b"RTSP/1.0 200".to_vec())));
            assert_eq!(reply(b"HTTP/1.1 200\r\n\r\n", size), Some(Ok(Vec::new())));
            assert_eq!(reply(&whole[..20], size), None);
            let refused = |status| Some(Err(ReplyError::Refused { status }));
            assert_eq!(reply(&refusal("503 Service Unavailable"), size), refused(503));
            assert_eq!(
                reply(b"HTTP/1.0 401 X\r\nWWW-Authenticate: y\r\n\r\n", size),
                refused(401)
            );
            for bad in ["RTSP/1.0 200 OK\r\n\r\n", "HTTP/1.0 OK\r\n\r\n", "<html>"] {
                assert_eq!(
                    reply(bad.as_bytes(), size),
                    Some(Err(ReplyError::NotHttp)),
                    "{bad}"
                );
            }
            let endless = "HTTP/1.0 200 OK\r\n".repeat(1_000);
            assert_eq!(reply(endless.as_bytes(), size), Some(Err(ReplyError::NotHttp)));
        }
    }

    #[test]
    fn every_message_is_base64_by_itself_however_it_is_cut() {
        let messages: [&[u8]; 5] = [b"O", b"PT", b"ION", b"S * RTSP/1.0\r\n\r\n", b"$\0\0\x02\xff\xfe"];
        let text: String = messages.iter().map(|message| encode(message) + "\r\n").collect();
        for size in 1..20 {
            let (mut stream, mut out) = (Base64Stream::new(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                stream.push(piece, &mut out).unwrap();
            }
            assert_eq!(out, messages.concat(), "{size}");
        }
        for bad in ["=", "A=", "AA=A", "AAA==", "T1B-", "A\0AA"] {
            let mut stream = Base64Stream::new();
            let result = stream.push(bad.as_bytes(), &mut Vec::new());
            assert_eq!(result, Err(NotBase64), "{bad}");
        }
    }

    fn peer(address: &str, is_secure: bool) -> Peer {
        let address = address.parse().unwrap();
        Peer { address, is_secure }
    }

    // Guards pitfall RTSP 4.
    #[test]
    fn a_half_under_tls_is_joined_to_none_in_the_clear() {
        let (plain, secure) = (peer("192.0.2.1", false), peer("192.0.2.1", true));
        let mut tunnels = Tunnels::new();
        for (cookie, get, post, number) in [("a", secure, plain, 1), ("b", plain, secure, 2)] {
            assert_eq!(tunnels.handle_get(Instant::ZERO, cookie, get, number), Ok(()));
            assert_eq!(tunnels.handle_post(cookie, post, 8), Err(TunnelError::Mixed));
            assert!(tunnels.next_timeout().is_some(), "it waits for its own");
            let joined = |replaced| {
                Ok(Joined {
                    get: number,
                    replaced,
                })
            };
            assert_eq!(tunnels.handle_post(cookie, get, 9), joined(None));
            assert_eq!(tunnels.handle_post(cookie, post, 8), Err(TunnelError::Mixed));
            assert_eq!(tunnels.handle_post(cookie, get, 7), joined(Some(9)));
            let there = peer("192.0.2.2", post.is_secure);
            assert_eq!(tunnels.handle_post(cookie, there, 8), Err(TunnelError::Unknown));
        }
    }

    #[test]
    fn halves_find_each_other_by_cookie_and_address() {
        let here = peer("192.0.2.1", false);
        let there = peer("192.0.2.2", false);
        let now = Instant::ZERO;
        let mut tunnels = Tunnels::new();
        assert_eq!(tunnels.handle_get(now, "a", here, 1), Ok(()));
        assert_eq!(tunnels.handle_get(now, "a", there, 2), Err(TunnelError::Taken));
        assert_eq!(tunnels.handle_post("a", there, 5), Err(TunnelError::Unknown));
        assert_eq!(tunnels.handle_post("b", here, 5), Err(TunnelError::Unknown));
        assert_eq!(tunnels.next_timeout(), Some(now + PATIENCE));
        // The same address on a socket for both kinds.
        let mapped = peer("::ffff:192.0.2.1", false);
        let joined = |replaced| Ok(Joined { get: 1, replaced });
        assert_eq!(tunnels.handle_post("a", mapped, 6), joined(None));
        assert_eq!(
            tunnels.handle_post("a", here, 7),
            joined(Some(6)),
            "the old one's end may come later"
        );
        tunnels.handle_closed(&6);
        assert_eq!(tunnels.handle_post("a", here, 8), joined(Some(7)));
        tunnels.handle_closed(&8);
        assert_eq!(
            tunnels.handle_post("a", here, 9),
            joined(None),
            "and may have come before"
        );
        assert_eq!(tunnels.next_timeout(), None);
        assert_eq!(tunnels.handle_get(now, "c", here, 3), Ok(()));
        assert_eq!(tunnels.handle_timeout(now + PATIENCE), [3]);
        tunnels.handle_closed(&1);
        assert!(tunnels.is_empty());
        for n in 0..limits::RTSP_TUNNELS {
            assert_eq!(tunnels.handle_get(now, &n.to_string(), here, n), Ok(()));
        }
        assert_eq!(tunnels.handle_get(now, "x", here, 0), Err(TunnelError::TooMany));
    }
}
