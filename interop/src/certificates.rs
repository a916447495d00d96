use crate::clients::client;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority's certificate, and one that it gave for `domain` with its key, made by openssl.
///
/// # Panics
/// When openssl makes none.
pub fn certificates(folder: &Path, domain: &str) -> Option<(PathBuf, (PathBuf, PathBuf))> {
    certificates_for(folder, &[domain], 2)
}

/// The same for several names or addresses, good for so many days; one that is good for less than none has expired. The file has the
/// authority's certificate behind its own.
///
/// # Panics
/// When openssl makes none.
pub fn certificates_for(folder: &Path, names: &[&str], days: i32) -> Option<(PathBuf, (PathBuf, PathBuf))> {
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
    let kind = |name: &str| {
        if name.parse::<IpAddr>().is_ok() {
            "IP"
        } else {
            "DNS"
        }
    };
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("{}:{name}", kind(name)))
        .collect();
    let subject = format!("subjectAltName={}", names.join(","));
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
        &days.to_string(),
        "-copy_extensions",
        "copy",
        "-out",
        "certificate.pem",
    ]);
    let chain =
        ["certificate.pem", "ca.pem"].map(|name| std::fs::read(file(name)).expect("openssl has made it"));
    std::fs::write(file("certificate.pem"), chain.concat()).expect("the folder can be written");
    Some((file("ca.pem"), (file("certificate.pem"), file("key.pem"))))
}
