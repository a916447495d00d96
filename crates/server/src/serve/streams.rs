//! The streams' thread, joined with the directory and the rules of the configuration.

use super::signalling::Names;
use crate::config::{Config, Played};
use crate::stores::RECORDINGS;
use crate::world::{RealWorld, random};
use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_admin::Metrics;
use ringpost_base::limits;
use ringpost_blobs::DiskFiles;
use ringpost_directory::Directory;
use ringpost_mail::Mail;
use ringpost_net::dns::Resolver;
use ringpost_net::media::MediaHandle;
use ringpost_net::rtsp::{Multicast, RtspCounters, RtspHandle, RtspParts, RtspThread};
use ringpost_net::stream::Places;
use ringpost_net::tls::{Authorities, Tls};
use ringpost_node::Stop;
use ringpost_node::peers::Peers;
use ringpost_node::stream::{
    Dialling, LiveMounts, LiveSessions, MountNumber, MountRule, PullSources, Shelves, Sound, Source,
    StreamAnswers, Streams, keep_to_rights, nobodies,
};
use ringpost_node::world::World;
use ringpost_store::{Bus, Files, FolderName, Interest, StoreError, expired};
use ringpost_stream::hub::{Answer, NotHeard, QuestionId};
use ringpost_stream::recording::began;
use ringpost_stream::{Description, MountName};
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often recordings that are kept no longer are looked for: so much of a stream is kept beside what is set, at most.
const RETENTION_PERIOD: Duration = Duration::from_secs(10);
/// Questions that wait for the node.
const QUESTIONS: usize = 1_024;

/// What streams are made of.
pub(super) struct StreamParts<'a> {
    pub(super) config: &'a Config,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) tls_listeners: Vec<TcpListener>,
    pub(super) tls: Tls,
    pub(super) authorities: Authorities,
    pub(super) resolver: Arc<Resolver>,
    pub(super) places: Arc<Places>,
    pub(super) media: MediaHandle,
    pub(super) world: Arc<RealWorld>,
    pub(super) directory: Directory,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) mail: Arc<Mail>,
    pub(super) folder: &'a Path,
    pub(super) stop: Stop,
    pub(super) current: Arc<Mutex<Config>>,
    pub(super) peers: Arc<Peers>,
}

/// The streams of a running server.
pub(super) struct Streaming {
    pub(super) thread: RtspThread,
    rules: Arc<Mutex<Vec<MountRule>>>,
    sources: Arc<Mutex<Vec<Source>>>,
    pull_networks: Arc<Mutex<Vec<(IpAddr, u8)>>>,
    numbers: Arc<Mutex<Vec<MountNumber>>>,
    /// The mounts as phones dial them.
    pub(super) dialling: Dialling,
}

impl StreamParts<'_> {
    /// Starts the thread, and what answers its questions.
    pub(super) fn start(self) -> Result<Streaming> {
        let (questions_in, questions) = async_channel::bounded(QUESTIONS);
        let rtsp = ringpost_rtsp::server::Config {
            realm: self.directory.default_domain().to_owned(),
            ..ringpost_rtsp::server::Config::default()
        };
        let config = ringpost_stream::hub::Config {
            rtsp,
            settings: self.config.streams.settings(),
            vacancy: Duration::from_secs(self.config.streams.vacancy_s.into()),
            pairs: self.config.media.ports.pairs() / 2,
            groups: self.config.streams.groups(),
            sap: self.config.streams.sap,
            ..ringpost_stream::hub::Config::default()
        };
        let files = Arc::new(
            DiskFiles::open(self.folder.join(RECORDINGS)).context("streams: the folder of recordings")?,
        );
        let thread = RtspThread::start(RtspParts {
            listeners: self.listeners,
            tls_listeners: self.tls_listeners,
            tls: self.tls,
            authorities: self.authorities,
            places: self.places,
            config,
            multicast: Multicast {
                interface: self.config.streams.multicast_interface.clone(),
                sap: self.config.streams.sap,
            },
            media: self.media,
            wallclock: self.world.unix_now(),
            files: files.clone(),
            rng: random(),
            questions: questions_in,
        })
        .context("streams: the thread cannot be started")?;
        let sources = Arc::new(Mutex::new(sources_of(self.config)));
        let rules = Arc::new(Mutex::new(self.config.streams.rules()));
        let pull_networks = Arc::new(Mutex::new(self.config.streams.pull_networks()));
        tokio::spawn(tell_of_nobodies(
            self.directory.clone(),
            self.config.streams.rules(),
        ));
        let streams = Streams {
            world: self.world,
            directory: self.directory,
            peers: self.peers,
            rules: rules.clone(),
            shelves: Shelves {
                sources: sources.clone(),
                recordings: files.clone(),
                mail: self.mail,
            },
            pulls: PullSources {
                dns: Arc::new(Names(self.resolver)),
                networks: pull_networks.clone(),
            },
        };
        let numbers = Arc::new(Mutex::new(self.config.streams.numbers()));
        let dialling = Dialling {
            streams: streams.clone(),
            live: Arc::new(Live(thread.handle().clone(), tokio::runtime::Handle::current())),
            numbers: numbers.clone(),
        };
        let heard = self.bus.subscribe(Interest::AllButMail);
        let sessions = Arc::new(Sessions(thread.handle().clone()));
        tokio::spawn(keep_to_rights(streams.directory.clone(), heard, sessions));
        let answers = Arc::new(Answers(thread.handle().clone()));
        tokio::spawn(ringpost_node::stream::run(streams, questions, answers));
        tokio::spawn(keep_to_retention(files, self.current, self.stop));
        Ok(Streaming {
            thread,
            rules,
            sources,
            pull_networks,
            numbers,
            dialling,
        })
    }
}

