//! Going through the samples of a timeline, and the packets made of them.

use super::media::{Part, Reading};
use super::pace::ticks;
use super::player::{Event, Mode, Output, Player, Purpose, Queued};
use super::send::{self, Packing};
use super::timeline::Told;
use crate::file::{Format, Stored, to_ns};
use bytes::Bytes;
use ringpost_base::limits;
use ringpost_store::FileName;
use std::ops::Range;
use std::time::Duration;

/// The file that is being played.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: FileName,
    pub(super) reading: Reading,
    /// Which of its tracks is which of the timeline's, once they are known.
    pub(super) tracks: Vec<Option<usize>>,
    /// The fragment that is being played, and its samples.
    pub(super) part: Option<(usize, Part)>,
    /// What was read last of each of its tracks, and where that lies.
    windows: Vec<(u64, Bytes)>,
    is_told: bool,
}

/// Where the player is.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) piece: usize,
    pub(super) fragment: usize,
    /// For each track of the timeline the next sample in the fragment; where only key frames are sent, from where on the
    /// next is looked for, and backwards up to where.
    pub(super) next: Vec<usize>,
    /// The track with whose key frames it began.
    pub(super) lead: usize,
    /// What is shown before it cannot be decoded.
    pub(super) from_ns: i64,
    /// The same for each track; `None` where its first key picture is yet to come.
    pub(super) begun_ns: Vec<Option<i64>>,
    /// Where the last key frame was.
    pub(super) last_key_ns: Option<i64>,
    /// Pictures behind the end, by their track, that are sent if one that is decoded after them is shown before it.
    pub(super) held: Vec<(usize, Stored)>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Again,
    /// Octets are asked for, or enough is made.
    Wait,
}

/// Whether a fragment is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Ready,
    Wait,
    /// There is none of that number.
    End,
}

/// Nothing is sent faster than this, however close to each other a file has its samples: 800 Mbit/s, after 10 ms of it at once.
const LINE_NS_PER_BYTE: u64 = 10;
const BURST: Duration = Duration::from_millis(10);
/// What a sample costs beside its octets.
const SAMPLE_BYTES: usize = 100;
/// How far ahead packets are made.
const AHEAD: Duration = Duration::from_secs(1);
/// What one call does at most.
const STEPS: usize = 4_096;
/// The scale up to which all pictures are sent.
const ALL_PICTURES: f64 = 2.0;
/// How many pictures are decoded before one that is shown before them (H.264 §A.3.1: at most 16 are kept for others).
const REORDERED: usize = 16;
/// What key frames that are sent are apart in time at least.
const KEY_SPACING_NS: f64 = 40_000_000.0;

impl Player {
    pub(super) fn advance(&mut self) {
        self.is_unfinished = false;
        for _ in 0..STEPS {
            if self.asked.is_some() {
                return;
            }
            let step = match &self.mode {
                Mode::Seeking(_) => self.seek_step(),
                Mode::Playing(_) => self.play_step(),
                Mode::Awaiting(_, again) => {
                    if again.is_some_and(|again| self.now >= again) {
                        self.await_more();
                    }
                    Step::Wait
                }
                Mode::Ready(_) | Mode::Ending(_) | Mode::Paused { .. } => Step::Wait,
            };
            if step == Step::Wait {
                return;
            }
        }
        self.is_unfinished = true;
    }

    /// Whether only key frames are sent.
    pub(super) fn is_trick(&self) -> bool {
        self.plan.scale < 0.0 || self.plan.scale > ALL_PICTURES
    }

    /// Whether a track is sent as it is played now.
    pub(super) fn is_sent(&self, sender: usize) -> bool {
        let sender = &self.senders[sender];
        sender.is_enabled && !sender.entry.is_due && (self.plan.scale == 1.0 || sender.is_video)
    }

