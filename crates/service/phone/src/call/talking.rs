//! Two legs that hear each other: hold, resume, changes of codec and address, and the end.
//!
//! What one phone does, the other is told: hold reaches it as hold. So a change that concerns the other leg is offered to
//! it first, in a re-INVITE of ours, and answered when its phone has agreed; what does not concern it is answered at once.
//! Where the legs have come apart all the same (an answer that came with an ACK, a change that was given up half-way, an
//! early answer that the winner does not fit), one of them is brought into line with the other.

use super::incoming::offer_of;
use super::{Call, CallId, Party, Stage, codecs};
use crate::phone::Phone;
use crate::reply::passed_back_within;
use ringpost_base::Instant;
use ringpost_media::{Command, LegId};
use ringpost_sdp::{Negotiation, OfferError, SessionDescription};
use ringpost_sip::ua::{Content, SessionId};
use ringpost_sip::{Message, Status};

/// How many re-INVITEs of ours may follow from one change: legs that cannot be brought into line are left as they are.
const ADJUSTMENTS: u8 = 4;

/// A connected call.
#[derive(Debug)]
pub(crate) struct Talking {
    pub(crate) callee: Party,
    pub(crate) reoffer: Reoffer,
    /// How many re-INVITEs of ours may still follow from the last change.
    pub(crate) adjustments: u8,
}

/// A change that one leg was offered and has not answered.
#[derive(Debug)]
pub(crate) enum Reoffer {
    None,
    /// `asker` offered this in a re-INVITE; the other leg was offered the same in ours.
    Passed {
        asker: SessionId,
        offer: Box<SessionDescription>,
    },
    /// Nobody waits for the answer: it is ours, or its asker has given up.
    Ours,
}

/// Which of the two legs.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Caller,
    Callee,
}

impl Talking {
    pub(crate) fn new(callee: Party) -> Self {
        Talking {
            callee,
            reoffer: Reoffer::None,
            adjustments: ADJUSTMENTS,
        }
    }
}

impl Call {
    fn talking(&mut self) -> Option<&mut Talking> {
        match &mut self.stage {
            Stage::Talking(talking) => Some(talking),
            _ => None,
        }
    }

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

    /// The leg of a session: one of the two that talk, or the caller's alone.
    fn party_mut(&mut self, session: SessionId) -> Option<&mut Party> {
        match self.side(session) {
            Some(side) => self.legs_mut(side).map(|(party, _)| party),
            None => self.caller.as_mut().filter(|party| party.session == session),
        }
    }
}

impl Phone {
    pub(crate) fn is_talking(&self, id: CallId) -> bool {
        let stage = self.calls.get(&id).map(|call| &call.stage);
        matches!(stage, Some(Stage::Talking(_)))
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

    /// The ACK to our 2xx; with a delayed offer it carries the answer.
    pub(crate) fn acked(&mut self, now: Instant, id: CallId, session: SessionId, ack: &Message) {
        let Some(party) = self.calls.get_mut(&id).and_then(|call| call.party_mut(session)) else {
            return;
        };
        if party.negotiation.is_open() {
            let agreed = party.take_answer(SessionDescription::parse(ack.body()).ok());
            match party.update() {
                Some(update) if agreed => self.command(update),
                // What was agreed on before still stands.
                Some(_) => {}
                // There is nothing to send by: the call cannot go on.
                None => return self.finish_call(now, id),
            }
        }
        self.application_acked(now, id);
        self.changed(id);
        self.adjust(now, id);
        self.try_refresh(now, id, session);
    }

    /// A leg asks for a change (RFC 3261 §14.2).
    pub(crate) fn reinvited(&mut self, now: Instant, id: CallId, session: SessionId, request: &Message) {
        let side = self.calls.get(&id).and_then(|call| call.side(session));
        match (side, offer_of(request)) {
            (_, Err(reply)) => self.reject(now, session, reply),
            (None, Ok(offer)) => self.reinvited_alone(now, id, session, offer),
            (Some(side), Ok(None)) => self.offer_again(now, id, side),
            (Some(side), Ok(Some(offer))) => self.change(now, id, side, offer),
        }
    }

    fn change(&mut self, now: Instant, id: CallId, side: Side, offer: SessionDescription) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let is_busy = !call.talking().is_some_and(|t| matches!(t.reoffer, Reoffer::None));
        let Some((asker, other)) = call.legs_mut(side) else {
            return;
        };
        let (session, to_other) = (asker.session, other.session);
        //= https://www.rfc-editor.org/rfc/rfc3261#section-14.2
        if is_busy {
            return self.refuse_reinvite(now, session, Status::REQUEST_PENDING);
        }
        // What can never be answered is refused before the other leg hears of it.
        let theirs = codecs::offer(Some(&offer));
        if let Err(error) = asker.would_answer(&offer, theirs.clone()) {
            return self.refuse_reinvite(now, session, refusal_of(&error));
        }
        let wished = codecs::direction_of(&offer);
        let is_in_line = other.direction() == wished.and(other.willing.reversed());
        let here = asker.would_answer(&offer, other.beside());
        let is_audible = here.is_ok_and(|here| hear_each_other(&here, &other.negotiation));
        if is_in_line && is_audible {
            return self.answer_reinvite(now, id, side, &offer);
        }
        let Some(description) = other.offer(theirs, wished) else {
            return self.refuse_reinvite(now, session, Status::REQUEST_PENDING);
        };
        let offer = Box::new(offer);
        self.set_reoffer(
            id,
            Reoffer::Passed {
                asker: session,
                offer,
            },
        );
        self.send_reinvite(now, id, to_other, description);
    }

