//! Subscriptions (RFC 6665), from both sides.

use super::*;
use std::time::Duration;

/// What is kept of one subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    key: crate::transaction::Key,
    /// The value of Event, with its id.
    event: Box<str>,
    pub(super) flow: Flow,
    pub(super) contact: Box<str>,
    pub(super) login: Option<LoginId>,
    pub(super) dialog: Option<Dialog>,
    side: Side,
    /// When it ends unless renewed.
    expires_at: Instant,
}

#[derive(Debug)]
enum Side {
    /// We are told: our SUBSCRIBE, until there is a dialog; what to say in it again; how long to ask for.
    Subscriber {
        request: Option<Message>,
        content: Content,
        expires_s: u32,
        is_ending: bool,
    },
    /// We tell.
    Notifier,
}

impl Subscription {
    fn is_ending(&self) -> bool {
        matches!(self.side, Side::Subscriber { is_ending: true, .. })
    }
}

/// The state of a subscription as its NOTIFYs tell it (RFC 6665 §4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing<'a> {
    /// It stands.
    Active,
    /// It waits for somebody's consent.
    Pending,
    /// It is over, for that reason: `timeout`, `noresource`, `deactivated`, `rejected`, `probation`, `giveup`.
    Terminated(&'a str),
}

/// How long a subscription is asked for and renewed by default, and how long its end is waited for.
const DEFAULT_EXPIRES_S: u32 = 3600;