    /// Which of the timeline's tracks leads in the file that is open: the first with pictures.
    pub(super) fn lead(&self) -> Option<usize> {
        let opened = self.opened.as_ref()?;
        let is_there =
            |index: &usize| self.is_sent(*index) && opened.tracks.get(*index).is_some_and(Option::is_some);
        let mut there = (0..self.senders.len()).filter(is_there);
        let first = there.next()?;
        let pictures = std::iter::once(first)
            .chain(there)
            .find(|index| self.senders[*index].is_video);
        Some(pictures.unwrap_or(first))
    }

    /// The first track of sound that is sent of the file that is open; none where only key frames are.
    pub(super) fn sound_lead(&self) -> Option<usize> {
        let opened = self.opened.as_ref().filter(|_| !self.is_trick())?;
        let is_there = |index: &usize| opened.tracks.get(*index).is_some_and(Option::is_some);
        let mut sent = (0..self.senders.len()).filter(|index| self.is_sent(*index));
        sent.find(|index| is_there(index) && !self.senders[*index].is_video)
    }

    /// Sees to it that a fragment of a piece's file is at hand.
    pub(super) fn load(&mut self, piece: usize, fragment: usize) -> Load {
        let of = &self.timeline.pieces[piece];
        if self.opened.as_ref().is_none_or(|opened| opened.file != of.file) {
            self.opened = Some(Opened {
                file: of.file.clone(),
                reading: Reading::new(of.size_bytes),
                tracks: Vec::new(),
                part: None,
                windows: Vec::new(),
                is_told: false,
            });
        }
        let Some(opened) = &mut self.opened else {
            return Load::End;
        };
        if of.size_bytes > opened.reading.length() {
            opened.reading.grow(of.size_bytes);
        }
        if opened
            .part
            .as_ref()
            .is_some_and(|(at_hand, _)| *at_hand == fragment)
        {
            return Load::Ready;
        }
        let wanted = if opened.reading.is_whole() || fragment < opened.reading.fragments().len() {
            None
        } else {
            opened.reading.wanted()
        };
        if opened.tracks.is_empty() && !opened.reading.tracks().is_empty() {
            opened.tracks = Told::find(&self.told, opened.reading.tracks());
            opened.windows = vec![(0, Bytes::new()); opened.reading.tracks().len()];
        }
        if opened.reading.is_whole() {
            if fragment > 0 {
                return Load::End;
            }
            opened.part = Some((0, opened.reading.take_whole()));
            return Load::Ready;
        }
        if let Some(of) = opened.reading.fragments().get(fragment) {
            let table = of.table.clone();
            if let Some(octets) = opened.reading.at_hand(&table) {
                opened.take_table(fragment, &octets);
                return Load::Ready;
            }
            self.ask(Purpose::Table(fragment), table);
            return Load::Wait;
        }
        if let Some(range) = wanted {
            self.ask(Purpose::Scan, range);
            return Load::Wait;
        }
        if let Some(error) = opened.reading.error().filter(|_| !opened.is_told) {
            let (file, error) = (opened.file.clone(), error.clone());
            self.outputs
                .push_back(Output::Event(Event::Damaged { file, error }));
            opened.is_told = true;
        }
        Load::End
    }

    pub(super) fn take_octets(&mut self, purpose: Purpose, range: &Range<u64>, octets: Bytes) {
        let Some(opened) = &mut self.opened else { return };
        match purpose {
            Purpose::Scan => opened.reading.handle(range.start, octets),
            Purpose::Table(fragment) => opened.take_table(fragment, &octets),
            Purpose::Octets(track) => {
                if let Some(window) = opened.windows.get_mut(track) {
                    *window = (range.start, octets);
                }
            }
        }
    }

    fn play_step(&mut self) -> Step {
        let is_ahead = !self.queue.is_empty() && self.made_at > self.now + AHEAD;
        if is_ahead || self.queue_bytes >= limits::PLAYER_QUEUE_BYTES {
            return Step::Wait;
        }
        let Mode::Playing(cursor) = &self.mode else {
            return Step::Wait;
        };
        let (piece, fragment) = (cursor.piece, cursor.fragment);
        match self.load(piece, fragment) {
            Load::Wait => Step::Wait,
            Load::End => self.next_piece(),
            Load::Ready if self.is_trick() => self.trick_step(),
            Load::Ready => self.sample_step(),
        }
    }

