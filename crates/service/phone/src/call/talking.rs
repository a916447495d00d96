//! Two legs that hear each other: hold, resume, changes of codec and address, and the end.

use super::incoming::offer_of;
use super::{Call, CallId, Party, Stage, codecs};
use crate::phone::Phone;
use ringpost_base::Instant;
use ringpost_media::Command;
use ringpost_sdp::{Codec, Direction, MediaKind, RemoteStream, SessionDescription};
use ringpost_sip::ua::{Content, SessionId};
use ringpost_sip::{Message, Status};

/// A connected call.
#[derive(Debug)]
pub(crate) struct Talking {
    pub(crate) callee: Party,
    pub(crate) reoffer: Reoffer,
}

/// A change that one leg asked for and the other has not answered.
#[derive(Debug)]
pub(crate) enum Reoffer {
    None,
    /// `asker` offered this in a re-INVITE; the other leg was offered the same in ours.
    Passed {
        asker: SessionId,
        offer: Box<SessionDescription>,
    },
}

/// Which of the two legs.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Caller,
    Callee,
}

impl Call {
    fn side(&self, session: SessionId) -> Option<Side> {
        let Stage::Talking(talking) = &self.stage else {
            return None;
        };
        if self.session == session {
            return Some(Side::Caller);
        }
        (talking.callee.session == session).then_some(Side::Callee)
    }

    /// The leg on `side` and the one across from it.
    fn legs_mut(&mut self, side: Side) -> Option<(&mut Party, &mut Party)> {
        let Stage::Talking(talking) = &mut self.stage else {
            return None;
        };
        let caller = self.caller.as_mut()?;
        Some(match side {
            Side::Caller => (caller, &mut talking.callee),
            Side::Callee => (&mut talking.callee, caller),
        })
    }

    fn reoffer(&mut self) -> Option<&mut Reoffer> {
        let Stage::Talking(talking) = &mut self.stage else {
            return None;
        };
        Some(&mut talking.reoffer)
    }
}

