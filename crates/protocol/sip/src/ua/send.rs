//! Requests of ours: printed, sent, and sent again with credentials.

use super::*;
use crate::header::NameAddr;
use crate::text::Text;
use crate::uri::{Scheme, Uri};
use ringpost_auth::digest::{Challenged, DigestClient};

/// Who waits for the response to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A session's first INVITE.
    Invite(SessionId),
    /// A later one.
    Reinvite(SessionId),
    /// Its BYE.
    Bye(SessionId),
    /// An UPDATE that refreshes it.
    Refresh(SessionId),
    /// The user, for a request within a session.
    Within(SessionId, RequestId),
    /// The user, for a request outside of any.
    Free(RequestId),
    Subscribe(SubscriptionId),
    Notify(SubscriptionId),
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) purpose: Purpose,
    pub(super) method: Method,
    pub(super) cseq: u32,
    /// What to print again: kept only while a challenge could be answered.
    again: Option<Box<Again>>,
    attempts: u8,
}

#[derive(Debug)]
struct Again {
    content: Content,
    login: Option<LoginId>,
    /// How often the session interval that it asks for was made longer.
    lengthened: u8,
    /// For a request outside of any dialog.
    head: Option<Head>,
}

/// The head of a request outside of any dialog.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) flow: Flow,
    pub(super) from: NameAddr,
    pub(super) to: NameAddr,
    pub(super) routes: Vec<NameAddr>,
    pub(super) contact: Option<Box<str>>,
    pub(super) max_forwards: u8,
    pub(super) call_id: Text,
    pub(super) cseq: u32,
}

/// A password and what is known of who asks for it.
#[derive(Debug)]
pub(super) struct Login {
    client: DigestClient,
    /// It was a 407 that asked.
    is_proxy: bool,
}

impl Login {
    pub(super) fn new(client: DigestClient) -> Self {
        Login {
            client,
            is_proxy: false,
        }
    }

    fn authorize(&mut self, method: &Method, uri: &str) -> Option<(HeaderName, String)> {
        let name = if self.is_proxy {
            HeaderName::ProxyAuthorization
        } else {
            HeaderName::Authorization
        };
        Some((name, self.client.authorize(method.as_str(), uri)?))
    }
}

impl Head {
    fn builder(&self) -> Builder {
        let method = &self.method;
        let mut builder = Builder::request(method, &self.uri);
        for route in &self.routes {
            builder.header(HeaderName::Route, route);
        }
        builder
            .header(HeaderName::MaxForwards, self.max_forwards)
            .header(HeaderName::From, &self.from)
            .header(HeaderName::To, &self.to)
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, format_args!("{} {method}", self.cseq))
            .optional(HeaderName::Contact, self.contact.as_deref());
        builder
    }
}

/// Whether requests of that method name a Contact: those that begin a dialog or refresh its target.
fn has_contact(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
    )
}

impl Ua {
    /// A head with a fresh From tag.
    pub(super) fn head(&mut self, request: &NewRequest) -> Head {
        let (call_id, cseq) = match &request.call {
            Some((call_id, last)) => (call_id.clone(), last.wrapping_add(1)),
            None => (self.endpoint.mint().call_id().into(), self.first_cseq()),
        };
        let user = request.from.uri().user();
        let contact = match &request.contact {
            Some(contact) => Some(contact.to_string()),
            None if has_contact(&request.method) => {
                //= https://www.rfc-editor.org/rfc/rfc3261#section-8.1.1.8
                let next = request.routes.first().map_or(&request.uri, NameAddr::uri);
                let is_secure = [next, &request.uri]
                    .iter()
                    .any(|uri| uri.scheme() == Scheme::Sips);
                Some(self.contact(&request.flow, user, is_secure))
            }
            None => None,
        };
        Head {
            method: request.method.clone(),
            uri: request.uri.clone(),
            flow: request.flow,
            from: request.from.with_tag(&self.endpoint.mint().tag()),
            to: request.to.clone(),
            routes: request.routes.clone(),
            contact: contact.map(Into::into),
            max_forwards: request.max_forwards,
            call_id,
            cseq,
        }
    }

    /// Where a dialog's numbers begin.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.1.1.5
    pub(super) fn first_cseq(&mut self) -> u32 {
        1 + self.rng.below(1 << 16) as u32
    }

    /// Our Contact for that way, a SIPS URI where one is due.
    pub(super) fn contact(&self, flow: &Flow, user: Option<&str>, is_secure: bool) -> String {
        let (host, port) = self.endpoint.sent_by(flow);
        let at = user.map(|user| format!("{user}@")).unwrap_or_default();
        if is_secure && flow.transport == Transport::Tls {
            return format!("<sips:{at}{host}:{port}>");
        }
        let transport = match flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        format!("<sip:{at}{host}:{port}{transport}>")
    }

