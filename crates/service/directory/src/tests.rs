use super::*;
use futures_util::FutureExt;
use ringpost_auth::digest::DigestKeys;
use ringpost_base::limits;
use ringpost_store::records::{Binding, Bindings};
use ringpost_store::{
    Interest, LocalBus, MemoryBlobs, MemoryStore, Report, Subscription, Sweeper, check_store,
    mailbox::MailBatch,
};
use std::sync::atomic::{AtomicUsize, Ordering};

struct World {
    store: Arc<MemoryStore>,
    blobs: Arc<MemoryBlobs>,
    bus: Arc<LocalBus>,
    kdf: Arc<CountingKdf>,
    directory: Directory,
}

/// Counts what would have cost a core's time, and refuses when told to.
#[derive(Default)]
struct CountingKdf {
    runs: AtomicUsize,
    busy: AtomicUsize,
}

impl Kdf for CountingKdf {
    fn cost(&self) -> Cost {
        Cost::CHEAP
    }
    fn run(&self, job: Job) -> Result<(), Busy> {
        if self.busy.load(Ordering::Relaxed) > 0 {
            return Err(Busy);
        }
        self.runs.fetch_add(1, Ordering::Relaxed);
        job();
        Ok(())
    }
}

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference never waits")
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let blobs = Arc::new(MemoryBlobs::new(|| NOW));
        let bus = Arc::new(LocalBus::new());
        let kdf = Arc::new(CountingKdf::default());
        let directory = Self::open(&store, &bus, &kdf, [7; 32]);
        World {
            store,
            blobs,
            bus,
            kdf,
            directory,
        }
    }

    fn open(
        store: &Arc<MemoryStore>,
        bus: &Arc<LocalBus>,
        kdf: &Arc<CountingKdf>,
        seal_key: [u8; 32],
    ) -> Directory {
        let parts = Parts {
            store: store.clone(),
            bus: bus.clone(),
            kdf: kdf.clone(),
            seal_key,
            rng: Rng::from_number(now(async {
                store.partitions(None, 1000).await.unwrap().len() as u64
            })),
        };
        now(Directory::open(parts, "example.org", NOW)).unwrap()
    }

    /// Another node over the same store.
    fn another(&self) -> Directory {
        Self::open(&self.store, &self.bus, &self.kdf, [7; 32])
    }

    fn add(&self, address: &str) -> AddedAccount {
        now(self.directory.add_account(NewAccount::new(address), NOW)).unwrap()
    }

    fn runs(&self) -> usize {
        self.kdf.runs.load(Ordering::Relaxed)
    }

    fn login(&self, user: &str, password: &str) -> Option<AccountId> {
        now(self.directory.login(user, password)).unwrap().map(|a| a.id)
    }

    fn listen(&self) -> Subscription {
        self.bus.subscribe(Interest::AllButMail)
    }

    #[track_caller]
    fn assert_sound(&self) -> Report {
        let report = now(check_store(&*self.store, &*self.blobs)).unwrap();
        assert!(report.is_sound(), "{:#?}", report.problems);
        report
    }
}

#[test]
fn what_is_set_of_an_account_holds_for_the_next_login() {
    use crate::AccountSettings;
    let world = World::new();
    let directory = &world.directory;
    now(directory.add_account(NewAccount::new("alice@example.org"), NOW)).unwrap();
    let get = || now(directory.settings("alice@example.org")).unwrap();
    assert_eq!(get(), AccountSettings::default());
    let set =
        |change: &dyn Fn(&mut AccountSettings)| now(directory.set_settings("alice@example.org", change));
    set(&|set| set.quota_bytes = Some(5)).unwrap();
    set(&|set| set.imap_without = vec!["sort".into()]).unwrap();
    assert_eq!((get().quota_bytes, get().quota_messages), (Some(5), None));
    let account = now(directory.account_by_address("alice@example.org"))
        .unwrap()
        .unwrap();
    assert_eq!(
        account.imap_without,
        ["SORT"],
        "what was cached before is forgotten"
    );
    for bad in ["", "a b", "x,y", "\r\n", &"x".repeat(65)] {
        assert!(
            set(&|set| set.imap_without = vec![bad.to_owned()]).is_err(),
            "{bad:?}"
        );
    }
    assert!(now(directory.set_settings("nobody@example.org", |_| {})).is_err());
    assert_eq!(get().imap_without, ["SORT"]);
}

