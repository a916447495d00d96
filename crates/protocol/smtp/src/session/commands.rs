//! What each command does.

use super::content::refusal;
use super::{Answer, Event, Extensions, Hello, Phase, Question, Role, Session, Transaction, Waiting};
use crate::command::{Command, MailParams, Malformed};
use crate::dsn::RcptDsn;
use crate::path::{ForwardPath, PathError, ReversePath};
use crate::reply::{Refusal, Reply, write_line};
use ringpost_base::limits;

pub(super) const TLS_FIRST: Reply = Reply::new(530, "5.7.0", "STARTTLS first");

impl Session {
    pub(super) fn handle_line(&mut self, line: &[u8]) {
        if let Phase::Auth(server) = std::mem::replace(&mut self.phase, Phase::Command) {
            return self.auth_response(server, line);
        }
        let extensions = Extensions {
            extended: self.hello.as_ref().is_some_and(|hello| hello.extended),
            auth: !self.config.mechanisms.is_empty(),
            utf8: self.transaction.as_ref().is_some_and(|t| t.utf8),
        };
        match Command::parse(line, extensions) {
            Ok(command) => self.execute(command),
            Err(why) => self.malformed(line, why),
        }
    }

    fn malformed(&mut self, line: &[u8], why: Malformed) {
        let (code, text) = match why {
            Malformed::Verb => (500, "5.5.1 Command not recognized".into()),
            Malformed::Argument(expected) => (501, format!("5.5.4 Syntax error: expected {expected}")),
            //= https://www.rfc-editor.org/rfc/rfc6531#section-3.5
            Malformed::Sender(why @ PathError::NeedsUtf8) => {
                (550, format!("5.6.7 Bad sender address: {why}"))
            }
            Malformed::Recipient(why @ PathError::NeedsUtf8) => {
                (553, format!("5.6.7 Bad recipient address: {why}"))
            }
            Malformed::Sender(why) => (501, format!("5.1.7 Bad sender address: {why}")),
            Malformed::Recipient(why) => (501, format!("5.1.3 Bad recipient address: {why}")),
            //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.11
            Malformed::Parameter => (555, "5.5.4 Parameter not recognized".into()),
            Malformed::ParameterTwice(name) => (501, format!("5.5.4 {name} is given twice")),
            Malformed::ParameterValue(expected) => {
                (501, format!("5.5.4 Bad parameter value: expected {expected}"))
            }
        };
        if line
            .get(..4)
            .is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
        {
            // How many octets follow is unknown, and they must not be read as commands.
            if !matches!(self.phase, Phase::Closed) {
                write_line(&mut self.out, code, true, format_args!("{text}"));
                self.close();
            }
            return;
        }
        write_line(&mut self.out, code, true, format_args!("{text}"));
        self.count_refusal(code);
    }

