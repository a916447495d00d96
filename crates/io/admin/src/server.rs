use crate::{Command, Control, Metrics, Refusal, RefusalKind};
use axum::extract::{DefaultBodyLimit, State, rejection::JsonRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};

/// A command is a few names; what is longer gets 413.
const COMMAND_BYTES: usize = 64 * 1024;

/// Where a command is posted.
pub(crate) const COMMAND_PATH: &str = "/v1/command";

/// Why the admin socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The Unix socket: its path is too long (some 100 bytes are allowed), or its folder cannot be written.
    #[error("cannot listen on {path}: {reason}")]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

/// Serves commands on a Unix socket at `path`, which only its owner can open, until `stop` completes.
///
/// A file that is there already is taken for what a dead server left: the caller holds the data folder's lock. Gives the
/// task that serves, to be spawned, once the socket listens.
pub fn serve_control(
    path: &Path,
    control: Arc<dyn Control>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<impl Future<Output = ()> + Send + 'static, AdminError> {
    let listener = listen(path).map_err(|reason| AdminError::Socket {
        path: path.to_path_buf(),
        reason,
    })?;
    let router = Router::new()
        .route(COMMAND_PATH, post(command))
        .layer(DefaultBodyLimit::max(COMMAND_BYTES))
        .with_state(control);
    let path = path.to_path_buf();
    Ok(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "the admin socket is gone");
        }
        let _ = std::fs::remove_file(path);
    })
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // The folder is its owner's alone already; this holds even where somebody opened the folder up.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn command(
    State(control): State<Arc<dyn Control>>,
    command: Result<Json<Command>, JsonRejection>,
) -> Result<Response, Refused> {
    let Json(command) = command.map_err(|rejection| {
        Refused(Refusal::invalid(match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                format!("a command has at most {COMMAND_BYTES} bytes: one of its names is too long")
            }
            _ => rejection.body_text(),
        }))
    })?;
    Ok(Json(control.handle(command).await.map_err(Refused)?).into_response())
}

struct Refused(Refusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::Invalid => StatusCode::BAD_REQUEST,
            RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

/// Serves `/metrics` on a listener until `stop` completes.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the metrics are gone");
    }
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        metrics.text(),
    )
}
