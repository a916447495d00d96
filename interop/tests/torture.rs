//! The torture messages of RFC 4475 and RFC 5118, each sent byte for byte over a real socket, and the answer held against
//! the table that `docs/torture.md` is printed from.
//!
//! The server serves the domains that the messages name, and trusts this machine: authentication is off for it.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use bytes::Bytes;
use ringpost_interop::{Options, Server, own_address, wait_for};
use ringpost_sip::torture::{Answer, DOMAINS, Fate, Row, rows};
use ringpost_sip::{Message, Method, Transport};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long an answer may take: where somebody is called, the voicemail takes three seconds.
const LIMIT: Duration = Duration::from_secs(20);
/// How long the last transaction may linger: 64*T1 for a call that the voicemail took over from a phone that is silent,
/// once more for its end, and some.
const REST_LIMIT: Duration = Duration::from_secs(120);

/// The people whom the messages name, as far as their names are an account's.
const PEOPLE: &[(&str, &str)] = &[
    ("user", "example.com"),
    ("watson", "example.com"),
    ("j.user", "example.com"),
    ("joe", "example.com"),
    ("userb", "example.com"),
    ("kumiko", "example.org"),
    ("alice", "example.com"),
];

fn server(with_people: bool) -> Server {
    let server = Server::start_with(&Options {
        domains: DOMAINS.iter().map(|domain| (*domain).to_string()).collect(),
        trusted_network: Some("127.0.0.0/8".into()),
        ..Options::default()
    });
    // Somebody must be there to register in the end, whom no message names.
    for (name, domain) in PEOPLE {
        if with_people || *name == "alice" {
            server.account_at(name, domain);
        }
    }
    server
}

/// What came back: the head of a message, and over UDP the port it came to.
#[derive(Clone, Debug, PartialEq)]
struct Heard {
    text: Bytes,
    port: Option<u16>,
}

impl Heard {
    /// The status of a response; None for a request.
    fn status(&self) -> Option<u16> {
        let rest = self.text.strip_prefix(b"SIP/2.0 ")?;
        std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
    }

