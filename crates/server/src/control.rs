//! Carries out the command line's wishes on the directory, the store and the queue, in the server or without one.

mod addresses;
pub(crate) mod certificate;
mod domains;
mod mailboxes;
mod queue;
mod streams;

use certificate::CertificateDesk;
use ringpost_admin::{
    Account, AccountSettings, Answer, BoxFuture, Command, Control, Device, NewAccount, NewDevice, Parcel,
    Pieces, Quota, Refusal, RefusalKind,
};
use ringpost_base::{Rng, UnixTime};
use ringpost_directory::{self as directory, AccountInfo, Directory, DirectoryError};
use ringpost_imap::{SWITCHES, is_switch};
use ringpost_mail::Mail;
use ringpost_net::rtsp::RtspHandle;
use ringpost_sender_auth::DomainSigner;
use ringpost_store::{Blobs, Store, check_store};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A generated password: 100 bits, typed once.
const PASSWORD_CHARS: usize = 20;

/// How long a command waits for its turn to stretch a password, and how often it asks.
const SLOT_LIMIT: Duration = Duration::from_secs(30);
const SLOT_PAUSE: Duration = Duration::from_millis(100);

/// A domain's directory and store at hand.
pub(crate) struct LocalControl {
    pub(crate) directory: Directory,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<dyn Blobs>,
    /// Whose queue it is: the server's own, where there is one.
    pub(crate) mail: Arc<Mail>,
    /// Makes the keys of domains.
    pub(crate) signer: DomainSigner,
    /// The certificate.
    pub(crate) certificate: CertificateDesk,
    /// The streams, where there is a server.
    pub(crate) streams: Option<StreamDesk>,
    /// The calendar.
    pub(crate) now: fn() -> UnixTime,
    /// Told when there is another domain.
    pub(crate) domains_changed: Arc<Notify>,
    /// For generated passwords.
    pub(crate) rng: Mutex<Rng>,
}

/// The streams' thread, and what knows which mounts are never live.
pub(crate) struct StreamDesk {
    pub(crate) thread: RtspHandle,
    pub(crate) mounts: ringpost_node::stream::Streams,
}

impl Control for LocalControl {
    fn handle(&self, command: Command) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            match &command {
                Command::CheckStore => self.check().await,
                Command::StreamList
                | Command::StreamAnnounced
                | Command::StreamKick { .. }
                | Command::StreamClear { .. }
                | Command::StreamRecord { .. } => self.stream(&command).await,
                Command::CertShow | Command::CertRenew => self.certificate.handle(&command).await,
                Command::DomainAdd { .. }
                | Command::DomainRemove { .. }
                | Command::DomainRecords { .. }
                | Command::DomainDkimRotate { .. } => self.domain(&command).await,
                Command::QueueList
                | Command::QueueShow { .. }
                | Command::QueueRetry { .. }
                | Command::QueueHold { .. }
                | Command::QueueRelease { .. }
                | Command::QueueHolds
                | Command::QueueRemove { .. } => self.queue(&command).await,
                Command::MailboxList { .. }
                | Command::MailboxMake { .. }
                | Command::MessageList { .. }
                | Command::MessagePiece { .. } => self.mailboxes(&command).await,
                command => self
                    .answer_in_time(command)
                    .await
                    .map_err(|error| refusal(command, error)),
            }
        })
    }

    fn bring<'a>(&'a self, parcel: Parcel, bytes: Pieces<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.take(parcel, bytes))
    }
}

impl LocalControl {
    /// The calendar.
    pub(crate) fn now(&self) -> UnixTime {
        (self.now)()
    }

