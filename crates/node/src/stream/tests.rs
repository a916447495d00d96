mod dialled;

use super::*;
use crate::testing::{BEGIN, Lab, at_once};
use bytes::Bytes;
use futures_util::FutureExt;
use ringpost_base::Rng;
use ringpost_directory::{Cost, InlineKdf, NewAccount, Parts};
use ringpost_mail::{Delivery, Mail};
use ringpost_phone::{DialledMount, MountCaller};
use ringpost_store::{Bodies, FileCommand, LocalBus, MemoryBlobs, MemoryFiles, MemoryStore};
use ringpost_stream::hub::NotHeard;
use ringpost_stream::{Description, Heard};
use std::net::{IpAddr, SocketAddrV4};

/// Where questions come from.
const FROM: Option<(ConnectionId, SocketAddr)> = Some((
    ConnectionId(7),
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 40_000)),
));

pub(super) struct House {
    pub(super) streams: Streams,
    lab: Lab,
    bus: Arc<LocalBus>,
    password: String,
    pub(super) device: (String, String),
}

impl House {
    pub(super) fn new(rules: Vec<MountRule>) -> Self {
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
            bus: bus.clone(),
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
            lab,
            bus,
            password: alice.password,
            device: (device.user, device.secret),
        }
    }

    /// Who has proven a name now, by a device's secret or the account's password.
    fn proven(&self, name: &str) -> User {
        let streams = &self.streams;
        if let Some(device) = at_once(streams.device(name)).unwrap() {
            return streams.device_user(&device);
        }
        let account = at_once(streams.account_of(name)).unwrap().expect("an account");
        streams.account_user(&account, streams.directory.login_mark())
    }

    fn may(&self, user: Option<&str>, mount: &str, access: Access) -> &'static str {
        self.may_still(user.map(|user| self.proven(user)), mount, access)
    }

    fn may_still(&self, user: Option<User>, mount: &str, access: Access) -> &'static str {
        let ask = Ask::Authorize {
            user,
            mount: mount.parse().unwrap(),
            access,
            query: None,
        };
        match at_once(self.streams.answer(FROM, ask)) {
            Answer::Yes => "yes",
            Answer::Unproven { .. } => "no",
            Answer::Never => "never",
            Answer::Refused(_) => "refused",
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
    // However it is called.
    for name in [user.clone(), format!("{user}@example.org")] {
        let rules = || vec![rule("lobby/back", Vec::new(), vec![one(&name)])];
        let house = House::new(rules());
        for user in [user.clone(), format!("{user}@example.org")] {
            assert_eq!(
                house.may(Some(&user), "lobby/back", Access::Read),
                "yes",
                "{name}: {user}"
            );
        }
        assert_eq!(house.may(Some("bob"), "lobby/back", Access::Read), "never");
    }
}

#[test]
fn who_is_removed_is_let_in_by_no_rule_that_names_him() {
    let house = House::new(Vec::new());
    let device = house.device.0.clone();
    let named = ["bob", "bob@example.org", &device].map(|name| Who::One(name.into()));
    let rule = MountRule {
        pattern: "alice/yard".parse().unwrap(),
        publish: named.to_vec(),
        read: named.to_vec(),
    };
    *house.streams.rules.lock().unwrap() = vec![rule];
    let may = |user: &User| {
        [Access::Read, Access::Publish]
            .map(|access| house.may_still(Some(user.clone()), "alice/yard", access))
    };
    let directory = &house.streams.directory;
    let (bob, door) = (house.proven("bob@example.org"), house.proven(&device));
    assert_eq!((may(&bob), may(&door)), (["yes"; 2], ["yes"; 2]));
    at_once(directory.remove_account("bob@example.org")).unwrap();
    assert_eq!((may(&bob), may(&door)), (["no"; 2], ["yes"; 2]));
    at_once(directory.remove_device("alice@example.org", "door")).unwrap();
    assert_eq!(may(&door), ["no"; 2]);
    // Others have the names now, who prove it by themselves.
    let later = BEGIN + Duration::from_secs(1);
    at_once(directory.add_account(NewAccount::new("bob@example.org"), later)).unwrap();
    at_once(directory.add_device("alice@example.org", "door", later)).unwrap();
    assert_eq!((may(&bob), may(&door)), (["no"; 2], ["no"; 2]));
    let (bob, door) = (house.proven("bob"), house.proven(&device));
    assert_eq!((may(&bob), may(&door)), (["yes"; 2], ["yes"; 2]));
}

