//! What people do with their phones, played in every weather, and what must be so afterwards.
//!
//! An attempt either succeeds or fails. In clear weather it succeeds. In a storm it may fail, but only with what the RFCs
//! give for it, and once the weather has cleared the same thing succeeds. Both ends agree on what happened, and in the end
//! nothing is left of it. Everything else is a [`Violation`]: a bug.

mod call;
mod cancel;
mod fork;
mod hold;
mod neighbour;
mod refuse;
mod register;
mod restart;
mod text;
mod voicemail;

use crate::house::{House, NODE};
use crate::network::Weather;
use ringpost_client::phone::{CallId, Ended, Event};
use std::fmt;
use std::time::Duration;

/// A thing that people do.
pub struct Scenario {
    /// What it is called in the table.
    pub name: &'static str,
    prepare: fn(&mut House) -> Result<(), Violation>,
    attempt: fn(&mut House) -> Result<Outcome, Violation>,
}

/// Every scenario.
pub const ALL: &[&Scenario] = &[
    &register::REGISTER,
    &call::CALL,
    &fork::FORK,
    &cancel::CANCEL,
    &refuse::REFUSE,
    &hold::HOLD,
    &voicemail::HEARD_BY_PHONE,
    &voicemail::READ_AS_MAIL,
    &restart::RESTART,
    &text::TEXT,
    &neighbour::NEIGHBOUR,
];

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As wished.
    Succeeded,
    /// In a way that the RFCs foresee for bad weather: the status, or what was amiss, in a few words.
    Failed(String),
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

impl Violation {
    fn new(what: impl fmt::Display) -> Self {
        Violation(what.to_string())
    }
}

/// One run of one scenario: which, in what weather, from what seed.
#[derive(Clone, Copy)]
pub struct Run {
    /// What is done.
    pub scenario: &'static Scenario,
    /// While it is done.
    pub weather: Weather,
    /// Where everything random comes from.
    pub seed: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run {
            scenario,
            weather,
            seed,
        } = self;
        write!(
            f,
            "`{}`, {:.0} % loss, seed {seed}",
            scenario.name,
            weather.loss * 100.0
        )
    }
}

/// The longest that a request can be retransmitted, 64*T1, and a little for the answer's way (RFC 3261 §17).
const TRANSACTION: Duration = Duration::from_secs(35);
/// After so long at most nothing is left of what people did before: the longest registration, and one transaction more.
const REST: Duration = Duration::from_secs(400);

impl Run {
    /// Plays it; gives the outcome, and a number that is the same for each run from the same seed.
    pub fn play(&self) -> Result<(Outcome, u64), Violation> {
        let mut house = House::new(self.number());
        let outcome = self.play_in(&mut house)?;
        Ok((outcome, house.fingerprint()))
    }

    /// What its randomness comes from: the seeds of one scenario in one weather have nothing in common with another's, else
    /// bad luck in the beginning would be counted in all of them.
    fn number(&self) -> u64 {
        // FNV-1a, which will be the same for ever.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let loss = (self.weather.loss * 1000.0) as u32;
        let name = self.scenario.name.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        let name = loss.to_be_bytes().into_iter().fold(name, mix);
        self.seed.to_be_bytes().into_iter().fold(name, mix)
    }

    fn play_in(&self, house: &mut House) -> Result<Outcome, Violation> {
        (self.scenario.prepare)(house)?;
        house.network.weather = self.weather;
        let outcome = (self.scenario.attempt)(house)?;
        house.network.weather = Weather::CLEAR;
        let is_clear = self.weather == Weather::CLEAR;
        match &outcome {
            Outcome::Failed(why) if is_clear => {
                return Err(Violation(format!("failed in clear weather: {why}")));
            }
            _ if is_clear => {}
            _ => {
                come_to_rest(house)?;
                match (self.scenario.attempt)(house)? {
                    Outcome::Succeeded => {}
                    Outcome::Failed(why) => {
                        return Err(Violation(format!("failed when the weather had cleared: {why}")));
                    }
                }
            }
        }
        go_to_bed(house)?;
        judge_patience(house)?;
        Ok(outcome)
    }
}

