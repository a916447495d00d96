//! Python's imaplib, curl and mutt read, flag and delete; mbsync, gsasl and scramp prove a password by SCRAM.

use ringpost_interop::{Account, Server, client, python, python_package, python_with, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn imaplib_finds_every_command_of_the_core_at_work() {
    let server = Server::start();
    let bob = server.account("bob");
    let address = server.address().to_string();
    python(
        &server,
        "imap_session.py",
        &[&address, "1430", "9930", &bob.address, &bob.password],
    );
    server.check_store();
}

/// Puts messages with these subjects into INBOX, by curl.
fn fill(server: &Server, account: &Account, subjects: &[&str]) -> Option<()> {
    let curl = client("curl")?;
    for subject in subjects {
        let file = server.folder().join("append");
        std::fs::write(
            &file,
            format!("From: x@elsewhere.test\r\nSubject: {subject}\r\n\r\ntext\r\n"),
        )
        .expect("the test's folder can be written");
        let finished = imap_curl(
            server,
            account,
            &curl,
            &["--upload-file", &file.display().to_string()],
            "INBOX",
        );
        assert!(!finished.contains("curl: ("), "{finished}");
    }
    Some(())
}

fn imap_curl(server: &Server, account: &Account, curl: &Path, more: &[&str], path: &str) -> String {
    let url = format!("imaps://{}:9930/{path}", server.address());
    let user = format!("{}:{}", account.address, account.password);
    let mut command = Command::new(curl);
    command
        .args(["-sS", "-k", "--url", &url, "--user", &user])
        .args(more);
    let finished = run(server.folder(), "curl", &mut command, LIMIT);
    assert!(finished.succeeded(), "{more:?}: {}", finished.output);
    finished.output
}

#[test]
fn curl_lists_searches_flags_and_deletes() {
    let server = Server::start();
    let bob = server.account("bob");
    let Some(()) = fill(&server, &bob, &["one", "two", "three"]) else {
        return;
    };
    let curl = client("curl").expect("it filled the mailbox");
    let ask = |more: &[&str], path: &str| imap_curl(&server, &bob, &curl, more, path);
    assert!(ask(&[], "").contains("INBOX"));
    assert!(ask(&[], "INBOX?SUBJECT%20two").contains("* SEARCH 2"));
    assert!(ask(&[], "INBOX;MAILINDEX=3").contains("Subject: three"));
    ask(&["-X", "STORE 2 +FLAGS (\\Deleted)"], "INBOX");
    ask(&["-X", "EXPUNGE"], "INBOX");
    assert!(ask(&[], "INBOX?ALL").contains("* SEARCH 1 2\r\n"));
    assert!(ask(&[], "INBOX;MAILINDEX=1").contains("Subject: one"));
    assert!(ask(&[], "INBOX;MAILINDEX=2").contains("Subject: three"));
    server.check_store();
}

/// Delivers messages with these subjects by SMTP: unlike those that curl appends, they are unread.
fn deliver(server: &Server, account: &Account, subjects: &[&str]) -> Option<()> {
    let curl = client("curl")?;
    for subject in subjects {
        let file = server.folder().join("deliver");
        std::fs::write(
            &file,
            format!("From: x@elsewhere.test\r\nSubject: {subject}\r\n\r\ntext\r\n"),
        )
        .expect("the test's folder can be written");
        let url = format!("smtp://{}:2525/client.test", server.address());
        let mut command = Command::new(&curl);
        command.args([
            "-sS",
            "--url",
            &url,
            "--mail-from",
            "x@elsewhere.test",
            "--mail-rcpt",
            &account.address,
        ]);
        command.arg("--upload-file").arg(&file);
        let finished = run(server.folder(), "curl-deliver", &mut command, LIMIT);
        assert!(finished.succeeded(), "{}", finished.output);
    }
    Some(())
}

#[test]
fn mutt_reads_flags_and_deletes() {
    let Some(mutt) = client("mutt") else { return };
    let server = Server::start();
    let bob = server.account("bob");
    let Some(()) = deliver(&server, &bob, &["keep", "flag", "drop"]) else {
        return;
    };
    let rc = server.folder().join("muttrc");
    let settings = format!(
        "set folder=\"imaps://{0}:9930/\"\nset spoolfile=\"+INBOX\"\nset imap_user=\"{1}\"\nset imap_pass=\"{2}\"\n\
         set ssl_verify_host=no\nset ssl_verify_dates=no\nset certificate_file=\"{3}\"\nset ssl_starttls=no\n\
         set delete=yes\nset quit=yes\nset sort=mailbox-order\nset wait_key=no\nset header_cache=\"\"\nset mark_old=no\nset move=no\n",
        server.address(),
        bob.address,
        bob.password,
        server.data().join("self-signed.crt").display(),
    );
    std::fs::write(&rc, settings).expect("the test's folder can be written");
    // The second message is flagged, the third deleted, the first opened and closed.
    let keys = "push <first-entry><next-entry><flag-message><first-entry><next-entry><next-entry><delete-message>\
                <first-entry><sync-mailbox><display-message><exit><sync-mailbox><quit>";
    let script = format!(
        "TERM=vt100 script -qec \"{} -n -F {} -e '{keys}'\" /dev/null",
        mutt.display(),
        rc.display()
    );
    let finished = run(
        server.folder(),
        "mutt",
        Command::new("sh").args(["-c", &script]),
        LIMIT,
    );
    assert!(finished.succeeded(), "{}", finished.output);
    let address = server.address().to_string();
    let Some(flags) = python(
        &server,
        "flags.py",
        &[&address, "9930", &bob.address, &bob.password],
    ) else {
        return;
    };
    assert_eq!(flags, "keep: \\Seen\nflag: \\Flagged\n", "{}", finished.output);
}

#[test]
fn imaplib_finds_what_imap4rev2_changes() {
    let server = Server::start();
    let bob = server.account("bob");
    let address = server.address().to_string();
    python(
        &server,
        "imap_rev2.py",
        &[&address, "9930", &bob.address, &bob.password],
    );
    server.check_store();
}

#[test]
fn imaplib_is_told_when_its_mailbox_is_deleted_whatever_it_deletes_itself() {
    let server = Server::start();
    let bob = server.account("bob");
    let address = server.address().to_string();
    python(
        &server,
        "imap_deletes.py",
        &[&address, "9930", &bob.address, &bob.password],
    );
    server.check_store();
}

#[test]
fn scramp_proves_the_password_bound_to_tls_by_imap_and_pop3_and_is_refused_otherwise() {
    let Some(packages) = python_package("scramp") else {
        return;
    };
    let server = Server::start();
    let bob = server.account("bob");
    let address = server.address().to_string();
    let arguments = [
        &address,
        "1430",
        "9930",
        "1100",
        "9950",
        &bob.address,
        &bob.password,
    ];
    python_with(&server, Some(&packages), "scram_bound.py", &arguments).expect("it brought the package");
}

#[test]
fn gsasl_binds_scram_to_tls_after_starttls() {
    let Some(gsasl) = client("gsasl") else { return };
    let server = Server::start();
    let bob = server.account("bob");
    let log_in = |mechanism: &str, password: &str| {
        let mut command = Command::new(&gsasl);
        command
            .args(["--imap", "--verbose", "--connect"])
            .arg(format!("{}:1430", server.address()))
            .args(["--mechanism", mechanism])
            .args(["--authentication-id", &bob.address, "--password", password])
            // The certificate is the test's server's own.
            .arg("--x509-ca-file=");
        if !mechanism.ends_with("-PLUS") {
            // With something to bind to it would not do without.
            command.arg("--no-cb");
        }
        run(
            server.folder(),
            &format!("gsasl-{mechanism}"),
            &mut command,
            LIMIT,
        )
    };
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"] {
        let finished = log_in(mechanism, &bob.password);
        let trusts = finished.output.contains("server trusted");
        assert!(finished.succeeded() && trusts, "{mechanism}: {}", finished.output);
        let refused = log_in(mechanism, "wrong");
        let told = refused.output.contains("NO [AUTHENTICATIONFAILED]");
        assert!(told, "{mechanism}: {}", refused.output);
    }
}

