//! One whole Ringpost server as a library: the services joined, driven by sessions, in whatever world it is put.
//!
//! The world is handed in as trait objects ([`World`], [`Connection`], [`SipTransport`], [`MediaPlane`]): the binary gives
//! real sockets and clocks, the simulator seeded ones. The asynchronous code in here awaits only those, the store's traits
//! and bounded channels; it knows no runtime, so the simulator's own executor runs it in a fixed order.
//!
//! ```
//! use futures_util::{FutureExt, future::BoxFuture};
//! use ringpost_base::{Instant, Rng, UnixTime};
//! use ringpost_mail::Mail;
//! use ringpost_node::{Stopper, smtp, world::World};
//! use ringpost_store::{Bodies, LocalBus, MemoryBlobs, MemoryStore};
//! use std::sync::Arc;
//!
//! /// A world in which no time passes.
//! struct Still;
//! impl World for Still {
//!     fn now(&self) -> Instant { Instant::ZERO }
//!     fn unix_now(&self) -> UnixTime { UnixTime::from_secs(1_700_000_000) }
//!     fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> { std::future::pending().boxed() }
//!     fn spawn(&self, task: BoxFuture<'static, ()>) { task.now_or_never(); }
//!     fn rng(&self) -> Rng { Rng::from_number(1) }
//! }
//!
//! let store = Arc::new(MemoryStore::new());
//! let bodies = Bodies::new(store.clone(), Arc::new(MemoryBlobs::new(|| Still.unix_now())), Still.rng());
//! let mail = Arc::new(Mail::new(store, bodies, Arc::new(LocalBus::new()), Still.rng()));
//! let (stopper, stop) = Stopper::new();
//! let mut worker = Box::pin(smtp::deliver_due(Arc::new(Still), mail, stop));
//! assert!(worker.as_mut().now_or_never().is_none(), "it looks again in a minute");
//! stopper.stop();
//! assert!(worker.now_or_never().is_some());
//! ```
//!
//! It opens no socket, no file and no thread, reads no configuration, and decides nothing that a service could decide: it
//! brings questions to those who answer them.

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
pub mod stream;
#[cfg(test)]
mod testing;
pub mod voicemail;
pub mod world;

pub use stop::{AtWork, Awaited, Leaving, Stop, Stopper};
