use crate::transfer::{Mailbox, Parcel, Pieces, StoredMessage};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;

/// A boxed future, as the traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the command line asks for. As JSON it is an object whose `do` names the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// A domain of ours from now on, with keys that sign its mail. Answered with `Records`.
    DomainAdd {
        /// Its name.
        name: String,
    },
    /// A domain of ours no more; refused while something uses it. Answered with `Done`.
    DomainRemove {
        /// Its name.
        name: String,
    },
    /// What the DNS is to say of a domain. Answered with `Records`.
    DomainRecords {
        /// Its name.
        name: String,
    },
    /// New keys to sign a domain's mail. They are made at first, unless some wait already, and put to use by a second command,
    /// once they are published.
    /// Answered with `Records`.
    DomainDkimRotate {
        /// Its name.
        name: String,
        /// Whether those that were made before are put to use.
        finish: bool,
    },
    /// The domains. Answered with `Domains`.
    DomainList,
    /// Where a domain's mail goes that is for nobody. Answered with `Domain`.
    DomainSet {
        /// The domain's name.
        name: String,
        /// Sets it when given: an address, or "none" when such mail is to be refused.
        #[serde(default)]
        catch_all: Option<String>,
    },
    /// Lets an address of ours lead to others as well. Answered with `Done`.
    AliasAdd {
        /// The address.
        alias: String,
        /// Where it leads, here or elsewhere.
        targets: Vec<String>,
    },
    /// The aliases, of one domain or of all. Answered with `Aliases`.
    AliasList {
        /// The domain; all when it is None.
        domain: Option<String>,
    },
    /// Takes targets of an alias away; all of them, and the alias, when none is named. Answered with `Done`.
    AliasRemove {
        /// The alias.
        alias: String,
        /// The targets.
        targets: Vec<String>,
    },
    /// Forwards an account's mail. Answered with `Forward`.
    AccountForward {
        /// The account's address.
        address: String,
        /// Sets it when given; an empty list ends it.
        to: Option<Vec<String>>,
        /// Whether the account keeps a copy.
        keep_copy: bool,
    },
    /// A new account. Answered with `AccountCreated`.
    AccountAdd {
        /// Its address, `user@domain`.
        address: String,
        /// Its extension; the next free one when it is None.
        extension: Option<String>,
        /// Its password; a generated one when it is None.
        password: Option<String>,
    },
    /// The accounts. Answered with `Accounts`.
    AccountList,
    /// Another password. Answered with `AccountCreated`.
    AccountPassword {
        /// The account's address.
        address: String,
        /// The password; a generated one when it is None.
        password: Option<String>,
    },
    /// Sets what is given, and tells what is set then. Answered with `AccountSettings`.
    AccountSet {
        /// The account's address.
        address: String,
        /// What its messages may take together, in bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota_bytes: Option<Quota>,
        /// How many messages it may have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota_messages: Option<Quota>,
        /// Capabilities of IMAP that its programs are not told of; an empty list turns all on again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        imap_without: Option<Vec<String>>,
        /// Whether what looks like junk goes to the account's mailbox for it, and not to the inbox like all else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        junk: Option<bool>,
    },
    /// Removes an account with its mail and its devices. Answered with `Done`.
    AccountRemove {
        /// Its address.
        address: String,
    },
    /// A new device of an account, with a generated secret. Answered with `DeviceCreated`.
    DeviceAdd {
        /// The account's address.
        address: String,
        /// What its owner calls it: letters, digits, `-` and `_`.
        name: String,
    },
    /// The devices of an account. Answered with `Devices`.
    DeviceList {
        /// The account's address.
        address: String,
    },
    /// Removes a device: its secret is worth nothing from now on. Answered with `Done`.
    DeviceRemove {
        /// The account's address.
        address: String,
        /// The device's name.
        name: String,
    },
    /// The mail that waits for other servers, and for room here. Answered with `Queue`.
    QueueList,
    /// One message of it. Answered with `Queue`.
    QueueShow {
        /// Its number, as the list shows it.
        id: String,
    },
    /// Has messages tried as soon as there is room; one that is held, when it is released, and the answer is a refusal that
    /// says so. Answered with `Done`.
    QueueRetry {
        /// The number of one; all of them when it is None.
        id: Option<String>,
    },
    /// Holds mail for other servers back. Answered with `Done`.
    QueueHold {
        /// What is held.
        what: Hold,
    },
    /// Ends a hold. Answered with `Done`.
    QueueRelease {
        /// What is held no longer.
        what: Hold,
    },
    /// What is held back by a rule. Answered with `Holds`.
    QueueHolds,
    /// Removes a message; its sender is not told. Answered with `Done`.
    QueueRemove {
        /// Its number.
        id: String,
    },
    /// The mailboxes of an account. Answered with `Mailboxes`.
    MailboxList {
        /// The account's address.
        address: String,
    },
    /// Sees to it that there is a mailbox that messages can be brought into. Answered with `Mailboxes`: the one, which is
    /// another than the named one where that is for the same.
    MailboxMake {
        /// The account's address.
        address: String,
        /// The mailbox that is wanted; only its name is heeded where it is there already.
        mailbox: Mailbox,
    },
    /// What is in a mailbox, by UID, some thousands at a time. Answered with `Messages`.
    MessageList {
        /// The account's address.
        address: String,
        /// The mailbox's name.
        mailbox: String,
        /// Those with a UID above this one.
        after_uid: u32,
    },
    /// The bytes of a message from one on, as many as an answer takes. Answered with `Piece`.
    MessagePiece {
        /// The account's address.
        address: String,
        /// The mailbox's name.
        mailbox: String,
        /// The message's UID.
        uid: u32,
        /// How many bytes of it are known already.
        offset: u64,
    },
    /// The certificate that is shown to whoever connects under TLS. Answered with `Certificate`.
    CertShow,
    /// A new certificate by ACME, now. Answered with `Certificate`, once it is shown.
    CertRenew,
    /// The streams that are live, with who publishes and reads them. Answered with `Streams`.
    StreamList,
    /// The sessions that others announce by SAP. Answered with `Announced`.
    StreamAnnounced,
    /// Ends a session of a publisher or a reader. Answered with `Done`.
    StreamKick {
        /// Its number, as the list shows it.
        session: u64,
        /// Where its client is told to go before, as an RTSP URL.
        #[serde(default)]
        redirect: Option<String>,
    },
    /// Ends the sessions of all readers of a stream. Answered with `Done`.
    StreamClear {
        /// The mount's name.
        mount: String,
        /// Where their clients are told to go before, as an RTSP URL.
        #[serde(default)]
        redirect: Option<String>,
    },
    /// Has a stream recorded while it is live, or not, until this is said again or the server ends. Answered with `Done`, or with `Noted`
    /// when it is not live.
    StreamRecord {
        /// The mount's name.
        mount: String,
        /// Whether it is recorded.
        is_wanted: bool,
    },
    /// Looks at the whole store for what contradicts itself. Answered with `Findings`.
    CheckStore,
}

