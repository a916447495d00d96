//! The server's side of one connection, as a machine.

mod act;
mod announced;
mod gate;
mod ours;
mod question;
mod session;
mod setup;
#[cfg(test)]
mod tests;

pub use ours::{Outcome, RequestId, TooMany};
pub use question::{
    Access, Answer, Ask, Control, Password, Place, Play, Played, Question, QuestionId, Refusal, SessionId,
    SetUp, Setup, User,
};
pub use session::{Session, State, Track};

use crate::header::SessionHeader;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::mount::MountPath;
use crate::reader::{Item, ReadError, Reader, Reading};
use crate::status::Status;
use crate::url::Url;
use announced::Announced;
use bytes::Bytes;
use gate::Gate;
use ours::Ours;
use ringpost_base::{Instant, Rng, UnixTime, limits};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What holds for all connections of a listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the Server field says.
    pub software: String,
    /// The realm of digest and Basic, where [`Answer::Unproven`] names no other.
    pub realm: String,
    /// After how long without a sign of its client a session ends (RFC 2326 §12.37): a request, interleaved data, or what
    /// [`Server::handle_liveness`] was told.
    pub session_timeout: Duration,
    /// How long a request may take to come whole; then 408 and the connection closes. A connection without sessions and
    /// requests is closed after twice as long.
    pub request_timeout: Duration,
    /// How long a client may take to answer a request of ours.
    pub response_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            software: "Ringpost".into(),
            realm: "localhost".into(),
            session_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(30),
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether TLS is between.
    pub is_secure: bool,
}

/// What a connection wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send these bytes, which are one whole message. Interleaved packets may go before and behind it, not within.
    Transmit(Bytes),
    /// Something for the driver.
    Event(Event),
    /// Nothing more, until something is handled or this time comes.
    Timeout(Option<Instant>),
}

/// What a driver has to see to.
#[derive(Clone, Debug)]
pub enum Event {
    /// Find out, and come back with [`Server::handle_answer`].
    Question(Box<Question>),
    /// A packet came within the connection.
    Media {
        /// For which session.
        session: SessionId,
        /// For which stream.
        track: usize,
        /// Whether it is RTCP.
        is_rtcp: bool,
        /// The packet.
        data: Bytes,
    },
    /// One stream of a session is no more; others are.
    TrackEnded {
        /// Of which session.
        session: SessionId,
        /// Which stream.
        track: usize,
    },
    /// A session is no more, and all that was set up for it.
    Ended {
        /// Which.
        session: SessionId,
        /// Why.
        why: End,
    },
    /// The connection is over and this session is not: keep it until [`Session::expires`], for [`Ask::Session`].
    Detached(Box<Session>),
    /// What became of a request of ours.
    Answered {
        /// Which.
        request: RequestId,
        /// What became of it.
        outcome: Outcome,
    },
    /// Close the connection. It is the last event, unless an answer brings a session after it, which is given back as
    /// [`Event::Detached`].
    Closed,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client said TEARDOWN.
    Teardown,
    /// No sign of the client for [`Config::session_timeout`].
    Timeout,
    /// The connection that its streams are interleaved in is over.
    Closed,
    /// A request of it was answered with 3xx (RFC 2326 appendix A.2).
    Redirected,
    /// The server's owner ended it.
    Commanded,
}

/// The methods that a server takes.
const PUBLIC: &[Method] = &[
    Method::Options,
    Method::Describe,
    Method::Announce,
    Method::Setup,
    Method::Play,
    Method::Pause,
    Method::Record,
    Method::Teardown,
    Method::GetParameter,
    Method::SetParameter,
];

