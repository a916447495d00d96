use crate::contained::Contained;
use syom::{DecodeOptions, Decoder};

/// Decodes AAC (ISO/IEC 14496-3: low complexity, with spectral band replication and parametric stereo where a stream has
/// them) into one channel.
///
/// What comes of a broken frame is silence of its length, and the next one is decoded as if it were the first.
pub struct Aac {
    config: Box<[u8]>,
    decoder: Contained<Box<Decoder>>,
    /// What the last whole frame was: samples, and how many of them are a second.
    last: Option<(usize, u32)>,
}

impl Aac {
    /// For what an AudioSpecificConfig says; `None` where that is no AAC that can be decoded.
    pub fn new(config: &[u8]) -> Option<Self> {
        Some(Aac {
            config: config.into(),
            decoder: Contained::new(make(config)?),
            last: None,
        })
    }

    /// Appends the samples of one frame to `out`, and says how many are a second; `None` while there has been none that was
    /// whole.
    pub fn decode_into(&mut self, frame: &[u8], out: &mut Vec<i16>) -> Option<u32> {
        let before = out.len();
        let config = &self.config;
        let decoded = self.decoder.run(
            || make(config),
            |decoder| {
                let mut rate_hz = None;
                let decoded = decoder.decode_au(frame, |frame| {
                    rate_hz = Some(frame.sample_rate);
                    let samples = frame.planar.first().copied().unwrap_or_default();
                    out.extend(samples.iter().map(|sample| to_i16(*sample)));
                    Ok(())
                });
                if decoded.is_err() {
                    // Afterwards it takes nothing more without that.
                    decoder.reset();
                    decoder.set_asc(config).ok()?;
                    return None;
                }
                rate_hz
            },
        );
        match decoded.flatten() {
            Some(rate_hz) => self.last = Some((out.len() - before, rate_hz)),
            None => {
                out.truncate(before);
                let (samples, _) = self.last?;
                out.resize(before + samples, 0);
            }
        }
        self.last.map(|(_, rate_hz)| rate_hz)
    }
}

impl std::fmt::Debug for Aac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aac").field("config", &self.config).finish()
    }
}

fn make(config: &[u8]) -> Option<Box<Decoder>> {
    // Its own bounds on length are meant for files; a mount has no end.
    let options = DecodeOptions::speech().with_max_duration_secs(f64::INFINITY);
    Decoder::from_asc(config, options).ok().map(Box::new)
}

fn to_i16(sample: f32) -> i16 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dominant_tone, resample};

    // A second of 1,000 Hz at an eighth of full scale in each channel, as FFmpeg's encoder writes it: each frame behind its
    // length in two octets.
    const STEREO: &[u8] = include_bytes!("../tests/data/tone_1000hz_48000_stereo.aac_frames");
    const MONO: &[u8] = include_bytes!("../tests/data/tone_1000hz_44100_mono.aac_frames");
    const STEREO_CONFIG: &[u8] = &[0x11, 0x90];
    const MONO_CONFIG: &[u8] = &[0x12, 0x08];

    #[test]
    fn a_tone_of_another_encoder_is_heard_at_its_level() {
        for (frames, config, rate) in [(STEREO, STEREO_CONFIG, 48_000), (MONO, MONO_CONFIG, 44_100)] {
            let mut aac = Aac::new(config).expect("a decoder");
            let mut sound = Vec::new();
            for frame in crate::pieces::packets(frames) {
                assert_eq!(aac.decode_into(frame, &mut sound), Some(rate));
            }
            let sound = resample(&sound, rate, 8_000);
            assert!((8_000..=8_600).contains(&sound.len()), "{}", sound.len());
            let found = dominant_tone(&sound[1_600..7_200]).expect("a tone");
            assert!((found.frequency_hz - 1_000.0).abs() < 1.0, "{found:?}");
            assert!((found.level_dbfs + 18.06).abs() < 0.5, "{found:?}");
            assert!(found.purity > 0.99, "{found:?}");
        }
    }

    #[test]
    fn a_broken_frame_is_silence_of_its_length_and_the_next_is_heard() {
        let frames: Vec<_> = crate::pieces::packets(MONO).collect();
        let mut aac = Aac::new(MONO_CONFIG).expect("a decoder");
        let mut sound = Vec::new();
        assert_eq!(aac.decode_into(&[], &mut sound), None);
        assert!(sound.is_empty());
        for frame in &frames[..20] {
            aac.decode_into(frame, &mut sound);
        }
        let before = sound.len();
        assert_eq!(aac.decode_into(&frames[20][..10], &mut sound), Some(44_100));
        assert_eq!(sound[before..], [0; 1_024]);
        for frame in &frames[20..24] {
            aac.decode_into(frame, &mut sound);
        }
        assert_eq!(sound.len(), before + 5 * 1_024);
        assert!(sound[before + 3 * 1_024..].iter().any(|sample| *sample > 3_500));
    }

    #[test]
    fn whatever_octets_come_are_a_frame_at_most() {
        let mut rng = ringpost_base::Rng::from_number(7);
        let frames: Vec<_> = [(MONO, MONO_CONFIG), (STEREO, STEREO_CONFIG)]
            .into_iter()
            .flat_map(|(frames, config)| crate::pieces::packets(frames).map(move |frame| (frame, config)))
            .collect();
        let mut decoders = [MONO_CONFIG, STEREO_CONFIG].map(|config| Aac::new(config).expect("a decoder"));
        for _ in 0..3_000 {
            let (frame, config) = frames[rng.u32() as usize % frames.len()];
            let aac = &mut decoders[usize::from(config == STEREO_CONFIG)];
            let mut sound = Vec::new();
            aac.decode_into(&crate::pieces::broken(frame, &mut rng), &mut sound);
            assert!(sound.len() <= 4 * 2_048, "{}", sound.len());
        }
        for config in [&[][..], &[0xff], &[0x17, 0x80, 0, 0], &[0xf8, 0xe6, 0x30, 0x00]] {
            assert!(Aac::new(config).is_none(), "{config:x?}");
        }
    }
}
