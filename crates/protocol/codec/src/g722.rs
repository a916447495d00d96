/// Decodes ITU-T G.722 at 64 kbit/s for a telephone: the lower of its two bands alone, which is what 8,000 samples a second can
/// carry. An octet is a sample.
#[derive(Clone, Debug)]
pub struct G722 {
    low: Band,
}

/// Decodes ITU-T G.722 at 64 kbit/s whole: 16,000 samples a second, two of an octet.
#[derive(Clone, Debug)]
pub struct G722Wide {
    low: Band,
    high: Band,
    /// The sums and differences of the bands, in pairs, the newest last.
    history: [[i32; 2]; 12],
}

/// Encodes a telephone's sound as ITU-T G.722 at 64 kbit/s: it fills the lower of the two bands, and the upper one is silent. A
/// sample is an octet.
#[derive(Clone, Debug)]
pub(crate) struct G722Encoder {
    low: Band,
    high: Band,
}

/// Encodes 16,000 samples a second as ITU-T G.722 at 64 kbit/s, two of them an octet: the counterpart of [`G722Wide`].
#[derive(Clone, Debug)]
pub struct G722WideEncoder {
    low: Band,
    high: Band,
    /// The last samples in pairs, the newest last.
    history: [[i32; 2]; 12],
}

/// One of the two bands: adaptive differences.
#[derive(Clone, Debug)]
struct Band {
    /// The logarithm of the quantizer's step, and the step.
    log_step: i32,
    step: i32,
    /// The predictor's output, and the share of its zeros.
    predicted: i32,
    predicted_by_zeros: i32,
    /// The last reconstructed samples and partially reconstructed ones, the newest first.
    reconstructed: [i32; 2],
    partial: [i32; 2],
    poles: [i32; 2],
    /// The last quantized differences, the newest first, and their coefficients.
    differences: [i32; 6],
    zeros: [i32; 6],
}

/// G.722 table 10: what six bits stand for, as a share of the step. Four codes are never sent.
const INVERSE_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
/// G.722 table 8: the same of the upper four of these bits, which is what both predictors go by.
const INVERSE_4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
];
/// G.722 tables 9 and 11: how these four bits change the logarithm of the step.
const LOG_CHANGE: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
/// G.722 table 4: where each of the thirty magnitudes of six bits ends, as a share of the step.
const DECISIONS_6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121,
    1_219, 1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];
/// The same of the upper band's two.
const DECISION_2: i32 = 564;
/// G.722 table 12: powers of two by 32nds, in 2,048ths.
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// G.722 table 14: the same of the upper band's two bits.
const INVERSE_2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
/// G.722 tables 13 and 15: how these two bits change the logarithm of the step.
const LOG_CHANGE_HIGH: [i32; 4] = [798, -214, 798, -214];
/// G.722 table 11, the filter that joins the bands, and parts them: one half of it; the other half is the same backwards.
const JOINING: [i32; 12] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];
/// The most that the logarithm of the step comes to in each band.
const MOST_LOG_STEP: i32 = 18_432;
const MOST_LOG_STEP_HIGH: i32 = 22_528;

impl Default for G722 {
    fn default() -> Self {
        G722 { low: Band::new(32) }
    }
}

impl Default for G722Wide {
    fn default() -> Self {
        G722Wide {
            low: Band::new(32),
            high: Band::new(8),
            history: [[0; 2]; 12],
        }
    }
}

impl Default for G722Encoder {
    fn default() -> Self {
        G722Encoder {
            low: Band::new(32),
            high: Band::new(8),
        }
    }
}

impl Default for G722WideEncoder {
    fn default() -> Self {
        G722WideEncoder {
            low: Band::new(32),
            high: Band::new(8),
            history: [[0; 2]; 12],
        }
    }
}

impl Band {
    fn new(step: i32) -> Self {
        Band {
            log_step: 0,
            step,
            predicted: 0,
            predicted_by_zeros: 0,
            reconstructed: [0; 2],
            partial: [0; 2],
            poles: [0; 2],
            differences: [0; 6],
            zeros: [0; 6],
        }
    }
}

impl G722 {
    /// Appends the samples of `bytes` to `out`, one each.
    pub fn decode_into(&mut self, bytes: &[u8], out: &mut Vec<i16>) {
        // A band has 15 bits.
        out.extend(bytes.iter().map(|byte| (self.low.decode_low(*byte) * 2) as i16));
    }
}

