//! RTCP packets: read from a compound as views, and printed into one (RFC 3550 §6, RFC 4585 §6).

use ringpost_base::{Cursor, CursorError};
use thiserror::Error;

/// The packet types (RFC 3550 §12.1, RFC 4585 §6.1).
mod packet_type {
    pub(super) const SR: u8 = 200;
    pub(super) const RR: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const APP: u8 = 204;
    pub(super) const RTPFB: u8 = 205;
    pub(super) const PSFB: u8 = 206;
}

const VERSION: u8 = 2;
const PADDING: u8 = 0x20;
const COUNT: u8 = 0x1f;
const REPORT_LEN: usize = 24;

/// The most report blocks of one SR or RR, and the most sources of one SDES or BYE: what a 5-bit count can say.
pub const MAX_COUNT: usize = 31;

/// The SDES item that names a participant across its sessions (RFC 3550 §6.5.1).
pub const CNAME: u8 = 1;

/// Why bytes are not a compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    /// A packet of the compound ends before what its header says.
    #[error("RTCP {0}")]
    Truncated(#[from] CursorError),
    /// A version other than 2.
    #[error("expected RTCP version 2 at offset {offset}, found {found}")]
    Version {
        /// Where the packet begins in the datagram.
        offset: usize,
        /// The version it claims.
        found: u8,
    },
    /// The first packet is neither SR nor RR, and reduced size was not negotiated (RFC 5506).
    #[error("expected the compound to begin with SR or RR, found packet type {found}")]
    First {
        /// The type of the first packet.
        found: u8,
    },
    /// Padding elsewhere than on the last packet, or longer than it.
    #[error("padding at offset {offset} that cannot be")]
    Padding {
        /// Where the packet begins in the datagram.
        offset: usize,
    },
    /// No packet at all.
    #[error("expected an RTCP packet, found nothing")]
    Empty,
}

/// What a receiver says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: u32,
    /// The share of its packets lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the beginning: 24 bits, signed.
    pub lost: i32,
    /// The highest sequence number received, with the count of wraps above it.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// The middle 32 bits of the NTP timestamp of the last SR from the source; 0 when there was none.
    pub last_sr: u32,
    /// How long before this report that SR came, in 65,536ths of a second; 0 when there was none.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, CursorError> {
        let ssrc = c.u32()?;
        let loss = c.u32()?;
        Ok(ReportBlock {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            // Shifted up and down again, so that the sign of the 24 bits is kept.
            lost: ((loss << 8) as i32) >> 8,
            highest_sequence: c.u32()?,
            jitter: c.u32()?,
            last_sr: c.u32()?,
            delay_since_last_sr: c.u32()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let lost = (self.lost as u32) & 0x00ff_ffff;
        let words = [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        words
            .iter()
            .for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
    }
}

/// What a sender says of itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// The wallclock when this was sent, as a 64-bit NTP timestamp.
    pub ntp: u64,
    /// The same moment on the clock of the stream.
    pub rtp_timestamp: u32,
    /// Packets sent since the beginning.
    pub packets: u32,
    /// Bytes of payload sent since the beginning.
    pub octets: u32,
}

/// The report blocks of an SR or RR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reports<'a>(&'a [u8]);

impl<'a> Reports<'a> {
    /// The blocks in their order.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + 'a {
        self.0
            .chunks_exact(REPORT_LEN)
            .filter_map(|block| ReportBlock::parse(&mut Cursor::new(block)).ok())
    }
}

/// One source's description items in an SDES packet (RFC 3550 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// The source that is described.
    pub ssrc: u32,
    items: &'a [u8],
}

impl<'a> SdesChunk<'a> {
    /// The items as (type, text) in their order.
    pub fn items(&self) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
        let mut cursor = Cursor::new(self.items);
        std::iter::from_fn(move || sdes_item(&mut cursor).ok().flatten())
    }

    /// The canonical name.
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items()
            .find(|(kind, _)| *kind == CNAME)
            .map(|(_, text)| text)
    }
}

