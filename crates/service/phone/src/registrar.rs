//! Where each account's phones are (RFC 3261 §10.3).

use crate::config::Config;
use crate::question::{Account, DeviceId};
use ringpost_base::{Deadlines, Instant, limits};
use ringpost_sip::{Flow, Host, Status, Transport, Uri};
use ringpost_store::AccountId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// One phone's place: what to write into the Request-URI, and the flow that leads there.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The Contact as the phone gave it, for the Request-URI.
    pub contact: Uri,
    /// The flow that its REGISTER came by: requests to the phone go the same way back (RFC 5626 §5.3, and the only way
    /// through a NAT).
    pub flow: Flow,
    /// The Call-ID of the registration, which orders it.
    pub call_id: Box<str>,
    /// The CSeq of the registration.
    pub cseq: u32,
    /// When it ends.
    pub expires: Instant,
    /// Preference, 0 to 1,000.
    pub q_thousandths: u16,
    /// The device that registered it; none for one on a trusted network.
    pub device: Option<DeviceId>,
}

impl Binding {
    /// What a request to the phone names: the Contact without what must not stand there (RFC 3261 §19.1.1).
    pub(crate) fn request_uri(&self) -> Uri {
        self.contact.without_headers().without_param("method")
    }
}

/// What a REGISTER asks for.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    /// Its Call-ID.
    pub(crate) call_id: Box<str>,
    /// Its CSeq number.
    pub(crate) cseq: u32,
    /// Where it came from.
    pub(crate) flow: Flow,
    /// Which device has proven itself with it, if one has.
    pub(crate) device: Option<DeviceId>,
    /// What is to be done.
    pub(crate) wish: Wish,
}

/// The Contacts of a REGISTER.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// None: it only asks what is registered.
    Query,
    /// `*` with an expiry of zero: everything goes.
    RemoveAll,
    /// These are added, refreshed, or removed where their expiry is zero.
    Set(Vec<ContactWish>),
}

/// One Contact of a REGISTER.
#[derive(Clone, Debug)]
pub(crate) struct ContactWish {
    /// Its URI.
    pub(crate) uri: Uri,
    /// Its own `expires` parameter, else the Expires header, else nothing.
    pub(crate) expires_s: Option<u32>,
    /// Its `q`, 0 to 1,000.
    pub(crate) q_thousandths: u16,
}

/// Every account's bindings, and when they end.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    accounts: HashMap<AccountId, Vec<Binding>>,
    /// The earliest end of each account's bindings.
    ends: Deadlines<AccountId>,
    by_connection: HashMap<u64, Vec<AccountId>>,
}

impl Registrar {
    /// What is registered for `account` now.
    pub(crate) fn bindings(&self, account: AccountId) -> &[Binding] {
        self.accounts.get(&account).map_or(&[], Vec::as_slice)
    }

