//! What a telephone hears of sound that is coded and comes in pieces: linear samples at 8,000 a second in one channel.

use crate::{Aac, G722, Law, Opus, Resampler, SAMPLE_RATE_HZ};

/// How sound is coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coding {
    /// G.711, so many channels.
    G711(Law, u8),
    /// Linear samples of 16 bits in network byte order (RFC 3551 §4.5.11), so many channels.
    L16(u8),
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus.
    Opus,
    /// AAC, with its AudioSpecificConfig.
    Aac(Box<[u8]>),
}

/// Decodes one source.
///
/// What it gives stands on one timeline of its own: sound that follows without a gap is without a seam, and a gap is as long as
/// the source's timestamps say.
#[derive(Debug)]
pub struct Ear {
    decoder: Decoder,
    /// The clock of the timestamps.
    clock_hz: u32,
    /// From which rate it resamples.
    resampler: (u32, Resampler),
    /// The timestamp of what would follow without a gap.
    expected: Option<u32>,
    /// Where the next sample that is given stands.
    next: u32,
}

#[derive(Debug)]
enum Decoder {
    Law(Law, usize),
    L16(usize),
    G722(Box<G722>),
    Opus(Box<Opus>),
    Aac(Box<Aac>),
}

/// What is heard of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Where the first sample stands, in samples; it wraps.
    pub timestamp: u32,
    /// The samples.
    pub samples: Vec<i16>,
}

impl Ear {
    /// For sound whose timestamps count by `clock_hz`; `None` where it cannot be decoded.
    pub fn new(coding: &Coding, clock_hz: u32) -> Option<Self> {
        // What is beyond that no microphone does, and a sample of it would be thousands of ours.
        if !(4_000..=192_000).contains(&clock_hz) {
            return None;
        }
        let channels = |channels: &u8| usize::from(*channels).max(1);
        let (decoder, rate_hz) = match coding {
            Coding::G711(law, count) => (Decoder::Law(*law, channels(count)), clock_hz),
            Coding::L16(count) => (Decoder::L16(channels(count)), clock_hz),
            //= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.2
            // Its clock is 8,000 Hz by an old mistake; and so many samples come out, since a telephone hears half its band.
            Coding::G722 => (Decoder::G722(Box::default()), SAMPLE_RATE_HZ),
            Coding::Opus => (Decoder::Opus(Box::new(Opus::new()?)), Opus::RATE_HZ),
            // The frames tell the rate, which is not always their clock's.
            Coding::Aac(config) => (Decoder::Aac(Box::new(Aac::new(config)?)), clock_hz),
        };
        Some(Ear {
            decoder,
            clock_hz,
            resampler: (rate_hz, Resampler::new(rate_hz, SAMPLE_RATE_HZ)?),
            expected: None,
            next: 0,
        })
    }

    /// The next piece of the source, whole: a payload, a packet of Opus, a frame of AAC.
    pub fn hear(&mut self, timestamp: u32, piece: &[u8]) -> Option<Heard> {
        let (samples, rate_hz) = self.decode(piece);
        self.turn_to(timestamp);
        let units = samples.len() as u64 * u64::from(self.clock_hz) / u64::from(rate_hz);
        self.expected = Some(timestamp.wrapping_add(units as u32));
        if self.resampler.0 != rate_hz {
            self.resampler = (rate_hz, Resampler::new(rate_hz, SAMPLE_RATE_HZ)?);
        }
        let samples = self.resampler.1.push(&samples);
        let timestamp = self.next;
        self.next = self.next.wrapping_add(samples.len() as u32);
        (!samples.is_empty()).then_some(Heard { timestamp, samples })
    }

    /// A gap before a piece is one in what is heard. Some sources' timestamps shake by a little: that is none.
    fn turn_to(&mut self, timestamp: u32) {
        let Some(expected) = self.expected else { return };
        let gap = i64::from(timestamp.wrapping_sub(expected) as i32);
        let shake = i64::from(self.clock_hz) / 200;
        if gap.abs() > shake {
            let gap = gap * i64::from(SAMPLE_RATE_HZ) / i64::from(self.clock_hz);
            self.next = self.next.wrapping_add(gap as u32);
        }
    }

    /// A piece as samples of one channel, and how many of them are a second.
    fn decode(&mut self, piece: &[u8]) -> (Vec<i16>, u32) {
        let mut samples = Vec::new();
        let mut rate_hz = self.resampler.0;
        let channels = match &mut self.decoder {
            Decoder::Law(law, channels) => {
                law.decode_into(piece, &mut samples);
                *channels
            }
            Decoder::L16(channels) => {
                let (pairs, _) = piece.as_chunks::<2>();
                samples.extend(pairs.iter().map(|pair| i16::from_be_bytes(*pair)));
                *channels
            }
            Decoder::G722(decoder) => {
                decoder.decode_into(piece, &mut samples);
                1
            }
            Decoder::Opus(decoder) => {
                decoder.decode_into(piece, &mut samples);
                1
            }
            Decoder::Aac(decoder) => {
                rate_hz = decoder.decode_into(piece, &mut samples).unwrap_or(rate_hz);
                1
            }
        };
        if channels > 1 {
            samples = samples.chunks_exact(channels).map(mean).collect();
        }
        (samples, rate_hz)
    }
}

fn mean(channels: &[i16]) -> i16 {
    let sum: i32 = channels.iter().map(|sample| i32::from(*sample)).sum();
    (sum / channels.len().max(1) as i32) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dominant_tone;
    use crate::pieces::packets;

    const STEREO: &[u8] = include_bytes!("../tests/data/tone_1000hz_48000_stereo.aac_frames");
    const SPEECH: &[u8] = include_bytes!("../tests/data/tone_1000hz_speech.opus_packets");

    #[test]
    fn frames_that_follow_each_other_are_without_a_seam_and_a_lost_one_is_a_gap() {
        let aac = Coding::Aac([0x11, 0x90].into());
        for (coding, clock, pieces, units, samples) in [
            (aac, 48_000, STEREO, 1_024, 170),
            (Coding::Opus, 48_000, SPEECH, 2_880, 480),
        ] {
            let mut ear = Ear::new(&coding, clock).expect("an ear");
            let begin = u32::MAX - 9_000;
            let (mut heard, mut gaps) = (Vec::new(), Vec::new());
            for (n, piece) in packets(pieces).enumerate().filter(|(n, _)| *n != 10) {
                let part = ear
                    .hear(begin.wrapping_add(n as u32 * units), piece)
                    .expect("sound");
                if part.timestamp as usize != heard.len() {
                    gaps.push(part.timestamp as usize - heard.len());
                    heard.resize(part.timestamp as usize, 0);
                }
                heard.extend(part.samples);
            }
            assert_eq!(gaps, [samples], "{coding:?}");
            let found = dominant_tone(&heard[5_600..7_600]).expect("a tone");
            assert!(
                (found.frequency_hz - 1_000.0).abs() < 1.0,
                "{coding:?}: {found:?}"
            );
        }
    }

    #[test]
    fn an_empty_piece_is_nothing() {
        for coding in [Coding::Opus, Coding::G722, Coding::Aac([0x11, 0x90].into())] {
            assert_eq!(Ear::new(&coding, 48_000).expect("an ear").hear(0, &[]), None);
        }
    }
}
