//! The node goes down without a word, perhaps in the middle of a call, and comes back: phones that were registered are.

use super::call::{Placed, answering, place_call};
use super::{Outcome, Scenario, TRANSACTION, Violation, come_to_rest, register_all};
use crate::house::{ALICE, House};
use ringpost_client::phone::{Answering, Ended};
use ringpost_sip::Status;
use std::time::Duration;

pub(super) const RESTART: Scenario = Scenario {
    name: "restart of the node",
    prepare: register_all,
    attempt,
};

/// Registrations older than this outlive a crash.
const SAVED_AFTER: Duration = Duration::from_secs(2);

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    let at_once = Answering::After(Duration::ZERO);
    answering(house, at_once, Answering::Refuse(Status::BUSY_HERE));
    house.run(SAVED_AFTER);
    let before = house.status().registered;
    let mut interrupted = None;
    if house.rng.chance(0.5)
        && let Placed::Talking(talk) = place_call(house)?
    {
        house.run(Duration::from_secs(2));
        interrupted = Some(talk);
    }
    house.crash();
    let down = house
        .rng
        .duration(Duration::from_millis(100), Duration::from_secs(5));
    house.run(down);
    house.start();
    let after = house.status().registered;
    if after != before {
        return Err(Violation(format!(
            "of {before} registrations {after} are left after the restart"
        )));
    }
    if let Some(talk) = interrupted {
        // The call went with the node. Who hangs up is told so (481), and it is over for them too.
        for (place, call) in talk.ends {
            house
                .with(place, |phone, now| phone.hang_up(now, call))
                .map_err(Violation::new)?;
            house.run_until(TRANSACTION, |house| house.phones[place].ended(call).is_some());
            match house.phones[place].ended(call) {
                Some(Ended::Here) => {}
                other => {
                    return Err(Violation(format!(
                        "a call that the node forgot ended as {other:?}"
                    )));
                }
            }
        }
    }
    come_to_rest(house)?;
    let talk = match place_call(house)? {
        Placed::Talking(talk) => talk,
        Placed::Not(outcome) => return Ok(outcome),
    };
    debug_assert_eq!(talk.ends[0].0, ALICE);
    let heard = talk.listen(house, Duration::from_secs(3))?;
    if heard != Outcome::Succeeded {
        return Ok(heard);
    }
    talk.hang_up(house, 1)
}
