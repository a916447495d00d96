//! Mail is brought from Dovecot, from Maildirs and mboxes that Python made, and taken to a Maildir that Python reads: with
//! flags, keywords, dates, nested mailboxes, subscriptions, and nothing twice.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, Dovecot, ImapClient, Server, python, run, spawn, wait_for};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Runs the command line to its end; gives whether it succeeded, and what it said.
fn ringpost(server: &Server, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(Server::binary());
    command.args(arguments).arg("--config").arg(server.config());
    let finished = run(server.folder(), "ringpost", &mut command, LIMIT);
    (finished.succeeded(), finished.output)
}

/// Everything that a server shows of an account, sorted by mailbox: each mailbox with its attributes, and each message with its flags,
/// date, size and a hash of its bytes.
fn shown(server: &Server, account: &Account) -> String {
    let address = server.address().to_string();
    let arguments = [&address, "1430", &account.address, &account.password, "/", ""];
    sorted(&python(server, "imap_tree.py", &arguments).unwrap())
}

fn sorted(shown: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    for line in shown.split_inclusive('\n') {
        match blocks.last_mut().filter(|_| !line.starts_with("mailbox ")) {
            Some(block) => block.push_str(line),
            None => blocks.push(line.to_owned()),
        }
    }
    blocks.sort();
    blocks.concat()
}

fn shown_by_dovecot(server: &Server, dovecot: &Dovecot, separator: &str, prefix: &str) -> String {
    let address = dovecot.address().to_string();
    let arguments = [
        &address,
        "1430",
        Dovecot::USER,
        Dovecot::PASSWORD,
        separator,
        prefix,
    ];
    sorted(&python(server, "imap_tree.py", &arguments).unwrap())
}

/// What Dovecot has: a nested tree, odd names, flags, keywords, old dates, large messages, 8 bits and NUL.
fn fill_dovecot(server: &Server, dovecot: &Dovecot, separator: &str, prefix: &str) {
    let address = dovecot.address().to_string();
    let arguments = [
        &address,
        "1430",
        Dovecot::USER,
        Dovecot::PASSWORD,
        separator,
        prefix,
    ];
    python(server, "imap_fill.py", &arguments).unwrap();
}

fn import_of<'a>(account: &'a Account, place: &'a str, password: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let arguments = [
        "import",
        &account.address,
        "--imap",
        place,
        "--user",
        Dovecot::USER,
        "--password-file",
        password,
    ];
    [&arguments[..], more].concat()
}

#[test]
fn a_dovecot_moves_in_over_each_kind_of_connection_and_nothing_comes_twice() {
    let Some(dovecot) = Dovecot::start("/", "") else {
        return;
    };
    let server = Server::start();
    fill_dovecot(&server, &dovecot, "/", "");
    let password = server.folder().join("password");
    std::fs::write(&password, format!("{}\n", Dovecot::PASSWORD)).unwrap();
    let password = password.display().to_string();
    let authority = dovecot.authority().display().to_string();
    let theirs = shown_by_dovecot(&server, &dovecot, "/", "");
    assert!(theirs.contains("Work/Projects/Gr\u{f6}\u{df}e"), "{theirs}");

    let place = |port: u16| format!("{}:{port}", dovecot.address());
    let ways = [
        ("plain", place(1430), vec!["--tls", "none"]),
        (
            "starttls",
            place(1430),
            vec!["--tls", "starttls", "--ca", &authority],
        ),
        ("implicit", place(9930), vec!["--ca", &authority]),
    ];
    for (name, place, more) in ways {
        let account = server.account(name);
        let (succeeded, said) = ringpost(&server, &import_of(&account, &place, &password, &more));
        assert!(succeeded, "{said}\n{}", dovecot.log());
        assert!(said.contains("0 already there\t0 errors"), "{said}");
        assert_eq!(shown(&server, &account), theirs, "{name}");
        let (succeeded, said) = ringpost(&server, &import_of(&account, &place, &password, &more));
        assert!(succeeded && said.contains("imported\t0 messages"), "{said}");
        assert_eq!(shown(&server, &account), theirs, "{name}, a second time");
    }

    // Somebody else may stand where the server was.
    let account = server.account("erin");
    let (succeeded, said) = ringpost(&server, &import_of(&account, &place(9930), &password, &[]));
    assert!(!succeeded && said.contains("certificate"), "{said}");
    std::fs::write(&password, "wrong\n").unwrap();
    let (succeeded, said) = ringpost(
        &server,
        &import_of(&account, &place(9930), &password, &["--ca", &authority]),
    );
    assert!(
        !succeeded && said.contains("LOGIN: expected OK, the server says"),
        "{said}"
    );
}