#[test]
fn an_account_is_found_by_each_of_its_names() {
    let world = World::new();
    let alice = world.add("alice@example.org").account;
    world.add("bob@example.org");
    now(world
        .directory
        .add_alias("sales@example.org", &["alice@example.org".into()], NOW))
    .unwrap();
    now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    let extension = alice.extension.clone().unwrap();
    assert_eq!(extension, "100");
    for name in ["alice", "ALICE", "sales", &extension, "alice-desk"] {
        let found = now(world.directory.account("Example.Org", name)).unwrap();
        assert_eq!(found.map(|a| a.id), Some(alice.id), "{name}");
        assert!(
            matches!(
                world.directory.account_cached("example.org", name),
                Cached::Present(_)
            ),
            "{name}"
        );
    }
    for (domain, name) in [
        ("example.org", "carol"),
        ("example.com", "alice"),
        ("example.org", ""),
    ] {
        assert_eq!(now(world.directory.account(domain, name)), Ok(None));
    }
    let listed = now(world.directory.accounts("example.org")).unwrap();
    let listed: Vec<_> = listed.iter().map(|a| a.address.to_string()).collect();
    assert_eq!(listed, ["alice@example.org", "bob@example.org"]);
    assert_eq!(now(world.directory.account_by_id(alice.id)), Ok(Some(alice)));
    world.assert_sound();
}

#[test]
fn an_account_is_told_with_its_devices_until_its_names_are_gone() {
    let world = World::new();
    let alice = world.add("alice@example.org").account;
    let told = || now(world.directory.account_and_devices(alice.id)).unwrap();
    assert_eq!(told(), Some((alice.clone(), Vec::new())));
    now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    let (_, devices) = told().unwrap();
    let users: Vec<_> = devices.iter().map(|d| (d.user.as_str(), d.created)).collect();
    assert_eq!(users, [("alice-desk", NOW)]);
    // Her address leads nowhere before her mail is gone: she counts as removed from then on.
    let mut batch = Batch::new(Partition::Domain("example.org".into()));
    batch.delete(keys::address("alice"));
    let store: &dyn Store = &*world.store;
    now(store.commit_durable(batch)).unwrap();
    assert_eq!(told(), None);
}

#[test]
fn a_new_account_has_its_mailboxes_and_a_generated_password() {
    let world = World::new();
    let alice = world.add("alice@example.org");
    assert_eq!(alice.password.len(), 20);
    assert_eq!(
        world.login("alice@example.org", &alice.password),
        Some(alice.account.id)
    );
    assert_eq!(world.login("alice", &alice.password), Some(alice.account.id));
    let report = world.assert_sound();
    assert_eq!((report.accounts, report.mailboxes), (1, 6));
}

#[test]
fn names_are_unique_in_their_domain() {
    let world = World::new();
    world.add("alice@example.org");
    let add = |address: &str, extension: Option<&str>| {
        let new = NewAccount {
            extension: extension.map(Into::into),
            ..NewAccount::new(address)
        };
        now(world.directory.add_account(new, NOW)).map(|added| added.account.extension)
    };
    assert_eq!(
        add("Alice@example.org", None),
        Err(DirectoryError::Taken("alice@example.org".into()))
    );
    assert_eq!(
        add("bob@example.org", Some("100")),
        Err(DirectoryError::Taken("extension 100".into()))
    );
    assert_eq!(add("bob@example.org", Some("101")), Ok(Some("101".into())));
    assert_eq!(add("carol@example.org", None), Ok(Some("102".into())));
    assert!(matches!(
        add("dave@example.com", None),
        Err(DirectoryError::NoSuchDomain(_))
    ));
    assert!(matches!(
        add("d ave@example.org", None),
        Err(DirectoryError::BadName(_))
    ));
    now(world.directory.add_domain("Example.com", NOW)).unwrap();
    assert_eq!(add("alice@example.com", None), Ok(Some("100".into())));
    assert!(matches!(
        now(world.directory.add_domain("example.com", NOW)),
        Err(DirectoryError::Taken(_))
    ));
    assert_eq!(world.directory.domains(), ["example.com", "example.org"]);
    // What was refused has left nothing.
    let report = world.assert_sound();
    assert_eq!((report.accounts, report.abandoned), (4, 0));
}

