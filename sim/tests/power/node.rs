//! One process over the disk.

use super::*;

/// One process: everything in memory ends with it.
pub(crate) struct Node {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) blobs: Arc<MemoryBlobs>,
    pub(crate) mail: Mail,
}

impl Node {
    pub(crate) fn open(disk: &Disk, blobs: &Arc<MemoryBlobs>, seed: u64) -> Option<Node> {
        let options = Options {
            path: "store.db".into(),
            vfs: Some(disk.vfs().into()),
            readers: 1,
        };
        let store = Arc::new(SqliteStore::open_inline(options).ok()?);
        let bodies = Bodies::new(store.clone(), blobs.clone(), Rng::from_number(seed));
        let bus = Arc::new(LocalBus::new());
        let mail = Mail::new(store.clone(), bodies, bus, Rng::from_number(seed ^ 0xa11));
        Some(Node {
            store,
            blobs: blobs.clone(),
            mail,
        })
    }

    pub(crate) fn put(&self, partition: Partition, key: Key, record: &impl Record) {
        let mut batch = Batch::new(partition);
        batch.put(key, record.to_bytes());
        alone(self.store.commit(batch)).unwrap();
    }

    /// The people, with their mailboxes, of which Alice's have given UIDs up to this one.
    pub(crate) fn settle_in(&self, last_uid: u64) {
        let domain = Domain {
            name: "example.org".into(),
            created: NOW,
        };
        self.put(keys::DOMAINS, keys::domain("example.org"), &domain);
        for (account, local_part) in PEOPLE {
            let address = Address {
                account,
                alias: false,
            };
            let home = Partition::Domain("example.org".into());
            self.put(home, keys::address(local_part), &address);
            let record = Account {
                local_part: local_part.into(),
                domain: "example.org".into(),
                created: NOW,
                ..Account::default()
            };
            self.put(Partition::Account(account), keys::account(), &record);
            alone(self.mail.create_defaults(account, NOW)).unwrap();
        }
        let (home, store) = (Partition::Account(ALICE), &*self.store as &dyn Store);
        let mut given = Batch::new(home.clone());
        for entry in alone(store.scan(&home, keys::mailboxes())).unwrap() {
            let id = Mailbox::from_bytes(&entry.key, entry.value).unwrap().id;
            given.put(keys::last_uid(id), last_uid.to_be_bytes().to_vec());
        }
        alone(self.store.commit(given)).unwrap();
    }

    /// What is in a mailbox: each UID with the message's subject, whose text is whole, and its flags.
    pub(crate) fn look(
        &self,
        account: AccountId,
        mailbox: usize,
    ) -> Result<(u32, BTreeMap<u32, Held>), Broken> {
        let broken = |e: MailError| e.to_string();
        let (selected, snapshot) = alone(self.mail.select(account, &name(mailbox), true)).map_err(broken)?;
        let mut held = BTreeMap::new();
        for message in snapshot.messages {
            let body = self.text(&selected, message.uid)?;
            let subject = body.lines().find_map(|line| line.strip_prefix("Subject: "));
            let subject = subject.unwrap_or_default().to_owned();
            let is_ours = subject.contains('-');
            expect(!is_ours || body == text(&subject), || {
                format!("{subject} is not whole")
            })?;
            let set = FLAGS.into_iter().find(|f| flags(f) == message.flags);
            let flags = set.ok_or_else(|| format!("{subject} has {:?}", message.flags))?;
            held.insert(
                message.uid,
                Held {
                    subject: if is_ours { subject } else { body },
                    flags,
                },
            );
        }
        Ok((snapshot.uid_validity, held))
    }

    pub(crate) fn text(&self, selected: &Selected, uid: u32) -> Result<String, Broken> {
        let read = async {
            let wants = Wants {
                envelope: true,
                structure: true,
                ..Wants::default()
            };
            let known = self.mail.fetch(selected, &[uid], wants).await?;
            let mut bytes = Vec::new();
            let mut reader = self.mail.body(selected, uid, 0..u64::MAX).await?;
            while let Some(chunk) = match &mut reader {
                Some(reader) => reader.next().await?,
                None => None,
            } {
                bytes.extend_from_slice(&chunk);
            }
            Ok((known.len(), String::from_utf8(bytes).unwrap()))
        };
        let (known, text) = alone(read).map_err(|e: MailError| e.to_string())?;
        expect(known == 1 && !text.is_empty(), || {
            format!("UID {uid} has no content")
        })?;
        Ok(text)
    }

    pub(crate) fn is_sound(&self) -> Result<(), Broken> {
        let report = alone(check_store(&*self.store, &*self.blobs)).map_err(|e| e.to_string())?;
        expect(report.is_sound(), || format!("{:#?}", report.problems))
    }
}
