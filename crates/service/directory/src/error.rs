use crate::kdf::Busy;
use crate::names::NameError;
use ringpost_store::{CommitError, StoreError};

/// Why the directory did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The domain is not served here.
    #[error("there is no domain {0}")]
    NoSuchDomain(String),
    /// No account has this address.
    #[error("there is no account {0}")]
    NoSuchAccount(String),
    /// No alias has this address.
    #[error("there is no alias {0}")]
    NoSuchAlias(String),
    /// It makes no sense; says why.
    #[error("{0}")]
    Cannot(String),
    /// An alias or a forward that leads to more addresses than it may.
    #[error("{0} leads to {max} addresses, and more are not allowed", max = ringpost_base::limits::ALIAS_TARGETS)]
    TooManyTargets(String),
    /// The account has no device of this name.
    #[error("there is no device {0}")]
    NoSuchDevice(String),
    /// This leads to an account and is not its own address.
    #[error("{name} is another name of {account}")]
    AnotherName {
        /// What was given.
        name: String,
        /// Whose name it is.
        account: String,
    },
    /// What is to be removed is used.
    #[error("{name} is used by {by}")]
    InUse {
        /// What was to be removed.
        name: String,
        /// Whose use it is.
        by: String,
    },
    /// Somebody has this name, number or address.
    #[error("{0} is taken")]
    Taken(String),
    /// A name that cannot be one.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// A password that cannot be one; says why.
    #[error("this password cannot be used: {0}")]
    BadPassword(String),
    /// A capability that cannot be one, or too many of them.
    #[error("expected names of capabilities, at most 64, as SORT or THREAD=REFERENCES")]
    BadCapability,
    /// The account has as many devices as it may have.
    #[error("{0} has {max} devices, and more are not allowed", max = ringpost_base::limits::DEVICES_PER_ACCOUNT)]
    TooManyDevices(String),
    /// Too many passwords are being checked: come back later.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// What was sealed does not open with this data folder's key.
    #[error("the keys of {0} were sealed with another key than this data folder's")]
    Sealed(String),
    /// A read failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A change was refused: somebody else changed the same thing, or the store failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}
