//! Whole conversations over connections in memory, checked in the mailboxes.

mod delivery;
mod people;
mod sessions;
mod strangers;

use super::*;
use crate::peers::PeerLimits;
use crate::stop::Stopper;
use crate::testing::{BEGIN, Client, Lab, at_once};
use futures_util::future::BoxFuture;
use ringpost_auth::{base64, sasl};
use ringpost_base::{Rng, limits};
use ringpost_directory::{Cost, InlineKdf, NewAccount, Parts};
use ringpost_imap::MailboxName;
use ringpost_mail::{Action, Findings, Inspection, Peer};
use ringpost_smtp::Role;
use ringpost_store::{AccountId, Bodies, LocalBus, MemoryBlobs, MemoryStore, check_store};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// A server for example.org with alice and bob.
struct House {
    lab: Lab,
    store: Arc<MemoryStore>,
    blobs: Arc<MemoryBlobs>,
    directory: Directory,
    mail: Arc<Mail>,
    stop: Stop,
    stopper: Option<Stopper>,
    policy: Policy,
    accounts: BTreeMap<&'static str, (AccountId, String)>,
    sender_auth: Option<Arc<dyn SenderAuth>>,
    peers: Arc<Peers>,
}

impl House {
    fn new() -> Self {
        Self::with_quota(None)
    }

    /// With a quota for alice.
    fn with_quota(quota_bytes: Option<u64>) -> Self {
        let lab = Lab::new();
        let store = Arc::new(MemoryStore::new());
        let bus = Arc::new(LocalBus::new());
        let parts = Parts {
            store: store.clone(),
            bus: bus.clone(),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: [7; 32],
            rng: Rng::from_number(1),
        };
        let directory = at_once(Directory::open(parts, "example.org", BEGIN)).unwrap();
        let blobs = Arc::new(MemoryBlobs::new(|| BEGIN));
        let bodies = Bodies::new(store.clone(), blobs.clone(), Rng::from_number(2));
        let mail = Arc::new(Mail::new(store.clone(), bodies, bus, Rng::from_number(3)));
        let mut accounts = BTreeMap::new();
        for name in ["alice", "bob"] {
            let mut new = NewAccount::new(format!("{name}@example.org"));
            new.quota_bytes = quota_bytes.filter(|_| name == "alice");
            let added = at_once(directory.add_account(new, BEGIN)).unwrap();
            at_once(mail.create_defaults(added.account.id, BEGIN)).unwrap();
            accounts.insert(name, (added.account.id, added.password));
        }
        let (stopper, stop) = Stopper::new();
        House {
            lab,
            store,
            blobs,
            directory,
            mail,
            stop,
            stopper: Some(stopper),
            policy: Policy::default(),
            accounts,
            sender_auth: None,
            peers: Arc::default(),
        }
    }

    fn connect(&mut self, role: Role) -> Client {
        let (connection, client) = self.lab.connect(role == Role::Submissions);
        let smtp = Smtp {
            world: self.lab.world.clone(),
            directory: self.directory.clone(),
            mail: self.mail.clone(),
            sending: None,
            sender_auth: self.sender_auth.clone(),
            peers: self.peers.clone(),
            config: Arc::new(Config::new("mx.example.org", role)),
            policy: self.policy.clone(),
            stop: self.stop.clone(),
        };
        self.lab.spawn(async move { smtp.serve(connection).await });
        let protocol = if role == Role::Lmtp { "LMTP" } else { "ESMTP" };
        let greeting = format!("220 mx.example.org {protocol} Ringpost\r\n");
        assert_eq!(self.lab.hear(&client), greeting);
        client
    }

    fn say(&mut self, client: &Client, text: &str) -> String {
        self.lab.say(client, text)
    }

    /// The codes of the replies to this.
    fn codes(&mut self, client: &Client, text: &str) -> Vec<u16> {
        let heard = self.say(client, text);
        let last = heard.lines().filter(|line| line.as_bytes()[3] == b' ');
        last.map(|line| line[..3].parse().unwrap()).collect()
    }

    /// A client of port 587 that has signed in as alice.
    fn submit(&mut self) -> Client {
        let client = self.connect(Role::Submission);
        assert_eq!(self.codes(&client, "EHLO laptop\r\nSTARTTLS\r\n"), [250, 220]);
        assert_eq!(self.codes(&client, "EHLO laptop\r\n"), [250]);
        let auth = self.auth("alice", None);
        assert_eq!(self.codes(&client, &auth), [235]);
        client
    }

    fn auth(&self, user: &str, password: Option<&str>) -> String {
        let right = self
            .accounts
            .get(user)
            .map_or("", |(_, password)| password.as_str());
        let message = sasl::plain_message("", user, password.unwrap_or(right));
        format!("AUTH PLAIN {}\r\n", base64::encode(&message))
    }

    /// What is in an account's inbox.
    fn inbox(&self, name: &str) -> Vec<String> {
        let (account, _) = self.accounts[name];
        let (selected, snapshot) = at_once(self.mail.select(account, &MailboxName::inbox(), true)).unwrap();
        let read = |uid| {
            let mut text = Vec::new();
            let mut reader = at_once(self.mail.body(&selected, uid, 0..u64::MAX))
                .unwrap()
                .unwrap();
            while let Some(chunk) = at_once(reader.next()).unwrap() {
                text.extend_from_slice(&chunk);
            }
            String::from_utf8(text).unwrap()
        };
        snapshot.messages.iter().map(|m| read(m.uid)).collect()
    }

    #[track_caller]
    fn check(&self) {
        let report = at_once(check_store(&*self.store, &*self.blobs)).unwrap();
        assert!(report.is_sound(), "{:#?}", report.problems);
    }
}

const TO_ALICE: &str =
    "EHLO mail.example.com\r\nMAIL FROM:<carol@example.com>\r\nRCPT TO:<Alice@Example.ORG>\r\nDATA\r\n";
const HELLO: &str = "Subject: hello\r\n\r\n..world\r\n.\r\n";
