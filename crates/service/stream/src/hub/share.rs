//! What readers are given, made once for all that are level with each other.

use super::MountKey;
use super::live::Live;
use super::paths::{Looks, Paths, Tracks};
use super::session::{Path, Reader};
use crate::ring::Cursor;
use bytes::{Bytes, BytesMut};
use ringpost_base::limits;
use ringpost_rtsp::interleaved_head;
use std::collections::VecDeque;
use std::sync::Arc;

/// Shares that are kept for further readers: those over connections and those of datagrams, and a mount or two.
const KEPT: usize = 4;

/// What one reader is to have now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    /// What goes over its connection, in one piece: packets, each behind its four octets (RFC 2326 §10.12).
    pub(crate) interleaved: Bytes,
    /// How many packets that is.
    pub(crate) interleaved_packets: usize,
    /// Datagrams of a track, RTP or RTCP.
    pub(crate) datagrams: Vec<(usize, bool, Arc<[Bytes]>)>,
    pub(crate) rtp_packets: u64,
    /// Octets of all packets.
    pub(crate) octets: usize,
}

impl Share {
    /// Takes what is next for a reader: at most [`limits::READER_BURST_BYTES`], and what is left of a packet.
    fn gather(live: Option<&Live>, reader: &mut Reader, paths: &Paths) -> Self {
        let mut share = Share::default();
        let mut interleaved: Vec<([u8; 4], Bytes)> = Vec::new();
        let mut datagrams: Vec<(usize, bool, Vec<Bytes>)> = Vec::new();
        while share.octets < limits::READER_BURST_BYTES {
            let (track, is_rtcp, bytes) = match reader.ahead.pop_front() {
                Some(ahead) => (ahead.track, ahead.is_rtcp, ahead.bytes),
                None => {
                    let (Some(live), Some(cursor)) = (live, &mut reader.cursor) else {
                        break;
                    };
                    let Some(packet) = live.read(cursor) else { break };
                    (usize::from(packet.track), packet.is_rtcp, packet.bytes.clone())
                }
            };
            let Some(path) = paths.get(track).filter(|_| reader.playing.contains(track)) else {
                continue;
            };
            share.octets += bytes.len();
            share.rtp_packets += u64::from(!is_rtcp);
            match path {
                Path::Interleaved { rtp, rtcp } => {
                    let channel = if is_rtcp { *rtcp } else { *rtp };
                    // Packets come in datagrams or interleaved ones, and go out no longer than they came.
                    interleaved.push((interleaved_head(channel, bytes.len()), bytes));
                }
                Path::InGroup => {}
                Path::Datagrams(_) | Path::Group(_) => {
                    let mut ways = datagrams.iter_mut();
                    match ways.find(|(of, rtcp, _)| (*of, *rtcp) == (track, is_rtcp)) {
                        Some((.., packets)) => packets.push(bytes),
                        None => datagrams.push((track, is_rtcp, vec![bytes])),
                    }
                }
            }
        }
        share.interleaved_packets = interleaved.len();
        share.interleaved = in_one_piece(&interleaved);
        let datagrams = datagrams.into_iter();
        share.datagrams = datagrams
            .map(|(track, is_rtcp, packets)| (track, is_rtcp, packets.into()))
            .collect();
        share
    }
}

fn in_one_piece(packets: &[([u8; 4], Bytes)]) -> Bytes {
    let octets = packets.iter().map(|(head, packet)| head.len() + packet.len());
    let mut whole = BytesMut::with_capacity(octets.sum());
    for (head, packet) in packets {
        whole.extend_from_slice(head);
        whole.extend_from_slice(packet);
    }
    whole.freeze()
}

/// A share, whom else it fits, and where its reader is after it.
#[derive(Debug)]
struct Kept {
    mount: MountKey,
    /// How many packets the mount had had.
    end: u64,
    from: Cursor,
    playing: Tracks,
    looks: Looks,
    to: Cursor,
    share: Share,
}

impl Kept {
    fn fits(&self, mount: MountKey, end: u64, cursor: &Cursor, playing: Tracks, looks: &Looks) -> bool {
        (self.mount, self.end, self.playing) == (mount, end, playing)
            && self.from.is_level_with(cursor)
            && self.looks == *looks
    }
}

/// The shares that were made last. Readers of a mount are mostly level with each other, and get the same octets.
#[derive(Debug, Default)]
pub(crate) struct Shares(VecDeque<Kept>);

impl Shares {
    /// What a reader is to have now, which it has had with that.
    pub(crate) fn take(
        &mut self,
        live: Option<(MountKey, &Live)>,
        reader: &mut Reader,
        paths: &Paths,
    ) -> Share {
        let (Some((mount, live)), Some(from), true) = (live, &mut reader.cursor, reader.ahead.is_empty())
        else {
            return Share::gather(live.map(|(_, live)| live), reader, paths);
        };
        let end = live.pushed();
        let mut kept = self.0.iter();
        let fitting = kept.find(|kept| kept.fits(mount, end, from, reader.playing, paths.looks()));
        if let Some(kept) = fitting {
            from.go_with(&kept.to);
            return kept.share.clone();
        }
        let from = from.clone();
        let share = Share::gather(Some(live), reader, paths);
        // A skip is each reader's own.
        if let Some(to) = reader.cursor.clone().filter(|to| to.skips() == from.skips()) {
            self.0.truncate(KEPT - 1);
            self.0.push_front(Kept {
                mount,
                end,
                from,
                playing: reader.playing,
                looks: *paths.looks(),
                to,
                share: share.clone(),
            });
        }
        share
    }
}
