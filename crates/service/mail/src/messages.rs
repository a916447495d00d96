//! What a session does with the messages of its mailbox.

use crate::parse::codec;
use crate::preview::preview;
use crate::{Mail, MailError, Quota, Selected, TRIES, flags, modseq};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringpost_base::{UnixTime, limits};
use ringpost_imap::question::{Message as FetchedMessage, MessageState, ObjectId, Wants};
use ringpost_imap::{FlagChange, MailboxName};
use ringpost_store::mailbox::MailBatch;
use ringpost_store::records::{self, MailboxId, Message};
use ringpost_store::{
    AccountId, BlobReader, CommitError, Entry, Found, Key, Minted, Partition, Query, Record, States,
    StatesOf, StoreError, Version, keys,
};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// What COPY and MOVE have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the mailbox that was copied to.
    pub uid_validity: u32,
    /// Old and new UID of each message that was still there, the old ones ascending.
    pub pairs: Vec<(u32, u32)>,
}

/// What a change of flags has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The flags that the messages have now, in the order asked; one that is gone is left out.
    pub states: Vec<MessageState>,
    /// Those of them that were left as they were, since they had changed before, in the order asked.
    pub modified: Vec<u32>,
}

/// Messages that one commit copies, moves or expunges, so that nobody waits long behind it.
const AT_ONCE: usize = 2_000;
/// Bytes of their records; a batch with the copies of so much is well within [`limits::BATCH_BYTES`].
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// Messages of which one read brings the records.
pub(crate) const READ_AT_ONCE: usize = 32;
/// A change of many messages that has come too late so often is made in halves: it expects less to be as it was.
const PARTED_AFTER: usize = 8;
/// What may be known of a portion of messages, in bytes, for the next ones to be read ahead.
const AHEAD_BYTES: usize = 128 * 1024;

/// A message as it is read before a change, beside its state.
struct Whole {
    uid: u32,
    message: Message,
}

impl Mail {
    /// The records of messages, by ascending UIDs. One that was expunged while this mailbox was open is among them; one that is
    /// gone for good is left out.
    pub(crate) async fn known(
        &self,
        selected: &Selected,
        uids: &[u32],
    ) -> Result<Vec<(u32, Message)>, MailError> {
        let queries = message_queries(selected.mailbox.id, uids);
        let found = self.store.read(&selected.home(), queries).await?;
        known_of(selected, uids, found)
    }

    /// What is stored of these messages, in their order; of so many of the first that it does not become too much. One that
    /// was expunged while this mailbox was open is answered all the same; one that is gone for good is left out.
    pub async fn fetch(
        &self,
        selected: &Selected,
        uids: &[u32],
        wants: Wants,
    ) -> Result<Vec<FetchedMessage>, MailError> {
        self.fetch_then(selected, uids, wants, &[]).await
    }

