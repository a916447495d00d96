//! Calls as mounts: what both sides of a call say, live for the account whose call it is.

use super::{LiveMounts, Streams};
use crate::world::WorldRef;
use futures_util::future::FutureExt;
use ringpost_base::{UnixTime, limits};
use ringpost_media::{CallSound, Tapped};
use ringpost_phone::Overheard;
use ringpost_stream::{Description, MountName};
use std::sync::Arc;
use tracing::warn;

/// The mount below an account's that holds its calls, `alice/call`: what was recorded of them in a row, the oldest first. Each
/// by itself is `alice/call/20261127T101500Z-7`: when it began, and its number in the log.
pub(super) use ringpost_stream::CALLS as CALL;

/// What a call's mount is: linear samples, which every player takes, the account's side left and the other one right.
//= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.11
const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=Call\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\n\
    a=rtpmap:96 L16/8000/2\r\n";

/// The calls that are mounts.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    /// Each of them holds one.
    count: Arc<()>,
}

/// What is needed to make a mount of a call.
pub(crate) struct CallParts<'a> {
    pub(crate) world: &'a WorldRef,
    pub(crate) streams: &'a Streams,
    pub(crate) live: &'a Arc<dyn LiveMounts>,
}

impl Calls {
    /// Makes a mount of a call, until `sound` ends.
    pub(crate) fn begin(
        &self,
        parts: &CallParts<'_>,
        call: &Overheard,
        sound: async_channel::Receiver<Tapped>,
    ) {
        let default = parts.streams.directory.default_domain();
        let Some(mount) = mount_of(call, default) else {
            return warn!(
                call = call.call.0,
                "no mount can be called like the account: its call is none"
            );
        };
        if Arc::strong_count(&self.count) > limits::CALL_MOUNTS {
            return warn!(%mount, "too many calls are mounts already: this one is none");
        }
        let live = parts.live.clone();
        let work = run(parts.world.clone(), live, mount, call.clone(), sound);
        let held = self.count.clone();
        parts.live.elsewhere(Box::pin(work.map(move |()| drop(held))));
    }
}

fn mount_of(call: &Overheard, default: &str) -> Option<MountName> {
    let person = &call.person;
    let owner = match *person.domain == *default {
        true => person.user.to_string(),
        false => format!("{}@{}", person.user, person.domain),
    };
    format!("{owner}/{CALL}/{}", name_of(call.began, call.call.0))
        .parse()
        .ok()
}

/// Names are ordered as their times are, and differ after a restart, which counts calls from one again.
fn name_of(began: UnixTime, call: u64) -> String {
    let (year, month, day, hour, minute, second) = began.civil();
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{call}")
}

async fn run(
    world: WorldRef,
    live: Arc<dyn LiveMounts>,
    mount: MountName,
    call: Overheard,
    sound: async_channel::Receiver<Tapped>,
) {
    let description = match Description::parse(DESCRIPTION.as_bytes()) {
        Ok((description, _)) => description,
        Err(error) => return warn!(%error, "a call's description"),
    };
    let user = mount.first().to_owned();
    let Some(packets) = live.publish(mount.clone(), user, description).await else {
        return warn!(%mount, "the call is no mount: there is no room for another");
    };
    let mut call = CallSound::new(world.now(), world.rng().u32(), call.own, call.far);
    let mut sleep = world.sleep_until(call.next_timeout()).fuse();
    loop {
        futures_util::select_biased! {
            () = sleep => {
                while let Some(packet) = call.poll(world.now()) {
                    if packets.send(packet).await.is_err() {
                        // Somebody has taken the mount over, or ended it.
                        return;
                    }
                }
                sleep = world.sleep_until(call.next_timeout()).fuse();
            }
            packet = sound.recv().fuse() => match packet {
                Ok(packet) => call.handle_packet(&packet),
                // The call is over.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_media::LegId;
    use ringpost_phone::{CallId, Person};

    fn call(user: &str, domain: &str) -> Overheard {
        let person = Person {
            account: ringpost_store::AccountId(1),
            user: user.into(),
            domain: domain.into(),
            extension: None,
            name: "".into(),
        };
        Overheard {
            call: CallId(7),
            began: UnixTime::from_secs(1_795_774_500),
            person: Arc::new(person),
            own: LegId(1),
            far: LegId(2),
        }
    }

    #[test]
    fn a_call_is_called_after_its_account_its_time_and_its_number() {
        let name = |user, domain| mount_of(&call(user, domain), "example.org").map(|name| name.to_string());
        assert_eq!(
            name("alice", "example.org").as_deref(),
            Some("alice/call/20261127T101500Z-7")
        );
        assert_eq!(
            name("alice", "other.example").as_deref(),
            Some("alice@other.example/call/20261127T101500Z-7")
        );
        assert_eq!(name("al ice", "example.org"), None);
    }
}
