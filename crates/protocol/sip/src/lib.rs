//! SIP messages (RFC 3261): reading and printing them, and finding them in a byte stream.

mod dialog;
mod endpoint;
mod flow;
mod framing;
#[doc(hidden)]
pub mod fuzz;
pub mod header;
mod message;
mod method;
mod mint;
mod status;
mod syntax;
mod text;
#[cfg(any(test, feature = "torture"))]
pub mod torture;
mod transaction;
mod uri;

pub use dialog::{Dialog, OutOfOrder};
pub use endpoint::{
    Endpoint, EndpointConfig, Event, Failure, Output, RequestError, SentAs, Transmit, UDP_REQUEST_BYTES,
};
pub use flow::{Arrival, Flow, Transport};
pub use framing::{Frame, FrameError, Framer, PING, PONG};
pub use header::{CSeq, HeaderName, NameAddr, Via};
pub use message::{Builder, Contacts, Edit, Header, Message, ParseError};
pub use method::Method;
pub use mint::{Mint, owner};
pub use status::Status;
pub use syntax::{Malformed, quote, unescape, unfold, unquote};
pub use text::Text;
pub use transaction::{Timing, TransactionId};
pub use uri::{Host, Scheme, Uri};
