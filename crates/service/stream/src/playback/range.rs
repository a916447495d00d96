//! What Range fields say of a timeline, and what is said of it in them.

use super::PlayError;
use super::timeline::Timeline;
use ringpost_base::UnixTime;
use ringpost_rtsp::header::{Npt, Range, RangeSpec, Smpte, SmpteType};
use std::time::Duration;

/// How a client counts: its answer counts alike (RFC 2326 §10.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Npt,
    Clock,
    Smpte(SmpteType),
}

/// What a client asks for, in nanoseconds of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) unit: Unit,
    /// `None`: not said.
    pub(super) start_ns: Option<i64>,
    pub(super) end_ns: Option<i64>,
}

impl Asked {
    /// What a Range means of a timeline for what is played in a direction.
    pub(super) fn read(
        range: Option<&Range>,
        timeline: &Timeline,
        is_backwards: bool,
    ) -> Result<Self, PlayError> {
        let Some(range) = range else {
            return Ok(Asked {
                unit: Unit::Npt,
                start_ns: None,
                end_ns: None,
            });
        };
        let npt = |npt: Npt| match npt {
            Npt::Now => timeline.end_ns(),
            Npt::At(at) => ns(at),
        };
        Ok(match range.spec {
            RangeSpec::Npt { start, end } => Asked {
                unit: Unit::Npt,
                start_ns: start.map(npt),
                // The end of what goes on is no end.
                end_ns: end.filter(|end| *end != Npt::Now).map(npt),
            },
            RangeSpec::Clock { start, end } => {
                if timeline.origin.is_none() {
                    return Err(PlayError::NoClock);
                }
                let start_ns = match is_backwards {
                    true => start_backwards(timeline, start)?,
                    false => timeline.at_clock(start),
                };
                Asked {
                    unit: Unit::Clock,
                    start_ns: Some(start_ns),
                    end_ns: end.map(|end| timeline.until_clock(start_ns, start, end)),
                }
            }
            RangeSpec::Smpte { kind, start, end } => Asked {
                unit: Unit::Smpte(kind),
                start_ns: Some(ns(kind.offset(start))),
                end_ns: end.map(|end| ns(kind.offset(end))),
            },
        })
    }
}

/// The position that what is played backwards from an instant begins at.
fn start_backwards(timeline: &Timeline, start: UnixTime) -> Result<i64, PlayError> {
    let since_ns = |end_ns: i64| i128::from(start.as_nanos()) - i128::from(end_ns);
    let is_over = |end_ns: i64| since_ns(end_ns) > timeline.late_ns().into();
    match timeline.backwards_from(start) {
        Some((_, at_ns)) if !timeline.clock_end_ns().is_some_and(is_over) => Ok(at_ns),
        _ => Err(PlayError::Empty),
    }
}

impl Unit {
    /// What is said of a part of the timeline; `None` goes on to an end that is not known.
    pub(super) fn range(self, timeline: &Timeline, start_ns: i64, end_ns: Option<i64>) -> Range {
        let duration = |ns: i64| Duration::from_nanos(ns.max(0) as u64);
        let spec = match self {
            Unit::Npt => RangeSpec::Npt {
                start: Some(Npt::At(duration(start_ns))),
                end: end_ns.map(|end| Npt::At(duration(end))),
            },
            Unit::Clock => RangeSpec::Clock {
                start: timeline.clock_from(start_ns),
                end: end_ns.map(|end| timeline.clock_until(end)),
            },
            Unit::Smpte(kind) => RangeSpec::Smpte {
                kind,
                start: time_code(kind, start_ns),
                end: end_ns.map(|end| time_code(kind, end)),
            },
        };
        Range { spec, time: None }
    }
}

/// The time code of an instant, to the hundredth of a frame (RFC 2326 §3.5).
fn time_code(kind: SmpteType, at_ns: i64) -> Smpte {
    let at_ns = at_ns.max(0) as u128;
    let (hundredths, rate) = match kind {
        // 30,000/1,001 frames a second.
        SmpteType::Drop30 => ((at_ns * 3_000_000 + 500_500_000_000) / 1_001_000_000_000, 30),
        SmpteType::Frames25 => ((at_ns * 2_500 + 500_000_000) / 1_000_000_000, 25),
    };
    let subframes = (hundredths % 100) as u8;
    let mut frames = (hundredths / 100) as u64;
    if kind == SmpteType::Drop30 {
        // Of each ten minutes' 17,982 frames all but the first minute's 1,800 leave out two numbers.
        let (tens, rest) = (frames / 17_982, frames % 17_982);
        frames += 18 * tens
            + if rest < 1_800 {
                0
            } else {
                2 + (rest - 1_800) / 1_798 * 2
            };
    }
    let seconds = frames / rate;
    Smpte {
        hours: (seconds / 3_600).min(99) as u8,
        minutes: (seconds / 60 % 60) as u8,
        seconds: (seconds % 60) as u8,
        frames: (frames % rate) as u8,
        subframes,
    }
}

fn ns(at: Duration) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Piece;
    use super::*;

    #[test]
    fn time_codes_are_what_their_offsets_say() {
        for kind in [SmpteType::Drop30, SmpteType::Frames25] {
            let step = if kind == SmpteType::Drop30 {
                1_001_000_000 / 30
            } else {
                40_000_000
            };
            for frame in (0..300_000_i64).step_by(7) {
                let at = frame * step + frame / 3 * i64::from(kind == SmpteType::Drop30);
                let code = time_code(kind, at);
                let again = kind.offset(code).as_nanos() as i64;
                assert!(
                    (again - at).abs() < 400_000,
                    "{kind:?} {code:?}: {again} for {at}"
                );
                let is_dropped = code.frames < 2 && code.seconds == 0 && !code.minutes.is_multiple_of(10);
                assert!(kind == SmpteType::Frames25 || !is_dropped, "{code:?}");
            }
        }
    }

    #[test]
    fn every_unit_comes_back_as_it_was_asked() {
        let piece = Piece {
            file: "door/1.mp4".parse().expect("a name"),
            size_bytes: 0,
            begin_ns: 0,
            end_ns: 77,
            clock_ns: 1_795_747_980_000_000_000,
            file_begin_ns: 0,
        };
        let timeline = Timeline {
            pieces: vec![piece],
            origin: Some(UnixTime::from_secs(1_795_747_980)),
            ..Timeline::default()
        };
        for text in [
            "npt=10.000-20.500",
            "npt=0.040-",
            "clock=20261127T025310Z-20261127T025320.5Z",
            "smpte=00:01:00:02-00:10:00",
            "smpte-25=00:00:05:10-",
        ] {
            let range = Range::parse(text).expect("a range");
            let asked = Asked::read(Some(&range), &timeline, false).expect("a part");
            let told = asked
                .unit
                .range(&timeline, asked.start_ns.expect("a start"), asked.end_ns);
            assert_eq!(told.to_string(), text);
        }
        let now = Range::parse("npt=now-").expect("a range");
        let asked = Asked::read(Some(&now), &timeline, false).expect("a part");
        assert_eq!((asked.start_ns, asked.end_ns), (Some(77), None));
        let clock = Range::parse("clock=20261127T025310Z-").expect("a range");
        let files = Timeline {
            origin: None,
            ..timeline
        };
        assert_eq!(Asked::read(Some(&clock), &files, false), Err(PlayError::NoClock));
    }
}
