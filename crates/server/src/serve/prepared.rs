//! What a server takes hold of with the rights that it is started with: its folder, ports, and files that are often root's alone.

use super::files::Greeting;
use super::sockets::{self, Sockets};
use super::{acme, files};
use crate::config::Config;
use crate::data_folder;
use crate::privileges;
use anyhow::Result;
use ringpost_acme::Settings;
use ringpost_net::dns::Anchors;
use ringpost_net::tls::{Authorities, Tls};
use ringpost_smtp::client::Credentials;
use ringpost_store_sqlite::DataFolder;
use tracing::{info, warn};

/// All of it, of a process that has the rights of its user from then on.
pub(super) struct Prepared {
    pub(super) folder: DataFolder,
    pub(super) sockets: Sockets,
    /// How many files the process may open.
    pub(super) files: usize,
    pub(super) tls: Tls,
    pub(super) authorities: Authorities,
    pub(super) anchors: Option<Anchors>,
    pub(super) greeting: Greeting,
    /// Of the smart host.
    pub(super) credentials: Option<Credentials>,
    /// Who gives certificates, and whom it is trusted by.
    pub(super) authority: Option<(Settings, Authorities)>,
    /// What there is to say, once it runs: a start that fails says why, and nothing else.
    pub(super) notices: Vec<String>,
}

impl Prepared {
    /// What the configuration names. The errors are one line that names the key and the mend.
    pub(super) fn new(config: &Config) -> Result<Self> {
        let folder = data_folder::hold(&config.data_folder())?;
        // Looked at before anything runs that logs: the socket itself is made last.
        let socket = data_folder::socket(folder.path());
        std::os::unix::net::SocketAddr::from_pathname(&socket).map_err(|error| {
            anyhow::anyhow!(
                "data: {}: {error}; set a folder with a shorter path",
                socket.display()
            )
        })?;
        let files = sockets::allow_many().unwrap_or_else(|error| {
            warn!(%error, "the limit of open files stays as it is");
            usize::MAX
        });
        let sockets = Sockets::open(config)?;
        let (configured, greeting) = (files::certificate(config)?, files::greeting(config)?);
        let credentials = files::smart_host_credentials(config)?;
        let anchors = files::anchors(config)?;
        let authority = match acme::settings(config)? {
            Some(settings) => Some((settings, acme::authorities(config)?)),
            None => None,
        };
        let authorities = files::authorities(config)?;
        if let Some(user) = privileges::chosen_user(config.user.as_deref(), folder.path())? {
            privileges::become_user(&user, folder.path())?;
            info!(user = %user.name, "rights dropped");
        }
        let mut notices = sockets.notices.clone();
        notices.extend(files::unreadable_from_now_on(config));
        notices.extend(sockets::too_few_files(&config.limits, files));
        let tls = match configured {
            Some(tls) => tls,
            None => Tls::new(acme::pair(config, folder.path())?),
        };
        Ok(Prepared {
            folder,
            sockets,
            files,
            tls,
            authorities,
            anchors,
            greeting,
            credentials,
            authority,
            notices,
        })
    }
}
