//! Where the states of messages stand, and how they are read.
//!
//! A message that comes has a [`MessageState`] record of its own: its UID and MODSEQ are minted into it, and nothing else is
//! guarded. Of each [`BLOCK_UIDS`] UIDs beside each other the states are packed into one [`StateBlock`] once the last of them was
//! given, or earlier when a commit changes several of them; so a mailbox of ten thousand messages is some eighty records. Each
//! state stands in exactly one place. Whoever changes a message that stands in a block writes the block anew, and guards its
//! version.
//!
//! A block is columns of numbers, one a member of the state, with a number for each message that is there: what is alike
//! takes next to nothing, and so do MODSEQs that count up.

mod block;
mod column;
mod keywords;

pub use block::{BLOCK_UIDS, StateBlock, block_number};
pub use keywords::{KeywordSet, Keywords};

pub(crate) use block::{Unpacked, bit, fuzz, pack};

use crate::records::{MailboxId, MessageState, UidRange};
use crate::{
    AccountId, Batch, CommitError, Entry, Found, Key, Partition, Query, Record, Store, StoreError, Stored,
    Version, keys,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Which states are wanted: what to ask the store, and what to make of its answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatesOf {
    mailbox: MailboxId,
    /// Ascending, and none touches another.
    wanted: Vec<UidRange>,
    limit: usize,
}

impl StatesOf {
    /// Of every message of a mailbox.
    pub fn all(mailbox: MailboxId) -> Self {
        StatesOf::range(mailbox, 0..=u32::MAX)
    }

    /// Of the messages with these UIDs.
    pub fn range(mailbox: MailboxId, uids: RangeInclusive<u32>) -> Self {
        let (first, last) = uids.into_inner();
        StatesOf::ranges(mailbox, vec![UidRange { first, last }])
    }

    /// Of the messages with these UIDs, in any order.
    pub fn uids(mailbox: MailboxId, uids: &[u32]) -> Self {
        StatesOf::ranges(mailbox, crate::mailbox::ranges(uids.to_vec()))
    }

    /// Of the messages with UIDs in these ranges, which ascend.
    pub fn ranges(mailbox: MailboxId, wanted: Vec<UidRange>) -> Self {
        StatesOf {
            mailbox,
            wanted,
            limit: usize::MAX,
        }
    }

    /// Of the first `limit` of them only.
    pub fn limit(self, limit: usize) -> Self {
        StatesOf { limit, ..self }
    }

    /// What is to be asked, for [`Store::read`]: the answers must be of one moment.
    pub fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for (first, last) in self.runs() {
            let blocks = block_number(first)..=block_number(last);
            // The first block may have none but messages that are not wanted.
            let blocks = keys::state_blocks(self.mailbox, blocks).limit(self.limit.saturating_add(1));
            let singles = keys::message_states(self.mailbox, first..=last).limit(self.limit);
            queries.extend([blocks, singles].map(Query::Scan));
        }
        queries
    }

    /// Takes the answers to [`queries`](Self::queries) from among those of the read.
    pub fn found(self, found: &mut impl Iterator<Item = Found>) -> Result<States, StoreError> {
        let mut states = States {
            blocks: BTreeMap::new(),
            singles: Vec::new(),
            of: self,
        };
        for _ in states.of.runs() {
            let (blocks, singles) = (found.next(), found.next());
            for entry in blocks.map(Found::entries).unwrap_or_default() {
                let (number, block) = decoded_block(entry)?;
                states.blocks.insert(number, Arc::new(block));
            }
            for entry in singles.map(Found::entries).unwrap_or_default() {
                states.singles.push(decoded_single(entry)?);
            }
        }
        Ok(states)
    }

    /// Reads them.
    pub async fn read(self, store: &dyn Store, account: AccountId) -> Result<States, StoreError> {
        let found = store.read(&Partition::Account(account), self.queries()).await?;
        self.found(&mut found.into_iter())
    }

    /// First and last UIDs of what is wanted, where ranges in neighbouring blocks are one: a scan brings them together.
    fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for range in &self.wanted {
            match runs.last_mut() {
                Some((_, last)) if block_number(range.first) <= block_number(*last) + 1 => *last = range.last,
                _ => runs.push((range.first, range.last)),
            }
        }
        runs
    }
}

