//! Mounts that phones dial: which one is meant, who may hear it, and its sound on the way to a leg.

use super::Streams;
use crate::world::MediaPlane;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_media::{Command, LegId};
use ringpost_phone::{DialledMount, MountCaller};
use ringpost_rtsp::server::Access;
use ringpost_stream::hub::{Answer, NotHeard};
use ringpost_stream::{Description, Heard, MountName};
use std::sync::{Arc, Mutex, PoisonError};

/// After how many samples that a phone has heard its right to them is looked at again: a second's.
const SAMPLES_A_LOOK: usize = 8_000;

/// The sound of a mount as it comes, decoded; closed when the mount is no more. Who drops it listens no longer.
pub type Sound = async_channel::Receiver<Heard>;

/// The mounts that are live.
pub trait LiveMounts: Send + Sync + 'static {
    /// Listens to one; one that is pulled when it is wanted is waited for. `None` when nobody can tell. Decoding is work: it is done elsewhere than where this is awaited.
    fn listen(&self, mount: MountName) -> BoxFuture<'static, Option<Result<Sound, NotHeard>>>;
    /// Has a mount of one track live for `user`, until the sender of its RTP packets is dropped; `None` where there is no room
    /// for another. The channel is closed when it is published no more.
    fn publish(
        &self,
        mount: MountName,
        user: String,
        description: Description,
    ) -> BoxFuture<'static, Option<async_channel::Sender<Bytes>>>;
    /// Has work done elsewhere than where this is called, for it may be much.
    fn elsewhere(&self, work: BoxFuture<'static, ()>);
}

/// A number that is dialled for a mount, in the default domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountNumber {
    /// What is dialled.
    pub number: Box<str>,
    /// The mount.
    pub mount: MountName,
}

/// Mounts as the phone service's questions see them.
#[derive(Clone)]
pub struct Dialling {
    /// Who may read what.
    pub streams: Streams,
    /// What is live.
    pub live: Arc<dyn LiveMounts>,
    /// The numbers, which may change while the server runs.
    pub numbers: Arc<Mutex<Vec<MountNumber>>>,
}

impl Dialling {
    /// What becomes of who dials `user` at `domain`.
    ///
    /// Whether a name below an account's is a mount is told only to who may read it, as RTSP does; of a name of one part, which
    /// could have been anybody's, it is said that there is nobody.
    pub async fn find(&self, user: &str, domain: &str, caller: Option<MountCaller>) -> DialledMount {
        let by_number = self.by_number(user, domain);
        let is_named = by_number.is_some() || user.contains('/');
        let Some(mount) = by_number.or_else(|| self.by_name(user, domain)) else {
            return DialledMount::Unknown;
        };
        match self.may_read(&mount, caller).await {
            None => return DialledMount::Unavailable,
            Some(false) if is_named => return DialledMount::Forbidden,
            Some(false) => return DialledMount::Unknown,
            Some(true) => {}
        }
        let heard = match self.live.listen(mount.clone()).await {
            Some(Err(NotHeard::NotLive)) => Some(self.streams.played(&mount).await.map(drop)),
            other => other.map(|heard| heard.map(drop)),
        };
        match heard {
            Some(Ok(())) => DialledMount::Live(mount.as_str().into()),
            Some(Err(NotHeard::NotLive)) if self.is_known(&mount).await => DialledMount::NotLive,
            Some(Err(NotHeard::NotLive)) => DialledMount::Unknown,
            Some(Err(NotHeard::NotPulled)) => DialledMount::NotPulled,
            Some(Err(NotHeard::Undecodable(encodings))) => DialledMount::Undecodable(encodings),
            Some(Err(NotHeard::Full)) | None => DialledMount::Unavailable,
        }
    }

    fn by_number(&self, user: &str, domain: &str) -> Option<MountName> {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |number: &&MountNumber| *number.number == *user;
        let found = numbers
            .iter()
            .find(is_meant)
            .filter(|_| domain == self.streams.directory.default_domain());
        found.map(|number| number.mount.clone())
    }

    /// In another than the default domain, mounts are named below addresses.
    fn by_name(&self, user: &str, domain: &str) -> Option<MountName> {
        if domain == self.streams.directory.default_domain() {
            return user.parse().ok();
        }
        let (first, rest) = user
            .split_once('/')
            .map_or((user, None), |(first, rest)| (first, Some(rest)));
        let name = match rest {
            Some(rest) => format!("{first}@{domain}/{rest}"),
            None => format!("{first}@{domain}"),
        };
        name.parse().ok()
    }

    /// Whoever calls must have proven who it is, whatever the rules say of strangers; `None` when nobody can tell.
    async fn may_read(&self, mount: &MountName, caller: Option<MountCaller>) -> Option<bool> {
        let Some(MountCaller { person, device }) = caller else {
            return Some(false);
        };
        let is_default = *person.domain == *self.streams.directory.default_domain();
        let user = match is_default {
            true => device.into_string(),
            false => format!("{device}@{}", person.domain),
        };
        match self.streams.named(&user).await {
            Ok(named) => {
                Some(named.is_some_and(|asking| self.streams.may(Some(&asking), mount, Access::Read)))
            }
            Err(error) => {
                tracing::warn!(%error, "the directory could not answer");
                None
            }
        }
    }

    /// Whether there is something of that name, though it is not live: it has a number, the configuration names it, or there is
    /// something to be played.
    async fn is_known(&self, mount: &MountName) -> bool {
        if self.is_configured(mount) {
            return true;
        }
        let listed = self.streams.shelves.list(&self.streams.directory, mount).await;
        matches!(listed, Answer::Files { .. })
    }

    fn is_configured(&self, mount: &MountName) -> bool {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = self.streams.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = rules.iter().map(|rule| rule.pattern.to_string());
        numbers.iter().any(|number| number.mount == *mount) || names.any(|name| name == mount.as_str())
    }

    /// The sound of a mount: what is live, or else what can be played.
    async fn sound_of(&self, mount: MountName) -> Option<Sound> {
        match self.live.listen(mount.clone()).await? {
            Ok(sound) => Some(sound),
            Err(NotHeard::NotLive) => {
                let played = self.streams.played(&mount).await.ok()?;
                Some(played.play(self.streams.clone(), mount, &self.live))
            }
            Err(_) => None,
        }
    }

    /// Feeds a mount's sound to a leg until it is no more, or its caller may not hear it any more. Ending earlier is dropping
    /// the future.
    pub async fn hear(&self, mount: &str, caller: Option<MountCaller>, leg: LegId, media: &dyn MediaPlane) {
        let Ok(mount) = mount.parse::<MountName>() else {
            return;
        };
        let Some(sound) = self.sound_of(mount.clone()).await else {
            return;
        };
        let mut samples = 0;
        while let Ok(heard) = sound.recv().await {
            samples += heard.samples.len();
            if samples >= SAMPLES_A_LOOK {
                samples = 0;
                // While nobody can tell, what was allowed is.
                if self.may_read(&mount, caller.clone()).await == Some(false) {
                    tracing::info!(%mount, ?leg, "a phone may hear a mount no more");
                    return;
                }
            }
            media.command(Command::Feed {
                leg,
                timestamp: heard.timestamp,
                samples: heard.samples.into(),
            });
        }
    }
}
