//! The message itself, behind DATA or BDAT.

use super::{Answer, Event, Phase as SessionPhase, Question, Role, Session, Waiting};
use crate::body::{DataReader, LineEnds, Read};
use crate::reply::{Refusal, Reply};
use bytes::Bytes;

/// A message that comes in.
#[derive(Debug)]
pub(super) enum Phase {
    /// By DATA, up to its last dot.
    Data { reader: DataReader, fate: Fate },
    /// A chunk of BDAT, which belongs to the session's [`Chunks`].
    Bdat { left_bytes: u64, last: bool, fate: Fate },
}

/// What becomes of the bytes that come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// They go to the owner; so many did.
    Taken { size_bytes: u64 },
    /// They are thrown away, so many were, and at their end this is said.
    Refused { reply: Reply, size_bytes: u64 },
}

/// The message so far when it comes by BDAT.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    /// No BDAT in this transaction.
    None,
    /// The owner has so many bytes.
    Open { size_bytes: u64, ends: LineEnds },
    /// A chunk was refused: nothing but RSET helps.
    Failed,
}

impl Chunks {
    pub(super) fn is_open(self) -> bool {
        matches!(self, Chunks::Open { .. })
    }
}

impl Phase {
    /// Whether the owner holds a part of a message that DATA brings. (What BDAT brought is told by [`Chunks`].)
    pub(super) fn is_open(&self) -> bool {
        matches!(
            self,
            Phase::Data {
                fate: Fate::Taken { .. },
                ..
            }
        )
    }
}

const BARE_LINE_END: Reply = Reply::new(550, "5.6.0", "Bare CR or LF in the message");
const OUT_OF_ORDER: Reply = Reply::new(503, "5.5.1", "Bad sequence of commands");

impl Session {
    pub(super) fn data(&mut self) {
        if let Err(reply) = self.ready_for_content() {
            return self.refuse(reply);
        }
        if !matches!(self.chunks, Chunks::None) {
            //= https://www.rfc-editor.org/rfc/rfc3030#section-2
            return self.refuse(OUT_OF_ORDER);
        }
        self.ask(Question::Begin, Waiting::BeginData);
    }

    pub(super) fn begin_data(&mut self, answer: Answer) {
        match answer {
            Answer::Yes if !self.input.is_empty() => {
                // Who sends the message before the go-ahead does not speak SMTP, or has us speak to somebody else.
                //= https://www.rfc-editor.org/rfc/rfc2920#section-3.1
                self.events.push_back(Event::Abort);
                self.close_with(Reply::new(503, "5.5.1", "The message came before 354"));
            }
            Answer::Yes => {
                self.reply(Reply::new(354, "", "End with a dot on a line of its own"));
                self.deadline = self.now + self.config.timeouts.data;
                let (reader, fate) = (DataReader::new(), Fate::Taken { size_bytes: 0 });
                self.phase = SessionPhase::Content(Phase::Data { reader, fate });
            }
            answer => {
                self.end_transaction();
                self.refuse(refusal(answer).reply());
            }
        }
    }

    pub(super) fn bdat(&mut self, size_bytes: u64, last: bool) {
        let reply = match (self.ready_for_content(), self.chunks) {
            (Err(reply), _) => reply,
            (Ok(()), Chunks::Failed) => OUT_OF_ORDER,
            (Ok(()), Chunks::None) => {
                return self.ask(Question::Begin, Waiting::BeginBdat { size_bytes, last });
            }
            (
                Ok(()),
                Chunks::Open {
                    size_bytes: so_far, ..
                },
            ) => {
                return self.take_chunk(size_bytes, last, Fate::Taken { size_bytes: so_far });
            }
        };
        // The octets come whatever we think of them.
        //= https://www.rfc-editor.org/rfc/rfc3030#section-2
        self.take_chunk(size_bytes, last, Fate::Refused { reply, size_bytes: 0 });
    }

    pub(super) fn begin_bdat(&mut self, size_bytes: u64, last: bool, answer: Answer) {
        let fate = match answer {
            Answer::Yes => {
                self.chunks = Chunks::Open {
                    size_bytes: 0,
                    ends: LineEnds::default(),
                };
                Fate::Taken { size_bytes: 0 }
            }
            answer => {
                self.chunks = Chunks::Failed;
                Fate::Refused {
                    reply: refusal(answer).reply(),
                    size_bytes: 0,
                }
            }
        };
        self.take_chunk(size_bytes, last, fate);
    }

    fn take_chunk(&mut self, left_bytes: u64, last: bool, fate: Fate) {
        self.deadline = self.now + self.config.timeouts.data;
        self.phase = SessionPhase::Content(Phase::Bdat {
            left_bytes,
            last,
            fate,
        });
    }

    fn ready_for_content(&self) -> Result<(), Reply> {
        match &self.transaction {
            _ if self.must_start_tls() => Err(super::commands::TLS_FIRST),
            None => Err(OUT_OF_ORDER),
            //= https://www.rfc-editor.org/rfc/rfc2033#section-4.2
            Some(t) if t.recipients.is_empty() && self.config.role == Role::Lmtp => Err(OUT_OF_ORDER),
            Some(t) if t.recipients.is_empty() => Err(Reply::new(554, "5.5.1", "No valid recipients")),
            Some(_) => Ok(()),
        }
    }

