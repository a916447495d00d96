//! Groups that mounts are sent to, as they are written.

use super::network::Network;
use super::streams::{MountSettings, Streams};
use ringpost_base::limits;
use ringpost_stream::MountName;
use ringpost_stream::hub::{GroupRange, GroupSettings};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The group of a mount: an address with RTP's first port, or `auto`, one of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum GroupAddress {
    Auto,
    At(SocketAddr),
}

/// A mount has two ports for each of its tracks.
const PORTS: u16 = 2 * limits::MOUNT_TRACKS as u16;
/// What stays on the link is the safe choice.
const TTL: u8 = 1;
/// Linux takes no longer names of interfaces.
const INTERFACE_BYTES: usize = 15;

impl TryFrom<String> for GroupAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(GroupAddress::Auto),
            other => other.parse().map(GroupAddress::At).map_err(|_| {
                format!("{text:?} is no group; write it like \"239.255.42.1:5004\", or \"auto\" for one of streams.multicast_range")
            }),
        }
    }
}

impl From<GroupAddress> for String {
    fn from(group: GroupAddress) -> String {
        match group {
            GroupAddress::Auto => "auto".into(),
            GroupAddress::At(address) => address.to_string(),
        }
    }
}

/// What is wrong with an address as a mount's group.
fn check_address(address: IpAddr) -> Result<(), String> {
    let why = match address {
        _ if !address.is_multicast() => "is no group",
        IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => "is a group of the link's own protocols",
        IpAddr::V4(v4) if v4.octets()[0] == 232 => "is heard of one source only, which nobody is told",
        _ if ringpost_stream::hub::SAP_IPV4.iter().any(|sap| *sap == address)
            || ringpost_stream::hub::SAP_IPV6.iter().any(|sap| *sap == address) =>
        {
            "is the group of announcements"
        }
        _ => return Ok(()),
    };
    Err(format!("{address} {why}; write one like 239.255.42.1"))
}

fn check_port(port: u16) -> Result<(), String> {
    if port % 2 == 1 || !(1_024..=u16::MAX - PORTS).contains(&port) {
        return Err(format!(
            "{port} is no first port of RTP; write an even one from 1024 to {}",
            (u16::MAX - PORTS) & !1
        ));
    }
    Ok(())
}

