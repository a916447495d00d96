//! What reads others' bytes, as functions over bytes that must not panic.

use crate::dkim::canon::{BodyHash, Canon};
use crate::dkim::key::Key;
use crate::dkim::signature::Signature;
use crate::dkim::verify::Signatures;
use crate::names::{Answer, Asker, Names};
use crate::spf::{self, SpfResult};
use crate::{dmarc, head};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use ringpost_base::UnixTime;
use std::net::IpAddr;
use std::sync::Arc;

/// A DNS that says the same of every name.
struct Everywhere(Vec<u8>);

impl Names for Everywhere {
    fn texts(&self, _: &str) -> BoxFuture<'static, Answer<Vec<u8>>> {
        Box::pin(ready(Answer::Found(vec![self.0.clone()])))
    }
    fn addresses(&self, host: &str, _: bool) -> BoxFuture<'static, Answer<IpAddr>> {
        Box::pin(ready(match host.len() % 3 {
            0 => Answer::Nothing,
            1 => Answer::Failed,
            _ => Answer::Found(vec![[192, 0, 2, 1].into()]),
        }))
    }
    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Answer<String>> {
        Box::pin(ready(Answer::Found(vec![domain.to_owned()])))
    }
    fn pointers(&self, _: IpAddr) -> BoxFuture<'static, Answer<String>> {
        Box::pin(ready(Answer::Found(vec!["a.test".to_owned()])))
    }
}

/// An SPF record, at every name; the check must come to an end.
pub fn spf(data: &[u8]) {
    let record = [b"v=spf1 ", data].concat();
    let asker = Asker::new(Arc::new(Everywhere(record)));
    let text = String::from_utf8_lossy(&data[..data.len().min(40)]).into_owned();
    for address in [
        IpAddr::from([192, 0, 2, 7]),
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    ] {
        let query = spf::Query::new(address, &text, Some((&text, "a.b.test")));
        let result = spf::check(&asker, &query).now_or_never();
        assert!(result.is_some_and(|result| result != SpfResult::None));
    }
}

/// A message with signatures: read whole, and checked with what stands in it as the key. Hashes do not depend on how
/// the message is cut.
pub fn dkim(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _read = (Key::parse(&text), Signature::parse(&text));
    let cut = data.len() / 2;
    let mut signatures = Signatures::new(data[..cut].to_vec());
    signatures.body(&data[cut..]);
    let asker = Asker::new(Arc::new(Everywhere(data.to_vec())));
    let checked = signatures.finish(&asker, UnixTime::from_secs(1)).now_or_never();
    assert!(checked.is_some());
    for canon in [Canon::Simple, Canon::Relaxed] {
        let hash = |pieces: &[&[u8]]| {
            let mut hash = BodyHash::new(canon, None);
            pieces.iter().for_each(|piece| hash.update(piece));
            hash.finish()
        };
        assert_eq!(hash(&[data]), hash(&[&data[..cut], &data[cut..]]));
    }
}

/// A From field and a DMARC record.
pub fn dmarc(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let authors = head::author_domains(&text);
    let asker = Asker::new(Arc::new(Everywhere([b"v=DMARC1; ", data].concat())));
    let held = dmarc::check(&asker, authors.as_deref(), (SpfResult::Pass, "b.test"), &[], 1);
    assert!(held.now_or_never().is_some());
}
