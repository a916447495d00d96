//! A mailbox as one session sees it: a snapshot, and then what changes.

use crate::known::Ahead;
use crate::open::Seat;
use crate::{Mail, MailError, TRIES, flags, modseq};
use ringpost_imap::question::{Changes, MailboxId, MessageState, Snapshot};
use ringpost_imap::{MailboxName, NumberSet};
use ringpost_store::mailbox::ranges;
use ringpost_store::records::{self, Change, Mailbox, UidRange};
use ringpost_store::{
    AccountId, Batch, CommitError, Entry, Found, Partition, Query, Record, States, StatesOf, counter_value,
    keys,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A mailbox that a session has selected. Dropping it closes it; [`Mail::deselect`] also writes down which messages are
/// no longer `\Recent`.
pub struct Selected {
    pub(crate) account: AccountId,
    pub(crate) mailbox: Mailbox,
    read_only: bool,
    /// The MODSEQ up to which the session has been told, as it is stored.
    seen_modseq: u64,
    /// The highest UID that it has been told of.
    last_uid: u32,
    /// All UIDs that it has ever been told of.
    told: Vec<UidRange>,
    /// MODSEQs of its own changes of flags above `seen_modseq`: it knows what became of them.
    own: Vec<u64>,
    pub(crate) seat: Seat,
    /// What a FETCH that goes on will want.
    ahead: Mutex<Ahead>,
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selected({:?})", self.mailbox.id)
    }
}

impl Selected {
    /// Whose mailbox it is.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Its number.
    pub fn id(&self) -> MailboxId {
        MailboxId(self.mailbox.id.0.into())
    }

    pub(crate) fn home(&self) -> Partition {
        Partition::Account(self.account)
    }

    /// Its session has changed flags under this MODSEQ, and is answered what they are.
    pub(crate) fn has_changed(&mut self, modseq: u64) {
        self.own.push(modseq);
    }

    fn see(&mut self, modseq: u64) {
        self.seen_modseq = modseq;
        self.own.retain(|own| *own > modseq);
    }

    /// The portions that were read ahead, if `uids` are the first of them. Nothing is left.
    pub(crate) fn take_ahead(&self, uids: &[u32]) -> Ahead {
        let ahead = std::mem::take(&mut *self.ahead.lock().unwrap_or_else(PoisonError::into_inner));
        match ahead.front() {
            Some(portion) if portion.uids == uids => ahead,
            _ => Ahead::new(),
        }
    }

    pub(crate) fn keep_ahead(&self, ahead: Ahead) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
    }
}

/// Entries of the change log that are read at once.
const CHANGES_AT_ONCE: usize = 1000;

impl Mail {
    /// Opens a mailbox for a session, and gives what is in it. With `read_only` the session takes `\Recent` from nobody.
    pub async fn select(
        &self,
        account: AccountId,
        name: &MailboxName,
        read_only: bool,
    ) -> Result<(Selected, Snapshot), MailError> {
        for _ in 0..TRIES {
            // The name mostly leads there, and is looked at again below.
            let named = keys::mailbox_name(name.as_str());
            let named = self
                .store
                .record::<records::MailboxName>(&Partition::Account(account), named)
                .await?;
            let id = match named {
                Some(named) => named.record.mailbox,
                None => self.mailbox(account, name).await?.record.id,
            };
            // The seat comes first: whatever is expunged from now on is kept for this session.
            let seat = self.open.sit(account, id);
            let mut queries = vec![
                Query::Get(keys::mailbox(id)),
                Query::Get(keys::last_uid(id)),
                Query::Get(keys::last_modseq(id)),
                Query::Get(keys::claimed_uid(id)),
            ];
            queries.extend(StatesOf::all(id).queries());
            let mut found = self
                .store
                .read(&Partition::Account(account), queries)
                .await?
                .into_iter();
            let Some(mailbox) = found.next().and_then(Found::value) else {
                continue;
            };
            let mailbox = Mailbox::from_bytes(&keys::mailbox(id), mailbox.value)?;
            if MailboxName::new(&mailbox.name).as_ref() != Ok(name) {
                // It was renamed in between.
                continue;
            }
            let last_uid = number(&keys::last_uid(id), found.next())? as u32;
            let seen_modseq = number(&keys::last_modseq(id), found.next())?;
            let stored_claim = number(&keys::claimed_uid(id), found.next())? as u32;
            let states = StatesOf::all(id).found(&mut found)?;
            seat.claim(stored_claim);
            let claimed = if read_only {
                seat.claimed()
            } else {
                seat.claim(last_uid)
            };
            let mut messages = spoken(&states);
            messages.iter_mut().for_each(|m| m.recent = m.uid > claimed);
            let snapshot = Snapshot {
                mailbox: MailboxId(id.0.into()),
                uid_validity: mailbox.uid_validity,
                uid_next: last_uid.saturating_add(1),
                highest_modseq: modseq::spoken(seen_modseq),
                read_only,
                keywords: Vec::new(),
                messages,
            };
            let told = ranges(snapshot.messages.iter().map(|m| m.uid).collect());
            let selected = Selected {
                account,
                mailbox,
                read_only,
                seen_modseq,
                last_uid,
                told,
                own: Vec::new(),
                seat,
                ahead: Mutex::default(),
            };
            if !read_only && claimed < last_uid {
                self.store_claim(&selected).await?;
            }
            self.settle(account).await;
            return Ok((selected, snapshot));
        }
        Err(MailError::Busy)
    }

