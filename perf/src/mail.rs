//! The mail servers that are compared: ours, and Postfix with Dovecot.

use crate::server::{binary, peers, used, wait_until};
use crate::{Child, Result};
use ringpost_admin::{Client, Command, Control};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

/// The domain of both sides.
pub const DOMAIN: &str = "bench.test";
const PASSWORD: &str = "benchpass";
/// Ours.
const IMAP_PORT: u16 = 15_143;
const POP3_PORT: u16 = 15_995;
const SMTP_PORT: u16 = 15_025;
/// As `peers/dovecot.sh` and `peers/postfix.sh` have them.
const PEER_IMAP_PORT: u16 = 11_143;
const PEER_POP3_PORT: u16 = 11_995;
const PEER_LMTP_PORT: u16 = 11_024;
const PEER_SMTP_PORT: u16 = 11_025;

/// A server that runs until it is dropped.
pub trait Server: Sync {
    /// What it is called in the results.
    fn name(&self) -> &'static str;
    /// POP3 under TLS from the first byte.
    fn pop3(&self) -> SocketAddr;
    /// IMAP, with STARTTLS; logins are taken without it too.
    fn imap(&self) -> SocketAddr;
    /// Where mail from other servers comes in.
    fn smtp(&self) -> SocketAddr;
    /// Where mail comes in with the least work, to fill mailboxes, and how a sender greets there.
    fn delivery(&self) -> (SocketAddr, &'static str);
    /// Its main processes.
    fn pids(&self) -> String;
    /// Waits until everything that was accepted is in its mailbox.
    fn settle(&self) -> Result<()>;
    /// Ends it and starts it again.
    fn restart(&mut self) -> Result<()>;

    /// The address of the user `n`, from 0.
    fn user(&self, n: usize) -> String {
        format!("u{}@{DOMAIN}", n + 1)
    }

    /// The password of everybody.
    fn password(&self) -> &'static str {
        PASSWORD
    }

    /// CPU seconds of all its processes so far, ended ones included, and the memory (PSS) of those that live, in KiB.
    fn used(&self) -> Result<(f64, f64)> {
        used(&self.pids())
    }

    /// CPU seconds of all its processes so far.
    fn cpu_s(&self) -> Result<f64> {
        Ok(self.used()?.0)
    }
}

/// What is started.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// How many users there are.
    pub users: usize,
    /// Whether Postfix stands before Dovecot.
    pub postfix: bool,
    /// Where every sync of the server is written down, if anywhere.
    pub syncs: Option<&'a Path>,
}

/// The peer: Dovecot with mdbox, and Postfix before it if that is wanted.
#[derive(Debug)]
pub struct Peer {
    pids: String,
    folder: PathBuf,
    users: usize,
    script: &'static str,
}

impl Peer {
    /// Starts it with empty mailboxes.
    pub fn start(setup: Setup<'_>) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("ringpost-perf-peer-{}", std::process::id()));
        let mut peer = Peer {
            pids: String::new(),
            folder,
            users: setup.users,
            script: if setup.postfix { "postfix.sh" } else { "dovecot.sh" },
        };
        match setup.syncs {
            Some(syncs) => peer.start_traced(syncs)?,
            None => drop(peer.script("wipe")?),
        }
        peer.find_pids()?;
        Ok(peer)
    }

    /// The certificate and the key that it was made with: both sides have the same.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("cert.pem"), self.folder.join("key.pem"))
    }

    fn find_pids(&mut self) -> Result<()> {
        let told = self.script("env")?;
        let pids = told
            .split("SUT_PID=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let pids = pids.filter(|pids| !pids.trim().is_empty());
        self.pids = pids
            .ok_or_else(|| format!("{} said {told:?}", self.script))?
            .replace(' ', ",");
        Ok(())
    }

    /// Starts it under strace, which ends with the last of its processes.
    fn start_traced(&self, syncs: &Path) -> Result<()> {
        let mut command = strace(syncs);
        command.args(["bash".as_ref(), peers().join(self.script).as_os_str()]);
        self.prepare(command.arg("wipe")).stdout(Stdio::null()).spawn()?;
        wait_until("the peer listens", || {
            TcpStream::connect(self.smtp()).is_ok() && TcpStream::connect(self.imap()).is_ok()
        })
    }

    fn script(&self, what: &str) -> Result<String> {
        let mut command = process::Command::new("bash");
        command.arg(peers().join(self.script)).arg(what);
        let output = self.prepare(&mut command).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("{}: {}", self.script, String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    fn prepare<'a>(&self, command: &'a mut process::Command) -> &'a mut process::Command {
        command
            .env("MB_RUN", &self.folder)
            .env("SUT_PASSWORD", PASSWORD)
            .env("BENCH_USERS", self.users.to_string())
            .env("DOVECOT_FORMAT", "mdbox")
            .env("DOVECOT_POP3S_PORT", PEER_POP3_PORT.to_string())
    }

    fn stop(&self) -> Result<()> {
        if self.script == "postfix.sh" {
            self.script("stop")?;
        }
        let mut command = process::Command::new("bash");
        command.arg(peers().join("dovecot.sh")).arg("stop");
        self.prepare(&mut command).output()?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error}");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server for Peer {
    fn name(&self) -> &'static str {
        match self.script {
            "postfix.sh" => "Postfix with Dovecot",
            _ => "Dovecot",
        }
    }

    fn pop3(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, PEER_POP3_PORT).into()
    }

    fn imap(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, PEER_IMAP_PORT).into()
    }

    fn smtp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, PEER_SMTP_PORT).into()
    }

    fn delivery(&self) -> (SocketAddr, &'static str) {
        ((Ipv4Addr::LOCALHOST, PEER_LMTP_PORT).into(), "LHLO")
    }

    fn pids(&self) -> String {
        self.pids.clone()
    }

    /// Postfix has delivered what is in none of its queues any more.
    fn settle(&self) -> Result<()> {
        let queue = self.folder.join("postfix/queue");
        let is_empty = |name: &str| !holds_files(&queue.join(name));
        wait_until("Postfix's queues are empty", || {
            ["maildrop", "incoming", "active"]
                .iter()
                .all(|name| is_empty(name))
        })?;
        match is_empty("deferred") {
            true => Ok(()),
            false => Err("Postfix has put off some deliveries".into()),
        }
    }

    fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.script("start")?;
        self.find_pids()
    }
}

