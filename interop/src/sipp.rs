use crate::clients::{Child, Finished, client, spawn, wait_for};
use crate::{Device, Server};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where one of our scenarios lies.
pub fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("sipp")
        .join(format!("{name}.xml"))
}

/// One SIPp, as a phone of an account on the server's address at a port of its own.
///
/// Our scenarios know `[user]` (the account), `[domain]`, `[service]` and `[target]` (whom to call, of which domain) and the
/// credentials.
#[derive(Debug)]
pub struct Sipp {
    program: PathBuf,
    folder: PathBuf,
    address: IpAddr,
    port: u16,
    server: SocketAddr,
    user: String,
    domain: String,
    target: String,
    arguments: Vec<String>,
}

impl Sipp {
    /// A phone at a port; None when SIPp is not installed.
    pub fn phone(server: &Server, device: &Device, port: u16) -> Option<Sipp> {
        let program = client("sipp")?;
        let mut sipp = Sipp {
            program,
            folder: server.folder().to_path_buf(),
            address: server.address().into(),
            port,
            server: SocketAddr::new(server.address().into(), 5060),
            user: device.account.clone(),
            domain: server.domain().to_string(),
            target: server.domain().to_string(),
            arguments: Vec::new(),
        };
        sipp.argument("-au", &device.username);
        sipp.argument("-ap", &device.secret);
        Some(sipp)
    }

    /// The same at `::1`, towards the server's port of `service` there: `sip_udp`, or `sip_tcp` for scenarios over TCP.
    pub fn phone_on_ipv6(server: &Server, device: &Device, port: u16, service: &str) -> Option<Sipp> {
        let loopback = Ipv6Addr::LOCALHOST.into();
        Some(Sipp {
            address: loopback,
            server: SocketAddr::new(loopback, server.port(service)),
            ..Sipp::phone(server, device, port)?
        })
    }

    /// The same phone, which calls people of another domain; parameters of their URI may follow.
    pub fn calling(mut self, target: &str) -> Sipp {
        self.target = target.to_string();
        self
    }

    /// Every message that a scenario has sent and received.
    pub fn messages(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name, "messages")).unwrap_or_default()
    }

    fn argument(&mut self, name: &str, value: &str) {
        self.arguments.extend([name.to_string(), value.to_string()]);
    }

    /// Runs a scenario once, to its end.
    pub fn run(&self, name: &str, more: &[&str]) -> Finished {
        let mut finished = self.start(name, more).finish(Duration::from_secs(50));
        if !finished.succeeded() {
            for suffix in ["errors", "messages"] {
                let text = std::fs::read_to_string(self.file(name, suffix)).unwrap_or_default();
                finished.output += &format!("\n--- {suffix} of {name}:\n{text}");
            }
        }
        finished
    }

    /// Runs a scenario that must succeed.
    ///
    /// # Panics
    /// When it does not: with its messages.
    pub fn expect(&self, name: &str, more: &[&str]) {
        let finished = self.run(name, more);
        assert!(
            finished.succeeded(),
            "{name}: {:?}\n{}",
            finished.status,
            finished.output
        );
    }

    /// Starts a scenario beside the test.
    pub fn start(&self, name: &str, more: &[&str]) -> Child {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).arg("-sf").arg(scenario(name));
        command.args(["-i", &self.address.to_string(), "-p", &self.port.to_string()]);
        command.args([
            "-key",
            "user",
            &self.user,
            "-key",
            "domain",
            &self.domain,
            "-key",
            "target",
            &self.target,
        ]);
        command.args(["-m", "1", "-nostdin", "-timeout", "40"]);
        command
            .args(["-timeout_error", "-trace_err", "-error_file"])
            .arg(self.file(name, "errors"));
        command
            .args(["-trace_msg", "-message_file"])
            .arg(self.file(name, "messages"));
        // The URI of the credentials is the request's: the domain, or whoever is called.
        let called = more.iter().skip_while(|argument| **argument != "-s").nth(1);
        let uri = called.map_or(self.domain.to_string(), |user| format!("{user}@{}", self.target));
        command.args(["-auth_uri", &uri]);
        if !name.starts_with("uas") {
            command.arg("-oocsf").arg(scenario("ooc_notify"));
        }
        command
            .args(&self.arguments)
            .args(more)
            .arg(self.server.to_string());
        let child = spawn(&self.folder, &format!("{name}-{}", self.port), &mut command);
        if name.starts_with("uas") {
            let listens = wait_for(Duration::from_secs(10), || is_open(self.address, self.port));
            assert!(listens, "{name} does not listen:\n{}", child.output());
        }
        child
    }

    fn file(&self, name: &str, suffix: &str) -> PathBuf {
        self.folder.join(format!("{name}-{}.{suffix}", self.port))
    }
}

/// Whether somebody on this machine has a UDP or TCP socket at an address.
fn is_open(address: IpAddr, port: u16) -> bool {
    // As the kernel writes it: the address as numbers in the machine's order.
    let (digits, tables) = match address {
        IpAddr::V4(address) => {
            let number = u32::from_ne_bytes(address.octets());
            (format!("{number:08X}"), ["/proc/net/udp", "/proc/net/tcp"])
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let words = octets
                .chunks_exact(4)
                .map(|word| u32::from_ne_bytes(word.try_into().expect("four octets")));
            let digits = words.map(|word| format!("{word:08X}")).collect();
            (digits, ["/proc/net/udp6", "/proc/net/tcp6"])
        }
    };
    let wanted = format!(" {digits}:{port:04X} ");
    tables
        .iter()
        .any(|table| std::fs::read_to_string(table).is_ok_and(|table| table.contains(&wanted)))
}