    fn is_final(&self) -> bool {
        self.status().is_some_and(|status| status >= 200)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// A request without credentials.
fn request(method: &str, uri: &str, to: &str, call: &str, via: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK{call};rport\r\nFrom: <{to}>;tag=1\r\nTo: <{to}>\r\n\
         Call-ID: {call}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn options(call: &str, via: &str) -> String {
    request("OPTIONS", "sip:example.com", "sip:example.com", call, via, "")
}

/// Sends over UDP from a socket of its own, and gives the final answer.
fn ask(server: &Server, text: &str) -> Heard {
    let socket = UdpSocket::bind((server.address(), 0)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.send_to(text.as_bytes(), (server.address(), 5060)).unwrap();
    let mut buffer = [0; 65_535];
    loop {
        let n = socket.recv(&mut buffer).expect("the server answers");
        let heard = Heard {
            text: Bytes::copy_from_slice(&buffer[..n]),
            port: None,
        };
        if heard.is_final() {
            return heard;
        }
    }
}

/// The server still does its work.
fn still_serves(server: &Server) {
    assert_eq!(ask(server, &options("alive", "UDP x")).status(), Some(200));
    let alice = "sip:alice@example.com";
    let contact = "Contact: <sip:alice@127.0.0.1:5999>\r\n";
    let register = |call: &str, expires: &str| {
        let more = format!("{contact}Expires: {expires}\r\n");
        ask(
            server,
            &request("REGISTER", "sip:example.com", alice, call, "UDP x", &more),
        )
    };
    let registered = register("there", "600");
    assert_eq!(registered.status(), Some(200), "{}", registered.shown());
    assert!(
        registered.shown().contains("sip:alice@127.0.0.1:5999"),
        "{}",
        registered.shown()
    );
    assert_eq!(register("gone", "0").status(), Some(200));
}

/// Nothing is left of what was sent, nothing went wrong, and the server does its work.
fn is_at_rest(server: &Server, registered: Option<f64>) {
    let left = || {
        ["calls", "sip_sessions", "subscriptions", "sip_transactions"].map(|name| (name, server.metric(name)))
    };
    let rested = wait_for(REST_LIMIT, || left().iter().all(|(_, count)| *count == 0.0));
    assert!(rested, "{:?}", left());
    if let Some(registered) = registered {
        assert_eq!(server.metric("registered_phones"), registered);
    }
    still_serves(server);
    server.check_store();
    let log = server.log();
    let wrong: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("ERROR") || line.contains("panicked"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether `status` may answer this row. Who is called and is not there has a voicemail, which takes the call.
fn is_allowed(row: &Row, status: u16, with_people: bool) -> bool {
    let Answer::Status(allowed) = row.server else {
        return false;
    };
    let is_call = row.bytes.starts_with(b"INVITE ") && row.parser == Fate::Parsed;
    let is_answered = allowed.contains(&404) && status == 200;
    allowed.contains(&status) || (with_people && is_call && is_answered)
}

fn message(bytes: impl Into<Bytes>) -> Message {
    Message::parse(bytes.into()).unwrap()
}

/// A response belongs to its request, and is one by the grammar.
fn assert_answers(row: &Row, heard: &Heard) {
    if row.parser != Fate::Parsed {
        return;
    }
    let (request, response) = (message(row.bytes), Message::parse(heard.text.clone()));
    let response = response.unwrap_or_else(|error| panic!("{}: {error}\n{}", row.name, heard.shown()));
    assert_eq!(response.call_id().as_str(), request.call_id().as_str());
    assert_eq!(
        (response.cseq(), response.from_tag()),
        (request.cseq(), request.from_tag())
    );
    assert_eq!(response.top_via().branch(), request.top_via().branch());
    assert_eq!(response.vias().count(), request.vias().count(), "{}", row.name);
    assert!(response.to_tag().is_some(), "{}: {}", row.name, heard.shown());
}

/// Whether a response is to this message, as far as that can be told of what is none by the grammar.
fn is_to(row: &Row, heard: &Heard) -> bool {
    let call_id = |m: &Message| m.call_id().as_str().to_owned();
    row.parser != Fate::Parsed
        || Message::parse(heard.text.clone()).is_ok_and(|m| call_id(&m) == call_id(&message(row.bytes)))
}

/// ACK, and BYE if it was a 2xx, for the answer to an INVITE.
fn endings(row: &Row, heard: &Heard) -> Vec<String> {
    let is_answered_call = row.parser == Fate::Parsed && message(row.bytes).method() == &Method::Invite;
    if !is_answered_call || heard.status() != Some(200) {
        return Vec::new();
    }
    let response = message(heard.text.clone());
    let uri = response.contact().unwrap().uri().as_str().to_owned();
    let (from, to, call) = (response.from(), response.to(), response.call_id().as_str());
    let number = response.cseq().number;
    let within = |method: &str, number: u32| {
        let via = row.transport.via_name();
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{via} x;branch={END_BRANCH}{method}{};rport\r\nFrom: {from}\r\nTo: {to}\r\n\
             Call-ID: {call}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            row.name
        )
    };
    vec![within("ACK", number), within("BYE", number + 1)]
}

/// How the branches begin of what `endings` gives.
const END_BRANCH: &str = "z9hG4bKend";

/// A host that sends one message from port 5060, and hears what comes there and where its Via says.
struct Host {
    row: Row,
    ip: Ipv4Addr,
    sockets: Vec<UdpSocket>,
    heard: Vec<Heard>,
}

/// The port of the top Via. RFC 3261 §18.2.2: what comes over UDP is answered there, unless the Via asks for `rport`.
fn port(name: &str) -> u16 {
    match name {
        "quotbal" => 5050,
        "bext01" => 5061,
        "mult-ip-in-header" => 6050,
        "ipv4-mapped-ipv6" => 19_823,
        _ => 5060,
    }
}

impl Host {
    fn new(row: Row) -> Host {
        let ip = own_address();
        let mut ports = vec![5060, port(row.name)];
        ports.dedup();
        let sockets = ports.iter().map(|port| {
            let socket = UdpSocket::bind((ip, *port)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        Host {
            row,
            ip,
            sockets: sockets.collect(),
            heard: Vec::new(),
        }
    }

    fn send(&self, server: &Server, bytes: &[u8]) {
        self.sockets[0].send_to(bytes, (server.address(), 5060)).unwrap();
    }

    /// Takes what has come since it was last asked. Repetitions count once.
    fn listen(&mut self) -> &[Heard] {
        let mut buffer = [0; 65_535];
        for socket in &self.sockets {
            loop {
                match socket.recv(&mut buffer) {
                    Ok(n) => {
                        let heard = Heard {
                            text: Bytes::copy_from_slice(&buffer[..n]),
                            port: Some(socket.local_addr().unwrap().port()),
                        };
                        if !self.heard.contains(&heard) {
                            self.heard.push(heard);
                        }
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{}: {error}", self.ip);
                        break;
                    }
                }
            }
        }
        &self.heard
    }

    /// Sends the message, and waits for its answer if there is to be one.
    fn act(&mut self, server: &Server, with_people: bool) {
        let row = self.row;
        self.send(server, row.bytes);
        if !matches!(row.server, Answer::Status(_)) {
            // Whatever the server has to say to it, it has said before it answers this.
            ask(server, &options(row.name, "UDP x"));
            return;
        }
        let answered = wait_for(LIMIT, || self.listen().iter().any(Heard::is_final));
        assert!(answered, "{} over UDP is not answered", row.name);
        let answer = self.heard.iter().find(|heard| heard.is_final()).unwrap().clone();
        let status = answer.status().unwrap();
        assert!(
            is_allowed(&row, status, with_people),
            "{} over UDP: {status}\n{}",
            row.name,
            answer.shown()
        );
        assert_eq!(answer.port, Some(port(row.name)), "{}", row.name);
        assert_answers(&row, &answer);
        for text in endings(&row, &answer) {
            self.send(server, text.as_bytes());
        }
    }

    /// Nothing more has come than the answer, however late.
    fn assert_heard(&mut self, with_people: bool) {
        let row = self.row;
        let heard = self.listen();
        let requests = heard.iter().filter(|heard| heard.status().is_none()).count();
        // A phone that has registered is called, and told of its lamp.
        assert!(with_people || requests == 0, "{}: {heard:#?}", row.name);
        let mut finals: Vec<_> = heard.iter().filter(|heard| heard.is_final()).collect();
        // Nor does the answer count to the end that was put to a call.
        finals.retain(|heard| !heard.shown().contains(END_BRANCH));
        let expected = usize::from(matches!(row.server, Answer::Status(_)));
        assert_eq!(finals.len(), expected, "{}: {heard:#?}", row.name);
    }
}

/// What makes two requests one, as RFC 3261 §17.2.3 has it.
fn transaction(row: &Row) -> Option<String> {
    let request = Message::parse(Bytes::from_static(row.bytes)).ok()?;
    let via = request.top_via();
    let branch = via.transaction_branch()?;
    Some(format!("{branch} {} {}", via.sent_by(), request.method()))
}

/// The rows for UDP in groups without two of the same transaction: the second would be taken for a retransmission.
fn groups() -> Vec<Vec<Row>> {
    let mut groups: Vec<Vec<Row>> = Vec::new();
    for row in rows().filter(|row| row.transport == Transport::Udp) {
        let mine = transaction(&row);
        let has_room = |group: &&mut Vec<Row>| {
            group
                .iter()
                .all(|other| mine.is_none() || transaction(other) != mine)
        };
        match groups.iter_mut().find(has_room) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

fn over_udp(with_people: bool) {
    let mut served = Vec::new();
    for group in groups() {
        let server = server(with_people);
        let mut hosts: Vec<Host> = group.into_iter().map(Host::new).collect();
        for host in &mut hosts {
            host.act(&server, with_people);
        }
        served.push((server, hosts));
    }
    for (server, hosts) in &mut served {
        is_at_rest(server, (!with_people).then_some(0.0));
        for host in hosts {
            host.assert_heard(with_people);
        }
    }
}

#[test]
fn torture_messages_over_udp_are_answered_as_the_table_says() {
    over_udp(false);
}

#[test]
fn torture_messages_over_udp_to_people_who_exist_are_answered() {
    over_udp(true);
}

/// A connection, and what it has brought that was not yet taken.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(server: &Server) -> Connection {
        let address = SocketAddr::from((server.address(), 5060));
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Connection {
            stream,
            buffer: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next message; None when the server has closed.
    fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(length) = whole(&self.buffer) {
                let text = self.buffer.drain(..length).collect::<Vec<u8>>().into();
                return Some(Heard { text, port: None });
            }
            let mut chunk = [0; 4_096];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "closed within a message");
                    return None;
                }
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither an answer nor the end: {error}"),
            }
        }
    }

    /// Messages up to the first that is wanted.
    fn find(&mut self, wanted: impl Fn(&Heard) -> bool) -> (Heard, Vec<Heard>) {
        let mut others = Vec::new();
        loop {
            let heard = self
                .next()
                .unwrap_or_else(|| panic!("a close of the connection behind {others:#?}"));
            if wanted(&heard) {
                return (heard, others);
            }
            others.push(heard);
        }
    }
}

/// The length of the message at the front of a stream, if it is all there.
fn whole(stream: &[u8]) -> Option<usize> {
    let head = stream.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&stream[..head]);
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let body: usize = length.expect("every message on a stream has it").parse().unwrap();
    (stream.len() >= head + body).then_some(head + body)
}

fn act_over_tcp(server: &Server, row: &Row, with_people: bool) {
    let mut connection = Connection::open(server);
    connection.send(row.bytes);
    if row.server == Answer::Close {
        while let Some(heard) = connection.next() {
            assert!(heard.is_final(), "{}: {}", row.name, heard.shown());
        }
        return;
    }
    if row.parser == Fate::Unfinished {
        // What follows would be taken for the rest of it. Another connection is served while this one waits.
        let mut other = Connection::open(server);
        other.send(options(row.name, "TCP x").as_bytes());
        assert_eq!(other.next().unwrap().status(), Some(200));
        connection.stream.set_nonblocking(true).unwrap();
        let read = connection.stream.read(&mut [0; 1]);
        assert_eq!(
            read.unwrap_err().kind(),
            ErrorKind::WouldBlock,
            "{} waits",
            row.name
        );
        return;
    }
    let call_id = format!("Call-ID: {}\r\n", behind(row.name));
    let is_behind = |heard: &Heard| heard.shown().contains(&call_id);
    let Answer::Status(_) = row.server else {
        // The answers to what follows come behind all that there is to say to the message.
        connection.send(options(&behind(row.name), "TCP x").as_bytes());
        let (answer, others) = connection.find(is_behind);
        assert_eq!(
            (answer.status(), others.len()),
            (Some(200), 0),
            "{}: {others:#?}",
            row.name
        );
        return;
    };
    let (answer, others) = connection.find(|heard| heard.is_final() && is_to(row, heard));
    let status = answer.status().unwrap();
    assert!(
        is_allowed(row, status, with_people),
        "{} over TCP: {status}\n{}",
        row.name,
        answer.shown()
    );
    assert_answers(row, &answer);
    for text in endings(row, &answer) {
        connection.send(text.as_bytes());
    }
    if row.name == "dblreq" {
        // Its second message, whose SDP has a blank too many, is longer than it says: the rest of it is no message.
        let mut heard = others;
        heard.extend(std::iter::from_fn(|| connection.next()));
        // Until the connection is closed, that is; a phone that has registered is told of its lamp.
        let finals: Vec<_> = heard
            .iter()
            .filter_map(Heard::status)
            .filter(|status| *status >= 200)
            .collect();
        assert_eq!(finals, [400], "{heard:#?}");
        return;
    }
    // The stream can be followed behind it.
    connection.send(options(&behind(row.name), "TCP x").as_bytes());
    let (answer, _) = connection.find(is_behind);
    assert_eq!(answer.status(), Some(200), "{}", row.name);
}

fn behind(name: &str) -> String {
    format!("behind-{name}")
}

fn over_tcp(with_people: bool) {
    let server = server(with_people);
    for row in rows().filter(|row| row.transport == Transport::Tcp) {
        act_over_tcp(&server, &row, with_people);
    }
    is_at_rest(&server, Some(0.0));
}

#[test]
fn torture_messages_over_tcp_are_answered_as_the_table_says() {
    over_tcp(false);
}

#[test]
fn torture_messages_over_tcp_to_people_who_exist_are_answered() {
    over_tcp(true);
}
