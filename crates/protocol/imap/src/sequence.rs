use std::fmt;

/// A unique identifier of a message in its mailbox; never zero on the wire (RFC 3501 §2.3.1.1).
pub type Uid = u32;

/// One end of a range in a [`SequenceSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// A number from 1.
    Number(u32),
    /// `*`, the largest number in use.
    Last,
    /// `$`, what a search has saved (RFC 5182); it stands alone, and names no number by itself.
    Saved,
}

/// A set of sequence numbers or UIDs as a client writes it: `1,3:5,8:*` (RFC 3501 §9, `sequence-set`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceSet(Vec<(Bound, Bound)>);

impl SequenceSet {
    /// A set of the given ranges, each with its ends in either order.
    pub fn new(ranges: Vec<(Bound, Bound)>) -> Self {
        SequenceSet(ranges)
    }

    /// Reads one; `None` when it is not one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bound = |t: &[u8]| match t {
            b"*" => Some(Bound::Last),
            _ => number(t).map(Bound::Number),
        };
        let range = |t: &[u8]| match t.iter().position(|b| *b == b':') {
            Some(at) => Some((bound(&t[..at])?, bound(&t[at + 1..])?)),
            None => bound(t).map(|b| (b, b)),
        };
        if text == b"$" {
            return Some(SequenceSet(vec![(Bound::Saved, Bound::Saved)]));
        }
        text.split(|b| *b == b',')
            .map(range)
            .collect::<Option<Vec<_>>>()
            .map(SequenceSet)
    }

    /// The ranges of numbers meant when the largest number in use is `last`, ascending and merged. With nothing in use
    /// (`last` 0) `*` means nothing.
    pub fn resolve(&self, last: u32) -> NumberSet {
        let value = |b| match b {
            Bound::Number(n) => n,
            Bound::Last => last,
            Bound::Saved => 0,
        };
        //= https://www.rfc-editor.org/rfc/rfc3501#section-9
        // A range means the same with its ends swapped, so `559:*` contains the last message even below 559.
        let ranges = self.0.iter().map(|(a, b)| (value(*a), value(*b)));
        NumberSet::from_ranges(
            ranges
                .map(|(a, b)| (a.min(b), a.max(b)))
                .filter(|(low, _)| *low > 0),
        )
    }

    /// Whether it means `n` when the largest number in use is `last`.
    pub fn contains(&self, n: u32, last: u32) -> bool {
        let value = |b| match b {
            Bound::Number(n) => n,
            Bound::Last => last,
            Bound::Saved => 0,
        };
        let within = |(a, b): &(Bound, Bound)| {
            let (a, b) = (value(*a), value(*b));
            a.min(b) > 0 && a.min(b) <= n && n <= a.max(b)
        };
        self.0.iter().any(within)
    }

    /// The largest number that it names outright; 0 when it names only `*`.
    pub fn largest_named(&self) -> u32 {
        let value = |b: &Bound| if let Bound::Number(n) = b { *n } else { 0 };
        self.0
            .iter()
            .map(|(a, b)| value(a).max(value(b)))
            .max()
            .unwrap_or(0)
    }

    /// Whether it is `$`.
    pub fn is_saved(&self) -> bool {
        self.0.first() == Some(&(Bound::Saved, Bound::Saved))
    }

    /// Whether `*` is in it.
    pub fn names_last(&self) -> bool {
        self.0.iter().any(|(a, b)| *a == Bound::Last || *b == Bound::Last)
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (a, b)) in self.0.iter().enumerate() {
            write!(f, "{}{a}", if i > 0 { "," } else { "" })?;
            if a != b {
                write!(f, ":{b}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Number(n) => n.fmt(f),
            Bound::Last => f.write_str("*"),
            Bound::Saved => f.write_str("$"),
        }
    }
}

/// A set of plain numbers as ascending ranges that do not touch, both ends within.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberSet(Vec<(u32, u32)>);

impl NumberSet {
    /// From ranges `(low, high)` in any order.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(low, high)| low <= high).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (low, high) in sorted {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        NumberSet(merged)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Those that are in `other` as well.
    pub fn intersection(&self, other: &NumberSet) -> NumberSet {
        let (mut a, mut b, mut out) = (&self.0[..], &other.0[..], Vec::new());
        while let ([(a_low, a_high), ..], [(b_low, b_high), ..]) = (a, b) {
            let (low, high) = (*a_low.max(b_low), *a_high.min(b_high));
            if low <= high {
                out.push((low, high));
            }
            match a_high < b_high {
                true => a = &a[1..],
                false => b = &b[1..],
            }
        }
        NumberSet(out)
    }

    /// Those that are not in `other`, which is given ascending.
    pub fn without(&self, other: impl Iterator<Item = u32>) -> NumberSet {
        let (mut other, mut out) = (other.peekable(), Vec::new());
        for (low, high) in &self.0 {
            // The lowest of the range that may still be in it; `None` behind the highest number there is.
            let mut from = Some(*low);
            while other.next_if(|n| n < low).is_some() {}
            while let Some(n) = other.next_if(|n| n <= high) {
                out.extend(from.filter(|from| *from < n).map(|from| (from, n - 1)));
                from = n.checked_add(1);
            }
            out.extend(from.filter(|from| from <= high).map(|from| (from, *high)));
        }
        NumberSet(out)
    }

