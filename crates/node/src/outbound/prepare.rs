//! A message as one server can take it.

use super::Outbound;
use bytes::Bytes;
use ringpost_mail::{MailError, QueuedMessage};
use ringpost_smtp::client::{self, Converter, Survey, Verdict, Wanted};
use ringpost_smtp::{Body, ForwardPath, Mailbox, ReversePath};
use ringpost_store::BlobReader;

/// What is sent of a message to this server: as it is, or as the server can take it.
pub(super) async fn prepared(
    outbound: &Outbound,
    message: &QueuedMessage,
    takes_eight_bit: bool,
) -> Result<(client::Message, Source), Verdict> {
    let no_address = || Verdict::failed("5.1.3", "the address is none that mail can be sent to");
    let mut envelope = envelope(message).ok_or_else(no_address)?;
    let broken = |e: MailError| Verdict::deferred("4.3.0", e.to_string());
    // What is signed is the message itself, and so is what is converted.
    let body = async || outbound.mail.queued_message(message).await.map_err(broken);
    let head = message.head();
    let record = message.record();
    let cannot_take = record.eight_bit && !takes_eight_bit;
    let seven_bit = cannot_take || record.seven_bit;
    let source = async |head: &Bytes, converter| {
        Ok::<Source, Verdict>(Source {
            head: Some(head.clone()).filter(|head| !head.is_empty()),
            body: body().await?,
            converter,
            ended: false,
        })
    };
    // What needs SMTPUTF8 is not converted; a server without 8BITMIME has none of that either.
    let is_fine = !record.long_lines && !seven_bit;
    if is_fine || envelope.utf8 && cannot_take && !record.seven_bit {
        return Ok((envelope, source(&head, None).await?));
    }
    let mut survey = Survey::new();
    let mut whole = source(&Bytes::new(), None).await?;
    while let Some(piece) = whole.next().await.map_err(broken)? {
        survey.push(&piece);
    }
    let mut whole = source(&head, Some(survey.finish(Wanted { seven_bit })?)).await?;
    // Its length is to be told before it is sent.
    envelope.size_bytes = 0;
    while let Some(piece) = whole.next().await.map_err(broken)? {
        envelope.size_bytes += piece.len() as u64;
    }
    let Some(mut converter) = whole.converter else {
        return Err(Verdict::deferred(
            "4.3.0",
            "a message that is converted has a converter",
        ));
    };
    converter.rewind();
    envelope.body = match converter.is_eight_bit() || !head.is_ascii() {
        true => Body::EightBit,
        false => Body::SevenBit,
    };
    Ok((envelope, source(&head, Some(converter)).await?))
}

/// A message's bytes as they are sent.
pub(super) struct Source {
    /// What goes before the message as it is.
    head: Option<Bytes>,
    body: Box<dyn BlobReader>,
    converter: Option<Converter>,
    ended: bool,
}

impl Source {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, MailError> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        while !self.ended {
            let piece = self.body.next().await?;
            self.ended = piece.is_none();
            let Some(converter) = &mut self.converter else {
                return Ok(piece);
            };
            let given = match piece {
                Some(piece) => converter.push(&piece),
                None => converter.finish(),
            };
            if !given.is_empty() {
                return Ok(Some(given));
            }
        }
        Ok(None)
    }
}

/// The envelope of those whom a message may still reach.
fn envelope(message: &QueuedMessage) -> Option<client::Message> {
    let record = message.record();
    let from = match record.sender.as_str() {
        "" => ReversePath::Null,
        sender => ReversePath::Mailbox(Mailbox::parse(sender).ok()?),
    };
    let recipients = message
        .waiting()
        .map(|recipient| Mailbox::parse(&recipient.address).map(ForwardPath::Mailbox))
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let is_utf8 = !record.sender.is_ascii()
        || !record.prefix.is_ascii()
        || message.waiting().any(|r| !r.address.is_ascii());
    Some(client::Message {
        from,
        recipients,
        size_bytes: message.size_bytes(),
        body: if record.eight_bit {
            Body::EightBit
        } else {
            Body::SevenBit
        },
        // What is sent in its 7-bit form needs it for addresses alone.
        utf8: record.utf8 && !record.seven_bit || is_utf8,
        dsn: message.dsn(),
        recipient_dsn: message.waiting_dsn(),
    })
}
