//! Replies: three digits, the enhanced code of RFC 2034, and a text for people.

use std::fmt::Write as _;

/// A reply of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// `class.subject.detail`; the class is the code's first digit. Empty where RFC 2034 wants none.
    pub(crate) enhanced: &'static str,
    pub(crate) text: &'static str,
}

impl Reply {
    pub(crate) const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Self {
        Reply { code, enhanced, text }
    }

    pub(crate) fn write(self, out: &mut String) {
        let space = if self.enhanced.is_empty() { "" } else { " " };
        write_line(
            out,
            self.code,
            true,
            format_args!("{}{space}{}", self.enhanced, self.text),
        );
    }
}

/// One line of a reply; all but the last have a hyphen behind the code.
pub(crate) fn write_line(out: &mut String, code: u16, last: bool, text: std::fmt::Arguments<'_>) {
    let mark = if last { ' ' } else { '-' };
    write!(out, "{code}{mark}{text}\r\n").expect("writing to a string does not fail");
}

/// Why the owner of a session does not take a sender, a recipient or a message.
///
/// Each stands for one reply; the words are chosen here, so that what a peer reads is the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The domain is ours and has no such recipient: 550 5.1.1.
    NoSuchMailbox,
    /// The recipient is not ours, and this client may not send elsewhere through us: 550 5.7.1.
    RelayDenied,
    /// The recipient is not ours, and there is no way to send there: 550 5.1.2.
    NoRoute,
    /// The account has sent to so many elsewhere that it must wait: 450 4.7.1.
    TooMuchSent,
    /// So many messages have come from the client's address that it must wait: 450 4.7.1.
    TooManyMessages,
    /// So many passwords from the client's address were wrong that it must wait: 454 4.7.0.
    TooManyFailures,
    /// Nobody has come from there with this sender before, and is to come again: 451 4.7.1.
    Greylisted,
    /// The recipient leads to more people than one message may reach: 452 4.5.3.
    TooManyRecipients,
    /// The account that authenticated may not send as this sender: 553 5.7.1.
    SenderNotOwned,
    /// The message says that it is from somebody else than the account that signed in: 550 5.7.1.
    FromNotOwned,
    /// The message has a field twice that may stand once: 550 5.6.0.
    FieldTwice,
    /// The mailbox is over its quota; later it may not be: 452 4.2.2.
    MailboxFull,
    /// Our medium is full: 452 4.3.1.
    SystemFull,
    /// Something of ours does not work now: 451 4.3.0.
    Temporary,
    /// The server stops before it could be found out whether the message is to be taken: 451 4.3.2.
    Stopping,
    /// The message is over the limit: 552 5.3.4.
    TooLarge,
    /// The message has passed too many servers: 554 5.4.6.
    Loop,
    /// The domain of the message's author wants refused what it cannot be proven to have sent: 550 5.7.1.
    Unproven,
}

impl Refusal {
    pub(crate) const fn reply(self) -> Reply {
        match self {
            Refusal::NoSuchMailbox => Reply::new(550, "5.1.1", "No such mailbox here"),
            Refusal::RelayDenied => Reply::new(550, "5.7.1", "Relaying denied"),
            Refusal::NoRoute => Reply::new(550, "5.1.2", "No way to that domain"),
            Refusal::TooMuchSent => Reply::new(
                450,
                "4.7.1",
                "Too many recipients elsewhere within an hour, wait a while",
            ),
            Refusal::TooManyMessages => Reply::new(
                450,
                "4.7.1",
                "Too many messages from your address within an hour, wait a while",
            ),
            //= https://www.rfc-editor.org/rfc/rfc4954#section-6
            Refusal::TooManyFailures => Reply::new(
                454,
                "4.7.0",
                "Too many failed passwords from your address, wait a while",
            ),
            Refusal::Greylisted => Reply::new(451, "4.7.1", "Greylisted, try again in some minutes"),
            Refusal::TooManyRecipients => Reply::new(452, "4.5.3", "Too many recipients"),
            Refusal::SenderNotOwned => {
                Reply::new(553, "5.7.1", "Not an address of the account that signed in")
            }
            Refusal::FromNotOwned => Reply::new(
                550,
                "5.7.1",
                "From or Sender is not an address of the account that signed in",
            ),
            Refusal::FieldTwice => Reply::new(
                550,
                "5.6.0",
                "From, Sender, Date and Message-ID may stand once each",
            ),
            Refusal::MailboxFull => Reply::new(452, "4.2.2", "Mailbox full"),
            Refusal::SystemFull => Reply::new(452, "4.3.1", "Insufficient system storage"),
            Refusal::Temporary => Reply::new(451, "4.3.0", "Try again later"),
            Refusal::Stopping => Reply::new(451, "4.3.2", "The server stops, try again later"),
            Refusal::TooLarge => Reply::new(552, "5.3.4", "Message too large"),
            Refusal::Unproven => Reply::new(
                550,
                "5.7.1",
                "Neither SPF nor DKIM proves the domain in From, whose DMARC policy is to reject",
            ),
            Refusal::Loop => Reply::new(554, "5.4.6", "Too many Received lines: a mail loop"),
        }
    }
}
