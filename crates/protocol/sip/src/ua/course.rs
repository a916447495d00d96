//! Where requests within a dialog go that leads elsewhere than back along the flow (RFC 3261 §12.2.1.1).
//!
//! The next hop is a URI, and where that leads is for the user to find out (RFC 3263): it is asked by
//! [`Event::Locate`]. ACK, BYE and what else can wait are kept until it is answered.

use super::session::Course;
use super::*;

/// Requests of one session that wait until it is known where they go; further ones are refused as [`CommandError::Full`].
const PARKED: usize = 8;

/// A request that waits until it is known where it goes.
#[derive(Debug)]
pub(super) enum Parked {
    /// The ACK to the 2xx of this INVITE.
    Ack(Message, Content),
    /// Any other.
    Request(Purpose, Method, Content),
}

impl Ua {
    /// Tells where the URI of an [`Event::Locate`] leads; with `None` requests go back the way that the peer's last message
    /// came by. An answer to a question that is not asked any more is passed over.
    pub fn located(&mut self, now: Instant, session: SessionId, uri: &Uri, flow: Option<Flow>) {
        let Some(state) = self.sessions.get_mut(session.0) else {
            return;
        };
        if !matches!(&state.course, Course::Asked(asked) if asked == uri) {
            return;
        }
        state.course = Course::Known(uri.clone(), flow);
        let was_refused = std::mem::take(&mut state.is_course_wanted);
        for parked in std::mem::take(&mut state.parked) {
            match parked {
                Parked::Ack(invite, content) => self.send_ack_to(session, &invite, &content),
                Parked::Request(purpose, method, content) => {
                    let sent = self.send_within(now, purpose, method, content, 0);
                    if let (Err(_), Purpose::Within(_, request)) = (sent, purpose) {
                        self.unsent(request);
                    }
                    self.release(purpose);
                }
            }
        }
        if was_refused && self.live(session).is_ok() {
            self.event(Event::ReinviteAllowed { session });
        }
        self.pump(now);
    }

    /// Whether it is known where the session's next request goes; if not, that is asked.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.2.1.1
    pub(super) fn has_course(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return true;
        };
        let Some(next) = session.dialog.as_ref().map(Dialog::next_hop) else {
            return true;
        };
        match &session.course {
            Course::Back => return true,
            Course::Known(uri, _) if uri == next => return true,
            Course::Asked(uri) if uri == next => return false,
            _ => {}
        }
        let uri = next.clone();
        session.course = Course::Asked(uri.clone());
        self.event(Event::Locate { session: id, uri });
        false
    }

    /// Sends a request within a session's dialog, as soon as it is known where to.
    pub(super) fn send_when_located(
        &mut self,
        now: Instant,
        purpose: Purpose,
        method: Method,
        content: Content,
    ) -> Result<(), CommandError> {
        let (Purpose::Bye(id) | Purpose::Refresh(id) | Purpose::Within(id, _)) = purpose else {
            return Err(CommandError::State);
        };
        if self.has_course(id) {
            return self.send_within(now, purpose, method, content, 0).map(drop);
        }
        let session = self.sessions.get_mut(id.0).ok_or(CommandError::Over)?;
        if session.parked.len() >= PARKED {
            return Err(CommandError::Full);
        }
        session.parked.push(Parked::Request(purpose, method, content));
        // It is needed until then, as by a request that is under way.
        session.holds += u32::from(purpose.session().is_some());
        Ok(())
    }

    /// A session is over: what its user still waits for will not be sent. ACK and BYE will.
    pub(super) fn drop_parked(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        let is_last =
            |parked: &Parked| matches!(parked, Parked::Ack(..) | Parked::Request(Purpose::Bye(_), ..));
        let (last, dropped): (Vec<_>, Vec<_>) =
            std::mem::take(&mut session.parked).into_iter().partition(is_last);
        session.parked = last;
        for parked in dropped {
            if let Parked::Request(Purpose::Within(_, request), ..) = parked {
                self.unsent(request);
            }
        }
    }

    fn unsent(&mut self, request: RequestId) {
        self.event(Event::Failed {
            request,
            failure: Failure::Transport,
        });
    }

    /// A way has broken: sessions whose requests went by it ask again where they lead, once there is one to send.
    pub(super) fn lose_courses(&mut self, lost: &Flow) {
        let is_it = |flow: &Flow| {
            flow.transport == lost.transport
                && flow.remote == lost.remote
                && flow.connection == lost.connection
        };
        for id in &self.following {
            if let Some(session) = self.sessions.get_mut(id.0)
                && matches!(&session.course, Course::Known(_, Some(flow)) if is_it(flow))
            {
                session.course = Course::Unknown;
            }
        }
    }
}
