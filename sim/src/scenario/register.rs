//! Phones register, with a challenge and its answer, and the node knows them then.

use super::{NOTHING_CAME, Outcome, Scenario, TRANSACTION, Violation};
use crate::house::House;
use ringpost_client::phone::Event;
use std::time::Duration;

pub(super) const REGISTER: Scenario = Scenario {
    name: "register",
    prepare: |_| Ok(()),
    attempt: everybody,
};

/// Every phone registers at about the same time.
pub(super) fn everybody(house: &mut House) -> Result<Outcome, Violation> {
    let marks: Vec<usize> = house.phones.iter().map(|handset| handset.mark()).collect();
    for place in 0..house.phones.len() {
        let wait = house.rng.duration(Duration::ZERO, Duration::from_millis(50));
        house.run(wait);
        house
            .with(place, |phone, now| phone.register(now))
            .map_err(Violation::new)?;
    }
    let verdict = |house: &House, place: usize| {
        let handset = &house.phones[place];
        handset.since(marks[place]).find_map(|event| match event {
            Event::Registered { expires_s } => Some(Ok(*expires_s)),
            Event::RegistrationFailed { status } => Some(Err(*status)),
            _ => None,
        })
    };
    // One transaction for the challenge, and one with the answer to it.
    let places = 0..house.phones.len();
    house.run_until(TRANSACTION * 2, |house| {
        places.clone().all(|place| verdict(house, place).is_some())
    });
    let mut registered = 0;
    let mut failure = None;
    for place in places {
        match verdict(house, place) {
            Some(Ok(1..=300)) => registered += 1,
            Some(Err(None)) => failure = Some(NOTHING_CAME.to_owned()),
            other => return Err(Violation(format!("REGISTER of phone {place} came to {other:?}"))),
        }
    }
    // Who believes to be registered is; who does not may be all the same, when only the answer was lost.
    let known = house.status().registered;
    if known < registered || (failure.is_none() && known > registered) {
        return Err(Violation(format!(
            "{registered} phones are registered, and the node knows {known}"
        )));
    }
    Ok(failure.map_or(Outcome::Succeeded, Outcome::Failed))
}
