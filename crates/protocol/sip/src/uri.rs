use crate::syntax::{
    Malformed, Scan, Span, escaped, is_host, is_uri_header, is_uri_param, is_user, unescape,
};
use crate::text::Text;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What a URI's scheme says about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Scheme {
    Sip,
    Sips,
    /// A telephone number (RFC 3966): [`Uri::user`] is the number.
    Tel,
    /// Kept whole and not looked into.
    Other,
}

/// A host as it stands in a URI or a Via.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// A domain name; compare it in any case.
    Name(&'a str),
    /// An address; IPv6 stands in brackets when printed.
    Ip(IpAddr),
}

impl Host<'_> {
    /// The address, when it is one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(ip),
            Host::Name(_) => None,
        }
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (Host::Ip(a), Host::Ip(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl From<IpAddr> for Host<'_> {
    fn from(ip: IpAddr) -> Self {
        Host::Ip(ip)
    }
}

/// A host inside some text, already read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostSpan {
    Name(Span),
    Ip(IpAddr),
}

impl HostSpan {
    pub(crate) fn of(self, text: &str) -> Host<'_> {
        match self {
            HostSpan::Name(span) => Host::Name(span.of(text)),
            HostSpan::Ip(ip) => Host::Ip(ip),
        }
    }
}

/// A SIP, SIPS or other URI, checked against its grammar once (RFC 3261 §19.1.1, §25.1).
///
/// `==` compares the text; [`Uri::equivalent`] applies the rules of §19.1.4.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    text: Text,
    parts: Parts,
}

/// Where the parts of a URI lie in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    scheme: Scheme,
    user: Option<Span>,
    password: Option<Span>,
    host: Option<HostSpan>,
    port: Option<u16>,
    params: Span,
    headers: Option<Span>,
}

impl Parts {
    /// Reads a whole text as a URI.
    pub(crate) fn read(raw: &str) -> Result<Parts, Malformed> {
        let mut scan = Scan::new(raw);
        match scheme(&mut scan)? {
            scheme @ (Scheme::Sip | Scheme::Sips) => sip_parts(&mut scan, scheme),
            Scheme::Tel => tel_parts(&mut scan),
            Scheme::Other => opaque_part(&mut scan),
        }
    }

    const fn of(scheme: Scheme, params: Span) -> Parts {
        Parts {
            scheme,
            user: None,
            password: None,
            host: None,
            port: None,
            params,
            headers: None,
        }
    }
}

impl Uri {
    /// Reads a whole text as a URI.
    pub fn parse(text: Text) -> Result<Uri, Malformed> {
        let parts = Parts::read(&text)?;
        Ok(Uri { text, parts })
    }

    /// A text that has been read already.
    pub(crate) const fn from_parts(text: Text, parts: Parts) -> Uri {
        Uri { text, parts }
    }

    /// A SIP URI of `user` (escaped as needed) at a host and port. The host must be a domain name or an address in
    /// the form that URIs have.
    pub fn sip(user: Option<&str>, host: Host<'_>, port: Option<u16>) -> Result<Uri, Malformed> {
        let mut text = String::with_capacity(48);
        text.push_str("sip:");
        if let Some(user) = user {
            escape_user(user, &mut text);
            text.push('@');
        }
        text.push_str(&host.to_string());
        if let Some(port) = port {
            text.push_str(&format!(":{port}"));
        }
        Uri::parse(text.into())
    }

