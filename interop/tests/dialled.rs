//! A phone dials what ffmpeg publishes, and what it hears is measured.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use md5::{Digest, Md5};
use ringpost_interop::{
    Baresip, Behaviour, DOMAIN, Device, Ffmpeg, Options, Server, SipSocket, client, own_address, spawn,
    tone_wav, wait_for,
};
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn server() -> Server {
    let address = own_address();
    let options = Options {
        streams: "vacancy_s = 1\nmounts.\"alice/door\" = { extension = \"701\" }\n".into(),
        ..Options::default()
    };
    let mut server = Server::prepared_at(address, &options);
    server.run();
    server
}

/// A tone that ffmpeg publishes to a mount of alice's, coded as these arguments say, until it is dropped.
fn publish(server: &Server, device: &Device, mount: &str, coded: &[&str]) -> Option<ringpost_interop::Child> {
    let url = format!(
        "rtsp://{}:{}@{}:8554/{mount}",
        device.username,
        device.secret,
        server.address()
    );
    let mut command = Command::new(client("ffmpeg")?);
    command.args(["-hide_banner", "-nostats", "-re", "-f", "lavfi", "-i"]);
    command.args(["sine=frequency=620:sample_rate=48000:duration=120", "-ac", "1"]);
    command.args(coded);
    command.args(["-f", "rtsp", "-rtsp_transport", "tcp", &url]);
    let name = mount.replace('/', "-");
    let mut child = spawn(server.folder(), &name, &mut command);
    child.wait_for_output("Output #0", LIMIT);
    Some(child)
}

/// What a phone hears that dials `number` while this is published.
fn hear(coded: &[&str], number: &str) {
    let server = server();
    let (alice, phone) = server.person("alice");
    let camera = server.device(&alice, "camera");
    let Some(published) = publish(&server, &camera, "alice/door", coded) else {
        return;
    };
    let behaviour = Behaviour {
        tone_hz: 440.0,
        ..Behaviour::default()
    };
    let Some(mut phone) = Baresip::start(&server, &phone, 6100, behaviour) else {
        return;
    };
    phone.dial(number);
    phone.wait_for("Call established");
    let heard = phone.heard(6.0);
    let seconds = heard.tone_seconds(620.0, 0.9);
    assert!(
        seconds >= 5.0,
        "{coded:?}: {seconds} s of the tone\n{}",
        server.log()
    );
    // The publisher goes, and does not come back.
    drop(published);
    phone.wait_for("session closed");
    server.check_store();
}

#[test]
fn a_mount_in_mu_law_is_heard_by_its_number_until_it_is_no_more() {
    hear(&["-ar", "8000", "-c:a", "pcm_mulaw"], "701");
}

#[test]
fn a_mount_in_a_law_is_heard_by_its_name() {
    hear(&["-ar", "8000", "-c:a", "pcm_alaw"], "alice/door");
}

#[test]
fn a_mount_in_g722_is_heard() {
    hear(&["-ar", "16000", "-c:a", "g722"], "alice/door");
}

#[test]
fn a_mount_in_linear_samples_at_44100_hz_is_heard() {
    hear(&["-ar", "44100", "-c:a", "pcm_s16be"], "alice/door");
}

#[test]
fn a_mount_in_opus_is_heard() {
    hear(&["-c:a", "libopus", "-b:a", "24k"], "alice/door");
}

#[test]
fn a_mount_in_stereo_opus_for_music_is_heard() {
    hear(
        &[
            "-ac",
            "2",
            "-c:a",
            "libopus",
            "-b:a",
            "96k",
            "-application",
            "audio",
        ],
        "alice/door",
    );
}

#[test]
fn a_mount_in_aac_is_heard() {
    hear(&["-ar", "44100", "-c:a", "aac"], "701");
}

#[test]
fn a_mount_in_stereo_aac_is_heard() {
    hear(&["-ac", "2", "-c:a", "aac", "-b:a", "128k"], "alice/door");
}

