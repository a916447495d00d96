//! The sessions of readers and publishers, and the ways of their packets.

use super::paths::{Paths, Tracks};
use super::recorded::asks_for_recorded;
use super::subject::Subject;
use super::{ConnectionId, PairId, SocketId};
use crate::mount::MountName;
use crate::ring::Cursor;
use bytes::Bytes;
use ringpost_base::Instant;
use ringpost_rtsp::server::{Place, SessionId, User};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// A session of a reader or a publisher.
#[derive(Debug)]
pub(crate) struct Session {
    /// What its client knows it by; `None` where we are the client.
    pub(crate) id: Option<SessionId>,
    /// Where we pull it from, without credentials.
    pub(crate) source: Option<String>,
    /// The connection that it is controlled by now; `None` while none is.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) mount: MountName,
    pub(crate) user: Option<User>,
    /// Who it began with.
    pub(crate) peer: IpAddr,
    pub(crate) began: Instant,
    pub(crate) paths: Paths,
    pub(crate) role: Role,
    /// When its machine was told last that its client is there.
    pub(crate) alive: Instant,
}

#[derive(Debug)]
pub(crate) enum Role {
    Reader(Box<Reader>),
    Publisher(Publisher),
}

/// One who reads.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Where it is in its mount's ring; `None` while it does not play.
    pub(crate) cursor: Option<Cursor>,
    /// Where it was when it stopped to play what is live.
    pub(crate) left: Option<Cursor>,
    /// What it was set up for, whose tracks it knows.
    pub(crate) subject: Subject,
    /// That was asked for as what was recorded.
    pub(crate) is_of_recorded: bool,
    /// The tracks that play.
    pub(crate) playing: Tracks,
    /// What is sent to it before anything of the ring: reports, goodbyes.
    pub(crate) ahead: VecDeque<Outgoing>,
    /// It waits in the line of those that are served.
    pub(crate) is_ready: bool,
    /// Its connection takes no more for now.
    pub(crate) is_blocked: bool,
    /// What it plays that is not live.
    pub(crate) played: Option<Box<super::vod::Playing>>,
    pub(crate) sent_packets: u64,
    pub(crate) sent_bytes: u64,
    /// The skips that were logged.
    pub(crate) told_skips: u64,
}

/// A packet for one reader.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) track: usize,
    pub(crate) is_rtcp: bool,
    pub(crate) bytes: Bytes,
}

/// One who publishes: an RTP session for each track.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    pub(crate) tracks: BTreeMap<usize, ringpost_rtp::Session>,
    pub(crate) is_recording: bool,
    /// Octets of its packets that were taken.
    pub(crate) received_bytes: u64,
    pub(crate) farewells: super::farewell::Farewells,
}

/// How the packets of a track go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path {
    /// Within the connection, on these channels.
    Interleaved { rtp: u8, rtcp: u8 },
    /// Over a pair of sockets of our own.
    Datagrams(Peer),
    /// To the mount's group: the way of its sender, over sockets that are the group's.
    Group(Peer),
    /// By the mount's group, whose sender sends it.
    InGroup,
}

/// The other end of a pair of sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) pair: PairId,
    pub(crate) rtp: SocketAddr,
    pub(crate) rtcp: SocketAddr,
    /// Whether a packet has shown where its RTP and its RTCP really come from.
    pub(crate) has_shown_rtp: bool,
    pub(crate) has_shown_rtcp: bool,
}

impl Peer {
    /// A datagram came from `from`: whether it is of this peer. The first one from the address that the session belongs to
    /// shows the port that a translator has given it; from then on none other is taken.
    // Guards pitfall RTSP 6.
    pub(crate) fn is_from(&mut self, address: IpAddr, from: SocketAddr, is_rtcp: bool) -> bool {
        let (known, has_shown) = match is_rtcp {
            true => (&mut self.rtcp, &mut self.has_shown_rtcp),
            false => (&mut self.rtp, &mut self.has_shown_rtp),
        };
        if from.ip().to_canonical() != address.to_canonical() {
            return false;
        }
        if !std::mem::replace(has_shown, true) {
            *known = from;
        }
        *known == from
    }

    /// Where packets go, and by which socket.
    pub(crate) fn way(&self, is_rtcp: bool) -> (SocketId, SocketAddr) {
        let socket = SocketId {
            pair: self.pair,
            is_rtcp,
        };
        (socket, if is_rtcp { self.rtcp } else { self.rtp })
    }
}

impl Session {
    /// The name of who it is, as it is listed.
    pub(crate) fn user_name(&self) -> Option<String> {
        self.user.as_ref().map(|user| user.name.clone())
    }

    pub(crate) fn reader(&self) -> Option<&Reader> {
        match &self.role {
            Role::Reader(reader) => Some(reader),
            Role::Publisher(_) => None,
        }
    }

    pub(crate) fn reader_mut(&mut self) -> Option<&mut Reader> {
        match &mut self.role {
            Role::Reader(reader) => Some(reader),
            Role::Publisher(_) => None,
        }
    }

    pub(crate) fn is_interleaved(&self) -> bool {
        self.paths
            .values()
            .any(|path| matches!(path, Path::Interleaved { .. }))
    }
}

impl Reader {
    pub(crate) fn new(subject: Subject) -> Self {
        Reader {
            cursor: None,
            left: None,
            subject,
            is_of_recorded: false,
            playing: Tracks::default(),
            ahead: VecDeque::new(),
            is_ready: false,
            is_blocked: false,
            played: None,
            sent_packets: 0,
            sent_bytes: 0,
            told_skips: 0,
        }
    }

    /// One of this place.
    pub(crate) fn of(place: &Place, subject: Subject) -> Self {
        Reader {
            is_of_recorded: asks_for_recorded(place.query.as_deref()),
            ..Reader::new(subject)
        }
    }

    /// Packets that passed it by, since it was too slow.
    pub(crate) fn skipped_packets(&self) -> u64 {
        let cursor = self.cursor.as_ref().or(self.left.as_ref());
        cursor.map_or(0, Cursor::skipped_packets)
    }
}

impl Path {
    pub(crate) fn pair(&self) -> Option<PairId> {
        match self {
            Path::Interleaved { .. } | Path::Group(_) | Path::InGroup => None,
            Path::Datagrams(peer) => Some(peer.pair),
        }
    }

    pub(crate) fn is_in_group(&self) -> bool {
        matches!(self, Path::InGroup)
    }
}
