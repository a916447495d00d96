//! Taking a message: the greeting, the tone, the recording, and its delivery.
//!
//! The recording ends with `#`, when the caller hangs up, after a silence, or at its maximum. It is delivered before the
//! caller is told goodbye, so that "goodbye" means "stored".

use crate::config::Config;
use crate::voicemail::prompt::Prompt;
use ringpost_base::UnixTime;
use ringpost_codec::Law;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Samples a second in a recording.
pub const SAMPLE_RATE_HZ: u32 = 8_000;

/// What the deposit wants done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DepositOutput {
    /// Play a sound, then tell [`Deposit::handle_played`].
    PlaySound(Arc<[i16]>),
    /// Play announcements one after the other, then tell [`Deposit::handle_played`].
    Play(Vec<Prompt>),
    /// Stop what is playing; no `handle_played` follows for it.
    StopPlaying,
    /// From now on hand what the caller says to [`Deposit::handle_samples`], until it is as long as `max` or the caller is
    /// silent for `silence`; then tell [`Deposit::handle_recorded`].
    Record {
        /// The longest recording.
        max: Duration,
        /// The silence that ends it.
        silence: Duration,
    },
    /// End the recording now, then tell [`Deposit::handle_recorded`].
    StopRecording,
    /// Put the message into the mailbox, then tell [`Deposit::handle_delivered`].
    Deliver(Message),
    /// End the call.
    HangUp,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// When the tone had sounded.
    pub(crate) began: UnixTime,
    /// How long it is.
    pub(crate) length: Duration,
    /// G.711 µ-law, 8,000 bytes a second.
    pub(crate) sound: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Greeting,
    Beeping,
    Recording,
    Stopping,
    Delivering,
    Leaving,
    Ended,
}

/// One message being left. Drain [`poll_output`](Deposit::poll_output) after every other call.
#[derive(Debug)]
pub(crate) struct Deposit {
    state: State,
    silence: Duration,
    max: Duration,
    min: Duration,
    began: UnixTime,
    sound: Vec<u8>,
    caller_gone: bool,
    output: VecDeque<DepositOutput>,
}

impl Deposit {
    /// Begins with the greeting: the account's own, or the built-in one.
    pub(crate) fn new(greeting: Option<Arc<[i16]>>, config: &Config) -> Self {
        let first = match greeting {
            Some(sound) => DepositOutput::PlaySound(sound),
            None => DepositOutput::Play(vec![Prompt::Greeting]),
        };
        Deposit {
            state: State::Greeting,
            silence: config.voicemail_silence,
            max: config.voicemail_max,
            min: config.voicemail_min,
            began: UnixTime::default(),
            sound: Vec::new(),
            caller_gone: false,
            output: VecDeque::from([first]),
        }
    }

