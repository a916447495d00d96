//! Programs that work on messages of their own.

use super::*;

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) subject: String,
    pub(crate) flags: &'static str,
}

/// What a program was about to do when it heard nothing more. It happens whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// What is gone afterwards.
    pub(crate) removed: BTreeSet<(usize, u32)>,
    /// What is there besides, under UIDs that nobody was told.
    pub(crate) added: Vec<(usize, Held)>,
    /// What has other flags.
    pub(crate) flagged: BTreeMap<(usize, u32), &'static str>,
}

/// A program that works on messages of its own in Alice's mailboxes.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) serial: u64,
    /// What it was told is there.
    pub(crate) there: BTreeMap<(usize, u32), Held>,
    pub(crate) under_way: Option<UnderWay>,
    /// What came of its work, in the order of answers.
    pub(crate) minted: Vec<(usize, u32, String)>,
}

impl Program {
    pub(crate) fn new(name: &str) -> Self {
        Program {
            name: name.to_owned(),
            serial: 0,
            there: BTreeMap::new(),
            under_way: None,
            minted: Vec::new(),
        }
    }

    pub(crate) fn subject(&mut self) -> String {
        self.serial += 1;
        format!("{}-{}", self.name, self.serial)
    }

    pub(crate) async fn work(&mut self, mail: &Mail, mut rng: Rng) {
        for _ in 0..30 {
            match self.step(mail, &mut rng).await {
                // Nothing was done.
                Ok(()) | Err(MailError::Busy) => self.under_way = None,
                Err(_) => return,
            }
        }
    }

    pub(crate) fn some(&self, mailbox: usize, rng: &mut Rng) -> Vec<u32> {
        let own = self.there.keys().filter(|(m, _)| *m == mailbox);
        own.map(|(_, uid)| *uid).filter(|_| rng.chance(0.5)).collect()
    }

    pub(crate) async fn step(&mut self, mail: &Mail, rng: &mut Rng) -> Result<(), MailError> {
        let (mailbox, to) = (rng.below(3) as usize, rng.below(3) as usize);
        let uids = self.some(mailbox, rng);
        match rng.below(8) {
            0 | 1 => self.deliver(mail, mailbox).await,
            2 => self.append(mail, mailbox, 1 + rng.below(3)).await,
            3 | 4 => {
                self.flag(mail, mailbox, &uids, FLAGS[rng.below(5) as usize])
                    .await
            }
            5 => self.expunge(mail, mailbox).await,
            6 => self.transfer(mail, mailbox, &uids, to, false).await,
            _ if mailbox != to => self.transfer(mail, mailbox, &uids, to, true).await,
            _ => Ok(()),
        }
    }

    pub(crate) fn add(&mut self, mailbox: usize, uid: u32, held: Held) {
        self.minted.push((mailbox, uid, held.subject.clone()));
        self.there.insert((mailbox, uid), held);
    }

    pub(crate) async fn deliver(&mut self, mail: &Mail, mailbox: usize) -> Result<(), MailError> {
        let held = Held {
            subject: self.subject(),
            flags: "",
        };
        self.under_way = Some(UnderWay {
            added: vec![(mailbox, held.clone())],
            ..UnderWay::default()
        });
        let letter = letter(mail, &held.subject).await?;
        let delivery = Delivery {
            mailbox: name(mailbox),
            ..Delivery::new(NOW)
        };
        let delivered = mail.deliver(ALICE, &letter, delivery).await?.unwrap();
        self.add(mailbox, delivered.uid, held);
        Ok(())
    }

    /// Several with one APPEND.
    pub(crate) async fn append(&mut self, mail: &Mail, mailbox: usize, count: u64) -> Result<(), MailError> {
        let held = |program: &mut Self| Held {
            subject: program.subject(),
            flags: "\\Seen",
        };
        let all: Vec<Held> = (0..count).map(|_| held(self)).collect();
        self.under_way = Some(UnderWay {
            added: all.iter().map(|held| (mailbox, held.clone())).collect(),
            ..UnderWay::default()
        });
        let mut append = None;
        for held in &all {
            let text = text(&held.subject);
            let (size_bytes, flags) = (text.len() as u64, flags(held.flags));
            let mut next = match append {
                None => {
                    mail.append(ALICE, &name(mailbox), flags, None, size_bytes)
                        .await?
                }
                Some(append) => mail.append_next(append, flags, None, size_bytes).await?,
            };
            next.write(text.into()).await?;
            append = Some(next);
        }
        let appended = mail.append_finish(append.unwrap(), NOW).await?;
        assert_eq!(appended.uids.len(), all.len());
        for (uid, held) in appended.uids.into_iter().zip(all) {
            self.add(mailbox, uid, held);
        }
        Ok(())
    }

