use crate::answer::{Giver, answer};
use crate::engine::{Engine, Outcome};
use crate::gathering::{Gathering, Wait};
use crate::reader::Reader;
use crate::{OpenError, Options};
use async_channel::{Receiver, Sender};
use ringpost_base::{Instant, limits};
use ringpost_store::{Batch, CommitError, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::{self, JoinHandle, Thread};

/// The writer's thread and the readers', and the bounded queues before them.
pub(crate) struct Threads {
    door: Door,
    questions: Sender<Question>,
    handles: Vec<JoinHandle<()>>,
}

/// A batch, and where its outcome goes.
struct Work {
    batch: Batch,
    answer: Answer,
    came: Instant,
}

type Answer = Giver<Result<Outcome, CommitError>>;

type Question = Box<dyn FnOnce(&Reader) + Send>;

/// Batches of one transaction: what waits behind them is not kept waiting for too long, and memory stays bounded.
const GROUP_BATCHES: usize = 512;
/// Operations of one transaction, above which it takes no further batch.
const GROUP_OPERATIONS: usize = 20_000;

impl Threads {
    pub(crate) fn start(engine: Engine, options: &Options) -> Result<Self, OpenError> {
        let (work, waiting) = async_channel::bounded(limits::STORE_QUEUE);
        let (questions, asked) = async_channel::bounded::<Question>(limits::STORE_QUEUE);
        let (wanted, clock) = (
            Arc::new(AtomicUsize::new(usize::MAX)),
            Clock(std::time::Instant::now()),
        );
        let waiting = Waiting {
            work: waiting,
            wanted: wanted.clone(),
            clock,
        };
        let writer = spawn("store-write", move || write(engine, &waiting))?;
        let mut threads = Threads {
            door: Door {
                work,
                wanted,
                writer: writer.thread().clone(),
                clock,
            },
            questions,
            handles: vec![writer],
        };
        for _ in 0..options.readers.max(1) {
            let (reader, asked) = (Reader::open(options)?, asked.clone());
            threads.handles.push(spawn("store-read", move || {
                while let Ok(question) = asked.recv_blocking() {
                    question(&reader);
                }
            })?);
        }
        Ok(threads)
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Outcome, CommitError> {
        let (answer, outcome) = answer();
        self.door.bring(batch, answer).await?;
        outcome.await.unwrap_or(Err(CommitError::Closed))
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = answer();
        let question: Question = Box::new(move |reader| {
            if let Some(waits) = answer.give(question(reader)) {
                waits.wake();
            }
        });
        self.questions
            .send(question)
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = thread::Builder::new().name(name.into());
    thread.spawn(run).map_err(OpenError::Thread)
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.door.work.close();
        self.door.writer.unpark();
        self.questions.close();
        for handle in self.handles.drain(..) {
            // A thread that panicked has dropped its queue, and everybody who waited was told.
            let _ = handle.join();
        }
    }
}

/// Where batches come in, and what wakes the writer that waits for more of them.
struct Door {
    work: Sender<Work>,
    /// So many waiting batches wake it.
    wanted: Arc<AtomicUsize>,
    writer: Thread,
    clock: Clock,
}

impl Door {
    async fn bring(&self, batch: Batch, answer: Answer) -> Result<(), CommitError> {
        let came = self.clock.now();
        let work = Work { batch, answer, came };
        self.work.send(work).await.map_err(|_| CommitError::Closed)?;
        if self.work.len() >= self.wanted.load(Ordering::SeqCst) {
            self.writer.unpark();
        }
        Ok(())
    }
}

/// The writer's clock, which begins when its thread does.
#[derive(Clone, Copy)]
struct Clock(std::time::Instant);

impl Clock {
    fn now(self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }
}

/// Where the writer takes batches from.
struct Waiting {
    work: Receiver<Work>,
    wanted: Arc<AtomicUsize>,
    clock: Clock,
}

impl Waiting {
    /// Waits until so many batches are there, or something else happens, or it is this time.
    fn for_more(&self, wait: Wait) {
        self.wanted.store(wait.more, Ordering::SeqCst);
        // Whoever came before this was written is seen here, and whoever comes after it wakes us.
        if self.work.len() < wait.more && !self.work.is_closed() {
            thread::park_timeout(wait.until.since(self.clock.now()));
        }
        self.wanted.store(usize::MAX, Ordering::SeqCst);
    }
}

/// The writer: everything that waits goes into one transaction, and is answered when that is durable.
fn write(mut engine: Engine, waiting: &Waiting) {
    let mut gathering = Gathering::default();
    while let Ok(first) = waiting.work.recv_blocking() {
        gathering.open(waiting.clock.now());
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        let mut operations = 0;
        let mut next = Some(first);
        while group.len() < GROUP_BATCHES && operations < GROUP_OPERATIONS {
            let Some(work) = next.take().or_else(|| waiting.work.try_recv().ok()) else {
                match gathering.wait(group.len(), waiting.clock.now()) {
                    Some(wait) if !waiting.work.is_closed() => waiting.for_more(wait),
                    _ => break,
                }
                continue;
            };
            gathering.came(work.came);
            operations += work.batch.operations();
            group.push(work.batch);
            answers.push(work.answer);
        }
        let began = waiting.clock.now();
        let outcomes = engine.run(&group);
        gathering.committed(group.len(), began, waiting.clock.now(), waiting.work.len());
        // All have their answers before the first is woken.
        let answered = answers.into_iter().zip(outcomes);
        let waiting: Vec<Waker> = answered
            .filter_map(|(answer, outcome)| answer.give(outcome))
            .collect();
        waiting.into_iter().for_each(Waker::wake);
    }
}
