//! A DNS of the tests' own: a table.

use crate::names::{Answer, Names};
use futures_util::future::{BoxFuture, ready};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a DNS would say, by name in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    texts: BTreeMap<String, Vec<Vec<u8>>>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
    exchangers: BTreeMap<String, Vec<String>>,
    pointers: BTreeMap<IpAddr, Vec<String>>,
    failing: BTreeSet<String>,
}

impl Table {
    pub(crate) fn txt(&mut self, name: &str, text: &str) -> &mut Self {
        let texts = self.texts.entry(name.to_lowercase()).or_default();
        texts.push(text.as_bytes().to_vec());
        self
    }

    pub(crate) fn a(&mut self, name: &str, addresses: &[&str]) -> &mut Self {
        let all = self.addresses.entry(name.to_lowercase()).or_default();
        all.extend(addresses.iter().map(|address| address.parse::<IpAddr>().unwrap()));
        self
    }

    pub(crate) fn mx(&mut self, name: &str, hosts: &[&str]) -> &mut Self {
        let all = self.exchangers.entry(name.to_lowercase()).or_default();
        all.extend(hosts.iter().map(|host| (*host).to_owned()));
        self
    }

    pub(crate) fn ptr(&mut self, address: &str, names: &[&str]) -> &mut Self {
        let all = self.pointers.entry(address.parse().unwrap()).or_default();
        all.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Has every question about a name fail.
    pub(crate) fn fail(&mut self, name: &str) -> &mut Self {
        self.failing.insert(name.to_lowercase());
        self
    }

    fn answer<T>(&self, name: &str, found: Option<Vec<T>>) -> BoxFuture<'static, Answer<T>>
    where
        T: Send + 'static,
    {
        Box::pin(ready(match found {
            _ if self.failing.contains(&name.to_lowercase()) => Answer::Failed,
            Some(found) if !found.is_empty() => Answer::Found(found),
            _ => Answer::Nothing,
        }))
    }
}

impl Names for Table {
    fn texts(&self, name: &str) -> BoxFuture<'static, Answer<Vec<u8>>> {
        self.answer(name, self.texts.get(&name.to_lowercase()).cloned())
    }

    fn addresses(&self, host: &str, v6: bool) -> BoxFuture<'static, Answer<IpAddr>> {
        let mut found = self.addresses.get(&host.to_lowercase()).cloned();
        if let Some(found) = &mut found {
            found.retain(|address| address.is_ipv6() == v6);
        }
        self.answer(host, found)
    }

    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Answer<String>> {
        self.answer(domain, self.exchangers.get(&domain.to_lowercase()).cloned())
    }

    fn pointers(&self, address: IpAddr) -> BoxFuture<'static, Answer<String>> {
        self.answer("", self.pointers.get(&address).cloned())
    }
}
