use ringpost_imap::Refusal;
use ringpost_pop3::Refusal as Pop3Refusal;
use ringpost_store::{CommitError, StoreError, keys};
use thiserror::Error;

/// Why something could not be done with an account's mail. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MailError {
    /// There is no such account.
    #[error("there is no such account")]
    NoSuchAccount,
    /// There is no such mailbox (any more).
    #[error("there is no such mailbox")]
    NoSuchMailbox,
    /// There is no such message (any more).
    #[error("there is no such message")]
    NoSuchMessage,
    /// A mailbox of that name is there already.
    #[error("there is a mailbox of that name")]
    AlreadyExists,
    /// It makes no sense for this mailbox.
    #[error("{0}")]
    Cannot(&'static str),
    /// It is nothing but the level above other mailboxes.
    #[error("there are mailboxes below it")]
    HasChildren,
    /// A mailbox cannot be for what it shall be for.
    #[error("{0}")]
    SpecialUse(&'static str),
    /// The account would hold more than it may.
    #[error("the account is over its quota")]
    OverQuota,
    /// It holds NUL where no encoding can hold it.
    #[error("the message holds NUL outside of its parts")]
    UnknownEncoding,
    /// The message is larger than is taken.
    #[error("the message is too large")]
    TooBig,
    /// A limit on numbers is reached.
    #[error("{0}")]
    Limit(&'static str),
    /// Others changed the same thing again and again; it may be tried again.
    #[error("too many others change the same thing")]
    Busy,
    /// Another session has the maildrop to itself, or has taken it over.
    #[error("another session has the maildrop")]
    InUse,
    /// There is no room on the medium.
    #[error("the store's medium is full")]
    Full,
    /// What is stored is not what was written; names it.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(String),
}

impl From<CommitError> for MailError {
    fn from(e: CommitError) -> Self {
        match e {
            CommitError::Conflict(_) => MailError::Busy,
            CommitError::Bound(key)
                if [
                    keys::usage(keys::Usage::Bytes),
                    keys::usage(keys::Usage::Messages),
                ]
                .contains(&key) =>
            {
                MailError::OverQuota
            }
            CommitError::Full => MailError::Full,
            other => MailError::Store(other.to_string()),
        }
    }
}

impl From<StoreError> for MailError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Full => MailError::Full,
            StoreError::Damaged(what) => MailError::Damaged(what),
            other => MailError::Store(other.to_string()),
        }
    }
}

/// As an IMAP session words it.
impl From<MailError> for Refusal {
    fn from(e: MailError) -> Self {
        match e {
            MailError::NoSuchMailbox => Refusal::NoSuchMailbox,
            MailError::AlreadyExists => Refusal::AlreadyExists,
            MailError::Cannot(why) => Refusal::Cannot(why),
            MailError::HasChildren => Refusal::HasChildren,
            MailError::Damaged(_) => Refusal::Damaged,
            MailError::SpecialUse(why) => Refusal::SpecialUse(why),
            MailError::OverQuota => Refusal::OverQuota,
            MailError::UnknownEncoding => Refusal::UnknownEncoding,
            MailError::TooBig => Refusal::TooBig,
            MailError::Limit(what) => Refusal::Limit(what),
            MailError::Full => Refusal::NoRoom,
            MailError::NoSuchAccount
            | MailError::NoSuchMessage
            | MailError::Busy
            | MailError::InUse
            | MailError::Store(_) => Refusal::Unavailable,
        }
    }
}

/// As a POP3 session words it.
impl From<MailError> for Pop3Refusal {
    fn from(e: MailError) -> Self {
        match e {
            MailError::InUse => Pop3Refusal::InUse,
            MailError::NoSuchMessage => Pop3Refusal::Gone,
            // What is damaged does not mend itself.
            MailError::Damaged(_)
            | MailError::Store(_)
            | MailError::NoSuchAccount
            | MailError::NoSuchMailbox => Pop3Refusal::Broken,
            _ => Pop3Refusal::Unavailable,
        }
    }
}
