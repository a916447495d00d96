//! Every key, spelled once. A key begins with a byte for its kind; numbers follow big-endian, so that they sort; text
//! comes last and needs no end.

use crate::records::MailboxId;
use crate::{AccountId, BlobId, Key, Minted, Number, Partition, Scan, Template, Width};
use ringpost_base::UnixTime;
use std::ops::RangeInclusive;

/// The kinds of record. What follows the kind in the key is said in brackets.
mod kind {
    // In an account.
    pub(super) const ACCOUNT: u8 = b'A';
    pub(super) const PASSWORD: u8 = b'P';
    pub(super) const CHANGES: u8 = b'C';
    pub(super) const DIRECTORY_CHANGES: u8 = b'E';
    /// [name]
    pub(super) const DEVICE: u8 = b'D';
    pub(super) const LAST_MAILBOX: u8 = b'M';
    pub(super) const LAST_UID_VALIDITY: u8 = b'Y';
    /// [mailbox]
    pub(super) const MAILBOX: u8 = b'm';
    /// [name]
    pub(super) const MAILBOX_NAME: u8 = b'n';
    /// [name]
    pub(super) const SUBSCRIPTION: u8 = b's';
    /// [mailbox]
    pub(super) const LAST_UID: u8 = b'u';
    /// [mailbox]
    pub(super) const LAST_MODSEQ: u8 = b'q';
    /// [mailbox, which]
    pub(super) const MAILBOX_COUNT: u8 = b'c';
    /// [mailbox, uid]
    pub(super) const MESSAGE: u8 = b'i';
    /// [mailbox, uid]
    pub(super) const STATE: u8 = b'f';
    /// [mailbox, block]
    pub(super) const STATE_BLOCK: u8 = b'p';
    /// [mailbox, modseq]
    pub(super) const CHANGE: u8 = b'l';
    /// [mailbox]
    pub(super) const TRIMMED: u8 = b't';
    /// [mailbox]
    pub(super) const CLAIMED_UID: u8 = b'R';
    /// [which]
    pub(super) const USAGE: u8 = b'Q';
    pub(super) const QUOTA_WARNING: u8 = b'W';
    /// [which]
    pub(super) const VOICEMAIL: u8 = b'V';
    /// [mailbox]
    pub(super) const LEAVING: u8 = b'k';
    pub(super) const MAILDROP_LEASE: u8 = b'L';
    /// [spool id, recipient]
    pub(super) const DELIVERED: u8 = b'r';

    // In an account or a queue.
    /// [blob]
    pub(super) const BLOB_COUNT: u8 = b'b';
    /// [blob]
    pub(super) const SWEEP: u8 = b'z';

    // In a domain.
    /// [local part]
    pub(super) const ADDRESS: u8 = b'a';
    /// [digits]
    pub(super) const EXTENSION: u8 = b'x';
    pub(super) const LAST_EXTENSION: u8 = b'X';
    /// [user]
    pub(super) const DEVICE_USER: u8 = b'v';
    /// [selector]
    pub(super) const SIGNING_KEY: u8 = b'K';
    /// [local part]
    pub(super) const ALIAS: u8 = b'g';
    pub(super) const DOMAIN_MAIL: u8 = b'G';

    // In the directory.
    /// [name]
    pub(super) const DOMAIN: u8 = b'd';
    /// [account]
    pub(super) const BINDINGS: u8 = b'B';
    pub(super) const SWEPT: u8 = b'Z';
    /// [domain]
    pub(super) const STS_POLICY: u8 = b'S';
    pub(super) const CONTENTS: u8 = b'F';
    /// [network, sender, 0, recipient]
    pub(super) const GREYLISTED: u8 = b'Y';
    /// [network]
    pub(super) const GREYLIST_NETWORK: u8 = b'y';

    // In a queue.
    /// [due, id]
    pub(super) const SPOOL: u8 = b'w';
    /// [due, id]
    pub(super) const QUEUED: u8 = b'o';
    pub(super) const QUEUE_HOLDS: u8 = b'O';
}

fn key(kind: u8, parts: &[&[u8]]) -> Key {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    key.push(kind);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    Key(key)
}

/// The directory's shelf that lists the domains.
pub const DOMAINS: Partition = Partition::Directory(0);

/// [`Contents`](crate::records::Contents), in [`DOMAINS`].
pub fn contents() -> Key {
    key(kind::CONTENTS, &[])
}

