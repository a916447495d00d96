//! RTP and RTCP (RFC 3550), and telephone-event (RFC 4733), without sockets and without a clock.
//!
//! - [`Packet`] is a checked view of an RTP packet, [`Header`] and [`Builder`] write one, and [`rewrite`] puts a new
//!   header before a payload where it lies, which is all a relay does to a packet.
//! - [`rtcp`] reads and prints compound RTCP packets: SR, RR, SDES, BYE, APP and feedback (RFC 4585).
//! - [`Session`] is one participant's half of an RTP session: who else is in it, what was received from each, when RTCP
//!   is due by the rules of §6.3, and what it says.
//! - [`EventSender`] and [`EventReceiver`] are the two ends of telephone-event.
//! - [`payload`] reads access units out of packets and makes packets of them, for the codecs of streams.
//!
//! ```
//! use ringpost_rtp::{Header, Packet};
//!
//! let header = Header { marker: true, payload_type: 0, sequence: 7, timestamp: 160, ssrc: 0xfeed };
//! let mut bytes = Vec::new();
//! header.write(&[0xff; 160], &mut bytes);
//! let packet = Packet::parse(&bytes)?;
//! assert_eq!(packet.header(), header);
//! assert_eq!(packet.payload().len(), 160);
//! # Ok::<(), ringpost_rtp::PacketError>(())
//! ```
//!
//! It does not reorder packets or conceal their loss, does not encrypt (SRTP), and decodes nothing.

pub mod fuzz;
mod interval;
mod packet;
pub mod payload;
mod reception;
pub mod rtcp;
mod session;
mod telephone_event;

pub use packet::{Builder, Header, Packet, PacketError, is_rtcp, rewrite};
pub use reception::{Arrival, Reception};
pub use session::{Config, Event, Output, Received, Session, Statistics};
pub use telephone_event::{
    EventPacket, EventReceiver, EventReport, EventSender, TelephoneEvent, digit_of_event, event_of_digit,
};
