//! Alice calls Carol of another domain (RFC 3263): the first of its servers is not there, the second is Carol's phone. They
//! hear each other until one of them hangs up.

use super::call::{Placed, place_call_to};
use super::{Outcome, Scenario, Violation, register_all};
use crate::house::{CAROL, House};
use ringpost_client::phone::Answering;
use std::time::Duration;

pub(super) const NEIGHBOUR: Scenario = Scenario {
    name: "call to another domain",
    prepare,
    attempt,
};

fn prepare(house: &mut House) -> Result<(), Violation> {
    register_all(house)?;
    house.add_neighbour();
    Ok(())
}

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    let wait = house.rng.duration(Duration::ZERO, Duration::from_secs(4));
    house.phones[CAROL].phone.set_answering(Answering::After(wait));
    let talk = match place_call_to(house, "sip:carol@other.example", &[CAROL])? {
        Placed::Talking(talk) => talk,
        Placed::Not(outcome) => return Ok(outcome),
    };
    let heard = talk.listen(house, Duration::from_secs(5))?;
    let who = house.rng.below(2) as usize;
    let ended = talk.hang_up(house, who)?;
    Ok(heard.and(ended))
}
