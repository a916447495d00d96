//! What a leg says and hears that we code and decode ourselves.

use crate::jitter_buffer::FRAME;
use ringpost_codec::{Coding, Ear, Encoder, Heard, Law};
use ringpost_sdp::Codec;

/// How speech is coded that we hear and say ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    G711(Law),
    G722,
    Opus,
}

impl Spoken {
    const ALL: [Spoken; 4] = [
        Spoken::G711(Law::Mu),
        Spoken::G711(Law::A),
        Spoken::G722,
        Spoken::Opus,
    ];

    /// `None` for a format that is passed on at most.
    pub(crate) fn of(codec: &Codec) -> Option<Self> {
        let mut all = Spoken::ALL.into_iter();
        all.find(|spoken| spoken.codec().same_encoding(codec))
    }

    fn codec(self) -> Codec {
        match self {
            Spoken::G711(Law::Mu) => Codec::pcmu(),
            Spoken::G711(Law::A) => Codec::pcma(),
            Spoken::G722 => Codec::g722(),
            Spoken::Opus => Codec::opus(96),
        }
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

/// Hears what one leg says, as long as somebody listens.
#[derive(Debug, Default)]
pub(crate) struct Hearer(Option<(Spoken, Box<Ear>)>);

impl Hearer {
    /// What a payload sounds like, and where it stands by 8,000 samples a second: with G.711 by the leg's own timestamps, else on
    /// a timeline that begins with the first payload.
    pub(crate) fn hear(&mut self, spoken: Spoken, timestamp: u32, payload: &[u8]) -> Option<Heard> {
        if let Some(law) = spoken.law() {
            self.forget();
            let samples = payload.iter().map(|byte| law.decode(*byte)).collect();
            return Some(Heard { timestamp, samples });
        }
        if self.0.as_ref().is_none_or(|(known, _)| *known != spoken) {
            let ear = Ear::new(&spoken.coding(), spoken.clock_rate_hz())?;
            self.0 = Some((spoken, Box::new(ear)));
        }
        self.0.as_mut()?.1.hear(timestamp, payload)
    }

    /// What is heard next is another source, or behind a pause in which nobody listened.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_leg_speaks_is_known_by_name_clock_and_channels() {
        for spoken in Spoken::ALL {
            assert_eq!(Spoken::of(&spoken.codec()), Some(spoken));
            assert_eq!(spoken.codec().clock_rate_hz, spoken.clock_rate_hz());
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
            let heard = hearer.hear(spoken, 7_777, &payload).expect("sound");
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
}
