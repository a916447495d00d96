//! What IMAP4rev2 changes (RFC 9051 Appendix E), item by item, once it is enabled; and that nothing changes before.

use super::*;

/// Logged in, with IMAP4rev2 enabled, and these messages in INBOX.
fn second(messages: &[&str]) -> Talk {
    let mut talk = Talk::logged_in();
    for flags in messages {
        talk.mail.deliver(
            "INBOX",
            flags_of(flags),
            b"From: a@b\r\nSubject: x\r\n\r\ntext\r\n",
        );
    }
    assert_eq!(
        talk.say("e ENABLE IMAP4rev2\r\n"),
        "* ENABLED IMAP4rev2\r\ne OK Done\r\n"
    );
    talk
}

fn selected(messages: &[&str]) -> Talk {
    let mut talk = second(messages);
    assert!(talk.say("s SELECT INBOX\r\n").contains("s OK [READ-WRITE]"));
    talk
}

// RFC 9051 §6.3.1 and Appendix A.
#[test]
fn both_revisions_are_offered_and_the_second_is_enabled_once_by_its_name_in_any_case() {
    let mut talk = Talk::logged_in();
    let before = talk.say("c CAPABILITY\r\n");
    assert!(
        before.starts_with("* CAPABILITY IMAP4rev1 IMAP4rev2 "),
        "{before}"
    );
    assert!(
        talk.say("e ENABLE imap4REV2 X-NONE\r\n")
            .starts_with("* ENABLED IMAP4rev2\r\n")
    );
    assert!(talk.say("e ENABLE IMAP4rev2\r\n").starts_with("* ENABLED\r\n"));
    assert_eq!(
        talk.say("c CAPABILITY\r\n"),
        before,
        "ENABLE changes no capability"
    );
}

#[test]
fn an_account_without_it_is_neither_told_of_it_nor_gets_it() {
    // Guards pitfall IMAP 11: a switch per account.
    let mut talk = Talk::new();
    talk.mail.without = vec!["IMAP4REV2".into()];
    assert!(!talk.say("a LOGIN fred secret\r\n").contains("IMAP4rev2"));
    assert!(talk.say("e ENABLE IMAP4rev2\r\n").starts_with("* ENABLED\r\n"));
    assert!(talk.say("s SELECT INBOX\r\n").contains("RECENT"));
}

// Appendix A and §7.2.2: until it is enabled, everything is as RFC 3501 has it.
#[test]
fn before_it_is_enabled_nothing_is_said_that_the_first_revision_does_not_know() {
    let mut talk = Talk::logged_in();
    talk.mail.deliver("INBOX", Flags::new(), b"Subject: x\r\n\r\n");
    talk.mail.create("Entw\u{fc}rfe");
    let select = talk.say("s SELECT INBOX\r\n");
    assert!(
        select.contains("* 1 RECENT\r\n") && select.contains("[UNSEEN 1]"),
        "{select}"
    );
    assert!(
        !select.contains("* LIST") && !select.contains("$Forwarded"),
        "{select}"
    );
    assert!(talk.say("f SEARCH ALL\r\n").starts_with("* SEARCH 1\r\n"));
    assert!(talk.say("f FETCH 1 FLAGS\r\n").contains("\\Recent"));
    assert!(talk.say("l LIST \"\" E*\r\n").contains("Entw&APw-rfe"));
}

// Items 9 to 12: §6.3.2.
#[test]
fn select_tells_the_name_with_its_attributes_and_nothing_of_recent_or_unseen_messages() {
    let mut talk = second(&["", "\\Seen"]);
    talk.mail.create("Work");
    talk.mail.create("Work/old");
    talk.mail.special.insert("Work".into(), SpecialUse::Archive);
    talk.say("u SUBSCRIBE Work\r\n");
    let inbox = talk.say("s SELECT INBOX\r\n");
    assert!(inbox.contains("* 2 EXISTS\r\n"), "{inbox}");
    assert!(
        inbox.contains("* LIST (\\HasNoChildren) \"/\" INBOX\r\n"),
        "{inbox}"
    );
    assert!(!inbox.contains("RECENT") && !inbox.contains("UNSEEN"), "{inbox}");
    for code in ["[UIDVALIDITY 7]", "[UIDNEXT 3]", "[PERMANENTFLAGS ("] {
        assert!(inbox.contains(code), "{inbox}");
    }
    let work = talk.say("s EXAMINE Work\r\n");
    //= https://www.rfc-editor.org/rfc/rfc9051#section-7.1
    // What is of the mailbox before stands before CLOSED.
    assert!(work.starts_with("* OK [CLOSED]"), "{work}");
    let line = "* LIST (\\HasChildren \\Subscribed \\Archive) \"/\" Work\r\n";
    assert!(work.contains(line), "{work}");
    assert!(work.ends_with("s OK [READ-ONLY] Done\r\n"), "{work}");
    let missing = talk.say("s SELECT nowhere\r\n");
    assert!(
        missing.ends_with("s NO [NONEXISTENT] There is no such mailbox\r\n") && !missing.contains("* LIST"),
        "{missing}"
    );
}

