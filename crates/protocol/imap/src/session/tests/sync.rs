//! CONDSTORE and QRESYNC (RFC 7162). The fake's MODSEQs count from 1, one for each delivery and change.

use super::*;

/// INBOX with three messages of MODSEQ 1 to 3.
fn three() -> Talk {
    Talk::with_messages(&[("", "a: 1\n\n1\n"), ("", "a: 2\n\n2\n"), ("", "a: 3\n\n3\n")])
}

/// The same with QRESYNC enabled.
fn resyncing() -> Talk {
    let mut talk = three();
    assert_eq!(
        talk.say("e ENABLE QRESYNC X-UNKNOWN\r\n"),
        "* OK [HIGHESTMODSEQ 3] The last change that you know of\r\n* ENABLED CONDSTORE QRESYNC\r\ne OK Done\r\n"
    );
    talk
}

fn changed(uid: Uid, flags: &str, modseq: u64) -> Changes {
    Changes {
        flags: vec![MessageState {
            uid,
            flags: flags_of(flags),
            modseq,
            recent: false,
        }],
        highest_modseq: modseq,
        ..Changes::default()
    }
}

fn expunged(uids: &[Uid], modseq: u64) -> Changes {
    Changes {
        expunged: uids.to_vec(),
        highest_modseq: modseq,
        ..Changes::default()
    }
}

#[test]
fn select_tells_the_highest_modseq_and_that_the_mailbox_before_is_closed() {
    let mut talk = three();
    talk.mail.create("Other");
    let heard = talk.say("a SELECT Other\r\n");
    assert!(heard.starts_with("* OK [CLOSED] ") && heard.contains("* OK [HIGHESTMODSEQ 3] "));
    assert!(!talk.say("b CLOSE\r\nc SELECT INBOX\r\n").contains("[CLOSED]"));
    // Each mailbox has one, also one in which nothing happened yet.
    let mut talk = Talk::logged_in();
    let heard = talk.say("a EXAMINE INBOX (CONDSTORE)\r\n");
    assert!(heard.contains("* OK [HIGHESTMODSEQ 1] ") && !heard.contains("NOMODSEQ"));
    assert!(
        talk.say("b STATUS INBOX (MESSAGES HIGHESTMODSEQ)\r\n")
            .contains("(MESSAGES 0 HIGHESTMODSEQ 1)")
    );
}

#[test]
fn the_first_command_that_speaks_of_modseqs_is_told_where_the_client_stands() {
    let note = "* OK [HIGHESTMODSEQ 3] The last change that you know of\r\n";
    for command in [
        "FETCH 1 (MODSEQ)",
        "FETCH 1 FLAGS (CHANGEDSINCE 3)",
        "STORE 1 (UNCHANGEDSINCE 3) +FLAGS (\\Seen)",
        "SEARCH MODSEQ 3",
        "SEARCH OR ALL NOT MODSEQ 3",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "ENABLE CONDSTORE",
    ] {
        let mut talk = three();
        let heard = talk.say(&format!("a {command}\r\n"));
        assert!(heard.starts_with(note), "{command}: {heard}");
        assert!(!talk.say(&format!("b {command}\r\n")).contains(note));
        // From now on MODSEQ is told with every change.
        talk.changed(changed(2, "\\Seen", 9));
        assert_eq!(
            talk.say("c NOOP\r\n"),
            "* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent) MODSEQ (9))\r\nc OK Done\r\n"
        );
    }
    let mut talk = three();
    talk.changed(changed(2, "\\Seen", 9));
    assert!(!talk.say("c NOOP\r\n").contains("MODSEQ"));
}

#[test]
fn fetch_tells_what_changed_since() {
    // Guards pitfall IMAP 5: CHANGEDSINCE.
    let mut talk = three();
    talk.say("e ENABLE CONDSTORE\r\n");
    assert_eq!(
        talk.say("a FETCH 1:* (UID) (CHANGEDSINCE 1)\r\n"),
        "* 2 FETCH (UID 2 MODSEQ (2))\r\n* 3 FETCH (UID 3 MODSEQ (3))\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a UID FETCH 1:2 FLAGS (CHANGEDSINCE 1)\r\n"),
        "* 2 FETCH (UID 2 FLAGS (\\Recent) MODSEQ (2))\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a FETCH 1:* (FLAGS) (CHANGEDSINCE 3)\r\n"),
        "a OK Done\r\n"
    );
    // Who fetches flags without MODSEQ is told no MODSEQ, unless it is news.
    assert_eq!(
        talk.say("a FETCH 1 FLAGS\r\n"),
        "* 1 FETCH (FLAGS (\\Recent))\r\na OK Done\r\n"
    );
    talk.changed(changed(1, "\\Seen", 4));
    assert_eq!(
        talk.say("a FETCH 1 FLAGS\r\n"),
        "* 1 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (4))\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a NOOP\r\n"), "a OK Done\r\n");
}

