use crate::contained::Contained;
use opus_decoder::OpusDecoder;

/// The longest packet: 120 ms (RFC 6716 §3.2.5).
const MOST: usize = Opus::RATE_HZ as usize / 1_000 * 120;

/// Decodes Opus (RFC 6716) into one channel.
///
/// Whatever comes, it is some sound or none, and takes the memory of one packet.
pub struct Opus {
    decoder: Contained<Box<OpusDecoder>>,
    samples: Box<[i16; MOST]>,
}

impl Opus {
    /// How many samples a second are given, whatever the sender coded.
    pub const RATE_HZ: u32 = 16_000;

    /// A decoder that has heard nothing.
    pub fn new() -> Option<Self> {
        Some(Opus {
            decoder: Contained::new(make()?),
            samples: Box::new([0; MOST]),
        })
    }

    /// Appends the samples of one packet to `out`: none, if it is no Opus.
    pub fn decode_into(&mut self, packet: &[u8], out: &mut Vec<i16>) {
        if packet.is_empty() {
            return;
        }
        let samples = &mut self.samples[..];
        let decoded = self
            .decoder
            .run(make, |decoder| decoder.decode(packet, samples, false));
        if let Some(Ok(count)) = decoded {
            out.extend_from_slice(self.samples.get(..count).unwrap_or_default());
        }
    }
}

impl std::fmt::Debug for Opus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opus")
    }
}

fn make() -> Option<Box<OpusDecoder>> {
    OpusDecoder::new(Opus::RATE_HZ, 1).ok().map(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dominant_tone, resample};

    // A second of 1,000 Hz at an eighth of full scale, as libopus writes it: each packet behind its length in two octets.
    const MUSIC: &[u8] = include_bytes!("../tests/data/tone_1000hz_stereo.opus_packets");
    // The same for speech, in packets of 60 ms.
    const SPEECH: &[u8] = include_bytes!("../tests/data/tone_1000hz_speech.opus_packets");

    #[test]
    fn a_tone_of_another_encoder_is_heard_at_its_level() {
        for packets in [MUSIC, SPEECH] {
            let mut opus = Opus::new().expect("a decoder");
            let mut sound = Vec::new();
            for packet in crate::pieces::packets(packets) {
                opus.decode_into(packet, &mut sound);
            }
            assert!((15_000..=18_000).contains(&sound.len()), "{}", sound.len());
            let sound = resample(&sound, Opus::RATE_HZ, 8_000);
            let found = dominant_tone(&sound[3_600..7_600]).expect("a tone");
            assert!((found.frequency_hz - 1_000.0).abs() < 1.0, "{found:?}");
            assert!((found.level_dbfs + 18.06).abs() < 0.7, "{found:?}");
            assert!(found.purity > 0.99, "{found:?}");
        }
    }

    #[test]
    fn whatever_octets_come_are_some_sound_or_none() {
        let mut rng = ringpost_base::Rng::from_number(7);
        let mut opus = Opus::new().expect("a decoder");
        let packets: Vec<_> = [MUSIC, SPEECH]
            .into_iter()
            .flat_map(crate::pieces::packets)
            .collect();
        for _ in 0..3_000 {
            let packet = packets[rng.u32() as usize % packets.len()];
            let broken = crate::pieces::broken(packet, &mut rng);
            let mut sound = Vec::new();
            opus.decode_into(&broken, &mut sound);
            assert!(sound.len() <= MOST);
        }
    }
}
