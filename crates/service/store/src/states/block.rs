use super::column::{Column, column};
use crate::record::{Record, record};
use crate::records::{Flags, KeywordSet, Keywords, MessageKind, MessageState, numbered};
use crate::{Number, Template, Width};
use bytes::Bytes;

/// How many UIDs share a block. With so many a block of usual messages is short enough to lie in the store's tree itself,
/// beside its neighbours, and a change of one message writes little else.
pub const BLOCK_UIDS: u32 = 128;

record! {
    /// The states of messages whose UIDs are next to each other, packed: [`states`](crate::states) says how.
    StateBlock {
        /// Which messages there are: a bit for each UID of the block.
        1 present: Bytes,
        /// The MODSEQ of the commit that wrote it, if that changed any of the messages.
        2 modseq: u64,
        /// The system flags, as a column with a number for each message that there is.
        3 flags: Bytes,
        /// The MODSEQ of each message's last change: 0 is `modseq`; another is one more than its distance from the last that
        /// was not 0, zigzag.
        4 modseqs: Bytes,
        /// What each message is.
        5 kinds: Bytes,
        /// The sizes.
        6 sizes_bytes: Bytes,
        /// What line ends would add.
        7 line_ends_bytes: Bytes,
        /// Which of `keyword_sets` each message has, counted from 1; 0 is none.
        8 keywords: Bytes,
        /// The sets of keywords.
        9 keyword_sets: Vec<KeywordSet>,
    }
}

impl StateBlock {
    /// The record with its MODSEQ minted.
    pub fn template(&self, modseq: impl Into<Number>) -> Template {
        numbered(self.to_bytes().into(), 2, modseq.into(), Width::U64)
    }
}

/// The number of the block that the state of a message may stand in.
pub fn block_number(uid: u32) -> u32 {
    uid / BLOCK_UIDS
}

/// A block unpacked: messages with their states, UIDs ascending.
pub(crate) type Unpacked = Vec<(u32, MessageState)>;

/// The bit of a message among those of its block.
pub(crate) fn bit(uid: u32) -> u128 {
    1 << (uid % BLOCK_UIDS)
}

/// Packs the states of messages of one block, UIDs ascending. Those whose [`bit`] is in `minted` have been changed by the
/// commit that writes the block, whose MODSEQ is `modseq`. `before` is the block as it was, if it was there: of the messages
/// that were in it only flags and MODSEQs have changed.
pub(crate) fn pack(
    states: &Unpacked,
    minted: u128,
    modseq: Option<Number>,
    before: Option<&StateBlock>,
) -> Template {
    let mut present: u128 = 0;
    let mut sets: Vec<Keywords> = Vec::new();
    let (mut modseqs, mut keywords) = (Vec::new(), Vec::new());
    let mut last = 0;
    for (uid, state) in states {
        present |= bit(*uid);
        modseqs.push(match minted & bit(*uid) {
            0 => {
                zigzag(
                    state
                        .modseq
                        .wrapping_sub(std::mem::replace(&mut last, state.modseq)),
                ) + 1
            }
            _ => 0,
        });
        keywords.push(set_of(&mut sets, &state.keywords));
    }
    let values = |of: fn(&MessageState) -> u64| column(states.iter().map(|(_, state)| of(state)));
    let present = Bytes::copy_from_slice(&present.to_be_bytes());
    let before = before.filter(|before| before.present == present);
    // What does not change of messages is packed already, if it is of the same messages.
    let fixed = |packed: fn(&StateBlock) -> &Bytes, of: fn(&MessageState) -> u64| match before.map(packed) {
        Some(packed) => {
            debug_assert_eq!(*packed, values(of));
            packed.clone()
        }
        None => values(of),
    };
    let block = StateBlock {
        modseq: 0,
        flags: values(|state| state.flags.0.into()),
        modseqs: column(modseqs.into_iter()),
        kinds: fixed(|block| &block.kinds, |state| state.kind as u64),
        sizes_bytes: fixed(|block| &block.sizes_bytes, |state| state.size_bytes),
        line_ends_bytes: fixed(|block| &block.line_ends_bytes, |state| state.line_end_bytes),
        present,
        keywords: column(keywords.into_iter()),
        keyword_sets: sets.into_iter().map(|keywords| KeywordSet { keywords }).collect(),
    };
    match modseq.filter(|_| minted != 0) {
        Some(modseq) => numbered(block.to_bytes().into(), 2, modseq, Width::U64),
        None => block.to_bytes().into(),
    }
}

/// Which of the sets these keywords are, from 1; 0 is none.
fn set_of(sets: &mut Vec<Keywords>, keywords: &Keywords) -> u64 {
    if keywords.is_empty() {
        return 0;
    }
    let same = |set: &Keywords| set.shares(keywords) || set == keywords;
    // Messages beside each other mostly have the same.
    let at = sets.iter().rposition(same).unwrap_or_else(|| {
        sets.push(keywords.clone());
        sets.len() - 1
    });
    at as u64 + 1
}

