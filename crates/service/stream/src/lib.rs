//! Streams: mounts under whose names somebody publishes and many read, as machines without sockets, files or a clock.
//!
//! - [`MountName`] and [`MountPattern`] say what a mount is called and which mounts a rule speaks of;
//! - [`Description`] is what a publisher's session description says of its tracks, and what readers are told of them;
//! - [`hub::Hub`] is the RTSP server: connections, sessions, live mounts, and who is sent what;
//! - [`recording::Recorder`] makes files of what is published, [`playback::Player`] sends files and recordings to a session;
//! - [`Hearing`] decodes a track's sound for a telephone;
//! - [`Ring`] holds what was published last, once for all readers; a reader that is too slow goes on with the next key frame.
//!
//! ```
//! use bytes::Bytes;
//! use ringpost_base::Instant;
//! use ringpost_stream::{Packet, Ring};
//!
//! let mut ring = Ring::new();
//! let bytes = Bytes::from_static(b"\x80\x60");
//! ring.push(Packet { track: 0, is_rtcp: false, is_entry: true, arrived: Instant::ZERO, bytes });
//! let mut cursor = ring.join();
//! assert!(ring.read(&mut cursor).is_some());
//! assert!(ring.read(&mut cursor).is_none());
//! ```

mod description;
pub mod file;
pub mod fuzz;
mod hearing;
pub mod hub;
mod mount;
mod mpeg4_visual;
pub mod parameter_sets;
pub mod playback;
pub mod recording;
mod reorder;
mod ring;

pub use description::{Description, DescriptionError, Quirk, Track, control_of, track_of};
pub use hearing::Hearing;
pub use mount::{CALLS, MountName, MountNameError, MountPattern, MountPatternError, VOICEMAIL};
pub use reorder::{REORDER_WAIT, Reorder};
pub use ring::{Cursor, Packet, Ring};
pub use ringpost_codec::Heard;
