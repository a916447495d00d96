use crate::{Batch, BlobId, BlobReader, BlobWriter, Blobs, BytesReader, Partition, Store, StoreError, keys};
use bytes::{Bytes, BytesMut};
use ringpost_base::{Rng, limits};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Bodies of every size behind one door: small ones travel with the batch that names them, larger ones go to a
/// [`Blobs`] first. Either way one sync makes message and body durable together.
#[derive(Clone)]
pub struct Bodies {
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    rng: Arc<Mutex<Rng>>,
}

impl Bodies {
    /// Over a store and its large bodies; `rng` draws their names.
    pub fn new(store: Arc<dyn Store>, blobs: Arc<dyn Blobs>, rng: Rng) -> Self {
        Bodies {
            store,
            blobs,
            rng: Arc::new(Mutex::new(rng)),
        }
    }

    /// Begins a body of unknown length.
    pub fn writer(&self) -> BodyWriter {
        BodyWriter {
            bodies: self.clone(),
            state: Writing::Gathers(BytesMut::new()),
            size_bytes: 0,
        }
    }

    /// A body that is whole already.
    pub async fn store_bytes(&self, bytes: Bytes) -> Result<Body, StoreError> {
        if bytes.len() <= limits::INLINE_BLOB_BYTES {
            return Ok(self.small(bytes));
        }
        let mut writer = self.writer();
        let mut rest = bytes;
        while !rest.is_empty() {
            writer
                .write(rest.split_to(rest.len().min(limits::INLINE_BLOB_BYTES)))
                .await?;
        }
        writer.finish().await
    }

    /// Bytes that the medium of the large bodies still takes; see [`Blobs::room_bytes`].
    pub async fn room_bytes(&self) -> Result<u64, StoreError> {
        self.blobs.room_bytes().await
    }

    /// A reader of bytes `range` (clamped) of a body that was just written and that nobody names yet.
    pub async fn read(&self, body: &Body, range: Range<u64>) -> Result<Box<dyn BlobReader>, StoreError> {
        if let Some(bytes) = &body.inline {
            let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            let (start, end) = (clamp(range.start), clamp(range.end));
            return Ok(Box::new(BytesReader(bytes.slice(start.min(end)..end))));
        }
        let missing = || StoreError::Damaged(format!("the body {} is missing", body.id));
        self.blobs.get(body.id, range).await?.ok_or_else(missing)
    }

    /// A reader of bytes `range` (clamped) of a body that `home` names; `None` when it does not exist.
    pub async fn get(
        &self,
        home: &Partition,
        id: BlobId,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        if !id.is_inline() {
            return self.blobs.get(id, range).await;
        }
        let body = self.store.blob(home, id, range).await?;
        Ok(body.map(|body| Box::new(BytesReader(body)) as Box<dyn BlobReader>))
    }

    /// Several small bodies, whole, with one question; `None` for one that does not exist, or that is not small
    /// ([`BlobId::is_inline`]).
    pub async fn get_many(
        &self,
        home: &Partition,
        ids: Vec<BlobId>,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.store.blob_many(home, ids).await
    }

    /// Bytes `range` of a body in one piece, for what is known to be small: a header, an announcement.
    /// A body that is named but missing is [`StoreError::Damaged`].
    pub async fn get_bytes(
        &self,
        home: &Partition,
        id: BlobId,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let missing = || StoreError::Damaged(format!("the body {id} of {home} is missing"));
        if id.is_inline() {
            return self.store.blob(home, id, range).await?.ok_or_else(missing);
        }
        let mut reader = self.blobs.get(id, range).await?.ok_or_else(missing)?;
        let mut out = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            out.extend_from_slice(&chunk);
        }
        Ok(out.freeze())
    }

    /// A reader of a body that was just written, and that nothing need name yet.
    pub async fn read_back(&self, body: &Body) -> Result<Box<dyn BlobReader>, StoreError> {
        match &body.inline {
            Some(bytes) => Ok(Box::new(BytesReader(bytes.clone()))),
            None => {
                let missing = || StoreError::Damaged(format!("the body {} is missing", body.id));
                self.blobs.get(body.id, 0..u64::MAX).await?.ok_or_else(missing)
            }
        }
    }

    /// Removes a body that nothing named, nor will.
    pub async fn discard(&self, body: &Body) -> Result<(), StoreError> {
        match body.inline {
            Some(_) => Ok(()),
            None => self.blobs.delete(body.id).await,
        }
    }

    fn small(&self, bytes: Bytes) -> Body {
        Body {
            id: self.draw(BlobId::inline),
            size_bytes: bytes.len() as u64,
            inline: Some(bytes),
        }
    }

    fn draw(&self, kind: impl Fn(&mut Rng) -> BlobId) -> BlobId {
        kind(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bodies")
    }
}

/// A body that can be named by a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// Its name.
    pub id: BlobId,
    /// Its length.
    pub size_bytes: u64,
    inline: Option<Bytes>,
}

impl Body {
    /// Names the body in `batch`: counts one reference, and takes a small body along.
    pub fn name_in(&self, batch: &mut Batch) {
        if let Some(body) = &self.inline {
            batch.blob(self.id, body.clone());
        }
        batch.add(keys::blob_count(self.id), 1);
    }
}

/// A body that is being written. It gathers what may still turn out small, and then passes on each chunk.
pub struct BodyWriter {
    bodies: Bodies,
    state: Writing,
    size_bytes: u64,
}

enum Writing {
    Gathers(BytesMut),
    Streams(BlobId, Box<dyn BlobWriter>),
}

impl BodyWriter {
    /// Appends a chunk.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.size_bytes += chunk.len() as u64;
        match &mut self.state {
            Writing::Streams(_, writer) => writer.write(chunk).await,
            Writing::Gathers(gathered) if gathered.len() + chunk.len() <= limits::INLINE_BLOB_BYTES => {
                gathered.extend_from_slice(&chunk);
                Ok(())
            }
            Writing::Gathers(gathered) => {
                let gathered = std::mem::take(gathered).freeze();
                let id = self.bodies.draw(BlobId::separate);
                let mut writer = self.bodies.blobs.writer(id).await?;
                if !gathered.is_empty() {
                    writer.write(gathered).await?;
                }
                writer.write(chunk).await?;
                self.state = Writing::Streams(id, writer);
                Ok(())
            }
        }
    }

    /// How much has been written.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Ends the body. A large one is durable when this is done; a small one is with the batch that names it.
    pub async fn finish(self) -> Result<Body, StoreError> {
        match self.state {
            Writing::Gathers(gathered) => Ok(self.bodies.small(gathered.freeze())),
            Writing::Streams(id, writer) => {
                writer.finish().await?;
                Ok(Body {
                    id,
                    size_bytes: self.size_bytes,
                    inline: None,
                })
            }
        }
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyWriter({} bytes)", self.size_bytes)
    }
}
