//! A message's signatures, checked while it passes.

use super::canon::BodyHash;
use super::key::Key;
use super::signature::{Signature, Unreadable};
use crate::head::{Field, fields};
use crate::names::{Answer, Asker};
use ringpost_base::{UnixTime, limits};
use std::fmt;

/// What a signature came to (RFC 8601 §2.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimResult {
    /// It is the domain's, and the message is what it signed.
    Pass,
    /// It is not, or the message was changed.
    Fail,
    /// It cannot be read.
    Neutral,
    /// It could be, and is not to be believed.
    Policy,
    /// The DNS could not be asked.
    TempError,
    /// It can never be checked: no key, or not one for it.
    PermError,
}

impl fmt::Display for DkimResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DkimResult::Pass => "pass",
            DkimResult::Fail => "fail",
            DkimResult::Neutral => "neutral",
            DkimResult::Policy => "policy",
            DkimResult::TempError => "temperror",
            DkimResult::PermError => "permerror",
        })
    }
}

/// One signature, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it came to.
    pub result: DkimResult,
    /// Why, where it is no pass.
    pub why: &'static str,
    /// Whose it is; may be empty where it cannot be read.
    pub domain: String,
    /// Which of the domain's keys.
    pub selector: String,
    /// How it was made; empty where it cannot be read.
    pub algorithm: &'static str,
    /// The first eight characters of the signature (RFC 6008).
    pub prefix: String,
}

/// The signatures of a message whose header is at hand and whose body comes in.
pub(crate) struct Signatures {
    header: Vec<u8>,
    /// Which fields are signatures, and what they say.
    found: Vec<(usize, Result<Signature, Unreadable>)>,
    bodies: Vec<BodyHash>,
}

impl Signatures {
    /// Reads a header, without the empty line at its end. Of more than [`limits::DKIM_SIGNATURES`] the topmost count: who
    /// handled the message last put them there.
    pub(crate) fn new(header: Vec<u8>) -> Self {
        let all = fields(&header);
        let named = all
            .iter()
            .enumerate()
            .filter(|(_, field)| field.is("DKIM-Signature"));
        let found: Vec<_> = named
            .take(limits::DKIM_SIGNATURES)
            .map(|(at, field)| (at, Signature::parse(&field.text())))
            .collect();
        let mut bodies: Vec<BodyHash> = Vec::new();
        for signature in found.iter().filter_map(|(_, read)| read.as_ref().ok()) {
            let (canon, limit) = (signature.body_canon, signature.length_bytes);
            if !bodies.iter().any(|body| body.key() == (canon, limit)) {
                bodies.push(BodyHash::new(canon, limit));
            }
        }
        Signatures {
            header,
            found,
            bodies,
        }
    }

    /// The next piece of the body.
    pub(crate) fn body(&mut self, bytes: &[u8]) {
        self.bodies.iter_mut().for_each(|body| body.update(bytes));
    }

    /// The header as it came in.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// Ends the body, and asks for the keys.
    pub(crate) async fn finish(self, asker: &Asker, now: UnixTime) -> Vec<Checked> {
        let bodies = self.bodies.into_iter();
        let done: Vec<_> = bodies.map(|body| (body.key(), body.finish())).collect();
        let all = fields(&self.header);
        let mut checked = Vec::new();
        for (at, read) in &self.found {
            checked.push(match read {
                Ok(signature) => {
                    let key = (signature.body_canon, signature.length_bytes);
                    let hash = done
                        .iter()
                        .find(|(k, _)| *k == key)
                        .and_then(|(_, hash)| hash.as_ref());
                    check(signature, &all, &all[*at], hash, asker, now).await
                }
                Err(unreadable) => Checked {
                    //= https://www.rfc-editor.org/rfc/rfc8601#section-2.7.1
                    result: DkimResult::Neutral,
                    why: unreadable.why,
                    domain: unreadable.domain.clone(),
                    selector: unreadable.selector.clone(),
                    algorithm: "",
                    prefix: String::new(),
                },
            });
        }
        checked
    }
}

async fn check(
    signature: &Signature,
    header: &[Field<'_>],
    own: &Field<'_>,
    body_hash: Option<&(Vec<u8>, bool)>,
    asker: &Asker,
    now: UnixTime,
) -> Checked {
    let (result, why) = match outcome(signature, header, own, body_hash, asker, now).await {
        Ok(()) => (DkimResult::Pass, ""),
        Err(outcome) => outcome,
    };
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(&signature.signature);
    Checked {
        result,
        why,
        domain: signature.domain.clone(),
        selector: signature.selector.clone(),
        algorithm: signature.algorithm.name(),
        prefix: encoded.chars().take(8).collect(),
    }
}

//= https://www.rfc-editor.org/rfc/rfc6376#section-6.1.2
//= https://www.rfc-editor.org/rfc/rfc6376#section-6.1.3
async fn outcome(
    signature: &Signature,
    header: &[Field<'_>],
    own: &Field<'_>,
    body_hash: Option<&(Vec<u8>, bool)>,
    asker: &Asker,
    now: UnixTime,
) -> Result<(), (DkimResult, &'static str)> {
    if signature.expires_s.is_some_and(|at| at < now.as_secs()) {
        return Err((DkimResult::Fail, "it has expired"));
    }
    let Some((_, is_whole)) = body_hash.filter(|(hash, _)| *hash == signature.body_hash) else {
        return Err((DkimResult::Fail, "the body was changed"));
    };
    let name = format!("{}._domainkey.{}", signature.selector, signature.domain);
    let texts = match asker.texts(&name).await {
        Answer::Found(texts) => texts,
        Answer::Nothing => return Err((DkimResult::PermError, "there is no key")),
        Answer::Failed => return Err((DkimResult::TempError, "the key could not be asked for")),
    };
    let signed = signature.signed_bytes(header, own);
    let mut why = (DkimResult::PermError, "there is no key");
    //= https://www.rfc-editor.org/rfc/rfc6376#section-3.6.2.2
    for text in texts.iter().take(KEYS) {
        let text = String::from_utf8_lossy(text);
        let key = match Key::parse(&text) {
            Ok(key) => key,
            Err(wrong) => {
                why = (DkimResult::PermError, wrong);
                continue;
            }
        };
        if let Err(wrong) = key.suits(signature.algorithm, &signature.domain, &signature.identity) {
            why = (DkimResult::PermError, wrong);
            continue;
        }
        if key.verifies(&signed, &signature.signature) {
            //= https://www.rfc-editor.org/rfc/rfc6376#section-8.2
            // What may be appended behind `l=` is anybody's.
            return match (is_whole, key.is_test) {
                (true, false) => Ok(()),
                (false, _) => Err((DkimResult::Policy, "it covers only part of the body")),
                (true, true) => Err((DkimResult::Neutral, "the domain is trying it out")),
            };
        }
        why = (DkimResult::Fail, "the signature is not the key's");
    }
    Err(why)
}

/// Key records of one name that are tried.
const KEYS: usize = 3;
