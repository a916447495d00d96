//! Mail that a server of the same house brings by LMTP: swaks, Python's smtplib, and a whole Postfix.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, ImapClient, Options, Server, client, own_address, run, wait_for};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A server that takes mail by LMTP, at a port and at a socket in a folder that everybody may look into.
struct House {
    server: Server,
    address: Ipv4Addr,
    folder: tempfile::TempDir,
}

impl House {
    fn start() -> House {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let address = own_address();
        let socket = folder.path().join("lmtp.sock");
        let server = Server::start_at(
            address,
            &Options {
                listen: format!("lmtp = \"{address}:2400\"\nlmtp_socket = {socket:?}\n"),
                ..Options::default()
            },
        );
        House {
            server,
            address,
            folder,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("lmtp.sock")
    }

    /// An account that takes no message of more than 1,000 bytes.
    fn full(&self) -> Account {
        let full = self.server.account("full");
        self.server
            .command(&["account", "set", &full.address, "--quota", "1000"]);
        full
    }

    fn inbox(&self, account: &Account) -> Vec<String> {
        let mut imap = ImapClient::login(&self.server, account).unwrap();
        let text = imap.command("EXAMINE INBOX").unwrap().text();
        let exists = text
            .lines()
            .find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS"));
        let exists: u32 = exists.unwrap().parse().unwrap();
        (1..=exists)
            .map(|n| imap.command(&format!("FETCH {n} BODY.PEEK[]")).unwrap().text())
            .collect()
    }
}

#[test]
fn swaks_hears_of_each_recipient_by_itself_over_tcp_and_a_socket() {
    let house = House::start();
    let (alice, full) = (house.server.account("alice"), house.full());
    let Some(swaks) = client("swaks") else { return };
    let body = "a line of the body\n".repeat(100);
    let socket = house.socket().display().to_string();
    let address = house.address.to_string();
    for (n, place) in [
        ["--server", &address, "--port", "2400"].to_vec(),
        ["--socket", &socket].to_vec(),
    ]
    .into_iter()
    .enumerate()
    {
        let to = format!(
            "{},nobody@interop.test,{},x@elsewhere.test",
            alice.address, full.address
        );
        let mut command = Command::new(&swaks);
        command
            .args(place)
            .args(["--protocol", "LMTP", "--timeout", "30", "--helo", "mx.test"]);
        command.args(["--from", "x@elsewhere.test", "--to", &to, "--body", &body]);
        let said = run(house.server.folder(), "swaks", &mut command, LIMIT).output;
        assert!(
            said.contains(" LMTP Ringpost") && said.contains("-> LHLO mx.test"),
            "{said}"
        );
        assert_eq!(said.matches("550 5.1.1 ").count(), 1, "{said}");
        assert_eq!(said.matches("550 5.7.1 ").count(), 1, "{said}");
        assert_eq!(said.matches("250 2.0.0 Ok: ").count(), 1, "{said}");
        assert_eq!(said.matches("452 4.2.2 Mailbox full").count(), 1, "{said}");
        let inbox = house.inbox(&alice);
        assert_eq!(inbox.len(), n + 1);
        assert!(inbox[n].contains("by interop.test with LMTP id "), "{}", inbox[n]);
    }
    assert!(house.inbox(&full).is_empty());
    house.server.check_store();
}

#[test]
fn smtplib_delivers_by_lmtp() {
    let house = House::start();
    let alice = house.server.account("alice");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/lmtp_send.py");
    let socket = house.socket().display().to_string();
    for place in [
        [house.address.to_string(), "2400".to_owned()],
        [socket, "0".to_owned()],
    ] {
        let mut command = Command::new(client("python3").expect("Python comes with every Debian"));
        command.arg(&script).args(place).arg(&alice.address);
        let finished = run(house.server.folder(), "smtplib", &mut command, LIMIT);
        assert!(finished.succeeded(), "{}", finished.output);
    }
    let inbox = house.inbox(&alice);
    assert!(
        inbox.len() == 2 && inbox[1].contains("Subject: by smtplib"),
        "{inbox:?}"
    );
    house.server.check_store();
}

const SERVICES: &str = "\
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
";

/// Postfix at port 25 of an address, whose mailboxes are ours.
struct Postfix {
    folder: tempfile::TempDir,
    address: Ipv4Addr,
}

impl Postfix {
    fn start(house: &House) -> Option<Postfix> {
        client("postfix")?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["etc", "queue", "data"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let owned = Command::new("chown")
            .arg("postfix")
            .arg(folder.path().join("data"))
            .status();
        assert!(owned.unwrap().success());
        let (path, address) = (folder.path().display(), own_address());
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {path}/queue\ndata_directory = {path}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nmyhostname = front.test\nmydestination =\nmynetworks = 192.0.2.1/32\n\
             inet_protocols = ipv4\nalias_maps =\nalias_database =\nvirtual_mailbox_domains = interop.test\n\
             virtual_mailbox_maps = static:all\nvirtual_transport = lmtp:unix:{}\nnotify_classes =\n\
             maillog_file = {path}/postfix.log\nmaillog_file_prefixes = {path}\nsmtputf8_enable = yes\n",
            house.socket().display()
        );
        std::fs::write(folder.path().join("etc/main.cf"), main).unwrap();
        let master = format!("{address}:25 inet n - n - - smtpd\n{SERVICES}");
        std::fs::write(folder.path().join("etc/master.cf"), master).unwrap();
        let postfix = Postfix { folder, address };
        let said = postfix.command("start");
        let up = wait_for(LIMIT, || TcpStream::connect((address, 25)).is_ok());
        assert!(up, "Postfix does not come up:\n{said}\n{}", postfix.log());
        Some(postfix)
    }

