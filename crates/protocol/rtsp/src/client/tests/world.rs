//! A client and a server, and the bytes between them, in virtual time.

use super::*;
use crate::server::{self, Answer, Ask, Played, Server, SetUp};
use crate::{control, header};
use ringpost_auth::digest::DigestKeys;
use ringpost_base::UnixTime;
use std::sync::Arc;

/// How long bytes are on their way.
const DELAY: Duration = Duration::from_millis(20);

struct World {
    now: Instant,
    client: Client,
    server: Server,
    /// Bytes that are on their way, and whether to the server.
    wire: VecDeque<(Instant, bool, Vec<u8>)>,
    client_events: Vec<Event>,
    server_events: Vec<server::Event>,
    asked: Vec<Ask>,
    /// How large the pieces are that arrive.
    piece: usize,
}

impl World {
    fn new(url: &str, piece: usize) -> Self {
        let now = Instant::ZERO;
        let peer = server::Peer {
            address: "192.0.2.1".parse().unwrap(),
            is_secure: false,
        };
        let config = server::Config {
            realm: "example.com".into(),
            ..server::Config::default()
        };
        let wall = UnixTime::from_secs(1_700_000_000);
        let config_of_client = Config {
            tolerated: Vec::new(),
            ..Config::new(Url::parse(url).unwrap())
        };
        let mut world = World {
            now,
            client: Client::new(now, config_of_client, Rng::from_number(1)),
            server: Server::new(now, wall, Arc::new(config), peer, Rng::from_number(2)),
            wire: VecDeque::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            asked: Vec::new(),
            piece,
        };
        world.drain();
        world.client.handle_connected(now);
        world
    }

    /// Drains both; the earlier of their deadlines.
    fn drain(&mut self) -> Option<Instant> {
        let of_client = loop {
            match self.client.poll_output() {
                Output::Transmit(bytes) => self.send(true, &bytes),
                Output::Event(event) => self.client_events.push(event),
                Output::Timeout(at) => break at,
            }
        };
        let of_server = loop {
            match self.server.poll_output() {
                server::Output::Transmit(bytes) => self.send(false, &bytes),
                server::Output::Event(server::Event::Question(question)) => {
                    let answer = answer(&question.ask);
                    self.asked.push(question.ask);
                    self.server.handle_answer(self.now, question.id, answer);
                }
                server::Output::Event(event) => self.server_events.push(event),
                server::Output::Timeout(at) => break at,
            }
        };
        of_client.into_iter().chain(of_server).min()
    }

    fn send(&mut self, to_server: bool, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            self.wire.push_back((self.now + DELAY, to_server, piece.to_vec()));
        }
    }

    /// Goes from event to event for a time.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadline = self.drain();
            let arrival = self.wire.front().map(|(at, ..)| *at);
            let next = deadline.into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = next.max(self.now);
            if arrival == Some(next) {
                let (_, to_server, bytes) = self.wire.pop_front().unwrap();
                match to_server {
                    true => self.server.handle_input(self.now, &bytes),
                    false => self.client.handle_input(self.now, &bytes),
                }
            } else {
                self.client.handle_timeout(self.now);
                self.server.handle_timeout(self.now);
            }
        }
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        let done = self.client_events.drain(..).filter_map(|event| match event {
            Event::Done { outcome, .. } => Some(outcome),
            _ => None,
        });
        done.collect()
    }
}

fn alice() -> server::User {
    server::User {
        name: "alice".into(),
        holder: 1,
        mark: None,
        realm: None,
    }
}

fn answer(ask: &Ask) -> Answer {
    match ask {
        Ask::Keys { user, .. } => {
            let keys = DigestKeys::derive("alice", "example.com", "secret");
            Answer::Keys((user == "alice").then(|| (alice(), keys)))
        }
        Ask::Authorize { place, .. } => match place.user {
            Some(_) => Answer::Granted,
            None => Answer::Unproven { realm: None },
        },
        Ask::Describe(_) => {
            let sdp = SDP.replace("trackID=1", &control::track_control(1));
            Answer::Description(sdp.into())
        }
        Ask::Announce { .. } | Ask::SetParameter { .. } => Answer::Granted,
        Ask::GetParameter { .. } => Answer::Parameters("x: 1\r\n".into()),
        Ask::Setup(setup) => {
            // No UDP here: the client has to come to what there is.
            let tcp = setup
                .candidates
                .iter()
                .find(|c| c.lower == header::LowerTransport::Tcp);
            match tcp {
                Some(transport) => Answer::SetUp(Box::new(SetUp {
                    track: setup.track.unwrap_or(0),
                    transport: transport.clone(),
                    control: server::Control::Together,
                })),
                None => Answer::Refused(Status::UNSUPPORTED_TRANSPORT.into()),
            }
        }
        Ask::Play(play) => Answer::Played(Box::new(Played {
            range: play.range,
            scale: play.scale,
            begins: play.tracks.iter().map(|track| (*track, 1, 2)).collect(),
            ..Played::default()
        })),
        Ask::Record { range, .. } => Answer::Recorded { range: *range },
        Ask::Pause { range, .. } => Answer::Paused {
            range: *range,
            is_at_once: true,
        },
        Ask::Session { .. } | Ask::Password { .. } => Answer::Refused(Status::SESSION_NOT_FOUND.into()),
    }
}

