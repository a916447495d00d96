use super::*;
use crate::peers::PeerLimits;
use crate::testing::{BEGIN, Client, Ground, Lab, at_once};
use ringpost_base::limits;
use ringpost_store::LocalBus;
use std::time::Duration;

/// A server with alice, her phone's mailbox, and whoever connects.
struct House {
    lab: Lab,
    ground: Ground,
    imap: Imap,
    password: String,
}

impl House {
    fn new() -> Self {
        Self::with(Config::default(), None)
    }

    fn with(config: Config, quota_bytes: Option<u64>) -> Self {
        let (lab, ground) = (Lab::new(), Ground::with_quota(quota_bytes));
        let imap = Imap {
            world: lab.world.clone(),
            directory: ground.directory.clone(),
            mail: ground.mail.clone(),
            bus: ground.bus.clone(),
            config: Arc::new(config),
            compressing: Compressing::default(),
            peers: Arc::default(),
            stop: ground.stop.clone(),
        };
        let password = ground.password("alice").to_owned();
        House {
            lab,
            ground,
            imap,
            password,
        }
    }

    fn connect(&mut self) -> Client {
        let (connection, client) = self.lab.connect(true);
        let imap = self.imap.clone();
        self.lab.spawn(async move { imap.serve(connection, true).await });
        assert!(self.lab.hear(&client).starts_with("* OK [CAPABILITY IMAP4rev1"));
        client
    }

    fn log_in(&mut self) -> Client {
        let client = self.connect();
        let login = format!("l LOGIN alice@example.org {}\r\n", self.password);
        assert!(self.lab.say(&client, login).starts_with("l OK [CAPABILITY"));
        client
    }

    fn select(&mut self) -> Client {
        let client = self.log_in();
        assert!(
            self.lab
                .say(&client, "s SELECT INBOX\r\n")
                .contains("s OK [READ-WRITE]")
        );
        client
    }

    fn deliver(&self, text: &str) {
        self.ground.deliver(text.replace('\n', "\r\n"));
    }
}

const HELLO: &str = "From: Bob <bob@example.org>\nTo: alice@example.org\nSubject: Hello\n\nHow are you?\n";

#[test]
fn a_message_is_read_answered_and_deleted() {
    let mut house = House::new();
    house.deliver(HELLO);
    let client = house.select();
    let mut say = |text: &str| house.lab.say(&client, format!("{text}\r\n"));
    assert!(say("a LIST \"\" *").contains("* LIST (\\HasNoChildren) \"/\" INBOX\r\n"));
    assert!(say("a STATUS INBOX (MESSAGES UNSEEN)").contains("(MESSAGES 1 UNSEEN 1)"));
    let heard = say("a FETCH 1 (UID ENVELOPE BODYSTRUCTURE)");
    assert!(
        heard.contains("\"Hello\" ((\"Bob\" NIL \"bob\" \"example.org\"))"),
        "{heard}"
    );
    assert!(heard.contains("(\"TEXT\" \"PLAIN\""), "{heard}");
    let heard = say("a FETCH 1 BODY[TEXT]");
    assert!(
        heard.contains("BODY[TEXT] {14}\r\nHow are you?\r\n FLAGS (\\Seen \\Recent))"),
        "{heard}"
    );
    assert!(say("a FETCH 1 BODY.PEEK[HEADER.FIELDS (subject)]").contains("{18}\r\nSubject: Hello\r\n\r\n)"));
    assert_eq!(
        say("a SEARCH SEEN BODY \"ARE YOU\""),
        "* SEARCH 1\r\na OK Done\r\n"
    );
    let reply = "Subject: Re: Hello\r\n\r\nFine.\r\n";
    let heard = say(&format!("a APPEND Sent (\\Seen) {{{}+}}\r\n{reply}", reply.len()));
    assert!(heard.starts_with("a OK [APPENDUID "), "{heard}");
    assert!(say("a COPY 1 Sent").contains("a OK [COPYUID "));
    assert!(
        say("a STORE 1 +FLAGS (\\Answered \\Deleted)")
            .contains("FLAGS (\\Answered \\Deleted \\Seen \\Recent)")
    );
    assert_eq!(say("a EXPUNGE"), "* 1 EXPUNGE\r\na OK Done\r\n");
    assert!(say("a SELECT Sent").contains("* 2 EXISTS"));
    assert!(say("a FETCH 1 BODY[]").contains(reply));
    assert!(say("a LOGOUT").contains("a OK"));
    assert!(client.is_closed() && house.lab.running() == 0);
}

