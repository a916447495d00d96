//! Flags between their stored and their spoken form.

use ringpost_imap::{FlagChange, Flags, Keyword};
use ringpost_store::records::{self, Keywords};

/// As they are stored: bits, and keywords in their order of spelling.
pub(crate) fn to_stored(flags: &Flags) -> (records::Flags, Keywords) {
    Writer::default().stored(flags)
}

/// As IMAP speaks of them. A keyword that is none (of a later format, perhaps) is not shown.
pub(crate) fn from_stored(state: &records::MessageState) -> Flags {
    Speaker::default().spoken(state)
}

/// [`from_stored`] for one message after the other: those that share their keywords still do.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    last: Option<(Keywords, Flags)>,
}

impl Speaker {
    pub(crate) fn spoken(&mut self, state: &records::MessageState) -> Flags {
        let bits = state.flags.0 as u8;
        if state.keywords.is_empty() {
            return Flags::from_parts(bits, []);
        }
        match &self.last {
            Some((stored, spoken)) if stored.shares(&state.keywords) => spoken.with_system_bits(bits),
            _ => {
                let flags = Flags::from_parts(bits, state.keywords.iter().filter_map(Keyword::new));
                self.last = Some((state.keywords.clone(), flags.clone()));
                flags
            }
        }
    }
}

/// [`to_stored`] for one message after the other, likewise.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    last: Option<(Flags, Keywords)>,
}

impl Writer {
    pub(crate) fn stored(&mut self, flags: &Flags) -> (records::Flags, Keywords) {
        let bits = records::Flags(flags.system_bits().into());
        if flags.keywords().is_empty() {
            return (bits, Keywords::default());
        }
        // To the letter: keywords are equal in any case, and kept as they were spelled.
        match &self.last {
            Some((last, stored)) if last.shares_keywords(flags) || spelled(last).eq(spelled(flags)) => {
                (bits, stored.clone())
            }
            _ => {
                let stored = Keywords::from(spelled(flags).map(str::to_owned).collect::<Vec<_>>());
                self.last = Some((flags.clone(), stored.clone()));
                (bits, stored)
            }
        }
    }
}

/// What a change makes of one message after the other: where messages are alike it is found once.
#[derive(Debug)]
pub(crate) struct Changer<'a> {
    change: &'a FlagChange,
    speaker: Speaker,
    writer: Writer,
    last: Option<(records::Flags, Keywords, Made)>,
}

/// The flags of a message before and after a change.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) before: Flags,
    pub(crate) after: Flags,
    /// Those after it as they are stored, if they are others than before.
    pub(crate) stored: Option<(records::Flags, Keywords)>,
}

impl<'a> Changer<'a> {
    pub(crate) fn new(change: &'a FlagChange) -> Self {
        Changer {
            change,
            speaker: Speaker::default(),
            writer: Writer::default(),
            last: None,
        }
    }

    pub(crate) fn made(&mut self, state: &records::MessageState) -> &Made {
        let is_same = |(flags, keywords, _): &(records::Flags, Keywords, Made)| {
            *flags == state.flags && keywords.shares(&state.keywords)
        };
        if !self.last.as_ref().is_some_and(is_same) {
            self.last = None;
        }
        let Changer {
            change,
            speaker,
            writer,
            last,
        } = self;
        let (.., made) = last.get_or_insert_with(|| {
            let before = speaker.spoken(state);
            let after = change.apply(&before);
            let stored = (after != before).then(|| writer.stored(&after));
            let made = Made {
                before,
                after,
                stored,
            };
            (state.flags, state.keywords.clone(), made)
        });
        made
    }
}

fn spelled(flags: &Flags) -> impl Iterator<Item = &str> {
    flags.keywords().iter().map(Keyword::as_str)
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

    #[test]
    fn keywords_that_messages_share_are_made_once_and_keep_their_spelling() {
        let (mut speaker, mut writer) = (Speaker::default(), Writer::default());
        let state = |flags, keywords: &Keywords| records::MessageState {
            flags,
            keywords: keywords.clone(),
            ..Default::default()
        };
        let one = Keywords::from(vec!["$Forwarded".to_owned(), "NonJunk".to_owned()]);
        let seen = speaker.spoken(&state(records::Flags::SEEN, &one));
        let draft = speaker.spoken(&state(records::Flags::DRAFT, &one));
        assert_eq!(draft.to_string(), "\\Draft $Forwarded NonJunk");
        assert!(seen.shares_keywords(&draft));
        let other = Keywords::from(vec!["$forwarded".to_owned(), "NonJunk".to_owned()]);
        let other = speaker.spoken(&state(records::Flags::SEEN, &other));
        assert_eq!(other.to_string(), "\\Seen $forwarded NonJunk");
        let stored = [&seen, &draft, &other].map(|flags| writer.stored(flags).1);
        assert!(stored[0].shares(&stored[1]) && !stored[1].shares(&stored[2]));
        assert_eq!(stored[0], one);
        assert_ne!(stored[0], stored[2]);
    }
}
