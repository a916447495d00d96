//! Domains, the keys that sign their mail, and what the DNS is to say of them.

use super::{LocalControl, refusal};
use ringpost_admin::{Answer, Command, DnsRecord, Refusal, RefusalKind};
use ringpost_base::ascii_domain;
use ringpost_directory::{DirectoryError, KeyState, SigningKey};
use ringpost_mail::QueueEntry;

impl LocalControl {
    pub(super) async fn domain(&self, command: &Command) -> Result<Answer, Refusal> {
        let told = |error| refusal(command, error);
        let now = self.now();
        match command {
            Command::DomainAdd { name } => {
                self.directory.add_domain(name, now).await.map_err(told)?;
                self.domains_changed.notify_one();
                self.signer.ensure_keys(name, now).await.map_err(told)?;
                self.records(name).await.map_err(told)
            }
            Command::DomainRemove { name } => {
                self.queue_is_without(name).await?;
                self.directory.remove_domain(name).await.map_err(told)?;
                self.domains_changed.notify_one();
                Ok(Answer::Done)
            }
            Command::DomainRecords { name } => {
                self.signer.ensure_keys(name, now).await.map_err(told)?;
                self.records(name).await.map_err(told)
            }
            Command::DomainDkimRotate { name, finish: false } => {
                let is_next = |key: &&SigningKey| key.state == KeyState::Next;
                let mut keys = self.directory.signing_keys(name).await.map_err(told)?;
                // Those that wait may be in the DNS already.
                if !keys.iter().any(|key| is_next(&key)) {
                    self.signer.make_keys(name, now).await.map_err(told)?;
                    keys = self.directory.signing_keys(name).await.map_err(told)?;
                }
                let next = keys.iter().filter(is_next);
                Ok(Answer::Records(next.map(|key| key_record(name, key)).collect()))
            }
            Command::DomainDkimRotate { name, finish: true } => {
                match self.directory.use_next_keys(name, now).await.map_err(told)? {
                    true => self.records(name).await.map_err(told),
                    false => Err(Refusal::new(
                        RefusalKind::Conflict,
                        format!("{name} has no next keys; `ringpost domain dkim rotate {name}` makes them"),
                    )),
                }
            }
            _ => Ok(Answer::Done),
        }
    }

    /// Refuses a domain to which waiting mail would be told of, or goes.
    async fn queue_is_without(&self, name: &str) -> Result<(), Refusal> {
        let domain = ascii_domain(name).unwrap_or_default();
        let entries = self.mail.queue_entries().await;
        let entries = entries.map_err(|e| Refusal::failed(e.to_string()))?;
        let is_of = |entry: &&QueueEntry| {
            let sender = entry.record.sender.rsplit_once('@');
            sender.is_some_and(|(_, of)| of == domain) || entry.record.destination == *domain
        };
        let ids: Vec<String> = entries
            .iter()
            .filter(is_of)
            .map(|entry| format!("{:016x}", entry.record.id))
            .collect();
        let Some(first) = ids.first() else { return Ok(()) };
        let more = match ids.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(Refusal::new(
            RefusalKind::Conflict,
            format!(
                "{domain} is used by mail that waits, {first}{more}; `ringpost queue list` shows it, `ringpost queue retry` has \
                 it tried, `ringpost queue remove` removes it"
            ),
        ))
    }

    async fn records(&self, name: &str) -> Result<Answer, DirectoryError> {
        let keys = self.directory.signing_keys(name).await?;
        let domain = ascii_domain(name).unwrap_or_default().into_owned();
        Ok(Answer::Records(records(
            &domain,
            self.directory.default_domain(),
            &keys,
        )))
    }
}

fn key_record(domain: &str, key: &SigningKey) -> DnsRecord {
    let note = match key.state {
        KeyState::Current => "DKIM: the key that signs",
        KeyState::Next => "DKIM: the next key, for `domain dkim rotate --finish`",
        KeyState::Retired => "DKIM: a retired key; may go a week after it retired",
    };
    record(
        &format!("{}._domainkey.{domain}", key.selector),
        "TXT",
        &key.record(),
        note,
    )
}

fn record(name: &str, kind: &str, data: &str, note: &str) -> DnsRecord {
    DnsRecord {
        name: name.to_owned(),
        kind: kind.to_owned(),
        data: data.to_owned(),
        note: note.to_owned(),
    }
}

