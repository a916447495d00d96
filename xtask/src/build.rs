//! Compiles every test of the workspace once, so that each step can run its own part of them without the features of
//! the dependencies (and with them half of the build) changing in between.

use crate::report::Outcome;
use crate::run::{self, Finished};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The test executables of the workspace.
#[derive(Default)]
pub(crate) struct Tests {
    executables: Vec<Executable>,
}

struct Executable {
    package: String,
    folder: PathBuf,
    path: PathBuf,
}

/// The lines of `cargo test --message-format=json` that are of use here.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the tests with the arguments of a profile (`--release`, or none) into `tests`.
pub(crate) fn step(profile: &[&str], limit: Duration, tests: &mut Tests) -> Outcome {
    let mut command = crate::cargo(&[
        "test",
        "--workspace",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    command.args(profile);
    match run::run("build", &mut command, limit) {
        Ok(finished) if finished.succeeded() => {
            tests.executables = executables(&finished.output);
            Outcome::Passed(format!("{} test executables", tests.executables.len()))
        }
        Ok(finished) => {
            let diagnostics: Vec<&str> = finished
                .output
                .lines()
                .filter(|line| !line.starts_with('{'))
                .collect();
            let output = diagnostics.join("\n");
            Outcome::Failed(Finished { output, ..finished }.show_failure())
        }
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

fn executables(output: &str) -> Vec<Executable> {
    let artifacts = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts
        .filter(|artifact| artifact.reason == "compiler-artifact")
        .filter(|artifact| artifact.profile.as_ref().is_some_and(|profile| profile.test))
        .filter_map(|artifact| {
            let folder = artifact.manifest_path?.parent()?.to_path_buf();
            let package = package_of(&folder);
            Some(Executable {
                package,
                folder,
                path: artifact.executable?,
            })
        })
        .collect()
}

/// A package is told by its folder: `sim`, `crates/base`.
fn package_of(folder: &Path) -> String {
    folder
        .strip_prefix(crate::root())
        .unwrap_or(folder)
        .to_string_lossy()
        .into_owned()
}

impl Tests {
    /// A step that runs the tests of the packages whose folders `chosen` accepts, each in its folder as cargo would.
    pub(crate) fn run(
        &self,
        name: &str,
        chosen: impl Fn(&str) -> bool,
        prepare: impl Fn(&mut Command),
        limit: Duration,
    ) -> Outcome {
        let (mut output, mut failures, mut ran) = (String::new(), Vec::new(), 0);
        for test in self.executables.iter().filter(|test| chosen(&test.package)) {
            ran += 1;
            let mut command = Command::new(&test.path);
            command
                .current_dir(&test.folder)
                .env("CARGO_MANIFEST_DIR", &test.folder);
            prepare(&mut command);
            let log = format!("{name}-{}", test.package.replace('/', "-"));
            match run::run(&log, &mut command, limit) {
                Ok(finished) if finished.succeeded() => output += &finished.output,
                Ok(finished) => failures.push(format!("{}: {}", test.package, finished.show_failure())),
                Err(error) => failures.push(format!("{}: {error:#}", test.package)),
            }
        }
        match (ran, failures.is_empty()) {
            (0, _) => Outcome::Failed("the tests were not built".into()),
            (_, true) => Outcome::Passed(run::test_summary(&output)),
            (_, false) => Outcome::Failed(failures.join("; ")),
        }
    }
}
