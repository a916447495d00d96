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
    let n = samples.len();
    if n < 4 {
        return 0.0;
    }
    let coefficient = 2.0 * (TAU * frequency_hz / f64::from(SAMPLE_RATE_HZ)).cos();
    let (mut s1, mut s2, mut energy, mut gain) = (0.0, 0.0, 0.0, 0.0);
    for (i, sample) in samples.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * (i as f64 + 0.5) / n as f64).cos();
        let value = f64::from(*sample) * window;
        energy += value * value;
        gain += window * window;
        (s1, s2) = (value + coefficient * s1 - s2, s1);
    }
    if energy == 0.0 {
        return 0.0;
    }
    let power = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    // For a sine of this very frequency, power is (amplitude × sum of the window / 2)² and the energy is
    // amplitude² × gain / 2; the sum of a Hann window is half its length.
    let sum = n as f64 / 2.0;
    (power * 2.0 * gain / (sum * sum * energy)).min(1.0)
}

/// The loudest frequency between 100 and 3700 Hz; `None` for less than 25 ms, or for silence (below -60 dBFS).
pub fn dominant_tone(samples: &[i16]) -> Option<ToneFound> {
    let level = level_dbfs(samples);
    let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE_HZ);
    if seconds < 0.025 || level < -60.0 {
        return None;
    }
    // First in steps of half a band, then narrowing in around the best.
    let mut step = (0.5 / seconds).clamp(1.0, 20.0);
    let mut best = (100.0, 0.0);
    let mut hz = 100.0;
    while hz <= 3700.0 {
        let found = strength(samples, hz);
        if found > best.1 {
            best = (hz, found);
        }
        hz += step;
    }
    while step > 0.25 {
        step /= 2.0;
        for hz in [best.0 - step, best.0 + step] {
            let found = strength(samples, hz);
            if found > best.1 {
                best = (hz, found);
            }
        }
    }
    Some(ToneFound {
        frequency_hz: best.0,
        purity: best.1,
        level_dbfs: level,
    })
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
