//! The files that the configuration names: the certificate with its key, and the greeting.
//!
//! At the start they are read before rights are dropped; at SIGHUP as whoever the server runs as by then.

use crate::config::{Config, Played};
use crate::privileges::current_user;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringpost_acme::ExternalAccount;
use ringpost_codec::Wav;
use ringpost_net::dns::Anchors;
use ringpost_net::tls::{Authorities, Tls, TlsError};
use ringpost_smtp::client::Credentials;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

/// What callers hear first, 8,000 samples a second.
pub(crate) type Greeting = Option<Arc<[i16]>>;

/// The configured certificate and key, if they are configured.
pub(crate) fn certificate(config: &Config) -> Result<Option<Tls>> {
    let Some((certificate, key)) = certificate_paths(config) else {
        return Ok(None);
    };
    readable("tls.certificate", certificate)?;
    readable("tls.key", key)?;
    match Tls::load(certificate, key) {
        Ok(tls) => Ok(Some(tls)),
        Err(error) => Err(wrong_certificate(certificate, key, &error)),
    }
}

/// Looks whether what mounts play is there and may be read, and is what is played.
pub(crate) fn played(config: &Config) -> Result<()> {
    for (mount, played) in config.streams.played() {
        let key = format!("streams.mounts.\"{mount}\"");
        match played {
            Played::Folder(path) => {
                let listed = std::fs::read_dir(path);
                listed.with_context(|| format!("{key}.folder: {} cannot be listed", path.display()))?;
            }
            Played::File(path) => {
                let mut head = [0; 12];
                File::open(path)
                    .and_then(|mut file| file.read_exact(&mut head))
                    .with_context(|| format!("{key}.file: {} cannot be read", path.display()))?;
                let is_wav = head.starts_with(b"RIFF") && head.ends_with(b"WAVE");
                let is_mp4 = [b"ftyp", b"moov", b"free", b"wide", b"mdat", b"skip"]
                    .iter()
                    .any(|kind| head[4..8] == **kind);
                if !is_wav && !is_mp4 {
                    bail!("{key}.file: {} is neither WAV nor MP4", path.display());
                }
            }
        }
    }
    Ok(())
}

/// Takes the configured certificate over into `tls`, or leaves it as it is. False when none is configured.
pub(crate) fn reload_certificate(config: &Config, tls: &Tls) -> Result<bool> {
    let Some((certificate, key)) = certificate_paths(config) else {
        return Ok(false);
    };
    readable("tls.certificate", certificate)?;
    readable("tls.key", key)?;
    match tls.reload(certificate, key) {
        Ok(()) => Ok(true),
        Err(error) => Err(wrong_certificate(certificate, key, &error)),
    }
}

/// The configured greeting, if there is one.
pub(crate) fn greeting(config: &Config) -> Result<Greeting> {
    let Some(path) = &config.voicemail.greeting else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    readable("voicemail.greeting", path)?
        .read_to_end(&mut bytes)
        .with_context(|| format!("voicemail.greeting: {}", path.display()))?;
    match Wav::parse(&bytes) {
        Ok(wav) => Ok(Some(wav.to_telephone().into())),
        Err(error) => bail!(
            "voicemail.greeting: {}: {error}; name a WAV file of 8000 Hz with one channel of 16 bits, A-law or µ-law",
            path.display()
        ),
    }
}

/// Who we are to the smart host, if we sign in there.
pub(crate) fn smart_host_credentials(config: &Config) -> Result<Option<Credentials>> {
    let outbound = &config.outbound;
    let (Some(user), Some(path)) = (&outbound.smart_host_user, &outbound.smart_host_password_file) else {
        return Ok(None);
    };
    const KEY: &str = "outbound.smart_host_password_file";
    let mut text = String::new();
    readable(KEY, path)?
        .take(PASSWORD_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("{KEY}: {}", path.display()))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(password) => Ok(Some(Credentials {
            user: user.clone(),
            password: password.to_owned(),
        })),
        None => bail!(
            "{KEY}: the first line of {} is empty; write the password there",
            path.display()
        ),
    }
}

