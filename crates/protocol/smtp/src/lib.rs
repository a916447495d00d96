//! SMTP: mail taken from other servers and from people's programs, and handed to other servers.
//!
//! [`Session`] is one connection as a machine without I/O: RFC 5321 with submission (RFC 6409), PIPELINING (RFC 2920), SIZE
//! (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), CHUNKING (RFC 3030), ENHANCEDSTATUSCODES (RFC 2034), STARTTLS
//! (RFC 3207), AUTH (RFC 4954) and DSN (RFC 3461). What it cannot know it asks: whether a password is right, a recipient exists, a message
//! could be stored. The message itself passes through in pieces and is never held.
//!
//! ```
//! use ringpost_base::{Instant, Rng};
//! use ringpost_smtp::{Answer, Config, Event, Output, Question, Role, Session};
//! use std::sync::Arc;
//!
//! let now = Instant::ZERO;
//! let config = Arc::new(Config::new("mx.example.com", Role::Mx));
//! let mut session = Session::new(now, config, false, Rng::from_number(1));
//! session.handle_input(now, "EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\n".into());
//! let mut sent = Vec::new();
//! loop {
//!     match session.poll_output() {
//!         Output::Transmit(bytes) => sent.extend_from_slice(&bytes),
//!         Output::Event(Event::Question { id, question: Question::Sender { .. } }) => {
//!             session.handle_answer(now, id, Answer::Yes);
//!         }
//!         Output::Event(other) => panic!("{other:?}"),
//!         Output::Timeout(_) => break,
//!     }
//! }
//! assert!(sent.ends_with(b"250 2.1.0 Sender ok\r\n"));
//! ```
//!
//! [`client`] is the other side, [`sts`] what a domain says of its servers. Not here: BINARYMIME, which is not announced.

mod body;
pub mod client;
mod command;
mod dsn;
#[doc(hidden)]
pub mod fuzz;
mod path;
mod reply;
mod session;
pub mod sts;
mod submission;
mod trace;

pub use dsn::{MailDsn, Notify, RcptDsn, Return, utf8_address, utf8_address_in_ascii, xtext};
pub use path::{Domain, ForwardPath, Mailbox, PathError, ReversePath};
pub use reply::Refusal;
pub use session::{
    Answer, Body, Bounds, Config, Ending, Event, Output, Question, QuestionId, Role, Session, TARPIT,
    Timeouts, Transaction,
};
pub use submission::{HeaderEditor, HeaderFault, Missing};
pub use trace::{Protocol, Received, ReturnPath, Rfc5322Date};

pub(crate) use session::Extensions;
