//! Clients that mean no good: others are served meanwhile, and nothing is left of them.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, DOMAIN, ImapClient, Options, Server, SipSocket, SmtpClient, client, run, sip_request, wait_for,
};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A server to which this machine's addresses are strangers'; `limits` are further lines of that section.
fn server(limits: &str) -> Server {
    Server::start_with(&Options {
        limits: format!("exempt_networks = []\n{limits}"),
        ..Options::default()
    })
}

/// Open files of the server.
fn files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .unwrap()
        .count()
}

/// The same once what was closed just now is closed there too.
fn files_at_rest(server: &Server) -> usize {
    let least = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        files(server)
    });
    least.min().unwrap()
}

/// Its resident memory.
fn resident_mib(server: &Server) -> u64 {
    memory_mib(server, "VmRSS:")
}

/// The most that it has had resident.
fn peak_mib(server: &Server) -> u64 {
    memory_mib(server, "VmHWM:")
}

fn memory_mib(server: &Server, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// Lets this process and those that it starts have so many files open, as far as it may; says how many that are.
fn allow_files(wanted: u64) -> usize {
    let mut files = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a pointer to a whole structure that outlives them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut files), 0);
        let may = files.rlim_max;
        (files.rlim_cur, files.rlim_max) = (wanted, may.max(wanted));
        if libc::setrlimit(libc::RLIMIT_NOFILE, &files) != 0 {
            // Only root raises what it may.
            (files.rlim_cur, files.rlim_max) = (may, may);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &files), 0);
        }
    }
    files.rlim_cur as usize
}

/// A connection from an address of 127.0.0.0/8.
fn connect_from(source: Ipv4Addr, server: &Server, port: u16) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&SocketAddr::from((server.address(), port)).into())?;
    Ok(socket.into())
}

/// Whether the server has ended a connection that is not to block; what it has said is passed over.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut said = [0; 1_024];
    loop {
        match stream.read(&mut said) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Half of what a client says first under TLS.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3, 4];

/// Every port that takes streams, with the beginning of something.
const BEGINNINGS: [(u16, &[u8]); 9] = [
    (5060, b"OPTIONS sip:interop.test SIP/2.0\r\nVia: SIP/2.0/T"),
    (5061, HALF_A_HELLO),
    (2525, b"EHLO cli"),
    (5870, b"EHLO client.test\r\nSTART"),
    (4650, HALF_A_HELLO),
    (1430, b"a LOGIN \"al"),
    (9930, HALF_A_HELLO),
    (1100, b"USER al"),
    (9950, HALF_A_HELLO),
];

/// Somebody else's mail comes in and is read over each protocol, and a phone is answered, over UDP and over TCP.
fn assert_others_are_served(server: &Server, account: &Account, when: &str) {
    let subject = when.replace(' ', "-");
    let message = format!("From: x@elsewhere.test\r\nSubject: {subject}\r\n\r\nhello\r\n");
    let mut smtp = SmtpClient::open(server).unwrap();
    let reply = smtp.deliver(&[account], &message).unwrap();
    assert!(reply.starts_with("250 "), "{when}: {reply}");
    let mut imap = ImapClient::login(server, account).unwrap();
    assert!(imap.command("SELECT INBOX").unwrap().is_ok(), "{when}");
    let found = imap.command(&format!("SEARCH SUBJECT {subject}")).unwrap().text();
    assert!(found.contains("* SEARCH "), "{when}: {found}");
    let mut pop3 = TcpStream::connect((server.address(), 1100)).unwrap();
    pop3.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    pop3.write_all(b"CAPA\r\nQUIT\r\n").unwrap();
    let mut said = String::new();
    pop3.read_to_string(&mut said).unwrap();
    assert!(said.contains("\r\nSTLS\r\n"), "{when}: {said}");
    let options = |call: &str| {
        let address = format!("sip:{DOMAIN}");
        sip_request("OPTIONS", &address, &format!("sip:x@{DOMAIN}"), call, "")
    };
    let answer = SipSocket::open(server).ask(&options(&subject));
    assert!(answer.starts_with("SIP/2.0 200 "), "{when}: {answer}");
    let mut phone = TcpStream::connect((server.address(), 5060)).unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let over_tcp = options(&format!("{subject}-tcp")).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    phone.write_all(over_tcp.as_bytes()).unwrap();
    let mut said = [0; 11];
    phone.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"SIP/2.0 200", "{when}");
}

