use std::ops::Range;
use thiserror::Error;

/// Where the fields of the fixed header lie (RFC 3550 §5.1).
mod field {
    use std::ops::Range;

    /// Version (2 bits), padding, extension, CSRC count (4 bits).
    pub(super) const FLAGS: usize = 0;
    /// Marker (1 bit), payload type (7 bits).
    pub(super) const MARKER_TYPE: usize = 1;
    pub(super) const SEQUENCE: Range<usize> = 2..4;
    pub(super) const TIMESTAMP: Range<usize> = 4..8;
    pub(super) const SSRC: Range<usize> = 8..12;
    /// Where the CSRC list begins, which is also the length of a header without any.
    pub(super) const END: usize = 12;
}

const VERSION: u8 = 2;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const MARKER: u8 = 0x80;
/// The most a 4-bit count can say.
const CSRCS: usize = 15;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Shorter than what its header says comes before the payload.
    #[error("expected at least {needed} bytes of RTP header, found {found}")]
    Truncated {
        /// The bytes that the header needs.
        needed: usize,
        /// The bytes there are.
        found: usize,
    },
    /// The version is not 2.
    #[error("expected RTP version 2, found {found}")]
    Version {
        /// The version that the packet claims.
        found: u8,
    },
    /// The padding is longer than what follows the header, or zero.
    #[error("padding of {padding} bytes in {available} bytes after the header")]
    Padding {
        /// The count in the last byte.
        padding: usize,
        /// The bytes after the header.
        available: usize,
    },
}

/// The fixed header of an RTP packet as plain data (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// What a profile makes of it; in audio, the first packet of a talkspurt (RFC 3551 §4.1).
    pub marker: bool,
    /// The payload type, 0–127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The sampling instant of the first octet of the payload, in units of the payload's clock.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
}

impl Header {
    /// The length of a header without CSRCs and extension.
    pub const LEN: usize = field::END;

    /// The header's bytes, without CSRCs, extension or padding.
    pub fn to_bytes(self) -> [u8; Header::LEN] {
        let mut bytes = [0; Header::LEN];
        bytes[field::FLAGS] = VERSION << 6;
        bytes[field::MARKER_TYPE] = marker_type(self.marker, self.payload_type);
        bytes[field::SEQUENCE].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[field::TIMESTAMP].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[field::SSRC].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    /// Appends a packet of this header and `payload` to `out`.
    pub fn write(self, payload: &[u8], out: &mut Vec<u8>) {
        out.reserve(Header::LEN + payload.len());
        out.extend_from_slice(&self.to_bytes());
        out.extend_from_slice(payload);
    }
}

fn marker_type(marker: bool, payload_type: u8) -> u8 {
    (payload_type & 0x7f) | if marker { MARKER } else { 0 }
}

/// A checked view of one RTP packet (RFC 3550 §5.1): whatever its accessors read is known to be there.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    payload_start: usize,
    payload_end: usize,
}

