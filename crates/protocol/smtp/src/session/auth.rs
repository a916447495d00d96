//! AUTH (RFC 4954).

use super::{Answer, Phase, Question, Session, Waiting};
use crate::reply::{Refusal, Reply, write_line};
use ringpost_auth::base64::{self, DecodeError};
use ringpost_auth::sasl::{self, Mechanism, SaslError, Step};
use ringpost_base::limits;

impl Session {
    /// The mechanisms that may be used now.
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> + '_ {
        let open = self.tls || self.config.plaintext_auth;
        let bindable = !self.bindings.is_empty();
        let offered = move |m: &Mechanism| open && (*m != Mechanism::ScramSha256Plus || bindable);
        self.config.mechanisms.iter().copied().filter(offered)
    }

    pub(super) fn auth(&mut self, mechanism: Option<Mechanism>, initial: Option<&str>) {
        if self.config.mechanisms.is_empty() {
            return self.refuse(Reply::new(502, "5.5.1", "AUTH is not offered here"));
        }
        if self.hello.as_ref().is_none_or(|hello| !hello.extended) {
            return self.refuse(Reply::new(503, "5.5.1", "EHLO first"));
        }
        if self.mechanisms().next().is_none() {
            //= https://www.rfc-editor.org/rfc/rfc4954#section-6
            return self.refuse(Reply::new(538, "5.7.11", "STARTTLS first"));
        }
        //= https://www.rfc-editor.org/rfc/rfc4954#section-4
        if self.signed_in || self.transaction.is_some() {
            return self.refuse(Reply::new(503, "5.5.1", "AUTH may not come here"));
        }
        let offered = mechanism.filter(|wanted| self.mechanisms().any(|m| m == *wanted));
        let Some(mechanism) = offered else {
            return self.refuse(Reply::new(504, "5.5.4", "Unknown mechanism"));
        };
        let mut server = sasl::Server::bound(mechanism, &mut self.rng, &self.config.decoy, &self.bindings);
        let step = match initial {
            None => server.start(None),
            Some("=") => server.start(Some(b"")),
            Some(text) => match decode(text.as_bytes()) {
                Ok(response) => server.start(Some(&response)),
                Err(reply) => return self.refuse(reply),
            },
        };
        self.auth_step(server, step);
    }

    /// A line within the exchange.
    pub(super) fn auth_response(&mut self, mut server: sasl::Server, line: &[u8]) {
        if line == b"*" {
            return self.refuse(Reply::new(501, "5.7.0", "Authentication cancelled"));
        }
        match decode(line) {
            Ok(response) => {
                let step = server.handle_response(&response);
                self.auth_step(server, step);
            }
            Err(reply) => self.refuse(reply),
        }
    }

    pub(super) fn auth_keys(&mut self, mut server: sasl::Server, answer: Answer) {
        match answer {
            Answer::Keys(keys) => {
                let step = server.handle_keys(keys.as_ref());
                self.auth_step(server, step);
            }
            answer => self.signed_in(answer),
        }
    }

    fn auth_step(&mut self, server: sasl::Server, step: Result<Step, SaslError>) {
        match step {
            Ok(Step::Challenge(challenge)) => {
                write_line(
                    &mut self.out,
                    334,
                    true,
                    format_args!("{}", base64::encode(&challenge)),
                );
                self.phase = Phase::Auth(server);
            }
            Ok(Step::CheckPassword(password)) => {
                self.ask(Question::CheckPassword(password), Waiting::Password);
            }
            Ok(Step::FetchKeys { user }) => {
                self.ask(Question::FetchKeys { user }, Waiting::Keys(server));
            }
            Ok(Step::Authenticated { authzid, user }) => {
                self.ask(Question::Authorize { authzid, user }, Waiting::Password);
            }
            // Whatever is wrong with it, the client learns that it was not let in.
            Err(SaslError::Refused | SaslError::ChannelBinding) => self.denied(),
            Err(SaslError::TooLong) => self.refuse(TOO_LONG),
            Err(_) => self.refuse(Reply::new(501, "5.5.2", "Malformed authentication message")),
        }
    }

    /// A failure that the machine has seen itself; its owner is told, to hold the answer back as for a wrong password.
    fn denied(&mut self) {
        self.ask(Question::Denied, Waiting::Password);
    }

    pub(super) fn signed_in(&mut self, answer: Answer) {
        match answer {
            Answer::SignedIn => {
                self.signed_in = true;
                self.idle_commands = 0;
                self.reply(Reply::new(235, "2.7.0", "Authentication successful"));
            }
            Answer::Denied => {
                self.auth_failures += 1;
                self.refuse(Reply::new(535, "5.7.8", "Authentication credentials invalid"));
                if self.auth_failures >= limits::SMTP_AUTH_FAILURES {
                    self.close_with(Reply::new(421, "4.7.0", "Too many failed passwords, closing"));
                }
            }
            Answer::Refuse(refusal @ Refusal::TooManyFailures) => self.reply(refusal.reply()),
            _ => self.reply(Reply::new(454, "4.7.0", "Temporary authentication failure")),
        }
    }
}

const TOO_LONG: Reply = Reply::new(500, "5.5.6", "Authentication exchange line too long");

fn decode(text: &[u8]) -> Result<Vec<u8>, Reply> {
    base64::decode(text, limits::SASL_MESSAGE_BYTES).map_err(|e| match e {
        DecodeError::TooLong { .. } => TOO_LONG,
        DecodeError::Malformed => Reply::new(501, "5.5.2", "Not base64"),
    })
}
