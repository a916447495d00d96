/// One of the two compandings of ITU-T G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law, PCMU: North America and Japan.
    Mu,
    /// A-law, PCMA: the rest of the world.
    A,
}

impl Law {
    /// The byte of silence.
    pub const fn silence(self) -> u8 {
        match self {
            Law::Mu => 0xff,
            Law::A => 0xd5,
        }
    }

    /// A linear sample as a byte.
    pub const fn encode(self, sample: i16) -> u8 {
        // The tables are indexed by the bits that G.711 looks at: 14 of them for µ-law, which has a zero on either side
        // of which it is symmetric, and 13 for A-law, which is symmetric around -1/2.
        match self {
            Law::Mu => MU_ENCODE[(sample / 4) as u16 as usize & 0x3fff],
            Law::A => A_ENCODE[(sample >> 3) as u16 as usize & 0x1fff],
        }
    }

    /// A byte as a linear sample.
    pub const fn decode(self, byte: u8) -> i16 {
        match self {
            Law::Mu => MU_DECODE[byte as usize],
            Law::A => A_DECODE[byte as usize],
        }
    }

    /// Appends the bytes of `samples` to `out`.
    pub fn encode_into(self, samples: &[i16], out: &mut Vec<u8>) {
        out.extend(samples.iter().map(|sample| self.encode(*sample)));
    }

    /// Appends the samples of `bytes` to `out`.
    pub fn decode_into(self, bytes: &[u8], out: &mut Vec<i16>) {
        out.extend(bytes.iter().map(|byte| self.decode(*byte)));
    }

    /// A byte of this law as one of the other.
    pub const fn to_other(self, byte: u8) -> u8 {
        match self {
            Law::Mu => Law::A.encode(Law::Mu.decode(byte)),
            Law::A => Law::Mu.encode(Law::A.decode(byte)),
        }
    }
}

static MU_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = mu_expand(byte as u8);
        byte += 1;
    }
    table
};

static A_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = a_expand(byte as u8);
        byte += 1;
    }
    table
};

static MU_ENCODE: [u8; 0x4000] = {
    let mut table = [0; 0x4000];
    let mut i = 0;
    while i < 0x4000 {
        // Back from 14 bits to a signed number.
        let value = if i < 0x2000 { i as i32 } else { i as i32 - 0x4000 };
        table[i] = mu_compress(value);
        i += 1;
    }
    table
};

static A_ENCODE: [u8; 0x2000] = {
    let mut table = [0; 0x2000];
    let mut i = 0;
    while i < 0x2000 {
        let value = if i < 0x1000 { i as i32 } else { i as i32 - 0x2000 };
        table[i] = a_compress(value);
        i += 1;
    }
    table
};

/// G.711 table 2: sign, three bits of segment, four of step, all inverted.
const fn mu_expand(byte: u8) -> i16 {
    let bits = !byte;
    let segment = (bits >> 4) & 7;
    let step = (bits & 15) as i32;
    let magnitude = (((step << 3) + 0x84) << segment) - 0x84;
    (if bits & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

/// `value` has 14 bits.
const fn mu_compress(value: i32) -> u8 {
    let (sign, magnitude) = if value < 0 { (0x80, -value) } else { (0, value) };
    let biased = if magnitude > 8158 { 8158 } else { magnitude } + 33;
    // Segments begin at 32, 64 … 4096.
    let segment = 31 - biased.leading_zeros() as i32 - 5;
    let step = (biased >> (segment + 1)) & 15;
    !(sign | (segment << 4) as u8 | step as u8)
}

/// G.711 table 1: the sign is set for positive values, and every other bit is inverted.
const fn a_expand(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let segment = (bits >> 4) & 7;
    let step = ((bits & 15) as i32) << 4;
    let magnitude = match segment {
        0 => step + 8,
        1 => step + 0x108,
        _ => (step + 0x108) << (segment - 1),
    };
    (if bits & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

/// `value` has 13 bits.
const fn a_compress(value: i32) -> u8 {
    // The negative half is the positive one mirrored between 0 and -1.
    let (sign, magnitude) = if value < 0 { (0, -value - 1) } else { (0x80, value) };
    let segment = if magnitude < 32 {
        0
    } else {
        31 - magnitude.leading_zeros() as i32 - 4
    };
    let step = if segment < 2 {
        magnitude >> 1
    } else {
        magnitude >> segment
    } & 15;
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corner_values_of_g711() {
        for (byte, sample) in [
            (0xff, 0),
            (0x7f, 0),
            (0x80, 32124),
            (0x00, -32124),
            (0xfe, 8),
            (0xf0, 120),
            (0xef, 132),
        ] {
            assert_eq!(Law::Mu.decode(byte), sample, "{byte:02x}");
        }
        for (byte, sample) in [
            (0xd5, 8),
            (0x55, -8),
            (0xaa, 32256),
            (0x2a, -32256),
            (0xd4, 24),
            (0xc5, 264),
        ] {
            assert_eq!(Law::A.decode(byte), sample, "{byte:02x}");
        }
        for (sample, mu, a) in [
            (0, 0xff, 0xd5),
            (i16::MAX, 0x80, 0xaa),
            (i16::MIN, 0x00, 0x2a),
            (-1, 0xff, 0x55),
            (-4, 0x7e, 0x55),
            (4, 0xfe, 0xd5),
        ] {
            assert_eq!(
                (Law::Mu.encode(sample), Law::A.encode(sample)),
                (mu, a),
                "{sample}"
            );
        }
    }

    #[test]
    fn every_byte_comes_back_as_itself() {
        for byte in 0..=255 {
            assert_eq!(Law::A.encode(Law::A.decode(byte)), byte);
            // µ-law has two zeros.
            if byte != 0x7f {
                assert_eq!(Law::Mu.encode(Law::Mu.decode(byte)), byte);
            }
        }
    }

    #[test]
    fn every_sample_comes_back_as_the_nearest_step() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let decoded = i32::from(law.decode(law.encode(sample)));
                let error = (decoded - i32::from(sample)).abs();
                // Half a step: a 32nd of the (biased) magnitude in the upper segments, half of the smallest step below.
                let allowed = ((i32::from(sample).abs() + 132) / 32).max(8) + 4;
                assert!(
                    error <= allowed || i32::from(sample).abs() > 32_124,
                    "{law:?} {sample} {decoded}"
                );
            }
        }
    }

    #[test]
    fn laws_convert_into_each_other_without_a_drift() {
        for byte in 0..=255u8 {
            let there = Law::Mu.to_other(byte);
            let back = Law::A.to_other(there);
            assert_eq!(Law::Mu.to_other(back), there, "a second pass loses nothing more");
        }
    }
}