impl<'a> Packet<'a> {
    /// A view of `bytes`, which are one whole datagram.
    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.1
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        need(bytes, field::END)?;
        let flags = bytes[field::FLAGS];
        if flags >> 6 != VERSION {
            return Err(PacketError::Version { found: flags >> 6 });
        }
        let mut payload_start = field::END + 4 * csrc_count(flags);
        if flags & EXTENSION != 0 {
            need(bytes, payload_start + 4)?;
            let words = u16::from_be_bytes([bytes[payload_start + 2], bytes[payload_start + 3]]);
            payload_start += 4 + 4 * usize::from(words);
        }
        need(bytes, payload_start)?;
        let available = bytes.len() - payload_start;
        let padding = match bytes.last() {
            Some(count) if flags & PADDING != 0 => usize::from(*count),
            _ => 0,
        };
        if flags & PADDING != 0 && (padding == 0 || padding > available) {
            return Err(PacketError::Padding { padding, available });
        }
        Ok(Packet {
            bytes,
            payload_start,
            payload_end: bytes.len() - padding,
        })
    }

    /// The fixed header.
    pub fn header(&self) -> Header {
        Header {
            marker: self.marker(),
            payload_type: self.payload_type(),
            sequence: self.sequence(),
            timestamp: self.timestamp(),
            ssrc: self.ssrc(),
        }
    }

    /// The marker bit.
    pub fn marker(&self) -> bool {
        self.bytes[field::MARKER_TYPE] & MARKER != 0
    }

    /// The payload type, 0–127.
    pub fn payload_type(&self) -> u8 {
        self.bytes[field::MARKER_TYPE] & !MARKER
    }

    /// The sequence number.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The timestamp, in units of the payload's clock.
    pub fn timestamp(&self) -> u32 {
        read_u32(&self.bytes[field::TIMESTAMP])
    }

    /// The synchronization source.
    pub fn ssrc(&self) -> u32 {
        read_u32(&self.bytes[field::SSRC])
    }

    /// The contributing sources, at most 15.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + 'a {
        let end = field::END + 4 * csrc_count(self.bytes[field::FLAGS]);
        self.bytes[field::END..end].chunks_exact(4).map(read_u32)
    }

    /// The header extension: what the profile defines (RFC 8285 §4.2: 0xBEDE for one-byte elements) and its words.
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        if self.bytes[field::FLAGS] & EXTENSION == 0 {
            return None;
        }
        let at = field::END + 4 * csrc_count(self.bytes[field::FLAGS]);
        let profile = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        Some((profile, &self.bytes[at + 4..self.payload_start]))
    }

    /// The payload, without padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_start..self.payload_end]
    }

    /// Where the payload lies in the datagram.
    pub fn payload_range(&self) -> Range<usize> {
        self.payload_start..self.payload_end
    }
}

fn need(bytes: &[u8], needed: usize) -> Result<(), PacketError> {
    if bytes.len() < needed {
        return Err(PacketError::Truncated {
            needed,
            found: bytes.len(),
        });
    }
    Ok(())
}

fn csrc_count(flags: u8) -> usize {
    usize::from(flags & 0x0f)
}

fn read_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// Puts `header` right before the payload that lies at `payload` in `datagram`, and says where the new packet lies.
///
/// CSRCs, extension and padding of the old packet fall away: they belong to the session it came from (its sources, its
/// negotiated extension numbers), and not to the one it goes to. Nothing but 12 bytes is written.
///
/// # Panics
/// When `payload` does not come from a [`Packet`] over this `datagram`.
pub fn rewrite(datagram: &mut [u8], payload: Range<usize>, header: Header) -> Range<usize> {
    let start = payload.start - Header::LEN;
    datagram[start..payload.start].copy_from_slice(&header.to_bytes());
    start..payload.end
}

/// Whether a datagram on a port that carries both is RTCP: its second byte is an RTCP packet type.
//= https://www.rfc-editor.org/rfc/rfc5761#section-4
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [_, 192..=223, ..])
}

/// Builds a packet with everything that one may have: CSRCs, a header extension, padding.
#[derive(Clone, Debug, Default)]
pub struct Builder<'a> {
    header: Header,
    csrcs: &'a [u32],
    extension: Option<(u16, &'a [u8])>,
    padding: u8,
}

impl<'a> Builder<'a> {
    /// A packet with `header`.
    pub fn new(header: Header) -> Self {
        Builder {
            header,
            ..Builder::default()
        }
    }

    /// With these contributing sources; those after the fifteenth are left out (RFC 3550 §5.1).
    pub fn csrcs(mut self, csrcs: &'a [u32]) -> Self {
        self.csrcs = &csrcs[..csrcs.len().min(CSRCS)];
        self
    }

    /// With a header extension; its bytes are filled up with zeros to whole words (RFC 8285 §4.2 reads them as padding).
    pub fn extension(mut self, profile: u16, bytes: &'a [u8]) -> Self {
        self.extension = Some((profile, &bytes[..bytes.len().min(4 * usize::from(u16::MAX))]));
        self
    }