    /// The same URI with a parameter put behind the others, in place of an earlier one of that name. `value` must be
    /// written as it stands in a URI, escapes included.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Result<Uri, Malformed> {
        let raw = self.text.as_str();
        let mut text = String::with_capacity(raw.len() + name.len() + 16);
        text.push_str(&raw[..self.parts.params.range().start]);
        for (n, v) in self.params().filter(|(n, _)| !same(n, name)) {
            push_param(&mut text, n, v);
        }
        push_param(&mut text, name, value);
        text.push_str(&raw[self.parts.params.range().end..]);
        Uri::parse(text.into())
    }

    /// The same URI without its parameters of that name.
    pub fn without_param(&self, name: &str) -> Uri {
        if !self.has_param(name) {
            return self.clone();
        }
        let raw = self.text.as_str();
        let mut text = String::with_capacity(raw.len());
        text.push_str(&raw[..self.parts.params.range().start]);
        for (n, v) in self.params().filter(|(n, _)| !same(n, name)) {
            push_param(&mut text, n, v);
        }
        text.push_str(&raw[self.parts.params.range().end..]);
        Uri::parse(text.into()).expect("a URI stays one when a parameter is taken out")
    }

    /// The same URI without its headers, as a Request-URI must be (RFC 3261 §19.1.1, table 1).
    pub fn without_headers(&self) -> Uri {
        match self.parts.headers {
            None => self.clone(),
            Some(_) => Uri {
                text: self.text.slice(0..self.parts.params.range().end),
                parts: Parts {
                    headers: None,
                    ..self.parts
                },
            },
        }
    }

    /// A copy that does not keep the message's buffer alive.
    pub fn detached(&self) -> Uri {
        Uri {
            text: self.text.detached(),
            parts: self.parts,
        }
    }

    /// The URI as it stands.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The kind of scheme.
    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// The scheme's name as it stands.
    pub fn scheme_name(&self) -> &str {
        self.as_str().split(':').next().unwrap_or_default()
    }

    /// Whether it is a SIP or SIPS URI.
    pub fn is_sip(&self) -> bool {
        matches!(self.parts.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user part as it stands, escapes and parameters included; for `tel:` the number.
    pub fn user(&self) -> Option<&str> {
        self.parts.user.map(|span| span.of(self.as_str()))
    }

    /// The user part with its escapes decoded, once. Bytes, since an escape may stand for any byte.
    pub fn user_unescaped(&self) -> Option<Cow<'_, [u8]>> {
        self.user().map(unescape)
    }

    /// The password as it stands.
    pub fn password(&self) -> Option<&str> {
        self.parts.password.map(|span| span.of(self.as_str()))
    }

    /// The host; `None` unless [`Uri::is_sip`].
    pub fn host(&self) -> Option<Host<'_>> {
        self.parts.host.map(|host| host.of(self.as_str()))
    }

    /// The port, if written.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// Each parameter's name and value as they stand, escapes included.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.parts
            .params
            .of(self.as_str())
            .split(';')
            .skip(1)
            .map(|param| match param.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (param, None),
            })
    }

    /// The value of a parameter with its escapes decoded; names match in any case.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.params().find(|(n, _)| same(n, name))?;
        Some(match unescape(value?) {
            Cow::Borrowed(_) => Cow::Borrowed(value?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    /// Whether there is a parameter of that name, with or without a value (`lr`).
    pub fn has_param(&self, name: &str) -> bool {
        self.params().any(|(n, _)| same(n, name))
    }

    /// Each header behind the question mark, name and value as they stand.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = self.parts.headers.map_or("", |span| span.of(self.as_str()));
        text.split('&')
            .filter(|h| !h.is_empty())
            .map(|h| h.split_once('=').unwrap_or((h, "")))
    }

    /// Whether there are headers behind a question mark.
    pub fn has_headers(&self) -> bool {
        self.parts.headers.is_some()
    }

    /// Whether both name the same resource by the rules of RFC 3261 §19.1.4. This is not transitive, as the RFC says.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-19.1.4
    pub fn equivalent(&self, other: &Uri) -> bool {
        if self.text == other.text {
            return true;
        }
        if !self.is_sip() || !other.is_sip() {
            // Other schemes have rules of their own; all agree on equal text with a scheme in any case.
            let rest = |uri: &Uri| uri.as_str().split_once(':').map(|(_, rest)| rest.to_owned());
            return self.scheme_name().eq_ignore_ascii_case(other.scheme_name()) && rest(self) == rest(other);
        }
        self.parts.scheme == other.parts.scheme
            && same_part(self.user(), other.user())
            && same_part(self.password(), other.password())
            && self.host() == other.host()
            && self.parts.port == other.parts.port
            && params_match(self, other)
            && params_match(other, self)
            && headers_match(self, other)
    }
}

/// Parameters that must stand in both URIs or in neither; others are compared only when both have them.
const COMPARED_ALONE: [&str; 5] = ["transport", "user", "ttl", "method", "maddr"];

fn params_match(a: &Uri, b: &Uri) -> bool {
    a.params().all(|(name, value)| {
        match b
            .params()
            .find(|(n, _)| normal(n).eq_ignore_ascii_case(&normal(name)))
        {
            Some((_, other)) => {
                normal(value.unwrap_or_default()).eq_ignore_ascii_case(&normal(other.unwrap_or_default()))
            }
            None => !COMPARED_ALONE.iter().any(|alone| same(name, alone)),
        }
    })
}

fn headers_match(a: &Uri, b: &Uri) -> bool {
    let all = |uri: &Uri| {
        let mut all: Vec<_> = uri
            .headers()
            .map(|(n, v)| (normal(n).to_ascii_lowercase(), normal(v).into_owned()))
            .collect();
        all.sort();
        all
    };
    a.has_headers() == b.has_headers() && all(a) == all(b)
}

fn same_part(a: Option<&str>, b: Option<&str>) -> bool {
    a.map(normal) == b.map(normal)
}

/// Whether a parameter's name, escapes decoded, is `name`.
fn same(raw: &str, name: &str) -> bool {
    unescape(raw).eq_ignore_ascii_case(name.as_bytes())
}

/// Escapes that stand for a character outside the reserved set are decoded, since they mean the same; others are
/// written in upper case.
fn normal(raw: &str) -> Cow<'_, str> {
    if !raw.contains('%') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while let Some(next) = raw[at..].chars().next() {
        match escaped(&raw.as_bytes()[at..]) {
            Some(byte) => {
                let plain = (0x21..0x7f).contains(&byte) && !b"%;/?:@&=+$,".contains(&byte);
                match plain {
                    true => out.push(char::from(byte)),
                    false => out.push_str(&format!("%{byte:02X}")),
                }
                at += 3;
            }
            None => {
                out.push(next);
                at += next.len_utf8();
            }
        }
    }
    Cow::Owned(out)
}

