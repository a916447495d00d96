//! From an INVITE to the decision where the call goes.

use super::{Call, CallId, Destination, Party, Stage, codecs};
use crate::access::{Callee, callee_of};
use crate::phone::{Output, Pending, Phone};
use crate::question::{Device, MediaSocket, Person, Question};
use crate::registrar::Binding;
use crate::reply::Reply;
use crate::text::breadth_of;
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_media::{Command, LegMedia};
use ringpost_sdp::{Codec, Direction, SessionDescription};
use ringpost_sip::ua::SessionId;
use ringpost_sip::{Flow, HeaderName, Message, Status};
use ringpost_store::AccountId;
use std::sync::Arc;

impl Phone {
    /// A caller who may call: find out whom.
    pub(crate) fn begin_call(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        (session, flow, invite): (SessionId, Flow, Message),
        device: Option<Arc<Device>>,
    ) {
        let offer = match offer_of(&invite) {
            Ok(offer) => offer,
            Err(reply) => return self.reject(now, session, reply),
        };
        if self.calls.len() >= self.config.calls {
            return self.reject(now, session, Status::SERVICE_UNAVAILABLE.into());
        }
        let id = self.mint_call(session);
        self.calls.insert(
            id,
            Call {
                began: now,
                began_at: calendar,
                invite,
                flow,
                session,
                from: device.as_ref().map(|device| device.person.clone()),
                device: device.map(|device| device.id.user.clone()),
                callee: None,
                mount: None,
                mount_asked: None,
                outside: None,
                offer,
                caller: None,
                answer: None,
                answered: false,
                stage: Stage::Asking,
            },
        );
        self.route_call(now, id);
    }

    fn route_call(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        match callee_of(&call.invite, &call.flow, &self.config) {
            Ok(Callee::Ours(user, _)) if user == self.config.voicemail_number => self.dial_voicemail(now, id),
            Ok(Callee::Ours(user, domain)) => {
                self.ask(Question::Person { user, domain }, Pending::Callee(id))
            }
            Ok(Callee::Outside(uri)) => self.call_outside(now, id, uri),
            Err(status) => self.refuse_call(now, id, status.into()),
        }
    }

    /// Only its owner hears a mailbox.
    fn dial_voicemail(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        match call.from {
            Some(_) => self.ask_sockets(id, Vec::new()),
            None => self.refuse_call(now, id, Status::FORBIDDEN.into()),
        }
    }

    /// The callee is known, or nobody is.
    pub(crate) fn callee_found(&mut self, now: Instant, id: CallId, person: Option<Arc<Person>>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(person) = person else {
            return self.ask_mount(now, id);
        };
        let account = person.account;
        call.callee = Some(person);
        let breadth = breadth_of(&call.invite);
        if self.is_loop(id) {
            return self.refuse_call(now, id, Status::LOOP_DETECTED.into());
        }
        if breadth == 0 {
            return self.refuse_call(now, id, Status::MAX_BREADTH_EXCEEDED.into());
        }
        let mut bindings = self.bindings_to_ring(now, id, account);
        // All ring together; the order decides only who is left out above the limit.
        bindings.sort_by_key(|b| std::cmp::Reverse(b.q_thousandths));
        bindings.truncate(limits::FORKS_PER_CALL.min(breadth));
        self.ask_sockets(id, bindings.iter().map(Destination::from).collect());
    }

    /// The phones of an account, without the one that calls: who dials their own number reaches their other phones, and
    /// then their voicemail.
    fn bindings_to_ring(&self, now: Instant, id: CallId, account: AccountId) -> Vec<Binding> {
        let calling = self
            .calls
            .get(&id)
            .filter(|call| call.from.as_ref().is_some_and(|person| person.account == account));
        let bindings = self.registrar.bindings(account).iter();
        bindings
            .filter(|b| b.expires > now && calling.is_none_or(|call| call.flow != b.flow))
            .cloned()
            .collect()
    }

    /// Whether the INVITE is one that we sent for a call to the same person: one of their phones leads back to us. For
    /// another person it is none, since a phone may forward.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-16.3
    fn is_loop(&self, id: CallId) -> bool {
        let account = |call: &Call| call.callee.as_ref().map(|person| person.account);
        let Some(call) = self.calls.get(&id) else {
            return false;
        };
        let sent = call.invite.from_tag();
        let sent = sent.and_then(|tag| self.ua.sent_as(call.invite.call_id(), tag));
        let outer = sent.and_then(|session| self.calls.get(self.by_session.get(&session)?));
        outer.is_some_and(|outer| account(outer) == account(call))
    }

    /// A pair for the caller who has none yet, and one for each phone that is to ring.
    pub(crate) fn ask_sockets(&mut self, id: CallId, destinations: Vec<Destination>) {
        let Some(call) = self.calls.get(&id) else { return };
        let caller = call.caller.is_none().then_some(call.flow.remote.ip());
        let towards = caller.into_iter();
        let towards = towards
            .chain(destinations.iter().map(|d| d.flow.remote.ip()))
            .collect();
        self.ask(Question::Sockets { towards }, Pending::Sockets(id, destinations));
    }

