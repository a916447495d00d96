//! COMPRESS=DEFLATE (RFC 4978): what passes between a session and its connection, made smaller on the way.

use bytes::{Buf, Bytes, BytesMut};
use miniz_oxide::DataFormat;
use miniz_oxide::MZFlush;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use ringpost_base::limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How hard is tried: little, since text is mostly won at once.
const LEVEL: i32 = 3;
/// RFC 1951 without a header around it.
const RAW_WINDOW_BITS: i32 = -15;

/// How many sessions compress now; each needs some 400 KiB.
#[derive(Clone, Debug, Default)]
pub struct Compressing(Arc<AtomicUsize>);

impl Compressing {
    /// A place for one more, unless `limits::IMAP_COMPRESSING` have theirs.
    pub(super) fn begin(&self) -> Option<Compression> {
        let taken = self.0.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.0.clone());
        (taken < limits::IMAP_COMPRESSING).then(|| Compression::new(place))
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was received is no deflate stream, or one that has ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a deflate stream that goes on")]
pub(super) struct Corrupt;

/// Both directions of one connection.
pub(super) struct Compression {
    inflate: Box<InflateState>,
    deflate: Box<CompressorOxide>,
    /// What was received and not yet inflated: of whatever it inflates to, a piece at a time is asked for.
    received: Bytes,
    /// Whether there is more to come of what was taken in.
    more: bool,
    /// Whether something was taken in that has not left.
    unflushed: bool,
    _place: Place,
}

impl Compression {
    fn new(place: Place) -> Self {
        let flags = create_comp_flags_from_zip_params(LEVEL, RAW_WINDOW_BITS, 0);
        Compression {
            inflate: InflateState::new_boxed(DataFormat::Raw),
            deflate: Box::new(CompressorOxide::new(flags)),
            received: Bytes::new(),
            more: false,
            unflushed: false,
            _place: place,
        }
    }

    /// Takes what was received; what was received before has been asked for.
    pub(super) fn take(&mut self, bytes: Bytes) {
        debug_assert!(self.received.is_empty());
        self.received = bytes;
        self.more = true;
    }

    /// Whether [`Compression::next`] may give something.
    pub(super) fn has_input(&self) -> bool {
        self.more
    }

    /// The next piece of what was received, at most `limits::CHUNK_BYTES`; it may be empty.
    pub(super) fn next(&mut self) -> Result<Bytes, Corrupt> {
        let mut piece = BytesMut::zeroed(limits::CHUNK_BYTES);
        let done = inflate(&mut self.inflate, &self.received, &mut piece, MZFlush::None);
        self.received.advance(done.bytes_consumed);
        piece.truncate(done.bytes_written);
        self.more = !self.received.is_empty() || done.bytes_written == limits::CHUNK_BYTES;
        match done.status {
            Ok(miniz_oxide::MZStatus::Ok) => {}
            // There was nothing to do.
            Err(miniz_oxide::MZError::Buf) if done.bytes_consumed == 0 => self.more = false,
            _ => return Err(Corrupt),
        }
        if self.received.is_empty() {
            self.received = Bytes::new();
        }
        Ok(piece.freeze())
    }

    /// Makes a piece smaller. With `flush` everything up to its end can be read by the peer.
    pub(super) fn compress(&mut self, mut bytes: &[u8], flush: bool) -> Bytes {
        let mut out = BytesMut::new();
        let mut room = [0; 4096];
        let how = if flush { MZFlush::Sync } else { MZFlush::None };
        self.unflushed |= !bytes.is_empty();
        if !self.unflushed {
            return Bytes::new();
        }
        loop {
            let done = deflate(&mut self.deflate, bytes, &mut room, how);
            bytes = &bytes[done.bytes_consumed..];
            out.extend_from_slice(&room[..done.bytes_written]);
            if bytes.is_empty() && done.bytes_written < room.len() {
                break;
            }
        }
        self.unflushed &= !flush;
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> Compression {
        Compressing::default().begin().unwrap()
    }

    fn inflated(peer: &mut Compression, bytes: Bytes) -> Vec<u8> {
        peer.take(bytes);
        let mut out = Vec::new();
        while peer.has_input() {
            out.extend_from_slice(&peer.next().unwrap());
        }
        out
    }

    #[test]
    fn what_was_flushed_can_be_read_and_is_smaller() {
        let (mut one, mut other) = (begin(), begin());
        let text = "* 1 FETCH (FLAGS (\\Seen))\r\n".repeat(10_000);
        for flush in [false, true] {
            let mut sent = Vec::new();
            for piece in text.as_bytes().chunks(10_000) {
                sent.extend_from_slice(&one.compress(piece, false));
            }
            sent.extend_from_slice(&one.compress(b"", true));
            assert!(sent.len() < text.len() / 20);
            assert_eq!(inflated(&mut other, sent.into()), text.as_bytes(), "{flush}");
        }
        assert!(one.compress(b"", true).is_empty(), "there is nothing to flush");
        let random: Vec<u8> = (0..100_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let sent = one.compress(&random, true);
        assert_eq!(inflated(&mut other, sent), random);
    }

    #[test]
    fn a_bomb_comes_in_pieces_that_nobody_gathers() {
        let (mut one, mut other) = (begin(), begin());
        let mut bomb = Vec::new();
        for _ in 0..1_000 {
            bomb.extend_from_slice(&one.compress(&[b'a'; limits::CHUNK_BYTES], false));
        }
        bomb.extend_from_slice(&one.compress(b"", true));
        assert!(bomb.len() < 64 * 1024);
        other.take(bomb.into());
        let mut total = 0;
        while other.has_input() {
            let piece = other.next().unwrap();
            assert!(piece.len() <= limits::CHUNK_BYTES);
            total += piece.len();
        }
        assert_eq!(total, 1_000 * limits::CHUNK_BYTES);
    }

    #[test]
    fn what_is_no_deflate_stream_is_refused() {
        let mut one = begin();
        one.take(Bytes::from_static(b"a NOOP\r\nb NOOP\r\n\xff\xff\xff\xff"));
        let mut result = Ok(Bytes::new());
        while one.has_input() && result.is_ok() {
            result = one.next();
        }
        assert!(result.is_err());
    }

    #[test]
    fn so_many_and_no_more_compress_at_a_time() {
        let all = Compressing::default();
        let first: Vec<Compression> = (0..limits::IMAP_COMPRESSING)
            .filter_map(|_| all.begin())
            .collect();
        assert_eq!(first.len(), limits::IMAP_COMPRESSING);
        assert!(all.begin().is_none() && all.begin().is_none());
        drop(first);
        assert!(all.begin().is_some());
    }
}