/// The account at who gives certificates that ours there is bound to, if it is.
pub(crate) fn external_account(config: &Config) -> Result<Option<ExternalAccount>> {
    let acme = &config.acme;
    let (Some(id), Some(path)) = (&acme.external_account_key_id, &acme.external_account_key_file) else {
        return Ok(None);
    };
    const KEY: &str = "acme.external_account_key_file";
    let mut text = String::new();
    readable(KEY, path)?
        .take(PASSWORD_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("{KEY}: {}", path.display()))?;
    // Authorities give it in the alphabet for URLs; with padding or without, nobody minds.
    let text = text
        .trim()
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    match URL_SAFE_NO_PAD.decode(&text) {
        Ok(key) if !key.is_empty() => Ok(Some(ExternalAccount {
            key_id: id.clone(),
            key,
        })),
        _ => bail!(
            "{KEY}: {} holds no base64; write the key there as the authority gave it",
            path.display()
        ),
    }
}

/// The keys that DNSSEC's proofs begin with, where mail is held to them.
pub(crate) fn anchors(config: &Config) -> Result<Option<Anchors>> {
    if !config.outbound.dane {
        return Ok(None);
    }
    let file = config.dns.trust_anchors.as_deref();
    if let Some(path) = file {
        readable("dns.trust_anchors", path)?;
    }
    Anchors::load(file).context("dns.trust_anchors").map(Some)
}

/// Whose certificates of other servers are believed.
pub(crate) fn authorities(config: &Config) -> Result<Authorities> {
    let file = config.tls.authorities.as_deref();
    if let Some(path) = file {
        readable("tls.authorities", path)?;
    }
    Authorities::load(file).map_err(wrong_authorities)
}

/// What is wrong with them, and the mend.
pub(crate) fn wrong_authorities(error: TlsError) -> anyhow::Error {
    anyhow::anyhow!(
        "tls.authorities: {error}; name a PEM file with certificates, or leave the key out for those of the system"
    )
}

/// What is read of a file with a password.
const PASSWORD_BYTES: u64 = 4_096;

/// A line for each configured file that the server could read at its start and cannot read again as who it is now.
pub(crate) fn unreadable_from_now_on(config: &Config) -> Vec<String> {
    let certificate = certificate_paths(config).map(|(path, _)| ("tls.certificate", path));
    let key = certificate_paths(config).map(|(_, path)| ("tls.key", path));
    let greeting = config.voicemail.greeting.as_deref();
    let greeting = greeting.map(|path| ("voicemail.greeting", path));
    let external = config.acme.external_account_key_file.as_deref();
    let external = external.map(|path| ("acme.external_account_key_file", path));
    [certificate, key, greeting, external]
        .into_iter()
        .flatten()
        .filter_map(|(name, path)| readable(name, path).err())
        .map(|error| format!("{error}; until then SIGHUP cannot take over a new one"))
        .collect()
}

fn certificate_paths(config: &Config) -> Option<(&Path, &Path)> {
    let (certificate, key) = (config.tls.certificate.as_deref()?, config.tls.key.as_deref()?);
    Some((certificate, key))
}

fn readable(key: &str, path: &Path) -> Result<File> {
    let name = path.display();
    let error = match File::open(path) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::NotFound => bail!("{key}: there is no file {name}; make it, or set another"),
        ErrorKind::PermissionDenied => {
            let user = current_user();
            bail!("{key}: {user}, who the server runs as, may not read {name}; give {user} the right to")
        }
        _ => bail!("{key}: {name}: {error}; set another file"),
    }
}

