//! One certificate, from an authority that is asked for it: the account, the order, the proofs, the request (RFC 8555 §7).

use crate::challenge::{Challenges, Offer};
use crate::folder::{Folder, FolderError, StoredAccount};
use crate::transport::Transport;
use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use ringpost_net::tls::Pair;
use std::fmt;
use std::time::Duration;
use tracing::{info, warn};

/// How a name is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A file that the authority fetches over HTTP from port 80 (RFC 8555 §8.3).
    Http01,
    /// A certificate that it is shown in a handshake at port 443 (RFC 8737).
    TlsAlpn01,
}

impl ChallengeKind {
    fn wanted(self) -> ChallengeType {
        match self {
            ChallengeKind::Http01 => ChallengeType::Http01,
            ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }

    fn name(self) -> &'static str {
        match self {
            ChallengeKind::Http01 => "http-01",
            ChallengeKind::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// An account elsewhere that the one at the authority is bound to (RFC 8555 §7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The key's name.
    pub key_id: String,
    /// The key of the MAC.
    pub key: Vec<u8>,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalAccount({})", self.key_id)
    }
}

/// Whom to ask, and as whom. Its terms are agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address of the authority's directory.
    pub directory: String,
    /// How the authority may reach us, as URIs: `mailto:…`.
    pub contact: Vec<String>,
    /// How names are proven.
    pub challenge: ChallengeKind,
    /// An account elsewhere, where the authority wants one.
    pub external: Option<ExternalAccount>,
}

/// A name that an authority gives no certificate for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The name.
    pub name: String,
    /// The authority's own words.
    pub detail: String,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who was asked.
    pub directory: String,
    /// What for.
    pub names: Vec<String>,
    /// The names that were at fault, as far as the authority said so.
    pub refused: Vec<Refused>,
    /// What was wrong beside them.
    pub why: String,
}

/// In one line, with every name that was refused and what the authority said of it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} gives no certificate for ", self.directory)?;
        if self.refused.is_empty() {
            return write!(f, "{}: {}", self.names.join(", "), self.why);
        }
        for (n, Refused { name, detail }) in self.refused.iter().enumerate() {
            write!(f, "{}{name}: {detail}", if n == 0 { "" } else { "; for " })?;
        }
        match self.why.as_str() {
            "" => Ok(()),
            why => write!(f, "; {why}"),
        }
    }
}