#[test]
fn a_file_is_heard_from_its_beginning_to_its_end() {
    let mut server = Server::prepared(&Options::default());
    let sound = server.folder().join("sound.wav");
    tone_wav(&sound, 620.0, 16_000, 6);
    let film = Ffmpeg::find(server.folder()).map(|ffmpeg| ffmpeg.sample("film.mp4", 6));
    let text = std::fs::read_to_string(server.config()).expect("it was written");
    let mounts = format!(
        "[streams]\nmounts.\"alice/sound\" = {{ file = {sound:?}, extension = \"702\" }}\n\
         mounts.\"alice/film\" = {{ file = {:?} }}\n",
        film.unwrap_or_default()
    );
    let text = text.replacen("[streams]\n", &mounts, 1);
    std::fs::write(server.config(), text).expect("the folder can be written");
    server.run();
    let (_, phone) = server.person("alice");
    let Some(phone) = Baresip::start(&server, &phone, 6100, Behaviour::default()) else {
        return;
    };
    // The film's sound is AAC.
    for (n, (number, tone_hz)) in [("702", 620.0), ("alice/film", 440.0)].into_iter().enumerate() {
        phone.dial(number);
        let is_over = wait_for(LIMIT, || phone.output().matches("session closed").count() > n);
        assert!(is_over, "{number}: {}", phone.output());
        let heard = phone.heard(5.0);
        let seconds = heard.tone_seconds(tone_hz, 0.9);
        assert!(
            (5.0..=6.5).contains(&seconds),
            "{number}: {seconds} s of the tone\n{}",
            server.log()
        );
    }
    server.check_store();
}

