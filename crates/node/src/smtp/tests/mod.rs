//! Whole conversations over connections in memory, checked in the mailboxes.

mod delivery;
mod people;
mod sessions;
mod strangers;

use super::*;
use crate::peers::PeerLimits;
use crate::testing::{BEGIN, Client, Ground, Lab, at_once};
use futures_util::future::BoxFuture;
use ringpost_auth::{base64, sasl};
use ringpost_base::limits;
use ringpost_directory::NewAccount;
use ringpost_imap::MailboxName;
use ringpost_mail::{Action, Findings, Inspection, Peer};
use ringpost_smtp::Role;
use std::net::IpAddr;
use std::sync::Mutex;

/// A server for example.org with alice and bob.
struct House {
    lab: Lab,
    ground: Ground,
    policy: Policy,
    sender_auth: Option<Arc<dyn SenderAuth>>,
    peers: Arc<Peers>,
}

impl House {
    fn new() -> Self {
        Self::with_quota(None)
    }

    /// With a quota for alice.
    fn with_quota(quota_bytes: Option<u64>) -> Self {
        House {
            lab: Lab::new(),
            ground: Ground::with_quota(quota_bytes),
            policy: Policy::default(),
            sender_auth: None,
            peers: Arc::default(),
        }
    }

    fn connect(&mut self, role: Role) -> Client {
        let (connection, client) = self.lab.connect(role == Role::Submissions);
        let smtp = Smtp {
            world: self.lab.world.clone(),
            directory: self.ground.directory.clone(),
            mail: self.ground.mail.clone(),
            sending: None,
            sender_auth: self.sender_auth.clone(),
            peers: self.peers.clone(),
            config: Arc::new(Config::new("mx.example.org", role)),
            policy: self.policy.clone(),
            stop: self.ground.stop.clone(),
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
        let known = self.ground.accounts.get(user);
        let right = known.map_or("", |(_, password)| password.as_str());
        let message = sasl::plain_message("", user, password.unwrap_or(right));
        format!("AUTH PLAIN {}\r\n", base64::encode(&message))
    }

    /// What is in an account's inbox.
    fn inbox(&self, name: &str) -> Vec<String> {
        self.ground.inbox(name)
    }

    #[track_caller]
    fn check(&self) {
        self.ground.check();
    }
}

const TO_ALICE: &str =
    "EHLO mail.example.com\r\nMAIL FROM:<carol@example.com>\r\nRCPT TO:<Alice@Example.ORG>\r\nDATA\r\n";
const HELLO: &str = "Subject: hello\r\n\r\n..world\r\n.\r\n";
