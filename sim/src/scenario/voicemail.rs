//! Bob does not come to the phone: Alice leaves a message, his lamp is lit, and goes out when he has heard or read it.

use super::call::{Placed, VOICEMAIL, answering, place_call};
use super::{Outcome, Scenario, TRANSACTION, Violation, foreseen, register_all};
use crate::house::{ALICE, BOB, House, KITCHEN};
use ringpost_auth::base64;
use ringpost_client::imap::{Event as MailEvent, Outcome as MailOutcome, Tag};
use ringpost_client::phone::{Answering, CallId, Ended, Event, Lamp};
use ringpost_codec::{Wav, dominant_tone};
use ringpost_sip::Status;
use std::time::Duration;

pub(super) const HEARD_BY_PHONE: Scenario = Scenario {
    name: "voicemail, heard by phone",
    prepare,
    attempt: |house| attempt(house, hear_by_phone),
};

pub(super) const READ_AS_MAIL: Scenario = Scenario {
    name: "voicemail, read as mail",
    prepare: |house| {
        prepare(house)?;
        house.open_mail();
        house.with_mail(|client, now| client.select(now, "INBOX"));
        house.with_mail(|client, now| client.idle(now));
        house.run(Duration::from_secs(1));
        Ok(())
    },
    attempt: |house| attempt(house, read_as_mail),
};

/// The greeting, and a little for the tone behind it.
const GREETING: Duration = Duration::from_secs(9);

/// The longest message: Alice has spoken, her key and every BYE were lost, and at last she was silent.
const LONGEST: Duration = Duration::from_secs(60);

/// How often Bob plays a message again that he has not made out.
const AGAIN: usize = 10;

/// Bob's desk phone subscribes to the lamp, or leaves it to the node to tell of it.
fn prepare(house: &mut House) -> Result<(), Violation> {
    register_all(house)?;
    if house.rng.chance(0.5) {
        for place in [BOB, KITCHEN] {
            house
                .with(place, |phone, now| phone.subscribe(now))
                .map_err(Violation::new)?;
        }
        house.run(Duration::from_secs(1));
    }
    Ok(())
}

fn attempt(
    house: &mut House,
    hear: fn(&mut House) -> Result<Outcome, Violation>,
) -> Result<Outcome, Violation> {
    let left = leave_message(house)?;
    if left != Outcome::Succeeded {
        return Ok(left);
    }
    let lit = lamps_follow(house)?;
    if lit != Outcome::Succeeded {
        return Ok(lit);
    }
    let heard = hear(house)?;
    if heard != Outcome::Succeeded {
        return Ok(heard);
    }
    let waiting = in_mailbox(house).new;
    match lamps_follow(house)? {
        Outcome::Succeeded if waiting > 0 => Err(Violation(format!("{waiting} messages are new after all"))),
        outcome => Ok(outcome),
    }
}

/// Alice calls, waits for the tone, speaks, and hangs up or presses `#`; then there is one more message.
fn leave_message(house: &mut House) -> Result<Outcome, Violation> {
    match house.rng.below(3) {
        0 => answering(house, Answering::Ring, Answering::Ring),
        1 => answering(
            house,
            Answering::Refuse(Status::BUSY_HERE),
            Answering::Refuse(Status::BUSY_HERE),
        ),
        _ => answering(house, Answering::Refuse(Status::DECLINE), Answering::Ring),
    }
    let before = voicemails(house).len();
    match place_call(house)? {
        Placed::Not(Outcome::Failed(why)) if why == VOICEMAIL => {}
        Placed::Not(outcome) => return Ok(outcome),
        Placed::Talking(talk) => return Err(Violation(format!("somebody who is away answers: {talk:?}"))),
    }
    let call = only_call(house, ALICE)?;
    house.run(GREETING);
    let spoken = house.rng.duration(Duration::from_secs(2), Duration::from_secs(5));
    house.run(spoken);
    let with_key = house.rng.chance(0.5);
    if with_key {
        // A call that has ended in the meantime says so below.
        let _ = house.with(ALICE, |phone, _| phone.press(call, "#"));
        // The key may be lost, and the goodbye takes its time.
        house.run_until(Duration::from_secs(8), |house| {
            house.phones[ALICE].ended(call).is_some()
        });
    }
    let _ = house.with(ALICE, |phone, now| phone.hang_up(now, call));
    // Alice's BYE may be lost, and then it is her silence that ends the recording.
    house.run_until(TRANSACTION * 2, |house| house.phones[ALICE].ended(call).is_some());
    house.run_until(TRANSACTION, |house| house.status().calls == 0);
    match house.phones[ALICE].ended(call) {
        Some(Ended::Here) => {}
        Some(Ended::There) if with_key => {}
        Some(_) => return foreseen(house, ALICE, call),
        None => return Err(Violation::new("a call to the voicemail does not end")),
    }
    let messages = voicemails(house);
    if messages.len() != before + 1 {
        return Err(Violation(format!(
            "one message was left, and there are {} more",
            messages.len() - before
        )));
    }
    check_sound(house, spoken)
}