#[test]
fn a_device_and_an_address_cannot_have_one_name() {
    let world = World::new();
    world.add("alice@example.org");
    now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    let refused = now(world
        .directory
        .add_account(NewAccount::new("alice-desk@example.org"), NOW));
    assert!(matches!(refused, Err(DirectoryError::Taken(_))), "{refused:?}");
    world.add("alice-soft@example.org");
    let refused = now(world.directory.add_device("alice@example.org", "soft", NOW));
    assert!(matches!(refused, Err(DirectoryError::Taken(_))), "{refused:?}");
    assert!(matches!(
        now(world.directory.add_device("alice@example.org", "desk", NOW)),
        Err(DirectoryError::Taken(_))
    ));
    world.assert_sound();
}

#[test]
fn a_device_answers_a_digest_from_the_cache_until_it_is_removed() {
    let world = World::new();
    world.add("alice@example.org");
    assert_eq!(
        now(world.directory.device("example.org", "alice-desk"))
            .unwrap()
            .map(|d| d.user.clone()),
        None
    );
    assert!(matches!(
        world.directory.device_cached("example.org", "alice-desk"),
        Cached::Absent
    ));
    let made = now(world.directory.add_device("alice@example.org", "Desk", NOW)).unwrap();
    assert_eq!(
        (made.user.as_str(), made.realm.as_str()),
        ("alice-desk", "example.org")
    );
    assert!(matches!(
        world.directory.device_cached("example.org", "alice-desk"),
        Cached::Unknown
    ));
    let found = now(world.directory.device("example.org", "alice-desk"))
        .unwrap()
        .unwrap();
    assert!(found.keys == DigestKeys::derive(&made.user, &made.realm, &made.secret));
    let Cached::Present(cached) = world.directory.device_cached("Example.ORG", "alice-desk") else {
        panic!("not cached");
    };
    assert!(Arc::ptr_eq(&cached, &found));
    let listed = now(world.directory.devices("alice@example.org")).unwrap();
    assert_eq!(
        listed,
        [DeviceInfo {
            name: "desk".into(),
            user: "alice-desk".into(),
            created: NOW
        }]
    );
    now(world.directory.remove_device("alice@example.org", "desk")).unwrap();
    assert!(
        now(world.directory.device("example.org", "alice-desk"))
            .unwrap()
            .is_none()
    );
    assert!(matches!(
        now(world.directory.remove_device("alice@example.org", "desk")),
        Err(DirectoryError::NoSuchDevice(_))
    ));
    let again = now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    assert_ne!(again.secret, made.secret);
    assert_eq!(world.assert_sound().loose_names, 0);
}

#[test]
fn a_user_name_that_leads_nowhere_can_be_given_again() {
    let world = World::new();
    let alice = world.add("alice@example.org").account;
    let mut batch = Batch::new(Partition::Domain("example.org".into()));
    let left = ringpost_store::records::DeviceUser {
        account: alice.id,
        device: "desk".into(),
    };
    batch.put(keys::device_user("alice-desk"), left.to_bytes());
    now(world.store.commit(batch)).unwrap();
    assert_eq!(world.assert_sound().loose_names, 1);
    assert!(
        now(world.directory.device("example.org", "alice-desk"))
            .unwrap()
            .is_none()
    );
    now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    assert_eq!(world.assert_sound().loose_names, 0);
}

#[test]
fn a_right_password_is_checked_once_and_a_wrong_one_always() {
    let world = World::new();
    let alice = world.add("alice@example.org");
    let before = world.runs();
    for _ in 0..5 {
        assert!(world.login("alice@example.org", &alice.password).is_some());
    }
    assert_eq!(world.runs(), before + 1);
    for _ in 0..3 {
        assert!(world.login("alice@example.org", "wrong").is_none());
    }
    assert_eq!(world.runs(), before + 4);
    // Guards pitfall SIP 12 for mail: somebody who does not exist costs as much as somebody who does.
    assert!(world.login("nobody@example.org", "wrong").is_none());
    assert!(world.login("nobody@elsewhere.org", "wrong").is_none());
    assert_eq!(world.runs(), before + 6);
}

#[test]
fn a_change_of_password_ends_the_old_one_on_every_node() {
    let world = World::new();
    let other = world.another();
    let hints = world.listen();
    let alice = world.add("alice@example.org");
    assert!(world.login("alice", &alice.password).is_some());
    assert!(now(other.login("alice", &alice.password)).unwrap().is_some());
    now(world
        .directory
        .set_password("alice@example.org", "another one", NOW))
    .unwrap();
    while let Some(heard) = hints.try_next() {
        now(other.handle_heard(heard)).unwrap();
    }
    for directory in [&world.directory, &other] {
        assert!(now(directory.login("alice", &alice.password)).unwrap().is_none());
        assert!(now(directory.login("alice", "another one")).unwrap().is_some());
    }
    assert!(matches!(
        now(world.directory.set_password("alice@example.org", "", NOW)),
        Err(DirectoryError::BadPassword(_))
    ));
}

