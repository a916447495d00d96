//! Signatures on what leaves for other servers, made when it is queued.

use crate::{Letter, Mail, MailError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_base::UnixTime;
use ringpost_smtp::client::Survey;
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

    /// Signs a message of ours that leaves: what our people have submitted, or a notice. Its first `skip_bytes` stay here.
    /// What is signed is what is sent: a message that some server might need converted is converted for all of them.
    //= https://www.rfc-editor.org/rfc/rfc6376#section-5.3
    pub(crate) async fn signature(
        &self,
        letter: &Letter,
        skip_bytes: u64,
        now: UnixTime,
    ) -> Result<Signature, MailError> {
        let Some(signer) = self.signer.get() else {
            return Ok(Signature::default());
        };
        let mut signing = signer.begin(now);
        let mut converter = None;
        if letter.eight_bit || letter.long_lines {
            let mut survey = Survey::new();
            self.read_from(letter, skip_bytes, |piece| survey.push(&piece))
                .await?;
            converter = Some(survey.finish_as_far_as_possible());
        }
        self.read_from(letter, skip_bytes, |piece| match &mut converter {
            Some(converter) => signing.write(&converter.push(&piece)),
            None => signing.write(&piece),
        })
        .await?;
        if let Some(converter) = &mut converter {
            signing.write(&converter.finish());
        }
        let head = Bytes::from(signing.finish().await);
        Ok(Signature {
            seven_bit: !head.is_empty() && converter.is_some_and(|converter| converter.is_seven_bit()),
            head,
        })
    }

    async fn read_from(
        &self,
        letter: &Letter,
        mut skip_bytes: u64,
        mut take: impl FnMut(Bytes),
    ) -> Result<(), MailError> {
        let mut reader = self.bodies.read_back(&letter.body).await?;
        while let Some(mut piece) = reader.next().await? {
            let skipped = skip_bytes.min(piece.len() as u64);
            skip_bytes -= skipped;
            take(piece.split_off(skipped as usize));
        }
        Ok(())
    }
}

/// Signatures, and of what.
#[derive(Default)]
pub(crate) struct Signature {
    /// The fields that go before the message; none where nobody of ours vouches for it.
    pub(crate) head: Bytes,
    /// They are of the message in its 7-bit form.
    pub(crate) seven_bit: bool,
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
