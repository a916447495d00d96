//! The machines under random bytes.

use crate::client::{self, Client, Offer};
use crate::header::Range;
use crate::server::{self, Answer, Ask, Control, Played, Refusal, Server, SetUp, User};
use crate::{Item, Reader, Reading, Status, Url};
use ringpost_auth::digest::DigestKeys;
use ringpost_base::{Instant, Rng, UnixTime, limits};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

struct Owner {
    server: Server,
    now: Instant,
    rng: Rng,
    heard: Reader,
    responses: usize,
    sessions: BTreeSet<server::SessionId>,
    detached: Vec<server::Session>,
    is_closed: bool,
}

pub(crate) fn server(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let now = Instant::ZERO;
    let peer = server::Peer {
        address: [192, 0, 2, 1].into(),
        is_secure: choice & 1 != 0,
    };
    let mut rng = Rng::from_number(choice.into());
    let config = Arc::new(server::Config::default());
    let mut owner = Owner {
        server: Server::new(now, UnixTime::from_secs(1_700_000_000), config, peer, rng.fork()),
        now,
        rng,
        heard: Reader::new(Reading::Strict),
        responses: 0,
        sessions: BTreeSet::new(),
        detached: Vec::new(),
        is_closed: false,
    };
    owner.drain();
    for piece in data.chunks(usize::from(choice >> 1) * 4 + 1) {
        // The session's identifier is not to be guessed: where it says S it is told.
        let piece = owner.with_session(piece);
        owner.server.handle_input(owner.now, &piece);
        owner.drain();
        match owner.rng.below(12) {
            0 => owner.pass(Duration::from_secs(20)),
            1 => {
                if let Some(id) = owner.sessions.first().cloned() {
                    owner.server.handle_play_ended(owner.now, &id, &[0, 1]);
                    let _ = owner.server.get_parameter(owner.now, &id, "x".into());
                    owner.drain();
                }
            }
            2 => {
                let _ = owner.server.options(owner.now);
                owner.drain();
            }
            _ => {}
        }
        if owner.is_closed {
            break;
        }
    }
    for _ in 0..10 {
        owner.pass(Duration::from_secs(60));
    }
    assert!(owner.is_closed, "a connection that says nothing is closed");
    assert!(owner.sessions.is_empty(), "every session has ended or is kept");
}

