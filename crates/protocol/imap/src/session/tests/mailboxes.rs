use super::*;

fn tree() -> Talk {
    let mut talk = Talk::logged_in();
    for name in [
        "Sent",
        "Work",
        "Work/2024",
        "Work/2024/May",
        "Entwürfe",
        "A&B",
        "foo bar",
    ] {
        talk.mail.create(name);
    }
    talk.mail.special.insert("Sent".into(), SpecialUse::Sent);
    talk
}

/// The names in the answers, as they are written.
fn names(heard: &str) -> Vec<&str> {
    let lines = heard.lines().filter(|l| l.starts_with("* L"));
    lines.map(|l| l.split_once("\"/\" ").unwrap().1).collect()
}

#[test]
fn list_matches_patterns_and_tells_children_and_uses() {
    let mut talk = tree();
    let heard = talk.say("a LIST \"\" \"*\"\r\n");
    assert_eq!(
        names(&heard),
        [
            "A&-B",
            "Entw&APw-rfe",
            "INBOX",
            "Sent",
            "Work",
            "Work/2024",
            "Work/2024/May",
            "\"foo bar\""
        ]
    );
    assert!(heard.contains("* LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\n"));
    assert!(heard.contains("* LIST (\\HasChildren) \"/\" Work/2024\r\n"));
    assert_eq!(names(&talk.say("a LIST Work/ %\r\n")), ["Work/2024"]);
    assert_eq!(names(&talk.say("a LIST \"\" inbox\r\n")), ["INBOX"]);
    assert_eq!(names(&talk.say("a LIST \"\" Entw&APw-*\r\n")), ["Entw&APw-rfe"]);
    assert_eq!(names(&talk.say("a LIST \"\" \"\"\r\n")), ["\"\""]);
    assert_eq!(talk.say("a LIST \"\" nothing\r\n"), "a OK Done\r\n");
    assert_eq!(talk.say("a LIST \"\" wrong&utf7\r\n"), "a OK Done\r\n");
}

#[test]
fn list_selects_and_returns_as_its_extensions_say() {
    let mut talk = tree();
    talk.say("a SUBSCRIBE Work/2024\r\na SUBSCRIBE Gone\r\n");
    assert_eq!(names(&talk.say("a LIST (SPECIAL-USE) \"\" *\r\n")), ["Sent"]);
    let heard = talk.say("a LIST (SUBSCRIBED) \"\" *\r\n");
    assert!(heard.contains("* LIST (\\NonExistent \\HasNoChildren \\Subscribed) \"/\" Gone\r\n"));
    assert_eq!(names(&heard), ["Gone", "Work/2024"]);
    let heard = talk.say("a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %\r\n");
    assert!(heard.contains("\"/\" Work (\"CHILDINFO\" (\"SUBSCRIBED\"))"));
    // What is above is shown for what all options together select.
    let both = "a LIST (SPECIAL-USE SUBSCRIBED RECURSIVEMATCH) \"\" %\r\n";
    assert_eq!(names(&talk.say(both)), [""; 0]);
    talk.mail.special.insert("Work/2024".into(), SpecialUse::Archive);
    let heard = talk.say(both);
    assert!(
        heard.contains("\"/\" Work (\"CHILDINFO\" (\"SUBSCRIBED\" \"SPECIAL-USE\"))"),
        "{heard}"
    );
    talk.mail.special.remove("Work/2024");
    assert_eq!(talk.say("a LIST \"\" (\"\")\r\n"), "a OK Done\r\n");
    let heard = talk.say("a LIST \"\" (Sent Work/%) RETURN (CHILDREN SUBSCRIBED SPECIAL-USE)\r\n");
    assert_eq!(names(&heard), ["Sent", "Work/2024"]);
    assert!(heard.contains("(\\HasChildren \\Subscribed) \"/\" Work/2024"));
    for bad in [
        "(RECURSIVEMATCH) \"\" *",
        "(X) \"\" *",
        "\"\" * RETURN (X)",
        "\"\" ()",
        "\"\"",
    ] {
        assert!(
            talk.say(&format!("b LIST {bad}\r\n")).starts_with("b BAD"),
            "{bad}"
        );
    }
}

