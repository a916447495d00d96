use crate::syntax::{Malformed, trim};
use ringpost_base::{UnixTime, calendar};

/// A value for Date: `Sat, 13 Nov 2010 23:29:00 GMT` (RFC 3261 §20.17).
pub fn date(time: UnixTime) -> String {
    calendar::gmt_date(time)
}

/// Reads a value of Date. Only GMT is a time zone; the weekday is not compared with the date.
//= https://www.rfc-editor.org/rfc/rfc3261#section-20.17
pub fn parse_date(text: &str) -> Result<UnixTime, Malformed> {
    let words: Vec<&str> = trim(text)
        .split([' ', ',', ':'])
        .filter(|w| !w.is_empty())
        .collect();
    let fail = |expected, word: &str| {
        let offset = word.as_ptr() as usize - text.as_ptr() as usize;
        Err(Malformed { expected, offset })
    };
    let [weekday, day, month, year, hour, minute, second, zone] = words[..] else {
        return fail("a date such as Sat, 13 Nov 2010 23:29:00 GMT", trim(text));
    };
    if !calendar::is_weekday(weekday) {
        return fail("a weekday", weekday);
    }
    let Some(month_number) = calendar::month_of(month) else {
        return fail("a month", month);
    };
    if !zone.eq_ignore_ascii_case("GMT") {
        return fail("GMT", zone);
    }
    let two = |word: &str| word.parse::<u8>().ok().filter(|_| word.len() == 2);
    let fields = (year.parse().ok(), two(day), two(hour), two(minute), two(second));
    let (Some(y), Some(d), Some(h), Some(m), Some(s)) = fields else {
        return fail("digits of a date", day);
    };
    UnixTime::from_civil(y, month_number, d, h, m, s).ok_or(Malformed {
        expected: "a date of the calendar",
        offset: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_prints_and_reads_back_and_only_gmt_is_taken() {
        let time = UnixTime::from_civil(2010, 11, 13, 23, 29, 0).unwrap();
        assert_eq!(date(time), "Sat, 13 Nov 2010 23:29:00 GMT");
        assert_eq!(parse_date(&date(time)), Ok(time));
        for bad in [
            "Fri, 01 Jan 2010 16:00:00 EST",
            "",
            "Sat, 13 Nov 2010",
            "Sat, 31 Feb 2010 00:00:00 GMT",
            "é",
        ] {
            assert!(parse_date(bad).is_err(), "{bad}");
        }
    }
}
