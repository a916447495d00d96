use ringpost_base::UnixTime;

/// What a track's timestamps are by the clock on the wall: timestamps count evenly, what is said of their time may shake.
#[derive(Debug)]
pub(super) struct MediaClock {
    rate_hz: u32,
    /// The last packet's timestamp, and the same counted without end.
    last: Option<(u32, i64)>,
    /// What is added to a timestamp's time to have the wall's, in nanoseconds: a mean of what packets said.
    offset_ns: i64,
    packets: u32,
}

/// What a packet says of its time, beside those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is where it should be.
    Expected,
    /// Its time is another, and its timestamp goes on: what is counted by timestamps is whole.
    Moved,
    /// Its timestamp contradicts those before.
    Contradiction,
}

/// What a packet's time may be off what those before it said; more is another time.
const JUMP_NS: i64 = 1_000_000_000;
/// How far a timestamp may be from the last one and go on.
const NEAR_NS: u64 = 3_000_000_000;
/// Over how many packets the mean goes.
const MEAN_PACKETS: u32 = 32;

impl MediaClock {
    pub(super) fn new(rate_hz: u32) -> Self {
        MediaClock {
            rate_hz: rate_hz.max(1),
            last: None,
            offset_ns: 0,
            packets: 0,
        }
    }

    /// Takes what a packet says of its time.
    pub(super) fn handle_packet(&mut self, timestamp: u32, wallclock: UnixTime) -> Said {
        let number = self.number(timestamp);
        let before = self.last.replace((timestamp, number));
        let Some((_, before)) = before else {
            (self.offset_ns, self.packets) = (self.offset_of(number, wallclock), 1);
            return Said::Expected;
        };
        if self.handle_time(number, wallclock) {
            let is_near = self.to_ns(number - before).unsigned_abs() < NEAR_NS;
            return if is_near { Said::Moved } else { Said::Contradiction };
        }
        let off = self.offset_of(number, wallclock).saturating_sub(self.offset_ns);
        self.packets = (self.packets + 1).min(MEAN_PACKETS);
        self.offset_ns += off / i64::from(self.packets);
        Said::Expected
    }

    /// Takes another time of what a timestamp's number is; whether it is another one.
    pub(super) fn handle_time(&mut self, number: i64, wallclock: UnixTime) -> bool {
        if self.last.is_none() {
            return false;
        }
        let said = self.offset_of(number, wallclock);
        let is_other = said.saturating_sub(self.offset_ns).abs() > JUMP_NS;
        if is_other {
            (self.offset_ns, self.packets) = (said, 1);
        }
        is_other
    }

    fn offset_of(&self, number: i64, wallclock: UnixTime) -> i64 {
        let wall = i64::try_from(wallclock.as_nanos()).unwrap_or(i64::MAX);
        wall.saturating_sub(self.to_ns(number))
    }

    /// A timestamp near the last packet's, counted without end.
    pub(super) fn number(&self, timestamp: u32) -> i64 {
        match self.last {
            Some((last, number)) => number + i64::from(timestamp.wrapping_sub(last) as i32),
            None => i64::from(timestamp),
        }
    }

    /// When that is, in nanoseconds since 1970.
    pub(super) fn wall_ns(&self, number: i64) -> i64 {
        self.to_ns(number).saturating_add(self.offset_ns)
    }

    /// Nanoseconds in units of the clock.
    pub(super) fn units(&self, ns: i64) -> i64 {
        let units = (i128::from(ns) * i128::from(self.rate_hz) + 500_000_000).div_euclid(1_000_000_000);
        units as i64
    }

    /// Units of the clock in nanoseconds.
    pub(super) fn to_ns(&self, units: i64) -> i64 {
        (i128::from(units) * 1_000_000_000 / i128::from(self.rate_hz)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = 1_700_000_000_000_000_000;

    fn wall(ns: i64) -> UnixTime {
        UnixTime::from_nanos((BEGAN + ns) as u64)
    }

    #[test]
    fn what_shakes_is_evened_out_and_goes_on_over_the_wrap() {
        let mut clock = MediaClock::new(90_000);
        let first = u32::MAX - 90_000;
        for n in 0..100_i64 {
            let shake = if n % 2 == 0 { 20_000_000 } else { -20_000_000 };
            let timestamp = first.wrapping_add(n as u32 * 3_600);
            let said = clock.handle_packet(timestamp, wall(n * 40_000_000 + shake));
            assert_eq!(said, Said::Expected);
        }
        let number = clock.number(first.wrapping_add(100 * 3_600));
        assert_eq!(number, i64::from(first) + 100 * 3_600);
        assert!((clock.wall_ns(number) - BEGAN - 4_000_000_000).abs() < 3_000_000);
    }

    #[test]
    fn a_pause_is_none_of_them_and_what_is_another_time_is_told_once() {
        let mut clock = MediaClock::new(8_000);
        assert_eq!(clock.handle_packet(0, wall(0)), Said::Expected);
        // An hour of silence.
        assert_eq!(
            clock.handle_packet(8_000 * 3_600, wall(3_600_000_000_000)),
            Said::Expected
        );
        assert_eq!(
            clock.handle_packet(77, wall(3_600_020_000_000)),
            Said::Contradiction
        );
        assert_eq!(clock.handle_packet(237, wall(3_600_040_000_000)), Said::Expected);
        // The wall's clock was set.
        assert_eq!(clock.handle_packet(397, wall(7_200_000_000_000)), Said::Moved);
        assert_eq!(clock.handle_packet(557, wall(7_200_020_000_000)), Said::Expected);
    }
}
