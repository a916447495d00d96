//! Every parser and every machine has a fuzz target, and every target is run.

use super::workspace::{Crate, Workspace, sources};
use anyhow::Result;

/// The table of targets that the fuzz crate runs.
const TABLE: &str = "fuzz/src/targets.rs";

/// Folders of crates that read what a stranger sent, so that they must export targets.
const READERS: &[&str] = &[
    "crates/protocol/",
    "crates/service/media",
    "crates/service/phone",
    "crates/service/mail",
    "crates/service/stream",
    "crates/service/directory",
    "crates/io/sender-auth",
    "crates/client",
];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let table = std::fs::read_to_string(crate::root().join(TABLE)).unwrap_or_default();
    let mut problems = Vec::new();
    for each in workspace
        .crates
        .iter()
        .filter(|each| each.folder.starts_with("crates/"))
    {
        let targets = targets_of(each)?;
        if targets.is_empty() && READERS.iter().any(|folder| each.folder.starts_with(folder)) {
            problems.push(format!("{}: exports no fuzz target (pub mod fuzz)", each.folder));
        }
        let library = each.name.replace('-', "_");
        problems.extend(
            targets
                .into_iter()
                .filter(|target| !is_registered(&table, &library, target))
                .map(|target| format!("{library}::fuzz::{target} is not in {TABLE}")),
        );
    }
    Ok(problems)
}

/// The functions over bytes in a crate's modules named `fuzz`. One named `target` that takes turns among several others
/// needs no entry of its own.
fn targets_of(each: &Crate) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for path in sources(&format!("{}/src", each.folder))? {
        let text = std::fs::read_to_string(&path)?;
        if path.file_name().is_some_and(|name| name == "fuzz.rs") {
            targets.extend(functions(&text));
        } else if let Some(at) = text.find("pub mod fuzz {") {
            let indent = text[..at].rsplit('\n').next().unwrap_or_default();
            let end = text[at..]
                .find(&format!("\n{indent}}}"))
                .map_or(text.len(), |end| at + end);
            targets.extend(functions(&text[at..end]));
        }
    }
    if targets.len() > 1 {
        targets.retain(|target| target != "target");
    }
    Ok(targets)
}

fn functions(text: &str) -> Vec<String> {
    let heads = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub fn "));
    heads
        .filter(|head| head.contains(": &[u8])"))
        .filter_map(|head| head.split('(').next().map(str::to_string))
        .collect()
}

/// Whether a path of the table leads through the crate to the function.
fn is_registered(table: &str, library: &str, target: &str) -> bool {
    let words = table.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let end = format!("fuzz::{target}");
    words
        .into_iter()
        .any(|word| word.starts_with(&format!("{library}::")) && word.ends_with(&end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_found_by_its_shape_and_in_the_table_by_its_path() {
        let text = "/// Feeds bytes.\npub fn target(data: &[u8]) {\n}\nfn private(data: &[u8]) {}\npub fn other(n: u32) {}\n";
        assert_eq!(functions(text), ["target"]);
        let table = "Target { name: \"sip\", run: ringpost_sip::message::fuzz::target },";
        assert!(is_registered(table, "ringpost_sip", "target"));
        assert!(!is_registered(table, "ringpost_sip", "other"));
        assert!(!is_registered(table, "ringpost_sdp", "target"));
    }
}
