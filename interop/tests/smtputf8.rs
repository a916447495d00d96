//! Somebody whose name and domain are beyond ASCII, as Python's smtplib and imaplib write to him and for him.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, Dns, Options, Record, Server, client, own_address, run, spawn, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// How many messages are in an account's folder for it, and their sources.
fn exported(server: &Server, account: &Account) -> String {
    let script = "import base64, imaplib, ssl, sys\n\
        context = ssl._create_unverified_context()\n\
        imap = imaplib.IMAP4_SSL(sys.argv[1], 9930, ssl_context=context, timeout=10)\n\
        secret = f'\\0{sys.argv[2]}\\0{sys.argv[3]}'.encode()\n\
        imap.authenticate('PLAIN', lambda _: secret)\n\
        _, numbers = imap.select('INBOX', readonly=True)\n\
        for n in range(1, int(numbers[0]) + 1):\n    \
        print(imap.fetch(str(n), 'BODY.PEEK[]')[1][0][1].decode())\n";
    let mut command = Command::new(client("python3").expect("Python comes with every Debian"));
    command.args([
        "-c",
        script,
        &server.address().to_string(),
        &account.address,
        &account.password,
    ]);
    let finished = run(server.folder(), "fetch", &mut command, LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    finished.output
}

#[test]
fn jörg_at_bücher_is_one_person_in_every_spelling_and_hears_of_servers_that_do_not_know_such_names() {
    let folder = tempfile::tempdir().unwrap();
    let Some(sink) = client("smtp-sink") else { return };
    let address = own_address();
    let _sink = spawn(
        folder.path(),
        "smtp-sink",
        Command::new(sink).args(["-u", "root", &format!("{address}:25"), "100"]),
    );
    assert!(wait_for(LIMIT, || std::net::TcpStream::connect((address, 25)).is_ok()));
    let dns = Dns::start(vec![
        Record::Mx("out.test", 10, "mx.out.test"),
        Record::A("mx.out.test", address),
    ]);
    let server = Server::start_with(&Options {
        domains: vec!["bücher.test".into()],
        dns: Some(dns.address()),
        outbound_network: Some("127.0.0.0/8".into()),
        ..Options::default()
    });
    assert_eq!(server.command(&["domain", "list"]), "xn--bcher-kva.test\n");
    let jörg = server.account("Jörg");
    server.command(&["alias", "add", "joerg@xn--bcher-kva.test", "jörg@BÜCHER.test"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/smtputf8.py");
    let mut command = Command::new(client("python3").expect("Python comes with every Debian"));
    command
        .arg(script)
        .args([&server.address().to_string(), "jörg@bücher.test", &jörg.password]);
    let spellings = [
        "jörg@bücher.test",
        "JO\u{308}RG@BÜCHER.test",
        "Jörg@xn--bcher-kva.test",
        "joerg@bücher.test",
        "joerg@xn--bcher-kva.test",
    ];
    let finished = run(server.folder(), "smtputf8", command.args(spellings), LIMIT);
    assert!(finished.succeeded(), "{}", finished.output);
    let bounced = || exported(&server, &jörg).contains("Status: 5.6.7");
    assert!(wait_for(LIMIT, bounced), "{}", exported(&server, &jörg));
    assert!(exported(&server, &jörg).contains("for <jörg@xn--bcher-kva.test>"));
    server.check_store();
}
