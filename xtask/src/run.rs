//! Runs a command of a step: its output goes to a log, its time is bounded, and what matters of it comes back.

use crate::report::Outcome;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Lines of a failed step's log that are shown.
const SHOWN_LINES: usize = 120;

/// A command's end, and where its output is.
pub(crate) struct Finished {
    pub(crate) log: PathBuf,
    pub(crate) output: String,
    /// None: it was stopped at its limit.
    pub(crate) status: Option<ExitStatus>,
}

impl Finished {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The outcome of a step that is this command.
    pub(crate) fn outcome(&self, remark: impl FnOnce(&str) -> String) -> Outcome {
        if self.succeeded() {
            Outcome::Passed(remark(&self.output))
        } else {
            Outcome::Failed(self.show_failure())
        }
    }

    /// Shows the end of the output, and says how it ended and where the rest is.
    pub(crate) fn show_failure(&self) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            println!("      | {line}");
        }
        let how = match self.status {
            Some(status) => status.to_string(),
            None => "stopped at its time limit".to_string(),
        };
        format!("{how}; all of its output: {}", self.log.display())
    }
}

/// Runs `command` in the workspace's folder (unless it sets its own), for at most `limit`, with its output in
/// `target/xtask/<name>.log`.
pub(crate) fn run(name: &str, command: &mut Command, limit: Duration) -> Result<Finished> {
    let folder = crate::root().join("target/xtask");
    std::fs::create_dir_all(&folder)?;
    let log = folder.join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    if command.get_current_dir().is_none() {
        command.current_dir(crate::root());
    }
    // A group of its own, so that what it started can be ended with it.
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0);
    let started = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() >= limit {
            let _ = Command::new("kill")
                .args(["-KILL", "--", &format!("-{}", child.id())])
                .status();
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let output = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    Ok(Finished { log, output, status })
}

/// A step that is one command.
pub(crate) fn step(
    name: &str,
    command: &mut Command,
    limit: Duration,
    remark: impl FnOnce(&str) -> String,
) -> Outcome {
    match run(name, command, limit) {
        Ok(finished) => finished.outcome(remark),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// What a test run's output says of it: the number of tests, and each client that was skipped (a line `SKIP: …`).
pub(crate) fn test_summary(output: &str) -> String {
    let (mut passed, mut ignored) = (0, 0);
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        passed += number_before(line, " passed");
        ignored += number_before(line, " ignored");
    }
    let mut summary = format!("{passed} tests");
    if ignored > 0 {
        summary += &format!(", {ignored} ignored");
    }
    let mut skips: Vec<&str> = output
        .lines()
        .filter_map(|line| line.find("SKIP: ").map(|at| &line[at + 6..]))
        .collect();
    skips.sort_unstable();
    skips.dedup();
    for skip in skips {
        summary += &format!("\n      skipped: {skip}");
    }
    summary
}

fn number_before(line: &str, word: &str) -> u32 {
    line.find(word)
        .map(|at| line[..at].trim_end())
        .and_then(|head| head.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_run_is_summed_up() {
        let output = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                      SKIP: msmtp is not installed\nSKIP: msmtp is not installed\n\
                      test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured\n";
        assert_eq!(
            test_summary(output),
            "15 tests, 1 ignored\n      skipped: msmtp is not installed"
        );
    }

    #[test]
    fn a_command_that_does_not_end_is_stopped_with_what_it_started() {
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let finished = run("self-test", &mut command, Duration::from_millis(200)).expect("sh starts");
        assert!(finished.status.is_none());
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
