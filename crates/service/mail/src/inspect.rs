//! What is asked about the sender of a message from a stranger, between its end and its delivery.
//!
//! Who the answers come from is the world's: [`SenderAuth`] is asked, and looks into the DNS.

use crate::{Mail, MailError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_base::UnixTime;
use ringpost_store::{Bodies, Body, BodyWriter};
use std::fmt;
use std::net::IpAddr;

/// Who brings a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// What it called itself.
    pub helo: String,
    /// The sender's local part and domain; `None` is the null reverse path.
    pub sender: Option<(String, String)>,
    /// When the message began.
    pub now: UnixTime,
}

/// Holds senders against what their domains say in the DNS: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489).
pub trait SenderAuth: Send + Sync + 'static {
    /// Begins to look at a message. `None` where its bringer is trusted without.
    fn begin(&self, peer: Peer) -> Option<Box<dyn Inspection>>;
    /// The block list for whose sake nothing is taken from an address, if there is one. The answer takes some seconds at
    /// most, and what cannot be told lists nobody.
    fn refusing_list(&self, address: IpAddr) -> BoxFuture<'static, Option<String>>;
    /// Whether the sender's domain says that it sends from the peer's address, or the peer is trusted. It takes some seconds
    /// at most.
    fn is_proven(&self, peer: Peer) -> BoxFuture<'static, bool>;
}

/// A message that is looked at while it comes in.
pub trait Inspection: Send {
    /// Its next bytes, from the first byte of its header on.
    fn write(&mut self, chunk: &[u8]);
    /// It is whole. The answer takes some seconds at most, whatever the DNS does.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Findings>;
}

/// What was found out about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The header fields that say so, each with its CRLF: they go before the message.
    pub fields: String,
    /// What is to be done with it.
    pub action: Action,
    /// For the log.
    pub summary: String,
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To be delivered as ever.
    Deliver,
    /// To be delivered as junk.
    Junk,
    /// To be refused: its author's domain wants it so.
    Refuse,
}

/// A message that is kept until it is known what goes before it. Dropped, it leaves nothing.
pub struct Aside {
    writer: BodyWriter,
    bodies: Bodies,
}

impl Aside {
    /// Appends a chunk.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), MailError> {
        Ok(self.writer.write(chunk).await?)
    }

    /// Has it follow what was written to `incoming` before.
    pub async fn release(self, incoming: &mut crate::Incoming) -> Result<(), MailError> {
        let body = self.writer.finish().await?;
        let copied = copy(&self.bodies, &body, incoming).await;
        // What cannot be removed now is removed by the sweeper, since nothing names it.
        if let Err(e) = self.bodies.discard(&body).await {
            tracing::warn!(error = %e, "a message's first copy stays for the sweeper");
        }
        copied
    }
}

async fn copy(bodies: &Bodies, body: &Body, incoming: &mut crate::Incoming) -> Result<(), MailError> {
    let mut reader = bodies.read_back(body).await?;
    while let Some(chunk) = reader.next().await? {
        incoming.write(chunk).await?;
    }
    Ok(())
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aside({:?})", self.writer)
    }
}

impl Mail {
    /// Begins to keep a message before it is [released](Aside::release) into one that comes in.
    pub fn set_aside(&self) -> Aside {
        Aside {
            writer: self.bodies.writer(),
            bodies: self.bodies.clone(),
        }
    }
}

/// The longest field that is read before it is decided on: one of results that is longer is none of ours.
const FIELD_BYTES: usize = 64 * 1024;

/// Takes out of a message what others wrote in our name: fields of Authentication-Results under our server's name, the
/// Return-Path, which whoever delivers at last writes, and of strangers' mail the fields that tell a score. It is given the message in chunks, and looks no further than its header.
//= https://www.rfc-editor.org/rfc/rfc8601#section-5
#[derive(Debug)]
pub struct ForgedResults {
    server: String,
    is_strangers: bool,
    /// The field that is being read.
    field: Vec<u8>,
    state: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// At the beginning of a line.
    Line,
    /// Within a line.
    Rest,
    /// A field that is too long to be kept goes by, or is left out.
    Long { left_out: bool, at_line: bool },
    /// The header is over.
    Body,
}

