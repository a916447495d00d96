//! How a destination wants to be spoken to: DANE (RFC 7672) first, then MTA-STS (RFC 8461).

use super::Outbound;
use super::route::{Host, Route};
use crate::world::Proof;
use ringpost_base::UnixTime;
use ringpost_sip::locate::{Answer, Question};
use ringpost_smtp::client::Verdict;
use ringpost_smtp::sts::{Mode, Policy, policy_id};
use ringpost_store::records::StsPolicy;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a policy that could not be had is not asked for again.
//= https://www.rfc-editor.org/rfc/rfc8461#section-3.3
const AFTER_FAILURE: Duration = Duration::from_secs(300);
/// Domains of which that is remembered, before all of it is forgotten.
const REMEMBERED: usize = 1_024;

/// Policies that could not be had lately, by domain: until when they are not asked for.
#[derive(Debug, Default)]
pub struct Unavailable(Mutex<HashMap<String, UnixTime>>);

impl Unavailable {
    fn is_noted(&self, domain: &str, now: UnixTime) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A calendar that was set back must not keep it for ever.
        noted
            .get(domain)
            .is_some_and(|until| now < *until && until.since(now) <= AFTER_FAILURE)
    }

    fn note(&self, domain: &str, now: UnixTime) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= REMEMBERED {
            noted.clear();
        }
        noted.insert(domain.to_owned(), now + AFTER_FAILURE);
    }
}

impl Outbound {
    /// Has a host spoken to as the destination wants it; an error when it must not be spoken to.
    pub(super) async fn secure(
        &self,
        host: &mut Host,
        route: &Route,
        policy: Option<&Policy>,
    ) -> Result<(), Verdict> {
        if route.servers_proven {
            match self.dns.tlsa(&host.name).await {
                Ok(None) => {}
                Ok(Some(records)) => {
                    host.asked_by = Some("DANE");
                    // Where no record can be used, TLS it must be, with whomever.
                    //= https://www.rfc-editor.org/rfc/rfc7672#section-2.2
                    if !records.is_empty() {
                        host.proof = Proof::Dane {
                            records,
                            domain: route.destination.clone(),
                        };
                    }
                    return Ok(());
                }
                // Whoever hides the records must not get the mail.
                //= https://www.rfc-editor.org/rfc/rfc7672#section-2.1
                Err(e) => return Err(Verdict::deferred("4.7.5", format!("DANE: {e}"))),
            }
        }
        let Some(policy) = policy else { return Ok(()) };
        //= https://www.rfc-editor.org/rfc/rfc8461#section-5
        match (policy.mode, policy.allows(&host.name)) {
            (Mode::Enforce, true) => {
                host.asked_by = Some("MTA-STS");
                host.proof = Proof::Name;
                Ok(())
            }
            (Mode::Enforce, false) => {
                let text = format!(
                    "MTA-STS: {} is not among the servers that the policy of {} names",
                    host.name, route.destination
                );
                Err(Verdict::deferred("4.7.5", text))
            }
            (Mode::Testing, false) => {
                tracing::info!(
                    destination = %route.destination, host = %host.name,
                    "the server is not in the domain's MTA-STS policy, which is for testing only"
                );
                Ok(())
            }
            (Mode::Testing | Mode::None, _) => Ok(()),
        }
    }

    /// The policy of a domain: the one that is kept, unless the DNS names another that can be had.
    pub(super) async fn policy(&self, domain: &str) -> Option<Policy> {
        if !self.config.mta_sts {
            return None;
        }
        let now = self.world.unix_now();
        let kept = match self.mail.sts_policy(domain, now).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%domain, %error, "an MTA-STS policy cannot be read");
                None
            }
        };
        let texts = self.dns.texts(&format!("_mta-sts.{domain}")).await;
        let id = texts.as_deref().and_then(policy_id);
        //= https://www.rfc-editor.org/rfc/rfc8461#section-5.1
        let fetched = match id {
            Some(id) if kept.as_ref().is_none_or(|kept| kept.id != id) => self.fetch(domain, id, now).await,
            _ => None,
        };
        if fetched.is_some() {
            return fetched;
        }
        Policy::parse(kept?.text.as_bytes()).ok()
    }

    async fn fetch(&self, domain: &str, id: String, now: UnixTime) -> Option<Policy> {
        if self.unavailable.is_noted(domain, now) {
            return None;
        }
        match self.fetch_now(domain).await {
            Ok((text, policy)) => {
                let record = StsPolicy {
                    domain: domain.to_owned(),
                    id,
                    text,
                    expires: now + policy.max_age,
                };
                if let Err(error) = self.mail.keep_sts_policy(&record).await {
                    tracing::error!(%domain, %error, "an MTA-STS policy cannot be kept");
                }
                Some(policy)
            }
            Err(why) => {
                tracing::info!(%domain, %why, "the domain's MTA-STS policy cannot be had");
                self.unavailable.note(domain, now);
                None
            }
        }
    }

    async fn fetch_now(&self, domain: &str) -> Result<(String, Policy), String> {
        //= https://www.rfc-editor.org/rfc/rfc8461#section-3.3
        let host = format!("mta-sts.{domain}");
        let found = self.dns.look_up(Question::Addresses(host.clone())).await;
        let Some(Answer::Addresses(mut addresses)) = found else {
            return Err(format!("the DNS did not answer for {host}"));
        };
        addresses.retain(|address| self.config.may_reach(*address));
        if addresses.is_empty() {
            return Err(format!("{host} is at no address that may be gone to"));
        }
        let bytes = self.policies.fetch(host, addresses).await?;
        let policy = Policy::parse(&bytes)?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), policy))
    }
}
