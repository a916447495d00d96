//! What a leg says and hears that we code and decode ourselves.

use crate::jitter_buffer::FRAME;
use crate::tap::coding_of;
use ringpost_base::Instant;
use ringpost_codec::{Coding, Ear, Encoder, Heard, Law};
use ringpost_sdp::Codec;
use std::time::Duration;

/// How speech is coded that we hear and say ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    G711(Law),
    G722,
    Opus,
}

impl Spoken {
    /// `None` for a format that is passed on at most.
    pub(crate) fn of(codec: &Codec) -> Option<Self> {
        let (spoken, channels) = match coding_of(codec)? {
            Coding::G711(law, channels) => (Spoken::G711(law), channels),
            Coding::G722 => (Spoken::G722, 1),
            //= https://www.rfc-editor.org/rfc/rfc7587#section-7
            Coding::Opus => (Spoken::Opus, codec.channels / 2),
            Coding::L16(_) | Coding::Aac(_) => return None,
        };
        (channels == 1 && codec.clock_rate_hz == spoken.clock_rate_hz()).then_some(spoken)
    }

    fn coding(self) -> Coding {
        match self {
            Spoken::G711(law) => Coding::G711(law, 1),
            Spoken::G722 => Coding::G722,
            Spoken::Opus => Coding::Opus,
        }
    }

    /// The clock of its timestamps.
    pub(crate) fn clock_rate_hz(self) -> u32 {
        match self {
            //= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.2
            // G.722 counts as G.711 does.
            Spoken::G711(_) | Spoken::G722 => 8_000,
            //= https://www.rfc-editor.org/rfc/rfc7587#section-4.1
            Spoken::Opus => 48_000,
        }
    }

    pub(crate) fn law(self) -> Option<Law> {
        match self {
            Spoken::G711(law) => Some(law),
            Spoken::G722 | Spoken::Opus => None,
        }
    }
}

/// Says what is played to one leg.
#[derive(Debug, Default)]
pub(crate) struct Mouth(Option<(Spoken, Encoder)>);

impl Mouth {
    /// The payload for the next 20 ms; empty where there is none, and time goes on.
    pub(crate) fn say(&mut self, spoken: Spoken, frame: &[i16; FRAME]) -> Vec<u8> {
        if self.0.as_ref().is_none_or(|(known, _)| *known != spoken) {
            self.0 = Encoder::new(&spoken.coding()).map(|encoder| (spoken, encoder));
        }
        let encoder = self.0.as_mut();
        encoder
            .map(|(_, encoder)| encoder.encode(frame))
            .unwrap_or_default()
    }
}

/// Sound may come so much faster than it lasts, and so long ahead: what is beyond that is no speech, and costs the time in which
/// other calls are heard.
const FASTER: u32 = 2;
const AHEAD: Duration = Duration::from_secs(1);
/// What a payload counts for at least, whatever it holds.
const LEAST: Duration = Duration::from_millis(5);

/// Hears what one leg says, as long as somebody listens.
#[derive(Debug)]
pub(crate) struct Hearer {
    ear: Option<(Spoken, Box<Ear>)>,
    /// Until then it would take to hear all that has come, at the fastest.
    busy_until: Instant,
}

impl Default for Hearer {
    fn default() -> Self {
        Hearer {
            ear: None,
            busy_until: Instant::ZERO,
        }
    }
}

