//! Messages that the next server cannot take as they are.

use super::*;

// Guards pitfall SMTP 7: what the other server cannot take at all comes back.
#[test]
fn a_message_that_the_other_server_cannot_take_comes_back() {
    for (n, (to, message, parameters, offers, status)) in [
        (
            "x@there.test",
            "Subject: \u{fc}\r\n\r\nx",
            " BODY=8BITMIME",
            "250 there\r\n",
            "5.6.3",
        ),
        (
            "j\u{f6}rg@there.test",
            "Subject: x\r\n\r\nx",
            " SMTPUTF8",
            "250-there\r\n250 8BITMIME\r\n",
            "5.6.7",
        ),
        (
            "x@there.test",
            "Subject: \u{fc}\r\n\r\nx",
            " BODY=8BITMIME SMTPUTF8",
            "250 there\r\n",
            "5.6.7",
        ),
        (
            "x@there.test",
            "Subject: x\r\n\r\nx",
            "",
            "250-there\r\n250 SIZE 20\r\n",
            "5.3.4",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut house = House::new();
        house.domain("there.test", "mx.there.test", "203.0.113.1");
        house.listen(ONE);
        house.submit_message(ALICE, &[to], parameters, message);
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        assert_eq!(house.lab.say(&server, offers), "QUIT\r\n", "{n}");
        let inbox = house.inbox();
        assert!(
            inbox[0].contains(&format!("Status: {status}\r\n")),
            "{}",
            inbox[0]
        );
        house.check();
    }
}

// RFC 6531 §3.2, RFC 5891 §4: a domain alone is written in ASCII for a server that knows nothing else.
#[test]
fn a_domain_beyond_ascii_goes_to_any_server_as_a_labels() {
    for (to, parameters) in [("x@B\u{dc}CHER.test", " SMTPUTF8"), ("x@xn--bcher-kva.test", "")] {
        let mut house = House::new();
        house.domain("xn--bcher-kva.test", "mx.there.test", "203.0.113.1");
        house.listen(ONE);
        house.submit(ALICE, &[to], parameters);
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        let envelope = house.lab.say(&server, "250-there\r\n250 PIPELINING\r\n");
        assert!(
            envelope.contains("RCPT TO:<x@xn--bcher-kva.test>\r\n"),
            "{envelope}"
        );
        assert!(!envelope.contains("SMTPUTF8"), "{envelope}");
        house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
        assert_eq!(house.counters.sent(), 1);
        house.check();
    }
}

// Guards pitfall SMTP 7: SMTPUTF8.
#[test]
fn an_address_beyond_ascii_goes_to_a_server_that_takes_it() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["J\u{d6}rg@there.test"], " SMTPUTF8");
    let server = house.accept(ONE);
    let envelope = house.greet(&server);
    assert!(envelope.contains(" SMTPUTF8"), "{envelope}");
    assert!(
        envelope.contains("RCPT TO:<J\u{d6}rg@there.test>\r\n"),
        "as it came: {envelope}"
    );
}

// Guards pitfall SMTP 7: 8-bit downgrades, and lines over 998 octets.
#[test]
fn a_message_is_converted_for_a_server_that_takes_less() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let message = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                   Content-Transfer-Encoding: 8bit\r\n\r\ngr\u{fc}n";
    let long = format!("Subject: x\r\n\r\n{}", "long ".repeat(300));
    // Not declared, it is seen all the same.
    for (message, parameters, offers, is_converted) in [
        (message, "", "250 there\r\n", true),
        (message, " BODY=8BITMIME", "250 there\r\n", true),
        (
            message,
            "",
            "250-there\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n",
            false,
        ),
        (
            &long,
            "",
            "250-there\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n",
            true,
        ),
        (
            "Subject: x\r\n\r\nASCII",
            " BODY=8BITMIME",
            "250 there\r\n",
            false,
        ),
    ] {
        house.submit_message(ALICE, &["x@there.test"], parameters, message);
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        let mail = house.lab.say(&server, offers);
        let declares = offers.contains("8BITMIME") && message.contains('\u{fc}');
        assert_eq!(mail.contains(" BODY=8BITMIME"), declares, "{mail}");
        house.lab.say(&server, "250 ok\r\n");
        house.lab.say(&server, "250 ok\r\n");
        let sent = house.lab.say(&server, "354 go\r\n");
        assert_eq!(
            sent.contains("Content-Transfer-Encoding: quoted-printable\r\n"),
            is_converted,
            "{sent}"
        );
        if let Some((_, size)) = mail.trim_end().split_once("SIZE=") {
            let size: usize = size.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(size, sent.len() - ".\r\n".len(), "{sent}");
        }
        if declares {
            assert!(sent.contains("gr\u{fc}n\r\n"), "{sent}");
        }
        assert!(sent.lines().all(|line| line.len() <= 998), "{sent}");
        house.lab.say(&server, "250 queued\r\n");
        house.lab.say(&server, "221 bye\r\n");
    }
    assert_eq!((house.counters.sent(), house.inbox().len()), (5, 0));
    house.check();
}

