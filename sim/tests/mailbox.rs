//! Eight mail programs on one mailbox, each believing nothing (`ringpost_client::stress`): few seeds, or two thousand with
//! `RINGPOST_SOAK`. `RINGPOST_SEED=n` plays one.

use ringpost_base::Rng;
use ringpost_client::stress::{Kind, Stress, Truth};
use ringpost_sim::house::House;
use ringpost_sim::reader::Wire;
use ringpost_sim::tally;

/// Commands of all programs together before they settle.
const COMMANDS: u64 = 600;
const SOAK: u64 = 2_000;

struct Program {
    stress: Stress,
    wire: Wire,
    /// Bytes that came and it has not read yet, and that it wants sent.
    coming: Vec<u8>,
    going: Vec<u8>,
}

impl Program {
    /// Sends a piece of what is to be sent, reads a piece of what has come.
    fn step(&mut self, house: &mut House, rng: &mut Rng) -> Result<bool, String> {
        if self.stress.wants_reconnect() {
            self.wire = house.open_wire();
            (self.coming, self.going) = (Vec::new(), Vec::new());
            self.stress.reconnected();
        }
        self.going.extend(self.stress.take_output());
        let mut did = false;
        if !self.going.is_empty() {
            let len = 1 + rng.below(self.going.len() as u64) as usize;
            let piece: Vec<u8> = self.going[..len].to_vec();
            if self.wire.send(piece.into()) {
                self.going.drain(..len);
                did = true;
            }
        }
        while let Some(bytes) = self.wire.receive() {
            self.coming.extend_from_slice(&bytes);
        }
        if !self.coming.is_empty() {
            let len = 1 + rng.below(self.coming.len() as u64) as usize;
            let piece: Vec<u8> = self.coming.drain(..len).collect();
            let handled = self.stress.handle_input(&piece);
            handled.map_err(|contradiction| format!("{contradiction}\n{}", self.stress.conversation()))?;
            did = true;
        }
        Ok(did)
    }
}

/// Plays one seed, and gives what was seen at the end.
fn play(seed: u64) -> Result<Vec<(u32, String)>, String> {
    let mut house = House::new(seed);
    // With most seeds the states of messages come to be packed.
    house.give_uids([0, 100, 120][seed as usize % 3]);
    let (user, password) = house.bobs_login();
    let (mut rng, truth) = (Rng::from_number(seed), Truth::default());
    let mut programs: Vec<Program> = (0..8)
        .map(|n| {
            let kind = [Kind::Resync, Kind::Plain, Kind::Condstore, Kind::Second][n % 4];
            Program {
                stress: Stress::new(kind, &user, &password, truth.clone(), rng.fork()),
                wire: house.open_wire(),
                coming: Vec::new(),
                going: Vec::new(),
            }
        })
        .collect();
    let (mut settling, mut quiet) = (0, 0);
    for _ in 0..1_000_000 {
        let i = rng.below(8) as usize;
        let did = programs[i].step(&mut house, &mut rng)?;
        // Sometimes the node gets to work only after several have said something.
        if rng.chance(0.7) {
            house.run_ready();
        }
        quiet = if did { 0 } else { quiet + 1 };
        let done: u64 = programs.iter().map(|p| p.stress.commands()).sum();
        let all_settled = programs.iter().all(|p| p.stress.is_settled());
        if settling == 0 && done >= COMMANDS || settling == 1 && all_settled {
            settling += 1;
            programs.iter_mut().for_each(|p| p.stress.settle());
        } else if settling == 2 && all_settled {
            let seen: Vec<_> = programs.iter().map(|p| p.stress.settled()).collect();
            for (program, settled) in programs.iter().zip(&seen) {
                if *settled != seen[0] {
                    return Err(format!(
                        "{settled:?}\nand {:?}\n{}",
                        seen[0],
                        program.stress.conversation()
                    ));
                }
            }
            house.check_store()?;
            return Ok(seen.into_iter().next().flatten().unwrap_or_default());
        }
        if quiet > 1_000 {
            break;
        }
    }
    let waiting = programs.iter().find(|p| !p.stress.is_settled());
    Err(format!(
        "a program waits for ever:\n{}",
        waiting.map(|p| p.stress.conversation()).unwrap_or_default()
    ))
}

// Guards pitfalls IMAP 1 to 5, in every order that a seed can choose.
#[test]
fn eight_programs_on_one_mailbox_are_never_contradicted() {
    let mut seeds = tally::seeds(12);
    if seeds == (0..tally::FULL) {
        seeds = 0..SOAK;
    }
    for seed in seeds {
        if let Err(why) = play(seed) {
            panic!("RINGPOST_SEED={seed}: {why}");
        }
    }
    assert_eq!(play(7), play(7), "a seed plays the same run each time");
}
