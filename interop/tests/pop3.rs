//! Python's poplib, curl, fetchmail, getmail and mpop fetch and delete; what they got, and what is left, is looked at from
//! outside: by its bytes, and over IMAP.

use ringpost_interop::{Account, Server, client, python, run, script, spawn};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// What `pop3_fill.py` puts into INBOX.
const SUBJECTS: [&str; 6] = ["dots", "bare", "unfinished", "empty", "eight", "long"];

/// A server on which bob has messages, and the folder with their bytes as POP3 must bring them.
struct Filled {
    server: Server,
    bob: Account,
    sent: PathBuf,
}

impl Filled {
    fn new() -> Option<Filled> {
        let server = Server::start();
        let bob = server.account("bob");
        let sent = server.folder().join("sent");
        std::fs::create_dir(&sent).expect("the test's folder can be written");
        let address = server.address().to_string();
        let arguments = ["fill", &address, "9930", &bob.address, &bob.password];
        let folder = sent.display().to_string();
        python(
            &server,
            "pop3_fill.py",
            &[&arguments[..], &[folder.as_str()]].concat(),
        )?;
        Some(Filled { server, bob, sent })
    }

    /// Subjects and flags of what is in INBOX, by IMAP.
    fn left(&self) -> String {
        let address = self.server.address().to_string();
        let arguments = ["show", &address, "9930", &self.bob.address, &self.bob.password];
        python(&self.server, "pop3_fill.py", &arguments).expect("it filled the mailbox")
    }

    fn sent(&self, subject: &str) -> Vec<u8> {
        std::fs::read(self.sent.join(subject)).expect("pop3_fill.py wrote it")
    }

    /// A file that nobody else may read, as programs want it that hold a password.
    fn secret_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.server.folder().join(name);
        std::fs::write(&path, text).expect("the test's folder can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }

    /// Runs a program with the test's folder as its home.
    fn run(&self, name: &str, command: &mut Command) -> String {
        command.env("HOME", self.server.folder());
        let finished = run(self.server.folder(), name, command, LIMIT);
        assert!(finished.succeeded(), "{:?}: {}", finished.status, finished.output);
        finished.output
    }
}

/// The files of a maildir's `new`, as they lie there: lines end with LF.
fn maildir(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder.join("new")).expect("a maildir");
    entries
        .map(|entry| std::fs::read(entry.expect("it can be listed").path()).expect("it can be read"))
        .collect()
}

fn make_maildir(folder: &Path) {
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(folder.join(part)).expect("the test's folder can be written");
    }
}

fn with_lf(bytes: &[u8]) -> Vec<u8> {
    let text = bytes.iter().enumerate();
    text.filter(|(i, b)| **b != b'\r' || bytes.get(i + 1) != Some(&b'\n'))
        .map(|(_, b)| *b)
        .collect()
}

/// Each of these messages is among what was fetched, its bytes the same from its From field on.
fn all_there(filled: &Filled, fetched: &[Vec<u8>], subjects: &[&str]) {
    assert_eq!(fetched.len(), subjects.len());
    for subject in subjects {
        let sent = with_lf(&filled.sent(subject));
        let found = fetched.iter().any(|message| with_lf(message).ends_with(&sent));
        assert!(found, "{subject} did not come as it was sent");
    }
}

#[test]
fn poplib_finds_every_command_at_work() {
    // Guards pitfall POP3 1, 2 and 3 from outside.
    let Some(filled) = Filled::new() else { return };
    let address = filled.server.address().to_string();
    let folder = filled.sent.display().to_string();
    let (user, password) = (&filled.bob.address, &filled.bob.password);
    python(
        &filled.server,
        "pop3_session.py",
        &[&address, "1100", "9950", user, password, &folder],
    );
    // What was deleted is gone by IMAP too, and what was fetched has been seen.
    assert_eq!(
        filled.left(),
        "dots:\\Seen\nunfinished:\\Seen\nempty:\\Seen\neight:\\Seen\n"
    );
    filled.server.check_store();
}

#[test]
fn a_server_that_is_killed_keeps_no_maildrop_locked_and_removes_nothing() {
    // Guards pitfall POP3 1: no lock survives a kill.
    let Some(mut filled) = Filled::new() else { return };
    let (address, bob) = (filled.server.address().to_string(), filled.bob.clone());
    let mut command = Command::new(client("python3").expect("it filled the mailbox"));
    command
        .arg(script("pop3_hold.py"))
        .args([&address, "9950", &bob.address, &bob.password]);
    let mut holds = spawn(filled.server.folder(), "holds", &mut command);
    holds.wait_for_output("held", LIMIT);
    filled.server.kill();
    filled.server.run();
    drop(holds);
    let again = python(
        &filled.server,
        "pop3_hold.py",
        &[&address, "9950", &bob.address, &bob.password, "once"],
    );
    assert_eq!(again.as_deref(), Some("held 6\n"));
    assert_eq!(filled.left().lines().count(), SUBJECTS.len());
    filled.server.check_store();
}