    /// Answers a re-INVITE whose change the other leg has agreed to, or need not know.
    fn answer_reinvite(&mut self, now: Instant, id: CallId, side: Side, offer: &SessionDescription) {
        let legs = self.calls.get_mut(&id).and_then(|call| call.legs_mut(side));
        let Some((asker, other)) = legs else { return };
        let session = asker.session;
        // What the other leg gives and takes bounds what we can give and take here.
        match asker.answer(offer, other.beside(), other.willing) {
            Ok(description) => {
                let update = asker.update();
                update.into_iter().for_each(|update| self.command(update));
                self.accept_reinvite(now, session, description);
            }
            Err(error) => self.refuse_reinvite(now, session, refusal_of(&error)),
        }
        self.changed(id);
        self.adjust(now, id);
    }

    /// A re-INVITE without an offer gets one of ours, with all that the other leg takes, and answers it in its ACK.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-14.2
    fn offer_again(&mut self, now: Instant, id: CallId, side: Side) {
        let legs = self.calls.get_mut(&id).and_then(|call| call.legs_mut(side));
        let Some((asker, other)) = legs else { return };
        let session = asker.session;
        match asker.offer(other.beside(), other.willing) {
            Some(description) => self.accept_reinvite(now, session, description),
            None => self.refuse_reinvite(now, session, Status::REQUEST_PENDING),
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
        let party = self.calls.get_mut(&id).and_then(|call| call.party_mut(session));
        let Some(party) = party else {
            return self.refuse_reinvite(now, session, Status::CALL_DOES_NOT_EXIST);
        };
        let (codecs, direction) = (codecs::alone(offer.as_ref()), Default::default());
        let (description, update) = match &offer {
            Some(offer) => (party.answer(offer, codecs, direction), party.update()),
            None => (party.offer(codecs, direction).ok_or(OfferError::Open), None),
        };
        match description {
            Ok(description) => {
                update.into_iter().for_each(|update| self.command(update));
                self.accept_reinvite(now, session, description);
            }
            Err(error) => self.refuse_reinvite(now, session, refusal_of(&error)),
        }
    }

    /// Our re-INVITE was accepted.
    pub(crate) fn reinvite_answered(
        &mut self,
        now: Instant,
        id: CallId,
        session: SessionId,
        response: &Message,
    ) {
        let Some(party) = self.calls.get_mut(&id).and_then(|call| call.party_mut(session)) else {
            return;
        };
        party.refresh_due = false;
        let agreed = party.take_answer(SessionDescription::parse(response.body()).ok());
        let update = party.update().filter(|_| agreed);
        update.into_iter().for_each(|update| self.command(update));
        if let Reoffer::Passed { asker, offer } = self.set_reoffer(id, Reoffer::None) {
            let side = self.calls.get(&id).and_then(|call| call.side(asker));
            match (side, agreed) {
                (Some(side), true) => self.answer_reinvite(now, id, side, &offer),
                _ => self.refuse_reinvite(now, asker, Status::NOT_ACCEPTABLE_HERE),
            }
        }
        self.adjust(now, id);
    }

    /// Our re-INVITE was refused: both sessions stay as they were (RFC 3261 §14.1).
    pub(crate) fn reinvite_refused(&mut self, now: Instant, id: CallId, session: SessionId, status: Status) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if let Some(party) = call.party_mut(session) {
            party.negotiation.withdraw();
            // Only behind a 491 is there another try.
            party.refresh_due &= status == Status::REQUEST_PENDING;
        }
        match self.set_reoffer(id, Reoffer::None) {
            Reoffer::Passed { asker, .. } => self.refuse_reinvite(now, asker, passed_back_within(status)),
            Reoffer::Ours if status != Status::REQUEST_PENDING && !self.is_audible(id) => {
                self.finish_call(now, id);
            }
            Reoffer::Ours | Reoffer::None => {}
        }
    }

