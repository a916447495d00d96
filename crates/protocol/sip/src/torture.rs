//! The torture messages of RFC 4475 and, for IPv6, RFC 5118, with what becomes of each.
//!
//! [`rows`] is read by the tests of this crate, which hold the parser to it, and by tests of a whole server, which send
//! each message and compare the answer. `docs/torture.md` is printed from it. Other crates' tests reach it with the
//! feature `torture`; it is in no build that users get.

use crate::flow::Transport;

/// What reading a message comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A message that may be acted on.
    Parsed,
    /// A request that is answered with this status, and goes no further.
    Refused(u16),
    /// Nothing to act on and nothing to answer.
    Dropped,
    /// The stream cannot be followed behind it.
    Closed,
    /// The stream has to bring more bytes first.
    Unfinished,
}

/// What a server does with it that hosts [`DOMAINS`] and asks nobody for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A final response with one of these statuses.
    Status(&'static [u16]),
    /// No answer and no other effect.
    Silence,
    /// The connection is closed, with or without an answer before.
    Close,
}

/// One message on one transport.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in the archives.
    pub name: &'static str,
    /// The RFC and section that describe it.
    pub section: &'static str,
    /// How it arrives: UDP or TCP. TLS behaves as TCP.
    pub transport: Transport,
    /// The message.
    pub bytes: &'static [u8],
    /// What the parser, or on TCP the framer with it, makes of it.
    pub parser: Fate,
    /// What a whole server does.
    pub server: Answer,
    /// Why, in a few words.
    pub why: &'static str,
}

/// The domains that the messages are addressed to.
pub const DOMAINS: &[&str] = &[
    "chair-dnrc.example.com",
    "company.com",
    "example.com",
    "example.net",
    "example.org",
    "host.example.net",
    "registrar.example.com",
];

/// All rows, each message on UDP and then on TCP.
pub fn rows() -> impl Iterator<Item = Row> {
    TABLE.iter().flat_map(|vector| {
        let row = |transport, (parser, server)| Row {
            name: vector.name,
            section: vector.section,
            transport,
            bytes: vector.bytes,
            parser,
            server,
            why: vector.why,
        };
        [row(Transport::Udp, vector.udp), row(Transport::Tcp, vector.tcp)]
    })
}

/// The table as a page, `docs/torture.md`.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for row in rows() {
        let parser = match row.parser {
            Fate::Parsed => "parsed".to_owned(),
            Fate::Refused(status) => format!("refused, {status}"),
            Fate::Dropped => "dropped".to_owned(),
            Fate::Closed => "connection closed".to_owned(),
            Fate::Unfinished => "waits for more".to_owned(),
        };
        let server = match row.server {
            Answer::Status(any) => any.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
            Answer::Silence => "silence".to_owned(),
            Answer::Close => "closes".to_owned(),
        };
        let Row {
            name,
            section,
            transport,
            why,
            ..
        } = row;
        let transport = transport.via_name();
        page.push_str(&format!(
            "| {name} | {section} | {transport} | {parser} | {server} | {why} |\n"
        ));
    }
    page
}

const HEAD: &str = "\
# Torture messages

What becomes of each message of RFC 4475 and RFC 5118, on each transport. \"Parser\" is the outcome of reading it alone;
\"Server\" is the final answer of a server that hosts the domains which the messages name, with authentication off; where
several are allowed, the outcome depends on which accounts there are, or the RFC leaves the choice. Responses have no
effect on a server that has not asked for them.

The parser is held to the table by `crates/protocol/sip/src/torture/tests.rs`, the service by
`crates/service/phone/src/tests/torture.rs`, and the binary, message by message over real sockets, by
`interop/tests/torture.rs`.

This page is printed from `crates/protocol/sip/src/torture.rs`, and a test there compares the two. After a change:
`RINGPOST_BLESS=1 cargo test -p ringpost-sip torture`.

| Message | Section | Transport | Parser | Server | Why |
| --- | --- | --- | --- | --- | --- |
";

