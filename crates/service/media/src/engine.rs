use crate::leg::Leg;
use crate::plan::Plan;
use crate::tap::Tapped;
use crate::{Command, Event, LegId, LegMedia, PairId, PlayOutcome, Port, RecordOutcome, SocketId};
use ringpost_base::{Deadlines, Instant, Rng, UnixTime, limits};
use ringpost_rtp::is_rtcp;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Players, recorders and digits move in frames of this length.
const TICK: Duration = Duration::from_millis(20);
/// A driver that is later than this has lost the time between: the frames of it are not sent all at once.
const LATE: Duration = Duration::from_millis(100);
/// At most so many lost ticks are made up for in recordings: 10 s.
const MADE_UP_TICKS: u128 = 500;
/// A leg whose BYE waits behind a crowd's leaves without it after this time (RFC 3550 §6.3.7 permits that).
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// No leg has these sockets.
const NOBODY: u32 = u32::MAX;

/// A packet to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// By this socket.
    pub socket: SocketId,
    /// To this address.
    pub to: SocketAddr,
    /// These bytes.
    pub bytes: Vec<u8>,
}

/// A relayed packet: it lies in the buffer that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// By this socket it is to be sent.
    pub socket: SocketId,
    /// To this address.
    pub to: SocketAddr,
    /// Here in the buffer it lies.
    pub range: Range<usize>,
}

/// What [`Engine::poll_output`] gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A packet of our own.
    Transmit(Transmit),
    /// A leg is gone: both sockets of its pair are to be closed, and its number may be given again.
    Close(PairId),
    /// Something to tell the signalling side.
    Event(Event),
    /// What a tapped leg has received, for who listens to it.
    Tapped(Tapped),
    /// Nothing else for now; `handle_timeout` is to be called at this time.
    Timeout(Option<Instant>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The session's own.
    Rtcp,
    /// Nothing has been heard of the peer.
    Silence,
    /// The leg has waited long enough to say BYE.
    Leave,
}

/// All legs of one media thread.
///
/// Its driver gives it every datagram ([`handle_packet`](Engine::handle_packet)), every command of the signalling side
/// ([`handle_command`](Engine::handle_command)), calls [`handle_timeout`](Engine::handle_timeout) when it is due, and
/// drains [`poll_output`](Engine::poll_output) after each.
#[derive(Debug)]
pub struct Engine {
    started: (Instant, UnixTime),
    rng: Rng,
    /// By their index, which is what bridges and sockets name them by; `None` is free.
    legs: Vec<Option<Box<Leg>>>,
    free: Vec<u32>,
    by_id: BTreeMap<LegId, u32>,
    /// The leg of each pair of sockets, or `NOBODY`.
    by_pair: Vec<u32>,
    deadlines: Deadlines<(u32, Timer)>,
    /// The legs that have something to do every 20 ms.
    ticking: Vec<u32>,
    next_tick: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine without legs, at `now`, which is `wallclock` on the calendar.
    pub fn new(now: Instant, wallclock: UnixTime, rng: Rng) -> Self {
        Engine {
            started: (now, wallclock),
            rng,
            legs: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            by_pair: Vec::new(),
            deadlines: Deadlines::new(),
            ticking: Vec::new(),
            next_tick: None,
            outputs: VecDeque::new(),
        }
    }

    /// How many legs there are, those included whose BYE waits.
    pub fn legs(&self) -> usize {
        self.legs.len() - self.free.len()
    }

