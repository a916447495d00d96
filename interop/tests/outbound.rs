//! Mail to other domains, over a DNS of the test's own: to Postfix's smtp-sink, and to a second server of ours.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, Child, Dns, Options, Record, Server, certificates, client, mails, own_address, run, spawn,
    submit, wait_for,
};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// A domain's mail server: smtp-sink at port 25 of an address, which writes each message into a file.
struct Sink {
    address: Ipv4Addr,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Sink {
    fn prepared() -> Sink {
        Sink {
            address: own_address(),
            folder: tempfile::tempdir().unwrap(),
            child: None,
        }
    }

    fn start(behaviour: &[&str]) -> Option<Sink> {
        let mut sink = Sink::prepared();
        sink.run(behaviour)?;
        Some(sink)
    }

    fn run(&mut self, behaviour: &[&str]) -> Option<()> {
        let mails = self.folder.path().join("mails");
        std::fs::create_dir_all(&mails).unwrap();
        let mut command = Command::new(client("smtp-sink")?);
        command
            .args(["-u", "root", "-d"])
            .arg(mails.join("%S."))
            .args(behaviour);
        command.args([&format!("{}:25", self.address), "100"]);
        let child = spawn(self.folder.path(), "smtp-sink", &mut command);
        let up = wait_for(LIMIT, || std::net::TcpStream::connect((self.address, 25)).is_ok());
        assert!(up, "smtp-sink does not come up:\n{}", child.output());
        self.child = Some(child);
        Some(())
    }

    fn stop(&mut self) {
        let child = self.child.take().unwrap();
        child.signal(libc::SIGTERM);
        child.finish(LIMIT);
    }

    /// What it was brought; a transaction that was refused is empty behind its head.
    fn mails(&self) -> Vec<String> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.folder.path().join("mails"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let read = paths
            .iter()
            .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
        read.filter(|text| text.contains("Subject: ")).collect()
    }

    fn subjects(&self) -> Vec<String> {
        let mails = self.mails();
        let subject = |mail: &String| {
            mail.split("Subject: ")
                .nth(1)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .to_owned()
        };
        let mut subjects: Vec<String> = mails.iter().map(subject).collect();
        subjects.sort();
        subjects
    }
}

/// A server that asks this DNS, with its owner alice.
fn server(zone: Vec<Record>, outbound: &str) -> (Server, Account, Dns) {
    let dns = Dns::start(zone);
    let server = Server::start_with(&Options {
        dns: Some(dns.address()),
        outbound_network: Some("127.0.0.0/8".into()),
        outbound: outbound.into(),
        ..Options::default()
    });
    let alice = server.account("alice");
    (server, alice, dns)
}

/// alice sends a mail by port 587.
fn send(server: &Server, alice: &Account, to: &str, subject: &str) -> Option<()> {
    let subject = format!("Subject: {subject}");
    let more = ["--header", &subject, "--body", ".dots\n..and more"];
    submit(server, alice, &[to], &more)
}

fn queue(server: &Server) -> String {
    server.command(&["queue", "list"])
}

fn mx(domain: &'static str, host: &'static str, address: Ipv4Addr) -> [Record; 2] {
    [Record::Mx(domain, 10, host), Record::A(host, address)]
}

#[test]
fn a_mail_to_another_domain_arrives_there_once() {
    let Some(sink) = Sink::start(&[]) else { return };
    let (mut server, alice, _dns) = server(mx("good.test", "mx.good.test", sink.address).into(), "");
    let bob = server.account("bob");
    let to = format!("carol@good.test,{},dave@good.test", bob.address);
    let Some(()) = send(&server, &alice, &to, "hello there") else {
        return;
    };
    server.expect_metric("mail_sent_total", 2.0);
    server.expect_metric("mail_queue", 0.0);
    let [mail] = &sink.mails()[..] else {
        panic!("{:?}", sink.mails())
    };
    for part in [
        "X-Mail-Args: <alice@interop.test>\n",
        "X-Rcpt-Args: <carol@good.test>\nX-Rcpt-Args: <dave@good.test>\n",
        "\tby interop.test with ESMTPSA id ",
        "\n.dots\n..and more\n",
    ] {
        assert!(mail.contains(part), "{part:?} in {mail}");
    }
    assert!(!mail.contains("Return-Path"), "{mail}");
    assert_eq!(
        (
            mails(&server, &bob, "INBOX").len(),
            mails(&server, &alice, "INBOX").len()
        ),
        (1, 0)
    );
    assert_eq!(queue(&server), "");
    server.check_store();
    server.stop();
}

#[test]
fn a_stopping_server_waits_to_hear_whether_a_message_was_taken_and_never_sends_it_twice() {
    waits_to_hear_whether_a_message_was_taken("4");
}

#[test]
fn a_stopping_server_waits_longer_for_that_than_for_all_else() {
    waits_to_hear_whether_a_message_was_taken("14");
}

#[test]
fn a_server_that_is_asked_to_stop_twice_waits_for_no_answer() {
    let Some(sink) = Sink::start(&["-W", ".:3600"]) else {
        return;
    };
    let (mut server, alice, _dns) = server(mx("slow.test", "mx.slow.test", sink.address).into(), "");
    let Some(()) = send(&server, &alice, "carol@slow.test", "unheard") else {
        return;
    };
    assert!(wait_for(LIMIT, || sink.mails().len() == 1), "{}", server.log());
    server.signal(libc::SIGTERM);
    let waits = wait_for(LIMIT, || {
        let log = server.log();
        let told =
            |line: &str| line.contains("whether it was taken is waited for") && line.contains("slow.test");
        log.lines().any(told)
    });
    assert!(waits, "{}", server.log());
    server.signal(libc::SIGTERM);
    server.expect_end();
    server.run();
    assert_ne!(queue(&server), "", "what was not heard of is sent again");
}

fn waits_to_hear_whether_a_message_was_taken(after_s: &str) {
    let Some(sink) = Sink::start(&["-W", &format!(".:{after_s}")]) else {
        return;
    };
    let (mut server, alice, _dns) = server(mx("slow.test", "mx.slow.test", sink.address).into(), "");
    let Some(()) = send(&server, &alice, "carol@slow.test", "once") else {
        return;
    };
    let handed_over = wait_for(LIMIT, || sink.mails().len() == 1);
    assert!(handed_over, "{}", server.log());
    server.stop();
    server.run();
    assert_eq!(queue(&server), "");
    assert_eq!(sink.subjects(), ["once"]);
}

// Guards pitfall SMTP 6: 5xx bounces once.
#[test]
fn a_refused_mail_comes_back_as_a_report() {
    let Some(sink) = Sink::start(&["-f", "RCPT", "-B", "550 5.1.1 No such user"]) else {
        return;
    };
    let (server, alice, _dns) = server(mx("bad.test", "mx.bad.test", sink.address).into(), "");
    let Some(()) = send(&server, &alice, "nobody@bad.test", "to nobody") else {
        return;
    };
    server.expect_metric("mail_bounced_total", 1.0);
    assert!(wait_for(LIMIT, || mails(&server, &alice, "INBOX").len() == 1));
    let report = &mails(&server, &alice, "INBOX")[0];
    for part in [
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Auto-Submitted: auto-replied",
        "Content-Type: message/delivery-status",
        "Reporting-MTA: dns; interop.test",
        "Final-Recipient: rfc822; nobody@bad.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 No such user",
        "Content-Type: text/rfc822-headers",
        "Subject: to nobody",
    ] {
        assert!(report.contains(part), "{part:?} in {report}");
    }
    server.expect_metric("mail_queue", 0.0);
    assert!(sink.mails().is_empty());
    server.check_store();
}

// Guards pitfall SMTP 6: 4xx is tried again.
#[test]
fn a_deferred_mail_is_tried_again_and_delivered() {
    let Some(mut sink) = Sink::start(&["-r", "RCPT", "-b", "451 4.7.1 Come back later"]) else {
        return;
    };
    let (server, alice, _dns) = server(mx("later.test", "mx.later.test", sink.address).into(), "");
    let Some(()) = send(&server, &alice, "carol@later.test", "in time") else {
        return;
    };
    server.expect_metric("mail_deferred_total", 1.0);
    server.expect_metric("mail_queue", 1.0);
    let list = queue(&server);
    let id = list.split('\t').next().unwrap();
    assert!(
        list.contains("\t<alice@interop.test>\tlater.test\tcarol@later.test\t1 attempts\t"),
        "{list}"
    );
    let shown = server.command(&["queue", "show", id]);
    assert!(
        shown.contains("recipient\tcarol@later.test\t451 4.7.1 Come back later\n"),
        "{shown}"
    );
    sink.stop();
    sink.run(&[]).unwrap();
    // Held by its sender, it stays where it is, whoever wants it tried.
    let hold = ["--account", "alice@interop.test"];
    assert_eq!(
        server.command(&[&["queue", "hold"], &hold[..]].concat()),
        "done\n"
    );
    assert_eq!(
        server.command(&["queue", "hold"]),
        "account\talice@interop.test\n"
    );
    let retry = std::process::Command::new(Server::binary())
        .args(["queue", "retry", id, "--config"])
        .arg(server.config())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&retry.stderr);
    assert!(
        !retry.status.success() && said.contains("`ringpost queue release --account alice@interop.test`"),
        "{said}"
    );
    send(&server, &alice, "carol@later.test", "later").unwrap();
    assert_eq!(queue(&server).matches("\theld (account)\n").count(), 2);
    server.command(&[
        "queue",
        "remove",
        queue(&server).lines().nth(1).unwrap().split('\t').next().unwrap(),
    ]);
    assert!(sink.subjects().is_empty());
    assert_eq!(
        server.command(&[&["queue", "release"], &hold[..]].concat()),
        "done\n"
    );
    server.expect_metric("mail_sent_total", 1.0);
    assert_eq!(sink.subjects(), ["in time"]);
    assert_eq!(
        (queue(&server).as_str(), mails(&server, &alice, "INBOX").len()),
        ("", 0)
    );
    server.check_store();
}

