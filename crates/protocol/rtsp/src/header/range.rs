use crate::syntax::{Malformed, malformed, number, parameter, split, trim};
use ringpost_base::UnixTime;
use std::fmt;
use std::time::Duration;

/// A point of normal play time (RFC 2326 §3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Npt {
    /// The present of a live event.
    Now,
    /// From the presentation's beginning, to a nanosecond.
    At(Duration),
}

/// A point of absolute time (RFC 2326 §3.7).
pub type Clock = UnixTime;

/// How frames are counted (RFC 2326 §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SmpteType {
    /// `smpte` and `smpte-30-drop`: 30,000/1,001 frames a second, the first two numbers of nine minutes in ten left out.
    Drop30,
    /// `smpte-25`: 25 frames a second.
    Frames25,
}

/// A SMPTE time code (RFC 2326 §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Smpte {
    /// 0–99.
    pub hours: u8,
    /// 0–59.
    pub minutes: u8,
    /// 0–59.
    pub seconds: u8,
    /// 0–29 or 0–24.
    pub frames: u8,
    /// Hundredths of a frame.
    pub subframes: u8,
}

impl SmpteType {
    fn name(self) -> &'static str {
        match self {
            SmpteType::Drop30 => "smpte",
            SmpteType::Frames25 => "smpte-25",
        }
    }

    fn frames_a_second(self) -> u64 {
        match self {
            SmpteType::Drop30 => 30,
            SmpteType::Frames25 => 25,
        }
    }

    /// How long after the clip's start this is.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-3.5
    pub fn offset(self, time: Smpte) -> Duration {
        let minutes = u64::from(time.hours) * 60 + u64::from(time.minutes);
        let seconds = minutes * 60 + u64::from(time.seconds);
        let mut frames = seconds * self.frames_a_second() + u64::from(time.frames);
        if self == SmpteType::Drop30 {
            frames -= (2 * (minutes - minutes / 10)).min(frames);
        }
        let hundredths = frames * 100 + u64::from(time.subframes);
        let nanos = match self {
            SmpteType::Drop30 => u128::from(hundredths) * 1_001_000_000_000 / 3_000_000,
            SmpteType::Frames25 => u128::from(hundredths) * 1_000_000_000 / 2_500,
        };
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The part of a presentation that a Range field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeSpec {
    /// In normal play time; at least one end is there.
    Npt {
        /// `None`: from the beginning, or from where it was paused.
        start: Option<Npt>,
        /// `None`: to the end.
        end: Option<Npt>,
    },
    /// In absolute time.
    Clock {
        /// From then on.
        start: Clock,
        /// `None`: to the end.
        end: Option<Clock>,
    },
    /// In time codes.
    Smpte {
        /// How frames are counted.
        kind: SmpteType,
        /// From then on.
        start: Smpte,
        /// `None`: to the end.
        end: Option<Smpte>,
    },
}

/// The Range field (RFC 2326 §12.29).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// Which part.
    pub spec: RangeSpec,
    /// When the operation is to take effect.
    pub time: Option<Clock>,
}

/// Why a Range is not understood.
const EXPECTED: &str = "npt=, clock= or smpte= and a range";

impl Range {
    /// From the beginning, or from where it was paused, to the end: `npt=` from `start` on.
    pub fn npt_from(start: Npt) -> Self {
        Range {
            spec: RangeSpec::Npt {
                start: Some(start),
                end: None,
            },
            time: None,
        }
    }