fn wrong_certificate(certificate: &Path, key: &Path, error: &TlsError) -> anyhow::Error {
    match error {
        TlsError::File { path, .. } if path == key => anyhow::anyhow!(
            "tls.key: {error}; name the PEM file with the private key that {} was made for",
            certificate.display()
        ),
        TlsError::File { .. } => anyhow::anyhow!(
            "tls.certificate: {error}; name the PEM file with the certificate and those that vouch for it"
        ),
        _ => anyhow::anyhow!("tls.key: {error}; name a certificate and the key that it was made for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("ringpost.toml")).unwrap()
    }

    #[test]
    fn what_mounts_play_is_there_and_is_what_is_played() {
        let folder = tempfile::tempdir().unwrap();
        let (sound, text) = (folder.path().join("sound.wav"), folder.path().join("text.mp4"));
        std::fs::write(&sound, b"RIFF\x04\0\0\0WAVE").unwrap();
        std::fs::write(&text, "nothing that is played").unwrap();
        let missing = folder.path().join("missing");
        let check = |key: &str, path: &Path| {
            played(&config(&format!(
                "[streams]\nmounts.\"a/b\" = {{ {key} = {path:?} }}\n"
            )))
            .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(check("file", &sound), Ok(()));
        assert_eq!(check("folder", folder.path()), Ok(()));
        for (key, path, told) in [
            ("file", &missing, "missing cannot be read: "),
            ("file", &text, "text.mp4 is neither WAV nor MP4"),
            ("folder", &missing, "missing cannot be listed: "),
            ("folder", &sound, "sound.wav cannot be listed: "),
        ] {
            let said = check(key, path).unwrap_err();
            let begins = format!("streams.mounts.\"a/b\".{key}: ");
            assert!(said.starts_with(&begins) && said.contains(told), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_key_and_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["one.test".to_string()];
        let (good, good_key) = ringpost_net::tls::self_signed(folder.path(), &names).unwrap();
        let other = tempfile::tempdir().unwrap();
        let (_, other_key) = ringpost_net::tls::self_signed(other.path(), &names).unwrap();
        let junk = folder.path().join("junk");
        std::fs::write(&junk, "junk").unwrap();
        let missing = folder.path().join("missing");
        let tls = |certificate: &Path, key: &Path| {
            config(&format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"))
        };
        assert!(certificate(&tls(&good, &good_key)).unwrap().is_some());
        assert!(certificate(&config("")).unwrap().is_none());
        for (certificate_path, key_path, told) in [
            (&missing, &good_key, "tls.certificate: there is no file"),
            (&good, &missing, "tls.key: there is no file"),
            (&junk, &good_key, "tls.certificate: "),
            (&good, &junk, "tls.key: "),
            (&good, &other_key, "tls.key: "),
        ] {
            let error = certificate(&tls(certificate_path, key_path)).err().unwrap();
            let line = crate::one_line(&error);
            assert!(line.starts_with(told) && line.contains("; "), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
        let believed = |path: &Path| config(&format!("[tls]\nauthorities = {path:?}\n"));
        assert!(authorities(&believed(&good)).is_ok());
        for path in [&missing, &junk] {
            let line = crate::one_line(&authorities(&believed(path)).err().unwrap());
            assert!(
                line.starts_with("tls.authorities: ") && line.contains("; "),
                "{line}"
            );
        }
        let voicemail = |path: &Path| config(&format!("[voicemail]\ngreeting = {path:?}\n"));
        for path in [&missing, &junk] {
            let line = crate::one_line(&greeting(&voicemail(path)).unwrap_err());
            assert!(
                line.starts_with("voicemail.greeting: ") && line.contains("; "),
                "{line}"
            );
        }
    }

    #[test]
    fn the_smart_hosts_password_is_a_files_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let config = config(&format!(
            "[outbound]\nsmart_host = \"relay.test\"\nsmart_host_user = \"us\"\nsmart_host_password_file = {path:?}\n"
        ));
        let told = |config: &Config| crate::one_line(&smart_host_credentials(config).unwrap_err());
        assert!(told(&config).starts_with("outbound.smart_host_password_file: there is no file"));
        std::fs::write(&path, "\n").unwrap();
        assert!(told(&config).contains("is empty; write"));
        std::fs::write(&path, "a secret \r\nmore").unwrap();
        let read = smart_host_credentials(&config).unwrap().unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("us", "a secret "));
    }

    #[test]
    fn a_key_of_an_account_elsewhere_is_read_in_either_alphabet_of_base64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let config = config(&format!(
            "[acme]\nexternal_account_key_id = \"kid-1\"\nexternal_account_key_file = {path:?}\n"
        ));
        let told = |config: &Config| crate::one_line(&external_account(config).unwrap_err());
        assert!(told(&config).starts_with("acme.external_account_key_file: there is no file"));
        for text in ["-_8A", "+/8A\n", " -_8A== \n"] {
            std::fs::write(&path, text).unwrap();
            let read = external_account(&config).unwrap().unwrap();
            assert_eq!(
                (read.key_id.as_str(), read.key.as_slice()),
                ("kid-1", &[0xfb, 0xff, 0][..])
            );
        }
        for bad in ["", "no base64!"] {
            std::fs::write(&path, bad).unwrap();
            assert!(told(&config).contains("holds no base64; write the key"));
        }
    }

    #[test]
    fn a_certificate_that_is_wrong_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["one.test".to_string()];
        let (good, good_key) = ringpost_net::tls::self_signed(folder.path(), &names).unwrap();
        let config = config(&format!("[tls]\ncertificate = {good:?}\nkey = {good_key:?}\n"));
        let tls = certificate(&config).unwrap().unwrap();
        assert!(reload_certificate(&config, &tls).unwrap());
        std::fs::write(&good, "half").unwrap();
        assert!(reload_certificate(&config, &tls).is_err());
    }
}
