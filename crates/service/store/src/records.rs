//! The typed records. A member's number is the tag that it is stored under: see [`Record`] for the
//! encoding. A tag is never given a second meaning.

pub use crate::states::{KeywordSet, Keywords, StateBlock};

use crate::record::{Member, Scalar, field_head, plain_member, record, write_field};
use crate::{AccountId, BlobId, Number, Record, Template, Width};
use bytes::Bytes;
use ringpost_base::UnixTime;
use std::fmt;

record! {
    /// What the records of the store hold. Stores from before there was this record have none.
    Contents {
        /// Counts up when the records of earlier versions lack something that is not their default.
        1 version: u32,
        /// While records are brought up to date, one more than the version that they were of; 0 when all are.
        2 upgraded_from: u32,
    }
}

record! {
    /// A domain that this server serves.
    Domain {
        /// In lower case.
        1 name: String,
        /// When it was added.
        2 created: UnixTime,
    }
}

record! {
    /// Whom a local part of a domain belongs to.
    Address {
        /// The account.
        1 account: AccountId,
        /// Whether it is another name for the account than its own.
        2 alias: bool,
    }
}

record! {
    /// A local part of a domain that leads to several addresses, or to one on another server. (What leads to one account is
    /// an [`Address`].)
    Alias {
        /// The addresses, each once: of accounts and aliases here, or on other servers.
        1 targets: Vec<String>,
        /// When it was made.
        2 created: UnixTime,
    }
}

record! {
    /// What becomes of a domain's mail.
    DomainMail {
        /// Where mail for local parts goes that lead to nobody; `None` refuses it.
        1 catch_all: Option<String>,
    }
}

record! {
    /// Whom an extension of a domain's number plan rings.
    Extension {
        /// The account.
        1 account: AccountId,
    }
}

record! {
    /// Which device a user name of the domain's realm belongs to.
    DeviceUser {
        /// The device's account.
        1 account: AccountId,
        /// The device's name within the account.
        2 device: String,
    }
}

record! {
    /// An account: one address, one extension, one mailbox and one page of streams.
    Account {
        /// The part of its address before the `@`, in lower case.
        1 local_part: String,
        /// The domain of its address, in lower case.
        2 domain: String,
        /// What people read: in a From, on a display.
        3 display_name: String,
        /// The number that rings it.
        4 extension: Option<String>,
        /// What its messages may take together; `None` as the configuration says.
        5 quota_bytes: Option<u64>,
        /// When it was made.
        6 created: UnixTime,
        /// How many messages it may have; `None` as the configuration says. [`u64::MAX`] is without a limit, in both.
        7 quota_messages: Option<u64>,
        /// Capabilities of IMAP that its programs are not told of, in capitals.
        8 imap_without: Vec<String>,
        /// Whether what looks like junk goes to the inbox like all else.
        9 takes_junk: bool,
        /// Where its mail is forwarded to.
        10 forward: Vec<String>,
        /// Whether no copy of what is forwarded is kept.
        11 forward_only: bool,
    }
}

record! {
    /// That an account's owner was told that it is nearly full, and not yet that there is room again.
    QuotaWarning {
        /// When.
        1 at: UnixTime,
    }
}

record! {
    /// A key with which a domain signs its mail.
    SigningKey {
        /// What it is found by in the DNS.
        1 selector: String,
        /// 0 is RSA, 1 is Ed25519.
        2 kind: u16,
        /// The private key, sealed with the data folder's key.
        3 sealed: Bytes,
        /// The public key in base64, as the DNS has it.
        4 public: String,
        /// 0 signs, 1 is the next one, 2 has retired.
        5 state: u16,
        /// When the state changed last.
        6 changed: UnixTime,
    }
}

record! {
    /// What can check an account's password, and not tell it.
    Password {
        /// The PHC string of argon2.
        1 argon2: String,
        /// SCRAM-SHA-256 (RFC 5802 §3, RFC 7677): the salt.
        2 scram_salt: Bytes,
        /// The iteration count.
        3 scram_iterations: u32,
        /// StoredKey.
        4 scram_stored_key: Bytes,
        /// ServerKey.
        5 scram_server_key: Bytes,
        /// When it was set.
        6 changed: UnixTime,
    }
}

