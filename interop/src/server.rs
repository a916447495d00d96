use crate::clients::{Child, spawn, wait_for};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The domain that a test's server serves, unless the test says otherwise.
pub const DOMAIN: &str = "interop.test";

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to end politely.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How long a measurement may take to follow: it is made every second.
const METRIC_LIMIT: Duration = Duration::from_secs(10);

/// What a test sets beside the addresses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seconds until voicemail answers.
    pub no_answer_s: u32,
    /// Whether phones are offered SHA-256 alone, in place of MD5.
    pub sha256: bool,
    /// The domains that are served, the first one first.
    pub domains: Vec<String>,
    /// A network that needs no credentials.
    pub trusted_network: Option<String>,
    /// Whether it listens on `::1` instead, at ports that the system chooses: see [`Server::port`].
    pub ipv6: bool,
    /// Which DNS server it asks where other domains are. Without it and a network below, it calls and writes to none.
    pub dns: Option<SocketAddr>,
    /// The keys that it believes the DNS by.
    pub trust_anchors: Option<PathBuf>,
    /// A network that calls and mail to other domains may go to.
    pub outbound_network: Option<String>,
    /// The authorities whose certificates it believes.
    pub authorities: Option<PathBuf>,
    /// Its own certificate and key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Where other servers bring it mail.
    pub smtp_port: u16,
    /// More lines of the section `outbound`.
    pub outbound: String,
    /// Lines of the section `incoming`.
    pub incoming: String,
    /// Lines of the section `limits`.
    pub limits: String,
    /// Lines of the section `acme`.
    pub acme: String,
    /// More lines of the section `listen`.
    pub listen: String,
    /// Lines of the section `streams`.
    pub streams: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            no_answer_s: 3,
            sha256: false,
            domains: vec![DOMAIN.into()],
            trusted_network: None,
            ipv6: false,
            dns: None,
            trust_anchors: None,
            outbound_network: None,
            authorities: None,
            certificate: None,
            smtp_port: 2525,
            outbound: String::new(),
            incoming: String::new(),
            limits: String::new(),
            acme: String::new(),
            listen: String::new(),
            streams: String::new(),
        }
    }
}

/// A running server with a folder and a loopback address of its own.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    folder: tempfile::TempDir,
    address: Ipv4Addr,
    domain: String,
}

/// An account that was made for a test.
#[derive(Clone, Debug)]
pub struct Account {
    /// The part before the `@`.
    pub name: String,
    /// `name@domain`.
    pub address: String,
    /// The password of its mailbox.
    pub password: String,
    /// The number that calls it.
    pub extension: String,
}

/// A phone of an account.
#[derive(Clone, Debug)]
pub struct Device {
    /// The account's name, the user of its SIP address.
    pub account: String,
    /// The name it authenticates with.
    pub username: String,
    /// Its secret.
    pub secret: String,
}

/// 127.x.y.z, so that no two tests of a machine share one: `x.y` from the process, of whose number 15 bits count, `z` counted.
/// A process has 254 of them.
pub fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let count = COUNT.fetch_add(1, Ordering::Relaxed) % 254 + 1;
    Ipv4Addr::new(127, 100 + (high & 0x7f), low, count as u8)
}

impl Server {
    /// The binary under test: `RINGPOST_BIN`, or the newer one of the two builds.
    pub fn binary() -> PathBuf {
        if let Some(path) = std::env::var_os("RINGPOST_BIN") {
            return path.into();
        }
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let built = ["release/ringpost", "debug/ringpost"].map(|name| target.join(name));
        let newest = built.into_iter().filter(|path| path.exists()).max_by_key(|path| {
            path.metadata()
                .and_then(|metadata| metadata.modified())
                .expect("a file that exists has a time")
        });
        newest.expect("`cargo build` has made the binary")
    }

    /// Starts a server that serves [`DOMAIN`], and waits until it answers.
    pub fn start() -> Server {
        Server::start_with(&Options::default())
    }

    /// The same with other settings.
    pub fn start_with(options: &Options) -> Server {
        let mut server = Server::prepared(options);
        server.run();
        server
    }

    /// The same at an address that [`own_address`] gave.
    pub fn start_at(address: Ipv4Addr, options: &Options) -> Server {
        let mut server = Server::prepared_at(address, options);
        server.run();
        server
    }

    /// The same, not started yet: its folder holds the configuration and nothing else.
    pub fn prepared(options: &Options) -> Server {
        Server::prepared_at(own_address(), options)
    }

