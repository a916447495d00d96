//! Clients of the project's own, small and without I/O: an IMAP reader, a POP3 reader, a mail sender and a softphone.
//!
//! The demo and the tests use them over sockets, the simulator over a network that loses packets. They follow the RFCs as
//! a careful client does, and do no more than that takes.
//!
//! - [`imap::Client`]: commands as they are asked for, pipelined; responses as events with their data parsed.
//! - [`pop3::Client`]: commands as they are asked for, pipelined; answers with their bodies.
//! - [`smtp::Client`]: mails in, verdicts out.
//! - [`phone::Phone`]: a user agent with a voice and an ear.
//! - [`stress::Stress`]: a mail program that works at random, and says when a server contradicts itself.
//!
//! ```
//! use ringpost_base::Instant;
//! use ringpost_client::imap::{Client, Event, Output, Outcome};
//!
//! let mut client = Client::new();
//! client.handle_input(Instant::ZERO, b"* OK ready\r\n")?;
//! let login = client.login(Instant::ZERO, "alice", "secret");
//! let mut sent = Vec::new();
//! while let Output::Transmit(bytes) | Output::Event(Event::Greeting { text: bytes, .. }) = client.poll_output() {
//!     sent.push(bytes);
//! }
//! assert_eq!(sent[1], "a1 LOGIN \"alice\" \"secret\"\r\n");
//! client.handle_input(Instant::ZERO, b"a1 OK welcome\r\n")?;
//! let Output::Event(Event::Completed { tag, outcome, .. }) = client.poll_output() else { panic!() };
//! assert_eq!((tag, outcome), (login, Outcome::Ok));
//! # Ok::<(), ringpost_client::imap::Error>(())
//! ```
//!
//! It opens no connection and shows nothing to anybody; it is no mail program and no softphone for daily use: what a
//! server may do that the demo, the simulator and the tests do not need, it does not take.

#[doc(hidden)]
pub mod fuzz;
pub mod imap;
pub mod phone;
pub mod pop3;
pub mod smtp;
pub mod stress;
