//! What one session has been told of the selected mailbox, and what it is still to be told (RFC 3501 §5.2, §7.3, §7.4).

use crate::flag::{Flags, Keyword, SystemFlag};
use crate::question::{Changes, MailboxId, MessageState, Snapshot};
use crate::sequence::{NumberSet, Uid};
use std::collections::BTreeSet;

/// Keywords of which FLAGS tells; more are seen only on their messages.
const KEYWORDS_TOLD: usize = 500;

/// A message in the session's own order.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) uid: Uid,
    pub(crate) recent: bool,
    /// It is gone, and the session has not been told.
    pub(crate) expunged: bool,
    /// What has changed of it that the session has not been told.
    pub(crate) untold: Untold,
    pub(crate) flags: Flags,
    pub(crate) modseq: u64,
}

/// What a session is to be told of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Untold {
    #[default]
    Nothing,
    /// Its MODSEQ: the flags are as the client has set them.
    ModSeq,
    /// Its flags, with their MODSEQ if the client wants to know of those.
    Flags,
}

/// The session's view of a mailbox. Positions count from 0, sequence numbers from 1.
///
/// It grows with the mailbox and not with what a peer sends, so it stands outside `limits::SESSION_BYTES`.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) mailbox: MailboxId,
    pub(crate) read_only: bool,
    /// Those the session has been told of, UIDs ascending.
    messages: Vec<Entry>,
    /// Those that came since, UIDs ascending and above.
    arrived: Vec<Entry>,
    keywords: BTreeSet<Keyword>,
    keywords_untold: bool,
    /// How many of `messages` are marked as expunged, and as having flags to tell.
    expunged: usize,
    flags_untold: usize,
    /// Before this position nothing of a message is to be told.
    untold_from: usize,
    /// Whether the client wants to know of every MODSEQ (RFC 7162 §3.1).
    pub(crate) condstore: bool,
    /// The MODSEQ up to which the view is whole, and the one up to which the client has been told everything.
    known_modseq: u64,
    /// The last UID that was given before the mailbox was opened.
    uids_given: Uid,
    told_modseq: u64,
}

impl From<MessageState> for Entry {
    fn from(state: MessageState) -> Self {
        let MessageState {
            uid,
            flags,
            modseq,
            recent,
        } = state;
        Entry {
            uid,
            recent,
            expunged: false,
            untold: Untold::Nothing,
            flags,
            modseq,
        }
    }
}

