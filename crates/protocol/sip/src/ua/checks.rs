//! What every request must pass (RFC 3261 §8.2).

use super::refresh::MIN_SE_S;
use super::*;
use crate::header::MediaType;
use crate::uri::Scheme;

/// Header values that say what we understand.
#[derive(Debug)]
pub(super) struct Phrases {
    pub(super) allow: String,
    accept: String,
    pub(super) supported: String,
    pub(super) events: String,
}

impl Phrases {
    pub(super) fn new(config: &UaConfig) -> Self {
        let allow: Vec<&str> = config.allow.iter().map(Method::as_str).collect();
        Phrases {
            allow: allow.join(", "),
            accept: config.accept.join(", "),
            supported: config.supported.join(", "),
            events: config.events.join(", "),
        }
    }

    /// What an OPTIONS asks for, what says most first; empty values say nothing.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-11.2
    pub(super) fn capabilities<'a>(&'a self, agent: &'a str) -> [(HeaderName, &'a str); 7] {
        [
            (HeaderName::Allow, &self.allow),
            (HeaderName::Supported, &self.supported),
            (HeaderName::Accept, &self.accept),
            (HeaderName::AllowEvents, &self.events),
            (HeaderName::AcceptEncoding, "identity"),
            (HeaderName::AcceptLanguage, "en"),
            (HeaderName::Server, agent),
        ]
    }
}

/// How a request is refused: the status, and the header that tells what would do.
type Refusal = (Status, Option<(HeaderName, String)>);

impl Ua {
    pub(super) fn handle_request(&mut self, now: Instant, id: TransactionId, flow: Flow, request: Message) {
        if let Err(refusal) = self.check(&flow, &request) {
            return self.refuse_stranger(now, id, &request, refusal);
        }
        if request.to_tag().is_some() && *request.method() != Method::Register {
            return self.handle_within(now, id, flow, request);
        }
        match request.method() {
            Method::Invite => self.handle_invite(now, id, flow, request),
            //= https://www.rfc-editor.org/rfc/rfc3261#section-15.1.2
            Method::Bye | Method::Update => {
                self.refuse_stranger(now, id, &request, (Status::CALL_DOES_NOT_EXIST, None));
            }
            _ => self.event(Event::Request { id, flow, request }),
        }
    }

    pub(super) fn refuse(&mut self, now: Instant, id: TransactionId, request: &Message, refusal: Refusal) {
        let response = self.refusal(id, request, refusal);
        self.endpoint.respond(now, id, response);
    }

    /// Refuses a request of which nothing is known but that it came: to an INVITE over UDP with another's address in it
    /// the refusal would go out eleven times until an ACK came, which never will.
    pub(super) fn refuse_stranger(
        &mut self,
        now: Instant,
        id: TransactionId,
        request: &Message,
        refusal: Refusal,
    ) {
        let response = self.refusal(id, request, refusal);
        self.endpoint.respond_stateless(now, id, response);
    }