    /// Whether nothing more will come: the call may be forgotten.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended && self.output.is_empty()
    }

    /// Whether the caller has hung up.
    pub(crate) fn is_left(&self) -> bool {
        self.caller_gone
    }

    /// What was playing has ended.
    pub(crate) fn handle_played(&mut self, calendar: UnixTime) {
        match self.state {
            State::Greeting => self.beep(),
            State::Beeping => {
                self.state = State::Recording;
                self.began = calendar;
                self.output.push_back(DepositOutput::Record {
                    max: self.max,
                    silence: self.silence,
                });
            }
            State::Leaving => {
                self.state = State::Ended;
                self.output.push_back(DepositOutput::HangUp);
            }
            State::Recording | State::Stopping | State::Delivering | State::Ended => {}
        }
    }

    /// A key was pressed: `#` goes on from the greeting to the tone, and ends the recording.
    pub(crate) fn handle_digit(&mut self, digit: char) {
        match (self.state, digit) {
            (State::Greeting, '#') => {
                self.output.push_back(DepositOutput::StopPlaying);
                self.beep();
            }
            (State::Recording, '#') => {
                self.state = State::Stopping;
                self.output.push_back(DepositOutput::StopRecording);
            }
            _ => {}
        }
    }

    /// The caller was heard: 8,000 samples a second.
    pub(crate) fn handle_samples(&mut self, samples: &[i16]) {
        if matches!(self.state, State::Recording | State::Stopping) {
            Law::Mu.encode_into(samples, &mut self.sound);
        }
    }

    /// The recording is over, whatever ended it; so much of its end is silence.
    pub(crate) fn handle_recorded(&mut self, silent_end: Duration) {
        if !matches!(self.state, State::Recording | State::Stopping) {
            return;
        }
        let silent = silent_end.as_millis() as usize * (SAMPLE_RATE_HZ as usize / 1_000);
        let mut sound = std::mem::take(&mut self.sound);
        let spoken = sound.len().saturating_sub(silent);
        self.state = State::Delivering;
        if duration_of(spoken) < self.min {
            // Nothing was said; there is nothing to store and nothing that failed.
            return self.handle_delivered(true);
        }
        sound.truncate(spoken);
        let length = duration_of(sound.len());
        self.output.push_back(DepositOutput::Deliver(Message {
            began: self.began,
            length,
            sound,
        }));
    }

    /// The mailbox has the message, or could not take it.
    pub(crate) fn handle_delivered(&mut self, stored: bool) {
        if self.state != State::Delivering {
            return;
        }
        if self.caller_gone {
            self.state = State::Ended;
            return;
        }
        self.state = State::Leaving;
        let last = if stored { Prompt::Goodbye } else { Prompt::Failed };
        self.output.push_back(DepositOutput::Play(vec![last]));
    }

    /// The caller has hung up, or the line broke: what was said so far is delivered once
    /// [`handle_recorded`](Deposit::handle_recorded) tells that all of it is here.
    pub(crate) fn handle_hangup(&mut self) {
        self.caller_gone = true;
        if matches!(self.state, State::Greeting | State::Beeping | State::Leaving) {
            self.state = State::Ended;
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<DepositOutput> {
        self.output.pop_front()
    }

    fn beep(&mut self) {
        self.state = State::Beeping;
        self.output.push_back(DepositOutput::Play(vec![Prompt::Beep]));
    }
}

fn duration_of(samples: usize) -> Duration {
    Duration::from_millis(samples as u64 * 1_000 / u64::from(SAMPLE_RATE_HZ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(d: &mut Deposit) -> Vec<DepositOutput> {
        std::iter::from_fn(|| d.poll_output()).collect()
    }

    fn recording() -> Deposit {
        let mut d = Deposit::new(None, &Config::default());
        assert_eq!(drain(&mut d), [DepositOutput::Play(vec![Prompt::Greeting])]);
        d.handle_played(UnixTime::from_secs(1));
        assert_eq!(drain(&mut d), [DepositOutput::Play(vec![Prompt::Beep])]);
        d.handle_played(UnixTime::from_secs(2));
        assert!(matches!(drain(&mut d)[..], [DepositOutput::Record { .. }]));
        d
    }

    fn delivered(out: &[DepositOutput]) -> Option<&Message> {
        out.iter().find_map(|o| {
            if let DepositOutput::Deliver(m) = o {
                Some(m)
            } else {
                None
            }
        })
    }

    #[test]
    fn a_hash_ends_the_message_and_goodbye_waits_for_the_store() {
        let mut d = recording();
        d.handle_samples(&[8_000; 16_000]);
        d.handle_digit('#');
        assert_eq!(drain(&mut d), [DepositOutput::StopRecording]);
        d.handle_samples(&[8_000; 800]);
        d.handle_recorded(Duration::ZERO);
        let out = drain(&mut d);
        let message = delivered(&out).unwrap();
        assert_eq!(message.length, Duration::from_millis(2_100));
        assert_eq!(message.began, UnixTime::from_secs(2));
        assert_eq!(message.sound.len(), 16_800);
        d.handle_played(UnixTime::default());
        assert_eq!(drain(&mut d), []);
        d.handle_delivered(true);
        assert_eq!(drain(&mut d), [DepositOutput::Play(vec![Prompt::Goodbye])]);
        d.handle_played(UnixTime::default());
        assert_eq!(drain(&mut d), [DepositOutput::HangUp]);
        assert!(d.is_ended());
    }

    #[test]
    fn a_hang_up_delivers_what_was_said() {
        let mut d = recording();
        d.handle_samples(&[8_000; 12_000]);
        d.handle_hangup();
        assert!(!d.is_ended());
        d.handle_recorded(Duration::ZERO);
        assert!(delivered(&drain(&mut d)).is_some());
        assert!(!d.is_ended());
        d.handle_delivered(true);
        assert_eq!(drain(&mut d), []);
        assert!(d.is_ended());
    }

    #[test]
    fn somebody_who_says_nothing_leaves_nothing() {
        let mut d = recording();
        d.handle_samples(&[0; 80_000]);
        d.handle_hangup();
        d.handle_recorded(Duration::from_millis(9_500));
        assert_eq!(delivered(&drain(&mut d)), None);
        assert!(d.is_ended());
    }

    #[test]
    fn the_silence_at_the_end_is_cut_off() {
        let mut d = recording();
        d.handle_samples(&[8_000; 16_000]);
        d.handle_samples(&[0; 64_000]);
        d.handle_recorded(Duration::from_secs(8));
        assert_eq!(delivered(&drain(&mut d)).unwrap().length, Duration::from_secs(2));
    }

    #[test]
    fn a_failure_is_said() {
        let mut d = recording();
        d.handle_samples(&[8_000; 16_000]);
        d.handle_recorded(Duration::ZERO);
        drain(&mut d);
        d.handle_delivered(false);
        assert_eq!(drain(&mut d), [DepositOutput::Play(vec![Prompt::Failed])]);
    }

    #[test]
    fn a_hash_skips_the_greeting() {
        let mut d = Deposit::new(None, &Config::default());
        drain(&mut d);
        d.handle_digit('#');
        assert_eq!(
            drain(&mut d),
            [
                DepositOutput::StopPlaying,
                DepositOutput::Play(vec![Prompt::Beep])
            ]
        );
    }
}