record! {
    /// A phone, camera or player of an account.
    Device {
        /// Its name within the account.
        1 name: String,
        /// The user name it authenticates with, unique in the domain.
        2 user: String,
        /// Its digest keys, sealed with the data folder's key.
        3 sealed_keys: Bytes,
        /// When it was made.
        4 created: UnixTime,
    }
}

record! {
    /// A place where an account can be reached (RFC 3261 §10).
    Binding {
        /// The Contact URI, as registered.
        1 contact: String,
        /// The Call-ID of the REGISTER that set it.
        2 call_id: String,
        /// Its CSeq number.
        3 cseq: u32,
        /// When it ends.
        4 expires: UnixTime,
        /// The Contact's q, in thousandths.
        5 q_thousandths: u16,
        /// `+sip.instance` (RFC 5626 §4.1).
        6 instance: Option<String>,
        /// `reg-id` (RFC 5626 §4.2).
        7 reg_id: Option<u32>,
        /// Path values, topmost first (RFC 3327).
        8 path: Vec<String>,
        /// The User-Agent header, for lists and logs.
        9 user_agent: String,
        /// The user name that authenticated it.
        10 user: String,
        /// The transport of its flow: `udp`, `tcp`, `tls`.
        11 transport: String,
        /// Where the REGISTER came from, as `address:port`.
        12 remote: String,
        /// The listener that it came to, as `address:port`.
        13 local: String,
        /// The node that holds the flow; empty on a single machine.
        14 node: String,
        /// The server's process in which a connected flow lives; another one's connections are gone.
        15 process: u64,
        /// When the device of that user name was made.
        16 device_made: UnixTime,
    }
}
plain_member!(Binding);

record! {
    /// The bindings of one account, as the journal keeps them.
    Bindings {
        /// Whose.
        1 account: AccountId,
        /// The account's address, so that a start needs no other lookup.
        2 address: String,
        /// In the order of registration.
        3 bindings: Vec<Binding>,
    }
}

/// A mailbox's number within its account; never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MailboxId(pub u32);

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Scalar for MailboxId {
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        u32::decode(bytes).map(MailboxId)
    }
}
plain_member!(MailboxId);

/// What a mailbox is for (RFC 6154 §2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    const ALL: [SpecialUse; 5] = [
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
    ];
}

impl Scalar for SpecialUse {
    fn encode(&self) -> Vec<u8> {
        vec![*self as u8 + 1]
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        let n = u8::decode(bytes)?;
        Self::ALL.get(usize::from(n).checked_sub(1)?).copied()
    }
}

record! {
    /// A mailbox. What changes with each message (the next UID, counts) is kept in counters beside it.
    Mailbox {
        /// Its number, which survives renaming.
        1 id: MailboxId,
        /// Its name in UTF-8, `/` between levels; the inbox is `INBOX`.
        2 name: String,
        /// UIDVALIDITY: greater than that of every mailbox the account had before.
        3 uid_validity: u32,
        /// What it is for; fixed when it is made.
        4 special_use: Option<SpecialUse>,
        /// When it was made.
        5 created: UnixTime,
    }
}

/// The member of a mailbox that a commit mints when it is made.
const MAILBOX_ID: u8 = 1;
const MAILBOX_UID_VALIDITY: u8 = 3;

impl Mailbox {
    /// Whether voicemail in it lights the lamp: everywhere but in Trash, Junk and Archive.
    pub fn counts_for_lamp(&self) -> bool {
        !matches!(
            self.special_use,
            Some(SpecialUse::Trash | SpecialUse::Junk | SpecialUse::Archive)
        )
    }

    /// The record with its number and UIDVALIDITY minted.
    pub fn template(&self, id: impl Into<Number>, uid_validity: impl Into<Number>) -> Template {
        let plain = Mailbox {
            id: MailboxId(0),
            uid_validity: 0,
            ..self.clone()
        };
        let template = numbered(plain.to_bytes().into(), MAILBOX_ID, id.into(), Width::U32);
        numbered(template, MAILBOX_UID_VALIDITY, uid_validity.into(), Width::U32)
    }
}