/// Everybody hangs up what they still take for a call, and it is over for all of them.
fn come_to_rest(house: &mut House) -> Result<(), Violation> {
    hang_up_all(house);
    let over = house.run_until(REST, |house| {
        house
            .phones
            .iter()
            .all(|handset| handset.phone.calls().next().is_none())
            && house.status().calls == 0
    });
    match over {
        true => Ok(()),
        false => Err(Violation(format!(
            "a call outlives both its parties: {:?}, phones {:?}",
            house.status(),
            house
                .phones
                .iter()
                .map(|handset| handset.phone.calls().collect())
                .collect::<Vec<Vec<_>>>()
        ))),
    }
}

fn hang_up_all(house: &mut House) {
    for place in 0..house.phones.len() {
        let calls: Vec<CallId> = house.phones[place].phone.calls().collect();
        for call in calls {
            // One that is ending already refuses, and that is fine.
            let _ = house.with(place, |phone, now| phone.hang_up(now, call));
        }
    }
}

/// Everybody hangs up and unplugs; then no call, transaction, timer, question or port is left anywhere.
fn go_to_bed(house: &mut House) -> Result<(), Violation> {
    come_to_rest(house)?;
    house.close_mail();
    for place in 0..house.phones.len() {
        // Nobody is subscribed unless they are.
        let _ = house.with(place, |phone, now| phone.unsubscribe(now));
        let _ = house.with(place, |phone, now| phone.unregister(now));
    }
    house.run_until(REST, |house| house.leftovers().is_empty());
    match house.leftovers()[..] {
        [] => house.check_store().map_err(Violation),
        ref left => Err(Violation(format!("something is left over: {}", left.join(", ")))),
    }
}

/// Registers every phone, in whatever weather it is.
fn register_all(house: &mut House) -> Result<(), Violation> {
    match register::everybody(house)? {
        Outcome::Succeeded => Ok(()),
        Outcome::Failed(why) => Err(Violation(format!("cannot register: {why}"))),
    }
}

/// Nothing of what was waited for came within 64*T1.
const NOTHING_CAME: &str = "nothing came in 32 s";

/// A call of a phone's that has ended without its wish: as the RFCs foresee, or not.
fn foreseen(house: &House, place: usize, call: CallId) -> Result<Outcome, Violation> {
    let handset = &house.phones[place];
    let ended = handset.ended_at(call);
    match ended {
        //= https://www.rfc-editor.org/rfc/rfc3261#section-8.1.3.1
        // Nothing came within 64*T1: that counts as 408. Whether it was so is asked of every phone in the end.
        Some((_, Ended::Lost)) => Ok(Outcome::failed(NOTHING_CAME)),
        //= https://www.rfc-editor.org/rfc/rfc3261#section-13.3.1.4
        //= https://www.rfc-editor.org/rfc/rfc3261#section-12.2.1.2
        // A 2xx that nobody acknowledges and a re-INVITE that nobody answers end the session with a BYE.
        Some((at, Ended::There)) if house.witness.excuses_bye(handset.address(), at) => {
            Ok(Outcome::failed("hung up on: the other end heard nothing in 32 s"))
        }
        //= https://www.rfc-editor.org/rfc/rfc3261#section-16.8
        // A server of another domain that says nothing in 64*T1 is 408 to the caller; our own phones have a voicemail.
        Some((at, Ended::Refused { status: 408 })) if house.witness.excuses_refusal(NODE.ip(), at) => {
            Ok(Outcome::failed("408: the other domain said nothing in 32 s"))
        }
        other => Err(Violation(format!("a call of phone {place} ended as {other:?}"))),
    }
}

/// Who gave up waiting for an answer or an ACK did so after 64*T1, and nothing had come: at every phone, in any weather.
fn judge_patience(house: &House) -> Result<(), Violation> {
    for (place, handset) in house.phones.iter().enumerate() {
        for (at, event) in &handset.events {
            let gave_up = matches!(
                event,
                Event::Ended { why: Ended::Lost, .. }
                    | Event::RegistrationFailed { status: None }
                    | Event::TextSent { status: None, .. }
            );
            if gave_up && !house.witness.excuses(handset.address(), *at) {
                return Err(Violation(format!(
                    "phone {place} gave up at {at:?} for no reason: {event:?}"
                )));
            }
        }
    }
    Ok(())
}
