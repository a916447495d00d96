//! Sessions from the side that sends an INVITE: the first one and those that change a session.

use super::course::Parked;
use super::session::Course;
use super::*;
use ringpost_base::limits;
use std::time::Duration;

impl Ua {
    /// Calls. What becomes of it are [`Event::Provisional`], [`Event::Answered`] and [`Event::Terminated`].
    pub fn invite(&mut self, now: Instant, request: NewRequest) -> Result<SessionId, CommandError> {
        if self.is_full() {
            return Err(CommandError::Full);
        }
        let mut request = request;
        request.method = Method::Invite;
        self.ask_interval(&mut request.content);
        let head = self.head(&request);
        let key = self
            .keyring
            .dialog(&head.call_id, head.from.tag().unwrap_or_default());
        let contact = head.contact.clone().unwrap_or_default();
        let has_offer = request.content.body.is_some();
        let mut session = Session::new(State::Calling, key, head.flow, contact, request.login);
        if request.follows_dialog {
            session.course = Course::Unknown;
        }
        let id = SessionId(self.sessions.insert(session));
        let NewRequest {
            content,
            login,
            follows_dialog,
            ..
        } = request;
        match self.send_free(now, Purpose::Invite(id), head, content, login, 0) {
            Ok((transaction, sent)) => {
                self.note_invite(id, transaction, sent, has_offer);
                self.usages.insert(key, Usage::Session(id));
                if follows_dialog {
                    self.following.insert(id);
                }
                self.pump(now);
                Ok(id)
            }
            Err(error) => {
                self.sessions.remove(id.0);
                Err(error)
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.sessions.len() + self.subscriptions.len() >= self.config.dialogs
    }

    fn note_invite(&mut self, id: SessionId, transaction: TransactionId, sent: Message, has_offer: bool) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        if session.dialog.is_none() {
            session.first = Some(sent.clone());
        }
        let outgoing = Outgoing {
            id: transaction,
            request: sent,
            has_offer,
            is_answered: false,
        };
        session.outgoing = Some(Box::new(outgoing));
    }

    /// A request was sent once more, with credentials.
    pub(super) fn sent_again(&mut self, purpose: Purpose, transaction: TransactionId, sent: Message) {
        match purpose {
            Purpose::Invite(id) | Purpose::Reinvite(id) => {
                let has_offer = !sent.body().is_empty();
                self.note_invite(id, transaction, sent, has_offer);
            }
            Purpose::Subscribe(id) => self.note_subscribe(id, sent),
            _ => {}
        }
    }

    /// Whether nobody wants the answer any more, so that it is not worth a second try.
    pub(super) fn was_cancelled(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Invite(id) => self.sessions.get(id.0).is_none_or(|s| s.state != State::Calling),
            Purpose::Reinvite(id) => self
                .sessions
                .get(id.0)
                .is_none_or(|s| s.state != State::Established),
            _ => false,
        }
    }

