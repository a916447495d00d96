//! The telephone's own view of the voicemail: what `*97` says, and what its keys do.
//!
//! | key | does |
//! | --- | --- |
//! | 1 | plays the next message: the new ones first, oldest first |
//! | 2 | plays the message again |
//! | 3 | deletes the message (into the mailbox's Trash) |
//! | 4 | goes over to the old messages and plays the first |
//! | 0, * | says the keys again |
//! | # | ends the call |
//!
//! A message counts as heard when it was played to its end, or when the listener went on to something else; a line that
//! breaks in the middle leaves it new.

use crate::voicemail::VoiceMessages;
use crate::voicemail::prompt::Prompt;
use ringpost_base::{Instant, TimerKind, TimerTable};
use std::collections::VecDeque;
use std::time::Duration;

/// How long the menu waits for a key before it says the keys again.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often it says them before it hangs up.
const REMINDERS: u8 = 3;
/// Messages that one call can go through; more are reached by calling again.
pub const MENU_MESSAGES: usize = 1_000;

/// A voicemail message as the mailbox knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VoiceMessageId {
    /// The mailbox's number within the account.
    pub mailbox: u64,
    /// The message's UID in it.
    pub uid: u32,
}

/// What the menu wants done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MenuOutput {
    /// Ask the mailbox which messages there are; the answer goes to [`Menu::handle_list`].
    List,
    /// Fetch a message's sound and tell [`Menu::handle_sound`]; if that wants it, play it, then tell
    /// [`Menu::handle_played`].
    PlayMessage(VoiceMessageId),
    /// Play announcements one after the other, then tell [`Menu::handle_played`].
    Play(Vec<Prompt>),
    /// Stop what is playing; no `handle_played` follows for it.
    Silence,
    /// Mark the message as heard.
    MarkHeard(VoiceMessageId),
    /// Delete the message, then tell [`Menu::handle_deleted`].
    Delete(VoiceMessageId),
    /// End the call.
    HangUp,
    /// Nothing more now; call [`Menu::handle_timeout`] at the time, if one is given.
    Timeout(Option<Instant>),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Listing,
    Speaking,
    Fetching,
    PlayingMessage,
    Deleting,
    Waiting,
    Leaving,
    Ended,
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    Patience,
}

impl TimerKind for Timer {
    fn index(self) -> usize {
        self as usize
    }
}

/// One call to one's own voicemail. Drain [`poll_output`](Menu::poll_output) after every other call.
#[derive(Debug)]
pub(crate) struct Menu {
    state: State,
    new: VecDeque<VoiceMessageId>,
    old: VecDeque<VoiceMessageId>,
    in_old: bool,
    current: Option<VoiceMessageId>,
    unheard: bool,
    reminders: u8,
    timers: TimerTable<Timer, 1>,
    output: VecDeque<MenuOutput>,
}

impl Menu {
    /// Begins by asking for the list.
    pub(crate) fn new() -> Self {
        Menu {
            state: State::Listing,
            new: VecDeque::new(),
            old: VecDeque::new(),
            in_old: false,
            current: None,
            unheard: false,
            reminders: 0,
            timers: TimerTable::new(),
            output: VecDeque::from([MenuOutput::List]),
        }
    }

    /// The mailbox's answer; `None` when it cannot be read now.
    pub(crate) fn handle_list(&mut self, list: Option<VoiceMessages>) {
        if self.state != State::Listing {
            return;
        }
        let Some(VoiceMessages { new, old }) = list else {
            return self.leave(vec![Prompt::Failed, Prompt::Goodbye]);
        };
        self.new = new.into_iter().take(MENU_MESSAGES).collect();
        self.old = old.into_iter().take(MENU_MESSAGES).collect();
        let mut words = vec![Prompt::YouHave];
        say_count(
            &mut words,
            self.new.len(),
            Prompt::NewMessage,
            Prompt::NewMessages,
        );
        if !self.old.is_empty() {
            words.push(Prompt::And);
            say_count(
                &mut words,
                self.old.len(),
                Prompt::OldMessage,
                Prompt::OldMessages,
            );
        }
        words.push(Prompt::Menu);
        self.speak(words);
    }

    /// What was playing has ended.
    pub(crate) fn handle_played(&mut self, now: Instant) {
        match self.state {
            State::PlayingMessage => {
                self.heard();
                self.wait(now);
            }
            State::Speaking => self.wait(now),
            State::Leaving => {
                self.state = State::Ended;
                self.output.push_back(MenuOutput::HangUp);
            }
            State::Listing | State::Fetching | State::Deleting | State::Waiting | State::Ended => {}
        }
    }

