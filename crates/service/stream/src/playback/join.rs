//! Tracks that are taken up while others play: they begin where those are, which go on as if nothing were.

use super::cursor::{Cursor, Step};
use super::pace::ticks;
use super::player::{Event, Mode, Output, Player};
use super::seek::{Seek, TRIES};
use crate::file::to_ns;

/// How far the way of one track is ahead, or behind, of where all tracks are gone through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// It is to be taken up with the next command, and nothing of it is sent before.
    pub(super) is_due: bool,
    /// Nothing of it before is sent.
    from_ns: i64,
    /// Nothing of it is sent before a key frame.
    awaits_key: bool,
    /// The piece, the fragment and the sample up to which its packets are made already.
    pub(super) made: (usize, usize, usize),
}

/// Tracks that are being taken up.
#[derive(Debug)]
pub(super) struct Joining {
    senders: Vec<usize>,
    at_ns: i64,
    /// What went on before, which goes on so if nothing can be read of where they would begin.
    pub(super) before: Mode,
}

/// The sample that a track begins with, and where that is, if it is a key frame that is looked for.
type Begin = (usize, Option<i64>);

impl Default for Entry {
    fn default() -> Self {
        Entry {
            is_due: false,
            from_ns: i64::MIN,
            awaits_key: false,
            made: (0, 0, 0),
        }
    }
}

impl Entry {
    /// Whether a sample is sent that comes to be sent.
    pub(super) fn takes(&mut self, position_ns: i64, is_key: bool) -> bool {
        let is_taken = position_ns >= self.from_ns && (is_key || !self.awaits_key);
        self.awaits_key &= !is_taken;
        is_taken
    }
}

impl Player {
    /// Which tracks are sent, by their places in the description. One that is not any more stops at once; one that was not
    /// begins with the next [`play`](Player::play), where the others are by then: sound at once, and pictures with the key frame
    /// before, whose pictures up to then are sent at once.
    pub fn set_tracks(&mut self, tracks: &[usize]) {
        for (index, sender) in self.senders.iter_mut().enumerate() {
            let is_enabled = tracks.contains(&index);
            sender.entry.is_due = is_enabled && (sender.entry.is_due || !sender.is_enabled);
            sender.is_enabled = is_enabled;
        }
        let (senders, waited) = (&self.senders, self.queue.len());
        self.queue.retain(|queued| senders[queued.sender].is_enabled);
        self.count_queue();
        // There is room for more, and perhaps nothing else that it would wait for.
        self.is_unfinished |= self.queue.len() < waited;
    }

    /// Whether anything of some tracks is sent as it plays now: of sound there is nothing at other scales than 1.
    pub fn sends(&self, tracks: &[usize]) -> bool {
        let has = |index: &usize| *index < self.senders.len() && self.is_sent(*index);
        tracks.iter().any(has)
    }