    /// Sends a request outside of any dialog.
    pub(super) fn send_free(
        &mut self,
        now: Instant,
        purpose: Purpose,
        head: Head,
        content: Content,
        login: Option<LoginId>,
        attempts: u8,
    ) -> Result<(TransactionId, Message), CommandError> {
        let authorization = login
            .and_then(|id| self.logins.get_mut(id.0 as usize))
            .and_then(|login| login.authorize(&head.method, head.uri.as_str()));
        let bytes = self.finish(head.builder(), &head.method, &content, authorization);
        let (flow, cseq, method) = (head.flow, head.cseq, head.method.clone());
        let (id, sent) = self.endpoint.request_message(now, flow, bytes)?;
        let again = self.again(content, login, Some(head));
        self.note(
            id,
            Pending {
                purpose,
                method,
                cseq,
                again,
                attempts,
            },
        );
        Ok((id, sent))
    }

    /// Sends a request within the dialog of a session or subscription.
    pub(super) fn send_within(
        &mut self,
        now: Instant,
        purpose: Purpose,
        method: Method,
        content: Content,
        attempts: u8,
    ) -> Result<(TransactionId, Message), CommandError> {
        let follow_contact = self.config.follow_contact;
        let (dialog, flow, contact, login) = match purpose {
            Purpose::Subscribe(id) | Purpose::Notify(id) => {
                let s = self.subscriptions.get_mut(id.0).ok_or(CommandError::Over)?;
                let dialog = s.dialog.as_mut();
                let flow = dialog
                    .as_ref()
                    .map_or(s.flow, |dialog| way(follow_contact, s.flow, dialog));
                (dialog, flow, &s.contact, s.login)
            }
            Purpose::Invite(id)
            | Purpose::Reinvite(id)
            | Purpose::Bye(id)
            | Purpose::Refresh(id)
            | Purpose::Within(id, _) => {
                let s = self.sessions.get_mut(id.0).ok_or(CommandError::Over)?;
                let flow = match s.dialog.as_ref().or(s.early.first()) {
                    Some(dialog) => s.way(follow_contact, dialog),
                    None => s.flow,
                };
                let dialog = s.dialog.as_mut().or(s.early.first_mut());
                (dialog, flow, &s.contact, s.login)
            }
            Purpose::Free(_) => return Err(CommandError::State),
        };
        let dialog = dialog.ok_or(CommandError::State)?;
        let authorization = login
            .and_then(|id| self.logins.get_mut(id.0 as usize))
            .and_then(|login| login.authorize(&method, dialog.request_uri().as_str()));
        let mut builder = dialog.request(&method);
        if has_contact(&method) {
            builder.header(HeaderName::Contact, contact);
        }
        let cseq = dialog.local_cseq();
        let bytes = self.finish(builder, &method, &content, authorization);
        let (id, sent) = self.endpoint.request_message(now, flow, bytes)?;
        let again = self.again(content, login, None);
        self.note(
            id,
            Pending {
                purpose,
                method,
                cseq,
                again,
                attempts,
            },
        );
        Ok((id, sent))
    }

    fn note(&mut self, id: TransactionId, pending: Pending) {
        if let Some(session) = pending
            .purpose
            .session()
            .and_then(|id| self.sessions.get_mut(id.0))
        {
            session.holds += 1;
        }
        self.pending.insert(id, pending);
    }

    /// The rest of a request behind its dialog's part.
    fn finish(
        &self,
        mut builder: Builder,
        method: &Method,
        content: &Content,
        authorization: Option<(HeaderName, String)>,
    ) -> Bytes {
        if let Some((name, value)) = authorization {
            builder.header(name, value);
        }
        if !self.config.agent.is_empty() {
            builder.header(HeaderName::UserAgent, &self.config.agent);
        }
        if matches!(
            method,
            Method::Invite | Method::Update | Method::Subscribe | Method::Register
        ) {
            builder.header(HeaderName::Allow, &self.phrases.allow);
            builder.header(HeaderName::Supported, &self.phrases.supported);
        }
        finish(&mut builder, content)
    }

    /// What is kept of a request that may have to be sent once more: with credentials, or with a longer session interval.
    fn again(&self, content: Content, login: Option<LoginId>, head: Option<Head>) -> Option<Box<Again>> {
        let asks = content.headers.iter().any(|(name, _)| name == SESSION_EXPIRES);
        (login.is_some() || asks).then(|| {
            Box::new(Again {
                content,
                login,
                lengthened: 0,
                head,
            })
        })
    }