    /// Closes a mailbox, and remembers which messages were told of.
    pub async fn deselect(&self, selected: Selected) -> Result<(), MailError> {
        match selected.read_only {
            true => Ok(()),
            false => self.store_claim(&selected).await,
        }
    }

    /// What has happened in the mailbox since the session was told the last time.
    pub async fn refresh(&self, selected: &mut Selected) -> Result<Changes, MailError> {
        let mut changes = Changes::default();
        loop {
            let id = selected.mailbox.id;
            let queries = vec![
                Query::Get(keys::mailbox(id)),
                Query::Get(keys::trimmed_modseq(id)),
                Query::Scan(keys::changes_after(id, selected.seen_modseq).limit(CHANGES_AT_ONCE)),
            ];
            let mut found = self.store.read(&selected.home(), queries).await?.into_iter();
            if found.next().and_then(Found::value).is_none() {
                changes.mailbox_gone = true;
                break;
            }
            if number(&keys::trimmed_modseq(id), found.next())? > selected.seen_modseq {
                self.compare_whole(selected, &mut changes).await?;
                continue;
            }
            let log = found.next().map(Found::entries).unwrap_or_default();
            let Some(last) = log.last().and_then(|e| keys::modseq_of(&e.key)) else {
                break;
            };
            let is_all = log.len() < CHANGES_AT_ONCE;
            let latest = self.follow(selected, log, &mut changes).await?;
            selected.see(last);
            // Who hears of a change must have heard of all before it, also of what was expunged.
            if is_all && latest <= last {
                break;
            }
        }
        changes.highest_modseq = modseq::spoken(selected.seen_modseq);
        self.settle(selected.account).await;
        Ok(changes)
    }

    /// Takes in a piece of the change log, and gives the highest MODSEQ that it has met.
    async fn follow(
        &self,
        selected: &mut Selected,
        log: Vec<Entry>,
        changes: &mut Changes,
    ) -> Result<u64, MailError> {
        let (mut changed, mut vanished) = (Vec::new(), Vec::new());
        for entry in log {
            let own = keys::modseq_of(&entry.key).is_some_and(|modseq| selected.own.contains(&modseq));
            let change = Change::from_bytes(&entry.key, entry.value)?;
            if !own {
                changed.extend(change.changed.iter().map(|r| (r.first, r.last)));
            }
            vanished.extend(change.vanished.iter().map(|r| (r.first, r.last)));
        }
        let vanished = NumberSet::from_ranges(vanished);
        let gone = || vanished.ranges().iter().flat_map(|(first, last)| *first..=*last);
        let changed = NumberSet::from_ranges(changed).without(gone());
        let mut latest = 0;
        if !changed.ranges().is_empty() {
            let changed = changed
                .ranges()
                .iter()
                .map(|(first, last)| UidRange {
                    first: *first,
                    last: *last,
                })
                .collect();
            // The states are read a moment later than the log, and may know more than it said: then they come again.
            let states = StatesOf::ranges(selected.mailbox.id, changed)
                .read(&*self.store, selected.account)
                .await?;
            latest = states.iter().map(|(_, state)| state.modseq).fold(0, u64::max);
            self.take_states(selected, spoken(&states), changes);
        }
        changes
            .expunged
            .extend(gone().filter(|uid| contains(&selected.told, *uid)));
        Ok(latest)
    }

