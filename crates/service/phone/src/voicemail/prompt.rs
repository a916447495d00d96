//! The built-in announcements.

use bytes::Bytes;
use ringpost_codec::{Tone, Wav};
use ringpost_media::Audio;
use std::sync::{Arc, LazyLock};

/// A word or a sentence that can be played to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Prompt {
    /// Nobody is there; speak after the tone.
    Greeting,
    /// The tone after which the recording begins: 1,000 Hz for 0.4 s.
    Beep,
    /// "You have".
    YouHave,
    /// "No", before what there is none of.
    No,
    /// "And".
    And,
    /// "New message".
    NewMessage,
    /// "New messages".
    NewMessages,
    /// "Old message".
    OldMessage,
    /// "Old messages".
    OldMessages,
    /// A number from 0 to 99.
    Number(u8),
    /// More than can be counted aloud.
    Many,
    /// What the keys do.
    Menu,
    /// The message is deleted.
    Deleted,
    /// There are no more messages.
    NoMore,
    /// Goodbye.
    Goodbye,
    /// The message could not be stored.
    Failed,
}

macro_rules! wav {
    ($name:literal) => {
        include_bytes!(concat!("../../prompts/", $name, ".wav"))
    };
}

const UNITS: [&[u8]; 21] = [
    wav!("0"),
    wav!("1"),
    wav!("2"),
    wav!("3"),
    wav!("4"),
    wav!("5"),
    wav!("6"),
    wav!("7"),
    wav!("8"),
    wav!("9"),
    wav!("10"),
    wav!("11"),
    wav!("12"),
    wav!("13"),
    wav!("14"),
    wav!("15"),
    wav!("16"),
    wav!("17"),
    wav!("18"),
    wav!("19"),
    wav!("20"),
];
const TENS: [&[u8]; 7] = [
    wav!("30"),
    wav!("40"),
    wav!("50"),
    wav!("60"),
    wav!("70"),
    wav!("80"),
    wav!("90"),
];

/// The tone after which the recording begins.
static BEEP: LazyLock<Arc<[i16]>> = LazyLock::new(|| {
    let mut samples = vec![0; 3_200];
    Tone::sine(1_000.0, -12.0).fill(&mut samples);
    samples.into()
});

impl Prompt {
    /// The sound of it, in pieces that are played one after the other.
    pub(crate) fn audio(self) -> Vec<Audio> {
        match self {
            Prompt::Beep => vec![Audio::Pcm(BEEP.clone())],
            spoken => spoken.files().into_iter().map(sound).collect(),
        }
    }

    /// The WAV files that speak it, in order; [`Prompt::Beep`] has none, it is a tone.
    fn files(self) -> Vec<&'static [u8]> {
        let one: &[u8] = match self {
            Prompt::Greeting => wav!("greeting"),
            Prompt::Beep => return Vec::new(),
            Prompt::YouHave => wav!("you-have"),
            Prompt::No => wav!("no"),
            Prompt::And => wav!("and"),
            Prompt::NewMessage => wav!("new-message"),
            Prompt::NewMessages => wav!("new-messages"),
            Prompt::OldMessage => wav!("old-message"),
            Prompt::OldMessages => wav!("old-messages"),
            Prompt::Number(n @ 0..=20) => UNITS[usize::from(n)],
            Prompt::Number(n @ 21..=29) => return vec![UNITS[20], UNITS[usize::from(n - 20)]],
            Prompt::Number(n @ 30..=99) => {
                let tens = TENS[usize::from(n / 10 - 3)];
                if n % 10 == 0 {
                    tens
                } else {
                    return vec![tens, UNITS[usize::from(n % 10)]];
                }
            }
            Prompt::Number(_) | Prompt::Many => wav!("many"),
            Prompt::Menu => wav!("menu"),
            Prompt::Deleted => wav!("deleted"),
            Prompt::NoMore => wav!("no-more"),
            Prompt::Goodbye => wav!("goodbye"),
            Prompt::Failed => wav!("failed"),
        };
        vec![one]
    }
}

fn sound(file: &'static [u8]) -> Audio {
    let wav = Wav::parse(file).expect("a test reads every built-in announcement");
    Audio::Pcmu(Bytes::from_static(wav.data()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Prompt::*;
    use ringpost_codec::WavEncoding;

    #[test]
    fn every_announcement_is_8_khz_mu_law_and_not_empty() {
        let fixed = [
            Greeting,
            YouHave,
            No,
            And,
            NewMessage,
            NewMessages,
            OldMessage,
            OldMessages,
            Many,
            Menu,
            Deleted,
            NoMore,
            Goodbye,
            Failed,
        ];
        for prompt in fixed.into_iter().chain((0..=99).map(Number)) {
            assert!(!prompt.files().is_empty());
            for file in prompt.files() {
                let wav = Wav::parse(file).unwrap();
                assert_eq!(
                    (wav.encoding(), wav.rate_hz(), wav.channels()),
                    (WavEncoding::G711(ringpost_codec::Law::Mu), 8_000, 1)
                );
                assert!(wav.duration_ms() > 100, "{prompt:?}");
            }
        }
        assert_eq!(Beep.audio()[0].len(), 3_200);
    }
}
