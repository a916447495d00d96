//! `cert …`: the certificate that is shown, and a new one.

use crate::config::Config;
use ringpost_acme::{AskError, Folder, Keeper};
use ringpost_admin::{Answer, CertificateState, Command, Refusal, RefusalKind};
use ringpost_net::tls::{Certificate, Pair, Tls};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the certificate is, and who has it renewed.
pub(crate) struct CertificateDesk {
    /// What holds now.
    config: Arc<Mutex<Config>>,
    data: PathBuf,
    /// The server's own, in a server.
    served: Option<(Tls, Option<Keeper>)>,
}

impl CertificateDesk {
    /// Over a data folder, with a configuration that may be changed.
    pub(crate) fn new(config: Arc<Mutex<Config>>, data: PathBuf) -> Self {
        CertificateDesk {
            config,
            data,
            served: None,
        }
    }

    /// What the server shows, and who renews it there.
    pub(crate) fn serve(&mut self, tls: Tls, keeper: Option<Keeper>) {
        self.served = Some((tls, keeper));
    }

    pub(super) async fn handle(&self, command: &Command) -> Result<Answer, Refusal> {
        if *command == Command::CertRenew {
            self.renew().await?;
        }
        self.state().map(Answer::Certificate)
    }

    async fn renew(&self) -> Result<(), Refusal> {
        let config = self.config();
        let unavailable = |why: &str| Err(Refusal::new(RefusalKind::Unavailable, why));
        if let Some(path) = &config.tls.certificate {
            let path = path.display();
            return Err(Refusal::new(
                RefusalKind::Conflict,
                format!("{path} is renewed by whoever made it; SIGHUP takes the new one over"),
            ));
        }
        match &self.served {
            None => unavailable("no server runs that the authority could ask; start it"),
            Some((_, Some(keeper))) if config.acme.enabled => match keeper.renew().await {
                Ok(()) => Ok(()),
                Err(error @ AskError::Failed(_)) => {
                    Err(Refusal::new(RefusalKind::Unavailable, error.to_string()))
                }
                Err(error) => unavailable(&format!("{error}; try again in a moment")),
            },
            Some(_) => {
                unavailable("no certificates are asked for; set acme.enabled, and start the server again")
            }
        }
    }

    fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> Result<CertificateState, Refusal> {
        let config = self.config();
        let folder = Folder::of(&self.data);
        let (source, files) = match (&config.tls.certificate, &config.tls.key) {
            (Some(certificate), Some(key)) => {
                let source = certificate.display().to_string();
                (source, (certificate.clone(), key.clone()))
            }
            _ if config.acme.enabled && folder.certificate().exists() => {
                let path = folder.certificate();
                (config.acme.directory.clone(), (path.clone(), path))
            }
            _ => {
                let file = |name: &str| self.data.join(name);
                let files = (file("self-signed.crt"), file("self-signed.key"));
                ("self-signed".to_owned(), files)
            }
        };
        let shown = match &self.served {
            Some((tls, _)) => tls.certificate(),
            None => {
                let pair = Pair::load(&files.0, &files.1);
                let pair = pair.map_err(|error| Refusal::not_found(format!("{error}; start the server")))?;
                pair.certificate().cloned().map(Arc::new)
            }
        };
        let shown = shown.ok_or_else(|| Refusal::failed("the certificate cannot be read"))?;
        let keeper = self.served.as_ref().and_then(|(_, keeper)| keeper.as_ref());
        Ok(state(source, &shown, keeper))
    }
}

fn state(source: String, shown: &Certificate, keeper: Option<&Keeper>) -> CertificateState {
    let status = keeper.map(Keeper::status).unwrap_or_default();
    CertificateState {
        source,
        names: shown.names.clone(),
        issuer: shown.issuer.clone(),
        serial: shown.serial.clone(),
        not_before_s: shown.not_before.as_secs(),
        not_after_s: shown.not_after.as_secs(),
        renewal_s: status.renewal.map(|at| at.as_secs()),
        lacking: status.lacking,
        failure: status.failure,
        retry_s: status.retry.map(|at| at.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::control;
    use super::*;
    use ringpost_admin::Control;
    use ringpost_net::tls::self_signed;

    #[tokio::test]
    async fn without_a_server_the_certificate_is_shown_and_not_renewed() {
        let mut control = control().await;
        let refused = control.handle(Command::CertShow).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::NotFound, "there is none yet");
        let data = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(data.path(), &["one.test".to_owned()]).unwrap();
        let config = Arc::new(Mutex::new(Config::default()));
        control.certificate = CertificateDesk::new(config.clone(), data.path().into());
        let Ok(Answer::Certificate(shown)) = control.handle(Command::CertShow).await else {
            panic!("it is shown")
        };
        assert_eq!(
            (shown.source.as_str(), shown.names.as_slice()),
            ("self-signed", &["one.test".to_owned()][..])
        );
        assert!(shown.not_after_s > shown.not_before_s && !shown.serial.is_empty());
        let told = |refused: Refusal| refused.message;
        let renew = || control.handle(Command::CertRenew);
        assert!(told(renew().await.unwrap_err()).contains("no server runs"));
        config.lock().unwrap().tls.certificate = Some(certificate.clone());
        config.lock().unwrap().tls.key = Some(key);
        assert!(told(renew().await.unwrap_err()).contains("SIGHUP takes the new one over"));
        let Ok(Answer::Certificate(shown)) = control.handle(Command::CertShow).await else {
            panic!("it is shown")
        };
        assert_eq!(shown.source, certificate.display().to_string());
    }
}
