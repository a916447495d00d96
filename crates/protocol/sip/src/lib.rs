//! SIP (RFC 3261): messages, and the machines that exchange them.
//!
//! A [`Message`] is one shared buffer with an index of its header fields. What every transaction needs (start line, Via,
//! From, To, Call-ID, CSeq) is read and checked when it arrives; [`Uri`], [`NameAddr`], [`Via`] and the values in
//! [`header`] are read when asked for, share the buffer, and print as they stood. [`Builder`] prints new messages,
//! [`Edit`] changed ones. [`Framer`] finds messages in a TCP or TLS stream (RFC 3261 §18.3, RFC 5626 keepalives).
//! [`Endpoint`] (transactions), [`Dialog`] and [`ua::Ua`] (calls, subscriptions and other requests, from both sides) stand
//! on them: sans-IO machines, driven with bytes and time.
//!
//! ```
//! use ringpost_sip::{Builder, HeaderName, Message, Status};
//!
//! let datagram = "OPTIONS sip:bob@example.com SIP/2.0\r\n\
//!     v: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK776asdhds\r\n\
//!     f: \"Alice\" <sip:alice@example.com>;tag=1928301774\r\n\
//!     t: <sip:bob@example.com>\r\n\
//!     i: a84b4c76e66710@192.0.2.1\r\n\
//!     CSeq: 63104 OPTIONS\r\n\r\n";
//! let source = "203.0.113.7:40000".parse()?;
//! match Message::parse_from(datagram.into(), source) {
//!     Ok(request) => {
//!         assert_eq!(request.from().display().as_deref(), Some("Alice"));
//!         assert_eq!(request.request_uri().and_then(|uri| uri.user()), Some("bob"));
//!         let response = Builder::response(&request, Status::OK, "a6c85cf")
//!             .header(HeaderName::Accept, "application/sdp")
//!             .build()?;
//!         assert_eq!(response.top_via().rport(), Some(40000));
//!     }
//!     // A request that is broken but known by its Via is answered without state; anything else is dropped.
//!     Err(error) => {
//!         if let (Some(to), Some(bytes)) = (error.reply_to(source), error.response(source, "a6c85cf")) {
//!             println!("{error}: {} bytes back to {to}", bytes.len());
//!         }
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It opens no sockets, looks up no names, and does not look into bodies. How strict the parser is, is written down
//! message by message in `docs/torture.md`: what RFC 4475 calls broken is refused, with few exceptions that are named
//! where they are made (a `#` in a user, IPv6 without brackets in `received`, three colons in an IPv6 address).

mod dialog;
mod endpoint;
mod flow;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod fuzz_machines;
pub mod header;
pub mod locate;
mod message;
mod method;
mod mint;
mod status;
mod syntax;
mod text;
#[cfg(any(test, feature = "torture"))]
pub mod torture;
mod transaction;
pub mod ua;
mod uri;

pub use dialog::{Dialog, OutOfOrder};
pub use endpoint::{
    Endpoint, EndpointConfig, Event, Failure, Output, RequestError, SentAs, Transmit, UDP_REQUEST_BYTES,
};
pub use flow::{Arrival, Flow, Transport};
pub use framing::{Frame, FrameError, Framer, PING, PONG};
pub use header::{CSeq, HeaderName, NameAddr, Via};
pub use message::{Builder, Contacts, Edit, Header, Message, ParseError};
pub use method::Method;
pub use mint::{Mint, owner};
pub use status::Status;
pub use syntax::{Malformed, quote, unescape, unfold, unquote};
pub use text::Text;
pub use transaction::{Timing, TransactionId};
pub use uri::{Host, Scheme, Uri};