impl G722Wide {
    /// The samples of a second.
    pub const RATE_HZ: u32 = 16_000;

    /// Appends the samples of `bytes` to `out`, two each.
    pub fn decode_into(&mut self, bytes: &[u8], out: &mut Vec<i16>) {
        for byte in bytes {
            let (low, high) = (self.low.decode_low(*byte), self.high.decode_high(*byte));
            self.history.rotate_left(1);
            self.history[11] = [low + high, low - high];
            let pairs = self.history.iter().zip(JOINING.iter().zip(JOINING.iter().rev()));
            let (mut first, mut second) = (0, 0);
            for ([sum, difference], (forwards, backwards)) in pairs {
                second += sum * forwards;
                first += difference * backwards;
            }
            out.extend([first, second].map(|sample| saturated(sample >> 11) as i16));
        }
    }
}

impl G722Encoder {
    /// Appends an octet for each of `samples`, of which there are 8,000 a second, to `out`.
    pub(crate) fn encode_into(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        out.extend(samples.iter().map(|sample| {
            // A band has 15 bits.
            let low = self.low.encode_low(i32::from(*sample) >> 1);
            low | self.high.encode_high(0) << 6
        }));
    }
}

impl G722WideEncoder {
    /// Appends an octet for each two of `samples` to `out`; an odd one at their end is left out.
    pub fn encode_into(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        out.extend(samples.chunks_exact(2).map(|two| {
            self.history.rotate_left(1);
            self.history[11] = [i32::from(two[0]), i32::from(two[1])];
            let pairs = self.history.iter().zip(JOINING.iter().zip(JOINING.iter().rev()));
            let (mut first, mut second) = (0, 0);
            for ([even, odd], (forwards, backwards)) in pairs {
                first += even * forwards;
                second += odd * backwards;
            }
            // A band has 15 bits.
            let band = |sum: i32| (sum >> 14).clamp(-16_384, 16_383);
            let low = self.low.encode_low(band(second + first));
            low | self.high.encode_high(band(second - first)) << 6
        }));
    }
}

impl Band {
    /// The six bits for the next sample.
    fn encode_low(&mut self, sample: i32) -> u8 {
        let error = saturated(sample - self.predicted);
        let magnitude = if error < 0 { !error } else { error };
        let exceeds = |decision: &&i32| magnitude >= (**decision * self.step) >> 12;
        let level = DECISIONS_6.iter().take_while(exceeds).count() as u8;
        // Table 5: codes fall as magnitudes rise; the two smallest that are negative stand behind all others.
        let code = match (error < 0, level) {
            (true, 0 | 1) => 63 - level,
            (true, _) => 33 - level,
            (false, _) => 61 - level,
        };
        self.decode_low(code);
        code
    }

    /// The two bits for the next sample.
    fn encode_high(&mut self, sample: i32) -> u8 {
        let error = saturated(sample - self.predicted);
        let magnitude = if error < 0 { !error } else { error };
        let is_large = magnitude >= (DECISION_2 * self.step) >> 12;
        let code = match (error < 0, is_large) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.decode_high(code << 6);
        code
    }

    fn decode_low(&mut self, byte: u8) -> i32 {
        let code = usize::from(byte & 0x3f);
        let low = self.predicted + ((self.step * INVERSE_6[code]) >> 15);
        let low = low.clamp(-16_384, 16_383);
        let code = code >> 2;
        let difference = (self.step * INVERSE_4[code]) >> 15;
        self.adapt_step(LOG_CHANGE[code], MOST_LOG_STEP, 8);
        self.adapt_predictor(difference);
        low
    }

    fn decode_high(&mut self, byte: u8) -> i32 {
        let code = usize::from(byte >> 6);
        let difference = (self.step * INVERSE_2[code]) >> 15;
        let high = (self.predicted + difference).clamp(-16_384, 16_383);
        self.adapt_step(LOG_CHANGE_HIGH[code], MOST_LOG_STEP_HIGH, 10);
        self.adapt_predictor(difference);
        high
    }

