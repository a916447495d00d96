//! Runs the phone service: arrivals, media events and answers in; messages, commands and questions out.

use crate::stream::{CallParts, Calls, Dialling};
use crate::voicemail::Voicemail;
use crate::world::{Dns, MediaPlane, SipTransport, WorldRef};
use futures_util::future::{AbortHandle, Abortable, BoxFuture, Fuse, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ringpost_base::{Instant, UnixTime};
use ringpost_directory::{AccountInfo, Cached, DeviceInfo, DeviceKeys, Directory, DirectoryError};
use ringpost_media::LegId;
use ringpost_phone::{
    Account, Answer, Device, DeviceId, DialledMount, Event, MountCaller, Output, Person, Phone, Question,
    QuestionId, Registered,
};
use ringpost_sip::{Arrival, Flow, Transport, Uri};
use ringpost_store::records::{self, Bindings};
use ringpost_store::{AccountId, BindingsJournal, Bus, Heard, Interest, Topic};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How long changed bindings may wait to be saved: what a crash may cost at most is twice that.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// How long those wait that could not be saved.
const SAVE_AGAIN: Duration = Duration::from_secs(5);
/// How many arrivals are handled before timers and the rest get their turn.
const ARRIVALS_A_TURN: usize = 64;

/// What the driver joins.
pub struct PhoneParts {
    /// Clocks and tasks.
    pub world: WorldRef,
    /// Who is who.
    pub directory: Directory,
    /// The mailboxes, as calls see them.
    pub voicemail: Arc<dyn Voicemail>,
    /// The mounts that can be dialled; `None` where there are no streams.
    pub mounts: Option<Dialling>,
    /// Where messages leave.
    pub sip: Arc<dyn SipTransport>,
    /// Where the servers of other domains are looked up.
    pub dns: Arc<dyn Dns>,
    /// Where media flow.
    pub media: Arc<dyn MediaPlane>,
    /// What the sockets bring.
    pub arrivals: async_channel::Receiver<Arrival>,
    /// What the media engine tells.
    pub media_events: async_channel::Receiver<ringpost_media::Event>,
    /// Where changes of mailboxes and accounts are heard.
    pub bus: Arc<dyn Bus>,
    /// Where bindings outlive a restart.
    pub journal: BindingsJournal,
    /// What the operator wants.
    pub control: async_channel::Receiver<PhoneControl>,
}

/// What the operator wants of the phone service.
#[derive(Debug)]
pub enum PhoneControl {
    /// Another configuration; calls go on as they began.
    Configure(Box<ringpost_phone::Config>),
    /// How it stands.
    Status(async_channel::Sender<PhoneStatus>),
    /// End all calls and answer new ones with 503; told on the channel when none is left.
    Close(async_channel::Sender<()>),
}

/// How the phone service stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhoneStatus {
    /// Phones that are registered.
    pub registered: usize,
    /// Calls.
    pub calls: usize,
    /// Transactions, lingering ones included.
    pub transactions: usize,
    /// SIP sessions, two for a call between two phones, and those that end.
    pub sessions: usize,
    /// Subscriptions to lamps.
    pub subscriptions: usize,
    /// Everything that the service holds, by what it is, these included; what there is none of is left out.
    pub held: Vec<(&'static str, usize)>,
}

impl PhoneStatus {
    /// Whether nothing is left of whatever was: nobody is registered, and nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        self.held.is_empty()
    }
}

struct Driver {
    parts: PhoneParts,
    phone: Phone,
    asking: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// The questions which mount is dialled, each with what ends the search.
    finding: HashMap<QuestionId, AbortHandle>,
    /// The legs that hear a mount, each with what ends that.
    hearing: HashMap<LegId, AbortHandle>,
    /// The calls that are mounts.
    overheard: Calls,
    /// How many changes of the directory were heard of.
    changes: u64,
    /// The accounts that are being looked at because they have changed, each with the number of its last change.
    changed: HashMap<AccountId, u64>,
    looking: FuturesUnordered<BoxFuture<'static, Looked>>,
    lamps: FuturesUnordered<BoxFuture<'static, (AccountId, Answer)>>,
    /// Accounts whose bindings changed and are not saved.
    unsaved: HashMap<AccountId, Bindings>,
    save_at: Option<Instant>,
    /// The save that runs, at most one; it gives back what could not be saved.
    saving: FuturesUnordered<BoxFuture<'static, Vec<Bindings>>>,
    wake_at: Option<Instant>,
    closing: Option<async_channel::Sender<()>>,
    refusals: Refusals,
}

