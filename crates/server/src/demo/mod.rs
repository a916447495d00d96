//! `ringpost demo`: the server's main job on real sockets, told a line a step.
//!
//! The real server is started in a temporary folder; two accounts are made; small clients of our own do what two people
//! would do; and each step says what was expected if it did not come.

mod letter;
mod mailbox;
mod maildrop;
mod phones;
mod sink;
mod stream;

use crate::config::{Config, Listener, PortRange, Service, SmartHostTls};
use crate::serve::Server;
use crate::signals::Signals;
use anyhow::{Context, Result, bail, ensure};
use letter::Submission;
use mailbox::Mailbox;
use maildrop::Maildrop;
use phones::{Identity, LivePhone, watch};
use ringpost_admin::{Answer, Command, Control};
use ringpost_client::phone::{CallId, Event, Lamp};
use ringpost_client::smtp::Mail;
use ringpost_codec::{Wav, dominant_tone};
use sink::Sink;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stream::Way;

const ALICE_HZ: f64 = 440.0;
const BOB_HZ: f64 = 620.0;
const DOMAIN: &str = "ringpost.test";
/// Somebody whose mail is at another server.
const CAROL: &str = "carol@elsewhere.test";
/// What a step may take that has no reason to wait.
const SOON: Duration = Duration::from_secs(5);

/// A person of the demo, with everything that was generated.
struct Person {
    name: &'static str,
    extension: String,
    password: String,
    username: String,
    secret: String,
}

/// A step of the story: what it is, how long it took, and what was wrong.
struct Step {
    title: &'static str,
    took: Duration,
    failure: Option<String>,
}

/// The demo from its start to its table; then it serves until a signal, unless `exit`.
pub(crate) fn run(listen: Option<IpAddr>, exit: bool) -> Result<ExitCode> {
    let folder = TemporaryFolder::new()?;
    crate::logging::start("warn").map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let ip = listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let began = Instant::now();
        let mut sink = Sink::listen().await?;
        let server = Server::start(config(ip, &folder.0, sink.address())).await?;
        println!("Ringpost serves on {ip}, from {}", folder.0.display());
        let people = [person(&server, "alice").await?, person(&server, "bob").await?];
        let steps = Story {
            ip,
            server: &server,
            people: &people,
            folder: &folder.0,
        }
        .tell(&mut sink)
        .await;
        print_table(&steps, began.elapsed());
        let passed = steps.iter().all(|step| step.failure.is_none());
        if exit {
            server.stop().await;
        } else {
            print_card(&server, &people);
            server.run(None, Signals::listen()?).await?;
        }
        Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

struct Story<'a> {
    ip: IpAddr,
    server: &'a Server,
    people: &'a [Person; 2],
    folder: &'a Path,
}

/// Tells one step, and keeps what became of it; the story ends with the first step that fails.
macro_rules! step {
    ($steps:ident, $title:literal, $doing:expr) => {{
        let began = Instant::now();
        let result: Result<_> = $doing.await;
        let took = began.elapsed();
        let failure = result.as_ref().err().map(|error| format!("{error:#}"));
        println!(
            "{} {:>6.2} s  {}",
            if failure.is_none() { "ok  " } else { "FAIL" },
            took.as_secs_f64(),
            $title
        );
        if let Some(failure) = &failure {
            println!("              {failure}");
        }
        $steps.push(Step {
            title: $title,
            took,
            failure,
        });
        match result {
            Ok(result) => result,
            Err(_) => return $steps,
        }
    }};
}

