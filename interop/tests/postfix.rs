//! Mail to Postfix, a whole one with folders of its own: under TLS, with 8 bits, refused, deferred, and bounced by it later.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, Dns, ImapClient, Options, Record, Server, certificates, client, own_address, run, wait_for,
};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Postfix at port 25 of two addresses: at the second it offers neither 8BITMIME nor SMTPUTF8.
struct Postfix {
    folder: tempfile::TempDir,
    address: Ipv4Addr,
    seven_bit: Ipv4Addr,
}

/// Its table of services beside those that listen.
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
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
failing unix - n n - - pipe flags= user=nobody argv=/bin/sh -c ${nexthop}
";

impl Postfix {
    /// Starts it for `post.test` and `seven.test`; what it has to say it says to `our_port` of `us`.
    fn start(us: Ipv4Addr) -> Option<Postfix> {
        client("postfix")?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (_, (certificate, key)) = certificates(folder.path(), "mx.post.test")?;
        let path = folder.path().display().to_string();
        for name in ["etc", "queue", "data", "mail"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["data", "mail"] {
            let done = Command::new("chown")
                .arg("postfix")
                .arg(folder.path().join(name))
                .status();
            assert!(done.unwrap().success());
        }
        let id = Command::new("id").args(["-u", "postfix"]).output().unwrap();
        let id = String::from_utf8(id.stdout).unwrap().trim().to_owned();
        let write =
            |name: &str, text: String| std::fs::write(folder.path().join("etc").join(name), text).unwrap();
        let mailboxes = [
            "carol@post.test carol/",
            "bounced@post.test bounced/",
            "busy@post.test busy/",
            "carol@seven.test seven/",
        ];
        write("mailboxes", mailboxes.join("\n") + "\n");
        write(
            "transport",
            format!("interop.test smtp:[{us}]:2525\nbounced@post.test failing:false\n"),
        );
        write(
            "access",
            "busy@post.test 450 4.2.0 Busy, come back later\n".into(),
        );
        let (certificate, key) = (certificate.display(), key.display());
        write(
            "main.cf",
            format!(
                "compatibility_level = 3.6\nqueue_directory = {path}/queue\ndata_directory = {path}/data\n\
                 command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
                 setgid_group = postdrop\nmyhostname = mx.post.test\nmydestination =\nmynetworks = 192.0.2.1/32\n\
                 inet_protocols = ipv4\nalias_maps =\nalias_database =\nlocal_recipient_maps =\n\
                 virtual_mailbox_domains = post.test, seven.test\nvirtual_mailbox_maps = texthash:{path}/etc/mailboxes\n\
                 virtual_mailbox_base = {path}/mail\nvirtual_uid_maps = static:{id}\nvirtual_gid_maps = static:{id}\n\
                 virtual_minimum_uid = 1\ntransport_maps = texthash:{path}/etc/transport\nnotify_classes =\n\
                 smtpd_recipient_restrictions = check_recipient_access texthash:{path}/etc/access, reject_unauth_destination\n\
                 smtp_dns_support_level = disabled\nmaillog_file = {path}/postfix.log\nmaillog_file_prefixes = {path}\n\
                 smtpd_tls_cert_file = {certificate}\nsmtpd_tls_key_file = {key}\nsmtpd_tls_security_level = may\n\
                 smtpd_tls_received_header = yes\nmessage_size_limit = 100000\nmailbox_size_limit = 0\n\
                 virtual_mailbox_limit = 0\nsmtputf8_enable = yes\n"
            ),
        );
        let (address, seven_bit) = (own_address(), own_address());
        write(
            "master.cf",
            format!(
                "{address}:25 inet n - n - - smtpd\n{seven_bit}:25 inet n - n - - smtpd\n  \
                 -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8\n{SERVICES}"
            ),
        );
        let postfix = Postfix {
            folder,
            address,
            seven_bit,
        };
        let said = postfix.command("start");
        let up = wait_for(LIMIT, || TcpStream::connect((seven_bit, 25)).is_ok());
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

    /// What is in a mailbox of its.
    fn mails(&self, name: &str) -> Vec<Vec<u8>> {
        let folder = self.folder.path().join("mail").join(name).join("new");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.map(|path| std::fs::read(path).unwrap()).collect()
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

fn submit(server: &Server, alice: &Account, to: &[&str], message: &Path) -> Option<()> {
    let mut command = Command::new(client("swaks")?);
    command.args([
        "--server",
        &server.address().to_string(),
        "--port",
        "5870",
        "--tls",
    ]);
    command.args(["--auth", "PLAIN", "--auth-user", &alice.address]);
    command.args(["--auth-password", &alice.password, "--from", &alice.address]);
    command.args(["--to", &to.join(","), "--timeout", "10"]);
    command.arg("--data").arg(format!("@{}", message.display()));
    let finished = run(server.folder(), "swaks", &mut command, LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    Some(())
}

/// A message's file; what is in it stands in its lines.
fn message(server: &Server, name: &str, text: &str) -> PathBuf {
    let path = server.folder().join(name);
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    path
}

fn inbox(server: &Server, account: &Account) -> Vec<String> {
    let mut imap = ImapClient::login(server, account).unwrap();
    let text = imap.command("EXAMINE INBOX").unwrap().text();
    let exists = text
        .lines()
        .find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS"));
    let exists: u32 = exists.unwrap().parse().unwrap();
    (1..=exists)
        .map(|n| imap.command(&format!("FETCH {n} BODY.PEEK[]")).unwrap().text())
        .collect()
}

const GREETING: &str = "From: alice@interop.test\nSubject: greeting\nMIME-Version: 1.0\n\
                        Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n.dot\n";

// Guards pitfalls SMTP 6 and 7: refused once, deferred, converted where it must be.
#[test]
fn postfix_gets_what_it_takes_and_the_sender_hears_what_it_does_not() {
    let Some(swaks) = client("swaks") else { return };
    drop(swaks);
    let us = own_address();
    let Some(postfix) = Postfix::start(us) else { return };
    let dns = Dns::start(vec![
        Record::Mx("post.test", 10, "mx.post.test"),
        Record::A("mx.post.test", postfix.address),
        Record::Mx("seven.test", 10, "mx.seven.test"),
        Record::A("mx.seven.test", postfix.seven_bit),
    ]);
    let options = Options {
        dns: Some(dns.address()),
        outbound_network: Some("127.0.0.0/8".into()),
        ..Options::default()
    };
    let server = Server::start_at(us, &options);
    let alice = server.account("alice");
    let greeting = message(&server, "greeting", GREETING);
    let to = [
        "carol@post.test",
        "carol@seven.test",
        "nobody@post.test",
        "busy@post.test",
    ];
    submit(&server, &alice, &to, &greeting).unwrap();
    // As it was, under TLS.
    assert!(wait_for(LIMIT, || postfix.mails("carol").len() == 1));
    let arrived = String::from_utf8(postfix.mails("carol").remove(0)).unwrap();
    assert!(arrived.contains("Content-Transfer-Encoding: 8bit\n"), "{arrived}");
    assert!(
        arrived.ends_with("\n\nGrüße\n.dot\n\n") || arrived.ends_with("\n\nGrüße\n.dot\n"),
        "{arrived}"
    );
    assert!(
        arrived.contains("using TLSv1.3") && arrived.contains("with ESMTPS id"),
        "{arrived}"
    );
    // Converted, where it takes seven bits.
    assert!(wait_for(LIMIT, || postfix.mails("seven").len() == 1));
    let arrived = String::from_utf8(postfix.mails("seven").remove(0)).unwrap();
    assert!(
        arrived.contains("Content-Transfer-Encoding: quoted-printable\n"),
        "{arrived}"
    );
    assert!(arrived.contains("\n\nGr=C3=BC=C3=9Fe\n.dot\n"), "{arrived}");
    // Refused: told once. Deferred: it waits.
    assert!(wait_for(LIMIT, || inbox(&server, &alice).len() == 1));
    let report = inbox(&server, &alice).remove(0);
    for part in [
        "Final-Recipient: rfc822; nobody@post.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 <nobody@post.test>: Recipient address rejected:",
    ] {
        assert!(report.contains(part), "{part:?} in {report}");
    }
    server.expect_metric("mail_queue", 1.0);
    let list = server.command(&["queue", "list"]);
    let shown = server.command(&["queue", "show", list.split('\t').next().unwrap()]);
    let busy = "recipient\tbusy@post.test\t450 4.2.0 <busy@post.test>: Recipient address rejected: Busy, come back later\n";
    assert!(shown.contains(busy), "{shown}");
    server.command(&["queue", "remove", list.split('\t').next().unwrap()]);
    // Too large for it: not even tried.
    let long = format!("{GREETING}{}", "more and more\n".repeat(10_000));
    submit(
        &server,
        &alice,
        &["carol@post.test"],
        &message(&server, "long", &long),
    )
    .unwrap();
    assert!(wait_for(LIMIT, || inbox(&server, &alice).len() == 2));
    assert!(inbox(&server, &alice)[1].contains("\r\nStatus: 5.3.4\r\n"));
    // Taken, and bounced by Postfix later: its report comes in by port 2525, and is for alice.
    submit(&server, &alice, &["bounced@post.test"], &greeting).unwrap();
    assert!(
        wait_for(LIMIT, || inbox(&server, &alice).len() == 3),
        "{}",
        postfix.log()
    );
    let report = inbox(&server, &alice).remove(2);
    assert!(report.contains("<MAILER-DAEMON@mx.post.test>"), "{report}");
    assert!(
        report.contains("Final-Recipient: rfc822; bounced@post.test"),
        "{report}"
    );
    assert!(
        report.starts_with("* 3 FETCH") && report.contains("Return-Path: <>"),
        "{report}"
    );
    // A line that no server has to take arrives encoded.
    let line = "word ".repeat(400);
    let wide = message(
        &server,
        "wide",
        &format!("From: alice@interop.test\nSubject: wide\n\n{line}end\n"),
    );
    submit(&server, &alice, &["carol@post.test"], &wide).unwrap();
    assert!(wait_for(LIMIT, || postfix.mails("carol").len() == 2));
    let mails = postfix.mails("carol");
    let arrived = mails.iter().map(|mail| String::from_utf8_lossy(mail));
    let wide: Vec<_> = arrived.filter(|mail| mail.contains("Subject: wide")).collect();
    assert!(
        wide[0].contains("Content-Transfer-Encoding: quoted-printable\n"),
        "{}",
        wide[0]
    );
    assert!(
        wide[0].replace("=\n", "").contains(&format!("{line}end\n")),
        "{}",
        wide[0]
    );
    server.expect_metric("mail_queue", 0.0);
    server.check_store();
}