fn decoded_block(entry: Entry) -> Result<(u32, Block), StoreError> {
    let damaged = || StoreError::Damaged(format!("{:?}", entry.key));
    let number = keys::state_block_of(&entry.key).ok_or_else(damaged)?;
    let packed = StateBlock::from_bytes(&entry.key, entry.value.clone())?;
    let block = Block {
        version: entry.version,
        states: block::unpack(number, &packed).ok_or_else(damaged)?,
        packed,
    };
    Ok((number, block))
}

fn decoded_single(entry: Entry) -> Result<(u32, Stored<MessageState>), StoreError> {
    let uid = keys::uid_of(&entry.key).ok_or_else(|| StoreError::Damaged(format!("{:?}", entry.key)))?;
    let record = MessageState::from_bytes(&entry.key, entry.value)?;
    let version = entry.version;
    Ok((uid, Stored { version, record }))
}

/// A block as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) version: Version,
    pub(crate) states: Unpacked,
    pub(crate) packed: StateBlock,
}

/// Where a state stands.
pub(crate) enum Place<'a> {
    Single(&'a Stored<MessageState>),
    Block(&'a MessageState),
}

impl<'a> Place<'a> {
    pub(crate) fn state(&self) -> &'a MessageState {
        match self {
            Place::Single(stored) => &stored.record,
            Place::Block(state) => state,
        }
    }
}

/// States of messages of a mailbox, as they were at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct States {
    of: StatesOf,
    blocks: BTreeMap<u32, Arc<Block>>,
    /// UIDs ascending.
    singles: Vec<(u32, Stored<MessageState>)>,
}

impl States {
    /// Of which mailbox they are.
    pub fn mailbox(&self) -> MailboxId {
        self.of.mailbox
    }

    /// The state of a message that was asked for; `None` when it is gone.
    pub fn get(&self, uid: u32) -> Option<&MessageState> {
        self.place(uid).map(|place| place.state())
    }

    pub(crate) fn place(&self, uid: u32) -> Option<Place<'_>> {
        if let Some(single) = self.single(uid) {
            return Some(Place::Single(single));
        }
        let states = &self.blocks.get(&block_number(uid))?.states;
        let at = states.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        Some(Place::Block(&states[at].1))
    }

    /// Whether the states of messages, which ascend and are of one block, all stand in it.
    pub(crate) fn are_in_block(&self, uids: impl Iterator<Item = u32> + Clone) -> bool {
        let Some(block) = uids
            .clone()
            .next()
            .and_then(|first| self.block(block_number(first)))
        else {
            return false;
        };
        let mut there = block.states.iter();
        let mut in_block = uids.clone().map(|uid| there.any(|(found, _)| *found == uid));
        in_block.all(|found| found) && uids.into_iter().all(|uid| self.single(uid).is_none())
    }

    fn single(&self, uid: u32) -> Option<&Stored<MessageState>> {
        let at = self.singles.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        Some(&self.singles[at].1)
    }

    /// A block that was asked for with some of its messages; `None` when there is none.
    pub(crate) fn block(&self, number: u32) -> Option<&Arc<Block>> {
        self.blocks.get(&number)
    }

    /// Those that were asked for, UIDs ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &MessageState)> {
        let blocks = self.blocks.values().flat_map(|block| &block.states);
        let mut blocks = blocks.map(|(uid, state)| (*uid, state)).peekable();
        let singles = self.singles.iter();
        let mut singles = singles.map(|(uid, stored)| (*uid, &stored.record)).peekable();
        let merged = std::iter::from_fn(move || match (blocks.peek(), singles.peek()) {
            (Some((in_block, _)), Some((single, _))) if single <= in_block => singles.next(),
            (Some(_), _) => blocks.next(),
            (None, _) => singles.next(),
        });
        let mut wanted = self.of.wanted.iter().peekable();
        let wanted = merged.filter(move |(uid, _)| {
            while wanted.next_if(|range| range.last < *uid).is_some() {}
            wanted.peek().is_some_and(|range| range.first <= *uid)
        });
        wanted.take(self.of.limit)
    }

    /// So many there are at most.
    pub fn most(&self) -> usize {
        let in_blocks: usize = self.blocks.values().map(|block| block.states.len()).sum();
        (in_blocks + self.singles.len()).min(self.of.limit)
    }

    /// UIDs whose state stands in two places, which is damage.
    pub(crate) fn doubled(&self) -> impl Iterator<Item = u32> {
        let in_block = |uid: &u32| {
            let block = self.blocks.get(&block_number(*uid));
            block.is_some_and(|block| block.states.binary_search_by_key(uid, |(uid, _)| *uid).is_ok())
        };
        self.singles.iter().map(|(uid, _)| *uid).filter(in_block)
    }
}

