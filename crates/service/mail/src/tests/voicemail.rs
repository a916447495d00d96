//! From a recording to a message, the lamp, and the owner's phone.

use super::world::{ALICE, NOW, World, flags, name, now};
use crate::{Caller, Delivery, Recording, voicemail_message};
use ringpost_base::{Rng, UnixTime};
use ringpost_imap::FlagChange;
use ringpost_store::records::MessageKind;
use std::time::Duration;

fn recording(wav: &[u8]) -> Recording<'_> {
    Recording {
        caller: Caller {
            name: Some("Bob Jönsson".into()),
            address: "bob@example.org".into(),
        },
        to: "alice@example.org",
        at: UnixTime::from_secs(1_000_000_000),
        length: Duration::from_millis(83_200),
        wav,
    }
}

#[test]
fn a_recording_becomes_a_message_that_people_and_programs_understand() {
    let wav: Vec<u8> = (0..5_000u32).map(|n| n as u8).collect();
    let message = voicemail_message(&recording(&wav), &mut Rng::from_number(1));
    assert_eq!(
        message,
        voicemail_message(&recording(&wav), &mut Rng::from_number(1)),
        "nothing but the seed decides"
    );
    let parsed = mail_parser::MessageParser::default().parse(&message).unwrap();
    assert_eq!(
        parsed.subject(),
        Some("Voicemail from Bob Jönsson (bob@example.org), 1:24")
    );
    assert_eq!(
        parsed.from().and_then(|f| f.first()).and_then(|f| f.address()),
        Some("bob@example.org")
    );
    assert_eq!(
        parsed.header("Message-Context").and_then(|h| h.as_text()),
        Some("voice-message")
    );
    assert_eq!(parsed.date().map(|d| d.to_timestamp()), Some(1_000_000_000));
    assert!(parsed.message_id().is_some_and(|id| id.ends_with("@example.org")));
    assert!(
        parsed
            .body_text(0)
            .is_some_and(|t| t.contains("2001-09-09 01:46 UTC") && t.contains("1:24"))
    );
    let attachment = parsed.attachment(0).unwrap();
    use mail_parser::MimeHeaders;
    assert_eq!(
        attachment.attachment_name(),
        Some("voicemail-20010909-014640.wav")
    );
    assert!(attachment.is_content_type("audio", "wav"));
    assert_eq!(attachment.contents(), wav);
    let text = String::from_utf8(message).unwrap();
    assert!(text.contains("\r\nContent-Duration: 84\r\n"));
    assert!(text.lines().all(|line| line.len() <= 998) && !text.replace("\r\n", "").contains(['\r', '\n']));
}

#[test]
fn a_caller_without_an_address_of_mail_is_shown_and_not_replied_to() {
    let caller = Caller {
        name: None,
        address: "+49 170 1234".into(),
    };
    let message = voicemail_message(
        &Recording {
            caller,
            ..recording(b"RIFF")
        },
        &mut Rng::from_number(1),
    );
    let parsed = mail_parser::MessageParser::default().parse(&message).unwrap();
    assert_eq!(parsed.subject(), Some("Voicemail from +49 170 1234, 1:24"));
    let from = parsed.from().and_then(|f| f.first()).unwrap();
    assert_eq!(
        (from.name(), from.address()),
        (Some("+49 170 1234"), Some("voicemail@example.org"))
    );
}

#[test]
fn a_callers_name_cannot_write_headers() {
    let caller = Caller {
        name: Some("Eve\r\nBcc: all@example.org\r\n\r\nbody \"<x@y>".into()),
        address: "1\r\nSubject: 2".into(),
    };
    let message = voicemail_message(
        &Recording {
            caller,
            ..recording(b"RIFF")
        },
        &mut Rng::from_number(1),
    );
    let parsed = mail_parser::MessageParser::default().parse(&message).unwrap();
    assert!(parsed.bcc().is_none());
    assert_eq!(
        parsed
            .headers()
            .iter()
            .filter(|h| h.name().eq_ignore_ascii_case("subject"))
            .count(),
        1
    );
    assert_eq!(
        parsed.from().and_then(|f| f.first()).and_then(|f| f.address()),
        Some("voicemail@example.org")
    );
    assert_eq!(parsed.attachment_count(), 1);
}

impl World {
    fn leave_voicemail(&self, at_s: u64, wav: &[u8]) -> u32 {
        let at = UnixTime::from_secs(at_s);
        let message = voicemail_message(&Recording { at, ..recording(wav) }, &mut Rng::from_number(at_s));
        let letter = now(self.mail.letter(message.into())).unwrap();
        assert_eq!(letter.kind(), MessageKind::Voice);
        let delivery = Delivery {
            received: at,
            ..Delivery::new(NOW)
        };
        now(self.mail.deliver(ALICE, &letter, delivery))
            .unwrap()
            .unwrap()
            .uid
    }

