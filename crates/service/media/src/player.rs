use crate::Audio;
use crate::jitter_buffer::FRAME;
use ringpost_base::limits;
use ringpost_codec::{Law, Tone};
use ringpost_rtp::{EventPacket, EventSender, event_of_digit};
use std::collections::VecDeque;

/// A list of sounds, played one behind the other in frames of 20 ms.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) id: u64,
    playlist: Vec<Audio>,
    repeat: bool,
    piece: usize,
    /// The next sample of the piece.
    at: usize,
    begun: bool,
}

impl Player {
    pub(crate) fn new(id: u64, mut playlist: Vec<Audio>, repeat: bool) -> Self {
        playlist.truncate(limits::PLAYLIST_PIECES);
        // A list without any sound would be repeated without end in no time.
        playlist.retain(|audio| !audio.is_empty());
        Player {
            id,
            playlist,
            repeat,
            piece: 0,
            at: 0,
            begun: false,
        }
    }

    /// Whether the next frame is the first, which is asked once.
    pub(crate) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// The next 20 ms, filled up with silence at the end; `None` behind it.
    pub(crate) fn frame(&mut self) -> Option<[i16; FRAME]> {
        let mut frame = [0; FRAME];
        let mut filled = 0;
        while filled < FRAME {
            if self.piece == self.playlist.len() && self.repeat {
                self.piece = 0;
            }
            let Some(audio) = self.playlist.get(self.piece) else {
                break;
            };
            let len = (FRAME - filled).min(audio.len() - self.at);
            read(audio, self.at, &mut frame[filled..filled + len]);
            filled += len;
            self.at += len;
            if self.at == audio.len() {
                (self.piece, self.at) = (self.piece + 1, 0);
            }
        }
        (filled > 0).then_some(frame)
    }
}

fn read(audio: &Audio, at: usize, out: &mut [i16]) {
    let range = at..at + out.len();
    let (law, bytes) = match audio {
        Audio::Pcm(samples) => return out.copy_from_slice(&samples[range]),
        Audio::Pcmu(bytes) => (Law::Mu, bytes),
        Audio::Pcma(bytes) => (Law::A, bytes),
    };
    let coded = bytes[range].iter();
    out.iter_mut()
        .zip(coded)
        .for_each(|(sample, byte)| *sample = law.decode(*byte));
}

/// How long a digit sounds: 160 ms, in frames of 20 ms. ITU-T Q.24 asks for 40 ms; many menus want more.
const DIGIT_FRAMES: u32 = 8;
/// The pause behind it.
const PAUSE_FRAMES: u32 = 4;
/// The level of a digit, in dBm0 without its sign (RFC 4733 §2.3.4).
const DIGIT_VOLUME: u8 = 10;

/// What is sent for a frame of 20 ms of digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DigitFrame {
    /// A packet of telephone-event.
    Event(EventPacket),
    /// Sound.
    Speech(Box<[i16; FRAME]>),
    /// Nothing: the pause between two events.
    Pause,
}

/// Digits on their way to a peer, as events or as sound.
#[derive(Debug, Default)]
pub(crate) struct DigitSender {
    waiting: VecDeque<char>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    sound: DigitSound,
    pause_frames: u32,
}

#[derive(Debug)]
enum DigitSound {
    Event(EventSender),
    Tone { tone: Box<Tone>, frames: u32 },
}

impl DigitSender {
    /// Adds the digits among the characters of `digits`, as many as may wait.
    pub(crate) fn push(&mut self, digits: &str) {
        let room = limits::DIGITS_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(
            digits
                .chars()
                .filter(|digit| event_of_digit(*digit).is_some())
                .take(room),
        );
    }

