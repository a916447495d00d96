use crate::SAMPLE_RATE_HZ;

/// Adds `other` to `sum`, sample by sample, held within 16 bits; what is missing at the end of `other` is silence.
pub fn mix(sum: &mut [i16], other: &[i16]) {
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum = sum.saturating_add(*other);
    }
}

/// Makes samples louder or softer, held within 16 bits.
pub fn scale(samples: &mut [i16], gain_db: f64) {
    let factor = 10f64.powf(gain_db / 20.0);
    for sample in samples {
        *sample = (f64::from(*sample) * factor).round().clamp(-32768.0, 32767.0) as i16;
    }
}

/// The mean level in dB below a sine at full scale; `-100` for digital silence or nothing.
pub fn level_dbfs(samples: &[i16]) -> f64 {
    let power = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum::<f64>()
        / samples.len().max(1) as f64;
    let full = 32767f64.powi(2) / 2.0;
    if power == 0.0 {
        -100.0
    } else {
        (10.0 * (power / full).log10()).max(-100.0)
    }
}

/// Measures how long it has been quiet.
///
/// Quiet is judged over windows of 20 ms, so that the zeros of a wave are no silence.
#[derive(Clone, Debug)]
pub struct SilenceMeter {
    threshold_power: f64,
    window_power: f64,
    window_samples: u32,
    silent_samples: u64,
}

const WINDOW_SAMPLES: u32 = SAMPLE_RATE_HZ / 50;

impl SilenceMeter {
    /// Below `threshold_dbfs` it is quiet; -45 suits a telephone.
    pub fn new(threshold_dbfs: f64) -> Self {
        let full = 32767f64.powi(2) / 2.0;
        SilenceMeter {
            threshold_power: full * 10f64.powf(threshold_dbfs / 10.0),
            window_power: 0.0,
            window_samples: 0,
            silent_samples: 0,
        }
    }

    /// Takes the next samples.
    pub fn push(&mut self, samples: &[i16]) {
        for sample in samples {
            self.window_power += f64::from(*sample).powi(2);
            self.window_samples += 1;
            if self.window_samples == WINDOW_SAMPLES {
                let quiet = self.window_power / f64::from(WINDOW_SAMPLES) < self.threshold_power;
                self.silent_samples = if quiet {
                    self.silent_samples + u64::from(WINDOW_SAMPLES)
                } else {
                    0
                };
                (self.window_power, self.window_samples) = (0.0, 0);
            }
        }
    }

    /// How long it has been quiet now, in whole windows.
    pub fn silent_ms(&self) -> u64 {
        self.silent_samples * 1000 / u64::from(SAMPLE_RATE_HZ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tone;

    #[test]
    fn a_mix_is_held_within_its_bits() {
        let mut sum = [30_000, -30_000, 5, 7];
        mix(&mut sum, &[10_000, -10_000, 6]);
        assert_eq!(sum, [i16::MAX, i16::MIN, 11, 7]);
        let mut loud = [20_000, -20_000, 100];
        scale(&mut loud, 6.0206);
        assert_eq!(loud, [i16::MAX, i16::MIN, 200]);
    }

    #[test]
    fn a_sine_has_its_level() {
        let mut samples = vec![0; 8000];
        Tone::sine(1000.0, -20.0).fill(&mut samples);
        assert!((level_dbfs(&samples) + 20.0).abs() < 0.1);
        assert_eq!(level_dbfs(&[0; 10]), -100.0);
        assert_eq!(level_dbfs(&[]), -100.0);
    }

    #[test]
    fn silence_is_counted_in_windows_and_ended_by_sound() {
        let mut meter = SilenceMeter::new(-45.0);
        meter.push(&[0; 8000]);
        meter.push(&[3; 159]);
        assert_eq!(meter.silent_ms(), 1000);
        meter.push(&[3; 1]);
        assert_eq!(meter.silent_ms(), 1020);
        let mut tone = vec![0; 160];
        Tone::sine(50.0, -30.0).fill(&mut tone);
        meter.push(&tone);
        assert_eq!(meter.silent_ms(), 0);
    }
}