/// Whether a file lies in a folder or in one of its folders.
fn holds_files(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds_files(&entry.path()),
        kind => kind.is_ok(),
    })
}

/// A command that runs another and writes down every sync of it and of what it starts.
fn strace(file: &Path) -> process::Command {
    let mut command = process::Command::new("strace");
    command
        .args([
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            "trace=fsync,fdatasync,sync_file_range,syncfs,msync",
            "-o",
        ])
        .arg(file);
    command
}

/// Ours, with the same users.
#[derive(Debug)]
pub struct Ringpost {
    child: Option<Child>,
    folder: PathBuf,
    syncs: Option<PathBuf>,
}

impl Ringpost {
    /// Starts it with empty mailboxes, and with this certificate and key.
    pub fn start(setup: Setup<'_>, (certificate, key): &(PathBuf, PathBuf)) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("ringpost-perf-mail-{}", std::process::id()));
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let off: String = [
            "sip_udp",
            "sip_tcp",
            "sip_tls",
            "submission",
            "submissions",
            "imaps",
            "pop3",
        ]
        .iter()
        .chain(&["rtsp", "rtsps", "metrics"])
        .map(|service| format!("{service} = \"off\"\n"))
        .collect();
        fs::write(
            folder.join("ringpost.toml"),
            format!(
                "data = {data:?}\nuser = \"root\"\ndomains = [\"{DOMAIN}\"]\nplain_login_networks = [\"127.0.0.0/8\"]\n\
                 [listen]\npop3s = \"127.0.0.1:{POP3_PORT}\"\nsmtp = \"127.0.0.1:{SMTP_PORT}\"\n\
                 imap = \"127.0.0.1:{IMAP_PORT}\"\n{off}\
                 [tls]\ncertificate = {certificate:?}\nkey = {key:?}\n[log]\nlevel = \"warn\"\n"
            ),
        )?;
        let mut ours = Ringpost {
            child: None,
            folder,
            syncs: setup.syncs.map(Path::to_path_buf),
        };
        ours.run()?;
        tokio::runtime::Runtime::new()?.block_on(ours.make_accounts(setup.users))?;
        Ok(ours)
    }

    fn run(&mut self) -> Result<()> {
        let configuration = self.folder.join("ringpost.toml");
        let arguments = ["--config".as_ref(), configuration.as_os_str(), "serve".as_ref()];
        let child = match &self.syncs {
            None => Child::start(binary()?, arguments)?,
            Some(syncs) => {
                let mut command = strace(syncs);
                // As a grandchild, so that the child that is ended is the server.
                Child::spawn(command.arg("-D").arg(binary()?).args(arguments))?
            }
        };
        self.child = Some(child);
        wait_until("ringpost answers its admin socket", || {
            UnixStream::connect(self.socket()).is_ok()
        })
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("data/admin.sock")
    }

    async fn make_accounts(&self, users: usize) -> Result<()> {
        let client = Client::connect(&self.socket())
            .await?
            .ok_or("nobody listens there")?;
        for n in 0..users {
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
        drop(self.child.take());
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

    fn imap(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, IMAP_PORT).into()
    }

    fn smtp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, SMTP_PORT).into()
    }

    fn delivery(&self) -> (SocketAddr, &'static str) {
        (self.smtp(), "EHLO")
    }

    fn pids(&self) -> String {
        self.child
            .as_ref()
            .map_or(String::new(), |child| child.pid().to_string())
    }

    /// What it has answered 250 is in its mailbox: one recipient's message is delivered before the answer.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        if let Some(child) = self.child.take() {
            child.terminate()?;
        }
        self.run()
    }
}