impl View {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let mut view = View {
            mailbox: snapshot.mailbox,
            read_only: snapshot.read_only,
            messages: snapshot.messages.into_iter().map(Entry::from).collect(),
            arrived: Vec::new(),
            keywords: snapshot.keywords.into_iter().take(KEYWORDS_TOLD).collect(),
            keywords_untold: false,
            expunged: 0,
            flags_untold: 0,
            untold_from: 0,
            condstore: false,
            uids_given: snapshot.uid_next.saturating_sub(1),
            known_modseq: snapshot.highest_modseq,
            told_modseq: snapshot.highest_modseq,
        };
        for entry in &view.messages {
            learn(&mut view.keywords, &entry.flags);
        }
        view
    }

    pub(crate) fn messages(&self) -> &[Entry] {
        &self.messages
    }

    pub(crate) fn recent(&self) -> usize {
        self.messages.iter().filter(|m| m.recent).count()
    }

    /// The sequence number of the first message without `\Seen`.
    pub(crate) fn first_unseen(&self) -> Option<usize> {
        self.messages
            .iter()
            .position(|m| !m.flags.is(SystemFlag::Seen))
            .map(|i| i + 1)
    }

    pub(crate) fn keywords(&self) -> impl Iterator<Item = &Keyword> {
        self.keywords.iter()
    }

    /// The last sequence number and UID that the session knows; zero when there is none.
    pub(crate) fn last(&self) -> (u32, Uid) {
        (
            self.messages.len() as u32,
            self.messages.last().map_or(0, |m| m.uid),
        )
    }

    pub(crate) fn position(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |m| m.uid).ok()
    }

    /// The positions of messages whose UIDs are in `uids`, as ranges with their end outside.
    pub(crate) fn positions(&self, uids: &NumberSet) -> Vec<(usize, usize)> {
        let below = |uid: Uid| self.messages.partition_point(|m| m.uid < uid);
        let through = |uid: Uid| self.messages.partition_point(|m| m.uid <= uid);
        let ranges = uids
            .ranges()
            .iter()
            .map(|(low, high)| (below(*low), through(*high)));
        ranges.filter(|(start, end)| start < end).collect()
    }

    /// Takes in what has happened; nothing is told yet.
    pub(crate) fn apply(&mut self, changes: Changes) {
        for state in changes.arrived {
            self.arrive(state);
        }
        for state in changes.flags {
            self.set_flags(state, true);
        }
        self.expunge(&changes.expunged);
        self.known_modseq = self.known_modseq.max(changes.highest_modseq);
    }

    /// The MODSEQ up to which the client has been told everything.
    pub(crate) fn told_modseq(&self) -> u64 {
        self.told_modseq
    }

    /// Every UID that is known to have been given.
    pub(crate) fn uids_given(&self) -> NumberSet {
        NumberSet::from_ranges([(1, self.uids_given.max(self.last().1))])
    }

    /// All news that there was has been told, unless messages are gone of which it may not be told yet; then it is true.
    pub(crate) fn news_told(&mut self) -> bool {
        if self.expunged == 0 {
            self.told_modseq = self.known_modseq;
        }
        self.expunged > 0
    }

    fn arrive(&mut self, state: MessageState) {
        // Guards against being told twice, by the snapshot and by the change that it already showed.
        let last = self.arrived.last().or(self.messages.last()).map_or(0, |m| m.uid);
        if state.uid > last {
            self.keywords_untold |= learn(&mut self.keywords, &state.flags);
            self.arrived.push(state.into());
        } else {
            self.set_flags(state, true);
        }
    }

    /// Takes the new flags of a message, unless newer ones are known. `untold` says whether the session is to be told.
    pub(crate) fn set_flags(&mut self, state: MessageState, untold: bool) {
        if let Some(i) = self.position(state.uid) {
            self.set_flags_at(i, state, untold);
        } else if let Ok(i) = self.arrived.binary_search_by_key(&state.uid, |m| m.uid) {
            let entry = &mut self.arrived[i];
            if state.modseq >= entry.modseq {
                self.keywords_untold |= learn(&mut self.keywords, &state.flags);
                (entry.flags, entry.modseq) = (state.flags, state.modseq);
            }
        }
    }

    /// The same of the message at `i`, which it is.
    pub(crate) fn set_flags_at(&mut self, i: usize, state: MessageState, untold: bool) {
        let entry = &mut self.messages[i];
        if state.modseq < entry.modseq {
            return;
        }
        let newer = entry.modseq != state.modseq;
        entry.modseq = state.modseq;
        let differs = entry.flags != state.flags;
        if differs {
            self.keywords_untold |= learn(&mut self.keywords, &state.flags);
            entry.flags = state.flags;
        }
        if untold && (differs || newer && self.condstore) {
            self.tell(i, Untold::Flags);
        }
    }

    /// The session is being told the flags of the message at `i`.
    pub(crate) fn flags_told(&mut self, i: usize) {
        if std::mem::take(&mut self.messages[i].untold) != Untold::Nothing {
            self.flags_untold -= 1;
        }
    }

    /// Marks what is to be told of the message at `i`.
    pub(crate) fn tell(&mut self, i: usize, what: Untold) {
        let entry = &mut self.messages[i];
        self.flags_untold += usize::from(entry.untold == Untold::Nothing && what != Untold::Nothing);
        entry.untold = entry.untold.max(what);
        self.untold_from = self.untold_from.min(i);
    }

    pub(crate) fn expunge(&mut self, uids: &[Uid]) {
        for uid in uids {
            if let Some(i) = self.position(*uid) {
                self.expunged += usize::from(!self.messages[i].expunged);
                self.messages[i].expunged = true;
            } else if let Ok(i) = self.arrived.binary_search_by_key(uid, |m| m.uid) {
                // Never told of, so never missed.
                self.arrived.remove(i);
            }
        }
    }

    /// Whether there is something to tell; EXPUNGE only counts when it may be told.
    pub(crate) fn has_news(&self, expunges: bool) -> bool {
        (expunges && self.expunged > 0)
            || !self.arrived.is_empty()
            || self.keywords_untold
            || self.flags_untold > 0
    }

    /// Forgets up to `limit` expunged messages, the last ones first, and gives the sequence number and the UID of each, in
    /// the order in which they are to be told.
    pub(crate) fn take_expunged(&mut self, limit: usize) -> Vec<(usize, Uid)> {
        if self.expunged == 0 {
            return Vec::new();
        }
        // From the end, no number told changes another that is still to be told.
        let marked = self.messages.iter().enumerate().rev().filter(|(_, m)| m.expunged);
        let gone: Vec<(usize, Uid)> = marked.map(|(i, m)| (i + 1, m.uid)).take(limit).collect();
        let from = gone.last().map_or(0, |(number, _)| number - 1);
        let untold = self.messages[from..]
            .iter()
            .filter(|m| m.expunged && m.untold != Untold::Nothing)
            .count();
        self.flags_untold -= untold;
        self.expunged -= gone.len();
        self.untold_from = self.untold_from.min(from);
        let tail = self.messages.split_off(from);
        self.messages.extend(tail.into_iter().filter(|m| !m.expunged));
        gone
    }

    /// Takes in those that have arrived; true when there were any, so that EXISTS is to be told.
    pub(crate) fn take_arrived(&mut self) -> bool {
        let any = !self.arrived.is_empty();
        self.messages.append(&mut self.arrived);
        self.arrived.shrink_to_fit();
        any
    }

    /// Whether keywords are in use that the session has not been told of; it is being told now.
    pub(crate) fn take_keywords(&mut self) -> bool {
        std::mem::take(&mut self.keywords_untold)
    }

    /// Up to `limit` positions of messages of which something is to be told, and what; it is told now.
    pub(crate) fn take_flags(&mut self, limit: usize) -> Vec<(usize, Untold)> {
        if self.flags_untold == 0 {
            return Vec::new();
        }
        let all = self.messages.iter().enumerate().skip(self.untold_from);
        let untold = all.filter(|(_, m)| m.untold != Untold::Nothing);
        let told: Vec<_> = untold.map(|(i, m)| (i, m.untold)).take(limit).collect();
        self.untold_from = told.last().map_or(self.messages.len(), |(i, _)| i + 1);
        told.iter().for_each(|(i, _)| self.flags_told(*i));
        told
    }
}

