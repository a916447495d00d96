//! TLS for every listener: one certificate, replaced while connections go on; and for connections to other domains, whose
//! certificates are checked.

mod certificate;
mod dane;

pub use certificate::Certificate;
pub use dane::Tlsa;

use certificate::server_end_point;
use dane::DaneServer;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use thiserror::Error;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::warn;

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
    /// A text that should hold a certificate chain and its key does not.
    #[error("expected a PEM certificate chain with its key: {reason}")]
    Pem {
        /// What was wrong.
        reason: String,
    },
    /// rustls cannot be a client with these authorities.
    #[error("TLS to other servers: {reason}")]
    Client {
        /// What it said.
        reason: String,
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
pub struct Tls(Arc<RwLock<Shown>>);

/// What new handshakes get.
#[derive(Clone)]
struct Shown {
    config: Arc<ServerConfig>,
    /// See [`server_end_point`].
    end_point: Option<Vec<u8>>,
    certificate: Option<Arc<Certificate>>,
}

impl Tls {
    /// Shows this one at first.
    pub fn new(pair: Pair) -> Self {
        Tls(Arc::new(RwLock::new(pair.0)))
    }

    /// From a PEM certificate chain and a PEM private key.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Tls::new(Pair::load(cert, key)?))
    }

    /// Takes over another certificate; on an error the one in use stays.
    pub fn reload(&self, cert: &Path, key: &Path) -> Result<(), TlsError> {
        self.show(Pair::load(cert, key)?);
        Ok(())
    }

    /// Shows another one from the next handshake on.
    pub fn show(&self, pair: Pair) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = pair.0;
    }

    /// What the certificate that new handshakes get says of itself; `None` when that cannot be read.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        let shown = self.0.read().unwrap_or_else(|e| e.into_inner());
        shown.certificate.clone()
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor_and_end_point().0
    }

    /// What a handshake that begins now gets.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        let shown = self.0.read().unwrap_or_else(|e| e.into_inner());
        shown.config.clone()
    }

    /// The same with the hash of the certificate that it shows, for channel binding.
    pub(crate) fn acceptor_and_end_point(&self) -> (TlsAcceptor, Option<Vec<u8>>) {
        let shown = self.0.read().unwrap_or_else(|e| e.into_inner());
        (TlsAcceptor::from(shown.config.clone()), shown.end_point.clone())
    }
}

/// A certificate chain with the key that it was made for: checked, and not shown yet.
#[derive(Clone)]
pub struct Pair(Shown);

impl Pair {
    /// From a file with the PEM certificate chain and one with the PEM private key, which may be the same.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let file = |path: &Path, expected, reason: &dyn std::fmt::Display| TlsError::File {
            path: path.to_owned(),
            expected,
            reason: reason.to_string(),
        };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
            .map_err(|e| file(cert, CHAIN, &e))?;
        if chain.is_empty() {
            return Err(file(cert, CHAIN, &"no certificate in it"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|e| file(key, "a PEM private key", &e))?;
        Pair::join(chain, private).map_err(|reason| TlsError::Pair {
            cert: cert.to_owned(),
            key: key.to_owned(),
            reason,
        })
    }

    /// From PEM with both in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let wrong = |reason: &dyn std::fmt::Display| TlsError::Pem {
            reason: reason.to_string(),
        };
        let chain = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| wrong(&e))?;
        let private = PrivateKeyDer::from_pem_slice(pem).map_err(|e| wrong(&e))?;
        Pair::join(chain, private).map_err(|e| wrong(&e))
    }

    fn join(
        chain: Vec<CertificateDer<'static>>,
        private: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let end_point = chain.first().and_then(|leaf| server_end_point(leaf));
        let certificate = chain.first().and_then(|leaf| Certificate::parse(leaf));
        // One provider for the whole process (DESIGN §8), named here so that no global default is needed.
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        // What each client can (RFC 8446 §9.1), and what costs least: processors have instructions for SHA-256, few for
        // SHA-384, and a handshake is mostly hashes.
        provider
            .cipher_suites
            .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .and_then(|b| b.with_no_client_auth().with_single_cert(chain, private))?;
        config.ignore_client_order = true;
        Ok(Pair(Shown {
            config: Arc::new(config),
            end_point,
            certificate: certificate.map(Arc::new),
        }))
    }

    /// What the certificate says of itself; `None` when that cannot be read.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.0.certificate.as_deref()
    }
}

const CHAIN: &str = "a PEM certificate chain";

/// Where systems keep the certificates of the authorities that they trust, as one file of PEM.
const SYSTEM_STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The client side of TLS: who vouches for the servers of other domains. [`reload`](Authorities::reload) changes what new
/// connections are held to.
#[derive(Clone)]
pub struct Authorities(Arc<RwLock<Clients>>);

/// What a mail server's certificate must prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: any certificate is good.
    #[default]
    Any,
    /// That it is for the server's name, and vouched for by an authority.
    Name,
    /// That it is what one of these records says (RFC 7672).
    Dane {
        /// The records.
        records: Vec<Tlsa>,
        /// The domain that the mail is for.
        domain: String,
    },
}

/// What TLS asks of other servers.
#[derive(Clone)]
struct Clients {
    /// Of a domain's SIP server.
    sip: Arc<ClientConfig>,
    /// Of a server that must prove its name.
    mail: Arc<ClientConfig>,
    /// Of a mail server that is spoken to under TLS because it offers it.
    any: Arc<ClientConfig>,
}

