//! DMARC (RFC 7489): is the author's domain the one that SPF or DKIM proved, and what does it want done if not?
//!
//! The organizational domain is found in the DNS alone: the shortest domain above the author's that has a record, as the
//! successor of RFC 7489 does it, so that no list of public suffixes has to be kept up to date.

use crate::dkim::verify::{Checked, DkimResult};
use crate::names::{Answer, Asker, is_name};
use crate::spf::SpfResult;
use crate::tags::Tags;
use std::collections::BTreeMap;
use std::fmt;

/// What a domain wants done with mail that only claims to be its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing.
    None,
    /// To be treated as suspicious.
    Quarantine,
    /// To be refused.
    Reject,
}

impl Policy {
    fn parse(text: &str) -> Option<Policy> {
        match &*text.to_ascii_lowercase() {
            "none" => Some(Policy::None),
            "quarantine" => Some(Policy::Quarantine),
            "reject" => Some(Policy::Reject),
            _ => None,
        }
    }

    /// The next milder one.
    fn milder(self) -> Policy {
        match self {
            Policy::Reject => Policy::Quarantine,
            Policy::Quarantine | Policy::None => Policy::None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        })
    }
}

/// What a check came to (RFC 7489 §11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmarcResult {
    /// The domain has no policy.
    None,
    /// SPF or DKIM proved the domain.
    Pass,
    /// Neither did.
    Fail,
    /// The DNS could not be asked.
    TempError,
    /// There is no author's domain to ask about.
    PermError,
}

impl fmt::Display for DmarcResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DmarcResult::None => "none",
            DmarcResult::Pass => "pass",
            DmarcResult::Fail => "fail",
            DmarcResult::TempError => "temperror",
            DmarcResult::PermError => "permerror",
        })
    }
}

/// A message held against its author's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// What it came to.
    pub result: DmarcResult,
    /// What the domain wants done, if it failed.
    pub policy: Policy,
    /// Whether SPF or DKIM proved the author's domain, policy or none.
    pub is_aligned: bool,
}

impl Alignment {
    fn of(result: DmarcResult) -> Self {
        Alignment {
            result,
            policy: Policy::None,
            is_aligned: result == DmarcResult::Pass,
        }
    }
}

/// A policy record, read.
//= https://www.rfc-editor.org/rfc/rfc7489#section-6.3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    policy: Policy,
    subdomains: Policy,
    strict_dkim: bool,
    strict_spf: bool,
    percent: u32,
    is_test: bool,
    /// Whether the domain is one under which others register theirs: `psd=y` or `psd=n`.
    public_suffix: Option<bool>,
}

impl Record {
    fn parse(text: &str) -> Option<Record> {
        let tags = Tags::parse(text)?;
        if tags.first() != Some(("v", "DMARC1")) {
            return None;
        }
        //= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.3
        // Where the policy cannot be read, and reports are asked for, it is that of a domain that only watches.
        let policy = match tags.value("p").and_then(Policy::parse) {
            Some(policy) => policy,
            None if tags.value("rua").is_some() => Policy::None,
            None => return None,
        };
        let is = |tag: &str, letter: &str| tags.value(tag).is_some_and(|v| v.eq_ignore_ascii_case(letter));
        Some(Record {
            policy,
            subdomains: tags.value("sp").and_then(Policy::parse).unwrap_or(policy),
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            percent: tags.value("pct").and_then(|pct| pct.parse().ok()).unwrap_or(100),
            is_test: is("t", "y"),
            public_suffix: match (is("psd", "y"), is("psd", "n")) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
        })
    }
}

/// Domains above a domain that are asked for a record.
const STEPS: usize = 8;

/// What is known of policies while one message is looked at.
struct Policies<'a> {
    asker: &'a Asker,
    known: BTreeMap<String, Answer<Record>>,
}

