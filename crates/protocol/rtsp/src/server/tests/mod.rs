mod flow;
mod login;
mod methods;
mod playing;
mod sessions;

use super::*;
use crate::header::{Pair, Transport};
use crate::{Headers, interleaved_head};
use ringpost_auth::digest::{DigestClient, DigestKeys};

const WALL: UnixTime = UnixTime::from_secs(1_700_000_000);
const SDP: &str =
    "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\nm=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\n";

/// A connection, and an owner that answers its questions as the fields say.
struct World {
    server: Server,
    now: Instant,
    /// What came that is no response, in order.
    events: Vec<Event>,
    asked: Vec<Ask>,
    heard: Reader,
    responses: VecDeque<Response>,
    requests: VecDeque<Request>,
    refusals: Vec<(&'static str, Refusal)>,
    needs_user: bool,
    /// Who has the names now.
    holder: u64,
    control: Control,
    range: Option<&'static str>,
    detached: Vec<Session>,
    is_paused_later: bool,
    next_channel_is_wrong: bool,
    holds: bool,
    open: Option<(QuestionId, Answer)>,
    /// When the description was modified.
    modified: Option<UnixTime>,
}

impl World {
    fn new() -> Self {
        World::with(false)
    }

    fn with(is_secure: bool) -> Self {
        World::from(is_secure, "192.0.2.1")
    }

    fn from(is_secure: bool, address: &str) -> Self {
        let config = Config {
            realm: "example.com".into(),
            ..Config::default()
        };
        let peer = Peer {
            address: address.parse().unwrap(),
            is_secure,
        };
        let now = Instant::ZERO + Duration::from_secs(100);
        let mut rng = Rng::from_number(7);
        if address != "192.0.2.1" {
            rng = rng.fork();
        }
        World {
            server: Server::new(now, WALL, Arc::new(config), peer, rng),
            now,
            events: Vec::new(),
            asked: Vec::new(),
            heard: Reader::new(Reading::Strict),
            responses: VecDeque::new(),
            requests: VecDeque::new(),
            refusals: Vec::new(),
            needs_user: false,
            holder: 1,
            control: Control::Any,
            range: None,
            detached: Vec::new(),
            is_paused_later: false,
            next_channel_is_wrong: false,
            holds: false,
            open: None,
            modified: None,
        }
    }

    fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.server.handle_input(self.now, bytes);
        self.drain();
    }

    /// Sends one request and returns its response.
    fn request(&mut self, head: &str, fields: &str) -> Response {
        self.request_with(head, fields, "")
    }

    fn request_with(&mut self, head: &str, fields: &str, body: &str) -> Response {
        let length = match body.len() {
            0 => String::new(),
            len => format!("Content-Length: {len}\r\n"),
        };
        self.send(&format!(
            "{head} RTSP/1.0\r\nCSeq: 42\r\n{fields}{length}\r\n{body}"
        ));
        let response = self.responses.pop_front().expect("a response");
        assert_eq!(response.headers.cseq(), Some(Ok(42)), "{response:?}");
        response
    }

    fn status(&mut self, head: &str, fields: &str) -> u16 {
        self.request(head, fields).status.code()
    }

    fn drain(&mut self) {
        for _ in 0..100_000 {
            match self.server.poll_output() {
                Output::Transmit(bytes) => self.hear(&bytes),
                Output::Event(Event::Question(question)) => self.question(*question),
                Output::Event(Event::Detached(session)) => self.detached.push(*session),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => {
                    assert_eq!(
                        at.is_none(),
                        self.server.is_closed() || self.holds && at.is_none()
                    );
                    return;
                }
            }
        }
        panic!("the connection does not come to rest");
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.heard.push(bytes);
        while let Some(item) = self.heard.next_item() {
            match item {
                Item::Response(response) => self.responses.push_back(response),
                Item::Request(request) => self.requests.push_back(request),
                other => panic!("{other:?}"),
            }
        }
        assert!(self.heard.is_empty(), "whole messages are sent");
    }

    fn question(&mut self, question: Question) {
        let answer = self.answer(&question.ask);
        self.asked.push(question.ask);
        if self.holds {
            self.open = Some((question.id, answer));
        } else {
            self.server.handle_answer(self.now, question.id, answer);
        }
    }

    fn release(&mut self) {
        let (id, answer) = self.open.take().expect("an open question");
        self.server.handle_answer(self.now, id, answer);
        self.drain();
    }

