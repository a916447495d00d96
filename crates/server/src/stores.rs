//! What the data folder holds, opened: the store, the bodies beside it, the key of the devices' secrets, and the
//! directory over them.

use crate::backup;
use crate::config::Config;
use crate::control::LocalControl;
use crate::control::certificate::CertificateDesk;
use crate::kdf::Slots;
use crate::world::random;
use anyhow::{Context, Result, bail};
use ringpost_base::UnixTime;
use ringpost_blobs::FileBlobs;
use ringpost_directory::{Directory, Parts};
use ringpost_mail::Mail;
use ringpost_sender_auth::DomainSigner;
use ringpost_store::{Blobs, Bodies, LocalBus, Store};
use ringpost_store_sqlite::{DataFolder, SqliteStore};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::info;

/// The file with the key that seals the devices' digest keys.
const SEAL_KEY: &str = "seal.key";
/// The folder of the large bodies.
/// The folder of recordings.
pub(crate) const RECORDINGS: &str = "recordings";
pub(crate) const BODIES: &str = "blobs";

/// An open data folder. The folder is let go last.
pub(crate) struct Stores {
    pub(crate) directory: Directory,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) bus: Arc<LocalBus>,
    pub(crate) signer: DomainSigner,
    /// What they were opened with, or what holds since.
    pub(crate) config: Arc<Mutex<Config>>,
    folder: DataFolder,
}

impl Stores {
    /// Opens everything, and makes what is not there: at the first start that is all of it. The domains of the
    /// configuration exist from then on.
    pub(crate) async fn open(folder: DataFolder, config: &Config) -> Result<Stores> {
        if backup::is_unfinished(folder.path()) {
            bail!(
                "data: {} holds half of a restored backup; run `ringpost restore` again",
                folder.path().display()
            );
        }
        backup::clear_left_behind(folder.path())?;
        let seal_key = seal_key(folder.path())?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder)?);
        let blobs: Arc<dyn Blobs> = Arc::new(FileBlobs::open(folder.path().join(BODIES))?);
        let bodies = Bodies::new(store.clone(), blobs.clone(), random());
        let upgraded = ringpost_mail::upgrade(&*store, &bodies).await?;
        if upgraded > 0 {
            info!(
                messages = upgraded,
                "what an earlier version wrote was brought up to date"
            );
        }
        let bus = Arc::new(LocalBus::new());
        let kdf = Arc::new(Slots::start().context("no thread for passwords")?);
        let parts = Parts {
            store: store.clone(),
            bus: bus.clone(),
            kdf,
            seal_key,
            rng: random(),
        };
        let domains = config.first_domains();
        let directory = Directory::open(parts, &domains[0], now()).await?;
        for domain in domains.iter().filter(|domain| !directory.is_local(domain)) {
            directory
                .add_domain(domain, now())
                .await
                .with_context(|| format!("domains: {domain}"))?;
        }
        Ok(Stores {
            signer: DomainSigner::new(directory.clone()),
            directory,
            store,
            blobs,
            bus,
            config: Arc::new(Mutex::new(config.clone())),
            folder,
        })
    }

    /// The data folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The mail in them.
    pub(crate) fn mail(&self) -> Arc<Mail> {
        let bodies = Bodies::new(self.store.clone(), self.blobs.clone(), random());
        let mail = Mail::new(self.store.clone(), bodies, self.bus.clone(), random());
        mail.set_signer(Arc::new(self.signer.clone()));
        mail.be_called(self.directory.default_domain());
        Arc::new(mail)
    }

    /// What carries out the command line's wishes on them, and on this mail.
    pub(crate) fn control(&self, mail: Arc<Mail>) -> LocalControl {
        LocalControl {
            mail,
            signer: self.signer.clone(),
            directory: self.directory.clone(),
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            certificate: CertificateDesk::new(self.config.clone(), self.path().to_owned()),
            now,
            streams: None,
            domains_changed: Arc::default(),
            rng: Mutex::new(random()),
        }
    }
}

/// The calendar of the machine.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_secs(0) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Reads the key, or makes it at the first start.
fn seal_key(folder: &Path) -> Result<[u8; 32]> {
    let path = folder.join(SEAL_KEY);
    match std::fs::read(&path) {
        Ok(bytes) => bytes
            .try_into()
            .ok()
            .with_context(|| format!("{}: not a key of 32 bytes", path.display())),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        Err(_) if folder.join(SqliteStore::FILE).exists() => {
            // A new key would quietly lock every phone out.
            bail!(
                "{} is missing; restore it from the backup of the data folder",
                path.display()
            )
        }
        Err(_) => {
            let mut key = [0; 32];
            random().fill(&mut key);
            write_key(folder, &path, &key).with_context(|| path.display().to_string())?;
            Ok(key)
        }
    }
}

/// The key is on the disk, whole, before anything is sealed with it.
fn write_key(folder: &Path, path: &Path, key: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_folder::hold;
    use ringpost_admin::{Answer, Command, Control};

    #[tokio::test]
    async fn what_the_command_line_made_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            domains: vec!["one.test".into(), "two.test".into()],
            ..Config::default()
        };
        let address = "alice@two.test".to_string();
        {
            let stores = Stores::open(hold(folder.path()).unwrap(), &config).await.unwrap();
            let add = Command::AccountAdd {
                address: address.clone(),
                extension: None,
                password: Some("secret words".into()),
            };
            stores.control(stores.mail()).handle(add).await.unwrap();
            let add = Command::DeviceAdd {
                address: address.clone(),
                name: "desk".into(),
            };
            stores.control(stores.mail()).handle(add).await.unwrap();
        }
        let stores = Stores::open(hold(folder.path()).unwrap(), &config).await.unwrap();
        assert!(
            stores
                .directory
                .login(&address, "secret words")
                .await
                .unwrap()
                .is_some()
        );
        let keys = stores.directory.device("two.test", "alice-desk").await;
        assert!(keys.unwrap().is_some(), "its secret can still be checked");
        assert_eq!(
            stores.control(stores.mail()).handle(Command::CheckStore).await,
            Ok(Answer::Findings(Vec::new()))
        );
    }

    #[tokio::test]
    async fn a_lost_key_is_told_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        drop(
            Stores::open(hold(folder.path()).unwrap(), &Config::default())
                .await
                .unwrap(),
        );
        std::fs::remove_file(folder.path().join(SEAL_KEY)).unwrap();
        let error = Stores::open(hold(folder.path()).unwrap(), &Config::default())
            .await
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("restore it from the backup"),
            "{error}"
        );
    }
}