struct Vector {
    name: &'static str,
    section: &'static str,
    bytes: &'static [u8],
    udp: (Fate, Answer),
    tcp: (Fate, Answer),
    why: &'static str,
}

macro_rules! vector {
    ($name:literal, $section:literal, $udp:expr, $tcp:expr, $why:literal) => {
        Vector {
            name: $name,
            section: $section,
            bytes: include_bytes!(concat!("../tests/torture/", $name, ".dat")),
            udp: $udp,
            tcp: $tcp,
            why: $why,
        }
    };
    ($name:literal, $section:literal, $both:expr, $why:literal) => {
        vector!($name, $section, $both, $both, $why)
    };
}

const fn parsed(statuses: &'static [u16]) -> (Fate, Answer) {
    (Fate::Parsed, Answer::Status(statuses))
}

const fn refused(status: u16) -> (Fate, Answer) {
    const fn just(status: u16) -> &'static [u16] {
        match status {
            501 => &[501],
            505 => &[505],
            _ => &[400],
        }
    }
    (Fate::Refused(status), Answer::Status(just(status)))
}

const IGNORED: (Fate, Answer) = (Fate::Parsed, Answer::Silence);
const DROPPED: (Fate, Answer) = (Fate::Dropped, Answer::Silence);
const CLOSED: (Fate, Answer) = (Fate::Closed, Answer::Close);
const UNFINISHED: (Fate, Answer) = (Fate::Unfinished, Answer::Silence);

/// A call to somebody who is not there, or not known.
const NO_SUCH_PHONE: &[u16] = &[404, 480];
/// The same with an offer whose media lead to an address that a server of IPv4 alone cannot reach, as 488 says (RFC 3261
/// §21.4.26).
const OUT_OF_REACH: &[u16] = &[404, 480, 488];
/// A registration of an account that exists, or does not.
const REGISTRATION: &[u16] = &[200, 404];
/// OPTIONS are answered for a known user, and otherwise as a call would be.
const CAPABILITIES: &[u16] = &[200, 404, 480];

