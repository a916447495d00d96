//! A mount that is dialled: its sound, turned into a telephone's, for as long as somebody publishes it.

use super::{Call, CallId};
use crate::access::{Callee, callee_of};
use crate::phone::{Pending, Phone};
use crate::question::{DialledMount, MountCaller, Question};
use crate::reply::Reply;
use ringpost_base::Instant;
use ringpost_sip::{HeaderName, Status};

impl Phone {
    /// Nobody is called so; a mount may be.
    pub(crate) fn ask_mount(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Ok(Callee::Ours(user, domain)) = callee_of(&call.invite, &call.flow, &self.config) else {
            return self.refuse_call(now, id, Status::NOT_FOUND.into());
        };
        let caller = call.mount_caller();
        let question = Question::Mount { user, domain, caller };
        let asked = self.open_question(question, Pending::Mount(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.mount_asked = Some(asked);
        }
    }

    /// The mount is known, or why it is not heard.
    pub(crate) fn mount_found(&mut self, now: Instant, id: CallId, mount: DialledMount) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let refusal: Reply = match mount {
            DialledMount::Live(mount) => {
                call.mount = Some(mount);
                return self.ask_sockets(id, Vec::new());
            }
            DialledMount::Unknown => Status::NOT_FOUND.into(),
            DialledMount::Forbidden => Status::FORBIDDEN.into(),
            DialledMount::NotLive => Status::TEMPORARILY_UNAVAILABLE.into(),
            DialledMount::NotPulled => not_pulled(),
            DialledMount::Undecodable(encodings) => undecodable(&encodings),
            DialledMount::Unavailable => Status::SERVICE_UNAVAILABLE.into(),
        };
        self.refuse_call(now, id, refusal);
    }

    /// The mount is no more: whoever heard it is told.
    pub(crate) fn mount_ended(&mut self, now: Instant, id: CallId) {
        if self.calls.contains_key(&id) {
            self.finish_call(now, id);
        }
    }
}

impl Call {
    /// Who calls, as far as they have proven it.
    pub(super) fn mount_caller(&self) -> Option<MountCaller> {
        let (person, device) = self.from.clone().zip(self.device.clone())?;
        Some(MountCaller { person, device })
    }
}

/// The refusal says who is to blame.
//= https://www.rfc-editor.org/rfc/rfc3261#section-21.4.18
fn not_pulled() -> Reply {
    let words = "the server that this stream comes from does not give it now";
    Reply::new(Status::TEMPORARILY_UNAVAILABLE)
        .with(HeaderName::Warning, format_args!("399 ringpost \"{words}\""))
}

/// The refusal names what there is, as its publisher wrote it, without what a header field could not hold.
//= https://www.rfc-editor.org/rfc/rfc3261#section-20.43
fn undecodable(encodings: &[String]) -> Reply {
    let is_named = |c: &char| c.is_ascii_alphanumeric() || "-_.+".contains(*c);
    let names = encodings
        .iter()
        .map(|name| name.chars().filter(is_named).collect());
    let names: Vec<String> = names.collect();
    let words = format!(
        "no sound that a telephone can be given, only {}",
        names.join(", ")
    );
    Reply::new(Status::NOT_ACCEPTABLE_HERE)
        .with(HeaderName::Warning, format_args!("305 ringpost \"{words}\""))
}
