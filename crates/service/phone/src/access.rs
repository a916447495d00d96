//! Who is asking: digest credentials, trusted networks, and whether From is the asker's own.

use crate::config::Config;
use crate::question::{Device, Person};
use crate::reply::Reply;
use ringpost_auth::digest::{Authenticator, Credentials, Offer, Policy, Verdict};
use ringpost_base::{Rng, UnixTime};
use ringpost_sip::{Flow, HeaderName, Host, Message, NameAddr, Scheme, Status, Uri};
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of a request's sender.
#[derive(Debug)]
pub(crate) enum Access {
    /// Proven by its device's credentials.
    Proven(Arc<Device>),
    /// From a network that needs no credentials.
    Trusted,
    /// The credentials name this device of this realm; ask for its keys, then come again.
    Ask(Box<str>, Box<str>),
    /// Answer so.
    Refused(Reply),
}

/// The gate that every request outside a dialog passes, but OPTIONS. Each of our domains is a realm of its own.
#[derive(Debug)]
pub(crate) struct Gate {
    realms: HashMap<Box<str>, Authenticator>,
    rng: Rng,
}

impl Gate {
    pub(crate) fn new(rng: Rng) -> Self {
        Gate {
            realms: HashMap::new(),
            rng,
        }
    }

    /// Judges a request before its device's keys are known.
    pub(crate) fn look(
        &mut self,
        calendar: UnixTime,
        config: &Config,
        flow: Flow,
        request: &Message,
    ) -> Access {
        if let Some((credentials, realm)) = credentials(request, config) {
            //= https://www.rfc-editor.org/rfc/rfc7616#section-3.3
            // Right credentials to a nonce that has expired must hear `stale`, and only their keys can tell.
            return Access::Ask(credentials.username.as_ref().into(), realm.into());
        }
        if config.trusts(flow.remote.ip()) || !config.authenticate {
            return Access::Trusted;
        }
        Access::Refused(self.challenge(calendar, config, request, false))
    }

    /// Judges it with the keys, `None` for an unknown device: that takes as long and sounds the same as a wrong secret.
    pub(crate) fn judge(
        &mut self,
        calendar: UnixTime,
        config: &Config,
        request: &Message,
        device: Option<Arc<Device>>,
    ) -> Access {
        let Some((credentials, realm)) = credentials(request, config) else {
            return Access::Refused(self.challenge(calendar, config, request, false));
        };
        //= https://www.rfc-editor.org/rfc/rfc7616#section-3.4.1
        // The URI in the credentials must mean the request's; some phones write it without parameters.
        let same_uri = request
            .request_uri()
            .is_some_and(|uri| names(uri, &credentials.uri));
        let keys = device.as_ref().map(|d| &d.keys);
        let method = request.method().as_str();
        let verdict = self
            .realm(realm, config)
            .verify(calendar, &credentials, method, keys);
        match (verdict, device) {
            (Verdict::Granted, _) if !same_uri => Access::Refused(Status::BAD_REQUEST.into()),
            (Verdict::Granted, Some(device)) => Access::Proven(device),
            (verdict, _) => {
                let stale = verdict == Verdict::Stale;
                Access::Refused(self.challenge(calendar, config, request, stale))
            }
        }
    }

    /// 401 for everyone alike (RFC 3261 §22.2; as a user agent and a registrar we never say 407).
    fn challenge(&mut self, calendar: UnixTime, config: &Config, request: &Message, stale: bool) -> Reply {
        let realm = domain_of(request.from().uri(), config).unwrap_or(config.realm());
        let mut reply = Reply::new(Status::UNAUTHORIZED);
        for challenge in self.realm(realm, config).challenge(calendar, Offer::All, stale) {
            reply = reply.with(HeaderName::WwwAuthenticate, challenge);
        }
        reply
    }

    /// Only domains of ours get here, so that there are few.
    fn realm(&mut self, realm: &str, config: &Config) -> &mut Authenticator {
        let rng = &mut self.rng;
        self.realms.entry(realm.into()).or_insert_with(|| {
            let policy = Policy {
                algorithms: config.digest_algorithms.clone(),
                ..Policy::default()
            };
            Authenticator::new(realm, rng.fork(), policy)
        })
    }
}

/// The first credentials for a realm of ours that can be read, and the realm as we write it; credentials for other realms
/// are not ours to judge.
fn credentials<'a, 'c>(request: &'a Message, config: &'c Config) -> Option<(Credentials<'a>, &'c str)> {
    request
        .lines(HeaderName::Authorization)
        .filter_map(|line| Credentials::parse(line).ok())
        .filter(|credentials| credentials.algorithm.is_some())
        .find_map(|credentials| {
            let realm = config
                .domains
                .iter()
                .find(|domain| ***domain == *credentials.realm)?;
            Some((credentials, &**realm))
        })
}

/// Whether the `uri` of credentials names the Request-URI: equal by SIP's rules, or the same user, host and port.
fn names(request_uri: &Uri, uri: &str) -> bool {
    if request_uri.as_str() == uri {
        return true;
    }
    let Ok(uri) = Uri::parse(uri.into()) else {
        return false;
    };
    request_uri.equivalent(&uri)
        || (request_uri.user() == uri.user()
            && same_host(request_uri, &uri)
            && request_uri.port() == uri.port())
}