#[test]
fn gigantic_headers_are_fetched_sorted_and_searched_whole() {
    let mut house = House::new();
    let is_long = |n: u32| !n.is_multiple_of(3);
    let all = 1..=2 * limits::IMAP_PORTION as u32 + 9;
    for n in all.clone() {
        let padding = if is_long(n) { &"long ".repeat(10_000) } else { "" };
        house.deliver(&format!("Subject: s{n} {padding}\n\nbody\n"));
    }
    let client = house.select();
    let mut say = |text: &str| house.lab.say(&client, format!("{text}\r\n"));
    for command in ["a FETCH 1:* (UID ENVELOPE)", "a FETCH 1:* (UID ENVELOPE BODY)"] {
        let heard = say(command);
        let mut lines = heard.lines();
        for n in all.clone() {
            let line = lines.next().unwrap_or_default();
            let begins = format!("* {n} FETCH (UID {n} ENVELOPE (NIL \"s{n}");
            assert!(line.starts_with(&begins), "{:.100}", line);
        }
        assert_eq!(lines.next(), Some("a OK Done"));
    }
    let numbers =
        |numbers: &mut dyn Iterator<Item = u32>| -> String { numbers.map(|n| format!(" {n}")).collect() };
    let longs = numbers(&mut all.clone().filter(|n| is_long(*n)));
    let mut by_subject: Vec<u32> = all.clone().collect();
    by_subject.sort_by_key(|n| format!("s{n}{}", if is_long(*n) { " long" } else { "" }));
    for (command, answer) in [
        (
            "SORT (ARRIVAL) UTF-8 ALL",
            format!("* SORT{}", numbers(&mut all.clone())),
        ),
        (
            "SORT (SUBJECT) UTF-8 ALL",
            format!("* SORT{}", numbers(&mut by_subject.into_iter())),
        ),
        ("SEARCH SUBJECT long", format!("* SEARCH{longs}")),
        ("SEARCH SUBJECT long BODY body", format!("* SEARCH{longs}")),
    ] {
        let heard = say(&format!("a {command}"));
        assert_eq!(heard, format!("{answer}\r\na OK Done\r\n"), "{command}");
    }
}

#[test]
fn an_idling_session_hears_at_once_what_others_do() {
    let mut house = House::new();
    house.deliver(HELLO);
    let (idler, other) = (house.select(), house.select());
    assert_eq!(house.lab.say(&idler, "i IDLE\r\n"), "+ Idling\r\n");
    house.deliver(HELLO);
    assert_eq!(
        house.lab.hear(&idler),
        "* 2 EXISTS\r\n* 1 RECENT\r\n".replace("* 1 R", "* 2 R")
    );
    house.lab.say(&other, "o STORE 1 +FLAGS (\\Seen)\r\n");
    assert!(
        house
            .lab
            .hear(&idler)
            .starts_with("* 1 FETCH (UID 1 FLAGS (\\Seen")
    );
    house
        .lab
        .say(&other, "o STORE 1 +FLAGS.SILENT (\\Deleted)\r\no EXPUNGE\r\n");
    assert!(house.lab.hear(&idler).ends_with("* 1 EXPUNGE\r\n"));
    assert_eq!(house.lab.say(&idler, "DONE\r\n"), "i OK Done\r\n");
}

#[test]
fn a_session_that_does_not_idle_hears_with_its_next_command() {
    let mut house = House::new();
    house.deliver(HELLO);
    let (one, other) = (house.select(), house.select());
    house
        .lab
        .say(&other, "o STORE 1 +FLAGS.SILENT (\\Deleted)\r\no EXPUNGE\r\n");
    house.deliver(HELLO);
    assert_eq!(house.lab.hear(&one), "");
    // What is expunged stays readable until this session has been told.
    let heard = house.lab.say(&one, "a FETCH 1 BODY.PEEK[TEXT]\r\n");
    assert!(
        heard.starts_with("* 1 FETCH (BODY[TEXT] {14}\r\nHow are you?"),
        "{heard}"
    );
    assert!(
        heard.contains("* 2 EXISTS\r\n") && !heard.contains("EXPUNGE"),
        "{heard}"
    );
    let heard = house.lab.say(&one, "a NOOP\r\n");
    assert!(heard.contains("* 1 EXPUNGE\r\n"), "{heard}");
    assert_eq!(
        house.lab.say(&one, "a FETCH 1 UID\r\n"),
        "* 1 FETCH (UID 2)\r\na OK Done\r\n"
    );
}