    /// Reads the field.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = split(text, ';');
        let (unit, range) = parameter(parts.next().unwrap_or_default());
        let range = range.ok_or(Malformed { expected: EXPECTED })?;
        let spec = match unit.to_ascii_lowercase().as_str() {
            "npt" => npt_range(range)?,
            "clock" => clock_range(range)?,
            "smpte" | "smpte-30-drop" => smpte_range(SmpteType::Drop30, range)?,
            "smpte-25" => smpte_range(SmpteType::Frames25, range)?,
            _ => return malformed(EXPECTED),
        };
        let mut time = None;
        for part in parts {
            if let ("time", Some(value)) = parameter(part) {
                time = Some(clock(value)?);
            }
        }
        Ok(Range { spec, time })
    }

    /// Reads the field of PAUSE, which has one value: that alone, or as the start of a range.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-10.6
    pub fn parse_point(text: &str) -> Result<Self, Malformed> {
        let (range, rest) = text.split_once(';').unwrap_or((text, ""));
        let (unit, value) = parameter(range);
        match value.filter(|value| !value.is_empty() && !value.contains('-')) {
            Some(value) if rest.is_empty() => Self::parse(&format!("{unit}={value}-")),
            Some(value) => Self::parse(&format!("{unit}={value}-;{rest}")),
            None => Self::parse(text),
        }
    }

    /// Whether it ends somewhere, so that what plays it comes to its end by itself.
    pub fn has_end(&self) -> bool {
        match self.spec {
            RangeSpec::Npt { end, .. } => end.is_some(),
            RangeSpec::Clock { end, .. } => end.is_some(),
            RangeSpec::Smpte { end, .. } => end.is_some(),
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc2326#section-3.6
fn npt_range(text: &str) -> Result<RangeSpec, Malformed> {
    let (start, end) = ends(text)?;
    let start = start.map(npt).transpose()?;
    let end = end.map(npt).transpose()?;
    match (start, end) {
        (None, None) => malformed("a start or an end of the range"),
        (start, end) => Ok(RangeSpec::Npt { start, end }),
    }
}

fn clock_range(text: &str) -> Result<RangeSpec, Malformed> {
    match ends(text)? {
        (Some(start), end) => Ok(RangeSpec::Clock {
            start: clock(start)?,
            end: end.map(clock).transpose()?,
        }),
        (None, _) => malformed("a start of the range"),
    }
}

fn smpte_range(kind: SmpteType, text: &str) -> Result<RangeSpec, Malformed> {
    match ends(text)? {
        (Some(start), end) => Ok(RangeSpec::Smpte {
            kind,
            start: smpte(kind, start)?,
            end: end.map(|end| smpte(kind, end)).transpose()?,
        }),
        (None, _) => malformed("a start of the range"),
    }
}

/// What stands before and behind the dash.
fn ends(text: &str) -> Result<(Option<&str>, Option<&str>), Malformed> {
    let (start, end) = text.split_once('-').ok_or(Malformed {
        expected: "a dash in the range",
    })?;
    let given = |text| Some(trim(text)).filter(|text| !text.is_empty());
    Ok((given(start), given(end)))
}

fn npt(text: &str) -> Result<Npt, Malformed> {
    const EXPECTED: &str = "now, seconds, or hours:minutes:seconds";
    if text.eq_ignore_ascii_case("now") {
        return Ok(Npt::Now);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = match whole.split(':').collect::<Vec<_>>()[..] {
        [seconds] => number::<u32>(seconds, EXPECTED)?.into(),
        [hours, minutes, seconds] => {
            let sixty = |text: &str| number::<u8>(text, EXPECTED).ok().filter(|n| *n < 60);
            let (Some(minutes), Some(seconds)) = (sixty(minutes), sixty(seconds)) else {
                return malformed(EXPECTED);
            };
            u64::from(number::<u32>(hours, EXPECTED)?) * 3600 + u64::from(minutes) * 60 + u64::from(seconds)
        }
        _ => return malformed(EXPECTED),
    };
    // However it is written, it can be written in seconds.
    let seconds = u32::try_from(seconds).map_err(|_| Malformed { expected: EXPECTED })?;
    Ok(Npt::At(
        Duration::from_secs(seconds.into()) + fraction_of(fraction)?,
    ))
}

/// Digits behind a decimal point; those behind the ninth are cut.
fn fraction_of(digits: &str) -> Result<Duration, Malformed> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return malformed("digits behind the point");
    }
    let nanos = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = nanos.fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    Ok(Duration::from_nanos(nanos))
}

//= https://www.rfc-editor.org/rfc/rfc2326#section-3.7
fn clock(text: &str) -> Result<Clock, Malformed> {
    const EXPECTED: &str = "a time like 19961108T143720.25Z";
    let wrong = Malformed { expected: EXPECTED };
    let bare = text.strip_suffix(['Z', 'z']).ok_or(wrong)?;
    let (date, time) = bare.split_once(['T', 't']).ok_or(wrong)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    if date.len() != 8 || time.len() != 6 || !date.is_ascii() || !time.is_ascii() {
        return Err(wrong);
    }
    let part = |text: &str| number::<u8>(text, EXPECTED);
    let whole = UnixTime::from_civil(
        number(&date[..4], EXPECTED)?,
        part(&date[4..6])?,
        part(&date[6..])?,
        part(&time[..2])?,
        part(&time[2..4])?,
        part(&time[4..])?,
    );
    Ok(whole.ok_or(wrong)? + fraction_of(fraction)?)
}

fn smpte(kind: SmpteType, text: &str) -> Result<Smpte, Malformed> {
    const EXPECTED: &str = "a time like 10:07:33:05.01";
    let (whole, subframes) = text.split_once('.').unwrap_or((text, "0"));
    let mut fields = [0u8; 4];
    let parts: Vec<_> = whole.split(':').collect();
    if !(3..=4).contains(&parts.len()) || subframes.len() > 2 {
        return malformed(EXPECTED);
    }
    for (field, part) in fields.iter_mut().zip(parts) {
        *field = match part.len() {
            1 | 2 => number(part, EXPECTED)?,
            _ => return malformed(EXPECTED),
        };
    }
    let [hours, minutes, seconds, frames] = fields;
    if minutes > 59 || seconds > 59 || u64::from(frames) >= kind.frames_a_second() {
        return malformed(EXPECTED);
    }
    Ok(Smpte {
        hours,
        minutes,
        seconds,
        frames,
        subframes: number(subframes, EXPECTED)?,
    })
}

impl fmt::Display for Npt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Npt::Now => f.write_str("now"),
            Npt::At(at) => {
                write!(f, "{}", at.as_secs())?;
                print_fraction(f, at.subsec_nanos(), 3)
            }
        }
    }
}

