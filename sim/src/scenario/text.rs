//! Alice sends Bob a text message (RFC 3428): it comes to each of his phones once, or she is told that it did not.

use super::{NOTHING_CAME, Outcome, Scenario, TRANSACTION, Violation, register_all};
use crate::house::{ALICE, BOB, House, KITCHEN};
use ringpost_client::phone::Event;

pub(super) const TEXT: Scenario = Scenario {
    name: "text message",
    prepare: register_all,
    attempt,
};

fn attempt(house: &mut House) -> Result<Outcome, Violation> {
    let (whom, wanted) = match house.rng.below(4) {
        0 => ("nobody", 404),
        _ => ("bob", 200),
    };
    let said = format!("Bring bread, {} of it.", house.rng.below(1_000_000));
    let text = house
        .with(ALICE, |phone, now| phone.send_text(now, whom, &said))
        .map_err(Violation::new)?;
    let verdict = |house: &House| {
        house.phones[ALICE].since(0).find_map(|event| match event {
            Event::TextSent { text: known, status } if *known == text => Some(*status),
            _ => None,
        })
    };
    // One transaction for the challenge, one for the text.
    if !house.run_until(TRANSACTION * 2, |house| verdict(house).is_some()) {
        return Err(Violation::new("a text that is neither taken nor refused"));
    }
    let verdict = verdict(house);
    let copies = |house: &House| {
        [BOB, KITCHEN].map(|place| {
            let is_it = |event: &&Event| matches!(event, Event::Text { text, .. } if *text == said);
            house.phones[place].since(0).filter(is_it).count()
        })
    };
    // One phone's answer is Alice's; the other's copy may be on its way for as long as it is retransmitted.
    house.run_until(TRANSACTION, |house| copies(house) == [1, 1] || wanted != 200);
    let copies = copies(house);
    if copies.iter().any(|copies| *copies > 1) {
        return Err(Violation(format!("a text came more than once: {copies:?}")));
    }
    match verdict {
        Some(Some(status)) if status == wanted => match wanted {
            200 if copies == [0, 0] => Err(Violation::new("a text was taken, and nobody has it")),
            200 if copies != [1, 1] => Ok(Outcome::failed("one phone of two not reached")),
            _ => Ok(Outcome::Succeeded),
        },
        Some(None) => Ok(Outcome::failed(NOTHING_CAME)),
        other => Err(Violation(format!("a text came to {other:?}"))),
    }
}