    /// The asker gave up. If the other leg was asked already, it is brought back when it has answered.
    pub(crate) fn reinvite_gone(&mut self, now: Instant, id: CallId, session: SessionId) {
        let talking = self.calls.get_mut(&id).and_then(Call::talking);
        if let Some(Talking { reoffer, .. }) = talking
            && matches!(reoffer, Reoffer::Passed { asker, .. } if *asker == session)
        {
            *reoffer = Reoffer::Ours;
        }
        self.try_refresh(now, id, session);
    }

    /// The wait behind a 491 is over: what was to be offered may still be.
    pub(crate) fn reinvite_allowed(&mut self, now: Instant, id: CallId, session: SessionId) {
        self.adjust(now, id);
        self.try_refresh(now, id, session);
    }

    /// The session interval asks for a re-INVITE that changes nothing (RFC 4028 §10).
    pub(crate) fn refresh_due(&mut self, now: Instant, id: CallId, session: SessionId) {
        if let Some(party) = self.calls.get_mut(&id).and_then(|call| call.party_mut(session)) {
            party.refresh_due = true;
            self.try_refresh(now, id, session);
        }
    }

    /// Sends the re-INVITE that is due; while another is under way, that one or its end brings it.
    fn try_refresh(&mut self, now: Instant, id: CallId, session: SessionId) {
        let party = self.calls.get_mut(&id).and_then(|call| call.party_mut(session));
        let Some(party) = party.filter(|party| party.refresh_due) else {
            return;
        };
        let Some(described) = party.negotiation.local() else {
            return;
        };
        let same = (codecs::of_audio(described), codecs::direction_of(described));
        if let Some(description) = party.offer(same.0, same.1)
            && self.ua.reinvite(now, session, Content::sdp(description)).is_err()
            && let Some(party) = self.calls.get_mut(&id).and_then(|call| call.party_mut(session))
        {
            party.negotiation.withdraw();
        }
    }

    /// A phone has changed something: legs may be brought into line again.
    fn changed(&mut self, id: CallId) {
        if let Some(talking) = self.calls.get_mut(&id).and_then(Call::talking) {
            talking.adjustments = ADJUSTMENTS;
        }
    }

