//! Where a request goes: from a URI to addresses, by way of NAPTR, SRV and address records (RFC 3263).

use crate::flow::Transport;
use crate::header::Via;
use crate::uri::{Host, Scheme, Uri};
use ringpost_base::{Rng, limits};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// Plans the look-ups for one URI and hands out the addresses to try, the best first.
///
/// Drain [`Locate::poll_output`]: a [`LocateOutput::Ask`] repeats itself until [`Locate::handle_answer`] brings its
/// answer; a [`LocateOutput::Target`] is to be tried, and only when that fails (503, a transport failure, no response at
/// all: RFC 3263 §4.3) is there a reason to go on. Later names are looked up only then.
///
/// It hands out at most [`limits::SIP_TARGETS`] targets and asks at most [`limits::SIP_LOOKUPS`] questions, whatever the
/// DNS says.
#[derive(Debug)]
pub struct Locate {
    domain: String,
    supported: Vec<Transport>,
    is_secure: bool,
    jobs: VecDeque<Job>,
    /// An SRV record has been seen, so that the domain's own addresses are no fallback.
    found_srv: bool,
    targets_left: usize,
    lookups_left: usize,
    /// What a certificate has to be for.
    certified: String,
    rng: Rng,
}

/// What comes out of [`Locate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocateOutput {
    /// Look this up.
    Ask(Question),
    /// Try this.
    Target(Target),
    /// There is nothing else to try.
    End,
}

/// A look-up. Names have no dot at their end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// NAPTR records of a domain.
    Naptr(String),
    /// SRV records of a service.
    Srv(String),
    /// A and AAAA records of a host, both, in the order of preference (RFC 7984).
    Addresses(String),
}

/// What a look-up found; none when there are no such records, or no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Naptr`].
    Naptr(Vec<Naptr>),
    /// To [`Question::Srv`].
    Srv(Vec<Srv>),
    /// To [`Question::Addresses`].
    Addresses(Vec<IpAddr>),
}

impl Answer {
    /// That there are no such records.
    pub fn nothing(question: &Question) -> Answer {
        match question {
            Question::Naptr(_) => Answer::Naptr(Vec::new()),
            Question::Srv(_) => Answer::Srv(Vec::new()),
            Question::Addresses(_) => Answer::Addresses(Vec::new()),
        }
    }

    /// Whether it is of the kind that was asked for.
    pub fn fits(&self, question: &Question) -> bool {
        matches!(
            (self, question),
            (Answer::Naptr(_), Question::Naptr(_))
                | (Answer::Srv(_), Question::Srv(_))
                | (Answer::Addresses(_), Question::Addresses(_))
        )
    }
}

/// A NAPTR record (RFC 3403), as far as SIP needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones first, and higher ones not at all if these suit.
    pub order: u16,
    /// Lower ones first among those of one order.
    pub preference: u16,
    /// `s` for a replacement that has SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T`.
    pub services: String,
    /// The name to ask for next.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` says that the service is not there.
    pub target: String,
}

/// An address to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// The name that a certificate has to be for, which is the URI's and not what DNS made of it (RFC 5922 §4).
    pub domain: String,
}

/// A URI that no request can be sent to from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unlocatable {
    /// It is neither a SIP nor a SIPS URI.
    #[error("a request goes to a SIP or SIPS URI only")]
    Scheme,
    /// It asks for a transport that is not spoken here, or for one that a SIPS URI cannot have.
    #[error("the URI asks for a transport that is not supported")]
    Transport,
}

#[derive(Clone, Debug)]
enum Job {
    Naptr,
    Srv {
        name: String,
        transport: Transport,
    },
    Host {
        name: String,
        port: u16,
        transport: Transport,
    },
    Ready {
        address: SocketAddr,
        transport: Transport,
    },
    /// The domain itself, unless there were SRV records.
    Fallback {
        transport: Transport,
    },
}

impl Job {
    const fn is_question(&self) -> bool {
        matches!(self, Job::Naptr | Job::Srv { .. } | Job::Host { .. })
    }
}

impl Locate {
    /// Where a request with that next hop goes (the top Route's URI or the Request-URI, RFC 3261 §8.1.2). `supported` in
    /// the order of preference.
    pub fn new(uri: &Uri, supported: &[Transport], rng: Rng) -> Result<Locate, Unlocatable> {
        let is_secure = uri.scheme() == Scheme::Sips;
        let Some(host) = uri.host() else {
            return Err(Unlocatable::Scheme);
        };
        let maddr = uri.param("maddr");
        let host = maddr.as_deref().map_or(host, |maddr| match bare_ip(maddr) {
            Some(ip) => Host::Ip(ip),
            None => Host::Name(maddr),
        });
        let asked = match uri.param("transport") {
            None => None,
            Some(name) => Some(named(&name, is_secure).ok_or(Unlocatable::Transport)?),
        };
        let mut locate = Locate::plan(host, uri.port(), asked, is_secure, supported, rng)?;
        // maddr names the machine, not whom it must prove to be.
        locate.certified = uri.host().map(certified).unwrap_or_default();
        Ok(locate)
    }