/// The newest message is what Alice said.
fn check_sound(house: &mut House, spoken: Duration) -> Result<Outcome, Violation> {
    let Some(newest) = voicemails(house)
        .into_iter()
        .max_by_key(|voicemail| voicemail.uid)
    else {
        return Err(Violation::new("no message"));
    };
    let (mail, bob) = (house.node().mail.clone(), house.bob);
    let file = house.finish(async move { mail.voicemail_audio(bob, newest.mailbox, newest.uid).await });
    let file = file.map_err(Violation::new)?;
    check_wav(house, &file, spoken)
}

fn check_wav(house: &House, file: &[u8], spoken: Duration) -> Result<Outcome, Violation> {
    let wav = Wav::parse(file).map_err(Violation::new)?;
    let length = Duration::from_millis(wav.duration_ms());
    let is_clear = house.network.weather.loss == 0.0;
    // Nine seconds are more than greeting and tone; after the key or the hang-up nothing more is recorded, unless it is lost.
    if is_clear && !(spoken..spoken + Duration::from_secs(3)).contains(&length) {
        return Err(Violation(format!(
            "of {spoken:?} that were spoken {length:?} are there"
        )));
    }
    let samples = wav.to_telephone();
    let tone_hz = house.phones[ALICE].tone_hz;
    // Lost packets tear a tone apart; it is known by its best second.
    let is_alice = samples.chunks(1_600).any(|block| {
        dominant_tone(block)
            .is_some_and(|tone| (tone.frequency_hz - tone_hz).abs() < 8.0 && tone.purity > 0.55)
    });
    match is_alice {
        true => Ok(Outcome::Succeeded),
        false => Err(Violation::new("the message is not what was said")),
    }
}

/// Both of Bob's phones come to show what is in his mailbox: at once, unless what tells them is lost.
fn lamps_follow(house: &mut House) -> Result<Outcome, Violation> {
    let wanted = in_mailbox(house);
    let patience = match house.network.weather.loss {
        0.0 => Duration::from_secs(1),
        _ => TRANSACTION,
    };
    let shown = |house: &House| [BOB, KITCHEN].map(|place| house.phones[place].lamp());
    let right = house.run_until(patience, |house| shown(house) == [Some(wanted); 2]);
    Ok(match right {
        true => Outcome::Succeeded,
        false => Outcome::failed("lamp behind"),
    })
}

/// What Bob's lamp is to show.
fn in_mailbox(house: &mut House) -> Lamp {
    let all = voicemails(house);
    let new = all.iter().filter(|voicemail| voicemail.is_new).count() as u32;
    Lamp {
        is_lit: new > 0,
        new,
        old: all.len() as u32 - new,
    }
}

fn voicemails(house: &mut House) -> Vec<ringpost_mail::Voicemail> {
    let (mail, bob) = (house.node().mail.clone(), house.bob);
    let all = house.finish(async move { mail.voicemails(bob).await });
    all.expect("a mailbox that can be read")
}

