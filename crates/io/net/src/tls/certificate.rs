//! What a certificate says of itself, as far as it is told to people and decides when it is renewed.

use ringpost_base::UnixTime;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::net::IpAddr;

/// A certificate of a server (RFC 5280 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its number, in upper-case hexadecimal.
    pub serial: String,
    /// The common name of who gave it, or nothing where it has none.
    pub issuer: String,
    /// The domain names that it is for, and then the addresses.
    pub names: Vec<String>,
    /// When it begins to hold.
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
}

/// Tags of DER (X.690 §8).
const INTEGER: u8 = 2;
const OID: u8 = 6;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const OCTETS: u8 = 4;
const EXTENSIONS: u8 = 0xa3;
const IP_ADDRESS: u8 = 0x87;

impl Certificate {
    /// Reads DER; `None` when it is no certificate, or holds at a time before 1970.
    //= https://www.rfc-editor.org/rfc/rfc5280#section-4.1
    pub fn parse(der: &[u8]) -> Option<Certificate> {
        let (_, whole, _) = tagged(der)?;
        let (_, signed, _) = tagged(whole)?;
        let (tag, serial, rest) = match tagged(signed)? {
            (VERSION, _, rest) => tagged(rest)?,
            first => first,
        };
        if tag != INTEGER {
            return None;
        }
        let (_, _algorithm, rest) = tagged(rest)?;
        let (_, issuer, rest) = tagged(rest)?;
        let (_, validity, rest) = tagged(rest)?;
        let (not_before, until) = time(validity)?;
        let (not_after, _) = time(until)?;
        let serial = match serial {
            // A number that would be negative without it.
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        };
        let der = CertificateDer::from(der);
        let read = webpki::EndEntityCert::try_from(&der).ok();
        let names = read.iter().flat_map(|read| read.valid_dns_names());
        Some(Certificate {
            serial: serial.iter().map(|byte| format!("{byte:02X}")).collect(),
            issuer: common_name(issuer).unwrap_or_default(),
            names: names
                .map(str::to_owned)
                .chain(addresses(rest).map(|address| address.to_string()))
                .collect(),
            not_before,
            not_after,
        })
    }

    /// Whether it is for this domain name, or this address as text.
    pub fn is_for(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The addresses among the names that a certificate is for, from what stands behind its validity.
//= https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6
fn addresses(behind: &[u8]) -> impl Iterator<Item = IpAddr> + '_ {
    let extensions = elements(behind).filter(|(tag, _)| *tag == EXTENSIONS);
    let extensions = extensions.flat_map(|(_, explicit)| elements(content(explicit)));
    // Extension ::= SEQUENCE { OBJECT IDENTIFIER, BOOLEAN DEFAULT FALSE, OCTET STRING }
    let alternatives = extensions.filter(|(_, extension)| content(extension) == ALTERNATIVE_NAMES);
    let values =
        alternatives.flat_map(|(_, extension)| elements(extension).filter(|(tag, _)| *tag == OCTETS));
    let names = values.flat_map(|(_, value)| elements(content(value)));
    names.filter_map(|(tag, name)| match tag {
        IP_ADDRESS => match name.len() {
            4 => <[u8; 4]>::try_from(name).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(name).ok().map(IpAddr::from),
        },
        _ => None,
    })
}

/// The elements that stand one behind the other in some DER, as far as they are whole.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = tagged(der)?;
        der = rest;
        Some((tag, content))
    })
}

/// The content of the first element; nothing where there is none.
fn content(der: &[u8]) -> &[u8] {
    tagged(der).map(|(_, content, _)| content).unwrap_or_default()
}

/// RDNSequence ::= SEQUENCE OF SET OF SEQUENCE { type, value }
fn common_name(mut sequence: &[u8]) -> Option<String> {
    while let Some((_, set, rest)) = tagged(sequence) {
        let (_, attribute, _) = tagged(set)?;
        if let (OID, COMMON_NAME, value) = tagged(attribute)? {
            let (_, text, _) = tagged(value)?;
            let text = String::from_utf8_lossy(text);
            return Some(text.chars().filter(|c| !c.is_control()).collect());
        }
        sequence = rest;
    }
    None
}

