use super::*;

fn three() -> Talk {
    Talk::with_messages(&[("", "a: 1\n\n1\n"), ("", "a: 2\n\n2\n"), ("", "a: 3\n\n3\n")])
}

fn expunged(uids: &[Uid]) -> Changes {
    Changes {
        expunged: uids.to_vec(),
        ..Changes::default()
    }
}

#[test]
fn expunge_is_not_told_during_fetch_store_and_search() {
    // Guards pitfall IMAP 2.
    let mut talk = three();
    talk.mail.expunge("INBOX", |m| m.state.uid == 1);
    assert_eq!(talk.changed(expunged(&[1])), "");
    let text = "a: 1\r\n\r\n1\r\n";
    // It stays readable under its number until its end is told.
    assert_eq!(
        talk.say("a FETCH 1 BODY.PEEK[]\r\n"),
        format!("* 1 FETCH (BODY[] {{11}}\r\n{text})\r\na OK Done\r\n")
    );
    assert_eq!(talk.say("a STORE 3 +FLAGS.SILENT (\\Seen)\r\n"), "a OK Done\r\n");
    assert_eq!(talk.say("a SEARCH ALL\r\n"), "* SEARCH 1 2 3\r\na OK Done\r\n");
    assert_eq!(
        talk.say("a UID SEARCH UID 3\r\n"),
        "* SEARCH 3\r\n* 1 EXPUNGE\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a FETCH 1 UID\r\n"),
        "* 1 FETCH (UID 2)\r\na OK Done\r\n"
    );
}

#[test]
fn new_messages_are_told_at_any_command_with_the_count_that_the_client_sees() {
    // Guards pitfall IMAP 3.
    let mut talk = three();
    talk.mail.expunge("INBOX", |m| m.state.uid == 2);
    talk.changed(expunged(&[2]));
    talk.changed(arrival(4));
    assert_eq!(
        talk.say("a FETCH 1 UID\r\n"),
        "* 1 FETCH (UID 1)\r\n* 4 EXISTS\r\n* 4 RECENT\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a NOOP\r\n"), "* 2 EXPUNGE\r\na OK Done\r\n");
    assert_eq!(
        talk.say("a FETCH 3 UID\r\n"),
        "* 3 FETCH (UID 4)\r\na OK Done\r\n"
    );
}

#[test]
fn nothing_is_told_while_no_command_is_given() {
    let mut talk = three();
    let mut changes = arrival(4);
    changes.expunged = vec![1];
    assert_eq!(talk.changed(changes), "");
    assert_eq!(
        talk.say("a NOOP\r\n"),
        "* 1 EXPUNGE\r\n* 3 EXISTS\r\n* 3 RECENT\r\na OK Done\r\n"
    );
}

#[test]
fn flags_changed_by_another_session_are_told_once() {
    let mut talk = three();
    let state = MessageState {
        uid: 2,
        flags: flags_of("\\Seen new"),
        modseq: 50,
        recent: false,
    };
    let changes = Changes {
        flags: vec![state],
        ..Changes::default()
    };
    assert_eq!(talk.changed(changes.clone()), "");
    let heard = talk.say("a NOOP\r\n");
    assert!(
        heard.starts_with("* FLAGS (") && heard.contains("* 2 FETCH (UID 2 FLAGS (\\Seen new \\Recent))\r\n")
    );
    talk.changed(changes);
    assert_eq!(talk.say("a NOOP\r\n"), "a OK Done\r\n");
}

#[test]
fn what_fetch_tells_is_not_told_again() {
    let mut talk = three();
    let state = MessageState {
        uid: 2,
        flags: flags_of("\\Seen"),
        modseq: 50,
        recent: false,
    };
    talk.changed(Changes {
        flags: vec![state],
        ..Changes::default()
    });
    assert_eq!(
        talk.say("a FETCH 2 FLAGS\r\n"),
        "* 2 FETCH (FLAGS (\\Seen \\Recent))\r\na OK Done\r\n"
    );
}

#[test]
fn idle_tells_at_once_and_done_may_come_in_pieces() {
    // Guards pitfall IMAP 7: DONE split, and beside a push.
    let mut talk = three();
    assert_eq!(talk.say("a IDLE\r\n"), "+ Idling\r\n");
    assert!(talk.session.is_idling());
    let mut changes = arrival(4);
    changes.expunged = vec![3];
    assert_eq!(
        talk.changed(changes),
        "* 3 EXPUNGE\r\n* 3 EXISTS\r\n* 3 RECENT\r\n"
    );
    assert_eq!(talk.say("DO"), "");
    assert_eq!(talk.changed(arrival(5)), "* 4 EXISTS\r\n* 4 RECENT\r\n");
    assert_eq!(talk.say("ne\r"), "");
    assert_eq!(talk.say("\nb NOOP\r\n"), "a OK Done\r\nb OK Done\r\n");
}

#[test]
fn idle_begins_with_what_is_new() {
    let mut talk = three();
    talk.hold();
    talk.say("a IDLE\r\n");
    talk.changed(arrival(4));
    assert_eq!(talk.release(), "+ Idling\r\n* 4 EXISTS\r\n* 4 RECENT\r\n");
}

