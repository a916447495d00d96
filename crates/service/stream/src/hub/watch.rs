//! Mounts that fall silent: their owners are told.

use super::plane::Plane;
use super::{Ask, Timer};
use crate::mount::MountName;
use ringpost_base::{Instant, UnixTime, limits};
use std::time::Duration;

/// A mount whose owner wants to know when it falls silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// When anything came last.
    heard: Instant,
    /// The owner was told that nothing comes.
    is_told: bool,
    /// Its publisher has said goodbye: it is silent with reason until it is published again.
    has_left: bool,
    /// How long it may be silent.
    patience: Duration,
}

/// How soon after a mount is heard again its owner is told so, at most.
const LOOK: Duration = Duration::from_secs(5);

impl Plane {
    /// A mount is live from now on: it is watched, if that is wanted.
    pub(crate) fn watch(&mut self, now: Instant, mount: &MountName) {
        let Some(patience) = self.config.settings_of(mount).silence else {
            self.watched.remove(mount);
            return;
        };
        if !self.watched.contains_key(mount) && self.watched.len() >= limits::MOUNTS_WATCHED {
            // Of those that have left, the one that is not heard again for the longest makes room.
            let left = self.watched.iter().filter(|(_, watched)| watched.has_left);
            let Some(longest) = left
                .min_by_key(|(_, left)| left.heard)
                .map(|(left, _)| left.clone())
            else {
                return;
            };
            self.watched.remove(&longest);
        }
        // Who comes back and brings nothing has not ended the silence.
        let before = self.watched.get(mount);
        let watched = Watched {
            heard: before.map_or(now, |watched| watched.heard),
            is_told: before.is_some_and(|watched| watched.is_told),
            has_left: false,
            patience,
        };
        self.watched.insert(mount.clone(), watched);
        self.set_timer(Timer::Watch, Some(now + patience.min(LOOK)));
    }

    /// Its publisher is gone, and may come back: it is silent since it was heard last.
    pub(crate) fn watch_on(&mut self, mount: &MountName, heard: Instant) {
        if let Some(watched) = self.watched.get_mut(mount).filter(|watched| !watched.has_left) {
            watched.heard = watched.heard.max(heard);
        }
    }

    /// Its publisher has ended it on purpose: it is silent with reason. An owner who was told that it is silent is still to be told
    /// when it is heard again.
    pub(crate) fn watch_no_more(&mut self, mount: &MountName) {
        match self.watched.get_mut(mount) {
            Some(watched) if watched.is_told => watched.has_left = true,
            _ => drop(self.watched.remove(mount)),
        }
    }

    /// Looks which mounts have fallen silent, and which are heard again.
    pub(crate) fn handle_watch_timeout(&mut self, now: Instant) {
        let wallclock = self.wallclock(now);
        let mut told: Vec<(MountName, Option<UnixTime>)> = Vec::new();
        for (mount, watched) in self.watched.iter_mut().filter(|(_, watched)| !watched.has_left) {
            let live = self.names.get(mount).and_then(|key| self.live.get(key));
            if let Some(live) = live.filter(|live| live.publisher.is_some() && live.received_bytes > 0) {
                watched.heard = watched.heard.max(live.heard);
            }
            let silent = now.since(watched.heard);
            let is_silent = silent >= watched.patience;
            if is_silent != watched.is_told {
                watched.is_told = is_silent;
                let since =
                    UnixTime::from_nanos(wallclock.as_nanos().saturating_sub(silent.as_nanos() as u64));
                told.push((mount.clone(), is_silent.then_some(since)));
            }
        }
        for (mount, silent_since) in told {
            self.ask_about(Ask::Tell { mount, silent_since });
        }
        let next = (!self.watched.is_empty()).then(|| now + LOOK);
        self.set_timer(Timer::Watch, next);
    }
}
