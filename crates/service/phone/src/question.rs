//! What the phone service asks of its node, and what it is told.
//!
//! The service awaits nothing: it puts a question with a number, and goes on with that call when
//! [`Phone::handle_answer`](crate::Phone::handle_answer) brings the answer. A question whose call has ended meanwhile is
//! answered into the void; one whose answer may take long is forgotten with [`Output::Forget`](crate::Output::Forget).

use crate::voicemail::{VoiceMessageId, VoiceMessages};
use ringpost_auth::digest::DigestKeys;
use ringpost_base::UnixTime;
use ringpost_media::{LegId, PairId};
use ringpost_sip::{Flow, locate};
use ringpost_store::AccountId;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Numbers a question until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u64);

/// What the service wants to know or to have done. Each names the [`Answer`] that fits it; another counts as "no".
#[derive(Clone, Debug)]
pub enum Question {
    /// The device that gives `username` in its credentials: [`Answer::Device`].
    Device {
        /// As the credentials name it.
        username: Box<str>,
        /// The domain whose device it is.
        realm: Box<str>,
    },
    /// Who is reached as `user` at `domain`, by address or extension: [`Answer::Person`].
    Person {
        /// The user part of the URI, unescaped.
        user: Box<str>,
        /// One of our domains, in lower case.
        domain: Box<str>,
    },
    /// Which mount is reached as `user` at `domain`, by its name or its number, where nobody is: [`Answer::Mount`].
    Mount {
        /// The user part of the URI, unescaped.
        user: Box<str>,
        /// One of our domains, in lower case.
        domain: Box<str>,
        /// Who calls; `None` nobody who has proven it.
        caller: Option<MountCaller>,
    },
    /// Feed the sound of a mount to a leg until the mount is no more, or the caller may not hear it any more:
    /// [`Answer::Done`] then. The leg's end ends it too.
    Hear {
        /// As [`DialledMount::Live`] names it.
        mount: Box<str>,
        /// Who hears it.
        caller: Option<MountCaller>,
        /// Whose leg.
        leg: LegId,
    },
    /// Records of the DNS: [`Answer::Records`].
    Records(locate::Question),
    /// A way to a target that has not come to us: a socket, or a connection that is open or is being opened:
    /// [`Answer::Way`].
    Way(locate::Target),
    /// RTP and RTCP sockets, a pair for each leg: [`Answer::Sockets`].
    Sockets {
        /// The peer of each leg: its address decides the pair's family and the address that is advertised.
        towards: Vec<IpAddr>,
    },
    /// How many voicemail messages wait: [`Answer::Lamp`].
    Lamp {
        /// Whose.
        account: AccountId,
    },
    /// What a caller hears who is to leave a message, if one can be left: [`Answer::Greeting`].
    Greeting {
        /// Whose.
        account: AccountId,
        /// How long the message may become.
        longest: Duration,
    },
    /// Put a recording into the mailbox: [`Answer::Done`] once it is on stable storage.
    Deliver(Box<Recording>),
    /// The voicemail messages, for the telephone's menu: [`Answer::Messages`].
    Messages {
        /// Whose.
        account: AccountId,
    },
    /// The sound of a voicemail message: [`Answer::Sound`].
    Sound {
        /// Whose.
        account: AccountId,
        /// Which.
        message: VoiceMessageId,
    },
    /// Mark a voicemail message as heard: [`Answer::Done`].
    Heard {
        /// Whose.
        account: AccountId,
        /// Which.
        message: VoiceMessageId,
    },
    /// Delete a voicemail message: [`Answer::Done`].
    Delete {
        /// Whose.
        account: AccountId,
        /// Which.
        message: VoiceMessageId,
    },
}

/// What a [`Question`] is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The device, if there is one of that name.
    Device(Option<Arc<Device>>),
    /// The person, if somebody is reached so.
    Person(Option<Arc<Person>>),
    /// The mount, or why it is not heard.
    Mount(DialledMount),
    /// What the DNS has, or `None` when it gave no answer.
    Records(Option<locate::Answer>),
    /// The way, with our address as the target sees it; `None` when there is none.
    Way(Option<Flow>),
    /// One entry a pair, or `None` when the port range is used up.
    Sockets(Option<Vec<MediaSocket>>),
    /// The counts.
    Lamp(LampCounts),
    /// What the caller hears, or why not.
    Greeting(Greeting),
    /// 8,000 samples a second, mono.
    Sound(Option<Arc<[i16]>>),
    /// The messages, or `None` when the mailbox cannot be read now.
    Messages(Option<VoiceMessages>),
    /// Whether it is done.
    Done(bool),
}

/// Who calls a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountCaller {
    /// The account.
    pub person: Arc<Person>,
    /// The user name of the device that has proven it.
    pub device: Box<str>,
}

/// What became of a mount that was dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialledMount {
    /// It is live, and the caller may hear it.
    Live(Box<str>),
    /// There is none of that name or number.
    Unknown,
    /// The caller may not read it.
    Forbidden,
    /// Nobody publishes it now.
    NotLive,
    /// The server that it is pulled from does not give it now.
    NotPulled,
    /// It has no sound that can be turned into a telephone's: the encodings that it has.
    Undecodable(Vec<String>),
    /// That cannot be told now, or too many hear it.
    Unavailable,
}

