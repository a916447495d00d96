//! What a session asks of the mail service, and the answers it takes.

use crate::date::Date;
use crate::flag::{FlagChange, Flags, Keyword};
use crate::name::{MailboxName, SpecialUse};
use crate::search::SearchKey;
use crate::sequence::{NumberSet, Uid};
use crate::sort::SortFacts;
use crate::structure::{Envelope, Part, Spelling};
use bytes::Bytes;
use ringpost_auth::sasl::ScramKeys;
use ringpost_base::UnixTime;
use std::fmt;
use std::sync::Arc;

/// Names a [`Question`] within its session. An answer to a question that is no longer open is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u64);

/// A question of the session; one is open at a time.
#[derive(Clone, Debug)]
pub struct Question {
    /// To be given back with the answer.
    pub id: QuestionId,
    /// What is asked.
    pub ask: Ask,
}

/// A number that the mail service gives a mailbox. It stays when the mailbox is renamed and is never given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MailboxId(pub u64);

/// The object ID by which the mailbox is told (RFC 8474 §4).
impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "F{}", self.0)
    }
}

/// What identifies a message or a thread to clients (RFC 8474 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectId {
    /// A message, whatever mailbox it is in.
    Email(u64),
    /// A thread.
    Thread(u64),
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectId::Email(n) => write!(f, "M{n:016x}"),
            ObjectId::Thread(n) => write!(f, "T{n:016x}"),
        }
    }
}

