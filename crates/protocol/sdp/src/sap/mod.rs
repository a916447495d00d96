//! The Session Announcement Protocol (RFC 2974): sessions of groups, told to whoever listens on a well known group.
//!
//! [`Packet`] is what goes over the network; [`Announcer`] says when our own announcements go, [`Listener`] remembers those of
//! others. Which group an announcement goes to follows from the session's own: [`announcement_group`].

mod announcer;
mod listener;
mod packet;

pub use announcer::{AdId, Announcer, AnnouncerOutput};
pub use listener::{Announced, Ignored, Listener, ListenerEvent, ListenerOutput};
pub use packet::{Kind, Packet, SapError};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Where announcements go.
//= https://www.rfc-editor.org/rfc/rfc2974#section-3
pub const PORT: u16 = 9_875;
/// The time to live of their packets.
//= https://www.rfc-editor.org/rfc/rfc2974#section-3
pub const TTL: u8 = 255;
/// What the announcements of a group take together, where nothing else is said.
//= https://www.rfc-editor.org/rfc/rfc2974#section-3.1
pub const BANDWIDTH_BPS: u32 = 4_000;
/// The media type of session descriptions.
pub const SDP: &str = "application/sdp";

/// The shortest base interval between two announcements of a session.
//= https://www.rfc-editor.org/rfc/rfc2974#section-3.1
const LEAST_INTERVAL: Duration = Duration::from_secs(300);
/// Announcements of sessions of the global scope.
const GLOBAL: Ipv4Addr = Ipv4Addr::new(224, 2, 127, 254);
/// The highest address of the local scope (RFC 2365 §6.1).
const LOCAL: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 255);
/// The highest address of the scope of an organization (RFC 2365 §6.2).
const ORGANIZATION: Ipv4Addr = Ipv4Addr::new(239, 195, 255, 255);

/// The groups of IPv4 that are listened on: of the global scope, and of those that RFC 2365 gives bounds.
pub const IPV4_GROUPS: [Ipv4Addr; 3] = [GLOBAL, LOCAL, ORGANIZATION];
/// The groups of IPv6 that are listened on: of a link, a site, an organization, and all.
pub const IPV6_GROUPS: [Ipv6Addr; 4] = [ipv6_group(2), ipv6_group(5), ipv6_group(8), ipv6_group(14)];

/// The group that a session is announced to that is sent to this group: the one of the same scope.
//= https://www.rfc-editor.org/rfc/rfc2974#section-3
pub fn announcement_group(session: IpAddr) -> IpAddr {
    match session {
        IpAddr::V4(address) => match address.octets() {
            [239, 192..=195, ..] => ORGANIZATION.into(),
            // What has no bounds of its own is not announced further than the smallest scope.
            [239, ..] => LOCAL.into(),
            _ => GLOBAL.into(),
        },
        IpAddr::V6(address) => ipv6_group(address.octets()[1] & 0x0f).into(),
    }
}

const fn ipv6_group(scope: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xff00 | scope as u16, 0, 0, 0, 0, 0, 2, 0x7ffe)
}

/// The base interval of an announcement of `octets` octets among so many of its group.
//= https://www.rfc-editor.org/rfc/rfc2974#section-3.1
pub fn interval(count: usize, octets: usize, bandwidth_bps: u32) -> Duration {
    let bits = 8.0 * count as f64 * octets as f64;
    LEAST_INTERVAL.max(Duration::from_secs_f64(bits / f64::from(bandwidth_bps.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_has_the_scope_of_its_session() {
        for (session, told) in [
            ("224.2.128.1", "224.2.127.254"),
            ("239.255.1.2", "239.255.255.255"),
            ("239.193.0.1", "239.195.255.255"),
            ("239.1.2.3", "239.255.255.255"),
            ("ff02::1234:5678", "ff02::2:7ffe"),
            ("ff15::1", "ff05::2:7ffe"),
            ("ff3e::8000:1", "ff0e::2:7ffe"),
        ] {
            let session: IpAddr = session.parse().unwrap();
            assert_eq!(announcement_group(session).to_string(), told, "{session}");
        }
        for group in IPV4_GROUPS
            .map(IpAddr::from)
            .into_iter()
            .chain(IPV6_GROUPS.map(IpAddr::from))
        {
            assert!(group.is_multicast());
        }
    }

    #[test]
    fn the_interval_is_five_minutes_until_the_bandwidth_makes_it_longer() {
        assert_eq!(interval(1, 1_000, BANDWIDTH_BPS), Duration::from_secs(300));
        assert_eq!(interval(150, 1_000, BANDWIDTH_BPS), Duration::from_secs(300));
        assert_eq!(interval(600, 1_000, BANDWIDTH_BPS), Duration::from_secs(1_200));
    }
}
