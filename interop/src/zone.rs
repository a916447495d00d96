use crate::clients::{Child, client, spawn, wait_for};
use crate::server::own_address;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A DNS of the test's own whose root is signed: Knot on loopback.
///
/// The root has all names of a test, in lines of a zone file. Beside it there are two zones of their own, `plain`, which is
/// not signed, and `broken`, which should be and is not.
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
