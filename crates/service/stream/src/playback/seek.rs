//! Finding where playing begins, and from one file to the next.

use super::cursor::{Cursor, Load, Step};
use super::pace::ticks;
use super::player::{Event, Mode, Output, PlayError, Player, Purpose, REFRESH};
use super::timeline::{GAP_NS, Timeline};
use crate::file::to_ns;
use ringpost_base::UnixTime;

/// On the way to a place.
#[derive(Clone, Debug)]
pub(super) struct Seek {
    pub(super) piece: usize,
    /// Where on the timeline.
    pub(super) at_ns: i64,
    /// Whether it is the answer to a command, and not the way from one file to the next.
    pub(super) is_start: bool,
    /// The fragment that is looked through, once one is chosen.
    fragment: Option<usize>,
    /// Nothing to begin with came before: the first thing behind is taken.
    is_forward: bool,
    pub(super) tries: usize,
    /// There is no picture to begin with: sound is begun with.
    is_by_sound: bool,
    /// What comes is of the file that has been played up to there: its pictures go on from those before.
    goes_on: bool,
    /// The first fragment with sound that is heard before the key picture that is looked for.
    sound: Option<usize>,
    /// The key picture is found: what is begun with is the sound before it.
    is_early: bool,
    /// What is played backwards begins with what happened then or before, wherever it lies, and ends where that was.
    pub(super) before: Option<(UnixTime, Option<UnixTime>)>,
}

/// How many fragments are looked through for a key frame, backwards and then forwards.
pub(super) const TRIES: usize = 256;

impl Seek {
    pub(super) fn new(piece: usize, at_ns: i64, is_start: bool) -> Self {
        Seek {
            piece,
            at_ns,
            is_start,
            fragment: None,
            is_forward: false,
            tries: 0,
            is_by_sound: false,
            goes_on: false,
            sound: None,
            is_early: false,
            before: None,
        }
    }
}

impl Player {
    pub(super) fn seek_step(&mut self) -> Step {
        let Mode::Seeking(seek) = &self.mode else {
            return Step::Wait;
        };
        let (piece, at_ns) = (seek.piece, seek.at_ns);
        let file_ns = self.timeline.pieces[piece].to_file(at_ns);
        match seek.fragment {
            None => match self.choose_fragment(piece, file_ns) {
                Choice::Fragment(fragment) => self.look_into(fragment, false),
                Choice::Wait => Step::Wait,
                Choice::None => self.give_up(),
            },
            Some(fragment) => match self.load(piece, fragment) {
                Load::Wait => Step::Wait,
                Load::End => self.give_up(),
                Load::Ready if self.joining.is_some() => self.look_for_join(fragment, file_ns),
                Load::Ready => self.look_for_key(fragment, file_ns),
            },
        }
    }

    pub(super) fn look_into(&mut self, fragment: usize, is_forward: bool) -> Step {
        if let Mode::Seeking(seek) = &mut self.mode {
            seek.tries = if is_forward == seek.is_forward {
                seek.tries + 1
            } else {
                0
            };
            (seek.fragment, seek.is_forward) = (Some(fragment), is_forward);
        }
        Step::Again
    }

    /// The last fragment that begins at an instant of its file or before, once enough of the file is known.
    fn choose_fragment(&mut self, piece: usize, file_ns: i64) -> Choice {
        match self.load(piece, 0) {
            Load::Wait => return Choice::Wait,
            Load::End => return Choice::None,
            Load::Ready => {}
        }
        let Some(opened) = &mut self.opened else {
            return Choice::None;
        };
        if opened.reading.is_whole() {
            return Choice::Fragment(0);
        }
        let is_known = opened
            .reading
            .fragments()
            .last()
            .is_some_and(|last| last.begin_ns > file_ns);
        if !is_known && let Some(range) = opened.reading.wanted() {
            self.ask(Purpose::Scan, range);
            return Choice::Wait;
        }
        let behind = opened
            .reading
            .fragments()
            .partition_point(|fragment| fragment.begin_ns <= file_ns);
        Choice::Fragment(behind.saturating_sub(1))
    }