    /// The next 20 ms: as events when `step` says how many units of their clock these are, and then one that begins does so at
    /// `timestamp`; else as sound. `None` when all have been sent.
    pub(crate) fn frame(&mut self, step: Option<u32>, timestamp: u32) -> Option<DigitFrame> {
        if self.current.is_none() {
            let digit = self.waiting.pop_front()?;
            self.current = Some(Current::new(digit, step, timestamp)?);
        }
        let current = self.current.as_mut()?;
        let frame = match &mut current.sound {
            DigitSound::Event(sender) => sender.next().map(DigitFrame::Event),
            DigitSound::Tone { frames: 0, .. } => None,
            DigitSound::Tone { tone, frames } => {
                *frames -= 1;
                let mut samples = Box::new([0; FRAME]);
                tone.fill(&mut samples[..]);
                Some(DigitFrame::Speech(samples))
            }
        };
        let pause = match &current.sound {
            DigitSound::Event(_) => DigitFrame::Pause,
            DigitSound::Tone { .. } => DigitFrame::Speech(Box::new([0; FRAME])),
        };
        if frame.is_some() {
            return frame;
        }
        current.pause_frames -= 1;
        if current.pause_frames == 0 {
            self.current = None;
        }
        Some(pause)
    }
}

impl Current {
    fn new(digit: char, step: Option<u32>, timestamp: u32) -> Option<Self> {
        let sound = if let Some(step) = step {
            DigitSound::Event(EventSender::new(
                event_of_digit(digit)?,
                DIGIT_VOLUME,
                timestamp,
                DIGIT_FRAMES * step,
                step,
            ))
        } else {
            DigitSound::Tone {
                tone: Box::new(Tone::dtmf(digit)?),
                frames: DIGIT_FRAMES,
            }
        };
        Some(Current {
            sound,
            pause_frames: PAUSE_FRAMES,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ringpost_codec::DtmfDetector;

    #[test]
    fn pieces_of_every_kind_follow_without_a_gap() {
        let pcm: Vec<i16> = vec![1_000; 100];
        let playlist = vec![
            Audio::Pcm(pcm.into()),
            Audio::Pcm(Vec::new().into()),
            Audio::Pcmu(Bytes::from(vec![Law::Mu.encode(-1_000); 100])),
            Audio::Pcma(Bytes::from(vec![Law::A.encode(2_000); 10])),
        ];
        let mut player = Player::new(1, playlist, false);
        let mut sound: Vec<i16> = Vec::new();
        while let Some(frame) = player.frame() {
            sound.extend(frame);
        }
        assert_eq!(sound.len(), 320);
        let near =
            |range: std::ops::Range<usize>, value: i16| sound[range].iter().all(|s| (s - value).abs() < 100);
        assert!(near(0..100, 1_000) && near(100..200, -1_000) && near(200..210, 2_000) && near(210..320, 0));
    }

    #[test]
    fn a_repeated_list_goes_on_and_an_empty_one_ends() {
        let mut player = Player::new(1, vec![Audio::Pcm(vec![500; 33].into())], true);
        for _ in 0..100 {
            assert!(player.frame() == Some([500; FRAME]));
        }
        assert_eq!(
            Player::new(1, vec![Audio::Pcm(Vec::new().into())], true).frame(),
            None
        );
    }

    #[test]
    fn digits_as_sound_are_heard_as_digits() {
        let mut sender = DigitSender::default();
        sender.push("1x1#");
        let mut detector = DtmfDetector::default();
        let mut heard = String::new();
        while let Some(frame) = sender.frame(None, 0) {
            let DigitFrame::Speech(samples) = frame else {
                panic!()
            };
            heard.extend(detector.push(&samples[..]));
        }
        assert_eq!(heard, "11#");
    }

    #[test]
    fn digits_as_events_are_apart() {
        let mut sender = DigitSender::default();
        sender.push("55");
        let frames: Vec<_> = (0..).map_while(|n| sender.frame(Some(160), n * 160)).collect();
        let pauses = frames.iter().filter(|f| **f == DigitFrame::Pause).count();
        assert_eq!((frames.len(), pauses), (28, 8));
    }
}