#[test]
fn list_tells_the_status_of_each_mailbox_behind_its_line() {
    let mut talk = tree();
    talk.mail.create("deep/down");
    talk.mail.deliver("Sent", Flags::new(), b"x");
    let heard = talk.say("a LIST \"\" (Sent d% INBOX) RETURN (STATUS (MESSAGES UNSEEN) SUBSCRIBED)\r\n");
    assert_eq!(
        heard,
        "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* STATUS INBOX (MESSAGES 0 UNSEEN 0)\r\n\
         * LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\n* STATUS Sent (MESSAGES 1 UNSEEN 1)\r\n\
         * LIST (\\NonExistent \\HasChildren) \"/\" deep\r\na OK Done\r\n"
    );
    // One that goes meanwhile has no status any more.
    talk.hold();
    talk.say("a LIST \"\" (Sent) RETURN (STATUS (MESSAGES))\r\n");
    let (list, question) = (talk.release(), "a OK Done\r\n");
    assert!(list.ends_with(question), "{list}");
    talk.mail.refuse = Some(Refusal::NoSuchMailbox);
    let heard = talk.say("a LIST \"\" (Sent) RETURN (STATUS (MESSAGES))\r\n");
    assert_eq!(
        heard,
        "* LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\na OK Done\r\n"
    );
    talk.mail.refuse = None;
    assert!(
        talk.say("a LIST \"\" * RETURN (STATUS ())\r\n")
            .starts_with("a BAD")
    );
}

#[test]
fn lsub_shows_a_level_for_the_sake_of_what_is_below_it() {
    // Guards pitfall IMAP 10: subscriptions to what is gone, and LSUB's `%`.
    let mut talk = tree();
    talk.say("a SUBSCRIBE Work/2024\r\na SUBSCRIBE Gone\r\na SUBSCRIBE inbox\r\n");
    let heard = talk.say("a LSUB \"\" *\r\n");
    assert_eq!(names(&heard), ["Gone", "INBOX", "Work/2024"]);
    assert!(heard.contains("* LSUB (\\Noselect) \"/\" Gone\r\n"));
    let heard = talk.say("a LSUB \"\" %\r\n");
    assert_eq!(names(&heard), ["Gone", "INBOX", "Work"]);
    assert!(heard.contains("* LSUB (\\Noselect) \"/\" Work\r\n"));
    talk.say("a UNSUBSCRIBE Gone\r\n");
    assert_eq!(names(&talk.say("a LSUB \"\" G*\r\n")), [""; 0]);
}

#[test]
fn a_level_without_a_mailbox_is_listed_as_not_selectable() {
    let mut talk = Talk::logged_in();
    talk.mail.create("a/b");
    let heard = talk.say("a LIST \"\" %\r\n");
    assert!(heard.contains("* LIST (\\Noselect \\HasChildren) \"/\" a\r\n"));
}

#[test]
fn names_are_decoded_and_refused_in_a_second_spelling() {
    // Guards pitfall IMAP 10: modified UTF-7 and UTF-8.
    let mut talk = tree();
    assert!(talk.say("a CREATE Gr&APwA3w-e\r\n").starts_with("a OK"));
    assert!(talk.mail.boxes.contains_key("Grüße"));
    assert!(talk.say("a CREATE \"x&y\"\r\n").starts_with("a NO [CANNOT]"));
    assert!(
        talk.say("a CREATE {3+}\r\nx\u{fc}\r\n")
            .starts_with("a NO [CANNOT]")
    );
    assert!(talk.say("a CREATE a//b\r\n").starts_with("a NO [CANNOT]"));
    assert!(talk.say("a CREATE new/\r\n").starts_with("a OK"));
    assert!(talk.mail.boxes.contains_key("new"));
    assert!(talk.say("a CREATE iNbOx\r\n").starts_with("a NO [ALREADYEXISTS]"));
}