record! {
    /// Which mailbox has a name.
    MailboxName {
        /// The mailbox.
        1 mailbox: MailboxId,
    }
}

impl MailboxName {
    /// The record with the mailbox's number minted.
    pub fn template(mailbox: impl Into<Number>) -> Template {
        numbered(
            MailboxName::default().to_bytes().into(),
            1,
            mailbox.into(),
            Width::U32,
        )
    }
}

record! {
    /// That a mailbox name is subscribed to; the mailbox need not exist.
    Subscription {
    }
}

/// What a message is, by its Message-Context (RFC 3458).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MessageKind {
    /// Mail like any other.
    #[default]
    Mail,
    /// `voice-message`: the lamp counts it.
    Voice,
    /// A text message that could not be shown at once.
    Text,
}

impl MessageKind {
    pub(crate) fn of_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(MessageKind::Mail),
            1 => Some(MessageKind::Voice),
            2 => Some(MessageKind::Text),
            _ => None,
        }
    }
}

impl Scalar for MessageKind {
    fn encode(&self) -> Vec<u8> {
        vec![*self as u8]
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        MessageKind::of_number(u8::decode(bytes)?.into())
    }
}
plain_member!(MessageKind);

record! {
    /// What never changes about a message in a mailbox.
    Message {
        /// Its body.
        1 blob: BlobId,
        /// The body's length: RFC822.SIZE.
        2 size_bytes: u64,
        /// How much of the body is its header, the empty line included.
        3 header_bytes: u64,
        /// INTERNALDATE.
        4 received: UnixTime,
        /// The Date header, if it can be read.
        5 sent: Option<UnixTime>,
        /// When it came into this mailbox.
        6 saved: UnixTime,
        /// What it is.
        7 kind: MessageKind,
        /// Its ENVELOPE, as the mail service wrote it.
        8 envelope: Bytes,
        /// Its BODYSTRUCTURE, as the mail service wrote it.
        9 structure: Bytes,
        /// The same for every copy of the message in the account (RFC 8474); drawn at delivery.
        10 email_id: u64,
        /// What THREAD wants without the body, as the mail service wrote it; empty for a message that came before it was kept.
        11 index: Bytes,
        /// What CRLF at the end of each line would add to the body where it has less, in bytes: with `size_bytes` the size that
        /// POP3 tells and sends.
        12 line_end_bytes: u64,
    }
}

/// The system flags of a message (RFC 9051 §2.3.2), as bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// `\Seen`
    pub const SEEN: Flags = Flags(1);
    /// `\Answered`
    pub const ANSWERED: Flags = Flags(2);
    /// `\Flagged`
    pub const FLAGGED: Flags = Flags(4);
    /// `\Deleted`
    pub const DELETED: Flags = Flags(8);
    /// `\Draft`
    pub const DRAFT: Flags = Flags(16);

    /// Whether every flag of `other` is set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those of `other`.
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// These without those of `other`.
    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"];
        let set = names.iter().enumerate().filter(|(bit, _)| self.0 & 1 << bit != 0);
        f.debug_list().entries(set.map(|(_, name)| name)).finish()
    }
}

impl Scalar for Flags {
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        u16::decode(bytes).map(Flags)
    }
}
plain_member!(Flags);

record! {
    /// What may change about a message in a mailbox, and what is needed to count it.
    MessageState {
        /// The system flags.
        1 flags: Flags,
        /// Its keywords.
        2 keywords: Keywords,
        /// The MODSEQ of the last change (RFC 7162).
        3 modseq: u64,
        /// The message's own, so that counting reads one record.
        4 kind: MessageKind,
        /// The message's own, likewise.
        5 size_bytes: u64,
        /// The message's own, so that a list of sizes reads no messages.
        6 line_end_bytes: u64,
    }
}

