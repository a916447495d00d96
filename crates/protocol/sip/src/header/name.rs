use std::fmt;

#[cfg(test)]
macro_rules! compact {
    () => {
        b""
    };
    ($compact:literal) => {
        $compact
    };
}

macro_rules! names {
    ($($variant:ident $name:literal $lower:literal $(| $compact:literal)?;)*) => {
        /// The header fields that something here reads, or that have a compact form.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum HeaderName {
            $($variant,)*
            /// Any header field that is not in the list; its name stands in the message.
            Other,
        }

        impl HeaderName {
            /// Finds a name in any case, in its long or its compact form (RFC 3261 §7.3.1, §7.3.3).
            pub fn find(name: &str) -> HeaderName {
                HeaderName::find_bytes(name.as_bytes())
            }

            pub(crate) fn find_bytes(name: &[u8]) -> HeaderName {
                let mut lower = [0; LONGEST];
                let Some(lower) = lower.get_mut(..name.len()) else { return HeaderName::Other };
                for (to, from) in lower.iter_mut().zip(name) {
                    *to = from.to_ascii_lowercase();
                }
                match &*lower {
                    $($lower $(| $compact)? => HeaderName::$variant,)*
                    _ => HeaderName::Other,
                }
            }

            /// The long form as the RFCs spell it; empty for [`HeaderName::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => $name,)*
                    HeaderName::Other => "",
                }
            }
        }

        #[cfg(test)]
        const ALL: &[(HeaderName, &str, &[u8], &[u8])] = &[
            $((HeaderName::$variant, $name, $lower, compact!($($compact)?)),)*
        ];
    };
}

/// The longest known name, in bytes.
const LONGEST: usize = 25;

names! {
    Accept "Accept" b"accept";
    AcceptContact "Accept-Contact" b"accept-contact" | b"a";
    AcceptEncoding "Accept-Encoding" b"accept-encoding";
    AcceptLanguage "Accept-Language" b"accept-language";
    AlertInfo "Alert-Info" b"alert-info";
    Allow "Allow" b"allow";
    AllowEvents "Allow-Events" b"allow-events" | b"u";
    AuthenticationInfo "Authentication-Info" b"authentication-info";
    Authorization "Authorization" b"authorization";
    CallId "Call-ID" b"call-id" | b"i";
    CallInfo "Call-Info" b"call-info";
    Contact "Contact" b"contact" | b"m";
    ContentDisposition "Content-Disposition" b"content-disposition";
    ContentEncoding "Content-Encoding" b"content-encoding" | b"e";
    ContentLanguage "Content-Language" b"content-language";
    ContentLength "Content-Length" b"content-length" | b"l";
    ContentTransferEncoding "Content-Transfer-Encoding" b"content-transfer-encoding";
    ContentType "Content-Type" b"content-type" | b"c";
    CSeq "CSeq" b"cseq";
    Date "Date" b"date";
    Diversion "Diversion" b"diversion";
    ErrorInfo "Error-Info" b"error-info";
    Event "Event" b"event" | b"o";
    Expires "Expires" b"expires";
    From "From" b"from" | b"f";
    HistoryInfo "History-Info" b"history-info";
    Identity "Identity" b"identity" | b"y";
    InReplyTo "In-Reply-To" b"in-reply-to";
    Join "Join" b"join";
    MaxBreadth "Max-Breadth" b"max-breadth";
    MaxForwards "Max-Forwards" b"max-forwards";
    MimeVersion "MIME-Version" b"mime-version";
    MinExpires "Min-Expires" b"min-expires";
    MinSe "Min-SE" b"min-se";
    Organization "Organization" b"organization";
    PAssertedIdentity "P-Asserted-Identity" b"p-asserted-identity";
    PPreferredIdentity "P-Preferred-Identity" b"p-preferred-identity";
    Path "Path" b"path";
    Priority "Priority" b"priority";
    Privacy "Privacy" b"privacy";
    ProxyAuthenticate "Proxy-Authenticate" b"proxy-authenticate";
    ProxyAuthorization "Proxy-Authorization" b"proxy-authorization";
    ProxyRequire "Proxy-Require" b"proxy-require";
    RAck "RAck" b"rack";
    Reason "Reason" b"reason";
    RecordRoute "Record-Route" b"record-route";
    ReferSub "Refer-Sub" b"refer-sub";
    ReferTo "Refer-To" b"refer-to" | b"r";
    ReferredBy "Referred-By" b"referred-by" | b"b";
    RejectContact "Reject-Contact" b"reject-contact" | b"j";
    RemotePartyId "Remote-Party-ID" b"remote-party-id";
    Replaces "Replaces" b"replaces";
    ReplyTo "Reply-To" b"reply-to";
    RequestDisposition "Request-Disposition" b"request-disposition" | b"d";
    Require "Require" b"require";
    RetryAfter "Retry-After" b"retry-after";
    Route "Route" b"route";
    RSeq "RSeq" b"rseq";
    Server "Server" b"server";
    ServiceRoute "Service-Route" b"service-route";
    SessionExpires "Session-Expires" b"session-expires" | b"x";
    SipETag "SIP-ETag" b"sip-etag";
    SipIfMatch "SIP-If-Match" b"sip-if-match";
    Subject "Subject" b"subject" | b"s";
    SubscriptionState "Subscription-State" b"subscription-state";
    Supported "Supported" b"supported" | b"k";
    Timestamp "Timestamp" b"timestamp";
    To "To" b"to" | b"t";
    Unsupported "Unsupported" b"unsupported";
    UserAgent "User-Agent" b"user-agent";
    Via "Via" b"via" | b"v";
    Warning "Warning" b"warning";
    WwwAuthenticate "WWW-Authenticate" b"www-authenticate";
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Guards pitfall SIP 9: compact names everywhere.
    #[test]
    fn every_name_is_found_in_any_case_and_in_its_compact_form() {
        for &(header, name, lower, compact) in ALL {
            assert_eq!(name.to_ascii_lowercase().as_bytes(), lower);
            assert!(name.len() <= LONGEST);
            assert_eq!(HeaderName::find(name), header);
            assert_eq!(HeaderName::find(&name.to_ascii_uppercase()), header);
            if !compact.is_empty() {
                assert_eq!(HeaderName::find_bytes(compact), header);
                assert_eq!(HeaderName::find_bytes(&compact.to_ascii_uppercase()), header);
            }
        }
        assert_eq!(HeaderName::find("C%6Fntact"), HeaderName::Other);
        assert_eq!(HeaderName::find(&"x".repeat(300)), HeaderName::Other);
    }
}
