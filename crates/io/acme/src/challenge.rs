//! What proves to an authority that a name leads to us: answers over HTTP, and certificates for TLS-ALPN.

use crate::order::ChallengeKind;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use ringpost_base::limits;
use ringpost_net::stream::{Places, serve_sockets};
use ringpost_net::tls::HANDSHAKE_TIMEOUT;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

/// Where an authority looks for the answer to a token.
//= https://www.rfc-editor.org/rfc/rfc8555#section-8.3
const PATH: &str = "/.well-known/acme-challenge/";
/// The protocol of the handshakes in which a certificate is the answer.
//= https://www.rfc-editor.org/rfc/rfc8737#section-4
const PROTOCOL: &[u8] = b"acme-tls/1";
/// How long a request over HTTP may take from its connection to its answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The challenges that are under way. A clone knows the same.
#[derive(Clone, Default)]
pub struct Challenges(Arc<Mutex<Answers>>);

/// Few at a time: one for each name of an order of our own.
#[derive(Default)]
struct Answers {
    /// Key authorizations, by token.
    http: HashMap<String, String>,
    /// Certificates, by name.
    tls: HashMap<String, Arc<CertifiedKey>>,
}

/// A challenge that is answered until this is dropped.
pub(crate) struct Offer {
    challenges: Challenges,
    kind: ChallengeKind,
    key: String,
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut answers = self.challenges.lock();
        match self.kind {
            ChallengeKind::Http01 => drop(answers.http.remove(&self.key)),
            ChallengeKind::TlsAlpn01 => drop(answers.tls.remove(&self.key)),
        }
    }
}

impl Challenges {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a token by HTTP.
    pub(crate) fn offer_http(&self, token: &str, key_authorization: &str) -> Offer {
        let mut answers = self.lock();
        answers
            .http
            .insert(token.to_owned(), key_authorization.to_owned());
        self.offered(ChallengeKind::Http01, token.to_owned())
    }

    /// Shows a certificate for a name, with this digest of the key authorization.
    pub(crate) fn offer_tls(&self, name: &str, digest: &[u8]) -> Result<Offer, String> {
        let name = name.to_ascii_lowercase();
        let certificate = proof(&name, digest)?;
        self.lock().tls.insert(name.clone(), Arc::new(certificate));
        Ok(self.offered(ChallengeKind::TlsAlpn01, name))
    }

    fn offered(&self, kind: ChallengeKind, key: String) -> Offer {
        Offer {
            challenges: self.clone(),
            kind,
            key,
        }
    }

    /// Answers challenges of a kind on a listener, in the connections' places, until it is dropped. Nothing else is served
    /// there: other requests get 404, other handshakes an alert.
    pub async fn serve(self, kind: ChallengeKind, listener: TcpListener, places: Arc<Places>) {
        match kind {
            ChallengeKind::Http01 => {
                serve_sockets(listener, places, move |socket| http(socket, self.clone())).await;
            }
            ChallengeKind::TlsAlpn01 => {
                let acceptor = TlsAcceptor::from(Arc::new(self.tls_config()));
                serve_sockets(listener, places, move |socket| tls(socket, acceptor.clone())).await;
            }
        }
    }

    fn tls_config(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's own versions are safe")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let token = request.uri().path().strip_prefix(PATH);
        let found = token.and_then(|token| self.lock().http.get(token).cloned());
        let (status, text) = match (request.method(), found) {
            (&Method::GET | &Method::HEAD, Some(key_authorization)) => (StatusCode::OK, key_authorization),
            _ => (StatusCode::NOT_FOUND, String::new()),
        };
        if status == StatusCode::OK {
            info!("an authority asks for the answer to its challenge, by HTTP");
        }
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.lock();
        f.debug_struct("Challenges")
            .field("http", &answers.http.len())
            .field("tls", &answers.tls.len())
            .finish()
    }
}

impl ResolvesServerCert for Challenges {
    //= https://www.rfc-editor.org/rfc/rfc8737#section-3
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        let speaks_acme = hello.alpn()?.any(|protocol| protocol == PROTOCOL);
        let found = self.lock().tls.get(&name).cloned();
        let found = found.filter(|_| speaks_acme);
        if found.is_some() {
            info!(%name, "an authority asks for the answer to its challenge, by TLS-ALPN");
        }
        found
    }
}

