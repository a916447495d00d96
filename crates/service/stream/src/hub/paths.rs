//! The tracks of a session and the ways of their packets, so that it is quickly seen who gets the same octets: each reader
//! is compared with the share that was made last, each time.

use super::session::{Path, Peer};
use ringpost_base::limits;
use std::collections::BTreeMap;
use std::collections::btree_map;

/// Tracks of a mount, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tracks(u32);

const _: () = assert!(limits::MOUNT_TRACKS <= u32::BITS as usize);

impl Tracks {
    pub(crate) fn contains(self, track: usize) -> bool {
        track < limits::MOUNT_TRACKS && self.0 & 1 << track != 0
    }

    /// Adds one; no mount has a track beyond [`limits::MOUNT_TRACKS`].
    pub(crate) fn insert(&mut self, track: usize) {
        if track < limits::MOUNT_TRACKS {
            self.0 |= 1 << track;
        }
    }

    pub(crate) fn remove(&mut self, track: usize) {
        if track < limits::MOUNT_TRACKS {
            self.0 &= !(1 << track);
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their numbers, ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..limits::MOUNT_TRACKS).filter(move |track| self.contains(*track))
    }

    /// The same as a list.
    pub(crate) fn list(self) -> Vec<usize> {
        self.iter().collect()
    }
}

impl Extend<usize> for Tracks {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, tracks: I) {
        tracks.into_iter().for_each(|track| self.insert(track));
    }
}

/// The ways of a session's tracks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    by_track: BTreeMap<usize, Path>,
    looks: Looks,
}

/// How packets look on their ways, each track's: datagrams look the same wherever they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looks([u32; limits::MOUNT_TRACKS]);

const DATAGRAMS: u32 = 1;
const IN_GROUP: u32 = 2;
const INTERLEAVED: u32 = 1 << 16;

impl Paths {
    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    pub(crate) fn get(&self, track: usize) -> Option<&Path> {
        self.by_track.get(&track)
    }

    /// The other end of the sockets of a track that has some of its own.
    pub(crate) fn peer_mut(&mut self, track: usize) -> Option<&mut Peer> {
        match self.by_track.get_mut(&track) {
            Some(Path::Datagrams(peer)) => Some(peer),
            _ => None,
        }
    }

    /// Sets the way of a track; gives the one before.
    pub(crate) fn insert(&mut self, track: usize, path: Path) -> Option<Path> {
        if let Some(look) = self.looks.0.get_mut(track) {
            *look = match path {
                Path::Interleaved { rtp, rtcp } => INTERLEAVED | u32::from(rtp) << 8 | u32::from(rtcp),
                Path::Datagrams(_) | Path::Group(_) => DATAGRAMS,
                Path::InGroup => IN_GROUP,
            };
        }
        self.by_track.insert(track, path)
    }

    pub(crate) fn remove(&mut self, track: usize) -> Option<Path> {
        if let Some(look) = self.looks.0.get_mut(track) {
            *look = 0;
        }
        self.by_track.remove(&track)
    }

    pub(crate) fn iter(&self) -> btree_map::Iter<'_, usize, Path> {
        self.by_track.iter()
    }

    pub(crate) fn values(&self) -> btree_map::Values<'_, usize, Path> {
        self.by_track.values()
    }
}

impl FromIterator<(usize, Path)> for Paths {
    fn from_iter<I: IntoIterator<Item = (usize, Path)>>(paths: I) -> Self {
        let mut all = Paths::default();
        for (track, path) in paths {
            all.insert(track, path);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_a_set() {
        let mut tracks = Tracks::default();
        tracks.extend([3, 0, 3, 99]);
        assert_eq!(tracks.list(), [0, 3]);
        assert!(tracks.contains(3) && !tracks.contains(1) && !tracks.contains(99));
        tracks.remove(3);
        tracks.remove(99);
        assert_eq!(tracks.list(), [0]);
        tracks.remove(0);
        assert!(tracks.is_empty());
    }

    #[test]
    fn sessions_look_alike_whose_packets_do_on_every_track() {
        let on = |rtp| Path::Interleaved { rtp, rtcp: rtp + 1 };
        let both: Paths = [(0, on(0)), (1, on(2))].into_iter().collect();
        let others = [
            vec![],
            vec![(0, on(0))],
            vec![(0, on(2)), (1, on(0))],
            vec![(0, on(0)), (1, Path::InGroup)],
            vec![(0, on(0)), (1, on(2)), (2, on(4))],
        ];
        for other in others {
            let other: Paths = other.into_iter().collect();
            assert_ne!(both.looks(), other.looks(), "{other:?}");
        }
        let mut other = both.clone();
        other.insert(0, on(8));
        assert_ne!(both.looks(), other.looks());
        other.insert(0, on(0));
        other.insert(4, on(8));
        other.remove(4);
        assert_eq!(both.looks(), other.looks());
    }
}
