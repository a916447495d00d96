//! The real network: listeners, TLS, SIP's sockets and the media threads.
//!
//! Everything here belongs to tokio or to plain threads; the services and `node` see it only through the traits that
//! `server` implements with it. Limits on connections, handshakes and writes are enforced here, so that no session has to.

#![warn(missing_docs)]

pub mod dns;
pub mod https;
pub mod media;
pub mod sip;
pub mod stream;
pub mod tls;