#[test]
fn a_fetch_that_marks_as_seen_tells_uid_and_modseq() {
    let mut talk = three();
    talk.say("e ENABLE CONDSTORE\r\n");
    let heard = talk.say("a FETCH 1 BODY[]\r\n");
    assert!(
        heard.contains(" FLAGS (\\Seen \\Recent) UID 1 MODSEQ (4))\r\n"),
        "{heard}"
    );
}

#[test]
fn a_conditional_store_leaves_what_has_changed() {
    // Guards pitfall IMAP 5: UNCHANGEDSINCE.
    let mut talk = three();
    talk.say("e ENABLE CONDSTORE\r\n");
    assert_eq!(
        talk.say("a STORE 1:3 (UNCHANGEDSINCE 2) +FLAGS.SILENT (\\Deleted)\r\n"),
        "* 1 FETCH (UID 1 MODSEQ (4))\r\n* 2 FETCH (UID 2 MODSEQ (5))\r\n\
         * 3 FETCH (UID 3 FLAGS (\\Recent) MODSEQ (3))\r\na OK [MODIFIED 3] Done, but some messages have changed\r\n"
    );
    // With UID, UIDs are told; and 0 is always too old.
    talk.mail.expunge("INBOX", |m| m.state.uid == 1);
    talk.changed(expunged(&[1], 6));
    talk.say("a NOOP\r\n");
    let heard = talk.say("a UID STORE 2:3 (UNCHANGEDSINCE 0) FLAGS (\\Seen)\r\n");
    assert!(
        heard.ends_with("a OK [MODIFIED 2:3] Done, but some messages have changed\r\n"),
        "{heard}"
    );
    let heard = talk.say("a STORE 1:2 (UNCHANGEDSINCE 0) FLAGS (\\Seen)\r\n");
    assert!(
        heard.ends_with("a OK [MODIFIED 1:2] Done, but some messages have changed\r\n"),
        "{heard}"
    );
}

#[test]
fn every_store_tells_the_modseq_to_who_wants_it() {
    // Guards pitfall IMAP 5: an own flag change raises MODSEQ.
    let mut talk = resyncing();
    assert_eq!(
        talk.say("a STORE 2 +FLAGS.SILENT (\\Seen)\r\n"),
        "* 2 FETCH (UID 2 MODSEQ (4))\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a STORE 2 -FLAGS (\\Seen)\r\n"),
        "* 2 FETCH (UID 2 FLAGS (\\Recent) MODSEQ (5))\r\na OK Done\r\n"
    );
}

#[test]
fn a_change_back_to_the_flags_that_were_is_still_told_with_its_modseq() {
    // Guards pitfall IMAP 5: a foreign flag change raises MODSEQ.
    let mut talk = resyncing();
    talk.changed(changed(2, "", 5));
    assert_eq!(
        talk.say("a NOOP\r\n"),
        "* 2 FETCH (UID 2 FLAGS (\\Recent) MODSEQ (5))\r\na OK Done\r\n"
    );
}

#[test]
fn search_by_modseq_tells_the_highest_of_what_it_found() {
    let mut talk = three();
    talk.say("e ENABLE CONDSTORE\r\n");
    assert_eq!(
        talk.say("a SEARCH MODSEQ 2\r\n"),
        "* SEARCH 2 3 (MODSEQ 3)\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a UID SEARCH NOT MODSEQ \"/flags/\\\\draft\" all 3\r\n"),
        "* SEARCH 1 2 (MODSEQ 2)\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a SEARCH MODSEQ 4\r\n"), "* SEARCH\r\na OK Done\r\n");
    assert_eq!(talk.say("a SEARCH ALL\r\n"), "* SEARCH 1 2 3\r\na OK Done\r\n");
    assert_eq!(
        talk.say("a UID SORT (ARRIVAL) UTF-8 MODSEQ 2\r\n"),
        "* SORT 2 3 (MODSEQ 3)\r\na OK Done\r\n"
    );
    for bad in [
        "MODSEQ",
        "MODSEQ x",
        "MODSEQ 9223372036854775808",
        "MODSEQ \"/flags/x\" 3",
    ] {
        assert!(
            talk.say(&format!("a SEARCH {bad}\r\n")).starts_with("a BAD"),
            "{bad}"
        );
    }
}

