//! Connections: RTSP itself, and the two halves of RTSP within HTTP.

use super::plane::{Answered, Plane};
use super::{ConnectionId, Ends, Order, Output};
use ringpost_base::{IdMap, Instant, Rng, UnixTime};
use ringpost_rtsp::server::{self, Config, Event, Peer, Server, SessionId};
use ringpost_rtsp::tunnel::{self, Joined, Opened, Opening, Posted, Tunnels};
use std::sync::Arc;

/// All connections.
pub(crate) struct Connections {
    config: Arc<Config>,
    began: (Instant, UnixTime),
    rng: Rng,
    all: IdMap<ConnectionId, Connection>,
    tunnels: Tunnels<ConnectionId>,
}

struct Connection {
    ends: Ends,
    kind: Kind,
    /// What the POSTs of its tunnel have brought, one behind the other.
    posted: Posted,
}

enum Kind {
    /// It is not known yet what it will be.
    Opening(Opening, Box<Server>),
    Rtsp(Box<Server>),
    /// The half of a tunnel that the client's bytes come by, for the machine of another connection.
    Post {
        get: ConnectionId,
    },
    Over,
}

impl Connections {
    pub(crate) fn new(config: Arc<Config>, began: (Instant, UnixTime), rng: Rng) -> Self {
        Connections {
            config,
            began,
            rng,
            all: IdMap::default(),
            tunnels: Tunnels::new(),
        }
    }

    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.all.keys().copied().collect()
    }

    pub(crate) fn accept(&mut self, now: Instant, id: ConnectionId, ends: Ends) {
        let wallclock = self.began.1 + now.since(self.began.0);
        let server = Server::new(
            now,
            wallclock,
            self.config.clone(),
            peer_of(ends),
            self.rng.fork(),
        );
        let connection = Connection {
            ends,
            kind: Kind::Opening(Opening::new(), Box::new(server)),
            posted: Posted::new(),
        };
        self.all.insert(id, connection);
    }

    pub(crate) fn wants_input(&self, id: ConnectionId) -> bool {
        match self.all.get(&id).map(|connection| &connection.kind) {
            Some(Kind::Opening(..)) => true,
            Some(Kind::Rtsp(server)) => server.wants_input(),
            Some(Kind::Post { get }) => match self.server(*get) {
                Some(server) => server.wants_input(),
                None => true,
            },
            Some(Kind::Over) | None => false,
        }
    }

    fn server(&self, id: ConnectionId) -> Option<&Server> {
        match &self.all.get(&id)?.kind {
            Kind::Opening(_, server) | Kind::Rtsp(server) => Some(server),
            Kind::Post { .. } | Kind::Over => None,
        }
    }

    fn server_mut(&mut self, id: ConnectionId) -> Option<&mut Server> {
        match &mut self.all.get_mut(&id)?.kind {
            Kind::Opening(_, server) | Kind::Rtsp(server) => Some(server),
            Kind::Post { .. } | Kind::Over => None,
        }
    }

    /// Bytes came; says which connection's machine they were for.
    pub(crate) fn handle_bytes(
        &mut self,
        now: Instant,
        id: ConnectionId,
        bytes: &[u8],
        plane: &mut Plane,
    ) -> ConnectionId {
        let Some(connection) = self.all.get_mut(&id) else {
            return id;
        };
        match &mut connection.kind {
            Kind::Rtsp(server) => server.handle_input(now, bytes),
            Kind::Opening(opening, _) => {
                if let Some(opened) = opening.handle_input(bytes) {
                    return self.opened(now, id, opened, plane);
                }
            }
            Kind::Post { get } => {
                let get = *get;
                self.post_came(now, id, bytes, plane);
                return get;
            }
            Kind::Over => {}
        }
        id
    }

    fn opened(&mut self, now: Instant, id: ConnectionId, opened: Opened, plane: &mut Plane) -> ConnectionId {
        let Some(connection) = self.all.get_mut(&id) else {
            return id;
        };
        let kind = std::mem::replace(&mut connection.kind, Kind::Over);
        let Kind::Opening(_, mut server) = kind else {
            return id;
        };
        let peer = peer_of(connection.ends);
        let refuse = |plane: &mut Plane, bytes| {
            plane.push(Output::Transmit {
                connection: id,
                bytes,
            });
            plane.push(Output::Close(id));
        };
        match opened {
            Opened::Rtsp(first) => {
                server.handle_input(now, &first);
                connection.kind = Kind::Rtsp(server);
            }
            Opened::Get { cookie } => match self.tunnels.handle_get(now, &cookie, peer, id) {
                Ok(()) => {
                    let bytes = tunnel::accepted(&self.config.software);
                    plane.push(Output::Transmit {
                        connection: id,
                        bytes,
                    });
                    connection.kind = Kind::Rtsp(server);
                }
                Err(error) => refuse(plane, tunnel::refusal(status_of(error))),
            },
            Opened::Post { cookie, body } => match self.tunnels.handle_post(&cookie, peer, id) {
                Ok(Joined { get, replaced }) => {
                    if let Some(replaced) = replaced {
                        plane.push(Output::Close(replaced));
                    }
                    connection.kind = Kind::Post { get };
                    if let Some(replaced) = replaced.and_then(|replaced| self.all.get_mut(&replaced)) {
                        // What the two bring is one text: nothing of the old one may come within that of the new one.
                        replaced.kind = Kind::Over;
                    }
                    if let Some(get) = self.all.get_mut(&get) {
                        get.posted.handle_post();
                    }
                    self.post_came(now, id, &body, plane);
                    return get;
                }
                Err(error) => refuse(plane, tunnel::refusal(status_of(error))),
            },
            Opened::Refused(bytes) => refuse(plane, bytes),
        }
        id
    }

    fn post_came(&mut self, now: Instant, id: ConnectionId, text: &[u8], plane: &mut Plane) {
        let Some(Kind::Post { get }) = self.all.get(&id).map(|connection| &connection.kind) else {
            return;
        };
        let (get, mut bytes) = (*get, Vec::with_capacity(text.len() / 4 * 3 + 3));
        let Some(connection) = self.all.get_mut(&get) else {
            return;
        };
        let decoded = connection.posted.push(text, &mut bytes);
        if let Some(server) = self.server_mut(get) {
            if decoded == Ok(true) {
                server.drop_unfinished();
            }
            server.handle_input(now, &bytes);
        }
        if decoded.is_err() {
            // Nothing that follows means anything.
            plane.push(Output::Close(id));
            plane.push(Output::Close(get));
        }
    }

    pub(crate) fn tunnels_deadline(&self) -> Option<Instant> {
        self.tunnels.next_timeout()
    }

    pub(crate) fn handle_tunnels_timeout(&mut self, now: Instant) -> Vec<ConnectionId> {
        self.tunnels.handle_timeout(now)
    }

    /// Nothing more comes on a connection.
    pub(crate) fn handle_end_of_input(&mut self, now: Instant, id: ConnectionId, plane: &mut Plane) {
        match self.all.get_mut(&id).map(|connection| &mut connection.kind) {
            Some(Kind::Rtsp(server)) => server.handle_end_of_input(now),
            _ => plane.push(Output::Close(id)),
        }
    }

    pub(crate) fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        self.tunnels.handle_closed(&id);
        if let Some(server) = self.server_mut(id) {
            server.handle_closed(now);
        }
    }

    pub(crate) fn shut_down(&mut self, now: Instant, id: ConnectionId) {
        if let Some(server) = self.server_mut(id) {
            server.shut_down(now);
        }
    }

    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.all.remove(&id);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, id: ConnectionId) {
        if let Some(server) = self.server_mut(id) {
            server.handle_timeout(now);
        }
    }

    pub(crate) fn handle_answer(&mut self, now: Instant, answered: Answered) {
        let Answered {
            connection,
            question,
            answer,
        } = answered;
        if let Some(server) = self.server_mut(connection) {
            server.handle_answer(now, question, answer);
        }
    }

    pub(crate) fn carry_out(&mut self, now: Instant, id: ConnectionId, order: Order) {
        let Some(server) = self.server_mut(id) else {
            return;
        };
        match order {
            Order::Alive(session) => server.handle_liveness(now, &session),
            Order::End(session) => server.end(now, &session),
            Order::Answer(question, answer) => server.handle_answer(now, question, *answer),
            // A server's own clients are told by `Alive`.
            Order::Heard => {}
            Order::PlayEnded(session, tracks) => server.handle_play_ended(now, &session, &tracks),
            // One that leaves so many requests without an answer is sent away when its time is over.
            Order::Redirect(session, to) => drop(server.redirect(now, Some(&session), &to, None)),
            Order::Close => server.shut_down(now),
            Order::CloseUnused if server.sessions().next().is_none() => server.shut_down(now),
            Order::CloseUnused => {}
            // It is the hub's, since two connections are in it.
            Order::HandOver(..) => {}
        }
    }

    /// Whether something is asked about a session at its connection that is not carried out yet.
    pub(crate) fn is_busy_with(&self, id: ConnectionId, session: &SessionId) -> bool {
        let server = self.server(id);
        server.is_some_and(|server| server.is_busy_with(session))
    }

    /// Takes a session away from its connection.
    pub(crate) fn release(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: &SessionId,
    ) -> Option<Box<server::Session>> {
        self.server_mut(id)?.release(now, session)
    }

    /// Carries out what a connection's machine wants; gives when it is to be woken.
    pub(crate) fn drain(&mut self, now: Instant, id: ConnectionId, plane: &mut Plane) -> Option<Instant> {
        let connection = self.all.get_mut(&id)?;
        let ends = connection.ends;
        let (Kind::Opening(_, server) | Kind::Rtsp(server)) = &mut connection.kind else {
            return None;
        };
        loop {
            match server.poll_output() {
                server::Output::Transmit(bytes) => plane.push(Output::Transmit {
                    connection: id,
                    bytes,
                }),
                server::Output::Timeout(at) => return at,
                server::Output::Event(Event::Question(question)) => {
                    if let Some(answer) = plane.handle_question(now, (id, ends), question.id, question.ask) {
                        server.handle_answer(now, question.id, answer);
                    }
                }
                server::Output::Event(event) => plane.handle_event(now, id, event),
            }
        }
    }
}

fn peer_of(ends: Ends) -> Peer {
    Peer {
        address: ends.remote.ip().to_canonical(),
        is_secure: ends.is_secure,
    }
}

fn status_of(error: tunnel::TunnelError) -> &'static str {
    match error {
        tunnel::TunnelError::TooMany => "503 Service Unavailable",
        tunnel::TunnelError::Taken => "400 Bad Request",
        tunnel::TunnelError::Unknown => "404 Not Found",
        tunnel::TunnelError::Mixed => "403 Forbidden",
    }
}