impl Streams {
    /// What is wrong with what is said of groups in general.
    pub(super) fn check_multicast(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, wrong: String| (format!("streams.{key}"), wrong);
        if let Some(range) = self.multicast_range {
            let (first, last) = range.ends();
            check_address(first).and(check_address(last)).map_err(|why| {
                wrong(
                    "multicast_range",
                    format!("{why}, with the bits that all have behind it"),
                )
            })?;
        }
        check_port(self.multicast_port).map_err(|why| wrong("multicast_port", why))?;
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= INTERFACE_BYTES
                && !name.contains(|c: char| c.is_whitespace() || c == '/' || c == ':')
        };
        if let Some(name) = self.multicast_interface.as_deref().filter(|name| !is_name(name)) {
            let why = format!("{name:?} is no network interface; write its name, like \"eth0\"");
            return Err(wrong("multicast_interface", why));
        }
        Ok(())
    }

    /// What is wrong with the group of a line.
    pub(super) fn check_group(
        &self,
        pattern: &str,
        settings: &MountSettings,
    ) -> Result<(), (String, String)> {
        let wrong = |key: &str, wrong: &str| {
            let key = format!("streams.mounts.{pattern:?}.{key}");
            Err((key, wrong.to_owned()))
        };
        let Some(group) = settings.multicast else {
            return match (settings.multicast_ttl, settings.sap) {
                (Some(_), _) => wrong("multicast_ttl", NO_GROUP),
                (None, true) => wrong("sap", NO_GROUP),
                (None, false) => Ok(()),
            };
        };
        if settings.file.is_some() || settings.folder.is_some() {
            let why = "is set, and so is file or folder, which are played to each reader alone; leave one of them out";
            return wrong("multicast", why);
        }
        if settings.multicast_ttl == Some(0) {
            return wrong("multicast_ttl", "0 is out of range; it may be 1 to 255");
        }
        match group {
            GroupAddress::Auto if self.multicast_range.is_none() => {
                let why = "is \"auto\", and streams.multicast_range is missing; set that, or name a group";
                return wrong("multicast", why);
            }
            GroupAddress::Auto => {}
            GroupAddress::At(at) => {
                if pattern.parse::<MountName>().is_err() {
                    let why = "is one group for many mounts; name one mount, without *, or write \"auto\"";
                    return wrong("multicast", why);
                }
                let checked = check_address(at.ip()).and_then(|()| check_port(at.port()));
                checked.or_else(|why| wrong("multicast", &why))?;
                if let Some(other) = self.mount_at(at, pattern) {
                    let why =
                        format!("{at} is also the group of {other:?}; leave {PORTS} ports between them");
                    return wrong("multicast", &why);
                }
            }
        }
        if settings.sap && !self.sap {
            return wrong(
                "sap",
                "is of no use without streams.sap; set that, or leave this out",
            );
        }
        if settings.sap && !settings.read.iter().any(|who| who == "anyone") {
            let why = "tells everybody where to listen, and read does not let them; add \"anyone\" to read, or leave this out";
            return wrong("sap", why);
        }
        Ok(())
    }

    /// Another line whose group has ports in common with this one.
    fn mount_at(&self, at: SocketAddr, pattern: &str) -> Option<&str> {
        let others = self.mounts.iter().filter(|(other, _)| *other != pattern);
        let mut others = others.filter(|(_, settings)| match settings.multicast {
            Some(GroupAddress::At(other)) => {
                other.ip() == at.ip() && other.port().abs_diff(at.port()) < PORTS
            }
            _ => false,
        });
        others.next().map(|(other, _)| other.as_str())
    }

    /// The groups that mounts are given.
    pub(crate) fn groups(&self) -> Option<GroupRange> {
        let (address, bits) = self.multicast_range.map(Network::parts)?;
        let port = self.multicast_port;
        Some(GroupRange { address, bits, port })
    }
}

impl MountSettings {
    pub(super) fn group(&self) -> Option<GroupSettings> {
        Some(GroupSettings {
            fixed: match self.multicast? {
                GroupAddress::Auto => None,
                GroupAddress::At(address) => Some(address),
            },
            ttl: self.multicast_ttl.unwrap_or(TTL),
            is_announced: self.sap,
        })
    }
}