/// What phones that have these codecs hear of a mount, one after the other.
fn hear_with(phones: [&'static str; 2]) {
    let server = server();
    let (alice, first) = server.person("alice");
    let second = server.device(&alice, "other");
    let camera = server.device(&alice, "camera");
    let coded = ["-c:a", "libopus", "-b:a", "24k"];
    let Some(_published) = publish(&server, &camera, "alice/door", &coded) else {
        return;
    };
    for (codec, device, port) in [(phones[0], first, 6100), (phones[1], second, 6140)] {
        let behaviour = Behaviour {
            codec,
            ..Behaviour::default()
        };
        let Some(mut phone) = Baresip::start(&server, &device, port, behaviour) else {
            return;
        };
        phone.dial("701");
        phone.wait_for("Call established");
        let seconds = phone.heard(6.0).tone_seconds(620.0, 0.9);
        assert!(
            seconds >= 5.0,
            "{codec}: {seconds} s of the tone\n{}",
            server.log()
        );
        phone.hang_up();
    }
    server.check_store();
}

#[test]
fn a_phone_with_opus_hears_a_mount_in_g711_and_one_that_has_nothing_else_in_opus() {
    hear_with(["opus/48000/2,PCMA", "opus/48000/2"]);
}

#[test]
fn a_phone_with_g722_hears_a_mount_in_g711_and_one_that_has_nothing_else_in_g722() {
    hear_with(["G722,PCMU", "G722"]);
}

#[test]
fn what_cannot_be_heard_is_refused() {
    let server = server();
    let (alice, alices) = server.person("alice");
    let (_, bobs) = server.person("bob");
    let camera = server.device(&alice, "camera");
    let Some(mut phone) = Baresip::start(&server, &alices, 6100, Behaviour::default()) else {
        return;
    };
    phone.dial("701");
    phone.wait_for("SIP/2.0 480 ");
    phone.dial("alice/cellar");
    phone.wait_for("SIP/2.0 404 ");
    let Some(_published) = publish(&server, &camera, "alice/film", &["-c:a", "mp2"]) else {
        return;
    };
    phone.dial("alice/film");
    phone.wait_for("SIP/2.0 488 ");
    let Some(mut other) = Baresip::start(&server, &bobs, 6140, Behaviour::default()) else {
        return;
    };
    other.dial("701");
    other.wait_for("SIP/2.0 403 ");
    assert!(other.output().contains(DOMAIN));
}

#[test]
fn a_mount_that_is_pulled_when_it_is_wanted_is_pulled_for_a_phone_and_for_as_long_as_it_listens() {
    let camera = server();
    let (_, publisher) = camera.person("alice");
    let coded = ["-ar", "8000", "-c:a", "pcm_mulaw"];
    let Some(published) = publish(&camera, &publisher, "alice/door", &coded) else {
        return;
    };
    let from = format!(
        "rtsp://{}:{}@{}:8554/alice/door",
        publisher.username,
        publisher.secret,
        camera.address()
    );
    let streams = format!(
        "vacancy_s = 1\npull_networks = [\"127.0.0.0/8\"]\n\
         mounts.\"carol/door\" = {{ extension = \"703\", pull = {from:?}, pull_when = \"read\" }}\n"
    );
    let options = Options {
        streams,
        ..Options::default()
    };
    let house = Server::start_at(own_address(), &options);
    let (_, phone) = house.person("carol");
    let Some(mut phone) = Baresip::start(&house, &phone, 6180, Behaviour::default()) else {
        return;
    };
    let is_pulled = || house.command(&["stream", "list"]).contains("  publisher\t");
    assert!(!is_pulled(), "nobody wants it");
    phone.dial("703");
    phone.wait_for("Call established");
    // Longer than a mount is pulled that nobody reads.
    let seconds = phone.heard(12.0).tone_seconds(620.0, 0.9);
    assert!(seconds >= 11.0, "{seconds} s of the tone\n{}", house.log());
    assert!(!phone.output().contains("session closed"), "{}", phone.output());
    assert!(is_pulled());
    phone.hang_up();
    assert!(wait_for(LIMIT, || !is_pulled()), "nobody hears it any more");
    // The camera is gone: the call is refused, and nothing is left of it.
    drop(published);
    let is_over = || !camera.command(&["stream", "list"]).contains("alice/door");
    assert!(wait_for(LIMIT, is_over), "{}", camera.log());
    phone.dial("703");
    phone.wait_for("480 Temporarily Unavailable");
    assert!(!is_pulled());
    house.check_store();
}

#[test]
fn who_dials_a_mount_that_does_not_come_and_hangs_up_leaves_nothing() {
    // It takes connections, and answers nothing.
    let camera = TcpListener::bind((own_address(), 0)).unwrap();
    let from = format!("rtsp://{}/door", camera.local_addr().unwrap());
    let streams = format!(
        "vacancy_s = 1\npull_networks = [\"127.0.0.0/8\"]\n\
         mounts.\"carol/door\" = {{ extension = \"703\", pull = {from:?}, pull_when = \"read\" }}\n"
    );
    let house = Server::start_with(&Options {
        streams,
        ..Options::default()
    });
    let (_, carol) = house.person("carol");
    let phone = SipSocket::open(&house);
    let uri = format!("sip:703@{DOMAIN}");
    let say = |method: &str, cseq: u32, lines: &str| {
        let (user, ip, port) = (&carol.account, house.address(), phone.port());
        phone.send(&format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:{port};branch=z9hG4bK{cseq};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{DOMAIN}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: gives-up\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:{user}@{ip}:{port}>\r\n{lines}Content-Length: 0\r\n\r\n"
        ));
    };
    say("INVITE", 1, "");
    let challenge = phone.next();
    assert!(challenge.starts_with("SIP/2.0 401 "), "{challenge}");
    say("ACK", 1, "");
    say("INVITE", 2, &digest(&carol, "INVITE", &uri, &challenge));
    let (mut pull, _) = camera.accept().unwrap();
    say("CANCEL", 2, "");
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let answer = phone.next();
        if !answer.starts_with("SIP/2.0 100 ") {
            answers.push(answer.lines().next().unwrap_or_default().to_owned());
        }
    }
    answers.sort();
    assert!(
        answers[0].starts_with("SIP/2.0 200 ") && answers[1].starts_with("SIP/2.0 487 "),
        "{answers:?}"
    );
    say("ACK", 2, "");
    // Nobody wants it: the connection ends, and there is no other one.
    pull.set_read_timeout(Some(LIMIT)).unwrap();
    let mut asked = Vec::new();
    pull.read_to_end(&mut asked).unwrap();
    assert!(asked.starts_with(b"DESCRIBE ") || asked.starts_with(b"OPTIONS "));
    camera.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(camera.accept().is_err(), "{}", house.log());
    assert!(wait_for(LIMIT, || house.metric("calls") == 0.0));
    assert!(!house.command(&["stream", "list"]).contains("  publisher\t"));
    house.check_store();
}

/// What answers a challenge of MD5.
fn digest(device: &Device, method: &str, uri: &str, challenge: &str) -> String {
    let md5 = |text: String| -> String {
        Md5::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let nonce = challenge.split("nonce=\"").nth(1);
    let nonce = nonce.and_then(|rest| rest.split('"').next()).expect("a nonce");
    let Device { username, secret, .. } = device;
    let keys = md5(format!("{username}:{DOMAIN}:{secret}"));
    let of_request = md5(format!("{method}:{uri}"));
    let response = md5(format!("{keys}:{nonce}:00000001:typed:auth:{of_request}"));
    format!(
        "Authorization: Digest username=\"{username}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"typed\"\r\n"
    )
}
