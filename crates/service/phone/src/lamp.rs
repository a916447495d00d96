//! The message-waiting lamp (RFC 3842): who watches it, and what it says.

use crate::access::{domain_of, is_own, person_address};
use crate::phone::{Pending, Phone};
use crate::question::{LampCounts, Person, Question};
use crate::registrar::Binding;
use ringpost_base::Instant;
use ringpost_sip::ua::{Content, NewRequest, Standing, SubscriptionId};
use ringpost_sip::{Flow, Message, Method, Status, TransactionId};
use ringpost_store::AccountId;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// The longest subscription that is granted.
const SUBSCRIPTION_MAX_S: u32 = 7_200;
/// What one gets that asks for nothing (RFC 3842 §3.4).
const SUBSCRIPTION_DEFAULT_S: u32 = 3_600;

/// The media type of what the lamp says.
pub(crate) const SUMMARY_TYPE: &str = "application/simple-message-summary";

/// What each account's lamp was last known to show.
#[derive(Debug, Default)]
pub(crate) struct Lamps {
    shown: HashMap<AccountId, LampCounts>,
}

impl Lamps {
    /// What it shows, if that is known.
    pub(crate) fn shown(&self, account: AccountId) -> Option<LampCounts> {
        self.shown.get(&account).copied()
    }

    /// Takes new counts; whether they differ from what was shown.
    pub(crate) fn set(&mut self, account: AccountId, counts: LampCounts) -> bool {
        self.shown.insert(account, counts) != Some(counts)
    }

    /// Nobody of the account is registered or subscribed any more.
    pub(crate) fn forget(&mut self, account: AccountId) {
        self.shown.remove(&account);
    }
}

impl Phone {
    /// Whether anybody would see the account's lamp.
    pub fn shows_lamp(&self, account: AccountId) -> bool {
        !self.registrar.bindings(account).is_empty() || self.watchers(account).next().is_some()
    }

    /// A SUBSCRIBE whose sender may subscribe: to their own lamp, and no other.
    pub(crate) fn subscribe(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        flow: Flow,
        request: Message,
        person: Option<Arc<Person>>,
    ) {
        let to = request.to();
        let domain = domain_of(to.uri(), &self.config).map(Box::<str>::from);
        match (person, to.uri().user_unescaped(), domain) {
            (Some(person), ..) if is_own(to, &person, &self.config) => {
                self.watch(now, transaction, flow, &request, person);
            }
            (Some(_), ..) => self.respond(now, transaction, &request, Status::FORBIDDEN.into()),
            (None, Some(user), Some(domain)) => {
                let user = String::from_utf8_lossy(&user).into();
                let pending = Pending::Subscribing(transaction, flow, request.clone());
                self.ask(Question::Person { user, domain }, pending);
            }
            (None, ..) => self.respond(now, transaction, &request, Status::NOT_FOUND.into()),
        }
    }

    /// Accepts a subscription. The NOTIFY that must follow at once tells what is known; the truth comes behind it if it
    /// differs.
    pub(crate) fn watch(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        flow: Flow,
        request: &Message,
        person: Arc<Person>,
    ) {
        let account = person.account;
        let expires_s = request
            .expires_s()
            .unwrap_or(SUBSCRIPTION_DEFAULT_S)
            .min(SUBSCRIPTION_MAX_S);
        match self
            .ua
            .accept_subscription(now, transaction, flow, request, expires_s)
        {
            Ok(subscription) => {
                self.subscribers.insert(subscription, person);
                // Without counts the first NOTIFY waits for them: a lamp that flickers is worse than one that is late.
                match self.lamps.shown(account) {
                    Some(counts) => self.notify(now, subscription, counts, expires_s),
                    None => self.ask(
                        Question::Lamp { account },
                        Pending::Watching(subscription, expires_s),
                    ),
                }
            }
            Err(_) => self.respond(now, transaction, request, Status::SERVICE_UNAVAILABLE.into()),
        }
    }

    /// The counts for a subscription's first NOTIFY.
    pub(crate) fn watching(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        expires_s: u32,
        counts: LampCounts,
    ) {
        if let Some(person) = self.subscribers.get(&subscription) {
            self.lamps.set(person.account, counts);
            self.notify(now, subscription, counts, expires_s);
        }
    }

