//! Who asks, and whether it may be.

use super::question::{Access, Answer, Ask, Password, Place, User};
use super::{Current, Server, Status, Waiting};
use crate::control;
use crate::message::Response;
use crate::method::Method;
use crate::url::Url;
use ringpost_auth::base64;
use ringpost_auth::digest::{Authenticator, Credentials, Offer, Policy, Verdict};
use ringpost_base::{Rng, limits};

/// The longest pair of name and password that Basic may bring.
const BASIC_BYTES: usize = 1024;

/// So many realms a connection is asked in at a time.
const REALMS: usize = 4;

/// What a connection challenges with. Its nonces are the connection's own, so that nobody can repeat elsewhere what was
/// heard here; a client that brings one of another connection is told that it is stale.
pub(super) struct Gate {
    /// By realm; that of the configuration first.
    digests: Vec<Authenticator>,
    /// The realm that the client was asked in last by [`Answer::Unproven`].
    asked: String,
    is_secure: bool,
    rng: Rng,
}

impl Gate {
    pub(super) fn new(realm: &str, is_secure: bool, mut rng: Rng) -> Self {
        Gate {
            digests: vec![authenticator(realm, rng.fork())],
            asked: realm.to_owned(),
            is_secure,
            rng,
        }
    }

    fn digest(&mut self, realm: &str) -> &mut Authenticator {
        let known = self.digests.iter().position(|digest| digest.realm() == realm);
        let place = known.unwrap_or_else(|| {
            self.digests.truncate(REALMS - 1);
            self.digests.push(authenticator(realm, self.rng.fork()));
            self.digests.len() - 1
        });
        &mut self.digests[place]
    }
}

fn authenticator(realm: &str, rng: Rng) -> Authenticator {
    let policy = Policy {
        // GStreamer and most cameras know nothing else.
        without_qop: true,
        ..Policy::default()
    };
    Authenticator::new(realm, rng, policy)
}

/// What an Authorization field brings.
enum Brought<'a> {
    Nothing,
    Digest(Credentials<'a>),
    Basic { user: String, password: String },
    Unreadable,
}

fn brought(value: Option<&str>, is_secure: bool) -> Brought<'_> {
    let Some(value) = value else {
        return Brought::Nothing;
    };
    let scheme = value.split(' ').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("Digest") {
        return Credentials::parse(value).map_or(Brought::Unreadable, Brought::Digest);
    }
    // Guards pitfall RTSP 4: a password in the clear is not even looked at.
    if !scheme.eq_ignore_ascii_case("Basic") || !is_secure {
        return Brought::Nothing;
    }
    let decoded = base64::decode(value[scheme.len()..].trim().as_bytes(), BASIC_BYTES);
    let text = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) => Brought::Basic {
            user: user.into(),
            password: password.into(),
        },
        None => Brought::Unreadable,
    }
}