    /// The message's sound is there, or cannot be had: the message was deleted elsewhere, or cannot be read. Whether it is
    /// to be played now.
    pub(crate) fn handle_sound(&mut self, is_there: bool) -> bool {
        if self.state != State::Fetching {
            return false;
        }
        if is_there {
            self.state = State::PlayingMessage;
        } else {
            self.current = None;
            self.unheard = false;
            self.play_next();
        }
        is_there
    }

    /// The message is deleted, or cannot be.
    pub(crate) fn handle_deleted(&mut self, done: bool) {
        if self.state == State::Deleting {
            self.speak(vec![if done { Prompt::Deleted } else { Prompt::Failed }]);
        }
    }

    /// A key was pressed.
    pub(crate) fn handle_digit(&mut self, digit: char) {
        if matches!(
            self.state,
            State::Listing | State::Deleting | State::Leaving | State::Ended
        ) {
            return;
        }
        self.timers.stop(Timer::Patience);
        self.reminders = 0;
        if matches!(self.state, State::Speaking | State::PlayingMessage) {
            self.output.push_back(MenuOutput::Silence);
        }
        if self.state == State::PlayingMessage {
            self.heard();
        }
        match digit {
            '1' => self.play_next(),
            '2' => match self.current {
                Some(id) => self.play(id),
                None => self.play_next(),
            },
            '3' => match self.current.take() {
                Some(id) => {
                    self.state = State::Deleting;
                    self.output.push_back(MenuOutput::Delete(id));
                }
                None => self.speak(vec![Prompt::Menu]),
            },
            '4' => {
                self.in_old = true;
                self.play_next();
            }
            '#' => self.leave(vec![Prompt::Goodbye]),
            _ => self.speak(vec![Prompt::Menu]),
        }
    }

    /// The time that was asked for has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.timers.take_due(Timer::Patience, now) {
            return;
        }
        if self.reminders == REMINDERS {
            return self.leave(vec![Prompt::Goodbye]);
        }
        self.reminders += 1;
        self.speak(vec![Prompt::Menu]);
    }

    /// The next thing to do; `Timeout` comes last.
    pub(crate) fn poll_output(&mut self) -> MenuOutput {
        self.output
            .pop_front()
            .unwrap_or(MenuOutput::Timeout(self.timers.next()))
    }

    fn play_next(&mut self) {
        let queue = if self.in_old { &mut self.old } else { &mut self.new };
        match queue.pop_front() {
            Some(id) => {
                self.unheard = !self.in_old;
                self.play(id);
            }
            None => {
                self.current = None;
                self.speak(vec![Prompt::NoMore, Prompt::Menu]);
            }
        }
    }

    fn play(&mut self, id: VoiceMessageId) {
        self.current = Some(id);
        self.state = State::Fetching;
        self.output.push_back(MenuOutput::PlayMessage(id));
    }

    fn heard(&mut self) {
        if let Some(id) = self.current
            && std::mem::take(&mut self.unheard)
        {
            self.output.push_back(MenuOutput::MarkHeard(id));
        }
    }

    fn speak(&mut self, words: Vec<Prompt>) {
        self.state = State::Speaking;
        self.output.push_back(MenuOutput::Play(words));
    }

    fn wait(&mut self, now: Instant) {
        self.state = State::Waiting;
        self.timers.set(Timer::Patience, now + PATIENCE);
    }

    fn leave(&mut self, words: Vec<Prompt>) {
        self.speak(words);
        self.state = State::Leaving;
    }
}

impl Default for Menu {
    fn default() -> Self {
        Self::new()
    }
}

