//! Control URLs of a presentation and its streams (RFC 2326 appendix C.1.1).

use crate::syntax::trim;
use crate::url::Url;
use ringpost_base::limits;

/// The control attributes of a session description, as they are written in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// The presentation's.
    pub aggregate: Option<String>,
    /// One entry for each m-line, in order, up to [`limits::RTSP_TRACKS`].
    pub tracks: Vec<Option<String>>,
}

impl Controls {
    /// Finds them in a description, of which nothing else is read. Of several in one place the first counts.
    pub fn of_sdp(sdp: &[u8]) -> Self {
        let mut controls = Controls::default();
        let mut is_beyond = false;
        for line in sdp.split(|b| matches!(b, b'\r' | b'\n')) {
            // Lines of another character set count too, or those behind them would be others'.
            let line = String::from_utf8_lossy(line);
            if line.starts_with("m=") {
                is_beyond = controls.tracks.len() == limits::RTSP_TRACKS;
                if !is_beyond {
                    controls.tracks.push(None);
                }
            } else if let Some(value) = line.strip_prefix("a=control:").filter(|_| !is_beyond) {
                let place = controls.tracks.last_mut().unwrap_or(&mut controls.aggregate);
                place.get_or_insert_with(|| trim(value).to_owned());
            }
        }
        controls
    }
}

/// Which URL a description's relative control URLs are relative to.
///
/// A base that is no absolute URL counts as relative to the one that comes after it.
//= https://www.rfc-editor.org/rfc/rfc2326#appendix-C.1.1
pub fn base_url(content_base: Option<&str>, content_location: Option<&str>, request: &Url) -> Url {
    let mut base = request.without_credentials();
    for candidate in [content_location, content_base].into_iter().flatten() {
        let candidate = trim(candidate);
        if !candidate.is_empty() {
            base = resolve(&base, candidate).unwrap_or(base);
        }
    }
    base
}

/// The URL that `control` means below `base`; `None` when it is no URL at all.
///
/// `*` and nothing are the base itself. An absolute URL is taken as it is, a path (`/x`) replaces the base's. What else is
/// relative is put *behind* the whole base, query and all, with a slash between if there is none: RFC 1808 would replace the
/// last segment, but servers send bases without the last slash, and mean this.
// Guards pitfall RTSP 3.
pub fn resolve(base: &Url, control: &str) -> Option<Url> {
    let control = trim(control);
    if control.bytes().any(|b| !b.is_ascii_graphic()) {
        return None;
    }
    if matches!(control, "" | "*") {
        return Some(base.clone());
    }
    if control.contains("://") {
        return Url::parse(control).ok();
    }
    if control.starts_with("//") {
        let scheme = if base.is_secure() { "rtsps:" } else { "rtsp:" };
        return Url::parse(&format!("{scheme}{control}")).ok();
    }
    if control.starts_with('/') {
        return Some(base.with_rest(control));
    }
    let before = base.path_and_query();
    if control.starts_with('?') {
        return Some(base.with_rest(&format!("{}{control}", base.path())));
    }
    let slash = if before.ends_with('/') { "" } else { "/" };
    Some(base.with_rest(&format!("{before}{slash}{control}")))
}

/// The same with what is relative put behind the path and *before* the query, as some clients do; `None` when `control` is not
/// relative, or `base` has no query.
pub(crate) fn resolve_before_query(base: &Url, control: &str) -> Option<Url> {
    let control = trim(control);
    let is_relative =
        !control.contains("://") && !control.starts_with(['/', '?']) && !matches!(control, "" | "*");
    let query = base.query().filter(|_| is_relative)?;
    let control = control.split('?').next().unwrap_or_default();
    let is_url = control.bytes().all(|b| b.is_ascii_graphic());
    is_url.then(|| {
        base.with_rest(&format!(
            "{}/{control}?{query}",
            base.path().trim_end_matches('/')
        ))
    })
}

/// The control attribute of the `index`-th stream in descriptions that we write.
pub fn track_control(index: usize) -> String {
    format!("trackID={index}")
}

/// The URL of the `index`-th stream of the presentation at `base`: behind the path, before the query.
pub fn track_url(base: &Url, index: usize) -> Url {
    let path = base.path().trim_end_matches('/');
    let query = base.query().map(|query| format!("?{query}")).unwrap_or_default();
    base.with_rest(&format!("{path}/{}{query}", track_control(index)))
}

