//! Mail for other servers, and those servers.

use super::*;

/// What was said of a recipient on another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fared {
    Waiting,
    Delivered,
    Failed,
}

/// Writes to other servers, and is those servers.
#[derive(Default)]
pub(crate) struct Postman {
    pub(crate) serial: u64,
    pub(crate) fared: BTreeMap<String, Fared>,
    pub(crate) submitting: Vec<String>,
    /// What the servers have said, before it was written down.
    pub(crate) concluding: Vec<(String, Fared)>,
    /// How often each was handed over, and how often that could not be written down.
    pub(crate) handed: BTreeMap<String, u32>,
    pub(crate) forgotten: BTreeMap<String, u32>,
}

impl Postman {
    pub(crate) async fn work(&mut self, mail: &Mail, at: UnixTime, mut rng: Rng) {
        let _stopped = self.try_work(mail, at, &mut rng, 5).await;
    }

    pub(crate) async fn try_work(
        &mut self,
        mail: &Mail,
        at: UnixTime,
        rng: &mut Rng,
        submitted: usize,
    ) -> Result<(), MailError> {
        mail.load_queue(false, at).await?;
        for n in 0..10 {
            if n < submitted {
                self.submit(mail, at).await?;
            }
            while let Some(work) = mail.next_work(at, 4) {
                for id in &work.ids {
                    if let Some(message) = mail.lease(*id, at).await? {
                        self.hand_over(mail, message, at, rng).await?;
                    }
                }
                mail.finish_work(&work.line, true, at);
            }
        }
        Ok(())
    }

    pub(crate) async fn submit(&mut self, mail: &Mail, at: UnixTime) -> Result<(), MailError> {
        self.serial += 1;
        let to = ["a@one.test", "b@one.test", "c@two.test"].map(|to| format!("r{}.{to}", self.serial));
        self.submitting = to.to_vec();
        let elsewhere = |to: &String| Elsewhere::new(to.clone(), to.split_once('@').unwrap().1);
        let envelope = Envelope {
            sender: "dan@example.org".into(),
            submitter: Some(DAN),
            outgoing: Outgoing {
                recipients: to.iter().map(elsewhere).collect(),
                ..Outgoing::default()
            },
            ..Envelope::default()
        };
        let subject = format!("away-{}", self.serial);
        mail.spool(envelope, letter(mail, &subject).await?, at).await?;
        for to in self.submitting.drain(..) {
            self.fared.insert(to, Fared::Waiting);
        }
        Ok(())
    }

    pub(crate) async fn hand_over(
        &mut self,
        mail: &Mail,
        mut message: ringpost_mail::QueuedMessage,
        at: UnixTime,
        rng: &mut Rng,
    ) -> Result<(), MailError> {
        let schedule = Schedule {
            delay_notice: HOUR * 1_000,
            max_age: HOUR * 1_000,
        };
        // What is owed from before the crash is told first, as the driver does.
        if message.owes_notice() {
            let told = mail.tell_sender(&mut message, Notice::Here(DAN), "mx.example.org", &schedule, at);
            told.await?;
            mail.release(message);
            return Ok(());
        }
        let mut verdicts = Vec::new();
        let waiting: Vec<String> = message.waiting().map(|r| r.address.clone()).collect();
        for to in waiting {
            let (fate, code, fared) = match rng.below(4) {
                0 => (Fate::Deferred, 451, Fared::Waiting),
                1 => (Fate::Failed, 550, Fared::Failed),
                _ => (Fate::Delivered, 250, Fared::Delivered),
            };
            if fared == Fared::Delivered {
                *self.handed.entry(to.clone()).or_default() += 1;
            }
            self.concluding.push((to, fared));
            verdicts.push(Verdict {
                fate,
                status: format!("{}.0.0", code / 100),
                code: Some(code),
                text: "so it is".into(),
            });
        }
        mail.conclude(&mut message, &verdicts, &schedule, at).await?;
        for (to, fared) in self.concluding.drain(..) {
            self.fared.insert(to, fared);
        }
        if message.owes_notice() {
            let told = mail.tell_sender(&mut message, Notice::Here(DAN), "mx.example.org", &schedule, at);
            told.await?;
        }
        mail.release(message);
        Ok(())
    }

