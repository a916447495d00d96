//! What earlier versions have left out of the records, put in once.

use crate::parse::{Parsed, Scanner};
use crate::{MailError, TRIES};
use ringpost_base::limits;
use ringpost_store::records::{Contents, MailboxId, Message, MessageState};
use ringpost_store::states::{BLOCK_UIDS, fold};
use ringpost_store::{AccountId, Batch, Bodies, CommitError, Partition, Record, Store, keys};

/// What records hold. Since 1, a message says what line ends would add to it; since 2, the states of messages that have come long
/// ago are packed into blocks.
const VERSION: u32 = 2;
/// The first version with sizes as POP3 tells them.
const LINE_ENDS: u32 = 1;
/// Partitions and messages that are read at once.
const AT_ONCE: usize = 200;

/// Brings the records of a store up to date before anybody works with it, and gives how many messages that changed. A store
/// that is new is told to be up to date; one that is, is left as it is. What was stopped half-way begins anew, and the earlier
/// version of the server refuses it from the first change on. What is damaged is told and left as it is: it keeps one mailbox
/// from its owner, and the server from nobody else.
///
/// # Errors
/// When the store fails, or was written by a later version of the server.
pub async fn upgrade(store: &dyn Store, bodies: &Bodies) -> Result<u64, MailError> {
    let known = store.record::<Contents>(&keys::DOMAINS, keys::contents()).await?;
    let known = known.map(|known| known.record).unwrap_or_default();
    let version = match known.upgraded_from {
        0 => known.version,
        from => from - 1,
    };
    match known.version {
        VERSION if known.upgraded_from == 0 => return Ok(0),
        later if later > VERSION => {
            return Err(MailError::Store(format!(
                "its records are of version {later}, and this server knows {VERSION}: start the later one"
            )));
        }
        _ => {}
    }
    mark(store, version + 1).await?;
    let mut changed = 0;
    let mut after = None;
    loop {
        let page = store.partitions(after, AT_ONCE).await?;
        let Some(last) = page.last().cloned() else { break };
        for partition in page {
            if let Partition::Account(account) = partition {
                changed += upgrade_account(store, bodies, account, version).await?;
            }
        }
        after = Some(last);
    }
    mark(store, 0).await?;
    Ok(changed)
}

/// Writes down what records hold, or, until all do, what they have been brought up from.
async fn mark(store: &dyn Store, upgraded_from: u32) -> Result<(), MailError> {
    let contents = Contents {
        version: VERSION,
        upgraded_from,
    };
    let mut batch = Batch::new(keys::DOMAINS);
    batch.put(keys::contents(), contents.to_bytes());
    store.commit_durable(batch).await?;
    Ok(())
}

async fn upgrade_account(
    store: &dyn Store,
    bodies: &Bodies,
    account: AccountId,
    version: u32,
) -> Result<u64, MailError> {
    let mut changed = 0;
    for entry in store
        .scan(&Partition::Account(account), keys::mailboxes())
        .await?
    {
        let key = entry.key.clone();
        let upgraded = match ringpost_store::records::Mailbox::from_bytes(&entry.key, entry.value) {
            Ok(mailbox) => upgrade_mailbox(store, bodies, account, mailbox.id, version).await,
            Err(error) => Err(error.into()),
        };
        match upgraded {
            Ok(messages) => changed += messages,
            // A store that fails as a whole says so again when the version is written.
            Err(error) => {
                tracing::warn!(%account, mailbox = ?key, %error, "a mailbox cannot be brought up to date");
            }
        }
    }
    Ok(changed)
}

/// Brings one mailbox up to date; the states of its last messages stay records of their own.
async fn upgrade_mailbox(
    store: &dyn Store,
    bodies: &Bodies,
    account: AccountId,
    mailbox: MailboxId,
    version: u32,
) -> Result<u64, MailError> {
    let home = Partition::Account(account);
    let mut changed = 0;
    if version < LINE_ENDS {
        changed += count_line_ends(store, bodies, &home, mailbox).await?;
    }
    let last = store.counter(&home, keys::last_uid(mailbox)).await?;
    let next = u32::try_from(last + 1).unwrap_or(u32::MAX);
    Ok(changed + fold(store, account, mailbox, next - next % BLOCK_UIDS).await?)
}

