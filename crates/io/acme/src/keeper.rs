//! The task that has a certificate, and keeps having one.

use crate::challenge::Challenges;
use crate::folder::Folder;
use crate::order::{Client, Failure, Refused, Settings};
use crate::schedule::{Held, Need, back_off, needed};
use crate::transport::Transport;
use ringpost_base::{Rng, UnixTime};
use ringpost_net::dns::Resolver;
use ringpost_net::tls::{Authorities, Pair, Tls};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

/// How often the calendar is looked at, since it may jump.
const LOOK: Duration = Duration::from_secs(3_600);
/// How long all that is done at one time may take.
const LIMIT: Duration = Duration::from_secs(900);

/// What a [`Keeper`] is made of.
pub struct Parts {
    /// Where the certificate is shown.
    pub tls: Tls,
    /// Where it is kept.
    pub folder: Folder,
    /// Who says where the authority's server is.
    pub resolver: Arc<Resolver>,
    /// Who vouches for that server.
    pub authorities: Authorities,
    /// What is answered on the listener for challenges.
    pub challenges: Challenges,
    /// Whom to ask.
    pub settings: Settings,
    /// The names that the certificate is to be for; asked each time.
    pub names: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The calendar.
    pub now: fn() -> UnixTime,
    /// For pauses.
    pub rng: Rng,
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// When the certificate is renewed, if nothing is needed sooner.
    pub renewal: Option<UnixTime>,
    /// Why the last attempt failed; `None` when it succeeded.
    pub failure: Option<String>,
    /// When the next attempt is made, after a failure.
    pub retry: Option<UnixTime>,
    /// Names that the certificate lacks.
    pub lacking: Vec<String>,
}

/// Why a certificate that was asked for is not there.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Others have asked already.
    #[error("others wait for a new certificate already")]
    Busy,
    /// It is not to be had.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The server stops, or asks for no certificates any more.
    #[error("no certificates are asked for any more")]
    Ended,
}

/// What waits for one attempt.
type Reply = oneshot::Sender<Result<(), AskError>>;

/// A handle on the task. A clone is the same.
#[derive(Clone)]
pub struct Keeper {
    asks: mpsc::Sender<Reply>,
    shared: Arc<Shared>,
}

struct Shared {
    /// None while it rests.
    settings: Mutex<Option<Settings>>,
    changed: Notify,
    status: Mutex<Status>,
    issued: AtomicU64,
    failed: AtomicU64,
}

impl Keeper {
    /// The handle, and the task that is to be spawned; dropping it ends it.
    pub fn new(parts: Parts) -> (Keeper, impl Future<Output = ()> + Send + 'static) {
        let (asks, asked) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            settings: Mutex::new(Some(parts.settings)),
            changed: Notify::new(),
            status: Mutex::default(),
            issued: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let mut rng = parts.rng;
        let task = Task {
            client: Client {
                transport: Transport::new(parts.resolver, parts.authorities),
                folder: parts.folder,
                challenges: parts.challenges,
            },
            tls: parts.tls,
            names: parts.names,
            now: parts.now,
            jitter: rng.unit(),
            rng,
            shared: shared.clone(),
            held: None,
            failures: 0,
            retry: None,
        };
        (Keeper { asks, shared }, task.run(asked))
    }

    /// Goes by other settings from now on, and rests with none. What had failed is tried again at once.
    pub fn set(&self, settings: Option<Settings>) {
        *lock(&self.shared.settings) = settings;
        self.look_again();
    }

    /// The names may be others now.
    pub fn look_again(&self) {
        self.shared.changed.notify_one();
    }

    /// Asks for a new certificate now, and waits until it is shown or refused.
    ///
    /// # Errors
    /// When there is none for some of the names: those that remain may have one.
    pub async fn renew(&self) -> Result<(), AskError> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(reply).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Ended,
        })?;
        answer.await.unwrap_or(Err(AskError::Ended))
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// Certificates that were had since the start.
    pub fn issued(&self) -> u64 {
        self.shared.issued.load(Ordering::Relaxed)
    }

    /// Attempts that failed since the start.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Task {
    client: Client,
    tls: Tls,
    names: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    now: fn() -> UnixTime,
    jitter: f64,
    rng: Rng,
    shared: Arc<Shared>,
    held: Option<Held>,
    failures: u32,
    retry: Option<Instant>,
}