// Item 12: §7.4.1, §2.3.2.
#[test]
fn nothing_is_recent_any_more() {
    let mut talk = selected(&[""]);
    let news = talk.changed(arrival(2)) + &talk.say("n NOOP\r\n");
    assert!(
        news.contains("* 2 EXISTS\r\n") && !news.contains("RECENT"),
        "{news}"
    );
    let flags = talk.say("f FETCH 1:* FLAGS\r\n");
    assert!(!flags.contains("\\Recent"), "{flags}");
    // Who asks for it nevertheless is answered.
    assert!(talk.say("r STATUS INBOX (RECENT)\r\n").contains("(RECENT 0)"));
}

// Item 4: §6.4.4 and §7.3.4.
#[test]
fn every_search_is_answered_with_esearch() {
    let mut talk = selected(&["\\Seen", "", "\\Seen"]);
    assert_eq!(
        talk.say("a SEARCH SEEN\r\n"),
        "* ESEARCH (TAG \"a\") ALL 1,3\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a UID SEARCH UNSEEN\r\n"),
        "* ESEARCH (TAG \"a\") UID ALL 2\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH DELETED\r\n"),
        "* ESEARCH (TAG \"a\")\r\na OK Done\r\n",
        "also when nothing is found"
    );
    assert_eq!(
        talk.say("a SEARCH RETURN (COUNT) DELETED\r\n"),
        "* ESEARCH (TAG \"a\") COUNT 0\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a SEARCH RETURN (SAVE) SEEN\r\n"), "a OK Done\r\n");
    assert_eq!(
        talk.say("a SEARCH $\r\n"),
        "* ESEARCH (TAG \"a\") ALL 1,3\r\na OK Done\r\n"
    );
}

// §6.4.4: without a charset it is UTF-8, and to name it is still allowed.
#[test]
fn search_is_in_utf_8_and_may_say_so() {
    let mut talk = selected(&[]);
    talk.mail
        .deliver("INBOX", Flags::new(), "Subject: Grüße\r\n\r\n".as_bytes());
    talk.say("s SELECT INBOX\r\n");
    for command in [
        "SEARCH SUBJECT \"grüße\"",
        "SEARCH CHARSET UTF-8 SUBJECT \"Grüße\"",
        "SEARCH CHARSET US-ASCII ALL",
    ] {
        let heard = talk.say(&format!("a {command}\r\n"));
        assert!(
            heard.starts_with("* ESEARCH (TAG \"a\") ALL 1\r\n"),
            "{command}: {heard}"
        );
    }
    let unknown = talk.say("a SEARCH CHARSET KOI8-R ALL\r\n");
    assert!(
        unknown.starts_with("a NO [BADCHARSET (US-ASCII UTF-8)]"),
        "{unknown}"
    );
    // RFC 6855 §3 is stricter with who has enabled that.
    talk.say("e ENABLE UTF8=ACCEPT\r\n");
    assert!(talk.say("a SEARCH CHARSET UTF-8 ALL\r\n").starts_with("a BAD"));
}

// Item 3: §6.3.11.
#[test]
fn status_tells_sizes_and_what_is_deleted() {
    let mut talk = second(&["\\Deleted", ""]);
    let heard = talk.say("a STATUS INBOX (MESSAGES DELETED SIZE UNSEEN UIDNEXT UIDVALIDITY)\r\n");
    let size = 2 * "From: a@b\r\nSubject: x\r\n\r\ntext\r\n".len();
    let items = format!("(MESSAGES 2 DELETED 1 SIZE {size} UNSEEN 2 UIDNEXT 3 UIDVALIDITY 7)");
    assert!(heard.contains(&items), "{heard}");
}

