//! Changes of mailboxes, each with everything that has to change with it in the same commit.

use crate::keys::{self, MailboxCount, Usage, Voicemail};
use crate::records::{
    Change, Flags, Keywords, Mailbox, MailboxId, MailboxName, Message, MessageKind, MessageState, UidRange,
};
use crate::states::{Block, Place, Unpacked, bit, block_number, guard_block, pack, put_in};
use crate::{
    AccountId, Batch, Body, CommitError, Found, Key, Minted, Number, Partition, Query, Record, States,
    StatesOf, Store, StoreError, Stored, Version,
};
use ringpost_base::limits;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one commit does to the messages of one account: UIDs, MODSEQs and the change log, the counts of mailboxes, bodies
/// and quota, and the lamp's, all move together.
///
/// Adding guards nothing but the mailbox's existence, so deliveries do not conflict with each other; whoever changes or
/// removes a message guards the state that was read, or the block that it stands in.
#[derive(Clone, Debug)]
pub struct MailBatch {
    batch: Batch,
    change: Minted,
    quota: Quota,
    mailboxes: BTreeMap<MailboxId, Log>,
    /// Versions that were read, of single states and blocks; `None` expects that there is none.
    guards: BTreeMap<Key, Option<Version>>,
    /// States of their own that become others.
    singles: BTreeMap<(MailboxId, u32), Single>,
    /// Blocks that become others.
    blocks: BTreeMap<(MailboxId, u32), Edited>,
    tallies: BTreeMap<MailboxId, Tally>,
}

#[derive(Clone, Debug)]
struct Single {
    after: MessageState,
    /// The block that it might stand in, as it was read.
    block: Option<Arc<Block>>,
}

#[derive(Clone, Debug)]
struct Edited {
    /// As it was read.
    read: Option<Arc<Block>>,
    states: Unpacked,
    /// The messages that this commit changes.
    minted: u128,
}