/// One client's connection: bytes in, bytes and [`Event`]s out.
///
/// After each `handle_…` call and command, [`poll_output`](Server::poll_output) is drained until it says
/// [`Output::Timeout`], and the outputs are carried out in their order. Requests are carried out one after another; those
/// that a client has pipelined wait, while interleaved packets pass them by. Each gets one response, with its CSeq.
///
/// [`limits::RTSP_FAILURES`] requests in a row that cannot be read, or as many wrong credentials, close the connection.
pub struct Server {
    config: Arc<Config>,
    peer: Peer,
    rng: Rng,
    gate: Gate,
    /// Two readings of one moment, for the nonces' times.
    began: (Instant, UnixTime),
    now: Instant,
    reader: Reader,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    current: Option<(Box<Current>, Waiting)>,
    open: Option<QuestionId>,
    questions: u64,
    /// Who the client has proven to be.
    user: Option<User>,
    announced: Option<Announced>,
    sessions: BTreeMap<SessionId, Session>,
    channels: BTreeMap<u8, Channel>,
    ours: Ours,
    outputs: VecDeque<Output>,
    request_deadline: Option<Instant>,
    idle_deadline: Instant,
    /// Requests in a row that could not be read.
    failures: u32,
    /// Credentials that were wrong.
    login_failures: u32,
    strays: u64,
    /// The client says no more.
    is_ending: bool,
    is_closed: bool,
}

enum Queued {
    Request(Request),
    Refused(ReadError, Option<u32>),
}

/// The request at hand.
struct Current {
    request: Request,
    /// `None` for `*`.
    url: Option<Url>,
    place: Option<Place>,
    track: Option<usize>,
    /// What the Session field says.
    session: Option<SessionId>,
    setup: Option<setup::Wanted>,
    range: Option<crate::header::Range>,
}

/// What the answer to the open question decides.
enum Waiting {
    Keys { realm: String },
    Password,
    Session,
    Authorize,
    Act(act::Act),
}

#[derive(Clone)]
struct Channel {
    session: SessionId,
    track: usize,
    is_rtcp: bool,
}

impl Server {
    /// A connection that has just been accepted, at `now`, which is `wallclock`.
    pub fn new(now: Instant, wallclock: UnixTime, config: Arc<Config>, peer: Peer, mut rng: Rng) -> Self {
        Server {
            gate: Gate::new(&config.realm, peer.is_secure, rng.fork()),
            idle_deadline: now + 2 * config.request_timeout,
            config,
            // One that comes by IPv4 to a socket for IPv6 is the same.
            peer: Peer {
                address: peer.address.to_canonical(),
                ..peer
            },
            rng,
            began: (now, wallclock),
            now,
            reader: Reader::new(Reading::Strict),
            queue: VecDeque::new(),
            queue_bytes: 0,
            current: None,
            open: None,
            questions: 0,
            user: None,
            announced: None,
            sessions: BTreeMap::new(),
            channels: BTreeMap::new(),
            ours: Ours::default(),
            outputs: VecDeque::new(),
            request_deadline: None,
            failures: 0,
            login_failures: 0,
            strays: 0,
            is_ending: false,
            is_closed: false,
        }
    }