impl Streaming {
    /// Shows what the thread has done.
    pub(super) fn watch(&self, metrics: &Metrics) {
        type Count = fn(&RtspCounters) -> u64;
        let counted: [(&str, &str, Count); 4] = [
            ("streams_sent_bytes", "Octets of streams sent to readers", |all| {
                all.sent_bytes
            }),
            (
                "streams_sent_packets",
                "Packets of streams sent to readers",
                |all| all.sent_packets,
            ),
            (
                "streams_unsent",
                "Datagrams of streams that the kernel did not take",
                |all| all.unsent,
            ),
            ("streams_received", "Datagrams of streams received", |all| {
                all.received
            }),
        ];
        for (name, help, count) in counted {
            let handle = self.thread.handle().clone();
            metrics.watch_counter(name, help, move || count(&handle.counters()));
        }
    }

    /// Goes by another configuration from now on; who reads or publishes and still may goes on.
    pub(super) async fn set(&self, config: &Config) {
        let networks = config.streams.pull_networks();
        *self.pull_networks.lock().unwrap_or_else(PoisonError::into_inner) = networks;
        // A thread that has ended has no use for it.
        let _ = self.thread.handle().set_settings(config.streams.settings()).await;
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = config.streams.rules();
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = sources_of(config);
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner) = config.streams.numbers();
        let _ = self.thread.handle().reconsider().await;
        let directory = self.dialling.streams.directory.clone();
        tell_of_nobodies(directory, config.streams.rules()).await;
    }
}

/// Tells of names that rules let in and that nobody has: what is misspelt would keep somebody out without a word.
async fn tell_of_nobodies(directory: Directory, rules: Vec<MountRule>) {
    match nobodies(&directory, &rules).await {
        Ok(names) => names.iter().for_each(|name| {
            tracing::warn!(%name, "streams.mounts lets somebody in who is not there: no account and no device has this name");
        }),
        Err(error) => tracing::warn!(%error, "whom streams.mounts names cannot be looked up"),
    }
}

/// What the configuration has played; what cannot be opened is told and left out.
fn sources_of(config: &Config) -> Vec<Source> {
    let mut sources = Vec::new();
    for (mount, played) in config.streams.played() {
        let (folder, file) = match played {
            Played::Folder(folder) => (Some(folder.as_path()), None),
            Played::File(path) => (path.parent(), path.file_name().and_then(|name| name.to_str())),
        };
        let is_there = folder.is_some_and(Path::is_dir);
        let opened = folder.filter(|_| is_there).map(DiskFiles::open);
        match opened {
            Some(Ok(files)) => sources.push(Source {
                mount,
                files: Arc::new(files),
                file: file.map(Into::into),
            }),
            Some(Err(error)) => tracing::warn!(%mount, %error, "its files cannot be played"),
            None => tracing::warn!(%mount, "its files cannot be played: there is no such folder"),
        }
    }
    sources
}

/// Removes recordings that are older, or more, than the configuration says.
async fn keep_to_retention(files: Arc<DiskFiles>, config: Arc<Mutex<Config>>, stop: Stop) {
    loop {
        let streams = config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .streams
            .clone();
        if let Err(error) = expire(&*files, &streams).await {
            tracing::warn!(%error, "old recordings cannot be removed");
        }
        tokio::select! {
            () = tokio::time::sleep(RETENTION_PERIOD) => {}
            () = stop.wait() => return,
        }
    }
}