#[test]
fn who_is_to_prove_it_is_asked_in_the_realm_of_what_the_mount_is_named_after() {
    let house = House::new(Vec::new());
    at_once(house.streams.directory.add_domain("example.net", BEGIN)).unwrap();
    let realm = |mount: &str, access: Access, query: Option<&str>| {
        let ask = Ask::Authorize {
            user: None,
            mount: mount.parse().unwrap(),
            access,
            query: query.map(Into::into),
        };
        match at_once(house.streams.answer(FROM, ask)) {
            Answer::Unproven { realm } => realm.unwrap_or_default(),
            answer => panic!("{answer:?}"),
        }
    };
    let cam = "cam@Example.net/door";
    for access in [Access::Read, Access::Publish] {
        assert_eq!(realm("alice/door", access, None), "");
        assert_eq!(realm(cam, access, None), "example.net");
        // None of ours.
        assert_eq!(realm("cam@2/door", access, None), "");
        assert_eq!(realm("cam@elsewhere.net/door", access, None), "");
        let query = |query| realm(cam, access, Some(query));
        assert_eq!(query("realm=example.org"), "example.org");
        assert_eq!(query("key=1&realm=Example.ORG"), "example.org");
        assert_eq!(query("realm=elsewhere.net"), "example.net");
        assert_eq!(
            realm("alice/door", access, Some("realm=example.net")),
            "example.net"
        );
    }
    // Who a rule lets read it tells in whose realm.
    for (who, wanted) in [
        (vec![Who::One("alice".into())], ""),
        (
            vec![Who::One("alice@example.org".into()), Who::One("bob".into())],
            "",
        ),
        (
            vec![Who::One("alice".into()), Who::One("eve@example.net".into())],
            "example.net",
        ),
        (vec![Who::Accounts], "example.net"),
        (Vec::new(), "example.net"),
    ] {
        *house.streams.rules.lock().unwrap() = vec![MountRule {
            pattern: "cam@example.net/door".parse().unwrap(),
            publish: who.clone(),
            read: who.clone(),
        }];
        assert_eq!(
            realm("cam@example.net/door", Access::Read, None),
            wanted,
            "{who:?}"
        );
        assert_eq!(
            realm("cam@example.net/door", Access::Publish, None),
            "example.net"
        );
    }
}

#[test]
fn whole_stars_open_no_voicemails() {
    let rule = |pattern: &str| MountRule {
        pattern: pattern.parse().unwrap(),
        publish: Vec::new(),
        read: vec![Who::Anyone],
    };
    let house = House::new(["alice/*", "alice/**", "**"].map(rule).into());
    for mount in ["alice/voicemail", "alice/voicemail/1-17"] {
        assert_eq!(house.may(None, mount, Access::Read), "no", "{mount}");
        assert_eq!(house.may(Some("bob"), mount, Access::Read), "never", "{mount}");
        assert_eq!(house.may(Some("alice"), mount, Access::Read), "yes", "{mount}");
    }
    *house.streams.rules.lock().unwrap() = vec![rule("alice/voicemail/**")];
    assert_eq!(house.may(None, "alice/voicemail/1-17", Access::Read), "yes");
}

/// How often sessions were looked at again.
#[derive(Default)]
struct Sessions(Mutex<u32>);

