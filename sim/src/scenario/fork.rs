//! Alice calls Bob, both of whose phones ring; whichever answers first has the call, and the other stops ringing.

use super::call::{Placed, answering, place_call};
use super::{Outcome, Scenario, TRANSACTION, Violation, register_all};
use crate::house::{BOB, House, KITCHEN};
use ringpost_client::phone::{Answering, Ended};
use std::time::Duration;

pub(super) const FORK: Scenario = Scenario {
    name: "two phones ring",
    prepare: register_all,
    attempt,
};

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    let began = house.now();
    let marks = [BOB, KITCHEN].map(|place| (place, house.phones[place].mark()));
    // One answers clearly before the other, or both within the time that a message takes.
    let first = house.rng.duration(Duration::from_secs(1), Duration::from_secs(3));
    let later = match house.rng.chance(0.5) {
        true => house.rng.duration(Duration::ZERO, Duration::from_millis(30)),
        false => Duration::from_secs(5),
    };
    let waits = match house.rng.chance(0.5) {
        true => [first, first + later],
        false => [first + later, first],
    };
    answering(house, Answering::After(waits[0]), Answering::After(waits[1]));
    let talk = match place_call(house)? {
        Placed::Talking(talk) => talk,
        Placed::Not(outcome) => return Ok(outcome),
    };
    let heard = talk.listen(house, Duration::from_secs(3))?;
    if heard != Outcome::Succeeded {
        return Ok(heard);
    }
    let winner = talk.ends[1].0;
    let (loser, mark) = if marks[0].0 == winner { marks[1] } else { marks[0] };
    let stopped = |house: &House| match house.phones[loser].incoming(mark) {
        Some(call) => house.phones[loser].ended(call),
        None => None,
    };
    house.run_until(TRANSACTION, |house| stopped(house).is_some());
    let was_told = ["CANCEL", "BYE"].map(|method| house.has_come(loser, method, began)) != [false; 2];
    let stopped = match (house.phones[loser].incoming(mark), stopped(house)) {
        (Some(_), Some(Ended::There)) => Outcome::Succeeded,
        // It answered, and heard neither the ACK nor the BYE of that.
        (Some(_), Some(Ended::Lost)) => Outcome::failed("ACK not heard"),
        (Some(_), None) if !was_told => Outcome::failed("CANCEL not heard"),
        (None, _) if !house.has_come(loser, "INVITE", began) => Outcome::failed("INVITE not heard"),
        (_, other) => return Err(Violation(format!("the other phone's call ended as {other:?}"))),
    };
    let ended = talk.hang_up(house, 0)?;
    Ok(stopped.and(ended))
}
