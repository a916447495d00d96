//! What a phone makes of the samples that arrive.

use ringpost_base::Instant;
use ringpost_codec::{ToneFound, dominant_tone, level_dbfs};
use std::time::Duration;

/// How much is listened to at once: long enough to tell tones apart, and for packets out of order to find their place.
const BLOCK_SAMPLES: usize = 1600;
/// Quieter than this is silence.
const SILENCE_DBFS: f64 = -45.0;
/// A sound with at least this share of its energy at one frequency is a tone: a pure one that lost a third of its packets
/// still is, one of a pair is not quite.
const PURE: f64 = 0.55;
/// Two tones as near as this are one.
const SAME_HZ: f64 = 8.0;
/// When nothing has come for so long, it is quiet.
const PATIENCE: Duration = Duration::from_millis(400);
/// A timestamp so far away begins a new stream, in samples.
const FAR: u32 = 16_000;

/// What is heard for the time being.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sound {
    /// Nothing arrives, or it is quiet.
    Silence,
    /// Mostly one frequency.
    Tone {
        /// Which.
        frequency_hz: f64,
        /// Its share of the energy, 0 to 1.
        purity: f64,
        /// How loud it all is, in dB below full scale.
        level_dbfs: f64,
    },
    /// Speech, music, noise, or more tones than one.
    Other,
}

impl Sound {
    /// Whether it is a tone within 8 Hz of this one.
    pub fn is_tone_of(&self, wanted_hz: f64) -> bool {
        matches!(self, Sound::Tone { frequency_hz, .. } if (frequency_hz - wanted_hz).abs() < SAME_HZ)
    }

    fn is_like(&self, other: &Sound) -> bool {
        match other {
            Sound::Tone { frequency_hz, .. } => self.is_tone_of(*frequency_hz),
            _ => self == other,
        }
    }
}

/// Puts samples in their order and listens to them, a fifth of a second at a time.
#[derive(Debug)]
pub(super) struct Ear {
    ssrc: Option<u32>,
    /// The timestamp of the block's first sample.
    start: u32,
    block: Vec<i16>,
    sound: Sound,
    quiet_at: Option<Instant>,
    tones_ms: Vec<(f64, u64)>,
}

/// Different tones that are counted in one call; further ones are not.
const TONES: usize = 16;

impl Default for Ear {
    fn default() -> Self {
        Ear {
            ssrc: None,
            start: 0,
            block: vec![0; BLOCK_SAMPLES],
            sound: Sound::Silence,
            quiet_at: None,
            tones_ms: Vec::new(),
        }
    }
}

impl Ear {
    pub(super) fn sound(&self) -> Sound {
        self.sound
    }

    /// For how long each tone has been heard.
    pub(super) fn tones_ms(&self) -> &[(f64, u64)] {
        &self.tones_ms
    }

    /// Takes one packet's samples; says so when another sound is heard than before.
    pub(super) fn handle_samples(
        &mut self,
        now: Instant,
        ssrc: u32,
        timestamp: u32,
        samples: &[i16],
    ) -> Option<Sound> {
        self.quiet_at = Some(now + PATIENCE);
        let behind = self.start.wrapping_sub(timestamp) as i32;
        let ahead = timestamp.wrapping_sub(self.start);
        if self.ssrc.replace(ssrc) != Some(ssrc)
            || (behind > 0 && behind as u32 > FAR)
            || (behind <= 0 && ahead > FAR)
        {
            self.start = timestamp;
            self.block.fill(0);
        } else if behind > 0 {
            // Too late: what it belongs to has been listened to.
            return None;
        }
        let mut changed = None;
        for (i, sample) in samples.iter().enumerate() {
            let mut at = timestamp.wrapping_add(i as u32).wrapping_sub(self.start) as usize;
            while at >= BLOCK_SAMPLES {
                changed = self.listen().or(changed);
                self.start = self.start.wrapping_add(BLOCK_SAMPLES as u32);
                at -= BLOCK_SAMPLES;
            }
            self.block[at] = *sample;
        }
        changed
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.quiet_at
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Sound> {
        self.quiet_at.take_if(|at| *at <= now)?;
        self.ssrc = None;
        self.turn_to(Sound::Silence)
    }

    fn listen(&mut self) -> Option<Sound> {
        let heard = match dominant_tone(&self.block) {
            _ if level_dbfs(&self.block) < SILENCE_DBFS => Sound::Silence,
            Some(ToneFound {
                frequency_hz,
                purity,
                level_dbfs,
            }) if purity >= PURE => Sound::Tone {
                frequency_hz,
                purity,
                level_dbfs,
            },
            _ => Sound::Other,
        };
        self.block.fill(0);
        self.count(heard);
        self.turn_to(heard)
    }

    fn count(&mut self, heard: Sound) {
        let block_ms = (BLOCK_SAMPLES / 8) as u64;
        let Sound::Tone { frequency_hz, .. } = heard else {
            return;
        };
        let known = self
            .tones_ms
            .iter()
            .position(|(hz, _)| (hz - frequency_hz).abs() < SAME_HZ);
        match known {
            Some(at) => self.tones_ms[at].1 += block_ms,
            None if self.tones_ms.len() < TONES => self.tones_ms.push((frequency_hz, block_ms)),
            None => (),
        }
    }

    fn turn_to(&mut self, heard: Sound) -> Option<Sound> {
        let changed = !heard.is_like(&self.sound);
        self.sound = heard;
        changed.then_some(heard)
    }
}

/// The milliseconds of all tones near one.
pub(super) fn sum_near(tones_ms: &[(f64, u64)], wanted_hz: f64) -> u64 {
    tones_ms
        .iter()
        .filter(|(hz, _)| (hz - wanted_hz).abs() < SAME_HZ)
        .map(|(_, ms)| ms)
        .sum()
}
