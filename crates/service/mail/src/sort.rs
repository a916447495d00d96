//! What SORT and THREAD compare.

use crate::known::fetched;
use crate::parse::codec;
use crate::parse::field::fields;
use crate::parse::references_of;
use crate::search::decode_envelope;
use crate::{Mail, MailError, Selected};
use ringpost_base::limits;
use ringpost_imap::question::{ObjectId, Wants};
use ringpost_imap::sort::SortFacts;
use ringpost_store::records::Message;
use std::sync::Arc;

impl Mail {
    /// What SORT and THREAD want to know of messages, in their order; one that is gone for good is left out. Of so many of the
    /// first that it does not become too much.
    pub async fn sort_facts(
        &self,
        selected: &Selected,
        uids: &[u32],
        references: bool,
    ) -> Result<Vec<SortFacts>, MailError> {
        let (mut out, mut held_bytes, mut rest) = (Vec::with_capacity(uids.len()), 0, uids);
        while !rest.is_empty() && held_bytes < limits::IMAP_KNOWN_BYTES {
            let known = self.known(selected, rest).await?;
            rest = &rest[known.looked_at..];
            for (uid, message) in known.messages {
                if held_bytes >= limits::IMAP_KNOWN_BYTES {
                    return Ok(out);
                }
                let references = match references {
                    true => self.references(selected, &message).await?,
                    false => Vec::new(),
                };
                let facts = facts(uid, &message, references)?;
                held_bytes += facts.envelope.held_bytes() + size_of_val(&facts.references[..]);
                out.push(facts);
            }
        }
        Ok(out)
    }

    /// The message IDs of the References field. A message that was delivered before they were kept is read.
    async fn references(&self, selected: &Selected, message: &Message) -> Result<Vec<u64>, MailError> {
        if let Some(references) = codec::decode_index(&message.index) {
            return Ok(references);
        }
        let header_end = message.header_bytes.min(limits::MESSAGE_HEADER_BYTES as u64);
        let header = self
            .bodies
            .get_bytes(&selected.home(), message.blob, 0..header_end)
            .await?;
        let field = fields(&header).find(|field| field.is("References"));
        Ok(field
            .map(|field| references_of(&field.value()))
            .unwrap_or_default())
    }
}

impl Mail {
    /// The thread of a message: of the message that began it, as far as its own fields tell. That is its first reference, or the
    /// message that it answers, or itself.
    //= https://www.rfc-editor.org/rfc/rfc8474#section-5.2
    pub(crate) async fn thread_of(
        &self,
        selected: &Selected,
        message: &Message,
    ) -> Result<ObjectId, MailError> {
        if let Some(first) = self.references(selected, message).await?.first() {
            return Ok(ObjectId::Thread(*first));
        }
        let wants = Wants {
            envelope: true,
            ..Wants::default()
        };
        let envelope = fetched(0, message, wants)?.envelope.unwrap_or_default();
        let first = |field: &Option<String>| references_of(field.as_deref()?).first().copied();
        let root = first(&envelope.in_reply_to).or_else(|| first(&envelope.message_id));
        Ok(ObjectId::Thread(root.unwrap_or(message.email_id)))
    }
}

fn facts(uid: u32, message: &Message, references: Vec<u64>) -> Result<SortFacts, MailError> {
    let wants = Wants {
        envelope: true,
        ..Wants::default()
    };
    let known = fetched(uid, message, wants)?.envelope.unwrap_or_default();
    let mut envelope = Arc::unwrap_or_clone(known);
    decode_envelope(&mut envelope);
    Ok(SortFacts {
        uid,
        arrived: message.received,
        sent: message.sent.unwrap_or(message.received),
        size_bytes: message.size_bytes,
        envelope,
        references,
    })
}
