//! Mail to and from Postfix, a whole one with folders of its own: under TLS, with 8 bits, refused, deferred, and bounced later.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, Dns, ImapClient, Options, Postfix, Record, Server, certificates, client, mails, own_address,
    python, submit, wait_for,
};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Postfix at port 25 of two addresses, for `post.test` and `seven.test`: at the second it offers neither 8BITMIME nor SMTPUTF8.
struct Post {
    postfix: Postfix,
    address: Ipv4Addr,
    seven_bit: Ipv4Addr,
}

impl Post {
    /// Starts it; what it has to say, and what it is given for us, it says to port 2525 of `us`, under this policy of TLS.
    fn start(us: Ipv4Addr, tls: &str) -> Option<Post> {
        let mut postfix = Postfix::prepared()?;
        let (_, (certificate, key)) = certificates(postfix.folder(), "mx.post.test")?;
        let mailboxes = [
            "carol@post.test carol/",
            "bounced@post.test bounced/",
            "busy@post.test busy/",
            "carol@seven.test seven/",
            "",
        ];
        let mailboxes = postfix.write("mailboxes", &mailboxes.join("\n"));
        let transport = format!("interop.test smtp:[{us}]:2525\nbounced@post.test failing:false\n");
        let transport = postfix.write("transport", &transport);
        let access = postfix.write("access", "busy@post.test 450 4.2.0 Busy, come back later\n");
        let policy = postfix.write("policy", &format!("[{us}]:2525 {tls}\n"));
        let main = format!(
            "myhostname = mx.post.test\nvirtual_mailbox_domains = post.test, seven.test\n\
             virtual_mailbox_maps = texthash:{}\ntransport_maps = texthash:{}\nrelay_domains = interop.test\n\
             smtpd_recipient_restrictions = check_recipient_access texthash:{}, reject_unauth_destination\n\
             smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\nsmtpd_tls_security_level = may\n\
             smtpd_tls_received_header = yes\nmessage_size_limit = 100000\n\
             smtp_tls_policy_maps = texthash:{}\nsmtp_tls_loglevel = 1\n",
            mailboxes.display(),
            transport.display(),
            access.display(),
            certificate.display(),
            key.display(),
            policy.display(),
        );
        let (address, seven_bit) = (own_address(), own_address());
        let less = "  -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8\n";
        postfix.start(&main, &[(address, ""), (seven_bit, less)]);
        Some(Post {
            postfix,
            address,
            seven_bit,
        })
    }
}

/// alice sends a message's file by port 587.
fn send(server: &Server, alice: &Account, to: &[&str], message: &Path) -> Option<()> {
    submit(server, alice, to, &["--data", &format!("@{}", message.display())])
}

/// A message's file; what is in it stands in its lines.
fn message(server: &Server, name: &str, text: &str) -> PathBuf {
    let path = server.folder().join(name);
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    path
}

const GREETING: &str = "From: alice@interop.test\nSubject: greeting\nMIME-Version: 1.0\n\
                        Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n.dot\n";