/// The certificate that proves a name.
//= https://www.rfc-editor.org/rfc/rfc8737#section-3
fn proof(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    if digest.len() != 32 {
        return Err(format!(
            "expected a digest of 32 bytes, and it has {}",
            digest.len()
        ));
    }
    let mut params = CertificateParams::new([name.to_owned()]).map_err(|e| e.to_string())?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(|e| e.to_string())?;
    let certificate = params.self_signed(&key).map_err(|e| e.to_string())?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let private = provider
        .key_provider
        .load_private_key(private)
        .map_err(|e| e.to_string())?;
    // Not held to be a certificate for anything else: its extension is critical and known to nobody.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], private))
}

async fn http(socket: TcpStream, challenges: Challenges) {
    let service = service_fn(|request| {
        let response = challenges.answer(&request);
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(limits::ACME_REQUEST_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    // Whoever breaks off or takes too long goes without.
    let _ = tokio::time::timeout(REQUEST_LIMIT, connection).await;
}

async fn tls(socket: TcpStream, acceptor: TlsAcceptor) {
    let handshake = async {
        match acceptor.accept(socket).await {
            // The handshake was all.
            Ok(mut stream) => drop(stream.shutdown().await),
            Err(error) => debug!(%error, "no handshake of an authority"),
        }
    };
    let _ = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_net::stream::ConnectionLimits;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
    use std::net::SocketAddr;
    use tokio::io::AsyncReadExt;
    use tokio_rustls::TlsConnector;

    async fn serve(challenges: &Challenges, kind: ChallengeKind) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Places::new(ConnectionLimits::default());
        tokio::spawn(challenges.clone().serve(kind, listener, places));
        address
    }

    async fn typed(address: SocketAddr, text: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_answered_over_http_while_it_is_offered_and_nothing_else_is() {
        let challenges = Challenges::default();
        let address = serve(&challenges, ChallengeKind::Http01).await;
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: one.test\r\n\r\n");
        let path = "/.well-known/acme-challenge/token-1";
        let offer = challenges.offer_http("token-1", "token-1.thumb");
        let answer = typed(address, &get(path)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("\r\ncontent-type: application/octet-stream\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\ntoken-1.thumb"), "{answer}");
        for other in [
            "/",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/token-2",
            "/.well-known/acme-challenge/../acme-challenge/token-1",
            "/x/.well-known/acme-challenge/token-1",
        ] {
            let answer = typed(address, &get(other)).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{other}: {answer}");
        }
        let post = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert!(typed(address, &post).await.starts_with("HTTP/1.1 404 "));
        let long = get(&"x".repeat(2 * limits::ACME_REQUEST_BYTES));
        assert!(!typed(address, &long).await.contains(" 200 "));
        assert!(
            typed(address, "\0\u{1}nonsense\r\n\r\n")
                .await
                .starts_with("HTTP/1.1 400 ")
        );
        drop(offer);
        assert!(typed(address, &get(path)).await.starts_with("HTTP/1.1 404 "));
    }

    /// No check of who it is.
    #[derive(Debug)]
    struct Anybody;

    impl ServerCertVerifier for Anybody {
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
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    /// The certificate that is shown to a client that asks for this name and speaks these protocols.
    async fn shown(address: SocketAddr, name: &str, protocols: &[&[u8]]) -> Option<CertificateDer<'static>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .ok()?;
        let connection = stream.get_ref().1;
        assert_eq!(connection.alpn_protocol(), Some(PROTOCOL));
        Some(connection.peer_certificates()?.first()?.clone())
    }

    #[tokio::test]
    async fn a_name_is_proven_in_a_handshake_of_its_own_protocol_alone() {
        let challenges = Challenges::default();
        let address = serve(&challenges, ChallengeKind::TlsAlpn01).await;
        let digest = [7; 32];
        let offer = challenges.offer_tls("One.test", &digest).unwrap();
        let certificate = shown(address, "one.test", &[PROTOCOL])
            .await
            .expect("it is offered");
        assert!(certificate.windows(8).any(|part| part == b"one.test"));
        // id-pe-acmeIdentifier, critical, and an OCTET STRING in the extension's.
        let mut extension = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 1, 1, 0xff, 4, 34, 4, 32];
        extension.extend(digest);
        assert!(certificate.windows(extension.len()).any(|part| part == extension));
        assert!(shown(address, "two.test", &[PROTOCOL]).await.is_none());
        assert!(shown(address, "one.test", &[b"h2"]).await.is_none());
        assert!(shown(address, "one.test", &[]).await.is_none());
        drop(offer);
        assert!(shown(address, "one.test", &[PROTOCOL]).await.is_none());
        assert!(challenges.offer_tls("one.test", &[7; 20]).is_err());
    }
}
