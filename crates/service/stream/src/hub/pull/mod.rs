//! Mounts that are pulled from other servers: when, and again after what time.
//!
//! A pull that is not always wanted begins with the first DESCRIBE, or with the first who wants to hear it within the server,
//! and ends when its mount has had neither readers nor listeners for a while. What one attempt does is a [`Run`].

mod plane;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use plane::Routes;

use super::plane::{Pending, Plane};
use super::{
    Answer, ConnectionId, Ends, Event, ListenerId, Order, Output, PairId, QuestionId, Timer, Unresolved,
};
use crate::mount::MountName;
use ringpost_base::{Instant, limits};
use ringpost_rtsp::{Status, Url};
use run::{Ended, Next, Run};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// The time between an attempt that failed and the next one: at first, doubled each time, and at most; each time up to a quarter
/// less, so that what has failed at one moment does not begin again at one.
const RESTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A pull that brought packets for so long did not fail: what follows is the first attempt again.
const STEADY: Duration = Duration::from_secs(10);
/// How long DESCRIBE waits for the description of another server, and who wants to hear the mount.
const WAIT: Duration = Duration::from_secs(10);
/// How often a mount that is pulled on demand is looked at for readers.
const LOOK: Duration = Duration::from_secs(1);
/// A reader has at least so long from DESCRIBE to SETUP.
const LEAST_VACANCY: Duration = Duration::from_secs(5);

/// Names a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PullKey(u64);

/// Where a mount is pulled from, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSettings {
    /// The presentation, with the credentials that its server wants. They are never shown.
    pub url: Url,
    /// Whether it is pulled always, or while somebody reads or listens.
    pub is_always: bool,
    /// How its packets come.
    pub transport: PullTransport,
}

/// How the packets of a pull come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullTransport {
    /// Within the connection, and over UDP from a server that does not do that.
    #[default]
    Auto,
    /// Within the connection.
    Tcp,
    /// Over UDP, and within the connection where nothing comes that way.
    Udp,
}

/// How the packets of an attempt come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Tcp,
    Udp,
}

impl PullTransport {
    /// The way that is tried first.
    fn first(self) -> Way {
        match self {
            PullTransport::Auto | PullTransport::Tcp => Way::Tcp,
            PullTransport::Udp => Way::Udp,
        }
    }

    /// The way that is tried when that one has failed.
    fn other_than(self, way: Way) -> Option<Way> {
        match (self, way) {
            (PullTransport::Tcp, _) => None,
            (_, Way::Tcp) => Some(Way::Udp),
            (_, Way::Udp) => Some(Way::Tcp),
        }
    }
}

/// A mount that cannot be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullFailure {
    /// Which.
    pub mount: MountName,
    /// From where, without credentials.
    pub source: String,
    /// Why the last attempt failed.
    pub why: String,
    /// Attempts that have failed, one behind the other.
    pub attempts: u32,
    /// After which time the next is made; `None`: when somebody wants it, or it is under way.
    pub again_in: Option<Duration>,
}

/// Who waits for a mount.
#[derive(Debug)]
struct Waiter {
    who: Waits,
    until: Instant,
}

#[derive(Debug)]
enum Waits {
    /// A reader's DESCRIBE, and our address that it asked at.
    Describer(Pending, IpAddr),
    /// Somebody within the server.
    Listener(ListenerId),
}

/// One mount that is pulled.
struct Pull {
    key: PullKey,
    mount: MountName,
    settings: PullSettings,
    state: State,
    /// Attempts that have failed, one behind the other.
    failures: u32,
    /// Why the last attempt failed, until one succeeds, and how many had by then.
    failure: Option<(String, u32)>,
    way: Way,
    /// Where the server has sent us, for the next attempt alone.
    elsewhere: Option<Url>,
    waiting: Vec<Waiter>,
    /// When somebody wanted it last.
    wanted: Instant,
    /// When its timer is set to.
    timer: Option<Instant>,
}

enum State {
    Idle,
    /// The next attempt may be then.
    Resting(Instant),
    Running(Box<Run>),
}

/// All mounts that are pulled.
#[derive(Default)]
pub(crate) struct Pulls {
    all: BTreeMap<PullKey, Pull>,
    names: HashMap<MountName, PullKey>,
}

