//! What a source file may be: its size, a crate's first words, and no clock, socket or thread where machines live.

use super::workspace::{Crate, Workspace, relative, sources};
use anyhow::Result;
use std::path::Path;

/// Lines of a file without its tests.
const FILE_LINES: usize = 800;
/// Lines of a crate's own documentation, at the least.
const CRATE_DOC_LINES: usize = 3;

/// Folders of sans-IO crates: what happens to them comes as arguments.
const SANS_IO: &[&str] = &[
    "crates/base",
    "crates/protocol/",
    "crates/service/",
    "crates/node",
    "crates/client",
];

/// What a sans-IO crate does not name outside its tests.
const WORLD: &[&str] = &[
    "std::time::Instant",
    "SystemTime",
    "std::fs",
    "std::thread",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "thread::sleep",
];

/// Files of sans-IO crates that may, and why.
const EXEMPT: &[(&str, &str)] = &[(
    "crates/service/store/src/conformance.rs",
    "a suite that waits for engines with threads of their own",
)];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for each in &workspace.crates {
        problems.extend(crate_docs(each)?);
        let sans_io = SANS_IO.iter().any(|folder| each.folder.starts_with(folder));
        for path in sources(&each.folder)? {
            if is_test(&path) {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let (name, code) = (relative(&path), without_tests(&text));
            problems.extend(size(&name, code));
            if sans_io && EXEMPT.iter().all(|(exempt, _)| *exempt != name) {
                problems.extend(world(&name, code));
            }
        }
    }
    Ok(problems)
}

/// A file of tests alone: `tests.rs`, or anything in a folder `tests`.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// The file up to its first module of tests.
fn without_tests(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "#[cfg(test)]" && text[at + line.len()..].trim_start().starts_with("mod ") {
            return &text[..at];
        }
        at += line.len();
    }
    text
}

fn size(name: &str, code: &str) -> Option<String> {
    let lines = code.lines().count();
    (lines > FILE_LINES).then(|| format!("{name}: {lines} lines without its tests, at most {FILE_LINES}"))
}

fn world(name: &str, code: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(word) = WORLD.iter().find(|word| code.contains(**word)) {
            problems.push(format!(
                "{name}:{}: {word} in a crate that is given its world",
                number + 1
            ));
        }
    }
    problems
}

/// A crate's root begins with what the crate is for.
fn crate_docs(each: &Crate) -> Result<Option<String>> {
    let folder = crate::root().join(&each.folder).join("src");
    let root = ["lib.rs", "main.rs"]
        .into_iter()
        .map(|file| folder.join(file))
        .find(|path| path.exists());
    let Some(root) = root else {
        return Ok(Some(format!(
            "{}: neither src/lib.rs nor src/main.rs",
            each.folder
        )));
    };
    let text = std::fs::read_to_string(&root)?;
    let lines = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .filter(|line| line.len() > 3)
        .count();
    Ok((lines < CRATE_DOC_LINES).then(|| {
        format!(
            "{}: says too little of what the crate is for ({lines} lines of //!)",
            relative(&root)
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_at_the_end_of_a_file_do_not_count() {
        let text = "fn a() {}\n#[cfg(test)]\nfn helper() {}\n\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(without_tests(text).lines().count(), 4);
        assert!(size("a.rs", &"x\n".repeat(801)).is_some());
        assert!(size("a.rs", &"x\n".repeat(800)).is_none());
    }

    #[test]
    fn a_clock_in_a_machine_is_found_and_one_in_a_comment_is_not() {
        assert_eq!(world("a.rs", "let t = std::time::Instant::now();\n").len(), 1);
        assert!(
            world(
                "a.rs",
                "// unlike std::time::Instant\nuse ringpost_base::Instant;\n"
            )
            .is_empty()
        );
    }
}