/// So many single states of one block that one commit changes are packed into it.
const FOLDED: usize = 8;

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
    arrived: Vec<Minted>,
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
            guards: BTreeMap::new(),
            singles: BTreeMap::new(),
            blocks: BTreeMap::new(),
            tallies: BTreeMap::new(),
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

    /// The UIDs that this commit mints, by mailbox.
    pub fn arrivals(&self) -> Vec<(MailboxId, Vec<Minted>)> {
        let arrived = self.mailboxes.iter().filter(|(_, log)| !log.arrived.is_empty());
        arrived.map(|(id, log)| (*id, log.arrived.clone())).collect()
    }

    /// Adds a message whose body was written, and gives its UID.
    pub fn add(
        &mut self,
        mailbox: &Mailbox,
        message: &Message,
        flags: Flags,
        keywords: Keywords,
        body: &Body,
    ) -> Minted {
        body.name_in(&mut self.batch);
        self.insert(mailbox, message, flags, keywords)
    }

    /// Adds a copy of message `uid` of another mailbox, or of the same, flags included, and gives the copy's UID; `None` when
    /// it is not among `states`.
    pub fn copy(&mut self, states: &States, uid: u32, message: &Message, to: &Mailbox) -> Option<Minted> {
        let state = self.guarded(states, uid)?.clone();
        self.batch.add(keys::blob_count(message.blob), 1);
        Some(self.insert(to, message, state.flags, state.keywords))
    }

    /// Gives a message that is among `states` other flags.
    pub fn set_flags(
        &mut self,
        mailbox: &Mailbox,
        states: &States,
        uid: u32,
        flags: Flags,
        keywords: Keywords,
    ) {
        let Some(place) = states.place(uid) else { return };
        let before = place.state();
        let after = MessageState {
            flags,
            keywords,
            ..before.clone()
        };
        self.tally(mailbox).change(before, after.flags);
        self.log(mailbox.id).changed.push(uid);
        match place {
            Place::Single(stored) => {
                let key = keys::message_state(mailbox.id, uid);
                self.expect(key, Some(stored.version));
                let block = states.block(block_number(uid)).cloned();
                self.singles.insert((mailbox.id, uid), Single { after, block });
            }
            Place::Block(_) => {
                let edited = self.edit(mailbox.id, uid, states.block(block_number(uid)));
                put_in(&mut edited.states, uid, after);
                edited.minted |= bit(uid);
            }
        }
    }

    /// Gives messages that are among `states` other flags, UIDs ascending: the same as one by one, for less.
    pub fn set_flags_of(&mut self, mailbox: &Mailbox, states: &States, changes: &[(u32, Flags, Keywords)]) {
        let of_block = changes.chunk_by(|(a, ..), (b, ..)| block_number(*a) == block_number(*b));
        for some in of_block {
            if states.are_in_block(some.iter().map(|(uid, ..)| *uid)) {
                self.set_flags_in_block(mailbox, states, some);
                continue;
            }
            for (uid, flags, keywords) in some {
                self.set_flags(mailbox, states, *uid, *flags, keywords.clone());
            }
        }
    }

    /// The same for messages that all stand in one block.
    fn set_flags_in_block(&mut self, mailbox: &Mailbox, states: &States, changes: &[(u32, Flags, Keywords)]) {
        let number = block_number(changes[0].0);
        self.edit(mailbox.id, changes[0].0, states.block(number));
        let Some(mut edited) = self.blocks.remove(&(mailbox.id, number)) else {
            return;
        };
        let tally = self.tally(mailbox);
        let mut there = edited.states.iter_mut();
        for (uid, flags, keywords) in changes {
            let Some((_, state)) = there.find(|(found, _)| found == uid) else {
                break;
            };
            tally.change(state, *flags);
            state.flags = *flags;
            state.keywords = keywords.clone();
            edited.minted |= bit(*uid);
        }
        self.blocks.insert((mailbox.id, number), edited);
        let changed = changes.iter().map(|(uid, ..)| *uid);
        self.log(mailbox.id).changed.extend(changed);
    }

    /// Expunges a message that is among `states`.
    pub fn remove(&mut self, mailbox: &Mailbox, states: &States, uid: u32, message: &Message) {
        if states.get(uid).is_some() {
            self.log(mailbox.id).vanished.push(uid);
            self.erase(mailbox, states, uid, message);
        }
    }

    /// The batch, with the log and the counts written into it.
    pub fn finish(mut self) -> Batch {
        self.fold();
        self.write_states();
        for (mailbox, log) in std::mem::take(&mut self.mailboxes) {
            let change = Change {
                changed: ranges(log.changed),
                vanished: ranges(log.vanished),
            };
            let arrived: Vec<Number> = log.arrived.into_iter().map(Number::Minted).collect();
            self.batch
                .put(keys::change(mailbox, log.modseq), change.template(&arrived));
        }
        let mut counts: BTreeMap<Key, i64> = BTreeMap::new();
        for (mailbox, tally) in &self.tallies {
            for (key, delta) in tally.counters(*mailbox) {
                *counts.entry(key).or_default() += delta;
            }
        }
        let (bytes, messages) = (keys::usage(Usage::Bytes), keys::usage(Usage::Messages));
        for (key, delta) in counts.into_iter().filter(|(_, delta)| *delta != 0) {
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

    /// Packs single states into their blocks where several of one change.
    fn fold(&mut self) {
        let mut of_block: BTreeMap<(MailboxId, u32), Vec<u32>> = BTreeMap::new();
        for (mailbox, uid) in self.singles.keys() {
            of_block
                .entry((*mailbox, block_number(*uid)))
                .or_default()
                .push(*uid);
        }
        for ((mailbox, _), uids) in of_block.into_iter().filter(|(_, uids)| uids.len() >= FOLDED) {
            for uid in uids {
                if let Some(single) = self.singles.remove(&(mailbox, uid)) {
                    self.batch.delete(keys::message_state(mailbox, uid));
                    let edited = self.edit(mailbox, uid, single.block.as_ref());
                    put_in(&mut edited.states, uid, single.after);
                    edited.minted |= bit(uid);
                }
            }
        }
    }

    fn write_states(&mut self) {
        let modseq = |mailbox| self.mailboxes.get(&mailbox).map(|log| log.modseq.into());
        for ((mailbox, number), edited) in std::mem::take(&mut self.blocks) {
            let key = keys::state_block(mailbox, number);
            match edited.states.is_empty() {
                true => self.batch.delete(key),
                false => {
                    let before = edited.read.as_ref().map(|block| &block.packed);
                    let block = pack(&edited.states, edited.minted, modseq(mailbox), before);
                    self.batch.put(key, block)
                }
            };
        }
        for ((mailbox, uid), Single { after, .. }) in std::mem::take(&mut self.singles) {
            let value = after.template(modseq(mailbox).unwrap_or(Number::Known(after.modseq)));
            self.batch.put(keys::message_state(mailbox, uid), value);
        }
        for (key, version) in std::mem::take(&mut self.guards) {
            guard_block(&mut self.batch, key, version);
        }
    }

    fn insert(&mut self, mailbox: &Mailbox, message: &Message, flags: Flags, keywords: Keywords) -> Minted {
        let state = MessageState {
            flags,
            keywords,
            modseq: 0,
            kind: message.kind,
            size_bytes: message.size_bytes,
            line_end_bytes: message.line_end_bytes,
        };
        self.tally(mailbox).count(&state, 1);
        let modseq = self.log(mailbox.id).modseq;
        let uid = self.batch.mint(keys::last_uid(mailbox.id));
        self.log(mailbox.id).arrived.push(uid);
        self.batch
            .exists(keys::mailbox(mailbox.id))
            .put(keys::new_message(mailbox.id, uid), message.to_bytes())
            .put(keys::new_message_state(mailbox.id, uid), state.template(modseq));
        uid
    }

    fn erase(&mut self, mailbox: &Mailbox, states: &States, uid: u32, message: &Message) {
        let Some(state) = self.guarded(states, uid) else {
            return;
        };
        self.tally(mailbox).count(state, -1);
        match states.place(uid) {
            Some(Place::Single(_)) => {
                self.singles.remove(&(mailbox.id, uid));
                self.batch.delete(keys::message_state(mailbox.id, uid));
            }
            _ => {
                let edited = self.edit(mailbox.id, uid, states.block(block_number(uid)));
                edited.states.retain(|(other, _)| *other != uid);
                edited.minted &= !bit(uid);
            }
        }
        self.batch
            .delete(keys::message(mailbox.id, uid))
            .add(keys::blob_count(message.blob), -1)
            .put(keys::sweep(message.blob), Vec::new());
    }

    /// The state of a message, which the commit expects to be as it was read.
    fn guarded<'a>(&mut self, states: &'a States, uid: u32) -> Option<&'a MessageState> {
        let place = states.place(uid)?;
        let (mailbox, number) = (states.mailbox(), block_number(uid));
        match &place {
            Place::Single(stored) => self.expect(keys::message_state(mailbox, uid), Some(stored.version)),
            Place::Block(_) => {
                let version = states.block(number).map(|block| block.version);
                self.expect(keys::state_block(mailbox, number), version);
            }
        }
        Some(place.state())
    }

    /// Guards what was read. What was read twice, and in between became another, holds no more, whatever the commit finds.
    fn expect(&mut self, key: Key, version: Option<Version>) {
        let before = *self.guards.entry(key.clone()).or_insert(version);
        if before != version {
            guard_block(&mut self.batch, key, version);
        }
    }

    /// The block of a message, to be changed.
    fn edit(&mut self, mailbox: MailboxId, uid: u32, read: Option<&Arc<Block>>) -> &mut Edited {
        let number = block_number(uid);
        let same = |edited: &Edited| match (&edited.read, read) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        // Mostly it is the block of the message before.
        if !self.blocks.get(&(mailbox, number)).is_some_and(same) {
            self.expect(
                keys::state_block(mailbox, number),
                read.map(|block| block.version),
            );
        }
        self.blocks.entry((mailbox, number)).or_insert_with(|| Edited {
            read: read.cloned(),
            states: read.map(|block| block.states.clone()).unwrap_or_default(),
            minted: 0,
        })
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

    fn tally(&mut self, mailbox: &Mailbox) -> &mut Tally {
        self.tallies
            .entry(mailbox.id)
            .or_insert_with(|| Tally::new(mailbox))
    }
}

