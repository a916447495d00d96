//! HTTPS for instant-acme: one connection a request, by `net`, bounded in time and size.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use ringpost_base::limits;
use ringpost_net::dns::Resolver;
use ringpost_net::https::{Bounds, Request, exchange};
use ringpost_net::tls::Authorities;
use ringpost_sip::locate::{Answer, Question};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How to reach an authority. A clone remembers the same.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) authorities: Authorities,
    asked: Arc<Mutex<Option<Duration>>>,
}

impl Transport {
    pub(crate) fn new(resolver: Arc<Resolver>, authorities: Authorities) -> Self {
        Transport {
            resolver,
            authorities,
            asked: Arc::default(),
        }
    }

    /// How long the authority has asked to wait when it refused something, since this was asked last.
    pub(crate) fn take_asked(&self) -> Option<Duration> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, String> {
        let (mut head, body) = request.into_parts();
        let address = head.uri.clone();
        //= https://www.rfc-editor.org/rfc/rfc8555#section-6.1
        if address.scheme_str() != Some("https") {
            return Err(format!(
                "{address}: expected an address that begins with https://"
            ));
        }
        let host = address
            .host()
            .ok_or_else(|| format!("{address}: expected a host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = address.port_u16().unwrap_or(443);
        let path = address.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse().map_err(|e| format!("{address}: {e}"))?;
        let body = body.collect().await.map(|body| body.to_bytes());
        let body = body.unwrap_or_else(|impossible| match impossible {});
        let bounds = Bounds {
            time: REQUEST_TIMEOUT,
            body_bytes: limits::ACME_ANSWER_BYTES,
        };
        let addresses = self.addresses(host).await?;
        let request = Request::from_parts(head, body);
        let answer = exchange(host, port, &addresses, request, bounds, &self.authorities)
            .await
            .map_err(|e| e.to_string())?;
        let (head, body) = answer.into_parts();
        if let StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE = head.status {
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = retry_after(&head.headers);
        }
        //= https://www.rfc-editor.org/rfc/rfc8555#section-6.7
        let is_problem = kind(&head.headers) == "application/problem+json";
        if (head.status.is_client_error() || head.status.is_server_error()) && !is_problem {
            return Err(format!(
                "https://{host} answered {}, and does not say why",
                head.status
            ));
        }
        Ok(BytesResponse::from(hyper::Response::from_parts(
            head,
            Full::new(body),
        )))
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        match self.resolver.look_up(Question::Addresses(host.to_owned())).await {
            Some(Answer::Addresses(addresses)) if !addresses.is_empty() => Ok(addresses),
            Some(_) => Err(format!("{host}: the DNS knows no address of it")),
            None => Err(format!("{host}: the DNS does not answer")),
        }
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let transport = self.clone();
        Box::pin(async move {
            let answer = transport.exchange(request).await;
            answer.map_err(|why| Error::Other(why.into()))
        })
    }
}

fn kind(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// As seconds; an authority that says a date is asked again at our own pace.
//= https://www.rfc-editor.org/rfc/rfc8555#section-6.6
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_net::stream::{ConnectionLimits, Places, Service, Stream, serve};
    use ringpost_net::tls::{Tls, self_signed};

    /// A server at `ca.test` that answers everything so.
    async fn asked(answer: &'static str, address: &str) -> (Transport, Result<(u16, Bytes), String>) {
        let folder = tempfile::tempdir().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let (cert, key) = self_signed(folder.path(), &names).unwrap();
        let tls = Tls::load(&cert, &key).unwrap();
        let authorities = Authorities::load(Some(&cert)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
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
            assert!(asked.starts_with(b"GET /dir?x=1 HTTP/1.1\r\n"), "{asked:?}");
            stream.send(answer.as_bytes()).await.unwrap();
            stream.close().await;
        }));
        let transport = Transport::new(Resolver::new(Vec::new(), None), authorities);
        let address = address.replace("PORT", &port.to_string());
        let request = Request::get(address).body(BodyWrapper::default()).unwrap();
        let answered = match transport.clone().exchange(request).await {
            Ok(mut answer) => {
                let body = answer.body.into_bytes().await.unwrap();
                Ok((answer.parts.status.as_u16(), body))
            }
            Err(error) => Err(error),
        };
        (transport, answered)
    }

    #[tokio::test]
    async fn an_answer_is_passed_on_and_one_that_says_nothing_is_told() {
        let here = "https://127.0.0.1:PORT/dir?x=1";
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(asked(good, here).await.1, Ok((200, "{}".into())));
        let limited = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 77\r\nContent-Length: 2\r\n\
             Content-Type: application/problem+json; charset=utf-8\r\n\r\n{}";
        let (transport, answered) = asked(limited, here).await;
        assert_eq!(answered, Ok((429, "{}".into())));
        assert_eq!(transport.take_asked(), Some(Duration::from_secs(77)));
        assert_eq!(transport.take_asked(), None);
        let mute = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx";
        let told = asked(mute, here).await.1.unwrap_err();
        assert_eq!(
            told,
            "https://127.0.0.1 answered 502 Bad Gateway, and does not say why"
        );
        let told = asked(good, "http://127.0.0.1:PORT/dir?x=1").await.1.unwrap_err();
        assert!(
            told.contains("expected an address that begins with https://"),
            "{told}"
        );
    }
}
