//! The phones of one person ring together; the first that answers has the call.

use super::{Call, CallId, Party, Reoffer, Stage, Talking, codecs};
use crate::phone::Phone;
use crate::question::MediaSocket;
use crate::registrar::Binding;
use crate::sip::invitation;
use ringpost_base::Instant;
use ringpost_media::Command;
use ringpost_sdp::{Codec, Negotiation, SessionDescription, Stream};
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
}

impl Phone {
    /// Calls every binding at once.
    pub(crate) fn ring(&mut self, now: Instant, id: CallId, targets: Vec<(Binding, MediaSocket)>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.stage = Stage::Ringing(Ringing::default());
        let offered = codecs::offer(call.offer.as_ref());
        self.timers.set(id, now + self.config.no_answer);
        let mut left_out = Vec::new();
        for (binding, socket) in targets {
            if let Err(socket) = self.ring_one(now, id, &binding, socket, &offered) {
                left_out.push(socket);
            }
        }
        left_out.into_iter().for_each(|socket| self.release(socket.pair));
        self.go_on_ringing(now, id, Status::SERVICE_UNAVAILABLE);
    }

    /// Calls one phone; gives the socket back if that cannot be done.
    fn ring_one(
        &mut self,
        now: Instant,
        id: CallId,
        binding: &Binding,
        socket: MediaSocket,
        offered: &[Codec],
    ) -> Result<(), MediaSocket> {
        let call = self.calls.get(&id).ok_or(socket)?;
        let mut negotiation = Negotiation::new(self.rng.u64());
        let stream = Stream::audio(socket.advertised, offered.to_vec());
        let description = negotiation.offer(&[stream]).map_err(|_| socket)?;
        let request = invitation(call, binding, description.to_string().into_bytes()).ok_or(socket)?;
        let session = self.ua.invite(now, request).map_err(|_| socket)?;
        // The fork is recorded before its request leaves: what was said to the user agent leaves when it is drained.
        self.by_session.insert(session, id);
        let mut party = self.new_party(id, session, binding.flow, socket);
        party.negotiation = negotiation;
        if let Some(Call {
            stage: Stage::Ringing(ringing),
            ..
        }) = self.calls.get_mut(&id)
        {
            ringing.forks.push(Fork { party });
        }
        Ok(())
    }

