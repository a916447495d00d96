//! Between the service and its SIP user agent: what comes of its events, and the commands it is given.

use crate::access::{caller_address, own_address, person_address};
use crate::call::{Call, CallId, Destination, Party, Stage};
use crate::config::Config;
use crate::phone::{Asker, CallRecord, Event, Output, Phone};
use crate::reply::{Reply, passed_back_within};
use crate::text::passed_on;
use bytes::Bytes;
use ringpost_base::{Instant, UnixTime};
use ringpost_media::{Command, LegId, LegStatistics};
use ringpost_sip::ua::{
    Content, Event as UaEvent, NewRequest, Output as UaOutput, Reason, RequestId, SessionId, UaConfig,
};
use ringpost_sip::{EndpointConfig, Failure, HeaderName, Message, Method, SentAs, Status, TransactionId};
use std::time::Duration;
use tracing::{debug, info};

impl Phone {
    /// Takes over everything that the user agent has to say.
    pub(crate) fn drain_ua(&mut self, now: Instant, calendar: UnixTime) {
        loop {
            match self.ua.poll_output() {
                UaOutput::Transmit(transmit) => self.output.push_back(Output::Transmit(transmit)),
                UaOutput::Event(event) => self.handle_event(now, calendar, event),
                UaOutput::Timeout(at) => {
                    self.ua_timeout = at;
                    return;
                }
            }
        }
    }

    fn handle_event(&mut self, now: Instant, calendar: UnixTime, event: UaEvent) {
        match event {
            UaEvent::Request { id, flow, request } => match request.method() {
                Method::Options => {
                    let response = self.ua.options_response(id, &request);
                    self.ua.respond_stateless(now, id, response);
                }
                Method::Register | Method::Message | Method::Subscribe => {
                    self.knock(now, calendar, (Asker::Transaction(id), flow, request));
                }
                //= https://www.rfc-editor.org/rfc/rfc6665#section-4.1.3
                //= https://www.rfc-editor.org/rfc/rfc6086#section-4.2.2
                // These live in dialogs only.
                Method::Notify | Method::Info => {
                    self.refuse_stranger(now, id, &request, Status::CALL_DOES_NOT_EXIST);
                }
                _ => self.refuse_stranger(now, id, &request, Status::METHOD_NOT_ALLOWED),
            },
            UaEvent::Invite {
                session,
                flow,
                request,
            } => {
                self.knock(now, calendar, (Asker::Session(session), flow, request));
            }
            UaEvent::Locate { session, uri } => self.seek_dialog(now, session, uri),
            UaEvent::Within { session, id, request } => self.pass_on(now, session, id, &request),
            UaEvent::Response { request, response } => {
                let status = response.status().unwrap_or(Status::SERVER_INTERNAL_ERROR);
                if status.is_final() && !self.unasked_answered(now, request, Some(status)) {
                    self.request_answered(now, request, status, Ok(&response));
                }
            }
            UaEvent::Failed { request, failure } => {
                if !self.unasked_answered(now, request, None) {
                    self.request_answered(now, request, status_of(failure), Err(failure));
                }
            }
            UaEvent::Resubscribe {
                subscription,
                id,
                request,
                expires_s,
            } => {
                self.resubscribed(now, (subscription, id), &request, expires_s);
            }
            UaEvent::SubscriptionEnded { subscription, .. } => self.unsubscribed(subscription),
            // We subscribe to nothing.
            UaEvent::Subscribed { .. } | UaEvent::Notify { .. } => {}
            UaEvent::Notice(notice) => self.note(notice),
            other => self.handle_session_event(now, other),
        }
    }

