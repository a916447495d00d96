//! The server that users get, against clients that others wrote.
//!
//! A [`Server`] is the built binary with a data folder and a loopback address of its own, so that the tests run beside
//! each other on the usual ports; accounts and devices are made through the command line. A client is looked for with
//! [`client`]: on a developer's machine a missing one skips its test and says so, with `CI` set it fails. Each test does a
//! whole action and looks at the result from outside: the tone that arrived, the flag that was synced.
//!
//! ```text
//! cargo build --release && cargo test -p ringpost-interop      # or RINGPOST_BIN=… for another binary
//! ```
//!
//! Every program that a test starts has a time limit and ends with the test.

mod baresip;
mod certificates;
mod clients;
mod disk;
mod dns;
mod dovecot;
mod mail;
mod network;
mod packages;
mod pebble;
mod postfix;
mod rtsp;
mod server;
mod sip;
mod sipp;
mod streams;
mod talk;
mod typed;
mod wav;
mod zone;

pub use baresip::{Baresip, Behaviour};
pub use certificates::{certificates, certificates_for};
pub use clients::{Child, Finished, client, run, skip, spawn, wait_for};
pub use disk::SmallDisk;
pub use dns::{Dns, Record};
pub use dovecot::Dovecot;
pub use mail::{mails, node_with, python, python_with, script, submit, swaks};
pub use network::{own_ipv6_network, own_network};
pub use packages::{node_package, python_package};
pub use pebble::{Pebble, PebbleOptions};
pub use postfix::Postfix;
pub use rtsp::{RtspReply, RtspSocket, annex_b_units, h264_units};
pub use server::{Account, DOMAIN, Device, Options, Server, own_address};
pub use sip::{SipCall, SipSocket, sip_request};
pub use sipp::{Sipp, scenario};
pub use streams::{
    Ffmpeg, Unit, compare_units, listed_stream, recorded, stream_url, wait_until_live, wait_until_over,
};
pub use talk::{ImapClient, ImapReply, ImapSocket, SmtpClient, open_tls};
pub use typed::{TypedTls, base64};
pub use wav::{Wav, tone_wav};
pub use zone::SignedZone;
