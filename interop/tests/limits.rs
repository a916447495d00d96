//! What one connection, one address and one account may do, as swaks, curl and bare sockets meet it.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, ImapClient, Options, Server, SmtpClient, mails, swaks, wait_for};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn limited(limits: &str) -> (Server, Account) {
    let server = Server::start_with(&Options {
        limits: format!("exempt_networks = []\n{limits}"),
        ..Options::default()
    });
    let alice = server.account("alice");
    (server, alice)
}

/// What swaks says of a message that it brings from one of this machine's addresses.
fn bring(server: &Server, from: &str, port: u16, more: &[&str]) -> Option<String> {
    let more = [&["--local-interface", from][..], more].concat();
    Some(swaks(server, port, &more)?.output)
}

/// A connection that has its place.
fn greeted(server: &Server, port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((server.address(), port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    stream
}

fn heard(server: &Server, port: u16) -> String {
    let mut stream = TcpStream::connect((server.address(), port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

// Guards pitfall SMTP 8: one address cannot take every connection.
#[test]
fn an_address_has_so_many_connections_of_all_services_and_others_are_served() {
    let (server, alice) = limited("connections_per_address = 4\n");
    let from_stranger = ["--from", "x@elsewhere.test", "--to", &alice.address];
    let _held: Vec<TcpStream> = [2525, 1430, 1100, 5870].map(|port| greeted(&server, port)).into();
    let too_many = "Too many connections, try again later\r\n";
    assert_eq!(heard(&server, 2525), format!("421 4.7.0 {too_many}"));
    assert_eq!(heard(&server, 1430), format!("* BYE [UNAVAILABLE] {too_many}"));
    assert_eq!(heard(&server, 1100), format!("-ERR [SYS/TEMP] {too_many}"));
    server.expect_metric("connections_refused_total", 3.0);
    assert!(
        server.log().contains("over the limit of connections"),
        "{}",
        server.log()
    );
    let Some(said) = bring(&server, "127.0.0.1", 2525, &from_stranger) else {
        return;
    };
    assert!(said.contains("421 4.7.0 Too many connections"), "{said}");
    let said = bring(&server, "127.0.0.9", 2525, &from_stranger).unwrap();
    assert!(said.contains("250 2.0.0 Ok"), "{said}");
    server.check_store();
}

#[test]
fn an_address_brings_so_many_messages_and_another_its_own() {
    let (server, alice) = limited("messages_per_hour = 2\n");
    let more = ["--from", "x@elsewhere.test", "--to", &alice.address];
    for said in ["250 2.0.0 Ok", "250 2.0.0 Ok", "450 4.7.1 Too many messages"] {
        let Some(heard) = bring(&server, "127.0.0.1", 2525, &more) else {
            return;
        };
        assert!(heard.contains(said), "{heard}");
    }
    let said = bring(&server, "127.0.0.9", 2525, &more).unwrap();
    assert!(said.contains("250 2.0.0 Ok"), "{said}");
    server.expect_metric("mail_limited_total", 1.0);
    assert!(
        server.log().contains("too many messages from there"),
        "{}",
        server.log()
    );
    server.check_store();
}

#[test]
fn an_address_that_guesses_passwords_is_heard_no_more_and_another_is() {
    let (server, alice) = limited("failed_logins_per_hour = 3\n");
    let sign_in = |from: &str, password: &str| {
        let more = ["--tls", "--auth", "PLAIN", "--quit-after", "AUTH"];
        let user = ["--auth-user", &alice.address, "--auth-password", password];
        bring(&server, from, 5870, &[&more[..], &user].concat())
    };
    for guess in ["one", "two", "three"] {
        let Some(said) = sign_in("127.0.0.1", guess) else {
            return;
        };
        assert!(said.contains("535 5.7.8 "), "{said}");
    }
    let said = sign_in("127.0.0.1", &alice.password).unwrap();
    assert!(
        said.contains("454 4.7.0 Too many failed passwords from your address"),
        "{said}"
    );
    let refused = ImapClient::login(&server, &alice).err().map(|e| e.to_string());
    assert!(
        refused.as_ref().is_some_and(|e| e.contains("UNAVAILABLE")),
        "{refused:?}"
    );
    let said = sign_in("127.0.0.9", &alice.password).unwrap();
    assert!(said.contains("235 2.7.0 "), "{said}");
    // It was found right, and is hers wherever she is.
    let said = sign_in("127.0.0.1", &alice.password).unwrap();
    assert!(said.contains("235 2.7.0 "), "{said}");
    server.expect_metric("logins_failed_total", 3.0);
    server.expect_metric("logins_refused_total", 2.0);
}

#[test]
fn errors_messages_and_recipients_of_a_connection_are_counted() {
    let (server, _) = limited("connection_errors = 4\nconnection_recipients = 6\n");
    let to = |names: &[&str]| {
        let addresses = names.iter().map(|name| format!("{name}@interop.test"));
        addresses.collect::<Vec<_>>().join(",")
    };
    let strangers = to(&["a", "b", "c", "d", "e"]);
    let from = ["--from", "x@elsewhere.test", "--to"];
    let Some(said) = bring(&server, "127.0.0.1", 2525, &[&from[..], &[&strangers]].concat()) else {
        return;
    };
    assert_eq!(said.matches("550 5.1.1").count(), 4, "{said}");
    assert!(said.contains("421 4.7.0 Too many errors, closing"), "{said}");
    let often = to(&["alice"; 7]);
    let said = bring(&server, "127.0.0.1", 2525, &[&from[..], &[&often]].concat()).unwrap();
    assert!(
        said.contains("421 4.7.0 Too many recipients on one connection"),
        "{said}"
    );
    let (few, bob) = limited("connection_messages = 1\n");
    let mut smtp = SmtpClient::open(&few).unwrap();
    let said = smtp.deliver(&[&bob], "Subject: x\r\n\r\n").unwrap();
    assert!(said.starts_with("250 2.0.0 "), "{said}");
    let said = smtp.say("MAIL FROM:<x@elsewhere.test>\r\n").unwrap();
    assert_eq!(said, "421 4.7.0 Enough messages on one connection");
}

#[test]
fn an_account_reaches_so_many_elsewhere_and_its_neighbours_always() {
    let server = Server::start_with(&Options {
        outbound_network: Some("127.0.0.0/8".into()),
        outbound: "recipients_per_hour = 2\n".into(),
        ..Options::default()
    });
    let (alice, bob) = (server.account("alice"), server.account("bob"));
    let credentials = [
        "--tls",
        "--auth",
        "PLAIN",
        "--auth-user",
        &alice.address,
        "--auth-password",
        &alice.password,
    ];
    let send = |to: &str| {
        let more = ["--from", &alice.address, "--to", to];
        bring(&server, "127.0.0.1", 5870, &[&credentials[..], &more].concat())
    };
    let Some(said) = send("a@out.test,b@out.test,c@out.test") else {
        return;
    };
    assert_eq!(
        said.matches("450 4.7.1 Too many recipients elsewhere").count(),
        1,
        "{said}"
    );
    assert!(said.contains("250 2.0.0 Ok"), "the two others have it: {said}");
    let said = send(&bob.address).unwrap();
    assert!(said.contains("250 2.0.0 Ok"), "{said}");
    server.expect_metric("mail_outbound_limited_total", 1.0);
    assert!(
        server
            .log()
            .contains("too many recipients elsewhere within an hour"),
        "{}",
        server.log()
    );
    server.check_store();
}

/// The files that a process may open, set; those that were before.
fn may_open(pid: i32, files: u64) -> u64 {
    let wanted = |cur| libc::rlimit {
        rlim_cur: cur,
        rlim_max: 0,
    };
    let mut before = wanted(0);
    // SAFETY: both are whole structures that outlive the calls.
    unsafe {
        let got = libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &mut before);
        assert_eq!(got, 0);
        let now = libc::rlimit {
            rlim_cur: files,
            ..before
        };
        assert_eq!(
            libc::prlimit(pid, libc::RLIMIT_NOFILE, &now, std::ptr::null_mut()),
            0
        );
    }
    before.rlim_cur
}

/// Hundredths of a second that a process has spent on a processor.
fn spent(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

// Guards pitfall SMTP 8: without files left nothing spins, and once there are some it goes on.
#[test]
fn a_server_that_may_open_no_file_waits_for_one() {
    let server = Server::start();
    let alice = server.account("alice");
    let files = may_open(server.pid(), 3);
    let mut waiting = TcpStream::connect((server.address(), 2525)).unwrap();
    let told = "cannot accept connections; waiting";
    assert!(wait_for(LIMIT, || server.log().contains(told)));
    let before = spent(server.pid());
    std::thread::sleep(Duration::from_secs(3));
    let spent = spent(server.pid()) - before;
    assert!(spent < 60, "{spent} hundredths of a second in three seconds");
    assert_eq!(server.log().matches(told).count(), 1, "once is enough");
    may_open(server.pid(), files);
    waiting.set_read_timeout(Some(LIMIT)).unwrap();
    let mut greeting = [0; 4];
    waiting.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ");
    let mut smtp = SmtpClient::open(&server).unwrap();
    assert!(
        smtp.deliver(&[&alice], "Subject: x\r\n\r\n")
            .unwrap()
            .starts_with("250 ")
    );
    server.check_store();
}

// Guards pitfall IMAP 12: a full account takes no more mail whatever leads to it, and delays nobody else's.
#[test]
fn a_list_reaches_all_but_who_is_full() {
    let server = Server::start();
    let (alice, carol) = (server.account("alice"), server.account("carol"));
    let team = format!("team@{}", server.domain());
    server.command(&["alias", "add", &team, &alice.address, &carol.address]);
    server.command(&["account", "set", &carol.address, "--quota-messages", "1"]);
    let send = |to: &str| {
        bring(
            &server,
            "127.0.0.1",
            2525,
            &["--from", "x@elsewhere.test", "--to", to],
        )
    };
    for n in 1..4 {
        let Some(said) = send(&team) else { return };
        assert!(said.contains("250 2.0.0 Ok"), "{said}");
        assert!(wait_for(LIMIT, || mails(&server, &alice, "INBOX").len() == n));
    }
    // The first, and the notice that there is no more room.
    assert_eq!(mails(&server, &carol, "INBOX").len(), 2);
    assert!(
        server
            .log()
            .contains("a message waits for room in a full account")
    );
    let said = send(&carol.address).unwrap();
    assert!(said.contains("452 4.2.2 Mailbox full"), "{said}");
    // What waits is seen, can be removed, and comes as soon as there is room.
    let listed = server.command(&["queue", "list"]);
    let waiting: Vec<&str> = listed.lines().filter(|line| line.contains("\there\t")).collect();
    assert_eq!(waiting.len(), 2, "{listed}");
    let id = |line: &str| line.split('\t').next().unwrap().to_owned();
    let (first, second) = (id(waiting[0]), id(waiting[1]));
    let shown = server.command(&["queue", "show", &first]);
    assert!(
        shown.contains(&format!("recipient\t{team}\t4.2.2 the mailbox is full")),
        "{shown}"
    );
    let tried = server.try_command(&["queue", "retry", &first]).unwrap_err();
    assert!(tried.contains("there is no room for it"), "{tried}");
    let held = server.try_command(&["queue", "hold", &first]).unwrap_err();
    assert!(held.contains("waits for room here"), "{held}");
    server.command(&["queue", "remove", &second]);
    server.command(&["account", "set", &carol.address, "--quota-messages", "10"]);
    assert_eq!(mails(&server, &carol, "INBOX").len(), 3);
    assert_eq!(server.command(&["queue", "list"]), "");
    server.check_store();
}
