//! The message-waiting lamp (RFC 3842): who watches it, and what it says.

use crate::access::{domain_of, is_own, person_address};
use crate::config::Config;
use crate::phone::{Pending, Phone};
use crate::question::{Account, Device, LampCounts, Owner, Person, Question};
use crate::registrar::Binding;
use ringpost_base::{Instant, limits};
use ringpost_sip::ua::{CommandError, Content, NewRequest, RequestId, Standing, SubscriptionId};
use ringpost_sip::{Flow, HeaderName, Message, Method, Status, TransactionId};
use ringpost_store::AccountId;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

/// The longest subscription that is granted.
const SUBSCRIPTION_MAX_S: u32 = 7_200;
/// What one gets that asks for nothing (RFC 3842 §3.4).
const SUBSCRIPTION_DEFAULT_S: u32 = 3_600;

/// The media type of what the lamp says.
pub(crate) const SUMMARY_TYPE: &str = "application/simple-message-summary";

/// What each account's lamp was last known to show, and who looks at it.
#[derive(Debug, Default)]
pub(crate) struct Lamps {
    shown: HashMap<AccountId, LampCounts>,
    watchers: HashMap<SubscriptionId, Watcher>,
    /// The subscriptions of each account, the oldest first.
    by_account: HashMap<AccountId, Vec<SubscriptionId>>,
    /// NOTIFYs that nobody subscribed to, until they are answered.
    unasked: HashMap<RequestId, Bystander>,
    /// What each of them says. A phone is told one thing at a time: of two such NOTIFYs nothing would say which is the later
    /// one, and the network may turn them round.
    telling: HashMap<Bystander, LampCounts>,
    /// Accounts with a phone that could not be told: the next REGISTER of one of them tells all again.
    untold: HashSet<AccountId>,
}

/// A phone that is registered and has not subscribed: whose, where, and its Contact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bystander {
    account: AccountId,
    flow: Flow,
    contact: Box<str>,
}

impl Bystander {
    fn new(account: AccountId, binding: &Binding) -> Self {
        Bystander {
            account,
            flow: binding.flow,
            contact: binding.contact.as_str().into(),
        }
    }
}

/// Who subscribed to their own lamp.
#[derive(Debug)]
struct Watcher {
    owner: Owner,
    flow: Flow,
}