    pub(crate) async fn flag(
        &mut self,
        mail: &Mail,
        mailbox: usize,
        uids: &[u32],
        to: &'static str,
    ) -> Result<(), MailError> {
        self.under_way = Some(UnderWay {
            flagged: uids.iter().map(|uid| ((mailbox, *uid), to)).collect(),
            ..UnderWay::default()
        });
        let (mut selected, _) = mail.select(ALICE, &name(mailbox), false).await?;
        let change = FlagChange::Replace(flags(to));
        let changed = mail.store_flags(&mut selected, uids, &change, None).await?;
        assert_eq!(
            changed.states.len(),
            uids.len(),
            "{} is told of its own",
            self.name
        );
        for uid in uids {
            self.there.get_mut(&(mailbox, *uid)).unwrap().flags = to;
        }
        Ok(())
    }

    pub(crate) async fn expunge(&mut self, mail: &Mail, mailbox: usize) -> Result<(), MailError> {
        let marked = |((m, uid), held): (&(usize, u32), &Held)| {
            (*m == mailbox && held.flags == DELETED).then_some(*uid)
        };
        let uids: Vec<u32> = self.there.iter().filter_map(marked).collect();
        self.under_way = Some(UnderWay {
            removed: uids.iter().map(|uid| (mailbox, *uid)).collect(),
            ..UnderWay::default()
        });
        let (selected, _) = mail.select(ALICE, &name(mailbox), false).await?;
        let removed = mail.expunge(&selected, Some(&uids)).await?;
        assert_eq!(removed, uids);
        uids.iter()
            .for_each(|uid| drop(self.there.remove(&(mailbox, *uid))));
        Ok(())
    }

    pub(crate) async fn transfer(
        &mut self,
        mail: &Mail,
        mailbox: usize,
        uids: &[u32],
        to: usize,
        moves: bool,
    ) -> Result<(), MailError> {
        let held = |uid: &u32| self.there[&(mailbox, *uid)].clone();
        let mut under_way = UnderWay {
            added: uids.iter().map(|uid| (to, held(uid))).collect(),
            ..UnderWay::default()
        };
        if moves {
            under_way.removed = uids.iter().map(|uid| (mailbox, *uid)).collect();
        }
        self.under_way = Some(under_way);
        let (selected, _) = mail.select(ALICE, &name(mailbox), false).await?;
        let copied = match moves {
            true => mail.move_messages(&selected, uids, &name(to), NOW).await?,
            false => mail.copy(&selected, uids, &name(to), NOW).await?,
        };
        assert_eq!(copied.pairs.len(), uids.len());
        for (old, new) in copied.pairs {
            let held = self.there[&(mailbox, old)].clone();
            if moves {
                self.there.remove(&(mailbox, old));
            }
            self.add(to, new, held);
        }
        Ok(())
    }

    /// Holds what is there of its messages against what it was told.
    pub(crate) fn check(&mut self, found: &BTreeMap<(usize, u32), Held>) -> Result<(), Broken> {
        let prefix = format!("{}-", self.name);
        let own = found.iter().filter(|(_, held)| held.subject.starts_with(&prefix));
        let own: BTreeMap<(usize, u32), Held> = own.map(|(at, held)| (*at, held.clone())).collect();
        let under_way = self.under_way.take();
        let told = std::mem::replace(&mut self.there, own.clone());
        if own == told {
            return Ok(());
        }
        let contradiction = || {
            let missing: Vec<_> = told
                .iter()
                .filter(|(at, held)| own.get(at) != Some(held))
                .collect();
            let more: Vec<_> = own
                .iter()
                .filter(|(at, held)| told.get(at) != Some(held))
                .collect();
            format!(
                "{} was told of {missing:?}, sees {more:?} instead, and had under way {under_way:?}",
                self.name
            )
        };
        let Some(under_way) = &under_way else {
            return Err(contradiction());
        };
        let mut kept = told.clone();
        kept.retain(|at, _| !under_way.removed.contains(at));
        for (at, flags) in &under_way.flagged {
            kept.get_mut(at).unwrap().flags = flags;
        }
        let all_kept = kept.iter().all(|(at, held)| own.get(at) == Some(held));
        let added = own.iter().filter(|(at, _)| !kept.contains_key(at));
        let mut added: Vec<(usize, Held)> = added.map(|((m, _), held)| (*m, held.clone())).collect();
        let mut expected = under_way.added.clone();
        added.sort();
        expected.sort();
        expect(all_kept && added == expected, contradiction)
    }
}