#[test]
fn a_message_appended_to_the_selected_mailbox_is_told_with_its_command() {
    let mut house = House::new();
    let client = house.select();
    let heard = house
        .lab
        .say(&client, "a APPEND INBOX {17+}\r\nSubject: x\r\n\r\nb\r\n\r\n");
    assert!(
        heard.starts_with("* 1 EXISTS\r\n* 1 RECENT\r\na OK [APPENDUID "),
        "{heard}"
    );
}

#[test]
fn a_big_message_passes_through_as_fast_as_the_client_reads() {
    let mut house = House::new();
    let text = format!("Subject: big\r\n\r\n{}", "0123456789abcdef".repeat(200_000));
    let client = house.select();
    client.send(format!("a APPEND INBOX {{{}}}\r\n", text.len()));
    assert!(house.lab.hear(&client).starts_with("+ "));
    for piece in text.as_bytes().chunks(limits::CHUNK_BYTES) {
        client.send(piece);
    }
    assert!(house.lab.say(&client, "\r\n").contains("a OK [APPENDUID"));
    client.send("a FETCH 1 BODY.PEEK[]\r\n");
    house.lab.settle();
    // Two pieces fill the connection, and the session waits with the rest.
    let pieces: Vec<Bytes> = std::iter::from_fn(|| client.take()).collect();
    assert!(pieces.len() == 2 && pieces.iter().all(|p| p.len() <= limits::CHUNK_BYTES));
    let start: Vec<u8> = pieces.concat();
    let heard = String::from_utf8(start).unwrap() + &house.lab.hear(&client);
    assert_eq!(
        heard,
        format!("* 1 FETCH (BODY[] {{{}}}\r\n{text})\r\na OK Done\r\n", text.len())
    );
}

#[test]
fn a_part_is_fetched_decoded_however_big_it_is() {
    let mut house = House::new();
    let data: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8 + 1).collect();
    let encoded = ringpost_auth::base64::encode(&data);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(76)
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    let text = format!(
        "Content-Transfer-Encoding: base64\nContent-Type: application/x\n\n{}\n",
        lines.join("\n")
    );
    house.deliver(&text);
    let client = house.select();
    client.send("a FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1]<299000.9999>)\r\n");
    let mut heard = Vec::new();
    house.lab.settle();
    while let Some(bytes) = client.take() {
        heard.extend_from_slice(&bytes);
        house.lab.settle();
    }
    let mut expected = b"* 1 FETCH (BINARY.SIZE[1] 300000 BINARY[1]<299000> {1000}\r\n".to_vec();
    expected.extend_from_slice(&data[299_000..]);
    expected.extend_from_slice(b")\r\na OK Done\r\n");
    assert!(heard == expected, "{}", String::from_utf8_lossy(&heard[..80]));
}

#[test]
fn a_nul_that_came_by_smtp_does_not_go_out_in_a_literal() {
    let mut house = House::new();
    house.deliver("Subject: a\0b\n\nc\0d\n");
    let client = house.select();
    for (section, size_bytes) in [("", 21), ("TEXT", 5), ("HEADER.FIELDS (Subject)", 16)] {
        let heard = house
            .lab
            .say(&client, format!("a FETCH 1 BODY.PEEK[{section}]\r\n"));
        assert!(heard.contains(&format!("{{{size_bytes}}}\r\n")), "{heard}");
        assert!(heard.contains("a OK") && !heard.contains('\0'), "{heard}");
    }
}

/// What a client sees that compresses.
struct Deflated<'a> {
    house: &'a mut House,
    client: &'a Client,
    peer: Box<Compression>,
}

impl Deflated<'_> {
    fn send(&mut self, text: &[u8]) {
        let bytes = self.peer.compress(text, true);
        self.client.send(bytes);
    }

    fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        loop {
            self.house.lab.settle();
            let Some(bytes) = self.client.take() else {
                return String::from_utf8(heard).unwrap();
            };
            self.peer.take(bytes);
            while self.peer.has_input() {
                heard.extend_from_slice(&self.peer.next().unwrap());
            }
        }
    }

    fn say(&mut self, text: &str) -> String {
        self.send(text.as_bytes());
        self.hear()
    }
}

