//! The commands that keep a copy of everything.

use super::say;
use crate::backup;
use crate::config::Config;
use anyhow::{Result, bail};
use ringpost_base::UnixTime;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// `backup`
pub(crate) fn backup(config: Option<&Path>, to: &Path) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let config = Config::load(config)?;
    let (file, counted) = backup::backup(&config, to, UnixTime::from_secs(now.as_secs()))?;
    say(&format!(
        "backup\t{}\t{} files\t{} bytes\n",
        file.display(),
        counted.files,
        counted.bytes
    ))
}

/// `restore`
pub(crate) fn restore(config: Option<&Path>, from: &Path) -> Result<ExitCode> {
    let config = Config::load(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (counted, report) = runtime.block_on(backup::restore(&config, from))?;
    say(&format!(
        "restored\t{}\t{} files\t{} bytes\n",
        config.data_folder().display(),
        counted.files,
        counted.bytes
    ))?;
    for problem in &report.problems {
        say(&format!("{problem}\n"))?;
    }
    if !report.is_sound() {
        bail!(
            "everything was restored, and {} things in it contradict each other, as they did when the backup was made",
            report.problem_count
        );
    }
    say(&format!(
        "checked\t{} accounts\t{} messages\tthe store is good\n",
        report.accounts, report.messages
    ))?;
    Ok(ExitCode::SUCCESS)
}
