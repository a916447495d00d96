//! The phones of one person ring together; the first that answers has the call.

use super::outside::TARGET_PATIENCE;
use super::{Call, CallId, Destination, Party, Stage, Talking, codecs};
use crate::phone::Phone;
use crate::question::MediaSocket;
use crate::reply::{best_refusal, passed_back};
use crate::sip::invitation;
use crate::text::breadth_of;
use ringpost_base::Instant;
use ringpost_media::Command;
use ringpost_sdp::{Codec, Direction, Negotiation, SessionDescription, Stream};
use ringpost_sip::ua::SessionId;
use ringpost_sip::{Message, Status};

/// Tells the phones that did not win that the call was not missed (RFC 3326 §2).
const ANSWERED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// The phones that ring for a call.
#[derive(Debug, Default)]
pub(crate) struct Ringing {
    pub(crate) forks: Vec<Fork>,
    /// Whether the caller was told that it rings.
    told: bool,
    /// The fork whose early media the caller hears.
    early: Option<SessionId>,
    /// The best refusal so far.
    refusal: Option<Status>,
}

/// One phone that rings.
#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) party: Party,
    /// The last description that it gave before it answered, and of which of its dialogs.
    described: Option<(Box<str>, SessionDescription)>,
    /// It has said that it is at work.
    is_alive: bool,
}

/// What every fork of a call is offered.
struct Invitation {
    codecs: Vec<Codec>,
    direction: Direction,
    /// How many copies each may make of it.
    breadth: usize,
}

impl Phone {
    /// Calls every binding at once.
    pub(crate) fn ring(&mut self, now: Instant, id: CallId, targets: Vec<(Destination, MediaSocket)>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.stage = Stage::Ringing(Ringing::default());
        let offer = call.offer.as_ref();
        let invitation = Invitation {
            codecs: codecs::offer(offer),
            direction: offer.map(codecs::direction_of).unwrap_or_default(),
            breadth: breadth_of(&call.invite) / targets.len().max(1),
        };
        let patience = match call.outside {
            Some(_) => TARGET_PATIENCE,
            None => self.config.no_answer,
        };
        self.timers.set(id, now + patience);
        let mut left_out = Vec::new();
        for (destination, socket) in targets {
            if let Err(socket) = self.ring_one(now, id, &destination, socket, &invitation) {
                left_out.push(socket);
            }
        }
        if left_out.is_empty() {
            return;
        }
        left_out.into_iter().for_each(|socket| self.release(socket.pair));
        self.go_on_ringing(now, id, Status::SERVICE_UNAVAILABLE);
    }

    /// Calls one phone; gives the socket back if that cannot be done.
    fn ring_one(
        &mut self,
        now: Instant,
        id: CallId,
        destination: &Destination,
        socket: MediaSocket,
        Invitation {
            codecs,
            direction,
            breadth,
        }: &Invitation,
    ) -> Result<(), MediaSocket> {
        let mut negotiation = Negotiation::new(self.rng.u64());
        let stream = Stream::audio(socket.advertised, codecs.clone()).directed(*direction);
        let description = negotiation.offer(&[stream]).map_err(|_| socket)?;
        let body = description.to_string().into_bytes();
        let call = self.calls.get(&id).ok_or(socket)?;
        let request = invitation(call, destination, *breadth, body, &self.config).ok_or(socket)?;
        let session = self.ua.invite(now, request).map_err(|_| socket)?;
        // The fork is recorded before its request leaves: what was said to the user agent leaves when it is drained.
        self.by_session.insert(session, id);
        if let Some(target) = &destination.target {
            self.reached.insert(session, target.clone());
        }
        let party = Party {
            negotiation,
            offered: *direction,
            ..self.new_party(id, session, destination.flow, socket)
        };
        if let Some(ringing) = self.ringing(id) {
            ringing.forks.push(Fork {
                party,
                described: None,
                is_alive: false,
            });
        }
        Ok(())
    }

    fn ringing(&mut self, id: CallId) -> Option<&mut Ringing> {
        match &mut self.calls.get_mut(&id)?.stage {
            Stage::Ringing(ringing) => Some(ringing),
            _ => None,
        }
    }