    /// A subscriber renews, or ends with an expiry of zero.
    pub(crate) fn resubscribed(
        &mut self,
        now: Instant,
        (subscription, transaction): (SubscriptionId, TransactionId),
        request: &Message,
        expires_s: u32,
    ) {
        let expires_s = expires_s.min(SUBSCRIPTION_MAX_S);
        if self
            .ua
            .renew(now, subscription, transaction, request, expires_s)
            .is_err()
        {
            return;
        }
        let counts = self
            .subscribers
            .get(&subscription)
            .and_then(|person| self.lamps.shown(person.account))
            .unwrap_or_default();
        self.notify(now, subscription, counts, expires_s);
    }

    /// Shows counts on all of an account's phones: those that subscribed, and those that are only registered. With `again`
    /// the registered ones are told even what they were told before, since one of them may be new.
    pub(crate) fn show_lamp(&mut self, now: Instant, account: AccountId, counts: LampCounts, again: bool) {
        if !self.lamps.set(account, counts) && !again {
            return;
        }
        let watchers: Vec<SubscriptionId> = self.watchers(account).collect();
        let subscribed = !watchers.is_empty();
        for subscription in watchers {
            self.notify(now, subscription, counts, 1);
        }
        // Who subscribes hears it there; an unsolicited NOTIFY beside it would tell the same twice.
        if subscribed {
            return;
        }
        let Some(person) = self.people.get(&account).cloned() else {
            return;
        };
        for binding in self.registrar.bindings(account).to_vec() {
            self.notify_unasked(now, &binding, &person, counts);
        }
    }

    /// Nobody of the account is registered any more.
    pub(crate) fn forget_lamp(&mut self, account: AccountId) {
        if self.watchers(account).next().is_none() {
            self.lamps.forget(account);
        }
    }

    fn watchers(&self, account: AccountId) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.subscribers
            .iter()
            .filter(move |(_, person)| person.account == account)
            .map(|(subscription, _)| *subscription)
    }

    fn notify(&mut self, now: Instant, subscription: SubscriptionId, counts: LampCounts, expires_s: u32) {
        let Some(person) = self.subscribers.get(&subscription) else {
            return;
        };
        let standing = match expires_s {
            //= https://www.rfc-editor.org/rfc/rfc6665#section-4.2.1.4
            0 => Standing::Terminated("timeout"),
            _ => Standing::Active,
        };
        let body = summary(counts, &person.user, &person.domain);
        // A subscription that has just ended is told so by its own event.
        let _ = self.ua.notify(
            now,
            subscription,
            standing,
            Content::none().with_body(SUMMARY_TYPE, body),
        );
    }

    /// What most desk phones expect of a registrar: a NOTIFY that they did not subscribe to.
    fn notify_unasked(&mut self, now: Instant, binding: &Binding, person: &Person, counts: LampCounts) {
        let Some(address) = person_address(person) else {
            return;
        };
        let mut request = NewRequest::new(Method::Notify, binding.flow, address.clone(), address);
        request.uri = binding.contact.clone();
        request.content = Content::none()
            .with("Event", "message-summary")
            .with("Subscription-State", "active")
            .with_body(SUMMARY_TYPE, summary(counts, &person.user, &person.domain));
        // A phone that cannot be told now is told when it registers again.
        let _ = self.ua.request(now, request);
    }
}

/// The body of a NOTIFY (RFC 3842 §5.2).
pub(crate) fn summary(counts: LampCounts, user: &str, domain: &str) -> Vec<u8> {
    let mut body = String::new();
    let waiting = if counts.new > 0 { "yes" } else { "no" };
    let _ = write!(
        body,
        "Messages-Waiting: {waiting}\r\nMessage-Account: sip:{user}@{domain}\r\n"
    );
    let _ = write!(body, "Voice-Message: {}/{} (0/0)\r\n", counts.new, counts.old);
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_new_and_old() {
        let body = summary(LampCounts { new: 2, old: 5 }, "bob", "example.org");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "Messages-Waiting: yes\r\nMessage-Account: sip:bob@example.org\r\nVoice-Message: 2/5 (0/0)\r\n"
        );
        assert!(summary(LampCounts::default(), "b", "x").starts_with(b"Messages-Waiting: no\r\n"));
    }
}
