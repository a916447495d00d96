use ringpost_base::Rng;

/// The longest input made: beyond the limits of a line or a datagram, short enough to make thousands a second.
const INPUT_BYTES: usize = 96 * 1024;

/// Numbers at which lengths, counts and ports go wrong, as a text protocol writes them.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "00000000000000000001",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999",
];

/// Bytes at which scanners stop, or ought to.
const BYTES: &[u8] = b"\0\x01\t\n\r \"'()*,./:;<=>?@[\\]{|}~\x7f\x80\xc0\xff";

/// Makes inputs out of a corpus: the same seed, the same inputs.
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    dictionary: &'a [&'a [u8]],
    rng: Rng,
}

impl<'a> Mutator<'a> {
    /// A mutator over the inputs of a corpus (at least one) and the tokens of a protocol (maybe none).
    pub fn new(corpus: &'a [Vec<u8>], dictionary: &'a [&'a [u8]], seed: u64) -> Self {
        assert!(!corpus.is_empty(), "a mutator needs something to start from");
        Mutator {
            corpus,
            dictionary,
            rng: Rng::from_number(seed),
        }
    }

    /// The next input: one of the corpus with one to eight changes.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.pick().to_vec();
        // Most faults want one change to an otherwise good input; some want a pile of them.
        let changes = 1 << self.rng.below(4);
        for _ in 0..changes {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES);
        input
    }

    fn pick(&mut self) -> &'a [u8] {
        &self.corpus[self.rng.below(self.corpus.len() as u64) as usize]
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        match self.rng.below(15) {
            0 => self.flip_bit(input),
            1 => self.set_byte(input),
            2 => self.insert_byte(input),
            3 => self.delete_range(input),
            4 => self.repeat_range(input),
            5 => self.splice(input),
            6 | 7 => self.token(input),
            8 | 9 => self.number(input),
            10 => self.binary_length(input),
            11 => self.line(input),
            12 => self.line_end(input),
            13 => self.nest(input),
            _ => self.truncate(input),
        }
    }

    /// A place in the input, or its end.
    fn at(&mut self, input: &[u8]) -> usize {
        self.rng.below(input.len() as u64 + 1) as usize
    }

    /// A range inside the input; a short one more often than a long one.
    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.at(input);
        let longest = if self.rng.chance(0.7) { 16 } else { input.len() };
        let len = self.rng.below(longest as u64 + 1) as usize;
        start..(start + len).min(input.len())
    }

    fn flip_bit(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            let at = self.rng.below(input.len() as u64) as usize;
            input[at] ^= 1 << self.rng.below(8);
        }
    }

    fn byte(&mut self) -> u8 {
        if self.rng.chance(0.7) {
            BYTES[self.rng.below(BYTES.len() as u64) as usize]
        } else {
            self.rng.u32() as u8
        }
    }

    fn set_byte(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            let at = self.rng.below(input.len() as u64) as usize;
            input[at] = self.byte();
        }
    }

    fn insert_byte(&mut self, input: &mut Vec<u8>) {
        let (at, byte) = (self.at(input), self.byte());
        input.insert(at, byte);
    }

    fn delete_range(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input);
        input.drain(range);
    }

    fn repeat_range(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input);
        let (at, copy) = (range.end, input[range].to_vec());
        let times = 1 << self.rng.below(8);
        let room = INPUT_BYTES.saturating_sub(input.len()) / copy.len().max(1);
        input.splice(at..at, copy.repeat(room.min(times)));
    }

    fn splice(&mut self, input: &mut Vec<u8>) {
        let other = self.pick();
        let (from, to) = (self.at(other), self.at(input));
        input.truncate(to);
        input.extend_from_slice(&other[from..]);
    }

    fn token(&mut self, input: &mut Vec<u8>) {
        if self.dictionary.is_empty() {
            return self.insert_byte(input);
        }
        let token = self.dictionary[self.rng.below(self.dictionary.len() as u64) as usize];
        let at = self.at(input);
        let replaced = if self.rng.chance(0.5) {
            token.len().min(input.len() - at)
        } else {
            0
        };
        input.splice(at..at + replaced, token.iter().copied());
    }

    /// Puts another number where one stands.
    fn number(&mut self, input: &mut Vec<u8>) {
        let from = self.at(input);
        let Some(start) = input[from..]
            .iter()
            .position(u8::is_ascii_digit)
            .map(|n| from + n)
        else {
            return self.insert_byte(input);
        };
        let len = input[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let number = NUMBERS[self.rng.below(NUMBERS.len() as u64) as usize];
        input.splice(start..start + len, number.bytes());
    }

    /// Writes a big-endian length of one, two or four bytes: zero, the greatest, or one about as long as the input.
    fn binary_length(&mut self, input: &mut [u8]) {
        let width = 1 << self.rng.below(3);
        if input.len() < width {
            return;
        }
        let at = self.rng.below((input.len() - width + 1) as u64) as usize;
        let near = (input.len() - at) as u64 + self.rng.below(5);
        let value =
            [0, u64::MAX, near.saturating_sub(2), near / 4, self.rng.u64()][self.rng.below(5) as usize];
        input[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
    }

    /// Drops, doubles or moves one line.
    fn line(&mut self, input: &mut Vec<u8>) {
        let at = self.at(input);
        let start = input[..at]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |n| n + 1);
        let end = input[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(input.len(), |n| at + n + 1);
        match self.rng.below(3) {
            0 => drop(input.drain(start..end)),
            1 => {
                let line = input[start..end].to_vec();
                input.splice(end..end, line);
            }
            _ => {
                let line: Vec<u8> = input.drain(start..end).collect();
                let to = self.at(input);
                input.splice(to..to, line);
            }
        }
    }

    /// Breaks a line's end: the CR alone, the LF alone, both twice, or a folded line.
    fn line_end(&mut self, input: &mut Vec<u8>) {
        let from = self.at(input);
        let Some(at) = input[from..]
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map(|n| from + n)
        else {
            return self.insert_byte(input);
        };
        let ends: [&[u8]; 5] = [b"\r", b"\n", b"\r\n\r\n", b"\r\n ", b"\n\r"];
        let end = ends[self.rng.below(5) as usize];
        input.splice(at..at + 2, end.iter().copied());
    }

    /// Opens many levels at once.
    fn nest(&mut self, input: &mut Vec<u8>) {
        let opens: [&[u8]; 5] = [b"(", b"<", b"[", b"\"", b"{1}\r\n"];
        let open = opens[self.rng.below(5) as usize];
        let at = self.at(input);
        let times = 1 << self.rng.below(13);
        input.splice(at..at, open.repeat(times));
    }

    fn truncate(&mut self, input: &mut Vec<u8>) {
        let at = self.at(input);
        input.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_they_differ_from_the_corpus() {
        let corpus = vec![b"a=1\r\nb=22\r\n".to_vec(), b"(c d)\r\n".to_vec()];
        let (mut one, mut two) = (
            Mutator::new(&corpus, &[b"token"], 3),
            Mutator::new(&corpus, &[b"token"], 3),
        );
        let mut changed = 0;
        for _ in 0..2000 {
            let input = one.next_input();
            assert_eq!(input, two.next_input());
            assert!(input.len() <= INPUT_BYTES);
            changed += usize::from(!corpus.contains(&input));
        }
        assert!(changed > 1800, "{changed}");
    }

    #[test]
    fn an_empty_input_is_survived() {
        let corpus = vec![Vec::new()];
        let mut mutator = Mutator::new(&corpus, &[], 1);
        for _ in 0..1000 {
            mutator.next_input();
        }
    }
}