/// Signs with what it was shown, in hexadecimal.
struct Shows;

impl ringpost_mail::Signer for Shows {
    fn begin(&self, _: ringpost_base::UnixTime) -> Box<dyn ringpost_mail::Signing> {
        Box::new(Shown(String::new()))
    }
}

struct Shown(String);

impl ringpost_mail::Signing for Shown {
    fn write(&mut self, chunk: &[u8]) {
        self.0.extend(chunk.iter().map(|byte| format!("{byte:02x}")));
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, String> {
        let fields = self.0.as_bytes().chunks(60).map(|piece| {
            let piece = std::str::from_utf8(piece).unwrap();
            format!("X-Signed: {piece}\r\n")
        });
        let fields = fields.collect();
        Box::pin(async move { fields })
    }
}

// RFC 6376 §5.3: a signature is of what is sent, whatever the server takes.
#[test]
fn what_is_sent_is_what_was_signed() {
    let text = "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngr\u{fc}n";
    let long_line = format!("Subject: x\r\n\r\n{}", "q".repeat(1_200));
    let long_and_eight_bit = format!("Content-Type: text/html\r\n\r\n{}", "\u{fc}".repeat(600));
    let long_field = format!("Subject: {}\r\n\r\nx", "s".repeat(2_000));
    let eight_bit_header = format!("Subject: \u{fc}\r\n\r\n{}", "q".repeat(1_200));
    let frozen = format!(
        "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n{}\r\n--b--\r\n",
        "\u{fc}".repeat(600)
    );
    let tree = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; \
                boundary=c\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--c\r\n\r\nASCII\r\n--c--\r\n--b--\r\n";
    let eight_bit = "250-there\r\n250 8BITMIME\r\n";
    for (message, offers, is_seven_bit) in [
        ("Subject: x\r\n\r\nhello", eight_bit, true),
        (text, eight_bit, true),
        (text, "250 there\r\n", true),
        (&long_line, eight_bit, true),
        (&long_line, "250 there\r\n", true),
        (&long_and_eight_bit, eight_bit, true),
        (&long_field, eight_bit, true),
        (&eight_bit_header, eight_bit, false),
        (&frozen, eight_bit, false),
        (tree, "250 there\r\n", true),
    ] {
        let mut house = House::new();
        house.ground.mail.set_signer(Arc::new(Shows));
        house.domain("there.test", "mx.there.test", "203.0.113.1");
        house.listen(ONE);
        house.submit_message(ALICE, &["x@there.test"], " BODY=8BITMIME", message);
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        house.lab.say(&server, offers);
        house.lab.say(&server, "250 ok\r\n");
        house.lab.say(&server, "250 ok\r\n");
        let sent = house.lab.say(&server, "354 go\r\n");
        let sent = sent.strip_suffix(".\r\n").unwrap();
        let (mut signed, mut rest) = (String::new(), sent);
        while let Some((shown, behind)) = rest
            .strip_prefix("X-Signed: ")
            .and_then(|rest| rest.split_once("\r\n"))
        {
            signed += shown;
            rest = behind;
        }
        let shown: String = rest.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!signed.is_empty() && signed == shown, "{sent}");
        assert_eq!(sent.is_ascii(), is_seven_bit, "{sent}");
        house.check();
    }
}