    /// The same at an address that [`own_address`] gave.
    pub fn prepared_at(address: Ipv4Addr, options: &Options) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server = Server {
            child: None,
            folder,
            address,
            domain: options.domains[0].clone(),
        };
        std::fs::write(server.config(), server.configuration(options)).expect("the folder can be written");
        server
    }

    fn configuration(&self, options: &Options) -> String {
        let Options {
            no_answer_s,
            domains,
            ipv6,
            smtp_port,
            listen,
            ..
        } = options;
        let mut sections = String::from("[sip]\n");
        if options.sha256 {
            sections += "digest = [\"SHA-256\"]\n";
        }
        if let Some(network) = &options.outbound_network {
            sections += &format!("outbound_networks = [{network:?}]\n");
        }
        if options.dns.is_none() && options.outbound_network.is_none() {
            sections += "outbound = false\n[outbound]\nenabled = false\n";
        } else {
            sections += "[outbound]\n";
        }
        if let Some(network) = &options.outbound_network {
            sections += &format!("networks = [{network:?}]\n");
        }
        sections += &options.outbound;
        if let Some(dns) = options.dns {
            sections += &format!("[dns]\nservers = [\"{dns}\"]\n");
            if let Some(anchors) = &options.trust_anchors {
                sections += &format!("trust_anchors = {anchors:?}\n");
            }
        }
        sections += &format!("[incoming]\n{}", options.incoming);
        if !options.limits.is_empty() {
            sections += &format!("[limits]\n{}", options.limits);
        }
        sections += &format!("[acme]\n{}", options.acme);
        sections += &format!("[streams]\n{}", options.streams);
        sections += "[tls]\n";
        if let Some(authorities) = &options.authorities {
            sections += &format!("authorities = {authorities:?}\n");
        }
        if let Some((certificate, key)) = &options.certificate {
            sections += &format!("certificate = {certificate:?}\nkey = {key:?}\n");
        }
        let trusted = options.trusted_network.iter();
        let trusted: String = trusted
            .map(|network| format!("trusted_networks = [{network:?}]\n"))
            .collect();
        let (address, data) = (self.address, self.data().display().to_string());
        if *ipv6 {
            let listen: String = [
                "sip_udp",
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
            ]
            .iter()
            .map(|key| format!("{key} = \"[::1]:0\"\n"))
            .collect();
            return format!(
                "data = {data:?}\ndomains = {domains:?}\nuser = \"root\"\n{trusted}{sections}\
                 [listen]\n{listen}metrics = \"{address}:9464\"\n[voicemail]\nno_answer_s = {no_answer_s}\n"
            );
        }
        format!(
            "data = {data:?}\ndomains = {domains:?}\nuser = \"root\"\n{trusted}{sections}\
             [listen]\nsip_udp = \"{address}:5060\"\nsip_tcp = \"{address}:5060\"\nsip_tls = \"{address}:5061\"\n\
             smtp = \"{address}:{smtp_port}\"\nsubmission = \"{address}:5870\"\nsubmissions = \"{address}:4650\"\n\
             imap = \"{address}:1430\"\nimaps = \"{address}:9930\"\n\
             pop3 = \"{address}:1100\"\npop3s = \"{address}:9950\"\n\
             rtsp = \"{address}:8554\"\nrtsps = \"{address}:8322\"\nmetrics = \"{address}:9464\"\n{listen}\
             [voicemail]\nno_answer_s = {no_answer_s}\n[log]\nlevel = \"info,ringpost=debug\"\n"
        )
    }

    /// Starts the binary on what its folder holds.
    ///
    /// # Panics
    /// When one runs, and when it does not answer in time.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new(Server::binary());
        command.args(["serve", "--config"]).arg(self.config());
        let mut child = spawn(self.folder.path(), "server", &mut command);
        // What comes last before it says that it listens.
        let up = wait_for(START_LIMIT, || {
            child.has_ended()
                || child.output().contains("listening service=\"metrics\"")
                    && UnixStream::connect(self.data().join("admin.sock")).is_ok()
        });
        assert!(
            up && !child.has_ended(),
            "the server does not come up:\n{}",
            child.output()
        );
        self.child = Some(child);
    }

    /// Ends it as an administrator does, and checks that it ends well, and that nothing in its store contradicts itself.
    ///
    /// # Panics
    /// When something does.
    pub fn stop(&mut self) {
        self.signal(libc::SIGTERM);
        self.expect_end();
    }

    /// Waits for the end of a server that was told to stop, and checks that it ends well, as [`stop`](Self::stop) does.
    ///
    /// # Panics
    /// When it does not.
    pub fn expect_end(&mut self) {
        let child = self.child.take().expect("it runs");
        let finished = child.finish(STOP_LIMIT);
        assert!(
            finished.succeeded(),
            "it does not end well: {:?}\n{}",
            finished.status,
            finished.output
        );
        self.check_store();
    }

    /// Ends it as a power cut does, short of the disk.
    pub fn kill(&mut self) {
        let child = self.child.take().expect("it runs");
        child.signal(libc::SIGKILL);
        child.finish(STOP_LIMIT);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        self.child.as_ref().expect("it runs").signal(signal);
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("it runs").pid()
    }

    /// The test's folder: logs and recordings go there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("ringpost.toml")
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The port that the system chose for a service, by the service's key.
    ///
    /// # Panics
    /// When it does not listen for that.
    pub fn port(&self, service: &str) -> u16 {
        let log = self.log();
        let told = log
            .split(&format!("listening service=\"{service}\" address="))
            .nth(1);
        let address = told.and_then(|rest| rest.split_whitespace().next());
        let address: Option<SocketAddr> = address.and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("{service} in:\n{log}")).port()
    }

    /// The domain that it serves, the first one of several.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// What it has logged since it was started.
    pub fn log(&self) -> String {
        self.child.as_ref().map(Child::output).unwrap_or_default()
    }

    /// Waits until it measures that.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn expect_metric(&self, name: &str, value: f64) {
        let is_so = wait_for(METRIC_LIMIT, || self.metric(name) == value);
        assert!(is_so, "{name} is {}, not {value}", self.metric(name));
    }

    /// Runs the command line on it, and gives its output.
    ///
    /// # Panics
    /// When the command fails.
    pub fn command(&self, arguments: &[&str]) -> String {
        self.try_command(arguments)
            .unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    }

    /// The same, or what it says against it.
    ///
    /// # Panics
    /// When the binary does not start.
    pub fn try_command(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(Server::binary())
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .output();
        let output = output.expect("the binary starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(text + &String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// One of the numbers for Prometheus, named without `ringpost_`.
    ///
    /// # Panics
    /// When there is no such number.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let value = text.lines().find_map(|line| {
            line.strip_prefix("ringpost_")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        });
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in:\n{text}"))
    }

    /// The page of numbers for Prometheus, with the head of the answer.
    ///
    /// # Panics
    /// When it cannot be had.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let asked = TcpStream::connect((self.address, 9464)).and_then(|mut stream| {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            stream.read_to_string(&mut text)
        });
        asked.expect("the metrics are served");
        text
    }

    /// Makes an account in its first domain.
    pub fn account(&self, name: &str) -> Account {
        self.account_at(name, &self.domain)
    }

    /// Makes an account in another domain.
    pub fn account_at(&self, name: &str, domain: &str) -> Account {
        let address = format!("{name}@{domain}");
        let said = self.command(&["account", "add", &address]);
        Account {
            name: name.into(),
            password: field(&said, "password"),
            extension: field(&said, "extension"),
            address,
        }
    }

    /// Makes a phone for an account.
    pub fn device(&self, account: &Account, name: &str) -> Device {
        let said = self.command(&["device", "add", &account.address, name]);
        Device {
            account: account.name.clone(),
            username: field(&said, "username"),
            secret: field(&said, "secret"),
        }
    }

    /// An account with one phone.
    pub fn person(&self, name: &str) -> (Account, Device) {
        let account = self.account(name);
        let device = self.device(&account, "phone");
        (account, device)
    }

    /// Has the store looked through.
    ///
    /// # Panics
    /// When anything is wrong with it.
    pub fn check_store(&self) {
        self.command(&["check-store"]);
    }
}

/// The second column of the line whose first is `name`.
fn field(said: &str, name: &str) -> String {
    let mut lines = said.lines().map(|line| line.split('\t'));
    let found =
        lines.find_map(|mut columns| (columns.next() == Some(name)).then(|| columns.next()).flatten());
    found
        .unwrap_or_else(|| panic!("no {name} in {said:?}"))
        .to_string()
}

impl Drop for Server {
    /// Whatever a test has done, the store that it leaves is sound.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("--- the server's log, its last lines:");
            for line in &lines[lines.len().saturating_sub(150)..] {
                println!("{line}");
            }
            return;
        }
        if let Some(child) = self.child.take() {
            child.signal(libc::SIGTERM);
            child.finish(STOP_LIMIT);
        }
        if self.data().join("store.db").exists() {
            self.check_store();
        }
    }
}
