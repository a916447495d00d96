//! Who is sent what next.

use super::plane::{ALIVE, Plane};
use super::session::{Outgoing, Path, Session};
use super::{ConnectionId, Event, MountKey, SessionKey, SocketId};
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use std::net::SocketAddr;
use std::sync::Arc;

/// Connections that are handed the same octets at a time.
const LEVEL: usize = 64;

/// How shares go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// On connections: the packets with their heads.
    Interleaved,
    /// By a socket, each packet a datagram.
    Datagrams {
        /// By which.
        socket: SocketId,
        /// To whom.
        to: SocketAddr,
    },
}

/// What one reader is to have now, or several that are level with each other.
#[derive(Debug, Default)]
pub struct Burst {
    /// How it goes; `None` before the first.
    pub outlet: Option<Outlet>,
    /// On which connections, each of which gets all of `interleaved`; none where it goes as datagrams.
    pub connections: Vec<ConnectionId>,
    /// What goes on each connection: packets, each behind its four octets (RFC 2326 §10.12).
    pub interleaved: Bytes,
    /// Datagrams.
    pub datagrams: Arc<[Bytes]>,
    /// How many packets each of them has, one way or the other.
    pub packets: usize,
}

/// Datagrams that are ready.
#[derive(Debug)]
pub(crate) struct Staged {
    outlet: Outlet,
    datagrams: Arc<[Bytes]>,
}

/// What is ready for one connection.
#[derive(Debug)]
pub(crate) struct Piece {
    connection: ConnectionId,
    interleaved: Bytes,
    packets: usize,
}

impl Plane {
    /// Puts a reader into the line of those that are served.
    pub(crate) fn make_ready(&mut self, key: SessionKey) {
        let Some(reader) = self.sessions.get_mut(&key).and_then(Session::reader_mut) else {
            return;
        };
        if !reader.is_ready && !reader.is_blocked {
            reader.is_ready = true;
            self.ready.push_back(key);
        }
    }

    /// The readers over a connection get nothing more for now.
    pub(crate) fn block(&mut self, connection: ConnectionId) {
        for key in self.by_connection.get(&connection).into_iter().flatten() {
            if let Some(session) = self.sessions.get_mut(key)
                && session.is_interleaved()
                && let Some(reader) = session.reader_mut()
            {
                reader.is_blocked = true;
            }
        }
    }

    /// They do again.
    pub(crate) fn unblock(&mut self, connection: ConnectionId) {
        let keys: Vec<_> = self
            .by_connection
            .get(&connection)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for key in keys {
            if let Some(reader) = self.sessions.get_mut(&key).and_then(Session::reader_mut) {
                reader.is_blocked = false;
                self.make_ready(key);
            }
        }
    }

    pub(crate) fn poll_media(&mut self, now: Instant, burst: &mut Burst) -> bool {
        let connections = std::mem::take(&mut burst.connections);
        *burst = Burst {
            connections,
            ..Burst::default()
        };
        burst.connections.clear();
        while burst.connections.len() + self.staged.len() < LEVEL {
            let is_first = burst.connections.is_empty();
            let Some(piece) = self.next_piece(now, is_first) else {
                break;
            };
            if is_first {
                burst.outlet = Some(Outlet::Interleaved);
                burst.interleaved = piece.interleaved;
                burst.packets = piece.packets;
            } else if !is_same(&burst.interleaved, &piece.interleaved) {
                self.held_over = Some(piece);
                break;
            }
            burst.connections.push(piece.connection);
        }
        if burst.outlet.is_none()
            && let Some(Staged { outlet, datagrams }) = self.staged.pop_front()
        {
            burst.outlet = Some(outlet);
            burst.packets = datagrams.len();
            burst.datagrams = datagrams;
        }
        burst.outlet.is_some()
    }