impl Pulls {
    /// Goes by the settings that the plane has now.
    pub(crate) fn configure(&mut self, now: Instant, plane: &mut Plane) {
        let settings = plane.config.settings.iter();
        let wanted =
            settings.filter_map(|(pattern, settings)| Some((pattern.name()?, settings.pull.clone()?)));
        let wanted: HashMap<_, _> = wanted.take(plane.config.mounts).collect();
        let is_kept = |pull: &Pull| wanted.get(&pull.mount) == Some(&pull.settings);
        let gone: Vec<_> = self
            .all
            .values()
            .filter(|pull| !is_kept(pull))
            .map(|pull| pull.key)
            .collect();
        for key in gone {
            if let Some(mut pull) = self.all.remove(&key) {
                self.names.remove(&pull.mount);
                pull.stop(now, plane);
                plane.watch_no_more(&pull.mount);
                pull.answer_all(now, Status::NOT_FOUND, plane);
                plane.set_timer(Timer::Pull(key), None);
            }
        }
        for (mount, settings) in wanted {
            if self.names.contains_key(&mount) {
                continue;
            }
            let key = PullKey(plane.next_number());
            let mut pull = Pull {
                key,
                mount: mount.clone(),
                way: settings.transport.first(),
                settings,
                state: State::Idle,
                failures: 0,
                failure: None,
                elsewhere: None,
                waiting: Vec::new(),
                wanted: now,
                timer: None,
            };
            if pull.settings.is_always {
                pull.begin(now, plane);
            }
            self.names.insert(mount, key);
            self.all.insert(key, pull);
        }
    }

    /// What cannot be pulled, by name.
    pub(crate) fn failures(&self, now: Instant) -> Vec<PullFailure> {
        let failed = self.all.values().filter_map(|pull| {
            let (why, attempts) = pull.failure.clone()?;
            let again_in = match &pull.state {
                State::Resting(until) => Some(until.since(now)),
                State::Running(_) | State::Idle => None,
            };
            Some(PullFailure {
                mount: pull.mount.clone(),
                source: pull.source(),
                why,
                attempts,
                again_in,
            })
        });
        let mut failed: Vec<_> = failed.collect();
        failed.sort_by(|a, b| a.mount.cmp(&b.mount));
        failed
    }

    /// Somebody wants a mount.
    pub(crate) fn handle_wanted(&mut self, now: Instant, wanted: plane::Wanted, plane: &mut Plane) {
        let key = self.names.get(&wanted.mount);
        let Some(pull) = key.and_then(|key| self.all.get_mut(key)) else {
            // It was asked for while the settings changed.
            if let Some((pending, _)) = wanted.describer {
                plane::answer(plane, pending, Status::NOT_FOUND);
            }
            return;
        };
        pull.wanted = now;
        if let Some((pending, local)) = wanted.describer {
            let until = now + WAIT;
            let who = Waits::Describer(pending, local);
            pull.waiting.push(Waiter { who, until });
        }
        if matches!(pull.state, State::Idle) {
            pull.begin(now, plane);
        }
        pull.settle(now, plane);
    }

    /// Somebody within the server wants to hear a mount. False where it is not pulled, or too many wait.
    pub(crate) fn await_live(
        &mut self,
        now: Instant,
        mount: &MountName,
        listener: ListenerId,
        plane: &mut Plane,
    ) -> bool {
        let key = self.names.get(mount);
        let Some(pull) = key.and_then(|key| self.all.get_mut(key)) else {
            return false;
        };
        if pull.waiting.len() >= limits::MOUNT_LISTENERS {
            return false;
        }
        pull.wanted = now;
        let (who, until) = (Waits::Listener(listener), now + WAIT);
        pull.waiting.push(Waiter { who, until });
        if matches!(pull.state, State::Idle) {
            pull.begin(now, plane);
        }
        pull.settle(now, plane);
        true
    }

    /// Somebody within the server waits for no mount any longer.
    pub(crate) fn stop_waiting(&mut self, listener: ListenerId) {
        let is_theirs = |waiter: &Waiter| matches!(waiter.who, Waits::Listener(who) if who == listener);
        for pull in self.all.values_mut() {
            pull.waiting.retain(|waiter| !is_theirs(waiter));
        }
    }

    pub(crate) fn handle_connected(&mut self, now: Instant, id: ConnectionId, ends: Ends, plane: &mut Plane) {
        self.go_on(now, plane.pulling.connection(id), plane, |run, pull, plane| {
            run.handle_connected(now, ends, pull, plane)
        });
    }

    pub(crate) fn handle_bytes(&mut self, now: Instant, id: ConnectionId, bytes: &[u8], plane: &mut Plane) {
        self.go_on(now, plane.pulling.connection(id), plane, |run, pull, plane| {
            run.handle_bytes(now, bytes, pull, plane)
        });
    }

    /// A connection is over; `why` it could not be made.
    pub(crate) fn handle_closed(
        &mut self,
        now: Instant,
        id: ConnectionId,
        why: Option<&str>,
        plane: &mut Plane,
    ) {
        let key = plane.pulling.connection(id);
        plane.pulling.forget_connection(id);
        self.go_on(now, key, plane, |run, pull, plane| {
            run.handle_closed(now, why, pull, plane)
        });
    }