    fn look_for_key(&mut self, fragment: usize, file_ns: i64) -> Step {
        let (Mode::Seeking(seek), Some(lead), Some(opened)) = (&self.mode, self.seek_lead(), &self.opened)
        else {
            return self.give_up();
        };
        let Some((track, (_, part))) = opened.tracks[lead].zip(opened.part.as_ref()) else {
            return self.give_up();
        };
        if seek.is_early {
            return self.arrive_early(fragment, lead);
        }
        let (is_forward, tries) = (seek.is_forward, seek.tries);
        let piece = &self.timeline.pieces[seek.piece];
        let clock_rate_hz = opened.reading.tracks()[track].clock_rate_hz;
        let lane = &part.lanes[track];
        // To a nanosecond, as fragments tell their times.
        let at = ticks(file_ns, clock_rate_hz);
        let begin = ticks(piece.file_begin_ns, clock_rate_hz);
        let first = lane.first_from(begin);
        let found = match is_forward {
            _ if seek.goes_on => Some(first).filter(|first| *first < lane.len()),
            true => lane.first_key(0, begin),
            // What an edit list has cut off the beginning is there for those that refer to it.
            false if opened.reading.is_whole() && !self.is_trick() => lane.last_key(usize::MAX, at),
            false => lane
                .last_key(usize::MAX, at)
                .filter(|index| lane.get(*index).is_some_and(|sample| sample.time >= begin)),
        };
        let key_ns = found.and_then(|index| Some(to_ns(lane.get(index)?.time, clock_rate_hz)));
        if is_forward && !seek.goes_on {
            let sound = seek.sound.or(self.has_sound(file_ns, key_ns).then_some(fragment));
            if let Mode::Seeking(seek) = &mut self.mode {
                seek.sound = sound;
                if let Some(sound) = sound.filter(|_| found.is_some()) {
                    (seek.is_early, seek.fragment) = (true, Some(sound));
                    return Step::Again;
                }
            }
        }
        if let Some(index) = found {
            return self.arrive(fragment, lead, track, index);
        }
        let (Mode::Seeking(seek), Some(opened)) = (&self.mode, &self.opened) else {
            return Step::Wait;
        };
        let piece = &self.timeline.pieces[seek.piece];
        let fragments = opened.reading.fragments();
        let begins_ns = fragments
            .get(fragment)
            .map_or(i64::MIN, |fragment| fragment.begin_ns);
        match is_forward {
            false if !seek.goes_on && fragment > 0 && begins_ns > piece.file_begin_ns && tries < TRIES => {
                self.look_into(fragment - 1, false)
            }
            // Nothing before it: backwards what lies before the piece, otherwise the first thing that there is.
            false if self.is_preceded(seek) => self.give_up(),
            false => self.look_into(fragment, true),
            true if tries < TRIES => self.look_into(fragment + 1, true),
            true => self.give_up(),
        }
    }

    /// Whether sound of the fragment at hand is heard from an instant of the file on, before another and before the end.
    fn has_sound(&self, file_ns: i64, key_ns: Option<i64>) -> bool {
        let (Mode::Seeking(seek), Some(opened)) = (&self.mode, &self.opened) else {
            return false;
        };
        let sound = self.sound_lead().and_then(|sender| opened.tracks[sender]);
        let Some((track, (_, part))) = sound.zip(opened.part.as_ref()) else {
            return false;
        };
        let clock_rate_hz = opened.reading.tracks()[track].clock_rate_hz;
        let lane = &part.lanes[track];
        let Some(first) = lane.get(lane.first_from(ticks(file_ns, clock_rate_hz))) else {
            return false;
        };
        let first_ns = to_ns(first.time, clock_rate_hz);
        let position_ns = self.timeline.pieces[seek.piece].on_timeline(first_ns);
        key_ns.is_none_or(|key| first_ns < key) && self.plan.end_ns.is_none_or(|end| position_ns < end)
    }

    /// Plays from where it was asked for, with sound; pictures follow from their first key picture on.
    fn arrive_early(&mut self, fragment: usize, lead: usize) -> Step {
        let (Mode::Seeking(seek), Some(opened)) = (&self.mode, &self.opened) else {
            return Step::Wait;
        };
        let Some((_, part)) = &opened.part else {
            return Step::Wait;
        };
        let (piece, position_ns, is_start) = (seek.piece, seek.at_ns, seek.is_start);
        let file_ns = self.timeline.pieces[piece].to_file(position_ns);
        let next = (0..self.senders.len()).map(|sender| {
            let Some(track) = opened.tracks.get(sender).copied().flatten() else {
                return 0;
            };
            let lane = &part.lanes[track];
            let at = ticks(file_ns, opened.reading.tracks()[track].clock_rate_hz);
            match self.senders[sender].is_video {
                true => lane.first_key(0, at).unwrap_or(lane.len()),
                false => lane.first_from(at),
            }
        });
        let begun_ns = self.senders.iter();
        let begun_ns = begun_ns.map(|sender| (!sender.is_video).then_some(position_ns));
        let cursor = Cursor {
            piece,
            fragment,
            next: next.collect(),
            lead,
            from_ns: position_ns,
            begun_ns: begun_ns.collect(),
            last_key_ns: None,
            held: Vec::new(),
        };
        self.mode = Mode::Playing(cursor);
        self.begin_at(piece, position_ns, is_start)
    }

