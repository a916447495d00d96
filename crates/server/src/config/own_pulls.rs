//! Mounts that are pulled from this very server: one that leads back to itself, over others or not, would wait for itself.

use super::listen::Service;
use super::{Config, host_name};
use ringpost_rtsp::Url;
use ringpost_stream::MountName;
use std::net::IpAddr;

impl Config {
    /// No mount is pulled from itself, as far as its URL names an address where we listen.
    pub(super) fn check_own_pulls(&self) -> Result<(), (String, String)> {
        for pattern in self.streams.mounts.keys() {
            let Ok(first) = pattern.parse::<MountName>() else {
                continue;
            };
            let mut way = vec![first.to_string()];
            let mut at = first.clone();
            while let Some(next) = self.own_source_of(&at) {
                if way.contains(&next.to_string()) {
                    // Each mount of a loop is told when it is its turn, those that only lead to one are not to blame.
                    if next != first {
                        break;
                    }
                    let wrong = match &way[1..] {
                        [] => "is the mount's own URL on this server; expected where its stream comes from"
                            .into(),
                        others => format!(
                            "leads over {} of this server back to the mount itself; expected where its stream comes from",
                            others.join(" and ")
                        ),
                    };
                    return Err((format!("streams.mounts.{pattern:?}.pull"), wrong));
                }
                way.push(next.to_string());
                at = next;
            }
        }
        Ok(())
    }

    /// The mount of ours that a mount is pulled from.
    fn own_source_of(&self, mount: &MountName) -> Option<MountName> {
        let url = self.streams.mounts.get(mount.as_str())?.pull.as_ref()?.url();
        self.is_own(url).then(|| MountName::parse(url.path()).ok())?
    }

    /// Whether a URL surely leads to where we listen: by an address, or as this host calls itself. Other names say nothing here.
    fn is_own(&self, url: &Url) -> bool {
        let service = match url.is_secure() {
            true => Service::Rtsps,
            false => Service::Rtsp,
        };
        let host = url.host().trim_matches(['[', ']']);
        let listener = self.listener(service);
        let (usual, otherwise) = service.ports();
        listener.addresses().iter().any(|own| {
            // Who may not take the usual port takes the other one.
            let has_port = own.port() == url.port() || (own.port() == usual && url.port() == otherwise);
            let has_host = match host.parse::<IpAddr>() {
                Ok(address) => {
                    let address = address.to_canonical();
                    address == own.ip().to_canonical() || (own.ip().is_unspecified() && address.is_loopback())
                }
                Err(_) => {
                    let is = |name: &str| host.eq_ignore_ascii_case(name);
                    let is_any = own.ip().is_unspecified();
                    (is("localhost") && (is_any || own.ip().is_loopback())) || (is_any && is(&host_name()))
                }
            };
            has_port && has_host
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::streams::MountSettings;

    fn checked(pulls: &[(&str, &str)]) -> Result<(), (String, String)> {
        let mut config = Config::default();
        for (mount, url) in pulls {
            let settings = MountSettings {
                pull: Some(url.to_string().try_into().unwrap()),
                ..MountSettings::default()
            };
            config.streams.mounts.insert((*mount).into(), settings);
        }
        config.check_own_pulls()
    }

    #[test]
    fn a_mount_that_is_pulled_from_itself_is_refused_with_what_is_expected() {
        let by_name = format!("rtsp://{}:554/alice/door", host_name().to_uppercase());
        for url in [
            by_name.as_str(),
            "rtsp://127.0.0.1/alice/door",
            "rtsp://localhost:554/alice/door/",
            "rtsp://[::1]:8554/alice/door",
            "rtsps://user:secret@127.0.0.1/alice/door?x=1",
        ] {
            let (key, wrong) = checked(&[("alice/door", url)]).unwrap_err();
            assert_eq!(key, "streams.mounts.\"alice/door\".pull", "{url}");
            assert!(wrong.starts_with("is the mount's own URL"), "{wrong}");
        }
        for url in [
            "rtsp://127.0.0.1/alice/yard",
            "rtsp://127.0.0.1:9000/alice/door",
            "rtsp://192.0.2.1/alice/door",
            "rtsp://camera.example.org/alice/door",
        ] {
            assert_eq!(checked(&[("alice/door", url)]), Ok(()), "{url}");
        }
    }

    #[test]
    fn mounts_that_are_pulled_from_each_other_are_refused_and_a_chain_is_not() {
        let (a, b) = ("rtsp://127.0.0.1/alice/a", "rtsp://127.0.0.1/alice/b");
        let (key, wrong) = checked(&[("alice/a", b), ("alice/b", a)]).unwrap_err();
        assert_eq!(key, "streams.mounts.\"alice/a\".pull");
        assert!(
            wrong.contains("leads over alice/b of this server back"),
            "{wrong}"
        );
        assert_eq!(checked(&[("alice/0", a), ("alice/a", b)]), Ok(()));
        // Who leads to a loop is not in it.
        let (key, _) = checked(&[("alice/0", a), ("alice/a", b), ("alice/b", a)]).unwrap_err();
        assert_eq!(key, "streams.mounts.\"alice/a\".pull");
    }
}
