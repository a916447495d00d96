use super::player::{Plan, Player, Sender};
use ringpost_base::Instant;
use ringpost_rtsp::server::Played;
use std::time::Duration;

/// Pauses between two PLAYs that are not heard: their timestamps follow each other.
const SEAMLESS_NS: i64 = 200_000_000;

/// How positions of a timeline pass by the clock, and in a session's RTP time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When `position_ns` is sent.
    pub(super) at: Instant,
    pub(super) position_ns: i64,
    /// The session's RTP time of it, in nanoseconds since the session's first packet.
    pub(super) rtp_ns: i64,
    /// How fast positions pass in RTP time; negative for backwards, never zero.
    pub(super) scale: f64,
    /// How fast RTP time passes by the clock; above zero.
    pub(super) speed: f64,
}

impl Pace {
    pub(super) fn is_backwards(&self) -> bool {
        self.scale < 0.0
    }

    /// How long after the beginning a position is played, in RTP time; negative before it.
    pub(super) fn played_ns(&self, position_ns: i64) -> i64 {
        let passed = position_ns.saturating_sub(self.position_ns);
        let passed = if self.is_backwards() {
            passed.saturating_neg()
        } else {
            passed
        };
        divide(passed, self.scale.abs())
    }

    /// When a position is sent: not before the beginning.
    pub(super) fn due(&self, position_ns: i64) -> Instant {
        let after = divide(self.played_ns(position_ns), self.speed);
        self.at + Duration::from_nanos(after.max(0) as u64)
    }

    /// When an RTP time is sent: not before the beginning.
    pub(super) fn due_rtp(&self, rtp_ns: i64) -> Instant {
        let after = divide(rtp_ns.saturating_sub(self.rtp_ns), self.speed);
        self.at + Duration::from_nanos(after.max(0) as u64)
    }

    /// The position that is sent now.
    pub(super) fn position(&self, now: Instant) -> i64 {
        let passed = multiply(ns(now.since(self.at)), self.speed);
        let passed = multiply(passed, self.scale.abs());
        match self.is_backwards() {
            true => self.position_ns.saturating_sub(passed),
            false => self.position_ns.saturating_add(passed),
        }
    }

    /// How much RTP time has passed by now.
    fn passed_ns(&self, now: Instant) -> i64 {
        multiply(ns(now.since(self.at)), self.speed)
    }

    /// Whether a position is played by it, or by one behind it.
    fn has_come_to(&self, position_ns: i64) -> bool {
        match self.is_backwards() {
            true => position_ns <= self.position_ns,
            false => position_ns >= self.position_ns,
        }
    }
}

impl Sender {
    /// The timestamp of a position.
    pub(super) fn timestamp(&self, pace: &Pace, position_ns: i64) -> u32 {
        self.timestamp_after(pace, pace.played_ns(position_ns))
    }

    fn timestamp_after(&self, pace: &Pace, passed_ns: i64) -> u32 {
        [pace.rtp_ns, passed_ns]
            .iter()
            .map(|ns| ticks(*ns, self.clock_rate_hz) as u32)
            .fold(self.first_timestamp, u32::wrapping_add)
    }
}