#[test]
fn messages_vanish_by_uid_once_qresync_is_enabled() {
    // Guards pitfall IMAP 5: VANISHED.
    let mut talk = resyncing();
    talk.say("a STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\n");
    let gone = |talk: &mut Talk| talk.changed(expunged(&[], 6));
    gone(&mut talk);
    talk.hold();
    talk.say("b EXPUNGE\r\n");
    gone(&mut talk);
    assert_eq!(
        talk.release(),
        "* VANISHED 1,3\r\nb OK [HIGHESTMODSEQ 6] Done\r\n"
    );
    // An EXPUNGE that removes nothing tells no MODSEQ.
    assert_eq!(talk.say("b EXPUNGE\r\n"), "b OK Done\r\n");
    talk.mail.create("Other");
    assert!(
        talk.say("b MOVE 1 Other\r\n")
            .contains("* VANISHED 2\r\nb OK [HIGHESTMODSEQ 6] Done\r\n")
    );
    // What came and went unseen is not told.
    talk.changed(arrival(9));
    talk.changed(expunged(&[9], 9));
    assert_eq!(talk.say("a NOOP\r\n"), "a OK Done\r\n");
}

#[test]
fn close_tells_no_modseq() {
    //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.8
    let mut talk = resyncing();
    talk.say("a STORE 1 +FLAGS.SILENT (\\Deleted)\r\n");
    assert_eq!(talk.say("b CLOSE\r\n"), "b OK Done\r\n");
}

