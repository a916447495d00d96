//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::digest::{Authenticator, Challenge, Credentials, DigestClient, DigestKeys, Policy, Verdict};
use crate::sasl::{self, DecoyKey, MIN_ITERATIONS, Mechanism, ScramKeys, Step};
use ringpost_base::{Rng, UnixTime, limits};

/// Challenges and credentials: what parses is printed and parses back equal; nothing made up is granted.
pub fn digest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(challenge) = Challenge::parse(text) {
        let printed = challenge.to_string();
        let again = Challenge::parse(&printed).expect("what we print parses");
        assert_eq!(
            (&again.realm, again.qop_auth),
            (&challenge.realm, challenge.qop_auth)
        );
        let mut client = DigestClient::new(&challenge.realm, "u", "p", Rng::from_number(0));
        if client.handle_challenges([text]).is_ok() {
            let header = client.authorize("OPTIONS", "sip:x").expect("there is a nonce");
            Credentials::parse(&header).expect("what a client prints parses");
        }
    }
    if let Ok(credentials) = Credentials::parse(text) {
        let printed = credentials.to_string();
        Credentials::parse(&printed).expect("what we print parses");
        let mut server = Authenticator::new(
            credentials.realm.to_string(),
            Rng::from_number(0),
            Policy::default(),
        );
        let keys = DigestKeys::derive("u", &credentials.realm, "p");
        let verdict = server.verify(UnixTime::from_secs(0), &credentials, "OPTIONS", Some(&keys));
        assert_ne!(verdict, Verdict::Granted, "the nonce is not ours");
    }
}

/// SASL exchanges: the first byte picks the mechanism, lines are the client's responses. Every exchange ends, and none
/// of SCRAM's succeeds.
pub fn sasl(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let mechanism = [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256][usize::from(first % 3)];
    let keys = ScramKeys {
        salt: vec![1; 16],
        iterations: MIN_ITERATIONS,
        stored_key: [1; 32],
        server_key: [2; 32],
    };
    let decoy = DecoyKey::new([0; 32], MIN_ITERATIONS);
    let mut server = sasl::Server::new(mechanism, &mut Rng::from_number(0), &decoy);
    let mut lines = rest.split(|b| *b == b'\n');
    let mut step = server.start(if first & 0x80 == 0 { None } else { lines.next() });
    for _ in 0..8 {
        step = match step {
            Err(_) | Ok(Step::CheckPassword(_)) => return,
            Ok(Step::Authenticated { .. }) => panic!("nobody knows the client's key"),
            Ok(Step::FetchKeys { user }) => server.handle_keys((user.len() % 2 == 0).then_some(&keys)),
            Ok(Step::Challenge(challenge)) => {
                assert!(challenge.len() <= 2 * limits::SASL_MESSAGE_BYTES);
                server.handle_response(lines.next().unwrap_or_default())
            }
        };
    }
    panic!("an exchange has few steps");
}

/// Base64: what decodes is the one encoding of its bytes.
pub fn base64(data: &[u8]) {
    if let Ok(bytes) = crate::base64::decode(data, 1024) {
        assert_eq!(crate::base64::encode(&bytes).as_bytes(), data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(data: &[u8]) {
        let Some((first, rest)) = data.split_first() else {
            return;
        };
        [digest, sasl, base64][usize::from(first % 3)](rest);
    }

    #[test]
    fn the_targets_hold_for_mutated_seeds() {
        let seeds: [&[u8]; 5] = [
            b"\0Digest realm=\"a\", nonce=\"b\", qop=\"auth,auth-int\", algorithm=SHA-256, stale=true, opaque=\"\\\"\"",
            b"\0Digest username=\"a\", realm=\"r\", nonce=\"b\", uri=\"sip:x\", response=\"00\", qop=auth, nc=00000001, cnonce=\"c\"",
            b"\x01\0\n\0user\0pass",
            b"\x01\x02\nn,,n=user,r=abc\nc=biws,r=abc,p=AAAA\n",
            b"\x02Zm9vYg==",
        ];
        let mut rng = Rng::from_number(1);
        for round in 0..20_000 {
            let mut data = seeds[round % seeds.len()].to_vec();
            for _ in 0..rng.below(4) {
                let at = rng.below(data.len() as u64) as usize;
                match rng.below(3) {
                    0 => data[at] = rng.u32() as u8,
                    1 => data.insert(at, b",=\"\\ \0"[rng.below(6) as usize]),
                    _ => {
                        data.remove(at);
                    }
                }
            }
            target(&data);
        }
    }
}
