use super::*;
use crate::peers::PeerLimits;
use crate::testing::{BEGIN, Client, Ground, Lab, at_once};
use ringpost_base::limits;
use ringpost_store::check_store;

/// A server with alice, her mailbox, and whoever connects.
struct House {
    lab: Lab,
    ground: Ground,
    pop3: Pop3,
    password: String,
}

impl House {
    fn new() -> Self {
        let (lab, ground) = (Lab::new(), Ground::new());
        let pop3 = Pop3 {
            world: lab.world.clone(),
            directory: ground.directory.clone(),
            mail: ground.mail.clone(),
            config: Arc::new(Config::default()),
            counters: Arc::default(),
            peers: Arc::default(),
            stop: ground.stop.clone(),
        };
        let password = ground.password("alice").to_owned();
        House {
            lab,
            ground,
            pop3,
            password,
        }
    }

    fn connect(&mut self) -> Client {
        let (connection, client) = self.lab.connect(true);
        let pop3 = self.pop3.clone();
        self.lab.spawn(async move { pop3.serve(connection, true).await });
        assert!(self.lab.hear(&client).starts_with("+OK "));
        client
    }

    fn login(&self) -> String {
        format!("USER alice@example.org\r\nPASS {}\r\n", self.password)
    }

    fn log_in(&mut self) -> Client {
        let client = self.connect();
        let login = self.login();
        let heard = self.lab.say(&client, login);
        assert!(heard.contains(" messages ("), "{heard}");
        client
    }

    fn deliver(&self, text: impl Into<Bytes>) {
        self.ground.deliver(text);
    }

    fn stat(&mut self) -> String {
        let client = self.log_in();
        let heard = self.lab.say(&client, "STAT\r\nQUIT\r\n");
        heard.lines().next().unwrap().to_owned()
    }

    /// New and old voicemails.
    fn lamp(&self) -> (u32, u32) {
        let lamp = at_once(self.ground.mail.lamp(self.ground.account("alice"))).unwrap();
        (lamp.new, lamp.old)
    }
}

const ONE: &str = "Subject: one\r\n\r\n1\r\n";
const TWO: &str = "Subject: two\r\n\r\n.2\r\n22\r\n";
const VOICE: &str = "Message-Context: voice-message\r\n\r\nlisten\r\n";

#[test]
fn mail_is_fetched_and_removed() {
    let mut house = House::new();
    house.deliver(ONE);
    house.deliver(TWO);
    let client = house.log_in();
    assert_eq!(house.lab.say(&client, "STAT\r\n"), "+OK 2 43\r\n");
    assert_eq!(
        house.lab.say(&client, "RETR 2\r\n"),
        "+OK 24 octets\r\nSubject: two\r\n\r\n..2\r\n22\r\n.\r\n"
    );
    assert_eq!(
        house.lab.say(&client, "TOP 2 1\r\n"),
        "+OK\r\nSubject: two\r\n\r\n..2\r\n.\r\n"
    );
    assert_eq!(
        house.lab.say(&client, "DELE 2\r\nQUIT\r\n"),
        "+OK It goes with QUIT\r\n+OK Until next time\r\n"
    );
    assert!(client.is_closed() && house.lab.running() == 0);
    assert_eq!(house.stat(), "+OK 1 19");
    assert_eq!(
        (house.pop3.counters.sessions(), house.pop3.counters.messages()),
        (2, 1)
    );
    house.ground.check();
}

#[test]
fn a_dropped_connection_removes_nothing() {
    // Guards pitfall POP3 2: a dropped connection deletes nothing.
    let mut house = House::new();
    house.deliver(ONE);
    let mut client = house.log_in();
    house.lab.say(&client, "DELE 1\r\n");
    client.close();
    house.lab.settle();
    assert_eq!(house.lab.running(), 0);
    assert_eq!(house.stat(), "+OK 1 19");
    // Nor does a silence that is too long, nor a server that stops.
    let client = house.log_in();
    house.lab.say(&client, "DELE 1\r\n");
    house.lab.pass(Duration::from_secs(601));
    assert_eq!(house.lab.hear(&client), "");
    assert!(client.is_closed());
    let client = house.log_in();
    house.lab.say(&client, "DELE 1\r\n");
    house.ground.stop();
    assert_eq!(house.lab.hear(&client), "-ERR [SYS/TEMP] The server stops\r\n");
    let report = at_once(check_store(&*house.ground.store, &*house.ground.blobs)).unwrap();
    assert_eq!(report.messages, 1);
}