/// Nothing is left of whoever was there, and nothing went wrong.
fn assert_forgotten(server: &Server, files_before: usize) {
    let closed = wait_for(Duration::from_secs(60), || files(server) <= files_before + 2);
    assert!(closed, "{} files are open, {files_before} were", files(server));
    let log = server.log();
    assert!(!log.contains("panick"), "{log}");
    server.check_store();
}

/// How many connections do nothing but be there, and what the server may have resident beside them: in an ordinary run, and
/// in a soak.
const HALF_OPEN: usize = 1_000;
const SOAK_HALF_OPEN: usize = 10_000;
const HALF_OPEN_MIB: u64 = 100;
const SOAK_HALF_OPEN_MIB: u64 = 200;

// Guards pitfalls SIP 5 and SMTP 8.
#[test]
fn half_open_connections_by_the_thousand_cost_little_and_leave_room_for_others() {
    let (wanted, most_mib) = match std::env::var_os("RINGPOST_SOAK") {
        Some(_) => (SOAK_HALF_OPEN, SOAK_HALF_OPEN_MIB),
        None => (HALF_OPEN, HALF_OPEN_MIB),
    };
    let count = wanted.min(allow_files(65_536) / 2);
    // What few calls do not need is left to connections.
    let server = server("calls = 500\n");
    let alice = server.account("alice");
    assert_others_are_served(&server, &alice, "at first");
    let before = files_at_rest(&server);
    let open = |n: usize| {
        let source = Ipv4Addr::new(127, 78, (n / 100 / 250) as u8, (n / 100 % 250 + 1) as u8);
        let (port, beginning) = BEGINNINGS[n % BEGINNINGS.len()];
        let mut stream = connect_from(source, &server, port).unwrap();
        // Every other one says nothing at all.
        if (n / BEGINNINGS.len()).is_multiple_of(2) {
            stream.write_all(beginning).unwrap();
        }
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut crowd: Vec<TcpStream> = (0..count).map(open).collect();
    // Those of SIP and of TLS have ends of their own, which come while others are opened where the machine is slow: they come
    // again, until all are there at once.
    let all = wait_for(Duration::from_secs(120), || {
        let there = files(&server) >= before + count;
        for (n, stream) in crowd.iter_mut().enumerate().filter(|_| !there) {
            if is_closed(stream) {
                *stream = open(n);
            }
        }
        there
    });
    assert!(
        all,
        "{} files are open beside {count} connections",
        files(&server)
    );
    println!("{count} are open, {} MiB", resident_mib(&server));
    assert_others_are_served(&server, &alice, "beside half open connections");
    assert!(
        peak_mib(&server) < most_mib,
        "{} MiB were resident",
        peak_mib(&server)
    );
    // None of them was too many.
    assert_eq!(server.metric("connections_refused_total"), 0.0);
    drop(crowd);
    assert_forgotten(&server, before);
}

// Guards pitfalls SIP 5 and SMTP 8: who drips costs a place and nothing else.
#[test]
fn others_are_served_beside_slow_loris() {
    let server = server("");
    let alice = server.account("alice");
    assert_others_are_served(&server, &alice, "at first");
    let (before, memory) = (files(&server), resident_mib(&server));
    let endless: [(u16, &[u8], &[u8]); 6] = [
        (5060, b"OPTIONS sip:interop.test SIP/2.0\r\n", b"X: y\r\n"),
        (2525, b"", b"EHLO client.test"),
        (
            2525,
            b"EHLO client.test\r\nMAIL FROM:<x@elsewhere.test>\r\n",
            b"RCPT TO:<",
        ),
        (1430, b"a LOGIN ", b"alice"),
        (1100, b"", b"USER alice"),
        (9930, b"", HALF_A_HELLO),
    ];
    let mut dripping: Vec<(TcpStream, std::iter::Cycle<std::slice::Iter<'_, u8>>)> = Vec::new();
    for n in 0..120 {
        let (port, beginning, drips) = endless[n % endless.len()];
        let mut stream = connect_from(Ipv4Addr::new(127, 79, 0, 1), &server, port).unwrap();
        stream.write_all(beginning).unwrap();
        dripping.push((stream, drips.iter().cycle()));
    }
    for round in 0..30 {
        for (stream, drips) in &mut dripping {
            // Some have been cut off.
            let _cut_off = stream.write_all(&[*drips.next().unwrap()]);
        }
        if round % 10 == 5 {
            assert_others_are_served(&server, &alice, &format!("in round {round}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let grown = peak_mib(&server).saturating_sub(memory);
    assert!(grown < 50, "{grown} MiB more than before");
    drop(dripping);
    assert_forgotten(&server, before);
}

/// Connections that one address may have, as configured by default.
const PER_ADDRESS: usize = 200;

// Guards pitfalls SIP 5, SMTP 8 and IMAP 6: as many as one address may have, each with more than anybody may say.
#[test]
fn two_hundred_that_say_too_much_at_once_cost_little() {
    let server = server("");
    let alice = server.account("alice");
    assert_others_are_served(&server, &alice, "at first");
    let before = files(&server);
    let gigantic: [(u16, &[u8]); 9] = [
        (2525, b"EHLO "),
        (2525, b"MAIL FROM:<"),
        (5870, b"AUTH PLAIN "),
        (1430, b"a LOGIN \""),
        (1430, b"a LOGIN {4000000000}\r\n"),
        (1430, b"a LOGIN {4000000000+}\r\n"),
        (1100, b"USER "),
        (5060, b"OPTIONS sip:x SIP/2.0\r\nX: "),
        (
            5060,
            b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 2000000000\r\n\r\n",
        ),
    ];
    let mut talkers: Vec<Option<TcpStream>> = (0..PER_ADDRESS)
        .map(|n| {
            let (port, beginning) = gigantic[n % gigantic.len()];
            let mut stream = connect_from(Ipv4Addr::new(127, 80, 0, 1), &server, port).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            stream.write_all(beginning).unwrap();
            Some(stream)
        })
        .collect();
    let piece = vec![b'x'; 65_536];
    for round in 0..20 {
        for talker in &mut talkers {
            // Cut off, or not listened to any more.
            if talker
                .as_mut()
                .is_some_and(|stream| stream.write_all(&piece).is_err())
            {
                *talker = None;
            }
        }
        if round % 8 == 3 {
            assert_others_are_served(&server, &alice, &format!("in round {round}"));
        }
    }
    assert!(peak_mib(&server) < 100, "{} MiB were resident", peak_mib(&server));
    drop(talkers);
    assert_forgotten(&server, before);
}

// Guards pitfalls SIP 5, SIP 13, SMTP 8 and IMAP 6.
#[test]
fn others_are_served_beside_hostile_clients_and_nothing_is_left_of_those() {
    let server = server("");
    let (alice, bob) = (server.account("alice"), server.account("bob"));
    let (before, memory) = (files(&server), resident_mib(&server));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/hostile.py");
    let mut command = Command::new(client("python3").expect("Python comes with every Debian"));
    command.arg(script).args([
        &server.address().to_string(),
        DOMAIN,
        &alice.address,
        &alice.password,
        &bob.address,
        &bob.password,
    ]);
    let finished = run(server.folder(), "hostile", &mut command, Duration::from_secs(120));
    assert!(finished.succeeded(), "{}", finished.output);
    let closed = wait_for(Duration::from_secs(60), || files(&server) <= before + 2);
    assert!(closed, "{} files are open, {before} were", files(&server));
    let grown = resident_mib(&server).saturating_sub(memory);
    assert!(grown < 100, "{grown} MiB more than before");
    let log = server.log();
    assert!(!log.contains("panick"), "{log}");
    assert!(log.len() < 1_000_000, "{} bytes of log", log.len());
    server.check_store();
}