const NO_GROUP: &str = "is of no use without multicast; set that, or leave this out";

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
    fn groups_are_read_with_their_defaults() {
        let config = parse(
            "multicast_range = \"239.255.42.0/24\"\nmulticast_interface = \"eth0.5\"\nsap = true\n\
             mounts.\"alice/door\" = { multicast = \"239.255.1.1:6000\", multicast_ttl = 8, sap = true, read = [\"anyone\"] }\n\
             mounts.\"lobby/*\" = { multicast = \"auto\" }\n\
             mounts.\"six\" = { multicast = \"[ff15::1:2]:5004\" }",
        )
        .unwrap();
        let settings = config.streams.settings().into_iter();
        let groups: Vec<_> = settings.filter_map(|(_, settings)| settings.multicast).collect();
        let group = |fixed: Option<&str>, ttl, is_announced| GroupSettings {
            fixed: fixed.map(|text| text.parse().unwrap()),
            ttl,
            is_announced,
        };
        assert_eq!(
            groups,
            [
                group(Some("239.255.1.1:6000"), 8, true),
                group(None, 1, false),
                group(Some("[ff15::1:2]:5004"), 1, false)
            ]
        );
        let (address, bits, port) = ("239.255.42.0".parse().unwrap(), 24, 5_004);
        assert_eq!(config.streams.groups(), Some(GroupRange { address, bits, port }));
        assert_eq!(parse("").unwrap().streams.groups(), None);
    }

    #[test]
    fn what_is_wrong_with_a_group_is_told_in_one_line_with_its_key() {
        for (text, told) in [
            (
                "mounts.a = { multicast = \"239.1.1.1\" }",
                "\"239.1.1.1\" is no group; write it like \"239.255.42.1:5004\", or \"auto\"",
            ),
            (
                "mounts.a = { multicast = \"192.0.2.1:5004\" }",
                "streams.mounts.\"a\".multicast: 192.0.2.1 is no group; write one like",
            ),
            (
                "mounts.a = { multicast = \"224.0.0.5:5004\" }",
                "streams.mounts.\"a\".multicast: 224.0.0.5 is a group of the link's own protocols; write",
            ),
            (
                "mounts.a = { multicast = \"232.1.1.1:5004\" }",
                "streams.mounts.\"a\".multicast: 232.1.1.1 is heard of one source only",
            ),
            (
                "mounts.a = { multicast = \"239.255.255.255:5004\" }",
                "streams.mounts.\"a\".multicast: 239.255.255.255 is the group of announcements",
            ),
            (
                "mounts.a = { multicast = \"239.1.1.1:5005\" }",
                "streams.mounts.\"a\".multicast: 5005 is no first port of RTP; write an even one from 1024 to",
            ),
            (
                "mounts.\"a/*\" = { multicast = \"239.1.1.1:5004\" }",
                "streams.mounts.\"a/*\".multicast: is one group for many mounts; name one mount, without *",
            ),
            (
                "mounts.a = { multicast = \"auto\" }",
                "streams.mounts.\"a\".multicast: is \"auto\", and streams.multicast_range is missing",
            ),
            (
                "mounts.a = { multicast = \"239.1.1.1:5004\" }\nmounts.b = { multicast = \"239.1.1.1:5034\" }",
                "streams.mounts.\"a\".multicast: 239.1.1.1:5004 is also the group of \"b\"; leave 32 ports",
            ),
            (
                "mounts.a = { multicast = \"239.1.1.1:5004\", file = \"/a.wav\" }",
                "streams.mounts.\"a\".multicast: is set, and so is file or folder",
            ),
            (
                "mounts.a = { multicast = \"239.1.1.1:5004\", multicast_ttl = 0 }",
                "streams.mounts.\"a\".multicast_ttl: 0 is out of range; it may be 1 to 255",
            ),
            (
                "mounts.a = { multicast_ttl = 2 }",
                "streams.mounts.\"a\".multicast_ttl: is of no use without multicast; set that",
            ),
            (
                "mounts.a = { sap = true }",
                "streams.mounts.\"a\".sap: is of no use without multicast; set that",
            ),
            (
                "mounts.a = { multicast = \"239.1.1.1:5004\", sap = true }",
                "streams.mounts.\"a\".sap: is of no use without streams.sap; set that",
            ),
            (
                "sap = true\nmounts.a = { multicast = \"239.1.1.1:5004\", sap = true, read = [\"bob\"] }",
                "streams.mounts.\"a\".sap: tells everybody where to listen, and read does not let them",
            ),
            (
                "multicast_range = \"10.0.0.0/8\"",
                "streams.multicast_range: 10.0.0.0 is no group; write one like 239.255.42.1, with the bits",
            ),
            (
                "multicast_port = 81",
                "streams.multicast_port: 81 is no first port of RTP; write an even one from 1024 to",
            ),
            (
                "multicast_interface = \"192.0.2.1/24\"",
                "streams.multicast_interface: \"192.0.2.1/24\" is no network interface; write its name",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        // With ports enough between them two mounts may share an address.
        parse("mounts.a = { multicast = \"239.1.1.1:5004\" }\nmounts.b = { multicast = \"239.1.1.1:5036\" }")
            .unwrap();
    }
}