#[test]
fn a_session_goes_on_compressed_in_both_directions() {
    let mut house = House::new();
    house.deliver(HELLO);
    let client = house.select();
    assert!(
        house
            .lab
            .say(&client, "a CAPABILITY\r\n")
            .contains(" COMPRESS=DEFLATE")
    );
    assert!(house.lab.say(&client, "a COMPRESS LZMA\r\n").starts_with("a BAD"));
    // Who does not wait for the answer goes on as before.
    let heard = house.lab.say(&client, "a COMPRESS DEFLATE\r\nb NOOP\r\n");
    assert!(
        heard.starts_with("a BAD") && heard.ends_with("b OK Done\r\n"),
        "{heard}"
    );
    assert!(
        house
            .lab
            .say(&client, "a COMPRESS DEFLATE\r\n")
            .starts_with("a OK")
    );
    let peer = Box::new(Compressing::default().begin().unwrap());
    let mut talk = Deflated {
        house: &mut house,
        client: &client,
        peer,
    };
    assert!(!talk.say("b CAPABILITY\r\n").contains("COMPRESS"));
    assert!(talk.say("b COMPRESS DEFLATE\r\n").starts_with("b BAD"));
    assert!(talk.say("c FETCH 1 BODY[TEXT]\r\n").contains("How are you?"));
    // A big message both ways, and a push to one that idles.
    let text = format!("Subject: big\r\n\r\n{}\r\n", "0123456789abcdef".repeat(100_000));
    talk.send(format!("d APPEND INBOX {{{}}}\r\n", text.len()).as_bytes());
    assert!(talk.hear().starts_with("+ "));
    talk.send(text.as_bytes());
    assert!(talk.say("\r\n").contains("d OK [APPENDUID"));
    assert!(talk.say("e FETCH 2 BODY.PEEK[]\r\n").contains(&text));
    assert_eq!(talk.say("f IDLE\r\n"), "+ Idling\r\n");
    talk.house.deliver(HELLO);
    assert!(talk.hear().starts_with("* 3 EXISTS"));
    assert_eq!(talk.say("DONE\r\n"), "f OK Done\r\n");
    assert!(talk.say("g LOGOUT\r\n").contains("g OK"));
    assert_eq!(house.lab.running(), 0);
}

