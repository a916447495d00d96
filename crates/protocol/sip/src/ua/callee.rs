//! Sessions from the side that an INVITE comes to: the first one and those that change a session.

use super::*;
use std::time::Duration;

/// How often a provisional response is repeated while nobody answers (RFC 3261 §13.3.1.1).
const RING_AGAIN: Duration = Duration::from_secs(60);

impl Ua {
    /// Somebody calls.
    pub(super) fn handle_invite(&mut self, now: Instant, id: TransactionId, flow: Flow, request: Message) {
        if self.is_full() {
            let wait = (HeaderName::RetryAfter, "10".to_owned());
            return self.refuse_stranger(now, id, &request, (Status::SERVICE_UNAVAILABLE, Some(wait)));
        }
        let tag = self.endpoint.tag_for(&request);
        let first_cseq = self.first_cseq();
        let Some(dialog) = Dialog::uas(&request, &tag, first_cseq) else {
            return self.refuse_stranger(now, id, &request, (Status::BAD_REQUEST, None));
        };
        let key = self.keyring.dialog(request.call_id(), &tag);
        let asked = request.request_uri();
        //= https://www.rfc-editor.org/rfc/rfc3261#section-12.1.1
        let is_secure = asked.is_some_and(|uri| uri.scheme() == crate::uri::Scheme::Sips);
        let contact = self.contact(&flow, asked.and_then(|uri| uri.user()), is_secure);
        let mut session = Session::new(State::Incoming, key, flow, contact.into(), None);
        session.dialog = Some(dialog);
        session.incoming = Some(self.incoming(id, request.clone()));
        let session = SessionId(self.sessions.insert(session));
        self.usages.insert(key, Usage::Session(session));
        self.serving.insert(id, session);
        //= https://www.rfc-editor.org/rfc/rfc3261#section-13.3.1
        if let Some(expires_s) = request.expires_s() {
            self.timers.set(
                Timer::Expires(session),
                now + Duration::from_secs(expires_s.into()),
            );
        }
        self.event(Event::Invite {
            session,
            flow,
            request,
        });
    }

    fn incoming(&self, id: TransactionId, request: Message) -> Box<Incoming> {
        Box::new(Incoming {
            id,
            request,
            ok: None,
            ringing: None,
            again: self.timing().t1,
        })
    }

    /// Sends a provisional response above 100 to the peer's INVITE, and again every minute until there is a final one.
    pub fn ring(
        &mut self,
        now: Instant,
        session: SessionId,
        status: Status,
        content: Content,
    ) -> Result<(), CommandError> {
        let (id, mut response) = self.begin_answer(session, status)?;
        if !status.is_provisional() || status == Status::TRYING {
            return Err(CommandError::State);
        }
        let bytes = send::finish(&mut response, &content);
        if let Some(incoming) = self.live(session)?.incoming.as_mut() {
            incoming.ringing = Some(bytes.clone());
        }
        self.endpoint.respond(now, id, bytes);
        self.timers.set(Timer::Ring(session), now + RING_AGAIN);
        self.pump(now);
        Ok(())
    }

    pub(super) fn repeat_ringing(&mut self, now: Instant, id: SessionId) {
        let Ok(session) = self.live(id) else { return };
        let Some(incoming) = session.incoming.as_ref().filter(|incoming| incoming.ok.is_none()) else {
            return;
        };
        let (transaction, ringing) = (incoming.id, incoming.ringing.clone());
        if let Some(ringing) = ringing {
            self.endpoint.respond(now, transaction, ringing);
            self.timers.set(Timer::Ring(id), now + RING_AGAIN);
        }
    }

