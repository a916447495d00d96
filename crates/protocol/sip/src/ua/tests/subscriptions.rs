//! SUBSCRIBE and NOTIFY for the message lamp (RFC 3842), both sides.

use super::super::*;
use super::world::*;

fn summary(text: &'static str) -> Content {
    Content::none().with_body("application/simple-message-summary", text)
}

/// Alice subscribes to Bob for that long, and he grants at most an hour.
fn subscribe(w: &mut World, expires_s: u32) -> (SubscriptionId, SubscriptionId) {
    let mut request = w.new_request(ALICE, Method::Subscribe);
    request.content = Content::none()
        .with("Event", "message-summary")
        .with("Expires", expires_s);
    let ours = w.peers[ALICE].subscribe(w.now, request).unwrap();
    w.run_ms(20);
    let Event::Request { id, flow, request } = w.only(BOB) else {
        panic!()
    };
    let granted_s = request.expires_s().unwrap().min(3600);
    let theirs = w.peers[BOB]
        .accept_subscription(w.now, id, flow, &request, granted_s)
        .unwrap();
    w.peers[BOB]
        .notify(w.now, theirs, Standing::Active, summary("Messages-Waiting: no"))
        .unwrap();
    w.run_ms(50);
    (ours, theirs)
}

#[test]
fn a_subscriber_is_told_at_once_and_at_each_change() {
    let mut w = World::new(1);
    let (ours, theirs) = subscribe(&mut w, 7200);
    let events = w.take(ALICE);
    let [
        Event::Subscribed { expires_s: 3600, .. },
        Event::Notify { request, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(request.body(), "Messages-Waiting: no");
    assert_eq!(
        request.header(HeaderName::SubscriptionState),
        Some("active;expires=3600")
    );
    assert!(w.take(BOB).is_empty());
    w.run_ms(60_000);
    w.peers[BOB]
        .notify(w.now, theirs, Standing::Active, summary("Messages-Waiting: yes"))
        .unwrap();
    w.run_ms(50);
    let Event::Notify {
        subscription,
        request,
    } = w.only(ALICE)
    else {
        panic!()
    };
    assert_eq!(
        (subscription, request.body().clone()),
        (ours, Bytes::from("Messages-Waiting: yes"))
    );
    assert_eq!(w.log().last().unwrap(), "a: 200 NOTIFY");
}

#[test]
fn a_subscription_is_renewed_in_time_and_ends_when_asked_to() {
    let mut w = World::new(1);
    let (ours, theirs) = subscribe(&mut w, 600);
    w.take(ALICE);
    for _ in 0..3 {
        w.run_ms(569_000);
        let Event::Resubscribe {
            subscription,
            id,
            request,
            expires_s,
        } = w.only(BOB)
        else {
            panic!()
        };
        assert_eq!((subscription, expires_s), (theirs, 600));
        w.peers[BOB]
            .renew(w.now, subscription, id, &request, expires_s)
            .unwrap();
        w.peers[BOB]
            .notify(w.now, subscription, Standing::Active, summary("x"))
            .unwrap();
        w.run_ms(100);
        assert!(matches!(
            w.take(ALICE)[..],
            [Event::Subscribed { .. }, Event::Notify { .. }]
        ));
    }
    w.peers[ALICE].unsubscribe(w.now, ours).unwrap();
    w.run_ms(20);
    let Event::Resubscribe {
        id,
        request,
        expires_s: 0,
        ..
    } = w.only(BOB)
    else {
        panic!()
    };
    w.peers[BOB].renew(w.now, theirs, id, &request, 0).unwrap();
    w.peers[BOB]
        .notify(w.now, theirs, Standing::Terminated("timeout"), summary("x"))
        .unwrap();
    w.run_ms(100);
    assert!(matches!(
        w.take(ALICE)[..],
        [Event::Notify { .. }, Event::SubscriptionEnded { .. }]
    ));
    assert!(matches!(w.take(BOB)[..], [Event::SubscriptionEnded { .. }]));
    w.assert_empty();
}

#[test]
fn a_subscription_that_is_not_renewed_ends_with_a_notify() {
    let mut w = World::new(1);
    subscribe(&mut w, 600);
    w.take(ALICE);
    w.drop_if = Box::new(|who, m| who == ALICE && *m.method() == Method::Subscribe);
    w.run_ms(600_000);
    let Event::SubscriptionEnded {
        message: Some(notify),
        ..
    } = w.take(ALICE).pop().unwrap()
    else {
        panic!()
    };
    assert_eq!(
        notify.header(HeaderName::SubscriptionState),
        Some("terminated;reason=timeout")
    );
    assert!(matches!(w.only(BOB), Event::SubscriptionEnded { .. }));
    w.assert_empty();
}

// Guards pitfall SIP 10: dead subscriptions are pruned.
#[test]
fn a_subscriber_that_is_gone_is_forgotten() {
    let mut w = World::new(1);
    let (ours, theirs) = subscribe(&mut w, 3600);
    w.peers[ALICE].subscriptions.remove(ours.0);
    w.peers[BOB]
        .notify(w.now, theirs, Standing::Active, summary("x"))
        .unwrap();
    w.run_ms(50);
    assert!(matches!(w.only(BOB), Event::SubscriptionEnded { .. }));
    assert_eq!(w.peers[BOB].subscriptions(), 0);

    let mut w = World::new(1);
    let (_, theirs) = subscribe(&mut w, 3600);
    w.drop_if = Box::new(|_, _| true);
    w.peers[BOB]
        .notify(w.now, theirs, Standing::Active, summary("x"))
        .unwrap();
    w.run_ms(32_100);
    assert!(matches!(w.only(BOB), Event::SubscriptionEnded { .. }));
}

#[test]
fn a_refused_subscription_is_over() {
    let mut w = World::new(1);
    let mut request = w.new_request(ALICE, Method::Subscribe);
    request.content = Content::none().with("Event", "presence");
    w.peers[ALICE].subscribe(w.now, request.clone()).unwrap();
    w.run_ms(50);
    let Event::SubscriptionEnded {
        message: Some(response),
        ..
    } = w.only(ALICE)
    else {
        panic!()
    };
    assert_eq!(response.status(), Some(Status::BAD_EVENT));
    w.assert_empty();
    request.content = Content::none();
    assert_eq!(
        w.peers[ALICE].subscribe(w.now, request),
        Err(CommandError::Malformed)
    );
}

#[test]
fn a_subscription_without_any_notify_is_given_up() {
    let mut w = World::new(1);
    w.drop_if = Box::new(|_, _| true);
    let mut request = w.new_request(ALICE, Method::Subscribe);
    request.content = Content::none().with("Event", "message-summary");
    w.peers[ALICE].subscribe(w.now, request).unwrap();
    w.run_ms(33_000);
    assert!(matches!(
        w.only(ALICE),
        Event::SubscriptionEnded { message: None, .. }
    ));
    w.assert_empty();
}

#[test]
fn the_notify_may_be_faster_than_the_response() {
    let mut w = World::new(1);
    w.drop_if = Box::new(|who, m| who == BOB && m.status().is_some());
    let (ours, _) = subscribe(&mut w, 3600);
    assert!(matches!(w.only(ALICE), Event::Notify { subscription, .. } if subscription == ours));
    w.drop_if = Box::new(|_, _| false);
    w.run_ms(1000);
    assert!(matches!(w.only(ALICE), Event::Subscribed { .. }));
    w.run_ms(3_500_000);
    assert_eq!(w.count(ALICE, "SUBSCRIBE"), 2, "one retransmission");
}

#[test]
fn an_unsolicited_notify_is_a_request_like_others() {
    let mut w = World::new(1);
    let mut request = w.new_request(BOB, Method::Notify);
    request.content = summary("Messages-Waiting: yes")
        .with("Event", "message-summary")
        .with("Subscription-State", "terminated;reason=noresource");
    w.peers[BOB].request(w.now, request).unwrap();
    w.run_ms(20);
    let Event::Request { id, request, .. } = w.only(ALICE) else {
        panic!()
    };
    assert_eq!(request.body(), "Messages-Waiting: yes");
    let ok = w.peers[ALICE].response(&request, Status::OK).finish();
    w.peers[ALICE].respond(w.now, id, ok);
    w.run_ms(50);
    assert!(matches!(w.only(BOB), Event::Response { .. }));
    w.assert_empty();
}
