//! A media plane that does as it is told, says so in its events, and minds every socket.

use ringpost_base::Instant;
use ringpost_media::{
    Audio, Command, Event, LegId, LegMedia, LegStatistics, PairId, PlayOutcome, RecordOutcome,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// One leg, as the commands have made it.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) pair: PairId,
    pub(super) media: LegMedia,
    pub(super) bridged: Option<LegId>,
    /// What it hears, and when that is over.
    playing: Option<(u64, Instant)>,
    /// The number, the samples so far, and the longest that it may be.
    recording: Option<(u64, usize, Duration)>,
}

impl Leg {
    /// The names of what may be spoken on it.
    pub(super) fn codecs(&self) -> Vec<&str> {
        self.media.codecs.iter().map(|c| c.codec.name.as_ref()).collect()
    }
}

#[derive(Debug)]
pub(super) struct MediaPlane {
    pub(super) legs: BTreeMap<LegId, Leg>,
    /// Sockets that were opened and are not closed.
    pub(super) open: BTreeSet<PairId>,
    /// How many pairs may be open.
    pub(super) pairs: usize,
    pub(super) digits_sent: Vec<(LegId, String)>,
    next_pair: u32,
    events: VecDeque<(Instant, Event)>,
}

impl MediaPlane {
    pub(super) fn new() -> Self {
        MediaPlane {
            legs: BTreeMap::new(),
            open: BTreeSet::new(),
            pairs: 100,
            digits_sent: Vec::new(),
            next_pair: 0,
            events: VecDeque::new(),
        }
    }

    /// Opens so many pairs of sockets, or none.
    pub(super) fn open(&mut self, count: usize) -> Option<Vec<PairId>> {
        if self.open.len() + count > self.pairs {
            return None;
        }
        let first = self.next_pair;
        self.next_pair += count as u32;
        let pairs: Vec<PairId> = (first..self.next_pair).map(PairId).collect();
        self.open.extend(&pairs);
        Some(pairs)
    }

    /// A pair that no leg was made of is given back.
    pub(super) fn release(&mut self, pair: PairId) {
        assert!(
            self.legs.values().all(|leg| leg.pair != pair),
            "{pair:?} has a leg, and is closed with it"
        );
        assert!(self.open.remove(&pair), "{pair:?} is closed once");
    }

    fn leg(&mut self, leg: LegId) -> &mut Leg {
        let legs = &mut self.legs;
        legs.get_mut(&leg).unwrap_or_else(|| panic!("{leg:?} is there"))
    }

    pub(super) fn handle(&mut self, now: Instant, command: Command) {
        match command {
            Command::CreateLeg { leg, pair, media, .. } => self.create(leg, pair, media),
            Command::UpdateLeg { leg, media } => self.leg(leg).media = media,
            Command::RemoveLeg { leg } => self.remove(now, leg),
            Command::Bridge { a, b } => {
                self.unbridge(a);
                self.unbridge(b);
                self.leg(a).bridged = Some(b);
                self.leg(b).bridged = Some(a);
            }
            Command::Unbridge { leg } => {
                self.leg(leg);
                self.unbridge(leg);
            }
            Command::Play {
                leg, id, playlist, ..
            } => {
                self.end_play(now, leg, PlayOutcome::Stopped);
                let samples: usize = playlist.iter().map(Audio::len).sum();
                let length = Duration::from_micros(samples as u64 * 125);
                self.leg(leg).playing = Some((id, now + length));
            }
            Command::Feed { .. } | Command::Tap { .. } | Command::Untap { .. } => {
                panic!("a leg is fed and tapped by the node, not by the service")
            }
            Command::StopPlay { leg } => self.end_play(now, leg, PlayOutcome::Stopped),
            Command::SendDigits { leg, digits } => {
                self.leg(leg);
                self.digits_sent.push((leg, digits));
            }
            Command::Record { leg, id, max, .. } => self.leg(leg).recording = Some((id, 0, max)),
            Command::StopRecord { leg } => {
                self.leg(leg);
                self.end_record(now, leg, RecordOutcome::Stopped, Duration::ZERO);
            }
        }
    }