#[test]
fn scram_keys_are_those_of_the_password() {
    let world = World::new();
    let alice = world.add("alice@example.org");
    let (found, keys) = now(world.directory.scram_keys("alice")).unwrap().unwrap();
    assert_eq!(found.id, alice.account.id);
    let derived =
        ringpost_auth::sasl::ScramKeys::derive(&alice.password, &keys.salt, keys.iterations).unwrap();
    assert!(derived == keys);
    assert!(now(world.directory.scram_keys("nobody")).unwrap().is_none());
}

#[test]
fn a_full_queue_of_passwords_is_said_to_be_full() {
    let world = World::new();
    let alice = world.add("alice@example.org");
    world.kdf.busy.store(1, Ordering::Relaxed);
    assert_eq!(
        now(world.directory.login("alice", &alice.password)).unwrap_err(),
        DirectoryError::Busy(Busy)
    );
}

fn names(reach: Option<Reach>) -> (Vec<String>, Vec<String>) {
    let reach = reach.unwrap_or_default();
    let here = reach.here.iter().map(|here| match &here.detail {
        Some(detail) => format!("{}+{detail}", here.account.address.local_part()),
        None => here.account.address.local_part().to_owned(),
    });
    let away = reach
        .elsewhere
        .iter()
        .map(|away| format!("{} via {}", away.address, away.via));
    (here.collect(), away.collect())
}

impl World {
    fn alias(&self, alias: &str, targets: &[&str]) -> Result<(), DirectoryError> {
        let targets: Vec<String> = targets.iter().map(|t| (*t).to_owned()).collect();
        now(self.directory.add_alias(alias, &targets, NOW))
    }

    fn forward(&self, address: &str, to: &[&str], keeps_copy: bool) {
        let to: Vec<String> = to.iter().map(|t| (*t).to_owned()).collect();
        now(self.directory.set_forward(address, &to, keeps_copy)).unwrap();
    }

    /// Who is reached here and elsewhere.
    #[track_caller]
    fn reaches(&self, local: &str, here: &[&str], elsewhere: &[&str]) {
        let reach = now(self.directory.reach("Example.org", local)).unwrap();
        let (there, away) = names(reach);
        assert_eq!(
            (&there[..], &away[..]),
            (&here.map_to()[..], &elsewhere.map_to()[..]),
            "{local}"
        );
    }
}

trait MapTo {
    fn map_to(&self) -> Vec<String>;
}

impl MapTo for [&str] {
    fn map_to(&self) -> Vec<String> {
        self.iter().map(|s| (*s).to_owned()).collect()
    }
}

#[test]
fn an_alias_reaches_everybody_once_here_and_elsewhere() {
    let world = World::new();
    for name in ["alice", "bob", "carol"] {
        world.add(&format!("{name}@example.org"));
    }
    let (team, all) = ("team@example.org", "all@example.org");
    world
        .alias(team, &["alice@example.org", "Bob@Example.org", "Dan.X@Else.test"])
        .unwrap();
    world
        .alias(all, &[team, "carol@example.org", "bob@example.org"])
        .unwrap();
    world.reaches(
        "Team",
        &["alice", "bob"],
        &["Dan.X@else.test via team@example.org"],
    );
    world.reaches(
        "all",
        &["carol", "bob", "alice"],
        &["Dan.X@else.test via team@example.org"],
    );
    // Whoever makes a ring of it.
    world.alias(team, &[all]).unwrap();
    world.reaches(
        "team+x",
        &["alice", "bob", "carol"],
        &["Dan.X@else.test via team+x@example.org"],
    );
    let alias = |n: usize| now(world.directory.aliases("example.org")).unwrap()[n].clone();
    assert_eq!(alias(0).address, all);
    assert_eq!(alias(1).targets.len(), 4);
    now(world
        .directory
        .remove_alias(team, &["alice@example.org".into(), all.into()], NOW))
    .unwrap();
    world.reaches("team", &["bob"], &["Dan.X@else.test via team@example.org"]);
    now(world.directory.remove_account("bob@example.org")).unwrap();
    world.reaches("team", &[], &["Dan.X@else.test via team@example.org"]);
    now(world.directory.remove_alias(team, &[], NOW)).unwrap();
    world.reaches("team", &[], &[]);
    assert!(matches!(
        now(world.directory.remove_alias(team, &[], NOW)),
        Err(DirectoryError::NoSuchAlias(_))
    ));
    world.assert_sound();
}

