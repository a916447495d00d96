//! Days and times as IMAP and header fields write them.

use ringpost_base::UnixTime;
use ringpost_base::calendar::{month_name, month_of};
use std::fmt;
use std::time::Duration;

/// A day of the calendar, as SEARCH compares them: without time or zone (RFC 3501 §6.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// A day that exists; the month and day count from 1.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(Date { year, month, day })
    }

    /// The day on which `at` falls in UTC, the zone in which INTERNALDATE is shown.
    pub fn of(at: UnixTime) -> Self {
        let (year, month, day, ..) = at.civil();
        Date { year, month, day }
    }

    /// Reads `1-Feb-1994` or `01-Feb-1994` (RFC 3501 §9, `date-text`).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || day.len() > 2 || year.len() != 4 {
            return None;
        }
        Date::new(digits(year)?, month_of(month)?, digits(day)?)
    }

    /// Year, month and day.
    pub const fn ymd(self) -> (u16, u8, u8) {
        (self.year, self.month, self.day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:04}", self.day, month_name(self.month), self.year)
    }
}

/// Reads ` 1-Feb-1994 12:00:00 +0100` without the quotes (RFC 3501 §9, `date-time`). What lies before 1970 becomes 1970.
pub fn parse_date_time(text: &str) -> Option<UnixTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 26 || !text.is_ascii() || bytes[11] != b' ' || bytes[20] != b' ' {
        return None;
    }
    let date = match text.strip_prefix(' ') {
        Some(_) => Date::parse(&text[1..11])?,
        None => Date::parse(&text[..11])?,
    };
    if bytes[14] != b':' || bytes[17] != b':' {
        return None;
    }
    let (hour, minute, second): (u8, u8, u8) = (
        digits(&text[12..14])?,
        digits(&text[15..17])?,
        digits(&text[18..20])?,
    );
    let (zone_hours, zone_minutes): (u32, u32) = (digits(&text[22..24])?, digits(&text[24..26])?);
    if zone_hours > 23 || zone_minutes > 59 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = Duration::from_secs(u64::from(zone_hours * 3600 + zone_minutes * 60));
    let local = match UnixTime::from_civil(date.year, date.month, date.day, hour, minute, second) {
        Some(at) => at,
        None if date.year < 1970 => UnixTime::from_secs(0),
        None => return None,
    };
    match bytes[21] {
        b'+' => Some(local - offset),
        b'-' => Some(local + offset),
        _ => None,
    }
}

/// As INTERNALDATE shows it, without the quotes, in UTC: ` 1-Feb-1994 12:00:00 +0000`.
pub(crate) fn date_time(at: UnixTime) -> String {
    let (year, month, day, hour, minute, second) = at.civil();
    let month = month_name(month);
    format!("{day:2}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} +0000")
}

/// The day that a Date header field names, whatever its time and zone: `Wed, 17 Jul 1996 02:23:25 -0700`
/// (RFC 5322 §3.3, with the two- and three-digit years of its §4.3).
pub fn header_date(field: &str) -> Option<Date> {
    let mut words = field
        .split([' ', '\t', '\r', '\n', ','])
        .filter(|w| !w.is_empty());
    let first = words.next()?;
    let day = if first.as_bytes()[0].is_ascii_digit() {
        first
    } else {
        words.next()?
    };
    let (month, year) = (words.next()?, words.next()?);
    let number: u16 = digits(year)?;
    let year = match (year.len(), number) {
        (2, 0..=49) => 2000 + number,
        (2 | 3, _) => 1900 + number,
        _ => number,
    };
    Date::new(year, month_of(month)?, digits(day).filter(|_| day.len() <= 2)?)
}

fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_time_is_shown_in_utc() {
        let at = parse_date_time("17-Jul-1996 02:44:25 -0700").unwrap();
        assert_eq!(date_time(at), "17-Jul-1996 09:44:25 +0000");
        assert_eq!(parse_date_time(&date_time(at)), Some(at));
        let early = parse_date_time(" 1-Feb-1994 00:30:00 +0100").unwrap();
        assert_eq!(date_time(early), "31-Jan-1994 23:30:00 +0000");
        assert_eq!(
            parse_date_time("01-Jan-1960 00:00:00 +0000"),
            Some(UnixTime::from_secs(0))
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "1-Feb",
            "32-Jan-2020",
            "29-Feb-2023",
            "1-Foo-2020",
            "1-Feb-20",
            "001-Feb-2020",
            "a-Feb-2020",
        ] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
        for bad in [
            "17-Jul-1996 02:44:25",
            "17-Jul-1996 02:44:25 0700 ",
            "17-Jul-1996 25:44:25 -0700",
            "17-Jul-1996T02:44:25 -0700",
            "17-Jul-1996 02:44:25 -2460",
            "17-Jül-1996 02:44:25 -070",
            " 17-Jul-996 02:44:25 -0700",
        ] {
            assert_eq!(parse_date_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_header_date_ignores_time_and_zone() {
        // Guards pitfall IMAP 9: dates ignore time zones.
        let day = Date::new(1996, 7, 17);
        assert_eq!(header_date("Wed, 17 Jul 1996 23:59:59 -1200 (PDT)"), day);
        assert_eq!(header_date("17 jul 96 00:00:01 +1400"), day);
        assert_eq!(header_date("Wed, 17 Jul"), None);
        assert_eq!(header_date("yesterday"), None);
        assert_eq!(header_date(""), None);
        assert_eq!(Date::parse("17-Jul-1996"), day);
    }
}
