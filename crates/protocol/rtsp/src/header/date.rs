use crate::syntax::{Malformed, malformed, trim};
use ringpost_base::{UnixTime, calendar};

const EXPECTED: &str = "a date such as Sun, 06 Nov 1994 08:49:37 GMT";

/// A date as HTTP/1.1 writes it, whose dates RTSP has (RFC 2326 §12.24): `Sun, 06 Nov 1994 08:49:37 GMT`, to a second.
pub fn date(time: UnixTime) -> String {
    calendar::gmt_date(time)
}

/// Reads a date in one of the three forms that HTTP/1.1 knows: its own, RFC 850's with a year of two digits, and C's
/// `asctime()`. The weekday is not compared with the date.
//= https://www.rfc-editor.org/rfc/rfc2068#section-3.3.1
pub fn parse_date(text: &str) -> Result<UnixTime, Malformed> {
    let words: Vec<&str> = trim(text)
        .split([' ', ',', ':', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    let (day, month, year, time) = match words[..] {
        [_, month, day, hour, minute, second, year] => (day, month, year, [hour, minute, second]),
        [_, day, month, year, hour, minute, second, zone] if zone.eq_ignore_ascii_case("GMT") => {
            (day, month, year, [hour, minute, second])
        }
        _ => return malformed(EXPECTED),
    };
    let is_digits = |word: &str| word.len() <= 4 && word.bytes().all(|octet| octet.is_ascii_digit());
    let small = |word: &str| word.parse::<u8>().ok().filter(|_| is_digits(word));
    let year = match year.parse::<u16>().ok().filter(|_| is_digits(year)) {
        // RFC 850 was written for the twentieth century.
        Some(short @ 0..=69) if year.len() == 2 => Some(2_000 + short),
        Some(short) if year.len() == 2 => Some(1_900 + short),
        year => year,
    };
    let [hour, minute, second] = time.map(small);
    let (Some(year), Some(month), Some(day)) = (year, calendar::month_of(month), small(day)) else {
        return malformed(EXPECTED);
    };
    let (Some(hour), Some(minute), Some(second)) = (hour, minute, second) else {
        return malformed(EXPECTED);
    };
    match UnixTime::from_civil(year, month, day, hour, minute, second) {
        Some(time) => Ok(time),
        None => malformed("a date of the calendar"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_one_date_and_others_are_none() {
        let time = UnixTime::from_secs(784_111_777);
        assert_eq!(date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_date(text), Ok(time), "{text}");
        }
        let of_this_century = UnixTime::from_civil(2026, 11, 27, 8, 0, 0);
        assert_eq!(parse_date("Friday, 27-Nov-26 08:00:00 GMT").ok(), of_this_century);
        for bad in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37 EST",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "é",
        ] {
            assert!(parse_date(bad).is_err(), "{bad}");
        }
    }
}