/// The next item; `None` at the zero that ends the chunk.
fn sdes_item<'a>(c: &mut Cursor<'a>) -> Result<Option<(u8, &'a [u8])>, CursorError> {
    let kind = c.u8()?;
    if kind == 0 {
        return Ok(None);
    }
    let len = c.u8()?;
    Ok(Some((kind, c.take(usize::from(len))?)))
}

/// The chunks of an SDES packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Chunks<'a> {
    /// The chunks in their order.
    pub fn iter(&self) -> impl Iterator<Item = SdesChunk<'a>> + 'a {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.count).map_while(move |_| Chunks::next(&mut cursor).ok())
    }

    fn next(c: &mut Cursor<'a>) -> Result<SdesChunk<'a>, CursorError> {
        let ssrc = c.u32()?;
        let (start, all) = (c.position(), c.rest());
        while sdes_item(c)?.is_some() {}
        let items = &all[..c.position() - start];
        // The zeros that end a chunk fill it up to a word; at the packet's very end some senders leave them out.
        let fill = (4 - c.position() % 4) % 4;
        let _ = c.take(fill.min(c.rest().len()));
        Ok(SdesChunk { ssrc, items })
    }
}

/// A feedback message (RFC 4585 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// About the payload (PSFB, type 206) and not the transport (RTPFB, 205).
    pub payload_specific: bool,
    /// The message's type (FMT): of payload-specific ones 1 is PLI, 4 is FIR; of transport ones 1 is NACK.
    pub format: u8,
    /// Who sends it.
    pub sender_ssrc: u32,
    /// The source it is about; 0 in messages that name their sources inside.
    pub media_ssrc: u32,
    /// What follows.
    pub control: &'a [u8],
}

impl Feedback<'_> {
    /// Picture Loss Indication (RFC 4585 §6.3.1).
    pub const PLI: u8 = 1;
    /// Full Intra Request (RFC 5104 §4.3.1).
    pub const FIR: u8 = 4;

    /// The sources that are asked for a key frame by this message: one of a PLI, those that a FIR lists.
    pub fn key_frame_requests(&self) -> impl Iterator<Item = u32> {
        let (pli, fir) = match (self.payload_specific, self.format) {
            (true, Feedback::PLI) => (Some(self.media_ssrc), &[][..]),
            (true, Feedback::FIR) => (None, self.control),
            _ => (None, &[][..]),
        };
        let listed = fir
            .chunks_exact(8)
            .map(|e| u32::from_be_bytes([e[0], e[1], e[2], e[3]]));
        pli.into_iter().chain(listed)
    }
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpPacket<'a> {
    /// SR (§6.4.1).
    SenderReport {
        /// The reporter.
        ssrc: u32,
        /// What it says of itself.
        info: SenderInfo,
        /// What it says of others.
        reports: Reports<'a>,
    },
    /// RR (§6.4.2).
    ReceiverReport {
        /// The reporter.
        ssrc: u32,
        /// What it says of others.
        reports: Reports<'a>,
    },
    /// SDES (§6.5).
    SourceDescription(Chunks<'a>),
    /// BYE (§6.6).
    Bye {
        /// The sources that leave, as words in network order.
        sources: Words<'a>,
        /// Why, in the sender's words; empty when it does not say.
        reason: &'a [u8],
    },
    /// APP (§6.7).
    Application {
        /// Who sends it.
        ssrc: u32,
        /// What the application makes of the count field.
        subtype: u8,
        /// Four letters.
        name: [u8; 4],
        /// The rest.
        data: &'a [u8],
    },
    /// RTPFB or PSFB (RFC 4585 §6.1).
    Feedback(Feedback<'a>),
    /// A type that is not known here; to be ignored (§6.1).
    Unknown {
        /// The packet type.
        packet_type: u8,
    },
}

/// A list of SSRCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// The words in their order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + 'a {
        self.0
            .chunks_exact(4)
            .map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]))
    }
}

/// A checked view of a datagram of RTCP: every packet in it can be read.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a>(&'a [u8]);

