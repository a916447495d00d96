use crate::SAMPLE_RATE_HZ;
use crate::dtmf::dtmf_frequencies_hz;
use std::f64::consts::TAU;

/// A generator of one or two sines, continuous from call to call, on and off by a cadence.
#[derive(Clone, Debug)]
pub struct Tone {
    /// At most two.
    sines: Vec<Sine>,
    cadence: Cadence,
    /// Where in the cadence, in samples.
    at: u64,
}

#[derive(Clone, Debug)]
struct Sine {
    amplitude: f64,
    phase: f64,
    step: f64,
}

/// How a tone is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// Never.
    Steady,
    /// Again and again.
    Repeat {
        /// How long it sounds.
        on_ms: u32,
        /// How long it pauses.
        off_ms: u32,
    },
}

/// What a call-progress tone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Dial now.
    Dial,
    /// It rings at the other end.
    Ringback,
    /// The other end is busy.
    Busy,
    /// No way through.
    Congestion,
    /// Somebody else calls.
    Waiting,
}

/// Whose tones: they differ by country (ITU-T E.180 supplement 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Region {
    /// 425 Hz throughout, as ETSI recommends.
    #[default]
    Europe,
    /// Pairs of 350, 440, 480 and 620 Hz.
    NorthAmerica,
}

/// The level of call-progress tones.
const PROGRESS_DBFS: f64 = -16.0;
/// The level of each of a digit's two frequencies.
const DTMF_DBFS: f64 = -10.0;

impl Tone {
    /// A sine; `level_dbfs` in dB below full scale, for instance -12.
    pub fn sine(frequency_hz: f64, level_dbfs: f64) -> Self {
        Tone::new(&[frequency_hz], level_dbfs, Cadence::Steady)
    }

    /// The two frequencies of a DTMF digit (ITU-T Q.23): `0`–`9`, `*`, `#`, `A`–`D`.
    pub fn dtmf(digit: char) -> Option<Self> {
        let (low, high) = dtmf_frequencies_hz(digit)?;
        Some(Tone::new(&[low, high], DTMF_DBFS, Cadence::Steady))
    }

    /// A call-progress tone.
    pub fn progress(signal: Signal, region: Region) -> Self {
        let repeat = |on_ms, off_ms| Cadence::Repeat { on_ms, off_ms };
        let (frequencies, cadence): (&[f64], _) = match (region, signal) {
            (Region::Europe, Signal::Dial) => (&[425.0], Cadence::Steady),
            (Region::Europe, Signal::Ringback) => (&[425.0], repeat(1000, 4000)),
            (Region::Europe, Signal::Busy) => (&[425.0], repeat(500, 500)),
            (Region::Europe, Signal::Congestion) => (&[425.0], repeat(200, 200)),
            (Region::Europe, Signal::Waiting) => (&[425.0], repeat(200, 5000)),
            (Region::NorthAmerica, Signal::Dial) => (&[350.0, 440.0], Cadence::Steady),
            (Region::NorthAmerica, Signal::Ringback) => (&[440.0, 480.0], repeat(2000, 4000)),
            (Region::NorthAmerica, Signal::Busy) => (&[480.0, 620.0], repeat(500, 500)),
            (Region::NorthAmerica, Signal::Congestion) => (&[480.0, 620.0], repeat(250, 250)),
            (Region::NorthAmerica, Signal::Waiting) => (&[440.0], repeat(300, 10_000)),
        };
        Tone::new(frequencies, PROGRESS_DBFS, cadence)
    }

    fn new(frequencies_hz: &[f64], level_dbfs: f64, cadence: Cadence) -> Self {
        let amplitude = 32767.0 * 10f64.powf(level_dbfs / 20.0);
        let sine = |hz: &f64| Sine {
            amplitude,
            phase: 0.0,
            step: TAU * hz / f64::from(SAMPLE_RATE_HZ),
        };
        Tone {
            sines: frequencies_hz.iter().map(sine).collect(),
            cadence,
            at: 0,
        }
    }

    /// Writes the next samples over `out`.
    pub fn fill(&mut self, out: &mut [i16]) {
        out.fill(0);
        self.mix_into(out);
    }

    /// Adds the next samples to `out`.
    pub fn mix_into(&mut self, out: &mut [i16]) {
        for sample in out {
            let on = self.is_on();
            let mut value = 0.0;
            for sine in &mut self.sines {
                value += sine.amplitude * sine.phase.sin();
                sine.phase = (sine.phase + sine.step) % TAU;
            }
            if on {
                let value = value.round().clamp(-32768.0, 32767.0) as i16;
                *sample = sample.saturating_add(value);
            }
            self.at += 1;
        }
    }

    fn is_on(&self) -> bool {
        match self.cadence {
            Cadence::Steady => true,
            Cadence::Repeat { on_ms, off_ms } => {
                let samples = |ms: u32| u64::from(ms) * u64::from(SAMPLE_RATE_HZ) / 1000;
                self.at % (samples(on_ms) + samples(off_ms)).max(1) < samples(on_ms)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{level_dbfs, strength};

    #[test]
    fn a_tone_continues_where_it_left_off() {
        let mut whole = vec![0; 1600];
        Tone::sine(433.0, -10.0).fill(&mut whole);
        let mut tone = Tone::sine(433.0, -10.0);
        let mut pieces = vec![0; 1600];
        for piece in pieces.chunks_mut(37) {
            tone.fill(piece);
        }
        assert_eq!(whole, pieces);
    }

    #[test]
    fn ringback_rings_a_second_and_pauses_four() {
        let mut samples = vec![0; 8000 * 7];
        Tone::progress(Signal::Ringback, Region::Europe).fill(&mut samples);
        let level = |second: usize| level_dbfs(&samples[second * 8000..(second + 1) * 8000]);
        assert!(level(0) > -17.0 && level(5) > -17.0);
        assert!([1, 2, 3, 4, 6].iter().all(|second| level(*second) == -100.0));
        assert!(strength(&samples[..8000], 425.0) > 0.99);
    }

    #[test]
    fn north_american_tones_are_pairs() {
        let mut samples = vec![0; 4000];
        Tone::progress(Signal::Busy, Region::NorthAmerica).fill(&mut samples);
        assert!(strength(&samples, 480.0) > 0.49 && strength(&samples, 620.0) > 0.49);
    }
}
