//! What lasts: the account at the authority, and the certificate with its key, in a folder that is its owner's alone.

use ringpost_net::tls::{Pair, TlsError, write};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const NAME: &str = "acme";
const ACCOUNT: &str = "account.json";
const CERTIFICATE: &str = "certificate.pem";
/// What stands before the directory's address in the first line of the certificate's file.
const MARK: &str = "Directory: ";

/// The folder in the data folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// Why something cannot be kept, or read again.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refuses.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: io::Error,
    },
    /// It is not what was written.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
}

/// Who we are to an authority.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredAccount {
    /// The authority, by the address of its directory.
    pub(crate) directory: String,
    /// What it was told of how to reach us.
    pub(crate) contact: Vec<String>,
    /// The account elsewhere that it is bound to.
    pub(crate) external_key_id: Option<String>,
    /// The account's address and its key, as instant-acme writes them.
    pub(crate) credentials: serde_json::Value,
}

impl Folder {
    /// The one of this data folder. It is made when something is kept in it.
    pub fn of(data: &Path) -> Self {
        Folder(data.join(NAME))
    }

    /// Where the certificate is, with its key behind it.
    pub fn certificate(&self) -> PathBuf {
        self.0.join(CERTIFICATE)
    }

    /// The certificate that was kept; `None` when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub fn load(&self) -> Result<Option<Pair>, FolderError> {
        let path = self.certificate();
        let Some(pem) = found(&path)? else { return Ok(None) };
        match Pair::from_pem(&pem) {
            Ok(pair) => Ok(Some(pair)),
            Err(error) => Err(FolderError::Content {
                path,
                reason: error.to_string(),
            }),
        }
    }

    /// Whose certificate was kept, by the address of the authority's directory.
    pub(crate) fn directory(&self) -> Option<String> {
        let pem = std::fs::read(self.certificate()).ok()?;
        let line = pem.split(|byte| *byte == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?;
        line.strip_prefix(MARK).map(str::to_owned)
    }

    /// Keeps a certificate chain with its key, both as PEM, and gives them checked: in one file, so that no crash parts them.
    ///
    /// # Errors
    /// When they do not fit together, or the disk is full; what was there before is there still.
    pub(crate) fn keep(&self, directory: &str, chain: &str, key: &str) -> Result<Pair, FolderError> {
        //= https://www.rfc-editor.org/rfc/rfc7468#section-2
        // Text before the first label is allowed.
        let pem = format!("{MARK}{directory}\n{}\n{key}", chain.trim_end());
        let pair = Pair::from_pem(pem.as_bytes()).map_err(|error: TlsError| FolderError::Content {
            path: self.certificate(),
            reason: error.to_string(),
        })?;
        self.write(&self.certificate(), pem.as_bytes())?;
        Ok(pair)
    }

    pub(crate) fn account(&self) -> Result<Option<StoredAccount>, FolderError> {
        let path = self.0.join(ACCOUNT);
        let Some(json) = found(&path)? else {
            return Ok(None);
        };
        match serde_json::from_slice(&json) {
            Ok(account) => Ok(Some(account)),
            Err(error) => Err(FolderError::Content {
                path,
                reason: format!("expected an account at an authority: {error}"),
            }),
        }
    }

    pub(crate) fn keep_account(&self, account: &StoredAccount) -> Result<(), FolderError> {
        let json = serde_json::to_vec_pretty(account).unwrap_or_default();
        self.write(&self.0.join(ACCOUNT), &json)
    }

    /// Forgets an account that the authority does not know.
    pub(crate) fn forget_account(&self) -> Result<(), FolderError> {
        let path = self.0.join(ACCOUNT);
        match std::fs::remove_file(&path) {
            Err(reason) if reason.kind() != ErrorKind::NotFound => Err(FolderError::Io { path, reason }),
            _ => Ok(()),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
        let failed = |reason| FolderError::Io {
            path: path.to_owned(),
            reason,
        };
        match std::fs::DirBuilder::new().mode(0o700).create(&self.0) {
            Err(reason) if reason.kind() != ErrorKind::AlreadyExists => return Err(failed(reason)),
            _ => {}
        }
        write(path, bytes, 0o600).map_err(failed)
    }
}

fn found(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(reason) => Err(FolderError::Io {
            path: path.to_owned(),
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_an_account_are_kept_for_the_owner_alone_and_found_again() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path());
        assert!(folder.load().unwrap().is_none() && folder.account().unwrap().is_none());
        assert_eq!(folder.directory(), None);
        let (chain, key) = made("one.test");
        folder.keep("https://ca.test/dir", &chain, &key).unwrap();
        let names = folder
            .load()
            .unwrap()
            .unwrap()
            .certificate()
            .unwrap()
            .names
            .clone();
        assert_eq!(names, ["one.test"]);
        assert_eq!(folder.directory().as_deref(), Some("https://ca.test/dir"));
        let account = StoredAccount {
            directory: "https://ca.test/dir".into(),
            contact: vec!["mailto:a@one.test".into()],
            external_key_id: None,
            credentials: serde_json::json!({"id": "x"}),
        };
        folder.keep_account(&account).unwrap();
        assert_eq!(folder.account().unwrap().unwrap().contact, account.contact);
        for name in ["", "certificate.pem", "account.json"] {
            let mode = std::fs::metadata(data.path().join("acme").join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
        folder.forget_account().unwrap();
        folder.forget_account().unwrap();
        assert!(folder.account().unwrap().is_none());
    }

    #[test]
    fn a_key_that_does_not_fit_leaves_what_was_there() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path());
        let ((chain, key), (_, other)) = (made("one.test"), made("two.test"));
        folder.keep("https://ca.test/dir", &chain, &key).unwrap();
        assert!(folder.keep("https://ca.test/dir", &chain, &other).is_err());
        assert!(folder.keep("https://ca.test/dir", "junk", &key).is_err());
        assert!(folder.load().unwrap().is_some());
        std::fs::write(folder.certificate(), "half").unwrap();
        let told = folder.load().err().unwrap().to_string();
        assert!(
            told.contains("certificate.pem") && told.contains("expected"),
            "{told}"
        );
    }
}