impl MessageState {
    /// The record with its MODSEQ minted.
    pub fn template(&self, modseq: impl Into<Number>) -> Template {
        let plain = MessageState {
            modseq: 0,
            ..self.clone()
        };
        numbered(plain.to_bytes().into(), 3, modseq.into(), Width::U64)
    }
}

/// UIDs from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UidRange {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

impl Scalar for UidRange {
    fn encode(&self) -> Vec<u8> {
        [self.first.to_be_bytes(), self.last.to_be_bytes()].concat()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        let (first, last) = bytes.split_at_checked(4)?;
        Some(UidRange {
            first: u32::from_be_bytes(first.try_into().ok()?),
            last: u32::from_be_bytes(last.try_into().ok()?),
        })
    }
}

record! {
    /// What one commit did to one mailbox, under the MODSEQ it minted.
    Change {
        /// Messages that came, or whose flags changed.
        1 changed: Vec<UidRange>,
        /// Messages that were expunged.
        2 vanished: Vec<UidRange>,
    }
}

impl Change {
    /// The record with a further range of changed UIDs for each of `arrived`, minted.
    pub fn template(&self, arrived: &[Number]) -> Template {
        arrived
            .iter()
            .fold(self.to_bytes().into(), |template: Template, uid| {
                template
                    .bytes(field_head(1, 8))
                    .number(*uid, Width::U32)
                    .number(*uid, Width::U32)
            })
    }
}

record! {
    /// One of a queued message's recipients.
    SpoolRecipient {
        /// The address, as it was given.
        1 address: String,
        /// The account it leads to; `None` when it is on another server.
        2 account: Option<AccountId>,
        /// Whether nothing is left to be done for it.
        3 done: bool,
        /// The mailbox that it names besides, which is used if it exists; empty is the inbox.
        4 folder: String,
        /// NOTIFY of RFC 3461, as bits; 0 when nothing was said.
        5 notify: u16,
        /// ORCPT, as it was sent.
        6 original: String,
    }
}
plain_member!(SpoolRecipient);

record! {
    /// A message whose delivery was promised and is not yet finished.
    Spool {
        /// Its number; deliveries are idempotent by it.
        1 id: u64,
        /// The envelope's sender; empty is the null reverse path.
        2 sender: String,
        /// Whom it is for.
        3 recipients: Vec<SpoolRecipient>,
        /// Its body.
        4 blob: BlobId,
        /// The body's length.
        5 size_bytes: u64,
        /// When it was accepted.
        6 received: UnixTime,
        /// Who submitted it, if somebody did.
        7 submitter: Option<AccountId>,
        /// How often delivery was tried.
        8 attempts: u32,
        /// Whether it looks like junk.
        9 junk: bool,
        /// ENVID, as it was sent.
        20 envelope_id: String,
        /// The account that hears of the delivery where that was asked for; `None` where the sender is on another server.
        21 sender_account: Option<AccountId>,
    }
}

record! {
    /// One of the recipients that a message for another server has not reached.
    QueuedRecipient {
        /// The address, as it was given.
        1 address: String,
        /// Whether it never will: the sender is to be told.
        2 failed: bool,
        /// What was said last, as RFC 3463 has it; empty before the first attempt.
        3 status: String,
        /// The reply's code; 0 where no server spoke.
        4 code: u16,
        /// The reply's text, or ours.
        5 text: String,
        /// NOTIFY of RFC 3461, as bits; 0 when nothing was said.
        6 notify: u16,
        /// ORCPT, as it was sent.
        7 original: String,
        /// The next server has it, and will not tell the sender, who wants to know.
        8 relayed: bool,
    }
}
plain_member!(QueuedRecipient);

