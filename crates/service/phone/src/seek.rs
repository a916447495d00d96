//! Where a request for another domain goes (RFC 3263): look-ups, one target after another, and which of them may be gone to.

use crate::call::CallId;
use crate::phone::{Pending, Phone};
use crate::question::Question;
use crate::reply::Reply;
use ringpost_base::Instant;
use ringpost_sip::locate::{Answer, Locate, LocateOutput, Target};
use ringpost_sip::ua::SessionId;
use ringpost_sip::{Flow, HeaderName, Status, TransactionId, Transport, Uri};
use tracing::{debug, info};

/// Numbers a search for the way to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeekId(pub(crate) u64);

/// A search that goes on until its seeker has reached somebody, or gives up.
#[derive(Debug)]
pub(crate) struct Seek {
    seeker: Seeker,
    /// Nothing for a URI that leads nowhere.
    locate: Option<Locate>,
    /// A question is open.
    is_asking: bool,
    /// What stood in the way of those that were passed over.
    obstacle: Option<Obstacle>,
    /// For requests within a dialog, the target that began it: it may be gone to again, and proves to be the same domain.
    began_at: Option<Target>,
}

/// Who wants to know.
#[derive(Clone, Debug)]
pub(crate) enum Seeker {
    /// A call to another domain.
    Call(CallId),
    /// A text message to another domain.
    Text(TransactionId),
    /// A session whose dialog leads to this URI.
    Dialog(SessionId, Uri),
}

/// Why a target, or a name, was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It is an address that nobody may be sent to.
    Denied,
    /// It is our own.
    Ourselves,
    /// There is no socket that leads there, or no such transport.
    NoWay,
    /// The DNS gave no answer.
    NoAnswer,
}

impl Obstacle {
    /// How the caller is told that nobody could even be tried.
    pub(crate) fn reply(obstacle: Option<Obstacle>) -> Reply {
        let (status, words) = match obstacle {
            None => (Status::NOT_FOUND, "no such domain, or no address for it"),
            Some(Obstacle::Denied) => (
                Status::FORBIDDEN,
                "the domain's address is in no network that may be called",
            ),
            Some(Obstacle::Ourselves) => (
                Status::LOOP_DETECTED,
                "the domain leads back to this server, which does not serve it",
            ),
            Some(Obstacle::NoWay) => (Status::BAD_GATEWAY, "no way to the domain's address from here"),
            Some(Obstacle::NoAnswer) => (
                Status::TEMPORARILY_UNAVAILABLE,
                "the DNS gave no answer for the domain",
            ),
        };
        //= https://www.rfc-editor.org/rfc/rfc3261#section-20.43
        Reply::new(status).with(HeaderName::Warning, format_args!("399 ringpost \"{words}\""))
    }
}

impl Phone {
    /// Begins a search; [`step_seek`](Phone::step_seek) brings its first target.
    pub(crate) fn seek(&mut self, uri: &Uri, seeker: Seeker, began_at: Option<Target>) -> SeekId {
        let locate = Locate::new(uri, &self.transports(), self.rng.fork());
        let obstacle = locate.as_ref().err().map(|_| Obstacle::NoWay);
        let id = SeekId(self.number());
        let seek = Seek {
            seeker,
            locate: locate.ok(),
            is_asking: false,
            obstacle,
            began_at,
        };
        self.seeks.insert(id, seek);
        id
    }

    /// The transports that others can answer us over too, in our order of preference.
    fn transports(&self) -> Vec<Transport> {
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
        let ports = &self.config.ports;
        let is_on =
            |transport| ports.is_empty() || ports.iter().any(|(of, port)| *of == transport && *port != 0);
        all.into_iter().filter(|transport| is_on(*transport)).collect()
    }

    /// Looks for the next target, unless that is being done.
    pub(crate) fn step_seek(&mut self, now: Instant, id: SeekId) {
        loop {
            let Some(seek) = self.seeks.get_mut(&id) else {
                return;
            };
            if seek.is_asking {
                return;
            }
            let next = seek
                .locate
                .as_mut()
                .map_or(LocateOutput::End, Locate::poll_output);
            let target = match next {
                LocateOutput::End => return self.sought(now, id, None),
                LocateOutput::Ask(question) => {
                    seek.is_asking = true;
                    return self.ask(Question::Records(question), Pending::Records(id));
                }
                LocateOutput::Target(target) => target,
            };
            let began_at = seek.began_at.as_ref();
            let known =
                began_at.filter(|at| at.transport == target.transport && at.address == target.address);
            if let Some(target) = known.cloned() {
                seek.is_asking = true;
                return self.ask(Question::Way(target.clone()), Pending::Way(id, target));
            }
            if !self.config.may_reach(target.address.ip()) {
                let Target { address, domain, .. } = &target;
                info!(%address, %domain, "another domain leads to an address that may not be called");
                seek.obstacle = Some(Obstacle::Denied);
                continue;
            }
            seek.is_asking = true;
            return self.ask(Question::Way(target.clone()), Pending::Way(id, target));
        }
    }