    /// A fork rings, or plays something.
    pub(crate) fn fork_progress(&mut self, now: Instant, id: CallId, session: SessionId, response: &Message) {
        let Some(ringing) = self.ringing(id) else { return };
        let Some(fork) = ringing.forks.iter_mut().find(|f| f.party.session == session) else {
            return;
        };
        fork.is_alive = true;
        if let Ok(description) = SessionDescription::parse(response.body()) {
            let dialog = response.to_tag().unwrap_or_default().into();
            fork.described = Some((dialog, description));
            if self.play_early(now, id, session) {
                return;
            }
        }
        if let Some(ringing) = self.ringing(id)
            && !std::mem::replace(&mut ringing.told, true)
        {
            self.tell_ringing(now, id, Status::RINGING);
        }
    }

    /// Lets the caller hear the early media of a fork, if it is the first that has some. The caller's one answer is given
    /// now for good, so it must be one that any other fork and the voicemail can live with: only G.711 is heard early.
    fn play_early(&mut self, now: Instant, id: CallId, session: SessionId) -> bool {
        let Some(Call {
            stage: Stage::Ringing(ringing),
            offer: Some(_),
            ..
        }) = self.calls.get(&id)
        else {
            return false;
        };
        let fork = ringing.forks.iter().find(|f| f.party.session == session);
        let (Some(fork), None) = (fork, ringing.early) else {
            return false;
        };
        // The 2xx answers the offer again, perhaps from another dialog: the early answer is tried on a copy.
        let mut negotiation = fork.party.negotiation.clone();
        let answer = fork.described.as_ref().map(|(_, description)| description);
        let agreed = answer.and_then(|answer| negotiation.handle_answer(answer).ok());
        let Some(audio) = agreed.and_then(|_| negotiation.audio()) else {
            return false;
        };
        let is_g711 = audio.codec().is_some_and(|c| codecs::is_transcodable(&c.codec));
        let chosen = codecs::beside(&audio.codecs);
        let (leg, update) = (fork.party.leg, fork.party.update_to(&negotiation));
        if !is_g711 || self.answer_caller(id, chosen, Direction::SendRecv).is_err() {
            return false;
        }
        let Some(caller) = self.calls.get(&id).and_then(|call| call.caller.as_ref()) else {
            return false;
        };
        let a = caller.leg;
        if let Some(ringing) = self.ringing(id) {
            ringing.early = Some(session);
            ringing.told = true;
        }
        update.into_iter().for_each(|update| self.command(update));
        self.command(Command::Bridge { a, b: leg });
        self.tell_ringing(now, id, Status::SESSION_PROGRESS);
        true
    }

    /// A fork answered: the others stop, and the caller gets the call.
    pub(crate) fn fork_answered(&mut self, now: Instant, id: CallId, session: SessionId, response: &Message) {
        let Some(mut winner) = self.drop_fork(id, session) else {
            return self.hang_up(now, session);
        };
        let answer = answer_of(response, winner.described.take());
        if !winner.party.take_answer(answer) {
            // A 2xx whose answer is of no use is acknowledged and ended at once.
            self.end_party(now, winner.party, None);
            return self.go_on_ringing(now, id, Status::NOT_ACCEPTABLE_HERE);
        }
        self.stop_ringing(now, id, Some(ANSWERED_ELSEWHERE));
        let (codecs, direction) = (winner.party.beside(), winner.party.willing);
        if let Err(refusal) = self.answer_caller(id, codecs, direction) {
            self.end_party(now, winner.party, None);
            return self.refuse_call(now, id, refusal);
        }
        self.connect(now, id, winner.party);
    }