// Guards pitfall SMTP 6: a destination that says nothing blocks no other.
#[test]
fn a_silent_destination_holds_up_no_other_and_its_mail_can_be_removed() {
    let Some(sink) = Sink::start(&[]) else { return };
    let hole = own_address();
    let _silent = TcpListener::bind((hole, 25)).unwrap();
    let mut zone: Vec<Record> = mx("good.test", "mx.good.test", sink.address).into();
    zone.extend(mx("hole.test", "mx.hole.test", hole));
    // Nobody listens there at all.
    zone.extend(mx("dead.test", "mx.dead.test", own_address()));
    let (server, alice, _dns) = server(zone, "connections = 2\n");
    for n in 0..3 {
        let Some(()) = send(&server, &alice, "x@hole.test", &format!("lost {n}")) else {
            return;
        };
        send(&server, &alice, "x@dead.test", "dead").unwrap();
    }
    server.command(&["queue", "retry"]);
    assert!(queue(&server).lines().count() == 6, "{}", queue(&server));
    let dead: Vec<String> = queue(&server)
        .lines()
        .filter(|line| line.contains("dead.test"))
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect();
    assert!(wait_for(LIMIT, || dead.iter().all(|id| {
        let shown = server.command(&["queue", "show", id]);
        shown.contains("\t4.4.1 mx.dead.test at ")
    })));
    for id in &dead {
        assert_eq!(server.command(&["queue", "remove", id]), "done\n");
    }
    assert_eq!(queue(&server).lines().count(), 3);
    assert!(sink.mails().is_empty());
}

