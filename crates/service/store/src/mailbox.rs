//! Changes of mailboxes, each with everything that has to change with it in the same commit.

use crate::keys::{self, MailboxCount, Usage, Voicemail};
use crate::records::{
    Change, Flags, Mailbox, MailboxId, MailboxName, Message, MessageKind, MessageState, UidRange,
};
use crate::{
    AccountId, Batch, Body, CommitError, Found, Key, Minted, Number, Partition, Query, Record, Store,
    StoreError, Stored,
};
use std::collections::BTreeMap;

/// What one commit does to the messages of one account: UIDs, MODSEQs and the change log, the counts of mailboxes, bodies
/// and quota, and the lamp's, all move together.
///
/// Adding guards nothing but the mailbox's existence, so deliveries do not conflict with each other; whoever changes or
/// removes a message guards the state that was read.
#[derive(Clone, Debug)]
pub struct MailBatch {
    batch: Batch,
    change: Minted,
    quota: Quota,
    mailboxes: BTreeMap<MailboxId, Log>,
    counts: BTreeMap<Key, i64>,
}

/// What an account may hold; `None` is without a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Bytes of all its messages.
    pub bytes: Option<u64>,
    /// How many messages.
    pub messages: Option<u64>,
}

#[derive(Clone, Debug)]
struct Log {
    modseq: Minted,
    arrived: Vec<Number>,
    changed: Vec<u32>,
    vanished: Vec<u32>,
}

