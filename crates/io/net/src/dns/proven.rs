//! What mail asks of the DNS beside addresses, and what of it DNSSEC proves (RFC 4035).
//!
//! Proofs are our own: a second resolver asks the same servers for signatures and follows them from the root's keys, so that
//! nobody between has to be trusted. Where the servers give no signatures, which the root's own show, nothing is proven.

use super::{Resolver, exchanger};
use crate::tls::Tlsa;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use ringpost_base::limits;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tracing::{debug, info};

/// How long servers that gave no signatures are taken for such.
const WITHOUT_PROOF: Duration = Duration::from_secs(600);

/// The keys that proofs begin with.
#[derive(Clone)]
pub struct Anchors(pub(super) Arc<TrustAnchors>);

/// Why there are no anchors.
#[derive(Debug, Error)]
#[error("{path}: expected DNSKEY records, like \". 172800 IN DNSKEY 257 3 13 …\": {reason}")]
pub struct AnchorsError {
    path: PathBuf,
    reason: String,
}

impl Anchors {
    /// Those of a file of DNSKEY records; the root's of the Internet where none is named.
    ///
    /// # Errors
    /// When the file cannot be read, or has none.
    pub fn load(file: Option<&Path>) -> Result<Anchors, AnchorsError> {
        let Some(path) = file else {
            return Ok(Anchors(Arc::new(TrustAnchors::default())));
        };
        let wrong = |reason: String| AnchorsError {
            path: path.to_owned(),
            reason,
        };
        let anchors = TrustAnchors::from_file(path).map_err(|e| wrong(e.to_string()))?;
        match anchors.is_empty() {
            true => Err(wrong("there is none".to_owned())),
            false => Ok(Anchors(Arc::new(anchors))),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// None was to be had within the time.
    Silent,
    /// One came whose proof fails.
    Bogus,
}

/// The servers that take a domain's mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchangers {
    /// Each with its preference, and its name without the dot at its end; an empty name is that of a domain that takes no
    /// mail (RFC 7505).
    pub servers: Vec<(u16, String)>,
    /// Whether that is proven.
    pub proven: bool,
}

impl Resolver {
    /// The servers that take a domain's mail, proven where the domain is signed and the servers give proofs.
    ///
    /// # Errors
    /// When there is no answer within five seconds, or one that is forged or broken.
    pub async fn exchangers(&self, domain: &str) -> Result<Exchangers, NoAnswer> {
        let found = self
            .records(domain, RecordType::MX, self.gives_proofs().await)
            .await?;
        let data = found.iter().map(|record| &record.data);
        Ok(Exchangers {
            servers: data.filter_map(exchanger).take(limits::DNS_RECORDS).collect(),
            proven: is_proven(&found),
        })
    }

    /// The TLSA records of a mail server at port 25 that can be used, where they are proven, and its addresses are; `None`
    /// where there are none, or nothing is proven.
    ///
    /// # Errors
    /// When there is no answer, or a proof fails: then it is not known whether there are any.
    //= https://www.rfc-editor.org/rfc/rfc7672#section-2.2
    pub async fn tlsa(&self, host: &str) -> Result<Option<Vec<Tlsa>>, NoAnswer> {
        if !self.gives_proofs().await {
            return Ok(None);
        }
        let mut addresses = self.records(host, RecordType::A, true).await?;
        if addresses.is_empty() {
            addresses = self.records(host, RecordType::AAAA, true).await?;
        }
        if !is_proven(&addresses) {
            return Ok(None);
        }
        let name = format!("_25._tcp.{host}");
        let found = self.records(&name, RecordType::TLSA, true).await?;
        if !is_proven(&found) {
            return Ok(None);
        }
        let records = found.iter().filter_map(|record| match &record.data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        });
        let usable = records.filter(Tlsa::is_usable);
        Ok(Some(usable.take(limits::DNS_RECORDS).collect()))
    }

    /// Whether the servers that we ask give signatures.
    async fn gives_proofs(&self) -> bool {
        if !self.may_prove() {
            return false;
        }
        let mut known = self.gives_proofs.lock().await;
        match *known {
            Some((_, true)) => return true,
            Some((since, false)) if since.elapsed() < WITHOUT_PROOF => return false,
            _ => {}
        }
        let root = self.records("", RecordType::SOA, true).await;
        let gives = root.is_ok_and(|records| is_proven(&records));
        if !gives {
            info!("the DNS servers give no proofs of DNSSEC: mail servers are not held to DANE");
        }
        *known = Some((Instant::now(), gives));
        gives
    }

    async fn records(&self, name: &str, kind: RecordType, proven: bool) -> Result<Vec<Record>, NoAnswer> {
        let whole = format!("{}.", name.trim_end_matches('.'));
        let asked = format!("{kind} {whole}");
        let ask = async |resolver: TokioResolver| {
            Some(match resolver.lookup(whole, kind).await {
                Ok(found) => {
                    let of_kind = found
                        .answers()
                        .iter()
                        .filter(|record| record.record_type() == kind);
                    Ok(of_kind.cloned().collect())
                }
                Err(NetError::Dns(DnsError::DnssecBogus)) => Err(NoAnswer::Bogus),
                // That there is nothing is an answer, which is proven or needs no proof here.
                Err(NetError::Dns(DnsError::Nsec { .. })) => Ok(Vec::new()),
                Err(error) if error.is_no_records_found() => Ok(Vec::new()),
                Err(error) => {
                    debug!(%name, %kind, %error, "no answer from the DNS");
                    Err(NoAnswer::Silent)
                }
            })
        };
        self.within_limits(&asked, proven, ask)
            .await
            .unwrap_or(Err(NoAnswer::Silent))
    }
}

fn is_proven(records: &[Record]) -> bool {
    !records.is_empty() && records.iter().all(|record| record.proof.is_secure())
}
