//! The media engine: the sound of calls, as a machine without sockets, threads or a clock.
//!
//! A **leg** is one peer's RTP session, on a pair of sockets of its own (RTP and RTCP). The signalling side creates legs,
//! bridges two of them, plays to them and records from them by [`Command`]s, and hears of digits, ended prompts and
//! recorded sound by [`Event`]s. Both are plain data, since they cross a thread.
//!
//! - RTP, RTCP (RFC 3550) and telephone-event (RFC 4733) come from `ringpost-rtp`: each leg is a session of its own, RTCP
//!   is ended and generated here, and a relayed packet takes on the SSRC, sequence, timestamps and payload type of the leg
//!   it leaves by.
//! - The packet path ([`Engine::handle_packet`]) indexes arrays by the socket's and the leg's number, walks a plan that
//!   was compiled when signalling last spoke, rewrites the packet where it lies and allocates nothing.
//! - A peer's address is learned once, and held ([`LegMedia`] says from where).
//!
//! ```
//! use ringpost_base::{Instant, Rng, UnixTime};
//! use ringpost_media::{Command, Engine, LegId, LegMedia, Output, PairId};
//!
//! let now = Instant::ZERO;
//! let mut engine = Engine::new(now, UnixTime::from_secs(0), Rng::from_number(1));
//! let media = LegMedia { rtp: Some("192.0.2.1:4000".parse()?), ..LegMedia::audio() };
//! engine.handle_command(now, Command::CreateLeg {
//!     leg: LegId(1), pair: PairId(0), cname: "c1".into(), media, media_timeout: None,
//! });
//! assert!(matches!(engine.poll_output(), Output::Timeout(Some(_))));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! What a leg receives can be tapped: copies of its speech go to who asked, and [`CallSound`] makes one sound of both sides of a
//! call, elsewhere.
//!
//! It does not read or write SDP (the negotiated result comes in), does not encrypt, does not mix conferences, and the engine
//! knows of codecs no more than G.711: others are relayed between legs that both have them, and live sound is fed to it as
//! samples.

mod call_sound;
mod command;
mod engine;
mod event;
mod feed;
pub mod fuzz;
mod jitter_buffer;
mod latch;
mod leg;
mod outgoing;
mod plan;
mod player;
mod recorder;
mod speech;
mod tap;

pub use call_sound::CallSound;
pub use command::{Audio, Command, LegId, LegMedia, PairId, Port, SocketId};
pub use engine::{Engine, Forward, Output, Transmit};
pub use event::{Event, LegStatistics, PlayOutcome, RecordOutcome};
pub use tap::Tapped;
