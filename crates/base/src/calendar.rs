//! Days and months by the names that mail, SIP, RTSP and IMAP share: the English ones of three letters.

use crate::UnixTime;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The name of a month that counts from 1.
///
/// # Panics
/// When there is no such month.
pub fn month_name(month: u8) -> &'static str {
    MONTHS[usize::from(month) - 1]
}

/// A month by its name, in whatever case; it counts from 1.
pub fn month_of(name: &str) -> Option<u8> {
    let months = MONTHS.iter().zip(1..);
    let mut found = months.filter(|(month, _)| month.eq_ignore_ascii_case(name));
    found.next().map(|(_, number)| number)
}

/// The weekday of a time in UTC.
pub fn weekday_name(at: UnixTime) -> &'static str {
    WEEKDAYS[usize::from(at.weekday())]
}

/// Whether this is a weekday's name, in whatever case.
pub fn is_weekday(name: &str) -> bool {
    WEEKDAYS.iter().any(|weekday| weekday.eq_ignore_ascii_case(name))
}

/// A time to a second as HTTP, SIP and RTSP write it (RFC 1123 §5.2.14, always GMT): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn gmt_date(at: UnixTime) -> String {
    let (year, month, day, hour, minute, second) = at.civil();
    let (weekday, month) = (weekday_name(at), month_name(month));
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_and_back() {
        for number in 1..=12 {
            let name = month_name(number);
            assert_eq!(month_of(name), Some(number));
            assert_eq!(month_of(&name.to_uppercase()), Some(number));
        }
        assert_eq!(month_of("June"), None);
        assert!(is_weekday("sat") && !is_weekday("Saturday"));
        let time = UnixTime::from_secs(784_111_777);
        assert_eq!(gmt_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