    fn playlist(&self) -> Vec<(u64, bool)> {
        let all = now(self.mail.voicemails(ALICE)).unwrap();
        all.iter().map(|v| (v.received.as_secs(), v.is_new)).collect()
    }
}

#[test]
fn the_lamp_and_the_phone_see_the_same_voicemail() {
    let world = World::new();
    world.deliver("INBOX", "mail like any other");
    for at_s in [300, 100, 200] {
        world.leave_voicemail(at_s, b"RIFF");
    }
    assert_eq!(
        (world.lamp(), world.playlist()),
        ((3, 0), vec![(100, true), (200, true), (300, true)])
    );
    let first = now(world.mail.voicemails(ALICE)).unwrap()[0].clone();
    assert_eq!(
        first.caller,
        Caller {
            name: Some("Bob Jönsson".into()),
            address: "bob@example.org".into()
        }
    );
    now(world.mail.mark_voicemail(ALICE, first.mailbox, first.uid, true)).unwrap();
    assert_eq!(
        (world.lamp(), world.playlist()),
        ((2, 1), vec![(200, true), (300, true), (100, false)])
    );
    now(world.mail.mark_voicemail(ALICE, first.mailbox, first.uid, false)).unwrap();
    assert_eq!(world.lamp(), (3, 0));
    // Filed away it still counts; in Archive, Junk and Trash it does not.
    now(world.mail.create(ALICE, &name("Calls"), None, NOW)).unwrap();
    let (inbox, _) = world.select("INBOX");
    now(world
        .mail
        .move_messages(&inbox, &[first.uid], &name("Calls"), NOW))
    .unwrap();
    assert_eq!((world.lamp(), world.playlist().len()), ((3, 0), 3));
    let (calls, _) = world.select("Calls");
    now(world.mail.move_messages(&calls, &[1], &name("Archive"), NOW)).unwrap();
    assert_eq!((world.lamp(), world.playlist().len()), ((2, 0), 2));
    world.check();
}

#[test]
fn the_lamp_goes_out_in_the_commit_of_the_flag() {
    let world = World::new();
    let uid = world.deliver_voice("INBOX", "x");
    assert_eq!(world.lamp(), (1, 0));
    world.flag("INBOX", &[uid], FlagChange::Add(flags("\\Seen")));
    assert_eq!(world.lamp(), (0, 1));
    world.expunge("INBOX", &[uid]);
    assert_eq!(world.lamp(), (0, 0));
    world.check();
}

#[test]
fn a_voicemail_deleted_at_the_phone_is_in_the_trash() {
    let world = World::new();
    let uid = world.leave_voicemail(100, b"RIFF");
    let voicemail = now(world.mail.voicemails(ALICE)).unwrap().remove(0);
    let delete = || now(world.mail.delete_voicemail(ALICE, voicemail.mailbox, uid, NOW)).unwrap();
    delete();
    assert_eq!(
        (world.lamp(), world.uids("Trash").len(), world.uids("INBOX").len()),
        ((0, 0), 1, 0)
    );
    delete();
    assert_eq!(world.uids("Trash").len(), 1, "deleting it twice deletes it once");
    now(world.mail.mark_voicemail(ALICE, voicemail.mailbox, uid, true)).unwrap();
    now(world.mail.delete(ALICE, &name("Trash"))).unwrap();
    world.leave_voicemail(200, b"RIFF");
    let voicemail = now(world.mail.voicemails(ALICE)).unwrap().remove(0);
    now(world
        .mail
        .delete_voicemail(ALICE, voicemail.mailbox, voicemail.uid, NOW))
    .unwrap();
    assert!(world.playlist().is_empty());
    world.check();
}

#[test]
fn the_recording_comes_back_byte_for_byte() {
    let world = World::new();
    let wav: Vec<u8> = (0..300_000u32).map(|n| n.wrapping_mul(n) as u8).collect();
    let uid = world.leave_voicemail(100, &wav);
    let voicemail = now(world.mail.voicemails(ALICE)).unwrap().remove(0);
    assert_eq!(
        now(world.mail.voicemail_audio(ALICE, voicemail.mailbox, uid)).unwrap(),
        wav
    );
    let size = now(world.mail.voicemail_size(ALICE, voicemail.mailbox, uid)).unwrap();
    assert_eq!(size, wav.len() as u64);
    let other = world.deliver("INBOX", "no sound");
    assert!(now(world.mail.voicemail_size(ALICE, voicemail.mailbox, other)).is_err());
    assert!(now(world.mail.voicemail_audio(ALICE, voicemail.mailbox, other)).is_err());
    assert!(now(world.mail.voicemail_audio(ALICE, voicemail.mailbox, 99)).is_err());
}
