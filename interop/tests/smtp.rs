//! swaks, msmtp, nodemailer and curl deliver and submit mail; what they sent is found in the mailbox.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, ImapClient, Server, client, node_package, node_with, python, run, swaks, wait_for,
};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// How many messages of INBOX have this subject.
fn count(server: &Server, account: &Account, subject: &str) -> usize {
    let address = server.address().to_string();
    let arguments = [&address, "9930", &account.address, &account.password, subject];
    let said = python(server, "count.py", &arguments).expect("Python comes with every Debian");
    said.trim().parse().expect("a number")
}

/// What FETCH says of the newest message of INBOX.
fn fetched(server: &Server, account: &Account, what: &str) -> String {
    let mut imap = ImapClient::login(server, account).unwrap();
    assert!(imap.command("EXAMINE INBOX").unwrap().is_ok());
    let reply = imap.command(&format!("FETCH * {what}")).unwrap();
    assert!(reply.is_ok(), "{}", reply.tagged);
    reply.text()
}

#[test]
fn mail_from_outside_is_delivered_once_and_relayed_nowhere() {
    let server = Server::start();
    let bob = server.account("bob");
    let from = ["--from", "someone@elsewhere.test"];
    let deliver = ["--to", bob.address.as_str(), "--header", "Subject: from outside"];
    let Some(finished) = swaks(&server, 2525, &[&from[..], &deliver].concat()) else {
        return;
    };
    assert!(finished.succeeded(), "{}", finished.output);
    assert_eq!(count(&server, &bob, "from outside"), 1);

    let starttls = [
        &from[..],
        &["--to", &bob.address, "--tls", "--header", "Subject: under TLS"],
    ]
    .concat();
    let Some(finished) = swaks(&server, 2525, &starttls) else {
        return;
    };
    assert!(finished.succeeded(), "{}", finished.output);
    assert_eq!(count(&server, &bob, "under TLS"), 1);

    for (refused, said) in [
        ("nobody@interop.test", "<** 550 5.1.1 "),
        ("x@elsewhere.test", "<** 550 5.7.1 "),
        ("x%elsewhere.test@interop.test", "<** 550 5.7.1 "),
        ("@interop.test:x@elsewhere.test", "<** 550 5.7.1 "),
    ] {
        let Some(finished) = swaks(&server, 2525, &[&from[..], &["--to", refused]].concat()) else {
            return;
        };
        assert!(
            !finished.succeeded() && finished.output.contains(said),
            "{refused}: {}",
            finished.output
        );
    }
    let Some(finished) = swaks(
        &server,
        2525,
        &["--from", "<>", "--to", "postmaster@interop.test"],
    ) else {
        return;
    };
    assert!(
        finished.succeeded(),
        "postmaster is always there: {}",
        finished.output
    );
    server.check_store();
}

#[test]
fn mail_is_submitted_with_credentials() {
    let server = Server::start();
    let (alice, bob) = (server.account("alice"), server.account("bob"));
    let envelope = ["--from", alice.address.as_str(), "--to", bob.address.as_str()];
    let credentials = [
        "--auth-user",
        alice.address.as_str(),
        "--auth-password",
        alice.password.as_str(),
    ];
    for (n, (port, tls, mechanism)) in [
        (5870, "--tls", "PLAIN"),
        (5870, "--tls", "LOGIN"),
        (4650, "--tlsc", "PLAIN"),
        (4650, "--tlsc", "LOGIN"),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = format!("Subject: submission {n}");
        let more = [
            &envelope[..],
            &credentials,
            &[tls, "--auth", mechanism, "--header", &subject],
        ]
        .concat();
        let Some(finished) = swaks(&server, port, &more) else {
            return;
        };
        assert!(finished.succeeded(), "{port} {mechanism}: {}", finished.output);
        assert_eq!(count(&server, &bob, &subject["Subject: ".len()..]), 1);
    }
    server.check_store();
}

#[test]
fn a_message_of_a_megabyte_and_many_recipients_arrives() {
    let server = Server::start();
    let people: Vec<Account> = ["ann", "ben", "cat"].map(|name| server.account(name)).into();
    let to = people
        .iter()
        .map(|account| account.address.as_str())
        .collect::<Vec<_>>()
        .join(",");
    let big = server.folder().join("big.txt");
    std::fs::write(
        &big,
        "a line of sixty-four octets, over and over, until it is enough.\r\n".repeat(16_000),
    )
    .unwrap();
    let attach = format!("@{}", big.display());
    let more = [
        "--from",
        "x@elsewhere.test",
        "--to",
        &to,
        "--header",
        "Subject: big",
        "--attach",
        &attach,
    ];
    let Some(finished) = swaks(&server, 2525, &more) else {
        return;
    };
    assert!(finished.succeeded(), "{}", finished.output);
    for account in &people {
        // It was promised to all with one answer, and is delivered to each behind it.
        wait_for(LIMIT, || count(&server, account, "big") > 0);
        assert_eq!(count(&server, account, "big"), 1);
        // base64 makes four octets of three.
        let big = fetched(&server, account, "BODY.PEEK[]");
        assert!(big.len() > 16_000 * 65 * 4 / 3, "{} octets", big.len());
    }
    server.check_store();
}