/// What a session asks. Any of it may be answered with [`Answer::Refused`]; what else fits stands with each.
///
/// An answer to a change promises it: it comes when the change is durable.
#[derive(Clone, Debug)]
pub enum Ask {
    /// May this user in? → [`Answer::Done`], or [`Refusal::BadCredentials`], or [`Refusal::NotAllowed`]. The account stays the session's from then on.
    Authenticate {
        /// Who it is: an address, or what stands before its `@`, as the client wrote it.
        user: String,
        /// Whom the user wants to act as, where the client says so (RFC 4422 §2).
        authzid: Option<String>,
        /// How the user proves it.
        proof: Proof,
    },
    /// What is kept of this user's password for SCRAM → [`Answer::ScramKeys`]. A user that does not exist is told from
    /// others by nothing but the outcome.
    ScramKeys {
        /// As the client wrote it.
        user: String,
    },
    /// Is there room for one more session that compresses? → [`Answer::Done`]; [`Event::Compress`](crate::Event::Compress)
    /// follows.
    Compress,
    /// Every mailbox of the account and every name subscribed to → [`Answer::Mailboxes`]. Patterns are matched here.
    List,
    /// The numbers of a mailbox → [`Answer::Status`].
    Status(MailboxName),
    /// What the account holds and may hold → [`Answer::Quota`].
    Quota,
    /// Open a mailbox → [`Answer::Selected`]. Whatever was open before is closed, also when this is refused.
    Select {
        /// Which.
        name: MailboxName,
        /// EXAMINE: the session changes nothing, and does not take `\Recent` away from others.
        read_only: bool,
    },
    /// Make a mailbox, and those above it that are missing → [`Answer::Created`].
    Create {
        /// Its name.
        name: MailboxName,
        /// What it is for (RFC 6154 §3).
        special_use: Option<SpecialUse>,
    },
    /// Remove a mailbox and its messages → [`Answer::Deleted`]. Subscriptions stay (RFC 3501 §6.3.9).
    Delete(MailboxName),
    /// Rename a mailbox and those below it; of INBOX the messages move and it stays (RFC 3501 §6.3.5) → [`Answer::Done`].
    Rename {
        /// The name it has.
        from: MailboxName,
        /// The name it shall have.
        to: MailboxName,
    },
    /// Subscribe to a name or no longer → [`Answer::Done`].
    Subscribe {
        /// Which; it need not exist to be unsubscribed from.
        name: MailboxName,
        /// Whether it shall be subscribed to.
        subscribed: bool,
    },
    /// What has changed in the selected mailbox since the snapshot and the changes already told → [`Answer::Changes`].
    Refresh(MailboxId),
    /// What is stored of these messages → [`Answer::Messages`].
    Fetch {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// At most `limits::IMAP_PORTION`, ascending. An expunged message that the session has not been told of is
        /// still answered (RFC 2180 §4.1).
        uids: Vec<Uid>,
        /// What is wanted beside date and size.
        wants: Wants,
        /// What will be asked for next, ascending and above these, if nothing comes in between: whole portions of
        /// `limits::IMAP_PORTION`, but for the last of all. It may be read while the answer is being sent.
        then: Vec<Uid>,
    },
    /// Change flags → [`Answer::Stored`].
    Store {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// At most `limits::IMAP_STORE_PORTION`, ascending.
        uids: Vec<Uid>,
        /// How.
        change: FlagChange,
        /// Only of those whose MODSEQ is at most this (RFC 7162 §3.1.3).
        unchanged_since: Option<u64>,
    },
    /// Which messages have gone from the selected mailbox since this MODSEQ (RFC 7162 §3.2.6) → [`Answer::Vanished`].
    Vanished {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// What the client has seen.
        since: u64,
    },
    /// Which of these messages match? [`SearchKey::evaluate`] decides → [`Answer::Found`].
    Search {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// The program.
        key: Arc<SearchKey>,
        /// At most `limits::IMAP_SEARCH_PORTION` messages, ascending: those that number, UID and flags did not decide.
        among: Vec<Candidate>,
    },
    /// What SORT and THREAD compare of these messages → [`Answer::SortFacts`].
    SortFacts {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// At most `limits::IMAP_PORTION`, ascending.
        uids: Vec<Uid>,
        /// Whether the References field is wanted.
        references: bool,
    },
    /// May this message be appended? → [`Answer::Done`]. Its bytes follow as `Event::Body`, then [`Ask::AppendFinish`],
    /// or `Event::BodyAborted`, when it is to be forgotten.
    AppendBegin {
        /// Where to.
        to: MailboxName,
        /// Its flags.
        flags: Flags,
        /// Its internal date; `None` is now.
        date: Option<UnixTime>,
        /// How many bytes will come.
        size_bytes: u64,
        /// Whether NUL may be among them (RFC 3516 §4.4).
        binary: bool,
    },
    /// The message whose bytes have come is one of several that are kept together: may this one be appended as well
    /// (RFC 3502)? → [`Answer::Done`], and so on as after [`Ask::AppendBegin`].
    AppendNext {
        /// Its flags.
        flags: Flags,
        /// Its internal date; `None` is now.
        date: Option<UnixTime>,
        /// How many bytes will come.
        size_bytes: u64,
        /// Whether NUL may be among them.
        binary: bool,
    },
    /// Keep the messages whose bytes have come, all or none → [`Answer::Appended`].
    AppendFinish,
    /// Copy messages with flags and date, all or none → [`Answer::Copied`].
    Copy {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// Ascending.
        uids: Vec<Uid>,
        /// Where to.
        to: MailboxName,
    },
    /// Copy messages, and remove them here (RFC 6851) → [`Answer::Copied`]. The session takes the messages named in it for
    /// removed.
    Move {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// Ascending.
        uids: Vec<Uid>,
        /// Where to.
        to: MailboxName,
    },
    /// Remove the messages that have `\Deleted` → [`Answer::Expunged`].
    Expunge {
        /// The selected mailbox.
        mailbox: MailboxId,
        /// Of these only, ascending (UID EXPUNGE, RFC 4315 §2.1).
        uids: Option<Vec<Uid>>,
    },
}

