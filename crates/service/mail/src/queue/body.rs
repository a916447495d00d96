//! What is sent of a queued message.

use super::QueuedMessage;
use crate::sign::Headed;
use crate::{Mail, MailError};
use bytes::Bytes;
use ringpost_store::records::Queued;
use ringpost_store::{BlobReader, Partition};

impl QueuedMessage {
    /// The fields that stand before the message in this copy: ASCII but for what forwarding adds.
    pub fn head(&self) -> Bytes {
        [self.record.prefix.as_bytes(), &self.record.head[..]]
            .concat()
            .into()
    }
}

impl Mail {
    /// The body as it is sent, with the fields before it that stand in this copy alone.
    pub async fn queued_body(&self, message: &QueuedMessage) -> Result<Box<dyn BlobReader>, MailError> {
        Ok(Box::new(Headed {
            head: Some(message.head()),
            rest: self.queued_message(message).await?,
        }))
    }

    /// The message itself, which is what was signed.
    pub async fn queued_message(&self, message: &QueuedMessage) -> Result<Box<dyn BlobReader>, MailError> {
        let Queued {
            id, blob, skip_bytes, ..
        } = message.record;
        let home = Partition::queue_of(id);
        let reader = self.bodies.get(&home, blob, skip_bytes..u64::MAX).await?;
        let missing = || MailError::Damaged(format!("the body of queued message {id} is missing"));
        reader.ok_or_else(missing)
    }
}
