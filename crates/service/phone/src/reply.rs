use ringpost_sip::ua::Content;
use ringpost_sip::{HeaderName, Status};
use std::fmt::Display;

/// An answer to a request as the services make it: what is not in the request itself.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    pub(crate) content: Content,
}

impl Reply {
    /// The status alone.
    pub(crate) fn new(status: Status) -> Self {
        Reply {
            status,
            content: Content::none(),
        }
    }

    /// With one more header field.
    pub(crate) fn with(mut self, name: HeaderName, value: impl Display) -> Self {
        self.content = self.content.with(name.as_str(), value);
        self
    }
}

impl From<Status> for Reply {
    fn from(status: Status) -> Self {
        Reply::new(status)
    }
}
