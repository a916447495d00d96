//! IMAPClient, imapflow, aioimaplib, mbsync and offlineimap3: whole actions of the extensions that they use, and what is there afterwards.

use ringpost_interop::{
    Account, Server, client, node_package, node_with, python, python_package, python_with, run,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn imapclient_sorts_threads_and_lists_over_starttls_and_tls() {
    let Some(packages) = python_package("imapclient") else {
        return;
    };
    let server = Server::start();
    let bob = server.account("bob");
    let address = server.address().to_string();
    let arguments = [&address, "1430", "9930", &bob.address, &bob.password];
    python_with(&server, Some(&packages), "imapclient_session.py", &arguments)
        .expect("it brought the package");
    server.check_store();
}

#[test]
fn aioimaplib_is_woken_from_idle_and_flags_moves_and_expunges() {
    let Some(packages) = python_package("aioimaplib") else {
        return;
    };
    let server = Server::start();
    let bob = server.account("bob");
    let address = server.address().to_string();
    let arguments = [&address, "9930", "2525", &bob.address, &bob.password];
    python_with(&server, Some(&packages), "aioimaplib_session.py", &arguments)
        .expect("it brought the package");
    server.check_store();
}

#[test]
fn imapflow_works_compressed_over_starttls_and_tls() {
    let Some(packages) = node_package("imapflow") else {
        return;
    };
    let server = Server::start();
    let bob = server.account("bob");
    let address = server.address().to_string();
    let arguments = [&address, "1430", "9930", &bob.address, &bob.password];
    node_with(&server, &packages, "imapflow_session.mjs", &arguments);
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

/// A folder of Maildirs, in which a mailbox below another is a folder below it, or has its name behind a dot.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn new(server: &Server) -> Tree {
        let root = server.folder().join("tree");
        std::fs::create_dir_all(&root).expect("the test's folder can be written");
        Tree { root }
    }

    /// Every message as `imap_do.py` shows it, in the order of the lines: mailbox, subject and flags.
    fn shown(&self) -> Vec<String> {
        let mut lines = self.files().iter().map(|file| file.line()).collect::<Vec<_>>();
        lines.sort();
        lines
    }

    fn files(&self) -> Vec<File> {
        let (mut found, mut folders) = (Vec::new(), vec![self.root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)
                .expect("the tree can be read")
                .flatten()
            {
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                let is_place = ["cur", "new", "tmp"].contains(&name.as_str());
                match path.is_dir() {
                    true if !is_place => folders.push(path),
                    true if name != "tmp" => {
                        let mailbox = folder.strip_prefix(&self.root).expect("it is below");
                        let mailbox = mailbox.to_string_lossy().replace('.', "/");
                        let files = std::fs::read_dir(path).expect("the tree can be read").flatten();
                        found.extend(files.map(|file| File {
                            mailbox: mailbox.clone(),
                            path: file.path(),
                        }));
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// The one file with this subject.
    fn file(&self, subject: &str) -> PathBuf {
        let mut files = self.files().into_iter().filter(|file| file.subject() == subject);
        let found = files.next().unwrap_or_else(|| panic!("{subject} is not there"));
        assert!(files.next().is_none(), "{subject} is there twice");
        found.path
    }

    /// Makes a mailbox; `folder` is the mailbox's.
    fn make(&self, folder: &str) {
        for place in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(self.root.join(folder).join(place)).expect("the tree can be written");
        }
    }

    /// Puts a message into a mailbox.
    fn put(&self, folder: &str, subject: &str, flags: &str) {
        let text = format!("From: x@elsewhere.test\nSubject: {subject}\nMessage-ID: <{subject}@x>\n\ntext\n");
        let path = self
            .root
            .join(folder)
            .join("cur")
            .join(format!("1.{subject}.host:2,{flags}"));
        std::fs::write(path, text).expect("the tree can be written");
    }

    /// Gives a message other flags.
    fn flag(&self, subject: &str, flags: &str) {
        let path = self.file(subject);
        let name = path
            .file_name()
            .expect("it is a file")
            .to_string_lossy()
            .into_owned();
        let name = name.split(":2,").next().unwrap_or_default().to_owned();
        let cur = path.parent().expect("it lies in a place").with_file_name("cur");
        std::fs::rename(&path, cur.join(format!("{name}:2,{flags}"))).expect("the tree can be written");
    }

    fn remove(&self, subject: &str) {
        std::fs::remove_file(self.file(subject)).expect("the tree can be written");
    }

    /// Both sides hold the same.
    fn assert_same(&self, server: &Server, account: &Account, round: u32) {
        let there = remote(server, account, "show");
        let mut there: Vec<String> = there.lines().map(str::to_owned).collect();
        there.sort();
        assert_eq!(self.shown(), there, "round {round}: here, and there");
    }
}

/// A message of a [`Tree`].
struct File {
    mailbox: String,
    path: PathBuf,
}

impl File {
    fn subject(&self) -> String {
        let text = std::fs::read_to_string(&self.path).expect("the tree can be read");
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        subject.unwrap_or_default().to_owned()
    }

    fn line(&self) -> String {
        let name = self.path.to_string_lossy().into_owned();
        let letters = name
            .split_once(":2,")
            .map(|(_, letters)| letters)
            .unwrap_or_default();
        let known = [
            ('R', "\\Answered"),
            ('T', "\\Deleted"),
            ('D', "\\Draft"),
            ('F', "\\Flagged"),
            ('S', "\\Seen"),
        ];
        let flags = known.iter().filter(|(letter, _)| letters.contains(*letter));
        let flags: Vec<&str> = flags.map(|(_, flag)| *flag).collect();
        format!("{}\t{}\t{}", self.mailbox, self.subject(), flags.join(" "))
    }
}

/// What the account holds, by imaplib: `folder<TAB>subject<TAB>flags`.
fn remote(server: &Server, account: &Account, commands: &str) -> String {
    let arguments = [
        &server.address().to_string(),
        "9930",
        &account.address,
        &account.password,
        commands,
    ];
    python(server, "imap_do.py", &arguments).expect("python3 was there before")
}

/// Three rounds of a program that keeps a tree of Maildirs and an account alike, each time with changes on both sides;
/// `separator` parts the folders' names. After each round both are the same, and hold what they should.
fn three_rounds(server: &Server, bob: &Account, tree: &Tree, separator: &str, mut sync: impl FnMut(u32)) {
    let folder = |mailbox: &str| mailbox.replace('/', separator);
    let expect = |round: u32, lines: &[&str]| {
        tree.assert_same(server, bob, round);
        assert_eq!(tree.shown(), lines, "round {round}");
    };
    // The first brings each side what the other has, nested mailboxes too.
    let filled = "create Work/Letters/2024|append INBOX one|append Work/Letters/2024 deep|append Work/Letters/2024 kept\
                  |append Entw&APw-rfe/x odd|flag INBOX one \\Flagged";
    remote(server, bob, filled);
    // offlineimap makes the levels above there, and then misses them here.
    for mailbox in ["Here", "Here/Below", "Here/Below/Deeper"] {
        tree.make(&folder(mailbox));
    }
    tree.put(&folder("Here/Below/Deeper"), "mine", "S");
    sync(1);
    expect(
        1,
        &[
            "Entw&APw-rfe/x\todd\t",
            "Here/Below/Deeper\tmine\t\\Seen",
            "INBOX\tone\t\\Flagged",
            "Work/Letters/2024\tdeep\t",
            "Work/Letters/2024\tkept\t",
        ],
    );
    // The second carries new messages, flags and deletions of both sides, one message changed on both.
    tree.put("INBOX", "two", "S");
    tree.put(&folder("Work/Letters/2024"), "three", "RS");
    tree.flag("kept", "FS");
    tree.flag("one", "FR");
    tree.remove("odd");
    let changed = "flag INBOX one \\Seen|append INBOX four|delete Work/Letters/2024 deep\
                   |flag Here/Below/Deeper mine \\Answered|create Late/Comer|append Late/Comer five";
    remote(server, bob, changed);
    sync(2);
    expect(
        2,
        &[
            "Here/Below/Deeper\tmine\t\\Answered \\Seen",
            "INBOX\tfour\t",
            "INBOX\tone\t\\Answered \\Flagged \\Seen",
            "INBOX\ttwo\t\\Seen",
            "Late/Comer\tfive\t",
            "Work/Letters/2024\tkept\t\\Flagged \\Seen",
            "Work/Letters/2024\tthree\t\\Answered \\Seen",
        ],
    );
    // The third takes flags away, and removes what came in the second.
    tree.remove("two");
    tree.remove("five");
    tree.flag("kept", "S");
    remote(
        server,
        bob,
        "unflag INBOX one \\Flagged|delete INBOX four|delete Here/Below/Deeper mine",
    );
    sync(3);
    expect(
        3,
        &[
            "INBOX\tone\t\\Answered \\Seen",
            "Work/Letters/2024\tkept\t\\Seen",
            "Work/Letters/2024\tthree\t\\Answered \\Seen",
        ],
    );
    server.check_store();
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
    let tree = Tree::new(&server);
    // Compressed from the second round on.
    three_rounds(&server, &bob, &tree, ".", |round| {
        offlineimap(&server, &bob, &program, round > 1)
    });
}

#[test]
fn mbsync_keeps_a_nested_tree_the_same_on_both_sides_over_three_rounds() {
    let Some(mbsync) = client("mbsync") else { return };
    if client("python3").is_none() {
        return;
    }
    for (port, kind) in [(1430, "STARTTLS"), (9930, "IMAPS")] {
        let server = Server::start();
        let bob = server.account("bob");
        let tree = Tree::new(&server);
        let root = tree.root.display();
        let settings = format!(
            "IMAPAccount bob\nHost {}\nPort {port}\nUser {}\nPass {}\nSSLType {kind}\nCertificateFile {}\n\n\
             IMAPStore far\nAccount bob\n\nMaildirStore near\nPath {root}/\nInbox {root}/INBOX\nSubFolders Verbatim\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\nSyncState *\n",
            server.address(),
            bob.address,
            bob.password,
            server.data().join("self-signed.crt").display(),
        );
        let rc = server.folder().join("mbsyncrc");
        std::fs::write(&rc, settings).expect("the test's folder can be written");
        three_rounds(&server, &bob, &tree, "/", |round| {
            let mut command = Command::new(&mbsync);
            command.arg("-V").arg("-c").arg(&rc).arg("all");
            let finished = run(server.folder(), &format!("mbsync-{round}"), &mut command, LIMIT);
            assert!(finished.succeeded(), "round {round}: {}", finished.output);
        });
        // A mailbox that is gone there, and was empty, goes here.
        remote(&server, &bob, "remove Late/Comer");
        let mut command = Command::new(&mbsync);
        command.arg("-V").arg("-c").arg(&rc).arg("all");
        let finished = run(server.folder(), "mbsync-4", &mut command, LIMIT);
        assert!(finished.succeeded(), "{}", finished.output);
        assert!(!tree.root.join("Late/Comer/cur").exists(), "{}", finished.output);
        let names = remote(&server, &bob, "names");
        assert!(!names.contains("Late/Comer"), "{names}");
    }
}