impl LiveSessions for Sessions {
    fn reconsider(&self) -> BoxFuture<'static, ()> {
        *self.0.lock().unwrap() += 1;
        Box::pin(async {})
    }
}

#[test]
fn sessions_are_looked_at_again_when_what_they_hang_on_changes() {
    use ringpost_store::{AccountId, Bus, Hint, Interest, Topic};
    let house = House::new(Vec::new());
    let bus = house.bus.clone();
    let sessions = Arc::new(Sessions::default());
    let heard = bus.subscribe(Interest::AllButMail);
    let directory = &house.streams.directory;
    let mut keeping = Box::pin(keep_to_rights(directory.clone(), heard, sessions.clone()));
    let mut is_told = || {
        assert!((&mut keeping).now_or_never().is_none(), "it goes on");
        std::mem::take(&mut *sessions.0.lock().unwrap()) > 0
    };
    assert!(!is_told());
    let (alice, bob) = (house.proven("alice"), house.proven("bob"));
    let door = house.proven(&house.device.0);
    let may = |user: &User, mount: &str| {
        house.may_still(Some(user.clone()), &format!("{mount}/door"), Access::Publish)
    };
    at_once(directory.set_password("alice@example.org", "another and a long one", BEGIN)).unwrap();
    // With the new one she goes on.
    let anew = house.proven("alice@example.org");
    assert!(is_told());
    assert_eq!((may(&alice, "alice"), may(&anew, "alice")), ("no", "yes"));
    assert_eq!(
        (may(&bob, "bob"), may(&door, "alice")),
        ("yes", "yes"),
        "a device has a secret of its own"
    );
    at_once(directory.remove_device("alice@example.org", "door")).unwrap();
    assert!(is_told());
    assert_eq!(may(&door, "alice"), "no");
    at_once(directory.remove_account("alice@example.org")).unwrap();
    assert!(is_told());
    assert_eq!(may(&anew, "alice"), "no");
    // Lamps by the dozen, among which something else may have been.
    for change in 0..1_000 {
        bus.publish(Hint {
            account: AccountId(u64::MAX),
            topic: Topic::Lamp,
            change,
        });
    }
    assert!(is_told());
    assert_eq!(may(&bob, "bob"), "yes", "nothing of his has changed");
}

#[test]
fn nobody_publishes_where_files_voicemails_or_calls_are_played() {
    let house = House::new(Vec::new());
    let source = |mount: &str, file: Option<&str>| Source {
        mount: mount.parse().unwrap(),
        files: Arc::new(MemoryFiles::new(|| BEGIN)),
        file: file.map(Into::into),
    };
    let sources = vec![
        source("alice/music", None),
        source("alice/film", Some("film.mp4")),
    ];
    *house.streams.shelves.sources.lock().unwrap() = sources;
    for mount in [
        "alice/music",
        "alice/music/one.wav",
        "alice/film",
        "alice/voicemail",
        "alice/voicemail/1-17",
        "alice/call",
        "alice/call/x",
    ] {
        assert_eq!(
            house.may(Some("alice"), mount, Access::Publish),
            "refused",
            "{mount}"
        );
        assert_eq!(house.may(Some("alice"), mount, Access::Read), "yes", "{mount}");
        assert_eq!(house.may(Some("bob"), mount, Access::Publish), "never", "{mount}");
        assert_eq!(house.may(None, mount, Access::Publish), "no", "{mount}");
    }
    for mount in [
        "alice/films",
        "alice/music/of/hers",
        "alice/film/behind",
        "alice/calls/x",
    ] {
        assert_eq!(house.may(Some("alice"), mount, Access::Publish), "yes", "{mount}");
    }
}

