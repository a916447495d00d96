use crate::engine::{Engine, Outcome};
use crate::reader::Reader;
use crate::{OpenError, Options};
use async_channel::{Receiver, Sender};
use ringpost_base::limits;
use ringpost_store::{Batch, CommitError, StoreError};
use std::thread::{self, JoinHandle};

/// The writer's thread and the readers', and the bounded queues before them.
pub(crate) struct Threads {
    work: Sender<Work>,
    questions: Sender<Question>,
    handles: Vec<JoinHandle<()>>,
}

/// A batch, and where its outcome goes.
pub(crate) struct Work {
    pub(crate) batch: Batch,
    pub(crate) answer: Sender<Result<Outcome, CommitError>>,
}

type Question = Box<dyn FnOnce(&Reader) + Send>;

/// Batches of one transaction: what waits behind them is not kept waiting for too long, and memory stays bounded.
const GROUP_BATCHES: usize = 512;
/// Operations of one transaction, above which it takes no further batch.
const GROUP_OPERATIONS: usize = 20_000;

impl Threads {
    pub(crate) fn start(engine: Engine, options: &Options) -> Result<Self, OpenError> {
        let (work, waiting) = async_channel::bounded(limits::STORE_QUEUE);
        let (questions, asked) = async_channel::bounded::<Question>(limits::STORE_QUEUE);
        let mut threads = Threads {
            work,
            questions,
            handles: Vec::new(),
        };
        threads.spawn("store-write", move || write(engine, &waiting))?;
        for _ in 0..options.readers.max(1) {
            let (reader, asked) = (Reader::open(options)?, asked.clone());
            threads.spawn("store-read", move || {
                while let Ok(question) = asked.recv_blocking() {
                    question(&reader);
                }
            })?;
        }
        Ok(threads)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let handle = thread::Builder::new()
            .name(name.into())
            .spawn(run)
            .map_err(OpenError::Thread)?;
        self.handles.push(handle);
        Ok(())
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Outcome, CommitError> {
        let (answer, outcome) = async_channel::bounded(1);
        self.work
            .send(Work { batch, answer })
            .await
            .map_err(|_| CommitError::Closed)?;
        outcome.recv().await.unwrap_or(Err(CommitError::Closed))
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = async_channel::bounded(1);
        let question: Question = Box::new(move |reader| {
            // Whoever asked may be gone.
            let _ = answer.try_send(question(reader));
        });
        self.questions
            .send(question)
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.recv().await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.work.close();
        self.questions.close();
        for handle in self.handles.drain(..) {
            // A thread that panicked has dropped its queue, and everybody who waited was told.
            let _ = handle.join();
        }
    }
}

/// The writer: everything that waits goes into one transaction, and is answered when that is durable.
fn write(mut engine: Engine, waiting: &Receiver<Work>) {
    while let Ok(first) = waiting.recv_blocking() {
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        let mut operations = 0;
        let mut next = Some(first);
        while let Some(Work { batch, answer }) = next {
            operations += batch.operations();
            group.push(batch);
            answers.push(answer);
            let full = group.len() >= GROUP_BATCHES || operations >= GROUP_OPERATIONS;
            next = if full { None } else { waiting.try_recv().ok() };
        }
        for (answer, outcome) in answers.into_iter().zip(engine.run(&group)) {
            // Whoever asked may be gone.
            let _ = answer.try_send(outcome);
        }
    }
}
