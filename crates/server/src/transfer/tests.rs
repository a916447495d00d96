use super::*;
use crate::control::LocalControl;
use crate::control::tests::control;
use ringpost_admin::{Quota, StoredMessage};
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";

async fn accounts() -> LocalControl {
    let control = control().await;
    for address in [ALICE, BOB] {
        let add = Command::AccountAdd {
            address: address.into(),
            extension: None,
            password: None,
        };
        control.handle(add).await.unwrap();
    }
    control
}

fn maildir(path: &Path) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(part)).unwrap();
    }
}

fn put(path: &Path, at_s: u64, text: &[u8]) {
    fs::write(path, text).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(at_s)).unwrap();
}

fn report(messages: u64, mailboxes: u64, already_there: u64, errors: u64) -> Report {
    Report {
        messages,
        mailboxes,
        already_there,
        errors,
    }
}

async fn messages(control: &LocalControl, address: &str, mailbox: &str) -> Vec<StoredMessage> {
    let list = Command::MessageList {
        address: address.into(),
        mailbox: mailbox.into(),
        after_uid: 0,
    };
    match control.handle(list).await.unwrap() {
        Answer::Messages(messages) => messages,
        other => panic!("{other:?}"),
    }
}

async fn mailboxes(control: &LocalControl, address: &str) -> Vec<Mailbox> {
    let list = Command::MailboxList {
        address: address.into(),
    };
    match control.handle(list).await.unwrap() {
        Answer::Mailboxes(mailboxes) => mailboxes,
        other => panic!("{other:?}"),
    }
}