/// Unpacks block `number`; `None` when it is damaged.
pub(crate) fn unpack(number: u32, block: &StateBlock) -> Option<Unpacked> {
    let present = u128::from_be_bytes(block.present[..].try_into().ok()?);
    let first = number.checked_mul(BLOCK_UIDS)?;
    let columns = [
        &block.flags,
        &block.modseqs,
        &block.kinds,
        &block.sizes_bytes,
        &block.line_ends_bytes,
        &block.keywords,
    ];
    let [
        mut flags,
        mut modseqs,
        mut kinds,
        mut sizes,
        mut line_ends,
        mut keywords,
    ] = columns.map(|bytes| Column::new(bytes));
    let (mut rest, mut last) = (present, 0u64);
    let mut states = Vec::with_capacity(present.count_ones() as usize);
    while rest != 0 {
        let bit = rest.trailing_zeros();
        rest &= rest - 1;
        let modseq = match modseqs.next()? {
            0 => block.modseq,
            coded => {
                last = last.wrapping_add(unzigzag(coded - 1));
                last
            }
        };
        let state = MessageState {
            flags: Flags(flags.next()?.try_into().ok()?),
            keywords: match keywords.next()? {
                0 => Keywords::default(),
                n => block
                    .keyword_sets
                    .get(usize::try_from(n - 1).ok()?)?
                    .keywords
                    .clone(),
            },
            // MODSEQs are counted, and counters are signed.
            modseq: i64::try_from(modseq).ok()? as u64,
            kind: MessageKind::of_number(kinds.next()?)?,
            size_bytes: sizes.next()?,
            line_end_bytes: line_ends.next()?,
        };
        states.push((first + bit, state));
    }
    Some(states)
}

/// A difference that may be below zero, as a number that is small when it is near.
fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

fn unzigzag(coded: u64) -> u64 {
    coded >> 1 ^ (coded & 1).wrapping_neg()
}

/// What unpacks must survive being packed again.
pub(crate) fn fuzz(data: &[u8]) {
    let block = StateBlock::from_bytes(&crate::Key::default(), Bytes::copy_from_slice(data));
    let Some(states) = block.ok().and_then(|block| unpack(3, &block)) else {
        return;
    };
    let packed = pack(&states, 0, None, None).fill(&[]).expect("nothing is minted");
    let again = StateBlock::from_bytes(&crate::Key::default(), packed).expect("what was packed is a record");
    assert_eq!(unpack(3, &again), Some(states));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Minted};
    use proptest::prelude::*;

    fn packed(states: &Unpacked, minted: u128, modseq: u64) -> StateBlock {
        let number = Number::Minted(Minted { index: 0, offset: 0 });
        let bytes = pack(states, minted, Some(number), None).fill(&[modseq]).unwrap();
        StateBlock::from_bytes(&Key::default(), bytes).unwrap()
    }

    fn states() -> impl Strategy<Value = Unpacked> {
        let kinds = prop::sample::select(vec![MessageKind::Mail, MessageKind::Voice, MessageKind::Text]);
        let keywords = prop::sample::select(vec!["", "a", "a b", "b"]);
        let numbers = (
            0..i64::MAX as u64,
            any::<u64>(),
            prop_oneof![Just(0u64), any::<u64>()],
        );
        let state = (any::<u16>(), keywords, kinds, numbers).prop_map(
            |(flags, keywords, kind, (modseq, size_bytes, line_end_bytes))| MessageState {
                flags: Flags(flags),
                keywords: keywords
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
                    .into(),
                modseq,
                kind,
                size_bytes,
                line_end_bytes,
            },
        );
        prop::collection::btree_map(0..BLOCK_UIDS, state, 1..BLOCK_UIDS as usize).prop_map(|all| {
            all.into_iter()
                .map(|(at, state)| (5 * BLOCK_UIDS + at, state))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_block_gives_back_its_states_with_the_modseq_of_the_commit(states in states(), minted: u128) {
            let minted = states.iter().fold(0, |mask, (uid, _)| mask | bit(*uid) & minted);
            let mut expected = states.clone();
            for (uid, state) in &mut expected {
                if minted & bit(*uid) != 0 {
                    state.modseq = 77;
                }
            }
            prop_assert_eq!(unpack(5, &packed(&states, minted, 77)), Some(expected));
        }

        #[test]
        fn no_bytes_panic(data: Vec<u8>) {
            fuzz(&data);
            fuzz(&[&[1, 1, 16][..], &[0xff; 16], &data[..]].concat());
        }
    }

    #[test]
    fn usual_messages_are_packed_into_less_than_the_tree_holds_of_a_value() {
        let state = |n: u32| MessageState {
            flags: if n.is_multiple_of(5) {
                Flags::NONE
            } else {
                Flags::SEEN
            },
            keywords: vec!["NonJunk".to_owned()].into(),
            modseq: 1_000 + u64::from(n),
            kind: MessageKind::Mail,
            size_bytes: 4_000 + u64::from(n * 7919 % 90_000),
            line_end_bytes: 0,
        };
        let all: Unpacked = (0..BLOCK_UIDS).map(|n| (n, state(n))).collect();
        let length = pack(&all, 0, None, None).len();
        assert!(length < 768, "{length}");
        let plain: Unpacked = all
            .into_iter()
            .map(|(uid, state)| {
                (
                    uid,
                    MessageState {
                        flags: Flags::SEEN,
                        size_bytes: 4_096,
                        ..state
                    },
                )
            })
            .collect();
        assert!(pack(&plain, 0, None, None).len() < 64);
    }
}
