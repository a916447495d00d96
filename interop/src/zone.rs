use crate::clients::{Child, client, run, spawn, wait_for};
use crate::server::own_address;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A DNS of the test's own whose root is signed: Knot on loopback.
///
/// The root has all names of a test, in lines of a zone file. Beside it there are two zones of their own, `plain`, which is
/// not signed, and `broken`, which should be and is not; and perhaps some whose signatures have expired.
#[derive(Debug)]
pub struct SignedZone {
    address: Ipv4Addr,
    folder: tempfile::TempDir,
    _child: Child,
}

const ZONES: [&str; 3] = [".", "plain.", "broken."];

impl SignedZone {
    /// Starts it with these records of the three zones; `None` where there is no Knot.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(root: &str, plain: &str, broken: &str) -> Option<SignedZone> {
        SignedZone::start_with_expired(root, plain, broken, &[])
    }

    /// The same with zones that were signed and are not any more since seconds: their names, with a dot at the end, and their
    /// records, whose TTL is one second.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with_expired(
        root: &str,
        plain: &str,
        broken: &str,
        expired: &[(&str, &str)],
    ) -> Option<SignedZone> {
        let knotd = client("knotd")?;
        client("keymgr")?;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let address = own_address();
        let path = folder.path().display();
        std::fs::create_dir(folder.path().join("db")).expect("the folder can be written");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("the folder can be written");
        };
        let start =
            |name: &str| format!("{name} 60 IN SOA ns. host. 1 3600 600 86400 60\n{name} 60 IN NS ns.\n");
        // That `broken` is signed is said with a key that nobody has.
        let delegations = format!(
            "ns. 60 IN A {address}\nplain. 60 IN NS ns.\nbroken. 60 IN NS ns.\nbroken. 60 IN DS 7 13 2 {}\n",
            "07".repeat(32)
        );
        let delegations = delegations + &sign_and_wait(folder.path(), expired)?;
        write("root.zone", start(".") + &delegations + root);
        write("plain.zone", start("plain.") + plain);
        write("broken.zone", start("broken.") + broken);
        let mut config = format!(
            "server:\n    rundir: \"{path}\"\n    listen: {address}@53\ndatabase:\n    storage: \"{path}/db\"\n\
             policy:\n  - id: signed\n    algorithm: ecdsap256sha256\n    single-type-signing: on\nzone:\n"
        );
        for (zone, file) in ZONES.into_iter().zip(["root.zone", "plain.zone", "broken.zone"]) {
            config += &format!(
                "  - domain: {zone}\n    storage: \"{path}\"\n    file: {file}\n    zonefile-sync: -1\n"
            );
            if zone == "." {
                config += "    dnssec-signing: on\n    dnssec-policy: signed\n    zonefile-load: difference\n    \
                           journal-content: changes\n";
            }
        }
        for (n, (zone, _)) in expired.iter().enumerate() {
            config += &format!(
                "  - domain: {zone}\n    storage: \"{path}/expired\"\n    file: {n}.zone\n    zonefile-sync: -1\n"
            );
        }
        write("knot.conf", config);
        let mut command = Command::new(knotd);
        command.arg("-c").arg(folder.path().join("knot.conf"));
        let child = spawn(folder.path(), "knotd", &mut command);
        let up = wait_for(START_LIMIT, || {
            child.output().contains("[.] loaded, serial") && TcpStream::connect((address, 53)).is_ok()
        });
        assert!(up, "knotd does not come up:\n{}", child.output());
        let zone = SignedZone {
            address,
            folder,
            _child: child,
        };
        zone.write_anchors();
        Some(zone)
    }

    fn write_anchors(&self) {
        let keys = Command::new("keymgr")
            .arg("-c")
            .arg(self.folder.path().join("knot.conf"))
            .args([".", "dnskey"])
            .output()
            .expect("keymgr starts");
        let keys = String::from_utf8_lossy(&keys.stdout).into_owned();
        assert!(keys.contains("DNSKEY"), "{keys:?}");
        let keys = keys.replace(" DNSKEY ", " 60 IN DNSKEY ");
        std::fs::write(self.anchors(), keys).expect("the folder can be written");
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.address, 53))
    }

    /// The file with the root's keys.
    pub fn anchors(&self) -> PathBuf {
        self.folder.path().join("anchors")
    }
}

/// For how long the signatures of a zone hold that is to expire.
const SIGNED_FOR: Duration = Duration::from_secs(4);

/// Has zones signed, each into a file of the folder `expired`, and waits until the signatures hold no more. Gives their
/// delegations.
fn sign_and_wait(folder: &Path, zones: &[(&str, &str)]) -> Option<String> {
    if zones.is_empty() {
        return Some(String::new());
    }
    let (place, address) = (folder.join("expired"), own_address());
    std::fs::create_dir_all(place.join("db")).expect("the folder can be written");
    let path = place.display();
    let mut config = format!(
        "server:\n    rundir: \"{path}\"\n    listen: {address}@53\ndatabase:\n    storage: \"{path}/db\"\npolicy:\n\
         \x20 - id: brief\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    rrsig-lifetime: {}s\n\
         \x20   rrsig-refresh: 2s\n    rrsig-pre-refresh: 0\n    propagation-delay: 0\n    dnskey-ttl: 1s\n\
         \x20   zone-max-ttl: 1s\nzone:\n",
        SIGNED_FOR.as_secs()
    );
    for (n, (zone, records)) in zones.iter().enumerate() {
        config += &format!(
            "  - domain: {zone}\n    storage: \"{path}\"\n    file: {n}.zone\n    zonefile-sync: 0\n    dnssec-signing: on\n\
             \x20   dnssec-policy: brief\n    zonefile-load: whole\n"
        );
        let start = format!("{zone} 1 IN SOA ns. host. 1 3600 600 86400 1\n{zone} 1 IN NS ns.\n");
        std::fs::write(place.join(format!("{n}.zone")), start + records).expect("the folder can be written");
    }
    let file = place.join("knot.conf");
    std::fs::write(&file, config).expect("the folder can be written");
    let mut command = Command::new(client("knotd")?);
    command.arg("-c").arg(&file);
    let child = spawn(&place, "knotd", &mut command);
    let written = || child.output().matches("zone file updated").count() >= zones.len();
    assert!(
        wait_for(START_LIMIT, written),
        "knotd does not sign:\n{}",
        child.output()
    );
    child.signal(libc::SIGTERM);
    child.finish(START_LIMIT);
    let delegations = zones.iter().map(|(zone, _)| {
        let mut keys = Command::new("keymgr");
        keys.arg("-c").arg(&file).args([zone, "ds"]);
        let said = run(&place, "keymgr", &mut keys, START_LIMIT).output;
        let signer = said.lines().find(|line| line.contains(" 13 2 "));
        let signer = signer.unwrap_or_else(|| panic!("no DS of {zone} in {said}"));
        format!("{zone} 60 IN NS ns.\n{}\n", signer.replace(" DS ", " 60 IN DS "))
    });
    let delegations = delegations.collect();
    // Whole seconds are counted, and the last one still holds.
    std::thread::sleep(SIGNED_FOR + Duration::from_secs(2));
    Some(delegations)
}