#[test]
fn a_second_session_is_told_that_the_maildrop_is_in_use() {
    // Guards pitfall POP3 1: [IN-USE].
    let mut house = House::new();
    house.deliver(ONE);
    let mut first = house.log_in();
    let second = house.connect();
    let login = house.login();
    house.lab.say(&second, &login);
    house.lab.pass(Duration::from_secs(1));
    assert_eq!(
        house.lab.hear(&second),
        "+OK Now the password\r\n-ERR [IN-USE] Another session has the maildrop\r\n"
    );
    // A connection that breaks while it is asked for frees it.
    house.lab.say(&second, &login);
    first.close();
    house.lab.pass(Duration::from_millis(250));
    assert!(house.lab.hear(&second).contains("+OK 1 messages"));
}

#[test]
fn a_maildrop_stays_ones_own_for_as_long_as_the_session_lasts() {
    let mut house = House::new();
    house.deliver(ONE);
    let client = house.log_in();
    // The lease is prolonged while nothing is said.
    house.lab.pass(Duration::from_secs(500));
    assert_eq!(
        house.lab.say(&client, "DELE 1\r\nQUIT\r\n"),
        "+OK It goes with QUIT\r\n+OK Until next time\r\n"
    );
    assert_eq!(house.stat(), "+OK 0 0");
}

#[test]
fn a_server_that_was_killed_leaves_no_lock() {
    // Guards pitfall POP3 1: no maildrop is locked for ever.
    let mut house = House::new();
    house.deliver(ONE);
    let _lost = house.log_in();
    // Another process over the same store, while the first one's session never ended.
    house.pop3.mail = house.ground.mail_of_another_process();
    assert_eq!(house.stat(), "+OK 1 19");
}

#[test]
fn a_voicemail_that_was_fetched_puts_out_the_lamp() {
    let mut house = House::new();
    house.deliver(VOICE);
    house.deliver(VOICE);
    house.deliver(VOICE);
    assert_eq!(house.lamp(), (3, 0));
    let mut client = house.log_in();
    house.lab.say(&client, "TOP 1 10\r\n");
    house.lab.pass(Duration::from_secs(3));
    assert_eq!(house.lamp(), (3, 0));
    // While the session goes on, as soon as the client pauses.
    house.lab.say(&client, "RETR 1\r\n");
    house.lab.pass(Duration::from_secs(3));
    assert_eq!(house.lamp(), (2, 1));
    // When the connection is lost.
    house.lab.say(&client, "RETR 2\r\n");
    client.close();
    house.lab.settle();
    assert_eq!(house.lamp(), (1, 2));
    // And with QUIT, what is removed not counted any more.
    let client = house.log_in();
    house.lab.say(&client, "RETR 3\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n");
    assert_eq!(house.lamp(), (0, 2));
}

#[test]
fn a_big_message_passes_through_as_fast_as_the_client_reads() {
    let mut house = House::new();
    let text = format!("Subject: big\r\n\r\n{}", "0123456789abcde\r\n".repeat(200_000));
    house.deliver(text.clone());
    let client = house.log_in();
    client.send("RETR 1\r\n");
    house.lab.settle();
    // Two pieces fill the connection, and the session waits with the rest.
    let pieces: Vec<Bytes> = std::iter::from_fn(|| client.take()).collect();
    let largest = GATHERED_BYTES + 2 * limits::CHUNK_BYTES;
    assert!(pieces.len() == 2 && pieces.iter().all(|p| p.len() <= largest));
    let start: Vec<u8> = pieces.concat();
    let heard = String::from_utf8(start).unwrap() + &house.lab.hear(&client);
    assert!(heard == format!("+OK {} octets\r\n{text}.\r\n", text.len()));
    // A client that stops half-way is no reader.
    client.send("TOP 1 100000\r\n");
    house.lab.settle();
    drop(client);
    house.lab.settle();
    assert_eq!(house.lab.running(), 0);
}

#[test]
fn the_size_told_is_the_size_sent() {
    // Guards pitfall POP3 2: the size told is the size sent.
    let mut house = House::new();
    for text in [
        ONE,
        "a: b\n\n.bare\n\nlast",
        "",
        "\r",
        "no header\r\n.\r\n",
        "a: \u{fc}\r\n\r\n\u{fc}\r\n",
    ] {
        house.deliver(text);
    }
    let client = house.log_in();
    let listing = house.lab.say(&client, "LIST\r\n");
    for line in listing.lines().skip(1).take_while(|line| *line != ".") {
        let (number, size) = line.split_once(' ').unwrap();
        let heard = house.lab.say(&client, format!("RETR {number}\r\n"));
        let (first, rest) = heard.split_once("\r\n").unwrap();
        assert_eq!(first, format!("+OK {size} octets"));
        let body = rest.strip_suffix(".\r\n").unwrap();
        let dots = body
            .split_inclusive('\n')
            .filter(|line| line.starts_with('.'))
            .count();
        assert_eq!(body.len() - dots, size.parse::<usize>().unwrap(), "{heard:?}");
    }
    assert_eq!(listing.lines().count(), 8);
}

