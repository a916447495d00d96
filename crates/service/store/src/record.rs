use crate::{Key, StoreError};
use bytes::Bytes;

/// A typed record: what it is as bytes is written in one place.
pub trait Record: Sized {
    /// The record's value.
    fn to_bytes(&self) -> Vec<u8>;

    /// The record that was written as `value`; `key` is for the error's text.
    fn from_bytes(key: &Key, value: Bytes) -> Result<Self, StoreError>;
}