    fn adapt_step(&mut self, change: i32, most: i32, octaves: i32) {
        self.log_step = ((self.log_step * 127) >> 7) + change;
        self.log_step = self.log_step.clamp(0, most);
        let power = POWERS[(self.log_step >> 6) as usize & 31];
        let shift = octaves - (self.log_step >> 11);
        let scaled = if shift < 0 {
            power << -shift
        } else {
            power >> shift
        };
        self.step = scaled << 2;
    }

    fn adapt_predictor(&mut self, difference: i32) {
        let reconstructed = saturated(self.predicted + difference);
        let partial = saturated(self.predicted_by_zeros + difference);
        let agrees = |other: i32| (partial < 0) == (other < 0);
        let [pole, second] = self.poles;
        // The second pole first: the first one is bounded by it.
        let quadrupled = saturated(pole * 4);
        let towards = if agrees(self.partial[0]) {
            -quadrupled
        } else {
            quadrupled
        }
        .min(32_767);
        let sign = if agrees(self.partial[1]) { 128 } else { -128 };
        let second = (sign + (towards >> 7) + ((second * 32_512) >> 15)).clamp(-12_288, 12_288);
        let sign = if agrees(self.partial[0]) { 192 } else { -192 };
        let bound = saturated(15_360 - second);
        let first = saturated(sign + ((pole * 32_640) >> 15)).clamp(-bound, bound);
        self.poles = [first, second];
        let gain = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeros.iter_mut().zip(&self.differences) {
            let change = if (*before < 0) == (difference < 0) {
                gain
            } else {
                -gain
            };
            *zero = saturated(change + ((*zero * 32_640) >> 15));
        }
        self.differences.rotate_right(1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        self.predict();
    }

    fn predict(&mut self) {
        let product = |coefficient: &i32, value: &i32| (coefficient * saturated(2 * value)) >> 15;
        let by_poles = self.poles.iter().zip(&self.reconstructed);
        let by_poles = saturated(by_poles.map(|(pole, value)| product(pole, value)).sum());
        let by_zeros = self.zeros.iter().zip(&self.differences);
        self.predicted_by_zeros = saturated(by_zeros.map(|(zero, value)| product(zero, value)).sum());
        self.predicted = saturated(by_poles + self.predicted_by_zeros);
    }
}

/// Within 16 bits.
fn saturated(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dominant_tone;

    // Half a second of 1,000 Hz at an eighth of full scale, as FFmpeg's encoder writes it.
    const TONE: &[u8] = include_bytes!("../tests/data/tone_1000hz.g722");

    #[test]
    fn a_tone_of_another_encoder_is_heard_at_its_level() {
        let mut sound = Vec::new();
        G722::default().decode_into(TONE, &mut sound);
        assert_eq!(sound.len(), TONE.len());
        let found = dominant_tone(&sound[400..]).expect("a tone");
        assert!((found.frequency_hz - 1_000.0).abs() < 1.0, "{found:?}");
        assert!((found.level_dbfs + 18.06).abs() < 0.5, "{found:?}");
        assert!(found.purity > 0.999, "{found:?}");
    }

    // Three tenths of a second of 5,000 Hz, as FFmpeg's encoder writes it.
    const HIGH_TONE: &[u8] = include_bytes!("../tests/data/tone_5000hz.g722");

    #[test]
    fn both_bands_are_heard() {
        for (octets, frequency_hz, level_dbfs) in [(TONE, 1_000.0, -18.06), (HIGH_TONE, 5_000.0, -21.07)] {
            let mut sound = Vec::new();
            G722Wide::default().decode_into(octets, &mut sound);
            assert_eq!(sound.len(), 2 * octets.len());
            // The measure counts by telephones' samples.
            let found = dominant_tone(&sound[800..]).expect("a tone");
            assert!((found.frequency_hz * 2.0 - frequency_hz).abs() < 2.0, "{found:?}");
            assert!((found.level_dbfs - level_dbfs).abs() < 0.5, "{found:?}");
            assert!(found.purity > 0.99, "{found:?}");
        }
    }

    // Octets at random, and what FFmpeg's decoder makes of them.
    #[test]
    fn both_bands_are_decoded_to_the_same_samples_as_by_another_decoder() {
        let expected: Vec<i16> = include_bytes!("../tests/data/noise_g722.s16be")
            .chunks_exact(2)
            .map(|sample| i16::from_be_bytes([sample[0], sample[1]]))
            .collect();
        let mut sound = Vec::new();
        G722Wide::default().decode_into(include_bytes!("../tests/data/noise.g722"), &mut sound);
        assert_eq!(sound, expected);
    }

    #[test]
    fn what_is_encoded_is_heard_at_its_level_by_either_decoder() {
        for (hz, level_dbfs) in [(1_000.0, -18.0), (300.0, -6.0), (3_000.0, -30.0), (700.0, -50.0)] {
            let mut samples = vec![0; 8_000];
            crate::Tone::sine(hz, level_dbfs).fill(&mut samples);
            let (mut octets, mut narrow, mut wide) = (Vec::new(), Vec::new(), Vec::new());
            G722Encoder::default().encode_into(&samples, &mut octets);
            assert_eq!(octets.len(), samples.len());
            G722::default().decode_into(&octets, &mut narrow);
            G722Wide::default().decode_into(&octets, &mut wide);
            for (rate, sound) in [(1.0, narrow), (2.0, wide)] {
                let found = dominant_tone(&sound[800..7_000]).expect("a tone");
                assert!((found.frequency_hz * rate - hz).abs() < 2.0, "{hz}: {found:?}");
                assert!((found.level_dbfs - level_dbfs).abs() < 0.5, "{hz}: {found:?}");
                assert!(found.purity > 0.99, "{hz}: {found:?}");
            }
        }
    }

    #[test]
    fn both_bands_are_encoded_as_by_another_encoder() {
        for octets in [TONE, HIGH_TONE] {
            let (mut sound, mut ours, mut again) = (Vec::new(), Vec::new(), Vec::new());
            G722Wide::default().decode_into(octets, &mut sound);
            G722WideEncoder::default().encode_into(&sound, &mut ours);
            assert_eq!(ours.len(), octets.len());
            G722Wide::default().decode_into(&ours, &mut again);
            let (wanted, found) = [&sound, &again]
                .map(|sound| dominant_tone(&sound[800..]).expect("a tone"))
                .into();
            assert!(
                (found.frequency_hz - wanted.frequency_hz).abs() < 1.0,
                "{found:?}"
            );
            assert!((found.level_dbfs - wanted.level_dbfs).abs() < 0.5, "{found:?}");
            assert!(found.purity > 0.98, "{found:?}");
        }
        let loud = [i16::MIN, i16::MAX, i16::MIN].repeat(20_000);
        let mut octets = Vec::new();
        G722WideEncoder::default().encode_into(&loud, &mut octets);
        assert_eq!(octets.len(), 30_000);
        assert!(octets.iter().all(|octet| octet & 0x3f >= 4));
    }

    #[test]
    fn silence_and_the_loudest_sound_are_encoded_without_an_overflow() {
        let mut encoder = G722Encoder::default();
        let mut rng = ringpost_base::Rng::from_number(8);
        let mut octets = Vec::new();
        encoder.encode_into(&[0; 8_000], &mut octets);
        let mut sound = Vec::new();
        G722::default().decode_into(&octets, &mut sound);
        assert!(
            crate::level_dbfs(&sound[100..]) < -70.0,
            "{}",
            crate::level_dbfs(&sound[100..])
        );
        for _ in 0..50_000 {
            let extreme = [i16::MIN, i16::MAX][rng.u32() as usize & 1];
            encoder.encode_into(&[extreme, rng.u32() as i16], &mut octets);
        }
        assert_eq!(octets.len(), 108_000);
        // Four codes are never sent (table 6 has no level for them).
        assert!(octets.iter().all(|octet| octet & 0x3f >= 4));
    }

    #[test]
    fn whatever_octets_come_are_some_sound() {
        let mut rng = ringpost_base::Rng::from_number(7);
        let bytes: Vec<u8> = (0..200_000).map(|_| rng.u32() as u8).collect();
        let mut decoder = G722::default();
        let mut sound = Vec::new();
        decoder.decode_into(&bytes, &mut sound);
        for code in [0x00, 0x04, 0x20, 0x3f] {
            decoder.decode_into(&[code; 20_000], &mut sound);
        }
        assert_eq!(sound.len(), 280_000);
        let mut wide = Vec::new();
        G722Wide::default().decode_into(&bytes, &mut wide);
        assert_eq!(wide.len(), 2 * bytes.len());
    }
}