#[test]
fn nodemailer_sends_attachments_beyond_ascii_and_hears_its_refusals() {
    let Some(packages) = node_package("nodemailer") else {
        return;
    };
    let server = Server::start();
    let (alice, bob) = (server.account("alice"), server.account("bob"));
    let address = server.address().to_string();
    let arguments = [
        &address,
        "5870",
        "4650",
        &alice.address,
        &alice.password,
        &bob.address,
    ];
    let sent = node_with(&server, &packages, "nodemailer_send.mjs", &arguments);
    assert_eq!(sent.lines().count(), 8, "{sent}");
    let arguments = [&address, "9930", &bob.address, &bob.password];
    let arrived = python(&server, "parsed.py", &arguments).expect("Python comes with every Debian");
    assert_eq!(arrived, sent);
    server.check_store();
}

#[test]
fn msmtp_submits_by_plain_login_and_scram() {
    let Some(msmtp) = client("msmtp") else { return };
    let server = Server::start();
    let (alice, bob) = (server.account("alice"), server.account("bob"));
    let ways = [(5870, "on"), (4650, "off")];
    for (mechanism, (port, starttls)) in ["plain", "login", "scram-sha-256"]
        .into_iter()
        .flat_map(|mechanism| ways.map(|way| (mechanism, way)))
    {
        let subject = format!("msmtp {mechanism} {port}");
        let message = format!(
            "From: {}\nTo: {}\nSubject: {subject}\n\nA line.\n.\nAnother.\n",
            alice.address, bob.address
        );
        let file = server.folder().join("message");
        std::fs::write(&file, message).unwrap();
        let submit = |password: &str| {
            let script = format!(
                "{} --debug --host={} --port={port} --tls=on --tls-starttls={starttls} --tls-certcheck=off \
                 --auth={mechanism} --user={} --passwordeval='printf %s {password}' --from={} {} < {}",
                msmtp.display(),
                server.address(),
                alice.address,
                alice.address,
                bob.address,
                file.display()
            );
            run(
                server.folder(),
                "msmtp",
                Command::new("sh").args(["-c", &script]),
                LIMIT,
            )
        };
        let finished = submit(&alice.password);
        assert!(finished.succeeded(), "{subject}: {}", finished.output);
        let asked = format!("AUTH {}", mechanism.to_uppercase());
        assert!(finished.output.contains(&asked), "{subject}: {}", finished.output);
        assert_eq!(count(&server, &bob, &subject), 1);
        // RFC 5321 §4.5.2: the dot that is a line of its own arrives as it was.
        let text = fetched(&server, &bob, "BODY.PEEK[TEXT]");
        assert!(text.contains("A line.\r\n.\r\nAnother.\r\n"), "{text}");
        // EX_NOPERM of sysexits.h.
        let refused = submit("wrong");
        let status = refused.status.and_then(|status| status.code());
        let told = refused.output.contains("535 5.7.8 ");
        assert!(
            status == Some(77) && told,
            "{subject}: {status:?} {}",
            refused.output
        );
        assert_eq!(count(&server, &bob, &subject), 1);
    }
    server.check_store();
}

#[test]
fn curl_sends_and_fetches_a_message() {
    let Some(curl) = client("curl") else { return };
    let server = Server::start();
    let bob = server.account("bob");
    let file = server.folder().join("message");
    let text = format!(
        "From: {0}\r\nTo: {0}\r\nSubject: by curl\r\n\r\n.a dot, and more\r\n",
        bob.address
    );
    std::fs::write(&file, &text).unwrap();
    let user = format!("{}:{}", bob.address, bob.password);
    let send = format!("smtps://{}:4650/client.test", server.address());
    let mut command = Command::new(&curl);
    command.args([
        "-sS",
        "-k",
        "--url",
        &send,
        "--user",
        &user,
        "--mail-from",
        &bob.address,
        "--mail-rcpt",
        &bob.address,
    ]);
    let finished = run(
        server.folder(),
        "curl-send",
        command.arg("--upload-file").arg(&file),
        LIMIT,
    );
    assert!(finished.succeeded(), "{}", finished.output);
    let url = format!("imaps://{}:9930/INBOX;MAILINDEX=1", server.address());
    let mut command = Command::new(&curl);
    let finished = run(
        server.folder(),
        "curl-fetch",
        command.args(["-sS", "-k", "--url", &url, "--user", &user]),
        LIMIT,
    );
    assert!(finished.succeeded(), "{}", finished.output);
    assert!(
        finished.output.contains("Subject: by curl") && finished.output.contains("\n.a dot, and more"),
        "{}",
        finished.output
    );
}