    /// Takes up what was not sent before. Says whether the answer comes when it is known where that begins.
    pub(super) fn join(&mut self) -> bool {
        let due = (0..self.senders.len()).filter(|index| self.senders[*index].entry.is_due);
        let due: Vec<_> = due.collect();
        for index in &due {
            self.senders[*index].entry.is_due = false;
        }
        // Those of which it is not known yet where they begin do so with these.
        let awaited = self.joining.as_ref().map(|joining| joining.senders.clone());
        let sent = due.into_iter().chain(awaited.into_iter().flatten());
        let sent: Vec<_> = sent.filter(|index| self.is_sent(*index)).collect();
        if sent.is_empty() || self.is_trick() || !self.is_playing() {
            return false;
        }
        if let Some(joining) = self.joining.take() {
            self.mode = joining.before;
        }
        // What was late to be made is not left out.
        let begins = self.plan.starts.unwrap_or(self.now).max(self.now);
        let before_gap = self.take_back(begins);
        if let Some(last) = before_gap {
            let behind_ns = self.timeline.pieces[last + 1].begin_ns;
            self.mode = Mode::Seeking(Seek::new(last + 1, behind_ns, false));
        }
        let (piece, fragment, next) = match &self.mode {
            Mode::Playing(cursor) | Mode::Awaiting(cursor, _) => {
                (cursor.piece, cursor.fragment, Some(&cursor.next))
            }
            Mode::Seeking(seek) => (seek.piece, 0, None),
            _ => (usize::MAX, 0, None),
        };
        // The others are yet to come to a piece that is looked into.
        let most = match &self.mode {
            Mode::Seeking(seek) => seek.piece.saturating_sub(1),
            _ => piece,
        };
        for (index, sender) in self.senders.iter_mut().enumerate() {
            let sample = next.map_or(0, |next| next[index]);
            sender.entry.made = match sent.contains(&index) {
                true => (0, 0, 0),
                false if before_gap.is_some() => (piece, fragment, sample),
                false => sender.entry.made.max((piece, fragment, sample)),
            };
            sender.marks |= sent.contains(&index);
        }
        let at_ns = self
            .pace
            .position(begins)
            .min(self.made_to_ns.max(self.pace.position_ns));
        let end_ns = self.timeline.end_ns();
        let end_ns = self.plan.end_ns.map_or(end_ns, |end| end.min(end_ns));
        let at_ns = at_ns.clamp(0, (end_ns - 1).max(0));
        let last = self.timeline.pieces.len() - 1;
        let at = self.timeline.piece_at(at_ns).unwrap_or(last).min(most);
        let of = &self.timeline.pieces[at];
        let at_ns = at_ns.min(of.end_ns - 1).max(of.begin_ns);
        for index in &sent {
            let sender = &mut self.senders[*index];
            sender.entry.from_ns = at_ns;
            sender.entry.awaits_key = sender.is_video;
        }
        let seek = Mode::Seeking(Seek::new(at, at_ns, false));
        self.joining = Some(Joining {
            senders: sent,
            at_ns,
            before: std::mem::replace(&mut self.mode, seek),
        });
        (self.asked, self.is_unfinished) = (None, false);
        (self.busy_until, self.made_at) = (self.now, self.now);
        self.advance();
        true
    }

    /// The fragment of where they begin is at hand: that of a key frame, if there are pictures among them.
    pub(super) fn look_for_join(&mut self, fragment: usize, file_ns: i64) -> Step {
        let (Mode::Seeking(seek), Some(joining), Some(opened)) = (&self.mode, &self.joining, &self.opened)
        else {
            return Step::Wait;
        };
        let Some((_, part)) = &opened.part else {
            return Step::Wait;
        };
        let (piece, tries) = (seek.piece, seek.tries);
        let of = &self.timeline.pieces[piece];
        // For each of them the sample that it begins with, and the time of a key frame.
        let begins: Vec<_> = joining
            .senders
            .iter()
            .filter_map(|index| {
                let track = opened.tracks.get(*index).copied().flatten()?;
                let clock_rate_hz = opened.reading.tracks()[track].clock_rate_hz;
                let (lane, at) = (&part.lanes[track], ticks(file_ns, clock_rate_hz));
                if !self.senders[*index].is_video {
                    return Some((*index, Some((lane.first_from(at), None))));
                }
                // What an edit list has cut off the beginning is there for those that refer to it.
                let begin = match opened.reading.is_whole() {
                    true => i64::MIN,
                    false => ticks(of.file_begin_ns, clock_rate_hz),
                };
                let key = lane.last_key(usize::MAX, at).and_then(|key| {
                    let time = lane.get(key).map(|sample| sample.time);
                    let time = time.filter(|time| *time >= begin)?;
                    Some((key, Some(of.shown(to_ns(time, clock_rate_hz)))))
                });
                Some((*index, key))
            })
            .collect();
        let fragments = opened.reading.fragments();
        let is_first = fragments
            .get(fragment)
            .is_none_or(|fragment| fragment.begin_ns <= of.file_begin_ns);
        let lacks_key = begins.iter().any(|(_, begin)| begin.is_none());
        if lacks_key && fragment > 0 && !is_first && tries < TRIES {
            return self.look_into(fragment - 1, false);
        }
        self.joined(piece, fragment, &begins);
        Step::Again
    }