impl Hearer {
    /// What a payload sounds like, and where it stands by 8,000 samples a second: with G.711 by the leg's own timestamps, else on
    /// a timeline that begins with the first payload. Nothing of what comes much faster than it lasts, where that is dear.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        spoken: Spoken,
        timestamp: u32,
        payload: &[u8],
    ) -> Option<Heard> {
        if let Some(law) = spoken.law() {
            self.forget();
            let samples = payload.iter().map(|byte| law.decode(*byte)).collect();
            return Some(Heard { timestamp, samples });
        }
        if self.busy_until > now + AHEAD {
            return None;
        }
        if self.ear.as_ref().is_none_or(|(known, _)| *known != spoken) {
            let ear = Ear::new(&spoken.coding(), spoken.clock_rate_hz())?;
            self.ear = Some((spoken, Box::new(ear)));
        }
        let heard = self.ear.as_mut()?.1.hear(timestamp, payload);
        let samples = heard.as_ref().map_or(0, |heard| heard.samples.len());
        let length = Duration::from_micros(samples as u64 * 125).max(LEAST);
        self.busy_until = self.busy_until.max(now) + length / FASTER;
        heard
    }

    /// What is heard next is another source, or behind a pause in which nobody listened.
    pub(crate) fn forget(&mut self) {
        self.ear = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_leg_speaks_is_known_by_name_clock_and_channels() {
        for (codec, spoken) in [
            (Codec::pcmu(), Spoken::G711(Law::Mu)),
            (Codec::pcma(), Spoken::G711(Law::A)),
            (Codec::g722(), Spoken::G722),
            (Codec::opus(96), Spoken::Opus),
        ] {
            assert_eq!(Spoken::of(&codec), Some(spoken));
            assert_eq!(codec.clock_rate_hz, spoken.clock_rate_hz());
        }
        for other in [
            Codec::new(96, "opus", 48_000),
            Codec::new(96, "PCMU", 16_000),
            Codec::new(18, "G729", 8_000),
            Codec::telephone_event(101),
        ] {
            assert_eq!(Spoken::of(&other), None);
        }
    }

    #[test]
    fn another_codec_is_said_and_heard_from_its_beginning() {
        let (mut mouth, mut hearer) = (Mouth::default(), Hearer::default());
        for spoken in [Spoken::G722, Spoken::Opus, Spoken::G711(Law::A), Spoken::G722] {
            let payload = mouth.say(spoken, &[0; FRAME]);
            let heard = hearer
                .hear(Instant::ZERO, spoken, 7_777, &payload)
                .expect("sound");
            // Opus is heard a little late.
            let (least, begin) = match spoken {
                Spoken::Opus => (FRAME / 2, 0),
                Spoken::G722 => (FRAME, 0),
                Spoken::G711(_) => (FRAME, 7_777),
            };
            assert!((least..=FRAME).contains(&heard.samples.len()), "{spoken:?}");
            assert_eq!(heard.timestamp, begin, "{spoken:?}");
        }
    }

    #[test]
    fn what_comes_much_faster_than_it_lasts_is_not_decoded() {
        let (mut mouth, mut hearer) = (Mouth::default(), Hearer::default());
        for spoken in [Spoken::Opus, Spoken::G722] {
            let payload = mouth.say(spoken, &[1_000; FRAME]);
            let mut heard = [0, 0, 0];
            // Ten seconds of a flood, then ten of speech; of octets that are nothing no more is looked at.
            for ms in 10_000..20_000u64 {
                let now = Instant::ZERO + Duration::from_millis(ms);
                for n in 0..10 {
                    let timestamp = (ms as u32 * 10 + n).wrapping_mul(spoken.clock_rate_hz() / 50);
                    heard[0] += usize::from(hearer.hear(now, spoken, timestamp, &payload).is_some());
                }
            }
            for n in 0..500 {
                let now = Instant::ZERO + Duration::from_millis(20_020 + n * 20);
                let timestamp = n as u32 * spoken.clock_rate_hz() / 50;
                heard[1] += usize::from(hearer.hear(now, spoken, timestamp, &payload).is_some());
                heard[2] += usize::from(hearer.hear(now, spoken, timestamp, &[]).is_some());
            }
            assert!((900..1_400).contains(&heard[0]), "{spoken:?}: {heard:?}");
            assert_eq!(heard[1..], [500, 0], "{spoken:?}");
            hearer = Hearer::default();
        }
    }
}
