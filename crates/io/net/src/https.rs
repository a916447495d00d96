//! A small client of HTTPS: one request, one answer, bounded in time and size. Redirects are not followed.

use crate::tls::Authorities;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

pub use hyper::{Request, Response};

/// How long an address may take to answer before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses that are tried.
const ADDRESSES: usize = 4;

/// What an exchange may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long all of it may take.
    pub time: Duration,
    /// The longest body of an answer.
    pub body_bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("https://{host}: {why}")]
pub struct HttpsError {
    host: String,
    why: String,
}

/// Sends a request, whose URI is a path, to `host` at one of these addresses. The certificate must be for that name and
/// vouched for.
///
/// # Errors
/// When nobody answers, the certificate is not good, or a bound is reached. An answer that says that something is wrong is
/// an answer.
pub async fn exchange(
    host: &str,
    port: u16,
    addresses: &[IpAddr],
    request: Request<Bytes>,
    bounds: Bounds,
    authorities: &Authorities,
) -> Result<Response<Bytes>, HttpsError> {
    let failed = |why: String| HttpsError {
        host: host.to_owned(),
        why,
    };
    let done = tokio::time::timeout(
        bounds.time,
        exchange_now(host, port, addresses, request, bounds.body_bytes, authorities),
    );
    match done.await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(failed(format!("no answer within {} s", bounds.time.as_secs()))),
    }
}

async fn exchange_now(
    host: &str,
    port: u16,
    addresses: &[IpAddr],
    mut request: Request<Bytes>,
    body_bytes: usize,
    authorities: &Authorities,
) -> Result<Response<Bytes>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    let socket = connect(addresses, port).await?;
    let connector = authorities.mail_connector(&crate::tls::Proof::Name);
    let stream = connector.connect(name, socket).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let authority = match port {
        443 => host.to_owned(),
        port => format!("{host}:{port}"),
    };
    let authority = HeaderValue::try_from(authority).map_err(|e| e.to_string())?;
    request.headers_mut().insert(HOST, authority);
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    // The connection lives in a task that ends with what holds its other half.
    let driven = tokio::spawn(connection);
    let answer = async {
        let answer = sender.send_request(request.map(Full::new)).await;
        let (head, mut body) = answer.map_err(|e| e.to_string())?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| e.to_string())?;
            let data = frame.into_data().unwrap_or_default();
            if bytes.len() + data.len() > body_bytes {
                return Err(format!("the answer is longer than {body_bytes} bytes"));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Response::from_parts(head, bytes.freeze()))
    };
    let answer = answer.await;
    driven.abort();
    answer
}

async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, String> {
    let mut why = "it has no address".to_owned();
    for address in addresses.iter().take(ADDRESSES) {
        let address = SocketAddr::new(*address, port);
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(e)) => why = format!("{address}: {e}"),
            Err(_) => why = format!("{address}: no answer"),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{ConnectionLimits, Places, Service, Stream, serve};
    use crate::tls::{Tls, self_signed};
    use tokio::net::TcpListener;

    const BOUNDS: Bounds = Bounds {
        time: Duration::from_secs(20),
        body_bytes: 100,
    };

    async fn server(answer: &'static str) -> (SocketAddr, tempfile::TempDir, Authorities) {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = self_signed(folder.path(), &["policy.test".to_owned()]).unwrap();
        let (tls, authorities) = (
            Tls::load(&cert, &key).unwrap(),
            Authorities::load(Some(&cert)).unwrap(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Places::new(ConnectionLimits::default());
        let service = Service {
            listener,
            places,
            tls,
            implicit: true,
            full: "",
        };
        tokio::spawn(serve(service, move |mut stream: Stream| async move {
            let asked = stream.recv().await.unwrap();
            assert!(asked.starts_with(b"GET /x HTTP/1.1\r\n"), "{asked:?}");
            if !answer.is_empty() {
                stream.send(answer.as_bytes()).await.unwrap();
                stream.close().await;
            } else {
                let _ = stream.recv().await;
            }
        }));
        (address, folder, authorities)
    }

    async fn ask(host: &str, answer: &'static str, bounds: Bounds) -> Result<(u16, Bytes), HttpsError> {
        let (address, _folder, authorities) = server(answer).await;
        let request = Request::get("/x").body(Bytes::new()).unwrap();
        let addresses = [address.ip()];
        exchange(host, address.port(), &addresses, request, bounds, &authorities)
            .await
            .map(|response| (response.status().as_u16(), response.into_body()))
    }

    #[tokio::test]
    async fn an_answer_is_had_from_who_proves_its_name_within_its_bounds() {
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(
            ask("policy.test", good, BOUNDS).await.unwrap(),
            (200, "hello".into())
        );
        let moved = "HTTP/1.1 302 Found\r\nLocation: https://other.test/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ask("policy.test", moved, BOUNDS).await.unwrap().0, 302);
        let told = ask("other.test", good, BOUNDS).await.unwrap_err().to_string();
        assert!(
            told.starts_with("https://other.test: ") && told.contains("certificate"),
            "{told}"
        );
        let few = Bounds {
            body_bytes: 4,
            ..BOUNDS
        };
        let told = ask("policy.test", good, few).await.unwrap_err().to_string();
        assert!(told.contains("longer than 4 bytes"), "{told}");
        let short = Bounds {
            time: Duration::from_millis(200),
            ..BOUNDS
        };
        let told = ask("policy.test", "", short).await.unwrap_err().to_string();
        assert!(told.contains("no answer within"), "{told}");
    }
}