#[test]
fn a_strict_client_reads_from_the_server_for_an_hour_and_leaves() {
    for piece in [1, 7, 100_000] {
        let mut world = World::new("rtsp://alice:secret@h/alice/cam?x=y", piece);
        let now = world.now;
        world.client.options(now);
        world.client.describe(now);
        let offers = [Offer::Udp { rtp_port: 5000 }, Offer::Interleaved];
        world.run(Duration::from_secs(1));
        world.client.setup(world.now, 0, &offers);
        world.client.setup(world.now, 1, &offers);
        world.client.play(
            world.now,
            None,
            Some(Range::parse("npt=0-").unwrap()),
            Some(1.0),
            None,
        );
        world.run(Duration::from_secs(2));
        let outcomes = world.outcomes();
        assert!(
            matches!(&outcomes[1], Outcome::Described(d) if d.tracks[0].to_string() == "rtsp://h/alice/cam/?x=y/trackID=0"),
            "{outcomes:?}"
        );
        let Some(Outcome::Playing(playing)) = outcomes.last() else {
            panic!("{outcomes:?}")
        };
        assert_eq!(
            playing.begins.iter().map(|(track, _)| *track).collect::<Vec<_>>(),
            [0, 1]
        );
        world.run(Duration::from_secs(3600));
        assert_eq!(world.server.sessions().count(), 1, "{:?}", world.server_events);
        let session = world.server.sessions().next().unwrap();
        assert_eq!(
            (session.owner(), session.state()),
            (Some(&alice()), server::State::Playing)
        );
        let id = session.id().clone();
        // Both ask at once.
        let location = Url::parse("rtsp://i/cam").unwrap();
        world
            .server
            .redirect(world.now, Some(&id), &location, None)
            .unwrap();
        world.client.pause(world.now, None, None);
        world.client.teardown(world.now);
        world.run(Duration::from_secs(1));
        assert!(
            world
                .client_events
                .iter()
                .any(|event| matches!(event, Event::Redirected { url, .. } if *url == location))
        );
        assert!(matches!(
            &world.outcomes()[..],
            [Outcome::Paused { .. }, Outcome::TornDown]
        ));
        assert!(
            world
                .server_events
                .iter()
                .any(|event| matches!(event, server::Event::Answered { .. }))
        );
        assert!(world.server_events.iter().any(|event| matches!(
            event,
            server::Event::Ended {
                why: server::End::Teardown,
                ..
            }
        )));
        world.run(Duration::from_secs(120));
        assert!(world.server.is_closed(), "nothing keeps it");
    }
}

#[test]
fn a_strict_client_publishes_to_the_server() {
    let mut world = World::new("rtsp://alice:secret@h/alice/cam", 13);
    let now = world.now;
    world.client.announce(now, SDP.into());
    world.client.setup_record(now, 0, &[Offer::Interleaved]);
    world.client.setup_record(now, 1, &[Offer::Interleaved]);
    world
        .client
        .record(now, Some(Range::npt_from(header::Npt::At(Duration::ZERO))));
    world.run(Duration::from_secs(2));
    let outcomes = world.outcomes();
    assert!(
        matches!(
            outcomes[..],
            [
                Outcome::Announced,
                Outcome::SetUp { .. },
                Outcome::SetUp { .. },
                Outcome::Recording
            ]
        ),
        "{outcomes:?}"
    );
    let (rtp, _) = world.client.channels(1).unwrap();
    let mut packet = crate::interleaved_head(rtp, 3).to_vec();
    packet.extend_from_slice(b"abc");
    world.send(true, &packet);
    world.client.get_parameter(world.now, "x\r\n".into());
    world.client.set_parameter(world.now, "y: 1\r\n".into());
    world.run(Duration::from_secs(300));
    assert!(
        world
            .server_events
            .iter()
            .any(|event| matches!(event, server::Event::Media { track: 1, data, .. } if &data[..] == b"abc"))
    );
    assert!(
        matches!(&world.outcomes()[..], [Outcome::Parameters(body), Outcome::ParametersSet] if &body[..] == b"x: 1\r\n")
    );
    assert_eq!(
        world.server.sessions().next().unwrap().state(),
        server::State::Recording
    );
}

#[test]
fn a_client_with_a_wrong_password_is_told_once() {
    let mut world = World::new("rtsp://alice:guess@h/alice/cam", 1000);
    world.client.describe(world.now);
    world.run(Duration::from_secs(5));
    assert_eq!(world.outcomes(), [Outcome::Failed(Failure::Unauthorized)]);
    assert_eq!(
        world
            .asked
            .iter()
            .filter(|ask| matches!(ask, Ask::Keys { .. }))
            .count(),
        1
    );
}