impl Phone {
    /// The ACK to our 2xx; with a delayed offer it carries the caller's answer.
    pub(crate) fn acked(&mut self, now: Instant, id: CallId, session: SessionId, ack: &Message) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let party = match call.legs_mut(call.side(session).unwrap_or(Side::Caller)) {
            Some((party, _)) => party,
            None => match call.caller.as_mut().filter(|party| party.session == session) {
                Some(party) => party,
                None => return,
            },
        };
        if !party.negotiation.is_open() {
            return;
        }
        let answer = SessionDescription::parse(ack.body()).ok();
        let agreed = answer.is_some_and(|answer| party.negotiation.handle_answer(&answer).is_ok());
        let (leg, media) = (party.leg, party.media());
        match media {
            Some(media) => self.command(Command::UpdateLeg { leg, media }),
            // Neither side has anything to send by: the call cannot go on (RFC 3261 §13.2.1, no answer in the ACK).
            None if !agreed => self.finish_call(now, id),
            None => {}
        }
    }

    /// A leg asks for a change (RFC 3261 §14.2).
    pub(crate) fn reinvited(&mut self, now: Instant, id: CallId, session: SessionId, request: &Message) {
        let Some(call) = self.calls.get_mut(&id) else {
            return self.refuse_reinvite(now, session, Status::CALL_DOES_NOT_EXIST);
        };
        let offer = match offer_of(request) {
            Ok(offer) => offer,
            Err(status) => return self.refuse_reinvite(now, session, status),
        };
        let Some(side) = call.side(session) else {
            return self.reinvited_alone(now, id, session, offer);
        };
        if !matches!(call.reoffer(), Some(Reoffer::None)) {
            //= https://www.rfc-editor.org/rfc/rfc3261#section-14.2
            return self.refuse_reinvite(now, session, Status::REQUEST_PENDING);
        }
        let Some((asker, other)) = call.legs_mut(side) else {
            return;
        };
        let Some(offer) = offer else {
            return self.offer_again(now, id, side);
        };
        let wished = direction_of(&offer).unwrap_or_default();
        // What the asker does is what the other leg is to hear done: hold reaches the other phone as hold.
        if other
            .negotiation
            .audio()
            .is_none_or(|audio| audio.direction == wished)
        {
            return self.answer_reinvite(now, id, side, &offer);
        }
        let stream = other.stream(kept_codecs(other, asker), wished);
        let (session, to_other) = (asker.session, other.session);
        let Ok(description) = other.negotiation.offer(&[stream]) else {
            return self.refuse_reinvite(now, session, Status::REQUEST_PENDING);
        };
        if let Some(reoffer) = call.reoffer() {
            *reoffer = Reoffer::Passed {
                asker: session,
                offer: Box::new(offer),
            };
        }
        self.send_reinvite(now, id, to_other, description.to_string().into_bytes());
    }

    /// The other leg agreed to what was passed on.
    pub(crate) fn reinvite_answered(
        &mut self,
        now: Instant,
        id: CallId,
        session: SessionId,
        response: &Message,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(side) = call.side(session) else { return };
        let Some((party, _)) = call.legs_mut(side) else {
            return;
        };
        if !party.negotiation.is_open() {
            // A refresh that changed nothing.
            return;
        }
        let answer = SessionDescription::parse(response.body()).ok();
        let agreed = answer.is_some_and(|answer| party.negotiation.handle_answer(&answer).is_ok());
        let (leg, media) = (party.leg, party.media());
        if let (true, Some(media)) = (agreed, media) {
            self.command(Command::UpdateLeg { leg, media });
        }
        let Some((asker, offer)) = self.take_reoffer(id) else {
            return;
        };
        let Some(asker_side) = self.calls.get(&id).and_then(|call| call.side(asker)) else {
            return;
        };
        match agreed {
            true => self.answer_reinvite(now, id, asker_side, &offer),
            false => self.refuse_reinvite(now, asker, Status::NOT_ACCEPTABLE_HERE),
        }
    }

    /// The other leg refused: both sessions stay as they were (RFC 3261 §14.1).
    pub(crate) fn reinvite_refused(&mut self, now: Instant, id: CallId, session: SessionId, status: Status) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some((party, _)) = call.side(session).and_then(|side| call.legs_mut(side)) else {
            return;
        };
        party.negotiation.withdraw();
        if let Some((asker, _)) = self.take_reoffer(id) {
            self.refuse_reinvite(now, asker, status);
        }
    }

    /// The asker gave up: if the other leg was asked already, its answer is taken and not passed back.
    pub(crate) fn reinvite_gone(&mut self, id: CallId, session: SessionId) {
        if let Some(reoffer) = self.calls.get_mut(&id).and_then(Call::reoffer)
            && matches!(reoffer, Reoffer::Passed { asker, .. } if *asker == session)
        {
            *reoffer = Reoffer::None;
        }
    }

    /// The session interval asks for a re-INVITE that changes nothing (RFC 4028 §10).
    pub(crate) fn refresh(&mut self, now: Instant, id: CallId, session: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let party = match call.side(session) {
            Some(side) => call.legs_mut(side).map(|(party, _)| party),
            None => call.caller.as_mut(),
        };
        let Some(description) = party
            .and_then(|party| party.negotiation.local())
            .map(ToString::to_string)
        else {
            return;
        };
        let _ = self
            .ua
            .reinvite(now, session, Content::sdp(description.into_bytes()));
    }

    fn take_reoffer(&mut self, id: CallId) -> Option<(SessionId, SessionDescription)> {
        let reoffer = self.calls.get_mut(&id)?.reoffer()?;
        match std::mem::replace(reoffer, Reoffer::None) {
            Reoffer::Passed { asker, offer } => Some((asker, *offer)),
            Reoffer::None => None,
        }
    }

    /// Answers a re-INVITE whose change the other leg has agreed to, or need not know.
    fn answer_reinvite(&mut self, now: Instant, id: CallId, side: Side, offer: &SessionDescription) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some((asker, other)) = call.legs_mut(side) else {
            return;
        };
        let session = asker.session;
        // What the other leg gives and takes bounds what we can give and take here.
        let across = other
            .negotiation
            .audio()
            .map_or(Direction::SendRecv, |audio| audio.direction.reversed());
        let stream = asker.stream(kept_codecs(asker, other), across);
        match asker.negotiation.answer(offer, &[stream]) {
            Ok((description, _)) => {
                let (leg, media) = (asker.leg, asker.media());
                if let Some(media) = media {
                    self.command(Command::UpdateLeg { leg, media });
                }
                self.accept_reinvite(now, session, description.to_string().into_bytes());
            }
            Err(_) => self.refuse_reinvite(now, session, Status::NOT_ACCEPTABLE_HERE),
        }
    }

    /// A re-INVITE without an offer gets the one that stands, and answers it in its ACK.
    fn offer_again(&mut self, now: Instant, id: CallId, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some((asker, other)) = call.legs_mut(side) else {
            return;
        };
        let across = other
            .negotiation
            .audio()
            .map_or(Direction::SendRecv, |audio| audio.direction.reversed());
        let stream = asker.stream(kept_codecs(asker, other), across);
        let session = asker.session;
        match asker.negotiation.offer(&[stream]) {
            Ok(description) => self.accept_reinvite(now, session, description.to_string().into_bytes()),
            Err(_) => self.refuse_reinvite(now, session, Status::REQUEST_PENDING),
        }
    }

    /// A change on a leg that speaks with us: voicemail and its menu agree to what they can play.
    fn reinvited_alone(
        &mut self,
        now: Instant,
        id: CallId,
        session: SessionId,
        offer: Option<SessionDescription>,
    ) {
        let Some(caller) = self.calls.get_mut(&id).and_then(|call| call.caller.as_mut()) else {
            return self.refuse_reinvite(now, session, Status::CALL_DOES_NOT_EXIST);
        };
        let stream = caller.stream(codecs::ours(), Direction::SendRecv);
        let description = match &offer {
            Some(offer) => caller
                .negotiation
                .answer(offer, &[stream])
                .map(|(description, _)| description),
            None => caller.negotiation.offer(&[stream]),
        };
        let (leg, media) = (caller.leg, caller.media());
        match description {
            Ok(description) => {
                if let (Some(media), true) = (media, offer.is_some()) {
                    self.command(Command::UpdateLeg { leg, media });
                }
                self.accept_reinvite(now, session, description.to_string().into_bytes());
            }
            Err(_) => self.refuse_reinvite(now, session, Status::NOT_ACCEPTABLE_HERE),
        }
    }

    /// The leg across from `session`, for what is passed on as it is.
    pub(crate) fn across(&self, id: CallId, session: SessionId) -> Option<SessionId> {
        let call = self.calls.get(&id)?;
        let Stage::Talking(talking) = &call.stage else {
            return None;
        };
        match call.side(session)? {
            Side::Caller => Some(talking.callee.session),
            Side::Callee => Some(call.session),
        }
    }
}

/// What a leg may go on speaking: what it spoke, or anything that can be made of what the other speaks.
fn kept_codecs(leg: &Party, other: &Party) -> Vec<Codec> {
    match leg.codec().or(other.codec()) {
        Some(codec) => codecs::beside(codec),
        None => codecs::ours(),
    }
}

fn direction_of(description: &SessionDescription) -> Option<Direction> {
    RemoteStream::all(description)
        .into_iter()
        .find(|stream| stream.kind == MediaKind::Audio)
        .map(|stream| stream.direction)
}
