//! The client's side, as a machine: to read from a server, or to publish to one.

mod event;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use event::{Described, Event, Failure, Login, Offer, Outcome, Output, Playing, Quirk, RequestId};

use crate::header::{Range, SessionHeader, Transport};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::reader::{Item, Reader, Reading};
use crate::status::Status;
use crate::url::Url;
use bytes::Bytes;
use ringpost_auth::digest::DigestClient;
use ringpost_base::{Instant, Rng, limits};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a client goes by.
#[derive(Clone, Debug)]
pub struct Config {
    /// The presentation. Credentials in it are used where `login` has none.
    pub url: Url,
    /// Who we are, if the server asks.
    pub login: Option<Login>,
    /// Whether a password is sent in the clear to a server that takes Basic alone and is not under TLS.
    pub basic_in_clear: bool,
    /// What the User-Agent field says.
    pub software: String,
    /// How long the server may take to answer.
    pub response_timeout: Duration,
    /// What is taken although it is wrong; what is not among them fails its request.
    pub tolerated: Vec<Quirk>,
    /// Whether SETUP of further streams and parameters are sent before the answers to others of their kind have come. Many
    /// devices read no second request that comes with the first.
    pub pipelines: bool,
}

impl Config {
    /// For this URL, with patience of 10 s, one request at a time, and everything tolerated but a password in the clear.
    pub fn new(url: Url) -> Self {
        Config {
            url,
            login: None,
            basic_in_clear: false,
            software: "Ringpost".into(),
            response_timeout: Duration::from_secs(10),
            tolerated: Quirk::ALL.to_vec(),
            pipelines: false,
        }
    }
}

/// One connection to a server, or several one after the other where it redirects: commands and bytes in, bytes and
/// [`Event`]s out.
///
/// After each `handle_…` call and command, [`poll_output`](Client::poll_output) is drained until it says
/// [`Output::Timeout`]. Every command is answered with one [`Event::Done`]. Commands wait for those before them; only where
/// [`Config::pipelines`] says so, SETUP of further streams and parameters do not, once the session is known.
/// A session is kept alive by the client itself.
pub struct Client {
    config: Config,
    /// The server that is spoken to, and what is asked of it.
    url: Url,
    login: Option<Login>,
    rng: Rng,
    now: Instant,
    reader: Reader,
    is_connected: bool,
    is_closed: bool,
    cseq: u32,
    requests: u64,
    waiting: VecDeque<(RequestId, Op)>,
    pending: VecDeque<Pending>,
    proof: Option<Proof>,
    public: Option<Vec<Method>>,
    described: Option<Described>,
    session: Option<Session>,
    channels: BTreeMap<u8, (usize, bool)>,
    redirects: u32,
    met: BTreeSet<Quirk>,
    /// The numbers of requests that nobody waits for any longer, and that may yet be answered.
    forgotten: VecDeque<u32>,
    strays: u64,
    outputs: VecDeque<Output>,
}

/// What has to be asked.
#[derive(Clone, Debug)]
enum Op {
    Options,
    Describe,
    Announce(Bytes),
    Setup {
        track: usize,
        offers: VecDeque<Offer>,
        is_record: bool,
    },
    Play {
        track: Option<usize>,
        range: Option<Range>,
        scale: Option<f64>,
        speed: Option<f64>,
    },
    Pause {
        track: Option<usize>,
        range: Option<Range>,
    },
    Record(Option<Range>),
    Teardown,
    GetParameter(Bytes),
    SetParameter(Bytes),
    Keepalive,
}

impl Op {
    fn method(&self, public: Option<&[Method]>) -> Method {
        match self {
            Op::Options => Method::Options,
            Op::Describe => Method::Describe,
            Op::Announce(_) => Method::Announce,
            Op::Setup { .. } => Method::Setup,
            Op::Play { .. } => Method::Play,
            Op::Pause { .. } => Method::Pause,
            Op::Record(_) => Method::Record,
            Op::Teardown => Method::Teardown,
            Op::GetParameter(_) => Method::GetParameter,
            Op::SetParameter(_) => Method::SetParameter,
            Op::Keepalive if public.is_some_and(|known| known.contains(&Method::GetParameter)) => {
                Method::GetParameter
            }
            Op::Keepalive => Method::Options,
        }
    }

    /// Whether it may be sent before others of this kind are answered.
    fn may_overlap(&self) -> bool {
        matches!(
            self,
            Op::Setup { .. } | Op::GetParameter(_) | Op::SetParameter(_) | Op::Keepalive
        )
    }
}

struct Pending {
    id: RequestId,
    op: Op,
    cseq: u32,
    deadline: Instant,
    /// Whether it carried credentials.
    was_proven: bool,
    /// How often it was repeated because of a nonce.
    repeats: u32,
    /// The channel that it asked for.
    channel: Option<u8>,
}