#[test]
fn curl_lists_fetches_and_deletes() {
    let Some(curl) = client("curl") else { return };
    let Some(filled) = Filled::new() else { return };
    let user = format!("{}:{}", filled.bob.address, filled.bob.password);
    let ask = |scheme: &str, more: &[&str], path: &str| {
        let port = if scheme == "pop3" { 1100 } else { 9950 };
        let url = format!("{scheme}://{}:{port}/{path}", filled.server.address());
        let mut command = Command::new(&curl);
        let out = filled.server.folder().join("out");
        let _ = std::fs::remove_file(&out);
        command.args(["-sS", "-k", "--ssl-reqd", "--url", &url, "--user", &user, "-o"]);
        filled.run("curl", command.arg(&out).args(more));
        std::fs::read(&out).unwrap_or_default()
    };
    for scheme in ["pop3", "pop3s"] {
        let listing = String::from_utf8(ask(scheme, &[], "")).expect("ASCII");
        assert_eq!(listing.lines().count(), SUBJECTS.len(), "{listing}");
        for (i, subject) in SUBJECTS.iter().enumerate() {
            let fetched = ask(scheme, &[], &(i + 1).to_string());
            assert!(
                fetched == filled.sent(subject),
                "{subject} did not come as it was sent"
            );
        }
    }
    // Without TLS curl is told to go away.
    let url = format!("pop3://{}:1100/1", filled.server.address());
    let mut command = Command::new(&curl);
    command.args(["-sS", "--url", &url, "--user", &user]);
    let finished = run(filled.server.folder(), "curl-plain", &mut command, LIMIT);
    assert!(!finished.succeeded(), "{}", finished.output);
    ask("pop3s", &["-I", "-X", "DELE"], "3");
    assert!(!filled.left().contains("unfinished"));
    filled.server.check_store();
}

#[test]
fn fetchmail_keeps_and_then_empties() {
    let Some(fetchmail) = client("fetchmail") else {
        return;
    };
    let Some(filled) = Filled::new() else { return };
    let boxes = filled.server.folder().join("fetched");
    let (server, bob) = (filled.server.address(), &filled.bob);
    let fetch = |port: u16, how: &str| {
        let folder = boxes.join(port.to_string());
        make_maildir(&folder);
        // Each message to a file of its own.
        let mda = format!("sh -c 'cat > {}/new/$$'", folder.display());
        let rc = filled.secret_file(
            "fetchmailrc",
            &format!(
                "set invisible\npoll {server} service {port} protocol pop3 uidl\n\
                 user \"{}\" password \"{}\" {how} norewrite fetchall mda \"{mda}\"\n",
                bob.address, bob.password
            ),
        );
        let mut command = Command::new(&fetchmail);
        command
            .args(["--nosyslog", "--verbose", "--fetchmailrc"])
            .arg(&rc);
        command.env("FETCHMAILHOME", filled.server.folder());
        let output = filled.run("fetchmail", &mut command);
        (maildir(&folder), output)
    };
    let (kept, output) = fetch(1100, "sslproto \"tls1.2+\" no sslcertck keep");
    assert!(output.contains("STLS"), "{output}");
    all_there(&filled, &kept, &SUBJECTS);
    assert_eq!(filled.left().lines().count(), SUBJECTS.len());
    let (taken, _) = fetch(9950, "ssl no sslcertck");
    all_there(&filled, &taken, &SUBJECTS);
    assert_eq!(filled.left(), "");
    filled.server.check_store();
}

#[test]
fn getmail_takes_each_message_once_and_deletes() {
    let Some(getmail) = client("getmail") else { return };
    let Some(filled) = Filled::new() else { return };
    let folder = filled.server.folder().join("getmail-box");
    make_maildir(&folder);
    let run = |delete: bool| {
        let rc = filled.secret_file(
            "getmailrc",
            &format!(
                "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = {}\nport = 9950\nusername = {}\npassword = {}\n\
                 [destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n\
                 arguments = (\"-c\", \"cat > {}/new/$$\")\n\
                 [options]\nread_all = false\ndelete = {delete}\ndelivered_to = false\nreceived = false\n",
                filled.server.address(),
                filled.bob.address,
                filled.bob.password,
                folder.display(),
            ),
        );
        let mut command = Command::new(&getmail);
        command.arg("--getmaildir").arg(filled.server.folder());
        filled.run("getmail", command.arg("--rcfile").arg(&rc))
    };
    run(false);
    all_there(&filled, &maildir(&folder), &SUBJECTS);
    // It knows them by their UIDL.
    run(false);
    assert_eq!(maildir(&folder).len(), SUBJECTS.len());
    run(true);
    assert_eq!(maildir(&folder).len(), SUBJECTS.len());
    assert_eq!(filled.left(), "");
    filled.server.check_store();
}

#[test]
fn mpop_pipelines_under_stls_and_proves_its_password_by_scram() {
    let Some(mpop) = client("mpop") else { return };
    let Some(filled) = Filled::new() else { return };
    let (one, other) = (
        filled.server.folder().join("mpop-one"),
        filled.server.folder().join("mpop-other"),
    );
    [&one, &other].into_iter().for_each(|folder| make_maildir(folder));
    let account = |name: &str, port: u16, starttls: &str, auth: &str, keep: &str, folder: &Path| {
        format!(
            "account {name}\nhost {}\nport {port}\ntls on\ntls_starttls {starttls}\ntls_certcheck off\nauth {auth}\n\
             user {}\npassword {}\ndelivery maildir {}\nkeep {keep}\npipelining on\nreceived_header off\nuidls_file {}.uidls\n",
            filled.server.address(),
            filled.bob.address,
            filled.bob.password,
            folder.display(),
            folder.display(),
        )
    };
    let accounts = account("one", 1100, "on", "plain", "on", &one)
        + &account("other", 9950, "off", "scram-sha-256", "off", &other);
    let rc = filled.secret_file("mpoprc", &accounts);
    let fetch = |name: &str| {
        let mut command = Command::new(&mpop);
        filled.run("mpop", command.arg("-C").arg(&rc).args(["--debug", name]))
    };
    fetch("one");
    all_there(&filled, &maildir(&one), &SUBJECTS);
    assert_eq!(filled.left().lines().count(), SUBJECTS.len());
    let output = fetch("other");
    assert!(output.contains("AUTH SCRAM-SHA-256"), "{output}");
    all_there(&filled, &maildir(&other), &SUBJECTS);
    assert_eq!(filled.left(), "");
    filled.server.check_store();
}