    fn handle_session_event(&mut self, now: Instant, event: UaEvent) {
        let session = match &event {
            UaEvent::Provisional { session, .. }
            | UaEvent::Answered { session, .. }
            | UaEvent::Acked { session, .. }
            | UaEvent::Reinvite { session, .. }
            | UaEvent::ReinviteGone { session }
            | UaEvent::ReinviteAnswered { session, .. }
            | UaEvent::ReinviteRefused { session, .. }
            | UaEvent::ReinviteAllowed { session }
            | UaEvent::RefreshDue { session }
            | UaEvent::Terminated { session, .. } => *session,
            _ => return,
        };
        if matches!(event, UaEvent::Terminated { .. }) {
            self.reached.remove(&session);
        }
        let Some(call) = self.by_session.get(&session).copied() else {
            match event {
                UaEvent::Terminated { .. } => {
                    self.knocking.remove(&session);
                }
                // A leg that we have let go: what still comes of it is ended, not answered.
                UaEvent::Answered { .. } => self.hang_up(now, session),
                _ => {}
            }
            return;
        };
        match event {
            UaEvent::Provisional { response, .. } => self.fork_progress(now, call, session, &response),
            UaEvent::Answered { response, .. } => self.fork_answered(now, call, session, &response),
            UaEvent::Acked { request, .. } => self.acked(now, call, session, &request),
            UaEvent::Reinvite { request, .. } => self.reinvited(now, call, session, &request),
            UaEvent::ReinviteGone { .. } => self.reinvite_gone(now, call, session),
            UaEvent::ReinviteAnswered { response, .. } => {
                self.reinvite_answered(now, call, session, &response);
            }
            UaEvent::ReinviteRefused { response, .. } => {
                let status = response.status().unwrap_or(Status::SERVER_INTERNAL_ERROR);
                self.reinvite_refused(now, call, session, status);
            }
            UaEvent::ReinviteAllowed { .. } => self.reinvite_allowed(now, call, session),
            UaEvent::RefreshDue { .. } => self.refresh_due(now, call, session),
            UaEvent::Terminated { reason, .. } => self.terminated(now, call, session, reason),
            _ => {}
        }
    }

    fn terminated(&mut self, now: Instant, id: CallId, session: SessionId, reason: Reason) {
        self.by_session.remove(&session);
        let Some(call) = self.calls.get(&id) else { return };
        let is_caller = call.session == session;
        match (&call.stage, is_caller) {
            (Stage::Ringing(_), false) => {
                let verdict = match &reason {
                    Reason::Refused(response) => {
                        (response.status().unwrap_or(Status::SERVER_INTERNAL_ERROR), true)
                    }
                    Reason::Failed(failure) => (status_of(*failure), false),
                    _ => (Status::TEMPORARILY_UNAVAILABLE, true),
                };
                self.fork_failed(now, id, session, verdict);
            }
            (Stage::Application(_), true) => self.application_left(now, id),
            _ => self.finish_call(now, id),
        }
    }

    /// A request within a session goes to the other leg as it is, and the answer back.
    fn pass_on(&mut self, now: Instant, session: SessionId, transaction: TransactionId, request: &Message) {
        let id = self.by_session.get(&session).copied();
        let other = id.and_then(|id| self.across(id, session));
        let status = match (request.method(), id, other) {
            (Method::Info | Method::Message, Some(_), Some(other)) => {
                let content = passed_on(request);
                match self
                    .ua
                    .request_within(now, other, request.method().clone(), content)
                {
                    Ok(passed) => {
                        self.passed.insert(passed, (transaction, request.clone()));
                        return;
                    }
                    Err(_) => Status::TEMPORARILY_UNAVAILABLE,
                }
            }
            // Some phones send their keys so.
            (Method::Info, Some(id), None) => {
                let status = Status::OK;
                self.respond(now, transaction, request, status.into());
                return self.application_info(now, id, request);
            }
            (Method::Info, None, _) | (Method::Notify, ..) => Status::CALL_DOES_NOT_EXIST,
            _ => Status::METHOD_NOT_ALLOWED,
        };
        self.respond(now, transaction, request, status.into());
    }

    fn request_answered(
        &mut self,
        now: Instant,
        request: RequestId,
        status: Status,
        response: Result<&Message, Failure>,
    ) {
        if let Some((transaction, original)) = self.passed.remove(&request) {
            let mut reply = Reply::new(passed_back_within(status));
            if let Ok(response) = response {
                reply.content = passed_on(response);
            }
            return self.respond(now, transaction, &original, reply);
        }
        self.text_answered(now, request, status, response.err());
    }

    fn note(&mut self, notice: ringpost_sip::Event) {
        match notice {
            ringpost_sip::Event::Malformed { flow, error } => {
                self.output
                    .push_back(Output::Event(Event::Refused { flow, reason: error }));
            }
            ringpost_sip::Event::FellBack { size_bytes, .. } => {
                info!(
                    size_bytes,
                    "a request too large for UDP went by UDP: its peer takes no TCP"
                );
            }
            _ => {}
        }
    }

    // Commands to the user agent. One that comes too late, for a session that has just ended, has nothing to do; the
    // session's end is told by its own event.

