use crate::server::COMMAND_PATH;
use crate::{Answer, BoxFuture, Command, Control, Refusal, RefusalKind};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
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
        let stream = UnixStream::connect(&self.path).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::post(COMMAND_PATH)
            .header("host", "ringpost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(command)?)))?;
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
}

impl Control for Client {
    fn handle(&self, command: Command) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            self.ask(&command).await.map_err(|error| match error {
                AskError::Refused(refusal) => refusal,
                other => Refusal::new(
                    RefusalKind::Unavailable,
                    format!(
                        "the server behind {} does not answer: {other}",
                        self.path.display()
                    ),
                ),
            })
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
    }

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
