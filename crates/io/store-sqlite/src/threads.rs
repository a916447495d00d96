use crate::engine::{Engine, Outcome};
use crate::reader::Reader;
use crate::{OpenError, Options};
use async_channel::{Receiver, Sender};
use ringpost_base::limits;
use ringpost_store::{Batch, CommitError, StoreError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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

/// How long the writer holds a transaction open for more batches. Whoever was answered comes again a moment later: the first
/// of them would have a sync for itself, and all others would wait for that one. Who writes alone waits for nobody.
#[derive(Clone, Copy, Default, Debug)]
struct Gathering {
    /// As many as have come together last: nobody else is expected.
    expected: usize,
    /// How long the last commit took.
    commit: Duration,
}

/// The longest time that a batch is held back for others, however slow the disk is.
const GATHERING_LIMIT: Duration = Duration::from_millis(10);
/// How often the queue is looked at meanwhile.
const GATHERING_STEP: Duration = Duration::from_micros(200);

impl Gathering {
    /// Whether a transaction of so many batches waits for another, open for so long, and without a new one for so long: as
    /// long as a sync takes, if they keep coming, since that is what is saved.
    fn goes_on(&self, batches: usize, open: Duration, idle: Duration) -> bool {
        let limit = self.commit.min(GATHERING_LIMIT);
        batches < self.expected && open < limit && idle < limit / 4
    }
}

/// The writer: everything that waits goes into one transaction, and is answered when that is durable.
fn write(mut engine: Engine, waiting: &Receiver<Work>) {
    let mut gathering = Gathering::default();
    while let Ok(first) = waiting.recv_blocking() {
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        let mut operations = 0;
        let opened = Instant::now();
        let mut last_came = opened;
        let mut next = Some(first);
        while let Some(Work { batch, answer }) = next {
            operations += batch.operations();
            group.push(batch);
            answers.push(answer);
            if group.len() >= GROUP_BATCHES || operations >= GROUP_OPERATIONS {
                break;
            }
            next = waiting.try_recv().ok();
            while next.is_none() && gathering.goes_on(group.len(), opened.elapsed(), last_came.elapsed()) {
                thread::sleep(GATHERING_STEP);
                next = waiting.try_recv().ok();
            }
            last_came = Instant::now();
        }
        let began = Instant::now();
        let outcomes = engine.run(&group);
        gathering = Gathering {
            expected: group.len() + waiting.len(),
            commit: began.elapsed(),
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever asked may be gone.
            let _ = answer.try_send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_writes_alone_waits_for_nobody() {
        assert!(!Gathering::default().goes_on(1, Duration::ZERO, Duration::ZERO));
        let alone = Gathering {
            expected: 1,
            commit: 8 * MS,
        };
        assert!(!alone.goes_on(1, Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn others_are_waited_for_while_they_keep_coming_and_no_longer_than_a_sync_takes() {
        let eight = Gathering {
            expected: 8,
            commit: 8 * MS,
        };
        assert!(eight.goes_on(1, MS, MS));
        assert!(!eight.goes_on(8, MS, MS), "all are here");
        assert!(!eight.goes_on(4, 8 * MS, MS), "a sync would be done by now");
        assert!(!eight.goes_on(4, 3 * MS, 2 * MS), "nobody comes any more");
        let slow = Gathering {
            expected: 8,
            commit: 1_000 * MS,
        };
        assert!(!slow.goes_on(2, 10 * MS, MS));
    }
}
