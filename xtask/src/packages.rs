//! The clients and peers that others wrote: which Debian package brings each, and installing what is missing.

use crate::report::Outcome;
use crate::run::run;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A program that must be found, and the package that brings it.
pub(crate) struct Tool {
    /// A program's name, or `perl -M` and a module's, or Debian's Python and `-cimport ` with one's, which programs work less well without.
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// What the interoperability tests use.
pub(crate) const CLIENTS: &[Tool] = &[
    Tool {
        program: "dovecot",
        package: "dovecot-core",
    },
    Tool {
        program: "/usr/lib/dovecot/imap",
        package: "dovecot-imapd",
    },
    Tool {
        program: "sipp",
        package: "sip-tester",
    },
    Tool {
        program: "sipsak",
        package: "sipsak",
    },
    Tool {
        program: "baresip",
        package: "baresip-core",
    },
    Tool {
        program: "linphonec",
        package: "linphone-cli",
    },
    Tool {
        program: "openssl",
        package: "openssl",
    },
    Tool {
        program: "swaks",
        package: "swaks",
    },
    Tool {
        program: "smtp-sink",
        package: "postfix",
    },
    Tool {
        program: "knotd",
        package: "knot",
    },
    Tool {
        program: "pebble",
        package: "pebble",
    },
    Tool {
        program: "/usr/bin/python3 -cimport dkim",
        package: "python3-dkim",
    },
    Tool {
        program: "/usr/bin/python3 -cimport nacl",
        package: "python3-nacl",
    },
    Tool {
        program: "/usr/bin/python3 -cimport yaml",
        package: "python3-yaml",
    },
    Tool {
        program: "/usr/bin/python3 -cimport pip",
        package: "python3-pip",
    },
    Tool {
        program: "perl -MNet::SSLeay",
        package: "libnet-ssleay-perl",
    },
    Tool {
        program: "curl",
        package: "curl",
    },
    Tool {
        program: "ffmpeg",
        package: "ffmpeg",
    },
    Tool {
        program: "gst-launch-1.0",
        package: "gstreamer1.0-tools",
    },
    // rtspclientsink, rtspsrc and the containers, the parsers of H.264.
    Tool {
        program: "/usr/share/doc/gstreamer1.0-rtsp/copyright",
        package: "gstreamer1.0-rtsp",
    },
    Tool {
        program: "/usr/share/doc/gstreamer1.0-plugins-good/copyright",
        package: "gstreamer1.0-plugins-good",
    },
    Tool {
        program: "/usr/share/doc/gstreamer1.0-plugins-bad/copyright",
        package: "gstreamer1.0-plugins-bad",
    },
    Tool {
        program: "/usr/share/doc/gstreamer1.0-plugins-ugly/copyright",
        package: "gstreamer1.0-plugins-ugly",
    },
    // GStreamer's TLS.
    Tool {
        program: "/usr/share/doc/glib-networking/copyright",
        package: "glib-networking",
    },
    Tool {
        program: "pkg-config",
        package: "pkg-config",
    },
    Tool {
        program: "mutt",
        package: "mutt",
    },
    Tool {
        program: "mbsync",
        package: "isync",
    },
    // mbsync's SCRAM.
    Tool {
        program: "/usr/share/doc/libsasl2-modules/copyright",
        package: "libsasl2-modules",
    },
    Tool {
        program: "gsasl",
        package: "gsasl",
    },
    Tool {
        program: "offlineimap",
        package: "offlineimap3",
    },
    Tool {
        program: "node",
        package: "nodejs",
    },
    Tool {
        program: "npm",
        package: "npm",
    },
    Tool {
        program: "msmtp",
        package: "msmtp",
    },
    Tool {
        program: "fetchmail",
        package: "fetchmail",
    },
    Tool {
        program: "getmail",
        package: "getmail6",
    },
    Tool {
        program: "mpop",
        package: "mpop",
    },
    Tool {
        program: "python3",
        package: "python3",
    },
];

/// What the comparisons use beside them.
pub(crate) const PEERS: &[Tool] = &[
    Tool {
        program: "sipp",
        package: "sip-tester",
    },
    Tool {
        program: "sipsak",
        package: "sipsak",
    },
    Tool {
        program: "python3",
        package: "python3",
    },
    Tool {
        program: "kamailio",
        package: "kamailio",
    },
    Tool {
        program: "rtpengine",
        package: "rtpengine-daemon",
    },
    Tool {
        program: "dovecot",
        package: "dovecot-core",
    },
    Tool {
        program: "/usr/lib/dovecot/imap",
        package: "dovecot-imapd",
    },
    Tool {
        program: "/usr/lib/dovecot/pop3",
        package: "dovecot-pop3d",
    },
    Tool {
        program: "/usr/lib/dovecot/lmtp",
        package: "dovecot-lmtpd",
    },
    Tool {
        program: "ffmpeg",
        package: "ffmpeg",
    },
    Tool {
        program: "gcc",
        package: "gcc",
    },
    Tool {
        program: "pkg-config",
        package: "pkg-config",
    },
    // The RTSP server, and what it takes streams apart and puts them together with.
    Tool {
        program: "/usr/share/doc/libgstrtspserver-1.0-dev/copyright",
        package: "libgstrtspserver-1.0-dev",
    },
    Tool {
        program: "/usr/share/doc/gstreamer1.0-plugins-good/copyright",
        package: "gstreamer1.0-plugins-good",
    },
    Tool {
        program: "/usr/share/doc/gstreamer1.0-plugins-bad/copyright",
        package: "gstreamer1.0-plugins-bad",
    },
];

/// A service's start script asks it before the service starts; installed only while we install.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const APT_LIMIT: Duration = Duration::from_secs(600);

/// The step: installs what is missing if it may, and says what stays missing.
pub(crate) fn ensure(tools: &[Tool]) -> Outcome {
    let lacking = missing(tools);
    if lacking.is_empty() {
        return Outcome::Passed(format!("{} clients found", tools.len()));
    }
    let names: Vec<&str> = lacking.iter().map(|tool| tool.package).collect();
    let installed = if may_install() {
        install(&names)
    } else {
        Err(anyhow::anyhow!("not root on Debian"))
    };
    let still: Vec<&str> = missing(tools).iter().map(|tool| tool.package).collect();
    if still.is_empty() {
        return Outcome::Passed(format!("installed {}", names.join(", ")));
    }
    let why = installed
        .err()
        .map(|error| format!(" ({error:#})"))
        .unwrap_or_default();
    let line = format!(
        "missing Debian packages: {}{why}; `apt-get install {0}` brings them",
        still.join(" "),
        why = why
    );
    if crate::in_ci() {
        Outcome::Failed(line)
    } else {
        Outcome::Skipped(format!("{line}; their tests are skipped"))
    }
}

/// The tools that are not found.
pub(crate) fn missing(tools: &[Tool]) -> Vec<&Tool> {
    tools.iter().filter(|tool| !is_found(tool.program)).collect()
}

fn is_found(program: &str) -> bool {
    let module = |interpreter: &str, arguments: &[&str]| {
        let found = Command::new(interpreter).args(arguments).output();
        found.is_ok_and(|out| out.status.success())
    };
    if let Some(import) = program.strip_prefix("perl ") {
        return module("perl", &[import, "-e", "1"]);
    }
    if let Some(import) = program.strip_prefix("/usr/bin/python3 ") {
        return module("/usr/bin/python3", &[import]);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|folder| Path::new(folder).join(program).is_file())
}

fn may_install() -> bool {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    root && is_found("apt-get")
}

fn install(packages: &[&str]) -> Result<()> {
    let _policy = Policy::deny_starts()?;
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend_from_slice(packages);
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=120"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    let finished = run(&format!("apt-{}", arguments[0]), &mut command, APT_LIMIT)?;
    if !finished.succeeded() {
        bail!("apt-get {} failed, see {}", arguments[0], finished.log.display());
    }
    Ok(())
}

/// Keeps Debian from starting the daemons it installs. A policy that is there already is left alone.
struct Policy {
    ours: bool,
}

impl Policy {
    fn deny_starts() -> Result<Self> {
        let path = Path::new(POLICY);
        if path.exists() {
            return Ok(Policy { ours: false });
        }
        std::fs::write(path, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        Ok(Policy { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_exist_is_missing() {
        let tools = [
            Tool {
                program: "sh",
                package: "dash",
            },
            Tool {
                program: "no-such-program-anywhere",
                package: "none",
            },
        ];
        let lacking: Vec<&str> = missing(&tools).iter().map(|tool| tool.package).collect();
        assert_eq!(lacking, ["none"]);
    }
}
