use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A flag that a user may set: one of the system flags, or a keyword (RFC 3501 §2.3.2). `\Recent` is not among them: no
/// client can change it, and it is a fact of one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    /// A system flag.
    System(SystemFlag),
    /// A keyword.
    Keyword(Keyword),
}

impl Flag {
    /// Reads `\Seen`, `$Forwarded` and the like, in any case. `None` when it is no flag that a client may set, and that
    /// holds for `\Recent` and for system flags that nobody has defined.
    pub fn parse(text: &str) -> Option<Flag> {
        match text.strip_prefix('\\') {
            Some(name) => SystemFlag::ALL
                .into_iter()
                .find(|f| f.name()[1..].eq_ignore_ascii_case(name))
                .map(Flag::System),
            None => Keyword::new(text).map(Flag::Keyword),
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flag::System(s) => s.name(),
            Flag::Keyword(k) => k.as_str(),
        })
    }
}

/// The system flags that are kept with a message (RFC 3501 §2.3.2). The numbers are bits and may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SystemFlag {
    /// It has been read.
    Seen = 1,
    /// It has been answered.
    Answered = 2,
    /// It is marked as urgent or special.
    Flagged = 4,
    /// EXPUNGE will remove it.
    Deleted = 8,
    /// It is not finished.
    Draft = 16,
}

impl SystemFlag {
    /// All of them, in the order in which they are shown.
    pub const ALL: [SystemFlag; 5] = [
        SystemFlag::Answered,
        SystemFlag::Flagged,
        SystemFlag::Deleted,
        SystemFlag::Seen,
        SystemFlag::Draft,
    ];

    /// As IMAP writes it.
    pub const fn name(self) -> &'static str {
        match self {
            SystemFlag::Seen => "\\Seen",
            SystemFlag::Answered => "\\Answered",
            SystemFlag::Flagged => "\\Flagged",
            SystemFlag::Deleted => "\\Deleted",
            SystemFlag::Draft => "\\Draft",
        }
    }
}

/// A keyword: an atom that means something to clients, equal to another in any case (RFC 3501 §2.3.2).
#[derive(Clone, Debug)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The longest that is taken, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// A keyword as it was first spelled; `None` unless it is an atom of at most [`Keyword::MAX_BYTES`].
    pub fn new(text: &str) -> Option<Keyword> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_BYTES;
        (fits && text.bytes().all(crate::token::is_atom_char)).then(|| Keyword(text.into()))
    }

    /// As it was first spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl std::hash::Hash for Keyword {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().for_each(|b| state.write_u8(b));
    }
}

/// The flags of a message. Sixteen bytes for a message without keywords, and cheap to clone with them, since a session
/// holds one for each message that it shows.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    system: u8,
    /// Sorted, without doubles; `None` when there are none.
    keywords: Option<Arc<Vec<Keyword>>>,
}

impl Flags {
    /// No flags.
    pub const fn new() -> Self {
        Flags {
            system: 0,
            keywords: None,
        }
    }

    /// From the bits of [`SystemFlag`] and keywords in any order; unknown bits are dropped.
    pub fn from_parts(system_bits: u8, keywords: impl IntoIterator<Item = Keyword>) -> Self {
        let mut flags = Flags {
            system: system_bits & 31,
            keywords: None,
        };
        keywords.into_iter().for_each(|k| flags.insert(Flag::Keyword(k)));
        flags
    }

    /// The system flags as bits of [`SystemFlag`].
    pub const fn system_bits(&self) -> u8 {
        self.system
    }

    /// These keywords with the system flags of these bits.
    pub fn with_system_bits(&self, system_bits: u8) -> Self {
        Flags {
            system: system_bits & 31,
            keywords: self.keywords.clone(),
        }
    }

