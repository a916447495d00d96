//! DANE (RFC 7672): a mail server's certificate is checked against what its domain's signed DNS says of it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256, Sha512};
use std::sync::Arc;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// A TLSA record (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// 2: an authority's, which the server's certificate leads to; 3: the server's own. Others are of no use to mail.
    pub usage: u8,
    /// 0: the whole certificate; 1: its public key.
    pub selector: u8,
    /// 0: the thing itself; 1: its SHA-256; 2: its SHA-512.
    pub matching: u8,
    /// That.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Whether anything can be proven by it.
    //= https://www.rfc-editor.org/rfc/rfc7672#section-3.1
    pub fn is_usable(&self) -> bool {
        let expected = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, 2 | 3) && self.selector <= 1 && expected
    }

    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let key;
        let selected: &[u8] = match self.selector {
            0 => certificate,
            _ => match EndEntityCert::try_from(certificate) {
                Ok(parsed) => {
                    key = parsed.subject_public_key_info();
                    &key
                }
                Err(_) => return false,
            },
        };
        match self.matching {
            0 => selected == self.data,
            1 => Sha256::digest(selected)[..] == self.data[..],
            _ => Sha512::digest(selected)[..] == self.data[..],
        }
    }
}

/// Holds a server to these records.
#[derive(Debug)]
pub(super) struct DaneServer {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) records: Arc<[Tlsa]>,
    /// The domain that the mail is for, which a certificate of an authority's may name in place of the server.
    pub(super) domain: Option<ServerName<'static>>,
}

impl DaneServer {
    /// Whether an authority of the records vouches for it.
    fn is_vouched_for(
        &self,
        server: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let authorities = self
            .records
            .iter()
            .filter(|record| record.is_usable() && record.usage == 2);
        let mut why = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for record in authorities {
            // One that is whole in the record need not be sent by the server.
            let own = CertificateDer::from(record.data.as_slice());
            let whole = (record.selector == 0 && record.matching == 0).then_some(&own);
            let sent = intermediates
                .iter()
                .filter(|certificate| record.matches(certificate));
            for authority in sent.chain(whole) {
                let Ok(anchor) = anchor_from_trusted_cert(authority) else {
                    continue;
                };
                let algorithms = self.provider.signature_verification_algorithms.all;
                let anchors = [anchor];
                let usage = KeyUsage::server_auth();
                match server.verify_for_usage(algorithms, &anchors, intermediates, now, usage, None, None) {
                    Ok(_) => {
                        //= https://www.rfc-editor.org/rfc/rfc7672#section-3.2.3
                        let names = [Some(name), self.domain.as_ref()];
                        let is_named = names
                            .into_iter()
                            .flatten()
                            .any(|name| server.verify_is_valid_for_subject_name(name).is_ok());
                        if is_named {
                            return Ok(());
                        }
                        why = Error::InvalidCertificate(CertificateError::NotValidForName);
                    }
                    Err(webpki::Error::CertExpired { .. }) => {
                        why = Error::InvalidCertificate(CertificateError::Expired);
                    }
                    Err(_) => {}
                }
            }
        }
        Err(why)
    }
}

impl ServerCertVerifier for DaneServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The server's own certificate, or key: neither its name nor its dates count.
        //= https://www.rfc-editor.org/rfc/rfc7672#section-3.1.1
        let mut own = self
            .records
            .iter()
            .filter(|record| record.usage == 3 && record.is_usable());
        if own.any(|record| record.matches(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        let server = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        self.is_vouched_for(&server, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    struct Chain {
        authority: CertificateDer<'static>,
        server: CertificateDer<'static>,
    }

    fn chain(expired: bool) -> Chain {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["mx.there.test".to_owned()]).unwrap();
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let server = params.signed_by(&key, &issuer).unwrap();
        Chain {
            authority: issuer.der().clone(),
            server: server.der().clone(),
        }
    }

    fn record(usage: u8, selector: u8, matching: u8, of: &CertificateDer<'static>) -> Tlsa {
        let parsed = EndEntityCert::try_from(of).unwrap();
        let selected = match selector {
            0 => of.to_vec(),
            _ => parsed.subject_public_key_info().to_vec(),
        };
        let data = match matching {
            0 => selected,
            1 => Sha256::digest(selected).to_vec(),
            _ => Sha512::digest(selected).to_vec(),
        };
        Tlsa {
            usage,
            selector,
            matching,
            data,
        }
    }

    fn verify(
        chain: &Chain,
        record: Tlsa,
        name: &'static str,
        domain: Option<&'static str>,
        sent: bool,
    ) -> Result<(), Error> {
        let verifier = DaneServer {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            records: Arc::from([record]),
            domain: domain.map(|domain| ServerName::try_from(domain).unwrap()),
        };
        let intermediates: Vec<_> = sent.then(|| chain.authority.clone()).into_iter().collect();
        let name = ServerName::try_from(name).unwrap();
        verifier
            .verify_server_cert(&chain.server, &intermediates, &name, &[], UnixTime::now())
            .map(|_| ())
    }

    #[test]
    fn the_servers_own_certificate_or_key_is_enough_whatever_it_says() {
        for expired in [false, true] {
            let there = chain(expired);
            let other = chain(false);
            for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
                let good = record(3, selector, matching, &there.server);
                assert!(good.is_usable());
                verify(&there, good, "anything.test", None, false).unwrap();
                let wrong = record(3, selector, matching, &other.server);
                verify(&there, wrong, "mx.there.test", None, true).unwrap_err();
            }
        }
    }

    #[test]
    fn an_authority_of_the_record_vouches_for_a_name() {
        let (there, expired, other) = (chain(false), chain(true), chain(false));
        for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let of = |chain: &Chain| record(2, selector, matching, &chain.authority);
            verify(&there, of(&there), "mx.there.test", None, true).unwrap();
            verify(&there, of(&there), "other.test", Some("mx.there.test"), true).unwrap();
            verify(&there, of(&there), "other.test", None, true).unwrap_err();
            verify(&there, of(&other), "mx.there.test", None, true).unwrap_err();
            let late = verify(&expired, of(&expired), "mx.there.test", None, true).unwrap_err();
            assert_eq!(late, Error::InvalidCertificate(CertificateError::Expired));
            // Only the record that has all of it does without the server's sending it.
            let unsent = verify(&there, of(&there), "mx.there.test", None, false);
            assert_eq!(
                unsent.is_ok(),
                (selector, matching) == (0, 0),
                "{selector} {matching}"
            );
        }
    }

    #[test]
    fn records_that_prove_nothing_are_of_no_use() {
        let there = chain(false);
        let good = record(3, 1, 1, &there.server);
        for bad in [
            Tlsa {
                usage: 0,
                ..good.clone()
            },
            Tlsa {
                usage: 1,
                ..good.clone()
            },
            Tlsa {
                selector: 2,
                ..good.clone()
            },
            Tlsa {
                matching: 3,
                ..good.clone()
            },
            Tlsa {
                data: vec![1; 31],
                ..good
            },
        ] {
            assert!(!bad.is_usable());
            verify(&there, bad, "mx.there.test", None, true).unwrap_err();
        }
    }
}
