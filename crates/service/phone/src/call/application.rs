//! A caller who speaks with us: leaving a message, hearing one's own, or hearing a mount.

use super::{Call, CallId, Stage};
use crate::phone::{Pending, Phone};
use crate::question::{Greeting, Question, Recording};
use crate::reply::Reply;
use crate::voicemail::{Deposit, DepositOutput, Menu, MenuOutput, Prompt, VoiceMessages};
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_media::{Audio, Command, Event, LegId, PlayOutcome};
use ringpost_sip::{Message, Status};
use std::sync::Arc;
use std::time::Duration;

/// What the caller speaks with, and what it plays.
#[derive(Debug)]
pub(crate) struct Application {
    program: Program,
    /// The caller's media leg.
    leg: LegId,
    /// Whether the caller's description is known, so that it can be spoken to.
    begun: bool,
    /// The number of what is being played: an end that is told for an earlier one is no news.
    playing: u64,
    /// The number of the last sound that was asked for.
    wish: u64,
}

#[derive(Debug)]
enum Program {
    Deposit(Deposit),
    Menu(Menu),
    /// Hears a mount; its name until that has begun.
    Mount(Option<Box<str>>),
}

impl Phone {
    /// The callee does not come to the phone: the caller may leave a message. A caller whom we cannot hear is refused with
    /// what the phones said, or, when none has said anything, for what keeps us from hearing them.
    pub(crate) fn divert_to_voicemail(&mut self, now: Instant, id: CallId, said: Option<Status>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(account) = call.callee.as_ref().map(|callee| callee.account) else {
            let status = said.unwrap_or(Status::TEMPORARILY_UNAVAILABLE);
            return self.refuse_call(now, id, status.into());
        };
        call.stage = Stage::Asking;
        if let Err(refusal) = self.answer_alone(id) {
            return self.refuse_call(now, id, said.map_or(refusal, Reply::from));
        }
        let longest = self.config.voicemail_max;
        self.ask(Question::Greeting { account, longest }, Pending::Greeting(id));
    }

    /// The greeting is known: the call is answered with it. A message that could not be kept is not asked for.
    pub(crate) fn greet(&mut self, now: Instant, id: CallId, greeting: Greeting) {
        let greeting = match greeting {
            Greeting::BuiltIn => None,
            Greeting::Own(sound) => Some(sound),
            Greeting::NoRoom => return self.refuse_call(now, id, Status::SERVICE_UNAVAILABLE.into()),
        };
        let deposit = Deposit::new(greeting, &self.config);
        self.open(now, id, Program::Deposit(deposit));
    }

    /// The caller hears their own messages.
    pub(crate) fn open_menu(&mut self, now: Instant, id: CallId) {
        if let Err(refusal) = self.answer_alone(id) {
            return self.refuse_call(now, id, refusal);
        }
        self.open(now, id, Program::Menu(Menu::new()));
    }

    /// The caller hears a mount.
    pub(crate) fn open_mount(&mut self, now: Instant, id: CallId, mount: Box<str>) {
        if let Err(refusal) = self.answer_alone(id) {
            return self.refuse_call(now, id, refusal);
        }
        self.open(now, id, Program::Mount(Some(mount)));
    }