/// What the DNS is to say of a domain whose server is `host`, at the usual ports.
fn records(domain: &str, host: &str, keys: &[SigningKey]) -> Vec<DnsRecord> {
    let mut all = vec![
        record(
            domain,
            "MX",
            &format!("10 {host}."),
            "where its mail goes; the host needs A and AAAA records, and a PTR",
        ),
        record(
            domain,
            "TXT",
            "v=spf1 mx ~all",
            "SPF: who sends its mail; add others that do",
        ),
    ];
    all.extend(keys.iter().map(|key| key_record(domain, key)));
    let reports = format!("mailto:postmaster@{domain}");
    all.push(record(
        &format!("_dmarc.{domain}"),
        "TXT",
        &format!("v=DMARC1; p=quarantine; rua={reports}"),
        "DMARC: what to do with what only claims to be its mail; p=reject once reports look well",
    ));
    all.push(record(
        &format!("_smtp._tls.{domain}"),
        "TXT",
        &format!("v=TLSRPTv1; rua={reports}"),
        "reports of others' trouble with TLS",
    ));
    all.push(record(
        &format!("_mta-sts.{domain}"),
        "TXT",
        "v=STSv1; id=1",
        &format!(
            "MTA-STS, once https://mta-sts.{domain}/.well-known/mta-sts.txt says version: STSv1, mode: enforce, mx: {host}, \
             max_age: 604800, a line each; another id with each change"
        ),
    ));
    //= https://www.rfc-editor.org/rfc/rfc6186#section-3.1
    //= https://www.rfc-editor.org/rfc/rfc8314#section-5.1
    //= https://www.rfc-editor.org/rfc/rfc3263#section-4.1
    for (service, port, note) in [
        ("_submissions._tcp", 465, "mail programs send here"),
        ("_submission._tcp", 587, "mail programs send here, with STARTTLS"),
        ("_imaps._tcp", 993, "mail programs read here"),
        ("_imap._tcp", 143, "mail programs read here, with STARTTLS"),
        ("_pop3s._tcp", 995, "mail programs fetch here"),
        ("_sips._tcp", 5061, "calls, under TLS"),
        ("_sip._tcp", 5060, "calls"),
        ("_sip._udp", 5060, "calls"),
    ] {
        let name = format!("{service}.{domain}");
        all.push(record(&name, "SRV", &format!("0 1 {port} {host}."), note));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::tests::control;
    use super::*;
    use ringpost_admin::Control;

    async fn records_of(control: &LocalControl, command: Command) -> Vec<DnsRecord> {
        match control.handle(command).await {
            Ok(Answer::Records(records)) => records,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_domain_is_added_with_keys_that_are_rotated_in_two_steps() {
        let control = control().await;
        let name = "second.test".to_owned();
        let rotate = |finish| Command::DomainDkimRotate {
            name: "second.test".to_owned(),
            finish,
        };
        let keys = |records: &[DnsRecord], note: &str| -> Vec<String> {
            let of = records.iter().filter(|r| r.note.starts_with(note));
            of.map(|r| r.name.clone()).collect()
        };
        let added = records_of(&control, Command::DomainAdd { name: name.clone() }).await;
        assert!(
            added
                .iter()
                .any(|r| r.kind == "MX" && r.data == "10 example.org.")
        );
        let first = keys(&added, "DKIM: the key");
        assert_eq!(first.len(), 2);
        let refused = control.handle(rotate(true)).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Conflict);
        let next = records_of(&control, rotate(false)).await;
        assert_eq!((next.len(), keys(&next, "DKIM: the next").len()), (2, 2));
        // What was printed stays true.
        assert_eq!(records_of(&control, rotate(false)).await, next);
        let finished = records_of(&control, rotate(true)).await;
        assert_eq!(keys(&finished, "DKIM: a retired"), first);
        assert_eq!(keys(&finished, "DKIM: the key"), keys(&next, "DKIM: the next"));
        let again = records_of(&control, Command::DomainRecords { name }).await;
        assert_eq!(again, finished);
        let unknown = Command::DomainRecords {
            name: "unknown.test".to_owned(),
        };
        assert_eq!(
            control.handle(unknown).await.unwrap_err().kind,
            RefusalKind::NotFound
        );
        assert_eq!(
            control.handle(Command::CheckStore).await,
            Ok(Answer::Findings(Vec::new()))
        );
    }

    #[tokio::test]
    async fn a_domain_goes_when_nothing_uses_it_and_what_does_is_named() {
        let control = control().await;
        let name = "second.test".to_owned();
        records_of(&control, Command::DomainAdd { name: name.clone() }).await;
        let remove = || Command::DomainRemove { name: name.clone() };
        let alias = |alias: &str, to: &str| Command::AliasAdd {
            alias: alias.to_owned(),
            targets: vec![to.to_owned(), "x@there.test".to_owned()],
        };
        let account = |address: &str| Command::AccountAdd {
            address: address.to_owned(),
            extension: None,
            password: Some("correct horse".to_owned()),
        };
        for command in [
            account("carol@second.test"),
            account("bob@example.org"),
            alias("team@second.test", "bob@example.org"),
            alias("all@example.org", "carol@second.test"),
            Command::AccountForward {
                address: "bob@example.org".to_owned(),
                to: Some(vec!["carol@second.test".to_owned()]),
                keep_copy: true,
            },
            Command::DomainSet {
                name: "example.org".to_owned(),
                catch_all: Some("carol@second.test".to_owned()),
            },
        ] {
            control.handle(command).await.unwrap();
        }
        let refused = control.handle(remove()).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Conflict);
        for used_by in [
            "the account carol@second.test",
            "the alias team@second.test",
            "the alias all@example.org",
            "the forward of bob@example.org",
            "the catch-all of example.org",
        ] {
            assert!(refused.message.contains(used_by), "{}", refused.message);
        }
        for command in [
            Command::AliasRemove {
                alias: "team@second.test".to_owned(),
                targets: Vec::new(),
            },
            Command::AliasRemove {
                alias: "all@example.org".to_owned(),
                targets: Vec::new(),
            },
            Command::AccountForward {
                address: "bob@example.org".to_owned(),
                to: Some(Vec::new()),
                keep_copy: true,
            },
            Command::AccountRemove {
                address: "carol@second.test".to_owned(),
            },
        ] {
            control.handle(command).await.unwrap();
        }
        assert_eq!(control.handle(remove()).await, Ok(Answer::Done));
        let domains = control.handle(Command::DomainList).await;
        assert_eq!(domains, Ok(Answer::Domains(vec!["example.org".to_owned()])));
        assert_eq!(
            control.handle(remove()).await.unwrap_err().kind,
            RefusalKind::NotFound
        );
        let own = Command::DomainRemove {
            name: "example.org".to_owned(),
        };
        assert_eq!(control.handle(own).await.unwrap_err().kind, RefusalKind::Invalid);
        assert_eq!(
            control.handle(Command::CheckStore).await,
            Ok(Answer::Findings(Vec::new()))
        );
        // It may come again, with other keys.
        records_of(&control, Command::DomainAdd { name: name.clone() }).await;
    }
}
