//! One of two who talk, or both at once, puts the other on hold and takes the call back.

use super::call::{Placed, Talk, answering, place_call};
use super::{Outcome, Scenario, TRANSACTION, Violation, register_all};
use crate::house::House;
use ringpost_client::phone::{Answering, Event};
use ringpost_sip::Status;
use std::time::Duration;

pub(super) const HOLD: Scenario = Scenario {
    name: "hold and resume",
    prepare: register_all,
    attempt,
};

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    let at_once = Answering::After(Duration::ZERO);
    answering(house, at_once, Answering::Refuse(Status::BUSY_HERE));
    let talk = match place_call(house)? {
        Placed::Talking(talk) => talk,
        Placed::Not(outcome) => return Ok(outcome),
    };
    house.run(Duration::from_secs(1));
    let holders: &[usize] = match house.rng.below(3) {
        0 => &[0],
        1 => &[1],
        _ => &[0, 1],
    };
    for hold in [true, false] {
        match talk.change(house, holders, hold)? {
            Outcome::Succeeded => {}
            failed => return Ok(failed),
        }
        if hold {
            talk.expect_quiet(house, holders)?;
        }
    }
    let heard = talk.listen(house, Duration::from_secs(3))?;
    if heard != Outcome::Succeeded {
        return Ok(heard);
    }
    let who = house.rng.below(2) as usize;
    talk.hang_up(house, who)
}

impl Talk {
    /// The holders hold, or resume, all within the time that a message takes; both ends come to believe the same.
    fn change(&self, house: &mut House, holders: &[usize], hold: bool) -> Result<Outcome, Violation> {
        let marks = self.ends.map(|(place, _)| house.phones[place].mark());
        for end in holders {
            let (place, call) = self.ends[*end];
            let changed = house.with(place, |phone, now| match hold {
                true => phone.hold(now, call),
                false => phone.resume(now, call),
            });
            if changed.is_err() {
                // It has ended in the meantime, or nobody has acknowledged it yet.
                return self.failed(house);
            }
            let wait = house.rng.duration(Duration::ZERO, Duration::from_millis(20));
            house.run(wait);
        }
        let answer = |house: &House, end: usize| {
            let (place, call) = self.ends[end];
            house.phones[place]
                .since(marks[end])
                .find_map(|event| match event {
                    Event::Holding { call: known, holding } if *known == call => Some(Ok(*holding)),
                    Event::HoldRefused { call: known, status } if *known == call => Some(Err(*status)),
                    Event::Ended { call: known, .. } if *known == call => Some(Err(0)),
                    _ => None,
                })
        };
        // A change behind another waits for that, and each passes on to the second leg.
        let answered = house.run_until(TRANSACTION * 4, |house| {
            holders.iter().all(|end| answer(house, *end).is_some())
        });
        if !answered {
            return Err(Violation::new("a re-INVITE that is neither answered nor refused"));
        }
        for end in holders {
            match answer(house, *end) {
                Some(Ok(holding)) if holding == hold => {}
                Some(Err(0)) => return self.failed(house),
                //= https://www.rfc-editor.org/rfc/rfc3261#section-15.1.2
                // The other leg is lost, and the call is over: what waits is answered with 487, and a BYE is on its way.
                Some(Err(487)) => return self.failed(house),
                other => return Err(Violation(format!("a re-INVITE came to {other:?}"))),
            }
        }
        // Who was told is told before the asker has the answer.
        for end in 0..2 {
            let (place, call) = self.ends[end];
            let is_held = house.phones[place].is_held(call);
            let wanted = hold && holders.contains(&(1 - end));
            if is_held != wanted {
                return Err(Violation(format!(
                    "after hold={hold} by {holders:?} phone {place} believes held={is_held}"
                )));
            }
        }
        Ok(Outcome::Succeeded)
    }

    /// Who holds receives nothing.
    fn expect_quiet(&self, house: &mut House, holders: &[usize]) -> Result<(), Violation> {
        // What was under way may still arrive.
        house.run(Duration::from_secs(1));
        let received =
            |house: &House| -> Vec<u64> { holders.iter().map(|end| self.received(house, *end)).collect() };
        let before = received(house);
        house.run(Duration::from_secs(2));
        let after = received(house);
        match before == after {
            true => Ok(()),
            false => Err(Violation(format!(
                "who holds receives packets: {before:?}, then {after:?}"
            ))),
        }
    }

    /// What became of a call that could not be changed.
    fn failed(&self, house: &mut House) -> Result<Outcome, Violation> {
        let over = |house: &House| {
            self.ends
                .iter()
                .any(|(place, call)| house.phones[*place].ended(*call).is_some())
        };
        house.run_until(TRANSACTION, over);
        match self.broken(house)? {
            Some(outcome) => Ok(outcome),
            None => Err(Violation::new("a call that stands cannot be changed")),
        }
    }
}