/// How a [`Command`] was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done, durably.
    Done,
    /// It is noted, and this is what comes of it later.
    Noted(String),
    /// The domains' names.
    Domains(Vec<String>),
    /// What the DNS is to say, record by record.
    Records(Vec<DnsRecord>),
    /// A domain's settings.
    Domain(DomainSettings),
    /// Aliases, by address.
    Aliases(Vec<Alias>),
    /// Where an account's mail is forwarded to.
    Forward(Forward),
    /// The accounts, by address.
    Accounts(Vec<Account>),
    /// An account that was made, or whose password was changed.
    AccountCreated(NewAccount),
    /// What is set of an account.
    AccountSettings(AccountSettings),
    /// The devices of an account, by name.
    Devices(Vec<Device>),
    /// A device that was made.
    DeviceCreated(NewDevice),
    /// Mail that waits for other servers, the longest waiting first.
    Queue(Vec<QueuedMail>),
    /// What is held back of it by rules.
    Holds(Vec<Hold>),
    /// Mailboxes, by name.
    Mailboxes(Vec<Mailbox>),
    /// Messages of a mailbox, by UID; none when there are no more.
    Messages(Vec<StoredMessage>),
    /// Bytes of a message, in base64; none at its end.
    Piece(String),
    /// The certificate.
    Certificate(CertificateState),
    /// The streams that are live, by name.
    Streams(Vec<StreamState>),
    /// What others announce.
    Announced(Vec<AnnouncedStream>),
    /// What is wrong with the store, one line each; nothing is good.
    Findings(Vec<String>),
}

