//! `cargo xtask test`: everything that is checked, shortened to what two cores do in well under 40 minutes.

use crate::build::{self, Tests};
use crate::report::{Outcome, Report};
use crate::{packages, run, tidy};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// What the demo's own part may take.
const DEMO_LIMIT: Duration = Duration::from_secs(60);

/// The packages (by folder) that have a step of their own; all others are unit tests.
const SIMULATION: &str = "sim";
const FUZZ: &str = "fuzz";
const INTEROP: &str = "interop";

/// Runs the steps. True when none failed.
pub(crate) fn run(only: &[String]) -> bool {
    let mut report = Report::new(only);
    report.step("format", || plain("format", &["fmt", "--all", "--", "--check"]));
    report.step("clippy", || {
        plain(
            "clippy",
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        )
    });
    report.step("tidy", tidy::step);
    let mut tests = Tests::default();
    let users = ["unit", "simulation", "fuzz", "interop"];
    report.step_for("build", &users, || build::step(&[], 30 * MINUTE, &mut tests));
    report.step("unit", || tests.run("unit", is_unit, |_| (), 10 * MINUTE));
    report.step("simulation", || {
        tests.run("simulation", |package| package == SIMULATION, |_| (), 15 * MINUTE)
    });
    report.step("fuzz", || {
        tests.run("fuzz", |package| package == FUZZ, |_| (), 5 * MINUTE)
    });
    report.step("doc", || {
        run::step(
            "doc",
            &mut crate::cargo(&["test", "--workspace", "--doc"]),
            15 * MINUTE,
            run::test_summary,
        )
    });
    report.step_for("release", &["interop", "demo"], || {
        plain("release", &["build", "--release"])
    });
    report.step_for("packages", &["interop"], || packages::ensure(packages::CLIENTS));
    report.step("interop", || {
        // Most of the time they wait, for calls and streams to pass.
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let binary = |command: &mut Command| {
            command
                .env("RINGPOST_BIN", released())
                .env("RUST_TEST_THREADS", (cores + cores / 2).to_string());
        };
        tests.run("interop", |package| package == INTEROP, binary, 25 * MINUTE)
    });
    report.step("demo", demo);
    report.close()
}

fn is_unit(package: &str) -> bool {
    ![SIMULATION, FUZZ, INTEROP].contains(&package)
}

/// A step that is one call of cargo.
fn plain(name: &str, arguments: &[&str]) -> Outcome {
    run::step(name, &mut crate::cargo(arguments), 30 * MINUTE, |_| String::new())
}

/// The binary that users get.
pub(crate) fn released() -> PathBuf {
    crate::root().join("target/release/ringpost")
}

fn demo() -> Outcome {
    run::step(
        "demo",
        Command::new(released()).args(["demo", "--exit"]),
        DEMO_LIMIT,
        |_| String::new(),
    )
}
