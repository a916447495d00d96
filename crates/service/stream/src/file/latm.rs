//! AAC out of LATM with its configuration in the band (ISO/IEC 14496-3 §1.7.3): RFC 6416's `cpresent=1`.

use super::Format;
use super::audio_config::{AudioConfig, BitWriter, Bits};
use bytes::Bytes;

/// Takes elements apart: each has frames, and may have the configuration that they and those behind them have.
#[derive(Clone, Debug)]
pub(crate) struct Latm {
    /// What the description says of channels.
    channels: u8,
    /// What it says of the rest, which may be nothing.
    told: Option<Mux>,
    now: Option<Mux>,
}

/// What is of use in a StreamMuxConfig: one program of one layer, whose frames say their lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mux {
    /// The AudioSpecificConfig.
    config: Bytes,
    read: AudioConfig,
    /// How many frames an element has.
    frames: usize,
}

impl Latm {
    /// `mux` is the StreamMuxConfig that the description tells too, if it does.
    pub(crate) fn new(channels: u8, mux: Option<&[u8]>) -> Self {
        let told = mux.and_then(|mux| Mux::read(&mut Bits::new(mux)));
        Latm {
            channels,
            now: told.clone(),
            told,
        }
    }

    /// What the frames are, once that is known.
    pub(crate) fn format(&self) -> Option<Format> {
        let mux = self.now.as_ref()?;
        Some(Format::Aac {
            config: mux.config.clone(),
            channels: mux.read.channels.unwrap_or(self.channels),
        })
    }

    /// How many units of a clock a frame lasts.
    pub(crate) fn frame_units(&self, clock_rate_hz: u32) -> u32 {
        let mux = self.now.as_ref();
        mux.map_or(0, |mux| mux.read.frame_units(clock_rate_hz))
    }

    /// The frames of an element; none where it does not fit its lengths, or their configuration has not come.
    //= https://www.rfc-editor.org/rfc/rfc6416#section-6.1
    pub(crate) fn frames(&mut self, element: &[u8]) -> Vec<Vec<u8>> {
        let mut bits = Bits::new(element);
        // useSameStreamMux
        match bits.take(1) {
            Some(0) => self.now = Mux::read(&mut bits),
            Some(_) => {}
            None => return Vec::new(),
        }
        let Some(mux) = &self.now else {
            return Vec::new();
        };
        let all = (0..mux.frames).map(|_| frame(&mut bits));
        let all: Option<Vec<_>> = all.collect();
        let frames = all.unwrap_or_default().into_iter();
        frames.filter(|frame| !frame.is_empty()).collect()
    }

    /// Another publisher begins.
    pub(crate) fn reset(&mut self) {
        self.now = self.told.clone();
    }
}

/// An element of one frame, with the configuration before it, if it is to be told: the AudioSpecificConfig.
//= https://www.rfc-editor.org/rfc/rfc6416#section-6.1
pub(super) fn element(config: Option<&[u8]>, frame: &[u8]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    if let Some(config) = config {
        // useSameStreamMux
        bits.put(1, 0);
        write_mux(&mut bits, config);
    }
    for _ in 0..frame.len() / 255 {
        bits.put(8, 255);
    }
    bits.put(8, (frame.len() % 255) as u32);
    bits.put_octets(frame);
    bits.into_octets()
}

/// Writes a StreamMuxConfig of one program of one layer, whose elements have one frame that says its length.
fn write_mux(bits: &mut BitWriter, config: &[u8]) {
    let read = AudioConfig::read(config).filter(|read| {
        let behind = config.get(read.bits.div_ceil(8)..).unwrap_or_default();
        read.is_whole && behind.iter().all(|octet| *octet == 0)
    });
    // One whose end is not known has its length before it, which version 1 has alone.
    if read.is_none() {
        // Version 1, audioMuxVersionA 0, a fullness of no matter.
        bits.put(2, 0b10);
        write_value(bits, 255);
    } else {
        bits.put(1, 0);
    }
    // One time for all; one frame, and one program of one layer.
    bits.put(1, 1);
    bits.put(6 + 4 + 3, 0);
    match read {
        Some(read) => bits.put_bits(config, read.bits),
        None => {
            write_value(bits, 8 * config.len() as u32);
            bits.put_octets(config);
        }
    }
    // Frames that say their lengths, a fullness of no matter, no other data, no checksum.
    bits.put(3, 0);
    bits.put(8, 255);
    bits.put(2, 0);
}

