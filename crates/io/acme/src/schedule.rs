//! When a certificate is asked for: functions of what is known, without a clock.

use ringpost_base::UnixTime;
use ringpost_net::tls::Certificate;
use std::time::Duration;

/// What there is of a certificate that an authority gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The domain names that it is for.
    pub names: Vec<String>,
    /// When it began to hold.
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
}

impl From<&Certificate> for Held {
    fn from(certificate: &Certificate) -> Self {
        Held {
            names: certificate.names.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        }
    }
}

/// Whether a certificate is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Now: there is none.
    First,
    /// Now: it lacks these names.
    Names(Vec<String>),
    /// Now: two thirds of its time are over.
    Renewal,
    /// At this time.
    At(UnixTime),
}

/// Whether a certificate for these names is to be asked for. `jitter`, from 0 to 1, spreads the renewals of many servers; it
/// is the same each time.
pub fn needed(held: Option<&Held>, wanted: &[String], now: UnixTime, jitter: f64) -> Need {
    let Some(held) = held else { return Need::First };
    let is_held = |name: &String| held.names.iter().any(|own| own.eq_ignore_ascii_case(name));
    let lacking: Vec<String> = wanted.iter().filter(|name| !is_held(name)).cloned().collect();
    if !lacking.is_empty() {
        return Need::Names(lacking);
    }
    match renew_at(held.not_before, held.not_after, jitter) {
        at if at <= now => Need::Renewal,
        at => Need::At(at),
    }
}

/// How much of a certificate's time renewals are spread over.
const SPREAD: f64 = 0.05;

/// When a certificate is renewed that holds from one time to another: when two thirds of its time are over, however short
/// that is, or by up to a twentieth of its time sooner.
pub fn renew_at(not_before: UnixTime, not_after: UnixTime, jitter: f64) -> UnixTime {
    let whole = not_after.since(not_before);
    let share = 2.0 / 3.0 - SPREAD * jitter.clamp(0.0, 1.0);
    // To the second: the calendar of a certificate knows nothing finer.
    not_before + Duration::from_secs((whole.as_secs_f64() * share).round() as u64)
}

/// The first pause after a failure, what each further one is times the one before, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const GROWTH: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// How long to wait after so many failures in a row, at least one: a minute, then four times as long each time, a day at
/// most, give or take a tenth by `jitter`, from 0 to 1. What the authority asks for is waited too, a day at most.
pub fn back_off(failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let growth = GROWTH.saturating_pow(failures.saturating_sub(1));
    let pause = FIRST_PAUSE.saturating_mul(growth).min(LONGEST_PAUSE);
    let pause = pause.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0));
    pause.max(asked.unwrap_or_default()).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    fn held(names: &[&str], seconds: u64) -> Held {
        Held {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            not_before: at(0),
            not_after: at(seconds),
        }
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_time_however_short() {
        for seconds in [90 * DAY, 6 * DAY, 3_600, 90] {
            let latest = renew_at(at(0), at(seconds), 0.0);
            assert_eq!(latest, at(seconds * 2 / 3));
            let soonest = renew_at(at(0), at(seconds), 1.0);
            assert!(soonest < latest && soonest > at(seconds * 3 / 5), "{soonest}");
            assert_eq!(renew_at(at(0), at(seconds), 7.0), soonest);
        }
        assert_eq!(renew_at(at(9), at(9), 0.5), at(9));
        assert_eq!(
            renew_at(at(9), at(3), 0.5),
            at(9),
            "one that ended before it began"
        );
    }

    #[test]
    fn what_is_needed_is_a_first_one_names_that_lack_or_a_renewal() {
        let wanted = ["one.test".to_owned(), "two.test".to_owned()];
        let need = |held: Option<&Held>, now| needed(held, &wanted, at(now), 0.0);
        assert_eq!(need(None, 0), Need::First);
        let one = held(&["ONE.test"], 90);
        assert_eq!(need(Some(&one), 0), Need::Names(vec!["two.test".to_owned()]));
        let more = held(&["two.test", "one.test", "three.test"], 90);
        assert_eq!(need(Some(&more), 59), Need::At(at(60)));
        assert_eq!(need(Some(&more), 60), Need::Renewal);
        assert_eq!(need(Some(&more), 1_000_000), Need::Renewal);
    }

    #[test]
    fn failures_are_repeated_after_minutes_at_first_and_a_day_at_last() {
        let pauses: Vec<u64> = (1..=8).map(|n| back_off(n, None, 0.5).as_secs()).collect();
        assert_eq!(pauses, [60, 240, 960, 3_840, 15_360, 61_440, DAY, DAY]);
        assert_eq!(back_off(u32::MAX, None, 1.0), LONGEST_PAUSE);
        assert_eq!(back_off(0, None, 0.0), back_off(1, None, 0.0));
        assert!(back_off(1, None, 0.0) < back_off(1, None, 1.0));
        let asked = |seconds| back_off(1, Some(Duration::from_secs(seconds)), 0.5).as_secs();
        assert_eq!([asked(5), asked(3_600), asked(9 * DAY)], [60, 3_600, DAY]);
    }
}
