use crate::engine::{Engine, Outcome};
use crate::reader::Reader;
use async_channel::Sender;
use ringpost_store::{Batch, CommitError, StoreError};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

/// The store without threads of its own: everything happens while somebody polls.
pub(crate) struct Inline {
    writer: Mutex<Writer>,
    reader: Mutex<Reader>,
}

struct Writer {
    engine: Engine,
    waiting: Vec<(Batch, Answer)>,
}

type Answer = Sender<Result<Outcome, CommitError>>;

impl Inline {
    pub(crate) fn new(engine: Engine, reader: Reader) -> Self {
        Inline {
            writer: Mutex::new(Writer {
                engine,
                waiting: Vec::new(),
            }),
            reader: Mutex::new(reader),
        }
    }

    /// Steps aside once after queueing, so that others who are ready join the group; whoever comes back first runs it.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Outcome, CommitError> {
        let (answer, outcome) = async_channel::bounded(1);
        self.with_writer(|writer| writer.waiting.push((batch, answer)));
        step_aside().await;
        self.with_writer(Writer::run);
        outcome.recv().await.unwrap_or(Err(CommitError::Closed))
    }

    pub(crate) fn read<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        question(&self.reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_writer(&self, f: impl FnOnce(&mut Writer)) {
        f(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Writer {
    fn run(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (group, answers): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        for (answer, outcome) in answers.into_iter().zip(self.engine.run(&group)) {
            // Whoever asked may be gone.
            let _ = answer.try_send(outcome);
        }
    }
}

/// Lets every other task that is ready go first.
async fn step_aside() {
    let mut aside = false;
    std::future::poll_fn(|context| {
        if aside {
            return Poll::Ready(());
        }
        aside = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
