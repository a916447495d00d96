//! Who a message is really from: SPF (RFC 7208), DKIM (RFC 6376, 8301, 8463) and DMARC (RFC 7489), told in an
//! Authentication-Results field (RFC 8601).
//!
//! [`Verifier`] is what the mail service asks about messages from strangers. It reads a message while it passes, hashes its
//! body as it goes, and asks the DNS, through [`Names`], once the message is whole.
//!
//! ```
//! use futures_util::future::{BoxFuture, ready};
//! use ringpost_base::UnixTime;
//! use ringpost_mail::{Action, Peer, SenderAuth};
//! use ringpost_sender_auth::{Answer, Config, Names, Verifier};
//! use std::net::IpAddr;
//! use std::sync::Arc;
//!
//! /// A DNS that knows one record.
//! struct Dns;
//! impl Names for Dns {
//!     fn texts(&self, name: &str) -> BoxFuture<'static, Answer<Vec<u8>>> {
//!         Box::pin(ready(match name {
//!             "example.org" => Answer::Found(vec![b"v=spf1 ip4:192.0.2.1 -all".to_vec()]),
//!             _ => Answer::Nothing,
//!         }))
//!     }
//!     fn addresses(&self, _: &str, _: bool) -> BoxFuture<'static, Answer<IpAddr>> {
//!         Box::pin(ready(Answer::Nothing))
//!     }
//!     fn exchangers(&self, _: &str) -> BoxFuture<'static, Answer<String>> {
//!         Box::pin(ready(Answer::Nothing))
//!     }
//!     fn pointers(&self, _: IpAddr) -> BoxFuture<'static, Answer<String>> {
//!         Box::pin(ready(Answer::Nothing))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let verifier = Verifier::new(Arc::new(Dns), Config::new("mx.example.com"));
//! let peer = Peer {
//!     address: "192.0.2.1".parse().unwrap(),
//!     helo: "mail.example.org".into(),
//!     sender: Some(("alice".into(), "example.org".into())),
//!     now: UnixTime::from_secs(1_700_000_000),
//! };
//! let mut inspection = verifier.begin(peer).expect("a stranger");
//! inspection.write(b"From: alice@example.org\r\n\r\nhello\r\n");
//! let findings = inspection.finish().await;
//! assert!(findings.fields.contains("spf=pass smtp.mailfrom=example.org"));
//! assert_eq!(findings.action, Action::Deliver);
//! # });
//! ```
//!
//! Who is in a block list of the DNS (RFC 5782) is refused or scored, as the list's entry in [`Config`] says; all that is known
//! of a message sums up to a score, told in fields X-Spam-Score and X-Spam-Status.
//!
//! [`DomainSigner`] signs what leaves for other servers, with the keys that the directory keeps, and makes them.
//!
//! It does not send reports, knows no ARC, and takes no list of public suffixes: see the decisions in ARCHITECTURE.md.

mod block_list;
mod dkim;
mod dmarc;
pub mod fuzz;
mod head;
mod names;
mod results;
mod score;
mod signer;
mod spf;
mod tags;
#[cfg(test)]
mod testing;
mod verifier;

pub use block_list::{BlockList, Listed};
pub use dkim::verify::{Checked, DkimResult};
pub use dmarc::{Alignment, DmarcResult, Policy};
pub use names::{Answer, Names};
pub use signer::DomainSigner;
pub use spf::SpfResult;
pub use verifier::{Config, Network, Verifier};

use names::Asker;
use std::net::IpAddr;
use std::sync::Arc;

/// The check that RFC 7208 §4 calls `check_host`: whether the address may send as `sender` (local part and domain; `None`
/// for the null sender, of whom what the client called itself is checked).
pub async fn check_spf(
    names: Arc<dyn Names>,
    address: IpAddr,
    helo: &str,
    sender: Option<(&str, &str)>,
) -> SpfResult {
    spf::check(&Asker::new(names), &spf::Query::new(address, helo, sender)).await
}
