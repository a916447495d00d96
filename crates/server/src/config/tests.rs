use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("ringpost.toml")).map_err(|error| error.to_string())
}

/// The reference with its optional keys switched on.
fn uncommented() -> String {
    let is_key = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let lines = REFERENCE.lines().map(|line| {
        line.strip_prefix("# ")
            .filter(|rest| is_key(rest))
            .unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every key of a table, dotted.
fn keys(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                keys(
                    &if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    },
                    value,
                    found,
                );
            }
        }
        _ => drop(found.insert(prefix.to_string())),
    }
}

#[test]
fn the_reference_is_the_defaults() {
    assert_eq!(parse(REFERENCE), Ok(Config::default()));
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let text = uncommented();
    let config = parse(&text).expect("the examples are good values");
    let (mut in_text, mut in_code) = (BTreeSet::new(), BTreeSet::new());
    let table: Value = toml::from_str(&text).expect("it parsed above");
    keys("", &table, &mut in_text);
    keys(
        "",
        &serde_json::to_value(&config).expect("a configuration is data"),
        &mut in_code,
    );
    assert_eq!(in_text, in_code);
    assert!(in_code.len() > 20, "{in_code:?}");
}

#[test]
fn a_listener_is_off_or_an_address_or_several() {
    let config = parse(
        "[listen]\nsip_udp = \"127.0.0.1:5070\"\nimap = \"off\"\nsmtp = [\"[::1]:2525\", \"127.0.0.1:2525\"]",
    );
    let listen = config.expect("all good").listen;
    assert_eq!(listen.sip_udp.addresses(), ["127.0.0.1:5070".parse().unwrap()]);
    assert!(listen.imap.addresses().is_empty());
    assert_eq!(listen.smtp.addresses().len(), 2);
    assert_eq!(listen.imaps, Service::Imaps.default_listener());
}

