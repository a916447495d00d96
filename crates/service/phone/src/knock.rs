//! The door: what every request outside a dialog passes before it is acted on.

use crate::access::{Access, is_own};
use crate::phone::{Asker, Pending, Phone};
use crate::question::{Device, Question};
use crate::reply::Reply;
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_sip::{Flow, Message, Method, Status};
use std::sync::Arc;

/// Who waits for the answer, the way that the request came, and the request.
type Knock = (Asker, Flow, Message);

impl Phone {
    /// A request outside dialogs, not yet known to be allowed.
    pub(crate) fn knock(&mut self, now: Instant, calendar: UnixTime, (asker, flow, request): Knock) {
        match self.gate.look(calendar, &self.config, flow, &request) {
            Access::Ask(username, realm) => {
                if let Asker::Session(session) = asker {
                    self.knocking.insert(session);
                }
                self.ask(
                    Question::Device { username, realm },
                    Pending::Access(asker, flow, request),
                );
            }
            Access::Trusted => self.admit(now, calendar, (asker, flow, request), None),
            Access::Proven(device) => {
                self.admit(now, calendar, (asker, flow, request), Some(device));
            }
            Access::Refused(reply) => self.turn_away(now, &(asker, flow, request), reply),
        }
    }

    /// The keys that a request's credentials are to be checked against.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        knock: Knock,
        device: Option<Arc<Device>>,
    ) {
        if let Asker::Session(session) = knock.0
            && !self.knocking.remove(&session)
        {
            // The caller has given up meanwhile.
            return;
        }
        match self.gate.judge(calendar, &self.config, &knock.2, device) {
            //= https://www.rfc-editor.org/rfc/rfc3261#section-22.1
            // Who has proven to be one person may not speak as another.
            Access::Proven(device) if !is_own(knock.2.from(), &device.person, &self.config) => {
                self.turn_away(now, &knock, Status::FORBIDDEN.into());
            }
            Access::Proven(device) => self.admit(now, calendar, knock, Some(device)),
            Access::Refused(reply) => self.turn_away(now, &knock, reply),
            Access::Trusted | Access::Ask(..) => {
                self.turn_away(now, &knock, Status::SERVER_INTERNAL_ERROR.into());
            }
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        (asker, flow, request): Knock,
        device: Option<Arc<Device>>,
    ) {
        let person = || device.as_ref().map(|device| device.person.clone());
        match asker {
            _ if self.closing => {
                self.turn_away(now, &(asker, flow, request), Status::SERVICE_UNAVAILABLE.into());
            }
            Asker::Session(session) => self.begin_call(now, calendar, (session, flow, request), device),
            Asker::Transaction(transaction) => match request.method() {
                Method::Register => self.register(now, calendar, (transaction, flow, request), device),
                Method::Message => self.begin_text(now, (transaction, flow, request), person()),
                Method::Subscribe => self.subscribe(now, transaction, flow, request, device),
                _ => self.respond(now, transaction, &request, Status::METHOD_NOT_ALLOWED.into()),
            },
        }
    }

    fn turn_away(&mut self, now: Instant, (asker, flow, request): &Knock, reply: Reply) {
        let reply = self.slim(*flow, request, reply);
        match asker {
            Asker::Session(session) => self.reject(now, *session, reply),
            Asker::Transaction(transaction) => self.respond(now, *transaction, request, reply),
        }
    }

    /// A source that is not verified must not be made to receive much more than it was made to send: where two challenges
    /// would be over one and a half times the request, the first goes alone.
    fn slim(&self, flow: Flow, request: &Message, mut reply: Reply) -> Reply {
        if flow.transport.is_reliable() || reply.status != Status::UNAUTHORIZED {
            return reply;
        }
        let most = request.bytes().len() * limits::SIP_ANSWER_PERCENT / 100;
        if self.printed(request, &reply).len() > most {
            reply.content.headers.truncate(1);
        }
        reply
    }
}