    /// The next sample of all tracks, by when they are decoded.
    fn sample_step(&mut self) -> Step {
        let (Mode::Playing(cursor), Some(opened)) = (&self.mode, &self.opened) else {
            return Step::Wait;
        };
        let Some((_, part)) = &opened.part else {
            return Step::Wait;
        };
        let piece = &self.timeline.pieces[cursor.piece];
        let tracks = opened.reading.tracks();
        let mut is_ended = false;
        let next = (0..self.senders.len())
            .filter(|index| self.is_sent(*index))
            .filter_map(|index| {
                let track = (*opened.tracks.get(index)?)?;
                let sample = part.lanes.get(track)?.get(cursor.next[index])?;
                let clock_rate_hz = tracks[track].clock_rate_hz;
                let decoded_ns = piece.on_timeline(to_ns(sample.decoded, clock_rate_hz));
                let position_ns = piece.shown(to_ns(sample.time, clock_rate_hz));
                // Some files have pictures decoded after they are shown.
                let is_behind = self
                    .plan
                    .end_ns
                    .is_some_and(|end| decoded_ns.min(position_ns) >= end);
                is_ended |= is_behind;
                (!is_behind).then_some((decoded_ns, index, track, sample, position_ns))
            });
        let next = next.min_by_key(|(decoded_ns, ..)| *decoded_ns);
        let Some((decoded_ns, index, track, sample, position_ns)) = next else {
            return match is_ended {
                true => self.end_at_asked(),
                false => self.next_fragment(),
            };
        };
        if decoded_ns >= piece.end_ns {
            return self.next_piece();
        }
        let clock_rate_hz = tracks[track].clock_rate_hz;
        let place = (cursor.piece, cursor.fragment, cursor.next[index]);
        let is_made = place < self.senders[index].entry.made;
        let begun_ns = cursor.begun_ns[index].or(sample.is_key.then_some(position_ns));
        let can_be_shown = begun_ns.is_some_and(|begun| position_ns >= begun);
        let is_over = self.plan.end_ns.is_some_and(|end| position_ns >= end);
        // What it refers to may lie behind the end, and comes first.
        let held = cursor.held.iter().position(|(of, _)| *of == index);
        let held = held.filter(|_| !is_over && can_be_shown && !is_made);
        let (sample, decoded_ns, position_ns) = match held {
            Some(held) => {
                let sample = cursor.held[held].1;
                let decoded_ns = piece.on_timeline(to_ns(sample.decoded, clock_rate_hz));
                (sample, decoded_ns, piece.shown(to_ns(sample.time, clock_rate_hz)))
            }
            None => (sample, decoded_ns, position_ns),
        };
        let is_shown = held.is_some() || (can_be_shown && !is_over);
        if is_made {
            let length_ns = to_ns(sample.length.into(), clock_rate_hz);
            self.made_at = self.made_at.max(self.pace.due(decoded_ns));
            self.made_to_ns = self.made_to_ns.max(position_ns.saturating_add(length_ns));
        } else if is_shown && self.senders[index].entry.takes(position_ns, sample.is_key) {
            match self.octets(track, &sample) {
                Some(octets) => self.make(index, track, &sample, decoded_ns, position_ns, &octets),
                None if self.asked.is_some() => return Step::Wait,
                // It lies beyond the end of the file, or is too long for anything.
                None => {}
            }
        }
        let is_video = self.senders[index].is_video;
        if let Mode::Playing(cursor) = &mut self.mode {
            match held {
                Some(held) => {
                    cursor.held.remove(held);
                }
                None => cursor.next[index] += 1,
            }
            cursor.begun_ns[index] = begun_ns;
            if is_over && is_video && can_be_shown && !is_made {
                cursor.hold(index, sample);
            }
        }
        Step::Again
    }