async fn text(control: &LocalControl, address: &str, mailbox: &str, uid: u32) -> Vec<u8> {
    use base64::Engine;
    let mut text = Vec::new();
    loop {
        let piece = Command::MessagePiece {
            address: address.into(),
            mailbox: mailbox.into(),
            uid,
            offset: text.len() as u64,
        };
        match control.handle(piece).await.unwrap() {
            Answer::Piece(piece) if piece.is_empty() => return text,
            Answer::Piece(piece) => {
                text.extend(base64::engine::general_purpose::STANDARD.decode(piece).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_maildir_comes_with_flags_keywords_dates_and_names_and_nothing_twice() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    maildir(root);
    let deep = root.join(".Work.Gr&APYA3w-e");
    maildir(&deep);
    fs::write(root.join("subscriptions"), "V\t2\n\nWork\tGr&APYA3w-e\n").unwrap();
    fs::write(deep.join("dovecot-keywords"), "0 todo\n1 $Label1\n").unwrap();
    put(&root.join("new/1.a"), 1_000, b"Message-ID: <1@x>\n\none\n");
    put(
        &root.join("cur/2.b:2,RS"),
        500,
        b"Message-ID: <2@x>\r\n\r\ntwo\r\n",
    );
    put(&deep.join("cur/3.c:2,Fab"), 2_000, b"Subject: caf\xe9\n\nthree");

    let import = || import_maildir(&control, ALICE, root);
    assert_eq!(import().await.unwrap(), report(3, 2, 0, 0));
    let inbox = messages(&control, ALICE, "INBOX").await;
    let seen: Vec<_> = inbox.iter().map(|m| (m.received_s, m.size_bytes)).collect();
    assert_eq!(seen, [(500, 26), (1_000, 26)], "in the order of their arrival");
    assert_eq!(inbox[0].flags, ["\\Answered", "\\Seen"]);
    assert!(inbox[1].flags.is_empty());
    assert_eq!(
        text(&control, ALICE, "INBOX", 2).await,
        b"Message-ID: <1@x>\r\n\r\none\r\n"
    );
    let below = messages(&control, ALICE, "Work/Gr\u{f6}\u{df}e").await;
    assert_eq!(below[0].flags, ["\\Flagged", "$Label1", "todo"]);
    let listed = mailboxes(&control, ALICE).await;
    let found = listed
        .iter()
        .find(|mailbox| mailbox.name == "Work/Gr\u{f6}\u{df}e");
    assert!(found.is_some_and(|mailbox| mailbox.subscribed));

    assert_eq!(import().await.unwrap(), report(0, 2, 3, 0));
    put(&root.join("cur/4.d:2,"), 3_000, b"Message-ID: <4@x>\n\nfour\n");
    assert_eq!(import().await.unwrap(), report(1, 2, 3, 0));
    assert_eq!(messages(&control, ALICE, "INBOX").await.len(), 3);
    assert_eq!(
        control.handle(Command::CheckStore).await,
        Ok(Answer::Findings(Vec::new()))
    );
}

#[tokio::test]
async fn messages_that_are_alike_all_come_and_an_interrupted_run_goes_on() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    maildir(root);
    let alike = |n: u64| put(&root.join(format!("cur/{n}:2,S")), n, b"Subject: again\n\n");
    alike(1);
    alike(2);
    let import = || import_maildir(&control, ALICE, root);
    assert_eq!(import().await.unwrap(), report(2, 1, 0, 0));
    alike(3);
    for n in 10..210 {
        put(
            &root.join(format!("cur/{n}:2,")),
            n,
            format!("Message-ID: <{n}@x>\n\n").as_bytes(),
        );
    }
    assert_eq!(import().await.unwrap(), report(201, 1, 2, 0));
    assert_eq!(import().await.unwrap(), report(0, 1, 203, 0));
}

#[tokio::test]
async fn what_cannot_come_is_told_and_keeps_nothing_else_out() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    maildir(root);
    put(&root.join("cur/1:2,"), 1, b"Message-ID: <1@x>\n\none\n");
    // NUL in a part is kept in base64; outside of all parts there is nothing that could hold it.
    put(&root.join("cur/2:2,"), 2, b"Message-ID: <2@x>\n\n\0\n");
    put(&root.join("cur/3:2,"), 3, b"Message-ID: <3@x>\nX: \0\n\nthree\n");
    std::os::unix::fs::symlink("/etc/passwd", root.join("cur/4:2,")).unwrap();
    put(&root.join("cur/5:2,"), 5, b"Message-ID: <5@x>\n\nfive\n");
    let import = || import_maildir(&control, ALICE, root);
    assert_eq!(import().await.unwrap(), report(3, 1, 0, 2));
    assert_eq!(
        import().await.unwrap(),
        report(0, 1, 3, 2),
        "the one with NUL is known again"
    );
    assert!(import_maildir(&control, ALICE, &root.join("cur")).await.is_err());
    let stranger = import_maildir(&control, "nobody@example.org", root)
        .await
        .unwrap_err();
    assert!(stranger.to_string().contains("there is no account"), "{stranger}");
}

#[tokio::test]
async fn no_link_in_a_maildir_leads_to_the_mail_of_another() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let (root, another) = (folder.path().join("mine"), folder.path().join("another"));
    maildir(&root);
    maildir(&another);
    put(&another.join("cur/1:2,"), 1, b"Message-ID: <secret@x>\n\n");
    put(&root.join("new/2"), 2, b"Message-ID: <mine@x>\n\n");
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(to, from).unwrap();
    // A part beside a real one, in each kind of folder, and both parts.
    fs::remove_dir(root.join("cur")).unwrap();
    link(&root.join("cur"), &another.join("cur"));
    fs::create_dir_all(root.join(".Beside/cur")).unwrap();
    link(&root.join(".Beside/new"), &another.join("cur"));
    fs::create_dir_all(root.join("Work/Plans/new")).unwrap();
    link(&root.join("Work/Plans/cur"), &another.join("cur"));
    fs::create_dir(root.join(".Both")).unwrap();
    link(&root.join(".Both/cur"), &another.join("cur"));
    link(&root.join(".Both/new"), &another.join("new"));
    assert_eq!(
        import_maildir(&control, ALICE, &root).await.unwrap(),
        report(1, 3, 0, 4)
    );
    for mailbox in ["Beside", "Work/Plans"] {
        assert!(messages(&control, ALICE, mailbox).await.is_empty(), "{mailbox}");
    }
    // The Maildir itself is named by who runs it.
    let named = folder.path().join("named");
    link(&named, &root);
    assert_eq!(
        import_maildir(&control, ALICE, &named).await.unwrap(),
        report(0, 3, 1, 4)
    );
}

/// Until it is dropped, this thread may read no more than nobody.
struct AsNobody;

impl AsNobody {
    fn new() -> Self {
        set_file_system_user(65_534);
        AsNobody
    }
}

impl Drop for AsNobody {
    fn drop(&mut self) {
        // SAFETY: geteuid cannot fail and touches no memory.
        set_file_system_user(unsafe { libc::geteuid() });
    }
}

fn set_file_system_user(uid: libc::uid_t) {
    // SAFETY: setfsuid touches no memory, and changes nothing where it is not allowed.
    unsafe { libc::setfsuid(uid) };
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_is_told_and_keeps_nothing_else_out() {
    use std::os::unix::fs::PermissionsExt;
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(root, 0o755);
    maildir(root);
    put(&root.join("cur/1:2,"), 1, b"Message-ID: <1@x>\n\n");
    let locked = [
        "lost+found",
        ".Locked",
        "Work/Locked",
        ".Sent/cur",
        "new",
        "Work/Dark",
    ];
    for name in locked {
        fs::create_dir_all(root.join(name).join("cur")).unwrap();
    }
    maildir(&root.join(".Sent"));
    maildir(&root.join("Work/Plans"));
    put(&root.join(".Sent/new/2"), 2, b"Message-ID: <2@x>\n\n");
    put(&root.join("Work/Plans/new/3"), 3, b"Message-ID: <3@x>\n\n");
    for name in locked {
        mode(&root.join(name), 0o000);
    }
    // Its name can be read, and nothing in it.
    mode(&root.join("Work/Dark"), 0o444);
    let _nobody = AsNobody::new();
    let import = || import_maildir(&control, ALICE, root);
    assert_eq!(import().await.unwrap(), report(3, 3, 0, 6));
    assert_eq!(import().await.unwrap(), report(0, 3, 3, 6));
}

#[tokio::test]
async fn a_file_where_a_folder_belongs_and_a_folder_where_a_file_does_keep_nothing_out() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    maildir(root);
    put(&root.join("cur/1:2,Sa"), 1, b"Message-ID: <1@x>\n\n");
    fs::create_dir(root.join("subscriptions")).unwrap();
    fs::create_dir(root.join("dovecot-keywords")).unwrap();
    for name in [".Sent/new", "Work/Plans/new", ".Half", "Half"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for name in [".Sent/cur", "Work/Plans/cur", ".Half/cur", "Half/cur"] {
        fs::write(root.join(name), "").unwrap();
    }
    put(&root.join(".Sent/new/2"), 2, b"Message-ID: <2@x>\n\n");
    put(&root.join("Work/Plans/new/3"), 3, b"Message-ID: <3@x>\n\n");
    let import = || import_maildir(&control, ALICE, root);
    assert_eq!(import().await.unwrap(), report(3, 3, 0, 6));
    assert_eq!(messages(&control, ALICE, "INBOX").await[0].flags, ["\\Seen"]);
    assert_eq!(import().await.unwrap(), report(0, 3, 3, 6));
}

#[tokio::test]
async fn a_full_account_ends_it_and_room_lets_it_go_on() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    maildir(root);
    for n in 10..20 {
        put(
            &root.join(format!("cur/{n}:2,")),
            n,
            format!("Message-ID: <{n}@x>\n\n").as_bytes(),
        );
    }
    let set = |quota_messages| Command::AccountSet {
        address: ALICE.into(),
        quota_bytes: None,
        quota_messages: Some(quota_messages),
        imap_without: None,
        junk: None,
    };
    control.handle(set(Quota::Limit(4))).await.unwrap();
    let full = import_maildir(&control, ALICE, root)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        full.contains("alice@example.org is over its quota; 4 messages were brought"),
        "{full}"
    );
    control.handle(set(Quota::None)).await.unwrap();
    assert_eq!(
        import_maildir(&control, ALICE, root).await.unwrap(),
        report(6, 1, 4, 0)
    );
}