/// Whether a message can be left, and what comes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The built-in words.
    BuiltIn,
    /// The account's own: 8,000 samples a second, mono.
    Own(Arc<[i16]>),
    /// A message could not be kept: there is no room for it.
    NoRoom,
}

impl Answer {
    /// The device, if that is what the answer is.
    pub(crate) fn device(self) -> Option<Arc<Device>> {
        if let Answer::Device(device) = self {
            device
        } else {
            None
        }
    }

    /// The person.
    pub(crate) fn person(self) -> Option<Arc<Person>> {
        if let Answer::Person(person) = self {
            person
        } else {
            None
        }
    }

    /// The mount.
    pub(crate) fn mount(self) -> DialledMount {
        if let Answer::Mount(mount) = self {
            mount
        } else {
            DialledMount::Unavailable
        }
    }

    /// The records.
    pub(crate) fn records(self) -> Option<locate::Answer> {
        if let Answer::Records(records) = self {
            records
        } else {
            None
        }
    }

    /// The way.
    pub(crate) fn way(&self) -> Option<Flow> {
        if let Answer::Way(way) = self { *way } else { None }
    }

    /// The sockets.
    pub(crate) fn sockets(self) -> Option<Vec<MediaSocket>> {
        if let Answer::Sockets(sockets) = self {
            sockets
        } else {
            None
        }
    }

    /// The counts.
    pub(crate) fn lamp(self) -> Option<LampCounts> {
        if let Answer::Lamp(counts) = self {
            Some(counts)
        } else {
            None
        }
    }

    /// The greeting.
    pub(crate) fn greeting(self) -> Greeting {
        if let Answer::Greeting(greeting) = self {
            greeting
        } else {
            Greeting::NoRoom
        }
    }

    /// The sound.
    pub(crate) fn sound(self) -> Option<Arc<[i16]>> {
        if let Answer::Sound(sound) = self {
            sound
        } else {
            None
        }
    }

    /// The list of messages.
    pub(crate) fn messages(self) -> Option<VoiceMessages> {
        if let Answer::Messages(messages) = self {
            messages
        } else {
            None
        }
    }

    /// Whether it is done.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Answer::Done(true))
    }
}

/// A registered device's identity and keys.
#[derive(Clone, Debug)]
pub struct Device {
    /// Whose device it is.
    pub person: Arc<Person>,
    /// Which of theirs.
    pub id: DeviceId,
    /// What its digest is checked against.
    pub keys: DigestKeys,
}

/// Tells a device from every other, those included that had its name before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId {
    /// The user name that it authenticates with.
    pub user: Box<str>,
    /// When it was made.
    pub made: UnixTime,
}

/// An account as the directory has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose account it is.
    pub person: Arc<Person>,
    /// All of its devices.
    pub devices: Vec<DeviceId>,
}

/// Whose a binding or a subscription is, and the device that has proven it: none for who came from a trusted network.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) person: Arc<Person>,
    pub(crate) device: Option<DeviceId>,
}

impl From<Arc<Person>> for Owner {
    fn from(person: Arc<Person>) -> Self {
        Owner { person, device: None }
    }
}

impl From<&Device> for Owner {
    fn from(device: &Device) -> Self {
        Owner {
            person: device.person.clone(),
            device: Some(device.id.clone()),
        }
    }
}

impl Account {
    /// Whether what that device has done still holds. No device stands behind what a trusted network has done.
    pub(crate) fn has(&self, device: Option<&DeviceId>) -> bool {
        device.is_none_or(|device| self.devices.contains(device))
    }
}

/// Somebody who can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub account: AccountId,
    /// The local part of the address.
    pub user: Box<str>,
    /// The domain of the address.
    pub domain: Box<str>,
    /// The number to dial.
    pub extension: Option<Box<str>>,
    /// The name to show; empty if there is none.
    pub name: Box<str>,
}

/// A pair of sockets for one leg's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaSocket {
    /// The pair, as the media plane knows it.
    pub pair: PairId,
    /// What goes into the session description: the advertised address and the RTP port. RTCP is one above.
    pub advertised: SocketAddr,
}

/// What the lamp shows (RFC 3842).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LampCounts {
    /// Voicemail messages that were not heard or read yet.
    pub new: u32,
    /// The others.
    pub old: u32,
}

/// A message that a caller left.
#[derive(Clone, Debug)]
pub struct Recording {
    /// For whom.
    pub account: AccountId,
    /// The caller's address, `user@domain`.
    pub caller: Box<str>,
    /// The caller's name as shown; may be empty.
    pub caller_name: Box<str>,
    /// When the recording began.
    pub began: UnixTime,
    /// How long it is.
    pub length: Duration,
    /// G.711 µ-law, 8,000 bytes a second.
    pub sound: Arc<[u8]>,
    /// The call's Call-ID: the delivery is made once for it.
    pub call_id: Box<str>,
}
