//! How long the writer holds a transaction open for more batches: a rule that knows nothing but when they came.
//!
//! Whoever was answered comes again a moment later: the first of them would have a sync for itself, and all others would
//! wait for that one. So the writer waits for as many as came together last, and now and then for some more, less often each
//! time that they do not come. Who writes alone waits for nobody: that there are others is shown only by batches that come
//! while a commit is under way.

use ringpost_base::Instant;
use std::time::Duration;

/// The longest time that a batch is held back for others; and after which it is if there are enough.
const LIMIT: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_millis(5);
/// A sync for so many is nearly none for each.
const ENOUGH: usize = 16;
/// Where fewer are to be expected meanwhile, nobody is held back but for as long as a sync takes.
const SEVERAL: u32 = 8;
/// Others are expected to come within so many times the mean time between two.
const PATIENCE: u32 = 16;
/// After so many transactions at most in which all have come, more are waited for once.
const RARELY: u32 = 256;
/// The weight of one more time between two in the mean of them is one to so many.
const MEMORY: u32 = 32;

/// What is known of those who commit. Its owner calls [`came`](Gathering::came) for each batch, [`open`](Gathering::open)
/// with the first of a transaction, asks [`wait`](Gathering::wait) until that is `None`, and tells how it
/// [committed](Gathering::committed).
#[derive(Clone, Debug)]
pub(crate) struct Gathering {
    /// As many as are thought to come together.
    expected: usize,
    /// As many as were, when more are waited for once.
    tries_from: Option<usize>,
    /// Transactions in which all have come, since that was tried; and after how many it is tried again.
    full: u32,
    try_after: u32,
    /// How long the last commit took.
    commit: Duration,
    /// The mean time between two batches.
    gap: Duration,
    last_came: Instant,
    opened: Instant,
    committed: Instant,
}

/// What the writer waits for: so many batches more, or this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    pub(crate) more: usize,
    pub(crate) until: Instant,
}

impl Default for Gathering {
    fn default() -> Self {
        Gathering {
            expected: 1,
            tries_from: None,
            full: 0,
            try_after: 1,
            commit: Duration::ZERO,
            gap: LIMIT,
            last_came: Instant::ZERO,
            opened: Instant::ZERO,
            committed: Instant::ZERO,
        }
    }
}

impl Gathering {
    /// A batch was brought at this time.
    pub(crate) fn came(&mut self, at: Instant) {
        // Those who wait for a commit do not come while it lasts, nor while it waits for others.
        let before = match at < self.committed {
            true => self.last_came,
            false => self.last_came.max(self.committed),
        };
        let gap = at.since(before).min(LIMIT);
        self.gap = (self.gap * (MEMORY - 1) + gap) / MEMORY;
        self.last_came = self.last_came.max(at);
    }

    /// A transaction begins, with a first batch.
    pub(crate) fn open(&mut self, now: Instant) {
        self.opened = now;
        if now.since(self.committed) > LIMIT {
            // Those who come together come sooner.
            self.expected = 1;
            self.tries_from = None;
        }
    }

    /// What a transaction of so many batches waits for; `None` when it is to be committed.
    pub(crate) fn wait(&self, batches: usize, now: Instant) -> Option<Wait> {
        let (limit, patience) = self.bounds();
        let soon = self.opened + SOON;
        let until = (self.opened + limit).min(self.last_came() + patience);
        let more = self.expected.saturating_sub(batches);
        let (more, until) = match now < soon {
            true => (more, until.min(soon)),
            false => (more.min(ENOUGH.saturating_sub(batches)), until),
        };
        (more > 0 && now < until).then_some(Wait { more, until })
    }

    /// When the last batch of this transaction was at hand.
    fn last_came(&self) -> Instant {
        self.last_came.max(self.opened)
    }

    /// How long a transaction is held open, and how long for each batch more. What is saved is a sync, so about as much time
    /// may be lost; and more than that where a sync is short, if several come meanwhile, since it is not only time that a
    /// commit costs.
    fn bounds(&self) -> (Duration, Duration) {
        let limit = self.commit.min(LIMIT);
        match self.gap * SEVERAL <= LIMIT {
            true => (LIMIT, (self.gap * PATIENCE).max(limit / 4)),
            false => (limit, limit / 4),
        }
    }