    /// The sockets are open, or there are none left.
    pub(crate) fn sockets_open(
        &mut self,
        now: Instant,
        id: CallId,
        destinations: Vec<Destination>,
        sockets: Option<Vec<MediaSocket>>,
    ) {
        let sockets = sockets.unwrap_or_default();
        let is_asking = |call: &Call| matches!(call.stage, Stage::Asking);
        let is_awaited = |call: &&Call| {
            let wanted = destinations.len() + usize::from(call.caller.is_none());
            // A target of another domain makes room for the next one while it is silent.
            let is_silent = call.outside.is_some() && matches!(call.stage, Stage::Ringing(_));
            sockets.len() == wanted && (is_silent || is_asking(call))
        };
        let Some(call) = self.calls.get(&id).filter(is_awaited) else {
            sockets.into_iter().for_each(|socket| self.release(socket.pair));
            if self.calls.get(&id).is_some_and(is_asking) {
                self.refuse_call(now, id, Status::SERVICE_UNAVAILABLE.into());
            }
            return;
        };
        let (session, flow, is_new) = (call.session, call.flow, call.caller.is_none());
        let mut sockets = sockets.into_iter();
        let caller = if is_new { sockets.next() } else { None };
        let caller = caller.map(|socket| self.new_party(id, session, flow, socket));
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.caller = caller.or(call.caller.take());
        if call.outside.is_some() {
            return self.ring_outside(now, id, destinations.into_iter().zip(sockets).collect());
        }
        if let Some(mount) = call.mount.clone() {
            return self.open_mount(now, id, mount);
        }
        if call.callee.is_none() {
            return self.open_menu(now, id);
        }
        match destinations.is_empty() {
            true => self.divert_to_voicemail(now, id, None),
            false => self.ring(now, id, destinations.into_iter().zip(sockets).collect()),
        }
    }

    /// A leg on `socket`; its media leg begins now, so that removing it is what closes the sockets, always.
    pub(crate) fn new_party(
        &mut self,
        call: CallId,
        session: SessionId,
        flow: Flow,
        socket: MediaSocket,
    ) -> Party {
        let leg = self.mint_leg(call);
        let cname = self.rng.token(16);
        self.command(Command::CreateLeg {
            leg,
            pair: socket.pair,
            cname,
            media: LegMedia::audio(),
            media_timeout: Some(self.config.media_timeout),
        });
        Party::new(session, flow, socket, leg, self.rng.u64())
    }

    /// Answers the caller as those who speak with us are answered.
    pub(crate) fn answer_alone(&mut self, id: CallId) -> Result<(), Reply> {
        let offer = self.calls.get(&id).and_then(|call| call.offer.as_ref());
        let codecs = codecs::alone(offer);
        let answered = self.answer_caller(id, codecs, Direction::SendRecv);
        answered.map_err(|refusal| match refusal.status {
            Status::NOT_ACCEPTABLE_HERE => not_acceptable(305, "PCMU, PCMA, G722 or opus was expected"),
            _ => refusal,
        })
    }

    /// Answers the caller's offer once, so that the other leg may speak any of `codecs` and does what `direction` says; on
    /// an error no codec fits, and the caller is to be told so.
    pub(crate) fn answer_caller(
        &mut self,
        id: CallId,
        codecs: Vec<Codec>,
        direction: Direction,
    ) -> Result<(), Reply> {
        let Some(call) = self.calls.get_mut(&id) else {
            return Ok(());
        };
        let (Some(caller), None) = (call.caller.as_mut(), call.answer.as_ref()) else {
            return Ok(());
        };
        let description = match &call.offer {
            Some(offer) => caller
                .answer(offer, codecs, direction)
                .map_err(|_| not_acceptable(305, "a format that the other side takes was expected"))?,
            //= https://www.rfc-editor.org/rfc/rfc3261#section-13.3.1.4
            // A delayed offer: ours goes into the 2xx, the answer comes with the ACK.
            None => caller
                .offer(codecs, direction)
                .ok_or(Status::SERVER_INTERNAL_ERROR)
                .map_err(Reply::from)?,
        };
        call.answer = Some(description);
        let update = caller.update();
        self.output.extend(update.map(Output::Media));
        Ok(())
    }

    /// Ends a call that the caller has had no 2xx for.
    pub(crate) fn refuse_call(&mut self, now: Instant, id: CallId, reply: Reply) {
        let Some(call) = self.calls.get(&id) else { return };
        let session = call.session;
        self.reject(now, session, reply);
        self.end_call(now, id);
    }
}

/// The offer in a request: none without a body, or with one that need not be understood. A description that cannot be read, or
/// that holds no audio that we could handle, is a 488 (RFC 3261 §13.3.1.3).
pub(crate) fn offer_of(request: &Message) -> Result<Option<SessionDescription>, Reply> {
    if request.body().is_empty() {
        return Ok(None);
    }
    let is_sdp = request
        .content_type()
        .is_some_and(|t| t.is_ok_and(|t| t.is("application", "sdp")));
    if !is_sdp {
        let disposition = request.token_params(HeaderName::ContentDisposition);
        let handling = disposition.and_then(|d| d.ok()?.params.value("handling"));
        if handling.is_some_and(|handling| handling.eq_ignore_ascii_case("optional")) {
            return Ok(None);
        }
        //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.3
        // The user agent takes texts too, but not here.
        let refusal = Reply::new(Status::UNSUPPORTED_MEDIA_TYPE);
        return Err(refusal.with(HeaderName::Accept, "application/sdp"));
    }
    let description = SessionDescription::parse(request.body())
        .map_err(|_| not_acceptable(399, "a session description was expected that can be read"))?;
    if codecs::of_audio(&description).is_empty() {
        return Err(not_acceptable(304, "audio over RTP/AVP was expected"));
    }
    Ok(Some(description))
}

/// An offer that is refused is told why.
//= https://www.rfc-editor.org/rfc/rfc3261#section-13.3.1.3
fn not_acceptable(code: u16, words: &str) -> Reply {
    Reply::new(Status::NOT_ACCEPTABLE_HERE)
        .with(HeaderName::Warning, format_args!("{code} ringpost \"{words}\""))
}
