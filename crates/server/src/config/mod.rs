//! `ringpost.toml`: what can be set, what it is when it is not, and one line for what is wrong with it.

mod acme;
mod calls;
mod error;
mod incoming;
mod listen;
mod multicast;
mod network;
mod own_pulls;
mod pull;
mod streams;

pub(crate) use acme::{Acme, Challenge};
pub(crate) use calls::Calls;
pub(crate) use error::ConfigError;
pub(crate) use incoming::{BlockList, Incoming, ListAction};
pub(crate) use listen::{Listen, Listener, Service};
pub(crate) use network::{Network, PortRange};
pub(crate) use streams::{Played, Streams};

use ringpost_base::ascii_domain;
use ringpost_directory::is_domain;
use ringpost_mail::Quota;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The commented reference: every key with its default. Held to this module by a test.
pub(crate) const REFERENCE: &str = include_str!("reference.toml");

/// Read when no file is named and this one exists.
pub(crate) const USUAL_FILE: &str = "/etc/ringpost/ringpost.toml";

/// Everything that can be set. A key's meaning is told in [`REFERENCE`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) data: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) domains: Vec<String>,
    pub(crate) public_address: Option<IpAddr>,
    pub(crate) trusted_networks: Vec<Network>,
    pub(crate) plain_login_networks: Vec<Network>,
    pub(crate) listen: Listen,
    pub(crate) tls: Tls,
    pub(crate) acme: Acme,
    pub(crate) sip: Sip,
    pub(crate) dns: Dns,
    pub(crate) media: Media,
    pub(crate) limits: Limits,
    pub(crate) mail: MailSettings,
    pub(crate) incoming: Incoming,
    pub(crate) outbound: Outbound,
    pub(crate) voicemail: Voicemail,
    pub(crate) calls: Calls,
    pub(crate) streams: Streams,
    pub(crate) log: Log,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) authorities: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dns {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) trust_anchors: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    pub(crate) digest: Vec<Digest>,
    pub(crate) outbound: bool,
    pub(crate) outbound_networks: Vec<Network>,
}

/// A digest algorithm by the name that it has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Digest {
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "MD5")]
    Md5,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    pub(crate) ports: PortRange,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) calls: usize,
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    pub(crate) exempt_networks: Vec<Network>,
    pub(crate) messages_per_hour: u32,
    pub(crate) failed_logins_per_hour: u32,
    pub(crate) connection_messages: u32,
    pub(crate) connection_recipients: u32,
    pub(crate) connection_errors: u32,
    pub(crate) message_bytes: u64,
    pub(crate) message_recipients: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MailSettings {
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) quota_messages: Option<u64>,
    pub(crate) imap_literal_plus: bool,
    pub(crate) detail_folders: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Outbound {
    pub(crate) enabled: bool,
    pub(crate) networks: Vec<Network>,
    pub(crate) max_age_h: u32,
    pub(crate) connections: usize,
    pub(crate) connections_per_destination: usize,
    pub(crate) recipients_per_hour: u32,
    pub(crate) mta_sts: bool,
    pub(crate) dane: bool,
    pub(crate) smart_host: Option<String>,
    pub(crate) smart_host_port: u16,
    pub(crate) smart_host_tls: SmartHostTls,
    pub(crate) smart_host_user: Option<String>,
    pub(crate) smart_host_password_file: Option<PathBuf>,
}

/// How TLS begins with the smart host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SmartHostTls {
    StartTls,
    Implicit,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Voicemail {
    pub(crate) no_answer_s: u32,
    pub(crate) max_length_s: u32,
    pub(crate) greeting: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) level: String,
}

