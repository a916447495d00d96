//! The certificate by ACME: the listener for challenges, and the task that has one and renews it.

use super::files;
use crate::config::{self, Config};
use crate::world::random;
use anyhow::{Context, Result};
use ringpost_acme::{ChallengeKind, Challenges, Folder, Keeper, Parts, Settings};
use ringpost_admin::Metrics;
use ringpost_base::limits;
use ringpost_directory::Directory;
use ringpost_net::dns::Resolver;
use ringpost_net::stream::Places;
use ringpost_net::tls::{Authorities, Pair, Tls, self_signed};
use ringpost_node::Stop;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::warn;

/// Whom to ask, if certificates are asked for. The key of an account elsewhere is read.
pub(crate) fn settings(config: &Config) -> Result<Option<Settings>> {
    let acme = &config.acme;
    if !acme.enabled {
        return Ok(None);
    }
    Ok(Some(Settings {
        directory: acme.directory.clone(),
        contact: acme
            .contact
            .iter()
            .map(|address| format!("mailto:{address}"))
            .collect(),
        challenge: match acme.challenge {
            config::Challenge::Http01 => ChallengeKind::Http01,
            config::Challenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
        },
        external: files::external_account(config)?,
    }))
}

/// Who vouches for the authority's own server.
pub(crate) fn authorities(config: &Config) -> Result<Authorities> {
    Authorities::load(authorities_file(config)).context("acme.authorities")
}

fn authorities_file(config: &Config) -> Option<&Path> {
    let own = config.acme.authorities.as_deref();
    own.or(config.tls.authorities.as_deref())
}

/// What is shown where the configuration names no certificate: the one that was had by ACME, or else the self-signed one.
pub(super) fn pair(config: &Config, data: &Path) -> Result<Pair> {
    if config.acme.enabled {
        match Folder::of(data).load() {
            Ok(Some(pair)) => return Ok(pair),
            Ok(None) => {}
            Err(error) => warn!(%error, "the self-signed certificate is shown until there is another"),
        }
    }
    let (certificate, key) = self_signed(data, &config.first_domains())?;
    Ok(Pair::load(&certificate, &key)?)
}

/// What the task is made of.
pub(super) struct Asking<'a> {
    pub(super) config: &'a Arc<Mutex<Config>>,
    pub(super) settings: Settings,
    pub(super) authorities: Authorities,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) data: &'a Path,
    pub(super) tls: Tls,
    pub(super) places: Arc<Places>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) directory: Directory,
    pub(super) stop: Stop,
}

/// The running task.
pub(super) struct Asked {
    pub(super) keeper: Keeper,
    authorities: Authorities,
    /// What the listener answers, until the next start.
    challenge: ChallengeKind,
}

impl Asking<'_> {
    /// Answers challenges from now on, and asks for a certificate if one is needed.
    pub(super) fn start(self) -> Result<Asked> {
        let challenges = Challenges::default();
        let challenge = self.settings.challenge;
        for listener in self.listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let serving = challenges.clone().serve(challenge, listener, self.places.clone());
            spawn(serving, &self.stop);
        }
        let (config, directory) = (self.config.clone(), self.directory);
        let names = move || {
            let set = config
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .acme
                .names
                .clone();
            if set.is_empty() { names(&directory) } else { set }
        };
        let (keeper, task) = Keeper::new(Parts {
            tls: self.tls,
            folder: Folder::of(self.data),
            resolver: self.resolver,
            authorities: self.authorities.clone(),
            challenges,
            settings: self.settings,
            names: Arc::new(names),
            now: crate::stores::now,
            rng: random(),
        });
        spawn(task, &self.stop);
        Ok(Asked {
            keeper,
            authorities: self.authorities,
            challenge,
        })
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static, stop: &Stop) {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = task => {}
            () = stop.wait() => {}
        }
    });
}

/// All domains, the server's own name first.
fn names(directory: &Directory) -> Vec<String> {
    let mut names = directory.domains();
    names.sort_by_key(|name| name != directory.default_domain());
    if names.len() > limits::ACME_NAMES {
        warn!(
            domains = names.len(),
            "more than one certificate can be for: set acme.names"
        );
        names.truncate(limits::ACME_NAMES);
    }
    names
}

impl Asked {
    /// Goes by a configuration that was read again.
    pub(super) fn set(&self, config: &Mutex<Config>, settings: Option<Settings>) -> Result<()> {
        let config = config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reloaded = self.authorities.reload(authorities_file(&config));
        reloaded.context("acme.authorities")?;
        let challenge = self.challenge;
        self.keeper.set(settings.map(|settings| Settings {
            challenge,
            ..settings
        }));
        Ok(())
    }

    /// Shows how it stands.
    pub(super) fn watch(&self, metrics: &Metrics) {
        let keeper = self.keeper.clone();
        metrics.watch_counter("acme_certificates", "Certificates had by ACME", move || {
            keeper.issued()
        });
        let keeper = self.keeper.clone();
        metrics.watch_counter("acme_failures", "Attempts to have one that failed", move || {
            keeper.failed()
        });
    }
}
