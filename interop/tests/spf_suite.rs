//! The SPF test suite of the RFC's authors, as pyspf's source package brings it, against our check. Its zones hold what
//! no DNS server would serve, so that the check asks a table.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use futures_util::future::{BoxFuture, ready};
use ringpost_interop::{run, skip};
use ringpost_sender_auth::{Answer, Names, check_spf};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

struct Zone(BTreeMap<String, Vec<(String, String)>>);

impl Zone {
    fn of(scenario: &Value) -> Zone {
        let names = scenario["zone"].as_object().unwrap().iter();
        Zone(
            names
                .map(|(name, records)| {
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    let records = records.as_array().unwrap().iter();
                    (
                        name.clone(),
                        records.map(|r| (text(&r[0]), text(&r[1]))).collect(),
                    )
                })
                .collect(),
        )
    }

    fn found(&self, name: &str, kind: &str, is_alias: bool) -> Answer<String> {
        let Some(records) = self.0.get(&name.to_lowercase()) else {
            return match name.starts_with("error.") {
                true => Answer::Failed,
                false => Answer::Nothing,
            };
        };
        let mut found = Vec::new();
        let mut fails = true;
        for (of, value) in records {
            match &**of {
                "TIMEOUT" if fails => return Answer::Failed,
                "TIMEOUT" => break,
                of if of == kind && value == "TIMEOUT" => return Answer::Failed,
                of if of == kind => {
                    fails = false;
                    found.push(value.clone());
                }
                "CNAME" if !is_alias => return self.found(value, kind, true),
                _ => {}
            }
        }
        match found.is_empty() {
            true => Answer::Nothing,
            false => Answer::Found(found),
        }
    }

    fn answer<T: Send + 'static>(
        &self,
        name: &str,
        kind: &str,
        read: impl Fn(String) -> T,
    ) -> BoxFuture<'static, Answer<T>> {
        Box::pin(ready(match self.found(name, kind, false) {
            Answer::Found(found) => Answer::Found(found.into_iter().map(read).collect()),
            Answer::Nothing => Answer::Nothing,
            Answer::Failed => Answer::Failed,
        }))
    }
}

impl Names for Zone {
    fn texts(&self, name: &str) -> BoxFuture<'static, Answer<Vec<u8>>> {
        self.answer(name, "TXT", String::into_bytes)
    }

    fn addresses(&self, host: &str, v6: bool) -> BoxFuture<'static, Answer<IpAddr>> {
        let kind = if v6 { "AAAA" } else { "A" };
        self.answer(host, kind, |address| address.parse().unwrap())
    }

    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Answer<String>> {
        let host = |text: String| text.split_once(' ').unwrap().1.to_owned();
        self.answer(domain, "MX", host)
    }

    fn pointers(&self, address: IpAddr) -> BoxFuture<'static, Answer<String>> {
        let name = match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(address) => {
                let nibbles: String = address
                    .octets()
                    .iter()
                    .rev()
                    .map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4))
                    .collect();
                format!("{nibbles}ip6.arpa")
            }
        };
        self.answer(&name, "PTR", |name| name)
    }
}

#[test]
fn every_scenario_of_the_suite_comes_out_as_it_says() {
    // Debian's own, for which its packages are.
    let python = Path::new("/usr/bin/python3");
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/spf_suite.py");
    let read = run(folder.path(), "suite", Command::new(python).arg(script), LIMIT);
    if !read.succeeded() {
        skip(format_args!(
            "pyspf's source package cannot be had: {}",
            read.output
        ));
        return;
    }
    let mut tests = 0;
    let mut wrong = Vec::new();
    for line in read.output.lines().filter(|line| line.starts_with('{')) {
        let scenario: Value = serde_json::from_str(line).unwrap();
        let zone = Arc::new(Zone::of(&scenario));
        for test in scenario["tests"].as_array().unwrap() {
            let text = |key: &str| test[key].as_str().unwrap_or_default();
            let sender = text("from");
            let sender = (!sender.is_empty()).then(|| sender.rsplit_once('@').unwrap_or(("", sender)));
            let address: IpAddr = text("host").parse().unwrap();
            let check = check_spf(zone.clone(), address, text("helo"), sender);
            let result = futures_util::FutureExt::now_or_never(check).unwrap();
            let expected = test["results"].as_array().unwrap();
            tests += 1;
            if !expected.iter().any(|e| e.as_str() == Some(result.name())) {
                wrong.push(format!("{}: {result}, expected {expected:?}", text("name")));
            }
        }
    }
    assert!(tests > 190, "{tests} tests in\n{}", read.output);
    assert!(
        wrong.is_empty(),
        "{} of {tests}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
