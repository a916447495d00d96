//! Every scenario in every weather. `RINGPOST_SOAK=1` plays a thousand seeds of each, `RINGPOST_SEED=n` one.

use ringpost_sim::network::Weather;
use ringpost_sim::scenario::{self, Run};
use ringpost_sim::tally::{self, WEATHERS};

fn play(name: &str, few: u64) {
    let scenario = scenario::ALL
        .iter()
        .find(|scenario| scenario.name == name)
        .expect("a scenario of that name");
    for weather in WEATHERS {
        let tally = tally::play(scenario, weather, tally::seeds(few));
        println!("{name}, {:.0} % loss: {tally}", weather.loss * 100.0);
    }
}

#[test]
fn phones_register() {
    play("register", 10);
}

#[test]
fn two_phones_talk_until_one_hangs_up() {
    play("call", 5);
}

#[test]
fn of_two_phones_one_has_the_call_and_the_other_stops_ringing() {
    play("two phones ring", 5);
}

#[test]
fn a_call_is_given_up_before_during_and_after_the_answer() {
    play("call given up", 10);
}

#[test]
fn a_refused_caller_hears_why() {
    play("refused call", 10);
}

#[test]
fn a_call_is_held_and_taken_back() {
    play("hold and resume", 5);
}

#[test]
fn a_message_lights_the_lamp_until_it_is_heard() {
    play("voicemail, heard by phone", 5);
}

#[test]
fn a_message_lights_the_lamp_until_it_is_read() {
    play("voicemail, read as mail", 5);
}

#[test]
fn registrations_outlive_a_crash() {
    play("restart of the node", 5);
}

#[test]
fn a_text_comes_once_or_its_sender_knows() {
    play("text message", 10);
}

#[test]
fn somebody_of_another_domain_is_called_past_a_server_that_is_not_there() {
    play("call to another domain", 5);
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