impl Default for Sip {
    fn default() -> Self {
        //= https://www.rfc-editor.org/rfc/rfc8760#section-2.4
        // Clients must pass over what they do not know, but baresip 1.0 gives up on it, wherever it stands, and SIPp looks at
        // the first offer alone. Secrets are generated with 100 bits, which MD5 keeps well enough.
        Sip {
            digest: vec![Digest::Md5],
            outbound: true,
            outbound_networks: Vec::new(),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        // Below the ports that Linux hands out by itself.
        Media {
            ports: PortRange {
                first: 16_384,
                last: 32_767,
            },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            calls: 5_000,
            connections: 20_000,
            connections_per_address: 200,
            exempt_networks: incoming::loopback(),
            messages_per_hour: 3_000,
            failed_logins_per_hour: 60,
            connection_messages: ringpost_base::limits::SMTP_MESSAGES,
            connection_recipients: ringpost_base::limits::SMTP_SESSION_RECIPIENTS,
            connection_errors: ringpost_base::limits::SMTP_ERRORS,
            message_bytes: ringpost_base::limits::MESSAGE_BYTES,
            message_recipients: ringpost_base::limits::SMTP_RECIPIENTS,
        }
    }
}

impl MailSettings {
    /// What accounts may hold that have no quota of their own.
    pub(crate) fn quota(&self) -> Quota {
        Quota {
            bytes: self.quota_bytes,
            messages: self.quota_messages,
        }
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Outbound {
            enabled: true,
            networks: Vec::new(),
            max_age_h: 120,
            connections: 100,
            connections_per_destination: 4,
            recipients_per_hour: 500,
            mta_sts: true,
            dane: true,
            smart_host: None,
            smart_host_port: 587,
            smart_host_tls: SmartHostTls::StartTls,
            smart_host_user: None,
            smart_host_password_file: None,
        }
    }
}

impl Outbound {
    /// What its values do not show one by one.
    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, wrong: &str| Err((format!("outbound.{key}"), wrong.to_owned()));
        let (user, file) = (&self.smart_host_user, &self.smart_host_password_file);
        if let Some(host) = &self.smart_host
            && !is_domain(&host.to_ascii_lowercase())
            && host.parse::<IpAddr>().is_err()
        {
            return wrong(
                "smart_host",
                "is no name and no address; write it like \"relay.example.net\"",
            );
        }
        match (user, file) {
            (Some(_), None) => {
                return wrong(
                    "smart_host_password_file",
                    "is missing; outbound.smart_host_user needs a password",
                );
            }
            (None, Some(_)) => {
                return wrong(
                    "smart_host_user",
                    "is missing; outbound.smart_host_password_file is of no use without it",
                );
            }
            (Some(_), Some(_)) if self.smart_host.is_none() => {
                return wrong(
                    "smart_host",
                    "is missing; outbound.smart_host_user signs in there",
                );
            }
            (Some(_), Some(_)) if self.smart_host_tls == SmartHostTls::None => {
                return wrong(
                    "smart_host_tls",
                    "is \"none\", and a password is told under TLS only; write \"starttls\" or \"implicit\"",
                );
            }
            _ => {}
        }
        if self.smart_host_port == 0 {
            return wrong("smart_host_port", "0 is no port; write 587, 465 or 25");
        }
        if !(1..=720).contains(&self.max_age_h) {
            return wrong("max_age_h", "is out of range; it may be 1 to 720");
        }
        Ok(())
    }
}

