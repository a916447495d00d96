//! What PLAY and PAUSE say and do of one track or scale while others play.

use super::*;

/// What RTP-Info says: of which track, with which number it begins, and the timestamp.
fn begins(response: &str) -> Vec<(usize, u16, u32)> {
    let line = response.lines().find_map(|line| line.strip_prefix("RTP-Info: "));
    let infos = line.into_iter().flat_map(|line| line.split(','));
    let number = |of: &str, name: &str| {
        let value = of.split(name).nth(1).unwrap().split(';').next().unwrap();
        value.trim().parse::<u32>().unwrap()
    };
    infos
        .map(|of| {
            let (seq, rtptime) = (number(of, "seq="), number(of, "rtptime="));
            (number(of, "trackID=") as usize, seq as u16, rtptime)
        })
        .collect()
}

fn command(method: &str, url: &str, session: &str, fields: &str) -> String {
    format!("{method} rtsp://h/alice/{url} RTSP/1.0\nCSeq: 9\nSession: {session}\n{fields}\n")
}

/// A film of 20 s, with pictures and sound.
fn film(world: &mut World) {
    let mut camera = crate::recording::tests::world(crate::recording::tests::CAMERA);
    camera.play(0..20);
    camera.finish();
    let film = camera.file(&camera.names()[0]).octets;
    world.files.insert("a.mp4".into(), film.into());
}

fn setup(world: &mut World) -> (ConnectionId, String) {
    let reader = world.connect();
    let mut session = String::new();
    for (track, transport) in TCP.iter().enumerate() {
        let id = match session.is_empty() {
            true => String::new(),
            false => format!("Session: {session}\n"),
        };
        let setup = format!(
            "SETUP rtsp://h/alice/sound/trackID={track} RTSP/1.0\nCSeq: 3\n{id}Transport: {transport}\n\n"
        );
        let response = world.ask(reader, &setup);
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        session = World::session(&response);
    }
    (reader, session)
}

/// What comes on both channels.
fn both(world: &mut World, reader: ConnectionId) -> [Vec<(u16, Vec<u8>)>; 2] {
    let sent = world.sent.get(&reader).cloned().unwrap_or_default();
    let pictures = world.received(reader, 0);
    world.sent.insert(reader, sent);
    [pictures, world.received(reader, 2)]
}

// RFC 2326 §10.5, §12.33.
#[test]
fn a_track_of_a_film_is_paused_and_taken_up_and_told_for_itself() {
    let mut world = World::new();
    film(&mut world);
    let (reader, session) = setup(&mut world);
    let ask = |world: &mut World, method: &str, url: &str| {
        let response = world.ask(reader, &command(method, url, &session, ""));
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        response
    };
    let told = begins(&ask(&mut world, "PLAY", "sound/trackID=0"));
    assert_eq!(told.len(), 1);
    world.pass(Duration::from_millis(1_010));
    let [mut pictures, sound] = both(&mut world, reader);
    assert!(sound.is_empty() && pictures[0].0 == told[0].1);
    let told = begins(&ask(&mut world, "PLAY", "sound/trackID=1"));
    let [more, mut sound] = both(&mut world, reader);
    pictures.extend(more);
    assert_eq!(told.iter().map(|(track, ..)| *track).collect::<Vec<_>>(), [1]);
    for _ in 0..3 {
        world.pass(Duration::from_millis(1_000));
        let [more, some] = both(&mut world, reader);
        pictures.extend(more);
        assert!((41..=46).contains(&some.len()), "{}", some.len());
        sound.extend(some);
    }
    assert_eq!(sound[0].0, told[0].1);
    ask(&mut world, "PAUSE", "sound/trackID=1");
    both(&mut world, reader)
        .into_iter()
        .next()
        .into_iter()
        .for_each(|more| pictures.extend(more));
    world.pass(Duration::from_millis(4_000));
    let [more, none] = both(&mut world, reader);
    pictures.extend(more);
    assert!(none.is_empty());
    let again = ask(&mut world, "PLAY", "sound/trackID=1");
    assert!(again.contains("Range: npt=8.0"), "{again}");
    assert_eq!(begins(&again)[0].1, sound.last().unwrap().0.wrapping_add(1));
    let [more, _] = both(&mut world, reader);
    pictures.extend(more);
    world.pass(Duration::from_millis(500));
    let [more, some] = both(&mut world, reader);
    pictures.extend(more);
    assert!((19..=23).contains(&some.len()), "{}", some.len());
    let follows = |two: &[(u16, Vec<u8>)]| two[1].0 == two[0].0.wrapping_add(1);
    assert!(pictures.windows(2).all(follows));
    // Of both, which have paused, the one goes on that is asked for.
    ask(&mut world, "PAUSE", "sound");
    both(&mut world, reader);
    let alone = ask(&mut world, "PLAY", "sound/trackID=1");
    assert_eq!(begins(&alone).len(), 1);
    world.pass(Duration::from_millis(1_000));
    let [none, some] = both(&mut world, reader);
    assert!(none.is_empty() && some.len() > 40);
}

