use super::*;
use ringpost_base::{Rng, UnixTime};
use std::time::Duration;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn server() -> Authenticator {
    Authenticator::new("example.com", Rng::from_number(1), Policy::default())
}

fn client() -> DigestClient {
    DigestClient::new("example.com", "alice", "secret", Rng::from_number(2))
}

fn keys() -> DigestKeys {
    DigestKeys::derive("alice", "example.com", "secret")
}

fn challenged(server: &mut Authenticator, client: &mut DigestClient, offer: Offer) {
    let values: Vec<String> = server
        .challenge(NOW, offer, false)
        .map(|c| c.to_string())
        .collect();
    client
        .handle_challenges(values.iter().map(String::as_str))
        .unwrap();
}

fn judge(server: &mut Authenticator, now: UnixTime, header: &str) -> Verdict {
    server.verify(
        now,
        &Credentials::parse(header).unwrap(),
        "REGISTER",
        Some(&keys()),
    )
}

/// RFC 7616 §3.9.1.
#[test]
fn the_rfc_example_is_proven_with_both_algorithms() {
    let keys = DigestKeys::derive("Mufasa", "http-auth@example.org", "Circle of Life");
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ] {
        let text = format!(
            "Digest username=\"Mufasa\",\r\n realm=\"http-auth@example.org\",\r\n uri=\"/dir/index.html\",\r\n \
             algorithm={algorithm},\r\n nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\",\r\n nc=00000001,\r\n \
             cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\",\r\n qop=auth,\r\n response=\"{response}\",\r\n \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let credentials = Credentials::parse(&text).unwrap();
        let algorithm = credentials.algorithm.unwrap();
        assert!(credentials.proves("GET", algorithm, &keys));
        assert!(!credentials.proves("PUT", algorithm, &keys));
        assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
    }
}

/// RFC 7616 §3.9.2, whose algorithm is not ours: the parameters are read all the same.
#[test]
fn an_extended_user_name_is_decoded_and_an_unknown_algorithm_is_said() {
    let text = "Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, realm=\"api@example.org\", uri=\"/doe.json\", \
                algorithm=SHA-512-256, nonce=\"5TsQ\", nc=00000001, cnonce=\"NTg6\", qop=auth, response=\"ae66\", \
                userhash=false";
    let credentials = Credentials::parse(text).unwrap();
    assert_eq!(credentials.username, "Jäsøn Doe");
    assert_eq!(credentials.algorithm, None);
    assert!(!credentials.userhash);
}

