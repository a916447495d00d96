use super::SDP;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// The longest payload type that is read.
const PAYLOAD_TYPE_BYTES: usize = 256;
/// The version in the upper bits, and the flags beneath it.
const VERSION: u8 = 1;
const IS_IPV6: u8 = 0x10;
const IS_DELETION: u8 = 0x04;
const IS_ENCRYPTED: u8 = 0x02;
const IS_COMPRESSED: u8 = 0x01;

/// Why a packet is none that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SapError {
    /// It ends too early.
    #[error("expected at least {expected} octets of a SAP packet, found {found}")]
    Short {
        /// Octets up to where its payload would begin.
        expected: usize,
        /// Octets that there are.
        found: usize,
    },
    /// Another version of the protocol.
    #[error("expected version 1 of SAP, found {0}")]
    Version(u8),
    /// Nobody has told us the key.
    #[error("the SAP packet is encrypted, and no way to decrypt it is known")]
    Encrypted,
    /// What it decompresses to could be of any length.
    #[error("the SAP packet is compressed, and is not taken")]
    Compressed,
    /// There is neither a payload type with its NUL nor `v=0` nor `o=` where the payload begins.
    #[error("expected a payload type that ends with NUL, or a session description, in the SAP packet")]
    Untyped,
}

/// What a packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It announces a session.
    Announcement,
    /// It says that a session is no more.
    Deletion,
}

/// One packet (RFC 2974 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it does.
    pub kind: Kind,
    /// With the source it names one version of one announcement; 0 is one that says nothing.
    pub hash: u16,
    /// Who announced it first.
    pub source: IpAddr,
    /// Whether it brought authentication data, which nobody has looked at.
    pub is_signed: bool,
    /// The media type of the payload; `None` where there is none, which means SDP.
    pub payload_type: Option<&'a str>,
    /// A session description, or of a deletion its origin line.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet.
    //= https://www.rfc-editor.org/rfc/rfc2974#section-6
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SapError> {
        let found = bytes.len();
        let [first, authentication, high, low, rest @ ..] = bytes else {
            return Err(SapError::Short { expected: 8, found });
        };
        if first >> 5 != VERSION {
            return Err(SapError::Version(first >> 5));
        }
        let address_octets = if first & IS_IPV6 != 0 { 16 } else { 4 };
        let authentication_octets = 4 * usize::from(*authentication);
        let expected = 4 + address_octets + authentication_octets;
        let (Some((source, _)), Some(behind)) = (
            rest.split_at_checked(address_octets),
            rest.get(address_octets + authentication_octets..),
        ) else {
            return Err(SapError::Short { expected, found });
        };
        if first & IS_ENCRYPTED != 0 {
            return Err(SapError::Encrypted);
        }
        if first & IS_COMPRESSED != 0 {
            return Err(SapError::Compressed);
        }
        let source = match source {
            [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d)),
            source => {
                let mut octets = [0; 16];
                octets.copy_from_slice(source);
                IpAddr::V6(Ipv6Addr::from(octets))
            }
        };
        let (payload_type, payload) = split_payload(behind)?;
        Ok(Packet {
            kind: match first & IS_DELETION {
                0 => Kind::Announcement,
                _ => Kind::Deletion,
            },
            hash: u16::from_be_bytes([*high, *low]),
            source,
            is_signed: authentication_octets > 0,
            payload_type,
            payload,
        })
    }

    /// Writes it behind what is there, without authentication data.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut first = VERSION << 5;
        if self.source.is_ipv6() {
            first |= IS_IPV6;
        }
        if self.kind == Kind::Deletion {
            first |= IS_DELETION;
        }
        out.extend([first, 0]);
        out.extend(self.hash.to_be_bytes());
        match self.source {
            IpAddr::V4(address) => out.extend(address.octets()),
            IpAddr::V6(address) => out.extend(address.octets()),
        }
        if let Some(payload_type) = self.payload_type {
            out.extend(payload_type.bytes().filter(|octet| *octet != 0));
            out.push(0);
        }
        out.extend(self.payload);
    }

    /// Whether its payload is SDP.
    pub fn is_sdp(&self) -> bool {
        let essence = |text: &'a str| text.split(';').next().unwrap_or_default().trim();
        self.payload_type
            .is_none_or(|text| essence(text).eq_ignore_ascii_case(SDP))
    }
}