#[test]
fn a_name_is_given_once_and_leads_to_somebody_who_is_there() {
    let world = World::new();
    world.add("alice@example.org");
    now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    for taken in ["alice@example.org", "100@example.org", "alice-desk@example.org"] {
        let error = world.alias(taken, &["x@else.test"]).unwrap_err();
        assert!(matches!(error, DirectoryError::Taken(_)), "{taken}");
    }
    for nobody in ["bob@example.org", "bob+x@example.org"] {
        let error = world.alias("team@example.org", &[nobody]).unwrap_err();
        assert!(matches!(error, DirectoryError::NoSuchAccount(_)), "{nobody}");
    }
    for bad in [
        "",
        "x",
        "@else.test",
        "x@",
        "a b@else.test",
        "a..b@else.test",
        "x@else..test",
        "x@[10.0.0.1]",
        "\"a\"@b.test",
    ] {
        let error = world.alias("team@example.org", &[bad]).unwrap_err();
        assert!(matches!(error, DirectoryError::BadName(_)), "{bad}");
    }
    let itself = world
        .alias("team@example.org", &["team@example.org"])
        .unwrap_err();
    assert!(matches!(itself, DirectoryError::NoSuchAccount(_)), "{itself}");
    world.alias("team@example.org", &["x@else.test"]).unwrap();
    let new = |address: &str| now(world.directory.add_account(NewAccount::new(address), NOW));
    assert!(matches!(new("team@example.org"), Err(DirectoryError::Taken(_))));
    let many: Vec<String> = (0..=limits::ALIAS_TARGETS)
        .map(|n| format!("x{n}@else.test"))
        .collect();
    let error = now(world.directory.add_alias("many@example.org", &many, NOW)).unwrap_err();
    assert!(matches!(error, DirectoryError::TooManyTargets(_)));
}

#[test]
fn a_forward_reaches_on_and_comes_home_when_it_leads_nowhere() {
    let world = World::new();
    let alice = world.add("alice@example.org").account;
    world.add("bob@example.org");
    world.forward("alice@example.org", &["a@else.test", "bob@example.org"], true);
    world.reaches("alice", &["alice", "bob"], &["a@else.test via alice@example.org"]);
    world.forward("alice@example.org", &["a@else.test"], false);
    world.reaches("alice+news", &[], &["a@else.test via alice@example.org"]);
    // Each to the other, without a copy: neither loses it.
    world.forward("alice@example.org", &["bob@example.org"], false);
    world.forward("bob@example.org", &["alice@example.org"], false);
    world.reaches("alice", &["alice", "bob"], &[]);
    world.forward("bob@example.org", &[], true);
    world.reaches("alice+news", &["bob"], &[]);
    now(world.directory.remove_account("bob@example.org")).unwrap();
    world.reaches("alice+news", &["alice+news"], &[]);
    assert!(now(world.directory.owns(alice.id, "example.org", "alice+x")).unwrap());
}