// Guards pitfalls SMTP 6 and 7: refused once, deferred, converted where it must be.
#[test]
fn postfix_gets_what_it_takes_and_the_sender_hears_what_it_does_not() {
    let Some(swaks) = client("swaks") else { return };
    drop(swaks);
    let us = own_address();
    let Some(post) = Post::start(us, "may") else {
        return;
    };
    let postfix = &post.postfix;
    let dns = Dns::start(vec![
        Record::Mx("post.test", 10, "mx.post.test"),
        Record::A("mx.post.test", post.address),
        Record::Mx("seven.test", 10, "mx.seven.test"),
        Record::A("mx.seven.test", post.seven_bit),
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
    send(&server, &alice, &to, &greeting).unwrap();
    // It is signed, and so it goes to both in its 7-bit form, under TLS where there is one.
    for mailbox in ["carol", "seven"] {
        assert!(wait_for(LIMIT, || postfix.mails(mailbox).len() == 1));
        let arrived = String::from_utf8(postfix.mails(mailbox).remove(0)).unwrap();
        for part in [
            "Content-Transfer-Encoding: quoted-printable\n",
            "\n\nGr=C3=BC=C3=9Fe\n.dot\n",
            "\nDKIM-Signature: v=1; a=rsa-sha256;",
            "using TLSv1.3",
            "with ESMTPS id",
        ] {
            assert!(arrived.contains(part), "{part:?} in {arrived}");
        }
    }
    // Refused: told once. Deferred: it waits.
    assert!(wait_for(LIMIT, || mails(&server, &alice, "INBOX").len() == 1));
    let report = mails(&server, &alice, "INBOX").remove(0);
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
    send(
        &server,
        &alice,
        &["carol@post.test"],
        &message(&server, "long", &long),
    )
    .unwrap();
    assert!(wait_for(LIMIT, || mails(&server, &alice, "INBOX").len() == 2));
    assert!(mails(&server, &alice, "INBOX")[1].contains("\r\nStatus: 5.3.4\r\n"));
    // Taken, and bounced by Postfix later: its report comes in by port 2525, and is for alice.
    send(&server, &alice, &["bounced@post.test"], &greeting).unwrap();
    assert!(
        wait_for(LIMIT, || mails(&server, &alice, "INBOX").len() == 3),
        "{}",
        postfix.log()
    );
    let report = mails(&server, &alice, "INBOX").remove(2);
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
    send(&server, &alice, &["carol@post.test"], &wide).unwrap();
    assert!(wait_for(LIMIT, || postfix.mails("carol").len() == 2));
    let arrived = postfix.mails("carol");
    let arrived = arrived.iter().map(|mail| String::from_utf8_lossy(mail));
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

/// What Postfix is given for bob, by Python's smtplib, with nothing done to it.
fn relay(server: &Server, post: &Post, to: &[&str], message: &Path) {
    let (address, message) = (post.address.to_string(), message.display().to_string());
    let arguments = [&[&address, "25", message.as_str(), "carol@post.test"][..], to].concat();
    python(server, "relay_bytes.py", &arguments).unwrap();
}

/// The bytes of bob's messages.
fn bytes(server: &Server, account: &Account) -> Vec<Vec<u8>> {
    let mut imap = ImapClient::login(server, account).unwrap();
    assert!(imap.command("EXAMINE INBOX").unwrap().is_ok());
    let reply = imap.command("FETCH 1:* BODY.PEEK[]").unwrap();
    reply.untagged
}

fn holds(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

/// A body with every byte that a message of eight bits may have, dots, blanks at the ends of lines, and lines of all lengths.
fn eight_bits() -> Vec<u8> {
    let mut body = Vec::new();
    let allowed: Vec<u8> = (1..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    for line in allowed.chunks(50) {
        body.extend_from_slice(line);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice("Grüße\r\n.\r\n..\r\n.a dot\r\n trailing \t \r\n\r\n\r\n".as_bytes());
    for length in [1, 76, 77, 500, 997, 998] {
        body.extend(std::iter::repeat_n(0xfc, length));
        body.extend_from_slice(b"\r\n");
    }
    body
}

// Guards pitfall SMTP 7 from the other side: what Postfix hands on under TLS lies there byte for byte.
#[test]
fn postfix_brings_eight_bits_under_tls_that_it_insists_on() {
    let (us, folder) = (own_address(), tempfile::tempdir().unwrap());
    let Some((authority, certificate)) = certificates(folder.path(), "mx.interop.test") else {
        return;
    };
    let ways = [
        ("encrypt", "Untrusted TLS connection established to "),
        (
            "secure match=mx.interop.test",
            "Verified TLS connection established to ",
        ),
    ];
    for (tls, established) in ways {
        let authority = authority.display();
        let policy = match tls.starts_with("secure") {
            true => format!("{tls} tafile={authority}"),
            false => tls.to_owned(),
        };
        let Some(post) = Post::start(us, &policy) else {
            return;
        };
        let options = Options {
            certificate: Some(certificate.clone()),
            ..Options::default()
        };
        let server = Server::start_at(us, &options);
        let bob = server.account("bob");
        let body = eight_bits();
        let head = "From: carol@post.test\r\nSubject: bytes\r\nMIME-Version: 1.0\r\n\
                    Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
        let message = folder.path().join("message");
        std::fs::write(&message, [head.as_bytes(), &body].concat()).unwrap();
        for _ in 0..5 {
            relay(&server, &post, &[&bob.address], &message);
        }
        assert!(wait_for(LIMIT, || mails(&server, &bob, "INBOX").len() == 5));
        post.postfix
            .expect_log(&[established, &format!("{us}"), "TLSv1.3"]);
        post.postfix
            .expect_log(&["to=<bob@interop.test>", "status=sent (250 2.0.0 Ok: "]);
        let whole = [b"\r\n\r\n", &body[..], b")"].concat();
        for arrived in bytes(&server, &bob) {
            let told = String::from_utf8_lossy(&arrived);
            assert!(holds(&arrived, &whole), "{told}");
            assert!(
                told.contains("from mx.post.test") && told.contains("with ESMTPS id"),
                "{told}"
            );
        }
        // Who is not there: Postfix tells the sender; who is full: it tries again.
        let full = server.account("full");
        server.command(&["account", "set", &full.address, "--quota", "1000"]);
        relay(&server, &post, &["nobody@interop.test", &full.address], &message);
        post.postfix
            .expect_log(&["to=<nobody@interop.test>", "status=bounced (host ", "550 5.1.1 "]);
        post.postfix
            .expect_log(&["to=<full@interop.test>", "status=deferred (host ", "452 4.2.2 "]);
        assert!(wait_for(LIMIT, || post.postfix.mails("carol").len() == 1));
        assert!(holds(&post.postfix.mails("carol")[0], b"nobody@interop.test"));
        server.command(&["account", "set", &full.address, "--quota", "none"]);
        post.postfix.flush();
        assert!(wait_for(LIMIT, || mails(&server, &full, "INBOX").len() == 1));
        assert!(holds(&bytes(&server, &full)[0], &whole));
        server.check_store();
    }
}

/// A server that does not prove its name gets nothing from a Postfix that asks for that.
#[test]
fn postfix_keeps_what_is_for_a_server_with_another_name() {
    let (us, folder) = (own_address(), tempfile::tempdir().unwrap());
    let Some((authority, certificate)) = certificates(folder.path(), "mx.other.test") else {
        return;
    };
    let policy = format!("secure match=mx.interop.test tafile={}", authority.display());
    let Some(post) = Post::start(us, &policy) else {
        return;
    };
    let options = Options {
        certificate: Some(certificate),
        ..Options::default()
    };
    let server = Server::start_at(us, &options);
    let bob = server.account("bob");
    let message = message(&server, "greeting", GREETING);
    relay(&server, &post, &[&bob.address], &message);
    post.postfix.expect_log(&[
        "to=<bob@interop.test>",
        "status=deferred (Server certificate not verified)",
    ]);
    assert!(mails(&server, &bob, "INBOX").is_empty());
}