fn push_param(text: &mut String, name: &str, value: Option<&str>) {
    text.push(';');
    text.push_str(name);
    if let Some(value) = value {
        text.push('=');
        text.push_str(value);
    }
}

/// Writes a user part, escaping what the grammar does not let stand.
fn escape_user(user: &str, out: &mut String) {
    for &byte in user.as_bytes() {
        match byte {
            b'#' => out.push_str("%23"),
            byte if is_user(byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn scheme(scan: &mut Scan<'_>) -> Result<Scheme, Malformed> {
    let name = scan.run(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !scan.take(b':') {
        scan.jump(0);
        return scan.fail("a URI scheme");
    }
    Ok(match name {
        _ if name.eq_ignore_ascii_case("sip") => Scheme::Sip,
        _ if name.eq_ignore_ascii_case("sips") => Scheme::Sips,
        _ if name.eq_ignore_ascii_case("tel") => Scheme::Tel,
        _ => Scheme::Other,
    })
}

fn sip_parts(scan: &mut Scan<'_>, scheme: Scheme) -> Result<Parts, Malformed> {
    let mut parts = Parts::of(scheme, Span::default());
    // No other part may hold a bare @.
    if scan.rest().as_bytes().contains(&b'@') {
        let from = scan.at();
        escaped_run(scan, is_user);
        if scan.at() == from {
            return scan.fail("a user");
        }
        parts.user = Some(Span::new(from, scan.at()));
        if scan.take(b':') {
            let from = scan.at();
            escaped_run(scan, |b| is_user(b) && !b";?/#".contains(&b));
            parts.password = Some(Span::new(from, scan.at()));
        }
        scan.expect(b'@', "@ behind the user")?;
    }
    parts.host = Some(host(scan)?);
    if scan.take(b':') {
        parts.port = Some(port(scan)?);
    }
    parts.params = uri_params(scan)?;
    if scan.take(b'?') {
        parts.headers = Some(uri_headers(scan)?);
    }
    match scan.is_end() {
        true => Ok(parts),
        false => scan.fail("; or ? or the end of the URI"),
    }
}

/// Skips a run of a class with `%HH` escapes between.
fn escaped_run(scan: &mut Scan<'_>, class: impl Fn(u8) -> bool + Copy) {
    loop {
        scan.run(class);
        if escaped(scan.rest().as_bytes()).is_none() {
            return;
        }
        scan.jump(scan.at() + 3);
    }
}

fn uri_params(scan: &mut Scan<'_>) -> Result<Span, Malformed> {
    let from = scan.at();
    while scan.take(b';') {
        let name = scan.at();
        escaped_run(scan, is_uri_param);
        if scan.at() == name {
            return scan.fail("a parameter's name");
        }
        if scan.take(b'=') {
            let value = scan.at();
            escaped_run(scan, is_uri_param);
            if scan.at() == value {
                return scan.fail("a parameter's value");
            }
        }
    }
    Ok(Span::new(from, scan.at()))
}

fn uri_headers(scan: &mut Scan<'_>) -> Result<Span, Malformed> {
    let from = scan.at();
    loop {
        let name = scan.at();
        escaped_run(scan, is_uri_header);
        if scan.at() == name {
            return scan.fail("a header's name");
        }
        scan.expect(b'=', "= behind a header's name")?;
        escaped_run(scan, is_uri_header);
        if !scan.take(b'&') {
            return Ok(Span::new(from, scan.at()));
        }
    }
}

fn tel_parts(scan: &mut Scan<'_>) -> Result<Parts, Malformed> {
    let from = scan.at();
    escaped_run(scan, |b| b.is_ascii_hexdigit() || b"+-.()*#".contains(&b));
    if scan.at() == from {
        return scan.fail("a telephone number");
    }
    let user = Some(Span::new(from, scan.at()));
    let params = uri_params(scan)?;
    match scan.is_end() {
        true => Ok(Parts {
            user,
            ..Parts::of(Scheme::Tel, params)
        }),
        false => scan.fail("; or the end of the URI"),
    }
}

fn opaque_part(scan: &mut Scan<'_>) -> Result<Parts, Malformed> {
    let from = scan.at();
    scan.run(|b| b > 0x20 && b != 0x7f && !b"<>\"\\^`{|}".contains(&b));
    if scan.at() == from || !scan.is_end() {
        return scan.fail("the rest of a URI");
    }
    Ok(Parts::of(Scheme::Other, Span::new(scan.at(), scan.at())))
}

/// A domain name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host(scan: &mut Scan<'_>) -> Result<HostSpan, Malformed> {
    let from = scan.at();
    if scan.take(b'[') {
        let inner = scan.run(|b| b != b']');
        return match (ipv6(inner), scan.take(b']')) {
            (Some(ip), true) => Ok(HostSpan::Ip(ip.into())),
            _ => {
                scan.jump(from);
                scan.fail("an IPv6 address in brackets")
            }
        };
    }
    let name = scan.run(is_host);
    if name.bytes().next_back().is_some_and(|b| b.is_ascii_digit())
        && let Ok(ip) = Ipv4Addr::from_str(name)
    {
        return Ok(HostSpan::Ip(ip.into()));
    }
    match is_domain(name) {
        true => Ok(HostSpan::Name(Span::new(from, scan.at()))),
        false => {
            scan.jump(from);
            scan.fail("a host")
        }
    }
}

/// An IPv6 address without brackets. The grammar of RFC 3261 leads some to a third colon before an IPv4 tail, which
/// RFC 5118 §4.10 asks to be tolerated.
pub(crate) fn ipv6(text: &str) -> Option<Ipv6Addr> {
    match Ipv6Addr::from_str(text) {
        Ok(ip) => Some(ip),
        Err(_) if text.contains(":::") => Ipv6Addr::from_str(&text.replacen(":::", "::", 1)).ok(),
        Err(_) => None,
    }
}

/// Labels of letters, digits, hyphens. The grammar wants the last one to begin with a letter; machines are named
/// otherwise, so it only must not be a number, which tells a name from a broken address.
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_label = |label: &str| label.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    last.bytes().any(|b| !b.is_ascii_digit()) && name.split('.').all(is_label)
}

pub(crate) fn port(scan: &mut Scan<'_>) -> Result<u16, Malformed> {
    let from = scan.at();
    let number = scan.number("a port")?;
    u16::try_from(number).map_err(|_| Malformed {
        expected: "a port below 65536",
        offset: from,
    })
}

impl FromStr for Uri {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Uri, Malformed> {
        Uri::parse(text.into())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({})", self.as_str())
    }
}

#[cfg(test)]
mod tests;