/// The payload type, if there is one, and what is behind it. SDP begins as no media type does.
//= https://www.rfc-editor.org/rfc/rfc2974#section-6
fn split_payload(bytes: &[u8]) -> Result<(Option<&str>, &[u8]), SapError> {
    if bytes.starts_with(b"v=0") || bytes.starts_with(b"o=") {
        return Ok((None, bytes));
    }
    let mut head = bytes.iter().take(PAYLOAD_TYPE_BYTES);
    let end = head.position(|octet| *octet == 0).ok_or(SapError::Untyped)?;
    let (text, payload) = (&bytes[..end], &bytes[end + 1..]);
    match std::str::from_utf8(text) {
        Ok(text) if text.is_ascii() && !text.is_empty() => Ok((Some(text), payload)),
        _ => Err(SapError::Untyped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";

    fn packet(source: &str) -> Packet<'static> {
        Packet {
            kind: Kind::Announcement,
            hash: 0xbeef,
            source: source.parse().unwrap(),
            is_signed: false,
            payload_type: Some(SDP),
            payload: TEXT,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let untyped = Packet {
            payload_type: None,
            ..packet("192.0.2.1")
        };
        let deletion = Packet {
            kind: Kind::Deletion,
            payload: b"o=- 1 1 IN IP4 192.0.2.1\r\n",
            ..packet("2001:db8::1")
        };
        for packet in [packet("192.0.2.1"), packet("2001:db8::1"), untyped, deletion] {
            let mut bytes = Vec::new();
            packet.write(&mut bytes);
            assert_eq!(Packet::parse(&bytes), Ok(packet));
            assert!(packet.is_sdp());
        }
    }

    #[test]
    fn the_octets_are_those_of_the_rfcs_figure() {
        let mut bytes = Vec::new();
        packet("192.0.2.1").write(&mut bytes);
        assert_eq!(bytes[..8], [0x20, 0, 0xbe, 0xef, 192, 0, 2, 1]);
        assert_eq!(&bytes[8..24], b"application/sdp\0");
        let mut bytes = Vec::new();
        let deletion = Packet {
            kind: Kind::Deletion,
            ..packet("::1")
        };
        deletion.write(&mut bytes);
        assert_eq!(bytes[0], 0x34);
    }

    #[test]
    fn authentication_data_is_passed_over_and_the_reserved_bit_ignored() {
        let mut bytes = vec![0x28, 2, 0, 1, 192, 0, 2, 1];
        bytes.extend([0xaa; 8]);
        bytes.extend(TEXT);
        let read = Packet::parse(&bytes).unwrap();
        assert_eq!(
            (read.kind, read.payload, read.is_signed),
            (Kind::Announcement, TEXT, true)
        );
        assert_eq!(
            Packet::parse(&bytes[..12]),
            Err(SapError::Short {
                expected: 16,
                found: 12
            })
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_reason() {
        let with = |first: u8, behind: &[u8]| {
            let mut bytes = vec![first, 0, 0, 1, 192, 0, 2, 1];
            bytes.extend(behind);
            Packet::parse(&bytes).map(|_| ())
        };
        assert_eq!(with(0x20, TEXT), Ok(()));
        assert_eq!(with(0x22, TEXT), Err(SapError::Encrypted));
        assert_eq!(with(0x21, TEXT), Err(SapError::Compressed));
        assert_eq!(with(0x00, TEXT), Err(SapError::Version(0)));
        assert_eq!(with(0x40, TEXT), Err(SapError::Version(2)));
        assert_eq!(with(0x20, b""), Err(SapError::Untyped));
        assert_eq!(with(0x20, b"application/sdp"), Err(SapError::Untyped));
        assert_eq!(with(0x20, b"\0v=0"), Err(SapError::Untyped));
        assert_eq!(with(0x20, &[b'a'; 2_000]), Err(SapError::Untyped));
        assert_eq!(
            Packet::parse(&[0x20, 0]),
            Err(SapError::Short {
                expected: 8,
                found: 2
            })
        );
        assert_eq!(
            Packet::parse(&[0x30, 0, 0, 1, 1, 2, 3, 4]),
            Err(SapError::Short {
                expected: 20,
                found: 8
            })
        );
    }

    #[test]
    fn other_payloads_are_told_from_sdp() {
        let mut bytes = vec![0x20, 0, 0, 1, 192, 0, 2, 1];
        bytes.extend(b"text/plain\0hello");
        let read = Packet::parse(&bytes).unwrap();
        assert_eq!(
            (read.payload_type, read.payload),
            (Some("text/plain"), &b"hello"[..])
        );
        assert!(!read.is_sdp());
        let odd = Packet {
            payload_type: Some("Application/SDP; charset=utf-8"),
            ..read
        };
        assert!(odd.is_sdp());
    }
}
