//! TLS connections that are typed through openssl.

use crate::{DOMAIN, Device, Server, client, wait_for};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// One `openssl s_client`, into which the test types.
#[derive(Debug)]
pub struct TypedTls {
    child: Child,
    log: PathBuf,
}

impl TypedTls {
    /// Connects, with more arguments of s_client; None when openssl is missing.
    ///
    /// # Panics
    /// When it does not start.
    pub fn open(server: &Server, port: u16, more: &[&str]) -> Option<TypedTls> {
        let openssl = client("openssl")?;
        let log = server
            .folder()
            .join(format!("s_client-{port}{}.log", more.join("")));
        let file = std::fs::File::create(&log).expect("openssl runs in the test's folder");
        let child = Command::new(openssl)
            .args(["s_client", "-connect", &format!("{}:{port}", server.address())])
            .args(["-crlf", "-quiet", "-servername", DOMAIN])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("openssl runs in the test's folder"))
            .stderr(file)
            .spawn()
            .expect("openssl runs in the test's folder");
        Some(TypedTls { child, log })
    }

    /// Types lines. A session that the other side has ended takes nothing.
    ///
    /// # Panics
    /// When nothing can be typed into it.
    pub fn say(&mut self, lines: &str) {
        let _ = self
            .child
            .stdin
            .as_mut()
            .expect("openssl runs in the test's folder")
            .write_all(lines.as_bytes());
    }

    /// What it has heard so far, with what openssl had to say.
    ///
    /// # Panics
    /// When its file cannot be read.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("openssl runs in the test's folder"))
            .into_owned()
    }

    /// Waits for an answer with `text`.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn expect(&self, text: &str) -> String {
        let found = wait_for(LIMIT, || self.heard().contains(text));
        let heard = self.heard();
        assert!(found, "no {text:?} in:\n{heard}");
        heard
    }

    /// Whether the connection ends within ten seconds.
    pub fn has_ended(&mut self) -> bool {
        wait_for(LIMIT, || matches!(self.child.try_wait(), Ok(Some(_))))
    }

    /// Registers a phone with its secret, as a phone does over its one connection.
    ///
    /// # Panics
    /// When it is refused.
    pub fn register(&mut self, device: &Device) {
        self.say(&register(device, 1, ""));
        let challenge = self.expect("Content-Length: 0");
        assert!(challenge.contains("SIP/2.0 401"), "{challenge}");
        let nonce = challenge.split("nonce=\"").nth(1);
        let nonce = nonce.and_then(|rest| rest.split('"').next());
        let nonce = nonce.unwrap_or_else(|| panic!("no nonce in {challenge}"));
        self.say(&register(device, 2, &credentials(device, nonce)));
        self.expect("SIP/2.0 200");
    }
}

impl Drop for TypedTls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// MD5 in hexadecimal, as openssl reckons it.
fn md5(text: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["dgst", "-md5", "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    child
        .stdin
        .take()
        .expect("openssl runs")
        .write_all(text.as_bytes())
        .expect("openssl runs");
    let output = child.wait_with_output().expect("openssl runs");
    String::from_utf8(output.stdout).expect("openssl runs")[..32].to_string()
}

fn register(device: &Device, cseq: u32, credentials: &str) -> String {
    let user = &device.account;
    format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\nVia: SIP/2.0/TLS phone.invalid;branch=z9hG4bKr{cseq};rport\n\
         From: <sip:{user}@{DOMAIN}>;tag=r\nTo: <sip:{user}@{DOMAIN}>\nCall-ID: typed\nCSeq: {cseq} REGISTER\n\
         Contact: <sip:{user}@phone.invalid;transport=tls>\nExpires: 600\nMax-Forwards: 70\n{credentials}\
         Content-Length: 0\n\n"
    )
}

/// What answers a challenge of MD5 with qop=auth.
fn credentials(device: &Device, nonce: &str) -> String {
    let Device { username, secret, .. } = device;
    let uri = format!("sip:{DOMAIN}");
    let (a1, a2) = (
        md5(&format!("{username}:{DOMAIN}:{secret}")),
        md5(&format!("REGISTER:{uri}")),
    );
    let response = md5(&format!("{a1}:{nonce}:00000001:typed:auth:{a2}"));
    format!(
        "Authorization: Digest username=\"{username}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"typed\"\n"
    )
}

/// Base64 of octets, as openssl writes it.
///
/// # Panics
/// When openssl is missing.
pub fn base64(octets: impl AsRef<[u8]>) -> String {
    let mut child = Command::new("openssl")
        .args(["base64", "-A"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is there");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(octets.as_ref()).expect("it takes everything");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
