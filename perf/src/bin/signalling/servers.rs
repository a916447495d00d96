//! The two servers, and who may register at them.

use crate::Result;
use crate::load::Sipp;
use ringpost_admin::{Answer, Client, Command, Control};
use ringpost_perf::Child;
use ringpost_perf::server::{binary, peers, used};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// The domain and realm on both sides.
pub(crate) const DOMAIN: &str = "bench.test";
const ACCOUNTS: usize = 1_000;
/// Beside each account's first device: a password costs 20 ms, and an account of a family or a firm has several phones.
const DEVICES: usize = 10;
const OUR_PORT: u16 = 15_061;
/// As `peers/kamailio.sh` has it.
const PEER_PORT: u16 = 15_060;
const PEER_SECRET: &str = "benchpass";
/// Accounts that are made beside each other: their passwords take one core each, and their commits share syncs.
const MAKERS: usize = 32;
/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Somebody with credentials.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phone {
    pub(crate) account: String,
    pub(crate) username: String,
    pub(crate) secret: String,
    /// Whom it calls.
    pub(crate) calls: String,
}

/// A server that can be started for a measurement.
pub(crate) trait Server {
    fn name(&self) -> &'static str;
    fn start(&self) -> Result<Running>;
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    port: u16,
    pid: u32,
    /// The first phone of each account, then the second of each, and so on.
    phones: Arc<Vec<Phone>>,
    end: End,
}

enum End {
    Child(#[expect(dead_code, reason = "dropping it ends the server")] Child),
    Script(PathBuf),
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn sipp(&self, scenario: &str, phones: &[Phone], port: u16) -> Result<Sipp> {
        Sipp::new(self, scenario, phones, port)
    }

    pub(crate) fn phones(&self, which: Range<usize>) -> Vec<Phone> {
        self.phones[which].to_vec()
    }

    pub(crate) fn all_phones(&self) -> Vec<Phone> {
        self.phones.to_vec()
    }

    /// CPU seconds of all its processes so far.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        Ok(used(&self.pid.to_string())?.0)
    }

    /// Resident memory of its process.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .ok_or("no VmRSS")?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let End::Script(script) = &self.end
            && let Err(error) = Child::output("bash", [script.as_os_str(), "stop".as_ref()])
        {
            eprintln!("{}: {error}", script.display());
        }
    }
}

/// The peer; each of its users has one phone.
pub(crate) struct Kamailio;

impl Server for Kamailio {
    fn name(&self) -> &'static str {
        "kamailio"
    }

    fn start(&self) -> Result<Running> {
        let script = peers().join("kamailio.sh");
        let started = Child::output("bash", [script.as_os_str(), "start".as_ref()])?;
        let pid = started
            .split("\"pid\":")
            .nth(1)
            .and_then(|rest| rest.trim_end().trim_end_matches('}').parse().ok())
            .ok_or_else(|| format!("kamailio.sh said {started:?}"))?;
        let phones = (0..ACCOUNTS).map(|n| Phone {
            account: account(n),
            username: account(n),
            secret: PEER_SECRET.into(),
            calls: String::new(),
        });
        Ok(Running {
            port: PEER_PORT,
            pid,
            phones: Arc::new(phones.collect()),
            end: End::Script(script),
        })
    }
}

fn account(n: usize) -> String {
    format!("u{}", 10_000 + n)
}

/// Ours, with a data folder in which the accounts exist.
pub(crate) struct Ringpost {
    /// Gone with it.
    folder: TempDir,
    phones: Arc<Vec<Phone>>,
}

impl Ringpost {
    /// Makes the accounts and their devices.
    pub(crate) fn prepare() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("data"))?;
        let mut ours = Ringpost {
            folder,
            phones: Arc::default(),
        };
        fs::write(ours.configuration(), configuration(&ours.data()))?;
        let _running = ours.start()?;
        println!("making {ACCOUNTS} accounts with {DEVICES} devices each");
        let socket = ours.socket();
        let runtime = tokio::runtime::Runtime::new()?;
        ours.phones = Arc::new(runtime.block_on(make_phones(&socket))?);
        Ok(ours)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn socket(&self) -> PathBuf {
        self.data().join("admin.sock")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("ringpost.toml")
    }
}

impl Server for Ringpost {
    fn name(&self) -> &'static str {
        "ringpost"
    }

    fn start(&self) -> Result<Running> {
        let configuration = self.configuration();
        let child = Child::start(
            binary()?,
            ["--config".as_ref(), configuration.as_os_str(), "serve".as_ref()],
        )?;
        let began = std::time::Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            if began.elapsed() > START_LIMIT {
                return Err("ringpost does not answer its admin socket".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Running {
            port: OUR_PORT,
            pid: child.pid(),
            phones: self.phones.clone(),
            end: End::Child(child),
        })
    }
}

/// Nothing but what is measured, and no line in the log for each call: the peer writes none.
fn configuration(data: &Path) -> String {
    let off: String = [
        "sip_tcp",
        "sip_tls",
        "smtp",
        "submission",
        "submissions",
        "imap",
        "imaps",
        "pop3",
        "pop3s",
        "rtsp",
        "rtsps",
        "metrics",
    ]
    .iter()
    .map(|key| format!("{key} = \"off\"\n"))
    .collect();
    format!(
        "data = {data:?}\ndomains = [\"{DOMAIN}\"]\n[listen]\nsip_udp = \"127.0.0.1:{OUR_PORT}\"\n{off}\
         [log]\nlevel = \"warn\"\n"
    )
}

/// All accounts with all their devices, through the admin socket.
async fn make_phones(socket: &Path) -> Result<Vec<Phone>> {
    let client = Client::connect(socket).await?.ok_or("nobody listens there")?;
    let mut phones = vec![Phone::default(); ACCOUNTS * DEVICES];
    let mut makers = JoinSet::new();
    for maker in 0..MAKERS {
        let client = client.clone();
        makers.spawn(async move {
            let mut made = Vec::new();
            for n in (maker..ACCOUNTS).step_by(MAKERS) {
                made.push((n, make_account(&client, n).await?));
            }
            Ok::<_, String>(made)
        });
    }
    while let Some(made) = makers.join_next().await {
        for (n, devices) in made?? {
            for (d, phone) in devices.into_iter().enumerate() {
                phones[d * ACCOUNTS + n] = phone;
            }
        }
    }
    Ok(phones)
}

async fn make_account(client: &Client, n: usize) -> std::result::Result<Vec<Phone>, String> {
    let account = account(n);
    let address = format!("{account}@{DOMAIN}");
    let command = Command::AccountAdd {
        address: address.clone(),
        extension: None,
        password: None,
    };
    client
        .handle(command)
        .await
        .map_err(|refusal| refusal.to_string())?;
    let mut phones = Vec::new();
    for d in 0..DEVICES {
        let command = Command::DeviceAdd {
            address: address.clone(),
            name: format!("d{d}"),
        };
        match client.handle(command).await {
            Ok(Answer::DeviceCreated(device)) => phones.push(Phone {
                account: account.clone(),
                username: device.username,
                secret: device.secret,
                calls: String::new(),
            }),
            other => return Err(format!("{address}: {other:?}")),
        }
    }
    Ok(phones)
}
