//! Who is sent what next.

use super::plane::Plane;
use super::session::{Path, Session};
use super::{ConnectionId, Event, SessionKey, SocketId};
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use ringpost_rtsp::interleaved_head;
use std::net::SocketAddr;

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
    /// The packets, which all readers share, and the four octets before each within a connection (RFC 2326 §10.12).
    pub packets: Vec<([u8; 4], Bytes)>,
}

/// A share that is ready.
#[derive(Debug)]
pub(crate) struct Staged {
    outlet: Outlet,
    packets: Vec<([u8; 4], Bytes)>,
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
            if let Some(staged) = self.staged.pop_front() {
                burst.outlet = Some(staged.outlet);
                burst.packets = staged.packets;
                return true;
            }
            if let Some(key) = self.ready.pop_front() {
                burst.packets.clear();
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

    /// Takes what one reader is to have: into `burst` what goes over its connection, the rest is staged.
    fn stage(&mut self, now: Instant, key: SessionKey, burst: &mut super::Burst) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else {
            return false;
        };
        let live = self
            .names
            .get(&session.mount)
            .and_then(|mount| self.live.get(mount));
        let (connection, is_interleaved) = (session.connection, session.is_interleaved());
        let (paths, peer, mount) = (&session.paths, session.peer, &session.mount);
        let super::session::Role::Reader(reader) = &mut session.role else {
            return false;
        };
        reader.is_ready = false;
        if reader.is_blocked {
            return false;
        }
        let mut ways = Ways::default();
        let mut octets = 0;
        while octets < limits::READER_BURST_BYTES {
            let (track, is_rtcp, bytes) = match reader.ahead.pop_front() {
                Some(ahead) => (ahead.track, ahead.is_rtcp, ahead.bytes),
                None => {
                    let (Some(live), Some(cursor)) = (live, &mut reader.cursor) else {
                        break;
                    };
                    let Some(packet) = live.read(cursor) else { break };
                    (usize::from(packet.track), packet.is_rtcp, packet.bytes.clone())
                }
            };
            let Some(path) = paths.get(&track).filter(|_| reader.playing.contains(&track)) else {
                continue;
            };
            octets += bytes.len();
            reader.sent_packets += u64::from(!is_rtcp);
            match path {
                Path::Interleaved { rtp, rtcp } => {
                    let channel = if is_rtcp { *rtcp } else { *rtp };
                    // Packets come in datagrams or interleaved ones, and go out no longer than they came.
                    burst
                        .packets
                        .push((interleaved_head(channel, bytes.len()), bytes));
                }
                Path::Datagrams(peer) => ways.push(peer.way(is_rtcp), bytes),
            }
        }
        reader.sent_bytes += octets as u64;
        let more = octets >= limits::READER_BURST_BYTES;
        let skips = reader.cursor.as_ref().map_or(0, crate::Cursor::skips);
        let told = std::mem::replace(&mut reader.told_skips, skips);
        if skips > told {
            let mount = mount.clone();
            self.tell(Event::Skipped { mount, peer, skips });
        }
        self.staged.extend(ways.0);
        if more {
            self.make_ready(key);
        } else if self.playing_mut(key).is_some() {
            // There is room for what its player held back.
            self.set_timer(super::Timer::Player(key), Some(now));
        }
        if octets > 0 && is_interleaved {
            // It takes what it is sent: it is there.
            self.note_alive(now, key);
        }
        match (connection, burst.packets.is_empty()) {
            (Some(connection), false) => {
                burst.outlet = Some(Outlet::Interleaved(connection));
                true
            }
            _ => match self.staged.pop_front() {
                Some(staged) => {
                    (burst.outlet, burst.packets) = (Some(staged.outlet), staged.packets);
                    true
                }
                None => false,
            },
        }
    }
}

/// Datagrams by where they go: few, mostly RTP of one or two tracks.
#[derive(Default)]
struct Ways(Vec<Staged>);

impl Ways {
    fn push(&mut self, (socket, to): (SocketId, SocketAddr), bytes: Bytes) {
        let outlet = Outlet::Datagrams { socket, to };
        match self.0.iter_mut().find(|staged| staged.outlet == outlet) {
            Some(staged) => staged.packets.push(([0; 4], bytes)),
            None => self.0.push(Staged {
                outlet,
                packets: vec![([0; 4], bytes)],
            }),
        }
    }
}