    /// Sends a request again that was refused for something that can be mended. Returns what was sent; `None` leaves the
    /// response to whoever waits for it.
    pub(super) fn try_again(
        &mut self,
        now: Instant,
        pending: &mut Pending,
        response: &Message,
    ) -> Option<(TransactionId, Message)> {
        let attempts = match response.status()? {
            Status::SESSION_INTERVAL_TOO_SMALL => {
                pending.again.as_mut()?.lengthen(response)?;
                pending.attempts
            }
            _ => self.answer_challenge(pending, response)?,
        };
        let again = *pending.again.take()?;
        let (purpose, method) = (pending.purpose, pending.method.clone());
        let sent = match again.head {
            Some(mut head) => {
                head.cseq = head.cseq.wrapping_add(1);
                self.send_free(now, purpose, head, again.content, again.login, attempts)
            }
            None => self.send_within(now, purpose, method, again.content, attempts),
        };
        let sent = sent.ok()?;
        let next = self.pending.get_mut(&sent.0).and_then(|next| next.again.as_mut());
        if let Some(next) = next {
            next.lengthened = again.lengthened;
        }
        Some(sent)
    }

    /// Takes a challenge that is worth an answer: the first, and further ones if only the nonce was at fault. Gives how many
    /// there have been.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-22.2
    fn answer_challenge(&mut self, pending: &Pending, response: &Message) -> Option<u8> {
        let header = match response.status()? {
            Status::UNAUTHORIZED => HeaderName::WwwAuthenticate,
            Status::PROXY_AUTHENTICATION_REQUIRED => HeaderName::ProxyAuthenticate,
            _ => return None,
        };
        let login = pending.again.as_ref()?.login?;
        let login = self.logins.get_mut(login.0 as usize)?;
        let challenged = login.client.handle_challenges(response.lines(header)).ok()?;
        let may_try = pending.attempts == 0 || (challenged == Challenged::Stale && pending.attempts < 3);
        login.is_proxy = header == HeaderName::ProxyAuthenticate;
        may_try.then(|| pending.attempts + 1)
    }
}

const SESSION_EXPIRES: &str = "Session-Expires";
const MIN_SE: &str = "Min-SE";
/// How often an interval is made longer: each server on the way may have its own least.
const LENGTHENED: u8 = 3;

impl Again {
    /// Asks for as long a session interval as the peer wants at least; `None` when it wants no longer one.
    //= https://www.rfc-editor.org/rfc/rfc4028#section-7.3
    fn lengthen(&mut self, response: &Message) -> Option<()> {
        let least_s = response.delta(HeaderName::MinSe)?.ok()?.seconds;
        let headers = &mut self.content.headers;
        let (_, asked) = headers.iter_mut().find(|(name, _)| name == SESSION_EXPIRES)?;
        let seconds = asked.split(';').next()?.trim();
        if self.lengthened >= LENGTHENED || least_s <= seconds.parse().ok()? {
            return None;
        }
        *asked = format!("{least_s}{}", &asked[seconds.len()..]);
        headers.retain(|(name, _)| name != MIN_SE);
        headers.push((MIN_SE.into(), least_s.to_string()));
        self.lengthened += 1;
        Some(())
    }
}

impl Purpose {
    /// The session that must not be forgotten while this is under way.
    pub(super) fn session(self) -> Option<SessionId> {
        match self {
            Purpose::Invite(id) | Purpose::Reinvite(id) | Purpose::Bye(id) => Some(id),
            _ => None,
        }
    }
}

/// Adds what the user gave, and ends the message.
pub(super) fn finish(builder: &mut Builder, content: &Content) -> Bytes {
    for (name, value) in &content.headers {
        builder.extension(name, value);
    }
    match &content.body {
        Some(body) => builder.finish_with(&body.content_type, &body.bytes),
        None => builder.finish(),
    }
}

/// Which way a dialog's next request goes.
pub(super) fn way(follow_contact: bool, flow: Flow, dialog: &Dialog) -> Flow {
    let next = dialog.next_hop();
    let Some(ip) = next.host().and_then(|host| host.ip()).filter(|_| follow_contact) else {
        return flow;
    };
    let transport = match next.param("transport").as_deref() {
        Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case("tls") => Transport::Tls,
        Some(_) => Transport::Udp,
        None if next.scheme() == crate::uri::Scheme::Sips => Transport::Tls,
        // Only the way that we know it speaks: an address without a transport says UDP (RFC 3263 §4.1).
        None => Transport::Udp,
    };
    let remote = SocketAddr::new(ip, next.port().unwrap_or(transport.default_port()));
    if remote == flow.remote && transport == flow.transport {
        return flow;
    }
    Flow {
        transport,
        remote,
        connection: None,
        ..flow
    }
}

impl From<crate::endpoint::RequestError> for CommandError {
    fn from(error: crate::endpoint::RequestError) -> Self {
        match error {
            crate::endpoint::RequestError::Full => CommandError::Full,
            crate::endpoint::RequestError::Malformed => CommandError::Malformed,
        }
    }
}