#[test]
fn what_is_wrong_is_told_in_one_line_with_its_key() {
    for (text, told) in [
        (
            "domain = [\"x\"]",
            "ringpost.toml:1: unknown field `domain`, expected one of `data`",
        ),
        (
            "\n[listen]\nsipp = \"off\"",
            "ringpost.toml:3: unknown field `sipp`, expected one of `sip_udp`",
        ),
        (
            "[listen]\nimap = \"143\"",
            "ringpost.toml:2: listen.imap: \"143\" is not an address with a port; write",
        ),
        (
            "[listen]\nimap = 143",
            "ringpost.toml:2: listen.imap: invalid type: integer `143`, expected \"off\", an address",
        ),
        (
            "domains = 3",
            "ringpost.toml:1: domains: invalid type: integer `3`, expected a sequence; `ringpost config default` shows",
        ),
        (
            "[media]\nports = \"5\"",
            "ringpost.toml:2: media.ports: \"5\" is not a range of ports; write it like",
        ),
        (
            "trusted_networks = [\"x\"]",
            "ringpost.toml:1: trusted_networks: \"x\" is not a network; write it like",
        ),
        (
            "public_address = \"x\"",
            "ringpost.toml:1: public_address: invalid IP address syntax; `ringpost config default` shows",
        ),
        ("[tls]\nkey = \"a\"", "ringpost.toml: tls.certificate: is missing"),
        (
            "domains = [\"a b\"]",
            "ringpost.toml: domains: \"a b\" is not a domain's name; write it like",
        ),
        (
            "[voicemail]\nno_answer_s = 0",
            "ringpost.toml: voicemail.no_answer_s: 0 is out of range; it may be 1 to 170",
        ),
        (
            "[sip]\ndigest = []",
            "ringpost.toml: sip.digest: write each algorithm once",
        ),
        (
            "[sip]\noutbound_networks = [\"10.0.0.0/99\"]",
            "ringpost.toml:2: sip.outbound_networks: \"10.0.0.0/99\" is not a network; write it like",
        ),
        (
            "[dns]\nservers = [\"192.0.2.53\"]",
            "ringpost.toml:2: dns.servers: invalid socket address syntax; `ringpost config default` shows",
        ),
        (
            "[sip]\ndigest = [\"SHA-1\"]",
            "ringpost.toml:2: sip.digest: unknown variant `SHA-1`, expected",
        ),
        (
            "[limits]\ncalls = 0",
            "ringpost.toml: limits.calls: 0 would refuse everything",
        ),
        (
            "[listen]\nimap = \"127.0.0.1:9\"\nsmtp = \"127.0.0.1:9\"",
            "ringpost.toml: listen.imap: 127.0.0.1:9 is listen.smtp's already",
        ),
        (
            "[acme]\nenabled = true",
            "ringpost.toml: acme.agree_to_terms: is false; read the terms of the authority at https://acme-v02.",
        ),
        (
            "[acme]\ndirectory = \"http://ca.test\"",
            "ringpost.toml: acme.directory: \"http://ca.test\" is no address of a directory; write it like",
        ),
        (
            "[acme]\ncontact = [\"admin\"]",
            "ringpost.toml: acme.contact: \"admin\" is no address of mail; write it like",
        ),
        (
            "[acme]\nnames = [\"*.example.org\"]",
            "ringpost.toml: acme.names: \"*.example.org\" is not a domain's name in full; write it like",
        ),
        (
            "[acme]\nchallenge = \"dns-01\"",
            "ringpost.toml:2: acme.challenge: unknown variant `dns-01`, expected",
        ),
        (
            "[acme]\nenabled = true\nagree_to_terms = true\nlisten = \"off\"",
            "ringpost.toml: acme.listen: is \"off\", and the authority must be answered; set an address that port 80",
        ),
        (
            "[acme]\nexternal_account_key_id = \"x\"",
            "ringpost.toml: acme.external_account_key_file: is missing",
        ),
        (
            "[acme]\nenabled = true\nagree_to_terms = true\n[tls]\ncertificate = \"a\"\nkey = \"b\"",
            "ringpost.toml: tls.certificate: is set, and so is acme.enabled; leave one of them out",
        ),
        (
            "[acme]\nenabled = true\nagree_to_terms = true\n[listen]\nimap = \"0.0.0.0:80\"",
            "ringpost.toml: acme.listen: 0.0.0.0:80 is listen.imap's already; give one of them another port",
        ),
        (
            "[voicemail]\nno_answer_s = -3",
            "ringpost.toml:2: voicemail.no_answer_s: invalid value: integer `-3`, expected a whole number from 0 to 4294967295; `ringpost config default`",
        ),
        ("data = \"\"", "ringpost.toml: data: is empty; name a folder"),
        ("this is not toml", "ringpost.toml:1: "),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(told), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn challenges_are_answered_at_the_port_of_their_kind_and_only_when_they_are_wanted() {
    let listener = |text: &str| parse(text).expect("all good").listener(Service::Acme);
    assert!(listener("").addresses().is_empty());
    let on = "[acme]\nenabled = true\nagree_to_terms = true\n";
    assert_eq!(listener(on), Listener::everywhere(80));
    let tls = format!("{on}challenge = \"tls-alpn-01\"\n");
    assert_eq!(listener(&tls), Listener::everywhere(443));
    assert!(Service::Acme.is_default(&listener(&tls)) && Service::Acme.is_default(&listener(on)));
    let set = listener(&format!("{on}listen = \"127.0.0.1:8080\"\n"));
    assert_eq!(set.addresses(), ["127.0.0.1:8080".parse().unwrap()]);
    assert!(!Service::Acme.is_default(&set));
}

#[test]
fn sip_shares_its_port_between_udp_and_tcp() {
    assert!(parse("[listen]\nsip_udp = \"127.0.0.1:9\"\nsip_tcp = \"127.0.0.1:9\"").is_ok());
}

#[test]
fn a_file_that_is_named_must_exist() {
    let error = Config::load(Some(Path::new("/no/such/file.toml")))
        .expect_err("it does not exist")
        .to_string();
    assert!(error.starts_with("/no/such/file.toml: "), "{error}");
}

#[test]
fn the_host_gives_the_domain_when_none_is_set() {
    assert!(is_domain(&Config::default().first_domains()[0]));
    for bad in ["", "-a.org", "a..b", "a_b", "a b", "192.0.2.1", &"x".repeat(64)] {
        assert!(!is_domain(bad), "{bad}");
    }
}

#[test]
fn a_number_leads_to_one_mount() {
    let good = parse("[streams]\nmounts.\"alice/door\" = { extension = \"*701\" }\n").unwrap();
    let numbers = good.streams.numbers();
    assert_eq!(
        (&*numbers[0].number, numbers[0].mount.as_str()),
        ("*701", "alice/door")
    );
    for (mounts, why) in [
        (
            "\"alice/*\" = { extension = \"701\" }",
            "one number for many mounts",
        ),
        ("\"alice/door\" = { extension = \"door\" }", "is no number"),
        ("\"alice/door\" = { extension = \"\" }", "is no number"),
        (
            "a = { extension = \"7\" }\nmounts.b = { extension = \"7\" }",
            "also the number of",
        ),
    ] {
        let error = parse(&format!("[streams]\nmounts.{mounts}\n")).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn who_is_let_in_is_one_of_two_words_or_what_can_be_a_name() {
    let read = |name: &str| parse(&format!("[streams]\nmounts.\"a/b\" = {{ read = [{name:?}] }}\n"));
    let long = format!("{}-{}", "a".repeat(64), "b".repeat(32));
    for name in [
        "anyone",
        "accounts",
        "bob",
        "Bob.B@example.org",
        "account@example.org",
        "jörg",
        "bob-cam",
        "carol-desk.2",
        &long,
    ] {
        assert!(read(name).is_ok(), "{name}");
    }
    for (name, why) in [
        ("Anyone", "none of the words"),
        ("account", "none of the words"),
        ("Accounts", "none of the words"),
        ("everyone", "none of the words"),
        ("*", "is nobody"),
        ("", "is nobody"),
        ("two words", "is nobody"),
        ("bob@", "is nobody"),
        ("@example.org", "is nobody"),
        ("alice/door", "is nobody"),
        (".bob", "is nobody"),
    ] {
        let error = read(name).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(
            error.contains("\"anyone\", \"accounts\""),
            "it says what is expected: {error}"
        );
        assert!(error.contains(".read"), "{error}");
    }
}

// Files of a folder are mounts below it.
#[test]
fn a_folders_line_holds_for_its_files_where_they_have_none_of_their_own() {
    for (more, below) in [
        ("", Some(true)),
        ("mounts.\"alice/music/*\" = { read = [\"bob\"] }\n", Some(false)),
        ("mounts.\"alice/music/**\" = { read = [\"bob\"] }\n", None),
    ] {
        let music = "mounts.\"alice/music\" = { folder = \"/srv/music\", read = [\"anyone\"] }\n";
        let config = parse(&format!("[streams]\n{music}{more}")).unwrap();
        let rules = config.streams.rules();
        let of = |pattern: &str| {
            rules
                .iter()
                .filter(|rule| rule.pattern.to_string() == pattern)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("alice/music").len(), 1);
        let files = of("alice/music/*");
        let is_open = files.first().map(|rule| rule.read == of("alice/music")[0].read);
        assert_eq!((is_open, files.len() < 2), (below, true), "{more}");
    }
}
