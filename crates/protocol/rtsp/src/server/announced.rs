//! What a publisher has said will come, and how it calls its streams.

use super::question::Place;
use crate::control::{self, Controls};
use crate::mount::MountPath;
use crate::url::Url;

/// What ANNOUNCE said will come.
pub(super) struct Announced {
    pub(super) mount: MountPath,
    pub(super) query: Option<String>,
    /// The streams' URLs, in each way that clients make them.
    tracks: Vec<Vec<Url>>,
}

impl Announced {
    pub(super) fn new(place: &Place, base: &Url, description: &[u8]) -> Self {
        let controls = Controls::of_sdp(description).tracks;
        let tracks = controls
            .into_iter()
            .map(|control| match control.as_deref() {
                Some(control) => {
                    let behind = control::resolve(base, control);
                    let before = control::resolve_before_query(base, control);
                    behind.into_iter().chain(before).collect()
                }
                None => Vec::new(),
            })
            .collect();
        Announced {
            mount: place.mount.clone(),
            query: place.query.clone(),
            tracks,
        }
    }

    /// Which stream a URL means; the host counts for nothing, since publishers know us by several names.
    pub(super) fn track(&self, url: &Url) -> Option<usize> {
        if let [only] = &self.tracks[..]
            && only.is_empty()
        {
            return Some(0);
        }
        let bare = |url: &Url| url.path_and_query().trim_end_matches('/').to_owned();
        let wanted = bare(url);
        self.tracks
            .iter()
            .position(|urls| urls.iter().any(|url| bare(url) == wanted))
    }
}
