//! Phones that do whatever they like, over a network that loses, doubles and reorders.

use super::world::{World, config, seconds};
use ringpost_media::Event as MediaEvent;
use ringpost_sdp::Direction;
use ringpost_sip::ua::{self, Content, NewRequest, SessionId};
use ringpost_sip::{Message, Method, Status, Transport};
use std::collections::BTreeMap;
use std::time::Duration;

const NAMES: [&str; 5] = ["alice", "bob", "bob", "carol", "alice"];

/// What each phone has under way.
#[derive(Default)]
struct Lines {
    /// Calls that have not been answered, by the phone that they came to.
    incoming: BTreeMap<(usize, SessionId), Message>,
    /// Calls that stand, or are being made.
    open: Vec<(usize, SessionId)>,
}

impl Lines {
    fn follow(&mut self, w: &mut World) {
        for who in 0..w.peers.len() {
            for event in w.take(who) {
                match event {
                    ua::Event::Invite { session, request, .. } => {
                        self.incoming.insert((who, session), request);
                    }
                    ua::Event::Terminated { session, .. } => {
                        self.incoming.remove(&(who, session));
                        self.open.retain(|line| *line != (who, session));
                    }
                    _ => {}
                }
            }
        }
    }
}

fn act(w: &mut World, lines: &mut Lines) {
    let now = w.now;
    let who = w.rng.below(NAMES.len() as u64) as usize;
    let line = lines.open.iter().copied().find(|(owner, _)| *owner == who);
    let call = lines.incoming.iter().find(|((owner, _), _)| *owner == who);
    match (w.rng.below(12), call.map(|((_, s), m)| (*s, m.clone())), line) {
        (0..=5, Some((session, invite)), _) => answer(w, lines, who, session, &invite),
        (0..=4, None, None) => {
            let to = ["alice", "bob", "carol", "dave", "*97", "nobody"][w.rng.below(6) as usize];
            let session = w.peers[who].call(now, to);
            lines.open.push((who, session));
        }
        (2..=5, _, Some((_, session))) => {
            let will =
                [Direction::SendRecv, Direction::SendOnly, Direction::Inactive][w.rng.below(3) as usize];
            w.peers[who].will = will;
            let offer = w.peers[who].describe(b"");
            let content = if w.rng.chance(0.3) {
                Content::none()
            } else {
                Content::sdp(offer)
            };
            let _ = w.peers[who].ua.reinvite(now, session, content);
        }
        (6, _, Some((_, session))) => {
            let content = Content::none().with_body("application/dtmf-relay", "Signal=1");
            let _ = w.peers[who]
                .ua
                .request_within(now, session, Method::Info, content);
        }
        (7..=8, _, Some((_, session))) => {
            let _ = w.peers[who].ua.hang_up(now, session, None);
        }
        (9, ..) => {
            let mut request: NewRequest = w.peers[who].request(Method::Message, "bob");
            request.content = Content::none().with_body("text/plain", "hello");
            let _ = w.peers[who].ua.request(now, request);
        }
        (10, ..) => {
            w.peers[who].register(now, 600);
        }
        _ => media(w),
    }
}

fn answer(w: &mut World, lines: &mut Lines, who: usize, session: SessionId, invite: &Message) {
    let now = w.now;
    let description = w.peers[who].describe(invite.body());
    let phone = &mut w.peers[who].ua;
    match w.rng.below(6) {
        0 => drop(phone.ring(now, session, Status::RINGING, Content::none())),
        1 => drop(phone.ring(now, session, Status::SESSION_PROGRESS, Content::sdp(description))),
        2 => drop(phone.reject(now, session, Status::BUSY_HERE, Content::none())),
        3 if w.rng.chance(0.2) => drop(phone.reject(now, session, Status::DECLINE, Content::none())),
        _ => {
            if phone.answer(now, session, Content::sdp(description)).is_ok() {
                lines.open.push((who, session));
            }
            lines.incoming.remove(&(who, session));
        }
    }
}

/// Somebody presses a key, speaks, or falls silent for good.
fn media(w: &mut World) {
    let legs = w.legs();
    if legs.is_empty() {
        return;
    }
    let leg = legs[w.rng.below(legs.len() as u64) as usize];
    let (now, digit) = (w.now, ['#', '1', '3'][w.rng.below(3) as usize]);
    match w.rng.below(20) {
        0 => w.media.tell(now, MediaEvent::MediaTimeout { leg }),
        1..=8 => w.media.tell(now, MediaEvent::Digit { leg, digit }),
        _ => w.media.speak(now, leg, seconds(2)),
    }
}

/// A failing seed is printed before it fails.
fn storm(seed: u64, loss: f64, transport: Transport) {
    println!("seed {seed}, loss {loss}, {}", transport.via_name());
    let mut w = World::with(seed, config(), transport, &NAMES);
    w.register_all();
    w.loss = loss;
    w.duplication = loss;
    w.delay = (
        Duration::from_millis(1),
        Duration::from_millis(if loss > 0.0 { 80 } else { 5 }),
    );
    let mut lines = Lines::default();
    for _ in 0..120 {
        act(&mut w, &mut lines);
        let pause = w.rng.below(700);
        w.run_ms(pause);
        lines.follow(&mut w);
    }
    (w.loss, w.duplication) = (0.0, 0.0);
    for _ in 0..3 {
        lines.follow(&mut w);
        let now = w.now;
        for (who, session) in lines.open.iter().chain(lines.incoming.keys()).copied() {
            let _ = w.peers[who].ua.hang_up(now, session, None);
        }
        w.run_s(70);
    }
    w.assert_over();
}

/// How many seeds are played: a few, or with `RINGPOST_SOAK=1` many.
fn seeds() -> std::ops::Range<u64> {
    match std::env::var_os("RINGPOST_SOAK") {
        Some(_) => 0..500,
        None => 0..6,
    }
}

#[test]
fn whatever_phones_do_nothing_is_left_of_it() {
    for seed in seeds() {
        storm(seed, 0.0, Transport::Udp);
        storm(seed, 0.0, Transport::Tcp);
    }
}

#[test]
fn whatever_phones_do_in_bad_weather_nothing_is_left_of_it() {
    for seed in seeds() {
        storm(seed, 0.1, Transport::Udp);
        storm(seed, 0.3, Transport::Udp);
    }
}
