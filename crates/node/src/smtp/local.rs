//! LMTP: each recipient is delivered to by itself, and has its own answer.

use super::{Away, Driver};
use ringpost_mail::{Letter, Recipient};
use ringpost_smtp::{Answer, Refusal};
use ringpost_store::AccountId;
use std::collections::{HashMap, HashSet};

/// Whom one RCPT means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Where its recipients here end, and those elsewhere.
    here: usize,
    away: usize,
}

impl Driver<'_> {
    /// A RCPT was accepted: what it added is its own.
    pub(super) fn end_part(&mut self) {
        self.parts.push(Part {
            here: self.recipients.len(),
            away: self.elsewhere.len(),
        });
    }

    /// Delivers to each recipient; the answers are in their order. What leads elsewhere, or to several people, is spooled.
    //= https://www.rfc-editor.org/rfc/rfc2033#section-4.2
    pub(super) async fn store_for_each(&mut self, id: String, letter: &Letter) -> Answer {
        let (all_here, all_away) = (
            std::mem::take(&mut self.recipients),
            std::mem::take(&mut self.elsewhere),
        );
        let (mut here, mut away) = (all_here.into_iter(), all_away.into_iter());
        // Who is named twice has it once, by whatever names.
        let mut done: HashMap<AccountId, Result<(), Refusal>> = HashMap::new();
        let mut sent: HashSet<String> = HashSet::new();
        let mut verdicts = Vec::new();
        let mut before = Part { here: 0, away: 0 };
        for part in std::mem::take(&mut self.parts) {
            let mut here: Vec<Recipient> = here.by_ref().take(part.here - before.here).collect();
            let mut away: Vec<Away> = away.by_ref().take(part.away - before.away).collect();
            before = part;
            if let ([only], []) = (&here[..], &away[..])
                && let Some(verdict) = done.get(&only.account)
            {
                verdicts.push(*verdict);
                continue;
            }
            here.retain(|recipient| !done.contains_key(&recipient.account));
            away.retain(|away| !sent.contains(&away.to.address));
            let addresses: Vec<String> = away.iter().map(|away| away.to.address.clone()).collect();
            let accounts: Vec<AccountId> = here.iter().map(|recipient| recipient.account).collect();
            let is_single = accounts.len() == 1 && away.is_empty();
            // A list has nobody left for whom the message is not answered for.
            let verdict = match here.is_empty() && away.is_empty() {
                true => Ok(()),
                false => self.store_part(letter, here, away).await,
            };
            // What a list is refused for need not hold for those on it.
            if verdict.is_ok() {
                sent.extend(addresses);
            }
            if is_single || verdict.is_ok() {
                done.extend(accounts.into_iter().map(|account| (account, verdict)));
            }
            verdicts.push(verdict);
        }
        Answer::StoredFor { id, verdicts }
    }

    async fn store_part(
        &mut self,
        letter: &Letter,
        here: Vec<Recipient>,
        away: Vec<Away>,
    ) -> Result<(), Refusal> {
        (self.recipients, self.elsewhere) = (here, away);
        if !self.leave_circles(letter) {
            return Err(Refusal::Loop);
        }
        self.store(letter.clone(), false).await.map(drop)
    }
}
