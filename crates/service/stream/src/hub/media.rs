//! Who is sent what next.

use super::plane::Plane;
use super::session::{Outgoing, Path, Session};
use super::{ConnectionId, Event, SessionKey, SocketId};
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a reader's share goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// On a connection: the packets with their heads.
    Interleaved(ConnectionId),
    /// By a socket, each packet a datagram.
    Datagrams {
        /// By which.
        socket: SocketId,
        /// To whom.
        to: SocketAddr,
    },
}

/// What one reader is to have now.
#[derive(Debug, Default)]
pub struct Burst {
    /// Where it goes; `None` before the first.
    pub outlet: Option<Outlet>,
    /// What goes on a connection: packets, each behind its four octets (RFC 2326 §10.12).
    pub interleaved: Bytes,
    /// Datagrams.
    pub datagrams: Arc<[Bytes]>,
    /// How many packets it is, one way or the other.
    pub packets: usize,
}

/// Datagrams that are ready.
#[derive(Debug)]
pub(crate) struct Staged {
    outlet: Outlet,
    datagrams: Arc<[Bytes]>,
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

    pub(crate) fn poll_media(&mut self, now: Instant, burst: &mut super::Burst) -> bool {
        loop {
            if let Some(Staged { outlet, datagrams }) = self.staged.pop_front() {
                *burst = super::Burst {
                    outlet: Some(outlet),
                    packets: datagrams.len(),
                    interleaved: Bytes::new(),
                    datagrams,
                };
                return true;
            }
            if let Some(key) = self.ready.pop_front() {
                if self.stage(now, key, burst) {
                    return true;
                }
                continue;
            }
            let Some(mount) = self.due.pop_front() else {
                return false;
            };
            let readers: Vec<_> = match self.live.get(&mount) {
                Some(live) => live.readers.iter().copied().collect(),
                None => continue,
            };
            readers.into_iter().for_each(|key| self.make_ready(key));
        }
    }

    /// Takes what one reader is to have: into `burst` what goes over its connection, which is said; the rest is staged.
    fn stage(&mut self, now: Instant, key: SessionKey, burst: &mut super::Burst) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else {
            return false;
        };
        let mount = self.names.get(&session.mount);
        let live = mount.and_then(|mount| Some((*mount, self.live.get(mount)?)));
        let (connection, is_interleaved) = (session.connection, session.is_interleaved());
        let (paths, peer, mount) = (&session.paths, session.peer, &session.mount);
        let super::session::Role::Reader(reader) = &mut session.role else {
            return false;
        };
        reader.is_ready = false;
        if reader.is_blocked {
            return false;
        }
        let share = self.shares.take(live, reader, paths);
        reader.sent_packets += share.rtp_packets;
        reader.sent_bytes += share.octets as u64;
        let more = share.octets >= limits::READER_BURST_BYTES;
        for (track, is_rtcp, datagrams) in share.datagrams {
            if let Some(Path::Datagrams(peer) | Path::Group(peer)) = paths.get(&track) {
                let (socket, to) = peer.way(is_rtcp);
                let outlet = Outlet::Datagrams { socket, to };
                self.staged.push_back(Staged { outlet, datagrams });
            }
        }
        let skips = reader.cursor.as_ref().map_or(0, crate::Cursor::skips);
        let told = std::mem::replace(&mut reader.told_skips, skips);
        if skips > told {
            let mount = mount.clone();
            self.tell(Event::Skipped { mount, peer, skips });
        }
        if more {
            self.make_ready(key);
        } else if self.playing_mut(key).is_some() {
            // There is room for what its player held back.
            self.set_timer(super::Timer::Player(key), Some(now));
        }
        if share.octets > 0 && is_interleaved {
            // It takes what it is sent: it is there.
            self.note_alive(now, key);
        }
        let Some(connection) = connection.filter(|_| share.interleaved_packets > 0) else {
            return false;
        };
        *burst = super::Burst {
            outlet: Some(Outlet::Interleaved(connection)),
            interleaved: share.interleaved,
            packets: share.interleaved_packets,
            datagrams: Arc::default(),
        };
        true
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
            .map_or(Vec::new(), |reader| reader.playing.clone());
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
