//! Playing many seeds, and counting what came of them.

use crate::network::Weather;
use crate::scenario::{Outcome, Run, Scenario};
use std::collections::BTreeMap;
use std::fmt;

/// The weathers that every scenario is played in.
pub const WEATHERS: [Weather; 3] = [Weather::CLEAR, Weather::stormy(0.1), Weather::stormy(0.3)];

/// How many seeds the full run plays.
pub const FULL: u64 = 1_000;

/// The seeds to play: one if `RINGPOST_SEED` names it, all with `RINGPOST_SOAK`, else the first `few`.
pub fn seeds(few: u64) -> std::ops::Range<u64> {
    if let Some(seed) = std::env::var("RINGPOST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return seed..seed + 1;
    }
    match std::env::var_os("RINGPOST_SOAK") {
        Some(_) => 0..FULL,
        None => 0..few,
    }
}

/// What came of one scenario in one weather.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were played.
    pub played: u64,
    /// How many succeeded.
    pub succeeded: u64,
    /// Why the others failed, and how many of each.
    pub failed: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, outcome: Outcome) {
        self.played += 1;
        match outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed(why) => *self.failed.entry(why).or_default() += 1,
        }
    }

    /// The share that succeeded, in percent.
    pub fn share(&self) -> f64 {
        100.0 * self.succeeded as f64 / self.played.max(1) as f64
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.succeeded, self.played)?;
        for (why, times) in &self.failed {
            write!(f, "; {why}: {times}")?;
        }
        Ok(())
    }
}

/// Plays a scenario in one weather from each of the seeds.
///
/// # Panics
/// On the first run with a violation, with what it takes to see it again.
pub fn play(scenario: &'static Scenario, weather: Weather, seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let run = Run {
            scenario,
            weather,
            seed,
        };
        match run.play() {
            Ok((outcome, _)) => tally.count(outcome),
            Err(violation) => {
                panic!(
                    "{run}: {violation}\nto see it again: RINGPOST_SEED={seed} RINGPOST_TRACE=1 cargo test -p ringpost-sim"
                )
            }
        }
    }
    tally
}