    /// Plays from a sample of the lead on.
    fn arrive(&mut self, fragment: usize, lead: usize, lead_track: usize, index: usize) -> Step {
        let (Mode::Seeking(seek), Some(opened)) = (&self.mode, &self.opened) else {
            return Step::Wait;
        };
        let (piece_index, is_start) = (seek.piece, seek.is_start);
        let Some((_, part)) = &opened.part else {
            return Step::Wait;
        };
        let Some(sample) = part.lanes[lead_track].get(index) else {
            return Step::Wait;
        };
        let tracks = opened.reading.tracks();
        let file_ns = to_ns(sample.time, tracks[lead_track].clock_rate_hz);
        let piece = &self.timeline.pieces[piece_index];
        let position_ns = piece.shown(file_ns);
        // Sound that is cut off is of no use.
        let heard_ns = file_ns.max(piece.file_begin_ns);
        let next = (0..self.senders.len()).map(|sender| {
            let Some(track) = opened.tracks.get(sender).copied().flatten() else {
                return 0;
            };
            let lane = &part.lanes[track];
            let at = ticks(file_ns, tracks[track].clock_rate_hz);
            match self.senders[sender].is_video {
                _ if sender == lead => index,
                true => lane
                    .last_key(usize::MAX, at)
                    .or(lane.first_key(0, at))
                    .unwrap_or(lane.len()),
                false => lane.first_from(ticks(heard_ns, tracks[track].clock_rate_hz)),
            }
        });
        let mut cursor = Cursor {
            piece: piece_index,
            fragment,
            next: next.collect(),
            lead,
            from_ns: position_ns,
            begun_ns: vec![Some(position_ns); self.senders.len()],
            last_key_ns: None,
            held: Vec::new(),
        };
        if self.plan.scale < 0.0 {
            // It is the first that is sent.
            cursor.next[lead] = index + 1;
        }
        self.mode = Mode::Playing(cursor);
        self.begin_at(piece_index, position_ns, is_start)
    }

    /// Sets the pace for what begins at a position, and tells of it.
    fn begin_at(&mut self, piece: usize, position_ns: i64, is_start: bool) -> Step {
        let is_over = |end: i64| match self.plan.scale < 0.0 {
            true => position_ns < end,
            false => position_ns >= end,
        };
        //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.8
        if is_start && self.plan.end_ns.is_some_and(is_over) {
            self.refuse(PlayError::Empty);
            return Step::Wait;
        }
        if is_start {
            self.begin_pace(position_ns, false);
            let played = self.played(position_ns);
            self.outputs.push_back(Output::Event(Event::Played(played)));
            return Step::Again;
        }
        let is_jump = match self.is_trick() {
            true => self.crosses_gap(piece),
            false => position_ns.abs_diff(self.made_to_ns) >= GAP_NS as u64,
        };
        if is_jump {
            self.begin_pace(position_ns, true);
            let jumped = self.played(position_ns);
            self.outputs.push_back(Output::Event(Event::Jumped(jumped)));
        }
        Step::Again
    }

    /// Whether a gap lies between a piece and the one that was played before.
    fn crosses_gap(&self, piece: usize) -> bool {
        let pieces = &self.timeline.pieces;
        let between = match self.plan.scale < 0.0 {
            true => pieces
                .get(piece + 1)
                .map(|later| later.begin_ns.saturating_sub(pieces[piece].end_ns)),
            false => piece
                .checked_sub(1)
                .map(|earlier| pieces[piece].begin_ns.saturating_sub(pieces[earlier].end_ns)),
        };
        between.is_some_and(|between| between >= GAP_NS)
    }

    /// The track that a place is looked for by.
    fn seek_lead(&self) -> Option<usize> {
        match &self.mode {
            Mode::Seeking(seek) if seek.is_by_sound => self.sound_lead(),
            _ => self.lead(),
        }
    }