    /// Everything that is kept, and how much of it: all zero once the last leg is removed.
    pub fn holdings(&self) -> [(&'static str, usize); 5] {
        [
            ("media legs", self.legs()),
            ("names of media legs", self.by_id.len()),
            (
                "sockets of media legs",
                self.by_pair.iter().filter(|leg| **leg != NOBODY).count(),
            ),
            ("timers of media legs", self.deadlines.len()),
            (
                "media legs that tick",
                self.ticking.len() + usize::from(self.next_tick.is_some()),
            ),
        ]
    }

    /// The legs that have not been removed.
    pub fn leg_ids(&self) -> Vec<LegId> {
        self.by_id.keys().copied().collect()
    }

    /// Whether there is a leg of that number that has not been removed.
    pub fn has_leg(&self, leg: LegId) -> bool {
        self.by_id.contains_key(&leg)
    }

    /// Whether a leg has this pair of sockets.
    pub fn uses(&self, pair: PairId) -> bool {
        self.by_pair
            .get(pair.0 as usize)
            .is_some_and(|leg| *leg != NOBODY)
    }

    /// A datagram came to `socket`. If it is to be relayed, it has been rewritten where it lies, and is to be sent.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Option<Forward> {
        let index = *self.by_pair.get(socket.pair.0 as usize)?;
        let leg = self.legs.get_mut(index as usize)?.as_deref_mut()?;
        if leg.removing {
            return None;
        }
        let muxed = leg.media.rtcp_mux && socket.port == Port::Rtp;
        let expects_rtcp = muxed || socket.port == Port::Rtcp;
        match is_rtcp(datagram) {
            true if expects_rtcp => {
                leg.receive_rtcp(now, from, datagram, muxed);
                self.settle(now, index);
                return None;
            }
            false if socket.port == Port::Rtp => {}
            _ => {
                leg.refuse();
                return None;
            }
        }
        let incoming = leg.receive(now, from, datagram, &mut self.outputs);
        let other = leg.other;
        self.settle(now, index);
        let other = other?;
        let forward = self.leg_mut(other)?.forward(now, incoming?, datagram);
        self.settle(now, other);
        forward
    }

    fn leg_mut(&mut self, index: u32) -> Option<&mut Leg> {
        self.legs.get_mut(index as usize)?.as_deref_mut()
    }

