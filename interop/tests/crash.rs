//! Killed at any moment under load, and given a configuration that cannot work.

use ringpost_interop::{Account, Options, Server, client, run, wait_for};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Rounds of `kill -9` in an ordinary run, and in a soak.
const ROUNDS: usize = 3;
const SOAK_ROUNDS: usize = 50;

/// Delivers messages over SMTP until the server is gone, and gives the subjects that were answered 250.
fn deliver_until_killed(server: &Server, account: &Account, round: usize, sender: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    let Ok(stream) = TcpStream::connect((server.address(), 2525)) else {
        return accepted;
    };
    let mut lines = BufReader::new(stream.try_clone().expect("a socket can be shared")).lines();
    let mut stream = stream;
    let mut say = |text: &str| -> Option<String> {
        stream.write_all(text.as_bytes()).ok()?;
        loop {
            let line = lines.next()?.ok()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(line);
            }
        }
    };
    let exchange = |say: &mut dyn FnMut(&str) -> Option<String>, n: usize| -> Option<String> {
        let subject = format!("round-{round}-sender-{sender}-message-{n}");
        say("MAIL FROM:<x@elsewhere.test>\r\n")?;
        say(&format!("RCPT TO:<{}>\r\n", account.address))?;
        say("DATA\r\n")?;
        // Bodies of every kind: inside the batch, and in a file beside it.
        let text = "a line of text that is repeated\r\n".repeat(if usize::is_multiple_of(n, 5) {
            4_000
        } else {
            20
        });
        let answer = say(&format!(
            "From: x@elsewhere.test\r\nSubject: {subject}\r\n\r\n{text}.\r\n"
        ))?;
        answer.starts_with("250").then_some(subject)
    };
    say("");
    if say("EHLO client.test\r\n").is_none() {
        return accepted;
    }
    for n in 0.. {
        match exchange(&mut say, n) {
            Some(subject) => accepted.push(subject),
            None => break,
        }
    }
    accepted
}

/// The subjects in INBOX, by imaplib.
fn subjects(server: &Server, account: &Account) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/flags.py");
    let mut command = Command::new(client("python3").expect("Python comes with every Debian"));
    command.arg(script).args([
        &server.address().to_string(),
        "9930",
        &account.address,
        &account.password,
    ]);
    let finished = run(
        server.folder(),
        "subjects",
        &mut command,
        Duration::from_secs(120),
    );
    assert!(finished.succeeded(), "{}", finished.output);
    finished
        .output
        .lines()
        .filter_map(|line| line.split(':').next())
        .map(str::to_string)
        .collect()
}

#[test]
fn what_was_answered_250_is_there_exactly_once_after_kill_9() {
    let soak = std::env::var_os("RINGPOST_SOAK").is_some();
    let mut server = Server::start();
    let bob = server.account("bob");
    let mut accepted = Vec::new();
    for round in 0..if soak { SOAK_ROUNDS } else { ROUNDS } {
        let found: Vec<Vec<String>> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..4)
                .map(|n| {
                    scope.spawn({
                        let (server, bob) = (&server, &bob);
                        move || deliver_until_killed(server, bob, round, n)
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300 + 137 * (round as u64 % 5)));
            server.signal(libc::SIGKILL);
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        accepted.extend(found.into_iter().flatten());
        server.kill();
        server.run();
        server.check_store();
    }
    assert!(
        accepted.len() > 20,
        "only {} messages were accepted",
        accepted.len()
    );
    let mut there = subjects(&server, &bob);
    let total = there.len();
    there.sort_unstable();
    there.dedup();
    assert_eq!(there.len(), total, "nothing is there twice");
    for subject in &accepted {
        assert!(
            there.binary_search(subject).is_ok(),
            "{subject} was answered 250 and is lost"
        );
    }
}

#[test]
fn a_configuration_that_went_bad_is_told_at_a_hangup_and_the_old_one_stays() {
    let server = Server::start();
    let text = std::fs::read_to_string(server.config()).unwrap();
    std::fs::write(server.config(), format!("nonsense = 1\n{text}")).unwrap();
    server.signal(libc::SIGHUP);
    let told = wait_for(Duration::from_secs(10), || {
        server.log().contains("unknown field `nonsense`")
    });
    assert!(told, "{}", server.log());
    std::fs::write(server.config(), text).unwrap();
    server.command(&["account", "list"]);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_in_one_line() {
    let server = Server::start_with(&Options::default());
    let folder = server.folder().to_path_buf();
    let binary = Server::binary();
    let other = folder.join("other.toml");
    let off = [
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
        "metrics",
    ];
    let listen: String = off.iter().map(|key| format!("{key} = \"off\"\n")).collect();
    std::fs::write(
        &other,
        format!(
            "data = {:?}\nuser = \"root\"\n[listen]\n{listen}",
            server.data().display().to_string()
        ),
    )
    .unwrap();
    let mut command = Command::new(binary);
    let finished = run(
        &folder,
        "second",
        command.args(["serve", "--config"]).arg(&other),
        Duration::from_secs(10),
    );
    assert!(!finished.succeeded());
    assert!(
        finished.output.contains("data: ") && finished.output.contains("held by another process"),
        "{}",
        finished.output
    );
}
