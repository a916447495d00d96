use std::f64::consts::TAU;
use std::path::Path;

/// The sound of a WAV file with 16-bit samples, as phones record it: its first channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Wav {
    /// Samples a second.
    pub rate_hz: u32,
    /// The samples, -1.0 to 1.0.
    pub samples: Vec<f64>,
}

impl Wav {
    /// Reads a file; what was cut off in the middle of writing (lengths of zero) is read to its end.
    pub fn read(path: &Path) -> Option<Wav> {
        Wav::parse(&std::fs::read(path).ok()?)
    }

    /// Reads a file's bytes: PCM of 16 bits, A-law or µ-law.
    pub fn parse(bytes: &[u8]) -> Option<Wav> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (mut at, mut format) = (12, None);
        loop {
            let (name, len) = (bytes.get(at..at + 4)?, u32_at(at + 4)? as usize);
            match name {
                b"fmt " => format = Some((u16_at(at + 8)?, usize::from(u16_at(at + 10)?), u32_at(at + 12)?)),
                b"data" => {
                    let (coding, channels, rate_hz) = format?;
                    let end = if len == 0 {
                        bytes.len()
                    } else {
                        (at + 8 + len).min(bytes.len())
                    };
                    let samples = decode(coding, &bytes[at + 8..end])?
                        .into_iter()
                        .step_by(channels.max(1))
                        .collect();
                    return Some(Wav { rate_hz, samples });
                }
                _ => {}
            }
            at += 8 + len + len % 2;
        }
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate_hz)
    }

    /// For how many seconds one tone holds at least `share` of the sound's power, looked at in tenths of a second; what
    /// is quieter than -40 dB is silence.
    pub fn tone_seconds(&self, frequency_hz: f64, share: f64) -> f64 {
        let window = self.rate_hz as usize / 10;
        let heard = self.samples.chunks_exact(window.max(1)).filter(|samples| {
            let power = samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64;
            power > 1e-4 && self.power_at(samples, frequency_hz) / power > share
        });
        heard.count() as f64 / 10.0
    }

    /// The power of one frequency, by correlation with its sine and cosine.
    fn power_at(&self, samples: &[f64], frequency_hz: f64) -> f64 {
        let step = TAU * frequency_hz / f64::from(self.rate_hz);
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            re += sample * (step * n as f64).cos();
            im += sample * (step * n as f64).sin();
        }
        let len = samples.len() as f64;
        2.0 * (re * re + im * im) / (len * len)
    }
}

fn decode(coding: u16, data: &[u8]) -> Option<Vec<f64>> {
    Some(match coding {
        1 => data
            .chunks_exact(2)
            .map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0)
            .collect(),
        6 => data.iter().map(|byte| alaw(*byte)).collect(),
        7 => data.iter().map(|byte| mulaw(*byte)).collect(),
        _ => return None,
    })
}

/// G.711 table 1a.
fn alaw(byte: u8) -> f64 {
    let byte = byte ^ 0x55;
    let (segment, step) = (u32::from(byte >> 4 & 7), f64::from(byte & 15));
    let magnitude = match segment {
        0 => step * 2.0 + 1.0,
        _ => (step * 2.0 + 33.0) * f64::from(1 << (segment - 1)),
    };
    (if byte & 0x80 == 0 { -magnitude } else { magnitude }) / 4_096.0
}

/// G.711 table 2a.
fn mulaw(byte: u8) -> f64 {
    let byte = !byte;
    let magnitude = (f64::from(byte & 15) * 2.0 + 33.0) * f64::from(1u32 << (byte >> 4 & 7)) - 33.0;
    (if byte & 0x80 != 0 { -magnitude } else { magnitude }) / 8_192.0
}

/// Writes a file with a tone at half of full scale: 16 bits, one channel.
pub fn tone_wav(path: &Path, frequency_hz: f64, rate_hz: u32, seconds: u32) {
    let samples = (0..rate_hz * seconds).map(|n| {
        let phase = TAU * frequency_hz * f64::from(n) / f64::from(rate_hz);
        (phase.sin() * 16_384.0) as i16
    });
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut file = Vec::with_capacity(44 + data.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data.len() as u32).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&rate_hz.to_le_bytes());
    file.extend_from_slice(&(rate_hz * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&(data.len() as u32).to_le_bytes());
    file.extend_from_slice(&data);
    std::fs::write(path, file).expect("the test's folder can be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_heard_in_its_file_and_another_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        tone_wav(&path, 440.0, 8_000, 2);
        let wav = Wav::read(&path).unwrap();
        assert_eq!((wav.rate_hz, wav.seconds()), (8_000, 2.0));
        assert!(wav.tone_seconds(440.0, 0.9) > 1.9);
        assert_eq!(wav.tone_seconds(620.0, 0.5), 0.0);
    }

    #[test]
    fn g711_is_told_apart_by_its_coding() {
        assert!((mulaw(0x80) - 0.98).abs() < 0.02 && mulaw(0xff).abs() < 1e-9);
        assert!((alaw(0xaa) - 0.98).abs() < 0.02 && alaw(0xd5).abs() < 1e-3);
    }
}