    /// A piece without a picture that could be begun with is begun with sound, and one of which nothing can be played is
    /// passed over.
    fn give_up(&mut self) -> Step {
        if let Some(step) = self.give_up_joining() {
            return step;
        }
        let has_sound = self.sound_lead().is_some();
        let Mode::Seeking(seek) = &self.mode else {
            return Step::Wait;
        };
        let (piece, is_start) = (seek.piece, seek.is_start);
        if has_sound && !seek.is_by_sound {
            let by_sound = Seek {
                is_by_sound: true,
                ..Seek::new(piece, seek.at_ns, is_start)
            };
            self.mode = Mode::Seeking(by_sound);
            return Step::Again;
        }
        let before = seek.before;
        let next = match before {
            Some((start, end)) => self.begin_before(piece, start, end),
            None => self.neighbour(piece),
        };
        match next {
            Some((piece, at_ns)) => {
                self.mode = Mode::Seeking(Seek {
                    before,
                    ..Seek::new(piece, at_ns, is_start)
                });
                Step::Again
            }
            None if is_start => {
                self.refuse_nothing();
                Step::Wait
            }
            None => self.end(),
        }
    }

    /// Where else what is played backwards from an instant begins; its end is before that.
    fn begin_before(&mut self, piece: usize, start: UnixTime, end: Option<UnixTime>) -> Option<(usize, i64)> {
        let (piece, at_ns) = self.timeline.backwards_but(start, piece)?;
        let end_ns = end.map(|end| self.timeline.until_clock(at_ns, start, end));
        if end_ns.is_some_and(|end| at_ns <= end) {
            return None;
        }
        (self.plan.start_ns, self.plan.end_ns) = (at_ns, end_ns);
        Some((piece, at_ns))
    }

    /// Whether something comes before a piece that what is played backwards may begin with.
    fn is_preceded(&self, seek: &Seek) -> bool {
        let before = match seek.before {
            Some((start, _)) => self.timeline.backwards_but(start, seek.piece),
            None => self.neighbour(seek.piece),
        };
        self.plan.scale < 0.0 && before.is_some()
    }

    /// The piece that comes next in the direction of playing, and where it is begun with.
    fn neighbour(&self, piece: usize) -> Option<(usize, i64)> {
        let next = match self.plan.scale < 0.0 {
            true => piece.checked_sub(1)?,
            false => piece + 1,
        };
        let of = self.timeline.pieces.get(next)?;
        let at_ns = if self.plan.scale < 0.0 {
            of.end_ns - 1
        } else {
            of.begin_ns
        };
        let is_over = |end: i64| {
            if self.plan.scale < 0.0 {
                of.end_ns <= end
            } else {
                of.begin_ns >= end
            }
        };
        (!self.plan.end_ns.is_some_and(is_over)).then_some((next, at_ns))
    }

    /// All of a piece has been played.
    pub(super) fn next_piece(&mut self) -> Step {
        let Mode::Playing(cursor) = &self.mode else {
            return Step::Wait;
        };
        let piece = cursor.piece;
        if let Some((next, at_ns)) = self.neighbour(piece) {
            let pieces = &self.timeline.pieces;
            let has_begun = cursor.begun_ns.get(cursor.lead).is_some_and(Option::is_some);
            let seek = Seek {
                goes_on: !self.is_trick() && has_begun && pieces[next].file == pieces[piece].file,
                ..Seek::new(next, at_ns, false)
            };
            self.mode = Mode::Seeking(seek);
            return Step::Again;
        }
        let is_last = piece + 1 == self.timeline.pieces.len();
        let is_asked_for = self.plan.end_ns.is_none_or(|end| end > self.made_to_ns);
        if self.timeline.is_open && is_last && self.plan.scale > 0.0 && is_asked_for {
            self.await_more();
            return Step::Wait;
        }
        self.end()
    }

    fn end(&mut self) -> Step {
        self.mode = Mode::Ending(self.pace.due_rtp(self.made_until_ns));
        Step::Again
    }

    /// Asks for what was recorded since.
    pub(super) fn await_more(&mut self) {
        let cursor = match std::mem::replace(&mut self.mode, Mode::Ready(None)) {
            Mode::Playing(cursor) | Mode::Awaiting(cursor, _) => cursor,
            other => {
                self.mode = other;
                return;
            }
        };
        self.mode = Mode::Awaiting(cursor, None);
        self.outputs.push_back(Output::Refresh);
    }

