//! `cargo xtask tidy`: the rules of the house that the compiler cannot hold.

mod edges;
mod fuzzing;
mod licences;
mod links;
mod sources;
mod workspace;

use crate::report::Outcome;
use anyhow::Result;
use workspace::Workspace;

/// Checks every rule and prints what breaks one. True when nothing does.
pub(crate) fn run() -> Result<bool> {
    let problems = problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    println!("{} problems", problems.len());
    Ok(problems.is_empty())
}

/// The same as a step of `cargo xtask test`.
pub(crate) fn step() -> Outcome {
    match problems() {
        Ok(problems) if problems.is_empty() => Outcome::Passed(String::new()),
        Ok(problems) => {
            problems.iter().for_each(|problem| println!("      | {problem}"));
            Outcome::Failed(format!("{} problems", problems.len()))
        }
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

fn problems() -> Result<Vec<String>> {
    let workspace = Workspace::read()?;
    let mut problems = edges::check(&workspace);
    problems.extend(licences::check()?);
    problems.extend(sources::check(&workspace)?);
    problems.extend(fuzzing::check(&workspace)?);
    problems.extend(links::check()?);
    Ok(problems)
}
