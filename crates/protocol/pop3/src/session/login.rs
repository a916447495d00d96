//! The AUTHORIZATION state: STLS, and the ways to log in.

use super::maildrop::Opened;
use super::{Event, MISMATCH, Output, PRIVACY, Session, State, Task, Tls};
use crate::command::Command;
use crate::input::Line;
use crate::question::{Answer, Ask, Password, Proof, Refusal};
use ringpost_auth::base64;
use ringpost_auth::sasl::{DEFAULT_ITERATIONS, DecoyKey, Mechanism, SaslError, Server, Step, prepare};
use ringpost_base::limits;

/// Said to a name or a password that SASLprep prohibits; which character it is would not be ASCII.
const UNPRINTABLE: &str = "-ERR Expected nothing that cannot be printed";

/// AUTH under way.
pub(super) struct SaslTask {
    server: Server,
    /// Whose keys were fetched.
    user: String,
}

impl Session {
    pub(super) fn takes_passwords(&self) -> bool {
        self.tls == Tls::Active || self.config.allow_plaintext
    }

    pub(super) fn start_before_login(&mut self, command: Command) {
        match command {
            Command::Stls => self.start_tls(),
            Command::User(_) | Command::Pass(_) | Command::Auth { .. } if !self.takes_passwords() => {
                self.say(format_args!("{PRIVACY}"));
            }
            Command::User(name) => self.take_user(&name),
            Command::Pass(password) => self.take_password(&password),
            Command::Auth { mechanism, initial } => self.start_sasl(&mechanism, initial.as_deref()),
            //= https://www.rfc-editor.org/rfc/rfc6856#section-2.1
            Command::Utf8 => {
                self.utf8 = true;
                self.say(format_args!("+OK UTF-8 it is"));
            }
            _ => self.say(format_args!("-ERR Log in first")),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2595#section-4
    fn start_tls(&mut self) {
        match self.tls {
            Tls::Offered => {
                self.say(format_args!("+OK Go over to TLS"));
                // Nothing learnt in the clear counts; there is nothing but what waits to be read, the user, and the mode.
                self.input.clear();
                self.state = State::Authorization { user: None };
                self.utf8 = false;
                self.emit(Output::Event(Event::StartTls));
                self.task = Task::StartTls;
            }
            Tls::Active => self.say(format_args!("-ERR TLS is on already")),
            Tls::Unavailable => self.say(format_args!("-ERR There is no TLS here")),
        }
    }

    /// Whether there is such a user is told with the password, and then not.
    //= https://www.rfc-editor.org/rfc/rfc1939#section-7
    fn take_user(&mut self, name: &str) {
        //= https://www.rfc-editor.org/rfc/rfc6856#section-2.2
        match prepare(name) {
            Ok(name) if !name.is_empty() => {
                self.state = State::Authorization {
                    user: Some(name.into_owned()),
                };
                self.say(format_args!("+OK Now the password"));
            }
            Ok(_) => self.say(format_args!("-ERR Expected a name")),
            Err(_) => self.say(format_args!("{UNPRINTABLE}")),
        }
    }

    fn take_password(&mut self, password: &str) {
        let State::Authorization { user } = &mut self.state else {
            return;
        };
        let Some(user) = user.take() else {
            return self.say(format_args!("-ERR Expected USER first"));
        };
        //= https://www.rfc-editor.org/rfc/rfc6856#section-2.2
        if prepare(password).is_err() {
            return self.say(format_args!("{UNPRINTABLE}"));
        }
        let proof = Proof::Password(Password::new(password));
        self.log_in(user, None, proof);
    }

    fn log_in(&mut self, user: String, authzid: Option<String>, proof: Proof) {
        let ask = Ask::Authenticate { user, authzid, proof };
        self.ask(Task::Login, ask);
    }

    //= https://www.rfc-editor.org/rfc/rfc5034#section-4
    fn start_sasl(&mut self, mechanism: &str, initial: Option<&str>) {
        let decoy = self.config.scram_decoy.clone();
        let offered = |m: &Mechanism| match m {
            Mechanism::Plain => true,
            Mechanism::ScramSha256 => decoy.is_some(),
            Mechanism::ScramSha256Plus => decoy.is_some() && !self.bindings.is_empty(),
            Mechanism::Login => false,
        };
        let Some(mechanism) = Mechanism::from_name(mechanism).filter(offered) else {
            return self.say(format_args!("-ERR The mechanism is not offered"));
        };
        // Only SCRAM looks at the decoy.
        let decoy = decoy.unwrap_or_else(|| DecoyKey::new([0; 32], DEFAULT_ITERATIONS));
        let mut task = Box::new(SaslTask {
            server: Server::bound(mechanism, &mut self.rng, &decoy, &self.bindings),
            user: String::new(),
        });
        let initial = match initial {
            None => None,
            Some("=") => Some(Vec::new()),
            Some(text) => match base64::decode(text.as_bytes(), limits::SASL_MESSAGE_BYTES) {
                Ok(response) => Some(response),
                Err(error) => return self.say(format_args!("-ERR {error}")),
            },
        };
        let step = task.server.start(initial.as_deref());
        self.sasl_goes_on(task, step);
    }

    fn sasl_goes_on(&mut self, mut task: Box<SaslTask>, step: Result<Step, SaslError>) {
        match step {
            Ok(Step::Challenge(challenge)) => {
                self.say(format_args!("+ {}", base64::encode(&challenge)));
                self.task = Task::Sasl(task);
            }
            Ok(Step::CheckPassword(p)) => {
                let proof = Proof::Password(Password::new(p.password));
                self.log_in(p.user, p.authzid, proof);
            }
            Ok(Step::FetchKeys { user }) => {
                task.user.clone_from(&user);
                self.ask(Task::Sasl(task), Ask::ScramKeys { user });
            }
            Ok(Step::Authenticated { authzid, user }) => self.log_in(user, authzid, Proof::Scram),
            Err(SaslError::Refused | SaslError::ChannelBinding) => {
                self.log_in(task.user, None, Proof::Failed)
            }
            // What is said outside of UTF-8 mode is ASCII.
            Err(error) => self.say(format_args!(
                "-ERR {}",
                error.to_string().replace('\u{2026}', "...")
            )),
        }
    }

    pub(super) fn sasl_answered(&mut self, mut task: Box<SaslTask>, answer: Answer) {
        match answer {
            Answer::ScramKeys(keys) => {
                let step = task.server.handle_keys(keys.as_ref());
                self.sasl_goes_on(task, step);
            }
            Answer::Refused(why) => self.refuse(why),
            _ => self.say(format_args!("{MISMATCH}")),
        }
    }

    /// Reads the client's answer to a challenge.
    pub(super) fn step_sasl(&mut self) -> bool {
        let line = match self.input.next() {
            Line::More => return false,
            Line::Whole(line) => line,
            Line::Bare | Line::TooLong => {
                self.task = Task::Ready;
                self.say(format_args!("-ERR Expected a line of base64"));
                return true;
            }
        };
        let Task::Sasl(mut task) = std::mem::replace(&mut self.task, Task::Ready) else {
            return true;
        };
        if &line[..] == b"*" {
            self.say(format_args!("-ERR Cancelled"));
            return true;
        }
        match base64::decode(&line, limits::SASL_MESSAGE_BYTES) {
            Ok(response) => {
                let step = task.server.handle_response(&response);
                self.sasl_goes_on(task, step);
            }
            Err(error) => self.say(format_args!("-ERR {error}")),
        }
        true
    }

    pub(super) fn login_answered(&mut self, answer: Answer) {
        match answer {
            Answer::Opened(maildrop) => {
                self.login_failures = 0;
                let opened = Opened::new(maildrop);
                let (count, size_bytes) = opened.totals();
                self.say(format_args!("+OK {count} messages ({size_bytes} octets)"));
                self.state = State::Transaction(opened);
            }
            Answer::Refused(why) => {
                self.refuse(why);
                if why == Refusal::BadCredentials {
                    self.login_failures += 1;
                }
                if self.login_failures >= limits::POP3_FAILURES {
                    self.close("-ERR Too many logins failed");
                }
            }
            _ => self.say(format_args!("{MISMATCH}")),
        }
    }
}
