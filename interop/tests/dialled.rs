//! A phone dials what ffmpeg publishes, and what it hears is measured.

use ringpost_interop::{
    Baresip, Behaviour, DOMAIN, Device, Ffmpeg, Options, Server, client, own_address, spawn, tone_wav,
    wait_for,
};
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