    /// A transaction of so many batches was committed, which began at this time, and so many have come meanwhile.
    pub(crate) fn committed(&mut self, batches: usize, began: Instant, now: Instant, waiting: usize) {
        let came = batches + waiting;
        if let Some(before) = self.tries_from.take() {
            if came > before {
                self.try_after = 1;
            } else {
                self.try_after = RARELY.min(self.try_after * 2);
                self.expected = before;
            }
        }
        let was_full = batches >= self.expected;
        self.expected = match self.expected {
            // Nobody else is there, or hardly anybody.
            expected if came == 1 => (expected / 4).max(1),
            // They were still coming.
            expected if !was_full && began.since(self.last_came()) < self.bounds().1 => expected.max(came),
            // Somebody stays away: perhaps for good, perhaps only this time.
            expected if came < expected => came.midpoint(expected),
            _ => came,
        };
        if came < self.expected {
            // It is another crowd than the one that was tried.
            self.try_after = self.try_after.div_ceil(2);
        }
        self.full = if was_full { self.full + 1 } else { 0 };
        if came > 1 && self.full >= self.try_after {
            self.full = 0;
            self.tries_from = Some(self.expected);
            self.expected += self.expected / 2 + 1;
        }
        self.commit = now.since(began);
        self.committed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_base::Rng;
    use std::collections::BTreeSet;

    const US: Duration = Duration::from_micros(1);
    const MS: Duration = Duration::from_millis(1);
    const FAST: Duration = Duration::from_micros(200);
    const SLOW: Duration = Duration::from_millis(7);

    /// How often a processor goes away to work for others.
    const TURN: Duration = Duration::from_millis(9);

    /// Who brings batches.
    enum Load {
        /// So many at a time, each of whom comes again so long after it was answered, about.
        Closed { members: u64, think: Duration },
        /// The same, who have one processor between them that works so long for each, and is away for so much of [`TURN`].
        Busy {
            members: u64,
            work: Duration,
            away: Duration,
        },
        /// So many a second, whenever they like.
        Open { per_s: u64 },
        /// So many at once, so often.
        Bursts { members: u64, every: Duration },
    }

    #[derive(Default, Debug)]
    struct Run {
        batches: u64,
        commits: u64,
        /// Transactions that were held open though nobody came.
        vain: u64,
        longest: Duration,
        took: Duration,
    }

    impl Run {
        fn group(&self) -> f64 {
            self.batches as f64 / self.commits as f64
        }

        fn per_s(&self) -> f64 {
            self.batches as f64 / self.took.as_secs_f64()
        }
    }

    /// A writer and those who come to it, in virtual time.
    struct World {
        rng: Rng,
        commit: Duration,
        gathering: Gathering,
        /// When somebody comes, and who.
        coming: BTreeSet<(Instant, u64)>,
        now: Instant,
        processor_free: Instant,
    }

    impl World {
        fn new(commit: Duration) -> Self {
            World {
                rng: Rng::from_number(7),
                commit,
                gathering: Gathering::default(),
                coming: BTreeSet::new(),
                now: Instant::ZERO + Duration::from_secs(1),
                processor_free: Instant::ZERO,
            }
        }

        /// A time with this mean, as chance has it.
        fn chance(&mut self, mean: Duration) -> Duration {
            mean.mul_f64(-(1.0 - self.rng.unit()).ln())
        }

        fn comes_again(&mut self, load: &Load, who: u64) {
            let at = match load {
                Load::Closed { think, .. } => self.now + self.chance(*think),
                Load::Busy { work, away, .. } => {
                    self.processor_free = self.processor_free.max(self.now) + self.chance(*work);
                    let into = self.processor_free.as_nanos() % TURN.as_nanos() as u64;
                    self.processor_free += away.saturating_sub(Duration::from_nanos(into));
                    self.processor_free
                }
                Load::Open { .. } | Load::Bursts { .. } => return,
            };
            self.coming.insert((at, who));
        }

        fn run(&mut self, load: &Load, time: Duration) -> Run {
            let (start, end) = (self.now, self.now + time);
            self.coming.clear();
            match load {
                Load::Closed { members, .. } | Load::Busy { members, .. } => {
                    (0..*members).for_each(|who| self.comes_again(load, who));
                }
                Load::Open { per_s } => {
                    let mut at = start;
                    for who in 0.. {
                        at += self.chance(Duration::from_secs(1) / *per_s as u32);
                        if at >= end {
                            break;
                        }
                        self.coming.insert((at, who));
                    }
                }
                Load::Bursts { members, every } => {
                    for n in 0..time.div_duration_f64(*every) as u64 {
                        let at = start + *every * n as u32;
                        self.coming
                            .extend((0..*members).map(|who| (at, n * members + who)));
                    }
                }
            }
            let mut run = Run::default();
            while let Some((first, _)) = self.coming.first().copied().filter(|(at, _)| *at < end) {
                self.now = self.now.max(first);
                self.gathering.open(self.now);
                let mut group = Vec::new();
                let mut waited = false;
                loop {
                    while let Some((at, who)) = self.coming.first().copied().filter(|(at, _)| *at <= self.now)
                    {
                        self.coming.pop_first();
                        self.gathering.came(at);
                        group.push((at, who));
                    }
                    let Some(wait) = self.gathering.wait(group.len(), self.now) else {
                        break;
                    };
                    waited = true;
                    let full = self.coming.iter().nth(wait.more - 1).map(|(at, _)| *at);
                    self.now = full.map_or(wait.until, |full| full.min(wait.until));
                }
                let began = self.now;
                self.now += self.commit;
                let waiting = self.coming.iter().take_while(|(at, _)| *at <= self.now).count();
                self.gathering.committed(group.len(), began, self.now, waiting);
                run.commits += 1;
                run.batches += group.len() as u64;
                run.vain += u64::from(waited && group.len() == 1);
                for (at, who) in group {
                    run.longest = run.longest.max(self.now.since(at));
                    self.comes_again(load, who);
                }
            }
            run.took = self.now.since(start);
            run
        }
    }

    fn run(commit: Duration, load: &Load) -> Run {
        let mut world = World::new(commit);
        // It settles first.
        world.run(load, Duration::from_millis(500));
        world.run(load, Duration::from_secs(3))
    }

    #[test]
    fn who_writes_alone_waits_for_nobody() {
        for commit in [FAST, SLOW] {
            for think in [50 * US, MS, 50 * MS] {
                let alone = run(commit, &Load::Closed { members: 1, think });
                assert_eq!((alone.vain, alone.longest), (0, commit), "{think:?}");
            }
        }
    }

    #[test]
    fn eight_who_come_again_at_once_share_each_sync_and_lose_no_time() {
        for (commit, think) in [(FAST, 300 * US), (FAST, MS), (SLOW, 300 * US), (SLOW, MS)] {
            let eight = run(commit, &Load::Closed { members: 8, think });
            assert!(eight.group() > 7.5, "{commit:?} {think:?}: {eight:?}");
        }
        // On one processor they lose what a commit takes, and no more.
        let busy = run(
            FAST,
            &Load::Busy {
                members: 8,
                work: 100 * US,
                away: Duration::ZERO,
            },
        );
        assert!(busy.group() > 7.5 && busy.per_s() > 7_000.0, "{busy:?}");
    }

    #[test]
    fn many_senders_share_a_sync_whatever_the_disk_and_whoever_else_has_the_processor() {
        for commit in [50 * US, FAST, MS, SLOW] {
            for (work, away) in [
                (200, 0),
                (200, 6),
                (500, 0),
                (500, 3),
                (500, 6),
                (1_000, 0),
                (1_000, 3),
            ] {
                let many = Load::Busy {
                    members: 64,
                    work: work * US,
                    away: away * MS,
                };
                let most = (1.0 - f64::from(away) / 9.0) * 1e6 / f64::from(work);
                let many = run(commit, &many);
                assert!(
                    many.per_s() > 0.7 * most,
                    "the processor works meanwhile: {many:?}"
                );
                assert!(many.group() > 8.0, "{commit:?} {work} {away}: {many:?}");
            }
            let idle = run(
                commit,
                &Load::Closed {
                    members: 64,
                    think: 2 * MS,
                },
            );
            assert!(idle.group() > 30.0, "{commit:?}: {idle:?}");
        }
    }

    #[test]
    fn who_comes_by_chance_waits_where_several_come_and_never_long() {
        for per_s in [10, 50, 100, 200] {
            let few = run(FAST, &Load::Open { per_s });
            assert!(few.longest < MS, "{per_s}: {few:?}");
        }
        for (per_s, group) in [(1_000, 2.0), (2_000, 5.0), (5_000, 20.0)] {
            let some = run(FAST, &Load::Open { per_s });
            assert!(some.group() > group, "{per_s}: {some:?}");
            assert!(some.longest < LIMIT + 4 * FAST, "{per_s}: {some:?}");
        }
        for per_s in [10, 50, 200, 1_000, 5_000] {
            let slow = run(SLOW, &Load::Open { per_s });
            assert!(slow.longest <= 2 * SLOW + LIMIT, "{per_s}: {slow:?}");
        }
    }

    #[test]
    fn a_burst_shares_a_sync_and_whoever_comes_after_it_alone_waits_for_nobody() {
        for commit in [FAST, SLOW] {
            let mut world = World::new(commit);
            let bursts = Load::Bursts {
                members: 40,
                every: 100 * MS,
            };
            let bursts = world.run(&bursts, Duration::from_secs(2));
            assert!(bursts.group() > 39.0, "{bursts:?}");
            assert_eq!(bursts.longest, commit, "they have waited for nobody: {bursts:?}");
            let many = Load::Closed {
                members: 64,
                think: 300 * US,
            };
            world.run(&many, Duration::from_secs(1));
            let one = Load::Closed {
                members: 1,
                think: 300 * US,
            };
            let one = world.run(&one, Duration::from_secs(1));
            assert!(one.vain <= 3, "{one:?}");
        }
    }
}