#[test]
fn a_devices_secret_and_an_accounts_password_are_taken_and_others_are_not() {
    let house = House::new(Vec::new());
    let is = |user: &str, password: &str| {
        let ask = Ask::Password {
            user: user.into(),
            password: Password(password.into()),
        };
        match at_once(house.streams.answer(FROM, ask)) {
            Answer::Proven(user) => Some(user.name),
            _ => None,
        }
    };
    let (device, secret) = &house.device;
    // Whoever it is has one name, however it was written.
    for user in ["alice", "Alice", "alice@example.org", "alice@Example.Org"] {
        assert_eq!(is(user, &house.password).as_deref(), Some("alice"), "{user}");
    }
    for user in [device.clone(), format!("{device}@EXAMPLE.org")] {
        assert_eq!(is(&user, secret).as_ref(), Some(device), "{user}");
    }
    let keys_in = |realm: &str| {
        let ask = Ask::Keys {
            user: house.device.0.clone(),
            realm: realm.into(),
        };
        match at_once(house.streams.answer(FROM, ask)) {
            Answer::Keys(keys) => keys,
            Answer::No => None,
            answer => panic!("{answer:?}"),
        }
    };
    assert!(keys_in("example.net").is_none(), "it is none of our domains");
    let (user, keys) = keys_in("example.org").expect("a device has keys");
    assert_eq!(&user.name, device);
    let derived = DigestKeys::derive(&house.device.0, "example.org", &house.device.1);
    assert_eq!(keys.to_bytes(), derived.to_bytes());
}

#[test]
fn voicemails_and_recordings_are_listed_and_read_and_nothing_else_is() {
    let house = House::new(Vec::new());
    let ask = |ask: Ask| at_once(house.streams.answer(FROM, ask));
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
    assert_eq!(
        (files[0].size_bytes, files[0].modified),
        (wav.len() as u64, BEGIN)
    );
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
    // The calls of an account one behind the other, without the one that goes on.
    assert!(matches!(list("alice/call"), Answer::Nothing));
    let mut open = Vec::new();
    for (call, is_over) in [
        ("20261128T101500Z-3", true),
        ("20261127T101500Z-9", true),
        ("20261129T101500Z-1", false),
    ] {
        let mut writer = house.streams.shelves.recordings.writer();
        let name = format!("alice/call/{call}/20261127T035849.638Z.mp4")
            .parse()
            .unwrap();
        writer.submit(FileCommand::Create(name)).unwrap();
        writer.submit(FileCommand::Append("x".into())).unwrap();
        match is_over {
            true => writer.submit(FileCommand::Close).unwrap(),
            false => open.push(writer),
        }
    }
    let Answer::Files {
        is_playlist: true,
        files,
    } = list("alice/call")
    else {
        panic!("two calls")
    };
    let calls: Vec<_> = files.iter().map(|info| info.name.folder().as_str()).collect();
    assert_eq!(
        calls,
        ["alice/call/20261127T101500Z-9", "alice/call/20261128T101500Z-3"]
    );
    let (mount, file) = ("alice/call".parse().unwrap(), files[1].name.clone());
    let octets = ask(Ask::Read {
        mount,
        file,
        range: 0..9,
    });
    assert!(matches!(octets, Answer::Octets(octets) if &octets[..] == b"x"));
    let one = list("alice/call/20261128T101500Z-3");
    assert!(matches!(
        one,
        Answer::Files {
            is_playlist: false,
            ..
        }
    ));
}

