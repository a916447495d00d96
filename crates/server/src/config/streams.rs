use super::multicast::GroupAddress;
use super::network::Network;
use super::pull::{Pull, PullUrl, Transport, When};
use ringpost_directory::Address;
use ringpost_node::stream::{MountNumber, MountRule, Who};
use ringpost_store::Retention;
use ringpost_stream::hub::{MountSettings as HubSettings, PullSettings};
use ringpost_stream::{MountName, MountPattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Streams {
    pub(crate) vacancy_s: u32,
    pub(crate) pull_networks: Vec<Network>,
    pub(crate) multicast_range: Option<Network>,
    pub(crate) multicast_port: u16,
    pub(crate) multicast_interface: Option<String>,
    pub(crate) sap: bool,
    /// By patterns of mounts.
    pub(crate) mounts: BTreeMap<String, MountSettings>,
}

/// What is set for the mounts of a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MountSettings {
    pub(crate) publish: Vec<String>,
    pub(crate) read: Vec<String>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) pull: Option<PullUrl>,
    pub(crate) pull_when: Option<When>,
    pub(crate) pull_transport: Option<Transport>,
    pub(crate) redirect: Option<PullUrl>,
    pub(crate) extension: Option<String>,
    pub(crate) record: bool,
    pub(crate) keep_hours: Option<u32>,
    pub(crate) keep_bytes: Option<u64>,
    pub(crate) silence_mail_s: Option<u32>,
    pub(crate) multicast: Option<GroupAddress>,
    pub(crate) multicast_ttl: Option<u8>,
    pub(crate) sap: bool,
}

/// What a mount plays that is no live stream.
pub(crate) enum Played<'a> {
    File(&'a PathBuf),
    Folder(&'a PathBuf),
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            vacancy_s: 10,
            pull_networks: Vec::new(),
            multicast_range: None,
            multicast_port: 5_004,
            multicast_interface: None,
            sap: false,
            mounts: BTreeMap::new(),
        }
    }
}