#[test]
fn a_decompression_bomb_is_read_in_pieces_and_ends_the_session() {
    // Guards pitfall IMAP 6: what comes in is bounded however small it was made.
    let mut house = House::new();
    let before = house.connect();
    assert_eq!(
        house.lab.say(&before, "a COMPRESS DEFLATE\r\n"),
        "a BAD Log in first\r\n"
    );
    for what in [&b"a"[..], b"\r\n", b"x {4097+}\r\n"] {
        let client = house.log_in();
        house.lab.say(&client, "a COMPRESS DEFLATE\r\n");
        let mut peer = Compressing::default().begin().unwrap();
        let bomb: Vec<u8> = what.iter().copied().cycle().take(limits::CHUNK_BYTES).collect();
        let mut bytes = Vec::new();
        for _ in 0..1_000 {
            bytes.extend_from_slice(&peer.compress(&bomb, false));
        }
        bytes.extend_from_slice(&peer.compress(b"", true));
        for piece in bytes.chunks(limits::CHUNK_BYTES) {
            client.send(piece);
        }
        house.lab.settle();
        assert!(client.is_closed(), "{what:?}");
    }
    // What is no stream at all ends it too.
    let client = house.log_in();
    house.lab.say(&client, "a COMPRESS DEFLATE\r\n");
    client.send(b"\x07\xff");
    house.lab.settle();
    assert!(client.is_closed());
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_message_leaves_nothing() {
    let mut house = House::new();
    let mut client = house.select();
    client.send("a APPEND INBOX {100}\r\nSubject: half");
    house.lab.settle();
    client.close();
    house.lab.settle();
    assert_eq!(house.lab.running(), 0);
    let client = house.log_in();
    assert!(
        house
            .lab
            .say(&client, "s SELECT INBOX\r\n")
            .contains("* 0 EXISTS")
    );
}

#[test]
fn a_message_that_the_account_has_no_room_for_is_refused_and_nothing_is_lost() {
    let mut house = House::with(Config::default(), Some(200));
    house.deliver(HELLO);
    let client = house.select();
    let text = "x".repeat(150);
    let heard = house.lab.say(
        &client,
        format!("a APPEND INBOX {{150+}}\r\n{text}\r\nb NOOP\r\n"),
    );
    assert!(
        heard.starts_with("a NO [OVERQUOTA]") && heard.ends_with("b OK Done\r\n"),
        "{heard}"
    );
    assert!(
        house
            .lab
            .say(&client, "c FETCH 1 BODY.PEEK[TEXT]\r\n")
            .contains("How are you?")
    );
}

#[test]
fn failed_logins_are_answered_later_and_later() {
    let mut house = House::new();
    let client = house.connect();
    assert_eq!(house.lab.say(&client, "a LOGIN alice@example.org wrong\r\n"), "");
    house.lab.pass(Duration::from_millis(500));
    assert!(house.lab.hear(&client).starts_with("a NO [AUTHENTICATIONFAILED]"));
    house.lab.say(&client, "a LOGIN nobody wrong\r\n");
    house.lab.pass(Duration::from_millis(900));
    assert_eq!(house.lab.hear(&client), "");
    house.lab.pass(Duration::from_millis(100));
    assert!(house.lab.hear(&client).starts_with("a NO [AUTHENTICATIONFAILED]"));
    let login = format!("a LOGIN alice {}\r\n", house.password);
    assert!(house.lab.say(&client, login).starts_with("a OK"));
}

// RFC 5530 §3: it is no wrong password, and the client need not ask its user for another.
#[test]
fn who_has_been_wrong_too_often_is_told_so() {
    let mut house = House::new();
    house.imap.peers.set_limits(PeerLimits {
        failed_logins_per_hour: 2,
        ..PeerLimits::default()
    });
    let tries = |house: &mut House, password: &str| {
        let client = house.connect();
        let heard = house.lab.say(&client, format!("a LOGIN bob {password}\r\n"));
        house.lab.pass(Duration::from_secs(6));
        heard + &house.lab.hear(&client)
    };
    for password in ["one", "other"] {
        assert!(tries(&mut house, password).starts_with("a NO [AUTHENTICATIONFAILED] "));
    }
    let told = "a NO [UNAVAILABLE] Too many failed passwords from your address, wait a while\r\n";
    assert_eq!(tries(&mut house, "third"), told);
}

#[test]
fn who_guesses_on_several_connections_guesses_on_one_at_a_time() {
    let mut house = House::new();
    // What was right before is no guess, and waits behind none.
    let owner = house.log_in();
    house.lab.say(&owner, "z LOGOUT\r\n");
    let [first, second] = [house.connect(), house.connect()];
    house.lab.say(&first, "a LOGIN alice wrong\r\n");
    house.lab.say(&second, "a LOGIN alice wrong\r\n");
    house.log_in();
    house.lab.pass(Duration::from_millis(600));
    assert!(house.lab.hear(&first).starts_with("a NO [AUTHENTICATIONFAILED]"));
    assert_eq!(
        house.lab.hear(&second),
        "",
        "its turn came when the first one's was over"
    );
    house.lab.pass(Duration::from_millis(100));
    assert!(house.lab.hear(&second).starts_with("a NO [AUTHENTICATIONFAILED]"));
}

#[test]
fn nobody_acts_for_somebody_else() {
    let mut house = House::new();
    let client = house.connect();
    let plain = |authzid: &str, password: &str| {
        let message = ringpost_auth::sasl::plain_message(authzid, "alice", password);
        format!(
            "a AUTHENTICATE PLAIN {}\r\n",
            ringpost_auth::base64::encode(&message)
        )
    };
    let password = house.password.clone();
    house.lab.say(&client, plain("bob@example.org", &password));
    house.lab.pass(Duration::from_secs(1));
    assert!(house.lab.hear(&client).starts_with("a NO [AUTHORIZATIONFAILED]"));
    // Nor is it told whether there is such another.
    house.lab.say(&client, plain("nobody@example.org", &password));
    house.lab.pass(Duration::from_secs(2));
    assert!(house.lab.hear(&client).starts_with("a NO [AUTHORIZATIONFAILED]"));
    // Who has not proven who he is learns nothing of it.
    house.lab.say(&client, plain("bob@example.org", "wrong"));
    house.lab.pass(Duration::from_secs(3));
    assert!(house.lab.hear(&client).starts_with("a NO [AUTHENTICATIONFAILED]"));
    assert!(
        house
            .lab
            .say(&client, plain("alice@example.org", &password))
            .starts_with("a OK")
    );
}

#[test]
fn a_scram_login_that_fails_is_answered_as_late_whoever_it_was_for() {
    // Guards pitfall SMTP 5, which IMAP shares: an unknown user takes as long as a wrong password.
    let mut house = House::with(
        Config {
            scram_decoy: Some(ringpost_auth::sasl::DecoyKey::new([3; 32], 4096)),
            ..Config::default()
        },
        None,
    );
    for user in ["alice", "nobody"] {
        let client = house.connect();
        let first = ringpost_auth::base64::encode(format!("n,,n={user},r=abc").as_bytes());
        let challenge = house
            .lab
            .say(&client, format!("a AUTHENTICATE SCRAM-SHA-256 {first}\r\n"));
        let challenge = challenge.strip_prefix("+ ").expect("a challenge").trim_end();
        let challenge = ringpost_auth::base64::decode(challenge.as_bytes(), 1000).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        let proof = ringpost_auth::base64::encode(&[0; 32]);
        let last = format!("c=biws,{},p={proof}", challenge.split(',').next().unwrap());
        let last = ringpost_auth::base64::encode(last.as_bytes());
        assert_eq!(house.lab.say(&client, format!("{last}\r\n")), "", "{user}");
        house.lab.pass(Duration::from_millis(499));
        assert_eq!(house.lab.hear(&client), "", "{user}");
        house.lab.pass(Duration::from_millis(1));
        assert!(
            house.lab.hear(&client).starts_with("a NO [AUTHENTICATIONFAILED]"),
            "{user}"
        );
    }
}

#[test]
fn a_plain_connection_goes_over_to_tls() {
    let mut house = House::new();
    let (connection, client) = house.lab.connect(false);
    let imap = house.imap.clone();
    house.lab.spawn(async move { imap.serve(connection, true).await });
    assert!(house.lab.hear(&client).contains("STARTTLS LOGINDISABLED"));
    client.send("a STARTTLS\r\nb CAPABILITY\r\n");
    assert_eq!(
        house.lab.say(&client, "c CAPABILITY\r\n"),
        "a OK Go over to TLS\r\n"
    );
    assert!(house.lab.say(&client, "d CAPABILITY\r\n").contains("AUTH=PLAIN"));
    let login = format!("e LOGIN alice {}\r\n", house.password);
    assert!(house.lab.say(&client, login).starts_with("e OK"));
}

#[test]
fn an_idling_client_is_kept_alive_and_a_silent_one_let_go() {
    let mut house = House::new();
    let client = house.select();
    house.lab.say(&client, "i IDLE\r\n");
    house.lab.pass(Duration::from_secs(121));
    assert_eq!(house.lab.hear(&client), "* OK Still here\r\n");
    house.lab.say(&client, "DONE\r\n");
    house.lab.pass(Duration::from_secs(29 * 60));
    assert_eq!(house.lab.hear(&client), "");
    house.lab.pass(Duration::from_secs(61));
    assert!(house.lab.hear(&client).starts_with("* BYE Autologout"));
    assert_eq!(house.lab.running(), 0);
}

#[test]
fn another_password_ends_the_sessions_that_the_old_one_began() {
    let mut house = House::new();
    let (idler, silent) = (house.select(), house.log_in());
    house.lab.say(&idler, "i IDLE\r\n");
    let directory = house.imap.directory.clone();
    at_once(directory.set_password("bob@example.org", "bobs new", BEGIN)).unwrap();
    assert_eq!(
        house.lab.say(&silent, "a NOOP\r\n"),
        "a OK Done\r\n",
        "bob is another"
    );
    at_once(directory.set_password("alice@example.org", "new", BEGIN)).unwrap();
    let bye = "* BYE The login is no longer valid, log in again\r\n";
    assert_eq!(house.lab.hear(&idler), bye);
    assert_eq!(house.lab.say(&silent, "b SELECT INBOX\r\n"), bye);
    house.password = "new".into();
    let client = house.log_in();
    at_once(directory.remove_account("alice@example.org")).unwrap();
    assert_eq!(house.lab.say(&client, "b SELECT INBOX\r\n"), bye);
    assert_eq!(house.lab.running(), 0);
}

#[test]
fn a_stopping_server_takes_leave() {
    let mut house = House::new();
    let (idler, silent) = (house.select(), house.log_in());
    house.lab.say(&idler, "i IDLE\r\n");
    house.ground.stop();
    assert_eq!(house.lab.hear(&idler), "* BYE The server stops\r\n");
    assert_eq!(house.lab.hear(&silent), "* BYE The server stops\r\n");
    assert_eq!(house.lab.running(), 0);
}

#[test]
fn a_mailbox_that_another_session_deletes_ends_those_that_have_it_open() {
    let mut house = House::new();
    let (one, other) = (house.log_in(), house.log_in());
    house
        .lab
        .say(&one, "a CREATE Gone\r\na SELECT Gone\r\na IDLE\r\n");
    assert!(house.lab.say(&other, "b DELETE Gone\r\n").starts_with("b OK"));
    assert!(
        house
            .lab
            .hear(&one)
            .contains("* BYE The selected mailbox was deleted")
    );
}

#[test]
fn a_client_that_has_deleted_another_mailbox_is_told_when_its_own_is_deleted() {
    let mut house = House::new();
    let (one, other) = (house.log_in(), house.log_in());
    house
        .lab
        .say(&one, "a CREATE Mine\r\na CREATE Gone\r\na SELECT Mine\r\n");
    assert!(house.lab.say(&one, "a DELETE Gone\r\n").starts_with("a OK"));
    assert!(house.lab.say(&other, "b DELETE Mine\r\n").starts_with("b OK"));
    let said = house.lab.say(&one, "a NOOP\r\n");
    assert!(said.contains("* BYE The selected mailbox was deleted"), "{said}");
}

#[test]
fn a_client_whose_mailbox_is_deleted_while_it_deletes_another_is_told() {
    let mut house = House::new();
    let (one, other) = (house.log_in(), house.log_in());
    let big = format!("Subject: big\r\n\r\n{}", "0123456789abcde\r\n".repeat(20_000));
    house.deliver(&big.replace("\r\n", "\n"));
    house.lab.say(
        &one,
        "a CREATE Mine\r\na CREATE Gone\r\na SELECT INBOX\r\na MOVE 1 Mine\r\na SELECT Mine\r\n",
    );
    // It does not read on while the other deletes: its own DELETE is carried out before it has heard of that.
    one.send("a FETCH 1 BODY.PEEK[]\r\nb DELETE Gone\r\n");
    house.lab.settle();
    assert!(house.lab.say(&other, "b DELETE Mine\r\n").starts_with("b OK"));
    let said = house.lab.hear(&one);
    let end = "a OK Done\r\nb OK Done\r\n* BYE The selected mailbox was deleted\r\n";
    assert!(said.ends_with(end), "{}", &said[said.len().saturating_sub(200)..]);
}

#[test]
fn a_client_that_deletes_the_mailbox_it_looks_at_goes_on() {
    let mut house = House::new();
    let client = house.select();
    let mut say = |text: &str| house.lab.say(&client, format!("{text}\r\n"));
    assert!(say("a CREATE x").contains("a OK"));
    assert!(say("a SELECT x").contains("a OK [READ-WRITE]"));
    assert_eq!(say("a DELETE x"), "a OK Done\r\n");
    assert_eq!(say("a CHECK"), "a BAD Select a mailbox first\r\n");
    assert!(say("a SELECT INBOX").contains("a OK [READ-WRITE]"));
    assert!(say("a DELETE INBOX").starts_with("a NO "));
    assert_eq!(say("a CHECK"), "a OK Done\r\n", "what is refused changes nothing");
}

#[test]
fn a_client_that_deletes_what_it_looks_at_under_a_new_name_goes_on() {
    let mut house = House::new();
    let (one, other) = (house.log_in(), house.log_in());
    house.lab.say(&one, "a CREATE x\r\na SELECT x\r\n");
    assert!(house.lab.say(&other, "b RENAME x y\r\n").starts_with("b OK"));
    assert_eq!(house.lab.say(&one, "a DELETE y\r\n"), "a OK Done\r\n");
    assert_eq!(
        house.lab.say(&one, "a CHECK\r\n"),
        "a BAD Select a mailbox first\r\n"
    );
}

#[test]
fn pipelined_commands_run_in_order() {
    // Guards pitfall IMAP 4: STORE, then EXPUNGE, then FETCH.
    let mut house = House::new();
    house.deliver(HELLO);
    house.deliver("Subject: two\n\n2\n");
    let client = house.select();
    let heard = house.lab.say(
        &client,
        "a STORE 1 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\nc FETCH 1 (UID)\r\n",
    );
    assert_eq!(
        heard,
        "a OK Done\r\n* 1 EXPUNGE\r\nb OK Done\r\n* 1 FETCH (UID 2)\r\nc OK Done\r\n"
    );
}

#[test]
fn recent_is_told_to_one_session() {
    let mut house = House::new();
    house.deliver(HELLO);
    let one = house.log_in();
    assert!(house.lab.say(&one, "a SELECT INBOX\r\n").contains("* 1 RECENT"));
    let other = house.log_in();
    assert!(house.lab.say(&other, "a SELECT INBOX\r\n").contains("* 0 RECENT"));
    assert!(house.lab.say(&one, "b FETCH 1 FLAGS\r\n").contains("(\\Recent)"));
}

#[test]
fn a_session_that_idles_is_small() {
    let house = House::new();
    let (connection, _client) = house.lab.connect(true);
    let size = size_of_val(&house.imap.serve(connection, true));
    assert!(size <= 4096, "{size}");
}

#[test]
fn a_client_that_was_away_hears_what_others_did_meanwhile() {
    // Guards pitfall IMAP 5, with two sessions and a third that comes back.
    let mut house = House::new();
    (0..4).for_each(|_| house.deliver(HELLO));
    let (first, second) = (house.select(), house.select());
    let mut say = |client: &Client, text: &str| house.lab.say(client, format!("{text}\r\n"));
    assert!(say(&first, "a ENABLE QRESYNC").contains("* ENABLED CONDSTORE QRESYNC\r\n"));
    assert_eq!(
        say(&second, "a STORE 2 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE"),
        "a OK Done\r\n* 2 EXPUNGE\r\na OK Done\r\n"
    );
    // A change at 8 is told while the expunge at 7 may not be: the client is held at 5.
    assert_eq!(
        say(&first, "b STORE 1 +FLAGS.SILENT (\\Seen)"),
        "* 1 FETCH (UID 1 MODSEQ (8))\r\n* OK [HIGHESTMODSEQ 5] Messages are gone; ask with NOOP\r\nb OK Done\r\n"
    );
    assert_eq!(say(&first, "c NOOP"), "* VANISHED 2\r\nc OK Done\r\n");
    say(&first, "d STORE 3 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(
        say(&first, "e EXPUNGE"),
        "* VANISHED 4\r\ne OK [HIGHESTMODSEQ 10] Done\r\n"
    );
    assert_eq!(
        say(&second, "b NOOP"),
        "* 3 EXPUNGE\r\n* 1 FETCH (UID 1 FLAGS (\\Seen))\r\nb OK Done\r\n"
    );
    let uid_validity = {
        let heard = say(&first, "f SELECT INBOX");
        let at = heard.find("UIDVALIDITY ").expect("it is told") + 12;
        heard[at..heard[at..].find(']').expect("a code ends") + at].to_owned()
    };
    let heard = say(
        &first,
        &format!("g SELECT INBOX (QRESYNC ({uid_validity} 5 1:4))"),
    );
    assert!(
        heard.ends_with(
            "* OK [HIGHESTMODSEQ 10] The last change\r\n* VANISHED (EARLIER) 2,4\r\n\
             * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (8))\r\ng OK [READ-WRITE] Done\r\n"
        ),
        "{heard}"
    );
}

#[test]
fn a_store_that_finds_the_work_of_others_done_tells_all_that_they_did() {
    // Guards pitfall IMAP 5: a MODSEQ that is told says that everything up to it is known.
    let mut house = House::new();
    (0..3).for_each(|_| house.deliver(HELLO));
    let other = house.select();
    // This one hears of nothing by itself.
    house.imap.bus = Arc::new(LocalBus::new());
    let deaf = house.select();
    house.lab.say(&deaf, "a ENABLE CONDSTORE\r\n");
    house.lab.say(&other, "a STORE 1:2 +FLAGS.SILENT ($Work)\r\n");
    assert_eq!(
        house.lab.say(&deaf, "b STORE 1 +FLAGS.SILENT ($Work)\r\n"),
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)\r\n\
         * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] These are kept\r\n\
         * 1 FETCH (UID 1 MODSEQ (5))\r\n* 2 FETCH (UID 2 FLAGS ($Work) MODSEQ (5))\r\nb OK Done\r\n"
    );
}