/// A point and at least `least` digits, if there is anything behind it or digits are wanted.
fn print_fraction(f: &mut fmt::Formatter<'_>, nanos: u32, least: usize) -> fmt::Result {
    let digits = format!("{nanos:09}");
    let needed = digits.trim_end_matches('0').len().max(least);
    if needed == 0 {
        return Ok(());
    }
    write!(f, ".{}", &digits[..needed])
}

fn print_clock(f: &mut fmt::Formatter<'_>, at: Clock) -> fmt::Result {
    let (year, month, day, hour, minute, second) = at.civil();
    write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}")?;
    print_fraction(f, (at.as_nanos() % 1_000_000_000) as u32, 0)?;
    f.write_str("Z")
}

impl fmt::Display for Smpte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hours, self.minutes, self.seconds)?;
        if self.frames > 0 || self.subframes > 0 {
            write!(f, ":{:02}", self.frames)?;
        }
        match self.subframes {
            0 => Ok(()),
            subframes => write!(f, ".{subframes:02}"),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.spec {
            RangeSpec::Npt { start, end } => {
                f.write_str("npt=")?;
                if let Some(start) = start {
                    write!(f, "{start}")?;
                }
                f.write_str("-")?;
                if let Some(end) = end {
                    write!(f, "{end}")?;
                }
            }
            RangeSpec::Clock { start, end } => {
                f.write_str("clock=")?;
                print_clock(f, start)?;
                f.write_str("-")?;
                if let Some(end) = end {
                    print_clock(f, end)?;
                }
            }
            RangeSpec::Smpte { kind, start, end } => {
                write!(f, "{}={start}-", kind.name())?;
                if let Some(end) = end {
                    write!(f, "{end}")?;
                }
            }
        }
        if let Some(time) = self.time {
            f.write_str(";time=")?;
            print_clock(f, time)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Npt {
        Npt::At(Duration::from_millis(ms))
    }

    #[test]
    fn normal_play_time_in_every_form() {
        for (text, start, end) in [
            ("npt=123.45-125", Some(ms(123_450)), Some(ms(125_000))),
            ("npt=12:05:35.3-", Some(ms(43_535_300)), None),
            ("npt=now-", Some(Npt::Now), None),
            ("NPT = 0.000 - ", Some(ms(0)), None),
            ("npt=-5.", None, Some(ms(5_000))),
            ("npt=10-now", Some(ms(10_000)), Some(Npt::Now)),
        ] {
            let range = Range::parse(text).unwrap();
            assert_eq!(range.spec, RangeSpec::Npt { start, end }, "{text}");
            assert_eq!(range.has_end(), end.is_some());
            assert_eq!(Range::parse(&range.to_string()), Ok(range));
        }
    }

    #[test]
    fn absolute_time_and_when_it_takes_effect() {
        let text = "clock=19961108T143720.25Z-19961108T143730Z;time=19970123T143720Z";
        let range = Range::parse(text).unwrap();
        assert_eq!(range.to_string(), text);
        let RangeSpec::Clock { start, end } = range.spec else {
            panic!("{range:?}")
        };
        assert_eq!(start.to_string(), "1996-11-08T14:37:20.250Z");
        assert_eq!(end.unwrap().since(start), Duration::from_millis(9_750));
        assert_eq!(range.time.unwrap().to_string(), "1997-01-23T14:37:20.000Z");
    }

    #[test]
    fn time_codes_drop_the_first_frames_of_nine_minutes_in_ten() {
        for text in [
            "smpte=10:12:33:20-",
            "smpte=10:07:33-",
            "smpte=10:07:00-10:07:33:05.01",
            "smpte-25=10:07:00-10:07:33:05.01",
        ] {
            let range = Range::parse(text).unwrap();
            assert_eq!(range.to_string(), text);
        }
        let code = |hours, minutes, seconds, frames| Smpte {
            hours,
            minutes,
            seconds,
            frames,
            subframes: 0,
        };
        let drop = |code| SmpteType::Drop30.offset(code);
        // 17,982 frames in ten minutes, 107,892 in an hour.
        assert_eq!(drop(code(1, 0, 0, 0)), Duration::from_nanos(3_599_996_400_000));
        assert_eq!(drop(code(0, 10, 0, 0)), Duration::from_nanos(599_999_400_000));
        let frame = drop(code(0, 1, 0, 2)).saturating_sub(drop(code(0, 0, 59, 29)));
        assert!(frame > Duration::from_millis(33) && frame < Duration::from_millis(34));
        assert_eq!(
            SmpteType::Frames25.offset(code(0, 0, 1, 5)),
            Duration::from_millis(1_200)
        );
    }

    #[test]
    fn a_point_is_one_value_or_the_start_of_a_range() {
        for (text, range) in [
            ("npt=4", "npt=4.000-"),
            ("npt = now", "npt=now-"),
            (
                "clock=19961108T143720Z;time=19961108T143730Z",
                "clock=19961108T143720Z-;time=19961108T143730Z",
            ),
            ("smpte-25=10:07:00", "smpte-25=10:07:00-"),
            ("npt=4-", "npt=4.000-"),
            ("npt=3.5-5", "npt=3.500-5.000"),
        ] {
            assert_eq!(Range::parse_point(text).unwrap().to_string(), range, "{text}");
        }
        for bad in ["", "npt", "npt=", "npt=-", "npt=x", "bytes=4"] {
            assert!(Range::parse_point(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in [
            "",
            "npt",
            "npt=",
            "npt=-",
            "npt=5",
            "npt=a-",
            "npt=-1-2",
            "npt=1:2-",
            "npt=1:60:00-",
            "npt=1:00:60-",
            "npt=1.x-",
            "npt=99999999999-",
            "npt=2147483647:05:35.3-",
            "clock=-",
            "clock=-19961108T143720Z",
            "clock=19961308T143720Z-",
            "clock=19961108T143720-",
            "clock=19961108143720Z-",
            "clock=1996\u{fc}08T143720Z-",
            "smpte=10:07-",
            "smpte=10:07:60-",
            "smpte=10:07:00:30-",
            "smpte-25=10:07:00:25-",
            "smpte=100:07:00-",
            "smpte-24=10:07:00-",
            "bytes=0-",
            "npt=0-;time=x",
        ] {
            assert!(Range::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            start in 0u64..4_000_000_000_000_000_000,
            end in proptest::option::of(0u64..4_000_000_000_000_000_000),
            is_clock in any::<bool>(),
        ) {
            let npt = |n| Npt::At(Duration::from_nanos(n));
            let spec = match is_clock {
                true => RangeSpec::Clock {
                    start: UnixTime::from_nanos(start),
                    end: end.map(UnixTime::from_nanos),
                },
                false => RangeSpec::Npt { start: Some(npt(start)), end: end.map(npt) },
            };
            let range = Range { spec, time: None };
            prop_assert_eq!(Range::parse(&range.to_string()), Ok(range));
        }
    }
}
