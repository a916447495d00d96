//! The binary as an administrator meets it, without a server running.

// A test says what it expects by failing: `unwrap` is how.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
