//! One line a step, and a closing line.

use std::time::{Duration, Instant};

/// How a step ended.
pub(crate) enum Outcome {
    /// Passed, with a remark for its line (empty for none).
    Passed(String),
    /// Failed, and why.
    Failed(String),
    /// Not run, and why.
    Skipped(String),
}

/// The steps of one task: which were asked for, and how those that ran ended.
pub(crate) struct Report {
    only: Vec<String>,
    passed: u32,
    failed: u32,
    skipped: u32,
    started: Instant,
}

impl Report {
    /// A report of the steps named in `only`, or of all when it is empty.
    pub(crate) fn new(only: &[String]) -> Self {
        Report {
            only: only.to_vec(),
            passed: 0,
            failed: 0,
            skipped: 0,
            started: Instant::now(),
        }
    }

    /// Whether the step was asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }

    /// Runs a step, if it was asked for, and prints its line. True unless it failed.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> Outcome) -> bool {
        self.step_for(name, &[], run)
    }

    /// Runs a step if it, or one of the steps that need it, was asked for, and prints its line. True unless it failed.
    pub(crate) fn step_for(&mut self, name: &str, users: &[&str], run: impl FnOnce() -> Outcome) -> bool {
        if !self.wants(name) && !users.iter().any(|user| self.wants(user)) {
            return true;
        }
        let started = Instant::now();
        let outcome = run();
        let took = seconds(started.elapsed());
        match outcome {
            Outcome::Passed(remark) => {
                self.passed += 1;
                println!("pass  {name:<12} {took:>8}  {remark}");
                true
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                println!("skip  {name:<12} {took:>8}  {reason}");
                true
            }
            Outcome::Failed(reason) => {
                self.failed += 1;
                println!("FAIL  {name:<12} {took:>8}  {reason}");
                false
            }
        }
    }

    /// Prints the closing line. True when nothing failed and something was run.
    pub(crate) fn close(self) -> bool {
        let (passed, failed, skipped) = (self.passed, self.failed, self.skipped);
        println!(
            "{passed} passed, {failed} failed, {skipped} skipped in {}",
            seconds(self.started.elapsed())
        );
        if passed + failed + skipped == 0 {
            println!("no step has such a name");
        }
        failed == 0 && passed + skipped > 0
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_task_and_a_skipped_one_does_not() {
        let mut report = Report::new(&[]);
        assert!(report.step("a", || Outcome::Passed(String::new())));
        assert!(report.step("b", || Outcome::Skipped("no client".into())));
        assert!(report.close());
        let mut report = Report::new(&["a".into()]);
        assert!(!report.step("a", || Outcome::Failed("broken".into())));
        assert!(report.step("b", || Outcome::Failed("not asked for".into())));
        assert!(!report.close());
    }

    #[test]
    fn asking_for_a_step_that_does_not_exist_is_a_failure() {
        assert!(!Report::new(&["nonsense".into()]).close());
    }
}