/// A request's URL as a mount and, where it names one, the index of a stream in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The path without the stream's part.
    pub(crate) path: String,
    /// The query without it.
    pub(crate) query: Option<String>,
    pub(crate) track: Option<usize>,
}

impl Target {
    /// The presentation's URL at the server of `url`: its path ends with a slash, so that by every reading of relative URLs a
    /// stream comes behind it.
    pub(crate) fn presentation(&self, url: &Url) -> Url {
        let path = self.path.trim_end_matches('/');
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        url.without_credentials()
            .with_rest(&format!("{path}/{}", query.unwrap_or_default()))
    }

    /// Whether both are of one presentation.
    pub(crate) fn is_same_presentation(&self, other: &Target) -> bool {
        let path = |target: &Target| target.path.trim_end_matches('/').to_owned();
        (path(self), &self.query) == (path(other), &other.query)
    }
}

/// Takes [`track_control`] off a URL, whether it was put behind the path or behind the query, and off the query the slash that
/// a client may have needed before it.
// Guards pitfall RTSP 3.
pub(crate) fn target(url: &Url) -> Target {
    let query = url.query().map(|query| query.strip_suffix('/').unwrap_or(query));
    let (path, query, track) = match (track_behind(url.path()), query.and_then(track_behind)) {
        (Some((path, track)), _) => (path, query, Some(track)),
        (None, Some((query, track))) => (url.path(), Some(query), Some(track)),
        (None, None) => (url.path(), query, None),
    };
    Target {
        path: path.to_owned(),
        query: query.filter(|query| !query.is_empty()).map(str::to_owned),
        track,
    }
}

/// What stands before the name of a stream, and which it is.
fn track_behind(text: &str) -> Option<(&str, usize)> {
    let (before, last) = text.strip_suffix('/').unwrap_or(text).rsplit_once('/')?;
    Some((before, track_of(last)?))
}