/// Which of the messages that are refused are told of: whoever sends noise as fast as it can must not fill the disk.
#[derive(Debug, Default)]
struct Refusals {
    since: Instant,
    told: u32,
    /// Those that were passed over since the last one that was told of.
    untold: u64,
}

impl Refusals {
    /// So many lines in such a time.
    const LINES: u32 = 20;
    const TIME: Duration = Duration::from_secs(10);

    /// Counts one; if it is to be told of, gives how many before it were not.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        if now.since(self.since) >= Self::TIME {
            self.since = now;
            self.told = 0;
        }
        if self.told >= Self::LINES {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// What was found out of the directory or a mailbox, by `changes` changes.
struct Answered {
    id: QuestionId,
    answer: Answer,
    /// What is to be asked again if the directory has changed meanwhile.
    question: Option<Question>,
    changes: u64,
}

/// How an account stood after a change.
struct Looked {
    id: AccountId,
    change: u64,
    found: Result<Option<Account>, DirectoryError>,
}

/// Runs `phone` until its channels are closed. What was saved of registrations is restored first.
pub async fn run(parts: PhoneParts, phone: Phone) {
    let mut driver = Driver {
        parts,
        phone,
        asking: FuturesUnordered::new(),
        finding: HashMap::new(),
        hearing: HashMap::new(),
        overheard: Calls::default(),
        changes: 0,
        changed: HashMap::new(),
        looking: FuturesUnordered::new(),
        lamps: FuturesUnordered::new(),
        unsaved: HashMap::new(),
        save_at: None,
        saving: FuturesUnordered::new(),
        wake_at: None,
        closing: None,
        refusals: Refusals::default(),
    };
    driver.restore().await;
    driver.serve().await;
}

impl Driver {
    async fn restore(&mut self) {
        let (now, calendar) = self.clocks();
        let saved = match self.parts.journal.load(calendar).await {
            Ok(saved) => saved,
            Err(error) => return warn!(%error, "registrations of before the restart cannot be read"),
        };
        for saved in saved {
            let Ok(Some(account)) = look(&self.parts.directory, saved.account).await else {
                continue;
            };
            let bindings = saved
                .bindings
                .iter()
                .filter_map(|saved| restored(saved, now, calendar))
                .collect();
            let person = account.person.clone();
            self.phone.restore(Registered { person, bindings });
            // A device may have been removed while nobody served, or a moment before the end.
            self.phone
                .handle_account(now, calendar, saved.account, Some(&account));
        }
        info!(registered = self.phone.registered(), "registrations restored");
    }

    async fn serve(&mut self) {
        let heard = self.parts.bus.subscribe(Interest::AllButMail);
        let arrivals = self.parts.arrivals.clone();
        let media_events = self.parts.media_events.clone();
        let control = self.parts.control.clone();
        let mut sleep = Fuse::<BoxFuture<'static, ()>>::terminated();
        let mut sleeps_until: Option<Instant> = None;
        loop {
            self.drain();
            // A sleep that ends too early costs one turn; a new one for each message would cost more.
            let wake_at = [self.wake_at, self.save_at].into_iter().flatten().min();
            if let Some(at) = wake_at
                && sleeps_until.is_none_or(|until| at < until)
            {
                sleep = self.parts.world.sleep_until(at).fuse();
                sleeps_until = Some(at);
            }
            futures_util::select_biased! {
                answered = self.asking.select_next_some() => self.answered(answered),
                looked = self.looking.select_next_some() => self.looked(looked),
                lamp = self.lamps.select_next_some() => {
                    if let (account, Answer::Lamp(counts)) = lamp {
                        let (now, calendar) = self.clocks();
                        self.phone.handle_lamp(now, calendar, account, counts);
                    }
                }
                arrival = arrivals.recv().fuse() => {
                    let Ok(arrival) = arrival else { return };
                    self.handle_arrivals(arrival, &arrivals);
                    // Above, the first that is ready is taken: what arrives without a pause must not keep the rest waiting.
                    for _ in 0..ARRIVALS_A_TURN {
                        let Ok(event) = media_events.try_recv() else { break };
                        self.handle_media(event);
                    }
                    if let Ok(control) = control.try_recv() {
                        self.handle_control(control);
                    }
                    if let Some(hint) = heard.next().now_or_never() {
                        self.hear(hint).await;
                    }
                    self.wake();
                }
                event = media_events.recv().fuse() => {
                    let Ok(event) = event else { return };
                    self.handle_media(event);
                }
                control = control.recv().fuse() => {
                    let Ok(control) = control else { return };
                    self.handle_control(control);
                }
                hint = heard.next().fuse() => {
                    self.hear(hint).await;
                }
                unsaved = self.saving.select_next_some() => self.save_again(unsaved),
                () = sleep => {
                    sleeps_until = None;
                    self.wake();
                }
            }
        }
    }

    fn handle_arrivals(&mut self, first: Arrival, more: &async_channel::Receiver<Arrival>) {
        let (now, calendar) = self.clocks();
        self.phone.handle_arrival(now, calendar, first);
        self.drain();
        for _ in 1..ARRIVALS_A_TURN {
            let Ok(arrival) = more.try_recv() else { return };
            let (now, calendar) = self.clocks();
            self.phone.handle_arrival(now, calendar, arrival);
            self.drain();
        }
    }

    /// What the media engine tells. A leg that is no more hears nothing.
    fn handle_media(&mut self, event: ringpost_media::Event) {
        if let ringpost_media::Event::LegRemoved { leg, .. } = &event
            && let Some(hearing) = self.hearing.remove(leg)
        {
            hearing.abort();
        }
        let (now, calendar) = self.clocks();
        self.phone.handle_media(now, calendar, event);
    }

    /// Finds which mount is dialled; one that is pulled is waited for, as long as its caller does.
    fn find_mount(
        &mut self,
        id: QuestionId,
        (user, domain): (Box<str>, Box<str>),
        caller: Option<MountCaller>,
    ) {
        let (handle, registration) = AbortHandle::new_pair();
        self.finding.insert(id, handle);
        let (mounts, changes) = (self.parts.mounts.clone(), self.changes);
        let found = async move {
            match mounts {
                Some(mounts) => mounts.find(&user, &domain, caller).await,
                None => DialledMount::Unknown,
            }
        };
        let answered = Abortable::new(found, registration).map(move |found| Answered {
            id,
            answer: Answer::Mount(found.unwrap_or(DialledMount::Unavailable)),
            question: None,
            changes,
        });
        self.asking.push(answered.boxed());
    }

    /// Feeds a mount to a leg; the question is answered when either is no more, or the right to hear it.
    fn hear_mount(&mut self, id: QuestionId, mount: Box<str>, caller: Option<MountCaller>, leg: LegId) {
        let (handle, registration) = AbortHandle::new_pair();
        self.hearing.insert(leg, handle);
        let (mounts, media, changes) = (self.parts.mounts.clone(), self.parts.media.clone(), self.changes);
        let heard = async move {
            if let Some(mounts) = mounts {
                mounts.hear(&mount, caller, leg, &*media).await;
            }
        };
        let heard = Abortable::new(heard, registration);
        let answered = heard.map(move |ended| Answered {
            id,
            answer: Answer::Done(ended.is_ok()),
            question: None,
            changes,
        });
        self.asking.push(answered.boxed());
    }

    fn wake(&mut self) {
        let (now, calendar) = self.clocks();
        if self.wake_at.is_some_and(|at| at <= now) {
            self.phone.handle_timeout(now, calendar);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save(now);
        }
    }

    /// Begins to save what has changed; while an earlier save runs, the change waits for its end.
    fn save(&mut self, now: Instant) {
        if !self.saving.is_empty() {
            self.save_at = Some(now + SAVE_AFTER);
            return;
        }
        self.save_at = None;
        let changed: Vec<Bindings> = std::mem::take(&mut self.unsaved).into_values().collect();
        let journal = self.parts.journal.clone();
        self.saving.push(
            async move {
                match journal.save(&changed).await {
                    Ok(()) => Vec::new(),
                    Err(error) => {
                        warn!(%error, accounts = changed.len(), "registrations not saved yet");
                        changed
                    }
                }
            }
            .boxed(),
        );
    }

    /// What could not be saved is saved later, unless it has changed meanwhile: phones that have registered must not be
    /// lost to a restart because the disk was full for a moment.
    fn save_again(&mut self, unsaved: Vec<Bindings>) {
        if unsaved.is_empty() {
            return;
        }
        for bindings in unsaved {
            self.unsaved.entry(bindings.account).or_insert(bindings);
        }
        let (now, _) = self.clocks();
        self.save_at.get_or_insert(now + SAVE_AGAIN);
    }

    /// Does everything that the service wants done.
    fn drain(&mut self) {
        loop {
            match self.phone.poll_output() {
                Output::Transmit(transmit) => self.parts.sip.send(transmit.flow, transmit.message),
                Output::Media(command) => self.parts.media.command(command),
                Output::Release(pair) => self.parts.media.close(pair),
                Output::Ask(id, question) => self.ask(id, question),
                Output::Forget(id) => {
                    if let Some(finding) = self.finding.remove(&id) {
                        finding.abort();
                    }
                }
                Output::Event(event) => self.tell(event),
                Output::Timeout(at) => {
                    self.wake_at = at;
                    break;
                }
            }
        }
        if self.phone.calls() == 0
            && let Some(done) = self.closing.take()
        {
            let _ = done.try_send(());
        }
    }

    /// Answers at once what is known here, and has the rest looked up.
    fn ask(&mut self, id: QuestionId, question: Question) {
        let question = match question {
            Question::Mount { user, domain, caller } => {
                return self.find_mount(id, (user, domain), caller);
            }
            Question::Hear { mount, caller, leg } => return self.hear_mount(id, mount, caller, leg),
            question => question,
        };
        let directory = self.parts.directory.clone();
        let known = match &question {
            Question::Device { username, realm } => match directory.device_cached(realm, username) {
                Cached::Present(keys) => Some(Answer::Device(Some(device_of(&keys)))),
                Cached::Absent => Some(Answer::Device(None)),
                Cached::Unknown => None,
            },
            Question::Person { user, domain } => match directory.account_cached(domain, user) {
                Cached::Present(info) => Some(Answer::Person(Some(person_of(&info)))),
                Cached::Absent => Some(Answer::Person(None)),
                Cached::Unknown => None,
            },
            Question::Sockets { towards } => {
                let mut open = Vec::with_capacity(towards.len());
                for peer in towards {
                    open.extend(self.parts.media.open(*peer));
                }
                let complete = open.len() == towards.len();
                if !complete {
                    open.iter().for_each(|socket| self.parts.media.close(socket.pair));
                }
                Some(Answer::Sockets(complete.then_some(open)))
            }
            Question::Way(target) => Some(Answer::Way(self.parts.sip.open(target))),
            _ => None,
        };
        if let Some(answer) = known {
            let (now, calendar) = self.clocks();
            return self.phone.handle_answer(now, calendar, id, answer);
        }
        let (voicemail, dns) = (self.parts.voicemail.clone(), self.parts.dns.clone());
        let changes = self.changes;
        self.asking.push(
            async move {
                let again = question.clone();
                let (answer, question) = match question {
                    Question::Device { username, realm } => {
                        let found = directory.device(&realm, &username).await;
                        let device = logged(found).flatten().map(|keys| device_of(&keys));
                        (Answer::Device(device), Some(again))
                    }
                    Question::Person { user, domain } => {
                        let found = directory.account(&domain, &user).await;
                        let person = logged(found).flatten().map(|info| person_of(&info));
                        (Answer::Person(person), Some(again))
                    }
                    Question::Records(question) => (Answer::Records(dns.look_up(question).await), None),
                    other => (voicemail.answer(other).await, None),
                };
                Answered {
                    id,
                    answer,
                    question,
                    changes,
                }
            }
            .boxed(),
        );
    }

    /// Hands an answer in. What the directory said before a change is asked again: the change may have taken the device
    /// away, and whoever it took away from was looked at already.
    fn answered(&mut self, answered: Answered) {
        let Answered {
            id,
            answer,
            question,
            changes,
        } = answered;
        self.finding.remove(&id);
        let is_somebody = matches!(&answer, Answer::Device(Some(_)) | Answer::Person(Some(_)));
        match question.filter(|_| is_somebody && changes != self.changes) {
            Some(question) => self.ask(id, question),
            None => {
                let (now, calendar) = self.clocks();
                self.phone.handle_answer(now, calendar, id, answer);
            }
        }
    }

    /// Looks how an account stands that has changed. A look that a later change overtakes counts for nothing.
    fn look_at(&mut self, id: AccountId) {
        let change = self.changes;
        self.changed.insert(id, change);
        let directory = self.parts.directory.clone();
        self.looking.push(
            async move {
                let found = look(&directory, id).await;
                Looked { id, change, found }
            }
            .boxed(),
        );
    }

    fn looked(&mut self, looked: Looked) {
        let Looked { id, change, found } = looked;
        if self.changed.get(&id) != Some(&change) {
            return;
        }
        self.changed.remove(&id);
        if let Some(account) = logged(found) {
            let (now, calendar) = self.clocks();
            self.phone.handle_account(now, calendar, id, account.as_ref());
        }
    }

    fn tell(&mut self, event: Event) {
        let (now, calendar) = self.clocks();
        match event {
            Event::Bindings {
                account,
                address,
                bindings,
            } => {
                let bindings = bindings
                    .iter()
                    .map(|binding| (binding, binding.device.as_ref()))
                    .map(|(binding, device)| records::Binding {
                        contact: binding.contact.as_str().to_owned(),
                        call_id: binding.call_id.to_string(),
                        cseq: binding.cseq,
                        expires: calendar + binding.expires.since(now),
                        q_thousandths: binding.q_thousandths,
                        transport: binding.flow.transport.via_name().to_owned(),
                        remote: binding.flow.remote.to_string(),
                        local: binding.flow.local.to_string(),
                        user: device.map_or(String::new(), |device| device.user.to_string()),
                        device_made: device.map_or(UnixTime::default(), |device| device.made),
                        ..records::Binding::default()
                    })
                    .collect();
                self.unsaved.insert(
                    account,
                    Bindings {
                        account,
                        address: address.into(),
                        bindings,
                    },
                );
                self.save_at.get_or_insert(now + SAVE_AFTER);
            }
            Event::Overheard(call) => {
                if let Some(mounts) = &self.parts.mounts {
                    let parts = CallParts {
                        world: &self.parts.world,
                        streams: &mounts.streams,
                        live: &mounts.live,
                    };
                    let sound = self.parts.media.tap([call.own, call.far]);
                    self.overheard.begin(&parts, &call, sound);
                }
            }
            Event::CallEnded(record) => info!(
                call = record.id.0, call_id = %record.call_id, caller = %record.caller, callee = %record.callee,
                began = %record.began, duration_ms = record.duration.as_millis() as u64,
                answered = record.answered, "call ended"
            ),
            Event::Refused { flow, reason } => {
                if let Some(untold) = self.refusals.tell(now) {
                    info!(%flow, %reason, untold, "message refused");
                }
            }
        }
    }

    async fn hear(&mut self, heard: Heard) {
        logged(self.parts.directory.handle_heard(heard).await);
        let lamps = match heard {
            Heard::Hint(hint) if hint.topic == Topic::Lamp => vec![hint.account],
            Heard::Hint(hint) => {
                self.changes += 1;
                self.look_at(hint.account);
                Vec::new()
            }
            Heard::Lagged => {
                self.changes += 1;
                let accounts = self.phone.accounts();
                accounts.iter().for_each(|account| self.look_at(*account));
                accounts
            }
            Heard::Closed => Vec::new(),
        };
        for account in lamps
            .into_iter()
            .filter(|account| self.phone.shows_lamp(*account))
        {
            let voicemail = self.parts.voicemail.clone();
            let ask = async move { (account, voicemail.answer(Question::Lamp { account }).await) };
            self.lamps.push(ask.boxed());
        }
    }

    fn handle_control(&mut self, control: PhoneControl) {
        let (now, calendar) = self.clocks();
        match control {
            PhoneControl::Configure(config) => self.phone.configure(*config),
            PhoneControl::Status(reply) => {
                let _ = reply.try_send(self.status());
            }
            PhoneControl::Close(done) => {
                self.phone.close(now, calendar);
                self.closing = Some(done);
            }
        }
    }

    fn status(&self) -> PhoneStatus {
        let own = [
            ("questions to others", self.asking.len()),
            ("lamps looked up", self.lamps.len()),
            ("legs that hear a mount", self.hearing.len()),
            (
                "registrations to be saved",
                self.unsaved.len() + self.saving.len(),
            ),
            (
                "wake-ups",
                usize::from(self.wake_at.is_some()) + usize::from(self.save_at.is_some()),
            ),
        ];
        let all = self.phone.holdings().chain(own);
        PhoneStatus {
            registered: self.phone.registered(),
            calls: self.phone.calls(),
            transactions: self.phone.transactions(),
            sessions: self.phone.sessions(),
            subscriptions: self.phone.subscriptions(),
            held: all.filter(|(_, count)| *count > 0).collect(),
        }
    }

    fn clocks(&self) -> (Instant, UnixTime) {
        (self.parts.world.now(), self.parts.world.unix_now())
    }
}

/// The value, or a line in the log.
fn logged<T, E: std::fmt::Display>(result: Result<T, E>) -> Option<T> {
    result
        .inspect_err(|error| warn!(%error, "the directory cannot be read"))
        .ok()
}

fn person_of(info: &AccountInfo) -> Arc<Person> {
    Arc::new(Person {
        account: info.id,
        user: info.address.local_part().into(),
        domain: info.address.domain().into(),
        extension: info.extension.as_deref().map(Into::into),
        name: info.display_name.as_str().into(),
    })
}

/// How an account stands now; `None` when it is no more.
async fn look(directory: &Directory, id: AccountId) -> Result<Option<Account>, DirectoryError> {
    let id_of = |device: DeviceInfo| DeviceId {
        user: device.user.into(),
        made: device.created,
    };
    let found = directory.account_and_devices(id).await?;
    Ok(found.map(|(info, devices)| Account {
        person: person_of(&info),
        devices: devices.into_iter().map(id_of).collect(),
    }))
}

fn device_of(keys: &DeviceKeys) -> Arc<Device> {
    Arc::new(Device {
        person: person_of(&keys.account),
        id: DeviceId {
            user: keys.user.as_str().into(),
            made: keys.created,
        },
        keys: keys.keys.clone(),
    })
}

/// A connection does not outlive a restart; the rest of the flow does.
fn flow_of(saved: &records::Binding) -> Option<Flow> {
    let transport = [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .find(|transport| transport.via_name() == saved.transport)?;
    let (local, remote) = (saved.local.parse().ok()?, saved.remote.parse().ok()?);
    Some(Flow {
        transport,
        local,
        remote,
        connection: None,
    })
}

fn restored(saved: &records::Binding, now: Instant, calendar: UnixTime) -> Option<ringpost_phone::Binding> {
    Some(ringpost_phone::Binding {
        contact: Uri::parse(saved.contact.as_str().into()).ok()?,
        flow: flow_of(saved)?,
        call_id: saved.call_id.as_str().into(),
        cseq: saved.cseq,
        expires: now + saved.expires.since(calendar),
        q_thousandths: saved.q_thousandths,
        device: (!saved.user.is_empty()).then(|| DeviceId {
            user: saved.user.as_str().into(),
            made: saved.device_made,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEGIN, Outside, at_once};
    use crate::world::World;
    use ringpost_base::Rng;
    use ringpost_directory::{Cost, InlineKdf};
    use ringpost_store::{LocalBus, MemoryStore};
    use std::sync::atomic::Ordering;

    #[test]
    fn noise_costs_a_few_lines_and_how_much_there_was_is_told() {
        let mut refusals = Refusals::default();
        let mut at = Instant::ZERO + Duration::from_secs(100);
        let told = (0..1_000).filter(|_| refusals.tell(at).is_some()).count();
        assert_eq!(told, Refusals::LINES as usize);
        at += Refusals::TIME;
        assert_eq!(refusals.tell(at), Some(1_000 - u64::from(Refusals::LINES)));
        assert_eq!(refusals.tell(at), Some(0));
    }

    /// A clock that goes on by a millisecond each time that it is read.
    #[derive(Default)]
    struct Busy(std::sync::atomic::AtomicU64);

    impl World for Busy {
        fn now(&self) -> Instant {
            let ms = self.0.fetch_add(1, Ordering::Relaxed);
            Instant::ZERO + Duration::from_millis(ms)
        }

        fn unix_now(&self) -> UnixTime {
            BEGIN
        }

        fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
            match self.now() < at {
                true => futures_util::future::pending().boxed(),
                false => futures_util::future::ready(()).boxed(),
            }
        }

        fn spawn(&self, _: BoxFuture<'static, ()>) {}

        fn rng(&self) -> Rng {
            Rng::from_number(1)
        }
    }

    /// A request of that method over UDP, its number in all that must differ.
    fn arrival(method: &str, number: usize) -> Arrival {
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.2:5060".parse().unwrap(),
            connection: None,
        };
        let text = format!(
            "{method} sip:nobody@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@example.org>;tag=a\r\nTo: <sip:nobody@example.org>\r\n\
             Call-ID: {number}\r\nCSeq: 1 {method}\r\nContact: <sip:a@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
        );
        Arrival::Message {
            flow,
            message: ringpost_sip::Message::parse_from(text.into(), flow.remote),
        }
    }

    #[test]
    fn timers_get_their_turn_however_much_arrives() {
        const FLOOD: usize = 3_000;
        let (store, bus) = (Arc::new(MemoryStore::new()), Arc::new(LocalBus::new()));
        let parts = ringpost_directory::Parts {
            store: store.clone(),
            bus: bus.clone(),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: [7; 32],
            rng: Rng::from_number(1),
        };
        let directory = at_once(Directory::open(parts, "example.org", BEGIN)).unwrap();
        let (arrivals_in, arrivals) = async_channel::unbounded();
        let (_media, media_events) = async_channel::unbounded();
        let (_control, control) = async_channel::unbounded();
        let outside = Arc::new(Outside::default());
        let parts = PhoneParts {
            world: Arc::new(Busy::default()),
            directory,
            voicemail: outside.clone(),
            mounts: None,
            sip: outside.clone(),
            dns: outside.clone(),
            media: outside.clone(),
            arrivals,
            media_events,
            bus,
            journal: BindingsJournal::new(store),
            control,
        };
        let config = ringpost_phone::Config {
            domains: vec!["example.org".into()],
            trusted: vec![("192.0.2.2".parse().unwrap(), 32)],
            ..ringpost_phone::Config::default()
        };
        let phone = Phone::new(config, Rng::from_number(2));
        arrivals_in.try_send(arrival("INVITE", 0)).unwrap();
        for number in 1..=FLOOD {
            arrivals_in.try_send(arrival("OPTIONS", number)).unwrap();
        }
        // It ends when the flood does.
        drop(arrivals_in);
        at_once(run(parts, phone));
        let sent = outside.0.lock().unwrap();
        let answers = |status: &str| sent.iter().filter(|answer| answer.starts_with(status)).count();
        assert!(
            answers("SIP/2.0 404 ") > 1,
            "the 404 that is not acknowledged goes out again within {FLOOD} ms"
        );
        assert_eq!(answers("SIP/2.0 200 "), FLOOD);
    }
}
