//! `service-unit`: the server under systemd, with the rights that it needs and no others.

use std::path::Path;

/// The unit for a binary and a configuration file (None: the usual one, or the defaults).
pub(crate) fn service_unit(binary: &Path, config: Option<&Path>) -> String {
    let mut command = quoted(binary);
    command += " serve";
    if let Some(config) = config {
        command += " --config ";
        command += &quoted(config);
    }
    UNIT.replace("@COMMAND@", &command)
}

/// A line about what the unit would not find: it sees nothing of people's homes, and has a /tmp of its own.
pub(crate) fn hidden(what: &str, path: &Path) -> Option<String> {
    let folders = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
    let folder = folders.iter().find(|folder| path.starts_with(folder))?;
    let name = path.display();
    Some(format!(
        "{what} {name} is hidden from the unit, as all of {folder} is; put it elsewhere, as in /usr/local/bin or \
         /etc/ringpost, and print the unit again"
    ))
}

/// As systemd reads a word of a command: `%` and `$` doubled, quoted when need be.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%").replace('$', "$$");
    if text.contains([' ', '"', '\'', '\\']) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text
    }
}

/// The data folder is /var/lib/ringpost, where `data` must point if it is set.
const UNIT: &str = "\
[Unit]
Description=Ringpost: phone calls, mail and streams
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=@COMMAND@
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
# A stopping server waits up to a minute to hear whether another has taken its last message.
TimeoutStopSec=80
LimitNOFILE=65536
# A user that exists while the server runs, and owns /var/lib/ringpost.
DynamicUser=yes
StateDirectory=ringpost
StateDirectoryMode=0700
ConfigurationDirectory=ringpost
Environment=XDG_DATA_HOME=/var/lib
# The ports below 1024, and nothing else that is root's.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=all
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_runs_this_binary_with_this_configuration() {
        let unit = service_unit(
            Path::new("/opt/ring post/ringpost"),
            Some(Path::new("/etc/r.toml")),
        );
        assert!(
            unit.contains("\nExecStart=\"/opt/ring post/ringpost\" serve --config /etc/r.toml\n"),
            "{unit}"
        );
        assert!(unit.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE\n"));
        assert!(hidden("the binary", Path::new("/usr/local/bin/ringpost")).is_none());
        assert!(hidden("the binary", Path::new("/homes/ringpost")).is_none());
        let told = hidden("the binary", Path::new("/home/a/ringpost")).unwrap();
        assert!(
            told.starts_with("the binary /home/a/ringpost is hidden"),
            "{told}"
        );
        let plain = service_unit(Path::new("/usr/bin/ringpost"), None);
        assert!(plain.contains("\nExecStart=/usr/bin/ringpost serve\n"));
    }
}
