//! A phone's calls: offers and answers, hold, and what becomes of them.

use super::heard::Sound;
use super::media::{Media, Output as MediaOutput};
use super::{Answering, Error, Event, Output, Phone, Socket};
use ringpost_base::{Instant, limits};
use ringpost_codec::Tone;
use ringpost_sdp::{Direction, Negotiation, SessionDescription, Stream};
use ringpost_sip::ua::{CommandError, Content, Event as UaEvent, NewRequest, Reason, SessionId};
use ringpost_sip::{Message, Method, Status};
use std::net::SocketAddr;
use std::time::Duration;

/// A call's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Why a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// We hung up, cancelled or rejected it.
    Here,
    /// The peer hung up, or gave up its call.
    There,
    /// The peer refused our call.
    Refused {
        /// With this status.
        status: u16,
    },
    /// Nobody answered in time, or the peer was lost.
    Lost,
    /// What the peer described of itself is of no use.
    Unusable,
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Statistics {
    /// RTP both ways.
    pub rtp: ringpost_rtp::Statistics,
    /// For how long tones were heard: frequency and milliseconds.
    pub tones_ms: Vec<(f64, u64)>,
}

impl Statistics {
    /// For how long tones near this frequency were heard.
    pub fn heard_ms(&self, frequency_hz: f64) -> u64 {
        super::heard::sum_near(&self.tones_ms, frequency_hz)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Our INVITE is under way.
    Calling,
    /// The peer's INVITE waits for us, which may answer by itself then.
    Ringing { answer_at: Option<Instant> },
    /// Both have agreed, or are about to.
    Up,
    /// We are done with it; the user agent is not yet.
    Ending(Ended),
}

/// A change of ours to a standing call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// Under way.
    Running,
    /// Behind a 491: to be tried again when the user agent says so.
    Waiting,
    /// Behind another exchange that is under way: to be tried again then.
    Due(Instant),
}

/// How long a change of ours waits for one of the peer's to be over.
const CHANGE_WAIT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Call {
    id: CallId,
    session: SessionId,
    line: usize,
    state: State,
    negotiation: Negotiation,
    /// What an early answer has agreed on, while the last one is awaited.
    early: Option<Negotiation>,
    /// The offer that rings.
    offer: Option<SessionDescription>,
    media: Option<Media>,
    tone: Option<Tone>,
    /// What we want to do: both ways, or hold.
    wish: Direction,
    change: Change,
    is_held: bool,
    finished: Option<Statistics>,
}

impl Call {
    fn new(
        id: CallId,
        session: SessionId,
        line: usize,
        state: State,
        negotiation: Negotiation,
        tone: Option<Tone>,
    ) -> Self {
        Call {
            id,
            session,
            line,
            state,
            negotiation,
            early: None,
            offer: None,
            media: None,
            tone,
            wish: Direction::SendRecv,
            change: Change::None,
            is_held: false,
            finished: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let media = self.media.as_ref().map(Media::deadline);
        let answer = match self.state {
            State::Ringing { answer_at } => answer_at,
            _ => None,
        };
        let change = match self.change {
            Change::Due(at) => Some(at),
            _ => None,
        };
        [media, answer, change].into_iter().flatten().min()
    }
}

impl Phone {
    /// Calls a user of our domain, or a SIP URI.
    pub fn call(&mut self, now: Instant, to: &str) -> Result<CallId, Error> {
        let to = self.target(to)?;
        let line = self.free_line().ok_or(Error::Busy)?;
        let mut negotiation = Negotiation::new(self.rng.u64());
        let offer = negotiation
            .offer(&[self.stream(line, Direction::SendRecv)])
            .map_err(|_| Error::State)?;
        let request = self.new_request(Method::Invite, to)?;
        let session = self.ua.invite(
            now,
            NewRequest {
                content: sdp(&offer),
                ..request
            },
        )?;
        let id = self.add_call(session, line, State::Calling, negotiation);
        self.pump(now);
        Ok(id)
    }

    /// Answers a call that rings.
    pub fn answer(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        let at = self.place(call)?;
        let State::Ringing { .. } = self.calls[at].state else {
            return Err(Error::State);
        };
        self.answer_at(now, at);
        self.pump(now);
        Ok(())
    }

