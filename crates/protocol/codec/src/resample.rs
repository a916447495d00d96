use std::f64::consts::PI;
use std::sync::OnceLock;

/// Zero crossings of the filter to either side of a sample: the more, the narrower between pass and stop band.
const CROSSINGS: usize = 32;
/// Points of the filter between two crossings; between them it is interpolated.
const POINTS: usize = 256;
/// The shape of the Kaiser window that the filter is cut off with: 8 gives 80 dB between pass and stop band.
const BETA: f64 = 8.0;
/// Where the pass band ends, as a share of what the lower rate can carry.
const PASS: f64 = 0.92;

/// The same sound at another rate: band-limited interpolation with a windowed sinc.
///
/// The length becomes `samples.len() * to_hz / from_hz`, rounded up. The work is proportional to it, and to `from_hz / to_hz`
/// where that is above one. Nothing is given for a rate of zero.
pub fn resample(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    if from_hz == to_hz || from_hz == 0 || to_hz == 0 {
        return if from_hz == to_hz {
            samples.to_vec()
        } else {
            Vec::new()
        };
    }
    let filter = half_filter();
    let ratio = f64::from(from_hz) / f64::from(to_hz);
    // Below the lower of the two Nyquist frequencies.
    let cutoff = PASS * (1.0 / ratio).min(1.0);
    let reach = CROSSINGS as f64 / cutoff;
    let length = (samples.len() as u64 * u64::from(to_hz)).div_ceil(u64::from(from_hz)) as usize;
    (0..length)
        .map(|i| {
            let centre = i as f64 * ratio;
            let first = (centre - reach).ceil().max(0.0) as usize;
            let last = ((centre + reach).floor() as usize + 1).min(samples.len());
            let mut sum = 0.0;
            for (k, sample) in samples.iter().enumerate().take(last).skip(first) {
                sum += f64::from(*sample) * at(filter, (k as f64 - centre).abs() * cutoff);
            }
            (sum * cutoff).round().clamp(-32768.0, 32767.0) as i16
        })
        .collect()
}

/// The same of sound that comes piece by piece: what is given begins a few milliseconds behind what came, by the reach of the
/// filter, and has no seams.
#[derive(Clone, Debug)]
pub struct Resampler {
    filter: &'static [f64],
    from_hz: u32,
    to_hz: u32,
    /// Samples that are still within reach.
    samples: Vec<i16>,
    /// Where the next sample of the result is in them, counted in `1 / to_hz` of a sample.
    next: u64,
}

impl Resampler {
    /// From one rate to another; `None` if one of both is zero.
    pub fn new(from_hz: u32, to_hz: u32) -> Option<Self> {
        (from_hz > 0 && to_hz > 0).then(|| Resampler {
            filter: match from_hz == to_hz {
                true => &[],
                false => half_filter(),
            },
            from_hz,
            to_hz,
            samples: Vec::new(),
            next: 0,
        })
    }

    /// Takes more sound, and gives what is known of the result by then.
    pub fn push(&mut self, samples: &[i16]) -> Vec<i16> {
        if self.from_hz == self.to_hz {
            return samples.to_vec();
        }
        self.samples.extend_from_slice(samples);
        let (from, to) = (f64::from(self.from_hz), u64::from(self.to_hz));
        let cutoff = PASS * (f64::from(self.to_hz) / from).min(1.0);
        let reach = CROSSINGS as f64 / cutoff;
        let mut out = Vec::with_capacity(samples.len() * self.to_hz as usize / self.from_hz as usize + 1);
        loop {
            let centre = self.next as f64 / to as f64;
            let last = (centre + reach).floor() as usize;
            let first = (centre - reach).ceil().max(0.0) as usize;
            let Some(within) = self.samples.get(first..=last) else {
                let gone = first.min(self.samples.len());
                self.samples.drain(..gone);
                self.next -= gone as u64 * to;
                return out;
            };
            let sum: f64 = (first..)
                .zip(within)
                .map(|(k, sample)| f64::from(*sample) * at(self.filter, (k as f64 - centre).abs() * cutoff))
                .sum();
            out.push((sum * cutoff).round().clamp(-32768.0, 32767.0) as i16);
            self.next += u64::from(self.from_hz);
        }
    }
}