impl<'a> Compound<'a> {
    /// A view of `datagram`, which must begin with SR or RR unless `reduced_size` was negotiated (RFC 5506).
    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.2
    pub fn parse(datagram: &'a [u8], reduced_size: bool) -> Result<Self, RtcpError> {
        let mut cursor = Cursor::new(datagram);
        if cursor.is_empty() {
            return Err(RtcpError::Empty);
        }
        while !cursor.is_empty() {
            let first = cursor.position() == 0;
            let found = cursor.rest().get(1).copied().unwrap_or_default();
            if first && !reduced_size && !matches!(found, packet_type::SR | packet_type::RR) {
                return Err(RtcpError::First { found });
            }
            parse_packet(&mut cursor)?;
        }
        Ok(Compound(datagram))
    }

    /// The packets in their order.
    pub fn iter(&self) -> impl Iterator<Item = RtcpPacket<'a>> + 'a {
        let mut cursor = Cursor::new(self.0);
        std::iter::from_fn(move || {
            if cursor.is_empty() {
                None
            } else {
                parse_packet(&mut cursor).ok()
            }
        })
    }

    /// The length of the datagram.
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

fn parse_packet<'a>(c: &mut Cursor<'a>) -> Result<RtcpPacket<'a>, RtcpError> {
    let offset = c.position();
    let flags = c.u8()?;
    let packet_type = c.u8()?;
    let words = c.u16()?;
    if flags >> 6 != VERSION {
        return Err(RtcpError::Version {
            offset,
            found: flags >> 6,
        });
    }
    let mut body = c.take(4 * usize::from(words))?;
    if flags & PADDING != 0 {
        let padding = body.last().map_or(0, |count| usize::from(*count));
        if !c.is_empty() || padding == 0 || padding > body.len() {
            return Err(RtcpError::Padding { offset });
        }
        body = &body[..body.len() - padding];
    }
    Ok(parse_body(packet_type, flags & COUNT, body)?)
}

fn parse_body(packet_type: u8, count: u8, body: &[u8]) -> Result<RtcpPacket<'_>, CursorError> {
    let mut c = Cursor::new(body);
    let blocks = REPORT_LEN * usize::from(count);
    Ok(match packet_type {
        packet_type::SR => RtcpPacket::SenderReport {
            ssrc: c.u32()?,
            info: SenderInfo {
                ntp: c.u64()?,
                rtp_timestamp: c.u32()?,
                packets: c.u32()?,
                octets: c.u32()?,
            },
            reports: Reports(c.take(blocks)?),
        },
        packet_type::RR => RtcpPacket::ReceiverReport {
            ssrc: c.u32()?,
            reports: Reports(c.take(blocks)?),
        },
        packet_type::SDES => {
            let chunks = Chunks {
                bytes: body,
                count: usize::from(count),
            };
            for _ in 0..count {
                Chunks::next(&mut c)?;
            }
            RtcpPacket::SourceDescription(chunks)
        }
        packet_type::BYE => {
            let sources = Words(c.take(4 * usize::from(count))?);
            let reason = if c.is_empty() {
                &[]
            } else {
                let len = c.u8()?;
                c.take(usize::from(len))?
            };
            RtcpPacket::Bye { sources, reason }
        }
        packet_type::APP => RtcpPacket::Application {
            ssrc: c.u32()?,
            subtype: count,
            name: c.u32()?.to_be_bytes(),
            data: c.rest(),
        },
        packet_type::RTPFB | packet_type::PSFB => RtcpPacket::Feedback(Feedback {
            payload_specific: packet_type == packet_type::PSFB,
            format: count,
            sender_ssrc: c.u32()?,
            media_ssrc: c.u32()?,
            control: c.rest(),
        }),
        _ => RtcpPacket::Unknown { packet_type },
    })
}