/// What `value` reads.
fn write_value(bits: &mut BitWriter, value: u32) {
    let octets = value.checked_ilog2().unwrap_or(0) / 8 + 1;
    bits.put(2, octets - 1);
    bits.put(8 * octets, value);
}

/// Whether elements of a StreamMuxConfig that a description tells hold frames behind their lengths and nothing else. It is taken to
/// be so where what is read of it ends before it says that.
pub(super) fn has_frames_alone(mux: &[u8]) -> bool {
    let mut bits = Bits::new(mux);
    let head = (bits.take(2), bits.take(6), bits.take(7));
    if head != (Some(0b01), Some(0), Some(0)) {
        return false;
    }
    if !AudioConfig::read_bits(&mut bits).is_some_and(|read| read.is_whole) {
        return true;
    }
    // frameLengthType, latmBufferFullness, otherDataPresent
    let (lengths, _, other) = (bits.take(3), bits.take(8), bits.take(1));
    lengths.is_none_or(|lengths| lengths == 0) && other.is_none_or(|other| other == 0)
}

/// A frame behind its length, in octets of which all but the last are 255.
fn frame(bits: &mut Bits<'_>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let octet = bits.take(8)? as usize;
        length += octet;
        if octet != 255 {
            return bits.octets(length);
        }
    }
}

impl Mux {
    /// Reads a StreamMuxConfig; `None` where it ends too soon, or says what RTP does not carry or nobody here knows.
    //= https://www.rfc-editor.org/rfc/rfc6416#section-4
    fn read(bits: &mut Bits<'_>) -> Option<Mux> {
        let version = bits.take(1)?;
        if version == 1 {
            // audioMuxVersionA, of which nothing but 0 is laid down.
            if bits.take(1)? != 0 {
                return None;
            }
            value(bits)?;
        }
        let has_same_time = bits.take(1)?;
        let (sub_frames, programs, layers) = (bits.take(6)?, bits.take(4)?, bits.take(3)?);
        if has_same_time != 1 || programs != 0 || layers != 0 {
            return None;
        }
        let (read, config) = match version {
            0 => {
                let from = bits.clone();
                let read = AudioConfig::read_bits(bits).filter(|read| read.is_whole)?;
                (read, from.copy(read.bits)?)
            }
            _ => {
                let length = value(bits)?;
                let config = bits.clone().copy(length)?;
                bits.skip(length)?;
                (AudioConfig::read(&config)?, config)
            }
        };
        // frameLengthType: 0 says each frame's length before it, as AAC has it.
        if bits.take(3)? != 0 {
            return None;
        }
        // latmBufferFullness
        bits.take(8)?;
        // Other data stands behind all frames.
        if bits.take(1)? == 1 {
            match version {
                0 => while bits.take(9)? >> 8 == 1 {},
                _ => _ = value(bits)?,
            }
        }
        if bits.take(1)? == 1 {
            bits.take(8)?;
        }
        Some(Mux {
            config: config.into(),
            read,
            frames: sub_frames as usize + 1,
        })
    }
}