impl Story<'_> {
    async fn tell(&self, sink: &mut Sink) -> Vec<Step> {
        let mut steps = Vec::new();
        let (mut alice, mut bob) = step!(steps, "two phones are plugged in", self.phones());
        let (a, b) = (&mut alice, &mut bob);
        step!(steps, "alice's phone registers", register(a));
        step!(steps, "bob's phone registers, and its lamp is out", async {
            register(b).await?;
            lamp(
                &mut [b],
                Lamp {
                    is_lit: false,
                    new: 0,
                    old: 0,
                },
            )
            .await
        });
        let (ours, theirs) = step!(steps, "alice calls bob, and bob answers", call_and_answer(a, b));
        step!(
            steps,
            "each hears the other's tone",
            hear_each_other(a, b, ours, theirs)
        );
        step!(
            steps,
            "bob hangs up, and alice's call ends",
            hang_up(b, a, theirs)
        );
        step!(
            steps,
            "alice calls again; nobody answers; she leaves a message",
            leave_message(a, b)
        );
        step!(
            steps,
            "bob's lamp lights: one new message",
            lamp(
                &mut [b],
                Lamp {
                    is_lit: true,
                    new: 1,
                    old: 0
                }
            )
        );
        let mut mailbox = step!(steps, "bob's mail program logs in over TLS", self.mailbox());
        let uid = step!(
            steps,
            "the voicemail is there, and its recording has alice's tone",
            find_voicemail(&mut mailbox)
        );
        step!(steps, "bob marks it as read, and the lamp goes out", async {
            mailbox.mark_read(uid).await?;
            lamp(
                &mut [b],
                Lamp {
                    is_lit: false,
                    new: 0,
                    old: 1,
                },
            )
            .await
        });
        step!(
            steps,
            "alice mails bob by submission, under TLS and signed in",
            self.write(&format!("bob@{DOMAIN}"), LUNCH)
        );
        step!(
            steps,
            "bob's mail program shows it to him over IMAP",
            read_letter(&mut mailbox)
        );
        step!(
            steps,
            "an old mail program fetches both, the same bytes, by POP3",
            self.fetch_by_pop3(&mut mailbox)
        );
        step!(
            steps,
            "alice mails carol; the queue takes it to carol's server",
            self.write_elsewhere(sink)
        );
        let camera = step!(
            steps,
            "alice's camera publishes a live stream",
            stream::Camera::publish(&self.place(0, "door"), ALICE_HZ)
        );
        step!(
            steps,
            "two players hear it, by UDP and within the connection",
            self.watch_the_door()
        );
        drop(camera);
        step!(
            steps,
            "bob's player hears his voicemail over RTSP",
            self.hear_voicemail()
        );
        steps
    }

    /// A mount of a person's, who asks with the phone's secret.
    fn place(&self, person: usize, name: &str) -> stream::Place {
        let person = &self.people[person];
        // Where RTSP is off, nobody answers at port 0.
        let nowhere = SocketAddr::new(self.ip, 0);
        stream::Place {
            server: self.server.address(Service::Rtsp).unwrap_or(nowhere),
            mount: format!("{}/{name}", person.name),
            user: person.username.clone(),
            secret: person.secret.clone(),
        }
    }

    /// Two players at once, each of which hears the camera's tone.
    async fn watch_the_door(&self) -> Result<()> {
        let door = self.place(0, "door");
        let (by_udp, within) = tokio::join!(
            stream::listen(&door, Way::Udp(self.ip)),
            stream::listen(&door, Way::Interleaved)
        );
        is_tone_of(&by_udp.context("by UDP")?, ALICE_HZ)?;
        is_tone_of(&within.context("within the connection")?, ALICE_HZ)
    }

    async fn hear_voicemail(&self) -> Result<()> {
        let heard = stream::listen(&self.place(1, "voicemail"), Way::Interleaved).await?;
        is_tone_of(&heard, ALICE_HZ)
    }

    async fn phones(&self) -> Result<(LivePhone, LivePhone)> {
        let server = self
            .server
            .address(Service::SipUdp)
            .context("SIP over UDP is off")?;
        let plug = |person: &Person, tone_hz| {
            let (username, secret) = (person.username.clone(), person.secret.clone());
            let (ip, user) = (self.ip, person.name);
            async move {
                let identity = Identity {
                    user,
                    domain: DOMAIN,
                    username: &username,
                    secret: &secret,
                    tone_hz,
                };
                LivePhone::new(ip, server, identity).await
            }
        };
        Ok((
            plug(&self.people[0], ALICE_HZ).await?,
            plug(&self.people[1], BOB_HZ).await?,
        ))
    }

    async fn mailbox(&self) -> Result<Mailbox> {
        let server = self
            .server
            .address(Service::Imaps)
            .context("IMAP over TLS is off")?;
        let certificate = self.folder.join("self-signed.crt");
        let mut mailbox = Mailbox::connect(server, DOMAIN, &certificate).await?;
        let bob = &self.people[1];
        let exists = mailbox
            .open(&format!("{}@{DOMAIN}", bob.name), &bob.password)
            .await?;
        ensure!(exists == 1, "expected one message in bob's INBOX, found {exists}");
        Ok(mailbox)
    }

    /// The message over IMAP and over POP3 is the same to its last byte.
    async fn fetch_by_pop3(&self, mailbox: &mut Mailbox) -> Result<()> {
        let server = self
            .server
            .address(Service::Pop3s)
            .context("POP3 over TLS is off")?;
        let certificate = self.folder.join("self-signed.crt");
        let bob = &self.people[1];
        let user = format!("{}@{DOMAIN}", bob.name);
        let mut maildrop = Maildrop::open(server, DOMAIN, &certificate, &user, &bob.password).await?;
        let count = maildrop.count().await?;
        ensure!(
            count == 2,
            "expected two messages in bob's maildrop, found {count}"
        );
        let fetched = [maildrop.retrieve(1).await?, maildrop.retrieve(2).await?];
        maildrop.quit().await?;
        let messages = mailbox.fetch("(BODY.PEEK[])").await?;
        ensure!(
            messages.len() == fetched.len(),
            "expected both messages to be in INBOX still, found {}",
            messages.len()
        );
        for (message, fetched) in messages.iter().zip(&fetched) {
            let whole = message.body("").context("expected a whole message over IMAP")?;
            ensure!(
                fetched == whole,
                "expected the {} bytes that IMAP gives, POP3 gave {}",
                whole.len(),
                fetched.len()
            );
        }
        Ok(())
    }

    /// Alice's mail program hands a mail over; gives the server's answer.
    async fn write(&self, to: &str, subject: &str) -> Result<String> {
        let server = self
            .server
            .address(Service::Submission)
            .context("submission is off")?;
        let alice = &self.people[0];
        let from = format!("{}@{DOMAIN}", alice.name);
        let message = format!(
            "From: Alice <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n{TEXT}"
        );
        let submission = Submission {
            server,
            name: DOMAIN,
            certificate: &self.folder.join("self-signed.crt"),
            user: from.clone(),
            password: &alice.password,
        };
        let mail = Mail {
            from,
            to: vec![to.to_owned()],
            message: message.into(),
        };
        submission.send(mail).await
    }

    /// Alice writes to somebody elsewhere; the other server is brought it, and nothing waits any more.
    async fn write_elsewhere(&self, sink: &mut Sink) -> Result<()> {
        self.write(CAROL, DINNER).await?;
        let brought = sink.next(SOON).await?;
        let from = format!("{}@{DOMAIN}", self.people[0].name);
        ensure!(
            brought.from == from && brought.to == [CAROL],
            "expected a mail from {from} to {CAROL}, found one from {} to {:?}",
            brought.from,
            brought.to
        );
        let (header, text) = brought.message.split_once("\r\n\r\n").unwrap_or_default();
        // What leaves is signed, and so it goes in the form that every server takes.
        let expected = TEXT.replace('\u{e9}', "=C3=A9");
        ensure!(text == expected, "expected what alice wrote, found {text:?}");
        for field in ["DKIM-Signature:", "Received:", &format!("Subject: {DINNER}")] {
            ensure!(
                header.lines().any(|line| line.starts_with(field)),
                "expected the field {field} in the header"
            );
        }
        // The other server's verdict is committed a moment after it was said.
        let deadline = Instant::now() + SOON;
        loop {
            match self.server.control().handle(Command::QueueList).await {
                Ok(Answer::Queue(waiting)) if waiting.is_empty() => return Ok(()),
                Ok(Answer::Queue(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => bail!("expected an empty queue, found {other:?}"),
            }
        }
    }
}

async fn register(phone: &mut LivePhone) -> Result<()> {
    phone.phone.register(phone.now())?;
    watch(&mut [phone], SOON, "a registration", |phones| {
        phones[0].events.iter().find_map(|event| match event {
            Event::Registered { .. } => Some(Ok(())),
            Event::RegistrationFailed { status } => Some(Err(*status)),
            _ => None,
        })
    })
    .await?
    .map_err(|status| anyhow::anyhow!("expected a registration, the server said {status:?}"))
}

/// Waits for the lamp to show this.
async fn lamp(phones: &mut [&mut LivePhone], wanted: Lamp) -> Result<()> {
    let shown = |phone: &LivePhone| {
        phone.events.iter().rev().find_map(|e| {
            if let Event::Lamp(lamp) = e {
                Some(*lamp)
            } else {
                None
            }
        })
    };
    let waited_for = format!("a lamp that shows {wanted:?}");
    watch(phones, SOON, &waited_for, |phones| {
        (shown(phones[0]) == Some(wanted)).then_some(())
    })
    .await
}

async fn call_and_answer(a: &mut LivePhone, b: &mut LivePhone) -> Result<(CallId, CallId)> {
    let ours = a.phone.call(a.now(), &format!("sip:bob@{DOMAIN}"))?;
    let theirs = watch(&mut [a, b], SOON, "bob's phone to ring", |phones| {
        phones[1].events.iter().find_map(|e| {
            if let Event::Incoming { call, .. } = e {
                Some(*call)
            } else {
                None
            }
        })
    })
    .await?;
    b.phone.answer(b.now(), theirs)?;
    watch(&mut [a, b], SOON, "the call to stand at both ends", |phones| {
        let stands = |phone: &LivePhone, id| {
            phone
                .events
                .iter()
                .any(|e| matches!(e, Event::Up { call } if *call == id))
        };
        (stands(phones[0], ours) && stands(phones[1], theirs)).then_some(())
    })
    .await?;
    Ok((ours, theirs))
}

async fn hear_each_other(a: &mut LivePhone, b: &mut LivePhone, ours: CallId, theirs: CallId) -> Result<()> {
    watch(
        &mut [a, b],
        SOON,
        "620 Hz at alice's ear and 440 Hz at bob's",
        |phones| {
            let hears =
                |phone: &LivePhone, call, hz| phone.phone.sound(call).is_some_and(|s| s.is_tone_of(hz));
            (hears(phones[0], ours, BOB_HZ) && hears(phones[1], theirs, ALICE_HZ)).then_some(())
        },
    )
    .await
}

/// Whether that is what is heard.
fn is_tone_of(samples: &[i16], expected_hz: f64) -> Result<()> {
    let heard = dominant_tone(samples).context("expected a tone, found silence")?;
    let heard_hz = heard.frequency_hz;
    ensure!(
        (heard_hz - expected_hz).abs() < 10.0,
        "expected a tone of {expected_hz} Hz, found {heard_hz:.0} Hz"
    );
    Ok(())
}

/// `first` hangs up; the other's call ends too.
async fn hang_up(first: &mut LivePhone, other: &mut LivePhone, call: CallId) -> Result<()> {
    first.phone.hang_up(first.now(), call)?;
    watch(
        &mut [first, other],
        SOON,
        "both ends to be told that the call is over",
        |phones| {
            let over = |phone: &LivePhone| phone.events.iter().any(|e| matches!(e, Event::Ended { .. }));
            (over(phones[0]) && over(phones[1])).then_some(())
        },
    )
    .await
}

/// Nobody answers; behind the greeting and the tone alice speaks for three seconds and hangs up.
async fn leave_message(a: &mut LivePhone, b: &mut LivePhone) -> Result<()> {
    a.events.clear();
    b.events.retain(|event| !matches!(event, Event::Ended { .. }));
    let call = a.phone.call(a.now(), &format!("sip:bob@{DOMAIN}"))?;
    // Quiet until the tone: what is said before it is not recorded.
    a.phone.say(call, None)?;
    let up = |phone: &LivePhone| phone.events.iter().any(|e| matches!(e, Event::Up { .. }));
    let patience = Duration::from_secs(u64::from(NO_ANSWER_S)) + SOON;
    watch(&mut [a, b], patience, "the voicemail to answer", |p| {
        up(p[0]).then_some(())
    })
    .await?;
    let beep = |phone: &LivePhone| {
        phone
            .phone
            .sound(call)
            .is_some_and(|sound| sound.is_tone_of(1_000.0))
    };
    let greeting = Duration::from_secs(20);
    watch(
        &mut [a, b],
        greeting,
        "the greeting and the tone of 1000 Hz",
        |p| beep(p[0]).then_some(()),
    )
    .await?;
    watch(&mut [a, b], SOON, "the tone to end", |p| {
        (!beep(p[0])).then_some(())
    })
    .await?;
    a.phone.say(call, Some(ALICE_HZ))?;
    let spoken = Instant::now();
    watch(&mut [a, b], SOON, "three seconds", |_| {
        (spoken.elapsed() > Duration::from_secs(3)).then_some(())
    })
    .await?;
    hang_up(a, b, call).await
}

/// The one message: what kind it is, and what is heard in it. Gives its UID.
async fn find_voicemail(mailbox: &mut Mailbox) -> Result<u32> {
    let messages = mailbox
        .fetch("(UID FLAGS ENVELOPE BODY.PEEK[HEADER] BODY.PEEK[2])")
        .await?;
    let [message] = &messages[..] else {
        bail!("expected one message, found {}", messages.len())
    };
    ensure!(!message.has_flag("\\Seen"), "expected an unread message");
    let header = message.body("HEADER").context("the message's header")?;
    let header = String::from_utf8_lossy(header);
    let is_voice = header
        .lines()
        .any(|line| line.eq_ignore_ascii_case("Message-Context: voice-message"));
    ensure!(
        is_voice,
        "expected Message-Context: voice-message (RFC 3458) in the header"
    );
    let part = message.body("2").context("the message's second part")?;
    let text: Vec<u8> = part
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let file = ringpost_auth::base64::decode(&text, text.len()).context("the recording is base64")?;
    let wav = Wav::parse(&file).context("the recording is a WAV file")?;
    let samples = wav.to_telephone();
    let tone = dominant_tone(&samples).context("expected a tone in the recording, found none")?;
    let heard_hz = tone.frequency_hz;
    ensure!(
        (heard_hz - ALICE_HZ).abs() < 8.0,
        "expected {ALICE_HZ} Hz in the recording, found {heard_hz:.0}"
    );
    let seconds = wav.duration_ms() as f64 / 1_000.0;
    ensure!(
        (1.5..6.0).contains(&seconds),
        "expected about 3 s of recording, found {seconds:.1}"
    );
    message.uid().context("the message's UID")
}

const LUNCH: &str = "Lunch";
const DINNER: &str = "Dinner";
/// What alice writes. A line begins with a dot, and another holds what is not ASCII.
const TEXT: &str = "Shall we meet at one?\r\n.\r\n.. at the caf\u{e9}, as always\r\n";

/// The newest message is alice's mail, to bob from her, and reading it marks it as read.
async fn read_letter(mailbox: &mut Mailbox) -> Result<()> {
    let exists = mailbox.look().await?;
    ensure!(
        exists == Some(2),
        "expected the server to tell of a second message, it told of {exists:?}"
    );
    let messages = mailbox.fetch("(UID FLAGS ENVELOPE BODY[])").await?;
    let letter = messages.last().context("expected a message in bob's INBOX")?;
    let envelope = letter.envelope().context("the message's envelope")?;
    let from = envelope.from.first().map(|from| from.address.as_str());
    let expected = format!("alice@{DOMAIN}");
    ensure!(
        envelope.subject.as_deref() == Some(LUNCH) && from == Some(expected.as_str()),
        "expected {LUNCH} from {expected}, found {:?} from {from:?}",
        envelope.subject
    );
    let whole = letter.body("").context("the whole message")?;
    let whole = String::from_utf8_lossy(whole);
    let (_, text) = whole.split_once("\r\n\r\n").unwrap_or_default();
    ensure!(text == TEXT, "expected what alice wrote, found {text:?}");
    let flags = mailbox.fetch("(FLAGS)").await?;
    let is_read = flags.last().is_some_and(|letter| letter.has_flag("\\Seen"));
    ensure!(is_read, "expected the message to be marked as read");
    Ok(())
}

/// Phones ring this long in the demo, so that nobody has to wait for the usual twenty seconds.
const NO_ANSWER_S: u32 = 3;

/// The demo's settings. What is for other servers goes to `elsewhere`, as to a provider's server that carries all mail on.
fn config(ip: IpAddr, folder: &Path, elsewhere: SocketAddr) -> Config {
    let mut config = Config {
        data: Some(folder.to_owned()),
        user: Some("root".into()),
        ..Config::default()
    };
    config.domains = vec![DOMAIN.into()];
    config.voicemail.no_answer_s = NO_ANSWER_S;
    config.media.ports = PortRange {
        first: 16_384,
        last: 32_767,
    };
    config.outbound.smart_host = Some(elsewhere.ip().to_string());
    config.outbound.smart_host_port = elsewhere.port();
    config.outbound.smart_host_tls = SmartHostTls::None;
    let listen = &mut config.listen;
    // The friendly ports if they are free, so that the card is easy to type; any others if not.
    let at = |tcp: bool, port: u16| Listener::at([SocketAddr::new(ip, free_or_any(ip, tcp, port))]);
    listen.sip_udp = at(false, 5_060);
    listen.sip_tcp = at(true, 5_060);
    listen.sip_tls = at(true, 5_061);
    listen.smtp = at(true, 2_525);
    listen.submission = at(true, 5_870);
    listen.submissions = at(true, 4_650);
    listen.imap = at(true, 1_430);
    listen.imaps = at(true, 9_930);
    listen.pop3 = at(true, 1_100);
    listen.pop3s = at(true, 9_950);
    listen.rtsp = at(true, 8_554);
    listen.rtsps = at(true, 8_322);
    listen.metrics = Listener::at([]);
    config
}

fn free_or_any(ip: IpAddr, tcp: bool, port: u16) -> u16 {
    let free = match tcp {
        true => std::net::TcpListener::bind((ip, port)).is_ok(),
        false => std::net::UdpSocket::bind((ip, port)).is_ok(),
    };
    if free { port } else { 0 }
}

/// Makes an account and a device, with generated secrets.
async fn person(server: &Server, name: &'static str) -> Result<Person> {
    let control = server.control();
    let address = format!("{name}@{DOMAIN}");
    let add = Command::AccountAdd {
        address: address.clone(),
        extension: None,
        password: None,
    };
    let (extension, password) = match control.handle(add).await {
        Ok(Answer::AccountCreated(account)) => (account.extension, account.password),
        other => bail!("expected an account for {address}, got {other:?}"),
    };
    let device = match control
        .handle(Command::DeviceAdd {
            address,
            name: "phone".into(),
        })
        .await
    {
        Ok(Answer::DeviceCreated(device)) => device,
        other => bail!("expected a device for {name}, got {other:?}"),
    };
    Ok(Person {
        name,
        extension: extension.unwrap_or_default(),
        password: password.unwrap_or_default(),
        username: device.username,
        secret: device.secret,
    })
}

fn print_table(steps: &[Step], took: Duration) {
    let passed = steps.iter().filter(|step| step.failure.is_none()).count();
    let widest = steps.iter().map(|step| step.title.len()).max().unwrap_or(0);
    println!("\n{:<widest$}  result      time", "step");
    for step in steps {
        let result = if step.failure.is_none() {
            "passed"
        } else {
            "FAILED"
        };
        println!(
            "{:<widest$}  {result}  {:>6.2} s",
            step.title,
            step.took.as_secs_f64()
        );
    }
    println!(
        "\n{passed} of {} steps passed in {:.1} s",
        steps.len(),
        took.as_secs_f64()
    );
}

/// What somebody types into their own phone and mail program.
fn print_card(server: &Server, people: &[Person]) {
    let at = |service| {
        server
            .address(service)
            .map_or("off".into(), |address: SocketAddr| address.to_string())
    };
    println!("\nConnect your own phone and mail program (Ctrl-C ends it):\n");
    println!(
        "  SIP         {} (UDP, TCP), {} (TLS)",
        at(Service::SipUdp),
        at(Service::SipTls)
    );
    println!(
        "  IMAP        {} (STARTTLS), {} (TLS)",
        at(Service::Imap),
        at(Service::Imaps)
    );
    println!(
        "  POP3        {} (STLS), {} (TLS)",
        at(Service::Pop3),
        at(Service::Pop3s)
    );
    println!(
        "  submission  {} (STARTTLS), {} (TLS)",
        at(Service::Submission),
        at(Service::Submissions)
    );
    println!(
        "  RTSP        {} (plain), {} (TLS): rtsp://…/alice/anything is alice's",
        at(Service::Rtsp),
        at(Service::Rtsps)
    );
    println!("  domain      {DOMAIN}; the certificate is self-signed; voicemail is *97");
    println!("  elsewhere   mail to other domains goes to the demo's own sink, and no further\n");
    for person in people {
        println!("  {}@{DOMAIN}, extension {}", person.name, person.extension);
        println!(
            "    phone, camera, player: user {}, secret {}",
            person.username, person.secret
        );
        println!(
            "    mail:  user {}@{DOMAIN}, password {}",
            person.name, person.password
        );
    }
}

/// A folder that goes with the demo.
struct TemporaryFolder(std::path::PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self> {
        let name = format!("ringpost-demo-{}", crate::world::random().token(10));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(TemporaryFolder(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What is left of a demo in the temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