/// Nanoseconds in units of a clock, to the nearest.
pub(super) fn ticks(ns: i64, clock_rate_hz: u32) -> i64 {
    let ticks = (i128::from(ns) * i128::from(clock_rate_hz) + 500_000_000).div_euclid(1_000_000_000);
    ticks.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

pub(super) fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What is usual is exact.
fn divide(ns: i64, by: f64) -> i64 {
    if by == 1.0 { ns } else { (ns as f64 / by) as i64 }
}

fn multiply(ns: i64, by: f64) -> i64 {
    if by == 1.0 { ns } else { (ns as f64 * by) as i64 }
}

impl Player {
    /// Sets the pace for what begins at a position; `follows` goes on where the last was to end.
    pub(super) fn begin_pace(&mut self, position_ns: i64, follows: bool) {
        let Plan {
            scale, speed, starts, ..
        } = self.plan;
        let (at, rtp_ns) = match follows {
            true => (self.pace.due_rtp(self.made_until_ns), self.made_until_ns),
            false => {
                let at = starts.unwrap_or(self.now).max(self.now);
                let began = self.began.map_or(at, |began| began.min(at));
                self.began = Some(began);
                let elapsed_ns = ns(at.since(began));
                //= https://www.rfc-editor.org/rfc/rfc2326#appendix-B
                let is_seamless = elapsed_ns < self.made_until_ns.saturating_add(SEAMLESS_NS);
                (
                    at,
                    if is_seamless {
                        self.made_until_ns
                    } else {
                        elapsed_ns
                    },
                )
            }
        };
        let pace = Pace {
            at,
            position_ns,
            rtp_ns,
            scale,
            speed,
        };
        let before = std::mem::replace(&mut self.pace, pace);
        match follows {
            true => self.keep_pace(before),
            false => self.earlier.clear(),
        }
        self.made_to_ns = position_ns;
        self.beyond_ns = rtp_ns;
        for sender in &mut self.senders {
            sender.marks = true;
        }
    }

    /// Keeps the pace of what is made already and yet to be sent.
    fn keep_pace(&mut self, before: Pace) {
        self.earlier.push(before);
        let next = self.earlier.iter().skip(1).chain([&self.pace]);
        let over = next.take_while(|next| next.at <= self.now).count();
        self.earlier.drain(..over);
    }

    /// The pace of what is sent at a time: that of what is made may be of what lies behind a gap.
    fn pace_at(&self, at: Instant) -> &Pace {
        if self.pace.at <= at {
            return &self.pace;
        }
        let begun = self.earlier.partition_point(|pace| pace.at <= at);
        self.earlier.get(begun.saturating_sub(1)).unwrap_or(&self.pace)
    }

    /// The position that is sent at a time.
    pub(super) fn position_at(&self, at: Instant) -> i64 {
        self.pace_at(at).position(at)
    }

    /// The timestamp of a track that belongs to now, for sender reports.
    pub fn timestamp_at(&self, track: usize, now: Instant) -> Option<u32> {
        let (sender, pace) = (self.senders.get(track)?, self.pace_at(now));
        Some(sender.timestamp_after(pace, pace.passed_ns(now)))
    }

    /// The pace that a position is played by, and the one behind it.
    fn pace_of(&self, position_ns: i64) -> (&Pace, Option<&Pace>) {
        if self.earlier.is_empty() || self.pace.has_come_to(position_ns) {
            return (&self.pace, None);
        }
        let begun = self.earlier.partition_point(|pace| pace.has_come_to(position_ns));
        let index = begun.saturating_sub(1);
        let next = self.earlier.get(index + 1).unwrap_or(&self.pace);
        (&self.earlier[index], Some(next))
    }

    /// The pace that a position is played by, and its RTP time; a gap passes at once.
    pub(super) fn rtp_of(&self, position_ns: i64) -> (&Pace, i64) {
        let (pace, next) = self.pace_of(position_ns);
        let rtp_ns = pace.rtp_ns.saturating_add(pace.played_ns(position_ns));
        (pace, next.map_or(rtp_ns, |next| rtp_ns.min(next.rtp_ns)))
    }

    /// What is made already of what lies behind a gap that is yet to come at a time is to be made anew, with what is taken up
    /// before it. Says which piece is the last before the gap, if there is such a one.
    pub(super) fn take_back(&mut self, at: Instant) -> Option<usize> {
        let begun = self.earlier.partition_point(|pace| pace.at <= at);
        if self.pace.at <= at || self.earlier.is_empty() {
            return None;
        }
        let sent = begun.saturating_sub(1);
        let behind = *self.earlier.get(sent + 1).unwrap_or(&self.pace);
        let last = self.timeline.piece_at(behind.position_ns)?.checked_sub(1)?;
        self.pace = self.earlier[sent];
        self.earlier.truncate(sent);
        self.queue
            .retain(|queued| queued.position_ns < behind.position_ns);
        self.count_queue();
        self.made_until_ns = behind.rtp_ns;
        self.made_to_ns = self.timeline.pieces[last].end_ns;
        self.beyond_ns = self.pace.rtp_ns;
        Some(last)
    }

    /// What is told of playing from a position on (RFC 2326 §12.29, §12.33 to §12.35).
    pub(super) fn played(&self, position_ns: i64) -> Played {
        self.played_by(self.pace_of(position_ns).0, position_ns)
    }

    /// The same for what is played by a pace.
    pub(super) fn played_by(&self, pace: &Pace, position_ns: i64) -> Played {
        let end_ns = self.told_end();
        let is_of_waiting = self.waits_from() == Some(position_ns);
        let senders = self.senders.iter().enumerate();
        let sent = senders.filter(|(index, _)| self.is_sent(*index));
        let begins = sent.map(|(index, sender)| {
            let waiting = self.queue.iter().filter(|queued| queued.sender == index).count();
            let waiting = if is_of_waiting { 0 } else { waiting as u16 };
            let sequence = sender.sequence.wrapping_add(waiting);
            (index, sequence, sender.timestamp(pace, position_ns))
        });
        Played {
            range: Some(self.plan.unit.range(&self.timeline, position_ns, end_ns)),
            scale: self.plan.tells_scale.then_some(self.plan.scale),
            speed: self.plan.tells_speed.then_some(self.plan.speed),
            begins: begins.collect(),
        }
    }
}
