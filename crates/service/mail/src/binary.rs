//! Messages appended with NUL in them (RFC 3516 §4.4): the parts that hold it are kept in base64, so that every client can
//! fetch them in the old way too.

use crate::parse::field::fields;
use crate::{Letter, Mail, MailError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use ringpost_base::limits;
use ringpost_imap::structure::{Content, Part};
use std::ops::Range;

/// Bytes of a line in base64 (RFC 2045 §6.8), before they are encoded.
const LINE_BYTES: usize = 57;

impl Mail {
    /// The same message with every part that may hold NUL in base64.
    pub(crate) async fn encoded(&self, letter: &Letter, structure: &Part) -> Result<Letter, MailError> {
        let mut leaves = Vec::new();
        collect(structure, &mut leaves);
        let mut out = self.incoming();
        let mut at = 0;
        for leaf in leaves {
            let body = leaf.body.clone();
            if !self.has_nul(letter, body.clone()).await? {
                continue;
            }
            if leaf.header.end - leaf.header.start > limits::MESSAGE_HEADER_BYTES as u64 {
                return Err(MailError::UnknownEncoding);
            }
            self.pass(letter, at..leaf.header.start, &mut out).await?;
            let header = self.read(letter, leaf.header.clone()).await?;
            out.write(with_base64(&header)).await?;
            self.pass_encoded(letter, body.clone(), &mut out).await?;
            at = body.end;
        }
        self.pass(letter, at..letter.size_bytes(), &mut out).await?;
        if out.has_nul() {
            // It stands in a header, or between parts.
            return Err(MailError::UnknownEncoding);
        }
        out.finish().await
    }

    async fn has_nul(&self, letter: &Letter, range: Range<u64>) -> Result<bool, MailError> {
        let mut reader = self.bodies.read(&letter.body, range).await?;
        while let Some(chunk) = reader.next().await? {
            if chunk.contains(&0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn read(&self, letter: &Letter, range: Range<u64>) -> Result<Bytes, MailError> {
        let mut reader = self.bodies.read(&letter.body, range).await?;
        let mut out = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            out.extend_from_slice(&chunk);
        }
        Ok(out.freeze())
    }

    async fn pass(
        &self,
        letter: &Letter,
        range: Range<u64>,
        out: &mut crate::Incoming,
    ) -> Result<(), MailError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut reader = self.bodies.read(&letter.body, range).await?;
        while let Some(chunk) = reader.next().await? {
            out.write(chunk).await?;
        }
        Ok(())
    }

    async fn pass_encoded(
        &self,
        letter: &Letter,
        range: Range<u64>,
        out: &mut crate::Incoming,
    ) -> Result<(), MailError> {
        let mut reader = self.bodies.read(&letter.body, range).await?;
        let mut rest = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            rest.extend_from_slice(&chunk);
            let whole = rest.len() / LINE_BYTES * LINE_BYTES;
            out.write(lines(&rest.split_to(whole))).await?;
        }
        out.write(lines(&rest)).await
    }
}

fn lines(bytes: &[u8]) -> Bytes {
    let mut out = String::with_capacity(bytes.len() / LINE_BYTES * 78 + 78);
    for line in bytes.chunks(LINE_BYTES) {
        STANDARD.encode_string(line, &mut out);
        out.push_str("\r\n");
    }
    out.into()
}

/// The parts that hold no others and are not encoded, in the order of their places.
fn collect<'a>(part: &'a Part, out: &mut Vec<&'a Part>) {
    match &part.content {
        Content::Single { .. } => {
            let is = |name: &str| part.encoding.eq_ignore_ascii_case(name);
            if ["BINARY", "8BIT", "7BIT"].into_iter().any(is) {
                out.push(part);
            }
        }
        Content::Multipart { parts, .. } => parts.iter().for_each(|part| collect(part, out)),
        Content::Message { message, .. } => collect(message, out),
    }
}

/// A header that says base64 instead of what it says.
fn with_base64(header: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(header.len() + 64);
    for field in fields(header).filter(|field| !field.is("Content-Transfer-Encoding")) {
        out.extend_from_slice(field.name.as_bytes());
        out.push(b':');
        out.extend_from_slice(field.raw());
        if !out.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
    out.into()
}

/// A header that was put right says base64, once, and is the same when it is put right again.
pub(crate) fn fuzz(data: &[u8]) {
    let header = with_base64(data);
    let encodings = fields(&header).filter(|field| field.is("Content-Transfer-Encoding"));
    let encodings: Vec<String> = encodings.map(|field| field.value()).collect();
    assert_eq!(encodings, ["base64"]);
    assert_eq!(with_base64(&header), header);
    assert!(lines(data).split(|b| *b == b'\n').all(|line| line.len() <= 77));
}
