//! Who is asking: digest access authentication as SIP and RTSP use it, and the SASL mechanisms of mail.
//!
//! - [`digest`]: RFC 7616 and RFC 8760 with RFC 3261 §22: challenges and credentials as strict parameter lists, a server
//!   side whose nonces verify themselves, and a client side;
//! - [`sasl`]: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802, RFC 7677), with channel binding, as small machines of the server, and what a
//!   client needs for PLAIN;
//! - [`base64`]: the strict form that SASL exchanges travel in.
//!
//! Passwords are never kept here: a digest needs [`digest::DigestKeys`], SCRAM needs [`sasl::ScramKeys`], and how those
//! are stored is the directory's matter.
//!
//! ```
//! use ringpost_auth::digest::{Authenticator, Credentials, DigestClient, DigestKeys, Offer, Policy, Verdict};
//! use ringpost_base::{Rng, UnixTime};
//!
//! let now = UnixTime::from_secs(1_700_000_000);
//! let mut server = Authenticator::new("example.com", Rng::from_number(1), Policy::default());
//! let mut client = DigestClient::new("example.com", "alice", "secret", Rng::from_number(2));
//!
//! let challenges: Vec<String> = server.challenge(now, Offer::All, false).map(|c| c.to_string()).collect();
//! client.handle_challenges(challenges.iter().map(String::as_str)).unwrap();
//! let header = client.authorize("REGISTER", "sip:example.com").unwrap();
//!
//! let credentials = Credentials::parse(&header).unwrap();
//! let keys = DigestKeys::derive("alice", "example.com", "secret");
//! assert_eq!(server.verify(now, &credentials, "REGISTER", Some(&keys)), Verdict::Granted);
//! ```
//!
//! Not done: `auth-int` (bodies pass through proxies that change them), the `-sess` algorithms, and Unicode normalization (see [`sasl::prepare`]).

pub mod base64;
pub mod digest;
#[doc(hidden)]
pub mod fuzz;
mod params;
pub mod sasl;

pub use params::ParseError;
