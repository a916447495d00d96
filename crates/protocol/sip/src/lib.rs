//! SIP messages (RFC 3261): reading and printing them, and finding them in a byte stream.

mod flow;
mod framing;
pub mod header;
mod message;
mod method;
mod status;
mod syntax;
mod text;
#[cfg(any(test, feature = "torture"))]
pub mod torture;
mod uri;

pub use flow::{Arrival, Flow, Transport};
pub use framing::{Frame, FrameError, Framer, PING, PONG};
pub use header::{CSeq, HeaderName, NameAddr, Via};
pub use message::{Builder, Contacts, Edit, Header, Message, ParseError};
pub use method::Method;
pub use status::Status;
pub use syntax::{Malformed, quote, unescape, unfold, unquote};
pub use text::Text;
pub use uri::{Host, Scheme, Uri};
