//! The joint between calls and mailboxes: a recording becomes a message, a message becomes sound, and both count for the
//! lamp.

use futures_util::future::BoxFuture;
use ringpost_phone::{Answer, Question};

/// The mailboxes, as the phone service's questions see them.
pub trait Voicemail: Send + Sync + 'static {
    /// Answers one of the questions about mailboxes: `Lamp`, `Greeting`, `Deliver`, `Messages`, `Sound`, `Heard`, `Delete`.
    fn answer(&self, question: Question) -> BoxFuture<'static, Answer>;
}
