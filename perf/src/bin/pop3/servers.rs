//! The two servers.

use crate::{CLIENTS, Result};
use ringpost_admin::{Client, Command, Control};
use ringpost_perf::Child;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DOMAIN: &str = "bench.test";
const PASSWORD: &str = "benchpass";
/// Ours.
const POP3_PORT: u16 = 15_995;
const SMTP_PORT: u16 = 15_025;
/// As `peers/dovecot.sh` has them.
const PEER_POP3_PORT: u16 = 11_995;
const PEER_LMTP_PORT: u16 = 11_024;
/// How long ours may take to answer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A server that runs until it is dropped.
pub(crate) trait Server: Sync {
    fn name(&self) -> &'static str;
    /// POP3 under TLS from the first byte.
    fn pop3(&self) -> SocketAddr;
    /// Where mail comes in, and how a sender greets there.
    fn delivery(&self) -> SocketAddr;
    fn greeting(&self) -> &'static str;
    /// Its main process.
    fn pid(&self) -> u32;

    fn user(&self, n: usize) -> String {
        format!("u{}@{DOMAIN}", n + 1)
    }

    fn password(&self) -> &'static str {
        PASSWORD
    }

    /// CPU seconds of all its processes so far, ended ones included.
    fn cpu_s(&self) -> Result<f64> {
        let script = peers().join("lib/cpu.py");
        let pid = self.pid().to_string();
        let told = Child::output("python3", [script.as_os_str(), pid.as_ref()])?;
        let seconds = told.split_whitespace().next().and_then(|word| word.parse().ok());
        seconds.ok_or_else(|| format!("cpu.py said {told:?}").into())
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// The peer, with the users u1, u2 ….
pub(crate) struct Dovecot {
    pid: u32,
    folder: PathBuf,
}

impl Dovecot {
    /// Starts it with empty maildrops.
    pub(crate) fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("ringpost-perf-dovecot-{}", std::process::id()));
        let mut dovecot = Dovecot { pid: 0, folder };
        let told = dovecot.script("wipe")?;
        let pid = told
            .split("SUT_PID=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next()?.parse().ok());
        dovecot.pid = pid.ok_or_else(|| format!("dovecot.sh said {told:?}"))?;
        Ok(dovecot)
    }

    /// The certificate and the key that it was made with: both sides have the same.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("cert.pem"), self.folder.join("key.pem"))
    }

    fn script(&self, what: &str) -> Result<String> {
        let output = std::process::Command::new("bash")
            .arg(peers().join("dovecot.sh"))
            .arg(what)
            .env("MB_RUN", &self.folder)
            .env("SUT_PASSWORD", PASSWORD)
            .env("BENCH_USERS", CLIENTS.to_string())
            .env("DOVECOT_POP3S_PORT", PEER_POP3_PORT.to_string())
            .output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("dovecot.sh: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if let Err(error) = self.script("stop") {
            eprintln!("{error}");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server for Dovecot {
    fn name(&self) -> &'static str {
        "dovecot"
    }

    fn pop3(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, PEER_POP3_PORT).into()
    }

    fn delivery(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, PEER_LMTP_PORT).into()
    }

    fn greeting(&self) -> &'static str {
        "LHLO"
    }

    fn pid(&self) -> u32 {
        self.pid
    }
}

/// Ours, with the same users.
pub(crate) struct Ringpost {
    child: Child,
    folder: PathBuf,
}

impl Ringpost {
    /// Starts it with empty maildrops, and with this certificate and key.
    pub(crate) fn start((certificate, key): &(PathBuf, PathBuf)) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("ringpost-perf-pop3-{}", std::process::id()));
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let off: String = [
            "sip_udp",
            "sip_tcp",
            "sip_tls",
            "submission",
            "submissions",
            "imap",
            "imaps",
            "pop3",
        ]
        .iter()
        .chain(&["metrics"])
        .map(|service| format!("{service} = \"off\"\n"))
        .collect();
        let configuration = folder.join("ringpost.toml");
        fs::write(
            &configuration,
            format!(
                "data = {data:?}\nuser = \"root\"\ndomains = [\"{DOMAIN}\"]\n\
                 [listen]\npop3s = \"127.0.0.1:{POP3_PORT}\"\nsmtp = \"127.0.0.1:{SMTP_PORT}\"\n{off}\
                 [tls]\ncertificate = {certificate:?}\nkey = {key:?}\n[log]\nlevel = \"warn\"\n"
            ),
        )?;
        let child = Child::start(
            binary()?,
            ["--config".as_ref(), configuration.as_os_str(), "serve".as_ref()],
        )?;
        let ours = Ringpost { child, folder };
        let socket = data.join("admin.sock");
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            if began.elapsed() > START_LIMIT {
                return Err("ringpost does not answer its admin socket".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        tokio::runtime::Runtime::new()?.block_on(ours.make_accounts(&socket))?;
        Ok(ours)
    }

    async fn make_accounts(&self, socket: &Path) -> Result<()> {
        let client = Client::connect(socket).await?.ok_or("nobody listens there")?;
        for n in 0..CLIENTS {
            let command = Command::AccountAdd {
                address: self.user(n),
                extension: None,
                password: Some(PASSWORD.into()),
            };
            client
                .handle(command)
                .await
                .map_err(|refusal| refusal.to_string())?;
        }
        Ok(())
    }
}

impl Drop for Ringpost {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server for Ringpost {
    fn name(&self) -> &'static str {
        "ringpost"
    }

    fn pop3(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, POP3_PORT).into()
    }

    fn delivery(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, SMTP_PORT).into()
    }

    fn greeting(&self) -> &'static str {
        "EHLO"
    }

    fn pid(&self) -> u32 {
        self.child.pid()
    }
}

/// The server of this build, unless another is named.
fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("RINGPOST_BIN") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?.with_file_name("ringpost");
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!("{} is not built, and RINGPOST_BIN is not set", beside.display()).into()),
    }
}
