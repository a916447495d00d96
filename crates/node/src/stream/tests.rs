use super::*;
use crate::testing::{BEGIN, Lab, at_once};
use ringpost_base::Rng;
use ringpost_directory::{Cost, InlineKdf, NewAccount, Parts};
use ringpost_mail::{Delivery, Mail};
use ringpost_store::{Bodies, FileCommand, LocalBus, MemoryBlobs, MemoryFiles, MemoryStore};

struct House {
    streams: Streams,
    _lab: Lab,
    password: String,
    device: (String, String),
}

impl House {
    fn new(rules: Vec<MountRule>) -> Self {
        let lab = Lab::new();
        let (store, bus) = (Arc::new(MemoryStore::new()), Arc::new(LocalBus::new()));
        let bodies = Bodies::new(
            store.clone(),
            Arc::new(MemoryBlobs::new(|| BEGIN)),
            Rng::from_number(2),
        );
        let mail = Arc::new(Mail::new(store.clone(), bodies, bus.clone(), Rng::from_number(3)));
        let parts = Parts {
            store,
            bus,
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
                shelves: Shelves {
                    sources: Arc::default(),
                    recordings: Arc::new(MemoryFiles::new(|| BEGIN)),
                    mail,
                },
                pulls: pulls::tests::sources(&[], &[]),
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

#[test]
fn voicemails_and_recordings_are_listed_and_read_and_nothing_else_is() {
    let house = House::new(Vec::new());
    let ask = |ask: Ask| at_once(house.streams.answer([127, 0, 0, 1].into(), ask));
    let list = |mount: &str| {
        ask(Ask::List {
            mount: mount.parse().unwrap(),
        })
    };
    assert!(matches!(list("alice/voicemail"), Answer::Nothing));
    let mail = &house.streams.shelves.mail;
    let account = at_once(house.streams.directory.account("example.org", "alice"))
        .unwrap()
        .unwrap();
    let wav = b"RIFF\x04\0\0\0WAVE".to_vec();
    let recording = ringpost_mail::Recording {
        caller: ringpost_mail::Caller {
            name: None,
            address: "sip:bob@example.org".into(),
        },
        to: "alice@example.org",
        at: BEGIN,
        length: Duration::from_secs(1),
        wav: &wav,
    };
    let message = ringpost_mail::voicemail_message(&recording, &mut Rng::from_number(9));
    let letter = at_once(mail.letter(message.into())).unwrap();
    at_once(mail.deliver(account.id, &letter, Delivery::new(BEGIN))).unwrap();
    let Answer::Files {
        is_playlist: true,
        files,
    } = list("alice/voicemail")
    else {
        panic!("a voicemail")
    };
    let file = files[0].name.clone();
    let number = file.name().trim_end_matches(".wav").to_owned();
    assert!(matches!(
        list(&format!("alice/voicemail/{number}")),
        Answer::Files { .. }
    ));
    assert!(matches!(list("alice/voicemail/99-1"), Answer::Nothing));
    assert!(matches!(list("nobody/voicemail"), Answer::Nothing));
    let read = |range| {
        let (mount, file) = ("alice/voicemail".parse().unwrap(), file.clone());
        ask(Ask::Read { mount, file, range })
    };
    let Answer::Octets(octets) = read(8..100) else {
        panic!("its sound")
    };
    assert_eq!(&octets[..], b"WAVE");
    let mut writer = house.streams.shelves.recordings.writer();
    let name = "alice/door/20261127T035849.638Z.mp4".parse().unwrap();
    writer.submit(FileCommand::Create(name)).unwrap();
    writer.submit(FileCommand::Append("x".into())).unwrap();
    writer.submit(FileCommand::Close).unwrap();
    assert!(matches!(
        list("alice/door"),
        Answer::Files {
            is_playlist: false,
            ..
        }
    ));
    assert!(matches!(list("alice/gate"), Answer::Nothing));
}
