use ringpost_base::Instant;
use std::time::Duration;

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
