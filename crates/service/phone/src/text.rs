//! Text messages between registered people (RFC 3428): to all of a person's phones, answered once.

use crate::access::{caller_address, domain_of, person_address};
use crate::phone::{Pending, Phone};
use crate::question::{Person, Question};
use crate::registrar::Binding;
use ringpost_base::{Instant, limits};
use ringpost_sip::ua::{Content, NewRequest, RequestId};
use ringpost_sip::{HeaderName, Message, Method, Status, TransactionId};
use std::sync::Arc;

/// A text message on its way.
#[derive(Debug)]
pub(crate) struct Text {
    request: Message,
    /// How many phones have not answered.
    waiting: usize,
    answered: bool,
}

impl Phone {
    pub(crate) fn begin_text(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        request: Message,
        from: Option<Arc<Person>>,
    ) {
        if request.max_forwards() == Some(0) {
            return self.respond(now, transaction, &request, Status::TOO_MANY_HOPS.into());
        }
        let uri = request.request_uri();
        let target = uri.and_then(|uri| {
            let domain = domain_of(uri, &self.config)?;
            Some((
                String::from_utf8_lossy(&uri.user_unescaped()?).into(),
                domain.into(),
            ))
        });
        match target {
            Some((user, domain)) => {
                let pending = Pending::Text(transaction, request, from);
                self.ask(Question::Person { user, domain }, pending);
            }
            None => self.respond(now, transaction, &request, Status::FORBIDDEN.into()),
        }
    }

    /// The recipient is known, or nobody is.
    pub(crate) fn route_text(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        request: Message,
        from: Option<Arc<Person>>,
        to: Option<Arc<Person>>,
    ) {
        let Some(to) = to else {
            return self.respond(now, transaction, &request, Status::NOT_FOUND.into());
        };
        let targets: Vec<Binding> = self
            .registrar
            .bindings(to.account)
            .iter()
            .filter(|binding| binding.expires > now)
            .take(limits::FORKS_PER_CALL)
            .cloned()
            .collect();
        let mut waiting = 0;
        for binding in &targets {
            if let Some(fork) = self.send_text(now, binding, &request, from.as_deref(), &to) {
                self.text_forks.insert(fork, transaction);
                waiting += 1;
            }
        }
        if waiting == 0 {
            return self.respond(now, transaction, &request, Status::TEMPORARILY_UNAVAILABLE.into());
        }
        self.texts.insert(
            transaction,
            Text {
                request,
                waiting,
                answered: false,
            },
        );
    }

    /// A phone has answered, or will not: the first that took it decides, or the last that did not.
    pub(crate) fn text_answered(&mut self, now: Instant, fork: RequestId, status: Status) {
        let Some(transaction) = self.text_forks.remove(&fork) else {
            return;
        };
        let Some(text) = self.texts.get_mut(&transaction) else {
            return;
        };
        text.waiting -= 1;
        let last = text.waiting == 0;
        let took_it = (200..300).contains(&status.code());
        if !text.answered && (took_it || last) {
            text.answered = true;
            let request = text.request.clone();
            self.respond(now, transaction, &request, status.into());
        }
        if last {
            self.texts.remove(&transaction);
        }
    }

    fn send_text(
        &mut self,
        now: Instant,
        binding: &Binding,
        request: &Message,
        from: Option<&Person>,
        to: &Person,
    ) -> Option<RequestId> {
        let from = caller_address(request, from)?;
        let mut forward = NewRequest::new(Method::Message, binding.flow, from, person_address(to)?);
        forward.uri = binding.contact.clone();
        forward.max_forwards = request.max_forwards().unwrap_or(70).saturating_sub(1);
        forward.content = passed_on(request);
        self.ua.request(now, forward).ok()
    }
}

/// A request's body and what describes it, to be passed on.
pub(crate) fn passed_on(request: &Message) -> Content {
    const DESCRIBING: [HeaderName; 6] = [
        HeaderName::ContentDisposition,
        HeaderName::ContentEncoding,
        HeaderName::ContentLanguage,
        HeaderName::Date,
        HeaderName::Subject,
        HeaderName::MimeVersion,
    ];
    let mut content = Content::none();
    for name in DESCRIBING {
        if let Some(value) = request.text(name) {
            content = content.with(name.as_str(), value);
        }
    }
    match (request.body().is_empty(), request.text(HeaderName::ContentType)) {
        (false, Some(content_type)) => content.with_body(content_type.into_owned(), request.body().clone()),
        _ => content,
    }
}
