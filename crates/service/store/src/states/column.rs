//! Columns of numbers, as short as they are alike.
//!
//! A column is pieces, each begun by a number (LEB128). If that is odd, its half says how often the number behind it comes; if
//! it is even, its half says how many numbers follow. A column of nothing but zeros is empty.

use bytes::Bytes;

/// A number that comes so often in a row is written once.
const RUN: usize = 3;

/// The column of these numbers.
pub(super) fn column(values: impl Iterator<Item = u64>) -> Bytes {
    let values: Vec<u64> = values.collect();
    let mut out = Vec::new();
    if values.iter().all(|value| *value == 0) {
        return Bytes::new();
    }
    let (mut at, mut plain) = (0, 0);
    while at < values.len() {
        let alike = values[at..]
            .iter()
            .take_while(|value| **value == values[at])
            .count();
        if alike < RUN {
            at += alike;
            continue;
        }
        write_plain(&values[plain..at], &mut out);
        write_number((alike as u64) << 1 | 1, &mut out);
        write_number(values[at], &mut out);
        at += alike;
        plain = at;
    }
    write_plain(&values[plain..], &mut out);
    out.into()
}

fn write_plain(values: &[u64], out: &mut Vec<u8>) {
    if !values.is_empty() {
        write_number((values.len() as u64) << 1, out);
        values.iter().for_each(|value| write_number(*value, out));
    }
}

fn write_number(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads a column.
pub(super) struct Column<'a> {
    rest: &'a [u8],
    zeros: bool,
    /// How many numbers of the piece are left, and the one that they all are, if so.
    left: u64,
    run: Option<u64>,
}

impl<'a> Column<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Column {
            rest: bytes,
            zeros: bytes.is_empty(),
            left: 0,
            run: None,
        }
    }

    /// The next number; `None` when there is none, or the column is damaged.
    pub(super) fn next(&mut self) -> Option<u64> {
        if self.zeros {
            return Some(0);
        }
        if self.left == 0 {
            let head = self.number()?;
            self.left = head >> 1;
            self.run = match head & 1 {
                0 => None,
                _ => Some(self.number()?),
            };
        }
        self.left = self.left.checked_sub(1)?;
        match self.run {
            Some(value) => Some(value),
            None => self.number(),
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            n |= bits << shift;
            if *byte < 0x80 {
                return Some(n);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_column_gives_back_what_it_was_made_of(
            pieces in prop::collection::vec((prop_oneof![Just(0u64), Just(1), any::<u64>()], 1usize..6), 0..40),
        ) {
            let values: Vec<u64> = pieces.iter().flat_map(|(value, n)| vec![*value; *n]).collect();
            let bytes = column(values.iter().copied());
            let mut read = Column::new(&bytes);
            let again: Vec<Option<u64>> = values.iter().map(|_| read.next()).collect();
            prop_assert_eq!(again, values.iter().copied().map(Some).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_alike_takes_a_few_bytes() {
        assert_eq!(column([0; 128].into_iter()).len(), 0);
        assert_eq!(column([7; 128].into_iter()).len(), 3);
        assert_eq!(column((0..100).chain([5; 28])).len(), 2 + 100 + 2);
    }

    #[test]
    fn a_cut_column_or_a_number_too_long_is_damaged() {
        let whole = column([300, 2, 1].into_iter());
        for cut in 1..whole.len() {
            let mut read = Column::new(&whole[..cut]);
            assert!((0..3).any(|_| read.next().is_none()));
        }
        assert_eq!(
            Column::new(&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).next(),
            None
        );
        assert_eq!(Column::new(&[0, 0]).next(), None);
    }
}
