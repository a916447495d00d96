//! A data folder that the project's first usable version wrote, "first light", is served by today's: mail, flags, UIDs and
//! log-ins are as they were left. `fixtures/first-light.tar.gz` holds the folder, who has what password, and what that version
//! itself showed of it (`scripts/first_light.py`); its voicemail was left by a call, and the rest came by SMTP and IMAP.
//! `fixtures/version-1.tar.gz` is the same of the last version whose messages had each a state of its own, with more of them.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, Device, ImapClient, Options, Server, SmtpClient, client, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const DOMAIN: &str = "ringpost.test";

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The versions that have left a data folder.
const LEFT: [&str; 2] = ["first-light", "version-1"];

/// A server over what a version left, and the people in it.
fn server(left: &str) -> (Server, Vec<(Account, Device)>) {
    let mut server = Server::prepared(&Options {
        domains: vec![DOMAIN.into()],
        ..Options::default()
    });
    let mut unpack = Command::new("tar");
    unpack
        .arg("-xzf")
        .arg(folder().join(format!("tests/fixtures/{left}.tar.gz")))
        .arg("-C")
        .arg(server.folder());
    let unpacked = run(server.folder(), "tar", &mut unpack, LIMIT);
    assert!(unpacked.succeeded(), "{}", unpacked.output);
    let people = std::fs::read_to_string(server.folder().join("people")).unwrap();
    let people = people.lines().map(|line| {
        let [name, extension, password, username, secret] = line
            .split(' ')
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let account = Account {
            address: format!("{name}@{DOMAIN}"),
            name: name.clone(),
            password,
            extension,
        };
        let device = Device {
            account: name,
            username,
            secret,
        };
        (account, device)
    });
    let people = people.collect();
    server.run();
    (server, people)
}

/// What the server shows of an account, POP3's view held against IMAP's.
fn shown(server: &Server, account: &Account) -> String {
    let mut command = Command::new(client("python3").expect("Python comes with every Debian"));
    command.arg(folder().join("tests/scripts/first_light.py"));
    command.args(["show", &server.address().to_string(), "1430", "1100", "2525"]);
    command.args([&account.address, &account.password]);
    let finished = run(server.folder(), "show", &mut command, LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    finished.output
}

fn left(server: &Server, account: &Account) -> String {
    std::fs::read_to_string(server.folder().join(format!("{}.txt", account.name))).unwrap()
}

#[test]
fn what_earlier_versions_have_left_is_there_as_it_was() {
    LEFT.into_iter().for_each(is_there_as_it_was);
}

fn is_there_as_it_was(version: &str) {
    let (mut server, people) = server(version);
    server.check_store();
    for (account, _) in &people {
        assert_eq!(
            shown(&server, account),
            left(&server, account),
            "{}",
            account.name
        );
    }
    server.stop();
    server.run();
    for (account, _) in &people {
        assert_eq!(
            shown(&server, account),
            left(&server, account),
            "{}, after a start",
            account.name
        );
    }
}

#[test]
fn mail_for_who_was_there_goes_on_where_it_ended() {
    LEFT.into_iter().for_each(goes_on_where_it_ended);
}

fn goes_on_where_it_ended(version: &str) {
    let (server, people) = server(version);
    for (account, _) in &people {
        let mut imap = ImapClient::login(&server, account).unwrap();
        let next = |imap: &mut ImapClient| -> u32 {
            let told = imap.command("STATUS INBOX (UIDNEXT)").unwrap().text();
            told.split("UIDNEXT ")
                .nth(1)
                .unwrap()
                .split(')')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        let before = next(&mut imap);
        let text = "From: x@elsewhere.test\r\nSubject: after first light\r\n\r\nnew\r\n";
        let reply = SmtpClient::open(&server)
            .unwrap()
            .deliver(&[account], text)
            .unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
        assert_eq!(next(&mut imap), before + 1);
        for command in [
            "SELECT INBOX",
            "STORE 1:* +FLAGS (\\Seen new)",
            "COPY 1:* Archive",
            "STORE 1 +FLAGS (\\Deleted)",
            "EXPUNGE",
            "SORT (SUBJECT) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL",
            "SEARCH TEXT new",
        ] {
            let reply = imap.command(command).unwrap();
            assert!(reply.is_ok(), "{command}: {}", reply.tagged);
        }
    }
    server.check_store();
}

#[test]
fn phones_and_programs_log_in_with_what_first_light_gave_them() {
    let (server, people) = server(LEFT[0]);
    let address = server.address().to_string();
    for (account, device) in &people {
        let Some(sipsak) = client("sipsak") else { return };
        let mut register = Command::new(sipsak);
        register.args([
            "-U",
            "-x",
            "60",
            "-H",
            &address,
            "-u",
            &device.username,
            "-a",
            &device.secret,
        ]);
        register.args(["-s", &format!("sip:{}@{address}", device.account)]);
        register.args(["-C", &format!("sip:{}@{address}:6500", device.account)]);
        let registered = run(server.folder(), "sipsak", &mut register, LIMIT);
        assert!(registered.succeeded(), "{}", registered.output);

        // The keys of SCRAM are not those of the password; both were made then.
        let Some(msmtp) = client("msmtp") else { return };
        for mechanism in ["plain", "scram-sha-256"] {
            let mut submit = Command::new("sh");
            let script = "printf 'Subject: by %s\\n\\nmail\\n' \"$1\" | \"$0\" --host=\"$2\" --port=5870 --tls=on --tls-certcheck=off \
                          --auth=\"$1\" --user=\"$3\" --passwordeval=\"printf %s $4\" --from=\"$3\" \"$3\"";
            submit
                .args(["-c", script])
                .arg(&msmtp)
                .args([mechanism, &address]);
            submit.args([&account.address, &account.password]);
            let submitted = run(server.folder(), "msmtp", &mut submit, LIMIT);
            assert!(submitted.succeeded(), "{mechanism}: {}", submitted.output);
        }
    }
}
