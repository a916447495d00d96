//! Phones that are registered and told of the lamp without having subscribed to it.

use super::office::BOB as BOBS_ACCOUNT;
use super::world::{BOB, World};
use crate::LampCounts;
use ringpost_sip::Method;

fn lamp(w: &mut World, new: u32, old: u32) {
    let (now, calendar) = (w.now, w.calendar());
    w.phone
        .handle_lamp(now, calendar, BOBS_ACCOUNT, LampCounts { new, old });
    w.run_ms(50);
}

/// What each of the different NOTIFYs that the phone heard says.
fn told(w: &World) -> Vec<String> {
    let notifies = w
        .sent
        .iter()
        .filter(|sent| sent.to == Some(BOB) && sent.what() == "NOTIFY");
    let mut told: Vec<String> = notifies
        .filter_map(|sent| {
            let body = String::from_utf8_lossy(sent.message.body()).into_owned();
            Some(
                body.lines()
                    .find(|line| line.starts_with("Voice-Message"))?
                    .to_owned(),
            )
        })
        .collect();
    told.dedup();
    told
}

#[test]
fn a_lamp_that_changes_while_a_phone_is_told_is_told_when_the_phone_has_answered() {
    let mut w = World::new();
    let mut lost = 0;
    w.drop_if = Box::new(move |sent| {
        let is_first = sent.message.method() == &Method::Notify && sent.from.is_none() && lost < 2;
        lost += u32::from(is_first);
        is_first
    });
    // The first NOTIFY is lost twice. Sent beside it the later ones would arrive before it, and the lamp would stay lit.
    lamp(&mut w, 1, 0);
    lamp(&mut w, 0, 1);
    lamp(&mut w, 1, 0);
    lamp(&mut w, 0, 1);
    w.run_s(40);
    assert_eq!(told(&w), ["Voice-Message: 1/0 (0/0)", "Voice-Message: 0/1 (0/0)"]);
    w.assert_over();
}

#[test]
fn a_phone_that_was_told_what_is_so_in_the_end_is_not_told_again() {
    let mut w = World::new();
    let mut lost = 0;
    w.drop_if = Box::new(move |sent| {
        let is_first = sent.message.method() == &Method::Notify && sent.from.is_none() && lost < 1;
        lost += u32::from(is_first);
        is_first
    });
    lamp(&mut w, 1, 0);
    lamp(&mut w, 0, 1);
    lamp(&mut w, 1, 0);
    w.run_s(40);
    assert_eq!(told(&w), ["Voice-Message: 1/0 (0/0)"]);
}
