use crate::clients::client;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority's certificate, and one that it gave for `domain` with its key, made by openssl.
///
/// # Panics
/// When openssl makes none.
pub fn certificates(folder: &Path, domain: &str) -> Option<(PathBuf, (PathBuf, PathBuf))> {
    let openssl = client("openssl")?;
    let file = |name: &str| folder.join(name);
    let run = |arguments: &[&str]| {
        let made = Command::new(&openssl)
            .current_dir(folder)
            .args(arguments)
            .output()
            .expect("openssl starts");
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "{arguments:?}: {said}");
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=Test Authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ];
    run(&[&authority[..], &key].concat());
    let subject = format!("subjectAltName=DNS:{domain}");
    let request = [
        "req",
        "-subj",
        "/CN=server",
        "-addext",
        &subject,
        "-keyout",
        "key.pem",
        "-out",
        "request.pem",
    ];
    run(&[&request[..], &key].concat());
    run(&[
        "x509",
        "-req",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-copy_extensions",
        "copy",
        "-out",
        "certificate.pem",
    ]);
    Some((file("ca.pem"), (file("certificate.pem"), file("key.pem"))))
}