#[test]
fn credentials_out_of_shape_are_refused() {
    let rest = "realm=\"r\", nonce=\"n\", uri=\"u\", response=\"00\"";
    for bad in [
        "Digest username=\"a\"",
        &format!("Digest {rest}"),
        &format!("Digest username=\"a\", username=\"b\", {rest}"),
        &format!("Digest username=\"a\", username*=UTF-8''a, {rest}"),
        &format!("Digest username=\"a\", {rest}, qop=auth-int, nc=00000001, cnonce=\"c\""),
        &format!("Digest username=\"a\", {rest}, qop=auth, nc=1, cnonce=\"c\""),
        &format!("Digest username=\"a\", {rest}, qop=auth, nc=+0000001, cnonce=\"c\""),
        &format!("Digest username=\"a\", {rest}, qop=auth, nc=00000001"),
    ] {
        assert!(Credentials::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_client_answers_with_the_strongest_and_counts_up() {
    let (mut server, mut client) = (server(), client());
    assert_eq!(client.authorize("REGISTER", "sip:example.com"), None);
    challenged(&mut server, &mut client, Offer::All);
    for nc in 1..=3 {
        let header = client.authorize("REGISTER", "sip:example.com").unwrap();
        assert!(header.contains("algorithm=SHA-256"));
        assert!(header.contains(&format!("nc={nc:08x}")));
        assert_eq!(judge(&mut server, NOW, &header), Verdict::Granted);
    }
    assert_eq!(server.used_nonces(), 1);
}

#[test]
fn a_client_that_knows_md5_alone_is_served() {
    let (mut server, mut client) = (server(), client());
    let md5 = server
        .challenge(NOW, Offer::All, false)
        .last()
        .unwrap()
        .to_string();
    client.handle_challenges([&md5[..]]).unwrap();
    let header = client.authorize("REGISTER", "sip:example.com").unwrap();
    assert!(header.contains("algorithm=MD5"));
    assert_eq!(judge(&mut server, NOW, &header), Verdict::Granted);
}

// Guards pitfall SIP 12: credentials go only to the realm that was dialled.
#[test]
fn a_client_gives_nothing_to_another_realm_or_without_qop() {
    let mut client = client();
    let other = "Digest realm=\"evil.example\", nonce=\"n\", qop=\"auth\", algorithm=MD5";
    assert_eq!(client.handle_challenges([other]), Err(ChallengeError::OtherRealm));
    for bare in [
        "Digest realm=\"example.com\", nonce=\"n\"",
        "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth-int\"",
        "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\", algorithm=MD5-sess",
    ] {
        assert_eq!(
            client.handle_challenges(["Basic realm=\"x\"", bare]),
            Err(ChallengeError::Unanswerable)
        );
    }
    assert_eq!(client.authorize("REGISTER", "sip:example.com"), None);
    client
        .handle_challenges([
            other,
            "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth-int, auth\"",
        ])
        .unwrap();
    assert!(
        client
            .authorize("REGISTER", "sip:example.com")
            .unwrap()
            .contains("realm=\"example.com\"")
    );
}

// Guards pitfall SIP 12: nonces verify themselves, expire with stale=true, and count nc.
#[test]
fn an_old_nonce_and_a_replayed_count_are_stale() {
    let (mut server, mut client) = (server(), client());
    challenged(&mut server, &mut client, Offer::All);
    let first = client.authorize("REGISTER", "sip:example.com").unwrap();
    let second = client.authorize("REGISTER", "sip:example.com").unwrap();
    let third = client.authorize("REGISTER", "sip:example.com").unwrap();
    assert_eq!(judge(&mut server, NOW, &second), Verdict::Granted);
    assert_eq!(
        judge(&mut server, NOW, &first),
        Verdict::Granted,
        "overtaken, but fresh"
    );
    assert_eq!(judge(&mut server, NOW, &first), Verdict::Stale);
    assert_eq!(judge(&mut server, NOW, &second), Verdict::Stale);
    assert_eq!(
        judge(&mut server, NOW + Duration::from_secs(301), &third),
        Verdict::Stale
    );
    assert!(
        server
            .challenge(NOW, Offer::All, true)
            .all(|c| c.stale && c.to_string().ends_with("stale=true"))
    );
}

#[test]
fn a_client_is_told_whether_its_credentials_were_stale_or_wrong() {
    let (mut server, mut client) = (server(), client());
    for (stale, want) in [(false, Challenged::Anew), (true, Challenged::Stale)] {
        let values: Vec<String> = server
            .challenge(NOW, Offer::All, stale)
            .map(|c| c.to_string())
            .collect();
        assert_eq!(
            client.handle_challenges(values.iter().map(String::as_str)),
            Ok(want)
        );
    }
}

#[test]
fn a_nonce_that_is_not_ours_is_stale_for_who_knows_the_password_alone() {
    let (mut ours, mut theirs, mut client) = (
        server(),
        Authenticator::new("example.com", Rng::from_number(9), Policy::default()),
        client(),
    );
    challenged(&mut theirs, &mut client, Offer::All);
    let header = client.authorize("REGISTER", "sip:example.com").unwrap();
    let credentials = Credentials::parse(&header).unwrap();
    assert!(!ours.is_worth_a_lookup(NOW, &credentials));
    assert!(theirs.is_worth_a_lookup(NOW, &credentials));
    assert_eq!(judge(&mut ours, NOW, &header), Verdict::Stale);
    let wrong = DigestKeys::derive("alice", "example.com", "guess");
    let refused = Verdict::Refused(Refusal::Response);
    assert_eq!(ours.verify(NOW, &credentials, "REGISTER", Some(&wrong)), refused);
    assert_eq!(ours.verify(NOW, &credentials, "REGISTER", None), refused);
}

#[test]
fn servers_with_one_key_take_each_others_nonces_and_give_out_different_ones() {
    let at =
        |seed| Authenticator::with_key("example.com", &[7; 32], Rng::from_number(seed), Policy::default());
    let (mut a, mut b, mut client) = (at(1), at(2), client());
    challenged(&mut a, &mut client, Offer::Strongest);
    let header = client.authorize("REGISTER", "sip:example.com").unwrap();
    assert_eq!(judge(&mut b, NOW, &header), Verdict::Granted);
    let nonce = |s: &mut Authenticator| {
        s.challenge(NOW, Offer::Strongest, false)
            .next()
            .unwrap()
            .nonce
            .into_owned()
    };
    let mut nonces: Vec<String> = (0..50).flat_map(|_| [nonce(&mut a), nonce(&mut b)]).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 100);
}

#[test]
fn a_wrong_password_realm_scheme_or_method_is_refused() {
    let (mut server, mut client) = (server(), client());
    challenged(&mut server, &mut client, Offer::All);
    let header = client.authorize("INVITE", "sip:example.com").unwrap();
    assert_eq!(
        judge(&mut server, NOW, &header),
        Verdict::Refused(Refusal::Response)
    );
    let header = client.authorize("REGISTER", "sip:example.com").unwrap();
    let other_realm = header.replace("realm=\"example.com\"", "realm=\"example.org\"");
    assert_eq!(
        judge(&mut server, NOW, &other_realm),
        Verdict::Refused(Refusal::Realm)
    );
    for (from, to) in [
        ("qop=auth, ", ""),
        ("SHA-256", "SHA-512"),
        (", qop", ", userhash=true, qop"),
    ] {
        assert_eq!(
            judge(&mut server, NOW, &header.replace(from, to)),
            Verdict::Refused(Refusal::Scheme)
        );
    }
    assert_eq!(judge(&mut server, NOW, &header), Verdict::Granted);
}

#[test]
fn a_hidden_user_name_is_found_by_its_hash() {
    let policy = Policy {
        userhash: true,
        ..Policy::default()
    };
    let mut server = Authenticator::new("example.com", Rng::from_number(1), policy);
    let mut client = client();
    challenged(&mut server, &mut client, Offer::All);
    let header = client.authorize("REGISTER", "sip:example.com").unwrap();
    let credentials = Credentials::parse(&header).unwrap();
    assert!(credentials.userhash);
    assert_eq!(
        credentials.username,
        userhash(Algorithm::Sha256, "alice", "example.com")
    );
    assert_eq!(judge(&mut server, NOW, &header), Verdict::Granted);
}

// Guards pitfall SIP 13: a challenge that must stay small carries the stronger scheme alone.
#[test]
fn a_small_challenge_holds_the_stronger_algorithm_alone() {
    let mut server = server();
    let small: Vec<String> = server
        .challenge(NOW, Offer::Strongest, false)
        .map(|c| c.to_string())
        .collect();
    assert_eq!(small.len(), 1);
    assert!(small[0].contains("algorithm=SHA-256"));
    assert!(small[0].len() < 120, "{}", small[0].len());
    let all: Vec<_> = server
        .challenge(NOW, Offer::All, false)
        .map(|c| c.algorithm)
        .collect();
    assert_eq!(all, [Some(Algorithm::Sha256), Some(Algorithm::Md5)]);
}

#[test]
fn stored_keys_come_back_and_never_show_in_debug_output() {
    assert_eq!(DigestKeys::from_bytes(keys().to_bytes()), keys());
    assert_eq!(format!("{:?}", keys()), "DigestKeys(..)");
}

/// Prints what one verification costs; run with `--ignored --nocapture` in release.
#[test]
#[ignore = "a measurement"]
fn cost_of_one_verification() {
    let (mut server, mut client) = (server(), client());
    let md5 = server
        .challenge(NOW, Offer::All, false)
        .last()
        .unwrap()
        .to_string();
    client.handle_challenges([&md5[..]]).unwrap();
    let headers: Vec<String> = (0..100_000)
        .map(|_| client.authorize("REGISTER", "sip:example.com").unwrap())
        .collect();
    let start = std::time::Instant::now();
    for header in &headers {
        assert_eq!(judge_with(&mut server, header), Verdict::Granted);
    }
    println!("{:?} each", start.elapsed() / 100_000);
}

fn judge_with(server: &mut Authenticator, header: &str) -> Verdict {
    static KEYS: std::sync::LazyLock<DigestKeys> = std::sync::LazyLock::new(keys);
    server.verify(NOW, &Credentials::parse(header).unwrap(), "REGISTER", Some(&KEYS))
}

// Guards pitfall RTSP 4: GStreamer and most cameras know digest without qop alone.
#[test]
fn the_form_without_qop_is_taken_and_answered_only_where_it_is_allowed() {
    let policy = Policy {
        without_qop: true,
        ..Policy::default()
    };
    let mut lenient = Authenticator::new("example.com", Rng::from_number(7), policy);
    let challenge = lenient.challenge(NOW, Offer::All, false).last().unwrap();
    let bare = challenge.to_string().replace(", qop=\"auth\"", "");
    assert_eq!(
        client().handle_challenges([&bare[..]]),
        Err(ChallengeError::Unanswerable)
    );
    let mut client = client().allow_without_qop();
    client.handle_challenges([&bare[..]]).unwrap();
    let header = client.authorize("REGISTER", "sip:example.com").unwrap();
    assert!(!header.contains("qop") && !header.contains("nc=") && !header.contains("cnonce"));
    assert_eq!(judge(&mut lenient, NOW, &header), Verdict::Granted);
    assert_eq!(
        judge(&mut lenient, NOW, &header),
        Verdict::Granted,
        "nothing is counted"
    );
    let late = NOW + Duration::from_secs(301);
    assert_eq!(judge(&mut lenient, late, &header), Verdict::Stale);
    let wrong = header.replace("username=\"alice\"", "username=\"bob\"");
    assert_ne!(wrong, header);
    let other = header.replace("sip:example.com", "sip:example.org");
    assert_eq!(
        judge(&mut lenient, NOW, &other),
        Verdict::Refused(Refusal::Response)
    );
    assert_eq!(
        judge(&mut server(), NOW, &header),
        Verdict::Refused(Refusal::Scheme)
    );
}

// The example of RFC 2069 §2.4, with the response that its errata give.
#[test]
fn the_example_of_rfc_2069() {
    let text = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", \
        response=\"1949323746fe6a43ef61f9606e7febea\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let credentials = Credentials::parse(text).unwrap();
    let keys = DigestKeys::derive("Mufasa", "testrealm@host.com", "CircleOfLife");
    assert!(credentials.proves("GET", Algorithm::Md5, &keys));
    assert!(!credentials.proves("POST", Algorithm::Md5, &keys));
}