static TABLE: &[Vector] = &[
    vector!(
        "wsinv",
        "RFC 4475 §3.1.1.1",
        parsed(&[481]),
        "folds and whitespace wherever they may be; To names a dialog that is not there"
    ),
    vector!(
        "intmeth",
        "RFC 4475 §3.1.1.2",
        parsed(&[501]),
        "every token character, an unknown method"
    ),
    vector!(
        "esc01",
        "RFC 4475 §3.1.1.3",
        parsed(NO_SUCH_PHONE),
        "escapes are decoded once"
    ),
    vector!(
        "escnull",
        "RFC 4475 §3.1.1.4",
        parsed(REGISTRATION),
        "an escaped NUL does not end a user"
    ),
    vector!(
        "esc02",
        "RFC 4475 §3.1.1.5",
        parsed(&[501]),
        "% escapes nothing in a method or a header's name"
    ),
    vector!(
        "lwsdisp",
        "RFC 4475 §3.1.1.6",
        parsed(CAPABILITIES),
        "no space is needed before <"
    ),
    vector!(
        "longreq",
        "RFC 4475 §3.1.1.7",
        parsed(NO_SUCH_PHONE),
        "long values, 34 Vias"
    ),
    vector!(
        "dblreq",
        "RFC 4475 §3.1.1.8",
        parsed(REGISTRATION),
        "what follows the body is noise on UDP, the next message on TCP"
    ),
    vector!(
        "semiuri",
        "RFC 4475 §3.1.1.9",
        parsed(CAPABILITIES),
        "a semicolon inside the user"
    ),
    vector!(
        "transports",
        "RFC 4475 §3.1.1.10",
        parsed(CAPABILITIES),
        "Vias of unknown transports"
    ),
    vector!(
        "mpart01",
        "RFC 4475 §3.1.1.11",
        parsed(&[200, 202, 404, 415, 480]),
        "NULs in the body"
    ),
    vector!(
        "unreason",
        "RFC 4475 §3.1.1.12",
        IGNORED,
        "UTF-8 in the reason phrase; a response"
    ),
    vector!(
        "noreason",
        "RFC 4475 §3.1.1.13",
        IGNORED,
        "no reason phrase; a response"
    ),
    vector!(
        "badinv01",
        "RFC 4475 §3.1.2.1",
        refused(400),
        "empty parameters and empty values"
    ),
    vector!(
        "clerr",
        "RFC 4475 §3.1.2.2",
        refused(400),
        UNFINISHED,
        "the body is shorter than Content-Length"
    ),
    vector!(
        "ncl",
        "RFC 4475 §3.1.2.3",
        refused(400),
        CLOSED,
        "a negative Content-Length"
    ),
    vector!("scalar02", "RFC 4475 §3.1.2.4", refused(400), "CSeq above 2^32"),
    vector!(
        "scalarlg",
        "RFC 4475 §3.1.2.5",
        DROPPED,
        "CSeq above 2^32; a response"
    ),
    vector!(
        "quotbal",
        "RFC 4475 §3.1.2.6",
        refused(400),
        "a quote that does not close"
    ),
    vector!(
        "ltgtruri",
        "RFC 4475 §3.1.2.7",
        refused(400),
        "<> around the Request-URI"
    ),
    vector!(
        "lwsruri",
        "RFC 4475 §3.1.2.8",
        refused(400),
        "a space inside the Request-URI"
    ),
    vector!(
        "lwsstart",
        "RFC 4475 §3.1.2.9",
        refused(400),
        "two spaces in the request line"
    ),
    vector!(
        "trws",
        "RFC 4475 §3.1.2.10",
        refused(400),
        "spaces behind the version"
    ),
    vector!(
        "escruri",
        "RFC 4475 §3.1.2.11",
        refused(400),
        "headers in the Request-URI"
    ),
    vector!(
        "baddate",
        "RFC 4475 §3.1.2.12",
        parsed(NO_SUCH_PHONE),
        "a date that nothing here uses"
    ),
    vector!(
        "regbadct",
        "RFC 4475 §3.1.2.13",
        refused(400),
        "a URI with headers outside <>"
    ),
    vector!("badaspec", "RFC 4475 §3.1.2.14", refused(400), "spaces inside <>"),
    vector!(
        "baddn",
        "RFC 4475 §3.1.2.15",
        refused(400),
        UNFINISHED,
        "a comma in an unquoted name; the archive's copy has no empty line"
    ),
    vector!("badvers", "RFC 4475 §3.1.2.16", refused(505), "SIP/7.0"),
    vector!(
        "mismatch01",
        "RFC 4475 §3.1.2.17",
        refused(400),
        "CSeq names another method"
    ),
    vector!(
        "mismatch02",
        "RFC 4475 §3.1.2.18",
        refused(501),
        "CSeq names another method than an unknown one"
    ),
    vector!("bigcode", "RFC 4475 §3.1.2.19", DROPPED, "a status above 699"),
    vector!(
        "badbranch",
        "RFC 4475 §3.2.1",
        parsed(CAPABILITIES),
        "a branch of the cookie alone: matched as RFC 2543 did"
    ),
    vector!(
        "insuf",
        "RFC 4475 §3.3.1",
        refused(400),
        "no Call-ID, From and To"
    ),
    vector!(
        "unkscm",
        "RFC 4475 §3.3.2",
        parsed(&[416]),
        "an unknown scheme in the Request-URI"
    ),
    vector!(
        "novelsc",
        "RFC 4475 §3.3.3",
        parsed(&[416]),
        "a scheme that is not for calls"
    ),
    vector!(
        "unksm2",
        "RFC 4475 §3.3.4",
        parsed(&[400, 404]),
        "a registration of what is no SIP URI"
    ),
    vector!(
        "bext01",
        "RFC 4475 §3.3.5",
        parsed(&[420]),
        "unknown extensions in Require"
    ),
    vector!(
        "invut",
        "RFC 4475 §3.3.6",
        parsed(&[404, 415, 480]),
        "an unknown type of body"
    ),
    vector!(
        "regaut01",
        "RFC 4475 §3.3.7",
        parsed(&[200, 401, 404]),
        "an unknown scheme of credentials"
    ),
    vector!(
        "multi01",
        "RFC 4475 §3.3.8",
        refused(400),
        "two of Call-ID, To, From, Max-Forwards, CSeq"
    ),
    vector!(
        "mcl01",
        "RFC 4475 §3.3.9",
        refused(400),
        CLOSED,
        "two Content-Lengths"
    ),
    vector!(
        "bcast",
        "RFC 4475 §3.3.10",
        IGNORED,
        "a response that must not reach the second Via"
    ),
    vector!(
        "zeromf",
        "RFC 4475 §3.3.11",
        parsed(&[200, 404, 480, 483]),
        "Max-Forwards 0"
    ),
    vector!(
        "cparam01",
        "RFC 4475 §3.3.12",
        parsed(REGISTRATION),
        "a parameter of the header, not of the URI"
    ),
    vector!(
        "cparam02",
        "RFC 4475 §3.3.13",
        parsed(REGISTRATION),
        "a parameter of the URI"
    ),
    vector!(
        "regescrt",
        "RFC 4475 §3.3.14",
        parsed(REGISTRATION),
        "a Contact with a header in its URI"
    ),
    vector!(
        "sdp01",
        "RFC 4475 §3.3.15",
        parsed(&[406]),
        "an Accept without SDP"
    ),
    vector!(
        "inv2543",
        "RFC 4475 §3.4.1",
        parsed(NO_SUCH_PHONE),
        CLOSED,
        "an RFC 2543 request: no branch, tag, Max-Forwards, Content-Length"
    ),
    vector!(
        "test",
        "RFC 4475 appendix A",
        DROPPED,
        "no version, and no Via to answer to"
    ),
    vector!(
        "ipv6-good",
        "RFC 5118 §4.1",
        parsed(&[200, 403, 404]),
        "IPv6 in brackets"
    ),
    vector!("ipv6-bad", "RFC 5118 §4.2", refused(400), "IPv6 without brackets"),
    vector!(
        "port-ambiguous",
        "RFC 5118 §4.3",
        parsed(&[200, 403, 404]),
        "what looks like a port is a part of the address"
    ),
    vector!(
        "port-unambiguous",
        "RFC 5118 §4.4",
        parsed(&[200, 403, 404]),
        "a port behind the brackets"
    ),
    vector!(
        "via-received-param-with-delim",
        "RFC 5118 §4.5",
        parsed(&[481]),
        "received in brackets"
    ),
    vector!(
        "via-received-param-no-delim",
        "RFC 5118 §4.5",
        parsed(CAPABILITIES),
        "received without brackets"
    ),
    vector!(
        "ipv6-in-sdp",
        "RFC 5118 §4.6",
        parsed(NO_SUCH_PHONE),
        "IPv6 in the body"
    ),
    vector!(
        "mult-ip-in-header",
        "RFC 5118 §4.7",
        parsed(&[481]),
        "IPv4 and IPv6 in one header"
    ),
    vector!(
        "mult-ip-in-sdp",
        "RFC 5118 §4.8",
        parsed(NO_SUCH_PHONE),
        "IPv4 and IPv6 in one body"
    ),
    vector!(
        "ipv4-mapped-ipv6",
        "RFC 5118 §4.9",
        parsed(OUT_OF_REACH),
        "IPv4 written as IPv6"
    ),
    vector!(
        "ipv6-bug-abnf-3-colons",
        "RFC 5118 §4.10",
        parsed(CAPABILITIES),
        "a third colon that RFC 3261's grammar leads to"
    ),
    vector!(
        "ipv6-correct-abnf-2-colons",
        "RFC 5118 §4.10",
        parsed(CAPABILITIES),
        "the same address written right"
    ),
];

#[cfg(test)]
mod tests;