    /// Whether `n` is in it.
    pub fn contains(&self, n: u32) -> bool {
        let after = self.0.partition_point(|(low, _)| *low <= n);
        after > 0 && self.0[after - 1].1 >= n
    }
}

/// As IMAP writes a set.
impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (low, high)) in self.0.iter().enumerate() {
            write!(f, "{}{low}", if i > 0 { "," } else { "" })?;
            if low != high {
                write!(f, ":{high}")?;
            }
        }
        Ok(())
    }
}

/// A set of numbers that are named outright.
impl From<&NumberSet> for SequenceSet {
    fn from(set: &NumberSet) -> Self {
        let range = |(low, high): &(u32, u32)| (Bound::Number(*low), Bound::Number(*high));
        SequenceSet(set.0.iter().map(range).collect())
    }
}

impl FromIterator<u32> for NumberSet {
    fn from_iter<I: IntoIterator<Item = u32>>(iter: I) -> Self {
        NumberSet::from_ranges(iter.into_iter().map(|n| (n, n)))
    }
}

/// Numbers in the order given, with runs that ascend by one written as ranges: for COPYUID, whose two sets correspond
/// place by place (RFC 4315 §3).
pub(crate) fn write_runs(out: &mut impl fmt::Write, numbers: impl Iterator<Item = u32>) -> fmt::Result {
    let mut numbers = numbers.peekable();
    let mut gap = "";
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if(|n| last.checked_add(1) == Some(*n)) {
            last = next;
        }
        write!(out, "{gap}{first}")?;
        if last != first {
            write!(out, ":{last}")?;
        }
        gap = ",";
    }
    Ok(())
}

/// A `nz-number`: digits without a leading zero that fit 32 bits.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    let plain = text.iter().all(u8::is_ascii_digit) && !text.starts_with(b"0");
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, last: u32) -> Vec<(u32, u32)> {
        SequenceSet::parse(text.as_bytes())
            .unwrap()
            .resolve(last)
            .ranges()
            .to_vec()
    }

    #[test]
    fn the_rfcs_own_examples_resolve() {
        // RFC 3501 §9: with 15 messages, 2,4:7,9,12:* is 2, 4 to 7, 9 and 12 to 15; *:4,5:7 with 10 is 4 to 10.
        assert_eq!(resolved("2,4:7,9,12:*", 15), [(2, 2), (4, 7), (9, 9), (12, 15)]);
        assert_eq!(resolved("*:4,5:7", 10), [(4, 10)]);
        assert_eq!(resolved("559:*", 10), [(10, 559)]);
        assert_eq!(resolved("3,2,1,2", 10), [(1, 3)]);
        assert_eq!(resolved("4294967295,1", 10), [(1, 1), (u32::MAX, u32::MAX)]);
    }

    #[test]
    fn the_last_of_an_empty_mailbox_is_nothing() {
        // Guards pitfall IMAP 9: `*` in an empty mailbox.
        assert_eq!(resolved("*", 0), []);
        assert_eq!(resolved("*:*", 0), []);
        assert_eq!(resolved("1:*", 0), []);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in [
            "",
            "0",
            "1,",
            ",1",
            "1:",
            ":1",
            "1:2:3",
            "01",
            "-1",
            "4294967296",
            "1;2",
            "* ",
            "**",
        ] {
            assert_eq!(SequenceSet::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn membership_agrees_with_the_ranges() {
        let set = NumberSet::from_ranges([(5, 9), (1, 2), (20, 20)]);
        let inside: Vec<_> = (0..30).filter(|n| set.contains(*n)).collect();
        assert_eq!(inside, [1, 2, 5, 6, 7, 8, 9, 20]);
    }

    #[test]
    fn sets_are_cut_and_holes_are_made_as_counting_would() {
        let a = NumberSet::from_ranges([(1, 5), (8, 12), (20, 20), (u32::MAX - 2, u32::MAX)]);
        let b = NumberSet::from_ranges([(4, 9), (20, 30), (u32::MAX, u32::MAX)]);
        let both = a.intersection(&b);
        assert_eq!(both.ranges(), [(4, 5), (8, 9), (20, 20), (u32::MAX, u32::MAX)]);
        assert_eq!(both, b.intersection(&a));
        let holes = [1, 3, 7, 8, 12, 13, 20, u32::MAX];
        assert_eq!(
            a.without(holes.into_iter()).ranges(),
            [(2, 2), (4, 5), (9, 11), (u32::MAX - 2, u32::MAX - 1)]
        );
        assert_eq!(a.without(std::iter::empty()), a);
        assert_eq!(a.to_string(), "1:5,8:12,20,4294967293:4294967295");
    }

    #[test]
    fn runs_keep_their_order() {
        let mut out = String::new();
        write_runs(&mut out, [4, 5, 6, 9, 2, 3].into_iter()).unwrap();
        assert_eq!(out, "4:6,9,2:3");
    }
}