#[test]
fn mailboxes_are_made_renamed_and_deleted() {
    let mut talk = Talk::logged_in();
    assert!(talk.say("a CREATE x (USE (\\Trash))\r\n").starts_with("a OK"));
    assert_eq!(talk.mail.special["x"], SpecialUse::Trash);
    assert!(talk.say("a CREATE y (USE (\\Foo))\r\n").starts_with("a BAD"));
    assert!(talk.say("a RENAME x z\r\n").starts_with("a OK"));
    assert!(talk.say("a DELETE x\r\n").starts_with("a NO [NONEXISTENT]"));
    assert!(talk.say("a DELETE z\r\n").starts_with("a OK"));
    talk.mail.refuse = Some(Refusal::Unavailable);
    assert!(talk.say("a CREATE w\r\n").starts_with("a NO [UNAVAILABLE]"));
}

#[test]
fn status_tells_what_is_asked() {
    let mut talk = Talk::logged_in();
    talk.mail.deliver("INBOX", flags_of(""), b"x");
    talk.mail.deliver("INBOX", flags_of("\\Seen"), b"x");
    // RFC 3501 §6.3.10.
    assert_eq!(
        talk.say("a STATUS inbox (UIDNEXT MESSAGES UNSEEN UIDVALIDITY RECENT)\r\n"),
        "* STATUS INBOX (UIDNEXT 3 MESSAGES 2 UNSEEN 1 UIDVALIDITY 7 RECENT 0)\r\na OK Done\r\n"
    );
    assert!(
        talk.say("a STATUS nix (MESSAGES)\r\n")
            .starts_with("a NO [NONEXISTENT]")
    );
    assert!(talk.say("a STATUS INBOX ()\r\n").starts_with("a BAD"));
}

#[test]
fn select_shows_what_a_client_needs() {
    let mut talk = Talk::logged_in();
    talk.mail.deliver("INBOX", flags_of("\\Seen $Forwarded"), b"x");
    talk.mail.deliver("INBOX", flags_of(""), b"x");
    let heard = talk.say("a SELECT inbox\r\n");
    let system = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
    assert_eq!(
        heard.lines().collect::<Vec<_>>(),
        [
            &format!("* FLAGS ({system} $Forwarded)"),
            &format!("* OK [PERMANENTFLAGS ({system} $Forwarded \\*)] These are kept"),
            "* 2 EXISTS",
            "* 2 RECENT",
            "* OK [UNSEEN 2] The first that is unread",
            "* OK [UIDVALIDITY 7] UIDs are good",
            "* OK [UIDNEXT 3] The next UID",
            "* OK [MAILBOXID (F1)] Its ID",
            "* OK [HIGHESTMODSEQ 2] The last change",
            "a OK [READ-WRITE] Done",
        ]
    );
    let heard = talk.say("a EXAMINE INBOX\r\n");
    assert!(heard.contains("* 0 RECENT") && heard.contains("[PERMANENTFLAGS ()]"));
    assert!(heard.ends_with("a OK [READ-ONLY] Done\r\n"));
}

#[test]
fn a_select_that_fails_leaves_the_mailbox_before() {
    let mut talk = Talk::with_messages(&[]);
    assert!(talk.say("a SELECT nix\r\n").contains("a NO [NONEXISTENT]"));
    assert!(
        talk.say("a FETCH 1 FLAGS\r\n")
            .starts_with("a BAD Select a mailbox first")
    );
    assert_eq!(talk.session.selected(), None);
}

#[test]
fn namespace_and_enable() {
    let mut talk = Talk::logged_in();
    assert_eq!(
        talk.say("a NAMESPACE\r\n"),
        "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a ENABLE CONDSTORE X-FOO\r\n"),
        "* ENABLED CONDSTORE\r\na OK Done\r\n"
    );
}