async fn expire(files: &dyn Files, streams: &crate::config::Streams) -> Result<(), StoreError> {
    let mut folders = vec![FolderName::root()];
    while let Some(folder) = folders.pop() {
        folders.extend(files.folders(&folder).await?);
        let Ok(mount) = folder.as_str().parse::<MountName>() else {
            continue;
        };
        // What else lies there is somebody else's.
        let mut listed = files.list(&folder).await?;
        listed.retain(|file| began(file.name.name()).is_some());
        for file in expired(&listed, crate::stores::now(), streams.retention(&mount)) {
            files.remove(&file).await?;
            tracing::info!(file = %file, "recording removed, as it has been kept for as long or as much as is set");
        }
    }
    Ok(())
}

/// What is live, decoded on this runtime, for the signalling thread has other things to do.
struct Live(RtspHandle, tokio::runtime::Handle);

impl LiveMounts for Live {
    fn publish(
        &self,
        mount: MountName,
        user: String,
        description: Description,
    ) -> BoxFuture<'static, Option<async_channel::Sender<Bytes>>> {
        let (handle, runtime) = (self.0.clone(), self.1.clone());
        Box::pin(async move {
            let published = handle.publish(mount, user, description).await.ok()??;
            let (packets_in, packets) = async_channel::bounded::<Bytes>(limits::LISTENER_PACKETS);
            runtime.spawn(async move {
                while let Ok(packet) = packets.recv().await {
                    match handle.publish_packet(&published, packet).await {
                        Ok(true) => {}
                        Ok(false) | Err(_) => return,
                    }
                }
                // A thread that has ended has ended it too.
                let _ = handle.unpublish(published).await;
            });
            Some(packets_in)
        })
    }

    fn elsewhere(&self, work: BoxFuture<'static, ()>) {
        self.1.spawn(work);
    }

    fn listen(&self, mount: MountName) -> BoxFuture<'static, Option<Result<Sound, NotHeard>>> {
        let (handle, runtime) = (self.0.clone(), self.1.clone());
        Box::pin(async move {
            let sound = handle.listen(mount).await.ok()?;
            Some(sound.map(|mut sound| {
                let (heard_in, heard) = async_channel::bounded(1);
                runtime.spawn(async move {
                    loop {
                        let packet = tokio::select! {
                            packet = sound.packets.recv() => packet,
                            // Whoever heard it has gone, though no packet may come to find that out.
                            () = heard_in.closed() => return,
                        };
                        let Ok(packet) = packet else { return };
                        sound.hearing.handle_packet(&packet);
                        while let Some(heard) = sound.hearing.poll() {
                            if heard_in.send(heard).await.is_err() {
                                return;
                            }
                        }
                    }
                });
                heard
            }))
        })
    }
}

struct Sessions(RtspHandle);

// A thread that has ended has no sessions.
impl LiveSessions for Sessions {
    fn reconsider(&self) -> BoxFuture<'static, ()> {
        let handle = self.0.clone();
        Box::pin(async move {
            let _ = handle.reconsider().await;
        })
    }
}

struct Answers(RtspHandle);

impl StreamAnswers for Answers {
    fn answer(&self, id: QuestionId, answer: Answer) -> BoxFuture<'static, ()> {
        let handle = self.0.clone();
        Box::pin(async move {
            // A thread that has ended asks no more.
            let _ = handle.answer(id, answer).await;
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test says what it missed by panicking.
mod tests {
    use super::*;

    #[tokio::test]
    async fn retention_removes_and_counts_recordings_alone() {
        let folder = tempfile::tempdir().unwrap();
        let files = DiskFiles::open(folder.path().to_owned()).unwrap();
        let door = folder.path().join("alice/door");
        std::fs::create_dir_all(&door).unwrap();
        let names = ["20261127T025300.000Z.mp4", "20261127T025400.000Z.mp4"];
        for name in names.iter().chain(&["notes.txt", "x.mp4"]) {
            std::fs::write(door.join(name), [0; 1_000]).unwrap();
        }
        let has = |name: &str| door.join(name).exists();
        let mut streams = crate::config::Streams::default();
        let line = streams.mounts.entry("alice/door".into()).or_default();
        line.keep_bytes = Some(2_000);
        expire(&files, &streams).await.unwrap();
        assert!(names.into_iter().all(has), "they are no more than that");
        streams.mounts.get_mut("alice/door").unwrap().keep_bytes = Some(1);
        expire(&files, &streams).await.unwrap();
        assert!(!names.into_iter().any(has));
        assert!(has("notes.txt") && has("x.mp4"));
    }
}
