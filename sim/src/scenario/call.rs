//! Alice calls Bob; they hear each other until one of them hangs up.

use super::{Outcome, Scenario, TRANSACTION, Violation, foreseen, register_all};
use crate::house::{ALICE, BOB, House, KITCHEN};
use ringpost_client::phone::{Answering, CallId, Ended};
use ringpost_sip::Status;
use std::time::Duration;

pub(super) const CALL: Scenario = Scenario {
    name: "call",
    prepare: register_all,
    attempt,
};

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    let wait = house.rng.duration(Duration::ZERO, Duration::from_secs(4));
    answering(
        house,
        Answering::After(wait),
        Answering::Refuse(Status::BUSY_HERE),
    );
    let talk = match place_call(house)? {
        Placed::Talking(talk) => talk,
        Placed::Not(outcome) => return Ok(outcome),
    };
    let heard = talk.listen(house, Duration::from_secs(5))?;
    let who = house.rng.below(2) as usize;
    let ended = talk.hang_up(house, who)?;
    Ok(heard.and(ended))
}

/// What Bob's two phones do.
pub(super) fn answering(house: &mut House, desk: Answering, kitchen: Answering) {
    house.phones[BOB].phone.set_answering(desk);
    house.phones[KITCHEN].phone.set_answering(kitchen);
}

/// A call that stands, as both ends believe: Alice's, and that of whoever answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Talk {
    pub(super) ends: [(usize, CallId); 2],
}

/// What became of a call that Alice placed.
pub(super) enum Placed {
    Talking(Talk),
    Not(Outcome),
}

/// Alice calls Bob, and waits for what becomes of it.
pub(super) fn place_call(house: &mut House) -> Result<Placed, Violation> {
    place_call_to(house, "bob", &[BOB, KITCHEN])
}

/// Alice calls somebody whose phones these are, and waits for what becomes of it.
pub(super) fn place_call_to(house: &mut House, whom: &str, places: &[usize]) -> Result<Placed, Violation> {
    let mark = |place: &usize| (*place, house.phones[*place].mark());
    let marks: Vec<(usize, usize)> = places.iter().map(mark).collect();
    let call = house
        .with(ALICE, |phone, now| phone.call(now, whom))
        .map_err(Violation::new)?;
    let decided = house.run_until(TRANSACTION * 4, |house| {
        let alice = &house.phones[ALICE];
        alice.is_up(call) || alice.ended(call).is_some()
    });
    if !decided {
        return Err(Violation::new("a call that neither stands nor ends"));
    }
    if let Some(why) = house.phones[ALICE].ended(call) {
        return Ok(Placed::Not(foreseen(why)?));
    }
    // Whoever answered did so before Alice heard of it. Who answered at the same moment and was too late hears that now.
    let talking = |house: &House| -> Vec<(usize, CallId)> {
        marks
            .iter()
            .filter_map(|(place, mark)| Some((*place, house.phones[*place].incoming(*mark)?)))
            .filter(|(place, call)| house.phones[*place].is_up(*call))
            .collect()
    };
    house.run_until(TRANSACTION, |house| talking(house).len() <= 1);
    match talking(house)[..] {
        [other] => Ok(Placed::Talking(Talk {
            ends: [(ALICE, call), other],
        })),
        // Nobody could be reached: the voicemail has answered, as it does for a 408.
        [] => Ok(Placed::Not(Outcome::failed("voicemail"))),
        _ => Ok(Placed::Not(Outcome::failed("BYE not heard"))),
    }
}

impl Outcome {
    pub(super) fn failed(why: impl Into<String>) -> Outcome {
        Outcome::Failed(why.into())
    }

    /// The first failure of two.
    pub(super) fn and(self, other: Outcome) -> Outcome {
        match self {
            Outcome::Succeeded => other,
            failed => failed,
        }
    }
}

impl Talk {
    /// Time passes, and both hear the other and nobody else.
    pub(super) fn listen(&self, house: &mut House, how_long: Duration) -> Result<Outcome, Violation> {
        let heard = |house: &House| {
            let ear = |from: usize, to: usize| {
                let (place, call) = self.ends[to];
                let tone_hz = house.phones[self.ends[from].0].tone_hz;
                house.phones[place].statistics(call).heard_ms(tone_hz)
            };
            [ear(0, 1), ear(1, 0)]
        };
        let before = heard(house);
        house.run(how_long);
        let after = heard(house);
        // Whoever answered may have been too late without knowing: the voicemail has the call, and they are told so.
        let ended = |(place, call): (usize, CallId)| house.phones[place].ended(call);
        if let Some(why) = self.ends.into_iter().find_map(ended) {
            return foreseen(why);
        }
        for (place, call) in self.ends {
            let mut strange = house.phones[place].statistics(call).tones_ms;
            let others = self
                .ends
                .map(|(place, _)| place)
                .into_iter()
                .filter(|other| *other != place);
            let wanted: Vec<f64> = others.map(|other| house.phones[other].tone_hz).collect();
            strange.retain(|(hz, _)| wanted.iter().all(|wanted| (hz - wanted).abs() > 8.0));
            if !strange.is_empty() {
                return Err(Violation(format!(
                    "phone {place} hears tones of nobody in the call: {strange:?}"
                )));
            }
        }
        // A listener hears a fifth of a second at a time. In clear weather what is missing is the beginning; in a storm a
        // tone is known as long as most of its packets of a fifth of a second arrive.
        let all_ms = how_long.as_millis() as u64;
        let needed_ms = match house.network.weather.loss {
            0.0 => all_ms.saturating_sub(600),
            _ => 1,
        };
        let is_heard = (0..2).all(|way| after[way] - before[way] >= needed_ms);
        Ok(match is_heard {
            true => Outcome::Succeeded,
            false => Outcome::failed("tone not heard"),
        })
    }

    /// One hangs up, and the call is over for both and for the node.
    pub(super) fn hang_up(&self, house: &mut House, who: usize) -> Result<Outcome, Violation> {
        let (place, call) = self.ends[who];
        let (other, others_call) = self.ends[1 - who];
        if house.phones[place].ended(call).is_some() {
            return Ok(Outcome::failed("over before"));
        }
        house
            .with(place, |phone, now| phone.hang_up(now, call))
            .map_err(Violation::new)?;
        let over = house.run_until(TRANSACTION, |house| {
            house.phones[other].ended(others_call).is_some() && house.phones[place].ended(call).is_some()
        });
        if house.phones[place].ended(call) != Some(Ended::Here) {
            return Err(Violation(format!(
                "who hung up believes {:?}",
                house.phones[place].ended(call)
            )));
        }
        match house.phones[other].ended(others_call) {
            Some(Ended::There) if over => Ok(Outcome::Succeeded),
            //= https://www.rfc-editor.org/rfc/rfc3261#section-15.1.1
            // A BYE that nobody answers ends the session for its sender alone.
            None => Ok(Outcome::failed("BYE not heard")),
            other => Err(Violation(format!("who was hung up on believes {other:?}"))),
        }
    }
}