    fn create(&mut self, leg: LegId, pair: PairId, media: LegMedia) {
        assert!(self.open.contains(&pair), "{pair:?} is open");
        assert!(
            self.legs.values().all(|leg| leg.pair != pair),
            "{pair:?} has one leg"
        );
        let created = Leg {
            pair,
            media,
            bridged: None,
            playing: None,
            recording: None,
        };
        assert!(self.legs.insert(leg, created).is_none(), "{leg:?} is new");
    }

    fn remove(&mut self, now: Instant, leg: LegId) {
        self.unbridge(leg);
        self.end_play(now, leg, PlayOutcome::Stopped);
        self.end_record(now, leg, RecordOutcome::LegRemoved, Duration::ZERO);
        let removed = self.legs.remove(&leg).expect("a leg is removed once");
        assert!(self.open.remove(&removed.pair), "its sockets are closed once");
        let statistics = LegStatistics::default();
        self.tell(now, Event::LegRemoved { leg, statistics });
    }

    fn unbridge(&mut self, leg: LegId) {
        let other = self.legs.get_mut(&leg).and_then(|leg| leg.bridged.take());
        if let Some(other) = other.and_then(|other| self.legs.get_mut(&other)) {
            other.bridged = None;
        }
    }

    fn end_play(&mut self, now: Instant, leg: LegId, outcome: PlayOutcome) {
        if let Some((id, _)) = self.leg(leg).playing.take() {
            self.tell(now, Event::PlayEnded { leg, id, outcome });
        }
    }

    /// Ends a recording whose end is silent for so long.
    pub(super) fn end_record(
        &mut self,
        now: Instant,
        leg: LegId,
        outcome: RecordOutcome,
        silent_end: Duration,
    ) {
        if let Some((id, samples, _)) = self.leg(leg).recording.take() {
            let event = Event::RecordEnded {
                leg,
                id,
                outcome,
                length: Duration::from_micros(samples as u64 * 125),
                silent_end,
            };
            self.tell(now, event);
        }
    }

    /// The peer of a leg says something for so long; where that is too long for the recording, it ends.
    pub(super) fn speak(&mut self, now: Instant, leg: LegId, length: Duration) {
        let Some((id, samples, max)) = self.leg(leg).recording.as_mut() else {
            return;
        };
        let id = *id;
        let said = (length.as_millis() * 8) as usize;
        *samples += said;
        let is_full = *samples >= (max.as_millis() * 8) as usize;
        for chunk in vec![8_000i16; said].chunks(8_000) {
            let samples: Arc<[i16]> = chunk.into();
            self.tell(now, Event::Recorded { leg, id, samples });
        }
        if is_full {
            self.end_record(now, leg, RecordOutcome::MaxLength, Duration::ZERO);
        }
    }

    pub(super) fn is_recording(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|leg| leg.recording.is_some())
    }

    pub(super) fn is_playing(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|leg| leg.playing.is_some())
    }

    /// Something that the world outside did.
    pub(super) fn tell(&mut self, at: Instant, event: Event) {
        self.events.push_back((at, event));
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let told = self.events.front().map(|(at, _)| *at);
        let played = self.legs.values().filter_map(|leg| Some(leg.playing?.1));
        told.into_iter().chain(played).min()
    }

    /// The next thing that has happened by `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Event> {
        let over = self.legs.iter().find_map(|(id, leg)| {
            let (_, until) = leg.playing?;
            (until <= now).then_some(*id)
        });
        if let Some(leg) = over {
            self.end_play(now, leg, PlayOutcome::Finished);
        }
        let is_due = self.events.front().is_some_and(|(at, _)| *at <= now);
        self.events.pop_front().filter(|_| is_due).map(|(_, event)| event)
    }
}
