//! The client transactions.

use super::*;

impl Endpoint {
    /// Begins a client transaction. `request` is printed without Via; the endpoint puts its own on top, with a new branch.
    ///
    /// A request longer than [`UDP_REQUEST_BYTES`] that would go over UDP goes by TCP to the same address.
    pub fn request(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Bytes,
    ) -> Result<TransactionId, RequestError> {
        self.request_message(now, flow, request).map(|(id, _)| id)
    }

    /// [`Endpoint::request`], which returns the request as it was sent too.
    pub(crate) fn request_message(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Bytes,
    ) -> Result<(TransactionId, Message), RequestError> {
        if self.table.len() >= self.config.transactions {
            return Err(RequestError::Full);
        }
        let branch = self.mint.branch();
        let (flow, message, fallback) = self.address(flow, &request, &branch);
        let parsed = Message::parse(message.clone()).map_err(|_| RequestError::Malformed)?;
        if !parsed.is_request() || matches!(parsed.method(), Method::Ack | Method::Cancel) {
            return Err(RequestError::Malformed);
        }
        let key = self.keyring.client(parsed.top_via(), &branch, parsed.method());
        let role = if *parsed.method() == Method::Invite {
            Role::InviteClient
        } else {
            Role::Client
        };
        Ok((self.begin(now, key, role, flow, message, fallback), parsed))
    }

    fn begin(
        &mut self,
        now: Instant,
        key: Key,
        role: Role,
        flow: Flow,
        message: Bytes,
        fallback: Option<Flow>,
    ) -> TransactionId {
        let id = self.insert(Transaction {
            key,
            merged: None,
            role,
            state: State::Trying,
            step: 0,
            answered: false,
            cancel: Cancel::No,
            flow,
            last: message.clone(),
            rare: fallback.map(|flow| {
                Box::new(Rare {
                    fallback: Some(flow),
                    cancel_reason: None,
                })
            }),
            resend_at: NEVER,
            end_at: NEVER,
        });
        self.transmit(Transmit { flow, message });
        //= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.1.2
        //= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.2.2
        // B and F run whatever becomes of the bytes; A and E only where they may be lost.
        self.set(now, id, Which::End, Length::Patience);
        if !flow.transport.is_reliable() {
            self.set(now, id, Which::Resend, Length::Doubled(0));
        }
        id
    }