/// [`Domain`](crate::records::Domain), in [`DOMAINS`].
pub fn domain(name: &str) -> Key {
    key(kind::DOMAIN, &[name.as_bytes()])
}

/// Every domain, in [`DOMAINS`].
pub fn domains() -> Scan {
    Scan::prefix(key(kind::DOMAIN, &[]))
}

/// [`Address`](crate::records::Address), in its domain; `local_part` in lower case.
pub fn address(local_part: &str) -> Key {
    key(kind::ADDRESS, &[local_part.as_bytes()])
}

/// Every address of a domain.
pub fn addresses() -> Scan {
    Scan::prefix(key(kind::ADDRESS, &[]))
}

/// [`Extension`](crate::records::Extension), in its domain.
pub fn extension(digits: &str) -> Key {
    key(kind::EXTENSION, &[digits.as_bytes()])
}

/// A counter, in the domain: the last extension that was given out by itself.
pub fn last_extension() -> Key {
    key(kind::LAST_EXTENSION, &[])
}

/// Every extension of a domain.
pub fn extensions() -> Scan {
    Scan::prefix(key(kind::EXTENSION, &[]))
}

/// [`DeviceUser`](crate::records::DeviceUser), in the domain.
pub fn device_user(user: &str) -> Key {
    key(kind::DEVICE_USER, &[user.as_bytes()])
}

/// Every device's user name of a domain.
pub fn device_users() -> Scan {
    Scan::prefix(key(kind::DEVICE_USER, &[]))
}

/// [`SigningKey`](crate::records::SigningKey), in the domain.
pub fn signing_key(selector: &str) -> Key {
    key(kind::SIGNING_KEY, &[selector.as_bytes()])
}

/// Every key with which a domain signs, or has signed.
pub fn signing_keys() -> Scan {
    Scan::prefix(key(kind::SIGNING_KEY, &[]))
}

/// [`Alias`](crate::records::Alias), in its domain; `local_part` in lower case.
pub fn alias(local_part: &str) -> Key {
    key(kind::ALIAS, &[local_part.as_bytes()])
}

/// Every alias of a domain that is a record of its own.
pub fn aliases() -> Scan {
    Scan::prefix(key(kind::ALIAS, &[]))
}

/// The local part in the key of an address or alias.
pub fn local_part_of(key: &Key) -> Option<&str> {
    match key.0.split_first() {
        Some((&(kind::ADDRESS | kind::ALIAS), name)) => std::str::from_utf8(name).ok(),
        _ => None,
    }
}

/// [`DomainMail`](crate::records::DomainMail), in the domain.
pub fn domain_mail() -> Key {
    key(kind::DOMAIN_MAIL, &[])
}

/// [`Account`](crate::records::Account), in the account.
pub fn account() -> Key {
    key(kind::ACCOUNT, &[])
}

/// [`Password`](crate::records::Password), in the account.
pub fn password() -> Key {
    key(kind::PASSWORD, &[])
}

/// The change counter of the account's mail (a mint): whatever was cached under an older number is to be read again.
pub fn changes() -> Key {
    key(kind::CHANGES, &[])
}

/// The account's change counter of its own record, its devices and its password (a mint): what a cache of those is
/// stamped with.
pub fn directory_changes() -> Key {
    key(kind::DIRECTORY_CHANGES, &[])
}

/// [`Device`](crate::records::Device), in the account.
pub fn device(name: &str) -> Key {
    key(kind::DEVICE, &[name.as_bytes()])
}

/// Every device of an account.
pub fn devices() -> Scan {
    Scan::prefix(key(kind::DEVICE, &[]))
}

/// [`Bindings`](crate::records::Bindings), in [`bindings_home`].
pub fn bindings(account: AccountId) -> Key {
    key(kind::BINDINGS, &[&account.0.to_be_bytes()])
}

/// The shelf that keeps an account's bindings. It is not the account's own partition: one batch saves many accounts.
pub fn bindings_home(account: AccountId) -> Partition {
    Partition::directory_of(&account.0.to_be_bytes())
}

/// Every account's bindings on a shelf.
pub fn all_bindings() -> Scan {
    Scan::prefix(key(kind::BINDINGS, &[]))
}

/// Mints mailbox numbers, in the account.
pub fn last_mailbox() -> Key {
    key(kind::LAST_MAILBOX, &[])
}

