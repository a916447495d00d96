use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Says that a test is skipped, and why: what is missing.
///
/// # Panics
/// When `CI` is set: there nothing is missing.
pub fn skip(why: impl std::fmt::Display) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!is_ci, "{why}, and CI is set");
    println!("SKIP: {why}");
}

/// Finds a program that others wrote, or says that its test is skipped.
///
/// # Panics
/// When `CI` is set and the program is missing.
pub fn client(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    let found = folders
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(format_args!("{program} is not installed"));
    }
    found
}

/// A program that runs beside the test. Dropping it ends it, with what it started.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: std::process::Child,
    log: PathBuf,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its status; None when it was stopped at its limit.
    pub status: Option<ExitStatus>,
    /// What it wrote on both of its outputs.
    pub output: String,
}

impl Finished {
    /// Whether it ended with status 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Starts a program with its output in a file of `folder`.
pub fn spawn(folder: &Path, name: &str, command: &mut Command) -> Child {
    let log = folder.join(format!("{name}.log"));
    let file = std::fs::File::create(&log).expect("the test's folder can be written");
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a file can be shared"))
        .stderr(file);
    let child = command.process_group(0).spawn();
    Child {
        name: name.into(),
        child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")),
        log,
    }
}

/// Runs a program to its end, or for `limit`.
pub fn run(folder: &Path, name: &str, command: &mut Command, limit: Duration) -> Finished {
    spawn(folder, name, command).finish(limit)
}

impl Child {
    /// Waits for its end; at `limit` it is stopped.
    pub fn finish(mut self, limit: Duration) -> Finished {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break Some(status);
            }
            if Instant::now() >= deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Finished {
            status,
            output: self.output(),
        }
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.log) {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has written `text`.
    ///
    /// # Panics
    /// When it has not within `limit`.
    pub fn wait_for_output(&mut self, text: &str, limit: Duration) {
        let seen = wait_for(limit, || self.output().contains(text));
        assert!(seen, "{} did not say {text:?}:\n{}", self.name, self.output());
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill takes numbers; the child has not been waited for, so its number is its own.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_ended() {
            // SAFETY: as above; a negative number means the group that `spawn` made.
            unsafe { libc::kill(-self.pid(), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}

/// Asks again and again until `done` or `limit`. Gives the last answer.
pub fn wait_for(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
