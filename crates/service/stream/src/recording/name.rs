use ringpost_base::UnixTime;
use std::time::Duration;

const ENDING: &str = ".mp4";

/// What a recording's file is called, from when it began, to a millisecond in UTC: `20261127T025300.123Z.mp4`. Names are
/// ordered as their times are.
pub fn file_name(began: UnixTime) -> String {
    let (year, month, day, hour, minute, second) = began.civil();
    let ms = began.as_millis() % 1_000;
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{ms:03}Z{ENDING}")
}

/// When a recording began whose file is called so; `None` for other files.
pub fn began(file_name: &str) -> Option<UnixTime> {
    let stem = file_name.strip_suffix(ENDING)?.strip_suffix('Z')?;
    let (date, rest) = stem.split_once('T')?;
    let (time, ms) = rest.split_once('.')?;
    let is_plain = [(date, 8), (time, 6), (ms, 3)]
        .iter()
        .all(|(digits, length)| digits.len() == *length && digits.bytes().all(|b| b.is_ascii_digit()));
    if !is_plain {
        return None;
    }
    let two = |text: &str, at: usize| text[at..at + 2].parse::<u8>().ok();
    let whole = UnixTime::from_civil(
        date[..4].parse().ok()?,
        two(date, 4)?,
        two(date, 6)?,
        two(time, 0)?,
        two(time, 2)?,
        two(time, 4)?,
    )?;
    Some(whole + Duration::from_millis(ms.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_when_its_recording_began() {
        let began_at = UnixTime::from_nanos(1_795_747_980_123_456_789);
        let name = file_name(began_at);
        assert_eq!(name, "20261127T025300.123Z.mp4");
        assert_eq!(began(&name).map(UnixTime::as_millis), Some(began_at.as_millis()));
        for other in [
            "movie.mp4",
            "20261127T025300.123Z.wav",
            "20261127T025300Z.mp4",
            "20261327T025300.123Z.mp4",
            "2026112७T025300.123Z.mp4",
            "T..Z.mp4",
        ] {
            assert_eq!(began(other), None, "{other}");
        }
    }
}