    /// Offers a leg what the other does, if it was last told something else, or speaks what the other does not hear.
    fn adjust(&mut self, now: Instant, id: CallId) {
        let is_audible = self.is_audible(id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        match call.talking() {
            Some(talking) if matches!(talking.reoffer, Reoffer::None) && talking.adjustments > 0 => {}
            _ => return,
        }
        for side in [Side::Caller, Side::Callee] {
            let Some((leg, other)) = call.legs_mut(side) else {
                return;
            };
            if leg.negotiation.is_open() || other.negotiation.is_open() {
                return;
            }
            let target = other.willing.and(leg.willing.reversed());
            let is_deaf = side == Side::Caller && !is_audible;
            if leg.direction() == target && !is_deaf {
                continue;
            }
            let session = leg.session;
            let Some(description) = leg.offer(other.beside(), other.willing) else {
                return;
            };
            if let Some(talking) = call.talking() {
                talking.adjustments -= 1;
                talking.reoffer = Reoffer::Ours;
            }
            return self.send_reinvite(now, id, session, description);
        }
    }

    /// Whether each of the two legs can hear what the other prefers to speak.
    fn is_audible(&self, id: CallId) -> bool {
        let Some(call) = self.calls.get(&id) else {
            return true;
        };
        let Stage::Talking(talking) = &call.stage else {
            return true;
        };
        let caller = call.caller.as_ref().map(|caller| &caller.negotiation);
        caller.is_none_or(|caller| hear_each_other(caller, &talking.callee.negotiation))
    }

    fn set_reoffer(&mut self, id: CallId, reoffer: Reoffer) -> Reoffer {
        let talking = self.calls.get_mut(&id).and_then(Call::talking);
        talking.map_or(Reoffer::None, |talking| {
            std::mem::replace(&mut talking.reoffer, reoffer)
        })
    }

    fn send_reinvite(&mut self, now: Instant, id: CallId, session: SessionId, description: Vec<u8>) {
        if self.ua.reinvite(now, session, Content::sdp(description)).is_err() {
            // Another offer is on its way there: the asker tries again, as behind any glare.
            self.reinvite_refused(now, id, session, Status::REQUEST_PENDING);
        }
    }

    fn accept_reinvite(&mut self, now: Instant, session: SessionId, description: Vec<u8>) {
        let _ = self.ua.answer(now, session, Content::sdp(description));
    }

    fn refuse_reinvite(&mut self, now: Instant, session: SessionId, status: Status) {
        let _ = self.ua.reject(now, session, status, Content::none());
    }

    /// Nothing was heard of a leg's phone for too long: the call is taken for dead, unless it only rings, or the phone
    /// holds it, which then may be silent.
    pub(crate) fn media_silent(&mut self, now: Instant, id: CallId, leg: LegId) {
        let Some(call) = self.calls.get(&id) else { return };
        let party = match &call.stage {
            Stage::Talking(talking) if talking.callee.leg == leg => Some(&talking.callee),
            Stage::Talking(_) | Stage::Application(_) => call.caller.as_ref(),
            Stage::Asking | Stage::Ringing(_) => None,
        };
        let audio = party.and_then(|party| party.negotiation.audio());
        if audio.is_some_and(|audio| !audio.held) {
            self.dismiss(now, id);
        }
    }

    /// A key was pressed on one leg. Where the other leg has no events for it, it gets the tone.
    pub(crate) fn digit_across(&mut self, id: CallId, leg: LegId, digit: char) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Stage::Talking(talking), Some(caller)) = (&call.stage, &call.caller) else {
            return;
        };
        let (from, to) = match talking.callee.leg == leg {
            true => (&talking.callee, caller),
            false => (caller, &talking.callee),
        };
        let has_events = |party: &Party| {
            let audio = party.negotiation.audio();
            audio.is_some_and(|audio| audio.codecs.iter().any(|c| c.codec.is_telephone_event()))
        };
        if has_events(from) && !has_events(to) {
            let (leg, digits) = (to.leg, digit.to_string());
            self.command(Command::SendDigits { leg, digits });
        }
    }
}

/// Whether both legs can be made to hear each other, as far as they have agreed on anything.
fn hear_each_other(one: &Negotiation, other: &Negotiation) -> bool {
    let both = one.audio().zip(other.audio());
    both.is_none_or(|(one, other)| codecs::hear_each_other(one, other))
}

fn refusal_of(error: &OfferError) -> Status {
    match error {
        OfferError::Open => Status::REQUEST_PENDING,
        OfferError::NothingInCommon | OfferError::LinesRemoved { .. } => Status::NOT_ACCEPTABLE_HERE,
    }
}
