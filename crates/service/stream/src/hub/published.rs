//! What publishers send, and RTCP both ways.

use super::ConnectionId;
use super::plane::Plane;
use super::session::{Path, Role};
use super::{Event, Output, SessionKey, Timer};
use bytes::Bytes;
use ringpost_base::Instant;
use ringpost_rtp::rtcp::{Compound, RtcpPacket};
use ringpost_rtp::{Packet, Received};
use ringpost_rtsp::interleaved_head;
use std::net::SocketAddr;

impl Plane {
    pub(crate) fn handle_published(&mut self, now: Instant, key: SessionKey, track: usize, data: Bytes) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let from = SocketAddr::new(session.peer, 0);
        let Role::Publisher(publisher) = &mut session.role else {
            return;
        };
        let Ok(packet) = Packet::parse(&data) else { return };
        let Some(rtp) = publisher
            .tracks
            .get_mut(&track)
            .filter(|_| publisher.is_recording)
        else {
            return;
        };
        // What is far from the others may begin anew, and is held until it shows.
        let is_taken = matches!(
            rtp.handle_rtp(now, from, &packet),
            Received::Probation | Received::Valid { .. } | Received::Stray
        );
        let payload_type = packet.payload_type();
        publisher.farewells.handle_packet(now, track, packet.ssrc());
        let name = session.mount.clone();
        self.flush_rtcp(now, key, track);
        let Some(mount) = self.names.get(&name).copied().filter(|_| is_taken) else {
            return;
        };
        let Some(live) = self.live.get_mut(&mount) else {
            return;
        };
        let index = live.description.index_of(track);
        let index = index.filter(|index| live.description.tracks[*index].carries(payload_type));
        if let Some(index) = index.filter(|_| live.publisher == Some(key)) {
            if let Some(Role::Publisher(publisher)) = self.sessions.get_mut(&key).map(|of| &mut of.role) {
                publisher.received_bytes += data.len() as u64;
            }
            live.handle_packet(now, index, data);
            let adrift = live.take_adrift();
            for track in adrift {
                let mount = name.clone();
                self.tell(Event::Adrift { mount, track });
            }
            self.flush_listeners(mount);
            self.flush_recorder(now, mount);
            self.set_mount_timer(mount);
        }
    }

    pub(crate) fn handle_publisher_rtcp(&mut self, now: Instant, key: SessionKey, track: usize, data: &[u8]) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let from = SocketAddr::new(session.peer, 0);
        let Role::Publisher(publisher) = &mut session.role else {
            return;
        };
        let Some(rtp) = publisher.tracks.get_mut(&track) else {
            return;
        };
        let (is_read, mount) = (rtp.handle_rtcp(now, from, data).is_ok(), session.mount.clone());
        self.flush_rtcp(now, key, track);
        let (Ok(compound), true) = (Compound::parse(data, true), is_read) else {
            return;
        };
        let Some(live) = self.names.get(&mount).and_then(|key| self.live.get_mut(key)) else {
            return;
        };
        let mut gone = Vec::new();
        for packet in compound.iter() {
            match packet {
                RtcpPacket::SenderReport { ssrc, info, .. } if live.publisher == Some(key) => {
                    if let Some(index) = live.description.index_of(track) {
                        live.handle_report(now, index, ssrc, info);
                    }
                }
                RtcpPacket::Bye { sources, .. } => gone.extend(sources.iter()),
                _ => {}
            }
        }
        for ssrc in gone {
            self.handle_goodbye(now, key, track, ssrc);
        }
    }

    /// Sends what a publisher's RTP session wants sent, and sets its timer.
    pub(crate) fn flush_rtcp(&mut self, now: Instant, key: SessionKey, track: usize) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let (path, connection) = (session.paths.get(track).copied(), session.connection);
        let Role::Publisher(publisher) = &mut session.role else {
            return;
        };
        let Some(rtp) = publisher.tracks.get_mut(&track) else {
            return;
        };
        let mut reports = Vec::new();
        let deadline = loop {
            match rtp.poll_output() {
                ringpost_rtp::Output::Transmit(bytes) => reports.push(Bytes::from(bytes)),
                ringpost_rtp::Output::Event(_) => {}
                ringpost_rtp::Output::Timeout(at) => break at,
            }
        };
        for bytes in reports {
            self.send_rtcp(path, connection, bytes);
        }
        self.set_timer(Timer::Rtcp(key, track), deadline.map(|at| at.max(now)));
    }

    pub(crate) fn send_rtcp(&mut self, path: Option<Path>, connection: Option<ConnectionId>, bytes: Bytes) {
        match (path, connection) {
            (Some(Path::Datagrams(peer) | Path::Group(peer)), _) => {
                let (socket, to) = peer.way(true);
                self.push(Output::Datagram { socket, to, bytes });
            }
            (Some(Path::Interleaved { rtcp, .. }), Some(connection)) => {
                let mut packet = interleaved_head(rtcp, bytes.len()).to_vec();
                packet.extend_from_slice(&bytes);
                let bytes = packet.into();
                self.push(Output::Transmit { connection, bytes });
            }
            _ => {}
        }
    }

    pub(crate) fn handle_rtcp_timeout(&mut self, now: Instant, key: SessionKey, track: usize) {
        if let Some(session) = self.sessions.get_mut(&key)
            && let Role::Publisher(publisher) = &mut session.role
            && let Some(rtp) = publisher.tracks.get_mut(&track)
        {
            rtp.handle_timeout(now);
            self.flush_rtcp(now, key, track);
        }
    }

    /// Reports of a reader: a sign of life; one who asks for a key picture has the publisher asked.
    pub(crate) fn handle_reader_rtcp(&mut self, now: Instant, key: SessionKey, data: &[u8]) {
        let (Some(session), Ok(compound)) = (self.sessions.get(&key), Compound::parse(data, true)) else {
            return;
        };
        let Some(live) = self
            .names
            .get(&session.mount)
            .and_then(|mount| self.live.get(mount))
        else {
            return;
        };
        let asked = compound.iter().filter_map(|packet| match packet {
            RtcpPacket::Feedback(feedback) => {
                feedback.key_frame_requests().find_map(|ssrc| live.track_of(ssrc))
            }
            _ => None,
        });
        let (asked, publisher): (Vec<usize>, _) = (asked.collect(), live.publisher);
        for track in asked {
            self.request_key_picture(now, publisher, track);
        }
    }

    pub(crate) fn request_key_picture(&mut self, now: Instant, publisher: Option<SessionKey>, track: usize) {
        let Some(key) = publisher else { return };
        let source = self.sessions.get(&key).and_then(|session| {
            let live = self
                .names
                .get(&session.mount)
                .and_then(|mount| self.live.get(mount))?;
            Some((live.source_of(track)?, live.description.tracks.get(track)?.place))
        });
        if let Some((ssrc, track)) = source
            && let Some(session) = self.sessions.get_mut(&key)
            && let Role::Publisher(publisher) = &mut session.role
            && let Some(rtp) = publisher.tracks.get_mut(&track)
        {
            rtp.request_key_frame(now, ssrc);
            self.flush_rtcp(now, key, track);
        }
    }
}
