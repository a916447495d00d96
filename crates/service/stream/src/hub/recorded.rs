//! What was recorded of a mount, asked for by name while the mount may be live: `?recorded` behind its URL.
//!
//! The live description has the tracks of what is live now. What was recorded before in other encodings is told and set up by
//! the tracks of all recordings, as that of a mount that is not live.

use super::MountKey;
use super::live::Live;
use super::plane::Plane;
use ringpost_rtsp::server::{Place, Setup};

/// Whether a URL's query asks for what was recorded, and never for what is live.
pub(crate) fn asks_for_recorded(query: Option<&str>) -> bool {
    let mut parts = query.unwrap_or_default().split('&');
    // Programs that take queries apart write a name without a value with the sign that they expect.
    parts.any(|part| part.strip_suffix('=').unwrap_or(part) == "recorded")
}

impl Plane {
    /// The mount, if it is live and not asked for as what was recorded of it.
    pub(crate) fn live_at(&self, place: &Place) -> Option<(MountKey, &Live)> {
        match asks_for_recorded(place.query.as_deref()) {
            true => None,
            false => self.live_of(&place.mount),
        }
    }

    /// Whether a session that is of what is live would get a stream of what was recorded, whose number means another track.
    pub(crate) fn mixes(&self, setup: &Setup) -> bool {
        let is_of_live = self
            .reader_of(setup)
            .is_some_and(|reader| reader.subject.is_live());
        is_of_live && asks_for_recorded(setup.place.query.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_asked_for_by_a_word_of_the_query() {
        for query in ["recorded", "recorded=", "key=1&recorded", "recorded&key=1"] {
            assert!(asks_for_recorded(Some(query)), "{query}");
        }
        for query in [
            "",
            "Recorded",
            "recorded=0",
            "key=recorded",
            "recordings",
            "unrecorded",
        ] {
            assert!(!asks_for_recorded(Some(query)), "{query}");
        }
        assert!(!asks_for_recorded(None));
    }
}