    /// Accepts the peer's INVITE (the first, or a later one that changes the session) or UPDATE with a 200. For an INVITE
    /// it is sent again until its ACK comes, which is [`Event::Acked`].
    pub fn answer(&mut self, now: Instant, session: SessionId, content: Content) -> Result<(), CommandError> {
        let (id, mut response) = self.begin_answer(session, Status::OK)?;
        let interval = self.grant_interval(now, session);
        for (name, value) in interval {
            response.header(name, value);
        }
        let bytes = send::finish(&mut response, &content);
        let t1 = self.timing().t1;
        self.endpoint.respond(now, id, bytes.clone());
        let state = self.live(session)?;
        let Some(incoming) = state.incoming.as_mut() else {
            return Err(CommandError::State);
        };
        if *incoming.request.method() == Method::Update {
            state.incoming = None;
            self.serving.remove(&id);
        } else {
            incoming.ok = Some(bytes);
            if state.state == State::Incoming {
                state.state = State::Answered;
            }
            if let Some(dialog) = &mut state.dialog {
                dialog.confirm_ours();
            }
            self.timers.remove(&Timer::Ring(session));
            self.timers.remove(&Timer::Expires(session));
            self.timers.set(Timer::Answer(session), now + t1);
            self.timers.set(Timer::NoAck(session), now + 64 * t1);
        }
        self.pump(now);
        Ok(())
    }

    /// Refuses or redirects the peer's INVITE or UPDATE with a status from 300 on. A session that stands stays as it was;
    /// one that does not is over.
    pub fn reject(
        &mut self,
        now: Instant,
        session: SessionId,
        status: Status,
        content: Content,
    ) -> Result<(), CommandError> {
        let (id, response) = self.begin_refusal(session, status, &content)?;
        self.endpoint.respond(now, id, response);
        self.refused(now, session, id);
        self.pump(now);
        Ok(())
    }

    /// The same for a first INVITE, keeping nothing of it: see [`Endpoint::respond_stateless`].
    pub fn reject_stateless(
        &mut self,
        now: Instant,
        session: SessionId,
        status: Status,
        content: Content,
    ) -> Result<(), CommandError> {
        let (id, response) = self.begin_refusal(session, status, &content)?;
        self.endpoint.respond_stateless(now, id, response);
        self.refused(now, session, id);
        self.pump(now);
        Ok(())
    }

    fn begin_refusal(
        &mut self,
        session: SessionId,
        status: Status,
        content: &Content,
    ) -> Result<(TransactionId, Bytes), CommandError> {
        let incoming = self
            .live(session)?
            .incoming
            .as_ref()
            .filter(|incoming| incoming.ok.is_none());
        let incoming = incoming.ok_or(CommandError::State)?;
        if !status.is_failure() {
            return Err(CommandError::State);
        }
        let (id, request) = (incoming.id, incoming.request.clone());
        let mut response = self.response(&request, status);
        Ok((id, send::finish(&mut response, content)))
    }

    fn refused(&mut self, now: Instant, session: SessionId, transaction: TransactionId) {
        self.serving.remove(&transaction);
        let Ok(state) = self.live(session) else { return };
        state.incoming = None;
        if state.state == State::Incoming {
            self.terminate(now, session, Reason::Local);
        }
    }

    /// A response to the INVITE that waits, with what belongs into those that make or refresh a dialog.
    fn begin_answer(
        &mut self,
        session: SessionId,
        status: Status,
    ) -> Result<(TransactionId, Builder), CommandError> {
        let state = self.live(session)?;
        let contact = state.contact.clone();
        let incoming = state.incoming.as_ref().filter(|incoming| incoming.ok.is_none());
        let incoming = incoming.ok_or(CommandError::State)?;
        let (id, request) = (incoming.id, incoming.request.clone());
        let mut response = self.response(&request, status);
        response
            .header(HeaderName::Contact, contact)
            .header(HeaderName::Allow, &self.phrases.allow)
            .header(HeaderName::Supported, &self.phrases.supported);
        Ok((id, response))
    }

    /// Our 2xx again, on streams too, since a proxy may have lost it.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-13.3.1.4
    pub(super) fn repeat_answer(&mut self, now: Instant, id: SessionId) {
        let t2 = self.timing().t2;
        let Ok(session) = self.live(id) else { return };
        let Some(incoming) = session.incoming.as_mut() else {
            return;
        };
        let Some(ok) = incoming.ok.clone() else { return };
        incoming.again = (incoming.again * 2).min(t2);
        let (transaction, again) = (incoming.id, incoming.again);
        self.endpoint.respond(now, transaction, ok);
        self.timers.set(Timer::Answer(id), now + again);
    }