impl MailBatch {
    /// Nothing yet. A batch that would take the account above its quota is refused with [`CommitError::Bound`] of
    /// [`keys::usage`].
    pub fn new(account: AccountId, quota: Quota) -> Self {
        let mut batch = Batch::new(Partition::Account(account));
        let change = batch.mint(keys::changes());
        MailBatch {
            batch,
            change,
            quota,
            mailboxes: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// For further guards and records of the same commit.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// The account's change number that this commit mints.
    pub fn change(&self) -> Minted {
        self.change
    }

    /// The MODSEQ that this commit mints for a mailbox; one for everything it does there.
    pub fn modseq(&mut self, mailbox: MailboxId) -> Minted {
        self.log(mailbox).modseq
    }

    /// Adds a message whose body was written, and gives its UID.
    pub fn add(
        &mut self,
        mailbox: &Mailbox,
        message: &Message,
        flags: Flags,
        keywords: Vec<String>,
        body: &Body,
    ) -> Minted {
        body.name_in(&mut self.batch);
        self.insert(mailbox, message, flags, keywords)
    }

    /// Adds a copy of message `uid` of mailbox `from`, flags included, and gives the copy's UID.
    pub fn copy(
        &mut self,
        from: MailboxId,
        uid: u32,
        message: &Message,
        state: &Stored<MessageState>,
        to: &Mailbox,
    ) -> Minted {
        self.batch
            .unchanged(keys::message_state(from, uid), state.version);
        self.batch.add(keys::blob_count(message.blob), 1);
        self.insert(to, message, state.record.flags, state.record.keywords.clone())
    }

    /// Gives a message other flags.
    pub fn set_flags(
        &mut self,
        mailbox: &Mailbox,
        uid: u32,
        state: &Stored<MessageState>,
        flags: Flags,
        keywords: Vec<String>,
    ) {
        let key = keys::message_state(mailbox.id, uid);
        let after = MessageState {
            flags,
            keywords,
            ..state.record.clone()
        };
        self.count(mailbox, &state.record, -1);
        self.count(mailbox, &after, 1);
        let log = self.log(mailbox.id);
        log.changed.push(uid);
        let value = after.template(log.modseq);
        self.batch.unchanged(key.clone(), state.version).put(key, value);
    }

    /// Expunges a message.
    pub fn remove(&mut self, mailbox: &Mailbox, uid: u32, message: &Message, state: &Stored<MessageState>) {
        self.log(mailbox.id).vanished.push(uid);
        self.erase(mailbox, uid, message, state);
    }

    /// The batch, with the log and the counts written into it.
    pub fn finish(mut self) -> Batch {
        for (mailbox, log) in self.mailboxes {
            let change = Change {
                changed: ranges(log.changed),
                vanished: ranges(log.vanished),
            };
            self.batch
                .put(keys::change(mailbox, log.modseq), change.template(&log.arrived));
        }
        let (bytes, messages) = (keys::usage(Usage::Bytes), keys::usage(Usage::Messages));
        for (key, delta) in self.counts.into_iter().filter(|(_, delta)| *delta != 0) {
            // What takes nothing away may end above the ceiling: it was lowered, or something was promised before.
            let limit = match &key {
                _ if delta < 0 => None,
                key if *key == bytes => self.quota.bytes,
                key if *key == messages => self.quota.messages,
                _ => None,
            };
            let ceiling = limit
                .and_then(|limit| i64::try_from(limit).ok())
                .unwrap_or(i64::MAX);
            self.batch.add_within(key, delta, 0, ceiling);
        }
        self.batch
    }

    fn insert(
        &mut self,
        mailbox: &Mailbox,
        message: &Message,
        flags: Flags,
        keywords: Vec<String>,
    ) -> Minted {
        let state = MessageState {
            flags,
            keywords,
            modseq: 0,
            kind: message.kind,
            size_bytes: message.size_bytes,
            line_end_bytes: message.line_end_bytes,
        };
        self.count(mailbox, &state, 1);
        let modseq = self.log(mailbox.id).modseq;
        let uid = self.batch.mint(keys::last_uid(mailbox.id));
        self.log(mailbox.id).arrived.push(uid.into());
        self.batch
            .exists(keys::mailbox(mailbox.id))
            .put(keys::new_message(mailbox.id, uid), message.to_bytes())
            .put(keys::new_message_state(mailbox.id, uid), state.template(modseq));
        uid
    }

    fn erase(&mut self, mailbox: &Mailbox, uid: u32, message: &Message, state: &Stored<MessageState>) {
        self.count(mailbox, &state.record, -1);
        let key = keys::message_state(mailbox.id, uid);
        self.batch
            .unchanged(key.clone(), state.version)
            .delete(key)
            .delete(keys::message(mailbox.id, uid))
            .add(keys::blob_count(message.blob), -1)
            .put(keys::sweep(message.blob), Vec::new());
    }

    fn log(&mut self, mailbox: MailboxId) -> &mut Log {
        let batch = &mut self.batch;
        self.mailboxes.entry(mailbox).or_insert_with(|| Log {
            modseq: batch.mint(keys::last_modseq(mailbox)),
            arrived: Vec::new(),
            changed: Vec::new(),
            vanished: Vec::new(),
        })
    }

    fn count(&mut self, mailbox: &Mailbox, state: &MessageState, sign: i64) {
        counted(mailbox, state, |key, n| {
            *self.counts.entry(key).or_default() += sign * n
        });
    }
}

/// The counters that a message in a mailbox counts in, and by how much.
pub(crate) fn counted(mailbox: &Mailbox, state: &MessageState, mut each: impl FnMut(Key, i64)) {
    let size = i64::try_from(state.size_bytes).unwrap_or(i64::MAX);
    each(keys::usage(Usage::Messages), 1);
    each(keys::usage(Usage::Bytes), size);
    each(keys::mailbox_count(mailbox.id, MailboxCount::Messages), 1);
    each(keys::mailbox_count(mailbox.id, MailboxCount::Bytes), size);
    let seen = state.flags.contains(Flags::SEEN);
    if !seen {
        each(keys::mailbox_count(mailbox.id, MailboxCount::Unseen), 1);
    }
    if state.flags.contains(Flags::DELETED) {
        each(keys::mailbox_count(mailbox.id, MailboxCount::Deleted), 1);
    }
    if state.kind == MessageKind::Voice && mailbox.counts_for_lamp() {
        each(
            keys::voicemail(if seen { Voicemail::Old } else { Voicemail::New }),
            1,
        );
    }
}

/// UIDs as the fewest ranges, ascending.
pub fn ranges(mut uids: Vec<u32>) -> Vec<UidRange> {
    uids.sort_unstable();
    let mut ranges: Vec<UidRange> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some(range) if uid <= range.last.saturating_add(1) => range.last = uid,
            _ => ranges.push(UidRange {
                first: uid,
                last: uid,
            }),
        }
    }
    ranges
}

/// Makes a mailbox: mints its number and UIDVALIDITY, and guards that the name is free.
/// `mailbox` gives what is not minted.
pub fn create(batch: &mut Batch, mailbox: &Mailbox) -> Minted {
    let id = batch.mint(keys::last_mailbox());
    let uid_validity = batch.mint(keys::last_uid_validity());
    let name = keys::mailbox_name(&mailbox.name);
    batch
        .absent(name.clone())
        .put(name, MailboxName::template(id))
        .put(keys::new_mailbox(id), mailbox.template(id, uid_validity));
    id
}

/// Gives a mailbox another name, which must be free. Its children are mailboxes of their own, and the caller's to rename.
pub fn rename(batch: &mut Batch, mailbox: &Stored<Mailbox>, name: &str) {
    let id = mailbox.record.id;
    let renamed = Mailbox {
        name: name.into(),
        ..mailbox.record.clone()
    };
    let name_key = keys::mailbox_name(name);
    batch
        .unchanged(keys::mailbox(id), mailbox.version)
        .absent(name_key.clone())
        .delete(keys::mailbox_name(&mailbox.record.name))
        .put(name_key, MailboxName { mailbox: id }.to_bytes())
        .put(keys::mailbox(id), renamed.to_bytes());
}

