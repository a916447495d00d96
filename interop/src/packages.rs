//! Libraries that others wrote, from PyPI and npm: brought once, into the build's folder.

use crate::{client, run, skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/interop")
        .join(name)
}

/// A folder to be put into `PYTHONPATH` with this package of PyPI in it, or says that its test is skipped.
///
/// # Panics
/// When `CI` is set and it cannot be had.
pub fn python_package(name: &str) -> Option<PathBuf> {
    let (python, target) = (client("python3")?, folder(&format!("python-{name}")));
    let mut install = Command::new(python);
    install
        .args(["-m", "pip", "install", "-q", "--target"])
        .arg(&target)
        .arg(name);
    brought(name, &target, &mut install)
}

/// A folder whose `node_modules` holds this package of npm, or says that its test is skipped.
///
/// # Panics
/// When `CI` is set and it cannot be had.
pub fn node_package(name: &str) -> Option<PathBuf> {
    client("node")?;
    let (npm, target) = (client("npm")?, folder(&format!("node-{name}")));
    let mut install = Command::new(npm);
    install
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(&target)
        .arg(name);
    brought(name, &target, &mut install)
}

fn brought(name: &str, target: &Path, install: &mut Command) -> Option<PathBuf> {
    let mark = target.join("brought");
    if mark.exists() {
        return Some(target.to_owned());
    }
    std::fs::create_dir_all(target).expect("the build's folder can be written");
    let finished = run(target, "install", install, LIMIT);
    if finished.succeeded() {
        std::fs::write(mark, "").expect("the build's folder can be written");
        return Some(target.to_owned());
    }
    skip(format_args!("{name} cannot be had: {}", finished.output));
    None
}