impl Streams {
    /// What its values do not show one by one.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.vacancy_s > 3_600 {
            let wrong = format!("{} is out of range; it may be 0 to 3600", self.vacancy_s);
            return Err(("streams.vacancy_s".into(), wrong));
        }
        self.check_multicast()?;
        for (pattern, settings) in &self.mounts {
            let key = format!("streams.mounts.{pattern:?}");
            if let Err(error) = pattern.parse::<MountPattern>() {
                let wrong = format!("{error}; write it like \"alice/door\", \"lobby/*\" or \"public/**\"");
                return Err((key, wrong));
            }
            if settings.keep_hours == Some(0) || settings.keep_bytes == Some(0) {
                let wrong = "0 would keep nothing; leave the key out to keep everything".into();
                return Err((format!("{key}.keep_hours and keep_bytes"), wrong));
            }
            settings.check_pull(pattern, &self.pull_networks())?;
            settings.check_redirect(&key)?;
            self.check_group(pattern, settings)?;
            let (file, folder) = (&settings.file, &settings.folder);
            if file.is_some() && folder.is_some() {
                let wrong = "names a file and a folder; leave one of them out".into();
                return Err((key, wrong));
            }
            if (file.is_some() || folder.is_some()) && pattern.parse::<MountName>().is_err() {
                let wrong = "plays something, and is many mounts; name one, without *".into();
                return Err((key, wrong));
            }
            if let Some(path) = file.iter().chain(folder).find(|path| !path.is_absolute()) {
                let wrong = format!("{} is no absolute path; write it from / on", path.display());
                return Err((key, wrong));
            }
            if settings
                .silence_mail_s
                .is_some_and(|seconds| !(5..=86_400).contains(&seconds))
            {
                let wrong = "is out of range; it may be 5 to 86400".into();
                return Err((format!("{key}.silence_mail_s"), wrong));
            }
            if let Some(extension) = &settings.extension {
                self.check_extension(pattern, extension)
                    .map_err(|wrong| (format!("{key}.extension"), wrong))?;
            }
            for (field, names) in [("publish", &settings.publish), ("read", &settings.read)] {
                for name in names {
                    check_who(name).map_err(|wrong| (format!("{key}.{field}"), wrong))?;
                }
            }
        }
        Ok(())
    }

    /// A number leads to one mount, and one mount has it.
    fn check_extension(&self, pattern: &str, extension: &str) -> Result<(), String> {
        if pattern.parse::<MountName>().is_err() {
            return Err("is one number for many mounts; name one, without *".into());
        }
        if extension.is_empty()
            || extension.len() > 32
            || !extension.chars().all(|c| "0123456789*#".contains(c))
        {
            return Err(format!(
                "{extension:?} is no number; write up to 32 of 0 to 9, * and #"
            ));
        }
        let others = self.mounts.iter().filter(|(other, _)| *other != pattern);
        let mut others = others.filter(|(_, settings)| settings.extension.as_deref() == Some(extension));
        match others.next() {
            Some((other, _)) => Err(format!("{extension} is also the number of {other:?}")),
            None => Ok(()),
        }
    }

    /// What is dialled for which mount.
    pub(crate) fn numbers(&self) -> Vec<MountNumber> {
        let numbers = self.mounts.iter().filter_map(|(mount, settings)| {
            Some(MountNumber {
                number: settings.extension.as_deref()?.into(),
                mount: mount.parse().ok()?,
            })
        });
        numbers.collect()
    }

    /// What the hub is to know of mounts.
    pub(crate) fn settings(&self) -> Vec<(MountPattern, HubSettings)> {
        let settings = self.mounts.iter().filter_map(|(pattern, settings)| {
            let hub = HubSettings {
                record: settings.record,
                keep_bytes: settings.keep_bytes,
                silence: settings.silence_mail_s.map(|s| Duration::from_secs(s.into())),
                pull: settings.pull(),
                redirect: settings.redirect.as_ref().map(|url| url.url().clone()),
                multicast: settings.group(),
            };
            Some((pattern.parse().ok()?, hub))
        });
        settings.collect()
    }

    /// The networks beside the public ones that mounts may be pulled from, by the bits that count.
    pub(crate) fn pull_networks(&self) -> Vec<(IpAddr, u8)> {
        self.pull_networks.iter().map(|network| network.parts()).collect()
    }

    /// How long a mount's recordings are kept.
    pub(crate) fn retention(&self, mount: &MountName) -> Retention {
        let matching = self.mounts.iter().filter_map(|(pattern, settings)| {
            let pattern: MountPattern = pattern.parse().ok()?;
            pattern.matches(mount).then_some((pattern, settings))
        });
        let found = matching
            .min_by(|(a, _), (b, _)| a.cmp(b))
            .map(|(_, settings)| settings);
        Retention {
            age: found
                .and_then(|settings| settings.keep_hours)
                .map(|hours| Duration::from_secs(3_600 * u64::from(hours))),
            size_bytes: found.and_then(|settings| settings.keep_bytes),
        }
    }

    /// What is played from where: the mount, and the file or folder.
    pub(crate) fn played(&self) -> impl Iterator<Item = (MountName, Played<'_>)> {
        self.mounts.iter().filter_map(|(pattern, settings)| {
            let mount = pattern.parse().ok()?;
            match (&settings.file, &settings.folder) {
                (Some(file), _) => Some((mount, Played::File(file))),
                (None, Some(folder)) => Some((mount, Played::Folder(folder))),
                (None, None) => None,
            }
        })
    }

    /// The rules, as the node takes them. A folder's line holds for its files too, which are mounts below it, where they have
    /// none of their own.
    pub(crate) fn rules(&self) -> Vec<MountRule> {
        let rule = |pattern: &str, settings: &MountSettings| {
            Some(MountRule {
                pattern: pattern.parse().ok()?,
                publish: settings.publish.iter().map(|name| who(name)).collect(),
                read: settings.read.iter().map(|name| who(name)).collect(),
            })
        };
        let rules = self.mounts.iter().flat_map(|(pattern, settings)| {
            let files = settings.folder.as_ref().map(|_| format!("{pattern}/*"));
            let has_own = |files: &String| {
                [files, &format!("{files}*")]
                    .iter()
                    .any(|own| self.mounts.contains_key(*own))
            };
            let files = files.filter(|files| !has_own(files));
            let below = files.and_then(|files| rule(&files, settings));
            rule(pattern, settings).into_iter().chain(below)
        });
        rules.collect()
    }
}

