//! What a telephone hears of a track: its packets as linear samples at 8,000 a second in one channel.

use ringpost_base::limits;
use ringpost_codec::{G722, Law, Resampler, SAMPLE_RATE_HZ};
use ringpost_rtp::Packet;
use ringpost_sdp::Codec;

/// Decodes one track for a telephone.
///
/// It is fed the packets of the track in their order. What it gives stands on one timeline of its own: sound that follows
/// without a gap is without a seam, and a gap is as long as the publisher's timestamps say.
#[derive(Debug)]
pub struct Hearing {
    payload_type: u8,
    /// The clock of the packets' timestamps.
    clock_hz: u32,
    decoder: Decoder,
    resampler: Resampler,
    /// The timestamp of what would follow without a gap.
    expected: Option<u32>,
    /// Where the next sample that is given stands.
    next: u32,
}

#[derive(Debug)]
enum Decoder {
    Law(Law, usize),
    /// 16 bits in network byte order (RFC 3551 §4.5.11).
    L16(usize),
    G722(G722),
}

/// What is heard of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Where the first sample stands, in samples; it wraps.
    pub timestamp: u32,
    /// The samples.
    pub samples: Vec<i16>,
}

impl Hearing {
    /// For a codec; `None` where it cannot be decoded.
    pub fn new(codec: &Codec) -> Option<Self> {
        let channels = usize::from(codec.channels.max(1));
        let (decoder, rate_hz) = match codec.name.to_ascii_uppercase().as_str() {
            "PCMU" => (Decoder::Law(Law::Mu, channels), codec.clock_rate_hz),
            "PCMA" => (Decoder::Law(Law::A, channels), codec.clock_rate_hz),
            "L16" => (Decoder::L16(channels), codec.clock_rate_hz),
            //= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.2
            // Its clock is 8,000 Hz by an old mistake; and so many samples come out, since a telephone hears half its band.
            "G722" if channels == 1 => (Decoder::G722(G722::default()), SAMPLE_RATE_HZ),
            _ => return None,
        };
        // What is beyond that no microphone does, and a sample of it would be thousands of ours.
        if !(4_000..=192_000).contains(&codec.clock_rate_hz) {
            return None;
        }
        Some(Hearing {
            payload_type: codec.payload_type,
            clock_hz: codec.clock_rate_hz,
            decoder,
            resampler: Resampler::new(rate_hz, SAMPLE_RATE_HZ)?,
            expected: None,
            next: 0,
        })
    }

    /// The next packet of the track, whole; nothing is heard of one that is no RTP, or of another payload type.
    pub fn handle_packet(&mut self, datagram: &[u8]) -> Option<Heard> {
        let packet = Packet::parse(datagram).ok()?;
        if packet.payload_type() != self.payload_type || packet.payload().len() > limits::HEARD_PACKET_BYTES {
            return None;
        }
        let samples = self.decoder.decode(packet.payload());
        self.turn_to(packet.timestamp());
        self.expected = Some(packet.timestamp().wrapping_add(samples.len() as u32));
        let samples = self.resampler.push(&samples);
        let timestamp = self.next;
        self.next = self.next.wrapping_add(samples.len() as u32);
        (!samples.is_empty()).then_some(Heard { timestamp, samples })
    }

    /// A gap before a packet is one in what is heard. Some publishers' timestamps shake by a little: that is none.
    fn turn_to(&mut self, timestamp: u32) {
        let Some(expected) = self.expected else { return };
        let gap = i64::from(timestamp.wrapping_sub(expected) as i32);
        let shake = i64::from(self.clock_hz) / 200;
        if gap.abs() > shake {
            let gap = gap * i64::from(SAMPLE_RATE_HZ) / i64::from(self.clock_hz.max(1));
            self.next = self.next.wrapping_add(gap as u32);
        }
    }
}

impl Decoder {
    /// A payload as samples of one channel.
    fn decode(&mut self, payload: &[u8]) -> Vec<i16> {
        let mut samples = Vec::new();
        let channels = match self {
            Decoder::Law(law, channels) => {
                law.decode_into(payload, &mut samples);
                *channels
            }
            Decoder::L16(channels) => {
                let (pairs, _) = payload.as_chunks::<2>();
                samples.extend(pairs.iter().map(|pair| i16::from_be_bytes(*pair)));
                *channels
            }
            Decoder::G722(decoder) => {
                decoder.decode_into(payload, &mut samples);
                1
            }
        };
        match channels {
            1 => samples,
            _ => samples.chunks_exact(channels).map(mean).collect(),
        }
    }
}