fn same_host(a: &Uri, b: &Uri) -> bool {
    match (a.host(), b.host()) {
        (Some(a), Some(b)) => a.to_string().eq_ignore_ascii_case(&b.to_string()),
        _ => false,
    }
}

/// Whether an address is that person's own: the local part or the extension, at one of our domains.
pub(crate) fn is_own(address: &NameAddr, person: &Person, config: &Config) -> bool {
    let Some(user) = address.uri().user_unescaped() else {
        return false;
    };
    let is_user = user.eq_ignore_ascii_case(person.user.as_bytes())
        || person.extension.as_ref().is_some_and(|e| *user == *e.as_bytes());
    is_user && domain_of(address.uri(), config).is_some_and(|d| d.eq_ignore_ascii_case(&person.domain))
}

/// Our domain that a URI's host means; an IP address means the first, since phones are often told nothing but that.
pub(crate) fn domain_of<'a>(uri: &Uri, config: &'a Config) -> Option<&'a str> {
    let host = uri.host()?;
    if host.ip().is_some() {
        return Some(config.realm());
    }
    let host = host.to_string();
    config
        .domains
        .iter()
        .find(|d| d.eq_ignore_ascii_case(&host))
        .map(|d| &**d)
}

/// Whom a request is for.
#[derive(Debug)]
pub(crate) enum Callee {
    /// The user, unescaped, and which domain of ours.
    Ours(Box<str>, Box<str>),
    /// Somebody of another domain, as a request to them names them.
    Outside(Uri),
}

/// Whom a request means that came by `flow`. A telephone number is one of the first domain's.
///
/// Errors are the status to answer with: 484 where no user is named at a domain of ours.
pub(crate) fn callee_of(request: &Message, flow: &Flow, config: &Config) -> Result<Callee, Status> {
    let uri = request.request_uri().ok_or(Status::NOT_FOUND)?;
    let domain = match uri.scheme() {
        Scheme::Tel => Some(config.realm()),
        _ if is_elsewhere(request, uri, flow, config) => None,
        _ => domain_of(uri, config),
    };
    let Some(domain) = domain else {
        //= https://www.rfc-editor.org/rfc/rfc3261#section-19.1.1
        let uri = uri.without_headers().without_param("method");
        return Ok(Callee::Outside(uri.detached()));
    };
    let user = uri.user_unescaped().ok_or(Status::ADDRESS_INCOMPLETE)?;
    Ok(Callee::Ours(String::from_utf8_lossy(&user).into(), domain.into()))
}

/// Whether a URI names an address that is not ours: another than the one that the request came to, than our public one,
/// and than the one that the sender takes for our domain, or a port that is not ours. Where nothing goes to others, every
/// address that leads to us is ours.
fn is_elsewhere(request: &Message, uri: &Uri, flow: &Flow, config: &Config) -> bool {
    let ip = uri.host().and_then(Host::ip).filter(|_| config.outbound);
    let Some(ip) = ip else {
        return false;
    };
    let from = request.from().uri();
    if same_host(from, uri) && from.port() == uri.port() {
        return false;
    }
    let is_our_port =
        |port: u16| port == flow.local.port() || config.ports.iter().any(|(_, ours)| *ours == port);
    let is_our_host = ip == flow.local.ip().to_canonical() || config.public_address == Some(ip);
    !(is_our_host && uri.port().is_none_or(is_our_port))
}

/// The address that a request from here has in other domains: the proven person's, or what a trusted network's phone says,
/// if that is one of ours.
pub(crate) fn own_address(request: &Message, person: Option<&Person>, config: &Config) -> Option<NameAddr> {
    if person.is_some() {
        return caller_address(request, person);
    }
    let from = request.from();
    let (user, domain) = (from.uri().user_unescaped()?, domain_of(from.uri(), config)?);
    let user = String::from_utf8_lossy(&user);
    let address = NameAddr::new(&Uri::sip(Some(&user), Host::Name(domain), None).ok()?);
    Some(match from.display() {
        Some(name) => address.with_display(&name),
        None => address,
    })
}

/// A person's address of record.
pub(crate) fn person_address(person: &Person) -> Option<NameAddr> {
    let host = Host::Name(&person.domain);
    let uri = Uri::sip(Some(&person.user), host, None).ok()?;
    let address = NameAddr::new(&uri);
    Some(if person.name.is_empty() {
        address
    } else {
        address.with_display(&person.name)
    })
}

/// What the called phones see as the caller: the proven person, with the name that the phone gave if we know none; else
/// From as it came.
pub(crate) fn caller_address(request: &Message, person: Option<&Person>) -> Option<NameAddr> {
    let Some(person) = person else {
        return Some(request.from().without_params());
    };
    let address = person_address(person)?;
    match request.from().display() {
        Some(name) if person.name.is_empty() => Some(address.with_display(&name)),
        _ => Some(address),
    }
}