// Guards pitfall SMTP 3: what was answered with 250 is there after a crash.
#[test]
fn a_killed_server_loses_nothing_and_sends_nothing_twice() {
    let mut sink = Sink::prepared();
    let zone: Vec<Record> = mx("good.test", "mx.good.test", sink.address).into();
    let (mut server, alice, _dns) = server(zone, "");
    let bob = server.account("bob");
    let to = format!("carol@good.test,{}", bob.address);
    let mut expected = Vec::new();
    for round in 0..3 {
        for n in 0..3 {
            let subject = format!("round {round} mail {n}");
            let Some(()) = send(&server, &alice, &to, &subject) else {
                return;
            };
            expected.push(subject);
        }
        server.kill();
        server.run();
    }
    assert!(sink.run(&[]).is_some());
    server.command(&["queue", "retry"]);
    assert!(
        wait_for(LIMIT, || queue(&server).is_empty()),
        "{}",
        queue(&server)
    );
    assert_eq!(sink.subjects(), expected);
    assert!(wait_for(LIMIT, || mails(&server, &bob, "INBOX").len() == expected.len()));
    server.check_store();
}

/// Another server of ours, at port 25.
fn second() -> (Server, Account) {
    let server = Server::start_with(&Options {
        domains: vec!["second.test".into()],
        smtp_port: 25,
        ..Options::default()
    });
    let carol = server.account("carol");
    (server, carol)
}

#[test]
fn a_server_that_offers_tls_is_spoken_to_under_it_whatever_its_certificate() {
    let (other, carol) = second();
    let zone = vec![
        // The first is not there.
        Record::Mx("second.test", 5, "gone.second.test"),
        Record::Mx("second.test", 10, "mx.second.test"),
        Record::A("gone.second.test", own_address()),
        Record::A("mx.second.test", other.address()),
    ];
    let (server, alice, _dns) = server(zone, "");
    let Some(()) = send(&server, &alice, "carol@second.test", "under TLS") else {
        return;
    };
    assert!(
        wait_for(LIMIT, || mails(&other, &carol, "INBOX").len() == 1),
        "{}",
        queue(&server)
    );
    let mail = &mails(&other, &carol, "INBOX")[0];
    assert!(mail.contains("with ESMTPS id"), "{mail}");
    assert!(mail.contains("Return-Path: <alice@interop.test>"), "{mail}");
    assert_eq!(mail.matches("Return-Path").count(), 1, "{mail}");
    other.check_store();
}