enum Proof {
    Digest(Box<DigestClient>),
    Basic(String),
}

struct Session {
    id: String,
    timeout: Duration,
    /// When a request is due that keeps it alive.
    keepalive: Instant,
    heard_media: Instant,
}

impl Client {
    /// A client of a server that is yet to be connected to: the first event says where.
    pub fn new(now: Instant, config: Config, rng: Rng) -> Self {
        let login = config.login.clone().or_else(|| {
            let (user, password) = config.url.credentials()?;
            Some(Login { user, password })
        });
        let url = config.url.without_credentials();
        Client {
            login,
            outputs: [Output::Event(Event::Connect(url.clone()))].into(),
            url,
            config,
            rng,
            now,
            reader: Reader::new(Reading::Tolerant),
            is_connected: false,
            is_closed: false,
            cseq: 0,
            requests: 0,
            waiting: VecDeque::new(),
            pending: VecDeque::new(),
            proof: None,
            public: None,
            described: None,
            session: None,
            channels: BTreeMap::new(),
            redirects: 0,
            met: BTreeSet::new(),
            forgotten: VecDeque::new(),
            strays: 0,
        }
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether more input should be read.
    pub fn wants_input(&self) -> bool {
        self.is_connected && !self.is_closed
    }

    /// The server that is spoken to, and what is asked of it, without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What was described or announced last.
    pub fn described(&self) -> Option<&Described> {
        self.described.as_ref()
    }

    /// The session's timeout, once there is a session.
    pub fn session_timeout(&self) -> Option<Duration> {
        self.session.as_ref().map(|session| session.timeout)
    }

    /// How many interleaved packets came on channels that belong to no stream; they are dropped.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// The channels of a stream that is interleaved, RTP's and RTCP's, to send on.
    pub fn channels(&self, track: usize) -> Option<(u8, u8)> {
        let find = |wanted| {
            let mut all = self.channels.iter();
            all.find(|(_, owner)| **owner == (track, wanted))
                .map(|(channel, _)| *channel)
        };
        Some((find(false)?, find(true)?))
    }

    /// What can you do?
    pub fn options(&mut self, now: Instant) -> RequestId {
        self.push(now, Op::Options)
    }

    /// What is there?
    pub fn describe(&mut self, now: Instant) -> RequestId {
        self.push(now, Op::Describe)
    }

    /// This will be there: a session description, whose control attributes say what the streams are called.
    pub fn announce(&mut self, now: Instant, description: Bytes) -> RequestId {
        self.push(now, Op::Announce(description))
    }

    /// Make way for a stream of what was described, by the first of these offers that the server takes.
    pub fn setup(&mut self, now: Instant, track: usize, offers: &[Offer]) -> RequestId {
        self.push_setup(now, track, offers, false)
    }

    /// The same for a stream of what was announced.
    pub fn setup_record(&mut self, now: Instant, track: usize, offers: &[Offer]) -> RequestId {
        self.push_setup(now, track, offers, true)
    }

    fn push_setup(&mut self, now: Instant, track: usize, offers: &[Offer], is_record: bool) -> RequestId {
        let offers = offers.iter().copied().take(limits::RTSP_TRANSPORTS).collect();
        let op = Op::Setup {
            track,
            offers,
            is_record,
        };
        self.push(now, op)
    }

    /// Send all streams, or one.
    pub fn play(
        &mut self,
        now: Instant,
        track: Option<usize>,
        range: Option<Range>,
        scale: Option<f64>,
        speed: Option<f64>,
    ) -> RequestId {
        let op = Op::Play {
            track,
            range,
            scale,
            speed,
        };
        self.push(now, op)
    }

    /// Stop all streams for a while, or one.
    pub fn pause(&mut self, now: Instant, track: Option<usize>, range: Option<Range>) -> RequestId {
        self.push(now, Op::Pause { track, range })
    }

    /// Receive.
    pub fn record(&mut self, now: Instant, range: Option<Range>) -> RequestId {
        self.push(now, Op::Record(range))
    }

    /// Stop for good.
    pub fn teardown(&mut self, now: Instant) -> RequestId {
        self.push(now, Op::Teardown)
    }

    /// What are the values? Names, one a line.
    pub fn get_parameter(&mut self, now: Instant, names: Bytes) -> RequestId {
        self.push(now, Op::GetParameter(names))
    }

    /// Let the values be: `name: value`, one a line.
    pub fn set_parameter(&mut self, now: Instant, values: Bytes) -> RequestId {
        self.push(now, Op::SetParameter(values))
    }

    /// There is a connection to the server that [`Event::Connect`] named.
    pub fn handle_connected(&mut self, now: Instant) {
        self.now = now;
        self.is_connected = !self.is_closed;
    }

    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        if !self.wants_input() {
            return;
        }
        self.reader.push(bytes);
        loop {
            let item = self.reader.next_item();
            if self.reader.skipped() > 0 && !self.tolerates(Quirk::StrayOctets) {
                return self.close(Failure::Unreadable("a message of RTSP"));
            }
            let Some(item) = item else { return };
            match item {
                Item::Response(response) => self.response_came(response),
                Item::Request(request) => self.request_came(request),
                Item::Interleaved { channel, data } => self.packet_came(channel, data),
                Item::Refused { error, .. } if error.is_fatal() => {
                    return self.close(Failure::Unreadable("a message of RTSP"));
                }
                // A response that cannot be read is one that does not come.
                Item::Refused { .. } => {}
            }
            if !self.wants_input() {
                return;
            }
        }
    }

