//! Where a mount is pulled from, as it is written.

use ringpost_node::stream::may_be_pulled_from;
use ringpost_rtsp::Url;
use ringpost_stream::hub::{PullSettings, PullTransport};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The URL, whose user name and password are never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PullUrl(Url);

/// When it is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum When {
    #[default]
    Read,
    Always,
}

/// How its packets come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    #[default]
    Auto,
    Tcp,
    Udp,
}

/// All of it.
pub(super) struct Pull<'a> {
    pub(super) url: &'a PullUrl,
    pub(super) when: When,
    pub(super) transport: Transport,
}

impl Pull<'_> {
    pub(super) fn settings(&self) -> PullSettings {
        PullSettings {
            url: self.url.0.clone(),
            is_always: self.when == When::Always,
            transport: match self.transport {
                Transport::Auto => PullTransport::Auto,
                Transport::Tcp => PullTransport::Tcp,
                Transport::Udp => PullTransport::Udp,
            },
        }
    }
}

impl PullUrl {
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it may lead where it does, as far as that can be seen without the DNS.
    // Guards pitfall RTSP 10.
    pub(super) fn check(&self, networks: &[(IpAddr, u8)]) -> Result<(), String> {
        let host = self.0.host().trim_matches(['[', ']']);
        match host.parse() {
            Ok(address) if !may_be_pulled_from(address, networks) => Err(format!(
                "{address} is no public address; add its network to streams.pull_networks"
            )),
            _ => Ok(()),
        }
    }
}

impl TryFrom<String> for PullUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |error| format!("{error}; write it like \"rtsp://camera.example.org/stream\"");
        Url::parse(&text).map(PullUrl).map_err(wrong)
    }
}

impl From<PullUrl> for String {
    fn from(url: PullUrl) -> String {
        url.0.to_string()
    }
}

impl fmt::Debug for PullUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn parse(streams: &str) -> Result<Config, String> {
        let text = format!("[streams]\n{streams}");
        Config::parse(&text, Path::new("ringpost.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pull_is_read_with_its_defaults_and_its_password_is_not_shown() {
        let config = parse(
            "pull_networks = [\"192.168.0.0/16\"]\n\
             mounts.\"alice/door\" = { pull = \"rtsp://user:s3cret@192.168.1.9/a?b\" }\n\
             mounts.\"alice/yard\" = { pull = \"rtsps://cam.example.org/\", pull_when = \"always\", pull_transport = \"udp\" }",
        )
        .unwrap();
        let settings: Vec<_> = config
            .streams
            .settings()
            .into_iter()
            .filter_map(|(_, s)| s.pull)
            .collect();
        let [door, yard] = &settings[..] else {
            panic!("{settings:?}")
        };
        assert_eq!((door.is_always, door.transport), (false, PullTransport::Auto));
        assert_eq!(door.url.credentials(), Some(("user".into(), "s3cret".into())));
        assert_eq!((yard.is_always, yard.transport), (true, PullTransport::Udp));
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(
            !shown.contains("s3cret") && shown.contains("rtsp://192.168.1.9/a?b"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_pull_is_told_in_one_line_with_its_key_and_without_its_password() {
        for (text, told) in [
            (
                "mounts.\"a/*\" = { pull = \"rtsp://u:s3cret@cam/\" }",
                "streams.mounts.\"a/*\".pull: is one stream for many mounts; name one, without *",
            ),
            (
                "mounts.\"a\" = { pull = \"http://u:s3cret@cam/\" }",
                "expected rtsp:// or rtsps://; write it like",
            ),
            (
                "mounts.\"a\" = { pull = \"rtsp://u:s3cret@10.0.0.9/\" }",
                "streams.mounts.\"a\".pull: 10.0.0.9 is no public address; add its network to streams.pull_networks",
            ),
            (
                "mounts.\"a\" = { pull = \"rtsp://u:s3cret@[::1]/\" }",
                "streams.mounts.\"a\".pull: ::1 is no public address; add its network to",
            ),
            (
                "mounts.\"a\" = { pull_when = \"always\" }",
                "streams.mounts.\"a\".pull_when: is of no use without pull; set that",
            ),
            (
                "mounts.\"a\" = { pull_transport = \"tcp\" }",
                "streams.mounts.\"a\".pull_transport: is of no use without pull; set that",
            ),
            (
                "mounts.\"a\" = { pull = \"rtsp://u:s3cret@cam/\", publish = [\"bob\"] }",
                "streams.mounts.\"a\".publish: is set, and so is pull; leave one of them out",
            ),
            (
                "mounts.\"a\" = { pull = \"rtsp://u:s3cret@cam/\", file = \"/a.wav\" }",
                "streams.mounts.\"a\".pull: is set, and so is file or folder; leave",
            ),
            (
                "mounts.\"a\" = { pull = \"rtsp://u:s3cret@cam/\", pull_when = \"never\" }",
                "unknown variant `never`, expected `read` or `always`",
            ),
            (
                "pull_networks = [\"home\"]",
                "streams.pull_networks: \"home\" is not a network; write it like",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{error}");
            assert!(!error.contains('\n') && !error.contains("s3cret"), "{error}");
        }
    }
}
