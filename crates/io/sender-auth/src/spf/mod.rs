//! SPF (RFC 7208): may this address send mail in that domain's name?

mod expand;
mod record;
#[cfg(test)]
mod tests;

use crate::names::{Answer, Asker, is_name, is_within};
use expand::{Expansion, expand};
use futures_util::future::BoxFuture;
use record::{Cidr, Directive, Mechanism, Qualifier, Record};
use std::fmt;
use std::net::IpAddr;

/// What a check came to (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfResult {
    /// The domain says nothing, or there is none.
    None,
    /// The domain says that it does not say.
    Neutral,
    /// The address may.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The DNS could not be asked.
    TempError,
    /// The domain's records cannot be read, or want too many look-ups.
    PermError,
}

impl SpfResult {
    /// As RFC 8601 writes it.
    pub fn name(self) -> &'static str {
        match self {
            SpfResult::None => "none",
            SpfResult::Neutral => "neutral",
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
        }
    }
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Terms of a check that ask the DNS.
//= https://www.rfc-editor.org/rfc/rfc7208#section-4.6.4
const TERMS: u32 = 10;
/// Look-ups of a check that find nothing.
const VOIDS: u32 = 2;
/// Hosts of one `mx`, and names of one `ptr`.
const HOSTS: usize = 10;
/// Records that lead to one another by `include`: as many as terms.
const DEPTH: u32 = 11;

/// What is checked.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// Who is connected.
    pub(crate) address: IpAddr,
    /// What it called itself.
    pub(crate) helo: String,
    /// The sender's local part.
    pub(crate) local: String,
    /// The sender's domain: where the check begins.
    pub(crate) domain: String,
}

impl Query {
    /// Of a message's sender; of the null sender, what the client called itself.
    pub(crate) fn new(address: IpAddr, helo: &str, sender: Option<(&str, &str)>) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc7208#section-2.4
        let (local, domain) = sender.unwrap_or(("", helo));
        //= https://www.rfc-editor.org/rfc/rfc7208#section-4.3
        let local = if local.is_empty() { "postmaster" } else { local };
        Query {
            //= https://www.rfc-editor.org/rfc/rfc7208#section-5
            address: address.to_canonical(),
            helo: helo.to_owned(),
            local: local.to_owned(),
            domain: domain.to_owned(),
        }
    }
}

/// Does the check that RFC 7208 §4 calls `check_host`.
pub(crate) async fn check(asker: &Asker, query: &Query) -> SpfResult {
    let domain = query.domain.strip_suffix('.').unwrap_or(&query.domain);
    //= https://www.rfc-editor.org/rfc/rfc7208#section-4.3
    if !is_name(domain) || !domain.contains('.') {
        return SpfResult::None;
    }
    let mut check = Check {
        asker,
        query,
        terms: 0,
        voids: 0,
        validated: None,
    };
    match check.host(domain.to_owned(), 0).await {
        Ok(result) | Err(Stop(result)) => result,
    }
}

/// The check ends here, with this.
struct Stop(SpfResult);

struct Check<'a> {
    asker: &'a Asker,
    query: &'a Query,
    terms: u32,
    voids: u32,
    /// The names that the address's PTR records give it and that lead to it, once they were asked for.
    validated: Option<Vec<String>>,
}