/// How a user proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By this password, which is to be checked.
    Password(Password),
    /// By SCRAM: it has been proven with the keys that [`Ask::ScramKeys`] fetched.
    Scram,
    /// Not at all: SCRAM has shown that the password is another, or that there is no such user, or that somebody is in the
    /// middle. The answer is [`Refusal::BadCredentials`], at the time that the driver gives such answers.
    Failed,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// Yes; it is done.
    Done,
    /// To [`Ask::ScramKeys`]; `None` when there is no such user.
    ScramKeys(Option<ScramKeys>),
    /// No.
    Refused(Refusal),
    /// To [`Ask::Create`].
    Created(MailboxId),
    /// To [`Ask::Delete`]: the mailbox that is no more.
    Deleted(MailboxId),
    /// To [`Ask::List`], in any order.
    Mailboxes(Vec<ListedMailbox>),
    /// To [`Ask::Status`].
    Status(Status),
    /// To [`Ask::Authenticate`]: done, and the client is not to be told of these capabilities, in capitals.
    LoggedIn {
        /// Whole names, or what stands before `=` of several.
        without: Vec<String>,
    },
    /// To [`Ask::Quota`].
    Quota(QuotaUse),
    /// To [`Ask::Select`].
    Selected(Snapshot),
    /// To [`Ask::Refresh`].
    Changes(Changes),
    /// To [`Ask::Fetch`]: in the order asked; one that is gone for good is left out. It may stop early, when what is known of
    /// the messages is much: those behind the last one are asked for again. An empty answer says that all are gone.
    Messages(Vec<Message>),
    /// To [`Ask::Store`].
    Stored {
        /// The flags that the messages have now, in the order asked; one that is gone is left out.
        states: Vec<MessageState>,
        /// Those of them that were left as they were because their MODSEQ is higher than the client wants, ascending.
        modified: Vec<Uid>,
    },
    /// To [`Ask::Vanished`]: their UIDs, of messages that the session was told of or not; `None` when it is no longer known,
    /// so that everything that is not there may have gone since.
    Vanished(Option<NumberSet>),
    /// To [`Ask::Search`]: ascending.
    Found(Vec<Uid>),
    /// To [`Ask::SortFacts`]: under the same terms as [`Answer::Messages`].
    SortFacts(Vec<SortFacts>),
    /// To [`Ask::AppendFinish`].
    Appended {
        /// UIDVALIDITY of the mailbox.
        uid_validity: u32,
        /// The UIDs of the new messages, in their order.
        uids: Vec<Uid>,
    },
    /// To [`Ask::Copy`] and [`Ask::Move`].
    Copied {
        /// UIDVALIDITY of the mailbox that they were copied to.
        uid_validity: u32,
        /// Old and new UID of each message that was still there, the old ones ascending.
        pairs: Vec<(Uid, Uid)>,
    },
    /// To [`Ask::Expunge`]: what was removed, ascending.
    Expunged(Vec<Uid>),
}

/// Why the mail service said no. The session words it, with the response codes of RFC 5530.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user or the password is wrong; which of them is not told.
    BadCredentials,
    /// The user is who it says, and may not act as whom it wants to (RFC 5530 §3).
    NotAllowed,
    /// There is no such mailbox.
    NoSuchMailbox,
    /// There is one of that name already.
    AlreadyExists,
    /// This cannot be done to this mailbox: INBOX deleted, one renamed into itself.
    Cannot(&'static str),
    /// There are mailboxes below it, and it is nothing but the level above them.
    HasChildren,
    /// A mailbox cannot be for this (RFC 6154 §3).
    SpecialUse(&'static str),
    /// The account would hold more than it may (RFC 9208 §4.3).
    OverQuota,
    /// It holds NUL where nothing can hold it (RFC 3516 §4.4).
    UnknownEncoding,
    /// The message is larger than is taken.
    TooBig,
    /// A limit on numbers is reached: mailboxes of an account, keywords of a message.
    Limit(&'static str),
    /// The store's medium is full: nobody can store anything, whatever their quota.
    NoRoom,
    /// What is stored is damaged.
    Damaged,
    /// The store cannot be reached; it may be tried again.
    Unavailable,
    /// Too many passwords from the client's address were wrong: this one was not looked at.
    TooManyFailures,
}

/// A mailbox as [`Ask::List`] wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMailbox {
    /// Its name.
    pub name: MailboxName,
    /// Whether there is one: a name may be subscribed to that is gone.
    pub exists: bool,
    /// Whether it can be selected: false for a name that only has mailboxes below it.
    pub selectable: bool,
    /// Whether it is subscribed to.
    pub subscribed: bool,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
}

/// The numbers that STATUS can tell (RFC 3501 §6.3.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Messages in the mailbox.
    pub messages: u32,
    /// Messages that no session has been told of.
    pub recent: u32,
    /// The next UID that will be given, or one below it.
    pub uid_next: Uid,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// HIGHESTMODSEQ; at least 1.
    pub highest_modseq: u64,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Bytes of all messages (RFC 8438).
    pub size_bytes: u64,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Their sizes together.
    pub deleted_bytes: u64,
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// So much is used.
    pub used: u64,
    /// So much may be.
    pub limit: Option<u64>,
}

