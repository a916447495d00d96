//! JPEG images in RTP (RFC 2435).

use ringpost_base::Cursor;
use ringpost_rtp::payload::write::Payload;

/// What of an image is sent; its Huffman tables are those that RFC 2435 has for all.
struct Image<'a> {
    /// 0: 4:2:2, 1: 4:2:0.
    kind: u8,
    width: u16,
    height: u16,
    restart_interval: u16,
    /// In the order of the image, 64 octets each: luminance, chrominance.
    tables: [&'a [u8]; 2],
    scan: &'a [u8],
}

/// Markers of ITU-T T.81 table B.1.
const START: u8 = 0xd8;
const BASELINE: u8 = 0xc0;
const QUANTIZATION: u8 = 0xdb;
const RESTART: u8 = 0xdd;
const SCAN: u8 = 0xda;
const END: [u8; 2] = [0xff, 0xd9];

/// Width and height of an image in pixels.
pub(crate) fn size(image: &[u8]) -> Option<(u16, u16)> {
    let mut found = None;
    segments(image, |marker, body| {
        if (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
            found = Some((be16(body.get(3..5)?), be16(body.get(1..3)?)));
        }
        Some(())
    })?;
    found
}

/// The payloads of an image; none where RFC 2435 has no way to send it: only images of three components in 4:2:2 and 4:2:0 with
/// tables of 8 bits, of at most 2,040 pixels.
//= https://www.rfc-editor.org/rfc/rfc2435#section-3.1
pub(super) fn payloads(image: &[u8], max_bytes: usize) -> Vec<Payload> {
    let Some(image) = read(image) else {
        return Vec::new();
    };
    let mut payloads = Vec::new();
    let mut at = 0;
    while at < image.scan.len() {
        let mut bytes = (at as u32 & 0x00ff_ffff).to_be_bytes().to_vec();
        let restarts = if image.restart_interval > 0 { 64 } else { 0 };
        // With 255 the tables of each image come with it (section 3.1.8).
        bytes.extend([image.kind | restarts, 255]);
        bytes.extend([image.width.div_ceil(8) as u8, image.height.div_ceil(8) as u8]);
        if image.restart_interval > 0 {
            bytes.extend(image.restart_interval.to_be_bytes());
            // The whole image is one chunk: it is decoded when all of it has come (section 3.1.7).
            bytes.extend([0xff, 0xff]);
        }
        if at == 0 {
            bytes.extend([0, 0, 0, 128]);
            bytes.extend_from_slice(image.tables[0]);
            bytes.extend_from_slice(image.tables[1]);
        }
        let room = max_bytes.saturating_sub(bytes.len()).max(64);
        let end = (at + room).min(image.scan.len());
        bytes.extend_from_slice(&image.scan[at..end]);
        at = end;
        payloads.push(Payload {
            marker: at == image.scan.len(),
            timestamp_offset: 0,
            bytes,
        });
    }
    payloads
}

fn read(image: &[u8]) -> Option<Image<'_>> {
    let mut tables: [Option<&[u8]>; 4] = [None; 4];
    let mut frame = None;
    let mut restart_interval = 0;
    let scan = segments(image, |marker, body| {
        match marker {
            QUANTIZATION => {
                let mut rest = body;
                while let Some((number, behind)) = rest.split_first() {
                    // The precision stands in the upper half: only 8 bits are sent.
                    let table = behind.get(..64)?;
                    *tables.get_mut(usize::from(*number))? = Some(table);
                    rest = &behind[64..];
                }
            }
            BASELINE => frame = Some(body),
            RESTART => restart_interval = be16(body.get(..2)?),
            _ => {}
        }
        Some(())
    })?;
    let frame = frame?;
    let (height, width) = (be16(frame.get(1..3)?), be16(frame.get(3..5)?));
    let components = frame.get(6..15).filter(|_| frame.len() == 15 && frame[5] == 3)?;
    let kind = match (components[1], components[4], components[7]) {
        (0x21, 0x11, 0x11) => 0,
        (0x22, 0x11, 0x11) => 1,
        _ => return None,
    };
    let table = |component: usize| {
        tables
            .get(usize::from(components[3 * component + 2]))
            .copied()
            .flatten()
    };
    let is_small = (1..=2_040).contains(&width) && (1..=2_040).contains(&height);
    let scan = scan.strip_suffix(&END).unwrap_or(scan);
    (is_small && scan.len() < 1 << 24).then_some(Image {
        kind,
        width,
        height,
        restart_interval,
        tables: [table(0)?, table(1)?],
        scan,
    })
}

/// Shows each segment before the scan, and gives what comes behind the scan's header.
fn segments<'a>(image: &'a [u8], mut show: impl FnMut(u8, &'a [u8]) -> Option<()>) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(image);
    if cursor.take(2).ok()? != [0xff, START] {
        return None;
    }
    loop {
        if cursor.u8().ok()? != 0xff {
            return None;
        }
        let mut marker = cursor.u8().ok()?;
        while marker == 0xff {
            marker = cursor.u8().ok()?;
        }
        let length = usize::from(cursor.u16().ok()?);
        let body = cursor.take(length.checked_sub(2)?).ok()?;
        if marker == SCAN {
            return Some(cursor.rest());
        }
        show(marker, body)?;
    }
}

fn be16(two: &[u8]) -> u16 {
    u16::from_be_bytes([two[0], two[1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_rtp::payload::{Depacketizer, Format};

    /// As libjpeg wrote them.
    const IMAGES: [&[u8]; 2] = [
        include_bytes!("../../../../protocol/rtp/src/payload/testdata/q30-422.jpg"),
        include_bytes!("../../../../protocol/rtp/src/payload/testdata/q80-420.jpg"),
    ];

    fn received(image: &[u8], max_bytes: usize) -> Vec<u8> {
        let mut depacketizer = Depacketizer::new(Format::Jpeg);
        for (payload, sequence) in payloads(image, max_bytes).iter().zip(0..) {
            assert!(payload.bytes.len() <= max_bytes);
            depacketizer.handle(sequence, 7, payload.marker, &payload.bytes);
        }
        depacketizer.end();
        depacketizer.poll().expect("an image").pieces.concat()
    }

    #[test]
    fn images_are_received_with_their_tables_and_scan() {
        for image in IMAGES {
            assert_eq!(size(image), Some((16, 16)));
            for max_bytes in [250, 1_388] {
                let first = received(image, max_bytes);
                let (sent, got) = (read(image).expect("an image"), read(&first).expect("an image"));
                assert_eq!(
                    (sent.kind, sent.tables, sent.scan),
                    (got.kind, got.tables, got.scan)
                );
                // What has come so goes on as it is.
                assert!(received(&first, max_bytes) == first);
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_not() {
        for image in IMAGES {
            for cut in 0..image.len() {
                let _ = (payloads(&image[..cut], 500), size(&image[..cut]));
            }
            let at = image
                .windows(2)
                .position(|marker| marker == [0xff, BASELINE])
                .expect("a frame");
            let mut other = image.to_vec();
            other[at + 11] = 0x11;
            assert!(payloads(&other, 500).is_empty(), "4:4:4");
            let mut other = image.to_vec();
            other[at + 5] = 0x10;
            assert!(payloads(&other, 500).is_empty(), "4,000 pixels");
        }
        assert!(payloads(b"\xff\xd8no image", 500).is_empty());
    }
}
