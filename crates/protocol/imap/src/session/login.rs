//! What a client may do before it has logged in (RFC 3501 §6.1 and §6.2).

use super::input::Next;
use super::output::{Event, MISMATCH, refusal};
use super::sync;
use super::{Asked, Session, State, Tag, Task, Tls};
use crate::command::Command;
use crate::question::{Answer, Ask, Password, Proof};
use ringpost_auth::base64;
use ringpost_auth::sasl::{DEFAULT_ITERATIONS, DecoyKey, Mechanism, SaslError, Server, Step};
use ringpost_base::limits;
use std::fmt::Write;

/// AUTHENTICATE under way.
pub(super) struct SaslTask {
    tag: Tag,
    server: Server,
    /// Whose keys were fetched.
    user: String,
}

impl Session {
    /// What is offered now (RFC 3501 §7.2.1).
    pub(super) fn capabilities(&self) -> String {
        let offered = self.offered();
        let mut words = offered.split(' ').filter(|word| !self.is_without(word));
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |all, word| all + " " + word)
    }

    fn offered(&self) -> String {
        //= https://www.rfc-editor.org/rfc/rfc9051#appendix-A
        // Both are here: who wants the second says so with ENABLE.
        let mut out = String::from("IMAP4rev1 IMAP4rev2 ");
        out.push_str(if self.config.literal_plus {
            "LITERAL+"
        } else {
            "LITERAL-"
        });
        out.push_str(" ID ENABLE");
        if !matches!(self.state, State::NotAuthenticated) {
            out.push_str(
                " IDLE NAMESPACE CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE UIDPLUS MOVE UNSELECT SORT \
                 SORT=DISPLAY THREAD=ORDEREDSUBJECT THREAD=REFERENCES BINARY PREVIEW UTF8=ACCEPT QUOTA \
                 QUOTA=RES-STORAGE QUOTA=RES-MESSAGE",
            );
            out.push_str(sync::CAPABILITIES);
            let _infallible = write!(out, " APPENDLIMIT={}", self.config.message_bytes);
            if !self.compressed {
                out.push_str(" COMPRESS=DEFLATE");
            }
            return out;
        }
        if self.tls == Tls::Offered {
            out.push_str(" STARTTLS");
        }
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.2.3
        if !self.takes_passwords() {
            out.push_str(" LOGINDISABLED");
            return out;
        }
        out.push_str(" SASL-IR AUTH=PLAIN AUTH=LOGIN");
        if self.config.scram_decoy.is_some() {
            out.push_str(" AUTH=SCRAM-SHA-256");
            //= https://www.rfc-editor.org/rfc/rfc5802#section-6
            if !self.bindings.is_empty() {
                out.push_str(" AUTH=SCRAM-SHA-256-PLUS");
            }
        }
        out
    }

    fn takes_passwords(&self) -> bool {
        self.tls == Tls::Active || self.config.allow_plaintext
    }

    pub(super) fn start_before_login(&mut self, tag: Tag, command: Command) {
        const PRIVACY: &str = "NO [PRIVACYREQUIRED] Use STARTTLS first";
        match command {
            Command::StartTls => match self.tls {
                Tls::Offered => {
                    self.out.put(format_args!("{tag} OK Go over to TLS\r\n"));
                    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.2.1
                    // Nothing learnt in the clear counts; there is nothing but what waits to be read.
                    self.input.clear();
                    self.emit(Event::StartTls);
                    self.task = Task::StartTls;
                }
                Tls::Active => self.finish(tag, "BAD TLS is on already"),
                Tls::Unavailable => self.finish(tag, "BAD There is no TLS here"),
            },
            Command::Login { .. } | Command::Authenticate { .. } if !self.takes_passwords() => {
                self.finish(tag, PRIVACY);
            }
            Command::Login { user, password } => {
                let proof = Proof::Password(Password::new(password));
                self.ask_then(
                    tag,
                    Asked::Login,
                    Ask::Authenticate {
                        user,
                        authzid: None,
                        proof,
                    },
                );
            }
            Command::Authenticate { mechanism, initial } => {
                self.start_sasl(tag, &mechanism, initial.as_deref());
            }
            _ => self.finish(tag, "BAD Log in first"),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.2.2
    fn start_sasl(&mut self, tag: Tag, mechanism: &str, initial: Option<&str>) {
        let decoy = self.config.scram_decoy.clone();
        let offered = |m: &Mechanism| match m {
            Mechanism::Plain | Mechanism::Login => true,
            Mechanism::ScramSha256 => decoy.is_some(),
            Mechanism::ScramSha256Plus => decoy.is_some() && !self.bindings.is_empty(),
        };
        let Some(mechanism) = Mechanism::from_name(mechanism).filter(offered) else {
            return self.finish(tag, "NO [CANNOT] The mechanism is not offered");
        };
        // Only SCRAM looks at the decoy.
        let decoy = decoy.unwrap_or_else(|| DecoyKey::new([0; 32], DEFAULT_ITERATIONS));
        let mut task = Box::new(SaslTask {
            tag,
            server: Server::bound(mechanism, &mut self.rng, &decoy, &self.bindings),
            user: String::new(),
        });
        let initial = match initial {
            None => None,
            //= https://www.rfc-editor.org/rfc/rfc4959#section-3
            // A single `=` is an empty response.
            Some("=") => Some(Vec::new()),
            Some(text) => match base64::decode(text.as_bytes(), limits::SASL_MESSAGE_BYTES) {
                Ok(response) => Some(response),
                Err(error) => return self.finish(task.tag, format!("BAD {error}")),
            },
        };
        let step = task.server.start(initial.as_deref());
        self.sasl_goes_on(task, step);
    }

    fn sasl_goes_on(&mut self, mut task: Box<SaslTask>, step: Result<Step, SaslError>) {
        match step {
            Ok(Step::Challenge(challenge)) => {
                self.out.put(format_args!("+ {}\r\n", base64::encode(&challenge)));
                self.task = Task::Sasl(task);
            }
            Ok(Step::CheckPassword(p)) => {
                let proof = Proof::Password(Password::new(p.password));
                let ask = Ask::Authenticate {
                    user: p.user,
                    authzid: p.authzid,
                    proof,
                };
                self.ask_then(task.tag, Asked::Login, ask);
            }
            Ok(Step::FetchKeys { user }) => {
                task.user.clone_from(&user);
                self.task = Task::Sasl(task);
                self.ask(Ask::ScramKeys { user });
            }
            Ok(Step::Authenticated { authzid, user }) => {
                let ask = Ask::Authenticate {
                    user,
                    authzid,
                    proof: Proof::Scram,
                };
                self.ask_then(task.tag, Asked::Login, ask);
            }
            // Asked for all the same, so that it is answered as late as a wrong password is.
            Err(SaslError::Refused | SaslError::ChannelBinding) => {
                let ask = Ask::Authenticate {
                    user: task.user,
                    authzid: None,
                    proof: Proof::Failed,
                };
                self.ask_then(task.tag, Asked::Login, ask);
            }
            Err(error) => self.finish(task.tag, format!("BAD {error}")),
        }
    }

    pub(super) fn sasl_answered(&mut self, mut task: Box<SaslTask>, answer: Answer) {
        match answer {
            Answer::ScramKeys(keys) => {
                let step = task.server.handle_keys(keys.as_ref());
                self.sasl_goes_on(task, step);
            }
            Answer::Refused(why) => self.finish(task.tag, refusal(&why, false)),
            _ => self.finish(task.tag, MISMATCH),
        }
    }

    /// Reads the client's answer to a challenge.
    pub(super) fn step_sasl(&mut self) -> bool {
        let end = match self.input.next(self.config.literal_plus) {
            Next::More => return false,
            Next::Line(end) => end,
            _ => {
                self.close("BYE The answer is no line of base64");
                return true;
            }
        };
        let line = self.input.take(end);
        let Task::Sasl(mut task) = std::mem::replace(&mut self.task, Task::Ready) else {
            return true;
        };
        let text = &line[..line.len() - 2];
        if text == b"*" {
            self.finish(task.tag, "BAD Cancelled");
            return true;
        }
        match base64::decode(text, limits::SASL_MESSAGE_BYTES) {
            Ok(response) => {
                let step = task.server.handle_response(&response);
                self.sasl_goes_on(task, step);
            }
            Err(error) => self.finish(task.tag, format!("BAD {error}")),
        }
        true
    }

    pub(super) fn login_answered(&mut self, tag: Tag, answer: Answer) {
        match answer {
            Answer::Done | Answer::LoggedIn { .. } => {
                if let Answer::LoggedIn { without } = answer {
                    self.without = without;
                }
                self.state = State::Authenticated;
                self.login_failures = 0;
                self.put_off_autologout();
                let capabilities = self.capabilities();
                self.finish(tag, format!("OK [CAPABILITY {capabilities}] You are logged in"));
            }
            Answer::Refused(why) => {
                self.login_failures += 1;
                self.finish(tag, refusal(&why, false));
                if self.login_failures >= limits::IMAP_FAILURES {
                    self.bye = Some("BYE Too many logins failed");
                }
            }
            _ => self.finish(tag, MISMATCH),
        }
    }
}