impl Owner {
    fn with_session(&self, piece: &[u8]) -> Vec<u8> {
        let Some(id) = self.sessions.first() else {
            return piece.to_vec();
        };
        const NAME: &[u8] = b"Session: ";
        match piece.windows(NAME.len()).position(|window| window == NAME) {
            Some(at) => {
                let end = at + NAME.len();
                [&piece[..end], id.as_str().as_bytes(), b";", &piece[end..]].concat()
            }
            None => piece.to_vec(),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.server.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..10 * limits::SESSION_BYTES {
            match self.server.poll_output() {
                server::Output::Transmit(bytes) => {
                    assert!(!self.is_closed);
                    self.hear(&bytes);
                }
                server::Output::Event(event) => self.handle(event),
                server::Output::Timeout(at) => {
                    assert_eq!(at.is_none(), self.is_closed);
                    assert!(at.is_none_or(|at| at > self.now), "what is due has been handled");
                    return;
                }
            }
        }
        panic!("the connection does not come to rest");
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.heard.push(bytes);
        let item = self.heard.next_item();
        match item {
            Some(Item::Response(response)) => {
                self.responses += 1;
                assert!(response.headers.field("Server").is_some());
            }
            Some(Item::Request(_)) => {}
            other => panic!("what is sent is one message: {other:?}"),
        }
        assert!(self.heard.is_empty());
    }

    fn handle(&mut self, event: server::Event) {
        assert!(!self.is_closed, "nothing behind the close");
        match event {
            server::Event::Question(question) => {
                let answer = self.answer(&question.ask);
                self.server.handle_answer(self.now, question.id, answer);
                for session in self.server.sessions() {
                    self.sessions.insert(session.id().clone());
                    assert!(session.tracks().count() <= limits::RTSP_TRACKS);
                }
                assert!(self.server.sessions().count() <= limits::RTSP_SESSIONS);
            }
            server::Event::Media { session, .. } => assert!(self.sessions.contains(&session)),
            server::Event::TrackEnded { session, .. } => assert!(self.sessions.contains(&session)),
            server::Event::Ended { session, .. } => assert!(self.sessions.remove(&session)),
            server::Event::Detached(session) => {
                self.sessions.remove(session.id());
                self.detached.push(*session);
            }
            server::Event::Answered { .. } => {}
            server::Event::Closed => self.is_closed = true,
        }
    }

    fn user(&mut self, name: &str) -> User {
        User {
            name: name.into(),
            holder: self.rng.below(2),
            mark: None,
            realm: None,
        }
    }

    fn answer(&mut self, ask: &Ask) -> Answer {
        let statuses = Status::ALL;
        if self.rng.chance(0.15) {
            let status = statuses[self.rng.below(statuses.len() as u64) as usize];
            return Answer::Refused(Refusal::from(status));
        }
        match ask {
            Ask::Session { id, .. } => match self.detached.iter().position(|session| session.id() == id) {
                Some(at) => Answer::Session(Box::new(self.detached.remove(at))),
                None => Answer::Refused(Status::SESSION_NOT_FOUND.into()),
            },
            Ask::Keys { user, realm } => {
                let keys = DigestKeys::derive(user, realm, "secret");
                Answer::Keys(Some((self.user(user), keys)))
            }
            Ask::Password { user, .. } => Answer::Proven(self.user(user)),
            Ask::Authorize { .. } => match self.rng.chance(0.1) {
                true => Answer::Unproven {
                    realm: self.rng.chance(0.5).then(|| "other.net".into()),
                },
                false => Answer::Granted,
            },
            Ask::Describe(_) => Answer::Description("v=0\r\n".into()),
            Ask::Announce { .. } | Ask::SetParameter { .. } => Answer::Granted,
            Ask::GetParameter { body, .. } => Answer::Parameters(body.clone()),
            Ask::Setup(setup) => {
                assert!(!setup.candidates.is_empty());
                let control = [Control::Any, Control::Together, Control::Each];
                Answer::SetUp(Box::new(SetUp {
                    track: setup.track.unwrap_or(0),
                    transport: setup.candidates[setup.candidates.len() - 1].clone(),
                    control: control[self.rng.below(3) as usize],
                }))
            }
            Ask::Play(play) => Answer::Played(Box::new(Played {
                range: play.range,
                begins: play.tracks.iter().map(|track| (*track, 1, 1)).collect(),
                ..Played::default()
            })),
            Ask::Record { range, .. } => Answer::Recorded { range: *range },
            Ask::Pause { range, .. } => Answer::Paused {
                range: *range,
                is_at_once: self.rng.chance(0.5),
            },
        }
    }
}

pub(crate) fn client(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let mut config = client::Config::new(Url::parse("rtsp://a:b@h/cam").expect("a URL"));
    config.basic_in_clear = choice & 1 != 0;
    if choice & 2 != 0 {
        config.tolerated.clear();
    }
    let mut peer = Peer {
        client: Client::new(Instant::ZERO, config, Rng::from_number(choice.into())),
        now: Instant::ZERO,
        open: BTreeSet::new(),
        is_closed: false,
    };
    peer.drain();
    let offers = [
        Offer::Udp { rtp_port: 5000 },
        Offer::Multicast,
        Offer::Interleaved,
    ];
    let mut rng = Rng::from_number(choice.into());
    for piece in data.chunks(usize::from(choice >> 2) * 8 + 1) {
        let now = peer.now;
        let request = match rng.below(24) {
            0 => Some(peer.client.options(now)),
            1 | 2 => Some(peer.client.describe(now)),
            3 => Some(peer.client.announce(now, "m=a\r\na=control:x\r\n".into())),
            4..=6 => Some(
                peer.client
                    .setup(now, rng.below(3) as usize, &offers[rng.below(3) as usize..]),
            ),
            7 => Some(peer.client.setup_record(now, 0, &offers)),
            8 => Some(
                peer.client
                    .play(now, None, Range::parse("npt=1-2").ok(), Some(2.0), None),
            ),
            9 => Some(peer.client.pause(now, Some(0), None)),
            10 => Some(peer.client.record(now, None)),
            11 => Some(peer.client.teardown(now)),
            12 => Some(peer.client.get_parameter(now, "x".into())),
            13 => Some(peer.client.set_parameter(now, "x: y".into())),
            14 => {
                peer.now += Duration::from_secs(4);
                None
            }
            _ => None,
        };
        peer.open.extend(request);
        peer.client.handle_timeout(peer.now);
        peer.drain();
        peer.client.handle_input(peer.now, piece);
        peer.drain();
    }
    peer.now += Duration::from_secs(3600);
    peer.client.handle_timeout(peer.now);
    peer.client.handle_closed(peer.now);
    peer.drain();
    assert!(peer.is_closed && peer.client.is_closed());
    assert!(peer.open.is_empty(), "every command is done: {:?}", peer.open);
}

struct Peer {
    client: Client,
    now: Instant,
    open: BTreeSet<client::RequestId>,
    is_closed: bool,
}

impl Peer {
    fn drain(&mut self) {
        for _ in 0..10 * limits::SESSION_BYTES {
            match self.client.poll_output() {
                client::Output::Transmit(bytes) => {
                    assert!(!self.is_closed);
                    let mut heard = Reader::new(Reading::Strict);
                    heard.push(&bytes);
                    let item = heard.next_item();
                    assert!(
                        matches!(item, Some(Item::Request(_) | Item::Response(_))),
                        "{item:?}"
                    );
                    assert!(heard.is_empty());
                }
                client::Output::Event(event) => self.handle(event),
                client::Output::Timeout(at) => {
                    assert!(at.is_none() || !self.is_closed);
                    return;
                }
            }
        }
        panic!("the client does not come to rest");
    }

    fn handle(&mut self, event: client::Event) {
        match event {
            client::Event::Connect(_) => self.client.handle_connected(self.now),
            client::Event::Done { request, .. } => assert!(self.open.remove(&request), "done once"),
            client::Event::Closed(_) => {
                assert!(!std::mem::replace(&mut self.is_closed, true), "closed once");
            }
            _ => assert!(!self.is_closed),
        }
    }
}
