use crate::g722::G722Encoder;
use crate::opus::OpusEncoder;
use crate::{Coding, Law};

/// Codes a telephone's sound for one stream, packet by packet: the counterpart of [`Ear`](crate::Ear).
#[derive(Debug)]
pub struct Encoder(Kind);

#[derive(Debug)]
enum Kind {
    Law(Law),
    G722(Box<G722Encoder>),
    Opus(Box<OpusEncoder>),
}

impl Encoder {
    /// The samples of a packet of 20 ms.
    pub const FRAME: usize = OpusEncoder::FRAME;

    /// For a coding of one channel; `None` where it can only be decoded.
    pub fn new(coding: &Coding) -> Option<Self> {
        match coding {
            Coding::G711(law, 1) => Some(Encoder(Kind::Law(*law))),
            Coding::G722 => Some(Encoder(Kind::G722(Box::default()))),
            Coding::Opus => Some(Encoder(Kind::Opus(Box::new(OpusEncoder::new()?)))),
            Coding::G711(..) | Coding::L16(_) | Coding::Aac(_) => None,
        }
    }

    /// The payload for the next [`FRAME`](Self::FRAME) samples, of which there are 8,000 a second.
    pub fn encode(&mut self, samples: &[i16; Self::FRAME]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(Self::FRAME);
        match &mut self.0 {
            Kind::Law(law) => payload.extend(samples.iter().map(|sample| law.encode(*sample))),
            Kind::G722(encoder) => encoder.encode_into(samples, &mut payload),
            Kind::Opus(encoder) => encoder.encode_into(samples, &mut payload),
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ear, Tone, dominant_tone};

    #[test]
    fn an_ear_hears_what_is_coded_without_a_seam() {
        for (coding, clock_rate_hz) in [
            (Coding::G711(Law::Mu, 1), 8_000),
            (Coding::G711(Law::A, 1), 8_000),
            (Coding::G722, 8_000),
            (Coding::Opus, 48_000),
        ] {
            let mut encoder = Encoder::new(&coding).expect("an encoder");
            let mut ear = Ear::new(&coding, clock_rate_hz).expect("an ear");
            let mut tone = Tone::sine(440.0, -12.0);
            let mut sound = Vec::new();
            for n in 0..100u32 {
                let mut frame = [0; Encoder::FRAME];
                tone.fill(&mut frame);
                let timestamp = (u32::MAX - 9_000).wrapping_add(n * clock_rate_hz / 50);
                let heard = ear.hear(timestamp, &encoder.encode(&frame)).expect("sound");
                assert_eq!(heard.timestamp as usize, sound.len(), "{coding:?}");
                sound.extend(heard.samples);
            }
            let found = dominant_tone(&sound[1_600..15_600]).expect("a tone");
            assert!((found.frequency_hz - 440.0).abs() < 1.0, "{coding:?}: {found:?}");
            assert!((found.level_dbfs + 12.0).abs() < 1.0, "{coding:?}: {found:?}");
        }
    }

    #[test]
    fn what_can_only_be_decoded_has_no_encoder() {
        for coding in [
            Coding::L16(1),
            Coding::G711(Law::A, 2),
            Coding::Aac([0x11, 0x90].into()),
        ] {
            assert!(Encoder::new(&coding).is_none());
        }
    }
}