// RFC 2326 §12.33.
#[test]
fn all_tracks_that_are_asked_for_are_told_and_no_others() {
    let mut world = World::new();
    film(&mut world);
    let (reader, session) = setup(&mut world);
    let ask = |world: &mut World, method: &str, url: &str| {
        let response = world.ask(reader, &command(method, url, &session, ""));
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        begins(&response)
    };
    ask(&mut world, "PLAY", "sound/trackID=0");
    world.pass(Duration::from_millis(1_010));
    let [before, _] = both(&mut world, reader);
    ask(&mut world, "PAUSE", "sound");
    both(&mut world, reader);
    world.pass(Duration::from_millis(2_000));
    // Pictures go on, and sound is taken up.
    let told = ask(&mut world, "PLAY", "sound");
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [0, 1]);
    world.pass(Duration::from_millis(500));
    let [pictures, sound] = both(&mut world, reader);
    assert_eq!(told[0].1, before.last().unwrap().0.wrapping_add(1));
    assert_eq!([pictures[0].0, sound[0].0], [told[0].1, told[1].1]);
    for url in ["sound/trackID=1", "sound/trackID=0"] {
        ask(&mut world, "PAUSE", url);
        both(&mut world, reader);
        let told = ask(&mut world, "PLAY", url);
        assert!(
            told.len() == 1 && url.ends_with(&told[0].0.to_string()),
            "{told:?}"
        );
    }
}

#[test]
fn what_is_queued_for_one_track_sends_nothing_of_it_before() {
    let mut world = World::new();
    film(&mut world);
    let (reader, session) = setup(&mut world);
    for (url, range) in [("sound/trackID=0", "npt=0-2"), ("sound", "npt=10-11")] {
        let fields = format!("Range: {range}\n");
        let response = world.ask(reader, &command("PLAY", url, &session, &fields));
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
    }
    world.pass(Duration::from_millis(1_900));
    assert!(both(&mut world, reader)[1].is_empty());
    world.pass(Duration::from_millis(1_200));
    let [pictures, sound] = both(&mut world, reader);
    assert!(sound.len() > 40 && pictures.len() > 20);
}

// RFC 2326 §12.34, §12.35.
#[test]
fn another_scale_without_a_range_takes_effect_where_it_plays() {
    let mut world = World::new();
    film(&mut world);
    let (reader, session) = setup(&mut world);
    let play = |world: &mut World, fields: &str| {
        let response = world.ask(reader, &command("PLAY", "sound", &session, fields));
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        response
    };
    play(&mut world, "Range: npt=0-\n");
    world.pass(Duration::from_millis(4_100));
    for (fields, range, scale) in [
        ("Scale: 2\n", "npt=4.000-20.000", "Scale: 2\r\n"),
        ("Scale: 1\n", "npt=8.000-20.000", "Scale: 1\r\n"),
        ("Scale: -1\n", "npt=10.000-0.000", "Scale: -1\r\n"),
        ("Scale: 1\nSpeed: 2\n", "npt=7.000-20.000", "Speed: 2\r\n"),
    ] {
        both(&mut world, reader);
        let played = play(&mut world, fields);
        let told = begins(&played);
        assert!(played.contains(range), "{fields}: {played}");
        assert!(played.contains(scale) && !told.is_empty(), "{fields}: {played}");
        world.pass(Duration::from_millis(2_050));
        let [pictures, sound] = both(&mut world, reader);
        assert_eq!(pictures[0].0, told[0].1, "{fields}");
        assert_eq!(sound.is_empty(), !fields.starts_with("Scale: 1"), "{fields}");
    }
}

#[test]
fn pictures_that_are_paused_at_another_scale_go_on_where_they_were() {
    for scale in ["2", "4", "-1"] {
        let mut world = World::new();
        film(&mut world);
        let (reader, session) = setup(&mut world);
        let ask = |world: &mut World, method: &str, url: &str, fields: &str| {
            let response = world.ask(reader, &command(method, url, &session, fields));
            assert!(response.starts_with("RTSP/1.0 200"), "{response}");
            response
        };
        let fields = format!(
            "Range: npt=8-{}\nScale: {scale}\n",
            if scale == "-1" { "0" } else { "20" }
        );
        ask(&mut world, "PLAY", "sound", &fields);
        world.pass(Duration::from_millis(1_550));
        let before = both(&mut world, reader)[0].last().unwrap().0;
        // Of sound nothing is sent then.
        ask(&mut world, "PAUSE", "sound/trackID=0", "");
        both(&mut world, reader);
        world.pass(Duration::from_millis(15_000));
        assert!(both(&mut world, reader).iter().all(Vec::is_empty), "{scale}");
        let told = begins(&ask(&mut world, "PLAY", "sound/trackID=0", ""));
        assert_eq!((told.len(), told[0].1), (1, before.wrapping_add(1)), "{scale}");
        world.pass(Duration::from_millis(1_100));
        assert_eq!(both(&mut world, reader)[0][0].0, told[0].1, "{scale}");
    }
}

// RFC 2326 §12.33.
#[test]
fn a_reader_that_has_all_is_told_what_comes_next() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 10, 0, KEY);
    world.send(publisher, 0, 11, 3_600, OTHER);
    let (reader, played) = world.read("alice/door", &TCP);
    let session = World::session(&played);
    let first = begins(&played);
    assert_eq!(first.len(), 1, "nothing has ever come of the sound: {played}");
    assert_eq!(world.received(reader, 0).len(), 2);
    let ask = |world: &mut World, method: &str| {
        let response = world.ask(reader, &command(method, "door", &session, ""));
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        begins(&response)
    };
    ask(&mut world, "PAUSE");
    let told = ask(&mut world, "PLAY");
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1), (0, first[0].1.wrapping_add(2)));
    let later = told[0].2.wrapping_sub(first[0].2);
    assert!((0..90_000).contains(&later), "{later}");
    world.send(publisher, 0, 12, 7_200, OTHER);
    assert_eq!(world.received(reader, 0)[0].0, told[0].1);
}