/// The right half of sinc times window, from 0 to `CROSSINGS`.
fn half_filter() -> &'static [f64] {
    static FILTER: OnceLock<Vec<f64>> = OnceLock::new();
    FILTER.get_or_init(|| {
        let whole = bessel_i0(BETA);
        let points = (0..=CROSSINGS * POINTS).map(|i| {
            let x = i as f64 / POINTS as f64;
            let sinc = if i == 0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let place = x / CROSSINGS as f64;
            sinc * bessel_i0(BETA * (1.0 - place * place).max(0.0).sqrt()) / whole
        });
        points.collect()
    })
}

fn at(filter: &[f64], x: f64) -> f64 {
    let place = x * POINTS as f64;
    let i = place as usize;
    match filter.get(i..i + 2) {
        Some([a, b]) => a + (b - a) * (place - i as f64),
        _ => 0.0,
    }
}

/// The modified Bessel function of the first kind, order zero, by its series.
fn bessel_i0(x: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-12 {
        term *= (x / (2.0 * k)).powi(2);
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dominant_tone, level_dbfs};
    use std::f64::consts::TAU;

    fn sine(hz: f64, rate_hz: u32, seconds: f64) -> Vec<i16> {
        (0..(f64::from(rate_hz) * seconds) as usize)
            .map(|i| (16_384.0 * (TAU * hz * i as f64 / f64::from(rate_hz)).sin()).round() as i16)
            .collect()
    }

    #[test]
    fn a_tone_keeps_its_frequency_and_level_from_any_rate() {
        for rate in [4000, 6000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000] {
            let out = resample(&sine(1000.0, rate, 0.5), rate, 8000);
            assert_eq!(out.len(), 4000);
            let inner = &out[400..3600];
            let found = dominant_tone(inner).expect("sound");
            assert!((found.frequency_hz - 1000.0).abs() < 1.0, "{rate}: {found:?}");
            assert!(found.purity > 0.9999, "{rate}: {found:?}");
            assert!((found.level_dbfs + 6.02).abs() < 0.1, "{rate}: {found:?}");
        }
    }

    #[test]
    fn piece_by_piece_it_is_the_same_as_at_once() {
        for (from, to) in [
            (48_000, 8_000),
            (44_100, 8_000),
            (16_000, 8_000),
            (8_000, 44_100),
            (8_000, 8_000),
        ] {
            let sound = sine(1000.0, from, 0.5);
            let whole = resample(&sound, from, to);
            let mut resampler = Resampler::new(from, to).unwrap();
            let mut pieces = Vec::new();
            for (n, piece) in sound.chunks(331).enumerate() {
                pieces.extend(resampler.push(piece));
                pieces.extend(resampler.push(&[]));
                assert!(n < 10 || !pieces.is_empty());
            }
            let missing = whole.len() - pieces.len();
            assert!(missing <= to as usize / 100, "{from}: {missing}");
            let off = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).max();
            assert!(off <= Some(1), "{from}: {off:?}");
        }
        assert!(Resampler::new(0, 8_000).is_none() && Resampler::new(8_000, 0).is_none());
    }

    #[test]
    fn what_the_telephone_cannot_carry_is_taken_out_and_not_folded_back() {
        for hz in [4500.0, 5000.0, 7000.0, 15_000.0] {
            let out = resample(&sine(hz, 44_100, 0.5), 44_100, 8000);
            assert!(
                level_dbfs(&out[400..3600]) < -60.0,
                "{hz}: {}",
                level_dbfs(&out[400..3600])
            );
        }
    }

    #[test]
    fn speech_stays_below_the_edge_and_nothing_stays_nothing() {
        let out = resample(&sine(3300.0, 48_000, 0.5), 48_000, 8000);
        assert!((level_dbfs(&out[400..3600]) + 6.02).abs() < 0.2);
        assert!(resample(&[], 48_000, 8000).is_empty());
        assert!(resample(&[1, 2], 0, 8000).is_empty());
        assert_eq!(resample(&[1, 2], 8000, 8000), [1, 2]);
    }
}
