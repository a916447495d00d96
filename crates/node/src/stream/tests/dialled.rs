//! A phone dials a mount that is pulled when it is wanted, and hangs up before it comes.

use super::*;
use crate::phone::{self, PhoneControl, PhoneParts};
use crate::testing::Outside;
use ringpost_auth::digest::DigestClient;
use ringpost_phone::Phone;
use ringpost_sip::{Arrival, Flow, Message, Transport};
use ringpost_store::BindingsJournal;
use std::sync::atomic::{AtomicUsize, Ordering};

const MOUNT: &str = "sip:alice/door@example.org";

/// Mounts of which none comes: how many are waited for.
#[derive(Default)]
struct Pulled(Arc<AtomicUsize>);

/// Somebody who waits.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LiveMounts for Pulled {
    fn publish(
        &self,
        _: MountName,
        _: String,
        _: Description,
    ) -> BoxFuture<'static, Option<async_channel::Sender<Bytes>>> {
        futures_util::future::ready(None).boxed()
    }

    fn elsewhere(&self, _: BoxFuture<'static, ()>) {}

    fn listen(&self, _: MountName) -> BoxFuture<'static, Option<Result<Sound, NotHeard>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(self.0.clone());
        async move {
            let _waits = waits;
            futures_util::future::pending().await
        }
        .boxed()
    }
}

/// A request for the mount: its number is its branch and its CSeq.
fn request(method: &str, number: u32, lines: &str) -> Arrival {
    let flow = Flow {
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.2:5060".parse().unwrap(),
        connection: None,
    };
    let text = format!(
        "{method} {MOUNT} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.org>;tag=a\r\nTo: <{MOUNT}>\r\nCall-ID: 1\r\nCSeq: {number} {method}\r\n\
         Contact: <sip:alice@192.0.2.2>\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    Arrival::Message {
        flow,
        message: Message::parse_from(text.into(), flow.remote),
    }
}

#[test]
fn who_hangs_up_while_a_pull_is_awaited_is_answered_and_waits_for_it_no_longer() {
    let mut house = House::new(Vec::new());
    let (mut dialling, _) = dialling(&house);
    let pulled = Arc::new(Pulled::default());
    dialling.live = pulled.clone();
    let outside = Arc::new(Outside::default());
    let (arrivals_in, arrivals) = async_channel::unbounded();
    let (_media, media_events) = async_channel::unbounded();
    let (control_in, control) = async_channel::unbounded();
    let parts = PhoneParts {
        world: house.lab.world.clone(),
        directory: house.streams.directory.clone(),
        voicemail: outside.clone(),
        mounts: Some(dialling),
        sip: outside.clone(),
        dns: outside.clone(),
        media: outside.clone(),
        arrivals,
        media_events,
        bus: house.bus.clone(),
        journal: BindingsJournal::new(Arc::new(MemoryStore::new())),
        control,
    };
    let config = ringpost_phone::Config {
        domains: vec!["example.org".into()],
        ..ringpost_phone::Config::default()
    };
    house
        .lab
        .spawn(phone::run(parts, Phone::new(config, Rng::from_number(4))));
    let said = |arrival: Arrival, house: &mut House| {
        arrivals_in.try_send(arrival).unwrap();
        // After a while without anything else a 100 goes out.
        house.lab.pass(Duration::from_millis(300));
        std::mem::take(&mut *outside.0.lock().unwrap())
    };
    let waiting = || pulled.0.load(Ordering::Relaxed);

    let challenged = said(request("INVITE", 1, ""), &mut house).concat();
    let challenges = challenged.lines().filter_map(|line| line.split_once(": "));
    let challenges = challenges.filter(|(name, _)| name.ends_with("-Authenticate"));
    let (user, secret) = house.device.clone();
    let mut login = DigestClient::new("example.org", &user, &secret, Rng::from_number(5));
    login
        .handle_challenges(challenges.map(|(_, value)| value))
        .expect("a challenge");
    let credentials = login.authorize("INVITE", MOUNT).unwrap();
    let credentials = format!("Authorization: {credentials}\r\n");
    said(request("ACK", 1, ""), &mut house);
    let answers = said(request("INVITE", 2, &credentials), &mut house);
    assert!(answers.concat().starts_with("SIP/2.0 100 "), "{answers:?}");
    assert_eq!(waiting(), 1);

    let answers = said(request("CANCEL", 2, ""), &mut house);
    let has = |status: &str| answers.iter().any(|answer| answer.starts_with(status));
    assert!(has("SIP/2.0 200 ") && has("SIP/2.0 487 "), "{answers:?}");
    assert_eq!(waiting(), 0, "nobody waits any more");
    said(request("ACK", 2, ""), &mut house);
    let (reply, status) = async_channel::bounded(1);
    control_in.try_send(PhoneControl::Status(reply)).unwrap();
    house.lab.settle();
    let held = status.try_recv().unwrap().held;
    let is_left = |what: &str| held.iter().any(|(name, _)| name.contains(what));
    assert!(!is_left("call") && !is_left("question"), "{held:?}");
}