/// Mints UIDVALIDITY, in the account. It starts at the seconds of the account's making, so that a removed account that
/// is made again does not repeat what its clients have seen.
pub fn last_uid_validity() -> Key {
    key(kind::LAST_UID_VALIDITY, &[])
}

/// [`Mailbox`](crate::records::Mailbox), in the account.
pub fn mailbox(id: MailboxId) -> Key {
    key(kind::MAILBOX, &[&id.0.to_be_bytes()])
}

/// The same for a mailbox that is being made.
pub fn new_mailbox(id: Minted) -> Template {
    Template::from(vec![kind::MAILBOX]).number(id, Width::U32)
}

/// Every mailbox of an account, in the order of their making.
pub fn mailboxes() -> Scan {
    Scan::prefix(key(kind::MAILBOX, &[]))
}

/// [`MailboxName`](crate::records::MailboxName), in the account.
pub fn mailbox_name(name: &str) -> Key {
    key(kind::MAILBOX_NAME, &[name.as_bytes()])
}

/// The [`Mailbox`](crate::records::Mailbox) that was deleted and whose messages are still being cleared away.
pub fn leaving_mailbox(id: MailboxId) -> Key {
    key(kind::LEAVING, &[&id.0.to_be_bytes()])
}

/// Every mailbox of an account that is being cleared away.
pub fn leaving_mailboxes() -> Scan {
    Scan::prefix(key(kind::LEAVING, &[]))
}

/// Every mailbox name of an account that begins with `prefix`.
pub fn mailbox_names(prefix: &str) -> Scan {
    Scan::prefix(mailbox_name(prefix))
}

/// [`Subscription`](crate::records::Subscription), in the account.
pub fn subscription(name: &str) -> Key {
    key(kind::SUBSCRIPTION, &[name.as_bytes()])
}

/// Every subscription of an account.
pub fn subscriptions() -> Scan {
    Scan::prefix(key(kind::SUBSCRIPTION, &[]))
}

/// The name in the key of a subscription.
pub fn subscription_name(key: &Key) -> Option<&str> {
    match key.0.split_first() {
        Some((&kind::SUBSCRIPTION, name)) => std::str::from_utf8(name).ok(),
        _ => None,
    }
}

/// Mints a mailbox's UIDs; UIDNEXT is one more than it says.
pub fn last_uid(mailbox: MailboxId) -> Key {
    key(kind::LAST_UID, &[&mailbox.0.to_be_bytes()])
}

/// Mints a mailbox's MODSEQs; it says HIGHESTMODSEQ.
pub fn last_modseq(mailbox: MailboxId) -> Key {
    key(kind::LAST_MODSEQ, &[&mailbox.0.to_be_bytes()])
}

/// What is counted of a mailbox, in the commit that changes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MailboxCount {
    /// Messages.
    Messages,
    /// Messages without `\Seen`.
    Unseen,
    /// Messages with `\Deleted`.
    Deleted,
    /// Bytes of all messages.
    Bytes,
}

impl MailboxCount {
    /// Each of them.
    pub const ALL: [MailboxCount; 4] = [
        MailboxCount::Messages,
        MailboxCount::Unseen,
        MailboxCount::Deleted,
        MailboxCount::Bytes,
    ];
}

/// A mailbox's counter (an add).
pub fn mailbox_count(mailbox: MailboxId, what: MailboxCount) -> Key {
    key(kind::MAILBOX_COUNT, &[&mailbox.0.to_be_bytes(), &[what as u8]])
}

/// [`Message`](crate::records::Message), in the account.
pub fn message(mailbox: MailboxId, uid: u32) -> Key {
    key(kind::MESSAGE, &[&mailbox.0.to_be_bytes(), &uid.to_be_bytes()])
}

/// The same for a message that is being added.
pub fn new_message(mailbox: MailboxId, uid: impl Into<Number>) -> Template {
    Template::from(key(kind::MESSAGE, &[&mailbox.0.to_be_bytes()])).number(uid, Width::U32)
}

/// The messages of a mailbox with these UIDs, in their order.
pub fn messages(mailbox: MailboxId, uids: RangeInclusive<u32>) -> Scan {
    in_mailbox(kind::MESSAGE, mailbox, uids)
}

/// [`MessageState`](crate::records::MessageState) that is a record of its own, in the account.
pub fn message_state(mailbox: MailboxId, uid: u32) -> Key {
    key(kind::STATE, &[&mailbox.0.to_be_bytes(), &uid.to_be_bytes()])
}

