use crate::server::{COMMAND_PATH, PARCEL_PATH};
use crate::{Answer, BoxFuture, Command, Control, Parcel, Pieces, Refusal, RefusalKind};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The longest answer that is read: a list of a hundred thousand accounts fits.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Asks a running server through its socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of the server behind the socket at `path`, or None when no server listens there.
    ///
    /// # Errors
    /// When a server may be there and the socket cannot be opened: another user's, mostly.
    pub async fn connect(path: &Path) -> io::Result<Option<Client>> {
        match UnixStream::connect(path).await {
            Ok(_) => Ok(Some(Client {
                path: path.to_path_buf(),
            })),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, command: &Command) -> Result<Answer, AskError> {
        let body = Full::new(Bytes::from(serde_json::to_vec(command)?));
        self.post(COMMAND_PATH, "application/json", body).await
    }

    /// What a connection carries lives as long as the process that serves it, and what is brought does not: it goes over in
    /// pieces, each when the one before has been taken.
    async fn carry(&self, parcel: &Parcel, mut bytes: Pieces<'_>) -> Result<(), AskError> {
        let (give, mut take) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(1);
        let head = futures_util::stream::iter([Ok(parcel.head()?)]);
        let pieces = head.chain(futures_util::stream::poll_fn(move |context| {
            take.poll_recv(context)
        }));
        let body = StreamBody::new(Box::pin(pieces.map_ok(Frame::data)));
        let feed = async move {
            while let Some(piece) = bytes.next().await {
                // A server that has heard enough answers now.
                if give.send(piece).await.is_err() {
                    break;
                }
            }
        };
        let post = self.post(PARCEL_PATH, "application/octet-stream", body);
        let (answer, ()) = futures_util::future::join(post, feed).await;
        answer.map(drop)
    }

    async fn post<B>(&self, path: &str, kind: &str, body: B) -> Result<Answer, AskError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static,
    {
        let stream = UnixStream::connect(&self.path).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::post(path)
            .header("host", "ringpost")
            .header("content-type", kind)
            .body(body)?;
        let response = sender.send_request(request).await?;
        let succeeded = response.status().is_success();
        let body = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(AskError::Body)?;
        connection.abort();
        let body = body.to_bytes();
        if succeeded {
            Ok(serde_json::from_slice(&body)?)
        } else {
            Err(AskError::Refused(serde_json::from_slice(&body)?))
        }
    }

    fn refusal(&self, error: AskError) -> Refusal {
        match error {
            AskError::Refused(refusal) => refusal,
            other => Refusal::new(
                RefusalKind::Unavailable,
                format!(
                    "the server behind {} does not answer: {other}",
                    self.path.display()
                ),
            ),
        }
    }
}

impl Control for Client {
    fn handle(&self, command: Command) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move { self.ask(&command).await.map_err(|error| self.refusal(error)) })
    }

    fn bring<'a>(&'a self, parcel: Parcel, bytes: Pieces<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let carried = self.carry(&parcel, bytes).await;
            carried.map_err(|error| self.refusal(error))
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error("not our JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve_control;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use tokio::sync::oneshot;

    struct OneDomain;

    impl Control for OneDomain {
        fn handle(&self, command: Command) -> BoxFuture<'_, Result<Answer, Refusal>> {
            Box::pin(async move {
                match command {
                    Command::DomainList => Ok(Answer::Domains(vec!["example.org".into()])),
                    _ => Err(Refusal::not_found("there is no such account")),
                }
            })
        }

        fn bring<'a>(&'a self, parcel: Parcel, bytes: Pieces<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
            Box::pin(async move {
                let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
                match bytes.concat() == MESSAGE {
                    true if parcel.mailbox == "INBOX" => Ok(()),
                    true => Err(Refusal::not_found("there is no such mailbox")),
                    false => Err(Refusal::invalid("that is another message")),
                }
            })
        }
    }

    /// More than any buffer on the way takes at once.
    const MESSAGE: &[u8] = &[b'x'; 3_000_000];

    #[tokio::test]
    async fn a_command_reaches_the_server_and_its_refusal_comes_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        assert!(
            Client::connect(&path).await.unwrap().is_none(),
            "nobody listens yet"
        );
        std::fs::write(&path, "left by a dead server").unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stop_future = async move { drop(stopped.await) };
        let server = tokio::spawn(serve_control(&path, Arc::new(OneDomain), stop_future).unwrap());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let client = Client::connect(&path).await.unwrap().expect("a server listens");
        assert_eq!(
            client.handle(Command::DomainList).await,
            Ok(Answer::Domains(vec!["example.org".into()]))
        );
        let refused = client
            .handle(Command::AccountRemove {
                address: "x@y".into(),
            })
            .await
            .unwrap_err();
        assert_eq!(refused, Refusal::not_found("there is no such account"));

        let mut parcel = Parcel {
            address: "x@y".into(),
            mailbox: "INBOX".into(),
            messages: vec![crate::BroughtMessage {
                size_bytes: MESSAGE.len() as u64,
                received_s: 1,
                flags: Vec::new(),
            }],
        };
        let pieces = || -> Pieces<'static> {
            let pieces = MESSAGE.chunks(100_000).map(|piece| Ok(Bytes::from_static(piece)));
            Box::pin(futures_util::stream::iter(pieces))
        };
        assert_eq!(client.bring(parcel.clone(), pieces()).await, Ok(()));
        parcel.mailbox = "Elsewhere".into();
        let refused = client.bring(parcel, pieces()).await.unwrap_err();
        assert_eq!(refused, Refusal::not_found("there is no such mailbox"));

        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(!path.exists(), "a server that ends takes its socket away");
        let gone = client.handle(Command::DomainList).await.unwrap_err();
        assert_eq!(gone.kind, RefusalKind::Unavailable);
    }

    #[tokio::test]
    async fn a_socket_whose_server_was_killed_counts_as_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(Client::connect(&path).await.unwrap().is_none());
    }
}
