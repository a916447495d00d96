//! Alice calls Bob; they hear each other until one of them hangs up.

use super::{Outcome, Scenario, TRANSACTION, Violation, foreseen, register_all};
use crate::house::{ALICE, BOB, House, KITCHEN, NODE};
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
    if heard != Outcome::Succeeded {
        return Ok(heard);
    }
    let who = house.rng.below(2) as usize;
    talk.hang_up(house, who)
}

/// For how long a tone in pieces is waited for.
const STORMY_PATIENCE: Duration = Duration::from_secs(30);

/// The phones ring for ten seconds here; whoever answers may not be heard in that time.
pub(super) const VOICEMAIL: &str = "voicemail: no answer came in 10 s";

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
    let began = house.now();
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
    if house.phones[ALICE].ended(call).is_some() {
        return Ok(Placed::Not(foreseen(house, ALICE, call)?));
    }
    let caller = house.phones[ALICE].address();
    let winner = marks.into_iter().find(|(place, _)| {
        let callee = house.phones[*place].address();
        house.witness.has_passed_on(NODE.ip(), [callee, caller], began)
    });
    Ok(match winner {
        Some((place, mark)) => match house.phones[place].incoming(mark) {
            Some(other) => Placed::Talking(Talk {
                ends: [(ALICE, call), (place, other)],
            }),
            None => {
                return Err(Violation(format!(
                    "phone {place} answered a call that it does not know"
                )));
            }
        },
        // Nobody was heard to answer: it is the voicemail that has, whatever the phones believe.
        None => Placed::Not(Outcome::failed(VOICEMAIL)),
    })
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
        let before = [0, 1].map(|end| (self.heard(house, end), self.received(house, end)));
        house.run(how_long);
        if let Some(outcome) = self.broken(house)? {
            return Ok(outcome);
        }
        for (end, (heard_ms, received)) in before.into_iter().enumerate() {
            self.check_sound(house, end)?;
            check_received(house, self.received(house, end) - received, how_long)?;
            let heard_ms = self.heard(house, end) - heard_ms;
            // A listener hears a fifth of a second at a time, and what is missing is the beginning.
            let needed_ms = (how_long.as_millis() as u64).saturating_sub(600);
            if house.network.weather.loss == 0.0 && heard_ms < needed_ms {
                return Err(Violation(format!(
                    "of {how_long:?} end {end} hears {heard_ms} ms"
                )));
            }
        }
        // In a storm a tone is known where most of its packets of a fifth of a second arrive, and that may take a while.
        let both = |house: &House| (0..2).all(|end| self.heard(house, end) > before[end].0);
        house.run_until(STORMY_PATIENCE, |house| {
            both(house)
                || self
                    .ends
                    .iter()
                    .any(|(place, call)| !house.phones[*place].is_up(*call))
        });
        match self.broken(house)? {
            Some(outcome) => Ok(outcome),
            None if both(house) => Ok(Outcome::Succeeded),
            None => Err(Violation::new("packets come, and no tone is in them")),
        }
    }

    /// For how long one end has heard the other.
    fn heard(&self, house: &House, end: usize) -> u64 {
        let (place, call) = self.ends[end];
        let other = house.phones[self.ends[1 - end].0].tone_hz;
        house.phones[place].statistics(call).heard_ms(other)
    }

    /// How many packets have come to one end.
    pub(super) fn received(&self, house: &House, end: usize) -> u64 {
        house.phones[self.ends[end].0].packets
    }

    /// What became of the call, if it does not stand at both ends any more.
    pub(super) fn broken(&self, house: &House) -> Result<Option<Outcome>, Violation> {
        let over = |(place, call): &(usize, CallId)| house.phones[*place].ended(*call).is_some();
        match self.ends.into_iter().find(over) {
            Some((place, call)) => foreseen(house, place, call).map(Some),
            None => Ok(None),
        }
    }

    /// One end hears nobody but the other.
    fn check_sound(&self, house: &House, end: usize) -> Result<(), Violation> {
        let (place, call) = self.ends[end];
        let wanted = house.phones[self.ends[1 - end].0].tone_hz;
        let mut strange = house.phones[place].statistics(call).tones_ms;
        strange.retain(|(hz, _)| (hz - wanted).abs() > 8.0);
        match strange[..] {
            [] => Ok(()),
            _ => Err(Violation(format!(
                "phone {place} hears tones of nobody in the call: {strange:?}"
            ))),
        }
    }

    /// One hangs up, and the call is over for both and for the node.
    pub(super) fn hang_up(&self, house: &mut House, who: usize) -> Result<Outcome, Violation> {
        let (place, call) = self.ends[who];
        let (other, others_call) = self.ends[1 - who];
        let began = house.now();
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
            None if !house.has_come(other, "BYE", began) => Ok(Outcome::failed("BYE not heard")),
            other => Err(Violation(format!("who was hung up on believes {other:?}"))),
        }
    }
}

/// As many packets have come as two hops let through: six tenths of them at least, which chance does not go below.
fn check_received(house: &House, received: u64, how_long: Duration) -> Result<(), Violation> {
    let sent = how_long.as_millis() as f64 / 20.0;
    let expected = sent * (1.0 - house.network.weather.loss).powi(2);
    match received as f64 >= expected * 0.6 {
        true => Ok(()),
        false => Err(Violation(format!(
            "of {sent} packets {received} came, and about {expected:.0} should have"
        ))),
    }
}
