//! The binary as an administrator meets it, without a server running.

// A test says what it expects by failing: `unwrap` is how.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Installation {
    folder: tempfile::TempDir,
}

impl Installation {
    fn new() -> Self {
        let installation = Installation {
            folder: tempfile::tempdir().unwrap(),
        };
        let data = installation.folder.path().join("data");
        installation.configure(&format!(
            "data = {:?}\nuser = \"root\"\ndomains = [\"example.org\"]\n",
            data.display().to_string()
        ));
        installation
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("ringpost.toml")
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        ringpost(self.config().as_ref(), arguments)
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is said when it fails: one line.
    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }
}

fn ringpost(config: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

fn column(said: &str, name: &str) -> String {
    let line = said
        .lines()
        .find(|line| line.starts_with(&format!("{name}\t")))
        .expect(name);
    line.split('\t').nth(1).unwrap().to_string()
}

#[test]
fn people_and_their_phones_are_managed_without_a_server() {
    let installation = Installation::new();
    let made = installation.good(&["account", "add", "alice@example.org"]);
    assert_eq!(column(&made, "password").len(), 20);
    let phone = installation.good(&["device", "add", "alice@example.org", "desk"]);
    assert_eq!(
        (
            column(&phone, "username").as_str(),
            column(&phone, "domain").as_str()
        ),
        ("alice-desk", "example.org")
    );
    assert_eq!(
        installation.good(&["device", "list", "alice@example.org"]),
        "desk\talice-desk\n"
    );
    installation.good(&["domain", "add", "second.test"]);
    assert_eq!(
        installation.good(&["domain", "list"]),
        "example.org\nsecond.test\n"
    );
    let changed = installation.good(&["account", "passwd", "alice@example.org"]);
    assert_ne!(column(&changed, "password"), column(&made, "password"));
    assert_eq!(installation.good(&["check-store"]), "the store is good\n");
    installation.good(&["device", "remove", "alice@example.org", "desk"]);
    installation.good(&["account", "remove", "alice@example.org"]);
    assert_eq!(installation.good(&["account", "list"]), "");
}

#[test]
fn whatever_of_a_maildir_cannot_come_is_told_by_its_path_and_counted() {
    use std::os::unix::fs::symlink;
    let installation = Installation::new();
    installation.good(&["account", "add", "alice@example.org"]);
    let root = installation.folder.path().join("Maildir");
    let path = |name: &str| root.join(name);
    for name in [
        "cur",
        ".Sent/cur",
        ".Old/cur/folder",
        ".Lost/new",
        ".a..b/cur",
        "Notes",
    ] {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    for name in [
        "cur/1:2,Sa",
        ".Sent/cur/2:2,Sac",
        ".Lost/new/3:2,b",
        ".Old/cur/4:2,d",
    ] {
        std::fs::write(path(name), format!("Message-ID: <{name}@x>\n\n")).unwrap();
    }
    std::fs::write(path(".Sent/dovecot-keywords"), "0 todo\nnothing\n").unwrap();
    std::fs::write(path("Notes/new"), "").unwrap();
    std::fs::create_dir(path(".Old/dovecot-keywords")).unwrap();
    // A message, one that leads nowhere, and lists.
    symlink(path(".Sent/cur/2:2,Sac"), path("cur/5:2,")).unwrap();
    symlink(path("none"), path(".Lost/new/6")).unwrap();
    symlink(path(".Sent/dovecot-keywords"), path("dovecot-keywords")).unwrap();
    symlink(path(".Sent/dovecot-keywords"), path("subscriptions")).unwrap();
    let output = installation.run(&["import", "alice@example.org", "--maildir", root.to_str().unwrap()]);
    let link = "a link, which is not followed";
    let letters = "it names no keywords for these letters, which files of the folder have";
    let mut expected = vec![
        "Notes: no mailbox: new is a file, where a folder is expected".to_owned(),
        format!("subscriptions: {link}"),
        format!("dovecot-keywords: {link}"),
        format!("cur/5:2,: {link}"),
        format!(".Lost/new/6: {link}"),
        format!(".Lost/dovecot-keywords: {letters}: b"),
        ".Old/dovecot-keywords: expected a regular file".to_owned(),
        ".Old/cur/folder: expected a regular file".to_owned(),
        format!(".Sent/dovecot-keywords: {letters}: c"),
        ".a..b: no mailbox can be called \"a//b\": ".to_owned(),
    ];
    expected.sort();
    let said = String::from_utf8(output.stderr).unwrap();
    let start = format!("ringpost: {}/", root.display());
    let mut told: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix(&start))
        .collect();
    told.sort();
    assert_eq!(told.len(), expected.len(), "{said}");
    for (told, expected) in told.iter().zip(&expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    let counts = String::from_utf8(output.stdout).unwrap();
    let expected = format!(
        "imported\t4 messages\t4 mailboxes\t0 already there\t{} errors\n",
        told.len()
    );
    assert_eq!(counts, expected);
}

#[test]
fn what_cannot_be_done_is_told_in_one_line_with_the_mend() {
    let installation = Installation::new();
    let said = installation.bad(&["account", "add", "x@elsewhere.test"]);
    assert!(said.contains("ringpost domain add"), "{said}");
    let said = installation.bad(&["device", "add", "nobody@example.org", "desk"]);
    assert!(said.contains("ringpost account list"), "{said}");
    installation.configure("[listen]\nsmpt = \"off\"\n");
    for command in [&["config", "check"][..], &["account", "list"]] {
        let said = installation.bad(command);
        assert!(
            said.contains("ringpost.toml:2: unknown field `smpt`, expected one of"),
            "{said}"
        );
    }
}

#[test]
fn a_check_of_the_configuration_looks_for_the_user_and_the_files_that_it_names() {
    let installation = Installation::new();
    for (text, told) in [
        ("user = \"nobody-by-this-name\"\n", "user: there is no user"),
        (
            "[tls]\nauthorities = \"/nowhere.pem\"\n",
            "tls.authorities: there is no file /nowhere.pem; make it",
        ),
        (
            "[voicemail]\ngreeting = \"/nowhere.wav\"\n",
            "voicemail.greeting: there is no file /nowhere.wav; make it",
        ),
    ] {
        installation.configure(text);
        let said = installation.bad(&["config", "check"]);
        assert!(said.contains(told), "{said}");
    }
}

/// A server that listens nowhere but for the command line.
struct Serving(std::process::Child);

impl Serving {
    fn start(installation: &Installation) -> Self {
        let text = std::fs::read_to_string(installation.config()).unwrap();
        let off: String = [
            "sip_udp",
            "sip_tcp",
            "sip_tls",
            "smtp",
            "submission",
            "submissions",
            "imap",
            "imaps",
            "pop3",
            "pop3s",
            "rtsp",
            "rtsps",
            "metrics",
        ]
        .iter()
        .map(|key| format!("{key} = \"off\"\n"))
        .collect();
        installation.configure(&format!("{text}[listen]\n{off}"));
        let server = Command::new(env!("CARGO_BIN_EXE_ringpost"))
            .args(["serve", "--config"])
            .arg(installation.config())
            .stderr(Stdio::null())
            .spawn();
        Serving(server.unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_same_is_said_with_a_server_and_without() {
    let script = |installation: &Installation| {
        let mut said = Vec::new();
        let long = "x".repeat(100_000);
        for arguments in [
            &["account", "add", "alice@example.org", "--extension", "200"][..],
            &["account", "add", "ALICE@example.org"],
            &["account", "add", "bob@example.org", "--extension", "200"],
            &["account", "add", "bob@example.org", "--extension", "two"],
            &["account", "add", "200@example.org"],
            &["account", "add", "o'brien@example.org"],
            &["account", "add", "bob smith@example.org"],
            &["account", "add", ""],
            &["account", "add", "bob@elsewhere.test"],
            &["domain", "add", "192.0.2.1"],
            &["domain", "add", "Example.Org"],
            &["domain", "add", ""],
            &["domain", "list"],
            &["device", "add", "alice@example.org", "my phone"],
            &["device", "add", "alice@example.org", ""],
            &["device", "list", "alice"],
            &["device", "list", "alice@example.org"],
            &["device", "remove", "alice@example.org", "desk"],
            &["device", "remove", "alice@example.org\n\u{1b}[31m", "desk"],
            &["account", "remove", "200@example.org"],
            &["account", "list"],
            &["check-store"],
        ] {
            let output = installation.run(arguments);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let (told, refused) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(
                refused.lines().count(),
                usize::from(!output.status.success()),
                "{refused}"
            );
            let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
            assert!(!told.contains(is_odd) && !refused.contains(is_odd), "{refused:?}");
            let secret = |line: &&str| !line.starts_with("password");
            said.push((told.lines().filter(secret).collect::<String>(), refused));
        }
        // What is longer than a name can be is told so, by whoever reads it first.
        let refused = installation.bad(&["device", "list", &long]);
        assert!(refused.len() < 300, "{refused}");
        said
    };
    let without = Installation::new();
    std::fs::create_dir(without.folder.path().join("data")).unwrap();
    let with = Installation::new();
    std::fs::create_dir(with.folder.path().join("data")).unwrap();
    // The commands wait until it answers.
    let _serving = Serving::start(&with);
    let answers =
        |folder: &Path| std::os::unix::net::UnixStream::connect(folder.join("data/admin.sock")).is_ok();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !answers(with.folder.path()) {
        assert!(Instant::now() < deadline, "the server does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(script(&with), script(&without));
}

#[test]
fn only_what_adds_something_makes_a_data_folder() {
    let installation = Installation::new();
    let data = installation.folder.path().join("data");
    for arguments in [
        &["account", "list"][..],
        &["domain", "list"],
        &["check-store"],
        &["device", "list", "alice@example.org"],
    ] {
        let said = installation.bad(arguments);
        assert!(
            said.starts_with("ringpost: data: there is no folder ") && said.contains("--config"),
            "{said}"
        );
        assert!(!data.exists());
    }
    let made = installation.run(&["account", "add", "alice@example.org"]);
    let told = String::from_utf8(made.stderr).unwrap();
    assert!(told.contains("that folder was made"), "{told}");
    assert!(made.status.success() && data.exists());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(["config", "default"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_reference_is_a_configuration() {
    let installation = Installation::new();
    installation.configure(&installation.good(&["config", "default"]));
    assert_eq!(
        installation.good(&["config", "check"]),
        "the configuration is good\n"
    );
}

#[test]
fn the_unit_starts_this_binary() {
    let installation = Installation::new();
    let unit = installation.good(&["service-unit"]);
    let start = format!(
        "ExecStart={} serve --config {}\n",
        env!("CARGO_BIN_EXE_ringpost"),
        installation.config().display()
    );
    assert!(unit.contains(&start), "{unit}");
}