#[test]
fn failed_logins_are_answered_later_and_later() {
    let mut house = House::new();
    let client = house.connect();
    house.lab.say(&client, "USER alice\r\n");
    assert_eq!(house.lab.say(&client, "PASS wrong\r\n"), "");
    house.lab.pass(Duration::from_millis(500));
    assert!(house.lab.hear(&client).starts_with("-ERR [AUTH]"));
    house.lab.say(&client, "USER nobody\r\n");
    house.lab.say(&client, "PASS wrong\r\n");
    house.lab.pass(Duration::from_millis(900));
    assert_eq!(house.lab.hear(&client), "");
    house.lab.pass(Duration::from_millis(100));
    assert!(house.lab.hear(&client).starts_with("-ERR [AUTH]"));
    let login = house.login();
    assert!(house.lab.say(&client, login).contains("+OK 0 messages"));
}

// RFC 3206 §4: it is no wrong password, and the client need not ask its user for another.
#[test]
fn who_has_been_wrong_too_often_is_told_so() {
    let mut house = House::new();
    house.pop3.peers.set_limits(PeerLimits {
        failed_logins_per_hour: 2,
        ..PeerLimits::default()
    });
    let tries = |house: &mut House, password: &str| {
        let client = house.connect();
        house.lab.say(&client, "USER bob\r\n");
        let heard = house.lab.say(&client, format!("PASS {password}\r\n"));
        house.lab.pass(Duration::from_secs(6));
        heard + &house.lab.hear(&client)
    };
    for password in ["one", "other"] {
        assert!(tries(&mut house, password).starts_with("-ERR [AUTH] "));
    }
    let told = "-ERR [SYS/TEMP] Too many failed passwords from your address, wait a while\r\n";
    assert_eq!(tries(&mut house, "third"), told);
}

#[test]
fn nobody_acts_for_somebody_else() {
    let mut house = House::new();
    let client = house.connect();
    let plain = |authzid: &str, password: &str| {
        let message = ringpost_auth::sasl::plain_message(authzid, "alice", password);
        format!("AUTH PLAIN {}\r\n", ringpost_auth::base64::encode(&message))
    };
    let password = house.password.clone();
    house.lab.say(&client, plain("bob@example.org", &password));
    house.lab.pass(Duration::from_secs(1));
    assert!(house.lab.hear(&client).starts_with("-ERR [AUTH]"));
    assert!(
        house
            .lab
            .say(&client, plain("alice@example.org", &password))
            .starts_with("+OK 0")
    );
}

#[test]
fn a_plain_connection_goes_over_to_tls() {
    let mut house = House::new();
    let (connection, client) = house.lab.connect(false);
    let pop3 = house.pop3.clone();
    house.lab.spawn(async move { pop3.serve(connection, true).await });
    house.lab.hear(&client);
    assert_eq!(
        house.lab.say(&client, "USER alice\r\n"),
        "-ERR Use STLS first\r\n"
    );
    // Guards pitfall POP3 3: STLS discards what was buffered.
    client.send("STLS\r\nCAPA\r\n");
    assert_eq!(house.lab.say(&client, "CAPA\r\n"), "+OK Go over to TLS\r\n");
    assert!(house.lab.say(&client, "CAPA\r\n").contains("\r\nSASL PLAIN\r\n"));
    let login = house.login();
    assert!(house.lab.say(&client, login).contains("+OK 0 messages"));
}

#[test]
fn who_logs_in_twice_a_second_is_counted_and_nothing_is_left_over() {
    let mut house = House::new();
    for _ in 0..20 {
        assert_eq!(house.stat(), "+OK 0 0");
        house.lab.pass(Duration::from_millis(500));
    }
    assert_eq!((house.pop3.counters.sessions(), house.lab.running()), (20, 0));
}

#[test]
fn a_session_that_waits_is_small() {
    let house = House::new();
    let (connection, _client) = house.lab.connect(true);
    let size = size_of_val(&house.pop3.serve(connection, true));
    assert!(size <= 4096, "{size}");
}

#[test]
fn another_password_ends_the_sessions_that_the_old_one_began_and_what_they_deleted_stays() {
    let mut house = House::new();
    house.deliver(ONE);
    let client = house.log_in();
    house.lab.say(&client, "DELE 1\r\n");
    let directory = house.pop3.directory.clone();
    at_once(directory.set_password("alice@example.org", "new", BEGIN)).unwrap();
    assert_eq!(
        house.lab.say(&client, "QUIT\r\n"),
        "-ERR [AUTH] The login is no longer valid, log in again\r\n"
    );
    house.password = "new".into();
    assert!(house.stat().starts_with("+OK 1 "), "nothing was removed");
}
