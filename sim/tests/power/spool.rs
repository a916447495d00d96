//! Mail for two people here.

use super::*;

/// Sends to two people here with one commit.
#[derive(Default)]
pub(crate) struct Spooler {
    pub(crate) serial: u64,
    pub(crate) promised: BTreeSet<String>,
    pub(crate) under_way: Option<String>,
    pub(crate) absent: BTreeSet<String>,
}

impl Spooler {
    pub(crate) async fn work(&mut self, mail: &Mail) {
        for _ in 0..6 {
            self.serial += 1;
            let subject = format!("both-{}", self.serial);
            self.under_way = Some(subject.clone());
            let spooled = async {
                let envelope = Envelope {
                    sender: "x@elsewhere.test".into(),
                    recipients: vec![
                        Recipient::new("bob@example.org", BOB),
                        Recipient::new("cat@example.org", CAT),
                    ],
                    ..Envelope::default()
                };
                mail.spool(envelope, letter(mail, &subject).await?, NOW).await
            };
            let Ok(spooled) = spooled.await else { return };
            self.promised.insert(subject);
            self.under_way = None;
            if mail.deliver_spooled(&spooled, NOW).await.is_err() {
                return;
            }
        }
    }

    /// Everything that was promised is with both, once.
    pub(crate) fn check(&mut self, node: &Node) -> Result<(), Broken> {
        alone(node.mail.deliver_due(NOW + HOUR, NOW + HOUR)).map_err(|e| e.to_string())?;
        let mut inboxes = Vec::new();
        for account in [BOB, CAT] {
            let (_, held) = node.look(account, 0)?;
            let subjects: BTreeSet<String> = held.values().map(|held| held.subject.clone()).collect();
            expect(subjects.len() == held.len(), || format!("{held:?} has one twice"))?;
            inboxes.push(subjects);
        }
        expect(inboxes[0] == inboxes[1], || format!("{inboxes:?}"))?;
        if let Some(subject) = self.under_way.take() {
            match inboxes[0].contains(&subject) {
                true => self.promised.insert(subject),
                false => self.absent.insert(subject),
            };
        }
        expect(inboxes[0] == self.promised, || {
            format!("{:?} are there, promised were {:?}", inboxes[0], self.promised)
        })
    }
}