/// A stream that is live, or a mount whose files or recordings somebody plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The mount's name.
    pub mount: String,
    /// What its tracks are encoded with.
    pub encodings: Vec<String>,
    /// How it stands with its recording; none when it is not recorded.
    pub recording: Option<RecordingState>,
    /// Whether it is not live: its readers have files or recordings.
    #[serde(default)]
    pub is_played: bool,
    /// How long ago anything came, in milliseconds.
    pub silent_ms: u64,
    /// Octets that came.
    pub received_bytes: u64,
    /// Packets that never came.
    pub lost_packets: u64,
    /// Why it cannot be pulled from where it is to be pulled from, if it cannot.
    #[serde(default)]
    pub failure: Option<PullFailure>,
    /// The group that it is sent to by multicast, while it has one.
    #[serde(default)]
    pub group: Option<StreamGroup>,
    /// Who publishes; none while its readers wait for another publisher.
    pub publisher: Option<StreamSession>,
    /// Who reads.
    pub readers: Vec<StreamSession>,
}

/// How it stands with a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordingState {
    /// It is written.
    Writing,
    /// Nothing has come yet that a file could begin with.
    Waiting,
    /// It could not be written, and is tried again so many seconds later.
    Failing(u64),
}

/// Why a stream cannot be pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullFailure {
    /// From where it is pulled, without credentials.
    pub source: String,
    /// What the last attempt failed for.
    pub why: String,
    /// Attempts that have failed, one behind the other.
    pub attempts: u32,
    /// When the next is made, in seconds from now; none: when somebody wants to read it.
    pub again_in_s: Option<u64>,
}

/// The group of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamGroup {
    /// Its address and the first port.
    pub address: String,
    /// The time to live of its packets.
    pub ttl: u8,
    /// Whether packets go there now.
    pub is_sending: bool,
    /// Whether it is announced by SAP.
    pub is_announced: bool,
    /// Packets that went there since they do.
    pub sent_packets: u64,
    /// Octets of them.
    pub sent_bytes: u64,
}

/// A session that somebody else announces by SAP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncedStream {
    /// Its name.
    pub name: String,
    /// Who announces it, by its own word.
    pub origin: String,
    /// Where its packets come from.
    pub from: String,
    /// The group and port of its first stream; empty where it names none.
    pub group: String,
    /// What its streams are: `video`, `audio`.
    pub media: Vec<String>,
    /// How long it has been known, in seconds.
    pub age_s: u64,
    /// How long ago it was heard of last, in seconds.
    pub silent_s: u64,
}

/// A session of a publisher or a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSession {
    /// Its number.
    pub session: u64,
    /// Who it is; empty when that was not asked.
    pub user: String,
    /// Where it is pulled from, for a publisher that we are the client of; else empty.
    #[serde(default)]
    pub source: String,
    /// From where.
    pub peer: String,
    /// How its packets go: `tcp`, `udp` or `multicast`.
    pub transport: String,
    /// How long it has lasted, in seconds.
    pub lasted_s: u64,
    /// Octets that came from it, as a publisher.
    #[serde(default)]
    pub received_bytes: u64,
    /// Octets that it was sent.
    pub sent_bytes: u64,
    /// Packets that passed it by, since it was too slow.
    pub skipped_packets: u64,
}

/// A certificate, and how it stands with the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateState {
    /// Where it is from: `self-signed`, a configured file, or the directory of an authority.
    pub source: String,
    /// The domain names that it is for.
    pub names: Vec<String>,
    /// The common name of who gave it.
    pub issuer: String,
    /// Its number, in upper-case hexadecimal.
    pub serial: String,
    /// When it begins to hold, in seconds since 1970.
    pub not_before_s: u64,
    /// When it ends, in seconds since 1970.
    pub not_after_s: u64,
    /// When it is renewed, in seconds since 1970, if nothing is needed sooner.
    pub renewal_s: Option<u64>,
    /// Names that it should be for, and is not.
    pub lacking: Vec<String>,
    /// Why the last attempt to have one failed, if it did.
    pub failure: Option<String>,
    /// When the next attempt is made after that, in seconds since 1970.
    pub retry_s: Option<u64>,
}

/// What is held back of the mail for other servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// A message, by its number as the list shows it.
    Message(String),
    /// What goes to a domain, or to an address in brackets, what comes later included.
    Destination(String),
    /// What an account sends, what comes later included.
    Account(String),
    /// Everything, what comes later included.
    All,
}

/// A message that waits for one other server, or for room in full accounts here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedMail {
    /// Its number.
    pub id: String,
    /// Who is told of it; empty for a notice.
    pub sender: String,
    /// Where it is going; empty when it waits for room here.
    pub destination: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it came, in seconds since 1970.
    pub received_s: u64,
    /// When it is tried next, in seconds since 1970.
    pub due_s: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether somebody is at work on it.
    pub at_work: bool,
    /// What holds it back: `message`, `destination`, `account` or `all`; empty when nothing does.
    pub held: String,
    /// Whom it has not reached.
    pub recipients: Vec<WaitingRecipient>,
}