#[test]
fn the_one_quota_root_tells_what_is_used_and_may_be() {
    use crate::question::{QuotaUse, Used};
    let mut talk = tree();
    assert_eq!(
        talk.say("a GETQUOTA \"\"\r\n"),
        "* QUOTA \"\" ()\r\na OK Done\r\n"
    );
    let used = |used, limit| Used { used, limit };
    talk.mail.quota = QuotaUse {
        bytes: used(1_025, Some(10_240)),
        messages: used(3, Some(7)),
    };
    let quota = "* QUOTA \"\" (STORAGE 2 10 MESSAGE 3 7)\r\na OK Done\r\n";
    assert_eq!(talk.say("a GETQUOTA \"\"\r\n"), quota);
    assert_eq!(
        talk.say("a GETQUOTAROOT Entw&APw-rfe\r\n"),
        format!("* QUOTAROOT Entw&APw-rfe \"\"\r\n{quota}")
    );
    // Nothing that is there is 0, and what is within the limit never looks beyond it.
    for (bytes, limit, told) in [
        (0, 10_240, "0 10"),
        (1, 10_240, "1 10"),
        (10_240, 10_240, "10 10"),
        (500, 1_000, "1 1"),
        (10_400, 10_500, "11 11"),
        (10_000, 10_500, "10 11"),
        (10_240, 0, "10 0"),
        (u64::MAX, u64::MAX - 1, "18014398509481984 18014398509481984"),
    ] {
        talk.mail.quota.bytes = used(bytes, Some(limit));
        let told = format!("* QUOTA \"\" (STORAGE {told} MESSAGE 3 7)\r\na OK Done\r\n");
        assert_eq!(talk.say("a GETQUOTA \"\"\r\n"), told);
    }
    assert!(talk.say("a GETQUOTA other\r\n").starts_with("a NO [NONEXISTENT]"));
    assert!(
        talk.say("a SETQUOTA \"\" (STORAGE 99)\r\n")
            .starts_with("a NO [NOPERM]")
    );
    for bad in [
        "GETQUOTA",
        "SETQUOTA \"\"",
        "SETQUOTA \"\" (STORAGE)",
        "GETQUOTAROOT",
    ] {
        assert!(talk.say(&format!("a {bad}\r\n")).starts_with("a BAD"), "{bad}");
    }
    for flags in ["\\Deleted", "\\Deleted", "\\Seen"] {
        let text = "x".repeat(600);
        talk.say(&format!("a APPEND INBOX ({flags}) {{600+}}\r\n{text}\r\n"));
    }
    let heard = talk.say("a STATUS INBOX (DELETED DELETED-STORAGE)\r\n");
    assert!(
        heard.starts_with("* STATUS INBOX (DELETED 2 DELETED-STORAGE 2)\r\n"),
        "{heard}"
    );
}

#[test]
fn a_client_that_takes_utf8_reads_and_writes_names_in_it() {
    // Guards pitfall IMAP 10: modified UTF-7 and UTF-8.
    let mut talk = tree();
    assert_eq!(
        talk.say("a ENABLE X UTF8=ACCEPT\r\n"),
        "* ENABLED UTF8=ACCEPT\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a ENABLE UTF8=ACCEPT\r\n"), "* ENABLED\r\na OK Done\r\n");
    assert_eq!(
        names(&talk.say("a LIST \"\" %\r\n"))[..2],
        ["A&B", "\"Entwürfe\""]
    );
    assert_eq!(names(&talk.say("a LIST \"\" \"Entwü*\"\r\n")), ["\"Entwürfe\""]);
    assert!(
        talk.say("a STATUS \"Entwürfe\" (MESSAGES)\r\n")
            .starts_with("* STATUS \"Entwürfe\" (MESSAGES 0)")
    );
    assert!(talk.say("a CREATE \"Grüße\"\r\n").starts_with("a OK"));
    assert!(talk.say("a CREATE {6+}\r\n日本\r\n").starts_with("a OK"));
    assert!(talk.mail.boxes.contains_key("Grüße") && talk.mail.boxes.contains_key("日本"));
    // What looks like modified UTF-7 is a name like any other.
    assert!(talk.say("a CREATE Gr&APwA3w-e\r\n").starts_with("a OK"));
    assert!(talk.mail.boxes.contains_key("Gr&APwA3w-e"));
    assert!(
        talk.say("a CREATE \"a\u{2028}b\"\r\n")
            .starts_with("a NO [CANNOT]")
    );
    assert!(talk.say_bytes(b"a CREATE \"\xff\"\r\n").starts_with("a BAD"));
    talk.say("a SELECT INBOX\r\n");
    assert!(talk.say("a SEARCH CHARSET UTF-8 ALL\r\n").starts_with("a BAD"));
    assert!(talk.say("a SEARCH SUBJECT \"Grüße\"\r\n").contains("a OK"));
    assert!(talk.say("a SORT (DATE) UTF-8 ALL\r\n").contains("a OK"));
}
