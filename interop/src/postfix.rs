use crate::clients::{client, run, wait_for};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A whole Postfix with folders of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Postfix {
    folder: tempfile::TempDir,
    is_started: bool,
}

/// Its table of services beside those that listen. `failing` takes a message and bounces it later.
const SERVICES: &str = "\
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
failing unix - n n - - pipe flags= user=nobody argv=/bin/sh -c ${nexthop}
";

impl Postfix {
    /// One that is not started yet, or says that its test is skipped.
    ///
    /// # Panics
    /// When its folders cannot be made.
    pub fn prepared() -> Option<Postfix> {
        client("postfix")?;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let allowed = std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755));
        allowed.expect("the folder is ours");
        for name in ["etc", "queue", "data", "mail"] {
            std::fs::create_dir(folder.path().join(name)).expect("the folder can be written");
        }
        for name in ["data", "mail"] {
            let mut chown = Command::new("chown");
            let done = chown.arg("postfix").arg(folder.path().join(name)).status();
            assert!(done.is_ok_and(|status| status.success()), "chown {name}");
        }
        Some(Postfix {
            folder,
            is_started: false,
        })
    }

    /// Writes a file beside its configuration, and gives its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join("etc").join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path
    }

    /// Starts it at port 25 of these addresses, each with options of its own (lines of `-o`), with these lines of main.cf beside
    /// what every one has, which delivers what is its own into [`Postfix::mails`].
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self, main: &str, listeners: &[(Ipv4Addr, &str)]) {
        let path = self.folder.path().display();
        let id = Command::new("id").args(["-u", "postfix"]).output();
        let id = String::from_utf8(id.expect("id starts").stdout).expect("a number");
        let id = id.trim();
        let common = format!(
            "compatibility_level = 3.6\nqueue_directory = {path}/queue\ndata_directory = {path}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nmydestination =\nmynetworks = 192.0.2.1/32\n\
             inet_protocols = ipv4\nalias_maps =\nalias_database =\nlocal_recipient_maps =\nnotify_classes =\n\
             virtual_mailbox_base = {path}/mail\nvirtual_uid_maps = static:{id}\nvirtual_gid_maps = static:{id}\n\
             virtual_minimum_uid = 1\nsmtp_dns_support_level = disabled\nmailbox_size_limit = 0\n\
             virtual_mailbox_limit = 0\nsmtputf8_enable = yes\n\
             maillog_file = {path}/postfix.log\nmaillog_file_prefixes = {path}\n"
        );
        self.write("main.cf", &(common + main));
        let listening = listeners
            .iter()
            .map(|(address, options)| format!("{address}:25 inet n - n - - smtpd\n{options}"));
        self.write("master.cf", &(listening.collect::<String>() + SERVICES));
        self.is_started = true;
        let said = self.command("start");
        let up = wait_for(LIMIT, || {
            let mut addresses = listeners.iter().map(|(address, _)| *address);
            addresses.all(|address| TcpStream::connect((address, 25)).is_ok())
        });
        assert!(up, "Postfix does not come up:\n{said}\n{}", self.log());
    }

    fn command(&self, command: &str) -> String {
        let mut postfix = Command::new("postfix");
        postfix.arg("-c").arg(self.folder.path().join("etc")).arg(command);
        run(self.folder.path(), command, &mut postfix, LIMIT).output
    }

    /// Has it try at once what it has deferred.
    pub fn flush(&self) {
        let mut flush = Command::new("postqueue");
        flush.arg("-c").arg(self.folder.path().join("etc")).arg("-f");
        run(self.folder.path(), "postqueue", &mut flush, LIMIT);
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("postfix.log")).unwrap_or_default()
    }

    /// Waits until its log has a line with all of that.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn expect_log(&self, parts: &[&str]) {
        let told = || {
            let log = self.log();
            log.lines()
                .any(|line| parts.iter().all(|part| line.contains(part)))
        };
        assert!(wait_for(LIMIT, told), "no line has {parts:?} in:\n{}", self.log());
    }

    /// What is in a mailbox of its.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn mails(&self, name: &str) -> Vec<Vec<u8>> {
        let folder = self.folder.path().join("mail").join(name).join("new");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| std::fs::read(entry.path()).expect("the mail can be read"))
            .collect()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if self.is_started {
            self.command("stop");
        }
        if std::thread::panicking() {
            println!("--- Postfix's log:\n{}", self.log());
        }
    }
}
