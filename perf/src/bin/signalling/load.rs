//! SIPp as the phones.

use crate::Result;
use crate::servers::{DOMAIN, Phone, Running};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where the phones that register and call live, and those that are called.
pub(crate) const CALLER_PORT: u16 = 15_080;
pub(crate) const CALLEE_PORT: u16 = 15_081;
/// A round that has not ended by then has failed.
const ROUND_LIMIT_S: u32 = 600;

/// What one round of load showed, for 1,000 registrations or calls.
pub(crate) struct Load {
    pub(crate) server_ms: f64,
    pub(crate) own_ms: f64,
    pub(crate) failed: u64,
    pub(crate) retransmissions: u64,
}

/// One SIPp to be started.
pub(crate) struct Sipp {
    command: Command,
    /// What it reads of its phones, if there are any.
    phones: Option<File>,
    folder: TempDir,
}

impl Sipp {
    /// `scenario` of `perf/sipp` towards `server`, its phones one behind the other, from `port`.
    pub(crate) fn new(server: &Running, scenario: &str, phones: &[Phone], port: u16) -> Result<Self> {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp");
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("sipp");
        command
            .arg(server.address().to_string())
            .arg("-sf")
            .arg(scenarios.join(format!("{scenario}.xml")))
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-key", "domain", DOMAIN, "-nostdin", "-timeout_error"])
            .args(["-timeout", &ROUND_LIMIT_S.to_string()])
            .args(["-trace_stat", "-fd", "1", "-stf"])
            .arg(statistics(&folder))
            .stdout(Stdio::null());
        let list = (!phones.is_empty()).then(|| list(phones)).transpose()?;
        if list.is_some() {
            command.args(["-inf", "/dev/stdin"]);
        }
        // SIPp writes one URI into all credentials, the server's address unless told.
        let uri = match phones.first() {
            Some(Phone { calls, .. }) if !calls.is_empty() => format!("{calls}@{DOMAIN}"),
            _ => DOMAIN.into(),
        };
        command.args(["-auth_uri", &uri]);
        if scenario == "register" {
            command.arg("-oocsf").arg(scenarios.join("notified.xml"));
        }
        Ok(Sipp {
            command,
            phones: list,
            folder,
        })
    }

    /// As many, so many a second.
    pub(crate) fn pace(mut self, per_s: usize, count: usize) -> Self {
        self.command
            .args(["-r", &per_s.to_string(), "-m", &count.to_string()]);
        self
    }

    pub(crate) fn spawn(mut self) -> Result<Phones> {
        let input = self.phones.take().map_or(Stdio::null(), Stdio::from);
        Ok(Phones {
            process: self.command.stdin(input).spawn()?,
            folder: self.folder,
        })
    }
}

/// The phones as SIPp reads them, in a file without a name: their secrets are gone with the last of those who have it
/// open, however they end.
fn list(phones: &[Phone]) -> io::Result<File> {
    let mut lines = tempfile::tempfile()?;
    writeln!(lines, "SEQUENTIAL")?;
    for phone in phones {
        let Phone {
            account,
            username,
            secret,
            calls,
        } = phone;
        let authenticate = format!("[authentication username={username} password={secret}]");
        writeln!(lines, "{account};{username};{authenticate};{calls}")?;
    }
    Ok(lines)
}

fn statistics(folder: &TempDir) -> PathBuf {
    folder.path().join("statistics")
}

/// A running SIPp.
pub(crate) struct Phones {
    process: process::Child,
    folder: TempDir,
}

/// How a SIPp ended.
pub(crate) struct Ended {
    pub(crate) failed: u64,
    pub(crate) retransmissions: u64,
}

impl Phones {
    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Result<Ended> {
        let status = self.process.wait()?;
        let text = fs::read_to_string(statistics(&self.folder))?;
        let names = text.lines().next().unwrap_or_default().split(';');
        let last: Vec<&str> = text.lines().last().unwrap_or_default().split(';').collect();
        let column = |wanted: &str| {
            let place = names.clone().position(|name| name == wanted);
            place
                .and_then(|place| last.get(place)?.parse().ok())
                .ok_or_else(|| format!("SIPp ended with {status} and told no {wanted}"))
        };
        Ok(Ended {
            failed: column("FailedCall(C)")?,
            retransmissions: column("Retransmissions(C)")?,
        })
    }
}

/// Phones that answer go on until nobody calls any more.
impl Drop for Phones {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays `count` registrations or calls, with the phones that are to answer beside those that begin, and measures until
/// `settle` after the end.
pub(crate) fn run(
    server: &Running,
    count: usize,
    settle: Duration,
    (beginning, answering): (Sipp, Option<Sipp>),
) -> Result<Load> {
    let (cpu, own) = (server.cpu_s()?, children_s());
    let answering = answering.map(Sipp::spawn).transpose()?;
    // It binds its port before it answers.
    std::thread::sleep(Duration::from_millis(500));
    let ended = beginning.spawn()?.finish()?;
    drop(answering);
    let own_s = children_s() - own;
    std::thread::sleep(settle);
    if ended.failed * 100 > count as u64 {
        return Err(format!("{} of {count} failed", ended.failed).into());
    }
    let ms_for_1000 = |seconds: f64| seconds * 1e6 / count as f64;
    Ok(Load {
        server_ms: ms_for_1000(server.cpu_s()? - cpu),
        own_ms: ms_for_1000(own_s),
        failed: ended.failed,
        retransmissions: ended.retransmissions,
    })
}

/// CPU seconds of the processes that were started and have ended.
fn children_s() -> f64 {
    // SAFETY: an all-zero `rusage` is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for one `rusage`; the call cannot fail with these arguments (getrusage(2)).
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_phones_is_read_and_has_no_name() {
        use std::os::unix::fs::MetadataExt;
        let phone = Phone {
            account: "u1".into(),
            username: "u1-d0".into(),
            secret: "s3cret".into(),
            calls: String::new(),
        };
        let list = list(&[phone]).unwrap();
        assert_eq!(list.metadata().unwrap().nlink(), 0);
        let read = Command::new("cat")
            .arg("/dev/stdin")
            .stdin(list)
            .output()
            .unwrap();
        let text = String::from_utf8(read.stdout).unwrap();
        assert!(text.starts_with("SEQUENTIAL\nu1;u1-d0;[authentication"), "{text}");
    }
}