    /// Does what a leg's session wants after something happened to it.
    fn settle(&mut self, now: Instant, index: u32) {
        let Some(leg) = self.legs.get_mut(index as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let settled = leg.settle(&mut self.outputs);
        if leg.rtcp_due != settled.due {
            leg.rtcp_due = settled.due;
            match settled.due {
                Some(due) => self.deadlines.set((index, Timer::Rtcp), due),
                None => self.deadlines.remove(&(index, Timer::Rtcp)),
            }
        }
        if settled.key_frame
            && let Some(other) = leg.other.filter(|other| *other != index)
            && let Some(other_leg) = self.leg_mut(other)
        {
            other_leg.request_key_frame(now);
            self.settle(now, other);
        }
    }

    /// The signalling side wants something.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::CreateLeg {
                leg,
                pair,
                cname,
                media,
                media_timeout,
            } => {
                self.create(now, (leg, pair), cname, media, media_timeout);
            }
            Command::UpdateLeg { leg, media } => self.update(now, leg, media),
            Command::RemoveLeg { leg } => self.remove(now, leg),
            Command::Bridge { a, b } => self.bridge(a, b),
            Command::Unbridge { leg } => {
                if let Some(index) = self.index(leg) {
                    self.unbridge(index);
                }
            }
            Command::Play {
                leg,
                id,
                playlist,
                repeat,
            } => {
                self.with_leg(now, leg, |leg, outputs| leg.play(id, playlist, repeat, outputs));
            }
            Command::Feed {
                leg,
                timestamp,
                samples,
            } => {
                self.with_leg(now, leg, |leg, _| leg.feed(timestamp, &samples));
            }
            Command::StopPlay { leg } => {
                self.with_leg(now, leg, |leg, outputs| {
                    leg.end_play(PlayOutcome::Stopped, outputs)
                });
            }
            Command::SendDigits { leg, digits } => {
                self.with_leg(now, leg, |leg, _| leg.send_digits(&digits));
            }
            Command::Record {
                leg,
                id,
                max,
                silence,
            } => {
                self.with_leg(now, leg, |leg, outputs| leg.record(id, max, silence, outputs));
            }
            Command::Tap { leg } => self.with_leg(now, leg, |leg, _| leg.set_tapped(true)),
            Command::Untap { leg } => self.with_leg(now, leg, |leg, _| leg.set_tapped(false)),
            Command::StopRecord { leg } => {
                self.with_leg(now, leg, |leg, outputs| {
                    leg.end_record(RecordOutcome::Stopped, outputs)
                });
            }
        }
    }

    fn index(&self, leg: LegId) -> Option<u32> {
        self.by_id.get(&leg).copied()
    }

    fn create(
        &mut self,
        now: Instant,
        ids: (LegId, PairId),
        cname: String,
        media: LegMedia,
        media_timeout: Option<Duration>,
    ) {
        let (id, pair) = ids;
        let slot = pair.0 as usize;
        let taken = self.by_id.contains_key(&id) || self.by_pair.get(slot).is_some_and(|leg| *leg != NOBODY);
        if taken || slot >= limits::MEDIA_PAIRS {
            return;
        }
        let wallclock = self.started.1 + now.since(self.started.0);
        let leg = Leg::new(now, wallclock, ids, cname, media, media_timeout, &mut self.rng);
        let index = self.free.pop().unwrap_or_else(|| {
            self.legs.push(None);
            self.legs.len() as u32 - 1
        });
        self.legs[index as usize] = Some(Box::new(leg));
        if self.by_pair.len() <= slot {
            self.by_pair.resize(slot + 1, NOBODY);
        }
        self.by_pair[slot] = index;
        self.by_id.insert(id, index);
        if let Some(timeout) = self.leg_mut(index).and_then(|leg| leg.media_timeout) {
            self.deadlines.set((index, Timer::Silence), now + timeout);
        }
        self.settle(now, index);
    }

    fn update(&mut self, now: Instant, id: LegId, media: LegMedia) {
        let Some(index) = self.index(id) else { return };
        let Some(leg) = self.leg_mut(index) else { return };
        leg.update(now, media);
        let other = leg.other;
        self.compile(index);
        if let Some(other) = other {
            self.compile(other);
        }
    }

    /// Compiles the plan of a leg against the other side of its bridge.
    fn compile(&mut self, index: u32) {
        let Some(leg) = self.legs.get(index as usize).and_then(Option::as_deref) else {
            return;
        };
        let other = leg
            .other
            .and_then(|other| self.legs.get(other as usize)?.as_deref());
        let plan = Plan::compile(&leg.media, other.map(|other| &other.media));
        if let Some(leg) = self.leg_mut(index) {
            leg.plan = plan;
            leg.begin_relay_anew();
        }
    }

    fn bridge(&mut self, a: LegId, b: LegId) {
        let (Some(a), Some(b)) = (self.index(a), self.index(b)) else {
            return;
        };
        self.unbridge(a);
        self.unbridge(b);
        for (one, other) in [(a, b), (b, a)] {
            if let Some(leg) = self.leg_mut(one) {
                leg.other = Some(other);
            }
        }
        self.compile(a);
        self.compile(b);
    }

    fn unbridge(&mut self, index: u32) {
        let Some(other) = self.leg_mut(index).and_then(|leg| leg.other.take()) else {
            return;
        };
        if let Some(leg) = self.leg_mut(other) {
            leg.other = None;
        }
        self.compile(index);
        self.compile(other);
    }

    /// Does something to a leg that may want ticks from then on.
    fn with_leg(&mut self, now: Instant, id: LegId, act: impl FnOnce(&mut Leg, &mut VecDeque<Output>)) {
        let Some(index) = self.index(id) else { return };
        let Some(leg) = self.legs.get_mut(index as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        act(leg, &mut self.outputs);
        if leg.wants_ticks() && !leg.ticking {
            leg.ticking = true;
            self.ticking.push(index);
            self.next_tick.get_or_insert(now);
        }
    }

    fn remove(&mut self, now: Instant, id: LegId) {
        let Some(index) = self.by_id.remove(&id) else {
            return;
        };
        self.unbridge(index);
        let Some(leg) = self.legs.get_mut(index as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let left = leg.leave(now, &mut self.outputs);
        self.settle(now, index);
        self.deadlines.remove(&(index, Timer::Silence));
        if left {
            self.finish(index);
        } else {
            self.deadlines.set((index, Timer::Leave), now + LEAVE_PATIENCE);
        }
    }

    /// The leg has said all it had to say.
    fn finish(&mut self, index: u32) {
        let Some(leg) = self.legs.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        self.ticking.retain(|ticking| *ticking != index);
        for timer in [Timer::Rtcp, Timer::Silence, Timer::Leave] {
            self.deadlines.remove(&(index, timer));
        }
        self.by_pair[leg.pair.0 as usize] = NOBODY;
        self.free.push(index);
        self.outputs.push_back(Output::Event(Event::LegRemoved {
            leg: leg.id,
            statistics: leg.statistics(),
        }));
        self.outputs.push_back(Output::Close(leg.pair));
    }

    /// The time that `poll_output` gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((index, timer)) = self.deadlines.pop_due(now) {
            self.handle_timer(now, index, timer);
        }
        while let Some(due) = self.next_tick.filter(|due| *due <= now) {
            self.tick(now, due);
        }
    }

    fn handle_timer(&mut self, now: Instant, index: u32, timer: Timer) {
        let Some(leg) = self.leg_mut(index) else { return };
        match timer {
            Timer::Rtcp => {
                leg.rtcp_due = None;
                leg.handle_timeout(now);
                let over = leg.removing && leg.is_left();
                self.settle(now, index);
                if over {
                    self.finish(index);
                }
            }
            Timer::Silence => {
                let Some(timeout) = leg.media_timeout else { return };
                let mut due = leg.heard + timeout;
                if due <= now {
                    due = now + timeout;
                    // Whom we do not want to hear may be silent.
                    if leg.media.direction.receives() {
                        let event = Event::MediaTimeout { leg: leg.id };
                        self.outputs.push_back(Output::Event(event));
                    }
                }
                self.deadlines.set((index, Timer::Silence), due);
            }
            Timer::Leave => self.finish(index),
        }
    }

    /// One frame of everybody who plays, records or sends digits.
    fn tick(&mut self, now: Instant, due: Instant) {
        let (mut at, mut missed) = (due, 0);
        if now.since(due) > LATE {
            let lost = now.since(due).as_nanos() / TICK.as_nanos();
            missed = lost.min(MADE_UP_TICKS) as u32;
            at = due + TICK * u32::try_from(lost).unwrap_or(u32::MAX);
        }
        let mut n = 0;
        while let Some(index) = self.ticking.get(n).copied() {
            let mut stays = false;
            if let Some(leg) = self.legs.get_mut(index as usize).and_then(Option::as_deref_mut) {
                leg.tick(at, missed, &mut self.outputs);
                stays = leg.wants_ticks();
                leg.ticking = stays;
                self.settle(now, index);
            }
            if stays {
                n += 1;
            } else {
                self.ticking.swap_remove(n);
            }
        }
        self.next_tick = (!self.ticking.is_empty()).then(|| at + TICK);
    }

    /// Whether [`poll_output`](Engine::poll_output) has something else than `Timeout`. After most packets it has not.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// What is to be done, `Timeout` last.
    pub fn poll_output(&mut self) -> Output {
        match self.outputs.pop_front() {
            Some(output) => output,
            None => Output::Timeout(self.next_timeout()),
        }
    }

    /// When `handle_timeout` is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next().into_iter().chain(self.next_tick).min()
    }
}