    /// 64 × T1 without an ACK: the dialog stands, but the session is ended.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-13.3.1.4
    pub(super) fn give_up_answer(&mut self, now: Instant, id: SessionId) {
        let Ok(session) = self.live(id) else { return };
        let why = if session.is_bye_wanted {
            Reason::Local
        } else {
            Reason::NoAck
        };
        self.drop_session(now, id, why);
    }

    /// An ACK that belongs to no failure.
    pub(super) fn handle_ack(&mut self, now: Instant, flow: Flow, request: Message) {
        let Some(Usage::Session(id)) = self.usage_of(&request) else {
            return;
        };
        let Ok(session) = self.live(id) else { return };
        if session.dialog_of(&request).is_none() {
            return;
        }
        let is_awaited = |incoming: &Incoming| {
            incoming.ok.is_some() && incoming.request.cseq().number == request.cseq().number
        };
        if !session
            .incoming
            .as_ref()
            .is_some_and(|incoming| is_awaited(incoming))
        {
            return;
        }
        session.flow = flow;
        let incoming = session.incoming.take();
        session.state = State::Established;
        let is_bye_wanted = session.is_bye_wanted;
        if let Some(incoming) = incoming {
            self.serving.remove(&incoming.id);
        }
        self.timers.remove(&Timer::Answer(id));
        self.timers.remove(&Timer::NoAck(id));
        match is_bye_wanted {
            true => self.send_bye(now, id, None, Reason::Local),
            false => self.event(Event::Acked { session: id, request }),
        }
    }

    /// The peer gave up its INVITE.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-9.2
    pub(super) fn handle_cancelled(&mut self, now: Instant, id: TransactionId, request: Message) {
        let Some(session) = self.serving.get(&id).copied() else {
            return;
        };
        self.answer_pending(now, session, Status::REQUEST_TERMINATED);
        let Ok(state) = self.live(session) else { return };
        match state.state {
            State::Incoming => self.terminate(now, session, Reason::Cancelled(request)),
            _ => self.event(Event::ReinviteGone { session }),
        }
    }

    pub(super) fn expire_invite(&mut self, now: Instant, id: SessionId) {
        if self
            .live(id)
            .is_ok_and(|session| session.state == State::Incoming)
        {
            self.answer_pending(now, id, Status::REQUEST_TERMINATED);
            self.terminate(now, id, Reason::Expired);
        }
    }

    /// Answers an INVITE or UPDATE that is still waiting, with a failure.
    pub(super) fn answer_pending(&mut self, now: Instant, id: SessionId, status: Status) {
        let Ok((transaction, response)) = self.begin_refusal(id, status, &Content::none()) else {
            return;
        };
        self.endpoint.respond(now, transaction, response);
        self.serving.remove(&transaction);
        if let Ok(session) = self.live(id) {
            session.incoming = None;
        }
    }

    /// An INVITE within a session, or an UPDATE with an offer.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-14.2
    //= https://www.rfc-editor.org/rfc/rfc3311#section-5.2
    pub(super) fn handle_reinvite(
        &mut self,
        now: Instant,
        session: SessionId,
        id: TransactionId,
        request: Message,
    ) {
        let Ok(state) = self.live(session) else { return };
        let ours = state.outgoing.is_some();
        match &state.incoming {
            _ if ours => self.refuse(now, id, &request, (Status::REQUEST_PENDING, None)),
            Some(incoming) if incoming.ok.is_some() => {
                self.refuse(now, id, &request, (Status::REQUEST_PENDING, None));
            }
            Some(_) => {
                let wait_s = self.rng.below(11);
                let wait = (HeaderName::RetryAfter, wait_s.to_string());
                self.refuse(now, id, &request, (Status::SERVER_INTERNAL_ERROR, Some(wait)));
            }
            None => {
                if let Some(dialog) = &mut state.dialog {
                    dialog.refresh_target(&request);
                }
                let incoming = self.incoming(id, request.clone());
                if let Ok(state) = self.live(session) {
                    state.incoming = Some(incoming);
                }
                self.serving.insert(id, session);
                self.event(Event::Reinvite { session, request });
            }
        }
    }
}
