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

/// The refusal to tell when several phones have refused: a 6xx before all, then what says most about why
/// (RFC 3261 §16.7 step 6). A 503, which is also what a phone counts as that cannot be reached (§16.9), is as good as 480:
/// that is what it is told as.
pub(crate) fn best_refusal(one: Option<Status>, other: Status) -> Status {
    let rank = |status: Status| match status.code() {
        600..=699 => 0,
        415 | 420 | 484 | 488 => 1,
        486 => 2,
        480 | 408 | 503 => 4,
        400..=499 => 3,
        _ => 5,
    };
    match one {
        Some(one) if rank(one) <= rank(other) => one,
        _ => other,
    }
}

/// How a phone's refusal is told to the other side: as it is, unless it was about us rather than about the call.
pub(crate) fn passed_back(status: Status) -> Status {
    match status.code() {
        // We are the client that was redirected, challenged, given up on or not known.
        300..=399 | 401 | 407 | 408 | 481 | 487 => Status::TEMPORARILY_UNAVAILABLE,
        //= https://www.rfc-editor.org/rfc/rfc3261#section-16.7
        // That one phone is overloaded, or cannot be reached, says nothing about us; and a 500 would say that we have failed.
        503 => Status::TEMPORARILY_UNAVAILABLE,
        _ => status,
    }
}

/// The same within a dialog, where 480 would end what goes on, and a refusal of one request ends nothing else (RFC 5057 §5.3).
pub(crate) fn passed_back_within(status: Status) -> Status {
    match status.code() {
        300..=399 | 401 | 407 | 487 | 503 => Status::SERVER_INTERNAL_ERROR,
        _ => passed_back(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_hears_the_refusal_that_says_most() {
        let best = |a: Status, b| best_refusal(Some(a), b);
        assert_eq!(
            best(Status::SERVICE_UNAVAILABLE, Status::BUSY_HERE),
            Status::BUSY_HERE
        );
        assert_eq!(best(Status::BUSY_HERE, Status::DECLINE), Status::DECLINE);
        assert_eq!(
            best(Status::NOT_ACCEPTABLE_HERE, Status::BUSY_HERE),
            Status::NOT_ACCEPTABLE_HERE
        );
        for other in [Status::NOT_ACCEPTABLE_HERE, Status::BUSY_HERE, Status::NOT_FOUND] {
            assert_eq!(best(Status::SERVICE_UNAVAILABLE, other), other);
            assert_eq!(best(other, Status::SERVICE_UNAVAILABLE), other);
        }
        // The lowest class of those that are told.
        let unreached = Status::SERVICE_UNAVAILABLE;
        assert_eq!(best(Status::SERVER_INTERNAL_ERROR, unreached), unreached);
    }

    #[test]
    fn nobody_is_challenged_for_a_phones_sake() {
        assert_eq!(passed_back(Status::UNAUTHORIZED), Status::TEMPORARILY_UNAVAILABLE);
        assert_eq!(passed_back(Status::BUSY_HERE), Status::BUSY_HERE);
    }

    #[test]
    fn a_phone_that_is_out_of_reach_is_no_error_of_ours() {
        let told = passed_back(Status::SERVICE_UNAVAILABLE);
        assert_eq!(told, Status::TEMPORARILY_UNAVAILABLE);
        let within = passed_back_within(Status::SERVICE_UNAVAILABLE);
        assert_eq!(
            within,
            Status::SERVER_INTERNAL_ERROR,
            "which leaves the call as it is"
        );
    }
}
