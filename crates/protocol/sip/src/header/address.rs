use super::params::{Params, check_params};
use crate::syntax::{Malformed, Scan, Span, is_token, is_ws, quote, trim, unquote};
use crate::text::Text;
use crate::uri::{Parts, Uri};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A URI with an optional display name and parameters: the value of From, To, Contact, Route, Record-Route, Refer-To,
/// P-Asserted-Identity and others (RFC 3261 §20.10, §25.1 `name-addr / addr-spec`).
#[derive(Clone, PartialEq, Eq)]
pub struct NameAddr {
    text: Text,
    display: Option<Span>,
    uri: Uri,
    params: Span,
}

/// Where the parts of an address lie in its text.
struct Layout {
    display: Option<Span>,
    uri: Span,
    parts: Parts,
    params: Span,
}

impl Layout {
    fn read(raw: &str) -> Result<Layout, Malformed> {
        let mut scan = Scan::new(raw);
        scan.ws();
        let display = display(&mut scan)?;
        let uri = match scan.take(b'<') {
            true => bracketed(&mut scan)?,
            false => bare(&mut scan)?,
        };
        let parts = Parts::read(uri.of(raw)).map_err(|e| Malformed {
            offset: e.offset + uri.range().start,
            ..e
        })?;
        let from = scan.at();
        check_params(&mut scan)?;
        let params = Span::new(from, scan.at());
        scan.end()?;
        Ok(Layout {
            display,
            uri,
            parts,
            params,
        })
    }
}

impl NameAddr {
    /// Reads one value, the whole of `text`.
    pub fn parse(text: Text) -> Result<NameAddr, Malformed> {
        let Layout {
            display,
            uri,
            parts,
            params,
        } = Layout::read(&text)?;
        let uri = Uri::from_parts(text.slice(uri.range()), parts);
        Ok(NameAddr {
            text,
            display,
            uri,
            params,
        })
    }

    /// What [`NameAddr::parse`] would say of a text.
    pub(crate) fn check(text: &str) -> Result<(), Malformed> {
        Layout::read(text).map(|_| ())
    }

    /// The address of a URI alone.
    pub fn new(uri: &Uri) -> NameAddr {
        NameAddr::compose("", uri, "")
    }

    /// The same with another display name; an empty one takes it away.
    pub fn with_display(&self, display: &str) -> NameAddr {
        let quoted = if display.is_empty() {
            String::new()
        } else {
            quote(display)
        };
        NameAddr::compose(&quoted, &self.uri, self.params.of(&self.text))
    }

    /// The same with another URI.
    pub fn with_uri(&self, uri: &Uri) -> NameAddr {
        NameAddr::compose(self.display_raw(), uri, self.params.of(&self.text))
    }

    /// The same with a header parameter put behind the others, in place of an earlier one of that name. A value that
    /// is not a token is quoted.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> NameAddr {
        let mut params = self.params_except(name);
        push_param(&mut params, name, value);
        NameAddr::compose(self.display_raw(), &self.uri, &params)
    }

    /// The same without its header parameters of that name.
    pub fn without_param(&self, name: &str) -> NameAddr {
        NameAddr::compose(self.display_raw(), &self.uri, &self.params_except(name))
    }

    /// The same without any header parameter.
    pub fn without_params(&self) -> NameAddr {
        NameAddr::compose(self.display_raw(), &self.uri, "")
    }

    /// The same with that tag.
    pub fn with_tag(&self, tag: &str) -> NameAddr {
        self.with_param("tag", Some(tag))
    }

    /// A copy that does not keep the message's buffer alive.
    pub fn detached(&self) -> NameAddr {
        NameAddr::compose(self.display_raw(), &self.uri, self.params.of(&self.text))
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The display name without quotes and escapes.
    pub fn display(&self) -> Option<Cow<'_, str>> {
        self.display.map(|span| unquote(span.of(&self.text)))
    }

    fn display_raw(&self) -> &str {
        self.display.map_or("", |span| span.of(&self.text))
    }

    /// The header parameters.
    pub fn params(&self) -> Params<'_> {
        Params::new(self.params.of(&self.text))
    }

    /// The tag of From and To.
    pub fn tag(&self) -> Option<&str> {
        self.params().raw("tag")
    }

    /// A Contact's `expires` in seconds; `None` when it is absent or not a number below 2^32, so that the
    /// default applies (RFC 3261 §10.2.1.1 and §20.10).
    pub fn expires_s(&self) -> Option<u32> {
        self.params().raw("expires")?.parse().ok()
    }

    /// A Contact's `q` in thousandths, 1000 when absent or malformed.
    pub fn q_thousandths(&self) -> u16 {
        self.params().raw("q").and_then(q_value).unwrap_or(1000)
    }

    /// The value as it stands in the message.
    pub fn as_str(&self) -> &str {
        trim(self.text.as_str())
    }

    fn params_except(&self, name: &str) -> String {
        let mut params = String::with_capacity(64);
        for (n, v) in self
            .params()
            .iter()
            .filter(|(n, _)| !n.eq_ignore_ascii_case(name))
        {
            params.push(';');
            params.push_str(n);
            if let Some(v) = v {
                params.push('=');
                params.push_str(v);
            }
        }
        params
    }

    fn compose(display: &str, uri: &Uri, params: &str) -> NameAddr {
        let display = crate::syntax::unfold(display);
        let space = if display.is_empty() { "" } else { " " };
        let text = format!("{display}{space}<{uri}>{}", crate::syntax::unfold(params));
        NameAddr::parse(text.into()).expect("an address put together from checked parts is one")
    }
}

