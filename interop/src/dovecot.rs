use crate::certificates::certificates;
use crate::clients::{Child, client, run, skip, spawn, wait_for};
use crate::server::own_address;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);
/// Whom the mail belongs to.
const USER: &str = "nobody";
const GROUP: &str = "nogroup";
/// A running Dovecot with a folder and a loopback address of its own: IMAP on 1430 with STARTTLS, on 9930 under TLS, and every
/// user's mail in a Maildir below its folder.
#[derive(Debug)]
pub struct Dovecot {
    _child: Child,
    folder: tempfile::TempDir,
    address: Ipv4Addr,
    authority: PathBuf,
}

impl Dovecot {
    /// The user that there is.
    pub const USER: &str = "carol";
    /// Her password.
    pub const PASSWORD: &str = "a password, \"quoted\"";

    /// Starts one whose names are parted by `separator`, below `prefix`; or says that the test is skipped.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(separator: &str, prefix: &str) -> Option<Dovecot> {
        let program = client("dovecot")?;
        client("doveadm")?;
        // SAFETY: geteuid cannot fail and touches no memory.
        if unsafe { libc::geteuid() } != 0 {
            skip("Dovecot is started by root alone");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let address = own_address();
        let (authority, (certificate, key)) = certificates(folder.path(), &address.to_string())?;
        let (path, shown) = (folder.path(), folder.path().display());
        for name in ["run", "state", "home"] {
            std::fs::create_dir(path.join(name)).expect("the folder can be written");
        }
        let owned = Command::new("chown")
            .arg(format!("{USER}:{GROUP}"))
            .arg(path.join("home"))
            .status();
        assert!(owned.expect("chown starts").success());
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, open).expect("it is ours");
        let users = format!("{}:{{PLAIN}}{}::::::\n", Dovecot::USER, Dovecot::PASSWORD);
        std::fs::write(path.join("users"), users).expect("the folder can be written");
        let config = format!(
            "base_dir = {shown}/run\nstate_dir = {shown}/state\nlog_path = {shown}/log\nprotocols = imap\n\
             listen = {address}\nssl = yes\nssl_cert = <{}\nssl_key = <{}\ndisable_plaintext_auth = no\n\
             mail_location = maildir:~/Maildir\nservice imap-login {{\n\
             inet_listener imap {{\n    port = 1430\n  }}\n  inet_listener imaps {{\n    port = 9930\n  }}\n}}\n\
             passdb {{\n  driver = passwd-file\n  args = scheme=plain username_format=%u {shown}/users\n}}\n\
             userdb {{\n  driver = static\n  args = uid={USER} gid={GROUP} home={shown}/home/%u\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = {separator}\n  prefix = {prefix}\n\
             mailbox Gesendet {{\n    special_use = \\Sent\n  }}\n  mailbox Trash {{\n    special_use = \\Trash\n  }}\n\
             mailbox Everything {{\n    special_use = \\All\n  }}\n}}\n",
            certificate.display(),
            key.display(),
        );
        std::fs::write(path.join("dovecot.conf"), config).expect("the folder can be written");
        let mut command = Command::new(program);
        command.arg("-F").arg("-c").arg(path.join("dovecot.conf"));
        let mut child = spawn(path, "dovecot", &mut command);
        let is_up = wait_for(LIMIT, || {
            child.has_ended() || TcpStream::connect((address, 9930)).is_ok()
        });
        let dovecot = Dovecot {
            authority,
            address,
            folder,
            _child: child,
        };
        assert!(
            is_up && TcpStream::connect((address, 9930)).is_ok(),
            "{}",
            dovecot.log()
        );
        Some(dovecot)
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The certificate of who vouches for it, by its address.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The user's Maildir.
    pub fn maildir(&self) -> PathBuf {
        self.folder
            .path()
            .join("home")
            .join(Dovecot::USER)
            .join("Maildir")
    }

    /// Runs `doveadm` on the user's mail.
    ///
    /// # Panics
    /// When it fails.
    pub fn doveadm(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(client("doveadm").expect("it was there before"));
        command
            .arg("-c")
            .arg(self.folder.path().join("dovecot.conf"))
            .args(arguments);
        let finished = run(self.folder.path(), "doveadm", &mut command, LIMIT);
        assert!(finished.succeeded(), "{arguments:?}: {}", finished.output);
        finished.output
    }

    /// Makes a copy of a tree of Maildirs the user's mail.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn take_maildir(&self, from: &Path) {
        let home = self.folder.path().join("home").join(Dovecot::USER);
        let script = "mkdir -p \"$2\" && rm -rf \"$2/Maildir\" && cp -a \"$1\" \"$2/Maildir\" && chown -R \"$3\" \"$2\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(from).arg(home);
        command.arg(format!("{USER}:{GROUP}"));
        let finished = run(self.folder.path(), "copy", &mut command, LIMIT);
        assert!(finished.succeeded(), "{}", finished.output);
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("{}{log}", self._child.output())
    }
}