impl Policies<'_> {
    async fn at(&mut self, domain: &str) -> Answer<Record> {
        if let Some(known) = self.known.get(domain) {
            return known.clone();
        }
        let answer = match self.asker.texts(&format!("_dmarc.{domain}")).await {
            Answer::Found(texts) => {
                let read = texts.iter().filter_map(|text| std::str::from_utf8(text).ok());
                let mut records = read.filter_map(Record::parse);
                //= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.3
                match (records.next(), records.next()) {
                    (Some(record), None) => Answer::Found(vec![record]),
                    _ => Answer::Nothing,
                }
            }
            Answer::Nothing => Answer::Nothing,
            Answer::Failed => Answer::Failed,
        };
        self.known.insert(domain.to_owned(), answer.clone());
        answer
    }

    /// The organizational domain, with its record if it has one; `Err` when the DNS failed.
    async fn organization(&mut self, domain: &str) -> Result<(String, Option<Record>), ()> {
        let mut best = (domain.to_owned(), None);
        let mut below = domain.to_owned();
        for name in walk(domain) {
            match self.at(&name).await {
                Answer::Found(records) => {
                    let record = records.into_iter().next();
                    match record.and_then(|record| record.public_suffix) {
                        Some(false) => return Ok((name, record)),
                        Some(true) if name != domain => {
                            let record = self.found(&below).await?;
                            return Ok((below, record));
                        }
                        _ => best = (name.clone(), record),
                    }
                }
                Answer::Nothing => {}
                Answer::Failed => return Err(()),
            }
            below = name;
        }
        Ok(best)
    }

    async fn found(&mut self, domain: &str) -> Result<Option<Record>, ()> {
        match self.at(domain).await {
            Answer::Found(records) => Ok(records.into_iter().next()),
            Answer::Nothing => Ok(None),
            Answer::Failed => Err(()),
        }
    }
}

/// The domain and those above it, eight at most: of a long one those in between are left out. The top-level domain is
/// none that anybody's mail is of.
fn walk(domain: &str) -> Vec<String> {
    let labels: Vec<&str> = domain.split('.').collect();
    let mut names = vec![domain.to_owned()];
    let from = 1.max(labels.len().saturating_sub(STEPS - 1));
    names.extend((from..labels.len()).map(|at| labels[at..].join(".")));
    names
}

/// Holds a message against the domain of its author. `sampled` is a number below 100 that decides on `pct`.
//= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.2
pub(crate) async fn check(
    asker: &Asker,
    authors: Option<&[String]>,
    spf: (SpfResult, &str),
    dkim: &[Checked],
    sampled: u32,
) -> Alignment {
    //= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.1
    let Some([author]) = authors else {
        return Alignment::of(DmarcResult::PermError);
    };
    let author = author.trim_end_matches('.');
    if !is_name(author) || !author.contains('.') {
        return Alignment::of(DmarcResult::PermError);
    }
    let mut policies = Policies {
        asker,
        known: BTreeMap::new(),
    };
    let organization = policies.organization(author).await;
    let Ok(own) = policies.found(author).await else {
        return Alignment::of(DmarcResult::TempError);
    };
    // The author's own record holds, whatever those above it would say.
    //= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.3
    let (record, is_own) = match (own, &organization) {
        (Some(own), _) => (Some(own), true),
        (None, Ok((_, above))) => (*above, false),
        (None, Err(())) => return Alignment::of(DmarcResult::TempError),
    };
    let (strict_dkim, strict_spf) = record.map_or((false, false), |r| (r.strict_dkim, r.strict_spf));
    //= https://www.rfc-editor.org/rfc/rfc7489#section-3.1
    let mut proofs: Vec<(&str, bool)> = Vec::new();
    if spf.0 == SpfResult::Pass {
        proofs.push((spf.1, strict_spf));
    }
    let passed = dkim.iter().filter(|one| one.result == DkimResult::Pass);
    proofs.extend(passed.map(|one| (&*one.domain, strict_dkim)));
    let top = walk(author).pop();
    let mut failed = false;
    let mut is_aligned = false;
    for (proven, strict) in proofs {
        let proven = proven.trim_end_matches('.').to_ascii_lowercase();
        is_aligned |= proven == author;
        if is_aligned {
            break;
        }
        if strict {
            continue;
        }
        // Only what shares an end can be of the same organization.
        match &organization {
            Ok((ours, _)) if crate::names::is_within(&proven, ours) => {
                match policies.organization(&proven).await {
                    Ok((theirs, _)) => is_aligned |= theirs == *ours,
                    Err(()) => failed = true,
                }
            }
            Ok(_) => {}
            Err(()) => {
                failed |= top
                    .as_ref()
                    .is_some_and(|top| crate::names::is_within(&proven, top))
            }
        }
        if is_aligned {
            break;
        }
    }
    let undecided =
        failed || spf.0 == SpfResult::TempError || dkim.iter().any(|one| one.result == DkimResult::TempError);
    let result = match record {
        None => DmarcResult::None,
        Some(_) if is_aligned => DmarcResult::Pass,
        Some(_) if undecided => DmarcResult::TempError,
        Some(_) => DmarcResult::Fail,
    };
    Alignment {
        result,
        policy: record.map_or(Policy::None, |record| wanted(&record, is_own, sampled)),
        is_aligned,
    }
}

