//! Readers that are sent elsewhere: who asks for a mount that has moved, and who reads one already.

use super::plane::Plane;
use super::recorded::asks_for_recorded;
use super::session::Session;
use super::{ConnectionId, Order, SessionKey, Timer};
use crate::mount::MountName;
use ringpost_base::Instant;
use ringpost_rtsp::server::{Answer, Outcome, Place, Refusal};
use ringpost_rtsp::{Status, Url};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a client that knows REDIRECT has for its TEARDOWN.
const MOVING: Duration = Duration::from_secs(10);

/// Whom an administrator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// This session.
    Session(SessionKey),
    /// All readers of a mount.
    ReadersOf(MountName),
}

/// What an administrator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendAway {
    /// With whom.
    pub whom: Whom,
    /// Where their clients are told to go.
    pub to: Option<Url>,
}

impl Plane {
    /// Where a mount has moved to.
    pub(crate) fn redirect_of(&self, mount: &MountName) -> Option<Url> {
        let matching = self
            .config
            .settings
            .iter()
            .filter(|(pattern, _)| pattern.matches(mount));
        let (pattern, settings) = matching.min_by(|(a, _), (b, _)| a.cmp(b))?;
        let to = settings.redirect.as_ref()?;
        Some(match pattern.name() {
            Some(_) => to.clone(),
            None => to.with_rest(&format!("{}/{mount}", to.path().trim_end_matches('/'))),
        })
    }

    /// The answer to who asks for a mount that has moved. What was recorded of it here is here.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-11.2
    pub(crate) fn moved(&self, place: &Place) -> Option<Answer> {
        if asks_for_recorded(place.query.as_deref()) {
            return None;
        }
        let to = self.redirect_of(&place.mount)?;
        Some(Answer::Refused(Refusal::moved(Status::MOVED_TEMPORARILY, &to)))
    }

    /// Sends the readers away of all mounts that have moved by now.
    pub(crate) fn move_readers(&mut self, now: Instant) {
        let readers = self
            .sessions
            .iter()
            .filter(|(_, session)| session.reader().is_some_and(|reader| !reader.is_of_recorded));
        let moved = readers.filter_map(|(key, session)| Some((*key, self.redirect_of(&session.mount)?)));
        // The oldest first, as all that is to be repeated.
        let moved: BTreeMap<_, _> = moved.collect();
        for (key, to) in moved {
            self.redirect(now, key, &to);
        }
    }

    /// Ends sessions, or tells their clients first where to go; says how many there were.
    pub(crate) fn send_whom_away(&mut self, now: Instant, SendAway { whom, to }: &SendAway) -> usize {
        let is_meant = |key: &SessionKey, session: &Session| match whom {
            Whom::Session(meant) => key == meant,
            Whom::ReadersOf(mount) => session.reader().is_some() && session.mount == *mount,
        };
        let sessions = self.sessions.iter();
        let meant: BTreeSet<_> = sessions
            .filter(|(key, session)| is_meant(key, session))
            .map(|(key, _)| *key)
            .collect();
        for key in &meant {
            match to {
                Some(to) => self.redirect(now, *key, to),
                None => self.kick(now, *key),
            }
        }
        meant.len()
    }

    /// Tells the client of a session to go elsewhere. One that does not, or cannot be told, is sent away.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-10.10
    fn redirect(&mut self, now: Instant, key: SessionKey, to: &Url) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        match (session.connection, session.id.clone()) {
            (Some(connection), Some(id)) => {
                self.order(connection, Order::Redirect(id, Box::new(to.clone())));
                self.moving.insert(key);
                self.set_timer(Timer::Moving(key), Some(now + MOVING));
            }
            _ => self.kick(now, key),
        }
    }

    /// A client has answered a request of ours, which is always REDIRECT: who does not know it is not waited for.
    pub(crate) fn handle_answered(&mut self, now: Instant, connection: ConnectionId, outcome: &Outcome) {
        if matches!(outcome, Outcome::Response(response) if response.status.is_success()) {
            return;
        }
        let of_connection = self.by_connection.get(&connection).into_iter().flatten();
        let moving: Vec<_> = of_connection
            .filter(|key| self.moving.contains(key))
            .copied()
            .collect();
        for key in moving {
            self.handle_moving_timeout(now, key);
        }
    }

    /// A client has had its time to go elsewhere.
    pub(crate) fn handle_moving_timeout(&mut self, now: Instant, key: SessionKey) {
        if self.moving.remove(&key) {
            self.set_timer(Timer::Moving(key), None);
            self.kick(now, key);
        }
    }
}