    fn refusal(&self, id: TransactionId, request: &Message, (status, header): Refusal) -> Bytes {
        let mut response = self.response(request, status);
        match header {
            //= https://www.rfc-editor.org/rfc/rfc3261#section-21.5.2
            // Nothing has to be told with it, other than with a 405.
            Some((name, value)) if status == Status::NOT_IMPLEMENTED => {
                response.header_within(self.room_for_answer(id, request), name, &value);
            }
            Some((name, value)) => {
                response.header(name, value);
            }
            None => {}
        }
        response.finish()
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2
    fn check(&self, flow: &Flow, request: &Message) -> Result<(), Refusal> {
        let method = request.method();
        if !self.config.allow.contains(method) {
            let status = match method {
                Method::Other(_) => Status::NOT_IMPLEMENTED,
                _ => Status::METHOD_NOT_ALLOWED,
            };
            return Err((status, Some((HeaderName::Allow, self.phrases.allow.clone()))));
        }
        let is_ours =
            |uri: &crate::uri::Uri| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips | Scheme::Tel);
        if !request.request_uri().is_some_and(is_ours) {
            return Err((Status::UNSUPPORTED_URI_SCHEME, None));
        }
        check_secure(flow, request)?;
        self.check_extensions(request)?;
        self.check_event(request)?;
        let may_relay = self.config.relays && request.to_tag().is_none() && *method != Method::Register;
        if may_relay && *method != Method::Options && request.max_forwards() == Some(0) {
            return Err((Status::TOO_MANY_HOPS, None));
        }
        self.check_body(request)?;
        check_interval(request)?;
        check_answerable(request)
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.2.3
    fn check_extensions(&self, request: &Message) -> Result<(), Refusal> {
        let knows = |tag: &&str| {
            self.config
                .supported
                .iter()
                .any(|known| known.eq_ignore_ascii_case(tag))
        };
        let unknown: Vec<&str> = request
            .values(HeaderName::Require)
            .filter(|tag| !knows(tag))
            .collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err((
                Status::BAD_EXTENSION,
                Some((HeaderName::Unsupported, unknown.join(", "))),
            )),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6665#section-4.2.1.1
    fn check_event(&self, request: &Message) -> Result<(), Refusal> {
        if !matches!(request.method(), Method::Subscribe | Method::Notify) {
            return Ok(());
        }
        let event = request.token_params(HeaderName::Event).and_then(Result::ok);
        let is_refer = |token: &str| token == "refer" && self.config.allow.contains(&Method::Refer);
        let knows = |token: &str| is_refer(token) || self.config.events.iter().any(|known| known == token);
        match event {
            Some(event) if knows(event.token) => Ok(()),
            _ => Err((
                Status::BAD_EVENT,
                Some((HeaderName::AllowEvents, self.phrases.events.clone())),
            )),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.3
    fn check_body(&self, request: &Message) -> Result<(), Refusal> {
        if request.body().is_empty() {
            return Ok(());
        }
        let optional = |d: crate::header::TokenParams<'_>| {
            d.params
                .value("handling")
                .is_some_and(|handling| handling.eq_ignore_ascii_case("optional"))
        };
        if request
            .token_params(HeaderName::ContentDisposition)
            .and_then(Result::ok)
            .is_some_and(optional)
        {
            return Ok(());
        }
        if request
            .values(HeaderName::ContentEncoding)
            .any(|e| !e.eq_ignore_ascii_case("identity"))
        {
            let wants = (HeaderName::AcceptEncoding, "identity".to_owned());
            return Err((Status::UNSUPPORTED_MEDIA_TYPE, Some(wants)));
        }
        let takes = |given: MediaType<'_>| {
            let ranges = self
                .config
                .accept
                .iter()
                .filter_map(|range| MediaType::parse(range).ok());
            ranges
                .into_iter()
                .any(|range| range.covers(given.kind, given.subtype))
        };
        match request.content_type().and_then(Result::ok) {
            Some(given) if takes(given) => Ok(()),
            _ => Err((
                Status::UNSUPPORTED_MEDIA_TYPE,
                Some((HeaderName::Accept, self.phrases.accept.clone())),
            )),
        }
    }
}

/// A SIPS URI promises its sender that the way is secure, and this one was not.
//= https://www.rfc-editor.org/rfc/rfc3261#section-26.2.2
//= https://www.rfc-editor.org/rfc/rfc5630#section-5.2
fn check_secure(flow: &Flow, request: &Message) -> Result<(), Refusal> {
    let is_sips = request
        .request_uri()
        .is_some_and(|uri| uri.scheme() == Scheme::Sips);
    match is_sips && flow.transport != Transport::Tls {
        true => {
            let warning = "380 ringpost \"SIPS Not Allowed\"".to_owned();
            Err((
                Status::TEMPORARILY_UNAVAILABLE,
                Some((HeaderName::Warning, warning)),
            ))
        }
        false => Ok(()),
    }
}

/// An interval below the least is not ours to raise; its sender can, if it knows of intervals at all.
//= https://www.rfc-editor.org/rfc/rfc4028#section-9
fn check_interval(request: &Message) -> Result<(), Refusal> {
    let is_asked = matches!(request.method(), Method::Invite | Method::Update)
        && request.lists(HeaderName::Supported, "timer");
    let asked = request.delta(HeaderName::SessionExpires).and_then(Result::ok);
    match is_asked && asked.is_some_and(|asked| asked.seconds < MIN_SE_S) {
        true => Err((
            Status::SESSION_INTERVAL_TOO_SMALL,
            Some((HeaderName::MinSe, MIN_SE_S.to_string())),
        )),
        false => Ok(()),
    }
}

/// An offer, made or to be made, is answered with a session description: whoever takes none cannot be served.
//= https://www.rfc-editor.org/rfc/rfc3261#section-21.4.7
//= https://www.rfc-editor.org/rfc/rfc4475#section-3.3.15
fn check_answerable(request: &Message) -> Result<(), Refusal> {
    let is_described = match request.method() {
        Method::Invite => true,
        Method::Update => !request.body().is_empty(),
        _ => false,
    };
    match is_described && !request.accepts("application", "sdp") {
        true => Err((Status::NOT_ACCEPTABLE, None)),
        false => Ok(()),
    }
}
