//! What the log tells of streams: a line an event.

use ringpost_stream::hub::Event;
use tracing::{debug, info, warn};

pub(super) fn tell(event: Event) {
    match event {
        Event::Published {
            session,
            mount,
            user,
            peer,
            quirks,
        } => {
            let user = user.unwrap_or_default();
            info!(session = session.0, %mount, user, %peer, "stream published");
            for quirk in quirks {
                warn!(%mount, ?quirk, "a description is odd, and read all the same");
            }
        }
        Event::Pulled {
            mount,
            source,
            peer,
            quirks,
        } => {
            info!(%mount, source, %peer, "stream pulled");
            for quirk in quirks {
                warn!(%mount, ?quirk, "a description is odd, and read all the same");
            }
        }
        Event::Tolerated { mount, what } => {
            warn!(%mount, what, "what is pulled is odd, and taken all the same")
        }
        Event::Unpulled {
            mount,
            source,
            why,
            again_in,
        } => warn!(%mount, source, why, again_s = again_in.as_secs(), "a stream cannot be pulled now"),
        Event::Unpublished {
            session,
            mount,
            lasted,
            lost_packets,
        } => info!(session = session.0, %mount, seconds = lasted.as_secs(), lost_packets, "stream ends"),
        Event::Reading {
            session,
            mount,
            user,
            peer,
        } => {
            let user = user.unwrap_or_default();
            info!(session = session.0, %mount, user, %peer, "stream is read");
        }
        Event::Read {
            session,
            mount,
            peer,
            sent_packets,
            skipped_packets,
        } => info!(session = session.0, %mount, %peer, sent_packets, skipped_packets, "stream was read"),
        Event::Skipped {
            session,
            mount,
            peer,
            skips,
        } => {
            warn!(session = session.0, %mount, %peer, skips, "a reader is too slow, and goes on with the next key picture");
        }
        Event::Adrift { mount, track } => {
            warn!(%mount, track, "timestamps do not keep time with what comes, by ten seconds and more: what is recorded is placed by when it came");
        }
        Event::Damaged { mount, file, why } => warn!(%mount, file, why, "a file cannot be played"),
        Event::NoGroup { mount } => warn!(%mount, "no group of streams.multicast_range is free for a stream"),
        Event::NotRecorded { mount, why } => warn!(%mount, why, "a stream cannot be recorded"),
        Event::Recording { mount, event } => warn!(%mount, ?event, "a recording is not whole"),
        Event::Announced { name, from, is_there } => {
            debug!(name, %from, is_there, "a stream of others is announced, or no longer")
        }
        Event::Refused { mount, peer, why } => warn!(%mount, %peer, why, "a stream cannot be published"),
    }
}
