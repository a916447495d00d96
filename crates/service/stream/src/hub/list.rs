//! Who reads what, for lists.

use super::SessionKey;
use super::plane::{MountInfo, Plane, SessionInfo};
use super::session::{Path, Role, Session};
use crate::mount::MountName;
use ringpost_base::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

impl Plane {
    /// The sessions that have begun to read, by their mounts.
    pub(crate) fn readers(&self, now: Instant) -> BTreeMap<MountName, Vec<SessionInfo>> {
        let mut readers: BTreeMap<MountName, Vec<SessionInfo>> = BTreeMap::new();
        for (key, session) in &self.sessions {
            if self.groups.is_sender(&session.mount, *key) {
                continue;
            }
            let is_member = self.groups.is_member(&session.mount, *key);
            let has_begun = session.reader().is_some_and(|reader| {
                reader.cursor.is_some() || reader.left.is_some() || reader.played.is_some()
            });
            if let Some(info) = self.info_of(now, *key).filter(|_| has_begun || is_member) {
                readers.entry(session.mount.clone()).or_default().push(info);
            }
        }
        for of in readers.values_mut() {
            of.sort_by_key(|info| info.key);
        }
        readers
    }

    /// Mounts that are not live and of which these sessions read files or recordings.
    pub(crate) fn played_mounts(&self, readers: BTreeMap<MountName, Vec<SessionInfo>>) -> Vec<MountInfo> {
        let infos = readers.into_iter().map(|(name, readers)| {
            let first = readers.first().and_then(|info| self.sessions.get(&info.key));
            let played = first
                .and_then(Session::reader)
                .and_then(|reader| reader.played.as_ref());
            let description = played.map(|played| played.player.timeline().description(""));
            let tracks = description.into_iter().flat_map(|description| description.tracks);
            MountInfo {
                name,
                encodings: tracks.map(|track| track.codec().name.to_string()).collect(),
                is_live: false,
                publisher: None,
                readers,
                recording: None,
                group: None,
                received_bytes: 0,
                lost_packets: 0,
                silent_for: Duration::ZERO,
            }
        });
        infos.collect()
    }

    pub(crate) fn info_of(&self, now: Instant, key: SessionKey) -> Option<SessionInfo> {
        let session = self.sessions.get(&key)?;
        let reader = session.reader();
        Some(SessionInfo {
            key,
            user: session.user_name(),
            peer: session.peer,
            source: session.source.clone(),
            is_interleaved: session.is_interleaved(),
            is_in_group: session.paths.values().any(Path::is_in_group),
            lasted: now.since(session.began),
            received_bytes: match &session.role {
                Role::Reader(_) => 0,
                Role::Publisher(publisher) => publisher.received_bytes,
            },
            sent_packets: reader.map_or(0, |reader| reader.sent_packets),
            sent_bytes: reader.map_or(0, |reader| reader.sent_bytes),
            skipped_packets: reader.map_or(0, |reader| reader.skipped_packets()),
        })
    }
}