    /// Takes what there is now, with the positions that this session counts by.
    pub(super) fn replace_timeline(&mut self, mut timeline: Timeline) {
        if timeline.pieces.is_empty() {
            return;
        }
        if let (Some(old), Some(new)) = (self.timeline.origin, timeline.origin) {
            let later = i128::from(new.as_nanos()) - i128::from(old.as_nanos());
            let later = later.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            // What lies behind an overlap moves when what it overlaps with goes: what is played stays where it is.
            let at_hand = piece_of(&self.mode).and_then(|piece| self.timeline.pieces.get(piece));
            let later = at_hand
                .and_then(|old| Some(old.begin_ns - timeline.pieces.iter().find(|new| new.is(old))?.begin_ns))
                .unwrap_or(later);
            for piece in &mut timeline.pieces {
                piece.begin_ns = piece.begin_ns.saturating_add(later);
                piece.end_ns = piece.end_ns.saturating_add(later);
            }
            timeline.origin = Some(old);
        }
        timeline.tracks = std::mem::take(&mut self.timeline.tracks);
        let old = std::mem::replace(&mut self.timeline, timeline);
        let has_grown = self.timeline.end_ns() > old.end_ns();
        let mode = std::mem::replace(&mut self.mode, Mode::Ready(None));
        self.mode = self.moved(mode, &old, has_grown);
        if let Some(mut joining) = self.joining.take() {
            joining.before = self.moved(joining.before, &old, has_grown);
            self.joining = Some(joining);
        }
        for sender in &mut self.senders {
            let made = &mut sender.entry.made.0;
            if let Some(of) = old.pieces.get(*made) {
                let new = &self.timeline.pieces;
                let there = new.iter().position(|new| new.is(of));
                *made = there.unwrap_or_else(|| new.partition_point(|new| new.begin_ns < of.end_ns));
            }
        }
    }

    fn moved(&self, mode: Mode, old: &Timeline, has_grown: bool) -> Mode {
        let place = |piece: usize| {
            let of = old.pieces.get(piece)?;
            self.timeline.pieces.iter().position(|new| new.is(of))
        };
        // What is gone is gone on behind.
        let behind = |piece: usize| {
            let end_ns = old.pieces.get(piece).map_or(0, |piece| piece.end_ns);
            let next = self.timeline.pieces.iter().position(|new| new.begin_ns >= end_ns);
            match next {
                Some(next) => Mode::Seeking(Seek::new(next, self.timeline.pieces[next].begin_ns, false)),
                None => Mode::Ending(self.pace.due(self.made_to_ns)),
            }
        };
        match mode {
            Mode::Playing(mut cursor) => match place(cursor.piece) {
                Some(piece) => {
                    cursor.piece = piece;
                    Mode::Playing(cursor)
                }
                None => behind(cursor.piece),
            },
            Mode::Awaiting(mut cursor, again) => match place(cursor.piece) {
                Some(piece) if has_grown => {
                    cursor.piece = piece;
                    Mode::Playing(cursor)
                }
                Some(piece) if self.timeline.is_open => {
                    cursor.piece = piece;
                    Mode::Awaiting(cursor, again.or(Some(self.now + REFRESH)))
                }
                _ => behind(cursor.piece),
            },
            Mode::Seeking(seek) => match place(seek.piece) {
                Some(piece) => Mode::Seeking(Seek {
                    goes_on: seek.goes_on,
                    before: seek.before,
                    ..Seek::new(piece, seek.at_ns, seek.is_start)
                }),
                None => match self.timeline.piece_at(seek.at_ns) {
                    Some(piece) => {
                        let at_ns = seek.at_ns.max(self.timeline.pieces[piece].begin_ns);
                        Mode::Seeking(Seek::new(piece, at_ns, seek.is_start))
                    }
                    None => {
                        let last = self.timeline.pieces.len() - 1;
                        Mode::Seeking(Seek::new(
                            last,
                            self.timeline.pieces[last].end_ns - 1,
                            seek.is_start,
                        ))
                    }
                },
            },
            Mode::Paused { since, then } => Mode::Paused {
                since,
                then: Box::new(self.moved(*then, old, has_grown)),
            },
            other => other,
        }
    }
}

/// The piece that is played, or is to be.
fn piece_of(mode: &Mode) -> Option<usize> {
    match mode {
        Mode::Playing(cursor) | Mode::Awaiting(cursor, _) => Some(cursor.piece),
        Mode::Seeking(seek) => Some(seek.piece),
        Mode::Paused { then, .. } => piece_of(then),
        Mode::Ready(_) | Mode::Ending(_) => None,
    }
}

/// Which fragment to look into.
enum Choice {
    Fragment(usize),
    Wait,
    None,
}