#[test]
fn a_detail_a_catch_all_and_who_is_always_there() {
    let world = World::new();
    world.reaches("postmaster", &[], &[]);
    let alice = world.add("alice@example.org").account;
    let bob = world.add("bob@example.org").account;
    now(world.directory.add_domain("example.net", NOW)).unwrap();
    world.reaches("alice+Lists.Rust", &["alice+Lists.Rust"], &[]);
    world.reaches("alice+", &["alice"], &[]);
    world.reaches("nobody", &[], &[]);
    for always in ["postmaster", "Abuse"] {
        world.reaches(always, &["alice"], &[]);
        let there = names(now(world.directory.reach("example.net", always)).unwrap());
        assert_eq!(there.0, ["alice"], "a domain without accounts has them too");
    }
    now(world
        .directory
        .set_catch_all("Example.org", Some("bob@example.org")))
    .unwrap();
    world.reaches("nobody", &["bob"], &[]);
    world.reaches("postmaster", &["bob"], &[]);
    // That nothing is lost does not make anybody an address.
    let ghost = "ghost@example.org";
    let nobody = Err(DirectoryError::NoSuchAccount(ghost.into()));
    assert_eq!(
        now(world.directory.set_catch_all("example.org", Some(ghost))),
        nobody
    );
    assert_eq!(world.alias("list@example.org", &[ghost]), nobody);
    world.reaches("nobody", &["bob"], &[]);
    world.reaches("alice", &["alice"], &[]);
    world
        .alias("postmaster@example.org", &["alice@example.org"])
        .unwrap();
    world.reaches("postmaster", &["alice"], &[]);
    // What one gets is not what one is.
    let owns = |id, local: &str| now(world.directory.owns(id, "example.org", local)).unwrap();
    assert!(owns(alice.id, "postmaster") && owns(bob.id, "BOB+x") && !owns(bob.id, "nobody"));
    world
        .alias("team@example.org", &["alice@example.org", "bob@example.org"])
        .unwrap();
    assert!(owns(alice.id, "team") && owns(bob.id, "team"));
    // A second node hears of it.
    let other = world.another();
    let hints = world.listen();
    assert!(now(other.reach("example.org", "nobody")).unwrap().is_some());
    now(world.directory.set_catch_all("example.org", None)).unwrap();
    while let Some(heard) = hints.try_next() {
        now(other.handle_heard(heard)).unwrap();
    }
    assert!(now(other.reach("example.org", "nobody")).unwrap().is_none());
    now(world
        .directory
        .set_catch_all("example.org", Some("bob@example.org")))
    .unwrap();
    now(world.directory.remove_account("bob@example.org")).unwrap();
    assert_eq!(now(world.directory.catch_all("example.org")), Ok(None));
    world.assert_sound();
}

#[test]
fn who_is_always_there_is_reached_though_the_catch_all_leads_back_or_to_nobody() {
    let world = World::new();
    world.add("alice@example.org");
    world.add("bob@example.org");
    now(world.directory.add_domain("example.net", NOW)).unwrap();
    let catch_all = |domain: &str, to: &str| now(world.directory.set_catch_all(domain, Some(to))).unwrap();
    let all_reach_alice = || {
        for local in ["postmaster", "ABUSE", "nobody"] {
            world.reaches(local, &["alice"], &[]);
        }
    };
    for to in ["postmaster@example.org", "abuse@example.org"] {
        catch_all("example.org", to);
        all_reach_alice();
    }
    // By way of an alias, and of another domain.
    world.alias("team@example.org", &["abuse@example.org"]).unwrap();
    catch_all("example.org", "team@example.org");
    all_reach_alice();
    catch_all("example.org", "postmaster@example.net");
    catch_all("example.net", "postmaster@example.org");
    all_reach_alice();
    // An alias that leads somewhere counts, and so does where the first one forwards to.
    world.alias("abuse@example.org", &["bob@example.org"]).unwrap();
    world.reaches("abuse", &["bob"], &[]);
    world.forward("alice@example.org", &["x@else.test"], false);
    world.reaches("postmaster", &[], &["x@else.test via alice@example.org"]);
    world.assert_sound();
}

#[test]
fn postmaster_is_reached_though_all_that_its_alias_leads_to_is_gone() {
    let world = World::new();
    now(world.directory.add_domain("example.net", NOW)).unwrap();
    world.add("alice@example.org");
    for address in ["bob@example.org", "carol@example.net"] {
        world.add(address);
    }
    // By their own names, by others, with details, by lists, and by way of another domain.
    let aliases = [
        ("sales@example.org", vec!["bob@example.org"]),
        ("help@example.net", vec!["carol@example.net"]),
        ("list@example.net", vec!["bob@example.org", "carol@example.net"]),
        (
            "postmaster@example.org",
            vec!["sales@example.org", "bob+pm@example.org", "list@example.net"],
        ),
        ("abuse@example.org", vec!["bob@example.org"]),
        (
            "postmaster@example.net",
            vec!["help@example.net", "carol+pm@example.net"],
        ),
        ("abuse@example.net", vec!["bob@example.org", "carol@example.net"]),
        ("hostmaster@example.net", vec!["postmaster@example.net"]),
    ];
    for (alias, targets) in &aliases {
        world.alias(alias, targets).unwrap();
    }
    world.reaches("postmaster", &["bob", "carol"], &[]);
    now(world.directory.remove_account("bob@example.org")).unwrap();
    now(world.directory.remove_account("carol@example.net")).unwrap();
    let there = |address: &str| {
        let (local, domain) = address.split_once('@').unwrap();
        names(now(world.directory.reach(domain, local)).unwrap()).0
    };
    for address in [
        "postmaster@example.org",
        "abuse@example.org",
        "postmaster@example.net",
        "abuse@example.net",
        "hostmaster@example.net",
    ] {
        assert_eq!(there(address), ["alice"], "{address}");
    }
    for address in ["list@example.net", "help@example.net"] {
        assert!(there(address).is_empty(), "{address}");
    }
    world.assert_sound();
}

