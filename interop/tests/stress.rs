//! Eight mail programs at once on one mailbox, over TLS and STARTTLS, while mail is delivered to it: each does at random what
//! programs do, and believes nothing (`ringpost_client::stress`). The first contradiction ends it.
//!
//! 20 seconds, or five minutes with `RINGPOST_SOAK=1`; `RINGPOST_SEED=n` repeats what the programs choose.

use ringpost_base::Rng;
use ringpost_client::stress::{Kind, Stress, Truth};
use ringpost_interop::{Account, ImapSocket, Server, SmtpClient};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TIME: Duration = Duration::from_secs(20);
const SOAK_TIME: Duration = Duration::from_secs(5 * 60);
const PROGRAMS: usize = 8;
/// So long no server may leave a program without an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// An idling program waits at most so long for what others do.
const IDLE_MS: u64 = 40;
/// So that in five minutes it stays within what an address may bring in an hour, and a connection.
const DELIVERY_PAUSE: Duration = Duration::from_millis(200);
const A_CONNECTION: u64 = 100;

/// How far all are: 0 at work, 1 and 2 settling, and looking once more when all have settled.
#[derive(Default)]
struct Course {
    phase: AtomicUsize,
    /// Programs that have settled in this phase.
    settled: AtomicUsize,
    commands: AtomicU64,
    /// Somebody was contradicted.
    failed: AtomicBool,
}

impl Course {
    fn is_over(&self) -> bool {
        self.failed.load(SeqCst) || self.phase.load(SeqCst) > 2
    }
}

type Seen = Vec<(u32, String)>;

/// One program, to its end.
struct Program<'a> {
    server: &'a Server,
    stress: Stress,
    rng: Rng,
    starttls: bool,
}

impl Program<'_> {
    fn run(mut self, course: &Course) -> Result<Seen, String> {
        let outcome = self.work(course);
        if outcome.is_err() {
            course.failed.store(true, SeqCst);
        }
        outcome.map_err(|why| format!("{why}\n{}", self.stress.conversation()))
    }

    fn work(&mut self, course: &Course) -> Result<Seen, String> {
        let mut socket = self.connect()?;
        let (mut phase, mut heard, mut counted) = (0, Instant::now(), 0);
        while !course.is_over() {
            if self.stress.wants_reconnect() {
                socket = self.connect()?;
                self.stress.reconnected();
            }
            let now = course.phase.load(SeqCst);
            if now > phase {
                phase = now;
                self.stress.settle();
            }
            let output = self.stress.take_output();
            if output == b"DONE\r\n" {
                self.idle(&mut socket)?;
            }
            self.send(&mut socket, &output)?;
            match self.receive(&mut socket, Duration::from_millis(100))? {
                true => heard = Instant::now(),
                false if self.stress.is_settled() => {
                    heard = Instant::now();
                    counted = self.count_settled(course, phase, counted);
                }
                false if heard.elapsed() > SILENCE => return Err("no answer comes".into()),
                false => {}
            }
        }
        course.commands.fetch_add(self.stress.commands(), SeqCst);
        Ok(self.stress.settled().unwrap_or_default())
    }

    /// Tells that it has settled in this phase, once.
    fn count_settled(&self, course: &Course, phase: usize, counted: usize) -> usize {
        if phase > counted && course.settled.fetch_add(1, SeqCst) + 1 == PROGRAMS {
            course.settled.store(0, SeqCst);
            course.phase.fetch_add(1, SeqCst);
        }
        phase.max(counted)
    }

    fn connect(&mut self) -> Result<ImapSocket, String> {
        let socket = ImapSocket::open(self.server, self.starttls);
        socket.map_err(|error| format!("it cannot connect: {error}"))
    }

    /// Waits for what others do.
    fn idle(&mut self, socket: &mut ImapSocket) -> Result<(), String> {
        let until = Instant::now() + Duration::from_millis(self.rng.below(IDLE_MS));
        while let Some(rest) = until.checked_duration_since(Instant::now()) {
            self.receive(socket, rest.max(Duration::from_millis(1)))?;
        }
        Ok(())
    }

    /// Sends it in pieces, as networks do.
    fn send(&mut self, socket: &mut ImapSocket, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let length = match self.rng.chance(0.8) {
                true => bytes.len(),
                false => 1 + self.rng.below(bytes.len() as u64) as usize,
            };
            let sent = socket.send(&bytes[..length]);
            sent.map_err(|error| format!("it cannot send: {error}"))?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Reads what has come; whether anything has.
    fn receive(&mut self, socket: &mut ImapSocket, wait: Duration) -> Result<bool, String> {
        let bytes = socket.receive(wait);
        let bytes = bytes.map_err(|error| format!("it cannot read: {error}"))?;
        let handled = self.stress.handle_input(&bytes);
        handled.map_err(|contradiction| contradiction.to_string())?;
        Ok(!bytes.is_empty())
    }
}