impl Default for Voicemail {
    fn default() -> Self {
        Voicemail {
            no_answer_s: 20,
            max_length_s: 180,
            greeting: None,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".into() }
    }
}

impl Config {
    /// Reads the named file; without one the usual file, if it exists; without that, the defaults.
    pub(crate) fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let (path, named) = match file {
            Some(path) => (path, true),
            None => (Path::new(USUAL_FILE), false),
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, path),
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
            Err(reason) => Err(ConfigError::Read {
                path: path.to_path_buf(),
                reason,
            }),
        }
    }

    /// Reads a configuration's text; `path` is for the errors.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config =
            toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        config.check().map_err(|(key, wrong)| ConfigError::Value {
            path: path.to_path_buf(),
            key,
            wrong,
        })?;
        for domain in &mut config.domains {
            *domain = ascii_domain(domain).unwrap_or_default().into_owned();
        }
        Ok(config)
    }

    /// What no single value shows: a key, and what is wrong with it and the mend.
    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, wrong: String| Err((key.to_string(), wrong));
        if self
            .data
            .as_ref()
            .is_some_and(|folder| folder.as_os_str().is_empty())
        {
            return wrong(
                "data",
                "is empty; name a folder, or leave the key out for the usual one".into(),
            );
        }
        if let Some(domain) = self.domains.iter().find(|domain| !is_domain(domain)) {
            return wrong(
                "domains",
                format!("{domain:?} is not a domain's name; write it like \"example.org\""),
            );
        }
        self.outbound.check()?;
        self.acme.check()?;
        self.incoming.check()?;
        self.streams.check()?;
        self.check_own_pulls()?;
        self.calls.check()?;
        match (&self.tls.certificate, &self.tls.key) {
            (Some(_), None) => {
                return wrong(
                    "tls.key",
                    "is missing; tls.certificate needs the key it was made for".into(),
                );
            }
            (None, Some(_)) => {
                return wrong(
                    "tls.certificate",
                    "is missing; tls.key is of no use without it".into(),
                );
            }
            (Some(_), Some(_)) if self.acme.enabled => {
                return wrong(
                    "tls.certificate",
                    "is set, and so is acme.enabled; leave one of them out".into(),
                );
            }
            _ => {}
        }
        if let [] | [Digest::Sha256, Digest::Sha256, ..] | [Digest::Md5, Digest::Md5, ..] | [_, _, _, ..] =
            self.sip.digest.as_slice()
        {
            return wrong(
                "sip.digest",
                "write each algorithm once: [\"SHA-256\", \"MD5\"]".into(),
            );
        }
        for (key, value, range) in [
            ("voicemail.no_answer_s", self.voicemail.no_answer_s, 1..=170),
            ("voicemail.max_length_s", self.voicemail.max_length_s, 5..=3_600),
        ] {
            if !range.contains(&value) {
                return wrong(
                    key,
                    format!(
                        "{value} is out of range; it may be {} to {}",
                        range.start(),
                        range.end()
                    ),
                );
            }
        }
        for (key, value) in [
            ("limits.calls", self.limits.calls as u64),
            ("limits.connections", self.limits.connections as u64),
            (
                "limits.connections_per_address",
                self.limits.connections_per_address as u64,
            ),
            ("limits.messages_per_hour", self.limits.messages_per_hour.into()),
            (
                "limits.failed_logins_per_hour",
                self.limits.failed_logins_per_hour.into(),
            ),
            (
                "limits.connection_messages",
                self.limits.connection_messages.into(),
            ),
            (
                "limits.connection_recipients",
                self.limits.connection_recipients.into(),
            ),
            ("limits.connection_errors", self.limits.connection_errors.into()),
            ("limits.message_bytes", self.limits.message_bytes),
            ("limits.message_recipients", self.limits.message_recipients as u64),
            ("outbound.connections", self.outbound.connections as u64),
            (
                "outbound.connections_per_destination",
                self.outbound.connections_per_destination as u64,
            ),
            (
                "outbound.recipients_per_hour",
                self.outbound.recipients_per_hour.into(),
            ),
        ] {
            if value == 0 {
                return wrong(
                    key,
                    "0 would refuse everything; leave the key out for its default".into(),
                );
            }
        }
        self.check_addresses()
    }

    /// The networks whose addresses the limits of an address do not hold for, by the bits that count.
    pub(crate) fn exempt_networks(&self) -> Vec<(IpAddr, u8)> {
        let networks = self.limits.exempt_networks.iter().chain(&self.trusted_networks);
        networks.map(|network| network.parts()).collect()
    }

    /// The data folder: the one that is set, or the usual one of whoever starts the server.
    pub(crate) fn data_folder(&self) -> PathBuf {
        if let Some(data) = &self.data {
            return data.clone();
        }
        let variable = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        // SAFETY: geteuid cannot fail and touches no memory.
        if unsafe { libc::geteuid() } == 0 {
            return "/var/lib/ringpost".into();
        }
        variable("XDG_DATA_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
            .unwrap_or_else(|| "/var/lib".into())
            .join("ringpost")
    }

    /// The domains that are served from the start: those that are set, or the host's name.
    pub(crate) fn first_domains(&self) -> Vec<String> {
        if self.domains.is_empty() {
            vec![host_name()]
        } else {
            self.domains.clone()
        }
    }
}

/// The host's name, `localhost` when it has none that could be a domain.
fn host_name() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = text.trim().to_ascii_lowercase();
    if is_domain(&name) {
        name
    } else {
        "localhost".into()
    }
}

#[cfg(test)]
mod tests;
