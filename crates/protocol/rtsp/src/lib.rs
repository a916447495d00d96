//! RTSP 1.0 (RFC 2326) as machines: bytes and time in, bytes, questions and events out.
//!
//! - [`Reader`] takes a stream apart into [`Request`]s, [`Response`]s and interleaved packets (§10.12);
//! - [`header`] holds typed views of Transport, Range, Session, RTP-Info and others;
//! - [`server::Server`] is the server's side of a connection, with its sessions; [`client::Client`] the other side;
//! - [`tunnel`] makes one stream of the two of RTSP within HTTP;
//! - [`Url`] and [`MountPath`] say what a request is about, [`control`] which URL a description's streams have;
//! - [`Status`] has every status of §7.1.1.
//!
//! ```
//! use ringpost_rtsp::{Item, Reader, Reading, Response, Status, header::Transport};
//!
//! let mut reader = Reader::new(Reading::Strict);
//! reader.push(b"SETUP rtsp://h/cam/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n");
//! let Some(Item::Request(request)) = reader.next_item() else { panic!("a request") };
//! let offered = Transport::parse_all(request.headers.field("Transport").unwrap())?;
//! assert_eq!(offered[0].interleaved.unwrap().rtcp_channel(), 1);
//! let response = Response::new(Status::OK).with("CSeq", "3").with("Transport", offered[0].to_string());
//! assert!(response.to_bytes().starts_with(b"RTSP/1.0 200 OK\r\n"));
//! # Ok::<(), ringpost_rtsp::Malformed>(())
//! ```
//!
//! It does not read session descriptions but for their control attributes, opens no sockets and reads no clock.

pub mod client;
pub mod control;
#[doc(hidden)]
pub mod fuzz;
mod fuzz_machines;
pub mod header;
mod message;
mod method;
mod mount;
mod reader;
pub mod server;
mod status;
mod syntax;
pub mod tunnel;
mod url;

pub use message::{Headers, Request, Response, interleaved_head};
pub use method::Method;
pub use mount::{MountPath, PathError};
pub use reader::{Item, MISSPELT, ReadError, Reader, Reading};
pub use status::Status;
pub use syntax::Malformed;
pub use url::{DEFAULT_PORT, DEFAULT_TLS_PORT, Url, UrlError};