impl MountSettings {
    fn pull(&self) -> Option<PullSettings> {
        let pull = Pull {
            url: self.pull.as_ref()?,
            when: self.pull_when.unwrap_or_default(),
            transport: self.pull_transport.unwrap_or_default(),
        };
        Some(pull.settings())
    }

    fn check_redirect(&self, key: &str) -> Result<(), (String, String)> {
        let has_password = |url: &PullUrl| url.url().credentials().is_some();
        match self.redirect.as_ref().is_some_and(has_password) {
            true => {
                let wrong = "has a password in it, which readers are not told; leave it out".into();
                Err((format!("{key}.redirect"), wrong))
            }
            false => Ok(()),
        }
    }

    fn check_pull(&self, pattern: &str, networks: &[(IpAddr, u8)]) -> Result<(), (String, String)> {
        let wrong = |key: &str, wrong: String| Err((format!("streams.mounts.{pattern:?}.{key}"), wrong));
        let Some(url) = &self.pull else {
            return match (self.pull_when, self.pull_transport) {
                (Some(_), _) => wrong("pull_when", NOT_PULLED.into()),
                (None, Some(_)) => wrong("pull_transport", NOT_PULLED.into()),
                (None, None) => Ok(()),
            };
        };
        if pattern.parse::<MountName>().is_err() {
            return wrong(
                "pull",
                "is one stream for many mounts; name one, without *".into(),
            );
        }
        if self.file.is_some() || self.folder.is_some() {
            return wrong(
                "pull",
                "is set, and so is file or folder; leave one of them out".into(),
            );
        }
        if !self.publish.is_empty() {
            return wrong("publish", "is set, and so is pull; leave one of them out".into());
        }
        url.check(networks).or_else(|why| wrong("pull", why))
    }
}

const NOT_PULLED: &str = "is of no use without pull; set that, or leave this out";

/// What is meant as one of the two words that are no names, and would silently let nobody in.
const NEARLY_WORDS: &[&str] = &[
    "anyone",
    "accounts",
    "account",
    "anybody",
    "everyone",
    "everybody",
];

/// Whether a rule can name this: one of the two words, or what an account or a device may be called.
fn check_who(name: &str) -> Result<(), String> {
    let is_name = |text: &str| match text.contains('@') {
        true => Address::parse(text).is_ok(),
        false => Address::parse(&format!("{text}@localhost")).is_ok(),
    };
    let expected =
        "write \"anyone\", \"accounts\", the name or address of an account, or a device's user name";
    if ["anyone", "accounts"].contains(&name) {
        return Ok(());
    }
    if NEARLY_WORDS.contains(&name.to_lowercase().as_str()) {
        return Err(format!(
            "{name:?} is none of the words that may stand here; {expected}"
        ));
    }
    // A device is called after its account and itself, which is longer than an account's name may be.
    let is_device = || {
        name.rsplit_once('-')
            .is_some_and(|(account, device)| is_name(account) && is_name(device) && !name.contains('@'))
    };
    match is_name(name) || is_device() {
        true => Ok(()),
        false => Err(format!("{name:?} is nobody; {expected}")),
    }
}

fn who(name: &str) -> Who {
    match name {
        "anyone" => Who::Anyone,
        "accounts" => Who::Accounts,
        name => Who::One(name.to_lowercase()),
    }
}
