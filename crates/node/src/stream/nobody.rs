//! Names in the rules that no account and no device has.

use super::{MountRule, Who};
use ringpost_directory::{Directory, DirectoryError};
use std::collections::BTreeSet;

/// The names that rules let in and that nobody has now, each once: maybe they are misspelt, maybe they are yet to come.
pub async fn nobodies(directory: &Directory, rules: &[MountRule]) -> Result<Vec<String>, DirectoryError> {
    let named = rules
        .iter()
        .flat_map(|rule| rule.publish.iter().chain(&rule.read));
    let names: BTreeSet<_> = named
        .filter_map(|who| match who {
            Who::One(name) => Some(name),
            Who::Anyone | Who::Accounts => None,
        })
        .collect();
    let mut nobodies = Vec::new();
    for name in names {
        // An alias is no name that a rule knows.
        let account = directory.account_by_login(name).await?;
        let is_account = account.is_some_and(|account| {
            let address = &account.address;
            *name == address.to_string() || name == address.local_part()
        });
        let default = directory.default_domain();
        let (user, domain) = name.rsplit_once('@').unwrap_or((name, default));
        if !is_account && directory.device(domain, user).await?.is_none() {
            nobodies.push(name.clone());
        }
    }
    Ok(nobodies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::House;
    use crate::testing::at_once;

    #[test]
    fn names_that_no_account_and_no_device_has_are_told_once() {
        let house = House::new(Vec::new());
        let one = |name: &str| Who::One(name.into());
        let rule = |publish: Vec<Who>, read: Vec<Who>| MountRule {
            pattern: "alice/*".parse().unwrap(),
            publish,
            read,
        };
        let rules = [
            rule(
                vec![Who::Accounts, one("bob"), one("bbo")],
                vec![one("alice@example.org")],
            ),
            rule(vec![one("bbo")], vec![Who::Anyone, one("carol@example.org")]),
            rule(vec![], vec![one(&house.device.0), one("alice-roof")]),
            rule(vec![one(&format!("{}@example.org", house.device.0))], vec![]),
        ];
        let nobodies = at_once(nobodies(&house.streams.directory, &rules)).unwrap();
        assert_eq!(nobodies, ["alice-roof", "bbo", "carol@example.org"]);
    }
}
