//! Mail that a server of the same house brings by LMTP: swaks, Python's smtplib, and a whole Postfix.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, Options, Postfix, Server, client, mails, own_address, python, run, wait_for,
};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
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
        let inbox = mails(&house.server, &alice, "INBOX");
        assert_eq!(inbox.len(), n + 1);
        assert!(inbox[n].contains("by interop.test with LMTP id "), "{}", inbox[n]);
    }
    assert!(mails(&house.server, &full, "INBOX").is_empty());
    house.server.check_store();
}

#[test]
fn smtplib_delivers_by_lmtp() {
    let house = House::start();
    let alice = house.server.account("alice");
    let socket = house.socket().display().to_string();
    for place in [
        [house.address.to_string(), "2400".to_owned()],
        [socket, "0".to_owned()],
    ] {
        let arguments = [&place[0], &place[1], &alice.address].map(String::as_str);
        python(&house.server, "lmtp_send.py", &arguments).expect("Python comes with every Debian");
    }
    let inbox = mails(&house.server, &alice, "INBOX");
    assert!(
        inbox.len() == 2 && inbox[1].contains("Subject: by smtplib"),
        "{inbox:?}"
    );
    house.server.check_store();
}

/// Postfix at port 25 of an address, whose mailboxes are ours.
fn front(house: &House) -> Option<(Postfix, Ipv4Addr)> {
    let (mut postfix, address) = (Postfix::prepared()?, own_address());
    let main = format!(
        "myhostname = front.test\nvirtual_mailbox_domains = interop.test\nvirtual_mailbox_maps = static:all\n\
         virtual_transport = lmtp:unix:{}\n",
        house.socket().display()
    );
    postfix.start(&main, &[(address, "")]);
    Some((postfix, address))
}

#[test]
fn postfix_delivers_by_its_lmtp_client_and_keeps_what_one_mailbox_does_not_take() {
    let house = House::start();
    let (alice, bob, full) = (
        house.server.account("alice"),
        house.server.account("bob"),
        house.full(),
    );
    let Some((postfix, address)) = front(&house) else {
        return;
    };
    let Some(swaks) = client("swaks") else { return };
    let to = [&alice.address, &full.address, &bob.address, "nobody@interop.test"].join(",");
    let mut command = Command::new(swaks);
    command.args([
        "--server",
        &address.to_string(),
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
        postfix.expect_log(&[&format!("to=<{to}>"), status]);
    }
    let log = postfix.log();
    assert!(
        log.contains("452 4.2.2 Mailbox full") && log.contains("550 5.1.1 No such mailbox here"),
        "{log}"
    );
    for account in [&alice, &bob] {
        let inbox = mails(&house.server, account, "INBOX");
        assert!(
            inbox.len() == 1 && inbox[0].contains("from front.test"),
            "{inbox:?}"
        );
    }
    assert!(mails(&house.server, &full, "INBOX").is_empty());
    // Once there is room, the next try brings it.
    house
        .server
        .command(&["account", "set", &full.address, "--quota", "none"]);
    postfix.flush();
    assert!(wait_for(LIMIT, || mails(&house.server, &full, "INBOX").len() == 1));
    house.server.check_store();
}