/// States packed by one commit, so that nobody waits long behind it.
const FOLDED_AT_ONCE: usize = 16 * BLOCK_UIDS as usize;
/// How often packing is begun anew because somebody else changed the same states first. What stays as it is will be packed
/// with what comes next.
const TRIES: usize = 8;

/// Packs the states of messages with a UID below `below` that are records of their own; says how many there were. Nothing that
/// anybody could be told of changes.
pub async fn fold(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
    below: u32,
) -> Result<u64, CommitError> {
    let Some(last) = below.checked_sub(1) else {
        return Ok(0);
    };
    let home = Partition::Account(account);
    let (mut folded, mut tries) = (0, 0);
    loop {
        let scan = keys::message_states(mailbox, 0..=last).limit(FOLDED_AT_ONCE);
        let single = store.scan(&home, scan).await?;
        let uids: Vec<u32> = single
            .iter()
            .filter_map(|entry| keys::uid_of(&entry.key))
            .collect();
        let states = StatesOf::uids(mailbox, &uids).read(store, account).await?;
        if states.singles.is_empty() {
            return Ok(folded);
        }
        let count = states.singles.len() as u64;
        match store.commit(packed(account, states)).await {
            Ok(_) => folded += count,
            Err(CommitError::Conflict(_)) if tries < TRIES => tries += 1,
            Err(CommitError::Conflict(_)) => return Ok(folded),
            Err(error) => return Err(error),
        }
    }
}

/// What brings the single states into their blocks.
fn packed(account: AccountId, states: States) -> Batch {
    let mut batch = Batch::new(Partition::Account(account));
    let mailbox = states.of.mailbox;
    let mut blocks: BTreeMap<u32, Unpacked> = BTreeMap::new();
    for (uid, Stored { version, record }) in &states.singles {
        let key = keys::message_state(mailbox, *uid);
        batch.unchanged(key.clone(), *version).delete(key);
        let number = block_number(*uid);
        let block = blocks.entry(number).or_insert_with(|| {
            let key = keys::state_block(mailbox, number);
            guard_block(&mut batch, key, states.block(number).map(|block| block.version));
            states
                .block(number)
                .map(|block| block.states.clone())
                .unwrap_or_default()
        });
        put_in(block, *uid, record.clone());
    }
    for (number, block) in blocks {
        batch.put(keys::state_block(mailbox, number), pack(&block, 0, None, None));
    }
    batch
}

/// Expects a block to be as it was read.
pub(crate) fn guard_block(batch: &mut Batch, key: Key, version: Option<Version>) {
    match version {
        Some(version) => batch.unchanged(key, version),
        None => batch.absent(key),
    };
}

/// Puts a state into its place in a block.
pub(crate) fn put_in(block: &mut Unpacked, uid: u32, state: MessageState) {
    match block.binary_search_by_key(&uid, |(uid, _)| *uid) {
        Ok(at) => block[at].1 = state,
        Err(at) => block.insert(at, (uid, state)),
    }
}