    /// With `count` bytes of padding, which the last of them says.
    pub fn padding(mut self, count: u8) -> Self {
        self.padding = count;
        self
    }

    /// The whole packet around `payload`.
    pub fn build(self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(Header::LEN + 4 * self.csrcs.len() + payload.len());
        out.extend_from_slice(&self.header.to_bytes());
        out[field::FLAGS] |= self.csrcs.len() as u8;
        for csrc in self.csrcs {
            out.extend_from_slice(&csrc.to_be_bytes());
        }
        if let Some((profile, bytes)) = self.extension {
            out[field::FLAGS] |= EXTENSION;
            let words = bytes.len().div_ceil(4);
            out.extend_from_slice(&profile.to_be_bytes());
            out.extend_from_slice(&(words as u16).to_be_bytes());
            out.extend_from_slice(bytes);
            out.resize(out.len() + words * 4 - bytes.len(), 0);
        }
        out.extend_from_slice(payload);
        if self.padding > 0 {
            out[field::FLAGS] |= PADDING;
            out.resize(out.len() + usize::from(self.padding) - 1, 0);
            out.push(self.padding);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 101,
        sequence: 0xfffe,
        timestamp: 0xdead_beef,
        ssrc: 0x0102_0304,
    };

    #[test]
    fn every_part_of_a_packet_is_read_back() {
        let bytes = Builder::new(HEADER)
            .csrcs(&[1, 2, 3])
            .extension(0xbede, &[0x10, 0xaa])
            .padding(5)
            .build(b"voice");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.header(), HEADER);
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(packet.extension(), Some((0xbede, &[0x10, 0xaa, 0, 0][..])));
        assert_eq!(packet.payload(), b"voice");
        assert_eq!(bytes.len(), 12 + 12 + 8 + 5 + 5);
    }

    #[test]
    fn every_cut_of_a_header_is_refused() {
        let bytes = Builder::new(HEADER)
            .csrcs(&[1, 2])
            .extension(0xbede, &[0; 8])
            .build(b"");
        for len in 0..bytes.len() {
            assert!(
                matches!(Packet::parse(&bytes[..len]), Err(PacketError::Truncated { .. })),
                "{len}"
            );
        }
        assert!(Packet::parse(&bytes).unwrap().payload().is_empty());
    }

    #[test]
    fn padding_longer_than_the_packet_or_of_no_length_is_refused() {
        let mut bytes = Builder::new(HEADER).padding(4).build(b"ab");
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), b"ab");
        for wrong in [0, 7, 255] {
            *bytes.last_mut().unwrap() = wrong;
            assert_eq!(
                Packet::parse(&bytes).unwrap_err(),
                PacketError::Padding {
                    padding: usize::from(wrong),
                    available: 6
                }
            );
        }
    }

    #[test]
    fn other_versions_are_refused() {
        let mut bytes = HEADER.to_bytes();
        bytes[0] = 0x40;
        assert_eq!(
            Packet::parse(&bytes).unwrap_err(),
            PacketError::Version { found: 1 }
        );
    }

    #[test]
    fn a_rewritten_packet_leaves_the_old_sessions_parts_behind() {
        let mut bytes = Builder::new(HEADER)
            .csrcs(&[9])
            .extension(0xbede, &[1, 2, 3, 4])
            .padding(3)
            .build(b"voice");
        let payload = Packet::parse(&bytes).unwrap().payload_range();
        let header = Header {
            payload_type: 0,
            ssrc: 77,
            ..HEADER
        };
        let range = rewrite(&mut bytes, payload, header);
        let packet = Packet::parse(&bytes[range.clone()]).unwrap();
        assert_eq!(packet.header(), header);
        assert_eq!(packet.payload(), b"voice");
        assert_eq!(range.len(), 12 + 5);
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_second_byte() {
        assert!(is_rtcp(&[0x80, 200, 0, 1]));
        assert!(is_rtcp(&[0x81, 206, 0, 1]));
        assert!(!is_rtcp(&HEADER.to_bytes()));
        assert!(!is_rtcp(&[0x80]));
    }
}