    fn execute(&mut self, command: Command<'_>) {
        if !matches!(
            command,
            Command::Mail { .. } | Command::Rcpt { .. } | Command::Bdat { .. }
        ) {
            self.idle_commands += 1;
            if self.idle_commands > limits::SMTP_IDLE_COMMANDS {
                return self.close_with(Reply::new(421, "4.7.0", "Too many commands without a message"));
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc3207#section-4
        let tells = matches!(command, Command::Vrfy | Command::Expn | Command::Help);
        if tells && self.must_start_tls() {
            return self.refuse(TLS_FIRST);
        }
        match command {
            //= https://www.rfc-editor.org/rfc/rfc2033#section-4.1
            Command::Helo(_) | Command::Ehlo(_) if self.config.role == Role::Lmtp => {
                self.refuse(Reply::new(500, "5.5.1", "LHLO is the greeting here"));
            }
            Command::Lhlo(_) if self.config.role != Role::Lmtp => {
                self.refuse(Reply::new(500, "5.5.1", "Command not recognized"));
            }
            Command::Lhlo(name) => self.helo(name, true),
            Command::Helo(name) => self.helo(name, false),
            Command::Ehlo(name) => self.helo(name, true),
            Command::Mail { from, params } => self.mail(from, params),
            Command::Rcpt { to, dsn } => self.rcpt(to, dsn),
            Command::Data => self.data(),
            Command::Bdat { size_bytes, last } => self.bdat(size_bytes, last),
            Command::Rset => {
                self.end_transaction();
                self.reply(Reply::new(250, "2.0.0", "Ok"));
            }
            Command::Noop => self.reply(Reply::new(250, "2.0.0", "Ok")),
            Command::Quit => self.close_with(Reply::new(221, "2.0.0", "Bye")),
            //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8
            Command::Help => self.help(),
            // Who is here is told to those who have a message for them.
            //= https://www.rfc-editor.org/rfc/rfc5321#section-3.5.3
            Command::Vrfy => self.reply(Reply::new(252, "2.0.0", "Send some mail and see")),
            //= https://www.rfc-editor.org/rfc/rfc5321#section-4.2.4
            Command::Expn => self.refuse(Reply::new(502, "5.5.1", "Lists are not shown")),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
            Command::NotImplemented => self.refuse(Reply::new(502, "5.5.1", "Command not implemented")),
        }
    }

    fn help(&mut self) {
        let greeting = match self.config.role {
            Role::Lmtp => "LHLO",
            _ => "EHLO HELO",
        };
        let mut commands = format!("{greeting} MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP");
        if self.can_start_tls() {
            commands += " STARTTLS";
        }
        if self.mechanisms().next().is_some() {
            commands += " AUTH";
        }
        write_line(
            &mut self.out,
            214,
            false,
            format_args!("2.0.0 Commands: {commands}"),
        );
        let standard = match self.config.role {
            Role::Lmtp => "RFC 2033",
            _ => "RFC 5321",
        };
        write_line(&mut self.out, 214, true, format_args!("2.0.0 See {standard}"));
    }

    fn helo(&mut self, name: &str, extended: bool) {
        //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.4
        self.end_transaction();
        self.hello = Some(Hello {
            name: name.to_owned(),
            extended,
        });
        let config = self.config.clone();
        if !extended {
            return write_line(&mut self.out, 250, true, format_args!("{}", config.hostname));
        }
        let mut lines = vec![
            config.hostname.clone(),
            "PIPELINING".to_owned(),
            format!("SIZE {}", config.max_message_bytes),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "CHUNKING".to_owned(),
            "DSN".to_owned(),
        ];
        //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
        if self.can_start_tls() {
            lines.push("STARTTLS".to_owned());
        }
        let mechanisms: Vec<&str> = self.mechanisms().map(|m| m.name()).collect();
        if !mechanisms.is_empty() {
            lines.push(format!("AUTH {}", mechanisms.join(" ")));
        }
        lines.push("ENHANCEDSTATUSCODES".to_owned());
        let last = lines.len() - 1;
        for (i, line) in lines.iter().enumerate() {
            write_line(&mut self.out, 250, i == last, format_args!("{line}"));
        }
    }

    fn can_start_tls(&self) -> bool {
        !self.tls && self.config.starttls
    }

    /// Whether nothing but the way to TLS is open.
    pub(super) fn must_start_tls(&self) -> bool {
        self.config.role == Role::Submission && !self.tls && !self.config.plaintext_auth
    }

    fn start_tls(&mut self) {
        if self.tls {
            return self.refuse(Reply::new(503, "5.5.1", "TLS is on"));
        }
        if !self.can_start_tls() {
            return self.refuse(Reply::new(502, "5.5.1", "STARTTLS is not offered here"));
        }
        self.end_transaction();
        self.reply(Reply::new(220, "2.0.0", "Ready to start TLS"));
        self.events.push_back(Event::StartTls);
        // Whatever came behind the command was sent in the clear, by whomever.
        //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
        self.input.clear();
        self.phase = Phase::Tls;
    }

    fn mail(&mut self, from: ReversePath, params: MailParams) {
        if self.must_start_tls() {
            return self.refuse(TLS_FIRST);
        }
        if self.hello.is_none() {
            return self.refuse(match self.config.role {
                Role::Lmtp => Reply::new(503, "5.5.1", "LHLO first"),
                _ => Reply::new(503, "5.5.1", "EHLO first"),
            });
        }
        if matches!(self.config.role, Role::Submission | Role::Submissions) && !self.signed_in {
            //= https://www.rfc-editor.org/rfc/rfc6409#section-4.3
            return self.refuse(Reply::new(530, "5.7.0", "Authentication required"));
        }
        if self.transaction.is_some() {
            return self.refuse(Reply::new(503, "5.5.1", "MAIL was sent before"));
        }
        if self.messages >= self.config.bounds.messages {
            //= https://www.rfc-editor.org/rfc/rfc5321#section-3.8
            return self.close_with(Reply::new(421, "4.7.0", "Enough messages on one connection"));
        }
        if params
            .size_bytes
            .is_some_and(|size| size > self.config.max_message_bytes)
        {
            //= https://www.rfc-editor.org/rfc/rfc1870#section-6.1
            return self.refuse(Refusal::TooLarge.reply());
        }
        let transaction = Transaction {
            from: from.clone(),
            recipients: Vec::new(),
            declared_size_bytes: params.size_bytes,
            body: params.body.unwrap_or_default(),
            utf8: params.utf8,
            dsn: params.dsn,
        };
        let question = Question::Sender {
            from,
            size_bytes: params.size_bytes,
        };
        self.ask(question, Waiting::Sender(transaction));
    }

    fn rcpt(&mut self, to: ForwardPath, dsn: RcptDsn) {
        if self.must_start_tls() {
            return self.refuse(TLS_FIRST);
        }
        let Some(transaction) = &self.transaction else {
            return self.refuse(Reply::new(503, "5.5.1", "MAIL first"));
        };
        if transaction.recipients.len() >= self.config.max_recipients {
            //= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.10
            return self.refuse(Reply::new(452, "4.5.3", "Too many recipients"));
        }
        self.recipients += 1;
        if self.recipients > self.config.bounds.recipients {
            return self.close_with(Reply::new(421, "4.7.0", "Too many recipients on one connection"));
        }
        if !self.signed_in && to.mailbox().is_some_and(|mailbox| mailbox.hides_a_route()) {
            return self.refuse(Refusal::RelayDenied.reply());
        }
        self.ask(Question::Recipient(to.clone(), dsn), Waiting::Recipient(to));
    }

    /// Goes on where a question was asked.
    pub(super) fn go_on(&mut self, waiting: Waiting, answer: Answer) {
        match (waiting, answer) {
            (Waiting::Password, answer) => self.signed_in(answer),
            (Waiting::Keys(server), answer) => self.auth_keys(server, answer),
            (Waiting::Sender(transaction), Answer::Yes) => {
                self.transaction = Some(transaction);
                self.reply(Reply::new(250, "2.1.0", "Sender ok"));
            }
            (Waiting::Recipient(to), Answer::Yes) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients.push(to);
                }
                self.reply(Reply::new(250, "2.1.5", "Recipient ok"));
            }
            (Waiting::Recipient(_), Answer::Listed { zone }) => {
                let text = format_args!(
                    "5.7.1 Your address is in the DNS block list {zone}; write to postmaster if it should not be"
                );
                write_line(&mut self.out, 550, true, text);
                self.count_refusal(550);
            }
            (Waiting::Sender(_) | Waiting::Recipient(_), answer) => self.refuse(refusal(answer).reply()),
            (Waiting::BeginData, answer) => self.begin_data(answer),
            (Waiting::BeginBdat { size_bytes, last }, answer) => self.begin_bdat(size_bytes, last, answer),
            (Waiting::Finish, answer) => self.finish(answer),
        }
    }
}