fn wanted(record: &Record, is_own: bool, sampled: u32) -> Policy {
    let policy = if is_own { record.policy } else { record.subdomains };
    //= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.4
    match record.is_test || sampled >= record.percent {
        true => policy.milder(),
        false => policy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Table;
    use std::sync::Arc;

    fn signed(domain: &str, result: DkimResult) -> Checked {
        Checked {
            result,
            why: "",
            domain: domain.to_owned(),
            selector: "s".to_owned(),
            algorithm: "rsa-sha256",
            prefix: String::new(),
        }
    }

    async fn hold(table: &Table, author: &str, spf: (SpfResult, &str), dkim: &[Checked]) -> Alignment {
        let asker = Asker::new(Arc::new(table.clone()));
        check(&asker, Some(&[author.to_owned()]), spf, dkim, 0).await
    }

    const NO_SPF: (SpfResult, &str) = (SpfResult::None, "");

    #[tokio::test]
    async fn a_proof_of_the_same_organization_is_enough_unless_the_record_is_strict() {
        let mut table = Table::default();
        table
            .txt("_dmarc.example.org", "v=DMARC1; p=reject; sp=quarantine")
            .txt("_dmarc.strict.test", "v=DMARC1; p=reject; adkim=s; aspf=s");
        let pass = SpfResult::Pass;
        for (author, spf, dkim, expected) in [
            ("example.org", NO_SPF, "", DmarcResult::Fail),
            ("example.org", (pass, "example.org"), "", DmarcResult::Pass),
            ("example.org", (pass, "bounce.example.org"), "", DmarcResult::Pass),
            ("example.org", (pass, "badexample.org"), "", DmarcResult::Fail),
            ("example.org", (pass, "org"), "", DmarcResult::Fail),
            (
                "example.org",
                (SpfResult::SoftFail, "example.org"),
                "",
                DmarcResult::Fail,
            ),
            ("news.example.org", NO_SPF, "example.org", DmarcResult::Pass),
            ("news.example.org", NO_SPF, "Other.example.org", DmarcResult::Pass),
            (
                "strict.test",
                (pass, "a.strict.test"),
                "a.strict.test",
                DmarcResult::Fail,
            ),
            ("strict.test", NO_SPF, "strict.test", DmarcResult::Pass),
            ("nothing.test", NO_SPF, "", DmarcResult::None),
        ] {
            let dkim = signed(dkim, DkimResult::Pass);
            let held = hold(&table, author, spf, std::slice::from_ref(&dkim)).await;
            assert_eq!(held.result, expected, "{author} {spf:?} {}", dkim.domain);
        }
        let held = hold(&table, "news.example.org", NO_SPF, &[]).await;
        assert_eq!(held.policy, Policy::Quarantine);
        let held = hold(
            &table,
            "example.org",
            NO_SPF,
            &[signed("example.org", DkimResult::Fail)],
        )
        .await;
        assert_eq!((held.result, held.policy), (DmarcResult::Fail, Policy::Reject));
    }

    #[tokio::test]
    async fn those_below_a_public_suffix_are_strangers() {
        let mut table = Table::default();
        table
            .txt("_dmarc.host.test", "v=DMARC1; p=none; psd=y")
            .txt("_dmarc.a.host.test", "v=DMARC1; p=reject");
        let pass = SpfResult::Pass;
        assert_eq!(
            hold(&table, "a.host.test", (pass, "b.host.test"), &[])
                .await
                .result,
            DmarcResult::Fail
        );
        assert_eq!(
            hold(&table, "x.a.host.test", (pass, "a.host.test"), &[])
                .await
                .result,
            DmarcResult::Pass
        );
    }

    #[tokio::test]
    async fn what_cannot_be_known_now_fails_nobody() {
        let mut table = Table::default();
        table.txt("_dmarc.example.org", "v=DMARC1; p=reject");
        let late = signed("example.org", DkimResult::TempError);
        assert_eq!(
            hold(&table, "example.org", NO_SPF, &[late]).await.result,
            DmarcResult::TempError
        );
        table.fail("_dmarc.down.test");
        assert_eq!(
            hold(&table, "down.test", NO_SPF, &[]).await.result,
            DmarcResult::TempError
        );
        // What stands above the author's own record matters to a proof that may be of the same organization, and to no other.
        table
            .txt("_dmarc.spffail.x.test", "v=DMARC1; p=reject")
            .fail("_dmarc.test");
        for (spf, expected) in [
            ((SpfResult::Fail, "spffail.x.test"), DmarcResult::Fail),
            ((SpfResult::Pass, "else.example"), DmarcResult::Fail),
            ((SpfResult::Pass, "spffail.x.test"), DmarcResult::Pass),
            ((SpfResult::Pass, "x.test"), DmarcResult::TempError),
            ((SpfResult::TempError, "spffail.x.test"), DmarcResult::TempError),
        ] {
            let held = hold(&table, "spffail.x.test", spf, &[]).await;
            assert_eq!((held.result, held.policy), (expected, Policy::Reject), "{spf:?}");
        }
        assert_eq!(
            hold(&table, "y.test", NO_SPF, &[]).await.result,
            DmarcResult::TempError,
            "a policy may stand above it"
        );
        let asker = Asker::new(Arc::new(table));
        let two = ["example.org".to_owned(), "b.test".to_owned()];
        let held = check(&asker, Some(&two), NO_SPF, &[], 0).await;
        assert_eq!(held.result, DmarcResult::PermError);
    }

    #[test]
    fn a_record_asks_for_a_part_only_or_is_trying_out() {
        let of = |text| Record::parse(text);
        let half = of("v=DMARC1; p=reject; pct=50").unwrap();
        assert_eq!(
            (wanted(&half, true, 49), wanted(&half, true, 50)),
            (Policy::Reject, Policy::Quarantine)
        );
        let test = of("v=DMARC1; p=quarantine; t=y").unwrap();
        assert_eq!(wanted(&test, true, 0), Policy::None);
        assert_eq!(
            of("v=DMARC1; p=what; rua=mailto:x@y").unwrap().policy,
            Policy::None
        );
        for bad in [
            "v=DMARC1",
            "p=none; v=DMARC1",
            "v=DMARC2; p=none",
            "v=DMARC1; p=what",
            "spf",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(walk("a.b.c.d.e.f.g.h.i.j").len(), STEPS);
        assert_eq!(walk("example.org"), ["example.org", "org"]);
    }
}