// Item 15: §2.3.2.
#[test]
fn the_keywords_that_have_a_meaning_are_told_and_kept() {
    let mut talk = second(&["$junk"]);
    let select = talk.say("s SELECT INBOX\r\n");
    let flags = "\\Answered \\Flagged \\Deleted \\Seen \\Draft $junk $Forwarded $MDNSent $NotJunk $Phishing";
    assert!(select.contains(&format!("* FLAGS ({flags})\r\n")), "{select}");
    assert!(
        select.contains(&format!("[PERMANENTFLAGS ({flags} \\*)]")),
        "{select}"
    );
    let kept = talk.say("a STORE 1 +FLAGS ($Forwarded $MDNSent $NotJunk $Phishing)\r\n");
    assert!(
        kept.contains("$Forwarded") && kept.contains("$Phishing"),
        "{kept}"
    );
    assert!(talk.say("a SEARCH KEYWORD $PHISHING\r\n").contains(" ALL 1\r\n"));
    let examined = talk.say("s EXAMINE INBOX\r\n");
    assert!(examined.contains("[PERMANENTFLAGS ()]"), "{examined}");
}

// Item 16: §5.1 and Appendix A.1.
#[test]
fn mailbox_names_are_in_utf_8() {
    let mut talk = second(&[]);
    assert!(talk.say("a CREATE \"Entwürfe & mehr\"\r\n").contains("a OK"));
    let list = talk.say("a LIST \"\" \"Entw*\"\r\n");
    assert!(
        list.contains("* LIST (\\HasNoChildren) \"/\" \"Entwürfe & mehr\"\r\n"),
        "{list}"
    );
    assert!(
        talk.say("a STATUS \"Entwürfe & mehr\" (MESSAGES)\r\n")
            .contains("* STATUS \"Entwürfe & mehr\" (")
    );
    assert!(
        talk.say("a CREATE {7+}\r\nr\u{e9}sum\u{e9}\r\n").contains("BAD"),
        "a literal counts bytes"
    );
    assert!(talk.say("a CREATE {8+}\r\nr\u{e9}sum\u{e9}\r\n").contains("a OK"));
    // An ampersand is nothing but itself.
    assert!(talk.say("a CREATE A&-B\r\n").contains("a OK"));
    assert!(talk.say("a LIST \"\" A*\r\n").contains(" A&-B\r\n"));
}

const NFD: &str = "Entwu\u{308}rfe";
const NFC: &str = "Entw\u{fc}rfe";

// §5.1, §6.3.4 to §6.3.6, §6.3.9.7: what is not composed is, in every command, and the client is told.
#[test]
fn names_that_are_not_composed_are_composed_and_told_with_the_old_spelling() {
    let mut talk = second(&["", ""]);
    let told = format!("* LIST () \"/\" \"{NFC}\" (\"OLDNAME\" (\"{NFD}\"))\r\n");
    let created = talk.say(&format!("a CREATE \"{NFD}\"\r\n"));
    assert!(
        created.starts_with(&told) && created.contains("a OK"),
        "{created}"
    );
    assert!(talk.mail.boxes.contains_key(NFC));
    let again = talk.say(&format!("a CREATE \"{NFC}\"\r\n"));
    assert_eq!(
        again,
        "a NO [ALREADYEXISTS] There is one of that name already\r\n"
    );
    let appended = talk.say(&format!("a APPEND \"{NFD}\" {{12+}}\r\nSubject: y\r\n\r\n"));
    assert!(
        appended.contains(&told) && appended.contains("[APPENDUID "),
        "{appended}"
    );
    let selected = talk.say(&format!("s SELECT \"{NFD}\"\r\n"));
    let line = format!("* LIST (\\HasNoChildren) \"/\" \"{NFC}\" (\"OLDNAME\" (\"{NFD}\"))\r\n");
    assert_eq!(selected.matches("* LIST").count(), 1, "{selected}");
    assert!(selected.contains(&line), "{selected}");
    let list = talk.say(&format!("a LIST \"\" \"{NFD}\"\r\n"));
    assert!(list.contains(&format!("\"{NFC}\"\r\n")), "{list}");
    let renamed = talk.say(&format!("a RENAME \"{NFD}\" plain\r\n"));
    let line = format!("* LIST () \"/\" plain (\"OLDNAME\" (\"{NFD}\"))\r\n");
    assert!(renamed.starts_with(&line), "{renamed}");
    let renamed = talk.say(&format!("a RENAME plain \"{NFD}\"\r\n"));
    let line = format!("* LIST () \"/\" \"{NFC}\" (\"OLDNAME\" (plain))\r\n");
    assert!(renamed.starts_with(&line), "{renamed}");
    let deleted = talk.say(&format!("a DELETE \"{NFD}\"\r\n"));
    let line = format!("* LIST (\\NonExistent) \"/\" \"{NFC}\" (\"OLDNAME\" (\"{NFD}\"))\r\n");
    assert!(deleted.contains(&line) && deleted.contains("a OK"), "{deleted}");
    let refused = talk.say(&format!("a DELETE \"{NFD}\"\r\n"));
    assert_eq!(refused, "a NO [NONEXISTENT] There is no such mailbox\r\n");
}

