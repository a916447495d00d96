//! Publishers that go without TEARDOWN: by RTCP's goodbye, or without a word.

use super::plane::Plane;
use super::session::Role;
use super::{SessionKey, Timer};
use ringpost_base::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a publisher whose connection is over may be silent: two of RTCP's reports are five seconds apart, more or less.
pub(crate) const ABANDONED: Duration = Duration::from_secs(10);
/// How long after its goodbyes a publisher ends. One that goes on sending has not meant it.
const LINGERING: Duration = Duration::from_secs(1);
/// What is sent before a goodbye may come after it.
const REORDERED: Duration = Duration::from_millis(500);

/// Which of a publisher's sources have said goodbye, by tracks: their SSRCs, and when.
#[derive(Debug, Default)]
pub(crate) struct Farewells(BTreeMap<usize, (u32, Instant)>);

impl Farewells {
    /// A packet of a track came: another source is a new beginning.
    pub(crate) fn handle_packet(&mut self, now: Instant, track: usize, ssrc: u32) {
        if let Some((gone, said)) = self.0.get(&track)
            && (*gone != ssrc || now.since(*said) > REORDERED)
        {
            self.0.remove(&track);
        }
    }
}

impl Plane {
    /// A source of a publisher's track has said goodbye. When all have, its session ends before long.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.6
    pub(crate) fn handle_goodbye(&mut self, now: Instant, key: SessionKey, track: usize, ssrc: u32) {
        if let Some(session) = self.sessions.get_mut(&key)
            // A server that we pull from is asked anew when it sends nothing.
            && session.id.is_some()
            && let Role::Publisher(publisher) = &mut session.role
            && let Some((_, live)) = self.names.get(&session.mount).and_then(|key| Some((key, self.live.get(key)?)))
            && live.publisher == Some(key)
            && live.description.index_of(track).and_then(|index| live.source_of(index)) == Some(ssrc)
        {
            publisher.farewells.0.insert(track, (ssrc, now));
            self.set_timer(Timer::Departing(key), Some(now + LINGERING));
        }
    }

    /// Whether all that a publisher sent has said goodbye.
    fn has_departed(&self, key: SessionKey) -> bool {
        let Some(session) = self.sessions.get(&key) else {
            return false;
        };
        let (Role::Publisher(publisher), Some((_, live))) = (&session.role, self.live_of(&session.mount))
        else {
            return false;
        };
        let mut tracks = publisher.tracks.keys();
        live.publisher == Some(key)
            && tracks.all(|track| {
                let index = live.description.index_of(*track);
                let is_heard = index.is_some_and(|index| live.source_of(index).is_some());
                !is_heard || publisher.farewells.0.contains_key(track)
            })
    }

    /// A publisher has said goodbye a while ago.
    pub(crate) fn handle_departing_timeout(&mut self, now: Instant, key: SessionKey) {
        if self.has_departed(key) {
            // It is silent with reason.
            self.note_teardown(key);
            self.send_away(now, key);
        }
    }

    /// When a session ends that no connection controls, if nothing more comes from its client.
    pub(crate) fn abandoned_at(&self, now: Instant, key: SessionKey, expires: Instant) -> Instant {
        let is_publisher = self
            .sessions
            .get(&key)
            .is_some_and(|session| session.reader().is_none());
        match is_publisher {
            true => expires.min(now + ABANDONED),
            false => expires,
        }
    }
}
