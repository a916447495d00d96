//! Names that strangers type.

use crate::return_path::ReturnPaths;
use crate::{Address, is_domain, names};
use ringpost_base::UnixTime;

/// Addresses, names and return paths: what is taken has one spelling, which is taken again, and nobody guesses the code of a
/// return path.
///
/// # Panics
/// When an invariant breaks.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(address) = Address::parse(&text) {
        assert!(is_domain(address.domain()));
        assert_eq!(Address::parse(&address.to_string()), Ok(address));
    }
    for read in [names::target, names::device, names::extension, names::domain] {
        if let Ok(name) = read(&text) {
            assert_eq!(read(&name), Ok(name));
        }
    }
    let (paths, now) = (ReturnPaths::new(&[7; 32]), UnixTime::from_secs(1_700_000_000));
    assert_eq!(paths.unwrap(&text, now), None, "nobody was told the code");
    let (local, domain) = text.rsplit_once('@').unwrap_or((&text, "x.test"));
    if !local.is_empty() && is_domain(domain) {
        let wrapped = paths.wrap(local, domain, now);
        let led_back = (local.to_owned(), domain.to_owned());
        assert_eq!(paths.unwrap(&wrapped, now), Some(led_back));
    }
}
