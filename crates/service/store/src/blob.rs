use crate::StoreError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_base::{Rng, UnixTime, limits};
use std::fmt;
use std::ops::Range;

/// A body's name: drawn at random, so that it never comes back. Its first byte says where the body lies: with the batch
/// that names it ([`is_inline`](BlobId::is_inline)), or in a [`Blobs`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlobId(pub [u8; 16]);

impl BlobId {
    /// A name for a body of at most [`limits::INLINE_BLOB_BYTES`] that travels with its batch.
    pub fn inline(rng: &mut Rng) -> Self {
        Self::draw(0, rng)
    }

    /// A name for a body in a [`Blobs`].
    pub fn separate(rng: &mut Rng) -> Self {
        Self::draw(1, rng)
    }

    /// Whether the body lies in its partition, not in a [`Blobs`].
    pub fn is_inline(self) -> bool {
        self.0[0] == 0
    }

    /// The id that [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        for (i, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(BlobId(id))
    }

    fn draw(kind: u8, rng: &mut Rng) -> Self {
        let mut id = [0; 16];
        rng.fill(&mut id);
        id[0] = kind;
        BlobId(id)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Large bodies: written in chunks before the batch that names them, read in chunks, immutable in between.
pub trait Blobs: Send + Sync {
    /// Begins a body under a fresh id (see [`BlobId::separate`]); one that exists is an error.
    fn writer(&self, id: BlobId) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>>;

    /// A reader of bytes `range`, clamped to the body's end; `None` when there is no such body.
    fn get(
        &self,
        id: BlobId,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>>;

    /// Removes a body; one that is not there is no error.
    fn delete(&self, id: BlobId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Bytes that the medium still takes, as far as that can be told: others fill it too. For what must not be begun when
    /// it cannot be ended.
    fn room_bytes(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// The finished bodies that come after `after`, in the order of their ids, at most `limit`.
    fn list(&self, after: Option<BlobId>, limit: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, StoreError>>;
}

/// What is known of a body without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobInfo {
    /// Its name.
    pub id: BlobId,
    /// Its length.
    pub size_bytes: u64,
    /// When it was finished.
    pub written: UnixTime,
}

/// A body that is being written; dropped before [`finish`](BlobWriter::finish), it leaves nothing.
pub trait BlobWriter: Send {
    /// Appends a chunk. The next may follow when this is done, so a slow medium slows its source.
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the body. When this is done it survives a loss of power, and may be named.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// A body that is being read.
pub trait BlobReader: Send {
    /// The next chunk, at most [`limits::CHUNK_BYTES`] long; `None` at the end.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;
}

/// Cuts `bytes` into chunks of at most [`limits::CHUNK_BYTES`] without copying: a [`BlobReader`] of what is at hand.
#[derive(Debug)]
pub struct BytesReader(pub Bytes);

impl BlobReader for BytesReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let len = self.0.len().min(limits::CHUNK_BYTES);
        let chunk = self.0.split_to(len);
        Box::pin(async move { Ok((!chunk.is_empty()).then_some(chunk)) })
    }
}

/// `range` clamped to `0..len`, never backwards.
pub fn clamp(range: &Range<u64>, len: u64) -> Range<u64> {
    let end = range.end.min(len);
    range.start.min(end)..end
}
