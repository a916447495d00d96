//! What the comparisons with other servers share: children that are servers, the CPU time they used, and medians.
//!
//! Each comparison is a binary under `src/bin`. The peers are started by the scripts in `peers`, by the rules of its README:
//! both sides in one run, in turn, medians of at least three.

pub mod imap;
pub mod mail;
pub mod server;
pub mod smtp;
pub mod tls;

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What a comparison may fail with.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A server started for a measurement, which ends when its standard input does.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts `program`.
    pub fn start<S: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> io::Result<Self> {
        Child::spawn(Command::new(program).args(arguments))
    }

    /// Starts what a command says.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Child {
            input: process.stdin.take(),
            output: BufReader::new(output),
            process,
        })
    }

    /// Whether `program` can be found.
    pub fn is_installed(program: &str) -> bool {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
    }

    /// Runs `program` to its end, and gives what it printed.
    pub fn output<S: AsRef<OsStr>>(
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> io::Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "{program} ended with {}",
                output.status
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Reads what it prints up to the line `wanted`.
    pub fn wait_for_line(&mut self, wanted: &str) -> io::Result<()> {
        let mut line = String::new();
        while self.output.read_line(&mut line)? > 0 {
            if line.trim_end() == wanted {
                return Ok(());
            }
            line.clear();
        }
        Err(io::Error::other(format!("it ended before it said {wanted}")))
    }

    /// Asks it to end, and waits for it.
    pub fn terminate(mut self) -> io::Result<()> {
        let pid = libc::pid_t::try_from(self.pid()).map_err(io::Error::other)?;
        // SAFETY: the process is a child that has not been waited for, so that the number is its own.
        if unsafe { libc::kill(pid, libc::SIGTERM) } != 0 {
            return Err(io::Error::last_os_error());
        }
        self.process.wait().map(drop)
    }

    /// Ends its input, and waits for it.
    pub fn stop(mut self) -> io::Result<()> {
        drop(self.input.take());
        self.process.wait().map(drop)
    }
}

/// A measurement that fails leaves no server behind.
impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The CPU time that all living threads of a process have used, to the nanosecond.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The first field is the time on a CPU (Documentation/scheduler/sched-stats of Linux). A thread may end meanwhile.
        let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        let nanos = line
            .split_whitespace()
            .next()
            .and_then(|field| field.parse().ok());
        total += Duration::from_nanos(nanos.unwrap_or(0));
    }
    Ok(total)
}

/// The CPU time of this process so far, in seconds.
pub fn own_cpu_s() -> io::Result<f64> {
    let mut times = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a whole structure that outlives the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut times) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(times.tv_sec as f64 + times.tv_nsec as f64 / 1e9)
}

/// Lets `count` clients do their work in a thread each; gives what they gave, in their order.
pub fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let clients: Vec<_> = (0..count).map(|n| scope.spawn(move || work(n))).collect();
        let joined = clients.into_iter().map(|client| client.join());
        joined
            .map(|outcome| outcome.map_err(|_| "a client panicked")?)
            .collect()
    })
}

/// The middle of some measurements; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// One thing that was measured on both sides.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// How many digits are told after the point.
    pub digits: usize,
    /// What ours came to, a round each.
    pub ours: Vec<f64>,
    /// What the peer's did; nothing where it is not measured.
    pub peers: Vec<f64>,
    /// What ours is to be beside the peer's, or alone; empty where it is nothing to be.
    pub bar: String,
}

impl Line {
    /// Nothing measured yet.
    pub fn new(what: impl Into<String>, unit: &'static str, digits: usize, bar: impl Into<String>) -> Self {
        Line {
            what: what.into(),
            unit,
            digits,
            ours: Vec::new(),
            peers: Vec::new(),
            bar: bar.into(),
        }
    }

    /// Prints the medians, and appends them to `report`.
    pub fn print(&self, peer: &str, report: &mut String) {
        let (ours, peers, digits) = (median(&self.ours), median(&self.peers), self.digits);
        let mut line = format!("- {}: ringpost {ours:.digits$} {}", self.what, self.unit);
        if !self.peers.is_empty() {
            let _ = write!(line, ", {peer} {peers:.digits$}, ratio {:.3}", ours / peers);
        }
        match self.bar.as_str() {
            "" => line.push('\n'),
            bar => line += &format!(" (to reach: {bar})\n"),
        }
        print!("{line}");
        report.push_str(&line);
    }
}

/// Puts `text` under the heading `heading` of `perf/RESULTS.md`, in place of what was there.
pub fn record(heading: &str, text: &str) -> io::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    let before = match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "# What was measured last\n".to_string(),
        read => read?,
    };
    fs::write(file, with_section(&before, heading, text))
}

fn with_section(page: &str, heading: &str, text: &str) -> String {
    let mut parts: Vec<&str> = page.split("\n## ").map(str::trim_end).collect();
    let section = format!("{heading}\n\n{}", text.trim_end());
    let place = parts
        .iter()
        .skip(1)
        .position(|part| part.lines().next() == Some(heading));
    match place {
        Some(place) => parts[place + 1] = &section,
        None => parts.push(&section),
    }
    parts.join("\n\n## ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn our_own_cpu_time_grows_as_we_work() {
        let before = cpu_time(process::id()).unwrap();
        let mut n = 0u64;
        while cpu_time(process::id()).unwrap() == before {
            n = std::hint::black_box(n + 1);
        }
    }

    #[test]
    fn a_section_of_the_results_takes_the_place_of_its_former_self() {
        let page = with_section("# Results\n", "Calls", "- 1\n");
        assert_eq!(page, "# Results\n\n## Calls\n\n- 1\n");
        let both = with_section(&page, "Mail", "- 2");
        assert_eq!(both, "# Results\n\n## Calls\n\n- 1\n\n## Mail\n\n- 2\n");
        assert_eq!(with_section(&both, "Calls", "- 3"), both.replace("- 1", "- 3"));
    }

    #[test]
    fn a_child_is_read_and_ended() {
        let mut child = Child::start("cat", ["-"; 1]).unwrap();
        drop(child.input.take());
        assert!(child.wait_for_line("never").is_err());
        child.stop().unwrap();
    }
}
