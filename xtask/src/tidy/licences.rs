//! What the tree may contain: permissive licences, one cryptography provider, no OpenSSL.

use anyhow::{Result, bail};
use std::collections::BTreeSet;

/// Licences that ask for nothing but their notice.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not be built, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs is the one cryptography provider"),
    ("openssl", "no OpenSSL: aws-lc-rs and rustls"),
    ("openssl-sys", "no OpenSSL: aws-lc-rs and rustls"),
    ("native-tls", "no OpenSSL: aws-lc-rs and rustls"),
];

/// What is built for any target, and not merely named in the lock file, is what `cargo tree` shows.
pub(super) fn check() -> Result<Vec<String>> {
    let arguments = [
        "tree",
        "--workspace",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
    ];
    let out = crate::cargo(&arguments).output()?;
    if !out.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let text = String::from_utf8(out.stdout)?;
    let lines: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(lines
        .into_iter()
        .filter(|line| !line.is_empty())
        .filter_map(problem)
        .collect())
}

fn problem(line: &str) -> Option<String> {
    let (package, licence) = line.split_once('|')?;
    let name = package.split(' ').next()?;
    if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
        return Some(format!("{package} is in the tree: {why}"));
    }
    (!is_permissive(licence))
        .then(|| format!("{package}: the licence {licence:?} is not in the list of permissive ones"))
}

/// Whether an SPDX expression leaves a choice of nothing but permissive licences. `/` is the old way to write OR.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    any_of(&mut rest) == Some(true) && rest.is_empty()
}

/// Each of these reads its part of the expression: None when it is none.
fn any_of(tokens: &mut &[&str]) -> Option<bool> {
    let mut permissive = all_of(tokens)?;
    while let ["OR", rest @ ..] = *tokens {
        *tokens = rest;
        permissive |= all_of(tokens)?;
    }
    Some(permissive)
}

fn all_of(tokens: &mut &[&str]) -> Option<bool> {
    let mut permissive = one(tokens)?;
    while let ["AND", rest @ ..] = *tokens {
        *tokens = rest;
        permissive &= one(tokens)?;
    }
    Some(permissive)
}

fn one(tokens: &mut &[&str]) -> Option<bool> {
    match *tokens {
        ["(", rest @ ..] => {
            *tokens = rest;
            let permissive = any_of(tokens)?;
            let [")", rest @ ..] = *tokens else { return None };
            *tokens = rest;
            Some(permissive)
        }
        // An exception only ever allows more.
        [name, "WITH", _, rest @ ..] | [name, rest @ ..] => {
            *tokens = rest;
            Some(PERMISSIVE.contains(name))
        }
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_a_permissive_licence_is_enough_and_a_demand_is_not() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "ISC AND (Apache-2.0 OR ISC) AND MIT",
            "GPL-3.0-only OR MIT",
        ] {
            assert!(is_permissive(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-2.0-or-later",
            "(MIT OR ISC) AND AGPL-3.0-only",
            "MIT OR",
            "(MIT",
        ] {
            assert!(!is_permissive(bad), "{bad}");
        }
    }

    #[test]
    fn ring_is_named_as_a_problem_whatever_its_licence() {
        assert!(problem("ring v0.17.14|MIT").is_some());
        assert!(problem("rustls v0.23.46|Apache-2.0 OR ISC OR MIT").is_none());
    }
}
