//! Every scenario in every weather. `RINGPOST_SOAK=1` plays a thousand seeds of each, `RINGPOST_SEED=n` one.
//!
//! What came of the thousand is held to the table of `docs/simulation.md`; `RINGPOST_BLESS=1` writes it instead.

use ringpost_sim::network::Weather;
use ringpost_sim::scenario::{self, Run};
use ringpost_sim::tally::{self, Tally, WEATHERS};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

fn play(name: &str, few: u64) {
    let scenario = scenario::ALL
        .iter()
        .find(|scenario| scenario.name == name)
        .expect("a scenario of that name");
    for weather in WEATHERS {
        let tally = tally::play(scenario, weather, tally::seeds(few));
        println!("{name}, {:.0} % loss: {tally}", weather.loss * 100.0);
        if tally.played == tally::FULL {
            compare(name, weather, &tally);
        }
    }
}

/// Holds a full tally to its line of the document, or writes that line.
fn compare(name: &str, weather: Weather, tally: &Tally) {
    static DOCUMENT: Mutex<()> = Mutex::new(());
    let _guard = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/simulation.md");
    let page = std::fs::read_to_string(&path).expect("the document is there");
    let head = format!("| {name} | {:.0} % |", weather.loss * 100.0);
    let others: Vec<String> = tally
        .failed
        .iter()
        .map(|(why, seeds)| format!("{why}: {}", seeds.len()))
        .collect();
    let row = format!("{head} {} | {} |", tally.succeeded, others.join("; "));
    let found = page.lines().find(|line| line.starts_with(&head));
    if std::env::var_os("RINGPOST_BLESS").is_none() {
        assert_eq!(
            found,
            Some(row.as_str()),
            "docs/simulation.md says something else than what was seen; RINGPOST_BLESS=1 writes it"
        );
        return;
    }
    let page = match found {
        Some(line) => page.replace(line, &row),
        None => format!("{page}{row}\n"),
    };
    std::fs::write(&path, page).expect("the document can be written");
}

#[test]
fn phones_register() {
    play("register", 40);
}

#[test]
fn two_phones_talk_until_one_hangs_up() {
    play("call", 20);
}

#[test]
fn of_two_phones_one_has_the_call_and_the_other_stops_ringing() {
    play("two phones ring", 20);
}

#[test]
fn a_call_is_given_up_before_during_and_after_the_answer() {
    play("call given up", 40);
}

#[test]
fn a_refused_caller_hears_why() {
    play("refused call", 40);
}

#[test]
fn a_call_is_held_and_taken_back() {
    play("hold and resume", 20);
}

#[test]
fn a_message_lights_the_lamp_until_it_is_heard() {
    play("voicemail, heard by phone", 20);
}

#[test]
fn a_message_lights_the_lamp_until_it_is_read() {
    play("voicemail, read as mail", 20);
}

#[test]
fn registrations_outlive_a_crash() {
    play("restart of the node", 20);
}

#[test]
fn a_text_comes_once_or_its_sender_knows() {
    play("text message", 40);
}

#[test]
fn somebody_of_another_domain_is_called_past_a_server_that_is_not_there() {
    play("call to another domain", 20);
}

#[test]
fn a_seed_plays_the_same_run_each_time() {
    for scenario in scenario::ALL {
        let run = Run {
            scenario,
            weather: Weather::stormy(0.3),
            seed: 4_711,
        };
        let fingerprint = || run.play().map(|(_, fingerprint)| fingerprint);
        assert_eq!(fingerprint(), fingerprint(), "{run}");
    }
}