impl Authorities {
    /// Those of a PEM file, or the system's (`SSL_CERT_FILE`, else where systems keep them) where none is named. Without
    /// any, no server is believed.
    pub fn load(file: Option<&Path>) -> Result<Self, TlsError> {
        Ok(Authorities(Arc::new(RwLock::new(client_config(file)?))))
    }

    /// Takes over others; on an error those in use stay.
    pub fn reload(&self, file: Option<&Path>) -> Result<(), TlsError> {
        let config = client_config(file)?;
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = config;
        Ok(())
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(self.clients().sip)
    }

    /// For a server of streams, which must prove its name.
    pub(crate) fn server_config(&self) -> Arc<ClientConfig> {
        self.clients().mail
    }

    /// For a mail server that must prove this.
    pub(crate) fn mail_connector(&self, proof: &Proof) -> TlsConnector {
        let clients = self.clients();
        TlsConnector::from(match proof {
            Proof::Any => clients.any,
            Proof::Name => clients.mail,
            Proof::Dane { records, domain } => {
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let verifier = Arc::new(DaneServer {
                    provider: provider.clone(),
                    records: records.as_slice().into(),
                    domain: ServerName::try_from(domain.clone()).ok(),
                });
                let builder = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .expect("the provider's own versions are safe");
                let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
                Arc::new(builder.with_no_client_auth())
            }
        })
    }

    fn clients(&self) -> Clients {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

fn client_config(file: Option<&Path>) -> Result<Clients, TlsError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| unusable(path, &e))?;
            }
        }
        None => {
            let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            let usual = SYSTEM_STORES.iter().map(PathBuf::from);
            let found = named.into_iter().chain(usual).find(|path| path.exists());
            let found = found.map(|path| certificates(&path)).transpose();
            // A system that is not in order is no reason not to serve its own people.
            let found = found.inspect_err(|error| warn!(%error, "the system's authorities cannot be read"));
            roots.add_parsable_certificates(found.ok().flatten().unwrap_or_default());
        }
    }
    // One provider for the whole process, as for the server side.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let failed = |reason: &dyn std::fmt::Display| TlsError::Client {
        reason: reason.to_string(),
    };
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(&e))
    };
    let checked_by = |verifier: Arc<dyn ServerCertVerifier>| {
        let builder = builder()?.dangerous().with_custom_certificate_verifier(verifier);
        Ok::<_, TlsError>(Arc::new(builder.with_no_client_auth()))
    };
    //= https://www.rfc-editor.org/rfc/rfc7435#section-3
    let any = checked_by(Arc::new(AnyServer(provider.clone())))?;
    if roots.is_empty() {
        warn!(
            "the system trusts no certificate authority: no connection under TLS to another domain will stand"
        );
        let nobody = builder()?.with_root_certificates(roots).with_no_client_auth();
        let nobody = Arc::new(nobody);
        return Ok(Clients {
            sip: nobody.clone(),
            mail: nobody,
            any,
        });
    }
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| failed(&e))?;
    Ok(Clients {
        sip: checked_by(Arc::new(SipDomain(usual.clone())))?,
        mail: checked_by(usual)?,
        any,
    })
}

const AUTHORITIES: &str = "PEM certificates of authorities";

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|e| unusable(path, &e))?;
    match found.is_empty() {
        true => Err(unusable(path, &"no certificate in it")),
        false => Ok(found),
    }
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        expected: AUTHORITIES,
        reason: reason.to_string(),
    }
}

/// The usual checks of a certificate, and SIP's: a domain is named in full, a wildcard names nobody.
//= https://www.rfc-editor.org/rfc/rfc5922#section-7.2
#[derive(Debug)]
struct SipDomain(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for SipDomain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        if let ServerName::DnsName(domain) = server_name {
            let certificate = webpki::EndEntityCert::try_from(end_entity)
                .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
            let mut names = certificate.valid_dns_names();
            if !names.any(|name| name.eq_ignore_ascii_case(domain.as_ref())) {
                return Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName,
                ));
            }
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// No check of who it is: where a server's name comes from a DNS that proves nothing, and plain text is the alternative, a
/// certificate of whatever kind keeps out those who only listen. That it holds the certificate's key is checked.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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

/// Writes a file whole or not at all, durably: a server that lost its power halfway must find nothing that it would take for
/// one.
///
/// # Errors
/// When the folder cannot be written; what was there before is there still.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
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
    std::fs::rename(&half, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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

    /// The suite of a handshake with a client that would take any of these, the first of them most gladly.
    fn negotiated(tls: &Tls, suites: &[CipherSuite]) -> CipherSuite {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let by_choice = |suite: &CipherSuite| provider.cipher_suites.iter().find(|s| s.suite() == *suite);
        provider.cipher_suites = suites.iter().filter_map(by_choice).copied().collect();
        let provider = Arc::new(provider);
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = rustls::ServerConnection::new(tls.acceptor().config().clone()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        server.negotiated_cipher_suite().unwrap().suite()
    }

    #[test]
    fn the_suite_that_costs_least_is_taken_and_any_other_where_a_client_has_not_that() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = self_signed(folder.path(), &["localhost".to_string()]).unwrap();
        let tls = Tls::load(&cert, &key).unwrap();
        let [cheap, long, soft] = [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        let old = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
        assert_eq!(negotiated(&tls, &[long, soft, cheap]), cheap);
        for only in [long, soft, old] {
            assert_eq!(negotiated(&tls, &[only]), only);
        }
    }
}
