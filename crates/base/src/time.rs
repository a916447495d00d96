use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point on the monotonic clock of whoever drives the machines, in nanoseconds since that clock's own start.
///
/// The server starts its clock at boot, a simulation at zero. Two instants of different clocks must not be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Instant = Instant(0);

    /// An instant `ns` nanoseconds after the clock's start.
    pub const fn from_nanos(ns: u64) -> Self {
        Instant(ns)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(saturating_nanos(d)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, d: Duration) -> Instant {
        Instant(self.0.saturating_sub(saturating_nanos(d)))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// A calendar time: nanoseconds since 1970-01-01T00:00:00 UTC, leap seconds not counted.
///
/// Only for what is shown to people or peers (dates in mail, NTP timestamps in RTCP, expiry of stored records); nothing
/// is ever timed by it, since it may jump.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970), RFC 5905 figure 4.
const NTP_UNIX_OFFSET_S: u64 = 2_208_988_800;

impl UnixTime {
    /// From nanoseconds since 1970.
    pub const fn from_nanos(ns: u64) -> Self {
        UnixTime(ns)
    }

    /// From whole seconds since 1970.
    pub const fn from_secs(s: u64) -> Self {
        UnixTime(s.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since 1970.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds since 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The 64-bit NTP timestamp of RFC 3550 §4: seconds since 1900 in the upper half, the fraction in the lower.
    pub const fn to_ntp(self) -> u64 {
        let seconds = self.as_secs() + NTP_UNIX_OFFSET_S;
        let fraction = ((self.0 % 1_000_000_000) << 32) / 1_000_000_000;
        (seconds << 32) | fraction
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: UnixTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Year, month (1–12), day (1–31), hour, minute, second in UTC.
    pub fn civil(self) -> (u16, u8, u8, u8, u8, u8) {
        // Howard Hinnant's days-to-civil, over eras of 400 years that begin on 1 March.
        let seconds = self.as_secs();
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let in_day = seconds % 86_400;
        (
            year as u16,
            month as u8,
            day as u8,
            (in_day / 3_600) as u8,
            (in_day / 60 % 60) as u8,
            (in_day % 60) as u8,
        )
    }

    /// From a civil date and time in UTC; `None` when a field is out of its range or the year is before 1970.
    pub fn from_civil(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Self> {
        if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let in_month = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if day == 0 || day > in_month {
            return None;
        }
        let y = u64::from(year) - u64::from(month <= 2);
        let m = u64::from(month);
        let day_of_year = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + u64::from(day) - 1;
        let year_of_era = y % 400;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = y / 400 * 146_097 + day_of_era - 719_468;
        Some(UnixTime::from_secs(
            days * 86_400 + u64::from(hour) * 3_600 + u64::from(minute) * 60 + u64::from(second),
        ))
    }

    /// 0 for Sunday to 6 for Saturday, in UTC.
    pub const fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        ((self.as_secs() / 86_400 + 4) % 7) as u8
    }
}

impl Add<Duration> for UnixTime {
    type Output = UnixTime;
    fn add(self, d: Duration) -> UnixTime {
        UnixTime(self.0.saturating_add(saturating_nanos(d)))
    }
}

impl Sub<Duration> for UnixTime {
    type Output = UnixTime;
    fn sub(self, d: Duration) -> UnixTime {
        UnixTime(self.0.saturating_sub(saturating_nanos(d)))
    }
}

/// RFC 3339 in UTC with milliseconds, as logs and dumps show it.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        let ms = self.as_millis() % 1000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn saturating_nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_and_back_for_every_day_of_two_centuries() {
        for day in 0..73_000u64 {
            let t = UnixTime::from_secs(day * 86_400 + 86_399);
            let (y, mo, d, h, mi, s) = t.civil();
            assert_eq!(UnixTime::from_civil(y, mo, d, h, mi, s), Some(t));
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        assert_eq!(UnixTime::from_civil(2023, 2, 29, 0, 0, 0), None);
        assert_eq!(UnixTime::from_civil(2100, 2, 29, 0, 0, 0), None);
        assert_eq!(UnixTime::from_civil(2024, 4, 31, 0, 0, 0), None);
        assert_eq!(UnixTime::from_civil(2024, 13, 1, 0, 0, 0), None);
        assert!(UnixTime::from_civil(2024, 2, 29, 0, 0, 0).is_some());
    }

    #[test]
    fn known_dates() {
        let t = UnixTime::from_secs(1_000_000_000);
        assert_eq!(t.to_string(), "2001-09-09T01:46:40.000Z");
        assert_eq!(t.weekday(), 0);
    }

    #[test]
    fn ntp_halves() {
        let t = UnixTime::from_nanos(500_000_000);
        assert_eq!(t.to_ntp(), (2_208_988_800 << 32) | 0x8000_0000);
    }

    #[test]
    fn instants_saturate() {
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(Instant::ZERO.since(Instant::from_nanos(5)), Duration::ZERO);
    }
}
