//! Who is who, and what is in their mailboxes: the answers to the service's questions.

use super::media::MediaPlane;
use super::world::SERVER;
use crate::{
    Answer, Device, DeviceId, DialledMount, Greeting, LampCounts, MediaSocket, Person, Question, Recording,
    VoiceMessageId, VoiceMessages,
};
use ringpost_auth::digest::DigestKeys;
use ringpost_base::UnixTime;
use ringpost_sip::locate::{Naptr, Srv, Target};
use ringpost_sip::{Flow, locate};
use ringpost_store::AccountId;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub(super) const ALICE: AccountId = AccountId(1);
pub(super) const BOB: AccountId = AccountId(2);
pub(super) const CAROL: AccountId = AccountId(3);

/// What media is sent to, as session descriptions tell it.
pub(super) const MEDIA_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[derive(Debug)]
pub(super) struct Office {
    pub(super) people: Vec<Arc<Person>>,
    pub(super) counts: BTreeMap<AccountId, LampCounts>,
    pub(super) greeting: Option<Arc<[i16]>>,
    /// Whether mailboxes take, change and give anything.
    pub(super) works: bool,
    /// Whether a message could be kept.
    pub(super) has_room: bool,
    pub(super) delivered: Vec<Recording>,
    pub(super) messages: VoiceMessages,
    pub(super) heard: Vec<VoiceMessageId>,
    pub(super) deleted: Vec<VoiceMessageId>,
    /// Whose devices are no more.
    pub(super) removed: Vec<&'static str>,
    /// What the DNS has: `name NAPTR order preference flags services replacement`, `name SRV priority weight port target`,
    /// `name A address`.
    pub(super) zone: Vec<&'static str>,
    /// Whether the DNS answers.
    pub(super) dns_works: bool,
    /// The targets that a way was asked to, in order.
    pub(super) ways: Vec<Target>,
    /// What becomes of who dials a mount.
    pub(super) mounts: BTreeMap<&'static str, DialledMount>,
    /// Every question, in order.
    pub(super) asked: Vec<Question>,
}

fn person(account: AccountId, user: &str, domain: &str, extension: &str) -> Arc<Person> {
    Arc::new(Person {
        account,
        user: user.into(),
        domain: domain.into(),
        extension: Some(extension.into()),
        name: "".into(),
    })
}

/// The secret of everybody's device, which is called like its owner.
pub(super) fn secret(user: &str) -> String {
    format!("{user}'s secret")
}

/// Everybody's device.
pub(super) fn device_id(user: &str) -> DeviceId {
    DeviceId {
        user: user.into(),
        made: UnixTime::from_secs(1_600_000_000),
    }
}

impl Office {
    pub(super) fn new() -> Self {
        Office {
            people: vec![
                person(ALICE, "alice", "example.org", "100"),
                person(BOB, "bob", "example.org", "200"),
                person(CAROL, "carol", "example.org", "300"),
                person(AccountId(4), "dave", "example.net", "400"),
            ],
            counts: BTreeMap::new(),
            greeting: None,
            works: true,
            has_room: true,
            delivered: Vec::new(),
            messages: VoiceMessages::default(),
            heard: Vec::new(),
            deleted: Vec::new(),
            removed: Vec::new(),
            zone: Vec::new(),
            dns_works: true,
            ways: Vec::new(),
            mounts: BTreeMap::new(),
            asked: Vec::new(),
        }
    }

