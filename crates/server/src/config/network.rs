use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network, `192.168.0.0/16`; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Its address and the number of bits that count.
    pub(crate) fn parts(self) -> (IpAddr, u8) {
        (self.address, self.prefix_bits)
    }

    /// Its first address and its last.
    pub(crate) fn ends(self) -> (IpAddr, IpAddr) {
        let bits = u32::from(self.prefix_bits);
        match self.address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
                let first = u32::from(address) & !rest;
                (Ipv4Addr::from(first).into(), Ipv4Addr::from(first | rest).into())
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
                let first = u128::from(address) & !rest;
                (Ipv6Addr::from(first).into(), Ipv6Addr::from(first | rest).into())
            }
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network; write it like \"192.168.0.0/16\" or \"fd00::/8\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if prefix_bits > most {
            return Err(wrong());
        }
        Ok(Network { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

/// UDP ports, both ends included, `16384-32767`. An even one carries RTP and the odd one above it RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl PortRange {
    /// How many pairs of ports for RTP and RTCP there are in it.
    pub(crate) fn pairs(self) -> usize {
        usize::from(self.last - self.first).div_ceil(2)
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a range of ports; write it like \"16384-32767\", four ports at the least"
            )
        };
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
        let range = PortRange {
            first: number(first)?,
            last: number(last)?,
        };
        if range.first < 1024 || range.last.checked_sub(range.first).is_none_or(|count| count < 3) {
            return Err(wrong());
        }
        Ok(range)
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> String {
        format!("{}-{}", range.first, range.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_the_bits_that_count() {
        let parts = |text: &str| text.parse::<Network>().unwrap().parts();
        assert_eq!(parts("192.168.0.0/16"), ("192.168.0.0".parse().unwrap(), 16));
        assert_eq!(parts("fd00::/8"), ("fd00::".parse().unwrap(), 8));
        assert_eq!(parts("10.0.0.1"), ("10.0.0.1".parse().unwrap(), 32));
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "example.org",
            "10.0.0.0/",
            "10.0.0/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_of_ports_has_room_for_a_call() {
        let range = |text: &str| PortRange::try_from(text.to_string());
        assert_eq!(
            range("16384-32767"),
            Ok(PortRange {
                first: 16_384,
                last: 32_767
            })
        );
        for bad in ["", "16384", "2000-1000", "80-90", "40000-40002", "1-70000"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
