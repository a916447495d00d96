//! TLS for every listener: one certificate, replaced while connections go on.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// How long a handshake may take before the connection is dropped.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read, or holds no PEM of that kind.
    #[error("{path}: expected {expected}: {reason}")]
    File {
        /// The file as configured.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// The key and the certificate do not belong together, or rustls refuses them.
    #[error("certificate {cert} with key {key}: {reason}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        reason: rustls::Error,
    },
    /// A self-signed certificate could not be made or written.
    #[error("self-signed certificate in {path}: {reason}")]
    SelfSigned {
        /// The folder.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
}

/// The server side of TLS, shared by the listeners. [`reload`](Tls::reload) changes what new handshakes get; established
/// connections keep what they have.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// From a PEM certificate chain and a PEM private key.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Tls(Arc::new(RwLock::new(config(cert, key)?))))
    }

    /// Takes over another certificate; on an error the one in use stays.
    pub fn reload(&self, cert: &Path, key: &Path) -> Result<(), TlsError> {
        let config = config(cert, key)?;
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = config;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.read().unwrap_or_else(|e| e.into_inner()).clone())
    }
}

fn config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let file = |path: &Path, expected, reason: &dyn std::fmt::Display| TlsError::File {
        path: path.to_owned(),
        expected,
        reason: reason.to_string(),
    };
    const CHAIN: &str = "a PEM certificate chain";
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
        .map_err(|e| file(cert, CHAIN, &e))?;
    if chain.is_empty() {
        return Err(file(cert, CHAIN, &"no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| file(key, "a PEM private key", &e))?;
    // One provider for the whole process (DESIGN §8), named here so that no global default is needed.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, private))
        .map(Arc::new)
        .map_err(|reason| TlsError::Pair {
            cert: cert.to_owned(),
            key: key.to_owned(),
            reason,
        })
}

/// Writes a self-signed certificate and its key for `names` into `folder`, unless both files are there, and gives their
/// paths. The key is readable by its owner only.
pub fn self_signed(folder: &Path, names: &[String]) -> Result<(PathBuf, PathBuf), TlsError> {
    let (cert_path, key_path) = (folder.join("self-signed.crt"), folder.join("self-signed.key"));
    if cert_path.exists() && key_path.exists() {
        return Ok((cert_path, key_path));
    }
    let fail = |reason: &dyn std::fmt::Display| TlsError::SelfSigned {
        path: folder.to_owned(),
        reason: reason.to_string(),
    };
    let made = rcgen::generate_simple_self_signed(names.to_vec()).map_err(|e| fail(&e))?;
    // The key first: a certificate without it is made anew, with a key of its own.
    write(&key_path, made.signing_key.serialize_pem().as_bytes(), 0o600).map_err(|e| fail(&e))?;
    write(&cert_path, made.cert.pem().as_bytes(), 0o644).map_err(|e| fail(&e))?;
    Ok((cert_path, key_path))
}

/// Writes a file whole or not at all: a server that lost its power halfway must find nothing that it would take for one.
fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let half = path.with_extension("new");
    // What an earlier attempt left has its own rights, which are not to be trusted.
    if let Err(error) = std::fs::remove_file(&half)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_that_was_half_made_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost".to_string()];
        std::fs::write(folder.path().join("self-signed.new"), "half").unwrap();
        let (cert, key) = self_signed(folder.path(), &names).unwrap();
        Tls::load(&cert, &key).unwrap();
        std::fs::remove_file(&cert).unwrap();
        let (cert, key) = self_signed(folder.path(), &names).unwrap();
        let tls = Tls::load(&cert, &key).unwrap();
        let before = std::fs::read(&cert).unwrap();
        self_signed(folder.path(), &names).unwrap();
        assert_eq!(std::fs::read(&cert).unwrap(), before, "one that is whole is kept");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        tls.reload(&cert, &key).unwrap();
    }
}