#[tokio::test]
async fn an_mbox_comes_into_the_mailbox_that_is_named() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("mbox");
    let text = "From a@b Thu Jan  1 00:00:01 2026\nMessage-ID: <1@x>\nStatus: RO\n\n>From here\n\n\
                From a@b Thu Jan  1 00:00:02 2026\nMessage-ID: <2@x>\nX-Status: F\n\ntwo\n\n";
    fs::write(&file, text).unwrap();
    let import = || import_mbox(&control, ALICE, &file, Some("Old/2026"));
    assert_eq!(import().await.unwrap(), report(2, 1, 0, 0));
    assert_eq!(import().await.unwrap(), report(0, 1, 2, 0));
    let found = messages(&control, ALICE, "Old/2026").await;
    assert_eq!(found[0].flags, ["\\Seen"]);
    assert_eq!(
        (found[1].received_s, &found[1].flags[..]),
        (1_767_225_602, &["\\Flagged".to_owned()][..])
    );
    let first = text_of(&control, "Old/2026", 1).await;
    assert_eq!(first, "Message-ID: <1@x>\r\n\r\nFrom here\r\n");
    fs::write(&file, "Subject: no mbox\n\n").unwrap();
    assert!(import().await.unwrap_err().to_string().contains("mbox"));
}