    /// The accounts that have a binding.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.accounts.keys().copied()
    }

    /// How many bindings there are.
    pub(crate) fn len(&self) -> usize {
        self.accounts.values().map(Vec::len).sum()
    }

    /// Everything that is kept, and how much of it.
    pub(crate) fn holdings(&self) -> [(&'static str, usize); 4] {
        [
            ("registered phones", self.len()),
            ("accounts with phones", self.accounts.len()),
            ("timers of registrations", self.ends.len()),
            ("connections of phones", self.by_connection.len()),
        ]
    }

    /// Does what a REGISTER asks for: all of it or nothing (RFC 3261 §10.3 step 7). Whether a phone is registered now that
    /// was not before.
    ///
    /// Errors are the status to answer with: 423 for an expiry that is too short, 500 for a request older than the binding
    /// it would change, 403 for too many contacts.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        account: AccountId,
        registration: Registration,
        config: &Config,
    ) -> Result<bool, Status> {
        let mut before = self.bindings(account).to_vec();
        before.retain(|b| b.expires > now);
        let mut bindings = before.clone();
        match &registration.wish {
            Wish::Query => return Ok(false),
            Wish::RemoveAll => {
                //= https://www.rfc-editor.org/rfc/rfc3261#section-10.3
                // An older request of the same Call-ID removes nothing that a newer one has made.
                if bindings.iter().any(|b| is_stale(b, &registration)) {
                    return Err(Status::SERVER_INTERNAL_ERROR);
                }
                bindings.clear();
            }
            Wish::Set(contacts) => {
                for contact in contacts {
                    apply(&before, &mut bindings, now, contact, &registration, config)?;
                }
            }
        }
        if bindings.len() > limits::BINDINGS_PER_ACCOUNT {
            return Err(Status::FORBIDDEN);
        }
        let is_known = |b: &Binding| before.iter().any(|known| known.contact.equivalent(&b.contact));
        let added = !bindings.iter().all(is_known);
        self.replace(account, bindings);
        Ok(added)
    }

    /// Puts back a binding that was saved before a restart, if what it was reached by can be reached again.
    pub(crate) fn restore(&mut self, account: AccountId, mut binding: Binding) {
        if binding.flow.transport.is_reliable() && !reopen(&mut binding) {
            return;
        }
        let mut bindings = self.bindings(account).to_vec();
        bindings.push(binding);
        self.replace(account, bindings);
    }

    /// Forgets what devices have registered that are no more; of an account that is no more, everything. Whether anything was.
    pub(crate) fn hold_to(&mut self, id: AccountId, account: Option<&Account>) -> bool {
        let before = self.bindings(id).len();
        let mut bindings = self.bindings(id).to_vec();
        bindings.retain(|b| account.is_some_and(|account| account.has(b.device.as_ref())));
        let is_less = bindings.len() < before;
        if is_less {
            self.replace(id, bindings);
        }
        is_less
    }

    /// A stream connection ended. Phones on TCP may be reached by a new one at the port in their Contact; a TLS flow
    /// cannot be opened from our side. Gives the accounts whose bindings changed.
    pub(crate) fn handle_closed(&mut self, connection: u64) -> Vec<AccountId> {
        let changed = self.by_connection.get(&connection).cloned().unwrap_or_default();
        for account in &changed {
            let mut bindings = self.bindings(*account).to_vec();
            bindings.retain_mut(|b| b.flow.connection != Some(connection) || reopen(b));
            self.replace(*account, bindings);
        }
        changed
    }

    /// When the next binding ends.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.ends.next()
    }

    /// Drops what has ended; gives one account whose bindings changed, until there is none.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<AccountId> {
        let account = self.ends.pop_due(now)?;
        let mut bindings = self.bindings(account).to_vec();
        bindings.retain(|b| b.expires > now);
        self.replace(account, bindings);
        Some(account)
    }

    fn replace(&mut self, account: AccountId, bindings: Vec<Binding>) {
        let uses =
            |bindings: &[Binding], connection| bindings.iter().any(|b| b.flow.connection == connection);
        for gone in self.accounts.remove(&account).unwrap_or_default() {
            if let Some(connection) = gone.flow.connection
                && !uses(&bindings, gone.flow.connection)
                && let Some(accounts) = self.by_connection.get_mut(&connection)
            {
                accounts.retain(|other| *other != account);
                if accounts.is_empty() {
                    self.by_connection.remove(&connection);
                }
            }
        }
        for connection in bindings.iter().filter_map(|b| b.flow.connection) {
            let accounts = self.by_connection.entry(connection).or_default();
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        match bindings.iter().map(|b| b.expires).min() {
            Some(end) => {
                self.ends.set(account, end);
                self.accounts.insert(account, bindings);
            }
            None => self.ends.remove(&account),
        }
    }

    /// Nothing is kept beside what the bindings need.
    #[cfg(test)]
    pub(crate) fn assert_tidy(&self) {
        assert_eq!(self.ends.len(), self.accounts.len());
        for (connection, accounts) in &self.by_connection {
            let uses = |account: &AccountId| {
                self.bindings(*account)
                    .iter()
                    .any(|b| b.flow.connection == Some(*connection))
            };
            assert!(!accounts.is_empty() && accounts.iter().all(uses));
        }
    }
}

fn is_stale(binding: &Binding, registration: &Registration) -> bool {
    binding.call_id == registration.call_id && registration.cseq <= binding.cseq
}

fn apply(
    before: &[Binding],
    bindings: &mut Vec<Binding>,
    now: Instant,
    contact: &ContactWish,
    registration: &Registration,
    config: &Config,
) -> Result<(), Status> {
    let wanted_s = contact.expires_s.unwrap_or(config.expires_default_s);
    if wanted_s > 0 && wanted_s < config.expires_min_s {
        return Err(Status::INTERVAL_TOO_BRIEF);
    }
    let is_same = |b: &Binding| b.contact.equivalent(&contact.uri);
    if before.iter().any(|b| is_same(b) && is_stale(b, registration)) {
        return Err(Status::SERVER_INTERNAL_ERROR);
    }
    bindings.retain(|b| !is_same(b));
    if wanted_s > 0 {
        bindings.push(Binding {
            contact: contact.uri.detached(),
            flow: registration.flow,
            call_id: registration.call_id.clone(),
            cseq: registration.cseq,
            expires: now + Duration::from_secs(wanted_s.min(config.expires_max_s).into()),
            q_thousandths: contact.q_thousandths,
            device: registration.device.clone(),
        });
    }
    Ok(())
}

