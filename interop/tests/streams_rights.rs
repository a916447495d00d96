//! Who may read and publish while it changes who has a name and what proves it, and in which domain that is.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Device, Ffmpeg, Options, Server, TypedTls, base64, client, stream_url, wait_until_live,
};
fn server(streams: &str) -> Server {
    Server::start_with(&Options {
        streams: streams.into(),
        ..Options::default()
    })
}

/// Where a device reads or publishes.
fn url_of(server: &Server, device: &Device, mount: &str) -> String {
    let url = stream_url(server, mount);
    let login = format!("rtsp://{}:{}@", device.username, device.secret);
    url.replace("rtsp://", &login)
}

#[test]
fn people_of_two_domains_read_what_is_named_after_addresses_with_ffmpeg() {
    let server = server(
        "mounts.\"cam@second.test/door\" = { read = [\"alice\"] }\n\
         mounts.\"cam@second.test/yard\" = { read = [\"accounts\"] }\n",
    );
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    server.command(&["domain", "add", "second.test"]);
    let cam = server.account_at("cam", "second.test");
    let (cam, eve) = (
        server.device(&cam, "cam"),
        server.account_at("eve", "second.test"),
    );
    let eve = server.device(&eve, "tv");
    let (_, alice) = server.person("alice");
    let sample = ffmpeg.sample("sample.mp4", 90);
    let publishers = ["door", "yard"].map(|name| {
        let mount = format!("cam@second.test/{name}");
        let publisher = ffmpeg.publish(name, &sample, "tcp", &url_of(&server, &cam, &mount));
        wait_until_live(&server, &mount, &publisher);
        publisher
    });
    let read = |name: &str, device: &Device, mount: &str| {
        let url = url_of(&server, device, &format!("cam@second.test/{mount}"));
        ffmpeg.try_units(name, &["-rtsp_transport", "tcp", "-t", "1"], &url)
    };
    for (name, device, mount) in [
        // Whom the rule names is asked in the realm of that name.
        ("named", &alice, "door"),
        ("owner", &cam, "door?realm=second.test"),
        ("owner-yard", &cam, "yard"),
        ("neighbour", &eve, "yard"),
        // Among all accounts it is who has it that is asked first, and anybody else says where the name is.
        ("guest", &alice, &format!("yard?realm={}", server.domain())),
    ] {
        let units = read(name, device, mount).unwrap_or_else(|said| panic!("{name}: {said}"));
        assert!(units.len() > 20, "{name}: {}", units.len());
    }
    let said = read("stranger", &eve, "door?realm=second.test").unwrap_err();
    assert!(said.contains("403"), "{said}");
    drop(publishers);
}

/// A connection under TLS by which somebody has proven to be alice, with so many sessions.
struct Proven {
    typed: TypedTls,
    url: String,
    cseq: u32,
}

impl Proven {
    fn new(server: &Server, (user, secret): (&str, &str), sessions: usize, more: &[&str]) -> Option<Proven> {
        let mut proven = Proven {
            typed: TypedTls::open(server, 8322, more)?,
            url: format!("rtsps://{}:8322/alice/door", server.address()),
            cseq: 0,
        };
        let basic = format!("Authorization: Basic {}\n", base64(format!("{user}:{secret}")));
        let described = proven.ask("DESCRIBE", "", &basic);
        assert!(described.starts_with("RTSP/1.0 200"), "{described}");
        for session in 0..sessions {
            let channels = format!("{}-{}", 2 * session, 2 * session + 1);
            let fields = format!("Transport: RTP/AVP/TCP;unicast;interleaved={channels}\n");
            let set_up = proven.ask("SETUP", "/trackID=0", &fields);
            assert!(set_up.starts_with("RTSP/1.0 200"), "{set_up}");
        }
        Some(proven)
    }

    fn ask(&mut self, method: &str, track: &str, fields: &str) -> String {
        self.cseq += 1;
        let (url, cseq) = (&self.url, self.cseq);
        self.typed.say(&format!(
            "{method} {url}{track} RTSP/1.0\nCSeq: {cseq}\n{fields}\n"
        ));
        let heard = self.typed.expect(&format!("CSeq: {cseq}\r\n"));
        heard[heard.rfind("RTSP/1.0 ").unwrap()..].to_owned()
    }

    /// Whether the server has nothing to do any more with who this was.
    fn is_over(&mut self, sessions: usize) -> bool {
        match sessions {
            0 => self.ask("DESCRIBE", "", "").starts_with("RTSP/1.0 401"),
            _ => self.typed.has_ended(),
        }
    }
}

// Guards pitfall RTSP 4.
#[test]
fn what_a_connection_has_proven_ends_with_the_password_and_with_the_device() {
    let server = server("");
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    if client("openssl").is_none() {
        return;
    }
    let (account, camera) = server.person("alice");
    let viewer = server.device(&account, "viewer");
    let sample = ffmpeg.sample("sample.mp4", 90);
    let mut publisher = ffmpeg.publish("camera", &sample, "tcp", &url_of(&server, &camera, "alice/door"));
    wait_until_live(&server, "alice/door", &publisher);
    // Each by a log of its own, which is called after arguments that change nothing here.
    let arguments = ["-4", "-no_ticket", "-nocommands", "-no_comp", "-bugs", "-no_tls1"];
    let logins = [
        (account.address.as_str(), account.password.as_str()),
        (viewer.username.as_str(), viewer.secret.as_str()),
    ];
    let mut connections = Vec::new();
    for (of, login) in logins.into_iter().enumerate() {
        for sessions in 0..3 {
            let more = &arguments[3 * of + sessions..][..1];
            connections.push(Proven::new(&server, login, sessions, more).unwrap());
        }
    }
    let (mut by_password, mut by_secret) = {
        let by_secret = connections.split_off(3);
        (connections, by_secret)
    };
    server.command(&["account", "passwd", &account.address]);
    for (sessions, connection) in by_password.iter_mut().enumerate() {
        assert!(connection.is_over(sessions), "{sessions} sessions");
    }
    // One of the same name is another one, with a secret of its own.
    server.command(&["device", "remove", &account.address, "viewer"]);
    let another = server.device(&account, "viewer");
    assert_eq!(another.username, viewer.username);
    for (sessions, connection) in by_secret.iter_mut().enumerate() {
        assert!(connection.is_over(sessions), "{sessions} sessions");
    }
    let url = url_of(&server, &another, "alice/door");
    let units = ffmpeg.units("another", &["-rtsp_transport", "tcp", "-t", "1"], &url);
    assert!(units.len() > 20, "{}", units.len());
    assert!(!publisher.has_ended(), "a device has a secret of its own");
}