    /// The next key frame in the direction of playing.
    fn trick_step(&mut self) -> Step {
        let (Mode::Playing(cursor), Some(opened)) = (&self.mode, &self.opened) else {
            return Step::Wait;
        };
        let (lead, piece) = (cursor.lead, &self.timeline.pieces[cursor.piece]);
        let track = opened.tracks.get(lead).copied().flatten();
        let lane = opened
            .part
            .as_ref()
            .zip(track)
            .and_then(|((_, part), track)| Some((part.lanes.get(track)?, track)));
        let Some((lane, track)) = lane else {
            return self.next_piece();
        };
        let clock_rate_hz = opened.reading.tracks()[track].clock_rate_hz;
        let spacing_ns = (KEY_SPACING_NS * self.plan.scale.abs()) as i64;
        let is_backwards = self.plan.scale < 0.0;
        let found = if is_backwards {
            let until_ns = cursor
                .last_key_ns
                .map_or(i64::MAX, |last| last.saturating_sub(spacing_ns));
            let until = match cursor.last_key_ns {
                Some(_) => super::pace::ticks(piece.to_file(until_ns), clock_rate_hz),
                None => i64::MAX,
            };
            lane.last_key(cursor.next[lead], until)
        } else {
            let from_ns = cursor
                .last_key_ns
                .map_or(cursor.from_ns, |last| last.saturating_add(spacing_ns));
            lane.first_key(cursor.next[lead], ticks(piece.to_file(from_ns), clock_rate_hz))
        };
        let sample = found.and_then(|index| Some((index, lane.get(index)?)));
        let Some((index, sample)) = sample else {
            return if is_backwards {
                self.previous_fragment()
            } else {
                self.next_fragment()
            };
        };
        let position_ns = piece.on_timeline(to_ns(sample.time, clock_rate_hz));
        if is_backwards && position_ns < piece.begin_ns {
            return self.next_piece();
        }
        if !is_backwards && position_ns >= piece.end_ns {
            return self.next_piece();
        }
        let is_over = |end: i64| {
            if is_backwards {
                position_ns < end
            } else {
                position_ns >= end
            }
        };
        if self.plan.end_ns.is_some_and(is_over) {
            return self.end_at_asked();
        }
        match self.octets(track, &sample) {
            Some(octets) => self.make(lead, track, &sample, position_ns, position_ns, &octets),
            None if self.asked.is_some() => return Step::Wait,
            None => {}
        }
        if let Mode::Playing(cursor) = &mut self.mode {
            cursor.next[lead] = if is_backwards { index } else { index + 1 };
            cursor.last_key_ns = Some(position_ns);
        }
        Step::Again
    }

    fn next_fragment(&mut self) -> Step {
        if let Mode::Playing(cursor) = &mut self.mode {
            cursor.fragment += 1;
            cursor.next.fill(0);
        }
        Step::Again
    }

    fn previous_fragment(&mut self) -> Step {
        match &mut self.mode {
            Mode::Playing(cursor) if cursor.fragment > 0 => {
                cursor.fragment -= 1;
                cursor.next.fill(usize::MAX);
                Step::Again
            }
            _ => self.next_piece(),
        }
    }

    fn end_at_asked(&mut self) -> Step {
        let end_ns = self.plan.end_ns.unwrap_or(self.made_to_ns);
        // What is played next begins where this has ended (RFC 2326 appendix B), and behind the pictures that were sent since
        // others refer to them.
        let (pace, end) = self.rtp_of(end_ns);
        let end = end.max(self.beyond_ns);
        let made_until_ns = self.made_until_ns.min(end).max(pace.rtp_ns);
        self.mode = Mode::Ending(pace.due_rtp(end));
        self.made_until_ns = made_until_ns;
        Step::Again
    }