impl Lamps {
    /// The NOTIFYs that nobody subscribed to and that wait for their answer.
    pub(crate) fn waiting(&self) -> [(&'static str, usize); 2] {
        [
            ("unasked NOTIFYs", self.unasked.len()),
            ("phones being told", self.telling.len()),
        ]
    }

    /// Everything else that is kept, and how much of it.
    pub(crate) fn holdings(&self) -> [(&'static str, usize); 4] {
        [
            ("lamps", self.shown.len()),
            ("watchers of lamps", self.watchers.len()),
            ("accounts with watchers", self.by_account.len()),
            ("accounts to be told again", self.untold.len()),
        ]
    }

    /// The accounts whose lamp somebody has subscribed to.
    pub(crate) fn watched(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.by_account.keys().copied()
    }

    fn watchers_of(&self, account: AccountId) -> &[SubscriptionId] {
        self.by_account.get(&account).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, subscription: SubscriptionId, watcher: Watcher) {
        self.by_account
            .entry(watcher.owner.person.account)
            .or_default()
            .push(subscription);
        self.watchers.insert(subscription, watcher);
    }

    /// Whose it was.
    fn remove(&mut self, subscription: SubscriptionId) -> Option<AccountId> {
        let account = self.watchers.remove(&subscription)?.owner.person.account;
        if let Some(all) = self.by_account.get_mut(&account) {
            all.retain(|other| *other != subscription);
            if all.is_empty() {
                self.by_account.remove(&account);
            }
        }
        Some(account)
    }

    /// Whether the phone of that binding has subscribed.
    fn is_watched_from(&self, account: AccountId, flow: &Flow) -> bool {
        self.watchers_of(account)
            .iter()
            .filter_map(|subscription| self.watchers.get(subscription))
            .any(|watcher| watcher.flow == *flow)
    }
}

impl Phone {
    /// Whether anybody would see the account's lamp.
    pub fn shows_lamp(&self, account: AccountId) -> bool {
        !self.registrar.bindings(account).is_empty() || !self.lamps.watchers_of(account).is_empty()
    }

    /// A SUBSCRIBE whose sender may subscribe: to their own lamp, and no other. Many phones name the number that is dialled
    /// to hear the messages.
    pub(crate) fn subscribe(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        flow: Flow,
        request: Message,
        device: Option<Arc<Device>>,
    ) {
        //= https://www.rfc-editor.org/rfc/rfc6665#section-4.1.2.1
        let takes_counts = request.accepts("application", "simple-message-summary");
        if request.has(HeaderName::Accept) && !takes_counts {
            return self.respond(now, transaction, &request, Status::NOT_ACCEPTABLE.into());
        }
        let to = request.to();
        let domain = domain_of(to.uri(), &self.config).map(Box::<str>::from);
        match (device, to.uri().user_unescaped(), domain) {
            (Some(device), ..)
                if is_own(to, &device.person, &self.config) || is_menu(&request, &self.config) =>
            {
                self.watch(now, transaction, flow, request, Owner::from(&*device));
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

    /// Accepts a subscription, once the counts are known that the NOTIFY behind it must tell at once.
    pub(crate) fn watch(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        flow: Flow,
        request: Message,
        owner: Owner,
    ) {
        let account = owner.person.account;
        match self.lamps.shown.get(&account).copied() {
            Some(counts) => self.watch_from(now, (transaction, flow, &request), owner, counts),
            None => self.ask(
                Question::Lamp { account },
                Pending::Watching(transaction, flow, request, owner),
            ),
        }
    }

    /// Accepts a subscription to a lamp that shows `counts`.
    pub(crate) fn watch_from(
        &mut self,
        now: Instant,
        (transaction, flow, request): (TransactionId, Flow, &Message),
        owner: Owner,
        counts: LampCounts,
    ) {
        let account = owner.person.account;
        let asked_s = request.expires_s().unwrap_or(SUBSCRIPTION_DEFAULT_S);
        let expires_s = asked_s.min(SUBSCRIPTION_MAX_S);
        let accepted = self
            .ua
            .accept_subscription(now, transaction, flow, request, expires_s);
        let subscription = match accepted {
            Ok(subscription) => subscription,
            Err(CommandError::Full) => {
                return self.respond(now, transaction, request, Status::SERVICE_UNAVAILABLE.into());
            }
            Err(_) => return self.respond(now, transaction, request, Status::BAD_REQUEST.into()),
        };
        self.lamps.shown.insert(account, counts);
        self.lamps.add(subscription, Watcher { owner, flow });
        self.notify(now, subscription, counts, expires_s);
        let all = self.lamps.watchers_of(account);
        if all.len() > limits::SUBSCRIPTIONS_PER_ACCOUNT
            && let Some(oldest) = all.first().copied()
        {
            self.notify(now, oldest, counts, 0);
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
        let account = self
            .lamps
            .watchers
            .get(&subscription)
            .map(|w| w.owner.person.account);
        let expires_s = account.map_or(0, |_| expires_s.min(SUBSCRIPTION_MAX_S));
        let renewed = self.ua.renew(now, subscription, transaction, request, expires_s);
        if renewed.is_err() {
            return;
        }
        let Some(account) = account else {
            let gone = Standing::Terminated("noresource");
            let _ = self.ua.notify(now, subscription, gone, Content::none());
            return;
        };
        let counts = self.lamps.shown.get(&account).copied().unwrap_or_default();
        self.notify(now, subscription, counts, expires_s);
    }

    /// A subscription has ended.
    pub(crate) fn unsubscribed(&mut self, subscription: SubscriptionId) {
        if let Some(account) = self.lamps.remove(subscription)
            && !self.shows_lamp(account)
        {
            self.forget_lamp(account);
        }
    }

    /// Ends the subscriptions of devices that are no more; of an account that is no more, all. Each is told that it is
    /// over, and nothing else.
    pub(crate) fn unwatch(&mut self, now: Instant, id: AccountId, account: Option<&Account>) {
        //= https://www.rfc-editor.org/rfc/rfc6665#section-4.1.3
        // With either reason a phone does not try again.
        let reason = account.map_or("noresource", |_| "rejected");
        for subscription in self.lamps.watchers_of(id).to_vec() {
            let device = self.lamps.watchers.get(&subscription).map(|w| &w.owner.device);
            let stays = account
                .zip(device)
                .is_some_and(|(account, device)| account.has(device.as_ref()));
            if !stays {
                self.lamps.remove(subscription);
                let over = Standing::Terminated(reason);
                let _ = self.ua.notify(now, subscription, over, Content::none());
            }
        }
    }

    /// A phone of the account has registered, a new one or one that was there before: it may have been off when the lamp
    /// changed, or we were.
    pub(crate) fn light_lamp(&mut self, account: AccountId, is_new: bool) {
        let is_known = self.lamps.shown.contains_key(&account) && !self.lamps.untold.contains(&account);
        if is_new || !is_known {
            self.ask(Question::Lamp { account }, Pending::Lamp(account));
        }
    }

    /// Shows counts on all of an account's phones: those that subscribed, and those that are only registered. With `again`
    /// the registered ones are told even what they were told before, since one of them may be new.
    pub(crate) fn show_lamp(&mut self, now: Instant, account: AccountId, counts: LampCounts, again: bool) {
        if !self.shows_lamp(account) {
            return;
        }
        let is_news = self.lamps.shown.insert(account, counts) != Some(counts);
        if is_news {
            for subscription in self.lamps.watchers_of(account).to_vec() {
                self.notify(now, subscription, counts, 1);
            }
        }
        if !is_news && !again {
            return;
        }
        let Some(person) = self.people.get(&account).cloned() else {
            return;
        };
        self.lamps.untold.remove(&account);
        for binding in self.registrar.bindings(account).to_vec() {
            // Who subscribes hears it there; an unsolicited NOTIFY beside it would tell the same twice.
            if !self.lamps.is_watched_from(account, &binding.flow) {
                self.notify_unasked(now, &binding, &person, counts);
            }
        }
    }

    /// Nobody sees the account's lamp any more.
    pub(crate) fn forget_lamp(&mut self, account: AccountId) {
        self.lamps.shown.remove(&account);
        self.lamps.untold.remove(&account);
    }

    fn notify(&mut self, now: Instant, subscription: SubscriptionId, counts: LampCounts, expires_s: u32) {
        let Some(person) = self.lamps.watchers.get(&subscription).map(|w| &w.owner.person) else {
            return;
        };
        let standing = match expires_s {
            //= https://www.rfc-editor.org/rfc/rfc6665#section-4.2.1.4
            0 => Standing::Terminated("timeout"),
            _ => Standing::Active,
        };
        let body = summary(counts, &person.user, &person.domain);
        let content = Content::none().with_body(SUMMARY_TYPE, body);
        // A subscription that has just ended is told so by its own event.
        let _ = self.ua.notify(now, subscription, standing, content);
    }

    /// What most desk phones expect of a registrar: a NOTIFY that they did not subscribe to. A phone that has not answered
    /// the last one is told when it has, of what is so then.
    fn notify_unasked(&mut self, now: Instant, binding: &Binding, person: &Person, counts: LampCounts) {
        let bystander = Bystander::new(person.account, binding);
        if self.lamps.telling.contains_key(&bystander) {
            return;
        }
        let Some(address) = person_address(person) else {
            return;
        };
        let mut request = NewRequest::new(Method::Notify, binding.flow, address.clone(), address);
        request.uri = binding.request_uri();
        request.content = Content::none()
            .with(HeaderName::Event.as_str(), "message-summary")
            .with(HeaderName::SubscriptionState.as_str(), "active")
            .with_body(SUMMARY_TYPE, summary(counts, &person.user, &person.domain));
        match self.ua.request(now, request) {
            Ok(request) => {
                self.lamps.unasked.insert(request, bystander.clone());
                self.lamps.telling.insert(bystander, counts);
            }
            Err(_) => {
                self.lamps.untold.insert(person.account);
            }
        }
    }

    /// A phone has answered the NOTIFY that it did not ask for, whatever it thinks of it, or cannot be reached (`None`).
    /// Whether the request was one.
    pub(crate) fn unasked_answered(
        &mut self,
        now: Instant,
        request: RequestId,
        status: Option<Status>,
    ) -> bool {
        let Some(bystander) = self.lamps.unasked.remove(&request) else {
            return false;
        };
        let told = self.lamps.telling.remove(&bystander);
        let account = bystander.account;
        if status.is_none() {
            if self.shows_lamp(account) {
                self.lamps.untold.insert(account);
            }
            return true;
        }
        let shown = self.lamps.shown.get(&account).copied();
        if let (Some(counts), Some(person)) = (
            shown.filter(|_| shown != told),
            self.people.get(&account).cloned(),
        ) && !self.lamps.is_watched_from(account, &bystander.flow)
            && let Some(binding) = self
                .registrar
                .bindings(account)
                .iter()
                .find(|binding| Bystander::new(account, binding) == bystander)
                .cloned()
        {
            self.notify_unasked(now, &binding, &person, counts);
        }
        true
    }

    /// Nothing is remembered of lamps that nobody sees.
    #[cfg(test)]
    pub(crate) fn assert_lamps_tidy(&self) {
        let accounts = self.lamps.shown.keys().chain(&self.lamps.untold);
        for account in accounts.chain(self.lamps.by_account.keys()) {
            assert!(self.shows_lamp(*account), "{account:?} is remembered");
        }
        let listed: usize = self.lamps.by_account.values().map(Vec::len).sum();
        assert_eq!(listed, self.lamps.watchers.len());
        assert_eq!(self.lamps.watchers.len(), self.ua.subscriptions());
    }
}

/// Whether a request goes to the number that is dialled to hear one's messages.
fn is_menu(request: &Message, config: &Config) -> bool {
    let user = request.to().uri().user_unescaped();
    user.is_some_and(|user| *user == *config.voicemail_number.as_bytes())
        && domain_of(request.to().uri(), config).is_some()
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