    /// All tracks are gone through from there on: those that have played are skipped up to where they are.
    fn joined(&mut self, piece: usize, found: usize, begins: &[(usize, Option<Begin>)]) {
        let Some(joining) = self.joining.take() else {
            return;
        };
        let others = (0..self.senders.len())
            .filter(|index| self.is_sent(*index) && !joining.senders.contains(index))
            .map(|index| self.senders[index].entry.made);
        let others: Vec<_> = others.collect();
        let within = others.iter().filter(|(of, ..)| *of == piece);
        let fragment = within.fold(found, |least, (_, fragment, _)| least.min(*fragment));
        let mut told_ns = joining.at_ns;
        for (index, begin) in begins {
            if let Some((_, Some(key_ns))) = begin {
                self.senders[*index].entry.from_ns = *key_ns;
                told_ns = told_ns.min(*key_ns);
            }
        }
        let next = (0..self.senders.len()).map(|index| {
            if joining.senders.contains(&index) {
                let begin = begins.iter().find(|(of, _)| *of == index);
                let begin = begin.and_then(|(_, begin)| *begin).filter(|_| found == fragment);
                return begin.map_or(0, |(sample, _)| sample);
            }
            let (of, within, sample) = self.senders[index].entry.made;
            match (of, within).cmp(&(piece, fragment)) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => sample,
                std::cmp::Ordering::Greater => usize::MAX,
            }
        });
        let next = next.collect();
        let before = match &joining.before {
            Mode::Playing(cursor) | Mode::Awaiting(cursor, _) => Some(cursor),
            _ => None,
        };
        let before = before.filter(|cursor| cursor.piece == piece);
        let from_ns = before.map_or(i64::MIN, |cursor| cursor.from_ns).min(told_ns);
        let begun_ns = (0..self.senders.len()).map(|index| match before {
            Some(cursor) if !joining.senders.contains(&index) => cursor.begun_ns[index],
            _ => Some(from_ns),
        });
        let begun_ns = begun_ns.collect();
        // What those that play refer to may lie behind the end, and is still to be sent.
        let held = before.map(|cursor| cursor.held.iter().copied());
        let held = held.into_iter().flatten();
        let held = held
            .filter(|(index, _)| !joining.senders.contains(index))
            .collect();
        self.mode = Mode::Playing(Cursor {
            piece,
            fragment,
            next,
            lead: self.lead().unwrap_or(0),
            from_ns,
            begun_ns,
            last_key_ns: None,
            held,
        });
        // From one file to the next nothing is missing for those that are there already.
        if others.is_empty() {
            self.made_to_ns = told_ns;
        } else if piece + 1 < self.timeline.pieces.len() && others.iter().any(|(of, ..)| *of > piece) {
            self.made_to_ns = self.timeline.pieces[piece].end_ns;
        }
        self.tell_joined(told_ns);
    }

    /// Nothing can be read there.
    pub(super) fn give_up_joining(&mut self) -> Option<Step> {
        let joining = self.joining.take()?;
        self.mode = joining.before;
        self.tell_joined(joining.at_ns);
        Some(Step::Again)
    }

    /// Says what comes next of all tracks: of those that go on what waits already.
    fn tell_joined(&mut self, position_ns: i64) {
        let mut played = self.played_by(&self.pace, position_ns);
        for (track, sequence, _) in &mut played.begins {
            *sequence = self.senders[*track].sequence;
        }
        self.outputs.push_back(Output::Event(Event::Played(played)));
    }
}