    /// Which messages have gone since a MODSEQ (RFC 7162 §3.2.6), those that the session was never told of among them;
    /// `None` when the log does not reach back so far.
    pub async fn vanished(&self, selected: &Selected, since: u64) -> Result<Option<NumberSet>, MailError> {
        let id = selected.mailbox.id;
        let (mut after, mut gone) = (modseq::stored(since), NumberSet::default());
        loop {
            let queries = vec![
                Query::Get(keys::trimmed_modseq(id)),
                Query::Scan(keys::changes_after(id, after).limit(CHANGES_AT_ONCE)),
            ];
            let mut found = self.store.read(&selected.home(), queries).await?.into_iter();
            if number(&keys::trimmed_modseq(id), found.next())? > after {
                return Ok(None);
            }
            let log = found.next().map(Found::entries).unwrap_or_default();
            let last = log.last().and_then(|e| keys::modseq_of(&e.key));
            let is_all = log.len() < CHANGES_AT_ONCE;
            let mut ranges = gone.ranges().to_vec();
            for entry in log {
                let change = Change::from_bytes(&entry.key, entry.value)?;
                ranges.extend(change.vanished.iter().map(|r| (r.first, r.last)));
            }
            gone = NumberSet::from_ranges(ranges);
            match last {
                Some(last) if !is_all => after = last,
                _ => break,
            }
        }
        self.settle(selected.account).await;
        Ok(Some(gone))
    }

    /// The log does not reach back to what the session has seen: everything is compared.
    async fn compare_whole(&self, selected: &mut Selected, changes: &mut Changes) -> Result<(), MailError> {
        let id = selected.mailbox.id;
        let mut queries = vec![Query::Get(keys::last_modseq(id))];
        queries.extend(StatesOf::all(id).queries());
        let mut found = self.store.read(&selected.home(), queries).await?.into_iter();
        selected.see(number(&keys::last_modseq(id), found.next())?);
        let all = spoken(&StatesOf::all(id).found(&mut found)?);
        let there: BTreeSet<u32> = all.iter().map(|m| m.uid).collect();
        let told = selected.told.iter().flat_map(|r| r.first..=r.last);
        changes.expunged.extend(told.filter(|uid| !there.contains(uid)));
        self.take_states(selected, all, changes);
        Ok(())
    }

    fn take_states(&self, selected: &mut Selected, states: Vec<MessageState>, changes: &mut Changes) {
        for mut state in states {
            if state.uid <= selected.last_uid {
                changes.flags.push(state);
                continue;
            }
            selected.last_uid = state.uid;
            match selected.told.last_mut() {
                Some(range) if state.uid == range.last + 1 => range.last = state.uid,
                _ => selected.told.push(UidRange {
                    first: state.uid,
                    last: state.uid,
                }),
            }
            let claimed = match selected.read_only {
                true => selected.seat.claimed(),
                false => selected.seat.claim(state.uid),
            };
            state.recent = state.uid > claimed;
            changes.arrived.push(state);
        }
    }

    /// The highest UID that some session was the first to be told of.
    pub(crate) async fn claimed(&self, account: AccountId, id: records::MailboxId) -> Result<u32, MailError> {
        let stored = self.stored_claim(account, id).await?;
        Ok(self.open.claimed(account, id).unwrap_or_default().max(stored))
    }

    async fn stored_claim(&self, account: AccountId, id: records::MailboxId) -> Result<u32, MailError> {
        let claimed = self
            .store
            .counter(&Partition::Account(account), keys::claimed_uid(id))
            .await?;
        Ok(u32::try_from(claimed).unwrap_or(u32::MAX))
    }

    /// Writes the claim down, unless a higher one was written already.
    async fn store_claim(&self, selected: &Selected) -> Result<(), MailError> {
        let (id, home) = (selected.mailbox.id, selected.home());
        let key = keys::claimed_uid(id);
        let claimed = u64::from(selected.seat.claimed());
        for _ in 0..TRIES {
            let stored = self.store.get(&home, key.clone()).await?;
            let mut batch = Batch::new(home.clone());
            match stored {
                Some(stored) if counter_value(&key, &stored.value)? as u64 >= claimed => return Ok(()),
                Some(stored) => batch.unchanged(key.clone(), stored.version),
                None if claimed == 0 => return Ok(()),
                None => batch.absent(key.clone()),
            };
            batch
                .exists(keys::mailbox(id))
                .put(key.clone(), claimed.to_be_bytes().to_vec());
            match self.store.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict(other)) if other != key => return Ok(()),
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

fn number(key: &ringpost_store::Key, found: Option<Found>) -> Result<u64, MailError> {
    let value = found
        .and_then(Found::value)
        .map_or(Ok(0), |v| counter_value(key, &v.value))?;
    Ok(value.max(0) as u64)
}

/// States as IMAP speaks of them; none of them recent.
fn spoken(states: &States) -> Vec<MessageState> {
    let mut speaker = flags::Speaker::default();
    let state = |(uid, state): (u32, &records::MessageState)| MessageState {
        uid,
        flags: speaker.spoken(state),
        modseq: modseq::spoken(state.modseq),
        recent: false,
    };
    let mut all = Vec::with_capacity(states.most());
    all.extend(states.iter().map(state));
    all
}

fn contains(ranges: &[UidRange], uid: u32) -> bool {
    let after = ranges.partition_point(|r| r.first <= uid);
    after > 0 && ranges[after - 1].last >= uid
}
