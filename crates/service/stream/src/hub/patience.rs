//! Encoders that never send a picture to begin with: after a while readers begin with any.

use super::entry::Place;
use crate::recording::PATIENCE;
use ringpost_base::Instant;

/// How long pictures of a mount have come without one to begin with.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Since when there have been only others.
    since: Option<Instant>,
    /// The number in the ring of the last packet that one may really begin with.
    entry: Option<u64>,
}

impl Patience {
    /// Whether readers may begin with a packet of pictures, which is the ring's next, `number`; `first` is the oldest that is
    /// kept.
    ///
    /// A decoder that begins with any picture of an encoder which refreshes them little by little has a whole one before
    /// long, and shows nothing before that or what there is of it; without this its reader would see nothing, ever.
    pub(crate) fn is_entry(&mut self, now: Instant, place: Place, first: u64, number: u64) -> bool {
        if place == Place::Entry {
            (self.since, self.entry) = (None, Some(number));
            return true;
        }
        let since = *self.since.get_or_insert(now);
        // What is kept of a long group of pictures is better begun with at its beginning.
        let is_kept = self.entry.is_some_and(|entry| entry >= first);
        place == Place::Picture && !is_kept && now.since(since) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn any_picture_is_begun_with_after_a_while_and_only_while_nothing_better_is_kept() {
        let mut patience = Patience::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let mut is = |seconds, place, first, number| patience.is_entry(at(seconds), place, first, number);
        assert!(!is(0, Place::Picture, 0, 0));
        assert!(!is(9, Place::Picture, 0, 1));
        assert!(!is(10, Place::Within, 0, 2));
        assert!(is(10, Place::Picture, 0, 3));
        assert!(is(11, Place::Picture, 0, 4));
        assert!(is(12, Place::Entry, 0, 5));
        assert!(!is(13, Place::Picture, 0, 6));
        assert!(!is(60, Place::Picture, 5, 7), "that of number 5 is kept");
        assert!(is(61, Place::Picture, 6, 8));
    }
}