/// The stream that [`track_control`] names so.
pub fn track_of(control: &str) -> Option<usize> {
    let digits = control.strip_prefix("trackID=")?;
    let is_plain = digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Guards pitfall RTSP 3.
    #[test]
    fn control_urls_in_every_form_that_servers_send() {
        for (base, control, expected) in [
            ("rtsp://h/foo/", "trackID=1", "rtsp://h/foo/trackID=1"),
            ("rtsp://h/foo", "trackID=1", "rtsp://h/foo/trackID=1"),
            ("rtsp://h/foo", "*", "rtsp://h/foo"),
            ("rtsp://h/foo/", "*", "rtsp://h/foo/"),
            ("rtsp://h/foo", "", "rtsp://h/foo"),
            ("rtsp://h/foo", " trackID=1 ", "rtsp://h/foo/trackID=1"),
            ("rtsp://h/foo", "rtsp://h/foo/track1", "rtsp://h/foo/track1"),
            ("rtsp://h/foo", "rtsps://other:1/x?y", "rtsps://other:1/x?y"),
            ("rtsp://h:8554/foo", "/bar/track1", "rtsp://h:8554/bar/track1"),
            ("rtsp://h/foo", "//other/x", "rtsp://other/x"),
            ("rtsp://h", "trackID=1", "rtsp://h/trackID=1"),
            ("rtsp://h/a?b=c", "trackID=1", "rtsp://h/a?b=c/trackID=1"),
            ("rtsp://h/a?b=c/", "trackID=1", "rtsp://h/a?b=c/trackID=1"),
            ("rtsp://h/a?b=c", "?ctype=video", "rtsp://h/a?ctype=video"),
            ("rtsp://h/a", "trackID=1?x=y", "rtsp://h/a/trackID=1?x=y"),
            ("rtsp://h/a/b", "stream=0/track", "rtsp://h/a/b/stream=0/track"),
        ] {
            let base = Url::parse(base).unwrap();
            let got = resolve(&base, control).unwrap().to_string();
            assert_eq!(got, expected, "{base} + {control:?}");
        }
        let base = Url::parse("rtsp://h/a").unwrap();
        for bad in ["http://h/a", "a b", "rtsp://", "x\u{fc}"] {
            assert_eq!(resolve(&base, bad), None, "{bad}");
        }
    }

    #[test]
    fn the_base_is_content_base_then_content_location_then_the_request() {
        let request = Url::parse("rtsp://u:p@h/r").unwrap();
        let base = |b, l| base_url(b, l, &request).to_string();
        assert_eq!(base(Some("rtsp://h/b/"), Some("rtsp://h/l/")), "rtsp://h/b/");
        assert_eq!(base(None, Some("rtsp://h/l")), "rtsp://h/l");
        assert_eq!(base(None, None), "rtsp://h/r");
        assert_eq!(base(Some(""), None), "rtsp://h/r");
        assert_eq!(
            base(Some("/x/"), None),
            "rtsp://h/x/",
            "a camera that leaves out its address"
        );
        assert_eq!(base(Some("no url"), Some("rtsp://h/l")), "rtsp://h/l");
    }

    #[test]
    fn controls_are_found_in_a_description() {
        let sdp =
            b"v=0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\na=control:second\r\n\
            m=audio 0 RTP/AVP 0 \xff\r\n\xff\xff\r\nm=audio 0 RTP/AVP 0\na=control:rtsp://h/x\n";
        let controls = Controls::of_sdp(sdp);
        assert_eq!(controls.aggregate.as_deref(), Some("*"));
        let tracks: Vec<_> = controls.tracks.iter().map(|c| c.as_deref()).collect();
        assert_eq!(tracks, [Some("trackID=0"), None, Some("rtsp://h/x")]);
        let many = "m=audio 0 RTP/AVP 0\na=control:x\n".repeat(limits::RTSP_TRACKS + 5);
        assert_eq!(
            Controls::of_sdp(many.as_bytes()).tracks.len(),
            limits::RTSP_TRACKS
        );
    }

    // Guards pitfall RTSP 3.
    #[test]
    fn a_stream_of_ours_is_found_behind_path_and_query() {
        for (url, path, query, track) in [
            ("rtsp://h/cam", "/cam", None, None),
            ("rtsp://h/cam/", "/cam/", None, None),
            ("rtsp://h/cam/trackID=0", "/cam", None, Some(0)),
            ("rtsp://h/cam/trackID=12/", "/cam", None, Some(12)),
            ("rtsp://h/cam?x=1/trackID=2", "/cam", Some("x=1"), Some(2)),
            ("rtsp://h/cam/?x=1/trackID=2/", "/cam/", Some("x=1"), Some(2)),
            ("rtsp://h/cam/trackID=0?x=1", "/cam", Some("x=1"), Some(0)),
            ("rtsp://h/cam/trackID=0/?x=1/", "/cam", Some("x=1"), Some(0)),
            ("rtsp://h/cam/?x=1/", "/cam/", Some("x=1"), None),
            ("rtsp://h/cam?x=a/b", "/cam", Some("x=a/b"), None),
            ("rtsp://h/cam?/trackID=1", "/cam", None, Some(1)),
            ("rtsp://h/cam/trackID=", "/cam/trackID=", None, None),
            ("rtsp://h/cam/trackID=1x", "/cam/trackID=1x", None, None),
            ("rtsp://h/cam/trackID=1234", "/cam/trackID=1234", None, None),
            ("rtsp://h/trackID=1", "", None, Some(1)),
        ] {
            let url = Url::parse(url).unwrap();
            let got = target(&url);
            assert_eq!(
                (got.path.as_str(), got.query.as_deref(), got.track),
                (path, query, track),
                "{url}"
            );
            // The URL that we write for the stream means the same.
            let again = target(&track_url(&got.presentation(&url), 7));
            assert!(
                again.is_same_presentation(&got) && again.track == Some(7),
                "{url}"
            );
        }
    }

    #[test]
    fn streams_of_ours_are_named_by_their_number() {
        assert_eq!(track_of(&track_control(12)), Some(12));
        for none in [
            "trackID=",
            "trackID=-1",
            "trackID=+1",
            "trackid=1",
            "trackID=1000",
            "1",
            "trackID=1/",
        ] {
            assert_eq!(track_of(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_relative_may_also_stand_before_the_query() {
        let before = |base: &str, control: &str| {
            let base = Url::parse(base).unwrap();
            resolve_before_query(&base, control).map(|url| url.to_string())
        };
        let expected = Some("rtsp://h/a/s=0?b=c".to_owned());
        assert_eq!(before("rtsp://h/a?b=c", "s=0"), expected);
        assert_eq!(before("rtsp://h/a/?b=c", " s=0 "), expected);
        for (base, control) in [
            ("rtsp://h/a", "s=0"),
            ("rtsp://h/a?b=c", "*"),
            ("rtsp://h/a?b=c", "/s=0"),
            ("rtsp://h/a?b=c", "rtsp://h/s=0"),
            ("rtsp://h/a?b=c", "s 0"),
        ] {
            assert_eq!(before(base, control), None, "{base} {control}");
        }
    }
}
