//! Feeds every parser and every machine with what no well-behaved peer would send.
//!
//! A target is a plain function over bytes that panics when an invariant breaks; the crates export theirs from a module
//! `fuzz`, and [`TARGETS`] lists them all. [`Mutator`] makes inputs out of a target's corpus (`corpus/<target>/`) and
//! dictionary, from a seed, so that a run can be repeated; [`Runner`] runs them, and keeps what broke something.
//!
//! `cargo test -p ringpost-fuzz` runs ten thousand inputs of each target, or two seconds of them, on any toolchain. To look further:
//!
//! ```text
//! RINGPOST_FUZZ_ITERATIONS=1000000 RINGPOST_FUZZ_SEED=7 RINGPOST_FUZZ_TARGET=sip cargo test --release -p ringpost-fuzz
//! ```
//!
//! An input that failed lies in `fuzz/failures/`; moved into the target's corpus it is a test from then on.
//! There is no coverage feedback in here: a libFuzzer wrapper would call the same functions.

mod dictionary;
mod mutate;
mod runner;
mod targets;

pub use mutate::Mutator;
pub use runner::{Failure, Runner, Settings, corpus_of};
pub use targets::{TARGETS, Target};