    /// Takes an answer to a question of a pull; any other is given back.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        id: QuestionId,
        answer: Answer,
        plane: &mut Plane,
    ) -> Option<Answer> {
        let Some(key) = plane.pulling.take_question(id) else {
            return Some(answer);
        };
        let addresses = match answer {
            Answer::Addresses(addresses) => addresses,
            _ => Err(Unresolved::Unavailable),
        };
        self.go_on(now, Some(key), plane, |run, pull, plane| {
            run.handle_addresses(now, id, addresses, pull, plane)
        });
        None
    }

    /// Whether a pair of sockets is a pull's.
    pub(crate) fn handle_pair(
        &mut self,
        now: Instant,
        pair: PairId,
        port: Option<u16>,
        plane: &mut Plane,
    ) -> bool {
        let Some(key) = plane.pulling.take_pair(pair) else {
            return false;
        };
        let is_running = |pull: &Pull| matches!(pull.state, State::Running(_));
        match self.all.get(&key).is_some_and(is_running) {
            true => self.go_on(now, Some(key), plane, |run, pull, plane| {
                run.handle_pair(now, pair, port, pull, plane)
            }),
            // What it was opened for is over.
            false => plane.push(Output::ClosePair(pair)),
        }
        true
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, key: PullKey, plane: &mut Plane) {
        let Some(pull) = self.all.get_mut(&key) else {
            return;
        };
        pull.timer = None;
        pull.handle_timeout(now, plane);
        pull.settle(now, plane);
    }

    /// What a session of a pull wants.
    pub(crate) fn carry_out(&mut self, now: Instant, id: ConnectionId, order: &Order, plane: &mut Plane) {
        let key = plane.pulling.connection(id);
        self.go_on(now, key, plane, |run, _, _| match order {
            Order::Heard => {
                run.handle_media(now);
                Ok(())
            }
            _ => Err(Ended::new("it was ended by hand", Status::SERVICE_UNAVAILABLE)),
        });
    }

    /// Says goodbye to all servers.
    pub(crate) fn shut_down(&mut self, now: Instant, plane: &mut Plane) {
        for pull in self.all.values_mut() {
            pull.stop(now, plane);
            plane.set_timer(Timer::Pull(pull.key), None);
        }
        self.all.clear();
        self.names.clear();
    }

    /// Lets the attempt of a pull do something, and sees to what comes of it.
    fn go_on(
        &mut self,
        now: Instant,
        key: Option<PullKey>,
        plane: &mut Plane,
        what: impl FnOnce(&mut Run, &run::Of<'_>, &mut Plane) -> Result<(), Ended>,
    ) {
        let Some(pull) = key.and_then(|key| self.all.get_mut(&key)) else {
            return;
        };
        pull.go_on(now, plane, what);
        pull.settle(now, plane);
    }
}

