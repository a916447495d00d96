//! Dialogs (RFC 3261 §12): see [`Dialog`].

use crate::header::{HeaderName, NameAddr};
use crate::message::{Builder, Message};
use crate::method::Method;
use crate::text::Text;
use crate::uri::Uri;
use thiserror::Error;

/// What two user agents share between the request that began it and its end: tags, Call-ID, sequence numbers, the remote
/// target and the way there.
///
/// It prints the requests within it and judges the sequence of those that come. Nothing in it keeps a message's buffer
/// alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    call_id: Text,
    /// From of our requests, with our tag.
    local: NameAddr,
    /// To of our requests, with the peer's tag.
    remote: NameAddr,
    target: Uri,
    routes: Box<[NameAddr]>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    is_confirmed: bool,
}

/// A request came with a lower number than one before it; it gets a 500 (RFC 3261 §12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a CSeq above {last}")]
pub struct OutOfOrder {
    /// The highest so far.
    pub last: u32,
}

/// Record-Routes that are taken over; a longer set is no dialog.
const ROUTES: usize = 32;

impl Dialog {
    /// The callee's side: from the request that begins it and the tag that our responses carry. `first_cseq` is for the
    /// first request of ours. `None` without a Contact, or with a route set that cannot be used; a caller of RFC 2543, who has
    /// no tag, needs no Contact and is reached by its From.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.1.1
    pub fn uas(request: &Message, local_tag: &str, first_cseq: u32) -> Option<Dialog> {
        let local = match request.to_tag() {
            Some(_) => request.to().detached(),
            None => request.to().with_tag(local_tag),
        };
        Some(Dialog {
            call_id: request.call_id().detached(),
            local,
            remote: request.from().detached(),
            target: contact(request).or_else(|| {
                let is_old = request.from_tag().is_none();
                is_old.then(|| request.from().uri().without_headers().detached())
            })?,
            routes: routes(request, false)?,
            local_cseq: first_cseq.saturating_sub(1),
            remote_cseq: Some(request.cseq().number),
            is_confirmed: false,
        })
    }

    /// The caller's side: from our request and a response to it that has a To tag. A 2xx without Contact is taken all the
    /// same, with the URI that was dialled as target.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.1.2
    pub fn uac(request: &Message, response: &Message) -> Option<Dialog> {
        response.to_tag()?;
        Some(Dialog {
            call_id: request.call_id().detached(),
            local: request.from().detached(),
            remote: response.to().detached(),
            target: contact(response).or_else(|| Some(request.request_uri()?.detached()))?,
            routes: routes(response, true)?,
            local_cseq: request.cseq().number,
            remote_cseq: None,
            is_confirmed: response.status().is_some_and(|s| s.is_success()),
        })
    }

    /// The caller's side of a subscription, from our SUBSCRIBE (or REFER) and the NOTIFY that came before its response
    /// (RFC 6665 §4.4.1).
    pub fn notified(request: &Message, notify: &Message) -> Option<Dialog> {
        Some(Dialog {
            call_id: request.call_id().detached(),
            local: request.from().detached(),
            remote: notify.from().detached(),
            target: contact(notify)?,
            routes: routes(notify, false)?,
            local_cseq: request.cseq().number,
            remote_cseq: Some(notify.cseq().number),
            is_confirmed: true,
        })
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &Text {
        &self.call_id
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        self.local.tag().unwrap_or_default()
    }

    /// The peer's tag; empty for a peer of RFC 2543 that gives none.
    pub fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or_default()
    }

    /// From of our requests.
    pub fn local(&self) -> &NameAddr {
        &self.local
    }

    /// To of our requests.
    pub fn remote(&self) -> &NameAddr {
        &self.remote
    }

    /// Where the peer is, behind all routes.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// The way there, the next hop first.
    pub fn routes(&self) -> &[NameAddr] {
        &self.routes
    }

    /// Whether a 2xx made it whole; before, it is early.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// The number of our last request.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Whether a request or response of the peer's belongs here. The tags are the peer's view: for a request From is
    /// remote, for a response To is.
    pub fn is_of(&self, message: &Message) -> bool {
        let (local, remote) = match message.is_request() {
            true => (message.to_tag(), message.from_tag()),
            false => (message.from_tag(), message.to_tag()),
        };
        self.call_id == *message.call_id()
            && local == self.local.tag()
            && remote.unwrap_or_default() == self.remote_tag()
    }

    /// Where the next request goes: the first route, or the target.
    pub fn next_hop(&self) -> &Uri {
        self.routes.first().map_or(&self.target, |route| route.uri())
    }

    /// A 2xx came to the request that began it: the route set is that of the 2xx from now on.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-13.2.2.4
    pub fn confirm(&mut self, response: &Message) {
        self.is_confirmed = true;
        if let Some(routes) = routes(response, true) {
            self.routes = routes;
        }
        self.refresh_target(response);
    }

    /// We sent a 2xx to the request that began it.
    pub fn confirm_ours(&mut self) {
        self.is_confirmed = true;
    }