    /// Where a response goes when the connection or the address that its request came from is gone: to the sent-by of
    /// its top Via.
    //= https://www.rfc-editor.org/rfc/rfc3263#section-5
    pub fn response(via: &Via, supported: &[Transport], rng: Rng) -> Result<Locate, Unlocatable> {
        let transport = named(via.transport(), false).ok_or(Unlocatable::Transport)?;
        let is_secure = transport == Transport::Tls;
        Locate::plan(via.host(), via.port(), Some(transport), is_secure, supported, rng)
    }

    //= https://www.rfc-editor.org/rfc/rfc3263#section-4.1
    //= https://www.rfc-editor.org/rfc/rfc3263#section-4.2
    fn plan(
        host: Host<'_>,
        port: Option<u16>,
        asked: Option<Transport>,
        is_secure: bool,
        supported: &[Transport],
        rng: Rng,
    ) -> Result<Locate, Unlocatable> {
        let usual = if is_secure { Transport::Tls } else { Transport::Udp };
        let transport = asked.unwrap_or(usual);
        let default_port = port.unwrap_or(transport.default_port());
        let mut locate = Locate {
            domain: host.to_string(),
            supported: supported.to_vec(),
            is_secure,
            jobs: VecDeque::new(),
            found_srv: false,
            targets_left: limits::SIP_TARGETS,
            lookups_left: limits::SIP_LOOKUPS,
            certified: certified(host),
            rng,
        };
        match (host, port, asked) {
            (Host::Ip(ip), ..) => {
                locate.jobs.push_back(Job::Ready {
                    address: SocketAddr::new(ip, default_port),
                    transport,
                });
            }
            (Host::Name(name), Some(port), _) => {
                locate.jobs.push_back(Job::Host {
                    name: plain(name),
                    port,
                    transport,
                });
            }
            (Host::Name(_), None, Some(transport)) => locate.ask_services(&[transport], transport),
            (Host::Name(_), None, None) => {
                locate.jobs.push_back(Job::Naptr);
                return Ok(locate);
            }
        }
        match supported.contains(&transport) {
            true => Ok(locate),
            false => Err(Unlocatable::Transport),
        }
    }

    /// SRV queries for those transports, and the domain's own addresses when none of them has records.
    fn ask_services(&mut self, transports: &[Transport], fallback: Transport) {
        for transport in transports {
            let name = service(*transport, &self.domain);
            self.jobs.push_back(Job::Srv {
                name,
                transport: *transport,
            });
        }
        self.jobs.push_back(Job::Fallback { transport: fallback });
    }

    /// The next thing to do; the same question again while it has no answer.
    pub fn poll_output(&mut self) -> LocateOutput {
        while self.targets_left > 0 {
            let Some(job) = self.jobs.front() else { break };
            if self.lookups_left == 0 && job.is_question() {
                break;
            }
            match job {
                Job::Naptr => return LocateOutput::Ask(Question::Naptr(plain(&self.domain))),
                Job::Srv { name, .. } => return LocateOutput::Ask(Question::Srv(name.clone())),
                Job::Host { name, .. } => return LocateOutput::Ask(Question::Addresses(name.clone())),
                Job::Ready { address, transport } => {
                    let domain = self.certified.clone();
                    let target = Target {
                        transport: *transport,
                        address: *address,
                        domain,
                    };
                    self.jobs.pop_front();
                    self.targets_left -= 1;
                    return LocateOutput::Target(target);
                }
                Job::Fallback { transport } => {
                    let (transport, name) = (*transport, plain(&self.domain));
                    self.jobs.pop_front();
                    if !self.found_srv {
                        let port = transport.default_port();
                        self.jobs.push_front(Job::Host {
                            name,
                            port,
                            transport,
                        });
                    }
                }
            }
        }
        LocateOutput::End
    }