    /// Gives up an INVITE of ours: sends CANCEL as soon as there is a provisional response, and nothing if there is a final
    /// one. The INVITE ends with a final response all the same, a 487 or the one that crossed the CANCEL, or fails when
    /// none comes. `reason` is the value of a Reason header (RFC 3326).
    //= https://www.rfc-editor.org/rfc/rfc3261#section-9.1
    pub fn cancel(&mut self, now: Instant, id: TransactionId, reason: Option<&str>) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        if transaction.role != Role::InviteClient || transaction.cancel != Cancel::No {
            return;
        }
        if !matches!(transaction.state, State::Trying | State::Proceeding) {
            return;
        }
        transaction.cancel = Cancel::Wanted;
        if let Some(reason) = reason {
            transaction.rare.get_or_insert_default().cancel_reason = Some(reason.into());
        }
        if transaction.state == State::Proceeding {
            self.send_cancel(now, id);
        }
    }

    fn send_cancel(&mut self, now: Instant, id: TransactionId) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        transaction.cancel = Cancel::Sent;
        let reason = transaction
            .rare
            .as_mut()
            .and_then(|rare| rare.cancel_reason.take());
        let flow = transaction.flow;
        let Ok(invite) = Message::parse(transaction.last.clone()) else {
            return;
        };
        // Should the peer send no final response, the INVITE is given up (§9.1).
        self.set(now, id, Which::End, Length::Patience);
        let mut cancel = within(&invite, &Method::Cancel, invite.to());
        cancel.optional(HeaderName::Reason, reason);
        let branch = invite.top_via().branch().unwrap_or_default();
        let key = self.keyring.client(invite.top_via(), branch, &Method::Cancel);
        self.begin(now, key, Role::Client, flow, cancel.finish(), None);
    }

    pub(super) fn handle_response(&mut self, now: Instant, flow: Flow, response: Message) {
        let Some(status) = response.status() else { return };
        let via = response.top_via();
        //= https://www.rfc-editor.org/rfc/rfc3261#section-8.1.3.3
        if response.values(HeaderName::Via).nth(1).is_some() {
            return;
        }
        let key = self
            .keyring
            .client(via, via.branch().unwrap_or_default(), response.method());
        let Some(id) = self.table.find(key) else { return };
        let Some(transaction) = self.table.get(id) else {
            return;
        };
        match transaction.role {
            Role::InviteClient => self.invite_response(now, id, flow, response, status),
            Role::Client => self.other_response(now, id, flow, response, status),
            Role::InviteServer | Role::Server => {}
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6026#section-8.4
    fn invite_response(
        &mut self,
        now: Instant,
        id: TransactionId,
        flow: Flow,
        response: Message,
        status: Status,
    ) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        match transaction.state {
            State::Trying | State::Proceeding if status.is_provisional() => {
                if transaction.state == State::Trying {
                    // Timers A and B stop: the peer is there and may take its time.
                    transaction.state = State::Proceeding;
                    transaction.resend_at = NEVER;
                    transaction.end_at = NEVER;
                }
                if transaction.cancel == Cancel::Wanted {
                    self.send_cancel(now, id);
                }
            }
            State::Trying | State::Proceeding if status.is_success() => {
                transaction.state = State::Accepted;
                transaction.resend_at = NEVER;
                transaction.last = Bytes::new();
                transaction.rare = None;
                self.set(now, id, Which::End, Length::Patience);
            }
            State::Trying | State::Proceeding => self.invite_failed(now, id, &response),
            State::Accepted if status.is_success() => {}
            State::Completed if status.is_failure() => {
                let again = Transmit {
                    flow: transaction.flow,
                    message: transaction.last.clone(),
                };
                return self.transmit(again);
            }
            _ => return,
        }
        self.event(Event::Response { id, flow, response });
    }

    /// A final response other than 2xx: acknowledge it, here and each time it comes again.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.1.3
    fn invite_failed(&mut self, now: Instant, id: TransactionId, response: &Message) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        let Ok(invite) = Message::parse(transaction.last.clone()) else {
            return;
        };
        let ack = within(&invite, &Method::Ack, response.to()).finish();
        transaction.state = State::Completed;
        transaction.resend_at = NEVER;
        transaction.rare = None;
        transaction.last = ack.clone();
        let flow = transaction.flow;
        self.transmit(Transmit { flow, message: ack });
        match flow.transport.is_reliable() {
            true => drop(self.remove(id)),
            false => self.set(now, id, Which::End, Length::TimerD),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.2.2
    fn other_response(
        &mut self,
        now: Instant,
        id: TransactionId,
        flow: Flow,
        response: Message,
        status: Status,
    ) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        if transaction.state == State::Completed {
            return;
        }
        transaction.rare = None;
        if status.is_provisional() {
            // Timer E goes on at T2 from its next firing.
            transaction.state = State::Proceeding;
        } else {
            transaction.state = State::Completed;
            transaction.resend_at = NEVER;
            transaction.last = Bytes::new();
            match transaction.flow.transport.is_reliable() {
                true => drop(self.remove(id)),
                false => self.set(now, id, Which::End, Length::T4),
            }
        }
        if *response.method() != Method::Cancel {
            self.event(Event::Response { id, flow, response });
        }
    }

    /// Timers A and E.
    pub(super) fn resend_request(&mut self, now: Instant, id: TransactionId) {
        let timing = *self.timers.timing();
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        transaction.step = (transaction.step + 1).min(6);
        let length = match (transaction.role, transaction.state) {
            (Role::InviteClient, State::Trying) => Length::Doubled(transaction.step),
            (Role::Client, State::Trying) => Length::until_t2(transaction.step, &timing),
            (Role::Client, State::Proceeding) => Length::T2,
            _ => return,
        };
        let again = Transmit {
            flow: transaction.flow,
            message: transaction.last.clone(),
        };
        self.transmit(again);
        self.set(now, id, Which::Resend, length);
    }

    /// Timers B, D, F, K and M, and the patience after a CANCEL.
    pub(super) fn end_client(&mut self, id: TransactionId) {
        let Some(transaction) = self.remove(id) else {
            return;
        };
        match transaction.state {
            State::Trying | State::Proceeding => self.fail(id, &transaction, Failure::Timeout),
            State::Accepted => self.event(Event::Ended { id }),
            State::Completed | State::Confirmed => {}
        }
    }

    /// The bytes of a request did not get through.
    pub(super) fn request_failed(&mut self, now: Instant, id: TransactionId) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        if transaction.state != State::Trying {
            // What comes now comes over a new connection, or timers see to it.
            return;
        }
        match transaction.rare.as_mut().and_then(|rare| rare.fallback.take()) {
            Some(flow) => self.fall_back(now, id, flow),
            None => {
                if let Some(transaction) = self.remove(id) {
                    self.fail(id, &transaction, Failure::Transport);
                }
            }
        }
    }

    /// The peer takes no TCP: the request goes over UDP in spite of its length.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-18.1.1
    fn fall_back(&mut self, now: Instant, id: TransactionId, flow: Flow) {
        let Some(transaction) = self.table.get(id) else {
            return;
        };
        let Ok(request) = Message::parse(transaction.last.clone()) else {
            return;
        };
        let branch = request.top_via().branch().unwrap_or_default().to_owned();
        let message = self.with_via(&flow, &without_via(&transaction.last), &branch);
        let size_bytes = message.len();
        let Ok(parsed) = Message::parse(message.clone()) else {
            return;
        };
        let key = self.keyring.client(parsed.top_via(), &branch, parsed.method());
        self.table.rekey(id, key);
        self.reroute(id, flow);
        if let Some(transaction) = self.table.get_mut(id) {
            transaction.last = message.clone();
        }
        self.transmit(Transmit { flow, message });
        self.set(now, id, Which::Resend, Length::Doubled(0));
        self.event(Event::FellBack { id, size_bytes });
    }

    fn fail(&mut self, id: TransactionId, transaction: &Transaction, failure: Failure) {
        // Nobody waits for the answer to a CANCEL.
        if !transaction.last.starts_with(b"CANCEL ") {
            self.event(Event::Failed { id, failure });
        }
    }
}

/// A request within the transaction of `invite`: ACK to a failure, or CANCEL. It goes the same way, so it has the same
/// Via and Route.
//= https://www.rfc-editor.org/rfc/rfc3261#section-9.1
//= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.1.3
fn within(invite: &Message, method: &Method, to: &crate::header::NameAddr) -> Builder {
    let uri = invite
        .request_uri()
        .expect("the INVITE that we sent is a request");
    let mut builder = Builder::request(method, uri);
    builder
        .header(HeaderName::Via, invite.top_via())
        .copy(invite, HeaderName::Route)
        .header(HeaderName::MaxForwards, 70)
        .header(HeaderName::From, invite.from())
        .header(HeaderName::To, to)
        .header(HeaderName::CallId, invite.call_id())
        .header(
            HeaderName::CSeq,
            format_args!("{} {method}", invite.cseq().number),
        );
    builder
}

/// The request as its user printed it: without the Via line that stands second.
fn without_via(request: &[u8]) -> Vec<u8> {
    let mut lines = request.splitn(3, |b| *b == b'\n');
    let (first, _, rest) = (lines.next(), lines.next(), lines.next());
    [first.unwrap_or_default(), b"\n", rest.unwrap_or_default()].concat()
}