#[test]
fn an_idling_client_is_told_every_two_minutes_that_the_server_is_still_there() {
    // Guards pitfall IMAP 7: a still-here line every two minutes; 29 minutes pass without a farewell.
    let mut talk = three();
    talk.say("a IDLE\r\n");
    for _ in 0..14 {
        assert_eq!(talk.wait(Duration::from_secs(120)), "* OK Still here\r\n");
    }
    talk.wait(Duration::from_secs(60));
    assert_eq!(talk.say("DONE\r\n"), "a OK Done\r\n");
    assert_eq!(talk.wait(Duration::from_secs(240)), "");
}

#[test]
fn idle_without_a_mailbox_and_with_something_else_than_done() {
    let mut talk = Talk::logged_in();
    assert_eq!(talk.say("a IDLE\r\nDONE\r\n"), "+ Idling\r\na OK Done\r\n");
    assert!(
        talk.say("b IDLE\r\nb NOOP\r\nc NOOP\r\n")
            .starts_with("+ Idling\r\nb BAD DONE ends IDLE\r\nc OK")
    );
}

#[test]
fn changes_of_a_mailbox_that_was_left_are_dropped() {
    // Guards pitfall IMAP 3: SELECT drops queued changes.
    let mut talk = three();
    talk.mail.create("Other");
    let old = talk.session.selected().unwrap();
    talk.say("a SELECT Other\r\n");
    talk.session.handle_changes(talk.now, old, arrival(4));
    assert_eq!(talk.say("a NOOP\r\n"), "a OK Done\r\n");
}

#[test]
fn a_mailbox_that_is_deleted_ends_its_sessions() {
    let mut talk = three();
    let heard = talk.changed(Changes {
        mailbox_gone: true,
        ..Changes::default()
    });
    assert!(heard.starts_with("* BYE") && talk.closed);
    // In the middle of a command it is said at its end.
    let mut talk = three();
    talk.hold();
    talk.say("a FETCH 1 RFC822.SIZE\r\n");
    assert_eq!(
        talk.changed(Changes {
            mailbox_gone: true,
            ..Changes::default()
        }),
        ""
    );
    let heard = talk.release();
    assert!(heard.contains("a OK Done\r\n* BYE ") && talk.closed);
}

fn gone() -> Changes {
    Changes {
        mailbox_gone: true,
        ..Changes::default()
    }
}

/// A client that looks at `Mine` and deletes `named`; whether it is heard that `Mine` is gone before that is answered, or
/// after. Gives what it is told until it asks for more, and whether that ends the session.
fn deleting(named: &str, is_heard_first: bool) -> (String, bool) {
    let mut talk = Talk::logged_in();
    talk.mail.create("Mine");
    talk.mail.create("Other");
    talk.say("a SELECT Mine\r\n");
    let mine = talk.session.selected().unwrap();
    talk.hold();
    talk.say(&format!("a DELETE {named}\r\n"));
    if is_heard_first {
        talk.session.handle_changes(talk.now, mine, gone());
    }
    let mut heard = talk.release();
    if !is_heard_first {
        talk.session.handle_changes(talk.now, mine, gone());
        heard += &talk.hear();
    }
    (heard, talk.closed)
}

#[test]
fn whoever_deletes_the_mailbox_it_looks_at_leaves_it_whenever_its_end_is_heard_of() {
    for is_heard_first in [true, false] {
        assert_eq!(deleting("Mine", is_heard_first), ("a OK Done\r\n".into(), false));
    }
}

#[test]
fn whoever_deletes_another_mailbox_is_told_goodbye_when_the_selected_one_is_deleted_meanwhile() {
    const BYE: &str = "* BYE The selected mailbox was deleted\r\n";
    for is_heard_first in [true, false] {
        let (heard, is_closed) = deleting("Other", is_heard_first);
        assert_eq!(heard, format!("a OK Done\r\n{BYE}"));
        assert!(is_closed);
        let (heard, is_closed) = deleting("none", is_heard_first);
        assert!(heard.starts_with("a NO ") && heard.ends_with(BYE), "{heard}");
        assert!(is_closed);
    }
}

#[test]
fn a_mailbox_that_was_deleted_is_left_before_anything_is_heard_of_it() {
    let mut talk = Talk::logged_in();
    talk.mail.create("Mine");
    talk.say("a SELECT Mine\r\n");
    assert_eq!(
        talk.say("a DELETE Mine\r\nb CHECK\r\n"),
        "a OK Done\r\nb BAD Select a mailbox first\r\n"
    );
}

#[test]
fn a_big_change_is_told_in_pieces() {
    let texts: Vec<(&str, &str)> = (0..1300).map(|_| ("", "a: b\n\nc\n")).collect();
    let mut talk = Talk::with_messages(&texts);
    let uids: Vec<Uid> = (1..=1300).filter(|u| u % 13 != 0).collect();
    talk.changed(expunged(&uids));
    let heard = talk.say("a NOOP\r\n");
    let mut client: Vec<Uid> = (1..=1300).collect();
    for line in heard.lines() {
        if let Some(number) = line.strip_prefix("* ").and_then(|l| l.strip_suffix(" EXPUNGE")) {
            client.remove(number.parse::<usize>().unwrap() - 1);
        }
    }
    assert_eq!(client, (1..=1300).filter(|u| u % 13 == 0).collect::<Vec<_>>());
}
