//! `cargo xtask soak`: the full numbers, for before a milestone is called done. It takes hours.
//!
//! Every suite reads `RINGPOST_SOAK=1` as "the numbers you promise, not the short ones".

use crate::build::{self, Tests};
use crate::packages;
use crate::report::Report;
use crate::run;
use crate::test::released;
use std::process::Command;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs the steps. True when none failed.
pub(crate) fn run(only: &[String]) -> bool {
    let mut report = Report::new(only);
    let mut tests = Tests::default();
    let comparisons = comparisons();
    let measured: Vec<&str> = comparisons.iter().map(String::as_str).chain(["perf"]).collect();
    let users = ["simulation", "stores", "fuzz", "interop"];
    report.step_for("build", &users, || build::step(&["--release"], HOUR, &mut tests));
    report.step("simulation", || {
        tests.run("simulation", |package| package == "sim", soaked, 6 * HOUR)
    });
    report.step("stores", || tests.run("stores", is_storage, soaked, 6 * HOUR));
    report.step("fuzz", || {
        tests.run("fuzz", |package| package == "fuzz", soaked, 6 * HOUR)
    });
    report.step_for("release", &[&measured[..], &["interop"]].concat(), || {
        run::step(
            "release",
            &mut crate::cargo(&["build", "--release"]),
            HOUR,
            |_| String::new(),
        )
    });
    report.step_for("packages", &["interop"], || packages::ensure(packages::CLIENTS));
    report.step("interop", || {
        let prepare = |command: &mut Command| {
            soaked(command);
            command.env("RINGPOST_BIN", released());
        };
        tests.run("interop", |package| package == "interop", prepare, 6 * HOUR)
    });
    report.step_for("peers", &measured, || packages::ensure(packages::PEERS));
    for name in &comparisons {
        report.step_for(name, &["perf"], || {
            let mut command =
                crate::cargo(&["run", "--release", "--package", "ringpost-perf", "--bin", name]);
            soaked(&mut command);
            command.env("RINGPOST_BIN", released());
            // The numbers are what it is run for.
            run::step(name, &mut command, 6 * HOUR, |output| format!("\n{output}"))
        });
    }
    report.close()
}

/// The comparisons with other servers: the binaries of `perf`.
fn comparisons() -> Vec<String> {
    let entries = std::fs::read_dir(crate::root().join("perf/src/bin"))
        .into_iter()
        .flatten();
    let stem = |entry: std::io::Result<std::fs::DirEntry>| {
        Some(entry.ok()?.path().file_stem()?.to_str()?.to_string())
    };
    let mut names: Vec<String> = entries.filter_map(stem).collect();
    names.sort();
    names
}

/// The store's engines, where the tests of power loss live too.
fn is_storage(package: &str) -> bool {
    [
        "crates/service/store",
        "crates/io/store-sqlite",
        "crates/io/blobs",
    ]
    .contains(&package)
}

fn soaked(command: &mut Command) {
    command.env("RINGPOST_SOAK", "1");
}