/// Prints the packets of a compound one behind the other.
#[derive(Debug)]
pub struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Writer(out)
    }

    /// SR, with at most [`MAX_COUNT`] of `reports`.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.4.1
    pub fn sender_report(&mut self, ssrc: u32, info: SenderInfo, reports: &[ReportBlock]) -> &mut Self {
        let reports = &reports[..reports.len().min(MAX_COUNT)];
        self.packet(packet_type::SR, reports.len() as u8, |out| {
            out.extend_from_slice(&ssrc.to_be_bytes());
            out.extend_from_slice(&info.ntp.to_be_bytes());
            for word in [info.rtp_timestamp, info.packets, info.octets] {
                out.extend_from_slice(&word.to_be_bytes());
            }
            reports.iter().for_each(|block| block.write(out));
        })
    }

    /// RR, with at most [`MAX_COUNT`] of `reports`.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.4.2
    pub fn receiver_report(&mut self, ssrc: u32, reports: &[ReportBlock]) -> &mut Self {
        let reports = &reports[..reports.len().min(MAX_COUNT)];
        self.packet(packet_type::RR, reports.len() as u8, |out| {
            out.extend_from_slice(&ssrc.to_be_bytes());
            reports.iter().for_each(|block| block.write(out));
        })
    }

    /// SDES with one chunk of `items`, each text cut at 255 bytes.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.5
    pub fn source_description(&mut self, ssrc: u32, items: &[(u8, &[u8])]) -> &mut Self {
        self.packet(packet_type::SDES, 1, |out| {
            let start = out.len();
            out.extend_from_slice(&ssrc.to_be_bytes());
            for (kind, text) in items {
                let text = &text[..text.len().min(255)];
                out.extend_from_slice(&[*kind, text.len() as u8]);
                out.extend_from_slice(text);
            }
            // One to four zeros: the first ends the list, all fill the chunk up to a word.
            let fill = 4 - (out.len() - start) % 4;
            out.resize(out.len() + fill, 0);
        })
    }

    /// BYE of at most [`MAX_COUNT`] `sources`, with a `reason` cut at 255 bytes if it is not empty.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.6
    pub fn bye(&mut self, sources: &[u32], reason: &[u8]) -> &mut Self {
        let sources = &sources[..sources.len().min(MAX_COUNT)];
        self.packet(packet_type::BYE, sources.len() as u8, |out| {
            sources
                .iter()
                .for_each(|ssrc| out.extend_from_slice(&ssrc.to_be_bytes()));
            if !reason.is_empty() {
                let reason = &reason[..reason.len().min(255)];
                out.push(reason.len() as u8);
                out.extend_from_slice(reason);
            }
        })
    }

    /// APP; `data` is filled up with zeros to whole words.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.7
    pub fn application(&mut self, ssrc: u32, subtype: u8, name: [u8; 4], data: &[u8]) -> &mut Self {
        self.packet(packet_type::APP, subtype & COUNT, |out| {
            out.extend_from_slice(&ssrc.to_be_bytes());
            out.extend_from_slice(&name);
            out.extend_from_slice(data);
        })
    }

    /// RTPFB or PSFB.
    //= https://www.rfc-editor.org/rfc/rfc4585#section-6.1
    pub fn feedback(&mut self, feedback: &Feedback<'_>) -> &mut Self {
        let packet_type = if feedback.payload_specific {
            packet_type::PSFB
        } else {
            packet_type::RTPFB
        };
        self.packet(packet_type, feedback.format & COUNT, |out| {
            out.extend_from_slice(&feedback.sender_ssrc.to_be_bytes());
            out.extend_from_slice(&feedback.media_ssrc.to_be_bytes());
            out.extend_from_slice(feedback.control);
        })
    }

    /// The common header around what `body` appends, filled up to whole words.
    fn packet(&mut self, packet_type: u8, count: u8, body: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.0.len();
        self.0
            .extend_from_slice(&[VERSION << 6 | count, packet_type, 0, 0]);
        body(self.0);
        let len = (self.0.len() - start).next_multiple_of(4);
        self.0.resize(start + len, 0);
        let words = (len / 4 - 1) as u16;
        self.0[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 0xaabb_ccdd,
        fraction_lost: 13,
        lost: -2,
        highest_sequence: 0x0001_ffff,
        jitter: 40,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 0x0001_8000,
    };

    fn everything() -> Vec<u8> {
        let mut out = Vec::new();
        let info = SenderInfo {
            ntp: 0x0102_0304_0506_0708,
            rtp_timestamp: 9,
            packets: 10,
            octets: 1600,
        };
        Writer::new(&mut out)
            .sender_report(1, info, &[BLOCK, BLOCK])
            .receiver_report(1, &[BLOCK])
            .source_description(1, &[(CNAME, b"abc@example"), (2, b"")])
            .application(1, 3, *b"ring", &[1, 2, 3, 4])
            .feedback(&Feedback {
                payload_specific: true,
                format: Feedback::PLI,
                sender_ssrc: 1,
                media_ssrc: 2,
                control: &[],
            })
            .bye(&[1, 2], b"teardown");
        out
    }

    #[test]
    fn every_packet_reads_back_as_it_was_printed() {
        let bytes = everything();
        let packets: Vec<_> = Compound::parse(&bytes, false).unwrap().iter().collect();
        assert_eq!(packets.len(), 6);
        let RtcpPacket::SenderReport {
            ssrc: 1,
            info,
            reports,
        } = packets[0]
        else {
            panic!()
        };
        assert_eq!((info.ntp, info.octets), (0x0102_0304_0506_0708, 1600));
        assert_eq!(reports.iter().collect::<Vec<_>>(), [BLOCK, BLOCK]);
        let RtcpPacket::SourceDescription(chunks) = packets[2] else {
            panic!()
        };
        let chunk = chunks.iter().next().unwrap();
        assert_eq!((chunk.ssrc, chunk.cname()), (1, Some(&b"abc@example"[..])));
        assert_eq!(chunk.items().count(), 2);
        let RtcpPacket::Feedback(feedback) = packets[4] else {
            panic!()
        };
        assert_eq!(feedback.key_frame_requests().collect::<Vec<_>>(), [2]);
        let RtcpPacket::Bye { sources, reason } = packets[5] else {
            panic!()
        };
        assert_eq!(
            (sources.iter().collect::<Vec<_>>(), reason),
            (vec![1, 2], &b"teardown"[..])
        );
    }

    #[test]
    fn every_cut_inside_a_packet_is_refused() {
        let bytes = everything();
        let mut whole = 0;
        for len in 1..bytes.len() {
            whole += usize::from(Compound::parse(&bytes[..len], false).is_ok());
        }
        assert_eq!(whole, 5, "only a cut between two packets leaves a compound");
    }

    #[test]
    fn a_compound_that_does_not_begin_with_a_report_needs_reduced_size() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).source_description(1, &[(CNAME, b"a")]);
        assert_eq!(
            Compound::parse(&bytes, false).unwrap_err(),
            RtcpError::First { found: 202 }
        );
        assert_eq!(Compound::parse(&bytes, true).unwrap().iter().count(), 1);
    }

    #[test]
    fn padding_belongs_to_the_last_packet() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes)
            .receiver_report(1, &[])
            .receiver_report(2, &[]);
        bytes[0] |= PADDING;
        assert_eq!(
            Compound::parse(&bytes, false).unwrap_err(),
            RtcpError::Padding { offset: 0 }
        );
        bytes[0] &= !PADDING;
        // A last packet of three words, the last one padding.
        bytes.extend_from_slice(&[0, 0, 0, 4]);
        bytes[8] |= PADDING;
        bytes[11] = 2;
        assert_eq!(Compound::parse(&bytes, false).unwrap().iter().count(), 2);
    }

    #[test]
    fn a_count_that_the_length_does_not_hold_is_refused() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).receiver_report(1, &[]);
        bytes[0] |= 3;
        assert!(matches!(
            Compound::parse(&bytes, false),
            Err(RtcpError::Truncated(_))
        ));
    }

    #[test]
    fn a_fir_names_its_sources_inside() {
        let control = [0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0];
        let fir = Feedback {
            payload_specific: true,
            format: Feedback::FIR,
            sender_ssrc: 1,
            media_ssrc: 0,
            control: &control,
        };
        assert_eq!(fir.key_frame_requests().collect::<Vec<_>>(), [5, 6]);
        let nack = Feedback {
            payload_specific: false,
            ..fir
        };
        assert_eq!(nack.key_frame_requests().count(), 0);
    }

    #[test]
    fn reports_over_the_count_are_left_out_not_wrapped() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).receiver_report(1, &[BLOCK; 40]);
        let RtcpPacket::ReceiverReport { reports, .. } =
            Compound::parse(&bytes, false).unwrap().iter().next().unwrap()
        else {
            panic!()
        };
        assert_eq!(reports.iter().count(), MAX_COUNT);
    }
}
