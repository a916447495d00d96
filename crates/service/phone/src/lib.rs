//! The phone service: registrar, calls, voicemail by telephone, the message-waiting lamp and text messages, as one machine.
//!
//! [`Phone`] takes SIP messages, media events, answers and time, and gives messages to send, media commands and questions.
//! It joins [`ringpost_sip`]'s user agent, [`ringpost_sdp`]'s negotiation and [`ringpost_media`]'s engine by RFC 3261, 3264,
//! 3428, 3842 and 6665; what it needs of accounts and mailboxes it asks ([`Question`]) of whoever drives it.
//!
//! Every call is anchored: each leg is a dialog of our own with a session description of our own, so no leg sees another's
//! addresses, and forwarding, voicemail and hold work the same for every phone.
//!
//! ```
//! use ringpost_base::{Rng, UnixTime, Instant};
//! use ringpost_phone::{Config, Output, Phone};
//!
//! let config = Config { domains: vec!["example.org".into()], ..Config::default() };
//! let mut phone = Phone::new(config, Rng::from_number(1));
//! phone.handle_timeout(Instant::ZERO, UnixTime::from_secs(0));
//! assert!(matches!(phone.poll_output(), Output::Timeout(None)));
//! assert!(phone.is_idle());
//! ```
//!
//! It opens no socket, reads no clock and knows no store; it relays no media itself.

mod access;
mod call;
mod config;
pub mod fuzz;
mod knock;
mod lamp;
mod phone;
mod question;
mod register;
mod registrar;
mod reply;
mod seek;
mod sip;
#[cfg(test)]
mod tests;
mod text;
mod voicemail;

pub use call::{CallId, Overheard};
pub use config::Config;
pub use phone::{CallRecord, Event, Output, Phone, Registered};
pub use question::{
    Account, Answer, Device, DeviceId, DialledMount, Greeting, LampCounts, MediaSocket, MountCaller, Person,
    Question, QuestionId, Recording,
};
pub use registrar::Binding;
pub use voicemail::{MENU_MESSAGES, SAMPLE_RATE_HZ, VoiceMessageId, VoiceMessages};