    pub(super) fn answer(&mut self, question: Question, media: &mut MediaPlane) -> Answer {
        self.asked.push(question.clone());
        match question {
            Question::Device { username, realm } => Answer::Device(self.device(&username, &realm)),
            Question::Person { user, domain } => Answer::Person(self.person(&user, &domain)),
            Question::Mount { user, .. } => Answer::Mount(match self.mounts.get(&*user) {
                Some(mount) => mount.clone(),
                None => DialledMount::Unknown,
            }),
            Question::Hear { .. } => Answer::Done(true),
            Question::Records(question) => Answer::Records(self.records(&question)),
            Question::Way(target) => Answer::Way(self.way(target)),
            Question::Sockets { towards } => {
                let pairs = media.open(towards.len());
                let sockets = |pair: ringpost_media::PairId| MediaSocket {
                    pair,
                    advertised: SocketAddr::from((MEDIA_ADDRESS, 20_000 + 2 * pair.0 as u16)),
                };
                Answer::Sockets(pairs.map(|pairs| pairs.into_iter().map(sockets).collect()))
            }
            Question::Lamp { account } => {
                Answer::Lamp(self.counts.get(&account).copied().unwrap_or_default())
            }
            Question::Greeting { .. } => Answer::Greeting(match (&self.greeting, self.has_room) {
                (_, false) => Greeting::NoRoom,
                (Some(sound), true) => Greeting::Own(sound.clone()),
                (None, true) => Greeting::BuiltIn,
            }),
            Question::Deliver(recording) => {
                if self.works {
                    self.counts.entry(recording.account).or_default().new += 1;
                    self.delivered.push(*recording);
                }
                Answer::Done(self.works)
            }
            Question::Messages { .. } => Answer::Messages(self.works.then(|| self.messages.clone())),
            Question::Sound { .. } => Answer::Sound(self.works.then(|| vec![0; 16_000].into())),
            Question::Heard { message, .. } => {
                self.heard.push(message);
                Answer::Done(self.works)
            }
            Question::Delete { message, .. } => {
                if self.works {
                    self.deleted.push(message);
                }
                Answer::Done(self.works)
            }
        }
    }

    fn records(&self, question: &locate::Question) -> Option<locate::Answer> {
        let (locate::Question::Naptr(name) | locate::Question::Srv(name) | locate::Question::Addresses(name)) =
            question;
        let of = |kind: &str| -> Vec<Vec<&str>> {
            let lines = self.zone.iter().map(|line| line.split(' ').collect::<Vec<_>>());
            let found = lines.filter(|line| line[0] == name && line[1] == kind);
            found.map(|line| line[2..].to_vec()).collect()
        };
        let number = |text: &str| text.parse().unwrap();
        self.dns_works.then(|| match question {
            locate::Question::Naptr(_) => {
                let naptr = |r: &Vec<&str>| Naptr {
                    order: number(r[0]),
                    preference: number(r[1]),
                    flags: r[2].into(),
                    services: r[3].into(),
                    replacement: r[4].into(),
                };
                locate::Answer::Naptr(of("NAPTR").iter().map(naptr).collect())
            }
            locate::Question::Srv(_) => {
                let srv = |r: &Vec<&str>| Srv {
                    priority: number(r[0]),
                    weight: number(r[1]),
                    port: number(r[2]),
                    target: r[3].into(),
                };
                locate::Answer::Srv(of("SRV").iter().map(srv).collect())
            }
            locate::Question::Addresses(_) => {
                locate::Answer::Addresses(of("A").iter().map(|r| r[0].parse().unwrap()).collect())
            }
        })
    }

    /// A way to everywhere in IPv4; a stream is a connection of its own.
    fn way(&mut self, target: Target) -> Option<Flow> {
        self.ways.push(target.clone());
        target.address.is_ipv4().then(|| Flow {
            transport: target.transport,
            local: SERVER,
            remote: target.address,
            connection: target
                .transport
                .is_reliable()
                .then_some(100 + self.ways.len() as u64),
        })
    }

    fn person(&self, user: &str, domain: &str) -> Option<Arc<Person>> {
        let is_it = |person: &&Arc<Person>| {
            let is_user = *person.user == *user || person.extension.as_deref() == Some(user);
            is_user && *person.domain == *domain
        };
        self.people.iter().find(is_it).cloned()
    }

    fn device(&self, username: &str, realm: &str) -> Option<Arc<Device>> {
        let person = self.person(username, realm)?;
        if self.removed.contains(&username) {
            return None;
        }
        let keys = DigestKeys::derive(username, realm, &secret(username));
        let id = device_id(username);
        Some(Arc::new(Device { person, id, keys }))
    }

    /// How often something was asked.
    pub(super) fn count(&self, is_it: impl Fn(&Question) -> bool) -> usize {
        self.asked.iter().filter(|question| is_it(question)).count()
    }
}
