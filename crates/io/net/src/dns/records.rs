//! Look-ups that tell what is not there from what cannot be told, as the checks of mail's senders need it.

use super::{Resolver, exchanger};
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use ringpost_base::limits;
use std::net::IpAddr;

/// What the DNS says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records<T> {
    /// These, one at least and [`limits::DNS_RECORDS`] at most.
    Found(Vec<T>),
    /// There is no such name, or nothing of that kind at it.
    Nothing,
    /// No answer could be had within five seconds, or [`limits::DNS_LOOKUPS`] are under way.
    Failed,
}

impl Resolver {
    /// The TXT records of a name, the strings of each joined.
    pub async fn texts(&self, name: &str) -> Records<Vec<u8>> {
        self.seek(parse(name), RecordType::TXT, |data| match data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        })
        .await
    }

    /// The addresses of a host: AAAA records with `v6`, A records without.
    pub async fn host_addresses(&self, host: &str, v6: bool) -> Records<IpAddr> {
        let kind = if v6 { RecordType::AAAA } else { RecordType::A };
        self.seek(parse(host), kind, |data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .await
    }

    /// The hosts of a domain's MX records, the preferred first.
    pub async fn mail_hosts(&self, domain: &str) -> Records<String> {
        let found = self.seek(parse(domain), RecordType::MX, exchanger).await;
        match found {
            Records::Found(mut hosts) => {
                hosts.sort();
                Records::Found(hosts.into_iter().map(|(_, host)| host).collect())
            }
            Records::Nothing => Records::Nothing,
            Records::Failed => Records::Failed,
        }
    }

    /// The names of an address, without the dot at their end.
    pub async fn pointers(&self, address: IpAddr) -> Records<String> {
        self.seek(Some(address.into()), RecordType::PTR, |data| match data {
            RData::PTR(name) => Some(name.0.to_ascii().trim_end_matches('.').to_owned()),
            _ => None,
        })
        .await
    }

    async fn seek<T>(
        &self,
        name: Option<Name>,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Records<T> {
        // What cannot be a name does not exist.
        let Some(name) = name else {
            return Records::Nothing;
        };
        let question = format!("{kind} {name}");
        let found = self
            .within_limits(&question, false, async |resolver: TokioResolver| {
                match resolver.lookup(name, kind).await {
                    Ok(found) => {
                        let data = found.answers().iter().map(|record| &record.data);
                        Some(data.filter_map(&read).take(limits::DNS_RECORDS).collect())
                    }
                    Err(error) if error.is_no_records_found() => Some(Vec::new()),
                    Err(error) => {
                        tracing::debug!(%question, %error, "no answer from the DNS");
                        None
                    }
                }
            })
            .await;
        match found {
            Some(found) if found.is_empty() => Records::Nothing,
            Some(found) => Records::Found(found),
            None => Records::Failed,
        }
    }
}

/// A whole name: in ASCII any bytes may be in its labels, otherwise it is written as IDNA has it.
fn parse(name: &str) -> Option<Name> {
    let name = name.trim_end_matches('.');
    match name.is_ascii() {
        true => Name::from_labels(name.split('.').map(str::as_bytes)).ok(),
        false => Name::from_utf8(format!("{name}.")).ok(),
    }
}
