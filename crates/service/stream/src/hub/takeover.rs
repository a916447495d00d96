//! Sessions that outlive their connections, and that go on over another one.

use super::plane::{Answered, Pending, Plane};
use super::{ConnectionId, Hub, Order, SessionKey, Timer};
use ringpost_base::Instant;
use ringpost_rtsp::Status;
use ringpost_rtsp::server::{self, Answer, SessionId, User};
use std::net::IpAddr;

/// A session that a connection is to go on with, which another one has.
#[derive(Clone, Debug)]
pub(crate) struct Takeover {
    pub(crate) session: SessionId,
    pub(crate) to: Pending,
    /// Who asks for it.
    pub(crate) peer: IpAddr,
    pub(crate) user: Option<User>,
}

fn not_found() -> Option<Answer> {
    Some(Answer::Refused(Status::SESSION_NOT_FOUND.into()))
}

impl Hub {
    /// A session goes over to the connection that asks for it, if its own lets it go: when what is asked about it there is carried
    /// out.
    pub(super) fn hand_over(&mut self, now: Instant, from: ConnectionId, takeover: Takeover) {
        if self.connections.is_busy_with(from, &takeover.session) {
            return self.plane.takeovers.push((from, takeover));
        }
        if !self.plane.is_controlled_by(from, &takeover.session) {
            // Others have waited for it too, and one has it now.
            let answered = self.plane.take_over(takeover);
            return answered.into_iter().for_each(|of| {
                let connection = of.connection;
                self.connections.handle_answer(now, of);
                self.drain(now, connection);
            });
        }
        let session = self.connections.release(now, from, &takeover.session);
        let to = takeover.to;
        let answered = self.plane.handed_over(session, to);
        self.drain(now, from);
        self.connections.handle_answer(now, answered);
        self.drain(now, to.connection);
    }
}

impl Plane {
    pub(super) fn detach(&mut self, now: Instant, session: Box<server::Session>) {
        let Some(key) = self.by_id.get(session.id()).copied() else {
            return;
        };
        let expires = self.abandoned_at(now, key, session.expires().max(now));
        self.set_timer(Timer::Detached(key), Some(expires));
        if let Some(session) = self.sessions.get_mut(&key)
            && let Some(connection) = session.connection.take()
            && let Some(keys) = self.by_connection.get_mut(&connection)
        {
            keys.remove(&key);
        }
        self.detached.insert(key, session);
    }

    pub(crate) fn end_detached(&mut self, now: Instant, key: SessionKey) {
        if self.detached.contains_key(&key) {
            self.end_session(now, key);
        }
    }

    /// A session goes on at this connection: one that no other controls, or that another does whose client is here now, which
    /// may have lost it without our knowing. What is interleaved lives and dies with its own connection: its packets are
    /// within that one, by channels that belong to it.
    // Guards pitfall RTSP 2.
    pub(super) fn attach(
        &mut self,
        pending: Pending,
        peer: IpAddr,
        id: &server::SessionId,
        user: Option<User>,
    ) -> Option<Answer> {
        let key = self.by_id.get(id).copied();
        let Some((key, session)) = key.and_then(|key| Some((key, self.sessions.get(&key)?))) else {
            return not_found();
        };
        let is_owners = match &session.user {
            Some(owner) => user.as_ref().is_some_and(|user| user.is_same(owner)),
            None => session.peer == peer,
        };
        if session.is_interleaved() {
            return not_found();
        }
        if let (Some(owner), None) = (&session.user, &user) {
            let realm = owner.realm.clone();
            return Some(Answer::Unproven { realm });
        }
        if !is_owners {
            return not_found();
        }
        if let Some(session) = self.detached.remove(&key) {
            self.lead_to(key, pending.connection);
            return Some(Answer::Session(session));
        }
        let Some(controlling) = session.connection else {
            return not_found();
        };
        let takeover = Takeover {
            session: id.clone(),
            to: pending,
            peer,
            user,
        };
        self.order(controlling, Order::HandOver(Box::new(takeover)));
        None
    }

    /// Connections that wait for a session, whose own connection may have carried out by now what was asked about it there.
    pub(crate) fn take_over_again(&mut self, from: ConnectionId) -> Vec<Answered> {
        let waiting = self.takeovers.extract_if(.., |(of, _)| *of == from);
        let waiting: Vec<_> = waiting.map(|(_, takeover)| takeover).collect();
        let waiting = waiting.into_iter();
        waiting.filter_map(|takeover| self.take_over(takeover)).collect()
    }

    fn take_over(&mut self, takeover: Takeover) -> Option<Answered> {
        let Takeover {
            session,
            to,
            peer,
            user,
        } = takeover;
        let answer = self.attach(to, peer, &session, user)?;
        Some(Answered {
            connection: to.connection,
            question: to.question,
            answer,
        })
    }

    fn is_controlled_by(&self, connection: ConnectionId, session: &SessionId) -> bool {
        let session = self.by_id.get(session).and_then(|key| self.sessions.get(key));
        session.is_some_and(|session| session.connection == Some(connection))
    }

    /// The connection of a session has let it go to another one, or has not.
    pub(crate) fn handed_over(&mut self, session: Option<Box<server::Session>>, to: Pending) -> Answered {
        let answer = match session {
            Some(session) => {
                if let Some(key) = self.by_id.get(session.id()).copied() {
                    self.lead_to(key, to.connection);
                }
                Answer::Session(session)
            }
            None => Answer::Refused(Status::SESSION_NOT_FOUND.into()),
        };
        Answered {
            connection: to.connection,
            question: to.question,
            answer,
        }
    }

    /// This connection controls a session from now on.
    fn lead_to(&mut self, key: SessionKey, connection: ConnectionId) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let before = session.connection.replace(connection);
        if let Some(keys) = before.and_then(|before| self.by_connection.get_mut(&before)) {
            keys.remove(&key);
        }
        self.by_connection.entry(connection).or_default().insert(key);
    }
}
