//! A bounded run of every target.

use ringpost_fuzz::{Runner, Settings, TARGETS, corpus_of};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is allocated, so that a length which was believed shows.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static BASE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn peak_bytes() -> usize {
    let in_use = IN_USE.load(Ordering::Relaxed);
    let peak = PEAK.swap(in_use, Ordering::Relaxed);
    peak.saturating_sub(BASE.swap(in_use, Ordering::Relaxed))
}

/// One test, so that the targets run in turn and what each allocates can be told.
#[test]
fn no_target_breaks_at_any_input() {
    // What contains a decoder of others takes its panics; to walk the stack for each would count as memory that it took.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let runner = Runner::new(Settings::from_environment(), here.join("failures"), peak_bytes);
    let mut failures = Vec::new();
    for target in TARGETS {
        let corpus = corpus_of(&here.join("corpus"), target.name).unwrap_or_default();
        assert!(
            !corpus.is_empty(),
            "fuzz/corpus/{} has no inputs to start from",
            target.name
        );
        failures.extend(runner.run(target, &corpus).err());
    }
    for failure in &failures {
        eprintln!(
            "{}: {}: {}",
            failure.target,
            failure.input.display(),
            failure.reason
        );
    }
    assert!(
        failures.is_empty(),
        "{} targets broke; their inputs are kept, see above",
        failures.len()
    );
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(corpus).expect("the corpus exists") {
        let name = entry
            .expect("it can be listed")
            .file_name()
            .to_string_lossy()
            .into_owned();
        assert!(
            TARGETS.iter().any(|target| target.name == name),
            "fuzz/corpus/{name} is nobody's"
        );
    }
}
