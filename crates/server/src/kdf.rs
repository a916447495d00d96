//! The slots in which passwords are stretched: a thread a core, and a bounded queue before them.

use ringpost_directory::{Busy, Cost, Job, Kdf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Jobs that wait for a slot; more are told to come back. At some 20 ms a job on two cores the last one waits 0.7 s.
const WAITING_JOBS: usize = 64;

/// As many slots as cores, so that a storm of logins leaves the calls their turn and the memory its bounds.
pub(crate) struct Slots {
    jobs: SyncSender<Job>,
}

impl Slots {
    /// Starts the threads. They end when this is dropped and the queue is empty.
    pub(crate) fn start() -> std::io::Result<Slots> {
        let (jobs, queue) = sync_channel(WAITING_JOBS);
        let queue = Arc::new(Mutex::new(queue));
        let slots = std::thread::available_parallelism().map_or(1, usize::from);
        for slot in 0..slots {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("password-{slot}"))
                .spawn(move || work(&queue))?;
        }
        Ok(Slots { jobs })
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // One thread waits in the queue, the others for it: the lock is let go before the job runs.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

impl Kdf for Slots {
    fn cost(&self) -> Cost {
        Cost::DEFAULT
    }

    fn run(&self, job: Job) -> Result<(), Busy> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Busy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn jobs_run_beside_each_other_and_a_full_queue_says_so() {
        let slots = Slots::start().unwrap();
        let (gate, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (done, results) = channel();
        let mut accepted = 0;
        let refused = loop {
            let (held, done) = (held.clone(), done.clone());
            let job: Job = Box::new(move || {
                let _ = held.lock().unwrap().recv();
                done.send(()).unwrap();
            });
            match slots.run(job) {
                Ok(()) => accepted += 1,
                Err(busy) => break busy,
            }
        };
        assert_eq!(refused, Busy);
        assert!(accepted >= WAITING_JOBS, "{accepted}");
        drop(gate);
        drop(done);
        assert_eq!(results.iter().count(), accepted);
    }
}
