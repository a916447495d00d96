//! Mailboxes on another server, read over IMAP by our own client, and left as they are.

use super::message::{Fingerprint, kept_flags, with_crlf};
use super::{Import, Message, PARCEL_BYTES, Report, too_big};
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringpost_admin::{Control, Mailbox, PARCEL_MESSAGES};
use ringpost_base::{Instant, limits};
use ringpost_client::imap::{Client, Event, Fetched, Outcome, Output, Tag};
use ringpost_imap::date::parse_date_time;
use ringpost_imap::{SpecialUse, utf7};
use ringpost_net::stream::{Stream, To};
use ringpost_net::tls::{Authorities, Proof};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// How long the other server may say nothing while something is expected of it.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is asked of each message before it is known whether it is there.
const FACTS: &str = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE SUBJECT)])";
/// Mailboxes that are read of one server.
const MAILBOXES: usize = 10 * limits::MAILBOXES_PER_ACCOUNT;

/// Another server, and who signs in there.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its name or address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    /// The authorities whose certificates are believed; the system's when it is `None`.
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) login: Login,
}

/// Who signs in.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// How the connection is made private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tls {
    /// By TLS from its first byte on.
    Implicit,
    /// By STARTTLS.
    Starttls,
    /// It is not.
    None,
}

/// `import --imap`
pub(crate) async fn import_imap(control: &dyn Control, address: &str, source: &Source) -> Result<Report> {
    let place = format!("{}:{}", source.host, source.port);
    let mut session = Session::connect(source).await.with_context(|| place.clone())?;
    let mailboxes = session.mailboxes().await.with_context(|| place.clone())?;
    let mut import = Import::new(control, address);
    for (wire_name, mailbox) in mailboxes {
        let label = format!("{place}: {}", mailbox.name);
        if import.open(mailbox, &label).await? {
            session
                .bring(&mut import, &wire_name, &label)
                .await
                .context(label)?;
        }
    }
    session.log_out().await;
    import.finish().await
}

/// A message on the other server that is not here.
struct Wanted {
    uid: u32,
    size_bytes: u64,
    received_s: u64,
    flags: Vec<String>,
}

struct Session {
    client: Client,
    stream: Stream,
    started: std::time::Instant,
    capabilities: Vec<String>,
}

impl Session {
    /// Connects, makes the connection private, and signs in.
    async fn connect(source: &Source) -> Result<Session> {
        let authorities = Authorities::load(source.authorities.as_deref())?;
        let proof = match source.tls {
            Tls::None => Proof::Any,
            Tls::Implicit | Tls::Starttls => Proof::Name,
        };
        let found = tokio::net::lookup_host((source.host.as_str(), source.port)).await;
        let mut last = anyhow!("there is no address of that name");
        for address in found.context("there is no address of that name")? {
            let to = To {
                address,
                name: &source.host,
                proof: &proof,
                implicit_tls: source.tls == Tls::Implicit,
            };
            match tokio::time::timeout(PATIENCE, Stream::connect(to, &authorities)).await {
                Ok(Ok(stream)) => return Session::begin(stream, source).await,
                Ok(Err(error)) => {
                    last = anyhow::Error::new(error).context(format!("no connection to {address}"))
                }
                Err(_) => last = anyhow!("no connection to {address} within {} s", PATIENCE.as_secs()),
            }
        }
        Err(last)
    }

    async fn begin(stream: Stream, source: &Source) -> Result<Session> {
        let mut session = Session {
            client: Client::new(),
            stream,
            started: std::time::Instant::now(),
            capabilities: Vec::new(),
        };
        let preauth = session
            .until(|event| match event {
                Event::Greeting { preauth, .. } => Some(Ok(preauth)),
                Event::Bye { text } => Some(Err(anyhow!("the server says {}", shown(&text)))),
                _ => None,
            })
            .await??;
        if source.tls == Tls::Starttls {
            let tag = session.client.start_tls(session.now());
            session.complete(tag, "STARTTLS").await?;
            let begun = tokio::time::timeout(PATIENCE, session.stream.start_tls()).await;
            begun.context("TLS does not begin")?.context("TLS")?;
            session.client.handle_tls_started(session.now());
        }
        if !preauth {
            session.log_in(&source.login).await?;
        }
        session.learn_capabilities().await?;
        Ok(session)
    }

