//! The sender of mail that is forwarded to another server.
//!
//! Kept as it is, it would fail the next server's SPF check, since the sender's domain does not name us; replaced by the
//! forwarding account's address, bounces would come to somebody who did not send the message. So it is wrapped into an
//! address of ours that leads back: `SRS0=mac=day=domain=local@ours`, the form that other servers know. The code proves that
//! we made it, so that nobody relays through us with it, and the day ends it.

use hmac::{Hmac, Mac};
use ringpost_base::UnixTime;
use sha2::Sha256;
use subtle::ConstantTimeEq;

const TAG: &str = "SRS0=";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of the code: 40 bits, to be guessed over the network.
const MAC_CHARS: usize = 8;
/// Days after which nothing leads back: twice what servers usually try a message for, and as long again for the notice.
const DAYS: u64 = 21;
/// Days are told by two characters.
const DAY_CYCLE: u64 = 32 * 32;
const DAY_S: u64 = 86_400;

/// Makes and reads such addresses.
pub(crate) struct ReturnPaths(Hmac<Sha256>);

impl ReturnPaths {
    /// With a key that belongs to the data folder: what one process made another reads.
    pub(crate) fn new(seal_key: &[u8; 32]) -> Self {
        let keyed =
            |key: &[u8]| <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
        let mut derive = keyed(seal_key);
        derive.update(b"return path");
        ReturnPaths(keyed(&derive.finalize().into_bytes()))
    }

    /// The local part that leads back to `local@domain`.
    pub(crate) fn wrap(&self, local: &str, domain: &str, now: UnixTime) -> String {
        let day = two(now.as_secs() / DAY_S % DAY_CYCLE);
        format!("{TAG}{}={day}={domain}={local}", self.mac(&day, domain, local))
    }

    /// Where such a local part leads back to; `None` when it is none, not ours, or too old.
    pub(crate) fn unwrap(&self, local: &str, now: UnixTime) -> Option<(String, String)> {
        let rest = local.get(TAG.len()..)?;
        if !is_wrapped(local) {
            return None;
        }
        let mut parts = rest.splitn(4, '=');
        let (mac, day, domain, local) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let today = now.as_secs() / DAY_S % DAY_CYCLE;
        let age = (today + DAY_CYCLE - of_two(day)?) % DAY_CYCLE;
        let expected = self.mac(&day.to_ascii_uppercase(), domain, local);
        let proven: bool = expected
            .as_bytes()
            .ct_eq(mac.to_ascii_uppercase().as_bytes())
            .into();
        (proven && age <= DAYS && !local.is_empty()).then(|| (local.to_owned(), domain.to_owned()))
    }

    /// Of what stays the same when somebody on the way changes capitals.
    fn mac(&self, day: &str, domain: &str, local: &str) -> String {
        let mut mac = self.0.clone();
        for part in [day, &domain.to_lowercase(), &local.to_lowercase()] {
            mac.update(part.as_bytes());
            mac.update(b"\0");
        }
        let mac = mac.finalize().into_bytes();
        let bits = mac
            .iter()
            .take(5)
            .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        (0..MAC_CHARS)
            .map(|n| char::from(BASE32[(bits >> (35 - 5 * n) & 31) as usize]))
            .collect()
    }
}

/// Whether a local part has the form of one that leads back.
pub(crate) fn is_wrapped(local: &str) -> bool {
    local
        .get(..TAG.len())
        .is_some_and(|tag| tag.eq_ignore_ascii_case(TAG))
}

fn two(n: u64) -> String {
    [n / 32, n % 32]
        .map(|n| char::from(BASE32[(n & 31) as usize]))
        .iter()
        .collect()
}

fn of_two(text: &str) -> Option<u64> {
    let value = |c: u8| {
        BASE32
            .iter()
            .position(|b| *b == c.to_ascii_uppercase())
            .map(|n| n as u64)
    };
    match text.as_bytes() {
        [a, b] => Some(value(*a)? * 32 + value(*b)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn days(n: u64) -> UnixTime {
        NOW + Duration::from_secs(n * DAY_S)
    }

    #[test]
    fn a_wrapped_sender_leads_back_in_any_case_for_three_weeks() {
        let paths = ReturnPaths::new(&[7; 32]);
        let wrapped = paths.wrap("Joe=Smith+x", "example.com", NOW);
        assert!(wrapped.starts_with("SRS0=") && wrapped.ends_with("=example.com=Joe=Smith+x"));
        let back = |wrapped: &str, now| {
            paths
                .unwrap(wrapped, now)
                .map(|(local, domain)| format!("{local}@{domain}"))
        };
        assert_eq!(back(&wrapped, NOW).as_deref(), Some("Joe=Smith+x@example.com"));
        let lower = back(&wrapped.to_lowercase(), days(21));
        assert_eq!(lower.as_deref(), Some("joe=smith+x@example.com"));
        assert_eq!(paths.unwrap(&wrapped, days(22)), None);
        assert_eq!(paths.unwrap(&wrapped, days(1023)), None, "it is not of tomorrow");
    }

    // Guards pitfall SMTP 4: nobody relays with an address that we did not make.
    #[test]
    fn a_sender_that_was_not_wrapped_here_leads_nowhere() {
        let paths = ReturnPaths::new(&[7; 32]);
        let wrapped = paths.wrap("joe", "example.com", NOW);
        assert_eq!(ReturnPaths::new(&[8; 32]).unwrap(&wrapped, NOW), None);
        assert_eq!(paths.unwrap(&wrapped.replace("joe", "jim"), NOW), None);
        assert_eq!(paths.unwrap(&wrapped.replace(".com", ".net"), NOW), None);
        for bad in [
            "",
            "SRS0",
            "SRS0=",
            "SRS0=AAAAAAAA=AA=example.com=",
            "srs0=a=b",
            "ß",
            "SRS0ß",
            "SRS0=ä=ö=ü=ß",
        ] {
            assert_eq!(paths.unwrap(bad, NOW), None, "{bad}");
        }
    }
}
