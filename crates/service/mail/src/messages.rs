//! What a session does with the messages of its mailbox.

use crate::known::{Known, fetched, message_queries};
use crate::parse::codec;
use crate::parts::{Parts, Tried};
use crate::preview::preview;
use crate::{Mail, MailError, Quota, Selected, flags, modseq};
use ringpost_base::{UnixTime, limits};
use ringpost_imap::question::{Message as FetchedMessage, MessageState, Wants};
use ringpost_imap::{FlagChange, MailboxName};
use ringpost_store::mailbox::MailBatch;
use ringpost_store::records::{self, MailboxId, Message};
use ringpost_store::{
    AccountId, BlobReader, CommitError, Key, Minted, Partition, States, StatesOf, Version, keys,
};
use std::ops::Range;

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
const READ_AT_ONCE: usize = 128;

/// A message as it is read before a change, beside its state.
struct Whole {
    uid: u32,
    message: Message,
}

impl Mail {
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
        let (mut out, mut held_bytes) = (Vec::with_capacity(uids.len()), 0);
        let mut ahead = selected.take_ahead(uids);
        let mut read = ahead.pop_front();
        let mut rest = uids;
        while !rest.is_empty() {
            let known = match read.take() {
                Some(read) => Known::to(selected, rest, read.found.await?)?,
                None => self.known(selected, rest).await?,
            };
            rest = &rest[known.looked_at..];
            for (uid, message) in known.messages {
                // What is left out now would be read ahead in vain: the session asks for it with the next.
                if held_bytes >= limits::IMAP_KNOWN_BYTES {
                    return Ok(out);
                }
                let mut known = fetched(uid, &message, wants)?;
                if wants.preview {
                    known.preview = Some(
                        self.preview(selected, &message, known.structure.as_deref())
                            .await?,
                    );
                }
                if wants.thread {
                    known.thread_id = Some(self.thread_of(selected, &message).await?);
                }
                held_bytes += message.envelope.len() + message.structure.len() + known.held_bytes();
                out.push(known);
            }
        }
        self.read_portions(selected, &mut ahead, then);
        selected.keep_ahead(ahead);
        Ok(out)
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

    /// The same of those that have not changed since; gives the MODSEQs as well, as they are stored. It is one commit, mostly.
    async fn change_flags_unless(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        change: &FlagChange,
        unchanged_since: Option<u64>,
    ) -> Result<(Changed, Vec<u64>), MailError> {
        let (mut all, mut modseqs) = (Changed::default(), Vec::new());
        let mut parts = Parts::of(uids);
        while let Some(some) = parts.next() {
            let tried = self
                .change_some(account, id, some, change, unchanged_since)
                .await?;
            if let Some((changed, modseq)) = parts.take(tried)? {
                all.states.extend(changed.states);
                all.modified.extend(changed.modified);
                modseqs.extend(modseq);
            }
        }
        Ok((all, modseqs))
    }

    /// Tries the same with one commit.
    async fn change_some(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        change: &FlagChange,
        unchanged_since: Option<u64>,
    ) -> Result<Tried<(Changed, Option<u64>)>, MailError> {
        let mailbox = self.mailbox_by_id(account, id).await?;
        let mut batch = MailBatch::new(account, Quota::default());
        batch.batch().exists(keys::mailbox(id));
        let (mut out, mut modified) = (Vec::with_capacity(uids.len()), Vec::new());
        let mut changes = Vec::with_capacity(uids.len());
        let mut changer = flags::Changer::new(change);
        let states = StatesOf::uids(id, uids).read(&*self.store, account).await?;
        for (uid, state) in states.iter() {
            let modseq = modseq::spoken(state.modseq);
            let made = changer.made(state);
            let left = unchanged_since.is_some_and(|since| modseq > since);
            let after = if left { &made.before } else { &made.after };
            if left {
                modified.push(uid);
            }
            if after.keywords().len() > limits::IMAP_KEYWORDS {
                return Err(MailError::Limit("too many keywords on a message"));
            }
            let stored = made.stored.as_ref().filter(|_| !left);
            changes.extend(stored.map(|(system, keywords)| (uid, *system, keywords.clone())));
            out.push(MessageState {
                uid,
                flags: after.clone(),
                modseq,
                recent: false,
            });
        }
        if changes.is_empty() {
            self.settle(account).await;
            let done = Changed {
                states: out,
                modified,
            };
            return Ok(Tried::Done((done, None), uids.len()));
        }
        batch.set_flags_of(&mailbox, &states, &changes);
        let minted_modseq = batch.modseq(id);
        match self.commit(account, batch).await {
            Ok(minted) => {
                let stored = minted_modseq.of(&minted);
                let modseq = modseq::spoken(stored.unwrap_or_default());
                let mut changed = changes.iter().map(|(uid, ..)| *uid).peekable();
                for state in &mut out {
                    if changed.next_if_eq(&state.uid).is_some() {
                        state.modseq = modseq;
                    }
                }
                let done = Changed {
                    states: out,
                    modified,
                };
                Ok(Tried::Done((done, stored), uids.len()))
            }
            Err(e) => Ok(Tried::Failed(e, uids.len())),
        }
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
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        let (mut removed, mut parts) = (Vec::new(), Parts::of(&uids));
        while let Some(some) = parts.next() {
            let tried = self.remove_some(account, id, some, &wanted, lease).await?;
            removed.extend(parts.take(tried)?.unwrap_or_default());
        }
        Ok(removed)
    }

