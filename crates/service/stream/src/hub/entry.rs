//! Where a reader may begin: which packets begin a picture that needs no other.

use ringpost_rtp::payload::{
    begins_vp8, begins_vp9, is_h264_key, is_h264_recovery_point, is_h265_key, is_h265_recovery_point,
    is_mpeg4_key, mpeg4_start_codes, split_annex_b,
};

/// Finds the packets of one source that a reader may begin with, in the order in which they were sent.
///
/// A key picture is begun with its parameter sets where they come right before it, though cameras give them a timestamp of
/// their own, or mark their end. What says of itself that decoding may begin there (a recovery point) is one.
#[derive(Debug)]
pub(crate) struct Entries {
    coding: Coding,
    run: Run,
    /// The timestamp of the packet before.
    timestamp: Option<u32>,
    /// The timestamp of the last slice that needs others.
    slice: Option<u32>,
    /// Whether a decoder knows, or could, what it needs beside pictures.
    has_sets: bool,
}

/// What a packet is to a reader who has had none before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It may begin here.
    Entry,
    /// A picture begins here that needs others; its parameter sets are known.
    Picture,
    /// Nothing begins here.
    Within,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    H264,
    H265,
    Vp8,
    Vp9,
    Mpeg4Visual,
    /// Each unit stands for itself, or nobody here knows.
    Each,
}

/// What the packets before were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Other,
    /// Parameter sets, and a reader may begin with the first of them.
    Sets,
    /// A key picture of this timestamp.
    Key(u32),
}

/// What there is in a packet.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    sets: bool,
    key: bool,
    other: bool,
}

impl Entries {
    /// For a track of this encoding, as `a=rtpmap` names it; `has_sets`: the description tells its parameter sets.
    pub(crate) fn new(encoding: &str, has_sets: bool) -> Self {
        let coding = match encoding.to_ascii_uppercase().as_str() {
            "H264" => Coding::H264,
            "H265" => Coding::H265,
            "VP8" => Coding::Vp8,
            "VP9" => Coding::Vp9,
            "MP4V-ES" => Coding::Mpeg4Visual,
            _ => Coding::Each,
        };
        Entries {
            coding,
            run: Run::Other,
            timestamp: None,
            slice: None,
            has_sets,
        }
    }

    /// What there is in a payload; `None` where each unit stands for itself.
    fn found(&self, payload: &[u8]) -> Option<Found> {
        let mut found = Found::default();
        match self.coding {
            Coding::Each => return None,
            Coding::Vp8 => found.note_frame(begins_vp8(payload)),
            Coding::Vp9 => found.note_frame(begins_vp9(payload)),
            Coding::Mpeg4Visual => found.note_mpeg4(payload),
            Coding::H264 | Coding::H265 if is_annex_b(payload) => {
                split_annex_b(payload).for_each(|nal| found.note_nal(self.coding, nal));
            }
            Coding::H264 => found.note_h264(payload),
            Coding::H265 => found.note_h265(payload),
        }
        Some(found)
    }

    /// Whether what a picture of this timestamp begins with was there already.
    fn is_begun(&self, timestamp: u32) -> bool {
        match self.run {
            Run::Sets => true,
            Run::Key(of) => of == timestamp,
            Run::Other => false,
        }
    }

    /// What the packet of this timestamp and payload is, which comes next.
    pub(crate) fn handle(&mut self, timestamp: u32, payload: &[u8]) -> Place {
        let is_new = self.timestamp.replace(timestamp) != Some(timestamp);
        let Some(found) = self.found(payload) else {
            return if is_new { Place::Entry } else { Place::Within };
        };
        let is_begun = self.is_begun(timestamp);
        let before = self.run;
        self.run = match found {
            Found { key: true, .. } => Run::Key(timestamp),
            Found { sets: true, .. } if before == Run::Key(timestamp) => before,
            Found { sets: true, .. } => Run::Sets,
            Found { other: true, .. } if before == Run::Key(timestamp) => before,
            Found { other: true, .. } => Run::Other,
            _ => before,
        };
        self.has_sets |= found.sets;
        let is_first_slice = found.other && self.slice.replace(timestamp) != Some(timestamp);
        // Of other codings nothing can be made without a key picture, ever.
        let is_refreshing = matches!(self.coding, Coding::H264 | Coding::H265) && self.has_sets;
        match found {
            Found { key, sets, .. } if (key || sets) && !is_begun => Place::Entry,
            _ if is_first_slice && is_refreshing && !is_begun => Place::Picture,
            _ => Place::Within,
        }
    }
}

/// Whether a payload holds start codes, which RTP knows none of, and some cameras send.
// Guards pitfall RTP 10.
fn is_annex_b(payload: &[u8]) -> bool {
    payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1])
}

impl Found {
    fn note_nal(&mut self, coding: Coding, nal: &[u8]) {
        let Some(header) = nal.first() else { return };
        if coding == Coding::H264 {
            self.note_h264_kind(header & 0x1f);
            self.key |= is_h264_recovery_point(nal);
        } else if is_h265_key(nal) || is_h265_recovery_point(nal) {
            self.key = true;
        } else {
            match header >> 1 & 0x3f {
                0..=31 => self.other = true,
                32..=34 => self.sets = true,
                _ => {}
            }
        }
    }

