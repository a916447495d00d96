//! Flags between their stored and their spoken form.

use ringpost_imap::{Flags, Keyword};
use ringpost_store::records;

/// As they are stored: bits, and keywords in their order of spelling.
pub(crate) fn to_stored(flags: &Flags) -> (records::Flags, Vec<String>) {
    let keywords = flags.keywords().iter().map(|k| k.as_str().to_owned()).collect();
    (records::Flags(flags.system_bits().into()), keywords)
}

/// As IMAP speaks of them. A keyword that is none (of a later format, perhaps) is not shown.
pub(crate) fn from_stored(state: &records::MessageState) -> Flags {
    let keywords = state.keywords.iter().filter_map(|k| Keyword::new(k));
    Flags::from_parts(state.flags.0 as u8, keywords)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_imap::{Flag, SystemFlag};

    #[test]
    fn the_bits_of_both_sides_mean_the_same() {
        let pairs = [
            (SystemFlag::Seen, records::Flags::SEEN),
            (SystemFlag::Answered, records::Flags::ANSWERED),
            (SystemFlag::Flagged, records::Flags::FLAGGED),
            (SystemFlag::Deleted, records::Flags::DELETED),
            (SystemFlag::Draft, records::Flags::DRAFT),
        ];
        for (spoken, stored) in pairs {
            let flags: Flags = [Flag::System(spoken)].into_iter().collect();
            assert_eq!(to_stored(&flags).0, stored);
            let state = records::MessageState {
                flags: stored,
                ..Default::default()
            };
            assert_eq!(from_stored(&state), flags);
        }
    }
}