    /// Takes what has come of the message.
    pub(super) fn read_content(&mut self) -> bool {
        let SessionPhase::Content(mut content) = std::mem::replace(&mut self.phase, SessionPhase::Command)
        else {
            return false;
        };
        let (progress, over) = match &mut content {
            Phase::Data { reader, fate } => {
                let read = reader.read(&mut self.input);
                let (progress, over, text) = match read {
                    Read::Text(text) => (true, false, text),
                    Read::More => (false, false, Bytes::new()),
                    Read::End => (true, true, Bytes::new()),
                };
                self.take_text(fate, text, reader.saw_bare_line_end());
                (progress, over)
            }
            Phase::Bdat { left_bytes, fate, .. } => {
                let n = usize::try_from(*left_bytes)
                    .unwrap_or(usize::MAX)
                    .min(self.input.len());
                let text = self.input.split_to(n);
                *left_bytes -= n as u64;
                if let Chunks::Open { size_bytes, ends } = &mut self.chunks {
                    ends.check(&text);
                    *size_bytes += n as u64;
                }
                self.take_text(fate, text, false);
                (n > 0, *left_bytes == 0)
            }
        };
        if matches!(self.phase, SessionPhase::Closed) {
            return true;
        }
        if over {
            self.content_ends(content);
        } else {
            self.phase = SessionPhase::Content(content);
        }
        progress || over
    }

    /// Passes text to the owner, or finds a reason to refuse the message.
    fn take_text(&mut self, fate: &mut Fate, text: Bytes, bare_line_end: bool) {
        let limit_bytes = self.config.max_message_bytes;
        let more = text.len() as u64;
        match fate {
            Fate::Taken { size_bytes } => {
                let reply = if bare_line_end {
                    BARE_LINE_END
                } else if *size_bytes + more > limit_bytes {
                    Refusal::TooLarge.reply()
                } else {
                    *size_bytes += more;
                    if more > 0 {
                        self.events.push_back(Event::Body(text));
                    }
                    return;
                };
                self.events.push_back(Event::Abort);
                if self.chunks.is_open() {
                    self.chunks = Chunks::Failed;
                }
                *fate = Fate::Refused {
                    reply,
                    size_bytes: *size_bytes + more,
                };
            }
            Fate::Refused { reply, size_bytes } => {
                *size_bytes += more;
                // What is refused is still read to its end, but not for ever.
                if *size_bytes > limit_bytes.saturating_mul(2) {
                    let reply = *reply;
                    self.close_with(reply);
                }
            }
        }
    }

    fn content_ends(&mut self, content: Phase) {
        let (last, fate, by_bdat) = match content {
            Phase::Data { fate, .. } => (true, fate, false),
            Phase::Bdat { last, fate, .. } => (last, fate, true),
        };
        match fate {
            Fate::Refused { reply, .. } => {
                // After the last chunk nothing of this transaction can follow.
                match last {
                    true => self.refuse_message(reply),
                    false => self.refuse(reply),
                }
            }
            Fate::Taken { .. } if !last => self.reply(Reply::new(250, "2.0.0", "Chunk taken")),
            Fate::Taken { size_bytes } => {
                let bare = match self.chunks {
                    Chunks::Open { ends, .. } => by_bdat && ends.saw_bare_line_end(),
                    _ => false,
                };
                if bare {
                    self.refuse_message(BARE_LINE_END);
                } else {
                    self.ask(Question::Finish { size_bytes }, Waiting::Finish);
                }
            }
        }
    }

    /// The message is refused for everybody.
    fn refuse_message(&mut self, reply: Reply) {
        if self.config.role == Role::Lmtp {
            //= https://www.rfc-editor.org/rfc/rfc2033#section-4.2
            let others = self.recipients_of_transaction().saturating_sub(1);
            (0..others).for_each(|_| self.reply(reply));
        }
        self.end_transaction();
        self.refuse(reply);
    }

    fn recipients_of_transaction(&self) -> usize {
        self.transaction.as_ref().map_or(0, |t| t.recipients.len())
    }

    pub(super) fn finish(&mut self, answer: Answer) {
        // The owner has seen the end: there is nothing left to abort.
        self.chunks = Chunks::None;
        self.idle_commands = 0;
        let recipients = self.recipients_of_transaction();
        let (id, verdicts) = match answer {
            Answer::Stored { id } => (id, vec![Ok(()); recipients]),
            Answer::StoredFor { id, verdicts } => (id, verdicts),
            answer => return self.refuse_message(refusal(answer).reply()),
        };
        self.end_transaction();
        self.errors = 0;
        self.messages += 1;
        //= https://www.rfc-editor.org/rfc/rfc2033#section-4.2
        let replies = match self.config.role {
            Role::Lmtp => recipients,
            _ => 1,
        };
        for n in 0..replies {
            match verdicts.get(n).copied().unwrap_or(Err(Refusal::Temporary)) {
                Ok(()) => crate::reply::write_line(&mut self.out, 250, true, format_args!("2.0.0 Ok: {id}")),
                Err(refusal) => self.reply(refusal.reply()),
            }
        }
    }
}

pub(super) fn refusal(answer: Answer) -> Refusal {
    match answer {
        Answer::Refuse(refusal) => refusal,
        _ => Refusal::Temporary,
    }
}