    /// Refuses a call that rings.
    pub fn reject(&mut self, now: Instant, call: CallId, status: Status) -> Result<(), Error> {
        let at = self.place(call)?;
        let State::Ringing { .. } = self.calls[at].state else {
            return Err(Error::State);
        };
        self.calls[at].state = State::Ending(Ended::Here);
        self.ua
            .reject(now, self.calls[at].session, status, Content::none())?;
        self.pump(now);
        Ok(())
    }

    /// Ends a call in whatever state: cancels, rejects or hangs up.
    pub fn hang_up(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        let at = self.place(call)?;
        self.end(now, at, Ended::Here);
        self.pump(now);
        Ok(())
    }

    /// Puts the peer on hold.
    pub fn hold(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.change(now, call, Direction::SendOnly)
    }

    /// Takes the peer off hold.
    pub fn resume(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.change(now, call, Direction::SendRecv)
    }

    /// Says a tone from now on, or nothing.
    pub fn say(&mut self, call: CallId, frequency_hz: Option<f64>) -> Result<(), Error> {
        let at = self.place(call)?;
        let tone = frequency_hz.map(tone);
        self.calls[at].tone = tone.clone();
        if let Some(media) = &mut self.calls[at].media {
            media.say(tone);
        }
        Ok(())
    }

    /// Presses keys, one after another, as telephone-events.
    pub fn press(&mut self, call: CallId, digits: &str) -> Result<(), Error> {
        let at = self.place(call)?;
        let media = self.calls[at].media.as_mut().ok_or(Error::State)?;
        if media.press(digits) {
            Ok(())
        } else {
            Err(Error::State)
        }
    }

    /// What is heard now.
    pub fn sound(&self, call: CallId) -> Option<Sound> {
        let call = self.calls.iter().find(|known| known.id == call)?;
        Some(
            call.media
                .as_ref()
                .map_or(Sound::Silence, |media| media.ear().sound()),
        )
    }

    /// How a call has gone so far.
    pub fn statistics(&self, call: CallId) -> Option<Statistics> {
        let call = self.calls.iter().find(|known| known.id == call)?;
        let running = call.media.as_ref().map(Media::statistics);
        Some(running.or_else(|| call.finished.clone()).unwrap_or_default())
    }

    /// The calls that are not over.
    pub fn calls(&self) -> impl Iterator<Item = CallId> {
        self.calls.iter().map(|call| call.id)
    }

    fn add_call(
        &mut self,
        session: SessionId,
        line: usize,
        state: State,
        negotiation: Negotiation,
    ) -> CallId {
        self.last_call += 1;
        let id = CallId(self.last_call);
        let tone = self.config.tone_hz.map(tone);
        self.calls
            .push(Call::new(id, session, line, state, negotiation, tone));
        id
    }

    fn place(&self, call: CallId) -> Result<usize, Error> {
        self.calls
            .iter()
            .position(|known| known.id == call)
            .ok_or(Error::Over)
    }

    fn free_line(&self) -> Option<usize> {
        (0..self.config.lines.len()).find(|line| self.calls.iter().all(|call| call.line != *line))
    }

    pub(super) fn media_of(&mut self, line: usize) -> Option<&mut Media> {
        self.calls
            .iter_mut()
            .find(|call| call.line == line)?
            .media
            .as_mut()
    }

    fn stream(&self, line: usize, direction: Direction) -> Stream {
        Stream::audio(self.config.lines[line], self.config.codecs.clone()).directed(direction)
    }

    pub(super) fn handle_call_timeouts(&mut self, now: Instant) {
        for at in 0..self.calls.len() {
            if let Some(media) = &mut self.calls[at].media {
                media.handle_timeout(now);
            }
            if matches!(self.calls[at].state, State::Ringing { answer_at: Some(due) } if due <= now) {
                self.answer_at(now, at);
            }
            if matches!(self.calls[at].change, Change::Due(due) if due <= now) {
                self.calls[at].change = Change::None;
                self.send_change(now, at);
            }
        }
    }