/// Points a binding whose connection is gone at its Contact's own address; false when that leads nowhere, or to somebody
/// else: we open no connections to third parties, our own host and its neighbours among them, because a phone names them.
fn reopen(binding: &mut Binding) -> bool {
    let address = binding.contact.host().and_then(Host::ip);
    let registered_from = binding.flow.remote.ip();
    match (binding.flow.transport, address) {
        (Transport::Tcp, Some(ip)) if ip == registered_from => {
            let port = binding.contact.port().unwrap_or(Transport::Tcp.default_port());
            binding.flow.connection = None;
            binding.flow.remote = SocketAddr::new(ip, port);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(1);

    fn flow(connection: Option<u64>) -> Flow {
        Flow {
            transport: if connection.is_some() {
                Transport::Tcp
            } else {
                Transport::Udp
            },
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "198.51.100.7:40001".parse().unwrap(),
            connection,
        }
    }

    fn contact(uri: &str, expires_s: Option<u32>) -> ContactWish {
        ContactWish {
            uri: Uri::parse(uri.into()).unwrap(),
            expires_s,
            q_thousandths: 1_000,
        }
    }

    fn set(call_id: &str, cseq: u32, contacts: Vec<ContactWish>) -> Registration {
        Registration {
            call_id: call_id.into(),
            cseq,
            flow: flow(None),
            device: None,
            wish: Wish::Set(contacts),
        }
    }

    #[test]
    fn the_same_contact_is_refreshed_and_another_is_added() {
        // Guards pitfall SIP 11: contacts compare by the rules for URIs, not letter by letter.
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        r.register(
            now,
            ALICE,
            set("a", 1, vec![contact("sip:alice@Host.Example:5062", None)]),
            &config,
        )
        .unwrap();
        r.register(
            now,
            ALICE,
            set("a", 2, vec![contact("sip:%61lice@host.example:5062", None)]),
            &config,
        )
        .unwrap();
        assert_eq!(r.len(), 1);
        r.register(
            now,
            ALICE,
            set("b", 1, vec![contact("sip:alice@host.example", None)]),
            &config,
        )
        .unwrap();
        assert_eq!(r.len(), 2);
    }

    #[test]
    fn an_older_request_of_the_same_call_id_changes_nothing() {
        // Guards pitfall SIP 11: Call-ID and CSeq order registrations.
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        let uri = "sip:alice@192.0.2.9";
        r.register(now, ALICE, set("a", 5, vec![contact(uri, None)]), &config)
            .unwrap();
        let before = r.bindings(ALICE).to_vec();
        for cseq in [4, 5] {
            let late = set(
                "a",
                cseq,
                vec![contact("sip:new@192.0.2.9", None), contact(uri, Some(0))],
            );
            assert_eq!(
                r.register(now, ALICE, late, &config),
                Err(Status::SERVER_INTERNAL_ERROR)
            );
            assert_eq!(r.bindings(ALICE), before);
        }
        r.register(now, ALICE, set("other", 1, vec![contact(uri, Some(0))]), &config)
            .unwrap();
        assert!(r.accounts.is_empty());
    }

    #[test]
    fn a_star_removes_everything() {
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        let both = vec![contact("sip:a@192.0.2.9", None), contact("sip:b@192.0.2.9", None)];
        r.register(now, ALICE, set("a", 1, both), &config).unwrap();
        let all = Registration {
            wish: Wish::RemoveAll,
            ..set("a", 2, vec![])
        };
        r.register(now, ALICE, all, &config).unwrap();
        assert!(r.accounts.is_empty());
        assert_eq!(r.next_timeout(), None);
    }

    #[test]
    fn expiries_are_granted_within_bounds_and_come_due() {
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        let uri = "sip:alice@192.0.2.9";
        let brief = set("a", 1, vec![contact(uri, Some(59))]);
        assert_eq!(
            r.register(now, ALICE, brief, &config),
            Err(Status::INTERVAL_TOO_BRIEF)
        );
        r.register(
            now,
            ALICE,
            set("a", 2, vec![contact(uri, Some(u32::MAX))]),
            &config,
        )
        .unwrap();
        let end = now + Duration::from_secs(config.expires_max_s.into());
        assert_eq!(r.next_timeout(), Some(end));
        assert_eq!(r.pop_expired(end - Duration::from_nanos(1)), None);
        assert_eq!(r.pop_expired(end), Some(ALICE));
        assert!(r.accounts.is_empty());
    }

    #[test]
    fn too_many_contacts_are_refused_whole() {
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        let many = (0..=limits::BINDINGS_PER_ACCOUNT)
            .map(|n| contact(&format!("sip:a{n}@192.0.2.9"), None))
            .collect();
        assert_eq!(
            r.register(now, ALICE, set("a", 1, many), &config),
            Err(Status::FORBIDDEN)
        );
        assert!(r.accounts.is_empty());
    }

    #[test]
    fn a_binding_belongs_to_its_flow() {
        // Guards pitfall SIP 11: when the connection is gone, only its own bindings move or go.
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        let tcp = Registration {
            flow: flow(Some(7)),
            ..set(
                "a",
                1,
                vec![contact("sip:alice@198.51.100.7:5070;transport=tcp", None)],
            )
        };
        r.register(now, ALICE, tcp, &config).unwrap();
        r.register(
            now,
            ALICE,
            set("b", 1, vec![contact("sip:alice@192.0.2.10", None)]),
            &config,
        )
        .unwrap();
        assert_eq!(r.handle_closed(7), [ALICE]);
        let moved = &r.bindings(ALICE)[0];
        assert_eq!(moved.flow.connection, None);
        assert_eq!(moved.flow.remote, "198.51.100.7:5070".parse().unwrap());
        let tls = Flow {
            transport: Transport::Tls,
            ..flow(Some(8))
        };
        let by_tls = Registration {
            flow: tls,
            ..set("c", 1, vec![contact("sips:alice@192.0.2.9", None)])
        };
        r.register(now, ALICE, by_tls, &config).unwrap();
        assert_eq!(r.len(), 3);
        r.handle_closed(8);
        assert_eq!(r.len(), 2);
        r.assert_tidy();
    }

    #[test]
    fn a_contact_given_twice_counts_once_and_only_a_new_one_is_news() {
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        let uri = "sip:alice@192.0.2.9";
        let twice = vec![contact(uri, Some(600)), contact(uri, Some(1_200))];
        assert_eq!(r.register(now, ALICE, set("a", 1, twice), &config), Ok(true));
        assert_eq!(r.len(), 1);
        assert_eq!(r.bindings(ALICE)[0].expires, now + Duration::from_secs(1_200));
        let again = set("a", 2, vec![contact(uri, None)]);
        assert_eq!(r.register(now, ALICE, again, &config), Ok(false));
    }

    #[test]
    fn a_connection_that_no_binding_uses_is_forgotten() {
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        for connection in 1..=3 {
            let by_tcp = Registration {
                flow: flow(Some(connection)),
                ..set("a", connection as u32, vec![contact("sip:alice@192.0.2.9", None)])
            };
            r.register(now, ALICE, by_tcp, &config).unwrap();
            r.assert_tidy();
        }
        assert_eq!(r.by_connection.len(), 1);
        r.hold_to(ALICE, None);
        assert!(r.by_connection.is_empty() && r.accounts.is_empty());
    }

    #[test]
    fn no_connection_is_opened_to_a_host_that_did_not_register() {
        // Guards pitfall SIP 11: a binding belongs to its flow, and a Contact makes us knock at nobody else's door.
        let (mut r, config, now) = (Registrar::default(), Config::default(), Instant::ZERO);
        for (n, uri) in [
            "sip:alice@127.0.0.1:25;transport=tcp",
            "sip:alice@192.0.2.1:5060;transport=tcp",
        ]
        .into_iter()
        .enumerate()
        {
            let elsewhere = Registration {
                flow: flow(Some(7)),
                ..set("a", n as u32 + 1, vec![contact(uri, None)])
            };
            r.register(now, ALICE, elsewhere, &config).unwrap();
        }
        let saved = r.bindings(ALICE)[0].clone();
        assert_eq!(r.handle_closed(7), [ALICE]);
        assert!(r.bindings(ALICE).is_empty());
        r.restore(ALICE, saved);
        assert!(r.bindings(ALICE).is_empty());
    }
}
