//! What every other crate stands on: time as a value, timers as data, seeded randomness, limits, names in one spelling,
//! and a byte cursor.
//!
//! There is no I/O in here and nothing asynchronous. A protocol machine is given an [`Instant`] with everything that
//! happens to it, keeps its deadlines in a [`TimerTable`] or a [`Deadlines`] queue, and draws its tags, ports and
//! back-offs from an [`Rng`] that somebody else has seeded; so a simulator can run an hour of calls in a second and
//! run it again in the same way.
//!
//! ```
//! use ringpost_base::{Deadlines, Instant};
//! use std::time::Duration;
//!
//! let start = Instant::ZERO;
//! let mut deadlines = Deadlines::new();
//! deadlines.set("timer B", start + Duration::from_secs(32));
//! deadlines.set("timer A", start + Duration::from_millis(500));
//! assert_eq!(deadlines.next(), Some(start + Duration::from_millis(500)));
//! assert_eq!(deadlines.pop_due(start + Duration::from_secs(1)), Some("timer A"));
//! assert_eq!(deadlines.pop_due(start + Duration::from_secs(1)), None);
//! ```
//!
//! It does not know any protocol, and it does not read the machine's clock.

pub mod calendar;
mod cursor;
mod id_map;
mod idn;
pub mod limits;
mod peer;
mod rng;
mod time;
mod timer;

pub use cursor::{Cursor, CursorError};
pub use id_map::{IdHasher, IdMap};
pub use idn::{ascii_domain, folded, is_letter_beyond_ascii};
pub use peer::{in_network, is_public_address, one_peer};
pub use rng::Rng;
pub use time::{Instant, UnixTime};
pub use timer::{Deadlines, TimerKind, TimerTable};