/// Brings mail from elsewhere while the programs are at work; gives how much.
fn deliver(server: &Server, to: &Account, course: &Course) -> Result<u64, String> {
    let mut count = 0_u64;
    let mut act = || -> std::io::Result<()> {
        let mut smtp = SmtpClient::open(server)?;
        while course.phase.load(SeqCst) == 0 && !course.failed.load(SeqCst) {
            let reply = smtp.deliver(&[to], &format!("Subject: delivered {count}\r\n\r\nx\r\n"))?;
            if !reply.starts_with("250 ") {
                return Err(std::io::Error::other(reply));
            }
            count += 1;
            if count.is_multiple_of(A_CONNECTION) {
                smtp = SmtpClient::open(server)?;
            }
            std::thread::sleep(DELIVERY_PAUSE);
        }
        Ok(())
    };
    let outcome = act();
    outcome.map(|()| count).map_err(|error| {
        course.failed.store(true, SeqCst);
        format!("after {count} deliveries: {error}")
    })
}

fn seed() -> u64 {
    let told = std::env::var("RINGPOST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    told.unwrap_or_else(|| clock.map_or(0, |now| now.as_secs()))
}

// Guards pitfalls IMAP 1 to 5 over sockets.
#[test]
fn eight_programs_on_one_mailbox_are_never_contradicted() {
    let time = match std::env::var_os("RINGPOST_SOAK") {
        Some(_) => SOAK_TIME,
        None => TIME,
    };
    let (server, seed) = (Server::start(), seed());
    println!("RINGPOST_SEED={seed}");
    let bob = server.account("bob");
    let (mut rng, truth, course) = (Rng::from_number(seed), Truth::default(), Course::default());
    let outcomes: Vec<Result<Seen, String>> = std::thread::scope(|scope| {
        let programs: Vec<_> = (0..PROGRAMS)
            .map(|n| {
                let kind = [Kind::Resync, Kind::Plain, Kind::Condstore, Kind::Second][n % 4];
                let program = Program {
                    server: &server,
                    stress: Stress::new(kind, &bob.address, &bob.password, truth.clone(), rng.fork()),
                    rng: rng.fork(),
                    starttls: n % 2 == 1,
                };
                scope.spawn(|| program.run(&course))
            })
            .collect();
        let deliveries = scope.spawn(|| deliver(&server, &bob, &course));
        let end = Instant::now() + time;
        while Instant::now() < end && !course.is_over() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _running = course.phase.compare_exchange(0, 1, SeqCst, SeqCst);
        let delivered = deliveries.join().unwrap_or_else(|_| Err("it broke off".into()));
        let outcomes = programs.into_iter().map(|program| program.join());
        let outcomes = outcomes.map(|joined| joined.unwrap_or_else(|_| Err("it broke off".into())));
        let outcomes: Vec<_> = outcomes.collect();
        match delivered {
            Ok(count) => {
                println!("{} commands, {count} deliveries", course.commands.load(SeqCst));
                outcomes
            }
            Err(why) => outcomes.into_iter().chain([Err(why)]).collect(),
        }
    });
    if let Some(why) = outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
        panic!("RINGPOST_SEED={seed}: {why}");
    }
    let seen: Vec<&Seen> = outcomes.iter().flatten().collect();
    for other in &seen {
        assert_eq!(*other, seen[0], "all see the same in the end");
    }
    server.check_store();
}