/// Bob dials `*97`, and presses 1 for each new message.
fn hear_by_phone(house: &mut House) -> Result<Outcome, Violation> {
    // His phone may still ring: where no answer to the INVITE was heard there was nothing to cancel (RFC 3261 §9.1).
    super::come_to_rest(house)?;
    let call = house
        .with(BOB, |phone, now| phone.call(now, "*97"))
        .map_err(Violation::new)?;
    house.run_until(TRANSACTION * 3, |house| {
        let bob = &house.phones[BOB];
        bob.is_up(call) || bob.ended(call).is_some()
    });
    if house.phones[BOB].ended(call).is_some() {
        return foreseen(house, BOB, call);
    }
    if !house.phones[BOB].is_up(call) {
        return Err(Violation::new("a call that neither stands nor ends"));
    }
    house.run(Duration::from_secs(2));
    let tone_hz = house.phones[ALICE].tone_hz;
    let mut new = in_mailbox(house).new;
    while new > 0 {
        let heard_ms = |house: &House| house.phones[BOB].statistics(call).heard_ms(tone_hz);
        let before_ms = heard_ms(house);
        // It may have ended, and then it is not heard.
        let _ = house.with(BOB, |phone, _| phone.press(call, "1"));
        // A message counts as heard when it was played to its end.
        let mut left = new;
        let patience = house.now() + LONGEST;
        while left == new && house.now() < patience {
            house.run(Duration::from_secs(1));
            left = in_mailbox(house).new;
        }
        if left == new {
            return Ok(Outcome::failed("key not heard"));
        }
        // A message that came in pieces, and is played in pieces, is made out the second time or the third.
        for _ in 0..AGAIN {
            if heard_ms(house) == before_ms {
                let _ = house.with(BOB, |phone, _| phone.press(call, "2"));
                house.run_until(LONGEST / 4, |house| heard_ms(house) > before_ms);
            }
        }
        if heard_ms(house) == before_ms {
            return Err(Violation::new("a message was played, and no tone is in it"));
        }
        new = left;
    }
    let _ = house.with(BOB, |phone, _| phone.press(call, "#"));
    //= https://www.rfc-editor.org/rfc/rfc3261#section-15
    // The node may not hang up before it has heard the ACK to its 2xx, and then its BYE may have to be repeated.
    house.run_until(TRANSACTION * 2, |house| house.phones[BOB].ended(call).is_some());
    match house.phones[BOB].ended(call) {
        Some(Ended::There) => Ok(Outcome::Succeeded),
        None => Ok(Outcome::failed("key not heard")),
        Some(_) => foreseen(house, BOB, call),
    }
}

/// Bob's mail program, which idles, hears of the message; he opens it, and marks everything as read.
fn read_as_mail(house: &mut House) -> Result<Outcome, Violation> {
    let wanted = voicemails(house).len() as u32;
    let patience = match house.network.weather.loss {
        0.0 => Duration::from_secs(1),
        _ => TRANSACTION,
    };
    let told = house.run_until(patience, |house| {
        mail_events(house).rev().find_map(|event| match event {
            MailEvent::Exists(count) => Some(*count),
            _ => None,
        }) == Some(wanted)
    });
    if !told {
        return Err(Violation(format!(
            "a mail program that idles was not told of message {wanted}"
        )));
    }
    let newest = wanted.to_string();
    let fetch =
        house.with_mail(|client, now| client.other(now, &format!("FETCH {newest} (UID BODY.PEEK[2])")));
    completed(house, fetch)?;
    let fetched = mail_events(house).rev().find_map(|event| match event {
        MailEvent::Fetch(fetched) => fetched.body("2").cloned(),
        _ => None,
    });
    let lines: Vec<u8> = fetched
        .unwrap_or_default()
        .into_iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let file = base64::decode(&lines, 1 << 24).map_err(Violation::new)?;
    Wav::parse(&file).map_err(Violation::new)?;
    let store = house.with_mail(|client, now| client.store(now, "1:*", "+FLAGS", "\\Seen"));
    completed(house, store)?;
    house.with_mail(|client, now| client.idle(now));
    Ok(Outcome::Succeeded)
}

fn completed(house: &mut House, tag: Tag) -> Result<(), Violation> {
    let answer = |house: &House| {
        mail_events(house).find_map(|event| match event {
            MailEvent::Completed {
                tag: known, outcome, ..
            } if *known == tag => Some(*outcome),
            _ => None,
        })
    };
    house.run_until(TRANSACTION, |house| answer(house).is_some());
    match answer(house) {
        Some(MailOutcome::Ok) => Ok(()),
        other => Err(Violation(format!("an IMAP command came to {other:?}"))),
    }
}

fn mail_events(house: &House) -> impl DoubleEndedIterator<Item = &MailEvent> {
    house.reader.iter().flat_map(|reader| &reader.events)
}

/// The one call that a phone has.
fn only_call(house: &House, place: usize) -> Result<CallId, Violation> {
    let mut ended = house.phones[place].since(0).filter_map(|event| match event {
        Event::Up { call } => Some(*call),
        _ => None,
    });
    ended
        .next_back()
        .ok_or_else(|| Violation(format!("phone {place} has no call")))
}