    fn answer(&mut self, ask: &Ask) -> Answer {
        let name = format!("{ask:?}");
        let refusal = self.refusals.iter().find(|(kind, _)| name.starts_with(kind));
        if let Some((_, refusal)) = refusal {
            return Answer::Refused(refusal.clone());
        }
        match ask {
            Ask::Session { id, .. } => match self.detached.iter().position(|session| session.id == *id) {
                Some(at) => Answer::Session(Box::new(self.detached.remove(at))),
                None => Answer::Refused(Status::SESSION_NOT_FOUND.into()),
            },
            Ask::Keys { user, realm } => {
                let name = match (user.as_str(), realm.as_str()) {
                    ("alice" | "Alice" | "bob", "example.com") => user.to_lowercase(),
                    ("carol", "other.net") => "carol@other.net".into(),
                    (_, "example.com" | "other.net") => return Answer::Keys(None),
                    _ => return Answer::Refused(Status::UNAUTHORIZED.into()),
                };
                let keys = DigestKeys::derive(user, realm, "secret");
                Answer::Keys(Some((self.user(&name), keys)))
            }
            Ask::Password { user, password } => match (user.as_str(), password.0.as_str()) {
                ("alice", "se:cret") => Answer::Proven(self.user(user)),
                _ => Answer::Refused(Status::FORBIDDEN.into()),
            },
            Ask::Authorize { place, .. } => {
                let holds = place.user.as_ref().is_some_and(|user| user.holder == self.holder);
                let domain = place.mount.first().rsplit_once('@').map(|(_, domain)| domain);
                match holds || !self.needs_user {
                    true => Answer::Granted,
                    false => Answer::Unproven {
                        realm: domain.map(str::to_lowercase),
                    },
                }
            }
            Ask::Describe(_) => match self.modified {
                Some(modified) => Answer::DatedDescription {
                    description: SDP.into(),
                    modified,
                },
                None => Answer::Description(SDP.into()),
            },
            Ask::Announce { .. } | Ask::SetParameter { .. } => Answer::Granted,
            Ask::GetParameter { body, .. } => Answer::Parameters([body, &b": 1\r\n"[..]].concat().into()),
            Ask::Setup(setup) => {
                let mut transport = setup.candidates[0].clone();
                if self.next_channel_is_wrong {
                    transport.interleaved = Some(Pair {
                        rtp: 77,
                        rtcp: Some(78),
                    });
                }
                transport.ssrc = Some(0xbeef);
                Answer::SetUp(Box::new(SetUp {
                    track: setup.track.unwrap_or(0),
                    transport,
                    control: self.control,
                }))
            }
            Ask::Play(play) => Answer::Played(Box::new(Played {
                range: match self.range {
                    Some(range) => Some(crate::header::Range::parse(range).unwrap()),
                    None => play.range,
                },
                scale: play.scale,
                speed: play.speed,
                begins: play.tracks.iter().map(|track| (*track, 7, 160)).collect(),
            })),
            Ask::Record { range, .. } => Answer::Recorded { range: *range },
            Ask::Pause { range, .. } => Answer::Paused {
                range: *range,
                is_at_once: !self.is_paused_later,
            },
        }
    }

    fn user(&self, name: &str) -> User {
        User {
            name: name.into(),
            holder: self.holder,
            mark: None,
            realm: None,
        }
    }

    /// The name that the client has proven.
    fn proven(&self) -> Option<&str> {
        self.server.user().map(|user| &*user.name)
    }

    /// SETUP of a stream to be played over the connection; the session's identifier.
    fn set_up(&mut self, url: &str, session: Option<&str>) -> String {
        let session = session.map_or(String::new(), |id| format!("Session: {id}\r\n"));
        let fields = format!("{session}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n");
        let response = self.request(&format!("SETUP {url}"), &fields);
        assert_eq!(response.status, Status::OK, "{response:?}");
        let header = SessionHeader::parse(response.headers.field("Session").unwrap()).unwrap();
        assert_eq!(header.timeout, Some(Duration::from_secs(60)));
        header.id
    }

    fn publish(&mut self, transport: &str) -> String {
        let sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:streamid=0\r\n";
        let announced = self.request_with(
            "ANNOUNCE rtsp://h/alice/cam",
            "Content-Type: application/sdp\r\n",
            sdp,
        );
        assert_eq!(announced.status, Status::OK);
        let set_up = self.request(
            "SETUP rtsp://h/alice/cam/streamid=0",
            &format!("Transport: {transport}\r\n"),
        );
        assert_eq!(set_up.status, Status::OK, "{set_up:?}");
        SessionHeader::parse(set_up.headers.field("Session").unwrap())
            .unwrap()
            .id
    }

    fn state(&self) -> State {
        self.server.sessions().next().map_or(State::Init, Session::state)
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(self.now);
        self.drain();
    }

    fn ended(&self) -> Vec<End> {
        let ends = self.events.iter().filter_map(|event| match event {
            Event::Ended { why, .. } => Some(*why),
            _ => None,
        });
        ends.collect()
    }

    fn is_closed(&self) -> bool {
        let last = matches!(self.events.last(), Some(Event::Closed));
        assert_eq!(last, self.server.is_closed());
        last
    }
}

fn with_session(id: &str, rest: &str) -> String {
    format!("Session: {id}\r\n{rest}")
}

fn frame(channel: u8, data: &[u8]) -> Vec<u8> {
    [&interleaved_head(channel, data.len())[..], data].concat()
}