/// LatmGetValue.
fn value(bits: &mut Bits<'_>) -> Option<usize> {
    let octets = bits.take(2)? + 1;
    bits.take(8 * octets as usize).map(|value| value as usize)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unusual_byte_groupings)] // The groups are fields.

    use super::*;

    /// Fields of so many bits each, the highest first.
    fn bits(fields: &[(usize, u64)]) -> Vec<u8> {
        let all = fields.iter().flat_map(|(width, value)| {
            let value = *value;
            (0..*width).rev().map(move |bit| value >> bit & 1 == 1)
        });
        let all: Vec<bool> = all.collect();
        let octet = |bits: &[bool]| {
            (0..8).fold(0, |octet, bit| {
                octet << 1 | u8::from(bits.get(bit) == Some(&true))
            })
        };
        all.chunks(8).map(octet).collect()
    }

    /// AAC-LC of 44.1 kHz in stereo: an AudioSpecificConfig of 16 bits.
    const LC: (usize, u64) = (16, 0x1210);
    const SAME: (usize, u64) = (1, 1);
    const OTHER: (usize, u64) = (1, 0);
    /// Version 0, one time, one frame, one program, one layer.
    const PLAIN: (usize, u64) = (15, 0b0_1_000000_0000_000);
    /// Frames that say their lengths, a buffer of no matter, no other data, no checksum.
    const REST: (usize, u64) = (13, 0b000_11111111_0_0);

    fn frame(frame: &[u8]) -> Vec<(usize, u64)> {
        let mut fields = vec![(8, 255); frame.len() / 255];
        fields.push((8, frame.len() as u64 % 255));
        fields.extend(frame.iter().map(|octet| (8, u64::from(*octet))));
        fields
    }

    /// An element with these frames, and the AudioSpecificConfig of 16 bits before them or the word that nothing has changed.
    pub(crate) fn element(config: Option<u16>, frames: &[&[u8]]) -> Vec<u8> {
        let mut fields = match config {
            Some(config) => {
                let sub_frames = (frames.len() as u64 - 1) << 7;
                vec![OTHER, (15, PLAIN.1 | sub_frames), (16, config.into()), REST]
            }
            None => vec![SAME],
        };
        fields.extend(frames.iter().flat_map(|of| frame(of)));
        bits(&fields)
    }

    fn aac(config: &[u8]) -> Option<Format> {
        let config = Bytes::copy_from_slice(config);
        Some(Format::Aac { config, channels: 2 })
    }

    #[test]
    fn frames_are_taken_out_by_the_configuration_before_them() {
        let mut latm = Latm::new(2, None);
        // Before any configuration nothing can be made of them.
        assert!(
            latm.frames(&bits(&[&[SAME][..], &frame(b"early")].concat()))
                .is_empty()
        );
        assert_eq!((latm.format(), latm.frame_units(44_100)), (None, 0));
        let long: Vec<u8> = (0..700).map(|n| n as u8).collect();
        let first = bits(&[&[OTHER, PLAIN, LC, REST][..], &frame(b"one")].concat());
        assert_eq!(latm.frames(&first), [b"one"]);
        assert_eq!(
            (latm.format(), latm.frame_units(44_100)),
            (aac(&[0x12, 0x10]), 1_024)
        );
        assert_eq!(latm.frames(&bits(&[&[SAME][..], &frame(&long)].concat())), [long]);
        let of_510 = [7; 510];
        assert_eq!(
            latm.frames(&bits(&[&[SAME][..], &frame(&of_510)].concat())),
            [of_510]
        );
    }

    #[test]
    fn an_element_has_as_many_frames_as_its_configuration_says() {
        let mut latm = Latm::new(2, None);
        let three = (15, 0b0_1_000010_0000_000);
        let head = [OTHER, three, LC, REST];
        let whole = [&head[..], &frame(b"one"), &frame(b""), &frame(b"three")].concat();
        assert_eq!(latm.frames(&bits(&whole)), [&b"one"[..], b"three"]);
        let short = [&[SAME][..], &frame(b"one"), &frame(b"two")].concat();
        assert!(latm.frames(&bits(&short)).is_empty());
    }

    #[test]
    fn what_else_stands_in_a_configuration_is_passed_over() {
        let mut latm = Latm::new(2, None);
        // Other data of 256 + 8 bits behind the frame, and a checksum.
        let rest = [
            (11, 0b000_11111111),
            (1, 1),
            (9, 0x101),
            (9, 8),
            (1, 1),
            (8, 0x55),
        ];
        let element = [&[OTHER, PLAIN, LC][..], &rest, &frame(b"one"), &[(64, 7); 5]].concat();
        assert_eq!(latm.frames(&bits(&element)), [b"one"]);
        // Version 1 says how long the configuration is, and may go on behind what is read of it.
        let head = [OTHER, (2, 0b10), (2, 0), (8, 255), (14, 0b1_000000_0000_000)];
        let config = [(2, 0), (8, 40), LC, (24, 0x56_e5_00)];
        let rest = [(11, 0b000_11111111), (1, 1), (2, 1), (16, 300), (1, 0)];
        let element = [&head[..], &config, &rest, &frame(b"two")].concat();
        assert_eq!(latm.frames(&bits(&element)), [b"two"]);
        assert_eq!(latm.format(), aac(&[0x12, 0x10, 0x56, 0xe5, 0x00]));
    }

    #[test]
    fn what_rtp_does_not_carry_is_not_taken_for_frames() {
        for config in [
            // Two programs, two layers, frames of several times.
            [(15, 0b0_1_000000_0001_000), LC, REST],
            [(15, 0b0_1_000000_0000_001), LC, REST],
            [(15, 0b0_0_000000_0000_000), LC, REST],
            // Frames of a fixed length.
            [PLAIN, LC, (13, 0b001_000000001_0)],
            // Channels that only a program's own configuration tells, whose length nobody here knows.
            [PLAIN, (16, 0x1200), REST],
            // AAC of low delay, which has more behind what is read.
            [PLAIN, (16, 0xba10), REST],
        ] {
            let mut latm = Latm::new(2, None);
            let known = bits(&[&[OTHER, PLAIN, LC, REST][..], &frame(b"known")].concat());
            latm.frames(&known);
            let element = bits(&[&[OTHER][..], &config, &frame(b"one")].concat());
            assert!(latm.frames(&element).is_empty(), "{config:?}");
            // Those behind it have the same.
            assert!(
                latm.frames(&bits(&[&[SAME][..], &frame(b"two")].concat()))
                    .is_empty()
            );
            assert_eq!(latm.format(), None);
        }
    }

    #[test]
    fn what_a_description_tells_holds_until_the_band_says_so_and_for_the_next_publisher() {
        let told = bits(&[PLAIN, LC, REST]);
        let mut latm = Latm::new(2, Some(&told));
        assert_eq!(latm.format(), aac(&[0x12, 0x10]));
        let early = bits(&[&[SAME][..], &frame(b"early")].concat());
        assert_eq!(latm.frames(&early), [b"early"]);
        // 48 kHz.
        let other = [&[OTHER, PLAIN, (16, 0x1190), REST][..], &frame(b"other")].concat();
        assert_eq!(latm.frames(&bits(&other)), [b"other"]);
        assert_eq!(latm.format(), aac(&[0x11, 0x90]));
        latm.reset();
        assert_eq!(latm.format(), aac(&[0x12, 0x10]));
    }

    #[test]
    fn elements_that_end_too_soon_or_are_none_give_nothing() {
        let element = bits(&[&[OTHER, PLAIN, LC, REST][..], &frame(b"one")].concat());
        for end in 0..element.len() {
            assert!(Latm::new(2, None).frames(&element[..end]).is_empty(), "{end}");
        }
        let mut rng = ringpost_base::Rng::from_number(7);
        let mut latm = Latm::new(2, Some(&bits(&[PLAIN, LC, REST])));
        for _ in 0..20_000 {
            let octets: Vec<u8> = (0..rng.below(40)).map(|_| rng.u32() as u8).collect();
            let given: usize = latm.frames(&octets).iter().map(Vec::len).sum();
            assert!(given <= octets.len(), "nothing is made up");
        }
    }
}
