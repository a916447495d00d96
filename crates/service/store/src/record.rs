//! How a typed record becomes bytes.
//!
//! A value is one byte of format (1), then fields: a tag (1 byte), a length (LEB128), the bytes. Numbers are big-endian
//! without leading zeros, times are nanoseconds since 1970, text is UTF-8. A field at its default is left out, a tag that
//! comes again adds to a list (or replaces what is no list), and a tag that is not known is skipped: so fields can be
//! added, and never be given another meaning.

use crate::{AccountId, BlobId, Key, StoreError};
use bytes::{Buf, Bytes};
use ringpost_base::UnixTime;

/// The only format so far.
const FORMAT: u8 = 1;

/// A typed record: what it is as bytes is written in one place.
pub trait Record: Sized {
    /// The record's value.
    fn to_bytes(&self) -> Vec<u8>;

    /// The record that was written as `value`; `key` is for the error's text.
    fn from_bytes(key: &Key, value: Bytes) -> Result<Self, StoreError>;
}

/// What fits into one field.
pub(crate) trait Scalar: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: Bytes) -> Option<Self>;
}

/// What a record's member writes: no field, one, or several.
pub(crate) trait Member: Sized {
    fn write(&self, tag: u8, out: &mut Vec<u8>);
    fn read(&mut self, bytes: Bytes) -> Option<()>;
}

/// One field, for those who append one with a minted number.
pub(crate) fn field_head(tag: u8, len: u8) -> Vec<u8> {
    debug_assert!(len < 0x80, "the length is one byte of LEB128");
    vec![tag, len]
}

pub(crate) fn write_field(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

/// The fields of a value, in their order.
pub(crate) struct Fields(Bytes);

impl Fields {
    pub(crate) fn open(mut value: Bytes) -> Option<Self> {
        (value.try_get_u8().ok()? == FORMAT).then_some(Fields(value))
    }

    /// The next tag and its bytes; `Some(None)` at the end, `None` when the value is damaged.
    pub(crate) fn next(&mut self) -> Option<Option<(u8, Bytes)>> {
        let Ok(tag) = self.0.try_get_u8() else {
            return Some(None);
        };
        let mut len = 0usize;
        for shift in [0, 7, 14, 21] {
            let byte = self.0.try_get_u8().ok()?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return (len <= self.0.len()).then(|| Some((tag, self.0.split_to(len))));
            }
        }
        None
    }
}

pub(crate) fn damaged(key: &Key) -> StoreError {
    StoreError::Damaged(format!("{key:?}"))
}

/// Declares a record: its members, each with the tag that it is stored under.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $tag:literal $member:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct $name { $($(#[$doc])* pub $member: $type,)* }

        impl $crate::Record for $name {
            fn to_bytes(&self) -> Vec<u8> {
                $crate::record::Scalar::encode(self)
            }

            fn from_bytes(key: &$crate::Key, value: bytes::Bytes) -> Result<Self, $crate::StoreError> {
                $crate::record::Scalar::decode(value).ok_or_else(|| $crate::record::damaged(key))
            }
        }

        impl $crate::record::Scalar for $name {
            fn encode(&self) -> Vec<u8> {
                #[allow(unused_mut)]
                let mut out = $crate::record::begin();
                $($crate::record::Member::write(&self.$member, $tag, &mut out);)*
                out
            }

            fn decode(bytes: bytes::Bytes) -> Option<Self> {
                #[allow(unused_mut)]
                let mut record = $name::default();
                let mut fields = $crate::record::Fields::open(bytes)?;
                while let Some((tag, _bytes)) = fields.next()? {
                    match tag {
                        $($tag => $crate::record::Member::read(&mut record.$member, _bytes)?,)*
                        _ => {}
                    }
                }
                Some(record)
            }
        }
    };
}
pub(crate) use record;

pub(crate) fn begin() -> Vec<u8> {
    vec![FORMAT]
}

/// A scalar whose default is left out is a member by itself.
macro_rules! plain_member {
    ($($type:ty),*) => { $(
        impl Member for $type {
            fn write(&self, tag: u8, out: &mut Vec<u8>) {
                if *self != <$type>::default() {
                    write_field(tag, &self.encode(), out);
                }
            }
            fn read(&mut self, bytes: Bytes) -> Option<()> {
                *self = Self::decode(bytes)?;
                Some(())
            }
        }
    )* };
}
pub(crate) use plain_member;
plain_member!(u64, u32, u16, bool, String, Bytes, UnixTime, AccountId, BlobId);

impl<T: Scalar> Member for Option<T> {
    fn write(&self, tag: u8, out: &mut Vec<u8>) {
        if let Some(value) = self {
            write_field(tag, &value.encode(), out);
        }
    }
    fn read(&mut self, bytes: Bytes) -> Option<()> {
        *self = Some(T::decode(bytes)?);
        Some(())
    }
}

impl<T: Scalar> Member for Vec<T> {
    fn write(&self, tag: u8, out: &mut Vec<u8>) {
        for value in self {
            write_field(tag, &value.encode(), out);
        }
    }
    fn read(&mut self, bytes: Bytes) -> Option<()> {
        self.push(T::decode(bytes)?);
        Some(())
    }
}

impl Scalar for u64 {
    fn encode(&self) -> Vec<u8> {
        self.to_be_bytes()[self.leading_zeros() as usize / 8..].to_vec()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        (bytes.len() <= 8).then(|| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }
}

macro_rules! narrow_scalar {
    ($($type:ty),*) => { $(
        impl Scalar for $type {
            fn encode(&self) -> Vec<u8> {
                u64::from(*self).encode()
            }
            fn decode(bytes: Bytes) -> Option<Self> {
                u64::decode(bytes)?.try_into().ok()
            }
        }
    )* };
}
narrow_scalar!(u32, u16, u8);

impl Scalar for bool {
    fn encode(&self) -> Vec<u8> {
        vec![u8::from(*self)]
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        Some(u64::decode(bytes)? != 0)
    }
}

impl Scalar for String {
    fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        String::from_utf8(bytes.into()).ok()
    }
}

impl Scalar for Bytes {
    fn encode(&self) -> Vec<u8> {
        self.to_vec()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        Some(bytes)
    }
}

impl Scalar for UnixTime {
    fn encode(&self) -> Vec<u8> {
        self.as_nanos().encode()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        u64::decode(bytes).map(UnixTime::from_nanos)
    }
}

impl Scalar for AccountId {
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        u64::decode(bytes).map(AccountId)
    }
}

impl Scalar for BlobId {
    fn encode(&self) -> Vec<u8> {
        self.0.to_vec()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        bytes[..].try_into().ok().map(BlobId)
    }
}

/// Decodes what the fuzzer made, as every kind of record, and expects what decodes to survive its own bytes.
pub(crate) fn fuzz<R: Record + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let key = Key::default();
    if let Ok(record) = R::from_bytes(&key, Bytes::copy_from_slice(data)) {
        let again = R::from_bytes(&key, record.to_bytes().into());
        assert_eq!(again.as_ref(), Ok(&record));
    }
}
