//! What is played that is not live: files and folders of the configuration, voicemails, recordings.

use ringpost_base::limits;
use ringpost_directory::{AccountInfo, Directory};
use ringpost_mail::Mail;
use ringpost_store::records::MailboxId;
use ringpost_store::{FileInfo, FileName, Files, FolderName, StoreError};
use ringpost_stream::hub::{Answer, folder_of};
use ringpost_stream::{MountName, VOICEMAIL};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that the configuration names for a mount.
#[derive(Clone)]
pub struct Source {
    /// The mount. Of a folder, each file is a mount below it too.
    pub mount: MountName,
    /// Where the file or the folder lies.
    pub files: Arc<dyn Files>,
    /// The name of the one file there that is the mount; `None` for all that can be played, in the order of their names.
    pub file: Option<String>,
}

/// All that is played and not live.
#[derive(Clone)]
pub struct Shelves {
    /// What the configuration names, which may change while the server runs.
    pub sources: Arc<Mutex<Vec<Source>>>,
    /// Where mounts are recorded.
    pub recordings: Arc<dyn Files>,
    /// Where voicemails are.
    pub mail: Arc<Mail>,
}

/// Where a mount's files are.
enum Place {
    /// In a folder of the operator's: those of this name, or all.
    Source(Arc<dyn Files>, Option<String>),
    /// In an account's mailboxes: one, or all.
    Voicemail(Arc<AccountInfo>, Option<String>),
    Recordings(FolderName),
    /// The recordings of all calls of an account.
    Calls(FolderName),
    Nowhere,
}

impl Shelves {
    async fn place_of(&self, directory: &Directory, mount: &MountName) -> Place {
        if let Some(place) = self.source_of(mount) {
            return place;
        }
        let parts: Vec<&str> = mount.as_str().split('/').collect();
        if let [owner, VOICEMAIL, rest @ ..] = &parts[..]
            && rest.len() <= 1
        {
            let default = directory.default_domain();
            let (name, domain) = owner.rsplit_once('@').unwrap_or((owner, default));
            return match directory.account(domain, name).await {
                // Aliases and numbers are other names, and no mounts.
                Ok(Some(account)) if account.address.local_part() == name => {
                    Place::Voicemail(account, rest.first().map(|one| one.to_string()))
                }
                _ => Place::Nowhere,
            };
        }
        let folder = folder_of(mount);
        match &parts[..] {
            [_, super::calls::CALL] => folder.map_or(Place::Nowhere, Place::Calls),
            _ => folder.map_or(Place::Nowhere, Place::Recordings),
        }
    }