    /// The same; `then` is what will be asked for next, in portions of [`limits::IMAP_PORTION`], and may be read meanwhile.
    pub async fn fetch_then(
        &self,
        selected: &Selected,
        uids: &[u32],
        wants: Wants,
        then: &[u32],
    ) -> Result<Vec<FetchedMessage>, MailError> {
        let (mut out, mut size_bytes) = (Vec::with_capacity(uids.len()), 0);
        let mut ahead = selected.take_ahead(uids);
        let mut read = ahead.pop_front();
        let mut rest = uids;
        'portions: while !rest.is_empty() {
            let (some, known) = match read.take() {
                Some(read) => (rest, known_of(selected, rest, read.found.await?)?),
                None => {
                    let some = &rest[..rest.len().min(READ_AT_ONCE)];
                    (some, self.known(selected, some).await?)
                }
            };
            rest = &rest[some.len()..];
            for (uid, message) in known {
                if size_bytes > BYTES_AT_ONCE {
                    break 'portions;
                }
                let mut known = fetched(uid, &message, wants)?;
                let written_bytes = known.written.as_ref().map_or(0, Bytes::len);
                size_bytes += message.envelope.len() + message.structure.len() + written_bytes;
                if wants.preview {
                    known.preview = Some(
                        self.preview(selected, &message, known.structure.as_deref())
                            .await?,
                    );
                }
                if wants.thread {
                    known.thread_id = Some(self.thread_of(selected, &message).await?);
                }
                out.push(known);
            }
        }
        // Where much is known of each message, what is read ahead would be too much to hold.
        if size_bytes <= AHEAD_BYTES {
            self.read_portions(selected, &mut ahead, then);
            selected.keep_ahead(ahead);
        }
        Ok(out)
    }

    /// Begins to read those of the portions that are to come that are not being read already.
    fn read_portions(&self, selected: &Selected, ahead: &mut Ahead, then: &[u32]) {
        ahead.truncate(then.len().div_ceil(limits::IMAP_PORTION));
        for (n, uids) in then.chunks(limits::IMAP_PORTION).enumerate() {
            match ahead.get(n) {
                Some(portion) if portion.uids == uids => continue,
                Some(_) => ahead.truncate(n),
                None => {}
            }
            let queries = message_queries(selected.mailbox.id, uids);
            let (store, home) = (self.store.clone(), selected.home());
            let found = async move { store.read(&home, queries).await };
            ahead.push_back(Portion {
                uids: uids.to_vec(),
                found: begun(found.boxed()),
            });
        }
    }

    async fn preview(
        &self,
        selected: &Selected,
        message: &Message,
        structure: Option<&ringpost_imap::structure::Part>,
    ) -> Result<String, MailError> {
        match structure {
            Some(structure) => preview(&self.bodies, selected, message, structure).await,
            None => {
                let structure = codec::decode_part(&message.structure);
                let structure = structure.ok_or_else(|| MailError::Damaged("a structure".into()))?;
                preview(&self.bodies, selected, message, &structure).await
            }
        }
    }

    /// Bytes `range` of a message, in chunks; `None` when it is gone.
    pub async fn body(
        &self,
        selected: &Selected,
        uid: u32,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn BlobReader>>, MailError> {
        let key = keys::message(selected.mailbox.id, uid);
        let stored = self
            .store
            .record::<Message>(&selected.home(), key)
            .await?
            .map(|m| m.record);
        let Some(message) = stored.or_else(|| selected.seat.expunged(uid)) else {
            return Ok(None);
        };
        Ok(self.bodies.get(&selected.home(), message.blob, range).await?)
    }

    /// Changes flags, and gives those that the messages have then. Each that changes gets a new MODSEQ, and the lamp's counts
    /// change with it. Messages with a MODSEQ above `unchanged_since` are left as they are. `uids` ascend.
    //= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.3
    pub async fn store_flags(
        &self,
        selected: &mut Selected,
        uids: &[u32],
        change: &FlagChange,
        unchanged_since: Option<u64>,
    ) -> Result<Changed, MailError> {
        let (account, id) = (selected.account, selected.mailbox.id);
        let (changed, modseqs) = self
            .change_flags_unless(account, id, uids, change, unchanged_since)
            .await?;
        modseqs
            .into_iter()
            .for_each(|modseq| selected.has_changed(modseq));
        Ok(changed)
    }

    pub(crate) async fn change_flags(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        change: &FlagChange,
    ) -> Result<Vec<MessageState>, MailError> {
        let (changed, _) = self.change_flags_unless(account, id, uids, change, None).await?;
        Ok(changed.states)
    }

    /// The same of those that have not changed since; gives the MODSEQs as well, as they are stored. It is one commit, unless
    /// keywords make it too large.
    async fn change_flags_unless(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        change: &FlagChange,
        unchanged_since: Option<u64>,
    ) -> Result<(Changed, Vec<u64>), MailError> {
        let (mut all, mut modseqs) = (Changed::default(), Vec::new());
        let (mut rest, mut most) = (uids, uids.len());
        loop {
            let some = &rest[..rest.len().min(most)];
            let done = self
                .change_some(account, id, some, change, unchanged_since)
                .await?;
            match done {
                Some((changed, modseq)) => {
                    all.states.extend(changed.states);
                    all.modified.extend(changed.modified);
                    modseqs.extend(modseq);
                    rest = &rest[some.len()..];
                }
                None if some.len() > 1 => most = some.len() / 2,
                None => return Err(CommitError::TooLarge.into()),
            }
            if rest.is_empty() {
                return Ok((all, modseqs));
            }
        }
    }

    /// The same with one commit; `None` when they are too many for it, or so many that somebody else keeps changing one of them.
    async fn change_some(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        change: &FlagChange,
        unchanged_since: Option<u64>,
    ) -> Result<Option<(Changed, Option<u64>)>, MailError> {
        for tried in 1..=TRIES {
            let mailbox = self.mailbox_by_id(account, id).await?;
            let mut batch = MailBatch::new(account, Quota::default());
            batch.batch().exists(keys::mailbox(id));
            let mut minted_modseq = None;
            let (mut out, mut modified) = (Vec::with_capacity(uids.len()), Vec::new());
            let (mut speaker, mut writer) = (flags::Speaker::default(), flags::Writer::default());
            let states = StatesOf::uids(id, uids).read(&*self.store, account).await?;
            for (uid, state) in states.iter() {
                let before = speaker.spoken(state);
                let was_modseq = modseq::spoken(state.modseq);
                let left = unchanged_since.is_some_and(|since| was_modseq > since);
                let after = match left {
                    true => before.clone(),
                    false => change.apply(&before),
                };
                if left {
                    modified.push(uid);
                }
                if after.keywords().len() > limits::IMAP_KEYWORDS {
                    return Err(MailError::Limit("too many keywords on a message"));
                }
                let changed = after != before;
                if changed {
                    let (system, keywords) = writer.stored(&after);
                    batch.set_flags(&mailbox, &states, uid, system, keywords);
                    minted_modseq = Some(batch.modseq(id));
                }
                out.push((
                    changed,
                    MessageState {
                        uid,
                        flags: after,
                        modseq: was_modseq,
                        recent: false,
                    },
                ));
            }
            let Some(minted_modseq) = minted_modseq else {
                self.settle(account).await;
                let states = out.into_iter().map(|(_, state)| state).collect();
                return Ok(Some((Changed { states, modified }, None)));
            };
            match self.commit(account, batch).await {
                Ok(minted) => {
                    let stored = minted_modseq.of(&minted);
                    let modseq = modseq::spoken(stored.unwrap_or_default());
                    let told = |(changed, state)| match changed {
                        true => MessageState { modseq, ..state },
                        false => state,
                    };
                    let states = out.into_iter().map(told).collect();
                    return Ok(Some((Changed { states, modified }, stored)));
                }
                Err(CommitError::TooLarge) => return Ok(None),
                Err(CommitError::Conflict(_)) if tried % PARTED_AFTER == 0 && uids.len() > 1 => {
                    return Ok(None);
                }
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }

    /// Removes the messages that have `\Deleted`, of `uids` only if they are given; says which, ascending.
    pub async fn expunge(&self, selected: &Selected, uids: Option<&[u32]>) -> Result<Vec<u32>, MailError> {
        let (account, id) = (selected.account, selected.mailbox.id);
        let deleted: Vec<u32> = match uids {
            Some(uids) => uids.to_vec(),
            None => {
                let states = StatesOf::all(id).read(&*self.store, account).await?;
                let deleted = states
                    .iter()
                    .filter(|(_, state)| state.flags.contains(records::Flags::DELETED));
                deleted.map(|(uid, _)| uid).collect()
            }
        };
        let marked = |state: &records::MessageState| state.flags.contains(records::Flags::DELETED);
        let mut removed = self.remove(account, id, &deleted, marked).await?;
        removed.sort_unstable();
        Ok(removed)
    }

    /// Removes those of the messages that are `wanted`, with as few commits as may be.
    pub(crate) async fn remove(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        wanted: impl Fn(&records::MessageState) -> bool,
    ) -> Result<Vec<u32>, MailError> {
        self.remove_under(account, id, uids, wanted, None).await
    }

    /// The same while a lease is held: [`MailError::InUse`] when the record is no longer of this version.
    pub(crate) async fn remove_under(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        wanted: impl Fn(&records::MessageState) -> bool,
        lease: Option<(&Key, Version)>,
    ) -> Result<Vec<u32>, MailError> {
        let (mut removed, mut rest) = (Vec::new(), uids);
        while !rest.is_empty() {
            let (some, looked_at) = self.remove_some(account, id, rest, &wanted, lease).await?;
            removed.extend(some);
            rest = &rest[looked_at..];
        }
        Ok(removed)
    }

    /// The same with one commit, for the first of them; says how many it has looked at.
    async fn remove_some(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        wanted: &impl Fn(&records::MessageState) -> bool,
        lease: Option<(&Key, Version)>,
    ) -> Result<(Vec<u32>, usize), MailError> {
        let mut most = uids.len();
        for _ in 0..TRIES {
            let mailbox = self.mailbox_by_id(account, id).await?;
            let (states, mut whole, looked_at) = self.whole(account, id, &uids[..most]).await?;
            whole.retain(|w| states.get(w.uid).is_some_and(wanted));
            if whole.is_empty() {
                return Ok((Vec::new(), looked_at));
            }
            self.open
                .keep(account, id, whole.iter().map(|w| (w.uid, &w.message)));
            let mut batch = MailBatch::new(account, Quota::default());
            batch.batch().exists(keys::mailbox(id));
            if let Some((key, version)) = lease {
                batch.batch().unchanged(key.clone(), version);
            }
            for w in &whole {
                batch.remove(&mailbox, &states, w.uid, &w.message);
            }
            match self.commit(account, batch).await {
                Ok(_) => return Ok((whole.into_iter().map(|w| w.uid).collect(), looked_at)),
                Err(CommitError::Conflict(key)) if lease.is_some_and(|(lease, _)| *lease == key) => {
                    return Err(MailError::InUse);
                }
                Err(CommitError::TooLarge) if whole.len() > 1 => most = looked_at / 2,
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }

    /// Copies messages with flags and dates, all or none.
    pub async fn copy(
        &self,
        selected: &Selected,
        uids: &[u32],
        to: &MailboxName,
        now: UnixTime,
    ) -> Result<Copied, MailError> {
        let (account, id) = (selected.account, selected.mailbox.id);
        let Some(to) = self.find_mailbox(account, to).await? else {
            return Err(MailError::NoSuchMailbox);
        };
        let mut copied = Copied {
            uid_validity: to.record.uid_validity,
            pairs: Vec::new(),
        };
        let mut rest = uids;
        while !rest.is_empty() {
            match self.transfer(account, id, rest, to.record.id, false, now).await {
                Ok((pairs, looked_at)) => {
                    copied.pairs.extend(pairs);
                    rest = &rest[looked_at..];
                }
                Err(e) => {
                    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.7
                    // What was copied before is taken back.
                    let new: Vec<u32> = copied.pairs.iter().map(|(_, new)| *new).collect();
                    self.remove(account, to.record.id, &new, |_| true).await?;
                    return Err(e);
                }
            }
        }
        Ok(copied)
    }

    /// Moves messages (RFC 6851), each in one commit with its removal here. Stopped half-way, those that were moved stay so.
    pub async fn move_messages(
        &self,
        selected: &Selected,
        uids: &[u32],
        to: &MailboxName,
        now: UnixTime,
    ) -> Result<Copied, MailError> {
        let (account, id) = (selected.account, selected.mailbox.id);
        let Some(to) = self.find_mailbox(account, to).await? else {
            return Err(MailError::NoSuchMailbox);
        };
        let mut copied = Copied {
            uid_validity: to.record.uid_validity,
            pairs: Vec::new(),
        };
        let mut rest = uids;
        while !rest.is_empty() {
            let (pairs, looked_at) = self.transfer(account, id, rest, to.record.id, true, now).await?;
            copied.pairs.extend(pairs);
            rest = &rest[looked_at..];
        }
        Ok(copied)
    }

    /// Moves whatever is in a mailbox.
    pub(crate) async fn move_all(
        &self,
        account: AccountId,
        from: &MailboxName,
        to: &MailboxName,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let (from, to) = (
            self.mailbox(account, from).await?.record,
            self.mailbox(account, to).await?.record,
        );
        let states = StatesOf::all(from.id).read(&*self.store, account).await?;
        let uids: Vec<u32> = states.iter().map(|(uid, _)| uid).collect();
        let mut rest = &uids[..];
        while !rest.is_empty() {
            let (_, looked_at) = self.transfer(account, from.id, rest, to.id, true, now).await?;
            rest = &rest[looked_at..];
        }
        Ok(())
    }

    /// Copies or moves the first of the messages with one commit, as many as fit; gives old and new UIDs, and how many of
    /// `uids` it has looked at.
    pub(crate) async fn transfer(
        &self,
        account: AccountId,
        from: MailboxId,
        uids: &[u32],
        to: MailboxId,
        moves: bool,
        now: UnixTime,
    ) -> Result<(Vec<(u32, u32)>, usize), MailError> {
        let mut most = uids.len();
        for _ in 0..TRIES {
            let owner = self.account(account).await?;
            let quota = self.quota_of(&owner);
            // What is moved takes no more room than before.
            let limits = if moves { Quota::default() } else { quota };
            let source = self.mailbox_by_id(account, from).await?;
            let target = self.mailbox_by_id(account, to).await?;
            let (states, whole, looked_at) = self.whole(account, from, &uids[..most]).await?;
            if whole.is_empty() {
                return Ok((Vec::new(), looked_at));
            }
            if moves {
                self.open
                    .keep(account, from, whole.iter().map(|w| (w.uid, &w.message)));
            }
            let mut batch = MailBatch::new(account, limits);
            let mut pairs: Vec<(u32, Minted)> = Vec::with_capacity(whole.len());
            for w in &whole {
                let copy = Message {
                    saved: now,
                    ..w.message.clone()
                };
                pairs.extend(batch.copy(&states, w.uid, &copy, &target).map(|new| (w.uid, new)));
                if moves {
                    batch.remove(&source, &states, w.uid, &w.message);
                }
            }
            match self.commit(account, batch).await {
                Ok(minted) => {
                    if !moves {
                        let size_bytes = whole.iter().map(|w| w.message.size_bytes).sum();
                        let added = (size_bytes, whole.len() as u64);
                        self.watch_quota(account, &owner, quota, added, now).await;
                    }
                    let known =
                        |(old, new): (u32, Minted)| Some((old, u32::try_from(new.of(&minted)?).ok()?));
                    return Ok((pairs.into_iter().filter_map(known).collect(), looked_at));
                }
                Err(CommitError::TooLarge) if whole.len() > 1 => most = looked_at / 2,
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }

    /// The first of the messages with their states, as many as one commit takes; those that are gone are left out. Says how
    /// many of `uids` were looked at.
    async fn whole(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
    ) -> Result<(States, Vec<Whole>, usize), MailError> {
        let home = Partition::Account(account);
        let uids = &uids[..uids.len().min(AT_ONCE)];
        // The states come first: a message whose state is as it was when it was read is there, and never changes.
        let states = StatesOf::uids(id, uids).read(&*self.store, account).await?;
        let (mut out, mut looked_at, mut size_bytes) = (Vec::new(), 0, 0);
        for some in uids.chunks(READ_AT_ONCE) {
            let keys: Vec<_> = some.iter().map(|uid| keys::message(id, *uid)).collect();
            let found = self.store.get_many(&home, keys.clone()).await?;
            for ((uid, key), message) in some.iter().zip(keys).zip(found) {
                if let (Some(message), Some(_)) = (message, states.get(*uid)) {
                    size_bytes += message.value.len();
                    if size_bytes > BYTES_AT_ONCE && !out.is_empty() {
                        return Ok((states, out, looked_at));
                    }
                    let message = Message::from_bytes(&key, message.value)?;
                    out.push(Whole { uid: *uid, message });
                }
                looked_at += 1;
            }
        }
        Ok((states, out, looked_at))
    }
}

/// Portions whose records are being read before they are asked for. Records never change, and what is gone meanwhile may
/// still be shown.
pub(crate) type Ahead = VecDeque<Portion>;

pub(crate) struct Portion {
    pub(crate) uids: Vec<u32>,
    found: BoxFuture<'static, Result<Vec<Found>, StoreError>>,
}

/// The same, with its first step done: a question to the store is asked, and is answered while others do something else.
pub(crate) fn begun<T: Send + 'static>(mut future: BoxFuture<'_, T>) -> BoxFuture<'_, T> {
    match (&mut future).now_or_never() {
        Some(done) => std::future::ready(done).boxed(),
        None => future,
    }
}

/// UIDs so far apart are still read with one scan, past the messages between them.
const GAP: u32 = 4;

/// What reads the records of messages, by ascending UIDs: those that stand together with one scan.
pub(crate) fn message_queries(id: MailboxId, uids: &[u32]) -> Vec<Query> {
    let runs = uids.chunk_by(|a, b| (0..=GAP).contains(&b.wrapping_sub(*a)));
    let query = |run: &[u32]| match (run.first(), run.last()) {
        (Some(first), Some(last)) => Some(Query::Scan(keys::messages(id, *first..=*last))),
        _ => None,
    };
    runs.filter_map(query).collect()
}

/// The records of `uids` among those that were found, and of what was expunged while the mailbox was open.
pub(crate) fn known_of(
    selected: &Selected,
    uids: &[u32],
    found: Vec<Found>,
) -> Result<Vec<(u32, Message)>, MailError> {
    debug_assert!(uids.is_sorted());
    let mut found = found.into_iter().flat_map(Found::entries).peekable();
    let mut known = Vec::with_capacity(uids.len());
    for uid in uids {
        let uid_of = |entry: &Entry| keys::uid_of(&entry.key).unwrap_or_default();
        while found.next_if(|entry| uid_of(entry) < *uid).is_some() {}
        let message = match found.next_if(|entry| uid_of(entry) == *uid) {
            Some(entry) => Some(Message::from_bytes(&entry.key, entry.value)?),
            None => selected.seat.expunged(*uid),
        };
        known.extend(message.map(|message| (*uid, message)));
    }
    Ok(known)
}

pub(crate) fn fetched(uid: u32, message: &Message, wants: Wants) -> Result<FetchedMessage, MailError> {
    let damaged = || MailError::Damaged(format!("what is stored of message {uid}"));
    let envelope = match wants.envelope {
        true => Some(Arc::new(
            codec::decode_envelope(&message.envelope).ok_or_else(damaged)?,
        )),
        false => None,
    };
    let written = match wants.written {
        Some(spelling) => {
            let envelope = codec::decode_envelope::<&str>(&message.envelope).ok_or_else(damaged)?;
            // Usual ones fit: the author may stand in it three times. What has to be encoded makes it longer.
            let mut out = BytesMut::with_capacity(2 * message.envelope.len());
            envelope.write(spelling, &mut out);
            Some(out.freeze())
        }
        None => None,
    };
    let structure = match wants.structure {
        true => Some(Arc::new(
            codec::decode_part(&message.structure).ok_or_else(damaged)?,
        )),
        false => None,
    };
    Ok(FetchedMessage {
        uid,
        internal_date: message.received,
        saved: message.saved,
        email_id: ObjectId::Email(message.email_id),
        thread_id: None,
        size_bytes: message.size_bytes,
        envelope,
        written,
        structure,
        preview: None,
    })
}