/// What stops an order.
enum Trouble {
    /// Some names are at fault.
    Refused(Vec<Refused>),
    /// All of it is.
    Acme(Error),
    Folder(FolderError),
    Other(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let Error::Api(problem) = &error else {
            return Trouble::Acme(error);
        };
        //= https://www.rfc-editor.org/rfc/rfc8555#section-6.7.1
        let of_names = problem.subproblems.iter().filter_map(|part| {
            Some(Refused {
                name: part.identifier.as_ref()?.authorized(false).to_string(),
                detail: words(part.detail.as_deref(), part.r#type.as_deref()),
            })
        });
        let of_names: Vec<Refused> = of_names.collect();
        match of_names.is_empty() {
            true => Trouble::Acme(error),
            false => Trouble::Refused(of_names),
        }
    }
}

impl From<FolderError> for Trouble {
    fn from(error: FolderError) -> Self {
        Trouble::Folder(error)
    }
}

/// How often an order is begun when the authority finds the numbers of its requests used (RFC 8555 §6.5), beyond the three
/// times that each request is repeated; and when it has forgotten the account.
const ATTEMPTS: usize = 4;

/// How long the authority may take to look at the proofs, and to make the certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// Who asks.
pub(crate) struct Client {
    pub(crate) transport: Transport,
    pub(crate) folder: Folder,
    pub(crate) challenges: Challenges,
}

impl Client {
    /// Asks for a certificate for these names, and keeps it.
    pub(crate) async fn order(&self, settings: &Settings, names: &[String]) -> Result<Pair, Failure> {
        let mut attempts = 1;
        let trouble = loop {
            let trouble = match self.attempt(settings, names).await {
                Ok(pair) => return Ok(pair),
                Err(trouble) => trouble,
            };
            attempts += 1;
            match &trouble {
                Trouble::Acme(Error::Api(problem)) if attempts <= ATTEMPTS => match type_of(problem) {
                    "badNonce" => {}
                    //= https://www.rfc-editor.org/rfc/rfc8555#section-6.7
                    "accountDoesNotExist" => {
                        warn!(directory = %settings.directory, "the authority has forgotten our account; making another");
                        if let Err(error) = self.folder.forget_account() {
                            break error.into();
                        }
                    }
                    _ => break trouble,
                },
                _ => break trouble,
            }
        };
        let (refused, why) = match trouble {
            Trouble::Refused(refused) => (refused, String::new()),
            Trouble::Acme(Error::Api(problem)) => (
                Vec::new(),
                words(problem.detail.as_deref(), problem.r#type.as_deref()),
            ),
            Trouble::Acme(Error::Timeout(_)) => (Vec::new(), "it did not decide in time".to_owned()),
            Trouble::Acme(error) => (Vec::new(), shown(&error.to_string())),
            Trouble::Folder(error) => (Vec::new(), error.to_string()),
            Trouble::Other(why) => (Vec::new(), why),
        };
        Err(Failure {
            directory: settings.directory.clone(),
            names: names.to_vec(),
            refused,
            why,
        })
    }

    //= https://www.rfc-editor.org/rfc/rfc8555#section-7.4
    async fn attempt(&self, settings: &Settings, names: &[String]) -> Result<Pair, Trouble> {
        let account = self.account(settings).await?;
        let identifiers: Vec<Identifier> = names.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let offers = self.prove(&mut order, settings.challenge).await?;
        let ready = order.poll_ready(&PATIENCE).await;
        drop(offers);
        match ready {
            Ok(OrderStatus::Ready) => {}
            Err(error @ Error::Timeout(_)) => return Err(error.into()),
            decided => {
                // What the order says of it names nobody.
                let refused = refused(&mut order).await;
                return Err(match (refused.is_empty(), decided) {
                    (false, _) => Trouble::Refused(refused),
                    (true, Err(error)) => error.into(),
                    (true, Ok(status)) => {
                        Trouble::Other(format!("its order is {status:?}, and Ready was expected"))
                    }
                });
            }
        }
        let failed = |error: rcgen::Error| Trouble::Other(format!("no request can be made: {error}"));
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate().map_err(failed)?;
        let request = params.serialize_request(&key).map_err(failed)?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        let pair = self
            .folder
            .keep(&settings.directory, &chain, &key.serialize_pem())?;
        let certificate = pair.certificate();
        match names
            .iter()
            .find(|name| !certificate.is_some_and(|own| own.is_for(name)))
        {
            Some(name) => Err(Trouble::Other(format!("its certificate is not for {name}"))),
            None => Ok(pair),
        }
    }

    /// The account that was kept, or a new one.
    //= https://www.rfc-editor.org/rfc/rfc8555#section-7.3
    async fn account(&self, settings: &Settings) -> Result<Account, Trouble> {
        let kept = self.folder.account().unwrap_or_else(|error| {
            warn!(%error, "the account cannot be read; making another");
            None
        });
        let key_id = settings.external.as_ref().map(|external| external.key_id.clone());
        let builder = Account::builder_with_http(Box::new(self.transport.clone()));
        let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
        if let Some(mut kept) = kept
            && kept.directory == settings.directory
            && kept.external_key_id == key_id
            && let Ok(credentials) = serde_json::from_value(kept.credentials.clone())
        {
            let account = builder.from_credentials(credentials).await?;
            if kept.contact != settings.contact {
                account.update_contacts(&contact).await?;
                kept.contact.clone_from(&settings.contact);
                self.folder.keep_account(&kept)?;
            }
            return Ok(account);
        }
        let external = settings.external.as_ref();
        let external =
            external.map(|external| ExternalAccountKey::new(external.key_id.clone(), &external.key));
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = settings.directory.clone();
        let (account, credentials) = builder.create(&new, directory.clone(), external.as_ref()).await?;
        self.folder.keep_account(&StoredAccount {
            directory,
            contact: settings.contact.clone(),
            external_key_id: key_id,
            credentials: serde_json::to_value(&credentials).map_err(|e| Trouble::Other(e.to_string()))?,
        })?;
        info!(directory = %settings.directory, account = %account.id(), "an account at the authority was made");
        Ok(account)
    }

    /// Offers the answers, and says that they may be looked at.
    //= https://www.rfc-editor.org/rfc/rfc8555#section-7.5
    async fn prove(&self, order: &mut Order, kind: ChallengeKind) -> Result<Vec<Offer>, Trouble> {
        let mut offers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => return Err(Trouble::Refused(vec![refusal(&authorization)])),
            }
            let Some(mut challenge) = authorization.challenge(kind.wanted()) else {
                return Err(Trouble::Refused(vec![Refused {
                    detail: format!("it cannot be proven by {}; set acme.challenge", kind.name()),
                    name,
                }]));
            };
            let answer = challenge.key_authorization();
            offers.push(match kind {
                ChallengeKind::Http01 => self.challenges.offer_http(&challenge.token, answer.as_str()),
                ChallengeKind::TlsAlpn01 => {
                    let offered = self.challenges.offer_tls(&name, answer.digest().as_ref());
                    offered
                        .map_err(|why| Trouble::Other(format!("no proof can be made for {name}: {why}")))?
                }
            });
            match challenge.set_ready().await {
                Ok(()) => {}
                Err(Error::Api(problem))
                    if !matches!(type_of(&problem), "badNonce" | "accountDoesNotExist") =>
                {
                    return Err(Trouble::Refused(vec![Refused {
                        name,
                        detail: words(problem.detail.as_deref(), problem.r#type.as_deref()),
                    }]));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(offers)
    }
}

/// The names of an order whose proofs were not taken.
async fn refused(order: &mut Order) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        // What cannot be asked now is told by the order's own error.
        let Ok(mut authorization) = authorization else {
            continue;
        };
        if authorization.refresh().await.is_ok()
            && !matches!(
                authorization.status,
                AuthorizationStatus::Valid | AuthorizationStatus::Pending
            )
        {
            refused.push(refusal(&authorization));
        }
    }
    refused
}

fn refusal(authorization: &AuthorizationHandle<'_>) -> Refused {
    let problem = authorization
        .challenges
        .iter()
        .find_map(|challenge| challenge.error.as_ref());
    let detail = match problem {
        Some(problem) => words(problem.detail.as_deref(), problem.r#type.as_deref()),
        None => format!("its authorization is {:?}", authorization.status),
    };
    Refused {
        name: authorization.identifier().to_string(),
        detail,
    }
}

const URN: &str = "urn:ietf:params:acme:error:";

fn type_of(problem: &Problem) -> &str {
    let whole = problem.r#type.as_deref().unwrap_or_default();
    whole.strip_prefix(URN).unwrap_or(whole)
}

/// A problem's detail and its type.
fn words(detail: Option<&str>, kind: Option<&str>) -> String {
    let kind = kind.map(|kind| kind.strip_prefix(URN).unwrap_or(kind));
    let words = match (detail, kind) {
        (Some(detail), Some(kind)) => format!("{detail} ({kind})"),
        (Some(words), None) | (None, Some(words)) => words.to_owned(),
        (None, None) => "it does not say why".to_owned(),
    };
    shown(&words)
}

/// The longest words of an authority that are told.
const WORDS_CHARS: usize = 500;

/// In one line that is safe to print, and not too long.
fn shown(text: &str) -> String {
    let is_shown = |c: &char| !c.is_control();
    text.chars().filter(is_shown).take(WORDS_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_who_refused_which_names_and_why() {
        let failure = |refused: Vec<Refused>, why: &str| Failure {
            directory: "https://ca.test/dir".into(),
            names: vec!["one.test".into(), "two.test".into()],
            refused,
            why: why.into(),
        };
        let refused = |name: &str| Refused {
            name: name.into(),
            detail: "no route (connection)".into(),
        };
        assert_eq!(
            failure(Vec::new(), "https://ca.test: refused").to_string(),
            "https://ca.test/dir gives no certificate for one.test, two.test: https://ca.test: refused"
        );
        assert_eq!(
            failure(vec![refused("one.test"), refused("two.test")], "").to_string(),
            "https://ca.test/dir gives no certificate for one.test: no route (connection); for two.test: no route \
             (connection)"
        );
    }

    #[test]
    fn the_names_in_a_problem_are_found_and_its_words_are_made_safe() {
        let problem = |json: &str| Error::Api(serde_json::from_str(json).unwrap());
        let parts = problem(
            r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Some","subproblems":[
                {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"Not\u001b[31m this",
                 "identifier":{"type":"dns","value":"one.test"}}]}"#,
        );
        let Trouble::Refused(refused) = Trouble::from(parts) else {
            panic!("it names one")
        };
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].name, "one.test");
        assert_eq!(refused[0].detail, "Not[31m this (rejectedIdentifier)");
        let whole = problem(r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"Later"}"#);
        assert!(matches!(Trouble::from(whole), Trouble::Acme(_)));
        assert_eq!(words(None, None), "it does not say why");
        assert_eq!(shown(&"x".repeat(9_999)).len(), WORDS_CHARS);
    }
}