async fn text_of(control: &LocalControl, mailbox: &str, uid: u32) -> String {
    String::from_utf8(text(control, ALICE, mailbox, uid).await).unwrap()
}

#[tokio::test]
async fn what_is_exported_and_imported_is_the_same() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    let mut import = Import::new(&control, ALICE);
    let large = format!(
        "Message-ID: <big@x>\r\n\r\n{}",
        "0123456789abcde\r\n".repeat(200_000)
    );
    for (mailbox, flags, text) in [
        ("INBOX", vec!["\\Seen", "todo"], "Message-ID: <1@x>\r\n\r\n.\r\n"),
        (
            "INBOX",
            vec!["$Forwarded", "\\Draft"],
            "Message-ID: <2@x>\r\n\r\na\rb",
        ),
        ("Sent", vec![], large.as_str()),
        ("a.b/c", vec!["other"], "Subject: dots\r\n\r\n"),
    ] {
        let wanted = Mailbox {
            name: mailbox.into(),
            subscribed: mailbox == "a.b/c",
            special_use: None,
        };
        assert!(import.open(wanted, "made").await.unwrap());
        let message = Message {
            label: "made".into(),
            flags: flags.into_iter().map(str::to_owned).collect(),
            received_s: 1_500_000_000 + text.len() as u64,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        };
        import.add(message).await.unwrap();
    }
    import.finish().await.unwrap();

    let exported = || export(&control, ALICE, root);
    assert_eq!(exported().await.unwrap(), report(4, 8, 0, 0));
    assert_eq!(exported().await.unwrap(), report(0, 8, 4, 0));
    assert_eq!(
        import_maildir(&control, BOB, root).await.unwrap(),
        report(4, 8, 0, 0)
    );
    assert_eq!(mailboxes(&control, BOB).await, mailboxes(&control, ALICE).await);
    for mailbox in mailboxes(&control, ALICE).await {
        let mut ours = messages(&control, ALICE, &mailbox.name).await;
        let mut theirs = messages(&control, BOB, &mailbox.name).await;
        for messages in [&mut ours, &mut theirs] {
            messages.sort_by_key(|message| message.received_s);
        }
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!((&ours.flags, ours.received_s), (&theirs.flags, theirs.received_s));
            let one = text(&control, ALICE, &mailbox.name, ours.uid).await;
            assert!(one == text(&control, BOB, &mailbox.name, theirs.uid).await);
        }
    }
}

#[tokio::test]
async fn an_export_is_mixed_with_nothing_of_others() {
    let (control, folder) = (accounts().await, tempfile::tempdir().unwrap());
    let root = folder.path();
    let foreign = root.join("maildir");
    fs::create_dir_all(foreign.join("cur")).unwrap();
    let text = fs::File::create(foreign.join("cur/1:2,S")).unwrap();
    drop(text);
    let refused = export(&control, ALICE, &foreign).await.unwrap_err().to_string();
    assert!(
        refused.contains("expected an empty folder, or one that alice@example.org was"),
        "{refused}"
    );
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    let ours = root.join("ours");
    export(&control, ALICE, &ours).await.unwrap();
    let refused = export(&control, BOB, &ours).await.unwrap_err().to_string();
    assert!(
        refused.contains("has the mail of alice@example.org; expected an empty folder"),
        "{refused}"
    );
    export(&control, &ALICE.to_uppercase(), &ours).await.unwrap();
    // One of before there were marks is known by the names in it.
    let mut import = Import::new(&control, ALICE);
    let inbox = Mailbox {
        name: "INBOX".into(),
        subscribed: false,
        special_use: None,
    };
    assert!(import.open(inbox, "made").await.unwrap());
    let message = Message {
        label: "made".into(),
        flags: Vec::new(),
        received_s: 1,
        bytes: Bytes::from_static(b"Subject: x\r\n\r\n"),
    };
    import.add(message).await.unwrap();
    import.finish().await.unwrap();
    export(&control, ALICE, &ours).await.unwrap();
    fs::write(ours.join("ringpost-export"), "").unwrap();
    export(&control, ALICE, &ours).await.unwrap();
    fs::write(ours.join("cur/1:2,S"), "").unwrap();
    fs::remove_file(ours.join("ringpost-export")).unwrap();
    assert!(export(&control, ALICE, &ours).await.is_err());
}
