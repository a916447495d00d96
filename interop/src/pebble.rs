use crate::clients::{Child, client, run, spawn, wait_for};
use crate::{Server, certificates_for};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(20);
/// What its server is called.
const NAME: &str = "ca.test";
const PORT: u16 = 14_000;
const MANAGEMENT_PORT: u16 = 15_000;

/// What a test wants of a [`Pebble`].
#[derive(Clone, Debug, Default)]
pub struct PebbleOptions {
    /// How long its certificates hold, in seconds; its own default is years.
    pub validity_s: Option<u32>,
    /// A key of an account that it knows already, by name, in base64; without one it gives certificates to no other.
    pub external: Option<(String, String)>,
}

/// An authority that gives certificates by ACME: Let's Encrypt's own for tests, on loopback.
///
/// It asks at ports 80 and 443 of the names, for which it looks in a DNS of the test's own; it looks at every proof anew, and
/// refuses the number of every twentieth request.
#[derive(Debug)]
pub struct Pebble {
    address: Ipv4Addr,
    folder: tempfile::TempDir,
    authority: PathBuf,
    child: Child,
}

impl Pebble {
    /// An address for one that is not started yet, so that the DNS can lead there: the record of the authority's server.
    pub fn record(address: Ipv4Addr) -> crate::Record {
        crate::Record::A(NAME, address)
    }

    /// Starts it at an address of its own; `None` where there is none.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(address: Ipv4Addr, dns: SocketAddr, options: &PebbleOptions) -> Option<Pebble> {
        let pebble = client("pebble")?;
        client("curl")?;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (authority, (certificate, key)) = certificates_for(folder.path(), &[NAME], 2)?;
        let mut config = format!(
            "\"listenAddress\": \"{address}:{PORT}\", \"managementListenAddress\": \"{address}:{MANAGEMENT_PORT}\", \
             \"certificate\": {certificate:?}, \"privateKey\": {key:?}, \"httpPort\": 80, \"tlsPort\": 443, \
             \"ocspResponderURL\": \"\", \"externalAccountBindingRequired\": {}",
            options.external.is_some()
        );
        if let Some((id, key)) = &options.external {
            config += &format!(", \"externalAccountMACKeys\": {{\"{id}\": \"{key}\"}}");
        }
        if let Some(seconds) = options.validity_s {
            config += &format!(", \"certificateValidityPeriod\": {seconds}");
        }
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, format!("{{\"pebble\": {{{config}}}}}")).expect("the folder can be written");
        let mut command = Command::new(pebble);
        command
            .arg("-config")
            .arg(file)
            .arg("-dnsserver")
            .arg(dns.to_string());
        command
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0");
        let mut child = spawn(folder.path(), "pebble", &mut command);
        let up = wait_for(START_LIMIT, || {
            child.has_ended()
                || TcpStream::connect((address, PORT)).is_ok()
                    && TcpStream::connect((address, MANAGEMENT_PORT)).is_ok()
        });
        assert!(
            up && !child.has_ended(),
            "pebble does not come up:\n{}",
            child.output()
        );
        Some(Pebble {
            address,
            folder,
            authority,
            child,
        })
    }

    /// Lines of a server's section `acme` that ask this one, by a challenge that is answered at the server's own address.
    pub fn settings(&self, challenge: &str, listen: SocketAddr) -> String {
        format!(
            "enabled = true\nagree_to_terms = true\ndirectory = \"https://{NAME}:{PORT}/dir\"\n\
             contact = [\"admin@interop.test\"]\nchallenge = \"{challenge}\"\nlisten = \"{listen}\"\nauthorities = {:?}\n",
            self.authority
        )
    }

    /// The certificate that vouches for those that it gives, in a file.
    ///
    /// # Panics
    /// When it is not to be had.
    pub fn root(&self) -> PathBuf {
        let file = self.folder.path().join("root.pem");
        let mut command = Command::new("curl");
        let address = self.address;
        command
            .args(["--silent", "--show-error", "--fail", "--resolve"])
            .arg(format!("{NAME}:{MANAGEMENT_PORT}:{address}"))
            .arg("--cacert")
            .arg(&self.authority)
            .arg("--output")
            .arg(&file)
            .arg(format!("https://{NAME}:{MANAGEMENT_PORT}/roots/0"));
        let finished = run(self.folder.path(), "curl", &mut command, START_LIMIT);
        assert!(finished.succeeded(), "{}", finished.output);
        file
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.child.output()
    }

    /// What a new connection to a port of a server is shown, checked against the root: the serial number and the names, as
    /// openssl prints them.
    ///
    /// # Panics
    /// When the certificate is not vouched for, or not for that name.
    pub fn verified(&self, server: &Server, port: u16, name: &str, more: &[&str]) -> (String, String) {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &format!("{}:{port}", server.address())])
            .args([
                "-servername",
                name,
                "-verify_hostname",
                name,
                "-verify_return_error",
            ])
            .arg("-CAfile")
            .arg(self.root())
            .args(more)
            .stdin(Stdio::null())
            .output()
            .expect("openssl starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("Verify return code: 0 (ok)"),
            "port {port}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let file = self.folder.path().join(format!("shown-{port}.pem"));
        std::fs::write(&file, said).expect("the folder can be written");
        let field = |field: &str, before: &str| {
            let output = Command::new("openssl")
                .args(["x509", "-noout", "-in"])
                .arg(&file)
                .args(field.split(' '))
                .output()
                .expect("openssl starts");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let rest = said.split(before).nth(1);
            rest.unwrap_or_else(|| panic!("no {before:?} in {said}"))
                .trim()
                .to_owned()
        };
        (
            field("-serial", "serial="),
            field("-ext subjectAltName", "Subject Alternative Name:")
                .replace("critical", "")
                .trim()
                .to_owned(),
        )
    }
}
