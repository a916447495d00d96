//! The message that comes in, and what is found out about its sender before it is delivered.

use super::Driver;
use bytes::Bytes;
use futures_util::{FutureExt, select_biased};
use ringpost_mail::{Action, Aside, Findings, ForgedResults, Incoming, Inspection, Letter, Mail, MailError};
use ringpost_smtp::{HeaderEditor, HeaderFault, Role};
use std::time::Duration;

/// How long a stopping server still finds out whom a message is from: what comes last may come as late as
/// [`ringpost_smtp::Timeouts::farewell`], and is to be answered before the server ends.
const STOPPING: Duration = Duration::from_secs(2);

/// What we write before a message, each with its CRLF.
pub(super) struct Trace {
    pub(super) return_path: String,
    pub(super) received: String,
}

/// A message that comes in. Once a piece of it could not be kept the rest is let pass, and the end is refused.
pub(super) struct Taking {
    /// Our name for it.
    id: String,
    forged: ForgedResults,
    /// Puts its header right, where one of ours submits it.
    editor: Option<HeaderEditor>,
    begun: Result<Begun, MailError>,
}

enum Begun {
    /// It is read while it passes.
    Coming(Box<Incoming>),
    /// It is kept until it is known what goes before it.
    Looked(Box<Looked>),
}

struct Looked {
    aside: Aside,
    inspection: Box<dyn Inspection>,
    trace: Trace,
}

/// A message that is whole.
pub(super) enum Taken {
    /// To be delivered.
    Whole {
        letter: Box<Letter>,
        /// Whether it looks like junk.
        junk: bool,
    },
    /// To be refused: its author's domain wants it so.
    Unproven,
    /// To come another time: nobody knows yet whom it is from, and there is no time left to find it out.
    Unfinished,
}

impl Taking {
    /// Begins one under our name for it.
    pub(super) async fn begin(
        mail: &Mail,
        server: &str,
        id: String,
        trace: Trace,
        inspection: Option<Box<dyn Inspection>>,
        editor: Option<HeaderEditor>,
    ) -> Taking {
        let forged = match inspection {
            Some(_) => ForgedResults::of_stranger(server),
            None => ForgedResults::new(server),
        };
        let begun = match inspection {
            Some(inspection) => Ok(Begun::Looked(Box::new(Looked {
                aside: mail.set_aside(),
                inspection,
                trace,
            }))),
            None => {
                let mut incoming = Box::new(mail.incoming());
                let written = incoming.write(trace.without_findings().into()).await;
                written.map(|()| Begun::Coming(incoming))
            }
        };
        Taking {
            id,
            forged,
            editor,
            begun,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The next piece.
    pub(super) async fn keep(&mut self, chunk: Bytes) {
        let chunk = match &mut self.editor {
            Some(editor) => editor.push(chunk),
            None => chunk,
        };
        self.keep_edited(chunk).await;
    }

    /// The last of a message whose header is put right; says what is wrong with it that cannot be.
    pub(super) async fn end_edited(&mut self) -> Option<HeaderFault> {
        let mut editor = self.editor.take()?;
        let rest = editor.finish();
        self.keep_edited(rest).await;
        editor.fault()
    }

    async fn keep_edited(&mut self, chunk: Bytes) {
        let chunk = self.forged.filter(chunk);
        self.append(chunk).await;
    }

    async fn append(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let written = match &mut self.begun {
            Ok(Begun::Coming(incoming)) => incoming.write(chunk).await,
            Ok(Begun::Looked(looked)) => {
                looked.inspection.write(&chunk);
                looked.aside.write(chunk).await
            }
            Err(_) => return,
        };
        if let Err(e) = written {
            self.begun = Err(e);
        }
    }

    /// The message is whole: what is to be found out about its sender is, unless the time is over before, and it is read.
    pub(super) async fn finish(
        mut self,
        mail: &Mail,
        session: &str,
        no_time_left: impl Future<Output = ()>,
    ) -> Result<Taken, MailError> {
        let rest = self.forged.finish();
        self.append(rest).await;
        match self.begun? {
            Begun::Coming(incoming) => Ok(Taken::Whole {
                letter: Box::new(incoming.finish().await?),
                junk: false,
            }),
            Begun::Looked(looked) => {
                let Looked {
                    aside,
                    inspection,
                    trace,
                } = *looked;
                let mut no_time_left = std::pin::pin!(no_time_left.fuse());
                let found_out = select_biased! {
                    findings = inspection.finish().fuse() => Some(findings),
                    () = no_time_left => None,
                };
                let Some(findings) = found_out else {
                    tracing::info!(%session, id = %self.id, "the server stops before the sender is known");
                    return Ok(Taken::Unfinished);
                };
                let Findings {
                    fields,
                    action,
                    summary,
                } = findings;
                tracing::info!(%session, id = %self.id, ?action, "sender: {summary}");
                if action == Action::Refuse {
                    return Ok(Taken::Unproven);
                }
                let mut incoming = mail.incoming();
                incoming.write(trace.with(&fields).into()).await?;
                aside.release(&mut incoming).await?;
                Ok(Taken::Whole {
                    letter: Box::new(incoming.finish().await?),
                    junk: action == Action::Junk,
                })
            }
        }
    }
}

impl Trace {
    fn without_findings(&self) -> String {
        format!("{}{}", self.return_path, self.received)
    }

    /// With what was found out above everything that came before us.
    //= https://www.rfc-editor.org/rfc/rfc8601#section-4.1
    fn with(&self, findings: &str) -> String {
        format!("{}{findings}{}", self.return_path, self.received)
    }
}

impl Driver<'_> {
    /// Completes some time after the server has begun to stop, so that whoever waits for an answer hears it.
    //= https://www.rfc-editor.org/rfc/rfc5321#section-6.1
    pub(super) fn no_time_left(&self) -> impl Future<Output = ()> + Send + 'static {
        let (world, stop) = (self.smtp.world.clone(), self.smtp.stop.clone());
        async move {
            stop.wait().await;
            world.sleep_until(world.now() + STOPPING).await;
        }
    }

    /// Who looks at a message: nobody, where its sender has signed in, or may not come without.
    pub(super) fn inspection(&self) -> Option<Box<dyn Inspection>> {
        let sender_auth = self.smtp.sender_auth.as_ref()?;
        if self.account.is_some() || self.smtp.config.role != Role::Mx {
            return None;
        }
        sender_auth.begin(self.peer()?)
    }
}