impl ForgedResults {
    /// Under this server's name.
    pub fn new(server: &str) -> Self {
        ForgedResults {
            is_strangers: false,
            server: server.to_owned(),
            field: Vec::new(),
            state: Reading::Line,
        }
    }

    /// The same for a stranger's message, whose score nobody but us tells.
    pub fn of_stranger(server: &str) -> Self {
        ForgedResults {
            is_strangers: true,
            ..ForgedResults::new(server)
        }
    }

    /// What stays of a chunk, and of what was kept of those before it.
    pub fn filter(&mut self, chunk: Bytes) -> Bytes {
        if self.state == Reading::Body && self.field.is_empty() {
            return chunk;
        }
        let mut out = Vec::with_capacity(chunk.len() + self.field.len());
        let mut rest = &chunk[..];
        while let Some(&first) = rest.first() {
            if self.state == Reading::Body {
                out.extend_from_slice(rest);
                break;
            }
            let begins = match self.state {
                Reading::Line => true,
                Reading::Long { at_line, .. } => at_line,
                _ => false,
            };
            if begins && !matches!(first, b' ' | b'\t') {
                self.decide(&mut out);
            }
            let len = rest
                .iter()
                .position(|b| *b == b'\n')
                .map_or(rest.len(), |at| at + 1);
            let (piece, after) = rest.split_at(len);
            rest = after;
            self.take(piece, &mut out);
        }
        out.into()
    }

    /// What is left when the message is over.
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.decide(&mut out);
        out.into()
    }

    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let ends = piece.ends_with(b"\n");
        if let Reading::Long { left_out, .. } = self.state {
            if !left_out {
                out.extend_from_slice(piece);
            }
            self.state = Reading::Long {
                left_out,
                at_line: ends,
            };
            return;
        }
        self.field.extend_from_slice(piece);
        self.state = if ends { Reading::Line } else { Reading::Rest };
        if matches!(&self.field[..], b"\r\n" | b"\n") {
            out.append(&mut self.field);
            self.state = Reading::Body;
        } else if self.field.len() > FIELD_BYTES {
            let left_out = self.is_results() || self.is_score() || self.is_return_path();
            if !left_out {
                out.append(&mut self.field);
            }
            self.field.clear();
            self.state = Reading::Long {
                left_out,
                at_line: ends,
            };
        }
    }

    /// A field is over.
    fn decide(&mut self, out: &mut Vec<u8>) {
        if self.is_score() || self.is_return_path() || self.is_results() && self.is_ours() {
            self.field.clear();
        }
        out.append(&mut self.field);
        if self.state != Reading::Body {
            self.state = Reading::Line;
        }
    }

    fn is_results(&self) -> bool {
        self.is_named("Authentication-Results")
    }

    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.4
    fn is_return_path(&self) -> bool {
        self.is_named("Return-Path")
    }

    fn is_score(&self) -> bool {
        let names = ["X-Spam-Score", "X-Spam-Status", "X-Spam-Flag", "X-Spam-Level"];
        self.is_strangers && names.into_iter().any(|name| self.is_named(name))
    }

    fn is_named(&self, name: &str) -> bool {
        let colon = self.field.iter().position(|b| *b == b':');
        colon.is_some_and(|at| {
            let field = self.field[..at].trim_ascii_end();
            field.eq_ignore_ascii_case(name.as_bytes())
        })
    }

    fn is_ours(&self) -> bool {
        let colon = self.field.iter().position(|b| *b == b':').map_or(0, |at| at + 1);
        let value = String::from_utf8_lossy(&self.field[colon..]);
        server_of(&value).eq_ignore_ascii_case(&self.server)
    }
}

