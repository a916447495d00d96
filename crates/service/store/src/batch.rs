use crate::{BlobId, Partition};
use bytes::Bytes;
use ringpost_base::limits;
use std::fmt;

/// A record's name within its partition; keys are ordered as bytes. Made by [`keys`](crate::keys).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub Vec<u8>);

impl Key {
    /// The key as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// When a record was last written: grows with every write of it and never repeats for a key, deleted or not.
/// Versions of two engines, or of two keys, tell nothing about each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(pub u64);

/// What a batch expects of a record before it changes anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// The record is there and was last written at this version.
    Version(Version),
    /// There is no such record.
    Absent,
    /// The record is there.
    Exists,
}

/// One expectation; a batch with an unmet one changes nothing and is a [`Conflict`](crate::CommitError::Conflict).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guard {
    /// The record.
    pub key: Key,
    /// What it must be.
    pub expect: Expect,
}

/// A request for `n` consecutive numbers of a counter. An absent counter counts from zero, so its first number is 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mint {
    /// The counter: 8 bytes, big-endian, the last number given out.
    pub counter: Key,
    /// How many numbers.
    pub n: u64,
}

/// A change of a signed counter (8 bytes, big-endian, two's complement; absent is zero).
/// Several adds to one key count as their sum; a bound outside of which the sum would fall is a
/// [`CommitError::Bound`](crate::CommitError::Bound), and the batch changes nothing.
/// A counter that comes to zero stays as a record of zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Add {
    /// The counter.
    pub key: Key,
    /// What to add.
    pub delta: i64,
    /// The lowest value allowed afterwards.
    pub floor: i64,
    /// The highest value allowed afterwards; a quota is one. A sum that shrinks is never above it.
    pub ceiling: i64,
}

/// A number that will be minted by the batch it is used in: the `offset`-th of mint `index`, from zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Minted {
    /// Which of the batch's mints.
    pub index: usize,
    /// Which of its numbers.
    pub offset: u64,
}

impl Minted {
    /// The number, once the commit has said the first of each mint; `None` if they are another batch's.
    pub fn of(self, minted: &[u64]) -> Option<u64> {
        minted.get(self.index)?.checked_add(self.offset)
    }
}

/// A number that is known now, or minted by the commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// This number.
    Known(u64),
    /// Filled in by the engine.
    Minted(Minted),
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Number::Known(n)
    }
}

impl From<u32> for Number {
    fn from(n: u32) -> Self {
        Number::Known(n.into())
    }
}

impl From<Minted> for Number {
    fn from(minted: Minted) -> Self {
        Number::Minted(minted)
    }
}

/// How a minted number is written, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// Four bytes; a number above `u32::MAX` is a [`CommitError::Bound`](crate::CommitError::Bound).
    U32,
    /// Eight bytes.
    U64,
}

/// A part of a key or value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// A minted number.
    Mint(Minted, Width),
}

/// A key or value with holes that the commit fills with minted numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Template(pub Vec<Piece>);

impl Template {
    /// Appends bytes.
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.0.push(Piece::Bytes(bytes.into()));
        self
    }

    /// Appends a number.
    pub fn number(self, number: impl Into<Number>, width: Width) -> Self {
        match (number.into(), width) {
            (Number::Known(n), Width::U32) => self.bytes((n as u32).to_be_bytes().to_vec()),
            (Number::Known(n), Width::U64) => self.bytes(n.to_be_bytes().to_vec()),
            (Number::Minted(minted), width) => {
                let mut pieces = self.0;
                pieces.push(Piece::Mint(minted, width));
                Template(pieces)
            }
        }
    }

    /// How long the filled template is.
    pub fn len(&self) -> usize {
        let piece = |p: &Piece| match p {
            Piece::Bytes(b) => b.len(),
            Piece::Mint(_, Width::U32) => 4,
            Piece::Mint(_, Width::U64) => 8,
        };
        self.0.iter().map(piece).sum()
    }

    /// Whether the filled template has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, with `firsts[index] + offset` in the holes; `None` when a number is too wide for its hole, or its
    /// mint does not exist. For engines.
    pub fn fill(&self, firsts: &[u64]) -> Option<Bytes> {
        if let [Piece::Bytes(only)] = &self.0[..] {
            return Some(only.clone());
        }
        let mut out = Vec::with_capacity(self.len());
        for piece in &self.0 {
            match piece {
                Piece::Bytes(b) => out.extend_from_slice(b),
                Piece::Mint(minted, width) => {
                    let n = minted.of(firsts)?;
                    match width {
                        Width::U64 => out.extend_from_slice(&n.to_be_bytes()),
                        Width::U32 => out.extend_from_slice(&u32::try_from(n).ok()?.to_be_bytes()),
                    }
                }
            }
        }
        Some(out.into())
    }
}

impl From<Vec<u8>> for Template {
    fn from(bytes: Vec<u8>) -> Self {
        Template(vec![Piece::Bytes(bytes.into())])
    }
}

impl From<Bytes> for Template {
    fn from(bytes: Bytes) -> Self {
        Template(vec![Piece::Bytes(bytes)])
    }
}

