use super::*;

fn uri(text: &str) -> Uri {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn the_parts_of_a_full_uri_are_found() {
    let u = uri("sips:al%20ice;x=1:pw@[2001:db8::9]:5061;transport=tcp;lr?Subject=hi&Priority=");
    assert_eq!(u.scheme(), Scheme::Sips);
    assert_eq!(u.user(), Some("al%20ice;x=1"));
    assert_eq!(&*u.user_unescaped().unwrap(), b"al ice;x=1");
    assert_eq!(u.password(), Some("pw"));
    assert_eq!(u.host(), Some(Host::Ip("2001:db8::9".parse().unwrap())));
    assert_eq!(u.port(), Some(5061));
    assert_eq!(u.param("Transport").unwrap(), "tcp");
    assert!(u.has_param("LR"));
    assert_eq!(
        u.headers().collect::<Vec<_>>(),
        [("Subject", "hi"), ("Priority", "")]
    );
    assert_eq!(
        u.without_headers().as_str(),
        "sips:al%20ice;x=1:pw@[2001:db8::9]:5061;transport=tcp;lr"
    );
}

#[test]
fn other_schemes_stay_whole_and_a_number_is_a_user() {
    let u = uri("tel:+358-555-1234567;phone-context=example.com");
    assert_eq!((u.scheme(), u.user()), (Scheme::Tel, Some("+358-555-1234567")));
    assert_eq!(u.param("phone-context").unwrap(), "example.com");
    let u = uri("nobodyKnowsThisScheme:totallyopaquecontent");
    assert_eq!(
        (u.scheme(), u.scheme_name(), u.host()),
        (Scheme::Other, "nobodyKnowsThisScheme", None)
    );
    assert!(Uri::from_str("http:").is_err());
}

#[test]
fn hosts_named_as_machines_are_taken() {
    for host in [
        "3f2a9b1c",
        "3com.example.",
        "my_host",
        "a-1.b2.c",
        "xn--bcher-kva.example",
    ] {
        assert_eq!(uri(&format!("sip:{host}:5070")).host(), Some(Host::Name(host)));
    }
}

#[test]
fn what_is_not_a_uri_is_refused() {
    for bad in [
        "",
        "sip",
        "sip:",
        "sip:@host",
        "sip:a b@host",
        "sip:host:99999",
        "sip:host:",
        "sip:2001:db8::10",
        "sip:[::1",
        "sip:[zz]",
        "sip:256.1.1.1",
        "sip:host;;lr",
        "sip:host;a=",
        "sip:host?a",
        "sip:host; lr",
        "<sip:host>",
        "sip:u%4@host",
        "sip:a@b@c",
        "sip:ho st",
        "1sip:x",
        "sip:host\r\n",
        "sip:-.",
        "sip:a..b",
        "sip:1.2.3",
        "sip:2001",
    ] {
        assert!(Uri::from_str(bad).is_err(), "{bad:?}");
    }
}

// The two lists of RFC 3261 §19.1.4.
#[test]
fn equivalence_follows_the_lists_of_the_rfc() {
    let same = [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
    ];
    for (a, b) in same {
        assert!(
            uri(a).equivalent(&uri(b)) && uri(b).equivalent(&uri(a)),
            "{a} {b}"
        );
    }
    let different = [
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
        ),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
        ("sip:a%3Bb@h.com", "sip:a;b@h.com"),
    ];
    for (a, b) in different {
        assert!(
            !uri(a).equivalent(&uri(b)) && !uri(b).equivalent(&uri(a)),
            "{a} {b}"
        );
    }
}

#[test]
fn parameters_are_replaced_and_taken_out() {
    let u = uri("sip:bob@h.com;transport=udp;x?a=b");
    assert_eq!(
        u.with_param("Transport", Some("tcp")).unwrap().as_str(),
        "sip:bob@h.com;x;Transport=tcp?a=b"
    );
    assert_eq!(u.without_param("x").as_str(), "sip:bob@h.com;transport=udp?a=b");
    assert!(u.with_param("a b", None).is_err());
}

#[test]
fn a_user_is_escaped_when_a_uri_is_made() {
    let u = Uri::sip(Some("a b@#"), Host::Name("h.com"), Some(5080)).unwrap();
    assert_eq!(u.as_str(), "sip:a%20b%40%23@h.com:5080");
    let u = Uri::sip(None, Host::Ip("::1".parse().unwrap()), None).unwrap();
    assert_eq!(u.as_str(), "sip:[::1]");
    assert!(Uri::sip(None, Host::Name("x y"), None).is_err());
}