impl Ua {
    /// Subscribes: `request` carries Event, and Expires if not an hour. The subscription is renewed until
    /// [`unsubscribe`](Ua::unsubscribe); [`Event::Notify`] brings the state, [`Event::SubscriptionEnded`] the end.
    //= https://www.rfc-editor.org/rfc/rfc6665#section-4.1.2
    pub fn subscribe(&mut self, now: Instant, request: NewRequest) -> Result<SubscriptionId, CommandError> {
        if self.is_full() {
            return Err(CommandError::Full);
        }
        let mut request = request;
        request.method = Method::Subscribe;
        let value = |name: &str| {
            let found = request
                .content
                .headers
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let event = value("Event").ok_or(CommandError::Malformed)?;
        let expires_s = value("Expires")
            .and_then(|s| s.parse().ok())
            .unwrap_or(DEFAULT_EXPIRES_S);
        request
            .content
            .headers
            .retain(|(name, _)| !name.eq_ignore_ascii_case("Expires"));
        let content = request.content.clone();
        let head = self.head(&request);
        let key = self
            .keyring
            .dialog(&head.call_id, head.from.tag().unwrap_or_default());
        let id = SubscriptionId(self.subscriptions.insert(Subscription {
            key,
            event: event.into(),
            flow: head.flow,
            contact: head.contact.clone().unwrap_or_default(),
            login: request.login,
            dialog: None,
            side: Side::Subscriber {
                request: None,
                content: content.clone(),
                expires_s,
                is_ending: false,
            },
            expires_at: now,
        }));
        let first = content.with("Expires", expires_s);
        let NewRequest { login, .. } = request;
        match self.send_free(now, Purpose::Subscribe(id), head, first, login, 0) {
            Ok((_, sent)) => {
                self.note_subscribe(id, sent);
                self.usages.insert(key, Usage::Subscription(id));
                //= https://www.rfc-editor.org/rfc/rfc6665#section-4.1.2.4
                self.timers
                    .set(Timer::Unsubscribed(id), now + 64 * self.timing().t1);
                self.pump(now);
                Ok(id)
            }
            Err(error) => {
                self.subscriptions.remove(id.0);
                Err(error)
            }
        }
    }

    pub(super) fn note_subscribe(&mut self, id: SubscriptionId, sent: Message) {
        if let Some(Subscription {
            dialog: None,
            side: Side::Subscriber { request, .. },
            ..
        }) = self.subscriptions.get_mut(id.0)
        {
            *request = Some(sent);
        }
    }

    /// Ends a subscription of ours; a last NOTIFY may still come.
    pub fn unsubscribe(&mut self, now: Instant, id: SubscriptionId) -> Result<(), CommandError> {
        let subscription = self.subscriptions.get_mut(id.0).ok_or(CommandError::Over)?;
        let Side::Subscriber {
            expires_s, is_ending, ..
        } = &mut subscription.side
        else {
            return Err(CommandError::State);
        };
        *expires_s = 0;
        *is_ending = true;
        self.renew_ours(now, id);
        self.timers
            .set(Timer::Unsubscribed(id), now + 64 * self.timing().t1);
        self.pump(now);
        Ok(())
    }

    pub(super) fn renew_ours(&mut self, now: Instant, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(id.0) else {
            return;
        };
        let Side::Subscriber {
            content, expires_s, ..
        } = &subscription.side
        else {
            return;
        };
        let content = content.clone().with("Expires", expires_s);
        if self
            .send_within(now, Purpose::Subscribe(id), Method::Subscribe, content, 0)
            .is_err()
        {
            self.end_subscription(id, None);
        }
    }

    pub(super) fn subscribe_answered(
        &mut self,
        now: Instant,
        id: SubscriptionId,
        flow: Flow,
        response: Message,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(id.0) else {
            return;
        };
        let Side::Subscriber {
            request,
            expires_s,
            is_ending,
            ..
        } = &mut subscription.side
        else {
            return;
        };
        if !response.status().is_some_and(|status| status.is_success()) {
            // A refused renewal leaves the subscription to run out, except where there is none any more.
            let is_gone = subscription.dialog.is_none()
                || response.status() == Some(Status::CALL_DOES_NOT_EXIST)
                || *is_ending;
            if is_gone {
                self.end_subscription(id, Some(response));
            }
            return;
        }
        if flow.transport.is_reliable() {
            subscription.flow = flow;
        }
        if subscription.dialog.is_none() {
            subscription.dialog = request
                .as_ref()
                .and_then(|request| Dialog::uac(request, &response));
        }
        if *is_ending {
            return;
        }
        let granted_s = response.expires_s().unwrap_or(*expires_s);
        self.stand(now, id, granted_s);
        self.event(Event::Subscribed {
            subscription: id,
            expires_s: granted_s,
        });
    }

    /// Our subscription stands for that long: it is renewed in time, and over without that.
    fn stand(&mut self, now: Instant, id: SubscriptionId, expires_s: u32) {
        let Some(subscription) = self.subscriptions.get_mut(id.0) else {
            return;
        };
        let whole = Duration::from_secs(expires_s.into());
        subscription.expires_at = now + whole;
        self.timers.set(
            Timer::Renew(id),
            now + whole.saturating_sub(Duration::from_secs(32)).max(whole / 2),
        );
        self.timers
            .set(Timer::Unsubscribed(id), now + whole + 64 * self.timing().t1);
    }

    /// Accepts a SUBSCRIBE that came as [`Event::Request`], for at most `expires_s`. A [`notify`](Ua::notify) must follow
    /// at once.
    //= https://www.rfc-editor.org/rfc/rfc6665#section-4.2.1
    pub fn accept_subscription(
        &mut self,
        now: Instant,
        id: TransactionId,
        flow: Flow,
        request: &Message,
        expires_s: u32,
    ) -> Result<SubscriptionId, CommandError> {
        if self.is_full() {
            return Err(CommandError::Full);
        }
        let event = request.header(HeaderName::Event).ok_or(CommandError::Malformed)?;
        let tag = self.endpoint.tag_for(request);
        let first_cseq = self.first_cseq();
        let mut dialog = Dialog::uas(request, &tag, first_cseq).ok_or(CommandError::Malformed)?;
        dialog.confirm_ours();
        let contact = self.contact(&flow, request.request_uri().and_then(|uri| uri.user()), false);
        let mut response = self.response(request, Status::OK);
        response
            .header(HeaderName::Contact, &contact)
            .header(HeaderName::Expires, expires_s);
        if !self.endpoint.respond(now, id, response.finish()) {
            return Err(CommandError::Over);
        }
        let key = self.keyring.dialog(request.call_id(), &tag);
        let subscription = SubscriptionId(self.subscriptions.insert(Subscription {
            key,
            event: event.into(),
            flow,
            contact: contact.into(),
            login: None,
            dialog: Some(dialog),
            side: Side::Notifier,
            expires_at: now,
        }));
        self.usages.insert(key, Usage::Subscription(subscription));
        self.extend(now, subscription, expires_s);
        self.pump(now);
        Ok(subscription)
    }

    /// Grants an [`Event::Resubscribe`] for at most `expires_s`, 0 to let it end. A [`notify`](Ua::notify) must follow.
    pub fn renew(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        id: TransactionId,
        request: &Message,
        expires_s: u32,
    ) -> Result<(), CommandError> {
        let s = self.subscriptions.get(subscription.0).ok_or(CommandError::Over)?;
        let contact = s.contact.clone();
        let mut response = self.response(request, Status::OK);
        response
            .header(HeaderName::Contact, contact)
            .header(HeaderName::Expires, expires_s);
        self.endpoint.respond(now, id, response.finish());
        self.extend(now, subscription, expires_s);
        self.pump(now);
        Ok(())
    }

    fn extend(&mut self, now: Instant, id: SubscriptionId, expires_s: u32) {
        if let Some(subscription) = self.subscriptions.get_mut(id.0) {
            subscription.expires_at = now + Duration::from_secs(expires_s.into());
            self.timers.set(Timer::Unsubscribed(id), subscription.expires_at);
        }
    }

    /// Tells a subscriber the state. With [`Standing::Terminated`] the subscription is over.
    //= https://www.rfc-editor.org/rfc/rfc6665#section-4.2.2
    pub fn notify(
        &mut self,
        now: Instant,
        id: SubscriptionId,
        standing: Standing<'_>,
        content: Content,
    ) -> Result<(), CommandError> {
        let subscription = self.subscriptions.get(id.0).ok_or(CommandError::Over)?;
        if !matches!(subscription.side, Side::Notifier) {
            return Err(CommandError::State);
        }
        let left_s = subscription.expires_at.since(now).as_secs();
        let state = match standing {
            Standing::Active => format!("active;expires={left_s}"),
            Standing::Pending => format!("pending;expires={left_s}"),
            Standing::Terminated(reason) => format!("terminated;reason={reason}"),
        };
        let content = content
            .with("Event", &subscription.event)
            .with("Subscription-State", state);
        self.send_within(now, Purpose::Notify(id), Method::Notify, content, 0)?;
        if matches!(standing, Standing::Terminated(_)) {
            self.end_subscription(id, None);
        }
        self.pump(now);
        Ok(())
    }

    /// Our NOTIFY was answered, or not: a subscriber that is not there any more is forgotten.
    //= https://www.rfc-editor.org/rfc/rfc6665#section-4.2.2
    pub(super) fn notify_answered(&mut self, id: SubscriptionId, status: Option<Status>) {
        let is_gone = match status {
            None => true,
            Some(status) => matches!(status.code(), 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604),
        };
        if is_gone {
            self.end_subscription(id, None);
        }
    }

    pub(super) fn expire_subscription(&mut self, now: Instant, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get(id.0) else {
            return;
        };
        match subscription.side {
            Side::Notifier => {
                let _ = self.notify(now, id, Standing::Terminated("timeout"), Content::none());
            }
            Side::Subscriber { .. } => self.end_subscription(id, None),
        }
    }

    pub(super) fn end_subscription(&mut self, id: SubscriptionId, message: Option<Message>) {
        let Some(subscription) = self.subscriptions.remove(id.0) else {
            return;
        };
        self.usages.remove(&subscription.key);
        self.timers.remove(&Timer::Renew(id));
        self.timers.remove(&Timer::Unsubscribed(id));
        self.event(Event::SubscriptionEnded {
            subscription: id,
            message,
        });
    }

    pub(super) fn handle_in_subscription(
        &mut self,
        now: Instant,
        s: SubscriptionId,
        id: TransactionId,
        flow: Flow,
        request: Message,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(s.0) else {
            return;
        };
        let is_first = subscription.dialog.is_none() && *request.method() == Method::Notify;
        if let (
            true,
            Side::Subscriber {
                request: Some(ours), ..
            },
        ) = (is_first, &subscription.side)
        {
            // The NOTIFY is faster than the response.
            subscription.dialog = Dialog::notified(ours, &request);
        } else {
            let known = subscription
                .dialog
                .as_mut()
                .filter(|dialog| dialog.is_of(&request));
            let Some(dialog) = known else {
                return self.refuse(now, id, &request, (Status::CALL_DOES_NOT_EXIST, None));
            };
            if dialog.check_cseq(&request).is_err() {
                return self.refuse(now, id, &request, (Status::SERVER_INTERNAL_ERROR, None));
            }
            dialog.refresh_target(&request);
        }
        if flow.transport.is_reliable() {
            subscription.flow = flow;
        }
        match (request.method(), &subscription.side) {
            (Method::Notify, Side::Subscriber { .. }) => self.notified(now, s, id, request),
            (Method::Subscribe, Side::Notifier) => {
                let expires_s = request.expires_s().unwrap_or(DEFAULT_EXPIRES_S);
                // Whatever the user does with it, this is not the end.
                self.timers.remove(&Timer::Unsubscribed(s));
                self.extend_for_answer(now, s);
                self.event(Event::Resubscribe {
                    subscription: s,
                    id,
                    request,
                    expires_s,
                });
            }
            _ => self.refuse(now, id, &request, (Status::CALL_DOES_NOT_EXIST, None)),
        }
    }

    /// Room for the user to look at a renewal that comes at the last moment.
    fn extend_for_answer(&mut self, now: Instant, id: SubscriptionId) {
        let patience = 64 * self.timing().t1;
        if let Some(subscription) = self.subscriptions.get(id.0) {
            let at = subscription.expires_at.max(now + patience);
            self.timers.set(Timer::Unsubscribed(id), at);
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6665#section-4.1.3
    fn notified(&mut self, now: Instant, s: SubscriptionId, id: TransactionId, request: Message) {
        let Some(subscription) = self.subscriptions.get(s.0) else {
            return;
        };
        let package = |value: &str| value.split(';').next().unwrap_or_default().trim().to_owned();
        let event = request.header(HeaderName::Event).map(package);
        if event != Some(package(&subscription.event)) {
            return self.refuse(now, id, &request, (Status::BAD_EVENT, None));
        }
        let Some(Ok(state)) = request.token_params(HeaderName::SubscriptionState) else {
            return self.refuse(now, id, &request, (Status::BAD_REQUEST, None));
        };
        let is_over = state.token.eq_ignore_ascii_case("terminated");
        let expires_s = state.params.value("expires").and_then(|s| s.parse().ok());
        let response = self.response(&request, Status::OK).finish();
        self.endpoint.respond(now, id, response);
        let is_ending = self.subscriptions.get(s.0).is_some_and(Subscription::is_ending);
        if let (Some(expires_s), false, false) = (expires_s, is_over, is_ending) {
            self.stand(now, s, expires_s);
        }
        self.event(Event::Notify {
            subscription: s,
            request: request.clone(),
        });
        if is_over {
            self.end_subscription(s, Some(request));
        }
    }
}
