use super::*;
use crate::testing::{BEGIN, Lab, at_once};
use ringpost_base::Rng;
use ringpost_directory::{Cost, InlineKdf, NewAccount, Parts};
use ringpost_store::{LocalBus, MemoryStore};

struct House {
    streams: Streams,
    _lab: Lab,
    password: String,
    device: (String, String),
}

impl House {
    fn new(rules: Vec<MountRule>) -> Self {
        let lab = Lab::new();
        let parts = Parts {
            store: Arc::new(MemoryStore::new()),
            bus: Arc::new(LocalBus::new()),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: [7; 32],
            rng: Rng::from_number(1),
        };
        let directory = at_once(Directory::open(parts, "example.org", BEGIN)).unwrap();
        let alice = at_once(directory.add_account(NewAccount::new("alice@example.org"), BEGIN)).unwrap();
        at_once(directory.add_account(NewAccount::new("bob@example.org"), BEGIN)).unwrap();
        let device = at_once(directory.add_device("alice@example.org", "door", BEGIN)).unwrap();
        House {
            streams: Streams {
                world: lab.world.clone(),
                directory,
                peers: Arc::default(),
                rules: Arc::new(Mutex::new(rules)),
            },
            _lab: lab,
            password: alice.password,
            device: (device.user, device.secret),
        }
    }

    fn may(&self, user: Option<&str>, mount: &str, access: Access) -> &'static str {
        let mount = mount.parse().unwrap();
        let user = user.map(Into::into);
        let answer = at_once(
            self.streams
                .answer([127, 0, 0, 1].into(), Ask::Authorize { user, mount, access }),
        );
        match answer {
            Answer::Yes => "yes",
            Answer::No => "no",
            Answer::Never => "never",
            _ => "?",
        }
    }
}

#[test]
fn without_a_rule_an_account_has_what_is_below_its_name_and_nobody_else_does() {
    let house = House::new(Vec::new());
    let device = house.device.0.clone();
    for access in [Access::Read, Access::Publish] {
        assert_eq!(house.may(Some("alice"), "alice/door", access), "yes");
        assert_eq!(house.may(Some(&device), "alice/door", access), "yes");
        assert_eq!(
            house.may(Some("alice@example.org"), "alice@example.org/door", access),
            "yes"
        );
        assert_eq!(house.may(Some("bob"), "alice/door", access), "never");
        assert_eq!(house.may(Some("nobody"), "nobody/door", access), "never");
        assert_eq!(house.may(None, "alice/door", access), "no");
    }
}

#[test]
fn the_most_particular_rule_lets_in_whom_it_names() {
    let rule = |pattern: &str, publish: Vec<Who>, read: Vec<Who>| MountRule {
        pattern: pattern.parse().unwrap(),
        publish,
        read,
    };
    let one = |name: &str| Who::One(name.into());
    let house = House::new(vec![
        rule("lobby/**", vec![Who::Accounts], vec![Who::Anyone]),
        rule("lobby/back", vec![one("bob@example.org")], vec![one("bob")]),
    ]);
    assert_eq!(house.may(None, "lobby/front", Access::Read), "yes");
    assert_eq!(house.may(None, "lobby/front", Access::Publish), "no");
    assert_eq!(house.may(Some("bob"), "lobby/front", Access::Publish), "yes");
    assert_eq!(house.may(Some("alice"), "lobby/back", Access::Read), "never");
    assert_eq!(house.may(Some("bob"), "lobby/back", Access::Publish), "yes");
    let (user, _) = &house.device;
    let only = House::new(vec![rule("lobby/back", vec![one(user)], Vec::new())]);
    assert_eq!(only.may(Some(user), "lobby/back", Access::Publish), "yes");
    assert_eq!(only.may(Some("alice"), "lobby/back", Access::Publish), "never");
}

#[test]
fn a_devices_secret_and_an_accounts_password_are_taken_and_others_are_not() {
    let house = House::new(Vec::new());
    let is = |user: &str, password: &str| {
        let ask = Ask::Password {
            user: user.into(),
            password: Password(password.into()),
        };
        matches!(
            at_once(house.streams.answer([127, 0, 0, 1].into(), ask)),
            Answer::Yes
        )
    };
    assert!(is("alice", &house.password));
    assert!(is(&house.device.0, &house.device.1));
    let Answer::Keys(Some(keys)) = at_once(house.streams.answer(
        [127, 0, 0, 1].into(),
        Ask::Keys {
            user: house.device.0.clone(),
        },
    )) else {
        panic!("a device has keys")
    };
    let derived = DigestKeys::derive(&house.device.0, "example.org", &house.device.1);
    assert_eq!(keys.to_bytes(), derived.to_bytes());
}