    /// A packet came over UDP: the server is there.
    pub fn handle_media(&mut self, now: Instant) {
        self.now = now;
        if let Some(session) = &mut self.session {
            session.heard_media = now;
        }
    }

    /// The connection is over, or could not be made.
    pub fn handle_closed(&mut self, now: Instant) {
        self.now = now;
        self.close(Failure::Closed);
    }

    /// The time has come that the last [`Output::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some(at) = self.pending.iter().position(|pending| pending.deadline <= now) {
            let pending = self.pending.remove(at).expect("it was just found");
            let sent = pending.deadline - self.config.response_timeout;
            let is_alive = self.session.as_ref().is_some_and(|s| s.heard_media > sent);
            if matches!(pending.op, Op::Keepalive) && is_alive && self.tolerates(Quirk::UnansweredKeepalive) {
                if self.forgotten.len() == limits::RTSP_PIPELINE {
                    self.forgotten.pop_front();
                }
                self.forgotten.push_back(pending.cseq);
                continue;
            }
            self.fail(pending.id, &pending.op, Failure::TimedOut);
            // What is not answered once makes all that follows doubtful.
            return self.close(Failure::TimedOut);
        }
        let is_due = self
            .session
            .as_ref()
            .is_some_and(|session| session.keepalive <= now);
        if is_due && self.is_connected {
            self.put_off_keepalive();
            self.requests += 1;
            let id = RequestId(self.requests);
            self.waiting.push_back((id, Op::Keepalive));
        }
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if !self.is_connected || !self.send_next() {
                return Output::Timeout(self.next_deadline());
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.is_closed || !self.is_connected {
            return None;
        }
        let keepalive = self.session.as_ref().map(|session| session.keepalive);
        let pending = self.pending.iter().map(|pending| pending.deadline);
        pending.chain(keepalive).min()
    }

    fn push(&mut self, now: Instant, op: Op) -> RequestId {
        self.now = now;
        self.requests += 1;
        let id = RequestId(self.requests);
        if self.is_closed || self.waiting.len() >= limits::RTSP_PIPELINE {
            self.done(id, Outcome::Failed(Failure::Closed));
        } else {
            self.waiting.push_back((id, op));
        }
        id
    }

    fn done(&mut self, request: RequestId, outcome: Outcome) {
        self.outputs
            .push_back(Output::Event(Event::Done { request, outcome }));
    }

    /// A request has failed; of one that only kept the session alive nobody has to hear.
    fn fail(&mut self, request: RequestId, op: &Op, failure: Failure) {
        if !matches!(op, Op::Keepalive) {
            self.done(request, Outcome::Failed(failure));
        }
    }

    /// Whether a quirk that was met is taken.
    fn tolerates(&mut self, quirk: Quirk) -> bool {
        let is_taken = self.config.tolerated.contains(&quirk);
        if is_taken && self.met.insert(quirk) {
            self.outputs.push_back(Output::Event(Event::Quirk(quirk)));
        }
        is_taken
    }

    fn put_off_keepalive(&mut self) {
        let now = self.now;
        if let Some(session) = &mut self.session {
            session.keepalive = now + (session.timeout / 2).max(Duration::from_secs(1));
        }
    }

    fn packet_came(&mut self, channel: u8, data: Bytes) {
        let Some((track, is_rtcp)) = self.channels.get(&channel).copied() else {
            self.strays += 1;
            return;
        };
        self.handle_media(self.now);
        self.outputs
            .push_back(Output::Event(Event::Media { track, is_rtcp, data }));
    }

    fn close(&mut self, why: Failure) {
        if self.is_closed {
            return;
        }
        (self.is_closed, self.is_connected) = (true, false);
        self.session = None;
        let pending = std::mem::take(&mut self.pending).into_iter();
        let pending = pending.map(|pending| (pending.id, pending.op));
        let waiting = std::mem::take(&mut self.waiting);
        for (id, op) in pending.chain(waiting) {
            self.fail(id, &op, Failure::Closed);
        }
        self.outputs.push_back(Output::Event(Event::Closed(why)));
    }
}
