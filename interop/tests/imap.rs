//! Python's imaplib, curl and mutt read, flag and delete.

use ringpost_interop::{Account, Server, client, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn python(server: &Server, script: &str, arguments: &[&str]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(script);
    let mut command = Command::new(client("python3")?);
    let finished = run(
        server.folder(),
        "python",
        command.arg(script).args(arguments),
        LIMIT,
    );
    assert!(finished.succeeded(), "{}", finished.output);
    Some(finished.output)
}

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