impl Pull {
    fn of(&self) -> run::Of<'_> {
        run::Of {
            key: self.key,
            mount: &self.mount,
            settings: &self.settings,
            way: self.way,
        }
    }

    fn begin(&mut self, now: Instant, plane: &mut Plane) {
        let url = self.elsewhere.take().unwrap_or_else(|| self.settings.url.clone());
        let run = Run::new(now, url, &self.settings, plane.rng.fork());
        self.state = State::Running(Box::new(run));
        self.go_on(now, plane, |run, pull, plane| run.drain(now, pull, plane));
    }

    fn go_on(
        &mut self,
        now: Instant,
        plane: &mut Plane,
        what: impl FnOnce(&mut Run, &run::Of<'_>, &mut Plane) -> Result<(), Ended>,
    ) {
        let State::Running(mut run) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let done = what(&mut run, &self.of(), plane);
        let is_steady = run.steady_for(now, plane).is_some_and(|steady| steady >= STEADY);
        self.state = State::Running(run);
        if is_steady {
            self.failures = 0;
        }
        if let Err(ended) = done {
            self.ended(now, ended, plane);
        }
    }

    /// An attempt has failed, or what it brought is over.
    fn ended(&mut self, now: Instant, ended: Ended, plane: &mut Plane) {
        let Ended { why, status, next } = ended;
        let source = self.source();
        self.stop(now, plane);
        let first = self.settings.transport.first();
        let other = self.settings.transport.other_than(self.way);
        match (next, other) {
            (Next::OtherWay, Some(other)) if self.way == first => {
                self.way = other;
                let mount = self.mount.clone();
                let what = format!(
                    "{why}; it is pulled {} now",
                    match other {
                        Way::Tcp => "within the connection",
                        Way::Udp => "over UDP",
                    }
                );
                plane.tell(Event::Tolerated { mount, what });
                return self.begin(now, plane);
            }
            // Neither way leads there now.
            (Next::OtherWay, _) => self.way = first,
            (Next::Elsewhere(url), _) => self.elsewhere = Some(url),
            (Next::Again, _) => {}
        }
        let doubled = RESTS.0 * 2u32.saturating_pow(self.failures.min(8));
        let again_in = doubled.min(RESTS.1).mul_f64(1.0 - plane.rng.unit() / 4.0);
        self.failures = self.failures.saturating_add(1);
        self.failure = Some((why.clone(), self.failures));
        self.state = State::Resting(now + again_in);
        let mount = self.mount.clone();
        plane.tell(Event::Unpulled {
            mount,
            source,
            why,
            again_in,
        });
        self.answer_all(now, status, plane);
    }

    fn source(&self) -> String {
        match &self.state {
            State::Running(run) => run.source(),
            _ => self.settings.url.without_credentials().to_string(),
        }
    }

    /// Ends what is going on.
    fn stop(&mut self, now: Instant, plane: &mut Plane) {
        if let State::Running(mut run) = std::mem::replace(&mut self.state, State::Idle) {
            run.end(now, plane);
        }
    }

    fn is_wanted(&self, plane: &Plane) -> bool {
        self.settings.is_always || !self.waiting.is_empty() || plane.is_read(&self.mount)
    }

    fn handle_timeout(&mut self, now: Instant, plane: &mut Plane) {
        let is_wanted = self.is_wanted(plane);
        if is_wanted {
            self.wanted = now;
        }
        match &self.state {
            State::Resting(until) if *until <= now => match is_wanted {
                true => self.begin(now, plane),
                false => (self.state, self.failures) = (State::Idle, 0),
            },
            State::Running(_) => {
                let vacancy = plane.config.vacancy.max(LEAST_VACANCY);
                if now.since(self.wanted) >= vacancy {
                    self.stop(now, plane);
                    plane.remove_pulled(now, &self.mount);
                } else {
                    self.go_on(now, plane, |run, pull, plane| {
                        run.handle_timeout(now, pull, plane)
                    });
                }
            }
            _ => {}
        }
        let late: Vec<_> = self
            .waiting
            .extract_if(.., |waiter| waiter.until <= now)
            .collect();
        for waiter in late {
            self.disappoint(now, waiter, Status::GATEWAY_TIMEOUT, plane);
        }
    }

    /// There is nothing for who waits.
    fn disappoint(&self, now: Instant, waiter: Waiter, status: Status, plane: &mut Plane) {
        match waiter.who {
            Waits::Describer(pending, local) => {
                plane.answer_unpulled(now, &self.mount, pending, local, status);
            }
            Waits::Listener(listener) => plane.push(Output::Awaited {
                listener,
                is_live: false,
            }),
        }
    }

    /// Answers those who wait, once there is a description, and sets the timer.
    fn settle(&mut self, now: Instant, plane: &mut Plane) {
        let is_live = matches!(&self.state, State::Running(run) if run.is_live());
        if is_live {
            self.failure = None;
        }
        if is_live && !self.waiting.is_empty() {
            for waiter in std::mem::take(&mut self.waiting) {
                match waiter.who {
                    Waits::Describer(pending, local) => plane.answer_described(&self.mount, pending, local),
                    Waits::Listener(listener) => plane.push(Output::Awaited {
                        listener,
                        is_live: true,
                    }),
                }
            }
            // They have as long from now to begin as after any DESCRIBE.
            self.wanted = now;
        }
        let of_state = match &self.state {
            State::Idle => None,
            State::Resting(until) => Some(*until),
            State::Running(run) if self.settings.is_always => run.deadline(plane),
            State::Running(run) => Some(run.deadline(plane).map_or(now + LOOK, |at| at.min(now + LOOK))),
        };
        let waiting = self.waiting.iter().map(|waiter| waiter.until);
        let due = waiting.chain(of_state).min();
        // One that is set too early finds nothing to do, and is set anew then: packets push it back all the time.
        if due.is_some_and(|due| self.timer.is_none_or(|timer| due < timer)) {
            self.timer = due;
            plane.set_timer(Timer::Pull(self.key), due);
        }
    }

    /// There will be no description.
    fn answer_all(&mut self, now: Instant, status: Status, plane: &mut Plane) {
        for waiter in std::mem::take(&mut self.waiting) {
            self.disappoint(now, waiter, status, plane);
        }
    }
}
