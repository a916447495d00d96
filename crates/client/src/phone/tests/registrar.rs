//! Phones and a server that knows them: registration, challenges, the mailbox's lamp.

use super::world::{ALICE, SERVER, Weather, World, address, config};
use crate::phone::{Config, Event, Lamp};
use bytes::Bytes;
use ringpost_auth::digest::{Authenticator, Credentials, DigestKeys, Offer, Policy, Verdict};
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_sip::ua::{self, Content, Standing, SubscriptionId, Ua, UaConfig};
use ringpost_sip::{Builder, Flow, HeaderName, Message, Method, Status, TransactionId, Transport};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A registrar with one user, which counts and refuses what it is told to.
pub(super) struct Registrar {
    ua: Ua,
    authenticator: Authenticator,
    keys: DigestKeys,
    /// The least that it registers for.
    pub(super) least_s: u32,
    /// It answers every REGISTER with this.
    pub(super) refusal: Option<Status>,
    /// It answers nothing.
    pub(super) is_deaf: bool,
    /// The registrations granted: seconds.
    pub(super) granted: Vec<u32>,
    /// Challenged and granted requests, in order.
    pub(super) verdicts: Vec<(Method, u16)>,
    subscription: Option<SubscriptionId>,
    outputs: VecDeque<(SocketAddr, Bytes)>,
}

