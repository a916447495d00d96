//! IMAP4rev1 (RFC 3501), the server's side, as a machine: bytes and time in, bytes and questions out.
//!
//! It does not read sockets, files or the clock, and keeps no mailbox: what is in one it asks, with an
//! [`Ask`](question::Ask), and goes on when the [`Answer`](question::Answer) comes.

pub mod date;
mod flag;
pub mod name;
pub mod question;
pub mod search;
pub mod section;
mod sequence;
pub mod structure;
mod token;
pub mod utf7;
mod words;

pub use flag::{Flag, FlagChange, Flags, Keyword, SystemFlag};
pub use name::{MailboxName, NameError, Pattern, SpecialUse};
pub use question::{Answer, Ask, MailboxId, Question, QuestionId, Refusal};
pub use sequence::{Bound, NumberSet, SequenceSet, Uid};
pub use words::decode_words;
