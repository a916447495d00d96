//! AAC in both of its payload formats (RFC 3640, RFC 6416), MPEG audio (RFC 2250), Opus (RFC 7587) and what needs no framing.

use super::{At, Depacketizer};
use ringpost_base::limits;

/// What `a=fmtp` says of AU headers (RFC 3640 §4.1): lengths in bits, at most 32 each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AacHeaders {
    /// `sizeLength`.
    pub size_bits: u8,
    /// `indexLength`.
    pub index_bits: u8,
    /// `indexDeltaLength`.
    pub index_delta_bits: u8,
    /// `CTSDeltaLength`.
    pub cts_delta_bits: u8,
    /// `DTSDeltaLength`.
    pub dts_delta_bits: u8,
    /// `randomAccessIndication`.
    pub has_random_access: bool,
    /// `streamStateIndication`.
    pub stream_state_bits: u8,
    /// `auxiliaryDataSizeLength`.
    pub auxiliary_size_bits: u8,
    /// `constantSize`: the size of all units, in bytes, where `size_bits` is 0.
    pub constant_size_bytes: u32,
    /// `constantDuration`, or what the codec's frames last, in units of the clock.
    pub duration_units: u32,
}

impl AacHeaders {
    /// The mode that nearly all use: `AAC-hbr` with frames of 1,024 samples.
    //= https://www.rfc-editor.org/rfc/rfc3640#section-3.3.6
    pub const HIGH_BIT_RATE: AacHeaders = AacHeaders {
        size_bits: 13,
        index_bits: 3,
        index_delta_bits: 3,
        cts_delta_bits: 0,
        dts_delta_bits: 0,
        has_random_access: false,
        stream_state_bits: 0,
        auxiliary_size_bits: 0,
        constant_size_bytes: 0,
        duration_units: 1_024,
    };

    fn is_empty(&self) -> bool {
        let bits = [
            self.size_bits,
            self.index_bits,
            self.index_delta_bits,
            self.cts_delta_bits,
            self.dts_delta_bits,
            self.stream_state_bits,
        ];
        bits.iter().all(|bits| *bits == 0) && !self.has_random_access
    }

    /// Whether nothing tells sizes: a packet has one unit, or a part of one.
    //= https://www.rfc-editor.org/rfc/rfc3640#section-3.2.3
    pub(super) fn is_sizeless(&self) -> bool {
        self.size_bits == 0 && self.constant_size_bytes == 0
    }

    /// What stands before a unit that is alone in its packet, or before a part of it: where it says its place, that is 0, as it is
    /// of units that last equally long.
    //= https://www.rfc-editor.org/rfc/rfc3640#section-3.2.3.2
    pub(super) fn before(&self, size_bytes: usize, is_first: bool) -> Vec<u8> {
        let mut header = BitWriter::default();
        header.put(size_bytes as u32, self.size_bits);
        header.put(0, self.index_bits);
        // No offsets of times.
        header.put(0, (self.cts_delta_bits > 0).into());
        header.put(0, (self.dts_delta_bits > 0).into());
        if self.has_random_access {
            header.put(is_first.into(), 1);
        }
        header.put(0, self.stream_state_bits);
        let mut before = Vec::new();
        if !self.is_empty() {
            before.extend_from_slice(&(header.bits as u16).to_be_bytes());
            before.append(&mut header.bytes);
        }
        //= https://www.rfc-editor.org/rfc/rfc3640#section-3.2.2
        before.resize(
            before.len() + usize::from(self.auxiliary_size_bits).div_ceil(8),
            0,
        );
        before
    }
}

/// Reads numbers of some bits, the most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], bits: usize) -> Self {
        Bits {
            bytes,
            at: 0,
            end: bits.min(8 * bytes.len()),
        }
    }

    fn take(&mut self, bits: u8) -> Option<u32> {
        let bits = usize::from(bits.min(32));
        if self.end - self.at < bits {
            return None;
        }
        let mut value = 0u64;
        for at in self.at..self.at + bits {
            value = value << 1 | u64::from(self.bytes[at / 8] >> (7 - at % 8) & 1);
        }
        self.at += bits;
        Some(value as u32)
    }
}

/// Writes numbers of some bits, the most significant first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    bits: usize,
}

impl BitWriter {
    /// At most 32.
    fn put(&mut self, value: u32, bits: u8) {
        for at in (0..bits.min(32)).rev() {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> at & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.bits % 8);
            }
            self.bits += 1;
        }
    }
}

/// One AU header: the unit's size, its place behind the packet's first, and its offset in time where it says one.
struct AuHeader {
    size: usize,
    place: u32,
    cts_offset: Option<u32>,
}

