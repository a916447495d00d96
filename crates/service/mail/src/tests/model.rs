//! Random commands, held against a model that anybody can read.

use super::world::{ALICE, NOW, World, flags, name, now};
use crate::MailError;
use proptest::prelude::*;
use ringpost_imap::{FlagChange, Flags};
use std::collections::BTreeMap;

/// A mailbox of the model: each message's UID, subject, flags, and whether it is a voicemail.
#[derive(Clone, Debug, Default)]
struct Box {
    next_uid: u32,
    messages: BTreeMap<u32, Message>,
}

#[derive(Clone, Debug)]
struct Message {
    subject: String,
    flags: Flags,
    voice: bool,
}

impl Box {
    fn add(&mut self, message: Message) {
        self.next_uid = self.next_uid.max(1);
        self.messages.insert(self.next_uid, message);
        self.next_uid += 1;
    }
}

#[derive(Clone, Debug)]
enum Command {
    Deliver {
        mailbox: usize,
        voice: bool,
    },
    Flag {
        mailbox: usize,
        which: u8,
        change: FlagChange,
    },
    Copy {
        from: usize,
        which: u8,
        to: usize,
        moves: bool,
    },
    Expunge {
        mailbox: usize,
    },
    Create {
        mailbox: usize,
    },
    Delete {
        mailbox: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
}

const NAMES: [&str; 6] = ["INBOX", "Trash", "Work", "Work/Old", "Junk", "Play"];

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let mailbox = || 0..NAMES.len();
    let set = prop::sample::select(vec!["\\Seen", "\\Deleted", "\\Flagged $A", ""]).prop_map(flags);
    let change = (0..3, set).prop_map(|(kind, set)| match kind {
        0 => FlagChange::Add(set),
        1 => FlagChange::Remove(set),
        _ => FlagChange::Replace(set),
    });
    let one = prop_oneof![
        4 => (mailbox(), any::<bool>()).prop_map(|(mailbox, voice)| Command::Deliver { mailbox, voice }),
        4 => (mailbox(), any::<u8>(), change).prop_map(|(mailbox, which, change)| Command::Flag { mailbox, which, change }),
        3 => (mailbox(), any::<u8>(), mailbox(), any::<bool>())
            .prop_map(|(from, which, to, moves)| Command::Copy { from, which, to, moves }),
        2 => mailbox().prop_map(|mailbox| Command::Expunge { mailbox }),
        1 => mailbox().prop_map(|mailbox| Command::Create { mailbox }),
        1 => mailbox().prop_map(|mailbox| Command::Delete { mailbox }),
        1 => (mailbox(), mailbox()).prop_map(|(from, to)| Command::Rename { from, to }),
    ];
    prop::collection::vec(one, 1..40)
}

struct Model {
    boxes: BTreeMap<String, Box>,
    /// Which of them light no lamp.
    dark: Vec<String>,
    count: usize,
}

impl Model {
    fn new() -> Self {
        let names = ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"];
        Model {
            boxes: names.iter().map(|n| (n.to_string(), Box::default())).collect(),
            dark: ["Junk", "Trash", "Archive"].map(str::to_owned).to_vec(),
            count: 0,
        }
    }

    /// Does the same to both; false when both refuse.
    fn apply(&mut self, world: &World, command: &Command) -> bool {
        let mail = &world.mail;
        let have = |model: &Model, i: &usize| model.boxes.contains_key(NAMES[*i]);
        match command {
            Command::Deliver { mailbox, voice } => {
                if !have(self, mailbox) {
                    return false;
                }
                self.count += 1;
                let subject = format!("message {}", self.count);
                match voice {
                    true => world.deliver_voice(NAMES[*mailbox], &subject),
                    false => world.deliver(NAMES[*mailbox], &subject),
                };
                let message = Message {
                    subject,
                    flags: Flags::new(),
                    voice: *voice,
                };
                self.boxes.get_mut(NAMES[*mailbox]).unwrap().add(message);
            }
            Command::Flag {
                mailbox,
                which,
                change,
            } => {
                let Some(one) = self.boxes.get_mut(NAMES[*mailbox]) else {
                    return false;
                };
                let uids = pick(one, *which);
                world.flag(NAMES[*mailbox], &uids, change.clone());
                for uid in uids {
                    let message = one.messages.get_mut(&uid).unwrap();
                    message.flags = change.apply(&message.flags);
                }
            }
            Command::Copy {
                from,
                which,
                to,
                moves,
            } => {
                if !have(self, from) || !have(self, to) {
                    return false;
                }
                let (selected, _) = world.select(NAMES[*from]);
                let uids = pick(&self.boxes[NAMES[*from]], *which);
                let target = name(NAMES[*to]);
                let copied = match moves {
                    true => now(mail.move_messages(&selected, &uids, &target, NOW)).unwrap(),
                    false => now(mail.copy(&selected, &uids, &target, NOW)).unwrap(),
                };
                assert_eq!(copied.pairs.iter().map(|(old, _)| *old).collect::<Vec<_>>(), uids);
                for uid in uids {
                    let message = self.boxes[NAMES[*from]].messages[&uid].clone();
                    self.boxes.get_mut(NAMES[*to]).unwrap().add(message);
                    if *moves {
                        self.boxes.get_mut(NAMES[*from]).unwrap().messages.remove(&uid);
                    }
                }
            }
            Command::Expunge { mailbox } => {
                let Some(one) = self.boxes.get_mut(NAMES[*mailbox]) else {
                    return false;
                };
                let (selected, _) = world.select(NAMES[*mailbox]);
                let removed = now(mail.expunge(&selected, None)).unwrap();
                let marked = |m: &Message| m.flags.to_string().contains("\\Deleted");
                let expected: Vec<u32> = one
                    .messages
                    .iter()
                    .filter(|(_, m)| marked(m))
                    .map(|(uid, _)| *uid)
                    .collect();
                assert_eq!(removed, expected);
                one.messages.retain(|_, m| !marked(m));
            }
            Command::Create { mailbox } => {
                let made = now(mail.create(ALICE, &name(NAMES[*mailbox]), None, NOW));
                assert_eq!(made.is_ok(), !have(self, mailbox));
                if made.is_ok() {
                    self.create(NAMES[*mailbox]);
                }
            }
            Command::Delete { mailbox } => {
                let text = NAMES[*mailbox];
                let gone = now(mail.delete(ALICE, &name(text)));
                assert_eq!(gone.is_ok(), have(self, mailbox) && text != "INBOX");
                if gone.is_ok() {
                    self.boxes.remove(text);
                    self.dark.retain(|n| n != text);
                }
            }
            Command::Rename { from, to } => return self.rename(world, NAMES[*from], NAMES[*to]),
        }
        true
    }