    /// A provisional response or a 2xx to a session's first INVITE.
    pub(super) fn invite_response(&mut self, now: Instant, id: SessionId, flow: Flow, response: Message) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        session.follow(flow);
        session.is_heard = true;
        if response.status().is_some_and(|status| status.is_success()) {
            return self.invite_accepted(now, id, response);
        }
        if session.state != State::Calling {
            return;
        }
        let is_trying = response.status() == Some(Status::TRYING);
        let is_known = response.to_tag().is_none() || session.dialog_of(&response).is_some();
        if !is_trying && !is_known && session.early.len() < limits::FORKS_PER_CALL {
            let begun = session
                .first
                .as_ref()
                .and_then(|first| Dialog::uac(first, &response));
            session.early.extend(begun);
        }
        self.timers
            .set(Timer::RingLimit(id), now + self.config.ring_limit);
        if !is_trying {
            self.event(Event::Provisional {
                session: id,
                response,
            });
        }
    }

    /// A 2xx to the first INVITE: the first one makes the session, each other is a fork that is too late.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-13.2.2.4
    fn invite_accepted(&mut self, now: Instant, id: SessionId, response: Message) {
        if self.repeat_ack(id, &response) {
            return;
        }
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        if session
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.is_of(&response))
        {
            return;
        }
        let early = session.early.iter().position(|dialog| dialog.is_of(&response));
        let dialog = match early {
            Some(at) => Some(session.early.swap_remove(at)),
            None => session
                .first
                .as_ref()
                .and_then(|first| Dialog::uac(first, &response)),
        };
        // A 2xx without a To tag is RFC 2543's; nothing within it could be told apart.
        let Some(mut dialog) = dialog else { return };
        dialog.confirm(&response);
        match session.state {
            State::Calling => {
                session.dialog = Some(dialog);
                session.state = State::Established;
                self.timers.remove(&Timer::RingLimit(id));
                self.answered(now, id, &response);
                self.event(Event::Answered {
                    session: id,
                    response,
                });
            }
            State::Cancelling => {
                self.acknowledge_and_hang_up(now, id, dialog);
                self.terminate(now, id, Reason::Local);
            }
            _ => self.acknowledge_and_hang_up(now, id, dialog),
        }
    }

    /// Our offer was answered, or the peer's came: sends the ACK, or leaves it to the user.
    fn answered(&mut self, now: Instant, id: SessionId, response: &Message) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        let Some(outgoing) = session.outgoing.as_mut() else {
            return;
        };
        outgoing.is_answered = true;
        if outgoing.has_offer {
            self.send_ack(id, &Content::none());
        }
        self.note_interval(now, id, response, true);
    }

    /// Sends the ACK to a 2xx that answered an INVITE without a body: `content` is the answer to the peer's offer.
    pub fn ack(&mut self, now: Instant, session: SessionId, content: Content) -> Result<(), CommandError> {
        let outgoing = self.live(session)?.outgoing.as_ref();
        if !outgoing.is_some_and(|outgoing| outgoing.is_answered) {
            return Err(CommandError::State);
        }
        self.send_ack(session, &content);
        self.pump(now);
        Ok(())
    }

    fn send_ack(&mut self, id: SessionId, content: &Content) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        let Some(outgoing) = session.outgoing.take() else {
            return;
        };
        if self.has_course(id) {
            return self.send_ack_to(id, &outgoing.request, content);
        }
        if let Some(session) = self.sessions.get_mut(id.0) {
            let ack = Parked::Ack(outgoing.request, content.clone());
            session.parked.push(ack);
        }
    }

    /// Sends the ACK to the 2xx of `invite`, the way that the dialog's requests go.
    pub(super) fn send_ack_to(&mut self, id: SessionId, invite: &Message, content: &Content) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        let Some(dialog) = session.dialog.as_ref() else {
            return;
        };
        let flow = session.way(self.config.follow_contact, dialog);
        let ack = acknowledge(&mut self.endpoint, flow, dialog, invite, content);
        session.acks.push(ack);
    }

    /// A fork that answered too late, or in spite of a CANCEL.
    fn acknowledge_and_hang_up(&mut self, now: Instant, id: SessionId, mut dialog: Dialog) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        let Some(first) = session
            .first
            .as_ref()
            .filter(|_| session.acks.len() < limits::FORKS_PER_CALL)
        else {
            return;
        };
        let content = Content::none();
        // Such a dialog is over with these two: where it leads is not asked, but only what its Contact says where that counts.
        let flow = session.way(self.config.follow_contact, &dialog);
        let ack = acknowledge(&mut self.endpoint, flow, &dialog, first, &content);
        session.acks.push(ack);
        let bye = dialog.request(&Method::Bye).finish();
        // Nothing hangs on its answer; over the limit of transactions the callee hangs up by itself.
        let _ = self.endpoint.request(now, flow, bye);
    }

    /// A 2xx that came before: its ACK was lost.
    fn repeat_ack(&mut self, id: SessionId, response: &Message) -> bool {
        let Some(session) = self.sessions.get(id.0) else {
            return false;
        };
        let cseq = response.cseq().number;
        let tag = response.to_tag().unwrap_or_default();
        let known = session
            .acks
            .iter()
            .find(|ack| ack.cseq == cseq && *ack.tag == *tag);
        let Some(ack) = known else { return false };
        self.endpoint.transmit(ack.transmit.clone());
        true
    }

    /// A final response of 300 to 699 to the first INVITE, which is acknowledged already.
    pub(super) fn invite_refused(&mut self, now: Instant, id: SessionId, response: Message) {
        let reason = self.given_up(id).unwrap_or(Reason::Refused(response));
        self.terminate(now, id, reason);
    }

    pub(super) fn invite_failed(&mut self, now: Instant, id: SessionId, failure: Failure) {
        let reason = self.given_up(id).unwrap_or(Reason::Failed(failure));
        self.terminate(now, id, reason);
    }

    fn given_up(&self, id: SessionId) -> Option<Reason> {
        let session = self
            .sessions
            .get(id.0)
            .filter(|session| session.state == State::Cancelling)?;
        Some(if session.is_rung_out {
            Reason::Failed(Failure::Timeout)
        } else {
            Reason::Local
        })
    }

    /// Our INVITE has waited for long enough.
    pub(super) fn ring_out(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        if session.state == State::Calling {
            session.is_rung_out = true;
            self.give_up_call(now, id, None);
        } else if let Some(outgoing) = &session.outgoing {
            self.endpoint.cancel(now, outgoing.id, None);
        }
    }

    /// Cancels our INVITE; the session ends when the answer to it comes.
    pub(super) fn give_up_call(&mut self, now: Instant, id: SessionId, reason: Option<&str>) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        if let (State::Calling, Some(outgoing)) = (session.state, &session.outgoing) {
            session.state = State::Cancelling;
            let transaction = outgoing.id;
            self.timers.remove(&Timer::RingLimit(id));
            self.endpoint.cancel(now, transaction, reason);
        }
    }

    /// Changes a session that stands: `content` is the offer, or nothing to ask for the peer's. Not while another offer is
    /// under way in either direction.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-14.1
    pub fn reinvite(
        &mut self,
        now: Instant,
        session: SessionId,
        content: Content,
    ) -> Result<(), CommandError> {
        let state = self.live(session)?;
        match state.state {
            State::Established if state.is_quiet() => {}
            State::Established | State::Answered => return Err(CommandError::Pending),
            _ => return Err(CommandError::State),
        }
        if !self.has_course(session) {
            self.live(session)?.is_course_wanted = true;
            self.pump(now);
            return Err(CommandError::Pending);
        }
        let has_offer = content.body.is_some();
        let mut content = content;
        self.keep_interval(session, &mut content);
        let purpose = Purpose::Reinvite(session);
        let (transaction, sent) = self.send_within(now, purpose, Method::Invite, content, 0)?;
        self.note_invite(session, transaction, sent, has_offer);
        self.pump(now);
        Ok(())
    }

    /// A 2xx to a later INVITE.
    pub(super) fn reinvite_response(&mut self, now: Instant, id: SessionId, flow: Flow, response: Message) {
        let is_success = response.status().is_some_and(|status| status.is_success());
        if !is_success && self.live(id).is_ok() {
            self.timers
                .set(Timer::RingLimit(id), now + self.config.ring_limit);
        }
        if !is_success || self.repeat_ack(id, &response) {
            return;
        }
        self.timers.remove(&Timer::RingLimit(id));
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        session.follow(flow);
        if session
            .outgoing
            .as_ref()
            .is_none_or(|outgoing| outgoing.is_answered)
        {
            return;
        }
        if let Some(dialog) = &mut session.dialog {
            dialog.refresh_target(&response);
        }
        if session.state == State::Over {
            return self.send_ack(id, &Content::none());
        }
        self.answered(now, id, &response);
        self.event(Event::ReinviteAnswered {
            session: id,
            response,
        });
    }

    /// A later INVITE was refused: nothing has changed, unless the peer knows of no session any more.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-14.1
    pub(super) fn reinvite_refused(&mut self, now: Instant, id: SessionId, response: Message) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        session.outgoing = None;
        self.timers.remove(&Timer::RingLimit(id));
        if session.state == State::Over {
            return;
        }
        match response.status() {
            Some(Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT) => {
                self.drop_session(now, id, Reason::Gone)
            }
            Some(Status::REQUEST_PENDING) => {
                session.is_glare = true;
                let (low_ms, steps) = if session.is_ours { (2100, 191) } else { (0, 201) };
                let wait = Duration::from_millis(low_ms + 10 * self.rng.below(steps));
                self.timers.set(Timer::Glare(id), now + wait);
                self.event(Event::ReinviteRefused {
                    session: id,
                    response,
                });
            }
            _ => self.event(Event::ReinviteRefused {
                session: id,
                response,
            }),
        }
    }

    pub(super) fn end_glare(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        session.is_glare = false;
        if session.state == State::Established {
            self.event(Event::ReinviteAllowed { session: id });
        }
    }

    /// Ends a session in whatever state it is: CANCEL, 480 or BYE. `reason` is the value of a Reason header (RFC 3326).
    ///
    /// [`Event::Terminated`] follows at once where a BYE is sent; behind a CANCEL when the INVITE's answer comes; behind a
    /// 2xx of ours that is not acknowledged when it is, since no BYE may go before that (RFC 3261 §15).
    pub fn hang_up(
        &mut self,
        now: Instant,
        session: SessionId,
        reason: Option<&str>,
    ) -> Result<(), CommandError> {
        let state = self.live(session)?;
        match state.state {
            State::Calling => self.give_up_call(now, session, reason),
            State::Answered => state.is_bye_wanted = true,
            State::Established => self.send_bye(now, session, reason, Reason::Local),
            State::Incoming => {
                let content = reason.map_or(Content::none(), |reason| Content::none().with("Reason", reason));
                return self.reject(now, session, Status::TEMPORARILY_UNAVAILABLE, content);
            }
            State::Cancelling | State::Over => {}
        }
        self.pump(now);
        Ok(())
    }

    pub(super) fn drop_session(&mut self, now: Instant, id: SessionId, why: Reason) {
        if self.live(id).is_ok() {
            self.send_bye(now, id, None, why);
        }
    }

    pub(super) fn send_bye(&mut self, now: Instant, id: SessionId, reason: Option<&str>, why: Reason) {
        self.answer_pending(now, id, Status::REQUEST_TERMINATED);
        let content = reason.map_or(Content::none(), |reason| Content::none().with("Reason", reason));
        // Over the limit of transactions the peer has to find out by itself.
        let _ = self.send_when_located(now, Purpose::Bye(id), Method::Bye, content);
        self.terminate(now, id, why);
    }
}

/// Sends the ACK to a 2xx, with the credentials of its INVITE.
//= https://www.rfc-editor.org/rfc/rfc3261#section-13.2.2.4
fn acknowledge(
    endpoint: &mut Endpoint,
    flow: Flow,
    dialog: &Dialog,
    invite: &Message,
    content: &Content,
) -> Ack {
    let cseq = invite.cseq().number;
    let mut ack = dialog.ack(cseq);
    ack.copy(invite, HeaderName::Authorization)
        .copy(invite, HeaderName::ProxyAuthorization);
    let transmit = endpoint.send(flow, send::finish(&mut ack, content));
    Ack {
        cseq,
        tag: dialog.remote_tag().into(),
        transmit,
    }
}