#[test]
fn the_first_revision_is_not_told_of_other_spellings() {
    let mut talk = Talk::logged_in();
    assert_eq!(
        talk.say("a CREATE Entwu&Awg-rfe\r\n"),
        "a OK [MAILBOXID (F2)] Done\r\n"
    );
    assert!(talk.mail.boxes.contains_key(NFC));
    assert!(talk.say("s SELECT Entwu&Awg-rfe\r\n").contains("s OK"));
}

// Items 7 and 8: §6.4.7, §6.4.8.
#[test]
fn move_tells_copyuid_before_the_messages_go_and_no_mailbox_is_made_for_it() {
    let mut talk = selected(&["", ""]);
    for command in ["MOVE 1 nowhere", "UID COPY 1 nowhere", "COPY 1 nowhere"] {
        let heard = talk.say(&format!("a {command}\r\n"));
        assert_eq!(
            heard, "a NO [TRYCREATE] There is no such mailbox\r\n",
            "{command}"
        );
    }
    let append = talk.say("a APPEND nowhere {10}\r\n");
    assert_eq!(append, "a NO [TRYCREATE] There is no such mailbox\r\n");
    talk.say("c CREATE there\r\n");
    for command in ["MOVE 1 there", "UID MOVE 2 there"] {
        let heard = talk.say(&format!("a {command}\r\n"));
        let copied = heard.find("* OK [COPYUID 9 ").expect(&heard);
        let gone = heard.find("* 1 EXPUNGE").expect(&heard);
        assert!(copied < gone && heard.ends_with("a OK Done\r\n"), "{heard}");
    }
}

// Item 21: §7.5.2.
#[test]
fn what_is_told_unasked_of_a_message_names_its_uid() {
    let mut talk = selected(&["", ""]);
    let state = MessageState {
        uid: 2,
        flags: flags_of("\\Flagged"),
        modseq: 50,
        recent: false,
    };
    let changes = Changes {
        flags: vec![state],
        ..Changes::default()
    };
    let heard = talk.changed(changes) + &talk.say("n NOOP\r\n");
    assert!(
        heard.contains("* 2 FETCH (UID 2 FLAGS (\\Flagged))\r\n"),
        "{heard}"
    );
}

// Items 17 to 19: what is gone from the second revision is still done for who asks.
#[test]
fn commands_of_the_first_revision_go_on_working() {
    let mut talk = selected(&[""]);
    assert_eq!(talk.say("a CHECK\r\n"), "a OK Done\r\n");
    talk.say("a SUBSCRIBE INBOX\r\n");
    assert!(
        talk.say("a LSUB \"\" *\r\n")
            .starts_with("* LSUB () \"/\" INBOX\r\n")
    );
    assert!(
        talk.say("a FETCH 1 RFC822.HEADER\r\n")
            .contains("RFC822.HEADER {")
    );
}