fn push_param(params: &mut String, name: &str, value: Option<&str>) {
    debug_assert!(crate::syntax::is_all_token(name), "a parameter's name is a token");
    params.push(';');
    params.push_str(name);
    if let Some(value) = value {
        params.push('=');
        match crate::syntax::is_all_token(value) {
            true => params.push_str(value),
            false => params.push_str(&quote(value)),
        }
    }
}

/// `[ display-name ]` up to the opening bracket; nothing is taken from an address without brackets.
fn display(scan: &mut Scan<'_>) -> Result<Option<Span>, Malformed> {
    let from = scan.at();
    if scan.peek() == Some(b'"') {
        scan.quoted()?;
        let to = scan.at();
        scan.ws();
        return match scan.peek() {
            Some(b'<') => Ok(Some(Span::new(from, to))),
            _ => scan.fail("< behind the display name"),
        };
    }
    let mut to = from;
    // RFC 4475 §3.1.1.6: no whitespace is needed before the bracket.
    loop {
        let token = scan.run(is_token);
        if token.is_empty() {
            break;
        }
        to = scan.at();
        scan.ws();
    }
    if scan.peek() == Some(b'<') {
        return Ok((to > from).then(|| Span::new(from, to)));
    }
    scan.jump(from);
    Ok(None)
}

fn bracketed(scan: &mut Scan<'_>) -> Result<Span, Malformed> {
    let from = scan.at();
    scan.run(|b| b != b'>');
    let uri = Span::new(from, scan.at());
    scan.expect(b'>', "> behind the URI")?;
    Ok(uri)
}

/// An addr-spec, in which a semicolon begins the header's parameters and not the URI's, and which may hold no comma
/// and no question mark.
//= https://www.rfc-editor.org/rfc/rfc3261#section-20
fn bare(scan: &mut Scan<'_>) -> Result<Span, Malformed> {
    let from = scan.at();
    scan.run(|b| !is_ws(b) && !b";,?<>\"".contains(&b));
    match scan.peek() {
        Some(b'?' | b',' | b'<' | b'>' | b'"') => scan.fail("< around a URI with such a character"),
        _ => Ok(Span::new(from, scan.at())),
    }
}

/// `qvalue` in thousandths.
pub(crate) fn q_value(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    let whole: u16 = whole
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| whole.parse().ok())??;
    let fraction: u16 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<3}").parse().ok()?
    };
    let q = whole.checked_mul(1000)?.checked_add(fraction)?;
    (digits && q <= 1000).then_some(q)
}

impl FromStr for NameAddr {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<NameAddr, Malformed> {
        NameAddr::parse(text.into())
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameAddr({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> NameAddr {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn the_forms_of_the_rfc_are_read() {
        let a = addr("\"A. G. \\\"B\\\"\" <sip:agb@bell.com;lr> ;tag=a48s;x=\"y;z\"");
        assert_eq!(a.display().unwrap(), "A. G. \"B\"");
        assert_eq!(a.uri().as_str(), "sip:agb@bell.com;lr");
        assert_eq!(
            (a.tag(), a.params().value("x").unwrap().as_ref()),
            (Some("a48s"), "y;z")
        );
        let a = addr("sip:+12125551212@server.phone2net.com;tag=887s");
        assert_eq!(
            (a.uri().as_str(), a.tag()),
            ("sip:+12125551212@server.phone2net.com", Some("887s"))
        );
        assert_eq!(a.uri().params().count(), 0);
        assert_eq!(
            addr("Anonymous   Coward<sip:c8oqz84zk7z@privacy.org>")
                .display()
                .unwrap(),
            "Anonymous   Coward"
        );
        assert_eq!(addr(" <sip:x>").display(), None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "<sip:a@b",
            "\"x <sip:a@b>",
            "\"x\" sip:a@b",
            "Bell, A <sip:a@b>",
            "< sip:a@b >",
            "sip:a@b?c=d",
            "<sip:a@b>;;",
            "<sip:a@b> x",
            "sip:a,b@c",
            "<sip:a@b>,<sip:c@d>",
            "x",
            "<>",
        ] {
            assert!(NameAddr::from_str(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_replaced() {
        let a = addr("Bob <sip:bob@b.com>;q=0.5;expires=60");
        assert_eq!(
            a.with_tag("77").to_string(),
            "Bob <sip:bob@b.com>;q=0.5;expires=60;tag=77"
        );
        assert_eq!(a.without_param("Q").to_string(), "Bob <sip:bob@b.com>;expires=60");
        assert_eq!(
            a.with_display("a \"b\"\n").to_string(),
            "\"a \\\"b\\\" \" <sip:bob@b.com>;q=0.5;expires=60"
        );
        assert_eq!((a.q_thousandths(), a.expires_s()), (500, Some(60)));
        assert_eq!(a.with_param("x", Some("a b")).params().raw("x"), Some("\"a b\""));
    }

    #[test]
    fn q_has_three_digits_and_is_at_most_one() {
        assert_eq!(
            [q_value("1"), q_value("1.000"), q_value("0.33"), q_value("0.")],
            [Some(1000), Some(1000), Some(330), Some(0)]
        );
        assert_eq!(
            [q_value("1.001"), q_value("0.1234"), q_value("-1"), q_value("")],
            [None; 4]
        );
    }
}
