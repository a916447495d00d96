//! Signatures on what leaves for other servers, made when it is queued.

use crate::{Letter, Mail, MailError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_base::UnixTime;
use ringpost_store::{BlobReader, StoreError};
use std::sync::Arc;

/// Signs what our people send (DKIM, RFC 6376).
pub trait Signer: Send + Sync + 'static {
    /// Begins to read a message.
    fn begin(&self, now: UnixTime) -> Box<dyn Signing>;
}

/// A message that is read to be signed.
pub trait Signing: Send {
    /// Its next bytes.
    fn write(&mut self, chunk: &[u8]);
    /// It is whole. The fields that go before it, each with its CRLF; none where nobody of ours vouches for it.
    fn finish(self: Box<Self>) -> BoxFuture<'static, String>;
}

impl Mail {
    /// Has what leaves signed from now on. The first one stays.
    pub fn set_signer(&self, signer: Arc<dyn Signer>) {
        // Whoever sets a second one has made a second server of it.
        let _first = self.signer.set(signer);
    }

    /// What goes before a message of ours that leaves: what our people have submitted, or a notice. Its first `skip_bytes`
    /// stay here.
    pub(crate) async fn signature(
        &self,
        letter: &Letter,
        mut skip_bytes: u64,
        now: UnixTime,
    ) -> Result<Bytes, MailError> {
        let Some(signer) = self.signer.get() else {
            return Ok(Bytes::new());
        };
        let mut signing = signer.begin(now);
        let mut reader = self.bodies.read_back(&letter.body).await?;
        while let Some(mut chunk) = reader.next().await? {
            let skipped = skip_bytes.min(chunk.len() as u64);
            skip_bytes -= skipped;
            signing.write(&chunk.split_off(skipped as usize));
        }
        Ok(signing.finish().await.into())
    }
}

/// A body with something before it.
pub(crate) struct Headed {
    pub(crate) head: Option<Bytes>,
    pub(crate) rest: Box<dyn BlobReader>,
}

impl BlobReader for Headed {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        match self.head.take().filter(|head| !head.is_empty()) {
            Some(head) => Box::pin(async move { Ok(Some(head)) }),
            None => self.rest.next(),
        }
    }
}
