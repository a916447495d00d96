use crate::{SAMPLE_RATE_HZ, level_dbfs};
use std::f64::consts::TAU;

/// The loudest frequency of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToneFound {
    /// Within about a hertz for a fifth of a second of sound.
    pub frequency_hz: f64,
    /// Its share of all the energy, 0 to 1: over 0.9 for a sine that went through G.711, about 0.5 for each of a pair.
    pub purity: f64,
    /// Of the whole sound, as [`level_dbfs`] gives it.
    pub level_dbfs: f64,
}

/// The share of the energy of `samples` that is at `frequency_hz`, 0 to 1, by Goertzel's algorithm with a Hann window.
///
/// The band it looks at is about 2 / (length in seconds) wide to either side.
pub fn strength(samples: &[i16], frequency_hz: f64) -> f64 {
    Windowed::new(samples).strength(frequency_hz)
}

/// The loudest frequency between 100 and 3700 Hz; `None` for less than 25 ms, or for silence (below -60 dBFS).
pub fn dominant_tone(samples: &[i16]) -> Option<ToneFound> {
    let level = level_dbfs(samples);
    if samples.len() < FIRST_LOOK_SAMPLES || level < -60.0 {
        return None;
    }
    // Bands are the narrower the longer the sound: a first look at a short and loud part finds the place, longer and
    // longer ones then tell exactly.
    let mut best = Peak {
        frequency_hz: 100.0,
        strength: 0.0,
    };
    let part = loudest(samples, FIRST_LOOK_SAMPLES);
    for step in 0..=144 {
        best.try_at(&part, 100.0 + 25.0 * f64::from(step));
    }
    let mut length = FIRST_LOOK_SAMPLES;
    loop {
        let part = loudest(samples, length);
        let band_hz = f64::from(SAMPLE_RATE_HZ) / length as f64;
        best.strength = part.strength(best.frequency_hz);
        best.narrow(&part, band_hz / 4.0, band_hz / 20.0);
        if length == samples.len() {
            break;
        }
        length = (length * 4).min(samples.len());
    }
    Some(ToneFound {
        frequency_hz: best.frequency_hz,
        purity: best.strength,
        level_dbfs: level,
    })
}

/// The least that a tone can be found in.
const FIRST_LOOK_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 40;

fn loudest(samples: &[i16], length: usize) -> Windowed {
    let parts = samples.chunks_exact(length);
    let part = parts.max_by(|a, b| level_dbfs(a).total_cmp(&level_dbfs(b)));
    Windowed::new(part.unwrap_or(samples))
}

#[derive(Clone, Copy, Debug)]
struct Peak {
    frequency_hz: f64,
    strength: f64,
}

impl Peak {
    fn try_at(&mut self, samples: &Windowed, frequency_hz: f64) {
        let strength = samples.strength(frequency_hz);
        if strength > self.strength {
            *self = Peak {
                frequency_hz,
                strength,
            };
        }
    }

    /// Climbs to the top nearby, in steps that begin at `step_hz` and end at `least_hz`.
    fn narrow(&mut self, samples: &Windowed, mut step_hz: f64, least_hz: f64) {
        while step_hz >= least_hz {
            let before = self.frequency_hz;
            self.try_at(samples, before - step_hz);
            self.try_at(samples, before + step_hz);
            if self.frequency_hz == before {
                step_hz /= 2.0;
            }
        }
    }
}

/// Samples under a Hann window, to be looked at more than once.
pub(crate) struct Windowed {
    values: Vec<f64>,
    energy: f64,
    /// The sum of the window's squares.
    gain: f64,
}

impl Windowed {
    pub(crate) fn new(samples: &[i16]) -> Self {
        let length = samples.len() as f64;
        let (mut energy, mut gain) = (0.0, 0.0);
        let window = |i: usize| 0.5 - 0.5 * (TAU * (i as f64 + 0.5) / length).cos();
        let values = samples
            .iter()
            .enumerate()
            .map(|(i, sample)| {
                let weight = window(i);
                let value = f64::from(*sample) * weight;
                energy += value * value;
                gain += weight * weight;
                value
            })
            .collect();
        Windowed { values, energy, gain }
    }

    pub(crate) fn strength(&self, frequency_hz: f64) -> f64 {
        if self.energy == 0.0 {
            return 0.0;
        }
        let coefficient = 2.0 * (TAU * frequency_hz / f64::from(SAMPLE_RATE_HZ)).cos();
        let (s1, s2) = self
            .values
            .iter()
            .fold((0.0, 0.0), |(s1, s2), value| (value + coefficient * s1 - s2, s1));
        let power = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
        // For a sine of this very frequency, power is (amplitude × sum of the window / 2)² and the energy is
        // amplitude² × gain / 2; the sum of a Hann window is half its length.
        let sum = self.values.len() as f64 / 2.0;
        (power * 2.0 * self.gain / (sum * sum * self.energy)).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Law, Tone, mix};

    fn sine(hz: f64, level_dbfs: f64, samples: usize) -> Vec<i16> {
        let mut out = vec![0; samples];
        Tone::sine(hz, level_dbfs).fill(&mut out);
        out
    }

    #[test]
    fn a_sine_is_found_at_its_frequency_also_through_g711() {
        for hz in [350.0, 440.0, 1004.0, 2500.5] {
            for law in [Law::Mu, Law::A] {
                let heard: Vec<i16> = sine(hz, -15.0, 1600)
                    .iter()
                    .map(|sample| law.decode(law.encode(*sample)))
                    .collect();
                let found = dominant_tone(&heard).expect("sound");
                assert!((found.frequency_hz - hz).abs() < 1.0, "{hz}: {found:?}");
                assert!(found.purity > 0.98, "{hz}: {found:?}");
                assert!((found.level_dbfs + 15.0).abs() < 0.3, "{hz}: {found:?}");
            }
        }
    }

    #[test]
    fn another_sound_beside_it_takes_from_its_purity() {
        let mut both = sine(440.0, -20.0, 1600);
        mix(&mut both, &sine(1200.0, -20.0, 1600));
        let found = dominant_tone(&both).expect("sound");
        assert!((0.45..0.55).contains(&found.purity), "{found:?}");
        assert!(strength(&both, 440.0) > 0.45 && strength(&both, 1200.0) > 0.45);
        assert!(strength(&both, 800.0) < 0.001);
    }

    #[test]
    fn a_missing_packet_in_ten_is_heard_as_less_pure() {
        let mut samples = sine(440.0, -12.0, 8000);
        samples
            .chunks_mut(160)
            .step_by(10)
            .for_each(|packet| packet.fill(0));
        let found = dominant_tone(&samples).expect("sound");
        assert!((found.frequency_hz - 440.0).abs() < 1.0);
        assert!((0.8..0.97).contains(&found.purity), "{found:?}");
    }

    #[test]
    fn silence_has_no_tone() {
        assert_eq!(dominant_tone(&[0; 1600]), None);
        assert_eq!(dominant_tone(&sine(440.0, -10.0, 100)), None);
        assert_eq!(strength(&[], 440.0), 0.0);
        assert_eq!(strength(&[0; 100], 440.0), 0.0);
    }
}