/// What an account holds (RFC 9208).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUse {
    /// Bytes of all messages.
    pub bytes: Used,
    /// Messages.
    pub messages: Used,
}

/// A mailbox at the moment it was selected.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// The next UID that will be given.
    pub uid_next: Uid,
    /// The highest modification number given; at least 1.
    pub highest_modseq: u64,
    /// Whether nothing may be changed, be it that EXAMINE was asked for.
    pub read_only: bool,
    /// Keywords in use in the mailbox; more may be learnt from the messages.
    pub keywords: Vec<Keyword>,
    /// Its messages, UIDs ascending.
    pub messages: Vec<MessageState>,
}

/// What can change of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageState {
    /// Which.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// The number of its last change.
    pub modseq: u64,
    /// Whether this session is the first to see it; looked at when the session first hears of the message.
    pub recent: bool,
}

/// What happened in a mailbox.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New messages, UIDs ascending and above all told before; one that the session has already is skipped.
    pub arrived: Vec<MessageState>,
    /// New flags of messages.
    pub flags: Vec<MessageState>,
    /// Messages that are gone.
    pub expunged: Vec<Uid>,
    /// The mailbox's MODSEQ up to which all this is; 0 says nothing of it.
    pub highest_modseq: u64,
    /// The mailbox itself is gone.
    pub mailbox_gone: bool,
}

/// What FETCH wants beside what [`Message`] always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The envelope, to be looked into.
    pub envelope: bool,
    /// The envelope as it is sent to a client.
    pub written: Option<Spelling>,
    /// The MIME structure.
    pub structure: bool,
    /// How its text begins (RFC 8970).
    pub preview: bool,
    /// The thread.
    pub thread: bool,
}

/// What does not change of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub uid: Uid,
    /// When it was delivered, or what APPEND said.
    pub internal_date: UnixTime,
    /// When it came into this mailbox (RFC 8514).
    pub saved: UnixTime,
    /// The same for every copy of it (RFC 8474 §5.1).
    pub email_id: ObjectId,
    /// The same for every message of its thread (RFC 8474 §5.2), when wanted.
    pub thread_id: Option<ObjectId>,
    /// Its size.
    pub size_bytes: u64,
    /// The envelope, when wanted.
    pub envelope: Option<Arc<Envelope>>,
    /// The same as [`Envelope::write`] gives it, when that is wanted; without, the envelope itself is written.
    pub written: Option<Bytes>,
    /// The MIME structure, when wanted.
    pub structure: Option<Arc<Part>>,
    /// How its text begins, when wanted: at most 256 characters; empty when there is no text.
    pub preview: Option<String>,
}

impl Message {
    /// What it takes in memory, in bytes, about.
    pub fn held_bytes(&self) -> usize {
        size_of::<Message>()
            + self.envelope.as_ref().map_or(0, |envelope| envelope.held_bytes())
            + self.written.as_ref().map_or(0, Bytes::len)
            + self
                .structure
                .as_ref()
                .map_or(0, |structure| structure.held_bytes())
            + self.preview.as_ref().map_or(0, String::len)
    }
}

/// A message that a search has not decided yet, as the session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its UID.
    pub uid: Uid,
    /// Its sequence number in the session.
    pub number: u32,
    /// Its flags.
    pub flags: Flags,
    /// Its MODSEQ.
    pub modseq: u64,
    /// Whether it is `\Recent` to the session.
    pub recent: bool,
    /// The session's last sequence number and UID: what `*` means.
    pub last: (u32, Uid),
}

/// A password on its way to be checked; it does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps one.
    pub fn new(text: impl Into<String>) -> Self {
        Password(text.into())
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Message {
    /// The day of its Date field, whatever the zone.
    pub fn sent_date(&self) -> Option<Date> {
        crate::date::header_date(self.envelope.as_ref()?.date.as_deref()?)
    }
}
