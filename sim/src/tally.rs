//! Playing many seeds, and counting what came of them.

use crate::network::Weather;
use crate::scenario::{Outcome, Run, Scenario};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::catch_unwind;

/// The weathers that every scenario is played in.
pub const WEATHERS: [Weather; 3] = [Weather::CLEAR, Weather::stormy(0.1), Weather::stormy(0.3)];

/// How many seeds the full run plays.
pub const FULL: u64 = 1_000;

/// The seeds to play: those that `RINGPOST_SEED` names (`17`, or `0..300`), all with `RINGPOST_SOAK`, else the first `few`.
pub fn seeds(few: u64) -> Range<u64> {
    if let Some(named) = std::env::var("RINGPOST_SEED").ok().and_then(|text| named(&text)) {
        return named;
    }
    match std::env::var_os("RINGPOST_SOAK") {
        Some(_) => 0..FULL,
        None => 0..few,
    }
}

fn named(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => Some(first.parse().ok()?..end.parse().ok()?),
        None => text.parse().ok().map(|seed| seed..seed + 1),
    }
}

/// What came of one scenario in one weather.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were played.
    pub played: u64,
    /// How many succeeded.
    pub succeeded: u64,
    /// Why the others failed, and the seeds of each reason.
    pub failed: BTreeMap<String, Vec<u64>>,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, seed: u64, outcome: Outcome) {
        self.played += 1;
        match outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed(why) => self.failed.entry(why).or_default().push(seed),
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
        for (why, seeds) in &self.failed {
            let some: Vec<String> = seeds.iter().take(SHOWN).map(u64::to_string).collect();
            write!(f, "\n  {}: {why} (seeds {})", seeds.len(), some.join(", "))?;
        }
        Ok(())
    }
}

/// Plays a scenario in one weather from each of the seeds.
///
/// # Panics
/// When a run had a violation, or panicked: with the first ones, and what it takes to see them again.
pub fn play(scenario: &'static Scenario, weather: Weather, seeds: Range<u64>) -> Tally {
    let mut tally = Tally::default();
    let mut bad = Vec::new();
    for seed in seeds {
        let run = Run {
            scenario,
            weather,
            seed,
        };
        match catch_unwind(|| run.play()) {
            Ok(Ok((outcome, _))) => tally.count(seed, outcome),
            Ok(Err(violation)) => bad.push(format!("{run}: {violation}")),
            Err(_) => bad.push(format!("{run}: panicked")),
        }
    }
    let shown: Vec<&str> = bad.iter().take(SHOWN).map(String::as_str).collect();
    assert!(
        bad.is_empty(),
        "{} runs of {} must not be as they are:\n{}\nto see one again: RINGPOST_SEED=… RINGPOST_TRACE=1 cargo test -p ringpost-sim",
        bad.len(),
        tally.played + bad.len() as u64,
        shown.join("\n")
    );
    tally
}

/// How many runs are named.
const SHOWN: usize = 20;
