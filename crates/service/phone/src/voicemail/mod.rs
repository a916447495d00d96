//! Leaving messages and hearing them by telephone.

mod deposit;
mod menu;
mod prompt;

pub use deposit::SAMPLE_RATE_HZ;
pub(crate) use deposit::{Deposit, DepositOutput};
pub use menu::{MENU_MESSAGES, VoiceMessageId};
pub(crate) use menu::{Menu, MenuOutput};
pub(crate) use prompt::Prompt;

/// An account's voicemail messages, each list oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoiceMessages {
    /// Without \Seen.
    pub new: Vec<VoiceMessageId>,
    /// The others.
    pub old: Vec<VoiceMessageId>,
}