    /// A fork rings, or plays something.
    pub(crate) fn fork_progress(&mut self, now: Instant, id: CallId, session: SessionId, response: &Message) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Stage::Ringing(ringing) = &mut call.stage else {
            return;
        };
        let description = SessionDescription::parse(response.body()).ok();
        if let (Some(description), None, Some(_)) = (&description, ringing.early, &call.offer)
            && let Some(fork) = ringing.forks.iter_mut().find(|f| f.party.session == session)
        {
            // The 2xx answers the offer again, perhaps from another dialog: the early answer is tried on a copy.
            let mut negotiation = fork.party.negotiation.clone();
            let audible = negotiation.handle_answer(&description.clone()).is_ok();
            let party = Party {
                negotiation,
                ..copy_of(&fork.party)
            };
            // The caller's one answer is given now for good, so it must be one that any other fork and the voicemail can
            // live with: only G.711 is heard early.
            let codec = party
                .codec()
                .filter(|codec| codecs::is_transcodable(codec))
                .cloned();
            if let (true, Some(codec)) = (audible, codec) {
                ringing.early = Some(session);
                return self.play_early(now, id, party, codecs::beside(&codec));
            }
        }
        let told = std::mem::replace(&mut ringing.told, true);
        if !told {
            self.tell_ringing(now, id, Status::RINGING);
        }
    }

    fn play_early(&mut self, now: Instant, id: CallId, fork: Party, chosen: Vec<ringpost_sdp::Codec>) {
        if self.answer_caller(id, chosen).is_err() {
            return;
        }
        let Some(caller) = self.calls.get(&id).and_then(|call| call.caller.as_ref()) else {
            return;
        };
        let (a, b) = (caller.leg, fork.leg);
        if let Some(media) = fork.media() {
            self.command(Command::UpdateLeg { leg: b, media });
        }
        self.command(Command::Bridge { a, b });
        self.tell_ringing(now, id, Status::SESSION_PROGRESS);
    }

    /// A fork answered: the others stop, and the caller gets the call.
    pub(crate) fn fork_answered(&mut self, now: Instant, id: CallId, session: SessionId, response: &Message) {
        let Some(call) = self.calls.get_mut(&id) else {
            return self.hang_up(now, session);
        };
        let Stage::Ringing(ringing) = &mut call.stage else {
            return self.hang_up(now, session);
        };
        let Some(place) = ringing.forks.iter().position(|f| f.party.session == session) else {
            return self.hang_up(now, session);
        };
        let mut winner = ringing.forks.remove(place).party;
        let answer = SessionDescription::parse(response.body()).ok();
        let agreed = answer.is_some_and(|answer| winner.negotiation.handle_answer(&answer).is_ok());
        let Some(codec) = winner.codec().filter(|_| agreed).cloned() else {
            // A 2xx whose answer is of no use is acknowledged and ended at once.
            self.end_party(now, winner, None);
            return self.go_on_ringing(now, id, Status::NOT_ACCEPTABLE_HERE);
        };
        self.stop_ringing(now, id, Some(ANSWERED_ELSEWHERE));
        if let Err(status) = self.answer_caller(id, codecs::beside(&codec)) {
            self.end_party(now, winner, None);
            return self.refuse_call(now, id, status.into());
        }
        self.connect(now, id, winner);
    }

    fn connect(&mut self, now: Instant, id: CallId, callee: Party) {
        if let Some(media) = callee.media() {
            self.command(Command::UpdateLeg {
                leg: callee.leg,
                media,
            });
        }
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(caller) = &call.caller else { return };
        let (a, b) = (caller.leg, callee.leg);
        call.stage = Stage::Talking(Box::new(Talking {
            callee,
            reoffer: Reoffer::None,
        }));
        self.command(Command::Bridge { a, b });
        self.accept(now, id);
    }

    /// A fork refused, or cannot be reached.
    pub(crate) fn fork_failed(&mut self, now: Instant, id: CallId, session: SessionId, status: Status) {
        if let Some(fork) = self.drop_fork(id, session) {
            self.by_session.remove(&session);
            self.command(Command::RemoveLeg { leg: fork.party.leg });
            self.go_on_ringing(now, id, status);
        }
    }

    fn drop_fork(&mut self, id: CallId, session: SessionId) -> Option<Fork> {
        let Stage::Ringing(ringing) = &mut self.calls.get_mut(&id)?.stage else {
            return None;
        };
        let place = ringing.forks.iter().position(|f| f.party.session == session)?;
        Some(ringing.forks.remove(place))
    }

    /// Nobody answered in time.
    pub(crate) fn no_answer(&mut self, now: Instant, id: CallId) {
        let ringing = self
            .calls
            .get(&id)
            .is_some_and(|call| matches!(call.stage, Stage::Ringing(_)));
        if ringing {
            self.stop_ringing(now, id, None);
            self.divert_to_voicemail(now, id, Status::TEMPORARILY_UNAVAILABLE);
        }
    }

    /// When no fork is left, the voicemail answers, or the caller is refused as the phones did.
    fn go_on_ringing(&mut self, now: Instant, id: CallId, status: Status) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Stage::Ringing(ringing) = &mut call.stage else {
            return;
        };
        let best = best_refusal(ringing.refusal, status);
        ringing.refusal = Some(best);
        if !ringing.forks.is_empty() {
            return;
        }
        self.timers.remove(&id);
        match means_unavailable(best) {
            true => self.divert_to_voicemail(now, id, best),
            false => self.refuse_call(now, id, best.into()),
        }
    }

    /// Cancels every fork that still rings; the reason is what keeps a phone from showing a call as missed.
    pub(crate) fn stop_ringing(&mut self, now: Instant, id: CallId, reason: Option<&str>) {
        self.timers.remove(&id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Stage::Ringing(ringing) = &mut call.stage else {
            return;
        };
        for fork in std::mem::take(&mut ringing.forks) {
            self.end_party(now, fork.party, reason);
        }
    }
}

/// A party without its negotiation, to be given another.
fn copy_of(party: &Party) -> Party {
    Party {
        session: party.session,
        flow: party.flow,
        negotiation: party.negotiation.clone(),
        socket: party.socket,
        leg: party.leg,
    }
}

/// The refusal to tell: a 6xx before all, then what says most about why (RFC 3261 §16.7 step 6).
fn best_refusal(one: Option<Status>, other: Status) -> Status {
    let rank = |status: Status| match status.code() {
        600..=699 => 0,
        415 | 420 | 484 | 488 => 1,
        486 => 2,
        480 | 408 => 4,
        400..=499 => 3,
        _ => 5,
    };
    match one {
        Some(one) if rank(one) <= rank(other) => one,
        _ => other,
    }
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
    fn the_caller_hears_the_refusal_that_says_most() {
        let best = |a: Status, b| best_refusal(Some(a), b);
        assert_eq!(
            best(Status::SERVICE_UNAVAILABLE, Status::BUSY_HERE),
            Status::BUSY_HERE
        );
        assert_eq!(best(Status::BUSY_HERE, Status::DECLINE), Status::DECLINE);
        assert_eq!(
            best(Status::NOT_ACCEPTABLE_HERE, Status::BUSY_HERE),
            Status::NOT_ACCEPTABLE_HERE
        );
        assert!(means_unavailable(Status::BUSY_HERE) && means_unavailable(Status::DECLINE));
        assert!(!means_unavailable(Status::NOT_ACCEPTABLE_HERE));
    }
}
