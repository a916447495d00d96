//! The real network: listeners, TLS, SIP's sockets, the media threads and the streams' thread.
//!
//! Everything here belongs to tokio or to plain threads; the services and `node` see it only through the traits that
//! `server` implements with it. Limits on connections, handshakes and writes are enforced here, so that no session has to.
//!
//! ```
//! use ringpost_net::stream::{ConnectionLimits, Places, Service, Stream, serve};
//! use ringpost_net::tls::{Tls, self_signed};
//! use tokio::io::AsyncReadExt;
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let (certificate, key) = self_signed(folder.path(), &["mx.example.org".into()])?;
//! let tls = Tls::load(&certificate, &key)?;
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let places = Places::new(ConnectionLimits::default());
//! let service = Service { listener, places, tls, implicit: false, full: "421 Too many\r\n" };
//! tokio::spawn(serve(service, |mut stream: Stream| async move {
//!     let _gone = stream.send(b"220 mx.example.org\r\n").await;
//!     stream.close().await;
//! }));
//! let mut said = String::new();
//! TcpStream::connect(address).await?.read_to_string(&mut said).await?;
//! assert_eq!(said, "220 mx.example.org\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It understands no message: what comes is framed (SIP) or handed on as bytes, and who may do what is decided elsewhere.

#![warn(missing_docs)]

pub mod dns;
pub mod https;
pub mod media;
mod poll;
pub mod rtsp;
pub mod sip;
pub mod stream;
pub mod tls;
