//! Playing of files and recordings: what there is, where an instant lies in it, and the RTP packets of it at the pace of a
//! session, without touching a disk or a clock.
//!
//! A [`Catalog`] reads what a folder's files hold and makes a [`Timeline`] of it: one file, several in a row, or a mount's
//! recordings by when they happened, with the gaps between them. A [`Player`] plays a timeline to one RTSP session.
//!
//! ```
//! use ringpost_base::{Instant, Rng, UnixTime};
//! use ringpost_store::FileInfo;
//! use ringpost_stream::playback::{Catalog, CatalogOutput, Event, Output, Play, Player};
//!
//! // A second of silence.
//! let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\xff\xff\xff\xff".to_vec();
//! file.resize(file.len() + 8_000, 0xff);
//! let read = |range: std::ops::Range<u64>| file[range.start as usize..range.end as usize].to_vec().into();
//! let info = FileInfo {
//!     name: "silence.wav".parse().unwrap(),
//!     size_bytes: file.len() as u64,
//!     modified: UnixTime::default(),
//!     is_open: false,
//! };
//! let mut catalog = Catalog::playlist();
//! catalog.handle_list(vec![info]);
//! while let CatalogOutput::Read { range, .. } = catalog.poll_output() {
//!     catalog.handle_data(read(range));
//! }
//! let timeline = catalog.timeline().unwrap();
//! assert_eq!(timeline.length().as_millis(), 1_000);
//!
//! let mut now = Instant::ZERO;
//! let mut player = Player::new(timeline, &mut Rng::from_number(1));
//! player.play(now, Play::default());
//! let mut packets = 0;
//! loop {
//!     match player.poll_output() {
//!         Output::Read { id, range, .. } => player.handle_data(now, id, read(range)),
//!         Output::Packet { .. } => packets += 1,
//!         Output::Event(Event::Ended) => break,
//!         Output::Timeout(Some(deadline)) => {
//!             now = deadline;
//!             player.handle_timeout(now);
//!         }
//!         _ => {}
//!     }
//! }
//! assert_eq!((packets, now.as_nanos()), (50, 1_000_000_000));
//! ```

mod catalog;
mod cursor;
pub mod fuzz;
mod join;
pub(crate) mod jpeg;
mod media;
mod pace;
mod place;
mod player;
mod range;
mod seek;
mod send;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;

pub use catalog::{Catalog, CatalogOutput, NothingToPlay};
pub use media::MediaError;
pub use player::{Event, Output, Paused, Play, PlayError, Player, ReadId};
pub use timeline::Timeline;
