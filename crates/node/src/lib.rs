//! One whole Ringpost server as a library: the services joined, driven by sessions, in whatever world it is put.
//!
//! The world is handed in as trait objects ([`World`], [`Connection`], [`SipTransport`], [`MediaPlane`]): the binary gives
//! real sockets and clocks, the simulator seeded ones. The asynchronous code in here awaits only those, the store's traits
//! and bounded channels; it knows no runtime, so the simulator's own executor runs it in a fixed order.

#![warn(missing_docs)]

pub mod imap;
mod logins;
pub mod outbound;
pub mod peers;
pub mod phone;
pub mod pop3;
mod rate;
pub mod smtp;
mod stop;
#[cfg(test)]
mod testing;
pub mod voicemail;
pub mod world;

pub use stop::{Stop, Stopper};