    /// What the next reader is to have on its connection. Those that come before it and get datagrams have them staged; there
    /// is nothing more when so many are. Who has had a share has its next only as the `is_first` of a burst, when it is known
    /// whether its connection took that one.
    fn next_piece(&mut self, now: Instant, is_first: bool) -> Option<Piece> {
        if let Some(piece) = self.held_over.take() {
            return Some(piece);
        }
        while self.staged.len() < LEVEL {
            while self.picked.is_empty() && !self.serving.is_empty() {
                self.pick();
            }
            let next = match self.picked.pop() {
                Some((mount, key)) => Some((Some(mount), key)),
                None if !is_first => return None,
                None => self.ready.pop_front().map(|key| (None, key)),
            };
            if let Some((mount, key)) = next {
                match self.stage(now, mount, key) {
                    Some(piece) => return Some(piece),
                    None => continue,
                }
            }
            let mount = self.due.pop_front()?;
            if let Some(live) = self.live.get(&mount) {
                let readers = live.readers().iter().rev();
                self.serving.extend(readers.map(|key| (mount, *key)));
            }
        }
        None
    }

    /// Picks the next readers of a mount that is due, without those that can take nothing. What is known of each lies somewhere
    /// else in memory; looked at one after the other, and not between two shares, it is fetched for many at once.
    fn pick(&mut self) {
        let first = self.serving.len().saturating_sub(LEVEL);
        let sessions = &self.sessions;
        let takes = |key: &SessionKey| {
            let reader = sessions.get(key).and_then(Session::reader);
            reader.is_some_and(|reader| !reader.is_blocked && reader.cursor.is_some())
        };
        let next = self.serving.drain(first..).filter(|(_, key)| takes(key));
        self.picked.extend(next);
    }

    /// Takes what one reader, of a mount that is known or not, is to have: gives what goes over its connection; the rest is
    /// staged.
    fn stage(&mut self, now: Instant, mount: Option<MountKey>, key: SessionKey) -> Option<Piece> {
        let session = self.sessions.get_mut(&key)?;
        let mount = mount.or_else(|| self.names.get(&session.mount).copied());
        let live = mount.and_then(|mount| Some((mount, self.live.get(&mount)?)));
        let (paths, peer) = (&session.paths, session.peer);
        let super::session::Role::Reader(reader) = &mut session.role else {
            return None;
        };
        reader.is_ready = false;
        if reader.is_blocked {
            return None;
        }
        let share = self.shares.take(live, reader, paths);
        reader.sent_packets += share.rtp_packets;
        reader.sent_bytes += share.octets as u64;
        let has_more = share.octets >= limits::READER_BURST_BYTES;
        let is_played = reader.played.is_some();
        for (track, is_rtcp, datagrams) in share.datagrams {
            if let Some(Path::Datagrams(peer) | Path::Group(peer)) = paths.get(track) {
                let (socket, to) = peer.way(is_rtcp);
                let outlet = Outlet::Datagrams { socket, to };
                self.staged.push_back(Staged { outlet, datagrams });
            }
        }
        let connection = session.connection.filter(|_| share.interleaved_packets > 0);
        // It takes what it is sent: it is there.
        let is_alive = connection.is_some() && now.since(session.alive) >= ALIVE;
        let skips = reader.cursor.as_ref().map_or(0, crate::Cursor::skips);
        let told = std::mem::replace(&mut reader.told_skips, skips);
        if skips > told {
            let mount = session.mount.clone();
            self.tell(Event::Skipped {
                session: key,
                mount,
                peer,
                skips,
            });
        }
        if has_more {
            self.make_ready(key);
        } else if is_played {
            // There is room for what its player held back.
            self.set_timer(super::Timer::Player(key), Some(now));
        }
        if is_alive {
            self.note_alive(now, key);
        }
        Some(Piece {
            connection: connection?,
            interleaved: share.interleaved,
            packets: share.interleaved_packets,
        })
    }

    /// Puts a report of a track before what a reader gets next.
    pub(crate) fn report_first(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let Some(live) = self
            .names
            .get(&session.mount)
            .and_then(|mount| self.live.get(mount))
        else {
            return;
        };
        let tracks: Vec<usize> = session
            .reader()
            .map_or(Vec::new(), |reader| reader.playing.list());
        let Some(reader) = session.reader_mut() else {
            return;
        };
        for track in tracks {
            if let Some(bytes) = live.report_of(now, track) {
                let is_rtcp = true;
                reader.ahead.push_back(Outgoing {
                    track,
                    is_rtcp,
                    bytes,
                });
            }
        }
    }
}

/// Whether these are the very same octets, not only alike.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}
