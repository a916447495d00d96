//! Typed views of header fields (RFC 2326 §12).

mod date;
mod range;
mod rtp_info;
mod session;
mod transport;

pub use date::{date, parse_date};
pub use range::{Clock, Npt, Range, RangeSpec, Smpte, SmpteType};
pub use rtp_info::RtpInfo;
pub use session::{SessionHeader, is_session_id};
pub use transport::{Delivery, LowerTransport, Mode, Pair, Transport};

use crate::syntax::{Malformed, malformed};

/// Scale (RFC 2326 §12.34) or Speed (§12.35): an optional sign, digits, and perhaps a fraction.
pub fn parse_decimal(text: &str) -> Result<f64, Malformed> {
    const EXPECTED: &str = "a decimal number";
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if digits.len() > 16 || whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return malformed(EXPECTED);
    }
    text.parse().map_err(|_| Malformed { expected: EXPECTED })
}

/// Whether a media type is among those of an Accept field (RFC 2326 §12.1); all are where there is no field.
pub fn accepts<'a>(accept: impl Iterator<Item = &'a str>, media_type: &str) -> bool {
    let (wanted_type, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let mut is_any = true;
    for range in accept {
        is_any = false;
        let mut parts = crate::syntax::split(range, ';');
        let range = parts.next().unwrap_or_default();
        let is_refused = parts.any(|parameter| {
            let (name, value) = crate::syntax::parameter(parameter);
            name.eq_ignore_ascii_case("q") && value.is_some_and(|q| q.parse::<f64>() == Ok(0.0))
        });
        let matches = range == "*/*"
            || range.eq_ignore_ascii_case(media_type)
            || range
                .strip_suffix("/*")
                .is_some_and(|kind| kind.eq_ignore_ascii_case(wanted_type));
        if matches && !is_refused {
            return true;
        }
    }
    is_any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_a_sign_digits_and_a_fraction() {
        for (text, value) in [("1", 1.0), ("-1", -1.0), ("+2.5", 2.5), ("0.", 0.0), (".5", 0.5)] {
            assert_eq!(parse_decimal(text), Ok(value));
        }
        for bad in [
            "",
            "-",
            ".",
            "1e5",
            "inf",
            "NaN",
            "1.2.3",
            "--1",
            "12345678901234567",
            " 1",
        ] {
            assert!(parse_decimal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_client_accepts() {
        let accepts = |list: &str| accepts(crate::syntax::split(list, ','), "application/sdp");
        assert!(accepts(""));
        assert!(accepts("text/html, Application/SDP;q=0.5"));
        assert!(accepts("application/*"));
        assert!(accepts("*/*"));
        assert!(!accepts("application/rtsl"));
        assert!(!accepts("application/sdp;q=0.0"));
    }
}