    /// What was made beyond a point is not sent.
    pub(super) fn cut_queue(&mut self, point_ns: i64) {
        let is_backwards = self.pace.is_backwards();
        let (pace, point_rtp_ns) = self.rtp_of(point_ns);
        let (pace, point_due) = (*pace, pace.due_rtp(point_rtp_ns));
        // Pictures behind it are sent where others refer to them: those that are shown before it, and may be yet to be made.
        let is_before = self.queue.back().is_none_or(|last| last.at < point_due);
        let is_to_come = is_before && matches!(self.mode, Mode::Playing(_));
        let senders = self.senders.iter();
        let mut is_referred_to: Vec<bool> = senders.map(|sender| is_to_come && sender.is_video).collect();
        let queue = std::mem::take(&mut self.queue).into_iter().rev();
        let is_kept = |queued: &Queued| match is_backwards {
            true => queued.position_ns > point_ns,
            false if queued.position_ns < point_ns => {
                is_referred_to[queued.sender] = self.senders[queued.sender].is_video;
                true
            }
            false => is_referred_to[queued.sender] && queued.at < point_due,
        };
        self.queue = queue.filter(is_kept).collect();
        self.queue.make_contiguous().reverse();
        let beyond = self
            .queue
            .iter()
            .filter(|queued| !is_backwards && queued.position_ns >= point_ns);
        self.beyond_ns = beyond.map(|queued| queued.until_ns).max().unwrap_or(pace.rtp_ns);
        self.count_queue();
        if let Mode::Ending(at) = &mut self.mode {
            *at = point_due.max(pace.due_rtp(self.beyond_ns)).min(*at);
        }
    }

    /// A sample's octets, if they are at hand; otherwise they are asked for, unless they cannot be there.
    fn octets(&mut self, track: usize, sample: &Stored) -> Option<Bytes> {
        let opened = self.opened.as_ref()?;
        let length = opened.reading.length();
        let end = sample
            .offset
            .checked_add(sample.size_bytes.into())
            .filter(|end| *end <= length)?;
        if sample.size_bytes as usize > limits::ACCESS_UNIT_BYTES || sample.size_bytes == 0 {
            return None;
        }
        let (at, window) = opened.windows.get(track)?;
        if let Some(from) = sample.offset.checked_sub(*at)
            && let Ok(from) = usize::try_from(from)
            && let Some(to) = from.checked_add(sample.size_bytes as usize)
            && to <= window.len()
        {
            return Some(window.slice(from..to));
        }
        if *at == sample.offset && !window.is_empty() {
            // They were asked for, and there are not as many.
            return None;
        }
        let most = match self.is_trick() {
            true => end,
            false => sample
                .offset
                .saturating_add(limits::PLAYER_WINDOW_BYTES)
                .min(length),
        };
        self.ask(Purpose::Octets(track), sample.offset..end.max(most));
        None
    }

