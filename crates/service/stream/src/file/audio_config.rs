/// What an AudioSpecificConfig says of a stream of AAC (ISO/IEC 14496-3 §1.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioConfig {
    /// How often sound is sampled in the coded frames.
    pub(crate) rate_hz: u32,
    /// How often it is after spectral band replication, where the configuration says that there is any.
    pub(crate) extended_rate_hz: Option<u32>,
    /// `None` where the frames say it themselves.
    pub(crate) channels: Option<u8>,
    /// How many samples at `rate_hz` a frame has.
    pub(crate) frame_samples: u32,
    /// How long the configuration is, as far as it is understood.
    pub(super) bits: usize,
    /// Whether nothing follows that is not understood.
    pub(super) is_whole: bool,
}

/// ISO/IEC 14496-3 table 1.18.
const RATES_HZ: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];
/// Object types: spectral band replication, and with parametric stereo.
const SBR: u64 = 5;
const PS: u64 = 29;

/// A reader of bits, the highest of an octet first.
#[derive(Clone)]
pub(super) struct Bits<'a>(&'a [u8], usize);

impl<'a> Bits<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Bits(octets, 0)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<u64> {
        let mut value = 0;
        for at in self.1..self.1 + count {
            value = value << 1 | u64::from(self.0.get(at / 8)? >> (7 - at % 8) & 1);
        }
        self.1 += count;
        Some(value)
    }

    /// So many whole octets, wherever they begin.
    pub(super) fn octets(&mut self, count: usize) -> Option<Vec<u8>> {
        let (from, shift) = (self.1 / 8, self.1 % 8);
        let octets = self.0.get(from..)?;
        let found = match shift {
            0 => octets.get(..count)?.to_vec(),
            _ => {
                let pairs = octets.get(..count.checked_add(1)?)?.windows(2);
                pairs.map(|two| two[0] << shift | two[1] >> (8 - shift)).collect()
            }
        };
        self.1 += 8 * count;
        Some(found)
    }

    /// So many bits as octets of their own, the last filled with zeros.
    pub(super) fn copy(mut self, bits: usize) -> Option<Vec<u8>> {
        let mut copy = self.octets(bits / 8)?;
        let left = bits % 8;
        if left > 0 {
            copy.push((self.take(left)? << (8 - left)) as u8);
        }
        Some(copy)
    }

    pub(super) fn skip(&mut self, bits: usize) -> Option<()> {
        self.1 = self.1.checked_add(bits).filter(|at| *at <= 8 * self.0.len())?;
        Some(())
    }

    fn object_type(&mut self) -> Option<u64> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            plain => Some(plain),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? as usize {
            15 => self.take(24).map(|rate| rate as u32),
            index => RATES_HZ.get(index).copied(),
        }
        .filter(|rate| *rate > 0)
    }
}

/// A writer of bits, the highest of an octet first.
#[derive(Default)]
pub(super) struct BitWriter {
    octets: Vec<u8>,
    /// How many bits of the last octet are free.
    free: u32,
}

impl BitWriter {
    /// The lowest bits of a number, at most 32.
    pub(super) fn put(&mut self, count: u32, value: u32) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.octets.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.octets.last_mut() {
                *last |= ((value >> at & 1) as u8) << self.free;
            }
        }
    }

    pub(super) fn put_octets(&mut self, octets: &[u8]) {
        if self.free == 0 {
            return self.octets.extend_from_slice(octets);
        }
        for octet in octets {
            if let Some(last) = self.octets.last_mut() {
                *last |= octet >> (8 - self.free);
            }
            self.octets.push(octet << self.free);
        }
    }

    /// So many bits of octets.
    pub(super) fn put_bits(&mut self, octets: &[u8], bits: usize) {
        self.put_octets(&octets[..bits / 8]);
        if let Some(last) = octets.get(bits / 8) {
            let left = (bits % 8) as u32;
            self.put(left, u32::from(*last) >> (8 - left));
        }
    }

    /// What was written, the last octet filled with zeros.
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}

impl AudioConfig {
    /// Reads one; `None` where it ends too soon or says what cannot be.
    pub(crate) fn read(config: &[u8]) -> Option<Self> {
        Self::read_bits(&mut Bits(config, 0))
    }

