use crate::keys::{self, MailboxCount, Usage, Voicemail};
use crate::mailbox::Tally;
use crate::records::{
    Account, Address, Alias, Device, DeviceUser, Extension, Mailbox, MailboxId, MailboxName, Message,
    MessageState, Queued, SigningKey, Spool,
};
use crate::{
    AccountId, BlobId, Blobs, Entry, Found, Key, Partition, Query, Record, Scan, StatesOf, Store, StoreError,
    counter_value,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The partition that holds it.
    pub partition: Partition,
    /// What was expected and what is there.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.partition, self.what)
    }
}

/// What [`check_store`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The first of the contradictions, at most [`Report::PROBLEMS`]; a sound store has none.
    pub problems: Vec<Problem>,
    /// How many contradictions there are.
    pub problem_count: u64,
    /// Accounts looked at.
    pub accounts: u64,
    /// Mailboxes looked at.
    pub mailboxes: u64,
    /// Messages looked at.
    pub messages: u64,
    /// Spooled messages looked at, and those queued for other servers.
    pub spooled: u64,
    /// Bodies that nothing names. That is no contradiction: a writer may be about to name one, and the sweeper removes
    /// what stays so.
    pub orphans: u64,
    /// Accounts that their address does not lead to: being made, or being removed. The sweeper removes what stays so.
    pub abandoned: u64,
    /// Device user names that lead to no device: likewise. The name can be given again.
    pub loose_names: u64,
    /// Accounts and queues that were written to all the while: what of them contradicted itself at one time and not at
    /// another is no problem, but nor is it known that there is none.
    pub unsettled: u64,
}

impl Report {
    /// How many problems are described.
    pub const PROBLEMS: usize = 1000;

    /// Whether nothing contradicts anything.
    pub fn is_sound(&self) -> bool {
        self.problem_count == 0
    }
}

/// Reads the whole store and holds every record against those it must agree with: names and numbers of mailboxes,
/// messages and their states, UIDs and MODSEQs against their counters, counts of mailboxes, bodies, quota and lamp,
/// addresses and extensions against accounts, bodies against those who name them.
///
/// It may be written to meanwhile: an account or a queue in which something contradicts itself is looked at again if it
/// has changed since, a few times at most (see [`Report::unsettled`]).
pub async fn check_store(store: &dyn Store, blobs: &dyn Blobs) -> Result<Report, StoreError> {
    let mut check = Check {
        store,
        report: Report::default(),
        named: HashMap::new(),
    };
    let mut after = None;
    loop {
        let page = store.partitions(after, PAGE).await?;
        let Some(last) = page.last().cloned() else { break };
        for partition in &page {
            match partition {
                Partition::Account(_) | Partition::Queue(_) => check.settled(partition).await?,
                Partition::Domain(name) => check.domain(partition, name).await?,
                Partition::Directory(_) => {}
            }
        }
        after = Some(last);
    }
    check.separate_bodies(blobs).await?;
    Ok(check.report)
}

/// Records read at once.
const PAGE: usize = 1000;
/// How often a partition is looked at that changes meanwhile.
const LOOKS: usize = 10;

struct Check<'a> {
    store: &'a dyn Store,
    report: Report,
    /// Separate bodies, and how long they must be.
    named: HashMap<BlobId, u64>,
}

/// What an account's counters must say, gathered from its messages.
#[derive(Default)]
struct Expected {
    counters: BTreeMap<Key, i64>,
    bodies: BTreeMap<BlobId, NamedBody>,
}

/// What the records that name a body say of it together.
#[derive(Default)]
struct NamedBody {
    count: i64,
    sizes_bytes: BTreeSet<u64>,
}

impl NamedBody {
    fn add(&mut self, size_bytes: u64) {
        self.count += 1;
        self.sizes_bytes.insert(size_bytes);
    }
}

