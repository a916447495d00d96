//! Text messages between registered people (RFC 3428): to all of a person's phones, answered once.

use crate::access::{caller_address, person_address, target_of};
use crate::phone::{Pending, Phone};
use crate::question::{Person, Question};
use crate::registrar::Binding;
use crate::reply::{best_refusal, passed_back};
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
    /// The best refusal so far.
    refusal: Option<Status>,
}

impl Phone {
    pub(crate) fn begin_text(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        request: Message,
        from: Option<Arc<Person>>,
    ) {
        let target = request
            .request_uri()
            .map_or(Err(Status::NOT_FOUND), |uri| target_of(uri, &self.config));
        match target {
            Ok((user, domain)) => {
                let pending = Pending::Text(transaction, request, from);
                self.ask(Question::Person { user, domain }, pending);
            }
            Err(status) => self.respond(now, transaction, &request, status.into()),
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
        //= https://www.rfc-editor.org/rfc/rfc5393#section-5.3.3
        let breadth = breadth_of(&request);
        if breadth == 0 {
            return self.respond(now, transaction, &request, Status::MAX_BREADTH_EXCEEDED.into());
        }
        let targets: Vec<Binding> = self
            .registrar
            .bindings(to.account)
            .iter()
            .filter(|binding| binding.expires > now)
            .take(limits::FORKS_PER_CALL.min(breadth))
            .cloned()
            .collect();
        let share = breadth / targets.len().max(1);
        let mut waiting = 0;
        for binding in &targets {
            if let Some(fork) = self.send_text(now, binding, share, &request, from.as_deref(), &to) {
                self.text_forks.insert(fork, transaction);
                waiting += 1;
            }
        }
        if waiting == 0 {
            return self.respond(now, transaction, &request, Status::TEMPORARILY_UNAVAILABLE.into());
        }
        let text = Text {
            request,
            waiting,
            answered: false,
            refusal: None,
        };
        self.texts.insert(transaction, text);
    }

    /// A phone has answered, or will not: the first that took it decides, or when none did, the best of the refusals.
    pub(crate) fn text_answered(&mut self, now: Instant, fork: RequestId, status: Status) {
        let Some(transaction) = self.text_forks.remove(&fork) else {
            return;
        };
        let Some(text) = self.texts.get_mut(&transaction) else {
            return;
        };
        text.waiting -= 1;
        let is_last = text.waiting == 0;
        if !status.is_success() {
            text.refusal = Some(best_refusal(text.refusal, status));
        }
        let refusal = text.refusal.filter(|_| is_last).map(passed_back);
        let verdict = if status.is_success() {
            Some(status)
        } else {
            refusal
        };
        if let (false, Some(status)) = (text.answered, verdict) {
            text.answered = true;
            let request = text.request.clone();
            self.respond(now, transaction, &request, status.into());
        }
        if is_last {
            self.texts.remove(&transaction);
        }
    }

    fn send_text(
        &mut self,
        now: Instant,
        binding: &Binding,
        breadth: usize,
        request: &Message,
        from: Option<&Person>,
        to: &Person,
    ) -> Option<RequestId> {
        let from = caller_address(request, from)?;
        let mut forward = NewRequest::new(Method::Message, binding.flow, from, person_address(to)?);
        forward.uri = binding.request_uri();
        forward.max_forwards = request.max_forwards().unwrap_or(70).saturating_sub(1);
        forward.content = passed_on(request).with(HeaderName::MaxBreadth.as_str(), breadth);
        self.ua.request(now, forward).ok()
    }
}

/// How many copies may be made of a request, ours and those of whoever gets them (RFC 5393 §5.3.3.1).
pub(crate) fn breadth_of(request: &Message) -> usize {
    request.number(HeaderName::MaxBreadth).unwrap_or(60) as usize
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
