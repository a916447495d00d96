//! Whom mail is from: strangers' mail is held against a DNS of the test's own, and what leaves is signed, in dkimpy's eyes.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, Child, Dns, Options, Record, Server, client, mails, own_address, run, skip, spawn, swaks,
    wait_for,
};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const OPENED: &str = "relays = []\n";

/// A server that looks at everybody's mail, and asks this DNS.
fn server(zone: Vec<Record>, incoming: &str) -> (Server, Account, Dns) {
    let dns = Dns::start(zone);
    let server = Server::start_with(&Options {
        dns: Some(dns.address()),
        outbound_network: Some("127.0.0.0/8".into()),
        incoming: incoming.into(),
        ..Options::default()
    });
    let alice = server.account("alice");
    (server, alice, dns)
}

/// Brings a message to the port for other servers, and says how that ended.
fn bring(server: &Server, to: &Account, sender: &str, from: &str, subject: &str) -> Option<String> {
    let (from, subject) = (format!("From: {from}"), format!("Subject: {subject}"));
    let envelope = ["--from", sender, "--to", &to.address];
    let header = ["--header", &from, "--header", &subject];
    let forged = ["--add-header", "Authentication-Results: interop.test; dmarc=pass"];
    let more = [&envelope[..], &header, &forged].concat();
    Some(swaks(server, 2525, &more)?.output)
}

fn txt(name: &str, text: &str) -> Record {
    Record::Txt(name.into(), text.into())
}

#[test]
fn strangers_mail_is_treated_as_the_authors_domain_wants() {
    let zone = vec![
        txt("good.test", "v=spf1 ip4:127.0.0.0/8 -all"),
        txt("_dmarc.good.test", "v=DMARC1; p=reject"),
        txt("_dmarc.suspicious.test", "v=DMARC1; p=quarantine"),
    ];
    let (server, alice, _dns) = server(zone, OPENED);
    let Some(said) = bring(&server, &alice, "x@good.test", "x@good.test", "proven") else {
        return;
    };
    assert!(
        said.contains("<~  250 2.0.0") || said.contains("<-  250 2.0.0"),
        "{said}"
    );
    let said = bring(&server, &alice, "x@other.test", "x@good.test", "forged").unwrap();
    assert!(said.contains("550 5.7.1 Neither SPF nor DKIM proves"), "{said}");
    bring(&server, &alice, "x@other.test", "x@suspicious.test", "suspicious").unwrap();
    let inbox = mails(&server, &alice, "INBOX");
    let [mail] = &inbox[..] else { panic!("{inbox:?}") };
    assert!(mail.contains("Subject: proven"), "{mail}");
    assert!(
        mail.contains("Authentication-Results: interop.test;\r\n\tspf=pass smtp.mailfrom=good.test;"),
        "{mail}"
    );
    assert_eq!(mail.matches("Authentication-Results").count(), 1, "{mail}");
    let junk = mails(&server, &alice, "Junk");
    assert!(
        junk.len() == 1 && junk[0].contains("dmarc=fail (p=quarantine)"),
        "{junk:?}"
    );
    // With junk off, it goes where all else goes.
    server.command(&["account", "set", &alice.address, "--junk", "off"]);
    bring(&server, &alice, "x@other.test", "x@suspicious.test", "suspicious").unwrap();
    assert_eq!(mails(&server, &alice, "INBOX").len(), 2);
    server.check_store();
}

// What answers no question refuses nobody.
#[test]
fn a_dns_that_is_down_keeps_no_mail_out() {
    let (mut server, alice, _dns) = server(Vec::new(), OPENED);
    let closed = Options {
        dns: Some("127.0.0.1:9".parse().unwrap()),
        incoming: OPENED.into(),
        ..Options::default()
    };
    server.stop();
    let server = Server::start_with(&closed);
    let alice = server.account(&alice.name);
    let Some(said) = bring(&server, &alice, "x@good.test", "x@good.test", "unknown") else {
        return;
    };
    assert!(said.contains("250 2.0.0"), "{said}");
    let inbox = mails(&server, &alice, "INBOX");
    assert!(
        inbox.len() == 1 && inbox[0].contains("spf=temperror"),
        "{inbox:?}"
    );
}

/// smtp-sink at port 25 of an address.
fn sink(folder: &Path, address: Ipv4Addr) -> Option<Child> {
    let mut command = Command::new(client("smtp-sink")?);
    command.args(["-u", "root", "-d"]).arg(folder.join("mail."));
    command.args([&format!("{address}:25"), "100"]);
    let child = spawn(folder, "smtp-sink", &mut command);
    assert!(wait_for(LIMIT, || std::net::TcpStream::connect((address, 25)).is_ok()));
    Some(child)
}

#[test]
fn what_leaves_is_signed_with_both_keys_that_the_records_publish() {
    let folder = tempfile::tempdir().unwrap();
    let address = own_address();
    let Some(_sink) = sink(folder.path(), address) else {
        return;
    };
    let python = Path::new("/usr/bin/python3");
    let has_dkimpy = Command::new(python).args(["-c", "import dkim, nacl"]).status();
    if !has_dkimpy.is_ok_and(|status| status.success()) {
        return skip("python3-dkim or python3-nacl is not installed");
    }
    let zone = vec![
        Record::Mx("out.test", 10, "mx.out.test"),
        Record::A("mx.out.test", address),
    ];
    let (server, alice, _dns) = server(zone, "");
    let records = server.command(&["domain", "records", "interop.test"]);
    // What some servers could not take is signed as it is sent.
    let bodies = [
        "hello  there \n\n\n".to_owned(),
        "q".repeat(1_200),
        "gr\u{fc}n, \u{fc}".repeat(300),
    ];
    for body in &bodies {
        let mut command = Command::new(client("swaks").unwrap());
        command.args(["--server", &server.address().to_string(), "--port", "5870"]);
        command.args(["--tls", "--auth", "PLAIN", "--auth-user", &alice.address]);
        command.args(["--auth-password", &alice.password, "--from", &alice.address]);
        command.args(["--to", "carol@out.test", "--body", body]);
        assert!(run(server.folder(), "swaks", &mut command, LIMIT).succeeded());
    }
    server.expect_metric("mail_sent_total", bodies.len() as f64);
    std::fs::write(folder.path().join("zone"), &records).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/dkim_check.py");
    let checked = run(
        folder.path(),
        "dkimpy",
        Command::new(python).arg(script).arg(folder.path()),
        LIMIT,
    );
    assert!(checked.succeeded(), "{}\n{records}", checked.output);
    for algorithm in ["rsa-sha256", "ed25519-sha256"] {
        let good = checked.output.matches(&format!("{algorithm} True\n")).count();
        assert_eq!(good, bodies.len(), "{}", checked.output);
    }
    // The next keys are printed, and sign once they are wanted.
    let next = server.command(&["domain", "dkim", "rotate", "interop.test"]);
    assert_eq!(next.lines().count(), 2, "{next}");
    server.command(&["domain", "dkim", "rotate", "interop.test", "--finish"]);
    server.check_store();
}
