//! Whole nodes and phones in a simulated world: a network that loses, delays, doubles and reorders, a clock that jumps, a
//! node that crashes; all from one seed, so that what failed once fails again.
//!
//! - [`house::House`] is one node with everything it does, the phones of the people who live there (`ringpost-client`'s,
//!   with digest, tones and lamps), a mail program, and the [`network`] between them. It runs on the seeded
//!   [`executor`]: one thread, virtual time, an hour of calls in a second.
//! - [`scenario`] is what the people do, and what must be so afterwards: both ends agree, nothing is left over, what failed
//!   in bad weather failed by the RFC and succeeds when the weather has cleared.
//! - [`tally`] plays many seeds and counts.
//!
//! Beside the scenarios, eight mail programs work on one mailbox at once and are never contradicted (`tests/mailbox.rs`), and
//! mail is delivered, moved, expunged, spooled and queued on a disk that loses power (`tests/power`).
//!
//! ```
//! use ringpost_sim::network::Weather;
//! use ringpost_sim::scenario::{ALL, Outcome, Run};
//!
//! let run = Run { scenario: ALL[0], weather: Weather::CLEAR, seed: 1 };
//! let (outcome, _) = run.play()?;
//! assert_eq!(outcome, Outcome::Succeeded);
//! # Ok::<(), ringpost_sim::scenario::Violation>(())
//! ```
//!
//! `cargo test -p ringpost-sim` plays a few seeds of each, with `RINGPOST_SOAK=1` a thousand. `RINGPOST_SEED=17` plays one,
//! `RINGPOST_SEED=0..300` so many, and `RINGPOST_TRACE=1` prints each SIP message and what the phones tell.
//!
//! There are no streams below SIP here and no TLS: those are tested on real sockets. The disk that loses power is
//! `ringpost-store-sqlite`'s, where the store alone is tested on it.

#![warn(missing_docs)]

pub mod executor;
pub mod house;
pub mod media;
pub mod network;
pub mod node;
pub mod reader;
pub mod scenario;
pub mod tally;
mod view;
pub mod witness;
