use crate::{Mutator, Target};
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Inputs of each target in an ordinary run, and the time after which it is enough.
const SMOKE: (u64, Duration) = (10_000, Duration::from_secs(2));
/// The same under `RINGPOST_SOAK`.
const SOAK: (u64, Duration) = (5_000_000, Duration::from_secs(600));
/// An input that takes longer than this is taken for one that never ends; time in which the process stands still is none.
const HANG: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What one input may make a target allocate at once; more is a length from the wire that was believed.
const ALLOCATED_BYTES: usize = 64 * 1024 * 1024;

/// How a run is done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Mutated inputs of each target, beside the corpus itself.
    pub iterations: u64,
    /// When this long has passed, a target has had enough of them.
    pub limit: Duration,
    /// The mutator's seed.
    pub seed: u64,
    /// The one target to run; all when it is None.
    pub only: Option<String>,
}

impl Settings {
    /// From `RINGPOST_FUZZ_ITERATIONS` (without a limit of time then), `RINGPOST_FUZZ_SEED`, `RINGPOST_FUZZ_TARGET` and
    /// `RINGPOST_SOAK`.
    pub fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
        let soak = std::env::var_os("RINGPOST_SOAK").is_some();
        let usual = if soak { SOAK } else { SMOKE };
        let asked = number("RINGPOST_FUZZ_ITERATIONS");
        Settings {
            iterations: asked.unwrap_or(usual.0),
            limit: asked.map_or(usual.1, |_| Duration::MAX),
            seed: number("RINGPOST_FUZZ_SEED").unwrap_or(1),
            only: std::env::var("RINGPOST_FUZZ_TARGET").ok(),
        }
    }
}

/// An input that broke a target.
#[derive(Debug)]
pub struct Failure {
    /// The target's name.
    pub target: &'static str,
    /// Where the input was written.
    pub input: PathBuf,
    /// What went wrong.
    pub reason: String,
}

/// Runs targets and keeps the inputs that broke one.
pub struct Runner {
    settings: Settings,
    failures: PathBuf,
    /// The bytes that were allocated at the most since it was last called, where the caller can tell.
    peak_bytes: fn() -> usize,
}

/// The input that is being tried, for the watchdog.
type Current = Mutex<Option<(Instant, Vec<u8>)>>;

impl Runner {
    /// A runner that writes inputs that fail into the folder `failures`. `peak_bytes` tells the most that was allocated
    /// since its last call.
    pub fn new(settings: Settings, failures: PathBuf, peak_bytes: fn() -> usize) -> Self {
        Runner {
            settings,
            failures,
            peak_bytes,
        }
    }

    /// Runs the corpus of a target as it is, then mutations of it. Stops at the first failure.
    pub fn run(&self, target: &Target, corpus: &[Vec<u8>]) -> Result<(), Failure> {
        if self
            .settings
            .only
            .as_ref()
            .is_some_and(|only| only != target.name)
        {
            return Ok(());
        }
        let (current, done) = (Current::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| self.watch(target, &current, &done));
            let result = self.try_all(target, corpus, &current);
            done.store(true, Ordering::Release);
            result
        })
    }

    fn try_all(&self, target: &Target, corpus: &[Vec<u8>], current: &Current) -> Result<(), Failure> {
        for input in corpus {
            self.try_one(target, input, current)?;
        }
        let mut mutator = Mutator::new(corpus, target.dictionary, self.settings.seed);
        let started = Instant::now();
        for _ in 0..self.settings.iterations {
            if started.elapsed() >= self.settings.limit {
                break;
            }
            self.try_one(target, &mutator.next_input(), current)?;
        }
        Ok(())
    }

    fn try_one(&self, target: &Target, input: &[u8], current: &Current) -> Result<(), Failure> {
        *current.lock().expect("nothing panics while it is held") = Some((Instant::now(), input.to_vec()));
        (self.peak_bytes)();
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        let peak_bytes = (self.peak_bytes)();
        *current.lock().expect("nothing panics while it is held") = None;
        let reason = match ended {
            Err(payload) => panic_text(&*payload),
            Ok(()) if peak_bytes > ALLOCATED_BYTES => {
                format!("{} bytes of input took {peak_bytes} bytes", input.len())
            }
            Ok(()) => return Ok(()),
        };
        Err(Failure {
            target: target.name,
            input: self.keep(target, input),
            reason,
        })
    }

    /// Ends the process, with the input kept, when one runs for ever.
    fn watch(&self, target: &Target, current: &Current, done: &AtomicBool) {
        let (mut of, mut looks) = (None, 0);
        while !done.load(Ordering::Acquire) {
            std::thread::sleep(LOOK);
            let held = current.lock().expect("nothing panics while it is held");
            let Some((since, input)) = held.as_ref() else {
                continue;
            };
            looks = if of == Some(*since) { looks + 1 } else { 0 };
            of = Some(*since);
            if LOOK * looks > HANG {
                let path = self.keep(target, input);
                eprintln!("{}: {HANG:?} and no end: {}", target.name, path.display());
                std::process::abort();
            }
        }
    }

    fn keep(&self, target: &Target, input: &[u8]) -> PathBuf {
        let path = self
            .failures
            .join(format!("{}-{:016x}", target.name, fingerprint(input)));
        if let Err(error) = fs::create_dir_all(&self.failures).and_then(|()| fs::write(&path, input)) {
            eprintln!(
                "cannot write {}: {error}; the input was {input:?}",
                path.display()
            );
        }
        path
    }
}

/// The inputs in `corpus/<target>` below the folder of this crate, by name.
pub fn corpus_of(folder: &Path, target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder.join(target))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// FNV-1a: a name for a file, no more.
fn fingerprint(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string()))
        .unwrap_or_else(|| "panicked".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(run: fn(&[u8]), peak_bytes: fn() -> usize) -> Result<(), Failure> {
        let settings = Settings {
            iterations: 500,
            limit: Duration::MAX,
            seed: 1,
            only: None,
        };
        let folder = std::env::temp_dir().join(format!("ringpost-fuzz-{}", std::process::id()));
        let target = Target {
            name: "self",
            run,
            dictionary: &[b"magic"],
        };
        Runner::new(settings, folder, peak_bytes).run(&target, &[b"0123456789".to_vec()])
    }

    #[test]
    fn an_input_that_panics_is_found_and_kept() {
        let failure = run(
            |data| assert!(!data.windows(5).any(|word| word == b"magic"), "found it"),
            || 0,
        );
        let failure = failure.expect_err("the dictionary leads to it");
        assert_eq!(failure.reason, "found it");
        let kept = fs::read(&failure.input).expect("the input was written");
        assert!(kept.windows(5).any(|word| word == b"magic"));
    }

    #[test]
    fn an_input_that_makes_a_target_allocate_without_measure_is_a_failure() {
        assert!(run(|_| (), || ALLOCATED_BYTES + 1).is_err());
        assert!(run(|_| (), || 0).is_ok());
    }
}