impl Task {
    async fn run(mut self, mut asked: mpsc::Receiver<Reply>) {
        let mut changed = true;
        loop {
            if std::mem::take(&mut changed) {
                self.hold();
            }
            let settings = lock(&self.shared.settings).clone();
            let (is_due, pause) = self.next(settings.as_ref());
            let shared = self.shared.clone();
            tokio::select! {
                () = tokio::time::sleep(pause) => {
                    if is_due && let Some(settings) = settings {
                        self.attempt(&settings, false).await.ok();
                    }
                }
                reply = asked.recv() => {
                    let Some(reply) = reply else { return };
                    let done = match settings {
                        Some(settings) => {
                            let done = self.attempt(&settings, true).await;
                            done.map_err(|failure| AskError::Failed(Box::new(failure)))
                        }
                        None => Err(AskError::Ended),
                    };
                    // Whoever asked may have gone.
                    let _ = reply.send(done);
                }
                () = shared.changed.notified() => {
                    (self.failures, self.retry) = (0, None);
                    changed = true;
                }
            }
        }
    }

    /// Takes over what is kept, and shows it if another one is shown. Only this task does, so that none is shown that it has
    /// replaced.
    fn hold(&mut self) {
        let kept = self.client.folder.load().unwrap_or_else(|error| {
            warn!(%error, "the certificate that was kept is of no use; asking for another");
            None
        });
        self.held = kept.as_ref().and_then(Pair::certificate).map(Held::from);
        if let Some(pair) = kept
            && lock(&self.shared.settings).is_some()
            && self.tls.certificate().as_deref() != pair.certificate()
        {
            self.tls.show(pair);
        }
    }

    /// Whether an attempt is due after a pause, and how long that is.
    fn next(&self, settings: Option<&Settings>) -> (bool, Duration) {
        let Some(settings) = settings else {
            *lock(&self.shared.status) = Status::default();
            return (false, LOOK);
        };
        let now = (self.now)();
        let need = self.need(settings, &self.wanted(), now);
        let pause = self.retry.map(|at| at.saturating_duration_since(Instant::now()));
        let mut status = lock(&self.shared.status);
        status.retry = pause.map(|pause| now + pause);
        status.lacking.clear();
        status.renewal = None;
        match need {
            Need::At(at) => {
                status.renewal = Some(at);
                (status.failure, status.retry) = (None, None);
                (false, at.since(now).min(LOOK))
            }
            Need::Names(names) => {
                status.lacking = names;
                (true, pause.unwrap_or_default())
            }
            Need::First | Need::Renewal => (true, pause.unwrap_or_default()),
        }
    }

    fn wanted(&self) -> Vec<String> {
        (self.names)()
    }

    fn need(&self, settings: &Settings, wanted: &[String], now: UnixTime) -> Need {
        // Another authority's is as good as none.
        let is_theirs = self.client.folder.directory().as_deref() == Some(&*settings.directory);
        let held = self.held.as_ref().filter(|_| is_theirs);
        needed(held, wanted, now, self.jitter)
    }

    /// Asks for a certificate, and says what came of it.
    async fn attempt(&mut self, settings: &Settings, is_asked: bool) -> Result<(), Failure> {
        let names = self.wanted();
        info!(names = %names.join(", "), directory = %settings.directory, "asking for a certificate");
        let done = match tokio::time::timeout(LIMIT, self.order(settings, names.clone(), is_asked)).await {
            Ok(done) => done,
            Err(_) => Err(Failure {
                directory: settings.directory.clone(),
                names,
                refused: Vec::new(),
                why: format!("it did not answer everything within {} s", LIMIT.as_secs()),
            }),
        };
        let asked = self.client.transport.take_asked();
        let mut failure = None;
        match &done {
            Ok(()) => (self.failures, self.retry) = (0, None),
            Err(error) => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                self.failures = self.failures.saturating_add(1);
                let pause = back_off(self.failures, asked, self.rng.unit());
                self.retry = Some(Instant::now() + pause);
                failure = Some(error.to_string());
                warn!(%error, again_s = pause.as_secs(), "no certificate; it is tried again");
            }
        }
        lock(&self.shared.status).failure = failure;
        done
    }

    /// Asks for a certificate for these names. Those that are refused keep nobody else from theirs: what remains is asked for
    /// again, if it needs one or somebody asked.
    async fn order(
        &mut self,
        settings: &Settings,
        mut names: Vec<String>,
        is_asked: bool,
    ) -> Result<(), Failure> {
        let mut failed: Option<Failure> = None;
        loop {
            let failure = match self.client.order(settings, &names).await {
                Ok(pair) => {
                    self.take(pair);
                    return failed.map_or(Ok(()), Err);
                }
                Err(failure) => failure,
            };
            let had = names.len();
            names = without(names, &failure.refused);
            let goes_on = names.len() < had
                && !names.is_empty()
                && (is_asked || !matches!(self.need(settings, &names, (self.now)()), Need::At(_)));
            let so_far = match failed {
                None => failure,
                Some(mut first) => {
                    first.refused.extend(failure.refused);
                    first.why = failure.why;
                    first
                }
            };
            if !goes_on {
                return Err(so_far);
            }
            failed = Some(so_far);
        }
    }

    fn take(&mut self, pair: Pair) {
        if let Some(certificate) = pair.certificate() {
            info!(
                serial = %certificate.serial,
                names = %certificate.names.join(", "),
                issuer = %certificate.issuer,
                until = %certificate.not_after,
                "a new certificate is shown"
            );
            self.held = Some(Held::from(certificate));
        }
        self.tls.show(pair);
        self.shared.issued.fetch_add(1, Ordering::Relaxed);
    }
}