    pub(crate) fn respond(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        request: &Message,
        reply: Reply,
    ) {
        let response = self.printed(request, &reply);
        // A challenge keeps nothing of a source that nobody has vouched for (RFC 3261 §8.2.7).
        let sent = match reply.status {
            Status::UNAUTHORIZED => self.ua.respond_stateless(now, transaction, response),
            _ => self.ua.respond(now, transaction, response),
        };
        if !sent {
            debug!(?transaction, "answered too late");
        }
    }

    /// The answer to a request of which nothing is known but that it came: nothing is kept of it.
    fn refuse_stranger(&mut self, now: Instant, id: TransactionId, request: &Message, status: Status) {
        let response = self.printed(request, &status.into());
        self.ua.respond_stateless(now, id, response);
    }

    /// What goes out as the answer to `request`.
    pub(crate) fn printed(&self, request: &Message, reply: &Reply) -> Bytes {
        let mut response = self.ua.response(request, reply.status);
        for (name, value) in &reply.content.headers {
            response.extension(name, value);
        }
        match &reply.content.body {
            Some(body) => response.finish_with(&body.content_type, &body.bytes),
            None => response.finish(),
        }
    }

    pub(crate) fn reject(&mut self, now: Instant, session: SessionId, reply: Reply) {
        // Too late for a session that has just ended; and a challenge keeps nothing, as in `respond`.
        let _ = match reply.status {
            Status::UNAUTHORIZED => self
                .ua
                .reject_stateless(now, session, reply.status, reply.content),
            _ => self.ua.reject(now, session, reply.status, reply.content),
        };
    }

    pub(crate) fn hang_up(&mut self, now: Instant, session: SessionId) {
        let _ = self.ua.hang_up(now, session, None);
    }

    /// The caller's 2xx, with the answer that was made for it.
    pub(crate) fn accept(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.answered = true;
        let body = call.answer.clone().unwrap_or_default();
        let session = call.session;
        if self.ua.answer(now, session, Content::sdp(body)).is_err() {
            self.finish_call(now, id);
        }
    }

    /// A provisional response to the caller, with the early answer if there is one.
    pub(crate) fn tell_ringing(&mut self, now: Instant, id: CallId, status: Status) {
        let Some(call) = self.calls.get(&id) else { return };
        let content = match (&call.answer, status) {
            (Some(answer), Status::SESSION_PROGRESS) => Content::sdp(answer.clone()),
            _ => Content::none(),
        };
        let _ = self.ua.ring(now, call.session, status, content);
    }

    /// Ends a leg that is not the caller's: CANCEL or BYE, as it needs, with the value of a Reason header, and its sockets.
    pub(crate) fn end_party(&mut self, now: Instant, party: Party, reason: Option<&str>) {
        self.by_session.remove(&party.session);
        let _ = self.ua.hang_up(now, party.session, reason);
        self.command(Command::RemoveLeg { leg: party.leg });
    }

    /// Closes the caller's media, once; the last of a recording comes behind it.
    pub(crate) fn end_caller_leg(&mut self, id: CallId) {
        if let Some(caller) = self.calls.get_mut(&id).and_then(|call| call.caller.take()) {
            self.command(Command::RemoveLeg { leg: caller.leg });
        }
    }

    /// Hangs up on the caller, or refuses, if they are still there.
    pub(crate) fn end_caller_session(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (session, answered) = (call.session, call.answered);
        if self.by_session.remove(&session).is_some() {
            let status = match self.closing {
                true => Status::SERVICE_UNAVAILABLE,
                false => Status::TEMPORARILY_UNAVAILABLE,
            };
            match answered {
                true => self.hang_up(now, session),
                false => self.reject(now, session, status.into()),
            }
        }
    }

    /// Hangs up on whoever is left, and forgets the call.
    pub(crate) fn finish_call(&mut self, now: Instant, id: CallId) {
        self.end_caller_session(now, id);
        self.end_call(now, id);
    }

    /// Ends a call from our side; a message that is being left is delivered first.
    pub(crate) fn dismiss(&mut self, now: Instant, id: CallId) {
        self.end_caller_session(now, id);
        match self.calls.get(&id).map(|call| &call.stage) {
            Some(Stage::Application(_)) => self.application_left(now, id),
            _ => self.end_call(now, id),
        }
    }

