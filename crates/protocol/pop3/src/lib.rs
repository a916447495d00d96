//! POP3 (RFC 1939), the server's side, as a machine: bytes and time in, bytes and questions out.
//!
//! A [`Session`] reads a client's commands, asks what it needs to know with an [`Ask`], and goes on when the [`Answer`]
//! comes. The maildrop is what the answer to the login says it is, and stays so until the session ends. Messages never pass
//! through the machine: [`Output::Body`] names the one to be sent and brings the [`Transform`] that makes its bytes a
//! multi-line response.
//!
//! Beside RFC 1939 there are CAPA with PIPELINING, RESP-CODES, EXPIRE and IMPLEMENTATION (RFC 2449), STLS (2595),
//! AUTH-RESP-CODE (3206), AUTH with PLAIN and SCRAM-SHA-256 (5034), UTF8 and LANG (6856).
//!
//! ```
//! use ringpost_base::{Instant, Rng};
//! use ringpost_pop3::{Answer, Ask, Config, Event, Listed, Maildrop, Output, Session, Tls};
//! use std::sync::Arc;
//!
//! let mut session = Session::new(Instant::ZERO, Arc::new(Config::default()), Tls::Active, Rng::from_number(1));
//! session.handle_input(Instant::ZERO, b"USER alice\r\nPASS secret\r\nSTAT\r\n");
//! let mut heard = Vec::new();
//! loop {
//!     match session.poll_output() {
//!         Output::Transmit(bytes) => heard.extend_from_slice(&bytes),
//!         Output::Event(Event::Question(question)) => {
//!             assert!(matches!(question.ask, Ask::Authenticate { .. }));
//!             let messages = [Listed { uid: 7, size_bytes: 320 }].into();
//!             let maildrop = Maildrop { uid_validity: 1, messages };
//!             session.handle_answer(Instant::ZERO, question.id, Answer::Opened(maildrop));
//!         }
//!         Output::Timeout(_) => break,
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert!(String::from_utf8(heard).unwrap().ends_with("+OK 1 320\r\n"));
//! ```
//!
//! It does not read sockets, files or the clock, and keeps no messages. APOP is not offered: it needs the password itself on
//! the server and MD5, and both SCRAM and a password under TLS do better. LOGIN-DELAY is not announced, since there is none.

mod command;
#[doc(hidden)]
pub mod fuzz;
mod input;
mod question;
mod session;
mod transform;

pub use question::{Answer, Ask, Listed, Maildrop, Password, Proof, Question, QuestionId, Refusal, Uid};
pub use session::{Config, Event, Output, Session, Tls};
pub use transform::Transform;