    /// Tries the same with one commit, for the first of them.
    async fn remove_some(
        &self,
        account: AccountId,
        id: MailboxId,
        uids: &[u32],
        wanted: &impl Fn(&records::MessageState) -> bool,
        lease: Option<(&Key, Version)>,
    ) -> Result<Tried<Vec<u32>>, MailError> {
        let mailbox = self.mailbox_by_id(account, id).await?;
        let (states, mut whole, looked_at) = self.whole(account, id, uids).await?;
        whole.retain(|w| states.get(w.uid).is_some_and(wanted));
        if whole.is_empty() {
            return Ok(Tried::Done(Vec::new(), looked_at));
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
            Ok(_) => {
                let removed = whole.into_iter().map(|w| w.uid).collect();
                Ok(Tried::Done(removed, looked_at))
            }
            Err(CommitError::Conflict(key)) if lease.is_some_and(|(lease, _)| *lease == key) => {
                Err(MailError::InUse)
            }
            Err(e) => Ok(Tried::Failed(e, looked_at)),
        }
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
        let to = to.record.id;
        let done = self
            .transfer(account, id, uids, to, false, now, &mut copied.pairs)
            .await;
        if let Err(e) = done {
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.7
            // What was copied before is taken back.
            let new: Vec<u32> = copied.pairs.iter().map(|(_, new)| *new).collect();
            self.remove(account, to, &new, |_| true).await?;
            return Err(e);
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
        self.transfer(account, id, uids, to.record.id, true, now, &mut copied.pairs)
            .await?;
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
        self.transfer(account, from.id, &uids, to.id, true, now, &mut Vec::new())
            .await
    }

    /// Copies or moves messages with as few commits as may be, and adds old and new UIDs to `pairs`; with an error, of those
    /// that are done.
    #[expect(
        clippy::too_many_arguments,
        reason = "which messages, from where to where, and how"
    )]
    pub(crate) async fn transfer(
        &self,
        account: AccountId,
        from: MailboxId,
        uids: &[u32],
        to: MailboxId,
        moves: bool,
        now: UnixTime,
        pairs: &mut Vec<(u32, u32)>,
    ) -> Result<(), MailError> {
        let mut parts = Parts::of(uids);
        while let Some(some) = parts.next() {
            let tried = self.transfer_some(account, from, some, to, moves, now).await?;
            pairs.extend(parts.take(tried)?.unwrap_or_default());
        }
        Ok(())
    }

    /// Tries the same with one commit, for the first of them.
    async fn transfer_some(
        &self,
        account: AccountId,
        from: MailboxId,
        uids: &[u32],
        to: MailboxId,
        moves: bool,
        now: UnixTime,
    ) -> Result<Tried<Vec<(u32, u32)>>, MailError> {
        let owner = self.account(account).await?;
        let quota = self.quota_of(&owner);
        // What is moved takes no more room than before.
        let limits = if moves { Quota::default() } else { quota };
        let source = self.mailbox_by_id(account, from).await?;
        let target = self.mailbox_by_id(account, to).await?;
        let (states, whole, looked_at) = self.whole(account, from, uids).await?;
        if whole.is_empty() {
            return Ok(Tried::Done(Vec::new(), looked_at));
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
                let known = |(old, new): (u32, Minted)| Some((old, u32::try_from(new.of(&minted)?).ok()?));
                let pairs = pairs.into_iter().filter_map(known).collect();
                Ok(Tried::Done(pairs, looked_at))
            }
            Err(e) => Ok(Tried::Failed(e, looked_at)),
        }
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
        while looked_at < uids.len() {
            let rest = &uids[looked_at..];
            let rest = &rest[..rest.len().min(READ_AT_ONCE)];
            let found = self.store.read(&home, message_queries(id, rest)).await?;
            let known = Known::of(rest, found)?;
            for (uid, message) in known.messages {
                if states.get(uid).is_none() {
                    continue;
                }
                size_bytes += message.envelope.len() + message.structure.len() + message.index.len();
                if size_bytes > BYTES_AT_ONCE && !out.is_empty() {
                    looked_at += rest.partition_point(|other| *other < uid);
                    return Ok((states, out, looked_at));
                }
                out.push(Whole { uid, message });
            }
            looked_at += known.looked_at;
        }
        Ok((states, out, looked_at))
    }
}
