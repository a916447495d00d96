//! REGISTER (RFC 3261 §10.3): from the request to the bindings, and back to the answer.

use crate::access::{domain_of, is_own};
use crate::phone::{Pending, Phone};
use crate::question::{Device, DeviceId, Owner, Person, Question};
use crate::registrar::{ContactWish, Registration, Wish};
use crate::reply::Reply;
use ringpost_base::{Instant, UnixTime};
use ringpost_sip::header::date;
use ringpost_sip::{Contacts, Flow, HeaderName, Message, Status, TransactionId};
use std::sync::Arc;

impl Phone {
    /// A REGISTER whose sender may register; without credentials, from a trusted network, the To says who it is.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        (transaction, flow, request): (TransactionId, Flow, Message),
        device: Option<Arc<Device>>,
    ) {
        let to = request.to().uri();
        let domain = domain_of(to, &self.config).map(Box::<str>::from);
        match device {
            //= https://www.rfc-editor.org/rfc/rfc3261#section-10.3
            // Step 3: only the owner of an address of record changes its bindings.
            Some(device) if is_own(request.to(), &device.person, &self.config) => {
                self.bind(
                    now,
                    calendar,
                    (transaction, flow, &request),
                    Owner::from(&*device),
                );
            }
            Some(_) => self.respond(now, transaction, &request, Status::FORBIDDEN.into()),
            None => match (to.user_unescaped(), domain) {
                (Some(user), Some(domain)) => {
                    let user = String::from_utf8_lossy(&user).into();
                    let pending = Pending::Registering(transaction, flow, request.clone());
                    self.ask(Question::Person { user, domain }, pending);
                }
                _ => self.respond(now, transaction, &request, Status::NOT_FOUND.into()),
            },
        }
    }

    /// Changes the bindings of `owner`, and answers.
    pub(crate) fn bind(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        (transaction, flow, request): (TransactionId, Flow, &Message),
        Owner { person, device }: Owner,
    ) {
        let account = person.account;
        let registration = match registration_of(request, flow, device) {
            Ok(registration) => registration,
            Err(status) => return self.respond(now, transaction, request, status.into()),
        };
        let changes = !matches!(registration.wish, Wish::Query);
        let added = match self.registrar.register(now, account, registration, &self.config) {
            Ok(added) => added,
            Err(status) => {
                let mut reply = Reply::new(status);
                if status == Status::INTERVAL_TOO_BRIEF {
                    reply = reply.with(HeaderName::MinExpires, self.config.expires_min_s);
                }
                return self.respond(now, transaction, request, reply);
            }
        };
        self.tell_bindings(now, calendar, (transaction, request), &person);
        if changes {
            if !self.registrar.bindings(account).is_empty() {
                self.people.insert(account, person);
                self.light_lamp(account, added);
            }
            self.save_bindings(account);
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-10.3
    // Step 8: all current bindings, each with what is left of it, and the time.
    fn tell_bindings(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        (transaction, request): (TransactionId, &Message),
        person: &Person,
    ) {
        let mut reply = Reply::new(Status::OK).with(HeaderName::Date, date(calendar));
        let bindings = self.registrar.bindings(person.account).iter();
        for binding in bindings.filter(|binding| binding.expires > now) {
            // Nought would say that it has ended.
            let left_s = binding.expires.since(now).as_secs().max(1);
            reply = reply.with(
                HeaderName::Contact,
                format_args!("<{}>;expires={left_s}", binding.contact),
            );
        }
        self.respond(now, transaction, request, reply);
    }
}

fn registration_of(request: &Message, flow: Flow, device: Option<DeviceId>) -> Result<Registration, Status> {
    let header_s = request.expires_s();
    let wish = match request.contacts().map_err(|_| Status::BAD_REQUEST)? {
        //= https://www.rfc-editor.org/rfc/rfc3261#section-10.3
        // Step 6: `*` goes with an expiry of zero, and with nothing else.
        Contacts::Star if header_s == Some(0) => Wish::RemoveAll,
        Contacts::Star => return Err(Status::BAD_REQUEST),
        Contacts::List(list) if list.is_empty() => Wish::Query,
        Contacts::List(list) => Wish::Set(
            list.iter()
                .map(|contact| {
                    let uri = contact.uri();
                    match uri.is_sip() && uri.host().is_some() {
                        true => Ok(ContactWish {
                            uri: uri.clone(),
                            expires_s: contact.expires_s().or(header_s),
                            q_thousandths: contact.q_thousandths(),
                        }),
                        false => Err(Status::BAD_REQUEST),
                    }
                })
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Registration {
        call_id: request.call_id().as_str().into(),
        cseq: request.cseq().number,
        flow,
        device,
        wish,
    })
}