#[test]
fn mbsync_proves_its_password_by_scram_over_starttls_and_tls() {
    let Some(mbsync) = client("mbsync") else { return };
    let server = Server::start();
    let bob = server.account("bob");
    let Some(()) = deliver(&server, &bob, &["one", "two"]) else {
        return;
    };
    let account = |name: &str, port: u16, kind: &str| {
        let folder = server.folder().join(name);
        std::fs::create_dir_all(&folder).expect("the test's folder can be written");
        format!(
            "IMAPAccount {name}\nHost {}\nPort {port}\nUser {}\nPass {}\nSSLType {kind}\nCertificateFile {}\n\
             AuthMechs SCRAM-SHA-256\n\nIMAPStore {name}-far\nAccount {name}\n\nMaildirStore {name}-near\n\
             Inbox {}/INBOX\n\nChannel {name}\nFar :{name}-far:\nNear :{name}-near:\nPatterns INBOX\nCreate Near\nSyncState *\n\n",
            server.address(),
            bob.address,
            bob.password,
            server.data().join("self-signed.crt").display(),
            folder.display(),
        )
    };
    let settings = account("clear", 1430, "STARTTLS") + &account("secure", 9930, "IMAPS");
    let rc = server.folder().join("mbsyncrc");
    std::fs::write(&rc, settings).expect("the test's folder can be written");
    for name in ["clear", "secure"] {
        let mut command = Command::new(&mbsync);
        command.arg("-V").arg("-c").arg(&rc).arg(name);
        let finished = run(server.folder(), &format!("mbsync-{name}"), &mut command, LIMIT);
        let by_scram = finished.output.contains("SASL mechanism SCRAM-SHA-256");
        assert!(finished.succeeded() && by_scram, "{name}: {}", finished.output);
        let inbox = server.folder().join(name).join("INBOX");
        let count: usize = ["cur", "new"]
            .iter()
            .map(|place| std::fs::read_dir(inbox.join(place)).map_or(0, Iterator::count))
            .sum();
        assert_eq!(count, 2, "{}", finished.output);
    }
}
