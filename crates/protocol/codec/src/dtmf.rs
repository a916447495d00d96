use crate::goertzel::Windowed;
use crate::level_dbfs;

const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] = [
    ['1', '2', '3', 'A'],
    ['4', '5', '6', 'B'],
    ['7', '8', '9', 'C'],
    ['*', '0', '#', 'D'],
];

/// The low and the high frequency of a key (ITU-T Q.23); `None` for what is no key.
pub fn dtmf_frequencies_hz(digit: char) -> Option<(f64, f64)> {
    let digit = digit.to_ascii_uppercase();
    let row = KEYS.iter().position(|row| row.contains(&digit))?;
    let column = KEYS[row].iter().position(|key| *key == digit)?;
    Some((LOW_HZ[row], HIGH_HZ[column]))
}

/// Hears digits in the sound itself, from phones that send them neither as telephone-event nor in INFO.
///
/// A digit counts when it lasts 40 ms, after a pause of as long (ITU-T Q.24 asks for 40 and 40).
#[derive(Clone, Debug, Default)]
pub struct DtmfDetector {
    block: Vec<i16>,
    /// What the last block held.
    last: Option<char>,
    /// What was reported and still sounds.
    sounding: Option<char>,
}

/// 20 ms: narrow enough bands to tell the keys apart, short enough to see a digit of 40 ms twice.
const BLOCK_SAMPLES: usize = 160;

impl DtmfDetector {
    /// Takes the next samples, and gives each digit that began in them, once.
    pub fn push(&mut self, samples: &[i16]) -> Vec<char> {
        let mut digits = Vec::new();
        for sample in samples {
            self.block.push(*sample);
            if self.block.len() == BLOCK_SAMPLES {
                let key = key_in(&self.block);
                self.block.clear();
                // Two blocks alike make a digit or a pause, so that neither noise nor a lost packet does.
                if key == self.last && key != self.sounding {
                    self.sounding = key;
                    digits.extend(key);
                }
                self.last = key;
            }
        }
        digits
    }
}

fn key_in(block: &[i16]) -> Option<char> {
    if level_dbfs(block) < -40.0 {
        return None;
    }
    let block = Windowed::new(block);
    let (row, low) = strongest(&block, &LOW_HZ);
    let (column, high) = strongest(&block, &HIGH_HZ);
    // Both together are nearly all there is, and neither drowns the other (8 dB of twist).
    let balanced = low < high * 6.3 && high < low * 6.3;
    (low + high > 0.75 && balanced).then_some(KEYS[row][column])
}

fn strongest(block: &Windowed, frequencies_hz: &[f64; 4]) -> (usize, f64) {
    frequencies_hz
        .iter()
        .map(|hz| block.strength(*hz))
        .enumerate()
        .fold(
            (0, 0.0),
            |best, found| if found.1 > best.1 { found } else { best },
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Law, Tone};

    fn dialled(text: &str, on_ms: usize, off_ms: usize) -> Vec<i16> {
        let mut samples = vec![0; 133];
        for digit in text.chars() {
            let mut tone = vec![0; on_ms * 8];
            Tone::dtmf(digit).expect("a key").fill(&mut tone);
            samples.extend(tone);
            samples.extend(vec![0; off_ms * 8]);
        }
        samples
            .iter()
            .map(|sample| Law::A.decode(Law::A.encode(*sample)))
            .collect()
    }

    #[test]
    fn every_key_is_heard_once_also_when_it_is_repeated() {
        let text = "1234567890*#ABCD1155";
        for (on_ms, off_ms) in [(100, 100), (65, 65), (400, 80)] {
            let heard: String = DtmfDetector::default()
                .push(&dialled(text, on_ms, off_ms))
                .iter()
                .collect();
            assert_eq!(heard, text);
        }
    }

    #[test]
    fn a_single_tone_or_noise_is_no_digit() {
        let mut detector = DtmfDetector::default();
        for hz in [440.0, 697.0, 941.0, 1336.0, 1004.0] {
            let mut samples = vec![0; 8000];
            Tone::sine(hz, -10.0).fill(&mut samples);
            assert!(detector.push(&samples).is_empty());
        }
        let mut rng = ringpost_base::Rng::from_number(1);
        let noise: Vec<i16> = (0..80_000).map(|_| (rng.u32() as i16) / 4).collect();
        assert!(detector.push(&noise).is_empty());
        assert_eq!(dtmf_frequencies_hz('x'), None);
        assert_eq!(dtmf_frequencies_hz('a'), Some((697.0, 1633.0)));
    }
}