/// Whether the `uri` of credentials means the request's: as it stands, as a URL or as a path, or a URL above it, since some
/// clients name the presentation in all requests about its streams.
// Guards pitfall RTSP 4.
fn is_about(uri: &str, request_uri: &str) -> bool {
    let url = |text: &str| match text.starts_with('/') {
        true => Url::parse(&format!("rtsp://h{text}")).ok(),
        false => Url::parse(text).ok(),
    };
    if uri == request_uri {
        return true;
    }
    let (Some(uri), Some(request)) = (url(uri), url(request_uri)) else {
        return false;
    };
    let (named, meant) = (control::target(&uri), control::target(&request));
    if named.track.is_none() && named.is_same_presentation(&meant) {
        return true;
    }
    let rest = request
        .path_and_query()
        .strip_prefix(uri.path_and_query().trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Server {
    /// Finds out who asks, if the request says so.
    pub(super) fn identify(&mut self, current: Box<Current>) {
        let header = current.request.headers.field("Authorization").map(str::to_owned);
        match brought(header.as_deref(), self.gate.is_secure) {
            Brought::Nothing => self.find_session(current),
            Brought::Digest(credentials) if is_about(&credentials.uri, &current.request.uri) => {
                let (user, realm) = (credentials.username.into_owned(), credentials.realm.into_owned());
                let ask = Ask::Keys {
                    user,
                    realm: realm.clone(),
                };
                self.ask(current, Waiting::Keys { realm }, ask);
            }
            Brought::Basic { user, password } => {
                let password = Password(password);
                self.ask(current, Waiting::Password, Ask::Password { user, password });
            }
            Brought::Digest(_) | Brought::Unreadable => {
                self.login_failures += 1;
                self.answer_status(&current, Status::BAD_REQUEST);
            }
        }
    }

    pub(super) fn keys_answered(&mut self, current: Box<Current>, realm: &str, answer: Answer) {
        let keys = match answer {
            Answer::Keys(keys) => keys,
            Answer::Refused(refusal) if refusal.status == Status::UNAUTHORIZED => {
                // Who is somebody elsewhere is nobody here.
                self.user = None;
                return self.find_session(current);
            }
            Answer::Refused(refusal) => return self.refuse(&current, &refusal),
            _ => return self.mismatch(&current),
        };
        let (user, keys) = keys.unzip();
        let wallclock = self.wallclock();
        let is_ours = realm == self.config.realm;
        let header = current.request.headers.field("Authorization").unwrap_or_default();
        let verdict = match Credentials::parse(header) {
            Ok(credentials) => {
                let method = current.request.method.name();
                let digest = self.gate.digest(realm);
                digest.verify(wallclock, &credentials, method, keys.as_ref())
            }
            Err(_) => return self.mismatch(&current),
        };
        match verdict {
            Verdict::Granted => {
                self.user = user.map(|user| User {
                    realm: (!is_ours).then(|| realm.to_owned()),
                    ..user
                });
                self.login_failures = 0;
                self.find_session(current);
            }
            Verdict::Stale => self.challenge_in(&current, realm, true),
            Verdict::Refused(_) => {
                self.login_failures += 1;
                // Somebody of ours may be let in at another domain's: many clients try again by themselves what is stale.
                match is_ours {
                    true => self.challenge(&current),
                    false => self.challenge_in(&current, &self.config.realm.clone(), true),
                }
            }
        }
    }

    pub(super) fn password_answered(&mut self, current: Box<Current>, answer: Answer) {
        match answer {
            Answer::Proven(user) => {
                self.user = Some(user);
                self.login_failures = 0;
                self.find_session(current);
            }
            Answer::Refused(_) => {
                self.login_failures += 1;
                self.challenge(&current);
            }
            _ => self.mismatch(&current),
        }
    }

    /// Asks the client who it is, in the realm that it was asked in last. Under TLS by Basic, by which an account's password can be
    /// proven too: who knows digest would take that where both are offered, and fail with a password of which no digest is kept.
    /// Who has come with a digest may go on.
    fn challenge(&mut self, current: &Current) {
        self.challenge_in(current, &self.gate.asked.clone(), false);
    }

    /// The client has to prove who it is, in this realm: what it has proven, if anything, is worth nothing any more.
    fn unproven(&mut self, current: &Current, realm: Option<String>) {
        self.user = None;
        self.gate.asked = realm.unwrap_or_else(|| self.config.realm.clone());
        self.challenge(current);
    }

    fn challenge_in(&mut self, current: &Current, realm: &str, is_stale: bool) {
        let wallclock = self.wallclock();
        let mut response = self.response(current, Status::UNAUTHORIZED);
        let brought = current.request.headers.field("Authorization");
        let has_digest = brought.is_some_and(|value| value.to_ascii_lowercase().starts_with("digest "));
        if !self.gate.is_secure || has_digest {
            let digest = self.gate.digest(realm);
            for challenge in digest.challenge(wallclock, Offer::All, is_stale) {
                response.headers.push("WWW-Authenticate", challenge.to_string());
            }
        }
        if self.gate.is_secure {
            let realm = self.config.realm.replace(['"', '\\'], "");
            response
                .headers
                .push("WWW-Authenticate", format!("Basic realm=\"{realm}\""));
        }
        self.answer(current, response);
    }

    /// Finds the session that the request names.
    fn find_session(&mut self, mut current: Box<Current>) {
        if let Some(place) = &mut current.place {
            place.user = self.user.clone();
        }
        let Some(id) = current.session.clone() else {
            return self.authorize(current);
        };
        if !self.sessions.contains_key(&id) {
            if self.sessions.len() >= limits::RTSP_SESSIONS {
                return self.answer_status(&current, Status::SESSION_NOT_FOUND);
            }
            let user = self.user.clone();
            return self.ask(current, Waiting::Session, Ask::Session { id, user });
        }
        self.authorize(current);
    }

    pub(super) fn session_answered(&mut self, mut current: Box<Current>, answer: Answer) {
        match answer {
            Answer::Session(session) if current.session.as_ref() == Some(&session.id) => {
                if !session.belongs_to(self.user.as_ref(), self.peer.address) {
                    let realm = session.owner.as_ref().map(|owner| owner.realm.clone());
                    self.outputs
                        .push_back(super::Output::Event(super::Event::Detached(session)));
                    return match realm.filter(|_| self.user.is_none()) {
                        Some(realm) => self.unproven(&current, realm),
                        None => self.answer_status(&current, Status::SESSION_NOT_FOUND),
                    };
                }
                self.sessions.insert(session.id.clone(), *session);
                self.authorize(current);
            }
            // Many say who they are only when they are asked.
            Answer::Unproven { realm } => self.unproven(&current, realm),
            // What changes nothing of a session needs none: clients ask OPTIONS to keep alive what is gone.
            Answer::Refused(_) if current.request.method == Method::Options => {
                current.session = None;
                self.authorize(current);
            }
            Answer::Refused(_) => self.answer_status(&current, Status::SESSION_NOT_FOUND),
            _ => self.mismatch(&current),
        }
    }

    /// Whether it may be: asked for what is not within a session.
    fn authorize(&mut self, mut current: Box<Current>) {
        if let Some(id) = &current.session
            && let Some(session) = self.sessions.get_mut(id)
        {
            // Guards pitfall RTSP 2.
            if !session.belongs_to(self.user.as_ref(), self.peer.address) {
                return self.answer_status(&current, Status::SESSION_NOT_FOUND);
            }
            session.expires = self.now + self.config.session_timeout;
            if current.place.is_none() {
                current.place = Some(Place {
                    mount: session.mount.clone(),
                    query: session.query.clone(),
                    user: self.user.clone(),
                    base: None,
                });
            }
            let is_of_session = current
                .place
                .as_ref()
                .is_none_or(|place| place.mount == session.mount);
            let stands_alone = match current.request.method {
                Method::Announce | Method::Describe => true,
                // A session is good for what it was made for and for nothing else.
                Method::GetParameter | Method::SetParameter => !is_of_session,
                _ => false,
            };
            if !stands_alone {
                return self.act(current);
            }
        }
        let access = match current.request.method {
            Method::Options => return self.act(current),
            Method::Announce => Access::Publish,
            Method::Setup => match self.setup_access(&mut current) {
                Ok(mode) => mode,
                Err(status) => return self.answer_status(&current, status),
            },
            Method::Describe | Method::GetParameter | Method::SetParameter => Access::Read,
            _ => return self.answer_status(&current, Status::SESSION_NOT_FOUND),
        };
        let Some(place) = current.place.clone() else {
            return self.answer_status(&current, Status::NOT_FOUND);
        };
        self.ask(current, Waiting::Authorize, Ask::Authorize { place, access });
    }

    pub(super) fn authorize_answered(&mut self, current: Box<Current>, answer: Answer) {
        match answer {
            Answer::Granted => self.act(current),
            Answer::Unproven { realm } => self.unproven(&current, realm),
            Answer::Refused(refusal) => self.refuse(&current, &refusal),
            _ => self.mismatch(&current),
        }
    }

    /// An answer does not fit its question, which is a mistake of the server.
    pub(super) fn mismatch(&mut self, current: &Current) {
        self.answer_status(current, Status::INTERNAL_SERVER_ERROR);
    }

    pub(super) fn refuse(&mut self, current: &Current, refusal: &super::Refusal) {
        let status = match refusal.status {
            status if status.code() < 300 => Status::INTERNAL_SERVER_ERROR,
            status => status,
        };
        let mut response: Response = self.response(current, status);
        for (name, value) in refusal.headers.iter() {
            response.headers.push(name, value);
        }
        //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.6
        let tells_methods = status == Status::METHOD_NOT_VALID_IN_THIS_STATE && !refusal.allow.is_empty();
        if status == Status::METHOD_NOT_ALLOWED || tells_methods {
            response.headers.push("Allow", super::names(&refusal.allow));
        }
        if !refusal.body.is_empty() {
            let kind = match status {
                Status::PARAMETER_NOT_UNDERSTOOD | Status::PARAMETER_IS_READ_ONLY => "text/parameters",
                _ => "text/plain",
            };
            response = response.with_body(kind, refusal.body.clone());
        }
        self.answer(current, response);
        //= https://www.rfc-editor.org/rfc/rfc2326#appendix-A.2
        if status.is_redirection()
            && status != Status::NOT_MODIFIED
            && let Some(session) = &current.session
        {
            self.end_session(&session.clone(), super::End::Redirected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Guards pitfall RTSP 4.
    #[test]
    fn credentials_name_the_request_by_url_path_or_presentation() {
        let request = "rtsp://h:8554/cam?x=1/trackID=0";
        for uri in [
            request,
            "/cam?x=1/trackID=0",
            "rtsp://other/cam?x=1/trackID=0/",
            "rtsp://h/cam?x=1",
            "/cam?x=1/",
            "rtsp://h",
        ] {
            assert!(is_about(uri, request), "{uri}");
        }
        for uri in [
            "",
            "cam",
            "/ca",
            "rtsp://h/cam2",
            "/cam?x=1/trackID=01",
            "*",
            "http://h/cam",
        ] {
            assert!(!is_about(uri, request), "{uri}");
        }
        assert!(is_about("*", "*"));
        assert!(is_about("/cam?x=1", "rtsp://h/cam/trackID=0?x=1"));
        assert!(is_about("rtsp://h/cam/?x=1/", "rtsp://h/cam/trackID=0?x=1"));
        assert!(!is_about("/cam?x=2", "rtsp://h/cam/trackID=0?x=1"));
    }
}
