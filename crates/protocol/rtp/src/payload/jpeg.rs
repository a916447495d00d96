//! JPEG (RFC 2435): whole images, with the headers that the payload's own header stands for.

use super::{At, Depacketizer};
use ringpost_base::Cursor;
use std::collections::BTreeMap;

/// What holds from one packet to the next.
#[derive(Debug, Default)]
pub(super) struct Jpeg {
    /// How long the headers are that the image at hand begins with.
    head_bytes: usize,
    /// Quantization tables that were sent, by Q: a later image may leave them out.
    tables: BTreeMap<u8, Tables>,
}

/// Two quantization tables, luminance and chrominance, in the order of the image (zigzag).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tables([Vec<u8>; 2]);

/// Tables K.1 and K.2 of ITU-T T.81, row by row.
const LUMINANCE: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17,
    22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78,
    87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMINANCE: [u16; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// A Huffman table of ITU-T T.81 annex K.3: its class and number, how many codes have 1 to 16 bits, what they stand for.
type Huffman = (u8, [u8; 16], &'static [u8]);

const DC_SYMBOLS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

const HUFFMAN: [Huffman; 4] = [
    (
        0x00,
        [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        &DC_SYMBOLS,
    ),
    (
        0x10,
        [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125],
        &LUMINANCE_AC,
    ),
    (
        0x01,
        [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        &DC_SYMBOLS,
    ),
    (
        0x11,
        [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119],
        &CHROMINANCE_AC,
    ),
];

#[rustfmt::skip]
const LUMINANCE_AC: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[rustfmt::skip]
const CHROMINANCE_AC: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

/// The end of an image.
const END: [u8; 2] = [0xff, 0xd9];

/// The places of a block's 64 values, row by row, in zigzag order (ITU-T T.81 figure 5).
fn zigzag() -> impl Iterator<Item = usize> {
    (0..15).flat_map(|diagonal: usize| {
        let (first, last) = (diagonal.saturating_sub(7), diagonal.min(7));
        (first..=last).map(move |n| {
            // Even diagonals go up, odd ones down.
            let row = if diagonal.is_multiple_of(2) {
                first + last - n
            } else {
                n
            };
            row * 8 + diagonal - row
        })
    })
}

impl Tables {
    /// Those that a Q below 128 stands for. Values that are reserved count as the next one that is not.
    //= https://www.rfc-editor.org/rfc/rfc2435#section-4.2
    fn of_quality(q: u8) -> Self {
        let q = u16::from(q.clamp(1, 99));
        let scale = if q < 50 { 5_000 / q } else { 200 - 2 * q };
        let scaled = |table: &[u16; 64]| {
            let value = |at: usize| (u32::from(table[at]) * u32::from(scale) + 50) / 100;
            zigzag().map(|at| value(at).clamp(1, 255) as u8).collect()
        };
        Tables([scaled(&LUMINANCE), scaled(&CHROMINANCE)])
    }

    /// Those of a header: one or two, of 64 values of one or two bytes as `precision` says by bits. `None` when there are none.
    //= https://www.rfc-editor.org/rfc/rfc2435#section-3.1.8
    fn of_header(precision: u8, data: &[u8]) -> Option<Self> {
        let len = |table: u8| if precision >> table & 1 == 1 { 128 } else { 64 };
        let (first, rest) = data.split_at_checked(len(0))?;
        let second = match rest.is_empty() {
            true => first,
            false => rest.get(..len(1))?,
        };
        Some(Tables([first.to_vec(), second.to_vec()]))
    }
}

/// What a packet says of its image.
struct Header<'a> {
    offset: usize,
    /// Only 0 and 1, whose images have three components.
    kind: u8,
    quality: u8,
    /// In pixels.
    width: u16,
    height: u16,
    restart_interval: Option<u16>,
    /// Precision and values, as they are sent; only with the first packet.
    tables: Option<(u8, &'a [u8])>,
    scan: &'a [u8],
}

//= https://www.rfc-editor.org/rfc/rfc2435#section-3.1
fn header(payload: &[u8]) -> Option<Header<'_>> {
    let mut cursor = Cursor::new(payload);
    let offset = (cursor.u32().ok()? & 0x00ff_ffff) as usize;
    let (kind, quality) = (cursor.u8().ok()?, cursor.u8().ok()?);
    let (width, height) = (cursor.u8().ok()?, cursor.u8().ok()?);
    let mut restart_interval = None;
    //= https://www.rfc-editor.org/rfc/rfc2435#section-3.1.7
    if (64..128).contains(&kind) {
        restart_interval = Some(cursor.u16().ok()?);
        cursor.u16().ok()?;
    }
    let mut tables = None;
    if quality >= 128 && offset == 0 {
        cursor.u8().ok()?;
        let precision = cursor.u8().ok()?;
        let len = cursor.u16().ok()?;
        tables = Some((precision, cursor.take(usize::from(len)).ok()?));
    }
    let is_known = kind < 128 && kind & 0x3f <= 1 && quality > 0 && width > 0 && height > 0;
    is_known.then_some(Header {
        offset,
        kind: kind & 0x3f,
        quality,
        width: u16::from(width) * 8,
        height: u16::from(height) * 8,
        restart_interval,
        tables,
        scan: cursor.rest(),
    })
}

impl Header<'_> {
    /// What an image begins with, up to its scan.
    //= https://www.rfc-editor.org/rfc/rfc2435#section-4.1
    fn image_head(&self, tables: &Tables) -> Vec<u8> {
        let mut out = vec![0xff, 0xd8];
        for (number, table) in (0..).zip(&tables.0) {
            let precision = u8::from(table.len() == 128) << 4;
            segment(&mut out, 0xdb, &[&[precision | number][..], table].concat());
        }
        if let Some(interval) = self.restart_interval.filter(|interval| *interval > 0) {
            segment(&mut out, 0xdd, &interval.to_be_bytes());
        }
        let luminance = if self.kind == 0 { 0x21 } else { 0x22 };
        let ([high, low], [left, right]) = (self.height.to_be_bytes(), self.width.to_be_bytes());
        let frame = [
            8, high, low, left, right, 3, 1, luminance, 0, 2, 0x11, 1, 3, 0x11, 1,
        ];
        segment(&mut out, 0xc0, &frame);
        for (number, counts, symbols) in HUFFMAN {
            segment(&mut out, 0xc4, &[&[number][..], &counts, symbols].concat());
        }
        segment(&mut out, 0xda, &[3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]);
        out
    }
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&(body.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(body);
}

impl Jpeg {
    /// The tables of an image, which it brings, which one before it has brought, or which its Q stands for.
    fn tables(&mut self, header: &Header<'_>) -> Option<Tables> {
        let quality = header.quality;
        match header.tables {
            None => Some(Tables::of_quality(quality)),
            Some((_, [])) => self.tables.get(&quality).cloned(),
            Some((precision, data)) => {
                let tables = Tables::of_header(precision, data)?;
                // Those of 255 are good for their image alone.
                if quality < 255 {
                    self.tables.insert(quality, tables.clone());
                }
                Some(tables)
            }
        }
    }
}

impl Depacketizer {
    pub(super) fn jpeg(&mut self, at: At<'_>) {
        let Some(header) = header(at.payload) else {
            return self.damage(at.timestamp);
        };
        if header.offset == 0 {
            let Some(tables) = self.jpeg.tables(&header) else {
                return self.damage(at.timestamp);
            };
            let head = header.image_head(&tables);
            self.jpeg.head_bytes = head.len();
            self.unit(at.timestamp).is_key = true;
            self.fragment = Some(head);
        }
        let expected = header.offset + self.jpeg.head_bytes;
        match &self.fragment {
            Some(fragment) if fragment.len() == expected => {
                self.extend(at.timestamp, header.scan);
            }
            _ => self.damage(at.timestamp),
        }
    }

    /// The image whose last packet has come.
    pub(super) fn jpeg_image(&mut self) -> Option<Vec<u8>> {
        let mut image = self.fragment.take()?;
        // Whether the scan brings its end is the sender's choice.
        if !image.ends_with(&END) {
            image.extend_from_slice(&END);
        }
        Some(image)
    }
}
