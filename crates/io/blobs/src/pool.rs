use async_channel::Sender;
use ringpost_base::limits;
use ringpost_store::StoreError;
use std::io;
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that may block, and a bounded queue before them.
pub(crate) struct Pool {
    jobs: Sender<Job>,
    handles: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (jobs, waiting) = async_channel::bounded::<Job>(limits::STORE_QUEUE);
        let mut pool = Pool {
            jobs,
            handles: Vec::new(),
        };
        for _ in 0..threads {
            let waiting = waiting.clone();
            let work = move || {
                while let Ok(job) = waiting.recv_blocking() {
                    job();
                }
            };
            pool.handles
                .push(thread::Builder::new().name("blobs".into()).spawn(work)?);
        }
        Ok(pool)
    }

    /// What `work` gave, from one of the threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = async_channel::bounded(1);
        let job: Job = Box::new(move || {
            // Whoever asked may be gone.
            let _ = answer.try_send(work());
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.recv().await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs.close();
        for handle in self.handles.drain(..) {
            // The last job may hold the last reference to the pool, and so be on the thread that would be waited for.
            if handle.thread().id() != thread::current().id() {
                let _ = handle.join();
            }
        }
    }
}