/// Adds the keywords of a message; true when there is a new one.
fn learn(keywords: &mut BTreeSet<Keyword>, flags: &Flags) -> bool {
    let mut new = false;
    for keyword in flags.keywords() {
        if keywords.len() < KEYWORDS_TOLD && !keywords.contains(keyword) {
            new |= keywords.insert(keyword.clone());
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(uid: Uid, flags: &str, modseq: u64) -> MessageState {
        let flags = flags.split_whitespace().filter_map(crate::Flag::parse).collect();
        MessageState {
            uid,
            flags,
            modseq,
            recent: false,
        }
    }

    fn view(uids: &[Uid]) -> View {
        View::new(Snapshot {
            mailbox: MailboxId(1),
            uid_validity: 1,
            uid_next: 100,
            highest_modseq: 1,
            read_only: false,
            keywords: Vec::new(),
            messages: uids.iter().map(|uid| state(*uid, "", 1)).collect(),
        })
    }

    fn expunged(uids: &[Uid]) -> Changes {
        Changes {
            expunged: uids.to_vec(),
            ..Changes::default()
        }
    }

    #[test]
    fn expunges_told_from_the_end_are_right_at_each_step() {
        let mut v = view(&[2, 4, 6, 8, 10]);
        v.apply(expunged(&[2, 6, 10, 11]));
        let mut client = vec![2, 4, 6, 8, 10];
        while v.has_news(true) {
            for (number, uid) in v.take_expunged(2) {
                assert_eq!(client[number - 1], uid);
                client.remove(number - 1);
            }
        }
        assert_eq!(client, [4, 8]);
        assert_eq!(v.messages().iter().map(|m| m.uid).collect::<Vec<_>>(), [4, 8]);
    }

    #[test]
    fn an_expunged_message_keeps_its_number_until_told() {
        let mut v = view(&[5, 6, 7]);
        v.apply(expunged(&[5]));
        assert_eq!(v.position(7), Some(2));
        assert_eq!(v.last(), (3, 7));
        assert!(!v.has_news(false));
    }

    #[test]
    fn news_that_the_snapshot_already_showed_is_no_news() {
        // Guards pitfall IMAP 3: SELECT drops queued changes that it already shows.
        let mut v = view(&[1, 2]);
        v.apply(Changes {
            arrived: vec![state(2, "", 1)],
            flags: vec![state(1, "", 1)],
            ..Changes::default()
        });
        assert!(!v.has_news(true));
    }

    #[test]
    fn older_flags_do_not_come_back() {
        let mut v = view(&[1]);
        v.set_flags(state(1, "\\Seen", 9), false);
        v.apply(Changes {
            flags: vec![state(1, "", 8)],
            ..Changes::default()
        });
        assert!(v.messages()[0].flags.is(SystemFlag::Seen));
        assert!(!v.has_news(true));
    }

    #[test]
    fn what_came_and_went_unseen_is_never_told() {
        let mut v = view(&[1]);
        v.apply(Changes {
            arrived: vec![state(2, "", 1), state(3, "", 1)],
            ..Changes::default()
        });
        v.apply(expunged(&[2]));
        assert!(v.take_arrived());
        assert_eq!(v.last(), (2, 3));
        assert!(!v.has_news(true));
    }

    #[test]
    fn what_is_told_in_pieces_misses_nothing_when_more_comes_between() {
        let mut v = view(&[1, 2, 3, 4, 5, 6]);
        let change = |uids: &[Uid], modseq| Changes {
            flags: uids.iter().map(|uid| state(*uid, "a", modseq)).collect(),
            ..Changes::default()
        };
        v.apply(change(&[2, 3, 5], 5));
        assert_eq!(v.take_flags(2), [(1, Untold::Flags), (2, Untold::Flags)]);
        v.apply(change(&[1], 6));
        assert_eq!(v.take_flags(1), [(0, Untold::Flags)]);
        v.apply(change(&[6], 7));
        v.apply(expunged(&[1, 4]));
        assert_eq!(v.take_expunged(10), [(4, 4), (1, 1)]);
        assert_eq!(v.take_flags(1), [(2, Untold::Flags)]);
        v.apply(Changes {
            arrived: vec![state(9, "", 8)],
            ..Changes::default()
        });
        assert!(v.take_arrived());
        v.apply(change(&[9], 9));
        assert_eq!(v.take_flags(9), [(3, Untold::Flags), (4, Untold::Flags)]);
        assert!(v.take_keywords());
        assert!(!v.has_news(true));
    }

    #[test]
    fn flags_of_a_message_that_is_told_to_be_gone_are_not_told() {
        let mut v = view(&[1, 2, 3]);
        v.apply(Changes {
            flags: vec![state(2, "a", 5), state(3, "b", 5)],
            ..expunged(&[2])
        });
        assert_eq!(v.take_expunged(10), [(2, 2)]);
        assert_eq!(v.take_flags(10), [(1, Untold::Flags)]);
        assert!(v.take_keywords());
        assert!(!v.has_news(true));
    }
}
