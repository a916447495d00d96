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
fn a_seed_plays_the_same_run_each_time() {
    for scenario in scenario::ALL {
        let run = Run {
            scenario,
            weather: Weather::stormy(0.3),
            seed: 4_711,
        };
        assert_eq!(
            run.play().map(|(_, fingerprint)| fingerprint),
            run.play().map(|(_, fingerprint)| fingerprint),
            "{run}"
        );
    }
}