    fn create(&mut self, text: &str) {
        if let Some((parent, _)) = text.rsplit_once('/') {
            self.boxes.entry(parent.to_owned()).or_default();
        }
        self.boxes.entry(text.to_owned()).or_default();
    }

    fn rename(&mut self, world: &World, from: &str, to: &str) -> bool {
        let renamed = now(world.mail.rename(ALICE, &name(from), &name(to), NOW));
        let below = |n: &str| n.strip_prefix(from).is_some_and(|rest| rest.starts_with('/'));
        let moving: Vec<String> = self
            .boxes
            .keys()
            .filter(|n| n.as_str() == from || from != "INBOX" && below(n))
            .cloned()
            .collect();
        let new = |n: &str| format!("{to}{}", &n[from.len()..]);
        if moving.is_empty() {
            assert!(renamed.is_err());
            return false;
        }
        if from == to
            || below(to) && from != "INBOX"
            || moving.iter().any(|n| self.boxes.contains_key(&new(n)))
        {
            assert!(
                matches!(renamed, Err(MailError::AlreadyExists | MailError::Cannot(_))),
                "{renamed:?}"
            );
            return false;
        }
        renamed.unwrap();
        if from == "INBOX" {
            self.create(to);
            let messages = std::mem::take(&mut self.boxes.get_mut(from).unwrap().messages);
            messages
                .into_values()
                .for_each(|m| self.boxes.get_mut(to).unwrap().add(m));
            return true;
        }
        if let Some((parent, _)) = to.rsplit_once('/') {
            self.boxes.entry(parent.to_owned()).or_default();
        }
        for old in moving {
            let one = self.boxes.remove(&old).unwrap();
            let dark = self.dark.contains(&old);
            self.dark.retain(|n| *n != old);
            if dark {
                self.dark.push(new(&old));
            }
            self.boxes.insert(new(&old), one);
        }
        true
    }

    fn compare(&self, world: &World) {
        let listed = now(world.mail.list(ALICE)).unwrap();
        let names: Vec<_> = listed
            .iter()
            .filter(|m| m.selectable)
            .map(|m| m.name.to_string())
            .collect();
        assert_eq!(names, self.boxes.keys().cloned().collect::<Vec<_>>());
        let mut lamp = (0, 0);
        for (text, expected) in &self.boxes {
            let (selected, messages) = world.select(text);
            let found: Vec<_> = messages
                .iter()
                .map(|m| (m.uid, world.subject(&selected, m.uid).unwrap(), m.flags.clone()))
                .collect();
            let wanted: Vec<_> = expected
                .messages
                .iter()
                .map(|(uid, m)| (*uid, m.subject.clone(), m.flags.clone()))
                .collect();
            assert_eq!(found, wanted, "in {text}");
            let unseen = |m: &&Message| !m.flags.to_string().contains("\\Seen");
            let status = now(world.mail.status(ALICE, &name(text))).unwrap();
            assert_eq!(status.messages as usize, expected.messages.len());
            assert_eq!(
                status.unseen as usize,
                expected.messages.values().filter(unseen).count()
            );
            assert_eq!(status.uid_next, expected.next_uid.max(1));
            if !self.dark.contains(text) {
                let voices = expected.messages.values().filter(|m| m.voice);
                let (new, old): (Vec<_>, Vec<_>) = voices.partition(unseen);
                lamp = (lamp.0 + new.len() as u32, lamp.1 + old.len() as u32);
            }
        }
        assert_eq!(world.lamp(), lamp);
        world.check();
    }
}

/// Some of a mailbox's UIDs, ascending.
fn pick(one: &Box, which: u8) -> Vec<u32> {
    let uids = one.messages.keys().enumerate();
    uids.filter(|(i, _)| which >> (i % 8) & 1 == 1)
        .map(|(_, uid)| *uid)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_service_does_what_the_model_does(commands in commands()) {
        let world = World::new();
        let mut model = Model::new();
        for command in &commands {
            if model.apply(&world, command) {
                model.compare(&world);
            }
        }
        world.sweep();
        model.compare(&world);
    }
}