    /// Whether the keywords of both are the same piece of memory, or there are none.
    pub fn shares_keywords(&self, other: &Flags) -> bool {
        match (&self.keywords, &other.keywords) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// The keywords, sorted.
    pub fn keywords(&self) -> &[Keyword] {
        self.keywords.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Whether `flag` is set.
    pub const fn is(&self, flag: SystemFlag) -> bool {
        self.system & flag as u8 != 0
    }

    /// Whether `flag` is set.
    pub fn has(&self, flag: &Flag) -> bool {
        match flag {
            Flag::System(s) => self.is(*s),
            Flag::Keyword(k) => self.keywords().binary_search(k).is_ok(),
        }
    }

    /// Whether no flag is set.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_none()
    }

    /// Sets `flag`.
    pub fn insert(&mut self, flag: Flag) {
        match flag {
            Flag::System(s) => self.system |= s as u8,
            Flag::Keyword(k) => {
                if let Err(at) = self.keywords().binary_search(&k) {
                    Arc::make_mut(self.keywords.get_or_insert_default()).insert(at, k);
                }
            }
        }
    }

    /// Clears `flag`.
    pub fn remove(&mut self, flag: &Flag) {
        match flag {
            Flag::System(s) => self.system &= !(*s as u8),
            Flag::Keyword(k) => {
                if let (Ok(at), Some(keywords)) = (self.keywords().binary_search(k), self.keywords.as_mut()) {
                    let keywords = Arc::make_mut(keywords);
                    keywords.remove(at);
                    if keywords.is_empty() {
                        self.keywords = None;
                    }
                }
            }
        }
    }

    /// Each flag, system flags first.
    pub fn iter(&self) -> impl Iterator<Item = Flag> + '_ {
        let system = SystemFlag::ALL
            .into_iter()
            .filter(|s| self.is(*s))
            .map(Flag::System);
        system.chain(self.keywords().iter().cloned().map(Flag::Keyword))
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(iter: I) -> Self {
        let mut flags = Flags::new();
        iter.into_iter().for_each(|f| flags.insert(f));
        flags
    }
}

/// The list as IMAP writes it, without the parentheses.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for system in SystemFlag::ALL.into_iter().filter(|s| self.is(*s)) {
            write!(f, "{gap}{}", system.name())?;
            gap = " ";
        }
        for keyword in self.keywords() {
            write!(f, "{gap}{}", keyword.as_str())?;
            gap = " ";
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

/// What STORE does to the flags of a message (RFC 3501 §6.4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// These and no others.
    Replace(Flags),
    /// These as well.
    Add(Flags),
    /// Not these.
    Remove(Flags),
}

impl FlagChange {
    /// The flags after the change of a message that had `flags`.
    pub fn apply(&self, flags: &Flags) -> Flags {
        match self {
            FlagChange::Replace(new) => new.clone(),
            FlagChange::Add(more) => {
                let mut out = flags.clone();
                out.system |= more.system;
                more.keywords()
                    .iter()
                    .for_each(|k| out.insert(Flag::Keyword(k.clone())));
                out
            }
            FlagChange::Remove(fewer) => {
                let mut out = flags.clone();
                fewer.iter().for_each(|f| out.remove(&f));
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> Flags {
        text.split_whitespace().map(|t| Flag::parse(t).unwrap()).collect()
    }

    #[test]
    fn flags_are_equal_in_any_case_and_order() {
        assert_eq!(flags("\\seen $Forwarded junk"), flags("JUNK $forwarded \\SEEN"));
        assert_eq!(flags("\\Seen $Forwarded A").to_string(), "\\Seen $Forwarded A");
        assert_eq!(Flag::parse("\\Recent"), None);
        assert_eq!(Flag::parse("\\Nonsense"), None);
        assert_eq!(Flag::parse("no(atom"), None);
        assert_eq!(Flag::parse(""), None);
    }

    #[test]
    fn changes_add_remove_and_replace() {
        let had = flags("\\Seen a b");
        assert_eq!(
            FlagChange::Add(flags("\\Draft B c")).apply(&had),
            flags("\\Seen \\Draft a b c")
        );
        assert_eq!(FlagChange::Remove(flags("\\Seen A B")).apply(&had), Flags::new());
        assert_eq!(FlagChange::Replace(flags("x")).apply(&had), flags("x"));
    }

    #[test]
    fn a_message_without_keywords_costs_sixteen_bytes() {
        assert!(size_of::<Flags>() <= 16);
    }
}