    /// Takes the Contact of a request or of a 2xx that refreshes the target; the route set never changes.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.2
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(target) = contact(message) {
            self.target = target;
        }
    }

    /// Takes note of a request's number; ACK and CANCEL are none of its business.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.2.2
    pub fn check_cseq(&mut self, request: &Message) -> Result<(), OutOfOrder> {
        let number = request.cseq().number;
        match self.remote_cseq {
            Some(last) if number <= last => Err(OutOfOrder { last }),
            _ => {
                self.remote_cseq = Some(number);
                Ok(())
            }
        }
    }

    /// The beginning of a request with the next number: all that a request within a dialog must have but Via and Contact.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-12.2.1.1
    pub fn request(&mut self, method: &Method) -> Builder {
        self.local_cseq += 1;
        self.print(method, self.local_cseq)
    }

    /// The Request-URI of requests within it.
    pub fn request_uri(&self) -> Uri {
        self.way().0
    }

    /// The beginning of the ACK to a 2xx, which has the number of its INVITE.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-13.2.2.4
    pub fn ack(&self, invite_cseq: u32) -> Builder {
        self.print(&Method::Ack, invite_cseq)
    }

    fn print(&self, method: &Method, cseq: u32) -> Builder {
        let (uri, routes) = self.way();
        let mut builder = Builder::request(method, &uri);
        for route in routes {
            builder.header(HeaderName::Route, route);
        }
        builder
            .header(HeaderName::MaxForwards, 70)
            .header(HeaderName::From, &self.local)
            .header(HeaderName::To, &self.remote)
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, format_args!("{cseq} {method}"));
        builder
    }

    /// Request-URI and Routes; a strict router wants itself in the Request-URI and the target last.
    fn way(&self) -> (Uri, Vec<NameAddr>) {
        match self.routes.split_first() {
            Some((first, rest)) if !first.uri().has_param("lr") => {
                let last = NameAddr::new(&self.target);
                let uri = first.uri().without_headers().without_param("method");
                (uri, rest.iter().cloned().chain([last]).collect())
            }
            _ => (self.target.clone(), self.routes.to_vec()),
        }
    }
}

fn contact(message: &Message) -> Option<Uri> {
    Some(message.contact()?.uri().without_headers().detached())
}

