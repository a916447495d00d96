//! `ringpost serve` as an administrator meets it: what it says when it cannot start, and whose it is once it runs.

// A test says what it expects by failing: `unwrap` is how.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Nobody, on every Debian.
const NOBODY: u32 = 65_534;
/// How long a server may take to say what it has to say.
const LIMIT: Duration = Duration::from_secs(20);

/// A folder that everybody may enter, with the binary, a configuration, and a loopback address of its own.
struct Place {
    folder: tempfile::TempDir,
    address: String,
}

const SERVICES: [(&str, u16); 13] = [
    ("sip_udp", 5060),
    ("sip_tcp", 5060),
    ("sip_tls", 5061),
    ("smtp", 2525),
    ("submission", 5870),
    ("submissions", 4650),
    ("imap", 1430),
    ("imaps", 9930),
    ("pop3", 1100),
    ("pop3s", 9950),
    ("rtsp", 8554),
    ("rtsps", 8322),
    ("metrics", 9464),
];

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
            address: format!("127.{}.{low}.{count}", 64 + high % 32),
        };
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        // Had this process written it, a child that another test starts meanwhile could hold it open, and nobody run it.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_ringpost"))
            .arg(place.binary())
            .status();
        assert!(copied.unwrap().success());
        let home = place.path().join("home");
        fs::create_dir(&home).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn binary(&self) -> PathBuf {
        self.path().join("ringpost")
    }

    fn data(&self) -> PathBuf {
        self.path().join("home/data")
    }

    /// A configuration that listens on the place's own address, with some lines replaced.
    fn configure(&self, top: &str, listen: &[(&str, &str)], rest: &str) {
        let listeners = SERVICES.map(|(key, port)| {
            let set = listen.iter().find(|(of, _)| *of == key);
            let value = set.map_or(format!("{}:{port}", self.address), |(_, value)| (*value).into());
            format!("{key} = {value:?}\n")
        });
        let data = format!("data = {:?}\n", self.data());
        let data = format!("domains = [\"one.test\"]\n{data}");
        let top = if top.contains("data = ") {
            top.to_string()
        } else {
            data + top
        };
        self.write(&format!("{top}\n[listen]\n{}{rest}\n", listeners.concat()));
    }

    fn write(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.path().join("ringpost.toml")
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Starts it, as nobody where the test may choose.
    fn start(&self, as_nobody: bool) -> Running {
        let mut command = Command::new(self.binary());
        self.run(command.args(["serve", "--config"]).arg(self.config()), as_nobody)
    }

    fn run(&self, command: &mut Command, as_nobody: bool) -> Running {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = self.path().join(format!("log-{number}"));
        let file = File::create(&log).unwrap();
        command.env_clear().env("HOME", self.path().join("home"));
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        if as_nobody && is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Running {
            child: command.spawn().unwrap(),
            log,
        }
    }

    /// The one line that it says before it gives up.
    fn refusal(&self) -> String {
        let mut running = self.start(true);
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = running.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it runs: {}", running.log());
            std::thread::sleep(Duration::from_millis(10));
        };
        let said = running.log();
        assert!(!status.success(), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("ringpost: "), "{said}");
        said["ringpost: ".len()..].trim_end().to_string()
    }
}

struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a line with `text`, and gives it.
    fn expect(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_string();
            }
            assert!(Instant::now() < deadline, "no {text:?} in:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill takes numbers; the child has not been waited for, so its number is its own.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// A certificate with its key, as PEM: made by the server itself in another folder.
fn certificate() -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = ringpost_net::tls::self_signed(folder.path(), &["one.test".into()]).unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    (read(&certificate), read(&key))
}