    /// Why nobody may publish to a mount: a live stream would hide what it plays.
    pub(super) async fn reserved_for(
        &self,
        directory: &Directory,
        mount: &MountName,
    ) -> Option<&'static str> {
        let mut parts = mount.as_str().split('/').skip(1);
        // The recordings of one call are those of all calls too.
        if parts.next() == Some(super::calls::CALL) && parts.count() <= 1 && self.source_of(mount).is_none() {
            return Some("this mount plays calls");
        }
        match self.place_of(directory, mount).await {
            Place::Source(..) => Some("this mount plays files of the server"),
            Place::Voicemail(..) => Some("this mount plays voicemails"),
            Place::Calls(_) => Some("this mount plays calls"),
            Place::Recordings(_) | Place::Nowhere => None,
        }
    }

    fn source_of(&self, mount: &MountName) -> Option<Place> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().find_map(|source| {
            if source.mount == *mount {
                return Some(Place::Source(source.files.clone(), source.file.clone()));
            }
            let below = mount
                .as_str()
                .strip_prefix(source.mount.as_str())?
                .strip_prefix('/')?;
            let is_one = source.file.is_none() && !below.contains('/');
            is_one.then(|| Place::Source(source.files.clone(), Some(below.to_owned())))
        })
    }

    /// The files of a mount.
    pub(super) async fn list(&self, directory: &Directory, mount: &MountName) -> Answer {
        let listed: Result<(bool, Vec<FileInfo>), StoreError> = match self.place_of(directory, mount).await {
            Place::Nowhere => return Answer::Nothing,
            Place::Source(files, only) => {
                let is_wanted = |info: &FileInfo| match &only {
                    Some(only) => info.name.name() == only,
                    None => is_media(info.name.name()),
                };
                let listed = files.list(&FolderName::root()).await;
                listed.map(|files| (true, files.into_iter().filter(is_wanted).collect()))
            }
            Place::Recordings(folder) => self.recordings.list(&folder).await.map(|files| (false, files)),
            Place::Calls(folder) => self.calls(&folder).await.map(|files| (true, files)),
            Place::Voicemail(account, one) => self
                .voicemails(&account, one.as_deref())
                .await
                .map(|files| (true, files)),
        };
        match listed {
            Ok((_, files)) if files.is_empty() => Answer::Nothing,
            Ok((is_playlist, files)) => Answer::Files { is_playlist, files },
            Err(error) => {
                tracing::warn!(%mount, %error, "what there is to play cannot be listed");
                Answer::Unavailable
            }
        }
    }

    /// Octets of one of them.
    pub(super) async fn read(
        &self,
        directory: &Directory,
        mount: &MountName,
        file: &FileName,
        range: Range<u64>,
    ) -> Answer {
        let read = match self.place_of(directory, mount).await {
            Place::Nowhere => Ok(None),
            Place::Source(files, _) => files.read(file, range).await,
            Place::Recordings(_) | Place::Calls(_) => self.recordings.read(file, range).await,
            Place::Voicemail(account, _) => self.sound_of(&account, file.name()).await.map(|sound| {
                let sound = sound?;
                let end = range.end.min(sound.len() as u64);
                let range = range.start.min(end) as usize..end as usize;
                Some(sound.slice(range))
            }),
        };
        match read {
            Ok(Some(octets)) => Answer::Octets(octets),
            Ok(None) => Answer::Unreadable("it is not there any more".into()),
            Err(error) => Answer::Unreadable(error.to_string()),
        }
    }

    /// What was recorded of an account's calls, in the order of their names, which is that of their times. What is being
    /// recorded has no end yet.
    async fn calls(&self, folder: &FolderName) -> Result<Vec<FileInfo>, StoreError> {
        let mut calls = self.recordings.folders(folder).await?;
        calls.sort();
        let mut files = Vec::new();
        for call in calls {
            let listed = self.recordings.list(&call).await?.into_iter();
            files.extend(listed.filter(|info| !info.is_open && is_media(info.name.name())));
            if files.len() >= limits::PLAYED_FILES {
                break;
            }
        }
        Ok(files)
    }

    async fn voicemails(
        &self,
        account: &AccountInfo,
        only: Option<&str>,
    ) -> Result<Vec<FileInfo>, StoreError> {
        let mut files = Vec::new();
        for voicemail in self.mail.voicemails(account.id).await.map_err(unreadable)? {
            let number = format!("{}-{}", voicemail.mailbox.0, voicemail.uid);
            if only.is_some_and(|only| only != number) {
                continue;
            }
            let name = format!("{number}.wav");
            let Ok(name) = name.parse() else { continue };
            let size = self
                .mail
                .voicemail_size(account.id, voicemail.mailbox, voicemail.uid)
                .await;
            let size_bytes = match size {
                Ok(size_bytes) => size_bytes,
                Err(ringpost_mail::MailError::Store(error)) => return Err(StoreError::Io(error)),
                // It was removed, or holds no sound.
                Err(_) => continue,
            };
            files.push(FileInfo {
                name,
                size_bytes,
                modified: voicemail.received,
                is_open: false,
            });
        }
        Ok(files)
    }

    async fn sound_of(&self, account: &AccountInfo, name: &str) -> Result<Option<bytes::Bytes>, StoreError> {
        let number = name
            .strip_suffix(".wav")
            .and_then(|number| number.split_once('-'));
        let numbers = number.and_then(|(mailbox, uid)| Some((mailbox.parse().ok()?, uid.parse().ok()?)));
        let Some((mailbox, uid)) = numbers else {
            return Ok(None);
        };
        let sound = self
            .mail
            .voicemail_audio(account.id, MailboxId(mailbox), uid)
            .await;
        match sound {
            Ok(sound) => Ok(Some(sound)),
            Err(ringpost_mail::MailError::Store(error)) => Err(StoreError::Io(error)),
            // It was removed, or holds no sound.
            Err(_) => Ok(None),
        }
    }
}

fn unreadable(error: ringpost_mail::MailError) -> StoreError {
    StoreError::Io(error.to_string())
}

fn is_media(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("mp4" | "m4a" | "m4v" | "mov" | "wav"))
}
