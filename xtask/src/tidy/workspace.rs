//! The crates of the workspace and what they lean on, from `cargo metadata`.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The crates of the workspace.
pub(super) struct Workspace {
    pub(super) crates: Vec<Crate>,
}

/// One crate: its package's name, its folder under the workspace's, and its direct dependencies.
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) folder: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// A direct dependency as the manifest names it.
#[derive(Clone, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// None for a normal one; else `dev` or `build`.
    pub(super) kind: Option<String>,
    path: Option<PathBuf>,
}

impl Dependency {
    /// Whether it is a crate of the workspace.
    pub(super) fn is_ours(&self) -> bool {
        self.path.is_some()
    }

    /// Whether the crate itself uses it, and not its tests alone.
    pub(super) fn is_normal(&self) -> bool {
        self.kind.as_deref() != Some("dev")
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

impl Workspace {
    /// Asks cargo.
    pub(super) fn read() -> Result<Workspace> {
        let out = crate::cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
        if !out.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        let metadata: Metadata =
            serde_json::from_slice(&out.stdout).context("cargo metadata has changed its form")?;
        let crates = metadata.packages.into_iter().map(|package| Crate {
            folder: relative(package.manifest_path.parent().unwrap_or(&package.manifest_path)),
            name: package.name,
            dependencies: package.dependencies,
        });
        Ok(Workspace {
            crates: crates.collect(),
        })
    }
}

/// A path as the rules speak of it: from the workspace's folder.
pub(super) fn relative(path: &Path) -> String {
    path.strip_prefix(crate::root())
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// The Rust sources below a folder, in a fixed order.
pub(super) fn sources(folder: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![crate::root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