    /// Reads one with something behind it.
    pub(super) fn read_bits(bits: &mut Bits<'_>) -> Option<Self> {
        let from = bits.1;
        let mut object_type = bits.object_type()?;
        let rate_hz = bits.rate()?;
        let channels = match bits.take(4)? as u8 {
            0 => None,
            told @ 1..=6 => Some(told),
            7 => Some(8),
            _ => return None,
        };
        let mut extended_rate_hz = None;
        if matches!(object_type, SBR | PS) {
            extended_rate_hz = Some(bits.rate()?);
            object_type = bits.object_type()?;
        }
        // GASpecificConfig, for the object types that have one: its first bit tells frames of 960 from those of 1,024.
        let is_short = bits.take(1)? == 1;
        let frame_samples = match object_type {
            23 | 39 => 512,
            _ => 1_024,
        };
        let depends = bits.take(1)? == 1;
        if depends {
            bits.take(14)?;
        }
        let is_extended = bits.take(1)? == 1;
        Some(AudioConfig {
            rate_hz,
            extended_rate_hz,
            channels,
            frame_samples: if is_short {
                frame_samples / 16 * 15
            } else {
                frame_samples
            },
            bits: bits.1 - from,
            // Main, LC, SSR and LTP, with channels that are no matter of a program's configuration.
            is_whole: matches!(object_type, 1..=4) && channels.is_some() && !is_extended,
        })
    }

    /// How many units of a clock of `clock_rate_hz` a frame lasts.
    pub(crate) fn frame_units(&self, clock_rate_hz: u32) -> u32 {
        let units = u64::from(self.frame_samples) * u64::from(clock_rate_hz) / u64::from(self.rate_hz);
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

/// The AudioSpecificConfig out of the StreamMuxConfig of a stream in LATM (ISO/IEC 14496-3 §1.7.3.1), as RFC 6416 §6.1
/// describes it: one program, one layer, one frame at a time.
pub(crate) fn latm_config(mux: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Bits(mux, 0);
    let version = bits.take(1)?;
    let same_time = bits.take(1)?;
    let (sub_frames, programs, layers) = (bits.take(6)?, bits.take(4)?, bits.take(3)?);
    if version != 0 || same_time != 1 || sub_frames != 0 || programs != 0 || layers != 0 {
        return None;
    }
    let from = bits.1;
    let read = AudioConfig::read_bits(&mut bits)?;
    Bits(mux, from).copy(read.bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_of_encoders_are_read() {
        let read = AudioConfig::read(&[0x12, 0x10]).expect("AAC-LC");
        assert_eq!(
            (read.rate_hz, read.channels, read.frame_samples),
            (44_100, Some(2), 1_024)
        );
        assert_eq!(read.frame_units(44_100), 1_024);
        let read = AudioConfig::read(&[0x11, 0x8c]).expect("frames of 960");
        assert_eq!(
            (read.rate_hz, read.channels, read.frame_samples),
            (48_000, Some(1), 960)
        );
        // HE-AAC: 24 kHz coded, 48 kHz heard.
        let read = AudioConfig::read(&[0x2b, 0x11, 0x88, 0x00]).expect("HE-AAC");
        assert_eq!((read.rate_hz, read.extended_rate_hz), (24_000, Some(48_000)));
        assert_eq!(read.frame_units(48_000), 2_048);
        for cut in [&[][..], &[0x12], &[0xff; 1], &[0x17, 0x80, 0, 0]] {
            assert_eq!(AudioConfig::read(cut), None);
        }
    }

    // The configuration of RFC 6416's own kind: 40002420 is 24 kHz mono behind 15 bits of StreamMuxConfig.
    #[test]
    fn the_configuration_is_taken_out_of_latm() {
        let config = latm_config(&[0x40, 0x00, 0x26, 0x20, 0x3f, 0xc0]).expect("a configuration");
        let read = AudioConfig::read(&config).expect("AAC");
        assert_eq!((config.len(), read.rate_hz, read.channels), (2, 24_000, Some(2)));
        assert_eq!(latm_config(&[0xc0, 0x00, 0x26, 0x20]), None);
    }
}
