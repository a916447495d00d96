//! The two servers.

use ringpost_perf::server::{binary, peers, used, wait_until};
use ringpost_perf::{Child, Line, Result};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use tempfile::TempDir;

const OUR_PORT: u16 = 18_754;
/// The peer's; publishers have the next but one.
const PEER_PORT: u16 = 18_654;
/// What the peer's two processes pass the stream by.
const PEER_UDP_PORT: u16 = 15_104;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Peer,
}

/// Both, in the order in which they have their turn.
pub(crate) const SIDES: [Side; 2] = [Side::Ours, Side::Peer];
/// The peer's name.
pub(crate) const PEER: &str = "gst-rtsp-server";

/// A stream.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    path: &'static str,
}

impl Target {
    fn new(port: u16, path: &'static str) -> Self {
        Target {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            path,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("rtsp://{}{}", self.address, self.path)
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) publish: Target,
    pub(crate) play: Target,
    pids: String,
    end: End,
}

enum End {
    Ours(
        #[expect(dead_code, reason = "dropping it ends the server")] Child,
        #[expect(dead_code, reason = "and its data")] TempDir,
    ),
    Script,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Ours => "ringpost",
            Side::Peer => PEER,
        }
    }

    /// Where a line has this side's figures.
    pub(crate) fn of(self, line: &mut Line) -> &mut Vec<f64> {
        match self {
            Side::Ours => &mut line.ours,
            Side::Peer => &mut line.peers,
        }
    }

    pub(crate) fn start(self) -> Result<Running> {
        match self {
            Side::Ours => start_ours(),
            Side::Peer => start_peer(),
        }
    }
}

impl Running {
    /// CPU seconds so far, and memory (PSS) in KiB.
    pub(crate) fn used(&self) -> Result<(f64, f64)> {
        used(&self.pids)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.end, End::Script)
            && let Err(error) = script("stop")
        {
            eprintln!("{error}");
        }
    }
}

fn start_ours() -> Result<Running> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ringpost.toml");
    let off: String = [
        "sip_udp",
        "sip_tcp",
        "sip_tls",
        "smtp",
        "submission",
        "submissions",
    ]
    .iter()
    .chain(&["imap", "imaps", "pop3", "pop3s", "rtsps", "metrics"])
    .map(|service| format!("{service} = \"off\"\n"))
    .collect();
    let data = folder.path().join("data");
    fs::create_dir(&data)?;
    fs::write(
        &file,
        format!(
            "data = {data:?}\nuser = \"root\"\ndomains = [\"bench.test\"]\n[listen]\nrtsp = \"127.0.0.1:{OUR_PORT}\"\n{off}\
             [streams]\nmounts.\"clip\" = {{ publish = [\"anyone\"], read = [\"anyone\"] }}\n\
             [media]\nports = \"40000-59999\"\n[log]\nlevel = \"error\"\n"
        ),
    )?;
    let child = Child::start(
        binary()?,
        ["--config".as_ref(), file.as_os_str(), "serve".as_ref()],
    )?;
    let target = Target::new(OUR_PORT, "/clip");
    wait_until("ringpost listens", || TcpStream::connect(target.address).is_ok())?;
    Ok(Running {
        publish: target.clone(),
        play: target,
        pids: child.pid().to_string(),
        end: End::Ours(child, folder),
    })
}

fn start_peer() -> Result<Running> {
    let told = script("start")?;
    let pids = told
        .split("\"pid\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    Ok(Running {
        publish: Target::new(PEER_PORT + 2, "/push"),
        play: Target::new(PEER_PORT, "/test"),
        pids: pids
            .ok_or_else(|| format!("gst-rtsp.sh said {told:?}"))?
            .to_owned(),
        end: End::Script,
    })
}

fn script(what: &str) -> Result<String> {
    let output = Command::new("bash")
        .arg(peers().join("gst-rtsp.sh"))
        .arg(what)
        .env("SUT_HOST", "127.0.0.1")
        .env("SUT_RTSP_PORT", PEER_PORT.to_string())
        .env("GST_UDP_PORT", PEER_UDP_PORT.to_string())
        .output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("gst-rtsp.sh {what}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