    async fn log_in(&mut self, login: &Login) -> Result<()> {
        self.learn_capabilities().await?;
        let Login { user, password } = login;
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.2.3
        if !self.can("LOGINDISABLED") {
            let tag = self.client.login(self.now(), user, password);
            return self.complete(tag, "LOGIN").await.map(drop);
        }
        if !self.can("AUTH=PLAIN") || !self.can("SASL-IR") {
            bail!("the server takes no password on this connection; choose another --tls");
        }
        let plain = STANDARD.encode(format!("\0{user}\0{password}"));
        let tag = self
            .client
            .other(self.now(), &format!("AUTHENTICATE PLAIN {plain}"));
        self.complete(tag, "AUTHENTICATE").await.map(drop)
    }

    async fn learn_capabilities(&mut self) -> Result<()> {
        let tag = self.client.capability(self.now());
        let events = self.complete(tag, "CAPABILITY").await?;
        let told = events.into_iter().find_map(|event| match event {
            Event::Capabilities(told) => Some(told),
            _ => None,
        });
        self.capabilities = told.context("expected capabilities, the server told none")?;
        Ok(())
    }

    fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    /// The mailboxes that hold messages of their own, by their names over there and here, the inbox first.
    async fn mailboxes(&mut self) -> Result<Vec<(String, Mailbox)>> {
        let namespaces = self.namespaces().await?;
        let mut subscribed = BTreeSet::new();
        let list = match (self.can("LIST-EXTENDED"), self.can("SPECIAL-USE")) {
            (true, true) => "LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE)",
            (true, false) => "LIST \"\" \"*\" RETURN (SUBSCRIBED)",
            (false, _) => {
                let tag = self.client.other(self.now(), "LSUB \"\" \"*\"");
                for event in self.complete(tag, "LSUB").await? {
                    if let Event::Subscribed { name, .. } = event {
                        subscribed.insert(name);
                    }
                }
                "LIST \"\" \"*\""
            }
        };
        let tag = self.client.other(self.now(), list);
        let mut found = BTreeMap::new();
        for event in self.complete(tag, "LIST").await? {
            let Event::List {
                attributes,
                delimiter,
                name,
            } = event
            else {
                continue;
            };
            let is = |wanted: &str| attributes.iter().any(|known| known.eq_ignore_ascii_case(wanted));
            if is("\\Noselect") || is("\\NonExistent") {
                continue;
            }
            let Some(here) = namespaces.name_here(&name, delimiter.as_deref()) else {
                continue;
            };
            let special_use = attributes
                .iter()
                .find_map(|attribute| SpecialUse::parse(attribute));
            if let Some(SpecialUse::All | SpecialUse::Flagged) = special_use {
                eprintln!("ringpost: {here}: left out, since it shows what other mailboxes hold");
                continue;
            }
            let mailbox = Mailbox {
                special_use: special_use.map(|special_use| special_use.attribute().to_owned()),
                subscribed: is("\\Subscribed") || subscribed.contains(&name),
                name: here,
            };
            found.insert((mailbox.name != "INBOX", mailbox.name.clone()), (name, mailbox));
        }
        Ok(found.into_values().collect())
    }

    async fn namespaces(&mut self) -> Result<Namespaces> {
        if !self.can("NAMESPACE") {
            return Ok(Namespaces::default());
        }
        let tag = self.client.other(self.now(), "NAMESPACE");
        let told = self.complete(tag, "NAMESPACE").await?.into_iter();
        let told = told.filter_map(|event| match event {
            Event::Namespace { personal, others } => Some(Namespaces { personal, others }),
            _ => None,
        });
        Ok(told.last().unwrap_or_default())
    }

