//! Calls to other domains: the targets that the DNS gives are tried in turn (RFC 3263 §4.3).

use super::{CallId, Destination, Stage};
use crate::access::own_address;
use crate::phone::Phone;
use crate::question::Person;
use crate::seek::{Obstacle, Outside, Seeker};
use crate::text::breadth_of;
use ringpost_base::Instant;
use ringpost_sip::locate::Target;
use ringpost_sip::{Flow, Message, Status, Uri};
use std::time::Duration;

/// After so long without any response the next target is tried, if there is one; the silent one has until then. The
/// transaction's own 32 s would be more than a caller waits for. Over the time that a TCP connection may take.
pub(crate) const TARGET_PATIENCE: Duration = Duration::from_secs(8);

impl Phone {
    /// Whether that request may make one of ours to another domain. Errors are the status to answer with.
    pub(crate) fn may_go_outside(&self, request: &Message, from: Option<&Person>) -> Result<(), Status> {
        // Nobody sends in another domain's name through us, whatever network they are in.
        if !self.config.outbound || own_address(request, from, &self.config).is_none() {
            return Err(Status::FORBIDDEN);
        }
        //= https://www.rfc-editor.org/rfc/rfc3261#section-16.3
        let tag = request.from_tag();
        if tag.is_some_and(|tag| self.ua.sent_as(request.call_id(), tag).is_some()) {
            return Err(Status::LOOP_DETECTED);
        }
        //= https://www.rfc-editor.org/rfc/rfc5393#section-5.3.3
        if breadth_of(request) == 0 {
            return Err(Status::MAX_BREADTH_EXCEEDED);
        }
        Ok(())
    }

    /// The callee is of another domain.
    pub(crate) fn call_outside(&mut self, now: Instant, id: CallId, uri: Uri) {
        let Some(call) = self.calls.get(&id) else { return };
        if let Err(status) = self.may_go_outside(&call.invite, call.from.as_deref()) {
            return self.refuse_call(now, id, status.into());
        }
        let seek = self.seek(&uri, Seeker::Call(id), None);
        if let Some(call) = self.calls.get_mut(&id) {
            call.outside = Some(Box::new(Outside::new(uri, seek)));
        }
        self.step_seek(now, seek);
    }

    /// The next target for a call, or that there is none any more.
    pub(crate) fn call_found(
        &mut self,
        now: Instant,
        id: CallId,
        found: Option<(Target, Flow)>,
        obstacle: Option<Obstacle>,
    ) {
        let is_alive = self.is_target_heard(id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(outside) = call.outside.as_mut() else {
            return;
        };
        if !matches!(call.stage, Stage::Asking | Stage::Ringing(_)) {
            // The one that was silent has answered meanwhile.
            return;
        }
        match found {
            Some(found) if is_alive => outside.spare = Some(found),
            Some((target, flow)) => {
                let uri = outside.uri.clone();
                let target = Some(target);
                self.ask_sockets(id, vec![Destination { uri, flow, target }]);
            }
            // The one that is silent has the rest of its transaction's time.
            None if matches!(call.stage, Stage::Ringing(_)) => {}
            None => {
                let reply = outside.last_word(obstacle);
                self.refuse_call(now, id, reply);
            }
        }
    }

    /// Whether the target that is being tried has said anything.
    pub(crate) fn is_target_heard(&self, id: CallId) -> bool {
        match self.calls.get(&id).map(|call| &call.stage) {
            Some(Stage::Ringing(ringing)) => ringing
                .forks
                .iter()
                .any(|fork| self.ua.was_heard(fork.party.session)),
            _ => false,
        }
    }

    /// Nothing was heard of a target for a while: the next one is looked for.
    pub(crate) fn target_silent(&mut self, now: Instant, id: CallId) {
        let outside = self.calls.get(&id).and_then(|call| call.outside.as_ref());
        if let Some(seek) = outside.map(|outside| outside.seek)
            && !self.is_target_heard(id)
        {
            self.step_seek(now, seek);
        }
    }

    /// A target could not be reached, or is overloaded: the next one, if there is one.
    //= https://www.rfc-editor.org/rfc/rfc3263#section-4.3
    pub(crate) fn next_target(&mut self, now: Instant, id: CallId, status: Status) {
        self.timers.remove(&id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(outside) = call.outside.as_mut() else {
            return;
        };
        outside.failed_with(status);
        call.stage = Stage::Asking;
        let (seek, spare) = (outside.seek, outside.spare.take());
        match spare {
            Some(found) => self.call_found(now, id, Some(found), None),
            None => self.step_seek(now, seek),
        }
    }
}
