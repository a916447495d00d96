//! What is asked of the DNS, and how much.

use futures_util::future::BoxFuture;
use ringpost_base::limits;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the DNS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// These records, one at least.
    Found(Vec<T>),
    /// There is no such name, or nothing of that kind at it.
    Nothing,
    /// It cannot be told now.
    Failed,
}

/// The DNS, as far as senders are looked up in it. Names are given without a dot at their end, and each answer comes
/// within a few seconds.
pub trait Names: Send + Sync + 'static {
    /// The TXT records of a name, the strings of each joined without anything in between.
    fn texts(&self, name: &str) -> BoxFuture<'static, Answer<Vec<u8>>>;
    /// The addresses of a host: AAAA records with `v6`, A records without.
    fn addresses(&self, host: &str, v6: bool) -> BoxFuture<'static, Answer<IpAddr>>;
    /// The hosts of a domain's MX records, the preferred first.
    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Answer<String>>;
    /// The names in an address's PTR records.
    fn pointers(&self, address: IpAddr) -> BoxFuture<'static, Answer<String>>;
}

/// The DNS for one message: [`limits::SENDER_LOOKUPS`] questions, and then none is answered any more.
#[derive(Clone)]
pub(crate) struct Asker {
    names: Arc<dyn Names>,
    left: Arc<AtomicUsize>,
}

impl Asker {
    pub(crate) fn new(names: Arc<dyn Names>) -> Self {
        Asker {
            names,
            left: Arc::new(AtomicUsize::new(limits::SENDER_LOOKUPS)),
        }
    }

    pub(crate) async fn texts(&self, name: &str) -> Answer<Vec<u8>> {
        match self.take(name) {
            Ok(name) => self.names.texts(name).await,
            Err(answer) => answer,
        }
    }

    pub(crate) async fn addresses(&self, host: &str, v6: bool) -> Answer<IpAddr> {
        match self.take(host) {
            Ok(host) => self.names.addresses(host, v6).await,
            Err(answer) => answer,
        }
    }

    pub(crate) async fn exchangers(&self, domain: &str) -> Answer<String> {
        match self.take(domain) {
            Ok(domain) => self.names.exchangers(domain).await,
            Err(answer) => answer,
        }
    }

    pub(crate) async fn pointers(&self, address: IpAddr) -> Answer<String> {
        match self.take("a.name") {
            Ok(_) => self.names.pointers(address).await,
            Err(answer) => answer,
        }
    }

    /// A name that cannot be is asked for nowhere: it does not exist.
    fn take<'a, T>(&self, name: &'a str) -> Result<&'a str, Answer<T>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_name(name) {
            return Err(Answer::Nothing);
        }
        let one_less = |left: usize| left.checked_sub(1);
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        {
            Ok(_) => Ok(name),
            Err(_) => Err(Answer::Failed),
        }
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asker({} left)", self.left.load(Ordering::Relaxed))
    }
}

/// Whether a name has the form that the DNS can hold (RFC 1035 §2.3.4): labels of 1 to 63 bytes, 253 in all.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| (1..=63).contains(&label.len()))
        && name.bytes().all(|b| b >= b' ' && b != 0x7f)
}

/// Whether `name` is `above` or lies below it, in any case.
pub(crate) fn is_within(name: &str, above: &str) -> bool {
    let (name, above) = (name.as_bytes(), above.as_bytes());
    let Some(at) = name.len().checked_sub(above.len()) else {
        return false;
    };
    name[at..].eq_ignore_ascii_case(above) && (at == 0 || name[at - 1] == b'.') && !above.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lies_below_another_at_a_dot_only() {
        assert!(is_within("Mail.Example.org", "example.ORG"));
        assert!(is_within("example.org", "example.org"));
        assert!(!is_within("badexample.org", "example.org"));
        assert!(!is_within("org", "example.org"));
        assert!(!is_within("example.org", ""));
    }

    #[test]
    fn names_that_cannot_be_are_known() {
        assert!(is_name("_dmarc.example.org") && is_name("ü.example"));
        let long = format!("{}.org", "x".repeat(64));
        for bad in ["", ".", "a..b", ".a", "a\tb.c", &long, &"ab.".repeat(90)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