    /// The DNS has answered, or has not (`None`).
    pub(crate) fn records_found(&mut self, now: Instant, id: SeekId, answer: Option<Answer>) {
        let Some(seek) = self.seeks.get_mut(&id) else {
            return;
        };
        seek.is_asking = false;
        if answer.is_none() {
            seek.obstacle.get_or_insert(Obstacle::NoAnswer);
        }
        if let Some(locate) = &mut seek.locate
            && let LocateOutput::Ask(question) = locate.poll_output()
        {
            let fitting = answer.filter(|answer| answer.fits(&question));
            locate.handle_answer(fitting.unwrap_or_else(|| Answer::nothing(&question)));
        }
        self.step_seek(now, id);
    }

    /// There is a way to the target, or none.
    pub(crate) fn way_found(&mut self, now: Instant, id: SeekId, target: Target, flow: Option<Flow>) {
        let Some(seek) = self.seeks.get_mut(&id) else {
            return;
        };
        seek.is_asking = false;
        let Some(flow) = flow else {
            seek.obstacle.get_or_insert(Obstacle::NoWay);
            return self.step_seek(now, id);
        };
        if self.config.is_own(&flow) {
            seek.obstacle = Some(Obstacle::Ourselves);
            return self.step_seek(now, id);
        }
        debug!(%flow, domain = %target.domain, "another domain is tried there");
        self.sought(now, id, Some((target, flow)));
    }

    /// The next target, or that there is none any more.
    fn sought(&mut self, now: Instant, id: SeekId, found: Option<(Target, Flow)>) {
        let Some(seek) = self.seeks.get(&id) else { return };
        let obstacle = seek.obstacle;
        match seek.seeker.clone() {
            Seeker::Call(call) => self.call_found(now, call, found, obstacle),
            Seeker::Text(transaction) => self.text_found(now, transaction, found, obstacle),
            Seeker::Dialog(session, uri) => {
                self.seeks.remove(&id);
                self.ua.located(now, session, &uri, found.map(|(_, flow)| flow));
            }
        }
    }

    /// A session wants to know where its dialog leads.
    pub(crate) fn seek_dialog(&mut self, now: Instant, session: SessionId, uri: Uri) {
        let began_at = self.reached.get(&session).cloned();
        let id = self.seek(&uri, Seeker::Dialog(session, uri.clone()), began_at);
        self.step_seek(now, id);
    }
}

/// Somebody of another domain whom a request is for.
#[derive(Debug)]
pub(crate) struct Outside {
    /// What the request names.
    pub(crate) uri: Uri,
    /// The search for where to send it.
    pub(crate) seek: SeekId,
    /// A target that was found when the one before came to life.
    pub(crate) spare: Option<(Target, Flow)>,
    /// What the last one came to that was tried in vain.
    verdict: Option<Status>,
}

impl Outside {
    pub(crate) fn new(uri: Uri, seek: SeekId) -> Self {
        Outside {
            uri,
            seek,
            spare: None,
            verdict: None,
        }
    }

    /// A target was tried in vain, with that status.
    pub(crate) fn failed_with(&mut self, status: Status) {
        self.verdict = Some(match status {
            Status::REQUEST_TIMEOUT => Status::REQUEST_TIMEOUT,
            //= https://www.rfc-editor.org/rfc/rfc3261#section-16.7
            // A 503 is about the other server; ours serves.
            Status::SERVICE_UNAVAILABLE => Status::TEMPORARILY_UNAVAILABLE,
            _ => Status::BAD_GATEWAY,
        });
    }

    /// What is told when there is nobody left to try.
    pub(crate) fn last_word(&self, obstacle: Option<Obstacle>) -> Reply {
        match self.verdict {
            Some(status) => {
                let words = "none of the domain's servers could be reached";
                Reply::new(status).with(HeaderName::Warning, format_args!("399 ringpost \"{words}\""))
            }
            None => Obstacle::reply(obstacle),
        }
    }
}
