//! Session intervals (RFC 4028): a session whose ends do not hear of each other ends by itself.

use super::session::Interval;
use super::*;
use std::time::Duration;

/// The shortest interval that we take and ask for.
//= https://www.rfc-editor.org/rfc/rfc4028#section-5
pub(super) const MIN_SE_S: u32 = 90;

impl Ua {
    /// Asks for an interval in our INVITE.
    pub(super) fn ask_interval(&self, content: &mut Content) {
        if let Some(seconds) = self.config.session_expires_s {
            content
                .headers
                .push(("Session-Expires".into(), seconds.max(MIN_SE_S).to_string()));
        }
    }

    /// A re-INVITE of ours goes on with the interval that holds, and with its refresher.
    //= https://www.rfc-editor.org/rfc/rfc4028#section-7.4
    pub(super) fn keep_interval(&self, id: SessionId, content: &mut Content) {
        if let Some(interval) = self.sessions.get(id.0).and_then(|session| session.interval) {
            content.headers.push(self.interval_header(interval));
        }
    }

    fn interval_header(&self, interval: Interval) -> (std::borrow::Cow<'static, str>, String) {
        let refresher = if interval.is_ours { "uac" } else { "uas" };
        (
            "Session-Expires".into(),
            format!("{};refresher={refresher}", interval.seconds),
        )
    }

    /// Settles the interval in the answer to the INVITE or UPDATE that waits, and returns the headers that say so.
    //= https://www.rfc-editor.org/rfc/rfc4028#section-9
    pub(super) fn grant_interval(&mut self, now: Instant, id: SessionId) -> Vec<(HeaderName, String)> {
        let request = match self
            .sessions
            .get(id.0)
            .and_then(|session| session.incoming.as_ref())
        {
            Some(incoming) => incoming.request.clone(),
            None => return Vec::new(),
        };
        self.grant(now, id, &request)
    }

    fn grant(&mut self, now: Instant, id: SessionId, request: &Message) -> Vec<(HeaderName, String)> {
        let asked = request.delta(HeaderName::SessionExpires).and_then(Result::ok);
        let knows_timer = request.lists(HeaderName::Supported, "timer");
        let min_se = request
            .delta(HeaderName::MinSe)
            .and_then(Result::ok)
            .map_or(MIN_SE_S, |min| min.seconds);
        let seconds = match (asked, self.config.session_expires_s) {
            (Some(asked), ours) => Some(ours.map_or(asked.seconds, |ours| ours.min(asked.seconds))),
            // A peer that knows nothing of it is refreshed by us.
            (None, Some(ours)) => Some(ours),
            (None, None) => None,
        };
        let Some(seconds) = seconds.map(|seconds| seconds.max(min_se).max(MIN_SE_S)) else {
            self.set_interval(now, id, None);
            return Vec::new();
        };
        let refresher = asked.and_then(|asked| asked.params.value("refresher"));
        let by_us = match refresher {
            Some(who) => who.eq_ignore_ascii_case("uas"),
            None => !knows_timer,
        };
        let by_update = request.lists(HeaderName::Allow, "UPDATE");
        self.set_interval(
            now,
            id,
            Some(Interval {
                seconds,
                is_ours: by_us,
                by_update,
            }),
        );
        let who = if by_us { "uas" } else { "uac" };
        let mut headers = vec![(HeaderName::SessionExpires, format!("{seconds};refresher={who}"))];
        if knows_timer && !by_us {
            headers.push((HeaderName::Require, "timer".to_owned()));
        }
        headers
    }

    /// Takes the interval from a 2xx to our INVITE or UPDATE.
    //= https://www.rfc-editor.org/rfc/rfc4028#section-7.2
    pub(super) fn note_interval(&mut self, now: Instant, id: SessionId, response: &Message, is_invite: bool) {
        let told = response.delta(HeaderName::SessionExpires).and_then(Result::ok);
        let by_update = match is_invite {
            true => response.lists(HeaderName::Allow, "UPDATE"),
            false => true,
        };
        let interval = match told {
            Some(told) => {
                let by_peer = told
                    .params
                    .value("refresher")
                    .is_some_and(|who| who.eq_ignore_ascii_case("uas"));
                Some(Interval {
                    seconds: told.seconds.max(MIN_SE_S),
                    is_ours: !by_peer,
                    by_update,
                })
            }
            // The peer takes no part; whoever wants the interval refreshes.
            None => self.config.session_expires_s.map(|seconds| Interval {
                seconds: seconds.max(MIN_SE_S),
                is_ours: true,
                by_update,
            }),
        };
        self.set_interval(now, id, interval);
    }

    //= https://www.rfc-editor.org/rfc/rfc4028#section-10
    fn set_interval(&mut self, now: Instant, id: SessionId, interval: Option<Interval>) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        session.interval = interval;
        self.timers.remove(&Timer::Refresh(id));
        self.timers.remove(&Timer::Stale(id));
        let Some(Interval { seconds, is_ours, .. }) = interval else {
            return;
        };
        let whole = Duration::from_secs(seconds.into());
        if is_ours {
            self.timers.set(Timer::Refresh(id), now + whole / 2);
        }
        let slack = Duration::from_secs(32).min(whole / 3);
        self.timers.set(Timer::Stale(id), now + (whole - slack));
    }

    /// Half the interval is over.
    pub(super) fn refresh(&mut self, now: Instant, id: SessionId) {
        let Ok(session) = self.live(id) else { return };
        let Some(interval) = session.interval.filter(|_| session.state == State::Established) else {
            return;
        };
        if !interval.by_update {
            return self.event(Event::RefreshDue { session: id });
        }
        let (name, value) = self.interval_header(interval);
        let content = Content::none().with(name, value);
        let _ = self.send_when_located(now, Purpose::Refresh(id), Method::Update, content);
    }

    /// Our UPDATE was answered, or not (`None`).
    pub(super) fn refreshed(&mut self, now: Instant, id: SessionId, response: Option<&Message>) {
        if self.live(id).is_err() {
            return;
        }
        match response.and_then(Message::status) {
            Some(status) if status.is_success() => {
                if let Some(response) = response {
                    self.note_interval(now, id, response, false);
                }
            }
            None | Some(Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT) => {
                self.drop_session(now, id, Reason::Gone);
            }
            // It does not take UPDATE after all.
            Some(_) => {
                if let Some(interval) = self.sessions.get_mut(id.0).and_then(|s| s.interval.as_mut()) {
                    interval.by_update = false;
                }
                self.event(Event::RefreshDue { session: id });
            }
        }
    }

    /// An UPDATE without an offer.
    //= https://www.rfc-editor.org/rfc/rfc3311#section-5.2
    pub(super) fn handle_refresh(
        &mut self,
        now: Instant,
        session: SessionId,
        id: TransactionId,
        request: &Message,
    ) {
        if let Some(dialog) = self
            .sessions
            .get_mut(session.0)
            .and_then(|s| s.dialog_of(request))
        {
            dialog.refresh_target(request);
        }
        let stands = self
            .sessions
            .get(session.0)
            .is_some_and(|s| s.state == State::Established);
        let interval = if stands {
            self.grant(now, session, request)
        } else {
            Vec::new()
        };
        let contact = self
            .sessions
            .get(session.0)
            .map(|s| s.contact.clone())
            .unwrap_or_default();
        let mut response = self.response(request, Status::OK);
        response
            .header(HeaderName::Contact, contact)
            .header(HeaderName::Allow, &self.phrases.allow);
        for (name, value) in interval {
            response.header(name, value);
        }
        self.endpoint.respond(now, id, response.finish());
    }
}