/// The Record-Routes of a message, last first for the caller's side.
fn routes(message: &Message, reversed: bool) -> Option<Box<[NameAddr]>> {
    let mut routes = Vec::new();
    for route in message.addresses(HeaderName::RecordRoute) {
        if routes.len() == ROUTES {
            return None;
        }
        routes.push(route.ok()?.detached());
    }
    if reversed {
        routes.reverse();
    }
    Some(routes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    const INVITE: &str = "INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\n\
        Record-Route: <sip:p2.example;lr>\r\nRecord-Route: <sip:p1.example;lr>, <sip:p0.example>\r\n\
        From: \"Alice\" <sip:alice@a.example>;tag=a\r\nTo: <sip:bob@b.example>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:alice@192.0.2.9:5070?Subject=x>\r\nContent-Length: 0\r\n\r\n";

    fn invite() -> Message {
        Message::parse(INVITE.into()).unwrap()
    }

    fn printed(mut builder: Builder) -> Message {
        let via = "Via: SIP/2.0/UDP x;branch=z9hG4bKx\r\n";
        let text = String::from_utf8(builder.finish().to_vec()).unwrap();
        Message::parse(text.replacen("\r\n", &format!("\r\n{via}"), 1).into()).unwrap()
    }

    fn routes_of(message: &Message) -> Vec<String> {
        message.lines(HeaderName::Route).map(str::to_owned).collect()
    }

    fn response(contact: &str, record_routes: &[&str]) -> Message {
        let mut builder = Builder::response(&invite(), Status::OK, "b");
        let text = builder.header(HeaderName::Contact, contact).finish();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let mut lines: Vec<&str> = text
            .split("\r\n")
            .filter(|l| !l.starts_with("Record-Route"))
            .collect();
        let routes: Vec<String> = record_routes
            .iter()
            .map(|r| format!("Record-Route: {r}"))
            .collect();
        lines.splice(1..1, routes.iter().map(String::as_str));
        Message::parse(lines.join("\r\n").into()).unwrap()
    }

    // Guards pitfall SIP 4: the route set rules every request; two Record-Routes stay two.
    #[test]
    fn the_callee_follows_the_record_routes_in_order() {
        let mut d = Dialog::uas(&invite(), "b", 100).unwrap();
        let bye = printed(d.request(&Method::Bye));
        assert_eq!(
            bye.request_uri().unwrap().as_str(),
            "sip:alice@192.0.2.9:5070",
            "headers never go along"
        );
        assert_eq!(
            routes_of(&bye),
            ["<sip:p2.example;lr>", "<sip:p1.example;lr>", "<sip:p0.example>"]
        );
        assert_eq!(bye.to().to_string(), "\"Alice\" <sip:alice@a.example>;tag=a");
        assert_eq!(bye.from_tag(), Some("b"));
        assert_eq!(bye.cseq().number, 100);
        assert_eq!(printed(d.request(&Method::Info)).cseq().number, 101);
        assert_eq!(d.next_hop().as_str(), "sip:p2.example;lr");
    }

    #[test]
    fn the_caller_follows_them_in_reverse() {
        let ok = response(
            "<sip:bob@192.0.2.10>",
            &["<sip:p2.example:5060;transport=tcp;lr>", "<sip:p2.example;lr>"],
        );
        let mut d = Dialog::uac(&invite(), &ok).unwrap();
        let info = printed(d.request(&Method::Info));
        assert_eq!(info.request_uri().unwrap().as_str(), "sip:bob@192.0.2.10");
        assert_eq!(
            routes_of(&info),
            ["<sip:p2.example;lr>", "<sip:p2.example:5060;transport=tcp;lr>"]
        );
        assert_eq!((info.cseq().number, info.to_tag()), (8, Some("b")));
        let ack = printed(d.ack(7));
        assert_eq!((ack.cseq().number, ack.cseq().method.clone()), (7, Method::Ack));
        assert_eq!(routes_of(&ack), routes_of(&info));
    }

    // Guards pitfall SIP 4: strict routers.
    #[test]
    fn a_strict_router_gets_itself_as_request_uri_and_the_target_last() {
        let ok = response(
            "<sip:bob@192.0.2.10>",
            &["<sip:p1.example;lr>", "<sip:strict.example;maddr=10.0.0.1>"],
        );
        let mut d = Dialog::uac(&invite(), &ok).unwrap();
        let bye = printed(d.request(&Method::Bye));
        assert_eq!(
            bye.request_uri().unwrap().as_str(),
            "sip:strict.example;maddr=10.0.0.1"
        );
        assert_eq!(routes_of(&bye), ["<sip:p1.example;lr>", "<sip:bob@192.0.2.10>"]);
    }

    // Guards pitfall SIP 4: target refresh changes the target and nothing else.
    #[test]
    fn a_target_refresh_leaves_the_routes() {
        let mut d = Dialog::uac(
            &invite(),
            &response("<sip:bob@192.0.2.10>", &["<sip:p1.example;lr>"]),
        )
        .unwrap();
        d.refresh_target(&response("<sip:bob@192.0.2.77>", &["<sip:p9.example;lr>"]));
        let info = printed(d.request(&Method::Info));
        assert_eq!(info.request_uri().unwrap().as_str(), "sip:bob@192.0.2.77");
        assert_eq!(routes_of(&info), ["<sip:p1.example;lr>"]);
        d.confirm(&response("<sip:bob@192.0.2.78>", &["<sip:p9.example;lr>"]));
        assert_eq!(
            d.next_hop().as_str(),
            "sip:p9.example;lr",
            "the 2xx rules over the provisional's"
        );
    }

    #[test]
    fn requests_must_come_in_sequence() {
        let mut d = Dialog::uas(&invite(), "b", 1).unwrap();
        let with_cseq = |n: u32| {
            let text = INVITE.replace("CSeq: 7", &format!("CSeq: {n}"));
            Message::parse(text.into()).unwrap()
        };
        assert_eq!(d.check_cseq(&with_cseq(7)), Err(OutOfOrder { last: 7 }));
        assert_eq!(d.check_cseq(&with_cseq(12)), Ok(()), "gaps are no error");
        assert_eq!(d.check_cseq(&with_cseq(11)), Err(OutOfOrder { last: 12 }));
    }

    #[test]
    fn messages_are_told_apart_by_call_id_and_both_tags() {
        let d = Dialog::uac(&invite(), &response("<sip:bob@192.0.2.10>", &[])).unwrap();
        let text = "BYE sip:alice@a SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bKb\r\nFrom: <sip:bob@b.example>;tag=b\r\n\
            To: <sip:alice@a.example>;tag=a\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n";
        let is_of = |text: String| d.is_of(&Message::parse(text.into()).unwrap());
        assert!(is_of(text.to_owned()));
        for (from, to) in [
            ("tag=b", "tag=x"),
            ("tag=a", "tag=x"),
            ("Call-ID: c", "Call-ID: C"),
        ] {
            assert!(!is_of(text.replace(from, to)));
        }
    }

    #[test]
    fn what_makes_no_dialog() {
        let without = |line: &str| {
            let text: Vec<&str> = INVITE.split("\r\n").filter(|l| !l.starts_with(line)).collect();
            Message::parse(text.join("\r\n").into()).unwrap()
        };
        assert!(Dialog::uas(&without("Contact"), "b", 1).is_none());
        let old = without("Contact").bytes().clone();
        let old = String::from_utf8(old.to_vec()).unwrap().replace(";tag=a", "");
        let dialog = Dialog::uas(&Message::parse(old.into()).unwrap(), "b", 1).unwrap();
        assert_eq!(
            (dialog.target().as_str(), dialog.remote_tag()),
            ("sip:alice@a.example", "")
        );
        let mut no_tag = Builder::response(&invite(), Status::TRYING, "");
        assert!(Dialog::uac(&invite(), &no_tag.build().unwrap()).is_none());
    }
}