impl Registrar {
    pub(super) fn new() -> Self {
        let config = UaConfig {
            allow: vec![
                Method::Register,
                Method::Subscribe,
                Method::Message,
                Method::Notify,
            ],
            events: vec!["message-summary".into()],
            accept: vec!["text/plain".into()],
            ..UaConfig::default()
        };
        Registrar {
            ua: Ua::new(config, Rng::from_number(100)),
            authenticator: Authenticator::new("example.com", Rng::from_number(101), Policy::default()),
            keys: DigestKeys::derive("alice", "example.com", "secret"),
            least_s: 0,
            refusal: None,
            is_deaf: false,
            granted: Vec::new(),
            verdicts: Vec::new(),
            subscription: None,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: Bytes) {
        if !self.is_deaf {
            let local = address(SERVER);
            self.ua.handle_bytes(
                now,
                Flow {
                    transport: Transport::Udp,
                    local,
                    remote: from,
                    connection: None,
                },
                bytes,
            );
            self.pump(now);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.ua.handle_timeout(now);
        self.pump(now);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.outputs.pop_front()
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        match self.ua.poll_output() {
            ua::Output::Timeout(at) => at,
            output => panic!("expected a drained user agent, found {output:?}"),
        }
    }

    /// Tells the subscriber what waits.
    pub(super) fn notify(&mut self, now: Instant, body: &'static str) {
        let content = Content::none().with_body("application/simple-message-summary", body);
        let subscription = self.subscription.expect("somebody has subscribed");
        self.ua
            .notify(now, subscription, Standing::Active, content)
            .expect("the subscription stands");
        self.pump(now);
    }

    fn pump(&mut self, now: Instant) {
        loop {
            match self.ua.poll_output() {
                ua::Output::Transmit(transmit) => {
                    self.outputs.push_back((transmit.flow.remote, transmit.message))
                }
                ua::Output::Event(ua::Event::Request { id, flow, request }) => {
                    self.serve(now, id, flow, &request)
                }
                ua::Output::Event(ua::Event::Resubscribe {
                    subscription,
                    id,
                    request,
                    expires_s,
                }) => {
                    self.ua
                        .renew(now, subscription, id, &request, expires_s)
                        .expect("it stands");
                    let standing = if expires_s == 0 {
                        Standing::Terminated("timeout")
                    } else {
                        Standing::Active
                    };
                    self.ua
                        .notify(now, subscription, standing, Content::none())
                        .expect("it stands");
                }
                ua::Output::Event(_) => (),
                ua::Output::Timeout(_) => return,
            }
        }
    }

    fn serve(&mut self, now: Instant, id: TransactionId, flow: Flow, request: &Message) {
        let status = match (self.verify(now, request), self.refusal) {
            (false, _) => Status::UNAUTHORIZED,
            (true, Some(refusal)) => refusal,
            (true, None) => Status::OK,
        };
        let asked_s = request.expires_s().unwrap_or(3600);
        let too_brief = *request.method() == Method::Register && asked_s > 0 && asked_s < self.least_s;
        let status = if status == Status::OK && too_brief {
            Status::INTERVAL_TOO_BRIEF
        } else {
            status
        };
        self.verdicts.push((request.method().clone(), status.code()));
        if status == Status::OK && *request.method() == Method::Subscribe {
            let subscription = self
                .ua
                .accept_subscription(now, id, flow, request, asked_s)
                .expect("accepted");
            self.subscription = Some(subscription);
            return self.notify(now, "Messages-Waiting: no\r\n");
        }
        let mut response = self.ua.response(request, status);
        self.finish(now, &mut response, request, status, asked_s);
        let response = response.finish();
        self.ua.respond(now, id, response);
    }

    fn finish(
        &mut self,
        now: Instant,
        response: &mut Builder,
        request: &Message,
        status: Status,
        asked_s: u32,
    ) {
        match status {
            Status::UNAUTHORIZED => {
                for challenge in self.authenticator.challenge(calendar(now), Offer::All, false) {
                    response.header(HeaderName::WwwAuthenticate, challenge);
                }
            }
            Status::INTERVAL_TOO_BRIEF => {
                response.header(HeaderName::MinExpires, self.least_s);
            }
            Status::OK if *request.method() == Method::Register => {
                self.granted.push(asked_s);
                if let Some(contact) = request.contact().filter(|_| asked_s > 0) {
                    // Another phone of the same account, whose time is not ours.
                    response.header(HeaderName::Contact, "<sip:alice@10.9.9.9>;expires=7");
                    response.header(
                        HeaderName::Contact,
                        contact.with_param("expires", Some(&asked_s.to_string())),
                    );
                }
            }
            _ => (),
        }
    }

    fn verify(&mut self, now: Instant, request: &Message) -> bool {
        let Some(Ok(credentials)) = request.header(HeaderName::Authorization).map(Credentials::parse) else {
            return false;
        };
        let method = request.method().as_str().to_owned();
        self.authenticator
            .verify(calendar(now), &credentials, &method, Some(&self.keys))
            == Verdict::Granted
    }
}

fn calendar(now: Instant) -> UnixTime {
    UnixTime::from_secs(1_700_000_000) + now.since(Instant::ZERO)
}

fn world(password: &str) -> World {
    let alice = Config {
        domain: "example.com".into(),
        login: Some(("alice".into(), password.into())),
        server: Some(address(SERVER)),
        ..config(ALICE)
    };
    World::new(1, Weather::FAIR, vec![alice])
}

#[test]
fn a_phone_registers_renews_in_time_and_leaves() {
    let mut world = world("secret");
    world
        .with(ALICE, |phone, now| phone.register(now))
        .expect("a server");
    world.run_s(1.0);
    assert_eq!(world.take(ALICE), [Event::Registered { expires_s: 300 }]);
    world.run_s(900.0);
    // Once at the start, then after three quarters of the time each.
    assert_eq!(world.registrar.granted, [300; 5]);
    let challenged = |(_, status): &&(Method, u16)| *status == 401;
    let challenges = world.registrar.verdicts.iter().filter(challenged).count();
    assert!(
        challenges < 5,
        "a nonce that still counts is used again: {challenges}"
    );
    world.take(ALICE);
    world
        .with(ALICE, |phone, now| phone.unregister(now))
        .expect("a server");
    world.run_s(600.0);
    assert_eq!(world.take(ALICE), [Event::Unregistered]);
    assert_eq!(world.registrar.granted.len(), 6);
    world.expect_nothing_left();
}

#[test]
fn a_registrar_that_wants_longer_registrations_gets_them() {
    let mut world = world("secret");
    world.registrar.least_s = 1800;
    world
        .with(ALICE, |phone, now| phone.register(now))
        .expect("a server");
    world.run_s(1.0);
    assert_eq!(world.take(ALICE), [Event::Registered { expires_s: 1800 }]);
}

// Guards pitfall SIP 12: a wrong password is tried once.
#[test]
fn a_wrong_password_is_not_tried_again() {
    let mut world = world("wrong");
    world
        .with(ALICE, |phone, now| phone.register(now))
        .expect("a server");
    world.run_s(120.0);
    assert_eq!(
        world.take(ALICE),
        [Event::RegistrationFailed { status: Some(401) }]
    );
    assert_eq!(world.registrar.verdicts.len(), 2);
}

#[test]
fn a_registrar_in_trouble_is_tried_again() {
    let mut world = world("secret");
    world.registrar.refusal = Some(Status::SERVICE_UNAVAILABLE);
    world
        .with(ALICE, |phone, now| phone.register(now))
        .expect("a server");
    world.run_s(1.0);
    assert_eq!(
        world.take(ALICE),
        [Event::RegistrationFailed { status: Some(503) }]
    );
    world.registrar.refusal = None;
    world.registrar.is_deaf = true;
    world.run_s(70.0);
    assert_eq!(world.take(ALICE), [Event::RegistrationFailed { status: None }]);
    world.registrar.is_deaf = false;
    world.run_s(60.0);
    assert_eq!(world.take(ALICE), [Event::Registered { expires_s: 300 }]);
}

#[test]
fn the_lamp_follows_the_mailbox() {
    let mut world = world("secret");
    world
        .with(ALICE, |phone, now| phone.subscribe(now))
        .expect("a server");
    world.run_s(1.0);
    let events = world.take(ALICE);
    assert!(
        events.contains(&Event::Subscribed { expires_s: 300 }),
        "{events:?}"
    );
    assert!(events.contains(&Event::Lamp(Lamp::default())), "{events:?}");
    let now = world.now;
    world
        .registrar
        .notify(now, "Messages-Waiting: yes\r\nVoice-Message: 1/2 (0/0)\r\n");
    world.run_s(1.0);
    assert_eq!(
        world.take(ALICE),
        [Event::Lamp(Lamp {
            is_lit: true,
            new: 1,
            old: 2
        })]
    );
    world.run_s(1000.0);
    let renewed = world.take(ALICE);
    assert!(
        renewed
            .iter()
            .filter(|event| matches!(event, Event::Subscribed { .. }))
            .count()
            >= 3,
        "{renewed:?}"
    );
    world
        .with(ALICE, |phone, now| phone.unsubscribe(now))
        .expect("it stands");
    world.run_s(10.0);
    assert!(
        world
            .take(ALICE)
            .iter()
            .any(|event| matches!(event, Event::SubscriptionEnded { .. }))
    );
    world.expect_nothing_left();
}

#[test]
fn a_text_is_authenticated() {
    let mut world = world("secret");
    let text = world
        .with(ALICE, |phone, now| phone.send_text(now, "bob", "hello"))
        .expect("a server");
    world.run_s(1.0);
    assert_eq!(
        world.take(ALICE),
        [Event::TextSent {
            text,
            status: Some(200)
        }]
    );
    assert_eq!(
        world.registrar.verdicts,
        [(Method::Message, 401), (Method::Message, 200)]
    );
    world.run_s(Duration::from_secs(60).as_secs_f64());
    world.expect_nothing_left();
}

#[test]
fn a_phone_that_leaves_while_it_registers_is_gone_in_the_end() {
    let mut world = world("secret");
    world
        .with(ALICE, |phone, now| phone.register(now))
        .expect("a server");
    world
        .with(ALICE, |phone, now| phone.unregister(now))
        .expect("a server");
    world.run_s(400.0);
    assert_eq!(world.take(ALICE), [Event::Unregistered]);
    assert_eq!(world.registrar.granted, [300, 0]);
}
