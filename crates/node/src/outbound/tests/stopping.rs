//! A server that stops in the middle: what another server may have is heard of, and the rest is not handed over.

use super::*;
use crate::stop::Leaving;

impl House {
    fn stop(&mut self) -> Leaving {
        self.ground.stopper.take().unwrap().stop()
    }

    fn connected(&mut self) -> Client {
        self.domain("there.test", "mx.there.test", "203.0.113.1");
        self.listen(ONE);
        self.submit_message(
            ALICE,
            &["x@there.test"],
            "",
            &"0123456789abcde\r\n".repeat(60_000),
        );
        let server = self.accept(ONE);
        assert_eq!(self.lab.say(&server, "220 there\r\n"), "EHLO mx.example.org\r\n");
        server
    }

    /// Nothing was sent, and at the next start the message is due.
    #[track_caller]
    fn assert_waits(&mut self) {
        self.lab.settle();
        assert_eq!((self.counters.sent(), self.counters.deferred()), (0, 0));
        assert_eq!(self.ground.mail.queue_len(), 1);
        self.check();
        let mail = self.ground.mail_of_another_process();
        at_once(mail.load_queue(false, BEGIN)).unwrap();
        assert!(mail.next_work(BEGIN, 1).is_some());
    }
}

#[test]
fn a_stopping_server_begins_with_no_message() {
    let mut house = House::new();
    let server = house.connected();
    let leaving = house.stop();
    assert_eq!(house.lab.say(&server, "250 there\r\n"), "QUIT\r\n");
    house.lab.say(&server, "221 bye\r\n");
    assert!(server.is_closed());
    assert!(leaving.wait().now_or_never().is_some());
    assert!(leaving.answers().now_or_never().is_some());
    house.assert_waits();
}

#[test]
fn a_stopping_server_breaks_off_before_the_end_of_a_message() {
    let mut house = House::new();
    let server = house.connected();
    for reply in ["250 there\r\n", "250 ok\r\n", "250 ok\r\n"] {
        house.lab.say(&server, reply);
    }
    server.send("354 go\r\n");
    house.lab.settle();
    // Most of it waits until the other server reads.
    assert!(
        server
            .take()
            .is_some_and(|piece| piece.starts_with(b"Received: "))
    );
    let leaving = house.stop();
    assert!(leaving.wait().now_or_never().is_some(), "nobody waits for this");
    assert!(leaving.answers().now_or_never().is_some());
    let rest = house.lab.hear(&server);
    assert!(
        !rest.is_empty() && !rest.ends_with("\r\n.\r\n"),
        "{} bytes",
        rest.len()
    );
    assert!(server.is_closed());
    house.assert_waits();
}

#[test]
fn a_stopping_server_hears_what_became_of_a_message_that_was_sent_whole() {
    let mut house = House::new();
    let server = house.connected();
    for reply in ["250 there\r\n", "250 ok\r\n", "250 ok\r\n"] {
        house.lab.say(&server, reply);
    }
    assert!(house.lab.say(&server, "354 go\r\n").ends_with("\r\n.\r\n"));
    let leaving = house.stop();
    house.lab.settle();
    assert!(
        leaving.wait().now_or_never().is_some(),
        "whoever works keeps it no longer"
    );
    assert!(leaving.answers().now_or_never().is_none());
    let [awaited] = &leaving.awaited()[..] else {
        panic!("{:?}", leaving.awaited())
    };
    assert!(awaited.ends_with(" to there.test"), "{awaited}");
    // However long the other server takes.
    house.lab.pass(Duration::from_secs(50));
    assert!(leaving.answers().now_or_never().is_none());
    assert_eq!(house.lab.say(&server, "250 queued\r\n"), "QUIT\r\n");
    assert!(leaving.answers().now_or_never().is_some());
    assert_eq!((house.counters.sent(), house.ground.mail.queue_len()), (1, 0));
    house.check();
}
