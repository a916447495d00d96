//! Keeping a phone known to its registrar (RFC 3261 §10.2).

use super::{Error, Event, Phone};
use ringpost_base::Instant;
use ringpost_sip::ua::{Content, NewRequest, RequestId};
use ringpost_sip::{HeaderName, Message, Method, NameAddr, Status, Text, Uri};
use std::time::Duration;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Registration {
    /// To be kept up.
    wanted: bool,
    /// What is asked for; a registrar may want more.
    expires_s: u32,
    /// Call-ID and number of the last request: they stay the same from one to the next.
    last: Option<(Text, u32)>,
    running: Option<RequestId>,
    /// What is wanted has changed meanwhile.
    again: bool,
    next_at: Option<Instant>,
}

impl Registration {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_at
    }

    /// A request that runs, a next one, and a registration that is to be kept up.
    pub(super) fn holdings(&self) -> usize {
        [
            self.wanted,
            self.running.is_some(),
            self.again,
            self.next_at.is_some(),
        ]
        .map(usize::from)
        .iter()
        .sum()
    }
}

impl Phone {
    /// Registers, and keeps the registration up.
    pub fn register(&mut self, now: Instant) -> Result<(), Error> {
        self.registration.wanted = true;
        self.registration.expires_s = self.config.expires_s;
        self.send_register(now)
    }

    /// Takes the registration back.
    pub fn unregister(&mut self, now: Instant) -> Result<(), Error> {
        self.registration.wanted = false;
        self.registration.expires_s = 0;
        self.send_register(now)
    }

    /// Sends a REGISTER, behind the one that is under way: two at once could arrive in either order (RFC 3261 §10.2).
    fn send_register(&mut self, now: Instant) -> Result<(), Error> {
        if self.registration.running.is_some() {
            self.registration.again = true;
            return Ok(());
        }
        let registrar = self.aor.uri().host().map(|host| Uri::sip(None, host, None));
        let registrar = registrar.and_then(Result::ok).ok_or(Error::Target)?;
        let request = self.new_request(Method::Register, self.aor.clone())?;
        let contact = format!(
            "<sip:{}@{};transport={}>",
            self.config.user,
            self.config.sip,
            self.config.transport.via_name().to_ascii_lowercase()
        );
        let request = NewRequest {
            uri: registrar,
            contact: Some(NameAddr::parse(contact.into()).map_err(|_| Error::Target)?),
            call: self.registration.last.clone(),
            content: Content::none().with("Expires", self.registration.expires_s),
            ..request
        };
        self.registration.next_at = None;
        self.registration.running = Some(self.ua.request(now, request)?);
        self.pump(now);
        Ok(())
    }

    pub(super) fn handle_registered(
        &mut self,
        now: Instant,
        request: RequestId,
        status: Status,
        response: &Message,
    ) {
        if self
            .registration
            .running
            .take_if(|running| *running == request)
            .is_none()
        {
            return;
        }
        self.registration.last = Some((response.call_id().detached(), response.cseq().number));
        if std::mem::take(&mut self.registration.again) {
            return self.retry_register(now);
        }
        match status.code() {
            200..=299 if !self.registration.wanted => self.event(Event::Unregistered),
            200..=299 => {
                let expires_s = self.granted_s(response);
                // Early enough that a lost request can be repeated.
                self.registration.next_at = Some(now + Duration::from_secs(u64::from(expires_s) * 3 / 4));
                self.event(Event::Registered { expires_s });
            }
            423 => {
                //= https://www.rfc-editor.org/rfc/rfc3261#section-10.2.8
                let least = response
                    .delta(HeaderName::MinExpires)
                    .and_then(Result::ok)
                    .map(|delta| delta.seconds);
                let asked = self.registration.expires_s;
                match least.filter(|least| *least > asked) {
                    Some(least) => {
                        self.registration.expires_s = least;
                        self.retry_register(now);
                    }
                    None => self.registration_failed(now, Some(status)),
                }
            }
            _ => self.registration_failed(now, Some(status)),
        }
    }

    pub(super) fn handle_registration_failed(&mut self, now: Instant, request: RequestId) {
        let running = &mut self.registration.running;
        if running.take_if(|running| *running == request).is_none() {
            return;
        }
        match std::mem::take(&mut self.registration.again) {
            true => self.retry_register(now),
            false => self.registration_failed(now, None),
        }
    }

    fn retry_register(&mut self, now: Instant) {
        if self.send_register(now).is_err() {
            self.registration_failed(now, None);
        }
    }

    fn registration_failed(&mut self, now: Instant, status: Option<Status>) {
        let may_pass =
            status.is_none_or(|status| !(400..500).contains(&status.code()) || status.code() == 408);
        self.registration.next_at = (self.registration.wanted && may_pass).then_some(now + RETRY);
        self.event(Event::RegistrationFailed {
            status: status.map(Status::code),
        });
    }

    /// What the registrar says of our own Contact among the others; else its Expires, else what we asked for.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-10.2.4
    fn granted_s(&self, response: &Message) -> u32 {
        let ours = response
            .addresses(HeaderName::Contact)
            .filter_map(Result::ok)
            .find(|contact| super::address_in(contact.uri()) == Some(self.config.sip));
        ours.and_then(|contact| contact.expires_s())
            .or_else(|| response.expires_s())
            .unwrap_or(self.registration.expires_s)
    }

    pub(super) fn handle_registration_timeout(&mut self, now: Instant) {
        if self.registration.next_at.take_if(|at| *at <= now).is_some() {
            self.retry_register(now);
        }
    }
}