/// The server that a field of results names: its first word, comments and quotes left out.
//= https://www.rfc-editor.org/rfc/rfc8601#section-2.2
fn server_of(value: &str) -> String {
    let mut name = String::new();
    let mut depth = 0_usize;
    let mut quoted = false;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted || depth > 0 => {
                let escaped = chars.next();
                name.extend(escaped.filter(|_| depth == 0));
            }
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '\r' | '\n' => {}
            c if quoted => name.push(c),
            ' ' | '\t' if name.is_empty() => {}
            ' ' | '\t' | ';' => break,
            c => name.push(c),
        }
    }
    name
}

/// See [`crate::fuzz`].
pub(crate) fn fuzz(data: &[u8]) {
    let filtered = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut filter = ForgedResults::new("mx.test");
        let mut out = Vec::new();
        pieces.for_each(|piece| out.extend_from_slice(&filter.filter(Bytes::copy_from_slice(piece))));
        out.extend_from_slice(&filter.finish());
        out
    };
    let whole = filtered(&mut std::iter::once(data));
    assert_eq!(whole, filtered(&mut data.chunks(3)));
    assert!(whole.len() <= data.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(message: &str) -> String {
        let whole = {
            let mut filter = ForgedResults::new("mx.test");
            let mut out = filter.filter(Bytes::copy_from_slice(message.as_bytes())).to_vec();
            out.extend_from_slice(&filter.finish());
            out
        };
        let mut filter = ForgedResults::new("mx.test");
        let mut out = Vec::new();
        for byte in message.as_bytes() {
            out.extend_from_slice(&filter.filter(Bytes::copy_from_slice(&[*byte])));
        }
        out.extend_from_slice(&filter.finish());
        assert_eq!(out, whole);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn results_in_our_name_are_taken_out_and_others_stay() {
        let kept = "Received: x\r\nAuthentication-Results: other.test; spf=pass\r\nSubject: y\r\n z\r\n";
        let body = "\r\nAuthentication-Results: mx.test; body=pass\r\n";
        for forged in [
            "Authentication-Results: mx.test; dkim=pass\r\n",
            "authentication-results : MX.Test\r\n",
            "Authentication-Results:\r\n (really) \"mx.test\" 1;\r\n\tspf=pass\r\n",
            "Authentication-Results: \"mx\\.test\"; spf=pass\r\n",
            "Authentication-Results:(a (b\\) c) d)mx.test(e); spf=pass\r\n",
            "return-path:\r\n <who@writes.it>\r\n",
        ] {
            assert_eq!(
                filtered(&format!("{forged}{kept}{body}")),
                format!("{kept}{body}"),
                "{forged}"
            );
            assert_eq!(
                filtered(&format!("{kept}{forged}{body}")),
                format!("{kept}{body}"),
                "{forged}"
            );
            assert_eq!(filtered(&format!("{kept}{forged}")), kept, "{forged}");
        }
    }

    #[test]
    fn a_stranger_tells_no_score() {
        let message =
            "X-Spam-Flag: NO\r\nx-spam-status : No,\r\n\tscore=-9\r\nSubject: y\r\n\r\nX-Spam-Score: 1\r\n";
        let through = |mut filter: ForgedResults| {
            let mut out = filter.filter(Bytes::from_static(message.as_bytes())).to_vec();
            out.extend_from_slice(&filter.finish());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            through(ForgedResults::of_stranger("mx.test")),
            "Subject: y\r\n\r\nX-Spam-Score: 1\r\n"
        );
        assert_eq!(through(ForgedResults::new("mx.test")), message);
    }

    #[test]
    fn a_field_that_never_ends_is_not_kept() {
        let long = "x".repeat(FIELD_BYTES);
        let message = format!("Subject: {long}\r\n {long}\r\nTo: a\r\n\r\nbody\r\n");
        assert_eq!(filtered(&message), message);
        let forged =
            format!("Authentication-Results: (\r\n {long}\r\n ) mx.test; a\r\nTo: a\r\n\r\nbody\r\n");
        assert_eq!(filtered(&forged), "To: a\r\n\r\nbody\r\n");
    }
}