    /// The answer to the question that was asked; one to another question is ignored.
    pub fn handle_answer(&mut self, answer: Answer) {
        if self.lookups_left == 0 {
            return;
        }
        match (self.jobs.front().cloned(), answer) {
            (Some(Job::Naptr), Answer::Naptr(records)) => {
                self.jobs.pop_front();
                self.take_naptr(records);
            }
            (Some(Job::Srv { transport, .. }), Answer::Srv(records)) => {
                self.jobs.pop_front();
                self.take_srv(records, transport);
            }
            (Some(Job::Host { port, transport, .. }), Answer::Addresses(addresses)) => {
                self.jobs.pop_front();
                for ip in addresses.into_iter().take(self.targets_left).rev() {
                    self.jobs.push_front(Job::Ready {
                        address: SocketAddr::new(ip, port),
                        transport,
                    });
                }
            }
            _ => return,
        }
        self.lookups_left -= 1;
    }

    fn take_naptr(&mut self, mut records: Vec<Naptr>) {
        records.retain(|r| r.flags.eq_ignore_ascii_case("s") && resolution(&r.services).is_some());
        records.sort_by_key(|r| (r.order, r.preference));
        if records.is_empty() {
            let usable: Vec<_> = self
                .supported
                .iter()
                .copied()
                .filter(|t| !self.is_secure || *t == Transport::Tls)
                .collect();
            let usual = if self.is_secure {
                Transport::Tls
            } else {
                Transport::Udp
            };
            return self.ask_services(&usable, usual);
        }
        let mut fallback = None;
        for record in records.iter().take(limits::SIP_TARGETS) {
            let transport = resolution(&record.services).flatten();
            let Some(transport) = transport.filter(|t| self.supported.contains(t)) else {
                continue;
            };
            if self.is_secure && transport != Transport::Tls {
                continue;
            }
            fallback.get_or_insert(transport);
            self.jobs.push_back(Job::Srv {
                name: plain(&record.replacement),
                transport,
            });
        }
        self.jobs
            .extend(fallback.map(|transport| Job::Fallback { transport }));
    }

    fn take_srv(&mut self, records: Vec<Srv>, transport: Transport) {
        self.found_srv |= !records.is_empty();
        for srv in in_order(records, &mut self.rng)
            .into_iter()
            .take(self.targets_left)
            .rev()
        {
            let name = plain(&srv.target);
            if !name.is_empty() {
                self.jobs.push_front(Job::Host {
                    name,
                    port: srv.port,
                    transport,
                });
            }
        }
    }
}

/// A host as a certificate names it.
fn certified(host: Host<'_>) -> String {
    match host {
        Host::Name(name) => plain(name),
        Host::Ip(ip) => ip.to_string(),
    }
}

/// `_sip._udp.example.com`
fn service(transport: Transport, domain: &str) -> String {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{prefix}.{}", plain(domain))
}

/// Whether a NAPTR service is one of SIP's, and which transport it leads to, if that is one of ours.
fn resolution(services: &str) -> Option<Option<Transport>> {
    let (protocol, resolution) = services.split_once('+')?;
    let is_secure = protocol.eq_ignore_ascii_case("SIPS");
    if !is_secure && !protocol.eq_ignore_ascii_case("SIP") {
        return None;
    }
    Some(match resolution.to_ascii_uppercase().as_str() {
        "D2U" if !is_secure => Some(Transport::Udp),
        "D2T" if is_secure => Some(Transport::Tls),
        "D2T" => Some(Transport::Tcp),
        _ => None,
    })
}

/// The transport of a URI parameter or a Via.
fn named(name: &str, is_secure: bool) -> Option<Transport> {
    match name.to_ascii_lowercase().as_str() {
        "udp" if !is_secure => Some(Transport::Udp),
        "tcp" if !is_secure => Some(Transport::Tcp),
        "tcp" | "tls" => Some(Transport::Tls),
        _ => None,
    }
}

fn bare_ip(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text)
        .parse()
        .ok()
}

/// A name as it is asked for.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The order in which SRV records are to be tried: by priority, and within one by a draw weighted as they say.
//= https://www.rfc-editor.org/rfc/rfc2782
fn in_order(mut records: Vec<Srv>, rng: &mut Rng) -> Vec<Srv> {
    records.sort_by_key(|r| (r.priority, r.weight));
    let mut ordered = Vec::with_capacity(records.len().min(limits::SIP_TARGETS));
    while let Some(first) = records.first().filter(|_| ordered.len() < limits::SIP_TARGETS) {
        let priority = first.priority;
        let peers = records.iter().take_while(|r| r.priority == priority);
        let sum: u64 = peers.clone().map(|r| u64::from(r.weight)).sum();
        let drawn = rng.below(sum + 1);
        let mut running = 0;
        let chosen = peers.clone().position(|r| {
            running += u64::from(r.weight);
            running >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests;
