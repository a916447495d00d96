//! Text messages between registered people (RFC 3428): to all of a person's phones, answered once.

use crate::access::{Callee, callee_of, caller_address, own_address, person_address};
use crate::config::Config;
use crate::phone::{Pending, Phone};
use crate::question::{Person, Question};
use crate::registrar::Binding;
use crate::reply::{Reply, best_refusal, passed_back};
use crate::seek::{Obstacle, Outside, Seeker};
use ringpost_base::{Instant, limits};
use ringpost_sip::locate::Target;
use ringpost_sip::ua::{Content, NewRequest, RequestId};
use ringpost_sip::{Failure, Flow, HeaderName, Message, Method, Status, TransactionId, Uri};
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
    /// Who gets it, if they are of another domain, and whom it is from.
    outside: Option<(Outside, Option<Arc<Person>>)>,
}

impl Phone {
    pub(crate) fn begin_text(
        &mut self,
        now: Instant,
        (transaction, flow, request): (TransactionId, Flow, Message),
        from: Option<Arc<Person>>,
    ) {
        match callee_of(&request, &flow, &self.config) {
            Ok(Callee::Outside(uri)) => self.text_outside(now, transaction, request, from, uri),
            Ok(Callee::Ours(user, domain)) => {
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
            outside: None,
        };
        self.texts.insert(transaction, text);
    }

    /// A phone has answered, or will not: the first that took it decides, or when none did, the best of the refusals.
    pub(crate) fn text_answered(
        &mut self,
        now: Instant,
        fork: RequestId,
        status: Status,
        failure: Option<Failure>,
    ) {
        let Some(transaction) = self.text_forks.remove(&fork) else {
            return;
        };
        let Some(text) = self.texts.get_mut(&transaction) else {
            return;
        };
        let is_unreached = failure == Some(Failure::Transport) || status == Status::SERVICE_UNAVAILABLE;
        if let Some((outside, _)) = text.outside.as_mut().filter(|_| is_unreached) {
            //= https://www.rfc-editor.org/rfc/rfc3263#section-4.3
            // After a timeout there is nobody left to tell: the sender has given up as we have.
            outside.failed_with(match failure {
                Some(_) => Status::BAD_GATEWAY,
                None => status,
            });
            let seek = outside.seek;
            return self.step_seek(now, seek);
        }
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
            self.forget_text(transaction);
        }
    }

    fn forget_text(&mut self, transaction: TransactionId) -> Option<Text> {
        let text = self.texts.remove(&transaction)?;
        if let Some((outside, _)) = &text.outside {
            self.seeks.remove(&outside.seek);
        }
        Some(text)
    }

    /// The recipient is of another domain.
    fn text_outside(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        request: Message,
        from: Option<Arc<Person>>,
        uri: Uri,
    ) {
        if let Err(status) = self.may_go_outside(&request, from.as_deref()) {
            return self.respond(now, transaction, &request, status.into());
        }
        let seek = self.seek(&uri, Seeker::Text(transaction), None);
        let text = Text {
            request,
            waiting: 1,
            answered: false,
            refusal: None,
            outside: Some((Outside::new(uri, seek), from)),
        };
        self.texts.insert(transaction, text);
        self.step_seek(now, seek);
    }

    /// The next target for a text, or that there is none any more.
    pub(crate) fn text_found(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        found: Option<(Target, Flow)>,
        obstacle: Option<Obstacle>,
    ) {
        let Some(text) = self.texts.get(&transaction) else {
            return;
        };
        let Some((outside, from)) = &text.outside else {
            return;
        };
        let Some((_, flow)) = found else {
            let reply = outside.last_word(obstacle);
            return self.end_text(now, transaction, reply);
        };
        let forward = forward_outside(&text.request, from.as_deref(), &outside.uri, flow, &self.config);
        match forward.and_then(|forward| self.ua.request(now, forward).ok()) {
            Some(fork) => drop(self.text_forks.insert(fork, transaction)),
            None => self.end_text(now, transaction, Status::TEMPORARILY_UNAVAILABLE.into()),
        }
    }

    fn end_text(&mut self, now: Instant, transaction: TransactionId, reply: Reply) {
        if let Some(text) = self.forget_text(transaction) {
            self.respond(now, transaction, &text.request, reply);
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

/// A text to another domain.
fn forward_outside(
    request: &Message,
    from: Option<&Person>,
    uri: &Uri,
    flow: Flow,
    config: &Config,
) -> Option<NewRequest> {
    let from = own_address(request, from, config)?;
    let to = request.to().without_params();
    let mut forward = NewRequest::new(Method::Message, flow, from, to);
    forward.uri = uri.clone();
    forward.max_forwards = request.max_forwards().unwrap_or(70).saturating_sub(1);
    forward.content = passed_on(request).with(HeaderName::MaxBreadth.as_str(), breadth_of(request));
    Some(forward)
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