/// A smart host where alice has an account, and what a server that uses it is started with.
struct Relay {
    server: Server,
    carol: Account,
    dns: Dns,
    folder: tempfile::TempDir,
}

impl Relay {
    /// Its certificate is for `relay.second.test`.
    fn new() -> Option<Relay> {
        let folder = tempfile::tempdir().unwrap();
        let (_, certificate) = certificates(folder.path(), "relay.second.test")?;
        let server = Server::start_with(&Options {
            domains: vec!["second.test".into(), "interop.test".into()],
            certificate: Some(certificate),
            ..Options::default()
        });
        let carol = server.account("carol");
        let alice = server.account_at("alice", "interop.test");
        std::fs::write(folder.path().join("password"), format!("{}\n", alice.password)).unwrap();
        let names = ["relay.second.test", "other.second.test"];
        let dns = Dns::start(names.map(|name| Record::A(name, server.address())).into());
        Some(Relay {
            server,
            carol,
            dns,
            folder,
        })
    }

    /// A server that sends all its mail there, by that name and port.
    fn user(&self, host: &str, port: u16, tls: &str) -> (Server, Account) {
        let password = self.folder.path().join("password");
        let server = Server::start_with(&Options {
            dns: Some(self.dns.address()),
            authorities: Some(self.folder.path().join("ca.pem")),
            outbound: format!(
                "smart_host = {host:?}\nsmart_host_port = {port}\nsmart_host_tls = {tls:?}\n\
                 smart_host_user = \"alice@interop.test\"\nsmart_host_password_file = {password:?}\n"
            ),
            ..Options::default()
        });
        let alice = server.account("alice");
        (server, alice)
    }
}

#[test]
fn a_smart_host_takes_everything_under_tls_with_a_password() {
    let Some(relay) = Relay::new() else { return };
    for (n, (port, tls)) in [(5870, "starttls"), (4650, "implicit")].into_iter().enumerate() {
        let (server, alice) = relay.user("relay.second.test", port, tls);
        let Some(()) = send(&server, &alice, "carol@second.test", "relayed") else {
            return;
        };
        server.expect_metric("mail_sent_total", 1.0);
        let arrived = mails(&relay.server, &relay.carol, "INBOX");
        assert_eq!(arrived.len(), n + 1);
        assert!(arrived[n].contains("with ESMTPSA id"), "{}", arrived[n]);
    }
}

#[test]
fn a_smart_host_that_does_not_prove_its_name_is_told_nothing() {
    let Some(relay) = Relay::new() else { return };
    let (server, alice) = relay.user("other.second.test", 5870, "starttls");
    let Some(()) = send(&server, &alice, "carol@second.test", "unproven") else {
        return;
    };
    server.expect_metric("mail_deferred_total", 1.0);
    let list = queue(&server);
    let shown = server.command(&["queue", "show", list.split('\t').next().unwrap()]);
    assert!(shown.contains("\t4.7.5 other.second.test at "), "{shown}");
    assert!(mails(&relay.server, &relay.carol, "INBOX").is_empty());
}

#[test]
fn nobody_sends_elsewhere_without_a_password() {
    let Some(sink) = Sink::start(&[]) else { return };
    let (server, alice, _dns) = server(mx("good.test", "mx.good.test", sink.address).into(), "");
    let Some(swaks) = client("swaks") else { return };
    for (port, from) in [
        ("2525", alice.address.as_str()),
        ("2525", "x@good.test"),
        ("5870", &alice.address),
    ] {
        let mut command = Command::new(&swaks);
        command.args(["--server", &server.address().to_string(), "--port", port, "--tls"]);
        command.args(["--from", from, "--to", "carol@good.test"]);
        let finished = run(server.folder(), "swaks", &mut command, LIMIT);
        assert!(!finished.succeeded(), "{}", finished.output);
        assert!(
            finished.output.contains("550 5.7.1 ") || finished.output.contains("530 5.7.0 "),
            "{}",
            finished.output
        );
    }
    assert!(sink.mails().is_empty() && queue(&server).is_empty());
}