fn mean(channels: &[i16]) -> i16 {
    let sum: i32 = channels.iter().map(|sample| i32::from(*sample)).sum();
    (sum / channels.len().max(1) as i32) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_codec::dominant_tone;
    use ringpost_rtp::Header;
    use std::f64::consts::TAU;

    fn packet(payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            marker: false,
            payload_type,
            sequence: 1,
            timestamp,
            ssrc: 1,
        };
        let mut bytes = Vec::new();
        header.write(payload, &mut bytes);
        bytes
    }

    /// What is heard of packets of 20 ms with a tone of 700 Hz in all channels, coded by `code`.
    fn hear(codec: &Codec, code: impl Fn(i16, &mut Vec<u8>)) -> Vec<i16> {
        let mut hearing = Hearing::new(codec).unwrap();
        let rate = codec.clock_rate_hz;
        let mut heard = Vec::new();
        for n in 0..50u32 {
            let mut payload = Vec::new();
            for i in 0..rate / 50 {
                let at = f64::from(n * (rate / 50) + i) / f64::from(rate);
                let sample = (8_000.0 * (TAU * 700.0 * at).sin()) as i16;
                (0..codec.channels.max(1)).for_each(|_| code(sample, &mut payload));
            }
            let timestamp = (u32::MAX - 5_000).wrapping_add(n * (rate / 50));
            let bytes = packet(codec.payload_type, timestamp, &payload);
            let part = hearing.handle_packet(&bytes).unwrap();
            assert_eq!(part.timestamp as usize, heard.len());
            heard.extend(part.samples);
        }
        heard
    }

    #[test]
    fn a_tone_is_heard_in_every_encoding_at_every_rate() {
        let l16 = |rate, channels| Codec {
            channels,
            ..Codec::new(97, "L16", rate)
        };
        let be = |sample: i16, out: &mut Vec<u8>| out.extend(sample.to_be_bytes());
        let heard = [
            hear(&Codec::pcmu(), |s, out| out.push(Law::Mu.encode(s))),
            hear(&Codec::pcma(), |s, out| out.push(Law::A.encode(s))),
            hear(&Codec::new(98, "PCMU", 16_000), |s, out| {
                out.push(Law::Mu.encode(s))
            }),
            hear(&l16(44_100, 2), be),
            hear(&l16(48_000, 1), be),
        ];
        for (n, sound) in heard.iter().enumerate() {
            assert!((7_900..=8_000).contains(&sound.len()), "{n}: {}", sound.len());
            let found = dominant_tone(&sound[400..]).expect("a tone");
            assert!(
                (found.frequency_hz - 700.0).abs() < 1.0 && found.purity > 0.998,
                "{n}: {found:?}"
            );
        }
    }

    #[test]
    fn a_gap_is_as_long_as_the_timestamps_say_and_a_shake_is_none() {
        let mut hearing = Hearing::new(&Codec::pcmu()).unwrap();
        let mut at = |timestamp| {
            let bytes = packet(0, timestamp, &[0xff; 160]);
            hearing.handle_packet(&bytes).unwrap().timestamp
        };
        assert_eq!(
            [at(1_000), at(1_160), at(1_323), at(1_963), at(1_803)],
            [0, 160, 320, 960, 800]
        );
    }

    #[test]
    fn what_is_not_of_the_track_is_not_heard() {
        let mut hearing = Hearing::new(&Codec::pcmu()).unwrap();
        for bytes in [
            &packet(13, 0, &[1; 4])[..],
            &packet(0, 0, &[]),
            &[],
            &packet(0, 0, &vec![0; limits::HEARD_PACKET_BYTES + 1]),
        ] {
            assert_eq!(hearing.handle_packet(bytes), None);
        }
        assert!(Hearing::new(&Codec::new(96, "H264", 90_000)).is_none());
        for rate in [0, 1, 3_999, 192_001, u32::MAX] {
            assert!(Hearing::new(&Codec::new(96, "L16", rate)).is_none());
        }
    }
}
