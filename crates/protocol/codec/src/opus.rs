use crate::SAMPLE_RATE_HZ;
use crate::contained::Contained;
use ropus::{Application, Bitrate, Channels, DecodeMode, Decoder, Encoder};

/// The longest packet: 120 ms (RFC 6716 §3.2.5).
const MOST: usize = Opus::RATE_HZ as usize / 1_000 * 120;

/// Decodes Opus (RFC 6716) into one channel.
///
/// Whatever comes, it is some sound or none, and takes the memory of one packet.
pub struct Opus {
    decoder: Contained<Box<Decoder>>,
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
        let decoded = self.decoder.run(make, |decoder| {
            decoder.decode(packet, samples, DecodeMode::Normal)
        });
        if let Some(Ok(count)) = decoded {
            out.extend_from_slice(self.samples.get(..count).unwrap_or_default());
        }
    }
}

/// Encodes a telephone's sound as Opus for speech (RFC 6716), in packets of 20 ms.
pub(crate) struct OpusEncoder {
    encoder: Contained<Box<Encoder>>,
}

/// What RFC 7587 §3.1.1 finds good for narrowband speech, and a little for music on hold.
const BITRATE_BPS: u32 = 16_000;
/// Of ten: what is beyond is not heard in a telephone's band, and costs twice as much.
const COMPLEXITY: u8 = 5;
/// A packet at that bit rate has 40 octets; none has more than these.
const MOST_OCTETS: usize = 400;

impl OpusEncoder {
    /// The samples of a packet.
    pub(crate) const FRAME: usize = SAMPLE_RATE_HZ as usize / 50;

    /// An encoder that has said nothing.
    pub(crate) fn new() -> Option<Self> {
        Some(OpusEncoder {
            encoder: Contained::new(make_encoder()?),
        })
    }

    /// Appends a packet of these samples, of which there are 8,000 a second, to `out`; nothing, unless they are
    /// [`FRAME`](Self::FRAME).
    pub(crate) fn encode_into(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        if samples.len() != Self::FRAME {
            return;
        }
        let mut packet = [0; MOST_OCTETS];
        let encoded = self
            .encoder
            .run(make_encoder, |encoder| encoder.encode(samples, &mut packet));
        if let Some(Ok(length)) = encoded {
            out.extend_from_slice(packet.get(..length).unwrap_or_default());
        }
    }
}

impl std::fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusEncoder")
    }
}

fn make_encoder() -> Option<Box<Encoder>> {
    let encoder = Encoder::builder(SAMPLE_RATE_HZ, Channels::Mono, Application::Voip)
        .bitrate(Bitrate::Bits(BITRATE_BPS))
        .complexity(COMPLEXITY)
        .build();
    encoder.ok().map(Box::new)
}

impl std::fmt::Debug for Opus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opus")
    }
}

fn make() -> Option<Box<Decoder>> {
    Decoder::new(Opus::RATE_HZ, Channels::Mono).ok().map(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dominant_tone, resample};

    // A second of 1,000 Hz at an eighth of full scale, as libopus writes it: each packet behind its length in two octets.
    const MUSIC: &[u8] = include_bytes!("../tests/data/tone_1000hz_stereo.opus_packets");
    // The same for speech, in packets of 60 ms.
    const SPEECH: &[u8] = include_bytes!("../tests/data/tone_1000hz_speech.opus_packets");
    // The same of a telephone's band.
    const NARROWBAND: &[u8] = include_bytes!("../tests/data/tone_1000hz_narrowband.opus_packets");

    #[test]
    fn a_tone_of_another_encoder_is_heard_at_its_level() {
        for packets in [MUSIC, SPEECH, NARROWBAND] {
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
    fn what_is_encoded_is_heard_at_its_level() {
        let mut samples = vec![0; 8_000];
        crate::Tone::sine(1_000.0, -18.0).fill(&mut samples);
        let (mut encoder, mut decoder) = (
            OpusEncoder::new().expect("an encoder"),
            Opus::new().expect("a decoder"),
        );
        let (mut sound, mut octets) = (Vec::new(), 0);
        for frame in samples.chunks_exact(OpusEncoder::FRAME) {
            let mut packet = Vec::new();
            encoder.encode_into(frame, &mut packet);
            octets += packet.len();
            decoder.decode_into(&packet, &mut sound);
        }
        assert_eq!(sound.len(), Opus::RATE_HZ as usize);
        assert!((1_000..=3_000).contains(&octets), "{octets} octets");
        let sound = resample(&sound, Opus::RATE_HZ, 8_000);
        let found = dominant_tone(&sound[3_600..7_600]).expect("a tone");
        assert!((found.frequency_hz - 1_000.0).abs() < 1.0, "{found:?}");
        assert!((found.level_dbfs + 18.0).abs() < 1.0, "{found:?}");
        assert!(found.purity > 0.98, "{found:?}");
    }

    #[test]
    fn a_frame_is_twenty_milliseconds_and_whatever_it_holds_becomes_a_packet() {
        let mut encoder = OpusEncoder::new().expect("an encoder");
        let mut packet = Vec::new();
        encoder.encode_into(&[0; OpusEncoder::FRAME - 1], &mut packet);
        assert!(packet.is_empty());
        let mut rng = ringpost_base::Rng::from_number(9);
        for n in 0..500 {
            let frame: Vec<i16> = (0..OpusEncoder::FRAME)
                .map(|_| match n % 5 {
                    0 => i16::MIN,
                    1 => [i16::MIN, i16::MAX][rng.u32() as usize & 1],
                    2 => 0,
                    _ => rng.u32() as i16,
                })
                .collect();
            packet.clear();
            encoder.encode_into(&frame, &mut packet);
            assert!((1..=MOST_OCTETS).contains(&packet.len()), "{n}: {}", packet.len());
        }
    }

    #[test]
    fn whatever_octets_come_are_some_sound_or_none() {
        let mut rng = ringpost_base::Rng::from_number(7);
        let mut opus = Opus::new().expect("a decoder");
        let packets: Vec<_> = [MUSIC, SPEECH, NARROWBAND]
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