    pub(super) fn handle_call_event(&mut self, now: Instant, event: UaEvent) {
        if let UaEvent::Invite { session, request, .. } = event {
            return self.handle_invite(now, session, &request);
        }
        let session = match &event {
            UaEvent::Provisional { session, .. }
            | UaEvent::Answered { session, .. }
            | UaEvent::Acked { session, .. }
            | UaEvent::Reinvite { session, .. }
            | UaEvent::ReinviteAnswered { session, .. }
            | UaEvent::ReinviteRefused { session, .. }
            | UaEvent::ReinviteAllowed { session }
            | UaEvent::RefreshDue { session }
            | UaEvent::Terminated { session, .. } => *session,
            _ => return,
        };
        let Some(at) = self.calls.iter().position(|call| call.session == session) else {
            return;
        };
        match event {
            UaEvent::Provisional { response, .. } => self.handle_progress(now, at, &response),
            UaEvent::Answered { response, .. } => self.handle_answered(now, at, &response),
            UaEvent::Acked { request, .. } => self.handle_acked(now, at, &request),
            UaEvent::Reinvite { request, .. } => self.handle_reinvite(now, at, &request),
            UaEvent::ReinviteAnswered { response, .. } => self.handle_changed(now, at, &response),
            UaEvent::ReinviteRefused { response, .. } => self.handle_change_refused(at, &response),
            UaEvent::ReinviteAllowed { .. } if self.calls[at].change == Change::Waiting => {
                self.send_change(now, at)
            }
            // The same description again: the session's interval is renewed, and nothing else.
            UaEvent::RefreshDue { .. } if self.calls[at].change == Change::None => self.send_change(now, at),
            UaEvent::Terminated { reason, .. } => self.handle_terminated(now, at, reason),
            _ => (),
        }
    }

    fn handle_invite(&mut self, now: Instant, session: SessionId, request: &Message) {
        let refusal = match (self.config.answering, self.free_line()) {
            (Answering::Refuse(status), _) => Err(status),
            (_, None) => Err(Status::BUSY_HERE),
            (_, Some(line)) => match described(request) {
                Ok(offer) => Ok((line, offer)),
                Err(()) => Err(Status::NOT_ACCEPTABLE_HERE),
            },
        };
        let (line, offer) = match refusal {
            Ok(good) => good,
            Err(status) => {
                // It may be over before it is refused.
                let _ = self.ua.reject(now, session, status, Content::none());
                return;
            }
        };
        let answer_at = match self.config.answering {
            Answering::After(wait) => Some(now + wait),
            Answering::Ring | Answering::Refuse(_) => None,
        };
        let negotiation = Negotiation::new(self.rng.u64());
        let call = self.add_call(session, line, State::Ringing { answer_at }, negotiation);
        if let Some(last) = self.calls.last_mut() {
            last.offer = offer;
        }
        let _ = self.ua.ring(now, session, Status::RINGING, Content::none());
        let from = request.from().uri().to_string();
        self.event(Event::Incoming { call, from });
    }

    /// Answers the call with an answer to its offer, or with our own offer if it has none.
    fn answer_at(&mut self, now: Instant, at: usize) {
        let stream = self.stream(self.calls[at].line, self.calls[at].wish);
        let call = &mut self.calls[at];
        let description = match call.offer.take() {
            Some(offer) => call
                .negotiation
                .answer(&offer, &[stream])
                .map(|(answer, _)| answer),
            None => call.negotiation.offer(&[stream]),
        };
        let (session, id) = (call.session, call.id);
        match description {
            Ok(description) => {
                call.state = State::Up;
                if self.ua.answer(now, session, sdp(&description)).is_ok() {
                    self.event(Event::Up { call: id });
                    self.apply(now, at);
                }
            }
            Err(_) => {
                call.state = State::Ending(Ended::Unusable);
                let _ = self
                    .ua
                    .reject(now, session, Status::NOT_ACCEPTABLE_HERE, Content::none());
            }
        }
    }

    fn handle_progress(&mut self, now: Instant, at: usize, response: &Message) {
        let status = response.status().map_or(0, Status::code);
        let call = &mut self.calls[at];
        if let Ok(Some(answer)) = described(response) {
            // Each fork may answer by itself, and the last word has the 2xx: the offer stays open for it.
            let mut early = call.negotiation.clone();
            if early.handle_answer(&answer).is_ok() {
                call.early = Some(early);
            }
        }
        let id = call.id;
        self.event(Event::Progress { call: id, status });
        self.apply(now, at);
    }

