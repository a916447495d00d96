//! A caller who speaks with us: leaving a message, or hearing one's own.

use super::{CallId, Stage, codecs};
use crate::phone::{Pending, Phone};
use crate::question::{Question, Recording};
use crate::voicemail::{Deposit, DepositOutput, Menu, MenuOutput, Prompt, VoiceMessages};
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_media::{Audio, Command, Event, LegId, PlayOutcome};
use ringpost_sip::Status;
use std::sync::Arc;

/// What the caller speaks with, and what it plays.
#[derive(Debug)]
pub(crate) struct Application {
    program: Program,
    /// The number of what is being played: an end that is told for an earlier one is no news.
    playing: u64,
}

#[derive(Debug)]
enum Program {
    Deposit(Deposit),
    Menu(Menu),
}

impl Phone {
    /// The callee does not come to the phone: the caller may leave a message. A caller whom we cannot hear is refused with
    /// what the phones said.
    pub(crate) fn divert_to_voicemail(&mut self, now: Instant, id: CallId, why: Status) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(account) = call.callee.as_ref().map(|callee| callee.account) else {
            return self.refuse_call(now, id, why.into());
        };
        call.stage = Stage::Asking;
        if self.answer_caller(id, codecs::ours()).is_err() {
            return self.refuse_call(now, id, why.into());
        }
        self.ask(Question::Greeting { account }, Pending::Greeting(id));
    }

    /// The greeting is known: the call is answered with it.
    pub(crate) fn greet(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        id: CallId,
        greeting: Option<Arc<[i16]>>,
    ) {
        let deposit = Deposit::new(greeting, &self.config);
        self.open(now, calendar, id, Program::Deposit(deposit));
    }

    /// The caller hears their own messages.
    pub(crate) fn open_menu(&mut self, now: Instant, id: CallId) {
        if let Err(status) = self.answer_caller(id, codecs::ours()) {
            return self.refuse_call(now, id, status.into());
        }
        self.open(now, UnixTime::default(), id, Program::Menu(Menu::new()));
    }

    fn open(&mut self, now: Instant, calendar: UnixTime, id: CallId, program: Program) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !matches!(call.stage, Stage::Asking) {
            return;
        }
        if let Some(caller) = &call.caller {
            let leg = caller.leg;
            call.stage = Stage::Application(Box::new(Application { program, playing: 0 }));
            self.command(Command::Unbridge { leg });
        }
        self.accept(now, id);
        self.drive(now, calendar, id);
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
            (program, Event::Digit { digit, .. }) => match program {
                Program::Deposit(deposit) => deposit.handle_digit(*digit),
                Program::Menu(menu) => menu.handle_digit(*digit),
            },
            (program, Event::PlayEnded { id, outcome, .. }) => {
                if *id != application.playing || *outcome == PlayOutcome::Stopped {
                    return;
                }
                match program {
                    Program::Deposit(deposit) => deposit.handle_played(calendar),
                    Program::Menu(menu) => menu.handle_played(now),
                }
            }
            _ => return,
        }
        self.drive(now, calendar, id);
    }

    /// The caller has hung up. A recording that is not delivered yet keeps the call until it is.
    pub(crate) fn application_left(&mut self, now: Instant, calendar: UnixTime, id: CallId) {
        if let Some(Application {
            program: Program::Deposit(deposit),
            ..
        }) = self.application(id)
        {
            deposit.handle_hangup();
            if !deposit.is_ended() {
                // Removing the leg brings the last of the recording, and then its end.
                self.end_caller_leg(id);
                return self.drive(now, calendar, id);
            }
        }
        self.end_call(now, id);
    }

    /// The mailbox has the message, or not.
    pub(crate) fn delivered(&mut self, now: Instant, calendar: UnixTime, id: CallId, stored: bool) {
        if let Some(Application {
            program: Program::Deposit(deposit),
            ..
        }) = self.application(id)
        {
            deposit.handle_delivered(stored);
            self.drive(now, calendar, id);
        }
    }

    /// The list for the menu.
    pub(crate) fn listed(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        id: CallId,
        list: Option<VoiceMessages>,
    ) {
        if let Some(Application {
            program: Program::Menu(menu),
            ..
        }) = self.application(id)
        {
            menu.handle_list(list);
            self.drive(now, calendar, id);
        }
    }

    /// The sound of the message that the menu wants to play.
    pub(crate) fn sound_fetched(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        id: CallId,
        sound: Option<Arc<[i16]>>,
    ) {
        match sound {
            Some(sound) => self.play(id, vec![Audio::Pcm(sound)]),
            None => {
                if let Some(Application {
                    program: Program::Menu(menu),
                    ..
                }) = self.application(id)
                {
                    menu.handle_missing();
                }
            }
        }
        self.drive(now, calendar, id);
    }

    /// The menu's patience is at its end.
    pub(crate) fn application_timeout(&mut self, now: Instant, calendar: UnixTime, id: CallId) {
        if let Some(Application {
            program: Program::Menu(menu),
            ..
        }) = self.application(id)
        {
            menu.handle_timeout(now);
            self.drive(now, calendar, id);
        }
    }

    fn application(&mut self, id: CallId) -> Option<&mut Application> {
        match &mut self.calls.get_mut(&id)?.stage {
            Stage::Application(application) => Some(application),
            _ => None,
        }
    }

    /// Does what the program wants, until it waits.
    fn drive(&mut self, now: Instant, calendar: UnixTime, id: CallId) {
        loop {
            let Some(application) = self.application(id) else {
                return;
            };
            match &mut application.program {
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
                    output => self.do_menu(now, calendar, id, output),
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

    fn do_menu(&mut self, now: Instant, _calendar: UnixTime, id: CallId, output: MenuOutput) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(account) = call.from.as_ref().map(|person| person.account) else {
            return;
        };
        match output {
            MenuOutput::List => self.ask(Question::Messages { account }, Pending::Messages(id)),
            MenuOutput::PlayMessage(message) => {
                self.ask(Question::Sound { account, message }, Pending::Sound(id));
            }
            MenuOutput::Play(words) => self.speak(id, &words),
            MenuOutput::Silence => self.tell_caller_leg(id, |leg| Command::StopPlay { leg }),
            MenuOutput::MarkHeard(message) => {
                self.ask(Question::Heard { account, message }, Pending::Nothing);
            }
            MenuOutput::Delete(message) => self.ask(Question::Delete { account, message }, Pending::Nothing),
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