/// The same for a message that is being added.
pub fn new_message_state(mailbox: MailboxId, uid: impl Into<Number>) -> Template {
    Template::from(key(kind::STATE, &[&mailbox.0.to_be_bytes()])).number(uid, Width::U32)
}

/// The states of messages of a mailbox with these UIDs that are records of their own, in their order. The others stand in
/// [blocks](state_blocks): [`StatesOf`](crate::StatesOf) finds both.
pub fn message_states(mailbox: MailboxId, uids: RangeInclusive<u32>) -> Scan {
    in_mailbox(kind::STATE, mailbox, uids)
}

/// [`StateBlock`](crate::records::StateBlock) `number` of a mailbox, in the account.
pub fn state_block(mailbox: MailboxId, number: u32) -> Key {
    key(
        kind::STATE_BLOCK,
        &[&mailbox.0.to_be_bytes(), &number.to_be_bytes()],
    )
}

/// Blocks of states of a mailbox with these numbers, in their order.
pub fn state_blocks(mailbox: MailboxId, numbers: RangeInclusive<u32>) -> Scan {
    in_mailbox(kind::STATE_BLOCK, mailbox, numbers)
}

/// The number in the key of a block of states.
pub fn state_block_of(key: &Key) -> Option<u32> {
    match key.0[..] {
        [kind::STATE_BLOCK, _, _, _, _, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

fn in_mailbox(kind: u8, mailbox: MailboxId, uids: RangeInclusive<u32>) -> Scan {
    let at = |uid: u32| key(kind, &[&mailbox.0.to_be_bytes(), &uid.to_be_bytes()]);
    let mut end = at(*uids.end());
    end.0.push(0);
    Scan::range(at(*uids.start()), end)
}

/// The UID in the key of a message or its state.
pub fn uid_of(key: &Key) -> Option<u32> {
    match key.0[..] {
        [kind::MESSAGE | kind::STATE, _, _, _, _, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// [`Change`](crate::records::Change), in the account.
pub fn change(mailbox: MailboxId, modseq: impl Into<Number>) -> Template {
    Template::from(key(kind::CHANGE, &[&mailbox.0.to_be_bytes()])).number(modseq, Width::U64)
}

/// A mailbox's changes with a MODSEQ above `modseq`, oldest first.
pub fn changes_after(mailbox: MailboxId, modseq: u64) -> Scan {
    let prefix = key(kind::CHANGE, &[&mailbox.0.to_be_bytes()]);
    let mut scan = Scan::prefix(prefix.clone());
    scan.start = Key([&prefix.0[..], &modseq.saturating_add(1).to_be_bytes()].concat());
    scan
}

/// The MODSEQ in the key of a change.
pub fn modseq_of(key: &Key) -> Option<u64> {
    match key.0.split_at_checked(5) {
        Some(([kind::CHANGE, ..], modseq)) => Some(u64::from_be_bytes(modseq.try_into().ok()?)),
        _ => None,
    }
}

/// A counter: the MODSEQ up to which the change log was trimmed. Who asks for older changes must be told everything.
pub fn trimmed_modseq(mailbox: MailboxId) -> Key {
    key(kind::TRIMMED, &[&mailbox.0.to_be_bytes()])
}

/// A counter: the highest UID of which some session was the first to be told, so that it is `\Recent` to no other.
pub fn claimed_uid(mailbox: MailboxId) -> Key {
    key(kind::CLAIMED_UID, &[&mailbox.0.to_be_bytes()])
}

/// Everything that goes when a mailbox goes, its own record excepted.
pub fn of_mailbox(mailbox: MailboxId) -> Vec<Scan> {
    let kinds = [
        kind::LAST_UID,
        kind::LAST_MODSEQ,
        kind::MAILBOX_COUNT,
        kind::MESSAGE,
        kind::STATE,
        kind::STATE_BLOCK,
        kind::CHANGE,
        kind::TRIMMED,
        kind::CLAIMED_UID,
    ];
    kinds
        .iter()
        .map(|kind| Scan::prefix(key(*kind, &[&mailbox.0.to_be_bytes()])))
        .collect()
}

/// How often the records of its partition name a body (an add).
pub fn blob_count(blob: BlobId) -> Key {
    key(kind::BLOB_COUNT, &[&blob.0])
}

/// Every count of a body in a partition, in the order of the bodies' ids.
pub fn blob_counts() -> Scan {
    Scan::prefix(key(kind::BLOB_COUNT, &[]))
}

/// The body in the key of a count, or of a note to the sweeper.
pub fn blob_of(key: &Key) -> Option<BlobId> {
    match key.0.split_first() {
        Some((&(kind::BLOB_COUNT | kind::SWEEP), id)) => Some(BlobId(id.try_into().ok()?)),
        _ => None,
    }
}

/// A note to the sweeper, beside the count: this body may be named no more. It is written without content; the sweeper
/// puts in when it found it (see [`swept_since`]).
pub fn sweep(blob: BlobId) -> Key {
    key(kind::SWEEP, &[&blob.0])
}

/// When the sweeper found a note with this value for the first time, if it has: nanoseconds in 8 bytes, big-endian.
pub fn swept_since(note: &[u8]) -> Option<UnixTime> {
    let nanos = note.try_into().ok()?;
    Some(UnixTime::from_nanos(u64::from_be_bytes(nanos)))
}

/// Every note to the sweeper in a partition.
pub fn sweeps() -> Scan {
    Scan::prefix(key(kind::SWEEP, &[]))
}

/// The counts of those bodies of a partition that lie in a [`Blobs`](crate::Blobs).
pub fn separate_blob_counts() -> Scan {
    Scan::prefix(key(kind::BLOB_COUNT, &[&[1]]))
}

/// Where [`swept`] lies.
pub const SWEPT_HOME: Partition = Partition::Directory(0);

/// Written by each pass of the sweeper; it has no content.
pub fn swept() -> Key {
    key(kind::SWEPT, &[])
}

/// [`MaildropLease`](crate::records::MaildropLease), in the account.
pub fn maildrop_lease() -> Key {
    key(kind::MAILDROP_LEASE, &[])
}

/// What an account's quota counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Usage {
    /// Bytes of all messages: STORAGE, in bytes.
    Bytes,
    /// Messages.
    Messages,
}

/// An account's use of its quota (an add).
pub fn usage(what: Usage) -> Key {
    key(kind::USAGE, &[&[what as u8]])
}

/// [`QuotaWarning`](crate::records::QuotaWarning), in the account.
pub fn quota_warning() -> Key {
    key(kind::QUOTA_WARNING, &[])
}

/// What the lamp counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Voicemail {
    /// Voicemail without `\Seen`.
    New,
    /// Voicemail with `\Seen`.
    Old,
}

/// An account's voicemail, in every mailbox but Trash, Junk and Archive (an add).
pub fn voicemail(what: Voicemail) -> Key {
    key(kind::VOICEMAIL, &[&[what as u8]])
}

/// Whether a key is one of these.
pub fn is_voicemail(key: &Key) -> bool {
    [Voicemail::New, Voicemail::Old]
        .iter()
        .any(|what| *key == voicemail(*what))
}

/// [`Delivered`](crate::records::Delivered), in the recipient's account.
pub fn delivered(spool: u64, recipient: &str) -> Key {
    key(kind::DELIVERED, &[&spool.to_be_bytes(), recipient.as_bytes()])
}

/// Every record of a delivery in an account.
pub fn deliveries() -> Scan {
    Scan::prefix(key(kind::DELIVERED, &[]))
}

/// [`Spool`](crate::records::Spool), in [`Partition::queue_of`] its id. Sorted by when it is due.
pub fn spool(due: UnixTime, id: u64) -> Key {
    key(kind::SPOOL, &[&due.as_nanos().to_be_bytes(), &id.to_be_bytes()])
}

/// What a queue holds that is due at `now`, the longest overdue first.
pub fn spool_due(now: UnixTime) -> Scan {
    Scan::range(
        key(kind::SPOOL, &[]),
        key(kind::SPOOL, &[&now.as_nanos().saturating_add(1).to_be_bytes()]),
    )
}

/// Everything that a queue holds.
pub fn spooled() -> Scan {
    Scan::prefix(key(kind::SPOOL, &[]))
}

/// [`Queued`](crate::records::Queued), in [`Partition::queue_of`] its id. Sorted by when it is due.
pub fn queued(due: UnixTime, id: u64) -> Key {
    key(kind::QUEUED, &[&due.as_nanos().to_be_bytes(), &id.to_be_bytes()])
}

/// Everything in a queue that is for other servers, the longest overdue first.
pub fn all_queued() -> Scan {
    Scan::prefix(key(kind::QUEUED, &[]))
}

/// [`StsPolicy`](crate::records::StsPolicy), in [`Partition::directory_of`] its domain.
pub fn sts_policy(domain: &str) -> Key {
    key(kind::STS_POLICY, &[domain.as_bytes()])
}

/// [`Greylisted`](crate::records::Greylisted), in [`Partition::directory_of`] its network.
pub fn greylisted(network: &[u8], sender: &str, recipient: &str) -> Key {
    let parts = [network, sender.as_bytes(), &[0], recipient.as_bytes()];
    key(kind::GREYLISTED, &parts)
}

/// [`Greylisted`](crate::records::Greylisted) for all that comes from a network, in [`Partition::directory_of`] it.
pub fn greylist_network(network: &[u8]) -> Key {
    key(kind::GREYLIST_NETWORK, &[network])
}

/// Everything greylisted on a shelf of the directory.
pub fn all_greylisted() -> [Scan; 2] {
    [
        Scan::prefix(key(kind::GREYLISTED, &[])),
        Scan::prefix(key(kind::GREYLIST_NETWORK, &[])),
    ]
}

/// Every policy on a shelf of the directory.
pub fn sts_policies() -> Scan {
    Scan::prefix(key(kind::STS_POLICY, &[]))
}

/// Where [`queue_holds`] lies.
pub const QUEUE_HOLDS_HOME: Partition = Partition::Directory(0);

/// [`QueueHolds`](crate::records::QueueHolds), in [`QUEUE_HOLDS_HOME`].
pub fn queue_holds() -> Key {
    key(kind::QUEUE_HOLDS, &[])
}

/// When the spool or queue record with this key is due, and its id.
pub fn due_of(key: &Key) -> Option<(UnixTime, u64)> {
    let (kind::SPOOL | kind::QUEUED, rest) = key.0.split_first().map(|(k, r)| (*k, r))? else {
        return None;
    };
    let (due, id) = rest.split_at_checked(8)?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    Some((UnixTime::from_nanos(number(due)?), number(id)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_key_can_be_read_back() {
        let mailbox = MailboxId(3);
        assert_eq!(uid_of(&message(mailbox, 70_000)), Some(70_000));
        assert_eq!(uid_of(&message_state(mailbox, 1)), Some(1));
        assert_eq!(uid_of(&account()), None);
        assert_eq!(state_block_of(&state_block(mailbox, 70_000)), Some(70_000));
        assert_eq!(uid_of(&state_block(mailbox, 1)), None);
        assert_eq!(subscription_name(&subscription("a/b")), Some("a/b"));
        assert_eq!(subscription_name(&mailbox_name("a/b")), None);
        assert_eq!(blob_of(&blob_count(BlobId([9; 16]))), Some(BlobId([9; 16])));
        let at = UnixTime::from_secs(5);
        assert_eq!(due_of(&spool(at, 7)), Some((at, 7)));
        assert_eq!(due_of(&queued(at, 7)), Some((at, 7)));
        let written = change(mailbox, 12u64).fill(&[]).map(|k| Key(k.into()));
        assert_eq!(written.as_ref().and_then(modseq_of), Some(12));
    }

    #[test]
    fn a_key_that_is_minted_equals_the_key_that_is_read() {
        let minted = Minted { index: 0, offset: 0 };
        let filled = |t: Template| t.fill(&[9]).map(|k| Key(k.into()));
        assert_eq!(
            filled(new_message(MailboxId(1), minted)),
            Some(message(MailboxId(1), 9))
        );
        assert_eq!(
            filled(new_message_state(MailboxId(1), minted)),
            Some(message_state(MailboxId(1), 9))
        );
        assert_eq!(filled(new_mailbox(minted)), Some(mailbox(MailboxId(9))));
    }

    #[test]
    fn a_scan_of_uids_holds_both_ends_and_no_neighbour() {
        let scan = messages(MailboxId(1), 5..=9);
        let inside = |uid| {
            let key = message(MailboxId(1), uid);
            scan.start <= key && scan.end.as_ref().is_some_and(|end| key < *end)
        };
        assert!(!inside(4) && inside(5) && inside(9) && !inside(10));
        let last = messages(MailboxId(1), 1..=u32::MAX);
        assert!(last.end.is_some_and(|end| message(MailboxId(1), u32::MAX) < end));
    }
}
