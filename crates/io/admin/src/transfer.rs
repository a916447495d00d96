//! Whole mailboxes on their way in or out.

use crate::Refusal;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use std::io;
use std::pin::Pin;

/// Messages of one parcel; with more it is refused.
pub const PARCEL_MESSAGES: usize = 64;
/// What describes a parcel's messages, at most; with more it is refused.
const HEAD_BYTES: usize = 1024 * 1024;

/// Bytes as they come.
pub type Pieces<'a> = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + 'a>>;

/// A mailbox of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    /// Its name in UTF-8, with `/` between its levels.
    pub name: String,
    /// What it is for, as IMAP says it: `\\Sent`.
    pub special_use: Option<String>,
    /// Whether it is subscribed to.
    pub subscribed: bool,
}

/// A message of a mailbox, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Its UID.
    pub uid: u32,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it came, in seconds since 1970.
    pub received_s: u64,
    /// Its flags and keywords, as IMAP writes them.
    pub flags: Vec<String>,
    /// Its Message-ID, if it has one.
    pub message_id: Option<String>,
    /// Its Date field, if it has one.
    pub date: Option<String>,
    /// Its Subject, if it has one and no Message-ID.
    pub subject: Option<String>,
}

/// Messages that are brought into one mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    /// The account's address.
    pub address: String,
    /// The mailbox's name.
    pub mailbox: String,
    /// The messages, in the order in which their bytes come.
    pub messages: Vec<BroughtMessage>,
}

/// A message that is brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BroughtMessage {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it came, in seconds since 1970.
    pub received_s: u64,
    /// Its flags and keywords, as IMAP writes them.
    pub flags: Vec<String>,
}

impl Parcel {
    /// The bytes of its messages together.
    pub fn size_bytes(&self) -> u64 {
        let sizes = self.messages.iter().map(|message| message.size_bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// The parcel as it travels before its messages' bytes: the length of what follows in four bytes, and itself as JSON.
    pub(crate) fn head(&self) -> serde_json::Result<Bytes> {
        let json = serde_json::to_vec(self)?;
        let len = u32::try_from(json.len()).unwrap_or(u32::MAX);
        Ok([&len.to_be_bytes()[..], &json].concat().into())
    }

    /// Reads it from what comes, and gives what comes behind it.
    pub(crate) async fn read(mut pieces: Pieces<'_>) -> Result<(Parcel, Pieces<'_>), Refusal> {
        let mut held = BytesMut::new();
        let wanted = loop {
            let len = held.first_chunk().map(|len| u32::from_be_bytes(*len) as usize);
            match len {
                Some(len) if len > HEAD_BYTES => {
                    return Err(Refusal::invalid(format!(
                        "expected at most {HEAD_BYTES} bytes that describe a parcel, {len} were announced"
                    )));
                }
                Some(len) if held.len() >= 4 + len => break len,
                _ => {}
            }
            match pieces.next().await {
                Some(Ok(piece)) => held.extend_from_slice(&piece),
                Some(Err(_)) | None => return Err(Refusal::invalid("the parcel ended in its description")),
            }
        };
        held.advance(4);
        let json = held.split_to(wanted);
        let parcel: Parcel =
            serde_json::from_slice(&json).map_err(|error| Refusal::invalid(error.to_string()))?;
        if parcel.messages.is_empty() || parcel.messages.len() > PARCEL_MESSAGES {
            return Err(Refusal::invalid(format!(
                "expected 1 to {PARCEL_MESSAGES} messages in a parcel, found {}",
                parcel.messages.len()
            )));
        }
        let first = futures_util::stream::iter((!held.is_empty()).then(|| Ok(held.freeze())));
        Ok((parcel, Box::pin(first.chain(pieces))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(messages: usize) -> Parcel {
        let message = BroughtMessage {
            size_bytes: 3,
            received_s: 7,
            flags: vec!["\\Seen".into()],
        };
        Parcel {
            address: "alice@example.org".into(),
            mailbox: "INBOX".into(),
            messages: vec![message; messages],
        }
    }

    fn pieces(bytes: &[u8], len: usize) -> Pieces<'static> {
        let pieces: Vec<io::Result<Bytes>> = bytes
            .chunks(len)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Box::pin(futures_util::stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_parcel_is_read_however_its_bytes_are_cut() {
        let whole = [&parcel(2).head().unwrap()[..], b"abcdef"].concat();
        for len in 1..whole.len() + 1 {
            let (read, rest) = Parcel::read(pieces(&whole, len)).await.unwrap();
            assert_eq!(read, parcel(2));
            let rest: Vec<_> = rest.map(Result::unwrap).collect().await;
            assert_eq!(rest.concat(), b"abcdef");
        }
    }

    #[tokio::test]
    async fn what_is_no_parcel_is_refused() {
        let head = |messages| parcel(messages).head().unwrap().to_vec();
        for wrong in [
            head(0),
            head(PARCEL_MESSAGES + 1),
            head(1)[..9].to_vec(),
            vec![0xff; 9],
            b"\0\0\0\x02{}".to_vec(),
            Vec::new(),
        ] {
            assert!(Parcel::read(pieces(&wrong, 5)).await.is_err(), "{wrong:?}");
        }
    }
}