// Item 1: §9, number64.
#[test]
fn sizes_have_63_bits() {
    let mut talk = selected(&[""]);
    assert!(
        talk.say("a SEARCH SMALLER 9223372036854775807\r\n")
            .contains(" ALL 1\r\n")
    );
    assert!(
        talk.say("a SEARCH LARGER 4294967296\r\n")
            .contains("(TAG \"a\")\r\n")
    );
    assert!(
        talk.say("a SEARCH LARGER 9223372036854775808\r\n")
            .starts_with("a BAD")
    );
    let heard = talk.say("a FETCH 1 BODY.PEEK[TEXT]<2.9223372036854775807>\r\n");
    assert!(heard.contains("BODY[TEXT]<2> {4}\r\nxt\r\n"), "{heard}");
    let heard = talk.say("a FETCH 1 BODY.PEEK[]<9223372036854775807.1>\r\n");
    assert!(heard.contains("BODY[]<9223372036854775807> \"\")"), "{heard}");
    assert!(talk.say("a FETCH 1 BODY[]<0.0>\r\n").starts_with("a BAD"));
}

// §7.5.2 and Appendix B: BINARY is of the revision itself, and a quoted string may hold UTF-8.
#[test]
fn binary_is_fetched_and_strings_are_in_utf_8() {
    let mut talk = second(&[]);
    talk.mail
        .deliver("INBOX", Flags::new(), "Subject: Grüße\r\n\r\ntext\r\n".as_bytes());
    talk.say("s SELECT INBOX\r\n");
    assert!(talk.say("a FETCH 1 ENVELOPE\r\n").contains("\"Grüße\""));
    let heard = talk.say("a FETCH 1 BINARY.PEEK[1]\r\n");
    assert!(heard.contains("BINARY[1] {6}\r\ntext\r\n"), "{heard}");
    assert!(
        talk.say("a FETCH 1 BINARY.SIZE[1]\r\n")
            .contains("BINARY.SIZE[1] 6")
    );
}

// §6.3.9.6: a name that stands for others is told only where one of these is not.
#[test]
fn childinfo_is_told_for_names_below_that_are_not_shown_themselves() {
    let mut talk = second(&[]);
    for name in ["a", "a/b"] {
        talk.mail.create(name);
    }
    talk.say("u SUBSCRIBE a/b\r\n");
    let hidden = talk.say("l LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %\r\n");
    assert!(
        hidden.contains("* LIST (\\HasChildren) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"),
        "{hidden}"
    );
    let shown = talk.say("l LIST (SUBSCRIBED RECURSIVEMATCH) \"\" *\r\n");
    assert!(
        shown.contains(" a/b\r\n") && !shown.contains("CHILDINFO"),
        "{shown}"
    );
    for alone in ["(RECURSIVEMATCH)", "(REMOTE RECURSIVEMATCH)"] {
        assert!(
            talk.say(&format!("l LIST {alone} \"\" *\r\n"))
                .starts_with("l BAD"),
            "{alone}"
        );
    }
    assert!(talk.say("l LIST (X) \"\" *\r\n").starts_with("l BAD"));
    assert!(talk.say("l LIST \"\" * RETURN (X)\r\n").starts_with("l BAD"));
}

// §7.1: each refusal has its code.
#[test]
fn every_refusal_is_told_with_its_response_code() {
    for (refusal, code) in [
        (Refusal::NotAllowed, "AUTHORIZATIONFAILED"),
        (Refusal::NoSuchMailbox, "NONEXISTENT"),
        (Refusal::AlreadyExists, "ALREADYEXISTS"),
        (Refusal::Cannot("x"), "CANNOT"),
        (Refusal::HasChildren, "HASCHILDREN"),
        (Refusal::OverQuota, "OVERQUOTA"),
        (Refusal::Limit("x"), "LIMIT"),
        (Refusal::Damaged, "CORRUPTION"),
        (Refusal::NoRoom, "UNAVAILABLE"),
        (Refusal::Unavailable, "UNAVAILABLE"),
    ] {
        let mut talk = second(&[]);
        talk.mail.refuse = Some(refusal);
        let heard = talk.say("a DELETE x\r\n");
        assert!(heard.starts_with(&format!("a NO [{code}] ")), "{code}: {heard}");
    }
    let mut talk = second(&[]);
    assert!(
        talk.say("a SETQUOTA \"\" (STORAGE 1)\r\n")
            .starts_with("a NO [NOPERM]")
    );
}