    fn connect(&mut self, now: Instant, id: CallId, callee: Party) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(caller) = &call.caller else { return };
        let (a, b) = (caller.leg, callee.leg);
        let update = callee.update();
        call.stage = Stage::Talking(Box::new(Talking::new(callee)));
        update.into_iter().for_each(|update| self.command(update));
        self.command(Command::Bridge { a, b });
        self.overhear(id);
        self.accept(now, id);
    }

    /// A fork refused, or cannot be reached: nobody there has given the status then.
    pub(crate) fn fork_failed(
        &mut self,
        now: Instant,
        id: CallId,
        session: SessionId,
        (status, is_refusal): (Status, bool),
    ) {
        let Some(fork) = self.drop_fork(id, session) else {
            return;
        };
        self.by_session.remove(&session);
        self.command(Command::RemoveLeg { leg: fork.party.leg });
        let is_outside = self.calls.get(&id).is_some_and(|call| call.outside.is_some());
        let is_unreached = match is_refusal {
            true => status == Status::SERVICE_UNAVAILABLE,
            false => !fork.is_alive,
        };
        if is_outside && is_unreached {
            let status = match (is_refusal, status) {
                (false, Status::SERVICE_UNAVAILABLE) => Status::BAD_GATEWAY,
                _ => status,
            };
            return self.next_target(now, id, status);
        }
        //= https://www.rfc-editor.org/rfc/rfc3261#section-16.7
        // Step 5: who declines everywhere stops the other phones too.
        if status.code() >= 600 {
            self.cancel_forks(now, id, None);
        }
        self.go_on_ringing(now, id, status);
    }

    fn drop_fork(&mut self, id: CallId, session: SessionId) -> Option<Fork> {
        let ringing = self.ringing(id)?;
        let place = ringing.forks.iter().position(|f| f.party.session == session)?;
        if ringing.early == Some(session) {
            // The next one that plays something may be heard.
            ringing.early = None;
        }
        Some(ringing.forks.remove(place))
    }

    /// The next target of another domain is called, instead of one that was silent; one that has come to life meanwhile
    /// goes on.
    pub(crate) fn ring_outside(
        &mut self,
        now: Instant,
        id: CallId,
        targets: Vec<(Destination, MediaSocket)>,
    ) {
        if !self.is_target_heard(id) {
            self.cancel_forks(now, id, None);
            return self.ring(now, id, targets);
        }
        for (destination, socket) in targets {
            self.release(socket.pair);
            let outside = self.calls.get_mut(&id).and_then(|call| call.outside.as_mut());
            if let (Some(outside), Some(target)) = (outside, destination.target) {
                outside.spare = Some((target, destination.flow));
            }
        }
    }

    /// Nobody answered in time.
    pub(crate) fn no_answer(&mut self, now: Instant, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.outside.is_some()) {
            return self.target_silent(now, id);
        }
        if let Some(ringing) = self.ringing(id) {
            let said = ringing.refusal.map(passed_back);
            self.stop_ringing(now, id, None);
            self.divert_to_voicemail(now, id, said);
        }
    }

    /// When no fork is left, the voicemail answers, or the caller is refused as the phones did.
    fn go_on_ringing(&mut self, now: Instant, id: CallId, status: Status) {
        let Some(ringing) = self.ringing(id) else { return };
        let best = best_refusal(ringing.refusal, status);
        ringing.refusal = Some(best);
        if !ringing.forks.is_empty() {
            return;
        }
        self.timers.remove(&id);
        match means_unavailable(best) {
            true => self.divert_to_voicemail(now, id, Some(passed_back(best))),
            false => self.refuse_call(now, id, best.into()),
        }
    }

    /// Cancels every fork that still rings; the reason is what keeps a phone from showing a call as missed.
    pub(crate) fn stop_ringing(&mut self, now: Instant, id: CallId, reason: Option<&str>) {
        if self.ringing(id).is_some() {
            self.timers.remove(&id);
            self.cancel_forks(now, id, reason);
        }
    }

    fn cancel_forks(&mut self, now: Instant, id: CallId, reason: Option<&str>) {
        let forks = self.ringing(id).map(|ringing| std::mem::take(&mut ringing.forks));
        for fork in forks.unwrap_or_default() {
            self.end_party(now, fork.party, reason);
        }
    }
}

/// The answer in a 2xx; where it has none, the one that came before in the same dialog, since the phone may think that
/// this was it.
fn answer_of(
    response: &Message,
    early: Option<(Box<str>, SessionDescription)>,
) -> Option<SessionDescription> {
    if !response.body().is_empty() {
        return SessionDescription::parse(response.body()).ok();
    }
    let (dialog, description) = early?;
    (Some(&*dialog) == response.to_tag()).then_some(description)
}

/// Whether a refusal means that the person does not come to the phone, so that a message can be left; what the caller did
/// wrong, or could do better, is told instead.
fn means_unavailable(status: Status) -> bool {
    !matches!(status.code(), 413..=416 | 420 | 421 | 484 | 488 | 493 | 606)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_is_about_the_call_is_not_taken_for_absence() {
        assert!(means_unavailable(Status::BUSY_HERE) && means_unavailable(Status::DECLINE));
        assert!(!means_unavailable(Status::NOT_ACCEPTABLE_HERE));
    }
}