    fn open(&mut self, now: Instant, id: CallId, program: Program) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (Some(caller), Stage::Asking) = (&call.caller, &call.stage) else {
            return;
        };
        let leg = caller.leg;
        let application = Application {
            program,
            leg,
            // After a delayed offer the caller's description comes with the ACK; what was said before would be lost.
            begun: call.offer.is_some(),
            playing: 0,
            wish: 0,
        };
        call.stage = Stage::Application(Box::new(application));
        // It may have heard a phone's early media until now.
        self.command(Command::Unbridge { leg });
        self.accept(now, id);
        self.drive(now, id);
    }

    /// The caller has acknowledged our answer.
    pub(crate) fn application_acked(&mut self, now: Instant, id: CallId) {
        if let Some(application) = self.application(id) {
            application.begun = true;
            self.drive(now, id);
        }
    }

    /// Something of the media engine that concerns an application.
    pub(crate) fn application_media(&mut self, now: Instant, calendar: UnixTime, id: CallId, event: &Event) {
        let Some(application) = self.application(id) else {
            return;
        };
        match (&mut application.program, event) {
            (Program::Deposit(deposit), Event::Recorded { samples, .. }) => deposit.handle_samples(samples),
            (Program::Deposit(deposit), Event::RecordEnded { silent_end, .. }) => {
                deposit.handle_recorded(*silent_end);
            }
            (_, Event::Digit { digit, .. }) => return self.application_digit(now, id, *digit),
            (program, Event::PlayEnded { id, outcome, .. }) => {
                if *id != application.playing || *outcome == PlayOutcome::Stopped {
                    return;
                }
                match program {
                    Program::Deposit(deposit) => deposit.handle_played(calendar),
                    Program::Menu(menu) => menu.handle_played(now),
                    Program::Mount(_) => {}
                }
            }
            _ => return,
        }
        self.drive(now, id);
    }

    fn application_digit(&mut self, now: Instant, id: CallId, digit: char) {
        if let Some(application) = self.application(id) {
            match &mut application.program {
                Program::Deposit(deposit) => deposit.handle_digit(digit),
                Program::Menu(menu) => menu.handle_digit(digit),
                Program::Mount(_) => {}
            }
            self.drive(now, id);
        }
    }

    /// A key that came as an INFO: `Signal=5` in application/dtmf-relay, or the key alone in application/dtmf.
    pub(crate) fn application_info(&mut self, now: Instant, id: CallId, request: &Message) {
        let is_dtmf = request
            .content_type()
            .and_then(Result::ok)
            .is_some_and(|t| t.is("application", "dtmf-relay") || t.is("application", "dtmf"));
        if let (true, Some(digit)) = (is_dtmf, digit_of(request.body())) {
            self.application_digit(now, id, digit);
        }
    }

    /// A media leg is no more. If it was the caller's, the recording has ended with it, also if that was not told.
    pub(crate) fn application_leg_removed(&mut self, now: Instant, id: CallId, leg: LegId) {
        if let Some(application) = self.application(id).filter(|a| a.leg == leg)
            && let Program::Deposit(deposit) = &mut application.program
        {
            deposit.handle_recorded(Duration::ZERO);
            self.drive(now, id);
        }
    }

    /// The caller has hung up. A recording that is not delivered yet keeps the call until it is.
    pub(crate) fn application_left(&mut self, now: Instant, id: CallId) {
        if let Some(Program::Deposit(deposit)) = self.program(id) {
            deposit.handle_hangup();
            if !deposit.is_ended() {
                // Removing the leg brings the last of the recording, and then its end.
                self.end_caller_leg(id);
                return self.drive(now, id);
            }
        }
        self.end_call(now, id);
    }

    /// The mailbox has the message, or not.
    pub(crate) fn delivered(&mut self, now: Instant, id: CallId, stored: bool) {
        if let Some(Program::Deposit(deposit)) = self.program(id) {
            deposit.handle_delivered(stored);
            self.drive(now, id);
        }
    }

    /// The list for the menu.
    pub(crate) fn listed(&mut self, now: Instant, id: CallId, list: Option<VoiceMessages>) {
        if let Some(Program::Menu(menu)) = self.program(id) {
            menu.handle_list(list);
            self.drive(now, id);
        }
    }

    /// The sound of the message that the menu wanted to play when it asked for the `wish`th time.
    pub(crate) fn sound_fetched(&mut self, now: Instant, id: CallId, wish: u64, sound: Option<Arc<[i16]>>) {
        let Some(application) = self.application(id).filter(|a| a.wish == wish) else {
            return;
        };
        let Program::Menu(menu) = &mut application.program else {
            return;
        };
        if menu.handle_sound(sound.is_some())
            && let Some(sound) = sound
        {
            self.play(id, vec![Audio::Pcm(sound)]);
        }
        self.drive(now, id);
    }

    /// The mailbox has deleted a message, or not.
    pub(crate) fn deleted(&mut self, now: Instant, id: CallId, done: bool) {
        if let Some(Program::Menu(menu)) = self.program(id) {
            menu.handle_deleted(done);
            self.drive(now, id);
        }
    }

    /// The menu's patience is at its end.
    pub(crate) fn application_timeout(&mut self, now: Instant, id: CallId) {
        if let Some(Program::Menu(menu)) = self.program(id) {
            menu.handle_timeout(now);
            self.drive(now, id);
        }
    }

    fn application(&mut self, id: CallId) -> Option<&mut Application> {
        match &mut self.calls.get_mut(&id)?.stage {
            Stage::Application(application) => Some(application),
            _ => None,
        }
    }

    fn program(&mut self, id: CallId) -> Option<&mut Program> {
        self.application(id).map(|application| &mut application.program)
    }

    /// Does what the program wants, until it waits.
    fn drive(&mut self, now: Instant, id: CallId) {
        loop {
            let Some(application) = self.application(id) else {
                return;
            };
            let is_alone = !application.begun;
            match &mut application.program {
                Program::Deposit(deposit) if is_alone && !deposit.is_left() => return,
                Program::Menu(_) | Program::Mount(_) if is_alone => return,
                Program::Mount(wanted) => {
                    let leg = application.leg;
                    if let Some(mount) = wanted.take() {
                        let caller = self.calls.get(&id).and_then(Call::mount_caller);
                        self.ask(Question::Hear { mount, caller, leg }, Pending::Hearing(id));
                    }
                    return;
                }
                Program::Deposit(deposit) => match deposit.poll_output() {
                    Some(output) => self.do_deposit(now, id, output),
                    None if deposit.is_ended() => return self.finish_call(now, id),
                    None => return,
                },
                Program::Menu(menu) => match menu.poll_output() {
                    MenuOutput::Timeout(at) => {
                        return match at {
                            Some(at) => self.timers.set(id, at),
                            None => self.timers.remove(&id),
                        };
                    }
                    output => self.do_menu(now, id, output),
                },
            }
        }
    }

    fn do_deposit(&mut self, now: Instant, id: CallId, output: DepositOutput) {
        match output {
            DepositOutput::PlaySound(sound) => self.play(id, vec![Audio::Pcm(sound)]),
            DepositOutput::Play(words) => self.speak(id, &words),
            DepositOutput::StopPlaying => self.tell_caller_leg(id, |leg| Command::StopPlay { leg }),
            DepositOutput::Record { max, silence } => self.tell_caller_leg(id, |leg| Command::Record {
                leg,
                id: 0,
                max,
                silence: Some(silence),
            }),
            DepositOutput::StopRecording => self.tell_caller_leg(id, |leg| Command::StopRecord { leg }),
            DepositOutput::Deliver(message) => {
                let Some(call) = self.calls.get(&id) else { return };
                let Some(callee) = &call.callee else { return };
                let (caller, caller_name) = caller_of(call);
                let recording = Recording {
                    account: callee.account,
                    caller,
                    caller_name,
                    began: message.began,
                    length: message.length,
                    sound: message.sound.into(),
                    call_id: call.invite.call_id().as_str().into(),
                };
                self.ask(Question::Deliver(Box::new(recording)), Pending::Delivered(id));
            }
            DepositOutput::HangUp => self.finish_call(now, id),
        }
    }

    fn do_menu(&mut self, now: Instant, id: CallId, output: MenuOutput) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(account) = call.from.as_ref().map(|person| person.account) else {
            return;
        };
        match output {
            MenuOutput::List => self.ask(Question::Messages { account }, Pending::Messages(id)),
            MenuOutput::PlayMessage(message) => {
                let Some(application) = self.application(id) else {
                    return;
                };
                application.wish += 1;
                let wish = application.wish;
                self.ask(Question::Sound { account, message }, Pending::Sound(id, wish));
            }
            MenuOutput::Play(words) => self.speak(id, &words),
            MenuOutput::Silence => self.tell_caller_leg(id, |leg| Command::StopPlay { leg }),
            MenuOutput::MarkHeard(message) => {
                self.ask(Question::Heard { account, message }, Pending::Nothing);
            }
            MenuOutput::Delete(message) => {
                self.ask(Question::Delete { account, message }, Pending::Deleted(id));
            }
            MenuOutput::HangUp => self.finish_call(now, id),
            MenuOutput::Timeout(_) => {}
        }
    }

    fn speak(&mut self, id: CallId, words: &[Prompt]) {
        self.play(id, words.iter().flat_map(|word| word.audio()).collect());
    }

    fn play(&mut self, id: CallId, mut playlist: Vec<Audio>) {
        playlist.truncate(limits::PLAYLIST_PIECES);
        let Some(application) = self.application(id) else {
            return;
        };
        application.playing += 1;
        let number = application.playing;
        self.tell_caller_leg(id, |leg| Command::Play {
            leg,
            id: number,
            playlist,
            repeat: false,
        });
    }

    fn tell_caller_leg(&mut self, id: CallId, command: impl FnOnce(LegId) -> Command) {
        let leg = self
            .calls
            .get(&id)
            .and_then(|call| call.caller.as_ref())
            .map(|caller| caller.leg);
        if let Some(leg) = leg {
            self.command(command(leg));
        }
    }
}

/// The first key that the body of an INFO names.
fn digit_of(body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then_some(value)
    });
    let key = signal.unwrap_or(text).trim().chars().next()?.to_ascii_uppercase();
    "0123456789*#ABCD".contains(key).then_some(key)
}

/// The caller's address and name, as the message is to show them.
fn caller_of(call: &super::Call) -> (Box<str>, Box<str>) {
    if let Some(person) = &call.from {
        return (
            format!("{}@{}", person.user, person.domain).into(),
            person.name.clone(),
        );
    }
    let from = call.invite.from();
    let uri = from.uri();
    let address = match (uri.user(), uri.host()) {
        (Some(user), Some(host)) => format!("{user}@{host}"),
        _ => uri.as_str().to_owned(),
    };
    (address.into(), from.display().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_names_its_key_in_one_of_two_ways() {
        assert_eq!(digit_of(b"Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(digit_of(b"signal= #\r\n"), Some('#'));
        assert_eq!(digit_of(b"*"), Some('*'));
        assert_eq!(digit_of(b"Duration=160\r\nSignal=d\r\n"), Some('D'));
        assert_eq!(digit_of(b"hello"), None);
        assert_eq!(digit_of(b""), None);
        assert_eq!(digit_of(b"\xff"), None);
    }
}