record! {
    /// A message that was promised to people on one other server. A message for several servers has a record for each, of
    /// the same body.
    Queued {
        /// Its number.
        1 id: u64,
        /// The envelope's sender; empty is the null reverse path, to which nothing is told.
        2 sender: String,
        /// Whom it has not reached yet.
        3 recipients: Vec<QueuedRecipient>,
        /// Where they are: a domain, or an address in brackets.
        4 destination: String,
        /// Its body.
        5 blob: BlobId,
        /// The body's length.
        6 size_bytes: u64,
        /// So many bytes at its beginning are not sent: the Return-Path, which is for those who have it here.
        7 skip_bytes: u64,
        /// When it was accepted.
        8 received: UnixTime,
        /// Who submitted it, if somebody did.
        9 submitter: Option<AccountId>,
        /// It has bytes beyond ASCII.
        10 eight_bit: bool,
        /// It was declared to need SMTPUTF8.
        11 utf8: bool,
        /// How often it was tried.
        12 attempts: u32,
        /// When it was tried last.
        13 attempted: UnixTime,
        /// Whether the sender knows that it takes long.
        14 delay_told: bool,
        /// The process that is at work on it until it is due; 0 when nobody is.
        15 lease: u64,
        /// What is sent before the body: fields that stand in this copy alone.
        16 prefix: String,
        /// ENVID, as it was sent.
        17 envelope_id: String,
        /// RET: 1 is FULL, 2 is HDRS; 0 when nothing was said.
        18 returns: u16,
        /// It is held back: not tried until it is released.
        30 held: bool,
        /// It has lines over 998 octets.
        31 long_lines: bool,
        /// What stands before the body when it is sent: our signatures.
        32 head: Bytes,
        /// It is sent in its 7-bit form, also to who takes more: that is what `head` signs.
        33 seven_bit: bool,
        /// The account that forwards it and has no copy: it has what is refused for good.
        34 keeper: Option<AccountId>,
        /// What its recipients are called to the sender, who is not to learn where it is forwarded to.
        35 known_as: String,
        /// Whether it looks like junk.
        36 junk: bool,
    }
}

record! {
    /// What an administrator holds back of the mail for other servers, what comes later included.
    QueueHolds {
        /// All of it.
        1 all: bool,
        /// What goes to these.
        2 destinations: Vec<String>,
        /// What these have submitted.
        3 accounts: Vec<AccountId>,
    }
}

record! {
    /// What another domain says of how its mail servers are to be spoken to (MTA-STS, RFC 8461).
    StsPolicy {
        /// The domain, in lower case.
        1 domain: String,
        /// What the DNS called it.
        2 id: String,
        /// As it was fetched.
        3 text: String,
        /// Until when it holds.
        4 expires: UnixTime,
    }
}

record! {
    /// That a network has tried to bring mail from a sender to a recipient; or, of a network as a whole, how often that went
    /// well.
    Greylisted {
        /// When it came first.
        1 first: UnixTime,
        /// How often it came again as servers do.
        2 passed: u32,
        /// Until when it is remembered.
        3 expires: UnixTime,
    }
}

record! {
    /// That a spooled message has reached a recipient's mailbox.
    Delivered {
        /// When.
        1 at: UnixTime,
    }
}

record! {
    /// Who has an account's inbox to himself, as POP3 wants it (RFC 1939 §4). It is kept for a time and not given back, so that
    /// a client that looks in every minute costs no commit; whoever changes the mailbox under it guards its version.
    MaildropLease {
        /// The node that has it; empty on a single machine.
        1 node: String,
        /// The server's process that has it: what another process of the same node held ended with that process.
        2 process: u64,
        /// How often it has changed hands.
        3 fence: u64,
        /// When it ends, unless it is prolonged.
        4 until: UnixTime,
    }
}

/// Appends a number to a record's fields; it replaces the default that was left out.
pub(crate) fn numbered(template: Template, tag: u8, number: Number, width: Width) -> Template {
    let len = match width {
        Width::U32 => 4,
        Width::U64 => 8,
    };
    template.bytes(field_head(tag, len)).number(number, width)
}