/// Deletes a mailbox: at once it has no name and takes no message. What was in it stays counted until
/// [`clear_leaving`] has cleared it away.
pub fn delete(batch: &mut Batch, mailbox: &Stored<Mailbox>) {
    let id = mailbox.record.id;
    batch
        .unchanged(keys::mailbox(id), mailbox.version)
        .delete(keys::mailbox(id))
        .delete(keys::mailbox_name(&mailbox.record.name))
        .put(keys::leaving_mailbox(id), mailbox.record.to_bytes());
}

/// Changes forgotten by one commit.
const TRIMMED_AT_ONCE: usize = 1000;

/// Forgets all but the last `keep` changes of a mailbox's log; says how many were forgotten.
pub async fn trim_log(
    store: &(dyn Store + '_),
    account: AccountId,
    mailbox: MailboxId,
    keep: u64,
) -> Result<u64, CommitError> {
    let home = Partition::Account(account);
    let last = store.counter(&home, keys::last_modseq(mailbox)).await? as u64;
    let upto = last.saturating_sub(keep);
    let mut trimmed = 0;
    loop {
        // One look tells, mostly, that there is nothing to do.
        let limit = if trimmed == 0 { 1 } else { TRIMMED_AT_ONCE };
        let page = store
            .scan(&home, keys::changes_after(mailbox, 0).limit(limit))
            .await?;
        let old = page
            .into_iter()
            .filter(|e| keys::modseq_of(&e.key).is_some_and(|modseq| modseq <= upto));
        let mut batch = Batch::new(home.clone());
        batch.deletes = old.map(|entry| entry.key).collect();
        if batch.deletes.is_empty() {
            return Ok(trimmed);
        }
        trimmed += batch.deletes.len() as u64;
        batch
            .exists(keys::mailbox(mailbox))
            .put(keys::trimmed_modseq(mailbox), upto.to_be_bytes().to_vec());
        store.commit(batch).await?;
    }
}

/// Messages removed by one commit while a deleted mailbox is cleared away: few enough to hold up nobody.
const CLEARED_AT_ONCE: usize = 500;

/// Clears away what was in the account's deleted mailboxes. Stopped half-way, it can be called again.
pub async fn clear_leaving(store: &dyn Store, account: AccountId) -> Result<(), CommitError> {
    let home = Partition::Account(account);
    for entry in store.scan(&home, keys::leaving_mailboxes()).await? {
        let mailbox = Mailbox::from_bytes(&entry.key, entry.value)?;
        while clear_some(store, account, &mailbox).await? {}
        loop {
            let mut batch = Batch::new(home.clone());
            for scan in keys::of_mailbox(mailbox.id) {
                let left = store.scan(&home, scan.limit(CLEARED_AT_ONCE)).await?;
                batch.deletes.extend(left.into_iter().map(|entry| entry.key));
            }
            // The note that it leaves goes last, when nothing is left.
            let is_last = batch.deletes.is_empty();
            if is_last {
                batch.delete(entry.key.clone());
            }
            store.commit(batch).await?;
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

async fn clear_some(store: &dyn Store, account: AccountId, mailbox: &Mailbox) -> Result<bool, CommitError> {
    let home = Partition::Account(account);
    // Both from one moment: somebody else may be clearing away the same.
    let queries = vec![
        Query::Scan(keys::message_states(mailbox.id, 0..=u32::MAX).limit(CLEARED_AT_ONCE)),
        Query::Scan(keys::messages(mailbox.id, 0..=u32::MAX).limit(CLEARED_AT_ONCE)),
    ];
    let mut found = store.read(&home, queries).await?.into_iter().map(Found::entries);
    let states = found.next().unwrap_or_default();
    let mut messages: BTreeMap<_, _> = found
        .next()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| Some((keys::uid_of(&entry.key)?, entry)))
        .collect();
    if states.is_empty() {
        return Ok(false);
    }
    let mut batch = MailBatch::new(account, Quota::default());
    for state in states {
        let missing = || StoreError::Damaged(format!("{:?} has no message", state.key));
        let uid = keys::uid_of(&state.key).ok_or_else(missing)?;
        let message = messages.remove(&uid).ok_or_else(missing)?;
        let message = Message::from_bytes(&message.key, message.value)?;
        let record = MessageState::from_bytes(&state.key, state.value.clone())?;
        let version = state.version;
        batch.erase(mailbox, uid, &message, &Stored { version, record });
    }
    match store.commit(batch.finish()).await {
        // What somebody else has cleared away meanwhile is gone at the next look.
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(true),
        Err(e) => Err(e),
    }
}
