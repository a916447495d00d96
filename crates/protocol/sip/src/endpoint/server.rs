//! The server transactions.

use super::*;

/// How a request is told from others.
struct Found {
    key: Key,
    /// An ACK by the rules of RFC 2543 belongs to a response with this To tag only.
    ack_tag: Option<String>,
}

impl Endpoint {
    /// Answers a request with a message made by [`Endpoint::response`] (or another [`Builder`]): any number of provisional
    /// responses and one final; for INVITE a 2xx may be repeated until its ACK comes, which is its user's duty.
    ///
    /// False when there is nothing to answer any more. A 408 to anything but INVITE is not sent, and ends the transaction
    /// (RFC 4320 §4.2); so is no provisional response but the automatic 100.
    pub fn respond(&mut self, now: Instant, id: TransactionId, response: Bytes) -> bool {
        let Some(status) = status_of(&response) else {
            return false;
        };
        let Some(transaction) = self.table.get_mut(id) else {
            return false;
        };
        let flow = transaction.flow;
        match (transaction.role, transaction.state) {
            (Role::InviteServer, State::Trying | State::Proceeding) => {
                transaction.state = State::Proceeding;
                transaction.answered = true;
                transaction.resend_at = NEVER;
                transaction.last = response.clone();
                if status.is_final() {
                    self.invite_answered(now, id, status);
                }
            }
            (Role::InviteServer, State::Accepted) if status.is_success() => {
                if flow.transport.is_reliable() && flow.connection.is_none() {
                    let flow = over_new_connection(flow, &response);
                    self.reroute(id, flow);
                    self.transmit(Transmit {
                        flow,
                        message: response,
                    });
                    return true;
                }
            }
            (Role::Server, State::Trying | State::Proceeding) => {
                if status.is_provisional() {
                    return true;
                }
                //= https://www.rfc-editor.org/rfc/rfc4320#section-4.2
                if status == Status::REQUEST_TIMEOUT {
                    self.remove(id);
                    return true;
                }
                transaction.state = State::Completed;
                transaction.answered = true;
                transaction.resend_at = NEVER;
                transaction.last = Bytes::copy_from_slice(&response);
                match flow.transport.is_reliable() {
                    true => drop(self.remove(id)),
                    false => self.set(now, id, Which::End, Length::Patience),
                }
            }
            _ => return false,
        }
        self.transmit(Transmit {
            flow,
            message: response,
        });
        true
    }

    /// Answers a request and forgets it at once: no retransmission, no memory. For challenges and refusals to sources that
    /// nothing is known of; the same request coming again is a new one and gets the same To tag. Where a 100 went out
    /// already, it is [`Endpoint::respond`].
    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.7
    pub fn respond_stateless(&mut self, now: Instant, id: TransactionId, response: Bytes) -> bool {
        match self.table.get(id) {
            Some(t) if !t.role.is_client() && !t.answered => {}
            _ => return self.respond(now, id, response),
        }
        let Some(transaction) = self.remove(id) else {
            return false;
        };
        self.transmit(Transmit {
            flow: transaction.flow,
            message: response,
        });
        true
    }

