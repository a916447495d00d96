use super::player::{Plan, Player};
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

    /// The RTP time that belongs to now.
    pub(super) fn rtp_at(&self, now: Instant) -> i64 {
        self.rtp_ns
            .saturating_add(multiply(ns(now.since(self.at)), self.speed))
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
        self.pace = Pace {
            at,
            position_ns,
            rtp_ns,
            scale,
            speed,
        };
        self.made_to_ns = position_ns;
        self.beyond_ns = rtp_ns;
        for sender in &mut self.senders {
            sender.base_timestamp = Self::pace_timestamp_of(rtp_ns, sender);
            sender.marks = true;
        }
    }

    /// What is told of playing from a position on (RFC 2326 §12.29, §12.33 to §12.35).
    pub(super) fn played(&self, position_ns: i64) -> Played {
        let end_ns = self.told_end();
        let since = self.pace.played_ns(position_ns);
        let senders = self
            .senders
            .iter()
            .enumerate()
            .filter(|(_, sender)| sender.is_enabled);
        let begins = senders.map(|(index, sender)| {
            let waiting = self.queue.iter().filter(|queued| queued.sender == index).count();
            let is_first = self
                .queue
                .front()
                .is_some_and(|queued| queued.position_ns == position_ns);
            let waiting = if is_first { 0 } else { waiting as u16 };
            let timestamp = sender
                .base_timestamp
                .wrapping_add(ticks(since, sender.clock_rate_hz) as u32);
            (index, sender.sequence.wrapping_add(waiting), timestamp)
        });
        Played {
            range: Some(self.plan.unit.range(&self.timeline, position_ns, end_ns)),
            scale: self.plan.tells_scale.then_some(self.plan.scale),
            speed: self.plan.tells_speed.then_some(self.plan.speed),
            begins: begins.collect(),
        }
    }
}