    /// Waits for a slot in which passwords are stretched: whoever adds a hundred accounts at once, or does so in a storm of
    /// logins, wants them added. Nothing has changed when a command finds none.
    async fn answer_in_time(&self, command: &Command) -> Result<Answer, DirectoryError> {
        let deadline = Instant::now() + SLOT_LIMIT;
        loop {
            match self.answer(command.clone()).await {
                Err(DirectoryError::Busy(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(SLOT_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    async fn answer(&self, command: Command) -> Result<Answer, DirectoryError> {
        let now = (self.now)();
        match command {
            Command::DomainList => Ok(Answer::Domains(self.directory.domains())),
            Command::DomainSet { .. }
            | Command::AliasAdd { .. }
            | Command::AliasList { .. }
            | Command::AliasRemove { .. }
            | Command::AccountForward { .. } => self.addresses(command).await,
            Command::AccountAdd {
                address,
                extension,
                password,
            } => {
                let generated = password.is_none();
                let new = directory::NewAccount {
                    extension,
                    password,
                    ..directory::NewAccount::new(address)
                };
                let added = self.directory.add_account(new, now).await?;
                let password = generated.then_some(added.password);
                Ok(Answer::AccountCreated(created(&added.account, password)))
            }
            Command::AccountList => self.accounts().await,
            Command::AccountPassword { address, password } => self.set_password(address, password).await,
            Command::AccountSet {
                address,
                quota_bytes,
                quota_messages,
                imap_without,
                junk,
            } => {
                self.set_account(address, quota_bytes, quota_messages, imap_without, junk)
                    .await
            }
            Command::AccountRemove { address } => self
                .directory
                .remove_account(&address)
                .await
                .map(|()| Answer::Done),
            Command::DeviceAdd { address, name } => {
                let directory::NewDevice {
                    name,
                    user,
                    secret,
                    realm,
                } = self.directory.add_device(&address, &name, now).await?;
                Ok(Answer::DeviceCreated(NewDevice {
                    name,
                    username: user,
                    domain: realm,
                    secret,
                }))
            }
            Command::DeviceList { address } => {
                let devices = self.directory.devices(&address).await?.into_iter();
                Ok(Answer::Devices(
                    devices
                        .map(|device| Device {
                            name: device.name,
                            username: device.user,
                        })
                        .collect(),
                ))
            }
            Command::DeviceRemove { address, name } => self
                .directory
                .remove_device(&address, &name)
                .await
                .map(|()| Answer::Done),
            // Answered before, in their own words.
            Command::DomainAdd { .. }
            | Command::DomainRemove { .. }
            | Command::DomainRecords { .. }
            | Command::DomainDkimRotate { .. }
            | Command::StreamList
            | Command::StreamAnnounced
            | Command::StreamKick { .. }
            | Command::StreamClear { .. }
            | Command::StreamRecord { .. }
            | Command::QueueList
            | Command::QueueShow { .. }
            | Command::QueueRetry { .. }
            | Command::QueueHold { .. }
            | Command::QueueRelease { .. }
            | Command::QueueHolds
            | Command::QueueRemove { .. }
            | Command::MailboxList { .. }
            | Command::MailboxMake { .. }
            | Command::MessageList { .. }
            | Command::MessagePiece { .. }
            | Command::CertShow
            | Command::CertRenew
            | Command::CheckStore => Ok(Answer::Findings(Vec::new())),
        }
    }

    async fn accounts(&self) -> Result<Answer, DirectoryError> {
        let mut accounts = Vec::new();
        for domain in self.directory.domains() {
            for account in self.directory.accounts(&domain).await? {
                let address = account.address.to_string();
                let devices = self.directory.devices(&address).await?.len();
                accounts.push(Account {
                    address,
                    extension: account.extension,
                    devices,
                });
            }
        }
        Ok(Answer::Accounts(accounts))
    }

    async fn set_password(
        &self,
        address: String,
        password: Option<String>,
    ) -> Result<Answer, DirectoryError> {
        let generated = password.is_none();
        let password = password.unwrap_or_else(|| self.generate());
        self.directory
            .set_password(&address, &password, (self.now)())
            .await?;
        let account = self.directory.account_by_address(&address).await?;
        let account = account.ok_or(DirectoryError::NoSuchAccount(address))?;
        Ok(Answer::AccountCreated(created(
            &account,
            generated.then_some(password),
        )))
    }

    async fn set_account(
        &self,
        address: String,
        quota_bytes: Option<Quota>,
        quota_messages: Option<Quota>,
        imap_without: Option<Vec<String>>,
        junk: Option<bool>,
    ) -> Result<Answer, DirectoryError> {
        let unknown = imap_without.iter().flatten().find(|name| !is_switch(name));
        if let Some(name) = unknown {
            let known = SWITCHES.join(", ");
            return Err(DirectoryError::Cannot(format!(
                "{name} cannot be turned off; what can: {known}, QUOTA"
            )));
        }
        let is_quota = quota_bytes.is_some() || quota_messages.is_some();
        let is_asked = !is_quota && imap_without.is_none() && junk.is_none();
        let set = match is_asked {
            true => self.directory.settings(&address).await?,
            false => {
                let change = |set: &mut directory::AccountSettings| {
                    if let Some(quota) = quota_bytes {
                        set.quota_bytes = stored(quota);
                    }
                    if let Some(quota) = quota_messages {
                        set.quota_messages = stored(quota);
                    }
                    if let Some(without) = &imap_without {
                        set.imap_without.clone_from(without);
                    }
                    if let Some(junk) = junk {
                        set.takes_junk = !junk;
                    }
                };
                self.directory.set_settings(&address, change).await?
            }
        };
        if is_quota && let Some(account) = self.directory.account_by_address(&address).await? {
            // What finds no room is tried again all the same, a little later.
            if let Err(error) = self.mail.try_all_for_room(Some(account.id), self.now()).await {
                tracing::warn!(%error, account = address, "what waits for room could not be looked at");
            }
        }
        Ok(Answer::AccountSettings(AccountSettings {
            address,
            quota_bytes: told(set.quota_bytes),
            quota_messages: told(set.quota_messages),
            imap_without: set.imap_without,
            junk: !set.takes_junk,
        }))
    }

    fn generate(&self) -> String {
        self.rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .token(PASSWORD_CHARS)
    }

    async fn check(&self) -> Result<Answer, Refusal> {
        let report = check_store(&*self.store, &*self.blobs).await;
        let report = report.map_err(|error| refusal(&Command::CheckStore, error.into()))?;
        let mut findings: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        let untold = report.problem_count - findings.len() as u64;
        if untold > 0 {
            findings.push(format!("and {untold} more"));
        }
        if findings.is_empty() && report.unsettled > 0 {
            let why = format!(
                "{} accounts or queues are written to all the while and cannot be compared; check again when it is quieter",
                report.unsettled
            );
            return Err(Refusal::new(RefusalKind::Unavailable, why));
        }
        Ok(Answer::Findings(findings))
    }
}

/// A limit as the store keeps it.
fn stored(quota: Quota) -> Option<u64> {
    match quota {
        Quota::Default => None,
        Quota::None => Some(u64::MAX),
        Quota::Limit(limit) => Some(limit),
    }
}

fn told(stored: Option<u64>) -> Quota {
    match stored {
        None => Quota::Default,
        Some(u64::MAX) => Quota::None,
        Some(limit) => Quota::Limit(limit),
    }
}

fn created(account: &AccountInfo, password: Option<String>) -> NewAccount {
    NewAccount {
        address: account.address.to_string(),
        extension: account.extension.clone(),
        password,
    }
}

fn refusal(command: &Command, error: DirectoryError) -> Refusal {
    let kind = match &error {
        DirectoryError::NoSuchDomain(_)
        | DirectoryError::NoSuchAccount(_)
        | DirectoryError::NoSuchAlias(_)
        | DirectoryError::NoSuchDevice(_) => RefusalKind::NotFound,
        DirectoryError::Taken(_)
        | DirectoryError::InUse { .. }
        | DirectoryError::TooManyDevices(_)
        | DirectoryError::TooManyTargets(_) => RefusalKind::Conflict,
        DirectoryError::BadName(_)
        | DirectoryError::BadPassword(_)
        | DirectoryError::Cannot(_)
        | DirectoryError::BadCapability
        | DirectoryError::AnotherName { .. } => RefusalKind::Invalid,
        DirectoryError::Busy(_) => RefusalKind::Unavailable,
        DirectoryError::Sealed(_) | DirectoryError::Store(_) | DirectoryError::Commit(_) => {
            RefusalKind::Failed
        }
    };
    Refusal::new(kind, format!("{error}{}", mend(command, &error)))
}

/// What to do about it.
fn mend(command: &Command, error: &DirectoryError) -> String {
    match (error, command) {
        (DirectoryError::NoSuchDomain(_), _) => {
            "; `ringpost domain list` shows them, `ringpost domain add` makes one".into()
        }
        (DirectoryError::NoSuchAlias(_), _) => "; `ringpost alias list` shows them".into(),
        (DirectoryError::Taken(_), Command::AliasAdd { .. }) => {
            "; `ringpost account list` and `ringpost device list` show by whom".into()
        }
        (DirectoryError::NoSuchAccount(_), _) => "; `ringpost account list` shows them".into(),
        (DirectoryError::AnotherName { account, .. }, _) => format!("; write {account}"),
        (DirectoryError::NoSuchDevice(_), Command::DeviceRemove { address, .. }) => {
            format!("; `ringpost device list {address}` shows them")
        }
        (DirectoryError::Taken(_), Command::DomainAdd { .. }) => {
            "; `ringpost domain list` shows the domains".into()
        }
        (DirectoryError::InUse { .. }, _) => "; remove that first".into(),
        (DirectoryError::Taken(_), Command::DeviceAdd { address, .. }) => {
            format!(
                "; choose another name (`ringpost device list {address}` shows its devices), or remove that one first"
            )
        }
        (DirectoryError::Taken(_), _) => "; `ringpost account list` shows by whom".into(),
        (DirectoryError::TooManyDevices(_), Command::DeviceAdd { address, .. }) => {
            format!("; remove one first (`ringpost device list {address}` shows them)")
        }
        (DirectoryError::Busy(_), _) => "; try again in a moment".into(),
        _ => String::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ringpost_directory::{Cost, InlineKdf, Parts};
    use ringpost_store::{Bodies, LocalBus, MemoryBlobs, MemoryStore};

    pub(crate) async fn control() -> LocalControl {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let now = || UnixTime::from_secs(1_700_000_000);
        let parts = Parts {
            store: store.clone(),
            bus: Arc::new(LocalBus::new()),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: [7; 32],
            rng: Rng::from_number(1),
        };
        let directory = Directory::open(parts, "example.org", now()).await.unwrap();
        let rng = Mutex::new(Rng::from_number(2));
        let blobs = Arc::new(MemoryBlobs::new(now));
        let bodies = Bodies::new(store.clone(), blobs.clone(), Rng::from_number(3));
        let bus = Arc::new(LocalBus::new());
        LocalControl {
            mail: Arc::new(Mail::new(store.clone(), bodies, bus, Rng::from_number(4))),
            signer: DomainSigner::new(directory.clone()),
            directory,
            store,
            blobs,
            certificate: CertificateDesk::new(Arc::default(), "/nonexistent".into()),
            now,
            streams: None,
            domains_changed: Arc::default(),
            rng,
        }
    }

    #[tokio::test]
    async fn an_account_is_made_listed_given_a_phone_and_removed() {
        let control = control().await;
        let address = "alice@example.org".to_string();
        let add = Command::AccountAdd {
            address: address.clone(),
            extension: None,
            password: None,
        };
        let Ok(Answer::AccountCreated(alice)) = control.handle(add.clone()).await else {
            panic!("it is made")
        };
        assert!(alice.password.is_some() && alice.extension.is_some());
        assert_eq!(control.handle(add).await.unwrap_err().kind, RefusalKind::Conflict);

        let add = Command::DeviceAdd {
            address: address.clone(),
            name: "desk".into(),
        };
        let Ok(Answer::DeviceCreated(desk)) = control.handle(add).await else {
            panic!("it is made")
        };
        assert_eq!(
            (desk.username.as_str(), desk.domain.as_str()),
            ("alice-desk", "example.org")
        );
        let Ok(Answer::Accounts(accounts)) = control.handle(Command::AccountList).await else {
            panic!("a list")
        };
        assert_eq!((accounts.len(), accounts[0].devices), (1, 1));

        let change = Command::AccountPassword {
            address: address.clone(),
            password: None,
        };
        let Ok(Answer::AccountCreated(changed)) = control.handle(change).await else {
            panic!("it is changed")
        };
        assert_ne!(changed.password, alice.password);
        assert_eq!(
            control.handle(Command::CheckStore).await,
            Ok(Answer::Findings(Vec::new()))
        );
        assert_eq!(
            control
                .handle(Command::AccountRemove {
                    address: address.clone()
                })
                .await,
            Ok(Answer::Done)
        );
        let gone = control.handle(Command::DeviceList { address }).await.unwrap_err();
        assert_eq!(gone.kind, RefusalKind::NotFound);
        assert!(gone.message.contains("ringpost account list"), "{gone}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn accounts_that_are_added_at_once_all_get_an_extension() {
        let folder = tempfile::tempdir().unwrap();
        let held = crate::data_folder::hold(folder.path()).unwrap();
        let config = crate::config::Config {
            domains: vec!["example.org".into()],
            ..Default::default()
        };
        let stores = crate::stores::Stores::open(held, &config).await.unwrap();
        let control = Arc::new(stores.control(stores.mail()));
        let add = |n: usize, extension: Option<&str>| {
            let (control, extension) = (control.clone(), extension.map(str::to_owned));
            tokio::spawn(async move {
                let add = Command::AccountAdd {
                    address: format!("u{n}@example.org"),
                    extension,
                    password: None,
                };
                match control.handle(add).await {
                    Ok(Answer::AccountCreated(account)) => account.extension.unwrap(),
                    other => panic!("{other:?}"),
                }
            })
        };
        add(0, Some("110")).await.unwrap();
        let adding: Vec<_> = (1..=AT_ONCE).map(|n| add(n, None)).collect();
        let mut given = std::collections::BTreeSet::new();
        for one in adding {
            given.insert(one.await.unwrap().parse::<usize>().unwrap());
        }
        let expected = (100..=100 + AT_ONCE).filter(|n| *n != 110);
        assert_eq!(given, expected.collect());
        assert_eq!(
            control.handle(Command::CheckStore).await,
            Ok(Answer::Findings(Vec::new()))
        );
    }

    /// More than may wait for a slot in which passwords are stretched.
    const AT_ONCE: usize = 100;

    #[tokio::test]
    async fn what_is_refused_is_told_with_the_mend() {
        let control = control().await;
        let add = |address: &str, extension: Option<&str>| Command::AccountAdd {
            address: address.into(),
            extension: extension.map(str::to_owned),
            password: None,
        };
        let device = |name: &str| Command::DeviceAdd {
            address: "alice@example.org".into(),
            name: name.into(),
        };
        let remove = |address: &str| Command::AccountRemove {
            address: address.into(),
        };
        let gone = Command::DeviceRemove {
            address: "alice@example.org".into(),
            name: "attic".into(),
        };
        control
            .handle(add("alice@example.org", Some("200")))
            .await
            .unwrap();
        control.handle(device("desk")).await.unwrap();
        for (command, told) in [
            (
                add("Alice@example.org", None),
                "alice@example.org is taken; `ringpost account list` shows by whom",
            ),
            (
                add("bob@example.org", Some("200")),
                "extension 200 is taken; `ringpost account list` shows by whom",
            ),
            (
                add("200@example.org", None),
                "200@example.org is taken; `ringpost account list` shows by whom",
            ),
            (
                add("bob@elsewhere.test", None),
                "there is no domain elsewhere.test; `ringpost domain list` shows them, `ringpost domain add` makes one",
            ),
            (
                add("bob", None),
                "\"bob\" is no address: expected local-part@domain, like alice@example.org",
            ),
            (
                add("b b@example.org", None),
                "\"b b@example.org\" is no address: expected 1 to 64 bytes of letters, digits, '.', '_' or '-' before the '@', with \
                 no '.' at an end or doubled",
            ),
            (
                add("bob@", None),
                "\"bob@\" is no address: expected a domain behind the '@', like example.org",
            ),
            (
                Command::DomainAdd {
                    name: "Example.org".into(),
                },
                "example.org is taken; `ringpost domain list` shows the domains",
            ),
            (
                device("desk"),
                "alice-desk is taken; choose another name (`ringpost device list alice@example.org` shows its devices), or \
                 remove that one first",
            ),
            (
                gone,
                "there is no device attic of alice@example.org; `ringpost device list alice@example.org` shows them",
            ),
            (
                remove("carol@example.org"),
                "there is no account carol@example.org; `ringpost account list` shows them",
            ),
            (
                remove("200@example.org"),
                "200@example.org is another name of alice@example.org; write alice@example.org",
            ),
        ] {
            assert_eq!(control.handle(command).await.unwrap_err().message, told);
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_is_refused_as_such() {
        let control = control().await;
        for command in [
            Command::DomainAdd { name: "a b".into() },
            Command::AccountAdd {
                address: "alice".into(),
                extension: None,
                password: None,
            },
        ] {
            assert_eq!(
                control.handle(command).await.unwrap_err().kind,
                RefusalKind::Invalid
            );
        }
    }
}
