//! What of a mount a request is about: what happens now, or what was recorded.

use super::MountKey;
use super::live::Live;
use super::plane::Plane;
use ringpost_rtsp::server::Place;

/// The parameter of a URL's query that asks for what was recorded of a mount, whether it is live or not:
/// `rtsp://h/alice/door?recorded`.
const RECORDED: &str = "recorded";

/// Whether a request is about what was recorded alone.
///
/// The description of a live mount tells its tracks as they are coded now; this one tells those of all recordings, which may
/// have been coded otherwise. RFC 2326 has no other place for it than the URL, which names what is presented.
pub(crate) fn is_about_recorded(place: &Place) -> bool {
    let mut parameters = place.query.iter().flat_map(|query| query.split('&'));
    parameters.any(|parameter| parameter.split('=').next() == Some(RECORDED))
}

impl Plane {
    /// The live mount that a request is about: none for who asks for what was recorded.
    pub(crate) fn live_at(&self, place: &Place) -> Option<(MountKey, &Live)> {
        match is_about_recorded(place) {
            true => None,
            false => self.live_of(&place.mount),
        }
    }
}
