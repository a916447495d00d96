use super::listen::{Listener, Service};
use ringpost_base::limits;
use ringpost_directory::is_domain;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Let's Encrypt's directory, whose certificates everybody believes.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The certificate by ACME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Acme {
    pub(crate) enabled: bool,
    pub(crate) agree_to_terms: bool,
    pub(crate) directory: String,
    pub(crate) contact: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) challenge: Challenge,
    pub(crate) listen: Option<Listener>,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) external_account_key_id: Option<String>,
    pub(crate) external_account_key_file: Option<PathBuf>,
}

/// How a name is proven, by the name that it has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Challenge {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl Challenge {
    /// The port that an authority asks at.
    pub(crate) fn port(self) -> u16 {
        match self {
            Challenge::Http01 => 80,
            Challenge::TlsAlpn01 => 443,
        }
    }
}

impl Default for Acme {
    fn default() -> Self {
        Acme {
            enabled: false,
            agree_to_terms: false,
            directory: LETS_ENCRYPT.into(),
            contact: Vec::new(),
            names: Vec::new(),
            challenge: Challenge::Http01,
            listen: None,
            authorities: None,
            external_account_key_id: None,
            external_account_key_file: None,
        }
    }
}

impl Acme {
    /// Where challenges are answered: nowhere unless certificates are asked for.
    pub(crate) fn listener(&self) -> Listener {
        match (&self.listen, self.enabled) {
            (_, false) => Listener::at([]),
            (Some(listener), true) => listener.clone(),
            (None, true) => Listener::everywhere(self.challenge.port()),
        }
    }

    /// What its values do not show one by one.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, wrong: String| Err((format!("acme.{key}"), wrong));
        let is_address = |address: &String| match address.split_once('@') {
            Some((local, domain)) => {
                let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '&' | '%' | ',');
                !local.is_empty() && local.chars().all(is_plain) && is_domain(domain)
            }
            None => false,
        };
        if self.enabled && !self.agree_to_terms {
            return wrong(
                "agree_to_terms",
                format!(
                    "is false; read the terms of the authority at {}, and write true if you agree to them",
                    self.directory
                ),
            );
        }
        let rest = self.directory.strip_prefix("https://").unwrap_or_default();
        if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong(
                "directory",
                format!(
                    "{:?} is no address of a directory; write it like {LETS_ENCRYPT:?}",
                    self.directory
                ),
            );
        }
        if let Some(address) = self.contact.iter().find(|address| !is_address(address)) {
            return wrong(
                "contact",
                format!("{address:?} is no address of mail; write it like \"admin@example.org\""),
            );
        }
        if let Some(name) = self.names.iter().find(|name| !is_domain(name)) {
            return wrong(
                "names",
                format!("{name:?} is not a domain's name in full; write it like \"mail.example.org\""),
            );
        }
        if self.names.len() > limits::ACME_NAMES {
            return wrong(
                "names",
                format!("one certificate has at most {} of them", limits::ACME_NAMES),
            );
        }
        if self.enabled && self.listener().addresses().is_empty() {
            return wrong(
                "listen",
                format!(
                    "is \"off\", and the authority must be answered; set an address that port {} of the names leads to",
                    self.challenge.port()
                ),
            );
        }
        match (&self.external_account_key_id, &self.external_account_key_file) {
            (Some(_), None) => wrong(
                "external_account_key_file",
                "is missing; acme.external_account_key_id names a key that the authority gave".into(),
            ),
            (None, Some(_)) => wrong(
                "external_account_key_id",
                "is missing; acme.external_account_key_file is of no use without it".into(),
            ),
            _ => Ok(()),
        }
    }
}

impl Service {
    /// Whether a listener is what holds where nothing is set.
    pub(crate) fn is_default(self, listener: &Listener) -> bool {
        match self {
            Service::Acme => [Challenge::Http01, Challenge::TlsAlpn01]
                .iter()
                .any(|challenge| *listener == Listener::everywhere(challenge.port())),
            service => *listener == service.default_listener(),
        }
    }
}
