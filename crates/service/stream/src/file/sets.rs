//! Parameter sets of a stream, all that there are: pictures may use them by turns.

use crate::parameter_sets::SetName;
use bytes::Bytes;

/// How many of a sequence, and of pictures, are kept at most: a header has room for no more (ISO/IEC 14496-15 §5.3.3.1.2).
const MOST_OF_SEQUENCES: usize = 31;
const MOST_OF_PICTURES: usize = 255;
/// How long they may be together.
const MOST_BYTES: usize = 32 * 1024;

/// The sets of one type that hold once these NAL units have come: the newest of each number. Where that is nothing new, they
/// are what was `known`; otherwise those of the units come first. Of too many the oldest are forgotten.
pub(crate) fn joined<'a>(
    known: &[Bytes],
    units: impl Iterator<Item = &'a [u8]>,
    name: fn(&[u8]) -> Option<SetName>,
) -> Vec<Bytes> {
    let mut sets: Vec<(SetName, Bytes)> = Vec::new();
    for unit in units.filter(|unit| unit.len() > 2) {
        let Some(name) = name(unit) else { continue };
        let bytes = Bytes::copy_from_slice(unit);
        match sets.iter_mut().find(|(of, _)| *of == name) {
            Some(place) => place.1 = bytes,
            None => sets.push((name, bytes)),
        }
    }
    if sets.iter().all(|(_, set)| known.contains(set)) {
        return known.to_vec();
    }
    for old in known {
        if let Some(name) = name(old)
            && sets.iter().all(|(of, _)| *of != name)
        {
            sets.push((name, old.clone()));
        }
    }
    let mut bytes = 0;
    let fits = |set: &Bytes| {
        bytes += set.len();
        bytes <= MOST_BYTES
    };
    let most = match sets.iter().any(|(name, _)| name.is_of_pictures()) {
        true => MOST_OF_PICTURES,
        false => MOST_OF_SEQUENCES,
    };
    let sets = sets.into_iter().map(|(_, set)| set);
    sets.take(most).take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_sets::h264_set;

    /// A picture parameter set of a number that says something.
    fn set(number: u32, says: u8) -> Vec<u8> {
        let code = u64::from(number) + 1;
        let bits = 2 * (64 - code.leading_zeros()) - 1;
        // Behind the number, from the highest bit on.
        let octets = (code << (64 - bits)).to_be_bytes();
        [&[0x68][..], &octets[..4], &[says]].concat()
    }

    fn join(known: &[Bytes], units: &[Vec<u8>]) -> Vec<Bytes> {
        joined(known, units.iter().map(Vec::as_slice), h264_set)
    }

    #[test]
    fn a_set_takes_the_place_of_the_one_with_its_number_and_others_stay() {
        let known = join(&[], &[set(0, 1), set(3, 1)]);
        assert_eq!(known, [set(0, 1), set(3, 1)]);
        assert_eq!(join(&known, &[set(3, 2)]), [set(3, 2), set(0, 1)]);
        assert_eq!(join(&known, &[set(7, 1)]), [set(7, 1), set(0, 1), set(3, 1)]);
        // In one unit the last one holds.
        assert_eq!(join(&[], &[set(5, 1), set(5, 2)]), [set(5, 2)]);
    }

    #[test]
    fn what_is_said_again_changes_nothing() {
        let known = join(&[], &[set(0, 1), set(3, 1)]);
        for units in [
            &[][..],
            &[set(3, 1)],
            &[set(3, 1), set(0, 1)],
            &[vec![0x65, 7, 7]],
        ] {
            assert_eq!(join(&known, units), known);
        }
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let many: Vec<_> = (0..300).map(|number| set(number, 1)).collect();
        let known = join(&[], &many);
        assert_eq!(known.len(), MOST_OF_PICTURES);
        let next = join(&known, &[set(300, 1)]);
        assert_eq!(next.len(), MOST_OF_PICTURES);
        assert_eq!((&next[0], &next[1..]), (&Bytes::from(set(300, 1)), &known[..254]));
        let long = |number| [set(number, 1), vec![7; 20_000]].concat();
        assert_eq!(join(&known, &[long(0)]).len(), MOST_OF_PICTURES);
        assert_eq!(join(&known, &[long(0), long(1)]).len(), 1);
        let sequence = |number| [&[0x67, 66, 0, 30], &set(number, 1)[1..]].concat();
        let many: Vec<_> = (0..40).map(sequence).collect();
        assert_eq!(join(&[], &many).len(), MOST_OF_SEQUENCES);
    }
}