#[test]
fn postmaster_is_reached_behind_more_names_than_are_looked_up() {
    let world = World::new();
    world.add("alice@example.org");
    world.add("bob@example.org");
    world.alias("sales@example.org", &["bob@example.org"]).unwrap();
    // Each of them is another address, and all of them are Bob's.
    let lists = limits::ALIAS_LOOKUPS / limits::ALIAS_TARGETS + 1;
    for list in 0..lists {
        let targets: Vec<String> = (0..limits::ALIAS_TARGETS)
            .map(|n| format!("sales+{list}.{n}@example.org"))
            .collect();
        let name = format!("list{list}@example.org");
        now(world.directory.add_alias(&name, &targets, NOW)).unwrap();
        world.alias("postmaster@example.org", &[&name]).unwrap();
    }
    world.reaches("postmaster", &["bob+0.0"], &[]);
    now(world.directory.remove_account("bob@example.org")).unwrap();
    world.reaches("postmaster", &["alice"], &[]);
}

#[test]
fn a_chain_of_aliases_ends() {
    let world = World::new();
    world.add("alice@example.org");
    let mut before = "alice@example.org".to_owned();
    for n in 0..limits::ALIAS_DEPTH + 2 {
        let alias = format!("a{n}@example.org");
        world.alias(&alias, &[&before, "x@else.test"]).unwrap();
        before = alias;
    }
    let reach = |n: usize| names(now(world.directory.reach("example.org", &format!("a{n}"))).unwrap()).0;
    assert_eq!(reach(limits::ALIAS_DEPTH - 1), ["alice"]);
    assert_eq!(reach(limits::ALIAS_DEPTH + 1), Vec::<String>::new());
}

#[test]
fn a_removed_account_leaves_nothing() {
    let world = World::new();
    let other = world.another();
    let hints = world.listen();
    let alice = world.add("alice@example.org");
    let id = alice.account.id;
    now(world
        .directory
        .add_alias("sales@example.org", &["alice@example.org".into()], NOW))
    .unwrap();
    now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    assert!(world.login("alice", &alice.password).is_some());
    assert!(now(other.device("example.org", "alice-desk")).unwrap().is_some());
    deliver(&world, id);
    let journal = BindingsJournal::new(world.store.clone());
    let binding = Binding {
        expires: UnixTime::from_secs(u64::MAX >> 32),
        ..Binding::default()
    };
    let bindings = Bindings {
        account: id,
        address: "alice@example.org".into(),
        bindings: vec![binding],
    };
    now(journal.save(&[bindings])).unwrap();

    assert!(matches!(
        now(world.directory.remove_account("sales@example.org")),
        Err(DirectoryError::AnotherName { .. })
    ));
    now(world.directory.remove_account("alice@example.org")).unwrap();
    while let Some(heard) = hints.try_next() {
        now(other.handle_heard(heard)).unwrap();
    }
    for directory in [&world.directory, &other] {
        assert!(now(directory.login("alice", &alice.password)).unwrap().is_none());
        assert!(
            now(directory.device("example.org", "alice-desk"))
                .unwrap()
                .is_none()
        );
        assert!(now(directory.account("example.org", "sales")).unwrap().is_none());
    }
    assert!(now(journal.load(NOW)).unwrap().is_empty());
    let partitions = now(world.store.partitions(None, 100)).unwrap();
    assert!(!partitions.contains(&Partition::Account(id)), "{partitions:?}");
    assert!(
        now(world.store.blobs(&Partition::Account(id), None, 10))
            .unwrap()
            .is_empty()
    );
    world.assert_sound();
    // The name is free again, for somebody else.
    let again = world.add("alice@example.org").account;
    assert_ne!(again.id, id);
    let sweeper = Sweeper::new(world.store.clone(), world.blobs.clone(), Sweeper::GRACE);
    assert_eq!(
        now(sweeper.sweep(NOW + Sweeper::GRACE * 2)).unwrap(),
        ringpost_store::Swept::default()
    );
    world.assert_sound();
}