impl From<Key> for Template {
    fn from(key: Key) -> Self {
        key.0.into()
    }
}

/// A record to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// Its key.
    pub key: Template,
    /// Its value.
    pub value: Template,
}

/// One change of one partition: all of it happens, or nothing.
///
/// In this order: guards are held against the state before the batch, then deletes, mints, adds, puts, and the bodies.
/// ```
/// use ringpost_store::{Batch, AccountId, Key, Partition, Width, Template};
///
/// let mut batch = Batch::new(Partition::Account(AccountId(1)));
/// let mailbox = Key(b"mailbox/1".to_vec());
/// batch.exists(mailbox);
/// let uid = batch.mint(Key(b"uid/1".to_vec()));
/// batch.put(Template::from(b"message/1/".to_vec()).number(uid, Width::U32), b"hello".to_vec());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Where everything below happens.
    pub partition: Partition,
    /// What must hold before.
    pub guards: Vec<Guard>,
    /// Numbers to be given out.
    pub mints: Vec<Mint>,
    /// Records to be written.
    pub puts: Vec<Put>,
    /// Records to be removed; one that is not there is no error.
    pub deletes: Vec<Key>,
    /// Counters to be changed.
    pub adds: Vec<Add>,
    /// Bodies of at most [`limits::INLINE_BLOB_BYTES`] that are stored with the batch.
    pub blobs: Vec<(BlobId, Bytes)>,
    /// Such bodies to be removed.
    pub blob_deletes: Vec<BlobId>,
}

impl Batch {
    /// An empty batch.
    pub fn new(partition: Partition) -> Self {
        Batch {
            partition,
            guards: Vec::new(),
            mints: Vec::new(),
            puts: Vec::new(),
            deletes: Vec::new(),
            adds: Vec::new(),
            blobs: Vec::new(),
            blob_deletes: Vec::new(),
        }
    }

    /// Expects the record to be as it was read.
    pub fn unchanged(&mut self, key: Key, version: Version) -> &mut Self {
        self.guards.push(Guard {
            key,
            expect: Expect::Version(version),
        });
        self
    }

    /// Expects that there is no such record.
    pub fn absent(&mut self, key: Key) -> &mut Self {
        self.guards.push(Guard {
            key,
            expect: Expect::Absent,
        });
        self
    }

    /// Expects the record to be there, whatever it says.
    pub fn exists(&mut self, key: Key) -> &mut Self {
        self.guards.push(Guard {
            key,
            expect: Expect::Exists,
        });
        self
    }

    /// Asks for the counter's next number.
    pub fn mint(&mut self, counter: Key) -> Minted {
        self.mint_many(counter, 1)
    }

    /// Asks for `n` numbers; the one returned is the first, the others follow by `offset`.
    pub fn mint_many(&mut self, counter: Key, n: u64) -> Minted {
        self.mints.push(Mint { counter, n });
        Minted {
            index: self.mints.len() - 1,
            offset: 0,
        }
    }

    /// Writes a record.
    pub fn put(&mut self, key: impl Into<Template>, value: impl Into<Template>) -> &mut Self {
        self.puts.push(Put {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Removes a record.
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.deletes.push(key);
        self
    }

    /// Changes a counter that may not fall below zero.
    pub fn add(&mut self, key: Key, delta: i64) -> &mut Self {
        self.add_within(key, delta, 0, i64::MAX)
    }

    /// Changes a counter that must come to lie between `floor` and `ceiling`.
    pub fn add_within(&mut self, key: Key, delta: i64, floor: i64, ceiling: i64) -> &mut Self {
        self.adds.push(Add {
            key,
            delta,
            floor,
            ceiling,
        });
        self
    }

    /// Stores a small body with the batch.
    pub fn blob(&mut self, id: BlobId, body: Bytes) -> &mut Self {
        self.blobs.push((id, body));
        self
    }

    /// Whether the batch would change nothing.
    pub fn is_empty(&self) -> bool {
        self.operations() == self.guards.len()
    }

    /// Whether the batch keeps to the limits of one commit; engines refuse with
    /// [`CommitError::TooLarge`](crate::CommitError::TooLarge) what does not.
    pub fn fits(&self) -> bool {
        self.operations() <= limits::BATCH_OPERATIONS
            && self
                .puts
                .iter()
                .all(|p| p.key.len() <= limits::KEY_BYTES && p.value.len() <= limits::VALUE_BYTES)
            && self
                .blobs
                .iter()
                .all(|(id, body)| id.is_inline() && body.len() <= limits::INLINE_BLOB_BYTES)
            && self.size_bytes() <= limits::BATCH_BYTES
    }

    /// How many guards and changes it has.
    pub fn operations(&self) -> usize {
        self.guards.len()
            + self.mints.len()
            + self.puts.len()
            + self.deletes.len()
            + self.adds.len()
            + self.blobs.len()
            + self.blob_deletes.len()
    }

    fn size_bytes(&self) -> usize {
        let puts: usize = self.puts.iter().map(|p| p.key.len() + p.value.len()).sum();
        let blobs: usize = self.blobs.iter().map(|(_, body)| body.len()).sum();
        puts + blobs
    }
}
