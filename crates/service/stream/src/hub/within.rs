//! Mounts that the server itself publishes, as it does calls.

use super::plane::Plane;
use super::session::{Publisher, Role, Session};
use super::{Event, Hub, SessionKey};
use crate::description::Description;
use crate::mount::MountName;
use bytes::Bytes;
use ringpost_base::Instant;
use ringpost_rtp::Packet;
use ringpost_rtsp::server::User;
use std::net::{IpAddr, Ipv4Addr};

impl Hub {
    /// A mount is live from now on, published by the server for `user`; `None` where there is no room for another.
    pub fn publish(
        &mut self,
        now: Instant,
        mount: &MountName,
        user: String,
        description: Description,
    ) -> Option<SessionKey> {
        let key = self.plane.publish(now, mount, user, description);
        self.settle_plane(now);
        key
    }

    /// An RTP packet of such a mount's one track. False when it is published no more, since it was ended or taken over.
    pub fn handle_own_packet(&mut self, now: Instant, publisher: SessionKey, packet: Bytes) -> bool {
        let is_taken = self.plane.handle_own_packet(now, publisher, packet);
        self.settle_plane(now);
        is_taken
    }

    /// Such a mount ends now: its recording is closed, and its readers are sent away.
    pub fn unpublish(&mut self, now: Instant, publisher: SessionKey) {
        self.plane.unpublish(now, publisher);
        self.settle_plane(now);
    }
}

impl Plane {
    fn publish(
        &mut self,
        now: Instant,
        mount: &MountName,
        user: String,
        description: Description,
    ) -> Option<SessionKey> {
        let has_room = self.names.contains_key(mount) || self.live.len() < self.config.mounts;
        if !has_room || self.is_pulled(mount) {
            return None;
        }
        let key = SessionKey(self.next_number());
        let session = Session {
            id: None,
            source: None,
            connection: None,
            mount: mount.clone(),
            user: Some(User {
                name: user.clone(),
                holder: 0,
                mark: None,
                realm: None,
            }),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            began: now,
            paths: Default::default(),
            role: Role::Publisher(Publisher {
                is_recording: true,
                ..Publisher::default()
            }),
            alive: now,
        };
        let peer = session.peer;
        self.sessions.insert(key, session);
        self.go_live(now, key, mount, description);
        self.tell(Event::Published {
            session: key,
            mount: mount.clone(),
            user: Some(user),
            peer,
            quirks: Vec::new(),
        });
        Some(key)
    }

    fn handle_own_packet(&mut self, now: Instant, key: SessionKey, packet: Bytes) -> bool {
        let mount = self.sessions.get(&key).map(|session| &session.mount);
        let mount = mount.and_then(|mount| self.names.get(mount)).copied();
        let Some((mount, live)) = mount.and_then(|mount| Some((mount, self.live.get_mut(&mount)?))) else {
            return false;
        };
        if live.publisher != Some(key) {
            return false;
        }
        if Packet::parse(&packet).is_ok() {
            live.handle_packet(now, 0, packet);
            self.flush_listeners(mount);
            self.flush_recorder(now, mount);
            self.set_mount_timer(mount);
        }
        true
    }

    fn unpublish(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let name = session.mount.clone();
        let mount = self.live_of(&name);
        let mount = mount
            .filter(|(_, live)| live.publisher == Some(key))
            .map(|(mount, _)| mount);
        self.watch_no_more(&name);
        self.end_session(now, key);
        // Whoever reads has heard the end, and nobody else will publish it.
        if let Some(mount) = mount {
            self.remove_mount(now, mount);
        }
    }
}
