use super::*;

fn decoy() -> DecoyKey {
    DecoyKey::new([3; 32], MIN_ITERATIONS)
}

fn server(mechanism: Mechanism) -> Server {
    Server::new(mechanism, &mut Rng::from_number(1), &decoy())
}

fn password(authzid: Option<&str>, user: &str, password: &str) -> Step {
    Step::CheckPassword(Password {
        authzid: authzid.map(str::to_owned),
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

#[test]
fn plain_comes_with_the_command_or_behind_an_empty_challenge() {
    let message = plain_message("", "tim", "tanstaaftanstaaf");
    assert_eq!(message, b"\0tim\0tanstaaftanstaaf");
    let mut s = server(Mechanism::Plain);
    assert_eq!(
        s.start(Some(&message)),
        Ok(password(None, "tim", "tanstaaftanstaaf"))
    );
    assert_eq!(s.handle_response(&message), Err(SaslError::OutOfTurn));
    let mut s = server(Mechanism::Plain);
    assert_eq!(s.start(None), Ok(Step::Challenge(vec![])));
    let as_ursel = plain_message("Ursel", "Kurt", "xipj3plmq");
    assert_eq!(
        s.handle_response(&as_ursel),
        Ok(password(Some("Ursel"), "Kurt", "xipj3plmq"))
    );
}

#[test]
fn plain_out_of_shape_is_refused() {
    for bad in [
        &b"tim"[..],
        b"\0tim",
        b"\0\0secret",
        b"\0tim\0",
        b"\0tim\0secret\0",
        b"\0tim\0\xff",
    ] {
        assert!(
            matches!(
                server(Mechanism::Plain).start(Some(bad)),
                Err(SaslError::Malformed(_))
            ),
            "{bad:?}"
        );
    }
    let long = vec![b'a'; limits::SASL_MESSAGE_BYTES + 1];
    assert_eq!(
        server(Mechanism::Plain).start(Some(&long)),
        Err(SaslError::TooLong)
    );
}

#[test]
fn login_asks_for_the_name_and_then_the_password() {
    let mut s = server(Mechanism::Login);
    assert_eq!(s.start(None), Ok(Step::Challenge(b"Username:".to_vec())));
    assert_eq!(
        s.handle_response(b"tim"),
        Ok(Step::Challenge(b"Password:".to_vec()))
    );
    assert_eq!(s.handle_response(b"secret"), Ok(password(None, "tim", "secret")));
    let mut s = server(Mechanism::Login);
    assert_eq!(s.start(Some(b"tim")), Ok(Step::Challenge(b"Password:".to_vec())));
    assert!(server(Mechanism::Login).start(Some(b"")).is_err());
}

/// RFC 7677 §3.
#[test]
fn the_scram_example_of_the_rfc() {
    let salt = crate::base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==", 16).unwrap();
    let keys = ScramKeys::derive("pencil", &salt, 4096).unwrap();
    let mut s = Server::scram_with_nonce("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    s.start(Some(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")).unwrap();
    let challenge = s.handle_keys(Some(&keys)).unwrap();
    let want = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(challenge, Step::Challenge(want.as_bytes().to_vec()));
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let v = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
    assert_eq!(s.handle_response(last), Ok(Step::Challenge(v)));
    assert_eq!(
        s.handle_response(b""),
        Ok(Step::Authenticated {
            authzid: None,
            user: "user".into()
        })
    );
}

fn scram(known: Option<&ScramKeys>, password: &str) -> Result<Step, SaslError> {
    let mut s = server(Mechanism::ScramSha256);
    let bare = "n=a=2Cb=3Dc,r=xyz";
    let gs2 = "y,a=boss,";
    let fetch = s.start(Some(format!("{gs2}{bare}").as_bytes()))?;
    assert_eq!(fetch, Step::FetchKeys { user: "a,b=c".into() });
    let Step::Challenge(server_first) = s.handle_keys(known)? else {
        panic!("a challenge")
    };
    let (last, v) = scram::client_final(
        password,
        bare,
        gs2.as_bytes(),
        std::str::from_utf8(&server_first).unwrap(),
    );
    assert_eq!(
        s.handle_response(last.as_bytes())?,
        Step::Challenge(v.into_bytes())
    );
    s.handle_response(b"")
}

#[test]
fn scram_knows_the_right_password_and_hides_who_exists() {
    let keys = ScramKeys::derive("p\u{a0}w", b"0123456789abcdef", MIN_ITERATIONS).unwrap();
    let done = Step::Authenticated {
        authzid: Some("boss".into()),
        user: "a,b=c".into(),
    };
    assert_eq!(scram(Some(&keys), "p w"), Ok(done));
    assert_eq!(scram(Some(&keys), "pw"), Err(SaslError::Refused));
    assert_eq!(scram(None, "p w"), Err(SaslError::Refused));
    let asked = || {
        let mut s = server(Mechanism::ScramSha256);
        s.start(Some(b"n,,n=nobody,r=x")).unwrap();
        s.handle_keys(None).unwrap()
    };
    assert_eq!(asked(), asked(), "the salt of nobody does not change");
}

#[test]
fn scram_messages_out_of_shape_are_refused() {
    let first = |m: &str| server(Mechanism::ScramSha256).start(Some(m.as_bytes()));
    assert_eq!(first("p=tls-unique,,n=a,r=b"), Err(SaslError::ChannelBinding));
    for bad in [
        "",
        "n",
        "n,,",
        "n,,m=x,n=a,r=b",
        "x,,n=a,r=b",
        "n,b,n=a,r=b",
        "n,,n=,r=b",
        "n,,n=a=2,r=b",
        "n,,n=a,r=",
    ] {
        assert!(matches!(first(bad), Err(SaslError::Malformed(_))), "{bad:?}");
    }
    let last = |m: &str| {
        let mut s = Server::scram_with_nonce("S");
        s.start(Some(b"n,,n=a,r=C")).unwrap();
        s.handle_keys(None).unwrap();
        s.handle_response(m.as_bytes())
    };
    let proof = crate::base64::encode(&[0; 32]);
    assert_eq!(last(&format!("c=biws,r=CS,p={proof}")), Err(SaslError::Refused));
    assert_eq!(
        last(&format!("c=eSws,r=CS,p={proof}")),
        Err(SaslError::ChannelBinding)
    );
    for bad in [
        "c=biws,r=CS",
        "c=biws,r=CS,p=AAAA",
        "r=CS,p=AAAA",
        &format!("c=biws,r=CT,p={proof}"),
    ] {
        assert!(matches!(last(bad), Err(SaslError::Malformed(_))), "{bad:?}");
    }
}

#[test]
fn mechanisms_are_known_by_name() {
    assert_eq!(Mechanism::from_name("plain"), Some(Mechanism::Plain));
    assert_eq!(
        Mechanism::from_name("SCRAM-SHA-256"),
        Some(Mechanism::ScramSha256)
    );
    let plus = Some(Mechanism::ScramSha256Plus);
    assert_eq!(Mechanism::from_name("scram-sha-256-plus"), plus);
    assert_eq!(Mechanism::from_name("SCRAM-SHA-1"), None);
    assert!(!Mechanism::ScramSha256.shows_password());
}

/// What comes of an exchange with this GS2 header, where the client binds itself to `data`.
fn bound(
    mechanism: Mechanism,
    bindings: &ChannelBindings,
    gs2: &str,
    data: &[u8],
) -> Result<Step, SaslError> {
    let keys = ScramKeys::derive("pencil", b"0123456789abcdef", MIN_ITERATIONS).unwrap();
    let mut s = Server::bound(mechanism, &mut Rng::from_number(1), &decoy(), bindings);
    s.start(Some(format!("{gs2}n=user,r=xyz").as_bytes()))?;
    let Step::Challenge(server_first) = s.handle_keys(Some(&keys))? else {
        panic!("a challenge")
    };
    let header = [gs2.as_bytes(), data].concat();
    let first = std::str::from_utf8(&server_first).unwrap();
    let (last, _) = scram::client_final("pencil", "n=user,r=xyz", &header, first);
    s.handle_response(last.as_bytes())
}

#[test]
fn a_binding_must_be_the_connections_own() {
    let bindings = ChannelBindings {
        exporter: Some(vec![1; 32]),
        server_end_point: Some(vec![2; 32]),
    };
    let none = ChannelBindings::default();
    let (scram, plus) = (Mechanism::ScramSha256, Mechanism::ScramSha256Plus);
    for (gs2, data) in [("p=tls-exporter,,", 1), ("p=tls-server-end-point,,", 2)] {
        assert!(bound(plus, &bindings, gs2, &[data; 32]).is_ok(), "{gs2}");
        assert_eq!(
            bound(plus, &bindings, gs2, &[9; 32]),
            Err(SaslError::ChannelBinding)
        );
        assert_eq!(
            bound(scram, &bindings, gs2, &[data; 32]),
            Err(SaslError::ChannelBinding)
        );
        assert_eq!(
            bound(plus, &none, gs2, &[data; 32]),
            Err(SaslError::ChannelBinding)
        );
    }
    assert!(bound(scram, &bindings, "n,,", b"").is_ok());
    assert!(bound(scram, &none, "y,,", b"").is_ok());
    // The client was told that there is no binding, and there is one.
    assert_eq!(
        bound(scram, &bindings, "y,,", b""),
        Err(SaslError::ChannelBinding)
    );
    for gs2 in ["n,,", "y,,", "p=tls-unique,,"] {
        assert_eq!(
            bound(plus, &bindings, gs2, b""),
            Err(SaslError::ChannelBinding),
            "{gs2}"
        );
    }
}

// RFC 5802 §5.1: an extension that nobody here knows is passed over, and counts for the proof; `m=` may not be.
#[test]
fn unknown_extensions_are_ignored_and_mandatory_ones_refused() {
    let keys = ScramKeys::derive("pencil", b"0123456789abcdef", MIN_ITERATIONS).unwrap();
    let talk = |extensions: &str| {
        let bare = format!("n=user,r=xyz{extensions}");
        let mut s = Server::new(Mechanism::ScramSha256, &mut Rng::from_number(1), &decoy());
        s.start(Some(format!("n,,{bare}").as_bytes()))?;
        let Step::Challenge(server_first) = s.handle_keys(Some(&keys))? else {
            panic!("a challenge")
        };
        let first = std::str::from_utf8(&server_first).unwrap();
        let (last, _) = scram::client_final("pencil", &bare, b"n,,", first);
        assert!(last.contains(extensions), "{last}");
        s.handle_response(last.as_bytes())
    };
    for fine in ["", ",x=1", ",x=1,y=a=b"] {
        assert!(talk(fine).is_ok(), "{fine}");
    }
    for bad in [",m=1", ",x=1,m=1", ",x", ",x=", ",1=x"] {
        assert!(matches!(talk(bad), Err(SaslError::Malformed(_))), "{bad}");
    }
}
