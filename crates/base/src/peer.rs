use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands for all the addresses that one peer can take at will, for limits that are each peer's own: an IPv4 address
/// itself, mapped into IPv6 or not; of an IPv6 address the network of 64 bits.
pub fn one_peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}

/// Whether an address is one of the public Internet's: nobody's own network, host or link, and no group.
pub fn is_public_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let [first, second, .., high, low] = ip.segments();
            let is_own = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0;
            // Those that stand for an IPv4 address are no better than it (RFC 6052 §2.1, RFC 3056 §2).
            let within = match (first, second) {
                (0, 0) | (0x64, 0xff9b) => Some([high, low]),
                (0x2002, _) => Some([second, ip.segments()[2]]),
                _ => None,
            };
            let within =
                within.map(|[high, low]| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
            !(is_own || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
                && within.is_none_or(is_public_v4)
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_protocol = (a, b, c) == (192, 0, 0);
    let is_benchmark = a == 198 && b & 0xfe == 18;
    !(a == 0
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || a >= 240
        || is_shared
        || is_protocol
        || is_benchmark)
}

/// Whether an address is in a network, whose first `prefix` bits count. An IPv4 address mapped into IPv6 is the same.
pub fn in_network(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (a, n, bits) = match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let drop = bits - u32::from(prefix).min(bits);
    a.checked_shr(drop).unwrap_or(0) == n.checked_shr(drop).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_with_ipv6_is_one_peer() {
        let peer = |address: &str| one_peer(address.parse().unwrap());
        assert_eq!(peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff::2"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8:0:2::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }
}