fn without(names: Vec<String>, refused: &[Refused]) -> Vec<String> {
    let is_refused = |name: &String| refused.iter().any(|r| r.name.eq_ignore_ascii_case(name));
    names.into_iter().filter(|name| !is_refused(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::ChallengeKind;
    use ringpost_net::tls::self_signed;

    const DIRECTORY: &str = "https://127.0.0.1:1/dir";

    fn now() -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixTime::from_secs(since.unwrap().as_secs())
    }

    fn settings() -> Settings {
        Settings {
            directory: DIRECTORY.into(),
            contact: Vec::new(),
            challenge: ChallengeKind::Http01,
            external: None,
        }
    }

    fn parts(data: &std::path::Path) -> Parts {
        let (cert, key) = self_signed(data, &["one.test".to_owned()]).unwrap();
        Parts {
            tls: Tls::load(&cert, &key).unwrap(),
            folder: Folder::of(data),
            resolver: Resolver::new(Vec::new(), None),
            authorities: Authorities::load(Some(&cert)).unwrap(),
            challenges: Challenges::default(),
            settings: settings(),
            names: Arc::new(|| vec!["one.test".to_owned()]),
            now,
            rng: Rng::from_number(1),
        }
    }

    #[test]
    fn refused_names_are_left_out() {
        let names = || vec!["one.test".to_owned(), "two.test".to_owned()];
        let refused = |name: &str| Refused {
            name: name.into(),
            detail: String::new(),
        };
        assert_eq!(without(names(), &[refused("ONE.test")]), ["two.test"]);
        assert_eq!(without(names(), &[refused("x.test")]), names());
    }

    #[tokio::test]
    async fn a_failure_is_counted_told_and_tried_again_and_a_rest_asks_nobody() {
        let data = tempfile::tempdir().unwrap();
        let (keeper, task) = Keeper::new(parts(data.path()));
        let task = tokio::spawn(task);
        let told = keeper.renew().await.unwrap_err().to_string();
        assert!(
            told.starts_with(&format!("{DIRECTORY} gives no certificate for one.test: ")),
            "{told}"
        );
        assert!(told.contains("https://127.0.0.1"), "{told}");
        while keeper.status().retry.is_none() {
            tokio::task::yield_now().await;
        }
        let status = keeper.status();
        assert_eq!(status.failure.as_deref(), Some(&*told));
        assert!(status.retry > Some(now()) && status.renewal.is_none());
        // The first attempt was the task's own, unless it was asked before.
        assert!(keeper.failed() >= 1 && keeper.issued() == 0);
        keeper.set(None);
        while keeper.status() != Status::default() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(keeper.renew().await, Err(AskError::Ended)));
        task.abort();
        assert!(task.await.is_err());
        assert!(matches!(keeper.renew().await, Err(AskError::Ended)));
    }

    #[tokio::test]
    async fn what_was_kept_is_used_without_asking_anybody() {
        let data = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["one.test".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let kept = Folder::of(data.path()).keep(DIRECTORY, &chain, &key).unwrap();
        let parts = parts(data.path());
        let tls = parts.tls.clone();
        let (keeper, task) = Keeper::new(parts);
        let task = tokio::spawn(task);
        while keeper.status().renewal.is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!((keeper.failed(), keeper.status().failure), (0, None));
        assert_eq!(tls.certificate().as_deref(), kept.certificate());
        // While it rests, others may show theirs; then it shows its own again.
        keeper.set(None);
        while keeper.status() != Status::default() {
            tokio::task::yield_now().await;
        }
        let files = ["self-signed.crt", "self-signed.key"].map(|name| data.path().join(name));
        tls.reload(&files[0], &files[1]).unwrap();
        keeper.set(Some(settings()));
        while tls.certificate().as_deref() != kept.certificate() {
            tokio::task::yield_now().await;
        }
        // Another authority's is asked for anew.
        keeper.set(Some(Settings {
            directory: "https://127.0.0.1:2/dir".into(),
            ..settings()
        }));
        while keeper.failed() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(keeper.status().renewal.is_none());
        task.abort();
    }
}
