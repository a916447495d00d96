//! The project's own tasks: `cargo xtask test`, `cargo xtask soak` and `cargo xtask tidy`.
//!
//! `test` is what continuous integration runs and nothing else; `soak` runs the same things with the full numbers, and
//! the comparisons with other servers; `tidy` holds the rules of the house that the compiler cannot.

mod build;
mod packages;
mod report;
mod run;
mod soak;
mod test;
mod tidy;

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask test [STEP]...   everything, shortened: what continuous integration runs
       cargo xtask soak [STEP]...   the full numbers, and the comparisons with other servers
       cargo xtask tidy             the rules of the house: edges, licences, sizes, docs, fuzz targets, links
Steps are named by the first word of their line; without any, all run.";

fn main() -> ExitCode {
    match dispatch() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next();
    let steps: Vec<String> = arguments.collect();
    match task.as_deref() {
        Some("test") => Ok(test::run(&steps)),
        Some("soak") => Ok(soak::run(&steps)),
        Some("tidy") if steps.is_empty() => tidy::run(),
        _ => bail!("{USAGE}"),
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace's folder")
        .to_path_buf()
}

/// The cargo that runs this task, to be run again with `arguments`.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Whether a missing client of the interoperability tests is a failure.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}