#[test]
fn a_client_that_may_not_hear_of_an_expunge_is_held_below_its_modseq() {
    // RFC 7162 §6: otherwise it would take the MODSEQ of its own STORE for all that it has seen.
    let mut talk = resyncing();
    talk.changed(expunged(&[3], 4));
    talk.mail.modseq = 4;
    assert_eq!(
        talk.say("a STORE 1 +FLAGS.SILENT (\\Seen)\r\n"),
        "* 1 FETCH (UID 1 MODSEQ (5))\r\n* OK [HIGHESTMODSEQ 3] Messages are gone; ask with NOOP\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("b NOOP\r\n"), "* VANISHED 3\r\nb OK Done\r\n");
    assert_eq!(talk.say("c SEARCH 1\r\n"), "* SEARCH 1\r\nc OK Done\r\n");
}

#[test]
fn vanished_is_not_told_in_a_search_by_sequence_number() {
    // Guards pitfall IMAP 2, for UID SEARCH.
    let mut talk = resyncing();
    talk.changed(expunged(&[1], 4));
    let heard = talk.say("a UID SEARCH 1:2\r\n");
    assert!(
        heard.starts_with("* SEARCH 1 2\r\n") && !heard.contains("VANISHED"),
        "{heard}"
    );
    assert_eq!(
        talk.say("a UID SEARCH UID 2\r\n"),
        "* SEARCH 2\r\n* VANISHED 1\r\na OK Done\r\n"
    );
}

/// QRESYNC enabled, nothing selected; INBOX had messages 1 to 5 of MODSEQ 1 to 5, then 2 and 5 were expunged (6), and 4 was
/// marked (7).
fn away() -> Talk {
    let mut talk = Talk::logged_in();
    for n in 1..=5 {
        talk.mail
            .deliver("INBOX", Flags::new(), format!("a: {n}\r\n\r\n").as_bytes());
    }
    talk.mail.expunge("INBOX", |m| matches!(m.state.uid, 2 | 5));
    talk.mail
        .change_flags("INBOX", 4, &crate::FlagChange::Add(flags_of("\\Flagged")));
    assert_eq!(
        talk.say("e ENABLE CONDSTORE QRESYNC\r\n"),
        "* ENABLED CONDSTORE QRESYNC\r\ne OK Done\r\n"
    );
    talk
}

/// What SELECT tells after its usual lines.
fn resynced(talk: &mut Talk, parameters: &str) -> String {
    let heard = talk.say(&format!("a SELECT INBOX (QRESYNC ({parameters}))\r\n"));
    let usual = heard.find("The last change\r\n").expect("HIGHESTMODSEQ is told") + 17;
    heard[usual..].to_owned()
}

#[test]
fn a_client_that_comes_back_is_told_what_it_missed() {
    // Guards pitfall IMAP 5: VANISHED and changes after SELECT.
    const DONE: &str = "a OK [READ-WRITE] Done\r\n";
    let flagged = "* 3 FETCH (UID 4 FLAGS (\\Flagged \\Recent) MODSEQ (7))\r\n";
    assert_eq!(
        resynced(&mut away(), "7 5"),
        format!("* VANISHED (EARLIER) 2,5\r\n{flagged}{DONE}")
    );
    assert_eq!(resynced(&mut away(), "7 6"), format!("{flagged}{DONE}"));
    assert_eq!(resynced(&mut away(), "7 7"), DONE);
    // Of the UIDs that it names only.
    assert_eq!(
        resynced(&mut away(), "7 5 1:3"),
        format!("* VANISHED (EARLIER) 2\r\n{DONE}")
    );
    // Of another mailbox's UIDVALIDITY nothing is told.
    assert_eq!(resynced(&mut away(), "8 5"), DONE);
    // A MODSEQ from the future brings nothing.
    assert_eq!(resynced(&mut away(), "7 9223372036854775807"), DONE);
}

#[test]
fn when_the_log_does_not_reach_back_everything_that_is_not_there_may_have_gone() {
    let mut talk = away();
    talk.mail.log_trimmed = true;
    let heard = resynced(&mut talk, "7 5 1:5,900");
    assert!(heard.starts_with("* VANISHED (EARLIER) 2,5\r\n"), "{heard}");
    // Where sequence numbers agree, the client knows of what is gone before.
    let heard = resynced(&mut talk, "7 5 1:5 (1:2 1,3)");
    assert!(heard.starts_with("* VANISHED (EARLIER) 5\r\n"), "{heard}");
    let heard = resynced(&mut talk, "7 5 (1,3 1,3)");
    assert!(heard.starts_with("* VANISHED (EARLIER) 2,5\r\n"), "{heard}");
    let heard = talk.say("b UID FETCH 1:* (UID) (VANISHED CHANGEDSINCE 6)\r\n");
    assert_eq!(
        heard,
        "* VANISHED (EARLIER) 2,5\r\n* 3 FETCH (UID 4 MODSEQ (7))\r\nb OK Done\r\n"
    );
}

#[test]
fn uid_fetch_tells_what_vanished_before_what_changed() {
    let mut talk = away();
    talk.say("a SELECT INBOX\r\n");
    assert_eq!(
        talk.say("b UID FETCH 2:* (FLAGS) (CHANGEDSINCE 5 VANISHED)\r\n"),
        "* VANISHED (EARLIER) 2,5\r\n* 3 FETCH (UID 4 FLAGS (\\Flagged \\Recent) MODSEQ (7))\r\nb OK Done\r\n"
    );
    // What the session still shows is told as what vanishes now.
    talk.mail.expunge("INBOX", |m| m.state.uid == 4);
    talk.changed(expunged(&[4], 8));
    assert_eq!(
        talk.say("b UID FETCH 1:* (FLAGS) (CHANGEDSINCE 7 VANISHED)\r\n"),
        "* VANISHED 4\r\nb OK Done\r\n"
    );
}

#[test]
fn qresync_must_be_enabled_and_well_formed() {
    let mut talk = three();
    assert!(
        talk.say("a SELECT INBOX (QRESYNC (7 3))\r\n")
            .starts_with("a BAD")
    );
    assert!(talk.session.selected().is_some(), "the mailbox before stays");
    assert!(
        talk.say("a UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)\r\n")
            .starts_with("* OK [HIGH")
    );
    let mut talk = resyncing();
    for bad in [
        "SELECT INBOX (QRESYNC)",
        "SELECT INBOX (QRESYNC (7))",
        "SELECT INBOX (QRESYNC (0 1))",
        "SELECT INBOX (QRESYNC (7 1 1:*))",
        "SELECT INBOX (QRESYNC (7 1 1 (1)))",
        "SELECT INBOX (QRESYNC (7 1 (1 1) 1))",
        "SELECT INBOX (QRESYNC (7 1) QRESYNC (7 1))",
        "SELECT INBOX (X)",
        "SELECT INBOX ()",
        "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
        "UID FETCH 1 FLAGS (VANISHED)",
        "UID FETCH 1 FLAGS (CHANGEDSINCE)",
        "STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 2) FLAGS ()",
        "STORE 1 (X 1) FLAGS ()",
    ] {
        assert!(
            talk.say(&format!("a {bad}\r\na NOOP\r\n")).starts_with("a BAD"),
            "{bad}"
        );
    }
}

#[test]
fn a_mailbox_that_cannot_be_resynchronized_is_not_selected() {
    let mut talk = away();
    talk.hold();
    talk.say("a SELECT INBOX (QRESYNC (7 5))\r\n");
    let select = talk.held.as_mut().and_then(Vec::pop).unwrap();
    let opened = talk.mail.answer(select.ask);
    talk.session.handle_answer(talk.now, select.id, opened);
    assert!(talk.hear().contains("EXISTS"));
    talk.mail.refuse = Some(Refusal::Unavailable);
    assert!(talk.release().starts_with("a NO [UNAVAILABLE]"));
    assert_eq!(talk.session.selected(), None);
}