#[test]
fn a_call_is_a_mount_of_its_account_until_both_legs_are_gone() {
    let mut house = House::new(Vec::new());
    let (dialling, doors) = dialling(&house);
    let world: crate::world::WorldRef = house.lab.world.clone();
    let (sound_in, sound) = async_channel::bounded(8);
    let calls = Calls::default();
    let parts = CallParts {
        world: &world,
        streams: &dialling.streams,
        live: &dialling.live,
    };
    let MountCaller { person, .. } = caller("alice", "desk").unwrap();
    let call = ringpost_phone::Overheard {
        call: ringpost_phone::CallId(7),
        began: BEGIN,
        person,
        own: ringpost_media::LegId(1),
        far: ringpost_media::LegId(2),
    };
    calls.begin(&parts, &call, sound);
    let work: Vec<_> = doors.2.lock().unwrap().drain(..).collect();
    work.into_iter().for_each(|work| house.lab.spawn(work));
    house.lab.pass(Duration::from_secs(1));
    let (mount, user, encoding, packets) = doors.1.lock().unwrap().pop().unwrap();
    assert_eq!(mount.as_str(), "alice/call/20231114T221320Z-7");
    assert_eq!((&user[..], &encoding[..]), ("alice", "L16"));
    // Nobody has said anything, and time keeps.
    assert_eq!(packets.len(), 50);
    let packet = packets.try_recv().unwrap();
    assert_eq!((packet.len(), &packet[12..]), (12 + 640, &[0; 640][..]));
    let name = mount.as_str();
    assert_eq!(house.may(Some("alice"), name, Access::Read), "yes");
    assert_eq!(house.may(Some("bob"), name, Access::Read), "never");
    assert_eq!(house.may(None, name, Access::Read), "no");
    drop(sound_in);
    house.lab.settle();
    assert_eq!(house.lab.running(), 0);
    assert!(packets.is_closed());
    // Whoever takes the mount over ends the work too.
    let (_sound_in, sound) = async_channel::bounded(8);
    calls.begin(&parts, &call, sound);
    let work: Vec<_> = doors.2.lock().unwrap().drain(..).collect();
    work.into_iter().for_each(|work| house.lab.spawn(work));
    house.lab.settle();
    drop(doors.1.lock().unwrap().pop());
    house.lab.pass(Duration::from_millis(40));
    assert_eq!(house.lab.running(), 0);
}

/// A mount of the server's own: its name, for whom, its encoding, its packets.
type Own = (MountName, String, String, async_channel::Receiver<Bytes>);

/// What is live: `alice/door`, and `alice/film` without a sound that can be decoded. With whoever listens, what the server itself
/// publishes, and the work that it has done elsewhere.
struct Doors(
    Mutex<Vec<async_channel::Sender<Heard>>>,
    Mutex<Vec<Own>>,
    Mutex<Vec<BoxFuture<'static, ()>>>,
);

impl LiveMounts for Doors {
    fn publish(
        &self,
        mount: MountName,
        user: String,
        description: Description,
    ) -> BoxFuture<'static, Option<async_channel::Sender<Bytes>>> {
        let encoding = description.tracks[0].codec().name.to_string();
        let (packets_in, packets) = async_channel::bounded(64);
        self.1.lock().unwrap().push((mount, user, encoding, packets));
        Box::pin(async move { Some(packets_in) })
    }

    fn elsewhere(&self, work: BoxFuture<'static, ()>) {
        self.2.lock().unwrap().push(work);
    }

    fn listen(&self, mount: MountName) -> BoxFuture<'static, Option<Result<Sound, NotHeard>>> {
        let answer = match mount.as_str() {
            "alice/door" => {
                let (heard_in, heard) = async_channel::bounded(8);
                self.0.lock().unwrap().push(heard_in);
                Some(Ok(heard))
            }
            "alice/film" => Some(Err(NotHeard::Undecodable(vec!["H264".into()]))),
            "alice/full" => Some(Err(NotHeard::Full)),
            "alice/camera" => Some(Err(NotHeard::NotPulled)),
            "alice/broken" => None,
            _ => Some(Err(NotHeard::NotLive)),
        };
        Box::pin(async move { answer })
    }
}

fn dialling(house: &House) -> (Dialling, Arc<Doors>) {
    let doors = Arc::new(Doors(Mutex::default(), Mutex::default(), Mutex::default()));
    let number = |number: &str, mount: &str| MountNumber {
        number: number.into(),
        mount: mount.parse().unwrap(),
    };
    let numbers = vec![number("701", "alice/door"), number("702", "alice/gate")];
    let dialling = Dialling {
        streams: house.streams.clone(),
        live: doors.clone(),
        numbers: Arc::new(Mutex::new(numbers)),
    };
    (dialling, doors)
}

