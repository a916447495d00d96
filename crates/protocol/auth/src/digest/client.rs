use super::{Algorithm, Challenge, Credentials, DigestKeys, Request, userhash};
use ringpost_base::Rng;
use std::borrow::Cow;

/// Why a client cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// No challenge is for the realm that this password belongs to.
    #[error("no challenge for the realm of the credentials")]
    OtherRealm,
    /// The realm is right, but no challenge has a known algorithm and, where it is required, `qop=auth`.
    #[error("no challenge with a known algorithm and qop=auth")]
    Unanswerable,
}

/// What a challenge says of the credentials that were sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenged {
    /// There were none, or they were wrong: a client that sent some should ask its user before it tries again.
    Anew,
    /// They were right but for their nonce.
    Stale,
}

/// The client side of digest authentication: one user's password for one realm.
///
/// After a challenge it answers every further request with the same nonce and a growing count, until it is challenged
/// again.
#[derive(Debug)]
pub struct DigestClient {
    realm: String,
    user: String,
    keys: DigestKeys,
    rng: Rng,
    session: Option<Session>,
    without_qop: bool,
}

#[derive(Debug)]
struct Session {
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    userhash: bool,
    qop_auth: bool,
    cnonce: String,
    nc: u32,
}

impl DigestClient {
    /// Keeps only the keys made of `password`. They are used for challenges of exactly this `realm`.
    pub fn new(realm: &str, user: &str, password: &str, rng: Rng) -> Self {
        DigestClient {
            realm: realm.to_owned(),
            user: user.to_owned(),
            keys: DigestKeys::derive(user, realm, password),
            rng,
            session: None,
            without_qop: false,
        }
    }

    /// The same, which also answers challenges that offer no qop (RFC 2069).
    pub fn allow_without_qop(mut self) -> Self {
        self.without_qop = true;
        self
    }

    /// Takes the values of all WWW-Authenticate (or Proxy-Authenticate) fields of one response, and picks the strongest
    /// that it can answer. Values that are no digest challenges are passed over.
    pub fn handle_challenges<'a>(
        &mut self,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Challenged, ChallengeError> {
        let ours = values
            .into_iter()
            .filter_map(|value| Challenge::parse(value).ok());
        let mut best: Option<(Algorithm, Challenge<'_>)> = None;
        let mut error = ChallengeError::OtherRealm;
        for challenge in ours.filter(|challenge| challenge.realm == self.realm) {
            error = ChallengeError::Unanswerable;
            let Some(algorithm) = challenge
                .algorithm
                .filter(|_| challenge.qop_auth || self.without_qop)
            else {
                continue;
            };
            if best.as_ref().is_none_or(|(known, _)| algorithm > *known) {
                best = Some((algorithm, challenge));
            }
        }
        let (algorithm, challenge) = best.ok_or(error)?;
        let challenged = if challenge.stale {
            Challenged::Stale
        } else {
            Challenged::Anew
        };
        self.session = Some(Session {
            nonce: challenge.nonce.into_owned(),
            opaque: challenge.opaque.map(Cow::into_owned),
            algorithm,
            userhash: challenge.userhash,
            qop_auth: challenge.qop_auth,
            cnonce: self.rng.token(16),
            nc: 0,
        });
        Ok(challenged)
    }

    /// The value of the Authorization (or Proxy-Authorization) field for the next request; `None` before any challenge.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        let session = self.session.as_mut()?;
        session.nc = session.nc.checked_add(1)?;
        let nc = format!("{:08x}", session.nc);
        let request = Request {
            algorithm: session.algorithm,
            method,
            uri,
            nonce: &session.nonce,
            auth: session.qop_auth.then_some((&session.cnonce[..], &nc[..])),
        };
        let response = self.keys.response(&request).hex();
        let username = match session.userhash {
            true => Cow::Owned(userhash(session.algorithm, &self.user, &self.realm)),
            false => Cow::Borrowed(&self.user[..]),
        };
        let credentials = Credentials {
            username,
            userhash: session.userhash,
            realm: Cow::Borrowed(&self.realm),
            nonce: Cow::Borrowed(&session.nonce),
            uri: Cow::Borrowed(uri),
            response: Cow::Borrowed(response.as_str()),
            algorithm: Some(session.algorithm),
            opaque: session.opaque.as_deref().map(Cow::Borrowed),
            auth: session
                .qop_auth
                .then_some((Cow::Borrowed(&session.cnonce), Cow::Borrowed(&nc))),
        };
        Some(credentials.to_string())
    }
}