    /// Brings what is in a mailbox and not here.
    async fn bring(&mut self, import: &mut Import<'_>, wire_name: &str, label: &str) -> Result<()> {
        let tag = self.client.examine(self.now(), wire_name);
        let exists = self.complete(tag, "EXAMINE").await?.into_iter();
        let exists = exists.filter_map(|event| match event {
            Event::Exists(exists) => Some(exists),
            _ => None,
        });
        let exists = exists
            .last()
            .context("EXAMINE did not say how many messages there are")?;
        if exists == 0 {
            return Ok(());
        }
        let wanted = self.missing(import, exists, label).await?;
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let mut size_bytes = 0;
            let fits = rest.iter().take(PARCEL_MESSAGES).take_while(|message| {
                size_bytes += message.size_bytes;
                size_bytes <= PARCEL_BYTES as u64
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            rest = later;
            self.fetch(import, now, label).await?;
        }
        Ok(())
    }

    /// The messages of the mailbox that are not here, by what they say of themselves.
    async fn missing(&mut self, import: &mut Import<'_>, exists: u32, label: &str) -> Result<Vec<Wanted>> {
        let mut wanted = BTreeMap::new();
        let tag = self.client.fetch(self.now(), "1:*", FACTS);
        let mut told = 0;
        // What arrives meanwhile is told too.
        let bound = u64::from(exists) * 2 + 1_000;
        let hear = |event| {
            let Event::Fetch(fetched) = event else {
                return Ok(());
            };
            told += 1;
            if told > bound {
                bail!("expected {exists} messages, the server tells of ever more");
            }
            let Some((fingerprint, message, lost)) = facts(&fetched) else {
                return Ok(());
            };
            for flag in lost {
                import.miss(
                    &format!("{label}: UID {}", message.uid),
                    &format!("the flag {flag:?} cannot be kept"),
                );
            }
            if message.size_bytes > limits::MESSAGE_BYTES {
                import.miss(&format!("{label}: UID {}", message.uid), &too_big());
            } else if !wanted.contains_key(&message.uid) && !import.is_there(&fingerprint) {
                wanted.insert(message.uid, message);
            }
            Ok(())
        };
        self.hear(tag, "FETCH", hear).await?;
        Ok(wanted.into_values().collect())
    }

    /// Brings some messages.
    async fn fetch(&mut self, import: &mut Import<'_>, messages: &[Wanted], label: &str) -> Result<()> {
        let mut missing: BTreeMap<u32, &Wanted> =
            messages.iter().map(|message| (message.uid, message)).collect();
        let uids: Vec<String> = missing.keys().map(u32::to_string).collect();
        let tag = self
            .client
            .fetch(self.now(), &uids.join(","), "(UID BODY.PEEK[])");
        let mut fetched = Vec::new();
        let mut held_bytes = 0;
        let hear = |event| {
            let Event::Fetch(one) = event else { return Ok(()) };
            let Some((body, uid)) = one.body("").cloned().zip(one.uid()) else {
                return Ok(());
            };
            let Some(wanted) = missing.remove(&uid) else {
                return Ok(());
            };
            held_bytes += body.len();
            if held_bytes as u64 > 2 * limits::MESSAGE_BYTES {
                bail!("expected messages of the sizes that were told, the server sends more");
            }
            fetched.push(Message {
                label: format!("{label}: UID {uid}"),
                flags: wanted.flags.clone(),
                received_s: wanted.received_s,
                bytes: with_crlf(body.to_vec()),
            });
            Ok(())
        };
        let refused = self.hear_all(tag, "FETCH", hear).await?;
        for message in fetched {
            import.add(message).await?;
        }
        // Without a refusal, what did not come has been expunged meanwhile.
        if let Some(refused) = refused {
            for uid in missing.keys() {
                import.miss(&format!("{label}: UID {uid}"), &refused);
            }
        }
        Ok(())
    }

    /// Says good-bye; a server that does not answer is left.
    async fn log_out(mut self) {
        let tag = self.client.logout(self.now());
        let _left = self.complete(tag, "LOGOUT").await;
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    /// What is said until the command completes with OK.
    async fn complete(&mut self, tag: Tag, command: &str) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        self.hear(tag, command, |event| {
            if events.len() >= MAILBOXES {
                bail!("the server says more than it was asked for");
            }
            events.push(event);
            Ok(())
        })
        .await?;
        Ok(events)
    }

    /// Hands on what is said until the command completes with OK.
    async fn hear(&mut self, tag: Tag, command: &str, hear: impl FnMut(Event) -> Result<()>) -> Result<()> {
        match self.hear_all(tag, command, hear).await? {
            None => Ok(()),
            Some(refused) => bail!(refused),
        }
    }

    /// Hands on what is said until the command completes, and gives what the server said if it did not with OK.
    async fn hear_all(
        &mut self,
        tag: Tag,
        command: &str,
        mut hear: impl FnMut(Event) -> Result<()>,
    ) -> Result<Option<String>> {
        let (outcome, text) = self
            .until(|event| match event {
                Event::Completed {
                    tag: of,
                    outcome,
                    text,
                    ..
                } if of == tag => Some(Ok((outcome, text))),
                Event::Bye { text } if command != "LOGOUT" => {
                    Some(Err(anyhow!("the server ends the session: {}", shown(&text))))
                }
                event => hear(event).err().map(Err),
            })
            .await
            .and_then(|heard| heard)
            .with_context(|| command.to_owned())?;
        let refused = || format!("{command}: expected OK, the server says {}", shown(&text));
        Ok((outcome != Outcome::Ok).then(refused))
    }

    async fn until<T>(&mut self, mut seen: impl FnMut(Event) -> Option<T>) -> Result<T> {
        loop {
            loop {
                match self.client.poll_output() {
                    Output::Transmit(bytes) => self.stream.send(&bytes).await?,
                    Output::Event(event) => {
                        if let Some(result) = seen(event) {
                            return Ok(result);
                        }
                    }
                    Output::Timeout(_) => break,
                }
            }
            let bytes = tokio::time::timeout(PATIENCE, self.stream.recv())
                .await
                .map_err(|_| anyhow!("the server says nothing for {} s", PATIENCE.as_secs()))?
                .context("the server has closed the connection")?;
            let now = self.now();
            self.client.handle_input(now, &bytes)?;
        }
    }
}

/// Where one's own mailboxes are on the other server, and where those of others.
#[derive(Debug, Default)]
struct Namespaces {
    personal: Vec<(String, Option<String>)>,
    others: Vec<String>,
}

impl Namespaces {
    /// What a mailbox is called here; `None` for one of somebody else.
    fn name_here(&self, name: &str, delimiter: Option<&str>) -> Option<String> {
        if name.eq_ignore_ascii_case("INBOX") {
            return Some("INBOX".into());
        }
        let begins = |prefix: &str| {
            let beginning = name.get(..prefix.len());
            beginning.is_some_and(|beginning| match prefix.get(..5) {
                Some(inbox) if inbox.eq_ignore_ascii_case("INBOX") => beginning.eq_ignore_ascii_case(prefix),
                _ => beginning == prefix,
            })
        };
        if self
            .others
            .iter()
            .any(|prefix| !prefix.is_empty() && begins(prefix))
        {
            return None;
        }
        let prefixes = self.personal.iter().map(|(prefix, _)| prefix.as_str());
        let prefix = prefixes
            .filter(|prefix| begins(prefix))
            .max_by_key(|prefix| prefix.len());
        let rest = name.get(prefix.unwrap_or_default().len()..)?;
        let level = |level: &str| {
            let level = utf7::decode(level).unwrap_or_else(|| level.to_owned());
            level.replace('/', "_")
        };
        let levels: Vec<String> = match delimiter.filter(|delimiter| !delimiter.is_empty()) {
            Some(delimiter) => rest.split(delimiter).map(level).collect(),
            None => vec![level(rest)],
        };
        let here = levels.join("/");
        (!here.is_empty()).then_some(here)
    }
}

/// What a message is known by, what it is brought with, and its flags that cannot be kept.
fn facts(fetched: &Fetched) -> Option<(Fingerprint, Wanted, Vec<String>)> {
    let header = fetched
        .items
        .iter()
        .find(|(name, _)| name.starts_with("BODY[HEADER.FIELDS"))?
        .1
        .bytes()?;
    let (uid, size_bytes) = (fetched.uid()?, fetched.size_bytes()?);
    let received = fetched.item("INTERNALDATE").and_then(|date| date.text());
    let received = received.as_deref().and_then(parse_date_time);
    let (flags, lost) = kept_flags(fetched.flags()?);
    let wanted = Wanted {
        uid,
        size_bytes,
        received_s: received.map(|at| at.as_secs()).unwrap_or_default(),
        flags,
    };
    Some((Fingerprint::of_header(header, Some(size_bytes)), wanted, lost))
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_over_there_become_names_here() {
        let namespaces = Namespaces {
            personal: vec![("INBOX.".into(), Some(".".into()))],
            others: vec!["user.".into(), "shared.".into()],
        };
        for (there, here) in [
            ("inbox", Some("INBOX")),
            ("INBOX.Sent", Some("Sent")),
            ("INBOX.Work.a/b", Some("Work/a_b")),
            ("INBOX.Entw&APw-rfe", Some("Entwürfe")),
            ("user.carol", None),
            ("elsewhere", Some("elsewhere")),
        ] {
            assert_eq!(namespaces.name_here(there, Some(".")).as_deref(), here, "{there}");
        }
        let plain = Namespaces::default();
        assert_eq!(
            plain.name_here("INBOX/Sub", Some("/")).as_deref(),
            Some("INBOX/Sub")
        );
        assert_eq!(plain.name_here("a.b", None).as_deref(), Some("a.b"));
    }
}