    fn invite_answered(&mut self, now: Instant, id: TransactionId, status: Status) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        if status.is_success() {
            //= https://www.rfc-editor.org/rfc/rfc6026#section-7.1
            transaction.state = State::Accepted;
            transaction.last = Bytes::new();
            return self.set(now, id, Which::End, Length::Patience);
        }
        transaction.state = State::Completed;
        transaction.step = 0;
        transaction.last = Bytes::copy_from_slice(&transaction.last);
        let is_reliable = transaction.flow.transport.is_reliable();
        self.set(now, id, Which::End, Length::Patience);
        if !is_reliable {
            self.set(now, id, Which::Resend, Length::Doubled(0));
        }
    }

    pub(super) fn handle_request(&mut self, now: Instant, flow: Flow, request: Message) {
        let method = request.method().clone();
        let found = self.find(&request);
        let known = self.table.find(found.key).filter(|id| self.is_of(*id, &found));
        match (method, known) {
            (Method::Ack, known) => self.handle_ack(now, flow, request, known),
            (_, Some(id)) => self.handle_retransmission(id, &request),
            (Method::Cancel, None) => self.handle_cancel(now, flow, request, found.key),
            (_, None) => self.handle_new(now, flow, request, found.key),
        }
    }

    fn handle_new(&mut self, now: Instant, flow: Flow, request: Message, key: Key) {
        let cseq = request.cseq();
        let merged = self
            .keyring
            .merged(request.call_id(), request.from_tag(), cseq.number, &cseq.method);
        let merged = request.to_tag().is_none().then_some(merged);
        //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.2.2
        if merged.is_some_and(|merged| self.table.find_merged(merged).is_some()) {
            let response = self.response(&request, Status::LOOP_DETECTED).finish();
            if let Some(id) = self.accept(now, flow, &request, key, None) {
                self.respond(now, id, response);
            }
            return;
        }
        if let Some(id) = self.accept(now, flow, &request, key, merged) {
            self.event(Event::Request { id, flow, request });
        }
    }

    /// Makes the server transaction, or refuses the request when there is no room.
    fn accept(
        &mut self,
        now: Instant,
        flow: Flow,
        request: &Message,
        key: Key,
        merged: Option<Key>,
    ) -> Option<TransactionId> {
        let reply = reply_flow(flow, request.top_via());
        if self.table.len() >= self.config.transactions {
            let mut response = self.response(request, Status::SERVICE_UNAVAILABLE);
            let message = response.header(HeaderName::RetryAfter, 10).finish();
            self.transmit(Transmit { flow: reply, message });
            self.event(Event::Overloaded { flow });
            return None;
        }
        let is_invite = *request.method() == Method::Invite;
        let id = self.insert(Transaction {
            key,
            merged,
            role: if is_invite {
                Role::InviteServer
            } else {
                Role::Server
            },
            state: if is_invite {
                State::Proceeding
            } else {
                State::Trying
            },
            step: 0,
            answered: false,
            cancel: Cancel::No,
            flow: reply,
            last: request.bytes().clone(),
            rare: None,
            resend_at: NEVER,
            end_at: NEVER,
        });
        if is_invite {
            self.set(now, id, Which::Resend, Length::Trying);
        } else {
            self.set(now, id, Which::Resend, Length::LateTrying);
            // By then the client has given up.
            self.set(now, id, Which::End, Length::Patience);
        }
        Some(id)
    }

    /// The request came again: so does the answer, if there is one.
    fn handle_retransmission(&mut self, id: TransactionId, request: &Message) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        match transaction.state {
            State::Confirmed | State::Accepted => {}
            _ if transaction.answered => {
                let again = Transmit {
                    flow: transaction.flow,
                    message: transaction.last.clone(),
                };
                self.transmit(again);
            }
            _ if transaction.role == Role::InviteServer => self.send_trying(id, request),
            _ => {}
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.2.1
    fn send_trying(&mut self, id: TransactionId, request: &Message) {
        let message = Builder::response(request, Status::TRYING, "").finish();
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        transaction.state = State::Proceeding;
        transaction.answered = true;
        transaction.resend_at = NEVER;
        transaction.last = message.clone();
        let flow = transaction.flow;
        self.transmit(Transmit { flow, message });
    }

    fn handle_ack(&mut self, now: Instant, flow: Flow, request: Message, known: Option<TransactionId>) {
        let transaction = known.and_then(|id| Some((id, self.table.get_mut(id)?)));
        match transaction {
            Some((id, t)) if t.state == State::Completed => {
                //= https://www.rfc-editor.org/rfc/rfc3261#section-17.2.1
                t.state = State::Confirmed;
                t.resend_at = NEVER;
                t.last = Bytes::new();
                match t.flow.transport.is_reliable() {
                    true => drop(self.remove(id)),
                    false => self.set(now, id, Which::End, Length::T4),
                }
            }
            Some((_, t)) if t.state != State::Accepted => {}
            _ => self.event(Event::Ack { flow, request }),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3261#section-9.2
    fn handle_cancel(&mut self, now: Instant, flow: Flow, request: Message, key: Key) {
        let invite = self.find_as(&request, &Method::Invite);
        let invite_id = self.table.find(invite.key);
        let Some(id) = self.accept(now, flow, &request, key, None) else {
            return;
        };
        let Some(invite_id) = invite_id else {
            let response = self.response(&request, Status::CALL_DOES_NOT_EXIST).finish();
            self.respond(now, id, response);
            return;
        };
        let response = self.response(&request, Status::OK).finish();
        self.respond(now, id, response);
        let waits = |t: &Transaction| t.role == Role::InviteServer && t.state == State::Proceeding;
        if self.table.get(invite_id).is_some_and(waits) {
            self.event(Event::Cancelled {
                id: invite_id,
                request,
            });
        }
    }

    fn find(&self, request: &Message) -> Found {
        self.find_as(request, request.method())
    }

    /// The key of `request` as if its method was `method`.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.2.3
    fn find_as(&self, request: &Message, method: &Method) -> Found {
        let via = request.top_via();
        if let Some(branch) = via.transaction_branch() {
            return Found {
                key: self.keyring.server(via, branch, method),
                ack_tag: None,
            };
        }
        let fields = LegacyFields {
            uri: request.request_uri().map_or("", |uri| uri.as_str()),
            from_tag: request.from_tag(),
            call_id: request.call_id(),
            cseq: request.cseq().number,
            via: via.as_str(),
        };
        let with_tag = self.keyring.legacy(&fields, request.to_tag(), method);
        // An ACK has the To tag of the response, the INVITE that it belongs to perhaps none.
        if *request.method() == Method::Ack && self.table.find(with_tag).is_none() {
            let key = self.keyring.legacy(&fields, None, method);
            return Found {
                key,
                ack_tag: request.to_tag().map(str::to_owned),
            };
        }
        Found {
            key: with_tag,
            ack_tag: None,
        }
    }

    fn is_of(&self, id: TransactionId, found: &Found) -> bool {
        let Some(tag) = &found.ack_tag else { return true };
        let response = self
            .table
            .get(id)
            .filter(|t| t.answered)
            .and_then(|t| Message::parse(t.last.clone()).ok());
        // Nothing is kept of a 2xx; its dialog tells whether the ACK is for it.
        response.is_none_or(|response| response.to_tag() == Some(tag))
    }

    /// Timer G, and the automatic 100.
    pub(super) fn resend_response(&mut self, now: Instant, id: TransactionId) {
        let timing = *self.timers.timing();
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        match transaction.state {
            State::Trying | State::Proceeding if !transaction.answered => {
                if let Ok(request) = Message::parse_from(transaction.last.clone(), transaction.flow.remote) {
                    self.send_trying(id, &request);
                }
            }
            State::Completed => {
                transaction.step = (transaction.step + 1).min(6);
                let length = Length::until_t2(transaction.step, &timing);
                let again = Transmit {
                    flow: transaction.flow,
                    message: transaction.last.clone(),
                };
                self.transmit(again);
                self.set(now, id, Which::Resend, length);
            }
            _ => {}
        }
    }

    /// Timers H, I, J and L, and the end of a request that was never answered.
    pub(super) fn end_server(&mut self, id: TransactionId) {
        let Some(transaction) = self.remove(id) else {
            return;
        };
        match (transaction.role, transaction.state) {
            (Role::InviteServer, State::Completed) => self.event(Event::Failed {
                id,
                failure: Failure::NoAck,
            }),
            (_, State::Accepted | State::Trying | State::Proceeding) => self.event(Event::Ended { id }),
            _ => {}
        }
    }

    /// The connection is gone that a request came by: its responses go over a new one to the address of the top Via, and
    /// a failure that waits for its ACK goes there again. If that cannot be had either, or goes too, such a failure is
    /// given up: an address that nobody listens at would be tried without end.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-18.2.2
    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.2.4
    pub(super) fn response_failed(&mut self, id: TransactionId, flow: Flow) {
        let Some(transaction) = self.table.get(id) else {
            return;
        };
        if !flow.transport.is_reliable() {
            return;
        }
        let (last, state) = (transaction.last.clone(), transaction.state);
        if transaction.flow.connection.is_none() {
            if state == State::Completed {
                self.remove(id);
                self.event(Event::Failed {
                    id,
                    failure: Failure::Transport,
                });
            }
            return;
        }
        // The request or our response, whichever it is: both have the Via. A 2xx brings it when it comes again.
        let flow = over_new_connection(flow, &last);
        self.reroute(id, flow);
        if state == State::Completed {
            self.transmit(Transmit { flow, message: last });
        }
    }
}

/// To where the top Via of `message` says that its sender listens.
fn over_new_connection(flow: Flow, message: &Bytes) -> Flow {
    let port = Message::parse(message.clone()).map_or(flow.remote.port(), |m| m.top_via().sent_by().port);
    Flow {
        remote: SocketAddr::new(flow.remote.ip(), port),
        connection: None,
        ..flow
    }
}

/// Where responses go.
//= https://www.rfc-editor.org/rfc/rfc3261#section-18.2.2
fn reply_flow(flow: Flow, via: &Via) -> Flow {
    match flow.transport {
        Transport::Udp => Flow {
            remote: via.reply_to(flow.remote),
            ..flow
        },
        Transport::Tcp | Transport::Tls => flow,
    }
}

fn status_of(response: &[u8]) -> Option<Status> {
    let code = response.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    Status::new(std::str::from_utf8(code).ok()?.parse().ok()?)
}