/// Somebody whom a message has not reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRecipient {
    /// The address.
    pub address: String,
    /// What was said at the last attempt; empty before the first.
    pub said: String,
}

/// A record of the DNS that somebody has to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// Its name, without a dot at its end.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its data, as a zone file has it; a TXT record's text without quotes.
    pub data: String,
    /// What it is for.
    pub note: String,
}

/// How a domain's mail is handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSettings {
    /// Its name.
    pub name: String,
    /// Where mail for nobody goes, if it is not refused.
    pub catch_all: Option<String>,
}

/// An alias, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// Its address.
    pub address: String,
    /// Where it leads.
    pub targets: Vec<String>,
}

/// Where an account's mail is forwarded to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The account's address.
    pub address: String,
    /// The addresses; none when it is not forwarded.
    pub to: Vec<String>,
    /// Whether the account keeps a copy.
    pub keeps_copy: bool,
}

/// An account, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `user@domain`.
    pub address: String,
    /// The number that calls it, if it has one.
    pub extension: Option<String>,
    /// How many devices it has.
    pub devices: usize,
}

/// An account that was made, or whose password was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// `user@domain`.
    pub address: String,
    /// The number that calls it, if it has one.
    pub extension: Option<String>,
    /// The password, if it was generated: it is shown this once and kept nowhere.
    pub password: Option<String>,
}

/// A limit of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quota {
    /// What the configuration says.
    Default,
    /// None, whatever the configuration says.
    None,
    /// So much.
    Limit(u64),
}

/// What is set of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettings {
    /// `user@domain`.
    pub address: String,
    /// What its messages may take together, in bytes.
    pub quota_bytes: Quota,
    /// How many messages it may have.
    pub quota_messages: Quota,
    /// Capabilities of IMAP that its programs are not told of.
    pub imap_without: Vec<String>,
    /// Whether what looks like junk goes to its mailbox for it.
    pub junk: bool,
}

/// A device, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What its owner calls it.
    pub name: String,
    /// The name it logs in with.
    pub username: String,
}

/// A device that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDevice {
    /// What its owner calls it.
    pub name: String,
    /// The name it logs in with (SIP's "authentication name").
    pub username: String,
    /// The domain it registers at, which is also the realm.
    pub domain: String,
    /// Its secret: it is shown this once.
    pub secret: String,
}

/// A command that was not carried out; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// One line that names what is wrong, and the mend.
    pub message: String,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// What it names does not exist.
    NotFound,
    /// What it would make exists, or something changed meanwhile.
    Conflict,
    /// It cannot be understood, or names something that cannot be.
    Invalid,
    /// The account has no room for it by its quota.
    OverQuota,
    /// Not now: the server starts, stops, or its disk is full.
    Unavailable,
    /// Something broke; the log says more.
    Failed,
}

impl Refusal {
    /// A refusal of a kind with its line.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Refusal {
            kind,
            message: message.into(),
        }
    }

    /// What it names does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::NotFound, message)
    }

    /// It cannot be understood, or names something that cannot be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Invalid, message)
    }

    /// Something broke.
    pub fn failed(message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Failed, message)
    }
}

/// Carries out commands: a running server, or a [`Client`](crate::Client) that asks one.
pub trait Control: Send + Sync + 'static {
    /// Carries out a command. What it answers is durable.
    fn handle(&self, command: Command) -> BoxFuture<'_, Result<Answer, Refusal>>;

    /// Brings messages into a mailbox, whose bytes come one after the other: all of them, durably, or none.
    fn bring<'a>(&'a self, parcel: Parcel, bytes: Pieces<'a>) -> BoxFuture<'a, Result<(), Refusal>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_object_that_names_what_to_do() {
        let command = Command::DeviceAdd {
            address: "bob@example.org".into(),
            name: "desk".into(),
        };
        let json = serde_json::to_string(&command).unwrap();
        assert_eq!(
            json,
            r#"{"do":"device-add","address":"bob@example.org","name":"desk"}"#
        );
        assert_eq!(serde_json::from_str::<Command>(&json).unwrap(), command);
        assert!(serde_json::from_str::<Command>(r#"{"do":"domain-add","name":"x","typo":1}"#).is_err());
    }
}