    fn handle_answered(&mut self, now: Instant, at: usize, response: &Message) {
        let call = &mut self.calls[at];
        let early = call.early.take();
        let agreed = match described(response) {
            Ok(Some(answer)) => call.negotiation.handle_answer(&answer).is_ok(),
            Ok(None) => early.map(|early| call.negotiation = early).is_some(),
            Err(()) => false,
        };
        if let State::Ending(_) = call.state {
            return;
        }
        call.state = State::Up;
        let id = call.id;
        if agreed {
            self.event(Event::Up { call: id });
            self.apply(now, at);
        } else {
            self.end(now, at, Ended::Unusable);
        }
    }

    /// The ACK has the answer where our 2xx made the offer.
    fn handle_acked(&mut self, now: Instant, at: usize, request: &Message) {
        if !self.calls[at].negotiation.is_open() {
            return;
        }
        let answer = described(request).ok().flatten();
        let agreed = answer.is_some_and(|answer| self.calls[at].negotiation.handle_answer(&answer).is_ok());
        if agreed {
            self.apply(now, at);
        } else {
            self.end(now, at, Ended::Unusable);
        }
    }

    fn handle_reinvite(&mut self, now: Instant, at: usize, request: &Message) {
        let stream = self.stream(self.calls[at].line, self.calls[at].wish);
        let call = &mut self.calls[at];
        let session = call.session;
        let answer = match described(request) {
            Ok(Some(offer)) => call
                .negotiation
                .answer(&offer, &[stream])
                .map(|(answer, _)| answer)
                .ok(),
            Ok(None) => call.negotiation.offer(&[stream]).ok(),
            Err(()) => None,
        };
        // Either may come too late, and then the user agent has told so.
        match answer {
            Some(answer) => {
                let _ = self.ua.answer(now, session, sdp(&answer));
                self.apply(now, at);
            }
            None => {
                let _ = self
                    .ua
                    .reject(now, session, Status::NOT_ACCEPTABLE_HERE, Content::none());
            }
        }
    }

    fn change(&mut self, now: Instant, call: CallId, wish: Direction) -> Result<(), Error> {
        let at = self.place(call)?;
        let call = &mut self.calls[at];
        if call.state != State::Up || call.change != Change::None {
            return Err(Error::State);
        }
        call.wish = wish;
        self.send_change(now, at);
        self.pump(now);
        Ok(())
    }

    fn send_change(&mut self, now: Instant, at: usize) {
        let stream = self.stream(self.calls[at].line, self.calls[at].wish);
        let call = &mut self.calls[at];
        let Ok(offer) = call.negotiation.offer(&[stream]) else {
            return;
        };
        call.change = Change::Running;
        match self.ua.reinvite(now, call.session, sdp(&offer)) {
            Ok(()) => (),
            // The peer's change is first, or an ACK is missing.
            Err(CommandError::Pending) => {
                call.negotiation.withdraw();
                call.change = Change::Due(now + CHANGE_WAIT);
            }
            Err(_) => {
                call.negotiation.withdraw();
                call.change = Change::None;
            }
        }
    }

    fn handle_changed(&mut self, now: Instant, at: usize, response: &Message) {
        let call = &mut self.calls[at];
        call.change = Change::None;
        let agreed = match described(response) {
            Ok(Some(answer)) => call.negotiation.handle_answer(&answer).is_ok(),
            _ => false,
        };
        call.negotiation.withdraw();
        let (id, holding) = (call.id, !call.wish.receives());
        if agreed {
            self.event(Event::Holding { call: id, holding });
            self.apply(now, at);
        } else {
            self.end(now, at, Ended::Unusable);
        }
    }

    fn handle_change_refused(&mut self, at: usize, response: &Message) {
        let call = &mut self.calls[at];
        call.negotiation.withdraw();
        let status = response.status().unwrap_or(Status::SERVER_INTERNAL_ERROR);
        if status == Status::REQUEST_PENDING {
            call.change = Change::Waiting;
            return;
        }
        call.change = Change::None;
        let agreed = call.negotiation.audio().map(|audio| audio.direction.receives());
        call.wish = if agreed == Some(false) && !call.wish.receives() {
            call.wish
        } else {
            Direction::SendRecv
        };
        let id = call.id;
        self.event(Event::HoldRefused {
            call: id,
            status: status.code(),
        });
    }