//= https://www.rfc-editor.org/rfc/rfc3640#section-3.2.1
fn au_headers(section: &[u8], bits: usize, config: &AacHeaders) -> Option<Vec<AuHeader>> {
    let mut bits = Bits::new(section, bits);
    let mut headers: Vec<AuHeader> = Vec::new();
    while bits.at < bits.end {
        if headers.len() == limits::ACCESS_UNIT_PIECES {
            return None;
        }
        let from = bits.at;
        let size = match config.size_bits {
            0 => config.constant_size_bytes,
            size_bits => bits.take(size_bits)?,
        };
        let place = match headers.last() {
            None => {
                bits.take(config.index_bits)?;
                0
            }
            Some(last) => last
                .place
                .wrapping_add(bits.take(config.index_delta_bits)?)
                .wrapping_add(1),
        };
        let mut cts_offset = None;
        if config.cts_delta_bits > 0 && bits.take(1)? == 1 {
            cts_offset = Some(signed(bits.take(config.cts_delta_bits)?, config.cts_delta_bits));
        }
        if config.dts_delta_bits > 0 && bits.take(1)? == 1 {
            bits.take(config.dts_delta_bits)?;
        }
        if config.has_random_access {
            bits.take(1)?;
        }
        bits.take(config.stream_state_bits)?;
        if bits.at == from {
            return None;
        }
        headers.push(AuHeader {
            size: size as usize,
            place,
            cts_offset,
        });
    }
    Some(headers)
}

/// A number of `bits` in two's complement, as one of 32.
fn signed(value: u32, bits: u8) -> u32 {
    let unused = 32 - u32::from(bits.clamp(1, 32));
    ((value << unused) as i32 >> unused) as u32
}

impl Depacketizer {
    pub(super) fn whole(&mut self, at: At<'_>) {
        // Packets of one instant are units of their own.
        self.single(at.timestamp, at.payload.to_vec());
    }

    /// A unit of audio of its own.
    fn single(&mut self, timestamp: u32, frame: Vec<u8>) {
        self.finish();
        self.piece(timestamp, frame, true);
        self.finish();
    }

    pub(super) fn aac(&mut self, at: At<'_>, config: AacHeaders) {
        match aac_sections(at.payload, &config) {
            Some((headers, data)) if config.is_sizeless() && headers.len() == 1 => {
                let timestamp = at.timestamp;
                self.latm(At {
                    timestamp,
                    payload: data,
                });
            }
            Some((headers, data)) => self.aac_units(at, &config, &headers, data),
            None => self.damage(at.timestamp),
        }
    }

    fn aac_units(&mut self, at: At<'_>, config: &AacHeaders, headers: &[AuHeader], data: &[u8]) {
        //= https://www.rfc-editor.org/rfc/rfc3640#section-3.2.3
        if let [only] = headers
            && only.size > data.len()
        {
            return self.aac_fragment(at, only.size, data);
        }
        let mut rest = data;
        for header in headers {
            let Some((frame, behind)) = rest.split_at_checked(header.size) else {
                return self.damage(at.timestamp);
            };
            rest = behind;
            let units = header.place.wrapping_mul(config.duration_units);
            let offset = header.cts_offset.unwrap_or(units);
            if !frame.is_empty() {
                self.single(at.timestamp.wrapping_add(offset), frame.to_vec());
            }
        }
    }

