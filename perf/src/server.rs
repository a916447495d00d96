//! What the servers that are compared have in common.

use crate::{Child, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The folder of the peers' scripts.
pub fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// CPU seconds so far of all processes of these trees (`1,2,…`), ended ones included, and the memory (PSS) of those that live,
/// in KiB.
pub fn used(pids: &str) -> Result<(f64, f64)> {
    let script = peers().join("lib/cpu.py");
    let told = Child::output("python3", [script.as_os_str(), pids.as_ref()])?;
    let mut numbers = told.split_whitespace().map_while(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(cpu_s), Some(pss_kib)) => Ok((cpu_s, pss_kib)),
        _ => Err(format!("cpu.py said {told:?}").into()),
    }
}

/// The server of this build, unless another is named by `RINGPOST_BIN`.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("RINGPOST_BIN") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?.with_file_name("ringpost");
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!("{} is not built, and RINGPOST_BIN is not set", beside.display()).into()),
    }
}

/// Waits until something is so, for a minute at most.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > START_LIMIT {
            return Err(format!("{what}: not within {START_LIMIT:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Lets this process and what it starts open so many files, if it may.
pub fn allow_files(count: libc::rlim_t) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a whole structure that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    limit.rlim_cur = limit.rlim_max.min(count).max(limit.rlim_cur);
    // SAFETY: as above.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}