impl Check<'_> {
    fn host(&mut self, domain: String, depth: u32) -> BoxFuture<'_, Result<SpfResult, Stop>> {
        Box::pin(async move {
            //= https://www.rfc-editor.org/rfc/rfc7208#section-5.2
            if depth > DEPTH {
                return Err(Stop(SpfResult::PermError));
            }
            let mut domain = domain;
            let Some(mut record) = self.record(&domain).await? else {
                return Ok(SpfResult::None);
            };
            loop {
                for directive in &record.directives {
                    if self.matches(directive, &domain, depth).await? {
                        return Ok(match directive.qualifier {
                            Qualifier::Pass => SpfResult::Pass,
                            Qualifier::Fail => SpfResult::Fail,
                            Qualifier::SoftFail => SpfResult::SoftFail,
                            Qualifier::Neutral => SpfResult::Neutral,
                        });
                    }
                }
                //= https://www.rfc-editor.org/rfc/rfc7208#section-4.7
                let Some(redirect) = &record.redirect else {
                    return Ok(SpfResult::Neutral);
                };
                //= https://www.rfc-editor.org/rfc/rfc7208#section-6.1
                self.term()?;
                domain = self.target(redirect, &domain).await;
                let next = self.record(&domain).await?;
                record = next.ok_or(Stop(SpfResult::PermError))?;
            }
        })
    }

    /// The domain's one record.
    async fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.asker.texts(domain).await {
            Answer::Found(texts) => texts,
            Answer::Nothing => return Ok(None),
            //= https://www.rfc-editor.org/rfc/rfc7208#section-4.4
            Answer::Failed => return Err(Stop(SpfResult::TempError)),
        };
        //= https://www.rfc-editor.org/rfc/rfc7208#section-4.5
        let mut records = texts.iter().filter(|text| Record::is_one(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(text), None) => Record::parse(text).map(Some).ok_or(Stop(SpfResult::PermError)),
            (Some(_), Some(_)) => Err(Stop(SpfResult::PermError)),
        }
    }

    fn term(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        match self.terms > TERMS {
            true => Err(Stop(SpfResult::PermError)),
            false => Ok(()),
        }
    }

    fn void(&mut self) -> Result<(), Stop> {
        self.voids += 1;
        match self.voids > VOIDS {
            true => Err(Stop(SpfResult::PermError)),
            false => Ok(()),
        }
    }

    async fn matches(&mut self, directive: &Directive, domain: &str, depth: u32) -> Result<bool, Stop> {
        match &directive.mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(cidr, network) => Ok(cidr.covers(*network, self.query.address)),
            Mechanism::Include(spec) => {
                self.term()?;
                let target = self.target(spec, domain).await;
                //= https://www.rfc-editor.org/rfc/rfc7208#section-5.2
                match self.host(target, depth + 1).await? {
                    SpfResult::Pass => Ok(true),
                    SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
                    SpfResult::TempError => Err(Stop(SpfResult::TempError)),
                    SpfResult::PermError | SpfResult::None => Err(Stop(SpfResult::PermError)),
                }
            }
            Mechanism::A(spec, cidr) => {
                self.term()?;
                let target = self.target_or(spec.as_ref(), domain).await;
                let v6 = self.query.address.is_ipv6();
                self.is_at(&target, v6, cidr, true).await
            }
            Mechanism::Mx(spec, cidr) => {
                self.term()?;
                let target = self.target_or(spec.as_ref(), domain).await;
                self.is_exchanger(&target, cidr).await
            }
            //= https://www.rfc-editor.org/rfc/rfc7208#section-5.7
            Mechanism::Exists(spec) => {
                self.term()?;
                let target = self.target(spec, domain).await;
                match self.asker.addresses(&target, false).await {
                    Answer::Found(_) => Ok(true),
                    Answer::Nothing => self.void().map(|()| false),
                    Answer::Failed => Err(Stop(SpfResult::TempError)),
                }
            }
            Mechanism::Ptr(spec) => {
                self.term()?;
                let target = self.target_or(spec.as_ref(), domain).await;
                let names = self.validated().await;
                Ok(names.iter().any(|name| is_within(name, &target)))
            }
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc7208#section-5.3
    async fn is_at(&mut self, host: &str, v6: bool, cidr: &Cidr, counts: bool) -> Result<bool, Stop> {
        match self.asker.addresses(host, v6).await {
            Answer::Found(found) => Ok(found.iter().any(|at| cidr.covers(*at, self.query.address))),
            Answer::Nothing if counts => self.void().map(|()| false),
            Answer::Nothing => Ok(false),
            Answer::Failed => Err(Stop(SpfResult::TempError)),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc7208#section-5.4
    async fn is_exchanger(&mut self, domain: &str, cidr: &Cidr) -> Result<bool, Stop> {
        let hosts = match self.asker.exchangers(domain).await {
            Answer::Found(hosts) => hosts,
            Answer::Nothing => return self.void().map(|()| false),
            Answer::Failed => return Err(Stop(SpfResult::TempError)),
        };
        let v6 = self.query.address.is_ipv6();
        for (n, host) in hosts.iter().enumerate() {
            if n == HOSTS {
                return Err(Stop(SpfResult::PermError));
            }
            if self.is_at(host, v6, cidr, false).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The names of the address that lead back to it. What the DNS cannot tell is none.
    //= https://www.rfc-editor.org/rfc/rfc7208#section-5.5
    async fn validated(&mut self) -> &[String] {
        if self.validated.is_none() {
            let mut good = Vec::new();
            if let Answer::Found(names) = self.asker.pointers(self.query.address).await {
                for name in names.into_iter().take(HOSTS) {
                    let v6 = self.query.address.is_ipv6();
                    if let Answer::Found(found) = self.asker.addresses(&name, v6).await
                        && found.contains(&self.query.address)
                    {
                        good.push(name.trim_end_matches('.').to_owned());
                    }
                }
            }
            self.validated = Some(good);
        }
        self.validated.as_deref().unwrap_or_default()
    }

    async fn target_or(&mut self, spec: Option<&expand::Spec>, domain: &str) -> String {
        match spec {
            Some(spec) => self.target(spec, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn target(&mut self, spec: &expand::Spec, domain: &str) -> String {
        let validated = match spec.wants_validated_name() {
            //= https://www.rfc-editor.org/rfc/rfc7208#section-7.3
            true => {
                let names = self.validated().await;
                let best = |wanted: &dyn Fn(&String) -> bool| names.iter().find(|name| wanted(name));
                best(&|name| name.eq_ignore_ascii_case(domain))
                    .or_else(|| best(&|name| is_within(name, domain)))
                    .or_else(|| names.first())
                    .cloned()
            }
            false => None,
        };
        let of = Expansion {
            query: self.query,
            domain,
            validated: validated.as_deref().unwrap_or("unknown"),
        };
        expand(spec, &of)
    }
}
