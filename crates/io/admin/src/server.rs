use crate::{Answer, Command, Control, Metrics, Parcel, Refusal, RefusalKind};
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State, rejection::JsonRejection};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// A command is a few names; what is longer gets 413.
const COMMAND_BYTES: usize = 64 * 1024;

/// Where a command is posted.
pub(crate) const COMMAND_PATH: &str = "/v1/command";
/// Where messages are posted.
pub(crate) const PARCEL_PATH: &str = "/v1/parcel";

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
        .route(PARCEL_PATH, post(parcel))
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

/// Messages are taken as their bytes come; nothing of them is gathered here.
async fn parcel(State(control): State<Arc<dyn Control>>, body: Body) -> Result<Response, Refused> {
    let pieces = body.into_data_stream().map_err(io::Error::other);
    let (parcel, bytes) = Parcel::read(Box::pin(pieces)).await.map_err(Refused)?;
    control.bring(parcel, bytes).await.map_err(Refused)?;
    Ok(Json(Answer::Done).into_response())
}

struct Refused(Refusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::Invalid => StatusCode::BAD_REQUEST,
            RefusalKind::OverQuota => StatusCode::INSUFFICIENT_STORAGE,
            RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

/// Scrapers at a time; one more is closed at once.
pub(crate) const SCRAPERS: usize = 16;
/// How long a scraper may take from its connection to its answer.
const SCRAPE_LIMIT: Duration = Duration::from_secs(10);

/// Serves `/metrics` on a listener until `stop` completes: to 16 scrapers at a time, each for 10 s at
/// most.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let serve = async {
        let places = Arc::new(Semaphore::new(SCRAPERS));
        loop {
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                // Out of files, mostly: asking again at once would only burn the processor.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                continue;
            };
            let metrics = metrics.clone();
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(|request| {
                    let response = scrape(&metrics, &request);
                    async { Ok::<_, std::convert::Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(socket), service);
                // Whoever breaks off or takes too long goes without.
                let _ = tokio::time::timeout(SCRAPE_LIMIT, connection).await;
            });
        }
    };
    tokio::select! {
        () = serve => {}
        () = stop => {}
    }
}

fn scrape<B>(metrics: &Metrics, request: &Request<B>) -> axum::http::Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, metrics.text()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = axum::http::Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