fn deliver(world: &World, id: AccountId) {
    use ringpost_store::records::{Flags, Mailbox, Message};
    let home = Partition::Account(id);
    let store: &dyn Store = &*world.store;
    let inbox =
        now(store.record::<Mailbox>(&home, keys::mailbox(ringpost_store::records::MailboxId(1)))).unwrap();
    let bodies = ringpost_store::Bodies::new(world.store.clone(), world.blobs.clone(), Rng::from_number(3));
    let body = now(bodies.store_bytes("hello".into())).unwrap();
    let message = Message {
        blob: body.id,
        size_bytes: 5,
        ..Message::default()
    };
    let mut batch = MailBatch::new(id, Default::default());
    batch.add(
        &inbox.unwrap().record,
        &message,
        Flags::NONE,
        Default::default(),
        &body,
    );
    now(store.commit_durable(batch.finish())).unwrap();
}

#[test]
fn another_data_folders_key_opens_nothing_and_says_so() {
    let world = World::new();
    world.add("alice@example.org");
    now(world.directory.add_device("alice@example.org", "desk", NOW)).unwrap();
    let other = World::open(&world.store, &world.bus, &world.kdf, [8; 32]);
    let refused = now(other.device("example.org", "alice-desk")).unwrap_err();
    assert_eq!(refused, DirectoryError::Sealed("alice-desk".into()));
}

#[test]
fn a_new_start_knows_everything_again() {
    let world = World::new();
    let alice = world.add("alice@example.org");
    now(world.directory.add_domain("example.net", NOW)).unwrap();
    let again = world.another();
    assert_eq!(again.domains(), ["example.net", "example.org"]);
    assert!(now(again.login("alice", &alice.password)).unwrap().is_some());
}

#[test]
fn a_bus_that_lost_hints_empties_the_caches() {
    let world = World::new();
    let other = world.another();
    let alice = world.add("alice@example.org");
    assert!(now(other.login("alice", &alice.password)).unwrap().is_some());
    now(world
        .directory
        .set_password("alice@example.org", "another one", NOW))
    .unwrap();
    now(world.directory.add_domain("example.net", NOW)).unwrap();
    now(other.handle_heard(Heard::Lagged)).unwrap();
    assert!(now(other.login("alice", &alice.password)).unwrap().is_none());
    assert!(other.is_local("example.net"));
}

// RFC 6530 §10.1, RFC 5890 §2.3.2.1.
#[test]
fn names_beyond_ascii_are_one_name_in_every_spelling() {
    let world = World::new();
    let directory = &world.directory;
    now(directory.add_domain("Bücher.example", NOW)).unwrap();
    assert_eq!(directory.domains(), ["example.org", "xn--bcher-kva.example"]);
    assert!(
        now(directory.add_domain("xn--bcher-kva.example", NOW)).is_err(),
        "it is there"
    );
    let jörg = world.add("Jörg@bücher.example");
    assert_eq!(jörg.account.address.to_string(), "jörg@xn--bcher-kva.example");
    let target = ["JÖRG@Bücher.example".to_owned()];
    now(directory.add_alias("alles@xn--bcher-kva.example", &target, NOW)).unwrap();
    for spelling in [
        "jörg@bücher.example",
        "JO\u{308}RG@BU\u{308}CHER.example",
        "jörg@XN--BCHER-KVA.example",
        "Alles@bücher.example",
    ] {
        let found = now(directory.account_by_login(spelling)).unwrap();
        assert_eq!(found.map(|a| a.id), Some(jörg.account.id), "{spelling}");
        assert_eq!(
            world.login(spelling, &jörg.password),
            Some(jörg.account.id),
            "{spelling}"
        );
        let (local, domain) = spelling.split_once('@').unwrap();
        assert!(directory.is_local(domain));
        let reach = now(directory.reach(domain, local)).unwrap().unwrap();
        assert_eq!(reach.here.len(), 1, "{spelling}");
        assert!(
            now(directory.owns(jörg.account.id, domain, local)).unwrap(),
            "{spelling}"
        );
    }
    assert!(
        now(directory.account_by_login("jorg@bücher.example"))
            .unwrap()
            .is_none()
    );
    let taken = now(directory.add_account(NewAccount::new("JO\u{308}RG@bücher.example"), NOW));
    assert!(taken.is_err(), "it is the same name");
    assert_eq!(now(directory.aliases("BÜCHER.example")).unwrap().len(), 1);
    world.assert_sound();
}
