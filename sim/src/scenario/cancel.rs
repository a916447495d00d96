//! Alice thinks better of it: before it rings, while it rings, and at the very moment at which Bob answers.

use super::call::answering;
use super::{Outcome, Scenario, TRANSACTION, Violation, register_all};
use crate::house::{ALICE, BOB, House};
use ringpost_client::phone::{Answering, Ended};
use ringpost_sip::Status;
use std::time::Duration;

pub(super) const CANCEL: Scenario = Scenario {
    name: "call given up",
    prepare: register_all,
    attempt,
};

const BOB_ANSWERS: Duration = Duration::from_secs(3);

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    answering(
        house,
        Answering::After(BOB_ANSWERS),
        Answering::Refuse(Status::BUSY_HERE),
    );
    let (mark, began) = (house.phones[BOB].mark(), house.now());
    let call = house
        .with(ALICE, |phone, now| phone.call(now, "bob"))
        .map_err(Violation::new)?;
    let wait = match house.rng.below(3) {
        0 => house.rng.duration(Duration::ZERO, Duration::from_millis(40)),
        1 => house.rng.duration(Duration::ZERO, BOB_ANSWERS),
        // The message crosses the answer somewhere on its two hops.
        _ => BOB_ANSWERS + house.rng.duration(Duration::ZERO, Duration::from_millis(50)),
    };
    house.run(wait);
    house
        .with(ALICE, |phone, now| phone.hang_up(now, call))
        .map_err(Violation::new)?;
    let is_over = |house: &House| {
        let bob = &house.phones[BOB];
        let bobs = bob.incoming(mark).is_none_or(|call| bob.ended(call).is_some());
        bobs && house.phones[ALICE].ended(call).is_some() && house.status().calls == 0
    };
    // Alice's INVITE may have to time out before she knows that there is nothing to cancel, and then Bob's does.
    house.run_until(TRANSACTION * 2, is_over);
    match house.phones[ALICE].ended(call) {
        Some(Ended::Here) => {}
        other => return Err(Violation(format!("Alice hung up, and believes {other:?}"))),
    }
    let bob = &house.phones[BOB];
    match bob.incoming(mark).map(|call| bob.ended(call)) {
        None | Some(Some(Ended::There)) => Ok(Outcome::Succeeded),
        Some(Some(Ended::Lost)) => Ok(Outcome::failed("ACK not heard")),
        Some(None) if !house.has_come(BOB, "CANCEL", began) && !house.has_come(BOB, "BYE", began) => {
            Ok(Outcome::failed("CANCEL not heard"))
        }
        Some(other) => Err(Violation(format!(
            "Bob's call was given up, and he believes {other:?}"
        ))),
    }
}