#[test]
fn a_port_that_cannot_be_had_is_told_in_one_line() {
    let place = Place::new();
    let address = place.address.clone();
    let tcp = |port: u16| TcpListener::bind((address.as_str(), port)).unwrap();
    for (service, port) in SERVICES {
        place.configure("", &[], "");
        let told = if service == "sip_udp" {
            let _taken = UdpSocket::bind((address.as_str(), port)).unwrap();
            place.refusal()
        } else {
            let _taken = tcp(port);
            place.refusal()
        };
        assert_eq!(
            told,
            format!(
                "listen.{service}: {address}:{port} is taken by another program; stop that one, or set another address or \
                 \"off\""
            )
        );
    }
    // Reserved for documentation: no machine has it.
    place.configure("", &[("imap", "203.0.113.5:143")], "");
    let told = place.refusal();
    assert_eq!(
        told,
        "listen.imap: 203.0.113.5:143: Cannot assign requested address (os error 99); set an address of this machine, or \
         \"off\""
    );
    place.configure("", &[("smtp", &format!("{address}:25"))], "");
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if lowest.trim().parse::<u16>().unwrap() > 25 {
        let told = place.refusal();
        assert!(
            told.starts_with(&format!("listen.smtp: {address}:25 is denied: ")),
            "{told}"
        );
        for word in ["service-unit", "setcap", "2525"] {
            assert!(told.contains(word), "{told}");
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_is_told_in_one_line() {
    let place = Place::new();
    let config = place.config().display().to_string();
    for (text, told) in [
        ("dat = 1\n", ":1: unknown field `dat`, expected one of `data`"),
        (
            "[listen]\nsmpt = \"off\"\n",
            ":2: unknown field `smpt`, expected one of",
        ),
        ("domains = [\n", ":1: domains: unclosed array"),
        (
            "domains = [\"a b\"]\n",
            ": domains: \"a b\" is not a domain's name; ",
        ),
    ] {
        place.write(text);
        let said = place.refusal();
        assert!(said.starts_with(&format!("{config}{told}")), "{said}");
    }
    place.configure("", &[], "[log]\nlevel = \"verbose\"\n");
    let said = place.refusal();
    assert!(
        said.starts_with("log.level: \"verbose\" is not a level; write "),
        "{said}"
    );
    if is_root() {
        fs::set_permissions(place.config(), Permissions::from_mode(0o600)).unwrap();
        let said = place.refusal();
        assert!(
            said.starts_with(&config) && said.ends_with("give user nobody the right to read it"),
            "{said}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_used_is_told_in_one_line_with_its_key() {
    let place = Place::new();
    let (certificate, key) = certificate();
    let certificate = place.file("certificate.pem", &certificate, 0o644);
    let key = place.file("key.pem", &key, 0o644);
    let other_key = place.file("other.pem", &self::certificate().1, 0o644);
    let junk = place.file("junk", "junk", 0o644);
    let missing = place.path().join("missing");
    let secret = place.file("secret.pem", "", 0o600);
    let tls = |certificate: &Path, key: &Path| {
        place.configure(
            "",
            &[],
            &format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"),
        );
        place.refusal()
    };
    let said = tls(&missing, &key);
    assert!(said.starts_with("tls.certificate: there is no file "), "{said}");
    let said = tls(&junk, &key);
    assert!(
        said.starts_with("tls.certificate: ") && said.contains("expected a PEM certificate chain"),
        "{said}"
    );
    let said = tls(&certificate, &other_key);
    assert!(
        said.starts_with("tls.key: ") && said.contains("the key that it was made for"),
        "{said}"
    );
    if is_root() {
        let said = tls(&certificate, &secret);
        let told = format!(
            "tls.key: user nobody, who the server runs as, may not read {}; give user nobody the right to",
            secret.display()
        );
        assert_eq!(said, told);
    }
    place.configure("", &[], &format!("[voicemail]\ngreeting = {junk:?}\n"));
    let said = place.refusal();
    assert!(
        said.starts_with("voicemail.greeting: ") && said.contains("name a WAV file"),
        "{said}"
    );
}

#[test]
fn a_data_folder_that_cannot_be_had_is_told_in_one_line() {
    let place = Place::new();
    let file = place.file("file", "", 0o644);
    place.configure(&format!("data = {file:?}\n"), &[], "");
    let said = place.refusal();
    assert!(
        said.starts_with("data: ") && said.ends_with("set a folder, not a file"),
        "{said}"
    );
    place.configure("data = \"/proc/no/such\"\n", &[], "");
    let said = place.refusal();
    assert!(
        said.starts_with("data: ") && said.contains("/proc/no/such"),
        "{said}"
    );
    // A Unix socket's path has some hundred bytes at most.
    let long = place.path().join("home").join("x".repeat(120));
    place.configure(&format!("data = {long:?}\n"), &[], "");
    let said = place.refusal();
    assert!(
        said.starts_with("data: ") && said.ends_with("set a folder with a shorter path"),
        "{said}"
    );

    place.configure("", &[], "");
    let holder = place.start(true);
    holder.expect("listening");
    let off = SERVICES.map(|(key, _)| (key, "off"));
    place.configure("", &off, "");
    let held = place.refusal();
    let told = format!(
        "data: the data folder {} is held by another process, {}; stop that server, or set another folder",
        place.data().display(),
        holder.child.id()
    );
    assert_eq!(held, told);
}

#[test]
fn connections_that_the_system_does_not_allow_are_told_of_and_leave_room() {
    let place = Place::new();
    place.configure("", &[], "");
    let script = format!(
        "ulimit -n 200; exec {} serve --config {}",
        place.binary().display(),
        place.config().display()
    );
    let running = place.run(Command::new("sh").args(["-c", &script]), true);
    running.expect("limits.connections: 20000 are too many for the 200 files");
    running.expect("listening service=\"metrics\"");
    let mut kept = Vec::new();
    // More than all of them; the last ones are closed at once.
    for n in 1..=150u8 {
        let from = format!("127.99.{n}.1:0").parse().unwrap();
        let to = format!("{}:2525", place.address).parse().unwrap();
        kept.push(connect(from, to));
    }
    let mut greeted = 0;
    for stream in &mut kept {
        let mut code = [0; 3];
        stream.read_exact(&mut code).unwrap();
        match &code {
            b"220" => greeted += 1,
            told => assert_eq!(told, b"421"),
        }
    }
    assert_eq!(greeted, 100);
    // There is room for what is no connection: the command line, and the store's files.
    let said = Command::new(place.binary())
        .args(["account", "add", "alice@one.test", "--config"])
        .arg(place.config())
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
}

/// A connection from an address of the machine's own choice.
fn connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

#[test]
fn a_key_that_only_root_may_read_serves_and_its_renewal_is_refused_clearly() {
    if !is_root() {
        println!("SKIP: only root can start a server that drops its rights");
        return;
    }
    let place = Place::new();
    let (certificate, key) = certificate();
    let certificate = place.file("certificate.pem", &certificate, 0o644);
    let key = place.file("key.pem", &key, 0o600);
    place.configure(
        "user = \"nobody\"\n",
        &[],
        &format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"),
    );
    let running = place.start(false);
    running.expect("listening service=\"imaps\"");
    let line = running.expect("tls.key: user nobody, who the server runs as, may not read");
    assert!(
        line.contains("WARN") && line.contains("until then SIGHUP cannot"),
        "{line}"
    );
    running.signal(libc::SIGHUP);
    let line = running.expect("the old certificate stays in use");
    assert!(
        line.contains("tls.key: user nobody") && line.contains("give user nobody the right to"),
        "{line}"
    );
    running.expect("configuration read again");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    running.signal(libc::SIGHUP);
    let deadline = Instant::now() + LIMIT;
    while running.log().matches("configuration read again").count() < 2 {
        assert!(Instant::now() < deadline, "{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(running.log().matches("the old certificate stays").count(), 1);
}

/// Says something to a server of mail, and gives the last line of its reply.
fn say(stream: &mut BufReader<TcpStream>, text: &str) -> String {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

#[test]
fn a_hangup_does_not_hurry_a_server_that_stops_and_a_second_terminate_does() {
    let place = Place::new();
    place.configure("trusted_networks = [\"127.0.0.0/8\"]\n", &[], "");
    let told = |running: &Running, text: &str| running.log().contains(text);
    for hurried in [false, true] {
        let mut running = place.start(true);
        running.expect("listening service=\"metrics\"");
        let to: SocketAddr = format!("{}:2525", place.address).parse().unwrap();
        let from = || connect("127.0.0.1:0".parse().unwrap(), to);
        let (mut sender, mut idle) = (BufReader::new(from()), BufReader::new(from()));
        for (text, code) in [
            ("", "220 "),
            ("EHLO there.test\r\n", "250 "),
            ("MAIL FROM:<x@there.test>\r\n", "250 "),
            ("RCPT TO:<alice@one.test>\r\n", "250 "),
            ("DATA\r\n", "354 "),
        ] {
            if text.starts_with("RCPT") && !hurried {
                let added = Command::new(place.binary())
                    .args(["account", "add", "alice@one.test", "--config"])
                    .arg(place.config())
                    .output()
                    .unwrap();
                assert!(added.status.success(), "{added:?}");
            }
            let said = say(&mut sender, text);
            assert!(said.starts_with(code), "{text} {said}");
        }
        assert!(say(&mut idle, "").starts_with("220 "));
        running.signal(libc::SIGTERM);
        let said = say(&mut idle, "");
        assert!(said.starts_with("421 "), "it stops: {said}");
        running.signal(libc::SIGHUP);
        running.expect("the configuration is not read again");
        if hurried {
            running.signal(libc::SIGTERM);
        } else {
            let said = say(&mut sender, "Subject: x\r\n\r\n.\r\n");
            assert!(said.starts_with("250 "), "{said}");
        }
        let status = running.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", running.log());
        assert_eq!(told(&running, "asked twice"), hurried, "{}", running.log());
        assert_eq!(told(&running, "stopped"), !hurried, "{}", running.log());
    }
}
