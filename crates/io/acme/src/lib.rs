//! The server's certificate by ACME (RFC 8555): asked for, proven by HTTP-01 (§8.3) or TLS-ALPN-01 (RFC 8737), kept in the
//! data folder, shown by every listener, and renewed while they go on.
//!
//! A [`Keeper`] does it all in a task of its own. When it is time for what is decided by plain functions
//! ([`needed`], [`renew_at`], [`back_off`]); what proves a name is answered by [`Challenges`], on a listener that the
//! caller has opened; what came of it lies in a [`Folder`]. The protocol itself is spoken by instant-acme, over HTTPS
//! connections of `net`.
//!
//! ```
//! use ringpost_acme::{Held, Need, needed};
//! use ringpost_base::UnixTime;
//!
//! let day = |n: u64| UnixTime::from_secs(n * 86_400);
//! let held = Held { names: vec!["example.org".into()], not_before: day(0), not_after: day(90) };
//! let wanted = ["example.org".to_owned()];
//! assert_eq!(needed(Some(&held), &wanted, day(30), 0.0), Need::At(day(60)));
//! assert_eq!(needed(Some(&held), &wanted, day(61), 0.0), Need::Renewal);
//! ```
//!
//! It knows no wildcards, which want DNS-01, and no certificates for addresses.

#![warn(missing_docs)]

mod challenge;
mod folder;
mod keeper;
mod order;
mod schedule;
mod transport;

pub use challenge::Challenges;
pub use folder::{Folder, FolderError};
pub use keeper::{AskError, Keeper, Parts, Status};
pub use order::{ChallengeKind, ExternalAccount, Failure, Refused, Settings};
pub use schedule::{Held, Need, back_off, needed, renew_at};