    /// The same of a unit of which the beginning alone is there.
    fn note_begun(&mut self, coding: Coding, header: &[u8], beginning: &[u8]) {
        let is_sei = match coding {
            Coding::H264 => header[0] == 6,
            _ => header[0] >> 1 == 39,
        };
        match is_sei {
            // Long user data may stand behind what is looked for.
            true => self.note_nal(coding, &[header, beginning].concat()),
            false => self.note_nal(coding, header),
        }
    }

    fn note_h264_kind(&mut self, kind: u8) {
        match kind {
            kind if is_h264_key(&[kind]) => self.key = true,
            1..=4 => self.other = true,
            7 | 8 => self.sets = true,
            _ => {}
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6184#section-5.2
    fn note_h264(&mut self, payload: &[u8]) {
        match payload {
            [header, rest @ ..] if matches!(header & 0x1f, 24 | 25) => {
                // STAP-B has its decoding order number first.
                let mut rest = rest
                    .get(2 * usize::from(header & 0x1f == 25)..)
                    .unwrap_or_default();
                while let [high, low, behind @ ..] = rest {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    let Some((nal, next)) = behind.split_at_checked(length) else {
                        break;
                    };
                    self.note_nal(Coding::H264, nal);
                    rest = next;
                }
            }
            // FU-A and FU-B: only the first piece begins anything.
            [header, fragment, ..] if matches!(header & 0x1f, 28 | 29) => {
                if fragment & 0x80 != 0 {
                    let skip = 2 + 2 * usize::from(header & 0x1f == 29);
                    let beginning = payload.get(skip..).unwrap_or_default();
                    self.note_begun(Coding::H264, &[fragment & 0x1f], beginning);
                }
            }
            nal => self.note_nal(Coding::H264, nal),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc7798#section-4.4
    fn note_h265(&mut self, payload: &[u8]) {
        let [header, _, rest @ ..] = payload else { return };
        match header >> 1 & 0x3f {
            48 => {
                let mut rest = rest;
                while let [high, low, behind @ ..] = rest {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    let Some((nal, next)) = behind.split_at_checked(length) else {
                        break;
                    };
                    self.note_nal(Coding::H265, nal);
                    rest = next;
                }
            }
            49 => {
                if let Some((fragment, beginning)) = rest.split_first()
                    && fragment & 0x80 != 0
                {
                    self.note_begun(Coding::H265, &[(fragment & 0x3f) << 1, 1], beginning);
                }
            }
            _ => self.note_nal(Coding::H265, payload),
        }
    }

    /// The headers of its sequence and of a group are to MPEG-4 video what parameter sets are to others.
    //= https://www.rfc-editor.org/rfc/rfc6416#section-5.2
    fn note_mpeg4(&mut self, payload: &[u8]) {
        self.note_frame(is_mpeg4_key(payload));
        let first = mpeg4_start_codes(payload).next().filter(|(at, _)| *at == 0);
        let is_header = first.is_some_and(|(_, code)| matches!(code, 0..=0x2f | 0xb0 | 0xb3 | 0xb5));
        self.sets = is_header && !self.other;
    }

    fn note_frame(&mut self, begins: Option<bool>) {
        match begins {
            Some(true) => self.key = true,
            Some(false) => self.other = true,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(encoding: &str, has_sets: bool, packets: &[(u32, &[u8])]) -> Vec<Place> {
        let mut entries = Entries::new(encoding, has_sets);
        let packets = packets.iter();
        packets
            .map(|(timestamp, payload)| entries.handle(*timestamp, payload))
            .collect()
    }

    fn entries(encoding: &str, packets: &[(u32, &[u8])]) -> Vec<bool> {
        let places = places(encoding, true, packets).into_iter();
        places.map(|place| place == Place::Entry).collect()
    }

    #[test]
    fn mpeg4_video_is_entered_with_a_picture_coded_by_itself_and_the_headers_before_it() {
        let config: &[u8] = &[0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20, 0x84];
        let group: &[u8] = &[0, 0, 1, 0xb3, 0, 0x10, 7];
        let key: &[u8] = &[0, 0, 1, 0xb6, 0x10, 7];
        let other: &[u8] = &[0, 0, 1, 0xb6, 0x50, 7];
        let whole = [config, group, key].concat();
        let packets: &[(u32, &[u8])] = &[
            (0, other),
            (1, config),
            (1, group),
            (1, key),
            (1, &[7, 7]),
            (2, other),
            (3, &whole),
            (3, &[7, 7]),
            (4, other),
            (5, key),
            (6, &[0, 0, 1, 0xb1]),
        ];
        let expected = [
            false, true, false, false, false, false, true, false, false, true, false,
        ];
        assert_eq!(entries("MP4V-ES", packets), expected);
    }

    #[test]
    fn a_recovery_point_is_entered_with_the_sets_before_it_whole_or_begun() {
        let recovery: &[u8] = &[0x06, 6, 2, 0x1a, 0x40, 0x80];
        let packets: &[(u32, &[u8])] = &[
            (0, &[0x67, 1]),
            (0, &[0x68, 1]),
            (0, recovery),
            (0, &[0x41, 1]),
            (9, &[0x41, 1]),
            (18, &[0x41, 1]),
            (18, &[0x41, 1]),
            (27, &[0x1c, 0x86, 6, 2, 0x1a]),
            (27, &[0x41, 1]),
            (36, &[0x09, 0xf0]),
            (36, &[0x41, 1]),
        ];
        use Place::{Entry, Picture, Within};
        let expected = [
            Entry, Within, Within, Within, Picture, Picture, Within, Entry, Within, Within, Picture,
        ];
        assert_eq!(places("H264", false, packets), expected);
        let sei: &[u8] = &[39 << 1, 1, 6, 1, 0xc0, 0x80];
        let begun: &[u8] = &[49 << 1, 1, 0x80 | 39, 6, 1, 0xc0];
        let trail: &[u8] = &[1 << 1, 1, 0];
        let packets: &[(u32, &[u8])] = &[(0, sei), (0, trail), (1, trail), (2, begun), (2, trail)];
        assert_eq!(
            places("H265", true, packets),
            [Entry, Within, Picture, Entry, Within]
        );
        // Nothing can be made of these.
        assert_eq!(places("H265", false, &[(0, trail), (1, trail)]), [Within; 2]);
        assert_eq!(places("VP8", true, &[(0, &[0x10, 0x01])]), [Within]);
    }

    #[test]
    fn a_key_picture_is_entered_once_with_its_parameter_sets() {
        let sps_then_idr: &[(u32, &[u8])] = &[
            (0, &[0x67, 1]),
            (0, &[0x68, 1]),
            (0, &[0x7c, 0x85, 0]),
            (0, &[0x7c, 0x45, 0]),
            (9, &[0x41, 0]),
            (18, &[0x65, 0]),
        ];
        assert_eq!(
            entries("H264", sps_then_idr),
            [true, false, false, false, false, true]
        );
    }

    #[test]
    fn parameter_sets_with_a_timestamp_of_their_own_are_where_one_begins() {
        let packets: &[(u32, &[u8])] = &[
            (0, &[0x67, 1]),
            (0, &[0x68, 1]),
            (5, &[0x65, 0]),
            (5, &[0x65, 0]),
            (9, &[0x41]),
        ];
        assert_eq!(entries("H264", packets), [true, false, false, false, false]);
        let twice: &[(u32, &[u8])] = &[(0, &[0x65]), (9, &[0x65])];
        assert_eq!(
            entries("H264", twice),
            [true, true],
            "two key pictures are two entries"
        );
    }

    #[test]
    fn aggregates_and_start_codes_are_looked_into() {
        let stap: &[u8] = &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 1, 0x65];
        let annex_b: &[u8] = &[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 1];
        assert_eq!(
            entries("H264", &[(0, stap), (1, &[0x41]), (2, annex_b)]),
            [true, false, true]
        );
        let cut: &[u8] = &[0x78, 0, 9, 0x67];
        assert_eq!(entries("H264", &[(0, cut), (1, &[]), (2, &[0x7c])]), [false; 3]);
    }

    // Guards pitfall RTP 11.
    #[test]
    fn a_frame_of_vp9_that_only_its_descriptor_calls_a_key_is_none() {
        // As ffmpeg sends them: I, B, E and a picture's number before each frame.
        let packets: &[(u32, &[u8])] = &[
            (0, &[0x8c, 1, 0x86, 0x00, 0x40]),
            (1, &[0x8c, 2, 0x82, 0x49, 0x83, 0x42]),
            (2, &[0x8c, 3, 0x86, 0x00, 0x40]),
            // Another frame is shown.
            (3, &[0x8c, 4, 0x88]),
            // A key frame of an upper layer.
            (4, &[0x28, 0x02, 0, 0x82]),
        ];
        assert_eq!(entries("VP9", packets), [false, true, false, false, false]);
    }

    #[test]
    fn h265_vp8_vp9_and_what_stands_for_itself() {
        let vps: &[u8] = &[32 << 1, 1, 0];
        let idr: &[u8] = &[49 << 1, 1, 0x80 | 19];
        let trail: &[u8] = &[1 << 1, 1, 0];
        assert_eq!(
            entries("H265", &[(0, vps), (0, idr), (1, trail), (2, idr)]),
            [true, false, false, true]
        );
        let vp8_key: &[u8] = &[0x90, 0x80, 0x81, 0x02, 0x00];
        let vp8_other: &[u8] = &[0x10, 0x01];
        assert_eq!(entries("VP8", &[(0, vp8_key), (1, vp8_other)]), [true, false]);
        assert_eq!(
            entries(
                "VP9",
                &[(0, &[0x08, 0x82]), (1, &[0x48, 0x86]), (2, &[0x00, 0x82])]
            ),
            [true, false, false]
        );
        assert_eq!(
            entries("JPEG", &[(0, &[1]), (0, &[1]), (1, &[1])]),
            [true, false, true]
        );
    }
}