/// What messages of a mailbox count for.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    lights_lamp: bool,
    messages: i64,
    bytes: i64,
    unseen: i64,
    deleted: i64,
    new_voicemail: i64,
    old_voicemail: i64,
}

impl Tally {
    pub(crate) fn new(mailbox: &Mailbox) -> Self {
        Tally {
            lights_lamp: mailbox.counts_for_lamp(),
            messages: 0,
            bytes: 0,
            unseen: 0,
            deleted: 0,
            new_voicemail: 0,
            old_voicemail: 0,
        }
    }

    /// Counts a message in, or with -1 out.
    pub(crate) fn count(&mut self, state: &MessageState, sign: i64) {
        let size_bytes = i64::try_from(state.size_bytes).unwrap_or(i64::MAX);
        let seen = state.flags.contains(Flags::SEEN);
        self.messages += sign;
        self.bytes = self.bytes.saturating_add(sign * size_bytes);
        self.unseen += if seen { 0 } else { sign };
        self.deleted += if state.flags.contains(Flags::DELETED) {
            sign
        } else {
            0
        };
        if state.kind == MessageKind::Voice && self.lights_lamp {
            *if seen {
                &mut self.old_voicemail
            } else {
                &mut self.new_voicemail
            } += sign;
        }
    }

    /// Counts a message anew that gets other flags.
    fn change(&mut self, before: &MessageState, flags: Flags) {
        let counted = Flags(Flags::SEEN.0 | Flags::DELETED.0);
        if (before.flags.0 ^ flags.0) & counted.0 != 0 {
            self.count(before, -1);
            let after = MessageState {
                flags,
                ..before.clone()
            };
            self.count(&after, 1);
        }
    }

