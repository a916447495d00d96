//! Status codes (RFC 2326 §7.1.1).

use std::fmt;

/// A status code of a response, 100–599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status($code);)*

            /// Every status that RFC 2326 §7.1.1 lists.
            pub const ALL: &[Status] = &[$(Status::$name),*];

            /// The recommended reason phrase; for a code that is not listed, its class's.
            //= https://www.rfc-editor.org/rfc/rfc2326#section-7.1.1
            pub const fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    100..=199 => "Continue",
                    200..=299 => "OK",
                    300..=399 => "Multiple Choices",
                    400..=499 => "Bad Request",
                    _ => "Internal Server Error",
                }
            }
        }
    };
}

statuses! {
    /// 100
    CONTINUE = 100, "Continue";
    /// 200
    OK = 200, "OK";
    /// 201
    CREATED = 201, "Created";
    /// 250
    LOW_ON_STORAGE_SPACE = 250, "Low on Storage Space";
    /// 300
    MULTIPLE_CHOICES = 300, "Multiple Choices";
    /// 301
    MOVED_PERMANENTLY = 301, "Moved Permanently";
    /// 302
    MOVED_TEMPORARILY = 302, "Moved Temporarily";
    /// 303
    SEE_OTHER = 303, "See Other";
    /// 304
    NOT_MODIFIED = 304, "Not Modified";
    /// 305
    USE_PROXY = 305, "Use Proxy";
    /// 400
    BAD_REQUEST = 400, "Bad Request";
    /// 401
    UNAUTHORIZED = 401, "Unauthorized";
    /// 402
    PAYMENT_REQUIRED = 402, "Payment Required";
    /// 403
    FORBIDDEN = 403, "Forbidden";
    /// 404
    NOT_FOUND = 404, "Not Found";
    /// 405, with Allow
    METHOD_NOT_ALLOWED = 405, "Method Not Allowed";
    /// 406
    NOT_ACCEPTABLE = 406, "Not Acceptable";
    /// 407
    PROXY_AUTHENTICATION_REQUIRED = 407, "Proxy Authentication Required";
    /// 408
    REQUEST_TIMEOUT = 408, "Request Time-out";
    /// 410
    GONE = 410, "Gone";
    /// 411
    LENGTH_REQUIRED = 411, "Length Required";
    /// 412
    PRECONDITION_FAILED = 412, "Precondition Failed";
    /// 413
    REQUEST_ENTITY_TOO_LARGE = 413, "Request Entity Too Large";
    /// 414
    REQUEST_URI_TOO_LARGE = 414, "Request-URI Too Large";
    /// 415
    UNSUPPORTED_MEDIA_TYPE = 415, "Unsupported Media Type";
    /// 451
    PARAMETER_NOT_UNDERSTOOD = 451, "Parameter Not Understood";
    /// 452
    CONFERENCE_NOT_FOUND = 452, "Conference Not Found";
    /// 453
    NOT_ENOUGH_BANDWIDTH = 453, "Not Enough Bandwidth";
    /// 454
    SESSION_NOT_FOUND = 454, "Session Not Found";
    /// 455, with Allow
    METHOD_NOT_VALID_IN_THIS_STATE = 455, "Method Not Valid in This State";
    /// 456
    HEADER_FIELD_NOT_VALID = 456, "Header Field Not Valid for Resource";
    /// 457
    INVALID_RANGE = 457, "Invalid Range";
    /// 458
    PARAMETER_IS_READ_ONLY = 458, "Parameter Is Read-Only";
    /// 459
    AGGREGATE_OPERATION_NOT_ALLOWED = 459, "Aggregate operation not allowed";
    /// 460
    ONLY_AGGREGATE_OPERATION_ALLOWED = 460, "Only aggregate operation allowed";
    /// 461
    UNSUPPORTED_TRANSPORT = 461, "Unsupported transport";
    /// 462
    DESTINATION_UNREACHABLE = 462, "Destination unreachable";
    /// 500
    INTERNAL_SERVER_ERROR = 500, "Internal Server Error";
    /// 501
    NOT_IMPLEMENTED = 501, "Not Implemented";
    /// 502
    BAD_GATEWAY = 502, "Bad Gateway";
    /// 503
    SERVICE_UNAVAILABLE = 503, "Service Unavailable";
    /// 504
    GATEWAY_TIMEOUT = 504, "Gateway Time-out";
    /// 505
    VERSION_NOT_SUPPORTED = 505, "RTSP Version not supported";
    /// 551, with Unsupported
    OPTION_NOT_SUPPORTED = 551, "Option not supported";
}

impl Status {
    /// A status of this code; `None` outside 100–599.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            100..=599 => Some(Status(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// 1xx: another response follows.
    pub const fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 2xx.
    pub const fn is_success(self) -> bool {
        matches!(self.0, 200..=299)
    }

    /// 3xx.
    pub const fn is_redirection(self) -> bool {
        matches!(self.0, 300..=399)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_its_class() {
        assert_eq!(Status::new(431).unwrap().reason(), "Bad Request");
        assert!(Status::new(299).unwrap().is_success());
        assert_eq!(Status::new(99), None);
        assert_eq!(Status::new(600), None);
        assert_eq!(Status::ALL.len(), 44);
        assert_eq!(
            Status::METHOD_NOT_VALID_IN_THIS_STATE.to_string(),
            "455 Method Not Valid in This State"
        );
    }
}