    /// A part of a unit that is larger than a packet, and says its whole size in each.
    fn aac_fragment(&mut self, at: At<'_>, size: usize, data: &[u8]) {
        if self.fragment.is_none() {
            let goes_on = self.gap || self.unit.is_some();
            if goes_on || size > limits::ACCESS_UNIT_BYTES {
                // It may not be the first.
                return self.damage(at.timestamp);
            }
            self.unit(at.timestamp);
            self.fragment = Some(Vec::new());
        }
        if !self.extend(at.timestamp, data) {
            return;
        }
        let len = self.fragment.as_ref().map_or(0, Vec::len);
        if len == size {
            if let Some(frame) = self.fragment.take() {
                self.piece(at.timestamp, frame, true);
                self.finish();
            }
        } else if len > size {
            self.damage(at.timestamp);
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6416#section-6.1
    pub(super) fn latm(&mut self, at: At<'_>) {
        if self.fragment.is_none() {
            if self.gap && self.unit.is_some() {
                return self.damage(at.timestamp);
            }
            self.unit(at.timestamp);
            self.fragment = Some(Vec::new());
        }
        self.extend(at.timestamp, at.payload);
    }

    /// What the element is made of that has come to its end; nothing when it does not fit its lengths.
    pub(super) fn latm_pieces(&mut self, in_band: bool) -> Vec<Vec<u8>> {
        let element = self.fragment.take();
        if let Some(unit) = &mut self.unit {
            unit.is_key = true;
        }
        match element {
            Some(element) if in_band => vec![element],
            Some(element) => {
                let frames = latm_frames(&element).unwrap_or_default();
                frames.into_iter().map(<[u8]>::to_vec).collect()
            }
            None => Vec::new(),
        }
    }

    /// Four bytes, of which the last two say where in its frame the packet begins.
    pub(super) fn mpeg_audio(&mut self, at: At<'_>) {
        let Some((head, data)) = at.payload.split_first_chunk::<4>() else {
            return self.damage(at.timestamp);
        };
        let offset = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if offset > 0 {
            match &self.fragment {
                Some(fragment) if fragment.len() == offset => {
                    self.extend(at.timestamp, data);
                }
                _ => return self.damage(at.timestamp),
            }
            return self.close_mpeg_frame(at.timestamp);
        }
        let mut rest = data;
        let mut timestamp = at.timestamp;
        while !rest.is_empty() {
            let Some((len, duration)) = mpeg_frame(rest) else {
                return self.damage(timestamp);
            };
            match rest.split_at_checked(len) {
                Some((frame, behind)) => {
                    self.single(timestamp, frame.to_vec());
                    rest = behind;
                }
                None => {
                    self.finish();
                    self.unit(timestamp);
                    self.fragment = Some(rest.to_vec());
                    return;
                }
            }
            timestamp = timestamp.wrapping_add(duration);
        }
    }

    fn close_mpeg_frame(&mut self, timestamp: u32) {
        let is_whole = self.fragment.as_ref().and_then(|fragment| {
            let (len, _) = mpeg_frame(fragment)?;
            Some(fragment.len() >= len)
        });
        if is_whole == Some(true)
            && let Some(frame) = self.fragment.take()
        {
            self.piece(timestamp, frame, true);
            self.finish();
        }
    }
}

/// The AU headers and the data behind them and the auxiliary section.
fn aac_sections<'a>(payload: &'a [u8], config: &AacHeaders) -> Option<(Vec<AuHeader>, &'a [u8])> {
    if config.is_empty() {
        let data = behind_auxiliary(payload, config)?;
        let size = match config.constant_size_bytes {
            0 => data.len(),
            size => size as usize,
        };
        let count = (data.len() / size.max(1)).min(limits::ACCESS_UNIT_PIECES);
        let place = |place| AuHeader {
            size,
            place,
            cts_offset: None,
        };
        return Some(((0..count.max(1) as u32).map(place).collect(), data));
    }
    let (bits, rest) = payload.split_first_chunk::<2>()?;
    let bits = usize::from(u16::from_be_bytes(*bits));
    let (section, rest) = rest.split_at_checked(bits.div_ceil(8))?;
    let headers = au_headers(section, bits, config)?;
    let data = behind_auxiliary(rest, config)?;
    (!headers.is_empty()).then_some((headers, data))
}

//= https://www.rfc-editor.org/rfc/rfc3640#section-3.2.2
fn behind_auxiliary<'a>(section: &'a [u8], config: &AacHeaders) -> Option<&'a [u8]> {
    if config.auxiliary_size_bits == 0 {
        return Some(section);
    }
    let len = Bits::new(section, 8 * section.len()).take(config.auxiliary_size_bits)? as usize;
    let all = usize::from(config.auxiliary_size_bits).checked_add(len)?;
    section.get(all.div_ceil(8)..)
}

/// The frames of an AudioMuxElement without configuration: before each its length, in bytes of which all but the last are
/// 255.
fn latm_frames(element: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = element;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let mut len = 0;
        loop {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            len += usize::from(*byte);
            if *byte != 255 {
                break;
            }
        }
        let (frame, behind) = rest.split_at_checked(len)?;
        if frame.is_empty() || frames.len() == limits::ACCESS_UNIT_PIECES {
            return None;
        }
        frames.push(frame);
        rest = behind;
    }
    (!frames.is_empty()).then_some(frames)
}

/// The length of an MPEG audio frame by its header, and how long it lasts at 90 kHz (ISO 11172-3 §2.4.1.3, 13818-3).
fn mpeg_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    const LAYER_1: [u32; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
    const LAYER_2: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const LAYER_3: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const LOW_1: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
    const LOW: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [first, second, third, ..] = *bytes else {
        return None;
    };
    if first != 0xff || second & 0xe0 != 0xe0 {
        return None;
    }
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    let rate_kbps = {
        let table = match (version, layer) {
            (3, 3) => LAYER_1,
            (3, 2) => LAYER_2,
            (3, 1) => LAYER_3,
            (0 | 2, 3) => LOW_1,
            (0 | 2, 1 | 2) => LOW,
            _ => return None,
        };
        *table.get(usize::from(third >> 4).checked_sub(1)?)?
    };
    let sampling_hz = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?
        / match version {
            3 => 1,
            2 => 2,
            _ => 4,
        };
    let padding = u32::from(third >> 1 & 1);
    let samples = match (layer, version) {
        (3, _) => 384,
        (1, 0 | 2) => 576,
        _ => 1_152,
    };
    let len = match layer {
        3 => (12_000 * rate_kbps / sampling_hz + padding) * 4,
        _ => samples / 8 * 1_000 * rate_kbps / sampling_hz + padding,
    };
    Some((len as usize, samples * 90_000 / sampling_hz))
}

/// How long a packet of Opus lasts, at 48 kHz (RFC 6716 §3.1); `None` when it is none, or lasts over 120 ms.
pub fn opus_duration_units(packet: &[u8]) -> Option<u32> {
    let (toc, rest) = packet.split_first()?;
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    let all = frame * frames;
    (1..=5_760).contains(&all).then_some(all)
}
