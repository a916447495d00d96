//! Files and voicemails that phones dial: played to one leg, from their beginning to their end.

use super::{Sound, Streams};
use ringpost_store::FileName;
use ringpost_stream::hub::{Answer, NotHeard};
use ringpost_stream::playback::{Catalog, CatalogOutput, Event, Output, Play, Player, Timeline};
use ringpost_stream::{Heard, Hearing, MountName};
use std::ops::Range;
use std::sync::Arc;

/// What there is to be heard of a mount that is not live.
pub(super) struct Played {
    timeline: Timeline,
    track: usize,
    hearing: Hearing,
}

impl Streams {
    /// Looks for it: files, folders, voicemails and calls. What was recorded of another mount is not played to who dials that.
    pub(super) async fn played(&self, mount: &MountName) -> Result<Played, NotHeard> {
        let listed = self.shelves.list(&self.directory, mount).await;
        let Answer::Files {
            is_playlist: true,
            files,
        } = listed
        else {
            return Err(NotHeard::NotLive);
        };
        let mut catalog = Catalog::playlist();
        catalog.handle_list(files);
        loop {
            match catalog.poll_output() {
                CatalogOutput::Read { file, range } => match self.octets(mount, &file, range).await {
                    Ok(octets) => catalog.handle_data(octets),
                    Err(why) => catalog.handle_failed(&why),
                },
                CatalogOutput::Damaged { file, error } => {
                    tracing::warn!(%mount, %file, %error, "a file is not played, or not all of it");
                }
                CatalogOutput::Ready => break,
            }
        }
        let timeline = catalog.timeline().map_err(|_| NotHeard::NotLive)?;
        let tracks = timeline.description("").tracks;
        let mut heard = tracks.iter().enumerate();
        match heard.find_map(|(track, of)| Some((track, Hearing::new(of.codec())?))) {
            Some((track, hearing)) => Ok(Played {
                timeline,
                track,
                hearing,
            }),
            None => {
                let encodings = tracks.iter().map(|track| track.codec().name.to_string());
                Err(NotHeard::Undecodable(encodings.collect()))
            }
        }
    }

    async fn octets(
        &self,
        mount: &MountName,
        file: &FileName,
        range: Range<u64>,
    ) -> Result<bytes::Bytes, String> {
        match self.shelves.read(&self.directory, mount, file, range).await {
            Answer::Octets(octets) => Ok(octets),
            Answer::Unreadable(why) => Err(why),
            _ => Err("the server could not answer".into()),
        }
    }
}

impl Played {
    /// Plays it, decoded; the channel closes with its end. `elsewhere` has the work done.
    pub(super) fn play(
        self,
        streams: Streams,
        mount: MountName,
        elsewhere: &Arc<dyn super::LiveMounts>,
    ) -> Sound {
        let (heard_in, heard) = async_channel::bounded(1);
        elsewhere.elsewhere(Box::pin(run(self, streams, mount, heard_in)));
        heard
    }
}

async fn run(played: Played, streams: Streams, mount: MountName, heard_in: async_channel::Sender<Heard>) {
    let Played {
        timeline,
        track,
        mut hearing,
    } = played;
    let world = &streams.world;
    let mut player = Player::new(timeline, &mut world.rng());
    player.set_tracks(&[track]);
    player.play(world.now(), Play::default());
    loop {
        match player.poll_output() {
            Output::Packet { bytes, .. } => {
                hearing.handle_packet(&bytes);
                while let Some(heard) = hearing.poll() {
                    if heard_in.send(heard).await.is_err() {
                        // The phone has hung up.
                        return;
                    }
                }
            }
            Output::Read { id, file, range } => match streams.octets(&mount, &file, range).await {
                Ok(octets) => player.handle_data(world.now(), id, octets),
                Err(why) => player.handle_failed(world.now(), id, &why),
            },
            Output::Event(Event::Ended | Event::Refused(_)) => return,
            Output::Event(Event::Damaged { file, error }) => {
                tracing::warn!(%mount, %file, %error, "a file is not played, or not all of it");
            }
            Output::Event(Event::Played(_) | Event::Jumped(_)) | Output::Refresh => {}
            Output::Timeout(Some(at)) => {
                if heard_in.is_closed() {
                    return;
                }
                world.sleep_until(at).await;
                player.handle_timeout(world.now());
            }
            Output::Timeout(None) => return,
        }
    }
}
