//! Who may use whom: an explicit list of edges between the crates, and of the crates that may touch the real world.

use super::workspace::{Crate, Workspace};

/// The crates of the workspace that each may use. An edge that is not here is a decision that nobody has made.
const EDGES: &[(&str, &[&str])] = &[
    ("ringpost-base", &[]),
    // Protocols know the base; those that log in know auth. sip never sees sdp: phone joins them.
    ("ringpost-auth", &["base"]),
    ("ringpost-sip", &["base", "auth"]),
    ("ringpost-sdp", &["base"]),
    ("ringpost-rtp", &["base"]),
    ("ringpost-codec", &["base"]),
    ("ringpost-smtp", &["base", "auth"]),
    ("ringpost-imap", &["base", "auth"]),
    ("ringpost-pop3", &["base", "auth"]),
    ("ringpost-rtsp", &["base", "auth", "rtp"]),
    // Services know protocols, store and directory, and no other service; phone also media.
    ("ringpost-store", &["base"]),
    ("ringpost-directory", &["base", "auth", "store"]),
    ("ringpost-media", &["base", "rtp", "codec", "sdp"]),
    (
        "ringpost-phone",
        &[
            "base",
            "auth",
            "sip",
            "sdp",
            "rtp",
            "codec",
            "store",
            "directory",
            "media",
        ],
    ),
    (
        "ringpost-mail",
        &["base", "auth", "smtp", "imap", "pop3", "store", "directory"],
    ),
    (
        "ringpost-stream",
        &[
            "base",
            "auth",
            "rtp",
            "codec",
            "rtsp",
            "sdp",
            "store",
            "directory",
            "media",
        ],
    ),
    (
        "ringpost-node",
        &[
            "base",
            "auth",
            "sip",
            "sdp",
            "rtp",
            "codec",
            "smtp",
            "imap",
            "pop3",
            "rtsp",
            "store",
            "directory",
            "media",
            "phone",
            "mail",
            "stream",
        ],
    ),
    // The real world.
    (
        "ringpost-net",
        &["base", "sip", "rtp", "store", "media", "stream"],
    ),
    ("ringpost-store-sqlite", &["base", "store"]),
    ("ringpost-blobs", &["base", "store"]),
    ("ringpost-admin", &["base"]),
    ("ringpost-sender-auth", &["base", "store", "directory", "mail"]),
    // Certificates are asked for over net's connections, and shown by its TLS; sip has the DNS's questions.
    ("ringpost-acme", &["base", "net", "sip"]),
    // Phones and readers of our own, for the demo, the simulator and the import.
    ("ringpost-client", &["base", "auth", "sip", "sdp", "rtp", "codec"]),
    // The two users of node.
    (
        "ringpost",
        &[
            "base",
            "auth",
            "sip",
            "sdp",
            "rtp",
            "codec",
            "smtp",
            "imap",
            "pop3",
            "rtsp",
            "store",
            "directory",
            "media",
            "phone",
            "mail",
            "stream",
            "node",
            "net",
            "store-sqlite",
            "blobs",
            "admin",
            "sender-auth",
            "acme",
            "client",
        ],
    ),
    (
        "ringpost-sim",
        &[
            "base",
            "auth",
            "sip",
            "sdp",
            "rtp",
            "codec",
            "smtp",
            "imap",
            "pop3",
            "rtsp",
            "store",
            "directory",
            "media",
            "phone",
            "mail",
            "stream",
            "node",
            "store-sqlite",
            "client",
        ],
    ),
    // Tools.
    (
        "ringpost-fuzz",
        &[
            "base",
            "auth",
            "sip",
            "sdp",
            "rtp",
            "codec",
            "smtp",
            "imap",
            "pop3",
            "rtsp",
            "stream",
            "media",
            "phone",
            "mail",
            "directory",
            "client",
            "sender-auth",
        ],
    ),
    // sip for its table of torture messages, client for the mail program that believes nothing.
    // sender-auth for the suite of RFC 7208, whose zones hold what no DNS server would serve.
    ("ringpost-interop", &["base", "sip", "client", "sender-auth"]),
    (
        "ringpost-perf",
        &["base", "sip", "sdp", "rtp", "media", "net", "admin"],
    ),
    ("xtask", &[]),
];

/// Libraries that touch the real world (sockets, threads, the clock, the disk, TLS), and who may name them.
const WORLDLY: &[&str] = &[
    "axum",
    "hickory-resolver",
    "hyper",
    "hyper-util",
    "instant-acme",
    "libc",
    "rcgen",
    "rusqlite",
    "rustls",
    "rustls-webpki",
    "socket2",
    "tokio",
    "tokio-rustls",
];

/// Folders whose crates may use [`WORLDLY`] libraries; all others are sans-IO.
const WORLDLY_FOLDERS: &[&str] = &["crates/io/", "crates/server", "interop", "perf"];

pub(super) fn check(workspace: &Workspace) -> Vec<String> {
    workspace
        .crates
        .iter()
        .flat_map(|each| edges_of(each).into_iter().chain(world_of(each)))
        .collect()
}

fn edges_of(each: &Crate) -> Vec<String> {
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == each.name) else {
        return vec![format!(
            "{}: not in the list of edges (xtask/src/tidy/edges.rs)",
            each.name
        )];
    };
    let ours = each.dependencies.iter().filter(|dependency| dependency.is_ours());
    ours.filter(|dependency| !allowed.contains(&short(&dependency.name)))
        .map(|dependency| {
            format!(
                "{} -> {}: this edge is not allowed (xtask/src/tidy/edges.rs)",
                each.name, dependency.name
            )
        })
        .collect()
}

fn world_of(each: &Crate) -> Vec<String> {
    if WORLDLY_FOLDERS
        .iter()
        .any(|folder| each.folder.starts_with(folder))
    {
        return Vec::new();
    }
    let normal = each
        .dependencies
        .iter()
        .filter(|dependency| dependency.is_normal());
    normal
        .filter(|dependency| WORLDLY.contains(&dependency.name.as_str()))
        .map(|dependency| {
            format!(
                "{} -> {}: only crates/io and the server touch the world",
                each.name, dependency.name
            )
        })
        .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("ringpost-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_dependency(name: &str, folder: &str, dependency: &str) -> Workspace {
        let json = format!(r#"{{"name":"{dependency}","kind":null,"path":"/x"}}"#);
        let dependencies = vec![serde_json::from_str(&json).expect("a dependency")];
        Workspace {
            crates: vec![Crate {
                name: name.into(),
                folder: folder.into(),
                dependencies,
            }],
        }
    }

    #[test]
    fn sip_may_use_auth_and_never_sdp() {
        assert!(
            check(&with_dependency(
                "ringpost-sip",
                "crates/protocol/sip",
                "ringpost-auth"
            ))
            .is_empty()
        );
        assert_eq!(
            check(&with_dependency(
                "ringpost-sip",
                "crates/protocol/sip",
                "ringpost-sdp"
            ))
            .len(),
            1
        );
    }

    #[test]
    fn a_crate_that_nobody_listed_is_a_problem() {
        assert!(!check(&with_dependency("ringpost-new", "crates/new", "ringpost-base")).is_empty());
    }

    #[test]
    fn a_service_may_not_know_the_runtime() {
        let workspace = with_dependency("ringpost-mail", "crates/service/mail", "tokio");
        assert!(world_of(&workspace.crates[0]).len() == 1);
        let workspace = with_dependency("ringpost-net", "crates/io/net", "tokio");
        assert!(world_of(&workspace.crates[0]).is_empty());
    }
}
