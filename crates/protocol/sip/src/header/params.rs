use crate::syntax::{Malformed, Scan, is_ws, unquote};
use std::borrow::Cow;

/// The parameters behind a header value, `;name=value;name`, in the order they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Wraps text that [`check_params`] has accepted.
    pub(crate) const fn new(text: &'a str) -> Self {
        Params(text)
    }

    /// Reads parameters that begin with their semicolon; an empty text has none.
    pub fn parse(text: &'a str) -> Result<Params<'a>, Malformed> {
        let mut scan = Scan::new(text);
        check_params(&mut scan)?;
        scan.end()?;
        Ok(Params(text))
    }

    /// Each name with its value as it stands, quotes included.
    pub fn iter(self) -> ParamIter<'a> {
        ParamIter {
            scan: Scan::new(self.0),
        }
    }

    /// The value of the first parameter of that name (in any case) without its quotes, if it has one.
    pub fn value(self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(unquote)
    }

    /// The same as it stands.
    pub fn raw(self, name: &str) -> Option<&'a str> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value)
    }

    /// Whether there is a parameter of that name, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// The parameters as they stand.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Reads `*( SEMI generic-param )` to its end and leaves the scan at what follows.
pub(crate) fn check_params(scan: &mut Scan<'_>) -> Result<(), Malformed> {
    loop {
        let before = scan.clone();
        scan.ws();
        if !scan.take(b';') {
            *scan = before;
            return Ok(());
        }
        scan.ws();
        scan.token("a parameter's name")?;
        value_of(scan)?;
    }
}

/// `[ EQUAL gen-value ]`
fn value_of<'a>(scan: &mut Scan<'a>) -> Result<Option<&'a str>, Malformed> {
    let before = scan.clone();
    scan.ws();
    if !scan.take(b'=') {
        *scan = before;
        return Ok(None);
    }
    scan.ws();
    scan.param_value().map(Some)
}

/// See [`Params::iter`].
#[derive(Clone)]
pub struct ParamIter<'a> {
    scan: Scan<'a>,
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.run(|b| b == b';' || is_ws(b));
        let name = self.scan.token("a name").ok()?;
        let value = value_of(&mut self.scan).ok()?;
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case_and_values_lose_their_quotes() {
        let params = Params::parse(" ; Tag = abc;q=\"a;\\\"b\";\r\n lr").unwrap();
        assert_eq!(params.value("tag").unwrap(), "abc");
        assert_eq!(params.value("q").unwrap(), "a;\"b");
        assert!(params.has("LR"));
        assert_eq!(params.value("lr"), None);
        assert_eq!(params.iter().count(), 3);
    }

    #[test]
    fn empty_parameters_and_missing_values_are_errors() {
        for bad in [";;", ";a=", ";", ";a;;b", ";a=\"b", ";a b"] {
            assert!(Params::parse(bad).is_err(), "{bad}");
        }
    }
}