    /// Forgets a call whose caller has been dealt with.
    pub(crate) fn end_call(&mut self, now: Instant, id: CallId) {
        self.stop_ringing(now, id, None);
        self.end_caller_leg(id);
        let Some(call) = self.calls.remove(&id) else {
            return;
        };
        self.by_session.remove(&call.session);
        self.timers.remove(&id);
        self.output
            .push_back(Output::Event(Event::CallEnded(record(id, &call, now))));
        if let Some(asked) = call.mount_asked {
            self.forget(asked);
        }
        if let Some(outside) = &call.outside {
            self.seeks.remove(&outside.seek);
        }
        if let Stage::Talking(talking) = call.stage {
            self.end_party(now, talking.callee, None);
        }
    }

    /// One line for each leg, with what was measured.
    pub(crate) fn log_leg(&self, id: CallId, leg: LegId, statistics: &LegStatistics) {
        info!(call = id.0, leg = leg.0, remote = ?statistics.remote, rtp = ?statistics.rtp,
            foreign_packets = statistics.foreign_packets, refused_packets = statistics.refused_packets,
            "leg ended");
    }
}

/// The session interval that we ask for (RFC 4028): a call whose phones have both vanished ends by itself.
const SESSION_EXPIRES_S: u32 = 1_800;

/// What the service's user agent allows, understands and calls itself.
pub(crate) fn ua_config(config: &Config) -> UaConfig {
    use Method::{Ack, Bye, Cancel, Info, Invite, Message, Notify, Options, Register, Subscribe, Update};
    let endpoint = EndpointConfig {
        sent_by: sent_as(config),
        ..EndpointConfig::default()
    };
    UaConfig {
        endpoint,
        agent: concat!("Ringpost/", env!("CARGO_PKG_VERSION")).into(),
        allow: vec![
            Invite, Ack, Cancel, Bye, Options, Info, Update, Message, Notify, Register, Subscribe,
        ],
        // INVITE takes a session description only; the others pass between people and are theirs to understand.
        accept: [
            "application/sdp",
            "application/dtmf-relay",
            "application/dtmf",
            "text/*",
            "message/*",
        ]
        .map(String::from)
        .into(),
        events: vec!["message-summary".into()],
        relays: true,
        ring_limit: config.no_answer + Duration::from_secs(60),
        session_expires_s: Some(SESSION_EXPIRES_S),
        ..UaConfig::default()
    }
}

/// The public address, if one is set, in place of each socket's own.
fn sent_as(config: &Config) -> Vec<SentAs> {
    let Some(public) = config.public_address else {
        return Vec::new();
    };
    config
        .ports
        .iter()
        .map(|(transport, port)| SentAs {
            transport: *transport,
            ipv6: public.is_ipv6(),
            host: public.to_string(),
            port: *port,
        })
        .collect()
}

/// An INVITE to one of the callee's phones, or to a server of another domain, which may make so many copies of it.
pub(crate) fn invitation(
    call: &Call,
    destination: &Destination,
    breadth: usize,
    description: Vec<u8>,
    config: &Config,
) -> Option<NewRequest> {
    let caller = call.from.as_deref();
    let (from, to) = match &call.callee {
        Some(callee) => (caller_address(&call.invite, caller)?, person_address(callee)?),
        None => (
            own_address(&call.invite, caller, config)?,
            call.invite.to().without_params(),
        ),
    };
    let mut request = NewRequest::new(Method::Invite, destination.flow, from, to);
    request.uri = destination.uri.clone();
    request.follows_dialog = call.outside.is_some();
    request.max_forwards = call.invite.max_forwards().unwrap_or(70).saturating_sub(1);
    request.content = Content::sdp(description).with(HeaderName::MaxBreadth.as_str(), breadth);
    for name in [HeaderName::Subject, HeaderName::Priority, HeaderName::AlertInfo] {
        if let Some(value) = call.invite.text(name) {
            request.content = request.content.with(name.as_str(), value);
        }
    }
    Some(request)
}

fn record(id: CallId, call: &Call, now: Instant) -> CallRecord {
    CallRecord {
        id,
        call_id: call.invite.call_id().as_str().into(),
        caller: call.invite.from().uri().as_str().into(),
        callee: call.invite.request_uri().map_or("", |uri| uri.as_str()).into(),
        began: call.began_at,
        duration: now.since(call.began),
        answered: call.answered,
    }
}

/// What a failure counts as (RFC 3261 §8.1.3.1).
fn status_of(failure: Failure) -> Status {
    match failure {
        Failure::Transport => Status::SERVICE_UNAVAILABLE,
        Failure::Timeout | Failure::NoAck => Status::REQUEST_TIMEOUT,
    }
}