#[test]
fn a_dovecot_with_its_mailboxes_below_the_inbox_moves_in_though_it_is_interrupted() {
    let Some(dovecot) = Dovecot::start(".", "INBOX.") else {
        return;
    };
    let server = Server::start();
    fill_dovecot(&server, &dovecot, ".", "INBOX.");
    let password = server.folder().join("password");
    std::fs::write(&password, Dovecot::PASSWORD).unwrap();
    let password = password.display().to_string();
    let place = format!("{}:1430", dovecot.address());
    let bob = server.account("bob");
    let arguments = import_of(&bob, &place, &password, &["--tls", "none"]);
    let mut command = Command::new(Server::binary());
    command.args(&arguments).arg("--config").arg(server.config());
    let import = spawn(server.folder(), "interrupted", &mut command);
    // Somewhere in the middle: some of what is to come has come.
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    let some = wait_for(LIMIT, || {
        let reply = imap.command("STATUS INBOX (MESSAGES)").unwrap();
        let told = String::from_utf8(reply.untagged.concat()).unwrap();
        !told.contains("(MESSAGES 0)")
    });
    assert!(some, "{}", import.output());
    drop(import);

    let theirs = shown_by_dovecot(&server, &dovecot, ".", "INBOX.");
    let (succeeded, said) = ringpost(&server, &arguments);
    assert!(succeeded, "{said}\n{}", dovecot.log());
    assert_eq!(shown(&server, &bob), theirs);
    let (succeeded, said) = ringpost(&server, &arguments);
    assert!(succeeded && said.contains("imported\t0 messages"), "{said}");
}

/// Without what mailboxes are for, and whether they are subscribed to, which a Maildir of Python's does not tell.
fn without_uses(shown: &str) -> String {
    let line = |line: &str| match line.strip_prefix("mailbox ") {
        Some(rest) => format!("mailbox {}\n", rest.rsplitn(3, ' ').last().unwrap()),
        None => format!("{line}\n"),
    };
    shown.lines().map(line).collect()
}

#[test]
fn a_maildir_of_pythons_moves_in_and_what_is_exported_is_read_by_python_and_dovecot() {
    let server = Server::start();
    let (bob, carol) = (server.account("bob"), server.account("carol"));
    let theirs = server.folder().join("theirs");
    let theirs = theirs.to_str().unwrap();
    python(&server, "maildir.py", &["make", theirs]).unwrap();
    server.command(&["import", &bob.address, "--maildir", theirs]);
    let expected = sorted(&python(&server, "maildir.py", &["show", theirs]).unwrap());
    assert_eq!(without_uses(&shown(&server, &bob)), expected);

    // Keywords and a dot in a name, of which Python's module knows nothing.
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    for command in [
        "CREATE v1.0/notes",
        "SUBSCRIBE v1.0/notes",
        "SELECT INBOX",
        "STORE 1:3 +FLAGS (todo $Label1)",
        "COPY 2:4 v1.0/notes",
    ] {
        let reply = imap.command(command).unwrap();
        assert!(reply.is_ok(), "{command}: {}", reply.tagged);
    }
    let ours = server.folder().join("ours");
    let ours = ours.to_str().unwrap();
    let said = server.command(&["export", &bob.address, ours]);
    assert!(said.starts_with("exported\t22 messages"), "{said}");
    let read = python(&server, "maildir.py", &["show", ours]).unwrap();
    let read = sorted(&read.replace("v1\\2e0", "v1.0"));
    assert_eq!(read, without_uses(&shown(&server, &bob)));
    server.command(&["import", &carol.address, "--maildir", ours]);
    assert_eq!(shown(&server, &carol), shown(&server, &bob));
    let said = server.command(&["export", &bob.address, ours]);
    assert!(said.starts_with("exported\t0 messages"), "{said}");
    let said = server.command(&["import", &carol.address, "--maildir", ours]);
    assert!(said.starts_with("imported\t0 messages"), "{said}");

    let Some(dovecot) = Dovecot::start("/", "") else {
        return;
    };
    for command in ["DELETE v1.0/notes", "DELETE v1.0"] {
        assert!(imap.command(command).unwrap().is_ok());
    }
    let ours = server.folder().join("for-dovecot");
    server.command(&["export", &bob.address, ours.to_str().unwrap()]);
    dovecot.take_maildir(&ours);
    let read = shown_by_dovecot(&server, &dovecot, "/", "");
    assert_eq!(
        without_uses(&read),
        without_uses(&shown(&server, &bob)),
        "{}",
        dovecot.log()
    );
}

#[test]
fn an_mbox_of_pythons_moves_in_beside_the_server_or_without_it() {
    let mut server = Server::start();
    let (bob, carol) = (server.account("bob"), server.account("carol"));
    let file = server.folder().join("mbox");
    let file = file.to_str().unwrap();
    let expected = python(&server, "mbox_make.py", &[file]).unwrap();
    let said = server.command(&["import", &bob.address, "--mbox", file, "--into", "Old/Box"]);
    assert_eq!(
        said,
        "imported\t5 messages\t1 mailboxes\t0 already there\t0 errors\n"
    );
    server.stop();
    let said = server.command(&["import", &bob.address, "--mbox", file, "--into", "Old/Box"]);
    assert_eq!(
        said,
        "imported\t0 messages\t1 mailboxes\t5 already there\t0 errors\n"
    );
    server.command(&["import", &carol.address, "--mbox", file]);
    server.run();
    assert_eq!(
        without_uses(&shown(&server, &bob)),
        format!("mailbox Old\nmailbox Old/Box\n{expected}")
    );
    assert_eq!(
        without_uses(&shown(&server, &carol)),
        format!("mailbox INBOX\n{expected}")
    );
}