async fn count_line_ends(
    store: &dyn Store,
    bodies: &Bodies,
    home: &Partition,
    mailbox: MailboxId,
) -> Result<u64, MailError> {
    let (mut changed, mut next) = (0, Some(0));
    while let Some(first) = next {
        let scan = keys::messages(mailbox, first..=u32::MAX).limit(AT_ONCE);
        let scan = scan.limit_bytes(limits::STORE_READ_BYTES);
        let page = store.scan(home, scan).await?;
        next = page
            .last()
            .and_then(|last| keys::uid_of(&last.key))
            .and_then(|uid| uid.checked_add(1));
        for entry in page {
            let Some(uid) = keys::uid_of(&entry.key) else {
                continue;
            };
            let message = Message::from_bytes(&entry.key, entry.value)?;
            changed += u64::from(line_ends_of(store, bodies, home, (mailbox, uid), &message).await?);
        }
    }
    Ok(changed)
}

/// Counts the line ends of one message; true when there is something to be told of them.
async fn line_ends_of(
    store: &dyn Store,
    bodies: &Bodies,
    home: &Partition,
    (mailbox, uid): (MailboxId, u32),
    message: &Message,
) -> Result<bool, MailError> {
    if message.line_end_bytes > 0 {
        return Ok(false);
    }
    // A body that is not there is found by who looks for that.
    let Some(mut reader) = bodies.get(home, message.blob, 0..message.size_bytes).await? else {
        return Ok(false);
    };
    let mut scanner = Scanner::new();
    while let Some(chunk) = reader.next().await? {
        scanner.push(&chunk);
    }
    let line_end_bytes = Parsed::of(scanner).line_end_bytes;
    if line_end_bytes == 0 {
        return Ok(false);
    }
    let (message_key, state_key) = (keys::message(mailbox, uid), keys::message_state(mailbox, uid));
    for _ in 0..TRIES {
        let stored = store.record::<Message>(home, message_key.clone()).await?;
        let state = store.record::<MessageState>(home, state_key.clone()).await?;
        let (Some(stored), Some(state)) = (stored, state) else {
            return Ok(false);
        };
        let mut batch = Batch::new(home.clone());
        batch
            .unchanged(message_key.clone(), stored.version)
            .unchanged(state_key.clone(), state.version);
        let message = Message {
            line_end_bytes,
            ..stored.record
        };
        let state = MessageState {
            line_end_bytes,
            ..state.record
        };
        batch
            .put(message_key.clone(), message.to_bytes())
            .put(state_key.clone(), state.to_bytes());
        match store.commit_durable(batch).await {
            Ok(_) => return Ok(true),
            Err(CommitError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(MailError::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Mail};
    use futures_util::FutureExt;
    use ringpost_base::{Rng, UnixTime};
    use ringpost_imap::MailboxName;
    use ringpost_store::records::Account;
    use ringpost_store::{LocalBus, MemoryBlobs, MemoryStore, StatesOf};
    use std::sync::Arc;

    const ALICE: AccountId = AccountId(1);

    async fn line_ends(store: &dyn Store, id: MailboxId) -> (Message, MessageState) {
        let home = Partition::Account(ALICE);
        let message = store.record(&home, keys::message(id, 2)).await.unwrap();
        let state = store.record(&home, keys::message_state(id, 2)).await.unwrap();
        (message.unwrap().record, state.unwrap().record)
    }

    /// An account with two messages, of which one has lines that end with LF, as a version before 1 has left them.
    async fn as_it_was(store: &dyn Store, mail: &Mail) -> MailboxId {
        let mut batch = Batch::new(Partition::Account(ALICE));
        batch.put(keys::account(), Account::default().to_bytes());
        store.commit(batch).await.unwrap();
        for text in ["Subject: a\r\n\r\nb\r\n", "Subject: a\n\nb\n"] {
            let letter = mail.letter(text.into()).await.unwrap();
            let delivery = Delivery::new(UnixTime::from_secs(1));
            mail.deliver(ALICE, &letter, delivery).await.unwrap();
        }
        let inbox = mail
            .mailbox(ALICE, &MailboxName::inbox())
            .await
            .unwrap()
            .record
            .id;
        let (mut message, mut state) = line_ends(store, inbox).await;
        assert_eq!((message.line_end_bytes, state.line_end_bytes), (3, 3));
        (message.line_end_bytes, state.line_end_bytes) = (0, 0);
        let mut batch = Batch::new(Partition::Account(ALICE));
        batch
            .put(keys::message(inbox, 2), message.to_bytes())
            .put(keys::message_state(inbox, 2), state.to_bytes());
        store.commit(batch).await.unwrap();
        inbox
    }

    #[test]
    fn what_an_earlier_version_left_out_is_put_in_once_and_a_later_version_is_refused() {
        let run = async {
            let now = UnixTime::from_secs(1_700_000_000);
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let blobs = Arc::new(MemoryBlobs::new(move || now));
            let bodies = Bodies::new(store.clone(), blobs, Rng::from_number(1));
            let bus = Arc::new(LocalBus::new());
            let mail = Mail::new(store.clone(), bodies.clone(), bus, Rng::from_number(2));
            let inbox = as_it_was(&*store, &mail).await;
            assert_eq!(upgrade(&*store, &bodies).await, Ok(1));
            let (message, state) = line_ends(&*store, inbox).await;
            assert_eq!((message.line_end_bytes, state.line_end_bytes), (3, 3));
            assert_eq!(upgrade(&*store, &bodies).await, Ok(0));
            let mut later = Batch::new(keys::DOMAINS);
            let contents = Contents {
                version: 9,
                ..Contents::default()
            };
            later.put(keys::contents(), contents.to_bytes());
            store.commit(later).await.unwrap();
            let refused = upgrade(&*store, &bodies).await.unwrap_err().to_string();
            assert!(refused.contains("version 9"), "{refused}");
        };
        run.now_or_never().expect("nothing waits");
    }

    #[test]
    fn states_of_version_1_are_packed_once_and_say_what_they_said() {
        let run = async {
            let now = UnixTime::from_secs(1_700_000_000);
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let blobs = Arc::new(MemoryBlobs::new(move || now));
            let bodies = Bodies::new(store.clone(), blobs, Rng::from_number(1));
            let bus = Arc::new(LocalBus::new());
            let mail = Mail::new(store.clone(), bodies.clone(), bus, Rng::from_number(2));
            as_it_was(&*store, &mail).await;
            let letter = mail.letter("Subject: a\r\n\r\nb\r\n".into()).await.unwrap();
            for _ in 0..300 {
                mail.deliver(ALICE, &letter, Delivery::new(now)).await.unwrap();
            }
            let home = Partition::Account(ALICE);
            let inbox = mail
                .mailbox(ALICE, &MailboxName::inbox())
                .await
                .unwrap()
                .record
                .id;
            let all = || async { StatesOf::all(inbox).read(&*store, ALICE).await.unwrap() };
            // As version 1 has it: each state a record of its own.
            let packed = all().await;
            let mut batch = Batch::new(home.clone());
            for (uid, state) in packed.iter() {
                batch.put(keys::message_state(inbox, uid), state.to_bytes());
            }
            for entry in store
                .scan(&home, keys::state_blocks(inbox, 0..=u32::MAX))
                .await
                .unwrap()
            {
                batch.delete(entry.key);
            }
            store.commit(batch).await.unwrap();
            let mut first = Batch::new(keys::DOMAINS);
            // As it is when the server was stopped in the middle, which the version before must not open any more.
            let half_way = Contents {
                version: VERSION,
                upgraded_from: 2,
            };
            first.put(keys::contents(), half_way.to_bytes());
            // A mailbox that cannot be read keeps nobody from the others.
            let mut damage = Batch::new(home.clone());
            damage.put(keys::mailbox(MailboxId(900)), b"?".to_vec());
            store.commit(damage).await.unwrap();
            store.commit(first).await.unwrap();
            assert_eq!(upgrade(&*store, &bodies).await, Ok(255));
            let contents = store
                .record::<Contents>(&keys::DOMAINS, keys::contents())
                .await
                .unwrap();
            let contents = contents.unwrap().record;
            assert_eq!((contents.version, contents.upgraded_from), (VERSION, 0));
            let single = store
                .scan(&home, keys::message_states(inbox, 0..=u32::MAX))
                .await
                .unwrap();
            assert_eq!(single.len(), 302 - 255);
            let known = |states: &ringpost_store::States| -> Vec<_> {
                states.iter().map(|(uid, state)| (uid, state.clone())).collect()
            };
            assert_eq!(known(&all().await), known(&packed));
            assert_eq!(upgrade(&*store, &bodies).await, Ok(0));
        };
        run.now_or_never().expect("nothing waits");
    }
}
