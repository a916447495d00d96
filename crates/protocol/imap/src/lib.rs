//! IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051), the server's side, as a machine: bytes and time in, bytes and questions out.
//!
//! A [`Session`] reads a client's commands, asks what it needs to know of mailboxes with an [`Ask`], and goes on when the
//! [`Answer`] comes. It keeps what the client has been told of the selected mailbox, so that every sequence number means
//! the same to both, and tells what has changed when the RFC lets it. Messages themselves never pass through it whole:
//! [`Event::Body`] hands on the pieces of an APPEND, and [`Output::Body`] names the bytes that FETCH wants sent.
//!
//! Beside RFC 3501 there are IDLE (2177), NAMESPACE (2342), ID (2971), UNSELECT (3691), UIDPLUS (4315), SASL-IR (4959),
//! COMPRESS (4978), BINARY (3516), PREVIEW (8970), UTF8=ACCEPT (6855), QUOTA (9208),
//! ENABLE (5161), SORT and THREAD (5256, 5957), LIST-EXTENDED (5258), LIST-STATUS (5819), SPECIAL-USE (6154), MOVE (6851),
//! ESEARCH (4731), SEARCHRES (5182), WITHIN (5032), MULTIAPPEND (3502), APPENDLIMIT (7889), OBJECTID (8474), SAVEDATE (8514),
//! STATUS=SIZE (8438), CONDSTORE and QRESYNC (7162), and LITERAL- or LITERAL+ (7888), with the response codes of RFC 5530.
//!
//! ```
//! use ringpost_base::{Instant, Rng};
//! use ringpost_imap::{Answer, Ask, Config, Event, Output, Session, Tls};
//! use std::sync::Arc;
//!
//! let mut session = Session::new(Instant::ZERO, Arc::new(Config::default()), Tls::Active, Rng::from_number(1));
//! session.handle_input(Instant::ZERO, b"a LOGIN alice secret\r\n");
//! let mut heard = Vec::new();
//! loop {
//!     match session.poll_output() {
//!         Output::Transmit(bytes) => heard.extend_from_slice(&bytes),
//!         Output::Event(Event::Question(question)) => {
//!             assert!(matches!(question.ask, Ask::Authenticate { .. }));
//!             session.handle_answer(Instant::ZERO, question.id, Answer::Done);
//!         }
//!         Output::Timeout(_) => break,
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert!(String::from_utf8(heard).unwrap().contains("a OK [CAPABILITY IMAP4rev1"));
//! ```
//!
//! It does not read sockets, files or the clock, keeps no mailbox, and parses no message: [`structure`] says what is
//! wanted of one, [`section`] which of its bytes a section is, and [`search`] whether it matches.

pub mod binary;
mod command;
pub mod date;
mod flag;
#[doc(hidden)]
pub mod fuzz;
pub mod name;
#[doc(hidden)]
pub mod outline;
pub mod question;
mod respond;
pub mod search;
pub mod section;
mod sequence;
mod session;
pub mod sort;
pub mod structure;
pub mod thread;
mod token;
pub mod utf7;
mod view;
mod words;

pub use flag::{Flag, FlagChange, Flags, Keyword, SystemFlag};
pub use name::{MailboxName, NameError, Pattern, SpecialUse};
pub use question::{Answer, Ask, MailboxId, ObjectId, Question, QuestionId, Refusal};
pub use sequence::{Bound, NumberSet, SequenceSet, Uid};
pub use session::{Config, Event, Output, SWITCHES, Session, Tls, is_switch};
pub use words::{decode_words, decode_words_with};
