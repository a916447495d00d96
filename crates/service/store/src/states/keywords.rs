use crate::record::{Member, Scalar, plain_member, record, write_field};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// The keywords of a message, each once, in their order of spelling. Messages may share them.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Keywords(Option<Arc<[String]>>);

impl Keywords {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|all| all.iter().map(String::as_str))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether both are the same piece of memory, or there are none: then they are equal.
    pub fn shares(&self, other: &Keywords) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl From<Vec<String>> for Keywords {
    fn from(all: Vec<String>) -> Self {
        Keywords(Some(all).filter(|all| !all.is_empty()).map(Arc::from))
    }
}

impl fmt::Debug for Keywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Member for Keywords {
    fn write(&self, tag: u8, out: &mut Vec<u8>) {
        self.iter()
            .for_each(|keyword| write_field(tag, keyword.as_bytes(), out));
    }
    fn read(&mut self, bytes: Bytes) -> Option<()> {
        let mut all: Vec<String> = self.iter().map(str::to_owned).collect();
        all.push(String::decode(bytes)?);
        *self = all.into();
        Some(())
    }
}

record! {
    /// A set of keywords that messages of a block have.
    KeywordSet {
        /// The keywords.
        1 keywords: Keywords,
    }
}
plain_member!(KeywordSet);
