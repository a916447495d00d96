//! Session descriptions (SDP, RFC 8866), the offer/answer model (RFC 3264), and announcements of sessions ([`sap`], RFC 2974).
//!
//! [`SessionDescription::parse`] is tolerant where real phones need it, and says in its documentation where;
//! [`SessionDescription::read`] takes besides what cameras do wrong, each by a [`Quirk`] with a name. `Display` is strict. [`Negotiation`] is one party's side of one leg: it makes our offers, answers the peer's, checks
//! the peer's answers, and hands out what was agreed on as [`Negotiated`] streams.
//!
//! ```
//! use ringpost_sdp::{Codec, Negotiation, SessionDescription, Stream};
//!
//! let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
//!              m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
//! let offer = SessionDescription::parse(offer.as_bytes()).expect("a valid description");
//!
//! let ours = Stream::audio("198.51.100.7:5000".parse().expect("an address"), vec![Codec::pcmu(), Codec::telephone_event(96)]);
//! let mut leg = Negotiation::new(4711);
//! let (answer, streams) = leg.answer(&offer, &[ours]).expect("a codec in common");
//! assert_eq!(answer.media[0].formats, ["0", "101"]);
//! let audio = streams[0].as_ref().expect("accepted");
//! assert_eq!(audio.remote, Some("192.0.2.1:4000".parse().expect("an address")));
//! assert_eq!(audio.telephone_event(8000).map(|event| event.send_payload_type), Some(101));
//! ```
//!
//! It resolves no names, opens no ports and knows no SIP: when an offer may be made, and what a glare costs, is SIP's.

mod attribute;
mod codec;
mod direction;
#[doc(hidden)]
pub mod fuzz;
mod negotiation;
mod parse;
mod print;
mod quirk;
pub mod sap;
mod session;
mod stream;

pub use attribute::{Attribute, Candidate, Crypto, RtpMap, Setup};
pub use codec::{Codec, merge_codecs};
pub use direction::Direction;
pub use negotiation::{AnswerError, Negotiated, NegotiatedCodec, Negotiation, OfferError, capabilities};
pub use parse::ParseError;
pub use quirk::Quirk;
pub use session::{
    Address, Bandwidth, Connection, Family, Media, MediaKind, Origin, Repeat, SessionDescription, Time,
    ZoneAdjustment,
};
pub use stream::{RemoteStream, Stream};