    fn command(&self, command: &str) -> String {
        let mut postfix = Command::new("postfix");
        postfix.arg("-c").arg(self.folder.path().join("etc")).arg(command);
        run(self.folder.path(), command, &mut postfix, LIMIT).output
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("postfix.log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.command("stop");
        if std::thread::panicking() {
            println!("--- Postfix's log:\n{}", self.log());
        }
    }
}

#[test]
fn postfix_delivers_by_its_lmtp_client_and_keeps_what_one_mailbox_does_not_take() {
    let house = House::start();
    let (alice, bob, full) = (
        house.server.account("alice"),
        house.server.account("bob"),
        house.full(),
    );
    let Some(postfix) = Postfix::start(&house) else {
        return;
    };
    let Some(swaks) = client("swaks") else { return };
    let to = [&alice.address, &full.address, &bob.address, "nobody@interop.test"].join(",");
    let mut command = Command::new(swaks);
    command.args([
        "--server",
        &postfix.address.to_string(),
        "--port",
        "25",
        "--timeout",
        "30",
    ]);
    command.args([
        "--from",
        "x@elsewhere.test",
        "--to",
        &to,
        "--body",
        &"a line of the body\n".repeat(100),
    ]);
    let sent = run(house.server.folder(), "swaks", &mut command, LIMIT);
    assert!(sent.succeeded(), "{}", sent.output);
    for (to, status) in [
        (alice.address.as_str(), "status=sent (250 2.0.0 Ok: "),
        (&bob.address, "status=sent (250 2.0.0 Ok: "),
        (&full.address, "status=deferred (host "),
        ("nobody@interop.test", "status=bounced (host "),
    ] {
        let told = || {
            let log = postfix.log();
            log.lines()
                .any(|line| line.contains(&format!("to=<{to}>")) && line.contains(status))
        };
        assert!(wait_for(LIMIT, told), "{to} is not {status}");
    }
    let log = postfix.log();
    assert!(
        log.contains("452 4.2.2 Mailbox full") && log.contains("550 5.1.1 No such mailbox here"),
        "{log}"
    );
    for account in [&alice, &bob] {
        let inbox = house.inbox(account);
        assert!(
            inbox.len() == 1 && inbox[0].contains("from front.test"),
            "{inbox:?}"
        );
    }
    assert!(house.inbox(&full).is_empty());
    // Once there is room, the next try brings it.
    house
        .server
        .command(&["account", "set", &full.address, "--quota", "none"]);
    let mut flush = Command::new("postqueue");
    flush.arg("-c").arg(postfix.folder.path().join("etc")).arg("-f");
    run(postfix.folder.path(), "postqueue", &mut flush, LIMIT);
    assert!(wait_for(LIMIT, || house.inbox(&full).len() == 1));
    house.server.check_store();
}