    /// Whether more input should be read. Input that comes nevertheless is kept, up to [`limits::SESSION_BYTES`].
    pub fn wants_input(&self) -> bool {
        !self.is_closed && self.has_room()
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Who the client has proven to be.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The sessions of this connection.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// One session of this connection.
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// How many interleaved packets came on channels that belong to no stream; they are dropped.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        if self.is_closed {
            return;
        }
        self.reader.push(bytes);
        self.read();
        if self.reader.len() > limits::SESSION_BYTES {
            self.close();
        }
    }

    /// What has come of a message that is not whole is all that will.
    pub fn drop_unfinished(&mut self) {
        self.read();
        if self.has_room() {
            self.reader = Reader::new(Reading::Strict);
            self.request_deadline = None;
        }
    }

    /// A packet of media or RTCP came from the client of a session, or one to it was taken: it is there (RFC 2326 appendix
    /// A.2).
    // Guards pitfall RTSP 2.
    pub fn handle_liveness(&mut self, now: Instant, session: &SessionId) {
        self.now = now;
        let expires = now + self.config.session_timeout;
        if let Some(session) = self.sessions.get_mut(session) {
            session.expires = expires;
        }
    }

    /// What these streams of a session play has come to the end of its range, or to where it was to pause. The next that waits
    /// for them begins, or they are ready again.
    pub fn handle_play_ended(&mut self, now: Instant, session: &SessionId, tracks: &[usize]) {
        self.now = now;
        let Some(session) = self.sessions.get_mut(session) else {
            return;
        };
        for track in session.some_mut(tracks) {
            track.plays.pop_front();
            if track.plays.is_empty() && track.state == State::Playing {
                track.state = State::Ready;
            }
        }
    }

    /// The answer to a question came. One to a question that is no longer open is ignored.
    pub fn handle_answer(&mut self, now: Instant, id: QuestionId, answer: Answer) {
        self.now = now;
        if self.open != Some(id) {
            if let Answer::Session(session) = answer {
                self.outputs.push_back(Output::Event(Event::Detached(session)));
            }
            return;
        }
        self.open = None;
        let Some((current, waiting)) = self.current.take() else {
            return;
        };
        match waiting {
            Waiting::Keys { realm } => self.keys_answered(current, &realm, answer),
            Waiting::Password => self.password_answered(current, answer),
            Waiting::Session => self.session_answered(current, answer),
            Waiting::Authorize => self.authorize_answered(current, answer),
            Waiting::Act(act) => self.act_answered(current, act, answer),
        }
    }

    /// The client says no more, and is gone maybe: many close as soon as TEARDOWN is sent. What it has asked for is carried out,
    /// then the connection is closed.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-10.7
    pub fn handle_end_of_input(&mut self, now: Instant) {
        self.now = now;
        self.is_ending = true;
    }

    /// The connection is over.
    pub fn handle_closed(&mut self, now: Instant) {
        self.now = now;
        self.close();
    }

    /// The time has come that the last [`Output::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.is_closed {
            return;
        }
        let over = self.sessions.values().filter(|session| session.expires <= now);
        let over: Vec<_> = over.map(|session| session.id.clone()).collect();
        for id in over {
            self.end_session(&id, End::Timeout);
        }
        for request in self.ours.take_due(now) {
            let outcome = Outcome::TimedOut;
            self.outputs
                .push_back(Output::Event(Event::Answered { request, outcome }));
        }
        if self.request_deadline.is_some_and(|at| at <= now) {
            let response = Response::new(Status::REQUEST_TIMEOUT).with("Server", &*self.config.software);
            self.send_last(response);
        } else if self.is_idle() && self.idle_deadline <= now {
            self.close();
        }
    }

    /// Ends a session. Its client learns it with its next request.
    pub fn end(&mut self, now: Instant, session: &SessionId) {
        self.now = now;
        self.end_session(&session.clone(), End::Commanded);
    }

    /// Whether a request about a session is carried out here.
    pub fn is_busy_with(&self, id: &SessionId) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|(current, _)| current.session.as_ref() == Some(id))
    }

    /// Gives a session away, for its client has come by another connection: RFC 2326 ties none to a connection, and the end of
    /// this one may be known to the client alone. `None` while it [is busy](Self::is_busy_with) with it, and for one whose packets
    /// go over this connection, by which they would have to go on.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-1.1
    // Guards pitfall RTSP 2.
    pub fn release(&mut self, now: Instant, id: &SessionId) -> Option<Box<Session>> {
        self.now = now;
        if self.is_busy_with(id) {
            return None;
        }
        self.sessions
            .get(id)
            .filter(|session| !session.is_interleaved())?;
        self.idle_deadline = now + 2 * self.config.request_timeout;
        self.sessions.remove(id).map(Box::new)
    }

    /// Closes the connection, and ends or detaches its sessions.
    pub fn shut_down(&mut self, now: Instant) {
        self.now = now;
        self.close();
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if self.is_closed || self.current.is_some() {
                return Output::Timeout(self.next_deadline());
            }
            let next = self.queue.pop_front();
            if let Some(Queued::Request(request)) = &next {
                self.queue_bytes -= request.held_bytes();
            }
            self.read();
            match next {
                Some(Queued::Request(request)) => self.begin(request),
                Some(Queued::Refused(error, cseq)) => self.refuse_unread(error, cseq),
                None if self.queue.is_empty() && self.is_ending => self.close(),
                None if self.queue.is_empty() => return Output::Timeout(self.next_deadline()),
                None => {}
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.is_closed {
            return None;
        }
        let sessions = self.sessions.values().map(|session| session.expires);
        let idle = self.is_idle().then_some(self.idle_deadline);
        sessions
            .chain(self.request_deadline)
            .chain(self.ours.next_deadline())
            .chain(idle)
            .min()
    }

    fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.current.is_none() && self.queue.is_empty()
    }

    fn wallclock(&self) -> UnixTime {
        self.began.1 + self.now.since(self.began.0)
    }

    fn has_room(&self) -> bool {
        self.queue.len() < limits::RTSP_PIPELINE && self.queue_bytes < limits::RTSP_PIPELINE_BYTES
    }

    fn read(&mut self) {
        while self.has_room() {
            match self.reader.next_item() {
                None => break,
                Some(Item::Request(request)) => {
                    self.queue_bytes += request.held_bytes();
                    self.queue.push_back(Queued::Request(request));
                }
                Some(Item::Response(response)) => self.response_came(response),
                Some(Item::Interleaved { channel, data }) => self.packet_came(channel, data),
                Some(Item::Refused { error, cseq }) => self.queue.push_back(Queued::Refused(error, cseq)),
            }
            self.request_deadline = None;
        }
        let is_inside = self.reader.is_inside_message() && self.has_room();
        self.request_deadline = match (is_inside, self.request_deadline) {
            (true, None) => Some(self.now + self.config.request_timeout),
            (true, at) => at,
            (false, _) => None,
        };
    }

    fn response_came(&mut self, response: Response) {
        let Some(Ok(cseq)) = response.headers.cseq() else {
            return;
        };
        if response.status.is_provisional() {
            return;
        }
        if let Some(request) = self.ours.take(cseq) {
            let outcome = Outcome::Response(Box::new(response));
            self.outputs
                .push_back(Output::Event(Event::Answered { request, outcome }));
        }
    }

    fn packet_came(&mut self, channel: u8, data: Bytes) {
        let Some(Channel {
            session,
            track,
            is_rtcp,
        }) = self.channels.get(&channel).cloned()
        else {
            self.strays += 1;
            return;
        };
        self.handle_liveness(self.now, &session);
        self.outputs.push_back(Output::Event(Event::Media {
            session,
            track,
            is_rtcp,
            data,
        }));
    }

    fn refuse_unread(&mut self, error: ReadError, cseq: Option<u32>) {
        self.failures += 1;
        let mut response = Response::new(error.status());
        if let Some(cseq) = cseq {
            response.headers.push("CSeq", cseq.to_string());
        }
        response.headers.push("Server", &*self.config.software);
        let response = response.with_body("text/plain", format!("{error}\r\n"));
        match error.is_fatal() || self.failures >= limits::RTSP_FAILURES {
            true => self.send_last(response),
            false => self.send(&response),
        }
    }

    fn begin(&mut self, request: Request) {
        self.idle_deadline = self.now + 2 * self.config.request_timeout;
        match self.checked(request) {
            Ok(current) => {
                self.failures = 0;
                self.identify(Box::new(current));
            }
            Err(response) => {
                if response.status == Status::BAD_REQUEST {
                    self.failures += 1;
                }
                match self.failures >= limits::RTSP_FAILURES || closes(&response) {
                    true => self.send_last(*response),
                    false => self.send(&response),
                }
            }
        }
    }

    /// What can be said of a request by itself.
    fn checked(&self, request: Request) -> Result<Current, Box<Response>> {
        let refuse = |status, why| Box::new(said(self.response_to(&request, status), why));
        if !matches!(request.headers.cseq(), Some(Ok(_))) {
            return Err(refuse(Status::BAD_REQUEST, "expected a CSeq"));
        }
        let is_announce = request.method == Method::Announce;
        if is_announce && request.headers.field("Content-Length").is_none() {
            let mut response = refuse(Status::LENGTH_REQUIRED, "");
            // What follows may be the description.
            response.headers.push("Connection", "close");
            return Err(response);
        }
        if let Method::Other(_) = request.method {
            let mut response = refuse(Status::NOT_IMPLEMENTED, "");
            response.headers.push("Public", names(PUBLIC));
            return Err(response);
        }
        if request.method == Method::Redirect {
            let mut response = refuse(Status::METHOD_NOT_ALLOWED, "");
            response.headers.push("Allow", names(PUBLIC));
            return Err(response);
        }
        //= https://www.rfc-editor.org/rfc/rfc2326#section-12.32
        //= https://www.rfc-editor.org/rfc/rfc2326#section-12.27
        let fields = ["Require", "Proxy-Require"];
        let required: Vec<_> = fields
            .iter()
            .flat_map(|name| request.headers.list(name))
            .collect();
        if !required.is_empty() {
            let mut response = refuse(Status::OPTION_NOT_SUPPORTED, "");
            response.headers.push("Unsupported", required.join(", "));
            return Err(response);
        }
        let wrong = |status, why| Err(refuse(status, why));
        let session = match request.headers.field("Session").map(SessionHeader::parse) {
            Some(Ok(session)) => Some(SessionId(session.id)),
            Some(Err(_)) => return wrong(Status::SESSION_NOT_FOUND, ""),
            None => None,
        };
        let is_options = request.method == Method::Options;
        let url = match request.uri.as_str() {
            "*" if is_options || session.is_some() => None,
            uri => match Url::parse(uri) {
                Ok(url) => Some(url),
                Err(_) => return wrong(Status::BAD_REQUEST, "expected an absolute rtsp or rtsps URL"),
            },
        };
        let mut current = Current {
            place: None,
            track: None,
            session,
            setup: None,
            range: None,
            url,
            request,
        };
        let checked = match (current.locate(), self.place_of_stream(&current)) {
            (Ok(()), _) => current.check_headers(),
            (Err(_), Some(place)) => {
                current.place = Some(place);
                current.check_headers()
            }
            // RECORD wants to know what comes, whatever it is called.
            (Err(wrong), None) => current.check_headers().and(match current.is_to_record() {
                true => Err((Status::METHOD_NOT_VALID_IN_THIS_STATE, "an ANNOUNCE before")),
                false => Err(wrong),
            }),
        };
        match checked {
            Ok(()) => Ok(current),
            Err((status, why)) => {
                let mut response = self.response_to(&current.request, status);
                if status == Status::METHOD_NOT_VALID_IN_THIS_STATE {
                    response.headers.push("Allow", names(OUTSIDE));
                }
                if current.request.method == Method::Describe && status == Status::NOT_ACCEPTABLE {
                    response.headers.push("Content-Type", "application/sdp");
                }
                let expected = match why {
                    "" => String::new(),
                    why => format!("expected {why}"),
                };
                Err(Box::new(said(response, &expected)))
            }
        }
    }

    /// The mount of a stream that has a URL of its publisher's making, which no mount could have.
    fn place_of_stream(&self, current: &Current) -> Option<Place> {
        let url = current.url.as_ref()?;
        let place = |mount: &MountPath, query: &Option<String>| Place {
            mount: mount.clone(),
            query: query.clone(),
            user: None,
            base: None,
        };
        let announced = self.announced.as_ref();
        if let Some(announced) = announced.filter(|announced| announced.track(url).is_some()) {
            return Some(place(&announced.mount, &announced.query));
        }
        let session = self.sessions.get(current.session.as_ref()?)?;
        session.track_at(url)?;
        Some(place(&session.mount, &session.query))
    }

    fn ask(&mut self, current: Box<Current>, waiting: Waiting, ask: Ask) {
        self.questions += 1;
        let id = QuestionId(self.questions);
        self.open = Some(id);
        self.current = Some((current, waiting));
        self.outputs
            .push_back(Output::Event(Event::Question(Box::new(Question { id, ask }))));
    }

    /// A response, with what every response to this request has.
    fn response_to(&self, request: &Request, status: Status) -> Response {
        let mut response = Response::new(status);
        // Guards pitfall RTSP 5.
        //= https://www.rfc-editor.org/rfc/rfc2326#section-12.17
        if let Some(Ok(cseq)) = request.headers.cseq() {
            response.headers.push("CSeq", cseq.to_string());
        }
        response.headers.push("Server", &*self.config.software);
        //= https://www.rfc-editor.org/rfc/rfc2326#section-12.38
        if let Some(timestamp) = request.headers.field("Timestamp") {
            response.headers.push("Timestamp", timestamp);
        }
        response
    }

    /// A response to the request at hand.
    fn response(&self, current: &Current, status: Status) -> Response {
        let mut response = self.response_to(&current.request, status);
        if let Some(session) = current.session.as_ref().and_then(|id| self.sessions.get(id)) {
            let header = SessionHeader {
                id: session.id.0.clone(),
                timeout: Some(self.config.session_timeout),
            };
            response.headers.push("Session", header.to_string());
        }
        response
    }

    /// The last word to a request.
    fn answer(&mut self, current: &Current, response: Response) {
        let wants_close = current
            .request
            .headers
            .list("Connection")
            .any(|option| option.eq_ignore_ascii_case("close"));
        match wants_close || self.login_failures >= limits::RTSP_FAILURES {
            true => self.send_last(response),
            false => self.send(&response),
        }
    }

    fn answer_status(&mut self, current: &Current, status: Status) {
        let mut response = self.response(current, status);
        //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.6
        if status == Status::METHOD_NOT_VALID_IN_THIS_STATE {
            let session = current.session.as_ref().and_then(|id| self.sessions.get(id));
            let allowed = session.map(|session| session.state().allowed(session.mode));
            response.headers.push("Allow", names(allowed.unwrap_or(OUTSIDE)));
        }
        self.answer(current, response);
    }

    fn send(&mut self, response: &Response) {
        self.outputs.push_back(Output::Transmit(response.to_bytes()));
    }

    fn send_last(&mut self, mut response: Response) {
        response.headers.set("Connection", "close");
        self.send(&response);
        self.close();
    }

    fn end_session(&mut self, id: &SessionId, why: End) {
        if self.sessions.remove(id).is_some() {
            self.channels.retain(|_, channel| channel.session != *id);
            let session = id.clone();
            self.outputs
                .push_back(Output::Event(Event::Ended { session, why }));
            self.idle_deadline = self.now + 2 * self.config.request_timeout;
        }
    }

    fn close(&mut self) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.queue.clear();
        self.queue_bytes = 0;
        (self.current, self.open) = (None, None);
        self.channels.clear();
        for (id, session) in std::mem::take(&mut self.sessions) {
            let why = End::Closed;
            self.outputs
                .push_back(Output::Event(match session.is_interleaved() {
                    true => Event::Ended { session: id, why },
                    false => Event::Detached(Box::new(session)),
                }));
        }
        for request in self.ours.take_all() {
            let outcome = Outcome::Closed;
            self.outputs
                .push_back(Output::Event(Event::Answered { request, outcome }));
        }
        self.outputs.push_back(Output::Event(Event::Closed));
    }
}

/// What may be asked where there is no session.
const OUTSIDE: &[Method] = &[Method::Options, Method::Describe, Method::Announce, Method::Setup];

/// The same with a reason, if there is one.
fn said(response: Response, why: &str) -> Response {
    match why {
        "" => response,
        why => response.with_body("text/plain", format!("{why}\r\n")),
    }
}

fn closes(response: &Response) -> bool {
    response.headers.field("Connection") == Some("close")
}

fn names(methods: &[Method]) -> String {
    let names: Vec<_> = methods.iter().map(Method::name).collect();
    names.join(", ")
}