    /// Ends a call by ourselves.
    fn end(&mut self, now: Instant, at: usize, why: Ended) {
        let call = &mut self.calls[at];
        if matches!(call.state, State::Ending(_)) {
            return;
        }
        call.state = State::Ending(why);
        let session = call.session;
        self.silence(now, at);
        // If it is over already, the user agent is about to say so.
        let _ = self.ua.hang_up(now, session, None);
    }

    fn handle_terminated(&mut self, now: Instant, at: usize, reason: Reason) {
        self.silence(now, at);
        self.drain_media();
        let call = self.calls.swap_remove(at);
        let why = match (call.state, reason) {
            (State::Ending(why), _) => why,
            (_, Reason::Local) => Ended::Here,
            (_, Reason::Bye(_) | Reason::Cancelled(_)) => Ended::There,
            (_, Reason::Refused(response)) => Ended::Refused {
                status: response.status().map_or(0, Status::code),
            },
            _ => Ended::Lost,
        };
        self.event(Event::Ended {
            call: call.id,
            why,
            statistics: call.finished.unwrap_or_default(),
        });
    }

    /// Ends a call's media: says RTCP's BYE, and keeps the statistics.
    fn silence(&mut self, now: Instant, at: usize) {
        self.drain_media();
        let Some(mut media) = self.calls[at].media.take() else {
            return;
        };
        media.leave(now);
        let line = self.calls[at].line;
        while let Some(output) = media.poll_output() {
            self.media_output(at, line, output);
        }
        self.calls[at].finished = Some(media.statistics());
    }

    /// Follows what was agreed on.
    fn apply(&mut self, now: Instant, at: usize) {
        let wallclock = self.epoch.1 + now.since(self.epoch.0);
        let call = &mut self.calls[at];
        let Some(agreed) = call.early.as_ref().unwrap_or(&call.negotiation).audio().cloned() else {
            return;
        };
        let held = agreed.held;
        match &mut call.media {
            Some(media) => media.renegotiate(agreed),
            None => {
                let mut media = Media::new(now, wallclock, agreed, self.rng.fork());
                media.say(call.tone.clone());
                call.media = Some(media);
            }
        }
        if std::mem::replace(&mut call.is_held, held) != held {
            let id = call.id;
            self.event(Event::Held { call: id, held });
        }
    }

    pub(super) fn drain_media(&mut self) {
        for at in 0..self.calls.len() {
            let line = self.calls[at].line;
            while let Some(output) = self.calls[at].media.as_mut().and_then(Media::poll_output) {
                self.media_output(at, line, output);
            }
        }
    }

    fn media_output(&mut self, at: usize, line: usize, output: MediaOutput) {
        let call = self.calls[at].id;
        let transmit = |socket, to: SocketAddr, bytes: Vec<u8>| Output::Transmit {
            socket,
            to,
            bytes: bytes.into(),
        };
        self.outputs.push_back(match output {
            MediaOutput::Rtp(to, bytes) => transmit(Socket::Rtp(line), to, bytes),
            MediaOutput::Rtcp(to, bytes) => transmit(Socket::Rtcp(line), to, bytes),
            MediaOutput::Heard(sound) => Output::Event(Event::Heard { call, sound }),
            MediaOutput::Digit(digit) => Output::Event(Event::Digit { call, digit }),
        });
    }
}

fn sdp(description: &SessionDescription) -> Content {
    Content::sdp(description.to_string())
}

/// The session description in a message: none, or one, or a bad one.
fn described(message: &Message) -> Result<Option<SessionDescription>, ()> {
    let body = message.body();
    if body.is_empty() {
        return Ok(None);
    }
    if body.len() > limits::SDP_BYTES {
        return Err(());
    }
    SessionDescription::parse(body).map(Some).map_err(|_| ())
}

/// What a phone says.
fn tone(frequency_hz: f64) -> Tone {
    Tone::sine(frequency_hz, -12.0)
}