    /// Who waits in the queue, and whose failure is still to be told there.
    pub(crate) fn queued(node: &Node) -> Result<BTreeMap<String, Fared>, Broken> {
        let mut queued = BTreeMap::new();
        for entry in alone(node.mail.queue_entries()).map_err(|e| e.to_string())? {
            for recipient in entry.record.recipients {
                let fared = if recipient.failed {
                    Fared::Failed
                } else {
                    Fared::Waiting
                };
                let earlier = queued.insert(recipient.address.clone(), fared);
                expect(earlier.is_none(), || format!("{} waits twice", recipient.address))?;
            }
        }
        Ok(queued)
    }

    /// Of how many failures the sender was told, and how often of each.
    pub(crate) fn notices(node: &Node) -> Result<BTreeMap<String, u32>, Broken> {
        let mut told = BTreeMap::new();
        for held in node.look(DAN, 0)?.1.into_values() {
            let recipients = held
                .subject
                .lines()
                .filter_map(|l| l.strip_prefix("Final-Recipient: rfc822; "));
            recipients.for_each(|to| *told.entry(to.to_owned()).or_default() += 1);
        }
        Ok(told)
    }

    pub(crate) fn check(&mut self, node: &Node) -> Result<(), Broken> {
        let (queued, told) = (Postman::queued(node)?, Postman::notices(node)?);
        // All for whom it was submitted, or none.
        let submitting = std::mem::take(&mut self.submitting);
        let arrived = submitting.iter().filter(|to| queued.contains_key(*to)).count();
        expect([0, submitting.len()].contains(&arrived), || {
            format!("of {submitting:?}, {arrived} are queued")
        })?;
        if arrived > 0 {
            let waiting = submitting.into_iter().map(|to| (to, Fared::Waiting));
            self.fared.extend(waiting);
        }
        // What was concluded for all, or for none.
        let concluding = std::mem::take(&mut self.concluding);
        let as_queued = |fared: Fared| match fared {
            Fared::Delivered => None,
            other => Some(other),
        };
        let is_written = concluding
            .iter()
            .all(|(to, fared)| queued.get(to).copied() == as_queued(*fared));
        for (to, fared) in concluding {
            if is_written {
                self.fared.insert(to, fared);
            } else if fared == Fared::Delivered {
                *self.forgotten.entry(to).or_default() += 1;
            }
        }
        for (to, fared) in &self.fared {
            let (waits, notices) = (queued.get(to), told.get(to).copied().unwrap_or(0));
            let holds = match fared {
                Fared::Waiting => waits == Some(&Fared::Waiting) && notices == 0,
                Fared::Delivered => waits.is_none() && notices == 0,
                // Between the notice and the record that it was given, the record is still there.
                Fared::Failed => notices <= 1 && (notices == 1 || waits == Some(&Fared::Failed)),
            };
            expect(holds, || {
                format!("{to} is {fared:?}, in the queue {waits:?}, and {notices} notices tell of it")
            })?;
        }
        let stranger = queued
            .keys()
            .chain(told.keys())
            .find(|to| !self.fared.contains_key(*to));
        expect(stranger.is_none(), || format!("{stranger:?} was refused"))
    }

    /// Everything is worked off; each has it once, but for what could not be written down.
    pub(crate) fn finish(&mut self, node: &Node, mut at: UnixTime) -> Result<(), Broken> {
        let mut rng = Rng::from_number(9);
        for _ in 0..60 {
            at = at + HOUR * 3;
            alone(self.try_work(&node.mail, at, &mut rng, 0)).map_err(|e| e.to_string())?;
            if node.mail.queue_len() == 0 {
                break;
            }
        }
        self.check(node)?;
        let told = Postman::notices(node)?;
        expect(Postman::queued(node)?.is_empty(), || {
            "the queue does not empty".into()
        })?;
        for (to, fared) in &self.fared {
            let handed = self.handed.get(to).copied().unwrap_or(0);
            let forgotten = self.forgotten.get(to).copied().unwrap_or(0);
            let notices = told.get(to).copied().unwrap_or(0);
            let holds = match fared {
                Fared::Waiting => false,
                Fared::Delivered => handed == 1 + forgotten && notices == 0,
                Fared::Failed => handed == forgotten && notices == 1,
            };
            expect(holds, || {
                format!(
                    "{to} is {fared:?}, was handed over {handed} times, {forgotten} forgotten, {notices} notices"
                )
            })?;
        }
        Ok(())
    }
}