impl Check<'_> {
    fn problem(&mut self, partition: &Partition, what: String) {
        self.report.problem_count += 1;
        if self.report.problems.len() < Report::PROBLEMS {
            self.report.problems.push(Problem {
                partition: partition.clone(),
                what,
            });
        }
    }

    /// Looks at an account or a queue until it is sound, or did not change while it was looked at.
    async fn settled(&mut self, home: &Partition) -> Result<(), StoreError> {
        let mut always: Option<Vec<Problem>> = None;
        for _ in 0..LOOKS {
            let before = self.fence(home).await?;
            let mut look = Check {
                store: self.store,
                report: Report::default(),
                named: HashMap::new(),
            };
            match home {
                Partition::Account(id) => look.account(home, *id).await?,
                _ => look.queue(home).await?,
            }
            if look.report.is_sound() || self.fence(home).await? == before {
                self.take(look);
                return Ok(());
            }
            let found = look.report.problems;
            always = Some(match always {
                Some(always) => always
                    .into_iter()
                    .filter(|problem| found.contains(problem))
                    .collect(),
                None => found,
            });
        }
        self.report.unsettled += 1;
        for Problem { partition, what } in always.unwrap_or_default() {
            self.problem(&partition, what);
        }
        Ok(())
    }

    /// What every change of messages, mailboxes or spooled messages changes too.
    async fn fence(&self, home: &Partition) -> Result<Vec<Found>, StoreError> {
        let Partition::Account(_) = home else {
            let work = vec![Query::Scan(keys::spooled()), Query::Scan(keys::all_queued())];
            return self.store.read(home, work).await;
        };
        let mut fixed = vec![
            Query::Scan(keys::mailboxes()),
            Query::Scan(keys::leaving_mailboxes()),
            Query::Get(keys::last_mailbox()),
            Query::Get(keys::usage(Usage::Messages)),
        ];
        let listed = self.store.read(home, fixed.clone()).await?;
        let mailboxes = listed.into_iter().flat_map(Found::entries);
        let ids = mailboxes.filter_map(|entry| Mailbox::from_bytes(&entry.key, entry.value).ok());
        // A change of flags, and a message that comes or goes, takes the mailbox's next MODSEQ.
        let of = |mailbox: Mailbox| [keys::last_modseq(mailbox.id), keys::trimmed_modseq(mailbox.id)];
        fixed.extend(ids.flat_map(of).map(Query::Get));
        self.store.read(home, fixed).await
    }

    /// Adds what was found in one partition.
    fn take(&mut self, look: Self) {
        let Report {
            problems,
            problem_count,
            accounts,
            mailboxes,
            messages,
            spooled,
            orphans,
            abandoned,
            loose_names,
            unsettled,
        } = look.report;
        let mine = &mut self.report;
        mine.problem_count += problem_count;
        let room = Report::PROBLEMS - mine.problems.len();
        mine.problems.extend(problems.into_iter().take(room));
        mine.accounts += accounts;
        mine.mailboxes += mailboxes;
        mine.messages += messages;
        mine.spooled += spooled;
        mine.orphans += orphans;
        mine.abandoned += abandoned;
        mine.loose_names += loose_names;
        mine.unsettled += unsettled;
        self.named.extend(look.named);
    }

    async fn scan(&self, partition: &Partition, scan: Scan) -> Result<Vec<Entry>, StoreError> {
        let (mut all, mut scan) = (Vec::new(), scan.limit(PAGE));
        loop {
            let page = self.store.scan(partition, scan.clone()).await?;
            let Some(last) = page.last() else { return Ok(all) };
            scan = scan.after(&last.key);
            all.extend(page);
        }
    }

    /// The record, or a problem when it is damaged.
    fn decoded<R: Record>(&mut self, home: &Partition, entry: &Entry) -> Option<R> {
        let record = R::from_bytes(&entry.key, entry.value.clone());
        if record.is_err() {
            self.problem(home, format!("{:?} is damaged", entry.key));
        }
        record.ok()
    }

    async fn account(&mut self, home: &Partition, id: AccountId) -> Result<(), StoreError> {
        self.report.accounts += 1;
        let Some(account) = self.store.record::<Account>(home, keys::account()).await? else {
            self.problem(home, "there is no account record".into());
            return Ok(());
        };
        let account = account.record;
        let domain = Partition::Domain(account.domain.as_str().into());
        let address = self
            .store
            .record::<Address>(&domain, keys::address(&account.local_part))
            .await?;
        let abandoned = address.is_none_or(|a| a.record.account != id);
        self.report.abandoned += u64::from(abandoned);
        if let Some(digits) = account.extension.as_ref().filter(|_| !abandoned) {
            let extension = self
                .store
                .record::<Extension>(&domain, keys::extension(digits))
                .await?;
            if extension.is_none_or(|x| x.record.account != id) {
                self.problem(home, format!("extension {digits} does not lead here"));
            }
        }
        for entry in self.scan(home, keys::devices()).await? {
            let Some(device) = self.decoded::<Device>(home, &entry) else {
                continue;
            };
            let user = self
                .store
                .record::<DeviceUser>(&domain, keys::device_user(&device.user))
                .await?;
            if !abandoned && user.is_none_or(|u| u.record.account != id || u.record.device != device.name) {
                self.problem(
                    home,
                    format!(
                        "user name {} does not lead to device {}",
                        device.user, device.name
                    ),
                );
            }
        }
        let mut expected = Expected::default();
        self.mailboxes(home, &mut expected).await?;
        self.counters(home, &expected).await?;
        self.bodies(home, &expected.bodies).await
    }

    async fn mailboxes(&mut self, home: &Partition, expected: &mut Expected) -> Result<(), StoreError> {
        let mut names = BTreeMap::new();
        for entry in self.scan(home, keys::mailbox_names("")).await? {
            if let Some(name) = self.decoded::<MailboxName>(home, &entry) {
                names.insert(entry.key, name.mailbox);
            }
        }
        let mut validities = BTreeSet::new();
        let last_validity = self.store.counter(home, keys::last_uid_validity()).await?;
        let last_mailbox = self.store.counter(home, keys::last_mailbox()).await?;
        for entry in self.scan(home, keys::mailboxes()).await? {
            let Some(mailbox) = self.decoded::<Mailbox>(home, &entry) else {
                continue;
            };
            self.report.mailboxes += 1;
            let (id, name) = (mailbox.id, &mailbox.name);
            if names.remove(&keys::mailbox_name(name)) != Some(id) {
                self.problem(home, format!("the name {name:?} does not lead to mailbox {id}"));
            }
            if !validities.insert(mailbox.uid_validity) || i64::from(mailbox.uid_validity) > last_validity {
                self.problem(
                    home,
                    format!(
                        "mailbox {id}: UIDVALIDITY {} is not its own",
                        mailbox.uid_validity
                    ),
                );
            }
            if i64::from(id.0) > last_mailbox {
                self.problem(
                    home,
                    format!("mailbox {id} is above the last number {last_mailbox}"),
                );
            }
            self.messages(home, &mailbox, expected).await?;
        }
        for (name, id) in names {
            self.problem(
                home,
                format!("the name {name:?} leads to mailbox {id}, which is not there"),
            );
        }
        for entry in self.scan(home, keys::leaving_mailboxes()).await? {
            if let Some(mailbox) = self.decoded::<Mailbox>(home, &entry) {
                self.messages(home, &mailbox, expected).await?;
            }
        }
        Ok(())
    }

    async fn messages(
        &mut self,
        home: &Partition,
        mailbox: &Mailbox,
        expected: &mut Expected,
    ) -> Result<(), StoreError> {
        let id = mailbox.id;
        let last_uid = self.store.counter(home, keys::last_uid(id)).await?;
        let last_modseq = self.store.counter(home, keys::last_modseq(id)).await?;
        let logged = self.logged(home, id, last_modseq).await?;
        for what in MailboxCount::ALL {
            expected.counters.insert(keys::mailbox_count(id, what), 0);
        }
        let Partition::Account(account) = home else {
            return Ok(());
        };
        let (mut states, mut tally) = (BTreeMap::new(), Tally::new(mailbox));
        match StatesOf::all(id).read(self.store, *account).await {
            Ok(read) => {
                for uid in read.doubled() {
                    self.problem(home, format!("message {id}/{uid} has two states"));
                }
                states.extend(read.iter().map(|(uid, state)| (uid, state.clone())));
            }
            Err(StoreError::Damaged(what)) => self.problem(home, format!("{what} is damaged")),
            Err(error) => return Err(error),
        }
        for entry in self.scan(home, keys::messages(id, 0..=u32::MAX)).await? {
            let Some(uid) = keys::uid_of(&entry.key) else {
                continue;
            };
            let Some(message) = self.decoded::<Message>(home, &entry) else {
                continue;
            };
            self.report.messages += 1;
            let body = expected.bodies.entry(message.blob).or_default();
            body.add(message.size_bytes);
            let Some(state) = states.remove(&uid) else {
                self.problem(home, format!("message {id}/{uid} has no state"));
                continue;
            };
            if i64::from(uid) > last_uid || uid == 0 {
                self.problem(
                    home,
                    format!("UID {uid} of mailbox {id} was never given: the last is {last_uid}"),
                );
            }
            if !logged.covers(state.modseq) || state.modseq > last_modseq as u64 {
                self.problem(
                    home,
                    format!("MODSEQ {} of message {id}/{uid} is not in the log", state.modseq),
                );
            }
            let same = |state: &MessageState| (state.size_bytes, state.line_end_bytes, state.kind);
            if same(&state) != (message.size_bytes, message.line_end_bytes, message.kind) {
                self.problem(home, format!("message {id}/{uid} and its state disagree"));
            }
            tally.count(&state, 1);
        }
        for (key, n) in tally.counters(id) {
            *expected.counters.entry(key).or_default() += n;
        }
        for uid in states.into_keys() {
            self.problem(home, format!("state {id}/{uid} has no message"));
        }
        Ok(())
    }

    async fn logged(&self, home: &Partition, mailbox: MailboxId, last: i64) -> Result<Log, StoreError> {
        let trimmed = self.store.counter(home, keys::trimmed_modseq(mailbox)).await? as u64;
        let entries = self.scan(home, keys::changes_after(mailbox, 0)).await?;
        let modseqs = entries.iter().filter_map(|entry| keys::modseq_of(&entry.key));
        Ok(Log {
            trimmed,
            modseqs: modseqs.filter(|m| *m <= last as u64).collect(),
        })
    }

    async fn counters(&mut self, home: &Partition, expected: &Expected) -> Result<(), StoreError> {
        let always = [
            keys::usage(Usage::Bytes),
            keys::usage(Usage::Messages),
            keys::voicemail(Voicemail::New),
            keys::voicemail(Voicemail::Old),
        ];
        let mut counters: BTreeMap<Key, i64> = always.into_iter().map(|key| (key, 0)).collect();
        counters.extend(expected.counters.clone());
        for (key, should) in counters {
            let is = self.store.counter(home, key.clone()).await?;
            if is != should {
                self.problem(
                    home,
                    format!("the counter {key:?} says {is}, the messages {should}"),
                );
            }
        }
        Ok(())
    }

    async fn bodies(
        &mut self,
        home: &Partition,
        named: &BTreeMap<BlobId, NamedBody>,
    ) -> Result<(), StoreError> {
        let mut counts = BTreeMap::new();
        for entry in self.scan(home, keys::blob_counts()).await? {
            if let Some(id) = keys::blob_of(&entry.key) {
                counts.insert(id, counter_value(&entry.key, &entry.value)?);
            }
        }
        let mut inline = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.store.blobs(home, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            inline.extend(page);
        }
        for (id, NamedBody { count, sizes_bytes }) in named {
            let is = counts.remove(id).unwrap_or(0);
            if is != *count {
                self.problem(
                    home,
                    format!("body {id} is counted {is} times and named {count} times"),
                );
            }
            if sizes_bytes.len() > 1 {
                self.problem(home, format!("body {id} has several sizes: {sizes_bytes:?}"));
            }
            let size_bytes = sizes_bytes.first().copied().unwrap_or_default();
            if !id.is_inline() {
                self.named.insert(*id, size_bytes);
                continue;
            }
            inline.remove(id);
            match self.store.blob(home, *id, 0..u64::MAX).await? {
                None => self.problem(home, format!("body {id} is named and missing")),
                Some(body) if body.len() as u64 != size_bytes => {
                    let is = body.len();
                    self.problem(
                        home,
                        format!("body {id} has {is} bytes and should have {size_bytes}"),
                    );
                }
                Some(_) => {}
            }
        }
        for (id, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
            self.problem(
                home,
                format!("body {id} is counted {count} times and named by nothing"),
            );
        }
        self.report.orphans += inline.len() as u64;
        Ok(())
    }

    async fn domain(&mut self, home: &Partition, domain: &str) -> Result<(), StoreError> {
        if self
            .store
            .get(&keys::DOMAINS, keys::domain(domain))
            .await?
            .is_none()
        {
            self.problem(home, "the domain is not on the list".into());
        }
        for entry in self.scan(home, keys::addresses()).await? {
            if let Some(address) = self.decoded::<Address>(home, &entry) {
                self.leads_to_account(home, &entry.key, address.account).await?;
            }
        }
        for entry in self.scan(home, keys::aliases()).await? {
            let alias = self.decoded::<Alias>(home, &entry);
            let name = keys::local_part_of(&entry.key).unwrap_or_default();
            if alias.is_some_and(|alias| alias.targets.is_empty()) {
                self.problem(home, format!("the alias {name} leads nowhere"));
            }
            if self.store.get(home, keys::address(name)).await?.is_some() {
                self.problem(home, format!("{name} is both an alias and an address"));
            }
        }
        for entry in self.scan(home, keys::extensions()).await? {
            if let Some(extension) = self.decoded::<Extension>(home, &entry) {
                self.leads_to_account(home, &entry.key, extension.account).await?;
            }
        }
        for entry in self.scan(home, keys::signing_keys()).await? {
            self.decoded::<SigningKey>(home, &entry);
        }
        for entry in self.scan(home, keys::device_users()).await? {
            let Some(user) = self.decoded::<DeviceUser>(home, &entry) else {
                continue;
            };
            let account = Partition::Account(user.account);
            if self
                .store
                .get(&account, keys::device(&user.device))
                .await?
                .is_none()
            {
                self.report.loose_names += 1;
            }
        }
        Ok(())
    }

    async fn leads_to_account(
        &mut self,
        home: &Partition,
        key: &Key,
        id: AccountId,
    ) -> Result<(), StoreError> {
        if self
            .store
            .get(&Partition::Account(id), keys::account())
            .await?
            .is_none()
        {
            self.problem(home, format!("{key:?} leads to account {id}, which is not there"));
        }
        Ok(())
    }

    async fn queue(&mut self, home: &Partition) -> Result<(), StoreError> {
        let mut named = BTreeMap::new();
        for entry in self.scan(home, keys::spooled()).await? {
            let Some(spool) = self.decoded::<Spool>(home, &entry) else {
                continue;
            };
            self.report.spooled += 1;
            let body: &mut NamedBody = named.entry(spool.blob).or_default();
            body.add(spool.size_bytes);
            if keys::due_of(&entry.key).map(|(_, id)| id) != Some(spool.id) {
                self.problem(home, format!("{:?} is spool record {}", entry.key, spool.id));
            }
        }
        for entry in self.scan(home, keys::all_queued()).await? {
            let Some(queued) = self.decoded::<Queued>(home, &entry) else {
                continue;
            };
            self.report.spooled += 1;
            let body: &mut NamedBody = named.entry(queued.blob).or_default();
            body.add(queued.size_bytes);
            if keys::due_of(&entry.key).map(|(_, id)| id) != Some(queued.id) {
                self.problem(home, format!("{:?} is queue record {}", entry.key, queued.id));
            }
            if queued.recipients.is_empty() || queued.skip_bytes > queued.size_bytes {
                self.problem(home, format!("queue record {} has nothing to send", queued.id));
            }
        }
        self.bodies(home, &named).await
    }

    async fn separate_bodies(&mut self, blobs: &dyn Blobs) -> Result<(), StoreError> {
        let mut named = std::mem::take(&mut self.named);
        let mut after = None;
        loop {
            let page = blobs.list(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for info in page {
                let (id, is) = (info.id, info.size_bytes);
                match named.remove(&id) {
                    None => self.report.orphans += 1,
                    Some(should) if is != should => self.problem(
                        &keys::SWEPT_HOME,
                        format!("the separate body {id} has {is} bytes and should have {should}"),
                    ),
                    Some(_) => {}
                }
            }
        }
        for id in named.into_keys() {
            self.problem(
                &keys::SWEPT_HOME,
                format!("the separate body {id} is named and missing"),
            );
        }
        Ok(())
    }
}

/// Which MODSEQs a mailbox's log has.
struct Log {
    trimmed: u64,
    modseqs: BTreeSet<u64>,
}

impl Log {
    fn covers(&self, modseq: u64) -> bool {
        modseq <= self.trimmed || self.modseqs.contains(&modseq)
    }
}