fn say_count(words: &mut Vec<Prompt>, count: usize, one: Prompt, several: Prompt) {
    match count {
        0 => words.push(Prompt::No),
        1..=99 => words.push(Prompt::Number(count as u8)),
        _ => words.push(Prompt::Many),
    }
    words.push(if count == 1 { one } else { several });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(uid: u32) -> VoiceMessageId {
        VoiceMessageId { mailbox: 1, uid }
    }

    fn drain(menu: &mut Menu) -> Vec<MenuOutput> {
        let mut out = Vec::new();
        loop {
            match menu.poll_output() {
                MenuOutput::Timeout(_) => return out,
                output => out.push(output),
            }
        }
    }

    fn listed(new: &[u32], old: &[u32]) -> Menu {
        let mut menu = Menu::new();
        assert_eq!(drain(&mut menu), [MenuOutput::List]);
        let ids = |uids: &[u32]| uids.iter().copied().map(id).collect();
        menu.handle_list(Some(VoiceMessages {
            new: ids(new),
            old: ids(old),
        }));
        menu
    }

    #[test]
    fn the_counts_are_said_before_the_keys() {
        let mut menu = listed(&[4], &[1, 2]);
        use Prompt::*;
        assert_eq!(
            drain(&mut menu),
            [MenuOutput::Play(vec![
                YouHave,
                Number(1),
                NewMessage,
                And,
                Number(2),
                OldMessages,
                Menu
            ])]
        );
    }

    #[test]
    fn a_message_played_to_its_end_is_heard_once() {
        let mut menu = listed(&[4, 5], &[]);
        menu.handle_digit('1');
        assert!(drain(&mut menu).contains(&MenuOutput::PlayMessage(id(4))));
        assert!(menu.handle_sound(true));
        menu.handle_played(Instant::ZERO);
        assert_eq!(drain(&mut menu), [MenuOutput::MarkHeard(id(4))]);
        menu.handle_digit('2');
        assert_eq!(drain(&mut menu), [MenuOutput::PlayMessage(id(4))]);
        assert!(menu.handle_sound(true));
        menu.handle_digit('3');
        assert_eq!(drain(&mut menu), [MenuOutput::Silence, MenuOutput::Delete(id(4))]);
        menu.handle_deleted(true);
        assert_eq!(drain(&mut menu), [MenuOutput::Play(vec![Prompt::Deleted])]);
        menu.handle_digit('3');
        assert!(
            !drain(&mut menu)
                .iter()
                .any(|o| matches!(o, MenuOutput::Delete(_)))
        );
    }

    #[test]
    fn old_messages_are_not_marked_again_and_the_end_is_told() {
        let mut menu = listed(&[], &[7]);
        menu.handle_digit('4');
        assert!(drain(&mut menu).contains(&MenuOutput::PlayMessage(id(7))));
        assert!(menu.handle_sound(true));
        menu.handle_played(Instant::ZERO);
        assert_eq!(drain(&mut menu), []);
        menu.handle_digit('1');
        assert_eq!(
            drain(&mut menu),
            [MenuOutput::Play(vec![Prompt::NoMore, Prompt::Menu])]
        );
    }

    #[test]
    fn a_silent_listener_is_reminded_and_then_left() {
        let mut menu = listed(&[], &[]);
        let mut now = Instant::ZERO;
        for _ in 0..REMINDERS {
            drain(&mut menu);
            menu.handle_played(now);
            now += PATIENCE;
            menu.handle_timeout(now);
            assert_eq!(drain(&mut menu), [MenuOutput::Play(vec![Prompt::Menu])]);
        }
        menu.handle_played(now);
        now += PATIENCE;
        menu.handle_timeout(now);
        assert_eq!(drain(&mut menu), [MenuOutput::Play(vec![Prompt::Goodbye])]);
        menu.handle_played(now);
        assert_eq!(drain(&mut menu), [MenuOutput::HangUp]);
        menu.handle_digit('1');
        assert_eq!(drain(&mut menu), []);
    }

    #[test]
    fn a_message_deleted_elsewhere_is_passed_over() {
        let mut menu = listed(&[4, 5], &[]);
        menu.handle_digit('1');
        drain(&mut menu);
        assert!(!menu.handle_sound(false));
        assert_eq!(drain(&mut menu), [MenuOutput::PlayMessage(id(5))]);
    }

    #[test]
    fn what_was_not_played_stays_new() {
        let mut menu = listed(&[4, 5], &[]);
        menu.handle_digit('1');
        menu.handle_digit('1');
        assert!(drain(&mut menu).ends_with(&[MenuOutput::PlayMessage(id(5))]));
        assert!(menu.handle_sound(true));
        menu.handle_digit('0');
        let said = [
            MenuOutput::Silence,
            MenuOutput::MarkHeard(id(5)),
            MenuOutput::Play(vec![Prompt::Menu]),
        ];
        assert_eq!(drain(&mut menu), said);
        assert!(!menu.handle_sound(true), "nobody waits for it any more");
    }

    #[test]
    fn a_message_that_cannot_be_deleted_is_not_said_to_be() {
        let mut menu = listed(&[4], &[]);
        menu.handle_digit('1');
        menu.handle_sound(true);
        menu.handle_digit('3');
        menu.handle_digit('1');
        drain(&mut menu);
        menu.handle_deleted(false);
        assert_eq!(drain(&mut menu), [MenuOutput::Play(vec![Prompt::Failed])]);
    }
}