fn caller(user: &str, device: &str) -> Option<MountCaller> {
    let person = ringpost_phone::Person {
        account: ringpost_store::AccountId(1),
        user: user.into(),
        domain: "example.org".into(),
        extension: None,
        name: "".into(),
    };
    let (person, device) = (Arc::new(person), device.into());
    Some(MountCaller { person, device })
}

#[test]
fn a_mount_is_dialled_by_its_name_or_number_by_who_may_read_it() {
    let anyone = MountRule {
        pattern: "alice/public".parse().unwrap(),
        publish: Vec::new(),
        read: vec![Who::Anyone],
    };
    let house = House::new(vec![anyone]);
    let (dialling, _) = dialling(&house);
    let (alice, bob) = (caller("alice", &house.device.0), caller("bob", "bob"));
    let live = || DialledMount::Live("alice/door".into());
    for (user, caller, expected) in [
        ("alice/door", &alice, live()),
        ("701", &alice, live()),
        ("alice/door", &bob, DialledMount::Forbidden),
        ("701", &bob, DialledMount::Forbidden),
        ("701", &None, DialledMount::Forbidden),
        // Whoever calls must have proven who it is.
        ("alice/public", &None, DialledMount::Forbidden),
        ("alice/public", &bob, DialledMount::NotLive),
        ("702", &alice, DialledMount::NotLive),
        ("alice/gate", &alice, DialledMount::NotLive),
        ("alice/cellar", &alice, DialledMount::Unknown),
        ("carol", &alice, DialledMount::Unknown),
        ("carol", &None, DialledMount::Unknown),
        ("no such//thing", &alice, DialledMount::Unknown),
        (
            "alice/film",
            &alice,
            DialledMount::Undecodable(vec!["H264".into()]),
        ),
        ("alice/full", &alice, DialledMount::Unavailable),
        ("alice/camera", &alice, DialledMount::NotPulled),
        ("alice/broken", &alice, DialledMount::Unavailable),
    ] {
        let found = at_once(dialling.find(user, "example.org", caller.clone()));
        assert_eq!(found, expected, "{user} by {caller:?}");
    }
    let elsewhere = at_once(dialling.find("alice/door", "example.net", alice.clone()));
    assert_eq!(elsewhere, DialledMount::Forbidden);
    assert_eq!(
        at_once(dialling.find("701", "example.net", alice)),
        DialledMount::Unknown
    );
}

#[derive(Default)]
struct Ear(Mutex<Vec<(u32, usize)>>);

impl crate::world::MediaPlane for Ear {
    fn open(&self, _: IpAddr) -> Option<ringpost_phone::MediaSocket> {
        None
    }

    fn close(&self, _: ringpost_media::PairId) {}

    fn tap(&self, _: [ringpost_media::LegId; 2]) -> async_channel::Receiver<ringpost_media::Tapped> {
        async_channel::bounded(1).1
    }

    fn command(&self, command: ringpost_media::Command) {
        if let ringpost_media::Command::Feed {
            timestamp, samples, ..
        } = command
        {
            self.0.lock().unwrap().push((timestamp, samples.len()));
        }
    }
}

#[test]
fn a_legs_ears_get_what_comes_until_the_mount_is_no_more() {
    let house = House::new(Vec::new());
    let (dialling, doors) = dialling(&house);
    let ear = Ear::default();
    let leg = ringpost_media::LegId(1);
    let alice = caller("alice", &house.device.0);
    let mut hearing = Box::pin(dialling.hear("alice/door", alice.clone(), leg, &ear));
    assert!((&mut hearing).now_or_never().is_none(), "it waits for sound");
    let sound = doors.0.lock().unwrap().pop().unwrap();
    for timestamp in [0, 80, 160] {
        let samples = vec![1; 80];
        sound.try_send(Heard { timestamp, samples }).unwrap();
    }
    assert!((&mut hearing).now_or_never().is_none());
    assert_eq!(*ear.0.lock().unwrap(), [(0, 80), (80, 80), (160, 80)]);
    drop(sound);
    assert!((&mut hearing).now_or_never().is_some());
    at_once(dialling.hear("alice/gone", alice, leg, &ear));
}

