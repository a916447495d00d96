//! IMAPClient, imapflow and offlineimap3: whole actions of the extensions that they use, and what is there afterwards.

use ringpost_interop::{Account, Server, client, node_package, python_package, run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(name)
}

#[test]
fn imapclient_sorts_threads_and_lists_over_starttls_and_tls() {
    let Some(packages) = python_package("imapclient") else {
        return;
    };
    let server = Server::start();
    let bob = server.account("bob");
    let mut command = Command::new(client("python3").expect("it brought the package"));
    command
        .arg(script("imapclient_session.py"))
        .args([
            &server.address().to_string(),
            "1430",
            "9930",
            &bob.address,
            &bob.password,
        ])
        .env("PYTHONPATH", packages);
    let finished = run(server.folder(), "imapclient", &mut command, LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    server.check_store();
}

#[test]
fn imapflow_works_compressed_over_starttls_and_tls() {
    let Some(packages) = node_package("imapflow") else {
        return;
    };
    let server = Server::start();
    let bob = server.account("bob");
    // What node finds packages by lies beside the script.
    let copy = packages.join("imapflow_session.mjs");
    std::fs::copy(script("imapflow_session.mjs"), &copy).expect("the build's folder can be written");
    let mut command = Command::new(client("node").expect("it brought the package"));
    command.arg(copy).args([
        &server.address().to_string(),
        "1430",
        "9930",
        &bob.address,
        &bob.password,
    ]);
    let finished = run(server.folder(), "imapflow", &mut command, LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    server.check_store();
}

/// One round of offlineimap between the account and a tree of Maildirs.
fn offlineimap(server: &Server, account: &Account, program: &Path, compressed: bool) {
    let folder = server.folder();
    let rc = folder.join("offlineimaprc");
    let openssl = client("openssl").expect("openssl was there before");
    let mut fingerprint = Command::new(openssl);
    let certificate = server.data().join("self-signed.crt");
    fingerprint
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate);
    let finished = run(folder, "fingerprint", &mut fingerprint, LIMIT);
    let fingerprint = finished
        .output
        .trim()
        .rsplit('=')
        .next()
        .unwrap_or_default()
        .replace(':', "");
    let settings = format!(
        "[general]\naccounts = bob\nmetadata = {0}/offlineimap\nui = basic\nsocktimeout = 30\n\
         [Account bob]\nlocalrepository = here\nremoterepository = there\n\
         [Repository here]\ntype = Maildir\nlocalfolders = {0}/tree\n\
         [Repository there]\ntype = IMAP\nremotehost = {1}\nremoteport = 9930\nremoteuser = {2}\nremotepass = {3}\nssl = yes\n\
         cert_fingerprint = {4}\nusecompression = {5}\nauth_mechanisms = PLAIN\n",
        folder.display(),
        server.address(),
        account.address,
        account.password,
        fingerprint.to_lowercase(),
        if compressed { "yes" } else { "no" },
    );
    std::fs::write(&rc, settings).expect("the test's folder can be written");
    std::fs::create_dir_all(folder.join("tree")).expect("the test's folder can be written");
    let mut command = Command::new(program);
    command.arg("-o").arg("-c").arg(&rc);
    let finished = run(folder, "offlineimap", &mut command, LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
}

/// The messages of the tree: folder, subject, and flags as the file's name has them.
fn tree(root: &Path) -> BTreeMap<String, Vec<(String, String)>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for folder in std::fs::read_dir(root).expect("the tree can be read").flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        for place in ["cur", "new"] {
            let Ok(files) = std::fs::read_dir(folder.path().join(place)) else {
                continue;
            };
            for file in files.flatten() {
                let text = std::fs::read_to_string(file.path()).unwrap_or_default();
                let subject = text
                    .lines()
                    .find_map(|l| l.strip_prefix("Subject: "))
                    .unwrap_or_default();
                let flags = file
                    .file_name()
                    .to_string_lossy()
                    .split_once(":2,")
                    .map(|f| f.1.to_owned());
                found
                    .entry(name.clone())
                    .or_default()
                    .push((subject.into(), flags.unwrap_or_default()));
            }
        }
        if let Some(all) = found.get_mut(&name) {
            all.sort();
        }
    }
    found
}

/// What the account holds, by IMAPClient's script: `folder<TAB>subject<TAB>flags`.
fn remote(server: &Server, account: &Account, commands: &str) -> String {
    let mut command = Command::new(client("python3").expect("python3 was there before"));
    command.arg(script("imap_do.py")).args([
        &server.address().to_string(),
        "9930",
        &account.address,
        &account.password,
        commands,
    ]);
    let finished = run(server.folder(), "imap-do", &mut command, LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    finished.output
}

#[test]
fn offlineimap_keeps_a_nested_tree_the_same_on_both_sides_over_three_rounds() {
    let Some(program) = client("offlineimap") else {
        return;
    };
    if client("python3").is_none() || client("openssl").is_none() {
        return;
    }
    let server = Server::start();
    let bob = server.account("bob");
    let root = server.folder().join("tree");
    let put = |folder: &str, subject: &str, flags: &str| {
        let cur = root.join(folder).join("cur");
        let text = format!("From: x@elsewhere.test\nSubject: {subject}\nMessage-ID: <{subject}@x>\n\ntext\n");
        std::fs::write(cur.join(format!("1.{subject}.host:2,{flags}")), text)
            .expect("the tree can be written");
    };
    // The first round brings what is there.
    remote(
        &server,
        &bob,
        "create Work/Letters/2024|append INBOX one|append Work/Letters/2024 deep|append Entw&APw-rfe/x none|flag INBOX one \\Flagged",
    );
    offlineimap(&server, &bob, &program, false);
    let here = tree(&root);
    assert_eq!(here["INBOX"], [("one".to_owned(), "F".to_owned())]);
    let deep = here
        .keys()
        .find(|name| name.ends_with("2024"))
        .expect("the nested mailbox is there")
        .clone();
    // The second carries changes of both sides, compressed.
    put("INBOX", "two", "S");
    put(&deep, "three", "RS");
    remote(
        &server,
        &bob,
        "flag INBOX one \\Seen|append INBOX four|delete Work/Letters/2024 deep",
    );
    offlineimap(&server, &bob, &program, true);
    let there = remote(&server, &bob, "show");
    for line in [
        "INBOX\ttwo\t\\Seen",
        "Work/Letters/2024\tthree\t\\Answered \\Seen",
        "INBOX\tone\t\\Flagged \\Seen",
    ] {
        assert!(there.lines().any(|l| l == line), "{line} in:\n{there}");
    }
    assert!(!there.contains("deep"), "{there}");
    let here = tree(&root);
    assert_eq!(
        here["INBOX"].iter().map(|m| m.0.as_str()).collect::<Vec<_>>(),
        ["four", "one", "two"]
    );
    assert_eq!(here[&deep], [("three".to_owned(), "RS".to_owned())]);
    // The third removes what was removed here.
    let cur = root.join("INBOX/cur");
    for file in std::fs::read_dir(&cur).expect("the tree can be read").flatten() {
        if std::fs::read_to_string(file.path()).is_ok_and(|text| text.contains("Subject: two\n")) {
            std::fs::remove_file(file.path()).expect("the tree can be written");
        }
    }
    offlineimap(&server, &bob, &program, true);
    let there = remote(&server, &bob, "show");
    assert!(
        !there.contains("\ttwo\t") && there.contains("\tfour\t"),
        "{there}"
    );
    server.check_store();
}
