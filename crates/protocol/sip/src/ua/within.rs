//! Requests within dialogs that are neither INVITE nor ACK.

use super::*;

impl Ua {
    /// Whose dialog a peer's request names; the peer's own tag is not looked at.
    pub(super) fn usage_of(&self, request: &Message) -> Option<Usage> {
        let key = self.keyring.dialog(request.call_id(), request.to_tag()?);
        let usage = self.usages.get(&key).copied();
        usage.filter(|usage| match usage {
            Usage::Session(id) => self.sessions.get(id.0).is_some(),
            Usage::Subscription(id) => self.subscriptions.get(id.0).is_some(),
        })
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.2.2
    pub(super) fn handle_within(&mut self, now: Instant, id: TransactionId, flow: Flow, request: Message) {
        match self.usage_of(&request) {
            Some(Usage::Session(session)) => self.handle_in_session(now, session, id, flow, request),
            Some(Usage::Subscription(s)) => self.handle_in_subscription(now, s, id, flow, request),
            None => self.refuse_stranger(now, id, &request, (Status::CALL_DOES_NOT_EXIST, None)),
        }
    }

    fn handle_in_session(
        &mut self,
        now: Instant,
        session: SessionId,
        id: TransactionId,
        flow: Flow,
        request: Message,
    ) {
        let Some(state) = self.sessions.get_mut(session.0) else {
            return;
        };
        let is_over = state.state == State::Over;
        let Some(dialog) = state.dialog_of(&request) else {
            return self.refuse(now, id, &request, (Status::CALL_DOES_NOT_EXIST, None));
        };
        let in_order = dialog.check_cseq(&request);
        let method = request.method().clone();
        if is_over {
            // Their BYE crossed ours.
            let status = if method == Method::Bye {
                Status::OK
            } else {
                Status::CALL_DOES_NOT_EXIST
            };
            return self.refuse(now, id, &request, (status, None));
        }
        if in_order.is_err() {
            return self.refuse(now, id, &request, (Status::SERVER_INTERNAL_ERROR, None));
        }
        // Its NAT may have given the peer another port since.
        state.flow = flow;
        match method {
            Method::Bye => self.handle_bye(now, session, id, request),
            Method::Invite => self.handle_reinvite(now, session, id, request),
            Method::Update if !request.body().is_empty() => self.handle_reinvite(now, session, id, request),
            Method::Update => self.handle_refresh(now, session, id, &request),
            Method::Options => {
                let response = self.options_response(id, &request);
                self.endpoint.respond(now, id, response);
            }
            _ => self.event(Event::Within { session, id, request }),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-15.1.2
    fn handle_bye(&mut self, now: Instant, session: SessionId, id: TransactionId, request: Message) {
        self.refuse(now, id, &request, (Status::OK, None));
        let Ok(state) = self.live(session) else { return };
        if matches!(state.state, State::Calling | State::Cancelling) {
            // A fork says that it will not answer; the INVITE's final response is still to come.
            state.early.retain(|dialog| !dialog.is_of(&request));
            return;
        }
        self.answer_pending(now, session, Status::REQUEST_TERMINATED);
        self.terminate(now, session, Reason::Bye(request));
    }

    /// The final response to a request of our user's within a session.
    //= https://www.rfc-editor.org/rfc/rfc5057#section-5.1
    pub(super) fn within_answered(&mut self, now: Instant, id: SessionId, method: &Method, status: Status) {
        let is_the_sessions = matches!(method, Method::Info | Method::Update | Method::Prack);
        if status == Status::CALL_DOES_NOT_EXIST && is_the_sessions {
            self.drop_session(now, id, Reason::Gone);
        }
    }
}