/// Feeds bytes to the decoder of every record.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use crate::record::fuzz as one;
    one::<Contents>(data);
    one::<Domain>(data);
    one::<Address>(data);
    one::<Alias>(data);
    one::<DomainMail>(data);
    one::<Extension>(data);
    one::<DeviceUser>(data);
    one::<SigningKey>(data);
    one::<Account>(data);
    one::<Password>(data);
    one::<Device>(data);
    one::<Bindings>(data);
    one::<Mailbox>(data);
    one::<MailboxName>(data);
    one::<Message>(data);
    one::<MessageState>(data);
    one::<StateBlock>(data);
    crate::states::fuzz(data);
    one::<Change>(data);
    one::<Spool>(data);
    one::<Queued>(data);
    one::<QueueHolds>(data);
    one::<StsPolicy>(data);
    one::<Greylisted>(data);
    one::<MaildropLease>(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Minted};
    use proptest::prelude::*;

    fn again<R: Record>(record: &R) -> R {
        R::from_bytes(&Key::default(), record.to_bytes().into()).unwrap()
    }

    proptest! {
        #[test]
        fn a_message_survives_its_bytes(
            size_bytes: u64, header_bytes: u64, at: u64, sent: Option<u64>, envelope: Vec<u8>, id: [u8; 16],
        ) {
            let message = Message {
                blob: BlobId(id),
                size_bytes,
                header_bytes,
                received: UnixTime::from_nanos(at),
                sent: sent.map(UnixTime::from_nanos),
                kind: MessageKind::Voice,
                envelope: envelope.into(),
                line_end_bytes: at,
                ..Message::default()
            };
            prop_assert_eq!(again(&message), message);
        }

        #[test]
        fn no_bytes_panic(data: Vec<u8>) {
            fuzz(&data);
            fuzz(&[&[1], &data[..]].concat());
        }
    }

    #[test]
    fn lists_keep_empty_members_and_nested_records() {
        let spool = Spool {
            id: 9,
            recipients: vec![
                SpoolRecipient {
                    address: String::new(),
                    account: Some(AccountId(0)),
                    ..SpoolRecipient::default()
                },
                SpoolRecipient::default(),
            ],
            ..Spool::default()
        };
        assert_eq!(again(&spool), spool);
        let state = MessageState {
            keywords: vec![String::new(), "$Junk".into()].into(),
            ..MessageState::default()
        };
        assert_eq!(again(&state), state);
    }

    #[test]
    fn a_field_of_a_later_version_is_skipped() {
        let mut bytes = Extension {
            account: AccountId(300),
        }
        .to_bytes();
        write_field(200, &[7; 300], &mut bytes);
        let read = Extension::from_bytes(&Key::default(), bytes.into()).unwrap();
        assert_eq!(
            read,
            Extension {
                account: AccountId(300)
            }
        );
    }

    #[test]
    fn another_format_or_a_cut_value_is_damaged() {
        let bytes = Domain {
            name: "example.org".into(),
            created: UnixTime::from_secs(1),
        }
        .to_bytes();
        for cut in [0, 2, 5, bytes.len() - 1] {
            assert!(Domain::from_bytes(&Key::default(), Bytes::copy_from_slice(&bytes[..cut])).is_err());
        }
        assert!(Domain::from_bytes(&Key::default(), Bytes::from_static(&[2])).is_err());
    }

    #[test]
    fn minted_numbers_land_in_their_members() {
        let minted = |index| Minted { index, offset: 0 };
        let state = MessageState {
            flags: Flags::SEEN,
            modseq: 5,
            ..MessageState::default()
        };
        let value = state.template(minted(0)).fill(&[700]).unwrap();
        let read = MessageState::from_bytes(&Key::default(), value).unwrap();
        assert_eq!(read, MessageState { modseq: 700, ..state });

        let value = Change::default()
            .template(&[minted(0).into(), 9u32.into()])
            .fill(&[41])
            .unwrap();
        let read = Change::from_bytes(&Key::default(), value).unwrap();
        assert_eq!(
            read.changed,
            [UidRange { first: 41, last: 41 }, UidRange { first: 9, last: 9 }]
        );

        let mailbox = Mailbox {
            name: "INBOX".into(),
            ..Mailbox::default()
        };
        let value = mailbox.template(minted(0), minted(1)).fill(&[3, 77]).unwrap();
        let read = Mailbox::from_bytes(&Key::default(), value).unwrap();
        assert_eq!(
            read,
            Mailbox {
                id: MailboxId(3),
                uid_validity: 77,
                ..mailbox
            }
        );
    }
}