#[test]
fn who_may_hear_a_mount_no_more_hears_no_more_of_it() {
    let of_bob = MountRule {
        pattern: "alice/door".parse().unwrap(),
        publish: Vec::new(),
        read: vec![Who::One("bob".into())],
    };
    let house = House::new(vec![of_bob]);
    let (dialling, doors) = dialling(&house);
    let ear = Ear::default();
    let (leg, bob) = (ringpost_media::LegId(1), caller("bob", "bob"));
    let mut hearing = Box::pin(dialling.hear("alice/door", bob, leg, &ear));
    assert!((&mut hearing).now_or_never().is_none());
    let sound = doors.0.lock().unwrap().pop().unwrap();
    let second = |timestamp| Heard {
        timestamp,
        samples: vec![1; 8_000],
    };
    sound.try_send(second(0)).unwrap();
    assert!((&mut hearing).now_or_never().is_none(), "he may");
    house.streams.rules.lock().unwrap().clear();
    sound.try_send(second(8_000)).unwrap();
    assert!((&mut hearing).now_or_never().is_some(), "he may not any more");
    assert_eq!(*ear.0.lock().unwrap(), [(0, 8_000)]);
}

#[test]
fn a_voicemail_is_dialled_by_its_owner_and_heard_to_its_end() {
    let mut house = House::new(Vec::new());
    let (dialling, doors) = dialling(&house);
    let mail = &house.streams.shelves.mail;
    let account = at_once(house.streams.directory.account("example.org", "alice"))
        .unwrap()
        .unwrap();
    let mut wav = Vec::new();
    let mut writer = ringpost_codec::WavWriter::new(ringpost_codec::WavEncoding::Pcm16);
    wav.extend(writer.header());
    writer.write(&[1_000; 8_000], &mut wav);
    let end = writer.finish();
    wav.extend(end.padding);
    wav[..end.header.len()].copy_from_slice(&end.header);
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
    let alice = caller("alice", &house.device.0);
    let find = |user: &str, by| at_once(dialling.find(user, "example.org", by));
    assert_eq!(find("alice/voicemail", alice.clone()), DialledMount::Unknown);
    let message = ringpost_mail::voicemail_message(&recording, &mut Rng::from_number(9));
    let letter = at_once(mail.letter(message.into())).unwrap();
    at_once(mail.deliver(account.id, &letter, Delivery::new(BEGIN))).unwrap();
    let live = DialledMount::Live("alice/voicemail".into());
    assert_eq!(find("alice/voicemail", alice), live);
    assert_eq!(
        find("alice/voicemail", caller("bob", "bob")),
        DialledMount::Forbidden
    );
    let ear = Arc::new(Ear::default());
    let (heard, dialled) = (ear.clone(), dialling.clone());
    let caller = caller("alice", &house.device.0);
    house.lab.spawn(async move {
        let leg = ringpost_media::LegId(1);
        dialled.hear("alice/voicemail", caller, leg, &*heard).await;
    });
    house.lab.settle();
    let work: Vec<_> = doors.2.lock().unwrap().drain(..).collect();
    work.into_iter().for_each(|work| house.lab.spawn(work));
    house.lab.pass(Duration::from_millis(500));
    assert_eq!(house.lab.running(), 2, "it is played at its pace");
    house.lab.pass(Duration::from_millis(600));
    assert_eq!(house.lab.running(), 0);
    let heard: usize = ear.0.lock().unwrap().iter().map(|(_, samples)| samples).sum();
    assert_eq!(heard, 8_000);
}
