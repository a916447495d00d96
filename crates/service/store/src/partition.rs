use std::fmt;

/// An account's number: drawn at random when the account is made, so that it never comes back and tells nothing.
/// Addresses and extensions point at it and may change; what the account owns never moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AccountId(pub u64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one batch may touch: the unit by which an engine can shard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Partition {
    /// Everything that one account owns: its mailboxes, messages, devices, passwords, counters.
    Account(AccountId),
    /// One domain, in lower case: its addresses and extensions, whose uniqueness it guards.
    Domain(Box<str>),
    /// One of the directory's shared shelves, `0..`[`Partition::DIRECTORIES`]: the list of domains, device user names,
    /// the snapshot of bindings.
    Directory(u8),
    /// Due work ordered by time, `0..`[`Partition::QUEUES`].
    Queue(u8),
}

impl Partition {
    /// How many directory shelves there are.
    pub const DIRECTORIES: u8 = 64;
    /// How many queues there are.
    pub const QUEUES: u8 = 64;

    /// The shelf of the directory that holds what is filed under `name`.
    pub fn directory_of(name: &[u8]) -> Partition {
        Partition::Directory((fnv1a(name) % u64::from(Self::DIRECTORIES)) as u8)
    }

    /// The queue that holds the work numbered `id`.
    pub fn queue_of(id: u64) -> Partition {
        Partition::Queue((id % u64::from(Self::QUEUES)) as u8)
    }

    /// The partition as bytes, for engines that keep it in a column. The order of the bytes is the order in which
    /// [`Store::partitions`](crate::Store::partitions) lists.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Partition::Account(AccountId(id)) => [&b"a"[..], &id.to_be_bytes()].concat(),
            Partition::Domain(name) => [b"d", name.as_bytes()].concat(),
            Partition::Directory(n) => vec![b'h', *n],
            Partition::Queue(n) => vec![b'q', *n],
        }
    }

    /// The partition that [`to_bytes`](Partition::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Partition> {
        let (tag, rest) = bytes.split_first()?;
        match (tag, rest) {
            (b'a', rest) => Some(Partition::Account(AccountId(u64::from_be_bytes(
                rest.try_into().ok()?,
            )))),
            (b'd', rest) => Some(Partition::Domain(std::str::from_utf8(rest).ok()?.into())),
            (b'h', [n]) => Some(Partition::Directory(*n)),
            (b'q', [n]) => Some(Partition::Queue(*n)),
            _ => None,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Partition::Account(id) => write!(f, "account/{id}"),
            Partition::Domain(name) => write!(f, "domain/{name}"),
            Partition::Directory(n) => write!(f, "dir/{n}"),
            Partition::Queue(n) => write!(f, "queue/{n}"),
        }
    }
}

/// FNV-1a over the bytes: a fixed function, since what it gives is stored.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_survive_their_bytes() {
        for p in [
            Partition::Account(AccountId(7)),
            Partition::Domain("example.org".into()),
            Partition::Directory(63),
            Partition::Queue(0),
        ] {
            assert_eq!(Partition::from_bytes(&p.to_bytes()), Some(p));
        }
        assert_eq!(Partition::from_bytes(b""), None);
        assert_eq!(Partition::from_bytes(b"a123"), None);
    }
}
