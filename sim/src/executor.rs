//! A seeded, single-threaded executor with virtual time: what the node's tasks run on in the simulator.

use futures_util::future::BoxFuture;
use futures_util::task::{ArcWake, waker};
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_node::world::World;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// What the calendar shows when a simulation starts: 2026-01-01T00:00:00Z.
const CALENDAR_START_S: u64 = 1_767_225_600;

/// The simulated world: a clock that jumps, timers, and tasks that run one at a time in the order they became ready.
pub struct SimWorld(Mutex<State>);

struct State {
    now: Instant,
    rng: Rng,
    timers: BTreeMap<(Instant, u64), Waker>,
    timer_number: u64,
    tasks: BTreeMap<u64, BoxFuture<'static, ()>>,
    task_number: u64,
    ready: Arc<Ready>,
}

#[derive(Default)]
struct Ready(Mutex<VecDeque<u64>>);

impl Ready {
    fn push(&self, task: u64) {
        let mut queue = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if !queue.contains(&task) {
            queue.push_back(task);
        }
    }

    fn pop(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).pop_front()
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl ArcWake for TaskWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        this.ready.push(this.task);
    }
}

impl SimWorld {
    /// A world at time zero.
    pub fn new(rng: Rng) -> Arc<Self> {
        Arc::new(SimWorld(Mutex::new(State {
            now: Instant::ZERO,
            rng,
            timers: BTreeMap::new(),
            timer_number: 0,
            tasks: BTreeMap::new(),
            task_number: 0,
            ready: Arc::default(),
        })))
    }

    /// Runs every task that can go on, until all of them wait.
    pub fn run_ready(&self) {
        loop {
            let (number, mut task, ready) = {
                let mut state = self.state();
                let Some(number) = state.ready.pop() else { return };
                let Some(task) = state.tasks.remove(&number) else {
                    continue;
                };
                (number, task, state.ready.clone())
            };
            let waker = waker(Arc::new(TaskWaker { task: number, ready }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.state().tasks.insert(number, task);
            }
        }
    }

    /// When the next sleeping task wakes.
    pub fn next_timer(&self) -> Option<Instant> {
        self.state().timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves the clock to `to` and wakes what slept until then. The clock never goes back.
    pub fn advance(&self, to: Instant) {
        let due: Vec<Waker> = {
            let mut state = self.state();
            let now = state.now.max(to);
            state.now = now;
            let later = state.timers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.timers, later)
                .into_values()
                .collect()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Runs a future to its end, with all tasks beside it, and without time passing.
    ///
    /// # Panics
    /// When it waits for time to pass, or for something that no task does.
    pub fn finish<T: Send + 'static>(
        self: &Arc<Self>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let result = Arc::new(Mutex::new(None));
        let slot = result.clone();
        WorldHandle(self.clone()).spawn(Box::pin(async move {
            let done = future.await;
            *slot.lock().unwrap_or_else(|e| e.into_inner()) = Some(done);
        }));
        self.run_ready();
        let done = result.lock().unwrap_or_else(|e| e.into_inner()).take();
        done.expect("a future that waits for nothing but the tasks")
    }

    /// Stops every task where it stands, as a crash does.
    pub fn kill_tasks(&self) {
        let tasks = {
            let mut state = self.state();
            state.timers.clear();
            std::mem::take(&mut state.tasks)
        };
        // Dropped without the lock: a sleep takes itself off the list.
        drop(tasks);
    }

    /// How many tasks have not ended.
    pub fn task_count(&self) -> usize {
        self.state().tasks.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The handle by which the node holds the world.
pub struct WorldHandle(pub Arc<SimWorld>);

impl World for WorldHandle {
    fn now(&self) -> Instant {
        self.0.state().now
    }

    fn unix_now(&self) -> UnixTime {
        let now = self.0.state().now;
        UnixTime::from_nanos(CALENDAR_START_S * 1_000_000_000 + now.as_nanos())
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(Sleep {
            world: self.0.clone(),
            at,
            number: None,
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = self.0.state();
        state.task_number += 1;
        let number = state.task_number;
        state.tasks.insert(number, task);
        state.ready.push(number);
    }

    fn rng(&self) -> Rng {
        self.0.state().rng.fork()
    }
}

struct Sleep {
    world: Arc<SimWorld>,
    at: Instant,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.world.state();
        if state.now >= this.at {
            return Poll::Ready(());
        }
        let number = match this.number {
            Some(number) => number,
            None => {
                state.timer_number += 1;
                state.timer_number
            }
        };
        this.number = Some(number);
        state.timers.insert((this.at, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.world.state().timers.remove(&(self.at, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tasks_wake_in_the_order_of_their_deadlines() {
        let sim = SimWorld::new(Rng::from_number(1));
        let world = Arc::new(WorldHandle(sim.clone()));
        let log = Arc::new(Mutex::new(Vec::new()));
        for seconds in [3u64, 1, 2] {
            let (world2, log) = (world.clone(), log.clone());
            world.spawn(Box::pin(async move {
                world2
                    .sleep_until(Instant::ZERO + Duration::from_secs(seconds))
                    .await;
                log.lock()
                    .unwrap()
                    .push((seconds, world2.now().as_nanos() / 1_000_000_000));
            }));
        }
        sim.run_ready();
        while let Some(next) = sim.next_timer() {
            sim.advance(next);
            sim.run_ready();
        }
        assert_eq!(*log.lock().unwrap(), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(sim.task_count(), 0);
    }
}