/// A time at the beginning of some DER, and what stands behind it.
//= https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5
fn time(der: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (tag, text, rest) = tagged(der)?;
    let digits = text.strip_suffix(b"Z")?;
    let (year, fields) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = two_digits(digits)?;
            let century = if year < 50 { 2000 } else { 1900 };
            (century + u16::from(year), &digits[2..])
        }
        (GENERALIZED_TIME, 14) => {
            let year = u16::from(two_digits(digits)?) * 100 + u16::from(two_digits(&digits[2..])?);
            (year, &digits[4..])
        }
        _ => return None,
    };
    let field = |n: usize| two_digits(&fields[2 * n..]);
    let time = UnixTime::from_civil(year, field(0)?, field(1)?, field(2)?, field(3)?, field(4)?)?;
    Some((time, rest))
}

fn two_digits(text: &[u8]) -> Option<u8> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', ..] => Some((tens - b'0') * 10 + (ones - b'0')),
        _ => None,
    }
}

/// The hash of a certificate by which a client may bind itself to the server that shows it: with the hash of its own
/// signature, and SHA-256 in place of MD5 and SHA-1. `None` where that is not defined.
//= https://www.rfc-editor.org/rfc/rfc5929#section-4.1
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4];
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, ... }, ... }
    let (inner, _) = der_element(certificate)?;
    let (_, behind_tbs) = der_element(inner)?;
    let (algorithm, _) = der_element(behind_tbs)?;
    let (oid, _) = der_element(algorithm)?;
    let hashed = match (oid.strip_prefix(RSA), oid.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Sha256::digest(certificate).to_vec(),
        (Some([12]), _) | (_, Some([3, 3])) => Sha384::digest(certificate).to_vec(),
        (Some([13]), _) | (_, Some([3, 4])) => Sha512::digest(certificate).to_vec(),
        _ => return None,
    };
    Some(hashed)
}

/// The content of the first element of some DER, and what stands behind it.
fn der_element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    tagged(der).map(|(_, content, rest)| (content, rest))
}

/// The same with the element's tag before it.
fn tagged(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber, date_time_ymd};

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let names = ["one.test".to_owned(), "two.test".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_tells_its_names_its_number_and_its_time() {
        let der = certificate(|params| {
            params.serial_number = Some(SerialNumber::from_slice(&[0xfe, 0x0d, 0x01]));
            params.not_before = date_time_ymd(2026, 1, 31);
            params.not_after = date_time_ymd(2051, 12, 1);
            let name = &mut params.distinguished_name;
            *name = rcgen::DistinguishedName::new();
            name.push(DnType::OrganizationName, "An Organization");
            name.push(DnType::CommonName, "An Authority");
        });
        let read = Certificate::parse(&der).unwrap();
        assert_eq!(read.serial, "FE0D01");
        assert_eq!(read.issuer, "An Authority");
        assert_eq!(read.names, ["one.test", "two.test"]);
        assert_eq!(Some(read.not_before), UnixTime::from_civil(2026, 1, 31, 0, 0, 0));
        // From 2050 on it is written with four digits of the year.
        assert_eq!(Some(read.not_after), UnixTime::from_civil(2051, 12, 1, 0, 0, 0));
        assert!(read.is_for("ONE.test") && !read.is_for("three.test"));
    }

    #[test]
    fn addresses_are_told_behind_the_names() {
        let der = certificate(|params| {
            let addresses: [IpAddr; 2] = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
            let addresses = addresses.map(rcgen::SanType::IpAddress);
            params.subject_alt_names.extend(addresses);
        });
        let read = Certificate::parse(&der).unwrap();
        assert_eq!(read.names, ["one.test", "two.test", "192.0.2.7", "2001:db8::7"]);
        assert!(read.is_for("2001:db8::7") && !read.is_for("192.0.2.8"));
    }

    #[test]
    fn what_is_no_certificate_is_none_wherever_it_ends() {
        let der = certificate(|_| {});
        for end in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..end]), None, "{end}");
        }
        assert_eq!(Certificate::parse(b"-----BEGIN CERTIFICATE-----"), None);
        for at in 0..der.len().min(200) {
            let mut changed = der.clone();
            changed[at] ^= 0xff;
            let _ = Certificate::parse(&changed);
        }
    }
}