    /// The counters that they count in, and by how much.
    pub(crate) fn counters(&self, mailbox: MailboxId) -> [(Key, i64); 8] {
        let count = |what| keys::mailbox_count(mailbox, what);
        [
            (keys::usage(Usage::Messages), self.messages),
            (keys::usage(Usage::Bytes), self.bytes),
            (count(MailboxCount::Messages), self.messages),
            (count(MailboxCount::Bytes), self.bytes),
            (count(MailboxCount::Unseen), self.unseen),
            (count(MailboxCount::Deleted), self.deleted),
            (keys::voicemail(Voicemail::New), self.new_voicemail),
            (keys::voicemail(Voicemail::Old), self.old_voicemail),
        ]
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
    let of = StatesOf::all(mailbox.id).limit(CLEARED_AT_ONCE);
    let messages = keys::messages(mailbox.id, 0..=u32::MAX).limit(CLEARED_AT_ONCE);
    let mut queries = vec![Query::Scan(messages.limit_bytes(limits::STORE_READ_BYTES))];
    queries.extend(of.queries());
    let mut found = store.read(&home, queries).await?.into_iter();
    let messages = found.next();
    let is_cut = messages.as_ref().map_or(0, Found::scanned_bytes) >= limits::STORE_READ_BYTES;
    let states = of.found(&mut found)?;
    let mut messages: BTreeMap<_, _> = messages
        .map(Found::entries)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| Some((keys::uid_of(&entry.key)?, entry)))
        .collect();
    let last = if is_cut {
        messages.keys().last().copied()
    } else {
        None
    };
    let mut batch = MailBatch::new(account, Quota::default());
    let mut any = false;
    for (uid, _) in states
        .iter()
        .take_while(|(uid, _)| last.is_none_or(|last| *uid <= last))
    {
        let missing = || StoreError::Damaged(format!("the state of {}/{uid} has no message", mailbox.id));
        let message = messages.remove(&uid).ok_or_else(missing)?;
        let message = Message::from_bytes(&message.key, message.value)?;
        batch.erase(mailbox, &states, uid, &message);
        any = true;
    }
    if !any {
        return Ok(false);
    }
    match store.commit(batch.finish()).await {
        // What somebody else has cleared away meanwhile is gone at the next look.
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(true),
        Err(e) => Err(e),
    }
}
