//! Calls that come to nothing, each with the status or the voicemail that the reason for it asks for.

use super::call::{Placed, VOICEMAIL, answering, place_call};
use super::{Outcome, Scenario, TRANSACTION, Violation, foreseen, register_all};
use crate::house::{ALICE, House};
use ringpost_client::phone::{Answering, Ended};
use ringpost_sip::Status;

pub(super) const REFUSE: Scenario = Scenario {
    name: "refused call",
    prepare: register_all,
    attempt,
};

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    match house.rng.below(5) {
        0 => refused(house, "nobody", 404),
        // A domain whose DNS leads into our own network.
        1 => refused(house, "sip:carol@inside.example", 403),
        2 => {
            // Nobody can speak with this caller: that is for the caller to know, not for the voicemail.
            let no_codec = Answering::Refuse(Status::NOT_ACCEPTABLE_HERE);
            answering(house, no_codec, Answering::Refuse(Status::BUSY_HERE));
            refused(house, "bob", 488)
        }
        3 => unavailable(house, Status::BUSY_HERE),
        _ => unavailable(house, Status::DECLINE),
    }
}

/// Alice calls somebody and is refused with `wanted`.
fn refused(house: &mut House, whom: &str, wanted: u16) -> Result<Outcome, Violation> {
    let call = house
        .with(ALICE, |phone, now| phone.call(now, whom))
        .map_err(Violation::new)?;
    let decided = house.run_until(TRANSACTION * 4, |house| {
        let alice = &house.phones[ALICE];
        alice.is_up(call) || alice.ended(call).is_some()
    });
    match house.phones[ALICE].ended(call) {
        _ if !decided => Err(Violation::new("a call that neither stands nor ends")),
        Some(Ended::Refused { status }) if status == wanted => Ok(Outcome::Succeeded),
        Some(_) => foreseen(house, ALICE, call),
        // What the phone refused with was not heard in time.
        None => Ok(Outcome::failed(VOICEMAIL)),
    }
}

/// Both of Bob's phones say that he does not come: the voicemail answers.
fn unavailable(house: &mut House, status: Status) -> Result<Outcome, Violation> {
    answering(house, Answering::Refuse(status), Answering::Refuse(status));
    match place_call(house)? {
        Placed::Not(Outcome::Failed(why)) if why == VOICEMAIL => {}
        Placed::Not(outcome) => return Ok(outcome),
        Placed::Talking(talk) => return Err(Violation(format!("somebody who refuses answers: {talk:?}"))),
    }
    super::come_to_rest(house)?;
    Ok(Outcome::Succeeded)
}
