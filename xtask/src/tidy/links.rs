//! The links between the documents lead somewhere.

use anyhow::Result;
use std::path::{Path, PathBuf};

/// Folders whose documents are read; the workspace's own folder is always.
const FOLDERS: &[&str] = &["docs", "perf", "perf/peers", "interop", "fuzz", "sim"];

pub(super) fn check() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for document in documents()? {
        let text = std::fs::read_to_string(&document)?;
        let folder = document.parent().unwrap_or(&document);
        for link in links(&text) {
            if !resolves(&document, folder, &link) {
                problems.push(format!(
                    "{}: the link {link} leads nowhere",
                    super::workspace::relative(&document)
                ));
            }
        }
    }
    Ok(problems)
}

fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let folders = FOLDERS
        .iter()
        .map(|folder| crate::root().join(folder))
        .chain([crate::root()]);
    for folder in folders.filter(|folder| folder.is_dir()) {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        // Every second piece between backquotes is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for piece in prose.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default();
            found.push(target.split(' ').next().unwrap_or_default().to_string());
        }
    }
    found
}

fn resolves(document: &Path, folder: &Path, link: &str) -> bool {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with("mailto:") {
        return true;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        document.to_path_buf()
    } else {
        folder.join(file)
    };
    if !target.exists() {
        return false;
    }
    anchor.is_empty()
        || std::fs::read_to_string(&target).is_ok_and(|text| {
            text.lines()
                .filter(|line| line.starts_with('#'))
                .any(|heading| slug(heading) == anchor)
        })
}

/// A heading's anchor, as the usual viewers make it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_prose_are_found_and_those_in_code_are_not() {
        let text = "See [a](ARCHITECTURE.md#life-of-a-call) and `[b](c)`.\n```\n[d](e)\n```\n[f](https://example.org)";
        assert_eq!(
            links(text),
            ["ARCHITECTURE.md#life-of-a-call", "https://example.org"]
        );
    }

    #[test]
    fn a_heading_has_the_anchor_that_viewers_give_it() {
        assert_eq!(
            slug("## The life of a call: INVITE, BYE"),
            "the-life-of-a-call-invite-bye"
        );
    }

    #[test]
    fn a_link_to_nothing_does_not_resolve() {
        let root = crate::root();
        assert!(resolves(&root.join("README.md"), &root, "Cargo.toml"));
        assert!(!resolves(&root.join("README.md"), &root, "no-such-file.md"));
    }
}