    /// Makes the packets of a sample.
    fn make(
        &mut self,
        index: usize,
        track: usize,
        sample: &Stored,
        due_ns: i64,
        position_ns: i64,
        octets: &Bytes,
    ) {
        let Some(opened) = &self.opened else { return };
        let of = &opened.reading.tracks()[track];
        let pcm = opened.reading.pcm();
        let most = self.max_payload_bytes;
        let payloads = match (&mut self.senders[index].packing, &of.format) {
            (Packing::G722(encoder), format) => send::g722(encoder, format, pcm, octets, most),
            (Packing::Aac(form), Format::Aac { config, .. }) => form.payloads(config, octets, most),
            _ => send::payloads(of, pcm, octets, sample.is_key, most),
        };
        // Where it ends units it does not begin any.
        let ends_units = payloads.iter().any(|payload| payload.marker);
        let due = self.pace.due(due_ns);
        let bytes: usize = payloads.iter().map(|payload| payload.bytes.len()).sum();
        self.busy_until =
            self.busy_until.max(due) + Duration::from_nanos((bytes + SAMPLE_BYTES) as u64 * LINE_NS_PER_BYTE);
        let at = due.max(self.busy_until - BURST);
        let length_ns = to_ns(sample.length.into(), of.clock_rate_hz);
        self.made_at = at;
        let is_joined = self.queue.back().is_some_and(|last| last.at > at);
        let key_length_ns = self.is_trick().then(|| self.key_length_ns(position_ns));
        let is_backwards = self.pace.is_backwards();
        let sender = &mut self.senders[index];
        let played_ns = self.pace.played_ns(position_ns);
        let timestamp = sender.timestamp(&self.pace, position_ns);
        let end_ns = position_ns.saturating_add(length_ns);
        let end_played_ns = self.pace.played_ns(end_ns).max(played_ns);
        let until_ns = match key_length_ns {
            // What takes its place at once does so a little later.
            Some(_) => played_ns.saturating_add(KEY_SPACING_NS as i64),
            None => end_played_ns,
        };
        let until_ns = self.pace.rtp_ns.saturating_add(until_ns);
        for payload in payloads {
            self.queue_bytes += payload.bytes.len();
            let begins = std::mem::take(&mut sender.marks);
            let queued = Queued {
                sender: index,
                at,
                position_ns,
                timestamp: timestamp.wrapping_add(payload.timestamp_offset),
                until_ns,
                //= https://www.rfc-editor.org/rfc/rfc2326#appendix-B
                marker: payload.marker || (begins && !sender.is_video && !ends_units),
                payload: payload.bytes,
            };
            // A track that was taken up while others play comes among what is made of those.
            let behind = |before: &Queued| before.sender == index || before.at <= at;
            match is_joined.then(|| self.queue.iter().rposition(behind)) {
                None => self.queue.push_back(queued),
                Some(before) => self.queue.insert(before.map_or(0, |before| before + 1), queued),
            }
        }
        self.made_until_ns = match key_length_ns {
            Some(length_ns) => self
                .pace
                .rtp_ns
                .saturating_add(played_ns)
                .saturating_add(length_ns),
            None => self.made_until_ns.max(until_ns),
        };
        if !is_backwards && self.plan.end_ns.is_some_and(|end| position_ns >= end) {
            self.beyond_ns = self.beyond_ns.max(until_ns);
        }
        self.made_to_ns = match is_backwards {
            true => position_ns,
            false => self.made_to_ns.max(end_ns),
        };
    }

    /// How long a key frame that is sent alone lasts in RTP time: as long as the one before it did, and forwards up to the end of
    /// its piece at most.
    fn key_length_ns(&self, position_ns: i64) -> i64 {
        let least_ns = KEY_SPACING_NS as i64;
        let Mode::Playing(cursor) = &self.mode else {
            return least_ns;
        };
        let last_ns = cursor.last_key_ns.map(|last| position_ns.abs_diff(last) as i64);
        let piece = &self.timeline.pieces[cursor.piece];
        let most_ns = match self.pace.is_backwards() {
            true => i64::MAX,
            false => piece.end_ns.saturating_sub(position_ns),
        };
        let length_ns = last_ns.map(|last| (last.min(most_ns) as f64 / self.pace.scale.abs()) as i64);
        length_ns.unwrap_or(least_ns).max(least_ns)
    }
}

impl Cursor {
    /// Keeps a picture behind the end for those that refer to it.
    fn hold(&mut self, index: usize, sample: Stored) {
        let of_track = self.held.iter().filter(|(of, _)| *of == index);
        if of_track.count() == REORDERED
            && let Some(oldest) = self.held.iter().position(|(of, _)| *of == index)
        {
            self.held.remove(oldest);
        }
        self.held.push((index, sample));
    }
}

impl Opened {
    fn take_table(&mut self, fragment: usize, octets: &[u8]) {
        let of = self.reading.index().zip(self.reading.fragments().get(fragment));
        // A table that was read once is read again, unless the file has changed under our hands.
        let samples = of.and_then(|(index, of)| index.samples(of, octets).ok());
        let part = Part::new(self.reading.tracks(), samples.unwrap_or_default());
        self.part = Some((fragment, part));
    }
}
